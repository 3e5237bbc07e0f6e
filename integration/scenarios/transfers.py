"""Accounts on three shards, and transfers between them that a ledger remembers: what two-phase
commits must keep whole."""

import collections
import random
import threading

import psycopg
import psycopg2
from psycopg2 import errorcodes

from applications import BUCKET, BUCKETS
from harness import wait_until

USER, PASSWORD = "teller", "teller secret"
ACCOUNTS = 60
BALANCE = 100
SCHEMA = """
CREATE TABLE accounts (id bigint PRIMARY KEY, balance int NOT NULL);
CREATE TABLE ledger (account bigint, transfer text, amount int, PRIMARY KEY (account, transfer));
CREATE TABLE owners (account bigint, name text UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE rates (code text PRIMARY KEY, rate int);
"""


def create(servers, database, *, owner=USER):
    for server in servers:
        if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (USER,)):
            server.create_user(USER, PASSWORD)
        server.create_database(database, owner)
        server.execute(f"GRANT CREATE ON SCHEMA public TO {USER}", dbname=database)
    for server, (first, last) in zip(servers, BUCKETS):
        server.psql(f"SET ROLE {USER}; {SCHEMA} INSERT INTO accounts SELECT n, {BALANCE} "
                    f"FROM generate_series(1, {ACCOUNTS}) n "
                    f"WHERE {BUCKET.format(key='n')} BETWEEN {first} AND {last}; ANALYZE", database)


def sharded(servers, database, **options):
    """Of the configuration. `servers` may be relays with a `name`."""
    return {
        "shards": [{"name": server.name, "host": server.host, "port": server.port,
                    "dbname": database} for server in servers],
        "keyspaces": [{"name": "accounts", "type": "bigint", "buckets": [
            {"from": first, "to": last, "shard": server.name}
            for server, (first, last) in zip(servers, BUCKETS)]}],
        "tables": [{"name": "accounts", "keyspace": "accounts", "key": "id"},
                   {"name": "ledger", "keyspace": "accounts", "key": "account"},
                   {"name": "owners", "keyspace": "accounts", "key": "account"},
                   {"name": "rates", "reference": True}],
        **options,
    }


def config(servers, database, *, databases=None, **general):
    return {
        "pgshunt": {"auth_type": "trust", "workers": 2, "pool_mode": "transaction",
                    "default_pool_size": 10, "admin_users": ["admin"], "recovery_interval": 1,
                    "server_login_retry": 0.1, **general},
        "users": {USER: {"password": PASSWORD}, "admin": {}},
        "databases": {"bank": sharded(servers, database), **(databases or {})},
    }


def connections(proxy):
    """Of a fixture: makes connections, and closes them at its end."""
    made = []

    def connect(database="bank", **more):
        made.append(psycopg.connect(host=proxy.host, port=proxy.port, dbname=database, user=USER, password=PASSWORD,
                                    autocommit=True, **more))
        return made[-1]
    yield connect
    for connection in made:
        connection.close()


def keys_by_shard(server):
    """The keys each of the shards has."""
    placed = server.execute(f"SELECT n, {BUCKET.format(key='n')} FROM generate_series(1, {ACCOUNTS}) n")
    return [[key for key, bucket in placed if first <= bucket <= last] for first, last in BUCKETS]


def prepared(servers):
    """Gids that wait on any of the servers."""
    return {gid for server in servers for (gid,) in
            server.execute("SELECT gid FROM pg_prepared_xacts WHERE gid LIKE 'pgshunt:%'")}


def nothing_prepared(servers, timeout=15):
    wait_until(lambda: not prepared(servers), timeout, "nothing is prepared any more")


class Bank:
    """Clients that transfer at random between shards until they are stopped, whatever happens to
    their servers. Not within one: there a server with synchronous_commit = off may forget what it has
    committed, which two phases do not allow it."""

    def __init__(self, proxy, keys, clients, seed=1):
        self.proxy = proxy
        self._keys = keys
        self.outcomes = {}  # of each transfer: "committed", "aborted" or "unknown"
        self.codes = collections.Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(f"{seed}-{number}",), daemon=True)
                         for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _work(self, name):
        choose = random.Random(name)
        connection = None
        number = 0
        while not self._stop.is_set():
            try:
                if connection is None or connection.closed:
                    connection = self.proxy.connect("bank", USER, PASSWORD, connect_timeout=5)
                number += 1
                self._transfer(connection, choose, f"{name}-{number}")
            except psycopg2.Error as error:
                self.codes[error.pgcode] += 1
                if connection is not None:
                    connection.close()
                connection = None
                self._stop.wait(0.02)
        if connection is not None:
            connection.close()

    def _transfer(self, connection, choose, transfer):
        # In one order: nobody waits in a circle.
        first, second = sorted(choose.choice(keys) for keys in choose.sample(self._keys, 2))
        amount = choose.randint(-5, 5)
        self.outcomes[transfer] = "aborted"  # until COMMIT is sent, nothing else can be
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for account, change in ((first, amount), (second, -amount)):
                cursor.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s",
                               (change, account))
                cursor.execute("INSERT INTO ledger (account, transfer, amount) VALUES (%s, %s, %s)", (account, transfer, change))
            if choose.random() < 0.1:
                cursor.execute("ROLLBACK")
                return
            self.outcomes[transfer] = "unknown"
            try:
                cursor.execute("COMMIT")
            except psycopg2.Error as error:
                lost = error.pgcode is None or error.pgcode.startswith("08") or \
                    error.pgcode in (errorcodes.ADMIN_SHUTDOWN, errorcodes.CRASH_SHUTDOWN)
                self.outcomes[transfer] = "unknown" if lost else "aborted"
                raise
            self.outcomes[transfer] = "committed"

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def committed(self):
        return sum(outcome == "committed" for outcome in self.outcomes.values())


def check(servers, database, outcomes=None):
    """No half of a transfer is anywhere, and those the clients were sure of are as they were told."""
    balances = [row for server in servers
                for row in server.execute("SELECT id, balance FROM accounts", dbname=database)]
    assert len(balances) == ACCOUNTS
    assert sum(balance for _, balance in balances) == ACCOUNTS * BALANCE
    halves = collections.defaultdict(list)
    changes = collections.Counter()
    for server in servers:
        for account, transfer, amount in server.execute("SELECT * FROM ledger", dbname=database):
            halves[transfer].append(amount)
            changes[account] += amount
    for transfer, amounts in halves.items():
        assert len(amounts) == 2 and sum(amounts) == 0, f"{transfer} is half done"
    assert all(balance == BALANCE + changes[account] for account, balance in balances)
    for transfer, outcome in (outcomes or {}).items():
        if outcome != "unknown":
            assert (transfer in halves) == (outcome == "committed"), f"{transfer} was {outcome}"
