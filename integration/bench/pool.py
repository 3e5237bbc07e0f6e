#!/usr/bin/python3
"""CPU, logins and memory of a pooler: pgshunt against Debian's PgBouncer and pgpool-II.

One PostgreSQL, the poolers before it with the same pool, one worker each. Every case is run in
turn, pooler after pooler, for some rounds; what is compared is the pooler's own CPU time per unit
of work (all its threads and processes, from the scheduler), which is steadier than throughput on a
busy machine. The ratio printed is the median of the rounds' ratios: below 1 pgshunt is cheaper."""

import argparse
import json
import re
import resource
import shutil
import socket
import ssl
import statistics
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import Authority, PostgresServer, Proxy, Run
from harness.poolers import pgbouncer, pgpool
from harness.run import server_account

USER = "bench"
SECRET = "bench"
WIDE = "SELECT repeat('x', 1000) FROM generate_series(1, 1000);\n"  # 1 MB
# pgpool passes logins on to the server, so that must trust who comes.
TRUSTING_HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


def cpu_nanoseconds(pids):
    """CPU time of all threads of some processes."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())


def resident_kilobytes(pids):
    return sum(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))
               for pid in pids)


class Pgshunt:
    def __init__(self, run, server, authority, auth, workers=1):
        certificate, key = authority.server()
        place = {"host": "127.0.0.1", "port": server.port, "dbname": "bench"}
        # Three shards that are one database: each has the rows of all, so nothing need be loaded.
        # pgbench counts its branches first, so the other tables have a place too.
        sharded = {"shards": [{"name": f"s{i}", **place} for i in range(3)], "default_shard": "s0",
                   "keyspaces": [{"name": "accounts", "type": "integer"}],
                   "tables": [{"name": "pgbench_accounts", "keyspace": "accounts", "key": "aid"}]}
        proxy = Proxy(run.subfolder(f"pgshunt-{auth}-{workers}"), {
            "pgshunt": {"auth_type": auth, "workers": workers, "default_pool_size": 20,
                        "max_client_conn": 20000, "log_connections": False,
                        "log_disconnections": False},
            "client_tls": {"mode": "allow", "cert_file": str(certificate), "key_file": str(key)},
            "server_tls": {"mode": "disable"},
            "users": {USER: {"password": SECRET}},
            "databases": {"bench": place, "sharded": sharded},
        }).start()
        self.port = proxy.port
        self._pid = proxy.pid

    def pids(self):
        return [self._pid]


@dataclass
class Case:
    name: str
    pgbench: list
    auth: str = "trust"
    tls: bool = False
    database: str = "bench"  # pgshunt's; the peers serve only that one
    # Debian's PgBouncer 1.18 loses protocol-level prepared statements in transaction mode.
    pgbouncer_session: bool = False
    peers: tuple = ("pgbouncer",)


def cases(folder):
    wide = folder / "wide.sql"
    wide.write_text(WIDE)
    clients = ["-c", "16"]
    both = ("pgbouncer", "pgpool")
    for tls in (False, True):
        mark = ", TLS" if tls else ""

        def case(name, pgbench, **options):
            return Case(name + mark, pgbench, tls=tls, **options)
        for mode in ("simple", "extended", "prepared"):
            # pgpool cannot keep apart the prepared statements of pgbench's clients for long.
            yield case(f"select-only, {mode}", ["-S", "-M", mode, *clients],
                       pgbouncer_session=mode == "prepared", peers=both)
            yield case(f"sharded single key, {mode}", ["-S", "-M", mode, *clients],
                       pgbouncer_session=mode == "prepared", database="sharded")
        for mode in ("simple", "extended", "prepared"):
            yield case(f"TPC-B, {mode}", ["-M", mode, *clients],
                       pgbouncer_session=mode == "prepared", peers=both)
        yield case("1 MB answers", ["-f", str(wide), "-c", "4"], peers=both)
        yield case("login, trust", ["-S", "-C", "-c", "4"], peers=both)
        yield case("login, SCRAM", ["-S", "-C", "-c", "4"], auth="scram-sha-256")


def pgbench(port, arguments, seconds, tls, database):
    """How many transactions were done."""
    mode = "require" if tls else "disable"
    done = subprocess.run(
        ["pgbench", "-n", "-T", str(seconds), "-h", "127.0.0.1", "-p", str(port), *arguments,
         f"dbname={database} user={USER} password={SECRET} sslmode={mode}"],
        capture_output=True, text=True, check=False)
    found = re.search(r"actually processed: (\d+)", done.stdout)
    if done.returncode != 0 or not found:
        raise RuntimeError(f"pgbench {' '.join(arguments)}: {done.stderr}")
    return int(found.group(1))


def measure(pooler, case, seconds, database):
    """Microseconds of the pooler's CPU per transaction."""
    before = cpu_nanoseconds(pooler.pids())
    count = pgbench(pooler.port, case.pgbench, seconds, case.tls, database)
    return (cpu_nanoseconds(pooler.pids()) - before) / 1000 / count


def median_ratio(ours, theirs):
    return statistics.median(a / b for a, b in zip(ours, theirs))


class Report:
    def __init__(self):
        self.rows = []

    def add(self, case, unit, ours, **peers):
        """`ours` and each peer: the rounds' samples."""
        row = {"case": case, "unit": unit, "pgshunt": round(statistics.median(ours), 2)}
        text = f"{case:32} pgshunt {row['pgshunt']:9.2f} {unit}"
        for peer, samples in peers.items():
            row[peer] = round(statistics.median(samples), 2)
            row[f"ratio to {peer}"] = round(median_ratio(ours, samples), 3)
            text += f"   {peer} {row[peer]:9.2f} {unit}, ratio {row[f'ratio to {peer}']:5.2f}"
        self.rows.append(row)
        print(text, file=sys.stderr, flush=True)


def idle_memory(pooler, count, tls_context=None):
    """Kilobytes per idle, logged-in client."""
    parameters = f"user\0{USER}\0database\0bench\0\0".encode()
    startup = struct.pack("!II", len(parameters) + 8, 3 << 16) + parameters
    before = resident_kilobytes(pooler.pids())
    sockets = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", pooler.port))
        # As drivers do: otherwise the startup packet waits 40 ms for the end of the handshake to be
        # acknowledged.
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls_context:
            client.sendall(struct.pack("!II", 8, 80877103))
            assert client.recv(1) == b"S"
            client = tls_context.wrap_socket(client)
        client.sendall(startup)
        answer = b""
        while not answer.endswith(b"Z\0\0\0\5I"):
            part = client.recv(4096)
            assert part, answer
            answer += part
        sockets.append(client)
    used = (resident_kilobytes(pooler.pids()) - before) / count
    for client in sockets:
        client.close()
    return used


def run_cases(run, report, options, one_worker, two_workers, peers):
    for case in cases(run.folder):
        if options.only not in case.name:
            continue
        subjects = {"pgshunt": one_worker[case.auth]}
        for peer in case.peers:
            mode = "session" if case.pgbouncer_session else "transaction"
            subjects[peer] = peers[peer] if peer == "pgpool" else peers[peer, case.auth, mode]
        samples = {name: [] for name in subjects}
        for _ in range(options.rounds):
            for name, subject in subjects.items():
                database = case.database if name == "pgshunt" else "bench"
                samples[name].append(measure(subject, case, options.seconds, database))
        report.add(case.name, "us", samples.pop("pgshunt"), **samples)
    name = "two workers, select-only"
    if options.only in name:
        case = Case(name, ["-S", "-c", "16", "-j", "2"])
        samples = {"one": [], "two": []}
        for _ in range(options.rounds):
            samples["one"].append(measure(one_worker["trust"], case, options.seconds, "bench"))
            samples["two"].append(measure(two_workers, case, options.seconds, "bench"))
        report.add(name, "us", samples["two"], one_worker=samples["one"])
        print(f"{'':32} where cores are free, two workers serve "
              f"{2 / report.rows[-1]['ratio to one_worker']:.2f} times one worker's queries",
              file=sys.stderr)


def run_memory(report, options, poolers):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, tls in (("idle client, plain", None), ("idle client, TLS", context)):
        if options.only not in name:
            continue
        used = {peer: [idle_memory(pooler, options.clients, tls)]
                for peer, pooler in poolers.items()}
        report.add(name, "KB", used.pop("pgshunt"), **used)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=10000, help="idle clients of the memory rows")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # Each idle client is a descriptor here and one in the pooler, which inherits the limit.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    run = Run()
    report = Report()
    try:
        authority = Authority(run.folder / "tls")
        server = PostgresServer(run.subfolder("postgres", server_account()), "postgres",
                                authority=authority, hba=TRUSTING_HBA,
                                settings={"fsync": "off", "synchronous_commit": "off",
                                          "max_connections": "300"}).create().start()
        server.create_user(USER, SECRET)
        server.create_database("bench", owner=USER)
        one_worker = {auth: Pgshunt(run, server, authority, auth)
                      for auth in ("trust", "scram-sha-256")}
        login = {"user": USER, "secret": SECRET}
        peers = {("pgbouncer", auth, mode): pgbouncer(run, server, authority, auth=auth, mode=mode,
                                                      **login)
                 for auth, mode in (("trust", "transaction"), ("scram-sha-256", "transaction"),
                                    ("trust", "session"))}
        if shutil.which("pgpool"):
            peers["pgpool"] = pgpool(run, server, authority)
        subprocess.run(["pgbench", "-i", "-s", "10", "-q", "-h", "127.0.0.1", "-p",
                        str(one_worker["trust"].port), "-U", USER, "bench"],
                       check=True, capture_output=True)
        two_workers = Pgshunt(run, server, authority, "trust", workers=2)
        run_cases(run, report, options, one_worker, two_workers, peers)
        run_memory(report, options, {"pgshunt": one_worker["trust"],
                                     "pgbouncer": peers["pgbouncer", "trust", "transaction"]})
    finally:
        run.close()
    if options.json:
        print(json.dumps(report.rows, indent=2))


if __name__ == "__main__":
    main()
