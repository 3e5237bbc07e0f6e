"""INSERT ... SELECT whose rows do not stay where they are read: compared with a server that has all rows."""

import threading
from pathlib import Path

import psycopg
import pytest

from differential.world import BUCKET, BUCKETS, PARTS, WHOLE, World
from harness import wait_until

EXTRA = """
CREATE TYPE humour AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE couple AS (a int, m humour);
CREATE TABLE kept (
  id bigint, name text, n int, rate numeric(8,2), ratio float8, at timestamptz, span interval, tag uuid, data bytea,
  doc jsonb, words text[], bits bit(3), any_bits bit varying, money_ numeric, feeling humour, both_ couple, feelings humour[],
  flag boolean, letter "char", made bigint DEFAULT 5);
CREATE TABLE source_ (LIKE kept INCLUDING ALL);
CREATE TABLE counts (id bigint PRIMARY KEY, n int, note text DEFAULT 'none');
CREATE TABLE watched (id bigint PRIMARY KEY, n int);
CREATE TABLE log_ (id bigint, n bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log_ SELECT min(id), count(*) FROM fresh HAVING count(*) > 0; RETURN NULL; END $$;
CREATE TRIGGER t AFTER INSERT ON watched REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION note();
CREATE TABLE tree (id bigint, parent int, n int, PRIMARY KEY (id, n), FOREIGN KEY (id, parent) REFERENCES tree (id, n));
CREATE TABLE places (code text PRIMARY KEY, n int);
CREATE FUNCTION stored() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM looking); END';
CREATE TABLE looking (id bigint PRIMARY KEY, n int, seen bigint DEFAULT stored(), CHECK (n < 1 OR stored() < 30));
CREATE TABLE timed (id bigint PRIMARY KEY, body text, at timestamptz DEFAULT statement_timestamp());
CREATE TABLE alone (id int PRIMARY KEY, body text, at timestamptz DEFAULT now());
"""
SHARDED = ("kept", "source_", "counts", "watched", "log_", "tree", "looking")
HERE = ("timed", "alone")  # on one shard
ROWS = """INSERT INTO source_ SELECT n, E'it''s \\\\ ' || n, n, n / 7.0, CASE WHEN n % 5 = 0 THEN 'NaN' ELSE n / 3.0 END,
  timestamptz '2024-03-31 00:30+00' + n * interval '17 min', n * interval '1 mon -3 d 4 h', 
  ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, decode(lpad(to_hex(n * 40), 4, '0'), 'hex'),
  jsonb_build_object('n', n, 'q', '"\\\\'), ARRAY['a "b', NULL, '\\\\'], (n % 8)::int::bit(3), (n % 4)::int::bit(2), n,
  ('{sad,ok,happy}'::humour[])[1 + n % 3], ROW(n, 'ok')::couple, ARRAY['sad', 'happy']::humour[], n % 2 = 0, 'x'
  FROM generate_series(1, 60) n"""


@pytest.fixture(scope="module")
def world(shards, shared_proxy):
    def proxy(config):
        database = config["databases"][PARTS]
        database.update(on_cross_shard_write="two_phase")
        database["tables"] += [{"name": name, "keyspace": "users", "key": "id"} for name in SHARDED]
        database["tables"] += [{"name": "places", "reference": True}]
        database["tables"] += [{"name": name, "shard": shards[2].name} for name in HERE]
        for number, server in enumerate(shards):
            # The types' numbers are others on each shard.
            server.psql("".join(
                f"CREATE TYPE other_{i} AS ENUM ('x');" for i in range(number)) + EXTRA, PARTS)
        shards[0].psql(EXTRA, WHOLE)
        return shared_proxy(config)
    return World(shards, proxy)


def connection(world, database):
    return psycopg.connect(**world.options(database), autocommit=True)


@pytest.fixture
def both(world):
    """The parts, and the whole."""
    world.reset()
    with connection(world, PARTS) as parts, connection(world, WHOLE) as whole:
        for each in (parts, whole):
            for name in (*SHARDED, *HERE, "places"):
                each.execute(f"TRUNCATE {name}")
            each.execute(ROWS)
        yield parts, whole


def resident(pid, what="VmRSS"):
    """Kilobytes."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(what))


def answer(connection, sql, values=None, **options):
    try:
        done = connection.execute(sql, values, **options)
    except psycopg.Error as error:
        return error.sqlstate
    found = sorted(map(repr, done.fetchall())) if done.description else None
    return done.statusmessage, [(c.name, c.type_code if c.type_code < 16384 else 0) for c in done.description or ()], found


def contents(world, table, key="id"):
    """All rows; in the parts they must be where they belong, and copies be the same."""
    order = f"SELECT t::text FROM {table} t ORDER BY 1"
    whole = world.servers[0].execute(order, dbname=WHOLE)
    if key is None:
        for server in world.servers:
            assert server.execute(order, dbname=PARTS) == whole, server.name
        return whole
    found = []
    for server, (low, high) in zip(world.servers, BUCKETS):
        there = server.execute(f"SELECT t::text, {BUCKET.replace('n,', key + ',')} FROM {table} t", dbname=PARTS)
        assert all(low <= int(bucket) <= high for _, bucket in there), (server.name, there)
        found += [row for row, _ in there]
    assert sorted(found) == sorted(row for (row,) in whole)
    return whole


def same(world, both, sql, values=None, tables=(), **options):
    answers = [answer(each, sql, values, **options) for each in both]
    assert answers[0] == answers[1], (sql, answers)
    for table in tables:
        contents(world, table)
    return answers[0]


ALL = ("id, name, n, rate, ratio, at, span, tag, data, doc, words, bits, any_bits, money_, feeling, both_, feelings, "
       "flag, letter, made")

STATEMENTS = {
    "another key": f"INSERT INTO kept SELECT id * 7, {ALL[4:]} FROM source_",
    "all, by name": f"INSERT INTO kept ({ALL}) SELECT n + 1000, {ALL[4:]} FROM source_ WHERE n % 2 = 0 "
                    "RETURNING id, name, rate, at, span, words, feeling::text, both_::text",
    "columns in another order": "INSERT INTO kept (n, id, name) SELECT n, n * 3, name FROM source_ ORDER BY n DESC LIMIT 7",
    "no columns named": "INSERT INTO counts SELECT n * 2, n FROM source_",
    "from no table": "INSERT INTO counts SELECT g, g % 5, 'note ' || g FROM generate_series(1, 500) g",
    "literals": "INSERT INTO kept (id, at, feeling, words, bits, name) SELECT n * 5, '2024-01-02', 'happy', '{a,NULL}', "
                "'101', NULL FROM source_ WHERE n < 9",
    "bits": "INSERT INTO kept (id, any_bits, bits) SELECT n * 5, any_bits, bits FROM source_",
    "assignment casts": "INSERT INTO kept (id, n, name, rate) SELECT n * 11.0, n / 3.0, at, n FROM source_",
    "a cast that is none": "INSERT INTO kept (id, n) SELECT n * 5, name FROM source_",
    "too long": "INSERT INTO kept (id, rate) SELECT n * 5, 12345678.9 FROM source_",
    "a null key": "INSERT INTO counts SELECT nullif(n, 3) * 2, n FROM source_",
    "with": "WITH s AS (SELECT n FROM source_ WHERE id = 9) INSERT INTO counts (id, n) SELECT n * 13, n FROM s RETURNING id",
    "with inside": "INSERT INTO counts (id, n) WITH s AS (SELECT n FROM source_ WHERE id = 4) SELECT n * 13, n FROM s",
    "in parentheses": "INSERT INTO counts (id, n)(SELECT n * 13, n FROM source_);",
    "values": "INSERT INTO counts (id, n) SELECT * FROM (VALUES (1, 2), (2, 3), (300, 4)) v(a, b)",
    "union": "INSERT INTO counts (id, n) SELECT n * 2, n FROM source_ WHERE id = 5 UNION ALL SELECT 77, 1",
    "union of strings": "INSERT INTO kept (id, n) SELECT 5, '3' UNION SELECT 6, '4'",
    "distinct": "INSERT INTO counts (id, n) SELECT DISTINCT ON (id) n * 2, n FROM source_ WHERE id = 5 ORDER BY id, n",
    "conflicts ignored": "INSERT INTO counts (id, n) SELECT n % 20, n FROM source_ ORDER BY n ON CONFLICT DO NOTHING RETURNING *",
    "conflicts on": "INSERT INTO counts AS c (id, n) SELECT n + 3, n FROM source_ ON CONFLICT (id) DO UPDATE SET "
                    "n = c.n + excluded.n, note = 'again' WHERE c.n > 0 RETURNING id, c.n + 1 AS more",
    "twice the same row": "INSERT INTO counts (id, n) SELECT n % 20, n FROM source_ ON CONFLICT (id) DO UPDATE SET n = 1",
    "a join's conflict": "INSERT INTO counts (id, n) SELECT s.n * 7, conflict FROM source_ s JOIN (VALUES (1, 2)) AS v(a, "
                         "conflict) ON conflict = 2 WHERE s.id = 5 ON CONFLICT DO NOTHING",
    "no rows": "INSERT INTO counts (id, n) SELECT n * 2, n FROM source_ WHERE n > 1000 RETURNING id, note",
    "no rows, a wrong type": "INSERT INTO counts (id, n) SELECT n * 2, name FROM source_ WHERE n > 1000",
    "too many columns": "INSERT INTO counts (id, n) SELECT n, n, n FROM source_",
    "too few columns": "INSERT INTO counts (id, n) SELECT n * 2 FROM source_",
    "from a reference table": "INSERT INTO counts (id, n, note) SELECT people, 1, name FROM countries",
    "from an unsharded table": "INSERT INTO counts (id, n, note) SELECT id * 2, 1, body FROM notes",
    "itself": "INSERT INTO counts SELECT id + 1000, n FROM counts",
    "a failing expression": "INSERT INTO counts (id, n) SELECT n * 2, 1 / (n - 30) FROM source_",
    "a duplicate": "INSERT INTO counts (id, n) SELECT n % 7, n FROM source_",
    "a statement trigger": "INSERT INTO watched SELECT 2, n FROM source_ WHERE id = 5",
    "own keys, pinned elsewhere": "INSERT INTO counts (id, n) SELECT 1234, n FROM source_ WHERE id = 17",
    "rows that refer to later ones": "INSERT INTO tree SELECT g * 0 + 5, nullif(g, 3000) + 1, g FROM generate_series(1, 3000) g",
    "a volatile function": "INSERT INTO counts (id, n) SELECT n * 2, n + (random() * 0)::int FROM source_ WHERE id = 5",
    "an aggregate": "INSERT INTO counts (id, n) SELECT 900, count(*) FROM source_ WHERE id = 5",
    "comments": "/* a */ INSERT /* b */ INTO -- c\n counts (id, n) /* d; */ SELECT n * 2, n -- e\n FROM source_ /* f */;",
}


WAYS = {"simple": {}, "extended": {"prepare": False, "binary": True}, "prepared": {"prepare": True},
        "binary": {"prepare": True, "binary": True}}


def same_each_way(world, both, name, sql, how):
    for each in both:
        each.execute("INSERT INTO counts (id, n) SELECT g, g FROM generate_series(1, 5) g ON CONFLICT DO NOTHING"
                     if "conflict" in name or name == "itself" else "SELECT 1")
    if how == "simple":
        # Without values psycopg asks by the simple protocol.
        found = same(world, both, sql, tables=SHARDED, **WAYS[how])
    else:
        found = same(world, both, sql.replace("%", "%%") + " ", [], tables=SHARDED, **WAYS[how])
    assert found != "0A000", found
    return found


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", STATEMENTS)
def test_as_on_one_server(world, both, name, how):
    same_each_way(world, both, name, STATEMENTS[name], how)


def test_reference_tables(world, both):
    for sql in ("INSERT INTO places SELECT name, n FROM source_",
                "INSERT INTO places (code, n) SELECT code, people FROM countries RETURNING *",
                "INSERT INTO places SELECT 'x' || g, g FROM generate_series(1, 20000) g",
                "INSERT INTO places SELECT code, n + 1 FROM places ON CONFLICT (code) DO UPDATE SET n = excluded.n",
                "INSERT INTO places SELECT body, id FROM notes WHERE id > 100"):
        same(world, both, sql)
        contents(world, "places", None)


def test_unsharded_tables(world, both):
    same(world, both, "INSERT INTO notes SELECT n + 100, name FROM source_ RETURNING id")
    same(world, both, "INSERT INTO notes (body, id) SELECT code, people FROM countries")
    same(world, both, "SELECT * FROM notes")


def test_parameters(world, both):
    for values in ([3, "a", 5], [7, None, 50], [0, "it's \\", 1000]):
        for prepare in (False, True):
            for sql in ("INSERT INTO counts (id, n, note) SELECT n * 100 + %s, n, %s FROM source_ WHERE n > %s RETURNING *",
                        "INSERT INTO kept (id, n, name) SELECT n * 100 + %s, n, %s FROM source_ WHERE n > %s ORDER BY n LIMIT 3",
                        "INSERT INTO counts AS c (id, n) SELECT n * 100 + %s, n FROM source_ ON CONFLICT (id) DO UPDATE SET "
                        "note = %s WHERE c.n > %s RETURNING c.note"):
                same(world, both, sql, values, tables=("counts", "kept"), prepare=prepare)
    # A value by itself takes the type of the column it is for.
    for sql, values in (("INSERT INTO kept (id, at, feeling) SELECT n * 9, %s, %s FROM source_", ["2024-05-06 01:02+03", "sad"]),
                        ("INSERT INTO kept (id, at, feeling) SELECT n * 9, %s, %s FROM source_", ["never", "sad"])):
        same(world, both, sql, values, tables=("kept",))


def test_types_of_open_parameters(world, both):
    """What Describe says, and values in binary that are read by it."""
    for sql, kinds in ((b"INSERT INTO counts (id, n, note) SELECT n * 100, $1, $2 FROM source_ WHERE n < $3", [23, 25, 23]),
                       (b"INSERT INTO counts (id, n) SELECT n * 100, n FROM source_ WHERE n < $1 ON CONFLICT (id) DO UPDATE "
                        b"SET n = $2", [23, 23])):
        found = []
        for each in both:
            each.execute("TRUNCATE counts")
            pg = each.pgconn
            assert pg.prepare(b"", sql).status == psycopg.pq.ExecStatus.COMMAND_OK
            described = pg.describe_prepared(b"")
            values = [(7).to_bytes(4, "big") if kind == 23 else b"text" for kind in kinds]
            done = pg.exec_prepared(b"", values, param_formats=[1] * len(values))
            found.append(([described.param_type(i) for i in range(described.nparams)], done.command_tuples,
                          done.error_message))
        assert found[0] == found[1] and found[0][0] == kinds, found
        contents(world, "counts")


def test_many_rows(world, both):
    """Batches, and portions of them; what the client gets is complete."""
    sql = "INSERT INTO counts (id, n) SELECT g, g FROM generate_series(1, 50000) g"
    assert same(world, both, sql, tables=("counts",))[0] == "INSERT 0 50000"
    sql = "INSERT INTO kept (id, n, name) SELECT n, id, repeat(note, 20) FROM counts WHERE id > 5 RETURNING id, name"
    assert same(world, both, sql, tables=("kept",))[0] == "INSERT 0 49995"
    for each in both:
        each.execute("TRUNCATE counts")
    # Merged by a column, with a window.
    sql = "INSERT INTO counts (id, n) SELECT n * 3, n FROM kept ORDER BY n DESC OFFSET 5 LIMIT 30000"
    assert same(world, both, sql, tables=("counts",))[0] == "INSERT 0 30000"


def test_large_rows(world, both):
    sql = ("INSERT INTO kept (id, name) SELECT n * 7, repeat('x', CASE WHEN n % 10 = 0 THEN 3000000 ELSE 10 END) FROM source_ "
           "RETURNING length(name)")
    same(world, both, sql)
    same(world, both, "SELECT id, md5(name) FROM kept")


def test_a_statement_with_all_of_it_may_be_too_large(world, both):
    parts, _ = both
    sql = "INSERT INTO watched SELECT g, 1 FROM generate_series(1, 4000000) g"
    assert answer(parts, sql) == "54000"
    assert parts.execute("SELECT id FROM watched LIMIT 1").fetchone() is None
    assert answer(parts, sql.replace("watched", "counts").replace("4000000", "400000"))[0] == "INSERT 0 400000"


def test_in_a_transaction(world, both):
    for each in both:
        with each.transaction():
            each.execute("INSERT INTO source_ (id, n) VALUES (500, 500)")
            assert each.execute("INSERT INTO counts (id, n) SELECT n * 2, n FROM source_").rowcount == 61
            with pytest.raises(psycopg.errors.DivisionByZero), each.transaction():
                each.execute("INSERT INTO counts (id, n) SELECT n * 2 + 1, 1 / (n - 60) FROM source_")
            assert each.execute("INSERT INTO counts (id, n) SELECT n * 2 + 1, n FROM source_").rowcount == 61
            assert each.execute("SELECT count(*) FROM counts WHERE id = 1000").fetchone() == (1,)
        with pytest.raises(ZeroDivisionError), each.transaction():
            each.execute("INSERT INTO counts (id, n) SELECT n * 2 + 5000, n FROM source_")
            raise ZeroDivisionError
    contents(world, "counts")


def test_a_select_that_writes(world, both):
    """Rows that are deleted here and stored there, on one shard's side and in one transaction."""
    same(world, both, "WITH gone AS (DELETE FROM source_ WHERE id = 7 RETURNING *) INSERT INTO kept SELECT id + 100000, "
                      f"{ALL[4:]} FROM gone RETURNING id, feeling, both_", tables=("kept", "source_"))
    same(world, both, "WITH gone AS (DELETE FROM source_ WHERE id = 8 RETURNING *) INSERT INTO places SELECT name, n FROM gone")
    contents(world, "places", None)
    refused = answer(both[0], "WITH gone AS (DELETE FROM source_ RETURNING *) INSERT INTO counts SELECT n * 2, n FROM gone")
    assert refused == "0A000"


def test_several_statements_in_one_message(world, both):
    sql = ("INSERT INTO counts (id, n) SELECT n * 2, n FROM source_; "
           "INSERT INTO counts (id, n) SELECT id + 1, n FROM counts; SELECT count(*), sum(id) FROM counts WHERE id = 5")
    for each in both:
        each.execute(sql)
    contents(world, "counts")
    for each in both:
        assert answer(each, sql) == "23505"
    contents(world, "counts")


def test_a_pipeline(world, both):
    for each in both:
        with each.pipeline():
            one = each.execute("INSERT INTO counts (id, n) SELECT n * 2, n FROM source_ WHERE n < %s RETURNING id", [20])
            each.execute("INSERT INTO counts (id, n) VALUES (%s, 1)", [1001])
            two = each.execute("INSERT INTO counts (id, n) SELECT id + 1, n FROM counts WHERE id < %s", [30])
            assert len(one.fetchall()) == 19
            assert two.rowcount == 14
    contents(world, "counts")


def test_nothing_is_left(world, both):
    """No cursor, no transaction, and the next statement finds its servers."""
    parts, _ = both
    parts.execute("INSERT INTO counts (id, n) SELECT n * 2, n FROM source_")
    with parts.transaction():
        parts.execute("INSERT INTO counts (id, n) SELECT n * 2 + 1, n FROM source_")
        parts.execute("INSERT INTO counts (id, n) SELECT n * 2 + 5000, n FROM source_")
        for server in world.servers:
            assert parts.execute(f"/* pgshunt: shard={server.name} */ SELECT count(*) FROM pg_cursors").fetchone() == (0,)
    for server in world.servers:
        assert server.execute("SELECT count(*) FROM pg_prepared_xacts") == [(0,)]


def canceled(world, parts, sql, under_way):
    failures = []

    def insert():
        try:
            parts.execute(sql)
        except psycopg.Error as error:
            failures.append(error.sqlstate)
    running = threading.Thread(target=insert, daemon=True)
    running.start()
    seen = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{PARTS}' AND state = 'active' AND query LIKE '{under_way}'"
    wait_until(lambda: sum(int(server.execute(seen)[0][0]) for server in world.servers) > 0)
    parts.cancel()
    running.join(20)
    assert failures == ["57014"]


def test_canceled(world, both):
    parts, _ = both
    canceled(world, parts, "INSERT INTO counts (id, n) SELECT g, (pg_sleep(CASE WHEN g > 30000 THEN 0.01 ELSE 0 END) IS NULL)::int "
                           "FROM generate_series(1, 100000) g", "FETCH%")
    assert parts.execute("SELECT id FROM counts LIMIT 1").fetchone() is None
    with connection(world, PARTS) as other, other.transaction(force_rollback=True):
        other.execute("INSERT INTO counts (id, n) VALUES (30001, 1)")
        canceled(world, parts, "INSERT INTO counts (id, n) SELECT g, g FROM generate_series(1, 100000) g", "INSERT INTO counts%")
    assert parts.execute("SELECT id FROM counts LIMIT 1").fetchone() is None


def test_a_with_is_not_taken_for_a_table_of_that_name(world, both):
    """What stands behind the SELECT would read the table."""
    sql = ("WITH countries AS (SELECT n AS people FROM source_ WHERE id = 37) INSERT INTO counts (id, n) SELECT people * 7, 5 "
           "FROM countries RETURNING {}")
    assert answer(both[0], sql.format("(SELECT people FROM countries LIMIT 1)")) == "0A000"
    same(world, both, sql.format("(SELECT max(people) FROM places)"), tables=("counts",))


def test_batches_are_not_seen(world, both):
    """By RETURNING, defaults and checks."""
    for sql in ("INSERT INTO alone (id, body) SELECT n, repeat('x', 100000) FROM source_ RETURNING (SELECT count(*) FROM alone)",
                "INSERT INTO looking (id, n) SELECT 5, 0 FROM source_ WHERE id = 1",
                "INSERT INTO looking (id, n) SELECT g, 0 FROM generate_series(10, 30000) g"):
        same(world, both, sql)
    for each in both:
        assert {seen for (seen,) in each.execute("SELECT seen FROM looking WHERE id > 5")} <= {0, 1}
    # A shard has its own rows only, but none of this statement.
    assert answer(both[0], "INSERT INTO looking (id, n) SELECT g, 1 FROM generate_series(40000, 40020) g") == "23514"
    for each in both:
        each.execute("INSERT INTO timed (id, body) SELECT n, repeat('x', 100000) FROM source_")
        assert each.execute("SELECT count(DISTINCT at) FROM timed").fetchone() == (1,)


def test_one_clock(world, both):
    for sql in ("INSERT INTO alone (id, body, at) SELECT n, 'x', now() FROM source_ WHERE id = 5 RETURNING at = now()",
                "INSERT INTO kept (id, at) SELECT g * 7, now() FROM generate_series(1, 30) g RETURNING at = now()",
                "INSERT INTO kept (id, at, name) SELECT n * 7, now(), CURRENT_DATE::text FROM source_ RETURNING at = now()",
                "INSERT INTO kept (id, at) SELECT n * 7, LOCALTIMESTAMP(0) FROM source_ WHERE at < CURRENT_TIMESTAMP "
                "RETURNING at = LOCALTIMESTAMP(0)",
                "INSERT INTO kept (id, at) SELECT g * 7, statement_timestamp() FROM generate_series(1, 30) g "
                "RETURNING at = statement_timestamp()"):
        same(world, both, sql)


def test_literals_behind_a_star(world, both):
    same(world, both, "INSERT INTO kept (id, n, at) SELECT id * 3, n, '2024-01-01' FROM source_ WHERE id = 5 GROUP BY 1, 2, 3")
    same(world, both, "INSERT INTO counts (id, n) SELECT n * 3, n FROM source_ WHERE n < 20", tables=("counts",))
    for last, values in (("'2024-01-01'", None), ("NULL", None), ("%s", ["2024-01-01"])):
        same(world, both, f"INSERT INTO kept (id, n, name, at) SELECT c.*, {last} FROM counts c WHERE id < 30", values)
        same(world, both, f"INSERT INTO kept (id, n, name, at) SELECT v.*, {last} FROM (VALUES (7, 1, 'a'), (8, 2, 'b')) v", values)
    contents(world, "kept")


def test_returning_more_than_was_stored(world, both):
    """Rows go to the client as they come; the proxy's memory does not grow with them."""
    parts, _ = both
    sql = "INSERT INTO counts (id, n) SELECT g, g FROM generate_series(1, 1500) g RETURNING repeat('x', 300000)"
    Path(f"/proc/{world.proxy.pid}/clear_refs").write_text("5")  # the peak begins anew
    before = resident(world.proxy.pid)
    assert sum(len(text) for (text,) in parts.execute(sql)) == 1500 * 300000
    assert resident(world.proxy.pid, "VmHWM") - before < 100 * 1024
    assert answer(parts, "INSERT INTO kept (id, name) SELECT g, repeat('x', 4000000) FROM generate_series(1, 60) g")[0] == "INSERT 0 60"
    assert resident(world.proxy.pid, "VmHWM") - before < 300 * 1024


def test_where_values_could_change_on_their_way(world, both):
    parts, _ = both
    sql = "INSERT INTO kept (id, at, ratio) SELECT n * 2, at, ratio FROM source_"
    for name, value in (("DateStyle", "German"), ("extra_float_digits", "0"), ("IntervalStyle", "sql_standard")):
        parts.execute(f"SET {name} = '{value}'")
        assert answer(parts, sql) == "0A000"
        parts.execute(f"RESET {name}")
    assert answer(parts, sql)[0] == "INSERT 0 60"


def test_explained(world, both):
    parts, _ = both
    plan = parts.execute("EXPLAIN (PGSHUNT) INSERT INTO counts (id, n) SELECT n * 2, n FROM source_").fetchall()
    text = "\n".join(line for (line,) in plan)
    assert text.startswith("Route: INSERT of rows read by a SELECT") and "INSERT INTO counts (id, n)" in text, text
    assert answer(parts, "EXPLAIN (PGSHUNT, ANALYZE) INSERT INTO counts (id, n) SELECT n * 2, n FROM source_") == "0A000"


def test_refused(world, both):
    parts, _ = both
    for sql in ("INSERT INTO counts (n) SELECT n FROM source_",
                "INSERT INTO counts (id, n) SELECT n, 1 FROM source_ ON CONFLICT (n) DO NOTHING",
                "INSERT INTO counts (id, n) SELECT n, pg_advisory_lock(1) IS NULL FROM source_"):
        assert answer(parts, sql) in ("0A000", "23502"), sql
    contents(world, "counts")


# --- of a SELECT that needs the merge node ---------------------------------------------------------

BY_FIVE = "SELECT n % 5, count(*) FROM source_ GROUP BY 1"
MERGED = {
    "a join": "INSERT INTO kept (id, n, name) SELECT s.id * 10 + u.id, u.score, u.name || s.name FROM source_ s JOIN users u ON u.score = s.n",
    "a join's rows": "INSERT INTO kept (id, n, name) SELECT s.id * 10 + u.id, u.score, s.name FROM source_ s JOIN users u ON u.score = s.n RETURNING id, n, name, made",
    "a full join": "INSERT INTO kept (id, n, name) SELECT coalesce(s.id, 1000 + u.id), s.n, u.name FROM source_ s FULL JOIN users u ON u.score = s.n RETURNING *",
    "a join of three": "INSERT INTO kept (id, n, name) SELECT s.id, p.likes, c.name FROM source_ s JOIN posts p ON p.likes = s.n JOIN users u ON u.small = p.likes "
                       "JOIN countries c ON c.code = u.country",
    "an aggregate": "INSERT INTO counts (id, n) SELECT count(*) + 1000, sum(n) FROM source_ RETURNING id, n, note",
    "groups": "INSERT INTO counts (id, n, note) SELECT n % 7, count(*), max(name) FROM source_ GROUP BY n % 7 HAVING count(*) > 8 RETURNING *",
    "a window": "INSERT INTO counts (id, n) SELECT n * 2, row_number() OVER (ORDER BY n DESC) FROM source_ RETURNING id, n",
    "every type": f"INSERT INTO kept ({ALL}) SELECT id + 1000 * row_number() OVER (ORDER BY id), {ALL[4:]} FROM source_ "
                  "RETURNING id, name, rate, at, span, words, bits, feeling::text, both_::text",
    "distinct": "INSERT INTO counts (id, n) SELECT DISTINCT n % 10, 1 FROM source_ RETURNING id",
    "distinct on": "INSERT INTO counts (id, n) SELECT DISTINCT ON (n % 10) n % 10, n FROM source_ ORDER BY n % 10, n DESC",
    "a union": "INSERT INTO counts (id, n) SELECT n, 1 FROM source_ UNION SELECT id + 50, 1 FROM users",
    "an intersection": "INSERT INTO counts (id) SELECT n FROM source_ INTERSECT SELECT score FROM users RETURNING id, n",
    "a subquery": "INSERT INTO counts (id, n) SELECT id * 3, (SELECT count(*) FROM users u WHERE u.score = s.n) FROM source_ s",
    "with": "WITH w AS (SELECT score, count(*) AS c FROM users GROUP BY score) INSERT INTO counts (id, n) SELECT s.id * 5, w.c FROM source_ s JOIN w ON w.score = s.n",
    "with inside": "INSERT INTO counts (id, n) WITH w AS (SELECT score, count(*) AS c FROM users GROUP BY score) SELECT score + 20, c FROM w WHERE score IS NOT NULL",
    "in parentheses": f"INSERT INTO counts (id, n)({BY_FIVE});",
    "ordered and limited": "INSERT INTO counts (id, n) SELECT n % 9, count(*) FROM source_ GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 4 OFFSET 1 RETURNING id",
    "literals": "INSERT INTO kept (id, at, feeling, words, bits, name) SELECT count(*), '2024-01-02', 'happy', '{a,NULL}', '101', NULL FROM source_ GROUP BY n % 3",
    "assignment casts": "INSERT INTO kept (id, n, name, rate) SELECT sum(n), avg(n), max(at), sum(n) FROM source_ GROUP BY n % 4",
    "conflicts ignored": f"INSERT INTO counts (id, n) {BY_FIVE} ON CONFLICT DO NOTHING RETURNING *",
    "conflicts on": f"INSERT INTO counts AS c (id, n) {BY_FIVE} ON CONFLICT (id) DO UPDATE SET n = c.n + excluded.n, note = 'again' WHERE c.n > 2 RETURNING id, c.n",
    "itself": "INSERT INTO counts SELECT id + 1000, count(*) OVER () FROM counts RETURNING id, n",
    "no rows": f"INSERT INTO counts (id, n) {BY_FIVE} HAVING false RETURNING id, note",
    "comments": "/* a */ INSERT INTO -- c\n counts (id, n) /* d; */ SELECT n % 5, -- e\n count(*) FROM source_ /* f */ GROUP BY 1 -- g",
}
MERGED_WRONG = {
    "a conflict, twice the same row": ("INSERT INTO counts (id, n) SELECT DISTINCT n % 20, n FROM source_ ON CONFLICT (id) DO UPDATE SET n = 1", "21000"),
    "a duplicate": ("INSERT INTO counts (id, n) SELECT DISTINCT n % 7, n FROM source_", "23505"),
    "a null key": ("INSERT INTO counts (id, n) SELECT nullif(n % 5, 3), count(*) FROM source_ GROUP BY 1", "23502"),
    "a failing expression": ("INSERT INTO counts (id, n) SELECT n % 5, 1 / (count(*) - 12) FROM source_ GROUP BY 1", "22012"),
    "a wrong type": ("INSERT INTO counts (id, n) SELECT n % 5, max(name) FROM source_ GROUP BY 1 HAVING false", "42804"),
    "too long": ("INSERT INTO kept (id, rate) SELECT n % 5, 12345678.9 * count(*) FROM source_ GROUP BY 1", "22003"),
    "too many columns": ("INSERT INTO counts (id, n) SELECT n % 5, 1, count(*) FROM source_ GROUP BY 1", "42601"),
    "an unknown column": ("INSERT INTO counts (id, n) SELECT nothing, count(*) FROM source_ GROUP BY 1", "42703"),
    "an ungrouped column": ("INSERT INTO counts (id, n) SELECT n, count(*) FROM source_", "42803"),
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", MERGED)
def test_merged(world, both, name, how):
    tag, _, _ = same_each_way(world, both, name, MERGED[name], how)
    assert tag.startswith("INSERT 0 ") and (tag == "INSERT 0 0") == (name == "no rows")


@pytest.mark.parametrize("how", ("simple", "extended"))
@pytest.mark.parametrize("name", MERGED_WRONG)
def test_merged_with_an_error(world, both, name, how):
    sql, code = MERGED_WRONG[name]
    assert same_each_way(world, both, name, sql, how) == code
    # In a transaction block it takes all back.
    for each in both:
        with pytest.raises(psycopg.Error) as error, each.transaction():
            each.execute("INSERT INTO counts (id, n) VALUES (7001, 1), (7002, 2)")
            each.execute(sql)
        assert error.value.sqlstate == code
    contents(world, "counts")


def test_merged_into_other_tables(world, both):
    for sql in ("INSERT INTO places SELECT max(name), count(*) FROM source_ GROUP BY n % 4",
                "INSERT INTO places (code, n) SELECT 'u' || u.id, count(*) FROM users u JOIN source_ s ON u.score = s.n GROUP BY u.id RETURNING *",
                "INSERT INTO places (code, n) SELECT code, sum(n) OVER (ORDER BY code) FROM places ON CONFLICT (code) DO UPDATE SET n = excluded.n",
                "INSERT INTO places SELECT DISTINCT 'd' || n % 3, 1 FROM source_"):
        assert same(world, both, sql)[0].startswith("INSERT 0 ")
        contents(world, "places", None)
    for sql in ("INSERT INTO notes SELECT 100 + n % 7, max(name) FROM source_ GROUP BY n % 7 RETURNING id, body",
                "INSERT INTO notes (body, id) SELECT u.name, 200 + u.id * 10 + s.n FROM users u JOIN source_ s ON u.score = s.n",
                "INSERT INTO notes (id) SELECT n FROM source_ UNION SELECT score FROM users WHERE score > 0 ON CONFLICT DO NOTHING RETURNING id"):
        assert same(world, both, sql)[0].startswith("INSERT 0 ")
        same(world, both, "SELECT * FROM notes")


def test_merged_with_parameters(world, both):
    for values in ([3, "a", 5], [7, None, 50]):
        for prepare in (False, True):
            for sql in ("INSERT INTO counts (id, n, note) SELECT n %% 6 + %s, count(*), %s FROM source_ WHERE n > %s GROUP BY 1 RETURNING *",
                        "INSERT INTO kept (id, n, name) SELECT n * 100 + %s, rank() OVER (ORDER BY n), %s FROM source_ WHERE n > %s"):
                found = same(world, both, sql, values, tables=("counts", "kept"), prepare=prepare)
                assert found == "23505" or found[0].startswith("INSERT 0 ")


def test_merged_in_a_transaction(world, both):
    """It reads what the transaction has written, and is taken back with it."""
    for each in both:
        with each.transaction():
            each.execute("INSERT INTO source_ (id, n) VALUES (500, 500), (501, 500)")
            each.execute("INSERT INTO counts (id, n) SELECT n, count(*) FROM source_ GROUP BY n")
            assert each.execute("SELECT n FROM counts WHERE id = 500").fetchall() == [(2,)]
            with pytest.raises(psycopg.errors.UniqueViolation), each.transaction():
                each.execute("INSERT INTO counts (id, n) SELECT n, rank() OVER (ORDER BY n) FROM source_")
            each.execute("INSERT INTO kept (id, n) SELECT a.id, b.n FROM counts a JOIN counts b ON a.n = b.id")
        with pytest.raises(ZeroDivisionError), each.transaction():
            each.execute("INSERT INTO counts (id, n) SELECT 9000 + n % 5, count(*) FROM source_ GROUP BY 1")
            raise ZeroDivisionError
    for table in ("counts", "kept"):
        contents(world, table)


def test_merged_many_rows(world, both):
    same(world, both, "INSERT INTO counts (id, n) SELECT g, g FROM generate_series(1, 30000) g")
    sql = "INSERT INTO kept (id, n, name) SELECT id * 7, row_number() OVER (ORDER BY n DESC), repeat(note, 20) FROM counts RETURNING id, n"
    assert same(world, both, sql, tables=("kept",))[0] == "INSERT 0 30000"


def test_merged_in_one_message(world, both):
    sql = f"INSERT INTO counts (id, n) {BY_FIVE}; INSERT INTO counts (id, n) SELECT id + 100, count(*) OVER () FROM counts; SELECT count(*), sum(id) FROM counts"
    for each in both:
        each.execute(sql)
    contents(world, "counts")
    for each in both:
        assert answer(each, sql) == "23505"
    contents(world, "counts")


def test_merged_and_explained(world, both):
    parts, _ = both
    text = "\n".join(line for (line,) in parts.execute(f"EXPLAIN (PGSHUNT) INSERT INTO counts (id, n) {BY_FIVE}"))
    assert "rows of: SELECT" in text and "INSERT INTO counts (id, n)" in text, text
    assert parts.execute("SELECT count(*) FROM counts").fetchone() == (0,)
