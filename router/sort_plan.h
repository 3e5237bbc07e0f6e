// ORDER BY of a scatter: which column of the shards' rows each sort item is, and which columns have
// to be added so that it is one.
#pragma once

#include "protocol/result.h"
#include "router/merge_spec.h"
#include "router/sql_tree.h"
#include "router/table_scope.h"

namespace pgshunt {

// Sort keys of `query`, in order. hidden[i] is the item of ORDER BY that hidden column i holds.
struct SortPlan {
  MergeSpec merge;
  std::vector<std::size_t> hidden;
};

Result<SortPlan> plan_sort(const Query& query, const TableScope& scope);

}  // namespace pgshunt
