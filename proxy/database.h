// The configuration made ready to serve: one immutable snapshot that every worker holds, replaced
// as a whole at reload.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/auth/client_login.h"
#include "proxy/catalog/catalog_report.h"
#include "proxy/config/config.h"
#include "router/topology.h"

namespace pgshunt {

class TlsContext;

// One database that clients can name.
struct Database {
  std::uint64_t scope = 0;  // keeps its statements apart from other databases' and older versions'
  DatabaseConfig config;
  std::shared_ptr<const Topology> topology;      // null for a plain database
  std::shared_ptr<const CatalogReport> catalog;  // null: no try to read it has ended yet
  std::shared_ptr<const TlsContext> server_tls;
  bool fallback = false;  // made from "*"
};

struct Snapshot {
  std::uint64_t version = 0;
  std::shared_ptr<const Config> config;
  std::map<std::string, std::shared_ptr<const Database>, std::less<>> databases;
  std::shared_ptr<const ClientLoginPolicy> login_policy;
  std::shared_ptr<const TlsContext> client_tls;

  // The database of that name, or one made from "*"; null if nobody serves it.
  std::shared_ptr<const Database> find(std::string_view name) const;
};

// Of the next topology that is made: later ones are higher.
std::uint64_t next_epoch();

// Declares a sharded database's shards, keyspaces and tables.
Status declare_topology(const DatabaseConfig& config, TopologyBuilder& builder);

// Loads certificates and builds topologies. Errors name the file or table at fault.
Result<std::shared_ptr<const Snapshot>> make_snapshot(std::shared_ptr<const Config> config,
                                                      std::uint64_t version);

}  // namespace pgshunt
