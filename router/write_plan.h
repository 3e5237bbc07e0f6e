// An UPDATE, DELETE or INSERT ... SELECT of rows on several shards: may each shard do it to its own
// rows?
#pragma once

#include "protocol/result.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

// Sets kind of `out`, or says why not. The statement writes sharded tables.
Status plan_write_shards(const Topology& topology, const Query& query,
                         const StatementAnalysis& analysis, StatementPlanData& out);

}  // namespace pgshunt
