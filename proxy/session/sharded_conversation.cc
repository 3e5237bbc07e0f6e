#include "proxy/session/sharded_conversation.h"

#include <algorithm>

#include "proxy/database.h"
#include "proxy/log/log.h"
#include "proxy/proxy.h"
#include "proxy/session/session.h"
#include "proxy/session/statement_reading.h"
#include "proxy/session/statement_timeout.h"
#include "proxy/worker.h"
#include "router/copy_plan.h"
#include "router/cursor_command.h"
#include "router/hint.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// Statements about the session: any server takes them, always the same one does.
bool is_about_session(Verb verb) {
  switch (verb) {
    case Verb::kSet:
    case Verb::kSetSessionAuthorization:
    case Verb::kSetCharacteristics:
    case Verb::kReset:
    case Verb::kResetAll:
    case Verb::kDiscardAll:
    case Verb::kDiscard:
    case Verb::kListen:
    case Verb::kUnlisten:
    case Verb::kUnlistenAll:
    case Verb::kShow:
      return true;
    default:
      return false;
  }
}

bool may_move_search_path(const StatementEffects& statement, const RouterSession& session) {
  if (statement.name == "search_path") return true;
  if (session.default_search_path) return false;
  return statement.name == "role" || statement.verb == Verb::kSetSessionAuthorization ||
         statement.verb == Verb::kResetAll || statement.verb == Verb::kDiscardAll;
}

// Length of the messages up to and with the next Sync or Flush; 0 if it has not come yet. A simple
// query ends a batch too, and so do rows of a COPY: what they are for is before them, and they are
// too many to wait for.
std::size_t batch_size(std::string_view bytes) {
  std::size_t at = 0;
  while (true) {
    FrameHeader header;
    if (read_frontend_header(bytes.substr(at), FrontendPhase::kReady, header) !=
        FrameStatus::kComplete) {
      return 0;
    }
    if (header.type == frontend::kCopyData || header.type == frontend::kCopyDone ||
        header.type == frontend::kCopyFail || header.type == frontend::kQuery) {
      return at;
    }
    if (bytes.size() - at < header.frame_size()) return 0;
    at += header.frame_size();
    if (header.type == frontend::kSync || header.type == frontend::kFlush) return at;
  }
}

// The rest of a text behind a statement in it: semicolons, white space, comments.
std::string_view behind(std::string_view statement, std::string_view sql) {
  return sql.substr(static_cast<std::size_t>(statement.data() + statement.size() - sql.data()));
}

}  // namespace

ShardedConversation::ShardedConversation(Session& session, const ServerCredentials& credentials)
    : session_(session),
      worker_(session.worker()),
      credentials_(credentials),
      router_(*worker_.router(*session.database())),
      links_(session.database()->config.shards.size()),
      keys_(session, worker_.proxy().directories().of(session.database()->config)) {
  session.state().planner = this;
}

ShardedConversation::~ShardedConversation() {
  // A fan-out gives its servers back to their links, which then close what is not clean.
  fan_out_.reset();
  copy_.reset();
  commit_.reset();
  for (const auto& each : kept_links_) each->end_own_transaction();
  session_.state().planner = nullptr;
}

// --- units ---------------------------------------------------------------------------------------

std::size_t ShardedConversation::on_client_bytes(std::string_view bytes) {
  std::size_t at = 0;
  if (insert_select_ && !fan_out_ && !commit_ && !merge_run_) continue_insert_select();
  if (insert_select_) return 0;
  if (fetch_ && !fan_out_) continue_fetch();
  if (fetch_) return 0;
  if (merge_instead_ && merge_instead_->due && !merge_instead()) return 0;
  while (script_ && !under_way()) {
    if (keys_.waiting()) return 0;
    const std::size_t step = script_->next;
    if (continue_script() != Verdict::kTaken) return 0;
    keys_.drop();
    ids_read_ = false;
    // Its answer has come already, or will.
    if (script_ && script_->next == step && !script_->failed) return 0;
  }
  if (script_ && !copy_in_ && !running_) return 0;
  while (at < bytes.size()) {
    const std::string_view rest = bytes.substr(at);
    if (copy_in_) {
      const std::size_t served = serve_copy(rest);
      if (served == 0) break;
      at += served;
      continue;
    }
    const bool copying =
        running_ && running_->ready() && running_->backend()->tracker.copy() == CopyState::kIn;
    if (passing_ > 0) {
      const std::size_t step = std::min(passing_, rest.size());
      if (passing_to_ && passing_to_->ready()) passing_to_->pass(rest.substr(0, step));
      passing_ -= step;
      at += step;
      continue;
    }
    if ((under_way() || script_) && !copying) break;
    FrameHeader header;
    const FrameStatus status = read_frontend_header(rest, FrontendPhase::kReady, header);
    if (status == FrameStatus::kNeedMore) break;
    if (status == FrameStatus::kMalformed) {
      session_.close_with(frontend_frame_error(rest, FrontendPhase::kReady));
      return at;
    }
    if (!session_.may_send(header.body_size)) return at;
    if (header.type == frontend::kTerminate) {
      session_.close("client ended the session");
      return at;
    }
    if (rest.size() < header.frame_size()) {
      if (header.type != frontend::kCopyData) break;
      passing_ = header.frame_size();
      passing_to_ = copying ? running_ : nullptr;
      if (passing_to_) passing_to_->begin_pass(passing_);
      continue;
    }
    if (keys_.waiting()) break;
    const std::string_view frame = rest.substr(0, header.frame_size());
    Verdict verdict = Verdict::kTaken;
    std::size_t taken = frame.size();
    switch (header.type) {
      case frontend::kCopyData:
      case frontend::kCopyDone:
      case frontend::kCopyFail:
        if (copying) running_->request(header, frame);
        break;
      case frontend::kQuery:
        if (skipping_) break;  // to the Sync, as everything
        if (transaction_.implicit()) {
          // A pipeline that lacks its Sync.
          ready_owed_ = false;
          end_implicit_transaction();
          continue;
        }
        verdict = serve_query(header, frame);
        if (verdict != Verdict::kWait) given_ = {};
        break;
      case frontend::kFunctionCall:
        verdict = refuse({sqlstate::kFeatureNotSupported,
                          "function calls by the protocol's own message cannot be routed",
                          "Use SELECT."});
        break;
      default: {
        const std::size_t size = batch_size(rest);
        if (size == 0) return flush_copy(at);  // the batch is not all here yet
        verdict = serve_batch(rest.substr(0, size), taken);
        break;
      }
    }
    if (verdict == Verdict::kEnd) return at;
    if (verdict == Verdict::kWait) break;
    keys_.drop();
    ids_read_ = false;
    at += taken;
  }
  return flush_copy(at);
}

std::size_t ShardedConversation::flush_copy(std::size_t consumed) {
  if (running_ && running_->ready()) running_->flush();
  if (copy_in_) copy_in_->flush();
  return consumed;
}

ShardedConversation::Verdict ShardedConversation::serve_query(const FrameHeader& header,
                                                              std::string_view frame) {
  if (!given_.empty() && frame.data() != given_.bytes.data()) return serve_given_query();
  const auto sql = decode_query(frame.substr(kFrameHeaderSize));
  if (!sql) return refuse(sql.error());
  ready_owed_ = true;
  if (!transaction_.open()) explain_portals_.clear();
  // A simple query drops the unnamed statement.
  unnamed_.reset();
  session_.state().unnamed.tag = 0;
  if (!cursors_.empty()) drop_cursor({});  // nor does the unnamed portal outlive it
  StatementScanner scan(*sql, session_.standard_conforming_strings());
  StatementEffects statement;
  StatementEffects next;
  if (!scan.next(statement)) return run_on_shard(0, header, frame);  // an empty query
  std::uint32_t effects = statement.effects;
  std::size_t count = 1;
  const auto plain = [](Verb verb) {
    return !controls_transaction(verb) && verb != Verb::kSetLocal;
  };
  bool only_plain = plain(statement.verb);
  std::string_view last = statement.text;
  while (scan.next(next)) {
    ++count;
    effects |= next.effects;
    only_plain &= plain(next.verb);
    last = next.text;
  }
  if (count == 1) return serve_statement(header, frame, *sql, statement);
  if (transaction_.failed() && only_plain) return refuse(failed_transaction_error());
  if (const Status ok = check_no_hint(behind(last, *sql)); !ok) return refuse(ok.error());
  if (!catalog_ready()) return Verdict::kWait;
  if (!only_plain) return begin_script(*sql);
  return serve_several(header, frame, *sql, effects);
}

ShardedConversation::Verdict ShardedConversation::serve_statement(
    const FrameHeader& header, std::string_view frame, std::string_view sql,
    const StatementEffects& statement) {
  if (controls_transaction(statement.verb)) return control_transaction(statement);
  if (transaction_.failed()) return refuse(failed_transaction_error());
  if (statement.verb == Verb::kSetLocal) {
    if (!can_be_said()) return Verdict::kWait;
    return say_to_transaction(statement);
  }
  if (is_about_session(statement.verb)) {
    const Status good = check_setting(statement.name, statement.verb, statement.text);
    if (!good) return refuse(good.error());
    end_locals(statement.name, statement.verb, statement.value);
    return run_on_shard(home_shard(), header, frame, &statement);
  }
  if (!catalog_ready()) return Verdict::kWait;
  // With a hint it runs where that says, as it is.
  if (names_statement(statement.verb) && !may_have_hint(statement.text)) {
    if (const auto served = serve_prepared(header, frame, statement)) return *served;
  }
  if (!check_no_hint(behind(statement.text, sql))) {
    // The only statement's all the same, and so a part of its text.
    StatementEffects whole = statement;
    const auto begin = static_cast<std::size_t>(statement.text.data() - sql.data());
    whole.text = trim_sql_space(sql.substr(begin));
    return serve_plain(header, frame, sql, whole);
  }
  return serve_plain(header, frame, sql, statement);
}

// Neither about the session nor about its transaction.
ShardedConversation::Verdict ShardedConversation::serve_plain(const FrameHeader& header,
                                                              std::string_view frame,
                                                              std::string_view sql,
                                                              const StatementEffects& statement) {
  if (const auto verdict = serve_cursor_command(header, frame, statement)) return *verdict;
  const auto explain = read_explain_route(statement.text, session_.standard_conforming_strings());
  if (!explain) return serve_routed(header, frame, sql, statement);
  if (!*explain) return refuse(explain->error());
  return explain_statement(**explain, statement.effects);
}

ShardedConversation::Verdict ShardedConversation::serve_routed(const FrameHeader& header,
                                                               std::string_view frame,
                                                               std::string_view sql,
                                                               const StatementEffects& statement) {
  const auto route = this->route(statement.text, router_session());
  if (!route) return refuse(route.error());
  if (route->kind == RouteKind::kLookup) return look_up_keys(route->lookups);
  if (route->kind == RouteKind::kMakeValues) {
    // A script's step is the statement alone.
    const std::string_view whole = script_ ? statement.text : sql;
    const auto begin = static_cast<std::size_t>(statement.text.data() - whole.data());
    return make_values(*route, whole.substr(0, begin), whole.substr(begin + statement.text.size()));
  }
  if (route->kind == RouteKind::kCopyQuery) {
    return copy_query(*route, statement.text, statement.effects, {});
  }
  if (route->kind == RouteKind::kCursor) {
    return declare_cursor(statement.text, statement.effects, nullptr, nullptr, {});
  }
  if (route->copy) return run_copy(*route, sql);
  if (statement.verb == Verb::kDdl) note_ddl();
  if (route->kind == RouteKind::kScatter || route->kind == RouteKind::kEveryShard) {
    return run_everywhere(*route, route->sql.empty() ? statement.text : route->sql, statement.text,
                          statement.effects);
  }
  if (route->kind == RouteKind::kWriteShards && route->alike != Alike::kNo) {
    return command_on_shards(*route, header, frame, statement.text);
  }
  if (route->kind == RouteKind::kWriteShards) {
    std::vector<std::string> texts(route->texts.begin(), route->texts.end());
    if (texts.empty()) texts.emplace_back(route->sql.empty() ? statement.text : route->sql);
    FanOutPlan plan;
    plan.row_order.assign(route->row_order.begin(), route->row_order.end());
    return write_on_shards({route->shards.begin(), route->shards.end()}, route->fixes_moment,
                           std::move(texts), std::move(plan));
  }
  if (route->kind == RouteKind::kMoveRows) return move_rows(*route, route->sql);
  if (route->kind == RouteKind::kInsertSelect) return insert_selected(*route, statement.effects);
  if (route->kind == RouteKind::kMergeNode) return select_at_merge_node(*route, statement.effects);
  if (route->kind == RouteKind::kHomeShard && !cursors_.empty()) {
    const Status shown = check_view_of_cursors(statement.text);
    if (!shown) return refuse(shown.error());
  }
  const ShardId shard = shard_of(*route, statement.effects);
  const bool writes = route->writes;
  const bool declares = statement.verb == Verb::kDeclare;
  if (declares) {
    const auto command = read_cursor_command(statement.text);
    if (command && (transaction_.open() || command->hold)) {
      const Status free = free_cursor_name(command->name);
      if (!free) return refuse(free.error());
    }
  }
  if (writes) {
    if (const auto held = hold_write({&shard, 1})) return *held;
  }
  const Verdict verdict = run_on_shard(shard, header, frame, &statement);
  if (verdict == Verdict::kTaken) note_write(shard, writes);
  if (verdict == Verdict::kTaken && declares) note_declared(statement.text, shard);
  return verdict;
}

// Several statements in one message: it goes on as it is if all belong to one shard; otherwise they
// are served one by one.
ShardedConversation::Verdict ShardedConversation::serve_several(const FrameHeader& header,
                                                                std::string_view frame,
                                                                std::string_view sql,
                                                                std::uint32_t effects) {
  RouterSession router_session = this->router_session();
  std::optional<ShardId> common;
  bool writes = false;
  KeyLookups lookups;
  StatementScanner scan(sql, session_.standard_conforming_strings());
  StatementEffects statement;
  while (scan.next(statement)) {
    ShardId shard = home_shard();
    bool one = true;
    if (statement.verb == Verb::kDdl) note_ddl();
    if (is_about_session(statement.verb)) {
      // What follows is routed by what this says.
      if (is_hint_setting(statement.name) || router_session.hint ||
          !transaction_.locals().empty()) {
        return begin_script(sql);
      }
      // What follows in this message is read by another path.
      if (may_move_search_path(statement, router_session)) {
        router_session.default_search_path = false;
        router_session.search_path = nullptr;
      }
    } else {
      // EXPLAIN (PGSHUNT) is answered here, and cursors are where they are.
      const bool about_cursor =
          statement.verb == Verb::kDeclare ||
          (!cursors_.empty() && read_cursor_command(statement.text).has_value());
      if (about_cursor ||
          read_explain_route(statement.text, session_.standard_conforming_strings())) {
        return begin_script(sql);
      }
      const auto route = this->route(statement.text, router_session);
      if (!route) return begin_script(sql);
      if (route->kind == RouteKind::kLookup) {
        lookups.add(route->lookups);
        continue;
      }
      writes |= route->writes;
      if (route->kind == RouteKind::kAnyShard && (effects & ~kEffectLocalConfig) == kEffectNone)
        continue;
      one = route->kind == RouteKind::kOneShard || route->kind == RouteKind::kHomeShard ||
            route->kind == RouteKind::kAnyShard;
      if (one) shard = shard_of(*route, effects);
    }
    if (!one || (common && *common != shard)) {
      return begin_script(sql);
    }
    common = shard;
  }
  // All of them at once. What cannot be known is an error of its own statement only.
  if (!lookups.empty()) {
    return want_keys(lookups.list()) ? Verdict::kWait : begin_script(sql);
  }
  const ShardId shard = common.value_or(any_shard(effects));
  if (writes) {
    if (const auto held = hold_write({&shard, 1})) return *held;
  }
  const Verdict verdict = run_on_shard(shard, header, frame);
  if (verdict == Verdict::kTaken) note_write(shard, writes);
  return verdict;
}

ShardedConversation::Verdict ShardedConversation::run_on_shard(ShardId shard,
                                                               const FrameHeader& header,
                                                               std::string_view frame,
                                                               const StatementEffects* only) {
  if (!acquire({&shard, 1})) return Verdict::kWait;
  ServerLink& chosen = link(shard);
  chosen.withhold_ready(script_.has_value() || is_kept(chosen));
  switch (chosen.request(header, frame, only)) {
    case ServerLink::Take::kDone:
      break;
    case ServerLink::Take::kWait:
      return Verdict::kWait;
    case ServerLink::Take::kInvalid:
      return refuse(chosen.error());
  }
  chosen.flush();
  if (chosen.busy()) running_ = &chosen;
  return Verdict::kTaken;
}

ShardedConversation::Verdict ShardedConversation::run_everywhere(const Route& route,
                                                                 std::string_view sql,
                                                                 std::string_view statement,
                                                                 std::uint32_t effects) {
  const bool writes = route.kind == RouteKind::kEveryShard;
  const std::vector<ShardId> shards(route.shards.begin(), route.shards.end());
  FanOutPlan plan;
  plan.use = writes ? FanOutPlan::Use::kAgree : FanOutPlan::Use::kMerge;
  if (writes) plan.order = FanOutPlan::Order::kFirstAlone;
  if (route.merge) plan.merge = *route.merge;
  plan.window = route.window;
  const std::string text(sql);
  const bool fixes_moment = route.fixes_moment;
  if (writes && in_two_phases()) {
    if (const auto held = hold_write(shards)) return *held;
  }
  if (!acquire(shards)) return Verdict::kWait;
  std::vector<ServerLink*> links;
  for (const ShardId shard : shards) links.push_back(&link(shard));
  after_ = After::kReply;
  if (writes) begin_write_everywhere(links, route.write_lock);
  const bool typed = !plan.merge.keys.empty() || plan.merge.groups;  // it matters what types it has
  if (route.kind == RouteKind::kScatter && typed && route.hint == nullptr) {
    plan.may_be_unmergeable = true;
    merge_instead_.emplace();
    merge_instead_->sql = statement;
    merge_instead_->effects = effects;
  }
  plan.clients_text = !fixes_moment;
  if (fixes_moment) tell_moment(links);
  begin_fan_out(std::move(links), std::move(plan), text);
  return Verdict::kTaken;
}

// What goes before a write to a reference table.
void ShardedConversation::begin_write_everywhere(const std::vector<ServerLink*>& links,
                                                 std::int64_t lock) {
  if (transaction_.open()) {
    transaction_.wrote_everywhere = true;
    for (ShardId shard = 0; shard < links_.size(); ++shard) note_write(shard, true);
  } else {
    // All shards or none, as far as one phase can: they commit only after all have succeeded.
    after_ = After::kCommit;
    for (ServerLink* each : links) each->inject("BEGIN");
  }
  links.front()->inject("SELECT pg_catalog.pg_advisory_xact_lock(" + std::to_string(lock) + ")");
}

void ShardedConversation::begin_fan_out(std::vector<ServerLink*> links, FanOutPlan plan,
                                        std::string_view sql) {
  fan_out_ = std::make_unique<FanOut>(session_, *this, std::move(links), std::move(plan));
  fan_out_->send_query(sql);
}

// --- the end of a unit ---

// client_out() holds the unit's last words.
void ShardedConversation::unit_done(bool failed) {
  session_.forget_deadlock();
  opening_.reset();
  fetch_.reset();
  end_steps();
  std::string& out = worker_.client_out();
  if (script_) {
    script_step_done(failed);
  } else if (ready_owed_) {
    append_ready_for_query(out, status());
  } else if (failed) {
    skipping_ = true;
  }
  session_.enqueue(out);
  out.clear();
  session_.flush();
  release_all();
  settle_ddl(failed);
  if (!held_.empty()) deliver({});
  session_.resume();
}

void ShardedConversation::reply(std::string_view tag) {
  append_command_complete(worker_.client_out(), tag);
  unit_done(false);
}

ShardedConversation::Verdict ShardedConversation::refuse(const Error& error) {
  if (insert_select_) {
    std::string complaint;
    append_error_response(complaint, Severity::kError, error);
    end_insert_select(true, std::move(complaint));
    return Verdict::kTaken;
  }
  if (transaction_.open()) transaction_.fail();
  append_error_response(worker_.client_out(), Severity::kError, error);
  unit_done(true);
  return Verdict::kTaken;
}

void ShardedConversation::release_all() {
  if (transaction_.open()) return;
  for (const auto& each : links_) {
    if (each) each->release_if_free();
  }
  if (merge_link_) merge_link_->release_if_free();
  out_of_order_ = false;
}

TransactionStatus ShardedConversation::status() const {
  if (!transaction_.open()) return TransactionStatus::kIdle;
  return transaction_.failed() ? TransactionStatus::kFailed : TransactionStatus::kInTransaction;
}

// --- events ---

void ShardedConversation::on_link_ready(ServerLink&) { session_.resume(); }

void ShardedConversation::on_link_refused(ServerLink&, const Error& error) { fail_waiting(error); }

void ShardedConversation::give_up_waiting(const Error& error) {
  for (const auto& each : links_) {
    if (each) each->stop_waiting();
  }
  if (merge_link_) merge_link_->stop_waiting();
  if (keys_.waiting()) {
    return give_up_keys(
        {sqlstate::kCannotConnectNow,
         "query_wait_timeout: the directory has not said in time which shard a key is on",
         "Its disk may be slow or full: look at the proxy's log."});
  }
  if (std::exchange(catalog_wait_, {}) == TimePoint{}) return fail_waiting(error);
  const auto database = worker_.snapshot()->find(catalog_name());
  fail_waiting({sqlstate::kCannotConnectNow,
                "the catalogs of database \"" + session_.state().database +
                    "\" could not be read in time: " +
                    unread_text(database ? database->catalog.get() : nullptr),
                "What they say decides where the statement runs. SHOW DRIFT on the admin console "
                "lists what is missing."});
}

// --- the end of a wait ---

// The unit at the front of the client's bytes waited for a server and gets an error instead.
void ShardedConversation::fail_waiting(const Error& error) {
  fitness_since_ = {};
  keys_.drop();
  stop_waiting_for_ids();
  if (script_ || insert_select_ || merge_instead_) {
    merge_instead_.reset();
    refuse(error);
    return;
  }
  if (session_.next_message_type() == frontend::kQuery) {
    session_.drop_next_message();
    ready_owed_ = true;
  } else {
    ready_owed_ = false;
  }
  refuse(error);
}

void ShardedConversation::on_link_broken(ServerLink& link, const Error& error,
                                         bool in_transaction) {
  if (&link == merge_link_.get()) return;  // between statements: nobody has lost anything
  if (is_kept(link)) {
    session_.close_with(error);  // its cursor is lost
    return;
  }
  if (&link != running_ && !transaction_.open() && !in_transaction) return;
  if (in_transaction || transaction_.open()) {
    session_.close_with(error);
    return;
  }
  running_ = nullptr;
  refuse(error);
}

void ShardedConversation::on_link_request_done(ServerLink& link) {
  if (&link != running_ || link.busy()) return;
  running_ = nullptr;
  session_.forget_deadlock();
  const bool failed = link.take_failure();
  if (failed && !declaring_.empty()) cursors_.remove(declaring_);
  declaring_.clear();
  if (script_) {
    script_step_done(link.held() && link.transaction() == TransactionStatus::kFailed);
  } else if (!ready_owed_ && failed) {
    skipping_ = true;
  }
  const bool kept = is_kept(link);
  if (kept && link.transaction() == TransactionStatus::kFailed) kept_server_failed(link);
  if (kept && ready_owed_ && !script_) {
    std::string ready;
    append_ready_for_query(ready, status());
    session_.enqueue(ready);
    session_.flush();
  }
  if (transaction_.open() && link.held() && !kept) {
    const TransactionStatus there = link.transaction();
    if (there == TransactionStatus::kFailed) transaction_.fail();
    if (there == TransactionStatus::kIdle) {
      session_.close_with(
          {sqlstate::kConnectionFailure, "a shard left the transaction it was part of", {}});
      return;
    }
  }
  release_all();
  settle_ddl(failed);
  if (!held_.empty()) deliver({});
  session_.resume();
}

void ShardedConversation::on_link_drained(ServerLink&) { session_.resume(); }

// What the session has left on other shards goes as well.
void ShardedConversation::on_link_discarded(ServerLink& link) {
  for (const auto& each : links_) {
    if (each && each.get() != &link) each->abandon();
  }
  if (merge_link_) merge_link_->abandon();
  cursors_.clear();
  release_kept_servers();
}

void ShardedConversation::on_client_slow(bool slow) {
  if (fan_out_) fan_out_->client_slow(slow);
  if (copy_) copy_->client_slow(slow);
  if (insert_select_) {
    insert_select_->client_slow = slow;
    if (!slow) session_.resume();
  }
  if (fetch_) {
    fetch_->client_slow = slow;
    if (!slow) session_.resume();
  }
  if (!running_) return;
  if (slow) {
    running_->pause_replies();
  } else {
    running_->resume_replies();
  }
}

void ShardedConversation::deliver(std::string_view message) {
  held_.append(message);
  if (held_.empty() || !idle()) return;
  session_.enqueue(held_);
  held_.clear();
  session_.flush_later();
}

void ShardedConversation::begin_steps() {
  if (steps_since_ != TimePoint{}) return;  // those of an INSERT's SELECT
  steps_since_ = worker_.loop().now();
  const std::string* set = session_.state().settings.current()->find("statement_timeout");
  const std::string_view local = transaction_.local("statement_timeout");
  const std::chrono::milliseconds timeout = timeout_of(!local.empty()   ? local
                                                       : set != nullptr ? std::string_view(*set)
                                                                        : "");
  if (timeout.count() == 0) return;
  if (!steps_timer_) {
    steps_timer_ = std::make_unique<Timer>(worker_.loop(), [this] {
      timed_out_ = true;
      on_cancel();
    });
  }
  steps_timer_->arm_after(timeout);
}

void ShardedConversation::end_steps() {
  steps_since_ = {};
  timed_out_ = false;
  if (steps_timer_) steps_timer_->cancel();
}

Error ShardedConversation::canceled() const {
  if (!timed_out_) return canceled_by_user();
  return {sqlstate::kQueryCanceled, "canceling statement due to statement timeout", {}};
}

std::string ShardedConversation::why_failed(std::string complaint) const {
  if (!timed_out_) return complaint;
  std::string out;
  append_error_response(out, Severity::kError, canceled());
  return out;
}

void ShardedConversation::on_cancel() {
  const Error canceled = this->canceled();
  if (insert_select_) insert_select_->canceled = true;
  if (fetch_) fetch_->canceled = true;
  if (fan_out_) {
    fan_out_->cancel();
  } else if (keys_.waiting()) {
    give_up_keys(canceled);
  } else if (copy_) {
    copy_->cancel();
  } else if (commit_) {
    commit_->cancel();
  } else if (running_) {
    running_->cancel_request();
  } else if (waiting_since() != TimePoint{}) {
    catalog_wait_ = {};
    give_up_waiting(canceled);
  } else if (insert_select_ || fetch_) {
    refuse(canceled);
  }
}

bool ShardedConversation::idle() const {
  return !under_way() && !transaction_.open() && waiting_since() == TimePoint{};
}

bool ShardedConversation::idle_in_transaction() const {
  return transaction_.open() && !under_way();
}

TimePoint ShardedConversation::waiting_since() const {
  if (catalog_wait_ != TimePoint{}) return catalog_wait_;
  if (keys_.waiting()) return keys_.since();
  if (ids_since_ != TimePoint{}) return ids_since_;
  for (const auto& each : links_) {
    if (each && each->waiting()) return each->waiting_since();
  }
  if (merge_link_ && merge_link_->waiting()) return merge_link_->waiting_since();
  return fitness_since_;
}

TimePoint ShardedConversation::request_since() const {
  if (const TimePoint waiting = waiting_since(); waiting != TimePoint{}) return waiting;
  if (steps_since_ != TimePoint{}) return steps_since_;
  for (const auto& each : links_) {
    if (each && each->held() && each->backend()->tracker.size() > 0) {
      return each->backend()->request_at;
    }
  }
  return {};
}

void ShardedConversation::describe_locks(SessionLocks& out) const {
  out.since = transaction_.began_at();
  if (commit_) out.gid = commit_->gid();
  const auto add = [&out](ShardId shard, const ServerLink* link) {
    if (link && link->waiting()) out.queued = {shard, link->waiting_since()};
    if (!link || !link->held()) return;
    const Backend& backend = *link->backend();
    out.servers.push_back({shard, backend.identity.server_pid, !backend.tracker.empty(),
                           backend.transaction != TransactionStatus::kIdle, backend.request_at});
  };
  for (ShardId shard = 0; shard < links_.size(); ++shard) add(shard, links_[shard].get());
  add(merge_shard(), merge_link_.get());
  for (const auto& each : kept_links_) add(merge_shard(), each.get());
}

void ShardedConversation::wait_beyond_limits() {
  for (const auto& each : links_) {
    if (each) each->wait_beyond_limits();
  }
  if (merge_link_) merge_link_->wait_beyond_limits();
}

std::string ShardedConversation::server_address() const {
  for (const auto& each : links_) {
    if (each && each->held()) return each->backend()->identity.address;
  }
  return {};
}

}  // namespace pgshunt
