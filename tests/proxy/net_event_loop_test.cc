#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "proxy/net/event_loop.h"
#include "tests/proxy/net_test_support.h"

namespace pgshunt {
namespace {

using namespace testing;

struct Handler : IoHandler {
  std::function<void(std::uint32_t)> then;
  void on_io(std::uint32_t events) override { then(events); }
};

// Two connected sockets; `ours` is watched, `theirs` is the peer.
struct Pair {
  DescriptorPair fds = unix_pair();
  int ours = fds.first;
  int theirs = fds.second;
  ~Pair() {
    ::close(ours);
    if (theirs >= 0) ::close(theirs);
  }
  void make_readable() const { EXPECT_EQ(1, ::write(theirs, "x", 1)); }
};

TEST(EventLoop, FiresTimersInOrderOfTheirDeadlines) {
  EventLoop loop;
  std::mt19937 random(7);
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<TimePoint> fired;
  for (int i = 0; i < 200; ++i) {
    const TimePoint deadline = loop.now() + std::chrono::microseconds(random() % 30'000);
    timers.push_back(std::make_unique<Timer>(loop, [&, deadline] {
      EXPECT_LE(deadline, loop.now());
      fired.push_back(deadline);
    }));
    timers.back()->arm(deadline);
  }
  run_until(loop, [&] { return fired.size() == timers.size(); });
  EXPECT_TRUE(std::is_sorted(fired.begin(), fired.end()));
}

TEST(EventLoop, FiresAtTheLastDeadlineArmed) {
  EventLoop loop;
  TimePoint fired_at{};
  Timer timer(loop, [&] { fired_at = loop.now(); });
  timer.arm_after(1ms);
  const TimePoint later = loop.now() + 20ms;
  timer.arm(later);
  run_until(loop, [&] { return fired_at != TimePoint{}; });
  EXPECT_GE(fired_at, later);
  EXPECT_FALSE(timer.armed());

  fired_at = {};
  timer.arm_after(1h);
  timer.arm_after(1ms);  // earlier than the entry in the heap
  run_until(loop, [&] { return fired_at != TimePoint{}; });
}

TEST(EventLoop, DoesNotFireACancelledTimer) {
  EventLoop loop;
  bool done = false;
  Timer cancelled(loop, [] { FAIL() << "cancelled timer fired"; });
  Timer end(loop, [&] { done = true; });
  cancelled.arm_after(1ms);
  end.arm_after(5ms);
  cancelled.cancel();
  EXPECT_FALSE(cancelled.armed());
  run_until(loop, [&] { return done; });
}

TEST(EventLoop, LetsATimerCallbackDestroyItsTimerAndOthersDueInTheSameTurn) {
  EventLoop loop;
  int fired = 0;
  std::unique_ptr<Timer> first;
  std::unique_ptr<Timer> second;
  // Captured state is heap-allocated, so a callback freed while it runs is seen by the sanitizer.
  const auto witness = std::make_shared<int>(42);
  const auto kill_both = [&, witness, padding = std::string(100, 'x')] {
    ++fired;
    first.reset();
    second.reset();
    EXPECT_EQ(42, *witness);
    EXPECT_EQ(100u, padding.size());
  };
  first = std::make_unique<Timer>(loop, kill_both);
  second = std::make_unique<Timer>(loop, kill_both);
  first->arm(loop.now());
  second->arm(loop.now());
  run_until(loop, [&] { return fired > 0; });
  loop.run_once(0ms);
  EXPECT_EQ(1, fired);
}

TEST(EventLoop, LetsATimerCallbackReplaceItsTimer) {
  EventLoop loop;
  std::unique_ptr<Timer> timer;
  int generation = 0;
  std::function<void()> replace = [&] {
    ++generation;
    timer = std::make_unique<Timer>(loop, replace);
    timer->arm(loop.now());
  };
  replace();
  run_until(loop, [&] { return generation == 5; });
}

TEST(EventLoop, EndsTheTurnEvenIfATimerRearmsItselfInThePast) {
  EventLoop loop;
  int fired = 0;
  std::optional<Timer> timer;
  timer.emplace(loop, [&] {
    ++fired;
    timer->arm(loop.now() - 1s);
  });
  timer->arm(loop.now());
  loop.run_once(0ms);
  EXPECT_EQ(1, fired);
  loop.run_once(1h);
  EXPECT_EQ(2, fired);
}

TEST(EventLoop, KeepsLiveTimersWhenManyShortLivedOnesAreSweptOut) {
  EventLoop loop;
  int fired = 0;
  Timer keeper(loop, [&] { ++fired; });
  keeper.arm_after(5ms);
  for (int i = 0; i < 10'000; ++i) {
    Timer brief(loop, [] { FAIL() << "destroyed timer fired"; });
    brief.arm_after(1ms);
  }
  run_until(loop, [&] { return fired == 1; });
}

TEST(EventLoop, ReportsExactlyTheWantedReadiness) {
  EventLoop loop;
  Pair pair;
  std::uint32_t seen = 0;
  Handler handler;
  handler.then = [&](std::uint32_t events) { seen |= events; };
  const EventLoop::Token token = loop.add(pair.ours, handler, kIoRead);
  loop.run_once(0ms);
  EXPECT_EQ(kIoNone, seen);
  loop.modify(token, kIoWrite);
  pair.make_readable();
  loop.run_once(0ms);
  EXPECT_EQ(kIoWrite, seen);
  seen = 0;
  loop.modify(token, kIoRead | kIoWrite);
  loop.run_once(0ms);
  EXPECT_EQ(kIoRead | kIoWrite, seen);
  loop.remove(token);
  seen = 0;
  loop.run_once(0ms);
  EXPECT_EQ(kIoNone, seen);
}

TEST(EventLoop, KeepsReportingWhatWasNotRead) {
  EventLoop loop;
  Pair pair;
  int calls = 0;
  Handler handler;
  handler.then = [&](std::uint32_t) { ++calls; };
  const EventLoop::Token token = loop.add(pair.ours, handler, kIoRead);
  pair.make_readable();
  loop.run_once(0ms);
  loop.run_once(0ms);
  EXPECT_EQ(2, calls);
  loop.remove(token);
}

TEST(EventLoop, ReportsNothingToWhoWantsNothingNotEvenAHangUp) {
  EventLoop loop;
  Pair pair;
  int calls = 0;
  Handler handler;
  handler.then = [&](std::uint32_t) { ++calls; };
  const EventLoop::Token token = loop.add(pair.ours, handler, kIoNone);
  ::close(std::exchange(pair.theirs, -1));
  loop.run_once(0ms);
  EXPECT_EQ(0, calls);
  loop.modify(token, kIoRead);
  loop.run_once(0ms);
  EXPECT_EQ(1, calls);
  loop.modify(token, kIoNone);
  loop.run_once(0ms);
  EXPECT_EQ(1, calls);
  loop.remove(token);
}

// Both descriptors are ready in one turn; whichever is served first removes both.
TEST(EventLoop, DropsEventsOfADescriptorRemovedInTheSameTurn) {
  EventLoop loop;
  Pair a, b;
  int calls = 0;
  auto first = std::make_unique<Handler>();
  auto second = std::make_unique<Handler>();
  const EventLoop::Token token_a = loop.add(a.ours, *first, kIoRead);
  const EventLoop::Token token_b = loop.add(b.ours, *second, kIoRead);
  const auto remove_both = [&](std::uint32_t) {
    ++calls;
    loop.remove(token_a);
    loop.remove(token_b);
    // Not `first.reset()`: the running function lives in it.
  };
  first->then = second->then = remove_both;
  a.make_readable();
  b.make_readable();
  loop.run_once(0ms);
  EXPECT_EQ(1, calls);
}

// As above, but the slot of the removed registration is taken again before its stale event comes
// up.
TEST(EventLoop, DoesNotGiveAStaleEventToTheNextOwnerOfTheSlot) {
  EventLoop loop;
  Pair a, b, quiet;
  int calls = 0;
  Handler first, second, newcomer;
  newcomer.then = [](std::uint32_t) { FAIL() << "an event of the previous owner"; };
  const EventLoop::Token token_a = loop.add(a.ours, first, kIoRead);
  const EventLoop::Token token_b = loop.add(b.ours, second, kIoRead);
  std::vector<EventLoop::Token> reused;
  first.then = second.then = [&](std::uint32_t) {
    ++calls;
    loop.remove(token_a);
    loop.remove(token_b);
    reused.push_back(loop.add(quiet.ours, newcomer, kIoRead));
    reused.push_back(loop.add(::dup(quiet.ours), newcomer, kIoRead));
  };
  a.make_readable();
  b.make_readable();
  loop.run_once(0ms);
  EXPECT_EQ(1, calls);
  ASSERT_EQ(2u, reused.size());
  EXPECT_TRUE(reused[0] == token_a || reused[1] == token_a);
  loop.remove(reused[0]);
  loop.remove_and_close(reused[1]);
}

TEST(EventLoop, RunsPostedWorkOfOtherThreadsInOrder) {
  EventLoop loop;
  constexpr int kThreads = 4;
  constexpr int kPosts = 5'000;
  std::vector<int> last(kThreads, -1);
  int total = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPosts; ++i) {
        loop.post([&, t, i] {
          EXPECT_EQ(last[t] + 1, i);
          last[t] = i;
          if (++total == kThreads * kPosts) loop.stop();
        });
      }
    });
  }
  loop.run();
  EXPECT_EQ(kThreads * kPosts, total);
  for (std::thread& thread : threads) thread.join();
}

// A post must wake a loop that waits without a timeout, every time.
TEST(EventLoop, WakesForEveryPostWhileAsleep) {
  EventLoop ping, pong;
  int rounds = 0;
  std::function<void()> serve = [&] {
    if (++rounds == 2'000) {
      pong.stop();
      ping.stop();
      return;
    }
    pong.post([&] { ping.post(serve); });
  };
  std::thread other([&] { pong.run(); });
  ping.post(serve);
  ping.run();
  other.join();
  EXPECT_EQ(2'000, rounds);
}

TEST(EventLoop, RunsDeferredWorkAfterAllReadyDescriptors) {
  EventLoop loop;
  Pair a, b;
  int served = 0;
  std::vector<int> served_before_deferred;
  Handler handler;
  handler.then = [&](std::uint32_t) {
    ++served;
    loop.defer([&] { served_before_deferred.push_back(served); });
  };
  const EventLoop::Token token_a = loop.add(a.ours, handler, kIoRead);
  const EventLoop::Token token_b = loop.add(b.ours, handler, kIoRead);
  a.make_readable();
  b.make_readable();
  loop.run_once(0ms);
  EXPECT_EQ((std::vector<int>{2, 2}), served_before_deferred);
  loop.remove(token_a);
  loop.remove(token_b);
}

TEST(EventLoop, RunsWorkDeferredByDeferredWorkInOrderOfDeferring) {
  EventLoop loop;
  std::vector<int> order;
  loop.defer([&] {
    order.push_back(1);
    loop.defer([&] { order.push_back(3); });
  });
  loop.defer([&] { order.push_back(2); });
  loop.run_once(1h);
  EXPECT_EQ((std::vector<int>{1, 2, 3}), order);
}

TEST(EventLoop, ServesDescriptorsBetweenWorkThatDefersItselfForEver) {
  EventLoop loop;
  Pair pair;
  Handler handler;
  bool served = false;
  handler.then = [&](std::uint32_t) { served = true; };
  const EventLoop::Token token = loop.add(pair.ours, handler, kIoRead);
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    if (runs == 1) pair.make_readable();
    if (!served) loop.defer(again);
  };
  loop.defer(again);
  loop.run_once(1h);
  EXPECT_FALSE(served);
  loop.run_once(1h);  // does not wait for the hour
  EXPECT_TRUE(served);
  EXPECT_LT(runs, 20);
  loop.remove(token);
}

TEST(EventLoop, StopsBeforeItRan) {
  EventLoop loop;
  loop.stop();
  loop.run();
}

}  // namespace
}  // namespace pgshunt
