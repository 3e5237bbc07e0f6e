#include "router/move_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "router/pg_hash.h"
#include "router/planner.h"
#include "router/router.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

class MovePlanning : public ::testing::Test {
 protected:
  MovePlanning() {
    auto topology = std::make_shared<Topology>(*test_topology());
    topology->moves_rows = true;
    topology_ = topology;
    for (Table& table : topology->tables) {
      if (table.name == "posts") table.move_obstacles = {{"has triggers", ""}};
      if (table.name == "users") table.move_obstacles = {{"has a foreign key", "name"}};
    }
  }

  std::string refused(const std::string& sql) {
    const auto plan = plan_statement(*topology_, {sql, {}, 0});
    return plan ? "planned" : plan.error().message;
  }

  ShardId shard_of(std::int64_t key) const {
    return topology_->keyspaces[0].hash()->owners[hash_int8(key) & (kBucketCount - 1)];
  }
  std::int64_t key_on(ShardId shard) const {
    std::int64_t key = 1;
    while (shard_of(key) != shard) ++key;
    return key;
  }

  std::shared_ptr<const Topology> topology_;
};

TEST_F(MovePlanning, RowsGoWhereTheNewKeyIs) {
  Router router(topology_);
  const std::int64_t from = key_on(2);
  const std::string update = "UPDATE users u SET name = 'x''y', id = ";
  const std::string where = " WHERE u.id = " + std::to_string(from);
  const auto route =
      router.route(update + std::to_string(key_on(0)) + where + " RETURNING u.id, name;");
  ASSERT_TRUE(route) << route.error().message;
  EXPECT_EQ(route->kind, RouteKind::kMoveRows);
  EXPECT_TRUE(route->writes);
  EXPECT_EQ(std::vector<ShardId>(route->shards.begin(), route->shards.end()),
            (std::vector<ShardId>{0, 2}));
  EXPECT_EQ(route->move_from, 2);
  EXPECT_EQ(route->sql, update + std::to_string(key_on(0)) + where +
                            "  RETURNING \"id\", \"name\", \"title\", \"country\", \"medium\", "
                            "\"seen\", ctid");

  MovedRows rows(*route->move);
  const WireValue null{true, {}};
  const std::vector<WireValue> row = {{false, "5"}, {false, "it's \\"}, null, null, null,
                                      null,         {false, "(0,1)"}};
  ASSERT_TRUE(rows.add(row));
  EXPECT_FALSE(rows.add(std::span(row).first(6)));
  ASSERT_TRUE(rows.add(row));
  EXPECT_EQ(rows.count(), 2u);
  EXPECT_EQ(rows.remove_sql(),
            "DELETE FROM \"users\" WHERE ctid = ANY ('{\"(0,1)\",\"(0,1)\"}'::pg_catalog.tid[])");
  const std::string values = "(E'5', E'it''s \\\\', NULL, NULL, NULL, NULL)";
  EXPECT_EQ(rows.insert_sql(),
            "INSERT INTO \"users\" AS \"u\" (\"id\", \"name\", \"title\", \"country\", \"medium\", "
            "\"seen\") OVERRIDING SYSTEM VALUE VALUES " +
                values + ", " + values + " RETURNING u.id, name");

  // On the same shard it is an UPDATE like any other.
  const auto same = router.route(update + std::to_string(from) + where);
  ASSERT_TRUE(same);
  EXPECT_EQ(same->kind, RouteKind::kOneShard);
  EXPECT_EQ(same->shards.front(), 2);
  EXPECT_TRUE(same->sql.empty());
  const auto null_key = router.route("UPDATE users SET id = NULL" + std::string(" WHERE id = 1"));
  ASSERT_FALSE(null_key);
  EXPECT_EQ(null_key.error().code.view(), "23502");
}

TEST_F(MovePlanning, ByParameters) {
  Router router(topology_);
  const auto plan = router.prepare("UPDATE users SET id = $2 WHERE id = $1 AND medium > 3", {});
  ASSERT_TRUE(plan) << plan.error().message;
  const std::string from = std::to_string(key_on(1));
  for (ShardId to = 0; to < 3; ++to) {
    const std::string key = std::to_string(key_on(to));
    const BoundValue values[] = {{false, false, 0, from}, {false, false, 0, key}};
    const auto route = router.bind(**plan, values);
    ASSERT_TRUE(route) << route.error().message;
    EXPECT_EQ(route->kind, to == 1 ? RouteKind::kOneShard : RouteKind::kMoveRows);
    EXPECT_EQ(route->move_from, 1);
  }
  EXPECT_NE(refused("UPDATE users SET id = $1, medium = $1 WHERE id = 5").find("is open"),
            std::string::npos);
}

TEST_F(MovePlanning, WhatWouldNotBeTheSameIsRefused) {
  for (const auto& [sql, why] : std::vector<std::pair<const char*, const char*>>{
           {"UPDATE posts SET user_id = 6 WHERE user_id = 5", "the table has triggers"},
           {"UPDATE unread SET user_id = 6 WHERE user_id = 5", "columns are not known"},
           {"UPDATE users SET id = id + 1 WHERE id = 5", "a constant or a parameter"},
           {"UPDATE users SET (id, name) = (SELECT 6, 'x') WHERE id = 5", "subquery"},
           {"UPDATE users SET id = 6", "has no shard key given"},
           {"UPDATE users SET id = 6 WHERE id IN (4, 5)", "the rows of one key"},
           {"UPDATE users SET id = 6 FROM countries c WHERE id = 5 AND c.code = country", "FROM"},
           {"UPDATE users SET id = 6 WHERE id = 5 RETURNING now()", "now() in RETURNING"},
           {"UPDATE users SET id = 6 WHERE id = 5 RETURNING ctid", "ctid in RETURNING"},
           {"UPDATE users SET id = 6 WHERE id = 5 RETURNING $1::int", "a value in RETURNING"},
           {"EXPLAIN UPDATE users SET id = 6 WHERE id = 5", "another statement"},
           {"WITH x AS (UPDATE users SET id = 6 WHERE id = 5 RETURNING *) SELECT * FROM x",
            "another statement"},
       }) {
    EXPECT_NE(refused(sql).find(why), std::string::npos) << sql << ": " << refused(sql);
  }
  topology_ = test_topology();
  EXPECT_NE(refused("UPDATE users SET id = 6 WHERE id = 5").find("may not set the shard key"),
            std::string::npos);
}

}  // namespace
}  // namespace pgshunt
