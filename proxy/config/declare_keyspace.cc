#include "proxy/config/declare_keyspace.h"

#include <optional>
#include <string>
#include <utility>

#include "proxy/config/load_keyspace.h"
#include "router/key_location.h"

namespace pgshunt {
namespace {

// The configuration was checked: its names and keys are good.
ShardId shard_index(const DatabaseConfig& config, const std::string& name) {
  for (std::size_t i = 0; i < config.shards.size(); ++i) {
    if (config.shards[i].name == name) return static_cast<ShardId>(i);
  }
  return 0;
}

BucketOwners bucket_owners(const DatabaseConfig& config, const KeyspaceConfig& keyspace) {
  BucketOwners owners{};
  for (const auto& range : keyspace.buckets) {
    for (std::size_t bucket = range.first; bucket <= range.last; ++bucket) {
      owners[bucket] = shard_index(config, range.shard);
    }
  }
  return owners;
}

Result<Placement> range_placement(const DatabaseConfig& config, const KeyspaceConfig& keyspace) {
  const ShardKeyType type = shard_key_type(keyspace.key_type);
  RangePlacement placement;
  for (const auto& range : keyspace.ranges) {
    KeyRange made;
    made.shard = shard_index(config, range.shard);
    const auto read = [type](const std::optional<std::string>& text,
                             std::optional<std::string>& key) -> Status {
      if (!text) return Ok{};
      auto parsed = parse_key(type, *text);
      if (!parsed) return parsed.error();
      key = std::move(*parsed);
      return Ok{};
    };
    if (const Status from = read(range.from, made.from); !from) return from.error();
    if (const Status to = read(range.to, made.to); !to) return to.error();
    made.text = (range.from ? "[" + *range.from : "(") + ", " + range.to.value_or("") + ")";
    placement.ranges.push_back(std::move(made));
  }
  return Placement(std::move(placement));
}

Result<Placement> list_placement(const DatabaseConfig& config, const KeyspaceConfig& keyspace) {
  ListPlacement placement;
  for (const auto& value : keyspace.values) {
    auto key = parse_key(shard_key_type(keyspace.key_type), value.key);
    if (!key) return key.error();
    placement.keys.push_back({std::move(*key), shard_index(config, value.shard), value.key});
  }
  if (!keyspace.default_shard.empty()) {
    placement.other_keys = shard_index(config, keyspace.default_shard);
  }
  return Placement(std::move(placement));
}

Placement directory_placement(const DatabaseConfig& config, const KeyspaceConfig& keyspace) {
  DirectoryPlacement placement;
  switch (keyspace.new_keys) {
    case NewKeys::kHash:
      placement.new_keys = NewKeyPolicy::kHash;
      break;
    case NewKeys::kLeastLoaded:
      placement.new_keys = NewKeyPolicy::kLeastLoaded;
      break;
    case NewKeys::kRefuse:
      placement.new_keys = NewKeyPolicy::kRefuse;
      break;
    case NewKeys::kFixed:
      placement.new_keys = NewKeyPolicy::kFixed;
      placement.fixed = shard_index(config, keyspace.new_keys_shard);
      break;
  }
  return placement;
}

Placement schema_placement(const DatabaseConfig& config, const KeyspaceConfig& keyspace) {
  SchemaPlacement placement;
  for (const auto& schema : keyspace.schemas) {
    placement.schemas.emplace_back(schema.key, shard_index(config, schema.shard));
  }
  return placement;
}

}  // namespace

Status declare_keyspace(const DatabaseConfig& config, const KeyspaceConfig& keyspace,
                        TopologyBuilder& builder) {
  const ShardKeyType type = shard_key_type(keyspace.key_type);
  const auto add = [&](Result<Placement> placement) -> Status {
    if (!placement) return placement.error();
    return builder.add_keyspace(keyspace.name, type, std::move(*placement));
  };
  switch (keyspace.strategy) {
    case Strategy::kRange:
      return add(range_placement(config, keyspace));
    case Strategy::kList:
      return add(list_placement(config, keyspace));
    case Strategy::kDirectory:
      return add(directory_placement(config, keyspace));
    case Strategy::kSchema:
      return add(schema_placement(config, keyspace));
    case Strategy::kHash:
      break;
  }
  const Status added =
      keyspace.buckets.empty()
          ? builder.add_keyspace(keyspace.name, type)
          : builder.add_keyspace(keyspace.name, type, bucket_owners(config, keyspace));
  if (!added) return added.error();
  for (const auto& placed : keyspace.overrides) {
    const Status done = builder.add_override(keyspace.name, placed.key, placed.shard);
    if (!done) return done.error();
  }
  return Ok{};
}

}  // namespace pgshunt
