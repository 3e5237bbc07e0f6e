#include "proxy/directory/agreement.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "proxy/config/load_keyspace.h"
#include "proxy/config/values.h"

namespace pgshunt {
namespace {

std::string quoted(std::string_view name) { return "\"" + std::string(name) + "\""; }

Error contradiction(std::string message, std::string hint) {
  return {sqlstate::kConfigFileError, std::move(message), std::move(hint)};
}

Error differs(const std::string& keyspace, std::string_view what, std::string_view configured,
              std::string_view stored, std::string hint = "Correct the configuration.") {
  return contradiction("keyspace " + quoted(keyspace) + " has the " + std::string(what) + " " +
                           std::string(configured) + " in the configuration, " +
                           std::string(stored) + " in the directory",
                       std::move(hint));
}

std::optional<KeyspaceKind> kind_of(Strategy strategy) {
  switch (strategy) {
    case Strategy::kHash:
      return KeyspaceKind::kHash;
    case Strategy::kRange:
      return KeyspaceKind::kRange;
    case Strategy::kList:
      return KeyspaceKind::kList;
    case Strategy::kDirectory:
      return KeyspaceKind::kDirectory;
    case Strategy::kSchema:
      break;
  }
  return std::nullopt;
}

NewKeyPolicy policy_of(NewKeys new_keys) {
  switch (new_keys) {
    case NewKeys::kLeastLoaded:
      return NewKeyPolicy::kLeastLoaded;
    case NewKeys::kRefuse:
      return NewKeyPolicy::kRefuse;
    case NewKeys::kFixed:
      return NewKeyPolicy::kFixed;
    case NewKeys::kHash:
      break;
  }
  return NewKeyPolicy::kHash;
}

// "fixed=s1", as shuntctl writes it.
std::string policy_text(NewKeyPolicy policy, std::string_view fixed_shard) {
  std::string out(name_of(policy));
  if (policy == NewKeyPolicy::kFixed) out.append("=").append(fixed_shard);
  return out;
}

Status compare(const ShardMap& map, const KeyspaceRecord& stored, const DatabaseConfig& config) {
  const KeyspaceConfig* wanted = named(config.keyspaces, stored.name);
  if (wanted == nullptr) {
    return contradiction(
        "keyspace " + quoted(stored.name) + " is in the directory, but not in the configuration",
        "Name it in the configuration: its keys would be forgotten.");
  }
  const auto kind = kind_of(wanted->strategy);
  if (kind != stored.kind) {
    return differs(stored.name, "strategy", kind ? name_of(*kind) : "schema", name_of(stored.kind));
  }
  const ShardKeyType type = shard_key_type(wanted->key_type);
  if (type != stored.key_type) {
    return differs(stored.name, "type", name_of(type), name_of(stored.key_type));
  }
  if (stored.kind != KeyspaceKind::kDirectory) return Ok{};
  const ShardRecord* fixed = map.shard(stored.fixed_shard);
  const std::string policy =
      policy_text(stored.policy, fixed == nullptr ? std::string_view() : fixed->name);
  const std::string wanted_policy =
      policy_text(policy_of(wanted->new_keys), wanted->new_keys_shard);
  if (policy == wanted_policy) return Ok{};
  return differs(stored.name, "policy for new keys", wanted_policy, policy,
                 "Correct new_keys in the configuration, or run \"shuntctl directory policy "
                 "--directory " +
                     config.directory + " " + stored.name + " " + wanted_policy + "\".");
}

// New shards get their share of the new keys of keyspaces that place them by hash.
map_change::SetOwners deal_anew(const ShardMap& map, const KeyspaceRecord& keyspace) {
  std::vector<StableShardId> open;
  for (const ShardRecord& shard : map.shards) {
    if (shard.state == ShardState::kOpen) open.push_back(shard.id);
  }
  BucketOwners current{};
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    current[i] = static_cast<ShardId>(std::find(open.begin(), open.end(), keyspace.owners[i]) -
                                      open.begin());
  }
  const BucketOwners dealt = propose_assignment(open.size(), current);
  map_change::SetOwners out{keyspace.id, {}};
  for (std::size_t i = 0; i < kBucketCount; ++i) out.owners[i] = open[dealt[i]];
  return out;
}

}  // namespace

Result<MapChange> missing_in_directory(const ShardMap& map, const DatabaseConfig& config) {
  for (const ShardRecord& shard : map.shards) {
    if (named(config.shards, shard.name) != nullptr) continue;
    return contradiction(
        "shard " + quoted(shard.name) + " is in the directory, but not in the configuration",
        "Name it in the configuration: the directory may have keys on it.");
  }
  for (const KeyspaceRecord& keyspace : map.keyspaces) {
    if (const Status same = compare(map, keyspace, config); !same) return same.error();
  }
  MapChange change;
  for (const ShardConfig& shard : config.shards) {
    if (map.shard_named(shard.name) == nullptr) change.push_back(map_change::AddShard{shard.name});
  }
  const bool grows = !change.empty();
  // As it will be: what follows names shards by the ids they get.
  const auto grown = changed_map(map, change);
  if (!grown) return grown.error();
  for (const KeyspaceRecord& keyspace : map.keyspaces) {
    const bool by_hash =
        keyspace.kind == KeyspaceKind::kDirectory && keyspace.policy == NewKeyPolicy::kHash;
    if (grows && by_hash) change.push_back(deal_anew(**grown, keyspace));
  }
  for (const KeyspaceConfig& keyspace : config.keyspaces) {
    if (keyspace.strategy != Strategy::kDirectory) continue;
    if (map.keyspace_named(keyspace.name) != nullptr) continue;
    map_change::AddKeyspace added{keyspace.name, shard_key_type(keyspace.key_type),
                                  KeyspaceKind::kDirectory, policy_of(keyspace.new_keys)};
    if (added.policy == NewKeyPolicy::kFixed) {
      added.fixed_shard = (*grown)->shard_named(keyspace.new_keys_shard)->id;
    }
    change.push_back(std::move(added));
  }
  return change;
}

}  // namespace pgshunt
