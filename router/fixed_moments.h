// now() and its kin in a write that several shards do. Each shard would read its own clock, so the
// text they are sent reads a setting in place of every such call: one of the transaction, in which
// the proxy has told all of them what time it is.
//
// The setting's value is a timestamptz with its offset; what else the words stand for
// (CURRENT_DATE, LOCALTIME(0)) is a cast of it, which the server does by the session's time zone as
// it would for the clock.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/statement_analysis.h"
#include "router/statement_plan.h"

namespace pgshunt {

// Settings to be told by SET LOCAL, before a statement whose route says `fixes_moment`.
inline constexpr std::string_view kTransactionMoment = "pgshunt.transaction_timestamp";
inline constexpr std::string_view kStatementMoment = "pgshunt.statement_timestamp";

// now(), transaction_timestamp(), statement_timestamp(), without arguments. `name` without schema.
bool is_fixable_moment(std::string_view name);

// Where the calls begin that with_fixed_moments() would replace, ascending.
std::vector<std::size_t> find_moments(std::string_view sql);

// The text with a reading of a setting in place of each call. A column of RETURNING keeps its name.
// `sql` must be known, by find_moments() and a parser, to have no other words that look like calls.
std::string with_fixed_moments(std::string_view sql, bool standard_conforming_strings = true);

// When the transaction and the statement began: timestamptz in ISO order with their offset, which
// reads alike under any DateStyle and TimeZone.
struct FixedMoments {
  std::string transaction;
  std::string statement;
};

// The text with a literal in place of each call. For one whose columns' names do not matter.
std::string with_moments(std::string_view sql, bool standard_conforming_strings,
                         const FixedMoments& moments);

// Gives `out` a text for the shards, if there is such a call in `sql`; an Error if the text does
// not look as its tree says.
Status fix_moments(std::string_view sql, const StatementFacts& facts, StatementPlanData& out);

}  // namespace pgshunt
