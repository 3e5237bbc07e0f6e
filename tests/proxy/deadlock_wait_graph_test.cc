// Which waits are a deadlock over shards, and which only look like one.

#include <gtest/gtest.h>

#include <chrono>

#include "proxy/deadlock/wait_graph.h"

namespace pgshunt {
namespace {

TimePoint at(int seconds) { return TimePoint(std::chrono::seconds(seconds)); }
std::chrono::system_clock::time_point began(int seconds) {
  return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
}

SessionServer holding(std::size_t shard, std::uint32_t pid) {
  return {shard, pid, false, true, {}};
}
SessionServer asking(std::size_t shard, std::uint32_t pid) {
  return {shard, pid, true, true, at(9)};
}
// Outside of a transaction.
SessionServer reading(std::size_t shard, std::uint32_t pid) {
  return {shard, pid, true, false, at(9)};
}

SessionLocks session(std::uint64_t id, std::vector<SessionServer> servers) {
  return {0, id, static_cast<std::uint32_t>(id), began(static_cast<int>(id)), std::move(servers),
          {}};
}

LockWait wait(std::size_t shard, std::uint32_t waiter, std::uint32_t blocker) {
  return {shard, waiter, "since", blocker, {}};
}

// Ids of the sessions in the circle, each with the number of its waits.
using Circle = std::vector<std::pair<std::uint64_t, std::size_t>>;
Circle circle(const std::vector<SessionLocks>& sessions, const std::vector<LockWait>& waits) {
  Circle out;
  if (const auto found = find_deadlock(sessions, waits)) {
    for (const WaitingSession& each : *found) out.push_back({each.session.id, each.waits.size()});
  }
  return out;
}

// Pids are shard and session: 12 is session 2's server on shard 1.
const std::vector<SessionLocks> kTwo{session(1, {holding(0, 1), asking(1, 11)}),
                                     session(2, {asking(0, 2), holding(1, 12)})};
const std::vector<LockWait> kEachOther{wait(1, 11, 12), wait(0, 2, 1)};

TEST(WaitGraph, TwoSessionsThatWaitForEachOther) {
  EXPECT_EQ(circle(kTwo, kEachOther), (Circle{{1, 1}, {2, 1}}));
  EXPECT_EQ(victim_of(*find_deadlock(kTwo, kEachOther)), 1u);
}

TEST(WaitGraph, AMereWaitIsNone) {
  EXPECT_EQ(circle(kTwo, {wait(1, 11, 12)}), Circle());
  EXPECT_EQ(circle(kTwo, {}), Circle());
  EXPECT_EQ(circle({}, kEachOther), Circle());
}

TEST(WaitGraph, TheSamePidOfAnotherShardIsAnotherProcess) {
  EXPECT_EQ(circle(kTwo, {wait(1, 11, 12), wait(1, 2, 1)}), Circle());
}

TEST(WaitGraph, ThreeSessionsOnThreeShards) {
  const std::vector<SessionLocks> three{session(1, {holding(0, 1), asking(1, 11)}),
                                        session(2, {holding(1, 12), asking(2, 22)}),
                                        session(3, {asking(0, 3), holding(2, 23)})};
  EXPECT_EQ(circle(three, {wait(1, 11, 12), wait(2, 22, 23), wait(0, 3, 1)}),
            (Circle{{1, 1}, {2, 1}, {3, 1}}));
}

TEST(WaitGraph, ACircleOnOneShardIsItsServersToBreak) {
  const std::vector<SessionLocks> two{session(1, {asking(0, 1)}), session(2, {asking(0, 2)})};
  EXPECT_EQ(circle(two, {wait(0, 1, 2), wait(0, 2, 1)}), Circle());
}

TEST(WaitGraph, OthersMayStandBetweenSessions) {
  // Session 1 waits for process 99, which is not the proxy's and waits for session 2.
  EXPECT_EQ(circle(kTwo, {wait(1, 11, 99), wait(1, 99, 12), wait(0, 2, 1)}),
            (Circle{{1, 2}, {2, 1}}));
}

TEST(WaitGraph, WhatIsReadOutsideOfATransactionIsLetGoByItself) {
  // Session 1 reads two shards. What it does on the first ends whatever becomes of the second.
  const std::vector<SessionLocks> two{session(1, {reading(0, 1), reading(1, 11)}),
                                      session(2, {asking(0, 2), holding(1, 12)})};
  EXPECT_EQ(circle(two, kEachOther), Circle());
  // A lock of the session on an idle server does not.
  std::vector<SessionLocks> idle = two;
  idle[0].servers[0].busy = false;
  EXPECT_EQ(circle(idle, kEachOther), (Circle{{1, 1}, {2, 1}}));
}

TEST(WaitGraph, PreparedTransactionsAreTheirCoordinators) {
  std::vector<SessionLocks> two = kTwo;
  two[0].gid = "pgshunt:bank:a:1:s0";
  two[0].since = began(100);  // the younger one, but it commits
  LockWait prepared{0, 2, "since", 0, "pgshunt:bank:a:1:s0:3"};
  const std::vector<LockWait> waits{wait(1, 11, 12), prepared};
  EXPECT_EQ(circle(two, waits), (Circle{{1, 1}, {2, 1}}));
  EXPECT_EQ(victim_of(*find_deadlock(two, waits)), 1u);
  prepared.gid = "pgshunt:bank:a:2:s0:3";  // somebody else's, or nobody's
  EXPECT_EQ(circle(two, {wait(1, 11, 12), prepared}), Circle());
}

TEST(WaitGraph, OnlyTheSameWaitsConfirmIt) {
  const Deadlock deadlock = *find_deadlock(kTwo, kEachOther);
  EXPECT_TRUE(is_confirmed(deadlock, kTwo, kEachOther));
  EXPECT_FALSE(is_confirmed(deadlock, kTwo, {kEachOther[0]}));
  std::vector<LockWait> later = kEachOther;
  later[1].since = "later";
  EXPECT_FALSE(is_confirmed(deadlock, kTwo, later));
  std::vector<SessionLocks> other_request = kTwo;
  other_request[1].servers[0].request_at = at(10);
  EXPECT_FALSE(is_confirmed(deadlock, other_request, kEachOther));
  std::vector<SessionLocks> other_transaction = kTwo;
  other_transaction[0].since = began(50);
  EXPECT_FALSE(is_confirmed(deadlock, other_transaction, kEachOther));
  EXPECT_FALSE(is_confirmed(deadlock, {kTwo[0]}, kEachOther));
}

SessionLocks queued(SessionLocks session, std::size_t shard) {
  session.queued = QueuedFor{shard, at(5)};
  return session;
}

using Indexes = std::vector<std::size_t>;

// Session 1 waits for a server of shard 1, session 2 has one and waits for session 1's lock.
const std::vector<SessionLocks> kQueuedAndLocked{queued(session(1, {holding(0, 1)}), 1),
                                                 session(2, {asking(0, 2), holding(1, 12)})};
const std::vector<LockWait> kForTheQueued{wait(0, 2, 1)};

TEST(WaitGraph, WhoWaitsForAServerOfOneThatWaitsForItsLockIsHeldUp) {
  EXPECT_EQ(find_held_up(kQueuedAndLocked, kForTheQueued), Indexes{0});
  EXPECT_EQ(circle(kQueuedAndLocked, kForTheQueued), Circle());
}

TEST(WaitGraph, WhoWaitsForAServerThatWillBeGivenBackIsNot) {
  EXPECT_EQ(find_held_up(kQueuedAndLocked, {}), Indexes());
  std::vector<SessionLocks> sessions = kQueuedAndLocked;
  sessions.push_back(session(3, {holding(1, 13)}));
  EXPECT_EQ(find_held_up(sessions, kForTheQueued), Indexes());
  // It waits, but not for them.
  EXPECT_EQ(find_held_up(sessions, {kForTheQueued[0], wait(1, 13, 99)}), Indexes());
  EXPECT_EQ(find_held_up(sessions, {kForTheQueued[0], wait(1, 13, 12)}), Indexes{0});
  sessions[2].user = "another";  // its servers are of another pool
  EXPECT_EQ(find_held_up(sessions, kForTheQueued), Indexes{0});
  EXPECT_EQ(find_held_up({queued(session(1, {holding(0, 1)}), 1)}, {}), Indexes());
}

TEST(WaitGraph, WhoWaitsForServersOfEachOtherIsHeldUp) {
  const std::vector<SessionLocks> two{queued(session(1, {holding(0, 1)}), 1),
                                      queued(session(2, {holding(1, 12)}), 0)};
  EXPECT_EQ(find_held_up(two, {}), (Indexes{0, 1}));
}

TEST(WaitGraph, AnotherWaitInThePoolIsAnotherMoment) {
  SessionLocks later = kQueuedAndLocked[0];
  EXPECT_TRUE(is_same_moment(kQueuedAndLocked[0], later));
  later.queued->since = at(6);
  EXPECT_FALSE(is_same_moment(kQueuedAndLocked[0], later));
}

}  // namespace
}  // namespace pgshunt
