// Which statements must not run because the shards' catalogs differ.
#include <algorithm>
#include <array>
#include <string_view>

#include "router/drift.h"
#include "router/refusal.h"
#include "router/sql_tree.h"
#include "router/statement_plan.h"
#include "router/topology.h"

namespace pgshunt {
namespace {

// Everything a statement names, whatever it means where it stands: a name too many refuses one
// statement more while there is drift, a name too few would let a wrong answer through.
class Mentions {
 public:
  explicit Mentions(const SqlStatement& statement) {
    for (const TableName& table : statement.tables) tables_.push_back(&table);
    if (statement.query) walk(*statement.query);
    for (const Expr& expr : statement.exprs) walk(expr, false);
    // COPY of a table.
    star_ |= !statement.query;
  }

  bool uses(const Drift& drift) const {
    return std::any_of(tables_.begin(), tables_.end(), [&](const TableName* table) {
      return table->name == drift.name && (table->schema.empty() || table->schema == drift.schema);
    });
  }
  bool star() const {
    if (star_) return true;
    // A table's name among expressions stands for its whole row.
    return std::any_of(tables_.begin(), tables_.end(), [this](const TableName* table) {
      return contains(columns_, table->name) || contains(columns_, table->alias);
    });
  }
  bool column(std::string_view name) const { return contains(columns_, name); }
  bool ordering(std::string_view name) const { return contains(ordering_, name); }
  bool function(std::string_view name) const { return contains(functions_, name); }
  bool type(std::string_view name) const { return contains(types_, name); }
  bool aliases() const {
    return std::any_of(tables_.begin(), tables_.end(),
                       [](const TableName* table) { return table->column_aliases; });
  }

  const std::vector<const Query*>& writes() const { return writes_; }
  bool has_default() const { return default_; }

 private:
  using Names = std::vector<std::string_view>;

  static bool contains(const Names& names, std::string_view name) {
    return !name.empty() && std::find(names.begin(), names.end(), name) != names.end();
  }

  void walk(const Query& query) {
    if (query.target) writes_.push_back(&query);
    for (const CommonTable& cte : query.with) {
      if (cte.query) walk(*cte.query);
    }
    for (const FromItem& item : query.from) walk(item);
    for (const auto* targets : {&query.targets, &query.assignments, &query.returning}) {
      for (const Target& target : *targets) {
        if (target.value) walk(*target.value, query.distinct);
      }
    }
    for (const auto* named : {&query.columns, &query.assignments}) {
      for (const Target& target : *named) columns_.push_back(target.name);
    }
    for (const std::string& name : query.conflict_columns) columns_.push_back(name);
    for (const auto* expr : {&query.where, &query.limit, &query.offset}) {
      if (expr->has_value()) walk(**expr, false);
    }
    for (const SortItem& item : query.order) {
      walk(item.value, true);
      // ORDER BY 1, or an output column's name: what that is stands among the targets.
      for (const Target& target : query.targets) {
        const bool may_be = item.value.kind == ExprKind::kConstant ||
                            (item.value.kind == ExprKind::kColumn && !item.value.names.empty() &&
                             item.value.names.back() == target.name);
        if (may_be && target.value) walk(*target.value, true);
      }
    }
    for (const auto& row : query.values) {
      for (const Expr& value : row) walk(value, false);
    }
    for (const Expr& expr : query.rest) walk(expr, true);
    for (const Query* part : {query.left.get(), query.right.get(), query.source.get()}) {
      if (part != nullptr) walk(*part);
    }
  }

  void walk(const FromItem& item) {
    star_ |= item.natural;
    for (const std::string& name : item.using_columns) columns_.push_back(name);
    for (const FromItem& side : item.sides) walk(side);
    for (const Expr& expr : item.exprs) walk(expr, false);
    if (item.query) walk(*item.query);
  }

  void walk(const Expr& expr, bool ordering) {
    switch (expr.kind) {
      case ExprKind::kColumn:
        star_ |= expr.star;
        if (!expr.names.empty()) {
          columns_.push_back(expr.names.back());
          if (ordering) ordering_.push_back(expr.names.back());
        }
        break;
      case ExprKind::kFunction:
        if (!expr.names.empty()) functions_.push_back(expr.names.back());
        ordering = true;  // min(), greatest(), upper(): all know collations
        break;
      case ExprKind::kOperator:
      case ExprKind::kIn:
      case ExprKind::kAnyOrAll:
        ordering |= !is_equality(expr.names);
        break;
      case ExprKind::kScalar:  // BETWEEN, GREATEST
      case ExprKind::kOther:
        ordering = true;
        break;
      case ExprKind::kCast:
        if (!expr.names.empty()) types_.push_back(expr.names.back());
        break;
      case ExprKind::kDefault:
        default_ = true;
        break;
      case ExprKind::kSubquery:
        if (expr.query) walk(*expr.query);
        break;
      default:
        break;
    }
    for (const Expr& arg : expr.args) walk(arg, ordering);
  }

  static bool is_equality(const std::vector<std::string>& names) {
    if (names.empty()) return false;
    static constexpr std::array<std::string_view, 10> kOrderless = {"=", "<>", "||", "+",  "-",
                                                                    "*", "/",  "%",  "~~", "!~~"};
    return std::find(kOrderless.begin(), kOrderless.end(), names.back()) != kOrderless.end();
  }

  std::vector<const TableName*> tables_;
  std::vector<const Query*> writes_;
  Names columns_;
  Names ordering_;
  Names functions_;
  Names types_;
  bool star_ = false;
  bool default_ = false;
};

bool is_written(const Drift& drift, const Query& query) {
  return query.target && query.target->name == drift.name &&
         (query.target->schema.empty() || query.target->schema == drift.schema);
}

class Check {
 public:
  Check(const Topology& topology, const SqlStatement& statement, const StatementPlanData& plan)
      : topology_(topology), plan_(plan), mentions_(statement) {}

  bool concerns(const Drift& drift) const {
    switch (drift.effect) {
      case DriftEffect::kNone:
      case DriftEffect::kNumbers:
        return false;
      case DriftEffect::kCall:
        return mentions_.function(drift.name);
      case DriftEffect::kType:
        return mentions_.type(drift.name);
      case DriftEffect::kEncoding:
        return plan_.several_shards() || has_text_key();
      default:
        break;
    }
    if (!mentions_.uses(drift)) return false;
    const Table* table = topology_.find_table(drift.schema, drift.name);
    // A reference table is read wherever it is convenient.
    const bool several = plan_.several_shards() ||
                         (table != nullptr && table->placement == TablePlacement::kReference);
    switch (drift.effect) {
      case DriftEffect::kEverything:
        return true;
      case DriftEffect::kScatter:
        return several;
      case DriftEffect::kShape:
        return names_all(drift) || (several && (mentions_.column(drift.column) || aliased()));
      case DriftEffect::kMention:
        return names_all(drift) || mentions_.column(drift.column) || aliased();
      case DriftEffect::kOrdering:
        return several && (mentions_.ordering(drift.column) || (sorts() && mentions_.star()));
      case DriftEffect::kWrite:
        return writes(drift, false);
      case DriftEffect::kOmit:
        return writes(drift, true);
      default:
        return false;
    }
  }

 private:
  // t AS x (a, b): columns under names that are not theirs.
  bool aliased() const { return mentions_.aliases(); }
  bool sorts() const { return !plan_.merge.keys.empty(); }

  bool has_text_key() const {
    return std::any_of(plan_.pins.begin(), plan_.pins.end(), [](const Pin& pin) {
      return pin.key_type == ShardKeyType::kText || pin.key_type == ShardKeyType::kVarchar;
    });
  }

  bool names_all(const Drift& drift) const {
    if (mentions_.star()) return true;
    return std::any_of(mentions_.writes().begin(), mentions_.writes().end(),
                       [&](const Query* query) {
                         return query->verb == QueryVerb::kInsert && query->columns.empty() &&
                                is_written(drift, *query);
                       });
  }

  bool writes(const Drift& drift, bool only_if_omitted) const {
    for (const Query* query : mentions_.writes()) {
      if (!is_written(drift, *query)) continue;
      if (query->verb == QueryVerb::kDelete) continue;
      if (!only_if_omitted) return true;
      const bool listed =
          std::any_of(query->columns.begin(), query->columns.end(),
                      [&](const Target& target) { return target.name == drift.column; });
      if (mentions_.has_default()) return true;
      if (query->verb == QueryVerb::kInsert && !listed) return true;
    }
    return false;
  }

  const Topology& topology_;
  const StatementPlanData& plan_;
  const Mentions mentions_;
};

// No shard has the table: they are alike in that, and say so themselves (42P01).
bool is_nowhere(const Topology& topology, const Drift& drift) {
  if (drift.effect != DriftEffect::kScatter) return false;
  const auto shards =
      std::count_if(topology.drift.begin(), topology.drift.end(), [&](const Drift& other) {
        return other.effect == drift.effect && other.name == drift.name &&
               other.schema == drift.schema && other.difference == drift.difference;
      });
  return static_cast<std::size_t>(shards) == topology.shards.size();
}

}  // namespace

std::string drift_object(const Drift& drift) {
  if (drift.name.empty()) return "server";
  std::string object;
  if (drift.effect == DriftEffect::kCall) object = "function ";
  if (drift.effect == DriftEffect::kType) object = "type ";
  if (object.empty()) object = drift.column.empty() ? "table " : "column ";
  object += drift.schema + "." + drift.name;
  if (!drift.column.empty()) object += "." + drift.column;
  return object;
}

std::string_view drift_consequence(DriftEffect effect) {
  switch (effect) {
    case DriftEffect::kNone:
      return "none";
    case DriftEffect::kEverything:
      return "statements on the table are refused";
    case DriftEffect::kScatter:
      return "statements on several shards are refused";
    case DriftEffect::kShape:
      return "refused: SELECT *, INSERT without a column list, the column on several shards";
    case DriftEffect::kMention:
      return "statements that name the column, SELECT *, INSERT without a column list are refused";
    case DriftEffect::kOrdering:
      return "statements on several shards that compare or sort by the column are refused";
    case DriftEffect::kWrite:
      return "INSERT and UPDATE are refused";
    case DriftEffect::kOmit:
      return "INSERT without a value for the column is refused";
    case DriftEffect::kNumbers:
      return "INSERT without a value for the column is refused until SPREAD SEQUENCES";
    case DriftEffect::kCall:
      return "statements that call the function are refused";
    case DriftEffect::kType:
      return "statements that cast to the type are refused";
    case DriftEffect::kEncoding:
      return "statements on several shards and those by text keys are refused";
  }
  return "";
}

Status check_drift(const Topology& topology, const SqlStatement& statement,
                   const StatementPlanData& plan) {
  if (topology.drift.empty()) return Ok{};
  const Check check(topology, statement, plan);
  for (const Drift& drift : topology.drift) {
    // All shards do it or none: CREATE TABLE, where a declared table is missing, makes them alike.
    const bool of_table =
        drift.effect == DriftEffect::kEverything || drift.effect == DriftEffect::kScatter;
    if (statement.kind == StatementKind::kDefinition && of_table) continue;
    if (!check.concerns(drift) || is_nowhere(topology, drift)) continue;
    return refusal("the shards differ: " + drift_object(drift) + " on shard \"" +
                       topology.shards[drift.shard].name + "\" " + drift.difference,
                   "Make the shards alike, then REFRESH CATALOG on the admin console. SHOW DRIFT "
                   "lists all differences.");
  }
  return Ok{};
}

}  // namespace pgshunt
