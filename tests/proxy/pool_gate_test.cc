// How many servers a pool may have, and who is served.

#include "proxy/pool/pool_gate.h"

#include <gtest/gtest.h>

#include <memory>

namespace pgshunt {
namespace {

using std::chrono::seconds;
using Turn = PoolGate::Turn;

constexpr std::uint32_t kUnlimited = 0;

PoolGate gate_of(std::uint32_t size, std::uint32_t reserve = 0) {
  return {{.size = size, .min_size = 0, .reserve = reserve, .reserve_after = seconds(5)},
          2,
          std::make_shared<ConnectionBudget>(kUnlimited),
          std::make_shared<ConnectionBudget>(kUnlimited)};
}

TEST(PoolGate, OpensAsManyMoreAsTheWaiterHolds) {
  PoolGate gate = gate_of(1);
  EXPECT_TRUE(gate.try_open(seconds(0), 0));
  EXPECT_FALSE(gate.try_open(seconds(0), 0));
  EXPECT_TRUE(gate.try_open(seconds(0), 2));
  EXPECT_FALSE(gate.try_open(seconds(0), 1));
  EXPECT_TRUE(gate.try_open(seconds(0), 2));
  EXPECT_FALSE(gate.try_open(seconds(0), 2));
}

TEST(PoolGate, TheMostUrgentIsServedFirstAndThenWhoCameFirst) {
  PoolGate gate = gate_of(1);
  const Turn order[] = {{0, 2}, {1, 2}, {1, 1}, {0, 0}, {1, 0}};
  for (const std::size_t i : {3, 4, 0, 2, 1}) gate.enqueue(order[i]);
  EXPECT_EQ(gate.waiting(), 5u);
  for (const Turn& expected : order) {
    Turn turn;
    ASSERT_TRUE(gate.dequeue(turn));
    EXPECT_EQ(turn, expected);
  }
  Turn turn;
  EXPECT_FALSE(gate.dequeue(turn));
}

TEST(PoolGate, WhatWasOpenedForTheUrgentIsNotLentToOthers) {
  PoolGate gate = gate_of(1);
  EXPECT_TRUE(gate.try_open(seconds(0), 0));
  EXPECT_FALSE(gate.surplus());
  EXPECT_TRUE(gate.try_open(seconds(0), 1));
  gate.enqueue({0, 0});
  Turn turn;
  EXPECT_TRUE(gate.surplus());
  EXPECT_FALSE(gate.dequeue(turn));
  gate.enqueue({1, 1});
  EXPECT_FALSE(gate.surplus());
  EXPECT_TRUE(gate.dequeue(turn));
  EXPECT_EQ(turn, (Turn{1, 1}));
  EXPECT_FALSE(gate.dequeue(turn));
  gate.closed();
  EXPECT_FALSE(gate.surplus());
  EXPECT_TRUE(gate.dequeue(turn));
}

TEST(PoolGate, TheReserveIsNoSurplus) {
  PoolGate gate = gate_of(1, 1);
  EXPECT_TRUE(gate.try_open(seconds(0), 0));
  EXPECT_FALSE(gate.try_open(seconds(4), 0));
  EXPECT_TRUE(gate.try_open(seconds(5), 0));
  EXPECT_FALSE(gate.surplus());
  gate.set_limits({.size = 1});
  EXPECT_TRUE(gate.surplus());
}

TEST(PoolGate, WhoGivesUpTakesAnEntryOfItsWorker) {
  PoolGate gate = gate_of(1);
  gate.enqueue({0, 1});
  gate.enqueue({0, 0});
  gate.enqueue({1, 0});
  Turn turn;
  ASSERT_TRUE(gate.dequeue(turn));  // a server is on its way to worker 0
  gate.withdraw({0, 1});            // its other waiter will have it
  ASSERT_TRUE(gate.dequeue(turn));
  EXPECT_EQ(turn, (Turn{1, 0}));
  EXPECT_EQ(gate.waiting(), 0u);
}

TEST(PoolGate, EnoughToOpenIsAsUrgentAsItTakes) {
  PoolGate gate = gate_of(2);
  EXPECT_EQ(gate.enough_to_open(), 0u);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(gate.try_open(seconds(0), gate.enough_to_open()));
  EXPECT_EQ(gate.enough_to_open(), 3u);
  EXPECT_FALSE(gate.try_open(seconds(0), 2));
}

TEST(PoolGate, AMinimumPressesNobodyToMakeRoomForIt) {
  const auto database = std::make_shared<ConnectionBudget>(1);
  PoolGate gate({.size = 2, .min_size = 2}, 1, database, std::make_shared<ConnectionBudget>(0));
  EXPECT_TRUE(gate.try_open_minimum());
  EXPECT_FALSE(gate.try_open_minimum());
  EXPECT_FALSE(database->pressed());
  EXPECT_FALSE(gate.try_open(seconds(0), 0));
  EXPECT_TRUE(database->pressed());
}

}  // namespace
}  // namespace pgshunt
