#include "router/template.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/router/sql_samples.h"
#include "tests/router/template_meaning.h"

namespace pgshunt {
namespace {

StatementTemplate normalized(std::string_view sql) {
  StatementTemplate result;
  EXPECT_EQ(normalize_template(sql, result), TemplateStatus::kOk) << sql;
  return result;
}
std::string template_of(std::string_view sql) { return normalized(sql).text; }
TemplateStatus status_of(std::string_view sql) {
  StatementTemplate result;
  return normalize_template(sql, result);
}
std::string rendered(const StatementTemplate& statement) {
  std::string out;
  TemplateRenderer(statement.text, statement.first_literal()).render(statement.literals, out);
  return out;
}
std::optional<std::string> decoded(LiteralKind kind, std::string_view text) {
  std::string out = "left over";
  if (!decode_literal({kind, 0, text}, out)) return std::nullopt;
  return out;
}

TEST(Template, ReplacesLiteralsAndMakesSpaceUniform) {
  const StatementTemplate statement =
      normalized(" SELECT  a /* c */,\n'x' FROM t -- d\n WHERE b=5\tAND c > 1.5 ;; ");
  EXPECT_EQ(statement.text, "SELECT a , $1 FROM t WHERE b=$2 AND c > $3");
  EXPECT_EQ(statement.parameters, 0u);
  ASSERT_EQ(statement.literals.size(), 3u);
  EXPECT_EQ(statement.literals[0].kind, LiteralKind::kString);
  EXPECT_EQ(statement.literals[0].text, "'x'");
  EXPECT_EQ(statement.literals[0].position, 20u);
  EXPECT_EQ(statement.literals[1].kind, LiteralKind::kInteger);
  EXPECT_EQ(statement.literals[2].kind, LiteralKind::kDecimal);
}

TEST(Template, NumbersLiteralsBehindTheClientsParameters) {
  const StatementTemplate statement = normalized("SELECT 'a', $2, 5, '$9', $1 -- $7");
  EXPECT_EQ(statement.text, "SELECT $3, $2, $4, $5, $1");
  EXPECT_EQ(statement.parameters, 2u);
  EXPECT_EQ(statement.first_literal(), 3u);
  EXPECT_EQ(rendered(statement), "SELECT 'a', $2, 5, '$9', $1");
}

TEST(Template, IsOneForAllLiterals) {
  const StatementTemplate a = normalized("SELECT * FROM t WHERE id = 1 AND s = 'x'");
  const StatementTemplate b = normalized("SELECT * FROM t WHERE id = 99 /* z */ AND s = E'\\n'");
  const StatementTemplate c = normalized("SELECT * FROM t WHERE ix = 1 AND s = 'x'");
  EXPECT_EQ(a.text, b.text);
  EXPECT_EQ(a.hash, b.hash);
  EXPECT_NE(a.hash, c.hash);
}

TEST(Template, HashesEveryByteAndTheLength) {
  const std::string base = "SELECT a_________________________________________b FROM t";
  const std::uint64_t hash = normalized(base).hash;
  for (std::size_t i = 8; i < 50; ++i) {
    std::string other = base;
    other[i] = 'z';
    EXPECT_NE(normalized(other).hash, hash) << i;
  }
  EXPECT_NE(normalized("SELECT a").hash, normalized("SELECT aa").hash);
}

TEST(Template, KeepsTokensApartThatLiteralsKeptApart) {
  EXPECT_EQ(template_of("SELECT'x'AND'y'"), "SELECT $1 AND $2");
  EXPECT_EQ(template_of("SELECT'a',$1'b'"), "SELECT $2,$1'b'");
  EXPECT_EQ(template_of("SELECT a='x'::text,b=-5"), "SELECT a=$1::text,b=-$2");
  EXPECT_EQ(template_of("SELECT a[1:2]"), "SELECT a[$1:$2]");
  EXPECT_EQ(template_of("SELECT a -/**/- 1"), "SELECT a - - $1");
}

TEST(Template, KeepsOrdinals) {
  EXPECT_EQ(template_of("SELECT a FROM t WHERE b = 1 GROUP BY 1, 2 ORDER BY 1 DESC, 2 LIMIT 3"),
            "SELECT a FROM t WHERE b = $1 GROUP BY 1, 2 ORDER BY 1 DESC, 2 LIMIT $2");
  EXPECT_EQ(template_of("SELECT DISTINCT ON (1, 2) a, 3 FROM t"),
            "SELECT DISTINCT ON (1, 2) a, $1 FROM t");
  EXPECT_EQ(
      template_of("SELECT 1 GROUP BY (1), ((2)), ROLLUP(1, (2, 3)), GROUPING SETS ((1), CUBE (2))"),
      "SELECT $1 GROUP BY (1), ((2)), ROLLUP(1, (2, 3)), GROUPING SETS ((1), CUBE (2))");
  EXPECT_EQ(template_of("SELECT 1 ORDER BY - 1, +2, 'x', 1.5"),
            "SELECT $1 ORDER BY - 1, +2, 'x', 1.5");
  EXPECT_EQ(template_of("(SELECT 1 ORDER BY 1) UNION SELECT 2, 3 ORDER BY 1, 2"),
            "(SELECT $1 ORDER BY 1) UNION SELECT $2, $3 ORDER BY 1, 2");
}

TEST(Template, ReplacesInsideExpressionsOfAList) {
  EXPECT_EQ(template_of("SELECT a FROM t ORDER BY a <-> '[1,2]', f(5, 'x'), b + 1, a = 5"),
            "SELECT a FROM t ORDER BY a <-> $1, f($2, $3), b + $4, a = $5");
  EXPECT_EQ(template_of("SELECT 1 ORDER BY CASE WHEN a = 5 THEN 0 ELSE 1 END"),
            "SELECT $1 ORDER BY CASE WHEN a = $2 THEN $3 ELSE $4 END");
  EXPECT_EQ(template_of("SELECT a FROM t GROUP BY a HAVING count(*) > 5"),
            "SELECT a FROM t GROUP BY a HAVING count(*) > $1");
  EXPECT_EQ(template_of("SELECT * FROM (SELECT a ORDER BY 1) x WHERE b IN (1, 2)"),
            "SELECT * FROM (SELECT a ORDER BY 1) x WHERE b IN ($1, $2)");
}

TEST(Template, KeepsTypeModifiers) {
  for (const char* sql :
       {"SELECT a::numeric(10,2)", "SELECT CAST(a AS varchar(5))", "SELECT a::character varying(5)",
        "SELECT a::public.geometry(Point,4326)", "SELECT a::\"Geo\"(1)",
        "SELECT a::timestamp(3) with time zone", "SELECT current_timestamp(3), localtime(0)",
        "SELECT a::bit(3), a::float(24)", "SELECT CAST(a AS x.y(5))",
        "SELECT * FROM f() AS x(a numeric(10,2), b char(3))", "SELECT a::interval second(3)",
        "SELECT a::timestamptz(3)", "SELECT * FROM f() AS x(a geometry(point,4326))",
        "SELECT a::int[3]"}) {
    EXPECT_EQ(template_of(sql), sql);
  }
  EXPECT_EQ(
      template_of("WITH a AS MATERIALIZED (SELECT 5), b AS NOT MATERIALIZED (SELECT 6), c AS "
                  "(SELECT 7) TABLE a"),
      "WITH a AS MATERIALIZED (SELECT $1), b AS NOT MATERIALIZED (SELECT $2), c AS (SELECT $3) "
      "TABLE a");
}

TEST(Template, KeepsTypedLiterals) {
  for (const char* sql :
       {"SELECT date '2020-01-01'", "SELECT interval '1 day'", "SELECT interval '1' day",
        "SELECT interval '1' second(3)", "SELECT interval(3) '1'", "SELECT numeric(10,2) '1.5'",
        "SELECT timestamp with time zone '2020-01-01'", "SELECT double precision '1'",
        "SELECT pg_catalog.int4 '5'", "SELECT \"char\" 'x'", "SELECT B'101', X'1F'",
        "SELECT U&'d\\0061t' UESCAPE '!'", "SELECT N'x'", "SELECT extract('year' FROM a)",
        "SELECT bool't'"}) {
    EXPECT_EQ(template_of(sql), sql);
  }
  EXPECT_EQ(template_of("SELECT '1'::date, 'x' COLLATE \"C\", a AT TIME ZONE 'UTC'"),
            "SELECT $1::date, $2 COLLATE \"C\", a AT TIME ZONE $3");
}

TEST(Template, ReplacesBehindEveryKeywordOfAnExpression) {
  EXPECT_EQ(
      template_of(
          "SELECT a LIKE 'x' ESCAPE '!', a NOT ILIKE 'x', a SIMILAR TO 'x', a BETWEEN 1 AND 2, "
          "a BETWEEN SYMMETRIC 1 AND 2, a IS DISTINCT FROM 5, NOT 'x', f(VARIADIC 'x')"),
      "SELECT a LIKE $1 ESCAPE $2, a NOT ILIKE $3, a SIMILAR TO $4, a BETWEEN $5 AND $6, a BETWEEN "
      "SYMMETRIC $7 AND $8, a IS DISTINCT FROM $9, NOT $10, f(VARIADIC $11)");
  EXPECT_EQ(
      template_of(
          "SELECT trim(both 'x' from 'y'), substring('x' from 1 for 2), overlay('x' placing 'y' "
          "from 1), position('a' in 'b')"),
      "SELECT trim(both $1 from $2), substring($3 from $4 for $5), overlay($6 placing $7 from $8), "
      "position($9 in $10)");
  EXPECT_EQ(template_of("SELECT ALL 1 LIMIT 5 OFFSET 6"), "SELECT ALL $1 LIMIT $2 OFFSET $3");
  EXPECT_EQ(template_of("SELECT 1 OFFSET 2 ROWS FETCH FIRST 3 ROWS ONLY"),
            "SELECT $1 OFFSET $2 ROWS FETCH FIRST $3 ROWS ONLY");
  EXPECT_EQ(
      template_of("INSERT INTO t VALUES (1, 'x') ON CONFLICT (a) DO UPDATE SET b = 5 RETURNING 6"),
      "INSERT INTO t VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = $3 RETURNING $4");
}

TEST(Template, LeavesWhatIsNoQueryAlone) {
  for (const char* sql :
       {"", "/* x */", "SET a = 1", "CREATE TABLE t (a varchar(5))", "COPY t FROM 'x'",
        "EXPLAIN SELECT 1", "BEGIN", "\"SELECT\" 1", "5", "(5)", "DECLARE c CURSOR FOR SELECT 1"}) {
    EXPECT_EQ(status_of(sql), TemplateStatus::kNotQuery) << sql;
  }
  EXPECT_EQ(status_of("SELECT 1; SELECT 2"), TemplateStatus::kMultiple);
  for (const char* sql :
       {"SELECT 'x", "SELECT 1x", "SELECT {", "SELECT /* 1", "SELECT $99999999999"}) {
    EXPECT_EQ(status_of(sql), TemplateStatus::kMalformed) << sql;
  }
}

TEST(Template, HasLimits) {
  std::string list = "SELECT 0";
  for (std::size_t i = 1; i < kMaxTemplateLiterals; ++i) list += ",0";
  EXPECT_EQ(status_of(list), TemplateStatus::kOk);
  EXPECT_EQ(status_of(list + ",0"), TemplateStatus::kTooLarge);
  EXPECT_EQ(status_of("SELECT " + std::string(60, '(') + "1"), TemplateStatus::kOk);
  EXPECT_EQ(status_of("SELECT " + std::string(64, '(') + "1"), TemplateStatus::kTooLarge);
  EXPECT_EQ(status_of("SELECT " + std::string(kMaxTemplateBytes, ' ')), TemplateStatus::kTooLarge);
}

TEST(Template, FollowsStandardConformingStrings) {
  StatementTemplate statement;
  const char* sql = "SELECT 'a\\'b', date 'c'";
  ASSERT_EQ(normalize_template(sql, statement, false), TemplateStatus::kOk);
  EXPECT_EQ(statement.text, "SELECT $1, date 'c'");
  ASSERT_EQ(statement.literals.size(), 1u);
  EXPECT_EQ(statement.literals[0].kind, LiteralKind::kEscapeString);
  EXPECT_EQ(decoded(LiteralKind::kEscapeString, statement.literals[0].text), "a'b");
  // What stays is read by a parser that has the setting on.
  EXPECT_EQ(normalize_template("SELECT date 'c\\n'", statement, false), TemplateStatus::kMalformed);
  EXPECT_EQ(normalize_template("SELECT date E'c\\n'", statement, false), TemplateStatus::kOk);
}

TEST(Template, ReusesItsOutput) {
  StatementTemplate statement;
  ASSERT_EQ(normalize_template("SELECT 'x', 2, 3 FROM some_long_name", statement),
            TemplateStatus::kOk);
  const char* text = statement.text.data();
  const TemplateLiteral* literals = statement.literals.data();
  ASSERT_EQ(normalize_template("SELECT 'y', 5 FROM other_name", statement), TemplateStatus::kOk);
  EXPECT_EQ(statement.text, "SELECT $1, $2 FROM other_name");
  EXPECT_EQ(statement.literals.size(), 2u);
  EXPECT_EQ(statement.text.data(), text);
  EXPECT_EQ(statement.literals.data(), literals);
}

TEST(DecodeLiteral, ReadsStrings) {
  EXPECT_EQ(decoded(LiteralKind::kString, "'it''s'"), "it's");
  EXPECT_EQ(decoded(LiteralKind::kString, "'a\\n'"), "a\\n");
  EXPECT_EQ(decoded(LiteralKind::kString, "''"), "");
  EXPECT_EQ(decoded(LiteralKind::kString, "'a' -- it's\n\n 'b''c'"), "ab'c");
  EXPECT_EQ(decoded(LiteralKind::kDollarString, "$$a'\\$$"), "a'\\");
  EXPECT_EQ(decoded(LiteralKind::kDollarString, "$t$a$$b$t$"), "a$$b");
  EXPECT_EQ(decoded(LiteralKind::kDollarString, "$$$$"), "");
}

TEST(DecodeLiteral, ReadsEscapes) {
  EXPECT_EQ(decoded(LiteralKind::kEscapeString, "E'\\b\\f\\n\\r\\t\\v\\\\\\'\\q'''"),
            "\b\f\n\r\t\v\\'q'");
  EXPECT_EQ(decoded(LiteralKind::kEscapeString, "e'\\101\\x41\\x4\\1018\\xg'"),
            "AA\x04"
            "A8xg");
  EXPECT_EQ(decoded(LiteralKind::kEscapeString, "E'\\u00e4\\U0001F600\\uD83D\\uDE00'"),
            "\xc3\xa4\xf0\x9f\x98\x80\xf0\x9f\x98\x80");
  EXPECT_EQ(decoded(LiteralKind::kEscapeString, "E'a\\n'\n'\\tb'"), "a\n\tb");
  for (const char* bad : {"E'\\u12'", "E'\\U0011FFFF'", "E'\\uD83D'", "E'\\uD83Dx'", "E'\\uDE00'",
                          "E'\\0'", "E'\\x00'", "E'\\u0000'", "E'\\uD83D\\n\\uDE00'", "E'\\400'"}) {
    EXPECT_EQ(decoded(LiteralKind::kEscapeString, bad), std::nullopt) << bad;
  }
}

TEST(DecodeLiteral, ReadsNumbers) {
  EXPECT_EQ(decoded(LiteralKind::kInteger, "42"), "42");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "007"), "7");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "000"), "0");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "1_000_0"), "10000");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "0x1_F"), "31");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "0XffffFFFFffffFFFF"), "18446744073709551615");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "0x10000000000000000"), std::nullopt);
  EXPECT_EQ(decoded(LiteralKind::kInteger, "0o17"), "15");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "0b_101"), "5");
  EXPECT_EQ(decoded(LiteralKind::kInteger, "123456789012345678901234567890"),
            "123456789012345678901234567890");
  EXPECT_EQ(decoded(LiteralKind::kDecimal, "1_0.5e1_0"), "10.5e10");
  EXPECT_EQ(decoded(LiteralKind::kDecimal, ".50"), ".50");
}

TEST(TemplateRenderer, PutsRawLiteralsIntoDerivedTexts) {
  const StatementTemplate statement = normalized("SELECT a, 'x' FROM t WHERE b = $1 LIMIT 10");
  std::string out;
  TemplateRenderer("SELECT $2, a FROM t WHERE b = $1 AND c <> $2 LIMIT $3 + 5 -- $9",
                   statement.first_literal())
      .render(statement.literals, out);
  EXPECT_EQ(out, "SELECT 'x', a FROM t WHERE b = $1 AND c <> 'x' LIMIT 10 + 5 -- $9");
  TemplateRenderer("SELECT 1", 1).render({}, out);
  EXPECT_EQ(out, "SELECT 1");
}

TEST(Template, MeansWhatTheStatementMeansOnSamples) {
  int same = 0;
  for (const std::string& sql : sql_samples()) {
    const Meaning outcome = compare_meaning(sql);
    EXPECT_TRUE(outcome == Meaning::kSame || outcome == Meaning::kSkipped) << sql << "\n"
                                                                           << template_of(sql);
    same += outcome == Meaning::kSame ? 1 : 0;
  }
  EXPECT_GT(same, 30);
}

TEST(Template, MeansWhatTheStatementMeansOnRandomChanges) {
  unsigned seed = 4711;
  int same = 0;
  int rejected = 0;
  for (int round = 0; round < 60; ++round) {
    for (const std::string& sample : sql_samples()) {
      const std::string sql = mutate_sql(sample, seed);
      const Meaning outcome = compare_meaning(sql);
      ASSERT_NE(outcome, Meaning::kDifferent) << sql << "\n" << template_of(sql);
      if (outcome == Meaning::kTemplateRejected && rejected < 3) {
        RecordProperty("rejected" + std::to_string(rejected), sql);
      }
      same += outcome == Meaning::kSame ? 1 : 0;
      rejected += outcome == Meaning::kTemplateRejected ? 1 : 0;
    }
  }
  EXPECT_GT(same, 200);
  // A template the parser refuses costs a plan made without the cache; it must be rare.
  EXPECT_LT(rejected, same / 50);
}

}  // namespace
}  // namespace pgshunt
