"""now() and its kin in writes of several shards: one moment for all of them, of the right type, in the
session's time zone."""

import datetime

import psycopg
import pytest

from differential.world import PARTS
from harness.postgres import PASSWORD, SUPERUSER


@pytest.fixture(autouse=True)
def as_in_the_beginning(world):
    world.reset()


@pytest.fixture
def client(world):
    with psycopg.connect(host=world.servers[0].host, port=world.proxy.port, user=SUPERUSER, password=PASSWORD,
                         dbname=PARTS, autocommit=True) as connection:
        yield connection


def stored(world, columns, table="users"):
    """What the rows of each shard say; the shards together have one answer."""
    found = [server.execute(f"SELECT DISTINCT {columns} FROM {table}", dbname=PARTS) for server in world.servers]
    assert all(len(rows) == 1 for rows in found), found
    return set().union(*found)


@pytest.mark.parametrize("prepare", (False, True))
def test_all_rows_of_an_update_have_one_moment(world, client, prepare):
    client.execute("SET TimeZone = 'Pacific/Kiritimati'")
    moments = set()
    for _ in range(3):
        before = datetime.datetime.now(datetime.timezone.utc)
        done = client.execute("UPDATE users SET noted = now(), seen = LOCALTIMESTAMP, born = CURRENT_DATE, "
                              "at = localtime(0), name = current_time::text WHERE id > %s "
                              "RETURNING noted, now(), current_timestamp(0)", [0], prepare=prepare)
        assert [column.name for column in done.description] == ["noted", "now", "current_timestamp"]
        rows = set(done.fetchall())
        assert done.rowcount == 24 and len(rows) == 1
        ((noted, now, rounded),) = rows
        assert before <= noted == now <= datetime.datetime.now(datetime.timezone.utc)
        assert rounded.microsecond == 0 and abs(rounded - now) <= datetime.timedelta(seconds=0.5)
        assert len(stored(world, "noted, seen, born, at, name")) == 1
        assert len(stored(world, "seen = noted AT TIME ZONE 'Pacific/Kiritimati' AND born = seen::date "
                                 "AND at = seen::time(0) AND name::timetz = (seen::time::text || '+14')::timetz")
                   & {(True,)}) == 1
        moments.add(noted)
    assert len(moments) == 3  # each execution has its own


@pytest.mark.parametrize("prepare", (False, True))
def test_rows_of_an_insert(world, client, prepare):
    rows = ", ".join(f"({n}, now(), LOCALTIME(1))" for n in range(100, 130))
    done = client.execute(f"INSERT INTO users (id, noted, at) VALUES {rows} ON CONFLICT (id) DO UPDATE SET "
                          "noted = now() + interval '1 h' RETURNING noted, now()", prepare=prepare)
    found = done.fetchall()
    assert len(found) == 30 and len(set(found)) == 1 and found[0][0] == found[0][1]
    done = client.execute(f"INSERT INTO users (id, noted, at) VALUES {rows} ON CONFLICT (id) DO UPDATE SET "
                          "noted = now() + interval '1 h' RETURNING noted - now()", prepare=prepare)
    assert set(done.fetchall()) == {(datetime.timedelta(hours=1),)}


@pytest.mark.parametrize("prepare", (False, True))
def test_copies_of_a_reference_table_stay_alike(world, client, prepare):
    client.execute("UPDATE countries SET since = now() WHERE code <> 'x'", prepare=prepare)
    assert len(stored(world, "since", "countries")) == 1
    client.execute("INSERT INTO countries (code, since) VALUES ('x', now()), ('y', current_date)", prepare=prepare)
    assert len({str(server.execute("SELECT code, since FROM countries ORDER BY 1", dbname=PARTS))
                for server in world.servers}) == 1
    assert client.execute("DELETE FROM countries WHERE since <= CURRENT_TIMESTAMP", prepare=prepare).rowcount == 6


def test_a_transaction_has_one_moment_and_each_statement_its_own(world, client):
    both = "RETURNING now(), statement_timestamp()"
    with client.transaction():
        client.execute("SELECT count(*) FROM users WHERE id = 1")
        first = client.execute(f"UPDATE users SET score = 1 {both}").fetchall()
        client.execute("SAVEPOINT s")
        client.execute(f"UPDATE users SET noted = now() {both}")
        client.execute("ROLLBACK TO s")
        second = client.execute(f"DELETE FROM users {both}").fetchall()
    assert len(set(first)) == len(set(second)) == 1
    assert first[0][0] == second[0][0] <= first[0][1] < second[0][1]
    with client.transaction():
        assert client.execute("UPDATE posts SET likes = 1 RETURNING now()").fetchone()[0] > first[0][0]


def test_several_statements_in_one_message(world, client):
    client.execute("UPDATE users SET noted = now(); UPDATE countries SET since = now()")
    assert stored(world, "noted") == stored(world, "since", "countries")


def test_nothing_is_left_behind(world, client):
    client.execute("UPDATE users SET noted = now()")
    for key in range(1, 25):
        setting = "SELECT current_setting('pgshunt.transaction_timestamp', true) FROM users WHERE id = "
        assert client.execute(setting + str(key)).fetchone()[0] in (None, "")


@pytest.mark.parametrize("sql", ("UPDATE users SET noted = clock_timestamp()", "UPDATE users SET noted = 'now'",
                                 "UPDATE users SET ratio = random()", "UPDATE users SET span = age(noted)",
                                 "UPDATE countries SET since = clock_timestamp()"))
def test_what_is_no_moment_of_the_transaction_is_refused(client, sql):
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        client.execute(sql)


def test_an_error_does_not_point_into_a_text_the_client_has_not_written(client):
    with pytest.raises(psycopg.errors.UndefinedColumn) as raised:
        client.execute("UPDATE users SET noted = now(), nothing = 1")
    assert raised.value.diag.statement_position is None
