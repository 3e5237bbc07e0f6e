"""A comment or a setting says which shard a statement runs on, where the proxy could not know."""

import psycopg
import psycopg2
import pytest

import transfers
from harness import wait_until
from transfers import PASSWORD, USER, keys_by_shard

DATABASE = "hinted_bank"
FUNCTION = """
CREATE OR REPLACE FUNCTION where_am_i() RETURNS text LANGUAGE sql AS $$ SELECT place FROM place $$;
"""


@pytest.fixture(scope="module")
def servers(shards):
    transfers.create(shards, DATABASE)
    for server in shards:
        server.psql(f"SET ROLE {USER}; CREATE TABLE place (place text); INSERT INTO place VALUES ('{server.name}'); "
                    + FUNCTION, DATABASE)
    return shards


@pytest.fixture(scope="module")
def proxy(shared_proxy, servers):
    plain = {"host": servers[0].host, "port": servers[0].port, "dbname": DATABASE}
    return shared_proxy(transfers.config(servers, DATABASE, databases={"plain": plain}))


@pytest.fixture(scope="module")
def names(servers):
    return [server.name for server in servers]


@pytest.fixture(scope="module")
def keys(servers):
    """One key of each shard."""
    return [of_shard[0] for of_shard in keys_by_shard(servers[0])]


@pytest.fixture
def connect(proxy):
    yield from transfers.connections(proxy)


def where(connection, hint="", values=None, **more):
    return connection.execute(f"{hint} SELECT where_am_i() {'WHERE 1 = %s' if values else ''}", values, **more).fetchone()[0]


@pytest.mark.smoke
def test_a_comment_says_which_shard(connect, names, keys):
    connection = connect()
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        where(connection)
    for name, key in zip(names, keys):
        for values in (None, [1]):  # by the simple protocol, and by the extended one
            for prepare in (False, True):
                assert where(connection, f"/* pgshunt: shard={name} */", values, prepare=prepare) == name
                assert where(connection, f"/* pgshunt: key={key} */", values, prepare=prepare) == name
                assert where(connection, f"/* pgshunt: key='{key}', keyspace=accounts role=replica */", values) == name
        assert connection.execute(f"SELECT where_am_i() /* pgshunt: shard={name} */").fetchone()[0] == name
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        where(connection, values=[1])


@pytest.mark.parametrize("form", ["\n{hint} {sql}", "{sql} {hint};", "{sql} {hint} \n", "{sql}\n{hint} ;\n", "{sql} {hint} -- as-is",
                                  "-- why\n{hint}{sql}", "{sql} /* PgShunt : shard={name} */", "{sql}; {hint}", "{sql};{hint};",
                                  "{sql} ; -- pgshunt is great\n {hint}"])
@pytest.mark.parametrize("values", [None, [1]], ids=["simple", "extended"])
def test_wherever_the_comment_stands(connect, names, form, values):
    connection = connect()
    for name in names:
        sql = form.format(hint=f"/* pgshunt: shard={name} */", name=name,
                          sql="SELECT where_am_i()" + (" WHERE 1 = %s" if values else ""))
        assert connection.execute(sql, values).fetchone() == (name,)


def test_a_hint_behind_the_semicolon_of_whatever_is_said(connect, servers, names, keys):
    connection = connect()
    hint = f"/* pgshunt: shard={names[1]} */"
    there = [int(server.execute("SELECT count(*) FROM accounts", dbname=DATABASE)[0][0]) for server in servers]
    assert connection.execute(f"UPDATE accounts SET balance = balance; {hint}").rowcount == there[1]
    assert connection.execute(f"SELECT id FROM accounts; {hint}").rowcount == there[1]
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="belongs to shard"):
        connection.execute(f"INSERT INTO ledger VALUES ({keys[0]}, 'b', 1), ({keys[2]}, 'b', 1); {hint}")
    assert connection.execute("INSERT INTO ledger VALUES " + ", ".join(f"({key}, 'b', 1)" for key in keys)
                              + "; /* pgshunt: role=any */").rowcount == 3
    assert connection.execute(f"DELETE FROM ledger; {hint}").rowcount == 1
    assert connection.execute(f"EXPLAIN (PGSHUNT) DELETE FROM ledger; {hint}").fetchone() == ("Route: one shard",)
    assert connection.execute(f"EXPLAIN (PGSHUNT, ANALYZE) DELETE FROM ledger; {hint}").fetchone() == ("Route: one shard",)
    connection.execute(f"CREATE TABLE there (a int); {hint}")
    connection.execute(f"DROP TABLE there; {hint}")
    assert connection.execute("DELETE FROM ledger; /* pgshunt: role=any */").rowcount == 2
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="behind the last of several statements"):
        connection.execute(f"DELETE FROM ledger; DELETE FROM ledger; {hint}")


@pytest.mark.parametrize("values", [None, [1]], ids=["simple", "extended"])
def test_a_malformed_hint_is_not_passed_over(connect, names, values):
    connection = connect()
    sql = "SELECT 1" + (" WHERE 1 = %s" if values else "")
    for form in ("{sql}; /* pgshunt: shard */", "{sql} -- x\n/* pgshunt: shard= */", "/* pgshunt shard={name} */ {sql}",
                 "-- pgshunt: shard={name}\n{sql}", "{sql}; -- pgshunt key=5", "/* pgshunt: */ {sql}"):
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
            connection.execute(form.format(sql=sql, name=names[0]), values)
        assert "/* pgshunt: shard=name */" in refused.value.diag.message_hint
    for form in ("/* written for pgshunt */ {sql}", "-- pgshunt is great\n{sql}", "{sql}; /* pgshunt version=2 */"):
        assert connection.execute(form.format(sql=sql), values).fetchone() == (1,)


def test_what_was_set_local_is_taken_back_by_a_reset(connect, names, keys):
    connection = connect()
    for statement in ("RESET pgshunt.shard", "RESET ALL", "SET pgshunt.shard = DEFAULT"):
        for values in (None, ()):
            with connection.transaction():
                connection.execute(f"SET LOCAL pgshunt.shard = '{names[1]}'")
                assert connection.execute("SELECT where_am_i()").fetchone() == (names[1],)
                connection.execute("SAVEPOINT here")
                connection.execute(statement, values)
                assert len(connection.execute("SELECT id FROM accounts").fetchall()) == transfers.ACCOUNTS
                connection.execute("ROLLBACK TO here")
                assert connection.execute("SELECT where_am_i()").fetchone() == (names[1],)
                connection.execute(statement, values)
    assert len(connection.execute("SELECT id FROM accounts").fetchall()) == transfers.ACCOUNTS


def test_discard_all_is_for_every_shard(connect, names):
    connection, other = connect(), connect()
    hint = f"/* pgshunt: shard={names[2]} */"
    connection.execute(f"{hint} SELECT pg_advisory_lock(77)")
    connection.execute(f"/* pgshunt: shard={names[1]} */ CREATE TEMP TABLE gone (a int)")
    assert other.execute(f"{hint} SELECT pg_try_advisory_lock(77)").fetchone() == (False,)
    connection.execute("DISCARD ALL")
    wait_until(lambda: other.execute(f"{hint} SELECT pg_try_advisory_lock(77)").fetchone()[0])
    other.execute(f"{hint} SELECT pg_advisory_unlock_all()")
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute(f"/* pgshunt: shard={names[1]} */ SELECT * FROM gone")


def test_who_loses_a_lock_is_told(connect, servers, names):
    connection = connect()
    connection.execute(f"/* pgshunt: shard={names[1]} */ SELECT pg_advisory_lock(900)")
    assert servers[1].execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 900") == [(True,)]

    def told():
        try:
            connection.execute("SELECT 2")
        except psycopg.OperationalError:
            return True
        return False
    wait_until(told, 5)


def test_every_shard_of_a_message(proxy, names):
    with psycopg2.connect(host=proxy.host, port=proxy.port, dbname="bank", user=USER, password=PASSWORD) as connection:
        cursor = connection.cursor()
        cursor.execute(f"/* pgshunt: shard={names[0]} */ CREATE TABLE said (place text); "
                       f"/* pgshunt: shard={names[2]} */ CREATE TABLE said (place text); "
                       f"/* pgshunt: shard={names[2]} */ INSERT INTO said SELECT where_am_i(); "
                       f"/* pgshunt: shard={names[2]} */ SELECT place FROM said")
        assert cursor.fetchall() == [(names[2],)]
        with pytest.raises(psycopg2.errors.UndefinedTable):
            cursor.execute(f"/* pgshunt: shard={names[1]} */ SELECT place FROM said")


def test_commands_run_on_that_shard_alone(connect, servers, names):
    connection = connect()
    hint = f"/* pgshunt: shard={names[1]} */"
    count = "SELECT count(*) FROM pg_indexes WHERE indexname = 'hinted'"

    def there():
        return [int(server.execute(count, dbname=DATABASE)[0][0]) for server in servers]
    connection.execute(f"{hint} CREATE INDEX CONCURRENTLY hinted ON ledger (transfer)")
    assert there() == [0, 1, 0]
    wait_until(lambda: connection.execute(f"{hint} DROP INDEX hinted"))
    assert there() == [0, 0, 0]
    connection.execute(f"{hint} DO $$ BEGIN CREATE TABLE of_one (a int); DROP TABLE of_one; END $$")
    assert connection.execute(f"{hint} PREPARE p AS SELECT where_am_i()").statusmessage == "PREPARE"
    assert connection.execute(f"{hint} EXECUTE p").fetchone() == (names[1],)
    connection.execute(f"{hint} DEALLOCATE p")


def test_copy(connect, servers, names, keys):
    connection = connect()
    hint = f"/* pgshunt: shard={names[1]} */"

    def rows(statement):
        with connection.cursor().copy(f"{hint} {statement}") as copy:
            return b"".join(copy)
    assert rows("COPY (SELECT where_am_i()) TO STDOUT") == names[1].encode() + b"\n"
    there = servers[1].execute("SELECT count(*) FROM accounts", dbname=DATABASE)[0][0]
    assert rows("COPY accounts TO STDOUT").count(b"\n") == int(there)

    def fill(table, text):
        with connection.cursor().copy(f"{hint} COPY {table} FROM STDIN") as copy:
            copy.write(text)
    fill("ledger", f"{keys[1]}\tcopied\t1\n")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="belongs to shard"):
        fill("ledger", f"{keys[1]}\tmore\t1\n{keys[2]}\tcopied\t1\n")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="reference table"):
        fill("rates", "EUR\t1\n")
    assert connection.execute("DELETE FROM ledger RETURNING transfer").fetchall() == [("copied",)]


def test_what_a_hint_may_not_do(connect, servers, names, keys):
    connection = connect()
    hint = f"/* pgshunt: shard={names[1]} */"
    for statement in ("INSERT INTO rates VALUES ('EUR', 1)", "UPDATE rates SET rate = 1", "TRUNCATE rates"):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="reference table"):
            connection.execute(f"{hint} {statement}")
    insert = "INSERT INTO ledger VALUES (%s, 'hinted', 1)"
    connection.execute(f"{hint} {insert}", [keys[1]])
    for key in (keys[0], keys[2]):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="belongs to shard"):
            connection.execute(f"{hint} {insert}", [key])
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="belongs to shard"):
            connection.execute(f"{hint} INSERT INTO ledger VALUES ({keys[1]}, 'b', 1), ({key}, 'b', 1)")
    for comment, words in (("shard=nobody", names[0]), ("key=five", "invalid input"), ("shart=x", "shard, key"),
                           ("role=master", "primary, replica"), (f"shard={names[0]} key={keys[1]}", "contradict")):
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
            connection.execute(f"/* pgshunt: {comment} */ SELECT 1")
        assert words in str(refused.value)
    assert connection.execute("DELETE FROM ledger").rowcount == 1


def test_settings(connect, names, keys):
    connection = connect()
    connection.execute(f"SET pgshunt.shard = '{names[2]}'")
    for values in (None, [1]):
        assert where(connection, values=values) == names[2]
        assert where(connection, f"/* pgshunt: shard={names[0]} */", values) == names[0]
    assert connection.execute("SHOW pgshunt.shard").fetchone() == (names[2],)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="reference table"):
        connection.execute("UPDATE rates SET rate = 1")
    connection.execute("RESET pgshunt.shard")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        where(connection)
    connection.execute(f"SET pgshunt.key = {keys[1]}")
    assert where(connection) == names[1]
    connection.execute("RESET ALL")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        where(connection)
    connection.execute("SET pgshunt.role = replica")  # everything is the primary
    assert len(connection.execute("SELECT id FROM accounts").fetchall()) == transfers.ACCOUNTS
    for statement, error in (("SET pgshunt.shard = 'nobody'", psycopg.errors.InvalidParameterValue),
                             ("SET pgshunt.key = 'five'", psycopg.errors.InvalidParameterValue),
                             ("SET pgshunt.role = 'master'", psycopg.errors.InvalidParameterValue),
                             ("SET pgshunt.shart = 'x'", psycopg.errors.UndefinedObject),
                             ("SHOW pgshunt.shart", psycopg.errors.UndefinedObject)):
        for values in (None, ()):
            with pytest.raises(error):
                connection.execute(statement, values, prepare=values is not None)


def test_settings_belong_to_their_transaction(connect, names):
    connection = connect()
    with pytest.raises(ZeroDivisionError), connection.transaction():
        connection.execute(f"SET pgshunt.shard = '{names[1]}'")
        assert where(connection) == names[1]
        raise ZeroDivisionError
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        where(connection)
    with connection.transaction():
        connection.execute(f"SET LOCAL pgshunt.shard = '{names[1]}'")
        assert where(connection) == names[1] and where(connection, values=[1]) == names[1]
        with pytest.raises(ZeroDivisionError), connection.transaction():  # a savepoint
            connection.execute(f"SET LOCAL pgshunt.shard = '{names[0]}'")
            assert where(connection) == names[0]
            raise ZeroDivisionError
        assert where(connection) == names[1]
        with pytest.raises(psycopg.errors.InvalidParameterValue), connection.transaction():
            connection.execute("SET LOCAL pgshunt.shard = 'nobody'")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        where(connection)


def test_a_message_of_several_statements_follows_its_own_set(proxy, names):
    with psycopg2.connect(host=proxy.host, port=proxy.port, dbname="bank", user=USER, password=PASSWORD) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SET pgshunt.shard = '{names[1]}'; SELECT where_am_i()")
        assert cursor.fetchone() == (names[1],)


def test_a_prepared_statement_follows_the_setting(connect, names):
    connection = connect()
    sql = "SELECT id FROM accounts WHERE id > %s ORDER BY balance, id"
    everywhere = connection.execute(sql, [0], prepare=True).fetchall()
    for name in names:
        connection.execute(f"SET pgshunt.shard = '{name}'")
        assert 0 < len(connection.execute(sql, [0], prepare=True).fetchall()) < len(everywhere)
        connection.execute("RESET pgshunt.shard")
        assert connection.execute(sql, [0], prepare=True).fetchall() == everywhere


def test_a_prepared_statement_is_one_for_all_hints(connect, servers, names):
    """Else clients that set another key for each request would have it made anew for each."""
    for key in keys_by_shard(servers[0])[1][:4]:
        connection = connect(options=f"-c pgshunt.key={key}")
        assert connection.execute("SELECT where_am_i() WHERE 7 = %s", [7], prepare=True).fetchone() == (names[1],)
        connection.execute(f"SET pgshunt.shard = '{names[1]}'")
        assert connection.execute("SELECT where_am_i() WHERE 7 = %s", [7], prepare=True).fetchone() == (names[1],)
        made = connection.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%WHERE 7 =%'")
        assert len(made.fetchall()) == 1
        connection.close()


def test_a_prepared_statement_keeps_its_comment(connect, names):
    connection = connect()
    sql = f"/* pgshunt: shard={names[1]} */ SELECT where_am_i() WHERE 1 = %s"
    for setting in (None, names[0], names[2], None):
        connection.execute(f"SET pgshunt.shard = '{setting}'" if setting else "RESET pgshunt.shard")
        assert connection.execute(sql, [1], prepare=True).fetchone() == (names[1],)


def test_a_statement_that_others_prepared_is_not_routed_by_their_hints(connect, names):
    sql = "SELECT id FROM accounts WHERE id > %s AND id < 100000 ORDER BY id"
    hinted, plain = connect(options=f"-c pgshunt.shard={names[1]}"), connect()
    for _ in range(2):
        some = hinted.execute(sql, [0], prepare=True).fetchall()
        everywhere = plain.execute(sql, [0], prepare=True).fetchall()
        assert 0 < len(some) < len(everywhere) == transfers.ACCOUNTS
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        hinted.execute("UPDATE rates SET rate = 1 WHERE code = %s", ["EUR"], prepare=True)
    plain.execute("UPDATE rates SET rate = 1 WHERE code = %s", ["EUR"], prepare=True)
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        hinted.execute("UPDATE rates SET rate = 1 WHERE code = %s", ["EUR"], prepare=True)


def test_discard_all_takes_hints_too(connect, names):
    connection = connect(prepare_threshold=None)
    for values in (None, ()):
        connection.execute(f"SET pgshunt.shard = '{names[1]}'")
        assert where(connection) == names[1]
        connection.execute("DISCARD ALL", values)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            where(connection)
    hinted = connect(options=f"-c pgshunt.shard={names[2]}", prepare_threshold=None)
    hinted.execute(f"SET pgshunt.shard = '{names[1]}'")
    hinted.execute("DISCARD ALL")
    assert where(hinted) == names[2]


@pytest.mark.parametrize("values", [None, [1]], ids=["simple", "extended"])
def test_settings_that_contradict_each_other(connect, names, keys, values):
    connection = connect()
    for first, then in ((f"pgshunt.shard = '{names[0]}'", f"pgshunt.key = {keys[1]}"),
                        (f"pgshunt.key = {keys[1]}", f"pgshunt.shard = '{names[0]}'")):
        connection.execute(f"SET {first}")
        connection.execute(f"SET {then}")
        with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
            where(connection, values=values)
        told = refused.value.diag
        assert told.message_primary == (f'the session\'s settings contradict each other: key "{keys[1]}" of pgshunt.key is on shard '
                                        f'"{names[1]}", but pgshunt.shard is "{names[0]}"')
        assert "RESET pgshunt.shard, or RESET pgshunt.key" in told.message_hint
        assert where(connection, f"/* pgshunt: shard={names[2]} */", values) == names[2]  # a comment goes before both
        connection.execute("RESET pgshunt.key", values and ())
        assert where(connection, values=values) == names[0]
        connection.execute("RESET ALL")
    with connection.transaction():
        connection.execute(f"SET LOCAL pgshunt.shard = '{names[0]}'")
        connection.execute(f"SET pgshunt.key = {keys[1]}")
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="what was SET LOCAL ends with the transaction"), \
                connection.transaction():
            where(connection, values=values)
    assert where(connection, values=values) == names[1]


def test_startup_parameters(connect, names):
    connection = connect(options=f"-c pgshunt.shard={names[2]}")
    assert where(connection) == names[2]
    connection.execute(f"SET pgshunt.shard = '{names[0]}'")
    assert where(connection) == names[0]
    connection.execute("RESET pgshunt.shard")
    assert where(connection) == names[2]
    for option in ("shard=nobody", "shart=x"):
        with pytest.raises(psycopg.OperationalError, match="nobody|shart"):
            connect(options=f"-c pgshunt.{option}")


def test_what_a_hinted_statement_leaves_stays_with_its_session(connect, names):
    one, other = connect(), connect()
    hint = f"/* pgshunt: shard={names[1]} */"
    one.execute(f"{hint} SELECT pg_advisory_lock(5)")
    one.execute(f"/* pgshunt: shard={names[0]} */ CREATE TEMP TABLE mine (a int)")
    one.execute(f"/* pgshunt: shard={names[0]} */ DROP TABLE mine")
    one.execute("SELECT pg_advisory_lock(6)")
    one.execute("SELECT pg_advisory_unlock(6)")
    assert other.execute(f"{hint} SELECT pg_try_advisory_lock(5)").fetchone() == (False,)
    assert one.execute(f"{hint} SELECT pg_advisory_unlock(5)").fetchone() == (True,)
    wait_until(lambda: other.execute(f"{hint} SELECT pg_try_advisory_lock(5)").fetchone()[0])
    other.execute(f"{hint} SELECT pg_advisory_unlock_all()")


def test_in_a_plain_database_they_are_comments_and_settings(connect, names):
    connection = connect("plain")
    assert where(connection, "/* pgshunt: shard=nobody */") == names[0]
    connection.execute("SET pgshunt.shard = 'anything'")
    assert connection.execute("SHOW pgshunt.shard").fetchone() == ("anything",)
    assert where(connection) == names[0]
    assert where(connect("plain", options="-c pgshunt.shard=x")) == names[0]
