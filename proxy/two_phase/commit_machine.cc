#include "proxy/two_phase/commit_machine.h"

#include <algorithm>
#include <utility>

#include "proxy/two_phase/schema.h"

namespace pgshunt {
namespace {

constexpr Sqlstate kTransactionRollback{"40000"};
constexpr Sqlstate kSerializationFailure{"40001"};
constexpr Sqlstate kUniqueViolation{"23505"};
constexpr Sqlstate kUndefinedObject{"42704"};
constexpr Sqlstate kUndefinedFunction{"42883"};
constexpr Sqlstate kUndefinedSchema{"3F000"};

Error not_committed(const std::string& shard) {
  return {kTransactionRollback,
          "shard \"" + shard + "\" has rolled its part back, and so has every other",
          {}};
}

}  // namespace

CommitMachine::CommitMachine(std::string database, std::vector<CommitParticipant> participants,
                             bool first_last)
    : database_(std::move(database)), first_last_(first_last) {
  for (CommitParticipant& each : participants) {
    parts_.push_back({.shard = std::move(each.shard), .wrote = each.wrote});
  }
  const auto wrote = [](const Part& part) { return part.wrote; };
  two_phase_ = std::count_if(parts_.begin(), parts_.end(), wrote) > 1;
  // The first of those that wrote: temporary tables and NOTIFY, which cannot be prepared, are where
  // statements go that could run anywhere.
  if (first_last_) {
    const auto last = std::find_if(parts_.rbegin(), parts_.rend(), wrote);
    decider_ = last == parts_.rend() ? 0 : static_cast<std::size_t>(parts_.rend() - last) - 1;
  } else {
    const auto first = std::find_if(parts_.begin(), parts_.end(), wrote);
    decider_ = first == parts_.end() ? 0 : static_cast<std::size_t>(first - parts_.begin());
  }
}

void CommitMachine::start() {
  phase_ = Phase::kPreparing;
  if (two_phase_) gid_ = make_gid(database_, parts_[decider_].shard, first_last_);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (i == decider_) continue;
    send(i, parts_[i].wrote ? "PREPARE TRANSACTION '" + gid_of(i) + "'" : "COMMIT");
  }
  go_on();
}

void CommitMachine::send(std::size_t index, std::string sql) {
  parts_[index].asked = true;
  steps_.push_back({Step::kSend, index, std::move(sql)});
}

std::vector<CommitMachine::Step> CommitMachine::take_steps() { return std::exchange(steps_, {}); }

bool CommitMachine::waiting() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.asked || part.finishing; });
}

// The first error is the client's.
void CommitMachine::fail(Error error, std::string message) {
  if (std::exchange(failed_, true)) return;
  error_ = std::move(error);
  error_message_ = std::move(message);
}

void CommitMachine::answered(std::size_t index, const Answer& answer) {
  Part& part = parts_[index];
  part.asked = false;
  part.open = answer.in_transaction;
  switch (phase_) {
    case Phase::kPreparing:
      if (answer.error) {
        unfit_ |= answer.error->code == sqlstate::kObjectNotInPrerequisiteState;
        fail(*answer.error, answer.error_message);
      } else if (answer.tag != (part.wrote ? "PREPARE TRANSACTION" : "COMMIT")) {
        // PREPARE in a failed transaction says ROLLBACK, and is no error.
        fail(not_committed(part.shard));
      } else {
        part.prepared = part.wrote;
      }
      break;
    case Phase::kDeciding:
      if (answer.error) {
        Error error = *answer.error;
        std::string message = answer.error_message;
        if (error.code == kUniqueViolation &&
            error.message.find(kDecisionKey) != std::string::npos) {
          error = {kSerializationFailure,
                   "the transaction took too long to commit and was rolled back by recovery",
                   "See recovery_interval."};
          message.clear();
        }
        unfit_ |= error.code == kUndefinedFunction || error.code == kUndefinedSchema;
        fail(std::move(error), std::move(message));
      } else if (answer.tag != "COMMIT") {
        fail(not_committed(part.shard));
      } else {
        commit_prepared();
        return;
      }
      break;
    case Phase::kCommitting:
      // Recovery may have been quicker.
      if (answer.error && answer.error->code != kUndefinedObject) {
        finish_by_other(index);
        return;
      }
      part.prepared = false;
      break;
    case Phase::kAborting:
      if (!part.prepared) break;
      if (answer.error && answer.error->code != kUndefinedObject) {
        in_doubt_ = true;
      } else {
        part.prepared = false;
      }
      break;
    default:
      return;
  }
  go_on();
}

void CommitMachine::lost(std::size_t index, const Error& error) {
  Part& part = parts_[index];
  const bool was_asked = std::exchange(part.asked, false);
  if (std::exchange(part.gone, true)) return;
  switch (phase_) {
    case Phase::kPreparing:
      if (part.prepared) break;
      // It may have prepared before it went.
      if (was_asked && part.wrote) in_doubt_ = true;
      part.open = false;
      fail({kTransactionRollback,
            "shard \"" + part.shard +
                "\" was lost while the transaction committed, which is rolled back: " +
                error.message,
            {}});
      break;
    case Phase::kDeciding:
      if (index != decider_) break;
      part.open = false;
      phase_ = Phase::kAsking;
      if (two_phase_) {
        steps_.push_back({Step::kAsk, decider_, {}});
      } else {
        error_ = error;
        outcome(std::nullopt);
      }
      return;
    case Phase::kCommitting:
      if (part.prepared && was_asked) {
        finish_by_other(index);
        return;
      }
      break;
    case Phase::kAborting:
      if (part.prepared) in_doubt_ = true;
      part.open = false;
      break;
    default:
      return;
  }
  go_on();
}

void CommitMachine::outcome(std::optional<bool> committed) {
  if (phase_ != Phase::kAsking) return;
  if (committed.value_or(false)) {
    commit_prepared();
    return;
  }
  if (committed) {
    fail({kTransactionRollback,
          "shard \"" + parts_[decider_].shard +
              "\" was lost before the transaction had committed, which is rolled back",
          {}});
    abort();
    return;
  }
  in_doubt_ = two_phase_;
  const std::string reason = error_.message.empty() ? "" : ": " + error_.message;
  error_ = {sqlstate::kTransactionResolutionUnknown,
            "shard \"" + parts_[decider_].shard +
                "\" was lost while committing, the transaction's outcome is unknown" + reason,
            {}};
  if (two_phase_) {
    error_.hint =
        "Every shard will have the same outcome once they can be reached. "
        "SHOW TRANSACTIONS has it as " +
        gid_.text + ".";
  }
  become_done(Outcome::kUnknown);
}

void CommitMachine::finished(std::size_t index, bool done) {
  Part& part = parts_[index];
  if (phase_ != Phase::kCommitting || !std::exchange(part.finishing, false)) return;
  if (done) {
    part.prepared = false;
  } else {
    in_doubt_ = true;
  }
  go_on();
}

void CommitMachine::out_of_time() {
  if (!settling()) return;
  in_doubt_ = true;
  become_done(outcome_);
}

void CommitMachine::finish_by_other(std::size_t index) {
  parts_[index].finishing = true;
  steps_.push_back({Step::kFinish, index, {}});
}

void CommitMachine::decide() {
  phase_ = Phase::kDeciding;
  if (!two_phase_) return send(decider_, "COMMIT");
  send(decider_, "SELECT pgshunt.decide('" + gid_.text + "', '" + gid_.key + "'); COMMIT");
}

void CommitMachine::commit_prepared() {
  phase_ = Phase::kCommitting;
  outcome_ = Outcome::kCommitted;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (!parts_[i].prepared || (first_last_ && i == 0)) continue;
    if (parts_[i].gone) {
      finish_by_other(i);
    } else {
      send(i, "COMMIT PREPARED '" + gid_of(i) + "'");
    }
  }
  go_on();
}

// The part whose locks others wait for, once all others are visible.
void CommitMachine::commit_first() {
  first_told_ = true;
  const bool alone = std::none_of(parts_.begin() + 1, parts_.end(),
                                  [](const Part& part) { return part.prepared; });
  if (!alone) {
    in_doubt_ = true;
  } else if (parts_[0].gone) {
    finish_by_other(0);
  } else {
    send(0, "COMMIT PREPARED '" + gid_of(0) + "'");
  }
}

void CommitMachine::abort() {
  phase_ = Phase::kAborting;
  outcome_ = Outcome::kAborted;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    Part& part = parts_[i];
    if (part.gone) {
      in_doubt_ |= part.prepared;
    } else if (part.prepared) {
      send(i, "ROLLBACK PREPARED '" + gid_of(i) + "'");
    } else if (part.open) {
      send(i, "ROLLBACK");
    }
  }
  go_on();
}

void CommitMachine::go_on() {
  if (waiting()) return;
  switch (phase_) {
    case Phase::kPreparing:
      if (failed_) {
        abort();
      } else {
        decide();
      }
      break;
    case Phase::kDeciding:
      abort();  // otherwise it goes on elsewhere
      break;
    case Phase::kCommitting:
      if (first_last_ && !first_told_ && parts_[0].prepared) {
        commit_first();
        go_on();
      } else {
        become_done(Outcome::kCommitted);
      }
      break;
    case Phase::kAborting:
      become_done(Outcome::kAborted);
      break;
    default:
      break;
  }
}

void CommitMachine::become_done(Outcome outcome) {
  outcome_ = outcome;
  phase_ = Phase::kDone;
  steps_.push_back({Step::kDone, 0, {}});
}

}  // namespace pgshunt
