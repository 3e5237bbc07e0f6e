// Statement text in, plan out. Stateless; costs tens of microseconds, so plans are cached.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/search_path.h"
#include "router/statement_plan.h"
#include "router/topology.h"

namespace pgshunt {

struct PlanRequest {
  std::string_view text;             // one statement
  std::vector<std::uint32_t> types;  // declared parameter types, 0 for those left open
  // Parameters from this one on (counted from 1) stand for literals of a template: each is used
  // once, and its own form tells its type. 0: there are none.
  std::uint32_t first_literal = 0;
  // Where unqualified tables are looked for; null: along the topology's search path.
  const SearchPath* search_path = nullptr;
  // A hint will say where it runs (router/hint_plan.h).
  bool hinted = false;
  // Not empty: another plan of this SELECT has failed for that reason; it is for the merge node.
  std::string_view merge_because = {};
  // Groups of several shards are put together by whoever asks: router/group_plan.h. False: they are
  // for the merge node.
  bool merges_groups = true;
};

// The rule above all: the plan's result is what one server holding all the data would return, or
// there is no plan but an Error. 42601 is left to the caller, who sends such a text to a server.
Result<StatementPlanData> plan_statement(const Topology& topology, const PlanRequest& request);

}  // namespace pgshunt
