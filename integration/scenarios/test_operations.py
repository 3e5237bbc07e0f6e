"""What an operator does: check a configuration, start, reload, pause, stop."""

import json
import resource
import signal
import socket
import subprocess

import psycopg2
import pytest

from harness import free_port, wait_until
from harness.config import plain
from harness.proxy import ROOT, binary
from harness.toml import to_toml
from harness.wire import ServerError, Wire, errors, query, rows, run, sync, tags, types
from pooling import show


def pgshunt(*arguments, **options):
    return subprocess.run([str(a) for a in (binary(), *arguments)], capture_output=True, text=True,
                          timeout=60, **options)


# --- configuration files -------------------------------------------------------------------------


GOOD = """\
[pgshunt]
listen_port = 6432

[users.app]
password = "hidden-secret"

[databases.app]
host = "127.0.0.1"
"""

BROKEN = [
    ("no TOML", 'listen_port = 6432', 'listen_port = = 6432', 2, ""),
    ("unknown key", 'listen_port = 6432', 'listen_prot = 6432', 2, "listen_prot"),
    ("unknown section", "[users.app]", "[usres.app]", 4, "usres"),
    ("wrong type", 'listen_port = 6432', 'listen_port = "many"', 2, "listen_port"),
    ("out of range", 'listen_port = 6432', 'listen_port = 70000', 2, "listen_port"),
    ("unknown word", 'listen_port = 6432', 'pool_mode = "fast"', 2, "pool_mode"),
    ("bad time", 'listen_port = 6432', 'query_timeout = "5 parsecs"', 2, "query_timeout"),
    ("twice", 'listen_port = 6432', 'listen_port = 1\nlisten_port = 2', 3, "listen_port"),
    ("missing file", 'password = "hidden-secret"', 'password_file = "nowhere"', 5, "nowhere"),
    ("bad rule", "[users.app]", '[[hba]]\nmethod = "magic"\n[users.app]', 5, "method"),
    ("user's mode", 'password = "hidden-secret"', 'pool_mode = 5', 5, "pool_mode"),
]


@pytest.fixture
def configuration(run):
    folder = run.subfolder("configuration")

    def write(text):
        file = folder / "pgshunt.toml"
        file.write_text(text)
        return file
    return write


@pytest.mark.smoke
@pytest.mark.parametrize("good, broken, line, word", [case[1:] for case in BROKEN],
                         ids=[case[0] for case in BROKEN])
@pytest.mark.parametrize("how", [[], ["--check"]], ids=["start", "check"])
def test_a_broken_file_is_refused_with_its_line(configuration, good, broken, line, word, how):
    file = configuration(GOOD.replace(good, broken))
    done = pgshunt(*how, file)
    assert done.returncode == 1 and done.stdout == ""
    assert f"{file}:{line}" in done.stderr and word in done.stderr, done.stderr
    assert "hidden-secret" not in done.stderr


def test_all_problems_are_told_at_once(configuration):
    file = configuration(GOOD.replace("listen_port", "listen_prot").replace("host", "hots"))
    done = pgshunt("--check", file)
    assert "listen_prot" in done.stderr and "hots" in done.stderr


def test_a_good_file(configuration):
    file = configuration(GOOD)
    done = pgshunt("--check", file)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}: good\n", "")


@pytest.mark.parametrize("sample", sorted((ROOT / "configs").glob("*.toml")), ids=lambda f: f.name)
def test_the_samples_are_good(sample):
    done = pgshunt("--check", sample)
    assert done.returncode == 0, done.stderr


def test_certificates_that_are_none(configuration):
    file = configuration(GOOD)
    for section in ("client_tls", "server_tls"):
        file.write_text(GOOD + f'[{section}]\nmode = "require"\ncert_file = "{file}"\n'
                        f'key_file = "{file}"\n')
        done = pgshunt("--check", file)
        assert done.returncode == 1
        assert done.stderr.startswith(f"{file}: {section}: could not load TLS certificate")


def test_what_is_suspect_is_said(configuration):
    file = configuration('[pgshunt]\nadmin_users = ["ghost"]\n[databases.app]\nhost = "h"\n')
    done = pgshunt("--check", file)
    assert done.returncode == 0
    assert f"warning: {file}:2: pgshunt.admin_users" in done.stderr and "ghost" in done.stderr


def test_words_on_the_command_line():
    for word in ("--help", "-h"):
        assert "Usage" in pgshunt(word).stdout
    for word in ("--version", "-V"):
        assert pgshunt(word).stdout.startswith("pgshunt ")
    assert pgshunt().returncode == 2
    assert pgshunt("--frob").returncode == 2
    done = pgshunt("/nowhere/pgshunt.toml")
    assert done.returncode == 1 and "/nowhere/pgshunt.toml" in done.stderr


@pytest.mark.parametrize("hard, warned", [(400, True), (4000, False)])
def test_as_many_descriptors_as_the_system_grants(configuration, hard, warned):
    file = configuration(GOOD.replace("6432", str(free_port())))

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    process = subprocess.Popen([binary(), file], stderr=subprocess.PIPE, text=True,
                               preexec_fn=limit)
    try:
        for line in process.stderr:
            if "listening" in line:
                break
            assert warned and f"grants {hard} file descriptors" in line
            warned = False
        assert not warned
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        process.terminate()
        process.communicate()


def test_a_port_in_use(configuration):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = pgshunt(configuration(GOOD.replace("6432", str(port))))
    assert done.returncode == 1 and str(port) in done.stderr


# --- reload --------------------------------------------------------------------------------------


def setting(proxy, key):
    return next(row["value"] for row in show(proxy, "CONFIG") if row["key"] == key)


@pytest.fixture
def reloadable(make_proxy, app_postgres):
    config = plain(app_postgres, size=1)
    proxy = make_proxy(config)
    return proxy, config


@pytest.mark.smoke
def test_a_good_file_is_taken_over(reloadable, app_postgres):
    proxy, config = reloadable
    with Wire(proxy, "app", user="app") as client:
        client.query("BEGIN")
        pid = client.backend_pid()
        config["pgshunt"]["default_pool_size"] = 2
        config["databases"]["more"] = {**config["databases"]["app"], "dbname": "app"}
        config["users"]["late"] = {"password": "late"}
        proxy.reload(config)
        wait_until(lambda: setting(proxy, "default_pool_size") == "2")
        # Nobody was disturbed, and there is room for one more.
        with Wire(proxy, "app", user="app") as other:
            assert other.backend_pid() != pid
        with Wire(proxy, "more", user="app") as other:
            assert other.value("SELECT current_database()") == "app"
        assert client.backend_pid() == pid
        client.query("COMMIT")


@pytest.mark.smoke
@pytest.mark.parametrize("text", ["[pgshunt\n", "nonsense = 1\n", "", None])
def test_a_broken_file_changes_nothing(reloadable, text):
    proxy, config = reloadable
    with Wire(proxy, "app", user="app") as client:
        if text is None:
            config["pgshunt"]["auth_file"] = "nowhere.txt"
            text = to_toml({**config, "pgshunt": {**config["pgshunt"], "listen_port": proxy.port,
                                                  "default_pool_size": 9}})
        proxy.file.write_text(text)
        proxy.reload()
        proxy.wait_for_log("reload_failed.*pgshunt.toml")
        assert setting(proxy, "default_pool_size") == "1"
        assert client.value("SELECT 1") == "1"
    with Wire(proxy, "app", user="app") as client:
        assert client.value("SELECT 1") == "1"


def test_a_database_that_moves(reloadable, make_postgres):
    """Clients stay, their next transaction runs on the new server."""
    proxy, config = reloadable
    other = make_postgres("moved-to")
    other.create_user("app", "app")
    other.create_database("app")
    with Wire(proxy, "app", user="app") as client:
        client.query("BEGIN")
        old = client.value("SHOW port")
        config["databases"]["app"] |= {"host": other.host, "port": other.port}
        proxy.reload(config)
        wait_until(lambda: show(proxy, "DATABASES")[0]["port"] == other.port)
        assert client.value("SHOW port") == old
        client.query("COMMIT")
        assert client.value("SHOW port") == str(other.port) != old


def test_a_database_that_goes(reloadable):
    proxy, config = reloadable
    config["databases"]["gone"] = {**config["databases"]["app"], "dbname": "app"}
    proxy.reload(config)
    wait_until(lambda: len(show(proxy, "DATABASES")) == 2)
    client = Wire(proxy, "gone", user="app")
    assert client.value("SELECT 1") == "1"
    del config["databases"]["gone"]
    proxy.reload(config)
    wait_until(lambda: len(show(proxy, "DATABASES")) == 1)
    with pytest.raises(ServerError, match="3D000"):
        Wire(proxy, "gone", user="app")
    client.close()


def test_limits_are_reloaded(reloadable):
    proxy, config = reloadable
    config["pgshunt"] |= {"default_pool_size": 5, "max_db_connections": 1}
    proxy.reload(config)
    wait_until(lambda: setting(proxy, "max_db_connections") == "1")
    with Wire(proxy, "app", user="app") as first, Wire(proxy, "app", user="app") as second:
        first.query("BEGIN")
        second.send(query("SELECT 1"))
        assert second.silent(0.2)
        config["pgshunt"]["max_db_connections"] = 2
        proxy.reload(config)
        assert rows(second.until_ready()) == [["1"]]
        first.query("COMMIT")


def test_what_needs_a_restart_is_said(reloadable):
    proxy, config = reloadable
    config["pgshunt"]["workers"] = 3
    for _ in range(2):                                  # and said again until there was one
        reloads = proxy.log_text().count("reloaded")
        proxy.reload(config)
        wait_until(lambda: proxy.log_text().count("reloaded") > reloads)
        assert proxy.log_text().count("needs a restart: pgshunt.workers") == reloads + 1
        assert setting(proxy, "workers") == "1"


def test_rows_are_not_looked_for_elsewhere_before_a_restart(make_proxy, app_postgres):
    """Buckets that changed hands in the file only: the rows have not moved."""
    where = {"host": app_postgres.host, "port": app_postgres.port, "dbname": "app"}
    config = plain(app_postgres)
    config["databases"]["app"] = {
        "shards": [{"name": "left", **where}, {"name": "right", **where}],
        "keyspaces": [{"name": "users", "type": "bigint",
                       "buckets": [{"from": 0, "to": 4095, "shard": "left"}]}]}
    proxy = make_proxy(config)
    config["databases"]["app"]["keyspaces"][0]["buckets"][0]["shard"] = "right"
    proxy.reload(config)
    proxy.wait_for_log("needs a restart: databases.app.keyspaces")
    assert [(row["shard"], row["buckets"]) for row in show(proxy, "SHARDS")] == [
        ("left", 4096), ("right", 0)]


def test_a_reload_tells_what_is_suspect(reloadable):
    proxy, config = reloadable
    config["pgshunt"]["admin_users"] = ["admin", "ghost"]
    proxy.write_config(config)
    console = proxy.connect("pgshunt", "admin")
    with console.cursor() as cursor:
        cursor.execute("RELOAD")
    assert "ghost" in console.notices[-1]
    console.close()
    proxy.wait_for_log("config_warning.*ghost")


def test_a_log_file_that_cannot_be_opened_changes_nothing(reloadable):
    proxy, config = reloadable
    config["pgshunt"] |= {"log_file": "/nowhere/pgshunt.log", "default_pool_size": 9}
    proxy.write_config(config)
    console = proxy.connect("pgshunt", "admin")
    with console.cursor() as cursor, pytest.raises(psycopg2.Error, match="/nowhere/pgshunt.log"):
        cursor.execute("RELOAD")
    console.close()
    proxy.wait_for_log("reload_failed.*/nowhere/pgshunt.log")
    assert setting(proxy, "default_pool_size") == "1"
    assert setting(proxy, "log_file") == ""


def test_passwords_are_reloaded(make_proxy, app_postgres):
    config = plain(app_postgres, auth_type="scram-sha-256")
    config["databases"]["app"] |= {"force_user": "app", "force_password": "app"}
    proxy = make_proxy(config)
    old = proxy.connect("app", "app", "app")
    config["users"]["app"]["password"] = "changed"
    proxy.reload(config)
    proxy.wait_for_log("reloaded")
    proxy.connect("app", "app", "changed").close()
    with pytest.raises(Exception, match="password authentication failed"):
        proxy.connect("app", "app", "app")
    with old.cursor() as cursor:
        cursor.execute("SELECT 1")
    old.close()


def test_the_log_is_opened_anew(make_proxy, app_postgres):
    proxy = make_proxy(lambda folder: plain(app_postgres, log_file=str(folder / "own.log"),
                                            log_format="json"))
    log = proxy.folder / "own.log"
    with Wire(proxy, "app", user="app"):
        wait_until(lambda: "client_login" in log.read_text())
    for line in log.read_text().splitlines():
        assert json.loads(line)
    for which in (signal.SIGUSR1, signal.SIGHUP):
        log.rename(proxy.folder / "old.log")
        proxy.signal(which)
        wait_until(log.exists)


# --- pausing -----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_pause_and_resume_around_a_restart(own_postgres, make_proxy):
    """What an operator does to restart a server without an error at any client."""
    proxy = make_proxy(plain(own_postgres, size=2))
    client, console = Wire(proxy, "app", user="app"), Wire(proxy, "pgshunt", user="admin")
    client.query("CREATE TABLE kept (n int)")
    assert tags(console.ask(query("PAUSE"))) == ["PAUSE"]
    assert not show(proxy, "SERVERS")
    client.send(run("INSERT INTO kept VALUES (1) RETURNING n"), sync())
    own_postgres.restart()
    assert client.silent(0.1)
    assert tags(console.ask(query("RESUME"))) == ["RESUME"]
    assert rows(client.until_ready()) == [["1"]]
    client.close()
    console.close()


# --- stopping ----------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_drain(make_proxy, app_postgres, which):
    proxy = make_proxy(plain(app_postgres, size=4))
    idle, running, extended, begun = (Wire(proxy, "app", user="app") for _ in range(4))
    begun.query("BEGIN")
    running.send(query("SELECT pg_sleep(0.4), 'done'"))
    extended.send(run("SELECT pg_sleep(0.4), 'done'"), sync())
    wait_until(lambda: app_postgres.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%(0.4)%' "
        "AND pid <> pg_backend_pid()") == [(2,)])
    proxy.signal(which)
    # Idle clients are told at once, newcomers find the door closed.
    assert errors(idle.until_closed()) == ["57P01"]
    wait_until(lambda: refuses(proxy))
    # Work under way is finished, and its client told then.
    for client in (running, extended):
        answers = client.until_closed()
        assert rows(answers) == [["", "done"]]
        assert types(answers).endswith("ZE") and errors(answers) == ["57P01"]
    assert begun.value("SELECT 1") == "1"
    assert proxy.running()
    begun.send(query("COMMIT"))
    answers = begun.until_closed()
    assert tags(answers) == ["COMMIT"] and errors(answers) == ["57P01"]
    assert proxy.wait() == 0


def refuses(proxy):
    try:
        socket.create_connection((proxy.host, proxy.port), timeout=1).close()
    except ConnectionRefusedError:
        return True


@pytest.mark.smoke
def test_a_second_signal_hurries(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres))
    begun, running = Wire(proxy, "app", user="app"), Wire(proxy, "app", user="app")
    begun.query("BEGIN")
    running.send(query("SELECT pg_sleep(60)"))
    wait_until(lambda: len(show(proxy, "SERVERS")) == 2)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: refuses(proxy))
    proxy.signal(signal.SIGTERM)
    for client in (begun, running):
        assert errors(client.until_closed()) == ["57P01"]
    assert proxy.wait(10) == 0


def test_waiting_clients_are_served_before_the_end(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres, size=1))
    begun, waiting = Wire(proxy, "app", user="app"), Wire(proxy, "app", user="app")
    begun.query("BEGIN")
    waiting.send(query("SELECT 'served'"))
    wait_until(lambda: show(proxy, "POOLS")[0]["cl_waiting"] == 1)
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: refuses(proxy))
    begun.send(query("COMMIT"))
    assert rows(waiting.until_closed()) == [["served"]]
    assert tags(begun.until_closed()) == ["COMMIT"]
    assert proxy.wait() == 0


def test_nothing_is_left_on_the_server(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres))
    with Wire(proxy, "app", user="app") as client:
        pid = client.backend_pid()
        client.query("LISTEN something")
    proxy.stop(signal.SIGTERM)
    wait_until(lambda: not app_postgres.execute(
        f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"))


@pytest.mark.smoke
def test_by_unix_socket(make_proxy, app_postgres):
    port = free_port()
    proxy = make_proxy(lambda folder: plain(app_postgres, unix_socket_dir=str(folder), listen_addr=[],
                                            listen_port=port, unix_socket_mode="0700"), start=False)
    path = proxy.folder / f".s.PGSQL.{port}"
    proxy.start(wait=False)
    # Its file is there a moment before anybody listens.
    connection = wait_until(lambda: psycopg2.connect(host=str(proxy.folder), port=port, dbname="app",
                                                     user="app"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
    connection.close()
    assert path.stat().st_mode & 0o777 == 0o700
    proxy.stop()
    assert not path.exists()
