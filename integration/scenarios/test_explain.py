"""EXPLAIN (PGSHUNT) by the extended protocol, as drivers send it, and its options."""

import struct

import psycopg
import pytest

from differential.world import PARTS
from harness.postgres import PASSWORD, SUPERUSER
from harness.wire import (Wire, bind, close_portal, close_statement, describe_portal, describe_statement, errors, execute, flush,
                          parse, query, rows, run, sync, tags, types)

TEXT, JSON, INT8, INT4, UUID = 25, 114, 20, 23, 2950


@pytest.fixture(autouse=True)
def as_in_the_beginning(world):
    world.reset()


@pytest.fixture
def wire(world):
    with Wire(world.proxy, PARTS, user=SUPERUSER, password=PASSWORD) as wire:
        yield wire


@pytest.fixture
def connect(world):
    made = []

    def connect(**more):
        made.append(psycopg.connect(host=world.servers[0].host, port=world.proxy.port, user=SUPERUSER, password=PASSWORD,
                                    dbname=PARTS, autocommit=True, **more))
        return made[-1]
    yield connect
    for connection in made:
        connection.close()


def shard_of(connection, key):
    """As the route of a simple query says."""
    (plan,), = connection.execute(f"EXPLAIN (PGSHUNT, FORMAT JSON) SELECT * FROM users WHERE id = {key}").fetchall()
    (part,) = plan[0]["Shards"]
    return part["Shard"]


def lines_of(cursor):
    return [row[0] for row in cursor.fetchall()]


def test_the_parameters_say_where_it_goes(connect):
    connection = connect(prepare_threshold=2)
    shards = {key: shard_of(connection, key) for key in range(1, 13)}
    assert len(set(shards.values())) == 3
    sql = "EXPLAIN (PGSHUNT) SELECT name FROM users WHERE id = %s"
    for binary in (False, True):
        for value in ("%s", "%b", "%t"):
            for key, shard in shards.items():  # also prepared, from the second time on
                lines = lines_of(connection.execute(sql.replace("%s", value), [key], binary=binary))
                assert lines[0] == "Route: one shard"
                assert lines[2] == f"  Shard {shard}: SELECT name FROM users WHERE id = $1"
    plan, = lines_of(connection.execute("EXPLAIN (PGSHUNT, FORMAT JSON) SELECT * FROM users WHERE id IN (%s, %s)", [1, 1], binary=True))
    assert [part["Shard"] for part in plan[0]["Shards"]] == [shards[1]]
    lines = lines_of(connection.execute("EXPLAIN (PGSHUNT) SELECT name FROM users ORDER BY id LIMIT %s", [3]))
    assert lines[0] == "Route: read of several shards" and lines[-1].endswith("take 3")


def test_an_insert_is_taken_apart_by_its_parameters(connect):
    connection = connect()
    shards = {key: shard_of(connection, key) for key in range(201, 213)}
    values = [value for key in shards for value in (key, "x")]
    insert = "INSERT INTO users (id, name) VALUES " + ", ".join(["(%s, %s)"] * len(shards))
    plan, = lines_of(connection.execute(f"EXPLAIN (PGSHUNT, FORMAT JSON) {insert}", values))
    assert plan[0]["Route"] == "write of several shards"
    assert {part["Shard"]: part["Text"].count("($") for part in plan[0]["Shards"]} == {
        shard: list(shards.values()).count(shard) for shard in set(shards.values())}
    plan, = lines_of(connection.execute(f"EXPLAIN (PGSHUNT, ANALYZE, FORMAT JSON) {insert}", values))
    assert len(plan[0]["Shards"]) == 3
    assert len(connection.execute("SELECT id FROM users WHERE id > 200").fetchall()) == len(shards)


def test_a_server_describes_it(world, connect):
    connection = connect()
    sql = "SELECT name FROM users WHERE id = $1 AND tag = $2 AND score = $3"
    with psycopg.connect(world.servers[0].dsn(PARTS)) as direct:
        for options, own, kind in (("PGSHUNT", "", TEXT), ("PGSHUNT, FORMAT JSON", "(FORMAT JSON)", JSON)):
            described = []
            for link, text in ((connection, f"EXPLAIN ({options}) {sql}"), (direct, f"EXPLAIN {own} {sql}")):
                for step in (link.pgconn.prepare(b"", text.encode()), link.pgconn.describe_prepared(b"")):
                    assert step.status == psycopg.pq.ExecStatus.COMMAND_OK, step.error_message
                described.append(([step.param_type(i) for i in range(step.nparams)], step.nfields, step.fname(0), step.ftype(0),
                                  step.fsize(0), step.fmod(0)))
            assert described[0] == described[1] == ([INT8, UUID, INT4], 1, b"QUERY PLAN", kind, -1, -1)


@pytest.mark.parametrize("statement", ["", "s"])
def test_as_jdbc_sends_it(wire, statement):
    sql = "EXPLAIN (PGSHUNT, ANALYZE) SELECT name FROM users WHERE id = $1"
    answers = wire.ask(parse(statement, sql), describe_statement(statement), bind("", statement, ["5"]), describe_portal(),
                       execute(), sync())
    assert types(answers) == "1tT2TDDDDDCZ" and tags(answers) == ["EXPLAIN"]
    assert rows(answers)[0] == ["Route: one shard"] and "rows=1" in rows(answers)[3][0]
    # Once prepared, and bound in binary; two in a pipeline, with another statement between.
    eight = bind("", statement, [struct.pack("!q", 5)], formats=[1], results=[1])
    answers = wire.ask(eight, describe_portal(), execute(), sync())
    assert types(answers) == "2TDDDDDCZ"
    answers = wire.ask(eight, execute(), parse("o", "SELECT 7"), bind("", "o"), execute(), eight, execute(), close_portal(), sync())
    assert types(answers) == "2DDDDDC12DC2DDDDDC3Z" and ["7"] in rows(answers)
    assert wire.query("SELECT 1") == [["1"]]
    # In steps, each behind a Flush.
    wire.send(parse("f", sql), describe_statement("f"), flush())
    assert types(wire.until("T")) == "1tT"
    wire.send(bind("", "f", ["5"]), flush())
    assert types(wire.until("2")) == "2"
    assert types(wire.ask(execute(), sync())) == "DDDDDCZ"


def test_in_portions(wire):
    assert types(wire.ask(query("BEGIN"))) == "CZ"
    answers = wire.ask(run("EXPLAIN (PGSHUNT) SELECT name FROM users ORDER BY id LIMIT 3")[:-10], execute("", 2), sync())
    assert types(answers) == "12DDsZ"
    first = rows(answers)
    more = wire.ask(execute("", 3), sync())
    assert types(more) == "DDDsZ"
    rest = wire.ask(execute(), sync())
    assert types(rest) == "DCZ" and tags(rest) == ["EXPLAIN"]
    whole = rows(wire.ask(query("EXPLAIN (PGSHUNT) SELECT name FROM users ORDER BY id LIMIT 3")))
    assert first + rows(more) + rows(rest) == whole
    assert types(wire.ask(execute(), sync())) == "CZ"
    # ANALYZE runs once.
    insert = parse("", "EXPLAIN (PGSHUNT, ANALYZE) INSERT INTO users (id) VALUES ($1)") + bind("p", "", ["301"])
    assert types(wire.ask(insert, execute("p", 1), sync())) == "12DsZ"
    # Who asks for as many as there are left is not told that there are no more.
    assert types(wire.ask(execute("p", 4), execute("p"), sync())) == "DDDDsCZ"
    assert wire.query("SELECT id FROM users WHERE id = 301") == [["301"]]
    assert types(wire.ask(query("COMMIT"))) == "CZ"
    answers = wire.ask(execute("p"), sync())
    assert errors(answers) == ["34000"]


def test_a_portal_lives_as_long_as_others(wire):
    explain = parse("", "EXPLAIN (PGSHUNT) SELECT 1") + bind("p")
    assert types(wire.ask(explain, sync())) == "12Z"
    assert errors(wire.ask(execute("p"), sync())) == ["34000"]
    assert errors(wire.ask(explain, close_portal("p"), execute("p"), sync())) == ["34000"]
    answers = wire.ask(explain, execute("p"), close_portal("p"), parse("", "SELECT 5"), bind("p"), execute("p"), sync())
    assert not errors(answers) and rows(answers)[-1] == ["5"]
    wire.ask(query("BEGIN"))
    wire.ask(explain, sync())
    assert rows(wire.ask(execute("p"), sync()))[0] == ["Route: any shard"]
    wire.ask(query("ROLLBACK"))
    assert errors(wire.ask(execute("p"), sync())) == ["34000"]


def test_errors_skip_to_the_sync(wire, world):
    explain = "EXPLAIN (PGSHUNT) SELECT name FROM users WHERE id = $1"
    later = parse("", "SELECT 1") + bind() + execute() + sync()
    for messages, code in ((parse("", "EXPLAIN (PGSHUNT) SELECT nothing FROM users WHERE id = $1"), "42703"),
                           (parse("", "EXPLAIN (PGSHUNT) SELEC 1"), "42601"),
                           (parse("", "EXPLAIN (PGSHUNT, COSTS) SELECT 1"), "22023"),
                           (parse("", explain) + bind("", "", ["five"]), "22P02"),
                           (parse("", explain) + bind("", "", []), "08P01"),
                           (parse("", explain) + bind("", "", ["5", "6"]) + execute(), "08P01"),
                           (parse("", "EXPLAIN (PGSHUNT, ANALYZE) SELECT 1 / $1 FROM users WHERE id = 5")
                            + bind("", "", ["0"]) + execute(), "22012"),
                           (parse("", "EXPLAIN (PGSHUNT, ANALYZE) SELECT pg_advisory_lock($1)") + bind("", "", ["5"]) + execute(),
                            "0A000")):
        answers = wire.ask(messages, later)
        assert errors(answers) == [code] and not rows(answers), answers
        assert types(answers).endswith("EZ")
        assert wire.query("SELECT 1") == [["1"]]
    # Where in the client's text.
    sql = "EXPLAIN (PGSHUNT, FORMAT JSON) SELECT nothing FROM users WHERE id = $1"
    (error,) = [answer for answer in wire.ask(parse("", sql), sync()) if answer.type == "E"]
    assert int(error.fields["P"]) == sql.index("nothing") + 1


def test_in_a_failed_transaction(wire):
    explain = "EXPLAIN (PGSHUNT) SELECT name FROM users WHERE id = $1"
    wire.ask(parse("s", explain), sync())
    wire.ask(query("BEGIN"))
    wire.ask(query("SELECT 1 / 0"))
    for messages in (run(explain, ["5"]), bind("", "s", ["5"]) + execute()):
        answers = wire.ask(messages, sync())
        assert errors(answers) == ["25P02"] and not rows(answers)
    wire.ask(query("ROLLBACK"))
    assert not errors(wire.ask(bind("", "s", ["5"]), execute(), sync()))


def test_analyze_is_part_of_its_transaction(world, connect):
    connection = connect()
    update = "EXPLAIN (PGSHUNT, ANALYZE) UPDATE users SET score = %s"
    for sql in (update, update + " WHERE id = 5"):
        with connection.transaction(force_rollback=True):
            lines = lines_of(connection.execute(f"{sql} RETURNING id", [77]))
            told = sum(int(line.split("rows=")[1].split()[0]) for line in lines if "rows=" in line)
            assert len(connection.execute("SELECT id FROM users WHERE score = 77").fetchall()) == told > 0
        assert not connection.execute("SELECT id FROM users WHERE score = 77").fetchall()
        connection.execute(sql, [78])
        assert connection.execute("SELECT id FROM users WHERE score = 78").fetchall()
    connection.execute("EXPLAIN (PGSHUNT, ANALYZE) UPDATE countries SET name = %s", ["x"])
    assert {row[0] for row in connection.execute("SELECT name FROM countries")} == {"x"}
    for server in world.servers:
        assert {row[0] for row in server.execute("SELECT name FROM countries", dbname=PARTS)} == {"x"}
    # A pipeline is one transaction.
    with pytest.raises(psycopg.errors.UniqueViolation), connection.pipeline():
        connection.execute("EXPLAIN (PGSHUNT, ANALYZE) INSERT INTO users (id) VALUES (%s), (%s), (%s)", [401, 402, 403])
        connection.execute("INSERT INTO users (id) VALUES (%s)", [5])
    assert not connection.execute("SELECT id FROM users WHERE id > 400").fetchall()


def test_what_servers_cannot_explain(connect):
    connection = connect()
    for sql in ("TRUNCATE users", "COPY users TO STDOUT", "CREATE INDEX i ON users (name)"):
        assert lines_of(connection.execute(f"EXPLAIN (PGSHUNT) {sql}", prepare=True)) == lines_of(
            connection.execute(f"EXPLAIN (PGSHUNT) {sql}", prepare=False))


def test_keys_of_a_directory(connect):
    connection = connect()
    insert = "INSERT INTO rooms VALUES (%s, 1)"
    for _ in range(2):  # which gives it no shard
        lines = lines_of(connection.execute(f"EXPLAIN (PGSHUNT) {insert}", [4711]))
        assert lines[0] == "Route: as the directory decides" and lines[-1] == "  New key: rooms 4711"
    lines = lines_of(connection.execute(f"EXPLAIN (PGSHUNT, ANALYZE) {insert}", [4711]))
    assert lines[0] == "Route: one shard"
    (line,) = (line for line in lines_of(connection.execute("EXPLAIN (PGSHUNT) SELECT v FROM rooms WHERE k = %s", [4711]))
               if "Shard" in line)
    assert line.split(":")[0] == lines[2].split(":")[0]
    assert connection.execute("SELECT v FROM rooms WHERE k = %s", [4711]).fetchall() == [(1,)]


def test_a_hint_says_where(connect):
    connection = connect()
    sql = "EXPLAIN (PGSHUNT) SELECT count(*) FROM users WHERE id > %s"
    for _ in range(2):
        lines = lines_of(connection.execute(f"/* pgshunt: shard=shard2 */ {sql}", [5], prepare=True))
        assert lines[1] == "  Why: the hint shard=shard2 says so" and lines[2].startswith("  Shard shard2: ")
        connection.execute("SET pgshunt.shard = shard3")
        assert lines_of(connection.execute(sql, [5], prepare=True))[2].startswith("  Shard shard3: ")
        connection.execute("RESET pgshunt.shard")
        assert lines_of(connection.execute(sql, [5], prepare=True))[0] == "Route: read of several shards"


def test_options(connect):
    connection = connect()
    for extended in (False, True):
        def explain(options, sql="SELECT name FROM users WHERE id = 5"):
            return lines_of(connection.execute(f"EXPLAIN ({options}) {sql}", prepare=extended))
        (plan,) = explain("PGSHUNT, ANALYZE, FORMAT JSON, BUFFERS, COSTS off")
        node = plan[0]["Shards"][0]["Explain"][0]["Plan"]
        assert "Shared Hit Blocks" in node and "Total Cost" not in node
        for options, error, words in (("PGSHUNT, COSTS off", "22023", "COSTS only with both ANALYZE and FORMAT JSON"),
                                      ("PGSHUNT, ANALYZE, BUFFERS", "22023", "BUFFERS only with"),
                                      ("PGSHUNT, FORMAT XML", "0A000", "FORMAT JSON"),
                                      ("PGSHUNT, SUMMARY", "0A000", "There are ANALYZE, FORMAT"),
                                      ("PGSHUNT, ROUTES", "22023", "There are ANALYZE, FORMAT"),
                                      ("PGSHUNT foo", "22023", "Boolean value")):
            with pytest.raises(psycopg.Error, match=words) as refused:
                explain(options)
            assert refused.value.sqlstate == error
        # Off is as if it were not there.
        for options in ("PGSHUNT off", "PGSHUNT false, COSTS", "COSTS, PGSHUNT 0"):
            assert explain(options)[0].startswith("Index Scan using users_pkey on users")
        assert explain("COSTS off, PGSHUNT off")[0] == "Index Scan using users_pkey on users"
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="EXPLAIN of a statement that runs on several shards"):
            explain("PGSHUNT off", "SELECT name FROM users")
        with pytest.raises(psycopg.errors.SyntaxError):
            explain("PGSHUNT off, ROUTES")
    lines = lines_of(connection.execute("EXPLAIN (PGSHUNT off) SELECT name FROM users WHERE id = %s", [5]))
    assert lines[0].startswith("Index Scan using users_pkey on users")
    with pytest.raises(psycopg.errors.SyntaxError):
        connection.execute("EXPLAIN (PGSHUNT)")


# --- ANALYZE of what the merge node runs -----------------------------------------------------------

MERGED = "SELECT u.country, count(*) FROM users u JOIN posts p ON u.score = p.likes WHERE u.id > 3 GROUP BY u.country"


def brought(connection):
    """The rows of users and posts that the merge node needs for it."""
    return [connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0] for what in ("users WHERE id > 3", "posts")]


def told_rows(lines):
    return [int(line.split("rows=")[1].split()[0]) for line in lines if "rows=" in line and "time=" in line]


@pytest.mark.parametrize("prepare", [False, True])
def test_the_merge_node_analyzed(world, connect, prepare):
    connection = connect()
    lines = lines_of(connection.execute(f"EXPLAIN (PGSHUNT, ANALYZE) {MERGED}", prepare=prepare))
    assert lines[0].startswith("Route: merge node") and lines[-1].startswith("Execution Time: ")
    merge = next(n for n, line in enumerate(lines) if line.strip().startswith("Merge: "))
    for server in world.servers:
        assert any("rows=" in line and f"{server.name} " in line for line in lines[:merge]), lines
    assert sum(told_rows(lines[:merge])) == sum(brought(connection))
    assert told_rows(lines[merge:]) == [len(connection.execute(MERGED).fetchall())], lines
    # Nothing is left, and it may be told again.
    assert lines_of(connection.execute(f"EXPLAIN (PGSHUNT, ANALYZE) {MERGED}"))[0] == lines[0]


def test_the_merge_node_analyzed_as_json(world, connect):
    connection = connect()
    (plan,), = connection.execute(f"EXPLAIN (PGSHUNT, ANALYZE, FORMAT JSON) {MERGED}").fetchall()
    shards = plan[0]["Shards"]
    assert all(part["Actual Time"] >= 0 for part in shards) and plan[0]["Merge Time"] >= 0
    for table, count in zip(("users", "posts"), brought(connection)):
        part, = (part for part in shards if f'"{table}"' in part["Text"])
        assert {each["Shard"] for each in part["Brought"]} == {server.name for server in world.servers}
        assert sum(each["Rows"] for each in part["Brought"]) == count


def test_the_merge_node_analyzed_in_a_transaction(connect):
    connection = connect()
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE users SET score = 3")
        connection.execute("DELETE FROM posts WHERE likes <> 3")
        lines = lines_of(connection.execute("EXPLAIN (PGSHUNT, ANALYZE) " + MERGED.replace("3 GROUP", "%s GROUP"), [3]))
        merge = next(n for n, line in enumerate(lines) if line.strip().startswith("Merge: "))
        assert sum(told_rows(lines[:merge])) == sum(brought(connection))
        assert told_rows(lines[merge:]) == [4]
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("EXPLAIN (PGSHUNT, ANALYZE) SELECT sum(1 / (u.score - u.score)) FROM users u JOIN posts p ON u.score = p.likes")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_groups_analyzed(world, connect):
    """Put together of what each shard says of its own rows."""
    connection = connect()
    lines = lines_of(connection.execute("EXPLAIN (PGSHUNT, ANALYZE) SELECT country, count(*) FROM users GROUP BY country"))
    for server in world.servers:
        assert any(line.strip().startswith(f"Shard {server.name}: ") for line in lines), lines
    merge = next(n for n, line in enumerate(lines) if line.strip().startswith("Merge: "))
    assert sum(told_rows(lines[:merge])) >= 4
