"""Every way to place keys on shards: rows are where the configuration says, statements find them there,
and what no shard has is an error."""

import psycopg
import pytest

from harness import wait_until

USER, DATABASE = "placed", "placed"
TENANTS = {"tenant_1": 0, "tenant_2": 1, "tenant_3": 2}
TABLES = """
CREATE TABLE events (day date, id bigint, note text, PRIMARY KEY (day, id));
CREATE TABLE event_tags (at date, event bigint, tag text);
CREATE TABLE people (name text COLLATE "C" PRIMARY KEY, age int);
CREATE TABLE customers (country text, id bigint, name text, PRIMARY KEY (country, id));
CREATE TABLE orders (customer_id bigint, total numeric);
CREATE TABLE rooms (id bigint PRIMARY KEY);
CREATE TABLE countries (code text PRIMARY KEY, name text);
INSERT INTO countries VALUES ('de', 'Germany'), ('fr', 'France'), ('us', 'United States');
"""
SHARDS = ("s1", "s2", "s3")


def configuration(servers, **database):
    return {
        "pgshunt": {"auth_type": "trust", "workers": 1, "admin_users": [USER]},
        "users": {USER: {"password": USER}},
        "databases": {DATABASE: {
            "directory": "rooms.directory",
            "shards": [{"name": name, "host": server.host, "port": server.port}
                       for name, server in zip(SHARDS, servers)],
            "keyspaces": [
                {"name": "years", "strategy": "range", "type": "date", "ranges": [
                    {"to": "2023-01-01", "shard": "s1"},
                    {"from": "2023-01-01", "to": "2024-01-01", "shard": "s2"},
                    {"from": "2025-01-01", "shard": "s3"}]},
                {"name": "names", "strategy": "range", "type": "text", "ranges": [
                    {"to": "m", "shard": "s1"}, {"from": "m", "shard": "s3"}]},
                {"name": "regions", "strategy": "list", "type": "text", "values": [
                    {"values": ["de", "fr"], "shard": "s2"}, {"values": ["us"], "shard": "s3"}]},
                {"name": "customers", "type": "bigint", "overrides": [
                    {"key": 42, "shard": "s3"}, {"key": "43", "shard": "s1"}]},
                {"name": "rooms", "strategy": "directory", "type": "bigint"},
                {"name": "tenants", "strategy": "schema", "schemas": [
                    {"schema": schema, "shard": SHARDS[shard]} for schema, shard in TENANTS.items()]},
            ],
            "tables": [
                {"name": "events", "keyspace": "years", "key": "day"},
                {"name": "event_tags", "keyspace": "years", "key": "at"},
                {"name": "people", "keyspace": "names", "key": "name"},
                {"name": "customers", "keyspace": "regions", "key": "country"},
                {"name": "orders", "keyspace": "customers", "key": "customer_id"},
                {"name": "rooms", "keyspace": "rooms", "key": "id"},
                {"name": "countries", "reference": True}],
            **database}},
    }


@pytest.fixture(scope="module")
def servers(shards):
    for number, server in enumerate(shards):
        server.create_user(USER, USER)
        server.create_database(DATABASE, USER)
        script = f"SET ROLE {USER};" + TABLES
        for schema, shard in TENANTS.items():
            if shard == number:
                script += (f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.invoices (id bigint, "
                           f"country text); CREATE TABLE {schema}.lines (invoice bigint, what text);")
        server.psql(script, DATABASE)
    return shards


@pytest.fixture(scope="module")
def proxy(shared_proxy, servers):
    proxy = shared_proxy(configuration(servers))

    def catalog_is_read():
        with connect(proxy) as client:
            # Without a column list: the order of the columns must be known.
            return refusal(client, "INSERT INTO events VALUES (NULL, 1, 'x')") == "23502"
    wait_until(catalog_is_read)
    return proxy


def connect(proxy, simple=True, **options):
    return psycopg.connect(
        host=proxy.host, port=proxy.port, dbname=DATABASE, user=USER, autocommit=True,
        cursor_factory=psycopg.ClientCursor if simple else psycopg.Cursor, **options)


def refusal(client, sql, values=None):
    """The error's SQLSTATE, or None."""
    try:
        client.execute(sql, values)
    except psycopg.Error as error:
        return error.sqlstate
    return None


@pytest.fixture(params=["simple", "extended"])
def client(request, proxy, servers):
    for server in servers:
        server.psql(f"SET ROLE {USER}; TRUNCATE events, event_tags, people, customers, orders, rooms",
                    DATABASE)
    for schema, shard in TENANTS.items():
        servers[shard].psql(f"TRUNCATE {schema}.invoices, {schema}.lines", DATABASE)
    with connect(proxy, request.param == "simple") as client:
        yield client


def on_shards(servers, sql):
    """The first column, by shard."""
    return [sorted(row[0] for row in server.execute(sql, dbname=DATABASE)) for server in servers]


def test_ranges_hold_their_keys(client, servers):
    days = ["2022-12-31", "2023-01-01", "2023-12-31", "2025-01-01", "infinity", "-infinity", "0044-03-15"]
    for number, day in enumerate(days):
        client.execute("INSERT INTO events (day, id, note) VALUES (%s::date, %s, 'x')", (day, number))
    assert on_shards(servers, "SELECT id FROM events") == [[0, 5, 6], [1, 2], [3, 4]]
    for number, day in enumerate(days):
        rows = client.execute("SELECT id FROM events WHERE day = %s::date", (day,)).fetchall()
        assert rows == [(number,)]
    assert client.execute("UPDATE events SET note = 'y' WHERE day = '2023-12-31'").rowcount == 1
    assert client.execute("DELETE FROM events WHERE day = '2025-01-01'").rowcount == 1
    assert on_shards(servers, "SELECT id FROM events") == [[0, 5, 6], [1, 2], [4]]


def test_a_key_that_no_range_has(client, servers):
    for day in ("2024-01-01", "2024-12-31"):
        with pytest.raises(psycopg.errors.CheckViolation) as caught:
            client.execute("INSERT INTO events (day, id) VALUES (%s::date, 1)", (day,))
        assert str(caught.value).startswith(f'no range of keyspace "years" has the key {day}')
        assert "Add a range" in caught.value.diag.message_hint
        assert client.execute("SELECT * FROM events WHERE day = %s::date", (day,)).fetchall() == []
        assert client.execute("DELETE FROM events WHERE day = %s::date", (day,)).rowcount == 0
    assert on_shards(servers, "SELECT id FROM events") == [[], [], []]


def test_ranges_of_a_comparison(client, servers):
    days = [f"{year}-06-01" for year in (2020, 2021, 2022, 2023, 2025, 2026)]
    for number, day in enumerate(days):
        client.execute("INSERT INTO events (day, id) VALUES (%s::date, %s)", (day, number))
        client.execute("INSERT INTO event_tags (at, event, tag) VALUES (%s::date, %s, 't')",
                       (day, number))

    def ids(condition, values=(), table="events"):
        rows = client.execute(f"SELECT id FROM {table} WHERE {condition} ORDER BY id", values)
        return [row[0] for row in rows.fetchall()]
    assert ids("day < %s::date", ("2022-06-01",)) == [0, 1]
    assert ids("day <= %s::date AND note IS NULL", ("2022-06-01",)) == [0, 1, 2]
    assert ids("day BETWEEN %s::date AND %s::date", ("2021-01-01", "2023-12-31")) == [1, 2, 3]
    assert ids("day >= '2023-06-01'") == [3, 4, 5]
    assert ids("'2024-03-01' < day") == [4, 5]
    assert ids("day > '2024-01-01' AND day < '2024-12-31'") == []
    assert ids("day > '2023-01-01'", table="events JOIN event_tags ON at = day") == [3, 4, 5]
    # The shards that cannot have such rows are not asked: rows put there by hand do not show.
    servers[0].psql("INSERT INTO events VALUES ('2026-01-01', 99)", DATABASE)
    assert ids("day >= '2025-01-01'") == [4, 5]


def test_ranges_of_text(client, servers):
    for name in ("Zoe", "adam", "lz", "m", "mary", "ßoe", ""):
        client.execute("INSERT INTO people (name, age) VALUES (%s, 1)", (name,))
    assert on_shards(servers, "SELECT name FROM people") == \
        [["", "Zoe", "adam", "lz"], [], ["m", "mary", "ßoe"]]
    rows = client.execute("SELECT name FROM people WHERE name >= 'lz' ORDER BY name").fetchall()
    assert [row[0] for row in rows] == ["lz", "m", "mary", "ßoe"]


def test_lists_keep_data_in_its_region(client, servers):
    for number, country in enumerate(("de", "fr", "us")):
        client.execute("INSERT INTO customers (country, id, name) VALUES (%s, %s, 'x')",
                       (country, number))
    assert on_shards(servers, "SELECT country FROM customers") == [[], ["de", "fr"], ["us"]]
    rows = client.execute("SELECT c.id, n.name FROM customers c JOIN countries n ON n.code = c.country "
                          "WHERE c.country = %s", ("fr",)).fetchall()
    assert rows == [(1, "France")]
    assert len(client.execute("SELECT * FROM customers").fetchall()) == 3
    with pytest.raises(psycopg.errors.CheckViolation) as caught:
        client.execute("INSERT INTO customers (country, id) VALUES (%s, 9)", ("jp",))
    assert str(caught.value).startswith('no list entry of keyspace "regions" has the key jp')
    assert client.execute("SELECT * FROM customers WHERE country = %s", ("jp",)).fetchall() == []


def test_overridden_keys_live_apart(client, servers):
    for key in range(30, 50):
        client.execute("INSERT INTO orders (customer_id, total) VALUES (%s, 1)", (key,))
    hashed = "SELECT customer_id FROM orders WHERE customer_id NOT IN (42, 43)"
    for number, keys in enumerate(on_shards(servers, hashed)):
        for key in keys:
            bucket = servers[0].execute(f"SELECT hashint8extended({key}, 8816678312871386365) & 4095")
            assert bucket[0][0] * 3 // 4096 == number
    assert on_shards(servers, "SELECT customer_id FROM orders WHERE customer_id = 42")[2] == [42]
    assert on_shards(servers, "SELECT customer_id FROM orders WHERE customer_id = 43")[0] == [43]
    for key in range(30, 50):
        rows = client.execute("SELECT customer_id FROM orders WHERE customer_id = %s", (key,)).fetchall()
        assert rows == [(key,)]
    assert len(client.execute("SELECT * FROM orders").fetchall()) == 20


def test_tenants_by_schema_name(client, servers):
    for number, schema in enumerate(TENANTS):
        client.execute(f"INSERT INTO {schema}.invoices VALUES (%s, 'de'), (%s, 'us')",
                       (number, number + 10))
        client.execute(f"INSERT INTO {schema}.lines VALUES (%s, 'x')", (number,))
    for schema, shard in TENANTS.items():
        ids = servers[shard].execute(f"SELECT id FROM {schema}.invoices ORDER BY 1", dbname=DATABASE)
        assert ids == [(shard,), (shard + 10,)]
        # A shard of its own: anything goes.
        rows = client.execute(
            f"SELECT count(*), max(what), min(c.name) FROM {schema}.invoices i LEFT JOIN {schema}.lines l "
            "ON l.invoice = i.id JOIN countries c ON c.code = i.country GROUP BY i.id ORDER BY i.id")
        assert rows.fetchall() == [(1, "x", "Germany"), (1, None, "United States")]
    # At the merge node.
    assert client.execute("SELECT a.id, b.country FROM tenant_1.invoices a JOIN tenant_2.invoices b ON b.country = a.country "
                          "ORDER BY 1, 2").fetchall() == [(0, "de"), (10, "us")]
    assert refusal(client, "SELECT * FROM tenant_4.invoices") == "42P01"


def test_tenants_by_search_path(client, servers):
    for schema, shard in TENANTS.items():
        client.execute(f"SET search_path = {schema}, public")
        client.execute("INSERT INTO invoices (id, country) VALUES (%s, 'de')", (shard,))
        rows = client.execute("SELECT i.id, c.name FROM invoices i JOIN countries c ON c.code = i.country")
        assert rows.fetchall() == [(shard, "Germany")]
        assert servers[shard].execute(f"SELECT id FROM {schema}.invoices", dbname=DATABASE) == [(shard,)]
        assert refusal(client, "SELECT * FROM events WHERE day = '2023-01-01'") == "0A000"
        assert refusal(client, "DELETE FROM countries") == "0A000"
    client.execute("RESET search_path")
    assert refusal(client, "SELECT * FROM invoices") == "42P01"
    for schema, shard in TENANTS.items():
        with client.transaction():
            client.execute(f"SET LOCAL search_path = {schema}")
            assert client.execute("SELECT id FROM invoices").fetchall() == [(shard,)]
    assert refusal(client, "SELECT * FROM invoices") == "42P01"


def test_a_prepared_statement_follows_the_search_path(proxy, servers):
    for schema, shard in TENANTS.items():
        servers[shard].psql(f"TRUNCATE {schema}.invoices; INSERT INTO {schema}.invoices VALUES "
                            f"({shard}, 'de')", DATABASE)
    with connect(proxy, simple=False) as client:
        client.prepare_threshold = 0
        for _ in range(2):
            for schema, shard in TENANTS.items():
                client.execute(f"SET search_path = {schema}")
                rows = client.execute("SELECT id FROM invoices WHERE country = %s", ("de",)).fetchall()
                assert rows == [(shard,)]


def test_set_local_in_extended_transactions(proxy, servers):
    for schema, shard in TENANTS.items():
        servers[shard].psql(f"TRUNCATE {schema}.invoices; INSERT INTO {schema}.invoices VALUES "
                            f"({shard}, 'de')", DATABASE)
    with connect(proxy, simple=False) as one, connect(proxy, simple=False) as other:
        for client in (one, other, one):
            client.prepare_threshold = 0
            for schema, shard in TENANTS.items():
                with client.transaction():
                    client.execute(f"SET LOCAL search_path = {schema}")
                    rows = client.execute("SELECT id FROM invoices WHERE country = %s", ("de",))
                    assert rows.fetchall() == [(shard,)]
            assert refusal(client, "SELECT id FROM invoices WHERE country = %s", ("de",)) == "42P01"


def test_a_pipeline_that_changes_the_search_path(proxy, servers):
    for schema, shard in TENANTS.items():
        servers[shard].psql(f"TRUNCATE {schema}.invoices; INSERT INTO {schema}.invoices VALUES "
                            f"({shard}, 'de')", DATABASE)
    with connect(proxy, simple=False) as client, client.pipeline():
        cursors = []
        for schema in TENANTS:
            client.execute(f"SET search_path = {schema}")
            cursors.append(client.execute("SELECT id FROM invoices WHERE country = %s", ("de",)))
        assert [cursor.fetchall() for cursor in cursors] == [[(0,)], [(1,)], [(2,)]]


def test_the_search_path_of_the_startup_packet(proxy, servers):
    servers[1].psql("TRUNCATE tenant_2.invoices; INSERT INTO tenant_2.invoices VALUES (7, 'de')",
                    DATABASE)
    with connect(proxy, options="-c search_path=tenant_2") as client:
        assert client.execute("SELECT id FROM invoices").fetchall() == [(7,)]


def test_statements_of_one_message_after_a_change_of_path(proxy, servers):
    for schema, shard in TENANTS.items():
        servers[shard].psql(f"TRUNCATE {schema}.invoices; INSERT INTO {schema}.invoices VALUES "
                            f"({shard}, 'de')", DATABASE)
    with connect(proxy) as client:
        for schema, shard in TENANTS.items():
            cursor = client.execute(f"SET search_path = {schema}; SELECT id FROM invoices")
            cursor.nextset()
            assert cursor.fetchall() == [(shard,)]
        assert refusal(client, "SET search_path = tenant_2; SELECT 1") is None
        assert refusal(client, "SELECT * FROM invoices") is None


def test_the_console_shows_every_strategy(proxy):
    with psycopg.connect(host=proxy.host, port=proxy.port, dbname="pgshunt", user=USER, autocommit=True,
                         cursor_factory=psycopg.ClientCursor) as console:
        cursor = console.execute("SHOW KEYSPACES")
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row)) for row in cursor.fetchall()]
    held = {(row["keyspace"], row["shard"]): (row["strategy"], row["holds"], row["overrides"])
            for row in rows}
    assert held["years", "s2"] == ("range", "[2023-01-01, 2024-01-01)", "")
    assert held["years", "s3"] == ("range", "[2025-01-01, )", "")
    assert held["regions", "s1"] == ("list", "", "")
    assert held["regions", "s2"] == ("list", "de,fr", "")
    assert held["customers", "s3"] == ("hash", "2731-4095", "42")
    assert held["tenants", "s1"] == ("schema", "tenant_1", "")
    assert held["rooms", "s1"] == ("directory", "0 keys, new ones by hash: 0-1365", "")
