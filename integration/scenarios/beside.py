"""Connections to the shards and, beside them, to the one server with all rows; what each says."""

import psycopg
import pytest

from differential.world import PARTS, WHOLE
from harness.postgres import PASSWORD, SUPERUSER


def connection(world, database=PARTS, **more):
    port = world.proxy.port if database == PARTS else world.servers[0].port
    return psycopg.connect(host=world.servers[0].host, port=port, user=SUPERUSER, password=PASSWORD, dbname=database,
                           autocommit=True, **more)


@pytest.fixture
def parts(world):
    world.reset()
    with connection(world) as parts:
        yield parts


@pytest.fixture
def whole(world):
    with connection(world, WHOLE) as whole:
        yield whole


def answer(client, sql, *values, **more):
    try:
        cursor = client.execute(sql, values or None, **more)
    except psycopg.Error as error:
        return error.sqlstate
    return cursor.fetchall()
