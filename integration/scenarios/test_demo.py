"""`./dev demo` as a newcomer meets it, on ports and in a folder of its own, with fewer rows."""

import os
import socket
import subprocess
import sys

import psycopg2
import pytest

from harness import free_port
from harness.proxy import ROOT
from harness.run import processes_in, signal_all

DEMO = ROOT / "integration" / "demo" / "demo.py"
SHARDS = ("shard1", "shard2", "shard3")


def five_free_ports():
    while True:
        first = free_port()
        try:
            for port in range(first, first + 5):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except (OSError, OverflowError):
            continue


class DemoCommand:
    def __init__(self, state):
        self.state = state
        self.port, self.servers = free_port(), five_free_ports()

    def __call__(self, *words, status=0, **changed):
        env = {**os.environ, "PYTHONPATH": str(ROOT / "integration"),
               "PGSHUNT_STATE": str(self.state), "PGSHUNT_PORT": str(self.port),
               "PGSHUNT_DEMO_PORTS": str(self.servers), "PGSHUNT_DEMO_USERS": "300",
               "PGSHUNT_DEMO_FSYNC": "off", **changed}
        done = subprocess.run(
            [sys.executable, DEMO, *words], capture_output=True, text=True, timeout=300,
            env={name: value for name, value in env.items() if value is not None})
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    def rows(self, sql, database="social"):
        """Through the proxy."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="demo",
                                      password="demo", dbname=database)
        connection.autocommit = True
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            rows = cursor.fetchall()
        connection.close()
        return rows

    def rows_on(self, server, sql, database="social"):
        """Directly on one server."""
        port = self.servers + ("shard1", "shard2", "shard3", "replica1", "feed").index(server)
        connection = psycopg2.connect(host=str(self.state / server), port=port, user="postgres",
                                      dbname=database)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            rows = cursor.fetchall()
        connection.close()
        return rows


@pytest.fixture(scope="module")
def demo(run):
    command = DemoCommand(run.folder / "demo")
    command.started = command("start")
    yield command
    command("stop")


def test_every_user_is_on_exactly_one_shard(demo):
    found = [user for shard in SHARDS for user, in demo.rows_on(shard, "SELECT id FROM users")]
    assert sorted(found) == list(range(1, 301))
    assert min(demo.rows_on(shard, "SELECT count(*) FROM users")[0][0] for shard in SHARDS) > 50


def test_countries_are_on_every_shard(demo):
    everywhere = [demo.rows_on(shard, "SELECT * FROM countries ORDER BY code") for shard in SHARDS]
    assert len(everywhere[0]) == 20
    assert everywhere[0] == everywhere[1] == everywhere[2]
    assert sorted(demo.rows("SELECT * FROM countries")) == everywhere[0]


def test_replica_has_its_shard(demo):
    count = "SELECT count(*) FROM posts"
    assert demo.rows_on("replica1", count) == demo.rows_on("shard1", count)


def test_pgbench_accounts_are_complete(demo):
    counts = [demo.rows_on(shard, "SELECT count(*) FROM pgbench_accounts", "bench")[0][0]
              for shard in SHARDS]
    assert sum(counts) == 100_000 and min(counts) > 30_000


def test_what_it_says_to_try_works(demo):
    assert demo.rows("SELECT id FROM users WHERE id = 24") == [(24,)]
    joined = demo.rows("SELECT p.id, p.body, c.author_id, c.body FROM posts p JOIN comments c "
                       "ON c.user_id = p.user_id AND c.post_id = p.id WHERE p.user_id = 24 LIMIT 5")
    assert len(joined) == 5
    newest = "SELECT id, user_id, created_at FROM posts ORDER BY created_at DESC, id LIMIT 10"
    union = [row for shard in SHARDS for row in demo.rows_on(shard, newest)]
    assert demo.rows(newest) == sorted(union, key=lambda row: (-row[2].timestamp(), row[0]))[:10]
    assert demo.rows("SHOW SHARDS", "pgshunt")
    assert f"-p {demo.port} " in demo.started


def test_its_loads_leave_right_sums(demo):
    said = demo("bench", "2")
    assert "All sums are right" in said and said.count("transactions a second") == 2


def test_psql_verb_reaches_it(demo):
    assert demo("psql", "-At", "-c", "SELECT id FROM users WHERE id = 7").strip() == "7"


def test_second_start_leaves_it_alone_and_restarts_what_died(demo):
    proxy = processes_in(demo.state / "pgshunt")
    assert "is running" in demo("start")
    assert processes_in(demo.state / "pgshunt") == proxy
    shard2 = processes_in(demo.state / "shard2")
    signal_all(shard2, 9)
    signal_all(proxy, 9)
    demo("status", status=3)
    demo("start")
    demo("status")
    assert demo.rows("SELECT id FROM users ORDER BY id LIMIT 1") == [(1,)]


def test_ports_are_remembered_and_pgshunt_can_move(demo):
    unset = {"PGSHUNT_PORT": None, "PGSHUNT_DEMO_PORTS": None}
    assert f"port {demo.port}\n" in demo("status", **unset)
    demo.port = free_port()
    started = demo("start")
    assert "leaves port" in started and f"-p {demo.port} " in started
    assert demo.rows("SELECT id FROM users WHERE id = 7") == [(7,)]
    assert demo("psql", "-At", "-c", "SELECT 1", **unset).strip() == "1"
    elsewhere = str(five_free_ports())
    assert "were made for the ports from" in demo("start", status=1, PGSHUNT_DEMO_PORTS=elsewhere)
    for variable, value in (("PGSHUNT_PORT", "0"), ("PGSHUNT_PORT", "x"), ("PGSHUNT_DEMO_PORTS", "65532")):
        assert demo("status", status=1, **{variable: value}).startswith(f"{variable} is '{value}', expected a port")
    demo("status")


def test_psql_says_when_nothing_runs(demo):
    demo("stop")
    assert "./dev demo starts it" in demo("psql", status=1)
    demo("start")
