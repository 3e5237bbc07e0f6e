"""What the scenarios with unmodified applications share: one schema twice behind one proxy, in
database "plain" on one server and in database "sharded" on three, with TLS and SCRAM on both sides.

The schema is the demo's, plus `things` with a column of many types and `items` with 1000 rows, both
sharded by id."""

import re

from harness.postgres import DEFAULT_HBA
from harness.proxy import ROOT

PLAIN_DATABASE = "applications_plain"  # on the first shard's server
SHARD_DATABASE = "applications"

# Where each shard's buckets begin and end, and PostgreSQL's own word for a key's bucket.
BUCKETS = ((0, 1364), (1365, 2730), (2731, 4095))
BUCKET = "hashint8extended({key}, 8816678312871386365) & 4095"
TABLES = {"users": "id", "posts": "user_id", "comments": "user_id", "things": "id", "items": "id"}

MORE_TABLES = """
CREATE TABLE things (
  id bigint PRIMARY KEY, small smallint, medium int, amount numeric, ratio float8, rough float4,
  label text, short varchar(20), data bytea, active boolean, born date, seen timestamp,
  noted timestamptz, span interval, tag uuid, doc jsonb, numbers int[], words text[]
);
CREATE TABLE items (id bigint PRIMARY KEY, label text, amount numeric(12, 2));
"""
ITEMS = """
INSERT INTO items SELECT id, 'item ' || id, id / 4.0 FROM generate_series(1, 1000) AS id
"""
COUNTRIES = """
INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France'), ('IT', 'Italy'), ('JP', '日本')
"""


def schema():
    text = (ROOT / "integration" / "demo" / "schema.sql").read_text()
    return re.sub(r"--.*", "", text) + MORE_TABLES + COUNTRIES + ";"


def create_databases(servers):
    """Both databases and their rows, on servers that other scenarios use too."""
    for server in servers:
        server.create_user("apps", "apps secret")
        # Nothing reaches these databases in the clear.
        server.set_hba("".join(f"hostnossl {name} all all reject\n"
                               for name in (PLAIN_DATABASE, SHARD_DATABASE)) + DEFAULT_HBA)
        server.reload()
        server.create_database(SHARD_DATABASE, "apps")
    servers[0].create_database(PLAIN_DATABASE, "apps")
    script = "SET ROLE apps;" + schema()
    servers[0].psql(script + ITEMS, PLAIN_DATABASE)
    for server, (first, last) in zip(servers, BUCKETS):
        server.psql(f"{script}{ITEMS} WHERE {BUCKET.format(key='id')} BETWEEN {first} AND {last}",
                    SHARD_DATABASE)
    return servers


def sharded_database(servers, **options):
    """Of the configuration: what create_databases() has made."""
    return {
        "shards": [{"name": server.name, "host": server.host, "port": server.port,
                    "dbname": SHARD_DATABASE} for server in servers],
        "keyspaces": [{"name": "users", "type": "bigint", "buckets": [
            {"from": first, "to": last, "shard": server.name}
            for server, (first, last) in zip(servers, BUCKETS)]}],
        "tables": [*({"name": table, "keyspace": "users", "key": key}
                     for table, key in TABLES.items()),
                   {"name": "countries", "reference": True}],
        **options,
    }


class Applications:
    """The proxy before the two databases, and ways in."""

    user, password = "apps", "apps secret"

    def __init__(self, make_proxy, servers, authority, *, databases=None, **general):
        self.servers, self.authority = servers, authority
        certificate, key = authority.server()
        first = servers[0]
        self.proxy = make_proxy({
            # Fewer servers than clients, and two workers: transactions of one client meet different
            # servers.
            "pgshunt": {"workers": 2, "pool_mode": "transaction", "default_pool_size": 3, **general},
            "hba": [{"type": "hostssl", "method": "scram-sha-256"}],
            "client_tls": {"mode": "require", "cert_file": certificate, "key_file": key},
            "server_tls": {"mode": "verify-full", "ca_file": authority.certificate},
            "users": {self.user: {"password": self.password}},
            "databases": {
                "plain": {"host": first.host, "port": first.port, "dbname": PLAIN_DATABASE},
                "sharded": sharded_database(servers),
                "careful": sharded_database(servers, on_cross_shard_write="refuse"),
                **(databases or {}),
            },
        })

    def options(self, database):
        """As libpq's keywords."""
        return {"host": self.proxy.host, "port": self.proxy.port, "dbname": database,
                "user": self.user, "password": self.password, "sslmode": "verify-full",
                "sslrootcert": str(self.authority.certificate), "connect_timeout": "20"}

    def environment(self, database):
        """As libpq's environment variables."""
        names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER",
                 "password": "PGPASSWORD", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT",
                 "connect_timeout": "PGCONNECT_TIMEOUT"}
        return {names[key]: str(value) for key, value in self.options(database).items()}

    def on_shards(self, sql):
        """Rows of each shard, asked directly."""
        return [server.execute(sql, dbname=SHARD_DATABASE) for server in self.servers]

    def directly(self, database, sql):
        """Rows of all servers of a database, not through the proxy."""
        if database == "plain":
            return self.servers[0].execute(sql, dbname=PLAIN_DATABASE)
        return [row for rows in self.on_shards(sql) for row in rows]
