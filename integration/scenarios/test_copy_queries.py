"""COPY (select) TO STDOUT over shards: the bytes of one server that has all rows, in its order where that is total. COPY of tables is
in test_copy.py."""

import asyncio
import io
import struct
import subprocess

import asyncpg
import psycopg
import psycopg2
import pytest

from differential.world import PARTS, WHOLE
from harness import wait_until
from harness.postgres import BIN, PASSWORD
from harness.wire import (bind, describe_portal, describe_statement, errors, execute, flush, parse, query, run, sync, tags, types)
from selects import SELECTS, some
from twice import Refused, may_be_refused, told

FORMATS = ("", "(FORMAT csv)", "(FORMAT csv, HEADER)", "(FORMAT csv, FORCE_QUOTE *, NULL 'nil')", "CSV HEADER QUOTE AS '\"'",
           "(FORMAT csv, QUOTE '''', ESCAPE '\\', DELIMITER ';')", "(DELIMITER '|', NULL '')", "(HEADER, NULL 'NULL')", "(FORMAT binary)")
# What a format must not take for something of its own.
NASTY = ["tab\there", "new\nline", "return\rhere", "both\r\nof them", "back\\slash", "\\.", "\\N", "", None, 'quote"s', "apostrophe's", "comma, semicolon; pipe|",
         "größe 世界 \U0001f418", "\b\f\v", " around ", "NULL", "nil", "\x01", "x" * 3000, '"', "\\", "\n", "\\.\n"]
ORDERED, MERGED = SELECTS["ordered"].sql, SELECTS["a join"].sql
MANY = "SELECT u.id, g, repeat('x', 50) FROM users u, generate_series(1, 700) g"  # of all shards


def literal(value):
    return "NULL" if value is None else "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


INSERT_NASTY = "INSERT INTO posts (user_id, id, body, likes) VALUES " + ", ".join(
    f"({n}, {100 + n}, {literal(value)}, {n % 5})" for n, value in enumerate(NASTY, 1))
OF_NASTY = {
    "ordered": "SELECT user_id, body, likes FROM posts WHERE id > 100 ORDER BY user_id",
    "hidden": "SELECT body, likes FROM posts WHERE id > 100 ORDER BY user_id",
    "no order": "SELECT body FROM posts WHERE id > 100",
    "joined": "SELECT p.body, u.id FROM posts p LEFT JOIN users u ON u.id = p.likes WHERE p.id > 100 ORDER BY p.user_id",
    "window": "SELECT body, row_number() OVER (ORDER BY user_id) FROM posts WHERE id > 100 ORDER BY 2",
    "one shard": "SELECT body FROM posts WHERE user_id = 1 AND id > 100",
}


def copied(answers):
    """What must be alike but for the rows, and the bytes of these: who sends them may cut them as it likes."""
    data = b"".join(answer.body for answer in answers if answer.type == "d")
    return [told(answer) for answer in answers if answer.type not in "NSAd"], data


def pieces(data):
    """Rows, where they are of no order. Of text they may be less than a row, and are enough."""
    if not data.startswith(b"PGCOPY\n"):
        return sorted(data.split(b"\n"))
    found, at = [], 19
    while (fields := struct.unpack_from("!h", data, at)[0]) != -1:
        start, at = at, at + 2
        for _ in range(fields):
            at += 4 + max(struct.unpack_from("!i", data, at)[0], 0)
        found.append(data[start:at])
    assert at + 2 == len(data), "more behind the trailer"
    return sorted(found)


def same(twice, *messages, ordered=True):
    """Of one COPY; the whole's answers."""
    whole, parts = (wire.ask(*messages) for wire in twice.wires)
    problems = [answer.fields for answer in parts if answer.type == "E"]
    if any(each["C"] == "0A000" for each in problems) and "0A000" not in errors(whole):
        raise Refused(f"refused: {problems[0]['C']} {problems[0]['M']}")
    (wanted, rows_), (found, others) = copied(whole), copied(parts)
    if errors(whole):  # whether Parse or Execute finds it
        assert (errors(parts), found[-1]) == (errors(whole), wanted[-1]), problems
        return whole
    assert found == wanted, problems
    if ordered:
        assert others == rows_
    else:
        assert pieces(others) == pieces(rows_)
        assert "HEADER" not in str(messages) or others.split(b"\n")[0] == rows_.split(b"\n")[0]
    return whole


# --- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(**some())
def test_formats(twice, sql, ordered, form):
    answers = same(twice, query(f"COPY ({sql}) TO STDOUT {form}"), ordered=ordered)
    assert tags(answers)[0].startswith("COPY ") and not errors(answers)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", OF_NASTY)
def test_values_that_need_care(twice, name, form):
    """Written by the transaction that copies them."""
    twice.say("BEGIN", INSERT_NASTY)
    answers = same(twice, query(f"COPY ({OF_NASTY[name]}) TO STDOUT {form}"), ordered=name != "no order")
    assert tags(answers) == ["COPY 1" if name == "one shard" else f"COPY {len(NASTY)}"]
    twice.say("ROLLBACK")


@pytest.mark.parametrize("form", ["(FORMAT csv, FORCE_QUOTE (name))", "(FORMAT csv, FORCE_QUOTE (name, id), HEADER)", "CSV FORCE QUOTE id",
                                  "(FORMAT csv, FORCE_QUOTE (nothing))", "(FORMAT csv, FORCE_QUOTE (noted))", "(FORCE_QUOTE (id))", "(FORMAT csv, NULL '\"')",
                                  "(FORMAT csv, DELIMITER ',,')", "(FORMAT binary, HEADER)", "(FORMAT binary, DELIMITER ',')", "(FORMAT nothing)",
                                  "(FORMAT csv, FORMAT text)", "(HEADER match)", "(FORCE_NULL (id), FORMAT csv)", "(FREEZE)", "(DELIMITER E'\\n')",
                                  "(FORMAT 'csv', HEADER true)", "(format TEXT, header false)", "WITH CSV", "WITH DELIMITER ';' NULL AS 'x'"])
@pytest.mark.parametrize("sql", ["SELECT id, name FROM users ORDER BY id", "SELECT name, id, noted FROM users ORDER BY noted, id",
                                 "SELECT u.id, max(p.body) AS name FROM users u JOIN posts p ON u.score = p.likes GROUP BY u.id ORDER BY u.id"])
def test_options(twice, sql, form):
    same(twice, query(f"COPY ({sql}) TO STDOUT {form}"))
    twice.say("SELECT 1")


def test_settings_of_the_session(twice):
    twice.say("SET timezone = 'Asia/Kolkata'", "SET datestyle = 'SQL, DMY'", "SET bytea_output = 'escape'", "SET intervalstyle = 'iso_8601'")
    for sql in (SELECTS["every type"].sql, "SELECT date_trunc('day', seen), count(*), max(span), max(day) FROM items GROUP BY 1 ORDER BY 1",
                "SELECT i.id, e.no, i.seen, i.raw, i.span, e.at FROM items i JOIN events e ON e.n = i.n ORDER BY i.id, e.item_id, e.no"):
        with may_be_refused(twice):
            same(twice, query(f"COPY ({sql}) TO STDOUT"))


# --- the protocol ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", "(FORMAT csv, HEADER)", "(FORMAT binary)"])
@pytest.mark.parametrize(**some())
def test_extended(twice, sql, ordered, form):
    copy = f"COPY ({sql}) TO STDOUT {form}"
    same(twice, parse("s", copy), describe_statement("s"), bind("", "s"), describe_portal(), execute(), sync(), ordered=ordered)
    same(twice, bind("p", "s", results=[1]), execute("p", 2), sync(), ordered=ordered)  # COPY knows no limit, and its own format
    twice.say("BEGIN")
    same(twice, bind("p", "s"), describe_portal("p"), execute("p"), sync(), ordered=ordered)
    twice.ask(execute("p"), sync())
    twice.say("ROLLBACK")


def test_pipelines(twice):
    """Among other statements, and behind a Flush."""
    for sql in (ORDERED, MERGED):
        copy = run(f"COPY ({sql}) TO STDOUT")
        same(twice, run("SELECT count(*) FROM users"), copy, run("SELECT 2"), copy, sync())
        same(twice, run("BEGIN"), run("UPDATE users SET name = 'changed', score = 3"), copy, run("ROLLBACK"), sync())
        twice.ask(copy, flush(), until="C", ordered=True)
        twice.ask(sync())
        same(twice, parse("", f"COPY ({sql}) TO STDOUT") + bind("", "", ["5"]) + execute(), sync())
        twice.say("SELECT 1")


def test_in_one_message(twice):
    for sql in (ORDERED, MERGED, SELECTS["a reference table"].sql):
        copy = f"COPY ({sql}) TO STDOUT"
        for message in (f"SELECT 1; {copy}; SELECT 2", f"{copy}; {copy}", f"BEGIN; UPDATE users SET name = 'x'; {copy}; ROLLBACK", f"{copy}; SELECT 1 / 0",
                        f"SELECT count(*) FROM users; {copy};", f"/* a; */ {copy} -- b"):
            same(twice, query(message))
            twice.say("SELECT 1")


def test_transactions(twice):
    for sql in (ORDERED, MERGED, SELECTS["groups"].sql, SELECTS["all shards"].sql):
        ordered = sql != SELECTS["all shards"].sql
        twice.say("BEGIN", "UPDATE users SET score = 3 WHERE id < 12", "SAVEPOINT a", "DELETE FROM posts WHERE likes = 3")
        same(twice, query(f"COPY ({sql}) TO STDOUT"), ordered=ordered)
        twice.say("ROLLBACK TO a")
        same(twice, query(f"COPY ({sql}) TO STDOUT (FORMAT csv)"), ordered=ordered)
        twice.say("SELECT count(*) FROM users", "ROLLBACK")
        for begin in ("BEGIN READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN ISOLATION LEVEL REPEATABLE READ"):
            twice.say(begin)
            same(twice, query(f"COPY ({sql}) TO STDOUT"), ordered=ordered)
            twice.say("COMMIT")


def test_many_rows(twice):
    for sql, ordered in ((f"{MANY} ORDER BY g, u.id", True), (MANY, False), (f"SELECT x.*, count(*) OVER () FROM ({MANY}) x WHERE g < 70 ORDER BY g, id", True)):
        answers = same(twice, query(f"COPY ({sql}) TO STDOUT"), ordered=ordered)
        assert tags(answers) in (["COPY 16800"], ["COPY 1656"])


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", "(FORMAT binary)"])
@pytest.mark.parametrize("sql", [
    "SELECT id, 100 / (id - 13) FROM users ORDER BY id", "SELECT id, 100 / (id - 13) FROM users", "SELECT u.id, 100 / (g - 600) FROM users u, generate_series(1, 700) g",
    "SELECT u.id, 100 / (u.id - 13) FROM users u JOIN posts p ON u.score = p.likes ORDER BY u.id, p.user_id, p.id",
    "SELECT score, 1 / (count(*) - count(*)) FROM users GROUP BY score"])
def test_an_error_among_the_rows(twice, sql, form):
    """Whatever came before: there is no end of rows then, and no tag."""
    for block in (False, True):
        if block:
            twice.say("BEGIN", "UPDATE users SET name = 'x'")
        for wire in twice.wires:
            for begin in (query(f"COPY ({sql}) TO STDOUT {form}"), parse("", f"COPY ({sql}) TO STDOUT {form}") + bind() + execute() + sync()):
                if block and begin[:1] == b"P":
                    continue  # the transaction has failed
                answers = wire.ask(begin)
                assert errors(answers) == ["22012"] and types(answers).endswith("EZ") and not set(types(answers)) & set("cC"), answers[:3]
        if block:
            twice.say("SELECT 1", f"COPY ({sql}) TO STDOUT {form}", "ROLLBACK")
        twice.say("SELECT count(*) FROM users WHERE name = 'x'")


@pytest.mark.parametrize("how", ["simple", "extended"])
@pytest.mark.parametrize("copy", [
    "COPY (SELECT nothing FROM users) TO STDOUT", "COPY (SELECT u.nothing FROM users u JOIN posts p ON u.score = p.likes) TO STDOUT", "COPY (SELECT 1 FROM nowhere) TO STDOUT",
    "COPY (SELECT id FROM users) FROM STDIN", "COPY (DELETE FROM posts) TO STDOUT", "COPY (SELECT id INTO made FROM users) TO STDOUT", "COPY (SELEC 1) TO STDOUT",
    "COPY (SELECT id FROM users WHERE id > $1) TO STDOUT", "COPY (SELECT 1; SELECT 2) TO STDOUT", "COPY () TO STDOUT", "COPY (SELECT id FROM users) TO STDOUT WHERE id > 5",
    "COPY (SELECT sum(name) FROM users) TO STDOUT", "COPY (SELECT id FROM users ORDER BY nothing) TO STDOUT", "COPY (SELECT id FROM users) (id) TO STDOUT"])
def test_errors(twice, copy, how):
    for begin in ("SELECT 1", "BEGIN"):
        twice.say(begin)
        answers = same(twice, query(copy)) if how == "simple" else same(twice, parse("", copy), bind(), execute(), sync())
        assert errors(answers)
        twice.say("SELECT 1", "ROLLBACK")


def test_in_a_failed_transaction(twice):
    for sql in (ORDERED, MERGED):
        twice.say("BEGIN", "SELECT 1 / 0")
        assert errors(same(twice, query(f"COPY ({sql}) TO STDOUT"))) == ["25P02"]
        assert errors(same(twice, run(f"COPY ({sql}) TO STDOUT"), sync())) == ["25P02"]
        twice.say("ROLLBACK")


def test_what_writes(twice):
    """Rows of RETURNING: as on a server, or refused and nothing is written."""
    for sql in ("DELETE FROM posts RETURNING user_id, id", "INSERT INTO users (id) VALUES (101), (102), (103) RETURNING id", "UPDATE users SET score = 5 RETURNING id",
                "UPDATE users SET score = 5 WHERE id = 7 RETURNING id, score", "WITH gone AS (DELETE FROM posts RETURNING *) SELECT count(*) FROM gone"):
        twice.say("BEGIN")
        with may_be_refused(twice):
            same(twice, query(f"COPY ({sql}) TO STDOUT"), ordered=False)
            twice.say("SELECT count(*), sum(score) FROM users", "SELECT count(*) FROM posts")
        twice.say("ROLLBACK", "SELECT count(*), sum(score) FROM users", "SELECT count(*) FROM posts")


def test_files_of_servers_are_refused(twice):
    """They would be one shard's, or all of them would write one."""
    for copy in (f"COPY ({ORDERED}) TO '/tmp/pgshunt-never-written'", f"COPY ({MERGED}) TO PROGRAM 'cat'"):
        assert twice.parts.fails(copy) == "0A000"


# --- clients ---------------------------------------------------------------------------------------

PROGRAMMED = ["ordered", "a hidden column", "every type", "groups", "a join", "a window", "values", "one shard"]


def psql(world, database, *commands):
    options = world.options(database)
    command = [BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", options["host"], "-p", options["port"], "-U", options["user"], "-d", options["dbname"]]
    done = subprocess.run([str(word) for word in [*command, *(word for each in commands for word in ("-c", each))]], capture_output=True, timeout=60,
                          env={"PGPASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("form", ["", "with (format csv, header)", "with (format binary)"])
@pytest.mark.parametrize("name", PROGRAMMED)
def test_psql(world, run, name, form):
    folder = run.subfolder("copied")
    found = []
    for database in (WHOLE, PARTS):
        psql(world, database, f"\\copy ({SELECTS[name].sql}) to '{folder}/{database}' {form}")
        found.append(((folder / database).read_bytes(), psql(world, database, f"copy ({SELECTS[name].sql}) to stdout {form.replace('binary', 'text')}")))
    assert found[0] == found[1] and found[0][0]


@pytest.mark.parametrize("name", PROGRAMMED)
def test_drivers(world, name):
    sql = SELECTS[name].sql

    async def with_asyncpg(database):
        options = world.options(database)
        connection = await asyncpg.connect(**{("database" if key == "dbname" else key): value for key, value in options.items()})
        out = io.BytesIO()
        seen = [await connection.copy_from_query(sql, output=out, format="csv", header=True)]
        seen.append(await connection.copy_from_query("SELECT id, name FROM users WHERE id > $1 ORDER BY name, id", 5, output=out, format="binary"))
        await connection.close()
        return seen, out.getvalue()

    found = []
    for database in (WHOLE, PARTS):
        seen = [asyncio.run(with_asyncpg(database))]
        with psycopg2.connect(**world.options(database)) as connection, connection.cursor() as cursor:
            out = io.BytesIO()
            cursor.copy_expert(f"COPY ({sql}) TO STDOUT WITH CSV", out)
            seen.append((out.getvalue(), cursor.rowcount))
        connection.close()
        with psycopg.connect(**world.options(database)) as connection, connection.cursor() as cursor:
            with cursor.copy(f"COPY ({sql}) TO STDOUT") as copy:
                seen.append((list(copy.rows()), cursor.rowcount))
            with cursor.copy("COPY (SELECT id, name FROM users WHERE id > %s ORDER BY name, id) TO STDOUT (FORMAT binary)", [5]) as copy:
                copy.set_types(["int8", "text"])
                seen.append(list(copy.rows()))
        found.append(seen)
    assert found[0] == found[1]


# --- ends that nobody wanted, and memory -----------------------------------------------------------

# Rows of 1 kB, 80 MB of them: on their shards, and at the merge node.
LARGE = ("SELECT u.id, repeat('x', 1000) FROM users u, generate_series(1, 3400) g ORDER BY g, u.id",
         "SELECT u.id, repeat('x', 1000), count(*) OVER () FROM users u JOIN posts p ON true, generate_series(1, 95) g WHERE p.id < 3")


@pytest.mark.parametrize("sql", LARGE)
def test_memory_with_a_slow_reader(world, sql):
    with world.wire(receive_buffer=4096, timeout=60) as client, world.wire() as neighbour:
        before = world.proxy.memory()
        client.send(query(f"COPY ({sql}) TO STDOUT"))
        assert client.receive().type == "H"
        client.until("dE")
        assert client.silent(0.5) is False
        assert neighbour.query("SELECT 1") == [["1"]]
        assert world.proxy.memory() - before < 30_000_000
        count, answer = 1, client.receive()
        while answer.type == "d":
            count, answer = count + 1, client.receive()
        assert answer.type == "c" and tags(client.until_ready()) == [f"COPY {count}"] and count > 50_000
        assert world.proxy.memory() - before < 30_000_000


@pytest.mark.parametrize("sql", LARGE)
def test_client_leaves_while_it_reads(world, sql):
    client = world.wire(receive_buffer=4096)
    client.send(query(f"COPY ({sql}) TO STDOUT"))
    assert client.receive().type == "H"
    client.reset()
    for server in world.servers:
        wait_until(lambda server=server: server.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state <> 'idle'", (PARTS,)) == [(0,)])
    with world.wire() as client:
        assert client.query("SELECT count(*) FROM users") == [["24"]]


@pytest.mark.parametrize("sql", ["SELECT id, pg_sleep(0.1) FROM users ORDER BY id", "SELECT id, pg_sleep(0.1) FROM users",
                                 "SELECT u.id, pg_sleep(0.1) FROM users u JOIN posts p ON u.score = p.likes"])
def test_cancel(twice, sql):
    for begin in ("SELECT 1", "BEGIN"):
        twice.say(begin)
        for wire in twice.wires:
            wire.send(query(f"COPY ({sql}) TO STDOUT"))
            wire.silent(0.3)  # until it runs
            wire.cancel()
            answers = wire.until_ready()
            assert errors(answers) == ["57014"] and "C" not in types(answers), answers
        twice.say("SELECT 1", "ROLLBACK")
