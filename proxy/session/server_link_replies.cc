// Server to client: every message is matched to the request it answers, forwarded or swallowed, and
// what it tells about the session is kept.
#include "proxy/log/log.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
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
    kEffectLibrary | kEffectRandomSeed | kEffectForeignSession | kEffectSetConfig;

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

}  // namespace

std::size_t ServerLink::on_backend_bytes(Backend& backend, std::string_view bytes) {
  std::size_t at = 0;
  std::size_t forward_from = 0;  // [forward_from, at) goes to the client as it is
  const auto send_range = [&](std::size_t end) {
    if (end > forward_from) session_.enqueue(bytes.substr(forward_from, end - forward_from));
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
    if (!whole && (is_read(header.type) || swallowing)) break;

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
      send_range(at);
      forward_from = at;
      settle_transaction();
    }
  }
  send_range(at);
  session_.flush();
  return at;
}

bool ServerLink::handle_reply(char type, std::string_view body, bool& forward) {
  ResponseTracker& tracker = backend_->tracker;
  const Reply reply = tracker.on_message(type);
  forward = reply.request.use == ReplyUse::kForward;
  switch (reply.outcome) {
    case ReplyOutcome::kProgress:
      break;
    case ReplyOutcome::kComplete:
      if (type == backend::kReadyForQuery) on_ready_for_query(body, reply, forward);
      break;
    case ReplyOutcome::kError:
      on_request_error(body, reply);
      if (!refusal_.message.empty() && reply.request.kind == RequestKind::kExecute &&
          reply.request.tag == kLocalRefusal) {
        forward = false;
        std::string& out = session_.worker().client_out();
        append_error_response(out, Severity::kError, refusal_);
        refusal_ = {};
        replacement_ = true;
        return true;
      }
      // fail_transaction(): nobody asked.
      if (reply.request.use == ReplyUse::kSwallow && reply.request.kind == RequestKind::kExecute) {
        return true;
      }
      // In a pipeline an error of ours skips the client's own requests too: it must be told.
      if (!forward && reply.request.kind != RequestKind::kQuery) forward = true;
      break;
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
  if (!forward) return;
  forward = !withhold_ready_;
  drop_group(reply.request.tag);
  if (*transaction == TransactionStatus::kIdle) {
    // How a block ended, its command's tag has told. Whatever came behind it, or a COMMIT that
    // failed, is undone by the error.
    if (failed_) {
      roll_back_settings();
    } else {
      state_.settings.commit();
    }
    if (backend_->tracker.empty()) portals_.clear();  // they go with their transaction
  }
  failed_ = false;
  session_.count_query(pool_, backend_->request_at, *transaction == TransactionStatus::kIdle);
}

void ServerLink::roll_back_settings() {
  // Before this transaction's first request the server stood as the session wanted.
  state_.settings.rollback();
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
      if (!effect.tag.empty()) {
        forward = false;
        append_command_complete(session_.worker().client_out(), effect.tag);
        replacement_ = true;
      }
      if (effect.verb == Verb::kRollbackTo) return;
    }
  }
  if (body.starts_with("ROLLBACK")) {
    roll_back_settings();
  } else if (body.starts_with("COMMIT")) {
    state_.settings.commit();
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
      break;
    case Verb::kDiscardAll:
      settings.discard_all();
      there = NameValues::empty();
      state_.prepared.clear();
      state_.unnamed.tag = 0;
      backend_->memory.prepared.clear();
      backend_->memory.unnamed_tag = 0;
      session_.unlisten_all();
      session_.set_pins(pool_, kEffectNone);
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
      state_.prepared[effect.name] = effect.prepares;
      backend_->memory.prepared.add(effect.prepares->id);
      break;
    case Verb::kDeallocate:
      if (const auto found = state_.prepared.find(effect.name); found != state_.prepared.end()) {
        backend_->memory.prepared.forget(found->second->id);
        state_.prepared.erase(found);
      }
      break;
    case Verb::kDeallocateAll:
      state_.prepared.clear();
      backend_->memory.prepared.clear();
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

void ServerLink::on_request_error(std::string_view body, const Reply& reply) {
  ResponseTracker& tracker = backend_->tracker;
  failed_ = true;
  // A Parse carries its statement's id (0: the unnamed one); other requests their effect group.
  const auto forget_parse = [&](const Request& parse) {
    if (parse.tag == 0) backend_->memory.unnamed_tag = 0;
    backend_->memory.prepared.forget(parse.tag);
  };
  if (reply.request.kind == RequestKind::kParse) forget_parse(reply.request);
  for (std::size_t i = 0; i < tracker.discarded_count(); ++i) {
    const Request& skipped = tracker.discarded(i);
    if (skipped.kind == RequestKind::kParse) {
      forget_parse(skipped);
    } else {
      drop_group(skipped.tag);
    }
  }
  if (reply.request.kind != RequestKind::kParse) drop_group(reply.request.tag);
  const auto error = decode_error_response(body);
  if (!error) return;
  if (reply.request.use == ReplyUse::kSwallow && stage_ == Stage::kPreparing) {
    preparing_error_ = error->to_error();
  }
  session_.note_error(pool_, *error);
}

void ServerLink::drop_group(std::uint32_t tag) {
  if (tag != 0 && !groups_.empty() && groups_.front().tag == tag) groups_.pop_front();
}

void ServerLink::append_due_local() {
  std::string& out = session_.worker().client_out();
  while (const auto local = backend_->tracker.pop_due_local()) {
    if (local->tag == kLocalParseComplete) {
      append_parse_complete(out);
    } else if (local->tag == kLocalCloseComplete) {
      append_close_complete(out);
    }
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
  if (stage_ == Stage::kReady && backend_->transaction == TransactionStatus::kIdle &&
      backend_->tracker.clean() && session_.pool_mode() != PoolMode::kSession) {
    if (pin_candidates_ != kEffectNone) probe();
  }
  if (request_waits_ && backend_->tracker.empty()) {
    request_waits_ = false;
    session_.resume();
  }
  if (backend_ && stage_ == Stage::kReady) release_if_free();
  owner_.on_link_request_done(*this);
}

void ServerLink::probe() {
  const std::uint32_t candidates = pin_candidates_;
  pin_candidates_ = kEffectNone;
  std::uint32_t pins = state_.pins | (candidates & kStaysPinned);
  if ((candidates & kEffectSequenceWrite) && state_.reads_sequences) pins |= kEffectSequenceWrite;
  session_.set_pins(pool_, pins);
  constexpr std::uint32_t kWorthAsking =
      kSeenByProbe | kEffectOpaque | kEffectMayRelease | kEffectSetConfig;
  const bool only_release = (candidates & kWorthAsking) == kEffectMayRelease;
  if ((candidates & kWorthAsking) == 0) return;
  if (only_release && (state_.pins & kSeenByProbe) == 0) return;
  stage_ = Stage::kProbing;
  inject(kProbe);
}

void ServerLink::read_probe_row(std::string_view body) {
  const auto row = decode_data_row(body);
  if (!row) return;
  std::uint32_t seen = kEffectNone;
  std::size_t column = 0;
  for (const WireValue& value : *row) {
    constexpr std::uint32_t kColumns[] = {kEffectTempObject, kEffectAdvisoryLock,
                                          kEffectHoldCursor};
    if (column < 3 && value.bytes == "t") seen |= kColumns[column];
    ++column;
  }
  session_.set_pins(pool_, (state_.pins & ~kSeenByProbe) | seen);
}

}  // namespace pgshunt
