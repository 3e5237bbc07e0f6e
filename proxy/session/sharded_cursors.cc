// Cursors and portals that stay open (open_cursors.h). One whose rows are on one shard is that
// shard's; a query that the merge node runs may have its cursor there, on a server that is kept for
// it. Otherwise there is a cursor of the proxy's on each shard, opened when the client's is, so
// that all see what was there then; portions of their rows are fetched and merged as the client
// asks.
#include <algorithm>

#include "protocol/byte_reader.h"
#include "protocol/frame_writer.h"
#include "proxy/session/bind_parts.h"
#include "proxy/session/result_formats.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"
#include "router/cursor_command.h"
#include "router/insert_select.h"
#include "router/sql_lexer.h"
#include "router/sql_text.h"
#include "router/statement_plan.h"

namespace pgshunt {
namespace {

constexpr std::size_t kFlushBytes = 64 * 1024;

Error no_block_error() {
  return {Sqlstate("25P01"), "DECLARE CURSOR can only be used in transaction blocks", {}};
}

Error only_forward_error() {
  return {sqlstate::kObjectNotInPrerequisiteState, "cursor can only scan forward",
          "Declare it with SCROLL option to enable backward scan."};
}

bool mentions_word(std::string_view text, std::string_view word) {
  SqlLexer lexer(text);
  for (SqlToken token; lexer.next(token);) {
    if (is_name(token.kind) && lexer.text(token).find(word) != std::string_view::npos) return true;
  }
  return false;
}

// Rows to pass over and rows to return. An Error: it would have to go back.
struct Reach {
  std::uint64_t skip = 0;
  std::uint64_t wanted = 0;
};

// As PostgreSQL does it (pquery.c: DoPortalRunFetch), for a cursor that only goes forward.
Result<Reach> reach_of(const CursorCommand& command, const MergedCursor& cursor) {
  using Way = CursorCommand::Way;
  const bool at_start = cursor.position == 0 && !cursor.at_end;
  switch (command.way) {
    case Way::kForward:
    case Way::kRelative:
      if (command.count > 0 && command.way == Way::kForward) {
        return Reach{0, static_cast<std::uint64_t>(command.count)};
      }
      if (command.count > 0) return Reach{static_cast<std::uint64_t>(command.count) - 1, 1};
      // The current row again, if there is one.
      if (command.count == 0 && (at_start || cursor.at_end)) return Reach{};
      break;
    case Way::kAbsolute: {
      if (command.count == 0 && at_start) return Reach{};
      const std::uint64_t passed = cursor.position + (cursor.at_end ? 1 : 0);
      if (command.count > 0 && static_cast<std::uint64_t>(command.count) > passed) {
        return Reach{static_cast<std::uint64_t>(command.count) - passed - 1, 1};
      }
      break;
    }
    case Way::kBackward:
      if (command.count == 0 && (at_start || cursor.at_end)) return Reach{};
      break;
  }
  return only_forward_error();
}

}  // namespace

// --- servers that are kept
// ------------------------------------------------------------------------

// The merge node's server is kept, as it is: it can be told of by this number as if it were a
// shard.
ShardId ShardedConversation::keep_merge_server() {
  std::size_t slot = 0;
  while (slot < kept_links_.size() && kept_links_[slot]->held()) ++slot;
  if (slot == kept_links_.size()) kept_links_.emplace_back();
  std::swap(kept_links_[slot], merge_link_);
  return static_cast<ShardId>(kKeptServers + slot);
}

void ShardedConversation::release_kept_servers() {
  for (std::size_t slot = 0; slot < kept_links_.size(); ++slot) {
    const auto server = static_cast<ShardId>(kKeptServers + slot);
    const bool wanted =
        cursors_.need(server) || (insert_select_ && insert_select_->rows.reads(server));
    if (!wanted) kept_links_[slot]->end_own_transaction();
  }
}

bool ShardedConversation::is_kept(const ServerLink& link) const {
  return std::any_of(kept_links_.begin(), kept_links_.end(),
                     [&](const auto& each) { return each.get() == &link; });
}

void ShardedConversation::kept_server_failed(const ServerLink& link) {
  for (std::size_t slot = 0; slot < kept_links_.size(); ++slot) {
    if (kept_links_[slot].get() == &link) cursors_.fail(static_cast<ShardId>(kKeptServers + slot));
  }
  if (transaction_.open()) transaction_.fail();
}

// --- WITH HOLD -----------------------------------------------------------------------------------

// Those of cursors that are to outlive the transaction which ends.
std::vector<ServerLink*> ShardedConversation::servers_to_hold() {
  std::vector<ServerLink*> out;
  cursors_.for_each([&](const std::string&, const OpenCursor& cursor) {
    const bool kept = cursor.place == OpenCursor::Place::kServer && cursor.server >= kKeptServers;
    if (kept && cursor.hold && !cursor.put_by) out.push_back(&link(cursor.server));
  });
  return out;
}

// As PostgreSQL does at COMMIT: what is left of their rows is put by. The server's next transaction
// is there to keep it from its pool.
void ShardedConversation::hold_cursors(std::vector<ServerLink*> links) {
  after_ = After::kHold;
  begin_fan_out(std::move(links), {}, "COMMIT;BEGIN");
}

void ShardedConversation::cursors_held(const std::string& complaint) {
  if (!opening_) {
    pending_error_ = complaint;
    end_transaction(complaint.empty(), complaint.empty() && chain_);
    return;
  }
  std::string& out = worker_.client_out();
  if (complaint.empty()) {
    cursors_.end_transaction(true);
    out.append(opening_->answer);
  } else {
    drop_cursor(opening_->name);
    out.append(complaint);
  }
  unit_done(!complaint.empty());
}

// --- DECLARE -------------------------------------------------------------------------------------

// Where the query inside another statement goes.
Result<Route> ShardedConversation::route_inside(std::string_view query, const BindView* bind,
                                                const Statement* prepared) {
  if (bind == nullptr) return route(query, router_session());
  const auto plan = router_.prepare(query, prepared->types, router_session());
  if (!plan) return plan.error();
  Statement statement;
  statement.plan = *plan;
  statement.types = prepared->types;
  auto route = route_bind(*bind, statement);
  // What bind() leaves to who prepares it.
  if (route && route->kind == RouteKind::kScatter) route->sql = (*plan)->shard_text();
  return route;
}

// In a simple query there are none.
Status ShardedConversation::check_no_parameters(std::string_view query) {
  const std::vector<std::size_t> uses = uses_of_parameters(query);
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (uses[i] == 0) continue;
    return Error{Sqlstate("42P02"), "there is no parameter $" + std::to_string(i + 1), {}};
  }
  return Ok{};
}

Status ShardedConversation::may_declare(const CursorCommand& command) {
  if (!command.hold && (!transaction_.open() || (transaction_.implicit() && !script_))) {
    return no_block_error();
  }
  return free_cursor_name(command.name);
}

Status ShardedConversation::free_cursor_name(std::string_view name) {
  if (name.empty() || cursors_.find(name) == nullptr) return Ok{};
  return Error{Sqlstate("42P03"), "cursor \"" + std::string(name) + "\" already exists", {}};
}

// A route of kCursor. `bind`, `prepared`: by the extended protocol; null: a simple query.
ShardedConversation::Verdict ShardedConversation::declare_cursor(std::string_view text,
                                                                 std::uint32_t effects,
                                                                 const BindView* bind,
                                                                 const Statement* prepared,
                                                                 std::string_view preface) {
  const auto command = read_cursor_command(text);
  const std::string query(text.substr(command->select));
  Status may = may_declare(*command);
  if (may && bind == nullptr) may = check_no_parameters(query);
  if (!may) {
    worker_.client_out().append(preface);
    return refuse(may.error());
  }
  Statement inside;
  inside.text = query;
  if (prepared != nullptr) inside.types = prepared->types;
  auto route = route_inside(query, bind, &inside);
  const bool forward_only = !command->scroll && !command->hold;
  if (route && route->kind == RouteKind::kScatter && (!forward_only || route->merge->groups)) {
    route = router_.route_to_merge_node(
        query, inside.types, "cursors over several shards only go forward, in their transaction",
        router_session());
  }
  if (!route) return refuse(route.error());
  if (route->kind == RouteKind::kLookup) return look_up_keys(route->lookups);
  CursorOpening opening;
  opening.name = command->name;
  opening.hold = command->hold;
  opening.answer = preface;
  append_command_complete(opening.answer, "DECLARE CURSOR");
  const std::uint32_t left_behind = effects & ~kEffectHoldCursor;
  if (route->kind == RouteKind::kMergeNode) {
    opening.declaration = text.substr(0, command->select);
    if (const auto verdict = prepare_merge(*route, left_behind, bind, &inside)) return *verdict;
    opening_ = std::move(opening);
    begin_merge({});
    return Verdict::kTaken;
  }
  if (route->kind != RouteKind::kScatter) {
    return refuse({sqlstate::kFeatureNotSupported,
                   "a cursor of this query is not supported on a sharded database",
                   "Give the shard key."});
  }
  MergeInstead& instead = opening.instead.emplace();
  instead.sql = query;
  instead.effects = left_behind;
  if (bind != nullptr) {
    instead.prepared = std::make_shared<const Statement>(inside);
    instead.bind.append(2, '\0').append(bind->after_names);
  }
  const std::string shard_text(route->sql.empty() ? std::string_view(query) : route->sql);
  const std::vector<ShardId> shards(route->shards.begin(), route->shards.end());
  ShardRows rows(shards, *route->merge, route->window);
  if (!acquire(shards)) return Verdict::kWait;
  opening.merged = std::make_unique<MergedCursor>(next_cursor_name(), std::move(rows));
  opening.merged->binary = command->binary;
  open_on_shards(std::move(opening), shard_text, bind, inside.types);
  return Verdict::kTaken;
}

std::string ShardedConversation::next_cursor_name() {
  return "pgshunt.cursor." + std::to_string(++cursors_made_);
}

void ShardedConversation::open_on_shards(CursorOpening opening, std::string_view shard_text,
                                         const BindView* bind,
                                         const std::vector<std::uint32_t>& types) {
  opening_ = std::move(opening);
  const MergedCursor& cursor = *opening_->merged;
  std::vector<ServerLink*> links;
  for (const ShardId shard : cursor.rows.shards()) links.push_back(&link(shard));
  after_ = After::kCursor;
  declare_on(std::move(links), cursor.server_name,
             "DECLARE " + quoted_identifier(cursor.server_name) + " NO SCROLL CURSOR FOR " +
                 std::string(shard_text),
             bind, types);
}

// What `text` declares as `cursor` on these servers.
void ShardedConversation::declare_on(std::vector<ServerLink*> links, std::string cursor,
                                     std::string text, const BindView* bind,
                                     const std::vector<std::uint32_t>& types) {
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.by_link = true;
  plan.clients_text = false;
  plan.describe = false;
  plan.declares = std::move(cursor);
  Statement declare;
  declare.text = std::move(text);
  std::string message;
  if (bind != nullptr) {
    const std::vector<std::size_t> uses = uses_of_parameters(declare.text);
    declare.types = types_for(types, bind->values.size(), uses);
    message = bind_for(*bind, uses, kTextFormats);
  } else {
    append_bind_text(message, {}, {}, {});
  }
  const auto shared = std::make_shared<const Statement>(std::move(declare));
  std::vector<FanOutShare> shares(links.size(), FanOutShare{shared, message});
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  fan_out_->send_shares(std::move(shares), {});
}

void ShardedConversation::cursor_step_done(FanOut& fan_out, const std::string& complaint) {
  if (fan_out.failed()) {
    if (fetch_) fetch_->cursor->failed = true;
    worker_.client_out().append(why_failed(complaint));
    transaction_.fail();
    unit_done(true);
    return;
  }
  if (!opening_) {
    MergedCursor& cursor = *fetch_->cursor;
    const std::vector<std::size_t> asked = cursor.rows.wanting();
    for (std::size_t i = 0; i < asked.size(); ++i) {
      cursor.rows.add(asked[i], fan_out.take_rows(i), cursor.asked_rows);
    }
    continue_fetch();
    return;
  }
  MergedCursor& cursor = *opening_->merged;
  const Status described = cursor.rows.describe(fan_out.description());
  if (described) return cursor_is_open();
  if (described.error().code != sqlstate::kFeatureNotSupported || !opening_->instead) {
    refuse(described.error());
    return;
  }
  for (const ShardId shard : cursor.rows.shards()) {
    link(shard).inject("CLOSE " + quoted_identifier(cursor.server_name));
  }
  merge_instead_ = std::move(opening_->instead);
  merge_instead_->why = described.error().message;
  opening_->instead.reset();
  if (!merge_instead()) session_.resume();
}

// The merge node has declared it: its server is kept as long as the cursor.
void ShardedConversation::cursor_opened_at_merge_node(const std::string& description) {
  const ShardId server = keep_merge_server();
  merge_run_.reset();
  if (opening_->merged) {
    opening_->merged->rows = ShardRows({server}, MergeSpec{}, RowWindow{});
    if (const Status described = opening_->merged->rows.describe(description); !described) {
      refuse(described.error());
      return;
    }
    return cursor_is_open();
  }
  OpenCursor cursor;
  cursor.server = server;
  cursor.hold = opening_->hold;
  cursor.depth = transaction_.savepoints();
  cursor.settings = output_settings();
  OpenCursor& added = cursors_.add(opening_->name, std::move(cursor));
  if (!transaction_.open()) {
    added.put_by = true;
    return hold_cursors({&link(server)});
  }
  worker_.client_out().append(opening_->answer);
  unit_done(false);
}

void ShardedConversation::cursor_is_open() {
  MergedCursor& merged = *opening_->merged;
  if (merged.formats) {
    // A Bind's.
    const FormatList asked = read_formats(*merged.formats);
    merged.formats = formats_for_shards(asked, merged.rows.hidden_columns());
    if (const Status set = merged.rows.set_formats(*merged.formats); !set) {
      refuse(set.error());
      return;
    }
  }
  OpenCursor cursor;
  cursor.place = OpenCursor::Place::kMerged;
  cursor.settings = output_settings();
  cursor.merged = std::move(opening_->merged);
  cursor.depth = transaction_.savepoints();
  cursors_.add(opening_->name, std::move(cursor));
  worker_.client_out().append(opening_->answer);
  unit_done(false);
}

// A server has been told to declare it.
void ShardedConversation::note_declared(std::string_view text, ShardId server) {
  const auto command = read_cursor_command(text);
  if (!command || (!transaction_.open() && !command->hold)) return;
  OpenCursor cursor;
  cursor.server = server;
  cursor.hold = command->hold;
  cursor.committed = !transaction_.open();
  cursor.depth = transaction_.savepoints();
  cursors_.add(command->name, std::move(cursor));
  declaring_ = command->name;
}

// --- FETCH, MOVE, CLOSE --------------------------------------------------------------------------

// Where a statement about a cursor goes; null: to the first shard, which says that there is none.
OpenCursor* ShardedConversation::cursor_of(const Statement& statement) {
  if (cursors_.empty()) return nullptr;
  const auto command = read_cursor_command(statement.text);
  if (!command || command->kind == CursorCommand::Kind::kDeclare) return nullptr;
  return cursors_.find(command->name);
}

// A DECLARE of a name that is taken.
bool ShardedConversation::is_taken_cursor(const Statement& statement) {
  if (cursors_.empty() || statement.effect.verb != Verb::kDeclare) return false;
  const auto command = read_cursor_command(statement.text);
  return command && cursors_.find(command->name) != nullptr;
}

// What the session has said of how values are written.
std::string ShardedConversation::output_settings() const {
  constexpr std::string_view kNames[] = {"datestyle",    "intervalstyle",   "timezone",
                                         "time zone",    "client_encoding", "extra_float_digits",
                                         "bytea_output", "xmlbinary",       "lc_monetary",
                                         "lc_numeric",   "lc_time"};
  const NameValues& settings = *session_.state().settings.current();
  std::string out;
  for (const std::string_view name : kNames) {
    out.append(transaction_.local(name)).push_back('\n');
    const std::string* value = settings.find(name);
    if (value != nullptr) out.append(*value);
  }
  return out;
}

// Rows that were read ahead, here or by a sort at the merge node, are as the session wanted them
// then.
Status ShardedConversation::check_looks(const OpenCursor& cursor) const {
  const bool here = cursor.place == OpenCursor::Place::kMerged;
  const bool kept = cursor.place == OpenCursor::Place::kServer && cursor.server >= kKeptServers;
  if (cursor.committed || !(here || kept) || cursor.settings == output_settings()) return Ok{};
  return Error{sqlstate::kFeatureNotSupported,
               "settings that say how values are written, such as DateStyle, have changed since "
               "this cursor over several shards was opened",
               "Set them before it is opened."};
}

bool ShardedConversation::closes_all(const Statement& statement) const {
  if (cursors_.empty() || statement.effect.verb != Verb::kClose) return false;
  const auto command = read_cursor_command(statement.text);
  return command && command->name.empty();
}

// The view pg_cursors is the home shard's: what it says would not be all.
Status ShardedConversation::check_view_of_cursors(std::string_view text) {
  bool elsewhere = false;
  cursors_.for_each([&](const std::string& name, const OpenCursor& cursor) {
    const bool home = cursor.place == OpenCursor::Place::kServer && cursor.server == home_shard();
    elsewhere |= !home && cursor.place != OpenCursor::Place::kRead && !name.empty();
  });
  if (!elsewhere || !mentions_word(text, "pg_cursors")) return Ok{};
  return Error{sqlstate::kFeatureNotSupported,
               "pg_cursors does not show the cursors of a sharded session that are on other shards",
               "Close them first."};
}

// Nothing: it is not about a cursor that is open.
std::optional<ShardedConversation::Verdict> ShardedConversation::serve_cursor_command(
    const FrameHeader& header, std::string_view frame, const StatementEffects& statement) {
  if (cursors_.empty()) return std::nullopt;
  const auto command = read_cursor_command(statement.text);
  if (!command || command->kind == CursorCommand::Kind::kDeclare) return std::nullopt;
  if (command->name.empty()) return close_all_cursors({});
  const OpenCursor* cursor = cursors_.find(command->name);
  if (cursor == nullptr) return std::nullopt;
  if (cursor->place != OpenCursor::Place::kServer) return run_cursor_command(*command, {}, nullptr);
  const ShardId server = cursor->server;
  if (command->kind != CursorCommand::Kind::kClose) {
    if (const Status same = check_looks(*cursor); !same) return refuse(same.error());
    return run_on_shard(server, header, frame, &statement);
  }
  if (server >= kKeptServers) return close_cursor(command->name, {});
  const Verdict verdict = run_on_shard(server, header, frame, &statement);
  if (verdict == Verdict::kTaken) cursors_.remove(command->name);
  return verdict;
}

// Of a cursor that is not on one server. `preface`: what the client reads first; `asked`: what its
// Bind wants, null for a simple query.
ShardedConversation::Verdict ShardedConversation::run_cursor_command(const CursorCommand& command,
                                                                     std::string_view preface,
                                                                     const FetchWanted* asked) {
  if (command.kind == CursorCommand::Kind::kClose) return close_cursor(command.name, preface);
  OpenCursor& cursor = *cursors_.find(command.name);
  if (cursor.place != OpenCursor::Place::kMerged) return refuse(cannot_run_error(command.name));
  MergedCursor& merged = *cursor.merged;
  if (merged.failed) return refuse(cannot_run_error(command.name));
  if (const Status same = check_looks(cursor); !same) return refuse(same.error());
  const auto reach = reach_of(command, merged);
  const bool moves = command.kind == CursorCommand::Kind::kMove;
  // MOVE 0 tells whether there is a current row.
  const bool stays = moves && command.count == 0 && command.way != CursorCommand::Way::kAbsolute;
  if (!reach && !stays) {
    merged.failed = true;
    return refuse(reach.error());
  }
  const std::string binary("\0\1\0\1", 4);
  const std::string wanted = asked != nullptr
                                 ? formats_for_shards(asked->formats, merged.rows.hidden_columns())
                             : merged.binary && !moves ? binary
                                                       : std::string(kTextFormats);
  if (!moves || !merged.formats) {
    if (const Status same = fetch_in(merged, wanted); !same) return refuse(same.error());
  }
  if (!acquire(merged.rows.shards())) return Verdict::kWait;
  std::string& out = worker_.client_out();
  out.append(preface);
  if (!moves && (asked == nullptr || asked->describe)) {
    append_description(out, merged.rows.description(), *merged.formats);
  }
  if (stays) {
    const bool on_row = merged.position > 0 && !merged.at_end;
    append_command_complete(out, "MOVE", on_row ? 1 : 0);
    unit_done(false);
    return Verdict::kTaken;
  }
  CursorFetch fetch;
  fetch.cursor = &merged;
  fetch.answer = moves ? CursorFetch::Answer::kMove : CursorFetch::Answer::kFetch;
  fetch.skip = reach->skip;
  fetch.wanted = reach->wanted;
  fetch_ = fetch;
  begin_steps();
  session_.enqueue(out);
  out.clear();
  continue_fetch();
  return Verdict::kTaken;
}

// Its next rows come in these formats, as in a Bind.
Status ShardedConversation::fetch_in(MergedCursor& cursor, const std::string& formats) {
  const std::size_t columns = columns_of(cursor.rows.description());
  if (cursor.formats && same_formats(*cursor.formats, formats, columns)) return Ok{};
  if (cursor.formats) {
    return Error{sqlstate::kFeatureNotSupported,
                 "rows of a cursor over several shards are fetched either in text or in binary",
                 "Fetch all of them in the format of the first."};
  }
  if (const Status set = cursor.rows.set_formats(formats); !set) return set.error();
  cursor.formats = formats;
  return Ok{};
}

// Until the client has what it asked for, rows have to be asked for, or it is slow.
void ShardedConversation::continue_fetch() {
  CursorFetch& fetch = *fetch_;
  MergedCursor& cursor = *fetch.cursor;
  std::string& out = worker_.client_out();
  if (fetch.canceled) {
    refuse(canceled());
    return;
  }
  while (fetch.skip > 0 || fetch.rows < fetch.wanted) {
    if (fetch.client_slow) break;
    std::string_view row;
    const auto next = cursor.rows.next(row);
    if (!next) {
      cursor.failed = true;
      refuse(next.error());
      return;
    }
    if (*next == ShardRows::Next::kEnd) {
      cursor.at_end = true;
      break;
    }
    if (*next == ShardRows::Next::kWanting) {
      session_.enqueue(out);
      out.clear();
      session_.flush_later();
      return fetch_portion();
    }
    ++cursor.position;
    if (fetch.skip > 0) {
      --fetch.skip;
      continue;
    }
    ++fetch.rows;
    if (fetch.answer == CursorFetch::Answer::kMove) continue;
    {
      FrameWriter writer(out, backend::kDataRow);
      writer.bytes(row);
    }
    if (out.size() < kFlushBytes) continue;
    session_.enqueue(out);
    out.clear();
    session_.flush();  // may call on_client_slow()
  }
  if (fetch.client_slow && !cursor.at_end && (fetch.skip > 0 || fetch.rows < fetch.wanted)) {
    session_.enqueue(out);
    out.clear();
    return;
  }
  switch (fetch.answer) {
    case CursorFetch::Answer::kFetch:
      append_command_complete(out, "FETCH", fetch.rows);
      break;
    case CursorFetch::Answer::kMove:
      append_command_complete(out, "MOVE", fetch.rows);
      break;
    case CursorFetch::Answer::kExecute:
      if (fetch.limited && fetch.rows == fetch.wanted) {
        append_portal_suspended(out);  // as PostgreSQL does, which does not look for one row more
      } else {
        append_command_complete(out, "SELECT", fetch.rows);
      }
      break;
  }
  unit_done(false);
}

void ShardedConversation::fetch_portion() {
  MergedCursor& cursor = *fetch_->cursor;
  const std::uint64_t missing = std::max(fetch_->wanted - fetch_->rows, fetch_->skip);
  cursor.asked_rows = cursor.rows.next_portion(missing);
  FanOutPlan plan;
  plan.use = FanOutPlan::Use::kSum;
  plan.by_link = true;
  plan.clients_text = false;
  plan.describe = false;
  plan.result_formats = *cursor.formats;
  BindView nothing;
  Statement fetch;
  fetch.text = "FETCH FORWARD " + std::to_string(cursor.asked_rows) + " FROM " +
               quoted_identifier(cursor.server_name);
  const auto shared = std::make_shared<const Statement>(std::move(fetch));
  const std::string message = bind_for(nothing, {}, *cursor.formats);
  std::vector<ServerLink*> links;
  for (const std::size_t source : cursor.rows.wanting()) {
    links.push_back(&link(cursor.rows.shard(source)));
  }
  std::vector<FanOutShare> shares(links.size(), FanOutShare{shared, message});
  after_ = After::kCursor;
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  fan_out_->send_shares(std::move(shares), {});
}

// A merged one's cursors, or the server that was kept for it.
void ShardedConversation::drop_cursor(std::string_view name) {
  OpenCursor* cursor = cursors_.find(name);
  if (cursor == nullptr) return;
  const std::unique_ptr<MergedCursor> merged = std::move(cursor->merged);
  cursors_.remove(name);
  release_kept_servers();
  if (!merged || transaction_.failed()) return;
  for (const ShardId shard : merged->rows.shards()) {
    if (shard < kKeptServers && transaction_.takes_part(shard) && links_[shard]->ready()) {
      links_[shard]->inject("CLOSE " + quoted_identifier(merged->server_name));
    }
  }
}

ShardedConversation::Verdict ShardedConversation::close_cursor(std::string_view name,
                                                               std::string_view preface) {
  drop_cursor(name);
  worker_.client_out().append(preface);
  reply("CLOSE CURSOR");
  return Verdict::kTaken;
}

ShardedConversation::Verdict ShardedConversation::close_all_cursors(std::string_view preface) {
  std::vector<std::string> names;
  std::set<ShardId> shards;
  cursors_.for_each([&](const std::string& name, const OpenCursor& cursor) {
    names.push_back(name);
    if (cursor.place == OpenCursor::Place::kServer && cursor.server < kKeptServers) {
      shards.insert(cursor.server);
    }
  });
  const std::vector<ShardId> used(shards.begin(), shards.end());
  if (!acquire(used)) return Verdict::kWait;
  for (const std::string& name : names) drop_cursor(name);
  worker_.client_out().append(preface);
  if (used.empty()) {
    reply("CLOSE CURSOR ALL");
    return Verdict::kTaken;
  }
  session_.enqueue(worker_.client_out());
  worker_.client_out().clear();
  std::vector<ServerLink*> links;
  for (const ShardId shard : used) links.push_back(&link(shard));
  pending_reply_ = "CLOSE CURSOR ALL";
  after_ = After::kReport;
  begin_fan_out(std::move(links), {}, "CLOSE ALL");
  return Verdict::kTaken;
}

}  // namespace pgshunt
