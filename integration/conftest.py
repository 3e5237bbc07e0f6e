"""Fixtures of all scenarios. Servers that many tests can share are made once a session; whatever a
test harms, it makes for itself with make_postgres and make_proxy."""

import pytest

from harness import Authority, PostgresServer, Proxy, Run
from harness.config import add_application
from harness.postgres import TEST_SETTINGS
from harness.run import server_account


@pytest.fixture(scope="session")
def run():
    world = Run()
    yield world
    world.close()


@pytest.fixture(scope="session")
def authority(run):
    """The authority that the servers' certificates, and users' where wanted, are issued by."""
    return Authority(run.folder / "tls")


@pytest.fixture(scope="session")
def template(run, authority):
    """A stopped server: copying its data directory is ten times as fast as initdb."""
    folder = run.subfolder("template", server_account())
    return PostgresServer(folder, "template", authority=authority).create()


def _postgres_factory(run, authority, template, made):
    def make(name="postgres", *, replica_of=None, start=True, settings=None, **options):
        server = PostgresServer(run.subfolder(name, server_account()), name, authority=authority,
                                settings={**TEST_SETTINGS, **(settings or {})}, **options)
        made.append(server)
        run.live.append(server)
        if replica_of:
            server.create_replica_of(replica_of)
        else:
            server.create(template)
        if start:
            server.start()
        return server
    return make


@pytest.fixture(scope="session")
def shared_postgres(run, authority, template):
    """The factory for servers that live as long as the session: tests must not harm them."""
    return _postgres_factory(run, authority, template, [])


@pytest.fixture
def make_postgres(run, authority, template):
    """make_postgres(name, replica_of=None, settings={}, hba=..., start=True) -> PostgresServer"""
    made = []
    yield _postgres_factory(run, authority, template, made)
    for server in made:
        run.live.remove(server)
        server.destroy()


@pytest.fixture(scope="session")
def postgres(shared_postgres):
    """One server for all tests that only need some server."""
    return shared_postgres("postgres")


@pytest.fixture(scope="session")
def app_postgres(shared_postgres):
    """One server with the roles app and other and the database app, for tests that share it."""
    return add_application(shared_postgres("app-postgres"))


@pytest.fixture
def own_postgres(make_postgres):
    """The same for one test alone, which may harm it."""
    return add_application(make_postgres("own-postgres"))


@pytest.fixture(scope="session")
def shards(shared_postgres):
    """Three servers for all tests that only need some shards."""
    servers = [shared_postgres(f"shard{number}", start=False) for number in (1, 2, 3)]
    for server in servers:
        server.start(wait=False)
    for server in servers:
        server.wait_ready()
    return servers


def _proxy_factory(run):
    """Yields make(config, name=..., start=True) -> Proxy. At its end each one must stop cleanly:
    status 0 and no sanitizer report."""
    made = []

    def make(config, *, name="pgshunt", start=True, **options):
        proxy = Proxy(run.subfolder(name), config, name=name, **options)
        made.append(proxy)
        run.live.append(proxy)
        if start:
            proxy.start()
        return proxy

    yield make
    problems = []
    for proxy in made:
        run.live.remove(proxy)
        try:
            proxy.stop()
        except Exception as problem:  # noqa: BLE001: stop the others before failing
            problems.append(problem)
            proxy.force_end()
    if problems:
        raise problems[0]


@pytest.fixture
def make_proxy(run):
    """The factory for proxies of one test."""
    yield from _proxy_factory(run)


@pytest.fixture(scope="module")
def shared_proxy(run):
    """The factory for proxies that the tests of one file share."""
    yield from _proxy_factory(run)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every live server's and proxy's log."""
    outcome = yield
    report = outcome.get_result()
    # Asked by name at the item: a test that uses no server has no run, and must not make one.
    run = getattr(item, "funcargs", {}).get("run")
    if report.failed and run:
        for process in run.live:
            report.sections.append((f"log of {process.name}", process.log_tail(30)))
