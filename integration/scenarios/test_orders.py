"""Order entry in the manner of TPC-C on three shards: whatever is done together on two of them is done
by both or by neither."""

import psycopg2
import pytest

from applications import Applications
from harness import orders
from transfers import nothing_prepared

WAREHOUSES = 6
DATABASE = "orders"


@pytest.fixture(scope="module")
def applications(shared_proxy, application_servers, authority):
    for server in application_servers:
        server.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        server.create_database(DATABASE, "apps")
        server.psql("SET ROLE apps;" + orders.SCHEMA, DATABASE)
    applications = Applications(shared_proxy, application_servers, authority, databases={DATABASE: {
        "shards": [{"name": server.name, "host": server.host, "port": server.port, "dbname": DATABASE}
                   for server in application_servers],
        "pool_size": 10,
        **orders.keyspace_and_tables()}})
    connection = psycopg2.connect(**applications.options(DATABASE))
    connection.autocommit = True
    with connection.cursor() as cursor:
        orders.load(cursor, WAREHOUSES)
    connection.close()
    return applications


@pytest.mark.parametrize("protocol", ("simple", "extended", "prepared"))
def test_order_entry(applications, tmp_path, protocol):
    done = orders.run(applications.environment(DATABASE), orders.write_scripts(tmp_path), WAREHOUSES,
                      clients=8, transactions=40, protocol=protocol)
    for name, figures in done["by_script"].items():
        assert figures["failed"] == 0, (name, figures)
    assert sum(figures["transactions"] for figures in done["by_script"].values()) == 8 * 40
    nothing_prepared(applications.servers)
    assert orders.check(applications.servers, DATABASE, "orders_together") == []
