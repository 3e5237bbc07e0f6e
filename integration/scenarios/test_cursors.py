"""Cursors over shards: DECLARE, FETCH, MOVE, CLOSE, beside a server that has all rows. What it answers to each message is what
the proxy must answer; what may also be refused says so."""

import psycopg
import psycopg2
import pytest

from differential.world import PARTS, WHOLE
from harness import wait_until
from harness.wire import bind, describe_portal, describe_statement, errors, execute, parse, query, run, sync, tags
from selects import FEW, MERGED, SELECTS, some
from twice import may_be_refused

FORWARD = ("FETCH c", "FETCH 3 FROM c", "FETCH NEXT IN c", "FETCH FORWARD 2 c", "MOVE 2 IN c", "FETCH FORWARD c", "MOVE c", "FETCH RELATIVE 1 c",
           "MOVE FORWARD 1 FROM c", "FETCH 1000 FROM c", "FETCH c", "MOVE ALL c", "FETCH ALL c", "FETCH FORWARD ALL FROM c")
BACK_AND_FORTH = (
    "FETCH LAST c", "FETCH NEXT c", "FETCH PRIOR c", "FETCH BACKWARD 3 c", "FETCH 0 c", "FETCH ABSOLUTE 5 c", "FETCH ABSOLUTE -2 c", "FETCH FIRST c",
    "FETCH PRIOR c", "FETCH 0 c", "FETCH RELATIVE 4 c", "FETCH RELATIVE -2 c", "FETCH RELATIVE 0 c", "FETCH -1 c", "FETCH ABSOLUTE 0 c",
    "FETCH FORWARD ALL c", "FETCH BACKWARD ALL c", "FETCH 4 c", "MOVE BACKWARD 2 c", "FETCH c", "MOVE ABSOLUTE 3 c", "FETCH c", "MOVE LAST c",
    "FETCH BACKWARD c", "MOVE FIRST c", "MOVE PRIOR c", "MOVE RELATIVE 2 c", "FETCH 0 c", "MOVE 0 c", "MOVE BACKWARD ALL c", "MOVE 0 c",
    "FETCH ABSOLUTE 1000 c", "FETCH BACKWARD 0 c", "FETCH PRIOR c", "FETCH FORWARD 0 c", "FETCH ABSOLUTE -1000 c", "FETCH c", "FETCH ALL c")
BACKWARD = ("PRIOR", "BACKWARD", "BACKWARD 2", "BACKWARD ALL", "FIRST", "LAST", "ABSOLUTE 2", "ABSOLUTE -1", "RELATIVE -1", "-2", "0", "RELATIVE 0")
MANY = "SELECT u.id, g, repeat('x', 50) FROM users u, generate_series(1, 700) g"  # of all shards


def ordinary(*statements, declared="CURSOR", sql=SELECTS["ordered"].sql):
    """In a transaction block of their own, behind the declaration of c."""
    return "BEGIN", f"DECLARE c {declared} FOR {sql}", *statements, "COMMIT"


# --- forward, by the simple protocol ---------------------------------------------------------------


@pytest.mark.parametrize("declared", ["CURSOR", "NO SCROLL CURSOR", "SCROLL CURSOR"])
@pytest.mark.parametrize(**some())
def test_forward(twice, sql, ordered, declared):
    answers = twice.say(*ordinary(*FORWARD, "CLOSE c", sql=sql, declared=declared), ordered=ordered)
    assert not errors(answers) and {"DECLARE CURSOR", "CLOSE CURSOR"} < set(tags(answers))


@pytest.mark.parametrize("declared", ["INSENSITIVE CURSOR", "ASENSITIVE NO SCROLL CURSOR", "BINARY CURSOR", "BINARY INSENSITIVE NO SCROLL CURSOR",
                                      "CURSOR WITHOUT HOLD", "CURSOR WITH HOLD", "BINARY NO SCROLL CURSOR WITH HOLD"])
@pytest.mark.parametrize(**some(FEW))
def test_other_words(twice, sql, ordered, declared):
    twice.say(*ordinary(*FORWARD, "CLOSE c", sql=sql, declared=declared), ordered=ordered)


@pytest.mark.parametrize(**some(["every type", "odd types"]))
def test_binary(twice, sql, ordered):
    twice.say(*ordinary("FETCH 5 c", "MOVE 3 c", "FETCH ALL c", declared="BINARY CURSOR", sql=sql), ordered=ordered)


def test_many_rows(twice):
    """Portions of any size, of more rows than are kept anywhere."""
    sizes = (1, 999, 5000, 3, 4000)
    twice.say(*ordinary(*(f"FETCH {size} c" for size in sizes), "MOVE 2000 c", "FETCH ALL c", sql=f"{MANY} ORDER BY g, u.id"))
    twice.say(*ordinary(*(f"FETCH {size} c" for size in sizes), "FETCH ALL c", sql=MANY), ordered=False)
    # Left where it is.
    twice.say(*ordinary("FETCH 2 c", sql=f"{MANY} ORDER BY g, u.id"))
    twice.say(*ordinary("FETCH 2 c", "CLOSE c", "FETCH 1 c", sql=f"{MANY} ORDER BY g, u.id"))


def test_limits_of_the_select(twice):
    for limit in ("LIMIT 7", "OFFSET 20", "LIMIT 5 OFFSET 21", "LIMIT ALL", "LIMIT NULL OFFSET 3", "FETCH FIRST 4 ROWS ONLY"):
        twice.say(*ordinary("FETCH 3 c", "FETCH 3 c", "MOVE 1 c", "FETCH ALL c", sql=f"SELECT id FROM users ORDER BY id {limit}"))


def test_in_one_message(twice):
    """The statements of a message are one transaction."""
    declared = f"DECLARE c CURSOR FOR {SELECTS['ordered'].sql}"
    for message in (f"BEGIN; {declared}; FETCH 2 c; MOVE 1 c; FETCH 2 c; CLOSE c; COMMIT",
                    f"BEGIN; {declared}; FETCH 2 c; COMMIT; SELECT 1", f"{declared}; FETCH 3 c", f"{declared}; FETCH 3 c; CLOSE c; FETCH c",
                    f"SELECT 1; {declared}; FETCH ALL FROM c; SELECT count(*) FROM users", f"BEGIN; {declared}; SELECT 1; FETCH 2 c"):
        twice.say(message, "FETCH 2 c", "ROLLBACK", "FETCH 2 c")


def test_comments_and_spaces(twice):
    twice.say("BEGIN", "/* a */ DECLARE/* b */c -- c\n CURSOR FOR /* d */ SELECT id /* ; */ FROM users ORDER BY id -- e", "FETCH /* f */ 2 -- g\n FROM c;",
              "fetch\n\tforward 3\nfrom c ; ", "Move c", "close C", "COMMIT")


# --- backward --------------------------------------------------------------------------------------


@pytest.mark.parametrize(**some([name for name, select in SELECTS.items() if select.ordered]))
def test_scroll(twice, sql, ordered):
    twice.say(*ordinary(*BACK_AND_FORTH, declared="SCROLL CURSOR", sql=sql))


@pytest.mark.parametrize(**some(["one shard", "ordered", "a window", "an aggregate", "a reference table"]))
def test_scroll_with_hold(twice, sql, ordered):
    answers = twice.say("BEGIN", f"DECLARE c SCROLL CURSOR WITH HOLD FOR {sql}", "FETCH 2 c", "COMMIT", *BACK_AND_FORTH, "CLOSE c", "FETCH c")
    assert errors(answers) == ["34000"]


def test_scroll_of_no_order(twice):
    """There and back again: the same rows the other way round."""
    for sql in (SELECTS["all shards"].sql, SELECTS["a join of no order"].sql, SELECTS["groups of no order"].sql):
        twice.say("BEGIN", f"DECLARE c SCROLL CURSOR FOR {sql}")
        for wire in twice.wires:
            there, back = wire.query("FETCH ALL c"), wire.query("FETCH BACKWARD ALL c")
            assert there == back[::-1] and len(there) > 3
            assert wire.query("FETCH 2 c") == there[:2] and wire.query("FETCH PRIOR c") == there[:1]
            assert wire.query("FETCH ABSOLUTE -1 c") == there[-1:] and wire.query("FETCH FIRST c") == there[:1]
        twice.say("COMMIT")


@pytest.mark.parametrize("way", BACKWARD)
@pytest.mark.parametrize(**some(["one shard", "ordered", "all shards", "a join", "a reference table"]))
def test_no_scroll(twice, sql, ordered, way):
    """An error; what becomes of the cursor then is seen behind the savepoint."""
    answers = twice.say(*ordinary("FETCH 3 c", "SAVEPOINT s", f"FETCH {way} c", "ROLLBACK TO s", "FETCH c", "ROLLBACK TO s", f"MOVE {way} c",
                                  declared="NO SCROLL CURSOR", sql=sql), ordered=ordered)
    assert "55000" in errors(answers)


@pytest.mark.parametrize("way", BACKWARD)
@pytest.mark.parametrize(**some(["one shard", "ordered", "all shards", "a join", "an aggregate", "a reference table"]))
def test_neither_word(twice, sql, ordered, way):
    """What a server can do depends on its plan. Here: the same, or a clear error."""
    twice.say("BEGIN", f"DECLARE c CURSOR FOR {sql}")
    twice.say("FETCH 3 c", ordered=False) if ordered else [wire.query("MOVE 3 c") for wire in twice.wires]
    whole, parts = (wire.ask(query(f"{'FETCH' if ordered else 'MOVE'} {way} c")) for wire in twice.wires)
    if set(errors(parts)) - {"55000", "0A000"} or not errors(parts):
        twice.compare(whole, parts)


# --- by the extended protocol ----------------------------------------------------------------------


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize(**some())
def test_extended(twice, sql, ordered, binary):
    """Every statement parsed, described, bound, described and executed, as drivers do."""
    twice.ask(query("BEGIN"))
    passed = ["MOVE 2 c"] if ordered else []
    for statement in (f"DECLARE c CURSOR FOR {sql}", "FETCH 3 FROM c", *passed, "FETCH NEXT c", "FETCH FORWARD ALL c", "CLOSE c", "FETCH c"):
        twice.ask(parse("", statement), describe_statement(), bind(results=[int(binary)]), describe_portal(), execute(), sync(), ordered=ordered)
    twice.settle()
    twice.ask(query("ROLLBACK"))


PARAMETERS = {
    "a key": ("SELECT id, name FROM users WHERE id = $1", ["7"]),
    "a user's posts": ("SELECT user_id, id, $2::text AS said FROM posts WHERE user_id = $1 ORDER BY id", ["7", "it's \\"]),
    "all shards": ("SELECT id, name FROM users WHERE id > $1 AND country <> $2 ORDER BY name NULLS FIRST, id", ["4", "DE"]),
    "a limit": ("SELECT id FROM users WHERE score >= $1 ORDER BY noted, id LIMIT $2 OFFSET $3", ["0", "10", "2"]),
    "null": ("SELECT id FROM users WHERE id > coalesce($1, 5) AND ($2::text IS NULL) ORDER BY id", [None, None]),
    "keys": ("SELECT id FROM users WHERE id = ANY($1) ORDER BY id", ["{1,2,3,5,8}"]),
    "a join": ("SELECT u.id, p.user_id, p.id FROM users u JOIN posts p ON u.score = p.likes WHERE u.id > $1 AND p.id < $2 ORDER BY 1, 2, 3", ["3", "3"]),
    "groups": ("SELECT country, count(*) + $1 FROM users WHERE id <> $2 GROUP BY country HAVING count(*) > $3 ORDER BY 1", ["100", "5", "1"]),
    "a reference table": ("SELECT * FROM countries WHERE code > $1 ORDER BY code", ["DE"]),
    "no table": ("SELECT g + $1 FROM generate_series(1, $2::int) g", ["5", "9"]),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(twice, name):
    sql, values = PARAMETERS[name]
    twice.ask(query("BEGIN"))
    twice.ask(parse("d", f"DECLARE c NO SCROLL CURSOR FOR {sql}"), describe_statement("d"), sync())
    for _ in range(2):
        answers = twice.ask(bind("", "d", values), describe_portal(), execute(), sync())
        assert tags(answers) == ["DECLARE CURSOR"]
        answers = twice.ask(run("FETCH 2 FROM c"), run("MOVE 1 IN c"), run("FETCH ALL FROM c"), sync())
        assert not errors(answers)
        twice.ask(run("CLOSE c"), sync())
    twice.ask(query("COMMIT"))


def test_parameters_by_drivers(world):
    """psycopg binds values of Python's types, in text and in binary."""
    sql = "DECLARE c CURSOR FOR SELECT u.id, p.body FROM users u JOIN posts p ON p.likes = u.score WHERE u.id > %s AND p.body <> %s ORDER BY 1, p.user_id, p.id"
    for mark in ("%s", "%b"):
        found = []
        for database in (WHOLE, PARTS):
            with psycopg.connect(**world.options(database)) as connection:
                connection.execute(sql.replace("%s", mark), [5, "post 3"])
                found.append([connection.execute(f"FETCH {n} c", binary=mark == "%b").fetchall() for n in (1, 5, 0, 1000)])
        assert found[0] == found[1] and found[0][0]


def test_a_pipeline(twice):
    """All in one Sync, in a transaction block and without: then its messages are a transaction, but no block."""
    declared, ordered = run(f"DECLARE c CURSOR FOR {SELECTS['ordered'].sql}"), run(f"DECLARE d CURSOR FOR {SELECTS['a window'].sql}")
    for messages in (run("BEGIN") + declared + run("FETCH 3 c") + ordered + run("FETCH 2 d") + run("FETCH 3 c") + run("COMMIT"),
                     declared + run("FETCH 3 c"), run("SELECT 1") + declared + run("FETCH 3 c") + ordered + run("FETCH ALL d")):
        twice.ask(messages, sync())
        twice.ask(run("FETCH 1 c"), sync())


def test_fetch_prepared(twice):
    """FETCH is prepared once and run often, for cursors of other columns, too."""
    twice.ask(query("BEGIN"), until="Z")
    twice.say(f"DECLARE c CURSOR FOR {SELECTS['ordered'].sql}")
    twice.ask(parse("f", "FETCH 2 FROM c"), describe_statement("f"), sync())
    for _ in range(3):
        twice.ask(bind("", "f"), describe_portal(), execute(), sync())
    twice.say("CLOSE c", f"DECLARE c CURSOR FOR {SELECTS['groups'].sql}")
    with may_be_refused(twice):
        twice.ask(bind("", "f"), describe_portal(), execute(), sync())


def test_fetch_with_a_limit_of_rows(twice):
    """Execute's limit is another than FETCH's."""
    twice.say("BEGIN", f"DECLARE c CURSOR FOR {SELECTS['ordered'].sql}")
    with may_be_refused(twice):
        twice.ask(parse("", "FETCH 5 FROM c"), bind("p"), execute("p", 2), sync())
        twice.ask(execute("p", 2), execute("p", 2), sync())
        twice.say("FETCH 2 c", "COMMIT")


# --- errors ----------------------------------------------------------------------------------------

ORDERED = f"DECLARE c CURSOR FOR {SELECTS['ordered'].sql}"
WRONG = {
    "FETCH of none": (["BEGIN", "FETCH c"], "34000"),
    "MOVE of none": (["BEGIN", "MOVE 3 c"], "34000"),
    "CLOSE of none": (["BEGIN", "CLOSE c"], "34000"),
    "FETCH, no transaction": (["FETCH c"], "34000"),
    "CLOSE, no transaction": (["CLOSE c"], "34000"),
    "twice": (["BEGIN", ORDERED, "SELECT 1", ORDERED], "42P03"),
    "twice, of other rows": (["BEGIN", ORDERED, f"DECLARE c CURSOR FOR {SELECTS['a reference table'].sql}"], "42P03"),
    "twice, of one shard": (["BEGIN", f"DECLARE c CURSOR FOR {SELECTS['one shard'].sql}", ORDERED], "42P03"),
    "twice, merged": (["BEGIN", f"DECLARE c CURSOR FOR {SELECTS['a join'].sql}", f"DECLARE c CURSOR FOR {SELECTS['a window'].sql}"], "42P03"),
    "no transaction": ([ORDERED], "25P01"),
    "no transaction, merged": ([f"DECLARE c CURSOR FOR {SELECTS['a join'].sql}"], "25P01"),
    "no transaction, one shard": ([f"DECLARE c CURSOR FOR {SELECTS['one shard'].sql}"], "25P01"),
    "FETCH, failed": (["BEGIN", ORDERED, "SELECT 1 / 0", "FETCH c"], "25P02"),
    "DECLARE, failed": (["BEGIN", "SELECT 1 / 0", ORDERED], "25P02"),
    "CLOSE, failed": (["BEGIN", ORDERED, "SELECT 1 / 0", "CLOSE c"], "25P02"),
    "unknown column": (["BEGIN", "DECLARE c CURSOR FOR SELECT nothing FROM users"], "42703"),
    "unknown column, merged": (["BEGIN", "DECLARE c CURSOR FOR SELECT u.nothing FROM users u JOIN posts p ON u.score = p.likes"], "42703"),
    "unknown table": (["BEGIN", "DECLARE c CURSOR FOR SELECT 1 FROM nowhere"], "42P01"),
    "both words": (["BEGIN", "DECLARE c SCROLL NO SCROLL CURSOR FOR SELECT id FROM users"], None),
    "both sensitivities": (["BEGIN", "DECLARE c INSENSITIVE ASENSITIVE CURSOR FOR SELECT id FROM users"], None),
    "no select": (["BEGIN", "DECLARE c CURSOR FOR DELETE FROM users RETURNING id"], "42601"),
    "FETCH of a count that is none": (["BEGIN", ORDERED, "FETCH x y z c"], "42601"),
    "a count that is too large": (["BEGIN", ORDERED, "FETCH 99999999999 c"], "42601"),
    "no name": (["BEGIN", "FETCH 3"], "42601"),
    "closed": (["BEGIN", ORDERED, "FETCH c", "CLOSE c", "FETCH c"], "34000"),
    "closed, all": (["BEGIN", ORDERED, "FETCH c", "CLOSE ALL", "FETCH c"], "34000"),
}


@pytest.mark.parametrize("how", ["simple", "extended"])
@pytest.mark.parametrize("name", WRONG)
def test_errors(twice, name, how):
    statements, code = WRONG[name]
    answers = []
    for sql in [*statements, "FETCH c", "ROLLBACK", "FETCH c", "SELECT count(*) FROM users"]:
        answers += twice.ask(query(sql) if how == "simple" else run(sql) + sync())
    if how == "simple" and code:
        assert next(each for each in errors(answers) if each != "22012") == code


def test_a_parameter_that_is_none(twice):
    assert errors(twice.say("BEGIN", "DECLARE c CURSOR FOR SELECT id FROM users WHERE id > $1", "ROLLBACK")) == ["42P02"]


@pytest.mark.parametrize("sql", [
    "SELECT id, 100 / (id - 13) FROM users ORDER BY id", "SELECT u.id, 100 / (u.id - 13) FROM users u JOIN posts p ON u.score = p.likes ORDER BY u.id DESC, p.id",
    "SELECT g, 100 / (g - 13) FROM generate_series(1, 20) g"])
def test_an_error_among_the_rows(twice, sql):
    """It comes when its row does, or before, and the cursor is of no use any more."""
    twice.say("BEGIN", "SAVEPOINT s", f"DECLARE c NO SCROLL CURSOR FOR {sql}", "SAVEPOINT t")
    for wire in twice.wires:
        answers = wire.ask(query("FETCH ALL c"))
        assert errors(answers) == ["22012"]
    twice.say("FETCH c", "ROLLBACK TO t", "FETCH c", "ROLLBACK TO s", "FETCH c", "ROLLBACK", "SELECT 1")


# --- how long a cursor lives -----------------------------------------------------------------------


@pytest.mark.parametrize(**some(FEW))
def test_transactions(twice, sql, ordered):
    declare = f"DECLARE c CURSOR FOR {sql}"
    for end in ("COMMIT", "ROLLBACK", "END", "ABORT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"):
        twice.say("BEGIN", declare)
        [wire.query("FETCH 2 c") for wire in twice.wires]
        twice.say(end, "FETCH 2 c", "ROLLBACK")
    # The name is free again.
    twice.say("BEGIN", declare, "FETCH ALL c", "CLOSE c", declare, "FETCH ALL c", "COMMIT", ordered=ordered)


@pytest.mark.parametrize(**some([name for name in FEW if SELECTS[name].ordered]))
def test_savepoints(twice, sql, ordered):
    declare = f"DECLARE c CURSOR FOR {sql}"
    twice.say("BEGIN", "SAVEPOINT a", declare, "FETCH 1 c", "RELEASE a", "FETCH 1 c", "SAVEPOINT b", "FETCH 2 c", "ROLLBACK TO b", "FETCH 1 c",
              "RELEASE b", "FETCH 1 c", "COMMIT", "FETCH 1 c")
    twice.say("BEGIN", "SAVEPOINT a", declare, "FETCH 1 c", "ROLLBACK TO a", "FETCH 1 c", "ROLLBACK TO a", declare, "FETCH 3 c", "COMMIT")
    # Of a savepoint within a savepoint that is taken back.
    twice.say("BEGIN", "SAVEPOINT a", "SAVEPOINT b", declare, "RELEASE b", "FETCH 1 c", "ROLLBACK TO a", "FETCH 1 c", "ROLLBACK")
    # An error inside, which others than the cursor had.
    twice.say("BEGIN", declare, "FETCH 2 c", "SAVEPOINT a", "SELECT 1 / 0", "FETCH 2 c", "ROLLBACK TO a", "FETCH 2 c", "COMMIT")
    # CLOSE is not taken back.
    twice.say("BEGIN", declare, "FETCH 1 c", "SAVEPOINT a", "CLOSE c", "ROLLBACK TO a", "FETCH 1 c", "ROLLBACK")


def test_what_is_written_meanwhile_is_not_seen(twice):
    inserted = "INSERT INTO users (id, name, score) SELECT g, 'new', 3 FROM generate_series(100, 140) g"
    for name in FEW:
        sql, ordered = SELECTS[name]
        twice.say("BEGIN", "INSERT INTO users (id, name, score, country, noted) VALUES (50, 'before', 3, 'DE', '2024-01-01'), (51, 'before', 1, 'FR', '2024-01-02')",
                  f"DECLARE c NO SCROLL CURSOR FOR {sql}", inserted, "UPDATE posts SET likes = 3", "DELETE FROM users WHERE id BETWEEN 1 AND 12",
                  "UPDATE users SET name = 'changed'", "UPDATE countries SET people = 0", "UPDATE notes SET body = 'changed'", "FETCH 2 c",
                  "DELETE FROM users", "FETCH 2 c", "FETCH ALL c", "SELECT count(*) FROM users", "ROLLBACK", ordered=ordered)


@pytest.mark.usefixtures("restored")
def test_what_others_write_is_not_seen(twice, make_twice):
    other = make_twice()
    for level in ("READ COMMITTED", "REPEATABLE READ"):
        twice.say(f"BEGIN ISOLATION LEVEL {level}", ORDERED, "FETCH 2 c")
        other.say("UPDATE users SET name = 'changed' || id")
        twice.say("FETCH ALL c", "SELECT max(name) FROM users", "COMMIT")


def test_truncated_meanwhile(twice):
    """By the transaction itself: an error on a server, that has the table in use."""
    for sql in (SELECTS["ordered"].sql, SELECTS["all shards"].sql):
        twice.ask(query("BEGIN"))
        twice.say(f"DECLARE c CURSOR FOR {sql}")
        with may_be_refused(twice):
            twice.say("TRUNCATE users", "ROLLBACK")


def test_several_in_turn(twice):
    names = [name for name in FEW if SELECTS[name].ordered]
    twice.say("BEGIN", *(f"DECLARE c{n} CURSOR FOR {SELECTS[name].sql}" for n, name in enumerate(names)))
    for count in ("1", "2", "3", "ALL"):
        twice.say(*(f"FETCH {count} c{n}" for n in range(len(names))), "SELECT count(*) FROM users")
    twice.say("CLOSE c1", "FETCH c1", "ROLLBACK")


def test_several_at_the_merge_node(twice):
    twice.say("BEGIN", *(f"DECLARE c{n} NO SCROLL CURSOR FOR {SELECTS[name].sql}" for n, name in enumerate(MERGED)))
    for count in ("1", "2", "ALL", "1"):
        twice.say(*(f"FETCH {count} c{n}" for n in reversed(range(len(MERGED)))), SELECTS["a join"].sql)
    twice.say("CLOSE ALL", "FETCH c0", "ROLLBACK")


def test_other_statements_between(twice):
    """Which need the same servers."""
    twice.say("BEGIN", ORDERED, "FETCH 2 c")
    for name in FEW:
        twice.say(SELECTS[name].sql, "FETCH 1 c", ordered=False)
    twice.say("INSERT INTO users (id) SELECT id + 500 FROM users", "FETCH 1 c", "UPDATE users SET score = 1 RETURNING id", "FETCH ALL c",
              "SELECT count(*) FROM users", "ROLLBACK", ordered=False)


def test_close_all(twice):
    answers = twice.say("CLOSE ALL", "BEGIN", ORDERED, f"DECLARE d CURSOR FOR {SELECTS['a join'].sql}", "FETCH d", "CLOSE ALL", "SAVEPOINT s", "FETCH c",
                        "ROLLBACK TO s", "FETCH d", "ROLLBACK TO s", ORDERED, "FETCH 2 c", "COMMIT")
    assert tags(answers).count("CLOSE CURSOR ALL") == 2


# --- WITH HOLD -------------------------------------------------------------------------------------


@pytest.mark.parametrize(**some())
def test_hold(twice, sql, ordered):
    declare = f"DECLARE c CURSOR WITH HOLD FOR {sql}"
    # From a transaction block, in one and after it; without one; one that is taken back.
    twice.say("BEGIN", declare, "FETCH 2 c", "COMMIT", "FETCH 1 c", "SELECT 1", "BEGIN", "FETCH 1 c", "COMMIT", "FETCH ALL c", "MOVE 1 c", "CLOSE c", "FETCH c",
              ordered=ordered)
    twice.say(declare, "FETCH ALL c", "FETCH c", "CLOSE c", "FETCH c", ordered=ordered)
    twice.say("BEGIN", declare, "ROLLBACK", "FETCH c", declare, "CLOSE ALL", "FETCH c")


@pytest.mark.usefixtures("restored")
def test_hold_lives_on(twice, make_twice):
    for declare in (f"DECLARE c SCROLL CURSOR WITH HOLD FOR {SELECTS['ordered'].sql}", f"DECLARE c SCROLL CURSOR WITH HOLD FOR {SELECTS['a join'].sql}",
                    f"DECLARE c SCROLL CURSOR WITH HOLD FOR {SELECTS['one shard'].sql}"):
        twice.say("BEGIN", declare, "FETCH 2 c", "COMMIT")
        # Failed transactions, savepoints, writes.
        twice.say("BEGIN", "FETCH 1 c", "SELECT 1 / 0", "FETCH c", "ROLLBACK", "FETCH 1 c")
        twice.say("BEGIN", "SAVEPOINT s", "FETCH 1 c", "ROLLBACK TO s", "FETCH 1 c", "COMMIT", "FETCH 1 c")
        twice.say("UPDATE users SET name = 'changed', score = 1", "FETCH 1 c", "DELETE FROM posts", "FETCH BACKWARD 2 c")
        twice.say(declare, "BEGIN", declare, "ROLLBACK", "FETCH c", "BEGIN", "CLOSE c", "ROLLBACK", "FETCH c")


def test_hold_is_the_sessions_own(twice, make_twice):
    declare = f"DECLARE c CURSOR WITH HOLD FOR {SELECTS['ordered'].sql}"
    others = [make_twice() for _ in range(3)]
    twice.say(declare, "FETCH 2 c")
    for other in others:
        other.say("FETCH c", "CLOSE ALL", declare, "FETCH 1 c")
    twice.say("FETCH 2 c")
    for other in others:
        other.close()
        make_twice().say("FETCH c")
    twice.say("FETCH 2 c")


@pytest.mark.parametrize("end", ["DISCARD ALL", "CLOSE ALL", "CLOSE c"])
def test_hold_ends(twice, end):
    for sql in (SELECTS["ordered"].sql, SELECTS["a window"].sql, SELECTS["one shard"].sql):
        twice.say(f"DECLARE c CURSOR WITH HOLD FOR {sql}", "FETCH 2 c", end, "FETCH c")
    twice.say(end, "BEGIN", f"DECLARE c CURSOR WITH HOLD FOR {SELECTS['ordered'].sql}", "FETCH 2 c", "COMMIT", "FETCH 2 c", "CLOSE c")


@pytest.mark.parametrize("sql", ["SELECT u.id, 100 / (u.id - 12) FROM users u JOIN posts p ON u.score = p.likes WHERE u.id < 20 ORDER BY u.id, p.id",
                                 "SELECT u.id, 100 / (u.id - 13) FROM users u JOIN posts p ON u.score = p.likes ORDER BY u.id DESC, p.id"])
@pytest.mark.usefixtures("restored")
def test_hold_that_fails_with_its_rows(twice, sql):
    """COMMIT takes them, so it may fail; then nothing is committed."""
    twice.say("BEGIN", "UPDATE users SET name = 'changed'", f"DECLARE c NO SCROLL CURSOR WITH HOLD FOR {sql}", "FETCH 1 c", "COMMIT", "FETCH c",
              "SELECT count(*) FROM users WHERE name = 'changed'")
    twice.say(f"DECLARE c NO SCROLL CURSOR WITH HOLD FOR {sql}", "FETCH c")


@pytest.mark.usefixtures("restored")
def test_hold_and_two_phase_commit_end_together(twice):
    """What was written on all shards is there, and so are the cursor's rows, as they were at its declaration."""
    twice.say("BEGIN", "UPDATE users SET score = 1", f"DECLARE c CURSOR WITH HOLD FOR {SELECTS['ordered'].sql}", "UPDATE users SET score = 2", "COMMIT",
              "FETCH 5 c", "SELECT sum(score) FROM users", "FETCH ALL c", "CLOSE c")


def test_hold_by_the_extended_protocol(twice):
    twice.ask(parse("d", "DECLARE c CURSOR WITH HOLD FOR SELECT id, name FROM users WHERE id > $1 ORDER BY id"), describe_statement("d"), sync())
    twice.ask(bind("", "d", ["5"]), describe_portal(), execute(), sync())
    for _ in range(3):
        twice.ask(parse("", "FETCH 2 FROM c"), describe_statement(), bind(results=[1]), describe_portal(), execute(), sync())
    twice.ask(run("CLOSE c"), sync())
    twice.ask(run("FETCH c"), sync())


def test_hold_of_many_rows(twice):
    twice.say(f"DECLARE c CURSOR WITH HOLD FOR {MANY} ORDER BY g, u.id", "FETCH 5 c", "MOVE 10000 c", "FETCH 3000 c", "MOVE ALL c", "CLOSE c")


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared, others", [
    ('"Mein Cursor"', ['"Mein Cursor"']), ("Foo", ["foo", "FOO", '"foo"', '"Foo"']), ('"a""b"', ['"a""b"']), ('"c;d"', ['"c;d"', "c"]), ('"größe"', ["größe", "GRößE"]),
    ("x" * 70, ["x" * 70, "x" * 63, "x" * 62]), ('U&"\\0063"', ["c"]), ('"select"', ['"select"']), ("name", ["name", '"name"']), ('"pgshunt.rows"', ['"pgshunt.rows"']),
    ("forward", ["forward"]), ("absolute", ["absolute"]), ('"1"', ['"1"']), ("_c$1", ["_c$1"])])
def test_names(twice, declared, others):
    for sql in (SELECTS["ordered"].sql, SELECTS["a join"].sql):
        for other in others:
            twice.say("BEGIN", f"DECLARE {declared} CURSOR FOR {sql}", f"FETCH 2 FROM {other}", f"MOVE 1 IN {other}", f"FETCH FORWARD 1 FROM {other}",
                      f"CLOSE {other}", f"FETCH {declared}", "ROLLBACK")


# --- what else names cursors -----------------------------------------------------------------------


def test_where_current_of(twice):
    """Over several shards: refused, and nothing is changed. So are row locks."""
    for declare in (ORDERED, "DECLARE c CURSOR FOR SELECT id FROM users FOR UPDATE", "DECLARE c CURSOR FOR SELECT id FROM users"):
        for write in ("UPDATE users SET name = 'changed' WHERE CURRENT OF c", "DELETE FROM users WHERE CURRENT OF c"):
            twice.ask(query("BEGIN"))
            with may_be_refused(twice):
                twice.say(declare, "FETCH c", ordered=False)
                answers = twice.parts.ask(query(write))
                assert errors(answers) in (["0A000"], ["24000"]), answers
                twice.recover()
            twice.say("SELECT count(*), count(name) FROM users WHERE name <> 'changed'")


def test_cursors_are_portals(twice):
    """A server keeps both by name in one place."""
    twice.say("BEGIN", ORDERED)
    with may_be_refused(twice):
        twice.ask(describe_portal("c"), execute("c", 2), sync())
        twice.say("FETCH 2 c")
        twice.ask(parse("", SELECTS["a window"].sql), bind("p"), sync())
        twice.say("FETCH 2 p", "CLOSE p")
    twice.say("ROLLBACK", "BEGIN", ORDERED)
    with may_be_refused(twice):
        twice.ask(parse("", SELECTS["a window"].sql), bind("c"), sync())
    twice.say("ROLLBACK")


@pytest.mark.parametrize(**some(["one shard", "ordered", "a join", "a reference table"]))
def test_the_view_of_cursors(twice, sql, ordered):
    twice.say("BEGIN", f"DECLARE c BINARY NO SCROLL CURSOR FOR {sql}")
    with may_be_refused(twice):
        twice.say("SELECT name, is_holdable, is_binary, is_scrollable FROM pg_cursors ORDER BY name")


# --- drivers ---------------------------------------------------------------------------------------


def both(world, connect, work):
    """What `work` makes of a connection to the whole and of one to the parts."""
    found = []
    for database in (WHOLE, PARTS):
        connection = connect(**world.options(database))
        try:
            found.append(work(connection))
        finally:
            connection.close()
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("name", [name for name in FEW if SELECTS[name].ordered])
def test_psycopg2_named(world, name):
    def work(connection):
        with connection.cursor("Mein Cursor") as cursor:
            cursor.itersize = 3
            cursor.execute(SELECTS[name].sql)
            seen = [cursor.fetchone(), cursor.fetchmany(2), [column[:2] for column in cursor.description], list(cursor), cursor.fetchall()]
        connection.commit()
        with connection.cursor("scrolled", scrollable=True) as cursor:
            cursor.execute(SELECTS[name].sql)
            seen.append(cursor.fetchmany(4))
            for value, mode in ((-2, "relative"), (1, "absolute"), (2, "relative"), (0, "absolute")):
                cursor.scroll(value, mode)
                seen.append((cursor.fetchone(), cursor.rownumber))
        connection.commit()
        with connection.cursor("held", withhold=True, scrollable=False) as cursor:
            cursor.execute(SELECTS[name].sql)
            connection.commit()
            seen.append(cursor.fetchmany(3))
            connection.rollback()
            seen.append(cursor.fetchall())
        return seen
    assert both(world, psycopg2.connect, work)[0]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("name", [name for name in FEW if SELECTS[name].ordered])
def test_psycopg_server_cursors(world, name, binary):
    def work(connection):
        seen = []
        with connection.cursor("Mein Cursor", binary=binary) as cursor:
            cursor.itersize = 3
            cursor.execute(SELECTS[name].sql)
            seen += [cursor.fetchone(), cursor.fetchmany(2), [column.name for column in cursor.description], list(cursor), cursor.fetchall()]
        connection.commit()
        with connection.cursor("scrolled", scrollable=True, binary=binary) as cursor:
            cursor.execute(SELECTS[name].sql)
            seen.append(cursor.fetchmany(4))
            for value, mode in ((-2, "relative"), (1, "absolute"), (2, "relative"), (0, "absolute")):
                cursor.scroll(value, mode)
                seen.append((cursor.fetchone(), cursor.rownumber))
        connection.commit()
        with connection.cursor("held", withhold=True, binary=binary) as cursor:
            cursor.execute(SELECTS[name].sql)
            connection.commit()
            seen.append(cursor.fetchmany(3))
            connection.rollback()
            seen.append(cursor.fetchall())
        # Again with other values, without a word of its own in between.
        cursor = connection.cursor("again")
        for low in (3, 20):
            cursor.execute("SELECT id, score FROM users WHERE id > %s ORDER BY score DESC, id", [low])
            seen.append(cursor.fetchmany(5))
        cursor.close()
        return seen
    assert both(world, psycopg.connect, work)[0]


def test_psycopg_takes_over_a_cursor(world):
    """One that was declared by a statement: it is looked for before it is closed."""
    def work(connection):
        connection.execute(ORDERED)
        with connection.cursor("c") as cursor:
            seen = [cursor.fetchone(), cursor.fetchmany(2)]
        try:
            connection.execute("FETCH c")
        except psycopg.Error as error:
            seen.append(error.sqlstate)
        return seen
    assert both(world, psycopg.connect, work)[-1] == "34000"


# --- the proxy's own side --------------------------------------------------------------------------


def test_nothing_is_left(world, twice):
    """Neither a cursor nor a transaction nor a table, when sessions end in the midst."""
    for name in FEW:
        with world.wire() as client:
            client.query("BEGIN")
            client.query(f"DECLARE c CURSOR FOR {SELECTS[name].sql}")
            assert len(client.query("FETCH 1 c")) == 1
        with world.wire() as client:
            client.query(f"DECLARE c CURSOR WITH HOLD FOR {SELECTS[name].sql}")
            assert len(client.query("FETCH 1 c")) == 1
    for server in world.servers:
        wait_until(lambda server=server: server.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in transaction%%'", (PARTS,)) == [(0,)])
        wait_until(lambda server=server: server.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'pgshunt.%%'", dbname=PARTS) == [(0,)])
    with world.wire() as client:
        for server in world.servers:
            assert client.query(f"/* pgshunt: shard={server.name} */ SELECT name FROM pg_cursors") == []


def test_a_small_pool_serves_many_sessions(make_twice):
    """Cursors of transactions that have ended keep no server."""
    sessions = [make_twice() for _ in range(12)]
    for _ in range(3):
        for each in sessions:
            each.say(*ordinary("FETCH 2 c", "FETCH 3 c"))


def test_memory(world):
    """A cursor of many rows that nobody reads costs the proxy little, and so does one that is read in portions."""
    with world.wire(timeout=60) as client:
        before = world.proxy.memory()
        client.query("BEGIN")
        client.query("DECLARE c NO SCROLL CURSOR FOR SELECT u.id, repeat('x', 1000) FROM users u, generate_series(1, 8000) g ORDER BY g, u.id")
        assert len(client.query("FETCH 10 c")) == 10
        assert world.proxy.memory() - before < 30_000_000
        for _ in range(10):
            assert len(client.query("FETCH 10000 c")) == 10000
        assert world.proxy.memory() - before < 60_000_000
        client.query("COMMIT")


def test_cancel(world, twice):
    for sql in ("SELECT id, pg_sleep(0.1) FROM users ORDER BY id", "SELECT u.id, pg_sleep(0.1) FROM users u JOIN posts p ON u.score = p.likes"):
        twice.say("BEGIN", "SAVEPOINT s", f"DECLARE c NO SCROLL CURSOR FOR {sql}")
        for wire in twice.wires:
            wire.send(query("FETCH ALL c"))
            wire.silent(0.3)  # until it runs
            wire.cancel()
            assert errors(wire.until_ready()) == ["57014"]
        twice.say("FETCH c", "ROLLBACK TO s", "FETCH c", "ROLLBACK", "SELECT 1")


@pytest.mark.parametrize("setting", ["DateStyle = 'German'", "TimeZone = 'Asia/Tokyo'", "client_encoding = 'LATIN1'", "extra_float_digits = 0"])
@pytest.mark.parametrize("how", ["SET", "SET LOCAL"])
@pytest.mark.parametrize("declared", ["CURSOR", "SCROLL CURSOR"])
def test_settings_between(twice, setting, how, declared):
    """Values are written as the session wants them now, or it is said that they cannot be."""
    sql = "SELECT id, name, noted, noted::date AS day, id / 3::float8 AS third FROM users ORDER BY id"
    for before, after in (([f"{how} {setting}"], []), ([], [f"{how} {setting}"]), ([], ["SAVEPOINT s", f"{how} {setting}", "ROLLBACK TO s"])):
        with may_be_refused(twice):
            twice.say("BEGIN", *before, f"DECLARE c {declared} FOR {sql}", "FETCH 2 c", *after, "FETCH 3 c", "FETCH 20 c", "COMMIT", "RESET ALL")
        twice.say("ROLLBACK", "RESET ALL")
