"""One database twice: whole on one server, and in parts on three behind the proxy."""

from pathlib import Path

from differential.client import Client
from harness import Authority, PostgresServer, Proxy, Run, wait_until
from harness.postgres import PASSWORD, SUPERUSER, TEST_SETTINGS
from harness.run import server_account
from harness.wire import Wire

WHOLE, PARTS = "compare_whole", "compare_parts"

# A keyspace for each type of key: its name, the type, and keys that rows have at the beginning.
KEYSPACES = {
    "users": ("bigint", [str(n) for n in range(1, 25)]),
    "words": ("text", ["", "a", "B", "ab", "5", " 5", "O''Hara", "ü", "naïve", "x y", "NULL", "now", "back\\slash"]),
    "codes": ("varchar", ["", "a", "A", "de", "fr ", "été"]),
    "ids": ("uuid", [f"00000000-0000-4000-8000-{n:012x}" for n in range(8)]),
    "blobs": ("bytea", ["\\x", "\\x00", "\\x61", "\\xdeadbeef"]),
    "amounts": ("numeric", ["0", "1", "1.5", "-2.25", "100", "12345678901234567890", "0.0001", "NaN",
                            "Infinity", "-Infinity"]),
    "days": ("date", ["2024-01-01", "2024-02-29", "1999-12-31", "0001-01-01 BC", "infinity", "-infinity"]),
    "moments": ("timestamp", ["2024-01-01 00:00", "2024-01-01 00:00:00.000001", "infinity"]),
    "instants": ("timestamptz", ["2024-01-01 00:00+00", "2024-07-01 12:34:56.789+02", "-infinity"]),
    "smalls": ("smallint", [str(n) for n in (-32768, -1, 0, 1, 7, 32767)]),
    "ints": ("integer", [str(n) for n in (-2147483648, -1, 0, 1, 7, 2147483647)]),
    "rooms": ("bigint", [str(n) for n in (-9223372036854775808, -1, 0, 1, 7, 42)]),
    "labels": ("text", ["", "a", "B", "O''Hara", "ü", "x y", "back\\slash"]),
}
# Those whose keys a directory knows; the others are spread by hash.
DIRECTORY = ("rooms", "labels")
# Tables of a key and a number, one in each keyspace but the first.
KEYED = [name for name in KEYSPACES if name != "users"]

SCHEMA = """
CREATE TABLE users (
  id bigint PRIMARY KEY, name text, nick varchar(12), country text, small smallint, score int,
  rate numeric, ratio float8, rough float4, active boolean, born date, at time, seen timestamp,
  noted timestamptz, span interval, tag uuid, data bytea, padded char(4), doc jsonb, words text[],
  level int DEFAULT 7);
CREATE TABLE posts (user_id bigint, id int, body text, likes int, PRIMARY KEY (user_id, id));
CREATE TABLE countries (code text PRIMARY KEY, name text, people int, since timestamptz);
CREATE TABLE notes (id int PRIMARY KEY, body text);
""" + "".join(f"CREATE TABLE {name} (k {kind} PRIMARY KEY, v int);" for name, (kind, _) in KEYSPACES.items()
              if name != "users")

USERS = """
INSERT INTO users SELECT n, CASE WHEN n % 7 > 0 THEN chr(96 + (n % 5)::int) || n % 3 END,
  CASE WHEN n % 4 > 0 THEN 'N' || n % 6 END, ('{DE,FR,IT,JP}'::text[])[1 + n % 4], n % 5 - 2,
  nullif((n * 7 % 10)::int, 3), CASE n WHEN 9 THEN 'NaN' WHEN 10 THEN 'Infinity' ELSE n / 8.0 END,
  CASE n WHEN 5 THEN 'NaN' WHEN 6 THEN '-Infinity' WHEN 7 THEN '-0' ELSE n / 3.0 END, n / 7.0,
  CASE WHEN n % 5 > 0 THEN n % 3 = 0 END,
  CASE n WHEN 3 THEN 'infinity' WHEN 4 THEN '0044-03-15 BC' ELSE date '2024-01-31' + (n * 5 % 11)::int END,
  time '12:00' + n * interval '1 h 1 us', timestamp '2024-01-01' + (n * 3 % 8) * interval '1 d 0.5 s',
  timestamptz '2024-03-30 00:00+00' + (n * 7 % 24) * interval '3 h', n * interval '10 d 5 h',
  ('00000000-0000-4000-8000-' || lpad(to_hex(n * 11 % 17), 12, '0'))::uuid,
  decode(lpad(to_hex(n * 13 % 50), 4, '0'), 'hex'), chr(97 + (n % 6)::int), jsonb_build_object('n', n),
  ARRAY['x' || n, NULL] FROM generate_series(1, 24) n WHERE {mine};
INSERT INTO posts SELECT n, i, 'post ' || n * i, (n * i % 5)::int
  FROM generate_series(1, 24) n, generate_series(1, 3) i WHERE i <= n % 4 AND {mine};
"""
COPIES = """
INSERT INTO countries SELECT code, lower(code), ascii(code), '2020-01-01 00:00+00'
  FROM unnest('{DE,FR,IT,JP}'::text[]) code;
"""
NOTES = "INSERT INTO notes SELECT n, 'note ' || n FROM generate_series(1, 5) n;"
TABLES = ["users", "posts", "countries", "notes", *KEYED]

# Where each shard's buckets begin and end.
BUCKETS = ((0, 1364), (1365, 2730), (2731, 4095))
BUCKET = "hashint8extended(n, 8816678312871386365) & 4095"


def configuration(servers):
    spread = [{"from": first, "to": last, "shard": server.name}
              for server, (first, last) in zip(servers, BUCKETS)]
    return {
        "hba": [{"type": "host", "method": "trust"}],  # on loopback, for Wire
        "users": {SUPERUSER: {"password": PASSWORD}},
        "databases": {PARTS: {
            "directory": "keys",
            "on_cross_shard_write": "one_phase", "on_shard_key_update": "move",
            "shards": [{"name": server.name, "host": server.host, "port": server.port, "dbname": PARTS}
                       for server in servers],
            "keyspaces": [{"name": name, "type": kind,
                           **({"strategy": "directory"} if name in DIRECTORY else {"buckets": spread})}
                          for name, (kind, _) in KEYSPACES.items()],
            "tables": [{"name": "users", "keyspace": "users", "key": "id"},
                       {"name": "posts", "keyspace": "users", "key": "user_id"},
                       *({"name": name, "keyspace": name, "key": "k"} for name in KEYED),
                       {"name": "countries", "reference": True},
                       {"name": "notes", "shard": servers[1].name}],
        }},
    }


class World:
    """`servers` are three, started, and may be shared with others; `make_proxy` as in conftest.py."""

    def __init__(self, servers, make_proxy):
        self.servers = servers
        first = servers[0]
        for server in servers:  # what a world before this one has left there
            for name in (WHOLE, PARTS):
                server.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        first.create_database(WHOLE)
        first.psql(SCHEMA + USERS.replace("{mine}", "true") + COPIES + NOTES, WHOLE)
        for number, server in enumerate(servers):
            server.create_database(PARTS)
            low, high = BUCKETS[number]
            mine = f"{BUCKET} BETWEEN {low} AND {high}"
            server.psql(SCHEMA + USERS.replace("{mine}", mine) + COPIES + (NOTES if number == 1 else ""),
                        PARTS)
        self.proxy = make_proxy(configuration(servers))
        whole, parts = self.clients()
        # Text is merged, and INSERT needs no column list, once the catalog is known. It may become so
        # while this very session is logging in.
        wait_until(lambda: not parts.simple("SELECT k FROM words ORDER BY k")[0].error)
        for name in KEYED:
            for number, key in enumerate(KEYSPACES[name][1]):
                insert = f"INSERT INTO {name} VALUES ('{key}', {number})"
                for client in (whole, parts):
                    (answer,) = client.simple(insert)
                    assert not answer.error, (insert, answer)
        whole.close()
        parts.close()
        # What reset() goes back to.
        keep = "CREATE SCHEMA pristine;" + "".join(
            f"CREATE TABLE pristine.{name} AS TABLE {name};" for name in TABLES)
        for server, database in self.databases():
            server.psql(keep, database)

    def databases(self):
        return [(self.servers[0], WHOLE), *((server, PARTS) for server in self.servers)]

    def clients(self):
        first = self.servers[0]
        login = {"user": SUPERUSER, "password": PASSWORD, "host": first.host}
        return (Client({**login, "port": first.port, "dbname": WHOLE}),
                Client({**login, "port": self.proxy.port, "dbname": PARTS}))

    def wire(self):
        """To the parts, message by message."""
        return Wire(self.proxy, PARTS, user=SUPERUSER)

    def reset(self):
        back = f"TRUNCATE {', '.join(TABLES)};" + "".join(
            f"INSERT INTO {name} SELECT * FROM pristine.{name};" for name in TABLES)
        for server, database in self.databases():
            server.psql(back, database)

    def drift(self):
        """The first table whose rows are not the same; None if all are."""
        for name in TABLES:
            rows = f"SELECT t::text FROM {name} t ORDER BY 1"
            whole, *parts = [server.execute(rows, dbname=database)
                             for server, database in self.databases()]
            if name == "countries":
                if any(part != whole for part in parts):
                    return name
            elif sorted(row for part in parts for row in part) != sorted(whole):
                return name
        return None


class OwnWorld(World):
    """One that brings its own servers: for use by hand."""

    def __init__(self):
        self._run = Run()
        authority = Authority(self._run.folder / "tls")
        servers = []
        for number in (1, 2, 3):
            name = f"shard{number}"
            server = PostgresServer(self._run.subfolder(name, server_account()), name,
                                    authority=authority, settings=TEST_SETTINGS)
            servers.append(server.create())
            server.start()
        super().__init__(servers, lambda config: Proxy(Path(self._run.subfolder("pgshunt")), config).start())

    def close(self):
        self.proxy.stop()
        self._run.close()
