"""Keyspaces whose keys a directory knows, one by one: rows are on the shard it says, new keys get one when
they are first stored, and it outlives the proxy."""

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest

from harness import wait_until
from harness.proxy import binary

USER, DATABASE = "kept", "kept"
SHARDS = ("s1", "s2", "s3")
TABLES = """
CREATE TABLE rooms (id bigint PRIMARY KEY, name text);
CREATE TABLE messages (room bigint, id bigint, body text);
CREATE TABLE names (k text COLLATE "C" PRIMARY KEY, v int);
"""


def configuration(servers, *, general=None, rooms=None, **database):
    return {
        "pgshunt": {"auth_type": "trust", "workers": 2, "admin_users": [USER], **(general or {})},
        "users": {USER: {"password": USER}},
        "databases": {DATABASE: {
            "directory": "keys",
            "on_cross_shard_write": "one_phase",
            "shards": [{"name": name, "host": server.host, "port": server.port}
                       for name, server in zip(SHARDS, servers)],
            "keyspaces": [
                {"name": "rooms", "strategy": "directory", "type": "bigint", **(rooms or {})},
                {"name": "names", "strategy": "directory", "type": "text", "new_keys": "least_loaded"}],
            "tables": [{"name": "rooms", "keyspace": "rooms", "key": "id"},
                       {"name": "messages", "keyspace": "rooms", "key": "room"},
                       {"name": "names", "keyspace": "names", "key": "k"}],
            **database}},
    }


@pytest.fixture(scope="module")
def databases(shards):
    for server in shards:
        server.create_user(USER, USER)
        server.create_database(DATABASE, USER)
        server.psql(f"SET ROLE {USER};" + TABLES, DATABASE)
    return shards


@pytest.fixture
def servers(databases):
    for server in databases:
        server.psql(f"SET ROLE {USER}; TRUNCATE rooms, messages, names", DATABASE)
    return databases


@pytest.fixture
def proxy(make_proxy, servers):
    return make_proxy(configuration(servers))


def connect(proxy, simple=True, **options):
    return psycopg.connect(
        host=proxy.host, port=proxy.port, dbname=DATABASE, user=USER, autocommit=True,
        cursor_factory=psycopg.ClientCursor if simple else psycopg.Cursor, **options)


@pytest.fixture(params=["simple", "extended"])
def client(request, proxy):
    with connect(proxy, request.param == "simple") as client:
        yield client


def shuntctl(proxy, command, *words, check=True, folder="keys"):
    """Its standard output; or the whole outcome, unless it must succeed."""
    done = subprocess.run(
        [binary().parent / "shuntctl", "directory", command, "--directory", proxy.folder / folder, *words],
        capture_output=True, text=True, timeout=60)
    if not check:
        return done
    assert done.returncode == 0, done.stderr
    return done.stdout


def directory_of(proxy, keyspace="rooms", folder="keys"):
    """Key to shard's number, as text to int."""
    lines = shuntctl(proxy, "export", keyspace, "-", "--format", "ndjson", folder=folder).splitlines()
    return {row["key"]: SHARDS.index(row["shard"]) for row in map(json.loads, lines)}


def rows_by_shard(servers, sql="SELECT id::text FROM rooms"):
    return [sorted(row[0] for row in server.execute(sql, dbname=DATABASE)) for server in servers]


def assert_rows_are_where_the_directory_says(proxy, servers, table="rooms", key="id", keyspace="rooms"):
    known = directory_of(proxy, keyspace)
    held = rows_by_shard(servers, f"SELECT {key}::text FROM {table}")
    for shard, keys in enumerate(held):
        for each in keys:
            assert known[each] == shard, each
    return known, held


def console(proxy, command):
    with psycopg.connect(host=proxy.host, port=proxy.port, dbname="pgshunt", user=USER, autocommit=True,
                         cursor_factory=psycopg.ClientCursor) as connection:
        cursor = connection.execute(command)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def refusal(client, sql, values=None):
    """The error, or None."""
    try:
        client.execute(sql, values)
    except psycopg.Error as error:
        return error
    return None


@pytest.mark.smoke
def test_a_key_is_kept_where_it_was_first_stored(client, proxy, servers):
    assert client.execute("SELECT * FROM rooms WHERE id = %s", (1,)).fetchall() == []
    assert client.execute("UPDATE rooms SET name = 'x' WHERE id = %s", (1,)).rowcount == 0
    for key in range(60):
        client.execute("INSERT INTO rooms (id, name) VALUES (%s, %s)", (key, f"room {key}"))
        client.execute("INSERT INTO messages (room, id) VALUES (%s, %s)", (key, 1))
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert len(known) == 60 and all(len(keys) > 5 for keys in held)
    assert_rows_are_where_the_directory_says(proxy, servers, "messages", "room")
    for key in range(60):
        rows = client.execute("SELECT name, m.id FROM rooms r JOIN messages m ON m.room = r.id WHERE r.id = %s",
                              (key,)).fetchall()
        assert rows == [(f"room {key}", 1)]
    assert client.execute("UPDATE rooms SET name = 'y' WHERE id = %s", (7,)).rowcount == 1
    assert client.execute("DELETE FROM rooms WHERE id = %s", (8,)).rowcount == 1
    assert len(client.execute("SELECT id FROM rooms").fetchall()) == 59


@pytest.mark.smoke
def test_several_keys_in_one_statement(client, proxy, servers):
    client.execute("INSERT INTO rooms (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (1000, 'e'), (5, 'f')")
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert sorted(known) == ["1", "1000", "2", "3", "4", "5"] and sum(map(len, held)) == 6
    rows = client.execute("SELECT id FROM rooms WHERE id IN (1, 2, 1000, 77) ORDER BY id").fetchall()
    assert rows == [(1,), (2,), (1000,)]
    assert client.execute("UPDATE rooms SET name = 'z' WHERE id IN (2, 3, 4, 99)").rowcount == 3
    assert client.execute("DELETE FROM rooms WHERE id = ANY (%s)", ([1, 5, 98],)).rowcount == 2
    assert sorted(known) == sorted(directory_of(proxy))  # nothing was assigned by comparing
    values = [(key, f"n{key}") for key in range(2000, 3000)]
    sql = "INSERT INTO rooms (id, name) VALUES " + ", ".join(["(%s, %s)"] * len(values))
    before = json.loads(shuntctl(proxy, "stats", "--json"))["commits"]
    assert client.execute(sql, [value for row in values for value in row]).rowcount == 1000
    assert_rows_are_where_the_directory_says(proxy, servers)
    assert json.loads(shuntctl(proxy, "stats", "--json"))["commits"] == before + 1


def test_statements_in_one_message(proxy, servers):
    with connect(proxy) as client:
        script = "; ".join(f"INSERT INTO rooms (id) VALUES ({key})" for key in range(50))
        before = json.loads(shuntctl(proxy, "stats", "--json"))["commits"]
        client.execute(script)
        assert json.loads(shuntctl(proxy, "stats", "--json"))["commits"] == before + 1
        client.execute("SELECT id FROM rooms WHERE id = 100; INSERT INTO rooms (id) VALUES (100)")
        cursor = client.execute("INSERT INTO rooms (id) VALUES (101); SELECT id FROM rooms WHERE id = 101")
        assert cursor.nextset() and cursor.fetchall() == [(101,)]
        # The whole message is one transaction; a key without a row stays.
        assert refusal(client, "INSERT INTO rooms (id) VALUES (200); SELECT 1/0").sqlstate == "22012"
        assert client.execute("SELECT id FROM rooms WHERE id = 200").fetchall() == []
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert sum(map(len, held)) == 52 and "200" in known


def test_pipelines_ask_for_their_keys_together(proxy, servers):
    with connect(proxy, simple=False) as client:
        before = json.loads(shuntctl(proxy, "stats", "--json"))["commits"]
        with client.pipeline():
            for key in range(100):
                client.execute("INSERT INTO rooms (id, name) VALUES (%s, 'p')", (key,))
            found = client.execute("SELECT name FROM rooms WHERE id = %s", (99,))
            none = client.execute("SELECT name FROM rooms WHERE id = %s", (777,))
        assert found.fetchall() == [("p",)] and none.fetchall() == []
        assert json.loads(shuntctl(proxy, "stats", "--json"))["commits"] <= before + 3
        with pytest.raises(psycopg.errors.UniqueViolation), client.pipeline():
            client.execute("INSERT INTO rooms (id, name) VALUES (%s, 'p')", (500,))
            client.execute("INSERT INTO rooms (id, name) VALUES (%s, 'p')", (500,))
        assert client.execute("SELECT * FROM rooms WHERE id = 500").fetchall() == []
    _, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert sum(map(len, held)) == 100


def test_prepared_statements(proxy, servers):
    with connect(proxy, simple=False, prepare_threshold=0) as client:
        for key in range(30):
            client.execute("INSERT INTO names (k, v) VALUES (%s, %s)", (f"key {key}", key))
            client.execute("INSERT INTO names (k, v) VALUES (%s, %s), (%s, %s)",
                           (f"left {key}", key, f"right {key}", key))
        for key in range(30):
            assert client.execute("SELECT v FROM names WHERE k = %s", (f"key {key}",)).fetchall() == [(key,)]
            rows = client.execute("SELECT v FROM names WHERE k IN (%s, %s, %s)",
                                  (f"left {key}", f"right {key}", "nobody")).fetchall()
            assert rows == [(key,), (key,)]
    known, _ = assert_rows_are_where_the_directory_says(proxy, servers, "names", "k", "names")
    assert len(known) == 90


def test_transactions(proxy, servers):
    with connect(proxy) as client, connect(proxy) as other:
        client.execute("BEGIN")
        for key in range(20):
            client.execute("INSERT INTO rooms (id) VALUES (%s)", (key,))
        assert other.execute("SELECT id FROM rooms WHERE id = 3").fetchall() == []
        assert len(client.execute("SELECT id FROM rooms WHERE id IN (3, 4, 5, 99)").fetchall()) == 3
        client.execute("ROLLBACK")
        known = directory_of(proxy)
        assert len(known) == 20 and rows_by_shard(servers) == [[], [], []]
        # Whoever stores them next does so where they were meant to be.
        for key in range(20):
            other.execute("INSERT INTO rooms (id) VALUES (%s)", (key,))
    assert assert_rows_are_where_the_directory_says(proxy, servers)[0] == known


@pytest.mark.smoke
def test_it_outlives_the_proxy(proxy, servers):
    with connect(proxy) as client:
        for key in range(40):
            client.execute("INSERT INTO rooms (id) VALUES (%s)", (key,))
    known = directory_of(proxy)
    for end in (proxy.stop, proxy.kill):
        end()
        proxy.start()
        for simple in (True, False):
            with connect(proxy, simple) as client:
                for key in range(40):
                    assert client.execute("SELECT id FROM rooms WHERE id = %s", (key,)).fetchall() == [(key,)]
                assert len(client.execute("SELECT id FROM rooms WHERE id = ANY (%s)",
                                          (list(range(100)),)).fetchall()) == 40
        assert directory_of(proxy) == known


@pytest.mark.parametrize("format", ["text", "csv", "binary"])
def test_copy_gives_shards_to_new_keys(proxy, servers, format):
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id, name) VALUES (5, 'old'), (6, 'old')")
        client.execute("DELETE FROM rooms")
        before = json.loads(shuntctl(proxy, "stats", "--json"))["commits"]
        with client.cursor() as cursor:
            options = "BINARY" if format == "binary" else format.upper()
            with cursor.copy(f"COPY rooms (name, id) FROM STDIN (FORMAT {options})") as copy:
                if format == "csv":
                    for key in range(20000):
                        copy.write(f'"a, {key}",{key}\n')
                else:
                    copy.set_types(["text", "int8"])
                    for key in range(20000):
                        copy.write_row((f"a, {key}", key))
            assert cursor.rowcount == 20000
        # Many keys a commit.
        assert json.loads(shuntctl(proxy, "stats", "--json"))["commits"] < before + 60
        assert client.execute("SELECT name FROM rooms WHERE id = 19999").fetchall() == [("a, 19999",)]
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert len(known) == 20000 and sum(map(len, held)) == 20000


def test_copy_in_rows_of_their_own_messages_and_the_last_without_an_end(proxy, servers):
    with connect(proxy) as client, client.cursor() as cursor:
        with cursor.copy("COPY messages (room, id, body) FROM STDIN (FORMAT csv, HEADER)") as copy:
            copy.write("room,id,body\n")
            for key in range(50):
                copy.write(f"{key % 10},{key},x\n")
            copy.write("99,1,last")
        assert cursor.rowcount == 51
        assert client.execute("SELECT body FROM messages WHERE room = 99").fetchall() == [("last",)]
    assert_rows_are_where_the_directory_says(proxy, servers, "messages", "room")


@pytest.mark.smoke
def test_an_error_of_copy_is_that_of_the_earliest_line(proxy, servers):
    cases = [
        ("1\ta\n2\tb\nx\tc\n4\td\n", "22P02", 'COPY rooms, line 3, column id: "x"'),
        ("1\ta\n2\tb\n1\tc\n4\td\n", "23505", "COPY rooms, line 3"),
        ("1\ta\n2\tb\n\\N\tc\n4\td\n", "23502", "COPY rooms, line 3: \"\\N\tc\""),
        ("1\ta\n2\n", "22P04", "COPY rooms, line 2"),
    ]
    with connect(proxy) as client:
        for rows, sqlstate, context in cases:
            with pytest.raises(psycopg.Error) as caught, client.cursor() as cursor:
                with cursor.copy("COPY rooms (id, name) FROM STDIN") as copy:
                    copy.write(rows)
            assert caught.value.sqlstate == sqlstate, rows
            assert (caught.value.diag.context or "").startswith(context), rows
            assert len(client.execute("SELECT * FROM rooms").fetchall()) == 0
        with pytest.raises(psycopg.errors.QueryCanceled), client.cursor() as cursor:
            with cursor.copy("COPY rooms (id, name) FROM STDIN") as copy:
                copy.write("50\ta\n")
                raise ValueError("the client gives up")
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert rows_by_shard(servers) == [[], [], []]


@pytest.mark.smoke
def test_refusing_new_keys(make_proxy, servers):
    proxy = make_proxy(configuration(servers, rooms={"new_keys": "refuse"}), start=False)
    (proxy.folder / "keys.csv").write_text("key,shard\n1,s1\n2,s2\n3,s3\n")
    shuntctl(proxy, "init", *[word for shard in SHARDS for word in ("--shard", shard)],
             "--keyspace", "rooms:bigint:directory:refuse")
    shuntctl(proxy, "import", "rooms", str(proxy.folder / "keys.csv"))
    proxy.start()
    for simple in (True, False):
        with connect(proxy, simple) as client:
            for key in (1, 2, 3):
                client.execute("INSERT INTO rooms (id) VALUES (%s)", (key,))
            for sql in ("INSERT INTO rooms (id) VALUES (%s)", "INSERT INTO rooms (id) VALUES (1), (%s), (2)"):
                error = refusal(client, sql, (4,))
                assert error.sqlstate == "23514"
                assert str(error).startswith('directory keyspace "rooms" has no such key, and refuses new ones')
            with pytest.raises(psycopg.errors.CheckViolation) as caught, client.cursor() as cursor:
                with cursor.copy("COPY rooms (id, name) FROM STDIN") as copy:
                    copy.write("9\tx\n")
            assert caught.value.diag.context == 'COPY rooms, line 1, column id: "9"'
            assert client.execute("SELECT * FROM rooms WHERE id = %s", (4,)).fetchall() == []
            assert rows_by_shard(servers) == [["1"], ["2"], ["3"]]
            client.execute("DELETE FROM rooms")
    assert sorted(directory_of(proxy)) == ["1", "2", "3"]


def test_imported_keys_are_found(make_proxy, servers):
    proxy = make_proxy(configuration(servers), start=False)
    with open(proxy.folder / "keys.csv", "w") as file:
        for key in range(5000):
            file.write(f"{key},{SHARDS[key % 3]}\n")
    for shard, server in enumerate(servers):
        server.psql(f"INSERT INTO rooms SELECT i, 'there' FROM generate_series({shard}, 4999, 3) i", DATABASE)
    shuntctl(proxy, "init", *[word for shard in reversed(SHARDS) for word in ("--shard", shard)],
             "--keyspace", "rooms:bigint")
    shuntctl(proxy, "import", "rooms", str(proxy.folder / "keys.csv"))
    proxy.start()
    for simple in (True, False):
        with connect(proxy, simple) as client:
            for key in range(0, 5000, 97):
                rows = client.execute("SELECT name FROM rooms WHERE id = %s", (key,)).fetchall()
                assert rows == [("there",)], key
            found = client.execute("SELECT id FROM rooms WHERE id = ANY (%s)", (list(range(4000, 6000)),)).fetchall()
            assert len(found) == 1000
            assert refusal(client, "INSERT INTO rooms (id) VALUES (%s)", (17,)).sqlstate == "23505"
            assert client.execute("UPDATE rooms SET name = 'x' WHERE id = 17").rowcount == 1
            client.execute("UPDATE rooms SET name = 'there' WHERE id = 17")


@pytest.mark.smoke
def test_two_sessions_store_the_same_new_key(proxy, servers):
    clients = [connect(proxy, number % 2 == 0) for number in range(8)]
    failed = []

    def work(client):
        for key in range(150):
            error = refusal(client, "INSERT INTO rooms (id) VALUES (%s) ON CONFLICT (id) DO NOTHING", (key,))
            error = error or refusal(client, "INSERT INTO messages (room, id) VALUES (%s, 0)", (key,))
            if error:
                failed.append(error)
    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.close()
    assert not failed
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert len(known) == 150 and sum(map(len, held)) == 150
    assert_rows_are_where_the_directory_says(proxy, servers, "messages", "room")
    stats = json.loads(shuntctl(proxy, "stats", "--json"))["keyspaces"]["rooms"]["keys"]
    assert sum(stats.values()) == 150
    shuntctl(proxy, "verify")


@pytest.mark.smoke
def test_killed_while_keys_are_assigned(proxy, servers):
    acknowledged = set()

    def work(number):
        try:
            with connect(proxy, number % 2 == 0) as client:
                for step in range(100000):
                    key = number * 1000000 + step
                    if step % 10 == 9:
                        with client.cursor() as cursor, cursor.copy("COPY rooms (id) FROM STDIN") as copy:
                            copy.write("".join(f"{key + 500000 + i * 1000}\n" for i in range(20)))
                    client.execute("INSERT INTO rooms (id) VALUES (%s)", (key,))
                    acknowledged.add(key)
        except psycopg.Error:
            pass
    next_number = 1
    for _ in range(3):
        before = len(acknowledged)
        threads = [threading.Thread(target=work, args=(next_number + n,)) for n in range(4)]
        next_number += 4
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) > before + 100)
        proxy.kill()
        for thread in threads:
            thread.join()
        shuntctl(proxy, "verify")
        proxy.start()
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    there = [int(key) for keys in held for key in keys]
    assert len(there) == len(set(there)) and acknowledged <= set(there)
    with connect(proxy) as client:
        for key in list(acknowledged)[::7]:
            assert client.execute("SELECT id FROM rooms WHERE id = %s", (key,)).fetchall() == [(key,)]


def test_a_backup_while_it_runs(proxy, servers, make_proxy):
    stop = threading.Event()
    stored = []

    def work():
        with connect(proxy) as client:
            while not stop.is_set():
                client.execute("INSERT INTO rooms (id) VALUES (%s)", (len(stored),))
                stored.append(len(stored))
    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: len(stored) > 50)
    sure = len(stored)
    shuntctl(proxy, "backup", str(proxy.folder / "backup"))
    after = len(stored)
    wait_until(lambda: len(stored) > after + 20)
    stop.set()
    thread.join()
    saved = directory_of(proxy, folder="backup")
    assert {str(key) for key in range(sure)} <= set(saved)
    known = directory_of(proxy)
    assert saved.items() <= known.items() and len(known) > len(saved)
    other = make_proxy(configuration(servers, directory=str(proxy.folder / "backup")), name="restored")
    with connect(other) as client:
        assert client.execute("SELECT id FROM rooms WHERE id = 7").fetchall() == [(7,)]
    # Beside a proxy the tool reads; it does not write.
    refused = shuntctl(proxy, "set", "rooms", "1", "s1", check=False)
    assert refused.returncode == 1 and f"is in use by process {proxy.pid} (pgshunt)" in refused.stderr


def test_one_process_has_it(proxy, servers, make_proxy):
    second = make_proxy(configuration(servers, directory=str(proxy.folder / "keys")), name="second", start=False)
    second.start(wait=False)
    assert second.wait() == 1
    assert (f'{second.file}: databases.{DATABASE}.directory: "{proxy.folder}/keys" is in use by process '
            f"{proxy.pid} (pgshunt)") in second.log_text()
    second.force_end()
    # Reading it for a check is no harm.
    subprocess.run([binary(), "--check", second.file], check=True, capture_output=True)


@pytest.mark.smoke
def test_what_the_two_say_must_agree(proxy, servers):
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id) VALUES (1)")
    proxy.stop()

    def problem(config):
        proxy.write_config(config)
        proxy.log.unlink()
        proxy.start(wait=False)
        assert proxy.wait() == 1
        text = proxy.log_text()
        proxy.force_end()
        checked = subprocess.run([binary(), "--check", proxy.file], capture_output=True, text=True)
        assert checked.returncode == 1 and checked.stderr in text
        return text
    where = f"{proxy.file}: databases.{DATABASE}.directory: "
    base = configuration(servers)["databases"][DATABASE]
    other = configuration(servers, rooms={"type": "uuid"})
    assert where + 'keyspace "rooms" has the type uuid in the configuration, bigint in the directory' in problem(other)
    other = configuration(servers, rooms={"new_keys": "refuse"})
    text = problem(other)
    assert 'has the policy for new keys refuse in the configuration, hash in the directory' in text
    assert f"shuntctl directory policy --directory {proxy.folder}/keys rooms refuse" in text
    other = configuration(servers, shards=[{**shard, "name": shard["name"].upper()} for shard in base["shards"]])
    assert 'shard "s1" is in the directory, but not in the configuration' in problem(other)
    shuntctl(proxy, "policy", "rooms", "refuse")
    proxy.write_config(configuration(servers, rooms={"new_keys": "refuse"}))
    proxy.start()
    with connect(proxy) as client:
        assert refusal(client, "INSERT INTO rooms (id) VALUES (2)").sqlstate == "23514"
        assert client.execute("SELECT id FROM rooms WHERE id = 1").fetchall() == [(1,)]


def test_a_shard_is_added(make_proxy, servers):
    config = configuration(servers)
    shards = config["databases"][DATABASE]["shards"]
    config["databases"][DATABASE]["shards"] = shards[:2]
    proxy = make_proxy(config)
    with connect(proxy) as client:
        for key in range(30):
            client.execute("INSERT INTO rooms (id) VALUES (%s)", (key,))
            client.execute("INSERT INTO names (k) VALUES (%s)", (str(key),))
    proxy.stop()
    before = directory_of(proxy)
    proxy.write_config(configuration(servers))
    proxy.start()
    with connect(proxy) as client:
        for key in range(30, 90):
            client.execute("INSERT INTO rooms (id) VALUES (%s)", (key,))
        for key in range(30, 45):
            client.execute("INSERT INTO names (k) VALUES (%s)", (str(key),))
        assert len(client.execute("SELECT id FROM rooms WHERE id = ANY (%s)", (list(range(90)),)).fetchall()) == 90
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert before.items() <= known.items() and len(held[2]) > 5
    # The least loaded one is the new one until it has caught up.
    assert [len(keys) for keys in rows_by_shard(servers, "SELECT k FROM names")] == [15, 15, 15]


def test_reload_adds_a_database(proxy, servers):
    config = configuration(servers)
    config["databases"]["second"] = {**config["databases"][DATABASE], "directory": "second.keys"}
    for shard in config["databases"]["second"]["shards"]:
        shard["dbname"] = DATABASE
    proxy.reload(config)
    proxy.wait_for_log("reloaded")
    with psycopg.connect(host=proxy.host, port=proxy.port, dbname="second", user=USER, autocommit=True) as client:
        client.execute("INSERT INTO rooms (id) VALUES (5)")
        assert client.execute("SELECT id FROM rooms WHERE id = 5").fetchall() == [(5,)]
    assert directory_of(proxy, folder="second.keys").keys() == {"5"} and directory_of(proxy) == {}
    # One that disagrees changes nothing.
    shuntctl(proxy, "init", "--shard", "elsewhere", folder="third.keys")
    config["databases"]["third"] = {**config["databases"]["second"], "directory": "third.keys"}
    proxy.reload(config)
    proxy.wait_for_log('reload_failed.*shard "elsewhere" is in the directory')
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id) VALUES (6)")


def test_explain_assigns_nothing(proxy, servers):
    def explained(client, statement):
        return [row[0] for row in client.execute(f"EXPLAIN (PGSHUNT) {statement}").fetchall()]
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id) VALUES (1)")
        known = directory_of(proxy)
        lines = explained(client, "INSERT INTO rooms (id) VALUES (1), (42), (43)")
        assert lines == [
            "Route: as the directory decides",
            "  Why: it stores keys that are new to the directory, which gives them a shard when it runs",
            "  New key: rooms 42", "  New key: rooms 43"]
        assert explained(client, "SELECT * FROM rooms WHERE id = 42")[0] == "Route: any shard"
        shard = SHARDS[known["1"]]
        assert explained(client, "SELECT * FROM rooms WHERE id = 1")[2].startswith(f"  Shard {shard}:")
        assert directory_of(proxy) == known
        client.execute("INSERT INTO rooms (id) VALUES (42)")
        assert explained(client, "INSERT INTO rooms (id) VALUES (42)")[0] == "Route: one shard"


def test_the_console_counts_keys(proxy, servers):
    with connect(proxy) as client:
        for key in range(7):
            client.execute("INSERT INTO names (k) VALUES (%s)", (str(key),))
        client.execute("DELETE FROM names")
    held = {row["shard"]: row["holds"] for row in console(proxy, "SHOW KEYSPACES") if row["keyspace"] == "names"}
    assert held == {"s1": "3 keys, new ones where there are fewest", "s2": "2 keys, new ones where there are fewest",
                    "s3": "2 keys, new ones where there are fewest"}


def test_a_disk_that_fails(make_proxy, servers):
    """Writes that the disk refuses are errors; what is known is still found."""
    proxy = make_proxy(configuration(servers))
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id) VALUES (1)")
        # The log of RocksDB may grow no more.
        size = max(file.stat().st_size for file in (proxy.folder / "keys").glob("*.log"))
        subprocess.run(["prlimit", "--pid", str(proxy.pid), f"--fsize={size}:unlimited"], check=True)
        error = refusal(client, "INSERT INTO rooms (id) VALUES (2)")
        assert error is not None and error.sqlstate == "58030", error
        with pytest.raises(psycopg.Error) as caught, client.cursor() as cursor:
            with cursor.copy("COPY rooms (id) FROM STDIN") as copy:
                copy.write("3\n4\n")
        assert caught.value.sqlstate == "58030"
        assert client.execute("SELECT id FROM rooms WHERE id = 1").fetchall() == [(1,)]
        client.execute("INSERT INTO messages (room, id) VALUES (1, 1)")
    proxy.kill()
    proxy.start()
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id) VALUES (2)")
    assert_rows_are_where_the_directory_says(proxy, servers)


def test_a_client_that_goes_while_its_keys_are_asked_for(proxy, servers):
    """Stopped right behind its statement, many times: nothing is left behind."""
    for number in range(60):
        client = connect(proxy, number % 2 == 0)
        thread = threading.Thread(target=refusal, args=(client, "INSERT INTO rooms (id) VALUES (%s)", (number,)))
        thread.start()
        with socket.socket(fileno=os.dup(client.pgconn.socket)) as raw:
            raw.shutdown(socket.SHUT_RDWR)
        thread.join()
        client.close()
    wait_until(lambda: not [row for row in console(proxy, "SHOW CLIENTS") if row["database"] == DATABASE])
    with connect(proxy) as client:
        for number in range(60):
            client.execute("INSERT INTO rooms (id) VALUES (%s) ON CONFLICT (id) DO NOTHING", (number,))
    _, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert sum(map(len, held)) == 60


# A disk that takes its time: nothing becomes durable while the file is there.

@pytest.fixture(scope="module")
def stalling_disk(run):
    if os.environ.get("PGSHUNT_PRESET", "release") != "release":
        pytest.skip("sanitizers want to be loaded first")
    library = run.subfolder("stalling_disk") / "stalling_disk.so"
    source = Path(__file__).parent / "programs" / "stalling_disk.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    return library


@pytest.fixture
def stalled(make_proxy, servers, stalling_disk):
    """A proxy that has the key 1, and a file whose presence stalls its disk."""
    file = stalling_disk.with_name("stall")
    proxy = make_proxy(configuration(servers, general={"query_wait_timeout": 2, "workers": 1}),
                       env={"LD_PRELOAD": str(stalling_disk), "STALL_DISK": str(file)})
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id, name) VALUES (1, 'known')")
    file.touch()
    yield proxy, file
    file.unlink(missing_ok=True)


INSERT = "INSERT INTO rooms (id, name) VALUES (%s, 'new')"


def copy_rows(client, keys):
    with client.cursor() as cursor, cursor.copy("COPY rooms (id) FROM STDIN") as copy:
        copy.write("".join(f"{key}\n" for key in keys))


class Waiting:
    """A statement in a thread of its own: `work(client)`."""

    def __init__(self, proxy, simple, work):
        self.client = connect(proxy, simple)
        self.error = None
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(lambda: any(row["wait"] > 0 or row["wait_us"] > 0 for row in console(proxy, "SHOW CLIENTS")
                               if row["database"] == DATABASE))

    def _run(self):
        try:
            self._work(self.client)
        except psycopg.Error as error:
            self.error = error

    def wait(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.error


WAITERS = {
    "simple": (True, lambda client: client.execute(INSERT, (2,))),
    "extended": (False, lambda client: client.execute(INSERT, (2,))),
    "several": (True, lambda client: client.execute("INSERT INTO rooms (id) VALUES (2), (1000), (2000), (3000)")),
    "script": (True, lambda client: client.execute("INSERT INTO rooms (id) VALUES (2); SELECT 1")),
    "copy": (True, lambda client: copy_rows(client, range(2, 500))),
    "copy by the extended protocol": (False, lambda client: copy_rows(client, range(2, 500))),
}


@pytest.mark.parametrize("waiter", WAITERS)
@pytest.mark.parametrize("end", ["served", "canceled", "timed out"])
def test_a_statement_that_waits_for_the_disk(stalled, servers, waiter, end):
    proxy, file = stalled
    simple, work = WAITERS[waiter]
    waiting = Waiting(proxy, simple, work)
    with connect(proxy) as other:  # the same worker serves others meanwhile
        assert other.execute("SELECT name FROM rooms WHERE id = 1").fetchall() == [("known",)]
        assert other.execute("UPDATE rooms SET name = 'known' WHERE id IN (1, 77)").rowcount == 1
    if end == "canceled":
        waiting.client.cancel()
    if end == "served":
        file.unlink()
    error = waiting.wait()
    if end == "served":
        assert error is None, error
        assert waiting.client.execute("SELECT id FROM rooms WHERE id = 2").fetchall() == [(2,)]
    else:
        assert error.sqlstate == ("57014" if end == "canceled" else "57P03"), error
        # The session goes on, and what it asked for comes too late to matter.
        assert waiting.client.execute("SELECT name FROM rooms WHERE id = 1").fetchall() == [("known",)]
        file.unlink()
        waiting.client.execute(INSERT, (2,))
    waiting.client.close()
    known, held = assert_rows_are_where_the_directory_says(proxy, servers)
    assert "2" in known and sum(map(len, held)) >= 2


def test_a_client_that_goes_while_the_disk_is_slow(stalled, servers):
    proxy, file = stalled
    waiting = [Waiting(proxy, simple, work) for simple, work in WAITERS.values()]
    for each in waiting:
        with socket.socket(fileno=os.dup(each.client.pgconn.socket)) as raw:
            raw.shutdown(socket.SHUT_RDWR)
        assert each.wait() is not None
        each.client.close()
    file.unlink()
    wait_until(lambda: not [row for row in console(proxy, "SHOW CLIENTS") if row["database"] == DATABASE])
    with connect(proxy) as client:
        client.execute("INSERT INTO rooms (id) VALUES (%s) ON CONFLICT (id) DO NOTHING", (2,))
    assert_rows_are_where_the_directory_says(proxy, servers)
    wait_until(lambda: all(row["sv_active"] == 0 for row in console(proxy, "SHOW POOLS")))


def test_it_ends_while_the_disk_is_slow(stalled, servers):
    proxy, file = stalled
    waiting = Waiting(proxy, True, WAITERS["simple"][1])
    proxy.signal(signal.SIGTERM)
    proxy.wait_for_log("shutdown")
    file.unlink()
    assert waiting.wait() is None
    waiting.client.close()
    assert proxy.wait() == 0
    assert_rows_are_where_the_directory_says(proxy, servers)
