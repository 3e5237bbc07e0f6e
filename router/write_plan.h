// An UPDATE, DELETE or INSERT ... SELECT of rows on several shards: may each shard do it to its own
// rows?
#pragma once

#include <string_view>

#include "protocol/result.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

// Sets kind and shard_text of `out`, or says why not. The statement writes sharded tables. `text`:
// what `query` was parsed from.
Status plan_write_shards(const Topology& topology, std::string_view text, const Query& query,
                         const StatementAnalysis& analysis, StatementPlanData& out);

}  // namespace pgshunt
