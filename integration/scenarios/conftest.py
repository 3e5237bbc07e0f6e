"""Fixtures of the scenarios of transaction mode: one proxy a file, before one server, with the
database "one" (a single server connection) and "two" (two of them). At the end, those of the
scenarios that run unmodified applications, and what sets of analytical queries took."""

import pytest

from applications import Applications, create_databases
from differential.side_by_side import table
from pooling import Clients, TwoServers, ones_and_twos


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
