#include "proxy/log/rate_limiter.h"

#include <algorithm>

namespace pgshunt {

LogRateLimiter::Bucket& LogRateLimiter::bucket(std::string_view event, std::string_view shard,
                                               Time now) {
  auto found = buckets_.find(Less::View{event, shard});
  if (found == buckets_.end() && buckets_.size() >= kMostKeys) {
    event = "other";
    shard = {};
    found = buckets_.find(Less::View{event, shard});
  }
  if (found == buckets_.end()) {
    found = buckets_.emplace(Key(event, shard), Bucket{}).first;
    found->second.refilled = now;
  }
  return found->second;
}

LogRateLimiter::Verdict LogRateLimiter::ask(std::string_view event, std::string_view shard,
                                            Time now) {
  Bucket& bucket = this->bucket(event, shard, now);
  const std::chrono::duration<double> passed = now - bucket.refilled;
  bucket.tokens = std::min(kBurst, bucket.tokens + passed.count() * kPerSecond);
  bucket.refilled = now;
  bucket.last_asked = now;
  if (bucket.tokens < 1) {
    ++bucket.left_out;
    return {};
  }
  bucket.tokens -= 1;
  return {true, std::exchange(bucket.left_out, 0)};
}

void LogRateLimiter::sweep(
    Time now,
    const std::function<void(const std::string&, const std::string&, std::uint64_t)>& tell) {
  for (auto& [key, bucket] : buckets_) {
    if (bucket.left_out == 0 || now - bucket.last_asked < std::chrono::seconds(1)) continue;
    tell(key.first, key.second, std::exchange(bucket.left_out, 0));
  }
}

}  // namespace pgshunt
