"""Random sessions, each of them twice: through a proxy that changes the server under them at every
chance, and straight on PostgreSQL. Both must be told the same, message by message.

A round is a list of steps made from its seed alone, so that what failed can be repeated and cut down:

    PGSHUNT_RANDOM_ROUNDS=1000 pytest -k same_as_postgres     # many rounds
    PGSHUNT_RANDOM_SEED=1234 pytest -k same_as_postgres       # this round first
"""

import os
import random

import pytest

from harness import wait_until
from harness.config import add_application, plain
from harness.wire import (Answer, ServerClosed, Wire, bind, close_portal, close_statement,
                          copy_data, copy_done, copy_fail, describe_portal, describe_statement,
                          execute, flush, parse, query, sync)

# Each session's startup packet. Nothing that is reported: RESET ALL reports the server's own value
# until the next request.
BEGAN_WITH = [{}, {}, {"work_mem": "3MB"}]
SESSIONS = len(BEGAN_WITH)
STEPS = 30
ROUNDS = int(os.environ.get("PGSHUNT_RANDOM_ROUNDS", "40"))
FIRST_SEED = int(os.environ.get("PGSHUNT_RANDOM_SEED", "1"))

LOOKS = [
    "SELECT current_setting('work_mem'), current_setting('timezone'), current_setting('datestyle')",
    "SELECT current_user, session_user, current_setting('application_name')",
    "SHOW search_path", "SELECT n FROM things",
    "SELECT '1/2/2003'::date, '2003-02-01 12:00'::timestamptz",
    "SELECT coalesce(current_setting('app.tenant', true), '')",
    "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')",
    "SELECT count(*) FROM noted", "SELECT count(*) FROM mine",
    "SELECT name FROM pg_cursors WHERE name <> '' ORDER BY 1",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    r"SELECT 'a\'||'b'",
]
SETTINGS = [
    ("work_mem", ["'5MB'", "6000", "'plenty'"]),
    ("timezone", ["'Asia/Tokyo'", "'Europe/Rome'", "'No/Where'"]),
    ("datestyle", ["'SQL, DMY'", "ISO, MDY", "German"]),
    ("search_path", ["far, public", "public", "pg_catalog"]),
    ("application_name", ["'it''s'", "'plain'"]),
    ("app.tenant", ["'1'", "'2'"]),
    ("role", ["other", "none", "nobody"]),
    ("default_transaction_read_only", ["on", "off"]),
    ("default_transaction_isolation", ["serializable", "'read committed'"]),
    ("standard_conforming_strings", ["off", "on"]),
]
TRANSACTIONS = [
    "BEGIN", "BEGIN", "BEGIN", "COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "ROLLBACK", "END", "ABORT",
    "START TRANSACTION READ ONLY", "BEGIN READ ONLY", "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN", "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b",
    "RELEASE a", "RELEASE SAVEPOINT b",
]
STATE = [
    "CREATE TEMP TABLE mine (n int)", "CREATE TEMP TABLE mine (n int) ON COMMIT DROP",
    "CREATE TEMP TABLE IF NOT EXISTS mine AS SELECT 1 AS n", "SELECT 1 AS n INTO TEMP mine",
    "INSERT INTO mine VALUES (1)", "DROP TABLE mine", "DROP TABLE IF EXISTS pg_temp.mine",
    "DO $$ BEGIN CREATE TEMP TABLE mine (n int); END $$", "DO $$ BEGIN DROP TABLE mine; END $$",
    "DO $$ BEGIN PERFORM 1; END $$", "DO $$ BEGIN SET timezone = 'Europe/Rome'; END $$",
    "DO $$ BEGIN SET LOCAL datestyle = 'SQL, DMY'; END $$", "CREATE TEMP VIEW mine AS SELECT 1 AS n",
    "SELECT pg_try_advisory_lock(1)", "SELECT pg_try_advisory_lock(2)",
    "SELECT pg_advisory_unlock(1)", "SELECT pg_advisory_unlock(2)",
    "SELECT pg_advisory_unlock_all()", "SELECT pg_try_advisory_xact_lock(1)",
    "DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 5) AS g",
    "DECLARE c CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 5) AS g",
    "FETCH 2 FROM c", "MOVE 1 IN c", "CLOSE c", "CLOSE ALL",
    "INSERT INTO noted VALUES (1)", "SELECT 1/0", "SELECT nothing", "SELEC",
]
# Functions that do the same unseen.
ROUTINES = """
CREATE FUNCTION in_zone() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN 1; END $$;
CREATE FUNCTION in_format() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET datestyle = 'German'; SET search_path = far, public; RETURN 1; END $$;
CREATE FUNCTION as_other() RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET ROLE other; RETURN 1; END $$;
CREATE FUNCTION back_again() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN RESET ROLE; RESET timezone; RESET work_mem; RETURN 1; END $$;
CREATE FUNCTION for_tenant(t text) RETURNS int LANGUAGE sql AS
    $$ SELECT set_config('app.tenant', t, false)::int $$;
CREATE FUNCTION for_now() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET LOCAL timezone = 'Europe/Rome'; RETURN 1; END $$;
CREATE FUNCTION makes_mine() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN CREATE TEMP TABLE mine (n int); RETURN 1; END $$;
CREATE FUNCTION takes_lock() RETURNS bool LANGUAGE sql AS 'SELECT pg_try_advisory_lock(1)';
CREATE FUNCTION opens_c() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'; RETURN 1; END $$;
CREATE PROCEDURE zone_and_lock() LANGUAGE plpgsql AS
    $$ BEGIN PERFORM in_zone(); PERFORM takes_lock(); END $$;
CREATE TABLE watched (n int);
CREATE FUNCTION on_watched() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('work_mem', (1000 + new.n)::text, false); RETURN new; END $$;
CREATE TRIGGER watched BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION on_watched();
GRANT ALL ON watched TO app, other;
"""
CALLS = ["SELECT public.in_zone()", "SELECT public.in_format()", "SELECT public.as_other()",
         "SELECT public.back_again()", "SELECT public.for_tenant('3')", "SELECT public.for_now()",
         "SELECT public.makes_mine()", "SELECT public.takes_lock()", "SELECT public.opens_c()",
         "CALL public.zone_and_lock()", "INSERT INTO public.watched VALUES (7)",
         "DO $$ BEGIN PERFORM public.in_format(); END $$"]
RESETS = ["RESET ALL", "DISCARD ALL", "DISCARD PLANS", "DISCARD TEMP", "DEALLOCATE ALL",
          "DISCARD SEQUENCES"]
PREPARABLE = ["SELECT '1/2/2003'::date AS d", "SELECT n FROM things", "SET work_mem = '7MB'",
              "RESET work_mem", "BEGIN", "COMMIT", "ROLLBACK", "SELECT 1/0", "SELECT nothing",
              "SELECT count(*) FROM mine", "INSERT INTO noted VALUES (2)",
              "PREPARE q1 AS SELECT 'by extended'", "SAVEPOINT a", "ROLLBACK TO a",
              "SET timezone = 'Europe/Rome'", "CREATE TEMP TABLE mine (n int)",
              "SELECT g FROM generate_series(1, 4) AS g", "", "SELECT pg_try_advisory_lock(3)",
              "SET LOCAL datestyle = 'SQL, DMY'", "SELECT set_config('timezone', 'Asia/Tokyo', true)",
              "SET ROLE other", "SHOW work_mem", "DEALLOCATE ALL", "SELECT public.in_zone()",
              "SELECT public.takes_lock()", "INSERT INTO public.watched VALUES (8)"]
# Parsed by the protocol; prepared by SQL. EXECUTE of the first kind crashes PostgreSQL 15 if it is a
# SAVEPOINT.
PARSED, PREPARED = ["", "s0", "s1"], ["q0", "q1"]
PORTALS = ["", "", "p0", "p1"]


class Maker:
    """Makes the steps of one round."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def steps(self):
        return [(self.chance.randrange(SESSIONS), self.step()) for _ in range(STEPS)]

    def step(self):
        """What is sent at once: messages as (kind, fields...), see messages()."""
        kind = self.chance.random()
        if kind < 0.55:
            return [("Q", self.text())]
        if kind < 0.93:
            return self.pipeline()
        return self.copy()

    def text(self):
        return "; ".join(self.statement() for _ in range(self.chance.choice([1, 1, 1, 2, 3])))

    def statement(self):
        pick = self.chance.choice
        kind = self.chance.random()
        if kind < 0.25:
            return pick(LOOKS)
        if kind < 0.45:
            return self.setting()
        if kind < 0.65:
            return pick(TRANSACTIONS)
        if kind < 0.78:
            return pick(STATE)
        if kind < 0.85:
            return pick(CALLS)
        if kind < 0.97:
            return pick([f"PREPARE q{self.chance.randrange(2)} AS {pick(LOOKS)}",
                         f"PREPARE q{self.chance.randrange(2)} (int) AS SELECT $1 + 1",
                         f"EXECUTE q{self.chance.randrange(2)}",
                         f"EXECUTE q{self.chance.randrange(2)}(1)",
                         f"EXPLAIN (COSTS OFF) EXECUTE q{self.chance.randrange(2)}",
                         f"CREATE TEMP TABLE mine AS EXECUTE q{self.chance.randrange(2)}",
                         f"DEALLOCATE q{self.chance.randrange(2)}",
                         f"DEALLOCATE PREPARE s{self.chance.randrange(2)}"])
        return pick(RESETS)

    def setting(self):
        name, values = self.chance.choice(SETTINGS)
        value = self.chance.choice(values)
        form = self.chance.randrange(8)
        if form < 3:
            return f"SET {name} = {value}"
        if form == 3:
            return f"SET LOCAL {name} TO {value}"
        if form == 4:
            return f"RESET {name}"
        if form == 5:
            return f"SET {name} TO DEFAULT"
        quoted = "'" + value.strip("'") + "'"
        if form == 6:
            local = self.chance.choice(["true", "true", "false"])
            return f"SELECT set_config('{name}', {quoted}, {local})"
        return f"SET SESSION {name} TO {value}"

    def pipeline(self):
        pick = self.chance.choice
        out = []
        for _ in range(pick([1, 1, 2, 3])):
            for _ in range(self.chance.randrange(1, 7)):
                name, portal = pick(PARSED), pick(PORTALS)
                known = pick(PARSED + PREPARED)
                sql = pick(PREPARABLE) if self.chance.random() < 0.7 else self.statement()
                out += pick([
                    [("P", name, sql)],
                    [("P", name, sql), ("B", portal, name), ("E", portal, 0)],
                    [("P", "", sql), ("B", "", ""), ("DP", ""), ("E", "", 0)],
                    [("C", name), ("P", name, sql), ("DS", name)],
                    [("B", portal, known), ("E", portal, pick([0, 0, 1, 2]))],
                    [("B", portal, known), ("DP", portal), ("E", portal, 0)],
                    # Not the unnamed one: that of a simple query that failed crashes PostgreSQL 15.
                    [("E", portal or "p0", 1)],
                    # Not alone: in a transaction that has failed PostgreSQL still describes what
                    # has no rows, but nothing can be prepared any more.
                    [("B", portal, known), ("DS", known)], [("CP", portal)], [("C", known)], [("H",)],
                ])
            out.append(("S",))
        return out

    def copy(self):
        return [self.chance.choice([
            ("copy", "COPY noted FROM STDIN", "1\n2\n", "c"),
            ("copy", "COPY noted FROM STDIN", "1\n2\n", "f"),
            ("copy", "COPY noted FROM STDIN", "x\n2\n", "c"),
            ("copy", "COPY mine FROM STDIN", "1\n2\n", "c"),
            ("Q", "COPY noted TO STDOUT"),
            ("Q", "COPY (SELECT 1/0) TO STDOUT"),
        ])]


def messages(step):
    """The bytes of a step, and how many ReadyForQuery end it."""
    made = {
        "Q": query, "P": parse, "B": bind, "E": execute, "S": sync, "H": flush,
        "DP": describe_portal, "DS": describe_statement, "C": close_statement, "CP": close_portal,
        "copy": lambda sql, data, end: query(sql) + copy_data(data.encode()) + (
            copy_done() if end == "c" else copy_fail("no more")),
    }
    sent = b"".join(made[kind](*values) for kind, *values in step)
    return sent, sum(kind in ("Q", "S", "copy") for kind, *_ in step)


def told(answer):
    """What of an answer must be equal. Names and numbers of servers and objects are not."""
    if answer.type == "E":
        return answer.type, answer.fields["C"], answer.fields["M"]
    if answer.type == "N":
        return answer.type, answer.fields["C"]
    if answer.type == "T":
        count = int.from_bytes(answer.body[:2], "big")
        return answer.type, count
    return answer.type, answer.body


CLOSED = Answer("closed", b"")


def ask(client, step):
    sent, readies = messages(step)
    client.send(sent)
    answers = []
    try:
        for _ in range(readies):
            answers += client.until_ready()
    except ServerClosed as closed:
        answers += closed.answers + [CLOSED]
    return [told(a) for a in answers if a.type not in "SA"]


def same(expected, got):
    """If a request is wrong in two ways the proxy may tell of the other: in a transaction that has
    failed, of a portal that is not there, or of a name that is taken."""
    def agree(one, other):
        return one == other or (one[0] == other[0] == "E" and
                                (one[1] in ("25P02", "34000") or other[1] == "42P05"))
    return len(expected) == len(got) and all(map(agree, expected, got))


LEFT_BEHIND = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' UNION ALL
    SELECT pid FROM pg_class, pg_stat_activity WHERE relpersistence = 't' AND datname = 'app'"""


def left_behind(server):
    """What clients that have gone should have taken with them. Ends the servers that keep it."""
    try:
        wait_until(lambda: not server.execute(LEFT_BEHIND, dbname="app"), 3)
        return None
    except TimeoutError:
        server.execute(f"SELECT pg_terminate_backend(pid) FROM ({LEFT_BEHIND}) AS keeps",
                       dbname="app")
        return "a lock or a temporary object was left behind"


# The proxy forgets the unnamed statement when a Parse that would have replaced it is skipped behind
# an error; PostgreSQL does not. A round ends there.
UNNAMED_IS_GONE = ("E", "26000", "unnamed prepared statement does not exist")
REPORTED = ["TimeZone", "DateStyle", "application_name", "standard_conforming_strings"]


def difference(proxy, server, steps):
    """The first step whose answers differ, with both; None if all are the same."""
    pairs = []
    for database in ("app", "straight"):
        server.execute("TRUNCATE noted", dbname=database)
    try:
        for began in BEGAN_WITH:
            pairs.append([Wire(proxy, "app", user="app", **began),
                          Wire(server, "straight", user="app", **began)])
        for number, (session, step) in enumerate(steps):
            pooled, straight = pairs[session]
            expected = ask(straight, step)
            got = ask(pooled, step)
            expected += [straight.parameters[name] for name in REPORTED]
            got += [pooled.parameters[name] for name in REPORTED]
            if UNNAMED_IS_GONE in got and UNNAMED_IS_GONE not in expected:
                return None
            if not same(expected, got):
                return number, expected, got
    finally:
        for pair in pairs:
            for client in pair:
                client.close()
        leftover = left_behind(server)
    return (len(steps) - 1, None, leftover) if leftover else None


def leave_out(fails, parts):
    """Leaves parts out as long as the rest still fails."""
    size = max(1, len(parts) // 2)
    while True:
        at = 0
        while at < len(parts):
            fewer = parts[:at] + parts[at + size:]
            if fails(fewer):
                parts = fewer
            else:
                at += size
        if size == 1:
            return parts
        size //= 2


def shortest(fails, steps):
    steps = leave_out(fails, steps)
    for i, (session, step) in enumerate(steps):
        def put(part):
            return steps[:i] + [(session, part)] + steps[i + 1:]
        ends = step[-1:]
        shorter = leave_out(lambda part: fails(put(part + ends)), step[:-1])
        steps = put(shorter + ends)
    return steps


# Wire proves no password to a server.
TRUSTING = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


@pytest.fixture(scope="module")
def straight(shared_postgres):
    server = add_application(shared_postgres("straight-postgres", hba=TRUSTING))
    server.create_database("straight", owner="app")
    for database in ("app", "straight"):
        for sql in ("CREATE SCHEMA far", "CREATE TABLE public.things AS SELECT 1 AS n",
                    "CREATE TABLE far.things AS SELECT 2 AS n", "CREATE TABLE noted (n int)",
                    "GRANT ALL ON ALL TABLES IN SCHEMA public TO app, other",
                    "GRANT ALL ON SCHEMA far, public TO app, other",
                    "GRANT ALL ON ALL TABLES IN SCHEMA far TO app, other"):
            server.execute(sql, dbname=database)
        server.execute(ROUTINES, dbname=database)
        make_temporary_schemas(server, database)
    return server


def make_temporary_schemas(server, database):
    """All that will be needed: making one invalidates every session's plans, and what was prepared
    is read again under the settings of the moment."""
    connections = [Wire(server, database, user="app") for _ in range(3 * SESSIONS)]
    for connection in connections:
        connection.query("CREATE TEMP TABLE mine (n int)")
    for connection in connections:
        connection.close()


@pytest.fixture(scope="module")
def changing(shared_proxy, straight):
    """Every transaction runs on another server than the last."""
    return shared_proxy(plain(straight, size=SESSIONS, server_round_robin=True))


def test_random_sessions(changing, straight):
    for seed in range(FIRST_SEED, FIRST_SEED + ROUNDS):
        steps = Maker(seed).steps()
        found = difference(changing, straight, steps)
        if found is None:
            continue
        steps = shortest(lambda fewer: difference(changing, straight, fewer) is not None,
                         steps[:found[0] + 1])
        pytest.fail(report(seed, steps, difference(changing, straight, steps) or found))


def report(seed, steps, found):
    lines = [f"PGSHUNT_RANDOM_SEED={seed}:"]
    lines += [f"  {session}: {step}" for session, step in steps]
    return "\n".join(lines + [f"PostgreSQL: {found[1]}", f"pgshunt:    {found[2]}"])
