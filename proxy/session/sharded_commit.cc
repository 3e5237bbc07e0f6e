// A sharded session's writes on several shards: may they be, and how they are committed together.
#include <algorithm>

#include "proxy/database.h"
#include "proxy/proxy.h"
#include "proxy/session/session.h"
#include "proxy/session/sharded_conversation.h"
#include "proxy/two_phase/two_phase.h"
#include "proxy/worker.h"

namespace pgshunt {

bool ShardedConversation::in_two_phases() const {
  return session_.database()->config.on_cross_shard_write == CrossShardWrite::kTwoPhase;
}

// Told at the statement, not at COMMIT: the application can still do something else.
std::optional<ShardedConversation::Verdict> ShardedConversation::hold_write(
    std::span<const ShardId> shards) {
  fitness_since_ = {};
  std::vector<ShardId> writers = transaction_.writers();
  for (const ShardId shard : shards) {
    if (std::find(writers.begin(), writers.end(), shard) == writers.end()) writers.push_back(shard);
  }
  const bool known = writers.size() == transaction_.writers().size() && transaction_.open();
  if (writers.size() < 2 || known) return std::nullopt;
  const Database& database = *session_.database();
  const auto name_of = [&](ShardId shard) {
    return "\"" + database.config.shards[shard].name + "\"";
  };
  switch (database.config.on_cross_shard_write) {
    case CrossShardWrite::kOnePhase:
      return std::nullopt;
    case CrossShardWrite::kRefuse:
      return refuse({sqlstate::kFeatureNotSupported,
                     "this transaction has written on shard " + name_of(writers[0]) +
                         " and cannot write on shard " + name_of(writers[1]),
                     "Keep a transaction's writes to one key, or set on_cross_shard_write = "
                     "\"two_phase\"."});
    case CrossShardWrite::kTwoPhase:
      break;
  }
  TwoPhase& two_phase = worker_.proxy().two_phase();
  bool wait = false;
  for (const ShardId shard : writers) {
    const auto told = [worker = &worker_, id = session_.state().id] {
      worker->post([id](Worker& there) {
        if (Session* session = there.find_session(id)) session->resume();
      });
    };
    const std::optional<Status> fit = two_phase.fit(database, shard, told);
    wait |= !fit;
    if (fit && !*fit) return refuse(fit->error());
  }
  if (!wait) return std::nullopt;
  fitness_since_ = worker_.loop().now();
  return Verdict::kWait;
}

void ShardedConversation::note_write(ShardId shard, bool writes) {
  if (writes && transaction_.open()) transaction_.write(shard);
}

void ShardedConversation::begin_commit(const std::vector<ServerLink*>& links, bool all_wrote,
                                       bool first_last) {
  std::vector<CommitCoordinator::Writer> writers;
  for (ServerLink* each : links) {
    const auto at = std::find_if(links_.begin(), links_.end(),
                                 [&](const auto& owned) { return owned.get() == each; });
    const auto shard = static_cast<ShardId>(at - links_.begin());
    writers.push_back({each, all_wrote || transaction_.has_written(shard)});
  }
  commit_ = std::make_unique<CommitCoordinator>(session_, *this, writers, first_last);
  commit_->start();
}

void ShardedConversation::on_commit_done(CommitCoordinator& coordinator) {
  const bool failed = coordinator.outcome() != CommitMachine::Outcome::kCommitted;
  const std::string complaint = failed ? coordinator.error_response() : std::string();
  worker_.bury(std::move(commit_));
  std::string& out = worker_.client_out();
  if (after_ == After::kEndTransaction) {
    settle_session(!failed);
    // What a routine has set stays on a server that has prepared, whatever becomes of it then.
    for (const auto& each : links_) {
      if (failed && each && each->held() && each->may_have_set()) {
        each->forget_server("what a routine may have set was rolled back");
      }
    }
    const bool silent = std::exchange(silent_end_, false);
    const std::string end_reply = std::exchange(end_reply_, {});
    finish_transaction(failed, !failed);
    if (std::exchange(forget_servers_, false)) {
      for (const auto& each : links_) {
        if (each) each->forget_server("SET was rolled back");
      }
    }
    if (!failed && silent) out.append(end_reply);
    if (!failed && !silent) append_command_complete(out, pending_reply_);
  } else if (!failed) {
    out.append(pending_reply_);
  }
  out.append(complaint);
  unit_done(failed);
  if (coordinator.lost_server() && session_.state().pins != kEffectNone) {
    session_.close_with({sqlstate::kConnectionFailure,
                         "a server that kept state of this session was lost while committing",
                         {}});
  }
}

}  // namespace pgshunt
