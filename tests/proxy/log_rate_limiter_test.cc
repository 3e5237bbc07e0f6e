#include <gtest/gtest.h>

#include <vector>

#include "proxy/log/rate_limiter.h"

namespace pgshunt {
namespace {

using Time = LogRateLimiter::Time;
constexpr Time kStart{std::chrono::hours(1)};

// How many of `count` events at once pass.
int passed(LogRateLimiter& limiter, std::string_view event, std::string_view shard, int count,
           Time now) {
  int out = 0;
  for (int i = 0; i < count; ++i) out += limiter.ask(event, shard, now).write;
  return out;
}

TEST(LogRateLimiter, LetsABurstPassThenATrickle) {
  LogRateLimiter limiter;
  EXPECT_EQ(passed(limiter, "e", "", 1000, kStart), 20);
  EXPECT_EQ(passed(limiter, "e", "", 1000, kStart + std::chrono::seconds(1)), 2);
  EXPECT_EQ(passed(limiter, "e", "", 1000, kStart + std::chrono::milliseconds(1500)), 1);
  // Silence earns the burst back, and no more than that.
  EXPECT_EQ(passed(limiter, "e", "", 1000, kStart + std::chrono::hours(1)), 20);
}

TEST(LogRateLimiter, CountsWhatItLeavesOut) {
  LogRateLimiter limiter;
  passed(limiter, "e", "", 100, kStart);
  const auto verdict = limiter.ask("e", "", kStart + std::chrono::seconds(1));
  EXPECT_TRUE(verdict.write);
  EXPECT_EQ(verdict.left_out, 80U);
  EXPECT_EQ(limiter.ask("e", "", kStart + std::chrono::seconds(1)).left_out, 0U);
}

TEST(LogRateLimiter, FloodsOfOneKindLeaveTheOthersAlone) {
  LogRateLimiter limiter;
  passed(limiter, "login_failed", "", 1000, kStart);
  EXPECT_TRUE(limiter.ask("server_lost", "", kStart).write);
  passed(limiter, "server_lost", "s1", 1000, kStart);
  EXPECT_TRUE(limiter.ask("server_lost", "s2", kStart).write);
}

TEST(LogRateLimiter, TellsTheCountOnceAKindIsQuiet) {
  LogRateLimiter limiter;
  std::vector<std::string> told;
  const auto tell = [&](const std::string& event, const std::string& shard, std::uint64_t count) {
    told.push_back(event + "/" + shard + "/" + std::to_string(count));
  };
  passed(limiter, "e", "s", 25, kStart);
  passed(limiter, "quiet", "", 3, kStart);
  limiter.sweep(kStart + std::chrono::milliseconds(500), tell);
  EXPECT_TRUE(told.empty());
  limiter.sweep(kStart + std::chrono::seconds(2), tell);
  limiter.sweep(kStart + std::chrono::seconds(3), tell);
  EXPECT_EQ(told, std::vector<std::string>{"e/s/5"});
}

TEST(LogRateLimiter, StaysBounded) {
  LogRateLimiter limiter;
  for (std::size_t i = 0; i < LogRateLimiter::kMostKeys; ++i) {
    EXPECT_TRUE(limiter.ask("e", std::to_string(i), kStart).write);
  }
  int written = 0;
  for (int i = 0; i < 1000; ++i) written += limiter.ask("new", std::to_string(i), kStart).write;
  EXPECT_EQ(written, 20);
  EXPECT_TRUE(limiter.ask("e", "7", kStart).write);
}

}  // namespace
}  // namespace pgshunt
