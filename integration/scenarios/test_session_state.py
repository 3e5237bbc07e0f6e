"""What a session leaves on its server: in transaction mode it keeps that server as long as it must,
gives it back when it need not, and nobody else ever sees it."""

import struct
import threading
from contextlib import contextmanager

import pytest

from harness import wait_until
from harness.wire import (ServerError, Wire, bind, copy_data, copy_done, copy_fail,
                          describe_portal, errors, execute, flush, function_call, parse, query,
                          rows, run, sync, tags, types)
from pooling import Clients, ones_and_twos, show


def pins(proxy):
    """Why servers are kept, as SHOW PINS says."""
    return [row["pinned_by"] for row in show(proxy, "PINS")]


def unpinned(proxy):
    wait_until(lambda: not pins(proxy), 3, "nobody keeps a server")


@contextmanager
def kept(proxy, client, why):
    """Inside, the client has its server for itself, for this reason; afterwards nobody does."""
    wait_until(lambda: pins(proxy) == [why], 3)
    pid = client.backend_pid()
    yield pid
    unpinned(proxy)


@pytest.fixture
def scratch(app_postgres):
    app_postgres.execute("DROP TABLE IF EXISTS state; DROP SEQUENCE IF EXISTS numbers; "
                         "CREATE TABLE state (n int PRIMARY KEY); CREATE SEQUENCE numbers; "
                         "ALTER TABLE state OWNER TO app; ALTER SEQUENCE numbers OWNER TO app",
                         dbname="app")


# --- temporary tables ----------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("create", [
    "CREATE TEMP TABLE mine AS SELECT 1 AS n", "CREATE TEMPORARY TABLE mine (n int)",
    "SELECT 1 AS n INTO TEMP mine", "CREATE TEMP VIEW mine AS SELECT 1 AS n",
    "CREATE TEMP SEQUENCE mine", "CREATE TABLE pg_temp.mine (n int)",
    "DO $$ BEGIN CREATE TEMP TABLE mine (n int); END $$",
    "/* hidden */ create  local temp table mine (n int)"])
@pytest.mark.parametrize("ask", [Wire.query, Wire.extended], ids=["simple", "extended"])
def test_temporary_objects(proxy, clients, create, ask):
    client, others = clients("two"), [clients("two"), clients("two")]
    ask(client, create)
    with kept(proxy, client, "temporary object") as pid:
        for other in others:
            assert other.backend_pid() != pid
            assert other.value("SELECT to_regclass('pg_temp.mine') IS NULL") == "t"
        assert client.value("SELECT to_regclass('pg_temp.mine') IS NOT NULL") == "t"
        kind = client.value("SELECT relkind FROM pg_class WHERE oid = 'pg_temp.mine'::regclass")
        ask(client, "DROP " + {"r": "TABLE", "v": "VIEW", "S": "SEQUENCE"}[kind] + " mine")


def test_temporary_objects_of_a_transaction(proxy, alice, bob):
    alice.query("BEGIN")
    alice.query("CREATE TEMP TABLE mine (n int) ON COMMIT DROP")
    alice.query("COMMIT")
    unpinned(proxy)
    alice.query("BEGIN")
    alice.query("CREATE TEMP TABLE mine (n int)")
    alice.query("ROLLBACK")
    unpinned(proxy)
    assert bob.value("SELECT to_regclass('pg_temp.mine') IS NULL") == "t"


def test_gone_with_its_client(proxy, clients):
    client, waiting = clients("one"), clients("one")
    client.query("CREATE TEMP TABLE mine (n int)")
    waiting.send(query("SELECT to_regclass('pg_temp.mine') IS NULL"))
    assert waiting.silent(0.1)
    client.close()
    assert rows(waiting.until_ready()) == [["t"]]
    unpinned(proxy)
    assert [row["sv_pinned"] for row in show(proxy, "POOLS") if row["database"] == "one"] == [0]


@pytest.mark.parametrize("reset", ["DISCARD TEMP", "DISCARD ALL"])
def test_discarded(proxy, alice, bob, reset):
    alice.query("CREATE TEMP TABLE mine (n int)")
    with kept(proxy, alice, "temporary object"):
        alice.query(reset)
    assert bob.value("SELECT to_regclass('pg_temp.mine') IS NULL") == "t"


# --- advisory locks ------------------------------------------------------------------------------


LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.mark.smoke
@pytest.mark.parametrize("lock, unlock", [
    ("SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)"),
    ("SELECT pg_try_advisory_lock(1, 2)", "SELECT pg_advisory_unlock(1, 2)"),
    ("SELECT pg_advisory_lock_shared(1)", "SELECT pg_advisory_unlock_all()"),
    ("SELECT pg_catalog.pg_advisory_lock(n) FROM generate_series(1, 3) n", "DISCARD ALL")])
def test_session_locks(proxy, clients, lock, unlock):
    client, other = clients("two"), clients("two")
    client.query(lock)
    with kept(proxy, client, "advisory lock") as pid:
        assert other.backend_pid() != pid
        assert int(other.value(LOCKS)) > 0
        client.query(unlock)
    assert other.value(LOCKS) == "0"


def test_locks_count(proxy, alice):
    alice.query("SELECT pg_advisory_lock(1)")
    alice.query("SELECT pg_advisory_lock(1)")
    alice.query("SELECT pg_advisory_unlock(1)")
    with kept(proxy, alice, "advisory lock"):
        alice.query("SELECT pg_advisory_unlock(1)")


def test_locks_outlive_a_rollback(proxy, clients):
    client, other = clients("two"), clients("two")
    client.query("BEGIN")
    client.query("SELECT pg_advisory_lock(1)")
    client.query("ROLLBACK")
    with kept(proxy, client, "advisory lock"):
        assert other.value("SELECT pg_try_advisory_lock(1)") == "f"
        client.query("SELECT pg_advisory_unlock(1)")


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_locks_go_with_a_client_that_leaves_in_a_transaction(clients, leave):
    client = clients("one")
    client.query("BEGIN")
    client.query("SELECT pg_advisory_lock(7)")
    getattr(client, leave)()
    # The server that held the lock is closed, and another one may answer before its process is gone.
    watcher = clients("one")
    wait_until(lambda: watcher.value(LOCKS) == "0", 3)


def test_transaction_locks_pin_nothing(proxy, two, clients):
    client = clients("two")
    for number in (0, 1):
        with two.only(number) as pid:
            client.query("BEGIN")
            client.query("SELECT pg_advisory_xact_lock(1)")
            assert client.backend_pid() == pid
            client.query("COMMIT")
    assert pins(proxy) == []


# --- cursors -----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_cursors_that_outlive_their_transaction(proxy, clients):
    client, other = clients("two"), clients("two")
    client.query("DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 10)")
    with kept(proxy, client, "cursor WITH HOLD"):
        assert client.query("FETCH 2 FROM c") == [["1"], ["2"]]
        assert other.fails("FETCH 1 FROM c") == "34000"
        assert client.query("FETCH 1 FROM c") == [["3"]]
        client.query("CLOSE c")


def test_cursors_of_a_transaction(proxy, two, clients):
    client = clients("two")
    for number in (0, 1):
        with two.only(number):
            client.query("BEGIN")
            client.query("DECLARE c CURSOR FOR SELECT generate_series(1, 10)")
            assert client.query("FETCH 2 FROM c") == [["1"], ["2"]]
            client.query("COMMIT")
            assert client.fails("FETCH 1 FROM c") == "34000"
    assert pins(proxy) == []


@pytest.mark.smoke
def test_portals_with_a_row_limit(alice, bob):
    alice.query("BEGIN")
    answers = alice.ask(parse("", "SELECT generate_series(1, 5)"), bind("p"), describe_portal("p"),
                        execute("p", 2), sync())
    assert (types(answers), rows(answers)) == ("12TDDsZ", [["1"], ["2"]])
    bob.send(query("SELECT 'mine'"))
    answers = alice.ask(execute("p", 2), execute("p", 0), sync())
    assert (types(answers), rows(answers)) == ("DDsDCZ", [["3"], ["4"], ["5"]])
    alice.query("COMMIT")
    assert rows(bob.until_ready()) == [["mine"]]
    # Without a transaction the portal ends with its Sync.
    answers = alice.ask(parse("", "SELECT 1"), bind("p"), sync())
    assert types(answers) == "12Z"
    assert errors(alice.ask(execute("p"), sync())) == ["34000"]


def test_portals_are_their_clients_own(two, clients):
    first, second = clients("two"), clients("two")
    with two.only(0):
        first.query("BEGIN")
        first.ask(parse("", "SELECT 'first'"), bind("p"), sync())
        first.query("COMMIT")
        assert errors(second.ask(execute("p"), sync())) == ["34000"]


# --- sequences ---------------------------------------------------------------------------------


def test_values_of_sequences(scratch, alice, bob):
    assert alice.fails("SELECT currval('numbers')") == "55000"
    mine = alice.value("SELECT nextval('numbers')")
    assert alice.value("SELECT currval('numbers')") == alice.value("SELECT lastval()") == mine


@pytest.mark.smoke
def test_values_of_sequences_are_never_those_of_another(scratch, alice, bob):
    mine = alice.value("SELECT nextval('numbers')")
    bob.value("SELECT nextval('numbers')")
    for sql in ("SELECT currval('numbers')", "SELECT lastval()"):
        with pytest.raises(ServerError) as error:
            assert alice.value(sql) == mine
        assert error.value.sqlstate == "55000" and "RETURNING" in error.value.fields["H"]
        assert alice.value("SELECT 1") == "1"
    assert bob.fails("SELECT currval('numbers')") == "55000"
    # From now on they are kept for it.
    mine = alice.value("SELECT nextval('numbers')")
    bob.send(query("SELECT nextval('numbers')"))
    assert alice.value("SELECT lastval()") == mine
    alice.close()
    bob.until_ready()


# --- LISTEN ------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_notifications_between_clients(proxy, clients):
    listener, second, speaker = clients("one"), clients("one"), clients("two")
    listener.query("LISTEN news")
    second.extended('LISTEN "News"')
    speaker.query("NOTIFY news, 'to all'")
    assert listener.notification() == ("news", "to all")
    second.query("NOTIFY \"News\", 'capital'")
    assert second.notification() == ("News", "capital")
    assert listener.silent()
    assert pins(proxy) == []
    listener.query("UNLISTEN news")
    speaker.query("NOTIFY news, 'to nobody'")
    assert listener.silent()


def test_what_a_transaction_says_is_heard_when_it_commits(alice, bob):
    alice.query("LISTEN news")
    bob.query("BEGIN")
    bob.query("NOTIFY news, 'unsaid'")
    bob.query("ROLLBACK")
    bob.query("SELECT pg_notify('news', 'said')")
    assert alice.notification() == ("news", "said")


def test_a_listen_that_is_rolled_back(alice, bob):
    alice.query("BEGIN")
    alice.query("LISTEN news")
    alice.query("ROLLBACK")
    bob.query("NOTIFY news")
    assert alice.silent()


def test_a_transaction_is_not_interrupted(clients):
    listener, speaker = clients("two"), clients("two")
    listener.query("LISTEN news")
    listener.query("BEGIN")
    speaker.query("NOTIFY news, 'later'")
    assert types(listener.ask(query("SELECT 1"))) == "TDCZ"
    listener.send(query("COMMIT"))
    assert listener.notification() == ("news", "later")


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_set_local_ends_with_its_transaction(two, clients):
    client, other = clients("two"), clients("two")
    with two.only(0):
        client.query("BEGIN")
        client.query("SET LOCAL work_mem = '7MB'")
        assert client.value("SHOW work_mem") == "7MB"
        client.query("COMMIT")
        assert other.value("SHOW work_mem") == client.value("SHOW work_mem") == "4MB"
    with two.only(1):
        assert client.value("SHOW work_mem") == "4MB"


def test_what_cannot_be_carried_pins(proxy, alice, bob):
    alice.query("SELECT setseed(0.5)")
    wait_until(lambda: pins(proxy) == ["random seed"], 3)
    first = alice.value("SELECT random()")
    alice.query("SELECT setseed(0.5)")
    assert alice.value("SELECT random()") == first
    alice.query("DISCARD ALL")
    unpinned(proxy)
    assert bob.value("SELECT 1") == "1"


# --- pipelines ---------------------------------------------------------------------------------


@pytest.mark.smoke
def test_an_error_in_the_middle_of_a_pipeline(scratch, alice, bob):
    answers = alice.ask(run("INSERT INTO state VALUES (1)"), run("SELECT 1/0"),
                        run("INSERT INTO state VALUES (2)"), sync())
    assert (types(answers), errors(answers)) == ("12C1EZ", ["22012"])
    assert bob.value("SELECT count(*) FROM state") == "0"
    alice.send(run("INSERT INTO state VALUES (1)"), sync(), run("SELECT 1/0"), sync(),
               run("INSERT INTO state VALUES (2)"), sync(), query("SELECT 'q'"))
    assert [types(alice.until_ready()) for _ in range(4)] == ["12CZ", "1EZ", "12CZ", "TDCZ"]
    assert bob.query("SELECT n FROM state ORDER BY n") == [["1"], ["2"]]


def test_an_error_in_the_middle_of_a_transaction(scratch, alice, bob):
    alice.send(query("BEGIN"), run("INSERT INTO state VALUES (1)"), sync(), run("SELECT 1/0"),
               sync(), run("INSERT INTO state VALUES (2)"), sync(), query("COMMIT"))
    found = [alice.until_ready() for _ in range(5)]
    assert [errors(answers) for answers in found] == [[], [], ["22012"], ["25P02"], []]
    assert tags(found[4]) == ["ROLLBACK"]
    assert bob.value("SELECT count(*) FROM state") == "0"


@pytest.mark.smoke
def test_flush_shows_what_is_done_and_keeps_the_server(scratch, alice, bob):
    alice.send(run("INSERT INTO state VALUES (1)"), flush())
    assert types(alice.until("C")) == "12C"
    bob.send(query("SELECT count(*) FROM state"))
    assert bob.silent(0.1)              # it is alice's server until her Sync
    alice.send(run("SELECT n FROM state"), flush())
    assert rows(alice.until("C")) == [["1"]]
    alice.send(sync())
    assert types(alice.until_ready()) == "Z"
    assert rows(bob.until_ready()) == [["1"]]
    alice.send(flush(), sync())
    assert types(alice.until_ready()) == "Z"


def test_a_refusal_behind_a_flush_fails_the_transaction(alice, bob):
    alice.ask(parse("s", "SELECT 1"), sync())
    alice.send(run("BEGIN"), flush())
    alice.until("C")
    answers = alice.ask(parse("s", "SELECT 2"), sync())         # the name is taken
    assert errors(answers) == ["42P05"] and answers[-1].body == b"E"
    assert alice.fails("SELECT 1") == "25P02"
    alice.query("ROLLBACK")
    assert bob.value("SELECT 1") == "1"


@pytest.mark.parametrize("parts", [
    lambda big: [query("SELECT pg_sleep(0.2)"), query(big)],
    lambda big: [run("SELECT pg_sleep(0.2)"), sync(), run(big), sync()],
    # Nothing but the end of the large one makes the server answer the first.
    lambda big: [run("SELECT 1"), run(big), sync()],
    lambda big: [run("SELECT 1"), run(big), run(big), run("SELECT 2"), sync(), query(big)],
])
def test_a_large_request_behind_another(alice, parts):
    messages = parts(f"SELECT length('{'x' * 2_000_000}')")
    sender = threading.Thread(target=alice.send, args=messages)
    sender.start()
    readies = sum(message.endswith(sync()) or message[:1] == b"Q" for message in messages)
    answers = [answer for _ in range(readies) for answer in alice.until_ready()]
    sender.join()
    assert not errors(answers)
    assert rows(answers)[1] == ["2000000"]


def test_a_long_pipeline(scratch, alice, bob):
    count = 3000
    alice.send(*[parse("", "INSERT INTO state VALUES ($1)")],
               *[bind("", "", [str(n)]) + execute() for n in range(count)], sync())
    answers = alice.until_ready()
    assert types(answers) == "1" + "2C" * count + "Z"
    assert bob.value("SELECT count(*) FROM state") == str(count)


# --- COPY --------------------------------------------------------------------------------------


COPY_IN = {"simple": query("COPY state FROM STDIN"), "extended": run("COPY state FROM STDIN")}


def copy_in(client, how, *messages):
    """Its answers, up to the ReadyForQuery behind its end."""
    client.send(COPY_IN[how], flush() if how == "extended" else b"", *messages,
                sync() if how == "extended" else b"")
    return client.until_ready()


@pytest.mark.smoke
@pytest.mark.parametrize("how", COPY_IN)
def test_copy_in(scratch, alice, bob, how):
    answers = copy_in(alice, how, copy_data(b"1\n2"), copy_data(b"\n3\n"), copy_done())
    assert tags(answers) == ["COPY 3"]
    assert bob.query("SELECT n FROM state ORDER BY n") == [["1"], ["2"], ["3"]]


@pytest.mark.smoke
@pytest.mark.parametrize("how", COPY_IN)
@pytest.mark.parametrize("messages, sqlstate", [
    ([copy_data(b"1\n"), copy_fail("no more")], "57014"),
    ([copy_data(b"1\nrubbish\n"), copy_data(b"2\n"), copy_done()], "22P02"),
    ([copy_data(b"1\n1\n"), copy_done()], "23505"),
], ids=["given up", "bad data", "duplicate"])
def test_copy_in_that_fails(scratch, alice, bob, how, messages, sqlstate):
    for _ in range(3):
        answers = copy_in(alice, how, *messages)
        assert errors(answers) == [sqlstate]
        assert (alice if how == "simple" else bob).value("SELECT count(*) FROM state") == "0"
    assert alice.value("SELECT 'alice'") == "alice"
    assert bob.value("SELECT 'bob'") == "bob"


@pytest.mark.parametrize("how", COPY_IN)
def test_copy_in_with_an_error_seen_late(scratch, alice, bob, how):
    """The client learns of the error only when it has sent everything, its Sync too."""
    data = [copy_data(b"rubbish\n")] + [copy_data(b"1\n" * 1000)] * 200
    assert errors(copy_in(alice, how, *data, copy_done())) == ["22P02"]
    assert alice.value("SELECT count(*) FROM state") == "0"
    assert bob.value("SELECT 1") == "1"


@pytest.mark.smoke
@pytest.mark.parametrize("leaves", [False, True])
def test_a_copy_that_fails_within_a_message(scratch, alice, bob, leaves):
    """A message that comes in pieces, and its COPY fails meanwhile: the server still waits for the
    rest, which must not be another client's query."""
    alice.send(query("COPY state FROM STDIN"))
    alice.until("G")
    large = copy_data(b"1\n" * 50_000)
    alice.send(copy_data(b"rubbish\n"), large[:60_000])
    assert errors(alice.until_ready()) == ["22P02"]
    bob.send(query("SELECT 'bob'"))
    if leaves:
        alice.drop()
    else:
        assert bob.silent(0.1)
        alice.send(large[60_000:], copy_done(), query("SELECT 'alice'"))
        assert rows(alice.until_ready()) == [["alice"]]
    assert rows(bob.until_ready()) == [["bob"]]


def test_copy_in_a_transaction_block(scratch, alice, bob):
    alice.query("BEGIN")
    assert tags(copy_in(alice, "simple", copy_data(b"1\n"), copy_done())) == ["COPY 1"]
    assert errors(copy_in(alice, "extended", copy_data(b"x\n"), copy_done())) == ["22P02"]
    assert alice.fails("SELECT 1") == "25P02"
    alice.query("ROLLBACK")
    assert bob.value("SELECT count(*) FROM state") == "0"


@pytest.mark.parametrize("ask", [lambda sql: [query(sql)], lambda sql: [run(sql), sync()]],
                         ids=["simple", "extended"])
def test_copy_out(scratch, alice, bob, ask):
    answers = alice.ask(*ask("COPY (SELECT generate_series(1, 20000)) TO STDOUT"))
    assert tags(answers) == ["COPY 20000"]
    assert b"".join(a.body for a in answers if a.type == "d").count(b"\n") == 20000
    answers = alice.ask(*ask("COPY (SELECT 1 / (3 - n) FROM generate_series(1, 5) n) TO STDOUT"))
    assert errors(answers) == ["22012"] and types(answers).count("d") == 2
    assert alice.value("SELECT 1") == bob.value("SELECT 1") == "1"


def test_several_copies_in_one_query(scratch, alice, bob):
    alice.send(query("COPY state FROM STDIN; COPY state TO STDOUT; COPY state FROM STDIN"))
    alice.until("G")
    alice.send(copy_data(b"1\n"), copy_done())
    assert types(alice.until("G")) == "CHdcCG"
    alice.send(copy_data(b"2\n"), copy_done())
    assert tags(alice.until_ready()) == ["COPY 1"]
    assert bob.value("SELECT count(*) FROM state") == "2"


# --- function calls ----------------------------------------------------------------------------


def test_function_calls(alice, bob):
    def call(function, *arguments):
        return alice.ask(function_call(function, *arguments))
    answers = call(177, struct.pack("!i", 20), struct.pack("!i", 22))       # int4pl
    assert types(answers) == "VZ"
    assert answers[0].body == struct.pack("!ii", 4, 42)
    assert errors(call(154, struct.pack("!i", 1), struct.pack("!i", 0))) == ["22012"]  # int4div
    assert errors(call(1)) == ["42883"]
    assert alice.value("SELECT 1") == bob.value("SELECT 1") == "1"
    alice.query("BEGIN")
    assert errors(call(154, struct.pack("!i", 1), struct.pack("!i", 0))) == ["22012"]
    assert errors(call(177, struct.pack("!i", 1), struct.pack("!i", 1))) == ["25P02"]
    alice.query("ROLLBACK")


@pytest.mark.smoke
def test_large_objects(alice, bob):
    """Descriptors live as long as their transaction, and libpq works them by function calls."""
    alice.query("BEGIN")
    oid = alice.value("SELECT lo_create(0)")
    descriptor = int(alice.value(f"SELECT lo_open({oid}, 131072)"))
    answers = alice.ask(function_call(955, struct.pack("!i", descriptor), b"large"))    # lowrite
    assert answers[0].body == struct.pack("!ii", 4, 5)
    alice.query("COMMIT")
    bob.query("BEGIN")
    descriptor = int(bob.value(f"SELECT lo_open({oid}, 262144)"))
    answers = bob.ask(function_call(954, struct.pack("!i", descriptor),                 # loread
                                    struct.pack("!i", 100)))
    assert answers[0].body == struct.pack("!i", 5) + b"large"
    bob.query("ROLLBACK")
    alice.query(f"SELECT lo_unlink({oid})")


# --- pinning = "refuse" --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict_proxy(shared_proxy, app_postgres):
    return shared_proxy(ones_and_twos(app_postgres, pinning="refuse"))


@pytest.fixture
def strict(strict_proxy):
    clients = Clients(strict_proxy)
    yield clients("one")
    clients.close()


@pytest.mark.smoke
@pytest.mark.parametrize("sql, why", [
    ("CREATE TEMP TABLE mine (n int)", "temporary object"),
    ("SELECT pg_advisory_lock(1)", "advisory lock"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "cursor WITH HOLD"),
    ("LOAD 'auto_explain'", "LOAD"),
    ("SELECT setseed(0)", "random seed")])
@pytest.mark.parametrize("ask", [Wire.query, Wire.extended], ids=["simple", "extended"])
def test_pinning_can_be_refused(strict, sql, why, ask):
    with pytest.raises(ServerError) as error:
        ask(strict, sql)
    assert error.value.sqlstate == "0A000"
    assert why in error.value.fields["M"] and "pinning" in error.value.fields["H"]
    assert ask(strict, "SELECT 1") == [["1"]]
    strict.query("BEGIN")
    with pytest.raises(ServerError, match="0A000"):
        ask(strict, sql)
    assert strict.fails("SELECT 1") == "25P02"
    strict.query("ROLLBACK")
    assert strict.query("SELECT pg_advisory_xact_lock(1)") == [[""]]
