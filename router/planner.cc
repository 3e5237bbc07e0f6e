#include "router/planner.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "router/builtin.h"
#include "router/command_plan.h"
#include "router/copy_plan.h"
#include "router/cursor_command.h"
#include "router/drift.h"
#include "router/fixed_moments.h"
#include "router/group_plan.h"
#include "router/hint_plan.h"
#include "router/insert_plan.h"
#include "router/insert_select.h"
#include "router/insert_split.h"
#include "router/made_values.h"
#include "router/merge_node.h"
#include "router/move_plan.h"
#include "router/parse_tree.h"
#include "router/pg_hash.h"
#include "router/refusal.h"
#include "router/scatter_plan.h"
#include "router/shared_sequences.h"
#include "router/statement_analysis.h"
#include "router/write_plan.h"

namespace pgshunt {
namespace {

// System catalogs are read from one shard only, so that the OIDs of one answer mean something in
// the next question.
constexpr ShardId kCatalogShard = 0;

class Planner {
 public:
  Planner(const Topology& topology, const PlanRequest& request)
      : topology_(topology),
        request_(request),
        analysis_(topology, request.search_path, request.types) {
    plan_.epoch = topology.epoch;
    if (request.search_path != nullptr) plan_.search_path = request.search_path->text();
  }

  Result<StatementPlanData> plan(const SqlStatement& statement) {
    if (request_.hinted) {
      const Status planned = dispatch_hinted(statement);
      if (!planned) return planned.error();
      return std::move(plan_);
    }
    Status planned = dispatch(statement);
    if (!planned) return planned.error();
    if (const Status alike = check_drift(topology_, statement, plan_); !alike) return alike.error();
    return std::move(plan_);
  }

 private:
  // COPY FROM into a sharded table is spread as always, and checked: its rows have keys.
  Status dispatch_hinted(const SqlStatement& statement) {
    if (statement.kind == StatementKind::kCopy && statement.from && statement.tables.size() == 1) {
      const auto table = resolve_table(topology_, request_.search_path, statement.tables[0]);
      if (table && table->table != nullptr) {
        if (const Status planned = plan_copy(statement); !planned) return planned.error();
        plan_.hinted = true;
        if (table->placement != TableClass::kReference) return Ok{};
        return hinted_reference_write(table->table->name);
      }
    }
    // Whatever it is that calls it, the shards have to have it.
    plan_.unique_ids = mentions_unique_id(request_.text);
    return plan_hinted(topology_, statement, request_.search_path, request_.types, analysis_,
                       plan_);
  }

  Status dispatch(const SqlStatement& statement) {
    switch (statement.kind) {
      case StatementKind::kEmpty:
      case StatementKind::kSetting:
        return Ok{};  // any shard
      case StatementKind::kFetch:
        plan_.kind = RouteKind::kHomeShard;  // which says that there is no such cursor
        return Ok{};
      case StatementKind::kNotify:
        plan_.kind = RouteKind::kHomeShard;  // channels must meet somewhere
        plan_.writes = true;
        return Ok{};
      case StatementKind::kQuery:
        return plan_query(statement);
      case StatementKind::kExplain:
        return plan_explain(statement);
      case StatementKind::kCopy:
        return plan_copy(statement);
      case StatementKind::kCursor:
        return plan_cursor(statement);
      case StatementKind::kDefinition:
        plan_.unique_ids = mentions_unique_id(request_.text);
        if (const Status ok = check_defined_names(statement); !ok) return ok.error();
        [[fallthrough]];
      case StatementKind::kTruncate:
      case StatementKind::kLock:
        return plan_command(topology_, statement, request_.search_path, analysis_, plan_);
      case StatementKind::kOther:
        break;
    }
    return refusal(statement.text + " is not supported on a sharded database",
                   "Connect to each shard and run it there.");
  }

  // What is made without a schema comes to be in the first one of the path, whatever is there.
  Status check_defined_names(const SqlStatement& statement) const {
    const bool with_schema =
        std::none_of(statement.tables.begin(), statement.tables.end(),
                     [](const TableName& name) { return name.schema.empty(); });
    if (request_.search_path == nullptr || topology_.has_tenant_schemas() || with_schema) {
      return Ok{};
    }
    return refusal(statement.text + " without a schema, and search_path is not the default one",
                   "Write schema.table, or reset search_path.");
  }

  // --- queries --------------------------------------------------------------------------------

  Status plan_query(const SqlStatement& statement) {
    Status planned = plan_as_it_is(statement);
    if (planned && !request_.merge_because.empty()) {
      planned = refusal(std::string(request_.merge_because), "Give the shard key.");
    }
    const bool one_shard = planned && plan_.kind == RouteKind::kOneShard;
    // A key that is left to its default is made for each row.
    const bool refused = !planned && (planned.error().code == sqlstate::kFeatureNotSupported ||
                                      planned.error().code == sqlstate::kNotNullViolation);
    if (!plain_query_ || !statement.query || !(one_shard || refused)) return planned;
    const Query& query = *statement.query;
    if (query.verb == QueryVerb::kSelect) return plan_merging(statement, planned);
    if (query.verb != QueryVerb::kInsert || !query.source || !query.source->values.empty()) {
      return planned;
    }
    if (one_shard && plan_.several != RouteKind::kOneShard) return planned;
    auto apart = plan_insert_select(query);
    if (one_shard) {
      // Its keys may turn out to be on several shards.
      if (!apart) return planned;
      plan_.several = RouteKind::kInsertSelect;
      plan_.insert_select = std::move(apart->insert_select);
      return planned;
    }
    if (!apart) return apart.error().message.empty() ? planned : apart.error();
    plan_ = std::move(*apart);
    return Ok{};
  }

  // A SELECT that is refused, or whose keys may turn out to be of several shards.
  Status plan_merging(const SqlStatement& statement, const Status& planned) {
    if (planned && plan_.several != RouteKind::kOneShard) return planned;
    const Error& refused = planned ? plan_.several_refusal : planned.error();
    if (refused.message.empty()) return planned;
    if (!analysis_.has(TableClass::kSharded) && !analysis_.has(TableClass::kUnsharded)) {
      return planned;
    }
    auto merge_node = plan_merge_node(topology_, request_.text, statement, analysis_,
                                      request_.search_path, request_.types, refused);
    if (!merge_node) return planned;
    plan_.merge_node = std::move(merge_node);
    if (planned) {
      plan_.several = RouteKind::kMergeNode;
      return planned;
    }
    StatementPlanData out;
    out.epoch = plan_.epoch;
    out.search_path = plan_.search_path;
    out.unqualified = analysis_.facts().unqualified_table;
    out.kind = RouteKind::kMergeNode;
    out.merge_node = std::move(plan_.merge_node);
    plan_ = std::move(out);
    return Ok{};
  }

  // The SELECT and the INSERT of its rows as statements of their own. An Error without a message:
  // what was said of the whole holds.
  Result<StatementPlanData> plan_insert_select(const Query& query) {
    const Error as_said{sqlstate::kFeatureNotSupported, {}, {}};
    const auto& writes = analysis_.writes();
    const auto target = std::find_if(writes.begin(), writes.end(),
                                     [&](const WriteTarget& each) { return each.query == &query; });
    if (target == writes.end()) return as_said;
    const ResolvedTable& into = target->table;
    const Table* table = into.table;
    if (into.placement == TableClass::kCatalog || into.placement == TableClass::kDerived) {
      return as_said;
    }
    if (into.placement == TableClass::kSharded) {
      if (const Status ok = check_on_conflict(query, *table); !ok) return ok.error();
      const auto apart = wants_sequences_apart(query, *table, analysis_.facts().has_default);
      if (!apart) return apart.error();
    }
    auto cut = cut_insert_select(request_.text, query);
    if (!cut) return as_said;
    // Its shards are told one time, as a literal; which one makes no difference here.
    std::vector<std::size_t> calls = analysis_.facts().moment_calls;
    std::sort(calls.begin(), calls.end());
    cut->reads_clock = find_moments(request_.text) == calls && !find_moments(cut->select).empty();
    const char* const some_time = "2000-01-01 00:00:00+00";
    const std::string text =
        cut->reads_clock ? with_moments(cut->select, true, {some_time, some_time}) : cut->select;
    const auto select = parse_statement(text);
    if (!select) return as_said;
    PlanRequest request = request_;
    request.text = text;
    request.merges_groups = false;  // who stores rows has them from a RowMerger
    auto planned = Planner(topology_, request).plan(*select);
    if (!planned) return planned.error();
    switch (planned->kind) {
      case RouteKind::kAnyShard:
      case RouteKind::kHomeShard:
      case RouteKind::kOneShard:
      case RouteKind::kScatter:
      case RouteKind::kMergeNode:
        break;
      default:
        return as_said;
    }
    if (planned->merge_node && planned->merge_node->own_clock) return moment_refusal();
    cut->select_writes = writes.size() > 1;
    if (into.placement == TableClass::kUnsharded) cut->home = into.home;
    // One statement fires its triggers once, and may store a row before the one it refers to.
    cut->in_batches = query.conflict != ConflictAction::kUpdate && table != nullptr &&
                      !table->columns.empty() && table->move_obstacles.empty() &&
                      returns_the_same_in_batches(query);
    add_column_types(query, table, *cut);

    StatementPlanData out;
    out.epoch = plan_.epoch;
    out.search_path = plan_.search_path;
    out.unqualified = plan_.unqualified;
    out.kind = RouteKind::kInsertSelect;
    out.writes = true;
    out.home = into.placement == TableClass::kUnsharded ? into.home : planned->home;
    out.insert_select = std::make_shared<const InsertSelect>(std::move(*cut));
    return out;
  }

  // RETURNING reads neither tables nor the time of the statement.
  bool returns_the_same_in_batches(const Query& insert) const {
    StatementAnalysis returning(topology_, request_.search_path, request_.types);
    for (const Target& target : insert.returning) {
      if (target.value && !returning.add_expression(*target.value)) return false;
    }
    const StatementFacts& facts = returning.facts();
    return !facts.subqueries && facts.moment.empty() && facts.reading_function.empty() &&
           facts.unknown_function.empty() && facts.tables == 0;
  }

  // A parameter that is a value by itself takes the type of the column it is for.
  static void add_column_types(const Query& query, const Table* table, InsertSelect& out) {
    for (InsertSelect::OpenColumn& open : out.open_columns) {
      const std::size_t listed = query.columns.size();
      // Behind a star a column is known by the list only.
      if (table == nullptr || (open.from_end && open.position >= listed)) continue;
      const std::size_t index = open.index(listed);
      const Column* column = nullptr;
      if (listed == 0 && index < table->columns.size()) {
        column = &table->columns[index];
      } else if (index < listed && !query.columns[index].subscripted) {
        column = table->find_column(query.columns[index].name);
      }
      if (column != nullptr) open.column_type = column->type_oid;
    }
  }

  Status plan_as_it_is(const SqlStatement& statement) {
    if (!statement.query) return not_understood(statement);
    const Query& query = *statement.query;
    if (query.verb == QueryVerb::kOther) {
      return refusal(query.text + " is not supported on a sharded database",
                     "Write it as INSERT, UPDATE and DELETE.");
    }
    if (const Status added = analysis_.add_query(query); !added) return added.error();
    const StatementFacts& facts = analysis_.facts();
    // Every table of the parse tree must be one that was looked at.
    if (facts.tables != statement.tables.size()) return not_understood(statement);
    plan_.unqualified = facts.unqualified_table;
    plan_.writes = !analysis_.writes().empty() || facts.locking || facts.into ||
                   !facts.unknown_function.empty() || !facts.reading_function.empty();
    if (!facts.sequence_read.empty()) {
      return refusal(facts.sequence_read + " is not supported on a sharded database",
                     "Every shard has sequences of its own: use INSERT ... RETURNING.");
    }
    if (const Status ok = add_settings(); !ok) return ok.error();
    if (const Status ok = check_sequences(); !ok) return ok.error();
    if (const Status ok = plan_made_values(query); !ok) return ok.error();
    if (plan_.kind == RouteKind::kMakeValues) return Ok{};
    if (facts.into) {
      return refusal("SELECT INTO is not supported on a sharded database",
                     "Create the table on each shard, then INSERT.");
    }
    for (const WriteTarget& target : analysis_.writes()) {
      // UPDATE pg_settings is a SET.
      if (target.table.placement != TableClass::kCatalog) continue;
      return refusal("a system catalog cannot be written on a sharded database",
                     "Connect to each shard and do it there.");
    }
    if (analysis_.has(TableClass::kSharded)) return plan_sharded(query);
    if (analysis_.has(TableClass::kUnsharded)) return plan_unsharded();
    for (const WriteTarget& target : analysis_.writes()) {
      if (target.table.placement == TableClass::kReference) return plan_reference_write(query);
    }
    return plan_read_anywhere();
  }

  // set_config() would reach one shard of many. Which setting it is may be known only with the
  // values.
  Status add_settings() {
    for (const Expr* call : analysis_.facts().set_configs) {
      auto name = call->args.empty()
                      ? std::nullopt
                      : key_source_of(call->args[0], ShardKeyType::kText, request_.types);
      if (!name) return set_config_refusal();
      plan_.settings.push_back(std::move(*name));
    }
    return Ok{};
  }

  // Numbers of each shard's own must not be those of another.
  Status check_sequences() {
    for (const WriteTarget& target : analysis_.writes()) {
      const Table* table = target.table.table;
      if (table == nullptr || table->placement != TablePlacement::kSharded) continue;
      const auto apart =
          wants_sequences_apart(*target.query, *table, analysis_.facts().has_default);
      if (!apart) return apart.error();
      plan_.sequences_apart |= *apart;
    }
    const std::string& call = analysis_.facts().sequence_call;
    if (call.empty()) return Ok{};
    if (analysis_.has(TableClass::kSharded)) {
      return refusal(call + " in a statement that names sharded tables would be that of one shard",
                     "Call it in a statement of its own: SELECT nextval(...).");
    }
    const bool shared =
        !call.ends_with("nextval()") &&
        std::any_of(topology_.tables.begin(), topology_.tables.end(), [](const Table& table) {
          return table.placement == TablePlacement::kSharded &&
                 std::any_of(table.columns.begin(), table.columns.end(),
                             [](const Column& column) { return !column.sequence.empty(); });
        });
    if (!shared) return Ok{};
    return refusal("setval() is not supported where sequences of sharded tables are on every shard",
                   "Use ALTER SEQUENCE ... RESTART WITH, which all shards do.");
  }

  // Of an INSERT: is there something to be made before anything else can be said of it?
  Status plan_made_values(const Query& query) {
    plan_.unique_ids = !analysis_.facts().unique_id.empty();
    if (query.verb != QueryVerb::kInsert) return Ok{};
    const auto& writes = analysis_.writes();
    const auto target = std::find_if(writes.begin(), writes.end(),
                                     [&](const WriteTarget& each) { return each.query == &query; });
    if (target == writes.end() || target->table.table == nullptr) return Ok{};
    const Table& table = *target->table.table;
    // A number of a sequence needs no function.
    plan_.unique_ids |= std::any_of(table.columns.begin(), table.columns.end(),
                                    [](const Column& column) { return column.unique_id; });
    const bool whole =
        plain_query_ || (explains_ && writes.size() == 1 && !analysis_.has(TableClass::kUnsharded));
    if (!whole || table.placement == TablePlacement::kUnsharded) return Ok{};
    auto made = find_made_values(request_.text, query, table, request_.types.size());
    if (!made) return made.error();
    if (*made == nullptr) return Ok{};
    plan_.made = std::move(*made);
    plan_.kind = RouteKind::kMakeValues;
    return Ok{};
  }

  Status not_understood(const SqlStatement& statement) const {
    return refusal("a part of this " + statement.text + " is not understood by the proxy",
                   "Write the statement in a simpler form.");
  }

  // Only reference tables, catalogs, or no table at all.
  Status plan_read_anywhere() {
    const StatementFacts& facts = analysis_.facts();
    const bool one_place = analysis_.has(TableClass::kCatalog) || facts.locking ||
                           !facts.unknown_function.empty() || !facts.local_function.empty() ||
                           !facts.oid_type.empty() || !facts.system_column.empty();
    plan_.kind = one_place ? RouteKind::kHomeShard : RouteKind::kAnyShard;
    return check_reading_function();
  }

  // A function of the user's may read any table, and would see one shard's part of it.
  Status check_reading_function() const {
    const std::string& call = analysis_.facts().reading_function;
    if (call.empty()) return Ok{};
    return refusal("function " + call + " may read tables that the statement does not name",
                   "Declare it IMMUTABLE if it reads none, or call it on each shard.");
  }

  Status plan_unsharded() {
    std::optional<ShardId> home;
    if (const Status same = find_home(home); !same) return same.error();
    if (analysis_.has(TableClass::kCatalog) && *home != kCatalogShard) {
      return refusal("a system catalog cannot be joined with a table of another shard",
                     "Read them one after the other.");
    }
    if (const Status ok = check_no_reference_write(); !ok) return ok.error();
    plan_.kind = RouteKind::kOneShard;
    plan_.home = home;
    if (const Status ok = check_reading_function(); !ok) return ok.error();
    return check_locks();
  }

  // All unsharded tables must live together.
  Status find_home(std::optional<ShardId>& home) const {
    const auto meet = [&home](const ResolvedTable& table) -> Status {
      if (table.placement != TableClass::kUnsharded) return Ok{};
      if (home && *home != table.home) {
        return refusal("unsharded tables of different shards cannot be used in one statement",
                       "Read them one after the other.");
      }
      home = table.home;
      return Ok{};
    };
    for (const auto& scope : analysis_.scopes()) {
      for (const TableUse& use : scope->tables()) {
        if (const Status same = meet(use.resolved); !same) return same.error();
      }
    }
    for (const WriteTarget& target : analysis_.writes()) {
      if (const Status same = meet(target.table); !same) return same.error();
    }
    return Ok{};
  }

  Status check_no_reference_write() const {
    for (const WriteTarget& target : analysis_.writes()) {
      if (target.table.placement == TableClass::kReference) {
        return refusal("a reference table cannot be written together with other tables",
                       "Write it in a statement of its own, which goes to every shard.");
      }
    }
    return Ok{};
  }

  Status check_locks() const {
    if (!analysis_.facts().advisory_lock) return Ok{};
    return refusal("advisory locks cannot be taken in a statement that reads sharded tables",
                   "Take them in a statement without tables, which runs where all locks are.");
  }

  // --- sharded tables -------------------------------------------------------------------------

  Status plan_sharded(const Query& query) {
    if (analysis_.has(TableClass::kCatalog)) {
      return refusal("a system catalog cannot be joined with a sharded table",
                     "Read them one after the other.");
    }
    if (const Status ok = check_no_reference_write(); !ok) return ok.error();
    if (const Status ok = check_locks(); !ok) return ok.error();
    if (const Status ok = check_reading_function(); !ok) return ok.error();
    for (const WriteTarget& target : analysis_.writes()) {
      if (const Status ok = add_write(target); !ok) return ok.error();
    }
    const TableUse* unpinned = nullptr;
    for (const auto& scope : analysis_.scopes()) {
      for (const TableUse& use : scope->tables()) {
        if (!use.sharded()) continue;
        if (use.pin) {
          plan_.pins.push_back(*use.pin);
        } else if (unpinned == nullptr) {
          unpinned = &use;
        }
      }
    }
    if (unpinned == nullptr) {
      plan_.kind = RouteKind::kOneShard;
      if (const Status same = find_home(plan_.home); !same) return same.error();
      if (moved_ != nullptr) return plan_moving(query);
      plan_several(query);
      plan_rows(query);
      return check_parameter_types();
    }
    plan_.pins.clear();
    if (!analysis_.writes().empty()) {
      if (moved_ != nullptr) return unpinned_write(*unpinned);
      const bool plain =
          query.verb == QueryVerb::kUpdate || query.verb == QueryVerb::kDelete ||
          (query.verb == QueryVerb::kInsert && query.source &&
           selects_own_key(topology_, query, *analysis_.writes().front().table.table, analysis_));
      return plain && plain_query_
                 ? plan_write_shards(topology_, request_.text, query, analysis_, plan_)
                 : unpinned_write(*unpinned);
    }
    if (analysis_.has(TableClass::kUnsharded)) {
      return refusal("an unsharded table cannot be joined with a sharded table over several shards",
                     "Give the shard key of " + quoted(unpinned->visible_name()) + ".");
    }
    add_bounds(*analysis_.scope_of(query));
    return plan_read_of_several(query, plan_);
  }

  Status plan_read_of_several(const Query& query, StatementPlanData& out) {
    const Status planned = plan_scatter(request_.text, query, analysis_, out);
    if (planned || planned.error().code != sqlstate::kFeatureNotSupported) return planned;
    const bool wanted = plain_query_ && request_.merges_groups && request_.merge_because.empty();
    if (wanted && plan_groups(topology_, request_.text, query, analysis_, out)) return Ok{};
    return planned;
  }

  // A bound whose value cannot be told for sure is left out: the scatter is wider then.
  void add_bounds(const TableScope& scope) {
    const std::vector<std::size_t> beside_keys = parameters_beside_keys();
    for (const KeyBound& bound : scope.bounds()) {
      if (!has_other_use(bound.source, beside_keys)) plan_.bounds.push_back(bound);
    }
  }

  Status plan_moving(const Query& query) {
    const Status planned =
        plan_move(topology_, request_.text, query, *moved_, analysis_, request_.types, plan_);
    if (!planned) return planned.error();
    const KeySource& source = plan_.move->new_key.source;
    if (source.kind == KeySource::Kind::kParameter) insert_parameters_.push_back(source.parameter);
    return check_parameter_types();
  }

  // Other rows of the same INSERT may go to other shards if nothing in them, or around them,
  // depends on where that is.
  void plan_rows(const Query& query) {
    if (query.verb != QueryVerb::kInsert || !query.source || query.source->values.empty()) return;
    Status same = check_expressions(analysis_.facts(), *analysis_.scope_of(query), Moments::kFixed);
    if (same && plain_query_) same = fix_moments(request_.text, analysis_.facts(), plan_);
    if (!same) plan_.rows_refusal = same.error();
    const WriteTarget& target = analysis_.writes().front();
    if (target.query == &query && target.table.table != nullptr) {
      plan_.text_parameters =
          text_parameters(query, *target.table.table, analysis_.facts().parameter_uses);
    }
    if (query.source->values.size() < 2) return;
    if (plan_.rows_refusal) {
      plan_.several_refusal = *plan_.rows_refusal;
      return;
    }
    InsertRows rows;
    const std::string_view text = plan_.fixes_moment ? plan_.shard_text : request_.text;
    const std::size_t row_count = query.source->values.size();
    const bool found = plain_query_ && plan_.pins.size() == row_count && !plan_.home &&
                       find_insert_rows(text, true, rows) && rows.rows.size() == row_count &&
                       rows.same_length;
    if (!found) return;
    // In fewer rows a parameter of open type might get another than in all of them.
    // ... and one that is used nowhere has none.
    const auto& uses = analysis_.facts().parameter_uses;
    for (std::size_t i = 0; i < std::max(uses.size(), request_.types.size()); ++i) {
      const std::size_t count = i < uses.size() ? uses[i] : 0;
      if (count == 1 || (i < request_.types.size() && request_.types[i] != 0)) continue;
      plan_.several_refusal = refusal("parameter $" + std::to_string(i + 1) +
                                          " of an INSERT with rows on several shards is not used "
                                          "exactly once, and its type is open",
                                      "Declare its type when preparing, or bind it twice.");
      return;
    }
    plan_.split = make_insert_split(text, rows);
    plan_.several = RouteKind::kWriteShards;
  }

  // Every table is pinned, but by lists of values, which may be on several shards: the rows beyond
  // those shards have no part in the result, so what may run on all shards may run on these.
  void plan_several(const Query& query) {
    plan_.several_refusal = refusal("the statement's rows live on several shards",
                                    "Write one statement for each shard key.");
    const bool lists = std::any_of(plan_.pins.begin(), plan_.pins.end(),
                                   [](const Pin& pin) { return pin.is_list(); });
    if (!lists || plan_.home || !plain_query_) return;
    StatementPlanData several;
    const Status planned =
        analysis_.writes().empty()
            ? plan_read_of_several(query, several)
            : plan_write_shards(topology_, request_.text, query, analysis_, several);
    if (!planned) {
      plan_.several_refusal = planned.error();
      return;
    }
    plan_.several = several.kind;
    plan_.merge = std::move(several.merge);
    plan_.limit = several.limit;
    plan_.offset = several.offset;
    plan_.shard_text = std::move(several.shard_text);
    plan_.fixes_moment = several.fixes_moment;
  }

  Status unpinned_write(const TableUse& use) const {
    const std::string& key = use.resolved.table->key_column;
    return refusal("cannot tell which shard this statement writes: table " +
                       quoted(use.visible_name()) + " has no shard key given",
                   "Add " + std::string(use.visible_name()) + "." + key +
                       " = value to WHERE, outside of OR and NOT.");
  }

  Status add_write(const WriteTarget& target) {
    if (target.table.placement != TableClass::kSharded) return Ok{};
    const Query& query = *target.query;
    const Table& table = *target.table.table;
    if (query.verb == QueryVerb::kUpdate) {
      if (key_assignment(query, table) == nullptr) return Ok{};
      if (!topology_.moves_rows) {
        return refusal(
            "UPDATE may not set the shard key " + quoted(table.key_column),
            "Delete the row and insert it anew, or set on_shard_key_update to \"move\".");
      }
      if (!plain_query_ || target.nested) {
        return refusal("UPDATE may not set the shard key " + quoted(table.key_column) +
                           " inside of another statement",
                       "Run the UPDATE itself.");
      }
      moved_ = &table;
      return Ok{};
    }
    if (query.verb != QueryVerb::kInsert) return Ok{};
    if (const Status ok = check_on_conflict(query, table); !ok) return ok.error();
    auto pins = insert_pins(topology_, request_.types, query, table, analysis_, insert_parameters_);
    if (!pins) return pins.error();
    for (Pin& pin : *pins) plan_.pins.push_back(std::move(pin));
    return Ok{};
  }

  // A parameter of open type gets its type from where it stands; if that is not only beside keys,
  // the server may infer another type than the key's, and its bytes would mean something else.
  std::vector<std::size_t> parameters_beside_keys() const {
    std::vector<std::size_t> beside_keys;
    const auto count = [&beside_keys](std::uint16_t parameter) {
      if (beside_keys.size() <= parameter) beside_keys.resize(parameter + std::size_t{1});
      ++beside_keys[parameter];
    };
    std::for_each(insert_parameters_.begin(), insert_parameters_.end(), count);
    for (const auto& scope : analysis_.scopes()) {
      std::for_each(scope->key_parameters().begin(), scope->key_parameters().end(), count);
    }
    return beside_keys;
  }

  bool has_other_use(const KeySource& source, const std::vector<std::size_t>& beside_keys) const {
    const std::size_t parameter = source.parameter;
    if (source.kind != KeySource::Kind::kParameter) return false;
    if (request_.first_literal != 0 && parameter + 1 >= request_.first_literal) return false;
    if (parameter < request_.types.size() && request_.types[parameter] != 0) return false;
    return analysis_.facts().parameter_uses[parameter] > beside_keys[parameter];
  }

  Status check_parameter_types() const {
    const std::vector<std::size_t> beside_keys = parameters_beside_keys();
    const auto check = [&](const KeySource& source) -> Status {
      if (!has_other_use(source, beside_keys)) return Ok{};
      return refusal("the type of parameter $" + std::to_string(source.parameter + 1) +
                         ", a shard key, is open and it is used elsewhere too",
                     "Declare its type when preparing, or use a parameter of its own for the key.");
    };
    if (plan_.move) {
      if (const Status ok = check(plan_.move->new_key.source); !ok) return ok.error();
    }
    for (const Pin& pin : plan_.pins) {
      if (const Status ok = check(pin.source); !ok) return ok.error();
      if (!pin.more) continue;
      for (const KeySource& source : *pin.more) {
        if (const Status ok = check(source); !ok) return ok.error();
      }
    }
    return Ok{};
  }

  // --- reference tables -----------------------------------------------------------------------

  Status plan_reference_write(const Query& query) {
    const StatementFacts& facts = analysis_.facts();
    const char* const kPlain = "Write it as a plain INSERT ... VALUES, UPDATE or DELETE.";
    if (facts.ctes || facts.subqueries || facts.set_operation || !query.target ||
        analysis_.writes().size() != 1) {
      return refusal("a write to a reference table with WITH or a subquery is not supported",
                     kPlain);
    }
    const Table& table = *analysis_.writes().front().table.table;
    if (query.verb == QueryVerb::kInsert) {
      if (query.source && query.source->values.empty()) {
        return refusal("INSERT ... SELECT into a reference table is not supported", kPlain);
      }
      if (const Status same = check_defaults_are_same(query, table, facts.has_default); !same) {
        return same.error();
      }
    } else if (facts.has_default) {
      return refusal("SET column = DEFAULT of a reference table is not supported",
                     "Write the value itself.");
    }
    if (query.verb == QueryVerb::kUpdate && !query.from.empty()) {
      return refusal("UPDATE ... FROM of a reference table is not supported",
                     "Of several matching rows each shard may take another.");
    }
    if (analysis_.has(TableClass::kCatalog)) {
      return refusal("a reference table cannot be written from a system catalog", kPlain);
    }
    if (const Status same = check_same_everywhere(); !same) return same.error();
    plan_.kind = RouteKind::kEveryShard;
    plan_.write_lock = write_lock(table);
    return fix_moments(request_.text, facts, plan_);
  }

  // Every expression must give the same value on every shard.
  Status check_same_everywhere() const {
    const StatementFacts& facts = analysis_.facts();
    const std::string* const findings[] = {
        &facts.other_moment,     &facts.local_function,   &facts.unique_id,
        &facts.reading_function, &facts.unknown_function, &facts.unknown_operator,
        &facts.system_column,    &facts.oid_type,         &facts.aggregate,
        &facts.window,           &facts.other_node};
    for (const std::string* finding : findings) {
      if (finding->empty()) continue;
      return refusal(*finding + " in a write to a reference table could differ from shard to shard",
                     "Compute the value before you send the statement.");
    }
    return Ok{};
  }

  // --- utility statements ---------------------------------------------------------------------

  Status plan_explain(const SqlStatement& statement) {
    if (!statement.query) {
      return refusal("EXPLAIN of this statement is not supported on a sharded database",
                     "Connect to a shard and run it there.");
    }
    plain_query_ = false;
    explains_ = true;
    if (const Status planned = plan_query(statement); !planned) return planned.error();
    if (plan_.kind == RouteKind::kMakeValues && !statement.analyze) {
      // Nothing runs, and every shard makes the same plan of it.
      plan_.made = nullptr;
      plan_.kind = RouteKind::kAnyShard;
    }
    plan_.writes &= statement.analyze;
    if (!plan_.several_shards()) return Ok{};
    return refusal("EXPLAIN of a statement that runs on several shards is not supported",
                   "Use EXPLAIN (PGSHUNT), or give the shard key.");
  }

  Status plan_copy(const SqlStatement& statement) {
    if (statement.server_file) {
      return refusal("COPY with a file or program of the server is not supported",
                     "Use COPY ... FROM STDIN or TO STDOUT (\\copy in psql).");
    }
    if (statement.query) return plan_copy_query(statement);
    if (statement.tables.size() != 1) return not_understood(statement);
    const auto table = resolve_table(topology_, request_.search_path, statement.tables[0]);
    if (!table) return table.error();
    if (statement.from) {
      const Status ok = check_write_target(*table, statement.tables[0]);
      if (!ok) return ok.error();
    }
    plan_.unqualified = statement.tables[0].schema.empty();
    plan_.writes = statement.from;
    switch (table->placement) {
      case TableClass::kUnsharded:
        plan_.kind = RouteKind::kOneShard;
        plan_.home = table->home;
        return Ok{};
      case TableClass::kReference:
        return statement.from ? plan_copy_split(statement, *table->table) : Ok{};
      case TableClass::kSharded:
        return statement.from ? plan_copy_split(statement, *table->table)
                              : plan_copy_merge(statement);
      case TableClass::kCatalog:
      case TableClass::kDerived:
        break;
    }
    plan_.kind = RouteKind::kHomeShard;
    return Ok{};
  }

  // Writers of a reference table take turns by an advisory lock of this number.
  static std::int64_t write_lock(const Table& table) {
    return static_cast<std::int64_t>(hash_bytes(table.schema + "." + table.name));
  }

  Status plan_copy_split(const SqlStatement& statement, const Table& table) {
    for (const Expr& where : statement.exprs) {
      if (const Status added = analysis_.add_expression(where); !added) return added.error();
    }
    auto copy = plan_copy_from(topology_, statement, table, analysis_.facts());
    if (!copy) return copy.error();
    // Most keys that are made would be another shard's.
    if (request_.hinted && copy->made_key) return missing_key("COPY", table);
    plan_.unique_ids = std::any_of(table.columns.begin(), table.columns.end(),
                                   [](const Column& column) { return column.unique_id; });
    if (table.placement == TablePlacement::kSharded) {
      const auto apart = wants_sequences_apart(copy->columns, table);
      if (!apart) return apart.error();
      plan_.sequences_apart = *apart;
    }
    plan_.kind = RouteKind::kCopySplit;
    plan_.copy = std::make_shared<const CopyPlan>(std::move(*copy));
    if (table.placement == TablePlacement::kReference) plan_.write_lock = write_lock(table);
    return Ok{};
  }

  Status plan_copy_merge(const SqlStatement& statement) {
    auto copy = plan_copy_to(statement);
    if (!copy) return copy.error();
    plan_.kind = RouteKind::kCopyMerge;
    plan_.copy = std::make_shared<const CopyPlan>(std::move(*copy));
    return Ok{};
  }

  // Rows in any order come as the shards' own COPY makes them; others are merged first.
  Status plan_copy_query(const SqlStatement& statement) {
    const std::string_view query = query_of_copy(request_.text);
    if (query.empty()) return not_understood(statement);
    auto copy = plan_copy_to(statement);
    if (!copy) return copy.error();
    if (const Status planned = plan_inside(query, "COPY", RouteKind::kCopyQuery); !planned) {
      return planned.error();
    }
    plan_.copy = std::make_shared<const CopyPlan>(std::move(*copy));
    const Query& inner = *statement.query;
    if (scatters_ && inner.order.empty() && !inner.limit && !inner.offset) {
      plan_.kind = RouteKind::kCopyMerge;
    }
    return Ok{};
  }

  // FETCH and CLOSE say nothing of what a cursor reads: who serves them knows where it is.
  Status plan_cursor(const SqlStatement& statement) {
    const auto command = read_cursor_command(request_.text);
    if (!command) return not_understood(statement);
    if (!command->conflict.empty()) {
      return Error{Sqlstate("42P11"), "cannot specify both " + command->conflict, {}};
    }
    return plan_inside(request_.text.substr(command->select), "a cursor", RouteKind::kCursor);
  }

  // A statement about a query runs where that would. `several`: what it is if those are several
  // servers.
  Status plan_inside(std::string_view query, const char* what, RouteKind several) {
    PlanRequest request = request_;
    request.text = query;
    const auto statement = parse_statement(query);
    if (!statement) return statement.error();
    auto planned = Planner(topology_, request).plan(*statement);
    if (!planned) return planned.error();
    const auto merges = [](RouteKind kind) {
      return kind == RouteKind::kScatter || kind == RouteKind::kMergeNode;
    };
    scatters_ = planned->kind == RouteKind::kScatter && !planned->merge.groups;
    if (planned->several_shards() && !merges(planned->kind)) {
      return refusal(std::string(what) +
                         " of a statement that writes on several shards is not "
                         "supported",
                     "Run the statement itself.");
    }
    plan_ = std::move(*planned);
    if (merges(plan_.kind)) plan_.kind = several;
    if (merges(plan_.several)) plan_.several = several;
    plan_.merge = {};
    plan_.limit = plan_.offset = {};
    plan_.merge_node = nullptr;
    plan_.shard_text.clear();
    return Ok{};
  }

  const Topology& topology_;
  const PlanRequest& request_;
  StatementAnalysis analysis_;
  StatementPlanData plan_;
  std::vector<std::uint16_t> insert_parameters_;
  const Table* moved_ = nullptr;  // an UPDATE sets its key
  bool plain_query_ = true;       // not inside EXPLAIN
  bool scatters_ = false;         // plan_inside()
  bool explains_ = false;
};

}  // namespace

Result<StatementPlanData> plan_statement(const Topology& topology, const PlanRequest& request) {
  const auto statement = parse_statement(request.text);
  if (!statement) return statement.error();
  return Planner(topology, request).plan(*statement);
}

}  // namespace pgshunt
