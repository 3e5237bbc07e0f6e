// Which conditions say that a key is one of several values.

#include <algorithm>

#include "router/table_scope.h"

namespace pgshunt {
namespace {

bool is_equals(const Expr& expr) {
  return !expr.names.empty() && expr.names.back() == "=" &&
         (expr.names.size() == 1 || (expr.names.size() == 2 && expr.names[0] == "pg_catalog"));
}

// IN gives all its values one type. A parameter that leaves its own open takes it from the others,
// so it is the key's only where all that have a type are such parameters too.
bool types_are_the_keys(const std::vector<KeySource>& values,
                        const std::vector<std::uint32_t>& types) {
  std::size_t open = 0;
  std::size_t typed = 0;
  for (const KeySource& value : values) {
    if (value.kind == KeySource::Kind::kConstant) {
      const bool untyped =
          value.form == KeyInput::Form::kNull || value.form == KeyInput::Form::kString;
      typed += !untyped || value.cast != 0;
    } else if (value.cast != 0 || (value.parameter < types.size() && types[value.parameter] != 0)) {
      ++typed;
    } else {
      ++open;
    }
  }
  return open == 0 || typed == 0;
}

}  // namespace

ShardKeyType TableScope::key_type_of(std::size_t table) const {
  return topology_.keyspaces[tables_[table].resolved.table->keyspace].key_type;
}

std::optional<TableScope::KeyList> TableScope::key_list(const Expr& condition) {
  switch (condition.kind) {
    case ExprKind::kOperator:
      if (condition.args.size() != 2 || !is_equals(condition)) return std::nullopt;
      if (auto list = key_is(condition.args[0], condition.args[1])) return list;
      return key_is(condition.args[1], condition.args[0]);
    case ExprKind::kIn:
      return key_in(condition);
    case ExprKind::kAnyOrAll:
      return key_any(condition);
    case ExprKind::kOr:
      return key_or(condition);
    case ExprKind::kAnd:
      for (const Expr& arg : condition.args) {
        if (auto list = key_list(arg)) return list;
      }
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<TableScope::KeyList> TableScope::key_is(const Expr& key, const Expr& value) {
  KeyList list;
  list.table = index_of_key(key);
  if (list.table == kNone) return std::nullopt;
  auto source = key_source_of(value, key_type_of(list.table), types_);
  if (!source) return std::nullopt;
  if (source->kind == KeySource::Kind::kParameter) key_parameters_.push_back(source->parameter);
  list.values.push_back(std::move(*source));
  return list;
}

std::optional<TableScope::KeyList> TableScope::key_in(const Expr& condition) {
  if (condition.args.size() < 2 || !is_equals(condition)) return std::nullopt;
  KeyList list;
  list.table = index_of_key(condition.args[0]);
  if (list.table == kNone) return std::nullopt;
  const ShardKeyType type = key_type_of(list.table);
  list.values.reserve(condition.args.size() - 1);
  for (std::size_t i = 1; i < condition.args.size(); ++i) {
    auto source = key_source_of(condition.args[i], type, types_);
    if (!source) return std::nullopt;
    list.values.push_back(std::move(*source));
  }
  if (!types_are_the_keys(list.values, types_)) return std::nullopt;
  for (const KeySource& value : list.values) {
    if (value.kind == KeySource::Kind::kParameter) key_parameters_.push_back(value.parameter);
  }
  return list;
}

std::optional<TableScope::KeyList> TableScope::key_any(const Expr& condition) {
  if (condition.args.size() != 2 || !is_equals(condition) || condition.text != "ANY") {
    return std::nullopt;
  }
  KeyList list;
  list.table = index_of_key(condition.args[0]);
  if (list.table == kNone) return std::nullopt;
  auto source = key_array_of(condition.args[1], key_type_of(list.table), types_);
  if (!source) return std::nullopt;
  if (source->kind == KeySource::Kind::kParameter) key_parameters_.push_back(source->parameter);
  list.values.push_back(std::move(*source));
  list.array = true;
  return list;
}

// Every branch must say it, of the same table.
std::optional<TableScope::KeyList> TableScope::key_or(const Expr& condition) {
  KeyList all;
  for (const Expr& branch : condition.args) {
    auto list = key_list(branch);
    if (!list || list->array || (all.table != kNone && all.table != list->table)) {
      return std::nullopt;
    }
    all.table = list->table;
    std::move(list->values.begin(), list->values.end(), std::back_inserter(all.values));
  }
  if (all.values.empty()) return std::nullopt;
  return all;
}

void TableScope::add_list(KeyList list, std::size_t first, std::size_t last) {
  Pin pin;
  pin.keyspace = tables_[list.table].resolved.table->keyspace;
  pin.key_type = key_type_of(list.table);
  pin.array = list.array;
  pin.source = std::move(list.values.front());
  list.values.erase(list.values.begin());
  if (!list.values.empty()) {
    pin.more = std::make_shared<const std::vector<KeySource>>(std::move(list.values));
  }
  Equality equality;
  equality.table = list.table;
  equality.value = std::move(pin);
  equality.first = first;
  equality.last = last;
  equalities_.push_back(std::move(equality));
}

}  // namespace pgshunt
