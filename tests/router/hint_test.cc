// What a comment says of where a statement runs, what may run there, and what may not.

#include "router/hint.h"

#include <gtest/gtest.h>

#include <string>

#include "router/hint_plan.h"
#include "router/key_encoding.h"
#include "router/key_location.h"
#include "router/router.h"
#include "router/statement_plan.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

std::string words(const RouteHint& hint) {
  std::string out;
  if (hint.shard) out += "shard=" + *hint.shard + ";";
  if (hint.key) out += "key=" + *hint.key + ";";
  if (hint.keyspace) out += "keyspace=" + *hint.keyspace + ";";
  const char* const kRoles[] = {"", "role=primary;", "role=replica;", "role=any;"};
  return out + kRoles[static_cast<int>(hint.role)];
}

// What the comments say; or the SQLSTATE and message.
std::string read(std::string_view sql) {
  RouteHint hint;
  if (!may_have_hint(sql)) return "not looked at";
  const Status read = read_comment_hints(sql, true, hint);
  return read ? words(hint) : std::string(read.error().code.view()) + " " + read.error().message;
}

TEST(Hint, StandsInACommentAtEitherEnd) {
  EXPECT_EQ(read("/* pgshunt: shard=s1 */ SELECT 1"), "shard=s1;");
  EXPECT_EQ(read("/*pgshunt:shard=s1*/SELECT 1"), "shard=s1;");
  EXPECT_EQ(read("SELECT 1 /* pgshunt: key=42 keyspace=users */"), "key=42;keyspace=users;");
  EXPECT_EQ(read("SELECT 1 /*a='b'*/ /* pgshunt: key=42, role=any */"), "key=42;role=any;");
  EXPECT_EQ(read("-- x\n/* y */ /* pgshunt: shard=s1 */ -- z\nSELECT 1"), "shard=s1;");
  EXPECT_EQ(read("/* pgshunt: shard=s1 */ SELECT 1 /* pgshunt: role=replica */"),
            "shard=s1;role=replica;");
  EXPECT_EQ(read("/* pgshunt: SHARD=S1 Role=Primary */ SELECT 1"), "shard=S1;role=primary;");
  EXPECT_EQ(read("SELECT 1 /* pgshunt: shard=s1 */ -- x"), "shard=s1;");
  EXPECT_EQ(read("SELECT 1 ; /* PgShunt : shard=s1 */ ;"), "shard=s1;");
}

TEST(Hint, QuotedValuesHoldAnything) {
  EXPECT_EQ(read("/* pgshunt: key='a b, c=''d''' */ SELECT 1"), "key=a b, c='d';");
  EXPECT_EQ(read("/* pgshunt: key='' */ SELECT 1"), "key=;");
}

TEST(Hint, ElsewhereItIsOnlyAComment) {
  EXPECT_EQ(read("SELECT /* pgshunt: shard=s1 */ 1"), "not looked at");
  EXPECT_EQ(read("SELECT '/* pgshunt: shard=s1 */'"), "not looked at");
  EXPECT_EQ(read("SELECT 1 /* x */ + 1 /* y */"), "");
  EXPECT_EQ(read("SELECT 'a /* pgshunt: shard=s1 */' /* y */"), "");
  EXPECT_EQ(read("SELECT /* pgshunt: shard=s1 */ 1 /* y */"), "");
  EXPECT_EQ(read("-- /* pgshunt: shard=s1 */\nSELECT 1"), "");
  EXPECT_EQ(read("/* see pgshunt: shard=s1 */ SELECT 1"), "");
  EXPECT_EQ(read("/* /* pgshunt: shard=s1 */ */ SELECT 1"), "");
  EXPECT_EQ(read("/* pgshunt: shard=s1"), "");
}

TEST(Hint, SaysWhatItDoesNotUnderstand) {
  EXPECT_EQ(read("/* pgshunt: shart=s1 */ SELECT 1"), "22023 there is no hint \"shart\"");
  EXPECT_EQ(read("/* pgshunt: shard */ SELECT 1"), "22023 hint \"shard\" has no value");
  EXPECT_EQ(read("/* pgshunt: key='x */ SELECT 1"), "22023 a hint's quoted value has no end");
  EXPECT_EQ(read("/* pgshunt: key='x'y */ SELECT 1"), "22023 a hint's quoted value has no end");
  EXPECT_EQ(read("/* pgshunt: role=master */ SELECT 1"), "22023 there is no role \"master\"");
  EXPECT_EQ(read("/* pgshunt: shard=a */ SELECT 1 /* pgshunt: shard=b */"),
            "22023 hints contradict each other: shard is \"a\" and \"b\"");
  EXPECT_EQ(read("/* pgshunt: role=any role=primary */ SELECT 1"),
            "22023 hints contradict each other: two roles");
  EXPECT_EQ(read("/* pgshunt: shard=a shard=a */ SELECT 1"), "shard=a;");
}

TEST(Hint, WhatIsMeantAsOneIsNotPassedOver) {
  EXPECT_EQ(read("/* pgshunt: */ SELECT 1"), "22023 a hint says nothing");
  EXPECT_EQ(read("/* pgshunt: , */ SELECT 1"), "22023 a hint says nothing");
  EXPECT_EQ(read("/* pgshunt: shard= */ SELECT 1"), "22023 hint \"shard\" has no value");
  EXPECT_EQ(read("/* pgshunt: shard=, key=5 */ SELECT 1"), "22023 hint \"shard\" has no value");
  EXPECT_EQ(read("SELECT 1 /* pgshunt: shard */ -- x"), "22023 hint \"shard\" has no value");
  EXPECT_EQ(read("SELECT 1; -- x\n/* pgshunt: shard */;"), "22023 hint \"shard\" has no value");
  const std::string no_colon = "22023 a hint has no colon behind \"pgshunt\"";
  EXPECT_EQ(read("/* pgshunt shard=a */ SELECT 1"), no_colon);
  EXPECT_EQ(read("SELECT 1; /*PGSHUNT KeySpace = a key=5*/"), no_colon);
  const std::string line = "22023 a hint stands in a -- comment";
  EXPECT_EQ(read("-- pgshunt: shard=a\nSELECT 1"), line);
  EXPECT_EQ(read("SELECT 1 -- pgshunt key=5"), line);
  EXPECT_EQ(read("SELECT 1 /* pgshunt: shard=b */; --pgshunt : shard = a\r\n"), line);
}

TEST(Hint, CommentsMayTellOfPgshunt) {
  for (const char* sql :
       {"/* written for pgshunt */ SELECT 1", "-- pgshunt is great\nSELECT 1",
        "/* pgshunt is great */ SELECT 1", "/* pgshunt */ SELECT 1",
        "/* pgshunt version=2 */ SELECT 1", "SELECT 1 -- pgshunt: see shard=a",
        "SELECT 1 -- for pgshunt: shard=a", "/* pgshunts: x=y */ SELECT 1",
        "/* pgshuntshard=a */ SELECT 1", "/* pgshunt_shard=a */ SELECT 1",
        "SELECT 1 /* app='pgshunt',shard='a' */", "/* pgshunt=5 */ SELECT 1",
        "SELECT 1 /* pgshunt, the proxy: key=value */", "SELECT -- pgshunt: shard=a\n1"}) {
    EXPECT_EQ(read(sql), "") << sql;
  }
}

TEST(Hint, BehindSeveralStatementsItIsNobodys) {
  const auto behind = [](std::string_view text) {
    const Status none = check_no_hint(text);
    return none ? std::string("none") : none.error().message;
  };
  EXPECT_EQ(behind(";"), "none");
  EXPECT_EQ(behind("; /* x */ -- pgshunt is great"), "none");
  EXPECT_EQ(behind("; /* pgshunt: role=any */"),
            "a hint stands behind the last of several statements");
  EXPECT_EQ(behind(" /* x */;; /* pgshunt: keyspace=a */"),
            "a hint stands behind the last of several statements");
  EXPECT_EQ(behind("; /* pgshunt: shard */"), "hint \"shard\" has no value");
}

class HintedRoute : public ::testing::Test {
 protected:
  std::string describe(const Result<Route>& route) {
    if (!route) {
      return std::string(route.error().code.view()) + " " + route.error().message;
    }
    std::string out = route->writes ? "w" : "r";
    if (route->hint) out += " hinted";
    if (route->kind == RouteKind::kCopySplit) out += " split";
    if (route->kind == RouteKind::kScatter) out += " scatter";
    if (route->kind == RouteKind::kHomeShard) out += " home";
    if (route->kind != RouteKind::kOneShard) return out;
    return out + " " + topology_->shards[route->shards.front()].name;
  }
  std::string route(const std::string& sql) { return describe(router_.route(sql, session_)); }

  std::string prepared(const std::string& sql, std::initializer_list<const char*> values = {}) {
    auto plan = router_.prepare(sql, {}, session_);
    if (!plan) return std::string(plan.error().code.view()) + " " + plan.error().message;
    std::vector<BoundValue> bound;
    for (const char* value : values) bound.push_back({false, false, 0, value});
    return describe(router_.bind(**plan, bound, session_));
  }

  // The shard of a row of users.
  std::string shard_of(int id) {
    const auto route = router_.route("SELECT 1 FROM users WHERE id = " + std::to_string(id));
    return topology_->shards[route->shards.front()].name;
  }
  int key_on(const std::string& shard) {
    int id = 1;
    while (shard_of(id) != shard) ++id;
    return id;
  }

  std::shared_ptr<const Topology> topology_ = test_topology();
  Router router_{topology_};
  RouteHint hint_;
  RouterSession session_;
};

TEST_F(HintedRoute, WhatCannotBeProvenRunsWhereTheHintSays) {
  for (const char* sql :
       {"SELECT my_function()", "SELECT count(*) FROM users, posts", "DO 'BEGIN END'",
        "SELECT random() FROM users ORDER BY title", "CALL anything()",
        "WITH w AS (DELETE FROM posts RETURNING user_id) SELECT * FROM w",
        "INSERT INTO users (id, name) SELECT user_id, body FROM posts",
        "INSERT INTO users (id) VALUES (my_function())", "CREATE INDEX i ON users (name)",
        "MERGE INTO users USING posts ON true WHEN MATCHED THEN DELETE", "LOCK users",
        "VACUUM users", "SELECT * FROM nobody_knows", "COPY users TO STDOUT",
        "COPY (SELECT my_function()) TO STDOUT", "DECLARE c CURSOR FOR SELECT * FROM users",
        "EXPLAIN ANALYZE DELETE FROM users", "UPDATE users SET name = 'x'", "TRUNCATE posts"}) {
    const std::string outcome = route("/* pgshunt: shard=s2 */ " + std::string(sql));
    EXPECT_TRUE(outcome == "w hinted s2" || outcome == "r hinted s2") << sql << ": " << outcome;
    const std::string behind = route(std::string(sql) + " /* pgshunt: shard=s1 */");
    EXPECT_TRUE(behind == "w hinted s1" || behind == "r hinted s1") << sql << ": " << behind;
    const std::string extended = prepared("/* pgshunt: shard=s2 */ " + std::string(sql));
    EXPECT_EQ(extended, outcome) << sql;
  }
  EXPECT_EQ(route("/* pgshunt: shard=s2 */ SELECT * FROM users"), "r hinted s2");
  EXPECT_EQ(route("/* pgshunt: shard=s2 */ SELECT * FROM users FOR UPDATE"), "w hinted s2");
}

TEST_F(HintedRoute, AKeyNamesItsShard) {
  for (const char* shard : {"s0", "s1", "s2"}) {
    const std::string key = std::to_string(key_on(shard));
    EXPECT_EQ(route("/* pgshunt: key=" + key + " keyspace=users */ SELECT count(*) FROM users"),
              "r hinted " + std::string(shard));
  }
  EXPECT_EQ(route("/* pgshunt: key=5 */ SELECT 1"),
            "22023 the hint's key may be of several keyspaces");
  EXPECT_EQ(route("/* pgshunt: key=5 keyspace=nobody */ SELECT 1"),
            "22023 the hint names keyspace \"nobody\", which does not exist");
  EXPECT_EQ(route("/* pgshunt: key=x keyspace=users */ SELECT 1").substr(0, 5), "22023");
  EXPECT_EQ(route("/* pgshunt: keyspace=users */ SELECT 1"),
            "22023 the hint has a keyspace but no key");
  EXPECT_EQ(route("/* pgshunt: shard=nobody */ SELECT 1"),
            "22023 the hint names shard \"nobody\", which does not exist");
  const std::string there = std::to_string(key_on("s1"));
  EXPECT_EQ(route("/* pgshunt: shard=s1 key=" + there + " keyspace=users */ SELECT 1"),
            "r hinted s1");
  EXPECT_EQ(
      route("/* pgshunt: shard=s0 key=" + there + " keyspace=users */ SELECT 1"),
      "22023 hints contradict each other: key \"" + there + "\" is on shard \"s1\", not on \"s0\"");
}

TEST_F(HintedRoute, ReferenceTablesAreNotWrittenOnOneShard) {
  for (const char* sql :
       {"INSERT INTO countries (code) VALUES ('x')", "UPDATE countries SET name = 'x'",
        "DELETE FROM public.countries", "TRUNCATE users, countries", "COPY countries FROM STDIN",
        "WITH w AS (DELETE FROM countries RETURNING code) SELECT * FROM w",
        "MERGE INTO countries USING users ON true WHEN MATCHED THEN DELETE",
        "PREPARE p AS DELETE FROM countries", "EXPLAIN ANALYZE DELETE FROM countries",
        "WITH a AS (SELECT 1), b AS (UPDATE countries SET name = 'x' RETURNING 1) "
        "SELECT * FROM a, b, nobody_knows"}) {
    const std::string outcome = route("/* pgshunt: shard=s2 */ " + std::string(sql));
    EXPECT_EQ(outcome.substr(0, 44), "0A000 a hint may not send a write to referen") << sql;
    EXPECT_EQ(prepared("/* pgshunt: shard=s2 */ " + std::string(sql)), outcome) << sql;
  }
  EXPECT_EQ(route("/* pgshunt: shard=s2 */ SELECT * FROM countries"), "r hinted s2");
  EXPECT_EQ(route("/* pgshunt: shard=s2 */ EXPLAIN DELETE FROM countries"), "r hinted s2");
}

TEST_F(HintedRoute, RowsAreNotStoredWhereNobodyLooksForThem) {
  const std::string here = std::to_string(key_on("s2"));
  const std::string away = std::to_string(key_on("s0"));
  const std::string hint = "/* pgshunt: shard=s2 */ ";
  const std::string refused =
      "22023 a row's shard key belongs to shard \"s0\", not to \"s2\" as the hint says";
  EXPECT_EQ(route(hint + "INSERT INTO users (id) VALUES (" + here + ")"), "w hinted s2");
  EXPECT_EQ(route(hint + "INSERT INTO users (id) VALUES (" + away + ")"), refused);
  EXPECT_EQ(route(hint + "INSERT INTO users (id) VALUES (" + here + "), (" + away + ")"), refused);
  EXPECT_EQ(route(hint + "INSERT INTO users (id) VALUES (my_function()), (" + away + ")"), refused);
  EXPECT_EQ(route(hint + "INSERT INTO users (id) SELECT " + away), refused);
  EXPECT_EQ(route(hint + "WITH w AS (INSERT INTO users (id) VALUES (" + away +
                  ") RETURNING 1) SELECT my_function() FROM w"),
            refused);
  EXPECT_EQ(prepared(hint + "INSERT INTO users (id) VALUES ($1)", {here.c_str()}), "w hinted s2");
  EXPECT_EQ(prepared(hint + "INSERT INTO users (id) VALUES ($1)", {away.c_str()}), refused);
  EXPECT_EQ(route(hint + "INSERT INTO users (name) VALUES ('x')").substr(0, 5), "23502");
  EXPECT_EQ(route(hint + "INSERT INTO users (id) VALUES (DEFAULT)").substr(0, 5), "23502");
  EXPECT_EQ(route(hint + "INSERT INTO users DEFAULT VALUES").substr(0, 5), "23502");
  for (const char* insert : {"INSERT INTO users (id) VALUES (pgshunt.unique_id())",
                             "INSERT INTO users (id) SELECT pgshunt.unique_id() FROM posts"}) {
    EXPECT_EQ(route(hint + insert).substr(0, 5), "0A000") << insert;
  }
  EXPECT_EQ(route(hint + "UPDATE users SET id = 5").substr(0, 5), "0A000");
  const auto copy = router_.route(hint + "COPY users (id) FROM STDIN");
  ASSERT_TRUE(copy);
  EXPECT_EQ(copy->kind, RouteKind::kCopySplit);
}

// It would find none of them, or one that nobody else finds.
TEST_F(HintedRoute, RowsAreNotChangedWhereTheyAreNot) {
  const std::string here = std::to_string(key_on("s2"));
  const std::string away = std::to_string(key_on("s0"));
  const std::string hint = "/* pgshunt: shard=s2 */ ";
  const std::string refused =
      "22023 a row's shard key belongs to shard \"s0\", not to \"s2\" as the hint says";
  for (const char* sql :
       {"UPDATE users SET name = 'x' WHERE id = ", "DELETE FROM users WHERE id = ",
        "WITH w AS (SELECT 1) UPDATE users u SET name = 'x' FROM posts p, w WHERE u.id = ",
        "WITH w AS (DELETE FROM users RETURNING 1) DELETE FROM posts WHERE user_id = "}) {
    EXPECT_EQ(route(hint + sql + here), "w hinted s2") << sql;
    EXPECT_EQ(route(hint + sql + away), refused) << sql;
  }
  EXPECT_EQ(route(hint + "WITH w AS (DELETE FROM users WHERE id = " + away +
                  " RETURNING 1) SELECT * FROM w"),
            refused);
  EXPECT_EQ(route(hint + "DELETE FROM users WHERE id IN (" + here + ", " + away + ")"), refused);
  EXPECT_EQ(prepared(hint + "DELETE FROM users WHERE id = $1", {here.c_str()}), "w hinted s2");
  EXPECT_EQ(prepared(hint + "DELETE FROM users WHERE id = $1", {away.c_str()}), refused);
  EXPECT_EQ(prepared(hint + "DELETE FROM users WHERE id = ANY ($1)", {("{" + away + "}").c_str()}),
            refused);
  EXPECT_EQ(route(hint + "EXPLAIN ANALYZE DELETE FROM users WHERE id = " + away), refused);
  // Nothing is said of the key, or it is a read.
  for (const char* sql :
       {"DELETE FROM users WHERE id = 5 OR true", "DELETE FROM users WHERE id > 5",
        "UPDATE users SET name = 'x' FROM nobody_knows WHERE id = "}) {
    const std::string text = sql + std::string(std::string_view(sql).ends_with(" ") ? away : "");
    EXPECT_EQ(route(hint + text), "w hinted s2") << text;
  }
  EXPECT_EQ(route(hint + "SELECT * FROM users WHERE id = " + away), "r hinted s2");
  EXPECT_EQ(route(hint + "EXPLAIN DELETE FROM users WHERE id = " + away), "r hinted s2");
}

TEST_F(HintedRoute, AnUnshardedTableIsWrittenWhereItIs) {
  const std::string refused =
      "22023 the table to be written is on shard \"s1\", not on \"s2\" as the hint says";
  for (const char* sql : {"INSERT INTO notes VALUES (1)", "UPDATE notes SET id = 1",
                          "COPY notes FROM STDIN", "DELETE FROM notes"}) {
    EXPECT_EQ(route("/* pgshunt: shard=s1 */ " + std::string(sql)), "w hinted s1") << sql;
    EXPECT_EQ(route("/* pgshunt: shard=s2 */ " + std::string(sql)), refused) << sql;
  }
  EXPECT_EQ(route("/* pgshunt: shard=s2 */ SELECT * FROM notes"), "r hinted s2");
}

class HintedDirectory : public ::testing::Test {
 protected:
  static std::shared_ptr<const Topology> rooms() {
    TopologyBuilder builder;
    for (const char* shard : {"s0", "s1"}) EXPECT_TRUE(builder.add_shard(shard));
    DirectoryPlacement placement;
    placement.new_keys = NewKeyPolicy::kHash;
    EXPECT_TRUE(builder.add_keyspace("rooms", ShardKeyType::kInt8, placement));
    EXPECT_TRUE(builder.add_sharded_table("public", "rooms", "rooms", "id"));
    builder.set_columns("public", "rooms", {test_column("id", type_oid::kInt8)});
    return *builder.build(1);
  }
  // The shard, the keys that are asked for ("5+": one may be given a shard), or the SQLSTATE.
  std::string route(const std::string& sql) {
    const auto route = router_.route(sql);
    if (!route) return std::string(route.error().code.view());
    std::string out;
    for (const KeyLookup& lookup : route->lookups) {
      out += encoded_key_text(ShardKeyType::kInt8, lookup.key) + (lookup.assign ? "+" : "?");
    }
    return out.empty() ? "s" + std::to_string(route->shards.front()) : out;
  }
  void learn(int key, std::optional<ShardId> shard) {
    const std::string canonical = *parse_key(ShardKeyType::kInt8, std::to_string(key));
    router_.learn({0, canonical, true},
                  {shard ? KeyPlace::Kind::kShard : KeyPlace::Kind::kAbsent, shard.value_or(0)});
  }

  Router router_{rooms()};
};

TEST_F(HintedDirectory, AKeyIsAskedFor) {
  EXPECT_EQ(route("/* pgshunt: key=5 */ SELECT f()"), "5?");
  learn(5, 1);
  EXPECT_EQ(route("/* pgshunt: key=5 */ SELECT f()"), "s1");
  EXPECT_EQ(route("/* pgshunt: key=5 */ DELETE FROM rooms WHERE id = 6"), "6?");
  learn(6, 0);
  EXPECT_EQ(route("/* pgshunt: key=5 */ DELETE FROM rooms WHERE id = 6"), "22023");
  EXPECT_EQ(route("/* pgshunt: key=7 */ SELECT f()"), "7?");
  learn(7, std::nullopt);
  EXPECT_EQ(route("/* pgshunt: key=7 */ SELECT f()"), "22023");
}

TEST_F(HintedDirectory, ANewKeyIsGivenAShardByWhatStoresRows) {
  EXPECT_EQ(route("/* pgshunt: key=5 */ DELETE FROM rooms"), "5?");
  EXPECT_EQ(route("/* pgshunt: key=5 */ INSERT INTO rooms (id) VALUES (5)"), "5+");
  EXPECT_EQ(route("/* pgshunt: key=5 */ COPY rooms (id) FROM STDIN"), "5+");
  learn(5, 1);
  EXPECT_EQ(route("/* pgshunt: key=5 */ INSERT INTO rooms (id) VALUES (5)"), "s1");
}

TEST_F(HintedRoute, PlansWithAndWithoutAHintAreApart) {
  const std::string sql = "SELECT name FROM users ORDER BY id";
  EXPECT_EQ(route(sql), "r scatter");
  EXPECT_EQ(route(sql + " /* pgshunt: shard=s1 */"), "r hinted s1");
  EXPECT_EQ(route(sql + " /* pgshunt: shard=s2 */"), "r hinted s2");
  EXPECT_EQ(route(sql), "r scatter");
  const auto counted = router_.counters();
  EXPECT_EQ(route(sql + " /* pgshunt: shard=s0 */"), "r hinted s0");
  EXPECT_EQ(router_.counters().template_hits, counted.template_hits + 1);
}

TEST_F(HintedRoute, ACommentGoesBeforeTheSession) {
  hint_.shard = "s1";
  session_.hint = &hint_;
  EXPECT_EQ(route("SELECT my_function()"), "w hinted s1");
  EXPECT_EQ(route("/* pgshunt: shard=s2 */ SELECT my_function()"), "w hinted s2");
  EXPECT_EQ(route("/* pgshunt: role=any */ SELECT my_function()"), "w hinted s1");
  EXPECT_EQ(prepared("SELECT my_function()"), "w hinted s1");
  EXPECT_EQ(prepared("/* pgshunt: shard=s2 */ SELECT my_function()"), "w hinted s2");
  EXPECT_EQ(route("NOTIFY x"), "w home");
}

TEST_F(HintedRoute, APreparedStatementFollowsTheSession) {
  hint_.shard = "s1";
  const auto plain = router_.prepare("SELECT name FROM users", {}, session_);
  ASSERT_TRUE(plain);
  session_.hint = &hint_;
  EXPECT_FALSE(router_.bind(**plain, {}, session_));
  const auto fresh = router_.refresh(*plain, session_);
  ASSERT_TRUE(fresh);
  EXPECT_EQ(describe(router_.bind(**fresh, {}, session_)), "r hinted s1");
  EXPECT_EQ(router_.home_of(**fresh, session_), std::optional<ShardId>(1));
  hint_.shard = "s2";
  EXPECT_EQ(describe(router_.bind(**fresh, {}, session_)), "r hinted s2");
}

TEST(CheckHint, IsAskedBeforeAnyStatement) {
  const auto topology = test_topology();
  RouteHint hint;
  hint.shard = "nobody";
  EXPECT_FALSE(check_hint(*topology, hint));
  hint = {};
  hint.key = "5";  // of some keyspace: it may be told yet
  EXPECT_TRUE(check_hint(*topology, hint));
  hint.keyspace = "users";
  EXPECT_TRUE(check_hint(*topology, hint));
  hint.key = "five";
  EXPECT_FALSE(check_hint(*topology, hint));
}

}  // namespace
}  // namespace pgshunt
