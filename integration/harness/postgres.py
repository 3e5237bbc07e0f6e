"""PostgreSQL servers made for one test run, and (by the demo) for longer."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg2

from harness.run import (end_processes_in, free_port, processes_in, run_as, server_account,
                         signal_all, spawn, wait_until)

BIN = Path(os.environ.get("PGSHUNT_POSTGRES_BIN", "/usr/lib/postgresql/15/bin"))
SUPERUSER = "postgres"
PASSWORD = "postgres"

# Enough for every feature the proxy uses: logical decoding, two-phase commit, streaming replicas.
BASE_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": 200,
    "shared_buffers": "32MB",
    "wal_level": "logical",
    "max_wal_senders": 20,
    "max_replication_slots": 20,
    "wal_keep_size": "128MB",
    "max_prepared_transactions": 64,
    "password_encryption": "scram-sha-256",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "timezone": "UTC",
    "jit": "off",
}
# Tests lose nothing they would miss in a power cut.
TEST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# TCP proves a password, the Unix socket is for the harness itself.
DEFAULT_HBA = """\
local all all trust
local replication all trust
host replication all 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""


class PostgresServer:
    """One server with a data directory of its own.

    `folder` holds data/, the socket and the log. Start, stop and harm it at will; connect to it
    directly with connect() and execute(), or from the outside through `host` and `port`."""

    def __init__(self, folder, name, *, port=None, settings=None, hba=DEFAULT_HBA, authority=None):
        self.name = name
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.log = self.folder / "postgres.log"
        self.host = "127.0.0.1"
        self.port = port or free_port()
        self._account = server_account()
        self._settings = {**BASE_SETTINGS, **(settings or {})}
        self._hba = hba
        self._authority = authority
        self._process = None

    # Making one

    def create(self, template=None):
        """Fills the data directory: from a template (a stopped server's), or with initdb."""
        if template is None:
            secret = self.folder / "password"
            self._write(secret, PASSWORD)
            run_as(self._account, [BIN / "initdb", "-D", self.data, "-U", SUPERUSER, "--no-sync",
                                   "--encoding=UTF8", "--locale=C.UTF-8", "--auth-local=trust",
                                   "--auth-host=scram-sha-256", f"--pwfile={secret}"])
        else:
            run_as(self._account, ["cp", "-a", "--reflink=auto", template.data, self.data])
        self._configure()
        return self

    def create_replica_of(self, primary):
        """Fills the data directory from a running primary; start() then streams from it."""
        run_as(self._account, [BIN / "pg_basebackup", "-D", self.data, "-h", primary.folder,
                               "-p", primary.port, "-U", SUPERUSER, "-c", "fast", "-X", "stream",
                               "--no-sync"])
        self._configure()
        # Over TCP: cutting or stopping the primary's network then cuts its replica too.
        self.configure(primary_conninfo=f"host={primary.host} port={primary.port} "
                       f"user={SUPERUSER} password={PASSWORD} application_name={self.name}")
        self._write(self.data / "standby.signal", "")
        return self

    def configure(self, **settings):
        """Adds settings; they take effect at the next start() or reload()."""
        self._settings.update(settings)
        lines = [f"{key} = '{str(value)}'\n" for key, value in self._settings.items()]
        self._write(self.data / "postgresql.auto.conf", "".join(lines))

    def set_hba(self, text):
        self._hba = text
        self._write(self.data / "pg_hba.conf", text)

    def _configure(self):
        self._settings["unix_socket_directories"] = self.folder
        if self._authority:
            certificate, key = self._authority.server()
            for source, target in ((certificate, "server.crt"), (key, "server.key"),
                                   (self._authority.certificate, "ca.crt")):
                self._write(self.data / target, source.read_text())
            self._settings.update(ssl="on", ssl_cert_file="server.crt", ssl_key_file="server.key",
                                  ssl_ca_file="ca.crt")
        self.configure()
        self.set_hba(self._hba)

    def _write(self, path, text):
        path.write_text(text)
        path.chmod(0o600)
        if self._account.pw_uid != os.geteuid():
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    # Its life

    def start(self, wait=True):
        """wait=False lets several servers start at once; call wait_ready() then."""
        if not self.running():
            # After a kill -9: its last backends, and its lock files. A server that is dead but not yet
            # buried by its parent would still count as their owner.
            end_processes_in(self.data)
            for lock in (self.data / "postmaster.pid", self.folder / f".s.PGSQL.{self.port}.lock"):
                lock.unlink(missing_ok=True)
            self._process = spawn([BIN / "postgres", "-D", self.data, "-p", self.port],
                                  cwd=self.data, log=self.log, account=self._account)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=60):
        def ready():
            assert self.running(), f"{self.name} ended while starting:\n{self.log_tail()}"
            return self.execute("SELECT 1")
        wait_until(ready, timeout, f"{self.name} accepts connections")
        return self

    def running(self):
        if self._process is not None:
            return self._process.poll() is None
        return self.pid() in processes_in(self.data)

    def pid(self):
        """The postmaster's, from its file: it may have been started by an earlier process."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def stop(self, mode="fast"):
        """smart waits for clients, fast ends them, immediate skips the checkpoint."""
        if not self.running():
            return
        pid = self.pid()
        self.resume()
        if pid is not None:
            signal_all([pid], {"smart": signal.SIGTERM, "fast": signal.SIGINT,
                               "immediate": signal.SIGQUIT}[mode])
        self._wait_gone()

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def kill(self):
        """kill -9 to all its processes at once: sockets are cut, nothing is said."""
        signal_all(processes_in(self.data), signal.SIGKILL)
        self._wait_gone()

    def pause(self):
        """SIGSTOP: the server is silent, but its sockets stay open."""
        signal_all(processes_in(self.data), signal.SIGSTOP)

    def resume(self):
        signal_all(processes_in(self.data), signal.SIGCONT)

    def reload(self):
        signal_all([self.pid()], signal.SIGHUP)

    def promote(self):
        self.execute("SELECT pg_promote(true)")

    def destroy(self):
        end_processes_in(self.data)
        self._reap()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_gone(self):
        wait_until(lambda: not self._left(), 60, f"{self.name} has ended")

    def _left(self):
        # A process that is just dying has no working directory any more, but its parent can't bury it
        # yet: it is gone only when both say so.
        unburied = self._process is not None and self._process.poll() is None
        return unburied or processes_in(self.data)

    def _reap(self):
        if self._process is not None:
            self._process.poll()

    # Talking to it

    def dsn(self, dbname="postgres", user=SUPERUSER, password=PASSWORD, **options):
        """A connection string over TCP, for anything that speaks libpq's format."""
        options = {"host": self.host, "port": self.port, "dbname": dbname, "user": user,
                   "password": password, **options}
        return " ".join(f"{key}={value}" for key, value in options.items())

    def connect(self, dbname="postgres", user=SUPERUSER, **options):
        """A psycopg2 connection over the Unix socket, in autocommit."""
        connection = psycopg2.connect(host=str(self.folder), port=self.port, dbname=dbname,
                                      user=user, connect_timeout=10, **options)
        connection.autocommit = True
        return connection

    def execute(self, sql, parameters=None, dbname="postgres"):
        """Runs one statement directly on the server; its rows, or None when it has none."""
        connection = self.connect(dbname)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def psql(self, text, dbname="postgres"):
        """Runs a script, several statements and backslash commands included."""
        done = subprocess.run([BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.folder,
                               "-p", str(self.port), "-U", SUPERUSER, "-d", dbname],
                              input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"psql on {self.name}: {done.stderr}")
        return done.stdout

    def create_user(self, name, password=None, options="LOGIN"):
        secret = f" PASSWORD '{password}'" if password is not None else ""
        self.execute(f'CREATE ROLE "{name}" {options}{secret}')

    def create_database(self, name, owner=SUPERUSER):
        self.execute(f'CREATE DATABASE "{name}" OWNER "{owner}"')

    def wait_for_replica(self, replica, timeout=30):
        """Until `replica` has replayed all that is committed here now."""
        (position,), = self.execute("SELECT pg_current_wal_insert_lsn()")
        wait_until(lambda: replica.execute(
            "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,))[0][0],
            timeout, f"{replica.name} has replayed {position}")

    def log_tail(self, lines=40):
        return tail(self.log, lines)


def tail(path, lines):
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return str(error)
