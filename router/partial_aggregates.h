// Aggregates over several shards: each shard aggregates its own rows, and what they say of a group
// is brought to the merge node and put together there, by the rest of the statement as it was
// written: expressions over aggregates, HAVING, ORDER BY, LIMIT.
//
//   SELECT country, count(*), avg(score) + 1 FROM users WHERE active GROUP BY country ORDER BY 2
//
//   shards      SELECT country AS "pgshunt.g1", count(*) AS "pgshunt.p1", sum(score) AS
//   "pgshunt.p2",
//               count(score) AS "pgshunt.p3" FROM users WHERE active GROUP BY 1
//   merge node  SELECT "pgshunt.g1" AS "country", coalesce(sum("pgshunt.p1"), 0)::bigint AS
//   "count",
//               (sum("pgshunt.p2") / nullif(sum("pgshunt.p3"), 0)) + 1 FROM pg_temp."pgshunt.1"
//               GROUP BY "pgshunt.g1" ORDER BY 2
//
// Which is exact: sums of exact numbers do not depend on their order, and avg() divides numerics as
// the division does (int8_avg, numeric_avg in PostgreSQL's numeric.c). Sums of floats depend on the
// order of rows, there as here; those of float4 are left alone, since avg() adds them up as float8.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/level_text.h"
#include "router/sql_tree.h"
#include "router/statement_analysis.h"

namespace pgshunt {

struct PartialAggregates {
  std::string select;  // for the shards
  std::string text;    // for the merge node, with `pg_temp."pgshunt.1"` as its only table
  // sum() of integers is bigint, but the sum of those is numeric: where `text` goes on behind such
  // a sum, and which of the shards' columns (from 0) it is of. If that is of type bigint, a cast to
  // bigint belongs there.
  struct Sum {
    std::size_t behind = 0;
    std::size_t column = 0;
  };
  std::vector<Sum> sums;  // ascending
};

// Nothing if the statement is not of this kind, or is not written so that it can be told.
// `level` is of the text that `query` was parsed from.
std::optional<PartialAggregates> plan_partial_aggregates(const Topology& topology,
                                                         const LevelText& level, const Query& query,
                                                         const StatementAnalysis& analysis);

}  // namespace pgshunt
