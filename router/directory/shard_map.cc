#include "router/directory/shard_map.h"

#include <algorithm>

#include "router/key_encoding.h"

namespace pgshunt {
namespace {

Error refuse(std::string message) {
  return {sqlstate::kObjectNotInPrerequisiteState, std::move(message), {}};
}

template <class Records>
auto find_by_id(Records& records, std::uint16_t id) -> decltype(records.data()) {
  for (auto& record : records) {
    if (record.id == id) return &record;
  }
  return nullptr;
}

template <class Records>
auto find_by_name(Records& records, std::string_view name) -> decltype(records.data()) {
  for (auto& record : records) {
    if (record.name == name) return &record;
  }
  return nullptr;
}

// Makes one step after the other on a copy that is thrown away if a step fails.
class Changer {
 public:
  explicit Changer(ShardMap& map) : map_(map) {}

  Status operator()(const map_change::AddShard& step) {
    if (map_.shard_named(step.name)) return refuse("shard \"" + step.name + "\" exists already");
    const StableShardId last = map_.shards.empty() ? 0 : map_.shards.back().id;
    if (last == kBucketCount) return refuse("there can be no more than 4096 shards");
    map_.shards.push_back({static_cast<StableShardId>(last + 1), step.name, ShardState::kOpen});
    return Ok{};
  }

  Status operator()(const map_change::SetShardState& step) {
    ShardRecord* const shard = find_by_id(map_.shards, step.shard);
    if (!shard) return refuse("there is no shard " + std::to_string(step.shard));
    shard->state = step.state;
    return Ok{};
  }

  Status operator()(const map_change::AddKeyspace& step) {
    if (map_.keyspace_named(step.name)) {
      return refuse("keyspace \"" + step.name + "\" exists already");
    }
    std::vector<StableShardId> open;
    for (const ShardRecord& shard : map_.shards) {
      if (shard.state == ShardState::kOpen) open.push_back(shard.id);
    }
    if (open.empty()) return refuse("a keyspace needs a shard that is open");
    const KeyspaceId last = map_.keyspaces.empty() ? 0 : map_.keyspaces.back().id;
    if (last == kBucketCount) return refuse("there can be no more than 4096 keyspaces");
    KeyspaceRecord keyspace;
    keyspace.id = static_cast<KeyspaceId>(last + 1);
    keyspace.name = step.name;
    keyspace.key_type = step.key_type;
    keyspace.kind = step.kind;
    keyspace.policy = step.policy;
    keyspace.fixed_shard = step.fixed_shard;
    const BucketOwners dealt = deal_evenly(open.size());
    for (std::size_t i = 0; i < kBucketCount; ++i) keyspace.owners[i] = open[dealt[i]];
    map_.keyspaces.push_back(std::move(keyspace));
    return Ok{};
  }

  Status operator()(const map_change::SetPolicy& step) {
    return in_keyspace(step.keyspace, [&](KeyspaceRecord& keyspace) {
      keyspace.policy = step.policy;
      keyspace.fixed_shard = step.fixed_shard;
    });
  }
  Status operator()(const map_change::SetOwners& step) {
    return in_keyspace(step.keyspace,
                       [&](KeyspaceRecord& keyspace) { keyspace.owners = step.owners; });
  }
  Status operator()(const map_change::SetRanges& step) {
    return in_keyspace(step.keyspace,
                       [&](KeyspaceRecord& keyspace) { keyspace.ranges = step.ranges; });
  }
  Status operator()(const map_change::SetValues& step) {
    return in_keyspace(step.keyspace, [&](KeyspaceRecord& keyspace) {
      keyspace.values = step.values;
      keyspace.value_default = step.fallback;
    });
  }
  Status operator()(const map_change::SetOverride& step) {
    return in_keyspace(step.keyspace, [&](KeyspaceRecord& keyspace) {
      if (step.shard) {
        keyspace.overrides[step.encoded_key] = *step.shard;
      } else {
        keyspace.overrides.erase(step.encoded_key);
      }
    });
  }
  Status operator()(const map_change::SetJob&) { return Ok{}; }  // not part of the map

 private:
  template <class Do>
  Status in_keyspace(KeyspaceId id, Do change) {
    KeyspaceRecord* const keyspace = find_by_id(map_.keyspaces, id);
    if (!keyspace) return refuse("there is no keyspace " + std::to_string(id));
    change(*keyspace);
    return Ok{};
  }

  ShardMap& map_;
};

Status check_ranges(const KeyspaceRecord& keyspace) {
  const auto show = [&](const std::optional<std::string>& bound) {
    return bound ? "'" + encoded_key_text(keyspace.key_type, *bound) + "'" : "unbounded";
  };
  for (std::size_t i = 0; i < keyspace.ranges.size(); ++i) {
    const RangeRecord& range = keyspace.ranges[i];
    for (const auto& bound : {range.from, range.to}) {
      if (bound && !is_encoded_key(keyspace.key_type, *bound)) {
        return refuse("a range of keyspace \"" + keyspace.name + "\" has a bound that is no key");
      }
    }
    if (range.from && range.to && *range.from >= *range.to) {
      return refuse("keyspace \"" + keyspace.name + "\": the range from " + show(range.from) +
                    " to " + show(range.to) + " is empty");
    }
    if (i == 0) continue;
    const RangeRecord& before = keyspace.ranges[i - 1];
    if (!before.to || !range.from || *before.to > *range.from) {
      return refuse("keyspace \"" + keyspace.name + "\": the range from " + show(range.from) +
                    " overlaps the one before it or stands before it");
    }
  }
  return Ok{};
}

template <class Record>
bool ids_ascend(const std::vector<Record>& records) {
  std::uint16_t last = 0;
  for (const Record& record : records) {
    if (record.id <= last || record.name.empty()) return false;
    last = record.id;
  }
  return true;
}

}  // namespace

std::string_view name_of(KeyspaceKind kind) {
  switch (kind) {
    case KeyspaceKind::kHash:
      return "hash";
    case KeyspaceKind::kRange:
      return "range";
    case KeyspaceKind::kList:
      return "list";
    case KeyspaceKind::kDirectory:
      return "directory";
  }
  return "?";
}

std::string_view name_of(NewKeyPolicy policy) {
  switch (policy) {
    case NewKeyPolicy::kHash:
      return "hash";
    case NewKeyPolicy::kLeastLoaded:
      return "least-loaded";
    case NewKeyPolicy::kFixed:
      return "fixed";
    case NewKeyPolicy::kRefuse:
      return "refuse";
  }
  return "?";
}

std::optional<KeyspaceKind> keyspace_kind_named(std::string_view name) {
  for (const auto kind :
       {KeyspaceKind::kHash, KeyspaceKind::kRange, KeyspaceKind::kList, KeyspaceKind::kDirectory}) {
    if (name_of(kind) == name) return kind;
  }
  return std::nullopt;
}

std::optional<NewKeyPolicy> new_key_policy_named(std::string_view name) {
  for (const auto policy : {NewKeyPolicy::kHash, NewKeyPolicy::kLeastLoaded, NewKeyPolicy::kFixed,
                            NewKeyPolicy::kRefuse}) {
    if (name_of(policy) == name) return policy;
  }
  return std::nullopt;
}

const ShardRecord* ShardMap::shard(StableShardId id) const { return find_by_id(shards, id); }
const ShardRecord* ShardMap::shard_named(std::string_view name) const {
  return find_by_name(shards, name);
}
const KeyspaceRecord* ShardMap::keyspace(KeyspaceId id) const { return find_by_id(keyspaces, id); }
const KeyspaceRecord* ShardMap::keyspace_named(std::string_view name) const {
  return find_by_name(keyspaces, name);
}

Status check_map(const ShardMap& map) {
  if (!ids_ascend(map.shards) || !ids_ascend(map.keyspaces)) {
    return refuse("the map has a name or an id that is empty or there twice");
  }
  for (const KeyspaceRecord& keyspace : map.keyspaces) {
    const std::string where = "keyspace \"" + keyspace.name + "\"";
    const auto known = [&map](StableShardId id) { return map.shard(id) != nullptr; };
    std::array<bool, std::size_t{1} << 16> seen{};
    for (const StableShardId owner : keyspace.owners) {
      if (!seen[owner] && !known(owner)) return refuse(where + ": a bucket's owner is no shard");
      seen[owner] = true;
    }
    if (keyspace.policy == NewKeyPolicy::kFixed && !known(keyspace.fixed_shard)) {
      return refuse(where + ": the fixed shard for new keys is no shard");
    }
    if (const Status ranges = check_ranges(keyspace); !ranges) return ranges.error();
    for (const RangeRecord& range : keyspace.ranges) {
      if (!known(range.shard)) return refuse(where + ": a range's shard is no shard");
    }
    for (const auto* entries : {&keyspace.values, &keyspace.overrides}) {
      for (const auto& [key, shard] : *entries) {
        if (!is_encoded_key(keyspace.key_type, key)) return refuse(where + ": a value is no key");
        if (!known(shard)) return refuse(where + ": a value's shard is no shard");
      }
    }
    if (keyspace.value_default && !known(*keyspace.value_default)) {
      return refuse(where + ": the default shard is no shard");
    }
  }
  return Ok{};
}

Result<std::shared_ptr<const ShardMap>> changed_map(const ShardMap& before,
                                                    const MapChange& change) {
  ShardMap after = before;
  ++after.epoch;
  Changer changer(after);
  for (const MapChangeStep& step : change) {
    if (const Status done = std::visit(changer, step); !done) return done.error();
  }
  if (const Status good = check_map(after); !good) return good.error();
  return std::make_shared<const ShardMap>(std::move(after));
}

}  // namespace pgshunt
