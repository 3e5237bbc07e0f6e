"""Cancel requests: they end the query of the client they name, and of nobody else."""

import socket
import struct
import threading
import time

import psycopg2
import psycopg2.errors
import pytest

from harness import wait_until
from harness.config import plain
from harness.wire import (CANCEL_CODE, Wire, cancel_request, copy_data, errors, flush, query, rows,
                          run, sync, types)


def cancel(client, proxy, *, pid=None, key=None):
    """Sends a CancelRequest and waits until the proxy has hung up on it."""
    with Wire(proxy) as messenger:
        messenger.send_bytes(cancel_request(client.pid if pid is None else pid,
                                            client.key if key is None else key))
        assert messenger.until_closed() == []


def is_running(server, what):
    return server.execute("SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE "
                          f"'%{what}%' AND pid <> pg_backend_pid()")


@pytest.mark.smoke
@pytest.mark.parametrize("sent", [[query("SELECT pg_sleep(60)")],
                                  [run("SELECT pg_sleep(60)"), sync()],
                                  [run("SELECT 1"), run("SELECT pg_sleep(60)"), sync()]],
                         ids=["simple", "extended", "pipeline"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_running_query_is_canceled(proxy, app_postgres, alice, bob, sent, begun):
    if begun:
        alice.query("BEGIN")
    alice.send(*sent)
    wait_until(lambda: is_running(app_postgres, "pg_sleep(60)"))
    cancel(alice, proxy)
    assert errors(alice.until_ready()) == ["57014"]
    if begun:
        assert alice.fails("SELECT 1") == "25P02"
        alice.query("ROLLBACK")
    assert alice.value("SELECT 1") == bob.value("SELECT 1") == "1"


@pytest.mark.smoke
def test_by_a_driver(proxy, app_postgres):
    connection = proxy.connect("one", "app")
    end = threading.Timer(0, lambda: (wait_until(lambda: is_running(app_postgres, "pg_sleep(50)")),
                                      connection.cancel()))
    end.start()
    with connection.cursor() as cursor:
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("SELECT pg_sleep(50)")
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
    end.join()
    connection.close()


def test_copies_are_canceled(proxy, app_postgres, clients, bob):
    alice = clients("one", receive_buffer=4096)
    alice.send(query("COPY (SELECT repeat('x', 8000) FROM generate_series(1, 20000)) TO STDOUT"))
    alice.until("d")
    cancel(alice, proxy)
    assert errors(alice.until_ready()) == ["57014"]
    alice.query("CREATE TEMP TABLE canceled (n int)")
    alice.send(query("COPY canceled FROM STDIN"))
    alice.until("G")
    cancel(alice, proxy)
    while alice.silent(0.02):       # PostgreSQL looks up when data come
        alice.send(copy_data(b"1\n"))
    assert errors(alice.until_ready()) == ["57014"]
    alice.query("DROP TABLE canceled")
    assert bob.value("SELECT 1") == "1"


def test_wrong_keys_do_nothing(proxy, app_postgres, alice):
    alice.send(query("SELECT pg_sleep(0.7)"))
    wait_until(lambda: is_running(app_postgres, "pg_sleep(0.7)"))
    (pid,), = is_running(app_postgres, "pg_sleep(0.7)")
    for wrong in ({"key": b"\0\0\0\0"}, {"key": alice.key + alice.key}, {"pid": alice.pid ^ 1},
                  {"pid": pid}, {"pid": 0}, {"key": bytes(reversed(alice.key))}):
        if wrong.get("key") != alice.key:
            cancel(alice, proxy, **wrong)
    assert types(alice.until_ready()) == "TDCZ"


def test_keys_differ_and_end_with_their_client(proxy, app_postgres, clients):
    first, second = clients(), clients()
    assert (first.pid, first.key) != (second.pid, second.key)
    gone, key = first.pid, first.key
    first.close()
    second.send(query("SELECT pg_sleep(0.3)"))
    wait_until(lambda: is_running(app_postgres, "pg_sleep(0.3)"))
    cancel(second, proxy, pid=gone, key=key)
    assert types(second.until_ready()) == "TDCZ"


@pytest.mark.smoke
@pytest.mark.parametrize("sent", [[query("SELECT 'waited'")], [run("SELECT 'waited'"), sync()]],
                         ids=["simple", "extended"])
def test_who_waits_for_a_server_is_canceled(proxy, alice, bob, sent):
    alice.query("BEGIN")
    bob.send(*sent)
    assert bob.silent(0.05)
    cancel(bob, proxy)
    answers = bob.until_ready()
    assert (types(answers), errors(answers)) == ("EZ", ["57014"])
    assert alice.value("SELECT 1") == "1"
    alice.query("COMMIT")
    assert bob.value("SELECT 2") == "2"


def test_idle_clients_are_not_harmed(proxy, alice, bob):
    for _ in range(20):
        alice.query("SELECT 1")
        cancel(alice, proxy)
        assert types(bob.ask(query("SELECT 1"))) == types(alice.ask(query("SELECT 2"))) == "TDCZ"


def test_in_an_idle_transaction(proxy, alice):
    alice.query("BEGIN")
    cancel(alice, proxy)
    assert alice.value("SELECT 1") == "1"
    alice.query("COMMIT")


def test_a_late_request_does_not_hit_the_next_client(proxy, alice, bob):
    """One server, one client canceling what has ended just now, another that works: for a second,
    with every cancel request racing against the end of its query."""
    stop = threading.Event()
    problems = []

    def work():
        while not stop.is_set():
            answers = bob.ask(query("SELECT pg_sleep(0.002)"))
            if errors(answers):
                problems.append(errors(answers))
    worker = threading.Thread(target=work)
    worker.start()
    canceled = 0
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        alice.send(query("SELECT pg_sleep(0.001)"))
        with Wire(proxy) as messenger:
            messenger.send_bytes(cancel_request(alice.pid, alice.key))
        found = errors(alice.until_ready())
        assert found in ([], ["57014"])
        canceled += bool(found)
    stop.set()
    worker.join()
    assert problems == []
    assert canceled


class LateCancels:
    """Before a server: keeps cancel requests back until release()."""

    def __init__(self, server):
        self._to = (server.host, server.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self.held = threading.Event()
        self._released = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        first = client.recv(65536)
        if struct.unpack_from("!i", first, 4)[0] == CANCEL_CODE:
            self.held.set()
            self._released.wait(20)
        server = socket.create_connection(self._to)
        server.sendall(first)
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    @staticmethod
    def _pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def release(self):
        self._released.set()

    def close(self):
        self.release()
        self._listener.close()


def test_a_request_that_was_given_up_does_not_hit_the_next_client(make_proxy, app_postgres):
    """It is still on its way when its time is over, so its server serves nobody any more."""
    late = LateCancels(app_postgres)
    config = plain(late, size=1, cancel_wait_timeout=0.3)
    config["server_tls"] = {"mode": "disable"}
    proxy = make_proxy(config)
    with Wire(proxy, "app", user="app") as alice, Wire(proxy, "app", user="app") as bob:
        first = alice.backend_pid()
        alice.send(query("SELECT pg_sleep(0.5)"))
        cancel(alice, proxy)
        assert late.held.wait(10)
        alice.until_ready()
        wait_until(lambda: bob.backend_pid() != first)
        bob.send(query("SELECT pg_sleep(0.5)"))
        late.release()
        assert errors(bob.until_ready()) == []
    late.close()


def test_a_pipeline_goes_on_behind_the_canceled_part(proxy, app_postgres, alice):
    alice.send(run("SELECT pg_sleep(60)"), run("SELECT 'skipped'"), sync(), run("SELECT 'next'"),
               sync())
    wait_until(lambda: is_running(app_postgres, "pg_sleep(60)"))
    cancel(alice, proxy)
    assert errors(alice.until_ready()) == ["57014"]
    assert rows(alice.until_ready()) == [["next"]]


def test_over_tls_as_libpq_17_does(make_proxy, app_postgres, authority):
    certificate, key = authority.server()
    proxy = make_proxy({**plain(app_postgres), "client_tls": {
        "mode": "require", "cert_file": str(certificate), "key_file": str(key)}})
    with Wire(proxy, "app", user="app", tls=True) as client:
        client.send(run("SELECT pg_sleep(60)"), flush())
        wait_until(lambda: is_running(app_postgres, "pg_sleep(60)"))
        with Wire(proxy, tls=True) as messenger:
            messenger.send_bytes(cancel_request(client.pid, client.key))
        client.send(sync())
        assert errors(client.until_ready()) == ["57014"]
