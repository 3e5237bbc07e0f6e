// A SELECT that no key value pins: may it run on every shard, each for its own rows, and how do
// their answers become one?
#pragma once

#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

// Fills kind, merge, limit, offset and shard_text of `out`, or says which clause cannot be merged.
// `text`: what `query` was parsed from.
Status plan_scatter(std::string_view text, const Query& query, const StatementAnalysis& analysis,
                    StatementPlanData& out);

}  // namespace pgshunt
