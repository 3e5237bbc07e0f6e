// Finishes what coordinators have left prepared on the shards of one database. See README.md.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "proxy/control_connection.h"
#include "proxy/database.h"

namespace pgshunt {

// A prepared transaction that recovery has seen and not finished.
struct InDoubt {
  std::string database;
  std::string gid;
  std::string shard;
  std::string owner;
  double age = 0;  // seconds, at `seen`
  std::chrono::steady_clock::time_point seen;
  std::string decision;  // "commit", "abort", or empty: not known
  std::string problem;   // why it is still there; empty: its time has not come
};

struct RecoveryRules {
  // Prepared transactions younger than this may belong to a commit under way somewhere.
  std::chrono::duration<double> grace{5};
  // ... and this one does, in this process.
  std::function<bool(const std::string& decision)> is_live;
  // ... and this one belongs to nobody any more.
  std::function<bool(const std::string& decision)> is_abandoned;
};

// The decision of that name, made now (abort) if there is none: on the decider's shard. The error
// 55P03 means that it is being committed.
Result<bool> resolve(ControlConnection& decider, const std::string& decision);
// COMMIT PREPARED or ROLLBACK PREPARED; Ok also if somebody else has done it.
Status finish_prepared(const Config& config, const DatabaseConfig& database,
                       const ShardConfig& shard, ControlConnection& connection,
                       const std::string& gid, bool commit, const std::atomic<bool>& stop);

// One round. What is left when it returns, and whether all shards could be asked.
struct RecoveryRound {
  std::vector<InDoubt> left;
  bool complete = true;
};
RecoveryRound recover(const Config& config, const DatabaseConfig& database,
                      const RecoveryRules& rules, bool clean_up, const std::atomic<bool>& stop);

}  // namespace pgshunt
