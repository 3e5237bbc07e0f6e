// Client to server, extended protocol: statement names are replaced by the proxy's own, and
// statements are made where they are missing.
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"

namespace pgshunt {

ServerLink::Take ServerLink::request_parse(std::string_view frame, std::string_view body) {
  const auto parse = decode_parse(body);
  if (!parse) return invalid(parse.error());
  pool_.statistics().client_parses++;
  if (parse->statement.empty()) return request_parse_unnamed(frame, *parse);

  StatementNames& names = state_.names;
  if (names.undecided(parse->statement)) return wait();
  if (const Status free = free_name(session_, parse->statement); !free)
    return invalid(free.error());
  const Result<StatementPtr> found = statement_of(session_, *parse);
  if (!found) return invalid(found.error());
  const StatementPtr& statement = *found;
  if (!may_begin(statement->effect.verb)) return Take::kInvalid;
  if (unanswered(*statement)) return wait();

  ResponseTracker& tracker = backend_->tracker;
  const ChangeTag change = names.add(parse->statement, statement);
  if (backend_->memory.prepared.use(statement->id)) {
    if (!tracker.empty() || backend_->transaction == TransactionStatus::kFailed) {
      parse_again(*statement, change);
      return Take::kDone;
    }
    tracker.push(RequestKind::kLocal, ReplyUse::kForward, change << 2 | kLocalParseComplete);
    answer_due_locals();
    return Take::kDone;
  }
  make_room_for_statement();
  tracker.push(RequestKind::kParse, ReplyUse::kForward, change);
  if (statement->text == parse->sql && (!types_ || statement->types.empty())) {
    append_parse_renamed(rewritten(), *parse, statement->server_name);
  } else {
    append_parse(rewritten(), statement->server_name, statement->text,
                 server_types(statement->types));
  }
  begin_preparing(statement->id);
  pool_.statistics().server_parses++;
  return Take::kDone;
}

ServerLink::Take ServerLink::request_parse_unnamed(std::string_view frame, const ParseView& parse) {
  const bool rewritten_text = remember_unnamed(session_, parse);
  const SessionState::Unnamed& unnamed = state_.unnamed;
  if (!may_begin(unnamed.effect.verb)) {
    state_.unnamed.tag = 0;
    return Take::kInvalid;
  }
  backend_->tracker.push(RequestKind::kParse, ReplyUse::kForward, kUnnamed | unnamed.tag);
  if (rewritten_text || (types_ && !unnamed.types.empty())) {
    append_parse(rewritten(), {}, unnamed.text, server_types(unnamed.types));
  } else {
    append_verbatim(frame);
  }
  begin_unnamed();
  pool_.statistics().server_parses++;
  return Take::kDone;
}

// Finds the statement that a Bind or Describe names, and makes sure that the server has it.
ServerLink::Take ServerLink::need_statement(std::string_view name, const Statement*& statement,
                                            const CompletionEffect*& effect) {
  if (name.empty()) {
    if (state_.unnamed.tag == 0) return invalid(no_such_statement(name));
    if (unnamed_unanswered_ > 0 && unnamed_segment_ < segment_) return wait();
    effect = &state_.unnamed.effect;
    if (!effect->source.empty() && state_.names.undecided(effect->name)) return wait();
    look_up_unnamed_again();
    if (effect->statement && unanswered(*effect->statement)) return wait();
    return Take::kDone;
  }
  if (state_.names.undecided(name)) return wait();
  const StatementPtr* known = state_.names.find(name);
  if (!known) return invalid(no_such_statement(name));
  if (unanswered(**known)) return wait();
  effect = &(*known)->effect;
  if (!effect->source.empty() && state_.names.undecided(effect->name)) return wait();
  statement = look_up_again(**known);
  effect = &statement->effect;
  if (effect->statement && unanswered(*effect->statement)) return wait();
  return Take::kDone;
}

// EXECUTE and DEALLOCATE mean what their name stands for when they run, not when they were parsed.
const Statement* ServerLink::look_up_again(const Statement& statement) {
  if (statement.effect.source.empty()) return &statement;
  Statement fresh;
  describe_statement(session_, statement.effect.source, fresh.text, fresh.effect);
  if (fresh.text == statement.text) return &statement;
  if (!statement.looked_up || statement.looked_up->text != fresh.text) {
    fresh.types = statement.types;
    fresh.settings = statement.settings;
    fresh.conforming_strings = statement.conforming_strings;
    statement.looked_up = own_statement(std::move(fresh));
  }
  return statement.looked_up.get();
}

void ServerLink::look_up_unnamed_again() {
  SessionState::Unnamed& unnamed = state_.unnamed;
  if (unnamed.effect.source.empty()) return;
  std::string text;
  CompletionEffect effect;
  describe_statement(session_, unnamed.effect.source, text, effect);
  if (text == unnamed.text) return;
  unnamed.text = std::move(text);
  unnamed.effect = std::move(effect);
  unnamed.routines_version = 0;
  // So that it is made again under its own name.
  backend_->memory.unnamed_tag = 0;
}

ServerLink::Take ServerLink::request_bind(std::string_view frame, std::string_view body) {
  const auto bind = decode_bind(body);
  if (!bind) return invalid(bind.error());
  pool_.statistics().binds++;
  const CompletionEffect* effect = nullptr;
  const Statement* statement = nullptr;
  if (const Take found = need_statement(bind->statement, statement, effect); found != Take::kDone) {
    return found;
  }
  const std::uint32_t effects = statement ? effects_of_statement(*statement) : effects_of_unnamed();
  if (!may_proceed(effects)) return Take::kInvalid;
  note_effects(effect->verb, effects);
  if (effect->verb == Verb::kDdl) {
    note_ddl(effect->verb, statement ? statement->text : state_.unnamed.text);
  }
  remember_portal(bind->portal, *effect);
  if (types_) note_result_formats(bind->result_formats);
  if (statement) {
    ensure_prepared(*statement, Place::kInPipeline);
    backend_->tracker.push(RequestKind::kBind);
    append_bind_renamed(rewritten(), *bind, statement->server_name);
  } else {
    ensure_unnamed();
    backend_->tracker.push(RequestKind::kBind);
    append_verbatim(frame);
  }
  return Take::kDone;
}

void ServerLink::note_result_formats(const FormatList& formats) {
  for (std::size_t i = 0; i < formats.size(); ++i) {
    binary_results_ |= formats.of(i) == kFormatBinary;
  }
}

// Only portals whose statement changes the session are worth remembering.
void ServerLink::remember_portal(std::string_view portal, const CompletionEffect& effect) {
  const bool matters = changes_session(effect.verb);
  if (!matters && portals_.empty()) return;
  const std::string name(portal);
  portals_.erase(name);
  if (matters) portals_.emplace(name, effect);
}

ServerLink::Take ServerLink::request_describe(std::string_view frame, std::string_view body) {
  const auto target = decode_describe(body);
  if (!target) return invalid(target.error());
  ResponseTracker& tracker = backend_->tracker;
  if (target->kind == TargetKind::kPortal) {
    tracker.push(RequestKind::kDescribePortal);
    append_verbatim(frame);
    return Take::kDone;
  }
  const CompletionEffect* effect = nullptr;
  const Statement* statement = nullptr;
  if (const Take found = need_statement(target->name, statement, effect); found != Take::kDone) {
    return found;
  }
  if (statement) {
    ensure_prepared(*statement, Place::kInPipeline);
    tracker.push(RequestKind::kDescribeStatement, ReplyUse::kForward, statement->made_values);
    append_describe(rewritten(), TargetKind::kStatement, statement->server_name);
  } else {
    ensure_unnamed();
    tracker.push(RequestKind::kDescribeStatement, ReplyUse::kForward, state_.unnamed.made_values);
    append_verbatim(frame);
  }
  return Take::kDone;
}

ServerLink::Take ServerLink::request_execute(std::string_view frame, std::string_view body) {
  std::uint32_t tag = 0;
  if (!portals_.empty()) {
    const auto execute = decode_execute(body);
    if (!execute) return invalid(execute.error());
    if (const auto portal = portals_.find(std::string(execute->portal)); portal != portals_.end()) {
      CompletionEffect effect = portal->second;
      if (effect.verb == Verb::kListen) {
        if (const Take heard = hear_channel(effect.name); heard != Take::kDone) return heard;
      }
      if (names_statement(effect.verb)) {
        if (state_.names.undecided(effect.name)) return wait();
        if (const Status changed = change_name(effect); !changed) return invalid(changed.error());
      }
      if (effect.verb == Verb::kResetAll || effect.verb == Verb::kDiscardAll) {
        return execute_return(frame, std::move(effect));
      }
      tag = next_group_tag();
      groups_.push_back({tag, 0, {std::move(effect)}});
    }
  }
  if (types_ && binary_results_) {
    // What the rows are is asked right before them: the client may have learned it long ago.
    const auto execute = decode_execute(body);
    if (!execute) return invalid(execute.error());
    backend_->tracker.push(RequestKind::kDescribePortal, ReplyUse::kSwallow);
    append_describe(rewritten(), TargetKind::kPortal, execute->portal);
  }
  backend_->tracker.push(RequestKind::kExecute, ReplyUse::kForward, tag);
  append_verbatim(frame);
  return Take::kDone;
}

// RESET ALL or DISCARD ALL: the startup packet's values are set again behind it, in its pipeline.
// What follows there finds the session without its statements, as it will be.
ServerLink::Take ServerLink::execute_return(std::string_view frame, CompletionEffect effect) {
  const bool discards = effect.verb == Verb::kDiscardAll;
  const bool pooled = session_.pool_mode() != PoolMode::kSession;
  if (discards && pooled) {
    if (discarded_) return wait();  // one at a time
    if (state_.names.undecided()) return wait();
    effect.change = state_.names.remove_all();
    discarded_ = std::make_unique<PreparedOnServer>(std::move(backend_->memory.prepared));
    backend_->memory.prepared.clear();
    backend_->memory.unnamed_tag = 0;
    state_.unnamed.tag = 0;
  }
  effect.restored = true;
  const std::uint32_t tag = next_group_tag();
  groups_.push_back({tag, 0, {std::move(effect)}});
  backend_->tracker.push(RequestKind::kExecute, ReplyUse::kForward, tag);
  append_verbatim(frame);
  const NameValuesPtr& startup = state_.settings.startup();
  if (startup != NameValues::empty()) change_settings(*NameValues::empty(), *startup, 0);
  return Take::kDone;
}

ServerLink::Take ServerLink::request_close(std::string_view frame, std::string_view body) {
  const auto target = decode_close(body);
  if (!target) return invalid(target.error());
  ResponseTracker& tracker = backend_->tracker;
  if (target->kind == TargetKind::kStatement && !target->name.empty()) {
    // Other clients may use the same statement under the same name of ours: it stays.
    StatementNames& names = state_.names;
    if (names.undecided(target->name)) return wait();
    const ChangeTag change = names.find(target->name) ? names.remove(target->name) : 0;
    tracker.push(RequestKind::kLocal, ReplyUse::kForward, change << 2 | kLocalCloseComplete);
    answer_due_locals();
    return Take::kDone;
  }
  if (target->kind == TargetKind::kStatement) {
    state_.unnamed.tag = 0;
    backend_->memory.unnamed_tag = 0;
  }
  tracker.push(RequestKind::kClose);
  append_verbatim(frame);
  return Take::kDone;
}

}  // namespace pgshunt
