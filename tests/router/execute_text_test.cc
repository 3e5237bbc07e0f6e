// EXECUTE as the statement that it says.
#include "router/execute_text.h"

#include <gtest/gtest.h>

#include <string>

namespace pgshunt {
namespace {

// The text, or the error's SQLSTATE.
std::string said(const char* prepared, const char* values) {
  const auto text = text_of_execute(prepared, values, "p", true);
  return text ? *text : std::string(text.error().code.view());
}

TEST(ExecuteText, FindsTheStatement) {
  EXPECT_EQ(statement_of_prepare("AS SELECT 1 ", true), "SELECT 1");
  EXPECT_EQ(statement_of_prepare("(int[], numeric(8, 2)) AS SELECT $1", true), "SELECT $1");
  EXPECT_EQ(statement_of_prepare("(int AS SELECT 1", true), "");
  EXPECT_EQ(statement_of_prepare("", true), "");
}

TEST(ExecuteText, ADeclaredTypeIsCastTo) {
  EXPECT_EQ(
      said("(int, text) AS SELECT a FROM t WHERE b = $1 AND c = $2 OR b > $1", "(-5, 'x''y')"),
      "SELECT a FROM t WHERE b = CAST(-5 AS int) AND c = CAST('x''y' AS text) OR b > "
      "CAST(-5 AS int)");
  EXPECT_EQ(said("(bool, mood) AS SELECT a FROM t WHERE $1 AND m = $2", "(true, NULL)"),
            "SELECT a FROM t WHERE CAST(true AS bool) AND m = CAST(NULL AS mood)");
}

TEST(ExecuteText, AnOpenTypeIsThatOfThePlace) {
  EXPECT_EQ(said("AS SELECT $2, a FROM t WHERE b = $1", "(5, E'x\\n')"),
            "SELECT E'x\\n', a FROM t WHERE b = '5'");
  EXPECT_EQ(said("AS SELECT a FROM t WHERE b = $1 OR c = $1", "(5)"), "0A000");
  EXPECT_EQ(said("AS SELECT a FROM t WHERE b = $1", "(1.5)"), "0A000");
  EXPECT_EQ(said("AS SELECT a FROM t WHERE b = $1", "(true)"), "0A000");
  EXPECT_EQ(said("AS SELECT '$1', \"$1\" FROM t", ""), "SELECT '$1', \"$1\" FROM t");
}

TEST(ExecuteText, AColumnKeepsItsName) {
  EXPECT_EQ(said("(int) AS SELECT a, $1 FROM t", "(5)"),
            "SELECT a, (SELECT CAST(5 AS int) AS \"?column?\") FROM t");
  EXPECT_EQ(said("(int) AS SELECT (($1)) UNION SELECT f($1, $1)", "(5)"),
            "SELECT (((SELECT CAST(5 AS int) AS \"?column?\"))) UNION SELECT f(CAST(5 AS int), "
            "CAST(5 AS int))");
  EXPECT_EQ(said("(int) AS SELECT $1 AS x, $1 + 1, a IN (1, $1) FROM t", "(5)"),
            "SELECT CAST(5 AS int) AS x, CAST(5 AS int) + 1, a IN (1, CAST(5 AS int)) FROM t");
  EXPECT_EQ(said("(text) AS SELECT $1 COLLATE \"C\"", "('x')"), "0A000");
  EXPECT_EQ(said("(int[]) AS SELECT ($1)[1]", "('{1}')"), "0A000");
}

TEST(ExecuteText, RefusesWhatACastWouldMakeOtherwise) {
  for (const char* type : {"numeric(8, 2)", "char", "bit", "interval day", "varchar(3)"}) {
    const std::string prepared = "(" + std::string(type) + ") AS SELECT a FROM t WHERE b = $1";
    EXPECT_EQ(said(prepared.c_str(), "('1')"), "0A000") << type;
  }
  EXPECT_EQ(said("(bool) AS SELECT a FROM t WHERE $1", "(1)"), "0A000");
  EXPECT_EQ(said("(int) AS SELECT a FROM t WHERE b = $1", "(true)"), "0A000");
  EXPECT_EQ(said("(int) AS SELECT a FROM t WHERE b = $1", "(1 + 1)"), "0A000");
  EXPECT_EQ(said("(int) AS SELECT a FROM t WHERE b = $1", "(now())"), "0A000");
}

TEST(ExecuteText, WordsOfTimeAreThatOfPrepare) {
  EXPECT_EQ(said("AS SELECT a FROM t WHERE b < 'today'", ""), "0A000");
  EXPECT_EQ(said("AS SELECT a FROM t WHERE b < E'no\\x77'", ""), "0A000");
  EXPECT_EQ(said("AS SELECT a FROM t WHERE b < $1", "('today')"),
            "SELECT a FROM t WHERE b < 'today'");
}

TEST(ExecuteText, TheNumberOfValuesMustBeRight) {
  EXPECT_EQ(said("AS SELECT 1", "(5)"), "42601");
  EXPECT_EQ(said("(int, int) AS SELECT a FROM t WHERE b = $1", "(5)"), "42601");
  EXPECT_EQ(said("(int) AS SELECT a FROM t WHERE b = $1 AND c = $2", "(5)"), "42601");
  EXPECT_EQ(said("AS SELECT a FROM t WHERE b = $1", ""), "42601");
}

}  // namespace
}  // namespace pgshunt
