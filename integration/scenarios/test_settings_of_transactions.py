"""SET, SET LOCAL and RESET in transactions over shards, with savepoints: every shard has the value that one
PostgreSQL would have, whenever it joined; and what is pinned where is counted of all shards."""

import random

import psycopg
import pytest

import made_values
from applications import BUCKETS
from harness import wait_until

USER, DATABASE = "setter", "settings"
VALUES = {"work_mem": ("'5MB'", "'6MB'", "7168", "DEFAULT"), "timezone": ("'UTC'", "'Asia/Tokyo'", "-3"),
          "app.word": ("'one'", "'two \\ three'", "''"), "statement_timeout": ("'11s'", "0", "'13s'")}
READ = ("SELECT current_setting('work_mem'), current_setting('timezone'), "
        "coalesce(current_setting('app.word', true), ''), current_setting('statement_timeout')")


@pytest.fixture(scope="module")
def world(shards, shared_proxy):
    made_values.create(shards, DATABASE, USER)
    shards[0].create_database("settings_whole", USER)
    proxy = shared_proxy(made_values.configuration(
        shards, DATABASE, USER, "things", {"things": "id"}, buckets=BUCKETS, max_pinned_servers=4))
    with connect(proxy, DATABASE) as client, connect(shards[0], "settings_whole") as whole:
        for each in (client, whole):
            each.execute("CREATE TABLE things (id bigint PRIMARY KEY, note text)")
    wait_until(lambda: all(knows_things(proxy) for _ in range(4)))  # every worker
    return shards, proxy


def connect(server, dbname, simple=True, options=None):
    return psycopg.connect(host=server.host, port=server.port, dbname=dbname, user=USER, password=USER,
                           autocommit=True, options=options,
                           cursor_factory=psycopg.ClientCursor if simple else psycopg.Cursor)


def knows_things(proxy):
    with connect(proxy, DATABASE) as client:
        return outcome(client, "SELECT id FROM things") == []


def outcome(client, statement):
    try:
        cursor = client.execute(statement)
        return cursor.fetchall() if cursor.description else cursor.statusmessage
    except psycopg.Error as error:
        assert error.sqlstate, str(error)
        return error.sqlstate


def steps(choose, shards):
    """A sequence of statements; those that read go to one shard, or make all join."""
    names = list(VALUES)
    for _ in range(choose.randrange(10, 40)):
        name = choose.choice(names)
        value = choose.choice(VALUES[name])
        yield choose.choices((
            f"SET {name} = {value}", f"SET LOCAL {name} = {value}", f"RESET {name}", "RESET ALL",
            "SET TIME ZONE 'Europe/Rome'", "SET LOCAL TIME ZONE 'Europe/Rome'", "RESET TIME ZONE",
            "BEGIN", "COMMIT", "ROLLBACK", f"SAVEPOINT s{choose.randrange(2)}",
            f"ROLLBACK TO s{choose.randrange(2)}", f"RELEASE s{choose.randrange(2)}",
            f"/* pgshunt: shard={choose.choice(shards).name} */ {READ}", "SELECT id FROM things", "SELECT 1/0",
            f"SET {name} = {value}; SET LOCAL work_mem = '9MB'",
        ), weights=(8, 10, 6, 1, 1, 1, 1, 6, 2, 2, 5, 6, 2, 14, 3, 1, 1))[0]
    for shard in shards:
        yield f"/* pgshunt: shard={shard.name} */ {READ}"


@pytest.mark.parametrize("simple", (True, False), ids=("simple", "extended"))
@pytest.mark.parametrize("seed", range(8))
def test_as_on_one_server(world, simple, seed):
    shards, proxy = world
    for number in range(40):
        choose = random.Random(f"{seed} {number}")
        options = choose.choice((None, "-c work_mem=8MB"))
        with connect(proxy, DATABASE, simple, options) as client, \
                connect(shards[0], "settings_whole", simple, options) as whole:
            done = []
            for statement in steps(choose, shards):
                if not simple and ";" in statement:
                    continue
                done.append(statement)
                ours, theirs = outcome(client, statement), outcome(whole, statement)
                assert ours == theirs, "\n".join([f"seed {seed} {number}: {ours}, not {theirs}"] + done)


def test_pins_are_counted_on_every_shard(world):
    shards, proxy = world
    with connect(proxy, DATABASE) as client, connect(proxy, "pgshunt") as console:
        def pins():
            return [row for row in console.execute("SHOW PINS").fetchall() if DATABASE in map(str, row)]

        def on(number, statement):
            return client.execute(f"/* pgshunt: shard={shards[number].name} */ {statement}")

        on(1, "SELECT pg_advisory_lock(1)")
        on(2, "CREATE TEMP TABLE kept (id int)")
        wait_until(lambda: "temporary" in str(pins()) and "advisory" in str(pins()))
        # A shard that says that nothing is left there speaks for itself only.
        on(1, "SELECT pg_advisory_unlock(1)")
        wait_until(lambda: "advisory" not in str(pins()))
        assert "temporary" in str(pins())
        on(1, "SELECT pg_advisory_lock(1)")
        on(2, "DROP TABLE kept")
        wait_until(lambda: "temporary" not in str(pins()))
        assert "advisory" in str(pins())
        assert on(1, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
                  ).fetchone() == (1,)
        on(1, "SELECT pg_advisory_unlock(1)")
        wait_until(lambda: not pins())
        on(0, "SELECT pg_advisory_lock(1)")
        on(1, "SELECT pg_advisory_lock(1)")
        client.execute("DISCARD ALL")
        wait_until(lambda: not pins())
