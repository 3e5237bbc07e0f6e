#include "router/topology.h"

#include <algorithm>
#include <tuple>

namespace pgshunt {
namespace {

Error config_error(std::string message, std::string hint = {}) {
  return {sqlstate::kConfigFileError, std::move(message), std::move(hint)};
}

std::string qualified(const Table& table) { return table.schema + "." + table.name; }

struct TableName {
  std::string_view schema;
  std::string_view name;
  friend bool operator<(const TableName& a, const TableName& b) {
    return std::tie(a.schema, a.name) < std::tie(b.schema, b.name);
  }
};

TableName name_of(const Table& table) { return {table.schema, table.name}; }

const Table* find_exact(const std::vector<Table>& sorted, TableName name) {
  const auto at = std::lower_bound(
      sorted.begin(), sorted.end(), name,
      [](const Table& table, const TableName& wanted) { return name_of(table) < wanted; });
  if (at == sorted.end() || at->schema != name.schema || at->name != name.name) return nullptr;
  return &*at;
}

const Column* find_in(const std::vector<Column>& columns, std::string_view name) {
  const auto at = std::find_if(columns.begin(), columns.end(),
                               [&](const Column& column) { return column.name == name; });
  return at == columns.end() ? nullptr : &*at;
}

}  // namespace

// What the catalog says of the key column must agree with the declaration.
Status check_key_column(const Keyspace& keyspace, const Table& table,
                        const std::vector<Column>& columns) {
  const Column* column = find_in(columns, table.key_column);
  if (column == nullptr) {
    return config_error("table " + qualified(table) + " has no column \"" + table.key_column +
                        "\", its shard key");
  }
  if (column->type_oid != oid_of(keyspace.key_type)) {
    return config_error("column \"" + table.key_column + "\" of " + qualified(table) +
                            " is not of type " + std::string(name_of(keyspace.key_type)) +
                            ", the key type of keyspace \"" + keyspace.name + "\"",
                        "Equal keys must hash equally in every table of a keyspace.");
  }
  if (!column->deterministic) {
    return config_error("column \"" + table.key_column + "\" of " + qualified(table) +
                            " has a nondeterministic collation",
                        "Unequal bytes would be equal keys: give the column a deterministic one.");
  }
  return Ok{};
}

const Column* Table::find_column(std::string_view column) const { return find_in(columns, column); }

const Table* Topology::find_table(std::string_view schema, std::string_view name) const {
  if (!schema.empty()) return find_exact(tables, {schema, name});
  for (const std::string& candidate : search_path) {
    if (const Table* table = find_exact(tables, {candidate, name})) return table;
  }
  return nullptr;
}

const UserFunction* Topology::find_user_function(std::string_view name) const {
  const auto at = std::lower_bound(
      user_functions.begin(), user_functions.end(), name,
      [](const UserFunction& function, std::string_view wanted) { return function.name < wanted; });
  return at == user_functions.end() || at->name != name ? nullptr : &*at;
}

bool Topology::is_opaque(std::string_view schema, std::string_view name) const {
  return std::any_of(
      opaque_relations.begin(), opaque_relations.end(), [&](const RelationName& relation) {
        return relation.name == name && (schema.empty() || relation.schema == schema);
      });
}

std::optional<ShardId> TopologyBuilder::find_shard(std::string_view name) const {
  for (std::size_t i = 0; i < topology_.shards.size(); ++i) {
    if (topology_.shards[i].name == name) return static_cast<ShardId>(i);
  }
  return std::nullopt;
}

Result<ShardId> TopologyBuilder::add_shard(std::string_view name) {
  if (find_shard(name)) return config_error("shard \"" + std::string(name) + "\" is named twice");
  if (topology_.shards.size() == kBucketCount) {
    return config_error("there are more than 4096 shards, as many as there are buckets");
  }
  topology_.shards.push_back({std::string(name)});
  return static_cast<ShardId>(topology_.shards.size() - 1);
}

Status TopologyBuilder::add_keyspace(std::string_view name, ShardKeyType type) {
  const Status added = add_keyspace(name, type, BucketOwners{});
  if (added) deal_evenly_.back() = true;
  return added;
}

Status TopologyBuilder::add_keyspace(std::string_view name, ShardKeyType type,
                                     const BucketOwners& owners) {
  for (const Keyspace& keyspace : topology_.keyspaces) {
    if (keyspace.name == name) {
      return config_error("keyspace \"" + std::string(name) + "\" is named twice");
    }
  }
  topology_.keyspaces.push_back({std::string(name), type, owners});
  deal_evenly_.push_back(false);
  return Ok{};
}

Status TopologyBuilder::add_table(Table table) {
  // A handful of tables: a linear search costs nothing, and tables are sorted only once.
  for (const Table& other : topology_.tables) {
    if (other.schema == table.schema && other.name == table.name) {
      return config_error("table " + qualified(table) + " is declared twice");
    }
  }
  topology_.tables.push_back(std::move(table));
  return Ok{};
}

Status TopologyBuilder::add_sharded_table(std::string_view schema, std::string_view name,
                                          std::string_view keyspace, std::string_view key_column) {
  for (std::size_t i = 0; i < topology_.keyspaces.size(); ++i) {
    if (topology_.keyspaces[i].name != keyspace) continue;
    Table table;
    table.schema = schema;
    table.name = name;
    table.placement = TablePlacement::kSharded;
    table.keyspace = static_cast<std::uint16_t>(i);
    table.key_column = key_column;
    return add_table(std::move(table));
  }
  return config_error("table " + std::string(schema) + "." + std::string(name) +
                      " names the unknown keyspace \"" + std::string(keyspace) + "\"");
}

Status TopologyBuilder::add_reference_table(std::string_view schema, std::string_view name) {
  Table table;
  table.schema = schema;
  table.name = name;
  table.placement = TablePlacement::kReference;
  return add_table(std::move(table));
}

Status TopologyBuilder::add_unsharded_table(std::string_view schema, std::string_view name,
                                            std::string_view shard) {
  const auto home = find_shard(shard);
  if (!home) {
    return config_error("table " + std::string(schema) + "." + std::string(name) +
                        " names the unknown shard \"" + std::string(shard) + "\"");
  }
  Table table;
  table.schema = schema;
  table.name = name;
  table.placement = TablePlacement::kUnsharded;
  table.home = *home;
  return add_table(std::move(table));
}

Status TopologyBuilder::set_default_home(std::string_view shard) {
  topology_.default_home = find_shard(shard);
  if (topology_.default_home) return Ok{};
  return config_error("the default shard \"" + std::string(shard) + "\" is unknown");
}

void TopologyBuilder::set_search_path(std::vector<std::string> schemas) {
  topology_.search_path = std::move(schemas);
}

void TopologyBuilder::set_columns(std::string_view schema, std::string_view table,
                                  std::vector<Column> columns) {
  for (Table& candidate : topology_.tables) {
    if (candidate.schema == schema && candidate.name == table) {
      candidate.columns = std::move(columns);
      return;
    }
  }
}

void TopologyBuilder::set_unique_keys(std::string_view schema, std::string_view table,
                                      std::vector<UniqueKey> keys) {
  for (Table& candidate : topology_.tables) {
    if (candidate.schema == schema && candidate.name == table) candidate.keys = std::move(keys);
  }
}

void TopologyBuilder::add_user_function(std::string_view name, UserFunctionClass behaviour) {
  topology_.user_functions.push_back({std::string(name), behaviour});
}

void TopologyBuilder::add_opaque_relation(std::string_view schema, std::string_view name) {
  topology_.opaque_relations.push_back({std::string(schema), std::string(name)});
}

Result<std::shared_ptr<const Topology>> TopologyBuilder::build(std::uint64_t epoch) {
  Topology topology = std::exchange(topology_, {});
  const std::vector<bool> deal = std::exchange(deal_evenly_, {});
  if (topology.shards.empty()) return config_error("there is no shard");
  topology.epoch = epoch;
  for (std::size_t i = 0; i < topology.shards.size(); ++i) {
    topology.all_shards.push_back(static_cast<ShardId>(i));
  }
  for (std::size_t i = 0; i < topology.keyspaces.size(); ++i) {
    Keyspace& keyspace = topology.keyspaces[i];
    if (deal[i]) keyspace.owners = deal_evenly(topology.shards.size());
    for (std::size_t bucket = 0; bucket < kBucketCount; ++bucket) {
      if (keyspace.owners[bucket] < topology.shards.size()) continue;
      return config_error("bucket " + std::to_string(bucket) + " of keyspace \"" + keyspace.name +
                          "\" is owned by a shard that does not exist");
    }
  }
  for (const Table& table : topology.tables) {
    if (table.placement != TablePlacement::kSharded || table.columns.empty()) continue;
    const Keyspace& keyspace = topology.keyspaces[table.keyspace];
    if (const Status key = check_key_column(keyspace, table, table.columns); !key) {
      return key.error();
    }
  }
  std::sort(topology.tables.begin(), topology.tables.end(),
            [](const Table& a, const Table& b) { return name_of(a) < name_of(b); });
  // The worst of one name first, the others away.
  auto& functions = topology.user_functions;
  std::sort(functions.begin(), functions.end(), [](const UserFunction& a, const UserFunction& b) {
    return a.name != b.name ? a.name < b.name : a.behaviour > b.behaviour;
  });
  functions.erase(
      std::unique(functions.begin(), functions.end(),
                  [](const UserFunction& a, const UserFunction& b) { return a.name == b.name; }),
      functions.end());
  return std::make_shared<const Topology>(std::move(topology));
}

BucketOwners deal_evenly(std::size_t shards) {
  BucketOwners owners;
  for (std::size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    owners[bucket] = static_cast<ShardId>(bucket * shards / kBucketCount);
  }
  return owners;
}

BucketOwners propose_assignment(std::size_t shards, const BucketOwners& current) {
  std::vector<std::size_t> held(shards, 0);
  for (const ShardId owner : current) {
    if (owner < shards) ++held[owner];
  }
  // Everybody gets the floor of the average; the few buckets over go to those who hold most, who
  // then have the fewest to give away.
  std::vector<std::size_t> order(shards);
  for (std::size_t i = 0; i < shards; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&held](std::size_t a, std::size_t b) { return held[a] > held[b]; });
  std::vector<std::size_t> room(shards, kBucketCount / shards);
  for (std::size_t i = 0; i < kBucketCount % shards; ++i) ++room[order[i]];

  BucketOwners owners = current;
  std::vector<std::size_t> homeless;
  for (std::size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    const ShardId owner = current[bucket];
    if (owner < shards && room[owner] > 0) {
      --room[owner];
    } else {
      homeless.push_back(bucket);
    }
  }
  std::size_t taker = 0;
  for (const std::size_t bucket : homeless) {
    while (room[taker] == 0) ++taker;
    owners[bucket] = static_cast<ShardId>(taker);
    --room[taker];
  }
  return owners;
}

}  // namespace pgshunt
