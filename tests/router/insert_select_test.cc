#include "router/insert_select.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "router/router.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

// before|select|behind
std::string cut(std::string_view sql) {
  const auto read = read_insert_select(sql);
  return read ? read->before + "|" + read->select + "|" + read->behind : "none";
}

TEST(InsertSelect, IsCutAtItsSelect) {
  EXPECT_EQ(cut("INSERT INTO t SELECT 1"), "INSERT INTO t |SELECT 1| ");
  EXPECT_EQ(cut("INSERT INTO s.t AS x (a, b) OVERRIDING SYSTEM VALUE TABLE u ;"),
            "INSERT INTO s.t AS x (a, b) OVERRIDING SYSTEM VALUE |TABLE u| ");
  EXPECT_EQ(cut("INSERT INTO t(a)(SELECT 1) RETURNING a"),
            "INSERT INTO t(a)|(SELECT 1) | RETURNING a");
  EXPECT_EQ(cut("INSERT INTO t(SELECT 1)"), "INSERT INTO t|(SELECT 1)| ");
  EXPECT_EQ(cut("INSERT INTO t (values) SELECT x.returning AS returning FROM x"),
            "INSERT INTO t (values) |SELECT x.returning AS returning FROM x| ");
  EXPECT_EQ(cut("WITH insert AS (SELECT 1 INTERSECT SELECT 2) INSERT INTO t SELECT * FROM insert"),
            "INSERT INTO t |WITH insert AS (SELECT 1 INTERSECT SELECT 2) SELECT * FROM insert| ");
  EXPECT_EQ(cut("INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x"),
            "INSERT INTO t |WITH x AS (SELECT 1) SELECT * FROM x| ");
  EXPECT_EQ(
      cut("INSERT INTO \"t\" SELECT 1 FROM a JOIN b ON conflict = 1 ON CONFLICT (x) DO UPDATE "
          "SET y = 2 WHERE t.z RETURNING (SELECT 1)"),
      "INSERT INTO \"t\" |SELECT 1 FROM a JOIN b ON conflict = 1 |"
      " ON CONFLICT (x) DO UPDATE SET y = 2 WHERE t.z RETURNING (SELECT 1)");
  EXPECT_EQ(cut("INSERT INTO t SELECT 1 FROM a JOIN b ON conflict"),
            "INSERT INTO t |SELECT 1 FROM a JOIN b ON conflict| ");
  // Whose WITH it is would have to be told apart.
  EXPECT_EQ(cut("WITH x AS (SELECT 1) INSERT INTO t WITH y AS (SELECT 1) SELECT * FROM x, y"),
            "none");
  for (const char* sql : {"SELECT 1", "INSERT INTO t DEFAULT VALUES", "INSERT INTO t SELECT ("}) {
    EXPECT_EQ(cut(sql), "none") << sql;
  }
}

// The open columns of five: "0 3$1", with the parameter's number from 0.
std::string open_columns(std::string_view sql) {
  const auto read = read_insert_select(sql);
  if (!read) return "none";
  std::string out;
  for (const InsertSelect::OpenColumn& open : read->open_columns) {
    out.append(out.empty() ? "" : " ").append(std::to_string(open.index(5)));
    if (open.parameter) out.append("$").append(std::to_string(*open.parameter));
  }
  return out;
}

TEST(InsertSelect, KnowsValuesWithoutAType) {
  EXPECT_EQ(open_columns("INSERT INTO t SELECT 'a', 1, NULL, $2, 'b'::text"), "0 2 3$1");
  EXPECT_EQ(open_columns("INSERT INTO t SELECT 'a', x.*, $1, now(), NULL FROM x"), "0 4 2$0");
  EXPECT_EQ(open_columns("INSERT INTO t SELECT 'a', *, 'b', y.*, $1 FROM x, y"), "0 4$0");
  // What is compared has a type, and what orders or groups may be.
  for (const char* sql :
       {"INSERT INTO t SELECT DISTINCT 'a'", "INSERT INTO t SELECT 'a' UNION SELECT 'b'",
        "INSERT INTO t SELECT 'a', b FROM x GROUP BY 1, 2",
        "INSERT INTO t SELECT 'a' ORDER BY 1"}) {
    EXPECT_EQ(open_columns(sql), "") << sql;
  }
}

TEST(InsertSelect, IsNotCutFromAWithThatIsReadBehindIt) {
  const std::string sql =
      "WITH \"T\" AS (SELECT 1) INSERT INTO t SELECT 1 FROM \"T\" RETURNING (SELECT ";
  EXPECT_EQ(cut(sql + "count(*) FROM \"T\")"), "none");
  EXPECT_NE(cut(sql + "count(*) FROM t)"), "none");
}

TEST(InsertSelect, RowsAreWrittenWithTheirTypes) {
  const auto insert =
      read_insert_select("INSERT INTO t (a, b) SELECT 1, '' ON CONFLICT DO NOTHING");
  ASSERT_TRUE(insert);
  const std::string one = one_row_insert(*insert, 2, 3);
  EXPECT_EQ(one, "INSERT INTO t (a, b) VALUES ($3, $4) ON CONFLICT DO NOTHING");
  const auto texts =
      RowTexts::create("INSERT INTO t (a, b, c) VALUES ($3, $4, ($5::int8)) ON CONFLICT DO NOTHING",
                       3, {"pg_catalog.int8", ""});
  ASSERT_TRUE(texts);
  std::string out;
  const WireValue row[] = {{false, "7"}, {false, "it's \\"}};
  const WireValue other[] = {{}, {}};
  const std::int64_t number = 42;
  texts->add_row(out, row, {&number, 1});
  texts->add_row(out, other, {&number, 1});
  texts->finish(out);
  EXPECT_EQ(out,
            "INSERT INTO t (a, b, c) VALUES (E'7'::pg_catalog.int8, E'it''s \\\\', (42::int8)), "
            "(NULL::pg_catalog.int8, NULL, (42::int8)) ON CONFLICT DO NOTHING");
  const std::string types[] = {"pg_catalog.int8", ""};
  EXPECT_EQ(no_row_insert(*insert, types),
            "INSERT INTO t (a, b) SELECT NULL::pg_catalog.int8, NULL WHERE false ON CONFLICT DO "
            "NOTHING");
}

class InsertSelectRoutes : public ::testing::Test {
 protected:
  RouteKind kind(std::string_view sql) {
    const auto route = router_.route(sql);
    error_ = route ? "" : route.error().message;
    return route ? route->kind : RouteKind::kMakeValues;
  }

  Router router_{test_topology()};
  std::string error_;
};

TEST_F(InsertSelectRoutes, GoThroughTheProxyOnlyIfTheyMust) {
  // Rows stay where they are.
  EXPECT_EQ(kind("INSERT INTO posts (user_id, body) SELECT id, name FROM users"),
            RouteKind::kWriteShards);
  EXPECT_EQ(kind("INSERT INTO posts (user_id, body) SELECT 5, name FROM users WHERE id = 5"),
            RouteKind::kOneShard);
  // They do not, or nobody knows.
  for (const char* sql :
       {"INSERT INTO posts (user_id, body) SELECT medium, name FROM users",
        "INSERT INTO posts (user_id, body) SELECT 5, name FROM users",
        "INSERT INTO posts (user_id, body) SELECT g, 'x' FROM generate_series(1, 9) g",
        "INSERT INTO accounts (login) SELECT name FROM users ORDER BY name LIMIT 5",
        "INSERT INTO countries (code, added) SELECT name, '2024-01-01' FROM users",
        "INSERT INTO notes SELECT id FROM users", "INSERT INTO notes SELECT * FROM memos"}) {
    EXPECT_EQ(kind(sql), RouteKind::kInsertSelect) << sql << ": " << error_;
  }
}

TEST_F(InsertSelectRoutes, KeysDecideWhenTheyAreKnown) {
  const auto shard = [&](int key) {
    return router_.route("SELECT 1 FROM users WHERE id = " + std::to_string(key))->shards[0];
  };
  int other = 2;
  while (shard(other) == shard(1)) ++other;
  const std::string sql =
      "INSERT INTO posts (user_id, body) SELECT 1, body FROM posts WHERE user_id = ";
  EXPECT_EQ(kind(sql + "1"), RouteKind::kOneShard);
  EXPECT_EQ(kind(sql + std::to_string(other)), RouteKind::kInsertSelect);
  // The text is the statement's own.
  const auto route = router_.route(sql + std::to_string(other));
  EXPECT_EQ(route->insert_select->select,
            "SELECT 1, body FROM posts WHERE user_id = " + std::to_string(other));
}

TEST_F(InsertSelectRoutes, AreRefusedForWhatOneOfTheTwoIs) {
  kind("INSERT INTO posts (user_id, likes) SELECT likes, cmin FROM posts");
  EXPECT_NE(error_.find("cmin"), std::string::npos) << error_;
  kind("INSERT INTO posts (user_id, id) SELECT likes, 1 FROM posts ON CONFLICT (id) DO NOTHING");
  EXPECT_NE(error_.find("ON CONFLICT does not contain the shard key"), std::string::npos) << error_;
}

TEST_F(InsertSelectRoutes, AreStoredInBatchesIfNobodySeesIt) {
  const auto batches = [&](std::string_view sql) {
    const auto route = router_.route(sql);
    return route && route->insert_select && route->insert_select->in_batches;
  };
  const std::string sql = "INSERT INTO posts (user_id, id) SELECT likes, 1 FROM posts";
  EXPECT_TRUE(batches(sql));
  EXPECT_TRUE(batches(sql + " ON CONFLICT DO NOTHING"));
  EXPECT_FALSE(batches(sql + " ON CONFLICT (user_id, id) DO UPDATE SET body = ''"));
  // Who knows what triggers it has?
  EXPECT_FALSE(batches("INSERT INTO unread (user_id) SELECT likes FROM posts"));
}

}  // namespace
}  // namespace pgshunt
