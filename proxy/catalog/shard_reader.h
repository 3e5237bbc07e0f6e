// Reads one shard's catalog, blocking, on whatever thread calls.
#pragma once

#include <atomic>
#include <string>

#include "protocol/result.h"
#include "proxy/control_connection.h"
#include "router/shard_catalog.h"

namespace pgshunt {

// Where a catalog is, and whom it is read as: control_user(). Reading pg_catalog takes no
// privilege.
struct CatalogSource {
  ControlTarget target;
  // Set if there is nobody to read it as: no try will help before the configuration is another.
  std::string problem;
};

CatalogSource catalog_source(const Config& config, const DatabaseConfig& database,
                             std::size_t shard);

// All queries under one snapshot. Gives up when a query takes longer than kCatalogTimeout, and soon
// once `stop` is set. 28000: the server does not let this user in.
Result<ShardCatalog> read_shard_catalog(const ControlTarget& target, const std::atomic<bool>& stop);

}  // namespace pgshunt
