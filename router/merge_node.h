// A SELECT over several shards that no merging of rows can answer exactly: the merge node, a
// PostgreSQL server, runs it over temporary tables that hold what the statement needs of each of
// its tables. So joins of any kind, windows, recursion, collations and aggregates are
// PostgreSQL's own.
//
// The statement stays as it is written but for the tables' names. Of each table only those columns
// are brought that the statement may name, and only those rows that its WHERE lets through.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/partial_aggregates.h"
#include "router/sql_tree.h"
#include "router/statement_analysis.h"
#include "router/topology.h"

namespace pgshunt {

// One temporary table.
struct MergeInput {
  std::string table;     // its name in pg_temp, not quoted
  std::string relation;  // as SQL names it
  // Those of its columns that are brought; nothing: all.
  std::optional<std::vector<std::string>> columns;
  // SELECT of all its rows on the shards, without a condition.
  std::string select;
  // Conditions that every row of it must meet to have a part in the result. Each may be left out;
  // the client's parameters may stand in them.
  std::vector<std::string> conditions;
  // The one shard that has the rows; nothing: all shards have their own.
  std::optional<ShardId> home;
  // Columns of the table's primary key, if something depends on it: GROUP BY names them.
  std::vector<std::string> primary_key;
  // Types of its columns are PostgreSQL's own, the same everywhere, or enums: rows can go from
  // server to server in binary.
  bool builtin_types = false;
};

// Its SELECT with all conditions, for people.
std::string rows_text(const MergeInput& input);

struct MergeNodePlan {
  std::vector<MergeInput> inputs;
  std::string text;  // what the merge node runs
  std::string why;   // no other way will do
  // The input is what the shards say of groups (router/partial_aggregates.h); these are the sums
  // in `text` that may need a cast. The parameters of what is brought must be put in, so there is
  // another plan for where they cannot be: by rows.
  std::vector<PartialAggregates::Sum> sums;
  std::shared_ptr<const MergeNodePlan> by_rows;
  bool reads_clock = false;  // router/fixed_moments.h: `text` reads settings, conditions call
  // It has something that only a server can read the time for ('now', clock_timestamp()): then all
  // of it is the merge node's, whose transaction is this statement's alone. In one of the client's
  // the time would have to be that of its beginning.
  bool own_clock = false;
  // A literal says the time, that at which the statement was parsed.
  bool parsed_clock = false;
  // Reference tables are read where they are, at the merge node, which does not see what the open
  // transaction has written to them: then this one, which brings them too. Null: there are none.
  std::shared_ptr<const MergeNodePlan> with_references;
};

// Null if the merge node cannot run it either: `refused`, why it has no other plan, holds then.
// `statement` was parsed from `text` and is in `analysis`.
std::shared_ptr<const MergeNodePlan> plan_merge_node(
    const Topology& topology, std::string_view text, const SqlStatement& statement,
    const StatementAnalysis& analysis, const SearchPath* path,
    const std::vector<std::uint32_t>& types, const Error& refused);

}  // namespace pgshunt
