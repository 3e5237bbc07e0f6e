#include "router/group_plan.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/row_value.h"
#include "router/builtin.h"
#include "router/column_types.h"
#include "router/distribution.h"
#include "router/key_type.h"
#include "router/level_text.h"
#include "router/scatter_plan.h"
#include "router/select_text.h"
#include "router/sql_text.h"

namespace pgshunt {
namespace {

using How = GroupAggregate::How;

struct Combination {
  std::string_view name;
  How how;
};
constexpr std::array<Combination, 11> kCombinations = {{{"avg", How::kAverage},
                                                        {"bit_and", How::kBitAnd},
                                                        {"bit_or", How::kBitOr},
                                                        {"bit_xor", How::kBitXor},
                                                        {"bool_and", How::kAnd},
                                                        {"bool_or", How::kOr},
                                                        {"count", How::kSum},
                                                        {"every", How::kAnd},
                                                        {"max", How::kMax},
                                                        {"min", How::kMin},
                                                        {"sum", How::kSum}}};

bool is_star(const Expr& expr) { return expr.kind == ExprKind::kColumn && expr.star; }

// The name that PostgreSQL gives to a column without AS (FigureColname); empty where that is not
// known here.
std::string name_of(const Expr& value) {
  switch (value.kind) {
    case ExprKind::kColumn:
    case ExprKind::kFunction:
      return value.names.back();
    case ExprKind::kOperator:
    case ExprKind::kConstant:
    case ExprKind::kParameter:
      return "?column?";
    case ExprKind::kCast: {
      const bool has_name = value.args.size() == 1 && (value.args[0].kind == ExprKind::kColumn ||
                                                       value.args[0].kind == ExprKind::kFunction);
      return has_name ? value.args[0].names.back() : std::string();
    }
    default:
      return {};
  }
}

// How equal values become neighbours.
struct KeyOrder {
  bool bytewise = false;
  bool as_bytes = false;  // the shards must be told to sort it so
};

class GroupPlanner {
 public:
  GroupPlanner(const Topology& topology, const LevelText& level, SelectText select,
               const Query& query, const TableScope& scope)
      : topology_(topology),
        level_(level),
        select_(std::move(select)),
        query_(query),
        scope_(scope),
        types_(scope) {}

  bool plan(StatementPlanData& out) {
    if (!find_outputs() || !find_keys() || !find_aggregates() || !find_order()) return false;
    StatementPlanData window;
    if (!plan_window(query_, window)) return false;
    out.limit = window.limit;
    out.offset = window.offset;
    out.kind = RouteKind::kScatter;
    out.shard_text = shard_text(out);
    groups_.keys = keys_.size() - (distinct_key_ ? 1 : 0);
    groups_.distinct_keys = distinct_key_ ? 1 : 0;
    groups_.one_row = groups_.keys == 0;
    groups_.visible_columns = outputs_.size();
    out.merge.keys = merge_order_;
    out.merge.hidden_columns = static_cast<std::uint16_t>(hidden_.size());
    out.merge.groups = std::make_shared<const GroupSpec>(std::move(groups_));
    return true;
  }

 private:
  // A column of the result.
  struct Output {
    std::string text;  // its expression
    TokenRun tokens;   // the same; empty: a column that a star stands for
    const Expr* value = nullptr;
    std::string name;  // empty: PostgreSQL gives it one by rules that are not known here
    std::optional<std::size_t> aggregate;  // in groups_.aggregates
  };
  // What groups are told apart by.
  struct Key {
    std::string text;
    TokenRun tokens;
    const Expr* value = nullptr;
    KeyOrder order;
    SortKey column;  // where the shards' rows have it
  };

  // --- columns ---

  bool find_outputs() {
    const std::vector<TokenRun> items = select_.split(select_.targets());
    if (items.size() != query_.targets.size() || items.empty()) return false;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Target& target = query_.targets[i];
      if (!target.value) return false;
      if (is_star(*target.value)) {
        if (!expand_star(*target.value)) return false;
        continue;
      }
      Output output;
      output.tokens = select_.value_of(items[i], target);
      if (output.tokens.empty() || calls_user_function(*target.value)) return false;
      output.text = select_.text(output.tokens);
      output.value = &*target.value;
      output.name = target.name.empty() ? name_of(*target.value) : target.name;
      outputs_.push_back(std::move(output));
    }
    return outputs_.size() < 1000;
  }

  // Of DISTINCT: a star of the only table. (Beside aggregates a server wants all of it in GROUP
  // BY.)
  bool expand_star(const Expr& star) {
    if (!query_.distinct || scope_.tables().size() != 1) return false;
    const TableUse& use = scope_.tables().front();
    if (!star.names.empty() && star.names.back() != use.visible_name()) return false;
    for (const Column& column : use.resolved.table->columns) {
      Expr& reference = references_.emplace_back(std::make_unique<Expr>()).operator*();
      reference.kind = ExprKind::kColumn;
      reference.names = {column.name};
      Output output;
      output.text = quoted_identifier(use.visible_name()) + "." + quoted_identifier(column.name);
      output.value = &reference;
      output.name = column.name;
      outputs_.push_back(std::move(output));
    }
    return true;
  }

  // It may return a set: then there are several rows of a group. Of PostgreSQL's own those are not
  // known to be the same everywhere, and are not here.
  bool calls_user_function(const Expr& expr) const {
    if (expr.kind == ExprKind::kFunction &&
        classify_function(topology_, expr.names) != FunctionClass::kAggregate &&
        topology_.find_user_function(expr.names.back()) != nullptr) {
      return true;
    }
    return std::any_of(expr.args.begin(), expr.args.end(),
                       [&](const Expr& arg) { return calls_user_function(arg); });
  }

  std::size_t add_hidden(const std::string& text) {
    const auto known = std::find(hidden_.begin(), hidden_.end(), text);
    if (known != hidden_.end()) return static_cast<std::size_t>(known - hidden_.begin());
    hidden_.push_back(text);
    return hidden_.size() - 1;
  }

  // --- keys ---

  bool find_keys() {
    if (query_.distinct) {
      for (std::size_t i = 0; i < outputs_.size(); ++i) {
        const Output& output = outputs_[i];
        if (!add_key(output.text, output.tokens, *output.value, i)) return false;
      }
      return true;
    }
    const auto items = select_.groups(query_, scope_);
    if (!items) return false;
    for (const SelectText::GroupItem& item : *items) {
      const std::string text(select_.text(item.tokens));
      const auto position = output_of(item.tokens, *item.value);
      if (!add_key(text, item.tokens, *item.value, position)) return false;
    }
    return true;
  }

  bool add_key(const std::string& text, TokenRun tokens, const Expr& value,
               std::optional<std::size_t> position) {
    switch (value.kind) {
      case ExprKind::kParameter:
      case ExprKind::kConstant:
      case ExprKind::kOther:
      case ExprKind::kSubquery:
      case ExprKind::kDefault:
        return false;
      case ExprKind::kScalar:
        if (value.text == "ROW" || value.text == "list") return false;
        break;
      default:
        break;
    }
    const auto order = order_of(value);
    if (!order || calls_user_function(value)) return false;
    Key key{text, tokens, &value, *order, {}};
    if (position) {
      key.column.index = static_cast<std::uint16_t>(*position);
    } else {
      key.column.where = SortKey::Where::kHidden;
      key.column.index = static_cast<std::uint16_t>(add_hidden("(" + text + ")"));
    }
    key.column.bytewise = order->bytewise || order->as_bytes;
    keys_.push_back(std::move(key));
    return true;
  }

  // Nothing: values that are equal need not be neighbours in any order that is known here.
  std::optional<KeyOrder> order_of(const Expr& value) const {
    const bool bytewise = types_.is_bytewise(value);
    const auto type = types_.type_of(value);
    if (!type) return KeyOrder{bytewise, false};
    if (!value_type_of(*type)) return std::nullopt;
    if (!is_text_type(*type) || bytewise) return KeyOrder{bytewise, false};
    if (!types_.is_deterministic(value)) return std::nullopt;
    return KeyOrder{false, true};
  }

  // The column of the result that is this very expression.
  std::optional<std::size_t> output_of(TokenRun tokens, const Expr& value) const {
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      const Output& output = outputs_[i];
      if (!output.tokens.empty() && select_.same(output.tokens, tokens)) return i;
      if (is_same_column(*output.value, value)) return i;
    }
    return std::nullopt;
  }

  // A column with its table and without.
  bool is_same_column(const Expr& a, const Expr& b) const {
    if (a.kind != ExprKind::kColumn || b.kind != ExprKind::kColumn || a.star || b.star)
      return false;
    if (a.names.back() != b.names.back()) return false;
    return scope_.tables().size() == 1 || a.names == b.names;
  }

  // --- aggregates ---

  bool calls_aggregate(const Expr& expr) const {
    if (expr.kind == ExprKind::kFunction &&
        classify_function(topology_, expr.names) == FunctionClass::kAggregate) {
      return true;
    }
    return std::any_of(expr.args.begin(), expr.args.end(),
                       [&](const Expr& arg) { return calls_aggregate(arg); });
  }

  bool find_aggregates() {
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      Output& output = outputs_[i];
      // What is no aggregate is the same for all of a group: a server sees to that.
      if (!calls_aggregate(*output.value)) continue;
      if (query_.distinct) return false;
      auto aggregate = aggregate_of(output.tokens, *output.value);
      if (!aggregate) return false;
      aggregate->column = static_cast<std::uint16_t>(i);
      output.aggregate = groups_.aggregates.size();
      groups_.aggregates.push_back(*aggregate);
    }
    return !keys_.empty() || !groups_.aggregates.empty();
  }

  // Shards group by what DISTINCT is about too, which must not make a column good that was not.
  bool all_are_keys_or_aggregates() const {
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      const bool is_key = std::any_of(keys_.begin(), keys_.end(), [&](const Key& key) {
        return key.column.where == SortKey::Where::kVisible && key.column.index == i;
      });
      if (!is_key && !outputs_[i].aggregate) return false;
    }
    return true;
  }

  // What is inside of `name(DISTINCT ...)`, if that is all there is.
  TokenRun distinct_argument(TokenRun tokens) const {
    const int inside = level_.depth(tokens.begin) + 1;
    TokenRun out{tokens.begin + 3, tokens.end - 1};
    if (out.empty() || !level_.is_symbol(out.end, ')')) return {};
    for (std::size_t i = out.begin; i < out.end; ++i) {
      const bool ends = level_.is_symbol(i, ',') || level_.is_keyword(i, "order");
      // A shallower token is behind the call: FILTER.
      if (level_.depth(i) < inside || (level_.depth(i) == inside && ends)) return {};
    }
    return out;
  }

  // Of one value only: its rows are neighbours if it is the last key.
  bool make_distinct(TokenRun argument, const Expr& value) {
    if (argument.empty()) return false;
    if (distinct_key_) return select_.same(keys_.back().tokens, argument);
    if (!add_key(std::string(select_.text(argument)), argument, value, std::nullopt)) return false;
    distinct_key_ = true;
    return true;
  }

  // Of a call that is all of an expression.
  std::optional<GroupAggregate> aggregate_of(TokenRun tokens, const Expr& call) {
    if (call.kind != ExprKind::kFunction || call.names.size() != 1 || tokens.size() < 3) {
      return std::nullopt;
    }
    const std::string& name = call.names.front();
    const auto known = std::find_if(kCombinations.begin(), kCombinations.end(),
                                    [&](const Combination& each) { return each.name == name; });
    if (known == kCombinations.end()) return std::nullopt;
    if (level_.name(tokens.begin) != name || !level_.is_symbol(tokens.begin + 1, '(')) {
      return std::nullopt;
    }
    GroupAggregate out;
    out.how = known->how;
    out.counts = name == "count";
    if (level_.is_keyword(tokens.begin + 2, "distinct")) {
      if (call.args.size() != 1) return std::nullopt;
      if (!make_distinct(distinct_argument(tokens), call.args.front())) return std::nullopt;
      out.distinct = true;
    } else {
      const auto end = end_of_plain_aggregate(level_, tokens.begin, tokens.end);
      if (!end || *end != tokens.end) return std::nullopt;
    }
    if (out.counts) return out;
    if (call.args.empty() || !is_combined(known->how, call.args.front())) return std::nullopt;
    if (known->how == How::kMin || known->how == How::kMax) {
      out.bytewise = types_.is_bytewise(call.args.front());
    }
    if (known->how == How::kAverage) {
      const std::string arguments(select_.text({tokens.begin + 1, tokens.end}));
      out.sum = static_cast<std::uint16_t>(add_hidden("sum" + arguments));
      out.count = static_cast<std::uint16_t>(add_hidden("count" + arguments));
    }
    return out;
  }

  // Of an argument whose type is known: can it be? (What others turn out to be, the merger sees.)
  bool is_combined(How how, const Expr& argument) const {
    const auto type = types_.type_of(argument);
    if (!type) return true;
    const bool integer =
        *type == type_oid::kInt2 || *type == type_oid::kInt4 || *type == type_oid::kInt8;
    switch (how) {
      case How::kSum:
      case How::kAverage:
        return integer || *type == type_oid::kNumeric;
      case How::kBitAnd:
      case How::kBitOr:
      case How::kBitXor:
        return integer;
      case How::kMin:
      case How::kMax:
        return value_type_of(*type) && (!is_text_type(*type) || types_.is_bytewise(argument));
      case How::kAnd:
      case How::kOr:
        break;
    }
    return true;
  }

  // --- ORDER BY ---

  bool find_order() {
    const auto items = select_.order();
    if (!items || items->size() != query_.order.size()) return false;
    // Which keys are sorted by already, and is that all? (Of DISTINCT there may come one more.)
    std::vector<bool> used(keys_.size() + 1, false);
    bool by_keys = true;
    for (std::size_t i = 0; i < items->size(); ++i) {
      const SortItem& item = query_.order[i];
      TokenRun tokens = (*items)[i];
      const std::size_t words = (item.direction_written ? std::size_t{1} : 0) +
                                (item.nulls_first.has_value() ? std::size_t{2} : 0);
      if (item.using_operator || tokens.size() <= words) return false;
      tokens.end -= words;
      auto sorted = sorted_by(tokens, item.value);
      if (!sorted) return false;
      sorted->column.descending = item.descending;
      sorted->column.nulls_first = item.nulls_first.value_or(item.descending);
      if (!sorted->key) {
        by_keys = false;
      } else if (!used[*sorted->key]) {
        used[*sorted->key] = true;
        order_keys_.push_back(*sorted->key);
        merge_order_.push_back(sorted->column);
      }
      groups_.order.push_back(sorted->column);
    }
    if (by_keys) {
      groups_.order.clear();
    } else {
      order_keys_.clear();
      merge_order_.clear();
      used.assign(keys_.size(), false);
    }
    if (distinct_key_ && !all_are_keys_or_aggregates()) return false;
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (used[i]) continue;
      order_keys_.push_back(i);
      merge_order_.push_back(keys_[i].column);
    }
    return true;
  }

  struct SortedBy {
    SortKey column;
    std::optional<std::size_t> key;
  };

  // What an item of ORDER BY is, without its direction. Nothing: it cannot be told, or has no order
  // known here.
  std::optional<SortedBy> sorted_by(TokenRun tokens, const Expr& value) {
    if (value.kind == ExprKind::kConstant) return by_ordinal(value);
    if (value.kind == ExprKind::kColumn && !value.star && value.names.size() == 1) {
      return by_name(tokens, value);
    }
    if (value.kind == ExprKind::kCollate && value.args.size() == 1) {
      if (!is_bytewise_collation(value.names) || tokens.size() < 3) return std::nullopt;
      // The words behind: COLLATE and its name, which may have a schema.
      TokenRun inside = tokens;
      while (inside.size() > 1 && !level_.is_keyword(inside.end - 1, "collate")) --inside.end;
      --inside.end;
      if (inside.empty()) return std::nullopt;
      const auto key = key_of(inside, value.args.front());
      // DISTINCT sorts by nothing but its columns.
      if (!key || query_.distinct || !keys_[*key].column.bytewise) return std::nullopt;
      return SortedBy{keys_[*key].column, key};
    }
    if (const auto key = key_of(tokens, value)) return by_key(*key);
    if (const auto output = output_of(tokens, value)) return by_output(*output);
    if (query_.distinct || !calls_aggregate(value)) return std::nullopt;
    auto aggregate = aggregate_of(tokens, value);
    if (!aggregate) return std::nullopt;
    aggregate->hidden = true;
    aggregate->column = static_cast<std::uint16_t>(add_hidden(std::string(select_.text(tokens))));
    groups_.aggregates.push_back(*aggregate);
    SortedBy out;
    out.column.where = SortKey::Where::kHidden;
    out.column.index = aggregate->column;
    out.column.bytewise = aggregate->bytewise;
    return out;
  }

  std::optional<SortedBy> by_ordinal(const Expr& constant) const {
    std::size_t number = 0;
    const char* const end = constant.text.data() + constant.text.size();
    const auto [at, error] = std::from_chars(constant.text.data(), end, number);
    const bool read =
        constant.constant == ConstantKind::kNumber && error == std::errc() && at == end;
    if (!read || number < 1 || number > outputs_.size()) return std::nullopt;
    return by_output(number - 1);
  }

  // A column of the result by that name, else one of the tables'.
  std::optional<SortedBy> by_name(TokenRun tokens, const Expr& value) const {
    const std::string& name = value.names.front();
    std::optional<std::size_t> found;
    bool open = false;
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      open |= outputs_[i].name.empty();
      if (outputs_[i].name != name) continue;
      // Several of that name are the same expression, or an error of the server's.
      if (found && outputs_[i].text != outputs_[*found].text) return std::nullopt;
      if (!found) found = i;
    }
    if (open) return std::nullopt;
    if (found) return by_output(*found);
    const auto key = key_of(tokens, value);
    return key ? by_key(*key) : std::nullopt;
  }

  std::optional<std::size_t> key_of(TokenRun tokens, const Expr& value) const {
    for (std::size_t i = 0; i < keys_.size() - (distinct_key_ ? 1 : 0); ++i) {
      const Key& key = keys_[i];
      if (!key.tokens.empty() && select_.same(key.tokens, tokens)) return i;
      if (is_same_column(*key.value, value)) return i;
    }
    return std::nullopt;
  }

  std::optional<SortedBy> by_key(std::size_t index) const {
    const Key& key = keys_[index];
    if (key.order.as_bytes) return std::nullopt;  // the order asked for is a collation's
    return SortedBy{key.column, index};
  }

  std::optional<SortedBy> by_output(std::size_t index) const {
    const Output& output = outputs_[index];
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      const SortKey& column = keys_[i].column;
      if (column.where == SortKey::Where::kVisible && column.index == index) return by_key(i);
    }
    SortedBy out;
    out.column.index = static_cast<std::uint16_t>(index);
    if (output.aggregate) {
      out.column.bytewise = groups_.aggregates[*output.aggregate].bytewise;
      return out;
    }
    const auto order = order_of(*output.value);
    if (!order || order->as_bytes) return std::nullopt;
    out.column.bytewise = order->bytewise;
    return out;
  }

  // --- text ---

  std::string shard_text(const StatementPlanData& plan) const {
    std::string out = "SELECT ";
    out += select_.text(select_.targets());
    for (std::size_t i = 0; i < hidden_.size(); ++i) {
      out += ", " + hidden_[i] + " AS \"pgshunt." + std::to_string(i + 1) + "\"";
    }
    out.append(" ").append(select_.text(select_.from()));
    if (query_.distinct) {
      for (std::size_t i = 0; i < outputs_.size(); ++i) {
        out += (i == 0 ? " GROUP BY " : ", ") + std::to_string(i + 1);
      }
    } else if (!keys_.empty()) {
      out += " GROUP BY ";
      if (!select_.group().empty()) out += select_.text(select_.group());
      if (distinct_key_) {
        out += (select_.group().empty() ? "(" : ", (") + keys_.back().text + ")";
      }
    }
    for (std::size_t i = 0; i < order_keys_.size(); ++i) {
      const Key& key = keys_[order_keys_[i]];
      out += i == 0 ? " ORDER BY " : ", ";
      if (key.order.as_bytes) {
        out += "(" + key.text + ") COLLATE \"C\"";
      } else {
        const bool hidden = key.column.where == SortKey::Where::kHidden;
        out += std::to_string(key.column.index + (hidden ? outputs_.size() : 0) + 1);
      }
      const SortKey& how = merge_order_[i];
      if (how.descending) out += " DESC";
      if (how.nulls_first != how.descending)
        out += how.nulls_first ? " NULLS FIRST" : " NULLS LAST";
    }
    // Groups in the order they are merged in: those that nobody sees on any shard need not come.
    const bool first_ones = !keys_.empty() && !distinct_key_ && groups_.order.empty();
    return out + (first_ones ? limit_of_shards(plan) : all_rows_of_shards(plan));
  }

  const Topology& topology_;
  const LevelText& level_;
  const SelectText select_;
  const Query& query_;
  const TableScope& scope_;
  const ColumnTypes types_;
  std::vector<std::unique_ptr<Expr>> references_;
  std::vector<Output> outputs_;
  std::vector<std::string> hidden_;  // expressions of the hidden columns
  std::vector<Key> keys_;
  bool distinct_key_ = false;  // the last of them is what DISTINCT in an aggregate is about
  std::vector<std::size_t> order_keys_;  // of keys_, in the order of the merge
  std::vector<SortKey> merge_order_;     // the same
  GroupSpec groups_;
};

bool is_of_this_kind(const Query& query, const StatementFacts& facts) {
  if (query.having || query.windows || query.locking || query.into || query.with_ties) return false;
  if (facts.ctes || facts.subqueries || facts.set_operation || facts.has_default) return false;
  if (!query.values.empty()) return false;
  // DISTINCT ON has expressions.
  if (query.distinct) return !query.grouped && query.rest.empty();
  return query.grouped || !facts.aggregate.empty();
}

}  // namespace

bool plan_groups(const Topology& topology, std::string_view text, const Query& query,
                 const StatementAnalysis& analysis, StatementPlanData& out) {
  if (!is_of_this_kind(query, analysis.facts())) return false;
  const TableScope& scope = *analysis.scope_of(query);
  StatementFacts facts = analysis.facts();
  facts.aggregate.clear();
  if (!check_expressions(facts, scope, Moments::kRefused)) return false;
  if (!facts.reading_function.empty() || !check_rows_are_partitioned(query.from, scope))
    return false;
  for (const TableUse& use : scope.tables()) {
    const bool known = use.resolved.table != nullptr && !use.resolved.table->columns.empty();
    if (!known || use.resolved.placement == TableClass::kUnsharded || use.renamed) {
      return false;
    }
  }
  // The user's own by these names may be the ones that are meant.
  for (const Combination& each : kCombinations) {
    const UserFunction* user = topology.find_user_function(each.name);
    const bool of_another_kind = user != nullptr &&
                                 (each.how == How::kMin || each.how == How::kMax) &&
                                 user->behaviour == UserFunctionClass::kAggregate;
    if (user != nullptr && !of_another_kind) return false;
  }
  const auto level = LevelText::read(text);
  if (!level) return false;
  auto select = SelectText::read(*level, scope);
  if (!select || select->distinct() != query.distinct) return false;
  return GroupPlanner(topology, *level, std::move(*select), query, scope).plan(out);
}

}  // namespace pgshunt
