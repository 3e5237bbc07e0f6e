#include "router/made_values.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "protocol/byte_search.h"
#include "protocol/frame.h"
#include "router/copy_split.h"
#include "router/pg_hash.h"
#include "router/router.h"
#include "router/statement_plan.h"
#include "tests/router/topologies.h"

namespace pgshunt {
namespace {

// Tables whose ids are made: as the shard key, beside it, in copies.
std::shared_ptr<const Topology> topology_with_ids(bool installed = true) {
  TopologyBuilder builder;
  for (const char* shard : {"s0", "s1", "s2"}) EXPECT_TRUE(builder.add_shard(shard));
  EXPECT_TRUE(builder.add_keyspace("users", ShardKeyType::kInt8));
  for (const char* table : {"users", "orders", "plain"}) {
    EXPECT_TRUE(builder.add_sharded_table("public", table, "users", "id"));
  }
  EXPECT_TRUE(builder.add_sharded_table("public", "parts", "users", "user_id"));
  EXPECT_TRUE(builder.add_reference_table("public", "kinds"));
  using namespace type_oid;
  Column made = test_column("id", kInt8, false, ColumnDefault::kDiffers);
  made.unique_id = true;
  Column last = made;
  last.name = "No";
  builder.set_columns("public", "users", {made, test_column("name", kText)});
  builder.set_columns("public", "orders",
                      {test_column("name", kText), test_column("note", kText), made});
  builder.set_columns("public", "plain", {test_column("id", kInt8), test_column("name", kText)});
  builder.set_columns("public", "parts", {test_column("user_id", kInt8), made});
  builder.set_columns("public", "kinds", {made, test_column("name", kText), last});
  EXPECT_TRUE(builder.add_sharded_table("public", "always", "users", "id"));
  EXPECT_TRUE(builder.add_sharded_table("public", "mostly", "users", "id"));
  for (const char* table : {"always", "mostly"}) {
    Column number = test_column("id", kInt8, false, ColumnDefault::kDiffers);
    number.sequence = "s";
    number.takes_number = true;
    number.identity =
        table == std::string_view("always") ? Identity::kAlways : Identity::kByDefault;
    builder.set_columns("public", table, {number, test_column("name", kText)});
  }
  builder.declared().unique_ids = installed;
  auto topology = builder.build(1);
  EXPECT_TRUE(topology);
  return topology ? *topology : nullptr;
}

class MadeValuesTest : public testing::Test {
 protected:
  // What a simple query becomes, with 1001, 1002, ... for its values.
  std::string made(std::string_view sql) {
    const auto route = router_.route(sql);
    if (!route) return std::string(route.error().code.view()) + " " + route.error().message;
    if (route->kind != RouteKind::kMakeValues) return "nothing";
    std::vector<std::int64_t> values;
    for (std::size_t i = 0; i < route->made.size(); ++i) {
      values.push_back(static_cast<std::int64_t>(1001 + i));
    }
    std::string text(router_.with_values(values));
    const auto again = router_.route(text);
    EXPECT_TRUE(again) << text << ": " << (again ? "" : again.error().message);
    if (again) kind_ = again->kind;
    EXPECT_NE(kind_, RouteKind::kMakeValues) << text;
    return text;
  }
  // What a prepared statement becomes.
  std::string prepared(std::string_view sql, std::vector<std::uint32_t> types = {}) {
    const auto plan = router_.prepare(sql, types);
    if (!plan) return plan.error().message;
    if ((*plan)->made() == nullptr) return "nothing";
    const auto again = router_.prepare((*plan)->made()->text, types);
    EXPECT_TRUE(again) << (again ? "" : again.error().message);
    return (*plan)->made()->text;
  }

  Router router_{topology_with_ids(), 64};
  RouteKind kind_ = RouteKind::kAnyShard;
};

#define ID(n) "(" #n "::pg_catalog.int8)"
#define PARAMETER(n) "($" #n "::pg_catalog.int8)"

TEST_F(MadeValuesTest, ACallInTheKeysPlaceIsReplaced) {
  for (int i = 0; i < 2; ++i) {  // planned, and from the cache
    EXPECT_EQ(
        made("INSERT INTO plain (name, id) VALUES ('it''s', pgshunt.unique_id()) RETURNING id"),
        "INSERT INTO plain (name, id) VALUES ('it''s', " ID(1001) ") RETURNING id");
  }
  EXPECT_EQ(kind_, RouteKind::kOneShard);
  EXPECT_EQ(made("insert into plain values (PgShunt . \"unique_id\" ( ), lower('A'))"),
            "insert into plain values (" ID(1001) ", lower('A'))");
}

TEST_F(MadeValuesTest, EachRowIsGivenItsOwn) {
  EXPECT_EQ(made("INSERT INTO plain (id, name) VALUES (pgshunt.unique_id(), 'a'), (5, 'b'),\n"
                 " (pgshunt.unique_id(), (SELECT 'x, (y'))"),
            "INSERT INTO plain (id, name) VALUES (" ID(1001) ", 'a'), (5, 'b'),\n"
            " (" ID(1002) ", (SELECT 'x, (y'))");
  std::string many = "INSERT INTO users VALUES (DEFAULT, 'x')";
  for (int i = 0; i < 2000; ++i) many += ", (DEFAULT, 'x')";
  EXPECT_NE(made(many).find("(" ID(3001) ", 'x')"), std::string::npos);
}

TEST_F(MadeValuesTest, TheKeysDefaultIsMadeWhereItIsLeftOut) {
  EXPECT_EQ(made("INSERT INTO users (id, name) VALUES (DEFAULT, 'a')"),
            "INSERT INTO users (id, name) VALUES (" ID(1001) ", 'a')");
  EXPECT_EQ(made("INSERT INTO users (name) VALUES ('a'), ('b')"),
            "INSERT INTO users (name, \"id\") VALUES ('a', " ID(1001) "), ('b', " ID(1002) ")");
  EXPECT_EQ(made("INSERT INTO public.users AS u (name) OVERRIDING USER VALUE VALUES ('(') "
                 "ON CONFLICT (id) DO NOTHING"),
            "INSERT INTO public.users AS u (name, \"id\") OVERRIDING USER VALUE VALUES ('(', " ID(
                1001) ") ON CONFLICT (id) DO NOTHING");
  EXPECT_EQ(made("INSERT INTO orders VALUES ('a')"),
            "INSERT INTO orders VALUES ('a', DEFAULT, " ID(1001) ")");
  EXPECT_EQ(made("INSERT INTO users DEFAULT VALUES RETURNING id"),
            "INSERT INTO users (\"id\") VALUES (" ID(1001) ") RETURNING id");
  EXPECT_EQ(made("INSERT INTO users VALUES (DEFAULT)"), "INSERT INTO users VALUES (" ID(1001) ")");
  EXPECT_EQ(made("WITH x AS (SELECT 1) INSERT INTO users (name) VALUES ('a')"),
            "WITH x AS (SELECT 1) INSERT INTO users (name, \"id\") VALUES ('a', " ID(1001) ")");
}

TEST_F(MadeValuesTest, CopiesOfAReferenceTableAreGivenTheSame) {
  EXPECT_EQ(made("INSERT INTO kinds (name) VALUES ('a')"),
            "INSERT INTO kinds (name, \"id\", \"No\") VALUES ('a', " ID(1001) ", " ID(1002) ")");
  EXPECT_EQ(kind_, RouteKind::kEveryShard);
  EXPECT_EQ(made("INSERT INTO kinds VALUES (DEFAULT, 'a'), (7, 'b')"),
            "INSERT INTO kinds VALUES (" ID(1001) ", 'a', " ID(1002) "), (7, 'b', " ID(1003) ")");
  EXPECT_EQ(made("INSERT INTO kinds DEFAULT VALUES"),
            "INSERT INTO kinds (\"id\", \"No\") VALUES (" ID(1001) ", " ID(1002) ")");
}

TEST_F(MadeValuesTest, WhatAShardMayMakeIsLeftToIt) {
  for (const char* sql :
       {"INSERT INTO parts (user_id) VALUES (1)", "INSERT INTO parts VALUES (1, DEFAULT)",
        "INSERT INTO parts VALUES (1, pgshunt.unique_id())", "SELECT pgshunt.unique_id()",
        "INSERT INTO users VALUES (1, pgshunt.unique_id()::text)",
        "INSERT INTO users (id) VALUES (1)", "UPDATE users SET name = pgshunt.unique_id()",
        "SELECT 'pgshunt.unique_id()'", "SELECT id, pgshunt.unique_id() FROM users",
        "UPDATE parts SET id = DEFAULT",
        "UPDATE users SET name = pgshunt.unique_id() WHERE id = 1"}) {
    EXPECT_EQ(made(sql), "nothing") << sql;
  }
}

TEST_F(MadeValuesTest, WhatWouldDifferFromCopyToCopyIsRefused) {
  for (const char* sql :
       {"UPDATE kinds SET id = pgshunt.unique_id() WHERE id = 1",
        "INSERT INTO kinds (id, name, \"No\") VALUES (1, pgshunt.unique_id()::text, 1)",
        "INSERT INTO kinds (id, \"No\") VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET id = "
        "pgshunt.unique_id()",
        "ALTER TABLE kinds ADD more bigint DEFAULT pgshunt.unique_id()",
        "INSERT INTO plain (id) VALUES (pgshunt.unique_id() + 1)"}) {
    EXPECT_EQ(made(sql).substr(0, 5), "0A000") << sql;
  }
}

TEST_F(MadeValuesTest, WhatIsGeneratedAlwaysIsOverridden) {
  EXPECT_EQ(made("INSERT INTO always (name) VALUES ('values (')"),
            "INSERT INTO always (name, \"id\") OVERRIDING SYSTEM VALUE VALUES ('values (', " ID(
                1001) ")");
  EXPECT_EQ(made("INSERT INTO always AS values VALUES (DEFAULT, 'x'), (DEFAULT, 'y')"),
            "INSERT INTO always AS values OVERRIDING SYSTEM VALUE VALUES (" ID(1001) ", 'x'), (" ID(
                1002) ", 'y')");
  EXPECT_EQ(made("INSERT INTO always DEFAULT VALUES"),
            "INSERT INTO always (\"id\") OVERRIDING SYSTEM VALUE VALUES (" ID(1001) ")");
  EXPECT_EQ(made("INSERT INTO always OVERRIDING SYSTEM VALUE VALUES (DEFAULT, 'x'), (5, 'y')"),
            "INSERT INTO always OVERRIDING SYSTEM VALUE VALUES (" ID(1001) ", 'x'), (5, 'y')");
  EXPECT_EQ(made("INSERT INTO mostly (name) VALUES ('x')"),
            "INSERT INTO mostly (name, \"id\") VALUES ('x', " ID(1001) ")");
  for (const char* table : {"always", "mostly"}) {
    const std::string name = table;
    EXPECT_EQ(made("INSERT INTO " + name + " (name) overriding /* , */ user VALUE VALUES ('x')"),
              "INSERT INTO " + name +
                  " (name, \"id\") OVERRIDING SYSTEM VALUE VALUES ('x', " ID(1001) ")");
    EXPECT_EQ(made("INSERT INTO " + name + " OVERRIDING USER VALUE VALUES (5, 'x')").substr(0, 5),
              "0A000");
  }
  for (const char* sql : {"INSERT INTO always VALUES (DEFAULT, 'x'), (5, 'y')",
                          "INSERT INTO always VALUES (pgshunt.unique_id(), 'x')"}) {
    EXPECT_EQ(made(sql), "428C9 cannot insert a non-DEFAULT value into column \"id\"") << sql;
  }
  // The shard says so.
  EXPECT_EQ(made("INSERT INTO always VALUES (5, 'x')"), "nothing");
}

TEST_F(MadeValuesTest, ExplainingTakesNothingUnlessItRuns) {
  for (const char* table : {"users", "kinds", "always"}) {
    const std::string insert = std::string(" INSERT INTO ") + table + " (name) VALUES ('x'), ('y')";
    const auto route = router_.route("EXPLAIN (VERBOSE)" + insert);
    ASSERT_TRUE(route) << route.error().message;
    EXPECT_EQ(route->kind, RouteKind::kAnyShard);
    EXPECT_FALSE(route->writes);
  }
  EXPECT_EQ(made("EXPLAIN ANALYZE INSERT INTO users (name) VALUES ('x')"),
            "EXPLAIN ANALYZE INSERT INTO users (name, \"id\") VALUES ('x', " ID(1001) ")");
}

TEST_F(MadeValuesTest, ParametersComeBehindTheClients) {
  EXPECT_EQ(prepared("INSERT INTO plain (name, id) VALUES ($1, pgshunt.unique_id())"),
            "INSERT INTO plain (name, id) VALUES ($1, " PARAMETER(2) ")");
  EXPECT_EQ(
      prepared("INSERT INTO users (name) VALUES ($2), ($1)"),
      "INSERT INTO users (name, \"id\") VALUES ($2, " PARAMETER(3) "), ($1, " PARAMETER(4) ")");
  EXPECT_EQ(prepared("INSERT INTO users (name) VALUES ($1)", {25, 25, 25}),
            "INSERT INTO users (name, \"id\") VALUES ($1, " PARAMETER(4) ")");
  EXPECT_EQ(prepared("INSERT INTO parts (user_id) VALUES ($1)"), "nothing");
}

class CopyWithMadeValuesTest : public MadeValuesTest {
 protected:
  // What each shard is sent of the stream, which comes in pieces of that size; values are 1001, ...
  std::vector<std::string> split(std::string_view sql, std::string_view stream,
                                 std::size_t piece = 1 << 20) {
    const auto route = router_.route(sql);
    EXPECT_TRUE(route) << sql << ": " << (route ? "" : route.error().message);
    if (!route) return {};
    EXPECT_EQ(route->kind, RouteKind::kCopySplit);
    text_ = route->copy->shard_text(sql, true);
    std::vector<std::string> outputs(3);
    CopySplitter splitter(router_.shared_topology(), route->copy, {});
    std::int64_t next = 1001;
    for (; !stream.empty(); stream.remove_prefix(std::min(piece, stream.size()))) {
      const std::string_view taken = stream.substr(0, piece);
      for (std::size_t field = 0; field < route->copy->made.size(); ++field) {
        while (splitter.values_left(field) < splitter.values_wanted(taken)) {
          splitter.add_values(field, {&next, 1});
          ++next;
        }
      }
      if (!splitter.take(taken, outputs)) return {splitter.failure().error.message};
    }
    if (!splitter.finish(outputs)) return {splitter.failure().error.message};
    for (std::string& output : outputs) {
      std::string data;
      for (std::string_view rest = output; !rest.empty();) {
        const std::size_t size = load_be32(rest.data() + 1) + std::size_t{1};
        data += rest.substr(5, size - 5);
        rest.remove_prefix(size);
      }
      output = data;
    }
    return outputs;
  }
  // The row of one shard: which has it, or "" if not exactly the shard of that key.
  std::string row_of(const std::vector<std::string>& outputs, std::int64_t key) {
    const auto& topology = router_.topology();
    const ShardId owner = topology.keyspaces[0].hash()->owners[hash_int8(key) & (kBucketCount - 1)];
    for (std::size_t shard = 0; shard < outputs.size(); ++shard) {
      if (shard != owner && !outputs[shard].empty()) return "";
    }
    return outputs.at(owner);
  }

  std::string text_;
};

TEST_F(CopyWithMadeValuesTest, TheKeyIsPutBeforeTheFields) {
  EXPECT_EQ(row_of(split("COPY users (name) FROM STDIN", "a\tb\\\n\n"), 1001), "1001\ta\tb\\\n\n");
  EXPECT_EQ(text_, "COPY users (\"id\", name) FROM STDIN");
  EXPECT_EQ(
      row_of(split("copy /* ( */ \"orders\"(note,name) from stdin csv delimiter ';'", "\"\n\";x"),
             1001),
      "1001;\"\n\";x");
  EXPECT_EQ(text_, "copy /* ( */ \"orders\"(\"id\", note,name) from stdin csv delimiter ';'");
  EXPECT_EQ(row_of(split("COPY users (name) FROM STDIN", "\\.\n"), 1001), "");
}

TEST_F(CopyWithMadeValuesTest, CopiesAreGivenTheSame) {
  const auto rows = split("COPY kinds (name) FROM STDIN CSV", "x\r\ny");
  EXPECT_EQ(text_, "COPY kinds (\"id\", \"No\", name) FROM STDIN CSV");
  EXPECT_EQ(rows[0], "1001,1004,x\r\n1002,1005,y");
  EXPECT_EQ(rows[1], rows[0]);
  EXPECT_EQ(rows[2], rows[0]);
  const auto own = split("COPY kinds (name, id) FROM STDIN", "x\t7\n");
  EXPECT_EQ(own[0], "1001\tx\t7\n");
}

TEST_F(CopyWithMadeValuesTest, BinaryRowsTooHaveOneFieldMore) {
  using namespace std::string_literals;
  const std::string header = "PGCOPY\n\377\r\n\0"s + std::string(8, '\0');
  const auto rows =
      split("COPY users (name) FROM STDIN BINARY", header + "\0\1\0\0\0\1x"s + "\377\377"s);
  const ShardId owner =
      router_.topology().keyspaces[0].hash()->owners[hash_int8(1001) & (kBucketCount - 1)];
  EXPECT_EQ(rows.at(owner), header + "\0\2\0\0\0\10\0\0\0\0\0\0\3\351\0\0\0\1x"s + "\377\377"s);
}

TEST_F(CopyWithMadeValuesTest, ThereAreAlwaysEnoughHoweverTheStreamIsCut) {
  using namespace std::string_literals;
  std::string binary = "PGCOPY\n\377\r\n\0"s + std::string(8, '\0');
  for (int i = 0; i < 9; ++i) binary += "\0\1\377\377\377\377"s;
  const std::pair<const char*, std::string> cases[] = {
      {"COPY kinds (name) FROM STDIN", "a\nb\n\n\nc"},
      {"COPY kinds (name) FROM STDIN", "a\rb\r\r\rc\r"},
      {"COPY kinds (name) FROM STDIN", "a\r\nb\r\n\r\n\r\nc\r\n"},
      {"COPY kinds (name) FROM STDIN CSV HEADER", "a\n\"\n\r\n\"\n\n\nc\n\\.\n"},
      {"COPY kinds (name) FROM STDIN BINARY", binary},
  };
  for (const auto& [sql, stream] : cases) {
    std::vector<std::size_t> lengths;
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
      const auto rows = split(sql, stream, piece);
      EXPECT_EQ(rows.size(), 3u) << sql << " " << piece << ": " << rows[0];
    }
  }
}

TEST_F(CopyWithMadeValuesTest, BytesAreCountedWhereverTheyStand) {
  std::string text(100, 'x');
  std::size_t wanted = 0;
  for (const std::size_t at : {0, 15, 16, 17, 31, 32, 63, 98, 99}) {
    text[at] = '\n';
    ++wanted;
    for (std::size_t begin = 0; begin < 20; ++begin) {
      const auto from = static_cast<std::ptrdiff_t>(begin);
      EXPECT_EQ(count_byte(text.data() + begin, text.data() + text.size(), '\n'),
                static_cast<std::size_t>(std::count(text.begin() + from, text.end(), '\n')));
    }
  }
  EXPECT_EQ(count_byte(text.data(), text.data() + text.size(), '\n'), wanted);
}

TEST_F(CopyWithMadeValuesTest, AHeaderThatIsComparedHasOurNamesToo) {
  const auto rows = split("COPY kinds (name) FROM STDIN (FORMAT csv, HEADER match)", "name\nx\n");
  EXPECT_EQ(rows[0], "\"id\",\"No\",name\n1001,1005,x\n");
  EXPECT_EQ(split("COPY kinds (name) FROM STDIN (HEADER)", "any\n")[0], "any\n");
}

TEST_F(CopyWithMadeValuesTest, WhatWouldNotBeReadAsANumberIsRefused) {
  for (const char* sql :
       {"COPY users (name) FROM STDIN (NULL '1')", "COPY users (name) FROM STDIN (DEFAULT '-1')",
        "COPY users (name) FROM STDIN (DELIMITER '-')",
        "COPY users (name) FROM STDIN (FORMAT csv, DELIMITER '7')",
        "COPY users (name) FROM STDIN (FORMAT csv, QUOTE '7')",
        "/* pgshunt: shard=s1 */ COPY users (name) FROM STDIN"}) {
    const auto route = router_.route(sql);
    ASSERT_FALSE(route) << sql;
    EXPECT_EQ(route.error().code.view(), "0A000") << sql;
  }
}

TEST_F(MadeValuesTest, WithoutTheFunctionNothingRuns) {
  router_.set_topology(topology_with_ids(false));
  for (const char* sql :
       {"SELECT pgshunt.unique_id()", "INSERT INTO users (name) VALUES ('a')",
        "INSERT INTO parts (user_id) VALUES (1)",
        "CREATE TABLE t (id bigint DEFAULT \"pgshunt\".Unique_ID())",
        "COPY users (name) FROM STDIN", "COPY kinds (name) FROM STDIN",
        "/* pgshunt: shard=s1 */ SELECT pgshunt.unique_id()",
        "/* pgshunt: shard=s1 */ UPDATE parts SET id = pgshunt.unique_id()",
        "/* pgshunt: shard=s1 */ EXPLAIN SELECT pgshunt.unique_id()",
        "/* pgshunt: shard=s1 */ CREATE TABLE t (id int8 DEFAULT pgshunt.unique_id())",
        "EXPLAIN INSERT INTO users (name) VALUES ('a')"}) {
    const auto route = router_.route(sql);
    ASSERT_TRUE(route) << sql << ": " << route.error().message;
    EXPECT_EQ(route->kind, RouteKind::kMakeValues) << sql;
    EXPECT_TRUE(route->made.empty()) << sql;
  }
  const auto without = router_.route("/* pgshunt: shard=s1 */ SELECT 'pgshunt.unique_id()'");
  EXPECT_TRUE(without && without->kind == RouteKind::kOneShard);
  const auto other = router_.route("SELECT 1");
  EXPECT_TRUE(other && other->kind == RouteKind::kAnyShard);
}

}  // namespace
}  // namespace pgshunt
