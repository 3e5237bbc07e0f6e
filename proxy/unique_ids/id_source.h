// Where the proxy's own values come from: ids that it takes from a shard by pgshunt.unique_id(),
// for what has to be known before a statement is routed. Installs the function where it is missing.
// See README.md.
//
// One thread with libpq connections of its own. take() and install() may be called from any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "protocol/result.h"
#include "proxy/control_connection.h"
#include "proxy/database.h"
#include "proxy/unique_ids/id_stock.h"

namespace pgshunt {

class IdSource {
 public:
  using Snapshots = std::function<std::shared_ptr<const Snapshot>()>;
  using Ids = std::vector<std::int64_t>;

  explicit IdSource(Snapshots snapshots);
  ~IdSource();
  IdSource(const IdSource&) = delete;
  IdSource& operator=(const IdSource&) = delete;

  // Ends the thread; the others may be called still, and are not answered any more.
  void stop();

  // The answer comes on the source's thread: `count` ids that are nobody else's; or the error, when
  // that lasts, or no shard has answered for ten seconds.
  void take(const IdSupply& from, std::size_t count, std::function<void(Result<Ids>)> told);
  // All shards have the function afterwards, each with a slot of its own; and sequences of sharded
  // tables that gave the same numbers on several of them give none twice from then on: those that
  // have given none yet, or all (`used`). What is known of the shards' catalogs is to be read anew
  // then.
  void install(const std::string& database, bool used, std::function<void(Status)> told);

 private:
  struct Job {
    IdSupply from;
    std::size_t count = 0;
    bool used = false;
    std::variant<std::function<void(Result<Ids>)>, std::function<void(Status)>> told;
    std::chrono::steady_clock::time_point deadline;
  };
  // A connection that is kept for a while.
  struct Place {
    ControlTarget target;
    ControlConnection connection;
  };

  void add(Job job);
  void run();
  bool serve(const Job& job);
  Result<Ids> take_ids(const IdSupply& from, std::size_t count);
  Result<Ids> take_from(const IdSupply& from, const ControlTarget& target, std::size_t count);
  Status install_on_shards(const std::string& database, bool used);
  Result<std::vector<ControlTarget>> targets_of(const std::string& database) const;

  Snapshots snapshots_;
  std::map<std::string, Place> places_;  // by database; the thread's own
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job> jobs_;
  std::thread thread_;
};

}  // namespace pgshunt
