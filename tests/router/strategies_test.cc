// Statements over keyspaces of every strategy: where they go, what is asked, what is refused.

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "router/key_location.h"
#include "router/router.h"
#include "router/statement_plan.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

TopologyBuilder strategies() {
  TopologyBuilder builder;
  const auto must = [](const auto& status) {
    if (!status) ADD_FAILURE() << status.error().message;
  };
  for (const char* shard : {"s0", "s1", "s2"}) must(builder.add_shard(shard));
  const auto number = [](int n) { return *parse_key(ShardKeyType::kInt8, std::to_string(n)); };
  RangePlacement ranges;
  ranges.ranges = {{std::nullopt, number(100), 0, "up to 100"},
                   {number(100), number(200), 1, "100 to 200"},
                   {number(300), std::nullopt, 2, "from 300"}};
  must(builder.add_keyspace("orders", ShardKeyType::kInt8, ranges));
  RangePlacement names;
  names.ranges = {{std::nullopt, "m", 0, "to m"}, {"m", std::nullopt, 1, "from m"}};
  must(builder.add_keyspace("names", ShardKeyType::kText, names));
  ListPlacement regions;
  regions.keys = {{"de", 0, "de"}, {"fr", 0, "fr"}, {"us", 1, "us"}};
  must(builder.add_keyspace("regions", ShardKeyType::kText, regions));
  must(builder.add_keyspace("users", ShardKeyType::kInt8));
  must(builder.add_override("users", "42", "s2"));
  must(builder.add_override("users", "43", "s0"));
  must(builder.add_keyspace("files", ShardKeyType::kInt8, DirectoryPlacement{}));
  DirectoryPlacement closed;
  closed.new_keys = NewKeyPolicy::kRefuse;
  must(builder.add_keyspace("closed", ShardKeyType::kInt8, closed));
  SchemaPlacement tenants;
  tenants.schemas = {{"tenant_0", 0}, {"tenant_1", 1}, {"tenant_2", 2}, {"other_1", 1}};
  must(builder.add_keyspace("tenants", ShardKeyType::kInt8, tenants));
  must(builder.add_sharded_table("public", "orders", "orders", "id"));
  must(builder.add_sharded_table("public", "items", "orders", "order_id"));
  must(builder.add_sharded_table("public", "people", "names", "name"));
  must(builder.add_sharded_table("public", "unread", "names", "name"));
  must(builder.add_sharded_table("public", "customers", "regions", "country"));
  must(builder.add_sharded_table("public", "users", "users", "id"));
  must(builder.add_sharded_table("public", "files", "files", "id"));
  must(builder.add_sharded_table("public", "blocks", "files", "file_id"));
  must(builder.add_sharded_table("public", "closed", "closed", "id"));
  must(builder.add_reference_table("public", "countries"));
  must(builder.add_unsharded_table("public", "settings", "s1"));
  builder.set_columns("public", "people", {test_column("name", type_oid::kText, true)});
  builder.set_columns("public", "orders", {test_column("id", type_oid::kInt8)});
  builder.set_columns("public", "files", {test_column("id", type_oid::kInt8)});
  builder.add_opaque_relation("tenant_1", "view");
  return builder;
}

class FakeDirectory : public KeyDirectory {
 public:
  KeyPlace try_find(std::string_view keyspace, std::string_view key) const override {
    ++asked;
    const auto at = places.find({std::string(keyspace), std::string(key)});
    return at == places.end() ? KeyPlace{} : at->second;
  }
  void put(int key, KeyPlace place) {
    places[{"files", *parse_key(ShardKeyType::kInt8, std::to_string(key))}] = place;
  }

  mutable int asked = 0;
  std::map<std::pair<std::string, std::string>, KeyPlace> places;
};

class Strategies : public ::testing::Test {
 protected:
  // "s1", "s0 s1", "any", "lookup", "every", or an error's SQLSTATE.
  std::string where(const std::string& sql, const RouterSession& session = {}) {
    const auto route = router_.route(sql, session);
    return shown(route);
  }

  std::string bound(const std::string& sql, std::vector<const char*> values,
                    std::vector<std::uint32_t> types = {}, const RouterSession& session = {}) {
    const auto plan = router_.prepare(sql, types, session);
    if (!plan) return std::string(plan.error().code.view());
    std::vector<BoundValue> bound;
    for (const char* value : values)
      bound.push_back({value == nullptr, false, 0, value ? value : ""});
    for (std::size_t i = 0; i < types.size(); ++i) bound[i].type = types[i];
    return shown(router_.bind(**plan, bound, session));
  }

  std::string shown(const Result<Route>& route) {
    if (!route) {
      error_ = route.error();
      return std::string(route.error().code.view());
    }
    lookups_.assign(route->lookups.begin(), route->lookups.end());
    switch (route->kind) {
      case RouteKind::kAnyShard:
        return "any";
      case RouteKind::kHomeShard:
        return "home";
      case RouteKind::kEveryShard:
        return "every";
      case RouteKind::kInsertSelect:
        return "insert select";
      case RouteKind::kMergeNode:
        return "merge node";
      case RouteKind::kMakeValues:
        return "values to be made";
      case RouteKind::kLookup:
        return "lookup";
      case RouteKind::kCopySplit:
        return "split";
      case RouteKind::kCopyMerge:
        return "merge";
      case RouteKind::kCopyQuery:
        return "copy";
      case RouteKind::kCursor:
        return "cursor";
      case RouteKind::kOneShard:
      case RouteKind::kScatter:
      case RouteKind::kWriteShards:
      case RouteKind::kMoveRows:
        break;
    }
    std::string out = route->kind == RouteKind::kOneShard ? "" : "all of";
    for (const ShardId shard : route->shards) {
      out += (out.empty() ? "s" : " s") + std::to_string(shard);
    }
    return out;
  }

  std::shared_ptr<const Topology> topology_ = *strategies().build(1);
  Router router_{topology_};
  FakeDirectory directory_;
  std::vector<KeyLookup> lookups_;
  Error error_;
};

TEST_F(Strategies, RangesPlaceKeys) {
  EXPECT_EQ(where("SELECT * FROM orders WHERE id = -5"), "s0");
  EXPECT_EQ(where("SELECT * FROM orders WHERE id = 99"), "s0");
  EXPECT_EQ(where("SELECT * FROM orders WHERE id = 100"), "s1");
  EXPECT_EQ(where("UPDATE orders SET x = 1 WHERE id = '199'"), "s1");
  EXPECT_EQ(where("DELETE FROM orders WHERE id = 9223372036854775807"), "s2");
  EXPECT_EQ(where("INSERT INTO orders (id) VALUES (100), (101)"), "s1");
  EXPECT_EQ(where("INSERT INTO orders (id) VALUES (100), (99)"), "all of s0 s1");
  EXPECT_EQ(where("SELECT * FROM orders o JOIN items i ON i.order_id = o.id WHERE o.id = 300"),
            "s2");
  EXPECT_EQ(bound("SELECT * FROM orders WHERE id = $1", {"150"}), "s1");
  EXPECT_EQ(where("SELECT * FROM people WHERE name = 'm'"), "s1");
  EXPECT_EQ(where("SELECT * FROM people WHERE name = 'lz'"), "s0");
}

TEST_F(Strategies, AKeyThatNoRangeHasCannotBeStoredAndMatchesNothing) {
  EXPECT_EQ(where("INSERT INTO orders (id) VALUES (200)"), "23514");
  EXPECT_EQ(error_.message, "no range of keyspace \"orders\" has the key 200");
  EXPECT_EQ(bound("INSERT INTO orders (id) VALUES ($1)", {"299"}), "23514");
  EXPECT_EQ(where("SELECT * FROM orders WHERE id = 200"), "any");
  EXPECT_EQ(where("DELETE FROM orders WHERE id = 299"), "any");
  EXPECT_EQ(where("INSERT INTO orders (id) VALUES (NULL)"), "23502");
}

TEST_F(Strategies, ComparisonsOfARangeKeyLeaveShardsOut) {
  const std::string from = "SELECT * FROM orders o WHERE ";
  EXPECT_EQ(where("SELECT * FROM orders"), "all of s0 s1 s2");
  EXPECT_EQ(where(from + "id < 100"), "all of s0");
  EXPECT_EQ(where(from + "id <= 100"), "all of s0 s1");
  EXPECT_EQ(where(from + "id >= 100"), "all of s1 s2");
  EXPECT_EQ(where(from + "id > 199"), "all of s1 s2");  // it is not known that 200 is next
  EXPECT_EQ(where(from + "200 <= id"), "all of s2");
  EXPECT_EQ(where(from + "100 > o.id AND x = 1"), "all of s0");
  EXPECT_EQ(where(from + "id BETWEEN 120 AND 130"), "all of s1");
  EXPECT_EQ(where(from + "id BETWEEN 50 AND 130"), "all of s0 s1");
  EXPECT_EQ(where(from + "id >= 120 AND id < '130'::bigint"), "all of s1");
  EXPECT_EQ(where(from + "id OPERATOR(pg_catalog.<) -1"), "all of s0");
  // Nothing can match; one shard describes the columns.
  EXPECT_EQ(where(from + "id BETWEEN 210 AND 220"), "all of s0");
  EXPECT_EQ(where(from + "id > 5 AND id < 5"), "all of s0");
  EXPECT_EQ(
      where("SELECT * FROM orders o JOIN items i ON i.order_id = o.id WHERE i.order_id > 300"),
      "all of s2");
  EXPECT_EQ(
      where(
          "SELECT * FROM orders o LEFT JOIN items i ON i.order_id = o.id WHERE o.id < 10 LIMIT 5"),
      "all of s0");
  EXPECT_EQ(where("SELECT * FROM people WHERE name < 'm'"), "all of s0");
  EXPECT_EQ(bound("SELECT * FROM orders WHERE id < $1", {"100"}), "all of s0");
  EXPECT_EQ(bound("SELECT * FROM orders WHERE id BETWEEN $1 AND $2", {"300", "400"}), "all of s2");
}

TEST_F(Strategies, ComparisonsThatSayNothingForSureLeaveAllShardsIn) {
  const std::string from = "SELECT * FROM orders o WHERE ";
  for (const char* condition :
       {"id < 100 OR x", "NOT id < 100", "id NOT BETWEEN 1 AND 2",
        "id BETWEEN SYMMETRIC 130 AND 120", "id <> 5", "id < 5.5", "id < NULL", "id < 5::float8",
        "id < x", "id + 1 < 5", "id < 99999999999999999999", "CASE WHEN id < 5 THEN true END",
        "id OPERATOR(my.<) 5"}) {
    const std::string out = where(from + condition);
    EXPECT_TRUE(out == "all of s0 s1 s2" || out == "0A000") << condition << ": " << out;
  }
  // An outer join's condition says nothing of the rows it keeps.
  EXPECT_EQ(where("SELECT * FROM orders o LEFT JOIN items i ON i.order_id = o.id AND o.id < 100"),
            "all of s0 s1 s2");
  EXPECT_EQ(where("SELECT * FROM unread WHERE name < 'm'"), "all of s0 s1 s2");  // which collation?
  EXPECT_EQ(where("SELECT * FROM people WHERE name < 'm' COLLATE \"de_DE\""), "all of s0 s1 s2");
  EXPECT_EQ(where("SELECT * FROM users WHERE id < 5"), "all of s0 s1 s2");
  // Where else a parameter of open type stands may give it another type.
  EXPECT_EQ(bound("SELECT * FROM orders WHERE id < $1 AND x = $1", {"100"}), "all of s0 s1 s2");
  EXPECT_EQ(bound("SELECT * FROM orders WHERE id < $1 AND x = $1", {"100"}, {type_oid::kInt8}),
            "all of s0");
  RouterSession other_encoding;
  other_encoding.same_encoding = false;
  EXPECT_EQ(where("SELECT * FROM people WHERE name < '\xE4'", other_encoding), "all of s0 s1 s2");
}

TEST_F(Strategies, ListsPlaceKeys) {
  EXPECT_EQ(where("SELECT * FROM customers WHERE country = 'fr'"), "s0");
  EXPECT_EQ(where("INSERT INTO customers (country, name) VALUES ('us', 'x')"), "s1");
  EXPECT_EQ(where("INSERT INTO customers (country, name) VALUES ('xx', 'x')"), "23514");
  EXPECT_EQ(error_.message, "no list entry of keyspace \"regions\" has the key xx");
  EXPECT_EQ(where("SELECT * FROM customers WHERE country = 'xx'"), "any");
  EXPECT_EQ(where("SELECT * FROM customers WHERE country < 'e'"), "all of s0 s1 s2");
}

TEST_F(Strategies, OverriddenKeysHaveAShardOfTheirOwn) {
  EXPECT_EQ(where("SELECT * FROM users WHERE id = 42"), "s2");
  EXPECT_EQ(where("INSERT INTO users (id) VALUES (43)"), "s0");
  EXPECT_EQ(bound("SELECT * FROM users WHERE id = $1", {"42"}), "s2");
  const auto& owners = topology_->keyspaces[3].hash()->owners;
  for (int key = 0; key < 40; ++key) {
    const std::uint64_t hash =
        hash_encoded_key(ShardKeyType::kInt8, *parse_key(ShardKeyType::kInt8, std::to_string(key)));
    EXPECT_EQ(where("SELECT * FROM users WHERE id = " + std::to_string(key)),
              "s" + std::to_string(owners[hash & 4095]));
  }
}

TEST_F(Strategies, WhatTheDirectoryHasInMemoryIsRoutedAtOnce) {
  router_.set_directory(&directory_);
  directory_.put(1, {KeyPlace::Kind::kShard, 1});
  directory_.put(2, {KeyPlace::Kind::kAbsent, 0});
  EXPECT_EQ(where("SELECT * FROM files WHERE id = 1"), "s1");
  EXPECT_EQ(where("INSERT INTO files (id) VALUES (1)"), "s1");
  EXPECT_EQ(where("SELECT * FROM files f JOIN blocks b ON b.file_id = f.id WHERE f.id = 1"), "s1");
  EXPECT_EQ(where("SELECT * FROM files WHERE id = 2"), "any");
  EXPECT_EQ(where("INSERT INTO files (id) VALUES (2)"), "lookup");
  ASSERT_EQ(lookups_.size(), 1u);
  EXPECT_TRUE(lookups_[0].assign);
  EXPECT_EQ(where("SELECT * FROM files"), "all of s0 s1 s2");
}

TEST_F(Strategies, WhatIsNotInMemoryIsLookedUpAndLearned) {
  for (const bool with_directory : {false, true}) {
    if (with_directory) router_.set_directory(&directory_);
    const std::string key = with_directory ? "8" : "7";
    EXPECT_EQ(where("SELECT * FROM files WHERE id = " + key), "lookup");
    ASSERT_EQ(lookups_.size(), 1u);
    EXPECT_EQ(topology_->keyspaces[lookups_[0].keyspace].name, "files");
    EXPECT_EQ(lookups_[0].key, *parse_key(ShardKeyType::kInt8, key));
    EXPECT_FALSE(lookups_[0].assign);
    router_.learn(lookups_[0], {KeyPlace::Kind::kShard, 2});
    EXPECT_EQ(where("SELECT * FROM files WHERE id = " + key), "s2");
    EXPECT_EQ(where("INSERT INTO blocks (file_id) VALUES (" + key + ")"), "s2");
  }
  // Another map, another answer.
  router_.set_topology(*strategies().build(2));
  EXPECT_EQ(where("SELECT * FROM files WHERE id = 7"), "lookup");
}

TEST_F(Strategies, AnAbsenceIsGoodForOneStatement) {
  const std::string sql = "SELECT * FROM files WHERE id = 7";
  EXPECT_EQ(where(sql), "lookup");
  router_.learn(lookups_[0], {KeyPlace::Kind::kAbsent, 0});
  EXPECT_EQ(where(sql), "any");
  EXPECT_EQ(where(sql), "lookup");  // another client may have stored it since
}

TEST_F(Strategies, ANewKeyIsAssignedNotGuessed) {
  EXPECT_EQ(where("INSERT INTO files (id) VALUES (1), (2), (1)"), "lookup");
  ASSERT_EQ(lookups_.size(), 2u);
  EXPECT_TRUE(lookups_[0].assign);
  const std::vector<KeyLookup> asked = lookups_;
  for (const KeyLookup& lookup : asked) router_.learn(lookup, {KeyPlace::Kind::kShard, 1});
  EXPECT_EQ(where("INSERT INTO files (id) VALUES (1), (2), (1)"), "s1");
  // The key may also be compared in the same statement.
  EXPECT_EQ(bound("INSERT INTO blocks (file_id) SELECT id FROM files WHERE id = $1", {"9"}),
            "lookup");
  ASSERT_EQ(lookups_.size(), 1u);
  EXPECT_EQ(where("INSERT INTO closed (id) VALUES (5)"), "lookup");
  ASSERT_EQ(lookups_.size(), 1u);
  router_.learn(KeyLookup(lookups_[0]), {KeyPlace::Kind::kAbsent, 0});
  EXPECT_EQ(where("INSERT INTO closed (id) VALUES (5)"), "23514");
  EXPECT_EQ(error_.message, "directory keyspace \"closed\" has no such key, and refuses new ones");
}

TEST_F(Strategies, RowsSelectedFromAnotherKeyspaceMustHaveAPlace) {
  // users has 250 perhaps, orders has no shard for it.
  EXPECT_EQ(where("INSERT INTO orders (id) SELECT id FROM users WHERE id = 250"), "23514");
  EXPECT_EQ(where("INSERT INTO items (order_id) SELECT id FROM orders WHERE id = 250"), "any");
  EXPECT_EQ(where("INSERT INTO files (id) SELECT id FROM users WHERE id = 42"), "lookup");
  ASSERT_EQ(lookups_.size(), 1u);
  EXPECT_TRUE(lookups_[0].assign);
}

// --- schemas ------------------------------------------------------------------------------------

RouterSession with_path(const SearchPath& path) {
  RouterSession session;
  session.default_search_path = false;
  session.search_path = &path;
  return session;
}

TEST_F(Strategies, ATenantsTablesAreWhereItsSchemaIs) {
  EXPECT_EQ(where("SELECT count(*) FROM tenant_1.orders GROUP BY x"), "s1");
  EXPECT_EQ(where("INSERT INTO tenant_2.orders VALUES (1)"), "s2");
  EXPECT_EQ(where("SELECT * FROM tenant_1.a JOIN other_1.b USING (id)"), "s1");
  EXPECT_EQ(where("SELECT * FROM tenant_1.a JOIN countries USING (id)"), "s1");
  EXPECT_EQ(where("SELECT * FROM tenant_1.a JOIN tenant_2.b USING (id)"), "merge node");
  EXPECT_EQ(where("TRUNCATE tenant_2.orders"), "s2");
  EXPECT_EQ(where("COPY tenant_2.orders FROM STDIN"), "s2");
  EXPECT_EQ(where("SELECT * FROM tenant_9.orders"), "42P01");
  EXPECT_EQ(where("SELECT * FROM tenant_1.view"), "0A000");
  EXPECT_EQ(where("SELECT * FROM tenant_2.view"), "s2");
}

TEST_F(Strategies, TheSearchPathDecidesForNamesWithoutASchema) {
  const SearchPath one({"tenant_1", "public"});
  const SearchPath two({"tenant_2"});
  const SearchPath both({"tenant_1", "tenant_2"});
  const SearchPath last({"public", "tenant_2"});
  const SearchPath nobody({"somewhere", "public"});
  const SearchPath unknown_first({"somewhere", "public", "tenant_1"});
  const auto in_one = with_path(one);
  const auto in_two = with_path(two);
  for (int i = 0; i < 2; ++i) {  // the second time from the cache
    EXPECT_EQ(where("SELECT * FROM invoices", in_one), "s1");
    EXPECT_EQ(where("SELECT * FROM invoices", in_two), "s2");
    EXPECT_EQ(where("SELECT * FROM invoices"), "42P01");
    EXPECT_EQ(where("UPDATE invoices SET x = 1", in_two), "s2");
  }
  EXPECT_EQ(bound("SELECT * FROM invoices WHERE id = $1", {"1"}, {}, in_two), "s2");
  EXPECT_EQ(where("SELECT * FROM tenant_2.invoices", in_one), "s2");
  EXPECT_EQ(where("SELECT * FROM invoices", with_path(last)), "s2");
  EXPECT_EQ(where("SELECT * FROM invoices", with_path(nobody)), "42P01");
  // Two tenants: whose it is, only the servers know.
  EXPECT_EQ(where("SELECT * FROM invoices", with_path(both)), "0A000");
  // A declared table further along may be meant; it is read where the tenant is, if it is there.
  EXPECT_EQ(where("SELECT * FROM countries", in_one), "s1");
  EXPECT_EQ(where("SELECT * FROM settings", in_one), "s1");
  EXPECT_EQ(where("INSERT INTO countries VALUES (1)", in_one), "0A000");
  EXPECT_EQ(where("INSERT INTO public.countries (a) VALUES (1)", in_one), "0A000");  // no catalog
  EXPECT_EQ(where("SELECT * FROM users WHERE id = 1", in_one), "0A000");
  EXPECT_EQ(where("SELECT * FROM public.users WHERE id = 42", in_one), "s2");
  EXPECT_EQ(where("SELECT * FROM users WHERE id = 42", with_path(last)), "s2");
  EXPECT_EQ(where("SELECT * FROM pg_class", in_one), "home");
  // A schema that nothing is known of may have the table.
  EXPECT_EQ(where("SELECT * FROM users WHERE id = 42", with_path(unknown_first)), "0A000");
  EXPECT_EQ(where("SELECT * FROM invoices", with_path(unknown_first)), "0A000");
  // Without tenants' schemas, or where it is not known what it is, a path is not followed.
  EXPECT_EQ(where("SELECT * FROM users WHERE id = 1", with_path(nobody)), "0A000");
  RouterSession unknown;
  unknown.default_search_path = false;
  EXPECT_EQ(where("SELECT * FROM users WHERE id = 1", unknown), "0A000");
}

TEST_F(Strategies, APreparedStatementFollowsTheSearchPath) {
  const SearchPath one({"tenant_1"});
  const SearchPath two({"tenant_2"});
  const auto plan = router_.prepare("SELECT * FROM invoices", {}, with_path(one));
  ASSERT_TRUE(plan);
  EXPECT_EQ(shown(router_.bind(**plan, {}, with_path(one))), "s1");
  EXPECT_EQ(shown(router_.bind(**plan, {}, with_path(two))), "55000");
  EXPECT_EQ(*router_.refresh(*plan, with_path(one)), *plan);
  const auto fresh = router_.refresh(*plan, with_path(two));
  ASSERT_TRUE(fresh);
  EXPECT_EQ(shown(router_.bind(**fresh, {}, with_path(two))), "s2");
  EXPECT_FALSE(router_.refresh(*plan));
}

TEST_F(Strategies, AnUndeclaredTableMayBeAtTheDefaultShard) {
  TopologyBuilder builder = strategies();
  ASSERT_TRUE(builder.set_default_home("s0"));
  router_.set_topology(*builder.build(2));
  const SearchPath last({"public", "tenant_2"});
  const SearchPath same({"public", "tenant_0"});
  const SearchPath first({"tenant_2", "public"});
  EXPECT_EQ(where("SELECT * FROM invoices"), "s0");
  EXPECT_EQ(where("SELECT * FROM invoices", with_path(last)), "0A000");
  EXPECT_EQ(where("SELECT * FROM invoices", with_path(same)), "s0");
  EXPECT_EQ(where("SELECT * FROM invoices", with_path(first)), "s2");
}

// --- building ------------------------------------------------------------------------------------

TEST(StrategiesBuilder, MistakesAreNamed) {
  const auto message = [](const auto& result) {
    return result ? std::string("ok") : result.error().message;
  };
  const auto with = [&](ShardKeyType type, Placement placement) {
    TopologyBuilder builder;
    EXPECT_TRUE(builder.add_shard("s0"));
    EXPECT_TRUE(builder.add_keyspace("k", type, std::move(placement)));
    return message(builder.build(1));
  };
  EXPECT_EQ(with(ShardKeyType::kText, ListPlacement{{{"a", 0, "a"}, {"a", 0, "a"}}, {}}),
            "value \"a\" is listed twice in keyspace \"k\"");
  EXPECT_EQ(with(ShardKeyType::kText, ListPlacement{{{"a", 1, "a"}}, {}}),
            "value \"a\" of keyspace \"k\" is owned by a shard that does not exist");
  EXPECT_EQ(with(ShardKeyType::kText, RangePlacement{{{"b", "a", 0, "[b, a)"}}}),
            "range [b, a) is empty in keyspace \"k\"");
  EXPECT_EQ(with(ShardKeyType::kText, SchemaPlacement{{{"x", 3}}}),
            "schema \"x\" of keyspace \"k\" is owned by a shard that does not exist");

  TopologyBuilder builder = strategies();
  EXPECT_EQ(message(builder.add_override("users", "42", "s1")),
            "key 42 of keyspace \"users\" is overridden twice");
  EXPECT_EQ(message(builder.add_override("users", "x", "s1")),
            "invalid input syntax for type bigint: \"x\"");
  EXPECT_EQ(message(builder.add_override("orders", "1", "s1")),
            "there is no hash keyspace \"orders\" to override a key of");
  EXPECT_EQ(message(builder.add_override("users", "1", "s9")),
            "an override names the unknown shard \"s9\"");
  EXPECT_EQ(
      message(builder.add_sharded_table("public", "t", "tenants", "id")),
      "table public.t names the keyspace \"tenants\" of schemas, whose tables are not declared");
  ASSERT_TRUE(
      builder.add_keyspace("more", ShardKeyType::kInt8, SchemaPlacement{{{"tenant_0", 0}}}));
  EXPECT_EQ(message(builder.build(1)), "schema \"tenant_0\" is listed in two keyspaces");
}

TEST(StrategiesBuilder, RangesOfTextNeedACollationThatSortsByBytes) {
  TopologyBuilder builder = strategies();
  builder.set_columns("public", "unread", {test_column("name", type_oid::kText, false)});
  const auto topology = builder.build(1);
  ASSERT_FALSE(topology);
  EXPECT_EQ(topology.error().message,
            "column \"name\" of public.unread, a key of the ranges of keyspace \"names\", has a "
            "collation that does not sort by bytes");
  EXPECT_FALSE(topology.error().hint.empty());
}

TEST(StrategiesBuilder, TheKeyMayHaveAnotherNameInEachTableButNotAnotherType) {
  TopologyBuilder builder = strategies();
  builder.set_columns("public", "items", {test_column("order_id", type_oid::kInt4)});
  const auto topology = builder.build(1);
  ASSERT_FALSE(topology);
  EXPECT_EQ(
      topology.error().message,
      "column \"order_id\" of public.items is of type integer, but keyspace \"orders\" has keys "
      "of type bigint");
  EXPECT_NE(topology.error().hint.find("ALTER the column's type to bigint"), std::string::npos);
}

}  // namespace
}  // namespace pgshunt
