// A SELECT that the merge node runs (router/merge_node.h), under way: which of its tables are being
// brought, and what the client wants of the answer. sharded_merges.cc drives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/session/explain_route.h"
#include "proxy/session/fan_out.h"
#include "proxy/session/merge_feed.h"
#include "router/fixed_moments.h"
#include "router/merge_node.h"

namespace pgshunt {

struct MergeRun {
  enum class Step : std::uint8_t {
    kShapes,  // a table's own shard is asked for its columns
    kTables,  // the merge node makes the temporary tables
    kRows,    // rows are brought into one of them
    kSelect,  // the statement runs
  };

  explicit MergeRun(std::shared_ptr<const MergeNodePlan> merge_node)
      : plan(std::move(merge_node)) {}

  std::shared_ptr<const MergeNodePlan> plan;
  Step step = Step::kShapes;
  std::size_t input = 0;  // the one that the step is at
  // Of each input: the columns of its temporary table, as its own shard says; nothing: the merge
  // node has such a table. And the SELECT of its rows, with its conditions.
  std::vector<std::optional<std::string>> shapes;
  std::vector<std::string> selects;
  std::vector<std::uint64_t> rows;   // that were brought into each
  std::vector<BroughtRows> brought;  // the same, for EXPLAIN (PGSHUNT, ANALYZE)
  TimePoint step_since{};
  std::vector<std::uint32_t> types_there;  // of the columns of what groups have become
  MergeAllowance allowance;
  FixedMoments moments;
  std::string encoding;  // the servers'

  // By the extended protocol: the client's Bind, without its names, and its parameters' types.
  std::optional<std::string> bind;
  std::vector<std::uint32_t> types;
  FanOutPlan asked;
  std::string analyzes;  // EXPLAIN (...), to go before the statement; empty: it is run
};

// A SELECT on several shards whose rows may turn out to have no order known here: what it takes to
// begin anew at the merge node.
struct MergeInstead {
  std::string sql;
  std::uint32_t effects = 0;
  std::string why;
  bool due = false;  // it has come to that
  // By the extended protocol.
  StatementPtr prepared;
  std::string bind;  // the client's Bind
  FanOutPlan asked;
};

}  // namespace pgshunt
