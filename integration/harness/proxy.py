"""The proxy under test."""

import os
import re
import signal
import socket
from pathlib import Path

import psycopg2
import psycopg2.extensions

from harness.postgres import tail
from harness.run import free_port, spawn, wait_until
from harness.toml import to_toml

ROOT = Path(__file__).resolve().parent.parent.parent

# What AddressSanitizer, LeakSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer begin with.
SANITIZER_REPORT = re.compile(r"==\d+==ERROR|runtime error:|WARNING: ThreadSanitizer|"
                              r"ERROR: LeakSanitizer|AddressSanitizer:DEADLYSIGNAL|"
                              r"Assertion .* failed|terminate called")


def binary():
    """PGSHUNT_BIN, or the build of preset PGSHUNT_PRESET (release)."""
    default = ROOT / "build" / os.environ.get("PGSHUNT_PRESET", "release") / "pgshunt"
    return Path(os.environ.get("PGSHUNT_BIN", default))


class Proxy:
    """A pgshunt process with its own folder: configuration, log, working directory.

    `config` is the text of a TOML file, or a dict in its shape; a dict without a listen_port gets a
    free one. A function of the folder may be given too, for configurations that name files in it."""

    def __init__(self, folder, config, *, name="pgshunt", env=None):
        self.name = name
        self.folder = Path(folder)
        self.log = self.folder / "pgshunt.log"
        self.file = self.folder / "pgshunt.toml"
        self.host = "127.0.0.1"
        self.port = None
        self._env = env
        self._process = None
        self.write_config(config)

    def write_config(self, config):
        """Replaces the configuration file; takes effect at start() or reload()."""
        if callable(config):
            config = config(self.folder)
        if isinstance(config, dict):
            general = config.get("pgshunt", {})
            self.port = general.get("listen_port", self.port) or free_port()
            general = {"listen_addr": [self.host], **general, "listen_port": self.port}
            config = to_toml({**config, "pgshunt": general})
        else:
            self.port = int(re.search(r"^listen_port\s*=\s*(\d+)", config, re.M).group(1))
        self.file.write_text(config)

    # Its life

    def start(self, wait=True):
        env = {
            # A small quarantine: tests watch the memory that is in use.
            "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1:"
                            "quarantine_size_mb=4",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "TSAN_OPTIONS": "second_deadlock_stack=1",
            **(self._env or {}),
        }
        self._process = spawn([binary(), self.file], cwd=self.folder, log=self.log, env=env)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=60):
        def ready():
            assert self.running(), f"{self.name} ended while starting:\n{self.log_tail()}"
            with socket.create_connection((self.host, self.port), timeout=1):
                return True
        wait_until(ready, timeout, f"{self.name} listens")
        return self

    def running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def wait(self, timeout=60):
        """The exit status, once it has ended by itself (or by a signal sent before)."""
        return self._process.wait(timeout)

    def stop(self, which=signal.SIGINT, timeout=60):
        """Ends it and holds it to a clean end: status 0, and no sanitizer report in its log."""
        if self._process is None:
            return
        if self.running():
            self.signal(signal.SIGCONT)
            self.signal(which)
        status = self.wait(timeout)
        self._process = None
        self.assert_clean()
        assert status == 0, f"{self.name} ended with status {status}:\n{self.log_tail()}"

    def kill(self):
        """kill -9; what the log says until then must be clean all the same."""
        self.force_end()
        self.assert_clean()

    def force_end(self):
        """Ends it whatever its state, asking nothing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, which):
        self._process.send_signal(which)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def reload(self, config=None):
        """New configuration by SIGHUP. Wait for its effect, or for a line of the log."""
        if config is not None:
            self.write_config(config)
        self.signal(signal.SIGHUP)

    def assert_clean(self):
        text = self.log_text()
        report = SANITIZER_REPORT.search(text)
        assert not report, f"{self.name}'s log:\n{text[max(0, report.start() - 500):][:8000]}"

    # Looking at it and talking to it

    def log_text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines=60):
        return tail(self.log, lines)

    def wait_for_log(self, pattern, timeout=15):
        return wait_until(lambda: re.search(pattern, self.log_text()), timeout,
                          f"{self.name}'s log has /{pattern}/")

    def dsn(self, dbname, user, password=None, **options):
        options = {"host": self.host, "port": self.port, "dbname": dbname, "user": user,
                   "password": password, **options}
        return psycopg2.extensions.make_dsn(
            **{key: value for key, value in options.items() if value is not None})

    def connect(self, dbname, user, password=None, autocommit=True, **options):
        """A psycopg2 connection through the proxy."""
        options.setdefault("connect_timeout", 20)
        connection = psycopg2.connect(self.dsn(dbname, user, password, **options))
        connection.autocommit = autocommit
        return connection

    def execute(self, sql, parameters=None, *, dbname, user, password=None, **options):
        """One statement on a connection of its own; its rows, or None when it has none."""
        connection = self.connect(dbname, user, password, **options)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
