"""Clients that break the protocol, dawdle, or leave at the worst moment: each harms nobody else."""

import random
import struct

import pytest

from harness import wait_until
from harness.config import plain
from harness.wire import (Wire, bind, close_statement, copy_data, copy_done,
                          describe_portal, errors, execute, flush, function_call, message, parse,
                          query, rows, run, startup, sync, tags, terminate, types)

INT4PL = 177  # the function's OID: int4 + int4


def neighbour_is_served(bob):
    assert bob.value("SELECT 1") == "1"


def last_error(client):
    """Reads to the end of the connection; the fields of the error it ended with."""
    answers = client.until_closed()
    assert answers and answers[-1].type == "E", [str(a) for a in answers]
    return answers[-1].fields


# --- before the login --------------------------------------------------------------------------


def packet(body):
    return struct.pack("!i", len(body) + 4) + body


def of_version(major, minor, body=b"user\0app\0\0"):
    return packet(struct.pack("!hh", major, minor) + body)


@pytest.mark.smoke
@pytest.mark.parametrize("first, sqlstate", [
    (random.Random(1).randbytes(4000), "08P01"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "08P01"),
    (b"\0\0\0\0\0\3\0\0", "08P01"),
    (b"\0\0\0\7\0\3\0", "08P01"),
    (b"\xff\xff\xff\xff\0\3\0\0", "08P01"),
    (b"\x7f\xff\xff\xff\0\3\0\0", "08P01"),
    (struct.pack("!i", 10005) + b"\0\3\0\0", "08P01"),
    (of_version(3, 0, b"user\0app\0database\0one\0"), "08P01"),
    (of_version(3, 0, b"user\0app"), "08P01"),
    (of_version(3, 0, b""), "08P01"),
    (of_version(3, 0, b"database\0one\0\0"), "28000"),
    (of_version(2, 0), "0A000"),
    (of_version(4, 0), "0A000"),
    (packet(struct.pack("!i", 80877103) + b"more"), "08P01"),
    (packet(struct.pack("!ii", 80877102, 1)), "08P01"),
], ids=["noise", "http", "length 0", "length 7", "length -1", "length 2 GB", "too long",
        "no terminator", "no value", "no parameters", "no user", "version 2", "version 4",
        "SSLRequest with a body", "CancelRequest without a key"])
def test_what_is_no_startup_packet_is_told_so(proxy, bob, first, sqlstate):
    with Wire(proxy) as client:
        client.send_bytes(first)
        assert last_error(client)["C"] == sqlstate
    neighbour_is_served(bob)


def test_tls_on_a_plain_port_is_hung_up_on(proxy, bob):
    with Wire(proxy) as client:
        client.send_bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
        assert client.until_closed() == []
    neighbour_is_served(bob)


@pytest.fixture(scope="module")
def careful_proxy(shared_proxy, app_postgres):
    """Asks for passwords, and not for ever."""
    return shared_proxy(plain(app_postgres, auth_type="scram-sha-256", client_login_timeout=0.5))


def sasl_initial(mechanism=b"SCRAM-SHA-256", response=b"n,,n=,r=abcdefghijklmnop"):
    return message("p", mechanism + b"\0" + struct.pack("!i", len(response)) + response)


def test_silence_before_the_login_has_an_end(careful_proxy):
    for said in (b"", b"\0\0\0\x20", startup("app", "app"), startup("app", "app") + sasl_initial()):
        with Wire(careful_proxy) as client:
            client.send_bytes(said)
            assert last_error(client)["M"] == "client_login_timeout"


@pytest.mark.parametrize("answer", [
    query("SELECT 1"),
    sync(),
    message("p", b"x" * 10_001),
    b"p\xff\xff\xff\xff",
    b"p\0\0\0\3",
    message("p", b""),
    message("p", b"SCRAM-SHA-256"),
    message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", 1 << 30) + b"n,,"),
    sasl_initial(mechanism=b"NO-SUCH"),
    sasl_initial(response=b"rubbish"),
    sasl_initial(response=b"y,,n=,r=\xff\xfe"),
    sasl_initial() + message("p", b"c=biws,r=wrong,p=AAAA"),
])
def test_rubbish_instead_of_a_password(careful_proxy, answer):
    with Wire(careful_proxy) as client:
        client.send(startup("app", "app"))
        assert client.receive().type == "R"
        client.send_bytes(answer)
        assert last_error(client)["C"] in ("08P01", "28P01")
    assert client.pid is None


# --- after it ----------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("rubbish", [
    b"!\0\0\0\4",
    b"\0\0\0\0\4",
    message("p", b"secret\0"),
    b"Q\0\0\0\3",
    b"Q\xff\xff\xff\xff",
    b"Q\x7f\xff\xff\xff",
    b"S\0\1\0\0",
    b"E\0\1\0\0",
    b"d\x7f\xff\xff\xff",
    b"GET / HTTP/1.1\r\n",
])
@pytest.mark.parametrize("within", [None, "BEGIN", "pipeline"])
def test_a_broken_frame_ends_the_session(clients, alice, bob, rubbish, within):
    if within == "BEGIN":
        alice.query("BEGIN")
        alice.query("SET LOCAL application_name = 'broken'")
    elif within:
        alice.send(run("SELECT 1"), flush())
        alice.until("C")
    alice.send_bytes(rubbish)
    fields = last_error(alice)
    assert (fields["C"], fields["S"]) == ("08P01", "FATAL")
    assert bob.query("SELECT current_setting('application_name'), "
                     "pg_current_xact_id_if_assigned() IS NULL") == [["", "t"]]


@pytest.mark.parametrize("body", [b"SELECT 1", b"", b"SELECT 1\0SELECT 2\0"])
@pytest.mark.parametrize("within", [False, True])
def test_a_query_that_is_no_string_is_an_error_and_the_session_goes_on(alice, bob, body, within):
    if within:
        alice.query("BEGIN")
    answers = alice.ask(message("Q", body))
    assert errors(answers) == ["08P01"]
    if within:
        assert alice.fails("SELECT 1") == "25P02"
        alice.query("ROLLBACK")
    assert alice.value("SELECT 2") == "2"
    neighbour_is_served(bob)


@pytest.mark.smoke
@pytest.mark.parametrize("broken", [
    message("P", b"name without an end"),
    message("P", b"\0SELECT 1\0"),
    message("P", b"\0SELECT 1\0\0\5"),
    message("B", b""),
    message("B", b"\0\0\0\0\0\1"),
    message("B", b"\0\0\0\0\0\1\x7f\xff\xff\xff" + b"\0\0"),
    message("B", b"\0\0\0\0\0\1\xff\xff\xff\xfe" + b"\0\0"),
    message("B", b"\0\0\xff\xff\0\0\0\0"),
    message("D", b""),
    message("D", b"X\0"),
    message("D", b"Sno end"),
    message("C", b"?\0"),
    message("E", b"\0\0\0"),
    message("E", b"no end"),
], ids=lambda broken: f"{chr(broken[0])} {broken[5:]!r}")
@pytest.mark.parametrize("before", [b"", run("INSERT INTO bad_clients VALUES (1)")],
                         ids=["first", "in a pipeline"])
def test_a_broken_message_fails_its_pipeline_alone(table, alice, bob, broken, before):
    answers = alice.ask(before, broken, parse("", "SELECT 1"), bind(), execute(), sync())
    assert errors(answers) == ["08P01"], [str(a) for a in answers]
    assert types(answers).endswith("EZ")
    assert bob.value("SELECT count(*) FROM bad_clients") == "0"
    assert alice.value("SELECT 2") == "2"
    assert alice.extended("SELECT 3") == [["3"]]


def test_copy_messages_out_of_place_are_ignored(alice, bob):
    """As PostgreSQL does: they may be the rest of a COPY that has failed."""
    answers = alice.ask(copy_data(b"1\n"), copy_done(), message("f", b"why\0"), query("SELECT 1"))
    assert (types(answers), rows(answers)) == ("TDCZ", [["1"]])
    neighbour_is_served(bob)


def test_a_broken_function_call(alice, bob):
    assert errors(alice.ask(message("F", b"\0\0"))) == ["08P01"]
    assert rows(alice.ask(query("SELECT 1"))) == [["1"]]
    neighbour_is_served(bob)


def test_nothing_is_remembered_of_an_announced_gigabyte(proxy, clients):
    """A length is no reason to take memory."""
    before = proxy.memory()
    liars = [clients("two") for _ in range(20)]
    for client in liars:
        client.send_bytes(b"Q" + struct.pack("!i", 1 << 29) + b"SELECT")
    neighbour_is_served(clients("two"))
    assert proxy.memory() - before < 48 << 20
    for client in liars:
        client.drop()


# --- slowly ------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_one_byte_at_a_time(proxy, table):
    with Wire(proxy) as client:
        def say(*messages):
            for byte in b"".join(messages):
                client.send_bytes(bytes([byte]))
        say(startup("app", "one", application_name="slow"))
        client.until_ready()
        say(query("SELECT current_setting('application_name')"))
        assert rows(client.until_ready()) == [["slow"]]
        say(parse("s", "SELECT $1::int"), bind("", "s", ["7"]), describe_portal(), execute(), sync())
        answers = client.until_ready()
        assert (types(answers), rows(answers)) == ("12TDCZ", [["7"]])
        say(close_statement("s"), sync())
        assert types(client.until_ready()) == "3Z"
        say(query("COPY bad_clients FROM STDIN"))
        assert types(client.until("G")) == "G"
        say(copy_data(b"1\n2"), copy_data(b"\n"), copy_done())
        assert tags(client.until_ready()) == ["COPY 2"]
        say(function_call(INT4PL, struct.pack("!i", 3), struct.pack("!i", 4)))
        assert [a.body for a in client.until_ready() if a.type == "V"] == [struct.pack("!ii", 4, 7)]
        say(terminate())
        assert client.until_closed() == []


def test_a_client_that_stops_reading_holds_no_memory(proxy, clients, app_postgres):
    row, count = 8000, 10_000
    before = proxy.memory()
    lazy = clients("one", receive_buffer=4096, timeout=60)
    lazy.send(query(f"SELECT repeat('x', {row}) FROM generate_series(1, {count})"))
    wait_until(lambda: app_postgres.execute(
        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND usename = 'app'"))
    other = clients("two")
    for _ in range(50):
        neighbour_is_served(other)
    assert proxy.memory() - before < 32 << 20
    answers = lazy.until_ready()
    assert types(answers) == "T" + "D" * count + "CZ"
    assert {len(a.body) for a in answers if a.type == "D"} == {row + 6}
    assert proxy.memory() - before < 32 << 20
    neighbour_is_served(lazy)


def test_a_client_that_stops_reading_can_still_leave(clients, app_postgres):
    lazy, waiting = clients("one", receive_buffer=4096), clients("one")
    pid = lazy.backend_pid()
    lazy.send(query("SELECT repeat('x', 8000) FROM generate_series(1, 10000)"))
    wait_until(lambda: app_postgres.execute(
        f"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND pid = {pid}"))
    waiting.send(query("SELECT 'mine'"))
    lazy.drop()
    assert rows(waiting.until_ready()) == [["mine"]]
    wait_until(lambda: not app_postgres.execute(
        f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"))


def test_requests_without_reading_answers(proxy, clients):
    """A pipeline whose answers nobody reads stops being taken instead of being queued."""
    before = proxy.memory()
    lazy = clients("one", receive_buffer=4096)
    lazy.socket.settimeout(1)
    sent, many = 0, query("SELECT repeat('x', 4000)") * 2000
    with pytest.raises(TimeoutError):
        while sent < 100 << 20:
            lazy.send(many)
            sent += len(many)
    assert proxy.memory() - before < 48 << 20
    other = clients("two")
    neighbour_is_served(other)
    lazy.reset()
    neighbour_is_served(clients("one"))


# --- gone at every step ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_table(app_postgres):
    app_postgres.execute("CREATE TABLE bad_clients (n int); "
                         "ALTER TABLE bad_clients OWNER TO app", dbname="app")


@pytest.fixture
def table(made_table, app_postgres):
    app_postgres.execute("TRUNCATE bad_clients", dbname="app")


# What a client says, and the type of the answer it waits for before it goes on. Nothing of it may
# be seen afterwards.
INSERT = "INSERT INTO bad_clients VALUES (1)"
SESSIONS = {
    "a query that takes long": [(query("SELECT pg_sleep(60)"), "")],
    "many rows": [(query("SELECT generate_series(1, 200000)"), "T"), (b"", "D")],
    "a transaction": [(query("BEGIN"), "Z"), (query(INSERT), "Z"), (query("SELEC"), "Z")],
    "a transaction with settings": [
        (query("BEGIN"), "Z"), (query("SET application_name = 'gone'"), "Z"),
        (query("SET LOCAL search_path = nowhere"), "Z"), (query(INSERT), "Z")],
    "COPY in": [(query("COPY bad_clients FROM STDIN"), "G"), (copy_data(b"1\n" * 1000), ""),
                (copy_data(b"2\n"), "")],
    "COPY in, extended": [(run("COPY bad_clients FROM STDIN"), ""), (flush(), "G"),
                          (copy_data(b"1\n"), ""), (copy_data(b"1\n"), "")],
    "COPY out": [(query("COPY (SELECT generate_series(1, 200000)) TO STDOUT"), "H"), (b"", "d")],
    "a pipeline": [(parse("", INSERT), ""), (bind(), ""), (execute(), ""), (flush(), "C"),
                   (run(INSERT), "")],
    "a portal": [(query("BEGIN"), "Z"),
                 (parse("", "SELECT generate_series(1, 100)"), ""), (bind("p"), ""),
                 (execute("p", 10), ""), (sync(), "Z"), (execute("p", 10), ""), (flush(), "s")],
    "an open cursor": [(query("BEGIN; DECLARE c CURSOR FOR SELECT 1"), "Z"),
                       (query("FETCH 1 FROM c"), "Z")],
    "settings": [(query("SET application_name = 'gone'"), "Z"), (query("SET ROLE other"), "Z")],
    "a temporary table": [(query("CREATE TEMP TABLE gone AS SELECT 1"), "Z"),
                          (query("BEGIN; INSERT INTO gone VALUES (2)"), "Z")],
    "an advisory lock": [(query("SELECT pg_advisory_lock(4711)"), "Z"),
                         (query("BEGIN; SELECT pg_advisory_lock(4712)"), "Z")],
    "a listener": [(query("LISTEN gone"), "Z"), (query("BEGIN; LISTEN gone_too"), "Z")],
}

LEFTOVERS = """SELECT (SELECT count(*) FROM bad_clients), current_setting('application_name'),
    current_setting('search_path'), current_user, pg_current_xact_id_if_assigned() IS NULL,
    to_regclass('pg_temp.gone') IS NULL, (SELECT count(*) FROM pg_cursors),
    (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_locks
     WHERE locktype = 'advisory' AND pid = pg_backend_pid())"""
CLEAN = [["0", "", '"$user", public', "app", "t", "t", "0", "0", "0"]]


def prefixes(session):
    """Every way to break off: before a message, within it, behind it, and with its answer read."""
    for step, (said, answer) in enumerate(session):
        done = session[:step]
        if said:
            yield done, said[:len(said) // 2]
            yield done, said
        if answer:
            yield session[:step + 1], b""


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize("leave", [Wire.drop, Wire.reset], ids=["FIN", "RST"])
def test_gone_at_every_step(table, proxy, clients, bob, app_postgres, name, leave):
    for done, last in prefixes(SESSIONS[name]):
        client = Wire(proxy, "one", user="app")
        for said, answer in done:
            client.send_bytes(said)
            if answer:
                client.until(answer)
        client.send_bytes(last)
        leave(client)
        found = bob.ask(query(LEFTOVERS))
        assert (types(found), rows(found)) == ("TDCZ", CLEAN), (done, last)
    # The pool has one server; those that were given up are really gone.
    wait_until(lambda: app_postgres.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state IS NOT NULL "
        "AND pid <> ALL (%s)", (server_pids(proxy),)) == [(0,)])


def server_pids(proxy):
    with Wire(proxy, "pgshunt", user="admin") as console:
        answers = console.ask(query("SHOW SERVERS"))
        names = column_names(answers[0])
        at = names.index("remote_pid")
        return [int(row[at]) for row in rows(answers)]


def column_names(description):
    names, at = [], 2
    for _ in range(struct.unpack_from("!h", description.body)[0]):
        end = description.body.index(b"\0", at)
        names.append(description.body[at:end].decode())
        at = end + 19
    return names


def test_gone_at_every_step_of_the_login(careful_proxy):
    hello = startup("app", "app")
    for said in (hello[:3], hello[:20], hello, hello + sasl_initial()[:10], hello + sasl_initial()):
        for leave in (Wire.drop, Wire.reset):
            client = Wire(careful_proxy)
            client.send_bytes(said)
            leave(client)
    with Wire(careful_proxy) as client:
        client.send(hello)
        assert client.receive().type == "R"


def test_gone_while_waiting_for_a_server(proxy, clients, bob):
    """Who waits and leaves is not served in absence."""
    holder = clients("one")
    holder.query("BEGIN")
    for leave in (Wire.drop, Wire.reset):
        gone = Wire(proxy, "one", user="app")
        gone.send(query("SELECT set_config('application_name', 'gone', false)"))
        leave(gone)
    bob.send(query(LEFTOVERS))
    holder.query("COMMIT")
    assert rows(bob.until_ready())[0][1] == ""
