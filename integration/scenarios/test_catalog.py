"""What the proxy knows of its shards' catalogs: waiting for it, its refresh, drift, and types whose
OIDs differ from shard to shard."""

import struct
import threading
import time

import psycopg2
import psycopg2.extras
import pytest

from harness import wait_until
from harness.postgres import DEFAULT_HBA
from harness.config import add_application
from harness.wire import Wire, bind, close_statement, describe_portal, execute, parse, rows, sync

HALVES = ((0, 2047), (2048, 4095))
TABLES = """
CREATE TABLE items (id bigint PRIMARY KEY, name text, price numeric(8,2) DEFAULT 1);
CREATE TABLE kinds (code text PRIMARY KEY, name text);
"""
# Keys on the first and on the second shard, found by the server's own hash.
KEYS = "SELECT (array_agg(n ORDER BY n) FILTER (WHERE hashint8extended(n, 8816678312871386365) & 4095 {} 2048))[1:4] FROM generate_series(1, 100) n"


class World:
    def __init__(self, servers, proxy):
        self.servers, self.proxy = servers, proxy
        self.low = self.keys("<")
        self.high = self.keys(">=")

    def keys(self, side):
        return self.servers[0].execute(KEYS.format(side))[0][0]

    def connect(self, **options):
        return self.proxy.connect("shop", "app", "app", **options)

    def run(self, sql, values=None):
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else cursor.rowcount

    def admin(self, sql):
        connection = self.proxy.connect("pgshunt", "admin", "admin")
        try:
            with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def refresh(self):
        self.admin("REFRESH CATALOG shop")
        return [(row["object"], row["shard"], row["difference"])
                for row in self.admin("SHOW DRIFT")]

    def refused(self, sql, values=None):
        with pytest.raises(psycopg2.Error) as refusal:
            self.run(sql, values)
        assert refusal.value.pgcode == "0A000", refusal.value
        return str(refusal.value)


def configuration(servers, **general):
    return {
        "pgshunt": {"auth_type": "trust", "workers": 2, "admin_users": ["admin"], **general},
        "users": {"app": {"password": "app"}, "admin": {"password": "admin"}},
        "databases": {"shop": {
            "shards": [{"name": f"s{i}", "host": server.host, "port": server.port, "dbname": "app"}
                       for i, server in enumerate(servers)],
            "on_cross_shard_write": "one_phase",
            "keyspaces": [{"name": "items", "type": "bigint", "buckets": [
                {"from": first, "to": last, "shard": f"s{i}"}
                for i, (first, last) in enumerate(HALVES)]}],
            "tables": [{"name": "items", "keyspace": "items", "key": "id"},
                       {"name": "boxes", "keyspace": "items", "key": "id"},
                       {"name": "kinds", "reference": True}]}},
    }


BOXES = "CREATE TABLE boxes (id bigint PRIMARY KEY);"


@pytest.fixture
def make_world(make_postgres, make_proxy):
    def make(schemas=("", ""), *, start=True, **general):
        servers = [add_application(make_postgres(f"catalog{i}")) for i in range(2)]
        for server, schema in zip(servers, schemas):
            text = schema if "boxes" in schema else schema + BOXES
            server.psql(f"SET ROLE app; {TABLES} {text}", "app")
        proxy = make_proxy(configuration(servers, **general), start=start)
        return World(servers, proxy)
    return make


@pytest.fixture
def world(make_world):
    return make_world()


def alike(world):
    """A shard that has not answered yet is no drift."""
    wait_until(lambda: world.refresh() == [], what="the shards' catalogs are read and alike")


def on(server, sql):
    server.psql(f"SET ROLE app; {sql}", "app")


# --- the first catalog ---------------------------------------------------------------------------


def test_the_first_statement_waits_for_the_catalog(make_world):
    """INSERT without a column list needs it; nobody is told to come back later."""
    for _ in range(2):
        world = make_world()
        assert world.run("INSERT INTO items VALUES (1, 'one', 2)") == 1
        assert world.run("INSERT INTO kinds VALUES ('a', 'A')") == 1


def test_the_proxy_starts_before_its_shards(make_world):
    world = make_world(start=False)
    for server in world.servers:
        server.stop()
    world.proxy.start()
    world.proxy.wait_for_log("catalog_not_read")
    outcome = []

    def ask():
        outcome.append(world.run("INSERT INTO items VALUES (1, 'one', 2)"))
    asker = threading.Thread(target=ask)
    asker.start()
    for server in world.servers:
        server.start()
    asker.join(30)
    assert outcome == [1]


def test_a_shard_that_is_down_does_not_hold_up_the_others(make_world):
    world = make_world(start=False)
    world.servers[1].stop()
    world.proxy.start()
    assert world.run("INSERT INTO items VALUES (%s, 'x', 1)", (world.low[0],)) == 1
    assert any(row["object"] == "catalog" and row["shard"] == "s1"
               and row["consequence"] == "statements that run there wait"
               for row in world.admin("SHOW DRIFT"))
    world.servers[1].start()
    alike(world)
    assert world.run("INSERT INTO items VALUES (%s, 'x', 1)", (world.high[0],)) == 1
    assert world.run("SELECT count(*) FROM kinds") == [(0,)]


def test_a_wait_for_the_catalog_ends_with_its_reason(make_world):
    """Clients may enter, but not whom the catalog is to be read as."""
    world = make_world(start=False, query_wait_timeout="1s")
    config = configuration(world.servers, query_wait_timeout="1s")
    config["databases"]["shop"]["auth_user"] = "reader"
    config["users"]["reader"] = {"password": "reader"}
    for server in world.servers:
        server.set_hba("host all reader all reject\n" + DEFAULT_HBA)
        server.reload()
    world.proxy.write_config(config)
    world.proxy.start()
    with pytest.raises(psycopg2.Error) as late:
        world.run("INSERT INTO items VALUES (1, 'one', 2)")
    assert late.value.pgcode == "57P03"
    assert 's0' in str(late.value) and "reader" in str(late.value)
    # What needs no catalog goes on.
    assert world.run("SHOW timezone")
    # A cancel does not have to wait for the end.
    connection = world.connect()
    canceled = threading.Timer(0.3, connection.cancel)
    canceled.start()
    with pytest.raises(psycopg2.errors.QueryCanceled):
        connection.cursor().execute("SELECT * FROM items")
    canceled.join()
    connection.close()


def test_without_a_known_user_nobody_waits(make_world):
    world = make_world(start=False)
    config = configuration(world.servers)
    # Whom no server knows, and whose password we do not know.
    for users, why in (({"admin": {"password": "admin"}}, "password authentication failed"),
                       ({"app": {"password": "md5" + "0" * 32}}, "no user with a known password")):
        world.proxy.write_config({**config, "users": users})
        world.proxy.start()
        world.proxy.wait_for_log(f"catalog_not_read.*{why}")
        world.proxy.stop()


# --- drift ---------------------------------------------------------------------------------------

# What is done to the second shard; what the difference is called; what is refused; what still works.
DRIFT = {
    "missing table": ("DROP TABLE items", "is missing", ["SELECT * FROM items"],
                      ["SELECT name FROM items WHERE id = {low}"]),
    "missing column": ("ALTER TABLE items DROP COLUMN name", "items.name",
                       ["SELECT * FROM items", "SELECT name FROM items",
                        "INSERT INTO items VALUES ({low}, 'x')"],
                       ["SELECT id FROM items", "SELECT name FROM items WHERE id = {low}"]),
    "extra column": ("ALTER TABLE items ADD COLUMN more int", "items.more",
                     ["SELECT * FROM items"], ["SELECT id, name FROM items"]),
    "type": ("ALTER TABLE items ALTER COLUMN name TYPE varchar(9)", "is of type",
             ["SELECT name FROM items", "SELECT name FROM items WHERE id = {low}"],
             ["SELECT id FROM items", "SELECT price FROM items WHERE id = {low}"]),
    "key type": ("ALTER TABLE items ALTER COLUMN id TYPE int", "is unfit as a shard key",
                 ["SELECT name FROM items WHERE id = {low}"], ["SELECT id FROM boxes"]),
    "order": ("ALTER TABLE items DROP COLUMN name, ADD COLUMN name text", "another order",
              ["SELECT * FROM items WHERE id = {low}", "INSERT INTO items VALUES ({low}, 'x')"],
              ["SELECT name FROM items", "INSERT INTO items (id, name) VALUES ({high}, 'x')"]),
    "collation": ('ALTER TABLE items ALTER COLUMN name TYPE text COLLATE "de-x-icu"',
                  "has the collation", ["SELECT id FROM items WHERE name < 'm'",
                                        "SELECT id, name FROM items ORDER BY name"],
                  ["SELECT name FROM items", "SELECT id FROM items WHERE name = 'm'"]),
    "nullability": ("ALTER TABLE items ALTER COLUMN name SET NOT NULL", "is NOT NULL",
                    ["INSERT INTO items (id) VALUES ({low})"], ["SELECT name FROM items"]),
    "default": ("ALTER TABLE items ALTER COLUMN price SET DEFAULT 2", "another default",
                ["INSERT INTO items (id) VALUES ({low})"],
                ["INSERT INTO items (id, price) VALUES ({low}, 3)"]),
    "primary key": ("ALTER TABLE items DROP CONSTRAINT items_pkey", "lacks the primary key",
                    ["INSERT INTO items (id) VALUES ({low})"], ["SELECT id FROM items"]),
    "function": ("CREATE FUNCTION twice(int) RETURNS int STABLE LANGUAGE sql AS 'SELECT 2 * $1'",
                 "twice", ["SELECT twice(1)"], ["SELECT id FROM items"]),
    "reference": ("ALTER TABLE kinds ADD COLUMN more int", "kinds.more", ["SELECT * FROM kinds"],
                  ["SELECT code FROM kinds"]),
}


@pytest.mark.parametrize("change, name, refused, allowed", DRIFT.values(), ids=DRIFT.keys())
def test_drift_is_named_and_no_wrong_answer_given(world, change, name, refused, allowed):
    values = {"low": world.low[0], "high": world.high[0]}
    for sql in refused + allowed:
        if sql.startswith("SELECT") and "twice" not in sql and "ORDER BY name" not in sql:
            world.run(sql.format(**values))
    alike(world)
    on(world.servers[1], change)
    drift = world.refresh()
    assert any(name in f"{what} {difference}" and shard == "s1"
               for what, shard, difference in drift), drift
    for sql in refused:
        world.refused(sql.format(**values))
    text = world.refused(refused[0].format(**values))
    assert "s1" in text and "shards differ" in text, text
    for sql in allowed:
        world.run(sql.format(**values))
    world.proxy.wait_for_log("schema_drift")


def test_drift_is_over_when_the_shards_are_alike(world):
    on(world.servers[1], "ALTER TABLE items ADD COLUMN more int")
    assert world.refresh() != []
    world.refused("SELECT * FROM items")
    on(world.servers[0], "ALTER TABLE items ADD COLUMN more int")
    alike(world)
    assert world.run("INSERT INTO items VALUES (1, 'one', 1, 7)") == 1
    assert world.run("SELECT more FROM items") == [(7,)]


def test_missing_tables_are_made_through_the_proxy(world):
    """Declared, but not there yet: how a new cluster begins. And how a shard that lacks one is mended."""
    on(world.servers[0], "DROP TABLE items, kinds")
    on(world.servers[1], "DROP TABLE items, kinds")
    assert {what for what, _, _ in world.refresh()} >= {"table public.items", "table public.kinds"}
    for sql in ("SELECT name FROM items", "SELECT * FROM items ORDER BY name", "SELECT count(*) FROM items",
                "SELECT * FROM kinds", "DELETE FROM items", "UPDATE kinds SET name = 'x'"):
        with pytest.raises(psycopg2.errors.UndefinedTable):
            world.run(sql)
    world.run(TABLES)
    alike(world)  # what others do is seen a moment later
    assert world.run(f"INSERT INTO items (id) VALUES ({world.low[0]}), ({world.high[0]})") == 2
    assert len(world.run("SELECT * FROM items")) == 2
    on(world.servers[1], "DROP TABLE kinds")
    world.refresh()
    world.refused("INSERT INTO kinds VALUES ('a', 'b')")
    world.run("CREATE TABLE IF NOT EXISTS kinds (code text PRIMARY KEY, name text)")
    alike(world)
    assert world.run("INSERT INTO kinds VALUES ('a', 'b')") == 1
    assert [server.execute("SELECT * FROM kinds", dbname="app") for server in world.servers] == [[("a", "b")]] * 2


def test_reload_reads_the_catalogs(world):
    assert world.run("SELECT * FROM items") == []
    on(world.servers[1], "ALTER TABLE items DROP COLUMN name")
    world.admin("RELOAD")
    wait_until(lambda: world.admin("SHOW DRIFT") != [])
    world.refused("SELECT * FROM items")


# --- types of the application's own --------------------------------------------------------------

OWN = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN cents AS int CHECK (VALUE >= 0);
CREATE TYPE pair AS (mood mood, amount cents);
CREATE TABLE boxes (id bigint PRIMARY KEY, mood mood, amount cents, pair pair, moods mood[], pairs pair[]);
"""
OTHERS = "CREATE TYPE before AS ENUM ('x'); CREATE TYPE more AS (a int, b before);"
COLUMNS = ("mood", "amount", "pair", "moods", "pairs")
INTEGER = 23


@pytest.fixture
def own_types(make_world):
    world = make_world((OWN, OTHERS + OWN))
    on(world.servers[0], OTHERS)
    for key in world.low[:2] + world.high[:2]:
        world.run("INSERT INTO boxes VALUES (%s, 'sad', 5, ROW('happy', 6), '{sad,happy}', "
                  "ARRAY[ROW('sad', 7)::pair])", (key,))
    return world


def own_oids(world):
    found = world.servers[0].execute("SELECT attname, atttypid::int FROM pg_attribute "
                                     "WHERE attrelid = 'boxes'::regclass AND attnum > 1", dbname="app")
    return dict(found)


def test_every_shard_describes_the_first_shards_types(own_types):
    world, oids = own_types, own_oids(own_types)
    alike(world)
    names = ", ".join(COLUMNS)
    for where in (f"WHERE id = {world.low[0]}", f"WHERE id = {world.high[0]}", ""):
        with world.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {names} FROM boxes {where}")
            # PostgreSQL describes a domain as the type it is over.
            assert [column.type_code for column in cursor.description] == [
                INTEGER if c == "amount" else oids[c] for c in COLUMNS]
            for row in cursor.fetchall():
                assert row == ("sad", 5, "(happy,6)", "{sad,happy}", '{"(sad,7)"}')


def bodies(answers):
    return [answer.body for answer in answers if answer.type == "D"]


@pytest.mark.parametrize("where", ["low", "high", "all"])
def test_binary_values_carry_the_first_shards_types(own_types, where):
    """Arrays and composites have OIDs inside: every shard's bytes are those of the first."""
    world = own_types
    key = {"low": world.low[0], "high": world.high[0]}.get(where)
    text = "SELECT " + ", ".join(COLUMNS) + " FROM boxes" + (" WHERE id = $1" if key else "")
    wire = Wire(world.proxy, "shop", user="app", password="app")
    # The low keys are on the first shard, whose own bytes pass through.
    of_first = "SELECT " + ", ".join(COLUMNS) + f" FROM boxes WHERE id = {world.low[0]}"
    expected = bodies(wire.ask(parse("", of_first), bind(results=(1,)), describe_portal(), execute(),
                             sync()))[0]
    assert struct.pack("!I", own_oids(world)["mood"]) in expected
    values = (str(key),) if key else ()
    got = bodies(wire.ask(parse("", text), bind(values=values, results=(1,)), describe_portal(),
                        execute(), sync()))
    assert got and all(row == expected for row in got)
    # Without asking what they are, as drivers do that have learned it before.
    wire.ask(parse("known", text), sync())
    got = bodies(wire.ask(bind(statement="known", values=values, results=(1,)), execute(), sync()))
    if where != "all":
        assert got and all(row == expected for row in got)
    wire.close()


@pytest.mark.parametrize("text", ["UPDATE boxes SET amount = 5", "DELETE FROM boxes",
                                  "INSERT"])
def test_rows_of_returning_carry_the_first_shards_types(own_types, text):
    world = own_types
    if text == "INSERT":  # several rows, split
        keys = world.low[2:4] + world.high[2:4]
        row = "'sad', 5, ROW('happy', 6), '{sad,happy}', ARRAY[ROW('sad', 7)::pair]"
        text = "INSERT INTO boxes VALUES " + ", ".join(f"({key}, {row})" for key in keys)
    columns = ", ".join(COLUMNS)
    wire = Wire(world.proxy, "shop", user="app", password="app")

    def answers(sql):
        return wire.ask(parse("", sql), bind(results=(1,)), describe_portal(), execute(), sync())
    read = answers(f"SELECT {columns} FROM boxes WHERE id = {world.low[0]}")
    returned = answers(f"{text} RETURNING {columns}")
    assert len(bodies(returned)) == 4 and set(bodies(returned)) == set(bodies(read))



def test_parameters_of_the_first_shards_types(own_types):
    world, oids = own_types, own_oids(own_types)
    with Wire(world.proxy, "shop", user="app", password="app") as wire:
        for key in (world.low[0], world.high[0]):
            for name in ("", "with types"):
                got = rows(wire.ask(
                    parse(name, "SELECT id FROM boxes WHERE id = $1 AND mood = $2",
                          types=(20, oids["mood"])),
                    bind(statement=name, values=(str(key), "sad")), execute(), sync()))
                assert len(got) == 1, (key, name)
                wire.ask(close_statement("with types"), sync())
