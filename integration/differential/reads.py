"""Classes that only read, and may be any SELECT: what one server answers is what the shards must answer. Written
from that contract alone, over the tables of queries.py."""

import re

from differential.client import Value, inlined
from differential.generator import Step, Text, statement_class
from differential.queries import COLLATIONS, LETTERS, Writer, any_source, choose_order, derived, joined_tables, linked, one_table, table
from differential.world import NAMES

READS = []
NAMED = [*(name.replace("''", "'") for name in NAMES), "nobody"]
QUOTED_COLLATIONS = [*COLLATIONS, '"en_US.utf8"']


def reading(name):
    """A class of one SELECT: a function that returns (text, whether its order is total)."""
    def add(make):
        def made(choose):
            text = Text()
            return step(text, *make(choose, text))
        READS.append(made)
        return statement_class(name, reads=True, weight=5)(made)
    return add


def step(text, sql, ordered):
    """Of the parameters, those that came to be used."""
    used = list(dict.fromkeys(int(number) for number in re.findall(r"\$(\d+)", sql)))
    numbers = {old: new for new, old in enumerate(used, 1)}
    return Step(re.sub(r"\$(\d+)", lambda found: f"${numbers[int(found[1])]}", sql), [text.values[old - 1] for old in used], ordered)


def writers(text, choose, *names):
    return [Writer(choose, table(name, LETTERS[name]), text) for name in names]


# --- aggregates -----------------------------------------------------------------------------------


@reading("aggregates")
def _(choose, text):
    return Writer(choose, one_table(choose), text).grouped()


@reading("aggregates of joins")
def _(choose, text):
    return Writer(choose, choose.some(joined_tables, joined_tables, derived)(choose, text), text).grouped()


@reading("aggregates of nothing")
def _(choose, text):
    writer = Writer(choose, one_table(choose, "items", "events", "voids", "visits"), text)
    aggregates = ", ".join(choose.some(writer.aggregate, writer.over_aggregates)() for _ in range(choose.number(1, 4)))
    key = writer.source.keys[0]
    nothing = choose.some("false", f"{key} IS NULL", "1 = 2", f"{key} IS NULL AND {writer.condition()}", f"{writer.condition()} AND NULL")
    group = choose.some("", "", "", f" GROUP BY {key}", " GROUP BY ()", f" GROUP BY GROUPING SETS (({key}), ())")
    having = choose.some("", "", " HAVING count(*) = 0", " HAVING count(*) > 0", " HAVING true", " HAVING NULL")
    return f"{writer.select(aggregates)} WHERE {nothing}{group}{having}", False


# --- distinct and sets ----------------------------------------------------------------------------


@reading("distinct")
def _(choose, text):
    writer = Writer(choose, any_source(choose, text), text)
    targets = [writer.anything() for _ in range(choose.number(1, 3))]
    select = lambda listed: writer.select(listed) + writer.where()  # noqa: E731
    form = choose.some("plain", "plain", "plain", "on", "on", "grouped", "star")
    if form == "on":
        on = [choose_order(writer) for _ in range(choose.number(1, 2))]
        order = ", ".join([*(each + writer.direction() for each in on), writer.total()])
        listed = f"DISTINCT ON ({', '.join(on)}) " + ", ".join([*targets, *writer.source.keys])
        return f"{select(listed)} ORDER BY {order}{writer.limit()}", True
    if form == "grouped":
        group = writer.integer()
        return (f"{select(f'DISTINCT {group}, count(*)')} GROUP BY {group}, {writer.words()} ORDER BY 2{writer.direction()}, 1"
                f"{writer.direction()}{writer.limit()}"), True
    if form == "star" and len(writer.source.tables) == 1 and "citext" not in writer.source.columns:
        return select("DISTINCT *"), False
    sql = select(f"DISTINCT {', '.join(targets)}")
    if choose.chance(0.5):
        return sql, False
    ordinals = choose.random.sample(range(1, len(targets) + 1), len(targets))
    return f"{sql} ORDER BY {', '.join(str(each) + writer.direction() for each in ordinals)}{writer.limit()}", True


# Columns that may stand below each other: where equal, they are written alike.
STACKED = {"int": ("items.n", "events.n", "people.age", "visits.minutes", "users.score", "posts.likes", "voids.n", "cities.inhabitants"),
           "bigint": ("items.id", "items.parent", "events.item_id", "people.item", "visits.item", "users.id", "posts.user_id", "voids.id"),
           "text": ("items.kind", "items.owner", "events.who", "events.kind", "people.name", "people.boss", "visits.who", "cities.name",
                    "grades.title", "voids.kind"),
           "numeric": ("items.price", "items.amount", "events.price", "people.pay", "visits.spent", "voids.price", "grades.weight"),
           "date": ("items.day", "visits.day", "people.joined"),
           "mood": ("items.mood", "people.mood", "grades.mood")}


def stacked(name, kind):
    return [column for column in STACKED[kind] if column.startswith(name + ".")]


def arm(choose, text, kinds, depth):
    """One SELECT of columns of these kinds, or sets of them."""
    if depth and choose.chance(0.35):
        return f"({set_of(choose, text, kinds, depth - 1)})"
    if choose.chance(0.12):
        types = ["numeric(8, 2)" if kind == "numeric" else kind for kind in kinds]
        return "VALUES " + ", ".join(
            "(" + ", ".join(f"{choose.some(Writer(choose, None, text).constant(kind), 'NULL')}::{type_}" for kind, type_ in zip(kinds, types)) + ")"
            for _ in range(choose.number(1, 3)))
    writer = Writer(choose, table(choose.some(*[name for name in LETTERS if all(stacked(name, kind) for kind in kinds)])), text)
    name = writer.source.text
    columns = ", ".join(choose.some(*stacked(name, kind)) for kind in kinds)
    select = f"{columns} FROM {name}{writer.where()}"
    return choose.some(
        lambda: f"SELECT {select}", lambda: f"SELECT {select}", lambda: f"SELECT {select}", lambda: f"SELECT DISTINCT {select}",
        lambda: f"(SELECT {select} ORDER BY {writer.total()} LIMIT {choose.number(0, 9)})", lambda: f"SELECT {select} GROUP BY {columns}")()


def set_of(choose, text, kinds, depth=1):
    sql = arm(choose, text, kinds, depth)
    for _ in range(choose.some(1, 1, 1, 2)):
        sql += choose.some(" UNION ", " UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT ", " EXCEPT ALL ", " INTERSECT ALL ", " UNION DISTINCT ")
        sql += arm(choose, text, kinds, depth)
    return sql


@reading("sets")
def _(choose, text):
    kinds = choose.some(["int"], ["bigint"], ["text"], ["numeric"], ["date"], ["mood"], ["text", "int"], ["text", "numeric"],
                        ["bigint", "int"], ["text", "bigint"], ["date", "int"], ["mood", "text"], ["bigint", "text", "int"])
    sql = set_of(choose, text, kinds)
    writer = Writer(choose, None, text)
    if choose.chance(0.15):
        return f"SELECT count(*), {choose.some('min', 'max', 'count')}(a) FROM ({sql}) sets (a)", False
    if choose.chance(0.1):
        sql = f"WITH sets AS ({sql}) SELECT * FROM sets"
    if choose.chance(0.4):
        return sql, False
    order = ", ".join(f"{number}{writer.direction()}" for number in choose.random.sample(range(1, len(kinds) + 1), len(kinds)))
    return f"{sql} ORDER BY {order}{writer.limit()}", True


# --- joins ----------------------------------------------------------------------------------------


@reading("joins")
def _(choose, text):
    writer = Writer(choose, joined_tables(choose, text), text)
    targets = choose.some(", ".join([*(writer.anything() for _ in range(choose.number(0, 3))), *writer.source.keys]), "*", "count(*)")
    sql = writer.select(targets) + writer.where(0.5)
    if targets == "count(*)" or choose.chance(0.3):
        return sql, False
    return sql + writer.order() + writer.limit(), True


@reading("joins in other forms")
def _(choose, text):
    items, events, people, visits = writers(text, choose, "items", "events", "people", "visits")
    outer = choose.some("", "LEFT ", "RIGHT ", "FULL ")
    few = choose.number(1, 4)
    sql, total = choose.some(
        lambda: (f"SELECT * FROM (SELECT id, mood, owner AS name FROM items) i NATURAL {outer}JOIN (SELECT name, mood, age FROM people) p", None),
        lambda: (f"SELECT * FROM (SELECT id, mood, owner AS name FROM items) i {outer}JOIN people p USING ({choose.some('mood', 'mood, name', 'name')})", None),
        lambda: (f"SELECT mood, count(*), min(i.id) FROM items i {outer}JOIN grades g USING (mood) GROUP BY mood", None),
        lambda: (f"SELECT kind, i.n, e.n FROM items i {outer}JOIN events e USING (kind) WHERE {items.condition()}", None),
        lambda: (f"SELECT i.kind, e.kind AS other FROM items i, events e WHERE i.n = e.n AND {items.condition()} AND {events.condition()}", None),
        lambda: (f"SELECT i.id, c.name FROM items i CROSS JOIN cities c WHERE {items.condition()}", "i.id, c.name"),
        lambda: (f"SELECT count(*), sum(i.n), min(p.pay) FROM items i, people p, grades g WHERE {items.condition()}", None),
        lambda: (f"SELECT i.id, x.no, x.kind FROM items i {choose.some('CROSS JOIN {}', 'LEFT JOIN {} ON true', 'JOIN {} ON x.n > 1')}".format(
            f"LATERAL (SELECT * FROM events e WHERE e.n = i.n ORDER BY {events.total()} LIMIT {few}) x"), "i.id, x.item_id, x.no"),
        lambda: (f"SELECT p.name, x.total FROM people p, LATERAL (SELECT count(*) AS total, sum(i.price) FROM items i WHERE i.owner = p.name AND "
                 f"{items.condition()}) x WHERE {people.condition()}", "p.name"),
        lambda: (f"SELECT i.id, g FROM items i, generate_series(1, i.small) g WHERE {items.condition()}", "i.id, g"),
        lambda: (f"SELECT i.id, t, place FROM items i, unnest(i.tags) WITH ORDINALITY AS tag (t, place) WHERE {items.condition()}", "i.id, place"),
        lambda: (f"SELECT d::date, count(v.no) FROM generate_series(timestamp '2024-01-01', '2024-01-20', '1 day') d LEFT JOIN visits v "
                 f"ON v.day = d::date AND {visits.condition()} GROUP BY 1", None),
        lambda: (f"SELECT id, mark, n FROM items i JOIN (VALUES (1, 'x'), (7, 'y'), (7, 'z')) w (id, mark) USING (id) WHERE {items.condition()}", "id, mark"),
        lambda: (f"SELECT p.name, q.name AS boss, r.name AS top FROM people p LEFT JOIN people q ON q.name = p.boss LEFT JOIN people r "
                 f"ON r.name = q.boss AND {choose.some('r.age > 30', 'q.age > 30', 'p.age > 30')} WHERE {people.condition()}", "p.name"),
        lambda: (f"SELECT i.id, e.no, v.day, v.spent FROM (items i JOIN events e ON e.item_id = i.id) {outer}JOIN (people p JOIN visits v ON v.who = p.name) "
                 f"ON p.name = i.owner WHERE {choose.some(items, people, visits).condition()}", "i.id, e.no, p.name, v.day, v.no"),
        lambda: (f"SELECT i.id, j.id AS other FROM items i, items j WHERE i.word < j.word AND i.id = {items.constant('bigint')}", "i.id, j.id"),
        lambda: (f"SELECT i.id, p.name FROM items i LEFT JOIN people p ON {choose.some('p.age > i.n * 5', 'p.nick = i.nick', 'p.name > i.kind')} "
                 f"AND p.name = {people.constant('text')}", "i.id, p.name"),
        lambda: (f"SELECT u.id, n.body, c.name FROM users u LEFT JOIN notes n ON n.id = u.score LEFT JOIN countries c ON c.code = u.country", "u.id"),
        # Joins with names of their own.
        lambda: (f"SELECT j.id, j.no, who FROM (items i {outer}JOIN events e ON e.n = i.n) AS j WHERE {choose.some('j.amount > 1', 'who > $$c$$', 'word < $$e$$')}", None)
        if choose.chance(0.3) else (f"SELECT j.owner, j.no FROM (items i {outer}JOIN events e ON e.item_id = i.id AND {items.condition()}) AS j", None),
        lambda: (f"SELECT a, count(*), max(b) FROM (blog.items b {outer}JOIN people p ON b.owner = p.boss) AS j (a, id, b) WHERE id > {few} GROUP BY a", None),
        lambda: (f"SELECT {choose.some('j.*', 'j::text', 'count(j)', 'j.mood')} FROM (people p {outer}JOIN grades g USING (mood)) AS j", None),
        lambda: (f"SELECT x.mood, p.age, g.title FROM people p {outer}JOIN grades g USING (mood) AS x WHERE p.age > {few}", None))()
    if not total or choose.chance(0.3):
        return sql, False
    return f"{sql} ORDER BY {total}{items.limit()}", True


# --- subqueries -----------------------------------------------------------------------------------


def outer_writer(choose, text):
    """Over tables with aliases that subqueries can name."""
    name = choose.some("items", "items", "people", "events", "visits", "users")
    return Writer(choose, table(name, LETTERS[name]) if choose.chance(0.8) else joined_tables(choose, text, 2), text)


def inner_of(choose, outer):
    """Over a table that is linked to one of the outer's: (writer, condition)."""
    while True:
        alias, name = choose.some(*outer.source.tables)
        source, condition = linked(choose, name, alias)
        if source.tables[0][0] not in [taken for taken, _ in outer.source.tables]:
            break
    writer = Writer(choose, source, outer.text)
    return writer, choose.some(condition, condition, condition, f"{condition} AND {writer.condition()}", writer.condition())


def truth(choose, outer):
    """A condition with a subquery."""
    inner, link = inner_of(choose, outer)
    source = inner.source.text
    kinds = [kind for kind in ("int", "bigint", "text", "mood", "date", "numeric") if inner.kinds(kind) and outer.kinds(kind)]
    kind = choose.some(*kinds) if kinds else None
    one, other = (outer.column(kind), inner.column(kind)) if kind else ("1", "1")
    compared = choose.some("<", "<=", "=", "<>", ">")
    return choose.some(
        lambda: f"{choose.some('', '', 'NOT ')}EXISTS (SELECT {choose.some('1', '*', '', other)} FROM {source} WHERE {link})",
        lambda: f"{choose.some('', '', 'NOT ')}EXISTS (SELECT {choose.some('1', '*', '', other)} FROM {source} WHERE {link})",
        lambda: f"{one} {choose.some('IN', 'IN', 'NOT IN')} (SELECT {other} FROM {source}{inner.where()})",
        lambda: f"{one} {choose.some('IN', 'NOT IN')} (SELECT {other} FROM {source} WHERE {link})",
        lambda: f"{one} {compared} {choose.some('ANY', 'ALL', 'SOME')} (SELECT {other} FROM {source} WHERE {link})",
        lambda: f"{one} {compared} (SELECT {choose.some('min', 'max')}({other}) FROM {source} WHERE {link})",
        lambda: f"(SELECT {inner.amount()} FROM {source} WHERE {link}) > {inner.constant('int')}",
        lambda: f"{one} = ANY (ARRAY(SELECT {other} FROM {source}{inner.where()}))",
        lambda: f"(SELECT count(*) FROM {source} WHERE {link}) {compared} 2",
        lambda: f"({one}, 1) IN (SELECT {other}, {choose.some(1, 'count(*)')} FROM {source} WHERE {link} GROUP BY 1)",
        lambda: f"{one} IN (SELECT {other} FROM {source} WHERE {link} ORDER BY {inner.total()} LIMIT 3)")()


def scalar(choose, outer):
    """An expression with a subquery."""
    inner, link = inner_of(choose, outer)
    source = inner.source.text
    column = inner.column(*[kind for kind in inner.kinds() if kind not in ("citext",)])
    return choose.some(
        lambda: f"(SELECT {inner.aggregate()} FROM {source} WHERE {link})", lambda: f"(SELECT {inner.over_aggregates()} FROM {source} WHERE {link})",
        lambda: f"(SELECT {column} FROM {source} WHERE {link} ORDER BY {inner.total()} LIMIT 1)",
        lambda: f"(SELECT {column} FROM {source} WHERE {link} ORDER BY {inner.total()} OFFSET 1 LIMIT 1)",
        lambda: f"cardinality(ARRAY(SELECT {column} FROM {source} WHERE {link}))",
        lambda: f"(SELECT count(*) FROM (SELECT {column} FROM {source} WHERE {link} LIMIT {choose.number(0, 3)}) few)",
        lambda: f"coalesce((SELECT sum({inner.integer()}) FROM {source} WHERE {link}), 0) + 1",
        lambda: f"CASE WHEN {truth(choose, outer)} THEN 'yes' ELSE 'no' END")()


@reading("subqueries in conditions")
def _(choose, text):
    writer = outer_writer(choose, text)
    keys = ", ".join(writer.source.keys)
    shown = choose.some(keys, f"{keys}, {writer.anything()}", f"{writer.anything()}, 1 AS one")
    more = choose.some("", "", f" AND {writer.condition()}", f" OR {writer.condition()}", f" AND {truth(choose, writer)}")
    sql = f"{writer.select(shown)} WHERE {truth(choose, writer)}{more}"
    if choose.chance(0.3):
        return sql, False
    return sql + writer.order() + writer.limit(), True


@reading("subqueries elsewhere")
def _(choose, text):
    writer = outer_writer(choose, text)
    keys = ", ".join(writer.source.keys)
    a_scalar, a_truth = (lambda: scalar(choose, writer)), (lambda: truth(choose, writer))
    select = lambda listed: writer.select(listed) + writer.where()  # noqa: E731
    return choose.some(
        lambda: (select(f"{keys}, {a_scalar()} AS found"), False),
        lambda: (select(f"{keys}, {a_scalar()} AS found, {a_scalar()}") + writer.order() + writer.limit(), True),
        lambda: (select(f"{keys}, {a_truth()}"), False),
        lambda: (select(f"count(*), count(*) FILTER (WHERE {a_truth()})"), False),
        lambda: (select(f"sum(CASE WHEN {a_truth()} THEN 1 ELSE 0 END)"), False),
        lambda: (select(keys) + f" ORDER BY ({a_scalar()})::text{writer.direction()}, {keys}{writer.limit()}", True),
        lambda: (f"SELECT found, count(*) FROM ({select(f'({a_scalar()})::text AS found')}) x GROUP BY found", False),
        lambda: (select(f"{writer.integer()} AS a, count(*)") + f" GROUP BY 1 HAVING count(*) > (SELECT count(*) + {choose.number(0, 2)} FROM voids)", False),
        lambda: (f"{writer.select(keys)} WHERE {writer.integer()} = (SELECT max(n) FROM {choose.some('items', 'events', 'voids')})", False))()


@reading("common table expressions")
def _(choose, text):
    items, events, people, visits = writers(text, choose, "items", "events", "people", "visits")
    kept = choose.some("", "", " MATERIALIZED", " NOT MATERIALIZED")
    depth, either = choose.number(1, 4), choose.some("UNION", "UNION ALL")
    return choose.some(
        lambda: (f"WITH a AS{kept} ({items.select('i.id, i.kind, i.n')}{items.where()}), b AS{kept} (SELECT kind, count(*) AS c FROM a GROUP BY kind) "
                 "SELECT a.id, b.c FROM a JOIN b ON b.kind = a.kind", False),
        lambda: (f"WITH a AS{kept} ({items.select('i.id, i.owner')}{items.where()}) SELECT p.name, (SELECT count(*) FROM a WHERE a.owner = p.name) "
                 "FROM people p ORDER BY 2 DESC, 1", True),
        lambda: (f"WITH a AS{kept} ({items.select('i.n')}{items.where()}), b AS ({events.select('e.n')}{events.where()}) "
                 "SELECT (SELECT count(*) FROM a), (SELECT sum(n) FROM b), (SELECT count(*) FROM a JOIN b USING (n))", False),
        lambda: (f"WITH RECURSIVE up (id, parent, depth) AS (SELECT i.id, i.parent, 0 FROM items i WHERE {items.condition()} {either} "
                 f"SELECT i.id, i.parent, depth + 1 FROM items i JOIN up ON up.parent = i.id WHERE depth < {depth}) SELECT * FROM up", False),
        lambda: (f"WITH RECURSIVE chain AS (SELECT p.name, boss, p.name AS path FROM people p WHERE {people.condition()} UNION ALL SELECT p.name, p.boss, "
                 f"chain.path || '>' || p.name FROM people p JOIN chain ON p.boss = chain.name) SELECT path, length(path) FROM chain ORDER BY path "
                 f'COLLATE "C"{items.limit()}', True),
        lambda: ("WITH RECURSIVE down AS (SELECT id, kind FROM items i WHERE parent IS NULL UNION ALL SELECT i.id, i.kind FROM items i, down WHERE "
                 "i.parent = down.id) SELECT kind, count(*) FROM down GROUP BY kind", False),
        lambda: (f"WITH RECURSIVE t (n) AS (VALUES (1) {either} SELECT n + 1 FROM t WHERE n < {depth + 3}) SELECT t.n, count(e.no) FROM t LEFT JOIN "
                 f"events e ON e.n = t.n AND {events.condition()} GROUP BY t.n ORDER BY 1", True),
        lambda: (f"WITH RECURSIVE tree AS (SELECT id, parent FROM items WHERE id = {items.constant('bigint')} UNION ALL SELECT c.id, c.parent FROM items c "
                 f"JOIN tree t ON c.parent = t.id) SEARCH {choose.some('DEPTH', 'BREADTH')} FIRST BY id SET place CYCLE id SET looped USING path "
                 "SELECT id, parent, looped FROM tree ORDER BY id", True),
        lambda: (f"WITH items AS (SELECT id, kind FROM items WHERE id > {items.constant('bigint')}) SELECT kind, count(*) FROM items GROUP BY kind", False),
        lambda: ("WITH people AS (SELECT 1 AS name) SELECT * FROM people, (WITH people AS (SELECT 2 AS n) SELECT * FROM people) x", False),
        lambda: (f"WITH daily AS{kept} (SELECT v.who, sum(v.spent) AS spent FROM visits v{visits.where()} GROUP BY v.who), rich AS (SELECT name FROM "
                 f"people p WHERE {people.condition()}) SELECT who, spent FROM daily WHERE who IN (SELECT name FROM rich) ORDER BY spent DESC, who", True),
        lambda: (f"SELECT * FROM (WITH x AS{kept} (SELECT max(i.n) AS m FROM items i{items.where()}) SELECT m FROM x UNION ALL SELECT m + 1 FROM x) y", False),
        lambda: (f"WITH x AS{kept} (SELECT * FROM people WHERE name = {people.constant('text')}) SELECT count(*) FROM items WHERE owner IN (SELECT name "
                 "FROM x)", False))()


@reading("keys in odd places")
def _(choose, text):
    """What pins a part of a statement does not pin the rest."""
    a, b, name = text.value(choose.number(1, 44)), text.value(choose.number(1, 44)), text.value(choose.some(*NAMED), "text")
    return choose.some(
        f"SELECT id FROM items WHERE id = {a} UNION ALL SELECT item FROM people", f"SELECT id FROM items UNION SELECT id FROM items WHERE id = {a}",
        f"SELECT count(*) FROM items WHERE EXISTS (SELECT 1 FROM events WHERE item_id = {a})",
        f"SELECT id, (SELECT max(n) FROM items WHERE id = {a}) FROM items", f"SELECT count(*) FILTER (WHERE id = {a}), count(*) FROM items",
        f"SELECT sum(CASE WHEN id = {a} THEN n ELSE 1 END) FROM items", f"SELECT kind, CASE WHEN id = {a} THEN 1 END FROM items",
        f"SELECT i.id, e.no FROM items i LEFT JOIN events e ON e.item_id = i.id AND i.id = {a}",
        f"SELECT i.id, e.no FROM items i RIGHT JOIN events e ON e.item_id = i.id AND e.item_id = {a}",
        f"SELECT i.id, p.name FROM items i FULL JOIN people p ON p.name = i.owner AND i.id = {a}",
        f"SELECT sum(n), count(*) FROM items WHERE id IN ({a}, {b})", f"SELECT avg(price) FROM items WHERE id IN ({a}, {b}, 3)",
        f"SELECT min(kind) FROM items WHERE id = {a} OR kind = 'a'", f"SELECT count(*) FROM items WHERE NOT id = {a}",
        f"SELECT count(*) FROM items WHERE (id = {a}) IS NOT TRUE", f"SELECT count(*) OVER (), id FROM items WHERE id IN ({a}, {b})",
        f"SELECT count(*) OVER () FROM items LIMIT 2", "SELECT 1 FROM items LIMIT 3", "SELECT 'x' FROM items OFFSET 38",
        "SELECT count(*) FROM (SELECT * FROM items LIMIT 5) few", f"SELECT kind, count(*) FROM items GROUP BY kind ORDER BY 2 DESC, 1 LIMIT 2",
        f"SELECT count(*) FROM items i JOIN people p ON p.item = i.id WHERE i.id = {a}", f"SELECT * FROM visits v, people p WHERE v.who = p.name AND p.name = {name}",
        f"SELECT * FROM people p, items i WHERE p.name = {name} AND i.id = {a}", f"SELECT count(*) FROM people WHERE name = {name} OR boss = {name}",
        f"SELECT name FROM people WHERE name IN (SELECT owner FROM items WHERE id = {a})",
        f"SELECT name FROM people WHERE (SELECT n FROM items WHERE id = {a}) > 0", f"WITH x AS (SELECT * FROM items WHERE id = {a}) SELECT count(*) FROM items, x",
        f"SELECT id FROM items WHERE id = {a} INTERSECT SELECT item FROM visits", f"SELECT item FROM visits EXCEPT SELECT id FROM items WHERE id = {a}",
        f"SELECT x.id FROM items x WHERE x.id > ALL (SELECT item_id FROM events WHERE item_id = {a})", f"SELECT max(n) FROM items HAVING max(id) = {a}",
        f"SELECT id FROM items GROUP BY id HAVING id = {a}", f"SELECT count(*) FROM items GROUP BY id = {a}", f"SELECT DISTINCT id = {a} FROM items",
        f"SELECT id = {a} AS hit, count(*) FROM items GROUP BY hit", f"SELECT id FROM items ORDER BY id = {a} DESC, id LIMIT 1",
        f"SELECT rank() OVER (PARTITION BY id = {a} ORDER BY n), n FROM items", f"SELECT (SELECT count(*) FROM events e WHERE e.item_id = i.parent) FROM items i WHERE i.id = {a}",
        f"SELECT count(*) FROM items i WHERE i.parent = {a}", f"VALUES ((SELECT count(*) FROM items)), ({a})", f"SELECT (SELECT count(*) FROM items), {a}",
        f"SELECT EXISTS (SELECT 1 FROM items WHERE n = {a})", f"SELECT {a} IN (SELECT id FROM items), {name} = ANY (SELECT name FROM people)",
        # The primary key has the other columns with it.
        "SELECT i.id, i.kind, i.n, count(e.no) FROM items i LEFT JOIN events e ON e.n = i.n GROUP BY i.id", "SELECT city, upper(name), max(pay) FROM people GROUP BY name",
        "SELECT p.name, p.city, sum(i.price) FROM people p JOIN items i ON i.owner = p.name GROUP BY p.name HAVING p.age > 25", "SELECT spent, no FROM visits GROUP BY day, no ORDER BY minutes, no",
        "SELECT kind, (SELECT count(*) FROM people WHERE age = n) FROM items GROUP BY id", f"SELECT item_id, kind, count(*) FROM events GROUP BY no, item_id HAVING n > {a}",
        "SELECT g.title, count(*) FROM items i JOIN grades g USING (mood) GROUP BY g.mood", "SELECT * FROM cities c JOIN people p ON p.city = c.name GROUP BY c.name, p.name",
        "TABLE items", "TABLE visits ORDER BY day, no LIMIT 3", "TABLE voids UNION ALL TABLE voids", "SELECT count(*) FROM (TABLE visits) x", "WITH x AS (TABLE ONLY blog.items) SELECT max(id) FROM x",
        f"SELECT count(*) FROM ONLY (visits) WHERE minutes > {a}", "SELECT max(v.spent) FROM ONLY (visits) AS v JOIN ONLY (blog.items) ON v.item = items.id", f"SELECT FROM items WHERE n > {a}", "SELECT count(*) FROM ONLY items",
        f"SELECT count(*) FROM visits WHERE day = date '2024-01-09' OR day > '2024-01-16'",
        "SELECT day, count(*), sum(spent) FROM visits WHERE day BETWEEN '2024-01-05' AND '2024-01-10' GROUP BY day"), False


# --- windows --------------------------------------------------------------------------------------


@reading("windows")
def _(choose, text):
    writer = Writer(choose, any_source(choose, text), text)
    keys = ", ".join(writer.source.keys)
    select = lambda listed: writer.select(listed) + writer.where()  # noqa: E731
    one = writer.windowed
    group = writer.expression(choose.some(*writer.kinds("text", "int", "mood", "date", "bool")))
    partition = choose.some("", f"PARTITION BY {writer.anything()} ")
    # The table's own WITH may not stand inside parentheses.
    inside = not writer.source.prefix
    return choose.some(
        lambda: (select(", ".join([keys, *(one() for _ in range(choose.number(1, 3)))])), False),
        lambda: (select(", ".join([keys, *(one() for _ in range(choose.number(1, 3)))])), False),
        lambda: (select(f"{keys}, {one()} AS w") + writer.order() + writer.limit(), True),
        lambda: (select(", ".join([keys, *(one(choose.some("w", "w", "(w ROWS 1 PRECEDING)")) for _ in range(choose.number(1, 3)))]))
                 + f" WINDOW w AS ({partition}ORDER BY {writer.total()})", False),
        lambda: (select(", ".join([keys, one("(w ORDER BY " + writer.total() + ")"), one("(w ORDER BY " + writer.total() + ")")]))
                 + f" WINDOW w AS ({partition})", False),
        lambda: (f"SELECT * FROM ({select(f'{keys}, row_number() OVER ({partition}ORDER BY {writer.total()}) AS place')}) best WHERE place <= "
                 f"{writer.constant('int')}" if inside else select(f"{keys}, {one()}"), False),
        lambda: (select(f"{group}, count(*), " + choose.some(
            "sum(count(*)) OVER ()", f"rank() OVER (ORDER BY count(*) DESC, {group})", f"sum(sum({writer.integer()})) OVER (ORDER BY {group})",
            f"lag(count(*)) OVER (ORDER BY {group} DESC)", "count(*) OVER ()", "100 * count(*) / sum(count(*)) OVER ()"))
                 + f" GROUP BY {group} ORDER BY {group}{writer.limit()}", True),
        lambda: (select(keys) + f" ORDER BY {one()}{writer.direction()}, {keys}{writer.limit()}", True),
        lambda: (f"SELECT w, count(*) FROM ({select(f'({one()})::text AS w')}) x GROUP BY w" if inside else select(f"{keys}, {one()}"), False),
        lambda: (select(choose.some("count(*) OVER () AS all_of_them", "sum(1) OVER ()", "DISTINCT count(*) OVER ()", "1 + count(*) OVER ()"))
                 + choose.some("", " LIMIT 3", f" LIMIT {writer.constant('bigint')}"), False))()


# --- collations -----------------------------------------------------------------------------------


@reading("collations")
def _(choose, text):
    name = choose.some("items", "items", "people", "events")
    writer = Writer(choose, table(name, LETTERS[name]), text)
    kind = choose.some(*writer.kinds("text", "dictionary", "char", "mood", "citext"))
    column, keys = writer.column(kind), ", ".join(writer.source.keys)
    collation = f" COLLATE {choose.some(*QUOTED_COLLATIONS)}" if kind != "mood" and choose.chance(0.5) else ""
    order = choose.some(column, column, column, f"{column}::text", f"lower({column}::text)", f"upper({column}::text)") + collation
    # Of values that are equal as they are compared, any may stand for all.
    loose = kind == "citext" or "folded" in collation
    shown = f"upper({column}::text)" if loose else column
    direction = writer.direction()
    constant = choose.some("'Happy'", "'angry'") if kind == "mood" else choose.some("'e'", "'Z'", "'ä'", "'bob'", writer.constant("text"))
    compared = choose.some("<", "<=", "=", ">=", ">", "<>")
    select = lambda listed: writer.select(listed) + writer.where()  # noqa: E731
    comma, c = "','", '"C"'
    return choose.some(
        lambda: (f"{select(f'{keys}, {column}')} ORDER BY {order}{direction}, {keys}{writer.limit()}", True),
        lambda: (f"{select(keys)} ORDER BY {order}{direction}, {writer.total(1)}{writer.limit()}", True),
        lambda: (select(", ".join(f"upper({each}({column}{collation})::text)" for each in ("min", "max"))), True),
        lambda: (select(f"{writer.integer()}, min({column})" + (" IS NULL" if loose else "")) + " GROUP BY 1 ORDER BY 1", True),
        lambda: (f"{select(f'{shown}, count(*)')} GROUP BY {column} ORDER BY {column}{direction}{writer.limit()}", True),
        lambda: (f"{select('count(*)')} GROUP BY {column}{collation} ORDER BY {column}{collation}{direction}", True),
        lambda: (f"{select(f'count(DISTINCT {column}{collation}), count(DISTINCT lower({column}::text))')}", True),
        lambda: (f"{select(f'DISTINCT {shown}')} ORDER BY 1{direction}{writer.limit()}", True),
        lambda: (f"{select(f'DISTINCT {column}')} ORDER BY {column}{direction}{writer.limit()}" if not loose else select(f"count(DISTINCT {column})"), True),
        lambda: (f"{writer.select(keys)} WHERE {column}{collation} {compared} {constant}", False),
        lambda: (f"{writer.select(keys)} WHERE {column}{collation} BETWEEN {constant} AND {constant}", False),
        lambda: (select(f"string_agg({column}::text, {comma} ORDER BY {order}, {keys})"), True),
        lambda: (select(f"{keys}, rank() OVER (ORDER BY {order}{direction}), max({shown}) OVER ({choose.some('', 'ORDER BY ' + keys)})"), False),
        lambda: (f"{select(f'DISTINCT ON ({order}) {keys}')} ORDER BY {order}, {keys}", True),
        lambda: (f"{writer.select('count(*)')} JOIN people q ON q.name{collation} = {column}::text", False),
        lambda: (f"SELECT c::text AS shown FROM (SELECT {column}{collation} AS c FROM {writer.source.text}) s ORDER BY c, c::text COLLATE {c}", True),
        lambda: (f"SELECT count(*) FROM (SELECT {column}{collation} FROM {writer.source.text} {choose.some('UNION', 'INTERSECT', 'EXCEPT')} "
                 f"SELECT {'nick' if kind == 'citext' else 'mood' if kind == 'mood' else 'name'} FROM people) s", False))()


# --- odd tables and names -------------------------------------------------------------------------


@reading("odd tables and names")
def _(choose, text):
    odd, = writers(text, choose, '"Odd ones"')
    where = odd.where()
    bare = choose.some("visits v", "events v", "voids v", "readings v")  # of no types of the user's, whose numbers differ by database
    column = choose.some("point", "xml", "json", "path", "words", "bits", "grid", "mac", "position", "void", "pair", "letter", "named", "spreads",
                         "net", "dollars", "clock")
    return choose.some(
        f'SELECT * FROM "Odd ones" d{where}', f'SELECT d::text FROM "Odd ones" d{where}', f'SELECT d."Key", {column} FROM "Odd ones" d JOIN people p ON p.name = d."Key"',
        f'SELECT "Key", {column} FROM "Odd ones" d{where} ORDER BY "group", "sélect", "Key" LIMIT 7', f'SELECT {column}, count(*) OVER () FROM "Odd ones" d{where}',
        f'SELECT (d.pair).b, count(*), sum((pair).a) FROM "Odd ones" d{where} GROUP BY 1', f'SELECT pair, count(*) FROM "Odd ones" d{where} GROUP BY pair ORDER BY pair',
        f'SELECT "group", sum("a ""b"" c"), max(positive) FROM "Odd ones" d{where} GROUP BY "group"', f'SELECT json_agg(d ORDER BY d."Key") FROM "Odd ones" d{where}',
        f'SELECT row_to_json(d), to_jsonb(d) -> {choose.some(chr(39) + "group" + chr(39), chr(39) + "pair" + chr(39))} FROM "Odd ones" d LEFT JOIN items i ON i.id = d."group"',
        f'SELECT x."From", count(*) AS "Select" FROM (SELECT "group" AS "From" FROM "Odd ones" d{where}) x GROUP BY x."From" ORDER BY "Select", 1',
        f'SELECT a, b FROM "Odd ones" AS o (a, b) JOIN people ON name = a WHERE b > 0', f'SELECT "Odd ones"."Key" FROM "Odd ones" WHERE EXISTS (SELECT 1 FROM items WHERE n = "group")',
        f'SELECT * FROM people AS "from" JOIN blog.items AS "select" ON "select".owner = "from".name WHERE "from".age > 25', 'SELECT U&"\\0067roup", count(*) FROM "Odd ones" GROUP BY 1',
        f'SELECT unnest(grid), count(*) FROM "Odd ones" d{where} GROUP BY 1', f'SELECT grid[1][2], sum(grid[1][1]) FROM "Odd ones" d{where} GROUP BY 1',
        f'SELECT count(*) FROM "Odd ones" d WHERE spread @> {choose.number(0, 5)} AND words @@ to_tsquery(\'simple\', \'anna | bob\')',
        f'SELECT count(*), min(net), max(dollars), sum(dollars), max(clock) FROM "Odd ones" d WHERE net << \'10.0.1.0/24\' OR positive < {choose.number()}',
        f'SELECT range_agg(spread), range_intersect_agg(spreads) FROM "Odd ones" d{where}', f'SELECT xmlagg(xml ORDER BY "Key") FROM "Odd ones" d{where}',
        f'SELECT v FROM {bare}, grades g WHERE v IS NOT NULL AND g.mood = \'ok\'', f'SELECT v, count(*) FROM {bare} GROUP BY v', f'SELECT DISTINCT v FROM {bare}',
        f'SELECT count(v), count(DISTINCT v), (max(v::text)) FROM {bare}', f'SELECT v.* FROM {bare} WHERE v::text LIKE \'%1%\' ORDER BY v LIMIT 5', f'SELECT count(*) FROM {bare} WHERE v = v',
        f'SELECT v IS NULL, ROW(c.name, 1) FROM {bare} LEFT JOIN cities c ON c.name = \'Ulm\'', f'SELECT i.*, b.* FROM items i JOIN blog.items b ON b.id = i.id WHERE i.n > 0',
        'SELECT items.id, b.kind FROM items JOIN blog.items b USING (id)', 'SELECT count(*) FROM blog.items, public.items WHERE public.items.owner = blog.items.owner',
        'SELECT blog.items.owner, public.items.id FROM blog.items LEFT JOIN public.items ON public.items.id = blog.items.id',
        'SELECT public.items.*, blog.items.* FROM blog.items JOIN items ON public.items.owner = blog.items.owner WHERE blog.items.id > 3',
        'SELECT count(*) FROM public.items WHERE EXISTS (SELECT 1 FROM blog.items WHERE blog.items.owner = public.items.owner AND blog.items.id < public.items.id)',
        'SELECT id, (SELECT max(blog.items.id) FROM blog.items WHERE blog.items.kind = public.items.kind) FROM items WHERE public.items.n > 1',
        'SELECT id FROM items WHERE id IN (SELECT items.id FROM blog.items) AND items.kind > \'a\'',
        # Functions that have no order or form of their own on shards, but one on any server.
        "SELECT owner, ts_rank(to_tsvector('simple', kind || ' ' || owner), to_tsquery('simple', 'anna | bob')) FROM items WHERE to_tsvector('simple', owner) @@ plainto_tsquery('simple', 'anna')",
        'SELECT max(area(box(point(0, 0), point(1, n::float8)))), count(*) FROM items WHERE num_nulls(n, parent) = 0',
        "SELECT (xpath('/a/text()', xml))[1]::text, count(*) FROM \"Odd ones\" GROUP BY 1", 'SELECT enum_last(max(mood)), enum_range(NULL::mood)::text FROM items',
        "SELECT length(setweight(words, 'A')), count(*) FROM \"Odd ones\" GROUP BY 1", 'SELECT pg_size_pretty(sum(big)), numnode(to_tsquery(min(kind) || $$a$$)) FROM items WHERE big < 100000000000',
        f'SELECT day, sum(value), count(DISTINCT who) FROM readings WHERE day > \'2024-01-0{choose.number(1, 9)}\' GROUP BY day', 'SELECT count(*) FROM ONLY items',
        'SELECT r.day, v.no FROM readings r JOIN visits v USING (day) ORDER BY 1, 2 LIMIT 9', 'SELECT count(*) FROM items TABLESAMPLE SYSTEM (100)',
        'SELECT $x$ FROM items; $x$ || kind || E\'\\\'--\' AS "a ""b"" c" /* , id /* nested */ */ FROM items -- the end', "SELECT 'it''s; ' || owner FROM items WHERE kind <> '$a' GROUP BY 1",
        'SELECT DISTINCT "Key" AS "a;b", \'"\' AS """" FROM "Odd ones"', 'SELECT kind "Kind", count(*) "Count" FROM items GROUP BY "kind" ORDER BY "Count", "Kind"',
        'SELECT tableoid::regclass::text, count(*) FROM events GROUP BY 1', 'SELECT pg_typeof(sum(n)), pg_typeof(avg(price)), pg_typeof(max(kind)), pg_typeof(min(mood))::text FROM items',
        # In binary, arrays and rows name the types in them, and those of the user have other numbers in each database.
        'SELECT moods::text, count(*), max(pairs::text) FROM lists GROUP BY moods', 'SELECT m::text, count(*) FROM lists, unnest(moods) m GROUP BY m ORDER BY m',
        'SELECT (p).a, (p).b FROM lists l, unnest(pairs) p', 'SELECT i.id, l.name FROM items i JOIN lists l ON i.mood = l.moods[2]', 'SELECT pairs[1].b, moods[1] FROM lists',
        'SELECT "items".kind, items."n" FROM "items", "events" WHERE "events"."n" = Items.N'), False


@reading("functions of the session")
def _(choose, text):
    name = choose.some("items", "items", "visits", "people")
    writer, = writers(text, choose, name)
    group = writer.expression(choose.some(*writer.kinds("text", "int")))
    same = choose.some("current_user", "session_user", "current_setting('TimeZone')", "current_schema()", "now() = CURRENT_TIMESTAMP", "clock_timestamp() >= now()",
                       "random() < 2", "pg_typeof(1.5)::text", "to_char(1234.5, 'FM9G999D0')", "version() LIKE 'Postgres%'", "current_date > '2020-01-01'",
                       "CURRENT_TIMESTAMP - now()", "localtimestamp = now()::timestamp", "gen_random_uuid() IS NOT NULL", "pg_backend_pid() > 0", "'now'::timestamptz = now()",
                       "to_timestamp(0)", "make_date(2024, 1, 2)", "statement_timestamp() >= now()", "current_setting('nothing.here', true)", "'today'::date = current_date",
                       "age('2024-01-01'::timestamp) > '0'", "txid_current_if_assigned() IS NULL", "current_role", "pg_is_in_recovery()", "format('%s-%I', 1, 'a b')")
    return choose.some(
        f"{writer.select(f'{group} AS g, {same} AS s, count(*)')}{writer.where()} GROUP BY g, s", f"{writer.select(f'count(*) FILTER (WHERE ({same}) IS NOT NULL), {same}')}{writer.where()}",
        f"{writer.select(f'DISTINCT {same}')}", f"{writer.select(f'{group}, {same}')} ORDER BY {', '.join(writer.source.keys)} LIMIT 3",
        f"{writer.select(f'max({group}), {same}')}{writer.where()}", f"{writer.select('count(*)')} JOIN grades g ON ({same}) IS NOT NULL",
        "SELECT i.id, to_char(i.seen, 'YYYY-MM-DD HH24:MI TZ'), i.at::date FROM items i JOIN visits v ON v.day = i.at::date AND v.day <= now()",
        f"SELECT count(*) FROM items i, visits v WHERE i.seen < now() AND v.day < current_date AND i.id = v.item"), False


@statement_class("errors in reads", reads=True, weight=3)
def _(choose):
    text = Text()
    number = choose.number(-3, 4)
    wrong = step(text, choose.some(
        f"SELECT sum(1 / (n - {number})) FROM items", f"SELECT kind, 1 / (count(*) - {number}) FROM items GROUP BY kind", "SELECT max(label::int) FROM items",
        "SELECT (SELECT n FROM items) FROM visits", "SELECT id FROM items WHERE n = (SELECT age FROM people)", "SELECT sum(big)::bigint FROM items", "SELECT nothing, count(*) FROM items GROUP BY 1",
        "SELECT kind, n, count(*) FROM items GROUP BY kind", "SELECT sum(kind) FROM items", "SELECT nofunction(n), count(*) FROM items GROUP BY 1", "SELECT count(*) FROM items WHERE count(*) > 1",
        "SELECT id FROM items WHERE row_number() OVER () = 1", "SELECT kind FROM items JOIN events ON n = 1", "SELECT id FROM items UNION SELECT name FROM people", "SELECT id, n FROM items UNION SELECT item FROM people",
        "SELECT kind FROM items UNION SELECT word FROM items ORDER BY 1", "SELECT max(a) FROM (SELECT kind COLLATE \"C\" AS a FROM items UNION SELECT word FROM items) x", "SELECT DISTINCT kind FROM items ORDER BY n",
        "SELECT DISTINCT ON (kind) id FROM items ORDER BY n", "SELECT id FROM items ORDER BY 5", "SELECT count(*) FROM items GROUP BY 7", "SELECT sum(n) OVER (PARTITION BY nothing) FROM items",
        "SELECT sum(n) OVER w FROM items", "SELECT sum(sum(n)) FROM items", "WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT * FROM r, r s) SELECT count(*) FROM r, items", "SELECT * FROM nowhere, items",
        f"SELECT id FROM items i JOIN people p ON p.name = i.owner ORDER BY id LIMIT {min(number, -1)}", "SELECT count(*) FROM items HAVING n > 1", "SELECT percentile_cont(2) WITHIN GROUP (ORDER BY n) FROM items",
        "SELECT string_agg(kind) FROM items", "SELECT array_agg(tags) FROM items", "SELECT jsonb_object_agg(kind, n) FROM items", "SELECT mood::int FROM items, people", "SELECT count(*) FROM items WHERE mood = 'merry'",
        "SELECT i.id FROM items i, people i", "SELECT * FROM items NATURAL JOIN events NATURAL JOIN people NATURAL JOIN visits", "SELECT id FROM items WHERE kind LIKE 'a\\'", "SELECT count(*) FROM items WHERE kind ~ '('",
        "SELECT lag(n, 'x') OVER (ORDER BY id) FROM items", "SELECT ntile(0) OVER (ORDER BY id) FROM items", "SELECT sum(n) OVER (ORDER BY id ROWS -1 PRECEDING) FROM items", "SELECT items.id FROM items i JOIN people p ON true",
        "SELECT 'x'::pair, count(*) FROM items", "SELECT id FROM items FETCH FIRST 1 ROW WITH TIES", "SELECT max(n) FILTER (WHERE sum(n) > 1) FROM items", "SELECT kind FROM items GROUP BY ROLLUP (kind) HAVING grouping(n) = 0",
        "SELECT count(DISTINCT doc ORDER BY n) FROM items", "SELECT json_agg(DISTINCT doc::json) FROM items", "SELECT count(*) FROM items WHERE (SELECT kind FROM events) = 'a'", "SELECT 2147483647 + n FROM items, grades",
        "SELECT exp(1000 * small) FROM items, grades WHERE n > 0", "SELECT date 'infinity' - day FROM items ORDER BY 1"), False)
    if choose.chance(0.6):
        return wrong
    return [Step("BEGIN"), some_read(choose), wrong, some_read(choose), Step(choose.some("ROLLBACK", "COMMIT")), some_read(choose)]


# --- reads among other statements -----------------------------------------------------------------


def some_read(choose):
    return choose.some(*READS)(choose)


def some_write(choose):
    """For a transaction that is taken back."""
    key, name = str(choose.number(1, 40)), choose.some(*NAMED)
    return choose.some(
        Step("UPDATE items SET n = coalesce(n, 0) + 1, kind = 'new' WHERE id = $1", [Value(key, "bigint")]),
        Step("DELETE FROM people WHERE name = $1", [Value(name, "text")]),
        Step(f"INSERT INTO visits VALUES ('2024-01-{choose.number(1, 20):02}', 900, 'eve', {key}, 7, 1.25) ON CONFLICT DO NOTHING"),
        Step("DELETE FROM events WHERE n = 2"), Step("UPDATE grades SET weight = 5 WHERE mood = 'ok'"))


@statement_class("reads in transactions", reads=True, weight=5)
def _(choose):
    """They see what the transaction has written; ends with ROLLBACK, so nothing stays."""
    begin = choose.some("BEGIN", "BEGIN", "BEGIN", "BEGIN READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE")
    steps = [Step(begin)]
    for _ in range(choose.number(1, 4)):
        steps.append(choose.some(
            lambda: some_read(choose), lambda: (some_write if "ONLY" not in begin or choose.chance(0.2) else some_read)(choose),
            lambda: Step("SAVEPOINT a" if Step("SAVEPOINT a") not in steps else "ROLLBACK TO a"))())
    return [*steps, some_read(choose), Step("ROLLBACK"), some_read(choose)]


def executed(choose):
    """A statement of SQL's PREPARE, with values."""
    key, name, number = choose.number(1, 44), choose.some(*NAMED).replace("'", "''"), choose.number()
    prepare, values = choose.some(
        ("(bigint) AS SELECT * FROM items WHERE id = $1", key), ("(int, text) AS SELECT id, $1 FROM items WHERE n > $1 AND owner > $2", f"{number}, '{name}'"),
        ("AS SELECT count(*), max(kind) FROM items WHERE owner = $1 AND n > $2", f"'{name}', {number}"), ("(text) AS SELECT i.id, p.age FROM items i JOIN people p ON "
                                                                                                        "p.name = i.owner WHERE p.name = $1", f"'{name}'"),
        ("(numeric, date) AS SELECT day, sum(spent) > $1 FROM visits WHERE day > $2 OR spent = $1 GROUP BY day", "2.5, '2024-01-07'"),
        ("(mood, bool) AS SELECT name, $2 FROM people WHERE mood = $1 OR $2", f"'ok', {choose.some('true', 'false', 'NULL')}"))
    steps = [Step(f"PREPARE p {prepare}"), Step(f"EXECUTE p ({values})"), Step(f"EXECUTE p ({values})"), Step("DEALLOCATE p")]
    return [*steps, Step(choose.some(f"EXECUTE p ({values})", "DEALLOCATE p"))] if choose.chance(0.2) else steps


@statement_class("reads in other ways", reads=True, weight=4, ways=("simple",))
def _(choose):
    sql, values, ordered = some_read(choose)
    sql = inlined(sql, values)
    if sql.endswith("-- the end"):
        sql += "\n"
    return choose.some(
        lambda: Step(f"COPY ({sql}) TO STDOUT{choose.some('', ' (FORMAT csv, HEADER)', ' (FORMAT csv, FORCE_QUOTE *)', ' CSV')}", (), ordered),
        lambda: [Step(f"PREPARE p AS {sql}"), Step("EXECUTE p", (), ordered), Step("EXECUTE p", (), ordered), Step("DEALLOCATE p")],
        lambda: executed(choose),
        lambda: [Step("BEGIN"), Step(f"DECLARE c CURSOR FOR {sql}"), Step(f"FETCH {'3' if ordered else 'ALL'} FROM c", (), ordered),
                 Step("FETCH ALL FROM c", (), ordered), Step("CLOSE c"), Step("COMMIT")],
        lambda: Step("; ".join([sql, *(inlined(*some_read(choose)[:2]) for _ in range(choose.number(1, 2)))])),
        lambda: Step(f"SELECT 1; {sql}; SELECT 2", (), ordered),
        lambda: Step(f"/* first */ {sql} /* last */;", (), ordered))()


@statement_class("copied queries", reads=True, weight=4, ways=("simple", "extended"))
def _(choose):
    """Their lines; in a transaction, of what it has written."""
    def copy():
        sql, values, ordered = some_read(choose)
        form = choose.some("", "", " (FORMAT csv)", " (FORMAT csv, HEADER)", " (FORMAT csv, FORCE_QUOTE *, NULL 'none')", " CSV QUOTE '$'", " (FORMAT binary)",
                           " (DELIMITER '|', NULL '')", " (HEADER)", " (FORMAT csv, DELIMITER ';', ESCAPE '\\')")
        if not ordered:  # binary's header comes with the row that happens to be the first
            form = form.replace(" (FORMAT binary)", "")
        return Step(f"COPY ({inlined(sql, values)}\n) TO STDOUT{form}", (), ordered)
    if choose.chance(0.6):
        return copy()
    return [Step("BEGIN"), *(some_write(choose) for _ in range(choose.number(0, 2))), copy(), some_write(choose), copy(), Step("ROLLBACK")]


@statement_class("cursors of reads", reads=True, weight=5)
def _(choose):
    """Read forward in portions of any size, between writes that they do not see."""
    reads = {name: some_read(choose) for name in choose.some(["c"], ["c"], ["c", '"D d"'])}
    declared = [Step(f"DECLARE {name} {choose.some('', '', 'NO SCROLL ', 'SCROLL ', 'INSENSITIVE ', 'BINARY ')}CURSOR "
                     f"{choose.some('', '', '', 'WITHOUT HOLD ')}FOR {sql}", values) for name, (sql, values, _) in reads.items()]
    steps = [Step("BEGIN"), *declared]
    for _ in range(choose.number(2, 7)):
        name = choose.some(*reads)
        count = choose.some("", "NEXT ", "1 ", f"{choose.number(1, 9)} ", "FORWARD ", f"FORWARD {choose.number(1, 30)} ", "ALL ", "FORWARD ALL ",
                            f"RELATIVE {choose.number(1, 3)} ")
        if not reads[name].ordered:  # which rows are the first ones is not said
            count = "ALL "
        steps.append(Step(f"{choose.some('FETCH', 'FETCH', 'FETCH', 'MOVE')} {count}{choose.some('FROM ', 'IN ', '')}{name}", (), reads[name].ordered))
        if choose.chance(0.3):
            steps.append(choose.some(some_write, some_read, lambda _: Step("SAVEPOINT a"))(choose))
    if Step("SAVEPOINT a") in steps and choose.chance(0.6):
        steps += [Step("ROLLBACK TO a"), *(Step(f"FETCH ALL FROM {name}", (), read.ordered) for name, read in reads.items())]
    steps += choose.some([], [], [Step("CLOSE c")], [Step("CLOSE ALL")], [Step("CLOSE ALL")], [Step("CLOSE c"), Step("FETCH c")], declared[-1:])
    return [*steps, Step("ROLLBACK"), *choose.some([], [], [], [Step("FETCH c")])]


@statement_class("reads that lock or keep", reads=True, weight=1, ways=("simple",))
def _(choose):
    """They write: locks on rows of several shards, and a table that only one server has. Refused, as long as nobody
    says that the locks are taken in one order, and where such a table is."""
    sql, values, _ = some_read(choose)
    sql = inlined(sql, values)
    return [Step("BEGIN"), *choose.some(
        lambda: [Step(f"CREATE TEMP TABLE kept AS SELECT * FROM ({sql}\n) x"), Step("SELECT count(*) FROM kept")],
        lambda: [Step("SELECT id, kind FROM items WHERE n > 2 ORDER BY id FOR UPDATE", (), True),
                 Step(f"SELECT i.id FROM items i JOIN people p ON p.name = i.owner FOR {choose.some('SHARE', 'UPDATE OF i', 'KEY SHARE')}")])(),
        Step("ROLLBACK")]


@statement_class("reads under settings", reads=True, weight=3)
def _(choose):
    name, value = choose.some(
        ("datestyle", "'SQL, DMY'"), ("timezone", "'Asia/Kolkata'"), ("timezone", "'America/New_York'"), ("extra_float_digits", "0"),
        ("bytea_output", "escape"), ("intervalstyle", "iso_8601"), ("search_path", "public"), ("search_path", '"$user", public'), ("search_path", "public, pg_catalog"), ("search_path", "public, blog"),
        ("statement_timeout", "'30s'"), ("default_transaction_read_only", "on"), ("default_transaction_isolation", "'repeatable read'"),
        ("array_nulls", "on"), ("work_mem", "'64kB'"), ("enable_hashjoin", "off"), ("xmloption", "content"))
    text = Text()
    (items,) = writers(text, choose, "items")
    own = step(text, f"SELECT date_trunc('day', i.seen), count(*), min(i.seen), max(i.at), max(i.span), sum(i.f), max(i.day) FROM items i{items.where()} "
               "GROUP BY 1", False)
    return [Step(f"SET {name} = {value}"), choose.some(own, some_read(choose)), some_read(choose), own]
