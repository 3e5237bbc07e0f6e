#include "router/key_directory.h"

#include <gtest/gtest.h>

#include <string>

namespace pgshunt {
namespace {

constexpr KeyPlace kAbsent{KeyPlace::Kind::kAbsent, 0};

TEST(KeyLookups, AKeyIsAskedForOnce) {
  for (const int count : {3, 1000}) {
    KeyLookups lookups;
    for (int round = 0; round < 2; ++round) {
      for (int i = 0; i < count; ++i) {
        lookups.add(static_cast<std::uint16_t>(i % 2), std::to_string(i), round == 1 && i == 1);
      }
    }
    ASSERT_EQ(lookups.list().size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      const KeyLookup& lookup = lookups.list()[static_cast<std::size_t>(i)];
      EXPECT_EQ(lookup.key, std::to_string(i));
      EXPECT_EQ(lookup.assign, i == 1);
    }
    // The same bytes are another key in another keyspace.
    lookups.add(1, "0", false);
    EXPECT_EQ(lookups.list().size(), static_cast<std::size_t>(count) + 1);
    lookups.clear();
    EXPECT_TRUE(lookups.empty());
    lookups.add(0, "0", true);
    EXPECT_EQ(lookups.list().size(), 1u);
  }
}

// A statement may name more keys than are remembered for long.
TEST(LearnedKeys, AStatementsAnswersAreAllThere) {
  LearnedKeys learned(64);
  for (int i = 0; i < 10'000; ++i) {
    const KeyPlace place = i % 3 == 0 ? kAbsent : KeyPlace{KeyPlace::Kind::kShard, 1};
    learned.learn(5, {0, std::to_string(i), false}, place);
  }
  for (int i = 0; i < 10'000; ++i) {
    const auto place = learned.find(5, 0, std::to_string(i));
    ASSERT_TRUE(place) << i;
    EXPECT_EQ(place->kind == KeyPlace::Kind::kAbsent, i % 3 == 0);
  }
  EXPECT_FALSE(learned.find(6, 0, "1"));
  EXPECT_FALSE(learned.find(5, 1, "1"));
  learned.statement_routed();
  EXPECT_FALSE(learned.find(5, 0, "9999"));  // 9999 was absent
  EXPECT_TRUE(learned.find(5, 0, "9998"));
}

TEST(LearnedKeys, WhatWasAbsentMayHaveComeSince) {
  LearnedKeys learned(64);
  learned.learn(1, {0, "k", false}, kAbsent);
  learned.learn(1, {0, "k", true}, {KeyPlace::Kind::kShard, 2});
  EXPECT_EQ(learned.find(1, 0, "k")->kind, KeyPlace::Kind::kShard);
  learned.statement_routed();
  EXPECT_EQ(learned.find(1, 0, "k")->shard, 2);
}

}  // namespace
}  // namespace pgshunt
