"""Joins of four to ten tables by different keys on three shards give exactly the rows that one PostgreSQL gives."""

import pytest

from differential.side_by_side import SideBySide
from harness import job
from harness.postgres import SUPERUSER
from harness.wire import Wire, bind, describe_statement, execute, parse, sync, types


@pytest.fixture(scope="module")
def pair(shards, shared_proxy):
    pair = SideBySide(job.WORKLOAD, shards, shared_proxy, scale=1)
    yield pair
    pair.close()


def test_rows_are_on_their_shards(pair):
    for table, key in job.KEYS.items():
        whole, *parts = pair.counts(table)
        if key is None:
            assert parts == [whole] * len(parts), table
        else:
            assert sum(parts) == whole and min(parts) > whole / 6, table


@pytest.mark.parametrize("name", job.QUERIES)
def test_query(pair, outcomes, name):
    outcome = pair.compare(name)
    outcomes.append(outcome)
    assert outcome.problem == ""


@pytest.mark.parametrize("how", ("binary", "prepared"))
def test_by_the_extended_protocol(pair, how):
    problems = {name: pair.compare(name, how).problem for name in job.QUERIES}
    assert set(problems.values()) == {""}, problems


def test_each_is_prepared_described_and_run_right_after_the_one_before(pair):
    """What the one before has left to clean up takes nothing of the next one's."""
    with Wire(pair.proxy, pair.parts, user=SUPERUSER, timeout=20) as client:
        for name, query in job.QUERIES.items():
            assert types(client.ask(parse(name, query.sql), sync())) == "1Z"
            assert types(client.ask(describe_statement(name), sync())) == "tTZ", name
            assert types(client.ask(bind("", name), execute(), sync())).endswith("DCZ"), name
