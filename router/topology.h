// The shard map of one database: which shards there are, which buckets they own, which tables are
// spread over them.
//
// A Topology is an immutable snapshot, shared by all workers through shared_ptr<const Topology>. A
// change makes a new one with a higher epoch; plans carry the epoch they were made under.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/drift.h"
#include "router/key_type.h"
#include "router/placement.h"
#include "router/type_map.h"

namespace pgshunt {

struct Shard {
  std::string name;
};

struct Keyspace {
  std::string name;
  ShardKeyType key_type = ShardKeyType::kInt8;  // means nothing to a SchemaPlacement
  Placement placement;

  // Null for another strategy.
  const HashPlacement* hash() const { return std::get_if<HashPlacement>(&placement); }
  const RangePlacement* range() const { return std::get_if<RangePlacement>(&placement); }
  const SchemaPlacement* schema() const { return std::get_if<SchemaPlacement>(&placement); }
};

enum class TablePlacement : std::uint8_t {
  kSharded,    // rows spread by the key column
  kReference,  // a full copy on every shard
  kUnsharded,  // lives on one shard
};

// What stands in a column that an INSERT leaves out.
enum class ColumnDefault : std::uint8_t {
  kNone,     // NULL
  kSame,     // a constant: the same on every shard
  kDiffers,  // now(), nextval(), identity, gen_random_uuid(), ...: each shard would have its own
};

// What the sequences of one name that the shards have give, for a column of a sharded table.
enum class SequenceNumbers : std::uint8_t {
  kApart,    // no two of them the same number
  kUnused,   // the same, but none has given any yet: they can be set apart
  kCollide,  // the same, and may have done so
};

// A column as the catalog has it.
// GENERATED ... AS IDENTITY. Of kAlways an INSERT may give the value only by OVERRIDING SYSTEM
// VALUE.
enum class Identity : std::uint8_t { kNo, kByDefault, kAlways };

struct Column {
  std::string name;
  std::uint32_t type_oid = 0;
  std::int32_t type_modifier = -1;
  ColumnDefault fallback = ColumnDefault::kNone;
  // GENERATED ALWAYS AS (...): COPY has no field for it.
  bool generated = false;
  // Text of the column sorts bytewise: its collation is C, POSIX or C.UTF-8, or it has the
  // database's and that is one of them. False for anything else and where nothing is known.
  bool bytewise = false;
  // Its collation is deterministic: equal means equal bytes. Needed of text keys.
  bool deterministic = true;
  bool not_null = false;
  bool unique_id = false;  // its default is pgshunt.unique_id()
  // Which its default or identity takes numbers from, as SQL names it; empty: none.
  std::string sequence;
  // The default is the sequence's next number and nothing else.
  bool takes_number = false;
  Identity identity = Identity::kNo;
  SequenceNumbers numbers = SequenceNumbers::kApart;
  friend bool operator==(const Column&, const Column&) = default;
};

// A primary key, or a unique index over plain columns and all rows.
struct UniqueKey {
  std::string name;
  std::vector<std::string> columns;
  bool primary = false;
  friend bool operator==(const UniqueKey&, const UniqueKey&) = default;
};

// Why rows of a table cannot be moved to another shard by deleting them here and inserting them
// there: somebody would see the difference.
struct MoveObstacle {
  std::string what;  // "has triggers"
  // Only if this is the key; empty: whatever the key; "*": never, but one statement that stores
  // many rows is not the same as several.
  std::string column;
  friend bool operator==(const MoveObstacle&, const MoveObstacle&) = default;
};

struct Table {
  std::string schema;
  std::string name;
  TablePlacement placement = TablePlacement::kSharded;
  std::uint16_t keyspace = 0;  // kSharded: index into Topology::keyspaces
  std::string key_column;      // kSharded
  ShardId home = 0;            // kUnsharded
  // In attribute order, dropped ones left out. Empty: not known; statements whose plan needs them
  // (INSERT without a column list, ORDER BY a text column, ...) are refused with a hint.
  std::vector<Column> columns;
  std::vector<UniqueKey> keys;               // as far as the catalog is known
  std::vector<MoveObstacle> move_obstacles;  // of all shards; the same

  // Null if there is no such column, or no columns are known.
  const Column* find_column(std::string_view column) const;
};

// What a function outside pg_catalog may do, by the worst of its overloads.
enum class UserFunctionClass : std::uint8_t {
  kPortable,   // declared IMMUTABLE: its arguments decide, on any shard
  kAggregate,  // of such functions
  kLocal,      // of C code that is not immutable: an extension's, reading no tables of ours
  kMayRead,    // anything else may read or write any table, and would see one shard's part of it
};

struct UserFunction {
  std::string name;
  UserFunctionClass behaviour = UserFunctionClass::kMayRead;
};

// One overload, for who wants to know more than the worst of them.
struct UserFunctionOverload {
  std::string schema;
  std::string name;
  std::string arguments;  // types, as PostgreSQL writes them: "integer, text"
  std::vector<std::uint32_t> argument_types;
  char volatility = 'v';  // pg_proc.provolatile
  char kind = 'f';        // pg_proc.prokind
  std::string language;
  UserFunctionClass behaviour = UserFunctionClass::kMayRead;
  friend bool operator==(const UserFunctionOverload&, const UserFunctionOverload&) = default;
};

struct RelationName {
  std::string schema;
  std::string name;
  friend bool operator==(const RelationName&, const RelationName&) = default;
};

// What is known of one shard's catalog.
struct ShardKnowledge {
  bool known = false;
  std::shared_ptr<const TypeMap> types;  // null: its types have the first shard's OIDs
};

// A type whose values have an order of their own.
struct EnumType {
  std::string schema;
  std::string name;
  std::uint32_t oid = 0;  // on the first shard
  std::vector<std::string> labels;
};

struct Topology {
  std::uint64_t epoch = 0;
  std::vector<Shard> shards;
  std::vector<ShardId> all_shards;  // 0, 1, 2, ...: what a scatter reads
  std::vector<Keyspace> keyspaces;
  std::vector<Table> tables;  // sorted by schema, then name
  std::vector<std::string> search_path{"public"};
  // Where a table that is not declared lives; unset: such a table is an error.
  std::optional<ShardId> default_home;
  bool moves_rows = false;  // UPDATE may set a shard key
  // Functions outside pg_catalog, sorted by name. Empty: not known.
  std::vector<UserFunction> user_functions;
  // Views, foreign tables and partitions: what they show is not to be seen from their name,
  // so they do not go to default_home unless they are declared.
  std::vector<RelationName> opaque_relations;

  // What the shards' catalogs say, once the first shard's has been read.
  bool catalog_known = false;
  // Why it never will be (no user to read it as): nobody should wait for it.
  std::string catalog_problem;
  std::vector<ShardKnowledge> knowledge;        // by shard; empty: nothing is known
  std::vector<UserFunctionOverload> overloads;  // of the first shard, by schema, name, arguments
  std::vector<EnumType> enums;                  // of the first shard, by schema and name
  std::vector<Drift> drift;
  // pgshunt.unique_id() may be called on all shards that are known: none gives another's ids.
  bool unique_ids = false;

  bool knows(ShardId shard) const { return shard < knowledge.size() && knowledge[shard].known; }
  // Null: nothing to translate.
  const std::shared_ptr<const TypeMap>& types_of(ShardId shard) const {
    static const std::shared_ptr<const TypeMap> kNone;
    return shard < knowledge.size() ? knowledge[shard].types : kNone;
  }

  // Null: not declared. An empty schema is looked for along the search path. Allocates nothing.
  const Table* find_table(std::string_view schema, std::string_view name) const;
  // In any schema; null if there is none of that name.
  const UserFunction* find_user_function(std::string_view name) const;
  // With an empty schema: in any.
  bool is_opaque(std::string_view schema, std::string_view name) const;
  // The shard of a schema-per-tenant schema; unset: it is none.
  std::optional<ShardId> home_of_schema(std::string_view schema) const;
  // Is there any?
  bool has_tenant_schemas() const { return !schema_keyspaces.empty(); }
  std::vector<std::uint16_t> schema_keyspaces;  // those with a SchemaPlacement
};

// Collects and checks a Topology. Each add_* may fail, with a message that names the offender.
//
//   TopologyBuilder builder;
//   builder.add_shard("s0"); ...
//   builder.add_keyspace("users", ShardKeyType::kInt8);          // dealt evenly
//   builder.add_sharded_table("public", "users", "users", "id");
//   auto topology = builder.build(epoch);
class TopologyBuilder {
 public:
  Result<ShardId> add_shard(std::string_view name);
  // Buckets are dealt evenly over the shards that are there at build() ...
  Status add_keyspace(std::string_view name, ShardKeyType type);
  // ... or owned as given ...
  Status add_keyspace(std::string_view name, ShardKeyType type, const BucketOwners& owners);
  // ... or placed by another strategy; ranges, values and schemas in any order. The buckets of a
  // directory's new keys are dealt evenly at build().
  Status add_keyspace(std::string_view name, ShardKeyType type, Placement placement);
  // Of a hash keyspace: this key (as text) has a shard of its own.
  Status add_override(std::string_view keyspace, std::string_view key, std::string_view shard);
  Status add_sharded_table(std::string_view schema, std::string_view name,
                           std::string_view keyspace, std::string_view key_column);
  Status add_reference_table(std::string_view schema, std::string_view name);
  Status add_unsharded_table(std::string_view schema, std::string_view name,
                             std::string_view shard);
  Status set_default_home(std::string_view shard);
  void set_search_path(std::vector<std::string> schemas);
  // What the catalog says; see router/catalog.h for the query that fetches it. A table that was not
  // declared is ignored, so that whole catalogs can be poured in.
  void set_columns(std::string_view schema, std::string_view table, std::vector<Column> columns);
  // Of several of one name the worst counts.
  void add_user_function(std::string_view name, UserFunctionClass behaviour);
  void add_opaque_relation(std::string_view schema, std::string_view name);

  void set_unique_keys(std::string_view schema, std::string_view table,
                       std::vector<UniqueKey> keys);
  // Declared so far, for who compares catalogs with it and adds what they say.
  Topology& declared() { return topology_; }

  // Last checks: there is a shard; every owner exists; known key columns exist and have their
  // keyspace's type and, for text, a deterministic collation, for ranges of text one that sorts
  // bytewise. The builder is left empty.
  Result<std::shared_ptr<const Topology>> build(std::uint64_t epoch);

 private:
  std::optional<ShardId> find_shard(std::string_view name) const;
  Status add_table(Table table);
  Keyspace* find_keyspace(std::string_view name);

  Topology topology_;
  std::vector<bool> deal_evenly_;  // by keyspace
};

// Can rows be spread by this column as it is? The message names table and column.
Status check_key_column(const Keyspace& keyspace, const Table& table,
                        const std::vector<Column>& columns);

}  // namespace pgshunt
