"""What functions, procedures and triggers do to the session inside themselves, which the text that
calls them does not show: it follows the session, or keeps its server, and nobody else ever sees it."""

import pytest

from harness import wait_until
from harness.wire import Wire, function_call, query, rows, run, sync, types
from pooling import TwoServers
from test_session_state import kept, pins, unpinned

ROUTINES = """
CREATE FUNCTION sets(name text, value text) RETURNS text LANGUAGE plpgsql AS
    $$ BEGIN RETURN set_config(name, value, false); END $$;
CREATE FUNCTION sets_timezone() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN 1; END $$;
CREATE FUNCTION sets_german() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET datestyle = 'German'; SET timezone = 'Europe/Rome'; RETURN 1; END $$;
CREATE FUNCTION sets_many() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET work_mem = '5MB'; SET search_path = far, public; SET datestyle = 'SQL, DMY';
       RETURN 1; END $$;
CREATE FUNCTION calls_it() RETURNS int LANGUAGE sql AS 'SELECT sets_timezone()';
CREATE FUNCTION tenant(t text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('app.tenant', t, false); RETURN 1; END $$;
CREATE FUNCTION sets_role() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET ROLE other; RETURN 1; END $$;
CREATE FUNCTION resets() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN RESET work_mem; RESET ROLE; RETURN 1; END $$;
CREATE FUNCTION local_only() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN SET LOCAL timezone = 'Asia/Tokyo'; RETURN 1; END $$;
CREATE FUNCTION makes_temp() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN CREATE TEMP TABLE mine (n int); RETURN 1; END $$;
CREATE FUNCTION locks() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_lock(1); RETURN 1; END $$;
CREATE FUNCTION listens() RETURNS int LANGUAGE plpgsql AS $$ BEGIN LISTEN news; RETURN 1; END $$;
CREATE FUNCTION holds() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'; RETURN 1; END $$;
CREATE FUNCTION prepares() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE 'PREPARE inside AS SELECT 7'; RETURN 1; END $$;
CREATE FUNCTION deallocates() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN DEALLOCATE ALL; RETURN 1; END $$;
CREATE FUNCTION runs(sql text) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE sql; RETURN 1; END $$;
CREATE FUNCTION seeds() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN PERFORM setseed(0.5); RETURN 1; END $$;
CREATE PROCEDURE proc() LANGUAGE plpgsql AS $$ BEGIN SET timezone = 'Asia/Tokyo'; END $$;
CREATE PROCEDURE harmless() LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
CREATE VIEW looks AS SELECT sets_timezone() AS n;
GRANT SELECT ON looks TO app;
"""
TRIGGERS = """
CREATE TABLE told (n int);
CREATE FUNCTION on_told() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN new; END $$;
CREATE TRIGGER told BEFORE INSERT ON told FOR EACH ROW EXECUTE FUNCTION on_told();
CREATE FUNCTION tells() RETURNS void LANGUAGE sql AS 'INSERT INTO told VALUES (1)';
"""


@pytest.fixture(scope="module")
def routines(app_postgres):
    app_postgres.execute("CREATE SCHEMA IF NOT EXISTS far; GRANT ALL ON SCHEMA far, public TO app, other",
                         dbname="app")
    app_postgres.execute(ROUTINES, dbname="app")


@pytest.fixture
def triggers(app_postgres, alice):
    alice.query(TRIGGERS)
    yield
    alice.query("DROP TABLE told; DROP FUNCTION on_told, tells")


@pytest.fixture
def proxy(routines, proxy):
    return proxy


ASK = pytest.mark.parametrize("ask", [Wire.query, Wire.extended], ids=["simple", "extended"])


def timezone(client):
    return client.value("SHOW timezone")


@pytest.mark.smoke
@ASK
@pytest.mark.parametrize("sql", [
    "SELECT sets_timezone()", "SELECT calls_it()", "SELECT sets('timezone', 'Asia/Tokyo')",
    "CALL proc()", "SELECT * FROM looks", "DO $$ BEGIN SET timezone = 'Asia/Tokyo'; END $$",
    "DO $$ BEGIN PERFORM calls_it(); END $$", "SELECT runs('SET timezone = ''Asia/Tokyo''')"])
def test_settings_made_inside(clients, sql, ask):
    client, others = clients("two"), [clients("two"), clients("two")]
    ask(client, sql)
    for other in others * 2:
        assert timezone(other) == "UTC"
    assert timezone(client) == "Asia/Tokyo"


@ASK
@pytest.mark.parametrize("sql", [
    "SELECT sets_timezone()", "CALL proc()", "DO $$ BEGIN SET timezone = 'Asia/Tokyo'; END $$"])
def test_settings_made_inside_follow_their_session(proxy, two, clients, sql, ask):
    client = clients("two")
    with two.only(0):
        ask(client, sql)
        assert client.parameters["TimeZone"] == "Asia/Tokyo"
    with two.only(1):
        assert timezone(client) == "Asia/Tokyo"
        client.query("RESET timezone")
    with two.only(0):
        assert timezone(client) == "UTC"
    assert pins(proxy) == []


@pytest.mark.smoke
def test_many_settings_made_inside(two, clients):
    client = clients("two")
    look = ("SELECT current_setting('work_mem'), current_setting('search_path'), "
            "current_setting('datestyle')")
    with two.only(0):
        before = client.query(look)
        client.query("SET work_mem = '3MB'; SELECT sets_many()")
    with two.only(1):
        assert client.query(look) == [["5MB", "far, public", "SQL, DMY"]]
        client.query("BEGIN")
        client.query("SELECT sets_german()")
        client.query("ROLLBACK")
        assert client.query(look) == [["5MB", "far, public", "SQL, DMY"]]
    with two.only(0):
        assert client.query(look) == [["5MB", "far, public", "SQL, DMY"]]
        client.query("RESET ALL")
        assert client.query(look) == before


@pytest.mark.smoke
def test_roles_taken_inside(two, clients):
    client, other = clients("two"), clients("two")
    with two.only(0):
        client.query("SELECT sets_role()")
        assert other.value("SELECT current_user") == "app"
    with two.only(1):
        assert client.value("SELECT current_user") == "other"
        client.query("SELECT resets()")
        assert client.value("SELECT current_user") == "app"
    with two.only(0):
        assert client.value("SELECT current_user") == "app"


def test_resets_inside_return_to_the_startup_value(clients):
    client = clients("two", work_mem="6MB")
    client.query("SELECT 1")
    two = TwoServers(clients)
    with two.only(0):
        client.query("SET work_mem = '7MB'")
        client.query("SELECT resets()")
        assert client.value("SHOW work_mem") == "6MB"
    with two.only(1):
        assert client.value("SHOW work_mem") == "6MB"


@pytest.mark.smoke
def test_customized_settings_made_inside(two, clients):
    client, other = clients("two"), clients("two")
    look = "SELECT coalesce(current_setting('app.tenant', true), '')"
    with two.only(0):
        client.query("SELECT tenant('42')")
        assert other.value(look) == ""
    with two.only(1):
        assert client.value(look) == "42"
        assert other.value(look) == ""
        client.query("SELECT tenant('43')")
    with two.only(0):
        assert client.value(look) == "43"


def test_customized_settings_of_unknown_names_pin(proxy, clients):
    client, others = clients("two"), [clients("two"), clients("two")]
    client.query("SELECT sets('app.other', '1')")
    wait_until(lambda: pins(proxy) == ["set_config"], 3)
    for other in others:
        assert other.value("SELECT coalesce(current_setting('app.other', true), '')") == ""
    assert client.value("SELECT current_setting('app.other')") == "1"
    client.query("DISCARD ALL")
    unpinned(proxy)


def test_what_ends_with_the_transaction_costs_nothing(proxy, alice, bob):
    alice.query("SELECT local_only()")
    alice.query("CALL harmless()")
    assert timezone(bob) == timezone(alice) == "UTC"
    assert pins(proxy) == []


@pytest.mark.smoke
@ASK
@pytest.mark.parametrize("sql, why, free", [
    ("SELECT makes_temp()", "temporary object", "DROP TABLE mine"),
    ("SELECT locks()", "advisory lock", "SELECT pg_advisory_unlock(1)"),
    ("SELECT holds()", "cursor WITH HOLD", "CLOSE c"),
    ("SELECT prepares()", "prepared statement", "DISCARD ALL"),
    ("SELECT seeds()", "random seed", "DISCARD ALL"),
    ("SELECT runs('SELECT pg_advisory_lock(1)')", "set_config, advisory lock", "DISCARD ALL")])
def test_what_stays_on_the_server_keeps_it(proxy, clients, sql, why, free, ask):
    client, others = clients("two"), [clients("two"), clients("two")]
    ask(client, sql)
    wait_until(lambda: [sorted(each.split(", ")) for each in pins(proxy)] ==
               [sorted(why.split(", "))], 3)
    pid = client.backend_pid()
    for other in others:
        assert other.backend_pid() != pid
    client.query(free)
    unpinned(proxy)


def test_statements_prepared_inside_can_be_executed(proxy, clients):
    client = clients("two")
    client.query("SELECT prepares()")
    assert client.query("EXECUTE inside") == [["7"]]
    client.query("DISCARD ALL")


def test_statements_deallocated_inside_are_made_again(alice, bob):
    for client in (alice, bob):
        assert rows(client.ask(run("SELECT 'one'"), sync())) == [["one"]]
        client.query("PREPARE s AS SELECT 'two'")
        assert client.query("EXECUTE s") == [["two"]]
    alice.query("SELECT deallocates()")
    assert bob.query("EXECUTE s") == [["two"]]


@pytest.mark.smoke
def test_listen_inside(clients):
    listener, other = clients("one"), clients("one")
    listener.query("SELECT listens()")
    other.query("SELECT 1")

    def heard():
        other.query("NOTIFY news, 'x'")
        return not listener.silent(0.1)
    wait_until(heard, 3, "the notification")
    assert listener.notification() == ("news", "x")
    assert other.silent()


@pytest.mark.smoke
@ASK
@pytest.mark.parametrize("sql", ["INSERT INTO told VALUES (1)", "SELECT tells()",
                                 "WITH w AS (INSERT INTO told VALUES (1) RETURNING n) SELECT * FROM w"])
def test_triggers(triggers, clients, sql, ask):
    client, others = clients("two"), [clients("two"), clients("two")]
    ask(client, sql)
    for other in others * 2:
        assert timezone(other) == "UTC"
    assert timezone(client) == "Asia/Tokyo"


def test_in_a_transaction_block(two, clients):
    client, other = clients("two"), clients("two")
    with two.only(0):
        client.query("BEGIN")
        client.query("SELECT sets_timezone()")
        client.query("COMMIT")
        assert timezone(other) == "UTC"
        client.query("BEGIN")
        client.query("SELECT sets_german()")
        client.query("ROLLBACK")
        assert timezone(client) == "Asia/Tokyo"
        assert timezone(other) == "UTC"


def test_prepared_before_the_function_does_it(alice, bob):
    """A statement does what its function does now."""
    alice.query("CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    alice.query("PREPARE q AS SELECT later()")
    alice.query("EXECUTE q")
    bob.query("CREATE OR REPLACE FUNCTION later() RETURNS int LANGUAGE plpgsql AS "
              "$$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN 1; END $$")
    alice.query("EXECUTE q")
    assert timezone(bob) == "UTC"
    assert timezone(alice) == "Asia/Tokyo"
    alice.query("DROP FUNCTION later()")


def test_made_and_called_in_one_message(alice, bob):
    alice.query("CREATE FUNCTION at_once() RETURNS int LANGUAGE plpgsql AS "
                "$$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN 1; END $$; SELECT at_once(); "
                "DROP FUNCTION at_once()")
    assert timezone(bob) == "UTC"
    assert timezone(alice) == "Asia/Tokyo"


def test_function_calls_by_number(alice, bob):
    oid = int(alice.value("SELECT 'sets_timezone()'::regprocedure::oid"))
    assert types(alice.ask(function_call(oid))) == "VZ"
    assert timezone(bob) == "UTC"
    assert timezone(alice) == "Asia/Tokyo"


def test_without_a_pause(alice, bob):
    """What follows is sent before anybody knows what the function did."""
    alice.send(query("SELECT sets_timezone()"), query("SHOW timezone"), run("SHOW timezone"), sync())
    answers = [answer for _ in range(3) for answer in alice.until_ready()]
    assert rows(answers)[1:] == [["Asia/Tokyo"], ["Asia/Tokyo"]]
    assert timezone(bob) == "UTC"
    assert timezone(alice) == "Asia/Tokyo"


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_a_client_that_leaves(alice, bob, leave):
    alice.query("BEGIN")
    alice.query("SELECT sets_role()")
    getattr(alice, leave)()
    assert bob.value("SELECT current_user") == "app"


def test_changed_past_the_proxy(app_postgres, two, clients):
    """Found within seconds."""
    app_postgres.execute("CREATE FUNCTION past() RETURNS int LANGUAGE plpgsql AS "
                         "$$ BEGIN SET timezone = 'Asia/Tokyo'; RETURN 1; END $$", dbname="app")
    client = clients("two")

    def found():
        with two.only(0):
            client.query("RESET timezone; SELECT past()")
        with two.only(1):
            return timezone(client) == "Asia/Tokyo"
    wait_until(found, 15)
    app_postgres.execute("DROP FUNCTION past()", dbname="app")
