// A SELECT that no key value pins: may it run on every shard, each for its own rows, and how do
// their answers become one?
#pragma once

#include <cstdint>
#include <string>
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

// LIMIT and OFFSET: `limit` and `offset` of `out`, or why they cannot be told.
Status plan_window(const Query& query, StatementPlanData& out);
// LIMIT for the shards' text. The first: what lets every row through that the client may see,
// offset + limit of them, since all could come from one shard. The second: all rows; it names the
// same parameters, which every text must have.
std::string limit_of_shards(const StatementPlanData& plan);
std::string all_rows_of_shards(const StatementPlanData& plan);

// now() and its kin: refused, or made the same everywhere by fix_moments().
enum class Moments : std::uint8_t { kRefused, kFixed };

// May every shard select for its own rows, if their order is of no account?
Status check_scatter(const Query& query, const StatementAnalysis& analysis,
                     Moments moments = Moments::kRefused);

// Must every shard find the same values for the expressions of a statement, given the same row? If
// not, an Error names the first that differs.
Status check_expressions(const StatementFacts& facts, const TableScope& scope, Moments moments);

// Hints all say the same first thing: with the key, everything works.
std::string give_shard_key(const TableScope& scope);

}  // namespace pgshunt
