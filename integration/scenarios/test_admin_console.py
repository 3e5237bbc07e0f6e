"""The admin console: PgBouncer's commands with PgBouncer's columns, gathered from all workers."""

import asyncio
import os
import socket
import struct
import threading

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest

from harness import wait_until
from harness.config import plain
from harness.wire import (Wire, bind, describe_portal, describe_statement, execute, parse, query,
                          sync, types)

# What monitoring reads; by name, so further columns harm nobody.
POOL_COLUMNS = ["database", "user", "cl_active", "cl_waiting", "cl_active_cancel_req",
                "cl_waiting_cancel_req", "sv_active", "sv_active_cancel", "sv_being_canceled",
                "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait", "maxwait_us",
                "pool_mode"]
STATS_COLUMNS = ["database", "total_server_assignment_count", "total_xact_count",
                 "total_query_count", "total_received", "total_sent", "total_xact_time",
                 "total_query_time", "total_wait_time", "avg_server_assignment_count",
                 "avg_xact_count", "avg_query_count", "avg_recv", "avg_sent", "avg_xact_time",
                 "avg_query_time", "avg_wait_time"]
TOPICS = ["POOLS", "CLIENTS", "SERVERS", "SOCKETS", "ACTIVE_SOCKETS", "STATS", "STATS_TOTALS",
          "STATS_AVERAGES", "TOTALS", "DATABASES", "USERS", "LISTS", "CONFIG", "MEM", "VERSION",
          "STATE", "DNS_HOSTS", "DNS_ZONES", "PINS", "SHARDS", "KEYSPACES", "TABLES", "DRIFT",
          "TRANSACTIONS"]
# As SHOW TOTALS of PgBouncer has them, with "total_" or "avg_" before.
TOTALS = ["server_assignment_count", "xact_count", "query_count", "client_bytes", "server_bytes",
          "xact_time", "query_time", "wait_time", "ps_client_parse_count",
          "ps_server_parse_count", "ps_bind_count"]
# PgBouncer's part of SHOW LISTS.
LISTS = ["databases", "users", "peers", "pools", "peer_pools", "free_clients", "used_clients",
         "login_clients", "free_servers", "used_servers", "dns_names", "dns_zones", "dns_queries",
         "dns_pending"]


def with_console(server, **general):
    config = plain(server, size=3, workers=2, stats_users=["watcher"], auth_type="scram-sha-256",
                   **general)
    config["users"]["watcher"] = {"password": "watcher"}
    config["databases"]["second"] = {"host": server.host, "port": server.port, "dbname": "app"}
    return config


class Console:
    """A connection to the console, by a driver that knows nothing of it."""

    def __init__(self, proxy, user="admin"):
        self.connection = proxy.connect("pgshunt", user, user)

    def __call__(self, command):
        with self.connection.cursor(
                cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(command)
            return cursor.fetchall() if cursor.description else cursor.statusmessage

    def error(self, command):
        with pytest.raises(psycopg2.Error) as caught:
            self(command)
        return caught.value

    def one(self, command, **where):
        rows = [row for row in self(command)
                if all(row[key] == value for key, value in where.items())]
        assert len(rows) == 1, rows
        return rows[0]


@pytest.fixture
def proxy(make_proxy, app_postgres):
    return make_proxy(with_console(app_postgres))


@pytest.fixture
def console(proxy):
    made = Console(proxy)
    yield made
    made.connection.close()


def client(proxy, database="app", **options):
    return proxy.connect(database, "app", "app", **options)


def run(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


class Later:
    """A call in a thread of its own, and what came of it."""

    def __init__(self, call):
        self.error = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call):
        try:
            call()
        except psycopg2.Error as error:
            self.error = error

    @property
    def running(self):
        return self._thread.is_alive()

    def join(self):
        self._thread.join(30)
        assert not self.running
        return self


# --- showing -----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_every_topic_can_be_shown(proxy, console):
    run(client(proxy), "SELECT 1")
    for topic in TOPICS:
        assert isinstance(console(f"SHOW {topic}"), list), topic
    assert list(console("SHOW POOLS")[0])[:len(POOL_COLUMNS)] == POOL_COLUMNS
    assert set(STATS_COLUMNS) <= set(console("SHOW STATS")[0])
    assert list(console("SHOW CONFIG")[0]) == ["key", "value", "default", "changeable"]
    assert console.one("SHOW CONFIG", key="default_pool_size")["value"] == "3"
    assert [row["name"] for row in console("SHOW TOTALS")] == [
        prefix + name for prefix in ("total_", "avg_") for name in TOTALS]
    assert [row["list"] for row in console("SHOW LISTS")][:len(LISTS)] == LISTS
    assert console.one("SHOW LISTS", list="workers")["items"] == 2
    console("SHOW HELP")
    assert "SHOW SHARDS" in console.connection.notices[-1]


@pytest.mark.smoke
def test_clients_of_all_workers_are_counted(proxy, console):
    clients = [client(proxy, application_name=f"number {i}") for i in range(6)]
    holder = clients[0]
    holder.autocommit = False
    run(holder, "SELECT 1")
    pool = console.one("SHOW POOLS", database="app", user="app")
    assert (pool["cl_active"], pool["cl_waiting"], pool["sv_active"]) == (6, 0, 1)
    listed = [row for row in console("SHOW CLIENTS") if row["database"] == "app"]
    assert sorted(row["application_name"] for row in listed) == [f"number {i}" for i in range(6)]
    linked = [row for row in listed if row["link"]]
    assert [row["application_name"] for row in linked] == ["number 0"]
    server = console.one("SHOW SERVERS", ptr=linked[0]["link"])
    assert (server["link"], server["state"]) == (linked[0]["ptr"], "active")
    assert server["application_name"] == "number 0"
    run(holder, "COMMIT")
    assert console.one("SHOW POOLS", database="app")["sv_active"] == 0


def test_waiting_clients_show_for_how_long(make_proxy, app_postgres):
    proxy = make_proxy(with_console(app_postgres, query_wait_timeout=30))
    console = Console(proxy)
    holders = [client(proxy, autocommit=False) for _ in range(3)]
    for holder in holders:
        run(holder, "SELECT 1")
    waiting = client(proxy)
    query = Later(lambda: run(waiting, "SELECT 1"))

    def pool():
        return console.one("SHOW POOLS", database="app")
    wait_until(lambda: pool()["cl_waiting"] == 1 and pool()["maxwait"] >= 1)
    assert console.one("SHOW CLIENTS", state="waiting")["wait"] >= 1
    run(holders[0], "COMMIT")
    query.join()
    assert pool()["cl_waiting"] == 0


@pytest.mark.smoke
def test_who_keeps_a_server_and_why_is_shown(proxy, console):
    keeper = client(proxy)
    run(keeper, "SELECT pg_advisory_lock(7)")
    wait_until(lambda: console("SHOW PINS"))
    pin = console.one("SHOW PINS")
    assert (pin["database"], pin["user"], pin["pinned_by"]) == ("app", "app", "advisory lock")
    assert pin["server_pid"] == run(keeper, "SELECT pg_backend_pid()")[0][0]
    assert console.one("SHOW POOLS", database="app")["sv_pinned"] == 1
    assert console.one("SHOW CLIENTS", id=pin["client_id"])["pinned_by"] == "advisory lock"
    run(keeper, "SELECT pg_advisory_unlock(7)")
    wait_until(lambda: not console("SHOW PINS"))
    keeper.close()
    assert console.one("SHOW POOLS", database="app")["sv_pinned"] == 0


def test_averages_are_those_of_the_last_period(make_proxy, app_postgres):
    proxy = make_proxy(with_console(app_postgres, stats_period=1))
    console, busy = Console(proxy), client(proxy)

    def average():
        run(busy, "SELECT 1")
        return console.one("SHOW STATS_AVERAGES", database="app")["query_count"]
    wait_until(lambda: average() > 0)
    wait_until(lambda: console.one("SHOW STATS_AVERAGES", database="app")["query_count"] == 0)
    totals = console.one("SHOW STATS_TOTALS", database="app")
    assert totals["query_count"] == totals["xact_count"] > 0


def test_sharding_is_shown(make_proxy, app_postgres):
    config = with_console(app_postgres)
    where = {"host": app_postgres.host, "port": app_postgres.port, "dbname": "app"}
    config["databases"]["social"] = {
        "shards": [{"name": "left", **where}, {"name": "right", **where}],
        "keyspaces": [{"name": "people", "type": "bigint"}],
        "tables": [{"name": "users", "keyspace": "people", "key": "id"},
                   {"name": "countries", "reference": True},
                   {"name": "settings", "shard": "right"}]}
    console = Console(make_proxy(config))
    assert [(row["shard"], row["buckets"]) for row in console("SHOW SHARDS")] == \
        [("left", 2048), ("right", 2048)]
    assert [(row["shard"], row["holds"]) for row in console("SHOW KEYSPACES")] == \
        [("left", "0-2047"), ("right", "2048-4095")]
    assert [(row["table"], row["kind"], row["keyspace"], row["key"], row["shard"])
            for row in console("SHOW TABLES")] == \
        [("countries", "reference", None, None, None),
         ("settings", "unsharded", None, None, "right"),
         ("users", "sharded", "people", "id", None)]


# --- rights and refusals -----------------------------------------------------------------------


@pytest.mark.smoke
def test_watchers_may_look_and_nothing_else(proxy):
    watcher = Console(proxy, "watcher")
    assert watcher("SHOW POOLS") == []
    for command in ("PAUSE", "RESUME", "RELOAD", "KILL app", "KILL_CLIENT 1", "SHUTDOWN",
                    "DISABLE app", "RECONNECT", "WAIT_CLOSE"):
        assert watcher.error(command).pgcode == "42501", command
    assert watcher("SHOW STATE")[0] == {"key": "active", "value": "yes"}
    proxy.wait_for_log(r"console_refused client=127.0.0.1:\d+ database=pgshunt user=watcher "
                       r"sqlstate=42501: KILL_CLIENT 1\n")


def test_who_ordered_what_is_logged(proxy, console):
    console("PAUSE app")
    console("RESUME app")
    with socket.socket(fileno=os.dup(console.connection.fileno())) as own:
        port = own.getsockname()[1]
    for command in ("PAUSE app", "RESUME app"):
        proxy.wait_for_log(f"console_command client=127.0.0.1:{port} database=pgshunt user=admin: "
                           f"{command}\n")


def test_names_looked_up_are_shown(make_proxy, app_postgres):
    config = with_console(app_postgres)
    config["databases"]["named"] = {"host": "localhost", "port": app_postgres.port, "dbname": "app"}
    proxy = make_proxy(config)
    run(client(proxy, "named"), "SELECT 1")
    console = Console(proxy)
    host, = console("SHOW DNS_HOSTS")
    assert host["hostname"] == "localhost" and 0 <= host["ttl"] <= 15
    assert "127.0.0.1" in host["addrs"].split(",")
    assert console.one("SHOW LISTS", list="dns_names")["items"] == 1
    assert console("SHOW DNS_ZONES") == []


def test_strangers_stay_outside(proxy):
    with pytest.raises(psycopg2.OperationalError, match="may not use the admin console"):
        proxy.connect("pgshunt", "app", "app")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        proxy.connect("pgshunt", "admin", "wrong")


@pytest.mark.parametrize("command, state, hint", [
    ("FROB", "42601", "SHOW HELP"),
    ("SHOW FROB", "42601", "SHOW HELP"),
    ("SELECT 1", "42601", "SHOW HELP"),
    ("DISABLE", "42601", "SHOW HELP"),
    ("SUSPEND", "0A000", "PAUSE"),
    ("SET default_pool_size = 5", "0A000", "RELOAD"),
    ("PAUSE nowhere", "3D000", "SHOW DATABASES"),
    ("KILL_CLIENT 0", "55000", "SHOW CLIENTS"),
    ("RESUME app", "55000", None),
])
def test_what_cannot_be_done_says_why(console, command, state, hint):
    error = console.error(command)
    assert error.pgcode == state
    assert hint is None or hint in error.diag.message_hint
    assert console("SHOW VERSION")[0]["version"].startswith("pgshunt ")


# --- drivers and the bare protocol -------------------------------------------------------------


def test_psycopg_3_speaks_to_it_in_transactions_and_prepared(proxy):
    with psycopg.connect(proxy.dsn("pgshunt", "admin", "admin")) as connection:
        cursor = connection.cursor(binary=True)
        cursor.execute("SHOW LISTS", prepare=True)
        assert ("databases", 2) in cursor.fetchall()
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("FROB")
        connection.rollback()
        assert connection.execute("SHOW VERSION").fetchone()


def test_asyncpg_reads_binary_rows_and_cursors(proxy):
    async def talk():
        connection = await asyncpg.connect(host=proxy.host, port=proxy.port, user="admin",
                                           password="admin", database="pgshunt")
        lists = {row["list"]: row["items"] for row in await connection.fetch("SHOW LISTS")}
        async with connection.transaction():
            slowly = {row["list"] async for row in connection.cursor("SHOW LISTS", prefetch=2)}
        await connection.close()
        return lists, slowly
    lists, slowly = asyncio.run(talk())
    assert lists["databases"] == 2
    assert slowly == set(lists)


@pytest.mark.smoke
def test_the_extended_protocol_message_by_message(make_proxy, app_postgres):
    with Wire(make_proxy(plain(app_postgres)), "pgshunt", user="admin") as wire:
        # Described before it runs, in two steps, then an error that skips to the Sync.
        wire.send(parse("s", "SHOW LISTS"), describe_statement("s"), bind("p", "s"), execute("p", 2),
                  execute("p"), sync())
        answers = wire.until_ready()
        assert types(answers) == "1tT2DDs" + "D" * (types(answers).count("D") - 2) + "CZ"
        wire.send(parse("", "FROB"), bind(), execute(), sync(), query("SHOW VERSION"))
        assert types(wire.until_ready()) == "EZ"
        assert types(wire.until_ready()) == "TDCZ"
        # Commands without rows, and none at all.
        wire.send(parse("", "RESUME"), bind(), describe_portal(), execute(), sync())
        assert types(wire.until_ready()) == "12nCZ"
        wire.send(parse("", ""), bind(), describe_portal(), execute(), sync(), query(" ; "))
        assert types(wire.until_ready()) == "12nIZ"
        assert types(wire.until_ready()) == "IZ"


def test_a_message_that_comes_byte_by_byte(make_proxy, app_postgres):
    with Wire(make_proxy(plain(app_postgres)), "pgshunt", user="admin") as wire:
        for byte in query("SHOW STATE"):
            wire.send(bytes([byte]))
        assert types(wire.until_ready()) == "TDDDCZ"


@pytest.mark.smoke
def test_what_is_no_command_ends_the_session_and_nothing_else(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres))
    for rubbish in (b"Q\xff\xff\xff\xff", b"Q" + struct.pack("!i", 1 << 29), b"?\0\0\0\4",
                    query("SHOW " + "x" * 100_000)):
        with Wire(proxy, "pgshunt", user="admin") as wire:
            wire.send(rubbish)
            assert wire.closed()
    with Wire(proxy, "pgshunt", user="admin") as wire:
        assert wire.value("SHOW VERSION").startswith("pgshunt ")


@pytest.mark.smoke
def test_clients_that_leave_while_the_answer_is_gathered(make_proxy, app_postgres):
    proxy = make_proxy({**(config := plain(app_postgres)),
                        "pgshunt": {**config["pgshunt"], "workers": 3}})
    for topic in TOPICS * 3:
        wire = Wire(proxy, "pgshunt", user="admin")
        wire.send(query(f"SHOW {topic}"))
        wire.close()
    with Wire(proxy, "pgshunt", user="admin") as wire:
        assert wire.value("SHOW VERSION").startswith("pgshunt ")


# --- doing -------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_pause_waits_for_transactions_and_resume_goes_on(proxy, console, app_postgres):
    worker, other = client(proxy, autocommit=False), client(proxy, "second")
    pid = run(worker, "SELECT pg_backend_pid()")[0][0]
    second = Console(proxy)
    pause = Later(lambda: second("PAUSE app"))
    wait_until(lambda: console.one("SHOW DATABASES", name="app")["paused"] == 1)
    assert pause.running
    assert run(other, "SELECT 1")                        # the other database goes on
    assert run(worker, "SELECT 1")                       # and so does an open transaction
    run(worker, "COMMIT")
    pause.join()
    assert pause.error is None
    assert app_postgres.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == [(0,)]
    assert console.error("PAUSE app").pgcode == "55000"

    query = Later(lambda: run(worker, "SELECT 1"))
    wait_until(lambda: console.one("SHOW POOLS", database="app")["cl_waiting"] == 1)
    assert console("RESUME app") == "RESUME"
    assert query.join().error is None


def test_a_canceled_pause_is_taken_back(proxy, console):
    worker = client(proxy, autocommit=False)
    run(worker, "SELECT 1")
    second = Console(proxy)
    pause = Later(lambda: second("PAUSE"))
    wait_until(lambda: console.one("SHOW STATE", key="paused")["value"] == "yes")
    second.connection.cancel()
    assert pause.join().error.pgcode == "57014"
    assert console.one("SHOW STATE", key="paused")["value"] == "no"


def test_who_paused_may_leave_and_the_pause_stays(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres))
    console, worker = Console(proxy), client(proxy, autocommit=False)
    run(worker, "SELECT 1")
    with Wire(proxy, "pgshunt", user="admin") as wire:
        wire.send(query("PAUSE app"))
        wait_until(lambda: console.one("SHOW DATABASES", name="app")["paused"] == 1)
    wait_until(lambda: console.one("SHOW LISTS", list="used_clients")["items"] == 2)
    assert console.one("SHOW DATABASES", name="app")["paused"] == 1
    assert console("RESUME app") == "RESUME"
    run(worker, "COMMIT")
    assert run(worker, "SELECT 1")


def test_reconnect_replaces_servers_once_they_are_free(proxy, console):
    worker = client(proxy, autocommit=False)
    before = run(worker, "SELECT pg_backend_pid()")[0][0]
    assert console("RECONNECT app") == "RECONNECT"
    assert console.one("SHOW SERVERS", remote_pid=before)["close_needed"] == 1
    second = Console(proxy)
    closed = Later(lambda: second("WAIT_CLOSE app"))
    assert run(worker, "SELECT pg_backend_pid()")[0][0] == before
    run(worker, "COMMIT")
    assert closed.join().error is None
    assert run(worker, "SELECT pg_backend_pid()")[0][0] != before


def test_a_disabled_database_takes_no_new_clients(proxy, console):
    old = client(proxy)
    assert console("DISABLE app") == "DISABLE"
    with pytest.raises(psycopg2.OperationalError, match='database "app" is disabled'):
        client(proxy)
    assert run(old, "SELECT 1")
    assert run(client(proxy, "second"), "SELECT 1")
    assert console("ENABLE app") == "ENABLE"
    assert run(client(proxy), "SELECT 1")


@pytest.mark.smoke
def test_kill_ends_the_clients_of_a_database_until_resume(proxy, console):
    victim, neighbour = client(proxy), client(proxy, "second")
    run(victim, "SELECT 1")
    assert console("KILL app") == "KILL"
    with pytest.raises(psycopg2.OperationalError):
        run(victim, "SELECT 1")
    assert run(neighbour, "SELECT 1")
    assert not [row for row in console("SHOW SERVERS") if row["database"] == "app"]
    query = Later(lambda: run(client(proxy), "SELECT 1"))
    wait_until(lambda: console.one("SHOW POOLS", database="app")["cl_waiting"] == 1)
    assert console("RESUME app") == "RESUME"
    assert query.join().error is None


def test_kill_client_ends_just_that_one(proxy, console):
    clients = {name: client(proxy, application_name=name) for name in ("one", "two", "three")}
    console(f"KILL_CLIENT {console.one('SHOW CLIENTS', application_name='two')['id']}")
    with pytest.raises(psycopg2.OperationalError):
        run(clients.pop("two"), "SELECT 1")
    for left in clients.values():
        assert run(left, "SELECT 1")


def test_reload_applies_what_it_can_and_names_the_rest(proxy, console, app_postgres):
    config = with_console(app_postgres)
    config["pgshunt"] |= {"default_pool_size": 5, "workers": 1}
    proxy.write_config(config)
    assert console("RELOAD") == "RELOAD"
    assert "workers" in console.connection.notices[-1]
    assert console.one("SHOW DATABASES", name="app")["pool_size"] == 5
    proxy.file.write_text("nonsense = 1\n")
    error = console.error("RELOAD")
    assert error.pgcode == "F0000" and "nonsense" in str(error)
    assert error.diag.message_primary == error.diag.message_primary.strip()
    assert console.one("SHOW DATABASES", name="app")["pool_size"] == 5


@pytest.mark.smoke
@pytest.mark.parametrize("how", ["", "WAIT_FOR_SERVERS", "WAIT_FOR_CLIENTS"])
def test_shutdown(proxy, how):
    console, idle = Console(proxy), client(proxy)
    worker = client(proxy, autocommit=False)
    run(idle, "SELECT 1")
    run(worker, "SELECT 1")
    assert console(f"SHUTDOWN {how}") == "SHUTDOWN"
    if how:
        assert run(worker, "SELECT 1")
        run(worker, "COMMIT")
    if how == "WAIT_FOR_CLIENTS":
        assert run(idle, "SELECT 1")
        assert proxy.running()
        for connection in (worker, idle, console.connection):
            connection.close()
    assert proxy.wait() == 0
