"""What the scenarios of COPY share: the same tables whole on one server and, behind the proxy, in
parts on three; ways in, and a look at what has become of the rows."""

from harness.postgres import PASSWORD, SUPERUSER
from harness.wire import Wire, copy_data, copy_done, query

WHOLE, PARTS = "copy_whole", "copy_parts"
BUCKETS = ((0, 1364), (1365, 2730), (2731, 4095))
SEED = 8816678312871386365
# The key of each table and its hash.
TABLES = {"users": ("id", "hashint8extended(id, {seed})"), "words": ("k", "hashtextextended(k, {seed})"),
          "notes": ("user_id", "hashint8extended(user_id, {seed})")}
SCHEMA = """
CREATE TABLE users (id bigint PRIMARY KEY, name text, score int CHECK (score > -100), born date,
                    data bytea, rate numeric, joined timestamptz DEFAULT '2024-01-01 00:00+00');
CREATE TABLE notes (user_id bigint REFERENCES users DEFERRABLE, body text);
CREATE TABLE words (k text PRIMARY KEY, v int);
CREATE TABLE countries (code char(2) PRIMARY KEY, name text NOT NULL);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.name = 'notice' THEN RAISE NOTICE 'row %', NEW.id; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER tell BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.name = 'notice') EXECUTE FUNCTION tell();
"""


TRUSTING_HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"  # for Wire


def create_whole(server):
    server.create_database(WHOLE)
    server.psql(SCHEMA, WHOLE)
    return server


def create_parts(servers):
    for server in servers:
        server.create_database(PARTS)
        server.psql(SCHEMA, PARTS)
    return servers


def configuration(servers, general=None, **options):
    spread = [{"from": first, "to": last, "shard": server.name}
              for server, (first, last) in zip(servers, BUCKETS)]
    return {
        "pgshunt": {"pool_mode": "transaction", "default_pool_size": 4, **(general or {})},
        "hba": [{"type": "host", "method": "trust"}],  # on loopback, for Wire
        "users": {SUPERUSER: {"password": PASSWORD}},
        "databases": {PARTS: {
            "on_cross_shard_write": "one_phase",
            "shards": [{"name": server.name, "host": server.host, "port": server.port, "dbname": PARTS}
                       for server in servers],
            "keyspaces": [{"name": "users", "type": "bigint", "buckets": spread},
                          {"name": "words", "type": "text", "buckets": spread}],
            "tables": [{"name": "users", "keyspace": "users", "key": "id"},
                       {"name": "notes", "keyspace": "users", "key": "user_id"},
                       {"name": "words", "keyspace": "words", "key": "k"},
                       {"name": "countries", "reference": True}],
            **options,
        }},
    }


class Copies:
    """`whole` may be missing where nothing is compared."""

    def __init__(self, servers, proxy, whole=None):
        self.servers, self.proxy, self.one = servers, proxy, whole

    def options(self, where="parts"):
        """As libpq's keywords, for "whole" or "parts"."""
        place = self.proxy if where == "parts" else self.one
        return {"host": place.host, "port": place.port, "user": SUPERUSER, "password": PASSWORD,
                "dbname": PARTS if where == "parts" else WHOLE}

    def wire(self, where="parts", **options):
        """Message by message."""
        place = self.proxy if where == "parts" else self.one
        return Wire(place, PARTS if where == "parts" else WHOLE, user=SUPERUSER, password=PASSWORD, **options)

    def empty(self):
        clear = f"TRUNCATE {', '.join([*TABLES, 'countries'])}"
        if self.one:
            self.one.execute(clear, dbname=WHOLE)
        for server in self.servers:
            server.execute(clear, dbname=PARTS)

    def whole(self, table):
        return self.one.execute(f"SELECT t::text FROM {table} t ORDER BY 1", dbname=WHOLE)

    def each(self, table):
        """The rows of each shard."""
        return [server.execute(f"SELECT t::text FROM {table} t ORDER BY 1", dbname=PARTS)
                for server in self.servers]

    def rows(self, table):
        return sorted(row for part in self.each(table) for row in part)

    def check_places(self, table):
        """Every row is where its key belongs."""
        key, function = TABLES[table]
        for server, (first, last) in zip(self.servers, BUCKETS):
            astray = server.execute(f"SELECT {key} FROM {table} WHERE {function.format(seed=SEED)} & 4095 "
                                    f"NOT BETWEEN {first} AND {last}", dbname=PARTS)
            assert not astray, (server.name, astray)

    def check_same(self, table):
        """The shards have together what the one server has."""
        assert self.rows(table) == sorted(self.whole(table))
        self.check_places(table)

    def prepared_transactions(self):
        return [row for server in self.servers
                for row in server.execute("SELECT gid FROM pg_prepared_xacts", dbname=PARTS)]


def copy_in(client, sql, *chunks, begin=None):
    """A whole COPY FROM by the simple protocol: all answers. `begin`: the messages instead of a Query."""
    client.send(begin or query(sql))
    answers = client.until("GEZ")
    if answers[-1].type == "G":
        client.send(*(copy_data(chunk) for chunk in chunks), copy_done())
    if answers[-1].type != "Z":
        answers += client.until_ready()
    return answers
