"""Prepared statements, by protocol and by SQL, belong to the client that made them and work on
whatever server its next transaction meets."""

import struct

import pytest

from harness import wait_until
from harness.wire import (ServerError, bind, close_statement, describe_portal, describe_statement,
                          errors, execute, flush, parse, query, rows, run, sync, tags, types)
from pooling import Clients, ones_and_twos

INT4, TEXT = 23, 25


def prepare(client, name, sql, oids=()):
    answers = client.ask(parse(name, sql, oids), sync())
    assert types(answers) == "1Z", [str(a) for a in answers]


def run_prepared(client, name, *values):
    answers = client.ask(bind("", name, values), execute(), sync())
    if errors(answers):
        raise ServerError(next(a for a in answers if a.type == "E").fields)
    assert types(answers).startswith("2")
    return rows(answers)


@pytest.mark.smoke
def test_a_named_statement_follows_its_client(two, clients):
    client = clients("two")
    with two.only(0) as pid:
        prepare(client, "s", "SELECT $1::int + 1, pg_backend_pid()")
        assert run_prepared(client, "s", 1) == [["2", str(pid)]]
    with two.only(1) as pid:
        assert run_prepared(client, "s", 2) == [["3", str(pid)]]
    with two.only(0) as pid:
        assert run_prepared(client, "s", 3) == [["4", str(pid)]]


def test_describe_finds_the_statement_on_another_server(two, clients):
    client = clients("two")
    with two.only(0):
        prepare(client, "s", "SELECT $1::int AS n")
    with two.only(1):
        answers = client.ask(describe_statement("s"), sync())
        assert types(answers) == "tTZ"
        assert struct.unpack("!hI", answers[0].body) == (1, INT4)


def test_one_name_different_statements(alice, bob):
    prepare(alice, "s", "SELECT 'alice'")
    prepare(bob, "s", "SELECT 'bob'")
    assert run_prepared(alice, "s") == [["alice"]]
    assert run_prepared(bob, "s") == [["bob"]]


def test_one_text_different_parameter_types(alice, bob):
    sql = "SELECT pg_typeof($1)::text"
    prepare(alice, "s", sql, [INT4])
    prepare(bob, "s", sql, [TEXT])
    for _ in range(2):
        assert run_prepared(alice, "s", "1") == [["integer"]]
        assert run_prepared(bob, "s", "1") == [["text"]]
    prepare(alice, "t", sql, [TEXT])
    assert run_prepared(alice, "t", "1") == [["text"]]
    assert run_prepared(alice, "s", "1") == [["integer"]]


def test_one_text_different_search_paths(alice, bob, app_postgres):
    """The same text means another table for each: a statement shared by text must not cross."""
    for schema in ("left_", "right_"):
        app_postgres.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE", dbname="app")
        app_postgres.execute(f"CREATE SCHEMA {schema} AUTHORIZATION app", dbname="app")
        app_postgres.execute(f"CREATE TABLE {schema}.t AS SELECT '{schema}'::text AS v; "
                             f"GRANT SELECT ON {schema}.t TO app", dbname="app")
    alice.query("SET search_path = left_")
    bob.query("SET search_path = right_")
    prepare(alice, "s", "SELECT v FROM t")
    prepare(bob, "s", "SELECT v FROM t")
    for _ in range(3):
        assert run_prepared(alice, "s") == [["left_"]]
        assert run_prepared(bob, "s") == [["right_"]]


def test_a_taken_name_is_refused_and_a_closed_one_is_free(alice, bob):
    prepare(alice, "s", "SELECT 1")
    assert errors(alice.ask(parse("s", "SELECT 2"), sync())) == ["42P05"]
    assert run_prepared(alice, "s") == [["1"]]
    assert types(alice.ask(close_statement("s"), sync())) == "3Z"
    with pytest.raises(ServerError, match="26000"):
        run_prepared(alice, "s")
    prepare(alice, "s", "SELECT 2")
    assert bob.value("SELECT 3") == "3"
    assert run_prepared(alice, "s") == [["2"]]


def test_several_refusals_on_their_way_at_once(alice):
    """What the proxy refuses in a pipeline has its place there, whatever happens to those before."""
    missing = bind("", "nowhere") + execute()
    alice.send(parse("", "SELECT 1"), bind(), execute(), missing, missing, sync(),
               parse("", "SELECT 1/0"), bind(), execute(), missing, sync(),
               parse("", "SELECT 2"), bind(), execute(), missing, flush(), sync(),
               parse("", "SELECT 3"), bind(), execute(), sync())
    answers = [alice.until_ready() for _ in range(4)]
    assert [types(part) for part in answers] == ["12DCEZ", "1EZ", "12DCEZ", "12DCZ"]
    assert [errors(part) for part in answers] == [["26000"], ["22012"], ["26000"], []]
    assert rows(alice.ask(query("SELECT 4"))) == [["4"]]


def test_a_known_statement_is_refused_where_the_server_would(alice, bob):
    """Its Parse is answered by the proxy only when nothing can make it fail."""
    alice.ask(parse("s", "SELECT 1"), sync())
    bob.query("BEGIN")
    bob.send(run("SELECT 1/0"), sync(), parse("s", "SELECT 1"), sync())
    assert [errors(bob.until_ready()) for _ in range(2)] == [["22012"], ["25P02"]]
    bob.query("ROLLBACK")
    assert errors(bob.ask(bind("", "s"), execute(), sync())) == ["26000"]
    assert types(bob.ask(parse("s", "SELECT 1"), bind("", "s"), execute(), sync())) == "12DCZ"
    assert rows(alice.ask(bind("", "s"), execute(), sync())) == [["1"]]


def test_closing_is_the_clients_own_matter(alice, bob):
    for client in (alice, bob):
        prepare(client, "s", "SELECT 'shared'")
    alice.ask(close_statement("s"), sync())
    assert run_prepared(bob, "s") == [["shared"]]
    # Close of what does not exist is no error.
    assert types(alice.ask(close_statement("s"), close_statement("never"), sync())) == "33Z"


@pytest.mark.parametrize("sql, then", [("DEALLOCATE ALL", "SELECT 3"), ("DISCARD ALL", "BEGIN")])
def test_what_an_unnamed_statement_has_done_is_not_done_again(alice, sql, then):
    alice.extended(sql)
    prepare(alice, "s", "SELECT 2")
    alice.extended(then)
    assert run_prepared(alice, "s") == [["2"]]


@pytest.mark.parametrize("messages, kinds", [
    ([parse("s", "SELEC 1"), sync()], "EZ"),
    ([parse("", "SELECT 1/0"), bind(), execute(), parse("s", "SELECT 1"), sync()], "1EZ"),
    ([parse("s", "SELECT no_such_column"), describe_statement("s"), sync()], "EZ"),
])
def test_a_name_whose_parse_failed_is_free(alice, messages, kinds):
    assert types(alice.ask(*messages)) == kinds
    with pytest.raises(ServerError, match="26000"):
        run_prepared(alice, "s")
    prepare(alice, "s", "SELECT 2")
    assert run_prepared(alice, "s") == [["2"]]


def test_a_name_whose_parse_failed_in_a_transaction_is_free(alice):
    alice.query("BEGIN")
    assert errors(alice.ask(parse("s", "SELECT nothing"), sync())) == ["42703"]
    assert errors(alice.ask(parse("s", "SELECT 1"), sync())) == ["25P02"]
    alice.query("ROLLBACK")
    prepare(alice, "s", "SELECT 2")
    assert run_prepared(alice, "s") == [["2"]]


def test_a_closed_statement_whose_close_was_skipped_is_still_there(alice):
    """The server skips everything after an error up to Sync, a Close too."""
    prepare(alice, "s", "SELECT 1")
    answers = alice.ask(run("SELECT 1/0"), close_statement("s"), sync())
    assert types(answers) == "1EZ"
    assert run_prepared(alice, "s") == [["1"]]


def test_statements_outlive_a_rollback(alice, bob):
    alice.query("BEGIN")
    prepare(alice, "s", "SELECT 1")
    alice.query("PREPARE q AS SELECT 2")
    alice.query("ROLLBACK")
    assert bob.value("SELECT 3") == "3"
    assert run_prepared(alice, "s") == [["1"]]
    assert alice.value("EXECUTE q") == "2"


def test_re_preparing_inside_a_pipeline_and_a_transaction(two, clients):
    """The server that comes next has none of these; their preparation must not disturb."""
    client = clients("two")
    with two.only(0):
        for n in range(3):
            prepare(client, f"s{n}", f"SELECT {n} + $1::int")
    with two.only(1):
        answers = client.ask(bind("", "s0", [10]), execute(), bind("", "s1", [10]),
                             describe_portal(), execute(), describe_statement("s2"),
                             bind("", "s2", [10]), execute(), sync())
        assert types(answers) == "2DC2TDCtT2DCZ"
        assert rows(answers) == [["10"], ["11"], ["12"]]


def test_the_end_of_a_failed_transaction_can_be_prepared_anywhere(two, clients):
    """Where nothing can be set any more: whatever settings it was prepared under."""
    client = clients("two")
    with two.only(0):
        client.ask(parse("undo", "ROLLBACK"), sync())
        client.query("SET timezone = 'Asia/Tokyo'")
    with two.only(1):
        client.query("BEGIN")
        assert client.fails("SELECT 1/0") == "22012"
        assert tags(client.ask(bind("", "undo"), execute(), sync())) == ["ROLLBACK"]


def test_a_failed_re_preparation_is_the_clients_error(two, clients, app_postgres):
    client = clients("two")
    with two.only(0):
        client.query("DROP TABLE IF EXISTS gone")
        client.query("CREATE TABLE gone AS SELECT 1 AS n")
        prepare(client, "s", "SELECT n FROM gone")
        client.query("DROP TABLE gone")
    with two.only(1):
        answers = client.ask(bind("", "s"), execute(), sync())
        assert errors(answers) == ["42P01"] and types(answers) == "EZ"
        client.query("CREATE TABLE gone AS SELECT 2 AS n")
        assert run_prepared(client, "s") == [["2"]]
        client.query("DROP TABLE gone")


def test_the_unnamed_statement_survives_its_transaction(two, clients):
    client, neighbour = clients("two"), clients("two")
    with two.only(0):
        client.ask(parse("", "SELECT $1::int * 2"), sync())
        neighbour.extended("SELECT 'mine'")
        assert rows(client.ask(bind("", "", [4]), execute(), sync())) == [["8"]]
    with two.only(1):
        assert rows(client.ask(bind("", "", [5]), execute(), sync())) == [["10"]]
        assert types(client.ask(describe_statement(), sync())) == "tTZ"


def test_a_simple_query_ends_the_unnamed_statement(alice):
    alice.ask(parse("", "SELECT 1"), sync())
    alice.query("SELECT 2")
    assert errors(alice.ask(bind(), execute(), sync())) == ["26000"]


def test_parse_flush_then_the_rest(alice):
    """What asyncpg and JDBC may do: look at the description before binding."""
    alice.send(parse("s", "SELECT $1::int"), describe_statement("s"), flush())
    assert types(alice.until("T")) == "1tT"
    alice.send(bind("", "s", [3]), execute(), sync())
    assert types(alice.until_ready()) == "2DCZ"


def test_known_statement_answers_in_order(alice, bob):
    """The server has it already, so the proxy answers the Parse itself: in its turn."""
    for client in (alice, bob):
        answers = client.ask(run("SELECT 1"), parse("s", "SELECT 'known'"), bind("", "s"),
                             execute(), close_statement("s"), run("SELECT 2"), sync())
        assert types(answers) == "12DC12DC312DCZ"
        assert rows(answers) == [["1"], ["known"], ["2"]]


def test_known_statement_flush_without_sync(alice, bob):
    prepare(alice, "s", "SELECT 'flushed'")
    bob.send(parse("s", "SELECT 'flushed'"), flush())
    assert bob.receive().type == "1"
    bob.send(describe_statement("s"), flush())
    assert types(bob.until("T")) == "tT"
    bob.send(sync())
    bob.until_ready()
    assert run_prepared(bob, "s") == [["flushed"]]


# By SQL

def test_sql_prepare_execute_deallocate(two, clients):
    client = clients("two")
    with two.only(0) as pid:
        client.query("PREPARE s (int) AS SELECT $1 + 1, pg_backend_pid()")
        assert client.query("EXECUTE s(1)") == [["2", str(pid)]]
    with two.only(1) as pid:
        assert client.query("EXECUTE s(2)") == [["3", str(pid)]]
        answers = client.ask(query("EXPLAIN (COSTS OFF) EXECUTE s(2)"))
        assert rows(answers) == [["Result"]]
        client.query("CREATE TEMP TABLE t ON COMMIT DROP AS EXECUTE s(2)")
        assert tags(client.ask(query("DEALLOCATE s"))) == ["DEALLOCATE"]
        assert client.fails("EXECUTE s(1)") == "26000"
        assert client.fails("DEALLOCATE s") == "26000"
    with two.only(0):
        assert client.fails("EXECUTE s(1)") == "26000"
        client.query("PREPARE s AS SELECT 'again'")
        assert client.value("EXECUTE s") == "again"


def test_sql_statements_of_one_name(alice, bob):
    alice.query("PREPARE s AS SELECT 'alice'")
    bob.query("PREPARE s AS SELECT 'bob'")
    assert (alice.value("EXECUTE s"), bob.value("EXECUTE s")) == ("alice", "bob")
    assert alice.fails("PREPARE s AS SELECT 1") == "42P05"
    assert tags(bob.ask(query("DEALLOCATE ALL"))) == ["DEALLOCATE ALL"]
    assert bob.fails("EXECUTE s") == "26000"
    assert alice.value("EXECUTE s") == "alice"


def test_sql_statements_and_many_statements_in_one_message(alice, bob):
    sql = "PREPARE s AS SELECT $1::text; EXECUTE s('x'); EXECUTE s('y'); DEALLOCATE PREPARE s"
    for client in (alice, bob, alice):
        answers = client.ask(query(sql))
        assert tags(answers) == ["PREPARE", "SELECT 1", "SELECT 1", "DEALLOCATE"]
        assert rows(answers) == [["x"], ["y"]]


def test_names_are_folded_as_sql_folds_them(alice, bob):
    alice.query('PREPARE Mixed AS SELECT 1; PREPARE "Mixed" AS SELECT 2')
    assert bob.value("SELECT 3") == "3"
    assert alice.value("EXECUTE mixed") == "1"
    assert alice.value('EXECUTE "Mixed"') == "2"
    assert run_prepared(alice, "mixed") == [["1"]]


def test_across_protocols(two, clients):
    """A statement prepared by one protocol is executed by the other, as on PostgreSQL."""
    client = clients("two")
    with two.only(0):
        client.query("PREPARE bysql (int) AS SELECT $1 + 1")
        prepare(client, "bymessage", "SELECT $1::int + 2")
    for server in (1, 0):
        with two.only(server):
            assert run_prepared(client, "bysql", 1) == [["2"]]
            assert client.value("EXECUTE bymessage(1)") == "3"
            assert client.extended("EXECUTE bysql(5)") == [["6"]]
    with two.only(1):
        client.query("DEALLOCATE bymessage")
        with pytest.raises(ServerError, match="26000"):
            run_prepared(client, "bymessage", 1)
        client.ask(close_statement("bysql"), sync())
        assert client.fails("EXECUTE bysql(1)") == "26000"


def test_prepare_and_deallocate_through_the_extended_protocol(alice, bob):
    for client in (alice, bob):
        client.extended("PREPARE e AS SELECT 'e'")
        assert client.extended("EXECUTE e") == [["e"]]
        client.extended("DEALLOCATE e")
        with pytest.raises(ServerError, match="26000"):
            client.extended("EXECUTE e")


def test_a_failed_prepare_leaves_no_name(alice):
    assert alice.fails("PREPARE s AS SELECT nothing") == "42703"
    alice.query("PREPARE s AS SELECT 1")
    assert alice.value("EXECUTE s") == "1"


def test_pg_prepared_statements_holds_nothing_of_a_closed_client(alice, clients):
    """What matters is that a name cannot be reached by the next client."""
    gone = clients()
    gone.query("PREPARE secret AS SELECT 'secret'")
    prepare(gone, "secret2", "SELECT 'secret'")
    gone.close()
    assert alice.fails("EXECUTE secret") == "26000"
    with pytest.raises(ServerError, match="26000"):
        run_prepared(alice, "secret2")


# Limits

@pytest.fixture(scope="module")
def small(shared_proxy, app_postgres):
    return shared_proxy(ones_and_twos(app_postgres, max_prepared_statements=3,
                                      max_client_prepared_statements=50))


def on_server(client):
    return int(client.value("SELECT count(*) FROM pg_prepared_statements"))


def test_the_least_used_statement_leaves_the_server(small):
    clients = Clients(small)
    alice, bob = clients(), clients()
    for n in range(10):
        prepare(alice, f"s{n}", f"SELECT {n}")
        alice.query(f"PREPARE q{n} AS SELECT {n}")
    for n in (9, 0, 5, 9, 1):
        assert run_prepared(alice, f"s{n}") == [[str(n)]]
        assert alice.value(f"EXECUTE q{n}") == str(n)
        assert on_server(bob) <= 3
    answers = alice.ask(*(bind("", f"s{n}") + execute() for n in range(10)), sync())
    assert types(answers) == "2DC" * 10 + "Z"
    assert rows(answers) == [[str(n)] for n in range(10)]
    assert on_server(bob) <= 3
    clients.close()


def test_a_client_cannot_hold_statements_without_end(small):
    clients = Clients(small)
    alice = clients()
    for n in range(50):
        prepare(alice, f"s{n}", f"SELECT {n}")
    assert errors(alice.ask(parse("one_more", "SELECT 1"), sync())) != []
    assert run_prepared(alice, "s0") == [["0"]]
    alice.ask(close_statement("s1"), sync())
    prepare(alice, "one_more", "SELECT 1")
    clients.close()


def test_memory_does_not_grow_with_statements_that_are_gone(small):
    """Distinct texts, each prepared and closed: nothing of them may stay."""
    clients = Clients(small)
    alice = clients()
    filler = " " * 2000

    def churn(count, start):
        for n in range(start, start + count, 100):
            alice.ask(*(parse(f"s{i}", f"SELECT {i}{filler}") + close_statement(f"s{i}")
                        for i in range(n, n + 100)), sync())

    churn(3000, 0)
    before = small.memory()
    churn(6000, 3000)  # 12 MB of text
    assert small.memory() - before < 6_000_000
    clients.close()


def test_a_plan_made_stale_by_ddl(alice, bob):
    """`cached plan must not change result type` must look as on PostgreSQL."""
    alice.query("DROP TABLE IF EXISTS widened; CREATE TABLE widened AS SELECT 1 AS a")
    prepare(alice, "s", "SELECT * FROM widened")
    assert run_prepared(alice, "s") == [["1"]]
    bob.query("ALTER TABLE widened ADD b int DEFAULT 2")
    with pytest.raises(ServerError, match="0A000"):
        run_prepared(alice, "s")
    alice.ask(close_statement("s"), sync())
    prepare(alice, "s", "SELECT * FROM widened")
    assert run_prepared(alice, "s") == [["1", "2"]]


def test_statements_come_back_after_the_server_was_replaced(alice, app_postgres):
    prepare(alice, "s", "SELECT pg_backend_pid()")
    pid = int(run_prepared(alice, "s")[0][0])
    app_postgres.execute("SELECT pg_terminate_backend(%s)", (pid,))
    wait_until(lambda: not app_postgres.execute(
        "SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)))
    assert int(run_prepared(alice, "s")[0][0]) != pid


# What a shared statement must not share

def test_literals_are_read_under_the_clients_own_settings(two, clients):
    """Parse analysis turns '1/2/2003'::date into a date: under the settings of whoever asked."""
    us, eu = clients("two"), clients("two")
    sql = "SELECT extract(month FROM '1/2/2003'::date)::int, '2003-01-01 00:00'::timestamptz::text"
    with two.only(0):
        us.query("SET datestyle = 'ISO, MDY'; SET timezone = 'UTC'")
        eu.query("SET datestyle = 'ISO, DMY'; SET timezone = 'Asia/Tokyo'")
        prepare(us, "s", sql)
        prepare(eu, "s", sql)
        assert run_prepared(us, "s") == [["1", "2003-01-01 00:00:00+00"]]
        assert run_prepared(eu, "s") == [["2", "2003-01-01 00:00:00+09"]]
    with two.only(1):
        assert run_prepared(eu, "s") == [["2", "2003-01-01 00:00:00+09"]]
        assert run_prepared(us, "s") == [["1", "2003-01-01 00:00:00+00"]]


def test_strings_are_read_under_the_clients_own_settings(alice, bob):
    bob.query("SET standard_conforming_strings = off; SET escape_string_warning = off")
    prepare(alice, "s", r"SELECT 'a\\b'")
    prepare(bob, "s", r"SELECT 'a\\b'")
    assert run_prepared(alice, "s") == [[r"a\\b"]]
    assert run_prepared(bob, "s") == [[r"a\b"]]


def test_a_local_setting_is_not_shared_either(alice, bob):
    alice.query("BEGIN")
    alice.query("SET LOCAL datestyle = 'ISO, DMY'")
    prepare(alice, "s", "SELECT extract(month FROM '3/4/2003'::date)::int")
    alice.query("COMMIT")
    prepare(bob, "s", "SELECT extract(month FROM '3/4/2003'::date)::int")
    assert run_prepared(bob, "s") == [["3"]]


# Pipelines

@pytest.mark.parametrize("how", ["SELECT set_config('datestyle', 'SQL, DMY', true)",
                                 "DO $$ BEGIN SET LOCAL datestyle = 'SQL, DMY'; END $$"])
def test_nor_is_one_made_by_a_function(alice, bob, how):
    text = f"SELECT '1/2/2003'::date::text AS \"{len(how)}\""
    alice.query("BEGIN")
    alice.query(how)
    alice.ask(parse("s", text), sync())
    alice.query("COMMIT")
    assert rows(bob.ask(parse("s", text), bind("", "s"), execute(), sync())) == [["2003-01-02"]]


def test_preparation_skipped_in_one_part_serves_the_next(two, clients):
    """Two parts are sent at once. The first fails before the statement is made on this server."""
    client = clients("two")
    with two.only(0):
        prepare(client, "s", "SELECT $1::int")
        client.query("PREPARE q (int) AS SELECT $1 + 1")
    with two.only(1):
        client.send(run("SELECT nothing"), bind("", "s", [1]), execute(), bind("", "q", [1]),
                    execute(), sync(),
                    bind("", "s", [2]), execute(), bind("", "q", [2]), execute(), sync(),
                    bind("", "s", [3]), execute(), sync())
        answers = [client.until_ready() for _ in range(3)]
        assert [types(part) for part in answers] == ["EZ", "2DC2DCZ", "2DCZ"]
        assert rows(answers[1] + answers[2]) == [["2"], ["3"], ["3"]]
        assert client.value("EXECUTE q(5)") == "6"


def test_preparation_sent_twice_serves_both_parts(two, clients):
    client = clients("two")
    with two.only(0):
        prepare(client, "s", "SELECT $1::int")
    with two.only(1):
        client.send(*(bind("", "s", [n]) + execute() + sync() for n in range(5)))
        answers = [client.until_ready() for _ in range(5)]
        assert [rows(part) for part in answers] == [[[str(n)]] for n in range(5)]


def test_many_statements_in_one_message_on_another_server(two, clients):
    client = clients("two")
    with two.only(0):
        client.query("PREPARE a (int) AS SELECT $1 + 1; PREPARE b AS SELECT 'b'")
    with two.only(1):
        answers = client.ask(query("BEGIN; EXECUTE a(1); EXECUTE b; EXECUTE a(2); COMMIT"))
        assert tags(answers) == ["BEGIN", "SELECT 1", "SELECT 1", "SELECT 1", "COMMIT"]
        assert rows(answers) == [["2"], ["b"], ["3"]]
        assert tags(client.ask(query(
            "DEALLOCATE ALL; PREPARE b AS SELECT 'new'; EXECUTE b"))) == [
            "DEALLOCATE ALL", "PREPARE", "SELECT 1"]
    with two.only(0):
        assert client.value("EXECUTE b") == "new"
        assert client.fails("EXECUTE a(1)") == "26000"


def test_the_declared_types_of_an_sql_statement_are_kept(two, clients):
    client = clients("two")
    with two.only(0):
        client.query("PREPARE s (smallint, text) AS SELECT pg_typeof($1)::text, pg_typeof($2)::text")
    with two.only(1):
        assert run_prepared(client, "s", "1", "x") == [["smallint", "text"]]
        assert types(client.ask(describe_statement("s"), sync())) == "tTZ"


def test_the_clients_portal_survives_our_preparations(two, clients):
    client = clients("two")
    with two.only(0):
        client.query("PREPARE q AS SELECT 'q'")
        prepare(client, "s", "SELECT 's'")
    with two.only(1):
        answers = client.ask(bind("", "s"), bind("other", "q"), execute(), execute("other"), sync())
        assert rows(answers) == [["s"], ["q"]]


def test_named_statements_that_name_statements(two, clients):
    """A protocol-level statement whose text is PREPARE, EXECUTE or DEALLOCATE."""
    client, neighbour = clients("two"), clients("two")
    with two.only(0):
        neighbour.query("PREPARE s AS SELECT 'neighbour'")
        prepare(client, "make", "PREPARE s AS SELECT 'mine'")
        run_prepared(client, "make")
        prepare(client, "use", "EXECUTE s")
        assert run_prepared(client, "use") == [["mine"]]
    with two.only(1):
        assert run_prepared(client, "use") == [["mine"]]
        prepare(client, "drop", "DEALLOCATE s")
        run_prepared(client, "drop")
        assert client.fails("EXECUTE s") == "26000"
        assert neighbour.value("EXECUTE s") == "neighbour"


def test_errors_name_the_statement_as_the_client_does(alice):
    prepare(alice, "mine", "SELECT $1::int")
    alice.query("PREPARE q (int) AS SELECT $1")
    error, = [a for a in alice.ask(bind("", "mine"), sync()) if a.type == "E"]
    assert error.fields["M"] == ("bind message supplies 0 parameters, but prepared statement "
                                 '"mine" requires 1')
    error, = [a for a in alice.ask(bind("", "mine"), close_statement("mine"), sync())
              if a.type == "E"]
    assert '"mine"' in error.fields["M"]  # whose removal was skipped
    error, = [a for a in alice.ask(query("EXECUTE q")) if a.type == "E"]
    assert error.fields["M"] == 'wrong number of parameters for prepared statement "q"'


def test_execute_means_what_its_name_stands_for_when_it_runs(alice, bob):
    alice.query("PREPARE q AS SELECT 'first'")
    alice.ask(parse("e", "EXECUTE q"), parse("d", "DEALLOCATE q"), sync())
    assert rows(alice.ask(bind("", "e"), execute(), sync())) == [["first"]]
    alice.query("DEALLOCATE q")
    assert bob.value("SELECT 1") == "1"
    assert errors(alice.ask(bind("", "e"), execute(), sync())) == ["26000"]
    assert errors(alice.ask(bind("", "d"), execute(), sync())) == ["26000"]
    alice.query("PREPARE q AS SELECT 'second'")
    assert rows(alice.ask(bind("", "e"), execute(), sync())) == [["second"]]
    assert tags(alice.ask(bind("", "d"), execute(), sync())) == ["DEALLOCATE"]
    assert alice.fails("EXECUTE q") == "26000"
    # All in one pipeline.
    answers = alice.ask(parse("", "EXECUTE q"), run("PREPARE q AS SELECT 'third'"), run("EXECUTE q"),
                        sync())
    assert rows(answers) == [["third"]]
    assert bob.value("SELECT 1") == "1"


def test_strings_mean_what_they_meant_when_it_was_prepared(clients, two):
    """Made anew on another server in a transaction that has SET LOCAL another way to read strings: neither
    this execution nor anybody's later one reads it so."""
    alice, bob = clients("two"), clients("two")
    for client in (alice, bob):
        with two.only(0):
            prepare(client, "path", r"SELECT 'a\\b'")
    with two.only(1):
        alice.query("BEGIN")
        alice.query("SET LOCAL standard_conforming_strings = off")
        assert run_prepared(alice, "path") == [[r"a\\b"]]
        assert alice.value("SHOW standard_conforming_strings") == "off"
        alice.query("COMMIT")
        assert run_prepared(bob, "path") == [[r"a\\b"]]
