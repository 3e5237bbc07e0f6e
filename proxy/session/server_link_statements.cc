// Prepared statements: which of them the server has, making them there when a request needs one,
// and what becomes of them when a pipeline fails half-way.
#include <algorithm>
#include <utility>

#include "proxy/database.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session.h"
#include "proxy/session/statement_reading.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// A statement and portal for what the proxy executes inside a client's pipeline.
constexpr std::string_view kOwnName = "pgshunt_run";
constexpr std::uint32_t kIdMask = (1u << 31) - 1;

}  // namespace

// Does a request of an earlier segment decide whether the server has this statement?
bool ServerLink::unanswered(const Statement& statement) const {
  for (const Preparing& each : preparing_) {
    if (each.segment >= segment_) return false;
    if (each.id == statement.id) return true;
    if (statement.effect.statement && each.id == statement.effect.statement->id) return true;
  }
  return false;
}

// `keep`: how many of the most recently used statements the same request needs.
void ServerLink::ensure_prepared(const Statement& statement, Place place, std::size_t keep) {
  if (statement.effect.verb == Verb::kExecute && statement.effect.statement) {
    ensure_prepared(*statement.effect.statement, place, keep++);
  }
  if (backend_->memory.prepared.use(statement.id)) return;
  make_room_for_statement(keep);
  ResponseTracker& tracker = backend_->tracker;
  const std::uint32_t ahead = place == Place::kBefore ? kAhead : 0;
  const std::uint32_t tag = (static_cast<std::uint32_t>(statement.id) & kIdMask) | ahead;
  const NameValuesPtr settings = state_.parse_settings();
  // A ROLLBACK means the same under all, and may have to be made where nothing can be set any more.
  const bool by_settings = !controls_transaction(statement.effect.verb);
  const bool local = state_.has_local_settings;
  // What a transaction or a function has set cannot be given back afterwards, so most is left as it
  // is then: names are looked up anew under another search_path (plancache.c). Strings are not read
  // anew.
  const bool other_strings = by_settings && local &&
                             statement.conforming_strings != session_.standard_conforming_strings();
  const bool under_others = by_settings && !local && statement.settings != settings;
  if (under_others) change_settings(*settings, *statement.settings, ahead);
  if (other_strings) set_local_strings(statement.conforming_strings, ahead);
  if (statement.by_sql) {
    run_silently("PREPARE " + statement.server_name + " " + statement.text, tag);
  } else {
    tracker.push(RequestKind::kParse, ReplyUse::kSwallow, tag);
    append_parse(rewritten(), statement.server_name, statement.text, server_types(statement.types));
  }
  if (other_strings) set_local_strings(!statement.conforming_strings, ahead);
  if (under_others) change_settings(*statement.settings, *settings, ahead);
  if (place == Place::kBefore) {
    tracker.push(RequestKind::kSync, ReplyUse::kSwallow);
    append_sync(rewritten());
  }
  begin_preparing(statement.id);
  pool_.statistics().server_parses++;
}

void ServerLink::change_settings(const NameValues& from, const NameValues& to,
                                 std::uint32_t ahead) {
  for (const std::string& step : settings_steps(from, to)) run_silently(step, kStep | ahead);
}

// Outside of a transaction block it lasts until the Sync.
void ServerLink::set_local_strings(bool conforming, std::uint32_t ahead) {
  run_silently(conforming ? "SET LOCAL standard_conforming_strings TO on"
                          : "SET LOCAL standard_conforming_strings TO off",
               kStep | ahead);
}

// By messages of the extended protocol: a Query would end the client's pipeline.
void ServerLink::run_silently(std::string_view sql, std::uint32_t tag) {
  ResponseTracker& tracker = backend_->tracker;
  std::string& out = rewritten();
  close_own_statement();
  tracker.push(RequestKind::kParse, ReplyUse::kSwallow, kStep | (tag & kAhead));
  append_parse(out, kOwnName, sql, {});
  tracker.push(RequestKind::kBind, ReplyUse::kSwallow);
  append_bind_text(out, kOwnName, kOwnName, {});
  tracker.push(RequestKind::kExecute, ReplyUse::kSwallow, tag);
  append_execute(out, kOwnName);
  tracker.push(RequestKind::kClose, ReplyUse::kSwallow);
  append_close(out, TargetKind::kPortal, kOwnName);
  close_own_statement();
}

// A statement that the server has, and the client gives a name to: whether its Parse succeeds where
// it stands (behind an error, in a transaction that has failed) only the server can tell.
void ServerLink::parse_again(const Statement& statement, ChangeTag change) {
  close_own_statement();
  backend_->tracker.push(RequestKind::kParse, ReplyUse::kForward, change);
  append_parse(rewritten(), kOwnName, statement.text, statement.types);
  close_own_statement();
}

// Before each use as well as behind it: one that failed half-way may have left the statement.
void ServerLink::close_own_statement() {
  backend_->tracker.push(RequestKind::kClose, ReplyUse::kSwallow);
  append_close(rewritten(), TargetKind::kStatement, kOwnName);
}

void ServerLink::make_room_for_statement(std::size_t keep) {
  PreparedOnServer& prepared = backend_->memory.prepared;
  const std::size_t limit = pool_.spec().config->max_prepared_statements;
  while (limit != 0 && prepared.size() >= std::max(limit, keep + 1)) {
    const std::uint64_t oldest = prepared.oldest();
    prepared.forget(oldest);
    backend_->tracker.push(RequestKind::kClose, ReplyUse::kSwallow,
                           static_cast<std::uint32_t>(oldest) & kIdMask);
    append_close(rewritten(), TargetKind::kStatement, "pgshunt_" + std::to_string(oldest));
    preparing_.push_back({oldest, segment_, true});
  }
}

void ServerLink::begin_preparing(std::uint64_t id) {
  preparing_.push_back({id, segment_, false});
  backend_->memory.prepared.add(id);
}

// The oldest attempt at `id` (of which a tag carries only some bits) has been answered. Returns all
// of the id; 0 if there was none.
std::uint64_t ServerLink::end_preparing(std::uint64_t id, bool closes) {
  const auto found = std::find_if(preparing_.begin(), preparing_.end(), [&](const Preparing& each) {
    return (each.id & kIdMask) == (id & kIdMask) && each.closes == closes;
  });
  if (found == preparing_.end()) return 0;
  const std::uint64_t whole = found->id;
  preparing_.erase(found);
  return whole;
}

// --- the unnamed statement -----------------------------------------------------------------------

// Whose it is, and which of theirs.
std::uint64_t ServerLink::unnamed_key() const { return (state_.id << 32) ^ state_.unnamed.tag; }

void ServerLink::begin_unnamed() {
  backend_->memory.unnamed_tag = unnamed_key();
  unnamed_segment_ = segment_;
  ++unnamed_unanswered_;
}

void ServerLink::ensure_unnamed() {
  const SessionState::Unnamed& unnamed = state_.unnamed;
  if (unnamed.effect.verb == Verb::kExecute && unnamed.effect.statement) {
    ensure_prepared(*unnamed.effect.statement, Place::kInPipeline);
  }
  if (backend_->memory.unnamed_tag == unnamed_key()) return;
  backend_->tracker.push(RequestKind::kParse, ReplyUse::kSwallow, kUnnamed);
  append_parse(rewritten(), {}, unnamed.text, server_types(unnamed.types));
  begin_unnamed();
}

// --- names ---------------------------------------------------------------------------------------

// A PREPARE or DEALLOCATE is about to be executed: changes the name that it is about. `keep` as in
// ensure_prepared().
Status ServerLink::change_name(CompletionEffect& effect, std::size_t keep) {
  StatementNames& names = state_.names;
  switch (effect.verb) {
    case Verb::kPrepare:
      if (const Status free = free_name(session_, effect.name); !free) return free;
      make_room_for_statement(keep);
      effect.change = names.add(effect.name, effect.statement);
      begin_preparing(effect.statement->id);
      break;
    case Verb::kDeallocate:
      if (!names.find(effect.name)) return no_such_statement(effect.name);
      effect.change = names.remove(effect.name);
      break;
    case Verb::kDeallocateAll:
      effect.change = names.remove_all();
      break;
    default:
      break;
  }
  return Ok{};
}

// --- failures ------------------------------------------------------------------------------------

// An error, or the skip behind one: `request` was not done. Newest first.
void ServerLink::undo_request(const Request& request) {
  const bool ours = request.use == ReplyUse::kSwallow;
  switch (request.kind) {
    case RequestKind::kParse:
      if (request.tag & kUnnamed && !(ours && request.tag != kUnnamed)) {
        --unnamed_unanswered_;
        backend_->memory.unnamed_tag = 0;
        if (!ours && state_.unnamed.tag == (request.tag & ~kUnnamed)) state_.unnamed.tag = 0;
      } else if (ours) {
        backend_->memory.prepared.forget(end_preparing(request.tag));
      } else {
        undo_change(request.tag);
      }
      break;
    case RequestKind::kExecute:
      if (ours) {
        backend_->memory.prepared.forget(end_preparing(request.tag));
      } else if (request.tag == kLocalRefusal) {
        refusal_ = {};
      } else {
        undo_group(request.tag);
      }
      break;
    case RequestKind::kQuery:
      undo_group(request.tag);
      break;
    case RequestKind::kClose:
      if (const std::uint64_t id = end_preparing(request.tag, true); ours && id != 0) {
        backend_->memory.prepared.add(id);
      }
      break;
    case RequestKind::kLocal:
      undo_change(request.tag >> 2);
      break;
    default:
      break;
  }
}

void ServerLink::undo_change(ChangeTag change) {
  if (const StatementPtr added = state_.names.undo(change)) {
    if (end_preparing(added->id) != 0) backend_->memory.prepared.forget(added->id);
  }
}

void ServerLink::undo_group(std::uint32_t tag) {
  const auto group = std::find_if(groups_.begin(), groups_.end(),
                                  [&](const EffectGroup& each) { return each.tag == tag; });
  if (tag == 0 || group == groups_.end()) return;
  for (std::size_t i = group->effects.size(); i-- > group->next;) {
    if (group->effects[i].change != 0) undo_change(group->effects[i].change);
    if (group->effects[i].verb == Verb::kDiscardAll && discarded_) {
      backend_->memory.prepared = std::move(*discarded_);
      discarded_.reset();
    }
  }
  groups_.erase(group);
}

// The server is gone, and what it was asked with it.
void ServerLink::forget_requests() {
  if (std::exchange(ddl_, false)) pool_.routines_changed();
  server_state_.reset();
  discarded_.reset();
  groups_.clear();
  preparing_.clear();
  unnamed_unanswered_ = 0;
  substitute_.clear();
  refusal_ = {};
  state_.names.undo_all();
}

}  // namespace pgshunt
