"""Servers that are ended, killed, cut off, frozen and restarted while they connect, log in, idle and
work: clients that had no part in it notice nothing, the others get an honest error, those that
wait are served later, and no statement runs twice."""

import contextlib
import os
import signal

import pytest

from harness import wait_until
from harness.config import add_application, plain
from harness.wire import (ServerClosed, ServerError, Wire, copy_data, copy_done, errors, flush,
                          query, rows, run, startup, sync, tags,
                          types)
from pooling import ones_and_twos
from relay import Relay

# What an end of the server is called: by itself, or by the proxy that finds it gone.
LOST = {"57P01", "57P02", "57P03", "08006", "08003"}


@pytest.fixture(scope="module")
def mortal(shared_postgres):
    """A server for this file, which ends and restarts it; its tests leave it running."""
    server = add_application(shared_postgres("mortal"))
    server.execute("CREATE TABLE counted (n int); ALTER TABLE counted OWNER TO app; CHECKPOINT",
                   dbname="app")
    return server


@pytest.fixture(scope="module")
def proxy(shared_proxy, mortal):
    return shared_proxy(ones_and_twos(mortal, query_wait_timeout=30))


@pytest.fixture
def counted(mortal):
    mortal.execute("TRUNCATE counted", dbname="app")
    return lambda: mortal.execute("SELECT count(*) FROM counted", dbname="app")[0][0]


def insert(number=1):
    return f"INSERT INTO counted VALUES ({number})"


def activity(server, condition):
    return server.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'app' AND " + condition)


def running(server, what):
    return wait_until(lambda: activity(server, f"state = 'active' AND query LIKE '%{what}%'"))[0][0]


def end_backend(server, pid):
    server.execute(f"SELECT pg_terminate_backend({pid}, 10000)")


def proxys_servers(proxy):
    with Wire(proxy, "pgshunt", user="admin") as console:
        return {row[16] for row in rows(console.ask(query("SHOW SERVERS")))}


def forgotten(proxy, pid):
    wait_until(lambda: str(pid) not in proxys_servers(proxy))


def lost(answers):
    """The SQLSTATE of the one error among the answers, which must be one of a lost server."""
    found = errors(answers)
    assert len(found) == 1 and found[0] in LOST, [str(a) for a in answers]
    return found[0]


# --- one server connection is ended --------------------------------------------------------------


@pytest.mark.smoke
def test_idle_in_the_pool(proxy, mortal, alice, bob):
    pid = alice.backend_pid()
    end_backend(mortal, pid)
    forgotten(proxy, pid)
    assert alice.backend_pid() == bob.backend_pid() != pid


@pytest.mark.smoke
def test_running_a_query(mortal, alice, bob, counted):
    alice.send(query(f"{insert()}; SELECT pg_sleep(60)"))
    end_backend(mortal, running(mortal, "pg_sleep"))
    assert lost(alice.until_ready()) == "57P01"
    assert counted() == 0
    assert alice.value("SELECT 1") == bob.value("SELECT 1") == "1"


def test_running_a_query_while_others_wait(mortal, alice, bob, counted):
    alice.send(query("SELECT pg_sleep(60)"))
    pid = running(mortal, "pg_sleep")
    bob.send(query(insert()))
    end_backend(mortal, pid)
    assert tags(bob.until_ready()) == ["INSERT 0 1"]
    assert lost(alice.until_ready()) == "57P01"
    assert counted() == 1


@pytest.mark.smoke
def test_in_a_transaction(mortal, alice, bob, counted):
    """The client must not believe that the rest of its transaction still belongs to it."""
    alice.query("BEGIN")
    alice.query(insert())
    end_backend(mortal, alice.backend_pid())
    with contextlib.suppress(OSError):
        alice.send(query(insert()), query("COMMIT"))
    answers = alice.until_closed()
    assert lost(answers) in LOST and tags(answers) == []
    assert bob.value("SELECT 1") == "1" and counted() == 0


def test_running_a_query_in_a_transaction(mortal, alice, bob, counted):
    alice.query("BEGIN")
    alice.send(query(f"{insert()}; SELECT pg_sleep(60)"), query(insert()), query("COMMIT"))
    end_backend(mortal, running(mortal, "pg_sleep"))
    answers = alice.until_closed()
    assert errors(answers)[0] in LOST and "COMMIT" not in tags(answers)
    assert bob.value("SELECT 1") == "1" and counted() == 0


@pytest.mark.parametrize("how", [[query("COPY counted FROM STDIN")],
                                 [run("COPY counted FROM STDIN"), flush()]],
                         ids=["simple", "extended"])
def test_in_copy_in(mortal, alice, bob, counted, how):
    alice.send(*how)
    alice.until("G")
    alice.send(copy_data(b"1\n"))
    end_backend(mortal, running(mortal, "COPY counted"))
    with contextlib.suppress(OSError):
        alice.send(copy_data(b"2\n"), copy_done(), sync(), query("SELECT 'after'"))
    answers = []
    while (answer := alice.receive()) is not None:
        answers.append(answer)
        if answer.type == "D":
            break
    assert errors(answers) and set(errors(answers)) <= LOST
    assert bob.value("SELECT 1") == "1" and counted() == 0


def test_in_copy_out(mortal, clients, bob, counted):
    alice = clients(receive_buffer=4096)
    alice.send(query("COPY (SELECT repeat('x', 8000) FROM generate_series(1, 10000)) TO STDOUT"))
    pid = running(mortal, "TO STDOUT")
    wait_until(lambda: activity(mortal, "wait_event = 'ClientWrite'"))
    mortal.execute(f"SELECT pg_terminate_backend({pid})")
    with contextlib.suppress(ServerClosed):  # where a message was cut in two nothing can follow
        answers = alice.until("ZE")
        assert answers[-1].type == "E" and answers[-1].fields["C"] in LOST
    assert bob.value("SELECT 1") == "1"


def test_between_pipelined_requests(mortal, proxy, alice, bob, counted):
    alice.send(run(insert()), run("SELECT pg_backend_pid()"), flush())
    pid = rows(alice.until("C") + alice.until("C"))[0][0]
    end_backend(mortal, pid)
    forgotten(proxy, pid)
    with contextlib.suppress(OSError):
        alice.send(run(insert()), sync())
    answers = []
    while (answer := alice.receive()) is not None and answer.type != "Z":
        answers.append(answer)
    lost(answers)
    assert not tags(answers)
    assert bob.value("SELECT 1") == "1" and counted() == 0


def test_in_a_pipeline_that_goes_on(mortal, alice, counted):
    """What was sent before it is lost with the server, each part up to its Sync; the rest is served."""
    alice.send(run("SELECT pg_sleep(60)"), run(insert()), sync(), run(insert()), sync(),
               query(insert()), run(insert()))
    end_backend(mortal, running(mortal, "pg_sleep"))
    for _ in range(3):
        answers = alice.until_ready()
        lost(answers)
        assert not tags(answers)
    alice.send(run(insert()), sync(), run("SELECT 'next'"), sync())
    assert lost(alice.until_ready())
    assert (rows(alice.until_ready()), counted()) == ([["next"]], 0)


@pytest.mark.parametrize("pin", ["CREATE TEMP TABLE pinned (n int)", "SELECT pg_advisory_lock(3)",
                                 "LOAD 'auto_explain'"])
def test_pinned(mortal, alice, bob, pin):
    """What the client counted on is gone: it is told, rather than served without it."""
    mortal.execute("GRANT SET ON PARAMETER session_preload_libraries TO app")
    mortal.execute("ALTER ROLE app SUPERUSER")
    alice.query(pin)
    end_backend(mortal, alice.backend_pid())
    assert lost(alice.until_closed()) in LOST
    mortal.execute("ALTER ROLE app NOSUPERUSER")
    assert bob.value("SELECT 1") == "1"


def test_while_settings_are_replayed(proxy, mortal, alice, bob):
    """The query itself was not sent yet. It fails, once, or is served by another server."""
    alice.query("SET application_name = 'moving'")
    pid = bob.backend_pid()
    with frozen(pid):
        alice.send(query("SELECT current_setting('application_name')"))
        wait_until(lambda: "active" in states(proxy))
        mortal.execute(f"SELECT pg_terminate_backend({pid})")
    answers = alice.until_ready()
    if not rows(answers):
        lost(answers)
    assert alice.value("SELECT current_setting('application_name')") == "moving"
    assert alice.silent(0.05)


def states(proxy):
    with Wire(proxy, "pgshunt", user="admin") as console:
        return {row[4] for row in rows(console.ask(query("SHOW SERVERS")))}


def test_while_pins_are_looked_for(proxy, mortal, alice, bob):
    """The client has its answer already: that its server is lost afterwards is not told as another."""
    pid = alice.backend_pid()
    locks = "SELECT pg_advisory_lock(7), pg_advisory_unlock(7)"
    alice.query(locks)                      # everything it needs is in its caches
    blocker = mortal.connect("app")
    blocker.autocommit = False
    with blocker.cursor() as cursor:
        cursor.execute("LOCK pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE")
        alice.query(locks)
        wait_until(lambda: waits_for_lock(cursor, pid))
        cursor.execute(f"SELECT pg_terminate_backend({pid})")
        forgotten(proxy, pid)
    blocker.close()
    assert alice.value("SELECT 1") == bob.value("SELECT 1") == "1"
    assert alice.silent()


def waits_for_lock(cursor, pid):
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} "
                   "AND wait_event_type = 'Lock'")
    return cursor.fetchone()[0]


def test_the_listener(mortal, alice, bob):
    """Notifications come again once the proxy listens again."""
    alice.query("LISTEN news")
    bob.query("NOTIFY news, 'first'")
    assert alice.notification() == ("news", "first")
    (pid,), = activity(mortal, "query LIKE 'LISTEN%'")
    end_backend(mortal, pid)

    def heard_again():
        bob.query("NOTIFY news, 'again'")
        return not alice.silent(0.05)
    wait_until(heard_again)
    assert alice.notification() == ("news", "again")


# --- the whole server --------------------------------------------------------------------------


@pytest.fixture
def crowd(clients, mortal, counted):
    """Clients of the database "two" in every state: idle, running, in a transaction, waiting."""
    class Crowd:
        pass
    crowd = Crowd()
    crowd.idle, crowd.running, crowd.transaction, crowd.waiting = (clients("two") for _ in range(4))
    for client in (crowd.idle, crowd.running, crowd.waiting):
        client.query("SELECT 1")
    crowd.transaction.query("BEGIN")
    crowd.transaction.query(insert(1))
    crowd.running.send(query(f"{insert(2)}; SELECT pg_sleep(60)"))
    running(mortal, "pg_sleep")
    crowd.waiting.send(query(insert(3)))
    crowd.counted = counted
    return crowd


def all_is_well(crowd, mortal):
    assert tags(crowd.waiting.until_ready()) == ["INSERT 0 1"]
    assert mortal.execute("SELECT n FROM counted", dbname="app") == [(3,)]
    lost(crowd.running.until_ready())
    assert crowd.running.value("SELECT 1") == crowd.idle.value("SELECT 1") == "1"
    lost(crowd.transaction.until_closed())


@pytest.mark.parametrize("end", ["kill", "fast", "immediate"])
def test_restarted(mortal, crowd, end):
    if end == "kill":
        mortal.kill()
    else:
        mortal.stop(end)
    assert crowd.waiting.silent()
    mortal.start()
    all_is_well(crowd, mortal)


def test_a_backend_killed_takes_the_others_along(mortal, crowd):
    """kill -9 of one backend: the postmaster ends all and recovers."""
    os.kill(running(mortal, "pg_sleep"), signal.SIGKILL)
    all_is_well(crowd, mortal)


def test_new_clients_while_it_is_away(mortal, proxy, clients):
    clients("two").query("SELECT 1")
    mortal.stop("fast")
    # Known parameters need no server: the login succeeds, the query waits.
    early = clients("two")
    early.send(query("SELECT 'early'"))
    # Unknown ones do.
    later = Wire(proxy)
    later.send(startup("app", "two", DateStyle="German"))
    assert early.silent()
    mortal.start()
    assert rows(early.until_ready()) == [["early"]]
    later.until_ready()
    assert later.value("SELECT date '2020-12-31'") == "31.12.2020"
    later.close()


def test_who_waits_too_long_is_told(mortal, make_proxy):
    proxy = make_proxy(plain(mortal, query_wait_timeout=0.4))
    with Wire(proxy, "app", user="app") as client:
        client.query("SELECT 1")
        mortal.stop("fast")
        try:
            answers = client.ask(query("SELECT 1"))
            error = next(a for a in answers if a.type == "E").fields
            assert (error["C"], "query_wait_timeout" in error["M"]) == ("53300", True)
            # A login waits no longer, though nobody knows yet what to greet it with.
            with pytest.raises(ServerError, match="query_wait_timeout"):
                Wire(proxy, "app", user="app", DateStyle="German")
        finally:
            mortal.start()
        wait_until(lambda: client.value("SELECT 1") == "1")


# --- frozen ------------------------------------------------------------------------------------


def thaw(pid):
    os.kill(int(pid), signal.SIGCONT)


@contextlib.contextmanager
def frozen(pid):
    os.kill(int(pid), signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            thaw(pid)


@contextlib.contextmanager
def paused(server):
    server.pause()
    try:
        yield
    finally:
        server.resume()


def test_paused_and_resumed(mortal, clients, counted):
    alice, bob = clients("two"), clients("two")
    alice.query("SELECT 1")
    with paused(mortal):
        alice.send(query(insert()))
        bob.send(query(insert()))
        assert alice.silent() and bob.silent()
    assert tags(alice.until_ready()) == tags(bob.until_ready()) == ["INSERT 0 1"]
    assert counted() == 2


def test_paused_while_a_client_copies_in(proxy, mortal, clients, counted):
    """The client is made to wait; the proxy does not hold what the server does not take."""
    client = clients("one", timeout=60)
    client.send(query("COPY counted FROM STDIN"))
    client.until("G")
    lines, before, sent = copy_data(b"1\n" * 32768), proxy.memory(), 0
    with paused(mortal):
        client.socket.settimeout(0.5)
        unsent = b""
        with pytest.raises(TimeoutError):
            while sent < 2000:
                unsent = memoryview(lines)
                while unsent:
                    unsent = unsent[client.socket.send(unsent):]
                sent += 1
        assert proxy.memory() - before < 48 << 20
    client.send_bytes(unsent)
    sent += 1
    client.send(copy_done())
    assert tags(client.until_ready()) == [f"COPY {sent * 32768}"]


def test_connecting_to_a_paused_server_is_given_up_and_tried_again(mortal, make_proxy):
    proxy = make_proxy(plain(mortal, server_connect_timeout=0.3, client_login_timeout=30))
    with paused(mortal):
        client = Wire(proxy)
        client.send(startup("app", "app"))
        proxy.wait_for_log("server_login_failed.*(server_connect_timeout|timed out)")
        assert client.silent(0.05)
    client.until_ready()
    assert client.value("SELECT 1") == "1"
    client.close()


def test_a_check_that_a_paused_server_does_not_answer(mortal, make_proxy):
    proxy = make_proxy(plain(mortal, server_connect_timeout=0.3, server_check_delay=0))
    with Wire(proxy, "app", user="app") as client:
        pid = client.backend_pid()
        with frozen(pid):
            assert client.backend_pid() != pid


# --- refused by the server -----------------------------------------------------------------------


@pytest.mark.parametrize("change, sqlstate", [
    ({"users": {"app": {"password": "wrong"}}}, "28P01"),
    ({"databases": {"app": {"dbname": "nowhere"}}}, "3D000"),
    ({"databases": {"app": {"connect_query": "SELECT 1/0"}}}, "22012"),
])
def test_a_refused_login_is_told_at_once(mortal, make_proxy, change, sqlstate):
    config = plain(mortal)
    for section, changes in change.items():
        config[section]["app"] |= changes["app"]
    with pytest.raises(ServerError) as refused:
        Wire(make_proxy(config), "app", user="app")
    assert refused.value.sqlstate == sqlstate


def test_a_full_server_is_tried_again(make_postgres, make_proxy):
    server = add_application(make_postgres(settings={
        "max_connections": 4, "superuser_reserved_connections": 3, "max_wal_senders": 0,
        "wal_level": "replica"}))
    proxy = make_proxy(plain(server, size=5))
    with Wire(proxy, "app", user="app") as first, Wire(proxy, "app", user="app") as second:
        first.query("BEGIN")
        second.send(query("SELECT 'there'"))
        proxy.wait_for_log("53300")
        first.query("COMMIT")
        assert rows(second.until_ready()) == [["there"]]


# --- cut off at every byte -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def relay(mortal):
    relay = Relay(mortal)
    yield relay
    relay.close()


@pytest.fixture(scope="module")
def relayed(shared_proxy, relay):
    return shared_proxy(cuttable(relay))


def cuttable(relay, **general):
    config = plain(relay, size=1, server_login_retry=0.01, **general)
    return {**config, "server_tls": {"mode": "disable"}}


@pytest.fixture
def fresh(relayed, mortal):
    """No server connection is left: the next one is opened anew."""
    def fresh():
        with Wire(relayed, "pgshunt", user="admin") as console:
            console.ask(query("RECONNECT"))
            wait_until(lambda: not rows(console.ask(query("SHOW SERVERS"))))
    return fresh


@pytest.mark.parametrize("how", ["simple", "extended", "transaction"])
def test_cut_at_any_byte(mortal, relay, relayed, fresh, counted, how):
    """From the first byte of the server's login to the last of its answer."""
    def attempt(client, number):
        if how == "simple":
            return client.ask(query(insert(number) + " RETURNING n"))
        if how == "extended":
            return client.ask(run(insert(number) + " RETURNING n"), sync())
        answers = client.ask(query("BEGIN")) + client.ask(query(insert(number) + " RETURNING n"))
        return answers + client.ask(query("COMMIT"))

    relay.cut_after = None
    with Wire(relayed, "app", user="app") as client:
        fresh()
        attempt(client, 0)
        length = relay.answered
    assert length > 300
    done, failed = {0}, set()
    answer = length - 60
    for number, cut in enumerate([*range(1, answer, 41), *range(answer, length + 1, 7)], 1):
        fresh()
        relay.cut_after = cut
        client = Wire(relayed, "app", user="app")
        try:
            answers = attempt(client, number)
            if errors(answers):
                lost(answers)
                failed.add(number)
            else:
                assert rows(answers) == [[str(number)]]
                done.add(number)
        except ServerClosed as closed:  # in a transaction
            assert set(errors(closed.answers)) <= LOST
            failed.add(number)
        relay.cut_after = None
        client.close()
    found = [n for n, in mortal.execute("SELECT n FROM counted", dbname="app")]
    assert len(found) == len(set(found)), "a statement ran twice"
    assert done <= set(found) <= done | failed
    assert failed and len(done) > 1


@pytest.mark.parametrize("rubbish", [b"D\0\0\0\3", b"1\0\0\0\4", b"HTTP/1.1 400", b"\0" * 50,
                                     b"Z\0\0\0\6II"])
def test_a_server_that_answers_with_rubbish(relay, relayed, fresh, rubbish):
    with Wire(relayed, "app", user="app") as client:
        fresh()
        _, *rest = client.ask(query("SELECT 1"))
        fresh()
        relay.rubbish = rubbish
        relay.cut_after = relay.answered - sum(len(answer.body) + 5 for answer in rest)
        answers = client.ask(query("SELECT 1"))
        assert types(answers) in ("TEZ", "TDEZ") and set(errors(answers)) <= LOST | {"08P01"}
        relay.rubbish = b""
        assert client.value("SELECT 2") == "2"


@pytest.mark.smoke
@pytest.mark.parametrize("said", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    b"R\0\0\0\3",
    b"R\0\0\0\x08\0\0\0\x63",
    b"R\x7f\xff\xff\xff\0\0\0\0",
    b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5?",
    b"E\0\0\0\5\0",
    b"\xff" * 2000,
])
def test_a_server_that_talks_rubbish(mortal, make_proxy, said):
    relay = Relay(mortal)
    relay.as_from_server = said
    proxy = make_proxy(cuttable(relay, query_wait_timeout=0.3, server_connect_timeout=0.2))
    with Wire(proxy) as client:
        client.send(startup("app", "app"))
        try:
            client.until_ready()
            answers = client.ask(query("SELECT 1"))
        except ServerClosed as closed:
            answers = closed.answers
        assert errors(answers), [str(a) for a in answers]
    relay.as_from_server = None
    with Wire(proxy) as client:
        client.send(startup("app", "app"))
        client.until_ready()
        assert client.value("SELECT 1") == "1"
    relay.close()
