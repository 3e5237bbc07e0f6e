#!/usr/bin/python3
"""CPU, logins and memory of a pooler: pgshunt against Debian's PgBouncer, interleaved in one run.

One PostgreSQL, both poolers before it with the same pool, one worker each. Every case is run in
turn, pooler after pooler, for some rounds; what is compared is the pooler's own CPU time per unit
of work (all its threads, from the scheduler), which is steadier than throughput on a busy machine.
The ratio printed is the median of the rounds' ratios: below 1 pgshunt is cheaper."""

import argparse
import json
import re
import selectors
import shutil
import socket
import statistics
import struct
import subprocess
import sys
from pathlib import Path

from harness import Authority, PostgresServer, Proxy, Run
from harness.run import free_port, server_account, spawn, wait_until

USER = "bench"
SECRET = "bench"
WIDE = "SELECT repeat('x', 1000) FROM generate_series(1, 1000);\n"  # 1 MB


def cpu_nanoseconds(pid):
    """CPU time of all threads of a process."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total


def resident_kilobytes(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))


class PgBouncer:
    """The peer, configured as the proxy is."""

    def __init__(self, run, server, authority, auth, mode="transaction"):
        folder = run.subfolder(f"pgbouncer-{auth}-{mode}", server_account())
        certificate, key = authority.server()
        account = server_account()
        for source in (certificate, key):
            shutil.copy(source, folder / source.name)
            shutil.chown(folder / source.name, account.pw_uid, account.pw_gid)
            (folder / source.name).chmod(0o600)
        self.port = free_port()
        users = folder / "users.txt"
        users.write_text(f'"{USER}" "{SECRET}"\n')
        ini = folder / "pgbouncer.ini"
        ini.write_text(f"""[databases]
bench = host=127.0.0.1 port={server.port} dbname=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = {auth}
auth_file = {users}
pool_mode = {mode}
default_pool_size = 20
max_client_conn = 20000
client_tls_sslmode = allow
client_tls_cert_file = {folder / certificate.name}
client_tls_key_file = {folder / key.name}
server_tls_sslmode = disable
log_connections = 0
log_disconnections = 0
""")
        self.process = spawn(["pgbouncer", ini], cwd=folder, log=folder / "log", account=account)
        wait_until(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None,
                   what="PgBouncer listens")
        self.pid = self.process.pid


def start_pgshunt(run, server, authority, auth):
    certificate, key = authority.server()
    proxy = Proxy(run.subfolder(f"pgshunt-{auth}"), {
        "pgshunt": {"auth_type": auth, "workers": 1, "default_pool_size": 20,
                    "max_client_conn": 20000, "log_connections": False,
                    "log_disconnections": False},
        "client_tls": {"mode": "allow", "cert_file": str(certificate), "key_file": str(key)},
        "server_tls": {"mode": "disable"},
        "users": {USER: {"password": SECRET}},
        "databases": {"bench": {"host": "127.0.0.1", "port": server.port}},
    })
    return proxy.start()


def pgbench(port, arguments, seconds, tls=False):
    """How many transactions were done."""
    mode = "require" if tls else "disable"
    done = subprocess.run(
        ["pgbench", "-n", "-T", str(seconds), "-h", "127.0.0.1", "-p", str(port), *arguments,
         f"dbname=bench user={USER} password={SECRET} sslmode={mode}"],
        capture_output=True, text=True, check=False)
    found = re.search(r"actually processed: (\d+)", done.stdout)
    if done.returncode != 0 or not found:
        raise RuntimeError(f"pgbench {' '.join(arguments)}: {done.stderr}")
    return int(found.group(1))


def measure(pooler, arguments, seconds, tls):
    """Microseconds of CPU per transaction, and transactions per second."""
    before = cpu_nanoseconds(pooler.pid)
    count = pgbench(pooler.port, arguments, seconds, tls)
    return (cpu_nanoseconds(pooler.pid) - before) / 1000 / count, count / seconds


def cases(folder):
    wide = folder / "wide.sql"
    wide.write_text(WIDE)
    clients = ["-c", "16"]
    for tls in (False, True):
        for mode in ("simple", "extended", "prepared"):
            yield f"select-only, {mode}", "trust", ["-S", "-M", mode, *clients], tls
        yield "TPC-B, simple", "trust", ["-M", "simple", *clients], tls
        yield "TPC-B, prepared", "trust", ["-M", "prepared", *clients], tls
        yield "1 MB answers", "trust", ["-f", str(wide), "-c", "4"], tls
        yield "login, trust", "trust", ["-S", "-C", "-c", "4"], tls
        yield "login, SCRAM", "scram-sha-256", ["-S", "-C", "-c", "4"], tls


def idle_memory(pooler, count, tls_context=None):
    """Kilobytes per idle, logged-in client."""
    parameters = f"user\0{USER}\0database\0bench\0\0".encode()
    startup = struct.pack("!II", len(parameters) + 8, 3 << 16) + parameters
    before = resident_kilobytes(pooler.pid)
    sockets = []
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", pooler.port))
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
    used = (resident_kilobytes(pooler.pid) - before) / count
    for client in sockets:
        client.close()
    return used


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=2000, help="idle clients for the memory rows")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    run = Run()
    rows = []
    try:
        authority = Authority(run.folder / "tls")
        server = PostgresServer(run.subfolder("postgres", server_account()), "postgres",
                                authority=authority,
                                settings={"fsync": "off", "synchronous_commit": "off",
                                          "max_connections": "200"}).create().start()
        server.create_user(USER, SECRET)
        server.create_database("bench", owner=USER)
        poolers = {auth: {"pgshunt": start_pgshunt(run, server, authority, auth),
                          "pgbouncer": PgBouncer(run, server, authority, auth)}
                   for auth in ("trust", "scram-sha-256")}
        # Debian's 1.18 loses prepared statements in transaction mode: it runs those in session mode.
        prepared = PgBouncer(run, server, authority, "trust", "session")
        subprocess.run(["pgbench", "-i", "-s", "10", "-q", "-h", "127.0.0.1", "-p",
                        str(poolers["trust"]["pgshunt"].port), "-U", USER, "bench"],
                       check=True, capture_output=True)
        for name, auth, arguments, tls in cases(run.folder):
            name = f"{name}{', TLS' if tls else ''}"
            if options.only not in name:
                continue
            samples = {"pgshunt": [], "pgbouncer": []}
            for _ in range(options.rounds):
                for peer in samples:
                    pooler = poolers[auth][peer]
                    if peer == "pgbouncer" and "prepared" in name:
                        pooler = prepared
                    samples[peer].append(measure(pooler, arguments, int(options.seconds), tls))
            ratio = statistics.median(
                a[0] / b[0] for a, b in zip(samples["pgshunt"], samples["pgbouncer"]))
            rows.append({"case": name, "ratio": round(ratio, 3), **{
                peer: round(statistics.median(s[0] for s in taken), 2)
                for peer, taken in samples.items()}, "unit": "us"})
            print(f"{name:28} ratio {ratio:5.2f}   pgshunt {rows[-1]['pgshunt']:9.2f} us"
                  f"   pgbouncer {rows[-1]['pgbouncer']:9.2f} us", file=sys.stderr, flush=True)
        if options.only in "idle memory":
            import ssl
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            for name, tls in (("idle memory, plain", None), ("idle memory, TLS", context)):
                used = {peer: idle_memory(pooler, options.clients, tls)
                        for peer, pooler in poolers["trust"].items()}
                rows.append({"case": name, "ratio": round(used["pgshunt"] / used["pgbouncer"], 3),
                             **{peer: round(value, 2) for peer, value in used.items()},
                             "unit": "KB"})
                print(f"{name:28} ratio {rows[-1]['ratio']:5.2f}   pgshunt {used['pgshunt']:9.2f} KB"
                      f"   pgbouncer {used['pgbouncer']:9.2f} KB", file=sys.stderr, flush=True)
    finally:
        run.close()
    if options.json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
