"""More clients than servers: who waits, for how long, in which order, and what ends by itself."""

import time

import pytest

from harness import wait_until
from harness.config import plain
from harness.wire import (ServerError, Wire, copy_data, errors, message, query, rows, run, startup,
                          sync, types)
from pooling import Clients


@pytest.fixture
def clients_of(make_proxy, app_postgres):
    """clients_of(size=..., key=value...) is the maker of clients of a proxy so configured."""
    made = []

    def make(database=None, users=None, **general):
        config = plain(app_postgres, **{"size": 1, **general})
        config["databases"]["app"] |= {"dbname": "app", **(database or {})}
        config["databases"]["second"] = {**config["databases"]["app"]}
        for name, keys in (users or {}).items():
            config["users"][name] |= keys
        clients = Clients(make_proxy(config))
        made.append(clients)

        def client(database="app", user="app", **options):
            return clients(database, user, **options)
        client.proxy = clients.proxy
        return client
    yield make
    for clients in made:
        clients.close()


def hold(client):
    client.query("BEGIN")
    return client


def closed_with(client, fields=None):
    answers = client.until_closed()
    assert [a.type for a in answers] == ["E"], [str(a) for a in answers]
    fields = answers[0].fields
    assert fields["S"] == "FATAL"
    return fields["C"], fields["M"]


def pool(proxy, name, database="app"):
    """A column of SHOW POOLS, of user app."""
    connection = proxy.connect("pgshunt", "admin")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW POOLS")
            names = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                found = dict(zip(names, row))
                if (found["database"], found["user"]) == (database, "app"):
                    return found[name]
            return 0
    finally:
        connection.close()


# --- waiting -----------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("request_", [query("SELECT 1"), run("SELECT 1") + sync()],
                         ids=["simple", "extended"])
def test_who_waits_too_long_is_told_and_may_try_again(clients_of, request_):
    client = clients_of(query_wait_timeout=0.3)
    holder, waiting = hold(client()), client()
    answers = waiting.ask(request_)
    assert types(answers) == "EZ"
    fields = answers[0].fields
    assert (fields["C"], fields["S"]) == ("53300", "ERROR")
    assert "query_wait_timeout" in fields["M"] and "SHOW POOLS" in fields["H"]
    holder.query("COMMIT")
    assert rows(waiting.ask(request_)) == [["1"]]


def test_a_pipeline_that_waits_too_long_runs_nothing(clients_of, app_postgres):
    client = clients_of(query_wait_timeout=0.3)
    holder, waiting = hold(client()), client()
    waiting.send(run("SELECT 1"), run("SELECT 2"), sync(), query("SELECT 3"))
    assert types(waiting.until_ready()) == "EZ"
    holder.query("COMMIT")
    assert rows(waiting.until_ready()) == [["3"]]


@pytest.mark.parametrize("workers", [1, 3])
def test_first_come_first_served(clients_of, workers):
    client = clients_of(workers=workers)
    waiting = [client() for _ in range(9)]
    holder = hold(client())
    for number, one in enumerate(waiting, 1):
        one.send(query("SELECT clock_timestamp()"))
        wait_until(lambda: pool(client.proxy, "cl_waiting") == number)
    holder.query("ROLLBACK")
    times = [rows(one.until_ready())[0][0] for one in waiting]
    assert times == sorted(times)


def test_a_busy_client_does_not_overtake(clients_of):
    """Who gives the server back and wants it again stands behind those that wait."""
    client = clients_of()
    busy, waiting = hold(client()), client()
    waiting.send(query("SELECT clock_timestamp()"))
    wait_until(lambda: pool(client.proxy, "cl_waiting") == 1)
    busy.query("COMMIT")
    after = busy.query("SELECT clock_timestamp()")
    assert rows(waiting.until_ready()) < after


def test_who_gives_up_makes_room(clients_of):
    client = clients_of()
    holder, gone, waiting = hold(client()), client(), client()
    for number, one in enumerate((gone, waiting), 1):
        one.send(query("SELECT 'served'"))
        wait_until(lambda: pool(client.proxy, "cl_waiting") == number)
    gone.drop()
    wait_until(lambda: pool(client.proxy, "cl_waiting") == 1)
    holder.query("COMMIT")
    assert rows(waiting.until_ready()) == [["served"]]


def test_many_more_clients_than_servers(clients_of, app_postgres):
    client = clients_of(size=3, workers=2)
    app_postgres.execute("DROP TABLE IF EXISTS crowd; CREATE TABLE crowd (n int); "
                         "ALTER TABLE crowd OWNER TO app", dbname="app")
    crowd = [client() for _ in range(60)]
    for _ in range(5):
        for number, one in enumerate(crowd):
            one.send(query(f"INSERT INTO crowd VALUES ({number})"))
        for one in crowd:
            assert types(one.until_ready()) == "CZ"
    assert app_postgres.execute("SELECT count(*), count(DISTINCT n) FROM crowd",
                                dbname="app") == [(300, 60)]
    assert pool(client.proxy, "sv_idle") == 3


# --- how many ----------------------------------------------------------------------------------


@pytest.mark.smoke
def test_max_client_conn(clients_of):
    client = clients_of(max_client_conn=3)
    here = [client() for _ in range(3)]
    with pytest.raises(ServerError, match=r"53300 no more connections allowed \(max_client_conn\)"):
        client()
    with Wire(client.proxy, "pgshunt", user="admin"):   # who looks why must get in
        pass
    here.pop().close()
    wait_until(lambda: client())
    assert here[0].value("SELECT 1") == "1"


@pytest.mark.parametrize("keys, reached, other", [
    ({"database": {"max_db_client_connections": 2}}, "max_db_client_connections", ("second", "app")),
    ({"users": {"app": {"max_user_client_connections": 2}}}, "max_user_client_connections",
     ("app", "other")),
])
def test_client_limits_of_a_database_and_a_user(clients_of, keys, reached, other):
    client = clients_of(workers=2, **keys)
    here = [client() for _ in range(2)]
    with pytest.raises(ServerError, match=rf"53300 no more connections allowed \({reached}\)"):
        client()
    assert client(*other).value("SELECT 1") == "1"
    here.pop().close()
    wait_until(lambda: client())


@pytest.mark.parametrize("keys", [{"max_db_connections": 2}, {"database": {"max_db_connections": 2}}])
def test_servers_of_a_database_over_all_users(clients_of, keys):
    client = clients_of(size=5, **keys)
    first, second, third = hold(client()), hold(client(user="other")), client()
    third.send(query("SELECT 1"))
    wait_until(lambda: pool(client.proxy, "cl_waiting") == 1)
    second.query("COMMIT")      # its user's pool gives up a server for the other's
    assert types(third.until_ready()) == "TDCZ"
    assert first.value("SELECT 1") == "1"


@pytest.mark.parametrize("keys", [{"max_user_connections": 2},
                                  {"users": {"app": {"max_user_connections": 2}}}])
def test_servers_of_a_user_over_all_databases(clients_of, keys):
    client = clients_of(size=5, **keys)
    first, second, third = hold(client()), hold(client("second")), client()
    third.send(query("SELECT 1"))
    wait_until(lambda: pool(client.proxy, "cl_waiting") == 1)
    assert client(user="other").value("SELECT 1") == "1"
    second.query("COMMIT")
    assert types(third.until_ready()) == "TDCZ"
    first.query("COMMIT")


@pytest.mark.parametrize("keys", [{"max_db_connections": 2}, {"max_user_connections": 2}])
def test_idle_servers_make_room_for_another_pool(clients_of, keys):
    """At once, not when one of them is used again."""
    client = clients_of(size=5, **keys)
    first, second = hold(client()), hold(client())
    first.query("COMMIT")
    second.query("COMMIT")
    other = client(user="other") if "max_db_connections" in keys else client("second")
    assert other.value("SELECT 1") == "1"
    assert first.value("SELECT 1") == "1"


@pytest.mark.parametrize("keys", [{"size": 2}, {"database": {"pool_size": 2}},
                                  {"users": {"app": {"pool_size": 2}}}])
def test_the_size_of_a_pool(clients_of, keys):
    client = clients_of(**keys)
    holders = [hold(client()), hold(client())]
    third = client()
    third.send(query("SELECT 1"))
    wait_until(lambda: pool(client.proxy, "cl_waiting") == 1)
    assert third.silent(0.1)
    holders[0].query("COMMIT")
    assert types(third.until_ready()) == "TDCZ"


def test_the_reserve_opens_for_who_has_waited(clients_of):
    client = clients_of(reserve_pool_size=1, reserve_pool_timeout=0.4, query_wait_timeout=20)
    holder, second, third = hold(client()), client(), client()
    began = time.monotonic()
    assert second.query("BEGIN") == []
    assert time.monotonic() - began >= 0.3
    third.send(query("SELECT 1"))
    assert third.silent(0.6)
    holder.query("COMMIT")
    assert types(third.until_ready()) == "TDCZ"


def test_the_least_a_pool_keeps(clients_of):
    client = clients_of(size=4, min_pool_size=3, server_idle_timeout=0.2)
    one = client()
    one.query("SELECT 1")
    wait_until(lambda: pool(client.proxy, "sv_idle") == 3)


# --- how long ----------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [{"server_idle_timeout": 0.2}, {"server_lifetime": 0.2}])
def test_unused_servers_are_closed(clients_of, app_postgres, keys):
    client = clients_of(**keys)
    pid = client().backend_pid()
    wait_until(lambda: not app_postgres.execute(
        f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid}"))
    assert pool(client.proxy, "sv_idle") == 0


def test_lifetime_spares_servers_in_use(clients_of):
    client = clients_of(server_lifetime=0.2)
    holder = hold(client())
    pid = holder.backend_pid()
    assert holder.value("SELECT pg_sleep(0.4)") == ""
    assert holder.backend_pid() == pid
    holder.query("COMMIT")
    assert client().backend_pid() != pid


@pytest.mark.smoke
def test_clients_idle_in_a_transaction(clients_of):
    client = clients_of(idle_transaction_timeout=0.3)
    idle, patient = hold(client()), client()
    waiting = client()
    waiting.send(query("SELECT 'next'"))
    assert closed_with(idle) == ("57P05", "idle_transaction_timeout")
    assert rows(waiting.until_ready()) == [["next"]]
    assert patient.value("SELECT 1") == "1"


def test_a_working_transaction_is_not_idle(clients_of):
    client = clients_of(idle_transaction_timeout=0.3)
    busy = hold(client())
    assert busy.value("SELECT pg_sleep(0.6)") == ""
    assert busy.query("COMMIT") == []


def test_clients_that_do_nothing(clients_of):
    client = clients_of(client_idle_timeout=0.3)
    idle, busy = client(), hold(client())
    assert closed_with(idle) == ("57P05", "client_idle_timeout")
    assert busy.value("SELECT pg_sleep(0.5)") == ""


@pytest.mark.parametrize("begun", [False, True])
def test_queries_that_take_too_long(clients_of, app_postgres, begun):
    client = clients_of(query_timeout=0.3)
    slow, waiting = client(), client()
    if begun:
        slow.query("BEGIN")
    slow.send(query("SELECT pg_sleep(60)"))
    waiting.send(query("SELECT 'next'"))
    assert closed_with(slow) == ("57014", "query_timeout")
    assert rows(waiting.until_ready()) == [["next"]]
    wait_until(lambda: not app_postgres.execute(
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(60)%' "
        "AND pid <> pg_backend_pid()"))


def test_transactions_that_take_too_long(clients_of):
    client = clients_of(transaction_timeout=0.5, size=2)
    slow, busy = hold(client()), client()
    began = time.monotonic()
    with pytest.raises(Exception, match="transaction_timeout"):
        while time.monotonic() - began < 10:
            slow.query("SELECT pg_sleep(0.05)")
            busy.query("SELECT pg_sleep(0.01)")
    assert time.monotonic() - began < 5
    assert busy.value("SELECT 1") == "1"


def test_pinned_clients_that_do_nothing(clients_of):
    client = clients_of(pin_timeout=0.3)
    pinned, waiting = client(), client()
    pinned.query("CREATE TEMP TABLE pinned (n int)")
    waiting.send(query("SELECT to_regclass('pg_temp.pinned') IS NULL"))
    state, text = closed_with(pinned)
    assert state == "57P05" and text.startswith("pin_timeout") and "temporary object" in text
    assert rows(waiting.until_ready()) == [["t"]]


def test_no_more_servers_are_pinned_than_allowed(clients_of):
    client = clients_of(size=2, max_pinned_servers=1)
    first, second = client(), client()
    first.query("CREATE TEMP TABLE pinned (n int)")
    assert second.fails("CREATE TEMP TABLE pinned (n int)") == "53300"
    assert second.value("SELECT 1") == "1"
    # The first may make more; once it lets go of all, the place is the second's. (What is left on a
    # server is asked of it behind the client's back, so others see the place a moment later.)
    first.query("CREATE TEMP TABLE another (n int)")
    first.query("DROP TABLE pinned, another")
    wait_until(lambda: not errors(second.ask(query("CREATE TEMP TABLE pinned (n int)"))))
    # A statement that fails, or that its transaction takes back, keeps no place.
    second.query("DROP TABLE pinned")
    wait_until(lambda: first.fails("CREATE TEMP TABLE wrong (n nonsense)") == "42704")
    wait_until(lambda: not errors(second.ask(query("CREATE TEMP TABLE pinned (n int)"))))
    second.query("DROP TABLE pinned")
    wait_until(lambda: not errors(first.ask(query("BEGIN; CREATE TEMP TABLE pinned (n int)"))) or
               first.query("ROLLBACK"))
    first.query("ROLLBACK")
    wait_until(lambda: not errors(second.ask(query("CREATE TEMP TABLE pinned (n int)"))))
    second.close()
    wait_until(lambda: not errors(first.ask(query("CREATE TEMP TABLE pinned (n int)"))))


def test_a_login_that_waits_for_a_server_has_query_wait_timeout(clients_of):
    client = clients_of(client_login_timeout=0.3, query_wait_timeout=2)
    console = client.proxy.connect("pgshunt", "admin")
    with console.cursor() as cursor:
        cursor.execute("PAUSE app")
    began = time.monotonic()
    with pytest.raises(ServerError, match="query_wait_timeout"):
        client()
    assert time.monotonic() - began > 1.5
    waiting = Wire(client.proxy, "app", user="app", login=False)
    waiting.send_bytes(startup("app", "app"))
    wait_until(lambda: pool(client.proxy, "maxwait") >= 1)     # longer than a login may take
    with console.cursor() as cursor:
        cursor.execute("RESUME app")
    assert waiting.until_ready()[-1].type == "Z"
    waiting.close()
    console.close()


def test_servers_are_checked_before_use(clients_of, app_postgres):
    client = clients_of(server_check_delay=0, server_check_query="SELECT 'checked'")
    pid = client().backend_pid()
    wait_until(lambda: pool(client.proxy, "sv_idle") == 1)
    assert client().value("SELECT 1") == "1"
    assert client().backend_pid() == pid


# --- how large ---------------------------------------------------------------------------------


def test_messages_that_are_too_large(clients_of):
    client = clients_of(max_message_size=10_000)
    for large in (query("SELECT '" + "x" * 10_000 + "'"), run("SELECT " + "1" * 10_000),
                  copy_data(b"x" * 10_001), message("Q", b"")[:1] + b"\x3f\xff\xff\xff"):
        talker = client()
        talker.send(large)
        state, text = closed_with(talker)
        assert state == "54000" and "max_message_size" in text
    assert client().value("SELECT length('" + "x" * 9_000 + "')") == "9000"
    assert errors(client().ask(query("SELEC"))) == ["42601"]


def test_strangers_do_not_take_every_descriptor(clients_of):
    client = clients_of(max_client_conn=2)
    console = client.proxy.connect("pgshunt", "admin")
    strangers = [Wire(client.proxy) for _ in range(110)]
    client.proxy.wait_for_log("client_refused.*not logged in")
    with console.cursor() as cursor:
        cursor.execute("SHOW LISTS")
        assert dict(cursor.fetchall())["login_clients"] <= 104
    for stranger in strangers:
        stranger.drop()
    console.close()
    wait_until(lambda: client().value("SELECT 1") == "1")
