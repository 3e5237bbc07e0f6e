"""The same work in session and statement mode: what each promises, and what it refuses."""

import pytest

from harness.config import plain
from harness.wire import (ServerError, bind, copy_data, copy_done, describe_portal, errors,
                          execute, flush, parse, query, rows, run, sync, tags, types)
from pooling import Clients


@pytest.fixture(scope="module")
def modes_proxy(shared_proxy, app_postgres):
    """One server each: the database's own mode, and a user's."""
    config = plain(app_postgres, size=1)
    where = {**config["databases"]["app"], "dbname": "app"}
    config["databases"] = {"transaction": where,
                           "session": {**where, "pool_mode": "session"},
                           "statement": {**where, "pool_mode": "statement"}}
    config["users"]["other"]["pool_mode"] = "session"
    return shared_proxy(config)


@pytest.fixture
def clients(modes_proxy):
    made = Clients(modes_proxy)
    yield made
    made.close()


@pytest.fixture
def table(app_postgres):
    app_postgres.execute("DROP TABLE IF EXISTS modes; CREATE TABLE modes (n int PRIMARY KEY); "
                         "ALTER TABLE modes OWNER TO app", dbname="app")


# --- what works in all of them -------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
def test_the_same_work(table, clients, mode):
    client = clients(mode)
    assert client.value("SELECT 1") == "1"
    assert client.extended("SELECT $1::int + 1", ["2"]) == [["3"]]
    assert tags(client.ask(query("INSERT INTO modes VALUES (1); INSERT INTO modes VALUES (2)"))) \
        == ["INSERT 0 1"] * 2
    assert errors(client.ask(query("INSERT INTO modes VALUES (3); SELECT 1/0"))) == ["22012"]
    client.ask(parse("s", "SELECT $1::int"), sync())
    answers = client.ask(bind("", "s", ["7"]), describe_portal(), execute(), sync())
    assert (types(answers), rows(answers)) == ("2TDCZ", [["7"]])
    client.send(query("COPY modes FROM STDIN"))
    client.until("G")
    client.send(copy_data(b"4\n"), copy_done())
    assert tags(client.until_ready()) == ["COPY 1"]
    answers = client.ask(query("COPY modes TO STDOUT"))
    assert [a.body for a in answers if a.type == "d"] == [b"1\n", b"2\n", b"4\n"]
    assert errors(client.ask(run("SELECT 1"), run("SELECT 1/0"), run("SELECT 2"), sync())) \
        == ["22012"]
    assert client.value("SELECT count(*) FROM modes") == "3"
    client.query("SET application_name = 'kept'")
    assert client.value("SHOW application_name") == "kept"


# --- session mode --------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_session_keeps_its_server(clients):
    client = clients("session")
    pid = client.backend_pid()
    for sql in ("CREATE TEMP TABLE kept (n int)", "SELECT pg_advisory_lock(1)", "LISTEN kept",
                "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "PREPARE p AS SELECT 'prepared'",
                "SELECT nextval(pg_get_serial_sequence('kept', 'n'))"):
        client.ask(query(sql))
    assert client.backend_pid() == pid
    assert client.value("EXECUTE p") == "prepared"
    late = clients("session")
    late.send(query("SELECT pg_backend_pid(), to_regclass('pg_temp.kept') IS NULL, "
                    "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), "
                    "(SELECT count(*) FROM pg_cursors), (SELECT count(*) FROM pg_prepared_statements), "
                    "(SELECT count(*) FROM pg_listening_channels())"))
    assert late.silent(0.1)
    client.close()
    # The same server, reset.
    assert rows(late.until_ready()) == [[str(pid), "t", "0", "0", "0", "0"]]


@pytest.mark.parametrize("back", ["RESET work_mem", "SET work_mem TO DEFAULT", "RESET ALL",
                                  "DISCARD ALL"])
def test_a_session_returns_to_what_it_began_with(clients, back):
    client = clients("session", work_mem="5MB", TimeZone="Asia/Tokyo")
    client.query("SET work_mem = '6MB'")
    client.send(query(back), query("SHOW work_mem"), query("SHOW timezone"))
    answers = [answer for _ in range(3) for answer in client.until_ready()]
    assert tags(answers)[0] == {"SET ": "SET", "RESE": "RESET", "DISC": "DISCARD ALL"}[back[:4]]
    assert rows(answers) == [["5MB"], ["Asia/Tokyo"]]


@pytest.mark.parametrize("back", ["RESET work_mem", "SET work_mem TO DEFAULT", "RESET ALL",
                                  "DISCARD ALL"])
@pytest.mark.parametrize("name", ["", "s"])
def test_a_session_returns_by_the_extended_protocol_too(clients, back, name):
    client = clients("session", work_mem="5MB", TimeZone="Asia/Tokyo")
    client.query("SET work_mem = '6MB'")
    answers = client.ask(parse(name, back), bind("", name), execute(), run("SHOW work_mem"), sync())
    assert tags(answers)[0] == {"SET ": "SET", "RESE": "RESET", "DISC": "DISCARD ALL"}[back[:4]]
    assert types(answers) == "12C12DCZ" and rows(answers) == [["5MB"]]
    assert client.parameters["TimeZone"] == "Asia/Tokyo"
    assert client.query("SELECT current_setting('work_mem'), current_setting('timezone')") == [
        ["5MB", "Asia/Tokyo"]]
    client.query("SET work_mem = '7MB'")
    if name and back != "DISCARD ALL":
        client.ask(bind("", name), execute(), sync())
        assert client.value("SHOW work_mem") == "5MB"


def test_notifications_come_at_once(clients, app_postgres):
    client = clients("session")
    client.query("LISTEN direct")
    app_postgres.execute("NOTIFY direct, 'now'", dbname="app")
    assert client.notification() == ("direct", "now")


def test_sequences_of_a_session(table, clients):
    client = clients("session")
    client.query("CREATE TEMP SEQUENCE numbers")
    assert client.value("SELECT nextval('numbers')") == "1"
    assert client.value("SELECT currval('numbers')") == client.value("SELECT lastval()") == "1"


def test_leaving_in_a_transaction_undoes_it(table, clients):
    client = clients("session")
    client.query("BEGIN")
    client.query("INSERT INTO modes VALUES (1)")
    client.close()
    assert clients("session").value("SELECT count(*) FROM modes") == "0"


def test_the_mode_of_a_user(clients):
    client = clients("transaction", user="other")
    pid = client.backend_pid()
    client.query("CREATE TEMP TABLE kept (n int)")
    waiting = clients("transaction", user="other")
    waiting.send(query("SELECT pg_backend_pid()"))
    assert waiting.silent(0.1)
    client.close()
    assert rows(waiting.until_ready()) == [[str(pid)]]


# --- statement mode ------------------------------------------------------------------------------


BEGINNINGS = ["BEGIN", "START TRANSACTION", "begin isolation level serializable", "BEGIN; SELECT 1",
              "SELECT 1; BEGIN", "/* now */ BEGIN"]


@pytest.mark.smoke
@pytest.mark.parametrize("sql", BEGINNINGS)
def test_statement_mode_has_no_transactions(table, clients, sql):
    client, other = clients("statement"), clients("statement")
    with pytest.raises(ServerError) as error:
        client.query(sql)
    assert error.value.sqlstate == "0A000"
    assert "statement" in error.value.fields["M"]
    assert other.value("SELECT pg_current_xact_id_if_assigned() IS NULL") == "t"
    client.query("INSERT INTO modes VALUES (1)")
    assert other.value("SELECT count(*) FROM modes") == "1"


@pytest.mark.parametrize("sql", [s for s in BEGINNINGS if ";" not in s])
def test_nor_by_the_extended_protocol(table, clients, sql):
    client, other = clients("statement"), clients("statement")
    answers = client.ask(run(sql), run("INSERT INTO modes VALUES (1)"), sync())
    assert errors(answers) == ["0A000"]
    assert other.value("SELECT count(*) FROM modes") == "0"
    assert client.extended("SELECT 1") == [["1"]]
    assert errors(client.ask(parse("begin", sql), sync())) == ["0A000"]
    assert errors(client.ask(bind("", "begin"), execute(), sync())) == ["26000"]
    assert client.extended("SELECT 1") == other.extended("SELECT 1") == [["1"]]


def test_every_statement_may_have_another_server(clients, modes_proxy):
    first, second = clients("statement"), clients("statement")
    for _ in range(5):
        assert first.backend_pid() == second.backend_pid()


def test_a_pipeline_is_one_statement(table, clients):
    client, other = clients("statement"), clients("statement")
    client.send(run("INSERT INTO modes VALUES (1)"), flush())
    client.until("C")
    other.send(query("SELECT count(*) FROM modes"))
    assert other.silent(0.1)
    client.send(run("SELECT 1/0"), sync())
    assert errors(client.until_ready()) == ["22012"]
    assert rows(other.until_ready()) == [["0"]]
