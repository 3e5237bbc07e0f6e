// INSERT ... SELECT whose rows do not stay where they are selected (router/insert_select.h): a
// cursor on each of the SELECT's shards, rows read in portions, and for each batch of them an
// INSERT on every shard that gets some, all in one transaction.
//
// The cursors are opened before anything is stored, so the SELECT does not see what the INSERT
// stores. A SELECT that writes (WITH ... DELETE) runs as it is, on its one shard, and is read
// whole. Where several INSERTs would not be the same as one (ON CONFLICT DO UPDATE, triggers, a
// table that refers to itself) all rows are one batch.
#include <algorithm>
#include <charconv>
#include <map>

#include "protocol/frame_writer.h"
#include "proxy/session/bind_parts.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/worker.h"
#include "router/builtin.h"
#include "router/fixed_moments.h"
#include "router/made_values.h"
#include "router/sql_text.h"
#include "router/type_map.h"

namespace pgshunt {
namespace {

const std::string kCursor = quoted_identifier(kSelectCursor);
constexpr std::size_t kBatchBytes = 1024 * 1024;
constexpr std::size_t kBatchRows = 10'000;
// Of rows that cannot be stored in batches, and of a SELECT that is read whole.
constexpr std::size_t kMostBytes = 64 * 1024 * 1024;
constexpr std::size_t kMostKeysAsked = 1000;

Error refused(std::string message, std::string hint) {
  return {sqlstate::kFeatureNotSupported, std::move(message), std::move(hint)};
}

Error too_large() {
  return {sqlstate::kProgramLimitExceeded,
          "the rows of this INSERT ... SELECT are too large to be stored by one statement, as ON "
          "CONFLICT DO UPDATE, triggers and foreign keys want it",
          "Store fewer rows with each statement."};
}

std::string fetch_text(std::size_t rows) {
  return "FETCH FORWARD " + std::to_string(rows) + " FROM " + kCursor;
}

// An open parameter that is a column's value has the column's type, unless it is used elsewhere.
std::vector<std::uint32_t> types_of_select(const InsertSelect& statement,
                                           std::vector<std::uint32_t> types, std::size_t count) {
  const std::vector<std::size_t> uses = uses_of_parameters(statement.select);
  types.resize(count);
  for (const InsertSelect::OpenColumn& open : statement.open_columns) {
    if (!open.parameter || *open.parameter >= count || types[*open.parameter] != 0) continue;
    if (uses[*open.parameter] == 1) types[*open.parameter] = open.column_type;
  }
  return types_for(std::move(types), count, uses);
}

// As the server says at Parse, which sees the whole.
Status check_parameters_are_used(const Statement& prepared, std::size_t count) {
  const std::vector<std::size_t> uses = uses_of_parameters(prepared.text);
  for (std::size_t i = 0; i < count; ++i) {
    if (i < prepared.types.size() && prepared.types[i] != 0) continue;
    if (i < uses.size() && uses[i] > 0) continue;
    return Error{Sqlstate("42P18"),
                 "could not determine data type of parameter $" + std::to_string(i + 1),
                 {}};
  }
  return Ok{};
}

// A value in binary means what its type says, so that must be known: each of the two statements
// finds the types of open parameters by itself.
Status check_open_parameters(const InsertSelect& statement, const BindView& bind,
                             const std::vector<std::uint32_t>& declared,
                             const std::vector<std::uint32_t>& of_select) {
  const std::vector<std::size_t> behind = uses_of_parameters(statement.behind);
  const std::vector<std::size_t> select = uses_of_parameters(statement.select);
  for (std::size_t i = 0; i < bind.values.size(); ++i) {
    if (bind.formats.of(i) != kFormatBinary || (i < declared.size() && declared[i] != 0)) continue;
    const bool both = i < behind.size() && behind[i] > 0 && i < select.size() && select[i] > 0;
    const bool open_column =
        std::any_of(statement.open_columns.begin(), statement.open_columns.end(),
                    [&](const auto& open) { return open.parameter == i && of_select[i] == 0; });
    if (!both && !open_column) continue;
    return refused(
        "the type of parameter $" + std::to_string(i + 1) + " is open, and its value is in binary",
        "Declare its type when preparing.");
  }
  return Ok{};
}

std::uint64_t rows_of_tag(std::string_view body) {
  const std::string_view tag = body.substr(0, body.find('\0'));
  const std::size_t blank = tag.rfind(' ');
  std::uint64_t rows = 0;
  if (blank != std::string_view::npos) {
    std::from_chars(tag.data() + blank + 1, tag.data() + tag.size(), rows);
  }
  return rows;
}

BindView client_bind(const InsertSelectRun& run) { return *decode_bind(*run.bind); }

// Calls `take(type, frame)` for each of the messages.
template <class Take>
void for_each_message(std::string_view messages, Take take) {
  FrameHeader header;
  for (std::size_t at = 0; at < messages.size(); at += header.frame_size()) {
    read_frame_header(messages.substr(at), kMaxBodySize, header);
    take(header.type, messages.substr(at, header.frame_size()));
  }
}

}  // namespace

// --- how it begins -------------------------------------------------------------------------------

Result<Route> ShardedConversation::route_select(const InsertSelect& statement, const BindView* bind,
                                                const Statement* prepared) {
  if (bind == nullptr) return route(statement.select, router_session());
  const std::vector<std::uint32_t> types =
      types_of_select(statement, prepared->types, bind->values.size());
  const Status used = check_parameters_are_used(*prepared, bind->values.size());
  if (!used) return used.error();
  const Status known = check_open_parameters(statement, *bind, prepared->types, types);
  if (!known) return known.error();
  const auto plan = router_.prepare(statement.select, types, router_session());
  if (!plan) return plan.error();
  Statement select;
  select.plan = *plan;
  select.types = types;
  auto route = route_bind(*bind, select);
  // What bind() leaves to who prepares it.
  if (route && route->kind == RouteKind::kScatter) route->sql = (*plan)->shard_text();
  return route;
}

// Nothing: the SELECT's servers are ready and part of the transaction, insert_select_ is made.
std::optional<ShardedConversation::Verdict> ShardedConversation::begin_insert_select(
    const Route& route, std::uint32_t effects, const BindView* bind, const Statement* prepared) {
  std::shared_ptr<const InsertSelect> statement = route.insert_select;
  const FixedMoments moments = this->moments();
  if (statement->reads_clock) {
    InsertSelect timed = *statement;
    timed.select = with_moments(timed.select, session_.standard_conforming_strings(), moments);
    statement = std::make_shared<const InsertSelect>(std::move(timed));
  }
  if ((effects & ~kLeavesNothing) != kEffectNone) {
    return refuse(refused("this INSERT ... SELECT would leave something behind on a server",
                          "Run the SELECT by itself."));
  }
  if (const Status exact = check_rows_read_as_written(); !exact) return refuse(exact.error());
  auto select = route_select(*statement, bind, prepared);
  if (select && select->merge && select->merge->groups) {
    std::vector<std::uint32_t> types;
    if (bind != nullptr) {
      types = types_of_select(*statement, prepared->types, bind->values.size());
    }
    select = router_.route_to_merge_node(statement->select, types,
                                         "groups of several shards are stored row by row",
                                         router_session());
  }
  if (!select) return refuse(select.error());
  if (select->kind == RouteKind::kLookup) return look_up_keys(select->lookups);
  if (select->kind == RouteKind::kMakeValues) {
    const Status asked = want_unique_id_function();
    return asked ? Verdict::kWait : refuse(asked.error());
  }
  std::vector<ShardId> shards(select->shards.begin(), select->shards.end());
  if (shards.empty()) shards.push_back(shard_of(*select, effects));
  auto run = std::make_unique<InsertSelectRun>(
      statement, ShardRows(shards, select->merge ? *select->merge : MergeSpec{}, select->window));
  run->select = select->sql.empty() ? std::string_view(statement->select) : select->sql;
  run->moments = moments;
  if (statement->select_writes && shards.size() > 1) {
    return refuse(refused("the SELECT of this INSERT writes, on several shards",
                          "Give the shard key, or run one statement after the other."));
  }
  if (statement->select_writes) {
    if (const auto held = hold_writes(shards)) return *held;
  }
  const bool at_merge_node = select->kind == RouteKind::kMergeNode;
  run->alone = !transaction_.open();
  if (run->alone) transaction_.begin_implicit();
  if (bind != nullptr) {
    run->bind.emplace(2, '\0').append(bind->after_names);
    run->types = prepared->types;
    run->parameters = bind->values.size();
    run->types.resize(run->parameters);
  }
  insert_select_ = std::move(run);
  std::optional<Verdict> ended;
  if (at_merge_node) {
    Statement inside;
    inside.text = statement->select;
    if (bind != nullptr) {
      inside.types = types_of_select(*statement, prepared->types, bind->values.size());
    }
    ended = prepare_merge(*select, effects, bind, &inside);
  } else if (!acquire(shards)) {
    ended = Verdict::kWait;
  }
  if (ended == Verdict::kWait) {
    if (insert_select_->alone) transaction_.end();
    insert_select_.reset();
  }
  if (ended) return ended;
  for (const ShardId shard : shards) note_write(shard, statement->select_writes);
  return std::nullopt;
}

// A simple query.
ShardedConversation::Verdict ShardedConversation::insert_selected(const Route& route,
                                                                  std::uint32_t effects) {
  if (const auto verdict = begin_insert_select(route, effects, nullptr, nullptr)) return *verdict;
  open_select({});
  return Verdict::kTaken;
}

// `asked`: what of the INSERT's reply the client wants.
void ShardedConversation::open_select(FanOutPlan asked) {
  InsertSelectRun& run = *insert_select_;
  session_.enqueue(std::exchange(asked.preface, {}));
  run.asked = std::move(asked);
  begin_steps();
  if (merge_run_) return begin_merge({});
  const bool whole = run.statement->select_writes;
  std::string text =
      whole ? run.select : "DECLARE " + kCursor + " NO SCROLL CURSOR FOR " + run.select;
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.by_link = true;
  plan.clients_text = false;
  plan.most_bytes = whole ? kMostBytes : 0;
  std::vector<ServerLink*> links;
  for (const std::size_t source : run.rows.wanting())
    links.push_back(&link(run.rows.shard(source)));
  after_ = After::kInsertSelect;
  run.step = whole ? InsertSelectRun::Step::kFetch : InsertSelectRun::Step::kOpen;
  if (!run.bind) {
    if (!whole) {
      // The first portion comes with the cursor.
      run.asked_rows = run.rows.next_portion();
      run.step = InsertSelectRun::Step::kFetch;
      text.append(";").append(fetch_text(run.asked_rows));
    }
    return begin_fan_out(std::move(links), std::move(plan), text);
  }
  const BindView bind = client_bind(run);
  const std::vector<std::size_t> uses = uses_of_parameters(run.select);
  plan.result_formats = std::string(2, '\0');  // all in text
  Statement select;
  select.text = std::move(text);
  select.types = types_of_select(*run.statement, run.types, run.parameters);
  const auto shared = std::make_shared<const Statement>(std::move(select));
  std::vector<FanOutShare> shares(links.size());
  for (FanOutShare& share : shares) {
    share.statement = shared;
    share.bind = bind_for(bind, uses, *plan.result_formats);
  }
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  fan_out_->send_shares(std::move(shares), {});
}

// The merge node has the rows: its server is kept for the cursor.
void ShardedConversation::selected_at_merge_node() {
  InsertSelectRun& run = *insert_select_;
  merge_run_.reset();
  run.rows = ShardRows({keep_merge_server()}, MergeSpec{}, RowWindow{});
  run.step = InsertSelectRun::Step::kOpen;
  continue_insert_select();
}

// --- from step to step ---------------------------------------------------------------------------

// A step is done, or what the next one waited for is there.
void ShardedConversation::continue_insert_select() {
  InsertSelectRun& run = *insert_select_;
  if (run.canceled) {
    refuse(canceled());
    return;
  }
  if (run.client_slow || !catalog_ready()) return;
  if (run.step == InsertSelectRun::Step::kOpen) return fetch_selected();
  if (!run.insert || run.insert->epoch() != router_.topology().epoch) {
    if (!name_types()) return;
    if (const Status ready = prepare_insert(); !ready) {
      refuse(ready.error());
      return;
    }
  }
  if (!run.complete && !fill_batch()) return;
  if (!run.batch.empty()) {
    if (place_batch()) store_batch();
    return;
  }
  if (!run.answered) return store_nothing();
  std::string reply;
  if (run.asked.max_rows != 0 && run.returned == run.asked.max_rows) {
    append_portal_suspended(reply);
  } else {
    append_command_complete(reply, "INSERT 0", run.stored);
  }
  end_insert_select(false, std::move(reply));
}

void ShardedConversation::insert_select_step_done(FanOut& fan_out, const std::string& complaint) {
  if (fan_out.failed()) return end_insert_select(true, complaint);
  InsertSelectRun& run = *insert_select_;
  switch (run.step) {
    case InsertSelectRun::Step::kOpen:
      break;
    case InsertSelectRun::Step::kFetch: {
      std::string_view description;
      for_each_message(fan_out.reply(), [&](char type, std::string_view frame) {
        if (type == backend::kRowDescription) description = frame.substr(kFrameHeaderSize);
      });
      if (const Status described = run.rows.describe(description); !described) {
        refuse(described.error());
        return;
      }
      const std::vector<std::size_t> asked = run.rows.wanting();
      for (std::size_t i = 0; i < asked.size(); ++i) {
        run.rows.add(asked[i], fan_out.take_rows(i), run.asked_rows);
      }
      break;
    }
    case InsertSelectRun::Step::kNames:
      take_type_names(fan_out.rows_from(0));
      run.step = InsertSelectRun::Step::kFetch;
      break;
    case InsertSelectRun::Step::kStore:
      take_stored(fan_out);
      run.batch.clear();
      run.places.clear();
      run.numbers.clear();
      run.batch_bytes = 0;
      run.complete = run.exhausted;
      run.step = InsertSelectRun::Step::kFetch;
      break;
  }
  continue_insert_select();
}

void ShardedConversation::fetch_selected() {
  InsertSelectRun& run = *insert_select_;
  run.step = InsertSelectRun::Step::kFetch;
  run.asked_rows = run.rows.next_portion();
  std::vector<ServerLink*> links;
  for (const std::size_t source : run.rows.wanting())
    links.push_back(&link(run.rows.shard(source)));
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.by_link = true;
  plan.clients_text = false;
  after_ = After::kInsertSelect;
  begin_fan_out(std::move(links), std::move(plan), fetch_text(run.asked_rows));
}

// --- types ---------------------------------------------------------------------------------------

// What the SELECT's columns are, as SQL names it. False: a shard is asked.
bool ShardedConversation::name_types() {
  InsertSelectRun& run = *insert_select_;
  if (run.type_names.empty()) {
    const auto fields = decode_row_description(run.rows.description());
    const std::size_t columns = fields->size();
    for (const FieldDescription& field : *fields) {
      const std::size_t position = run.column_types.size();
      // Nothing told its type, so it has become text.
      const bool open = std::any_of(
          run.statement->open_columns.begin(), run.statement->open_columns.end(),
          [&](const InsertSelect::OpenColumn& column) {
            return column.index(columns) == position && field.type_oid == type_oid::kText &&
                   (!column.parameter || run.types[*column.parameter] == 0);
          });
      run.column_types.push_back(open ? 0 : field.type_oid);
      const std::string_view name = builtin_type_name(run.column_types.back());
      run.type_names.emplace_back(name.empty() ? "" : "pg_catalog.").append(name);
    }
  }
  ServerLink& home = link(run.rows.shard(0));
  std::string question;
  for (std::size_t i = 0; i < run.type_names.size(); ++i) {
    if (run.column_types[i] == 0 || !run.type_names[i].empty()) continue;
    const std::uint32_t oid =
        home.types() ? home.types()->to_shard(run.column_types[i]) : run.column_types[i];
    question.append(question.empty() ? "SELECT " : ", ")
        .append("pg_catalog.format_type(" + std::to_string(oid) + ", -1)");
  }
  if (question.empty()) return true;
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.by_link = true;
  run.step = InsertSelectRun::Step::kNames;
  after_ = After::kInsertSelect;
  begin_fan_out({&home}, std::move(plan), question);
  return false;
}

void ShardedConversation::take_type_names(std::string_view rows) {
  InsertSelectRun& run = *insert_select_;
  const auto values = decode_data_row(rows.substr(std::min(rows.size(), kFrameHeaderSize)));
  if (!values) return;
  auto value = values->begin();
  for (std::size_t i = 0; i < run.type_names.size() && value != values->end(); ++i) {
    if (run.column_types[i] == 0 || !run.type_names[i].empty()) continue;
    run.type_names[i] = (*value).bytes;
    ++value;
  }
}

// The INSERT of one row, which says where each of them belongs.
Status ShardedConversation::prepare_insert() {
  InsertSelectRun& run = *insert_select_;
  if (run.column_types.empty()) {
    return refused("INSERT of rows without columns is not supported",
                   "Write INSERT ... DEFAULT VALUES.");
  }
  const std::size_t first = run.parameters + 1;
  std::string text = one_row_insert(*run.statement, run.column_types.size(), first);
  std::vector<std::uint32_t> types =
      types_for(run.types, run.parameters, uses_of_parameters(run.statement->behind));
  types.insert(types.end(), run.column_types.begin(), run.column_types.end());
  auto plan = router_.prepare(text, types, router_session());
  if (!plan) return plan.error();
  run.sources.clear();
  if (const MadeValues* made = (*plan)->made()) {
    run.sources = made->sources;
    text = made->text;
    plan = router_.prepare(text, types, router_session());
    if (!plan) return plan.error();
  }
  std::string one_row((*plan)->shard_text());
  run.tells_moment = (*plan)->data().fixes_moment || run.statement->reads_clock;
  if (run.statement->reads_clock) {
    one_row = with_fixed_moments(one_row, session_.standard_conforming_strings());
  }
  run.texts = RowTexts::create(one_row, first, run.type_names);
  if (!run.texts) {
    return refused("the text of this INSERT ... SELECT is not understood well enough",
                   "Write it in a simpler form.");
  }
  run.insert = std::move(*plan);
  run.places.assign(run.batch.size(), std::nullopt);
  run.numbers.clear();
  return Ok{};
}

// --- batches -------------------------------------------------------------------------------------

// False: rows are being fetched, or it has failed.
bool ShardedConversation::fill_batch() {
  InsertSelectRun& run = *insert_select_;
  while (true) {
    std::string_view row;
    const auto next = run.rows.next(row);
    if (!next) {
      refuse(next.error());
      return false;
    }
    if (*next == ShardRows::Next::kWanting) {
      fetch_selected();
      return false;
    }
    if (*next == ShardRows::Next::kEnd) {
      run.complete = run.exhausted = true;
      return true;
    }
    run.batch.emplace_back(row);
    run.batch_bytes += row.size();
    if (!run.statement->in_batches && run.batch_bytes > kMostBytes) {
      refuse(too_large());
      return false;
    }
    if (run.statement->in_batches &&
        (run.batch_bytes >= kBatchBytes || run.batch.size() == kBatchRows)) {
      run.complete = true;
      return true;
    }
  }
}

// Where each row belongs. False: something has to be known first, or it has failed.
bool ShardedConversation::place_batch() {
  InsertSelectRun& run = *insert_select_;
  run.places.resize(run.batch.size());
  if (run.numbers.empty() && !run.sources.empty()) {
    std::vector<std::string> wanted;
    for (std::size_t i = 0; i < run.batch.size(); ++i) {
      wanted.insert(wanted.end(), run.sources.begin(), run.sources.end());
    }
    const auto drawn = draw_ids(wanted, run.numbers);
    if (!drawn) refuse(drawn.error());
    if (!drawn || !*drawn) return false;
  }
  keys_.teach(router_);
  KeyLookups lookups;
  std::vector<std::string> numbers(run.sources.size());
  const std::size_t fixed = run.parameters;
  for (std::size_t i = 0; i < run.batch.size() && lookups.list().size() < kMostKeysAsked; ++i) {
    if (run.places[i]) continue;
    values_.clear();
    if (run.bind) {
      const BindView bind = client_bind(run);
      std::size_t index = 0;
      for (const WireValue& value : bind.values) {
        const bool binary = bind.formats.of(index) == kFormatBinary;
        values_.push_back({value.is_null, binary, run.types[index], value.bytes});
        ++index;
      }
    }
    const auto row = decode_data_row(run.batch[i]);
    for (const WireValue& value : *row) {
      values_.push_back(
          {value.is_null, false, run.column_types[values_.size() - fixed], value.bytes});
    }
    for (std::size_t k = 0; k < numbers.size(); ++k) {
      numbers[k] = std::to_string(run.numbers[i * numbers.size() + k]);
      values_.push_back({false, false, 0, numbers[k]});
    }
    const auto route = router_.bind(*run.insert, values_, router_session());
    if (!route) {
      refuse(route.error());
      return false;
    }
    switch (route->kind) {
      case RouteKind::kLookup:
        lookups.add(route->lookups);
        break;
      case RouteKind::kMakeValues: {
        const Status asked = want_unique_id_function();
        if (!asked) refuse(asked.error());
        return false;
      }
      case RouteKind::kEveryShard:
        run.write_lock = route->write_lock;
        run.everywhere = true;
        return true;
      default:
        run.places[i] = shard_of(*route, kEffectNone);
        break;
    }
  }
  if (lookups.empty()) return true;
  const Status asked = want_keys(lookups.list());
  if (!asked) refuse(asked.error());
  return false;
}

void ShardedConversation::store_batch() {
  InsertSelectRun& run = *insert_select_;
  keys_.drop();
  std::map<ShardId, std::string> texts;
  const std::size_t made = run.sources.size();
  std::vector<WireValue> values;
  for (std::size_t i = 0; i < run.batch.size(); ++i) {
    values.clear();
    const auto row = decode_data_row(run.batch[i]);
    for (const WireValue& value : *row) values.push_back(value);
    std::string& text = texts[run.everywhere ? home_shard() : *run.places[i]];
    run.texts->add_row(text, values, std::span(run.numbers).subspan(i * made, made));
  }
  std::vector<ShardId> shards;
  std::vector<std::string> list;
  for (auto& [shard, text] : texts) {
    run.texts->finish(text);
    shards.push_back(shard);
    list.push_back(std::move(text));
    run.on_several |= run.stored_on.value_or(shard) != shard;
    run.stored_on = shard;
  }
  const StatementPlanData& plan = run.insert->data();
  if (run.everywhere) shards = router_.topology().all_shards;
  if (run.on_several && plan.rows_refusal) {
    refuse(*plan.rows_refusal);
    return;
  }
  // The copies of a reference table may be written in one phase.
  if (!run.everywhere || in_two_phases()) {
    if (run.everywhere ? hold_write(shards) : hold_writes(shards)) return;
  }
  if (!acquire(shards)) return;
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) {
    note_write(shard, true);
    links.push_back(&link(shard));
  }
  FanOutPlan asked;
  asked.use = run.everywhere ? FanOutPlan::Use::kAgree : FanOutPlan::Use::kSum;
  asked.order = run.everywhere ? FanOutPlan::Order::kFirstAlone : FanOutPlan::Order::kAscending;
  if (run.everywhere) begin_write_everywhere(links, run.write_lock);
  if (run.tells_moment) tell_moments(links, run.moments);
  send_inserts(std::move(links), std::move(list), std::move(asked));
}

// No row was selected: the INSERT's privileges, triggers and description are what they are.
void ShardedConversation::store_nothing() {
  InsertSelectRun& run = *insert_select_;
  const ShardId shard = run.insert->data().home.value_or(run.rows.shard(0));
  if (!acquire({&shard, 1})) return;
  note_write(shard, true);
  FanOutPlan asked;
  asked.use = FanOutPlan::Use::kSum;
  if (run.tells_moment) {
    ServerLink* const one = &link(shard);
    tell_moments({&one, 1}, run.moments);
  }
  send_inserts({&link(shard)}, {no_row_insert(*run.statement, run.type_names)}, std::move(asked));
}

// `texts`: one for each, or one for all.
void ShardedConversation::send_inserts(std::vector<ServerLink*> links,
                                       std::vector<std::string> texts, FanOutPlan plan) {
  InsertSelectRun& run = *insert_select_;
  run.step = InsertSelectRun::Step::kStore;
  plan.clients_text = false;
  plan.describe = run.asked.describe && !run.answered;
  // As many rows as the client wants go to it as they come.
  const std::uint64_t most = run.asked.max_rows;
  plan.streams = plan.use == FanOutPlan::Use::kSum && (most == 0 || run.returned < most);
  if (plan.streams && most != 0) plan.max_rows = static_cast<std::uint32_t>(most - run.returned);
  plan.result_formats = run.asked.result_formats;
  after_ = After::kInsertSelect;
  const std::size_t count = links.size();
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  if (!run.bind) return fan_out_->send_queries(std::move(texts));
  const std::vector<std::size_t> uses = uses_of_parameters(run.statement->behind);
  std::vector<FanOutShare> shares(count);
  for (std::size_t i = 0; i < count; ++i) {
    Statement insert;
    insert.text = texts.size() == 1 ? texts.front() : std::move(texts[i]);
    insert.types = types_for(run.types, run.parameters, uses);
    shares[i].statement = std::make_shared<const Statement>(std::move(insert));
    shares[i].bind = bind_for(client_bind(run), uses, *run.asked.result_formats);
  }
  fan_out_->send_shares(std::move(shares), {});
}

// The reply to a batch: its rows are the client's, its tag is added up.
void ShardedConversation::take_stored(const FanOut& fan_out) {
  InsertSelectRun& run = *insert_select_;
  std::string& out = worker_.client_out();
  const bool sum = fan_out.plan().use == FanOutPlan::Use::kSum;
  run.returned += fan_out.rows();  // that have been streamed
  run.stored += fan_out.affected();
  for_each_message(fan_out.reply(), [&](char type, std::string_view frame) {
    switch (type) {
      case backend::kRowDescription:
      case backend::kNoData:
        out.append(frame);
        break;
      case backend::kDataRow:
        if (run.asked.max_rows != 0 && run.returned == run.asked.max_rows) break;
        out.append(frame);
        ++run.returned;
        break;
      case backend::kCommandComplete:
        if (!sum) run.stored += rows_of_tag(frame.substr(kFrameHeaderSize));
        break;
      default:
        break;
    }
  });
  run.answered = true;
  session_.enqueue(out);
  out.clear();
  session_.flush();  // may call on_client_slow()
}

void ShardedConversation::end_insert_select(bool failed, std::string reply) {
  const std::unique_ptr<InsertSelectRun> run = std::move(insert_select_);
  if (failed) reply = why_failed(std::move(reply));
  stop_waiting_for_ids();
  keys_.drop();
  if (run->alone) {
    release_kept_servers();
    return end_write(failed, std::move(reply));
  }
  if (failed) {
    transaction_.fail();
  } else if (!run->statement->select_writes) {
    for (const ShardId shard : run->rows.shards()) {
      if (shard < kKeptServers) link(shard).inject("CLOSE " + kCursor);
    }
  }
  release_kept_servers();
  worker_.client_out().append(reply);
  unit_done(failed);
}

}  // namespace pgshunt
