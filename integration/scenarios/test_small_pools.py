"""Transactions over several shards, many more of them than servers: nobody waits for what another will not give."""

import collections
import random
import threading

import psycopg
import pytest

import transfers
from harness import wait_until
from transfers import PASSWORD, USER, keys_by_shard, nothing_prepared

DATABASE = "small_pools"
SESSIONS, TURNS = 12, 25


@pytest.fixture(scope="module")
def servers(shards):
    transfers.create(shards, DATABASE)
    return shards


@pytest.fixture(scope="module", params=[1, 2], ids=["of_one_server", "of_two_servers"])
def size(request):
    return request.param


@pytest.fixture(scope="module")
def proxy(shared_proxy, servers, size):
    config = transfers.config(servers, DATABASE, default_pool_size=size, query_wait_timeout=60, log_level="debug")
    config["databases"]["bank"]["on_cross_shard_write"] = "two_phase"
    return shared_proxy(config)


@pytest.fixture(scope="module")
def keys(servers):
    return keys_by_shard(servers[0])


def simple(connection, visit, _name):
    with connection.transaction():
        for key in visit:
            connection.execute(f"UPDATE accounts SET balance = balance + 1 WHERE id = {key}")


def extended(connection, visit, _name):
    with connection.transaction():
        for key in visit:
            connection.execute("UPDATE accounts SET balance = balance + 1 WHERE id = %s", (key,), prepare=True)


def pipelined(connection, visit, _name):
    with connection.pipeline():
        for key in visit:
            connection.execute("UPDATE accounts SET balance = balance + 1 WHERE id = %s", (key,))


def inserted(connection, visit, name):
    """What is read on the last shard is stored on the first."""
    for prepare in (False, True):
        connection.execute(f"INSERT INTO ledger SELECT {visit[0]}, %s, balance FROM accounts WHERE id = %s",
                           (f"{name} {prepare}", visit[-1]), prepare=prepare)


def at_once(threads):
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)


@pytest.mark.parametrize("work", [simple, extended, pipelined, inserted])
@pytest.mark.parametrize("shards_visited", [2, 3])
def test_more_transactions_than_servers(proxy, servers, keys, size, work, shards_visited):
    """Each visits shards in an order of its own, and rows that no other one does."""
    failures, done = [], []

    def run(number):
        choose = random.Random(number)
        try:
            with psycopg.connect(host=proxy.host, port=proxy.port, dbname="bank", user=USER, password=PASSWORD,
                                 autocommit=True) as connection:
                for turn in range(TURNS):
                    visit = [keys[shard][number] for shard in choose.sample(range(3), shards_visited)]
                    work(connection, visit, f"{size} {shards_visited} {number} {turn}")
            done.append(number)
        except psycopg.Error as error:
            failures.append(error)
    at_once([threading.Thread(target=run, args=(number,), daemon=True) for number in range(SESSIONS)])
    assert not failures and len(done) == SESSIONS, (failures, sorted(done))
    nothing_prepared(servers)
    # What was opened beyond the pools' size is closed again.
    wait_until(lambda: max(open_servers(proxy).values()) <= size, 10, "no pool is larger than it may be")
    assert proxy.log_text().count("beyond pool_size") > 5


def open_servers(proxy):
    """Of each shard's pool."""
    connection = proxy.connect("pgshunt", "admin")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW SERVERS")
            shard = [column[0] for column in cursor.description].index("shard")
            return collections.Counter(row[shard] for row in cursor.fetchall())
    finally:
        connection.close()


def test_no_server_more_where_shards_are_visited_in_order(proxy, servers, keys, size):
    """Statements over all shards wait for each other's servers, and go on, without any more of them."""
    beyond = proxy.log_text().count("beyond pool_size")

    def run(number):
        with psycopg.connect(host=proxy.host, port=proxy.port, dbname="bank", user=USER, password=PASSWORD,
                             autocommit=True) as connection:
            for _ in range(TURNS):
                assert len(connection.execute("SELECT id FROM accounts ORDER BY id").fetchall()) == transfers.ACCOUNTS
            done.append(number)
    done = []
    at_once([threading.Thread(target=run, args=(number,), daemon=True) for number in range(SESSIONS)])
    assert len(done) == SESSIONS
    assert proxy.log_text().count("beyond pool_size") - beyond < 5
