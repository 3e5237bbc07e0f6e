// What came of reading the catalogs of one database's shards. Immutable, part of its Database.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "router/drift.h"

namespace pgshunt {

struct CatalogReport {
  // Of the last request to read (CatalogKeeper::refresh) that is done with.
  std::uint64_t generation = 0;
  struct Unread {
    std::string shard;
    std::string why;
    bool known = false;  // from before: what was read then is still in use
  };
  std::vector<Unread> unread;
  std::vector<Drift> drift;  // by number of the shard, see DatabaseConfig::shards
};

// "shard "s0": connection refused"; why statements wait.
std::string unread_text(const CatalogReport* report);

}  // namespace pgshunt
