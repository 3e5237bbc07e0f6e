// Client to server: what a request will do to the session is noted for its completion.
#include "proxy/database.h"
#include "proxy/session/listen_hub.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"
#include "router/sql_lexer.h"

namespace pgshunt {
namespace {

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

// Messages that are answered by ReadyForQuery.
bool ends_segment(char type) {
  return type == frontend::kSync || type == frontend::kQuery || type == frontend::kFunctionCall;
}

// Effects that decide where the session may run next; the rest is only of interest to routing.
constexpr std::uint32_t kPinningEffects =
    ~std::uint32_t{kEffectSequenceRead | kEffectLocalConfig | kEffectCall};
// Effects after which what is parsed may mean something else than it does for others.
constexpr std::uint32_t kLocalSettings =
    kEffectSetConfig | kEffectLocalConfig | kEffectOpaque | kEffectCall;

}  // namespace

ServerLink::Take ServerLink::request(const FrameHeader& header, std::string_view frame,
                                     const StatementEffects* only) {
  const std::string_view body = frame.substr(kFrameHeaderSize);
  ResponseTracker& tracker = backend_->tracker;
  if (tracker.empty()) backend_->request_at = session_.worker().loop().now();
  // What the server skips changes nothing.
  if (tracker.skipping()) return request_unchanged(header.type, frame);
  if (fence_ && begins_something(header.type) && !fence_passed()) return wait();
  // This server is to be left as soon as it can be.
  if (stage_ == Stage::kProbing && backend_->close_when_idle && begins_something(header.type)) {
    return wait();
  }
  // A RESET in the code that ran means the startup packet's value, which the server must be given
  // first.
  const bool may_reset = server_state_ && state_.settings.has_startup();
  if (may_reset && begins_something(header.type)) return wait();
  if (session_.pool_mode() == PoolMode::kSession && !returns_to_startup(header.type, body)) {
    return request_in_session_mode(header.type, frame, body);
  }
  Take taken = Take::kDone;
  switch (header.type) {
    case frontend::kQuery:
      taken = request_query(frame, body, only);
      break;
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
    case frontend::kFunctionCall:
      // By its number: which one it is does not matter to those who have none to mind.
      note_effects(Verb::kOther, known_effects(kEffectCall, pool_.routine_effects()));
      [[fallthrough]];
    default:
      taken = request_unchanged(header.type, frame);
      break;
  }
  if (taken == Take::kDone && ends_segment(header.type)) {
    ++segment_;
    state_.names.end_segment();
  }
  return taken;
}

// Is the last request that is unanswered one that a Sync must follow?
bool ServerLink::in_pipeline() const {
  const RequestKind newest = backend_->tracker.newest().kind;
  return newest != RequestKind::kNone && newest != RequestKind::kSync &&
         newest != RequestKind::kQuery && newest != RequestKind::kFunctionCall;
}

// After DISCARD ALL: gives the server the startup packet's values again. False: not yet, the
// outcome is not known.
bool ServerLink::fence_passed() {
  if (in_pipeline()) return true;  // too late for this one, its Sync is next
  if (!backend_->tracker.empty()) return false;
  fence_ = false;
  catch_up_settings();
  return true;
}

// In session mode the server remembers all but this: the startup packet's values are not its own,
// so a query that returns to them needs our help.
bool ServerLink::returns_to_startup(char type, std::string_view body) const {
  if (type != frontend::kQuery || !state_.settings.has_startup()) return false;
  const auto sql = decode_query(body);
  StatementEffects first;
  StatementScanner scan(sql ? *sql : std::string_view(), session_.standard_conforming_strings());
  if (!scan.next(first)) return false;
  const Verb verb = first.verb;
  if (verb != Verb::kReset && verb != Verb::kResetAll && verb != Verb::kDiscardAll) return false;
  StatementEffects second;
  return !scan.next(second);
}

ServerLink::Take ServerLink::request_in_session_mode(char type, std::string_view frame,
                                                     std::string_view body) {
  if (!state_.settings.has_startup()) return request_unchanged(type, frame);
  if (type == frontend::kParse) {
    const auto parse = decode_parse(body);
    if (!parse) return invalid(parse.error());
    StatementEffects read;
    StatementScanner scan(parse->sql, session_.standard_conforming_strings());
    const bool returns =
        scan.next(read) && (read.verb == Verb::kReset || read.verb == Verb::kResetAll ||
                            read.verb == Verb::kDiscardAll);
    if (!returns_.empty()) returns_.erase(std::string(parse->statement));
    if (!returns) return request_unchanged(type, frame);
    returns_[std::string(parse->statement)] = completion_effect(session_, read);
    const std::string_view startup = startup_statement(state_, read);
    if (startup.empty()) return request_unchanged(type, frame);
    backend_->tracker.push(RequestKind::kParse);
    append_parse(rewritten(), parse->statement, startup, {});
    return Take::kDone;
  }
  if (type == frontend::kBind && !(returns_.empty() && portals_.empty())) {
    const auto bind = decode_bind(body);
    if (!bind) return invalid(bind.error());
    const auto returning = returns_.find(std::string(bind->statement));
    remember_portal(bind->portal,
                    returning == returns_.end() ? CompletionEffect() : returning->second);
  }
  if (type == frontend::kExecute && !portals_.empty()) return request_execute(frame, body);
  return request_unchanged(type, frame);
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

ServerLink::Take ServerLink::request_query(std::string_view frame, std::string_view body,
                                           const StatementEffects* only) {
  const auto sql = decode_query(body);
  if (!sql) return invalid(sql.error());
  StatementNames& names = state_.names;
  std::uint32_t effects = kEffectNone;
  bool special = false;
  bool local = false;
  std::size_t count = 0;
  const auto look_at = [&](const StatementEffects& statement) {
    ++count;
    effects |= statement.effects;
    local |= statement.verb == Verb::kSetLocal;
    special |= changes_session(statement.verb) || names_statement(statement.verb);
    if (statement.verb == Verb::kDdl) note_ddl(statement.verb, statement.text);
    if (!may_begin(statement.verb)) return Take::kInvalid;
    if (statement.verb == Verb::kListen) {
      if (const Take heard = hear_channel(statement.name); heard != Take::kDone) return heard;
    }
    if (!names_statement(statement.verb)) return Take::kDone;
    const bool all = statement.verb == Verb::kDeallocateAll;
    if (all ? names.undecided() : names.undecided(statement.name)) return wait();
    if (const StatementPtr* known = names.find(statement.name)) {
      if (unanswered(**known)) return wait();
      if (statement.verb == Verb::kExecute) effects |= effects_of_statement(**known);
    }
    return Take::kDone;
  };
  if (only) {
    if (const Take taken = look_at(*only); taken != Take::kDone) return taken;
  } else {
    StatementEffects statement;
    StatementScanner scan(*sql, session_.standard_conforming_strings());
    while (scan.next(statement)) {
      if (const Take taken = look_at(statement); taken != Take::kDone) return taken;
    }
  }
  effects = effects_of_query(*sql, effects);
  if (!may_proceed(effects)) return Take::kInvalid;
  note_effects(local ? Verb::kSetLocal : Verb::kOther, effects);
  // A simple query ends the unnamed statement (tcop/postgres.c, exec_simple_query).
  backend_->memory.unnamed_tag = 0;
  state_.unnamed.tag = 0;
  if (special) return request_special_query(*sql, count);
  backend_->tracker.push(RequestKind::kQuery);
  append_verbatim(frame);
  return Take::kDone;
}

// A query that names prepared statements or changes the session: effects are noted statement by
// statement, names are replaced in the text.
ServerLink::Take ServerLink::request_special_query(std::string_view sql, std::size_t count) {
  std::vector<CompletionEffect> effects;
  std::string text;
  std::size_t copied = 0;
  std::size_t named = 0;
  StatementEffects statement;
  StatementScanner scan(sql, session_.standard_conforming_strings());
  while (scan.next(statement)) {
    if (count == 1 && answer_locally(statement)) return Take::kDone;
    CompletionEffect effect = completion_effect(session_, statement);
    const std::size_t begin = static_cast<std::size_t>(statement.text.data() - sql.data());
    std::string replaced;
    if (names_statement(statement.verb)) {
      statement.name_begin -= begin;
      statement.name_end -= begin;
      replaced = rename_statement(state_, statement.text, statement, effect);
      const bool executes = statement.verb == Verb::kExecute && effect.statement;
      if (executes) ensure_prepared(*effect.statement, Place::kBefore, named++);
      if (!executes && replaced != statement.text) {
        if (const Status changed = change_name(effect, named++); !changed) {
          replaced = kSureToFail;
          effect.failure = changed.error();
        }
      }
    } else {
      replaced = startup_statement(state_, statement);
    }
    if (!replaced.empty()) {
      text.append(sql.substr(copied, begin - copied)).append(replaced);
      copied = begin + statement.text.size();
    }
    if (statement.verb == Verb::kResetAll) {
      // In the same query, so that the server's defaults are neither met nor reported in between.
      const auto& startup = state_.settings.startup()->pairs();
      if (!startup.empty()) {
        text.append(sql.substr(copied, begin + statement.text.size() - copied));
        copied = begin + statement.text.size();
        effect.restored = true;
      }
      effects.push_back(std::move(effect));
      for (const auto& [name, set] : startup) {
        text.append(";").append(set);
        CompletionEffect restores;
        restores.silent = true;
        effects.push_back(std::move(restores));
      }
      continue;
    }
    fence_ |= fences(statement.verb);
    effects.push_back(std::move(effect));
  }
  text.append(sql.substr(copied));
  const std::uint32_t tag = next_group_tag();
  backend_->tracker.push(RequestKind::kQuery, ReplyUse::kForward, tag);
  groups_.push_back({tag, 0, std::move(effects)});
  append_query(rewritten(), text);
  return Take::kDone;
}

// Does what follows this query have to wait for its end? DISCARD ALL drops what the server has
// prepared and leaves it without the startup packet's values.
bool ServerLink::fences(Verb verb) const { return verb == Verb::kDiscardAll; }

// DEALLOCATE, which only the proxy need hear of. False: ask the server.
bool ServerLink::answer_locally(const StatementEffects& only) {
  if (!backend_->tracker.empty() || backend_->transaction == TransactionStatus::kFailed) {
    return false;
  }
  StatementNames& names = state_.names;
  std::string_view tag;
  if (only.verb == Verb::kDeallocate && names.find(only.name)) {
    names.confirm(names.remove(only.name));
    tag = "DEALLOCATE";
  } else if (only.verb == Verb::kDeallocateAll) {
    names.confirm(names.remove_all());
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

void ServerLink::note_effects(Verb verb, std::uint32_t effects) {
  pin_candidates_ |= effects & kPinningEffects;
  state_.has_local_settings |= verb == Verb::kSetLocal || (effects & kLocalSettings) != 0;
}

ServerLink::Take ServerLink::hear_channel(std::string_view channel) {
  if (const auto error = session_.take_channel_error()) return invalid(*error);
  ListenHub& hub = session_.worker().listen_hub(pool_);
  return hub.listen(std::string(channel), state_.id) ? Take::kDone : Take::kWait;
}

bool ServerLink::may_begin(Verb verb) {
  if (verb != Verb::kBegin || session_.pool_mode() != PoolMode::kStatement) return true;
  error_ = {sqlstate::kFeatureNotSupported,
            "transaction blocks are not allowed in statement pooling mode",
            "Use pool_mode \"transaction\" or \"session\" for this database or user."};
  return false;
}

bool ServerLink::may_pin(std::uint32_t effects) {
  constexpr std::uint32_t kPins = kEffectTempObject | kEffectAdvisoryLock | kEffectHoldCursor |
                                  kEffectLibrary | kEffectRandomSeed | kEffectForeignSession |
                                  kEffectSetConfig;
  if ((effects & kPins) == 0 || session_.pool_mode() == PoolMode::kSession) return true;
  if (pool_.spec().config->pinning == PinPolicy::kRefuse) {
    error_ = {sqlstate::kFeatureNotSupported,
              "this statement would tie the session to one server (" +
                  describe_pins(effects & kPins) + "), which the configuration forbids",
              "Use session pooling, or set pinning = \"allow\"."};
    return false;
  }
  if (session_.reserve_pin(pool_)) return true;
  error_ = {sqlstate::kTooManyConnections,
            "this statement would tie the session to one server (" +
                describe_pins(effects & kPins) +
                "), and as many as max_pinned_servers allows are tied already",
            "Try again later, or use session pooling."};
  return false;
}

// currval() and lastval() mean this session's own last values: right only on the server that made
// them, and only if nobody else was there since.
bool ServerLink::may_proceed(std::uint32_t effects) {
  if (!may_pin(effects)) return false;
  if (effects & (kEffectSequenceWrite | kEffectOpaque | kEffectCall)) {
    backend_->memory.sequences_of = state_.id;
  }
  if (!(effects & kEffectSequenceRead)) return true;
  state_.reads_sequences = true;
  // What a function draws inside is not seen: within a transaction it gets the benefit of the
  // doubt.
  if (backend_->memory.sequences_of == state_.id ||
      backend_->transaction != TransactionStatus::kIdle || state_.pins != kEffectNone) {
    return true;
  }
  error_ = {
      sqlstate::kObjectNotInPrerequisiteState,
      "currval() and lastval() are not available: this session has drawn no value, or another "
      "client has used its server since",
      "Use INSERT ... RETURNING, or call them in the transaction that made the value."};
  return false;
}

std::uint32_t ServerLink::next_group_tag() {
  if (++last_tag_ == 0) last_tag_ = kFirstGroup;
  return last_tag_;
}

void ServerLink::answer_due_locals() {
  if (backend_->tracker.current().kind == RequestKind::kLocal) {
    append_due_local();
    session_.flush_later();
  }
}

// For the answer to a request that was sent before.
ServerLink::Take ServerLink::wait() {
  request_waits_ = true;
  return Take::kWait;
}

ServerLink::Take ServerLink::invalid(const Error& error) {
  error_ = error;
  return Take::kInvalid;
}

}  // namespace pgshunt
