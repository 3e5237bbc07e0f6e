// What shards are asked of their groups, and which statements are none of this kind. That the
// answers are right group_equivalence_test.cc shows.
#include "router/group_plan.h"

#include <gtest/gtest.h>

#include <string>

#include "router/planner.h"
#include "router/router.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

class GroupPlan : public ::testing::Test {
 protected:
  // The shards' text; empty if groups are not put together here.
  std::string text(const std::string& sql) {
    const auto data = plan_statement(*topology_, {sql, {}, 0});
    if (!data || data->kind != RouteKind::kScatter || !data->merge.groups) return {};
    plan_ = *data;
    return data->shard_text;
  }
  std::shared_ptr<const Topology> topology_ = test_topology();
  StatementPlanData plan_;
};

TEST_F(GroupPlan, ColumnsStayAsTheyAreWritten) {
  EXPECT_EQ(text("SELECT count(*) FROM users"), "SELECT count(*) FROM users");
  EXPECT_EQ(text("select  Count( * ) As n,  5 from users u where name = 'x';"),
            "SELECT Count( * ) As n,  5 from users u where name = 'x'");
  EXPECT_EQ(
      text("SELECT avg(id), sum(id) FROM users"),
      R"(SELECT avg(id), sum(id), sum(id) AS "pgshunt.1", count(id) AS "pgshunt.2" FROM users)");
  EXPECT_EQ(text("SELECT avg(id) FILTER (WHERE id > 5), avg(id) FILTER (WHERE id > 5) FROM users"),
            R"(SELECT avg(id) FILTER (WHERE id > 5), avg(id) FILTER (WHERE id > 5), )"
            R"(sum(id) FILTER (WHERE id > 5) AS "pgshunt.1", )"
            R"(count(id) FILTER (WHERE id > 5) AS "pgshunt.2" FROM users)");
}

TEST_F(GroupPlan, KeysAreSorted) {
  EXPECT_EQ(text("SELECT name, count(*) FROM users GROUP BY name"),
            "SELECT name, count(*) FROM users GROUP BY name ORDER BY 1");
  EXPECT_EQ(text("SELECT count(*) FROM users GROUP BY medium"),
            R"(SELECT count(*), (medium) AS "pgshunt.1" FROM users GROUP BY medium ORDER BY 2)");
  // As bytes, whatever the collation.
  EXPECT_EQ(text("SELECT country c, count(*) FROM users GROUP BY c"),
            R"(SELECT country c, count(*) FROM users GROUP BY c ORDER BY (country) COLLATE "C")");
  EXPECT_EQ(
      text("SELECT count(*), left(country, 1) FROM users GROUP BY 2, name"),
      R"(SELECT count(*), left(country, 1), (name) AS "pgshunt.1" FROM users GROUP BY 2, name )"
      R"(ORDER BY (left(country, 1)) COLLATE "C", 3)");
  EXPECT_EQ(
      text("SELECT DISTINCT country, users.id FROM users"),
      R"(SELECT country, users.id FROM users GROUP BY 1, 2 ORDER BY (country) COLLATE "C", 2)");
  EXPECT_EQ(text("SELECT DISTINCT * FROM countries, users WHERE code = country"), "");
  EXPECT_EQ(
      text("SELECT DISTINCT * FROM posts p"),
      R"(SELECT * FROM posts p GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, ("p"."body") COLLATE "C", 4)");
}

TEST_F(GroupPlan, WhatDistinctIsAboutIsTheLastKey) {
  EXPECT_EQ(
      text("SELECT count(DISTINCT name), count(*) FROM users"),
      R"(SELECT count(DISTINCT name), count(*), (name) AS "pgshunt.1" FROM users GROUP BY (name) ORDER BY 3)");
  EXPECT_EQ(
      text("SELECT medium, count(DISTINCT country) FROM users GROUP BY 1 ORDER BY 1 LIMIT 3"),
      R"(SELECT medium, count(DISTINCT country), (country) AS "pgshunt.1" FROM users GROUP BY 1, (country) )"
      R"(ORDER BY 1, (country) COLLATE "C")");
  // A server would say that name is in no group.
  EXPECT_EQ(text("SELECT name, count(DISTINCT name) FROM users"), "");
}

TEST_F(GroupPlan, OrderIsTheMergesOrASort) {
  EXPECT_EQ(text("SELECT name, medium, count(*) FROM users GROUP BY 1, 2 ORDER BY medium DESC, 1 "
                 "NULLS FIRST LIMIT 5"),
            "SELECT name, medium, count(*) FROM users GROUP BY 1, 2 ORDER BY 2 DESC, 1 NULLS FIRST "
            "LIMIT (5)::bigint");
  EXPECT_TRUE(plan_.merge.groups->order.empty());
  EXPECT_EQ(text("SELECT name, count(*) FROM users GROUP BY 1 ORDER BY 2 DESC LIMIT 5"),
            "SELECT name, count(*) FROM users GROUP BY 1 ORDER BY 1");
  EXPECT_EQ(plan_.merge.groups->order.size(), 1u);
  EXPECT_EQ(
      text("SELECT name FROM users GROUP BY name ORDER BY max(id), count(*) LIMIT $1 OFFSET $2"),
      R"(SELECT name, max(id) AS "pgshunt.1", count(*) AS "pgshunt.2" FROM users GROUP BY name ORDER BY 1)"
      R"( LIMIT (NULL)::bigint + coalesce(($1)::bigint, 0) + coalesce(($2)::bigint, 0))");
  EXPECT_EQ(plan_.merge.hidden_columns, 2);
  EXPECT_EQ(
      text("SELECT country, count(*) FROM users GROUP BY 1 ORDER BY country COLLATE \"C\" DESC "
           "OFFSET 2"),
      R"(SELECT country, count(*) FROM users GROUP BY 1 ORDER BY (country) COLLATE "C" DESC)");
  EXPECT_EQ(text("SELECT count(*) FROM users LIMIT 1 OFFSET $1"),
            "SELECT count(*) FROM users LIMIT (NULL)::bigint + coalesce(($1)::bigint, 0)");
}

TEST_F(GroupPlan, LeavesToOthersWhatItCannotPutTogether) {
  for (const char* sql :
       {"SELECT count(*) + 1 FROM users",
        "SELECT count(DISTINCT id) FILTER (WHERE id > 5) FROM users",
        "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1",
        "SELECT array_agg(id) FROM users",
        "SELECT string_agg(name, ',' ORDER BY id) FROM users",
        "SELECT max(country) FROM users",
        "SELECT country, count(*) FROM users GROUP BY 1 ORDER BY 1",
        "SELECT DISTINCT ON (name) name, id FROM users ORDER BY name",
        "SELECT name, count(*) FROM users GROUP BY ROLLUP (name)",
        "SELECT name FROM users GROUP BY DISTINCT name",
        "SELECT count(*) FROM users GROUP BY ()",
        "SELECT count(*) OVER () FROM users GROUP BY name",
        "SELECT count(*) FROM users, posts",
        "SELECT count(*) FROM unread",
        "SELECT count(x) FROM users AS u (x)",
        "SELECT count(*) FROM users WHERE seen > now()",
        "SELECT count(*) FROM users FOR UPDATE",
        "SELECT name, pure(name), count(*) FROM users GROUP BY name",  // may be a set
        "SELECT count(*) FROM (SELECT 1 FROM users) x",
        "WITH x AS (SELECT 1) SELECT count(*) FROM users",
        "SELECT DISTINCT count(*) FROM users GROUP BY name",
        "SELECT sum(id::float8) FROM users",
        "SELECT sum(id * 2.5::float8) FROM users",
        "SELECT DISTINCT name FROM users ORDER BY lower(name)",
        "SELECT name, count(*) AS medium FROM users GROUP BY name ORDER BY medium + 1",
        "SELECT count(*) FROM users LIMIT 1 + 1",
        "SELECT count(*) FROM users ORDER BY count(*) USING <"}) {
    EXPECT_EQ(text(sql), "") << sql;
  }
}

TEST_F(GroupPlan, OnlyWhereTheyCanBeTaken) {
  for (const char* sql :
       {"COPY (SELECT count(*) FROM users) TO STDOUT",
        "DECLARE c CURSOR FOR SELECT count(*) FROM users", "EXPLAIN SELECT count(*) FROM users",
        "INSERT INTO countries SELECT DISTINCT name FROM users",
        "INSERT INTO users (id) SELECT count(*) FROM posts"}) {
    const auto data = plan_statement(*topology_, {sql, {}, 0});
    EXPECT_FALSE(data && data->merge.groups) << sql;
  }
  PlanRequest request{"SELECT count(*) FROM users", {}, 0};
  request.merges_groups = false;
  EXPECT_EQ(plan_statement(*topology_, request)->kind, RouteKind::kMergeNode);
}

// A parameter stands for each literal of a simple query: that two are the same shows with them.
TEST_F(GroupPlan, LiteralsThatAreTheSame) {
  Router router(topology_);
  for (int round = 0; round < 2; ++round) {
    const auto route = router.route(
        "SELECT medium % 10, count(*) FROM users GROUP BY medium % 10 ORDER BY medium % 10 LIMIT "
        "5");
    ASSERT_TRUE(route) << route.error().message;
    ASSERT_EQ(route->kind, RouteKind::kScatter);
    ASSERT_TRUE(route->merge->groups);
    EXPECT_EQ(route->sql,
              "SELECT medium % 10, count(*) FROM users GROUP BY medium % 10 ORDER BY 1 LIMIT "
              "(5)::bigint");
    EXPECT_EQ(route->window.limit, 5);
    const auto other = router.route(
        "SELECT medium % 10, count(*) FROM users GROUP BY medium % 10 "
        "ORDER BY medium % 7 LIMIT 5");
    ASSERT_TRUE(other);
    EXPECT_EQ(other->kind, RouteKind::kMergeNode);
  }
}

TEST_F(GroupPlan, KeysOnSeveralShards) {
  Router router(topology_);
  const auto route = router.route("SELECT count(*) FROM users WHERE id IN (1, 2, 3, 4, 5, 6, 7)");
  ASSERT_TRUE(route);
  EXPECT_EQ(route->kind, RouteKind::kScatter);
  EXPECT_TRUE(route->merge->groups);
  const auto one = router.route("SELECT count(*) FROM users WHERE id IN (1)");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->kind, RouteKind::kOneShard);
}

}  // namespace
}  // namespace pgshunt
