"""TPC-H on three shards: its 22 queries give exactly the rows that one PostgreSQL gives."""

import pytest

from differential.side_by_side import SideBySide
from harness import tpch


@pytest.fixture(scope="module")
def pair(shards, shared_proxy):
    pair = SideBySide(tpch.WORKLOAD, shards, shared_proxy, scale=0.005)
    yield pair
    pair.close()


def test_rows_are_on_their_shards(pair):
    for table, key in tpch.KEYS.items():
        whole, *parts = pair.counts(table)
        if key is None:
            assert parts == [whole] * len(parts), table
        else:
            assert sum(parts) == whole and min(parts) > whole / 5, table


@pytest.mark.parametrize("name", tpch.QUERIES)
def test_query(pair, outcomes, name):
    outcome = pair.compare(name)
    outcomes.append(outcome)
    assert outcome.problem == ""


@pytest.mark.parametrize("how", ("binary", "prepared"))
def test_by_the_extended_protocol(pair, how):
    problems = {name: pair.compare(name, how).problem for name in tpch.QUERIES}
    assert set(problems.values()) == {""}, problems
