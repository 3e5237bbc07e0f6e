// What we say of built-in functions, against a server's own catalog.

#include "router/builtin.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/pg_client.h"
#include "tests/support/pg_server.h"

namespace pgshunt {
namespace {

FunctionClass classify(const std::string& name) {
  const Topology topology;
  const std::vector<std::string> names{name};
  return classify_function(topology, names);
}

TEST(Builtin, ClassesAgreeWithTheCatalog) {
  PgServer* server = PgServer::shared();
  if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  auto client = PgClient::connect(server->socket_dir(), server->port(), "postgres");
  ASSERT_NE(client, nullptr);
  // The most volatile overload counts; kinds: f function, a aggregate, w window.
  const PgResult all = client->query(
      "SELECT proname, max(CASE provolatile WHEN 'i' THEN 0 WHEN 's' THEN 1 ELSE 2 END), "
      "string_agg(DISTINCT prokind::text, ''), bool_or(proretset) FROM pg_proc "
      "WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY proname");
  ASSERT_TRUE(all.ok()) << all.error;
  ASSERT_GT(all.rows.size(), 2000u);
  for (std::size_t i = 0; i < all.rows.size(); ++i) {
    const std::string name = *all.value(i, 0);
    const int volatility = std::stoi(*all.value(i, 1));
    const std::string kinds = *all.value(i, 2);
    switch (classify(name)) {
      case FunctionClass::kPortable:
        EXPECT_LE(volatility, 1) << name << " is volatile";
        EXPECT_EQ(kinds, "f") << name;
        EXPECT_EQ(*all.value(i, 3), "f") << name << " returns a set";
        break;
      case FunctionClass::kAggregate:
        EXPECT_EQ(kinds, "a") << name;
        break;
      case FunctionClass::kWindow:
        // rank() and its kin are ordered-set aggregates too.
        EXPECT_NE(kinds.find('w'), std::string::npos) << name;
        break;
      case FunctionClass::kMoment:
      case FunctionClass::kLocal:
      case FunctionClass::kMayRead:
      case FunctionClass::kUnknown:
        EXPECT_EQ(kinds.find('a'), std::string::npos) << "aggregate " << name << " is not known";
        EXPECT_EQ(kinds.find('w'), std::string::npos) << "window function " << name;
        break;
    }
  }
}

// The stable ones that were let in, one by one: a new one must be thought about.
TEST(Builtin, StableFunctionsAreOnlyThoseThatDependOnTrackedSettings) {
  PgServer* server = PgServer::shared();
  if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  auto client = PgClient::connect(server->socket_dir(), server->port(), "postgres");
  ASSERT_NE(client, nullptr);
  const PgResult stable = client->query(
      "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND "
      "provolatile = 's' ORDER BY 1");
  ASSERT_TRUE(stable.ok());
  std::vector<std::string> found;
  for (std::size_t i = 0; i < stable.rows.size(); ++i) {
    if (classify(*stable.value(i, 0)) == FunctionClass::kPortable) {
      found.push_back(*stable.value(i, 0));
    }
  }
  const std::vector<std::string> expected = {"array_to_json",
                                             "array_to_string",
                                             "concat",
                                             "concat_ws",
                                             "date",
                                             "date_part",
                                             "date_trunc",
                                             "extract",
                                             "format",
                                             "json_build_array",
                                             "json_build_object",
                                             "jsonb_build_array",
                                             "jsonb_build_object",
                                             "length",
                                             "make_timestamptz",
                                             "overlaps",
                                             "quote_literal",
                                             "quote_nullable",
                                             "row_to_json",
                                             "timestamp",
                                             "timestamptz",
                                             "timezone",
                                             "to_char",
                                             "to_date",
                                             "to_json",
                                             "to_jsonb",
                                             "to_number",
                                             "to_timestamp"};
  EXPECT_EQ(found, expected);
}

TEST(Builtin, TablesAreSortedForBinarySearch) {
  for (const char* name : {"abs", "xmlcomment", "upper", "lower"}) {
    EXPECT_EQ(classify(name), FunctionClass::kPortable) << name;
  }
  EXPECT_EQ(classify("any_value"), FunctionClass::kAggregate);
  EXPECT_EQ(classify("xmlagg"), FunctionClass::kAggregate);
  EXPECT_EQ(classify("now"), FunctionClass::kMoment);
  EXPECT_EQ(classify("version"), FunctionClass::kLocal);
  EXPECT_EQ(classify("nextval"), FunctionClass::kUnknown);
  EXPECT_EQ(classify("connectby"), FunctionClass::kMayRead);
  EXPECT_EQ(classify("xpath_table"), FunctionClass::kMayRead);
}

// What takes a query or the name of a table as its argument.
TEST(Builtin, FunctionsThatReadTablesNamedInTextAreKnown) {
  PgServer* server = PgServer::shared();
  if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to compare with";
  auto client = PgClient::connect(server->socket_dir(), server->port(), "postgres");
  ASSERT_NE(client, nullptr);
  const PgResult readers = client->query(
      "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND "
      "(proname ~ '_to_xml' OR proname IN ('ts_stat', 'ts_rewrite')) ORDER BY 1");
  ASSERT_TRUE(readers.ok());
  for (std::size_t i = 0; i < readers.rows.size(); ++i) {
    EXPECT_EQ(classify(*readers.value(i, 0)), FunctionClass::kMayRead) << *readers.value(i, 0);
  }
}

TEST(Builtin, ANameOutsideTheCatalogIsTakenForTheWorse) {
  Topology topology;
  topology.user_functions = {{"count", UserFunctionClass::kPortable},
                             {"lower", UserFunctionClass::kMayRead},
                             {"pure", UserFunctionClass::kPortable},
                             {"round", UserFunctionClass::kPortable}};
  const auto of = [&topology](std::vector<std::string> names) {
    return classify_function(topology, names);
  };
  EXPECT_EQ(of({"lower"}), FunctionClass::kMayRead);
  EXPECT_EQ(of({"public", "lower"}), FunctionClass::kMayRead);
  EXPECT_EQ(of({"pg_catalog", "lower"}), FunctionClass::kPortable);
  EXPECT_EQ(of({"pure"}), FunctionClass::kPortable);
  EXPECT_EQ(of({"app", "pure"}), FunctionClass::kPortable);
  EXPECT_EQ(of({"round"}), FunctionClass::kPortable);
  EXPECT_EQ(of({"count"}), FunctionClass::kAggregate);
  EXPECT_EQ(of({"app", "round2"}), FunctionClass::kUnknown);
  EXPECT_EQ(of({"app", "nextval"}), FunctionClass::kUnknown);
}

}  // namespace
}  // namespace pgshunt
