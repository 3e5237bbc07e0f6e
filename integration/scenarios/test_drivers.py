"""Unmodified drivers, through TLS and SCRAM on both sides, in transaction mode: the same program
works on a plain and on a sharded database. Some drivers only speak so much of the protocol, so each
is asked for what it is good at."""

import asyncio
import datetime
import decimal
import io
import itertools
import ssl
import subprocess
import uuid
from pathlib import Path

import asyncpg
import psycopg
import psycopg.types.json
import psycopg2
import psycopg2.extras
import pytest

from harness import wait_until

PROGRAMS = Path(__file__).parent / "programs"
UTC = datetime.timezone.utc
UNICODE = "Grüße, 世界 \U0001f418 \u0301 it's \"quoted\" \\ %s $1 :x ?"

# Every test has keys of its own: they share the tables.
_keys = itertools.count(1_000_000, 1_000)


@pytest.fixture
def key():
    return next(_keys)


COLUMNS = ("small, medium, amount, ratio, rough, label, short, data, active, born, seen, noted, span, "
           "tag, doc, numbers, words")
ONE_OF_EACH = (
    -32768, 2147483647, decimal.Decimal("-12345678901234567890.0123456789"), 0.1 + 0.2, -1.5, UNICODE,
    "short", bytes(range(256)), True, datetime.date(2024, 2, 29),
    datetime.datetime(1999, 12, 31, 23, 59, 59, 999999),
    datetime.datetime(2038, 1, 19, 3, 14, 7, 1, tzinfo=UTC), datetime.timedelta(days=3, seconds=7),
    uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), {"a": [1, None, "ü"]}, [1, None, -3],
    ["", None, "x y", '"', "NULL"])
NOTHING = (None,) * len(ONE_OF_EACH)


# --- drivers of Python's common interface --------------------------------------------------------


def connect_psycopg2(options):
    connection = psycopg2.connect(**options)
    psycopg2.extras.register_uuid(conn_or_curs=connection)
    return connection


def connect_binary(options):
    class BinaryCursor(psycopg.Cursor):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, **more)
            self.format = psycopg.pq.Format.BINARY
    return psycopg.connect(**options, cursor_factory=BinaryCursor)


DRIVERS = {
    # Parameters become literals here: the simple protocol.
    "psycopg2": connect_psycopg2,
    "psycopg-client": lambda options: psycopg.connect(**options,
                                                      cursor_factory=psycopg.ClientCursor),
    # The extended protocol, with the unnamed statement; prepared after five uses.
    "psycopg": lambda options: psycopg.connect(**options),
    "psycopg-prepared": lambda options: psycopg.connect(**options, prepare_threshold=0),
    "psycopg-binary": connect_binary,
}


@pytest.fixture(params=DRIVERS)
def driver(request):
    return request.param


@pytest.fixture
def connect(applications, database, driver):
    """connect() is a new connection of the driver to the database; they end with the test."""
    made = []

    def make(autocommit=True):
        connection = DRIVERS[driver](applications.options(database))
        connection.autocommit = autocommit
        made.append(connection)
        return connection

    yield make
    for connection in made:
        connection.close()


def run(connection, sql, parameters=None):
    cursor = connection.cursor()
    cursor.execute(sql, parameters)
    return cursor.fetchall() if cursor.description else cursor.rowcount


def state_of(error):
    return error.value.pgcode if isinstance(error.value, psycopg2.Error) else error.value.sqlstate


def json_of(driver, value):
    if value is None:
        return None
    return psycopg2.extras.Json(value) if driver == "psycopg2" else psycopg.types.json.Jsonb(value)


def thing(driver, key, values):
    return [key, *(json_of(driver, value) if isinstance(value, dict) else value for value in values)]


def insert_thing(connection, driver, key, values):
    places = ", ".join(["%s"] * (len(values) + 1))
    return run(connection, f"INSERT INTO things (id, {COLUMNS}) VALUES ({places})",
               thing(driver, key, values))


@pytest.mark.smoke
def test_both_sides_are_encrypted(applications, database):
    """The server says so, and the driver insists on both, with its channel bound to the password."""
    with psycopg.connect(**applications.options(database), channel_binding="require") as connection:
        assert connection.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
                                  ).fetchone() == (True, "TLSv1.3")
        assert connection.pgconn.ssl_in_use
    for refused in ({"sslmode": "disable"}, {"password": "wrong"}, {"user": "nobody"}):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**{**applications.options(database), **refused})


@pytest.mark.parametrize("values", [ONE_OF_EACH, NOTHING], ids=["values", "nulls"])
def test_types_round_trip(connect, driver, key, values):
    connection = connect()
    assert insert_thing(connection, driver, key, values) == 1
    # By the key, and from all shards.
    for where in ("id = %s", "id >= %s AND id <= %s"):
        (row,) = run(connection, f"SELECT {COLUMNS} FROM things WHERE {where}",
                     [key] * where.count("%s"))
        found = [bytes(value) if isinstance(value, memoryview) else value for value in row]
        assert found == list(values)


def test_unicode_as_condition_and_alias(connect, driver, key):
    connection = connect()
    run(connection, "INSERT INTO things (id, label) VALUES (%s, %s)", (key, UNICODE))
    cursor = connection.cursor()
    cursor.execute('SELECT id AS "größe 世界" FROM things WHERE label = %s AND id >= %s AND id < %s',
                   (UNICODE, key, key + 1))
    assert cursor.fetchall() == [(key,)]
    assert cursor.description[0][0] == "größe 世界"


def test_a_transaction_is_seen_when_it_commits(connect, key):
    writer, reader = connect(autocommit=False), connect()
    counted = "SELECT label FROM things WHERE id = %s"
    run(writer, "INSERT INTO things (id, label) VALUES (%s, 'first')", (key,))
    assert run(writer, counted, (key,)) == [("first",)]
    assert run(reader, counted, (key,)) == []
    writer.rollback()
    assert run(writer, counted, (key,)) == []
    writer.rollback()
    run(writer, "INSERT INTO things (id, label) VALUES (%s, 'second')", (key,))
    assert run(writer, "UPDATE things SET label = %s WHERE id = %s", ("third", key)) == 1
    writer.commit()
    assert run(reader, counted, (key,)) == [("third",)]
    assert run(reader, "DELETE FROM things WHERE id = %s RETURNING label", (key,)) == [("third",)]


@pytest.mark.parametrize("wrong, state", [
    ("SELECT 1/0 FROM things WHERE id = {key}", "22012"),
    ("INSERT INTO things (id) VALUES ({key})", "23505"),
    ("SELECT nothing FROM things", "42703"),
    ("SELEC 1", "42601"),
    ("SELECT * FROM no_such_table", "42P01"),
])
def test_an_error_inside_a_transaction(connect, key, wrong, state):
    connection, other = connect(autocommit=False), connect()
    run(connection, "INSERT INTO things (id, label) VALUES (%s, 'kept?')", (key,))
    with pytest.raises((psycopg2.Error, psycopg.Error)) as error:
        run(connection, wrong.format(key=key))
    assert state_of(error) == state
    with pytest.raises((psycopg2.Error, psycopg.Error)) as error:
        run(connection, "SELECT 1")
    assert state_of(error) == "25P02"
    connection.rollback()
    assert run(connection, "SELECT id FROM things WHERE id = %s", (key,)) == []
    run(connection, "INSERT INTO things (id) VALUES (%s)", (key,))
    connection.commit()
    assert run(other, "SELECT id FROM things WHERE id = %s", (key,)) == [(key,)]


def test_savepoints(connect, key):
    connection = connect(autocommit=False)
    run(connection, "INSERT INTO things (id, label) VALUES (%s, 'kept')", (key,))
    run(connection, "SAVEPOINT here")
    with pytest.raises((psycopg2.Error, psycopg.Error)):
        run(connection, "INSERT INTO things (id, label) VALUES (%s, 'twice')", (key,))
    run(connection, "ROLLBACK TO SAVEPOINT here")
    run(connection, "UPDATE things SET medium = 7 WHERE id = %s", (key,))
    run(connection, "RELEASE SAVEPOINT here")
    connection.commit()
    assert run(connection, "SELECT label, medium FROM things WHERE id = %s", (key,)) == [("kept", 7)]


def test_a_thousand_rows(connect):
    connection = connect(autocommit=False)
    cursor = connection.cursor()
    expected = [(n, f"item {n}", decimal.Decimal(n) / 4) for n in range(1, 1001)]
    cursor.execute("SELECT * FROM items ORDER BY id")
    assert cursor.fetchmany(10) + cursor.fetchall() == expected
    cursor.execute("SELECT * FROM items WHERE id > %s", (0,))
    assert sorted(cursor.fetchall()) == expected
    # One at a time: more statements than are prepared on one server, on servers that change.
    for n in range(1, 1001, 9):
        assert run(connection, "SELECT * FROM items WHERE id = %s", (n,)) == [expected[n - 1]]
        connection.commit()


def test_executemany(connect, key):
    """One transaction over many keys, so over many shards."""
    connection = connect(autocommit=False)
    rows = [(key + n, f"row {n}") for n in range(60)]
    connection.cursor().executemany("INSERT INTO things (id, label) VALUES (%s, %s)", rows)
    connection.commit()
    found = "SELECT id, label FROM things WHERE id >= %s AND id < %s ORDER BY id"
    assert run(connection, found, (key, key + 60)) == rows
    connection.cursor().executemany("DELETE FROM things WHERE id = %s", [(row[0],) for row in rows])
    connection.rollback()
    assert run(connection, found, (key, key + 60)) == rows


def test_connecting_again_and_again(connect, key):
    """What one connection leaves behind, the next does not find."""
    for _ in range(8):
        connection = connect()
        assert run(connection, "SHOW application_name") == [("",)]
        run(connection, "SET application_name = 'was here'")
        run(connection, "SET timezone = 'Asia/Tokyo'")
        assert run(connection, "SELECT current_setting('timezone') FROM items WHERE id = 5") == [
            ("Asia/Tokyo",)]
        connection.close()
    connection = connect()
    assert run(connection, "SELECT current_setting('timezone') FROM items WHERE id = 5") == [("UTC",)]


def test_more_clients_than_servers(connect, key):
    connections = [connect() for _ in range(12)]
    for round_ in range(3):
        for n, connection in enumerate(connections):
            if round_ == 0:
                run(connection, "INSERT INTO things (id, medium) VALUES (%s, 0)", (key + n,))
            run(connection, "UPDATE things SET medium = medium + %s WHERE id = %s", (n, key + n))
    found = run(connections[0], "SELECT id, medium FROM things WHERE id >= %s AND id < %s ORDER BY 1",
                (key, key + 12))
    assert found == [(key + n, 3 * n) for n in range(12)]


def test_a_cursor_on_the_server(connect, driver):
    connection = connect(autocommit=False)

    def read(sql):
        cursor = (connection.cursor("mine") if driver == "psycopg2" else
                  psycopg.ServerCursor(connection, "mine"))
        cursor.itersize = 7
        cursor.execute(sql)
        rows = list(cursor)
        cursor.close()
        return rows

    assert read("SELECT id FROM items ORDER BY id") == [(n,) for n in range(1, 1001)]
    assert read("SELECT id, count(*) OVER () FROM items ORDER BY id") == [(n, 1000) for n in range(1, 1001)]
    assert read("SELECT code FROM countries ORDER BY code") == [("DE",), ("FR",), ("IT",), ("JP",)]
    connection.commit()
    assert run(connection, "SELECT id FROM items WHERE id = 5") == [(5,)]


# --- psycopg2's own ---------------------------------------------------------------------------------


@pytest.fixture
def psycopg2_connect(applications, database):
    made = []

    def make(autocommit=False):
        made.append(connect_psycopg2(applications.options(database)))
        made[-1].autocommit = autocommit
        return made[-1]

    yield make
    for connection in made:
        connection.close()


def refused_on_shards(database, connection, action):
    """True where it was refused, in words, and the connection goes on."""
    if database == "plain":
        action()
        return False
    with pytest.raises(psycopg2.Error) as error:
        action()
    # A large object's functions only get the words.
    assert state_of(error) == "0A000" or "not supported" in str(error.value) or \
        "cannot be routed" in str(error.value), error.value
    connection.rollback()
    assert run(connection, "SELECT id FROM items WHERE id = 5") == [(5,)]
    return True


def test_many_rows_in_one_statement(psycopg2_connect, key):
    connection = psycopg2_connect()
    rows = [(key + n, UNICODE) for n in range(250)]
    find = "SELECT id, label FROM things WHERE id >= %s AND id < %s ORDER BY id"
    for insert in (psycopg2.extras.execute_values, psycopg2.extras.execute_batch):
        values = "%s" if insert is psycopg2.extras.execute_values else "(%s, %s)"
        with connection.cursor() as cursor:
            insert(cursor, f"INSERT INTO things (id, label) VALUES {values}", rows)
        assert run(connection, find, (key, key + 250)) == rows
        connection.rollback()
        assert run(connection, find, (key, key + 250)) == []
    # Rows of one key may come together.
    with connection.cursor() as cursor:
        psycopg2.extras.execute_batch(cursor, "UPDATE things SET medium = %s WHERE id = %s",
                                      [(n, key) for n in range(250)])


def test_large_objects(psycopg2_connect, database):
    connection = psycopg2_connect()

    def use():
        large = connection.lobject(0, "wb")
        large.write(bytes(range(256)) * 1000)
        large.close()
        connection.commit()
        large = connection.lobject(large.oid, "rb")
        large.seek(512)
        assert large.read(300) == bytes(range(256)) + bytes(range(44))
        large.close()
        connection.lobject(large.oid).unlink()
        connection.commit()

    refused_on_shards(database, connection, use)


def test_notifications(psycopg2_connect, key):
    listener, notifier = psycopg2_connect(autocommit=True), psycopg2_connect(autocommit=True)
    channel = f"channel_{key}"
    run(listener, f"LISTEN {channel}")
    run(notifier, "SELECT pg_notify(%s, %s)", (channel, UNICODE))
    run(notifier, f"NOTIFY {channel}, 'second'")

    def heard():
        listener.poll()
        return len(listener.notifies) == 2
    wait_until(heard)
    assert [(n.channel, n.payload) for n in listener.notifies] == [(channel, UNICODE),
                                                                   (channel, "second")]
    run(listener, f"UNLISTEN {channel}")


# --- psycopg 3: pipelines, COPY ------------------------------------------------------------------


@pytest.fixture
def psycopg_connect(applications, database):
    made = []

    def make(**options):
        made.append(psycopg.connect(**applications.options(database), **options))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("threshold", [0, None])
def test_a_pipeline(psycopg_connect, key, autocommit, threshold):
    connection = psycopg_connect(prepare_threshold=threshold, autocommit=autocommit)
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("SELECT label FROM items WHERE id = %s", (n,))
                   for n in range(1, 40)]
        pipeline.sync()
        connection.execute("INSERT INTO things (id, label) VALUES (%s, 'piped')", (key,))
        pipeline.sync()
        everything = connection.execute("SELECT id FROM items ORDER BY id LIMIT 30")
        mine = connection.execute("SELECT label FROM things WHERE id = %s", (key,))
    assert [cursor.fetchone()[0] for cursor in cursors] == [f"item {n}" for n in range(1, 40)]
    assert everything.fetchall() == [(n,) for n in range(1, 31)]
    assert mine.fetchall() == [("piped",)]
    connection.rollback()
    left = connection.execute("SELECT count(*) FROM things WHERE id = %s", (key,)).fetchone()
    assert left == (1 if autocommit else 0,)


@pytest.mark.parametrize("transaction", [True, False])
def test_an_error_in_a_pipeline(psycopg_connect, key, transaction):
    connection = psycopg_connect(autocommit=not transaction)
    with pytest.raises(psycopg.errors.DivisionByZero):
        with connection.pipeline():
            connection.execute("INSERT INTO things (id, label) VALUES (%s, 'lost')", (key,))
            connection.execute("SELECT 1 / (id - 1) FROM things WHERE id = %s", (key,))
            connection.execute("SELECT 1 / (small - 1) FROM things WHERE id = %s", (key,))
            connection.execute("SELECT 1 / 0 FROM items WHERE id = %s", (key % 1000 + 1,))
            connection.execute("INSERT INTO things (id, label) VALUES (%s, 'never')", (key,))
    connection.rollback()
    assert connection.execute("SELECT * FROM things WHERE id = %s", (key,)).fetchall() == []
    with connection.pipeline():
        again = connection.execute("SELECT label FROM items WHERE id = 7")
    assert again.fetchone() == ("item 7",)


def test_copy(psycopg_connect, database, key):
    connection = psycopg_connect()
    rows = [(key + n, f"row\t{n}\n\\{UNICODE}" if n % 3 else None) for n in range(500)]

    def copy_in():
        with connection.cursor().copy("COPY things (id, label) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def copy_out(order=""):
        with connection.cursor().copy(
                f"COPY (SELECT id, label FROM things WHERE id >= {key} AND id < {key + 500} {order}) "
                "TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int8", "text"])
            return list(copy.rows())

    copy_in()
    assert sorted(copy_out()) == rows
    connection.commit()
    assert copy_out("ORDER BY id") == rows
    connection.commit()
    assert connection.execute("SELECT label FROM items WHERE id = 3").fetchone() == ("item 3",)


# --- asyncpg -------------------------------------------------------------------------------------


def with_asyncpg(applications, database, talk, **more):
    """Runs the coroutine function on a connection of asyncpg's."""
    options = applications.options(database)
    context = ssl.create_default_context(cafile=options["sslrootcert"])

    async def session():
        connection = await asyncpg.connect(
            host=options["host"], port=options["port"], user=options["user"],
            password=options["password"], database=database, ssl=context, **more)
        try:
            await talk(connection)
        finally:
            await connection.close()
    asyncio.run(session())


ASYNCPG_COLUMNS = COLUMNS.replace(", doc", "")


@pytest.mark.parametrize("cache", [100, 0], ids=["cached", "uncached"])
def test_asyncpg_round_trip(applications, database, key, cache):
    """All values in binary, after questions to the catalog about their types."""
    columns = ASYNCPG_COLUMNS.split(", ")
    of_each = [value for name, value in zip(COLUMNS.split(", "), ONE_OF_EACH) if name != "doc"]

    async def talk(connection):
        places = ", ".join(f"${n + 2}" for n in range(len(columns)))
        insert = f"INSERT INTO things (id, {ASYNCPG_COLUMNS}) VALUES ($1, {places})"
        assert await connection.execute(insert, key, *of_each) == "INSERT 0 1"
        assert await connection.execute(insert, key + 1, *[None] * len(columns)) == "INSERT 0 1"
        for where in ("id = $1", "id >= $1 AND id <= $1"):
            select = f"SELECT {ASYNCPG_COLUMNS} FROM things WHERE {where}"
            for _ in range(3):
                assert list(await connection.fetchrow(select, key)) == of_each
                assert list(await connection.fetchrow(select, key + 1)) == [None] * len(columns)
            prepared = await connection.prepare(select)
            assert [list(row) for row in await prepared.fetch(key)] == [of_each]
            assert [attribute.name for attribute in prepared.get_attributes()] == columns
    with_asyncpg(applications, database, talk, statement_cache_size=cache)


def test_asyncpg_transactions(applications, database, key):
    async def talk(connection):
        find = "SELECT label FROM things WHERE id = $1"
        async with connection.transaction():
            await connection.execute("INSERT INTO things (id, label) VALUES ($1, 'kept')", key)
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.transaction():  # a savepoint
                    await connection.execute("INSERT INTO things (id) VALUES ($1)", key)
            assert await connection.fetchval(find, key) == "kept"
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with connection.transaction(isolation="repeatable_read"):
                await connection.execute("UPDATE things SET label = 'lost' WHERE id = $1", key)
                await connection.execute("SELECT 1 / 0")
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            async with connection.transaction():
                with pytest.raises(asyncpg.UndefinedColumnError):
                    await connection.fetch("SELECT nothing FROM things WHERE id = $1", key)
                await connection.fetch(find, key)
        assert await connection.fetchval(find, key) == "kept"
    with_asyncpg(applications, database, talk)


def test_asyncpg_many_rows(applications, database, key):
    rows = [(key + n, f"row {n}") for n in range(200)]

    async def talk(connection):
        found = await connection.fetch("SELECT * FROM items ORDER BY id")
        assert [row["label"] for row in found] == [f"item {n}" for n in range(1, 1001)]
        async with connection.transaction():
            await connection.executemany("INSERT INTO things (id, label) VALUES ($1, $2)", rows)
        mine = "SELECT id, label FROM things WHERE id >= $1 AND id < $2 ORDER BY id"
        assert [tuple(row) for row in await connection.fetch(mine, key, key + 200)] == rows
        await connection.executemany("DELETE FROM things WHERE id = $1", [(row[0],) for row in rows])
        assert await connection.fetch(mine, key, key + 200) == []
    with_asyncpg(applications, database, talk)


def test_asyncpg_first_rows(applications, database, key):
    """fetchrow() and fetchval() ask for one row, whatever there is."""
    async def talk(connection):
        async def check():
            found = await connection.fetchrow("SELECT * FROM items ORDER BY id DESC OFFSET $1", 3)
            assert tuple(found) == (997, "item 997", decimal.Decimal("249.25"))
            assert await connection.fetchval("SELECT label FROM items ORDER BY id LIMIT 5") == "item 1"
            assert await connection.fetchval("SELECT id FROM items WHERE label = $1", "no") is None
            assert await connection.fetchval("SELECT label FROM items WHERE label = $1", "item 8"
                                             ) == "item 8"
        await check()
        with pytest.raises(KeyError):
            async with connection.transaction():
                await check()
                cursor = await connection.cursor("SELECT id FROM items ORDER BY id")
                assert [row["id"] for row in await cursor.fetch(3)] == [1, 2, 3]
                assert [row["id"] for row in await cursor.fetch(2)] == [4, 5]
                raise KeyError
        await check()
    with_asyncpg(applications, database, talk)


def test_asyncpg_cursors_and_copy(applications, database, key):
    async def talk(connection):
        await connection.execute("INSERT INTO things (id, numbers) VALUES ($1, $2)", key,
                                 list(range(100)))
        async with connection.transaction():
            found = []
            async for row in connection.cursor("SELECT unnest(numbers) FROM things WHERE id = $1", key,
                                               prefetch=7):
                found.append(row[0])
                # Between the portions, a statement on another shard.
                await connection.fetchval("SELECT label FROM items WHERE id = $1", row[0] + 1)
            assert found == list(range(100))
        data = io.BytesIO()
        await connection.copy_from_query("SELECT * FROM items WHERE id < 4 ORDER BY id", output=data, format="csv")
        assert data.getvalue() == b"1,item 1,0.25\n2,item 2,0.50\n3,item 3,0.75\n"
        await connection.copy_records_to_table("things", records=[(key + 1, "copied")],
                                               columns=["id", "label"])
        label = await connection.fetchval("SELECT label FROM things WHERE id = $1", key + 1)
        assert label == "copied"
    with_asyncpg(applications, database, talk)


def test_asyncpg_listener(applications, database, key):
    async def talk(connection):
        heard = asyncio.Queue()
        await connection.add_listener(f"channel_{key}", lambda *what: heard.put_nowait(what[2:]))
        async with connection.transaction():
            await connection.execute(f"NOTIFY channel_{key}, 'one'")
        assert await asyncio.wait_for(heard.get(), 20) == (f"channel_{key}", "one")
        await connection.reset()
    with_asyncpg(applications, database, talk)


def test_asyncpg_pool(applications, database, key):
    """A pool resets its connections when they come back: UNLISTEN, RESET ALL, close cursors."""
    options = applications.options(database)
    context = ssl.create_default_context(cafile=options["sslrootcert"])

    async def talk():
        async with asyncpg.create_pool(
                host=options["host"], port=options["port"], user=options["user"],
                password=options["password"], database=database, ssl=context, min_size=2,
                max_size=10) as pool:
            await pool.executemany("INSERT INTO things (id, medium) VALUES ($1, 0)",
                                   [(key + n,) for n in range(20)])

            async def work(n):
                for _ in range(5):
                    async with pool.acquire() as connection:
                        await connection.execute("SET timezone = 'Asia/Tokyo'")
                        await connection.execute(
                            "UPDATE things SET medium = medium + 1 WHERE id = $1", key + n)
                    async with pool.acquire() as connection:
                        assert await connection.fetchval("SHOW timezone") == "UTC"
            await asyncio.gather(*(work(n) for n in range(20)))
            found = await pool.fetch("SELECT medium FROM things WHERE id >= $1 AND id < $2", key,
                                     key + 20)
            assert [row["medium"] for row in found] == [5] * 20
    asyncio.run(talk())


# --- other languages -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def java(run):
    """The folder of the compiled program."""
    folder = run.subfolder("java")
    done = subprocess.run(["javac", "-d", folder, PROGRAMS / "Jdbc.java"], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return folder


def parts_that_worked(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix("ok ") for line in done.stdout.splitlines()]


def test_jdbc(applications, database, java, key):
    options = applications.options(database)
    url = (f"jdbc:postgresql://{options['host']}:{options['port']}/{database}"
           f"?sslmode=verify-full&sslrootcert={options['sslrootcert']}")
    worked = parts_that_worked([
        "java", "-XX:TieredStopAtLevel=1", "-cp", f"{java}:/usr/share/java/postgresql.jar", "Jdbc", url,
        options["user"], options["password"], key])
    assert worked == ["types extended", "transactions", "batches extended", "generated keys",
                      "portions", "metadata", "types simple", "batches simple", "types binary",
                      "autosave", "rewritten", "again and again"]


def test_perl(applications, database, key):
    options = applications.options(database)
    source = (f"dbi:Pg:host={options['host']};port={options['port']};dbname={database};"
              f"sslmode=verify-full;sslrootcert={options['sslrootcert']}")
    worked = parts_that_worked(["perl", PROGRAMS / "dbi.pl", source, options["user"],
                                options["password"], key])
    assert worked == ["types 0", "transactions 0", "rows 0", "types 1", "transactions 1", "rows 1",
                      "again and again"]
