#include "router/topology.h"

#include <algorithm>
#include <tuple>

#include "router/key_location.h"

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

// "bigint", or what can be said of a type that no key may have.
std::string type_name(std::uint32_t oid) {
  if (const auto type = shard_key_type_of(oid)) return std::string(name_of(*type));
  if (const auto type = value_type_of(oid)) return std::string(sql_name(*type));
  if (oid == type_oid::kBpchar) return "character";
  return "a type with OID " + std::to_string(oid);
}

}  // namespace

// What the catalog says of the key column must agree with the declaration.
Status check_key_column(const Keyspace& keyspace, const Table& table,
                        const std::vector<Column>& columns) {
  const Column* column = find_in(columns, table.key_column);
  if (column == nullptr) {
    return config_error(
        "table " + qualified(table) + " has no column \"" + table.key_column + "\", its shard key",
        "Set the table's key in the configuration to the column that holds it.");
  }
  const std::string shown = "column \"" + table.key_column + "\" of " + qualified(table);
  if (column->type_oid != oid_of(keyspace.key_type)) {
    const std::string wanted(name_of(keyspace.key_type));
    return config_error(shown + " is of type " + type_name(column->type_oid) + ", but keyspace \"" +
                            keyspace.name + "\" has keys of type " + wanted,
                        "Equal keys must be placed alike in every table of a keyspace: ALTER the "
                        "column's type to " +
                            wanted + ", or put the table into a keyspace of its column's type.");
  }
  if (!column->deterministic) {
    return config_error(shown + " has a nondeterministic collation",
                        "Unequal bytes would be equal keys: give the column a deterministic one.");
  }
  if (keyspace.range() != nullptr && is_string(keyspace.key_type) && !column->bytewise) {
    return config_error(shown + ", a key of the ranges of keyspace \"" + keyspace.name +
                            "\", has a collation that does not sort by bytes",
                        "Give the column COLLATE \"C\", or place its keys by hash or list.");
  }
  return Ok{};
}

namespace {

// Sorts the placement and holds its shards to those there are. What is wrong, or empty.
std::string arrange_placement(const Topology& topology, Keyspace& keyspace) {
  std::string problem = std::visit(
      [](auto& placement) -> std::string {
        if constexpr (requires { arrange(placement); }) {
          return arrange(placement);
        } else {
          return {};
        }
      },
      keyspace.placement);
  if (!problem.empty()) return problem + " in keyspace \"" + keyspace.name + "\"";
  const auto unknown = [&topology](ShardId shard) { return shard >= topology.shards.size(); };
  const std::string gone =
      " of keyspace \"" + keyspace.name + "\" is owned by a shard that does not exist";
  const auto check_buckets = [&](const BucketOwners& owners) -> std::string {
    const auto at = std::find_if(owners.begin(), owners.end(), unknown);
    return at == owners.end() ? "" : "bucket " + std::to_string(at - owners.begin()) + gone;
  };
  if (const auto* hash = std::get_if<HashPlacement>(&keyspace.placement)) {
    for (const PlacedKey& key : hash->overrides.keys()) {
      if (unknown(key.shard)) return "key " + key.text + gone;
    }
    return check_buckets(hash->owners);
  }
  if (const auto* range = std::get_if<RangePlacement>(&keyspace.placement)) {
    for (const KeyRange& each : range->ranges) {
      if (unknown(each.shard)) return "range " + each.text + gone;
    }
  }
  if (const auto* list = std::get_if<ListPlacement>(&keyspace.placement)) {
    for (const PlacedKey& key : list->keys) {
      if (unknown(key.shard)) return "value \"" + key.text + "\"" + gone;
    }
    if (list->other_keys && unknown(*list->other_keys)) return "the default" + gone;
  }
  if (const auto* directory = std::get_if<DirectoryPlacement>(&keyspace.placement)) {
    if (unknown(directory->fixed)) return "the place of new keys" + gone;
  }
  if (const auto* schema = std::get_if<SchemaPlacement>(&keyspace.placement)) {
    for (const auto& [name, shard] : schema->schemas) {
      if (unknown(shard)) return "schema \"" + name + "\"" + gone;
    }
  }
  return {};
}

}  // namespace

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

std::optional<ShardId> Topology::home_of_schema(std::string_view schema) const {
  for (const std::uint16_t index : schema_keyspaces) {
    if (const auto shard = keyspaces[index].schema()->find(schema)) return shard;
  }
  return std::nullopt;
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
  const Status added = add_keyspace(name, type, HashPlacement{});
  if (added) deal_evenly_.back() = true;
  return added;
}

Status TopologyBuilder::add_keyspace(std::string_view name, ShardKeyType type,
                                     const BucketOwners& owners) {
  return add_keyspace(name, type, HashPlacement{owners, {}});
}

Status TopologyBuilder::add_keyspace(std::string_view name, ShardKeyType type,
                                     Placement placement) {
  for (const Keyspace& keyspace : topology_.keyspaces) {
    if (keyspace.name == name) {
      return config_error("keyspace \"" + std::string(name) + "\" is named twice");
    }
  }
  topology_.keyspaces.push_back({std::string(name), type, std::move(placement)});
  deal_evenly_.push_back(false);
  return Ok{};
}

Keyspace* TopologyBuilder::find_keyspace(std::string_view name) {
  for (Keyspace& keyspace : topology_.keyspaces) {
    if (keyspace.name == name) return &keyspace;
  }
  return nullptr;
}

Status TopologyBuilder::add_override(std::string_view keyspace, std::string_view key,
                                     std::string_view shard) {
  Keyspace* found = find_keyspace(keyspace);
  auto* hash = found == nullptr ? nullptr : std::get_if<HashPlacement>(&found->placement);
  if (hash == nullptr) {
    return config_error("there is no hash keyspace \"" + std::string(keyspace) +
                        "\" to override a key of");
  }
  const auto home = find_shard(shard);
  if (!home)
    return config_error("an override names the unknown shard \"" + std::string(shard) + "\"");
  auto encoded = parse_key(found->key_type, key);
  if (!encoded) return encoded.error();
  if (hash->overrides.find(*encoded)) {
    return config_error("key " + std::string(key) + " of keyspace \"" + found->name +
                        "\" is overridden twice");
  }
  const std::uint64_t bits = hash_encoded_key(found->key_type, *encoded);
  hash->overrides.add({std::move(*encoded), *home, std::string(key)}, bits);
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
    if (topology_.keyspaces[i].schema() != nullptr) {
      return config_error("table " + std::string(schema) + "." + std::string(name) +
                          " names the keyspace \"" + std::string(keyspace) +
                          "\" of schemas, whose tables are not declared");
    }
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
    if (candidate.schema == schema && candidate.name == table) {
      candidate.keys = std::move(keys);
      return;
    }
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
    if (deal[i]) {
      std::get<HashPlacement>(keyspace.placement).owners = deal_evenly(topology.shards.size());
    }
    if (const std::string problem = arrange_placement(topology, keyspace); !problem.empty()) {
      return config_error(problem);
    }
    if (keyspace.schema() == nullptr) continue;
    for (const auto& [schema, shard] : keyspace.schema()->schemas) {
      if (!topology.home_of_schema(schema)) continue;
      return config_error("schema \"" + schema + "\" is listed in two keyspaces");
    }
    topology.schema_keyspaces.push_back(static_cast<std::uint16_t>(i));
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

}  // namespace pgshunt
