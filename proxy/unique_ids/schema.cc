#include "proxy/unique_ids/schema.h"

namespace pgshunt {
namespace {

// The lock (of this transaction) is that of two_phase/schema.cc, which makes the same schema. The
// functions are in SQL, without settings of their own, so that servers put their bodies in the
// place of their calls.
constexpr std::string_view kBefore = R"sql(BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock(8098991063224382565);
CREATE SCHEMA IF NOT EXISTS pgshunt;
GRANT USAGE ON SCHEMA pgshunt TO PUBLIC;
CREATE SEQUENCE IF NOT EXISTS pgshunt.unique_ids;
GRANT USAGE ON SEQUENCE pgshunt.unique_ids TO PUBLIC;
CREATE OR REPLACE FUNCTION pgshunt.shard_slot() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT )sql";
constexpr std::string_view kBehind = R"sql(::bigint';
CREATE OR REPLACE FUNCTION pgshunt.unique_id() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE AS $body$
SELECT ((pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::bigint - 1735689600) << 32)
  | ((pg_catalog.nextval('pgshunt.unique_ids') & 4194303) << 10) | pgshunt.shard_slot()
$body$;
COMMIT;
)sql";

constexpr std::string_view kNotes = R"sql(
-- pgshunt.unique_id(), for every shard's database. The number in pgshunt.shard_slot() must be another
-- one on each shard: 0 to 1023. pgshunt runs this by itself, as the user above, before the first
-- statement that calls the function, and chooses the numbers.
)sql";

}  // namespace

std::string unique_ids_schema(std::uint32_t slot) {
  return std::string(kBefore).append(std::to_string(slot)).append(kBehind);
}

const std::string_view kUniqueIdsSchemaNotes = kNotes;

const std::string_view kIdSlotQuery = R"sql(
SELECT pg_catalog.substring(p.prosrc, 'SELECT ([0-9]{1,4})::bigint')
FROM (SELECT pg_catalog.to_regprocedure('pgshunt.shard_slot()')) f (oid)
LEFT JOIN pg_catalog.pg_proc p ON p.oid = f.oid
  AND pg_catalog.to_regprocedure('pgshunt.unique_id()') IS NOT NULL)sql";

}  // namespace pgshunt
