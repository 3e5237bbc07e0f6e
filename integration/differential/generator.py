"""Random cases by class. A class is a function with a decorator: it gets a Chooser and returns one
Step, or a list of Steps that one client runs in turn. To add one, write it at the end of the file; those that
may be any SELECT are in reads.py."""

import collections
import random

from differential.client import WAYS, Value
from differential.world import KEYED, KEYSPACES

# `ordered`: the answer's order is total, so it must be the same. `only`: ways that make sense.
Step = collections.namedtuple("Step", "sql values ordered", defaults=((), False))
Case = collections.namedtuple("Case", "form how steps")
Class = collections.namedtuple("Class", "name make must_work weight ways reads")

CLASSES = []


def statement_class(name, *, must_work=False, weight=2, ways=WAYS, reads=False):
    """`must_work`: a refusal is a failure, too. `reads`: leaves all tables as they are."""
    def add(make):
        CLASSES.append(Class(name, make, must_work, weight, ways, reads))
        return make
    return add


def cases(seed, count, only=None):
    """The same ones for the same seed, whatever `count` is. `only`: names of classes."""
    chooser = Chooser(random.Random(seed))
    classes = [each for each in CLASSES if not only or each.name in only]
    weights = [each.weight for each in classes]
    for _ in range(count):
        (chosen,) = chooser.random.choices(classes, weights)
        made = chosen.make(chooser)
        yield Case(chosen.name, chooser.some(*chosen.ways), [made] if isinstance(made, Step) else made)


class Text:
    """A statement in the making: collects its parameters."""

    def __init__(self):
        self.values = []

    def value(self, text, kind="bigint"):
        """Where the text has it: $1, $2, ..."""
        self.values.append(Value(None if text is None else str(text), kind))
        return f"${len(self.values)}"


class Chooser:
    def __init__(self, generator):
        self.random = generator

    def some(self, *choices):
        return self.random.choice(choices)

    def chance(self, probability):
        return self.random.random() < probability

    def maybe(self, text, probability=0.5):
        return text if self.chance(probability) else ""

    def number(self, low=-3, high=12):
        return self.random.randint(low, high)

    def user(self):
        """A key of users, mostly one that has a row."""
        return self.random.randint(1, 28)

    def keyspace(self):
        name = self.some(*KEYED)
        return name, KEYSPACES[name][0]

    def key_of(self, name):
        return self.some(*KEYSPACES[name][1]).replace("''", "'")

    def word(self):
        return self.some("a1", "b0", "O'Hara", "ü \\", "", "now", None)

    def columns(self, *more):
        """Some columns of users, in any order."""
        columns = ["name", "nick", "country", "small", "score", "rate", "ratio", "rough", "active", "born",
                   "at", "seen", "noted", "span", "tag", "data", "padded", "words", "level"]
        chosen = self.random.sample(columns, self.random.randint(0, 4)) + list(more)
        self.random.shuffle(chosen)
        return ", ".join(chosen)

    def condition(self, text, alias=""):
        """On columns of users."""
        return alias + self.some(
            lambda: f"score {self.some('<', '<=', '=', '<>', '>=')} {text.value(self.number(), 'integer')}",
            lambda: "score IS NULL",
            lambda: f"name = {text.value(self.some('a1', 'b0', 'c2'), 'text')}",
            lambda: f"name LIKE {text.value(self.some('a%', '%1', '_'), 'text')}",
            lambda: "nick IS NOT NULL",
            lambda: f"id >= {text.value(self.user())}",
            lambda: f"id BETWEEN {text.value(self.user())} AND {text.value(self.user())}",
            lambda: f"country = {text.value(self.some('DE', 'FR'), 'text')}",
            lambda: f"rate > {text.value(self.some('0.5', '1', 'NaN'), 'numeric')}",
            lambda: f"born < {text.value('2024-02-05', 'date')}",
            lambda: f"noted > {text.value('2024-03-31 12:00+02', 'timestamptz')}",
            lambda: f"small IN ({text.value(0, 'smallint')}, {text.value(1, 'smallint')})",
            lambda: "active IS NOT TRUE",
            lambda: f"ratio < {text.value('2.5', 'float8')}")()

    def order(self, last, columns=None):
        """ORDER BY some columns, then by `last`, which makes the order total."""
        columns = columns or ["name", "nick", "country", "small", "score", "rate", "ratio", "rough",
                              "active", "born", "at", "seen", "noted", "tag", "data", "level", "score + 1",
                              "-score", "lower(name)", "name || 'x'", "coalesce(score, 0)",
                              "CASE WHEN active THEN 1 ELSE 2 END", "name IS NULL", "date(seen)",
                              'nick COLLATE "C"', "length(name)", "abs(small)", "extract(hour FROM noted)"]
        parts = [column + self.some("", " ASC", " DESC", " NULLS FIRST", " NULLS LAST", " DESC NULLS LAST",
                                    " ASC NULLS FIRST")
                 for column in self.random.sample(columns, self.random.randint(0, 3))]
        return " ORDER BY " + ", ".join([*parts, last + self.some("", "", " DESC")])

    def window(self, text):
        """LIMIT and OFFSET."""
        def count(most):
            number = self.some(0, 1, self.random.randint(0, most), most)
            return self.some(lambda: text.value(number), lambda: text.value(number), lambda: str(number),
                             lambda: f"'{number}'", lambda: "NULL", lambda: f"{number}::int")()
        limit = self.maybe(f" LIMIT {count(9)}", 0.7) if self.chance(0.7) else ""
        offset = f" OFFSET {count(6)}" if self.chance(0.5) else ""
        return self.some(limit + offset, offset + limit) if limit and offset else limit + offset


# --- reads by key ---------------------------------------------------------------------------------


@statement_class("read by key", must_work=True, weight=3)
def _(choose):
    text = Text()
    key = text.value(choose.user())
    columns = choose.some("*", "id, name", "name, score * 2 AS twice", "count(*), max(score)", "u", "now() > noted")
    where = choose.some(f"id = {key}", f"u.id = {key}", f"{key} = id", f"id IN ({key})")
    more = f" AND {choose.condition(text, 'u.')}" if choose.chance(0.4) else ""
    return Step(f"SELECT {columns} FROM users u WHERE {where}{more}", text.values, True)


@statement_class("read by keys of all types", must_work=True, weight=4)
def _(choose):
    text = Text()
    name, kind = choose.keyspace()
    return Step(f"SELECT * FROM {name} WHERE k = {text.value(choose.key_of(name), kind)}", text.values)


@statement_class("aggregates and windows by key", must_work=True)
def _(choose):
    text = Text()
    return Step("SELECT likes, count(*), array_agg(id ORDER BY id), rank() OVER (ORDER BY likes) FROM posts "
                f"WHERE user_id = {text.value(choose.user())} GROUP BY likes HAVING count(*) > 0 "
                "ORDER BY likes", text.values, True)


@statement_class("subqueries by key", must_work=True)
def _(choose):
    text = Text()
    key = text.value(choose.user())
    return Step(choose.some(
        f"SELECT id, (SELECT count(*) FROM posts p WHERE p.user_id = u.id) FROM users u WHERE id = {key}",
        f"SELECT id FROM users u WHERE id = {key} AND EXISTS (SELECT FROM posts p WHERE p.user_id = u.id)",
        f"WITH x AS (SELECT * FROM posts WHERE user_id = {key}) SELECT count(*) FROM x",
        f"WITH users AS (SELECT id FROM users WHERE id = {key}) SELECT * FROM users",
        f"SELECT id FROM users WHERE id = {key} UNION ALL SELECT id FROM posts WHERE user_id = {key}",
        f"SELECT DISTINCT likes FROM posts WHERE user_id = {key}",
        f"SELECT * FROM users u, LATERAL (SELECT max(likes) FROM posts WHERE user_id = u.id) x WHERE u.id = {key}"),
        text.values)


@statement_class("joins by key", must_work=True)
def _(choose):
    text = Text()
    join = choose.some("JOIN", "LEFT JOIN")
    return Step(f"SELECT u.id, u.name, p.id AS post, p.likes FROM users u {join} posts p ON p.user_id = u.id "
                f"WHERE u.id = {text.value(choose.user())}"
                + choose.order("post", ["likes", "body", "post"]) + choose.window(text), text.values, True)


# --- reads over all shards ------------------------------------------------------------------------


@statement_class("read all", must_work=True, weight=3)
def _(choose):
    text = Text()
    columns = choose.some("*", choose.columns("id"), "upper(name) AS name, id", "id, CASE WHEN active THEN score END s",
                          "u.*", "id, $$x$$ AS x, E'\\x41', 1.50, -0.0", "")
    where = f" WHERE {choose.condition(text)}" if choose.chance(0.7) else ""
    return Step(f"SELECT {columns} FROM users u{where}", text.values)


@statement_class("read in order", must_work=True, weight=8)
def _(choose):
    text = Text()
    where = f" WHERE {choose.condition(text)}" if choose.chance(0.5) else ""
    columns = choose.some("*", "id", choose.columns("id"), choose.columns(), "score AS name, name AS score, id")
    order = choose.order("id")
    if columns.startswith("score AS name"):
        order = choose.order("id", ["name", "score", "score + 0", "lower(nick)"])
    return Step(f"SELECT {columns} FROM users{where}{order}{choose.window(text)}", text.values, True)


@statement_class("order by ordinals", weight=2)
def _(choose):
    text = Text()
    return Step(f"SELECT score, name, id FROM users ORDER BY {choose.some(1, 2, -1, 0, 4, 99999)}"
                f"{choose.some('', ' DESC')}, 2 NULLS FIRST, 3{choose.window(text)}", text.values, True)


@statement_class("keys of all types in order", must_work=True, weight=3)
def _(choose):
    text = Text()
    name, _ = choose.keyspace()
    return Step(f"SELECT {choose.some('*', 'v', 'k, v')} FROM {name} ORDER BY k{choose.some('', ' DESC')}"
                + choose.window(text), text.values, True)


@statement_class("joins of all", must_work=True, weight=3)
def _(choose):
    text = Text()
    join = choose.some("JOIN", "LEFT JOIN")
    tables = choose.some(
        f"users u {join} posts p ON p.user_id = u.id",
        "users u, posts p WHERE u.id = p.user_id AND true",
        f"users u {join} countries c ON c.code = u.country {join} posts p ON p.user_id = u.id")
    condition = choose.condition(text, "u.") if choose.chance(0.5) else ""
    if condition:
        tables += (" AND " if "WHERE" in tables else " WHERE ") + condition
    return Step(f"SELECT u.id, p.id AS post, u.name, p.body FROM {tables}"
                + choose.order("u.id, p.id", ["score", "likes", "u.name", "post", "4"])
                + choose.window(text), text.values, True)


@statement_class("limits", weight=3)
def _(choose):
    count = ["0", "1", "3", "'2'", "NULL", "ALL", "1.5", "1e1", "-1", "9223372036854775807", "99999999999999999999",
             "'x'", "2 + 1", "(2)", "E'\\x33'", "$$2$$", "3::bigint", "true", "' 4 '", "2147483648"]
    limit = choose.some(f" LIMIT {choose.some(*count)}", f" FETCH FIRST {choose.some('2', '')} ROWS ONLY", "")
    offset = f" OFFSET {choose.some(*[each for each in count if each != 'ALL'])}" if choose.chance(0.7) else ""
    return Step(f"SELECT id FROM users ORDER BY id{offset}{limit}" if "FETCH" in limit else
                f"SELECT id FROM users ORDER BY id{limit}{offset}", (), True)


# --- literals -------------------------------------------------------------------------------------

LITERALS = {
    "words": ["'a'", "E'a'", "U&'\\0061'", "$$a$$", "$q$a$q$", "'O''Hara'", "E'O\\'Hara'", "E'\\u00fc'", "'a'::text",
              "'a'::varchar", "text 'a'", "'a'::char(3)", "'a '::bpchar", "'a'::name", "'ab'::varchar(1)", "5",
              "'5'", "5::text", "true", "''", "'back\\slash'", "E'back\\\\slash'", "NULL", "lower('A')",
              "'a' COLLATE \"C\"", "'a'\n'b'", "('a')", "'a' || ''", "B'1'", "N'a'"],
    "codes": ["'a'", "'fr '", "'fr'", "'fr '::text", "'fr'::char(3)", "'été'", "'a'::varchar(5)", "5::text"],
    "ids": ["'00000000-0000-4000-8000-000000000001'", "'00000000000040008000000000000001'", "'zz'", "5",
            "'{00000000-0000-4000-8000-000000000001}'", "uuid '00000000-0000-4000-8000-000000000002'", "''"],
    "blobs": ["'\\x61'", "'a'", "'\\141'", "E'\\\\x61'", "'\\xDEADBEEF'", "'\\x de ad be ef'", "'\\xdeadbee'",
              "'\\xzz'", "''", "'a'::bytea", "X'61'"],
    "amounts": ["0", "-0", "1", "1.0", "1.50", "'1.500'", "15e-1", "-2.25", "- 2.25", "'NaN'", "'-inf'", "1::int",
                "1.5::float8", "'1.5'::numeric(3,1)", "12345678901234567890", "1e-4", "'  1  '", "'1_0'", "''",
                "'0x1'", "1.5::real", "true::int"],
    "days": ["'2024-01-01'", "'20240101'", "'2024-1-1'", "'January 1, 2024'", "'1/1/2024'", "date '2024-01-01'",
             "'2024-01-01'::timestamp", "'0001-01-01 BC'", "'infinity'", "'epoch'", "'2024.001'", "'J2460311'",
             "'2024-02-30'", "''", "'2024-01-01 10:00'", "'2024-01-01T10:00:00Z'", "'99999999-01-01'", "2024"],
    "moments": ["'2024-01-01'", "'2024-01-01T00:00:00'", "'2024-01-01 00:00:00.000001'", "'2024-01-01 00:00+05'",
                "'2023-12-31 24:00'", "'2023-12-31 23:59:60'", "'2024-01-01 00:00:60.5'", "'infinity'",
                "'2024-01-01'::date", "'2024-01-01 12:00 AM'", "timestamp(0) '2024-01-01'"],
    "instants": ["'2024-01-01 00:00+00'", "'2024-01-01'", "'2024-01-01 00:00'", "'2024-01-01 01:00+01'",
                 "'2024-01-01 00:00Z'", "'2024-01-01 01:00 Europe/Berlin'", "'2024-07-01T10:34:56.789000Z'",
                 "timestamptz '2024-01-01 00:00+00'", "'2024-01-01'::date", "'2024-01-01 05:30+05:30'"],
    "smalls": ["0", "-1", "- 1", "-(-1)", "32767", "32768", "-32768", "'-32768'", "'32768'", "7.0", "7.5", "'7.0'",
               "7::bigint", "' 7'", "-0", "7::smallint", "99999999999999999999", "70000::smallint", "'7'::text"],
    "ints": ["0", "-1", "2147483647", "2147483648", "-2147483648", "'2147483648'", "7.0", "'7'", "7::smallint",
             "1e0", "7.4::int", "true::int", "'0x7'", "+7", "-'7'", "NULL", "NULL::int"],
}


@statement_class("keys in many forms", weight=8)
def _(choose):
    name = choose.some(*LITERALS)
    literal = choose.some(*LITERALS[name])
    return choose.some(
        lambda: Step(f"SELECT * FROM {name} WHERE k = {literal}"),
        lambda: Step(f"SELECT v FROM {name} WHERE {literal} = {name}.k"),
        lambda: Step(f"UPDATE {name} SET v = v + 1 WHERE k = {literal} RETURNING *"),
        lambda: Step(f"DELETE FROM {name} WHERE k = {literal}"),
        lambda: Step(f"INSERT INTO {name} VALUES ({literal}, 50) ON CONFLICT DO NOTHING"),
        lambda: Step(f"INSERT INTO {name} (v, k) VALUES (51, {literal}) ON CONFLICT (k) DO UPDATE SET v = 52 "
                     f"RETURNING k, {name}.v"),
        lambda: Step(f"INSERT INTO {name} SELECT {literal}, 53"))()


@statement_class("constants in targets")
def _(choose):
    constants = ["1", "1.50", "'x'", "E'\\n'", "U&'d\\0061t'", "$$d$$", "B'101'", "X'1F'", "0x1F", "1_000", "NULL",
                 "true", "date '2024-01-01'", "interval '1 day'", "interval '90' minute", "'{1,2}'::int[]",
                 "ARRAY[1, 2]", "1::numeric(5, 2)", "'a'\n 'b'", "- 5", "5 % 3", "time '10:00'", "1e3", ".5", "5.",
                 "ROW(1, 'a')", "CAST('5' AS int)", "numeric '1.10'", "int4 '7'"]
    return Step(f"SELECT id, {choose.some(*constants)}, {choose.some(*constants)} /* a /* b */ c */ FROM users "
                f"WHERE score <> {choose.some('0', '0.0', chr(39) + '0' + chr(39))} -- end\n ORDER BY id", (), True)


# --- writes ---------------------------------------------------------------------------------------


@statement_class("insert", must_work=True, weight=3)
def _(choose):
    text = Text()
    values = ", ".join([text.value(choose.user()), text.value(choose.word(), "text"),
                        text.value(choose.some("DE", None), "text"), text.value(choose.number(), "integer")])
    return Step(f"INSERT INTO users (id, name, country, score) VALUES ({values})"
                + choose.some("", " RETURNING *", " RETURNING id, score + 1 AS next"), text.values)


@statement_class("upsert", must_work=True, weight=3)
def _(choose):
    text = Text()
    key, name, score = (text.value(choose.user()), text.value(choose.word(), "text"),
                        text.value(choose.number(), "integer"))
    return Step(f"INSERT INTO users AS u (id, name, score) VALUES ({key}, {name}, {score}) ON CONFLICT (id) " +
                choose.some("DO NOTHING", "DO UPDATE SET name = excluded.name",
                            "DO UPDATE SET score = u.score + 1 WHERE u.score > 2 RETURNING score"), text.values)


@statement_class("insert of many rows", weight=3)
def _(choose):
    text = Text()
    rows = ", ".join(f"({text.value(choose.some(5, 5, choose.user()))}, {text.value(choose.random.randint(4, 90))}, "
                     f"{text.value(choose.word(), 'text')}, 1)" for _ in range(choose.random.randint(1, 3)))
    return Step(f"INSERT INTO posts VALUES {rows} ON CONFLICT DO NOTHING", text.values)


@statement_class("update by key", must_work=True, weight=4)
def _(choose):
    text = Text()
    key = text.value(choose.user())
    what = choose.some("score = coalesce(score, 0) + 1", "name = nick, nick = left(name, 12)",
                       "seen = seen + interval '1 s'", "rate = rate * 1.5", "level = DEFAULT", "words = NULL")
    more = f" AND {choose.condition(text)}" if choose.chance(0.5) else ""
    return Step(f"UPDATE users SET {what} WHERE id = {key}{more}"
                + choose.some("", " RETURNING id, score, seen", " RETURNING *"), text.values)


@statement_class("delete by key", must_work=True)
def _(choose):
    text = Text()
    key = text.value(choose.user())
    return Step(choose.some(f"DELETE FROM users WHERE id = {key}", f"DELETE FROM users WHERE id = {key} RETURNING *",
                            f"DELETE FROM posts WHERE user_id = {key} AND id > 1",
                            f"DELETE FROM posts USING users u WHERE u.id = posts.user_id AND u.id = {key}"),
                text.values)


@statement_class("writes of reference tables", must_work=True, weight=3)
def _(choose):
    text = Text()
    code, people = text.value(choose.some("DE", "FR", "NL", "PL"), "text"), text.value(choose.number(), "integer")
    return Step(choose.some(
        f"INSERT INTO countries (code, name, people) VALUES ({code}, 'new', {people})",
        f"INSERT INTO countries (code, people) VALUES ({code}, {people}) ON CONFLICT (code) DO UPDATE SET people = 1",
        f"UPDATE countries SET people = {people} WHERE code = {code} RETURNING *",
        f"UPDATE countries SET people = people + {people} WHERE code <> {code}",
        f"DELETE FROM countries WHERE code = {code} AND people > {people}"), text.values)


@statement_class("clocks in reference tables")
def _(choose):
    moment = choose.some("clock_timestamp()", "'now'", "E'n\\x6fw'", "'no'\n'w'", "U&'n\\006fw'", "'today'",
                         "E'\\x74oday'", "$$now$$", "'2024-01-01 00:00+00'", "'now'::timestamptz", "'NOW'")
    if choose.chance(0.2):
        return Step("UPDATE countries SET since = $1::text::timestamptz", [Value("now", "text")])
    return Step(f"UPDATE countries SET since = {moment}")


@statement_class("updates of shard keys")
def _(choose):
    text = Text()
    old, new = text.value(choose.user()), text.value(choose.user())
    number = text.value(choose.number())
    return Step(choose.some(
        f"UPDATE posts SET user_id = {new}, likes = likes + {number} WHERE user_id = {old} AND id <> 2 RETURNING *",
        f"UPDATE posts AS p SET user_id = {new} WHERE p.user_id = {old} AND p.likes > {number} RETURNING p.body, upper(body)",
        f"UPDATE users SET name = 'moved', id = {new} WHERE id = {old} RETURNING id, noted, ratio, doc AS d",
        f"UPDATE users SET id = {new} WHERE id = {old}",
        f"UPDATE users SET id = {new}, nick = name || nick || 'longer than it may be' WHERE {old} = id",
        f"UPDATE users SET id = {new} WHERE id IN ({old}, 3)", f"UPDATE users SET id = {new} WHERE score > {number}",
        f"UPDATE users SET id = id + {number} WHERE id = {old}"),
        text.values)


@statement_class("one moment on all shards")
def _(choose):
    # What does not depend on when it runs.
    text = Text()
    number = text.value(choose.number())
    zero = choose.some("now() - CURRENT_TIMESTAMP", "transaction_timestamp() - pg_catalog.now()",
                       "LOCALTIMESTAMP - now()::timestamp", "localtime(2) - now()::time(2)",
                       "least(statement_timestamp() - now(), '0')")
    always = choose.some("CURRENT_DATE = now()::date", "current_timestamp(1) = now()::timestamptz(1)",
                         "CURRENT_TIME = now()::timetz", "statement_timestamp() >= now()")
    return Step(choose.some(
        f"UPDATE users SET span = {zero}, active = {always} WHERE score > {number} RETURNING id, span, active",
        f"UPDATE countries SET people = CASE WHEN {always} THEN people END, since = to_timestamp(0) + ({zero})",
        f"INSERT INTO users (id, span, active) VALUES ({choose.user()}, {zero}, {always}), (90, {zero}, {always}), "
        f"(91, '1 s', now() > now()) ON CONFLICT (id) DO UPDATE SET span = {zero}, score = {number}",
        f"DELETE FROM posts WHERE {always} AND likes > {number} RETURNING {zero} AS nothing, user_id"), text.values)


@statement_class("errors")
def _(choose):
    text = Text()
    key = text.value(choose.user())
    return Step(choose.some(
        f"UPDATE users SET score = 1 / (score - score) WHERE id = {key}", f"SELECT 1 / (id - {key}) FROM users",
        f"SELECT nothing FROM users WHERE id = {key}", f"SELECT nothing FROM users WHERE id <> {key}",
        f"SELECT * FROM nowhere WHERE id = {key}", f"SELECT id FROM users WHERE id = {key} AND",
        f"INSERT INTO users (id, nick) VALUES ({key}, 'longer than twelve')", f"SELECT id FROM users GROUP BY name, {key}",
        f"INSERT INTO users (id, id) VALUES ({key}, 1)", f"SELECT name FROM users, posts WHERE id = {key}",
        f"SELECT id FROM users ORDER BY nothing, {key}", f"SELECT nofunction(id) FROM users WHERE id = {key}"),
        text.values)


@statement_class("what may be refused", weight=8)
def _(choose):
    text = Text()
    a, b = text.value(choose.user()), text.value(choose.user())
    return Step(choose.some(
        f"SELECT id, name FROM users WHERE id IN ({a}, {b})", f"SELECT * FROM users WHERE id = {a} OR id = {b}",
        f"SELECT count(*) FROM users WHERE id <> {a} AND id <> {b}",
        f"SELECT country, count(*), avg(rate) FROM users WHERE id > {a} OR id = {b} GROUP BY country",
        f"SELECT DISTINCT country FROM users WHERE id NOT IN ({a}, {b})",
        f"SELECT u.id, v.id FROM users u, users v WHERE u.id = {a} AND v.id = {b}",
        f"SELECT id = {a}, id = {b} FROM users", f"SELECT * FROM users WHERE NOT id = {a} AND id <> {b}",
        f"SELECT count(*) FILTER (WHERE id = {a}), sum(score) FROM users WHERE id <> {b}",
        f"SELECT id, row_number() OVER (ORDER BY id) FROM users WHERE id > {a} AND id <> {b}",
        f"SELECT id FROM users WHERE id = {a} UNION SELECT id FROM users WHERE id = {b}",
        f"SELECT u.id, p.id FROM users u LEFT JOIN posts p ON p.user_id = u.id AND u.id = {a} WHERE u.id <> {b}",
        f"SELECT u.id, p.id FROM users u RIGHT JOIN posts p ON p.user_id = u.id AND p.user_id = {a} "
        f"WHERE p.user_id <> {b}",
        f"SELECT u.id, p.id FROM users u FULL JOIN posts p ON p.user_id = u.id AND u.id = {a} AND u.id <> {b}",
        f"SELECT id FROM users WHERE id IN (SELECT user_id FROM posts WHERE likes = {a} % 5) AND id <> {b}",
        f"SELECT id FROM users WHERE (SELECT max(likes) FROM posts WHERE user_id = {a}) > {b} % 4",
        f"SELECT c.code FROM countries c LEFT JOIN users u ON u.country = c.code AND u.id = {a} "
        f"WHERE u.id IS DISTINCT FROM {b}",
        f"UPDATE users SET score = score + 1 WHERE id IN ({a}, {b})", f"UPDATE users SET id = {a} WHERE id = {b}",
        f"DELETE FROM posts WHERE user_id > {a} AND user_id < {b} RETURNING user_id, id",
        f"DELETE FROM posts USING users WHERE users.id = {a} AND posts.user_id = {b}",
        f"INSERT INTO posts SELECT {a}, id + 200, body, likes FROM posts WHERE user_id = {b} ON CONFLICT DO NOTHING",
        f"WITH x AS (DELETE FROM posts WHERE user_id = {a} RETURNING *) SELECT count(*) FROM x, users WHERE id = {b}",
        f"MERGE INTO users u USING (SELECT {a} AS id) s ON u.id = s.id WHEN MATCHED THEN UPDATE SET score = {b}",
        f"SELECT * FROM users WHERE id = {a} AND id = {b}", f"SELECT * FROM users u NATURAL JOIN posts p WHERE id = {a} OR id = {b}",
        f"SELECT id FROM users WHERE id = {a} IS TRUE OR id = {b}", f"SELECT id FROM users WHERE id IS NOT DISTINCT FROM {a} AND id < {b}",
        f"SELECT * FROM users u RIGHT JOIN posts p USING (id) WHERE id = {a} AND user_id = {b}",
        f"SELECT * FROM posts p LEFT JOIN users u USING (id) WHERE id = {a} AND user_id = {b}"), text.values)


@statement_class("readers of text", weight=1)
def _(choose):
    query = "SELECT count(*) FROM users"
    return Step(choose.some(f"SELECT query_to_xml('{query}', false, false, '')", "SELECT table_to_xml('posts', true, true, '')",
                            "SELECT * FROM ts_stat('SELECT to_tsvector(body) FROM posts')",
                            f"SELECT n.id, query_to_xml('{query}', false, false, '') FROM notes n"))


@statement_class("other tables", must_work=True)
def _(choose):
    return Step(choose.some(
            "SELECT * FROM countries WHERE code > 'DF' ORDER BY code DESC", "SELECT count(*), max(people) FROM countries",
            "SELECT count(*) FROM notes JOIN countries ON code = 'DE'", "SELECT id, body FROM notes ORDER BY id DESC LIMIT 2",
            "UPDATE notes SET body = left(body || '!', 20) RETURNING id", "COPY countries (code, name) TO STDOUT",
            "COPY (SELECT id FROM notes ORDER BY id) TO STDOUT", "VALUES (1, 'x'), (2, NULL)", "SELECT 1, 'x', 1.5"))


# --- sequences of statements ----------------------------------------------------------------------


def simple_write(choose):
    text = Text()
    key = text.value(choose.user())
    return Step(choose.some(f"UPDATE users SET score = coalesce(score, 0) + 1 WHERE id = {key}",
                            f"INSERT INTO users (id) VALUES ({key})", f"DELETE FROM users WHERE id = {key}",
                            f"UPDATE users SET score = 1 / (score - score) WHERE id = {key}"), text.values)


def look(choose):
    text = Text()
    return choose.some(Step("SELECT id, name, score FROM users ORDER BY id", (), True),
                       Step(f"SELECT * FROM users WHERE id = {text.value(choose.user())}", text.values, True),
                       Step("SELECT * FROM countries ORDER BY code", (), True))


@statement_class("transactions", must_work=True, weight=6)
def _(choose):
    steps = [Step(choose.some("BEGIN", "begin", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ",
                              "BEGIN TRANSACTION READ WRITE", "BEGIN READ ONLY"))]
    for _ in range(choose.random.randint(1, 7)):
        name = choose.some("a", "b", '"A b"')
        steps += [choose.some(
            lambda: simple_write(choose), lambda: simple_write(choose), lambda: look(choose),
            lambda: Step(f"SAVEPOINT {name}"), lambda: Step(f"ROLLBACK TO {name}"),
            lambda: Step(f"ROLLBACK TO SAVEPOINT {name}"), lambda: Step(f"RELEASE {name}"),
            lambda: Step("UPDATE countries SET people = people + 1 WHERE code = 'DE'"),
            lambda: Step(f"SET LOCAL timezone = '{choose.some('Asia/Tokyo', 'UTC')}'"),
            lambda: Step("SELECT id, noted FROM users ORDER BY noted DESC, id LIMIT 3", (), True))()]
    steps.append(Step(choose.some("COMMIT", "COMMIT", "ROLLBACK", "END", "ABORT")))
    return steps


@statement_class("odd transactions", weight=2)
def _(choose):
    begin = choose.some("BEGIN ISOLATION LEVEL FOO", "BEGIN foo", "START TRANSACTION READ", "BEGIN", "BEGIN DEFERRABLE")
    end = choose.some("COMMIT", "COMMIT foo", "ROLLBACK foo", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "END WORK",
                      "COMMIT AND NO CHAIN", "SAVEPOINT a b", "RELEASE", "BEGIN", "SHOW transaction_isolation")
    return [Step(begin), simple_write(choose), Step(end), look(choose), Step("ROLLBACK"), look(choose)]


@statement_class("settings", weight=4)
def _(choose):
    name, value = choose.some(
        ("datestyle", "'SQL, DMY'"), ("datestyle", "German"), ("datestyle", "'Postgres, MDY'"), ("timezone", "'Asia/Kolkata'"),
        ("timezone", "'America/New_York'"), ("extra_float_digits", "0"), ("extra_float_digits", "-14"), ("extra_float_digits", "3"),
        ("bytea_output", "escape"), ("intervalstyle", "iso_8601"), ("search_path", "pristine"), ("search_path", "public"),
        ("standard_conforming_strings", "off"), ("client_encoding", "LATIN1"), ("row_security", "off"), ("jit", "off"))
    text = value.strip("'")
    change = choose.some(f"SET {name} = {value}", f"SET SESSION {name} TO {value}", f"SET LOCAL {name} = {value}",
                         f"SELECT set_config('{name}', '{text}', {choose.some('true', 'false')})",
                         f"SELECT pg_catalog.set_config('{name}', '{text}', false) FROM countries WHERE code = 'DE'",
                         f"UPDATE pg_settings SET setting = '{text}' WHERE name = '{name}'")
    column = choose.some("born", "seen", "noted", "ratio", "rough", "data", "name", "span")
    reads = choose.random.sample([
        Step(f"SELECT id, {column} FROM users ORDER BY {column if column != 'span' else 'id'} DESC, id", (), True),
        Step(f"SELECT id, {column} FROM users"), Step(f"SELECT {column} FROM users WHERE id = 4"),
        Step("SELECT count(*) FROM notes"), Step("SELECT k FROM words WHERE k = 'back\\slash'"),
        Step("SELECT k FROM days WHERE k = '2024-01-01'"), Step("SELECT k FROM instants WHERE k = '2024-01-01 00:00+00'")], 3)
    if choose.chance(0.5):
        return [Step("BEGIN"), Step(change), *reads, Step(choose.some("COMMIT", "ROLLBACK")), reads[0]]
    return [Step(change), *reads]


@statement_class("cursors")
def _(choose):
    return [Step("BEGIN"), Step("DECLARE c CURSOR FOR SELECT code FROM countries ORDER BY code"),
            Step(f"FETCH {choose.some('2', 'ALL', 'NEXT')} FROM c", (), True), look(choose), Step("FETCH 1 FROM c"),
            Step("CLOSE c"), Step("COMMIT")]


@statement_class("messages of several statements", ways=("simple",))
def _(choose):
    key = choose.user()
    one = choose.some(f"SELECT id FROM users WHERE id = {key}", "SELECT 1", "SELECT count(*) FROM countries",
                      f"UPDATE users SET score = 5 WHERE id = {key}", "SELECT id FROM users", "SET work_mem = '5MB'")
    two = choose.some(f"SELECT score FROM users WHERE id = {key}", "SELECT 1 / 0", ";", f"SELECT * FROM posts WHERE user_id = {key}")
    return Step(f"{one}; {two};")


@statement_class("what is not supported", weight=2)
def _(choose):
    return Step(choose.some(
        "TRUNCATE users", "LOCK users", "CREATE TABLE more (a int)", "DO $$ BEGIN DELETE FROM users; END $$", "CALL nothing()",
        "COPY users TO STDOUT", "COPY posts FROM STDIN", "CREATE TEMP TABLE users (id int)", "VACUUM users",
        "SELECT * INTO more FROM users", "EXPLAIN SELECT * FROM users", "SELECT * FROM users FOR UPDATE",
        "SELECT currval('x')", "SELECT ctid FROM users", "PREPARE p AS SELECT 1 FROM users",
        "DECLARE c CURSOR FOR SELECT * FROM users"))


# --- statements of several shards -----------------------------------------------------------------


def key_list(choose, text, column, keys, kind):
    """A condition: `column` is one of these."""
    values = [text.value(key, kind) for key in keys]
    array = "{" + ",".join('"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"' for key in keys) + "}"
    quoted = "'" + array.replace("'", "''") + "'"
    return choose.some(
        lambda: f"{column} IN ({', '.join(values)})",
        lambda: "(" + " OR ".join(f"{column} = {value}" for value in values) + ")",
        lambda: f"{column} = ANY ({text.value(array, kind + '[]')})",
        lambda: f"{column} = ANY ({quoted})",
        lambda: f"{column} = ANY ({quoted}::{kind}[])",
        lambda: f"({column} = {values[0]} OR {column} IN ({', '.join(values)}))")()


def some_users(choose):
    return [str(choose.user()) for _ in range(choose.random.randint(1, 4))]


@statement_class("lists of keys", must_work=True, weight=6)
def _(choose):
    text = Text()
    where = key_list(choose, text, "u.id", some_users(choose), "bigint")
    more = f" AND {choose.condition(text, 'u.')}" if choose.chance(0.3) else ""
    tables = choose.some("users u", "users u", "users u LEFT JOIN posts p ON p.user_id = u.id",
                         "posts p JOIN users u ON p.user_id = u.id", "users u JOIN countries c ON c.code = u.country")
    columns = "u.*" if tables == "users u" else "u.id, u.name, " + ("c.code" if "countries" in tables else "p.id AS post")
    order = choose.order("u.id" if "posts" not in tables else "u.id, p.id", ["u.score", "u.name", "u.noted"])
    return Step(f"SELECT {columns} FROM {tables} WHERE {where}{more}{order}{choose.window(text)}", text.values, True)


@statement_class("lists of keys of all types", weight=6)
def _(choose):
    text = Text()
    name, kind = choose.keyspace()
    keys = [choose.key_of(name) for _ in range(choose.random.randint(1, 3))]
    return Step(f"SELECT * FROM {name} WHERE {key_list(choose, text, 'k', keys, kind)}", text.values)


@statement_class("lists of literals", weight=4)
def _(choose):
    name = choose.some(*LITERALS)
    literals = [choose.some(*LITERALS[name]) for _ in range(choose.random.randint(1, 3))]
    return choose.some(
        lambda: Step(f"SELECT * FROM {name} WHERE k IN ({', '.join(literals)})"),
        lambda: Step(f"SELECT * FROM {name} WHERE k = ANY (ARRAY[{', '.join(literals)}])"),
        lambda: Step(f"SELECT * FROM {name} WHERE {' OR '.join(f'k = {one}' for one in literals)}"),
        lambda: Step(f"DELETE FROM {name} WHERE k IN ({', '.join(literals)})"))()


@statement_class("arrays in odd forms", weight=2)
def _(choose):
    array = choose.some("{}", "{1}", "{ 1 , 2 }", "{{1,2},{3,4}}", "[0:1]={5,6}", '{"1",2}', "{1,NULL,3}", "{null}", "{1,2",
                        "1,2", "", "{1,,2}", "{,}", "{1 2}", "{a}", "{\\1}", "{99999999999999999999}", "{1.5}", "{{1},{2,3}}",
                        " {7} ", "{7} x", '{"7"8}', '{"\\7"}', "{1}{2}", "{{}}", "[1:2]={1}", "{0x1}")
    text = Text()
    value = choose.some(lambda: f"'{array}'", lambda: f"'{array}'::bigint[]", lambda: f"'{array}'::int[]",
                        lambda: text.value(array, "bigint[]"), lambda: f"CAST({text.value(array, 'text')} AS bigint[])")()
    return Step(f"SELECT id, name FROM users WHERE id = ANY ({value})", text.values)


@statement_class("update of many", must_work=True, weight=5)
def _(choose):
    text = Text()
    what = choose.some("score = coalesce(score, 0) + 1", "name = nick, nick = left(name, 12)", "level = DEFAULT",
                       "seen = seen + interval '1 s'", f"rate = {text.value('1.5', 'numeric')}", "words = NULL")
    where = choose.some("", f" WHERE {choose.condition(text)}",
                        f" WHERE {key_list(choose, text, 'id', some_users(choose), 'bigint')}")
    return Step(f"UPDATE users SET {what}{where}" + choose.some("", " RETURNING id, score, seen", " RETURNING *"), text.values)


@statement_class("update from a join", weight=2)
def _(choose):
    text = Text()
    condition = choose.condition(text, "u.")
    return Step(choose.some(
        f"UPDATE posts p SET body = u.name FROM users u WHERE u.id = p.user_id AND {condition} RETURNING p.user_id, p.id, p.body",
        f"UPDATE users u SET nick = left(c.name, 5) FROM countries c WHERE c.code = u.country AND {condition}",
        f"DELETE FROM posts p USING users u WHERE p.user_id = u.id AND {condition} RETURNING *",
        f"DELETE FROM users u WHERE country IN (SELECT code FROM countries WHERE people > 70) AND {condition} RETURNING id",
        f"UPDATE users u SET nick = (SELECT left(c.name, 9) FROM countries c WHERE c.code = u.country) WHERE {condition}",
        f"INSERT INTO posts (user_id, id, body) SELECT u.id, 300, u.name FROM users u WHERE {condition} ON CONFLICT DO NOTHING",
        f"INSERT INTO posts SELECT p.user_id, p.id + 400, c.name FROM posts p JOIN users u ON u.id = p.user_id "
        f"JOIN countries c ON c.code = u.country WHERE {condition} RETURNING user_id, id, body",
        f"DELETE FROM users u USING posts p WHERE p.id = u.id AND {condition}"), text.values)


@statement_class("insert of what is selected", must_work=True, weight=5)
def _(choose):
    text = Text()
    condition = lambda: choose.condition(text, "u.")  # noqa: E731: its values belong to the text that is chosen
    shift = choose.some("u.id + 1000", "u.id * 3 + 500", "(u.id * 8.4 + 3000)::int")
    sound = "rate BETWEEN 0 AND 1000 AND "
    return Step(choose.some(
        lambda: f"INSERT INTO users ({choose.some('id, name, score', 'id, nick, level', 'id, name, small')}) SELECT {shift}, "
        f"{choose.some('u.nick', 'NULL')}, u.{choose.some('score', 'small')} FROM users u WHERE {sound}{condition()} "
        f"ON CONFLICT DO NOTHING{choose.some('', ' RETURNING id', ' RETURNING *')}",
        lambda: f"INSERT INTO posts SELECT {shift}, {choose.number(700, 709)}, u.name, {text.value(choose.number(), 'integer')} FROM users u "
        f"WHERE {sound}{condition()} ON CONFLICT (user_id, id) DO UPDATE SET body = 'again' RETURNING user_id, body",
        lambda: f"INSERT INTO users (id, noted, doc, words, rate) SELECT u.id + 4000, u.noted, u.doc, u.words, u.rate FROM users u "
        f"WHERE {condition()} ON CONFLICT (id) DO UPDATE SET rate = excluded.rate + 1",
        lambda: f"INSERT INTO posts (user_id, id, body) SELECT g, 800, 'x' || g FROM generate_series({choose.number(1, 9)}, "
        f"{choose.number(5, 40)}) g ON CONFLICT DO NOTHING RETURNING *",
        lambda: f"INSERT INTO countries (code, people) SELECT 'c' || u.id, u.score FROM users u WHERE {condition()} "
        f"ON CONFLICT (code) DO {choose.some('NOTHING', 'UPDATE SET people = 1')} RETURNING code",
        lambda: f"INSERT INTO notes SELECT u.id + 100, u.name FROM users u WHERE {condition()} ON CONFLICT DO NOTHING RETURNING id",
        lambda: f"INSERT INTO users (id, name) SELECT people + 5000, name FROM countries ON CONFLICT DO NOTHING RETURNING id, name",
        lambda: f"INSERT INTO posts (user_id, id, body) SELECT {choose.user()}, u.id + 900, u.name FROM users u WHERE u.id = "
        f"{text.value(choose.user())} ON CONFLICT DO NOTHING")(), text.values)


@statement_class("delete of many", must_work=True, weight=3)
def _(choose):
    text = Text()
    where = choose.some(f" WHERE likes = {text.value(choose.number(0, 4), 'integer')}",
                        f" WHERE {key_list(choose, text, 'user_id', some_users(choose), 'bigint')}")
    return Step(f"DELETE FROM posts{where}" + choose.some("", " RETURNING *", " RETURNING id AS post, user_id"), text.values)


@statement_class("errors of several shards", weight=2)
def _(choose):
    text = Text()
    key = text.value(choose.user())
    return Step(choose.some(f"UPDATE users SET score = 1 / (id - {key})", f"UPDATE users SET nick = repeat('x', ({key} % 30)::int)",
                            f"UPDATE posts SET id = {key} WHERE user_id > 3", f"DELETE FROM users WHERE 1 / (id - {key}) > 5",
                            f"UPDATE users SET nothing = {key}",
                            f"INSERT INTO users (id, score) VALUES (100 + {key}, 1), (91, 1 / 0), (92, 3)",
                            f"INSERT INTO users (id, score) VALUES ({key}, 1), (91, 2), (92, 3)"), text.values)


def rows_of_posts(choose, text):
    return ", ".join(f"({text.value(choose.user())}, {text.value(choose.random.randint(4, 900), 'integer')}, "
                     f"{text.value(choose.word(), 'text')}, {choose.some('1', 'DEFAULT', 'NULL', '-2', '1 + 1')})"
                     for _ in range(choose.random.randint(2, 7)))


@statement_class("rows of several shards", weight=6, ways=("simple",))
def _(choose):
    text = Text()
    rows = rows_of_posts(choose, text)
    after = choose.some("", "", " ON CONFLICT DO NOTHING", " ON CONFLICT (user_id, id) DO UPDATE SET likes = 3")
    # Rows that are left out leave the others in any order.
    return Step(f"INSERT INTO posts VALUES {rows}{after}"
                + choose.some("", " RETURNING *", " RETURNING id, user_id, likes + 1 AS more"), text.values,
                "DO NOTHING" not in after)


@statement_class("transactions of several shards", weight=4)
def _(choose):
    steps = [Step("BEGIN")]
    for _ in range(choose.random.randint(1, 4)):
        text = Text()
        steps += [choose.some(
            lambda: simple_write(choose), lambda: look(choose), lambda: Step("SAVEPOINT a"), lambda: Step("ROLLBACK TO a"),
            lambda: Step("UPDATE users SET score = coalesce(score, 0) + 1"),
            lambda: Step("DELETE FROM posts WHERE likes = 2 RETURNING *"),
            lambda: Step(f"UPDATE users SET score = 1 / (id - {text.value(choose.user())})", text.values),
            lambda: Step(f"INSERT INTO users (id, score) VALUES ({text.value(choose.user())}, 1), (95, 2), (96, 3)",
                         text.values))()]
    return [*steps, Step(choose.some("COMMIT", "COMMIT", "ROLLBACK")), look(choose)]


@statement_class("prepared rows of several shards", weight=5)
def _(choose):
    text = Text()
    count = choose.random.randint(2, 5)
    extra = choose.some("1", "NULL", "-2")  # the same in all rows, mostly
    rows = ", ".join(f"({text.value(choose.user())}, {text.value(choose.random.randint(4, 900), 'integer')}, "
                     f"{text.value(choose.some('a', 'b', None), 'text')}, {extra if choose.chance(0.8) else '7'})"
                     for _ in range(count))
    after = choose.some(lambda: "", lambda: " ON CONFLICT DO NOTHING",
                        lambda: f" ON CONFLICT (user_id, id) DO UPDATE SET body = {text.value('upserted', 'text')}")()
    return Step(f"INSERT INTO posts (user_id, id, body, likes) VALUES {rows}{after}"
                + choose.some("", " RETURNING *", " RETURNING id, user_id, likes + 1 AS more"), text.values,
                "DO NOTHING" not in after)


@statement_class("messages over shards", must_work=True, weight=4, ways=("simple",))
def _(choose):
    key = choose.user
    steps = [choose.some(
        f"SELECT id, score FROM users WHERE id = {key()}", "SELECT id, score FROM users ORDER BY id LIMIT 3",
        f"UPDATE users SET score = {choose.number()} WHERE id = {key()}", "UPDATE users SET score = coalesce(score, 0) + 1",
        f"DELETE FROM posts WHERE user_id = {key()} RETURNING user_id", "UPDATE countries SET people = people + 1 WHERE code = 'DE'",
        f"INSERT INTO users (id, score) VALUES ({key()}, 1)", "SELECT count(*) FROM countries", "SELECT 1 AS one", "SELECT 1 / 0",
        f"SELECT id FROM users WHERE id IN ({key()}, {key()}) ORDER BY id", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a",
        "ROLLBACK TO a", "SELECT nothing", "SELECT id FROM nowhere",
        "INSERT INTO users (id, score) VALUES (91, 1), (92, 2), (93, 3) ON CONFLICT DO NOTHING")
        for _ in range(choose.random.randint(2, 5))]
    steps = choose.some([], [], [], ["BEGIN ISOLATION LEVEL REPEATABLE READ"]) + steps
    return [Step("; ".join(steps), (), True), Step("SELECT id, score FROM users ORDER BY id", (), True), Step("ROLLBACK"),
            Step("SELECT id, score FROM users ORDER BY id", (), True)]
