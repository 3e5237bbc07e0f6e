"""Statements that concern several shards: what drivers make of them, who waits for whom, and what is
left when one shard fails."""

import asyncio
import threading

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest

from differential.world import PARTS
from harness import wait_until
from harness.postgres import PASSWORD, SUPERUSER
from harness.wire import Wire, bind, describe_portal, errors, execute, parse, query, rows, sync, types


@pytest.fixture(autouse=True)
def as_in_the_beginning(world):
    world.reset()


def options(world, **more):
    return {"host": world.servers[0].host, "port": world.proxy.port, "user": SUPERUSER, "password": PASSWORD, **more}


@pytest.fixture
def connect(world):
    made = []

    def connect(**more):
        made.append(psycopg.connect(**options(world, dbname=PARTS, **more)))
        return made[-1]
    yield connect
    for connection in made:
        connection.close()


def counts(world, table):
    return [int(server.execute(f"SELECT count(*) FROM {table}", dbname=PARTS)[0][0]) for server in world.servers]


def test_rows_go_to_their_shards(world, connect):
    with connect(autocommit=True) as connection:
        before = sum(counts(world, "posts"))
        rows = ", ".join(f"({n}, {n}, 'row {n}', 1)" for n in range(1000, 6000))
        done = connection.execute(f"INSERT INTO posts VALUES {rows} RETURNING user_id")
        assert done.statusmessage == "INSERT 0 5000"
        assert [row[0] for row in done] == list(range(1000, 6000))  # in the order of VALUES
        after = counts(world, "posts")
        assert sum(after) == before + 5000 and min(after) > 1000
        assert connection.execute("DELETE FROM posts WHERE id >= 1000").rowcount == 5000


def test_a_failed_row_leaves_none(world, connect):
    with connect(autocommit=True) as connection:
        before = counts(world, "users")
        for bad in ("(101, 'x'), (102, 'longer than twelve letters'), (103, 'x'), (104, 'x')",
                    "(1, 'there already'), (105, 'x'), (106, 'x'), (107, 'x')"):
            with pytest.raises(psycopg.Error):
                connection.execute(f"INSERT INTO users (id, nick) VALUES {bad}")
        assert counts(world, "users") == before


def test_batches_of_psycopg(world, connect):
    with connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO posts (user_id, id, body) VALUES (%s, %s, %s), (%s, %s, %s)",
                           [(n, n, "a", n + 1, n, "b") for n in range(200, 300)])
        connection.commit()
        cursor.execute("SELECT user_id FROM posts WHERE user_id = ANY (%s) ORDER BY id, user_id", ([200, 250, 300],))
        assert [row[0] for row in cursor.fetchall()] == [200, 250, 250, 300]
        cursor.execute("UPDATE posts SET likes = 7 WHERE user_id = ANY (%s)", ([200, 250, 300],))
        assert cursor.rowcount == 4
        connection.commit()


def test_values_of_psycopg2(world):
    with psycopg2.connect(**options(world, dbname=PARTS)) as connection, connection.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, "INSERT INTO posts (user_id, id, body) VALUES %s RETURNING user_id",
                                       [(n, 1, "text") for n in range(400, 500)])
    connection.close()
    assert sum(counts(world, "posts WHERE user_id BETWEEN 400 AND 499")) == 100


def test_arrays_and_rows_of_asyncpg(world):
    async def run():
        connection = await asyncpg.connect(**options(world, database=PARTS))
        try:
            rows = await connection.fetch("SELECT id FROM users WHERE id = ANY ($1) ORDER BY id", [3, 5, None, 8, 999])
            assert [row["id"] for row in rows] == [3, 5, 8]
            assert await connection.fetch("SELECT id FROM users WHERE id = ANY ($1)", []) == []
            tag = await connection.execute("INSERT INTO posts (user_id, id) VALUES ($1, $2), ($3, $4), ($5, $6)",
                                           501, 1, 502, 2, 503, 3)
            assert tag == "INSERT 0 3"
            rows = await connection.fetch("UPDATE posts SET likes = $2 WHERE user_id = ANY ($1::bigint[]) RETURNING id, likes",
                                          [501, 502, 503], 4)
            assert sorted(tuple(row) for row in rows) == [(1, 4), (2, 4), (3, 4)]
            words = await connection.fetch("SELECT k FROM words WHERE k = ANY ($1)", ["a", "x y", "back\\slash"])
            assert sorted(row["k"] for row in words) == ["a", "back\\slash", "x y"]
        finally:
            await connection.close()
    asyncio.run(run())


def test_writers_of_many_shards_do_not_deadlock(world, connect):
    """Each writes the same rows, in transactions of their own; the shards never wait in a ring."""
    failures = []

    def write(number):
        try:
            with connect(autocommit=True) as connection:
                connection.execute("SET statement_timeout = '20s'")
                for turn in range(15):
                    keys = [1 + (number + turn + k) % 24 for k in range(0, 12, 2)]
                    if turn % 3:
                        connection.execute("UPDATE users SET score = coalesce(score, 0) + 1 WHERE id = ANY (%s)", (keys,))
                    else:
                        connection.execute("UPDATE users SET score = coalesce(score, 0) + 1")
        except psycopg.Error as error:
            failures.append(error)
    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Rows of one shard in another order may still deadlock there, as on one server, which then says so.
    assert not [each for each in failures if each.sqlstate != "40P01"]


def test_commands_reach_all_shards(world, connect):
    with connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE public.later (a bigint PRIMARY KEY)")
        connection.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS users_name ON users (name)")
        for server in world.servers:
            assert server.execute("SELECT to_regclass('public.later') IS NOT NULL AND to_regclass('users_name') IS NOT NULL",
                                  dbname=PARTS)[0][0] in (True, "t")
        with connection.transaction():
            connection.execute("ALTER TABLE public.later ADD b int")
            raise psycopg.Rollback
        connection.execute("ANALYZE users")
        connection.execute("VACUUM users")
        connection.execute("DROP INDEX users_name")
        connection.execute("DROP TABLE public.later")
        with connection.transaction():
            connection.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            connection.execute("TRUNCATE posts")
        assert counts(world, "posts") == [0, 0, 0]
        with pytest.raises(psycopg.errors.NoActiveSqlTransaction):
            connection.execute("LOCK TABLE users")
        with connection.transaction(), pytest.raises(psycopg.errors.ActiveSqlTransaction):
            connection.execute("VACUUM users")


def test_a_command_that_one_shard_refuses_names_those_that_have_it(world, connect):
    last = world.servers[2]
    last.psql("CREATE TABLE in_the_way (a int)", PARTS)
    try:
        with connect(autocommit=True) as connection:
            with pytest.raises(psycopg.errors.DuplicateTable) as caught:
                connection.execute("CREATE INDEX CONCURRENTLY in_the_way ON users (name)")
            assert "shard3" in str(caught.value) and "shard1" in caught.value.diag.message_hint
            with pytest.raises(psycopg.errors.DuplicateTable):
                connection.execute("CREATE TABLE in_the_way (a int)")
            last.psql("DROP TABLE in_the_way", PARTS)
            connection.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS in_the_way ON users (name)")
            connection.execute("DROP INDEX in_the_way")
    finally:
        last.psql("DROP TABLE IF EXISTS in_the_way", PARTS)


def test_a_message_of_several_statements_is_all_or_nothing(world, connect):
    with connect(autocommit=True) as connection:
        before = counts(world, "users")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("INSERT INTO users (id) VALUES (201); INSERT INTO users (id) VALUES (202), (203), (204); "
                               "SELECT 1 / 0; INSERT INTO users (id) VALUES (205)")
        assert counts(world, "users") == before
        connection.execute("INSERT INTO users (id) VALUES (201); UPDATE users SET score = 1; COMMIT; SELECT 1")
        assert sum(counts(world, "users")) == sum(before) + 1
        wait_until(lambda: connection.execute("SELECT count(*) FROM countries").fetchone())


def test_explain_tells_where_a_statement_goes(connect):
    with connect(autocommit=True) as connection:
        def explain(sql, options="PGSHUNT"):
            return [row[0] for row in connection.execute(f"EXPLAIN ({options}) {sql}")]
        assert explain("SELECT * FROM users WHERE id = 5")[0] == "Route: one shard"
        lines = explain("SELECT name FROM users ORDER BY id LIMIT 3")
        assert lines[0] == "Route: read of several shards" and "merge by 1" in lines[-1] and "take 3" in lines[-1]
        assert len([line for line in lines if "  Shard shard" in line]) == 3
        (plan,) = explain("UPDATE users SET score = 0", "PGSHUNT, FORMAT JSON")
        assert plan[0]["Route"] == "write of several shards" and len(plan[0]["Shards"]) == 3
        assert explain("SELECT 1")[0] == "Route: any shard"
        (shard,) = explain("SELECT count(*) FROM users /* pgshunt: shard=shard2 */", "PGSHUNT, FORMAT JSON")[0][0]["Shards"]
        assert shard["Shard"] == "shard2"
        for hinted in (connection.execute("/* pgshunt: shard=shard2 */ EXPLAIN (PGSHUNT) SELECT count(*) FROM users"),):
            lines = [row[0] for row in hinted]
            assert lines[:2] == ["Route: one shard", "  Why: the hint shard=shard2 says so"]
        assert sum(row[0] for row in connection.execute("SELECT score FROM users WHERE score = 0")) == 0


@pytest.mark.parametrize("extended", [False, True])
def test_rows_of_returning_are_not_kept(world, extended):
    """They stream, however many: in memory are those that a slow client has not taken."""
    count, size = 3000, 16_000
    with psycopg.connect(**options(world, dbname=PARTS), autocommit=True) as connection:
        connection.execute("INSERT INTO posts VALUES "
                           + ", ".join(f"({n}, {n}, '', 1)" for n in range(10_000, 10_000 + count)))
    sql = f"UPDATE posts SET likes = 5 WHERE id >= 10000 RETURNING id, repeat('x', {size})"
    before = world.proxy.memory()
    with Wire(world.proxy, PARTS, user=SUPERUSER, password=PASSWORD, receive_buffer=4096, timeout=60) as lazy:
        lazy.send(parse("", sql) + bind() + describe_portal() + execute() + sync() if extended else query(sql))
        wait_until(lambda: any(server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND "
                                              "query LIKE 'UPDATE posts%'") for server in world.servers))
        assert world.proxy.memory() - before < 16 << 20
        answers = lazy.until_ready()
        assert types(answers) == ("12" if extended else "") + "T" + "D" * count + "CZ"
        assert world.proxy.memory() - before < 16 << 20
    assert [answer.body for answer in answers if answer.type == "C"] == [b"UPDATE 3000\0"]


@pytest.mark.parametrize("sql", ["DELETE FROM users", "SELECT id FROM users"])
def test_what_is_only_bound_does_not_run(world, sql):
    before = counts(world, "users")
    with Wire(world.proxy, PARTS, user=SUPERUSER, password=PASSWORD) as wire:
        answers = wire.ask(parse("", sql), bind(), sync())
        assert errors(answers) in ([], ["0A000"]), answers
        assert not rows(answers)
        assert wire.query("SELECT 1")
    assert counts(world, "users") == before


def test_explain_in_a_message_of_several_statements(world):
    with Wire(world.proxy, PARTS, user=SUPERUSER, password=PASSWORD) as wire:
        answers = wire.ask(query("EXPLAIN (PGSHUNT, ANALYZE) SELECT 1; SELECT 5"))
        assert not errors(answers) and rows(answers)[0] == ["Route: any shard"] and rows(answers)[-1] == ["5"]


def test_explain_analyze_tells_what_each_shard_did(world, connect):
    with connect() as connection:
        def explain(sql, options="PGSHUNT, ANALYZE"):
            return [row[0] for row in connection.execute(f"EXPLAIN ({options}) {sql}")]
        there = counts(world, "users")
        lines = explain("SELECT name FROM users ORDER BY id")
        assert [f"rows={count}" in line for count, line in zip(there, (line for line in lines if "rows=" in line))] == [True] * 3
        assert lines[-1].startswith("Execution Time: ")
        (plan,) = explain("SELECT * FROM users WHERE id = 5", "PGSHUNT, ANALYZE, FORMAT JSON")
        (part,) = plan[0]["Shards"]
        assert part["Actual Rows"] == 1 and part["Actual Time"] > 0 and part["Explain"][0]["Plan"]["Node Type"]
        assert plan[0]["Execution Time"] > 0
        (plan,) = explain("UPDATE users SET score = 77 RETURNING id", "ANALYZE, PGSHUNT, FORMAT JSON")
        assert [int(part["Actual Rows"]) for part in plan[0]["Shards"]] == there
        assert len(connection.execute("SELECT id FROM users WHERE score = 77").fetchall()) == sum(there)
        connection.rollback()
        connection.autocommit = True
        explain("UPDATE users SET score = 78")
        explain("UPDATE countries SET name = 'x'")
        explain("INSERT INTO users (id) VALUES (901), (902), (903), (904)")
        explain("UPDATE users SET score = 79 WHERE id = 5")
        assert len(connection.execute("SELECT id FROM users WHERE score = 78").fetchall()) == sum(there) - 1
        assert len(connection.execute("SELECT id FROM users WHERE id > 900").fetchall()) == 4
        assert {row[0] for row in connection.execute("SELECT name FROM countries")} == {"x"}
        with pytest.raises(psycopg.errors.UniqueViolation):
            explain("INSERT INTO users (id) VALUES (901), (902), (905), (906)")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            explain("SELECT pg_advisory_lock(5)")
        assert explain("SELECT 1", "PGSHUNT, ANALYZE off")[0] == "Route: any shard"
