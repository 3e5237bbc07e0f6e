"""Joins of four to ten tables by different keys on three shards: exactly the rows that one PostgreSQL gives."""

import pytest

from differential.side_by_side import SideBySide
from harness import job

# Not answered yet, and said so. Whoever teaches the proxy one of them strikes it out here.
REFUSED = set(job.QUERIES)


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
            assert sum(parts) == whole and min(parts) > whole / 5, table


@pytest.mark.parametrize("name", job.QUERIES)
def test_query(pair, outcomes, name):
    outcome = pair.compare(name)
    outcomes.append(outcome)
    assert not outcome.wrong
    assert bool(outcome.refused) == (name in REFUSED), outcome.refused or "answered: strike it out of REFUSED"


@pytest.mark.parametrize("name", [name for name in job.QUERIES if name not in REFUSED])
def test_query_in_binary(pair, name):
    assert pair.compare(name, how="binary").wrong == ""
