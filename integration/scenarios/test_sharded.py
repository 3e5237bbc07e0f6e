"""A sharded database answers as one PostgreSQL with all the rows would, or says that it cannot.

Seeded random statements and transactions run on one unsharded server and, through the proxy, on three
shards; by simple queries and extended ones, in text and in binary. Rows, tags, errors and the state of
the transaction must be the same. A statement may be refused (0A000) unless its form is one of those
that must work; a different answer is never right."""

import asyncio
import collections
import random
import ssl
import struct

import asyncpg
import psycopg2
import pytest
from psycopg import pq

from applications import BUCKET, BUCKETS, Applications
from harness import wait_until

WHOLE, PARTS = "differential_whole", "differential_parts"
USERS = 24  # keys 1 to 24 have rows at the beginning, others come and go
SCHEMA = """
CREATE TABLE countries (code text PRIMARY KEY, name text, people int);
CREATE TABLE users (id bigint PRIMARY KEY, name text, country text, score int, rate numeric,
                    active boolean, seen timestamptz);
CREATE TABLE posts (user_id bigint, id int, body text, likes int, PRIMARY KEY (user_id, id));
CREATE TABLE comments (user_id bigint, id int, post_id int, body text, PRIMARY KEY (user_id, id));
"""
COUNTRIES = ("DE", "FR", "IT", "JP")
TABLES = {"users": "id", "posts": "user_id", "comments": "user_id"}
MOODS = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE moods (id bigint PRIMARY KEY, mood mood);
"""
FILL = """
INSERT INTO countries SELECT code, lower(code), ascii(code) FROM unnest('{DE,FR,IT,JP}'::text[]) code;
INSERT INTO users SELECT n, CASE WHEN n % 7 > 0 THEN chr(96 + (n % 5)::int) || n % 3 END,
  ('{DE,FR,IT,JP}'::text[])[1 + n % 4], nullif((n * 7 % 10)::int, 3), n / 8.0, n % 3 = 0,
  '2024-01-01 00:00+00'::timestamptz + n * interval '1 hour' FROM generate_series(1, 24) n WHERE true;
INSERT INTO posts SELECT n, i, 'post ' || n * i, (n * i % 5)::int
  FROM generate_series(1, 24) n, generate_series(1, 3) i WHERE i <= n % 4;
INSERT INTO comments SELECT n, i, i % 3 + 1, 'comment' FROM generate_series(1, 24) n,
  generate_series(1, 4) i WHERE i < n % 5;
"""



# --- two ways to ask -----------------------------------------------------------------------------


Answer = collections.namedtuple("Answer", "error message tag columns rows status")


class Client:
    """libpq itself: what is sent is what the test says, and all of the answer is seen."""

    def __init__(self, options):
        text = " ".join(f"{key}='{value}'" for key, value in options.items())
        self._connection = pq.PGconn.connect(text.encode())
        assert self._connection.status == pq.ConnStatus.OK, self._connection.error_message
        self._connection.exec_(b"SET timezone = 'UTC'")
        self._prepared = {}  # names by text

    def close(self):
        self._connection.finish()

    def ask(self, sql, values=(), how="simple"):
        """`values` stand where $1, $2 ... are in the text, in a simple query as literals."""
        if how == "simple":
            for number in range(len(values), 0, -1):
                sql = sql.replace(f"${number}", literal(values[number - 1]))
            return self._answer(self._connection.exec_(sql.encode()))
        if how == "prepared":
            name = self._prepared.get(sql)
            if not name:
                name = f"statement {len(self._prepared)}".encode()
                prepared = self._answer(self._connection.prepare(name, sql.encode()))
                if prepared.error:
                    return prepared
                self._prepared[sql] = name
            return self._answer(self._connection.exec_prepared(
                name, [parameter(value, False)[0] for value in values]))
        return self._answer(self._connection.exec_params(*arguments(sql, values, how)))

    def pipeline(self, statements, how, flushes=()):
        """The answers to a list of (sql, values) that are sent at once, before one Sync, and with a
        Flush behind those whose numbers are in `flushes`; what was skipped has no tag."""
        self._connection.enter_pipeline_mode()
        for number, (sql, values) in enumerate(statements):
            self._connection.send_query_params(*arguments(sql, values, how))
            if number in flushes:
                self._connection.send_flush_request()
                self._connection.flush()
        self._connection.pipeline_sync()
        answers = []
        while True:
            result = self._connection.get_result()
            if result is None:
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                break
            answers.append(self._answer(result)._replace(status=None))
        self._connection.exit_pipeline_mode()
        return answers, self._connection.transaction_status

    def _answer(self, result):
        error = result.error_field(pq.DiagnosticField.SQLSTATE)
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        rows = [tuple(result.get_value(row, column) for column in range(result.nfields))
                for row in range(result.ntuples)]
        columns = [(result.fname(n), result.ftype(n), result.fformat(n)) for n in range(result.nfields)]
        return Answer(error and error.decode(), message and message.decode(), result.command_status,
                      columns, rows, self._connection.transaction_status)


def arguments(sql, values, how):
    """Of libpq's functions."""
    binary = how == "binary"
    pairs = [parameter(value, binary) for value in values]
    return (sql.encode(), [pair[0] for pair in pairs], [pair[1] for pair in pairs],
            [int(binary)] * len(values), int(binary))


def literal(value):
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def parameter(value, binary):
    """(bytes, type)"""
    if isinstance(value, int):
        return (struct.pack("!q", value) if binary else str(value).encode()), 20 if binary else 0
    return (None if value is None else value.encode()), 25 if binary and value is not None else 0


class Pair:
    """The same database whole and in parts."""

    def __init__(self, applications):
        first = applications.servers[0]
        self.applications = applications
        self.whole = Client({**applications.options("plain"), "port": first.port, "dbname": WHOLE})
        self.parts = Client(applications.options("parts"))
        self.asked, self.refused = collections.Counter(), collections.Counter()

    def close(self):
        self.whole.close()
        self.parts.close()

    def check(self, form, sql, values=(), how="simple", ordered=False):
        """Asks both; what was refused is not done on the whole either. Returns the parts' answer."""
        self.asked[form] += 1
        found = self.parts.ask(sql, values, how)
        if found.error == "0A000":
            assert found.message
            self.refused[form] += 1
            return found
        expected = self.whole.ask(sql, values, how)
        self.same(found, expected, ordered, f"{how}: {sql} with {values}")
        return found

    @staticmethod
    def same(found, expected, ordered, what):
        if not ordered:
            found = found._replace(rows=sorted(found.rows, key=repr))
            expected = expected._replace(rows=sorted(expected.rows, key=repr))
        # Which row violates a constraint first is not said.
        assert found._replace(message=None) == expected._replace(message=None), what

    def check_tables(self):
        """All rows are there, once, and where they belong."""
        for table, key in TABLES.items():
            found = []
            for server, (first, last) in zip(self.applications.servers, BUCKETS):
                rows = server.execute(f"SELECT {BUCKET.format(key=key)}, t::text FROM {table} t",
                                      dbname=PARTS)
                assert all(first <= bucket <= last for bucket, _ in rows), table
                found += [text for _, text in rows]
            whole = self.applications.servers[0].execute(f"SELECT t::text FROM {table} t", dbname=WHOLE)
            assert sorted(found) == sorted(row[0] for row in whole)
        everywhere = [server.execute("SELECT * FROM countries ORDER BY 1", dbname=PARTS)
                      for server in self.applications.servers]
        assert everywhere[0] == everywhere[1] == everywhere[2] == \
            self.applications.servers[0].execute("SELECT * FROM countries ORDER BY 1", dbname=WHOLE)


@pytest.fixture(scope="module")
def applications(shared_proxy, application_servers, authority):
    """Databases of this file's own on the common servers."""
    application_servers[0].create_database(WHOLE, "apps")
    application_servers[0].psql(f"SET ROLE apps; {SCHEMA}", WHOLE)
    for server in application_servers:
        server.create_database(PARTS, "apps")
        server.psql(f"SET ROLE apps; {SCHEMA}", PARTS)
    # The same type has another OID on the second shard.
    application_servers[1].psql("SET ROLE apps; CREATE TYPE before AS ENUM ('x');", PARTS)
    for server in application_servers:
        server.psql(f"SET ROLE apps; {MOODS}", PARTS)
    parts = {
        "shards": [{"name": server.name, "host": server.host, "port": server.port, "dbname": PARTS}
                   for server in application_servers],
        "keyspaces": [{"name": "users", "type": "bigint", "buckets": [
            {"from": first, "to": last, "shard": server.name}
            for server, (first, last) in zip(application_servers, BUCKETS)]}],
        "tables": [*({"name": table, "keyspace": "users", "key": key}
                     for table, key in {**TABLES, "moods": "id"}.items()),
                   {"name": "countries", "reference": True}],
    }
    return Applications(shared_proxy, application_servers, authority, databases={
        "parts": parts,
        # One server on each shard: whatever one client leaves there, the next would find.
        "narrow": {**parts, "on_cross_shard_write": "one_phase", "pool_size": 1},
        "one_writer": {**parts, "on_cross_shard_write": "refuse"},
    })


@pytest.fixture
def pair(applications):
    """Both with the same rows at first."""
    clear = "SET ROLE apps; TRUNCATE users, posts, comments, countries;"
    applications.servers[0].psql(clear + FILL, WHOLE)
    for server, (first, last) in zip(applications.servers, BUCKETS):
        mine = f"{BUCKET.format(key='n')} BETWEEN {first} AND {last} AND"
        server.psql(clear + FILL.replace("WHERE", f"WHERE {mine}").replace("n) n WHERE", "n) n WHERE"),
                    PARTS)
    made = Pair(applications)
    yield made
    made.close()


# --- random statements ---------------------------------------------------------------------------


class Statements:
    """Sentences with a name for their form. Where it says `ordered`, the order is total."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def key(self):
        return self.random.randint(1, USERS + 6)

    def number(self):
        return self.random.randint(-2, 12)

    def some(self, *choices):
        return self.random.choice(choices)

    def name(self):
        return self.some("a1", "b0", "O'Hara", "ü \\", "", None)

    def window(self, values):
        """LIMIT and OFFSET, as parameters."""
        text = ""
        if self.random.random() < 0.7:
            values.append(self.random.randint(0, 9))
            text += f" LIMIT ${len(values)}"
        if self.random.random() < 0.5:
            values.append(self.random.randint(0, 6))
            text += f" OFFSET ${len(values)}"
        return text

    def condition(self, values, alias=""):
        """On columns of users."""
        column, operator, value = self.some(
            ("score", ">", self.number()), ("score", "IS NULL", None), ("score", "<=", self.number()),
            ("name", "=", self.some("a1", "b0", "c2")), ("name", "<>", "b0"), ("name", "IS NOT NULL", None),
            ("id", ">=", self.key()), ("country", "=", self.some(*COUNTRIES)),
            ("active", "IS TRUE", None))
        if value is None:
            return f"{alias}{column} {operator}"
        values.append(value)
        return f"{alias}{column} {operator} ${len(values)}"

    def order(self, *columns):
        """Some of the columns, which end in a total order."""
        parts = [f"{column}{self.some('', ' DESC', ' NULLS FIRST', ' DESC NULLS LAST')}"
                 for column in columns[:-1] if self.random.random() < 0.7]
        self.random.shuffle(parts)
        return " ORDER BY " + ", ".join([*parts, columns[-1]])

    # (form, sql, values, ordered)

    def read_by_key(self):
        columns = self.some("*", "id, name", "name, score * 2 AS twice", "count(*), max(score)")
        return "read by key", f"SELECT {columns} FROM users WHERE id = $1", [self.key()], True

    def read_by_key_and_more(self):
        values = [self.key()]
        return ("read by key", f"SELECT * FROM users WHERE id = $1 AND {self.condition(values)}", values,
                True)

    def read_by_two_keys(self):
        return ("read by keys", "SELECT id, name FROM users WHERE id IN ($1, $2)",
                [self.key(), self.key()], False)

    def read_all(self):
        values = []
        where = f" WHERE {self.condition(values)}" if self.random.random() < 0.7 else ""
        columns = self.some("*", "id", "country, name, id", "upper(name) AS name, id",
                            "id, CASE WHEN active THEN score ELSE -1 END AS s")
        return "read all", f"SELECT {columns} FROM users{where}", values, False

    def read_in_order(self):
        values = []
        where = f" WHERE {self.condition(values)}" if self.random.random() < 0.5 else ""
        order = self.order("score", "name", "rate", "active", "seen", "country", "id")
        columns = self.some("*", "id", "id, name")
        return ("read in order", f"SELECT {columns} FROM users{where}{order}{self.window(values)}",
                values, True)

    def read_posts_in_order(self):
        values = [self.number()]
        return ("read in order", "SELECT * FROM posts WHERE likes >= $1" +
                self.order("likes", "body", "id", "user_id, id") + self.window(values), values, True)

    def join_by_key(self):
        values = [self.key()]
        join = self.some("JOIN", "LEFT JOIN")
        return ("join by key", f"SELECT u.id, u.name, p.id AS post, p.likes FROM users u {join} posts p "
                "ON p.user_id = u.id WHERE u.id = $1" + self.order("likes", "post") +
                self.window(values), values, True)

    def join_of_all(self):
        values = []
        join = self.some("JOIN", "LEFT JOIN")
        return ("join of all", f"SELECT u.id, p.id AS post, p.body, u.score FROM users u {join} posts p "
                f"ON p.user_id = u.id WHERE {self.condition(values, 'u.')}", values, False)

    def join_in_order(self):
        values = []
        return ("join in order", "SELECT u.id, p.id AS post, c.id AS comment FROM users u JOIN posts p "
                "ON p.user_id = u.id JOIN comments c ON c.user_id = p.user_id AND c.post_id = p.id" +
                self.order("score", "u.id, p.id, c.id") + self.window(values), values, True)

    def join_of_reference(self):
        values = []
        return ("join of reference", "SELECT u.id, c.name, c.people FROM users u JOIN countries c "
                f"ON c.code = u.country WHERE {self.condition(values, 'u.')}" +
                self.order("c.people", "u.id") + self.window(values), values, True)

    def reference(self):
        values = [self.some(*COUNTRIES, "XX")]
        return ("reference", self.some("SELECT * FROM countries WHERE code = $1",
                                       "SELECT count(*), max(people) FROM countries WHERE code <> $1",
                                       "SELECT name FROM countries WHERE code > $1 ORDER BY code LIMIT 2"),
                values, True)

    def aggregate_by_key(self):
        return ("aggregate by key", "SELECT likes, count(*), array_agg(id ORDER BY id), "
                "rank() OVER (ORDER BY likes) FROM posts WHERE user_id = $1 GROUP BY likes "
                "HAVING count(*) > 0 ORDER BY likes", [self.key()], True)

    def subqueries_by_key(self):
        key = self.key()
        return ("subqueries by key", self.some(
            "SELECT id, (SELECT count(*) FROM posts p WHERE p.user_id = u.id) FROM users u WHERE id = $1",
            "SELECT id FROM users u WHERE id = $1 AND EXISTS (SELECT FROM posts p WHERE p.user_id = u.id)",
            "WITH x AS (SELECT * FROM posts WHERE user_id = $1) SELECT count(*) FROM x",
            "SELECT id FROM users WHERE id = $1 UNION ALL SELECT id FROM posts WHERE user_id = $1"),
            [key], False)

    def doubtful(self):
        """What may be refused, and must not be wrong."""
        values = [self.key(), self.key()]
        sql = self.some(
            "SELECT count(*) FROM users WHERE id <> $1 AND id <> $2",
            "SELECT country, count(*), avg(rate) FROM users WHERE id > $1 OR id = $2 GROUP BY country",
            "SELECT DISTINCT country FROM users WHERE id NOT IN ($1, $2)",
            "SELECT * FROM users WHERE id = $1 OR id = $2",
            "SELECT u.id, v.id FROM users u, users v WHERE u.id = $1 AND v.id = $2",
            "SELECT * FROM users WHERE NOT id = $1 AND id <> $2",
            "SELECT id = $1, id = $2 FROM users",
            "SELECT count(*) FILTER (WHERE id = $1), sum(score) FROM users WHERE id <> $2",
            "SELECT id, row_number() OVER (ORDER BY id) FROM users WHERE id > $1 AND id <> $2",
            "SELECT id FROM users WHERE id = $1 UNION SELECT id FROM users WHERE id = $2",
            "SELECT u.id, p.id FROM users u LEFT JOIN posts p ON p.user_id = u.id AND u.id = $1 "
            "WHERE u.id <> $2",
            "SELECT u.id, p.id FROM users u RIGHT JOIN posts p ON p.user_id = u.id AND p.user_id = $1 "
            "WHERE p.user_id <> $2",
            "SELECT u.id, p.id FROM users u FULL JOIN posts p ON p.user_id = u.id AND u.id = $1 "
            "AND u.id <> $2",
            "SELECT id FROM users WHERE id IN (SELECT user_id FROM posts WHERE likes = $1 % 5) "
            "AND id <> $2",
            "SELECT id FROM users WHERE (SELECT max(likes) FROM posts WHERE user_id = $1) > $2 % 4",
            "SELECT c.code FROM countries c LEFT JOIN users u ON u.country = c.code AND u.id = $1 "
            "WHERE u.id IS DISTINCT FROM $2",
            "SELECT max(id), min(id) FROM posts WHERE user_id BETWEEN $1 AND $2",
            "UPDATE users SET score = score + 1 WHERE id IN ($1, $2)",
            "UPDATE users SET id = $1 WHERE id = $2",
            "UPDATE posts SET likes = likes + 1 WHERE user_id > $1 AND user_id < $2",
            "DELETE FROM comments WHERE user_id > $1 AND user_id < $2 RETURNING user_id, id",
            "UPDATE posts p SET likes = u.score FROM users u WHERE u.id = p.user_id AND u.id = $1 "
            "AND p.likes <> $2",
            "DELETE FROM posts USING users WHERE users.id = $1 AND posts.user_id = $2",
            "INSERT INTO comments SELECT user_id, id + 100, id, body FROM posts WHERE user_id = $1 "
            "AND id < $2 ON CONFLICT DO NOTHING",
            "INSERT INTO comments SELECT $1, id + 200, id, body FROM posts WHERE user_id = $2 "
            "ON CONFLICT DO NOTHING")
        return "doubtful", sql, values, False

    def insert(self):
        values = [self.key(), self.name(), self.some(*COUNTRIES, None), self.number()]
        returning = self.some("", " RETURNING *", " RETURNING id, score + 1 AS next")
        return ("insert", "INSERT INTO users (id, name, country, score) VALUES ($1, $2, $3, $4)" +
                returning, values, True)

    def upsert(self):
        values = [self.key(), self.name(), self.number()]
        return ("upsert", "INSERT INTO users (id, name, score) VALUES ($1, $2, $3) ON CONFLICT (id) " +
                self.some("DO NOTHING", "DO UPDATE SET name = excluded.name, score = $3",
                          "DO UPDATE SET score = users.score + 1 RETURNING score"), values, True)

    def insert_rows_of_one_key(self):
        key, first = self.key(), self.random.randint(4, 40)
        return ("insert rows of one key", "INSERT INTO posts VALUES ($1, $2, $3, 1), ($1, $4, $3, 2) "
                "ON CONFLICT DO NOTHING", [key, first, self.name(), first + 1], True)

    def insert_rows_of_many_keys(self):
        return ("insert rows of many keys", "INSERT INTO posts VALUES ($1, $3, 'x', 1), ($2, $3, 'y', 2) "
                "ON CONFLICT DO NOTHING", [self.key(), self.key(), self.random.randint(50, 90)], True)

    def update_by_key(self):
        values = [self.key(), self.number()]
        more = f" AND {self.condition(values)}" if self.random.random() < 0.5 else ""
        return ("update by key", f"UPDATE users SET score = $2, seen = seen + interval '1 s' "
                f"WHERE id = $1{more}" + self.some("", " RETURNING id, score, seen"), values, True)

    def update_that_fails(self):
        return ("error by key", "UPDATE users SET score = 1 / (score - score) WHERE id = $1",
                [self.key()], True)

    def delete_by_key(self):
        return ("delete by key", self.some(
            "DELETE FROM users WHERE id = $1", "DELETE FROM users WHERE id = $1 RETURNING *",
            "DELETE FROM posts WHERE user_id = $1", "DELETE FROM comments WHERE user_id = $1 AND id > 1"),
            [self.key()], True)

    def write_reference(self):
        values = [self.some(*COUNTRIES, "NL", "PL"), self.number()]
        return ("write reference", self.some(
            "INSERT INTO countries (code, name, people) VALUES ($1, 'new', $2)",
            "UPDATE countries SET people = $2 WHERE code = $1",
            "UPDATE countries SET people = people + $2 WHERE code <> $1",
            "DELETE FROM countries WHERE code = $1 AND people > $2"), values, True)

    READS = (read_by_key, read_by_key_and_more, read_by_two_keys, read_all, read_in_order,
             read_posts_in_order, join_by_key, join_of_all, join_in_order, join_of_reference, reference,
             aggregate_by_key, subqueries_by_key)
    WRITES = (insert, insert, upsert, insert_rows_of_one_key, insert_rows_of_many_keys, update_by_key,
              update_by_key, update_that_fails, delete_by_key, write_reference)

    def read(self):
        return self.random.choice(self.READS)(self)

    def write(self):
        return self.random.choice(self.WRITES)(self)


# Forms that must not be refused.
MUST_WORK = {"read by key", "read all", "read in order", "join by key", "join of all", "join in order",
             "join of reference", "reference", "aggregate by key", "subqueries by key", "insert", "upsert",
             "insert rows of one key", "update by key", "error by key", "delete by key",
             "write reference"}
WAYS = ("simple", "extended", "binary", "prepared")


def assert_little_was_refused(pair):
    assert MUST_WORK <= set(pair.asked), set(pair.asked)
    refused = {form for form in MUST_WORK if pair.refused[form]}
    assert not refused, pair.refused
    assert sum(pair.refused.values()) < sum(pair.asked.values()) / 4, pair.refused


@pytest.mark.parametrize("seed", range(3))
def test_random_statements_are_exact_or_refused(pair, seed):
    statements = Statements(seed)
    for number in range(120):
        form, sql, values, ordered = statements.read()
        for how in WAYS:
            pair.check(form, sql, values, how, ordered)
        form, sql, values, ordered = statements.write()
        pair.check(form, sql, values, WAYS[number % 4], ordered)
        form, sql, values, ordered = statements.doubtful()
        pair.check(form, sql, values, WAYS[number % 4], ordered)
        if number % 40 == 0:
            pair.check_tables()
    pair.check_tables()
    assert_little_was_refused(pair)


# --- random transactions -------------------------------------------------------------------------


def random_transaction(statements):
    """Steps: (form, sql, values, ordered)."""
    chance = statements.random

    def say(sql):
        return "control", sql, [], True

    yield say(statements.some("BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ",
                              "BEGIN READ WRITE"))
    for _ in range(chance.randint(0, 9)):
        dice = chance.random()
        if dice < 0.35:
            yield statements.read()
        elif dice < 0.65:
            yield statements.write()
        elif dice < 0.75:
            yield say(f"SAVEPOINT {statements.some('a', 'b', 'c')}")
        elif dice < 0.85:
            yield say(f"ROLLBACK TO {statements.some('a', 'b', 'SAVEPOINT c')}")
        elif dice < 0.90:
            yield say(f"RELEASE {statements.some('a', 'b', 'SAVEPOINT c')}")
        elif dice < 0.93:
            yield "error", "SELECT 1 / (id - id) FROM users WHERE id = $1", [statements.key()], True
        elif dice < 0.96:
            yield say("BEGIN")
        else:
            yield say("SET LOCAL application_name = 'here'")
    yield say(statements.some("COMMIT", "COMMIT", "END", "ROLLBACK", "ABORT", "COMMIT AND CHAIN",
                              "ROLLBACK AND CHAIN"))


@pytest.mark.parametrize("seed", range(3))
def test_random_transactions_are_exact(pair, seed):
    """Step by step, whatever the shards that take part and whenever they join. A refusal is an error
    like any other: the transaction has failed."""
    statements = Statements(100 + seed)
    for number in range(70):
        for form, sql, values, ordered in random_transaction(statements):
            how = WAYS[(number + len(sql)) % 4]
            found = pair.parts.ask(sql, values, how)
            if found.error == "0A000":
                assert form not in MUST_WORK | {"control", "error"}, (sql, found)
                # Something else that fails, for the whole.
                expected = pair.whole.ask("SELECT 1/0")
                assert found.status == expected.status, sql
                continue
            expected = pair.whole.ask(sql, values, how)
            pair.same(found, expected, ordered, f"{how}: {sql} with {values}: {found.message}, "
                      f"expected {expected.message}")
        pair.check("end", "ROLLBACK")
        if number % 20 == 0:
            pair.check_tables()
    pair.check_tables()


def random_pipeline(statements):
    for _ in range(statements.random.randint(1, 7)):
        dice = statements.random.random()
        if dice < 0.45:
            yield statements.write()
        elif dice < 0.85:
            yield statements.read()
        elif dice < 0.95:
            yield "control", statements.some("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a"), [], True
        else:
            yield "error", "SELECT 1 / (id - id) FROM users WHERE id = $1", [statements.key()], True


@pytest.mark.parametrize("seed", range(3))
def test_random_pipelines_are_exact(pair, seed):
    """All or nothing up to the Sync, on whatever shards. What follows a refusal is skipped like what
    follows any error."""
    statements = Statements(200 + seed)
    refused = 0
    for number in range(120):
        sent = list(random_pipeline(statements))
        how = WAYS[1 + number % 2]
        flushes = {at for at in range(len(sent)) if statements.random.random() < 0.2}
        found, status = pair.parts.pipeline([step[1:3] for step in sent], how, flushes)
        at = next((at for at, answer in enumerate(found) if answer.error == "0A000"), None)
        if at is not None:
            assert sent[at][0] not in MUST_WORK | {"control", "error"}, (sent[at], found[at])
            refused += 1
            sent[at] = ("error", "SELECT 1/0", [], True)
            found[at] = found[at]._replace(error="22012")
        expected, expected_status = pair.whole.pipeline([step[1:3] for step in sent], how, flushes)
        what = "; ".join(f"{step[1]} with {step[2]}" for step in sent)
        assert len(found) == len(expected) and status == expected_status, what
        for step, answer, right in zip(sent, found, expected):
            pair.same(answer, right, step[3], f"{how}: {step[1]} in {what}")
        if status != pq.TransactionStatus.IDLE:
            pair.check("end", statements.some("COMMIT", "ROLLBACK"))
        if number % 20 == 0:
            pair.check_tables()
    pair.check_tables()
    assert refused < 30


# --- transactions over the shards ----------------------------------------------------------------


@pytest.fixture
def connect(applications, pair):
    """connect("parts") is a connection of psycopg2's, not in autocommit; it ends with the test."""
    made = []

    def make(database="parts"):
        made.append(psycopg2.connect(**applications.options(database)))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def keys_of_shards(applications):
    """A user of each shard."""
    return [rows[0][0] for rows in on_shards(applications, "SELECT min(id) FROM users")]


def on_shards(applications, sql):
    return [server.execute(sql, dbname=PARTS) for server in applications.servers]


def in_transaction(applications):
    """How many servers of each shard stand in a client's transaction block; what reads the catalogs, beside
    the clients, has one of its own now and then."""
    return [rows[0][0] for rows in on_shards(
        applications, f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{PARTS}' "
        "AND state LIKE 'idle in transaction%' AND application_name <> 'pgshunt catalog'")]


@pytest.mark.smoke
def test_shards_join_a_transaction_when_it_comes_to_them(applications, connect):
    first, second, third = keys_of_shards(applications)
    client = connect()
    run(client, "SAVEPOINT early")  # BEGIN comes before it
    assert in_transaction(applications) == [0, 0, 0]
    run(client, "UPDATE users SET name = 'new' WHERE id = %s", (second,))
    assert in_transaction(applications) == [0, 1, 0]
    assert run(client, "SELECT name FROM users WHERE id = %s", (third,))
    assert in_transaction(applications) == [0, 1, 1]
    run(client, "ROLLBACK TO early")
    assert run(client, "SELECT count(*) FROM users WHERE name = 'new' AND id = %s", (second,)) == [(0,)]
    run(client, "UPDATE users SET name = 'newer' WHERE id = %s", (first,))
    assert in_transaction(applications) == [1, 1, 1]
    client.commit()
    assert in_transaction(applications) == [0, 0, 0]
    assert on_shards(applications, "SELECT id FROM users WHERE name LIKE 'new%'") == [[(first,)], [], []]


def test_a_transaction_is_seen_on_all_shards_or_on_none(applications, connect):
    client, other = connect(), connect()
    other.autocommit = True
    for end, expected in ((client.rollback, []), (client.commit, [(key,) for key in sorted(
            keys_of_shards(applications))])):
        for key in keys_of_shards(applications):
            run(client, "UPDATE users SET score = 99 WHERE id = %s", (key,))
        assert run(other, "SELECT id FROM users WHERE score = 99") == []
        end()
        assert run(other, "SELECT id FROM users WHERE score = 99 ORDER BY id") == expected


def test_an_error_on_one_shard_fails_the_transaction_on_all(applications, connect):
    first, second, _ = keys_of_shards(applications)
    client = connect()
    run(client, "UPDATE users SET score = 99 WHERE id = %s", (first,))
    with pytest.raises(psycopg2.errors.UniqueViolation):
        run(client, "INSERT INTO users (id) VALUES (%s)", (second,))
    for key in (first, second):
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            run(client, "SELECT score FROM users WHERE id = %s", (key,))
    client.commit()  # which is a rollback
    assert run(client, "SELECT id FROM users WHERE score = 99") == []


def test_an_error_in_a_fan_out_fails_the_transaction(applications, connect):
    first, second, _ = keys_of_shards(applications)
    client = connect()
    run(client, "UPDATE users SET score = 0 WHERE id = %s", (second,))
    with pytest.raises(psycopg2.errors.DivisionByZero):
        run(client, "SELECT id, 1 / (score + 100 * (id - %s)) FROM users ORDER BY id", (second,))
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        run(client, "SELECT 1")
    client.rollback()
    assert len(run(client, "SELECT id, 1 / (score * 0 + 1) FROM users ORDER BY id")) == USERS
    client.rollback()
    assert in_transaction(applications) == [0, 0, 0]


def test_a_second_shard_is_not_written_where_that_is_not_allowed(applications, connect):
    first, second, third = keys_of_shards(applications)
    client = connect("one_writer")
    run(client, "UPDATE users SET score = 99 WHERE id = %s", (first,))
    assert run(client, "SELECT id FROM users WHERE id = %s", (third,)) == [(third,)]
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match='has written on shard "shard1"'):
        run(client, "UPDATE users SET score = 99 WHERE id = %s", (second,))
    client.rollback()
    assert run(client, "SELECT id FROM users WHERE score = 99") == []
    client.rollback()
    for key in (first, second):
        run(client, "UPDATE users SET score = 99 WHERE id = %s", (key,))
        client.commit()
    assert run(client, "SELECT id FROM users WHERE score = 99 ORDER BY id") == [
        (key,) for key in sorted((first, second))]


def test_local_settings_hold_on_every_shard(applications, pair):
    """Also on one that joins later, and by the extended protocol."""
    for how in ("simple", "extended"):
        for setting in ("SET LOCAL timezone = 'Asia/Tokyo'", "SET TRANSACTION READ ONLY"):
            pair.check("control", "BEGIN", how=how)
            first, second, third = keys_of_shards(applications)
            pair.check("read", "SELECT seen::text FROM users WHERE id = $1", [first], how)
            if setting.startswith("SET TRANSACTION"):
                # Not after the first query, for which PostgreSQL cares on its one server.
                pair.check("control", "ROLLBACK", how=how)
                pair.check("control", "BEGIN", how=how)
            pair.check("set", setting, how=how)
            pair.check("read", "SELECT seen::text FROM users WHERE id = $1", [second], how)
            pair.check("read", "SELECT seen::text FROM users ORDER BY id", [], how, True)
            found = pair.check("write", "UPDATE users SET score = 1 WHERE id = $1", [third], how)
            assert found.error == ("25006" if "READ ONLY" in setting else None)
            pair.check("control", "COMMIT", how=how)
            pair.check("read", "SELECT seen::text FROM users WHERE id = $1", [second], how)
            # A value that is none is refused at once.
            pair.check("control", "BEGIN", how=how)
            assert pair.check("set", "SET LOCAL work_mem = 'much'", how=how).error == "22023"
            pair.check("control", "COMMIT", how=how)
            pair.check("set", "SET LOCAL work_mem = '1MB'", how=how)
    assert not pair.refused


def test_chained_transactions_keep_their_modes(pair):
    pair.check("control", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    pair.check("read", "SELECT id FROM users WHERE id = 1")
    pair.check("control", "COMMIT AND CHAIN")
    assert pair.check("write", "UPDATE users SET score = 1 WHERE id = 2").error == "25006"
    pair.check("control", "ROLLBACK AND CHAIN", how="extended")
    pair.check("read", "SELECT current_setting('transaction_isolation'), id FROM users WHERE id = 3")
    pair.check("control", "COMMIT AND NO CHAIN")
    assert pair.check("control", "COMMIT AND CHAIN").error == "25P01"
    pair.check("write", "UPDATE users SET score = 1 WHERE id = 2")
    assert not pair.refused


# --- nothing is left to the next client ----------------------------------------------------------


@pytest.mark.parametrize("goodbye", ["close", "rollback", "error"])
def test_nothing_leaks_to_a_second_client(applications, connect, goodbye):
    """They take turns on one server of each shard."""
    client = connect("narrow")
    keys = keys_of_shards(applications)
    run(client, "SET timezone = 'Asia/Tokyo'")
    run(client, "SET LOCAL work_mem = '5MB'")
    run(client, "SET statement_timeout = '10min'")
    for key in keys:
        run(client, "UPDATE users SET name = 'leaked' WHERE id = %s", (key,))
    run(client, "SELECT id FROM users ORDER BY id")
    if goodbye == "rollback":
        client.rollback()
    elif goodbye == "close":
        client.close()
    else:
        with pytest.raises(psycopg2.Error):
            run(client, "SELECT 1/0 FROM users WHERE id = %s", (keys[1],))
        client.close()
    second = connect("narrow")
    state = ("SELECT current_setting('timezone'), current_setting('work_mem'), "
             "current_setting('statement_timeout'), name FROM users WHERE id = %s")
    defaults = applications.servers[0].execute("SELECT current_setting('work_mem')")[0][0]
    for key in keys:
        ((timezone, memory, timeout, name),) = run(second, state, (key,))
        assert (timezone, memory, timeout) == ("UTC", defaults, "0")
        assert name != "leaked"
    second.rollback()
    wait_until(lambda: in_transaction(applications) == [0, 0, 0])
    if goodbye == "rollback":
        # The SETs went with their transaction; made again, they are the client's alone.
        run(client, "SET timezone = 'Asia/Tokyo'")
        client.commit()
        assert run(second, state, (keys[2],))[0][0] == "UTC"
        second.rollback()
        assert [run(client, state, (key,))[0][0] for key in keys] == ["Asia/Tokyo"] * 3


def test_two_clients_that_need_all_shards_do_not_wait_for_each_other(applications, connect):
    clients = [connect("narrow") for _ in range(4)]
    for client in clients:
        client.autocommit = True
    for _ in range(10):
        for number, client in enumerate(clients):
            assert len(run(client, "SELECT id FROM users ORDER BY score, id")) == USERS
            run(client, "UPDATE countries SET people = %s WHERE code = 'DE'", (number,))
            assert run(client, "SELECT people FROM countries WHERE code = 'DE'") == [(number,)]



# --- types of the application's own --------------------------------------------------------------


def test_types_of_its_own_by_key(connect):
    client = connect()
    for key in range(1, 13):
        run(client, "INSERT INTO moods VALUES (%s, %s)", (key, "sad" if key % 3 else "happy"))
    for key in range(1, 13):
        assert run(client, "SELECT mood FROM moods WHERE id = %s", (key,)) == [
            ("sad" if key % 3 else "happy",)]
    client.rollback()


def test_types_of_its_own_from_all_shards(connect):
    """The shards' own OIDs differ, and the client sees those of the first."""
    client = connect()
    for key in range(1, 13):
        run(client, "INSERT INTO moods VALUES (%s, 'sad')", (key,))
    assert run(client, "SELECT id, mood FROM moods ORDER BY id") == [
        (key, "sad") for key in range(1, 13)]


def test_types_of_its_own_as_a_driver_asks_for_them(applications, pair):
    """asyncpg looks a type up by the OID that a result has: on the first shard."""
    options = applications.options("parts")

    async def talk():
        connection = await asyncpg.connect(
            host=options["host"], port=options["port"], user=options["user"],
            password=options["password"], database="parts",
            ssl=ssl.create_default_context(cafile=options["sslrootcert"]))
        try:
            for key in range(1, 13):
                await connection.execute("DELETE FROM moods WHERE id = $1", key)
                await connection.execute("INSERT INTO moods VALUES ($1, 'sad')", key)
                assert await connection.fetchval("SELECT mood FROM moods WHERE id = $1", key) == "sad"
        finally:
            await connection.close()
    asyncio.run(talk())
