#include "router/merge_node.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "router/builtin.h"
#include "router/fixed_moments.h"
#include "router/level_text.h"
#include "router/parse_tree.h"
#include "router/sql_text.h"

namespace pgshunt {
namespace {

// Objects below it are PostgreSQL's own, with the same OIDs everywhere (FirstNormalObjectId).
constexpr std::uint32_t kFirstNormalOid = 16384;

// May values go from server to server in binary? Not OIDs of what has others there (regclass and
// its kin, their arrays), nor what has no binary form (aclitem).
bool is_alike_everywhere(std::uint32_t type) {
  constexpr std::array<std::uint32_t, 24> kOfOneServer = {
      24,   1008, 1033, 1034, 2202, 2203, 2204, 2205, 2206, 2207, 2208, 2209,
      2210, 2211, 3734, 3735, 3769, 3770, 4089, 4090, 4096, 4097, 4191, 4192};
  return type < kFirstNormalOid &&
         !std::binary_search(kOfOneServer.begin(), kOfOneServer.end(), type);
}

// A join with an alias: columns are called by that, and perhaps otherwise.
struct NamedJoins {
  std::vector<std::string> aliases;
  bool renames = false;  // some columns

  void add(const FromItem& item) {
    if (item.kind == FromItem::Kind::kJoin && !item.table.alias.empty()) {
      aliases.push_back(item.table.alias);
      renames |= item.table.column_aliases;
    }
    for (const FromItem& side : item.sides) add(side);
  }
};

NamedJoins named_joins(const StatementAnalysis& analysis) {
  NamedJoins out;
  for (const Query* query : analysis.queries()) {
    for (const FromItem& item : query->from) out.add(item);
  }
  return out;
}

std::string quoted_name(const std::string& schema, const std::string& name) {
  return schema.empty() ? quoted_identifier(name)
                        : quoted_identifier(schema) + "." + quoted_identifier(name);
}

// Tables whose rows an outer join may leave out, with NULLs in their place: what WHERE says of
// those must not be said of the rows.
void find_dropped(const FromItem& item, bool dropped, std::set<const TableName*>& out) {
  if (dropped && item.kind == FromItem::Kind::kTable) out.insert(&item.table);
  for (std::size_t i = 0; i < item.sides.size(); ++i) {
    const bool join = item.kind == FromItem::Kind::kJoin;
    const bool by_this = join && (item.join == JoinKind::kFull ||
                                  item.join == (i == 0 ? JoinKind::kRight : JoinKind::kLeft));
    find_dropped(item.sides[i], dropped || by_this, out);
  }
}

bool is_clause_word(const LevelText& level, std::size_t token) {
  constexpr std::array<std::string_view, 14> kWords = {
      "from",   "where", "group", "having", "window",    "order",  "limit",
      "offset", "fetch", "for",   "union",  "intersect", "except", "into"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](std::string_view word) { return level.is_keyword(token, word); });
}

// Which columns a statement may be about, as far as its words tell: more than it is, never fewer.
class Mentions {
 public:
  explicit Mentions(const LevelText& level) : level_(level) {
    for (std::size_t i = 0; i < level.tokens().size(); ++i) {
      std::string name = level.name(i);
      if (!name.empty()) {
        every_column_ |= level.is_keyword(i, "natural") || level.is_keyword(i, "table");
        if (!level.is_symbol(i + 1, '.')) ++words_[name];
      } else if (level.is_symbol(i, '*')) {
        const bool of_count = level.is_symbol(i - 1, '(') && level.is_symbol(i + 1, ')');
        const bool ends = i + 1 == level.tokens().size() || level.is_symbol(i + 1, ',') ||
                          level.is_symbol(i + 1, ')') || level.is_symbol(i + 1, ';') ||
                          is_clause_word(level, i + 1);
        every_column_ |= (ends && !of_count) || (i > 0 && level.is_symbol(i - 1, '.'));
      }
    }
  }

  bool every_column() const { return every_column_; }
  bool names(const std::string& column) const { return words_.contains(column); }
  // How often, other than to qualify what follows.
  std::size_t count(const std::string& name) const {
    const auto found = words_.find(name);
    return found == words_.end() ? 0 : found->second;
  }

 private:
  const LevelText& level_;
  std::map<std::string, std::size_t> words_;
  bool every_column_ = false;
};

class MergeNodePlanner {
 public:
  MergeNodePlanner(const Topology& topology, std::string_view text,
                   const StatementAnalysis& analysis, const SearchPath* path,
                   const std::vector<std::uint32_t>& types, const LevelText& level,
                   bool bring_references)
      : topology_(topology),
        text_(text),
        analysis_(analysis),
        path_(path),
        types_(types),
        level_(level),
        mentions_(level),
        bring_references_(bring_references),
        joins_(named_joins(analysis)) {
    // The alias of a join may be all of its columns as one value, too.
    every_column_ =
        mentions_.every_column() || joins_.renames ||
        std::any_of(joins_.aliases.begin(), joins_.aliases.end(), [&](const std::string& alias) {
          const auto given = std::count(joins_.aliases.begin(), joins_.aliases.end(), alias);
          return mentions_.count(alias) > static_cast<std::size_t>(given);
        });
  }

  std::optional<MergeNodePlan> plan() {
    MergeNodePlan out;
    std::vector<Change> changes;
    if (!find_places()) return std::nullopt;
    for (std::size_t i = 0; i < analysis_.scopes().size(); ++i) {
      const TableScope& scope = *analysis_.scopes()[i];
      std::set<const TableName*> dropped;
      for (const FromItem& item : analysis_.queries()[i]->from) find_dropped(item, false, dropped);
      for (const TableUse& use : scope.tables()) {
        if (!is_brought(use)) continue;
        if (!is_told_apart(use, scope)) return std::nullopt;
        const Place& place = places_.at(&use);
        MergeInput input = input_of(use, scope, place, !dropped.contains(use.name));
        add_primary_key(*analysis_.queries()[i], use, input);
        std::string& table = input.table;
        const auto same =
            std::find_if(out.inputs.begin(), out.inputs.end(), [&](const MergeInput& other) {
              return other.select == input.select && other.conditions == input.conditions &&
                     other.primary_key == input.primary_key;
            });
        if (same != out.inputs.end()) {
          table = same->table;
        } else {
          table = "pgshunt." + std::to_string(out.inputs.size() + 1);
        }
        std::string name = "pg_temp." + quoted_identifier(table);
        if (place.in_parentheses) name += ")";
        if (use.name->alias.empty()) name += " AS " + quoted_identifier(alias_of(use));
        changes.push_back(
            {level_.tokens()[place.first].begin, level_.tokens()[place.last].end, std::move(name)});
        if (place.command) {
          const SqlToken& token = level_.tokens()[*place.command];
          changes.push_back({token.begin, token.end, "SELECT * FROM"});
        }
        if (same == out.inputs.end()) out.inputs.push_back(std::move(input));
      }
    }
    add_references(changes);
    std::sort(changes.begin(), changes.end(),
              [](const Change& a, const Change& b) { return a.begin < b.begin; });
    std::size_t at = 0;
    for (const Change& change : changes) {
      if (change.begin < at) return std::nullopt;
      out.text.append(text_.substr(at, change.begin - at)).append(change.text);
      at = change.end;
    }
    out.text.append(text_.substr(at));
    return out;
  }

 private:
  struct Change {
    std::size_t begin;
    std::size_t end;
    std::string text;
  };
  // Where a table is named: its tokens, first and last.
  struct Place {
    std::size_t first = 0;
    std::size_t last = 0;
    bool only = false;
    bool in_parentheses = false;         // ONLY (name), which `last` includes
    std::optional<std::size_t> command;  // TABLE name: that word
  };

  bool is_brought(const TableUse& use) const {
    switch (use.resolved.placement) {
      case TableClass::kSharded:
      case TableClass::kUnsharded:
        return true;
      case TableClass::kReference:
        return bring_references_;
      case TableClass::kCatalog:
      case TableClass::kDerived:
        break;
    }
    return false;
  }

  // --- names ---

  bool find_places() {
    for (const auto& scope : analysis_.scopes()) {
      for (const TableUse& use : scope->tables()) {
        if (!is_brought(use)) continue;
        const auto place = place_of(*use.name);
        if (!place) return false;
        places_.emplace(&use, *place);
      }
    }
    return true;
  }

  static std::string relation_of(const TableUse& use) {
    const Table* table = use.resolved.table;
    return table != nullptr ? quoted_name(table->schema, table->name)
                            : quoted_name(use.name->schema, use.name->name);
  }

  // Does a name with this schema in front of it mean the table? `schema.name.column` looks for a
  // table, and passes over an alias that is called so.
  bool is_qualified(std::size_t token, const TableUse& use) const {
    const Table* table = use.resolved.table;
    const std::string& schema = table != nullptr ? table->schema : use.name->schema;
    return use.name->alias.empty() && level_.is_symbol(token + 1, '.') &&
           level_.is_symbol(token + 3, '.') && !level_.is_symbol(token - 1, '.') &&
           level_.name(token) == schema && level_.name(token + 2) == use.name->name;
  }

  // Is something else called like this table, so that only its schema tells it apart from that?
  bool is_contested(const TableUse& use, const TableScope& scope) const {
    const std::string& name = use.name->name;
    const auto another = [&](const TableUse& other) {
      if (&other == &use || other.visible_name() != name) return false;
      return !other.name->alias.empty() || relation_of(other) != relation_of(use) ||
             other.resolved.placement == TableClass::kDerived;
    };
    const auto& here = scope.tables();
    if (std::any_of(here.begin(), here.end(), another)) return true;
    bool elsewhere =
        std::find(joins_.aliases.begin(), joins_.aliases.end(), name) != joins_.aliases.end();
    for (const auto& each : analysis_.scopes()) {
      elsewhere |= std::any_of(each->tables().begin(), each->tables().end(), another);
    }
    if (!elsewhere) return false;
    for (std::size_t i = 0; i + 4 < level_.tokens().size(); ++i) {
      if (is_qualified(i, use)) return true;
    }
    return false;
  }

  // A table whose name is contested gets one that nobody has, if nothing but names with a schema
  // are about it: false, if there are others.
  bool is_told_apart(const TableUse& use, const TableScope& scope) {
    const std::string name(use.visible_name());
    if (!use.name->alias.empty()) {
      return std::none_of(scope.tables().begin(), scope.tables().end(), [&](const TableUse& other) {
        return &other != &use && other.visible_name() == name;
      });
    }
    if (!is_contested(use, scope)) return true;
    std::set<std::size_t> known;
    for (const auto& each : analysis_.scopes()) {
      for (const TableUse& other : each->tables()) {
        if (other.visible_name() != name) continue;
        const bool a_table = other.resolved.placement != TableClass::kDerived;
        if (!a_table || !other.name->alias.empty()) return false;
        if (each.get() == &scope && &other != &use && relation_of(other) == relation_of(use)) {
          return false;
        }
        const auto place = place_of(*other.name);
        if (!place) return false;
        for (std::size_t i = place->first; i <= place->last; ++i) known.insert(i);
        for (std::size_t i = 0; i + 4 < level_.tokens().size(); ++i) {
          if (is_qualified(i, other)) known.insert(i + 2);
        }
      }
    }
    for (std::size_t i = 0; i < level_.tokens().size(); ++i) {
      if (level_.name(i) == name && !known.contains(i)) return false;
    }
    aliases_.emplace(relation_of(use), "pgshunt.t" + std::to_string(aliases_.size() + 1));
    return true;
  }

  std::string alias_of(const TableUse& use) const {
    const auto found = aliases_.find(relation_of(use));
    return found != aliases_.end() ? found->second : use.name->name;
  }

  // users.id in place of public.users.id
  void add_references(std::vector<Change>& changes) const {
    for (std::size_t i = 0; i + 4 < level_.tokens().size(); ++i) {
      const TableUse* const use = find_qualified(i);
      if (use == nullptr) continue;
      const auto& tokens = level_.tokens();
      const bool contested = aliases_.contains(relation_of(*use));
      changes.push_back({tokens[i].begin, contested ? tokens[i + 2].end : tokens[i + 2].begin,
                         contested ? quoted_identifier(alias_of(*use)) : std::string()});
    }
  }

  const TableUse* find_qualified(std::size_t token) const {
    for (const auto& scope : analysis_.scopes()) {
      for (const TableUse& use : scope->tables()) {
        if (is_brought(use) && is_qualified(token, use)) return &use;
      }
    }
    return nullptr;
  }

  // GROUP BY a primary key lets the level name the table's other columns too.
  static void add_primary_key(const Query& query, const TableUse& use, MergeInput& out) {
    if (!query.grouped || use.resolved.table == nullptr || use.renamed) return;
    const auto& keys = use.resolved.table->keys;
    const auto primary =
        std::find_if(keys.begin(), keys.end(), [](const UniqueKey& key) { return key.primary; });
    if (primary == keys.end()) return;
    const bool grouped =
        std::all_of(primary->columns.begin(), primary->columns.end(), [&](const std::string& name) {
          return out.columns &&
                 std::find(out.columns->begin(), out.columns->end(), name) != out.columns->end() &&
                 std::any_of(query.rest.begin(), query.rest.end(), [&](const Expr& expr) {
                   return expr.kind == ExprKind::kConstant ||
                          (expr.kind == ExprKind::kColumn && expr.names.back() == name);
                 });
        });
    if (grouped) out.primary_key = primary->columns;
  }

  // Nothing if the name does not stand where it should.
  std::optional<Place> place_of(const TableName& name) const {
    if (name.location < 0) return std::nullopt;
    const auto first = level_.at(static_cast<std::size_t>(name.location));
    if (!first) return std::nullopt;
    Place out;
    out.first = out.last = *first;
    if (!name.schema.empty()) {
      if (level_.name(out.last) != name.schema || !level_.is_symbol(out.last + 1, '.')) {
        return std::nullopt;
      }
      out.last += 2;
    }
    if (level_.name(out.last) != name.name) return std::nullopt;
    std::size_t before = *first - 1;
    if (*first > 1 && level_.is_symbol(before, '(') && level_.is_keyword(before - 1, "only")) {
      if (!level_.is_symbol(++out.last, ')')) return std::nullopt;
      out.in_parentheses = true;
      --before;
    }
    if (before + 1 > 0 && level_.is_keyword(before, "only")) {
      out.only = true;
      --before;
    }
    if (before + 1 > 0 && level_.is_keyword(before, "table")) out.command = before;
    // With its children, as always.
    if (!out.only && level_.is_symbol(out.last + 1, '*')) ++out.last;
    return out;
  }

  MergeInput input_of(const TableUse& use, const TableScope& scope, const Place& place,
                      bool reducible) const {
    MergeInput out;
    const Table* table = use.resolved.table;
    if (use.resolved.placement == TableClass::kUnsharded) out.home = use.resolved.home;
    if (use.resolved.placement == TableClass::kReference) out.home = 0;
    out.select = "SELECT ";
    if (table == nullptr || table->columns.empty()) {
      out.select += "*";
    } else {
      const bool all = every_column_ || use.renamed || may_be_whole(use);
      out.builtin_types = true;
      out.columns.emplace();
      for (const Column& column : table->columns) {
        if (!all && !mentions_.names(column.name)) continue;
        if (!out.columns->empty()) out.select += ", ";
        out.select += quoted_identifier(column.name);
        out.columns->push_back(column.name);
        out.builtin_types &= is_alike_everywhere(column.type_oid) || is_enum(column.type_oid);
      }
    }
    out.relation = relation_of(use);
    out.select += place.only ? " FROM ONLY " : " FROM ";
    out.select += out.relation;
    out.select += " AS " + quoted_identifier(std::string(use.visible_name()));
    if (!reducible || table == nullptr || use.renamed || joins_.renames) return out;
    for (const TextRange& range : level_.conditions(place.first)) {
      std::string condition(text_.substr(range.begin, range.end - range.begin));
      if (is_about(condition, use, scope)) out.conditions.push_back(std::move(condition));
    }
    return out;
  }

  // Its values go by their labels, in binary as well.
  bool is_enum(std::uint32_t type) const {
    return std::any_of(topology_.enums.begin(), topology_.enums.end(),
                       [type](const EnumType& each) { return each.oid == type; });
  }

  // A row as one value is called like its table: does the name stand anywhere else than where it is
  // given?
  bool may_be_whole(const TableUse& use) const {
    const std::string name(use.visible_name());
    std::size_t given = 0;
    for (const auto& scope : analysis_.scopes()) {
      for (const TableUse& other : scope->tables()) {
        given += other.visible_name() == name ? 1 : 0;
      }
    }
    return mentions_.count(name) > given;
  }

  // Can the rows' own server say whether they meet it?
  bool is_about(const std::string& condition, const TableUse& use, const TableScope& scope) const {
    const auto statement = parse_statement("SELECT 1 WHERE " + condition);
    if (!statement || !statement->query || !statement->query->where) return false;
    StatementAnalysis inside(topology_, path_, types_);
    if (!inside.add_expression(*statement->query->where)) return false;
    const StatementFacts& facts = inside.facts();
    const std::string* const findings[] = {
        &facts.other_moment,     &facts.local_function, &facts.unique_id, &facts.reading_function,
        &facts.unknown_function, &facts.system_column,  &facts.oid_type,  &facts.aggregate,
        &facts.unknown_operator, &facts.window,         &facts.other_node};
    for (const std::string* finding : findings) {
      if (!finding->empty()) return false;
    }
    if (facts.subqueries || !has_known_parameters(facts)) return false;
    if (!analysis_.facts().other_moment.empty() && !facts.moment.empty()) return false;
    return is_of(*statement->query->where, use, scope);
  }

  // A parameter that is used elsewhere too might be given another type here.
  bool has_known_parameters(const StatementFacts& facts) const {
    const auto& everywhere = analysis_.facts().parameter_uses;
    for (std::size_t i = 0; i < facts.parameter_uses.size(); ++i) {
      if (facts.parameter_uses[i] == 0 || (i < types_.size() && types_[i] != 0)) continue;
      if (i >= everywhere.size() || everywhere[i] != 1) return false;
    }
    return true;
  }

  // Does the expression name columns of this table only?
  bool is_of(const Expr& expr, const TableUse& use, const TableScope& scope) const {
    if (expr.kind == ExprKind::kColumn) {
      if (expr.star || expr.names.empty() || expr.names.size() > 2) return false;
      const std::string& column = expr.names.back();
      if (use.resolved.table->find_column(column) == nullptr) return false;
      if (expr.names.size() == 2) return expr.names.front() == use.visible_name();
      return std::none_of(scope.tables().begin(), scope.tables().end(), [&](const TableUse& other) {
        if (&other == &use) return false;
        const Table* table = other.resolved.table;
        return table == nullptr || table->columns.empty() || other.renamed ||
               table->find_column(column) != nullptr;
      });
    }
    return std::all_of(expr.args.begin(), expr.args.end(),
                       [&](const Expr& arg) { return is_of(arg, use, scope); });
  }

  const Topology& topology_;
  const std::string_view text_;
  const StatementAnalysis& analysis_;
  const SearchPath* path_;
  const std::vector<std::uint32_t>& types_;
  const LevelText& level_;
  const Mentions mentions_;
  const bool bring_references_;
  const NamedJoins joins_;
  bool every_column_ = false;
  std::map<const TableUse*, Place> places_;     // of what is brought
  std::map<std::string, std::string> aliases_;  // of contested names, by relation
};

bool only_reads(const StatementAnalysis& analysis) {
  const StatementFacts& facts = analysis.facts();
  return analysis.writes().empty() && !facts.locking && !facts.into && !facts.advisory_lock &&
         !facts.has_default && facts.set_configs.empty() && facts.sequence_call.empty() &&
         facts.sequence_read.empty() && facts.unique_id.empty();
}

}  // namespace

std::string rows_text(const MergeInput& input) {
  std::string out = input.select;
  for (const std::string& condition : input.conditions) {
    out += &condition == &input.conditions.front() ? " WHERE (" : " AND (";
    out += condition + ")";
  }
  return out;
}

std::shared_ptr<const MergeNodePlan> plan_merge_node(
    const Topology& topology, std::string_view text, const SqlStatement& statement,
    const StatementAnalysis& analysis, const SearchPath* path,
    const std::vector<std::uint32_t>& types, const Error& refused) {
  const StatementFacts& facts = analysis.facts();
  if (facts.tables != statement.tables.size() || !only_reads(analysis)) return nullptr;
  // They would see what the merge node has of their tables.
  if (!facts.reading_function.empty() || !facts.server_function.empty()) return nullptr;
  if (!facts.system_column.empty()) return nullptr;
  if (!facts.unknown_operator.empty() || facts.other_node == "RangeTableSample") return nullptr;
  const bool own_clock = !facts.other_moment.empty();
  std::vector<std::size_t> calls = facts.moment_calls;
  std::sort(calls.begin(), calls.end());
  if (!own_clock && find_moments(text) != calls) return nullptr;
  const auto level = LevelText::read(text);
  if (!level) return nullptr;

  const auto make = [&](bool bring_references) -> std::shared_ptr<MergeNodePlan> {
    auto plan =
        MergeNodePlanner(topology, text, analysis, path, types, *level, bring_references).plan();
    if (!plan) return nullptr;
    plan->why = refused.message;
    plan->own_clock = own_clock;
    plan->parsed_clock = facts.moment_literal;
    plan->reads_clock = !own_clock && !calls.empty();
    if (plan->reads_clock) plan->text = with_fixed_moments(plan->text);
    return std::make_shared<MergeNodePlan>(std::move(*plan));
  };
  auto plan = make(false);
  if (!plan) return nullptr;
  if (analysis.has(TableClass::kReference)) plan->with_references = make(true);
  const bool by_groups = named_joins(analysis).aliases.empty();
  auto partial = by_groups ? plan_partial_aggregates(topology, *level, *statement.query, analysis)
                           : std::nullopt;
  if (!partial) return plan;
  auto out = std::make_shared<MergeNodePlan>();
  MergeInput& input = out->inputs.emplace_back();
  input.table = "pgshunt.1";
  input.select = std::move(partial->select);
  out->text = std::move(partial->text);
  out->sums = std::move(partial->sums);
  out->why = refused.message;
  out->by_rows = std::move(plan);
  return out;
}

}  // namespace pgshunt
