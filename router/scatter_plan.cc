#include "router/scatter_plan.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string>

#include "protocol/value_text.h"
#include "router/builtin.h"
#include "router/clause_text.h"
#include "router/distribution.h"
#include "router/refusal.h"
#include "router/sort_plan.h"

namespace pgshunt {
namespace {

std::string lacks_key(const TableScope& scope) {
  for (const TableUse& use : scope.tables()) {
    if (use.sharded() && !use.pin) return "\"" + std::string(use.visible_name()) + "\"";
  }
  return "a sharded table";
}

Status check_clauses(const Query& query, const StatementFacts& facts, const TableScope& scope) {
  struct Clause {
    bool there;
    const char* name;
  };
  const Clause clauses[] = {
      {facts.ctes, "WITH"},
      {facts.set_operation, "UNION, INTERSECT or EXCEPT"},
      {facts.subqueries, "a subquery"},
      {query.grouped, "GROUP BY"},
      {query.having, "HAVING"},
      {query.distinct, "DISTINCT"},
      {query.windows, "WINDOW"},
      {query.locking, "FOR UPDATE or FOR SHARE"},
      {query.into, "SELECT INTO"},
      {query.with_ties, "FETCH FIRST ... WITH TIES"},
      {!query.values.empty(), "VALUES"},
      {facts.has_default, "DEFAULT"},
  };
  for (const Clause& clause : clauses) {
    if (clause.there) {
      return refusal(std::string(clause.name) + " over several shards is not supported, and " +
                         lacks_key(scope) + " has no shard key given",
                     give_shard_key(scope));
    }
  }
  return Ok{};
}

// LIMIT or OFFSET as a constant or a parameter.
Result<LimitSource> limit_source(const std::optional<Expr>& expr, const char* clause) {
  LimitSource out;
  if (!expr) return out;
  const Expr* at = &*expr;
  if (at->kind == ExprKind::kCast && at->plain && at->args.size() == 1) {
    const auto oid = builtin_type_oid(at->names);
    if (oid == type_oid::kInt8 || oid == type_oid::kInt4) at = &at->args[0];
  }
  if (at->kind == ExprKind::kParameter && at->parameter > 0 && at->parameter <= 65535) {
    out.kind = LimitSource::Kind::kParameter;
    out.parameter = static_cast<std::uint16_t>(at->parameter - 1);
    return out;
  }
  if (at->kind == ExprKind::kConstant && at->constant == ConstantKind::kNull) return out;
  if (at->kind == ExprKind::kConstant && at->constant == ConstantKind::kNumber) {
    const char* const end = at->text.data() + at->text.size();
    const auto [stop, error] = std::from_chars(at->text.data(), end, out.constant);
    if (error == std::errc() && stop == end) {
      out.kind = LimitSource::Kind::kConstant;
      return out;
    }
  }
  if (at->kind == ExprKind::kConstant && at->constant == ConstantKind::kString) {
    constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
    const auto count = parse_integer(at->text, -kMost, kMost, "bigint");
    if (!count) return count.error();
    out.kind = LimitSource::Kind::kConstant;
    out.constant = *count;
    return out;
  }
  return refusal(std::string(clause) + " over several shards must be a whole number or a parameter",
                 "Compute the value before you send the statement.");
}

std::string text_of(const LimitSource& source) {
  switch (source.kind) {
    case LimitSource::Kind::kNone:
      return "NULL";
    case LimitSource::Kind::kConstant:
      return std::to_string(source.constant);
    case LimitSource::Kind::kParameter:
      break;
  }
  return "$" + std::to_string(source.parameter + 1);
}

std::size_t first_table_location(const TableScope& scope) {
  std::size_t first = ~std::size_t{0};
  for (const TableUse& use : scope.tables()) {
    if (use.name->location < 0) continue;
    first = std::min(first, static_cast<std::size_t>(use.name->location));
  }
  return first;
}

Error not_understood() {
  return refusal(
      "the statement's text is not understood well enough to be changed for several "
      "shards",
      "Give the shard key.");
}

// The statement with hidden sort columns, and with a LIMIT that lets every row through that the
// client may see: offset + limit of them could all come from one shard.
Result<std::string> shard_text(std::string_view text, const Query& query, const TableScope& scope,
                               const SortPlan& sort, const StatementPlanData& plan) {
  const auto clauses = find_clauses(text, first_table_location(scope));
  if (!clauses || clauses->sort_items.size() != query.order.size()) return not_understood();
  std::string out(text.substr(0, clauses->from));
  for (std::size_t i = 0; i < sort.hidden.size(); ++i) {
    const SortItem& item = query.order[sort.hidden[i]];
    const std::size_t words =
        (item.direction_written ? 1u : 0u) + (item.nulls_first.has_value() ? 2u : 0u);
    const auto range = without_last_words(text, clauses->sort_items[sort.hidden[i]], words);
    if (!range) return not_understood();
    if (i > 0 || !query.targets.empty()) out += ", ";
    out += "(";
    out += text.substr(range->begin, range->end - range->begin);
    out += ") AS \"pgshunt.sort." + std::to_string(i + 1) + "\" ";
  }
  if (!query.offset) {
    out += text.substr(clauses->from, clauses->end - clauses->from);
    return out;
  }
  out += text.substr(clauses->from, clauses->limit.begin - clauses->from);
  return out + limit_of_shards(plan);
}

}  // namespace

std::string give_shard_key(const TableScope& scope) {
  for (const TableUse& use : scope.tables()) {
    if (!use.sharded() || use.pin) continue;
    return "Give the shard key: WHERE " + std::string(use.visible_name()) + "." +
           use.resolved.table->key_column + " = value.";
  }
  return "Give the shard key of every table.";
}

Status plan_window(const Query& query, StatementPlanData& out) {
  auto limit = limit_source(query.limit, "LIMIT");
  if (!limit) return limit.error();
  auto offset = limit_source(query.offset, "OFFSET");
  if (!offset) return offset.error();
  out.limit = *limit;
  out.offset = *offset;
  return Ok{};
}

std::string all_rows_of_shards(const StatementPlanData& plan) {
  std::string out;
  for (const LimitSource& source : {plan.limit, plan.offset}) {
    if (source.kind != LimitSource::Kind::kParameter) continue;
    out.append(out.empty() ? " LIMIT (NULL)::bigint" : "").append(" + coalesce((");
    out.append(text_of(source)).append(")::bigint, 0)");
  }
  return out;
}

std::string limit_of_shards(const StatementPlanData& plan) {
  if (plan.limit.kind == LimitSource::Kind::kNone) return all_rows_of_shards(plan);
  const std::string limit = "(" + text_of(plan.limit) + ")::bigint";
  if (plan.offset.kind == LimitSource::Kind::kNone) return " LIMIT " + limit;
  // Their sum, or the most there is.
  const std::string offset = "coalesce((" + text_of(plan.offset) + ")::bigint, 0)";
  return " LIMIT " + limit + " + least(" + offset + ", 9223372036854775807 - " + limit + ")";
}

Status check_expressions(const StatementFacts& facts, const TableScope& scope, Moments moments) {
  struct Finding {
    const std::string& name;
    const char* why;
  };
  const Finding findings[] = {
      {facts.aggregate, "aggregate function"},
      {facts.window, "window function"},
      {facts.local_function, "function that differs from server to server,"},
      {facts.unknown_function, "function not known to be the same everywhere,"},
      {facts.system_column, "system column"},
      {facts.oid_type, "type of object identifiers"},
      {facts.unknown_operator, "operator not known to be the same everywhere,"},
      {facts.other_node, "expression"},
  };
  for (const Finding& finding : findings) {
    if (!finding.name.empty()) {
      return refusal(
          std::string(finding.why) + " " + finding.name + " over several shards is not supported",
          give_shard_key(scope));
    }
  }
  const std::string& moment = moments == Moments::kFixed ? facts.other_moment : facts.moment;
  if (!moment.empty()) {
    return refusal(moment +
                       " over several shards is not supported: every shard would read "
                       "its own clock",
                   "Pass the time as a parameter or constant, or give the shard key.");
  }
  return Ok{};
}

Status check_scatter(const Query& query, const StatementAnalysis& analysis, Moments moments) {
  const TableScope& scope = *analysis.scope_of(query);
  if (const Status ok = check_clauses(query, analysis.facts(), scope); !ok) return ok.error();
  if (const Status ok = check_rows_are_partitioned(query.from, scope); !ok) return ok.error();
  return check_expressions(analysis.facts(), scope, moments);
}

Status plan_scatter(std::string_view text, const Query& query, const StatementAnalysis& analysis,
                    StatementPlanData& out) {
  const TableScope& scope = *analysis.scope_of(query);
  if (const Status ok = check_scatter(query, analysis); !ok) return ok.error();
  if (const Status window = plan_window(query, out); !window) return window.error();
  auto sort = plan_sort(query, scope);
  if (!sort) return sort.error();
  out.kind = RouteKind::kScatter;
  out.merge = sort->merge;
  if (query.offset || !sort->hidden.empty()) {
    auto changed = shard_text(text, query, scope, *sort, out);
    if (!changed) return changed.error();
    out.shard_text = std::move(*changed);
  }
  return Ok{};
}

}  // namespace pgshunt
