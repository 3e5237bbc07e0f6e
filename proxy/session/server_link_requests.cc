// Client to server: statement names are replaced by the proxy's own, statements are prepared where
// they are missing, and what a request will do to the session is noted for its completion.
#include "proxy/database.h"
#include "proxy/session/listen_hub.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

// Verbs whose completion changes what the proxy remembers.
bool changes_session(Verb verb) {
  switch (verb) {
    case Verb::kSavepoint:
    case Verb::kReleaseSavepoint:
    case Verb::kRollbackTo:
    case Verb::kSet:
    case Verb::kSetSessionAuthorization:
    case Verb::kSetCharacteristics:
    case Verb::kReset:
    case Verb::kResetAll:
    case Verb::kDiscardAll:
    case Verb::kPrepare:
    case Verb::kDeallocate:
    case Verb::kDeallocateAll:
    case Verb::kListen:
    case Verb::kUnlisten:
    case Verb::kUnlistenAll:
      return true;
    default:
      return false;
  }
}

bool names_statement(Verb verb) {
  return verb == Verb::kPrepare || verb == Verb::kExecute || verb == Verb::kDeallocate;
}

// Messages that make the server execute or look up something.
bool begins_something(char type) {
  switch (type) {
    case frontend::kQuery:
    case frontend::kParse:
    case frontend::kBind:
    case frontend::kDescribe:
    case frontend::kExecute:
    case frontend::kClose:
    case frontend::kFunctionCall:
      return true;
    default:
      return false;
  }
}

// Effects that decide where the session may run next; the rest is only of interest to routing.
constexpr std::uint32_t kPinningEffects = ~std::uint32_t{kEffectSequenceRead};

std::string_view canonical_setting(std::string_view name) {
  return name == "time zone" ? std::string_view("timezone") : name;
}

}  // namespace

ServerLink::Take ServerLink::request(const FrameHeader& header, std::string_view frame) {
  const std::string_view body = frame.substr(kFrameHeaderSize);
  ResponseTracker& tracker = backend_->tracker;
  if (tracker.empty()) backend_->request_at = session_.worker().loop().now();
  if (session_.pool_mode() == PoolMode::kSession) return request_unchanged(header.type, frame);
  if (restores_startup_ && begins_something(header.type) && !startup_restored()) {
    request_waits_ = true;
    return Take::kWait;
  }
  switch (header.type) {
    case frontend::kQuery:
      return request_query(frame, body);
    case frontend::kParse:
      return request_parse(frame, body);
    case frontend::kBind:
      return request_bind(frame, body);
    case frontend::kDescribe:
      return request_describe(frame, body);
    case frontend::kExecute:
      return request_execute(frame, body);
    case frontend::kClose:
      return request_close(frame, body);
    default:
      return request_unchanged(header.type, frame);
  }
}

// After RESET ALL: gives the server the startup packet's values again. False: not yet, the outcome
// is not known.
bool ServerLink::startup_restored() {
  const ResponseTracker& tracker = backend_->tracker;
  const RequestKind newest = tracker.newest().kind;
  const bool in_pipeline =
      tracker.skipping() || (newest != RequestKind::kNone && newest != RequestKind::kSync &&
                             newest != RequestKind::kQuery && newest != RequestKind::kFunctionCall);
  if (in_pipeline) return true;  // too late for this one, its Sync is next
  if (!tracker.empty()) return false;
  restores_startup_ = false;
  catch_up_settings();
  return true;
}

ServerLink::Take ServerLink::request_unchanged(char type, std::string_view frame) {
  ResponseTracker& tracker = backend_->tracker;
  const std::string_view body = frame.substr(kFrameHeaderSize);
  bool wanted = true;
  switch (type) {
    case frontend::kQuery:
      wanted = tracker.push(RequestKind::kQuery);
      break;
    case frontend::kParse:
      wanted = tracker.push(RequestKind::kParse);
      break;
    case frontend::kBind:
      wanted = tracker.push(RequestKind::kBind);
      break;
    case frontend::kDescribe:
      wanted = tracker.push(body.starts_with('S') ? RequestKind::kDescribeStatement
                                                  : RequestKind::kDescribePortal);
      break;
    case frontend::kExecute:
      wanted = tracker.push(RequestKind::kExecute);
      break;
    case frontend::kClose:
      wanted = tracker.push(RequestKind::kClose);
      break;
    case frontend::kSync:
      wanted = tracker.push(RequestKind::kSync);
      break;
    case frontend::kFunctionCall:
      wanted = tracker.push(RequestKind::kFunctionCall);
      break;
    case frontend::kCopyDone:
    case frontend::kCopyFail:
      wanted = tracker.push(RequestKind::kCopyEnd);
      break;
    default:  // Flush, CopyData: answered by nothing
      wanted = true;
      break;
  }
  if (wanted) append_verbatim(frame);
  return Take::kDone;
}

// --- simple query --------------------------------------------------------------------------------

ServerLink::Take ServerLink::request_query(std::string_view frame, std::string_view body) {
  const auto sql = decode_query(body);
  if (!sql) return invalid(sql.error());
  std::uint32_t effects = kEffectNone;
  bool special = false;
  std::size_t count = 0;
  StatementEffects statement;
  StatementScanner scan(*sql, session_.standard_conforming_strings());
  while (scan.next(statement)) {
    ++count;
    effects |= statement.effects;
    special |= changes_session(statement.verb) || names_statement(statement.verb);
    if (statement.verb == Verb::kListen) {
      if (const Take heard = hear_channel(statement.name); heard != Take::kDone) return heard;
    }
  }
  if (!may_proceed(effects)) return Take::kInvalid;
  pin_candidates_ |= effects & kPinningEffects;
  // A simple query ends the unnamed statement (tcop/postgres.c, exec_simple_query).
  backend_->memory.unnamed_tag = 0;
  state_.unnamed.tag = 0;
  if (!special) {
    if (backend_->tracker.push(RequestKind::kQuery)) append_verbatim(frame);
    return Take::kDone;
  }
  return request_special_query(*sql, count);
}

// A query that names prepared statements or changes the session: effects are noted statement by
// statement, names are replaced in the text.
ServerLink::Take ServerLink::request_special_query(std::string_view sql, std::size_t count) {
  std::vector<CompletionEffect> effects;
  std::string text;
  std::size_t copied = 0;
  StatementEffects statement;
  StatementScanner scan(sql, session_.standard_conforming_strings());
  while (scan.next(statement)) {
    if (count == 1 && answer_locally(statement)) return Take::kDone;
    CompletionEffect effect = completion_effect(statement);
    if (names_statement(statement.verb)) {
      std::string server_name;
      if (statement.verb == Verb::kPrepare) {
        effect.prepares = sql_statement(statement.value);
        server_name = effect.prepares->server_name;
      } else if (const auto known = state_.prepared.find(std::string(statement.name));
                 known != state_.prepared.end()) {
        ensure_prepared(*known->second, false);
        server_name = known->second->server_name;
      }
      if (!server_name.empty()) {
        text.append(sql.substr(copied, statement.name_begin - copied)).append(server_name);
        copied = statement.name_end;
      }
    } else if (const auto startup = startup_statement(statement); !startup.empty()) {
      const std::size_t begin = static_cast<std::size_t>(statement.text.data() - sql.data());
      text.append(sql.substr(copied, begin - copied)).append(startup);
      copied = begin + statement.text.size();
    }
    restores_startup_ |= leaves_startup(statement.verb);
    effects.push_back(std::move(effect));
  }
  text.append(sql.substr(copied));
  const std::uint32_t tag = next_group_tag();
  if (backend_->tracker.push(RequestKind::kQuery, ReplyUse::kForward, tag)) {
    groups_.push_back({tag, 0, std::move(effects)});
    append_query(rewritten(), text);
  }
  return Take::kDone;
}

CompletionEffect ServerLink::completion_effect(const StatementEffects& statement) {
  CompletionEffect effect;
  effect.verb = statement.verb;
  effect.effects = statement.effects;
  effect.name = canonical_setting(statement.name);
  const bool conforming = session_.standard_conforming_strings();
  if (statement.verb == Verb::kSet) {
    effect.text = portable_statement(statement.text, conforming);
  } else if (statement.verb == Verb::kSetSessionAuthorization) {
    effect.name = "session_authorization";
    effect.text = portable_statement(statement.text, conforming);
  } else if (statement.verb == Verb::kSetCharacteristics) {
    effect.text = statement.value;
  } else if (!startup_statement(statement).empty() &&
             word_is(statement.text.substr(0, 5), "reset")) {
    effect.tag = "RESET";  // the server says SET
  }
  return effect;
}

// RESET means the startup packet's value, of which the server knows nothing: the SET to run in its
// place. Empty if the client gave none.
std::string_view ServerLink::startup_statement(const StatementEffects& statement) const {
  if (statement.verb != Verb::kReset) return {};
  return state_.settings.startup_statement(canonical_setting(statement.name));
}

// Does the server end up without the startup packet's values? They are set again before the next
// request.
bool ServerLink::leaves_startup(Verb verb) const {
  return (verb == Verb::kResetAll || verb == Verb::kDiscardAll) && state_.settings.has_startup();
}

// DEALLOCATE of a statement that only the proxy need forget. False: ask the server.
bool ServerLink::answer_locally(const StatementEffects& only) {
  if (!backend_->tracker.empty() || backend_->transaction == TransactionStatus::kFailed) {
    return false;
  }
  std::string_view tag;
  if (only.verb == Verb::kDeallocate) {
    if (state_.prepared.erase(std::string(only.name)) == 0) return false;
    tag = "DEALLOCATE";
  } else if (only.verb == Verb::kDeallocateAll) {
    state_.prepared.clear();
    tag = "DEALLOCATE ALL";
  } else {
    return false;
  }
  std::string& out = session_.worker().client_out();
  append_command_complete(out, tag);
  append_ready_for_query(out, backend_->transaction);
  session_.enqueue(out);
  out.clear();
  session_.flush();
  session_.worker().defer_release(*this);
  return true;
}

// currval() and lastval() mean this session's own last values: right only on the server that made
// them, and only if nobody else was there since.
bool ServerLink::may_proceed(std::uint32_t effects) {
  if (effects & kEffectSequenceWrite) state_.wrote_sequences = true;
  if (pool_.spec().config->pinning == PinPolicy::kRefuse) {
    constexpr std::uint32_t kPins = kEffectTempObject | kEffectAdvisoryLock | kEffectHoldCursor |
                                    kEffectLibrary | kEffectRandomSeed | kEffectForeignSession |
                                    kEffectSetConfig;
    if (effects & kPins) {
      error_ = {sqlstate::kFeatureNotSupported,
                "this statement would tie the session to one server (" +
                    describe_pins(effects & kPins) + "), which the configuration forbids",
                "Use session pooling, or set pinning = \"allow\"."};
      return false;
    }
  }
  if (!(effects & kEffectSequenceRead)) return true;
  state_.reads_sequences = true;
  const bool own = backend_->memory.last_client == state_.id ||
                   backend_->transaction != TransactionStatus::kIdle ||
                   (effects & kEffectSequenceWrite) || state_.pins != kEffectNone;
  if (own || !state_.wrote_sequences) return true;
  error_ = {sqlstate::kObjectNotInPrerequisiteState,
            "currval() and lastval() are not available: another client has used this session's "
            "server since",
            "Use INSERT ... RETURNING, or call them in the transaction that made the value."};
  return false;
}

// --- extended query ------------------------------------------------------------------------------

StatementPtr ServerLink::sql_statement(std::string_view tail) {
  // Not shared: two sessions' PREPAREs of one text would collide on a server that has it already.
  Statement statement;
  statement.id = next_statement_id();
  statement.server_name = "pgshunt_" + std::to_string(statement.id);
  statement.text = tail;
  statement.by_sql = true;
  return std::make_shared<const Statement>(std::move(statement));
}

ServerLink::Take ServerLink::request_parse(std::string_view frame, std::string_view body) {
  const auto parse = decode_parse(body);
  if (!parse) return invalid(parse.error());
  ResponseTracker& tracker = backend_->tracker;
  pool_.statistics().client_parses++;

  if (parse->statement.empty()) {
    StatementEffects effects = first_statement(parse->sql);
    SessionState::Unnamed& unnamed = state_.unnamed;
    unnamed.tag = ++last_tag_;
    unnamed.text.assign(parse->sql);
    unnamed.types.resize(parse->types.size());
    for (std::size_t i = 0; i < unnamed.types.size(); ++i) unnamed.types[i] = parse->types.of(i);
    unnamed.interesting = changes_session(effects.verb) || names_statement(effects.verb);
    unnamed.effect.effects = effects.effects;
    if (unnamed.interesting) unnamed.effect = completion_effect(effects);
    if (names_statement(effects.verb)) return parse_naming_statement(*parse, effects);
    const std::string_view startup = startup_statement(effects);
    if (!startup.empty()) unnamed.text = startup;
    if (tracker.push(RequestKind::kParse)) {
      if (startup.empty()) {
        append_verbatim(frame);
      } else {
        append_parse(rewritten(), {}, startup, unnamed.types);
      }
      backend_->memory.unnamed_tag = unnamed_key();
      pool_.statistics().server_parses++;
    }
    return Take::kDone;
  }

  const std::string name(parse->statement);
  if (state_.prepared.contains(name)) {
    error_ = {sqlstate::kDuplicatePreparedStatement,
              "prepared statement \"" + name + "\" already exists",
              {}};
    return Take::kInvalid;
  }
  std::vector<std::uint32_t>& types = types_;
  types.resize(parse->types.size());
  for (std::size_t i = 0; i < types.size(); ++i) types[i] = parse->types.of(i);
  StatementTable& table = session_.worker().statements();
  const std::uint64_t scope = session_.database()->scope;
  StatementPtr statement = table.find(scope, parse->sql, false, types);
  if (!statement) {
    Statement fresh;
    fresh.text = parse->sql;
    fresh.types = types;
    const StatementEffects effects = first_statement(parse->sql);
    if (changes_session(effects.verb)) fresh.effect = completion_effect(effects);
    fresh.effect.effects = effects.effects;
    statement = table.add(scope, std::move(fresh));
  }
  state_.prepared.emplace(name, statement);
  if (backend_->memory.prepared.use(statement->id)) {
    tracker.push(RequestKind::kLocal, ReplyUse::kForward, kLocalParseComplete);
    answer_due_locals();
    return Take::kDone;
  }
  make_room_for_statement();
  if (tracker.push(RequestKind::kParse, ReplyUse::kForward,
                   static_cast<std::uint32_t>(statement->id))) {
    append_parse_renamed(rewritten(), *parse, statement->server_name);
    backend_->memory.prepared.add(statement->id);
    pool_.statistics().server_parses++;
  }
  return Take::kDone;
}

// PREPARE, EXECUTE or DEALLOCATE sent through the extended protocol: the name inside the text is
// the client's.
ServerLink::Take ServerLink::parse_naming_statement(const ParseView& parse,
                                                    const StatementEffects& named) {
  std::string text(parse.sql);
  std::string server_name;
  if (named.verb == Verb::kPrepare) {
    state_.unnamed.effect.prepares = sql_statement(named.value);
    server_name = state_.unnamed.effect.prepares->server_name;
  } else if (const auto known = state_.prepared.find(std::string(named.name));
             known != state_.prepared.end()) {
    ensure_prepared(*known->second, true);
    server_name = known->second->server_name;
  }
  if (!server_name.empty()) {
    text.replace(named.name_begin, named.name_end - named.name_begin, server_name);
  }
  if (backend_->tracker.push(RequestKind::kParse)) {
    append_parse(rewritten(), {}, text, state_.unnamed.types);
    backend_->memory.unnamed_tag = unnamed_key();
  }
  state_.unnamed.text = std::move(text);
  return Take::kDone;
}

StatementEffects ServerLink::first_statement(std::string_view sql) {
  StatementEffects effects;
  StatementScanner scan(sql, session_.standard_conforming_strings());
  scan.next(effects);
  return effects;
}

ServerLink::Take ServerLink::request_bind(std::string_view frame, std::string_view body) {
  const auto bind = decode_bind(body);
  if (!bind) return invalid(bind.error());
  pool_.statistics().binds++;
  ResponseTracker& tracker = backend_->tracker;
  const CompletionEffect* effect = nullptr;
  const Statement* statement = nullptr;
  if (bind->statement.empty()) {
    if (state_.unnamed.tag != 0) {
      if (backend_->memory.unnamed_tag != unnamed_key()) prepare_unnamed_again();
      effect = &state_.unnamed.effect;
    }
  } else if (const auto known = state_.prepared.find(std::string(bind->statement));
             known != state_.prepared.end()) {
    statement = known->second.get();
    ensure_prepared(*statement, true);
    effect = &statement->effect;
  }
  if (effect) {
    if (!may_proceed(effect->effects)) return Take::kInvalid;
    pin_candidates_ |= effect->effects & kPinningEffects;
  }
  remember_portal(bind->portal, effect);
  if (!tracker.push(RequestKind::kBind)) return Take::kDone;
  if (statement) {
    append_bind_renamed(rewritten(), *bind, statement->server_name);
  } else {
    append_verbatim(frame);
  }
  return Take::kDone;
}

// Only portals whose statement changes the session are worth remembering.
void ServerLink::remember_portal(std::string_view portal, const CompletionEffect* effect) {
  const bool matters = effect && changes_session(effect->verb);
  if (!matters && portals_.empty()) return;
  const std::string name(portal);
  portals_.erase(name);
  if (matters) portals_.emplace(name, *effect);
}

ServerLink::Take ServerLink::request_describe(std::string_view frame, std::string_view body) {
  const auto target = decode_describe(body);
  if (!target) return invalid(target.error());
  ResponseTracker& tracker = backend_->tracker;
  if (target->kind == TargetKind::kPortal) {
    if (tracker.push(RequestKind::kDescribePortal)) append_verbatim(frame);
    return Take::kDone;
  }
  if (target->name.empty()) {
    if (state_.unnamed.tag != 0 && backend_->memory.unnamed_tag != unnamed_key()) {
      prepare_unnamed_again();
    }
  } else if (const auto known = state_.prepared.find(std::string(target->name));
             known != state_.prepared.end()) {
    ensure_prepared(*known->second, true);
    if (tracker.push(RequestKind::kDescribeStatement)) {
      append_describe(rewritten(), TargetKind::kStatement, known->second->server_name);
    }
    return Take::kDone;
  }
  if (tracker.push(RequestKind::kDescribeStatement)) append_verbatim(frame);
  return Take::kDone;
}

ServerLink::Take ServerLink::request_execute(std::string_view frame, std::string_view body) {
  const CompletionEffect* effect = nullptr;
  if (!portals_.empty()) {
    const auto execute = decode_execute(body);
    if (!execute) return invalid(execute.error());
    if (const auto portal = portals_.find(std::string(execute->portal)); portal != portals_.end()) {
      effect = &portal->second;
      if (effect->verb == Verb::kListen) {
        if (const Take heard = hear_channel(effect->name); heard != Take::kDone) return heard;
      }
      restores_startup_ |= leaves_startup(effect->verb);
    }
  }
  const std::uint32_t tag = effect ? next_group_tag() : 0;
  if (backend_->tracker.push(RequestKind::kExecute, ReplyUse::kForward, tag)) {
    if (effect) groups_.push_back({tag, 0, {*effect}});
    append_verbatim(frame);
  }
  return Take::kDone;
}

// A LISTEN is passed on only once notifications reach us: from its completion on the client counts
// on them.
ServerLink::Take ServerLink::hear_channel(std::string_view channel) {
  if (const auto error = session_.take_channel_error()) return invalid(*error);
  ListenHub& hub = session_.worker().listen_hub(pool_);
  return hub.listen(std::string(channel), state_.id) ? Take::kDone : Take::kWait;
}

ServerLink::Take ServerLink::request_close(std::string_view frame, std::string_view body) {
  const auto target = decode_close(body);
  if (!target) return invalid(target.error());
  ResponseTracker& tracker = backend_->tracker;
  if (target->kind == TargetKind::kStatement && !target->name.empty()) {
    // Other clients may use the same statement under the same name of ours: it stays.
    state_.prepared.erase(std::string(target->name));
    tracker.push(RequestKind::kLocal, ReplyUse::kForward, kLocalCloseComplete);
    answer_due_locals();
    return Take::kDone;
  }
  if (target->kind == TargetKind::kStatement) {
    state_.unnamed.tag = 0;
    backend_->memory.unnamed_tag = 0;
  }
  if (tracker.push(RequestKind::kClose)) append_verbatim(frame);
  return Take::kDone;
}

// --- keeping statements where they are needed --------------------------------------------------

bool ServerLink::ensure_prepared(const Statement& statement, bool in_pipeline) {
  if (backend_->memory.prepared.use(statement.id)) return true;
  make_room_for_statement();
  ResponseTracker& tracker = backend_->tracker;
  if (statement.by_sql && !in_pipeline) {
    // Outside a pipeline it can be made just as the client made it.
    if (!tracker.push(RequestKind::kQuery, ReplyUse::kSwallow)) return false;
    append_query(rewritten(), "PREPARE " + statement.server_name + " " + statement.text);
    backend_->memory.prepared.add(statement.id);
    return true;
  }
  const auto tag = static_cast<std::uint32_t>(statement.id);
  if (!tracker.push(RequestKind::kParse, ReplyUse::kSwallow, tag)) return false;
  std::string_view text = statement.text;
  if (statement.by_sql) text = sql_body(text);
  append_parse(rewritten(), statement.server_name, text, statement.types);
  if (!in_pipeline) {
    tracker.push(RequestKind::kSync, ReplyUse::kSwallow);
    append_sync(rewritten());
  }
  backend_->memory.prepared.add(statement.id);
  pool_.statistics().server_parses++;
  return true;
}

// What follows AS in "(types) AS body".
std::string_view ServerLink::sql_body(std::string_view tail) {
  int depth = 0;
  for (std::size_t i = 0; i + 1 < tail.size(); ++i) {
    if (tail[i] == '(') ++depth;
    if (tail[i] == ')') --depth;
    if (depth == 0 && (tail[i] | 0x20) == 'a' && (tail[i + 1] | 0x20) == 's') {
      return tail.substr(i + 2);
    }
  }
  return tail;
}

void ServerLink::make_room_for_statement() {
  PreparedOnServer& prepared = backend_->memory.prepared;
  const std::uint32_t limit = pool_.spec().config->max_prepared_statements;
  while (limit != 0 && prepared.size() >= limit) {
    const std::uint64_t oldest = prepared.oldest();
    prepared.forget(oldest);
    if (!backend_->tracker.push(RequestKind::kClose, ReplyUse::kSwallow)) return;
    append_close(rewritten(), TargetKind::kStatement, "pgshunt_" + std::to_string(oldest));
  }
}

void ServerLink::prepare_unnamed_again() {
  if (!backend_->tracker.push(RequestKind::kParse, ReplyUse::kSwallow)) return;
  append_parse(rewritten(), {}, state_.unnamed.text, state_.unnamed.types);
  backend_->memory.unnamed_tag = unnamed_key();
}

// The unnamed statement's identity on a server: whose it is, and which of theirs.
std::uint64_t ServerLink::unnamed_key() const { return (state_.id << 20) ^ state_.unnamed.tag; }

std::uint32_t ServerLink::next_group_tag() {
  if (++last_tag_ == 0) ++last_tag_;
  return last_tag_;
}

void ServerLink::answer_due_locals() {
  if (backend_->tracker.current().kind == RequestKind::kLocal) {
    append_due_local();
    session_.flush_later();
  }
}

ServerLink::Take ServerLink::invalid(const Error& error) {
  error_ = error;
  return Take::kInvalid;
}

}  // namespace pgshunt
