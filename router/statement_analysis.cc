#include "router/statement_analysis.h"

#include <algorithm>

#include "router/builtin.h"
#include "router/fixed_moments.h"
#include "router/made_values.h"
#include "router/moment_words.h"

namespace pgshunt {
namespace {

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) {
    if (!out.empty()) out += '.';
    out += name;
  }
  return out;
}

void note(std::string& first, std::string found) {
  if (first.empty()) first = std::move(found);
}

}  // namespace

const TableScope* StatementAnalysis::scope_of(const Query& query) const {
  const auto at = std::find(queries_.begin(), queries_.end(), &query);
  return at == queries_.end() ? nullptr
                              : scopes_[static_cast<std::size_t>(at - queries_.begin())].get();
}

bool StatementAnalysis::has(TableClass placement) const {
  for (const auto& scope : scopes_) {
    for (const TableUse& use : scope->tables()) {
      if (use.resolved.placement == placement) return true;
    }
  }
  return std::any_of(writes_.begin(), writes_.end(), [placement](const WriteTarget& target) {
    return target.table.placement == placement;
  });
}

Status StatementAnalysis::add_query(const Query& query) {
  return add_level(query, nullptr, {}, false);
}

Status StatementAnalysis::add_expression(const Expr& expr) { return walk(expr, nullptr, {}); }

void StatementAnalysis::note_table(const TableName& name, const Names& ctes, bool may_be_cte) {
  ++facts_.tables;
  const bool is_cte = may_be_cte && std::find(ctes.begin(), ctes.end(), name.name) != ctes.end();
  if (name.schema.empty() && !is_cte) facts_.unqualified_table = true;
}

Status StatementAnalysis::add_level(const Query& query, const TableScope* outer, Names ctes,
                                    bool nested) {
  facts_.ctes |= !query.with.empty();
  facts_.set_operation |= query.operation != SetOperation::kNone;
  facts_.locking |= query.locking;
  facts_.into |= query.into;
  facts_.tables += query.other_tables;
  if (query.verb == QueryVerb::kOther) note(facts_.other_node, query.text);

  // A CTE sees those before it, and itself only under RECURSIVE.
  if (query.recursive) {
    for (const CommonTable& cte : query.with) ctes.push_back(cte.name);
  }
  for (const CommonTable& cte : query.with) {
    if (cte.query) {
      if (const Status added = add_level(*cte.query, outer, ctes, true); !added) {
        return added.error();
      }
    }
    ctes.push_back(cte.name);
  }

  scopes_.push_back(std::make_unique<TableScope>(topology_, path_, types_, outer));
  queries_.push_back(&query);
  TableScope* scope = scopes_.back().get();
  if (query.target) {
    note_table(*query.target, ctes, false);
    auto resolved = resolve_table(topology_, path_, *query.target);
    if (!resolved) return resolved.error();
    if (const Status ok = check_write_target(*resolved, *query.target); !ok) return ok.error();
    writes_.push_back({&query, *resolved, nested});
    // An INSERT's target is not read, so nothing pins it but the rows.
    if (query.verb != QueryVerb::kInsert) {
      if (const Status added = scope->add_target(*query.target); !added) return added.error();
    }
  }
  if (const Status added = scope->add_from(query.from, ctes); !added) return added.error();
  if (query.where) scope->add_where(*query.where);
  scope->resolve_pins();

  for (const FromItem& item : query.from) {
    if (const Status walked = walk_from(item, scope, ctes); !walked) return walked.error();
  }
  for (const Query* side : {query.left.get(), query.right.get()}) {
    if (side == nullptr) continue;
    if (const Status added = add_level(*side, outer, ctes, nested); !added) return added.error();
  }
  if (query.source) {
    if (const Status added = add_level(*query.source, outer, ctes, nested); !added) {
      return added.error();
    }
  }
  for (const auto* targets : {&query.targets, &query.assignments, &query.returning}) {
    if (const Status walked = walk_targets(*targets, scope, ctes); !walked) return walked.error();
  }
  for (const auto* expr : {&query.where, &query.limit, &query.offset}) {
    if (!expr->has_value()) continue;
    if (const Status walked = walk(**expr, scope, ctes); !walked) return walked.error();
  }
  for (const SortItem& item : query.order) {
    if (const Status walked = walk(item.value, scope, ctes); !walked) return walked.error();
  }
  for (const std::vector<Expr>& row : query.values) {
    if (const Status walked = walk_all(row, scope, ctes); !walked) return walked.error();
  }
  return walk_all(query.rest, scope, ctes);
}

Status StatementAnalysis::walk_from(const FromItem& item, const TableScope* scope,
                                    const Names& ctes) {
  if (item.kind == FromItem::Kind::kTable) note_table(item.table, ctes, item.table.schema.empty());
  if (item.kind == FromItem::Kind::kOther) note(facts_.other_node, item.text);
  for (const FromItem& side : item.sides) {
    if (const Status walked = walk_from(side, scope, ctes); !walked) return walked.error();
  }
  if (item.query) {
    facts_.subqueries = true;
    if (const Status added = add_level(*item.query, scope, ctes, true); !added) {
      return added.error();
    }
  }
  return walk_all(item.exprs, scope, ctes);
}

Status StatementAnalysis::walk_targets(const std::vector<Target>& targets, const TableScope* scope,
                                       const Names& ctes) {
  for (const Target& target : targets) {
    if (!target.value) continue;
    if (const Status walked = walk(*target.value, scope, ctes); !walked) return walked.error();
  }
  return Ok{};
}

Status StatementAnalysis::walk_all(const std::vector<Expr>& exprs, const TableScope* scope,
                                   const Names& ctes) {
  for (const Expr& expr : exprs) {
    if (const Status walked = walk(expr, scope, ctes); !walked) return walked.error();
  }
  return Ok{};
}

void StatementAnalysis::note_function(const Expr& call) {
  const std::string name = joined(call.names) + "()";
  facts_.advisory_lock |= is_advisory_lock(call.names);
  if (is_sequence_read(call.names)) note(facts_.sequence_read, name);
  if (is_sequence_call(call.names)) {
    if (facts_.sequence_call.empty() || call.names.back() == "setval") facts_.sequence_call = name;
  }
  if (is_set_config(call.names)) facts_.set_configs.push_back(&call);
  if (call.windowed) note(facts_.window, name);
  if (call.aggregate_syntax || (call.star && !call.windowed)) note(facts_.aggregate, name);
  if (is_unique_id(call.names)) {
    note(facts_.unique_id, name);
    return;
  }
  const FunctionClass what = classify_function(topology_, call.names);
  if ((what == FunctionClass::kLocal || what == FunctionClass::kUnknown) &&
      !runs_on_any_server(topology_, call.names)) {
    note(facts_.server_function, name);
  }
  switch (what) {
    case FunctionClass::kPortable:
      break;
    case FunctionClass::kMoment:
      note_moment(call, name);
      break;
    case FunctionClass::kAggregate:
      if (!call.windowed) note(facts_.aggregate, name);
      break;
    case FunctionClass::kWindow:
      note(facts_.window, name);
      break;
    case FunctionClass::kLocal:
      note(facts_.local_function, name);
      break;
    case FunctionClass::kMayRead:
      note(facts_.reading_function, name);
      break;
    case FunctionClass::kUnknown:
      note(facts_.unknown_function, name);
      break;
  }
}

void StatementAnalysis::note_moment(const Expr& expr, const std::string& name) {
  note(facts_.moment, name);
  bool fixable = expr.kind == ExprKind::kSqlValue;
  if (expr.kind == ExprKind::kFunction) {
    // A function of the user's by that name may be the one that is meant.
    fixable = is_fixable_moment(expr.names.back()) && expr.args.empty() &&
              (expr.names.size() == 2 || !topology_.find_user_function(expr.names.back()));
  }
  if (fixable && expr.location >= 0) {
    facts_.moment_calls.push_back(static_cast<std::size_t>(expr.location));
  } else {
    note(facts_.other_moment, name);
  }
}

Status StatementAnalysis::walk(const Expr& expr, const TableScope* scope, const Names& ctes) {
  switch (expr.kind) {
    case ExprKind::kColumn:
      if (!expr.names.empty() && !expr.star && is_system_column(expr.names.back())) {
        note(facts_.system_column, expr.names.back());
      }
      break;
    case ExprKind::kParameter:
      if (expr.parameter > 0 && expr.parameter <= 65535) {
        if (facts_.parameter_uses.size() < expr.parameter) {
          facts_.parameter_uses.resize(expr.parameter);
        }
        ++facts_.parameter_uses[expr.parameter - 1];
      }
      break;
    case ExprKind::kConstant:
      if (expr.constant == ConstantKind::kString && names_a_moment(expr.text)) {
        note_moment(expr, "'" + expr.text + "'");
        facts_.moment_literal = true;
      }
      break;
    case ExprKind::kCast:
      if (is_oid_type(expr.names)) note(facts_.oid_type, expr.names.back());
      break;
    case ExprKind::kOperator:
    case ExprKind::kIn:
    case ExprKind::kAnyOrAll:
      if (!is_builtin_operator(expr.names)) note(facts_.unknown_operator, joined(expr.names));
      break;
    case ExprKind::kFunction:
      note_function(expr);
      break;
    case ExprKind::kSqlValue:
      if (expr.text == "CURRENT_TIMESTAMP") {
        note_moment(expr, expr.text);
      } else {
        note(facts_.local_function, expr.text);
      }
      break;
    case ExprKind::kDefault:
      facts_.has_default = true;
      break;
    case ExprKind::kSubquery:
      facts_.subqueries = true;
      if (expr.query) {
        if (const Status added = add_level(*expr.query, scope, ctes, true); !added) {
          return added.error();
        }
      }
      break;
    case ExprKind::kOther:
      note(facts_.other_node, expr.text);
      break;
    case ExprKind::kCollate:
    case ExprKind::kAnd:
    case ExprKind::kOr:
    case ExprKind::kNot:
    case ExprKind::kNotDistinct:
    case ExprKind::kScalar:
      break;
  }
  return walk_all(expr.args, scope, ctes);
}

}  // namespace pgshunt
