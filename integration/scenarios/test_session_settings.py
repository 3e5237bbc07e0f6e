"""Settings belong to the client that made them, whichever server it meets, and to nobody else.

Every test runs in transaction mode. `alice` and `bob` take turns on one server; with `two` the test
says which of two servers comes next."""

import pytest

from harness.wire import (ServerError, bind, close_statement, describe_portal, errors, execute,
                          flush, parse, query, rows, run, sync, tags, types)

DEFAULT = "4MB"  # of work_mem


def work_mem(client):
    return client.value("SHOW work_mem")


@pytest.mark.smoke
def test_a_setting_stays_with_its_client(alice, bob):
    alice.query("SET work_mem = '5MB'")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "5MB"
    bob.query("SET work_mem = '6MB'")
    assert (work_mem(alice), work_mem(bob)) == ("5MB", "6MB")
    assert alice.backend_pid() == bob.backend_pid()
    alice.query("RESET work_mem")
    assert (work_mem(alice), work_mem(bob)) == (DEFAULT, "6MB")


@pytest.mark.smoke
def test_a_setting_follows_its_client_to_another_server(two, clients):
    client = clients("two")
    with two.only(0) as pid:
        client.query("SET work_mem = '5MB'")
        assert client.backend_pid() == pid
    with two.only(1) as pid:
        assert client.backend_pid() == pid
        assert work_mem(client) == "5MB"
        client.query("RESET work_mem")
    with two.only(0) as pid:
        assert client.backend_pid() == pid
        assert work_mem(client) == DEFAULT


def test_a_rolled_back_setting_is_gone_everywhere(two, clients):
    client, neighbour = clients("two"), clients("two")
    with two.only(0):
        client.query("SET work_mem = '5MB'")
        client.query("BEGIN")
        client.query("SET work_mem = '6MB'")
        assert work_mem(client) == "6MB"
        client.query("ROLLBACK")
        assert work_mem(neighbour) == DEFAULT
        assert work_mem(client) == "5MB"
    with two.only(1):
        assert work_mem(client) == "5MB"


def test_a_failed_transaction_takes_its_settings_with_it(alice, bob):
    alice.query("BEGIN")
    alice.query("SET work_mem = '5MB'")
    assert alice.fails("SELECT 1/0") == "22012"
    answers = alice.ask(query("COMMIT"))
    assert tags(answers) == ["ROLLBACK"]
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == DEFAULT


def test_savepoints_take_settings_back(alice, bob):
    for sql in ("BEGIN", "SET work_mem = '5MB'", "SAVEPOINT s", "SET work_mem = '6MB'",
                "SAVEPOINT s", "SET work_mem = '7MB'", "ROLLBACK TO s"):
        alice.query(sql)
    assert work_mem(alice) == "6MB"
    alice.query("RELEASE s")
    alice.query("ROLLBACK TO s")
    assert work_mem(alice) == "5MB"
    alice.query("COMMIT")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "5MB"


def test_a_released_savepoint_keeps_its_settings(alice, bob):
    for sql in ("BEGIN", "SAVEPOINT s", "SET work_mem = '6MB'", "RELEASE SAVEPOINT s", "COMMIT"):
        alice.query(sql)
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "6MB"


def test_set_local_ends_with_the_transaction(alice, bob):
    alice.query("BEGIN")
    alice.query("SET LOCAL work_mem = '5MB'")
    assert work_mem(alice) == "5MB"
    alice.query("COMMIT")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == DEFAULT


def test_set_and_set_local_together(alice, bob):
    """At the end of the transaction the SET holds, not the SET LOCAL after it."""
    for sql in ("BEGIN", "SET work_mem = '5MB'", "SET LOCAL work_mem = '6MB'", "COMMIT"):
        alice.query(sql)
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "5MB"


def test_chained_transactions(alice, bob):
    for sql in ("BEGIN", "SET work_mem = '5MB'", "COMMIT AND CHAIN", "SET work_mem = '6MB'",
                "ROLLBACK AND CHAIN"):
        alice.query(sql)
    assert work_mem(alice) == "5MB"
    alice.query("ROLLBACK")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "5MB"


@pytest.mark.parametrize("sql, holds", [
    ("SET work_mem = '5MB'; SELECT 1/0", DEFAULT),
    ("SET work_mem = '5MB'; SELECT 1", "5MB"),
    ("BEGIN; SET work_mem = '5MB'; COMMIT; SELECT 1/0", "5MB"),
    ("BEGIN; SET work_mem = '5MB'; ROLLBACK; SELECT 1", DEFAULT),
    ("SET work_mem = '5MB'; BEGIN; SET work_mem = '6MB'; ROLLBACK", DEFAULT),
    ("SELECT 1; SET work_mem = '5MB'; RESET work_mem; SET work_mem TO '7MB'; SELECT 2", "7MB"),
    ("/* SET work_mem = '9MB'; */ SELECT 'SET work_mem = ''8MB'''; SET SESSION work_mem TO '5MB'",
     "5MB"),
    ("SET work_mem = 'nonsense'", DEFAULT),
])
def test_many_statements_in_one_message(alice, bob, sql, holds):
    alice.ask(query(sql))
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == holds


def test_settings_made_through_the_extended_protocol(alice, bob):
    alice.extended("SET work_mem = '5MB'")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "5MB"
    # As a prepared statement, executed twice with a RESET in between.
    alice.ask(parse("s", "SET work_mem = '6MB'"), sync())
    assert work_mem(alice) == "5MB"
    for _ in range(2):
        alice.ask(bind("p", "s"), describe_portal("p"), execute("p"), sync())
        assert work_mem(bob) == DEFAULT
        assert work_mem(alice) == "6MB"
        alice.extended("RESET work_mem")
        assert work_mem(bob) == DEFAULT
        assert work_mem(alice) == DEFAULT


def test_a_failing_pipeline_takes_its_setting_with_it(alice, bob):
    answers = alice.ask(parse("", "SET work_mem = '5MB'"), bind(), execute(),
                        parse("", "SELECT 1/0"), bind(), execute(), sync())
    assert types(answers)[-2:] == "EZ"
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == DEFAULT


def test_set_config(alice, bob):
    assert alice.value("SELECT set_config('work_mem', '5MB', false)") == "5MB"
    assert work_mem(alice) == "5MB"
    alice.query("SELECT set_config('work_mem', '6MB', true)")
    assert work_mem(alice) == "5MB"
    alice.query("DISCARD ALL")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == DEFAULT


def test_search_path(two, clients):
    client, neighbour = clients("two"), clients("two")
    with two.only(0):
        client.query("CREATE SCHEMA IF NOT EXISTS far")
        client.query("CREATE TABLE IF NOT EXISTS far.things AS SELECT 7 AS n")
        client.query("SET search_path = far, public")
        assert client.value("SELECT n FROM things") == "7"
    with two.only(1):
        assert client.value("SELECT n FROM things") == "7"
        assert client.value("SHOW search_path") == "far, public"
        assert neighbour.fails("SELECT n FROM things") == "42P01"


def test_role_never_leaks(two, clients):
    client, neighbour = clients("two"), clients("two")
    with two.only(0):
        client.query("SET ROLE other")
        assert client.value("SELECT current_user") == "other"
        assert neighbour.value("SELECT current_user") == "app"
    with two.only(1):
        assert client.value("SELECT current_user") == "other"
        assert neighbour.value("SELECT current_user") == "app"
        client.query("BEGIN")
        client.query("RESET ROLE")
        assert client.value("SELECT current_user") == "app"
        client.query("ROLLBACK")
        assert client.value("SELECT current_user") == "other"
        client.query("SET ROLE NONE")
        assert client.value("SELECT current_user") == "app"
    with two.only(0):
        assert client.value("SELECT current_user") == "app"


def test_a_role_set_in_a_rolled_back_transaction_is_gone(alice, bob):
    alice.query("BEGIN")
    alice.query("SET ROLE other")
    alice.query("ROLLBACK")
    assert bob.value("SELECT current_user") == "app"
    assert alice.value("SELECT current_user") == "app"


@pytest.mark.parametrize("code", ["SET ROLE other", "EXECUTE format('SET ROLE %I', 'other')",
                                  "PERFORM set_config('role', 'other', false)"])
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_what_the_code_of_a_do_sets_is_its_clients_alone(alice, bob, code, leave):
    alice.query(f"DO $$ BEGIN {code}; END $$")
    assert bob.value("SELECT current_user") == "app"
    assert alice.value("SELECT current_user") == "other"
    if leave == "reset":
        alice.query("DISCARD ALL")
        assert alice.value("SELECT current_user") == "app"
    alice.close()
    assert bob.value("SELECT current_user") == "app"


def test_settings_under_a_role_that_may_not_make_them(alice, bob):
    """The order matters: what the role may not see is set before it is taken."""
    alice.query("SET work_mem = '5MB'")
    alice.query("SET ROLE other")
    assert bob.value("SELECT current_user") == "app"
    bob.query("SET work_mem = '6MB'")
    assert alice.query("SELECT current_user, current_setting('work_mem')") == [["other", "5MB"]]


def test_session_characteristics(alice, bob):
    alice.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE")
    assert bob.value("SHOW transaction_isolation") == "read committed"
    assert bob.value("SHOW transaction_read_only") == "off"
    assert alice.value("SHOW transaction_isolation") == "serializable"
    assert alice.value("SHOW transaction_read_only") == "on"


def test_settings_of_extensions_and_applications(alice, bob):
    alice.query("SET app.tenant = '42'")
    assert bob.value("SELECT coalesce(current_setting('app.tenant', true), '')") == ""
    assert alice.value("SELECT current_setting('app.tenant')") == "42"


def test_time_zone_by_all_its_names(alice, bob):
    alice.query("SET TIME ZONE 'Asia/Tokyo'")
    assert bob.value("SHOW timezone") == "UTC"
    assert alice.value("SHOW timezone") == "Asia/Tokyo"
    alice.query("SET timezone TO 'Europe/Rome'")
    assert bob.value("SHOW timezone") == "UTC"
    assert alice.value("SHOW timezone") == "Europe/Rome"
    alice.query("SET TIME ZONE LOCAL")
    assert bob.value("SHOW timezone") == "UTC"
    assert alice.value("SHOW timezone") == "UTC"


def test_names_and_schema(alice, bob):
    alice.query("SET NAMES 'LATIN1'")
    alice.query("SET SCHEMA 'pg_catalog'")
    assert bob.query("SELECT current_setting('client_encoding'), current_schema") == [
        ["UTF8", "public"]]
    assert alice.query("SELECT current_setting('client_encoding'), current_schema") == [
        ["LATIN1", "pg_catalog"]]


def test_quoting_survives_the_replay(two, clients):
    value = "it''s \\ \"odd\"; SET work_mem = ''9MB''; --"
    client = clients("two")
    with two.only(0):
        client.query(f"SET application_name = '{value}'")
    with two.only(1):
        assert client.value("SHOW application_name") == value.replace("''", "'")
        client.query("SET standard_conforming_strings = off")
        client.query("SET application_name = 'back\\'slash'")
    with two.only(0):
        assert client.value("SHOW application_name") == "back'slash"
        assert work_mem(client) == DEFAULT


def test_reported_parameters_are_told_at_each_change(two, clients):
    """The client is told when it meets a server that reports something else."""
    client = clients("two")
    assert client.parameters["TimeZone"] == "UTC"
    with two.only(0):
        client.query("SET timezone = 'Asia/Tokyo'")
        assert client.parameters["TimeZone"] == "Asia/Tokyo"
    with two.only(1):
        client.query("SELECT 1")
        assert client.parameters["TimeZone"] == "Asia/Tokyo"
        client.query("BEGIN")
        client.query("SET timezone = 'Europe/Rome'")
        assert client.parameters["TimeZone"] == "Europe/Rome"
        client.query("ROLLBACK")
        assert client.parameters["TimeZone"] == "Asia/Tokyo"


# What the client asked for at its start

def test_startup_parameters(clients, bob):
    client = clients(application_name="started", TimeZone="Asia/Tokyo", work_mem="5MB",
                     search_path="far, public")
    assert client.parameters["TimeZone"] == "Asia/Tokyo"
    assert client.parameters["application_name"] == "started"
    assert work_mem(bob) == DEFAULT
    for _ in range(2):
        assert client.query(
            "SELECT current_setting('TimeZone'), current_setting('work_mem'), "
            "current_setting('application_name'), current_setting('search_path')") == [
            ["Asia/Tokyo", "5MB", "started", "far, public"]]
        assert bob.value("SHOW timezone") == "UTC"


def test_startup_options(clients, bob):
    client = clients(options="-c work_mem=5MB --statement-timeout=1234 -c app.note=a\\ b")
    assert work_mem(bob) == DEFAULT
    assert client.query("SELECT current_setting('work_mem'), current_setting('statement_timeout'), "
                        "current_setting('app.note')") == [["5MB", "1234ms", "a b"]]


@pytest.mark.parametrize("how", ["RESET work_mem", "SET work_mem TO DEFAULT", "RESET ALL",
                                 "DISCARD ALL"])
@pytest.mark.parametrize("extended", [False, True])
def test_reset_returns_to_the_startup_value(clients, bob, how, extended):
    client = clients(work_mem="5MB")
    client.query("SET work_mem = '6MB'")
    assert work_mem(bob) == DEFAULT
    answers = client.ask(parse("", how), bind(), execute(), sync()) if extended else \
        client.ask(query(how))
    assert types(answers) == ("12CZ" if extended else "CZ")
    assert tags(answers) == ["DISCARD ALL" if how == "DISCARD ALL" else
                             "SET" if how.startswith("SET") else "RESET"]
    assert work_mem(client) == "5MB"
    assert work_mem(bob) == DEFAULT
    assert work_mem(client) == "5MB"


def test_a_bad_startup_parameter_is_refused(clients, bob):
    for wrong in ({"work_mem": "plenty"}, {"no_such_setting": "1"}):
        with pytest.raises(ServerError):
            clients(**wrong)
        assert bob.value("SELECT 1") == "1"


def test_discard_all_forgets_everything_of_the_client_alone(alice, bob):
    for client in (alice, bob):
        client.query("SET work_mem = '5MB'")
        client.query("PREPARE s AS SELECT 1")
    alice.query("SET ROLE other")
    alice.query("DISCARD ALL")
    assert alice.query("SELECT current_user, current_setting('work_mem')") == [["app", DEFAULT]]
    assert alice.fails("EXECUTE s") == "26000"
    assert work_mem(bob) == "5MB"
    assert rows(bob.ask(query("EXECUTE s"))) == [["1"]]


def test_discard_all_is_refused_in_a_transaction(alice, bob):
    alice.query("SET work_mem = '5MB'")
    alice.query("BEGIN")
    assert alice.fails("DISCARD ALL") == "25001"
    alice.query("ROLLBACK")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "5MB"


def test_statement_timeout_is_the_clients(alice, bob):
    alice.query("SET statement_timeout = 50")
    assert bob.query("SELECT 1 FROM pg_sleep(0.1)") == [["1"]]
    assert alice.fails("SELECT pg_sleep(5)") == "57014"


def test_what_follows_a_comment_is_replayed_too(alice, bob):
    alice.query("SET work_mem = '5MB' -- five")
    alice.query("SET application_name /* a */ = -- b\n 'x' /* c */")
    assert work_mem(bob) == DEFAULT
    assert alice.query("SELECT current_setting('work_mem'), current_setting('application_name')"
                       ) == [["5MB", "x"]]


def test_session_characteristics_add_up(alice, bob):
    alice.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    alice.query("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    alice.query("SET default_transaction_read_only = off")
    assert bob.value("SHOW transaction_isolation") == "read committed"
    assert alice.value("SHOW transaction_isolation") == "repeatable read"
    assert alice.value("SHOW transaction_read_only") == "off"


def test_a_commit_that_fails_takes_the_settings_with_it(alice, bob):
    alice.query("CREATE TABLE IF NOT EXISTS later (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    for sql in ("BEGIN", "SET work_mem = '5MB'", "INSERT INTO later VALUES (1), (1)"):
        alice.query(sql)
    assert alice.fails("COMMIT") == "23505"
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == DEFAULT


def test_a_setting_prepared_by_the_protocol_and_executed_by_sql(alice, bob):
    alice.ask(parse("s", "SET work_mem = '7MB'"), sync())
    alice.query("EXECUTE s")
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "7MB"


def test_preparing_a_transaction_keeps_its_settings(alice, bob):
    answers = alice.ask(query("BEGIN; SET work_mem = '5MB'; PREPARE TRANSACTION 'x'; SELECT 1/0"))
    assert errors(answers) == ["22012"]
    assert work_mem(bob) == DEFAULT
    assert work_mem(alice) == "5MB"
    alice.query("ROLLBACK PREPARED 'x'")


def test_a_skipped_setting_does_not_hide_the_next(alice, bob):
    """What the server skips after an error must not be waited for."""
    alice.send(parse("", "SELECT no"), flush())
    assert alice.receive().type == "E"
    alice.ask(run("SET work_mem = '6MB'"), sync())
    alice.query("SET work_mem = '5MB'")
    alice.extended("SET application_name = 'later'")
    assert work_mem(bob) == DEFAULT
    assert alice.query("SELECT current_setting('work_mem'), current_setting('application_name')"
                       ) == [["5MB", "later"]]


@pytest.mark.parametrize("reset", ["RESET ALL", "DISCARD ALL"])
def test_startup_values_hold_in_what_follows_without_a_pause(clients, reset):
    client = clients(work_mem="5MB")
    client.query("SET work_mem = '6MB'")
    client.send(query(reset), query("SHOW work_mem"), parse("", "SHOW work_mem"), bind(), execute(),
                sync())
    answers = [answer for _ in range(3) for answer in client.until_ready()]
    assert rows(answers) == [["5MB"], ["5MB"]]
    client.query("BEGIN")
    client.ask(query("SET work_mem = '7MB'; RESET work_mem; SET work_mem = '8MB'"))
    client.query("RESET ALL")
    assert work_mem(client) == "5MB"
    client.query("ROLLBACK")
    assert work_mem(client) == "5MB"


def test_reset_all_in_a_pipeline(clients, bob):
    client = clients(work_mem="5MB")
    client.query("SET work_mem = '6MB'")
    client.ask(run("RESET ALL"), run("SELECT 1"), sync())
    assert work_mem(bob) == DEFAULT
    assert work_mem(client) == "5MB"
    # Skipped: nothing changes.
    client.query("SET work_mem = '6MB'")
    client.ask(run("SELECT no"), run("RESET ALL"), sync())
    assert work_mem(client) == "6MB"


@pytest.mark.parametrize("reset", [query("RESET ALL"), run("RESET ALL") + sync(),
                                   run("DISCARD ALL") + sync()])
def test_what_is_reported_is_the_startup_value(clients, reset):
    client = clients(TimeZone="Asia/Tokyo", application_name="started")
    client.query("SET timezone = 'Europe/Rome'")
    client.ask(reset)
    assert client.parameters["TimeZone"] == "Asia/Tokyo"
    assert client.parameters["application_name"] == "started"


def test_reset_all_among_other_statements(clients, bob):
    client = clients(work_mem="5MB", TimeZone="Asia/Tokyo")
    answers = client.ask(query("SET work_mem = '6MB'; RESET ALL; SHOW work_mem; SET work_mem = '7MB'"))
    assert tags(answers) == ["SET", "RESET", "SHOW", "SET"] and rows(answers) == [["5MB"]]
    assert work_mem(bob) == DEFAULT
    assert client.query("SELECT current_setting('work_mem'), current_setting('timezone')") == [
        ["7MB", "Asia/Tokyo"]]
    client.query("BEGIN")
    client.query("RESET ALL")
    client.query("ROLLBACK")
    assert work_mem(bob) == DEFAULT
    assert work_mem(client) == "7MB"


def test_discard_all_in_the_middle_of_a_pipeline(clients, bob):
    client = clients(work_mem="5MB")
    client.ask(parse("s", "SELECT 's'"), sync())
    client.query("SET work_mem = '6MB'")
    answers = client.ask(run("DISCARD ALL"), parse("s", "SELECT 's'"), bind("", "s"), execute(),
                         run("SHOW work_mem"), sync())
    assert types(answers) == "12C12DC12DCZ"
    assert rows(answers) == [["s"], ["5MB"]]
    assert work_mem(bob) == DEFAULT
    assert rows(client.ask(bind("", "s"), execute(), sync())) == [["s"]]
    assert work_mem(client) == "5MB"
    # What it dropped is gone for what follows, as it is in PostgreSQL.
    assert errors(client.ask(run("DISCARD ALL"), bind("", "s"), execute(), sync())) == ["26000"]


def test_discard_all_that_fails_in_a_pipeline(clients, bob):
    client = clients(work_mem="5MB")
    client.ask(parse("s", "SELECT 's'"), sync())
    client.query("SET work_mem = '6MB'")
    for before in (run("SELECT 1/0"), run("BEGIN")):
        assert errors(client.ask(before, run("DISCARD ALL"), bind("", "s"), execute(), sync())
                      ) in (["22012"], ["25001"])
        client.query("ROLLBACK")
        assert rows(client.ask(bind("", "s"), execute(), sync())) == [["s"]]
        assert rows(client.ask(parse("t", "SELECT 's'"), bind("", "t"), execute(), sync())) == [["s"]]
        client.ask(close_statement("t"), sync())
        assert work_mem(client) == "6MB"
        assert work_mem(bob) == DEFAULT
