"""One database twice: whole on one server, and in parts on three behind the proxy."""

import io
import subprocess
from pathlib import Path
from types import SimpleNamespace

import psycopg2

from differential.client import Client
from harness import Authority, PostgresServer, Proxy, Run, wait_until
from harness.postgres import PASSWORD, SUPERUSER, TEST_SETTINGS
from harness.run import server_account
from harness.wire import Wire

# The twin has what the whole has, but stored and planned otherwise: to tell whether a statement has one answer.
WHOLE, PARTS, TWIN = "compare_whole", "compare_parts", "compare_twin"

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
# Keyspaces of tables that are only read: name, type, and where ranges begin if they are not hashed.
READ_KEYSPACES = {"items": ("bigint", None), "people": ("text", None), "visits": ("date", ["2024-01-08", "2024-01-15"])}
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

# Read by reads.py, changed by nobody. `items` has a column for each type there is something to say about.
# Equal values are written alike everywhere, but for citext; sums of floats are exact, whatever their order.
READ_SCHEMA = """
CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'Happy', 'angry', 'Élan');
CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE items (
  id bigint PRIMARY KEY, kind text, label varchar(20), word text COLLATE "de-x-icu", code char(6), nick citext, mood mood,
  owner text, parent bigint, n int, small smallint, big bigint, price numeric(10, 2), amount numeric, digits numeric, f float8,
  wild float8, r real, ok boolean, day date, at timestamp, seen timestamptz, hour time, span interval, tag uuid, raw bytea,
  tags text[], doc jsonb, mask bit(4));
CREATE TABLE events (item_id bigint, no int, kind text, who text, n int, price numeric(8, 2), f float8, at timestamp,
  PRIMARY KEY (item_id, no));
CREATE TABLE voids (id bigint PRIMARY KEY, kind text, n int, price numeric(8, 2));
CREATE TABLE people (name text PRIMARY KEY, city text, boss text, mood mood, nick citext, age int, item bigint,
  joined date, pay numeric(8, 2));
CREATE TABLE visits (day date, no int, who text, item bigint, minutes int, spent numeric(8, 2), PRIMARY KEY (day, no));
CREATE TABLE grades (mood mood PRIMARY KEY, title text, weight numeric(4, 2));
CREATE TABLE cities (name text PRIMARY KEY, country text, inhabitants int);
CREATE TABLE readings (sensor bigint, day date, value numeric(8, 2), who text, PRIMARY KEY (sensor, day)) PARTITION BY RANGE (day);
CREATE TABLE readings_early PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2024-01-10');
CREATE TABLE readings_late PARTITION OF readings DEFAULT;
CREATE SCHEMA blog;
CREATE TABLE blog.items (owner text PRIMARY KEY, id bigint, kind text);
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Odd ones" (
  gone int, "Key" text PRIMARY KEY, "group" int, "a ""b"" c" numeric(6, 3), "sélect" varchar(9), positive positive, pair pair,
  net inet, spread int4range, spreads int4multirange, dollars money, clock timetz,
  letter "char", named name, point point, xml xml, json json, path jsonpath, words tsvector, bits varbit(9), grid int[], mac macaddr, position pg_lsn, void oidvector,
  doubled int GENERATED ALWAYS AS ("group" * 2) STORED);
ALTER TABLE "Odd ones" DROP COLUMN gone;
CREATE TABLE lists (name text PRIMARY KEY, moods mood[], pairs pair[]);
"""
# Bytewise, by a dictionary, and with case folded these have three orders.
WORDS = ["a", "A", "b", "B", "ä", "Ä", "z", "Z", "é", "e", "Zebra", "zebra", "ab", "a b", "a-b", "_x", "10", "9", "", "ß"]
NAMES = ["anna", "Bob", "bob", "Émile", "emil", "Zoë", "zora", "Ülk", "ulk", "O''Hara", "carl", "Dora", "eve", "Fay", "gil",
         "Hal", "ida", "Jan"]
CITIES = ["Ulm", "ulm", "Örebro", "Oslo", "Zürich", "aachen"]


def array(texts):
    return "ARRAY['" + "', '".join(texts) + "']"


READ_ROWS = f"""
INSERT INTO items SELECT n,
  CASE WHEN n % 11 > 0 THEN ({array(WORDS)})[1 + n * 7 % 20] END, 'L' || n % 6, ({array(WORDS)})[1 + n * 3 % 20],
  (ARRAY['a', 'A', 'b ', '', 'ab c', 'é'])[1 + n % 6], (ARRAY['Bob', 'bob', 'BOB', 'anna', 'Anna', 'Zed', 'émile'])[1 + n % 7],
  CASE WHEN n % 9 > 0 THEN (enum_range(NULL::mood))[1 + n % 5] END, ({array(NAMES)})[1 + n * 5 % 19], nullif(n / 3, 0),
  nullif(n * 7 % 11 - 3, 5), n % 7 - 3, CASE WHEN n % 10 < 3 THEN 9223372036854775000 + n ELSE n * 1000003 END,
  (n * 37 % 50) / 4.0,
  CASE n WHEN 9 THEN 'NaN' WHEN 20 THEN 'Infinity' WHEN 31 THEN '-Infinity' ELSE round(n * 13 % 17 * 1.25 - 5, 2) END,
  n + round(0.7654321, n % 8), nullif(n * 5 % 19 - 7, 3) / 8.0,
  CASE n % 13 WHEN 4 THEN 'NaN' WHEN 7 THEN 'Infinity' WHEN 8 THEN '-Infinity' WHEN 9 THEN NULL ELSE n * 3 % 8 / 4.0 END,
  n % 9 / 4.0, CASE WHEN n % 5 > 0 THEN n % 3 = 0 END,
  CASE n WHEN 6 THEN 'infinity' WHEN 17 THEN '-infinity' WHEN 28 THEN '0044-03-15 BC' ELSE date '2024-01-01' + n * 5 % 23 END,
  timestamp '2024-01-01' + n * 11 % 60 * interval '7 h 0.25 s', timestamptz '2024-03-30 00:00+00' + n * 7 % 24 * interval '5 h',
  time '06:00' + n % 12 * interval '1 h', nullif(make_interval(days => n * 3 % 7, hours => n * 5 % 9), '0'),
  ('00000000-0000-4000-8000-' || lpad(to_hex(n * 11 % 17), 12, '0'))::uuid, decode(lpad(to_hex(n * 13 % 50), 4, '0'), 'hex'),
  CASE WHEN n % 4 > 0 THEN ARRAY['t' || n % 3, NULL, chr(97 + n % 5)] END, jsonb_build_object('n', n % 4, 'w', 'w' || n % 3),
  (n % 16)::bit(4) FROM generate_series(1, 40) n;
INSERT INTO events SELECT n, i, ({array(WORDS)})[1 + n * i % 20], ({array(NAMES)})[1 + (n + i) * 5 % 19],
  nullif(n * i % 7, 4), n * i % 40 / 4.0, (n * i % 15 - 5) / 8.0, timestamp '2024-01-01' + n * i % 30 * interval '9 h'
  FROM generate_series(1, 40) n, generate_series(1, 5) i WHERE i <= n % 6;
INSERT INTO people SELECT name, ({array(CITIES)})[1 + n % 7], ({array(NAMES)})[nullif(n / 2, 0)], (enum_range(NULL::mood))[1 + n % 6],
  upper(left(name, 1 + n % 3)), nullif(20 + n * 7 % 30, 41), n * 5 % 44, date '2020-02-28' + n % 5, n * 100.25
  FROM unnest({array(NAMES)}) WITH ORDINALITY named (name, ordinality), LATERAL (SELECT ordinality::int) number (n);
INSERT INTO visits SELECT date '2024-01-01' + n * 5 % 23, n, ({array(NAMES)})[1 + n * 7 % 19], n * 11 % 46, n * 13 % 90,
  n * 17 % 30 / 4.0 FROM generate_series(1, 60) n;
INSERT INTO readings SELECT n * 7 % 13, date '2024-01-01' + n * 5 % 23, n * 17 % 40 / 4.0, ({array(NAMES)})[1 + n * 7 % 19]
  FROM generate_series(1, 70) n;
INSERT INTO blog.items SELECT name, n * 3 % 44, ({array(WORDS)})[1 + n % 20] FROM unnest({array(NAMES)}) WITH ORDINALITY all_of (name, n);
INSERT INTO "Odd ones" SELECT name, nullif(n % 4, 3), n * 7 % 11 / 8.0, CASE n % 3 WHEN 0 THEN '' WHEN 1 THEN 'x"y' END, n,
  CASE WHEN n % 5 > 0 THEN ROW(nullif(n % 3, 0), 'b,' || n % 4)::pair END, ('10.0.' || n % 3 || '.' || n)::inet,
  CASE WHEN n % 6 > 0 THEN int4range(n % 4, n % 4 + 3) END, int4multirange(int4range(1, n + 1), int4range(30, 31)), (n * 1.25)::money,
  (make_time(n % 5, 0, 0)::text || '+02')::timetz, chr(97 + n % 4)::"char", 'n' || n % 4, point(n, 0.5), xmlelement(name a, n % 3),
  json_build_object('z', n, 'a', NULL), '$.z', to_tsvector('simple', name), (n % 8)::bit(3), ARRAY[[n, n % 2], [NULL, 3]],
  ('08:00:2b:01:02:0' || n % 10)::macaddr, '0/16B3748', '1 2 3'
  FROM unnest({array(NAMES)}) WITH ORDINALITY all_of (name, ordinality), LATERAL (SELECT ordinality::int) number (n);
INSERT INTO lists SELECT name, ARRAY['ok', mood], ARRAY[ROW(age, city)::pair, NULL] FROM people;
"""
READ_COPIES = """
INSERT INTO grades VALUES ('sad', 'low', 1), ('ok', 'Middle', 2.5), ('Happy', 'high', 10.25), ('Élan', NULL, 0);
"""
READ_CITIES = f"INSERT INTO cities SELECT name, left(name, 1), ascii(name) FROM unnest({array(CITIES[1:] + ['Nowhere'])}) name;"
# In the order in which they are filled.
READ_SHARDED = {"items": ("items", "id"), "events": ("items", "item_id"), "voids": ("items", "id"), "people": ("people", "name"),
                "visits": ("visits", "day"), "readings": ("items", "sensor"), "blog.items": ("people", "owner"),
                '"Odd ones"': ("people", '"Key"'), "lists": ("people", "name")}
READ_TABLES = [*READ_SHARDED, "grades", "cities"]

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
REFERENCE = ("countries", "grades")
# What reset() goes back to.
PRISTINE = "CREATE SCHEMA pristine;" + "".join(f"CREATE TABLE pristine.{name} AS TABLE {name};" for name in TABLES)

# Where each shard's buckets begin and end.
BUCKETS = ((0, 1364), (1365, 2730), (2731, 4095))
BUCKET = "hashint8extended(n, 8816678312871386365) & 4095"


def configuration(servers):
    spread = [{"from": first, "to": last, "shard": server.name}
              for server, (first, last) in zip(servers, BUCKETS)]
    names = [server.name for server in servers]

    def ranges(starts):
        return [{"shard": shard, **({"from": low} if low else {}), **({"to": high} if high else {})}
                for shard, low, high in zip(names, [None, *starts], [*starts, None])]
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
                          for name, (kind, _) in KEYSPACES.items()]
            + [{"name": name, "type": kind, **({"strategy": "range", "ranges": ranges(starts)} if starts else {"buckets": spread})}
               for name, (kind, starts) in READ_KEYSPACES.items()],
            "tables": [{"name": "users", "keyspace": "users", "key": "id"},
                       {"name": "posts", "keyspace": "users", "key": "user_id"},
                       *({"name": name, "keyspace": name, "key": "k"} for name in KEYED),
                       *({"name": name.strip('"'), "keyspace": keyspace, "key": key.strip('"')}
                         for name, (keyspace, key) in READ_SHARDED.items()),
                       *({"name": name, "reference": True} for name in REFERENCE),
                       {"name": "notes", "shard": names[1]}, {"name": "cities", "shard": names[2]}],
        }},
    }


class World:
    """`servers` are three, started, and may be shared with others; `make_proxy` as in conftest.py."""

    def __init__(self, servers, make_proxy):
        self.servers = servers
        first = servers[0]
        for server in servers:  # what a world before this one has left there
            for name in (WHOLE, PARTS, TWIN):
                server.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        first.create_database(WHOLE)
        first.psql(SCHEMA + READ_SCHEMA + USERS.replace("{mine}", "true") + COPIES + NOTES + READ_ROWS + READ_COPIES
                   + READ_CITIES, WHOLE)
        for number, server in enumerate(servers):
            server.create_database(PARTS)
            low, high = BUCKETS[number]
            mine = f"{BUCKET} BETWEEN {low} AND {high}"
            server.psql(SCHEMA + READ_SCHEMA + USERS.replace("{mine}", mine) + COPIES + READ_COPIES
                        + (NOTES if number == 1 else "") + (READ_CITIES if number == 2 else ""), PARTS)
        self.proxy = make_proxy(configuration(servers))
        whole, parts = self.clients()
        self._wait_for_catalog(parts)
        for name in KEYED:
            for number, key in enumerate(KEYSPACES[name][1]):
                insert = f"INSERT INTO {name} VALUES ('{key}', {number})"
                for client in (whole, parts):
                    (answer,) = client.simple(insert)
                    assert not answer.error, (insert, answer)
        whole.close()
        parts.close()
        self._copy_rows()
        for server, database in self.databases():
            server.psql(PRISTINE, database)

    @staticmethod
    def _wait_for_catalog(parts):
        # Text is merged, and INSERT needs no column list, once the catalog is known. It may become so
        # while this very session is logging in.
        wait_until(lambda: not parts.simple("SELECT k FROM words ORDER BY k")[0].error)

    def revive(self):
        """Starts the proxy again if it has ended; what it ended with."""
        try:
            status = self.proxy.wait(0.5)
        except subprocess.TimeoutExpired:
            return None
        self.proxy.start()
        whole, parts = self.clients()
        self._wait_for_catalog(parts)
        whole.close()
        parts.close()
        return status

    def _copy_rows(self):
        """Of tables that are only read, from the whole through the proxy."""
        proxy = psycopg2.connect(host=self.servers[0].host, port=self.proxy.port, dbname=PARTS, user=SUPERUSER,
                                 password=PASSWORD)
        proxy.autocommit = True
        for name in READ_SHARDED:
            columns, rows = self._rows(name, name)
            proxy.cursor().copy_expert(f"COPY {name} ({columns}) FROM STDIN", io.StringIO(rows))
        proxy.close()

    def _rows(self, name, kept):
        """Columns of table `name` that can be filled, and its rows, or those that `kept` has of it, as COPY has them."""
        first = self.servers[0]
        columns = ", ".join(column for column, in first.execute(
            "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attgenerated = '' ORDER BY attnum", (name,), WHOLE))
        return columns, first.psql(f"COPY (SELECT {columns} FROM {kept} t ORDER BY t::text DESC) TO STDOUT", WHOLE)

    def databases(self):
        return [(self.servers[0], WHOLE), *((server, PARTS) for server in self.servers)]

    def clients(self):
        first = self.servers[0]
        login = {"user": SUPERUSER, "password": PASSWORD, "host": first.host}
        return (Client({**login, "port": first.port, "dbname": WHOLE}),
                Client({**login, "port": self.proxy.port, "dbname": PARTS}))

    def twin(self):
        """To one server that has the first rows, the other way round, and avoids the plans that the whole prefers."""
        first = self.servers[0]
        if not first.execute(f"SELECT 1 FROM pg_database WHERE datname = '{TWIN}'"):
            first.create_database(TWIN)
            first.psql(SCHEMA + READ_SCHEMA, TWIN)
            for name in [*TABLES, *READ_TABLES]:
                columns, rows = self._rows(name, f"pristine.{name}" if name in TABLES else name)
                first.psql(f"COPY {name} ({columns}) FROM STDIN;\n{rows}\\.\n", TWIN)
            first.psql(PRISTINE, TWIN)
        return Client({"user": SUPERUSER, "password": PASSWORD, "host": first.host, "port": first.port, "dbname": TWIN,
                       "options": "-c enable_hashagg=off -c enable_hashjoin=off -c enable_nestloop=off"})

    def wire(self, **options):
        """To the parts, message by message."""
        return Wire(self.proxy, PARTS, user=SUPERUSER, **options)

    def wire_to_whole(self, **options):
        """By its Unix socket, where it asks for no password."""
        first = self.servers[0]
        return Wire(SimpleNamespace(host=str(first.folder), port=first.port), WHOLE, user=SUPERUSER, **options)

    def options(self, database):
        """A driver's, as libpq names them."""
        return {"host": self.servers[0].host, "port": self.proxy.port if database == PARTS else self.servers[0].port,
                "user": SUPERUSER, "password": PASSWORD, "dbname": database}

    def reset(self):
        back = f"TRUNCATE {', '.join(TABLES)};" + "".join(
            f"INSERT INTO {name} SELECT * FROM pristine.{name};" for name in TABLES)
        for server, database in self.databases():
            server.psql(back, database)

    def drift(self):
        """The first table whose rows are not the same; None if all are."""
        for name in [*TABLES, *READ_TABLES]:
            rows = f"SELECT t::text FROM {name} t ORDER BY 1"
            whole, *parts = [server.execute(rows, dbname=database)
                             for server, database in self.databases()]
            if name in REFERENCE:
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
