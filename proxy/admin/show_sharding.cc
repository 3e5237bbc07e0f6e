// What sharding adds: SHARDS, KEYSPACES, TABLES, DRIFT.
#include <algorithm>

#include "proxy/admin/show_rows.h"

namespace pgshunt {
namespace {

template <class Each>
void each_sharded(const Snapshot& snapshot, Each each) {
  for (const auto& [name, database] : snapshot.databases) {
    if (database->topology) each(name, *database);
  }
}

std::string hosts_of(const std::vector<HostConfig>& hosts) {
  std::string out;
  for (const HostConfig& host : hosts) {
    out += (out.empty() ? "" : ",") + host.host + ":" + std::to_string(host.port);
  }
  return out;
}

std::size_t buckets_of(const BucketOwners& owners, ShardId shard) {
  return static_cast<std::size_t>(std::count(owners.begin(), owners.end(), shard));
}

std::size_t buckets_of(const Keyspace& keyspace, ShardId shard) {
  return keyspace.hash() == nullptr ? 0 : buckets_of(keyspace.hash()->owners, shard);
}

void append_item(std::string& out, const std::string& item) {
  if (!out.empty()) out += ',';
  out += item;
}

// "0-1365,4000": the runs of buckets that a shard owns.
std::string bucket_runs(const BucketOwners& owners, ShardId shard) {
  std::string out;
  for (std::size_t first = 0; first < kBucketCount;) {
    if (owners[first] != shard) {
      ++first;
      continue;
    }
    std::size_t last = first;
    while (last + 1 < kBucketCount && owners[last + 1] == shard) ++last;
    append_item(out, std::to_string(first) + (last == first ? "" : "-" + std::to_string(last)));
    first = last + 1;
  }
  return out;
}

std::string keys_of(const std::vector<PlacedKey>& keys, ShardId shard) {
  std::string out;
  for (const PlacedKey& key : keys) {
    if (key.shard == shard) append_item(out, key.text);
  }
  return out;
}

// What a shard has of a keyspace, in the words of its strategy.
struct ShareOf {
  ShardId shard;
  const std::string& keyspace;
  const DatabaseDirectory* directory;

  std::string operator()(const HashPlacement& placement) const {
    return bucket_runs(placement.owners, shard);
  }
  std::string operator()(const RangePlacement& placement) const {
    std::string out;
    for (const KeyRange& range : placement.ranges) {
      if (range.shard == shard) append_item(out, range.text);
    }
    return out;
  }
  std::string operator()(const ListPlacement& placement) const {
    std::string out = keys_of(placement.keys, shard);
    if (placement.other_keys == shard) append_item(out, "(others)");
    return out;
  }
  std::string operator()(const DirectoryPlacement&) const {
    if (directory == nullptr) return "the directory is not open";
    const DatabaseDirectory::Share share = directory->share_of(keyspace, shard);
    const std::string keys = std::to_string(share.keys) + " keys";
    if (!share.takes_new_keys) return keys + ", no new ones";
    switch (share.policy) {
      case NewKeyPolicy::kHash:
        return keys + ", new ones by hash: " + bucket_runs(share.owners, shard);
      case NewKeyPolicy::kLeastLoaded:
        return keys + ", new ones where there are fewest";
      case NewKeyPolicy::kFixed:
        return keys + ", all new ones";
      case NewKeyPolicy::kRefuse:
        break;
    }
    return keys;
  }
  std::string operator()(const SchemaPlacement& placement) const {
    std::string out;
    for (const auto& [schema, home] : placement.schemas) {
      if (home == shard) append_item(out, schema);
    }
    return out;
  }
};

std::string_view name_of(TablePlacement placement) {
  switch (placement) {
    case TablePlacement::kSharded:
      return "sharded";
    case TablePlacement::kReference:
      return "reference";
    case TablePlacement::kUnsharded:
      return "unsharded";
  }
  return "";
}

}  // namespace

void show_shards(ResultSet& out, const Snapshot& snapshot, Reports reports) {
  const PoolTotals pools = add_up_pools(reports);
  each_sharded(snapshot, [&](const std::string& name, const Database& database) {
    for (ShardId index = 0; index < database.config.shards.size(); ++index) {
      const ShardConfig& shard = database.config.shards[index];
      PoolTotal all;
      for (const auto& [key, pool] : pools) {
        if (std::get<0>(key) != name || std::get<2>(key) != index) continue;
        all.counts.active += pool.counts.active;
        all.counts.idle += pool.counts.idle;
        all.counts.login += pool.counts.login;
        all.counts.waiting += pool.counts.waiting;
        all.totals += pool.totals;
      }
      std::size_t buckets = 0;
      for (const Keyspace& keyspace : database.topology->keyspaces) {
        buckets += buckets_of(keyspace, index);
      }
      out.add(name).add(shard.name).add(shard.primary.host).add(shard.primary.port);
      out.add(shard.dbname.empty() ? name : shard.dbname).add(hosts_of(shard.replicas));
      out.add(buckets).add(all.counts.active).add(all.counts.idle).add(all.counts.login);
      out.add(all.counts.waiting).add(all.totals.queries);
    }
  });
}

void show_keyspaces(ResultSet& out, const Snapshot& snapshot, const Directories& directories) {
  each_sharded(snapshot, [&](const std::string& name, const Database& database) {
    const DatabaseDirectory* directory = directories.of(database.config);
    const Topology& topology = *database.topology;
    for (const Keyspace& keyspace : topology.keyspaces) {
      for (ShardId shard = 0; shard < topology.shards.size(); ++shard) {
        out.add(name).add(keyspace.name).add(strategy_name(keyspace.placement));
        keyspace.schema() != nullptr ? out.add_null()
                                     : out.add(pgshunt::name_of(keyspace.key_type));
        out.add(topology.shards[shard].name);
        const HashPlacement* hash = keyspace.hash();
        hash == nullptr ? out.add_null() : out.add(buckets_of(hash->owners, shard));
        out.add(std::visit(ShareOf{shard, keyspace.name, directory}, keyspace.placement));
        out.add(hash == nullptr ? std::string() : keys_of(hash->overrides.keys(), shard));
      }
    }
  });
}

void show_tables(ResultSet& out, const Snapshot& snapshot) {
  each_sharded(snapshot, [&](const std::string& name, const Database& database) {
    const Topology& topology = *database.topology;
    for (const Table& table : topology.tables) {
      out.add(name).add(table.schema).add(table.name).add(name_of(table.placement));
      if (table.placement == TablePlacement::kSharded) {
        out.add(topology.keyspaces[table.keyspace].name).add(table.key_column).add_null();
      } else {
        out.add_null().add_null();
        table.placement == TablePlacement::kReference ? out.add_null()
                                                      : out.add(topology.shards[table.home].name);
      }
    }
  });
}

// Where the shards' catalogs differ, and which of them could not be read.
void show_drift(ResultSet& out, const Snapshot& snapshot) {
  each_sharded(snapshot, [&](const std::string& name, const Database& database) {
    if (!database.catalog) return;
    const std::string& home = database.config.shards.front().name;
    for (const CatalogReport::Unread& each : database.catalog->unread) {
      out.add(name).add("catalog").add(each.shard).add("not read: " + each.why);
      if (each.known) {
        out.add("what was read before is in use");
      } else if (!database.topology->catalog_problem.empty()) {
        out.add("statements that depend on it are refused");
      } else {
        out.add(each.shard == home ? "all statements wait" : "statements that run there wait");
      }
    }
    for (const Drift& drift : database.catalog->drift) {
      out.add(name).add(drift_object(drift)).add(database.config.shards[drift.shard].name);
      out.add(drift.difference).add(drift_consequence(drift.effect));
    }
  });
}

}  // namespace pgshunt
