// A SELECT that the merge node runs (router/merge_node.h): in a transaction of a connection of its
// own there, temporary tables are made and filled with rows of the shards, the statement runs over
// them, and ROLLBACK takes everything away, as it does if anybody dies before.
//
// The shards are read as by any other statement, inside the client's transaction if there is one,
// so it sees what the client has written.
#include <algorithm>
#include <charconv>
#include <set>

#include "protocol/value_text.h"
#include "proxy/database.h"
#include "proxy/session/bind_parts.h"
#include "proxy/session/result_formats.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"
#include "router/builtin.h"
#include "router/sql_lexer.h"
#include "router/sql_text.h"

namespace pgshunt {
namespace {

// Tables of fewer rows are read whole, whatever is known of them.
constexpr std::uint64_t kWorthAnalyzing = 500;

std::string temporary(const MergeInput& input) {
  return "pg_temp." + quoted_identifier(input.table);
}

// A parameter's value as a literal, or nothing if it cannot be written so that it is sure to mean
// the same.
std::optional<std::string> literal_of(const WireValue& value, std::int16_t format,
                                      std::uint32_t type) {
  std::string out;
  if (value.is_null) {
    out = "NULL";
  } else if (format == kFormatText) {
    append_string_literal(out, value.bytes);
  } else {
    switch (type) {
      case type_oid::kText:
      case type_oid::kVarchar:
        append_string_literal(out, value.bytes);
        break;
      case type_oid::kInt2:
      case type_oid::kInt4:
      case type_oid::kInt8: {
        const auto number = RowValue::decode(*value_type_of(type), kFormatBinary, value);
        if (!number) return std::nullopt;
        out = "'" + std::to_string(number->integer()) + "'";
        break;
      }
      default:
        return std::nullopt;
    }
  }
  if (type == 0) return out;
  const std::string_view name = builtin_type_name(type);
  if (name.empty()) return std::nullopt;
  return out.append("::pg_catalog.").append(name);
}

// `sql` with the values of a Bind in place of its parameters.
std::optional<std::string> with_parameters(std::string_view sql, const BindView& bind,
                                           const std::vector<std::uint32_t>& types) {
  std::vector<WireValue> values;
  for (const WireValue& value : bind.values) values.push_back(value);
  std::string out;
  std::size_t at = 0;
  SqlLexer lexer(sql);
  for (SqlToken token; lexer.next(token);) {
    if (token.kind != TokenKind::kParam) continue;
    const auto number =
        parse_integer(lexer.text(token).substr(1), 1, std::int64_t{65535}, "integer");
    if (!number) return std::nullopt;
    const auto index = static_cast<std::size_t>(*number - 1);
    if (index >= values.size()) return std::nullopt;
    const auto literal =
        literal_of(values[index], bind.formats.of(index), index < types.size() ? types[index] : 0);
    if (!literal) return std::nullopt;
    out.append(sql.substr(at, token.begin - at)).append(*literal);
    at = token.end;
  }
  return out.append(sql.substr(at));
}

// The columns of a table, as CREATE TABLE wants them: one row of one value.
std::string shape_question(const MergeInput& input) {
  std::string out =
      "SELECT coalesce(pg_catalog.string_agg(pg_catalog.format('%I %s', a.attname, "
      "pg_catalog.format_type(a.atttypid, a.atttypmod)) || CASE WHEN a.attcollation <> 0 THEN "
      "pg_catalog.format(' COLLATE %I.%I', n.nspname, c.collname) ELSE '' END, ', ' ORDER BY "
      "a.attnum), '') FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation c ON c.oid "
      "= "
      "a.attcollation LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE "
      "a.attrelid = ";
  append_string_literal(out, input.relation);
  out += "::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped";
  if (!input.columns) return out;
  out += " AND a.attname = ANY (ARRAY[";
  for (std::size_t i = 0; i < input.columns->size(); ++i) {
    if (i > 0) out += ", ";
    append_string_literal(out, (*input.columns)[i]);
  }
  return out + "]::pg_catalog.name[])";
}

// The one number in each row.
std::vector<std::uint32_t> numbers_of(std::string_view rows) {
  std::vector<std::uint32_t> out;
  FrameHeader header;
  while (read_frame_header(rows, kMaxBodySize, header) == FrameStatus::kComplete) {
    const auto row = decode_data_row(rows.substr(kFrameHeaderSize, header.body_size));
    if (!row) break;
    for (const WireValue& value : *row) {
      std::uint32_t number = 0;
      std::from_chars(value.bytes.data(), value.bytes.data() + value.bytes.size(), number);
      out.push_back(number);
    }
    rows.remove_prefix(header.frame_size());
  }
  return out;
}

// The statement over what is said of groups, where the types of its columns are known.
std::string with_casts(const MergeNodePlan& plan, const std::vector<std::uint32_t>& types) {
  std::string out;
  std::size_t at = 0;
  for (const PartialAggregates::Sum& sum : plan.sums) {
    if (sum.column >= types.size() || types[sum.column] != type_oid::kInt8) continue;
    out.append(plan.text, at, sum.behind - at).append("::pg_catalog.int8");
    at = sum.behind;
  }
  return out.append(plan.text, at);
}

}  // namespace

// --- how it begins -------------------------------------------------------------------------------

ShardId ShardedConversation::merge_shard() const {
  const DatabaseConfig& config = session_.database()->config;
  for (std::size_t i = 0; i < config.shards.size(); ++i) {
    if (config.shards[i].name == config.merge_node) return static_cast<ShardId>(i);
  }
  return home_shard();
}

ServerLink& ShardedConversation::merge_link() {
  if (!merge_link_) {
    const SessionState& state = session_.state();
    merge_link_ =
        std::make_unique<ServerLink>(session_, *this,
                                     worker_.pool({state.database, state.user, merge_shard()},
                                                  *session_.database(), credentials_));
  }
  return *merge_link_;
}

// May what the shards say of groups be brought? It goes through text, with values in place of
// parameters; one that stands in several places might be read as another type in each.
bool ShardedConversation::may_be_by_groups(const MergeNodePlan& plan, const BindView* bind,
                                           const Statement* prepared) {
  if (!check_rows_read_as_written() || !router_session().exact_floats) return false;
  if (bind == nullptr) return true;
  if (router_session().embeds_ascii) return false;
  const std::vector<std::size_t> uses = uses_of_parameters(prepared->text);
  std::vector<std::uint32_t> types = prepared->types;
  types.resize(bind->values.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] == 0 && (i >= uses.size() || uses[i] != 1)) return false;
  }
  return with_parameters(plan.inputs.front().select, *bind, types).has_value();
}

// Nothing: the servers are ready, merge_run_ is made. `bind`: the client's; null: a simple query.
std::optional<ShardedConversation::Verdict> ShardedConversation::prepare_merge(
    const Route& route, std::uint32_t effects, const BindView* bind, const Statement* prepared) {
  std::shared_ptr<const MergeNodePlan> plan = route.merge_node;
  // In a transaction the tables are the shards' alone: the merge node's server would wait for what
  // the transaction itself has locked, and would see reference tables at another moment.
  if (plan->by_rows && (transaction_.open() || !may_be_by_groups(*plan, bind, prepared))) {
    plan = plan->by_rows;
  }
  if (transaction_.open() && plan->with_references) plan = plan->with_references;
  if (transaction_.open() && plan->own_clock) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "in a transaction this statement over several shards would read another clock "
                   "than the transaction's",
                   "Write now() or the time itself, or run it outside of a transaction."});
  }
  if ((effects & ~kLeavesNothing) != kEffectNone) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "this statement would leave something behind at the merge node",
                   "Give the shard key."});
  }
  const bool in_text = std::any_of(plan->inputs.begin(), plan->inputs.end(),
                                   [](const MergeInput& input) { return !input.builtin_types; });
  if (in_text && !plan->by_rows) {
    if (const Status exact = check_rows_read_as_written(); !exact) return refuse(exact.error());
  }
  std::set<ShardId> used;
  for (const MergeInput& input : plan->inputs) {
    if (input.home) used.insert(*input.home);
    if (!input.home) used.insert(route.shards.begin(), route.shards.end());
  }
  const std::vector<ShardId> shards(used.begin(), used.end());
  if (!acquire(shards) || !merge_link().acquire()) return Verdict::kWait;

  auto run = std::make_unique<MergeRun>(plan);
  const Config& config = *worker_.snapshot()->config;
  run->allowance = {config.merge_rows, config.merge_bytes};
  run->moments = moments();
  const std::string* encoding = session_.state().known->find("server_encoding");
  run->encoding = encoding != nullptr ? *encoding : "UTF8";
  run->shapes.resize(plan->inputs.size());
  if (bind != nullptr) {
    run->bind.emplace(2, '\0').append(bind->after_names);
    run->types = prepared->types;
    run->types.resize(bind->values.size());
  }
  const bool readable = !router_session().embeds_ascii;
  for (const MergeInput& input : plan->inputs) {
    std::string text = input.select;
    if (plan->by_rows && bind != nullptr) text = *with_parameters(text, *bind, run->types);
    bool first = true;
    for (const std::string& condition : input.conditions) {
      std::optional<std::string> said = condition;
      if (bind != nullptr) {
        said = readable ? with_parameters(condition, *bind, run->types) : std::nullopt;
      }
      if (!said) continue;
      text.append(std::exchange(first, false) ? " WHERE (" : " AND (").append(*said).append(")");
    }
    if (plan->reads_clock) {
      text = with_moments(text, session_.standard_conforming_strings(), run->moments);
    }
    run->selects.push_back(std::move(text));
  }
  merge_run_ = std::move(run);
  return std::nullopt;
}

// Rows could not be merged. False: servers have to be waited for.
bool ShardedConversation::merge_instead() {
  MergeInstead instead = std::move(*merge_instead_);
  merge_instead_.reset();
  instead.due = true;
  const std::vector<std::uint32_t> none;
  const auto route =
      router_.route_to_merge_node(instead.sql, instead.prepared ? instead.prepared->types : none,
                                  instead.why, router_session());
  if (!route) {
    refuse(route.error());
    return true;
  }
  std::optional<BindView> bind;
  if (instead.prepared) bind = *decode_bind(instead.bind);
  const auto verdict =
      prepare_merge(*route, instead.effects, bind ? &*bind : nullptr, instead.prepared.get());
  if (verdict == Verdict::kWait) {
    merge_instead_ = std::move(instead);
    return false;
  }
  if (!verdict) begin_merge(std::move(instead.asked));
  return true;
}

// A simple query.
ShardedConversation::Verdict ShardedConversation::select_at_merge_node(const Route& route,
                                                                       std::uint32_t effects) {
  if (const auto verdict = prepare_merge(route, effects, nullptr, nullptr)) return *verdict;
  begin_merge({});
  return Verdict::kTaken;
}

// `asked`: what of the answer the client wants.
void ShardedConversation::begin_merge(FanOutPlan asked) {
  session_.enqueue(std::exchange(asked.preface, {}));
  merge_run_->asked = std::move(asked);
  begin_steps();
  ServerLink& node = merge_link();
  node.set_types(router_.topology().types_of(merge_shard()));
  node.catch_up_settings();
  ask_for_shapes();
}

// --- tables --------------------------------------------------------------------------------------

// The columns of a table that the merge node does not have, or must not touch.
void ShardedConversation::ask_for_shapes() {
  MergeRun& run = *merge_run_;
  const std::vector<MergeInput>& inputs = run.plan->inputs;
  for (; run.input < inputs.size(); ++run.input) {
    const MergeInput& input = inputs[run.input];
    const bool there = !input.home || *input.home == merge_shard();
    if (there && !transaction_.open()) continue;
    FanOutPlan plan;
    plan.use = FanOutPlan::Use::kSum;
    plan.by_link = true;
    plan.clients_text = false;
    after_ = After::kMergeNode;
    const ShardId shard = input.home.value_or(router_.topology().all_shards.front());
    return begin_fan_out({&link(shard)}, std::move(plan), shape_question(input));
  }
  make_tables();
}

void ShardedConversation::make_tables() {
  MergeRun& run = *merge_run_;
  run.step = MergeRun::Step::kTables;
  run.input = 0;
  std::string text =
      "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;" + transaction_.local_statements();
  for (std::size_t i = 0; i < run.plan->inputs.size(); ++i) {
    const MergeInput& input = run.plan->inputs[i];
    text += "CREATE TEMPORARY TABLE " + quoted_identifier(input.table);
    if (!run.shapes[i]) {
      text += " ON COMMIT DROP AS " + run.selects[i] + " WITH NO DATA;";
    } else {
      text += " (" + *run.shapes[i] + ") ON COMMIT DROP;";
    }
  }
  if (!run.plan->sums.empty()) {
    text += "SELECT atttypid FROM pg_catalog.pg_attribute WHERE attrelid = ";
    append_string_literal(text, temporary(run.plan->inputs.front()));
    text += "::pg_catalog.regclass AND attnum > 0 ORDER BY attnum";
  }
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.by_link = true;
  plan.clients_text = false;
  after_ = After::kMergeNode;
  begin_fan_out({&merge_link()}, std::move(plan), text);
}

// --- rows ----------------------------------------------------------------------------------------

void ShardedConversation::bring_rows() {
  MergeRun& run = *merge_run_;
  const std::vector<MergeInput>& inputs = run.plan->inputs;
  if (run.input == inputs.size()) return run_at_merge_node();
  run.step = MergeRun::Step::kRows;
  run.step_since = Clock::now();
  const MergeInput& input = inputs[run.input];
  std::string options = input.builtin_types ? "(FORMAT binary, ENCODING " : "(ENCODING ";
  append_string_literal(options, run.encoding);
  options += ")";
  CopyShards shards;
  const std::vector<ShardId> home(input.home ? 1 : 0, input.home.value_or(0));
  shards.shards = input.home ? home : router_.topology().all_shards;
  for (const ShardId shard : shards.shards) shards.links.push_back(&link(shard));
  shards.sql = "COPY (" + run.selects[run.input] + ") TO STDOUT " + options;
  copy_ = std::make_unique<MergeFeed>(session_, *this, std::move(shards), merge_link(),
                                      "COPY " + temporary(input) + " FROM STDIN " + options,
                                      input.builtin_types ? CopyFormat::kBinary : CopyFormat::kText,
                                      run.allowance);
}

void ShardedConversation::rows_brought(CopyFanOut& feed) {
  const bool failed = feed.failed();
  const std::string complaint = failed ? feed.error_response() : std::string();
  const bool broken = feed.broken();
  const std::uint64_t rows = feed.rows();
  const std::vector<std::uint64_t> by_shard = feed.rows_by_shard();
  const Error& loss = feed.loss();  // buried, it lives on until a later turn
  worker_.bury(std::move(copy_));
  if (broken && transaction_.open()) {
    session_.close_with(loss);
    return;
  }
  if (failed) return end_merge(true, complaint);
  if (analysis_) note_brought(by_shard);
  merge_run_->rows.push_back(rows);
  ++merge_run_->input;
  bring_rows();
}

// For EXPLAIN (PGSHUNT, ANALYZE).
void ShardedConversation::note_brought(const std::vector<std::uint64_t>& rows) {
  const Topology& topology = router_.topology();
  const std::optional<ShardId> home = merge_run_->plan->inputs[merge_run_->input].home;
  BroughtRows& brought = merge_run_->brought.emplace_back();
  brought.elapsed = Clock::now() - merge_run_->step_since;
  const std::size_t shards = home ? 1 : topology.all_shards.size();
  for (std::size_t i = 0; i < shards; ++i) {
    brought.shards.emplace_back(topology.shards[home ? *home : topology.all_shards[i]].name,
                                rows[i]);
  }
}

// --- the statement -------------------------------------------------------------------------------

void ShardedConversation::run_at_merge_node() {
  MergeRun& run = *merge_run_;
  run.step = MergeRun::Step::kSelect;
  ServerLink& node = merge_link();
  std::string prepared;
  for (const MergeInput& input : run.plan->inputs) {
    for (const std::string& column : input.primary_key) {
      prepared += &column == &input.primary_key.front()
                      ? "ALTER TABLE " + temporary(input) + " ADD PRIMARY KEY ("
                      : ", ";
      prepared += quoted_identifier(column);
    }
    if (!input.primary_key.empty()) prepared += ");";
  }
  if (run.plan->inputs.size() > 1) {
    for (std::size_t i = 0; i < run.rows.size(); ++i) {
      if (run.rows[i] < kWorthAnalyzing) continue;
      prepared += "ANALYZE " + temporary(run.plan->inputs[i]) + ";";
    }
  }
  if (!prepared.empty()) node.inject(prepared);
  ServerLink* const links[] = {&node};
  if (run.plan->reads_clock) tell_moments(links, run.moments);
  FanOutPlan plan = std::move(run.asked);
  plan.use = FanOutPlan::Use::kMerge;
  plan.clients_text = false;
  plan.hides_tables = true;
  after_ = After::kMergeNode;
  std::string text = with_casts(*run.plan, run.types_there);
  if (opening_ || insert_select_) return declare_at_merge_node(text);
  if (!run.analyzes.empty()) {
    plan.use = FanOutPlan::Use::kSum;
    plan.by_link = true;
    if (run.bind) plan.result_formats = kTextFormats;
    text = run.analyzes + text;
  }
  if (!run.bind && !plan.result_formats) return begin_fan_out({&node}, std::move(plan), text);
  const std::vector<std::size_t> uses = uses_of_parameters(text);
  Statement statement;
  statement.text = std::move(text);
  statement.types = run.types;
  std::vector<FanOutShare> shares(1);
  if (!run.bind) {
    shares[0].bind = bind_for({}, {}, *plan.result_formats);
  } else if (run.plan->by_rows) {
    // What is said of groups has taken some of the parameters already.
    statement.types = types_for(run.types, run.types.size(), uses);
    shares[0].bind = bind_for(*decode_bind(*run.bind), uses, *plan.result_formats);
  } else {
    append_bind_renamed(shares[0].bind, *decode_bind(*run.bind), {});
  }
  shares[0].statement = std::make_shared<const Statement>(std::move(statement));
  fan_out_ =
      std::make_unique<FanOut>(session_, *this, std::vector<ServerLink*>{&node}, std::move(plan));
  fan_out_->send_shares(std::move(shares), {});
}

// The client's cursor, or one of the proxy's.
void ShardedConversation::declare_at_merge_node(const std::string& query) {
  const MergeRun& run = *merge_run_;
  std::string name(kSelectCursor);
  std::string declaration;
  if (opening_ && !opening_->merged) {
    name = opening_->name;
    declaration = opening_->declaration;
  } else {
    if (opening_) name = opening_->merged->server_name;
    declaration = "DECLARE " + quoted_identifier(name) + " NO SCROLL CURSOR FOR ";
  }
  std::optional<BindView> bind;
  if (run.bind) bind = *decode_bind(*run.bind);
  declare_on({&merge_link()}, name, declaration + query, bind ? &*bind : nullptr, run.types);
}

void ShardedConversation::merge_step_done(FanOut& fan_out, const std::string& complaint) {
  if (fan_out.failed()) return end_merge(true, complaint);
  MergeRun& run = *merge_run_;
  switch (run.step) {
    case MergeRun::Step::kShapes: {
      const std::string_view rows = fan_out.rows_from(0);
      const auto row = decode_data_row(rows.substr(std::min(rows.size(), kFrameHeaderSize)));
      if (row) {
        for (const WireValue& value : *row) run.shapes[run.input] = value.bytes;
      }
      ++run.input;
      return ask_for_shapes();
    }
    case MergeRun::Step::kTables:
      run.types_there = numbers_of(fan_out.rows_from(0));
      return bring_rows();
    case MergeRun::Step::kRows:
      return;
    case MergeRun::Step::kSelect:
      break;
  }
  if (opening_) return cursor_opened_at_merge_node(fan_out.description());
  if (insert_select_) return selected_at_merge_node();
  if (analysis_) return end_merge(false, analyzed_reply(fan_out));
  std::string reply;
  fan_out.append_end(reply);
  end_merge(false, std::move(reply));
}

void ShardedConversation::end_merge(bool failed, std::string reply) {
  merge_run_.reset();
  analysis_.reset();
  merge_link().end_own_transaction();
  if (insert_select_) return end_insert_select(true, std::move(reply));
  if (failed && transaction_.open()) transaction_.fail();
  worker_.client_out().append(failed ? why_failed(std::move(reply)) : std::move(reply));
  unit_done(failed);
}

}  // namespace pgshunt
