// From a keyspace of the configuration to one of the router's map.
#pragma once

#include "protocol/result.h"
#include "proxy/config/config.h"
#include "router/topology.h"

namespace pgshunt {

// After the database's shards were added. The configuration has been checked.
Status declare_keyspace(const DatabaseConfig& config, const KeyspaceConfig& keyspace,
                        TopologyBuilder& builder);

}  // namespace pgshunt
