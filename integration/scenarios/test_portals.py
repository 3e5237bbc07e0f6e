"""Portals over shards: Execute with a limit of rows, again and again, as drivers with a fetch size do; what lies between Bind and
Execute; how long a portal lives. Beside a server that has all rows."""

import asyncio

import asyncpg
import psycopg
import pytest

from differential.world import PARTS, WHOLE
from harness.wire import (bind, close_portal, close_statement, describe_portal, describe_statement, errors, execute, flush, parse, query, rows, run, sync, tags,
                          types)
from selects import FEW, SELECTS, some
from twice import may_be_refused

ORDERED, MERGED = SELECTS["ordered"].sql, SELECTS["a window"].sql
MANY = "SELECT u.id, g, repeat('x', 50) FROM users u, generate_series(1, 700) g"  # of all shards


# --- portions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(**some())
def test_portions(twice, sql, ordered, binary):
    """In a transaction block, a Sync behind each."""
    twice.say("BEGIN")
    for portal in ("", "p"):
        twice.ask(parse("", sql), bind(portal, results=[int(binary)]), describe_portal(portal), execute(portal, 2), sync(), ordered=ordered)
        for limit in (1, 3, 5, 100, 4, 0, 2):
            twice.ask(execute(portal, limit), sync(), ordered=ordered)
        twice.settle()
        answers = twice.ask(close_portal(portal), execute(portal, 1), sync())
        assert errors(answers) == ["34000"]
        twice.say("ROLLBACK", "BEGIN")


@pytest.mark.parametrize(**some(FEW))
def test_the_last_portion(twice, sql, ordered):
    """Who asks for as many as there are is not told that there are no more."""
    count = len(twice.whole.query(sql))
    for first in (count - 1, count, count + 1):
        twice.say("BEGIN")
        answers = twice.ask(parse("", sql), bind("p"), execute("p", first), execute("p", 1), execute("p"), sync(), ordered=ordered)
        assert types(answers).count("s") == (2 if first == count - 1 else first == count)
        twice.settle()
        twice.say("ROLLBACK")


@pytest.mark.parametrize(**some())
def test_without_a_transaction_block(twice, sql, ordered):
    """Between two Syncs, by Flush: then the portal goes with the Sync."""
    twice.ask(parse("s", sql), bind("p", "s"), describe_portal("p"), execute("p", 2), flush(), until="sC", ordered=ordered)
    for limit in (1, 3, 4):
        twice.ask(execute("p", limit), flush(), until="sC", ordered=ordered)
    twice.ask(describe_portal("p"), flush(), until="Tn")
    twice.ask(execute("p"), flush(), until="C", ordered=ordered)
    twice.ask(sync())
    twice.settle()
    answers = twice.ask(execute("p", 1), sync())
    assert errors(answers) == ["34000"]


@pytest.mark.parametrize(**some(FEW))
def test_one_portion_and_no_more(twice, sql, ordered):
    """As drivers ask for the first row; the rest is of no interest to anybody."""
    for limit in (1, 3):
        answers = twice.ask(parse("", sql), bind(), describe_portal(), execute("", limit), sync(), ordered=False)
        assert types(answers) == "12T" + "D" * limit + "sZ"
        twice.recover()
    twice.say("BEGIN")
    twice.ask(parse("", sql), bind(), execute("", 1), sync(), ordered=False)
    twice.recover()
    # The rows of no order may be others.
    assert len(twice.parts.query(sql)) == len(twice.whole.query(sql))


@pytest.mark.parametrize("pieces", ["one write", "a Sync each"])
@pytest.mark.parametrize(**some(FEW))
def test_portions_in_a_pipeline(twice, sql, ordered, pieces):
    messages = [query("BEGIN"), parse("", sql) + bind("p") + execute("p", 1) + sync(), execute("p", 2) + execute("p", 2) + sync(),
                execute("p", 3) + close_portal("p") + sync(), query("COMMIT")]
    if pieces == "a Sync each":
        for message in messages:
            twice.ask(message, ordered=ordered or False)
        return
    for wire in twice.wires:
        wire.send(*messages)
    twice.compare(*([answer for _ in messages for answer in wire.until_ready()] for wire in twice.wires), ordered=ordered)


def test_many_rows(twice):
    for sql, ordered in ((f"{MANY} ORDER BY g, u.id", True), (MANY, False)):
        twice.say("BEGIN")
        twice.ask(parse("", sql), bind("p"), sync())
        for limit in (1, 999, 5000, 3, 4000, 100, 0):
            twice.ask(execute("p", limit), sync(), ordered=ordered)
        twice.settle()
        # And one that is left in the midst.
        twice.ask(parse("", sql), bind(), execute("", 10), sync(), ordered=False)
        twice.recover()


PARAMETERS = {
    "a limit": ("SELECT id FROM users WHERE score >= $1 ORDER BY noted, id LIMIT $2 OFFSET $3", ["0", "10", "2"]),
    "keys": ("SELECT id, name FROM users WHERE id = ANY($1) ORDER BY id", ["{1,2,3,5,8}"]),
    "a join": ("SELECT u.id, p.user_id, p.id FROM users u JOIN posts p ON u.score = p.likes WHERE u.id > $1 AND p.id < $2 ORDER BY 1, 2, 3", ["3", "3"]),
    "groups": ("SELECT country, count(*) + $1 FROM users WHERE id <> $2 GROUP BY country ORDER BY 1", ["100", "5"]),
    "a key": ("SELECT user_id, id FROM posts WHERE user_id = $1 ORDER BY id", ["7"]),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(twice, name):
    sql, values = PARAMETERS[name]
    twice.ask(parse("s", sql), sync())
    twice.say("BEGIN")
    for _ in range(2):  # once prepared, bound twice
        twice.ask(bind("p", "s", values), describe_portal("p"), execute("p", 2), sync())
        twice.ask(execute("p", 1), execute("p"), close_portal("p"), sync())
    twice.say("COMMIT")


# --- between Bind and Execute ----------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 4])
@pytest.mark.parametrize(**some(FEW))
def test_bound_first_executed_later(twice, sql, ordered, limit):
    twice.say("BEGIN")
    for end in (flush, sync):
        twice.ask(parse("s", sql), bind("p", "s"), describe_portal("p"), end(), until="T" if end is flush else "Z")
        twice.ask(describe_portal("p"), flush(), until="T")
        twice.ask(execute("p", limit), sync(), ordered=ordered)
        twice.ask(execute("p"), close_portal("p"), close_statement("s"), sync(), ordered=ordered)
        twice.settle()
    twice.say("COMMIT")


@pytest.mark.parametrize("limit", [0, 4])
@pytest.mark.parametrize(**some(FEW))
def test_what_is_written_after_bind_is_not_seen(twice, sql, ordered, limit):
    """A portal is as its Bind found the tables. Who cannot keep to that says so."""
    twice.say("BEGIN")
    with may_be_refused(twice):
        twice.ask(parse("s", sql), bind("p", "s"), sync())
        twice.ask(run("UPDATE users SET name = 'changed', score = 1"), run("UPDATE posts SET likes = 1"), sync())
        twice.ask(execute("p", limit), sync(), ordered=ordered)
        twice.ask(run("DELETE FROM users"), sync())
        twice.ask(execute("p"), sync(), ordered=ordered)
        twice.settle()
        twice.say("ROLLBACK")


@pytest.mark.parametrize(**some(FEW))
def test_what_is_written_between_portions_is_not_seen(twice, sql, ordered):
    twice.say("BEGIN")
    twice.ask(parse("s", sql), bind("p", "s"), execute("p", 2), sync(), ordered=ordered)
    twice.ask(run("INSERT INTO users (id, name) SELECT id + 100, 'new' FROM users"), run("UPDATE users SET name = 'changed', score = 1"),
              run("DELETE FROM posts WHERE user_id < 15"), sync())
    twice.ask(execute("p", 3), sync(), ordered=ordered)
    twice.ask(execute("p"), sync(), ordered=ordered)
    twice.settle()
    twice.say("SELECT count(*) FROM users", "ROLLBACK")


# --- several, and how long they live ---------------------------------------------------------------


def test_several_in_turn(twice):
    names = [name for name in FEW if SELECTS[name].ordered]
    twice.say("BEGIN")
    twice.ask(*(parse("", SELECTS[name].sql) + bind(f"p{n}", results=[n % 2]) for n, name in enumerate(names)), sync())
    for limit in (1, 3, 2, 0):
        twice.ask(*(execute(f"p{n}", limit) for n in range(len(names))), sync())
        twice.say("SELECT count(*) FROM users", MERGED)
    twice.say("COMMIT")
    # Within one Sync.
    twice.ask(*(parse("", SELECTS[name].sql) + bind(f"p{n}") for n, name in enumerate(names)),
              *(execute(f"p{n}", limit) for limit in (2, 3, 0) for n in range(len(names))), sync())


def test_several_of_one_statement(twice):
    twice.say("BEGIN")
    twice.ask(parse("s", "SELECT id, name FROM users WHERE id > $1 ORDER BY id"), *(bind(f"p{n}", "s", [str(5 * n)]) for n in range(4)), sync())
    for limit in (2, 3):
        twice.ask(*(execute(f"p{n}", limit) for n in range(4)), sync())
    twice.ask(close_portal("p1"), execute("p2", 1), execute("p1", 1), sync())
    twice.say("ROLLBACK")


@pytest.mark.parametrize("sql", [ORDERED, MERGED])
def test_names(twice, sql):
    twice.say("BEGIN")
    twice.ask(parse("", sql), bind("p"), bind("P p"), execute("P p", 1), execute("p", 2), sync())
    # Taken; which fails the transaction.
    answers = twice.ask(bind("p"), sync())
    assert errors(answers) == ["42P03"]
    twice.ask(execute("p", 1), sync())
    twice.say("ROLLBACK")
    # The unnamed one is taken by whoever comes.
    twice.say("BEGIN")
    twice.ask(parse("", sql), bind(), execute("", 2), bind(), execute("", 1), sync())
    twice.say("SELECT 1")
    answers = twice.ask(execute("", 1), sync())
    assert errors(answers) == ["34000"]
    twice.say("ROLLBACK")
    for message in (execute("none", 1), describe_portal("none")):
        assert errors(twice.ask(message, sync())) == ["34000"]
    twice.ask(close_portal("none"), sync())


@pytest.mark.parametrize("sql", [ORDERED, MERGED, SELECTS["one shard"].sql])
def test_ends(twice, sql):
    """A portal ends with its transaction, with a savepoint that is taken back, but not with its statement."""
    def bound(*statements):
        for statement in statements:
            twice.say(statement)
        twice.ask(parse("s", sql), bind("p", "s"), close_statement("s"), execute("p", 2), sync(), ordered=False)

    for end in ("COMMIT", "ROLLBACK", "COMMIT AND CHAIN"):
        bound("BEGIN")
        twice.say(end)
        assert errors(twice.ask(execute("p", 2), sync())) == ["34000"]
        twice.say("ROLLBACK")
    bound("BEGIN", "SAVEPOINT a")
    twice.say("ROLLBACK TO a")
    assert errors(twice.ask(execute("p", 2), sync())) == ["34000"]
    twice.say("ROLLBACK")
    bound("BEGIN")
    twice.say("SAVEPOINT a")
    twice.ask(execute("p", 1), sync(), ordered=False)
    twice.say("ROLLBACK TO a")
    twice.ask(execute("p"), sync(), ordered=False)
    twice.settle()
    twice.say("ROLLBACK")
    # In a transaction that has failed.
    bound("BEGIN")
    twice.say("SELECT 1 / 0")
    assert errors(twice.ask(execute("p", 1), sync())) == ["25P02"]
    twice.say("ROLLBACK")
    # At the end of one that was no block.
    bound()
    assert errors(twice.ask(execute("p", 2), sync())) == ["34000"]


@pytest.mark.parametrize("sql", ["SELECT id, 100 / (id - 13) FROM users ORDER BY id",
                                 "SELECT u.id, 100 / (u.id - 13) FROM users u JOIN posts p ON u.score = p.likes ORDER BY u.id, p.user_id, p.id"])
def test_an_error_among_the_rows(twice, sql):
    """It comes when its row does, or before."""
    twice.say("BEGIN")
    for wire in twice.wires:
        answers = wire.ask(parse("", sql), bind("p"), *[execute("p", 5)] * 8, sync())
        assert errors(answers) == ["22012"] and types(answers).endswith("EZ")
    twice.ask(execute("p", 5), sync())
    twice.say("ROLLBACK")
    # In its portal the transaction block's other statements are not to be run.
    for wire in twice.wires:
        answers = wire.ask(parse("", sql), bind("p"), *[execute("p", 5)] * 8, run("SELECT 'never'"), sync())
        assert errors(answers) == ["22012"] and ["never"] not in rows(answers)
    twice.say("SELECT 1")


# --- statements that write -------------------------------------------------------------------------


@pytest.mark.parametrize("sql", [
    "INSERT INTO users (id, name) VALUES (101, 'a'), (102, 'b'), (103, 'c'), (104, 'd'), (105, 'e') RETURNING id, name",
    "INSERT INTO users (id) SELECT id + 100 FROM users WHERE id < 9 RETURNING name",
    "UPDATE users SET score = 5 RETURNING score", "UPDATE users SET score = 5 WHERE id = 7 RETURNING id, score", "DELETE FROM posts RETURNING 1",
    "UPDATE countries SET people = 5 RETURNING people", "UPDATE users SET score = 5", "INSERT INTO users (id) VALUES (101), (102), (103), (104)"])
def test_writes_with_a_limit(twice, sql):
    """All is written at the first Execute. As on a server, or refused and nothing is written."""
    twice.say("BEGIN")
    with may_be_refused(twice):
        twice.ask(parse("", sql), bind("p"), describe_portal("p"), execute("p", 2), sync())
        twice.say("SELECT count(*), count(*) FILTER (WHERE score = 5) FROM users", "SELECT count(*) FROM posts")
        twice.ask(execute("p", 2), execute("p"), sync())
        twice.ask(execute("p", 1), sync())
    twice.say("ROLLBACK", "SELECT count(*), count(*) FILTER (WHERE score = 5) FROM users")


# --- drivers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FEW if SELECTS[name].ordered])
def test_asyncpg(world, name):
    """Its cursors are portals."""
    async def read(database):
        options = world.options(database)
        connection = await asyncpg.connect(**{("database" if key == "dbname" else key): value for key, value in options.items()})
        found = []
        async with connection.transaction():
            async for row in connection.cursor(SELECTS[name].sql, prefetch=3):
                found.append(tuple(row))
                found.append(await connection.fetchval("SELECT count(*) FROM users WHERE id > $1", len(found)))
            one, other = await connection.cursor(SELECTS[name].sql), await connection.cursor(ORDERED)
            for count in (1, 4, 2):
                found += [tuple(row) for cursor in (one, other) for row in await cursor.fetch(count)]
            await one.forward(1)
            found += [await one.fetchrow() and True, await other.fetchrow() and True]
            found.append(tuple(await connection.fetchrow(SELECTS[name].sql)))
        await connection.close()
        return found

    assert asyncio.run(read(PARTS)) == asyncio.run(read(WHOLE))


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(**some(FEW))
def test_psycopg_stream(world, sql, ordered, binary):
    found = []
    for database in (WHOLE, PARTS):
        with psycopg.connect(**world.options(database)) as connection, connection.cursor(binary=binary) as cursor:
            found.append(list(cursor.stream(sql)))
    assert found[0] == found[1] if ordered else sorted(found[0], key=repr) == sorted(found[1], key=repr)


# --- the proxy's own side --------------------------------------------------------------------------


def test_memory(world):
    with world.wire(timeout=60) as client:
        before = world.proxy.memory()
        client.query("BEGIN")
        client.ask(parse("", "SELECT u.id, repeat('x', 1000) FROM users u, generate_series(1, 8000) g ORDER BY g, u.id"), bind("p"), sync())
        for _ in range(15):
            answers = client.ask(execute("p", 10000), sync())
            assert not errors(answers) and len(rows(answers)) == 10000, answers[:1]
            assert world.proxy.memory() - before < 60_000_000
        assert tags(client.ask(close_portal("p"), sync())) == []
        client.query("COMMIT")


def test_cancel(twice):
    for sql in ("SELECT id, pg_sleep(0.1) FROM users ORDER BY id", "SELECT u.id, pg_sleep(0.1) FROM users u JOIN posts p ON u.score = p.likes"):
        twice.say("BEGIN")
        for wire in twice.wires:
            wire.send(parse("", sql), bind("p"), execute("p", 20), sync())
            wire.silent(0.3)  # until it runs
            wire.cancel()
            assert errors(wire.until_ready()) == ["57014"]
        twice.ask(execute("p", 1), sync())
        twice.say("ROLLBACK", "SELECT 1")


# --- what stands beside a statement of several shards in one message ---------------------------------

STORED = "INSERT INTO posts (user_id, id, body, likes) VALUES (3, 77, 'x', 1), (4, 77, 'x', 1), (5, 77, 'y', 2)"
BESIDE = {
    "a Bind of no statement": bind("p3", "none") + parse("s1", STORED) + bind("p1", "s1") + execute("p1"),
    "a Bind of no statement, a read": bind("p3", "none") + parse("s1", ORDERED) + bind("p1", "s1") + execute("p1"),
    "a Describe of no portal": describe_portal("p3") + parse("s1", STORED) + bind("p1", "s1") + execute("p1"),
    "a Describe of no portal, a read": describe_portal("p3") + parse("", ORDERED) + bind() + execute(),
    "an Execute of no portal": parse("s2", "COMMIT") + execute("p3", 5),
    "a Describe of no portal, COMMIT": parse("s2", "COMMIT") + describe_portal("p3") + bind("", "s2") + execute(),
    "a Describe of a statement, COMMIT": parse("c", "COMMIT") + parse("i", "SELECT name FROM users WHERE id = $1") + describe_statement("i"),
    "the same before it": parse("i", "SELECT name FROM users WHERE id = $1") + parse("c", "ROLLBACK") + describe_statement("i"),
    "both, executed": parse("i", "SELECT name FROM users WHERE id = $1") + parse("c", "ROLLBACK") + describe_statement("i") + describe_statement("c")
    + bind("", "i", ["7"]) + describe_portal() + execute() + bind("", "c") + execute(),
    "a Close of no portal": parse("", "SELECT count(*) FROM users") + close_portal("p2") + bind("p2") + execute("p2"),
    "a Close of a statement": parse("a", "SELECT 1") + close_statement("a") + parse("a", "SELECT count(*) FROM users") + bind("p2", "a") + execute("p2"),
    "a Parse between Bind and Execute": parse("a", ORDERED) + bind("p", "a") + parse("b", "SELECT 1") + execute("p"),
}


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.usefixtures("restored")
def test_what_stands_beside(twice, name, block):
    if block:
        twice.say("BEGIN")
    twice.ask(BESIDE[name], sync())
    twice.say("ROLLBACK", "SELECT count(*) FROM posts WHERE id = 77", "SELECT 1")


@pytest.mark.parametrize("sql", ["SELECT 1", ORDERED, MERGED, STORED + " ON CONFLICT (user_id, id) DO NOTHING", "SELECT name FROM users WHERE id = 7"])
@pytest.mark.usefixtures("restored")
def test_a_query_without_a_sync(twice, sql):
    """Behind messages of the extended protocol it ends them, as a Sync would; behind an error it is passed over."""
    twice.ask(parse("", sql) + bind() + execute(), query("SELECT 5"))
    twice.ask(parse("", sql) + bind() + describe_portal() + execute() + flush(), query("SELECT count(*) FROM posts"))
    twice.ask(parse("", "SELECT 1 / 0") + bind() + execute(), query("SELECT 6"), sync())
    twice.say("SELECT count(*) FROM posts")
