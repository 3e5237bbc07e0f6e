// [[databases.NAME.keyspaces]] of every strategy: what it means, and in which words it is refused.
#include <gtest/gtest.h>

#include "proxy/config/declare_keyspace.h"
#include "proxy/database.h"
#include "tests/proxy/config_test_support.h"

namespace pgshunt {
namespace {

constexpr char kShards[] =
    "[databases.a]\nshards = [{name = \"s1\", host = \"h\"}, {name = \"s2\", host = \"h\"}]\n";

bool needs_directory(const std::string& keyspaces) {
  return keyspaces.find("\"directory\"") != std::string::npos;
}

// What is wrong with one keyspace k, which begins on line 3.
std::string issues(const std::string& keyspace) {
  ConfigWorld world;
  const ConfigResult result =
      world.load(kShards + ("keyspaces = [{name = \"k\", " + keyspace + "}]\n") +
                 (needs_directory(keyspace) ? "directory = \"d\"\n" : ""));
  std::string text = lines_of(result.issues);
  const std::string prefix = "3: databases.a.keyspaces[0]";
  for (std::size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;) {
    text.erase(at, prefix.size());
  }
  return text;
}

std::string warnings(const std::string& keyspace) {
  ConfigWorld world;
  const ConfigResult result =
      world.load(kShards + ("keyspaces = [{name = \"k\", " + keyspace + "}]\n"));
  EXPECT_EQ(lines_of(result.issues), "");
  std::string text = lines_of(result.warnings);
  const std::string prefix = "3: databases.a.keyspaces[0]";
  for (std::size_t at = 0; (at = text.find(prefix, at)) != std::string::npos;) {
    text.erase(at, prefix.size());
  }
  return text;
}

std::shared_ptr<const Topology> topology_of(const std::string& keyspaces) {
  ConfigWorld world;
  const ConfigResult result = world.load(kShards + ("keyspaces = [" + keyspaces + "]\n") +
                                         (needs_directory(keyspaces) ? "directory = \"d\"\n" : ""));
  EXPECT_EQ(lines_of(result.issues), "");
  if (!result.config) return nullptr;
  TopologyBuilder builder;
  const Status declared = declare_topology(result.config->databases.at("a"), builder);
  EXPECT_TRUE(declared) << declared.error().message;
  auto topology = builder.build(1);
  if (topology) return *topology;
  ADD_FAILURE() << topology.error().message;
  return nullptr;
}

TEST(ConfigKeyspace, EveryStrategyBecomesItsPlacement) {
  const auto topology = topology_of(
      R"({name = "h", type = "bigint", overrides = [{key = 42, shard = "s2"}, {key = "-1", shard = "s1"}]},
         {name = "r", strategy = "range", type = "bigint", ranges = [
           {from = 10, shard = "s2"}, {to = "10", shard = "s1"}]},
         {name = "l", strategy = "list", type = "text", default_shard = "s1", values = [
           {values = ["de", "at"], shard = "s1"}, {values = ["us"], shard = "s2"}]},
         {name = "d", strategy = "directory", type = "uuid"},
         {name = "f", strategy = "directory", type = "uuid", new_keys = {shard = "s2"}},
         {name = "n", strategy = "directory", type = "uuid", new_keys = "least_loaded"},
         {name = "t", strategy = "schema", schemas = [{schema = "T 1", shard = "s2"}]})");
  ASSERT_NE(topology, nullptr);
  const auto& keyspaces = topology->keyspaces;
  ASSERT_EQ(keyspaces.size(), 7u);
  const HashPlacement* hash = keyspaces[0].hash();
  ASSERT_NE(hash, nullptr);
  EXPECT_EQ(hash->owners, deal_evenly(2));
  ASSERT_EQ(hash->overrides.keys().size(), 2u);
  EXPECT_EQ(hash->overrides.keys()[0].text, "-1");
  EXPECT_EQ(hash->overrides.keys()[1].shard, 1);
  const RangePlacement* range = keyspaces[1].range();
  ASSERT_NE(range, nullptr);
  ASSERT_EQ(range->ranges.size(), 2u);
  EXPECT_EQ(range->ranges[0].text, "(, 10)");
  EXPECT_EQ(range->ranges[1].text, "[10, )");
  EXPECT_EQ(range->ranges[1].shard, 1);
  const auto& list = std::get<ListPlacement>(keyspaces[2].placement);
  EXPECT_EQ(list.find("at"), 0);
  EXPECT_EQ(list.find("us"), 1);
  EXPECT_EQ(list.find("xx"), 0);
  const auto& directory = std::get<DirectoryPlacement>(keyspaces[3].placement);
  EXPECT_EQ(directory.new_keys, NewKeyPolicy::kHash);
  const auto& fixed = std::get<DirectoryPlacement>(keyspaces[4].placement);
  EXPECT_EQ(fixed.new_keys, NewKeyPolicy::kFixed);
  EXPECT_EQ(fixed.fixed, 1);
  EXPECT_EQ(std::get<DirectoryPlacement>(keyspaces[5].placement).new_keys,
            NewKeyPolicy::kLeastLoaded);
  EXPECT_EQ(topology->home_of_schema("T 1"), 1);
  EXPECT_EQ(topology->home_of_schema("t 1"), std::nullopt);
}

TEST(ConfigKeyspace, ADirectoryHasAPlaceOfItsOwn) {
  ConfigWorld world;
  const auto load = [&](const std::string& text) { return lines_of(world.load(text).issues); };
  const std::string keyspace = "keyspaces = [{name = \"k\", type = \"bigint\", strategy = ";
  const std::string shards = "shards = [{name = \"s1\", host = \"h\"}]\n";
  EXPECT_EQ(load(kShards + keyspace + "\"directory\"}]\n"),
            "1: databases.a: has no directory, expected the folder that keeps the keys of its "
            "keyspaces with strategy = \"directory\"");
  EXPECT_EQ(load(kShards + keyspace + "\"hash\"}]\ndirectory = \"d\"\n"),
            "4: databases.a.directory: needs a keyspace with strategy = \"directory\"");
  EXPECT_EQ(
      load("[databases.a]\nhost = \"h\"\ndirectory = \"d\"\n"),
      "3: databases.a.directory: needs [[databases.a.keyspaces]]: without one the database is "
      "plain, and statements are not routed");
  const std::string rest = shards + keyspace + "\"directory\"}]\n";
  EXPECT_EQ(load("[databases.a]\n" + rest + "directory = \"d\"\n[databases.b]\n" + rest +
                 "directory = \"/etc/./pgshunt/d\"\n"),
            "8: databases.b.directory: is \"/etc/./pgshunt/d\", which is that of database \"a\" "
            "already");
  const ConfigResult good = world.load("[databases.a]\n" + rest + "directory = \"d\"\n");
  ASSERT_TRUE(good.config);
  EXPECT_EQ(good.config->databases.at("a").directory, "/etc/pgshunt/d");
}

TEST(ConfigKeyspace, StrategiesAndWhatBelongsToThem) {
  EXPECT_EQ(issues("strategy = \"ring\", type = \"bigint\", ranges = []"),
            ".strategy: is \"ring\", expected \"hash\", \"range\", \"list\", \"directory\" or "
            "\"schema\"");
  EXPECT_EQ(issues("strategy = \"range\", type = \"bigint\""),
            ".ranges: hold no range, expected the like of {from = 0, to = 1000, shard = \"s1\"}");
  EXPECT_EQ(issues("strategy = \"list\", type = \"bigint\""),
            ".values: hold no value, expected the like of {values = [\"de\", \"at\"], shard = "
            "\"eu\"}");
  EXPECT_EQ(issues("strategy = \"schema\""),
            ".schemas: hold no schema, expected the like of {schema = \"tenant_1\", shard = "
            "\"s1\"}");
  EXPECT_EQ(issues("strategy = \"range\", ranges = [{shard = \"s1\"}]"),
            ": has no type, expected the key's, such as \"bigint\"");
  EXPECT_EQ(issues("type = \"bigint\", ranges = [{shard = \"s1\"}]"),
            ".ranges: is for strategy \"range\", but the strategy is \"hash\"");
  EXPECT_EQ(issues("strategy = \"directory\", type = \"bigint\", buckets = []"),
            ".buckets: is for strategy \"hash\", but the strategy is \"directory\"");
  EXPECT_EQ(
      issues(
          "strategy = \"schema\", type = \"bigint\", schemas = [{schema = \"x\", shard = \"s1\"}]"),
      ".type: is for keys, but strategy \"schema\" has none");
}

TEST(ConfigKeyspace, RangesThatOverlapOrCannotBeRead) {
  const auto ranges = [](const std::string& list, const std::string& type = "bigint") {
    return issues("strategy = \"range\", type = \"" + type + "\", ranges = [" + list + "]");
  };
  EXPECT_EQ(
      ranges("{to = 10, shard = \"s1\"}, {from = 9, shard = \"s2\"}"),
      ".ranges[1]: overlaps: from the beginning to \"10\" and from \"9\" to the end, expected "
      "ranges that do not");
  EXPECT_EQ(
      ranges("{from = 9, shard = \"s2\"}, {shard = \"s1\"}"),
      ".ranges[1]: overlaps: from the beginning to the end and from \"9\" to the end, expected "
      "ranges that do not");
  EXPECT_EQ(ranges("{from = 9, to = 9, shard = \"s2\"}"),
            ".ranges[0].to: is \"9\", which is not above from");
  EXPECT_EQ(
      ranges("{from = \"x\", shard = \"s2\"}"),
      ".ranges[0].from: is \"x\", expected a key of type bigint (invalid input syntax for type "
      "bigint: \"x\")");
  EXPECT_EQ(ranges("{from = 1.5, shard = \"s2\"}"),
            ".ranges[0].from: is 1.5, expected a key of type bigint in quotes");
  EXPECT_EQ(ranges("{from = 1}"), ".ranges[0]: has no shard, expected a shard's name");
  EXPECT_EQ(ranges("{from = 1, shard = \"s3\"}"),
            ".ranges[0].shard: is \"s3\", which is no shard, expected \"s1\" or \"s2\"");
  EXPECT_EQ(ranges("{from = 1, till = 2, shard = \"s1\"}"), ".ranges[0].till: is unknown");
  EXPECT_NE(ranges("{from = \"today\", shard = \"s1\"}", "date"), "");
  EXPECT_NE(ranges("{from = \"2024-01-01 00:00:00\", shard = \"s1\"}", "timestamptz"), "");
  EXPECT_EQ(ranges("{from = \"2024-01-01 00:00:00+00\", shard = \"s1\"}", "timestamptz"), "");
}

TEST(ConfigKeyspace, GapsOfRangesAreWarnedOf) {
  EXPECT_EQ(
      warnings("strategy = \"range\", type = \"date\", ranges = [{from = \"2024-03-01\", to = "
               "\"2024-04-01\", shard = \"s1\"}, {from = \"2024-01-01\", to = "
               "\"2024-02-01\", shard = \"s2\"}]"),
      ".ranges: leave keys below \"2024-01-01\" without a shard: they cannot be stored\n"
      ".ranges: leave keys from \"2024-02-01\" to \"2024-03-01\" without a shard: they cannot be "
      "stored\n"
      ".ranges: leave keys from \"2024-04-01\" on without a shard: they cannot be stored");
  EXPECT_EQ(warnings("strategy = \"range\", type = \"bigint\", ranges = [{to = 1, shard = \"s1\"}, "
                     "{from = 1, shard = \"s2\"}]"),
            "");
}

TEST(ConfigKeyspace, ListsOverridesDirectoriesAndSchemas) {
  const auto list = [](const std::string& rest) {
    return issues("strategy = \"list\", type = \"numeric\", " + rest);
  };
  EXPECT_EQ(list("values = [{values = [1, \"1.0\"], shard = \"s1\"}]"),
            ".values[0].values: holds \"1.0\", which is listed already");
  EXPECT_EQ(list("values = [{values = [\"x\"], shard = \"s1\"}]"),
            ".values[0].values: holds an element that is \"x\", expected a key of type numeric "
            "(invalid input syntax for type numeric: \"x\")");
  EXPECT_EQ(list("values = [{shard = \"s1\"}]"),
            ".values[0]: has no values, expected the like of {values = [\"de\", \"at\"], shard = "
            "\"eu\"}");
  EXPECT_EQ(list("values = [{values = 5, shard = \"s1\"}]"),
            ".values[0].values: is 5, expected a list of keys");
  EXPECT_EQ(list("values = [{values = [], shard = \"s1\"}]"),
            ".values[0].values: is empty, expected a list of keys");
  EXPECT_EQ(list("values = [{values = [5], shard = \"s1\"}], default_shard = \"s3\""),
            ".default_shard: is \"s3\", which is no shard, expected \"s1\" or \"s2\"");
  const auto overrides = [](const std::string& entries) {
    return issues("type = \"bigint\", overrides = [" + entries + "]");
  };
  EXPECT_EQ(overrides("{key = 1, shard = \"s1\"}, {key = \"01\", shard = \"s2\"}"),
            ".overrides[1].key: is \"01\", which is overridden already");
  EXPECT_EQ(overrides("{shard = \"s1\"}"),
            ".overrides[0]: has no key, expected the like of {key = \"42\", shard = \"s1\"}");
  EXPECT_EQ(overrides("{key = 1, shard = \"s3\"}"),
            ".overrides[0].shard: is \"s3\", which is no shard, expected \"s1\" or \"s2\"");
  EXPECT_EQ(
      issues("strategy = \"directory\", type = \"bigint\", new_keys = \"guess\""),
      ".new_keys: is \"guess\", expected \"hash\", \"least_loaded\", \"refuse\" or the like of "
      "{shard = \"s1\"}");
  EXPECT_EQ(issues("strategy = \"directory\", type = \"bigint\", new_keys = {shard = \"s3\"}"),
            ".new_keys.shard: is \"s3\", which is no shard, expected \"s1\" or \"s2\"");
  const auto schemas = [](const std::string& entries) {
    return issues("strategy = \"schema\", schemas = [" + entries + "]");
  };
  EXPECT_EQ(schemas("{schema = \"t\", shard = \"s1\"}, {schema = \"t\", shard = \"s2\"}"),
            ".schemas[1].schema: is \"t\", which is listed already");
  EXPECT_EQ(schemas("{schema = \"pg_catalog\", shard = \"s1\"}"),
            ".schemas[0].schema: is \"pg_catalog\", which every shard has");
  EXPECT_EQ(schemas("{shard = \"s1\"}"), ".schemas[0]: has no schema, expected a schema's name");
}

TEST(ConfigKeyspace, TablesOfSchemasAreNotListed) {
  ConfigWorld world;
  const ConfigResult result = world.load(
      std::string(kShards) +
      "keyspaces = [{name = \"k\", strategy = \"schema\", schemas = [{schema = \"t\", shard = "
      "\"s1\"}]}]\ntables = [{name = \"t.x\", keyspace = \"k\", key = \"id\"}]\n");
  EXPECT_EQ(
      lines_of(result.issues),
      "4: databases.a.tables[0].keyspace: is \"k\", a keyspace of schemas, whose tables are not "
      "listed");
}

TEST(ConfigKeyspace, AChangedPlacementWaitsForARestart) {
  ConfigWorld world;
  const auto load = [&](const std::string& to) {
    return world
        .load(std::string(kShards) +
              "keyspaces = [{name = \"k\", strategy = \"range\", type = \"bigint\", ranges = [{to "
              "= " +
              to + ", shard = \"s1\"}]}]\n")
        .config;
  };
  const auto running = load("10");
  const auto loaded = load("20");
  ASSERT_TRUE(running && loaded);
  EXPECT_EQ(restart_needed(*running, *loaded), std::vector<std::string>{"databases.a.keyspaces"});
  EXPECT_EQ(reloaded_config(*running, *loaded)->databases.at("a").keyspaces[0].ranges[0].to, "10");
}

}  // namespace
}  // namespace pgshunt
