"""UPDATE of the shard key moves rows to another shard, as if there were one server; what it returns is
compared with a server that has all rows."""

import psycopg
import pytest

from differential.world import BUCKET, BUCKETS, PARTS, WHOLE, World
from harness.postgres import PASSWORD, SUPERUSER

TABLES = ("counted", "watched", "parents", "children")
EXTRA = """
CREATE TABLE counted (
  id bigint, serial int GENERATED ALWAYS AS IDENTITY, name varchar(5),
  twice bigint GENERATED ALWAYS AS (id * 2) STORED, rate float8, doc jsonb, tags text[], data bytea,
  at timestamptz, UNIQUE (id, name));
CREATE TABLE watched (id bigint PRIMARY KEY);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER t BEFORE DELETE ON watched FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TABLE parents (id bigint PRIMARY KEY);
CREATE TABLE children (id bigint REFERENCES parents ON UPDATE CASCADE);
"""
# The shards' own numbers are others than those of one server.
ROWS = """INSERT INTO counted (id, serial, name, rate, doc, tags, data, at) OVERRIDING SYSTEM VALUE VALUES
  (1, 1, 'a', 0.1, '{"it''s": "\\\\"}', '{"a \\"b",NULL,"\\\\"}', '\\x00ff5c27', '2024-03-31 01:30:00.123456+00'),
  (1, 2, 'b''', 'NaN', NULL, '{}', '', '9999-12-31 01:00+00'), (1, 3, E'\\\\\\n', 1e300, '[]', NULL, NULL, NULL)"""


@pytest.fixture(scope="module")
def world(shards, shared_proxy):
    def proxy(config):
        database = config["databases"][PARTS]
        database.update(on_shard_key_update="move", on_cross_shard_write="two_phase")
        database["tables"] += [{"name": name, "keyspace": "users", "key": "id"} for name in TABLES]
        for server in shards:
            server.psql(EXTRA, PARTS)
        shards[0].psql(EXTRA, WHOLE)
        return shared_proxy(config)
    return World(shards, proxy)


def connection(world, database):
    port = world.proxy.port if database == PARTS else world.servers[0].port
    return psycopg.connect(host=world.servers[0].host, port=port, user=SUPERUSER, password=PASSWORD, dbname=database,
                           autocommit=True)


@pytest.fixture(autouse=True)
def as_in_the_beginning(world):
    world.reset()


@pytest.fixture
def both(world):
    """The parts, and the whole."""
    with connection(world, PARTS) as parts, connection(world, WHOLE) as whole:
        for each in (parts, whole):
            each.execute("TRUNCATE counted RESTART IDENTITY")
            each.execute(ROWS)
        yield parts, whole


@pytest.fixture(scope="module")
def keys(world):
    """A key of each shard that no row has."""
    placed = world.servers[0].execute(f"SELECT n, {BUCKET} FROM generate_series(1000, 1100) n")
    return [next(n for n, bucket in placed if low <= bucket <= high) for low, high in BUCKETS]


def answer(connection, sql, values=None, **options):
    try:
        done = connection.execute(sql, values, **options)
    except psycopg.Error as error:
        return error.sqlstate
    rows = sorted(map(repr, done.fetchall())) if done.description else None
    return done.statusmessage, [c.name for c in done.description or ()], rows


BUCKET_OF_ID = BUCKET.replace("n,", "id,")


def rows_are_where_they_belong(world):
    found = []
    for server, (low, high) in zip(world.servers, BUCKETS):
        rows = server.execute(f"SELECT c::text, {BUCKET_OF_ID} FROM counted c", dbname=PARTS)
        assert all(low <= bucket <= high for _, bucket in rows), (server.name, rows)
        found += [row for row, _ in rows]
    whole = world.servers[0].execute("SELECT c::text FROM counted c", dbname=WHOLE)
    assert sorted(found) == sorted(row for (row,) in whole)


@pytest.mark.parametrize("prepare", (None, False, True))
def test_rows_move_whole(world, both, keys, prepare):
    how = {} if prepare is None else {"prepare": prepare}
    old = 1
    for key in (*keys, keys[0]):
        sql = (f"UPDATE counted AS c SET id = {key}, name = left('x' || name, 5), rate = rate + 1 "
               f"WHERE c.id = {old} RETURNING *")
        answers = [answer(each, sql, binary=prepare is not None, **how) for each in both]
        assert answers[0] == answers[1] and answers[0][0] == "UPDATE 3", answers
        rows_are_where_they_belong(world)
        old = key
    nobody = "UPDATE counted SET id = %s WHERE id = 77 RETURNING name, twice AS double, upper(name)"
    answers = [answer(each, nobody, [key], **how) for each in both for key in keys]
    assert set(map(str, answers)) == {str(("UPDATE 0", ["name", "double", "upper"], []))}


def test_parameters(world, both, keys):
    for key in keys:
        sql = "UPDATE counted SET id = %s, rate = %s WHERE id = 1 AND name = %s"
        for name in ("a", "b'", "nobody"):
            answers = [answer(each, sql, [key, 5.5, name], prepare=True) for each in both]
            assert answers[0] == answers[1], answers
        rows_are_where_they_belong(world)
        for each in both:
            each.execute(f"UPDATE counted SET id = 1 WHERE id = {key}")


def test_all_or_nothing(world, both, keys):
    for key in keys:
        for each in both:
            each.execute("INSERT INTO counted (id, serial, name) OVERRIDING SYSTEM VALUE VALUES (%s, 9, 'a')", [key])
        answers = [answer(each, f"UPDATE counted SET id = {key} WHERE id = 1 RETURNING id") for each in both]
        assert answers == ["23505", "23505"]
        answers = [answer(each, f"UPDATE counted SET id = {key}, name = 'longer than five' WHERE id = 1")
                   for each in both]
        assert answers == ["22001", "22001"]
        rows_are_where_they_belong(world)


def test_in_a_transaction(world, both, keys):
    for each in both:
        with each.transaction():
            each.execute("UPDATE counted SET rate = 7 WHERE id = 1")
            with pytest.raises(ZeroDivisionError), each.transaction():
                for key in keys:
                    assert each.execute(f"UPDATE counted SET id = {key} WHERE id = 1").rowcount in (0, 3)
                raise ZeroDivisionError
            each.execute(f"UPDATE counted SET id = {keys[1]} WHERE id = 1 AND name = 'a'")
            each.execute(f"UPDATE counted SET id = {keys[2]} WHERE id = {keys[1]}")
        with pytest.raises(ZeroDivisionError), each.transaction():
            each.execute(f"UPDATE counted SET id = {keys[0]} WHERE id = {keys[2]}")
            raise ZeroDivisionError
        each.execute(f"UPDATE counted SET rate = 8 WHERE id = 1; UPDATE counted SET id = {keys[1]} WHERE id = 1")
    rows_are_where_they_belong(world)


@pytest.mark.parametrize("table", TABLES[1:])
def test_what_would_be_seen_is_refused(both, keys, table):
    for key in keys:
        assert answer(both[0], f"UPDATE {table} SET id = {key} WHERE id = 1") == "0A000"


def test_settings_that_do_not_read_what_they_write_are_refused(world, both, keys):
    for setting in ("DateStyle = 'SQL, DMY'", "IntervalStyle = 'sql_standard'", "extra_float_digits = 0"):
        both[0].execute(f"SET {setting}")
        answers = {answer(both[0], f"UPDATE counted SET id = {key} WHERE id = 1") for key in far(world, keys)}
        assert answers == {"0A000"}, setting
        both[0].execute("RESET ALL")


def far(world, keys):
    """Those that are not on the shard of 1."""
    ((bucket,),) = world.servers[0].execute(f"SELECT {BUCKET} FROM generate_series(1, 1) n")
    return [key for key, (low, high) in zip(keys, BUCKETS) if not low <= bucket <= high]


def test_too_many_rows_are_an_error(world, both, keys):
    rows = ", ".join(f"(1, {n}, repeat('x', 100000), 0)" for n in range(100, 301))
    both[0].execute(f"INSERT INTO posts VALUES {rows}")
    key = far(world, keys)[0]
    assert answer(both[0], f"UPDATE posts SET user_id = {key} WHERE user_id = 1 AND id >= 100") == "54000"
    assert both[0].execute("SELECT count(*) FROM posts WHERE user_id = 1 AND id >= 100").fetchone() == (201,)
    done = answer(both[0], f"UPDATE posts SET user_id = {key} WHERE user_id = 1 AND id BETWEEN 100 AND 149")
    assert done[0] == "UPDATE 50"
