// Keeps what the routines of one server database do to sessions (router/routine_effects.h) up to
// date. One for each server database, shared by all workers' pools: whoever finds it due when a
// server is about to be lent reads it on that server.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "proxy/net/event_loop.h"
#include "router/routine_effects.h"

namespace pgshunt {

struct PoolSpec;

// Any thread.
class RoutineWatch {
 public:
  static std::shared_ptr<RoutineWatch> of(const PoolSpec& spec);

  // Changes with effects(), and is never that of another watch.
  std::uint32_t version() const { return version_.load(std::memory_order_acquire); }
  // Never null. Until they are known, RoutineEffects::unknown().
  std::shared_ptr<const RoutineEffects> effects() const;

  // Should somebody read them? One load.
  bool due(TimePoint now) const {
    return now.time_since_epoch().count() >= due_at_.load(std::memory_order_relaxed);
  }
  // Routines, or what calls them, have been changed through the proxy: nothing is known any more.
  void changed();

 private:
  friend class RoutineReading;
  void put(std::shared_ptr<const RoutineEffects> effects);

  mutable std::mutex mutex_;
  std::atomic<std::uint32_t> version_{0};
  std::atomic<Clock::rep> due_at_{0};
  std::shared_ptr<const RoutineEffects> effects_ = RoutineEffects::unknown();
  std::string fingerprint_;
  std::uint64_t changes_ = 0;
};

// One reading, on one server. On its worker's thread.
class RoutineReading {
 public:
  // Null if another one has begun meanwhile.
  static std::unique_ptr<RoutineReading> begin(const std::shared_ptr<RoutineWatch>& watch,
                                               TimePoint now);
  const std::string& query() const { return query_; }
  void add_row(std::string_view data_row);
  // The server refused: it is none of ours, and its routines are taken to have no effects.
  void fail(std::string_view why);
  // Its ReadyForQuery has come.
  void finish();
  // Unfinished: somebody else shall try.
  ~RoutineReading();

 private:
  std::shared_ptr<RoutineWatch> watch_;
  std::uint64_t changes_ = 0;
  std::string query_;
  RoutineReader reader_;
  bool failed_ = false;
  bool finished_ = false;
};

}  // namespace pgshunt
