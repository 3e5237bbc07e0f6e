// Two-phase commits as far as they concern the whole process: whether a shard is fit for them, what
// became of a commit whose decider was lost, and recovery. See README.md.
//
// Two threads with libpq connections of their own: the attendant does what sessions wait for,
// recovery what nobody waits for. All functions may be called from any thread; answers come by
// Worker::post.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "proxy/database.h"
#include "proxy/two_phase/recovery.h"

namespace pgshunt {

class TwoPhase {
 public:
  using Snapshots = std::function<std::shared_ptr<const Snapshot>()>;

  explicit TwoPhase(Snapshots snapshots);
  ~TwoPhase();
  TwoPhase(const TwoPhase&) = delete;
  TwoPhase& operator=(const TwoPhase&) = delete;

  // Ends both threads; the rest may be called still.
  void stop();

  // May transactions over several shards write on this one? Ok, or why not; nothing: it is being
  // found out (and the schema installed), `told` is called from another thread then.
  std::optional<Status> fit(const Database& database, std::size_t shard,
                            std::function<void()> told);
  // It was not: look again.
  void forget_fitness(const std::string& database);

  // A commit is under way: recovery leaves its gid alone.
  void begin(const std::string& gid);
  // It is over, and nothing is prepared any more, or recovery is to see to it at once.
  void end(const std::string& gid, bool in_doubt);

  // Committed or aborted, by the decider's shard; aborts it if it is not decided. Nothing: could
  // not be known in time.
  void ask(const Database& database, const std::string& gid,
           std::function<void(std::optional<bool>)> told);
  // COMMIT PREPARED on a shard. False: not in time.
  void finish(const Database& database, const std::string& gid, const std::string& shard,
              std::function<void(bool)> told);

  // What recovery has last seen, for SHOW TRANSACTIONS.
  std::vector<InDoubt> in_doubt() const;

 private:
  struct Fitness {
    enum State : std::uint8_t { kAsked, kKnown } state = kAsked;
    Status result = Ok{};
    std::chrono::steady_clock::time_point at;
    std::vector<std::function<void()>> waiting;
  };
  struct Job {
    enum Kind : std::uint8_t { kFitness, kAsk, kFinish } kind = kFitness;
    std::string database;
    std::string shard;
    std::string gid;
    std::chrono::steady_clock::time_point deadline;
    std::function<void(std::optional<bool>)> told;
  };

  void attend();
  void attend_to(std::vector<Job>& jobs);
  void settle_fitness(const Job& job, Status result);
  void add(Job job);
  void recover();

  Snapshots snapshots_;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable recovery_wake_;
  std::map<std::pair<std::string, std::string>, Fitness> fitness_;  // by database and shard
  std::vector<Job> jobs_;
  std::set<std::string> live_;       // gids of commits under way here
  std::set<std::string> abandoned_;  // ... whose coordinator is gone
  std::vector<InDoubt> in_doubt_;
  std::thread attendant_;
  std::thread recovery_;
};

}  // namespace pgshunt
