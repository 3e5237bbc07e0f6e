// What every shard of a database must have for pgshunt.unique_id(): the function, a sequence, and
// the shard's slot, which is another one on each shard. README.md says why no id comes twice.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgshunt {

// Slots are numbers below this.
inline constexpr std::uint32_t kIdSlots = 1024;

// Installs it, or gives the shard another slot; several may do so at once. One transaction.
std::string unique_ids_schema(std::uint32_t slot);
// For people: what it is.
extern const std::string_view kUniqueIdsSchemaNotes;

// One row and column: the shard's slot; NULL if something is missing.
extern const std::string_view kIdSlotQuery;

// Held on the first shard by whoever gives out slots, until its session ends.
inline constexpr std::string_view kLockIdSlots =
    "SELECT pg_catalog.pg_advisory_lock(8098991063224382566)";

// Parameters: how many. An array of that many ids: a row for each would cost many times as much.
// What it returns is in the log, flushed: the message makes its transaction one that writes.
inline constexpr std::string_view kTakeIds =
    "SELECT pg_catalog.array_agg(pgshunt.unique_id()) FROM "
    "(SELECT pg_catalog.pg_logical_emit_message(true, 'pgshunt', 'ids')) AS flushed, "
    "pg_catalog.generate_series(1, $1::pg_catalog.int8)";

// The same of a sequence, the second parameter; fewer, but one, if it ends before: what nextval()
// has given is lost when the next one fails.
inline constexpr std::string_view kTakeNumbers =
    "SELECT pg_catalog.array_agg(pg_catalog.nextval($2::pg_catalog.regclass)) FROM "
    "(SELECT pg_catalog.pg_logical_emit_message(true, 'pgshunt', 'ids')) AS flushed, "
    "pg_catalog.generate_series(1, (SELECT CASE WHEN s.seqcycle THEN $1::pg_catalog.int8 "
    "ELSE greatest(1, least($1::pg_catalog.int8, "
    "pg_catalog.div(CASE WHEN s.seqincrement > 0 THEN s.seqmax ELSE s.seqmin END "
    "- coalesce(CASE WHEN pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') "
    "THEN pg_catalog.pg_sequence_last_value(s.seqrelid) END, s.seqstart)::pg_catalog.numeric, "
    "s.seqincrement::pg_catalog.numeric)))::pg_catalog.int8 END "
    "FROM pg_catalog.pg_sequence s WHERE s.seqrelid = $2::pg_catalog.regclass))";

}  // namespace pgshunt
