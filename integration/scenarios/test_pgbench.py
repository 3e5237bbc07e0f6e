"""pgbench, with more clients than servers, by all three protocols: afterwards nothing is lost, nothing
is double, and on a sharded database every row is on the shard its key belongs to."""

import itertools
import os
import re
import subprocess

import psycopg2
import pytest

from applications import BUCKET, BUCKETS, Applications
from harness import tpcb
from harness.postgres import BIN

PROTOCOLS = ("simple", "extended", "prepared")
CLIENTS, TRANSACTIONS = 8, 50
BRANCHES = 12  # and as many tellers and 20 accounts each, in the sharded tables

READ_ONE = """
\\set bid random(1, {branches})
\\set aid random(1, 20)
SELECT abalance FROM accounts WHERE bid = :bid AND aid = :aid;
"""
WRITE_ONE = """
\\set bid random(1, {branches})
\\set aid random(1, 20)
UPDATE accounts SET abalance = abalance + 1 WHERE bid = :bid AND aid = :aid;
"""
READ_ALL = """
\\set first random(1, 200)
SELECT bid, aid, abalance FROM accounts ORDER BY bid, aid LIMIT 10 OFFSET :first;
"""
@pytest.fixture(scope="module")
def applications(shared_proxy, application_servers, authority):
    """Two databases of this file's own on the common servers."""
    for server in application_servers:
        for name in ("pgbench_plain", "pgbench_sharded"):
            server.execute(f"DROP DATABASE IF EXISTS {name}")
            server.create_database(name, "apps")
        server.psql("SET ROLE apps;" + tpcb.SCHEMA, "pgbench_sharded")
    first = application_servers[0]
    keyspace = {"name": "branches", "type": "bigint", "buckets": [
        {"from": begin, "to": end, "shard": server.name}
        for server, (begin, end) in zip(application_servers, BUCKETS)]}
    return Applications(shared_proxy, application_servers, authority, databases={
        "bench": {"host": first.host, "port": first.port, "dbname": "pgbench_plain"},
        "shards": {
            "shards": [{"name": server.name, "host": server.host, "port": server.port,
                        "dbname": "pgbench_sharded"} for server in application_servers],
            "keyspaces": [keyspace],
            "tables": [{"name": table, "keyspace": "branches", "key": "bid"}
                       for table in tpcb.TABLES]},
    })


@pytest.fixture(scope="module")
def plain(applications):
    """pgbench's own tables, made through the proxy: DDL, COPY, VACUUM, foreign keys."""
    pgbench(applications, "bench", "-i", "-s", "1", "--foreign-keys")
    return applications


@pytest.fixture(scope="module")
def sharded(applications):
    connection = psycopg2.connect(**applications.options("shards"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        tpcb.load(cursor, BRANCHES)
    connection.close()
    return applications


def pgbench(applications, database, *arguments):
    """What it prints; any failed transaction is an error."""
    done = subprocess.run([BIN / "pgbench", *map(str, arguments)], capture_output=True, text=True,
                          timeout=60, env={**os.environ, **applications.environment(database)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ERROR" not in done.stderr and "aborted" not in done.stderr, done.stderr
    return done.stdout


def run_clients(applications, database, *arguments, transactions=TRANSACTIONS):
    # A thread for each client: pgbench prepares statements while it holds up all clients of the
    # thread, those with a server of the pool among them.
    out = pgbench(applications, database, "-n", "-c", CLIENTS, "-j", CLIENTS, "-t", transactions,
                  *arguments)
    done = re.search(r"transactions actually processed: (\d+)/(\d+)", out)
    assert done and done.group(1) == done.group(2) == str(CLIENTS * transactions), out
    assert "number of failed transactions: 0 " in out
    return CLIENTS * transactions


# --- one server ----------------------------------------------------------------------------------


def on_plain(applications, sql):
    return applications.servers[0].execute(sql, dbname="pgbench_plain")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_select_only(plain, protocol):
    before = on_plain(plain, "SELECT sum(abalance), count(*) FROM pgbench_accounts")
    run_clients(plain, "bench", "-S", "-M", protocol)
    assert on_plain(plain, "SELECT sum(abalance), count(*) FROM pgbench_accounts") == before


@pytest.mark.parametrize("more", [(), ("-C",)], ids=["connected", "reconnecting"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tpc_b(plain, protocol, more):
    (before,), = on_plain(plain, "SELECT count(*) FROM pgbench_history")
    done = run_clients(plain, "bench", "-M", protocol, *more, transactions=10 if more else 50)
    ((count, deltas),) = on_plain(plain, "SELECT count(*), sum(delta) FROM pgbench_history")
    assert count == before + done
    for table, column in (("branches", "bbalance"), ("tellers", "tbalance"),
                          ("accounts", "abalance")):
        assert on_plain(plain, f"SELECT sum({column}) FROM pgbench_{table}") == [(deltas,)]


def test_no_more_servers_than_allowed(plain):
    """Eight clients on two workers shared what is configured for them."""
    run_clients(plain, "bench", "-S")
    (held,), = on_plain(plain, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'apps' "
                        "AND datname = current_database()")
    assert 1 <= held <= 3


def test_pipelines(plain, tmp_path):
    script = tmp_path / "pipeline.sql"
    script.write_text("\\set aid random(1, 1000)\n\\startpipeline\n"
                      "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
                      "UPDATE pgbench_accounts SET filler = 'piped' WHERE aid = :aid;\n"
                      "SELECT abalance FROM pgbench_accounts WHERE aid = :aid + 1;\n\\endpipeline\n")
    for protocol in ("extended", "prepared"):
        run_clients(plain, "bench", "-M", protocol, "-f", script)
    (changed,), = on_plain(plain, "SELECT count(*) FROM pgbench_accounts WHERE filler = 'piped'")
    assert changed > 300


# --- three shards --------------------------------------------------------------------------------


def on_shards(applications, sql):
    return [server.execute(sql, dbname="pgbench_sharded") for server in applications.servers]


def check_shards(applications):
    """Balances and deltas agree for each branch, and every row is where it belongs."""
    branches = list(itertools.chain(*on_shards(applications, tpcb.BALANCED)))
    assert sorted(row[0] for row in branches) == list(range(1, BRANCHES + 1))
    for table in tpcb.TABLES:
        for rows, (first, last) in zip(
                on_shards(applications, f"SELECT bid, {BUCKET.format(key='bid')} FROM {table}"), BUCKETS):
            assert all(first <= bucket <= last for _, bucket in rows), table
    counts = [sum(rows[0][0] for rows in on_shards(applications, f"SELECT count(*) FROM {table}"))
              for table in ("tellers", "accounts")]
    assert counts == [2 * BRANCHES, 20 * BRANCHES]
    return branches


def script(tmp_path, text):
    path = tmp_path / "script.sql"
    path.write_text(text.format(branches=BRANCHES))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tpc_b_within_shards(sharded, tmp_path, protocol):
    def history():
        return [rows[0][0] for rows in on_shards(sharded, "SELECT count(*) FROM history")]

    def beside(rows):
        """What accounts have besides the deltas: other tests add to them."""
        return {row[0]: row[4] - (row[1] or 0) for row in rows}

    before, others = sum(history()), beside(check_shards(sharded))
    done = run_clients(sharded, "shards", "-M", protocol, "-f", script(tmp_path, tpcb.TRANSACTION))
    found = check_shards(sharded)
    for bid, deltas, branch, tellers, _ in found:
        assert (deltas or 0) == branch == tellers, bid
    assert beside(found) == others
    assert sum(history()) == before + done
    assert min(history()) > 0  # every shard had its part


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_of_one_key(sharded, tmp_path, protocol):
    run_clients(sharded, "shards", "-M", protocol, "-f", script(tmp_path, READ_ONE))
    check_shards(sharded)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_updates_of_one_key(sharded, tmp_path, protocol):
    def total():
        return sum(rows[0][0] for rows in on_shards(sharded, "SELECT sum(abalance) FROM accounts"))

    before = total()
    done = run_clients(sharded, "shards", "-M", protocol, "-f", script(tmp_path, WRITE_ONE))
    assert total() == before + done


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_of_all_shards_beside_writes(sharded, tmp_path, protocol):
    """Statements that hold a server on every shard and those that hold one, over the same few: nobody
    waits for ever."""
    everything = tmp_path / "all.sql"
    everything.write_text(READ_ALL)
    run_clients(sharded, "shards", "-M", protocol, "-f", f"{everything}@1",
                "-f", f"{script(tmp_path, tpcb.TRANSACTION)}@1")
    for bid, deltas, branch, tellers, _ in check_shards(sharded):
        assert (deltas or 0) == branch == tellers, bid
