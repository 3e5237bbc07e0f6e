// Statements that change or lock whole tables, or the schema: they run on every shard that has what
// they name.
#pragma once

#include "protocol/result.h"
#include "router/sql_tree.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

// TRUNCATE, LOCK TABLE, and kDefinition statements. `path`: PlanRequest::search_path.
Status plan_command(const Topology& topology, const SqlStatement& statement, const SearchPath* path,
                    StatementAnalysis& analysis, StatementPlanData& out);

}  // namespace pgshunt
