// What a shard must have for two-phase commits: the schema pgshunt.
#pragma once

#include <string_view>

namespace pgshunt {

// Installs it where it is missing; several may do so at once. One transaction.
extern const std::string_view kTwoPhaseSchema;
// The same for people, with what it is and whom to grant what.
extern const std::string_view kTwoPhaseSchemaNotes;

// One row: max_prepared_transactions, is the schema there.
inline constexpr std::string_view kTwoPhaseFitnessQuery =
    "SELECT pg_catalog.current_setting('max_prepared_transactions'), "
    "pg_catalog.to_regprocedure('pgshunt.decide(text,text)') IS NOT NULL AND "
    "pg_catalog.to_regprocedure('pgshunt.resolve(text)') IS NOT NULL";

// What a decision that comes too late violates.
inline constexpr std::string_view kDecisionKey = "pgshunt_decision_key";

}  // namespace pgshunt
