// The router's door: templates and their cache, prepared statements, epochs, session settings.

#include "router/router.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/frame.h"
#include "router/merge_node.h"
#include "router/pg_hash.h"
#include "router/statement_plan.h"
#include "tests/router/topologies.h"
#include "tests/support/allocation_count.h"

namespace pgshunt {
namespace {

class RouterTest : public ::testing::Test {
 protected:
  ShardId shard_of(std::int64_t key) const {
    const std::uint16_t keyspace = topology_->find_table("", "users")->keyspace;
    return topology_->keyspaces[keyspace].hash()->owners[hash_int8(key) & (kBucketCount - 1)];
  }
  // The shard a statement goes to; fails the test if it is not one.
  ShardId one(std::string_view sql, const RouterSession& session = {}) {
    const auto route = router_.route(sql, session);
    if (!route) {
      ADD_FAILURE() << sql << ": " << route.error().message;
      return 99;
    }
    EXPECT_EQ(route->kind, RouteKind::kOneShard) << sql;
    return route->shards.empty() ? 99 : route->shards[0];
  }
  std::string refused(std::string_view sql, const RouterSession& session = {}) {
    const auto route = router_.route(sql, session);
    return route ? "routed" : std::string(route.error().code.view());
  }

  std::shared_ptr<const Topology> topology_ = test_topology();
  Router router_{topology_};
};

TEST_F(RouterTest, StatementsThatDifferInLiteralsShareATemplate) {
  for (std::int64_t key = -200; key < 200; ++key) {
    EXPECT_EQ(one("SELECT * FROM users WHERE id = " + std::to_string(key)), shard_of(key));
    EXPECT_EQ(one("SELECT * FROM users WHERE id = '" + std::to_string(key) + "'"), shard_of(key));
    EXPECT_EQ(one("select *  from users /* x */ where id = E'" + std::to_string(key) + "'"),
              shard_of(key));
  }
  // "= 5" and "= -5" are two shapes, in two spellings of the keywords.
  EXPECT_LE(router_.counters().template_misses, 5u);
  EXPECT_EQ(router_.counters().template_hits + router_.counters().template_misses, 1200u);
}

TEST_F(RouterTest, TheKeyIsFoundAmongOtherLiterals) {
  EXPECT_EQ(one("INSERT INTO users (name, id) VALUES ('it''s', 7)"), shard_of(7));
  EXPECT_EQ(one("UPDATE users SET name = 'x', medium = 3 WHERE name <> 'y' AND id = 8"),
            shard_of(8));
  EXPECT_EQ(one("UPDATE users SET medium = -3 WHERE id = $x$9$x$"), shard_of(9));
  EXPECT_EQ(one("SELECT interval '1 day', numeric(5, 2) '1.5' FROM users WHERE id = 10"),
            shard_of(10));
}

TEST_F(RouterTest, OrdinalsAndTypeModifiersAreNotParameters) {
  for (const char* ordinal : {"1", "2"}) {
    const std::string sql = "SELECT id, name FROM users ORDER BY " + std::string(ordinal);
    const auto route = router_.route(sql);
    ASSERT_TRUE(route) << route.error().message;
    ASSERT_EQ(route->merge->keys.size(), 1u);
    EXPECT_EQ(route->merge->keys[0].index, std::stoi(ordinal) - 1);
  }
}

TEST_F(RouterTest, ScatterTextCarriesTheClientsLiterals) {
  for (int round = 0; round < 2; ++round) {
    const auto route = router_.route(
        "SELECT name FROM users WHERE name > 'it''s' AND medium = 1.50 ORDER BY id, medium + 7 "
        "LIMIT 10 OFFSET " +
        std::to_string(round + 3));
    ASSERT_TRUE(route) << route.error().message;
    EXPECT_EQ(route->kind, RouteKind::kScatter);
    EXPECT_EQ(route->shards.size(), 3u);
    EXPECT_EQ(route->window.limit, 10);
    EXPECT_EQ(route->window.offset, round + 3);
    EXPECT_EQ(route->sql,
              "SELECT name , (id) AS \"pgshunt.sort.1\" , (medium + 7) AS \"pgshunt.sort.2\" FROM "
              "users WHERE name > 'it''s' AND medium = 1.50 ORDER BY id, medium + 7  LIMIT "
              "(10)::bigint + least(coalesce((" +
                  std::to_string(round + 3) + ")::bigint, 0), 9223372036854775807 - (10)::bigint)");
  }
}

TEST_F(RouterTest, AValueMayTurnAHitIntoARefusal) {
  EXPECT_EQ(refused("UPDATE countries SET added = '2020-01-01'"), "routed");
  EXPECT_EQ(refused("UPDATE countries SET added = 'now'"), "0A000");
  EXPECT_EQ(refused("UPDATE countries SET added = ' Today 10:00 '"), "0A000");
  EXPECT_EQ(refused("UPDATE countries SET added = E'n\\x6fw'"), "0A000");
  EXPECT_EQ(refused("UPDATE countries SET added = 'no'\n'w'"), "0A000");
  EXPECT_EQ(refused("UPDATE countries SET added = E'2020\\x2d01-01'"), "routed");
  EXPECT_EQ(refused("SELECT * FROM users WHERE seen > '2020-01-01'"), "routed");
  EXPECT_EQ(refused("DELETE FROM users WHERE seen > 'yesterday'"), "0A000");
  EXPECT_EQ(one("SELECT * FROM users WHERE seen > 'yesterday' AND id = 5"), shard_of(5));
  EXPECT_EQ(refused("SELECT * FROM users WHERE id = 'x'"), "22P02");
  EXPECT_EQ(refused("INSERT INTO users (id) VALUES (5.5)"), "0A000");
  EXPECT_EQ(refused("SELECT id FROM users LIMIT 2"), "routed");
  EXPECT_EQ(refused("SELECT id FROM users LIMIT 1.5"), "0A000");
  EXPECT_EQ(refused("SELECT id FROM users LIMIT '1.5'"), "22P02");
}

TEST_F(RouterTest, SetConfigWouldReachOneShardOnly) {
  EXPECT_EQ(refused("SELECT set_config('jit', 'off', false)"), "routed");
  EXPECT_EQ(refused("SELECT pg_catalog.set_config('Enable_SeqScan', 'off', true)"), "routed");
  EXPECT_EQ(refused("SELECT set_config('timezone', 'UTC', false)"), "0A000");
  EXPECT_EQ(refused("SELECT set_config('search_path', 'other', true)"), "0A000");
  EXPECT_EQ(refused("SELECT set_config(name, 'off', true) FROM countries"), "0A000");
  EXPECT_EQ(refused("SELECT * FROM users WHERE id = 5 AND set_config('x.y', 'z', true) <> ''"),
            "0A000");
  const auto plan = router_.prepare("SELECT set_config($1, 'off', false)", {});
  ASSERT_TRUE(plan);
  const auto bind = [&](std::string_view name) {
    const BoundValue value{false, false, 0, name};
    const auto route = router_.bind(**plan, {&value, 1});
    return route ? std::string("routed") : std::string(route.error().code.view());
  };
  EXPECT_EQ(bind("jit"), "routed");
  EXPECT_EQ(bind("timezone"), "0A000");
}

TEST_F(RouterTest, ATextInBinaryMayNameAMomentToo) {
  const auto plan = router_.prepare("UPDATE countries SET added = $1::text::timestamptz", {});
  ASSERT_TRUE(plan);
  const BoundValue now{false, true, type_oid::kText, "now"};
  EXPECT_FALSE(router_.bind(**plan, {&now, 1}));
  const BoundValue then{false, true, type_oid::kText, "2020-01-01"};
  EXPECT_TRUE(router_.bind(**plan, {&then, 1}));
}

TEST_F(RouterTest, RowsOfSeveralShardsAreOneStatementForEach) {
  std::int64_t other = 2;
  while (shard_of(other) == shard_of(1)) ++other;
  std::int64_t same = 2;
  while (shard_of(same) != shard_of(1)) ++same;
  const auto insert = [](std::int64_t key) {
    return "INSERT INTO users (id) VALUES (1), (" + std::to_string(key) + ")";
  };
  const auto route = router_.route(insert(other));
  ASSERT_TRUE(route);
  EXPECT_EQ(route->kind, RouteKind::kWriteShards);
  EXPECT_EQ(route->texts.size(), 2u);
  EXPECT_EQ(one(insert(same)), shard_of(1));
  EXPECT_EQ(refused("INSERT INTO users (id) VALUES (NULL)"), "23502");
}

TEST_F(RouterTest, KeysThatCannotExistGoAnywhere) {
  for (const char* sql :
       {"SELECT * FROM users WHERE id = 5.5", "SELECT * FROM users WHERE id = NULL",
        "DELETE FROM users WHERE id = 99999999999999999999"}) {
    const auto route = router_.route(sql);
    ASSERT_TRUE(route) << sql;
    EXPECT_EQ(route->kind, RouteKind::kAnyShard) << sql;
  }
}

TEST_F(RouterTest, ATemplateTheGrammarDoesNotTakeIsPlannedFromItsText) {
  for (int key = 1; key < 4; ++key) {
    EXPECT_EQ(one("SELECT extract('year' FROM seen) FROM users WHERE id = " + std::to_string(key)),
              shard_of(key));
  }
}

TEST_F(RouterTest, AChangedMapIsNeverServedFromTheCache) {
  const std::string sql = "SELECT * FROM users WHERE id = 5";
  const ShardId before = one(sql);
  auto changed = std::make_shared<Topology>(*topology_);
  changed->epoch = 2;
  std::get<HashPlacement>(changed->keyspaces[0].placement)
      .owners.fill(static_cast<ShardId>((before + 1) % 3));
  const auto plan = router_.prepare("SELECT * FROM users WHERE id = $1", {});
  ASSERT_TRUE(plan);
  router_.set_topology(changed);
  EXPECT_EQ(one(sql), (before + 1) % 3);
  const BoundValue five{false, false, 0, "5"};
  EXPECT_EQ(router_.bind(**plan, {&five, 1}).error().code.view(), "55000");
  const auto fresh = router_.refresh(*plan);
  ASSERT_TRUE(fresh);
  EXPECT_EQ(router_.bind(**fresh, {&five, 1})->shards[0], (before + 1) % 3);
  EXPECT_EQ(*router_.refresh(*fresh), *fresh);

  // A table that is gone is gone for cached statements too.
  auto without = std::make_shared<Topology>(*changed);
  without->epoch = 3;
  std::erase_if(without->tables, [](const Table& table) { return table.name == "users"; });
  router_.set_topology(without);
  EXPECT_EQ(refused(sql), "42P01");
  EXPECT_EQ(router_.refresh(*fresh).error().code.view(), "42P01");
}

TEST_F(RouterTest, BindRoutesByTheDeclaredTypeAndFormat) {
  char binary[8];
  store_be64(binary, 77);
  struct Case {
    const char* sql;
    std::uint32_t type;
    BoundValue value;
  };
  const Case cases[] = {
      {"SELECT * FROM users WHERE id = $1", 0, {false, false, 0, "77"}},
      {"SELECT * FROM users WHERE id = $1", 0, {false, true, 0, {binary, 8}}},
      {"SELECT * FROM users WHERE id = $1", 20, {false, true, 20, {binary, 8}}},
      {"SELECT * FROM users WHERE id = $1", 23, {false, true, 23, {binary + 4, 4}}},
      {"SELECT * FROM users WHERE id = $1", 21, {false, true, 21, {binary + 6, 2}}},
      {"SELECT * FROM users WHERE id = $1::int8", 25, {false, false, 25, "77"}},
      {"INSERT INTO users (id) VALUES ($1)", 0, {false, false, 0, "77"}},
  };
  for (const Case& test : cases) {
    const auto plan = router_.prepare(test.sql, {&test.type, 1});
    ASSERT_TRUE(plan) << plan.error().message;
    const auto route = router_.bind(**plan, {&test.value, 1});
    ASSERT_TRUE(route) << test.sql << " " << test.type << ": " << route.error().message;
    EXPECT_EQ(route->kind, RouteKind::kOneShard);
    EXPECT_EQ(route->shards[0], shard_of(77));
  }
  const auto plan = router_.prepare("INSERT INTO users (id) VALUES ($1)", {});
  const BoundValue null{true, false, 0, {}};
  EXPECT_EQ(router_.bind(**plan, {&null, 1}).error().code.view(), "23502");
  EXPECT_EQ(router_.bind(**plan, {}).error().code.view(), "0A000");
}

TEST_F(RouterTest, PreparedScattersBindLimitsInTextAndBinary) {
  const auto plan = router_.prepare("SELECT name FROM users ORDER BY id LIMIT $1 OFFSET $2", {});
  ASSERT_TRUE(plan);
  EXPECT_EQ((*plan)->hidden_columns(), 1);
  EXPECT_NE((*plan)->shard_text(), (*plan)->text());
  char ten[8];
  store_be64(ten, 10);
  const BoundValue values[] = {{false, true, 0, {ten, 8}}, {false, false, 0, "3"}};
  const auto route = router_.bind(**plan, values);
  ASSERT_TRUE(route) << route.error().message;
  EXPECT_EQ(route->window.limit, 10);
  EXPECT_EQ(route->window.offset, 3);
  const BoundValue nulls[] = {{true, false, 0, {}}, {true, false, 0, {}}};
  EXPECT_EQ(router_.bind(**plan, nulls)->window.limit, RowWindow::kNoLimit);
  const BoundValue real[] = {{false, false, 701, "2.5"}, {true, false, 0, {}}};
  EXPECT_FALSE(router_.bind(**plan, real));
}

TEST_F(RouterTest, TheSameTextWithOtherTypesIsAnotherPlan) {
  const std::uint32_t text = type_oid::kText;
  const auto open = router_.prepare("SELECT * FROM users WHERE id = $1", {});
  const auto as_text = router_.prepare("SELECT * FROM users WHERE id = $1", {&text, 1});
  ASSERT_TRUE(open);
  ASSERT_TRUE(as_text);
  EXPECT_EQ((*open)->kind(), RouteKind::kOneShard);
  EXPECT_EQ((*as_text)->kind(), RouteKind::kScatter);
  EXPECT_EQ(*router_.prepare("SELECT * FROM users WHERE id = $1", {}), *open);
}

TEST_F(RouterTest, SettingsThatWouldChangeTheMeaningAreRespected) {
  RouterSession off;
  off.standard_conforming_strings = false;
  // '\'' is one quote then, and the statement goes on behind it.
  EXPECT_EQ(one("SELECT '\\' OR id = ' , * FROM users WHERE id = 5", off), shard_of(5));
  EXPECT_FALSE(router_.prepare("SELECT '\\'", {}, off));
  RouterSession latin;
  latin.same_encoding = false;
  EXPECT_EQ(refused("SELECT * FROM accounts WHERE login = '\xe4'", latin), "0A000");
  EXPECT_EQ(refused("SELECT * FROM accounts WHERE login = 'a'", latin), "routed");
  RouterSession path;
  path.default_search_path = false;
  EXPECT_EQ(refused("SELECT * FROM users WHERE id = 5", path), "0A000");
  EXPECT_EQ(one("SELECT * FROM public.users WHERE id = 5", path), shard_of(5));
  EXPECT_EQ(refused("SELECT 1", path), "routed");
}

TEST_F(RouterTest, ASearchPathOfTheSessionsOwnIsFollowed) {
  const SearchPath archive({"archive", "public"});
  const SearchPath unknown({"somewhere", "public"});
  RouterSession session;
  session.default_search_path = false;
  session.search_path = &archive;
  for (int i = 0; i < 2; ++i) {  // the second time from the cache
    const auto route = router_.route("SELECT count(name) + 1 FROM users", session);
    ASSERT_TRUE(route);
    ASSERT_NE(route->merge_node, nullptr);
    EXPECT_NE(route->merge_node->by_rows->inputs.front().select.find("\"archive\".\"users\""),
              std::string::npos);
    EXPECT_EQ(one("SELECT * FROM posts WHERE user_id = 5", session), shard_of(5));
    EXPECT_EQ(refused("CREATE TABLE users (id bigint)", session), "0A000");
  }
  // It may have a table of that name.
  session.search_path = &unknown;
  EXPECT_EQ(refused("SELECT * FROM users WHERE id = 5", session), "0A000");
  EXPECT_EQ(refused("SELECT * FROM nowhere", session), "0A000");
  session.search_path = &archive;
  EXPECT_EQ(refused("SELECT * FROM nowhere", session), "42P01");
}

TEST_F(RouterTest, SeveralStatementsAreNotRoutedByTheFirst) {
  EXPECT_EQ(refused("SELECT * FROM users WHERE id = 5; DELETE FROM users WHERE id = 6"), "0A000");
  EXPECT_EQ(one("SELECT * FROM users WHERE id = 5;"), shard_of(5));
}

TEST_F(RouterTest, TheCacheIsBounded) {
  Router small(topology_, 8);
  for (int i = 0; i < 10000; ++i) {
    const std::string sql = "SELECT c" + std::to_string(i) + " FROM users WHERE id = 5";
    ASSERT_TRUE(small.route(sql));
  }
  EXPECT_EQ(small.counters().template_misses, 10000u);
}

TEST_F(RouterTest, AHitAllocatesNothing) {
  const std::string statements[] = {
      "SELECT * FROM users WHERE id = 12345",
      "UPDATE users SET name = 'some text that is long enough to need the heap' WHERE id = 12",
      "INSERT INTO users (id, name) VALUES (5, 'some text that is long enough to need the heap')",
      "SELECT name FROM users ORDER BY id LIMIT 10 OFFSET 20",
      "SELECT * FROM accounts WHERE login = 'a login that is long enough to need the heap'",
  };
  const auto plan = router_.prepare("SELECT * FROM users WHERE id = $1", {});
  const BoundValue value{false, false, 0, "123456789"};
  const auto run = [&] {
    for (const std::string& sql : statements) ASSERT_TRUE(router_.route(sql));
    ASSERT_TRUE(router_.bind(**plan, {&value, 1}));
    ASSERT_TRUE(router_.prepare("SELECT * FROM users WHERE id = $1", {}));
  };
  run();
  run();
  const std::size_t before = allocation_count();
  run();
  EXPECT_EQ(allocation_count() - before, 0u);
}

}  // namespace
}  // namespace pgshunt
