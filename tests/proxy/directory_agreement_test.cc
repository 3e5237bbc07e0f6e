#include <gtest/gtest.h>

#include <algorithm>

#include "proxy/directory/agreement.h"
#include "tests/proxy/config_test_support.h"

namespace pgshunt {
namespace {

DatabaseConfig database(std::vector<std::string> shards) {
  DatabaseConfig out;
  out.name = "a";
  out.directory = "/d";
  for (const std::string& name : shards) {
    ShardConfig shard;
    shard.name = name;
    out.shards.push_back(std::move(shard));
  }
  KeyspaceConfig rooms;
  rooms.name = "rooms";
  rooms.strategy = Strategy::kDirectory;
  out.keyspaces.push_back(rooms);
  KeyspaceConfig users;
  users.name = "users";
  out.keyspaces.push_back(users);
  return out;
}

// The map once everything that was missing is there.
ShardMap agreed(const ShardMap& map, const DatabaseConfig& config) {
  const auto missing = missing_in_directory(map, config);
  EXPECT_TRUE(missing) << missing.error().message;
  if (!missing) return map;
  return missing->empty() ? map : **changed_map(map, *missing);
}

std::string problem(const ShardMap& map, const DatabaseConfig& config) {
  const auto missing = missing_in_directory(map, config);
  return missing ? "" : missing.error().message;
}

TEST(DirectoryAgreement, ANewDirectoryGetsShardsAndDirectoryKeyspaces) {
  DatabaseConfig config = database({"s1", "s2"});
  config.keyspaces[0].new_keys = NewKeys::kFixed;
  config.keyspaces[0].new_keys_shard = "s2";
  const ShardMap map = agreed({}, config);
  ASSERT_EQ(map.shards.size(), 2u);
  EXPECT_EQ(map.shards[1].name, "s2");
  ASSERT_EQ(map.keyspaces.size(), 1u);
  EXPECT_EQ(map.keyspaces[0].kind, KeyspaceKind::kDirectory);
  EXPECT_EQ(map.keyspaces[0].policy, NewKeyPolicy::kFixed);
  EXPECT_EQ(map.keyspaces[0].fixed_shard, map.shards[1].id);
  EXPECT_TRUE(missing_in_directory(map, config)->empty());
}

TEST(DirectoryAgreement, ANewShardGetsItsShareOfNewKeys) {
  const ShardMap before = agreed({}, database({"s1", "s2"}));
  const ShardMap after = agreed(before, database({"s1", "s3", "s2"}));
  EXPECT_EQ(after.shard_named("s2")->id, before.shard_named("s2")->id);
  const auto& owners = after.keyspaces[0].owners;
  for (const char* name : {"s1", "s2", "s3"}) {
    const auto share = std::count(owners.begin(), owners.end(), after.shard_named(name)->id);
    EXPECT_NEAR(static_cast<double>(share), 4096 / 3.0, 1.0) << name;
  }
  std::size_t moved = 0;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if (owners[i] == before.keyspaces[0].owners[i]) continue;
    ++moved;
    EXPECT_EQ(owners[i], after.shard_named("s3")->id);
  }
  EXPECT_EQ(moved, 1365u);
}

TEST(DirectoryAgreement, ContradictionsSayWhatEachSideSays) {
  const DatabaseConfig config = database({"s1", "s2"});
  const ShardMap map = agreed({}, config);
  EXPECT_EQ(problem(map, database({"s1", "s4"})),
            "shard \"s2\" is in the directory, but not in the configuration");
  DatabaseConfig other = config;
  other.keyspaces[0].name = "chats";
  EXPECT_EQ(problem(map, other),
            "keyspace \"rooms\" is in the directory, but not in the configuration");
  other = config;
  other.keyspaces[0].key_type = KeyType::kUuid;
  EXPECT_EQ(problem(map, other),
            "keyspace \"rooms\" has the type uuid in the configuration, bigint in the directory");
  other = config;
  other.keyspaces[0].strategy = Strategy::kHash;
  EXPECT_EQ(
      problem(map, other),
      "keyspace \"rooms\" has the strategy hash in the configuration, directory in the directory");
  other = config;
  other.keyspaces[0].new_keys = NewKeys::kFixed;
  other.keyspaces[0].new_keys_shard = "s2";
  EXPECT_EQ(problem(map, other),
            "keyspace \"rooms\" has the policy for new keys fixed=s2 in the configuration, hash in "
            "the directory");
  EXPECT_EQ(missing_in_directory(map, other).error().hint,
            "Correct new_keys in the configuration, or run \"shuntctl directory policy --directory "
            "/d rooms fixed=s2\".");
}

}  // namespace
}  // namespace pgshunt
