// Sessions that wait for each other on different shards, where no server can see it: found, and
// one of them told to give way. See README.md.
//
// One thread for the process, with control connections of its own, asleep until some transaction
// over several shards has waited for longer than deadlock_timeout.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "proxy/control_connection.h"
#include "proxy/database.h"
#include "proxy/deadlock/wait_graph.h"

namespace pgshunt {

class DeadlockDetector {
 public:
  struct Hooks {
    std::function<std::shared_ptr<const Snapshot>()> snapshot;
    // Asks every worker for the sessions of the database that hold servers. Calls `told` as many
    // times as it returns, from other threads, each with a worker's own.
    std::function<std::size_t(const std::string& database,
                              std::function<void(std::vector<SessionLocks>)> told)>
        survey;
    // Ends the session's statement with 40P01 and this detail, if it is still the one that waits.
    std::function<void(const SessionLocks& victim, const std::string& detail)> end_wait;
    // Opens a server beyond its pool's size for the session, if it still waits for one.
    std::function<void(const SessionLocks& queued)> serve;
  };

  explicit DeadlockDetector(Hooks hooks);
  ~DeadlockDetector();
  DeadlockDetector(const DeadlockDetector&) = delete;
  DeadlockDetector& operator=(const DeadlockDetector&) = delete;

  // --- any thread ---
  // A transaction over several shards of the database has waited for long.
  void suspect(const std::string& database);
  void stop();

 private:
  using Connections = std::map<std::pair<std::string, std::string>, ControlConnection>;

  void run();
  void look_at(const std::string& name);
  void serve_oldest(const std::vector<SessionLocks>& queued, const Database& database);
  std::optional<std::vector<SessionLocks>> sessions_of(const std::string& database);
  std::vector<LockWait> waits_of(const Snapshot& snapshot, const Database& database,
                                 const std::vector<SessionLocks>& sessions);
  ControlConnection* connection_to(const Snapshot& snapshot, const Database& database,
                                   std::size_t shard);

  const Hooks hooks_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::set<std::string> suspects_;
  // The thread's own. By database and shard; kept while there is reason for suspicion.
  Connections connections_;
  std::uint64_t version_ = 0;  // of the configuration they were made by
  std::thread thread_;
};

}  // namespace pgshunt
