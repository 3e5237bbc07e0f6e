#include "router/topology.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

std::vector<std::size_t> shares(std::size_t shards, const BucketOwners& owners) {
  std::vector<std::size_t> held(shards, 0);
  for (const ShardId owner : owners) ++held.at(owner);
  return held;
}

std::size_t moved(const BucketOwners& from, const BucketOwners& to) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < kBucketCount; ++i) count += from[i] != to[i] ? 1 : 0;
  return count;
}

void expect_balanced(std::size_t shards, const BucketOwners& owners) {
  const auto held = shares(shards, owners);
  const auto [least, most] = std::minmax_element(held.begin(), held.end());
  EXPECT_LE(*most - *least, 1u) << shards;
}

TEST(Assignment, IsBalancedForAnyNumberOfShards) {
  for (std::size_t shards = 1; shards <= 200; ++shards) {
    expect_balanced(shards, deal_evenly(shards));
  }
}

TEST(Assignment, GrowthMovesTheNewcomersShareAndNoMore) {
  BucketOwners owners = deal_evenly(1);
  for (std::size_t shards = 2; shards <= 100; ++shards) {
    const BucketOwners next = propose_assignment(shards, owners);
    expect_balanced(shards, next);
    const std::size_t newcomer = shares(shards, next)[shards - 1];
    EXPECT_EQ(moved(owners, next), newcomer);
    EXPECT_LE(newcomer, kBucketCount / shards + 1);
    owners = next;
  }
}

TEST(Assignment, ShrinkingMovesOnlyTheLeaversBuckets) {
  BucketOwners owners = deal_evenly(12);
  for (std::size_t shards = 11; shards >= 1; --shards) {
    const std::size_t leavers = shares(shards + 1, owners)[shards];
    const BucketOwners next = propose_assignment(shards, owners);
    expect_balanced(shards, next);
    EXPECT_EQ(moved(owners, next), leavers);
    owners = next;
  }
}

TEST(Assignment, MovesAsLittleAsPossibleFromAnyStart) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    const std::size_t shards = 1 + random() % 20;
    BucketOwners owners;
    // Lopsided, and with shards that are gone.
    for (ShardId& owner : owners) {
      owner = static_cast<ShardId>(std::min(random() % 25, random() % 25));
    }
    const BucketOwners next = propose_assignment(shards, owners);
    expect_balanced(shards, next);
    // Nobody can do with fewer: homeless buckets must move, and so must what is over the quota,
    // the larger quotas going to those who hold most.
    std::vector<std::size_t> held(shards, 0);
    std::size_t least = 0;
    for (const ShardId owner : owners) {
      if (owner < shards) {
        ++held[owner];
      } else {
        ++least;
      }
    }
    std::sort(held.rbegin(), held.rend());
    for (std::size_t i = 0; i < shards; ++i) {
      const std::size_t quota = kBucketCount / shards + (i < kBucketCount % shards ? 1 : 0);
      if (held[i] > quota) least += held[i] - quota;
    }
    EXPECT_EQ(moved(owners, next), least);
    EXPECT_EQ(propose_assignment(shards, next), next);  // nothing left to do
  }
}

TEST(Topology, FindsTablesAlongTheSearchPath) {
  TopologyBuilder builder;
  ASSERT_TRUE(builder.add_shard("s0"));
  ASSERT_TRUE(builder.add_reference_table("public", "t"));
  ASSERT_TRUE(builder.add_reference_table("app", "t"));
  ASSERT_TRUE(builder.add_reference_table("app", "only"));
  builder.set_search_path({"app", "public"});
  const auto topology = builder.build(3);
  ASSERT_TRUE(topology);
  EXPECT_EQ((*topology)->find_table("", "t")->schema, "app");
  EXPECT_EQ((*topology)->find_table("public", "t")->schema, "public");
  EXPECT_EQ((*topology)->find_table("public", "only"), nullptr);
  EXPECT_EQ((*topology)->find_table("", "nope"), nullptr);
  EXPECT_EQ((*topology)->epoch, 3u);
}

TEST(Topology, MistakesAreNamed) {
  const auto message = [](const auto& result) {
    return result ? std::string("ok") : result.error().message;
  };
  TopologyBuilder builder;
  EXPECT_EQ(message(TopologyBuilder().build(1)), "there is no shard");
  ASSERT_TRUE(builder.add_shard("s0"));
  EXPECT_EQ(message(builder.add_shard("s0")), "shard \"s0\" is named twice");
  ASSERT_TRUE(builder.add_keyspace("k", ShardKeyType::kInt8));
  EXPECT_EQ(message(builder.add_keyspace("k", ShardKeyType::kInt8)),
            "keyspace \"k\" is named twice");
  EXPECT_EQ(message(builder.add_sharded_table("public", "t", "nope", "id")),
            "table public.t names the unknown keyspace \"nope\"");
  EXPECT_EQ(message(builder.add_unsharded_table("public", "t", "nope")),
            "table public.t names the unknown shard \"nope\"");
  EXPECT_EQ(message(builder.set_default_home("nope")), "the default shard \"nope\" is unknown");
  ASSERT_TRUE(builder.add_sharded_table("public", "t", "k", "id"));
  EXPECT_EQ(message(builder.add_reference_table("public", "t")),
            "table public.t is declared twice");
  BucketOwners owners{};
  owners[17] = 4;
  ASSERT_TRUE(builder.add_keyspace("bad", ShardKeyType::kInt8, owners));
  EXPECT_EQ(message(builder.build(1)),
            "bucket 17 of keyspace \"bad\" is owned by a shard that does not exist");
}

TEST(Topology, KeyColumnsAreCheckedAgainstTheCatalog) {
  const auto built_with = [](Column column) {
    TopologyBuilder builder;
    EXPECT_TRUE(builder.add_shard("s0"));
    EXPECT_TRUE(builder.add_keyspace("k", ShardKeyType::kText));
    EXPECT_TRUE(builder.add_sharded_table("public", "t", "k", "id"));
    builder.set_columns("public", "t", {std::move(column)});
    const auto topology = builder.build(1);
    return topology ? std::string("ok") : topology.error().message;
  };
  EXPECT_EQ(built_with(test_column("id", type_oid::kText)), "ok");
  EXPECT_EQ(built_with(test_column("other", type_oid::kText)),
            "table public.t has no column \"id\", its shard key");
  EXPECT_EQ(
      built_with(test_column("id", type_oid::kInt4)),
      "column \"id\" of public.t is of type integer, but keyspace \"k\" has keys of type text");
  Column column = test_column("id", type_oid::kText);
  column.deterministic = false;
  EXPECT_EQ(built_with(column), "column \"id\" of public.t has a nondeterministic collation");
}

}  // namespace
}  // namespace pgshunt
