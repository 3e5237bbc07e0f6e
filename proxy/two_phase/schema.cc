#include "proxy/two_phase/schema.h"

namespace pgshunt {

// The lock (of this transaction): CREATE ... IF NOT EXISTS fails if somebody does the same at once.
const std::string_view kTwoPhaseSchema = R"sql(BEGIN;
SELECT pg_catalog.pg_advisory_xact_lock(8098991063224382565);
CREATE SCHEMA IF NOT EXISTS pgshunt;
GRANT USAGE ON SCHEMA pgshunt TO PUBLIC;
CREATE TABLE IF NOT EXISTS pgshunt.decision (
  gid text CONSTRAINT pgshunt_decision_key PRIMARY KEY,
  committed boolean NOT NULL,
  at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE OR REPLACE FUNCTION pgshunt.decide(text, text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  IF split_part($1, ':', 4) <> left(encode(sha256(convert_to($2, 'UTF8')), 'hex'), 32) THEN
    RAISE insufficient_privilege USING MESSAGE = 'this is not the key of that transaction';
  END IF;
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  INSERT INTO pgshunt.decision (gid, committed) VALUES ($1, true);
END $body$;
CREATE OR REPLACE FUNCTION pgshunt.resolve(text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  decided boolean;
BEGIN
  SELECT committed INTO decided FROM pgshunt.decision WHERE gid = $1;
  IF decided IS NULL THEN
    INSERT INTO pgshunt.decision (gid, committed) VALUES ($1, false) ON CONFLICT DO NOTHING;
    SELECT committed INTO decided FROM pgshunt.decision WHERE gid = $1;
  END IF;
  RETURN decided;
END $body$;
REVOKE ALL ON TABLE pgshunt.decision FROM PUBLIC;
REVOKE ALL ON FUNCTION pgshunt.resolve(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgshunt.decide(text, text) TO PUBLIC;
COMMIT;
)sql";

const std::string_view kTwoPhaseSchemaNotes =
    R"sql(-- Where pgshunt keeps the decisions of transactions that write on several shards. For every shard's
-- database; run it as a role that may create schemas there. Servers also need
-- max_prepared_transactions of at least the number of client transactions that may commit at once.
--
-- pgshunt runs it by itself where its control user may: the database's force_user, auth_user, or the
-- first user whose password it knows. If somebody else has run it, that user needs
--
--   GRANT SELECT, DELETE ON pgshunt.decision TO <control user>;
--   GRANT EXECUTE ON FUNCTION pgshunt.resolve(text) TO <control user>;
--
-- and, to finish what other roles have prepared, to be a superuser.
)sql";

}  // namespace pgshunt
