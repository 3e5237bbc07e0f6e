#include "router/partial_aggregates.h"

#include <algorithm>
#include <array>
#include <utility>

#include "router/builtin.h"
#include "router/distribution.h"
#include "router/parse_tree.h"
#include "router/scatter_plan.h"
#include "router/select_text.h"
#include "router/sql_text.h"

namespace pgshunt {
namespace {

constexpr std::string_view kTable = "pg_temp.\"pgshunt.1\"";

// What one aggregate says of the union of rows is what it says of what it says of its parts.
constexpr std::array<std::string_view, 8> kOfThemselves = {
    "min", "max", "bool_and", "bool_or", "every", "bit_and", "bit_or", "bit_xor"};

bool is_of_itself(std::string_view name) {
  return std::find(kOfThemselves.begin(), kOfThemselves.end(), name) != kOfThemselves.end();
}

// The name PostgreSQL gives to a column without AS (FigureColname); nothing where that is not
// known here.
std::optional<std::string> column_name(const Expr& value) {
  switch (value.kind) {
    case ExprKind::kColumn:
      if (value.star) return std::nullopt;
      return value.names.back();
    case ExprKind::kFunction:
      return value.names.back();
    case ExprKind::kOperator:
      return "?column?";
    default:
      return std::nullopt;
  }
}

class PartialPlanner {
 public:
  PartialPlanner(const Topology& topology, const LevelText& level, SelectText select,
                 const Query& query, const TableScope& scope)
      : topology_(topology),
        level_(level),
        select_(std::move(select)),
        items_(select_.split(select_.targets())),
        query_(query),
        scope_(scope) {}

  std::optional<PartialAggregates> plan() {
    if (items_.size() != query_.targets.size() || !find_groups()) return std::nullopt;
    out_.text = "SELECT ";
    for (std::size_t i = 0; i < items_.size(); ++i) {
      if (i > 0) out_.text += ", ";
      const Target& target = query_.targets[i];
      auto name = target.value ? column_name(*target.value) : std::nullopt;
      if (!target.name.empty()) name = target.name;
      if (!name || !append_target(value_of_target(i))) return std::nullopt;
      names_.push_back(*name);
      out_.text += " AS " + quoted_identifier(*name);
    }
    out_.text.append(" FROM ").append(kTable);
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      out_.text += (i == 0 ? " GROUP BY " : ", ") + group_name(i);
    }
    out_.text += " ";
    if (!append(select_.rest()) || !names_only_ours()) return std::nullopt;
    if (partials_.empty() && groups_.empty()) return std::nullopt;
    finish_select();
    return std::move(out_);
  }

 private:
  // A target without its AS and name.
  TokenRun value_of_target(std::size_t index) const {
    return select_.value_of(items_[index], query_.targets[index]);
  }

  bool find_groups() {
    const auto items = select_.groups(query_, scope_);
    if (!items) return false;
    for (const SelectText::GroupItem& item : *items) {
      const std::size_t first = item.tokens.begin;
      if (level_.name(first).empty() || level_.is_keyword(first, "row")) return false;
      groups_.push_back(item.tokens);
    }
    return true;
  }

  // A column, with its table or without. It binds to nothing beside it, so it may stand for itself
  // anywhere; other expressions are found again only where they are all of a target.
  bool is_column(TokenRun group) const {
    const std::size_t size = group.end - group.begin;
    return size == 1 || (size == 3 && level_.is_symbol(group.begin + 1, '.') &&
                         !level_.name(group.begin + 2).empty());
  }

  bool append_target(TokenRun value) {
    if (value.empty()) return false;
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      const TokenRun group = groups_[i];
      if (!select_.same(value, group)) continue;
      out_.text += group_name(i);
      ++put_;
      return true;
    }
    return append(value);
  }

  // ORDER BY a name means the column of the result, if there is one.
  bool is_result_column(std::size_t at) const {
    const std::string name = level_.name(at);
    if (name.empty() || at < select_.rest().begin || level_.depth(at) != 0) return false;
    const bool begins = level_.is_keyword(at - 1, "by") || level_.is_symbol(at - 1, ',');
    const bool ends = at + 1 >= select_.rest().end || level_.is_symbol(at + 1, ',') ||
                      level_.ends_where(at + 1) || level_.is_keyword(at + 1, "asc") ||
                      level_.is_keyword(at + 1, "desc") || level_.is_keyword(at + 1, "nulls");
    return begins && ends && std::find(names_.begin(), names_.end(), name) != names_.end();
  }

  static std::string group_name(std::size_t index) {
    return "\"pgshunt.g" + std::to_string(index + 1) + "\"";
  }

  // Does a group's expression stand here? How many tokens it takes; 0: no.
  std::size_t group_at(std::size_t at, std::size_t end, TokenRun group) const {
    const std::size_t size = group.end - group.begin;
    const bool qualified = at > 0 && level_.is_symbol(at - 1, '.');
    const auto ends_well = [&](std::size_t behind) {
      return !level_.is_symbol(behind, '.') && !level_.is_symbol(behind, '(');
    };
    if (qualified || !is_column(group) || is_result_column(at)) return 0;
    if (at + size <= end) {
      std::size_t i = 0;
      while (i < size && select_.same(at + i, group.begin + i)) ++i;
      if (i == size && ends_well(at + size)) return size;
    }
    // A column with or without its table.
    const std::string column = level_.name(group.end - 1);
    if (column.empty()) return 0;
    if (size == 3 && level_.name(at) == column && ends_well(at + 1) && is_unique(column)) return 1;
    if (size == 1 && at + 3 <= end && level_.is_symbol(at + 1, '.') &&
        level_.name(at + 2) == column && ends_well(at + 3) && is_unique(column)) {
      return 3;
    }
    return 0;
  }

  // Only one of the tables has such a column.
  bool is_unique(const std::string& column) const {
    return std::count_if(scope_.tables().begin(), scope_.tables().end(), [&](const TableUse& use) {
             const Table* table = use.resolved.table;
             return table == nullptr || table->columns.empty() ||
                    table->find_column(column) != nullptr;
           }) == 1;
  }

  std::size_t add_partial(std::string text) {
    const auto found = std::find(partials_.begin(), partials_.end(), text);
    if (found != partials_.end()) return static_cast<std::size_t>(found - partials_.begin());
    partials_.push_back(std::move(text));
    return partials_.size() - 1;
  }
  static std::string partial_name(std::size_t index) {
    return "\"pgshunt.p" + std::to_string(index + 1) + "\"";
  }

  // Writes a part of the statement in terms of what the shards have said. False: it cannot be.
  bool append(TokenRun tokens) {
    std::size_t copied = tokens.begin;
    const auto copy_to = [&](std::size_t at) {
      if (copied < at) out_.text.append(select_.text({copied, at})).append(" ");
    };
    for (std::size_t at = tokens.begin; at < tokens.end;) {
      std::size_t taken = 0;
      for (std::size_t i = 0; i < groups_.size() && taken == 0; ++i) {
        taken = group_at(at, tokens.end, groups_[i]);
        // Behind AS it is a name.
        const bool named = at > 0 && level_.tokens()[at - 1].kind == TokenKind::kIdentifier &&
                           word_is(level_.text(at - 1), "as");
        if (named) taken = 0;
        if (taken == 0) continue;
        copy_to(at);
        out_.text += group_name(i);
        out_.text += " ";
        ++put_;
      }
      if (taken == 0) {
        const auto call = append_aggregate(at, tokens.end, copy_to);
        if (!call) return false;
        taken = *call;
      }
      if (taken == 0) {
        ++at;
        continue;
      }
      at += taken;
      copied = at;
    }
    copy_to(tokens.end);
    return true;
  }

  // How many tokens the aggregate here takes; 0: there is none. Nothing: it cannot be put together.
  template <class CopyTo>
  std::optional<std::size_t> append_aggregate(std::size_t at, std::size_t end, CopyTo copy_to) {
    const std::string name = level_.name(at);
    if (name.empty() || at + 1 >= end || !level_.is_symbol(at + 1, '(')) return 0;
    const std::string names[] = {name};
    if (classify_function(topology_, names) != FunctionClass::kAggregate) return 0;
    if (at > 0 && level_.is_symbol(at - 1, '.')) return std::nullopt;
    const auto behind = end_of_plain_aggregate(level_, at, end);
    if (!behind) return std::nullopt;
    const std::string call(select_.text({at, *behind}));
    const std::string arguments(select_.text({at + 1, *behind}));
    copy_to(at);
    if (name == "count") {
      out_.text +=
          "coalesce(pg_catalog.sum(" + partial_name(add_partial(call)) + "), 0)::pg_catalog.int8 ";
    } else if (name == "sum") {
      const std::size_t column = add_partial(call);
      out_.text += "pg_catalog.sum(" + partial_name(column) + ")";
      out_.sums.push_back({out_.text.size(), groups_.size() + column});
      out_.text += " ";
    } else if (name == "avg") {
      const std::string sum = partial_name(add_partial("sum" + arguments));
      const std::string count = partial_name(add_partial("count" + arguments));
      out_.text += "(pg_catalog.sum(" + sum + ") / nullif(pg_catalog.sum(" + count + "), 0)) ";
    } else if (is_of_itself(name)) {
      out_.text += name + "(" + partial_name(add_partial(call)) + ") ";
    } else {
      return std::nullopt;
    }
    return *behind - at;
  }

  // Nothing of the shards' tables is left in the text.
  bool names_only_ours() const {
    const auto statement = parse_statement(out_.text);
    if (!statement || !statement->query) return false;
    const Query& query = *statement->query;
    std::size_t found = 0;
    const auto ours = [&](const std::string& name, bool may_be_target) {
      if (name.starts_with("pgshunt.")) return true;
      return may_be_target &&
             std::any_of(query.targets.begin(), query.targets.end(),
                         [&](const Target& target) { return target.name == name; });
    };
    const auto walk = [&](const auto& self, const Expr& expr, bool may_be_target) -> bool {
      if (expr.query) return false;
      if (expr.kind == ExprKind::kColumn) {
        found += !expr.names.empty() && expr.names.front().starts_with("pgshunt.g") ? 1 : 0;
        return expr.names.size() == 1 && !expr.star && ours(expr.names.front(), may_be_target);
      }
      return std::all_of(expr.args.begin(), expr.args.end(),
                         [&](const Expr& arg) { return self(self, arg, false); });
    };
    for (const Target& target : query.targets) {
      if (!target.value || !walk(walk, *target.value, false)) return false;
    }
    for (const SortItem& item : query.order) {
      if (!walk(walk, item.value, true)) return false;
    }
    const bool rest = std::all_of(query.rest.begin(), query.rest.end(),
                                  [&](const Expr& expr) { return walk(walk, expr, false); });
    // Where a column's name stood for something else (date '2024-01-01', extract(year ...)) there
    // is no column now.
    return rest && found == put_ + groups_.size();
  }

  void finish_select() {
    out_.select = "SELECT ";
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      out_.select.append(i > 0 ? ", " : "").append(select_.text(groups_[i])).append(" AS ");
      out_.select += group_name(i);
    }
    for (std::size_t i = 0; i < partials_.size(); ++i) {
      if (i > 0 || !groups_.empty()) out_.select += ", ";
      out_.select += partials_[i] + " AS " + partial_name(i);
    }
    out_.select.append(" ").append(select_.text(select_.from()));
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      out_.select += (i == 0 ? " GROUP BY " : ", ") + std::to_string(i + 1);
    }
  }

  const Topology& topology_;
  const LevelText& level_;
  const SelectText select_;
  const std::vector<TokenRun> items_;  // of the list of targets
  const Query& query_;
  const TableScope& scope_;
  std::vector<TokenRun> groups_;
  std::vector<std::string> partials_;
  std::vector<std::string> names_;  // of the result's columns
  std::size_t put_ = 0;             // how often a group's column was written, but in GROUP BY
  PartialAggregates out_;
};

}  // namespace

std::optional<PartialAggregates> plan_partial_aggregates(const Topology& topology,
                                                         const LevelText& level, const Query& query,
                                                         const StatementAnalysis& analysis) {
  const StatementFacts& facts = analysis.facts();
  const bool plain = !facts.ctes && !facts.subqueries && !facts.set_operation && !query.distinct &&
                     !query.windows && !query.with_ties && query.values.empty();
  if (!plain || (facts.aggregate.empty() && !query.grouped)) return std::nullopt;
  const std::string* const findings[] = {
      &facts.window,   &facts.local_function,   &facts.unknown_function, &facts.system_column,
      &facts.oid_type, &facts.unknown_operator, &facts.other_node,       &facts.moment};
  for (const std::string* finding : findings) {
    if (!finding->empty()) return std::nullopt;
  }
  for (std::size_t i = 0; i < level.tokens().size(); ++i) {
    const std::string name = level.name(i);
    if (name == "real" || name == "float4" || name == "float") return std::nullopt;
  }
  const TableScope& scope = *analysis.scope_of(query);
  if (!check_rows_are_partitioned(query.from, scope)) return std::nullopt;
  for (const TableUse& use : scope.tables()) {
    if (use.resolved.placement == TableClass::kUnsharded || use.resolved.table == nullptr ||
        use.resolved.table->columns.empty() || use.renamed) {
      return std::nullopt;
    }
    for (const Column& column : use.resolved.table->columns) {
      if (column.type_oid == type_oid::kFloat4) return std::nullopt;
    }
  }
  // The user's own by these names may be the ones that are meant; such a min() or max(), as that of
  // citext, is taken for what it says.
  for (const char* name : {"count", "sum", "avg", "min", "max", "bool_and", "bool_or", "every",
                           "bit_and", "bit_or", "bit_xor"}) {
    const UserFunction* user = topology.find_user_function(name);
    const bool of_another_kind =
        user != nullptr && (std::string_view(name) == "min" || std::string_view(name) == "max") &&
        user->behaviour == UserFunctionClass::kAggregate;
    if (user != nullptr && !of_another_kind) return std::nullopt;
  }
  auto select = SelectText::read(level, scope);
  if (!select) return std::nullopt;
  return PartialPlanner(topology, level, std::move(*select), query, scope).plan();
}

}  // namespace pgshunt
