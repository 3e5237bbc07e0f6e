"""Transactions that write on several shards commit on all of them or on none."""

import subprocess
import threading

import psycopg2
import pytest
from psycopg import pq

import transfers
from harness import wait_until
from harness.proxy import binary
from transfers import PASSWORD, USER, Bank, check, keys_by_shard, nothing_prepared, prepared

BANK = "two_phase_bank"


@pytest.fixture(scope="module")
def servers(shards):
    transfers.create(shards, BANK)
    return shards


@pytest.fixture(scope="module")
def proxy(shared_proxy, servers):
    return shared_proxy(transfers.config(servers, BANK))


@pytest.fixture(scope="module")
def keys(servers):
    """One key of each shard."""
    return [of_shard[0] for of_shard in keys_by_shard(servers[0])]


@pytest.fixture
def client(proxy):
    connection = proxy.connect("bank", USER, PASSWORD)
    yield connection.cursor()
    connection.close()


def balance(cursor, key):
    cursor.execute("SELECT balance FROM accounts WHERE id = %s", (key,))
    return cursor.fetchone()[0]


def move(cursor, amount, *keys):
    for key in keys:
        cursor.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (amount, key))


def rate(servers):
    return [server.execute("SELECT code, rate FROM rates ORDER BY 1", dbname=BANK) for server in servers]


def test_commits_everywhere_and_is_seen_at_once(client, servers, keys):
    before = [balance(client, key) for key in keys]
    for round_ in range(20):
        client.execute("BEGIN")
        move(client, 1, *keys)
        client.execute("COMMIT")
        assert [balance(client, key) for key in keys] == [each + round_ + 1 for each in before]
    client.execute("BEGIN")
    move(client, -20, *keys)
    client.execute("COMMIT")
    assert not prepared(servers)
    # The first writer's shard decided, with the others' transactions prepared by then.
    assert servers[0].execute("SELECT count(*) FROM pgshunt.decision WHERE committed AND "
                              "gid LIKE 'pgshunt:bank:%'", dbname=BANK)[0][0] >= 21
    check(servers, BANK)


def test_one_writer_needs_no_decision(client, servers, keys):
    count = "SELECT count(*) FROM pgshunt.decision"
    client.execute("BEGIN")
    move(client, 0, keys[0], keys[1])
    client.execute("COMMIT")
    before = servers[0].execute(count, dbname=BANK)
    client.execute("BEGIN")
    balance(client, keys[1])
    move(client, 0, keys[0])
    client.execute("COMMIT")
    assert servers[0].execute(count, dbname=BANK) == before


def test_rolls_back_everywhere(client, keys):
    before = [balance(client, key) for key in keys]
    client.execute("BEGIN")
    move(client, 5, *keys)
    client.execute("ROLLBACK")
    client.execute("BEGIN")
    move(client, 5, *keys)
    with pytest.raises(psycopg2.errors.NotNullViolation):
        client.execute("UPDATE accounts SET balance = NULL WHERE id = %s", (keys[1],))
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        client.execute("SELECT 1")
    client.execute("COMMIT")
    assert client.statusmessage == "ROLLBACK"
    assert [balance(client, key) for key in keys] == before


def test_savepoints_reach_every_shard(client, keys):
    before = [balance(client, key) for key in keys]
    client.execute("BEGIN")
    move(client, 3, keys[0])
    client.execute("SAVEPOINT s")
    move(client, 4, *keys)
    with pytest.raises(psycopg2.errors.NotNullViolation):
        client.execute("UPDATE accounts SET balance = NULL WHERE id = %s", (keys[2],))
    client.execute("ROLLBACK TO s")
    move(client, -3, keys[1])
    client.execute("COMMIT")
    assert [balance(client, key) for key in keys] == [before[0] + 3, before[1] - 3, before[2]]
    client.execute("BEGIN")
    move(client, -3, keys[0])
    move(client, 3, keys[1])
    client.execute("COMMIT")


@pytest.mark.parametrize("culprit", [0, 1, 2])
def test_a_deferred_constraint_fails_on_any_shard(client, servers, keys, culprit):
    before = [balance(client, key) for key in keys]
    client.execute("INSERT INTO owners (account, name) VALUES (%s, %s)", (keys[culprit], f"taken {culprit}"))
    client.execute("BEGIN")
    move(client, 7, *keys)
    client.execute("INSERT INTO owners (account, name) VALUES (%s, %s)", (keys[culprit], f"taken {culprit}"))
    with pytest.raises(psycopg2.errors.UniqueViolation) as raised:
        client.execute("COMMIT")
    assert raised.value.diag.constraint_name == "owners_name_key"
    assert [balance(client, key) for key in keys] == before
    assert not prepared(servers)
    client.execute("DELETE FROM owners WHERE account = %s", (keys[culprit],))


def test_settings_return_when_the_commit_fails(client, keys):
    client.execute("INSERT INTO owners (account, name) VALUES (%s, 'set')", (keys[1],))
    client.execute("SET statement_timeout = '77s'")
    client.execute("BEGIN")
    client.execute("SET statement_timeout = '99s'")
    move(client, 0, *keys)
    client.execute("INSERT INTO owners (account, name) VALUES (%s, 'set')", (keys[1],))
    with pytest.raises(psycopg2.errors.UniqueViolation):
        client.execute("COMMIT")
    client.execute("SHOW statement_timeout")
    assert client.fetchone() == ("77s",)
    client.execute("DELETE FROM owners WHERE account = %s", (keys[1],))


def test_what_cannot_be_prepared_is_said(client, keys):
    """NOTIFY runs on the first shard, which decides if it is written to, and prepares nothing."""
    before = [balance(client, key) for key in keys]
    client.execute("BEGIN")
    client.execute("NOTIFY news")
    move(client, 1, *keys)
    client.execute("COMMIT")
    client.execute("BEGIN")
    move(client, -1, *keys)
    client.execute("COMMIT")
    assert [balance(client, key) for key in keys] == before


def test_a_serialization_failure_at_commit_is_the_clients(proxy, servers, keys):
    """Write skew between two transactions: PostgreSQL lets one of them fail, at PREPARE or COMMIT."""
    clients = [proxy.connect("bank", USER, PASSWORD).cursor() for _ in range(2)]
    for cursor in clients:
        cursor.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        for key in keys[:2]:
            cursor.execute("SELECT sum(balance) FROM accounts WHERE id = %s", (key,))
    failed = 0
    for cursor, key in zip(clients, keys[:2]):
        try:
            # Each writes what the other has read, on both shards.
            for shard in (0, 1):
                cursor.execute("INSERT INTO owners (account, name) VALUES (%s, %s)", (keys[shard], f"skew {key} {shard}"))
            cursor.execute("UPDATE accounts SET balance = balance WHERE id = %s", (key,))
            cursor.execute("COMMIT")
        except psycopg2.errors.SerializationFailure:
            failed += 1
            cursor.execute("ROLLBACK")
        cursor.connection.close()
    assert failed <= 1
    nothing_prepared(servers, 3)


def test_a_pipeline_commits_as_one(proxy, servers, keys):
    connection = pq.PGconn.connect(proxy.dsn("bank", USER, PASSWORD).encode())
    assert connection.status == pq.ConnStatus.OK

    def pipeline(*statements):
        connection.enter_pipeline_mode()
        for sql in statements:
            connection.send_query_params(sql.encode(), [])
        connection.pipeline_sync()
        codes = []
        while True:
            result = connection.get_result()
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                break
            codes.append(result.error_field(pq.DiagnosticField.SQLSTATE))
        connection.exit_pipeline_mode()
        return codes

    insert = "INSERT INTO owners (account, name) VALUES ({}, '{}')"
    assert pipeline(insert.format(keys[0], "pipe"), insert.format(keys[1], "pipe")) == [None, None]
    found = [server.execute("SELECT count(*) FROM owners WHERE name = 'pipe'", dbname=BANK)[0][0]
             for server in servers]
    assert found == [1, 1, 0]
    # Its Sync commits, and fails.
    pipeline(insert.format(keys[2], "pipe"), insert.format(keys[1], "pipe"))
    assert servers[2].execute("SELECT count(*) FROM owners WHERE name = 'pipe'", dbname=BANK) == [(0,)]
    connection.finish()


def test_reference_tables_are_written_on_all_shards_or_none(proxy, client, servers, keys):
    client.execute("INSERT INTO rates (code, rate) VALUES ('EUR', 1)")
    assert client.statusmessage == "INSERT 0 1"
    client.execute("BEGIN")
    client.execute("UPDATE rates SET rate = 2")
    move(client, 0, keys[1])
    client.execute("COMMIT")
    assert rate(servers) == [[("EUR", 2)]] * 3

    def write(number):
        cursor = proxy.connect("bank", USER, PASSWORD).cursor()
        for round_ in range(15):
            # Sees the rows of all who wrote before, on every shard the same ones.
            cursor.execute("UPDATE rates SET rate = rate + 1")
            cursor.execute("INSERT INTO rates (code, rate) VALUES (%s, 0)", (f"{number}-{round_}",))
        cursor.connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    copies = rate(servers)
    assert len(copies[0]) == 61 and copies[0] == copies[1] == copies[2]
    assert not prepared(servers)
    client.execute("DELETE FROM rates")


def test_transfers_keep_the_sum(proxy, servers):
    bank = Bank(proxy, keys_by_shard(servers[0]), 8)
    wait_until(lambda: bank.committed() > 400, 60)
    bank.stop()
    assert not bank.codes
    nothing_prepared(servers, 3)
    check(servers, BANK, bank.outcomes)


# --- recovery ---


def decision(name, decider, database="bank"):
    """One that no proxy has made; the mark is anybody's."""
    return f"pgshunt:{database}:deadbeef:{name:0<32}:{decider}"


def prepare(server, name, account, part=1, role=USER):
    name = f"{name}:{part}"
    with psycopg2.connect(host=server.host, port=server.port, dbname=BANK, user=USER, password=PASSWORD) as connection:
        cursor = connection.cursor()
        cursor.execute(f'SET ROLE "{role}"')
        cursor.execute("INSERT INTO ledger (account, transfer, amount) VALUES (%s, %s, 0)", (account, name))
        cursor.execute(f"PREPARE TRANSACTION '{name}'")
    connection.close()


def test_recovery_rolls_back_what_nobody_decided(client, servers, keys):
    move_something(client, keys)  # the schema is there
    name = decision("abandoned", servers[0].name)
    prepare(servers[1], name, 1001)
    prepare(servers[2], name, 1001, 2)
    nothing_prepared(servers, 5)
    for server in servers[1:]:
        assert not server.execute("SELECT 1 FROM ledger WHERE account = 1001", dbname=BANK)
    # Its tombstone makes a slow committer fail.
    assert servers[0].execute("SELECT committed FROM pgshunt.decision WHERE gid = %s", (name,),
                              dbname=BANK) == [(False,)]


def test_recovery_commits_what_was_decided(client, servers, keys):
    move_something(client, keys)
    name = decision("decided", servers[0].name)
    servers[0].execute("INSERT INTO pgshunt.decision VALUES (%s, true)", (name,), dbname=BANK)
    prepare(servers[1], name, 1002)
    prepare(servers[2], name, 1002, 2)
    nothing_prepared(servers, 5)
    for server in servers[1:]:
        assert server.execute("SELECT 1 FROM ledger WHERE account = 1002", dbname=BANK)
        server.execute("DELETE FROM ledger WHERE account = 1002", dbname=BANK)


def test_recovery_waits_for_a_slow_committer(client, servers, keys):
    move_something(client, keys)
    name = decision("slow", servers[0].name)
    slow = servers[0].connect(BANK)
    slow.autocommit = False
    slow.cursor().execute("INSERT INTO pgshunt.decision VALUES (%s, true)", (name,))
    prepare(servers[1], name, 1003)
    # It waits for the row's transaction, and gives up for a while, again and again.
    waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pgshunt.resolve%' AND " \
        "wait_event_type = 'Lock'"
    for _ in range(2):
        wait_until(lambda: servers[0].execute(waits)[0][0] == 1, 10)
        wait_until(lambda: servers[0].execute(waits)[0][0] == 0, 10)
    assert prepared(servers) == {f"{name}:1"}
    slow.commit()
    slow.close()
    nothing_prepared(servers, 5)
    assert servers[1].execute("DELETE FROM ledger WHERE account = 1003 RETURNING 1", dbname=BANK)


@pytest.fixture
def other_role(servers):
    """One that the proxy's user may become, and nobody logs in as."""
    role = "head teller"
    for server in servers:
        server.psql(f'CREATE ROLE "{role}"; GRANT "{role}" TO {USER}; GRANT INSERT ON ledger TO "{role}"', BANK)
    yield role
    for server in servers:
        server.psql(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"', BANK)


def test_recovery_of_what_was_prepared_as_another_role(client, servers, keys, other_role):
    move_something(client, keys)
    name = decision("role", servers[0].name)
    prepare(servers[1], name, 1005, role=other_role)
    assert servers[1].execute("SELECT owner FROM pg_prepared_xacts WHERE gid LIKE %s", (f"{name}%",)) == [(other_role,)]
    nothing_prepared(servers, 5)
    assert not servers[1].execute("SELECT 1 FROM ledger WHERE account = 1005", dbname=BANK)


def test_what_cannot_be_recovered_is_shown(proxy, servers):
    name = decision("orphan", "elsewhere")
    prepare(servers[1], name, 1004)
    try:
        def shown():
            console = proxy.connect("pgshunt", "admin").cursor()
            console.execute("SHOW TRANSACTIONS")
            rows = [row for row in console.fetchall() if row[6]]
            console.connection.close()
            return rows
        (row,) = wait_until(shown, 5)
        assert row[:3] == ("bank", f"{name}:1", servers[1].name)
        assert row[4:] == (USER, None, "the configuration has no shard of its decider's name")
    finally:
        servers[1].execute(f"ROLLBACK PREPARED '{name}:1'", dbname=BANK)


def move_something(client, keys):
    client.execute("BEGIN")
    move(client, 0, *keys)
    client.execute("COMMIT")


def test_nobody_decides_for_others(client, servers, keys):
    move_something(client, keys)
    name = decision("0123456789abcdef", servers[0].name)
    with psycopg2.connect(host=servers[0].host, port=servers[0].port, dbname=BANK, user=USER, password=PASSWORD) as connection:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            connection.cursor().execute("SELECT pgshunt.decide(%s, 'a guess')", (name,))
    connection.close()


# --- servers that are not ready for it ---


def test_a_server_without_prepared_transactions_is_explained(make_postgres, make_proxy):
    servers = [make_postgres(f"bare{number}", settings={"max_prepared_transactions": size})
               for number, size in ((1, 10), (2, 0), (3, 10))]
    transfers.create(servers, BANK)
    keys = [of_shard[0] for of_shard in keys_by_shard(servers[0])]
    proxy = make_proxy(transfers.config(servers, BANK))
    cursor = proxy.connect("bank", USER, PASSWORD).cursor()
    cursor.execute("BEGIN")
    move(cursor, 1, keys[0])
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState) as raised:
        move(cursor, 1, keys[1])
    assert "max_prepared_transactions is 0 on shard \"bare2\"" in str(raised.value)
    cursor.execute("ROLLBACK")
    # One shard at a time needs nothing, and neither do two that are ready.
    move(cursor, 0, keys[1])
    move_something(cursor, [keys[0], keys[2]])
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
        cursor.execute("INSERT INTO rates (code, rate) VALUES ('EUR', 1)")
    cursor.connection.close()


def test_the_schema_can_be_installed_by_hand(make_proxy, servers, keys):
    """The proxy's user may not create it: that is explained, and what it prints is enough."""
    bank = "two_phase_by_hand"
    transfers.create(servers, bank, owner="postgres")
    for server in servers:
        server.psql(f"REVOKE CREATE ON DATABASE {bank} FROM PUBLIC", bank)
    proxy = make_proxy(transfers.config(servers, bank))
    cursor = proxy.connect("bank", USER, PASSWORD).cursor()
    cursor.execute("BEGIN")
    move(cursor, 0, keys[0])
    with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState) as raised:
        move(cursor, 0, keys[1])
    assert "pgshunt --print-schema" in raised.value.diag.message_hint
    cursor.execute("ROLLBACK")
    script = subprocess.run([str(binary()), "--print-schema"], capture_output=True, text=True,
                            check=True).stdout
    for server in servers:
        server.psql(script + f"GRANT SELECT, DELETE ON pgshunt.decision TO {USER};"
                    f"GRANT EXECUTE ON FUNCTION pgshunt.resolve(text) TO {USER};", bank)

    def works():
        cursor.execute("ROLLBACK")
        move_something(cursor, keys)
        return True
    wait_until(works, 5)
    cursor.connection.close()


def test_branches_of_tpc_b_on_shards(make_proxy, servers):
    """pgbench's transaction with all of its tables sharded by branch, the account's branch often another."""
    bank = "two_phase_tpcb"
    tables = {"pgbench_branches": "bid", "pgbench_tellers": "bid", "pgbench_accounts": "bid",
              "pgbench_history": "bid"}
    for server in servers:
        server.create_database(bank, USER)
        server.psql(f"SET ROLE {USER}; CREATE TABLE pgbench_branches (bid bigint PRIMARY KEY, bbalance int);"
                    "CREATE TABLE pgbench_tellers (tid bigint, bid bigint, tbalance int, PRIMARY KEY (bid, tid));"
                    "CREATE TABLE pgbench_accounts (aid bigint, bid bigint, abalance int, PRIMARY KEY (bid, aid));"
                    "CREATE TABLE pgbench_history (tid bigint, bid bigint, aid bigint, delta int);", bank)
    options = transfers.sharded(servers, bank)
    options["tables"] = [{"name": table, "keyspace": "accounts", "key": key} for table, key in tables.items()]
    proxy = make_proxy(transfers.config(servers, bank, databases={"bank": options}))
    cursor = proxy.connect("bank", USER, PASSWORD).cursor()
    branches = 6
    for bid in range(1, branches + 1):
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO pgbench_branches (bid, bbalance) VALUES (%s, 0)", (bid,))
        cursor.execute("INSERT INTO pgbench_tellers (tid, bid, tbalance) VALUES (%s, %s, 0)", (bid, bid))
        for aid in range(1, 6):
            cursor.execute("INSERT INTO pgbench_accounts (aid, bid, abalance) VALUES (%s, %s, 0)", (aid, bid))
        cursor.execute("COMMIT")

    def work(number):
        mine = proxy.connect("bank", USER, PASSWORD).cursor()
        for step in range(40):
            home = (number + step) % branches + 1
            # The account is another branch's; rows are locked in one order over all shards.
            account = (number * 3 + step * 5) % branches + 1
            delta, aid = step - 20, step % 5 + 1
            changes = [(account, "UPDATE pgbench_accounts SET abalance = abalance + %s "
                        "WHERE bid = %s AND aid = %s", (delta, account, aid)),
                       (home, "UPDATE pgbench_tellers SET tbalance = tbalance + %s "
                        "WHERE bid = %s AND tid = %s", (delta, home, home)),
                       (home, "UPDATE pgbench_branches SET bbalance = bbalance + %s WHERE bid = %s",
                        (delta, home))]
            mine.execute("BEGIN")
            # Accounts of one branch are locked before tellers and branches of any.
            for _, sql, values in changes:
                mine.execute(sql, values)
            mine.execute("INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (%s, %s, %s, %s)", (home, home, aid, delta))
            mine.execute("COMMIT")
        mine.connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    sums = []
    for column, table in (("abalance", "pgbench_accounts"), ("tbalance", "pgbench_tellers"),
                          ("bbalance", "pgbench_branches"), ("delta", "pgbench_history")):
        cursor.execute(f"SELECT {column} FROM {table}")
        sums.append(sum(value for value, in cursor.fetchall()))
    assert sums == [sums[0]] * 4
    cursor.execute("SELECT delta FROM pgbench_history")
    assert cursor.rowcount == 160
    cursor.connection.close()
    nothing_prepared(servers, 3)
