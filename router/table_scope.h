// The tables one query level sees, which of them are pinned to one key value, and by what.
//
// A predicate pins a table only if no row of the table that fails it can have a part in the result:
// top-level ANDs of WHERE, of an inner join's ON, and of an outer join's ON for the side it may
// drop. Equalities of keys carry a pin from table to table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/search_path.h"
#include "router/sql_tree.h"
#include "router/statement_plan.h"
#include "router/topology.h"

namespace pgshunt {

enum class TableClass : std::uint8_t { kSharded, kReference, kUnsharded, kCatalog, kDerived };

// What a table's name stands for in this statement.
struct ResolvedTable {
  TableClass placement = TableClass::kDerived;  // kDerived: a CTE, a subquery, a function
  const Table* table = nullptr;                 // null for catalogs, derived and undeclared tables
  ShardId home = 0;                             // kUnsharded
  // kUnsharded, found by the search path in a tenant's schema: a declared table of that name
  // further along the path. Which of the two is meant only the server knows; it has both to read
  // from.
  const Table* shadows = nullptr;
};

// 42P01 for a table that is not declared. Names of visible CTEs are the caller's business. `path`:
// PlanRequest::search_path.
Result<ResolvedTable> resolve_table(const Topology& topology, const SearchPath* path,
                                    const TableName& name);
// A table that is written must be told from those it shadows.
Status check_write_target(const ResolvedTable& table, const TableName& name);

// One item of FROM (or the target of UPDATE and DELETE).
struct TableUse {
  const TableName* name = nullptr;
  ResolvedTable resolved;
  std::optional<Pin> pin;
  // Its columns have other names at this level: by its own alias, or that of a join around it.
  bool renamed = false;

  bool sharded() const { return resolved.placement == TableClass::kSharded; }
  // Can its key column be referred to by the key's name?
  bool key_visible() const { return sharded() && !renamed; }
  std::string_view visible_name() const { return name->alias.empty() ? name->name : name->alias; }
};

class TableScope {
 public:
  // `outer`: the level around a subquery, or null; it must outlive this one. `types`: declared
  // parameter types.
  TableScope(const Topology& topology, const SearchPath* path,
             const std::vector<std::uint32_t>& types, const TableScope* outer)
      : topology_(topology), path_(path), types_(types), outer_(outer) {}

  // Tables and join conditions. `ctes`: names that are CTEs here.
  Status add_target(const TableName& target);
  Status add_from(const std::vector<FromItem>& items, const std::vector<std::string>& ctes);
  // The level's WHERE.
  void add_where(const Expr& where);
  // Decides which tables are pinned; after everything was added.
  void resolve_pins();

  const std::vector<TableUse>& tables() const { return tables_; }
  // What WHERE says of the keys of range keyspaces beyond `=`.
  const std::vector<KeyBound>& bounds() const { return bounds_; }
  // Parameters that were compared with keys, once for each comparison; numbered from 0.
  const std::vector<std::uint16_t>& key_parameters() const { return key_parameters_; }

  // The sharded table whose key `column` is, at this level; null if it is another column or cannot
  // be told.
  const TableUse* key_of(const Expr& column) const;
  // Are the keys of two tables of this level (by index) equal wherever both are in a row of the
  // result? WHERE and inner joins' ON say so; for the ON of an outer join that may drop the tables
  // [first, last), give that range.
  bool keys_joined(std::size_t left, std::size_t right, std::size_t first = 0,
                   std::size_t last = 0) const;

 private:
  // `table`'s key equals another's, or a value.
  struct Equality {
    std::size_t table = 0;
    std::size_t other = kNone;
    std::optional<Pin> value;
    // Of an outer join: the tables it may drop, [first, last). Beyond them it is known only
    // starting from one of them. Empty for conditions that every row fulfils.
    std::size_t first = 0;
    std::size_t last = 0;
  };
  static constexpr std::size_t kNone = ~std::size_t{0};

  Status add_item(const FromItem& item, const std::vector<std::string>& ctes);
  void add_join_conditions(const FromItem& join, std::size_t left, std::size_t middle,
                           std::size_t right);
  void add_conjuncts(const Expr& condition, std::size_t first, std::size_t last);
  void add_bounds(const Expr& condition);
  void add_bound(const Expr& key, KeyBound::Op op, const Expr& value);
  void add_equality(const Expr& left, const Expr& right, std::size_t first, std::size_t last);
  // What `condition` says of the key of one table: it is one of these values.
  struct KeyList {
    std::size_t table = kNone;
    std::vector<KeySource> values;
    bool array = false;  // the only value is an array of them
  };
  std::optional<KeyList> key_list(const Expr& condition);
  std::optional<KeyList> key_in(const Expr& condition);
  std::optional<KeyList> key_any(const Expr& condition);
  std::optional<KeyList> key_or(const Expr& condition);
  std::optional<KeyList> key_is(const Expr& key, const Expr& value);
  ShardKeyType key_type_of(std::size_t table) const;
  void add_list(KeyList list, std::size_t first, std::size_t last);
  void add_using(const std::string& column, std::size_t left, std::size_t middle, std::size_t right,
                 std::size_t first, std::size_t last);
  std::size_t index_of_key(const Expr& column) const;
  std::optional<Pin> pin_from_outside(const Expr& column) const;
  std::optional<Pin> search(std::size_t table) const;

  const Topology& topology_;
  const SearchPath* path_;
  const std::vector<std::uint32_t>& types_;
  const TableScope* outer_;
  std::vector<TableUse> tables_;
  std::vector<Equality> equalities_;
  std::vector<KeyBound> bounds_;
  std::vector<std::uint16_t> key_parameters_;
  bool merges_columns_ =
      false;  // a RIGHT or FULL join: whose column an unqualified name is, is open
};

// The value `expr` is, as a source for a key of `type`: a constant or a parameter, with a sign and
// a cast at most. Nothing for any other expression and for types that do not compare exactly.
std::optional<KeySource> key_source_of(const Expr& expr, ShardKeyType type,
                                       const std::vector<std::uint32_t>& types);
// The same of an array of keys, as = ANY takes it: the source's cast is the elements'.
std::optional<KeySource> key_array_of(const Expr& expr, ShardKeyType type,
                                      const std::vector<std::uint32_t>& types);

}  // namespace pgshunt
