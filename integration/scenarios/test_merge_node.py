"""SELECTs at the merge node, beyond what the differential tester asks: transactions, limits, and what is left behind."""

import threading

import psycopg
import pytest

from beside import answer, connection, parts, whole  # noqa: F401
from differential.world import PARTS, WHOLE, World
from harness import wait_until
from harness.postgres import PASSWORD, SUPERUSER

JOIN = "SELECT count(*), sum(u.score) FROM users u JOIN posts p ON u.score = p.likes"


ODD = """
CREATE DOMAIN small_number AS int;
CREATE TABLE odd (id bigint PRIMARY KEY, date date, year int, ts timestamp, s smallint, d small_number, t text, num numeric, r regclass,
                  kinds regtype[]);
CREATE TABLE parent (id bigint PRIMARY KEY, x int);
CREATE FUNCTION doubled(n int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN IF n > 3 THEN RETURN n * 2; END IF; RETURN n; END $$;
CREATE FUNCTION labelled(t text) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT upper(t) || '!' $$;
CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql STABLE AS $$ SELECT count(*) FROM users $$;
CREATE FUNCTION through(n bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN counted() + n; END $$;
CREATE FUNCTION told(n bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'SELECT count(*) FR' || 'OM users' INTO n; RETURN n; END $$;
CREATE FUNCTION timed() RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() $$;
"""
ODD_ROWS = """INSERT INTO odd VALUES """ + ", ".join(
    f"({n}, '2024-01-0{1 + n % 3}', {2000 + n % 4}, '2024-02-0{1 + n % 5} 12:00', {n % 4}, {n % 3}, '{'abc'[n % 3]}', {n}.{n % 3}1, 'users', "
    f"'{{text,mood}}')" for n in range(1, 25)) + """;
INSERT INTO parent VALUES """ + ", ".join(f"({n}, {n % 5})" for n in range(1, 25)) + ";"


@pytest.fixture(scope="module")
def world(shards, shared_proxy):
    def proxy(config):
        config["databases"][PARTS].update(on_cross_shard_write="two_phase", merge_node=shards[1].name)
        config["pgshunt"] = {**config.get("pgshunt", {}), "merge_rows": 2000, "admin_users": ["admin"]}
        config["users"]["admin"] = {}
        config["databases"][PARTS]["tables"] += [{"name": name, "keyspace": "users", "key": "id"}
                                                 for name in ("odd", "parent")]
        for server in shards:
            server.psql(ODD, PARTS)
        shards[0].psql(ODD + ODD_ROWS, WHOLE)
        made = shared_proxy(config)
        with psycopg.connect(host=shards[0].host, port=made.port, user=SUPERUSER, password=PASSWORD, dbname=PARTS,
                             autocommit=True) as client:
            for statement in filter(None, ODD_ROWS.split(";")):
                client.execute(statement)
        return made
    return World(shards, proxy)


@pytest.fixture(autouse=True)
def nothing_is_left(world):
    """Neither a table, nor a transaction that somebody has forgotten."""
    yield
    for server in world.servers:
        wait_until(lambda server=server: not server.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'pgshunt.%%'", dbname=PARTS), 10, "no temporary table is left")
        wait_until(lambda server=server: not server.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in transaction%%'", (PARTS,)),
            10, "no transaction is open")


def test_a_transaction_sees_what_it_has_written(parts, whole):
    countries = "SELECT c.name, count(*) FROM users u JOIN countries c ON c.code = u.country JOIN posts p ON p.likes = u.small GROUP BY 1 ORDER BY 1"
    for client in (parts, whole):
        client.execute("BEGIN")
        client.execute("UPDATE users SET score = 3 WHERE id < 12")
        client.execute("SAVEPOINT a")
        client.execute("DELETE FROM posts WHERE likes = 3 AND user_id > 10")
    assert answer(parts, JOIN) == answer(whole, JOIN)
    for client in (parts, whole):
        client.execute("ROLLBACK TO a")
        client.execute("UPDATE countries SET name = 'changed' WHERE code = 'DE'")
    assert answer(parts, JOIN) == answer(whole, JOIN)
    assert answer(parts, countries) == answer(whole, countries) and "changed" in str(answer(parts, countries))
    for client in (parts, whole):
        client.execute("ROLLBACK")
    assert answer(parts, countries) == answer(whole, countries)


@pytest.mark.parametrize("mode", ["BEGIN READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"])
def test_modes_of_transactions_are_the_shards(parts, whole, mode):
    for client in (parts, whole):
        client.execute(mode)
    assert answer(parts, JOIN) == answer(whole, JOIN)
    for client in (parts, whole):
        client.execute("COMMIT")


def test_local_settings_hold_there(parts, whole):
    sql = "SELECT current_setting('work_mem'), max(u.noted)::text FROM users u JOIN posts p ON u.score = p.likes"
    for client in (parts, whole):
        client.execute("SET timezone = 'Asia/Tokyo'")
        client.execute("BEGIN")
        client.execute("SET LOCAL work_mem = '77MB'")
    assert answer(parts, sql) == answer(whole, sql)
    for client in (parts, whole):
        client.execute("COMMIT")
    assert answer(parts, sql) == answer(whole, sql)


def test_an_error_there_ends_the_transaction_as_any_other(parts):
    parts.execute("BEGIN")
    assert answer(parts, "SELECT sum(1 / (u.score - u.score)) FROM users u JOIN posts p ON u.score = p.likes") == "22012"
    assert answer(parts, "SELECT 1") == "25P02"
    parts.execute("ROLLBACK")
    assert answer(parts, JOIN) != "25P02"


def test_prepared_once_and_run_often(parts, whole):
    sql = "SELECT count(*), min(p.body) FROM users u JOIN posts p ON u.score = p.likes WHERE u.id > %s AND p.user_id <= %s"
    for low in range(0, 20, 3):
        assert answer(parts, sql, low, low + 9, prepare=True) == answer(whole, sql, low, low + 9)
    for low in (None, 5):
        assert answer(parts, sql, low, 9, prepare=True) == answer(whole, sql, low, 9)


def test_columns_are_of_no_table(parts):
    """The temporary ones are nobody's business."""
    cursor = parts.execute("SELECT u.name, p.body FROM users u JOIN posts p ON u.score = p.likes LIMIT 1")
    assert [cursor.pgresult.ftable(i) for i in range(2)] == [0, 0]
    assert [column.name for column in cursor.description] == ["name", "body"]


def test_what_one_statement_may_bring(parts):
    parts.execute("INSERT INTO posts SELECT n, 1000 + n, 'x', 1 FROM generate_series(1, 2500) n")
    assert answer(parts, "SELECT count(*) FROM posts p JOIN users u ON u.score = p.likes") == "54000"
    # Groups are few, and so are rows that meet a condition.
    assert answer(parts, "SELECT count(*) > 2500 FROM posts") == [(True,)]
    assert answer(parts, "SELECT count(*) FROM posts p JOIN users u ON u.score = p.likes WHERE p.id < 1000") != "54000"


def test_explained(parts):
    rows = parts.execute("EXPLAIN (PGSHUNT) " + JOIN + " WHERE u.id > 5").fetchall()
    text = "\n".join(line for (line,) in rows)
    assert text.startswith("Route: merge node"), text
    assert "join of sharded tables" in text and "(u.id > 5)" in text and '"score"' in text and '"name"' not in text, text


def test_a_client_that_goes_or_cancels(world, parts, whole):
    slow = "SELECT count(*) FROM users u JOIN posts p ON u.score = p.likes WHERE pg_sleep(0.05) IS NOT NULL"
    for end in ("cancel", "close"):
        client = connection(world)
        failed = []

        def ask(client=client, failed=failed):
            try:
                client.execute(slow)
            except psycopg.Error as error:
                failed.append(error)
        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: any(server.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(0.05)%%' AND state = 'active' "
                                              "AND pid <> pg_backend_pid()") for server in world.servers), 10, "it runs")
        if end == "cancel":
            client.cancel()
        else:
            client.pgconn.finish()
        asking.join(20)
        assert not asking.is_alive() and failed
        client.close()
    assert answer(parts, JOIN) == answer(whole, JOIN)


def test_many_at_once(world, parts):
    """More than there are servers: each needs one of every shard, and one more at the merge node."""
    right = answer(parts, JOIN)
    answers = []

    def ask():
        with connection(world) as client:
            answers.extend(answer(client, JOIN) for _ in range(5))
    asking = [threading.Thread(target=ask, daemon=True) for _ in range(25)]
    for each in asking:
        each.start()
    for each in asking:
        each.join(40)
    assert answers == [right] * 125


# Statements whose words can be taken for what they are not. Ordered as far as they say so.
ODDITIES = (
    "SELECT count(*) FROM ((SELECT 1 AS x, 2 AS score) UNION ALL SELECT score, small FROM users) q WHERE score > 1",
    "WITH x AS ((SELECT 1 AS score) UNION ALL SELECT small FROM users) SELECT count(*) FROM x WHERE score > 1",
    "SELECT id FROM ((SELECT id FROM odd WHERE id < 0) UNION ALL SELECT id FROM users ORDER BY id LIMIT 3) q WHERE id > 2",
    "SELECT max(u.*::text), count(*) FROM users u JOIN posts p ON u.score = p.likes WHERE u.* IS NOT NULL",
    "SELECT count(*) FROM users u JOIN posts p ON u.score = p.likes WHERE NOT (u.* IS NOT NULL)",
    "SELECT CASE WHEN true THEN p.* END::text FROM users u JOIN posts p ON u.score = p.likes ORDER BY 1",
    "SELECT 2 * s + 1, count(*) FROM odd GROUP BY s + 1, s ORDER BY 1",
    "SELECT 7 - s - 1, count(*) FROM odd GROUP BY s ORDER BY 1",
    "SELECT 2 * s + 1, count(*) FROM odd GROUP BY s + 1",
    "SELECT year - 1 - 1, count(*) FROM odd GROUP BY year, 1 - 1 ORDER BY 1",
    "SELECT 10 / num * 2 FROM odd GROUP BY num * 2, num ORDER BY 1",
    "SELECT avg((s / 10.0)::real) FROM odd",
    "SELECT r, kinds FROM odd JOIN posts p ON p.likes = odd.s WHERE odd.id = 3 LIMIT 1",
    "SELECT CASE WHEN t = 'a' THEN 'z' ELSE t END AS t, count(*) FROM odd GROUP BY t ORDER BY t",
    "SELECT -year AS year, count(*) FROM odd GROUP BY year ORDER BY year",
    "SELECT count(*) AS s FROM odd GROUP BY s ORDER BY s",
    "SELECT s AS d, d AS s, count(*) FROM odd GROUP BY s, d ORDER BY s, d",
    "SELECT s d, d s, count(*) FROM odd GROUP BY s, d ORDER BY s, d",
    "SELECT a.year AS x, b.x AS year, count(*) FROM odd a JOIN parent b USING (id) GROUP BY a.year, b.x ORDER BY x, year",
    "SELECT 2 AS two, t, count(*) FROM odd GROUP BY 1, 2 ORDER BY 2 DESC",
    "SELECT date, max(ts)::date AS last FROM odd GROUP BY date ORDER BY 1",
    "SELECT date, count(*) FROM odd GROUP BY date HAVING max(ts) > date '2024-01-01' ORDER BY 1",
    "SELECT date '2024-01-01' AS x, count(*) FROM odd GROUP BY date ORDER BY 2",
    "SELECT year, extract(year FROM max(ts)) FROM odd GROUP BY year ORDER BY 1",
    "SELECT 10 AS a, s, count(*) FROM odd GROUP BY a, s ORDER BY s LIMIT 10",
    "SELECT count(*) FROM odd GROUP BY (t, s) ORDER BY 1",
    "SELECT avg /* ( */ (s) FROM odd",
    "SELECT lower(t) || 'x', count(*) FROM odd GROUP BY lower(t) ORDER BY 1",
    "SELECT lower(t), count(*) FROM odd GROUP BY lower(t) ORDER BY lower(t) DESC LIMIT 2",
)


@pytest.mark.parametrize("sql", ODDITIES)
def test_words_that_are_not_what_they_seem(parts, whole, sql):
    assert answer(parts, sql) == answer(whole, sql)


@pytest.mark.parametrize("sql", [
    "SELECT a, b FROM (users u JOIN posts p ON u.score = p.likes) AS j (a, b) ORDER BY 1, 2",
    "SELECT id, count(*) FROM (odd o JOIN parent p ON o.s = p.x) AS j (k, id) WHERE id > '2024-01-01' GROUP BY id ORDER BY 1",
    "SELECT x, count(*) FROM (odd o JOIN parent p ON o.id = p.id) AS j (k, x) WHERE k = 3 GROUP BY x ORDER BY 1",
    "SELECT a, count(*) FROM (odd o JOIN parent p ON o.id = p.id) AS j (k, a) GROUP BY a ORDER BY 1",
    "SELECT j.s, max(j::text) FROM (odd o JOIN parent p USING (id)) AS j GROUP BY j.s ORDER BY 1"])
def test_joins_may_have_a_name(parts, whole, sql):
    assert answer(parts, sql) == answer(whole, sql) != "0A000"


def test_a_join_may_name_columns_as_others_are_called(parts, whole):
    """`id` is not the key here, on which all of a key's rows would be."""
    for key in range(1, 8):
        for sql in (f"SELECT count(*) FROM (users u JOIN posts p ON u.id = p.user_id) AS j (a, id) WHERE id = '{key}'",
                    f"SELECT x FROM (odd o JOIN parent p ON o.id = p.id) AS j (x, y, id) WHERE id = {2000 + key} ORDER BY 1",
                    f"SELECT count(*) FROM (odd o JOIN parent p ON o.id = p.id) AS odd (x, y, id) WHERE odd.id = {2000 + key}"):
            assert answer(parts, sql) == answer(whole, sql), sql


def test_functions_of_the_users(parts, whole):
    for sql in ("SELECT doubled(score), count(*) FROM users GROUP BY 1 ORDER BY 1", "SELECT labelled(name) FROM users WHERE doubled(score) > 4 ORDER BY id",
                "SELECT max(labelled(p.body)) FROM posts p JOIN users u ON u.score = p.likes"):
        assert answer(parts, sql) == answer(whole, sql) != "0A000", sql
    for sql in ("SELECT counted() FROM users", "SELECT through(id) FROM users", "SELECT max(told(id)) FROM users", "SELECT count(timed()) FROM users"):
        assert answer(parts, sql) == "0A000", sql


def test_words_of_time_have_one_clock_or_none(parts):
    for sql in ("SELECT DISTINCT 'now'::timestamptz = now() AND 'today'::date = current_date FROM users",
                "SELECT bool_and(clock_timestamp() >= now() AND age(now()) <= '0') FROM users u JOIN posts p ON u.score = p.likes"):
        assert answer(parts, sql) == [(True,)]
        parts.execute("BEGIN")
        assert answer(parts, sql) == "0A000"  # its own time is that of BEGIN
        parts.execute("ROLLBACK")


def test_prepared_by_sql(parts, whole):
    for client in (parts, whole):
        client.execute("PREPARE one (bigint) AS SELECT name FROM users WHERE id = $1")
        client.execute("PREPARE many (int) AS SELECT count(*), $1 FROM users u JOIN posts p ON u.score = p.likes AND p.likes > $1")
        client.execute("PREPARE adds AS INSERT INTO posts VALUES ($1, $2, 'new', 3) RETURNING id")
    for sql in ("EXECUTE one (5)", "EXECUTE one ('7')", "EXECUTE many (1)", "EXECUTE many (NULL)", "EXECUTE one", "EXECUTE nobody (1)", "EXECUTE many (2)",
                "EXECUTE adds (5, 77)", "EXECUTE adds (5, 77)", "EXECUTE many (2)", "EXECUTE one ('x')"):
        assert answer(parts, sql, prepare=False) == answer(whole, sql, prepare=False), sql
    # As in PostgreSQL, a transaction that fails keeps what it has prepared.
    for client in (parts, whole):
        client.execute("BEGIN")
        client.execute("PREPARE two AS SELECT max(score) FROM users")
        client.execute("ROLLBACK")
        assert answer(client, "EXECUTE two", prepare=False) == [(9,)]
        assert answer(client, "PREPARE two AS SELECT 1", prepare=False) == "42P05"
        assert answer(client, "PREPARE wrong AS SELECT nothing FROM users", prepare=False) == "42703"
        client.execute("DEALLOCATE two")
        assert answer(client, "EXECUTE two", prepare=False) == "26000"
        client.execute("DEALLOCATE ALL")
        assert answer(client, "EXECUTE one (5)", prepare=False) == "26000"
    # Literals mean what they meant then, which is not kept.
    parts.execute("PREPARE day AS SELECT count(*) FROM odd WHERE date > '01/02/2024'")
    parts.execute("SET datestyle = 'ISO, DMY'")
    assert answer(parts, "EXECUTE day", prepare=False) == "0A000"


@pytest.mark.parametrize("lock", ["TRUNCATE posts", "LOCK TABLE users IN ACCESS EXCLUSIVE MODE", "LOCK TABLE countries",
                                  "ALTER TABLE odd ALTER COLUMN s TYPE bigint"])
def test_a_transaction_does_not_wait_for_its_own_locks(parts, whole, lock):
    for sql in (JOIN, "SELECT s, count(*) FROM odd GROUP BY s ORDER BY 1",
                "SELECT count(*) FROM countries c FULL JOIN users u ON c.code = u.country"):
        for client in (parts, whole):
            client.execute("SET lock_timeout = '10s'")
            client.execute("BEGIN")
            client.execute(lock)
        assert answer(parts, sql) == answer(whole, sql)
        for client in (parts, whole):
            client.execute("ROLLBACK")


def test_a_transaction_of_one_snapshot_sees_no_later_copy(parts, world):
    sql = "SELECT count(*) FROM countries c JOIN users u ON c.code = u.country JOIN posts p ON p.likes = u.score WHERE c.name = 'new'"
    parts.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert answer(parts, "SELECT count(*) FROM users u, posts p, countries c WHERE c.name = 'new' AND u.score = p.likes") == [(0,)]
    with connection(world) as other:
        other.execute("UPDATE countries SET name = 'new'")
    assert answer(parts, sql) == [(0,)]
    parts.execute("COMMIT")
    assert answer(parts, sql) != [(0,)]
