#include "router/insert_plan.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "router/made_values.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

Error columns_unknown(const Table& table, const char* hint) {
  return refusal("the columns of table " + quoted(table.name) + " are not known to the proxy",
                 hint);
}

// Which value of a row is the key.
Result<std::size_t> key_position(const Query& insert, const Table& table) {
  if (insert.columns.empty()) {
    if (table.columns.empty()) {
      return columns_unknown(table, "Write INSERT with a column list.");
    }
    const auto at = std::find_if(table.columns.begin(), table.columns.end(),
                                 [&](const Column& c) { return c.name == table.key_column; });
    return static_cast<std::size_t>(at - table.columns.begin());
  }
  for (std::size_t i = 0; i < insert.columns.size(); ++i) {
    if (insert.columns[i].name != table.key_column) continue;
    if (insert.columns[i].subscripted) break;
    return i;
  }
  return missing_key("INSERT", table);
}

// DEFAULT VALUES, or all that is said of an identity column is passed over.
bool leaves_key_to_default(const Query& insert, const Table& table) {
  const Column* key = table.find_column(table.key_column);
  return !insert.source || (insert.overriding == Overriding::kUserValue && key != nullptr &&
                            key->identity != Identity::kNo);
}

Pin stored_pin(const Table& table, ShardKeyType type, KeySource source) {
  Pin pin;
  pin.keyspace = table.keyspace;
  pin.key_type = type;
  pin.source = std::move(source);
  pin.use = stored_key_use(table);
  return pin;
}

bool has_outer_join(const FromItem& item) {
  if (item.kind == FromItem::Kind::kJoin && item.join != JoinKind::kInner) return true;
  return std::any_of(item.sides.begin(), item.sides.end(), has_outer_join);
}

// The expression in the key's place of a SELECT's rows, if the place can be told.
const Expr* selected(const Query& select, std::size_t position) {
  if (position >= select.targets.size()) return nullptr;
  for (std::size_t i = 0; i <= position; ++i) {
    const auto& value = select.targets[i].value;
    if (!value || (value->kind == ExprKind::kColumn && value->star)) return nullptr;
  }
  return &*select.targets[position].value;
}

// The pin of a column that is a pinned table's key: rows of INSERT ... SELECT then have that key.
std::optional<Pin> selected_pin(const Query& select, const Expr& expr, ShardKeyType type,
                                const StatementAnalysis& analysis) {
  const TableScope* scope = analysis.scope_of(select);
  if (scope == nullptr || expr.kind != ExprKind::kColumn ||
      std::any_of(select.from.begin(), select.from.end(), has_outer_join)) {
    return std::nullopt;
  }
  const TableUse* use = scope->key_of(expr);
  if (use == nullptr || !use->pin || use->pin->key_type != type) return std::nullopt;
  return use->pin;
}

}  // namespace

KeyUse stored_key_use(const Table& table) {
  const Column* column = table.find_column(table.key_column);
  return column != nullptr && column->type_modifier == -1 ? KeyUse::kStoredUnmodified
                                                          : KeyUse::kStored;
}

std::vector<bool> text_parameters(const Query& insert, const Table& table,
                                  const std::vector<std::size_t>& uses) {
  std::vector<bool> out;
  const auto is_text = [&](std::size_t position) {
    const Column* column = nullptr;
    if (!insert.columns.empty()) {
      if (position >= insert.columns.size() || insert.columns[position].subscripted) return false;
      column = table.find_column(insert.columns[position].name);
    } else if (position < table.columns.size()) {
      column = &table.columns[position];
    }
    return column != nullptr &&
           (column->type_oid == type_oid::kText || column->type_oid == type_oid::kVarchar);
  };
  for (const std::vector<Expr>& row : insert.source->values) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (row[i].kind != ExprKind::kParameter || row[i].parameter == 0 || !is_text(i)) continue;
      const std::size_t number = row[i].parameter - 1;
      if (number >= uses.size() || uses[number] != 1) continue;
      if (out.size() <= number) out.resize(number + 1);
      out[number] = true;
    }
  }
  return out;
}

bool selects_own_key(const Topology& topology, const Query& insert, const Table& table,
                     const StatementAnalysis& analysis) {
  if (!insert.source || !insert.source->values.empty()) return false;
  const Query& source = *insert.source;
  const auto position = key_position(insert, table);
  if (!position || source.operation != SetOperation::kNone ||
      std::any_of(source.from.begin(), source.from.end(), has_outer_join)) {
    return false;
  }
  const Expr* value = selected(source, *position);
  const TableScope* scope = analysis.scope_of(source);
  if (value == nullptr || scope == nullptr || value->kind != ExprKind::kColumn) return false;
  const TableUse* use = scope->key_of(*value);
  return use != nullptr && use->sharded() && use->resolved.table->keyspace == table.keyspace &&
         table.keyspace < topology.keyspaces.size();
}

Result<std::vector<Pin>> insert_pins(const Topology& topology,
                                     const std::vector<std::uint32_t>& types, const Query& insert,
                                     const Table& table, const StatementAnalysis& analysis,
                                     std::vector<std::uint16_t>& key_parameters) {
  const auto position = key_position(insert, table);
  if (!position) return position.error();
  if (leaves_key_to_default(insert, table)) return missing_key("INSERT", table);
  const ShardKeyType type = topology.keyspaces[table.keyspace].key_type;
  const Error not_a_value = refusal(
      "the shard key " + quoted(table.key_column) + " in INSERT into " + quoted(table.name) +
          " is not a constant or parameter of a type that can be hashed",
      "Compute the key before you send the statement.");

  std::vector<Pin> pins;
  const auto add_value = [&](const Expr& value) -> Status {
    if (value.kind == ExprKind::kDefault) return missing_key("INSERT", table);
    auto source = key_source_of(value, type, types);
    if (!source) return not_a_value;
    if (source->kind == KeySource::Kind::kParameter) key_parameters.push_back(source->parameter);
    pins.push_back(stored_pin(table, type, std::move(*source)));
    return Ok{};
  };

  const Query& source = *insert.source;
  if (!source.values.empty()) {
    for (const std::vector<Expr>& row : source.values) {
      if (*position >= row.size()) {
        // Without a column list a short row leaves the last columns to their defaults.
        if (insert.columns.empty()) return missing_key("INSERT", table);
        return Error{sqlstate::kSyntaxError, "INSERT has more target columns than expressions", {}};
      }
      if (const Status added = add_value(row[*position]); !added) return added.error();
    }
    return pins;
  }
  const Expr* value =
      source.operation == SetOperation::kNone ? selected(source, *position) : nullptr;
  if (value == nullptr) return not_a_value;
  if (auto pin = selected_pin(source, *value, type, analysis)) {
    pin->stores_matches = pin->keyspace != table.keyspace;
    pin->keyspace = table.keyspace;
    pins.push_back(std::move(*pin));
    return pins;
  }
  if (selects_own_key(topology, insert, table, analysis)) return pins;  // not pinned: on all shards
  if (const Status added = add_value(*value); !added) return added.error();
  return pins;
}

Result<std::vector<Pin>> told_insert_pins(const Topology& topology,
                                          const std::vector<std::uint32_t>& types,
                                          const Query& insert, const Table& table) {
  std::vector<Pin> pins;
  const auto position = key_position(insert, table);
  // A default would make a key there that may be another shard's.
  if (!position) return position.error();
  if (leaves_key_to_default(insert, table)) return missing_key("INSERT", table);
  const ShardKeyType type = topology.keyspaces[table.keyspace].key_type;
  const auto add_value = [&](const Expr& value) -> Status {
    // It gives no more than a default does.
    if (is_unique_id_call(value)) {
      return refusal("the shard key " + quoted(table.key_column) +
                         " of a row for a hinted shard cannot be made by pgshunt.unique_id()",
                     "Leave out the hint: the row goes where its key belongs.");
    }
    if (auto source = key_source_of(value, type, types)) {
      pins.push_back(stored_pin(table, type, std::move(*source)));
    }
    return Ok{};
  };
  for (const std::vector<Expr>& row : insert.source->values) {
    if (*position >= row.size() || row[*position].kind == ExprKind::kDefault) {
      return missing_key("INSERT", table);
    }
    if (const Status added = add_value(row[*position]); !added) return added.error();
  }
  if (!insert.source->values.empty() || insert.source->operation != SetOperation::kNone) {
    return pins;
  }
  if (const Expr* value = selected(*insert.source, *position)) {
    if (const Status added = add_value(*value); !added) return added.error();
  }
  return pins;
}

Status check_on_conflict(const Query& insert, const Table& table) {
  if (insert.conflict == ConflictAction::kNone) return Ok{};
  for (const Target& assignment : insert.assignments) {
    if (assignment.name == table.key_column) {
      return refusal("ON CONFLICT DO UPDATE may not set the shard key " + quoted(table.key_column),
                     "Delete the row and insert it anew.");
    }
  }
  if (insert.conflict_constraint) {
    return refusal("ON CONFLICT ON CONSTRAINT is not supported for a sharded table",
                   "Name the constraint's columns; the shard key must be one of them.");
  }
  if (!insert.conflict_columns.empty() &&
      std::find(insert.conflict_columns.begin(), insert.conflict_columns.end(), table.key_column) ==
          insert.conflict_columns.end()) {
    return refusal("ON CONFLICT does not contain the shard key " + quoted(table.key_column),
                   "Such an index is unique on each shard only: add the key to it.");
  }
  return Ok{};
}

Status check_defaults_are_same(const Query& insert, const Table& table, bool has_default) {
  if (table.columns.empty()) {
    return columns_unknown(table, "Their defaults could differ from shard to shard.");
  }
  const std::size_t given =
      insert.columns.empty() && insert.source && !insert.source->values.empty()
          ? insert.source->values.front().size()
          : 0;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const Column& column = table.columns[i];
    if (column.fallback != ColumnDefault::kDiffers) continue;
    const bool named =
        std::any_of(insert.columns.begin(), insert.columns.end(),
                    [&](const Target& target) { return target.name == column.name; });
    const bool passed_over =
        insert.overriding == Overriding::kUserValue && column.identity != Identity::kNo;
    if (!has_default && !passed_over && (named || i < given)) continue;
    return refusal("the default of column " + quoted(column.name) + " of reference table " +
                       quoted(table.name) + " would differ from shard to shard",
                   "Give the column a value in the statement.");
  }
  return Ok{};
}

}  // namespace pgshunt
