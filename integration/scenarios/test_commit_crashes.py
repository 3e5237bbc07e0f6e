"""Proxies and servers are killed at every step of two-phase commits, under concurrent transfers:
no transfer is ever half done, what clients were told is true, and nothing stays prepared.

PGSHUNT_CRASHES=N runs every step N times, and as many kills at moments of chance; the default is a small
sample that fits into every test run."""

import os
import random
import selectors
import socket
import threading
import time

import pytest

import transfers
from harness import wait_until
from transfers import Bank, check, keys_by_shard, nothing_prepared, prepared

BANK = "crash_bank"
ROUNDS = int(os.environ.get("PGSHUNT_CRASHES", "0"))
SEED = int(os.environ.get("PGSHUNT_SEED", "1"))

# (name, who says it, what is in the message). A request is caught before the server has it, an answer
# before the proxy has it.
STEPS = (
    ("prepare", "proxy", b"PREPARE TRANSACTION 'pgshunt:"),
    ("prepared", "server", b"PREPARE TRANSACTION\0"),
    ("decide", "proxy", b"SELECT pgshunt.decide("),
    ("decided", "server", b"COMMIT\0"),
    ("commit prepared", "proxy", b"COMMIT PREPARED 'pgshunt:"),
    ("committed", "server", b"COMMIT PREPARED\0"),
)


class Trap:
    """Set for a step, it stops the first message of that kind, on whichever shard, and harms whom it
    is told to. `caught` is the shard."""

    def __init__(self, step, harm):
        _, self.source, self.pattern = step
        self.harm = harm
        self.caught = None
        self.late = False  # the message reaches its server after all
        self.done = threading.Event()
        self._lock = threading.Lock()

    def springs(self, source, data, relay):
        if source != self.source or self.pattern not in data:
            return False
        with self._lock:
            if self.caught:
                return False
            self.caught = relay
        try:
            self.late = self.harm(relay)
        finally:
            self.done.set()
        return True


class Relay:
    """Between the proxies and one server; looks for what springs the trap."""

    def __init__(self, server):
        self.server = server
        self.name = server.name
        self.trap = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client):
        with client, selectors.DefaultSelector() as selector:
            try:
                server = socket.create_connection((self.server.host, self.server.port))
            except OSError:
                return
            with server:
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(client, selectors.EVENT_READ, ("proxy", server))
                selector.register(server, selectors.EVENT_READ, ("server", client))
                while True:
                    for key, _ in selector.select():
                        source, target = key.data
                        try:
                            got = key.fileobj.recv(65536)
                            trap = self.trap
                            if trap and trap.springs(source, got, self):
                                if trap.late:
                                    server.sendall(got)
                                    server.recv(1)
                                return
                            target.sendall(got)
                        except OSError:
                            return
                        if not got:
                            return

    def close(self):
        self._listener.close()


class World:
    def __init__(self, make_postgres, make_proxy):
        self.servers = [make_postgres(f"crash{number}") for number in (1, 2, 3)]
        transfers.create(self.servers, BANK)
        self.relays = [Relay(server) for server in self.servers]
        self.proxy = make_proxy(self.config())
        self.banks = []
        self.keys = keys_by_shard(self.servers[0])

    def config(self):
        """In the clear, so that the relays can read."""
        return {**transfers.config(self.relays, BANK, server_connect_timeout=3),
                "server_tls": {"mode": "disable"}}

    def begin(self, clients, seed):
        self.banks.append(Bank(self.proxy, self.keys, clients, seed))

    def outcomes(self):
        return {transfer: outcome for bank in self.banks for transfer, outcome in bank.outcomes.items()}

    def goes_on(self):
        """Transfers are made again."""
        bank = self.banks[-1]
        before = bank.committed()
        wait_until(lambda: bank.committed() > before + 5, 20, "transfers go on")

    def harm_proxy(self, _):
        self.proxy.kill()

    def harm_proxy_before_a_late_message(self, _):
        """The decision arrives when recovery has rolled the rest back: it must not count."""
        self.proxy.kill()
        before = prepared(self.servers)
        self.proxy.start()
        wait_until(lambda: not before & prepared(self.servers), 5, "recovery has rolled back")
        return True

    def harm_server(self, relay):
        relay.server.kill()

    def harm_connection(self, relay):
        pass  # the relay cuts it

    def repair(self):
        for server in self.servers:
            if not server.running():
                server.start()
        if not self.proxy.running():
            self.proxy.start()

    def catch(self, step, harm):
        trap = Trap(step, harm)
        for relay in self.relays:
            relay.trap = trap
        assert trap.done.wait(20), f"{step[0]} did not come"
        for relay in self.relays:
            relay.trap = None
        self.repair()
        self.nothing_old_stays()

    def nothing_old_stays(self):
        """All that is prepared now is gone within the recovery interval; the machine is slow, so
        twice that."""
        before = prepared(self.servers)
        wait_until(lambda: not before & prepared(self.servers), 3,
                   "what was prepared is finished within the recovery interval")

    def end(self):
        for bank in self.banks:
            bank.stop()
        nothing_prepared(self.servers, 5)
        check(self.servers, BANK, self.outcomes())
        for relay in self.relays:
            relay.close()


@pytest.fixture
def world(make_postgres, make_proxy):
    made = World(make_postgres, make_proxy)
    made.begin(6, SEED)
    wait_until(lambda: made.banks[-1].committed() > 20, 20, "transfers begin")
    return made


def cases(world):
    harms = [world.harm_proxy, world.harm_server, world.harm_connection]
    return [*((step, harm) for step in STEPS for harm in harms),
            (STEPS[2], world.harm_proxy_before_a_late_message)]


def test_kills_at_every_step(world):
    choose = random.Random(SEED)
    if ROUNDS:
        chosen = cases(world) * ROUNDS
    else:
        # Each step with one harm, which differs from step to step.
        harms = [world.harm_proxy, world.harm_connection, world.harm_proxy, world.harm_server,
                 world.harm_proxy, world.harm_server]
        chosen = [*zip(STEPS, harms), (STEPS[2], world.harm_proxy_before_a_late_message)]
    choose.shuffle(chosen)
    for step, harm in chosen:
        world.catch(step, harm)
        world.goes_on()
    world.end()


@pytest.mark.skipif(not ROUNDS, reason="by hand: PGSHUNT_CRASHES=N")
def test_kills_at_any_moment(world):
    choose = random.Random(SEED)
    for _ in range(ROUNDS * 18):
        wait_until(lambda: prepared(world.servers), 10)
        time.sleep(choose.random() * 0.02)  # a moment of chance, not a wait
        if choose.random() < 0.5:
            world.harm_proxy(None)
        else:
            world.harm_server(choose.choice(world.relays))
        world.repair()
        world.nothing_old_stays()
        world.goes_on()
    world.end()


@pytest.mark.skipif(not ROUNDS, reason="by hand: PGSHUNT_CRASHES=N")
def test_two_proxies_recover_at_once(world, make_proxy):
    """The second one serves clients of its own and finishes what the first leaves."""
    other = make_proxy(world.config())
    world.banks.append(Bank(other, world.keys, 4, "other"))
    for step in STEPS * ROUNDS:
        trap = Trap(step, world.harm_connection)
        for relay in world.relays:
            relay.trap = trap
        assert trap.done.wait(20)
        world.proxy.kill()
        world.nothing_old_stays()
        world.repair()
        world.goes_on()
    world.end()
