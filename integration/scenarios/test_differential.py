"""A small, seeded share of the comparison in differential/, and the cases it once found."""

import threading

import pytest

from differential.generator import CLASSES, Case, Step, cases
from differential.runner import Runner
from differential.world import PARTS
from harness.wire import bind, describe_portal, errors, execute, parse, query, sync, types


@pytest.fixture
def runner(world):
    made = Runner(world)
    yield made
    made.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_random_cases_are_identical_or_refused(runner, seed):
    runner.run(cases(seed, 400))
    print(runner.report())
    assert not runner.wrong(), runner.report()


def test_each_class_is_asked(runner):
    for each in CLASSES:
        runner.run(cases(3, 4, [each.name]), tables_every=100)
    assert all(runner.tally[each.name] for each in CLASSES)
    assert not runner.wrong(), runner.report()


READS = [("SELECT id, ratio FROM users ORDER BY ratio, id", True), ("SELECT id, noted FROM users WHERE id = 4", False),
         ("SELECT id, noted FROM users WHERE id = 1", False), ("SELECT id, noted FROM users WHERE id = 2", False)]
# Once answered wrongly: (what must come of it, statements); either is refused or identical.
FOUND = [
    # Reached one shard of three, which then spoke differently from the others.
    ("refused", ["SELECT set_config('timezone', 'Asia/Tokyo', false)", *READS]),
    ("refused", ["BEGIN", "SELECT set_config('extra_float_digits', '-15', true)", *READS]),
    ("refused", ["UPDATE pg_settings SET setting = '0' WHERE name = 'extra_float_digits'", *READS]),
    ("identical", ["SELECT set_config('jit', 'off', false)", *READS]),
    # Rows merged by what was left of their numbers; tables taken for those of another schema.
    ("either", ["BEGIN", "SET LOCAL extra_float_digits = -15", READS[0]]),
    ("refused", ["BEGIN", "SET LOCAL search_path = pristine", "SELECT id FROM users WHERE id = 1"]),
    ("identical", ["BEGIN", "SAVEPOINT a", "SET LOCAL search_path = pristine", "ROLLBACK TO a",
                   "SELECT id FROM users WHERE id = 1"]),
    # Begun in no shard, so what followed could not be taken back.
    ("identical", ["BEGIN ISOLATION LEVEL FOO", "UPDATE users SET score = 99 WHERE id = 1", "ROLLBACK",
                   "SELECT score FROM users WHERE id = 1"]),
    ("identical", ["BEGIN", "UPDATE users SET score = 99 WHERE id = 1", "COMMIT foo", "ROLLBACK",
                   "SELECT score FROM users WHERE id = 1"]),
    ("identical", ["BEGIN", "SAVEPOINT a b", "ROLLBACK"]),
    # One shard's part of a table that no FROM names.
    ("refused", ["SELECT query_to_xml('SELECT count(*) FROM users', false, false, '')"]),
    ("refused", ["SELECT id, query_to_xml('SELECT count(*) FROM users', false, false, '') FROM notes"]),
    ("refused", ["SELECT * FROM ts_stat('SELECT to_tsvector(body) FROM posts')"]),
    # Each shard's own clock.
    ("refused", ["UPDATE countries SET since = E'n\\x6fw'"]),
    ("refused", ["UPDATE countries SET since = 'no'\n'w'"]),
    # Errors where there is an answer, or of another kind.
    ("either", ["SELECT id FROM users ORDER BY id LIMIT 1.5"]),
    ("identical", ["SELECT id FROM users ORDER BY id LIMIT 9223372036854775807 OFFSET 3"]),
    ("identical", ["SELECT id FROM users ORDER BY 0"]),
    ("refused", ["SELECT v FROM words WHERE k = 5::text"]),
    ("identical", ["SELECT v FROM moments WHERE k = '2023-12-31 23:59:60'"]),
    ("identical", ["SELECT v FROM blobs WHERE k = '\\xabc'"]),
    ("identical", ["BEGIN", "SELECT 1 / 0", "SELECT v FROM ids WHERE k = 'zz'", "ROLLBACK"]),
]


@pytest.mark.parametrize("how", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("kind, statements", FOUND)
def test_what_was_found_stays_mended(runner, kind, statements, how):
    runner.world.reset()
    steps = [Step(each, (), False) if isinstance(each, str) else Step(each[0], (), each[1]) for each in statements]
    outcome = runner.run_case(Case("found", how, steps))
    table = runner.world.drift()
    assert not table, f"rows of {table}"
    assert outcome.kind == kind or kind == "either" and outcome.kind in ("refused", "identical"), outcome


def test_writers_of_a_reference_table_do_not_wait_for_each_other_in_a_ring(world):
    world.reset()
    rounds, done = 30, []

    def write(number):
        _, parts = world.clients()
        for step in range(rounds):
            how = "simple" if (number + step) % 2 else "extended"
            if step % 3 == 0:
                parts.simple("BEGIN")
            (answer,) = parts.ask("UPDATE countries SET people = people + 1 WHERE code = 'DE'", (), how)
            assert not answer.error, answer
            if step % 3 == 0:
                parts.simple("COMMIT")
        done.append(number)

    writers = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert len(done) == 6
    rows = [server.execute("SELECT people FROM countries WHERE code = 'DE'", dbname=PARTS)
            for server in world.servers]
    assert rows == [[(ord("D") + 6 * rounds,)]] * 3


def test_a_write_of_a_reference_table_has_all_its_replies(world):
    world.reset()
    with world.wire() as client:
        steps = (parse("", "UPDATE countries SET people = $1 WHERE code = 'DE'"), bind("", "", ["5"]))
        assert types(client.ask(*steps, describe_portal(), execute(), sync())) == "12nCZ"
        assert types(client.ask(*steps, execute(), sync())) == "12CZ"
        client.ask(query("BEGIN"))
        assert types(client.ask(*steps, execute(), sync())) == "12CZ"
        client.ask(query("COMMIT"))


def test_errors_of_several_shards_keep_what_the_server_said(world):
    world.reset()
    with world.wire() as client:
        (error, _) = client.ask(query("INSERT INTO countries (code) VALUES ('DE')"))
        assert error.fields["C"] == "23505"
        assert error.fields["n"] == "countries_pkey"
        assert error.fields["D"] == "Key (code)=(DE) already exists."


def test_a_simple_query_drops_the_unnamed_statement(world):
    with world.wire() as client:
        client.ask(parse("", "BEGIN"), sync())
        client.ask(query("SELECT 1"))
        assert errors(client.ask(bind(), execute(), sync())) == ["26000"]
