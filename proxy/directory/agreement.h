// What a directory and the configuration of its database say of the same shards and keyspaces.
#pragma once

#include "protocol/result.h"
#include "proxy/config/config.h"
#include "router/directory/shard_map.h"

namespace pgshunt {

// What makes the directory have all that the configuration names: a new directory has nothing yet,
// an older one may lack a shard or keyspace that was added since. An Error (F0000) if the two
// contradict each other, with what each of them says: a shard or keyspace that only the directory
// has may have keys, and another type, strategy or policy would place them elsewhere.
Result<MapChange> missing_in_directory(const ShardMap& map, const DatabaseConfig& config);

}  // namespace pgshunt
