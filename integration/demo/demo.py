"""The local cluster of `./dev demo`: three shards, the first with a streaming replica, one more
server for change feeds, and pgshunt in front of them. Everything lives in one folder.

  PGSHUNT_STATE        that folder (default: .state/demo in the source tree)
  PGSHUNT_PORT         where pgshunt listens (default: where it did last time, 6432 at first)
  PGSHUNT_DEMO_PORTS   first of the five ports of the servers (default: as before, 64321 at first)
  PGSHUNT_DEMO_USERS   how many users to make up (default: 20000)
  PGSHUNT_DEMO_FSYNC   off: quick on a slow disk, lost in a power cut (default: on)
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import load
from harness import Authority, PostgresServer, Proxy, orders, tpcb, wait_until
from harness.postgres import BIN
from harness.proxy import binary
from harness.run import processes_in, server_account, signal_all

ROOT = Path(__file__).resolve().parent.parent.parent
USER = PASSWORD = "demo"
USERS = int(os.environ.get("PGSHUNT_DEMO_USERS", 20000))
SERVERS = ("shard1", "shard2", "shard3", "replica1", "feed")
SHARDS = SERVERS[:3]
BRANCHES, WAREHOUSES, CLIENTS = 24, 6, 8  # of ./dev demo bench


def state_folder():
    """Where the cluster lives. PostgreSQL's user must be able to reach it (a checkout below /root
    is not) and socket paths must stay short; otherwise a folder in /var/tmp serves."""
    folder = Path(os.environ.get("PGSHUNT_STATE", ROOT / ".state" / "demo")).absolute()
    if reachable(folder) and len(str(folder)) < 80:
        return folder
    folder = Path(f"/var/tmp/pgshunt-demo-{os.geteuid()}")
    if folder.exists() and (folder.is_symlink() or folder.stat().st_uid != os.geteuid()):
        sys.exit(f"{folder} belongs to somebody else; set PGSHUNT_STATE to a folder of yours")
    folder.mkdir(mode=0o755, exist_ok=True)
    return folder


def port_from(variable, default, count=1):
    """The first of `count` ports."""
    value = os.environ.get(variable, str(default))
    if not value.isdecimal() or not 0 < int(value) <= 65536 - count:
        sys.exit(f"{variable} is {value!r}, expected a port from 1 to {65536 - count}")
    return int(value)


def reachable(folder):
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    account = server_account()
    if account.pw_uid == os.geteuid():
        return True
    return subprocess.run(["test", "-x", folder], user=account.pw_uid, group=account.pw_gid,
                          extra_groups=[], cwd="/").returncode == 0


class Demo:
    def __init__(self):
        self.folder = state_folder()
        self.proxy_folder = self.folder / "pgshunt"
        self.loaded = self.folder / "loaded"
        self.complete = self.folder / "servers-complete"
        self.ports = self.folder / "ports"
        self.find_ports()
        # Losing the last moments in a power cut is fine here and makes loading quick.
        settings = {"synchronous_commit": "off", "log_min_messages": "warning",
                    "fsync": os.environ.get("PGSHUNT_DEMO_FSYNC", "on")}
        self.servers = {name: PostgresServer(self.folder / name, name, settings=settings,
                                             port=self.first_server_port + offset)
                        for offset, name in enumerate(SERVERS)}

    def find_ports(self):
        """pgshunt may move from one start to the next. The servers stay: they know each other."""
        self.last_port, made_at = 6432, 64321
        if self.ports.exists():
            self.last_port, made_at = map(int, self.ports.read_text().split())
        self.port = port_from("PGSHUNT_PORT", self.last_port)
        self.first_server_port = port_from("PGSHUNT_DEMO_PORTS", made_at, len(SERVERS))
        if self.complete.exists() and self.ports.exists() and self.first_server_port != made_at:
            sys.exit(f"the servers in {self.folder} were made for the ports from {made_at} on; unset "
                     "PGSHUNT_DEMO_PORTS, or set PGSHUNT_STATE to another folder for new ones")

    def remember_ports(self):
        self.last_port = self.port
        self.ports.write_text(f"{self.port} {self.first_server_port}\n")

    # Verbs

    def start(self):
        self.create_servers()
        self.start_servers()
        self.create_databases()
        self.start_proxy()
        if not self.loaded.exists():
            self.load()
        self.explain()

    def stop(self):
        stopped = self.stop_proxy()
        # The replica first, so that its primary does not wait for it.
        for name in reversed(SERVERS):
            if self.servers[name].running():
                self.servers[name].stop()
                stopped = True
        print("stopped; the data stays in" if stopped else "nothing was running; the data is in",
              self.folder)

    def status(self):
        running = bool(self.proxy_pids())
        print(f"{'pgshunt':9} {'running' if running else 'down':8} port {self.last_port}")
        for name, server in self.servers.items():
            up = server.running()
            running = running and up
            print(f"{name:9} {'running' if up else 'down':8} port {server.port}")
        return 0 if running else 3

    def psql(self, arguments):
        if not arguments or arguments[0].startswith("-"):
            arguments = ["social", *arguments]
        if not self.proxy_pids():
            sys.exit("the demo is not running; ./dev demo starts it")
        os.environ["PGPASSWORD"] = PASSWORD
        os.execv(BIN / "psql", ["psql", "-h", "127.0.0.1", "-p", str(self.last_port), "-U", USER, "-d",
                                *arguments])

    # Servers

    def create_servers(self):
        """A set that was not finished is made anew."""
        if self.complete.exists():
            return
        self.stop_proxy()
        for server in self.servers.values():
            server.destroy()
        self.loaded.unlink(missing_ok=True)
        self.check_ports([(server.name, server.port) for server in self.servers.values()])
        print(f"creating five PostgreSQL servers in {self.folder}", flush=True)
        account = server_account()
        for name, server in self.servers.items():
            server.folder.mkdir(mode=0o700)
            os.chown(server.folder, account.pw_uid, account.pw_gid)
            if name == "shard1":
                server.create()
            elif name == "replica1":
                self.servers["shard1"].start()
                server.create_replica_of(self.servers["shard1"])
            else:
                server.create()

    @staticmethod
    def check_ports(ports):
        for name, port in ports:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    sys.exit(f"port {port}, meant for {name}, is taken; see PGSHUNT_PORT and "
                             "PGSHUNT_DEMO_PORTS in integration/demo/demo.py")

    def start_servers(self):
        down = [server for server in self.servers.values() if not server.running()]
        if down:
            print("starting", ", ".join(server.name for server in down), flush=True)
        for server in down:
            server.start(wait=False)
        for server in self.servers.values():
            server.wait_ready()

    def create_databases(self):
        """Those that are not there yet."""
        here = Path(__file__).parent
        schemas = {"social": (here / "schema.sql").read_text(), "bench": (here / "pgbench.sql").read_text(),
                   "tpcb": tpcb.SCHEMA, "orders": orders.SCHEMA}
        for name in (*SHARDS, "feed"):
            server = self.servers[name]
            there = {row[0] for row in server.execute("SELECT datname FROM pg_database")}
            if not self.complete.exists():
                server.create_user(USER, PASSWORD)
            if name == "feed":
                schemas = {"feed": "SELECT 1"}
            for database, schema in schemas.items():
                if database in there:
                    continue
                server.create_database(database, USER)
                server.psql(f"SET ROLE {USER};\n{schema}", database)
        if not self.complete.exists():
            self.remember_ports()
            self.complete.touch()

    # The proxy

    def config(self):
        certificate, key = Authority(self.folder / "tls", days=3650).server()

        def shards():
            shards = [{"name": name, "host": "127.0.0.1", "port": self.servers[name].port}
                      for name in SHARDS]
            shards[0]["replicas"] = [f"127.0.0.1:{self.servers['replica1'].port}"]
            return shards

        def sharded(name, key, keyspace="users"):
            return {"name": name, "keyspace": keyspace, "key": key}

        return {
            "pgshunt": {"listen_addr": ["127.0.0.1"], "listen_port": self.port, "admin_users": [USER]},
            "client_tls": {"mode": "prefer", "cert_file": certificate, "key_file": key},
            "users": {USER: {"password": PASSWORD}},
            "databases": {
                "social": {
                    "shards": shards(),
                    "keyspaces": [{"name": "users", "type": "bigint"}],
                    "tables": [sharded("users", "id"), sharded("posts", "user_id"),
                               sharded("comments", "user_id"),
                               {"name": "countries", "reference": True}],
                },
                "bench": {
                    "default_shard": "shard1",
                    "shards": shards(),
                    "keyspaces": [{"name": "accounts", "type": "integer"}],
                    "tables": [sharded("pgbench_accounts", "aid", "accounts")],
                },
                # For ./dev demo bench.
                "tpcb": {
                    "shards": shards(),
                    "keyspaces": [{"name": "branches", "type": "bigint"}],
                    "tables": [sharded(name, "bid", "branches") for name in tpcb.TABLES],
                },
                "orders": {"shards": shards(), **orders.keyspace_and_tables()},
                "feed": {"host": "127.0.0.1", "port": self.servers["feed"].port},
            },
        }

    def proxy_pids(self):
        return processes_in(self.proxy_folder)

    def start_proxy(self):
        stale = [pid for pid in self.proxy_pids()
                 if os.readlink(f"/proc/{pid}/exe") != str(binary().resolve())]
        if self.proxy_pids() and self.port != self.last_port:
            self.check_ports([("pgshunt", self.port)])
            print(f"pgshunt leaves port {self.last_port}", flush=True)
            self.stop_proxy()
        elif stale:
            print("pgshunt was rebuilt, restarting it", flush=True)
            self.stop_proxy()
        if self.proxy_pids():
            print("pgshunt is running", flush=True)
            return
        self.check_ports([("pgshunt", self.port)])
        self.proxy_folder.mkdir(exist_ok=True)
        print(f"starting pgshunt on port {self.port}", flush=True)
        Proxy(self.proxy_folder, self.config()).start()
        self.remember_ports()

    def stop_proxy(self):
        pids = self.proxy_pids()
        signal_all(pids, signal.SIGINT)
        try:
            wait_until(lambda: not self.proxy_pids(), 10)
        except TimeoutError:
            signal_all(self.proxy_pids(), signal.SIGKILL)
        return bool(pids)

    # Rows

    def load(self):
        for name in SHARDS:  # what an interrupted load left
            self.servers[name].execute("TRUNCATE countries, users, posts, comments", dbname="social")
            self.servers[name].execute("TRUNCATE pgbench_accounts, pgbench_branches, "
                                       "pgbench_tellers, pgbench_history", dbname="bench")
        print("loading through pgshunt", flush=True)
        load.load_social(self.dsn("social"), USERS)
        load.load_pgbench(self.dsn("bench"))
        for name in SHARDS:
            for database in ("social", "bench"):
                self.servers[name].execute("ANALYZE", dbname=database)
        self.loaded.touch()

    def bench(self, seconds):
        """Two loads of pgbench whose sums are known. True if they are right."""
        if not self.proxy_pids():
            sys.exit("the demo is not running; ./dev demo starts it")
        shards = [self.servers[name] for name in SHARDS]
        for database, workload, count in (("tpcb", tpcb, BRANCHES), ("orders", orders, WAREHOUSES)):
            table = "branches" if database == "tpcb" else "warehouse"
            if any(server.execute(f"SELECT count(*) FROM {table}", dbname=database)[0][0] for server in shards):
                continue
            print("loading", database, flush=True)
            with contextlib.closing(load.connect(self.dsn(database), table)) as connection:
                connection.autocommit = True
                workload.load(connection.cursor(), count)
        environment = {"PGHOST": "127.0.0.1", "PGPORT": str(self.last_port), "PGUSER": USER,
                       "PGPASSWORD": PASSWORD}
        with tempfile.TemporaryDirectory() as scripts:
            print(f"TPC-B by branch, {seconds} s", flush=True)
            tps = tpcb.run({**environment, "PGDATABASE": "tpcb"}, Path(scripts), BRANCHES, CLIENTS, seconds)
            print(f"  {tps:,.0f} transactions a second")
            print(f"order entry in the manner of TPC-C, {seconds} s", flush=True)
            done = orders.run({**environment, "PGDATABASE": "orders"}, orders.write_scripts(Path(scripts)),
                              WAREHOUSES, CLIENTS, seconds=seconds, protocol="prepared")
        print(f"  {done['tps']:,.0f} transactions a second")
        for name, figures in done["by_script"].items():
            print(f"  {name:14} {figures['transactions']:7,}, {figures['latency_ms']:.1f} ms each")
        wrong = [f"branch {row[0]} does not balance" for row in tpcb.check(shards, "tpcb")]
        wrong += orders.check(shards, "orders", "together")
        shards[0].execute("DROP DATABASE together")
        print("\n".join(wrong) or "All sums are right, on every shard and over all of them.")
        return not wrong

    def dsn(self, database):
        return f"host=127.0.0.1 port={self.port} user={USER} password={PASSWORD} dbname={database}"

    def explain(self):
        counts = ", ".join(
            f"{name} {self.servers[name].execute('SELECT count(*) FROM users', dbname='social')[0][0]}"
            for name in SHARDS)
        psql = f"PGPASSWORD={PASSWORD} psql -h 127.0.0.1 -p {self.port} -U {USER}"
        bench = f"PGPASSWORD={PASSWORD} pgbench -h 127.0.0.1 -p {self.port} -U {USER}"
        if not shutil.which("pgbench"):
            bench = bench.replace("pgbench", str(BIN / "pgbench"))
        print(f"""
Users per shard: {counts}. Connect with

  {psql} social

and try

  1. One user: the statement goes to the one shard that has the row.
       SELECT * FROM users WHERE id = 24;
  2. A join of tables that are spread alike stays on that shard too.
       SELECT p.id, p.body, c.author_id, c.body FROM posts p JOIN comments c
         ON c.user_id = p.user_id AND c.post_id = p.id WHERE p.user_id = 24 LIMIT 5;
  3. Without the key all shards are asked at once and their rows merged in order.
       SELECT id, user_id, created_at FROM posts ORDER BY created_at DESC, id LIMIT 10;
  4. Every shard aggregates its own rows; what else a SELECT may be, one server does over what it needs.
       SELECT country, count(*) FROM users GROUP BY country;
  5. Pools and shards as pgshunt sees them, and some load to look at.
       {psql} pgshunt -c 'SHOW SHARDS' -c 'SHOW POOLS'
       {bench} -n -S -c 8 -T 10 bench
  6. TPC-B and order entry over the shards, and whether every sum is right afterwards.
       ./dev demo bench

./dev demo status, ./dev demo psql, ./dev demo stop""")


def main(words):
    demo = Demo()
    verb, arguments = words[0], words[1:]
    if verb == "psql":
        demo.psql(arguments)
    elif verb == "status":
        return demo.status()
    elif verb == "bench":
        return 0 if demo.bench(int(arguments[0]) if arguments else 10) else 1
    elif verb == "stop":
        demo.stop()
    else:
        demo.start()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["start"]))
