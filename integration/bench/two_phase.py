#!/usr/bin/python3
"""What atomicity costs: transactions that write on two shards, committed in two phases and in one.

Two servers with fsync as PostgreSQL has it by default, one proxy with the same tables under two names. Rounds of the two
ways alternate; figures are medians over the rounds: transactions a second and their latency as clients see
it, and CPU time a transaction of the proxy and of the servers (all threads, from the scheduler)."""

import argparse
import json
import statistics
import threading
import time

import psycopg2

from harness import PostgresServer, Proxy, Run
from harness.run import processes_in, server_account
from pool import cpu_nanoseconds

USER = PASSWORD = "bench"
ROWS = 10000
BUCKET = "hashint8extended({key}, 8816678312871386365) & 4095"
SCHEMA = f"""
CREATE TABLE accounts (id bigint PRIMARY KEY, balance int);
INSERT INTO accounts SELECT n, 0 FROM generate_series(1, {ROWS}) n;
"""


class World:
    def __init__(self, run, clients, fsync):
        self.servers = []
        for number in (1, 2):
            name = f"shard{number}"
            settings = {} if fsync else {"fsync": "off"}
            server = PostgresServer(run.subfolder(name, server_account()), name, settings=settings).create()
            server.start(wait=False)
            self.servers.append(server)
        for server in self.servers:
            server.wait_ready()
            server.create_user(USER, PASSWORD)
            server.create_database("bench", USER)
            server.psql(f"SET ROLE {USER};{SCHEMA}", "bench")
        placed = self.servers[0].execute(
            f"SELECT n, {BUCKET.format(key='n')} FROM generate_series(1, {ROWS}) n")
        self.keys = [[key for key, bucket in placed if (bucket >= 2048) == half] for half in (False, True)]
        self.proxy = Proxy(run.subfolder("pgshunt"), {
            "pgshunt": {"auth_type": "trust", "workers": 1, "default_pool_size": clients + 2},
            "users": {USER: {"password": PASSWORD}},
            "databases": {way: {
                "on_cross_shard_write": way,
                "shards": [{"name": server.name, "host": server.host, "port": server.port, "dbname": "bench"}
                           for server in self.servers],
                "keyspaces": [{"name": "k", "type": "bigint"}],
                "tables": [{"name": "accounts", "keyspace": "k", "key": "id"}],
            } for way in ("one_phase", "two_phase")},
        }).start()

    def cpu(self):
        servers = [pid for server in self.servers for pid in processes_in(server.data)]
        return cpu_nanoseconds([self.proxy.pid]), cpu_nanoseconds(servers)

    def round(self, way, clients, seconds):
        latencies = [[] for _ in range(clients)]
        ready = threading.Barrier(clients + 1)
        stop = threading.Event()

        def work(number):
            cursor = self.proxy.connect(way, USER, PASSWORD).cursor()
            step = 0
            ready.wait()
            while not stop.is_set():
                step += 1
                first = self.keys[0][(number * 331 + step * 7) % len(self.keys[0])]
                second = self.keys[1][(number * 331 + step * 7) % len(self.keys[1])]
                cursor.execute("BEGIN")
                cursor.execute(f"UPDATE accounts SET balance = balance + 1 WHERE id = {first}")
                cursor.execute(f"UPDATE accounts SET balance = balance - 1 WHERE id = {second}")
                begun = time.perf_counter()
                cursor.execute("COMMIT")
                latencies[number].append(time.perf_counter() - begun)
            ready.wait()  # its server processes are still there to be measured
            cursor.connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        ready.wait()
        before, begun = self.cpu(), time.perf_counter()
        stop.wait(seconds)
        stop.set()
        ready.wait()
        after, elapsed = self.cpu(), time.perf_counter() - begun
        for thread in threads:
            thread.join()
        commits = sorted(each for mine in latencies for each in mine)
        count = len(commits)
        return {"tps": count / elapsed, "commit_ms": statistics.median(commits) * 1e3,
                "commit_p99_ms": commits[int(count * 0.99)] * 1e3,
                "proxy_us": (after[0] - before[0]) / count / 1e3,
                "servers_us": (after[1] - before[1]) / count / 1e3}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--no-fsync", action="store_true", help="what is left without the disk")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    run = Run()
    figures = {}
    try:
        world = World(run, max(options.clients), not options.no_fsync)
        for clients in options.clients:
            rounds = {"one_phase": [], "two_phase": []}
            for way in rounds:
                world.round(way, clients, 0.3)
            for _ in range(options.rounds):
                for way, done in rounds.items():
                    done.append(world.round(way, clients, options.seconds))
            figures[clients] = {way: {name: statistics.median(each[name] for each in done)
                                      for name in done[0]} for way, done in rounds.items()}
        world.proxy.stop()
    finally:
        run.close()
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{'clients':>7} {'commit':>10} {'tps':>7} {'COMMIT ms':>10} {'p99':>7} {'proxy us':>9} {'servers us':>11}")
    for clients, ways in figures.items():
        for way, row in ways.items():
            print(f"{clients:>7} {way:>10} {row['tps']:>7.0f} {row['commit_ms']:>10.2f} "
                  f"{row['commit_p99_ms']:>7.2f} {row['proxy_us']:>9.0f} {row['servers_us']:>11.0f}")


if __name__ == "__main__":
    main()
