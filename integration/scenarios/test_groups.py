"""Groups of several shards that the proxy puts together: what the differential tester does not ask. Cancelling, slow
clients, errors on the way, sorting beyond its memory, transactions, and what must not be given groups."""

import asyncio
import threading

import asyncpg
import psycopg
import pytest

from beside import answer, connection, parts, whole  # noqa: F401
from differential.world import PARTS, WHOLE, World
from harness import wait_until
from harness.postgres import PASSWORD, SUPERUSER

GROUPS = 30_000
MANY = "SELECT user_id, count(*) AS n, sum(likes), repeat('x', 100) FROM posts GROUP BY user_id ORDER BY "


@pytest.fixture(scope="module")
def world(shards, shared_proxy, tmp_path_factory):
    spill = tmp_path_factory.mktemp("spill")

    def proxy(config):
        config["pgshunt"] = {**config.get("pgshunt", {}), "sort_memory": "64KB", "spill_directory": str(spill)}
        return shared_proxy(config)
    world = World(shards, proxy)
    world.spill = spill
    return world


@pytest.fixture
def many(parts, whole):
    """Both have a row for each of many users, and a second one for every third."""
    for client in (parts, whole):
        with client.cursor().copy("COPY posts (user_id, id, body, likes) FROM STDIN") as copy:
            for n in range(GROUPS):
                copy.write_row((n + 1000, 1, "x", n * 7919 % 1000))
                if n % 3 == 0:
                    copy.write_row((n + 1000, 2, "y", 1))


def route(parts, sql):
    return "\n".join(line for (line,) in parts.execute("EXPLAIN (PGSHUNT) " + sql).fetchall())


def test_explained(parts):
    text = route(parts, "SELECT country, count(*), avg(score) FROM users GROUP BY country ORDER BY 2 DESC")
    assert "groups merged by 1 sorted columns, 2 aggregates put together, sort by 1 columns" in text, text
    assert text.startswith("Route: read of several shards"), text
    # Under a collation groups come in the order of bytes, which is as good as any.
    text = route(parts, "SELECT word, count(*) FROM items GROUP BY word")
    assert 'ORDER BY (word) COLLATE "C"' in text and "groups merged" in text, text
    assert "merge node" in route(parts, "SELECT word, count(*) FROM items GROUP BY word ORDER BY word")
    assert "the shards' rows become one" in route(parts, "SELECT count(*) FROM users")
    assert "merge node" in route(parts, "SELECT count(*) FROM users HAVING count(*) > 1")


def test_nothing_is_left_in_the_catalogs(world, parts):
    """No temporary tables: that is what it is for."""
    def rows():
        return [server.execute("SELECT n_tup_ins FROM pg_stat_sys_tables WHERE relname = 'pg_class'", dbname=PARTS)
                for server in world.servers]
    before = rows()
    for _ in range(20):
        assert answer(parts, "SELECT count(*) FROM users")[0][0] > 0
    for server in world.servers:
        server.execute("SELECT pg_stat_force_next_flush()", dbname=PARTS)
    assert rows() == before


@pytest.mark.parametrize("order", ["n DESC, 1", "1", "sum(likes) DESC, user_id LIMIT 50", "3, 1 DESC LIMIT 7 OFFSET 20000", "n, 3, 1"])
def test_sorted_beyond_its_memory(world, parts, whole, many, order):
    for client_format in (False, True):
        ours = parts.cursor(binary=client_format).execute(MANY + order)
        theirs = whole.cursor(binary=client_format).execute(MANY + order)
        assert [(column.name, column.type_code) for column in ours.description] == \
            [(column.name, column.type_code) for column in theirs.description]
        assert ours.fetchall() == theirs.fetchall()
    assert not list(world.spill.iterdir()), "files have no names"


def test_a_disk_that_is_not_there(world, parts, many):
    world.spill.rmdir()
    try:
        assert answer(parts, MANY + "n, 1") == "58030"
        assert len(answer(parts, MANY + "1")) == GROUPS + len({user for (user,) in parts.execute(
            "SELECT DISTINCT user_id FROM posts WHERE user_id < 1000").fetchall()})
    finally:
        world.spill.mkdir()
    assert answer(parts, MANY + "n, 1 LIMIT 1") != "58030"


def test_an_error_in_the_middle(parts, many):
    """Some groups have been sent when a shard comes to one that it cannot make."""
    sql = "SELECT user_id, sum(1 / (likes - 500)) FROM posts WHERE user_id > 1000 GROUP BY user_id ORDER BY user_id"
    parts.execute("SET enable_hashagg = off")
    assert answer(parts, sql) == "22012"
    assert answer(parts, "SELECT 1") == [(1,)]
    parts.execute("BEGIN")
    assert answer(parts, sql) == "22012"
    assert answer(parts, "SELECT 1") == "25P02"
    parts.execute("ROLLBACK")


def test_sums_are_wider_than_what_they_are_of(parts, whole):
    for client in (parts, whole):
        client.execute("INSERT INTO posts SELECT n, 1, 'x', 2147483647 FROM generate_series(2000, 2100) n")
    sql = "SELECT sum(likes), sum(likes::bigint), avg(likes), sum(9223372036854775807 - likes) FROM posts"
    assert answer(parts, sql) == answer(whole, sql)


def test_a_client_that_cancels_or_goes(world, parts, many):
    slow = "SELECT user_id, count(pg_sleep(0.01)) FROM posts GROUP BY user_id ORDER BY 2 DESC"
    for end in ("cancel", "close"):
        client = connection(world)
        failed = []

        def ask(client=client, failed=failed):
            try:
                client.execute("/* pgshunt waits */ " + slow)
            except psycopg.Error as error:
                failed.append(error)
        asking = threading.Thread(target=ask)
        asking.start()

        def running():
            return [server.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(0.01)%%' AND state = 'active' "
                                   "AND pid <> pg_backend_pid()") for server in world.servers]
        wait_until(lambda: any(running()) or failed, 10, "it runs")
        if end == "cancel":
            client.cancel()
        else:
            client.pgconn.finish()
        asking.join(20)
        assert not asking.is_alive() and failed
        wait_until(lambda: not any(running()), 20, "nobody works for it any more")
        client.close()
    assert answer(parts, "SELECT count(*) FROM posts WHERE user_id >= 1000") == [(GROUPS + GROUPS // 3,)]


def test_a_slow_client(parts, world, many):
    """Shards wait for it, and so does what is sorted."""
    for order in ("1", "n DESC, 1"):
        with connection(world) as client:
            rows = client.cursor().stream(MANY.replace("100", "1000") + order)
            next(rows)
            # It reads no further for now: others are served meanwhile, by as much memory as before.
            for _ in range(20):
                assert answer(parts, "SELECT count(*) FROM users")[0][0] > 0
            assert sum(1 for _ in rows) >= GROUPS - 1


def test_the_first_row(world, many):
    """Execute asks for one row only, which must be the first of all."""
    async def first(database, sql):
        port = world.proxy.port if database == PARTS else world.servers[0].port
        client = await asyncpg.connect(host=world.servers[0].host, port=port, user=SUPERUSER, password=PASSWORD, database=database)
        try:
            return [tuple(await client.fetchrow(sql)) for _ in range(2)]
        finally:
            await client.close()
    for sql in (MANY + "n DESC, 1", MANY + "1 DESC", MANY + "1 OFFSET 3", "SELECT count(*) FROM posts", "SELECT DISTINCT likes FROM posts ORDER BY 1"):
        assert asyncio.run(first(PARTS, sql)) == asyncio.run(first(WHOLE, sql)), sql


def test_transactions_see_what_they_have_written(parts, whole):
    sql = "SELECT active, count(*), sum(score) FROM users GROUP BY active ORDER BY 2 DESC, 3, 1"
    for mode in ("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ"):
        for client in (parts, whole):
            client.execute(mode)
            client.execute("UPDATE users SET score = 3, active = NOT active WHERE id < 12")
            client.execute("SAVEPOINT a")
            client.execute("DELETE FROM users WHERE id > 15")
        assert answer(parts, sql) == answer(whole, sql)
        for client in (parts, whole):
            client.execute("ROLLBACK TO a")
        assert answer(parts, sql) == answer(whole, sql)
        for client in (parts, whole):
            client.execute("ROLLBACK")
        assert answer(parts, sql) == answer(whole, sql)


def test_types_that_only_shards_know(parts, whole):
    """An expression turns out to be of a type without an order here: it begins anew at the merge node, in a transaction too."""
    for sql in ("SELECT span * 2, count(*) FROM users GROUP BY 1 ORDER BY 1", "SELECT sum(ratio * small) FROM users WHERE ratio < 100",
                "SELECT DISTINCT doc -> 'a' FROM users ORDER BY 1", "SELECT max(words[1]) FROM users"):
        assert answer(parts, sql) == answer(whole, sql), sql
        parts.execute("BEGIN")
        assert answer(parts, sql) == answer(whole, sql), sql
        parts.execute("COMMIT")


def bytes_of(client, sql):
    result = client.execute(sql).pgresult
    return [[result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples)]


def test_dates_of_other_styles(parts, whole):
    for style in ("German", "SQL, DMY", "ISO"):
        for client in (parts, whole):
            client.execute(f"SET datestyle = '{style}'")
        for sql in ("SELECT born::date, count(*) FROM users GROUP BY 1 ORDER BY 1", "SELECT min(seen), max(noted) FROM users",
                    "SELECT DISTINCT date_trunc('month', seen) FROM users ORDER BY 1"):
            assert bytes_of(parts, sql) == bytes_of(whole, sql), (style, sql)


def test_prepared_once_and_run_often(parts, whole):
    sql = "SELECT small + %s, count(*), avg(score) FROM users WHERE id > %s GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %s"
    for low in range(0, 20, 3):
        assert answer(parts, sql, 1, low, 5, prepare=True) == answer(whole, sql, 1, low, 5)
    assert answer(parts, sql, 1, 5, None, prepare=True) == answer(whole, sql, 1, 5, None)


def test_who_takes_rows_is_not_given_groups(parts, whole):
    """What one shard says of a group is not what is to be stored."""
    for insert in ("INSERT INTO posts SELECT small, count(*)::int, 'x', 1 FROM users WHERE small > 0 GROUP BY small",
                   "INSERT INTO posts SELECT DISTINCT 5000 + small, 1, 'x', 1 FROM users WHERE small > 0",
                   "INSERT INTO posts SELECT 6000, count(*)::int, 'x', 1 FROM users WHERE id IN (1, 2, 3, 4, 5, 6)",
                   "INSERT INTO countries SELECT count(*)::text, 'x', 1, NULL FROM users"):
        ours = answer_of_write(parts, insert)
        if ours == "0A000":
            continue
        assert ours == answer_of_write(whole, insert), insert
        for table in ("posts", "countries"):
            rows = f"SELECT t::text FROM {table} t ORDER BY t::text COLLATE \"C\""
            assert answer(parts, rows) == answer(whole, rows), insert


def test_copied(parts, whole):
    for query, ordered in (("SELECT count(*) FROM users", True), ("SELECT DISTINCT small, country FROM users", False),
                           ("SELECT small, count(*), avg(score) FROM users GROUP BY small ORDER BY 2 DESC, 1 LIMIT 3", True)):
        for options in ("", "(FORMAT csv, HEADER)", "(FORMAT binary)"):
            blocks = []
            for client in (parts, whole):
                with client.cursor().copy(f"COPY ({query}) TO STDOUT {options}") as copy:
                    blocks.append([bytes(block) for block in copy])
            # Where a message ends is nobody's business.
            whole_answers = [b"".join(each) for each in blocks]
            if ordered:
                assert whole_answers[0] == whole_answers[1], (query, options)
            else:
                assert sorted(whole_answers[0]) == sorted(whole_answers[1]), (query, options)


def test_in_portions(parts, whole):
    query = "SELECT small, count(*) AS n, avg(score) FROM users GROUP BY small ORDER BY n DESC, small"
    portions = []
    for client in (parts, whole):
        with client.transaction(), client.cursor(name="c") as cursor:
            cursor.execute(query)
            portions.append([cursor.fetchmany(2), cursor.fetchone(), cursor.fetchall()])
    assert portions[0] == portions[1]

    async def by_portal(database):
        port = parts.info.port if database == PARTS else whole.info.port
        client = await asyncpg.connect(host=parts.info.host, port=port, user=SUPERUSER, password=PASSWORD, database=database)
        try:
            async with client.transaction():
                return [tuple(row) async for row in client.cursor(query, prefetch=2)]
        finally:
            await client.close()
    assert asyncio.run(by_portal(PARTS)) == asyncio.run(by_portal(WHOLE))


def answer_of_write(client, sql):
    try:
        return client.execute(sql).statusmessage
    except psycopg.Error as error:
        return error.sqlstate
