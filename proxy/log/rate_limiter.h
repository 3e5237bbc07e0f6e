// Thins out errors that repeat, so that a flood of failing logins neither fills the disk nor buries
// everything else. Each (event, shard) may log a burst, then a steady trickle; the lines left out
// are counted, and the count is told with the next line that passes.
//
// Not thread-safe. Bounded: events come from the source, shards from the configuration; past
// kMostKeys all further pairs share one budget.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace pgshunt {

class LogRateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  static constexpr double kBurst = 20;     // lines at once
  static constexpr double kPerSecond = 2;  // lines afterwards
  static constexpr std::size_t kMostKeys = 1024;

  struct Verdict {
    bool write = false;
    std::uint64_t left_out = 0;  // lines of this kind not written since the last one that was
  };
  Verdict ask(std::string_view event, std::string_view shard, Time now);

  // Calls `tell(event, shard, left_out)` for every kind that has been silent for a second and has a
  // count not told yet.
  void sweep(
      Time now,
      const std::function<void(const std::string&, const std::string&, std::uint64_t)>& tell);

 private:
  struct Bucket {
    double tokens = kBurst;
    Time refilled{};
    Time last_asked{};
    std::uint64_t left_out = 0;
  };
  using Key = std::pair<std::string, std::string>;
  struct Less {
    using is_transparent = void;
    using View = std::pair<std::string_view, std::string_view>;
    static View view(const Key& key) { return {key.first, key.second}; }
    static View view(const View& key) { return key; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return view(a) < view(b);
    }
  };
  Bucket& bucket(std::string_view event, std::string_view shard, Time now);

  std::map<Key, Bucket, Less> buckets_;
};

}  // namespace pgshunt
