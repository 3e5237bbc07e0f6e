#include "router/table_scope.h"

#include <algorithm>
#include <utility>

#include "router/refusal.h"

namespace pgshunt {
namespace {

bool is_operator(const Expr& expr, std::string_view name) {
  return !expr.names.empty() && expr.names.back() == name &&
         (expr.names.size() == 1 || (expr.names.size() == 2 && expr.names[0] == "pg_catalog"));
}

bool is_equals(const Expr& expr) { return is_operator(expr, "="); }

// Does `=` between two keys mean that they hash equally?
bool same_family(ShardKeyType a, ShardKeyType b) {
  if (a == b) return true;
  if (is_integer(a) && is_integer(b)) return true;
  return is_string(a) && is_string(b);
}

// Outer joins whose merged USING columns are not simply the left side's.
bool has_right_or_full_join(const FromItem& item) {
  if (item.kind != FromItem::Kind::kJoin) return false;
  if (item.join == JoinKind::kRight || item.join == JoinKind::kFull) return true;
  return std::any_of(item.sides.begin(), item.sides.end(), has_right_or_full_join);
}

bool comparable(const Pin& pin, ShardKeyType type) {
  return comparable_with_key(type, pin.source.cast) &&
         (!pin.more || std::all_of(pin.more->begin(), pin.more->end(), [type](const KeySource& s) {
           return comparable_with_key(type, s.cast);
         }));
}

bool is_system_schema(std::string_view schema) {
  return schema == "pg_catalog" || schema == "information_schema";
}

}  // namespace

namespace {

ResolvedTable declared(const Table& table) {
  switch (table.placement) {
    case TablePlacement::kSharded:
      return {TableClass::kSharded, &table, 0, nullptr};
    case TablePlacement::kReference:
      return {TableClass::kReference, &table, 0, nullptr};
    case TablePlacement::kUnsharded:
      break;
  }
  return {TableClass::kUnsharded, &table, table.home, nullptr};
}

Error opaque(std::string_view shown) {
  return {sqlstate::kFeatureNotSupported,
          "\"" + std::string(shown) + "\" is not a plain table and may show rows of sharded ones",
          "If it does not, declare it as unsharded in the configuration."};
}

std::string shown_name(std::string_view schema, std::string_view name) {
  return schema.empty() ? std::string(name) : std::string(schema) + "." + std::string(name);
}

Error ambiguous(std::string_view name, std::string_view schema, std::string_view other) {
  return refusal("table \"" + std::string(name) + "\" may be " + shown_name(schema, name) + " or " +
                     shown_name(other, name) + ", which need not be on one shard",
                 "Write its schema, or reset search_path.");
}

// May it have tables that nobody declared, in place of one found further along a path?
bool is_unknown_schema(const Topology& topology, const std::string& schema) {
  return topology.default_home ||
         std::none_of(topology.tables.begin(), topology.tables.end(),
                      [&schema](const Table& table) { return table.schema == schema; });
}

// A table without its schema, where the session has a path of its own or some schemas of it are
// tenants'. Which of those have such a table is not known, so two places are an error.
Result<std::optional<ResolvedTable>> resolve_along(const Topology& topology,
                                                   const std::vector<std::string>& path,
                                                   std::string_view name) {
  std::optional<ResolvedTable> tenant;
  std::string_view tenant_schema;
  std::string_view unknown;  // before the tenant's
  for (const std::string& schema : path) {
    if (schema.empty() || is_system_schema(schema) || schema.starts_with("pg_")) continue;
    const Table* table = topology.find_table(schema, name);
    const auto home = table ? std::optional<ShardId>() : topology.home_of_schema(schema);
    if (!table && !home) {
      if (topology.is_opaque(schema, name)) return opaque(shown_name(schema, name));
      if (!tenant && unknown.empty() && is_unknown_schema(topology, schema)) unknown = schema;
      continue;
    }
    const ResolvedTable here =
        table ? declared(*table) : ResolvedTable{TableClass::kUnsharded, nullptr, *home, nullptr};
    if (!table && topology.is_opaque(schema, name)) return opaque(shown_name(schema, name));
    if (!tenant) {
      const bool with_undeclared =
          here.placement == TableClass::kUnsharded && topology.default_home == here.home;
      if (!unknown.empty() && !with_undeclared) return ambiguous(name, unknown, schema);
      if (table) return std::optional(here);
      tenant = here;
      tenant_schema = schema;
      continue;
    }
    const bool there_too = here.placement == TableClass::kReference ||
                           (here.placement == TableClass::kUnsharded && here.home == tenant->home);
    if (!there_too) return ambiguous(name, tenant_schema, schema);
    if (!table) continue;
    if (here.placement == TableClass::kReference) tenant->shadows = table;
    return tenant;
  }
  return tenant;
}

}  // namespace

Result<ResolvedTable> resolve_table(const Topology& topology, const SearchPath* path,
                                    const TableName& name) {
  if (is_system_schema(name.schema))
    return ResolvedTable{TableClass::kCatalog, nullptr, 0, nullptr};
  // pg_catalog is searched first, whatever the search path, but a declared table is known to be
  // none of its.
  const bool system = name.schema.empty() && name.name.starts_with("pg_");
  const std::string shown = shown_name(name.schema, name.name);
  const bool along_path = topology.has_tenant_schemas() || path != nullptr;
  if (!along_path || !name.schema.empty() || system) {
    if (const Table* table = topology.find_table(name.schema, name.name)) return declared(*table);
    if (const auto home = topology.home_of_schema(name.schema)) {
      if (topology.is_opaque(name.schema, name.name)) return opaque(shown);
      return ResolvedTable{TableClass::kUnsharded, nullptr, *home, nullptr};
    }
  } else {
    auto found = resolve_along(topology, path ? path->schemas() : topology.search_path, name.name);
    if (!found) return found.error();
    if (*found) return **found;
    if (path != nullptr && !topology.has_tenant_schemas() && !topology.default_home) {
      for (const std::string& schema : path->schemas()) {
        if (schema.starts_with("pg_") || !is_unknown_schema(topology, schema)) continue;
        return refusal("table " + quoted(name.name) + " may be in schema " + quoted(schema) +
                           ", of which no table is declared",
                       "Declare it, or reset search_path.");
      }
    }
  }
  if (system) return ResolvedTable{TableClass::kCatalog, nullptr, 0, nullptr};
  if (topology.default_home) {
    if (topology.is_opaque(name.schema, name.name)) return opaque(shown);
    return ResolvedTable{TableClass::kUnsharded, nullptr, *topology.default_home, nullptr};
  }
  return Error{
      sqlstate::kUndefinedTable, "table \"" + shown + "\" is not declared to the proxy",
      "Declare it as sharded, reference or unsharded in the configuration, or its schema in a "
      "keyspace of schemas."};
}

Status check_write_target(const ResolvedTable& table, const TableName& name) {
  if (table.shadows == nullptr) return Ok{};
  return refusal("table \"" + name.name + "\" may be a tenant's or the reference table " +
                     shown_name(table.shadows->schema, name.name),
                 "Write its schema, or reset search_path.");
}

Status TableScope::add_target(const TableName& target) {
  TableUse use;
  use.name = &target;
  auto resolved = resolve_table(topology_, path_, target);
  if (!resolved) return resolved.error();
  use.resolved = *resolved;
  tables_.push_back(std::move(use));
  return Ok{};
}

Status TableScope::add_from(const std::vector<FromItem>& items,
                            const std::vector<std::string>& ctes) {
  for (const FromItem& item : items) {
    merges_columns_ |= has_right_or_full_join(item);
    if (const Status added = add_item(item, ctes); !added) return added.error();
  }
  return Ok{};
}

Status TableScope::add_item(const FromItem& item, const std::vector<std::string>& ctes) {
  if (item.kind == FromItem::Kind::kJoin) {
    const std::size_t left = tables_.size();
    if (const Status added = add_item(item.sides[0], ctes); !added) return added.error();
    const std::size_t middle = tables_.size();
    if (const Status added = add_item(item.sides[1], ctes); !added) return added.error();
    add_join_conditions(item, left, middle, tables_.size());
    for (std::size_t i = left; item.table.column_aliases && i < tables_.size(); ++i) {
      tables_[i].renamed = true;
    }
    return Ok{};
  }
  for (const FromItem& side : item.sides) {
    if (const Status added = add_item(side, ctes); !added) return added.error();
  }
  if (item.kind == FromItem::Kind::kOther && !item.sides.empty()) return Ok{};
  TableUse use;
  use.name = &item.table;
  use.renamed = item.table.column_aliases;
  const bool is_cte = item.kind == FromItem::Kind::kTable && item.table.schema.empty() &&
                      std::find(ctes.begin(), ctes.end(), item.table.name) != ctes.end();
  if (item.kind == FromItem::Kind::kTable && !is_cte) {
    auto resolved = resolve_table(topology_, path_, item.table);
    if (!resolved) return resolved.error();
    use.resolved = *resolved;
  }
  tables_.push_back(std::move(use));
  return Ok{};
}

void TableScope::add_join_conditions(const FromItem& join, std::size_t left, std::size_t middle,
                                     std::size_t right) {
  std::size_t first = 0;
  std::size_t last = 0;
  switch (join.join) {
    case JoinKind::kInner:
      break;
    case JoinKind::kLeft:
      first = middle;
      last = right;
      break;
    case JoinKind::kRight:
      first = left;
      last = middle;
      break;
    case JoinKind::kFull:
      return;  // every row of both sides stays, condition or not
  }
  for (const Expr& on : join.exprs) add_conjuncts(on, first, last);
  if (has_right_or_full_join(join)) return;
  for (const std::string& column : join.using_columns) {
    add_using(column, left, middle, right, first, last);
  }
}

void TableScope::add_using(const std::string& column, std::size_t left, std::size_t middle,
                           std::size_t right, std::size_t first, std::size_t last) {
  const auto find = [this, &column](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      if (tables_[i].key_visible() && tables_[i].resolved.table->key_column == column) return i;
    }
    return kNone;
  };
  const std::size_t a = find(left, middle);
  const std::size_t b = find(middle, right);
  if (a == kNone || b == kNone) return;
  Equality equality;
  equality.table = a;
  equality.other = b;
  equality.first = first;
  equality.last = last;
  equalities_.push_back(std::move(equality));
}

void TableScope::add_where(const Expr& where) {
  add_conjuncts(where, 0, 0);
  add_bounds(where);
}

// Of WHERE only: every row of the result meets it. An inner join's ON below an outer join says
// less.
void TableScope::add_bounds(const Expr& condition) {
  using Op = KeyBound::Op;
  if (condition.kind == ExprKind::kAnd) {
    for (const Expr& arg : condition.args) add_bounds(arg);
    return;
  }
  if (condition.kind == ExprKind::kScalar && condition.text == "BETWEEN" &&
      condition.args.size() == 3) {
    add_bound(condition.args[0], Op::kGreaterOrEqual, condition.args[1]);
    add_bound(condition.args[0], Op::kLessOrEqual, condition.args[2]);
    return;
  }
  if (condition.kind != ExprKind::kOperator || condition.args.size() != 2) return;
  struct Comparison {
    std::string_view name;
    Op op;
    Op turned;  // with the key on the right
  };
  static constexpr Comparison kComparisons[] = {
      {"<", Op::kLess, Op::kGreater},
      {"<=", Op::kLessOrEqual, Op::kGreaterOrEqual},
      {">", Op::kGreater, Op::kLess},
      {">=", Op::kGreaterOrEqual, Op::kLessOrEqual},
  };
  for (const Comparison& comparison : kComparisons) {
    if (!is_operator(condition, comparison.name)) continue;
    add_bound(condition.args[0], comparison.op, condition.args[1]);
    add_bound(condition.args[1], comparison.turned, condition.args[0]);
  }
}

void TableScope::add_bound(const Expr& key, KeyBound::Op op, const Expr& value) {
  const std::size_t index = index_of_key(key);
  if (index == kNone) return;
  const Table& table = *tables_[index].resolved.table;
  const Keyspace& keyspace = topology_.keyspaces[table.keyspace];
  if (keyspace.range() == nullptr) return;
  if (is_string(keyspace.key_type)) {
    const Column* column = table.find_column(table.key_column);
    if (column == nullptr || !column->bytewise) return;
  }
  auto source = key_source_of(value, keyspace.key_type, types_);
  if (!source) return;
  if (source->kind == KeySource::Kind::kParameter) key_parameters_.push_back(source->parameter);
  bounds_.push_back({table.keyspace, op, std::move(*source)});
}

void TableScope::add_conjuncts(const Expr& condition, std::size_t first, std::size_t last) {
  switch (condition.kind) {
    case ExprKind::kAnd:
      for (const Expr& arg : condition.args) add_conjuncts(arg, first, last);
      return;
    case ExprKind::kOperator:
    case ExprKind::kIn:  // IN (x) is = x
      if (condition.args.size() == 2 && is_equals(condition)) {
        add_equality(condition.args[0], condition.args[1], first, last);
        add_equality(condition.args[1], condition.args[0], first, last);
        return;
      }
      [[fallthrough]];
    case ExprKind::kAnyOrAll:
    case ExprKind::kOr:
      if (auto list = key_list(condition)) add_list(std::move(*list), first, last);
      return;
    default:
      return;
  }
}

void TableScope::add_equality(const Expr& left, const Expr& right, std::size_t first,
                              std::size_t last) {
  Equality equality;
  equality.table = index_of_key(left);
  equality.first = first;
  equality.last = last;
  if (equality.table == kNone) return;
  const Table& table = *tables_[equality.table].resolved.table;
  const ShardKeyType type = topology_.keyspaces[table.keyspace].key_type;
  if (right.kind == ExprKind::kColumn) {
    equality.other = index_of_key(right);
    if (equality.other == kNone) {
      equality.value = pin_from_outside(right);
      if (!equality.value || !same_family(type, equality.value->key_type)) return;
    } else {
      const Table& other = *tables_[equality.other].resolved.table;
      if (!same_family(type, topology_.keyspaces[other.keyspace].key_type)) return;
    }
  } else if (auto source = key_source_of(right, type, types_)) {
    if (source->kind == KeySource::Kind::kParameter) key_parameters_.push_back(source->parameter);
    Pin pin;
    pin.keyspace = table.keyspace;
    pin.key_type = type;
    pin.source = std::move(*source);
    equality.value = std::move(pin);
  } else {
    return;
  }
  equalities_.push_back(std::move(equality));
}

// --- names ------------------------------------------------------------------------------------

std::size_t TableScope::index_of_key(const Expr& column) const {
  if (column.kind != ExprKind::kColumn || column.star || column.names.empty()) return kNone;
  const std::string& name = column.names.back();
  const auto is_key = [this, &name](std::size_t i) {
    return tables_[i].key_visible() && tables_[i].resolved.table->key_column == name;
  };
  if (column.names.size() == 1) {
    std::size_t found = kNone;
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      if (!is_key(i)) continue;
      if (found == kNone) {
        found = i;
      } else if (merges_columns_) {
        return kNone;
      }
    }
    // Of several, the first: either USING merged them, and the merged column of inner and left
    // joins is the left one's, or the server will call the name ambiguous.
    return found;
  }
  const std::string& qualifier = column.names[column.names.size() - 2];
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    if (tables_[i].visible_name() != qualifier) continue;
    if (column.names.size() == 3 && tables_[i].sharded() &&
        tables_[i].resolved.table->schema != column.names[0]) {
      continue;
    }
    if (column.names.size() > 3 || !is_key(i)) return kNone;
    return i;
  }
  return kNone;
}

const TableUse* TableScope::key_of(const Expr& column) const {
  const std::size_t index = index_of_key(column);
  return index == kNone ? nullptr : &tables_[index];
}

std::optional<Pin> TableScope::pin_from_outside(const Expr& column) const {
  // An unqualified name may be any column of this level's tables.
  if (column.kind != ExprKind::kColumn || column.names.size() < 2) return std::nullopt;
  const std::string& qualifier = column.names[column.names.size() - 2];
  for (const TableUse& use : tables_) {
    if (use.visible_name() == qualifier) return std::nullopt;
  }
  if (outer_ == nullptr) return std::nullopt;
  if (const TableUse* use = outer_->key_of(column)) return use->pin;
  return outer_->pin_from_outside(column);
}

// --- pins -------------------------------------------------------------------------------------

void TableScope::resolve_pins() {
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    if (tables_[i].sharded()) tables_[i].pin = search(i);
  }
}

// Follows equalities from a table's key to a value. All nodes reached are keys that are not NULL in
// the rows in question, so a condition of an outer join may be used when it is met from the side
// that the join may drop: that side being there, the condition held.
std::optional<Pin> TableScope::search(std::size_t table) const {
  std::vector<bool> seen(tables_.size(), false);
  std::vector<std::size_t> queue{table};
  seen[table] = true;
  std::optional<Pin> list;
  for (std::size_t head = 0; head < queue.size(); ++head) {
    const std::size_t at = queue[head];
    const auto usable_from = [table, at](const Equality& equality) {
      if (equality.first == equality.last) return true;
      const auto droppable = [&equality](std::size_t i) {
        return i >= equality.first && i < equality.last;
      };
      return droppable(table) || droppable(at);
    };
    for (const Equality& equality : equalities_) {
      if (!usable_from(equality)) continue;
      if (equality.value && equality.table == at) {
        Pin pin = *equality.value;
        // The value places the rows of the table it was searched for.
        const Table& target = *tables_[table].resolved.table;
        const ShardKeyType type = topology_.keyspaces[target.keyspace].key_type;
        if (!comparable(pin, type)) continue;
        pin.keyspace = target.keyspace;
        pin.key_type = type;
        if (!pin.is_list()) return pin;
        // One value is better than several.
        if (!list) list = std::move(pin);
        continue;
      }
      if (equality.value) continue;
      std::size_t next = kNone;
      if (equality.table == at) next = equality.other;
      if (equality.other == at) next = equality.table;
      if (next == kNone || seen[next]) continue;
      seen[next] = true;
      queue.push_back(next);
    }
  }
  return list;
}

bool TableScope::keys_joined(std::size_t left, std::size_t right, std::size_t first,
                             std::size_t last) const {
  const Table* a = tables_[left].resolved.table;
  const Table* b = tables_[right].resolved.table;
  if (!tables_[left].sharded() || !tables_[right].sharded() || a->keyspace != b->keyspace) {
    return false;
  }
  return std::any_of(equalities_.begin(), equalities_.end(), [=](const Equality& equality) {
    if (equality.value) return false;
    const bool everywhere = equality.first == equality.last;
    if (!everywhere && (equality.first != first || equality.last != last)) return false;
    return (equality.table == left && equality.other == right) ||
           (equality.table == right && equality.other == left);
  });
}

}  // namespace pgshunt
