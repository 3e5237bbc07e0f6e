// Averages of SHOW STATS: what each pool did in the last whole statistics period (stats_period).
//
// One for each worker, on its thread. The console adds up the workers' sums before it divides, so
// that an average over all of them is one.
#pragma once

#include <unordered_map>

#include "proxy/net/event_loop.h"
#include "proxy/pool/statistics.h"
#include "proxy/worker.h"

namespace pgshunt {

class StatAverages {
 public:
  using Pools = std::unordered_map<PoolKey, std::unique_ptr<Pool>, PoolKeyHash>;

  // Often enough that periods end when they should: the worker's tick.
  void tick(TimePoint now, Clock::duration period, const Pools& pools);
  // Zero as long as no period has ended with this pool in it.
  PoolStatistics last_period(const PoolKey& pool) const;
  double period_seconds() const { return seconds_; }

 private:
  struct Entry {
    PoolStatistics at_start;
    PoolStatistics added;
  };
  std::unordered_map<PoolKey, Entry, PoolKeyHash> entries_;
  TimePoint started_{};
  double seconds_ = 0;
};

}  // namespace pgshunt
