// Statement by statement: where it goes, or which clause stops it. Every line of "what peers get
// wrong" that can be asked of a planner is here; tests/router/equivalence_test.cc asks a server.

#include "router/planner.h"

#include <gtest/gtest.h>

#include <string>

#include "router/merge_node.h"
#include "router/router.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

class Planner : public ::testing::Test {
 protected:
  // "one", "scatter", ... or the error's SQLSTATE and message. What is left to the merge node says
  // why it is, as if it were refused. Groups are looked at in group_plan_test.cc.
  std::string plan(const std::string& sql, std::vector<std::uint32_t> types = {}) {
    PlanRequest request{sql, std::move(types), 0};
    request.merges_groups = false;
    const auto data = plan_statement(*topology_, request);
    if (!data) {
      last_ = {};
      return std::string(data.error().code.view()) + " " + data.error().message;
    }
    last_ = *data;
    switch (data->kind) {
      case RouteKind::kAnyShard:
        return "any";
      case RouteKind::kHomeShard:
        return "home";
      case RouteKind::kOneShard:
        return "one";
      case RouteKind::kScatter:
        return "scatter";
      case RouteKind::kEveryShard:
        return "every";
      case RouteKind::kWriteShards:
        return "write";
      case RouteKind::kMoveRows:
        return "move";
      case RouteKind::kInsertSelect:
        return "insert select";
      case RouteKind::kMergeNode:
        return "0A000 " + data->merge_node->why;
      case RouteKind::kCopySplit:
        return "split";
      case RouteKind::kCopyMerge:
        return "merge";
      case RouteKind::kCopyQuery:
        return "copy";
      case RouteKind::kCursor:
        return "cursor";
      case RouteKind::kMakeValues:
        return "values to be made";
      case RouteKind::kLookup:
        return "lookup";
    }
    return "?";
  }

  void expect(const char* outcome, std::initializer_list<const char*> statements) {
    for (const char* sql : statements) EXPECT_EQ(plan(sql), outcome) << sql;
  }

  // Refused with 0A000, a message that says `words`, and a hint; or left to the merge node for that
  // reason.
  void refuses(const char* words, std::initializer_list<const char*> statements) {
    for (const char* sql : statements) {
      PlanRequest request{sql, {}, 0};
      request.merges_groups = false;
      const auto data = plan_statement(*topology_, request);
      if (data && data->kind == RouteKind::kMergeNode) {
        EXPECT_NE(data->merge_node->why.find(words), std::string::npos) << sql;
        continue;
      }
      ASSERT_FALSE(data) << sql;
      EXPECT_EQ(data.error().code.view(), "0A000") << sql << ": " << data.error().message;
      EXPECT_NE(data.error().message.find(words), std::string::npos)
          << sql << ": " << data.error().message;
      EXPECT_FALSE(data.error().hint.empty()) << sql;
    }
  }

  std::shared_ptr<const Topology> topology_ = test_topology();
  StatementPlanData last_;
};

TEST_F(Planner, EqualityWithAConstantOrParameterPins) {
  expect("one", {
                    "SELECT * FROM users WHERE id = 5",
                    "SELECT * FROM users WHERE 5 = id AND name = 'x'",
                    "SELECT * FROM users WHERE id = $1",
                    "SELECT * FROM users WHERE id = $1::bigint",
                    "SELECT * FROM users WHERE id = CAST($1 AS int)",
                    "SELECT * FROM users WHERE id = '5'::bigint",
                    "SELECT * FROM users WHERE id = bigint '5'",
                    "SELECT * FROM users WHERE id = -5",
                    "SELECT * FROM users WHERE id = -$1",
                    "SELECT * FROM users WHERE id = - (5::int)",
                    "SELECT * FROM users WHERE (((id = 5)))",
                    "SELECT * FROM users WHERE id IN (5)",
                    "SELECT * FROM users WHERE id OPERATOR(pg_catalog.=) 5",
                    "SELECT * FROM public.users AS u WHERE u.id = 5",
                    "SELECT * FROM public.users WHERE public.users.id = 5",
                    "SELECT * FROM ONLY users WHERE id = 5",
                    "SELECT count(*), now(), random() FROM users WHERE id = 5 GROUP BY name",
                    "SELECT * FROM users WHERE id = 5 FOR UPDATE",
                    "SELECT * FROM users u JOIN posts p ON u.id = p.user_id WHERE p.user_id = 5",
                    "SELECT * FROM users u LEFT JOIN posts p ON u.id = p.user_id WHERE u.id = 5",
                    "SELECT * FROM users u, posts p WHERE u.id = p.user_id AND u.id = 5",
                    "SELECT * FROM users JOIN posts ON true WHERE id = 5 AND user_id = 5",
                    "SELECT * FROM posts JOIN unread USING (user_id) WHERE user_id = 5",
                    "SELECT * FROM users JOIN countries ON code = country WHERE users.id = 5",
                    "SELECT * FROM users WHERE id = NULL",
                    "TABLE notes",
                });
}

TEST_F(Planner, APredicateThatNeedNotHoldPinsNothing) {
  expect("scatter", {
                        "SELECT * FROM users WHERE NOT id = 5",
                        "SELECT * FROM users WHERE (id = 5) IS NOT FALSE",
                        "SELECT * FROM users WHERE CASE WHEN id = 5 THEN true END",
                        "SELECT id = 5 FROM users",
                        "SELECT * FROM users WHERE id <> 5",
                        "SELECT * FROM users WHERE id NOT IN (5)",
                        "SELECT * FROM users WHERE id + 0 = 5",
                        "SELECT * FROM users WHERE id = 5 + 0",
                        "SELECT * FROM users WHERE medium = 5",
                        "SELECT * FROM users WHERE coalesce(id = 5, true)",
                        "SELECT * FROM users u LEFT JOIN posts p ON u.id = p.user_id AND u.id = 5",
                        "SELECT * FROM users u LEFT JOIN posts p ON u.id = p.user_id AND "
                        "p.user_id = 5",
                        "SELECT * FROM users AS u (x) WHERE u.id = 5",
                        "SELECT * FROM users WHERE id = 5.0::float8",
                        "SELECT * FROM users WHERE id = '5'::numeric(3, 1)",
                        "SELECT * FROM users WHERE id = '5'::varchar(1)::bigint",
                    });
}

TEST_F(Planner, AnOuterJoinsConditionDoesNotPinThePreservedSide) {
  refuses("several shards",
          {
              "SELECT * FROM users u FULL JOIN posts p ON u.id = p.user_id AND u.id = 5",
              "SELECT * FROM users u FULL JOIN posts p ON u.id = p.user_id WHERE u.id = 5",
              "SELECT * FROM countries c LEFT JOIN users u ON u.country = c.code",
              "SELECT * FROM users u RIGHT JOIN countries c ON u.country = c.code",
          });
}

TEST_F(Planner, NeitherDoesASubqueryForItsParentOrOneArmOfAUnionForAnother) {
  refuses("several shards",
          {
              "SELECT * FROM users WHERE EXISTS (SELECT FROM posts WHERE user_id = 5)",
              "SELECT * FROM users WHERE id IN (SELECT user_id FROM posts WHERE user_id = 5)",
              "SELECT * FROM users WHERE id = (SELECT user_id FROM posts WHERE user_id = 5)",
              "SELECT (SELECT count(*) FROM posts WHERE user_id = 5) FROM users",
              "SELECT * FROM users WHERE id = 5 AND EXISTS (SELECT FROM posts WHERE likes = 1)",
              // `id` is the inner table's own.
              "SELECT * FROM users WHERE id = 5 AND EXISTS (SELECT FROM posts WHERE user_id = id)",
              "SELECT * FROM users WHERE id = 5 UNION SELECT * FROM users",
              "SELECT * FROM users UNION ALL SELECT * FROM users WHERE id = 5",
              "SELECT 1 UNION ALL SELECT id FROM users",
              "WITH x AS (SELECT * FROM users) SELECT * FROM x WHERE id = 5",
              "SELECT * FROM (SELECT * FROM users) x WHERE id = 5",
              "SELECT count(*) FILTER (WHERE id = 5) FROM users",
          });
}

TEST_F(Planner, EveryPartPinnedIsOneShard) {
  expect("one",
         {
             "SELECT * FROM users WHERE id = 5 UNION SELECT * FROM users WHERE id = 5",
             "WITH users AS (SELECT * FROM users WHERE id = 5) SELECT * FROM users",
             "WITH RECURSIVE r AS (SELECT id FROM users WHERE id = 5 UNION SELECT 1 FROM r) "
             "SELECT * FROM r",
             "SELECT * FROM users u WHERE id = 5 AND EXISTS "
             "(SELECT FROM posts p WHERE p.user_id = u.id)",
             "SELECT * FROM users u WHERE id = 5 AND EXISTS (SELECT FROM posts p WHERE "
             "p.user_id = u.id AND EXISTS (SELECT FROM unread r WHERE r.user_id = u.id))",
             "SELECT * FROM users u, LATERAL (SELECT * FROM posts p WHERE p.user_id = u.id) x "
             "WHERE u.id = 5",
         });
}

TEST_F(Planner, PinsOfDifferentTypesArePlacedByTheColumnsType) {
  expect("one", {
                    "SELECT * FROM accounts WHERE login = 'x'",
                    "SELECT * FROM accounts WHERE login = 'x'::text",
                    "SELECT * FROM things WHERE id = '7'",
                    "SELECT * FROM days WHERE day = '2020-01-01'",
                    "SELECT * FROM days WHERE day = date '2020-01-01'",
                    "SELECT * FROM moments WHERE at = '2020-01-01 00:00:00+00'",
                    "SELECT * FROM amounts WHERE amount = 1.50",
                });
  // A cast to another type compares by another operator.
  expect("scatter", {
                        "SELECT * FROM days WHERE day = timestamp '2020-01-01 10:00'",
                        "SELECT * FROM moments WHERE at = date '2020-01-01'",
                        "SELECT * FROM accounts WHERE login = 'x'::char(3)",
                        "SELECT * FROM accounts WHERE login = 'x' COLLATE \"de-x-icu\"",
                        "SELECT * FROM amounts WHERE amount = 1.5::float8",
                    });
  EXPECT_EQ(plan("SELECT * FROM users WHERE id = $1", {type_oid::kFloat8}), "scatter");
  EXPECT_EQ(plan("SELECT * FROM users WHERE id = $1", {type_oid::kInt2}), "one");
  EXPECT_EQ(plan("SELECT * FROM users WHERE id = $1", {type_oid::kText}), "scatter");
  EXPECT_EQ(plan("SELECT * FROM users WHERE id = $1::bigint", {type_oid::kText}), "one");
  EXPECT_EQ(plan("SELECT * FROM users WHERE id = $1::bigint", {type_oid::kFloat8}), "scatter");
  EXPECT_EQ(plan("SELECT * FROM users WHERE $1::text = id::text"), "scatter");
}

TEST_F(Planner, AnOpenParameterUsedElsewhereMayHaveAnotherType) {
  refuses("type of parameter $1", {"UPDATE users SET medium = $1 WHERE id = $1",
                                   "SELECT * FROM users WHERE medium = $1 AND id = $1"});
  EXPECT_EQ(plan("UPDATE users SET medium = $1 WHERE id = $1", {type_oid::kInt8}), "one");
  expect("one", {"SELECT * FROM users u, posts p WHERE u.id = $1 AND p.user_id = $1",
                 "INSERT INTO users (id) VALUES ($1), ($1)"});
}

TEST_F(Planner, WhatAScatterCannotMergeIsNamed) {
  refuses("count()",
          {"SELECT count(*) FROM users", "SELECT coalesce(count(name), 0) + 1 FROM users",
           "SELECT id FROM users ORDER BY count(*)"});
  refuses("aggregate", {"SELECT sum(medium) FROM users", "SELECT my_agg(DISTINCT id) FROM users",
                        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM users"});
  refuses("GROUP BY", {"SELECT name FROM users GROUP BY name", "SELECT 1 FROM users GROUP BY ()",
                       "SELECT id FROM users GROUP BY 1"});
  refuses("HAVING", {"SELECT 1 FROM users HAVING true"});
  refuses("DISTINCT", {"SELECT DISTINCT name FROM users", "SELECT DISTINCT ON (id) * FROM users"});
  refuses("window", {"SELECT row_number() OVER () FROM users",
                     "SELECT count(*) OVER (PARTITION BY id) FROM users",
                     "SELECT id FROM users ORDER BY rank() OVER (ORDER BY id)"});
  refuses("FOR UPDATE",
          {"SELECT * FROM users FOR UPDATE", "SELECT * FROM users FOR SHARE OF users"});
  refuses("SELECT INTO", {"SELECT * INTO x FROM users WHERE id = 5"});
  refuses("WITH TIES", {"SELECT * FROM users ORDER BY id FETCH FIRST 3 ROWS WITH TIES"});
  refuses("TABLESAMPLE", {"SELECT * FROM users TABLESAMPLE system (10)"});
  refuses("function in FROM", {"SELECT * FROM users, unnest(ARRAY[1]) AS x"});
  refuses("subquery", {"SELECT * FROM users, (SELECT 1) x",
                       "SELECT * FROM users WHERE country IN (SELECT code FROM countries)"});
  refuses("now()", {"SELECT now() FROM users", "SELECT * FROM users WHERE seen < now()",
                    "SELECT id FROM users ORDER BY now() - seen"});
  refuses("CURRENT_TIMESTAMP", {"SELECT * FROM users WHERE seen < CURRENT_TIMESTAMP",
                                "SELECT * FROM users WHERE seen::date = CURRENT_DATE"});
  refuses("'today'", {"SELECT * FROM users WHERE seen > 'today'",
                      "SELECT * FROM users WHERE seen > timestamptz 'today'"});
  refuses("random()", {"SELECT random() FROM users", "SELECT id FROM users ORDER BY random()"});
  refuses("nextval()", {"SELECT nextval('s'), id FROM users"});
  refuses("my_function()", {"SELECT my_function(id) FROM users"});
  refuses("upper()", {"SELECT upper(name) FROM users"});  // there is one of the user's
  refuses("extension()", {"SELECT extension(name) FROM users"});
  refuses("app.unknown()", {"SELECT app.unknown(name) FROM users"});
  refuses("@@@", {"SELECT id @@@ 3 FROM users"});
  refuses("ctid", {"SELECT ctid FROM users", "SELECT id FROM users ORDER BY users.ctid"});
  refuses("tableoid", {"SELECT tableoid FROM users WHERE tableoid = 5"});
  refuses("regclass", {"SELECT 'users'::regclass, id FROM users"});
  refuses("LIMIT", {"SELECT id FROM users LIMIT 1 + 1", "SELECT id FROM users LIMIT medium",
                    "SELECT id FROM users LIMIT 2.5"});
  refuses("OFFSET", {"SELECT id FROM users OFFSET medium"});
  refuses("USING", {"SELECT id FROM users ORDER BY id USING <"});
  refuses("ORDER BY a parameter", {"SELECT id FROM users ORDER BY $1"});
  refuses("age()", {"SELECT id FROM users ORDER BY age(seen)"});
  refuses("join of sharded tables",
          {"SELECT * FROM users, posts", "SELECT * FROM users u JOIN posts p ON u.medium = p.likes",
           "SELECT * FROM users u JOIN posts p ON u.id = p.likes",
           "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = 5 AND u.id = 5",
           "SELECT * FROM users u JOIN posts p ON u.id = p.user_id OR true",
           "SELECT * FROM users u JOIN posts p ON u.id = p.user_id + 0",
           "SELECT * FROM users u LEFT JOIN posts p ON true WHERE u.id = p.likes",
           "SELECT * FROM users u, accounts a WHERE u.name = a.login",
           "SELECT * FROM users u JOIN things t ON u.id = t.id"});
  refuses("FULL JOIN", {"SELECT * FROM users FULL JOIN countries ON code = country"});
}

TEST_F(Planner, ScattersWhatItCanMerge) {
  expect("scatter",
         {
             "SELECT * FROM users",
             "TABLE users",
             "SELECT FROM users",
             "SELECT id, lower(name) || '!', medium + 1 FROM users WHERE name LIKE 'a%'",
             "SELECT CASE WHEN id > 5 THEN 1 ELSE 2 END, COALESCE(name, 'x') FROM users",
             "SELECT * FROM users u JOIN posts p ON p.user_id = u.id",
             "SELECT * FROM users u, posts p, countries c WHERE p.user_id = u.id",
             "SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id",
             "SELECT * FROM posts p RIGHT JOIN users u ON p.user_id = u.id",
             "SELECT * FROM users u LEFT JOIN countries c ON c.code = u.country",
             "SELECT * FROM countries c JOIN users u ON c.code = u.country",
             "SELECT * FROM countries c, posts p, unread r, users u WHERE u.id = r.user_id AND "
             "r.user_id = p.user_id",
             "SELECT * FROM posts JOIN unread USING (user_id)",
             "SELECT id FROM users WHERE body = 'all that is known by now about the world today'",
         });
}

TEST_F(Planner, SortKeysAndHiddenColumns) {
  struct Case {
    const char* sql;
    const char* shard_text;  // empty: unchanged
    std::vector<SortKey::Where> where;
  };
  using enum SortKey::Where;
  const Case cases[] = {
      {"SELECT id, name FROM users ORDER BY name, 1", "", {kVisible, kVisible}},
      {"SELECT * FROM users ORDER BY name DESC LIMIT 3", "", {kNamed}},
      {"SELECT name FROM users ORDER BY id",
       "SELECT name , (id) AS \"pgshunt.sort.1\" FROM users ORDER BY id",
       {kHidden}},
      {"SELECT name FROM users ORDER BY lower(name) DESC NULLS LAST, users.id ASC OFFSET 2",
       "SELECT name , (lower(name)) AS \"pgshunt.sort.1\" , (users.id) AS \"pgshunt.sort.2\" FROM "
       "users ORDER BY lower(name) DESC NULLS LAST, users.id ASC ",
       {kHidden, kHidden}},
      {"SELECT id FROM users LIMIT $1 OFFSET $2",
       "SELECT id FROM users  LIMIT ($1)::bigint + least(coalesce(($2)::bigint, 0), "
       "9223372036854775807 - ($1)::bigint)",
       {}},
      {"SELECT name || 'x', id::text FROM users ORDER BY id",
       "SELECT name || 'x', id::text , (id) AS \"pgshunt.sort.1\" FROM users ORDER BY id",
       {kNamedOrHidden}},
  };
  for (const Case& test : cases) {
    ASSERT_EQ(plan(test.sql), "scatter") << test.sql;
    EXPECT_EQ(last_.shard_text, test.shard_text) << test.sql;
    ASSERT_EQ(last_.merge.keys.size(), test.where.size()) << test.sql;
    std::size_t hidden = 0;
    for (std::size_t i = 0; i < test.where.size(); ++i) {
      EXPECT_EQ(last_.merge.keys[i].where, test.where[i]) << test.sql;
      if (test.where[i] == kHidden || test.where[i] == kNamedOrHidden) ++hidden;
    }
    EXPECT_EQ(last_.merge.hidden_columns, hidden);
  }
}

TEST_F(Planner, NullsAndDirectionsAsPostgresHasThem) {
  ASSERT_EQ(plan("SELECT id FROM users ORDER BY 1, 1 DESC, 1 NULLS FIRST, 1 DESC NULLS LAST"),
            "scatter");
  const bool descending[] = {false, true, false, true};
  const bool nulls_first[] = {false, true, true, false};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(last_.merge.keys[i].descending, descending[i]);
    EXPECT_EQ(last_.merge.keys[i].nulls_first, nulls_first[i]);
  }
}

TEST_F(Planner, TextIsBytewiseOnlyWhereThatIsKnown) {
  const auto bytewise = [this](const char* sql) {
    const std::string outcome = plan(sql);
    if (outcome.starts_with("0A000 ORDER BY")) return false;  // at the merge node
    EXPECT_EQ(outcome, "scatter") << sql;
    return last_.merge.keys.size() == 1 && last_.merge.keys[0].bytewise;
  };
  EXPECT_TRUE(bytewise("SELECT name FROM users ORDER BY name"));
  EXPECT_TRUE(bytewise("SELECT * FROM users ORDER BY 2"));
  EXPECT_TRUE(bytewise("SELECT * FROM users ORDER BY name"));
  EXPECT_TRUE(bytewise("SELECT id FROM users ORDER BY lower(name) || 'x'"));
  EXPECT_TRUE(bytewise("SELECT title FROM users ORDER BY title COLLATE \"C\""));
  EXPECT_TRUE(bytewise("SELECT title COLLATE \"C\" FROM users ORDER BY 1"));
  EXPECT_FALSE(bytewise("SELECT title FROM users ORDER BY title"));
  EXPECT_FALSE(bytewise("SELECT name FROM users ORDER BY name COLLATE \"de_DE\""));
  EXPECT_FALSE(bytewise("SELECT name || title AS x FROM users ORDER BY x"));
  EXPECT_FALSE(bytewise("SELECT id::text AS x FROM users ORDER BY x"));
  EXPECT_FALSE(bytewise("SELECT 'x' || medium AS x FROM users ORDER BY x"));
  EXPECT_FALSE(bytewise("SELECT title AS name FROM users ORDER BY name"));
  EXPECT_FALSE(bytewise("SELECT body FROM posts JOIN unread USING (user_id) ORDER BY name"));
}

TEST_F(Planner, InsertGoesWhereItsKeyBelongs) {
  expect("one", {
                    "INSERT INTO users (id, name) VALUES (5, 'x')",
                    "INSERT INTO users VALUES (5, 'x')",
                    "INSERT INTO users (name, id) VALUES ('x', $1), ('y', $2)",
                    "INSERT INTO posts (user_id) VALUES ('5'::bigint) RETURNING id",
                    "INSERT INTO users (id) VALUES (5) ON CONFLICT DO NOTHING",
                    "INSERT INTO users (id) VALUES (5) ON CONFLICT (id) DO UPDATE SET name = 'x'",
                    "INSERT INTO users (id, name) SELECT 5, body FROM posts WHERE user_id = 5",
                    "INSERT INTO posts (user_id) SELECT u.id FROM users u WHERE u.id = 5",
                    "INSERT INTO posts (user_id) SELECT 5 FROM generate_series(1, 3)",
                });
  EXPECT_TRUE(last_.writes);
  EXPECT_EQ(plan("INSERT INTO users (name) VALUES ('x')").substr(0, 5), "23502");
  EXPECT_EQ(plan("INSERT INTO users (id, name) VALUES (DEFAULT, 'x')").substr(0, 5), "23502");
  EXPECT_EQ(plan("INSERT INTO users DEFAULT VALUES").substr(0, 5), "23502");
  EXPECT_EQ(plan("INSERT INTO users (name, id) VALUES ('x')").substr(0, 5), "42601");
  refuses("columns of table \"unread\"", {"INSERT INTO unread VALUES (5)"});
  refuses("shard key \"id\"",
          {"INSERT INTO users (id) VALUES (1 + 1)", "INSERT INTO users (id) VALUES (random())",
           "INSERT INTO users (id) VALUES (5) ON CONFLICT (id) DO UPDATE SET id = 6",
           "INSERT INTO users (id) VALUES (5) ON CONFLICT (name) DO NOTHING"});
  refuses("CONSTRAINT",
          {"INSERT INTO users (id) VALUES (5) ON CONFLICT ON CONSTRAINT users_pkey DO NOTHING"});
  refuses("cannot tell which shard",
          {"INSERT INTO users (id) VALUES (5) RETURNING (SELECT count(*) FROM posts)"});
  expect("insert select",
         {"INSERT INTO users (id, name) SELECT 5, body FROM posts",
          "INSERT INTO users (id) SELECT 5.5::float8", "INSERT INTO users SELECT * FROM countries",
          "INSERT INTO users (id) SELECT g FROM generate_series(1, 3) g",
          "INSERT INTO users (id) (SELECT 1 UNION SELECT 1)"});
}

TEST_F(Planner, AListOfKeysPinsToTheShardsOfItsValues) {
  const auto is_list = [this](const char* sql) {
    EXPECT_EQ(plan(sql), "one") << sql;
    ASSERT_FALSE(last_.pins.empty()) << sql;
    EXPECT_TRUE(last_.pins.front().is_list()) << sql;
    EXPECT_EQ(last_.several, RouteKind::kScatter) << sql;
  };
  is_list("SELECT * FROM users WHERE id IN (1, 2, 3)");
  is_list("SELECT * FROM users WHERE id IN (1, NULL, '3', -4, 5::int)");
  is_list("SELECT * FROM users WHERE id IN ($1, $2)");
  is_list("SELECT * FROM users WHERE id = ANY ($1)");
  is_list("SELECT * FROM users WHERE id = ANY ($1::bigint[])");
  is_list("SELECT * FROM users WHERE id = SOME ('{1,2}')");
  is_list("SELECT * FROM users WHERE id = 1 OR id = 2 OR id IN (3, 4)");
  is_list("SELECT * FROM users WHERE (id = 1 AND name = 'x') OR (name = 'y' AND 2 = id)");
  is_list("SELECT * FROM users u JOIN posts p ON p.user_id = u.id WHERE u.id IN (1, 2)");
  is_list("SELECT * FROM users u LEFT JOIN posts p ON p.user_id = u.id WHERE u.id = ANY ($1)");
  // One value is better.
  EXPECT_EQ(plan("SELECT * FROM users WHERE id IN (1, 2) AND id = 1"), "one");
  EXPECT_FALSE(last_.pins.front().is_list());
  // No list of keys: all shards are asked.
  expect(
      "scatter",
      {
          "SELECT * FROM users WHERE id NOT IN (1, 2)",
          "SELECT * FROM users WHERE id IN (1, medium)",
          "SELECT * FROM users WHERE id = ALL ($1)",
          "SELECT * FROM users WHERE id <> ANY ($1)",
          "SELECT * FROM users WHERE id = 1 OR name = 'x'",
          "SELECT * FROM users WHERE NOT (id = 1 OR id = 2)",
          "SELECT * FROM users WHERE id IN (1, 2.5::float8)",
          "SELECT * FROM users WHERE id = ANY ('{1,2}'::float8[])",
          "SELECT * FROM users WHERE id IN ($1, 2.5)",
          "SELECT * FROM users u JOIN posts p ON u.id = p.user_id WHERE u.id = 1 OR p.user_id = 2",
      });
  // What may not run on several shards still runs on one, or at the merge node.
  EXPECT_EQ(plan("SELECT count(*) FROM users WHERE id IN (1, 2)"), "one");
  EXPECT_EQ(last_.several, RouteKind::kMergeNode);
  EXPECT_EQ(plan("SELECT count(*) FROM users WHERE id IN (1, 2) FOR UPDATE"), "one");
  EXPECT_EQ(last_.several, RouteKind::kOneShard);
  EXPECT_EQ(plan("EXPLAIN SELECT * FROM users WHERE id IN (1, 2)"), "one");
  EXPECT_EQ(last_.several, RouteKind::kOneShard);
}

TEST_F(Planner, WritesOfSeveralShardsDoTheSameOnEach) {
  expect("write",
         {
             "UPDATE users SET name = 'x'",
             "UPDATE users SET name = lower(title) WHERE medium > $1 RETURNING *",
             "UPDATE users SET name = 'x' WHERE name = 'y' OR id = 6",
             "DELETE FROM posts",
             "DELETE FROM posts WHERE id = 5 RETURNING user_id",
             "UPDATE users u SET name = p.body FROM posts p WHERE p.user_id = u.id",
             "DELETE FROM users USING countries c WHERE c.code = country",
             "DELETE FROM users WHERE country IN (SELECT code FROM countries WHERE name = 'x')",
             "UPDATE users SET name = (SELECT c.name FROM countries c WHERE c.code = country)",
         });
  EXPECT_TRUE(last_.writes);
  EXPECT_EQ(plan("UPDATE users SET name = 'x' WHERE id IN (1, 2)"), "one");
  EXPECT_EQ(last_.several, RouteKind::kWriteShards);
  refuses("", {"UPDATE users SET name = 'x' WHERE EXISTS (SELECT FROM posts)",
               "UPDATE users SET name = 'x' FROM posts WHERE users.id = 5",
               "UPDATE users SET name = 'x' FROM posts WHERE posts.id = users.id",
               "UPDATE users SET name = 'x' WHERE CURRENT OF c",
               "UPDATE users SET seen = clock_timestamp()",
               "UPDATE users SET seen = now() WHERE seen < 'today'",
               "UPDATE users SET seen = 'now'", "UPDATE users SET medium = random()",
               "DELETE FROM users RETURNING ctid", "UPDATE users SET name = n.body FROM notes n",
               "UPDATE users SET id = 1", "WITH x AS (SELECT 1) DELETE FROM users",
               "UPDATE users SET name = (SELECT max(code) FROM countries)",
               "UPDATE users SET name = (SELECT code FROM countries LIMIT 1)",
               "DELETE FROM users WHERE id IN (SELECT user_id FROM posts)",
               "UPDATE posts SET id = DEFAULT", "EXPLAIN UPDATE users SET name = 'x'"});
}

TEST_F(Planner, WritesOnSeveralShardsReadOneMoment) {
  const auto text_of = [&](const std::string& sql) {
    const auto planned = plan(sql);
    return planned == "write" || planned == "every" ? last_.shard_text : planned;
  };
  const auto setting = [](const std::string& name) {
    return "pg_catalog.current_setting('pgshunt." + name + "')::pg_catalog.timestamptz";
  };
  const std::string now = setting("transaction_timestamp");
  EXPECT_EQ(text_of("UPDATE users SET seen = now()"),
            "UPDATE users SET seen = (SELECT " + now + " AS \"now\")");
  EXPECT_TRUE(last_.fixes_moment);
  EXPECT_EQ(
      text_of("DELETE FROM countries WHERE added < pg_catalog . now ( ) - $1 RETURNING "
              "current_timestamp(3), name AS \"now()\", statement_timestamp()"),
      "DELETE FROM countries WHERE added < (SELECT " + now +
          " AS \"now\") - $1 RETURNING (SELECT " + now +
          "::pg_catalog.timestamptz(3) AS \"current_timestamp\"), name AS \"now()\", (SELECT " +
          setting("statement_timestamp") + " AS \"statement_timestamp\")");
  for (const auto& [word, cast] : std::vector<std::pair<std::string, std::string>>{
           {"CURRENT_DATE", "::pg_catalog.date AS \"current_date\""},
           {"LOCALTIME(0)", "::pg_catalog.time(0) AS \"localtime\""},
           {"CURRENT_TIME", "::pg_catalog.timetz AS \"current_time\""},
           {"LOCALTIMESTAMP", "::pg_catalog.timestamp AS \"localtimestamp\""}}) {
    EXPECT_EQ(text_of("UPDATE countries SET name = (" + word + ")::text"),
              "UPDATE countries SET name = ((SELECT " + now + cast + "))::text");
  }
  // Names and aliases are no calls.
  EXPECT_EQ(
      text_of("DELETE FROM users now RETURNING now.id AS current_date, now()"),
      "DELETE FROM users now RETURNING now.id AS current_date, (SELECT " + now + " AS \"now\")");
  EXPECT_EQ(text_of("UPDATE users SET seen = now() WHERE id IN (1, 2)"), "one");
  EXPECT_TRUE(last_.fixes_moment);
  refuses("now() one value", {"UPDATE users SET seen = \"now\"()"});
}

TEST_F(Planner, UpdateAndDeleteNeedTheKeyAndLeaveItAlone) {
  expect("one", {
                    "UPDATE users SET name = 'x' WHERE id = 5",
                    "UPDATE users SET name = p.body FROM posts p WHERE p.user_id = users.id AND "
                    "users.id = 5",
                    "UPDATE users u SET name = c.name FROM countries c WHERE u.id = 5",
                    "DELETE FROM posts WHERE user_id = 5 AND id = 7 RETURNING *",
                    "DELETE FROM posts USING users u WHERE u.id = posts.user_id AND u.id = 5",
                });
  refuses("cannot tell which shard",
          {"WITH x AS (DELETE FROM posts RETURNING *) SELECT * FROM users WHERE id = 5"});
  refuses("may not set the shard key", {"UPDATE users SET id = 6 WHERE id = 5",
                                        "UPDATE users SET (id, name) = (6, 'x') WHERE id = 5",
                                        "UPDATE users SET id = id WHERE id = 5"});
  refuses("MERGE", {"MERGE INTO users USING countries ON id = 5 WHEN MATCHED THEN DELETE"});
}

TEST_F(Planner, ReferenceTablesAreReadAnywhereAndWrittenEverywhere) {
  expect("any",
         {"SELECT * FROM countries", "SELECT count(*), max(name) FROM countries GROUP BY code",
          "WITH x AS (SELECT * FROM countries) SELECT * FROM x UNION SELECT * FROM countries"});
  expect("every", {"UPDATE countries SET name = lower(name) WHERE code = $1",
                   "DELETE FROM countries WHERE code IN ('a', 'b') RETURNING *",
                   "DELETE FROM countries USING unread_reference r WHERE r.code = countries.code",
                   "INSERT INTO countries (code, name, added) VALUES ('x', 'y', '2020-01-01')",
                   "INSERT INTO countries (code, added) VALUES ('x', $1) ON CONFLICT (code) DO "
                   "UPDATE SET name = excluded.name"});
  refuses("could differ from shard to shard",
          {"UPDATE countries SET name = timeofday()", "UPDATE countries SET name = random()::text",
           "UPDATE countries SET added = 'now'", "DELETE FROM countries RETURNING ctid",
           "INSERT INTO countries (code, added) VALUES (gen_random_uuid(), '2020-01-01')",
           "INSERT INTO countries (code, population, added) VALUES ('x', nextval('s'), NULL)",
           "UPDATE countries SET name = my_function(name)",
           "UPDATE countries SET name = current_database()"});
  refuses("default of column \"added\"",
          {"INSERT INTO countries (code) VALUES ('x')", "INSERT INTO countries VALUES ('x', 'y')",
           "INSERT INTO countries DEFAULT VALUES",
           "INSERT INTO countries (code, added) VALUES ('x', DEFAULT)"});
  refuses("columns of table \"unread_reference\"",
          {"INSERT INTO unread_reference (code) VALUES ('x')"});
  refuses(
      "reference table",
      {"UPDATE countries SET name = r.name FROM unread_reference r WHERE r.code = countries.code",
       "UPDATE countries SET name = (SELECT max(name) FROM unread_reference)",
       "UPDATE countries SET added = DEFAULT",
       "WITH x AS (DELETE FROM countries RETURNING *) SELECT * FROM x",
       "DELETE FROM countries USING users WHERE users.id = 5"});
}

TEST_F(Planner, UnshardedTablesLiveAtHome) {
  expect("one", {"SELECT * FROM notes", "UPDATE notes SET x = now()", "DELETE FROM notes",
                 "INSERT INTO notes SELECT * FROM notes", "TRUNCATE notes", "LOCK TABLE notes",
                 "SELECT * FROM notes n JOIN countries c ON true", "COPY notes FROM STDIN",
                 "COPY notes TO STDOUT"});
  EXPECT_EQ(last_.home, ShardId{1});
  expect("one", {"SELECT * FROM notes, users WHERE users.id = 5"});  // if 5 lives there: bind's say
  refuses("different shards", {"SELECT * FROM notes, memos"});
  refuses("unsharded table", {"SELECT * FROM notes, users"});
}

TEST_F(Planner, CatalogsAreReadFromOneShard) {
  expect("home", {"SELECT * FROM pg_class", "SELECT * FROM pg_catalog.pg_class c, pg_namespace n",
                  "SELECT * FROM information_schema.tables", "COPY pg_class TO STDOUT",
                  "SELECT 'users'::regclass", "SELECT pg_advisory_lock(1)", "SELECT nextval('s')",
                  "SELECT current_setting('work_mem')", "LISTEN x", "NOTIFY x, 'y'",
                  "SELECT * FROM countries FOR UPDATE", "SELECT pg_backend_pid()"});
  // FETCH and CLOSE do not say what a cursor reads.
  expect("home", {"DECLARE c CURSOR FOR SELECT * FROM pg_class", "FETCH 5 FROM c", "CLOSE c"});
  refuses("system catalog",
          {"SELECT * FROM pg_class, users WHERE users.id = 5", "SELECT * FROM pg_class, notes"});
  expect("one", {"SELECT * FROM pg_class, memos"});
}

TEST_F(Planner, StatementsWithoutTablesRunAnywhere) {
  expect("any",
         {"SELECT 1", "", " ; ", "-- nothing", "SHOW work_mem", "SET work_mem = '1MB'", "RESET ALL",
          "SELECT now()", "VALUES (1), (2)", "SELECT count(*)", "SELECT * FROM (VALUES (1)) x"});
  expect("any", {"DECLARE c CURSOR FOR SELECT * FROM countries"});
  expect("one", {"DECLARE c CURSOR FOR SELECT * FROM users WHERE id = 5"});
  expect("cursor", {"DECLARE c CURSOR FOR SELECT * FROM users",
                    "DECLARE c CURSOR FOR SELECT count(*) FROM users"});
  refuses("advisory locks", {"SELECT pg_advisory_xact_lock(5) FROM users WHERE id = 5"});
}

TEST_F(Planner, FunctionsThatMayReadTablesAreNotCalledOnAPartOfTheData) {
  refuses("may read tables",
          {"SELECT my_function()", "SELECT * FROM users WHERE id = my_function() AND id = 5",
           "SELECT my_function() FROM countries", "SELECT my_function() FROM notes",
           "INSERT INTO users (id, name) VALUES (5, upper('x'))"});
  expect("one", {"SELECT pure(id), extension() FROM users WHERE id = 5"});
  expect("scatter", {"SELECT pure(id), lower(name) FROM users"});
  expect("home", {"SELECT extension()"});
  expect("any", {"SELECT pure(1)"});
  refuses("lastval()", {"SELECT lastval()"});
  refuses("currval()", {"SELECT currval('s') FROM users WHERE id = 5"});
}

TEST_F(Planner, UndeclaredTablesGoToTheDefaultHomeIfThereIsOne) {
  auto topology = std::make_shared<Topology>(*topology_);
  topology->default_home = ShardId{2};
  topology->opaque_relations = {{"public", "a_view"}};
  topology_ = topology;
  expect("one", {"SELECT * FROM anything", "UPDATE other.thing SET x = 1"});
  EXPECT_EQ(last_.home, ShardId{2});
  refuses("a_view", {"SELECT * FROM a_view", "SELECT * FROM public.a_view"});
  expect("one", {"SELECT * FROM other.a_view"});
  refuses("different shards", {"SELECT * FROM anything, notes"});
}

TEST_F(Planner, CommandsRunWhereverTheirTablesAre) {
  const auto alike = [this](Alike expected, std::initializer_list<const char*> statements) {
    for (const char* sql : statements) {
      EXPECT_EQ(plan(sql), "write") << sql;
      EXPECT_EQ(last_.alike, expected) << sql;
    }
  };
  alike(Alike::kTogether,
        {"TRUNCATE users", "TRUNCATE countries, posts CASCADE",
         "CREATE TABLE x (a timestamptz DEFAULT now())", "DROP TABLE users",
         "ALTER TABLE users ADD x int DEFAULT 5", "CREATE INDEX ON users (name)", "ANALYZE users",
         "GRANT SELECT ON users TO x", "REINDEX TABLE users", "CREATE SCHEMA s",
         "CREATE VIEW v AS SELECT * FROM users", "COMMENT ON TABLE users IS 'x'",
         "CREATE TYPE mood AS ENUM ('sad')", "DROP INDEX x"});
  alike(Alike::kInBlock, {"LOCK TABLE users"});
  alike(Alike::kOneByOne, {"VACUUM", "VACUUM users", "CREATE INDEX CONCURRENTLY i ON users (name)",
                           "DROP INDEX CONCURRENTLY i", "REINDEX (CONCURRENTLY) TABLE users"});
  expect("one", {"DROP TABLE notes", "CREATE INDEX ON notes (x)",
                 "ALTER TABLE notes ADD x timestamptz DEFAULT now()"});
  refuses("different shards", {"TRUNCATE notes, memos"});
  refuses("together", {"TRUNCATE notes, users", "DROP TABLE notes, users"});
  refuses("could differ", {"ALTER TABLE users ADD x timestamptz DEFAULT now()",
                           "ALTER TABLE users ADD x float8 DEFAULT random()"});
}

TEST_F(Planner, InsertOfWhatEachShardSelects) {
  expect("write", {"INSERT INTO posts (user_id, id) SELECT id, 5 FROM users",
                   "INSERT INTO posts (user_id, body) SELECT u.id, lower(u.name) FROM users u JOIN "
                   "countries ON code = country",
                   "INSERT INTO posts (user_id) SELECT p.user_id FROM posts p ON CONFLICT DO "
                   "NOTHING RETURNING id"});
  expect("insert select", {"INSERT INTO posts (user_id) SELECT id FROM users GROUP BY id",
                           "INSERT INTO posts (user_id, id) SELECT id, row_number() OVER () "
                           "FROM users",
                           "INSERT INTO posts (user_id) SELECT DISTINCT id FROM users",
                           "INSERT INTO posts (user_id) SELECT id FROM posts",
                           "INSERT INTO posts (user_id) SELECT id FROM users LIMIT 5",
                           "INSERT INTO posts (user_id) SELECT u.id FROM posts p LEFT JOIN users u "
                           "ON u.id = p.user_id",
                           "INSERT INTO things (id) SELECT id FROM users",
                           "INSERT INTO countries (code, added) SELECT name, seen FROM users "
                           "WHERE id = 5"});
}

TEST_F(Planner, EverythingElseIsRefused) {
  refuses("CREATE TABLE AS is not", {"CREATE TABLE x AS SELECT 1"});
  refuses("is not supported on a sharded database",
          {"DO 'BEGIN END'", "CALL p()", "CREATE TEMP TABLE x (a int)", "PREPARE x AS SELECT 1",
           "EXECUTE x", "CREATE TABLE x AS SELECT * FROM users WHERE id = 5", "EXPLAIN EXECUTE x",
           "REFRESH MATERIALIZED VIEW x"});
  refuses("COPY",
          {"COPY notes TO '/tmp/x'", "COPY notes FROM PROGRAM 'x'", "COPY users FROM '/tmp/x'"});
  refuses("EXPLAIN", {"EXPLAIN SELECT * FROM users", "EXPLAIN DELETE FROM countries"});
  refuses("several statements",
          {"SELECT * FROM users WHERE id = 5; DELETE FROM users WHERE id = 6"});
  expect("one", {"EXPLAIN SELECT * FROM users WHERE id = 5",
                 "COPY (SELECT * FROM users WHERE id = 5) TO STDOUT"});
  EXPECT_FALSE(last_.writes);
  expect("any", {"COPY countries TO STDOUT", "COPY (SELECT 1) TO STDOUT"});
}

TEST_F(Planner, UnknownTablesAndSyntaxErrors) {
  EXPECT_EQ(plan("SELECT * FROM nope").substr(0, 5), "42P01");
  EXPECT_EQ(plan("SELECT * FROM other.users WHERE id = 5").substr(0, 5), "42P01");
  EXPECT_EQ(plan("SELECT * FROM users WHERE id = 5 AND EXISTS (SELECT FROM nope)").substr(0, 5),
            "42P01");
  EXPECT_EQ(plan("SELEC 1"), "42601 syntax error at or near \"SELEC\"");
}

TEST_F(Planner, OnlyProvablyHarmlessStatementsAreReads) {
  for (const char* sql : {"SELECT * FROM users WHERE id = 5", "SELECT * FROM users", "SELECT 1",
                          "SELECT version(), now()", "EXPLAIN DELETE FROM users WHERE id = 5"}) {
    plan(sql);
    EXPECT_FALSE(last_.writes) << sql;
  }
  for (const char* sql :
       {"DELETE FROM users WHERE id = 5", "SELECT * FROM users WHERE id = 5 FOR UPDATE",
        "SELECT nextval('s')", "SELECT extension(id) FROM users WHERE id = 5",
        "EXPLAIN ANALYZE DELETE FROM users WHERE id = 5", "NOTIFY x",
        "WITH x AS (DELETE FROM users WHERE id = 5 RETURNING *) SELECT * FROM x"}) {
    plan(sql);
    EXPECT_TRUE(last_.writes) << sql;
  }
}

// The parser recurses; a statement that would take it too deep is refused before.
TEST_F(Planner, NestingIsBounded) {
  std::string chain = "SELECT 1";
  for (int i = 0; i < 100000; ++i) chain += " + 1";
  EXPECT_EQ(plan(chain).substr(0, 5), "54001");
  EXPECT_EQ(plan("SELECT " + std::string(100000, '(')).substr(0, 5), "54001");
  // As deep as it lets through, in every way there is to nest, it must survive.
  const auto repeated = [](const std::string& text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  for (const std::string& sql :
       {"SELECT 1" + repeated(" + 1", 490),
        "SELECT " + repeated("(", 990) + "1" + repeated(")", 990),
        "SELECT " + repeated("NOT ", 990) + "true", "SELECT " + repeated("- ", 990) + "1",
        "SELECT 1, 2" + repeated(" UNION ALL SELECT 1, 2", 240),
        "SELECT * FROM notes" + repeated(" CROSS JOIN notes", 160),
        "SELECT 1" + repeated("::int", 490),
        "SELECT " + repeated("(SELECT ", 490) + "1" + repeated(")", 490),
        "SELECT " + repeated("CASE WHEN ", 120) + "true" + repeated(" THEN 1 END", 120)}) {
    EXPECT_EQ(plan(sql).substr(0, 5), sql.find("notes") == sql.npos ? "any" : "one")
        << sql.substr(0, 50);
  }
  for (const std::string& sql :
       {"SELECT 1" + repeated(" + 1", 510), "SELECT 1, 2" + repeated(" UNION ALL SELECT 1, 2", 260),
        "SELECT " + repeated("CASE WHEN ", 260) + "true" + repeated(" THEN 1 END", 260)}) {
    EXPECT_EQ(plan(sql).substr(0, 5), "54001") << sql.substr(0, 50);
  }
  // Long lists are not deep.
  EXPECT_EQ(plan("SELECT * FROM notes WHERE true" + repeated(" AND a <> 1", 5000) +
                 repeated(" OR b = 1", 5000)),
            "one");
  std::string rows = "INSERT INTO notes VALUES (1)";
  for (int i = 0; i < 20000; ++i) rows += ", (-" + std::to_string(i) + ")";
  EXPECT_EQ(plan(rows), "one");
}

TEST_F(Planner, TablesNamedInTextAreNotLookedFor) {
  refuses("may read tables", {"SELECT query_to_xml('SELECT * FROM users', true, true, '')",
                              "SELECT table_to_xml('users', true, true, '') FROM notes",
                              "SELECT * FROM public.crosstab('SELECT * FROM users') AS x (a int)"});
}

TEST_F(Planner, CatalogsAreNotWritten) {
  refuses("system catalog", {"UPDATE pg_settings SET setting = 'x' WHERE name = 'timezone'",
                             "DELETE FROM pg_catalog.pg_class"});
}

}  // namespace
}  // namespace pgshunt
