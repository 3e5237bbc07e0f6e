"""Fixtures of the scenarios of transaction mode: one proxy a file, before one server, with the
database "one" (a single server connection) and "two" (two of them). At the end, those of the
scenarios that compare with one server, that run unmodified applications, and what sets of analytical
queries took."""

import pytest

from applications import Applications, create_databases
from differential.side_by_side import table
from differential.world import World
from pooling import Clients, TwoServers, ones_and_twos
from twice import Twice


@pytest.fixture(scope="module")
def proxy(shared_proxy, app_postgres):
    return shared_proxy(ones_and_twos(app_postgres))


@pytest.fixture
def clients(proxy):
    """clients("one") is a new client; it says goodbye with the test."""
    made = Clients(proxy)
    yield made
    made.close()


@pytest.fixture
def alice(clients):
    """alice and bob take turns on the one server of database "one"."""
    return clients()


@pytest.fixture
def bob(clients):
    return clients()


@pytest.fixture
def two(clients):
    """The test says on which of two servers the next transaction of database "two" runs."""
    return TwoServers(clients)


# Fixtures of the scenarios that compare with one server


@pytest.fixture(scope="module")
def world(shards, shared_proxy):
    """One database twice, whole and in parts. Files that need further tables have a world of their own."""
    return World(shards, shared_proxy)


@pytest.fixture
def make_twice(world):
    """make_twice() says all to the whole and to the parts, in two new sessions."""
    made = []

    def make(**options):
        made.append(Twice(world.wire_to_whole(**options), world.wire(**options)))
        return made[-1]
    yield make
    for each in made:
        each.close()


@pytest.fixture
def twice(make_twice):
    return make_twice()


@pytest.fixture
def restored(world):
    """For tests that commit: the world is afterwards as it was. To be used by usefixtures(): sessions must end before."""
    yield
    world.reset()


# Fixtures of the scenarios with unmodified applications


@pytest.fixture(scope="session")
def application_servers(shards):
    return create_databases(shards)


@pytest.fixture(scope="module")
def applications(shared_proxy, application_servers, authority):
    return Applications(shared_proxy, application_servers, authority)


@pytest.fixture(params=["plain", "sharded"])
def database(request):
    return request.param


@pytest.fixture(scope="module")
def outcomes(request):
    """Of the queries of a file: printed as a table at its end, also when all is well."""
    collected = []
    yield collected
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{table(collected)}")
