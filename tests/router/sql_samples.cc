#include "tests/router/sql_samples.h"

#include <iterator>

namespace pgshunt {

const std::vector<std::string>& sql_samples() {
  static const std::vector<std::string> samples = {
      "SELECT 1",
      "select abalance from pgbench_accounts where aid = 42",
      "UPDATE pgbench_tellers SET tbalance = tbalance + -17 WHERE tid = 3",
      "INSERT INTO t (a, b) VALUES (1, 'x'), (2, E'y\\n'), (3, $$z$$), (4, $q$it's$q$)",
      "DELETE FROM \"Quoted \"\" name\".t WHERE a IN (1,2,3) AND b LIKE 'a%' ESCAPE '!'",
      "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 5 WHEN NOT MATCHED "
      "THEN "
      "INSERT (id, a) VALUES (s.id, 7)",
      "WITH a AS MATERIALIZED (SELECT id FROM t WHERE x = 5), b AS (SELECT 1 UNION ALL SELECT 2) "
      "SELECT * FROM a, b ORDER BY 1, 2 DESC NULLS LAST LIMIT 10 OFFSET 5",
      "SELECT a, count(*) FROM t GROUP BY 1 HAVING count(*) > 5 ORDER BY 2",
      "SELECT DISTINCT ON (1, lower(b)) a, b FROM t ORDER BY 1, lower(b), 'x' || b",
      "SELECT a, b, sum(c) FROM t GROUP BY ROLLUP (1, 2), GROUPING SETS ((1), (2), ())",
      "SELECT a, b FROM t GROUP BY (1), CUBE(2, (1)) ORDER BY -1 + a, f(3, 'x') LIMIT 3",
      "SELECT x::numeric(10,2), CAST(y AS varchar(5)), z::public.geometry(Point,4326) FROM t WHERE "
      "w = 7",
      "SELECT CAST('5' AS int), '5'::int4, int '5', int4'5', numeric(10,2) '1.5'",
      "SELECT date '2020-01-01', timestamp with time zone '2020-01-01 00:00', interval '1' day, "
      "interval '1 day', interval(3) '1 sec', interval '1' second(3), time(3) '10:00'",
      "SELECT now() AT TIME ZONE 'UTC', current_timestamp(3), localtime(0)",
      "SELECT U&'d\\0061t\\+000061' UESCAPE '\\', U&\"d\\0061t\\+000061\", N'nat', n'nat'",
      "SELECT B'1010', X'1F', b'0', x'ff', 'a'\n'b', 'a' -- comment\n  'b', E'a'\n'\\n'",
      "SELECT $1, $2::int, $10 + 5, $1.5, a[$3], a[1], a[1:2], ARRAY[1,2,3]",
      "SELECT 1.5, 1., .5, 1e10, 1.5e-10, 1E+5, 1..2, a.b.c, a.*, t.\"C\"",
      "SELECT a->'b', a->>'c', a#>'{d}', a @> '{\"e\":1}', a <-> '[1,2]', a ~* '^x', a !~ 'y'",
      "SELECT a=-1, a = - 1, a+-1, a*-1, a@-1, 2^-3, a<>-1, a!=-1, a>=-1, -a, +a, - -a",
      "SELECT a <-- not this\n 5, b */* c */ 6, c +/* d */ 7, @-- e\n 8",
      "SELECT /* one /* two */ three */ 1 /* x */ -- y\n, 2",
      "SELECT f(a => 1, b := 2), VARIADIC_f(VARIADIC ARRAY[1,2])",
      "SELECT CASE WHEN a = 1 THEN 'one' WHEN a BETWEEN 2 AND 3 THEN 'few' ELSE 'many' END FROM t",
      "SELECT sum(a) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 5 PRECEDING AND 3 FOLLOWING), "
      "count(*) FILTER (WHERE a > 5) FROM t WINDOW w AS (ORDER BY d RANGE 10 PRECEDING)",
      "SELECT extract(year FROM d), extract('month' FROM d), substring(s FROM 2 FOR 3), trim(both "
      "'x' from s), position('a' in s), overlay(s placing 'z' from 1 for 2)",
      "SELECT * FROM t WHERE (a, b) IN ((1, 'x'), (2, 'y')) AND c = ANY ('{1,2}'::int[]) AND d IS "
      "DISTINCT FROM 5 AND e SIMILAR TO 'f' AND NOT g",
      "SELECT * FROM t FETCH FIRST 5 ROWS ONLY",
      "SELECT * FROM t TABLESAMPLE BERNOULLI (10) REPEATABLE (42) WHERE a BETWEEN SYMMETRIC 1 AND "
      "5",
      "INSERT INTO t SELECT generate_series(1, 10) ON CONFLICT (id) DO UPDATE SET a = excluded.a + "
      "1 WHERE t.a < 100 RETURNING id, 'done'",
      "UPDATE t SET (a, b) = (1, DEFAULT), c[2] = 5, d = NULL FROM s WHERE s.id = t.id AND t.x = "
      "TRUE RETURNING *",
      "VALUES (1, 'a'), (2, 'b') ORDER BY 1 LIMIT 1",
      "TABLE t ORDER BY 1",
      "(SELECT 1) UNION (SELECT 2) ORDER BY 1",
      "SELECT * FROM xmltable('/a' PASSING x COLUMNS b numeric(10,2) PATH 'b' DEFAULT 5)",
      "SELECT * FROM json_to_recordset('[{\"a\":1}]') AS x(a int, b varchar(10)) WHERE a = 5",
      "SELECT 'unbroken', 'it''s', '', '''', E'\\'', E'\\\\', $$$$, $a$ $b$ $a$, $_1$x$_1$",
      "SELECT 1 AS \"a b\", 2 AS a$b, 3 AS _x, 4 AS \xc3\xa4\xc3\xb6, '\xe2\x82\xac'",
      "SELECT a OPERATOR(pg_catalog.+) 5, b COLLATE \"C\", pg_catalog.lower('X')",
      "SELECT 2147483648, 9223372036854775808, 007, 1234567890123456789012345678901234567890",
      "select{1}, a:b, \\x, a;b",
      "PREPARE p(int) AS SELECT $1; EXECUTE p(5); DEALLOCATE p",
      "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
      "SELECT a FROM t WHERE b = 'x'AND c = 5AND d = 1",
      "SELECT'x',\"y\"'z',1'2'",
  };
  return samples;
}

namespace {

unsigned next_random(unsigned& seed) {
  seed = seed * 1664525u + 1013904223u;
  return seed >> 8;
}

const char* const kPieces[] = {
    "'",           "\"",        "$",       "$$",       "$a$",
    "--",          "/*",        "*/",      "\n",       "\r",
    " ",           "\t",        "\\",      "E'",       "e'",
    "U&'",         "u&\"",      "B'",      "x'",       "N'",
    "+",           "-",         "*",       "/",        "<",
    ">",           "=",         "~",       "!",        "@",
    "#",           "^",         "&",       "|",        "`",
    "%",           "::",        ":=",      "..",       ".",
    ":",           ";",         ",",       "(",        ")",
    "[",           "]",         "1",       "0",        "1e",
    "1e5",         ".5",        "5.",      "$1",       "a",
    "_",           "b",         "e",       "u",        "x",
    "U&",          "''",        "\"\"",    "'\n'",     "=>",
    "<=",          "<>",        "!=",      "->",       "'-- x",
    "\xc3\xa4",    "{",         "'\\'",    "\f",       "0x1F",
    "1_000",       "1a",        "e+",      "--\n",     "/*/",
    "**/",         "' \n '",    "' -",     "$a",       " UESCAPE '!'",
    " ORDER BY 1", " date '1'", " IN (5)", " LIMIT 5", "::numeric(5,2)",
};

}  // namespace

std::string mutate_sql(const std::string& sql, unsigned& seed) {
  std::string text = sql;
  for (unsigned edits = 1 + next_random(seed) % 4; edits > 0; --edits) {
    const std::size_t at = text.empty() ? 0 : next_random(seed) % (text.size() + 1);
    switch (next_random(seed) % 8) {
      case 0:
        text.erase(at, next_random(seed) % 4);
        break;
      case 1: {
        const std::string& other = sql_samples()[next_random(seed) % sql_samples().size()];
        const std::size_t from = next_random(seed) % other.size();
        text.insert(at, other.substr(from, next_random(seed) % 12));
        break;
      }
      case 2:
        if (at < text.size()) text[at] = kPieces[next_random(seed) % std::size(kPieces)][0];
        break;
      default:
        text.insert(at, kPieces[next_random(seed) % std::size(kPieces)]);
    }
  }
  return text;
}

}  // namespace pgshunt
