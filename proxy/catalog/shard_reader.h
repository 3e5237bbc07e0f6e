// Reads one shard's catalog by libpq, blocking, on whatever thread calls.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "protocol/result.h"
#include "proxy/config/config.h"
#include "router/shard_catalog.h"

namespace pgshunt {

// Where a catalog is, and whom it is read as.
struct CatalogSource {
  std::string shard;  // its name
  std::string host;
  std::uint16_t port = 0;
  std::string dbname;
  std::string user;
  std::string password;
  std::string sslmode;
  std::string sslrootcert;
  std::string sslcert;
  std::string sslkey;
  // Set if there is nobody to read it as: no try will help before the configuration is another.
  std::string problem;

  // The same catalog, whoever reads it.
  bool same_place(const CatalogSource& other) const {
    return host == other.host && port == other.port && dbname == other.dbname;
  }
};

// Whom the catalogs are read as: the database's own user, auth_user, or the first configured user
// whose password is known, those of the console last. Reading pg_catalog takes no privilege.
// Clients' own credentials are not kept for this.
CatalogSource catalog_source(const Config& config, const DatabaseConfig& database,
                             std::size_t shard);

// All queries under one snapshot. Gives up after kCatalogTimeout, and soon once `stop` is set.
// 28000: the server does not let this user in.
Result<ShardCatalog> read_shard_catalog(const CatalogSource& source, const std::atomic<bool>& stop);

}  // namespace pgshunt
