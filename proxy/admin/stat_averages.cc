#include "proxy/admin/stat_averages.h"

namespace pgshunt {

void StatAverages::tick(TimePoint now, Clock::duration period, const Pools& pools) {
  if (started_ == TimePoint{}) started_ = now;
  if (now - started_ < period) return;
  seconds_ = std::chrono::duration<double>(now - started_).count();
  started_ = now;
  for (const auto& [key, pool] : pools) {
    Entry& entry = entries_[key];
    entry.added = pool->statistics();
    entry.added -= entry.at_start;
    entry.at_start = pool->statistics();
  }
}

PoolStatistics StatAverages::last_period(const PoolKey& pool) const {
  const auto found = entries_.find(pool);
  return found == entries_.end() ? PoolStatistics{} : found->second.added;
}

}  // namespace pgshunt
