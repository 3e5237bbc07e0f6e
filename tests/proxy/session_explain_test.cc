// What EXPLAIN (PGSHUNT ...) asks for, and which options it does not take.
#include <gtest/gtest.h>

#include <string>

#include "proxy/session/explain_route.h"

namespace pgshunt {
namespace {

// "json analyze [shard options] statement"; "own: ..." for an EXPLAIN of PostgreSQL's; or an error.
std::string read(std::string_view sql) {
  const auto request = read_explain_route(sql, true);
  if (!request) return "none";
  if (!*request) return std::string(request->error().code.view()) + " " + request->error().message;
  const ExplainRequest& asked = **request;
  if (!asked.route) return "own: " + asked.statement;
  return std::string(asked.json ? "json " : "") + (asked.analyze ? "analyze " : "") +
         (asked.shard_options.empty() ? "" : "[" + asked.shard_options.substr(2) + "] ") +
         asked.statement;
}

TEST(ExplainRoute, IsAskedForByItsOption) {
  EXPECT_EQ(read("EXPLAIN (PGSHUNT) SELECT 1"), "SELECT 1");
  EXPECT_EQ(read("/* pgshunt: shard=a */ explain ( \"pgshunt\" ) SELECT 1"),
            "/* pgshunt: shard=a */ SELECT 1");
  EXPECT_EQ(read("EXPLAIN (FORMAT 'json', pgshunt true, ANALYSE) SELECT 1"),
            "json analyze SELECT 1");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT 1, ANALYZE off, FORMAT TEXT) SELECT 1"), "SELECT 1");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT off, PGSHUNT, ANALYZE, ANALYZE 0) SELECT 1"), "SELECT 1");
  for (const char* sql :
       {"EXPLAIN SELECT 1", "EXPLAIN (COSTS off) SELECT 1", "EXPLAIN (FORMAT pgshunt) SELECT 1",
        "EXPLAIN (SELECT pgshunt)", "EXPLAIN (SELECT a, pgshunt FROM t)", "SELECT 1",
        "EXPLAIN (TABLE pgshunt)", "EXPLAIN ((SELECT pgshunt))", "EXPLAIN (", "EXPLAIN"}) {
    EXPECT_EQ(read(sql), "none") << sql;
  }
}

TEST(ExplainRoute, OffIsPostgresOwnWithEverythingInItsPlace) {
  EXPECT_EQ(read("EXPLAIN (PGSHUNT off) SELECT 1"), "own: EXPLAIN               SELECT 1");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT off, COSTS) SELECT 1"),
            "own: EXPLAIN (             COSTS) SELECT 1");
  EXPECT_EQ(read("EXPLAIN (COSTS, PGSHUNT off) SELECT 1"),
            "own: EXPLAIN (COSTS             ) SELECT 1");
  EXPECT_EQ(read("EXPLAIN (A, PGSHUNT, B off, PGSHUNT off, PGSHUNT 0) SELECT 1"),
            "own: EXPLAIN (A,          B off                        ) SELECT 1");
}

TEST(ExplainRoute, OptionsOfTheShardsPlansNeedThem) {
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, ANALYZE, BUFFERS, COSTS off, FORMAT JSON) SELECT 1"),
            "json analyze [BUFFERS, COSTS off] SELECT 1");
  const std::string refused =
      "22023 EXPLAIN (PGSHUNT) has option BUFFERS only with both ANALYZE and FORMAT JSON";
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, BUFFERS) SELECT 1"), refused);
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, BUFFERS off, ANALYZE) SELECT 1"), refused);
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, FORMAT JSON, BUFFERS, COSTS) SELECT 1"), refused);
}

TEST(ExplainRoute, OtherOptionsAreErrors) {
  EXPECT_EQ(read("EXPLAIN (PGSHUNT foo) SELECT 1"), "22023 PGSHUNT requires a Boolean value");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT 2) SELECT 1"), "22023 PGSHUNT requires a Boolean value");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, ANALYZE maybe) SELECT 1"),
            "22023 ANALYZE requires a Boolean value");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, ROUTES) SELECT 1"),
            "22023 unrecognized EXPLAIN option \"routes\"");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, FORMAT XML) SELECT 1"),
            "0A000 EXPLAIN (PGSHUNT) has no FORMAT XML");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, FORMAT html) SELECT 1"),
            "22023 unrecognized value for EXPLAIN option \"format\": \"html\"");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, SUMMARY off) SELECT 1"),
            "0A000 EXPLAIN (PGSHUNT) does not have option SUMMARY");
}

TEST(ExplainRoute, WhatIsNoListIsASyntaxError) {
  EXPECT_EQ(read("EXPLAIN (PGSHUNT SELECT 1)"), "42601 syntax error at or near \"1\"");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, ) SELECT 1"), "42601 syntax error at or near \")\"");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT, COSTS - x) SELECT 1"), "42601 syntax error at or near \"x\"");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT"), "42601 syntax error at end of input");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT) -- x"), "42601 syntax error at end of input");
  EXPECT_EQ(read("EXPLAIN (PGSHUNT);"), "42601 syntax error at or near \";\"");
}

}  // namespace
}  // namespace pgshunt
