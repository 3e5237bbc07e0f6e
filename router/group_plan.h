// GROUP BY, aggregates and DISTINCT over several shards, put together by the proxy: each shard says
// of its own rows what it would say of all, in the order of the groups' keys.
//
//   SELECT country, avg(score) FROM users WHERE active GROUP BY country ORDER BY 2 DESC LIMIT 3
//
//   shards  SELECT country, avg(score), sum(score) AS "pgshunt.1", count(score) AS "pgshunt.2"
//           FROM users WHERE active GROUP BY country ORDER BY (country) COLLATE "C"
//   here    groups of equal country become one, avg() anew from its sum and count; sort by it, take
//   3
//
// count(DISTINCT x) is put together from groups by x as well, each of which says 1.
//
// The client's own columns stay as they are written, so their names and types are a server's. Text
// sorts as its bytes on the shards, whatever its collation: as long as that is deterministic, equal
// means equal bytes, and the order of groups is nobody's business.
#pragma once

#include <string_view>

#include "router/sql_tree.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

// Fills kind, merge, limit, offset and shard_text of `out`. False, with `out` as it was: the
// statement is not of this kind (HAVING, expressions over aggregates, ...), or needs an order or a
// sum that is not known here.
bool plan_groups(const Topology& topology, std::string_view text, const Query& query,
                 const StatementAnalysis& analysis, StatementPlanData& out);

}  // namespace pgshunt
