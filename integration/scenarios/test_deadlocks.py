"""Sessions that wait for each other on different shards: one gives way, and nobody who merely waits."""

import io
import threading

import psycopg2
import pytest

import transfers
from harness import wait_until
from harness.postgres import PASSWORD as SUPERPASSWORD, SUPERUSER
from transfers import PASSWORD, USER, keys_by_shard, nothing_prepared

DATABASE = "deadlock_bank"


@pytest.fixture(scope="module")
def servers(shards):
    transfers.create(shards, DATABASE)
    return shards


@pytest.fixture(scope="module")
def proxy(shared_proxy, servers):
    return shared_proxy(transfers.config(servers, DATABASE, deadlock_timeout=0.2))


@pytest.fixture(scope="module")
def keys(servers):
    """Two keys of each shard."""
    return [of_shard[:2] for of_shard in keys_by_shard(servers[0])]


class Client:
    """Statements run in a thread of their own; outcome() is the error's SQLSTATE, or None."""

    def __init__(self, proxy):
        self.connection = psycopg2.connect(host=proxy.host, port=proxy.port, dbname="bank", user=USER, password=PASSWORD)
        self.pid = self.connection.get_backend_pid()
        self.cursor = self.connection.cursor()
        self.thread = self.error = None

    def run(self, sql, *values):
        self.cursor.execute(sql, values or None)

    def begin_to(self, sql, *values):
        self.error = None

        def work():
            try:
                self.run(sql, *values)
            except psycopg2.Error as error:
                self.error = error
        self.thread = threading.Thread(target=work)
        self.thread.start()

    def waits(self):
        return self.thread.is_alive()

    def outcome(self):
        self.thread.join(20)
        assert not self.waits(), "still waiting"
        return self.error and self.error.pgcode

    def add(self, key):
        self.run("UPDATE accounts SET balance = balance + 1 WHERE id = %s", key)

    def begin_to_add(self, key):
        self.begin_to("UPDATE accounts SET balance = balance + 1 WHERE id = %s", key)


@pytest.fixture
def clients(proxy):
    made = []

    def clients(count, of=proxy):
        made.extend(Client(of) for _ in range(count))
        return made[-count:]
    yield clients
    for client in made:
        client.connection.cancel()
        if client.thread:
            client.thread.join(20)
        client.connection.close()


def waiting(server):
    return int(server.execute("SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.datname = %s JOIN pg_stat_activity "
                              "USING (pid) WHERE datid = d.oid AND NOT granted", (DATABASE,))[0][0])


def rounds_seen(server):
    """Of the detector's on one server, while it is there: wait_until(next) is one round more."""
    seen = set()

    def more(count):
        def look():
            seen.update(server.execute("SELECT query_start FROM pg_stat_activity WHERE datname = %s AND "
                                       "application_name = 'pgshunt deadlock detector'", (DATABASE,)))
            return len(seen) >= count
        return look
    return more


@pytest.mark.smoke
def test_two_sessions_on_two_shards(clients, servers, keys):
    older, younger = clients(2)
    older.add(keys[0][0])
    younger.add(keys[1][0])
    older.begin_to_add(keys[1][0])
    wait_until(lambda: waiting(servers[1]) == 1)
    younger.begin_to_add(keys[0][0])
    assert younger.outcome() == "40P01"
    detail = younger.error.diag.message_detail
    assert "deadlock detected" in str(younger.error)
    assert f"ession {older.pid} waits on shard \"{servers[1].name}\" for session {younger.pid}" in detail
    assert f"ession {younger.pid} waits on shard \"{servers[0].name}\" for session {older.pid}" in detail
    younger.connection.rollback()
    assert older.outcome() is None
    older.connection.commit()
    younger.add(keys[0][0])
    younger.connection.commit()


def test_three_sessions_on_three_shards(clients, servers, keys):
    three = clients(3)
    for client, of_shard in zip(three, keys):
        client.add(of_shard[0])
    for client, of_shard in zip(three, keys[1:] + keys[:1]):
        client.begin_to_add(of_shard[0])
    assert three[2].outcome() == "40P01"
    assert all(str(client.pid) in three[2].error.diag.message_detail for client in three)
    three[2].connection.rollback()
    assert three[1].outcome() is None
    three[1].connection.commit()
    assert three[0].outcome() is None
    three[0].connection.rollback()


def test_the_rest_of_two_circles_goes_on(clients, keys):
    """Four sessions, two circles: each loses one."""
    four = clients(4)
    for client, key in zip(four, (keys[0][0], keys[1][0], keys[1][1], keys[2][0])):
        client.add(key)
    for client, key in zip(four, (keys[1][0], keys[0][0], keys[2][0], keys[1][1])):
        client.begin_to_add(key)
    assert [four[1].outcome(), four[3].outcome()] == ["40P01", "40P01"]
    four[1].connection.rollback()
    four[3].connection.rollback()
    assert [four[0].outcome(), four[2].outcome()] == [None, None]


def test_who_merely_waits_is_left_alone(clients, servers, keys):
    patient, slow, last = clients(3)
    patient.add(keys[0][0])
    slow.add(keys[1][0])
    slow.add(keys[2][0])
    patient.begin_to_add(keys[1][0])
    last.add(keys[2][1])
    last.begin_to_add(keys[0][0])  # ... for one who waits
    more = rounds_seen(servers[1])
    wait_until(more(4), 20)
    assert patient.waits() and last.waits()
    slow.connection.commit()
    assert patient.outcome() is None
    patient.connection.commit()
    assert last.outcome() is None


def test_a_session_past_the_proxy_is_part_of_a_circle(clients, servers, keys):
    one, two = clients(2)
    with psycopg2.connect(host=servers[1].host, port=servers[1].port, dbname=DATABASE, user=SUPERUSER,
                          password=SUPERPASSWORD) as direct:
        cursor = direct.cursor()
        cursor.execute("UPDATE accounts SET balance = balance WHERE id = %s", (keys[1][0],))
        one.add(keys[0][0])
        two.add(keys[1][1])
        work = threading.Thread(target=cursor.execute, args=("UPDATE accounts SET balance = balance WHERE id = %s",
                                                             (keys[1][1],)))
        work.start()
        wait_until(lambda: waiting(servers[1]) == 1)
        one.begin_to_add(keys[1][0])
        two.begin_to_add(keys[0][0])
        assert two.outcome() == "40P01"
        two.connection.rollback()
        work.join(20)
        assert not work.is_alive()
        direct.rollback()
        assert one.outcome() is None


def test_statements_of_several_shards(clients, servers, keys):
    older, younger = clients(2)
    older.add(keys[1][0])
    younger.add(keys[0][0])
    older.begin_to("UPDATE accounts SET balance = balance + 1")  # begins on the first shard
    wait_until(lambda: waiting(servers[0]) == 1)
    younger.begin_to("UPDATE accounts SET balance = balance + 1 WHERE id IN (%s, %s)", keys[1][0], keys[2][0])
    assert younger.outcome() == "40P01"
    younger.connection.rollback()
    assert older.outcome() is None


def test_who_holds_a_pools_servers_waits_for_one_who_waits_for_that_pool(make_proxy, clients, servers, keys):
    small = make_proxy(transfers.config(servers, DATABASE, default_pool_size=1, deadlock_timeout=0.2,
                                        query_wait_timeout=60, log_level="debug"))
    owner, one, two = clients(3, small)
    one.add(keys[1][0])
    owner.add(keys[0][0])
    one.begin_to_add(keys[0][0])  # by a second server of shard 0
    wait_until(lambda: waiting(servers[0]) == 1)
    owner.begin_to_add(keys[1][1])  # shard 1 has one server, which waits
    assert owner.outcome() is None
    assert one.waits()
    two.begin_to_add(keys[1][0])  # waits for a server, holds none
    owner.connection.commit()
    assert one.outcome() is None
    one.connection.commit()
    assert two.outcome() is None
    two.connection.commit()
    wait_until(lambda: small.log_text().count(": beyond pool_size") == 2, 10, "what was opened beyond it is closed")
    assert small.log_text().count("server_beyond_pool_size") == 1


def test_copy(clients, servers, keys):
    older, younger = clients(2)
    row = "INSERT INTO ledger VALUES (%s, 'copied', 1)"
    older.run(row, keys[1][0])
    younger.run(row, keys[0][0])
    older.begin_to(row, keys[0][0])
    wait_until(lambda: waiting(servers[0]) == 1)
    with pytest.raises(psycopg2.errors.DeadlockDetected):
        younger.cursor.copy_expert("COPY ledger FROM STDIN", io.StringIO(f"{keys[1][0]}\tcopied\t1\n"))
    younger.connection.rollback()
    assert older.outcome() is None


def test_prepared_transactions_hold_locks_too(clients, servers, keys):
    """One is committing: part of it is prepared, part waits in PREPARE for the other's row."""
    committing, other = clients(2)
    other.run("INSERT INTO owners VALUES (%s, 'taken')", keys[1][0])
    committing.add(keys[0][0])  # decides
    committing.add(keys[2][0])
    committing.run("INSERT INTO owners VALUES (%s, 'taken')", keys[1][0])  # looked at when it ends
    committing.begin_to("COMMIT")
    wait_until(lambda: waiting(servers[1]) == 1)
    wait_until(lambda: transfers.prepared(servers))
    other.begin_to_add(keys[2][0])
    assert other.outcome() == "40P01"
    other.connection.rollback()
    assert committing.outcome() is None
    nothing_prepared(servers)
    other.run("SELECT balance FROM accounts WHERE id = %s", keys[2][0])
    assert other.cursor.fetchone()[0] > transfers.BALANCE


def test_lock_timeout_and_cancel_are_told_as_what_they_are(clients, servers, keys):
    one, two = clients(2)
    one.add(keys[0][0])
    two.add(keys[1][0])
    one.begin_to_add(keys[1][0])
    more = rounds_seen(servers[1])
    wait_until(more(1), 20)
    one.connection.cancel()
    assert one.outcome() == "57014"
