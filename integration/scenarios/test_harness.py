"""The harness keeps its own promises: everything else stands on them."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import psycopg2
import pytest

from differential.client import Answer
from differential.side_by_side import difference
from harness import wait_until
from harness.run import processes_in
from harness.toml import to_toml
from harness.workload import Query

pytestmark = pytest.mark.smoke


def test_server_asks_for_a_password_over_tcp_and_speaks_tls(postgres):
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(postgres.dsn(password="wrong"))
    connection = psycopg2.connect(postgres.dsn(sslmode="require"))
    assert connection.info.ssl_in_use
    connection.close()


def test_replica_follows_its_primary(make_postgres):
    primary = make_postgres("primary")
    replica = make_postgres("replica", replica_of=primary)
    primary.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    primary.wait_for_replica(replica)
    assert replica.execute("SELECT count(*) FROM t") == [(1000,)]
    assert replica.execute("SELECT pg_is_in_recovery()") == [(True,)]


def test_killed_server_cuts_connections_and_starts_again(make_postgres):
    server = make_postgres()
    server.execute("CREATE TABLE t AS SELECT 1 AS n")
    server.execute("CHECKPOINT")
    connection = server.connect()
    server.kill()
    with pytest.raises(psycopg2.OperationalError):
        connection.cursor().execute("SELECT 1")
    server.start()
    assert server.execute("SELECT n FROM t") == [(1,)]


def test_paused_server_is_silent_until_resumed(make_postgres):
    server = make_postgres()
    server.pause()
    silent = psycopg2.connect(server.dsn(), async_=True)
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert silent.poll() != psycopg2.extensions.POLL_OK
    silent.close()
    server.resume()
    assert server.execute("SELECT 1") == [(1,)]


def test_nothing_outlives_a_killed_session():
    """A session that is killed with -9 leaves neither processes nor files."""
    session = """
import sys, time
from harness import PostgresServer, Run
from harness.run import server_account
run = Run()
server = PostgresServer(run.subfolder("pg", server_account()), "pg").create().start()
server.pause()
print(run.folder, flush=True)
time.sleep(600)
"""
    child = subprocess.Popen([sys.executable, "-c", session], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)})
    folder = Path(child.stdout.readline().strip())
    assert processes_in(folder)
    child.send_signal(signal.SIGKILL)
    child.wait()
    wait_until(lambda: not folder.exists() and not processes_in(folder), 30)


def test_written_toml_reads_back():
    table = {"a": 1, "b": "say \"x\\y\"\n", "c": [1.5, True], "k.ey": {"x": {"y": []}},
             "list": [{"n": 1, "deep": {"v": "é"}}, {"n": 2}]}
    assert tomllib.loads(to_toml(table)) == table


@pytest.mark.parametrize("change, found", [
    ({}, ""),
    ({"rows": [(b"1", b"b"), (b"1", b"a"), (b"2", b"c")]}, ""),  # a tie
    ({"rows": [(b"1", b"a"), (b"2", b"c"), (b"1", b"b")]}, "the order"),
    ({"rows": [(b"1", b"a"), (b"1", b"a"), (b"2", b"c")]}, "a row"),
    ({"rows": [(b"1", b"a"), (b"1", b"b"), (b"2.0", b"c")]}, "the order"),
    ({"tag": b"SELECT 2", "rows": [(b"1", b"a"), (b"1", b"b")]}, "tag"),
    ({"columns": [(b"n", 20, -1, 8, 0), (b"t", 25, -1, -1, 0)]}, "columns"),
    ({"error": "57014", "message": "canceled"}, "error"),
])
def test_differences_of_answers_are_found(change, found):
    query = Query("SELECT n, t FROM rows ORDER BY n", (0,))
    alone = Answer(None, None, b"SELECT 3", [(b"n", 23, -1, 4, 0), (b"t", 25, -1, -1, 0)],
                   [(b"1", b"a"), (b"1", b"b"), (b"2", b"c")], None)
    assert difference(query, alone, alone._replace(**change)).split(":")[0] == found
