// Where a shard's catalog differs from the first shard's, and what must not run because of it.
#pragma once

#include <cstdint>
#include <string>

#include "protocol/result.h"

namespace pgshunt {

struct SqlStatement;
struct StatementPlanData;
struct Topology;

// Which statements an answer of one PostgreSQL cannot be promised for any more.
enum class DriftEffect : std::uint8_t {
  kNone,        // none: worth knowing
  kEverything,  // all on this table
  kScatter,     // those that need the table on several shards
  kShape,    // SELECT *, INSERT without a column list; on several shards those that name the column
  kMention,  // those that name the column, * and INSERT without a column list included
  kOrdering,  // those on several shards that compare or sort by the column
  kWrite,     // INSERT and UPDATE
  kOmit,      // INSERTs that leave the column to its default
  kNumbers,   // INSERTs that leave the column to its sequence; the planner sees to it
  kCall,      // those that call the function
  kType,      // those that cast to the type
  kEncoding,  // those on several shards, and those with text keys
};

struct Drift {
  DriftEffect effect = DriftEffect::kNone;
  std::uint16_t shard = 0;  // index into Topology::shards
  std::string schema;
  std::string name;        // of a table, function or type; empty: the server itself
  std::string column;      // empty: all of it
  std::string difference;  // as in "table public.users <difference>"
  friend bool operator==(const Drift&, const Drift&) = default;
};

// "public.users.name", "server".
std::string drift_object(const Drift& drift);
// For people: which statements are refused.
std::string_view drift_consequence(DriftEffect effect);

// Refuses a planned statement whose answer would depend on a drift (0A000, which names it).
// Costs a comparison when there is none.
Status check_drift(const Topology& topology, const SqlStatement& statement,
                   const StatementPlanData& plan);

}  // namespace pgshunt
