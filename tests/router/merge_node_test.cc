// What a statement at the merge node says, and what it wants brought there.
#include "router/merge_node.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "router/planner.h"
#include "router/router.h"
#include "router/statement_plan.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

class MergeNode : public ::testing::Test {
 protected:
  std::shared_ptr<const MergeNodePlan> plan(const std::string& sql,
                                            std::vector<std::uint32_t> types = {}) {
    PlanRequest request{sql, types, 0};
    request.merges_groups = false;
    const auto data = plan_statement(*topology_, request);
    error_ = data ? std::string() : data.error().message;
    if (!data || !data->merge_node) return nullptr;
    // What groups become is looked at below.
    return data->merge_node->by_rows ? data->merge_node->by_rows : data->merge_node;
  }
  // The texts of what is brought, then what runs.
  std::vector<std::string> texts(const std::string& sql, std::vector<std::uint32_t> types = {}) {
    const auto merge = plan(sql, std::move(types));
    if (!merge) return {error_};
    std::vector<std::string> out;
    for (const MergeInput& input : merge->inputs) out.push_back(rows_text(input));
    out.push_back(merge->text);
    return out;
  }
  using Texts = std::vector<std::string>;

  std::shared_ptr<const Topology> topology_ = test_topology();
  std::string error_;
};

TEST_F(MergeNode, BringsTheColumnsThatAreNamed) {
  EXPECT_EQ(texts("SELECT count(name) FROM users"),
            (Texts{R"(SELECT "name" FROM "public"."users" AS "users")",
                   R"(SELECT count(name) FROM pg_temp."pgshunt.1" AS "users")"}));
  EXPECT_EQ(texts("SELECT count(*) FROM public.users AS u"),
            (Texts{R"(SELECT  FROM "public"."users" AS "u")",
                   R"(SELECT count(*) FROM pg_temp."pgshunt.1" AS u)"}));
  // All of them: a star, a row as one value, columns that are named anew, NATURAL.
  const std::string all = texts("SELECT *, row_number() OVER () FROM users").front();
  for (const char* sql :
       {"SELECT users.*, count(*) OVER () FROM users", "SELECT max(users::text) FROM users",
        "SELECT max(users) FROM users", "SELECT count(x) FROM users AS users (x)",
        "SELECT count(*) FROM users NATURAL JOIN countries"}) {
    EXPECT_EQ(texts(sql).front(), all) << sql;
  }
  EXPECT_NE(texts("SELECT 2 * count(id) FROM users").front(), all);
}

TEST_F(MergeNode, BringsOnlyRowsThatCanHaveAPart) {
  const auto conditions = [&](const std::string& sql, std::vector<std::uint32_t> types = {}) {
    const auto merge = plan(sql, std::move(types));
    return merge ? merge->inputs.front().conditions : Texts{error_};
  };
  EXPECT_EQ(conditions("SELECT count(*) FROM users WHERE name = 'x' AND id BETWEEN 1 AND 5 AND (id "
                       "= 3 OR name = 'y')"),
            (Texts{"name = 'x'", "id BETWEEN 1 AND 5", "(id = 3 OR name = 'y')"}));
  EXPECT_EQ(conditions("SELECT count(*) FROM users u, posts p WHERE u.name = p.body AND u.id > 5 "
                       "AND p.body <> 'z'"),
            (Texts{"u.id > 5"}));
  // The rows are in the result, with NULLs, if the condition fails.
  EXPECT_EQ(
      conditions(
          "SELECT count(*) FROM users u RIGHT JOIN posts p ON u.name = p.body WHERE u.id IS NULL"),
      Texts{});
  EXPECT_EQ(conditions("SELECT count(*) FROM users WHERE name = 'x' OR id = 5"), Texts{});
  EXPECT_EQ(conditions("SELECT count(*) FROM users WHERE random() < 0.5 AND name = 'x'"),
            Texts{"name = 'x'"});
  EXPECT_EQ(conditions("SELECT count(*) FROM users WHERE name = (SELECT max(name) FROM users)"),
            Texts{});
  // A subquery's are its own, and a name of the level outside is not known.
  EXPECT_EQ(conditions("SELECT 1 FROM posts WHERE EXISTS (SELECT FROM users u WHERE u.name = 'x' "
                       "AND u.name = posts.body)"
                       " AND body = 'z'"),
            (Texts{"body = 'z'"}));
  // The type of an open parameter could be another without what else is said of it.
  EXPECT_EQ(conditions("SELECT count(*) FROM users WHERE name = $1 AND id > $2 AND $2 < 7"),
            Texts{"name = $1"});
  EXPECT_EQ(conditions("SELECT count(*) FROM users WHERE id > $1 AND $1 < 7", {20}),
            (Texts{"id > $1", "$1 < 7"}));
}

TEST_F(MergeNode, ColumnsLoseTheSchemaInFrontOfThem) {
  EXPECT_EQ(
      texts("SELECT count(DISTINCT public.users.name) FROM users WHERE public.users.id > 5").back(),
      R"(SELECT count(DISTINCT users.name) FROM pg_temp."pgshunt.1" AS "users" WHERE users.id > 5)");
}

TEST_F(MergeNode, TablesOfOneNameAreToldApartByTheirSchemas) {
  EXPECT_EQ(texts("SELECT count(archive.users.name) FROM archive.users, public.users WHERE "
                  "archive.users.name = public.users.title")
                .back(),
            R"(SELECT count("pgshunt.t1".name) FROM pg_temp."pgshunt.1" AS "pgshunt.t1", )"
            R"(pg_temp."pgshunt.2" AS "pgshunt.t2" WHERE "pgshunt.t1".name = "pgshunt.t2".title)");
  // The inner one is not what the outer name means.
  EXPECT_EQ(texts("SELECT 1 FROM public.users WHERE EXISTS (SELECT 1 FROM archive.users WHERE "
                  "archive.users.name = public.users.title)")
                .back(),
            R"(SELECT 1 FROM pg_temp."pgshunt.1" AS "pgshunt.t1" WHERE EXISTS (SELECT 1 FROM )"
            R"(pg_temp."pgshunt.2" AS "pgshunt.t2" WHERE "pgshunt.t2".name = "pgshunt.t1".title))");
  EXPECT_EQ(texts("SELECT count(*) FROM archive.users, users").back(),
            R"(SELECT count(*) FROM pg_temp."pgshunt.1" AS "pgshunt.t1", pg_temp."pgshunt.2" AS )"
            R"("pgshunt.t2")");
  // A name without its schema may mean either; one with it none of another's alias.
  for (const char* sql :
       {"SELECT count(users.name) FROM archive.users, public.users",
        "SELECT count(users) FROM archive.users, public.users",
        "SELECT 1 FROM users WHERE EXISTS (SELECT 1 FROM posts users WHERE users.body = "
        "public.users.title)",
        "WITH users AS (SELECT 1 AS a) SELECT count(*) FROM users, archive.users"}) {
    EXPECT_EQ(plan(sql), nullptr) << sql;
  }
  EXPECT_EQ(
      texts("SELECT 1 FROM users WHERE name IN (SELECT users.name FROM archive.users)").back(),
      R"(SELECT 1 FROM pg_temp."pgshunt.1" AS "users" WHERE name IN (SELECT users.name FROM )"
      R"(pg_temp."pgshunt.2" AS "users"))");
}

TEST_F(MergeNode, JoinsMayHaveNames) {
  EXPECT_EQ(texts("SELECT max(j.name) FROM (users u JOIN posts p ON u.name = p.body) AS j WHERE "
                  "j.title = 'x' AND likes > 5"),
            (Texts{R"(SELECT "name", "title" FROM "public"."users" AS "u")",
                   R"(SELECT "body", "likes" FROM "public"."posts" AS "p" WHERE (likes > 5))",
                   R"(SELECT max(j.name) FROM (pg_temp."pgshunt.1" u JOIN pg_temp."pgshunt.2" )"
                   R"(p ON u.name = p.body) AS j WHERE j.title = 'x' AND likes > 5)"}));
  // By other names than the tables', or as one value, all columns are wanted, and a name in a
  // condition may be another's.
  const std::string all = texts("SELECT *, row_number() OVER () FROM users u").front();
  for (const char* sql :
       {"SELECT max(a) FROM (users u JOIN posts p ON u.name = p.body) AS j (a, b) WHERE name = 'x'",
        "SELECT max(j::text) FROM (users u JOIN posts p ON u.name = p.body) AS j",
        "SELECT j.*, count(*) OVER () FROM (users u JOIN posts p ON u.name = p.body) AS j"}) {
    EXPECT_EQ(texts(sql).front(), all) << sql;
  }
}

TEST_F(MergeNode, AJoinsNamesAreNotItsTablesKeys) {
  // Here `id` is what posts calls id, and users' name is likes.
  for (const char* sql : {"SELECT 1 FROM (users u JOIN posts p ON u.id = p.user_id) AS j (a, b, c, "
                          "d, e, f, id) WHERE "
                          "id = 5",
                          "SELECT likes FROM (users u JOIN posts p ON u.id = p.user_id) AS j (a, "
                          "likes) ORDER BY likes"}) {
    EXPECT_NE(plan(sql), nullptr) << sql;
  }
}

TEST_F(MergeNode, TableAndOnlyHaveFormsOfTheirOwn) {
  EXPECT_EQ(texts("TABLE users UNION (TABLE ONLY archive.users)").back(),
            R"(SELECT * FROM pg_temp."pgshunt.1" AS "users" UNION (SELECT * FROM ONLY )"
            R"(pg_temp."pgshunt.2" AS "users"))");
  EXPECT_EQ(
      texts("SELECT count(name) FROM ONLY (users) WHERE id > 3"),
      (Texts{R"(SELECT "id", "name" FROM ONLY "public"."users" AS "users" WHERE (id > 3))",
             R"(SELECT count(name) FROM ONLY (pg_temp."pgshunt.1") AS "users" WHERE id > 3)"}));
  EXPECT_EQ(texts("SELECT count(name) FROM ONLY (users) AS u").back(),
            R"(SELECT count(name) FROM ONLY (pg_temp."pgshunt.1") AS u)");
}

TEST_F(MergeNode, ATableThatIsReadTwiceAlikeIsBroughtOnce) {
  EXPECT_EQ(texts("SELECT count(u.name) FROM users u, posts p").size(), 3u);
  const auto merge = plan("SELECT count(a.name) FROM users a JOIN users a2 ON a.name = a2.name");
  ASSERT_NE(merge, nullptr) << error_;
  EXPECT_EQ(merge->inputs.size(), 2u);  // by other names
  const auto twice = plan("SELECT (SELECT max(name) FROM users), (SELECT min(name) FROM users)");
  ASSERT_NE(twice, nullptr) << error_;
  EXPECT_EQ(twice->inputs.size(), 1u);
}

TEST_F(MergeNode, ReferenceTablesAreThereUnlessTheTransactionHasWrittenThem) {
  const auto merge = plan("SELECT count(*) FROM users FULL JOIN countries ON code = name");
  ASSERT_NE(merge, nullptr) << error_;
  EXPECT_EQ(merge->inputs.size(), 1u);
  EXPECT_NE(merge->text.find("JOIN countries"), std::string::npos);
  ASSERT_NE(merge->with_references, nullptr);
  EXPECT_EQ(merge->with_references->inputs.size(), 2u);
}

TEST_F(MergeNode, IsNotForWhatIsOneServersOrWrites) {
  for (const char* sql :
       {"SELECT count(*) FROM users FOR UPDATE", "SELECT count(ctid) FROM users",
        "SELECT count(*), nextval('s') FROM users",
        "SELECT count(*), txid_current_if_assigned() FROM users",
        "SELECT count(*), pg_relation_size('users') FROM users",
        "SELECT count(my_function(id)) FROM users",
        "WITH gone AS (DELETE FROM users RETURNING *) SELECT count(*) FROM gone"}) {
    EXPECT_EQ(plan(sql), nullptr) << sql;
  }
}

TEST_F(MergeNode, ReadsOneClock) {
  const auto merge = plan("SELECT count(*), now() FROM users WHERE name < now()::text");
  ASSERT_NE(merge, nullptr) << error_;
  EXPECT_TRUE(merge->reads_clock);
  EXPECT_NE(merge->text.find("current_setting"), std::string::npos);
  EXPECT_EQ(merge->inputs[0].conditions, Texts{"name < now()::text"});
}

TEST_F(MergeNode, WordsOfTimeAreReadByItsOwnClock) {
  for (const char* moment : {"'now'::timestamptz", "'today'", "clock_timestamp()", "age(seen)"}) {
    const auto merge = plan(
        "SELECT count(*), now() FROM users WHERE seen > now() AND title = 'x' "
        "AND seen < " +
        std::string(moment));
    ASSERT_NE(merge, nullptr) << error_;
    EXPECT_TRUE(merge->own_clock);
    EXPECT_EQ(merge->parsed_clock, moment[0] == '\'');
    EXPECT_FALSE(merge->reads_clock);
    EXPECT_NE(merge->text.find("now()"), std::string::npos);
    EXPECT_EQ(merge->inputs[0].conditions, Texts{"title = 'x'"}) << "shards have other clocks";
  }
  Router router(topology_);
  const auto route = router.route("SELECT name FROM users WHERE seen > 'yesterday'");
  ASSERT_TRUE(route);
  ASSERT_EQ(route->kind, RouteKind::kMergeNode);
  EXPECT_TRUE(route->merge_node->own_clock);
  EXPECT_FALSE(router.route("UPDATE users SET seen = 'now' WHERE name = 'x'"));
}

// --- partial aggregates ---

class Partial : public ::testing::Test {
 protected:
  // What the shards run, and the merge node; empty if rows are brought instead.
  std::pair<std::string, std::string> texts(const std::string& sql) {
    PlanRequest request{sql, {}, 0};
    request.merges_groups = false;
    const auto data = plan_statement(*topology_, request);
    if (!data || !data->merge_node || !data->merge_node->by_rows) return {};
    return {data->merge_node->inputs.front().select, data->merge_node->text};
  }
  std::shared_ptr<const Topology> topology_ = test_topology();
};

TEST_F(Partial, ShardsSayWhatIsPutTogether) {
  const auto [shards, node] = texts(
      "SELECT country, count(*), avg(id) + 1 AS a FROM users u WHERE name > 'x' GROUP BY u.country "
      "HAVING sum(id) > 5 ORDER BY country LIMIT 3;");
  EXPECT_EQ(
      shards,
      "SELECT u.country AS \"pgshunt.g1\", count(*) AS \"pgshunt.p1\", sum(id) AS \"pgshunt.p2\", "
      "count(id) AS \"pgshunt.p3\" FROM users u WHERE name > 'x' GROUP BY 1");
  EXPECT_EQ(
      node,
      R"(SELECT "pgshunt.g1"  AS "country", )"
      R"(coalesce(pg_catalog.sum("pgshunt.p1"), 0)::pg_catalog.int8  AS "count", )"
      R"((pg_catalog.sum("pgshunt.p2") / nullif(pg_catalog.sum("pgshunt.p3"), 0)) + 1  AS "a" )"
      R"(FROM pg_temp."pgshunt.1" GROUP BY "pgshunt.g1" )"
      R"(HAVING pg_catalog.sum("pgshunt.p2") > 5 ORDER BY country LIMIT 3 )");
}

TEST_F(Partial, GroupsAreFoundByNumberNameAndExpression) {
  for (const char* sql : {"SELECT lower(name) AS low, max(id) FROM users GROUP BY 1",
                          "SELECT lower(name) AS low, max(id) FROM users GROUP BY low",
                          "SELECT lower(name) AS low, max(id) FROM users GROUP BY lower(name)"}) {
    EXPECT_EQ(
        texts(sql).first,
        "SELECT lower(name) AS \"pgshunt.g1\", max(id) AS \"pgshunt.p1\" FROM users GROUP BY 1")
        << sql;
    EXPECT_EQ(texts(sql).second, R"(SELECT "pgshunt.g1" AS "low", max("pgshunt.p1")  AS "max" )"
                                 R"(FROM pg_temp."pgshunt.1" GROUP BY "pgshunt.g1" )")
        << sql;
  }
}

TEST_F(Partial, WhatCannotBePutTogetherIsLeftAlone) {
  for (const char* sql :
       {"SELECT count(DISTINCT name) FROM users", "SELECT string_agg(name, ',') FROM users",
        "SELECT stddev(id) FROM users", "SELECT count(*) FROM users GROUP BY ROLLUP (name)",
        "SELECT name, count(*) FROM users GROUP BY id",
        "SELECT 2 AS two, count(*) FROM users GROUP BY 1", "SELECT avg(id::real) FROM users",
        "SELECT count(*) FROM users GROUP BY (id, name)",
        "SELECT count(*) FROM users u JOIN posts p ON u.name = p.body",
        "SELECT count(*) FROM countries LEFT JOIN users ON code = country",
        "SELECT count(my_function(id)) FROM users", "SELECT max(id) OVER () FROM users",
        "SELECT array_agg(name ORDER BY id) FROM users",
        "SELECT count(*), (SELECT max(id) FROM users) FROM users",
        "SELECT count(*) FROM users, now()", "SELECT (count(*))::text::int FROM users"}) {
    EXPECT_EQ(texts(sql).first, "") << sql;
  }
}

}  // namespace
}  // namespace pgshunt
