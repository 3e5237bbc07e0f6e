// Server to client: every message is matched to the request it answers, forwarded or swallowed, and
// what it tells about the session is kept.
#include <charconv>

#include "proxy/log/log.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// What ties a session to its server and can be seen from SQL: temporary objects, session-level
// advisory locks, holdable cursors. One row of three booleans.
constexpr std::string_view kProbe =
    "SELECT CASE WHEN pg_catalog.pg_my_temp_schema() = 0 THEN false ELSE EXISTS (SELECT FROM "
    "pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema()) END,"
    "EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = "
    "pg_catalog.pg_backend_pid()),"
    "EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)";
constexpr std::uint32_t kSeenByProbe = kEffectTempObject | kEffectAdvisoryLock | kEffectHoldCursor;
// Nothing gives these back short of DISCARD ALL.
constexpr std::uint32_t kStaysPinned =
    kEffectLibrary | kEffectRandomSeed | kEffectForeignSession | kEffectSetConfig | kEffectPrepared;

constexpr std::string_view kServerName = "pgshunt_";

// Does the proxy read this message's body? Those are gathered whole; all others may be passed on
// in pieces.
bool is_read(char type) {
  switch (type) {
    case backend::kReadyForQuery:
    case backend::kParameterStatus:
    case backend::kCommandComplete:
    case backend::kErrorResponse:
    case backend::kNotificationResponse:
      return true;
    default:
      return false;
  }
}

// Length of the whole DataRow messages that `bytes` begins with.
std::size_t whole_rows(std::string_view bytes) {
  std::size_t at = 0;
  FrameHeader header;
  while (at < bytes.size() && bytes[at] == backend::kDataRow &&
         read_frame_header(bytes.substr(at), kMaxBodySize, header) == FrameStatus::kComplete &&
         bytes.size() - at >= header.frame_size()) {
    at += header.frame_size();
  }
  return at;
}

bool is_description(char type) {
  return type == backend::kRowDescription || type == backend::kParameterDescription;
}

}  // namespace

std::size_t ServerLink::on_backend_bytes(Backend& backend, std::string_view bytes) {
  std::size_t at = 0;
  std::size_t forward_from = 0;  // [forward_from, at) goes to the client as it is
  const auto send_range = [&](std::size_t end) {
    if (end > forward_from) session_.enqueue(bytes.substr(forward_from, end - forward_from));
  };
  // What ends the bytes at hand leaves without being copied.
  const auto send_last_range = [&] {
    session_.send(bytes.substr(forward_from, at - forward_from));
  };
  while (backend_ == &backend && at < bytes.size()) {
    const std::string_view rest = bytes.substr(at);
    if (backend.passing > 0) {
      const std::size_t step = std::min(backend.passing, rest.size());
      backend.passing -= step;
      if (!backend.passing_forward) {
        send_range(at);
        forward_from = at + step;
      }
      at += step;
      continue;
    }
    // Rows that go on as they are, which is nearly all there is, only have their ends found.
    if (rest[0] == backend::kDataRow && row_description_.empty() &&
        backend.tracker.forwards_rows()) {
      if (const std::size_t rows = whole_rows(rest); rows > 0) {
        at += rows;
        continue;
      }
    }
    FrameHeader header;
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    if (status == FrameStatus::kNeedMore) break;
    const bool whole = rest.size() >= header.frame_size();
    if (status == FrameStatus::kMalformed) {
      send_range(at);
      session_.flush();
      on_backend_lost(backend, {sqlstate::kProtocolViolation, "server broke the protocol", {}});
      return bytes.size();
    }
    const bool swallowing = backend.tracker.current().use == ReplyUse::kSwallow;
    // Parameters that are not the client's: its Describe has their number.
    const std::uint32_t hidden =
        header.type == backend::kParameterDescription ? backend.tracker.current().tag : 0;
    const bool translated =
        hidden > 0 || (types_ && (is_description(header.type) ||
                                  (header.type == backend::kDataRow && !row_description_.empty())));
    if (!whole && (is_read(header.type) || swallowing || translated)) break;

    bool forward = true;
    const std::string_view body =
        whole ? rest.substr(kFrameHeaderSize, header.body_size) : std::string_view();
    if (!handle_reply(header.type, body, forward)) {
      send_range(at);
      session_.flush();
      on_backend_lost(
          backend,
          {sqlstate::kProtocolViolation, "server sent a reply that answers no request", {}});
      return bytes.size();
    }
    if (translated) translate_reply(header.type, body, hidden, forward);
    if (header.type == backend::kErrorResponse && (forward || replacement_)) told_ = true;
    if (header.type == backend::kReadyForQuery && forward) told_ = false;
    const std::size_t taken = whole ? header.frame_size() : rest.size();
    if (!whole) {
      backend.passing = header.frame_size() - rest.size();
      backend.passing_forward = forward;
    }
    if (!forward) {
      send_range(at);
      forward_from = at + taken;
    }
    at += taken;
    if (replacement_) {
      replacement_ = false;
      std::string& out = session_.worker().client_out();
      session_.enqueue(out);
      out.clear();
    }
    if (backend.tracker.current().kind == RequestKind::kLocal) {
      send_range(at);
      forward_from = at;
      append_due_local();
    }
    if (header.type == backend::kReadyForQuery) {
      // What follows may belong to somebody else: the reply leaves, then the server.
      at == bytes.size() ? send_last_range() : send_range(at);
      forward_from = at;
      settle_transaction();
    }
  }
  send_last_range();
  session_.flush();
  return at;
}

// The message in client_out() replaces the server's. `hidden`: of a ParameterDescription, how many
// of the last parameters are not for the client.
void ServerLink::translate_reply(char type, std::string_view body, std::uint32_t hidden,
                                 bool& forward) {
  if (type == backend::kRowDescription) {
    row_description_.clear();
    if (types_->row_carries_oids(body)) row_description_ = body;
  }
  if (!forward) return;
  if (body.size() < 2 + hidden * 4) hidden = 0;
  body.remove_suffix(hidden * 4);
  std::string& out = session_.worker().client_out();
  char header[kFrameHeaderSize];
  header[0] = type;
  store_be32(header + 1, static_cast<std::uint32_t>(body.size() + 4));
  out.append(header, sizeof header);
  const std::size_t at = out.size();
  out.append(body);
  if (type == backend::kRowDescription) {
    types_->translate_row_description(out.data() + at, body.size());
  } else if (type == backend::kParameterDescription) {
    if (hidden > 0) store_be16(out.data() + at, static_cast<std::uint16_t>(body.size() / 4));
    if (types_) types_->translate_parameter_description(out.data() + at, body.size());
  } else {
    types_->translate_row(row_description_, out.data() + at, body.size());
  }
  replacement_ = true;
  forward = false;
}

bool ServerLink::handle_reply(char type, std::string_view body, bool& forward) {
  if (type == backend::kReadyForQuery && !decode_ready_for_query(body)) return false;
  ResponseTracker& tracker = backend_->tracker;
  const Reply reply = tracker.on_message(type);
  forward = reply.request.use == ReplyUse::kForward;
  switch (reply.outcome) {
    case ReplyOutcome::kProgress:
      break;
    case ReplyOutcome::kComplete:
      if (type == backend::kReadyForQuery) {
        on_ready_for_query(body, reply, forward);
      } else {
        on_completed(reply.request);
      }
      break;
    case ReplyOutcome::kError:
      on_request_error(body, reply, forward);
      return true;
    case ReplyOutcome::kAsync:
      if (type == backend::kParameterStatus) {
        note_parameter_status(*backend_, body);
        // While preparing, the differences are told once, at the end.
        if (stage_ == Stage::kPreparing) {
          forward = false;
        } else {
          forward = true;
          state_.known = backend_->memory.reported;
          session_.parameters_changed();
        }
      } else if (type == backend::kNotificationResponse) {
        // In the other modes the listening hub delivers.
        forward = session_.pool_mode() == PoolMode::kSession;
      }
      return true;
    case ReplyOutcome::kUnsolicited:
      forward = false;
      if (auto error = decode_error_response(body)) {
        on_backend_lost(*backend_, error->to_error());
      }
      return true;
    case ReplyOutcome::kStray:
      forward = false;
      return true;
    case ReplyOutcome::kViolation:
      return false;
  }
  if (type == backend::kCommandComplete) on_command_complete(body, reply, forward);
  if (type == backend::kDataRow && stage_ == Stage::kProbing && !forward) read_probe_row(body);
  return true;
}

void ServerLink::on_ready_for_query(std::string_view body, const Reply& reply, bool& forward) {
  const auto transaction = decode_ready_for_query(body);
  if (!transaction) return;
  backend_->transaction = *transaction;
  if (!forward) {
    if (server_state_ && stage_ == Stage::kProbing) adopt_state();
    return;
  }
  forward = !withhold_ready_;
  drop_group(reply.request.tag);
  if (*transaction == TransactionStatus::kIdle) {
    // How a block ended, its command's tag has told. Whatever came behind it, or a COMMIT that
    // failed, is undone by the error.
    if (failed_) {
      roll_back_settings();
    } else {
      state_.settings.commit();
      session_.settle_channels(true);
    }
    if (ddl_ && backend_->tracker.empty()) {
      ddl_ = false;
      pool_.routines_changed();
    }
    if (backend_->tracker.empty()) {
      portals_.clear();  // they go with their transaction
      state_.has_local_settings = (state_.pins & kEffectSetConfig) != 0;
    }
  }
  failed_ = false;
  substitute_.clear();
  session_.count_query(pool_, backend_->request_at, *transaction == TransactionStatus::kIdle);
}

void ServerLink::roll_back_settings() {
  // Before this transaction's first request the server stood as the session wanted.
  state_.settings.rollback();
  session_.settle_channels(false);
  backend_->memory.settings = state_.settings.current();
}

void ServerLink::on_command_complete(std::string_view body, const Reply& reply, bool& forward) {
  if (reply.request.use == ReplyUse::kSwallow) return;
  const std::uint32_t tag = reply.request.tag;
  if (!groups_.empty() && tag != 0 && groups_.front().tag == tag) {
    EffectGroup& group = groups_.front();
    if (group.next < group.effects.size()) {
      // Moved out first: applying it may end in this group's removal.
      const CompletionEffect effect = std::move(group.effects[group.next++]);
      if (reply.request.kind == RequestKind::kExecute) drop_group(tag);
      apply(effect);
      if (effect.silent) {
        forward = false;
      } else if (!effect.tag.empty()) {
        forward = false;
        append_command_complete(session_.worker().client_out(), effect.tag);
        replacement_ = true;
      }
      if (effect.verb == Verb::kRollbackTo) return;
    }
  }
  if (body.starts_with("ROLLBACK")) {
    roll_back_settings();
  } else if (body.starts_with("COMMIT") || body.starts_with("PREPARE TRANSACTION")) {
    state_.settings.commit();
    session_.settle_channels(true);
  }
}

void ServerLink::apply(const CompletionEffect& effect) {
  SessionSettings& settings = state_.settings;
  NameValuesPtr& there = backend_->memory.settings;
  switch (effect.verb) {
    case Verb::kSet:
      settings.set(effect.name, effect.text);
      there = with(there, effect.name, effect.text);
      break;
    case Verb::kSetSessionAuthorization:
      // It gives up the role as well (miscinit.c).
      settings.set(effect.name, effect.text);
      settings.reset("role");
      there = without(with(there, effect.name, effect.text), "role");
      break;
    case Verb::kSetCharacteristics:
      for (const auto& [name, statement] : session_characteristics(effect.text)) {
        settings.set(name, statement);
        there = with(there, name, statement);
      }
      break;
    case Verb::kReset:
      settings.reset(effect.name);
      if (const auto startup = settings.startup_statement(effect.name); !startup.empty()) {
        there = with(there, effect.name, startup);
      } else {
        there = without(there, effect.name);
      }
      break;
    case Verb::kResetAll:
      settings.reset_all();
      there = SessionSettings::untouched_by_reset_all(there);
      if (effect.restored) there = settings.current();
      break;
    case Verb::kDiscardAll:
      settings.discard_all();
      there = effect.restored ? settings.current() : NameValues::empty();
      if (discarded_) {
        // What is there now has been made behind it.
        state_.names.confirm(effect.change);
        discarded_.reset();
      } else {
        state_.names.clear();
        state_.unnamed.tag = 0;
        backend_->memory.prepared.clear();
        backend_->memory.unnamed_tag = 0;
      }
      session_.unlisten_all();
      pins_here_ = kEffectNone;
      session_.set_pins(pool_, kEffectNone);
      owner_.on_link_discarded(*this);
      break;
    case Verb::kSavepoint:
      settings.savepoint(effect.name);
      break;
    case Verb::kReleaseSavepoint:
      settings.release_savepoint(effect.name);
      break;
    case Verb::kRollbackTo:
      settings.rollback_to(effect.name);
      there = settings.current();
      break;
    case Verb::kPrepare:
      end_preparing(effect.statement->id);
      state_.names.confirm(effect.change);
      break;
    case Verb::kDeallocate:
    case Verb::kDeallocateAll:
      state_.names.confirm(effect.change);
      break;
    case Verb::kExecute:
      // The protocol prepares what PREPARE does not: a SET, say.
      if (effect.statement && !names_statement(effect.statement->effect.verb)) {
        apply(effect.statement->effect);
      }
      break;
    case Verb::kListen:
      backend_->memory.listening = true;
      session_.listen(effect.name);
      break;
    case Verb::kUnlisten:
      session_.unlisten(effect.name);
      break;
    case Verb::kUnlistenAll:
      session_.unlisten_all();
      break;
    default:
      break;
  }
}

void ServerLink::on_completed(const Request& request) {
  const bool ours = request.use == ReplyUse::kSwallow;
  switch (request.kind) {
    case RequestKind::kParse:
      if (request.tag == kUnnamed || (!ours && request.tag & kUnnamed)) {
        --unnamed_unanswered_;
      } else if (ours) {
        end_preparing(request.tag);
      } else if (const StatementPtr named = state_.names.confirm(request.tag)) {
        end_preparing(named->id);
      }
      break;
    case RequestKind::kExecute:
      if (ours) end_preparing(request.tag);
      break;
    case RequestKind::kClose:
      if (ours) end_preparing(request.tag, true);
      break;
    default:
      break;
  }
}

void ServerLink::on_request_error(std::string_view body, const Reply& reply, bool& forward) {
  failed_ = true;
  replace_error(body, reply, forward);
  const ResponseTracker& tracker = backend_->tracker;
  for (std::size_t i = tracker.discarded_count(); i-- > 0;) undo_request(tracker.discarded(i));
  undo_request(reply.request);
  const auto error = decode_error_response(body);
  if (!error) return;
  if (reply.request.use == ReplyUse::kSwallow && stage_ == Stage::kPreparing) {
    preparing_error_ = error->to_error();
  }
  if (reply.request.use == ReplyUse::kSwallow && server_state_) {
    // Nobody knows what stands there.
    server_state_.reset();
    pins_here_ |= kEffectSetConfig;
    session_.set_pins(pool_, pins_here_);
  }
  // A plan that DDL has made useless stays with the server: nobody else should meet it.
  if (error->field(error_field::kRoutine) == "RevalidateCachedQuery") {
    backend_->close_when_idle = true;
  }
  session_.note_error(pool_, *error);
}

// What the client reads instead of the server's error, which stands in client_out() then.
void ServerLink::replace_error(std::string_view body, const Reply& reply, bool& forward) {
  const Request& request = reply.request;
  const auto error = decode_error_response(body);
  if (!error) return;
  std::string& out = session_.worker().client_out();
  const auto say = [&](const Error& instead) {
    append_error_response(out, Severity::kError, instead);
    replacement_ = true;
    forward = false;
  };
  if (std::string deadlock = session_.error_of_deadlock(body); !deadlock.empty()) {
    if (request.use == ReplyUse::kSwallow) return;
    out.append(deadlock);
    replacement_ = true;
    forward = false;
    return;
  }
  if (request.use == ReplyUse::kSwallow) {
    const bool unasked = request.kind == RequestKind::kQuery ||
                         (request.kind == RequestKind::kExecute && request.tag == 0);
    if (unasked) return;
    if (request.tag & kAhead && request.tag != kUnnamed) {
      substitute_ = renamed_error(body);
      return;
    }
    // In a pipeline an error of ours skips the client's own requests too: it must be told.
    forward = true;
  } else if (request.kind == RequestKind::kExecute && request.tag == kLocalRefusal) {
    say(refusal_);
    return;
  } else if (request.kind == RequestKind::kQuery) {
    const bool missing = error->sqlstate() == sqlstate::kInvalidStatementName;
    const EffectGroup* group = !groups_.empty() && groups_.front().tag == request.tag &&
                                       groups_.front().next < groups_.front().effects.size()
                                   ? &groups_.front()
                                   : nullptr;
    if (missing && group && !group->effects[group->next].failure.message.empty()) {
      say(group->effects[group->next].failure);
      return;
    }
    if ((missing || error->sqlstate() == sqlstate::kInFailedTransaction) && !substitute_.empty()) {
      out.append(substitute_);
      substitute_.clear();
      replacement_ = true;
      forward = false;
      return;
    }
  }
  if (body.find(kServerName) == std::string_view::npos) return;
  out.append(renamed_error(body));
  replacement_ = true;
  forward = false;
}

// The whole message, with the client's names for its statements.
std::string ServerLink::renamed_error(std::string_view body) const {
  std::string text;
  while (!body.empty()) {
    const std::size_t at = body.find(kServerName);
    text.append(body.substr(0, at));
    if (at == std::string_view::npos) break;
    body.remove_prefix(at + kServerName.size());
    std::uint64_t id = 0;
    const auto [end, problem] = std::from_chars(body.data(), body.data() + body.size(), id);
    const std::string_view name =
        problem == std::errc() ? state_.names.name_of(id) : std::string_view();
    if (name.empty()) {
      text.append(kServerName);
      continue;
    }
    text.append(name);
    body.remove_prefix(static_cast<std::size_t>(end - body.data()));
  }
  std::string message(1, backend::kErrorResponse);
  message.resize(kFrameHeaderSize);
  store_be32(message.data() + 1, static_cast<std::uint32_t>(text.size() + 4));
  return message + text;
}

void ServerLink::drop_group(std::uint32_t tag) {
  if (tag != 0 && !groups_.empty() && groups_.front().tag == tag) groups_.pop_front();
}

void ServerLink::append_due_local() {
  std::string& out = session_.worker().client_out();
  while (const auto local = backend_->tracker.pop_due_local()) {
    if ((local->tag & 3) == kLocalParseComplete) {
      append_parse_complete(out);
    } else {
      append_close_complete(out);
    }
    state_.names.confirm(local->tag >> 2);
  }
  session_.enqueue(out);
  out.clear();
}

// A ReadyForQuery has been handled: is this server still ours?
void ServerLink::settle_transaction() {
  if (stage_ == Stage::kPreparing) {
    if (preparing_error_.message.empty()) {
      become_ready();
      owner_.on_link_ready(*this);
      return;
    }
    Backend& backend = *backend_;
    backend_ = nullptr;
    stage_ = Stage::kNone;
    Error error = std::move(preparing_error_);
    error.message = "cannot restore the session's settings: " + error.message;
    pool_.discard(backend, "a setting could not be replayed");
    owner_.on_link_refused(*this, error);
    return;
  }
  if (stage_ == Stage::kProbing && backend_->tracker.empty()) stage_ = Stage::kReady;
  if (fence_ && stage_ == Stage::kReady && backend_->tracker.clean() && passing_in_ == 0) {
    fence_ = false;
    catch_up_settings();
  }
  if (stage_ == Stage::kReady && backend_->transaction == TransactionStatus::kIdle &&
      backend_->tracker.clean() && passing_in_ == 0 && session_.pool_mode() != PoolMode::kSession) {
    if (pin_candidates_ != kEffectNone) probe();
  }
  if (std::exchange(request_waits_, false)) session_.resume();
  if (backend_ && stage_ == Stage::kReady) release_if_free();
  owner_.on_link_request_done(*this);
}

// May something of the session's stand on the server that a ROLLBACK does not take away? A session
// lock outlives the transaction that took it, and inside one nobody has asked yet.
bool ServerLink::may_leave_traces() const {
  constexpr std::uint32_t kTraces = kSeenByProbe | kStaysPinned | kEffectOpaque;
  return ((state_.pins | pins_here_ | pin_candidates_) & kTraces) != 0;
}

void ServerLink::probe() {
  const std::uint32_t candidates = pin_candidates_;
  pin_candidates_ = kEffectNone;
  pins_here_ |= candidates & kStaysPinned;
  if ((candidates & kEffectSequenceWrite) && state_.reads_sequences) {
    pins_here_ |= kEffectSequenceWrite;
  }
  // Without any so far, a place for them is kept until the server has said.
  if (pins_here_ != kEffectNone) session_.set_pins(pool_, pins_here_);
  constexpr std::uint32_t kWorthAsking =
      kSeenByProbe | kEffectOpaque | kEffectMayRelease | kEffectSetConfig;
  const bool only_release = (candidates & kWorthAsking) == kEffectMayRelease;
  if ((candidates & kWorthAsking) == 0) return;
  if (only_release && (pins_here_ & kSeenByProbe) == 0) return;
  stage_ = Stage::kProbing;
  if (candidates & kEffectOpaque) {
    server_state_ = std::make_unique<ServerState>();
    inject(std::string(kProbe).append(";").append(state_query()));
  } else {
    inject(kProbe);
  }
}

void ServerLink::read_probe_row(std::string_view body) {
  const auto row = decode_data_row(body);
  if (!row) return;
  std::vector<std::string_view> values;
  for (const WireValue& value : *row) values.push_back(value.bytes);
  if (server_state_ && values.size() == 4) return read_state_row(values);
  std::uint32_t seen = kEffectNone;
  constexpr std::uint32_t kColumns[] = {kEffectTempObject, kEffectAdvisoryLock, kEffectHoldCursor};
  for (std::size_t column = 0; column < 3 && column < values.size(); ++column) {
    if (values[column] == "t") seen |= kColumns[column];
  }
  pins_here_ = (pins_here_ & ~kSeenByProbe) | seen;
  session_.set_pins(pool_, pins_here_);
}

}  // namespace pgshunt
