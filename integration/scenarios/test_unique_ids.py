"""pgshunt.unique_id(): no id is given twice, by whichever shard or proxy and in whichever form of
statement, and rows with one for a key are where their key says."""

import asyncio
import struct
import subprocess
import threading
from pathlib import Path

import asyncpg
import psycopg
import pytest

import made_values
from applications import BUCKET, BUCKETS
from harness import wait_until

PROGRAMS = Path(__file__).parent / "programs"
USER, DATABASE = "numberer", "numbers"
TABLES = (
    "CREATE TABLE things (id bigint PRIMARY KEY, note text, other bigint)",
    "CREATE TABLE parts (thing bigint, id bigint DEFAULT pgshunt.unique_id(), note text, "
    "PRIMARY KEY (thing, id))",
    "CREATE TABLE orders (id bigint PRIMARY KEY DEFAULT pgshunt.unique_id(), note text)",
    "CREATE TABLE kinds (id bigint PRIMARY KEY DEFAULT pgshunt.unique_id(), note text)",
    "CREATE TABLE unique_id (unique_id bigint PRIMARY KEY, id int)",
)
KEYS = {"things": "id", "parts": "thing", "orders": "id", "unique_id": "unique_id"}


def configuration(servers, dbname=DATABASE, buckets=BUCKETS):
    return made_values.configuration(servers, DATABASE, USER, "things", KEYS, dbname=dbname, buckets=buckets, server_login_retry=0.1)


@pytest.fixture(scope="module")
def servers(shards):
    made_values.create(shards, DATABASE, USER)
    return shards


@pytest.fixture(scope="module")
def proxies(shared_proxy, servers):
    both = [shared_proxy(configuration(servers), name=name) for name in ("pgshunt-a", "pgshunt-b")]
    # Two at once need the function, which no shard has.
    threads = [threading.Thread(target=lambda proxy=proxy: connect(proxy).execute(
        "SELECT pgshunt.unique_id()")) for proxy in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect(both[0]) as client:
        for table in TABLES:
            client.execute(table)
    # The other one has not seen the tables being made.
    with console(both[1]) as admin, connect(both[1]) as client:
        admin.execute("REFRESH CATALOG")
        wait_until(lambda: knows_orders(client))
    return both


def console(proxy):
    return psycopg.connect(host=proxy.host, port=proxy.port, dbname="pgshunt", user=USER,
                           autocommit=True, cursor_factory=psycopg.ClientCursor)


def knows_orders(client):
    try:
        return client.execute("INSERT INTO orders DEFAULT VALUES RETURNING id").fetchone() is not None
    except psycopg.Error:
        return False


@pytest.fixture(params=("simple", "extended"))
def client(request, proxies):
    with connect(proxies[0], request.param == "simple") as connection:
        yield connection


def connect(proxy, simple=False):
    return psycopg.connect(
        host=proxy.host, port=proxy.port, dbname=DATABASE, user=USER, autocommit=True,
        cursor_factory=psycopg.ClientCursor if simple else psycopg.Cursor)


def ids(cursor):
    return [value for row in cursor.fetchall() for value in row]


def misplaced(servers):
    """Rows that are not on the shard of their key."""
    return sum(server.execute(f"SELECT count(*) FROM {table} WHERE NOT {BUCKET.format(key=key)} "
                              f"BETWEEN {first} AND {last}", dbname=DATABASE)[0][0]
               for server, (first, last) in zip(servers, BUCKETS) for table, key in KEYS.items())


def copies(servers):
    return {str(server.execute("SELECT * FROM kinds ORDER BY 1", dbname=DATABASE)) for server in servers}


def refusal(client, statement):
    with pytest.raises(psycopg.Error) as raised:
        client.execute(statement)
    assert raised.value.diag.message_hint or raised.value.sqlstate != "0A000"
    return raised.value.sqlstate


def all_forms(client):
    """Ids by every form of statement."""
    given = []
    cursor = client.execute("SELECT pgshunt.unique_id()")
    assert cursor.description[0].name == "unique_id" and cursor.description[0].type_code == 20
    given += ids(cursor)
    given += ids(client.execute("SELECT pgshunt.unique_id() AS a, pgshunt.unique_id() b"))
    given += ids(client.execute("INSERT INTO things (id, note, other) VALUES "
                                "(pgshunt.unique_id(), %s, pgshunt.unique_id()) RETURNING id, other", ("one",)))
    given += ids(client.execute(
        "INSERT INTO things (note, id) VALUES (%s, pgshunt.unique_id()), (%s, pgshunt.unique_id()), "
        "(%s, pgshunt.unique_id()), (upper(%s), pgshunt.unique_id()) RETURNING id", ("a", "b", "c", "d")))
    key = given[-1]
    given += ids(client.execute("INSERT INTO parts VALUES (%s, pgshunt.unique_id()), "
                                "(%s, pgshunt.unique_id()) RETURNING id", (key, key)))
    given += ids(client.execute("INSERT INTO parts (note, thing) VALUES ('p', %s) RETURNING id", (key,)))
    given += ids(client.execute("UPDATE things SET other = pgshunt.unique_id() WHERE id = %s RETURNING other",
                                (key,)))
    given += ids(client.execute("INSERT INTO orders (note) VALUES (%s) RETURNING id", ("o",)))
    given += ids(client.execute("INSERT INTO orders VALUES (DEFAULT, %s), (DEFAULT, %s), (DEFAULT, %s) "
                                "RETURNING id", ("o", "p", "q")))
    given += ids(client.execute("INSERT INTO orders DEFAULT VALUES RETURNING id"))
    given += ids(client.execute("INSERT INTO kinds (note) VALUES ('k'), ('l') RETURNING id"))
    given += ids(client.execute("INSERT INTO kinds VALUES (pgshunt.unique_id(), %s) RETURNING id", ("k",)))
    return given


PER_ROUND = 1 + 2 + 2 + 4 + 2 + 1 + 1 + 1 + 3 + 1 + 2 + 1


@pytest.mark.smoke
def test_every_form_of_statement_gives_other_ids(client, servers):
    given = []
    for _ in range(20):
        given += all_forms(client)
    assert len(set(given)) == len(given) == 20 * PER_ROUND
    assert min(given) > 0
    assert misplaced(servers) == 0
    # A copy of a reference table is the same everywhere.
    assert len(copies(servers)) == 1
    assert len(client.execute("SELECT id FROM things WHERE id = ANY(%s)", (given,)).fetchall()) == 20 * 5


def test_ids_grow(client):
    """From statement to statement, but for those that had their ids a minute before."""
    seconds = [client.execute("SELECT pgshunt.unique_id() >> 32").fetchone()[0]]
    for statement in ("INSERT INTO orders (note) VALUES ('x') RETURNING id >> 32",
                      "SELECT pgshunt.unique_id() >> 32"):
        seconds += ids(client.execute(statement))
    assert max(seconds) - min(seconds) <= 61
    now = client.execute("SELECT extract(epoch FROM now())::bigint - 1735689600").fetchone()[0]
    assert abs(now - seconds[-1]) <= 2


def test_many_rows_in_one_statement(client, servers):
    rows = ", ".join(["(pgshunt.unique_id(), pgshunt.unique_id())"] * 3000)
    given = ids(client.execute(f"INSERT INTO things (id, other) VALUES {rows} RETURNING id, other"))
    assert len(set(given)) == 6000
    assert misplaced(servers) == 0


def test_rows_on_all_shards_get_one_each(client):
    client.execute("INSERT INTO orders (note) VALUES " + ", ".join(["('many')"] * 50))
    client.execute("INSERT INTO parts (thing) SELECT id FROM orders WHERE note = 'many'")
    given = ids(client.execute("SELECT id FROM parts"))
    assert len(set(given)) == len(given) >= 50
    client.execute("UPDATE things SET other = pgshunt.unique_id()")
    given = ids(client.execute("SELECT other FROM things"))
    assert len(set(given)) == len(given)
    client.execute("UPDATE parts SET id = DEFAULT")
    given = ids(client.execute("SELECT id FROM parts"))
    assert len(set(given)) == len(given)


def test_copy_without_the_column(client):
    before = len(client.execute("SELECT id FROM parts").fetchall())
    with client.cursor().copy("COPY parts (thing) FROM STDIN") as copy:
        for key in range(1, 301):
            copy.write_row((key,))
    given = ids(client.execute("SELECT id FROM parts"))
    assert len(set(given)) == len(given) == before + 300


COPY_ROWS = 20000


def binary(rows):
    return (b"PGCOPY\n\377\r\n\0" + bytes(8)
            + b"".join(struct.pack("!hi", 1, len(row)) + row.encode() for row in rows) + b"\377\377")


@pytest.mark.parametrize("options, stream", (
    ("", lambda rows: "".join(f"{row}\n" for row in rows)),
    ("(FORMAT csv, HEADER MATCH, DELIMITER ';')", lambda rows: "note\r\n" + "".join(f'"{row}"\r\n' for row in rows)),
    ("(FORMAT csv, HEADER)", lambda rows: "this and that\n" + "\n".join(rows)),
    ("(FORMAT binary)", binary),
), ids=("text", "csv-match", "csv", "binary"))
@pytest.mark.parametrize("table", ("orders", "kinds"))
def test_copy_without_the_key(client, servers, table, options, stream):
    """The proxy makes the key of each row, and what all copies of a reference table have."""
    client.execute(f"DELETE FROM {table}")
    rows = [f"copied {number}" for number in range(COPY_ROWS)]
    data = stream(rows)
    with client.cursor() as cursor:
        with cursor.copy(f"COPY /* ( */ public.{table} (note) FROM STDIN {options}") as copy:
            for at in range(0, len(data), 5000):
                copy.write(data[at:at + 5000])
        assert cursor.statusmessage == f"COPY {COPY_ROWS}"
    stored = client.execute(f"SELECT id, note FROM {table}").fetchall()
    assert sorted(note for _, note in stored) == sorted(rows)
    given = [key for key, _ in stored]
    assert len(set(given)) == COPY_ROWS and min(given) > 0
    assert misplaced(servers) == 0 and len(copies(servers)) == 1
    # The numbers grow with the rows.
    in_order = [note for _, note in sorted(stored)]
    assert in_order == rows
    client.execute(f"DELETE FROM {table}")


def test_copy_row_by_row_in_messages_and_transactions(proxies, servers):
    with connect(proxies[0]) as client:
        client.execute("DELETE FROM orders")
        with client.transaction():
            for _ in range(3):
                with client.cursor().copy("COPY orders (note) FROM STDIN") as copy:
                    for number in range(700):
                        client.pgconn.put_copy_data(b"row %d\n" % number)
            client.execute("INSERT INTO orders (note) VALUES ('row')")
        with client.transaction(force_rollback=True):
            with client.cursor().copy("COPY orders (note) FROM STDIN") as copy:
                copy.write("gone\n")
        with client.cursor().copy("COPY orders (note) FROM STDIN"):
            pass
        given = ids(client.execute("SELECT id FROM orders"))
        assert len(set(given)) == len(given) == 2101
        client.execute("DELETE FROM orders")
    assert misplaced(servers) == 0


@pytest.mark.parametrize("data, line, message", (
    ("one\ntwo\tmore\nthree\n", "line 2: \"two\tmore\"", "extra data after last expected column"),
    ("one\ntwo\xff\n", None, "invalid byte sequence"),
))
def test_what_is_wrong_with_a_copied_row_is_told_as_ever(client, data, line, message):
    with pytest.raises(psycopg.Error) as raised, client.cursor().copy("COPY orders (note) FROM STDIN") as copy:
        copy.write(data.encode("latin-1"))
    assert message in raised.value.diag.message_primary
    if line:
        assert raised.value.diag.context == f"COPY orders, {line}"
    with pytest.raises(psycopg.errors.BadCopyFileFormat) as raised:
        with client.cursor().copy("COPY orders (note, id) FROM STDIN") as copy:
            copy.write("only\n")
    with pytest.raises(psycopg.Error) as raised:
        with client.cursor().copy("COPY orders (nothing) FROM STDIN") as copy:
            copy.write("one\n")
    assert raised.value.sqlstate == "42703"


def test_rows_written_past_the_proxy(servers, client):
    """By psql on a shard: the default works there too."""
    given = ids(client.execute("SELECT id FROM parts")) + ids(client.execute("SELECT id FROM orders"))
    for server in servers:
        given += [row[0] for row in server.execute(
            "INSERT INTO parts (thing) SELECT generate_series(1000, 1100) RETURNING id", dbname=DATABASE)]
        # ... where it would belong to some shard, but nobody asks here.
        given += [row[0] for row in server.execute("SELECT pgshunt.unique_id() FROM generate_series(1, 100)",
                                                   dbname=DATABASE)]
        server.execute("DELETE FROM parts WHERE thing >= 1000", dbname=DATABASE)
    given += all_forms(client)
    assert len(set(given)) == len(given)


@pytest.mark.parametrize("prepare", (True, False))
def test_a_prepared_statement_is_given_new_ids_each_time(proxies, prepare):
    with connect(proxies[0]) as client:
        given = []
        for number in range(1500):
            given += ids(client.execute(
                "INSERT INTO things (note, id) VALUES (%s, pgshunt.unique_id()) RETURNING id",
                (str(number),), prepare=prepare))
            given += ids(client.execute("INSERT INTO orders (note) VALUES (%s) RETURNING id",
                                        (str(number),), prepare=prepare, binary=True))
        assert len(set(given)) == 3000


def test_the_client_does_not_see_the_parameters_of_ids(proxies):
    with connect(proxies[0]) as client:
        for name in (b"named", b""):
            client.pgconn.prepare(
                name, b"INSERT INTO things (note, id) VALUES ($1, pgshunt.unique_id()) RETURNING id", None)
            described = client.pgconn.describe_prepared(name)
            assert [described.param_type(each) for each in range(described.nparams)] == [25]
            assert described.fname(0) == b"id"
            given = [client.pgconn.exec_prepared(name, [b"x"], [1], 1).get_value(0, 0) for _ in range(3)]
            assert len(set(given)) == 3 and all(len(each) == 8 for each in given)
            assert b"requires 1" in client.pgconn.exec_prepared(name, [b"x", b"1"]).error_message
        # The text that servers get, as a client's own: its parameter is the client's.
        text = b"INSERT INTO things (note, id) VALUES ($1, ($2::pg_catalog.int8)) RETURNING id"
        client.pgconn.prepare(b"other", text, None)
        assert client.pgconn.describe_prepared(b"other").nparams == 2
        assert client.pgconn.exec_prepared(b"other", [b"x", b"-5"]).get_value(0, 0) == b"-5"


def test_in_pipelines_scripts_and_transactions(proxies, servers):
    with connect(proxies[0]) as client:
        with client.pipeline():
            cursors = []
            for _ in range(50):
                cursors.append(client.execute("INSERT INTO things (id, note) VALUES (pgshunt.unique_id(), %s) "
                                              "RETURNING id", ("p",)))
                cursors.append(client.execute("INSERT INTO orders (note) VALUES (%s), (%s) RETURNING id", ("p", "q")))
                cursors.append(client.execute("SELECT pgshunt.unique_id()"))
                cursors.append(client.execute("INSERT INTO kinds (note) VALUES (%s) RETURNING id", ("p",)))
        given = [each for cursor in cursors for each in ids(cursor)]
        with client.transaction(force_rollback=True):
            given += all_forms(client)
        with client.transaction():
            given += all_forms(client)
        cursor = client.execute(
            "BEGIN; INSERT INTO things (id) VALUES (pgshunt.unique_id()) RETURNING id; "
            "INSERT INTO orders DEFAULT VALUES RETURNING id; COMMIT; SELECT pgshunt.unique_id(); "
            "INSERT INTO orders DEFAULT VALUES RETURNING id")
        while True:
            if cursor.description:
                given += ids(cursor)
            if not cursor.nextset():
                break
        assert len(set(given)) == len(given) == 50 * 5 + 2 * PER_ROUND + 4
    assert misplaced(servers) == 0 and len(copies(servers)) == 1


def test_a_default_that_comes_and_goes(proxies, servers):
    """Statements prepared before are made anew."""
    with connect(proxies[0]) as client:
        insert = b"INSERT INTO unique_id (id) VALUES ($1) RETURNING unique_id"
        client.execute("ALTER TABLE unique_id ALTER unique_id SET DEFAULT pgshunt.unique_id()")
        client.pgconn.prepare(b"insert", insert, None)
        first = client.pgconn.exec_prepared(b"insert", [b"1"])
        client.execute("ALTER TABLE unique_id ALTER unique_id DROP DEFAULT")
        assert b"null value" in client.pgconn.exec_prepared(b"insert", [b"2"]).error_message
        client.execute("ALTER TABLE unique_id ALTER unique_id SET DEFAULT pgshunt.unique_id()")
        again = client.pgconn.exec_prepared(b"insert", [b"3"])
        assert first.ntuples == again.ntuples == 1
        assert first.get_value(0, 0) != again.get_value(0, 0)
        client.execute("ALTER TABLE unique_id ALTER unique_id DROP DEFAULT")
    assert misplaced(servers) == 0


def test_other_things_of_that_name(client):
    client.execute("INSERT INTO unique_id (unique_id, id) VALUES (%s, 1) ON CONFLICT DO NOTHING", (7,))
    assert client.execute("SELECT unique_id FROM unique_id WHERE unique_id = %s", (7,)).fetchone() == (7,)
    assert client.execute("SELECT 'pgshunt.unique_id()'").fetchone() == ("pgshunt.unique_id()",)


def test_refused_where_the_key_or_the_copies_would_be_unknown(client, servers):
    for statement in ("UPDATE kinds SET id = pgshunt.unique_id()",
                      "INSERT INTO things (id) VALUES (pgshunt.unique_id() + 1)",
                      "COPY orders (note) FROM STDIN (NULL '1')",
                      "/* pgshunt: shard=%s */ COPY orders (note) FROM STDIN" % servers[0].name,
                      "ALTER TABLE kinds ADD more bigint DEFAULT pgshunt.unique_id()"):
        assert refusal(client, statement) == "0A000"
    # The connection goes on.
    assert client.execute("SELECT pgshunt.unique_id() > 0 AS good").fetchone() == (True,)
    with client.transaction(force_rollback=True):
        assert refusal(client, "UPDATE kinds SET id = pgshunt.unique_id()") == "0A000"
        assert refusal(client, "INSERT INTO orders DEFAULT VALUES") == "25P02"


def test_explained_inserts_take_no_ids(client, proxies, servers):
    def plan(statement):
        return [row[0] for row in client.execute(statement).fetchall()]

    def last_values():
        return [server.execute("SELECT last_value FROM pgshunt.unique_ids", dbname=DATABASE) for server in servers]

    client.execute("DELETE FROM orders")
    for table in ("orders", "kinds"):
        insert = f"INSERT INTO {table} (note) VALUES ('a'), ('b'), ('c')"
        before = last_values()
        for _ in range(2000):
            lines = plan(f"EXPLAIN (VERBOSE, COSTS off) {insert}")
        assert lines[0] == f"Insert on public.{table}" and len(lines) > 1
        with connect(proxies[0], simple=True) as simple:
            for _ in range(2000):
                lines = [row[0] for row in simple.execute(f"EXPLAIN (PGSHUNT) {insert}")]
        assert any(f"INSERT INTO {table}" in line and "made 3" in line for line in lines)
        assert last_values() == before
        assert client.execute(f"SELECT id FROM {table} WHERE note = 'a'").fetchall() == []
        with connect(proxies[0], simple=True) as simple:
            for options in ("PGSHUNT, ANALYZE", "PGSHUNT, ANALYZE, FORMAT JSON"):
                simple.execute(f"EXPLAIN ({options}) {insert}")
            simple.execute(f"SELECT 1; EXPLAIN (PGSHUNT, ANALYZE) {insert}")
        plan(f"EXPLAIN ANALYZE INSERT INTO {table} (note) VALUES ('a')") if table == "orders" else None
        assert misplaced(servers) == 0 and len(copies(servers)) == 1
        count = len(client.execute(f"SELECT id FROM {table} WHERE note = 'a'").fetchall())
        assert count == (4 if table == "orders" else 3)
        client.execute(f"DELETE FROM {table}")


def test_a_hinted_call_has_the_function_installed(make_postgres, make_proxy):
    servers = [make_postgres(f"hinted{number}") for number in range(2)]
    made_values.create(servers, DATABASE, USER)
    proxy = make_proxy(configuration(servers, buckets=None))
    with connect(proxy, simple=True) as client:
        hint = f"/* pgshunt: shard={servers[1].name} */"
        assert client.execute(f"{hint} SELECT pgshunt.unique_id()").fetchone()[0] > 0
    with connect(proxy) as client:
        client.execute(f"{hint} CREATE TABLE t (id bigint DEFAULT pgshunt.unique_id())")
        assert client.execute(f"{hint} SELECT pgshunt.unique_id()").fetchone()[0] > 0


def test_asyncpg(proxies, servers):
    async def take():
        connection = await asyncpg.connect(host=proxies[0].host, port=proxies[0].port, user=USER,
                                           database=DATABASE, ssl=False)
        given = []
        prepared = await connection.prepare("INSERT INTO things (note, id) VALUES ($1, pgshunt.unique_id()) "
                                            "RETURNING id")
        assert [each.name for each in prepared.get_parameters()] == ["text"]
        for number in range(30):
            given.append(await prepared.fetchval(str(number)))
            given.append(await connection.fetchval("INSERT INTO orders (note) VALUES ($1) RETURNING id", "a"))
            given.append(await connection.fetchval("INSERT INTO kinds (note) VALUES ($1) RETURNING id", "a"))
            given.append(await connection.fetchval("SELECT pgshunt.unique_id()"))
        await connection.executemany("INSERT INTO orders (note) VALUES ($1)", [("many",)] * 100)
        async with connection.transaction():
            given.append(await prepared.fetchval("in a transaction"))
        await connection.close()
        return given

    given = asyncio.run(take())
    assert len(set(given)) == len(given) == 121
    assert misplaced(servers) == 0


@pytest.mark.parametrize("hinted_first", [False, True])
def test_a_hint_does_not_place_them(proxies, servers, hinted_first):
    """One statement, prepared with a hint and without: where the row goes only its key says."""
    insert = f"INSERT INTO things (id, note) VALUES (pgshunt.unique_id(), %s) RETURNING id -- {hinted_first}"
    with connect(proxies[0]) as client:
        for turn in range(4):
            if (turn % 2 == 0) == hinted_first:
                client.execute(f"SET pgshunt.shard = '{servers[1].name}'")
                with pytest.raises(psycopg.errors.FeatureNotSupported, match="hinted shard"):
                    client.execute(insert, ["x"], prepare=True)
                continue
            client.execute("RESET pgshunt.shard")
            (given,), = client.execute(insert, ["x"], prepare=True).fetchall()
            assert client.execute("SELECT note FROM things WHERE id = %s", [given]).fetchall() == [("x",)]
            assert misplaced(servers) == 0


def test_explain_makes_none(client, servers, request):
    insert = "INSERT INTO orders (note) VALUES (%s)"
    before = client.execute("SELECT id FROM orders").fetchall()
    lines = [line for (line,) in client.execute(f"EXPLAIN (PGSHUNT) {insert}", ["a"])]
    assert lines[0] == "Route: as the values that the proxy makes decide"
    assert sorted(client.execute("SELECT id FROM orders").fetchall()) == sorted(before)
    # Without a value of its own the row would be on any shard: it runs with one, or not at all.
    runs = request.node.callspec.id == "simple"
    if runs:
        client.execute(f"EXPLAIN (PGSHUNT, ANALYZE) {insert}", ["a"])
    else:
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="values that the proxy makes"):
            client.execute(f"EXPLAIN (PGSHUNT, ANALYZE) {insert}", ["a"])
    assert len(client.execute("SELECT id FROM orders").fetchall()) == len(before) + runs and misplaced(servers) == 0


def test_jdbc(proxies, run, servers):
    folder = run.subfolder("java-ids")
    done = subprocess.run(["javac", "-cp", "/usr/share/java/postgresql.jar", "-d", folder,
                           PROGRAMS / "UniqueIds.java"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{folder}:/usr/share/java/postgresql.jar", "UniqueIds",
         f"jdbc:postgresql://{proxies[0].host}:{proxies[0].port}/{DATABASE}", USER, USER],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    given = done.stdout.split()
    assert len(set(given)) == len(given) == 101
    assert misplaced(servers) == 0


class Taker(threading.Thread):
    """Takes ids until it is told to stop, over whatever happens to its proxy."""

    def __init__(self, proxy, number):
        super().__init__()
        self.proxy = proxy
        self.number = number
        self.given = []
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            try:
                with connect(self.proxy, self.number % 2 == 0) as client:
                    while not self.stopping.is_set():
                        self.given += all_forms(client)
            except psycopg.OperationalError:
                continue


def test_two_proxies_one_of_them_killed(make_proxy, proxies, servers):
    both = [make_proxy(configuration(servers), name=name) for name in ("killed", "other")]
    takers = [Taker(proxy, number) for proxy in both for number in range(3)]
    for taker in takers:
        taker.start()
    try:
        for _ in range(3):
            before = [len(taker.given) for taker in takers]
            wait_until(lambda before=before: all(
                len(taker.given) >= count + 200 for taker, count in zip(takers, before)), timeout=120)
            both[0].kill()
            both[0].start()
    finally:
        for taker in takers:
            taker.stopping.set()
        for taker in takers:
            taker.join()
    given = [each for taker in takers for each in taker.given]
    assert len(given) > 6 * 600 and len(set(given)) == len(given)
    assert misplaced(servers) == 0 and len(copies(servers)) == 1


def test_shards_are_killed_and_copied(make_postgres, make_proxy):
    """A shard that falls back, or is another's copy, gives no id again."""
    servers = [make_postgres(f"ids{number}") for number in range(3)]
    made_values.create(servers, DATABASE, USER)
    proxy = make_proxy(configuration(servers, buckets=None))
    with connect(proxy) as client:
        for table in TABLES:
            client.execute(table)
    given = []
    for round_ in range(3):
        with connect(proxy) as client:
            given += ids(client.execute("SELECT pgshunt.unique_id() FROM generate_series(1, 1500)"))
            given += ids(client.execute(
                "INSERT INTO orders VALUES " + ", ".join(["(DEFAULT, 'x')"] * 1500) + " RETURNING id"))
        for server in servers[:2]:
            server.kill()
            server.start()
        if round_ == 1:
            # As if the third were made from a copy of the first.
            (slot,) = servers[0].execute("SELECT pgshunt.shard_slot()", dbname=DATABASE)[0]
            servers[2].execute("CREATE OR REPLACE FUNCTION pgshunt.shard_slot() RETURNS bigint "
                               f"LANGUAGE sql IMMUTABLE AS 'SELECT {slot}::bigint'", dbname=DATABASE)
            proxy.kill()
            proxy.start()
    assert len(set(given)) == len(given) == 9000
    slots = [server.execute("SELECT pgshunt.shard_slot()", dbname=DATABASE)[0][0] for server in servers]
    assert len(set(slots)) == 3


def test_without_the_right_to_install_it_says_what_to_do(make_postgres, make_proxy):
    servers = [make_postgres(f"bare{number}") for number in range(2)]
    made_values.create(servers, DATABASE, USER)
    for server in servers:
        server.execute(f"ALTER DATABASE {DATABASE} OWNER TO postgres")
    proxy = make_proxy(configuration(servers, buckets=None))
    with connect(proxy) as client:
        with pytest.raises(psycopg.Error) as raised:
            client.execute("SELECT pgshunt.unique_id()")
        assert raised.value.sqlstate == "55000"
        assert "--print-schema" in raised.value.diag.message_hint
        assert client.execute("SELECT 1").fetchone() == (1,)
