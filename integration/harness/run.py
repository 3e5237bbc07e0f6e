"""A Run owns what a test session leaves on the machine: one temporary folder and every process
whose working directory is inside it. A watcher process removes both when the session ends, however
it ends (return, exception, kill -9)."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def wait_until(condition, timeout=15.0, what=None):
    """The first true value `condition()` returns. Tests wait on conditions, never for a fixed time.

    An exception in `condition` counts as "not yet" and is shown when time is up; only a failed
    assert ends the wait at once."""
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        error = None
        try:
            value = condition()
            if value:
                return value
        except AssertionError:
            raise
        except Exception as e:  # noqa: BLE001: whatever the probe met is the reason to report
            error = e
        if time.monotonic() >= deadline:
            name = what or getattr(condition, "__name__", "condition")
            raise TimeoutError(f"{name}: not within {timeout:g} s" + (f" ({error})" if error else ""))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


_handed_out = set()


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on, never the same twice in this process."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _handed_out:
            _handed_out.add(port)
            return port


def server_account():
    """Who PostgreSQL runs as: it refuses root, so root uses the packaged user."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def spawn(command, cwd, log, env=None, account=None):
    """Starts a process of its own session that logs to `log` (a path, appended to)."""
    switch = {}
    if account is not None and account.pw_uid != os.geteuid():
        switch = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with open(log, "ab") as out:
        return subprocess.Popen([str(part) for part in command], cwd=cwd, stdin=subprocess.DEVNULL,
                                stdout=out, stderr=out, start_new_session=True,
                                env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}, **switch)


def run_as(account, command, cwd="/", env=None):
    """Runs a command to its end as `account`; its output is in the exception when it fails."""
    switch = {}
    if account.pw_uid != os.geteuid():
        switch = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}, **switch)
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stdout}{done.stderr}")
    return done.stdout


def processes_in(folder):
    """Process ids whose working directory is `folder` or below it. PostgreSQL's processes stay in
    their data directory and we start the proxy in its own folder, so nothing escapes this."""
    inside = str(folder) + "/"
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                where = os.readlink(f"/proc/{entry}/cwd")
            except OSError:  # gone meanwhile, or not ours to see
                continue
            if (where + "/").startswith(inside) and int(entry) != os.getpid():
                found.append(int(entry))
    return found


def signal_all(pids, which):
    for pid in pids:
        try:
            os.kill(pid, which)
        except ProcessLookupError:
            pass


def end_processes_in(folder, patience=5.0):
    """Ends everything that runs in `folder`: politely enough for PostgreSQL to remove its shared
    memory (SIGQUIT is its immediate shutdown), then by force."""
    signal_all(processes_in(folder), signal.SIGCONT)  # a stopped process takes no other signal
    signal_all(processes_in(folder), signal.SIGQUIT)
    deadline = time.monotonic() + patience
    while (left := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.02)
    signal_all(left, signal.SIGKILL)


class Run:
    """The temporary world of one session. PGSHUNT_KEEP=1 keeps its folder for reading."""

    def __init__(self):
        # /tmp and not TMPDIR: a Unix socket's path has 107 bytes, and root's servers, which run as
        # another user, must be able to reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="pgshunt-", dir="/tmp")).resolve()
        self.folder.chmod(0o755)
        watcher = [sys.executable, "-c", _WATCH, str(Path(__file__).resolve().parent.parent),
                   str(self.folder)]
        self._watcher = subprocess.Popen(watcher, stdin=subprocess.PIPE, cwd="/",
                                         start_new_session=True)
        self.live = []  # servers and proxies to show the logs of when a test fails

    def subfolder(self, name, account=None):
        """A new folder, numbered when the name is taken, owned by `account`."""
        path, number = self.folder / name, 1
        while path.exists():
            number += 1
            path = self.folder / f"{name}-{number}"
        path.mkdir(mode=0o700 if account else 0o755)
        if account and account.pw_uid != os.geteuid():
            os.chown(path, account.pw_uid, account.pw_gid)
        return path

    def close(self):
        """Tells the watcher that we are done and waits until everything is gone."""
        self._watcher.stdin.close()
        self._watcher.wait()


def watch(folder):
    """The watcher's life: wait for the other end of the pipe to go away, then clean up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_processes_in(folder)
    if os.environ.get("PGSHUNT_KEEP"):
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)


_WATCH = "import sys; sys.path.insert(0, sys.argv[1]); from harness.run import watch; watch(sys.argv[2])"
