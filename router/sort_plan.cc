#include "router/sort_plan.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

#include "protocol/row_value.h"
#include "router/column_types.h"
#include "router/refusal.h"

namespace pgshunt {
namespace {

bool is_plain_column(const Expr& expr) { return expr.kind == ExprKind::kColumn && !expr.star; }

bool is_star(const Target& target) {
  return target.value && target.value->kind == ExprKind::kColumn && target.value->star;
}

class SortPlanner {
 public:
  SortPlanner(const Query& query, const TableScope& scope)
      : query_(query), scope_(scope), types_(scope) {
    for (std::size_t i = 0; i < query.targets.size(); ++i) {
      const Target& target = query.targets[i];
      if (!is_star(target)) continue;
      first_star_ = std::min(first_star_, i);
      // `*`, or `t.*` of the only table: every column of FROM is there under its name.
      if (target.value->names.empty() || scope.tables().size() == 1) all_columns_ = true;
    }
  }

  Result<SortPlan> plan() {
    for (std::size_t i = 0; i < query_.order.size(); ++i) {
      auto key = key_of(i);
      if (!key) return key.error();
      const SortItem& item = query_.order[i];
      key->descending = item.descending;
      key->nulls_first = item.nulls_first.value_or(item.descending);
      if (const Status known = check_order(*key, item.value); !known) return known.error();
      plan_.merge.keys.push_back(std::move(*key));
    }
    plan_.merge.hidden_columns = static_cast<std::uint16_t>(plan_.hidden.size());
    return std::move(plan_);
  }

 private:
  // Of a column whose type is known: has it an order that is known here? (What other types turn out
  // to be, the merger sees.)
  Status check_order(const SortKey& key, const Expr& written) const {
    const Expr* value = &written;
    if (key.where == SortKey::Where::kVisible) {
      if (key.index >= std::min(first_star_, query_.targets.size())) return Ok{};
      value = &*query_.targets[key.index].value;
    } else if (key.where == SortKey::Where::kNamedOrHidden) {
      return Ok{};
    }
    const Column* column = is_plain_column(*value) ? types_.find(*value) : nullptr;
    if (column == nullptr || column->type_oid == 0) return Ok{};
    const auto type = value_type_of(column->type_oid);
    if (type && (*type != ValueType::kText || key.bytewise)) return Ok{};
    return refusal("ORDER BY over several shards cannot merge the column " + quoted(column->name) +
                       (type ? " under its collation" : ", whose type has no order known here"),
                   "Write ORDER BY column COLLATE \"C\", or give the shard key.");
  }

  Result<SortKey> key_of(std::size_t index) {
    const SortItem& item = query_.order[index];
    const Expr& value = item.value;
    if (item.using_operator) {
      return refusal("ORDER BY ... USING is not supported over several shards",
                     "Write ASC or DESC.");
    }
    if (value.kind == ExprKind::kConstant) return ordinal(value);
    if (value.kind == ExprKind::kParameter) {
      return refusal("ORDER BY a parameter is not supported over several shards", "Name a column.");
    }
    if (is_plain_column(value) && value.names.size() == 1) return by_name(index, value.names[0]);
    return by_expression(index, value);
  }

  Result<SortKey> ordinal(const Expr& constant) {
    std::int32_t number = 0;
    const char* const end = constant.text.data() + constant.text.size();
    const auto [at, error] = std::from_chars(constant.text.data(), end, number);
    if (constant.constant != ConstantKind::kNumber || error != std::errc() || at != end) {
      return Error{sqlstate::kSyntaxError, "non-integer constant in ORDER BY", {}};
    }
    if (number < 1 || number > std::numeric_limits<std::uint16_t>::max()) {
      return Error{sqlstate::kInvalidColumnReference,
                   "ORDER BY position " + constant.text + " is not in select list",
                   {}};
    }
    SortKey key;
    key.index = static_cast<std::uint16_t>(number - 1);
    key.bytewise = is_bytewise_position(key.index);
    return key;
  }

  // A bare name is an output column if there is one of that name, else an input column (SQL92
  // rules; PostgreSQL manual, SELECT, "ORDER BY Clause").
  Result<SortKey> by_name(std::size_t index, const std::string& name) {
    SortKey key;
    bool open = false;  // there may be an output column of that name, or not
    for (std::size_t i = 0; i < query_.targets.size(); ++i) {
      const Target& target = query_.targets[i];
      switch (produces(target, name)) {
        case Answer::kNo:
          continue;
        case Answer::kPerhaps:
          open = true;
          continue;
        case Answer::kYes:
          break;
      }
      // Several of that name are either the same expression or an error of the server's.
      key.bytewise = is_star(target) ? is_bytewise_column(query_.order[index].value)
                                     : types_.is_bytewise(*target.value);
      if (i < first_star_) {
        key.index = static_cast<std::uint16_t>(i);
      } else {
        key.where = SortKey::Where::kNamed;
        key.name = name;
      }
      return key;
    }
    key = hidden(index);
    if (open) {
      // It shows when the columns are described. Whose collation counts is then not known.
      key.where = SortKey::Where::kNamedOrHidden;
      key.name = name;
    } else {
      key.bytewise = is_bytewise_column(query_.order[index].value);
    }
    return key;
  }

  enum class Answer : std::uint8_t { kNo, kPerhaps, kYes };

  // Does a target give the result a column of that name?
  Answer produces(const Target& target, const std::string& name) const {
    const auto said = [](bool yes) { return yes ? Answer::kYes : Answer::kNo; };
    if (!target.value) return Answer::kNo;
    if (is_star(target)) return star_produces(*target.value, name);
    if (!target.name.empty()) return said(target.name == name);
    if (is_plain_column(*target.value) || target.value->kind == ExprKind::kFunction) {
      return said(!target.value->names.empty() && target.value->names.back() == name);
    }
    return Answer::kPerhaps;  // named by rules of PostgreSQL's own (FigureColname)
  }

  Answer star_produces(const Expr& star, const std::string& name) const {
    if (star.names.empty() || scope_.tables().size() == 1) return Answer::kYes;
    for (const TableUse& use : scope_.tables()) {
      if (use.visible_name() != star.names.back()) continue;
      if (use.resolved.table == nullptr || use.resolved.table->columns.empty() || use.renamed) {
        return Answer::kPerhaps;
      }
      const bool there = use.resolved.table->find_column(name) != nullptr;
      return there ? Answer::kYes : Answer::kNo;
    }
    return Answer::kPerhaps;
  }

  // An expression is over input columns.
  Result<SortKey> by_expression(std::size_t index, const Expr& value) {
    SortKey key;
    const bool bytewise = types_.is_bytewise(value);
    const Expr& inside =
        value.kind == ExprKind::kCollate && value.args.size() == 1 ? value.args[0] : value;
    const auto position = is_plain_column(inside) ? find_target(inside) : std::nullopt;
    if (position) {
      key.index = *position;
    } else if (is_plain_column(inside) && query_.targets.size() == 1 && all_columns_ &&
               scope_.tables().size() == 1) {
      key.where = SortKey::Where::kNamed;
      key.name = inside.names.back();
    } else {
      key = hidden(index);
    }
    key.bytewise = bytewise;
    return key;
  }

  SortKey hidden(std::size_t index) {
    SortKey key;
    key.where = SortKey::Where::kHidden;
    key.index = static_cast<std::uint16_t>(plan_.hidden.size());
    plan_.hidden.push_back(index);
    return key;
  }

  // A target that is this very column.
  std::optional<std::uint16_t> find_target(const Expr& column) const {
    const std::size_t end = std::min(first_star_, query_.targets.size());
    for (std::size_t i = 0; i < end; ++i) {
      const Target& target = query_.targets[i];
      if (!target.value || !is_plain_column(*target.value)) continue;
      const bool same = scope_.tables().size() == 1
                            ? target.value->names.back() == column.names.back()
                            : target.value->names == column.names;
      if (same) return static_cast<std::uint16_t>(i);
    }
    return std::nullopt;
  }

  // --- collations ---

  bool is_bytewise_column(const Expr& reference) const {
    const Column* column = types_.find(reference);
    return column != nullptr && column->bytewise;
  }

  bool is_bytewise_position(std::uint16_t position) const {
    if (position < std::min(first_star_, query_.targets.size())) {
      const Target& target = query_.targets[position];
      return target.value && types_.is_bytewise(*target.value);
    }
    if (query_.targets.size() != 1 || scope_.tables().size() != 1) return false;
    const Table* table = scope_.tables()[0].resolved.table;
    return table != nullptr && position < table->columns.size() &&
           table->columns[position].bytewise;
  }

  static constexpr std::size_t kNone = ~std::size_t{0};

  const Query& query_;
  const TableScope& scope_;
  const ColumnTypes types_;
  std::size_t first_star_ = kNone;
  bool all_columns_ = false;
  SortPlan plan_;
};

}  // namespace

Result<SortPlan> plan_sort(const Query& query, const TableScope& scope) {
  return SortPlanner(query, scope).plan();
}

}  // namespace pgshunt
