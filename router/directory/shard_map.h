// The shard map as the directory keeps it, and the changes it can go through.
//
// Ids are stable: given once, never reused, never an index into a configuration file. A ShardMap is
// an immutable snapshot; a change makes the next one, with an epoch that is one higher.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/result.h"
#include "router/key_type.h"
#include "router/placement.h"
#include "router/topology.h"

namespace pgshunt {

using StableShardId = std::uint16_t;  // 0: none
using KeyspaceId = std::uint16_t;     // 0: none

// The following enums, and NewKeyPolicy, are on disk: numbers must not change or be used again.
enum class ShardState : std::uint8_t {
  kOpen = 1,
  kClosed = 2,  // keeps the keys it has and gets no new ones
};
enum class KeyspaceKind : std::uint8_t { kHash = 1, kRange = 2, kList = 3, kDirectory = 4 };

std::string_view name_of(KeyspaceKind kind);
std::string_view name_of(NewKeyPolicy policy);
std::optional<KeyspaceKind> keyspace_kind_named(std::string_view name);
std::optional<NewKeyPolicy> new_key_policy_named(std::string_view name);

struct ShardRecord {
  StableShardId id = 0;
  std::string name;
  ShardState state = ShardState::kOpen;
};

// `[from, to)` of encoded keys. No value: unbounded.
struct RangeRecord {
  std::optional<std::string> from;
  std::optional<std::string> to;
  StableShardId shard = 0;
};

struct KeyspaceRecord {
  KeyspaceId id = 0;
  std::string name;
  ShardKeyType key_type = ShardKeyType::kInt8;
  KeyspaceKind kind = KeyspaceKind::kHash;
  NewKeyPolicy policy = NewKeyPolicy::kHash;
  StableShardId fixed_shard = 0;  // kFixed
  // By bucket, of stable ids. Used by kHash and by kDirectory with kHash; there for all kinds.
  std::array<StableShardId, kBucketCount> owners{};
  std::vector<RangeRecord> ranges;                 // kRange: sorted, without overlaps
  std::map<std::string, StableShardId> values;     // kList: by encoded key
  std::optional<StableShardId> value_default;      // kList
  std::map<std::string, StableShardId> overrides;  // by encoded key; looked at before all else
};

struct ShardMap {
  std::uint64_t epoch = 0;
  std::vector<ShardRecord> shards;        // by id
  std::vector<KeyspaceRecord> keyspaces;  // by id

  const ShardRecord* shard(StableShardId id) const;
  const ShardRecord* shard_named(std::string_view name) const;
  const KeyspaceRecord* keyspace(KeyspaceId id) const;
  const KeyspaceRecord* keyspace_named(std::string_view name) const;
};

// Steps of a change. What they name must exist when their turn comes.
namespace map_change {
struct AddShard {
  std::string name;
};
struct SetShardState {
  StableShardId shard;
  ShardState state;
};
// Buckets are dealt evenly over the shards that are open at that moment.
struct AddKeyspace {
  std::string name;
  ShardKeyType key_type;
  KeyspaceKind kind;
  NewKeyPolicy policy = NewKeyPolicy::kHash;
  StableShardId fixed_shard = 0;
};
struct SetPolicy {
  KeyspaceId keyspace;
  NewKeyPolicy policy;
  StableShardId fixed_shard = 0;
};
struct SetOwners {
  KeyspaceId keyspace;
  std::array<StableShardId, kBucketCount> owners;
};
struct SetRanges {
  KeyspaceId keyspace;
  std::vector<RangeRecord> ranges;
};
struct SetValues {
  KeyspaceId keyspace;
  std::map<std::string, StableShardId> values;
  std::optional<StableShardId> fallback;
};
// Without a shard: the override goes away.
struct SetOverride {
  KeyspaceId keyspace;
  std::string encoded_key;
  std::optional<StableShardId> shard;
};
// A job's record goes with the change that it made: both or neither. Without bytes it is erased.
struct SetJob {
  std::uint64_t id;
  std::optional<std::string> bytes;
};
}  // namespace map_change

using MapChangeStep =
    std::variant<map_change::AddShard, map_change::SetShardState, map_change::AddKeyspace,
                 map_change::SetPolicy, map_change::SetOwners, map_change::SetRanges,
                 map_change::SetValues, map_change::SetOverride, map_change::SetJob>;
using MapChange = std::vector<MapChangeStep>;

// `before` with the change made and the epoch raised, or 55000 and why it cannot be made.
Result<std::shared_ptr<const ShardMap>> changed_map(const ShardMap& before,
                                                    const MapChange& change);
// What every map must be, whoever made it.
Status check_map(const ShardMap& map);

}  // namespace pgshunt
