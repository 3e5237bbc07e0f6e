#include "router/insert_rows.h"

#include <gtest/gtest.h>

#include <string>

#include "router/insert_split.h"
#include "router/router.h"
#include "router/template.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

// The rows between bars.
std::string rows_of(std::string_view sql) {
  InsertRows rows;
  if (!find_insert_rows(sql, true, rows)) return "none";
  std::string out;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) out.append(rows.row(sql, i)).append("|");
  return out + (rows.same_length ? "" : "uneven");
}

TEST(InsertRows, AreFoundWhereTheyStand) {
  EXPECT_EQ(rows_of("INSERT INTO t VALUES (1, 'a)'), (f(2, 3), $$($$) RETURNING (1), (2)"),
            "(1, 'a)')|(f(2, 3), $$($$)|");
  EXPECT_EQ(rows_of("INSERT INTO values (a) VALUES (1),(2)"), "(1)|(2)|");
  EXPECT_EQ(rows_of("insert into s.values AS values values (ARRAY[1, 2])"), "(ARRAY[1, 2])|");
  EXPECT_EQ(rows_of("WITH x AS (VALUES (1), (2)) INSERT INTO t (a) VALUES (3), (4)"), "(3)|(4)|");
  EXPECT_EQ(rows_of("INSERT INTO t VALUES (1), (2, 3)"), "(1)|(2, 3)|uneven");
  for (const char* sql : {"VALUES (1), (2)", "WITH x AS (SELECT 1) VALUES (1), (2)",
                          "INSERT INTO t", "INSERT INTO t SELECT * FROM (VALUES (1), (2)) x",
                          "INSERT INTO t VALUES", "INSERT INTO t VALUES (1), ",
                          "INSERT INTO t VALUES (1), (2", "", "INSERT INTO t VALUES ((1)"}) {
    EXPECT_EQ(rows_of(sql), "none") << sql;
  }
}

TEST(InsertRows, GoToTheirShards) {
  Router router(test_topology());
  const auto shard_of = [&router](int key) {
    return router.route("SELECT * FROM users WHERE id = " + std::to_string(key))->shards[0];
  };
  std::string sql = "INSERT INTO users (name, id) VALUES ('n', 1)";
  for (int key = 2; key <= 2000; ++key) {
    sql.append(",\n").append(60, ' ');  // beyond what a template may have
    sql += "('n', " + std::to_string(key) + ")";
  }
  sql += " RETURNING id";
  const auto route = router.route(sql);
  ASSERT_GT(sql.size(), kMaxTemplateBytes);
  ASSERT_TRUE(route) << route.error().message;
  EXPECT_EQ(route->kind, RouteKind::kWriteShards);
  ASSERT_EQ(route->shards.size(), 3u);
  ASSERT_EQ(route->texts.size(), 3u);
  ASSERT_EQ(route->row_order.size(), 2000u);
  std::vector<std::string> texts(route->texts.begin(), route->texts.end());
  std::vector<std::uint16_t> order(route->row_order.begin(), route->row_order.end());
  for (int key = 1; key <= 2000; ++key) {
    EXPECT_EQ(order[static_cast<std::size_t>(key) - 1], shard_of(key));
    const std::string row = "('n', " + std::to_string(key) + ")";
    EXPECT_NE(texts[shard_of(key)].find(row), std::string::npos);
  }
  for (const std::string& text : texts) {
    EXPECT_TRUE(text.starts_with("INSERT INTO users (name, id) VALUES ('n', "));
    EXPECT_TRUE(text.ends_with(") RETURNING id"));
  }
}

TEST(InsertRows, ThatDependOnTheirShardAreRefused) {
  Router router(test_topology());
  for (const char* values : {"(1, clock_timestamp()), (2, now()), (3, now()), (4, now())",
                             "(1, 'x'), (2, 'today'), (3, 'x'), (4, 'x')",
                             "(1, 'x'), (2, E'n\\x6fw'), (3, 'x'), (4, 'x')",
                             "(1, 'x'), (2, version()), (3, 'x'), (4, 'x')"}) {
    const auto route = router.route(std::string("INSERT INTO users (id, seen) VALUES ") + values);
    ASSERT_FALSE(route) << values;
    EXPECT_EQ(route.error().code.view(), "0A000") << values;
  }
  EXPECT_TRUE(router.route("INSERT INTO users (id, seen) VALUES (1, now()), (1, now())"));
  // As text it is a word like any other.
  EXPECT_TRUE(router.route(
      "INSERT INTO users (id, name) VALUES (1, 'now'), (2, E'n\\x6fw'), (3, 'today'), (4, 'x')"));
  EXPECT_EQ(router.route("INSERT INTO users (id, seen) VALUES (1, 'x'), (2)").error().code.view(),
            "42601");
}

TEST(InsertRows, ReadOneMoment) {
  Router router(test_topology());
  const std::string insert =
      "INSERT INTO users (id, seen) VALUES (1, now()), (2, NULL), (3, CURRENT_TIMESTAMP), (4, "
      "'2020-01-01')";
  const auto route = router.route(insert);
  ASSERT_TRUE(route);
  EXPECT_TRUE(route->fixes_moment);
  std::string all;
  for (const std::string& text : route->texts) all += text;
  EXPECT_EQ(all.find("now()"), std::string::npos) << all;
  EXPECT_EQ(all.find("CURRENT_TIMESTAMP"), std::string::npos) << all;
  EXPECT_NE(all.find("(1, (SELECT pg_catalog.current_setting("), std::string::npos) << all;

  const auto plan = router.prepare(insert + " ON CONFLICT (id) DO UPDATE SET seen = now()", {});
  ASSERT_TRUE(plan);
  const auto bound = router.bind(**plan, {});
  ASSERT_TRUE(bound);
  ASSERT_NE(bound->split, nullptr);
  EXPECT_TRUE(bound->fixes_moment);
  EXPECT_EQ(bound->split->rows[0].find("now()"), std::string::npos);
  EXPECT_EQ(bound->split->behind.find("now()"), std::string::npos);

  const auto reference =
      router.route("INSERT INTO countries (code, added) VALUES ('a', '2020-01-01'), ('b', now())");
  ASSERT_TRUE(reference);
  EXPECT_EQ(reference->kind, RouteKind::kEveryShard);
  EXPECT_TRUE(reference->fixes_moment);
  EXPECT_EQ(reference->sql.find("now()"), std::string::npos) << reference->sql;
  // On one shard its own clock is good enough.
  EXPECT_FALSE(
      router.route("INSERT INTO users (id, seen) VALUES (1, now()), (1, now())")->fixes_moment);
}

TEST(InsertRows, OfAPreparedStatementArePartedByValue) {
  Router router(test_topology());
  const auto plan = router.prepare(
      "INSERT INTO users (id, name) VALUES ($1, $2), ($3, $4), ($5, $6) ON CONFLICT (id) DO UPDATE "
      "SET name = $7",
      {});
  ASSERT_TRUE(plan) << plan.error().message;
  std::vector<std::string> keys;
  for (int key = 1; keys.size() < 2; ++key) {
    const auto shard = router.route("SELECT * FROM users WHERE id = " + std::to_string(key));
    if (shard->shards[0] == keys.size()) keys.push_back(std::to_string(key));
  }
  std::vector<BoundValue> values(7);
  for (BoundValue& value : values) value.bytes = "text";
  values[0].bytes = values[4].bytes = keys[1];
  values[2].bytes = keys[0];
  const auto route = router.bind(**plan, values);
  ASSERT_TRUE(route) << route.error().message;
  ASSERT_NE(route->split, nullptr);
  EXPECT_TRUE(route->split->uniform);
  EXPECT_EQ(std::vector<std::uint16_t>(route->row_order.begin(), route->row_order.end()),
            (std::vector<std::uint16_t>{1, 0, 1}));
  const InsertPart part = part_of_insert(*route->split, route->row_order, 1);
  EXPECT_EQ(part.text,
            "INSERT INTO users (id, name) VALUES ($1, $2), ($3, $4) ON CONFLICT (id) DO UPDATE SET "
            "name = $5");
  EXPECT_EQ(part.parameters, (std::vector<std::uint16_t>{0, 1, 4, 5, 6}));
  values.pop_back();
  EXPECT_EQ(router.bind(**plan, values).error().code.view(), "08P01");
}

}  // namespace
}  // namespace pgshunt
