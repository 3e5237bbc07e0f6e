"""What functions, triggers and views of a sharded database do to the session inside themselves: it
follows the session to every shard, and no other session ever meets it there."""

import psycopg
import pytest

import transfers
from harness import wait_until
from transfers import USER, keys_by_shard

DATABASE = "routine_bank"
ROUTINES = """
CREATE FUNCTION sets_timezone(id bigint) RETURNS bigint LANGUAGE plpgsql AS
    $$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN id; END $$;
CREATE FUNCTION sets_path(id bigint) RETURNS bigint LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('search_path', 'elsewhere, public', false); RETURN id; END $$;
CREATE FUNCTION locks(id bigint) RETURNS bigint LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_lock(id); RETURN id; END $$;
CREATE PROCEDURE calls() LANGUAGE plpgsql AS $$ BEGIN SET timezone = 'Asia/Tokyo'; END $$;
CREATE TABLE told (account bigint PRIMARY KEY, n int);
CREATE FUNCTION on_told() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN new; END $$;
CREATE TRIGGER told BEFORE INSERT OR UPDATE ON told FOR EACH ROW EXECUTE FUNCTION on_told();
"""


@pytest.fixture(scope="module")
def servers(shards):
    transfers.create(shards, DATABASE)
    for server in shards:
        server.psql(f"SET ROLE {USER}; {ROUTINES}", DATABASE)
    return shards


@pytest.fixture(scope="module")
def proxy(shared_proxy, servers):
    config = transfers.config(servers, DATABASE, workers=1)
    config["databases"]["bank"]["tables"].append({"name": "told", "keyspace": "accounts", "key": "account"})
    return shared_proxy(config)


@pytest.fixture(scope="module")
def keys(servers):
    """One key of each shard."""
    return [of_shard[0] for of_shard in keys_by_shard(servers[0])]


@pytest.fixture
def connect(proxy):
    yield from transfers.connections(proxy)


def timezones(connection, keys):
    """As each shard has it."""
    return {connection.execute("SELECT current_setting('timezone') FROM accounts WHERE id = %s", [key]).fetchone()[0]
            for key in keys} | {connection.execute("SHOW timezone").fetchone()[0]}


SETS = [
    "/* pgshunt: key={0} */ SELECT sets_timezone(1)",
    "SELECT sets_timezone(1) /* pgshunt: key={2} */",
    "INSERT INTO told VALUES ({1}, 1) ON CONFLICT (account) DO UPDATE SET n = 1",
    "INSERT INTO told VALUES ({0}, 1), ({2}, 1) ON CONFLICT (account) DO UPDATE SET n = 1",
    "UPDATE told SET n = 2",
    "/* pgshunt: key={2} */ CALL calls()",
]


@pytest.fixture
def rows(connect, keys):
    connection = connect()
    for key in keys:
        connection.execute("INSERT INTO told VALUES (%s, 0) ON CONFLICT DO NOTHING", [key])


@pytest.mark.smoke
@pytest.mark.parametrize("values", [None, ()], ids=["simple", "extended"])
@pytest.mark.parametrize("sql", SETS)
def test_what_is_set_inside_follows_its_session(connect, keys, rows, sql, values):
    client, others = connect(), [connect(), connect()]
    before = timezones(others[0], keys)
    assert before != {"Asia/Tokyo"} and len(before) == 1
    client.execute(sql.format(*keys), values)
    for other in others * 2:
        assert timezones(other, keys) == before
    assert timezones(client, keys) == {"Asia/Tokyo"}
    client.execute("RESET timezone")
    assert timezones(client, keys) == before


def test_copy_fires_triggers(connect, keys):
    client, other = connect(), connect()
    before = timezones(other, keys)
    client.execute("DELETE FROM told")
    with client.cursor().copy("COPY told FROM STDIN") as copy:
        copy.write("".join(f"{key}\t1\n" for key in keys))
    assert timezones(other, keys) == before
    assert timezones(client, keys) == {"Asia/Tokyo"}


def test_in_a_transaction_it_counts_from_its_end(connect, keys):
    client, other = connect(), connect()
    before = timezones(other, keys)
    with client.transaction():
        client.execute(f"/* pgshunt: key={keys[1]} */ SELECT sets_timezone({keys[1]})")
        client.execute("UPDATE accounts SET balance = balance WHERE id = %s", [keys[2]])
    assert timezones(other, keys) == before
    assert timezones(client, keys) == {"Asia/Tokyo"}
    client.execute("RESET ALL")
    with pytest.raises(ZeroDivisionError), client.transaction():
        client.execute(f"/* pgshunt: key={keys[1]} */ SELECT sets_timezone({keys[1]})")
        raise ZeroDivisionError
    assert timezones(client, keys) == timezones(other, keys) == before


def test_the_router_hears_of_search_path(connect, keys):
    client = connect()
    client.execute(f"/* pgshunt: key={keys[2]} */ SELECT sets_path({keys[2]})")
    assert client.execute("SHOW search_path").fetchone() == ("elsewhere, public",)
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="search_path"):
        client.execute("SELECT balance FROM accounts WHERE id = %s", [keys[0]])
    client.execute("RESET search_path")
    client.execute("SELECT balance FROM accounts WHERE id = %s", [keys[0]])


def test_locks_keep_their_server(connect, keys):
    client, other = connect(), connect()
    free = f"/* pgshunt: key={keys[2]} */ SELECT pg_try_advisory_xact_lock({keys[2]})"
    client.execute(f"/* pgshunt: key={keys[2]} */ SELECT locks({keys[2]})")
    client.execute("SELECT balance FROM accounts WHERE id = %s", [keys[1]])
    client.execute("SELECT pg_advisory_unlock_all()")  # on the first shard
    assert other.execute(free).fetchone() == (False,)
    client.close()
    wait_until(lambda: other.execute(free).fetchone() == (True,))


def test_a_routine_made_through_the_proxy(connect, keys):
    client, other = connect(), connect()
    before = timezones(other, keys)
    client.execute("CREATE OR REPLACE FUNCTION fresh(id bigint) RETURNS bigint LANGUAGE plpgsql AS "
                   "$$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN id; END $$")
    client.execute(f"/* pgshunt: key={keys[1]} */ SELECT fresh({keys[1]})")
    assert timezones(other, keys) == before
    assert timezones(client, keys) == {"Asia/Tokyo"}
    client.execute("DROP FUNCTION fresh(bigint)")
