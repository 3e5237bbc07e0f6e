"""SELECTs over the tables of differential/world.py, one for each way in which they are answered: for what is done with
any of them (cursors, portals, COPY)."""

from typing import NamedTuple


class Select(NamedTuple):
    sql: str
    ordered: bool = True  # the order of its rows is total


SELECTS = {
    # On their shards as they are.
    "one shard": Select("SELECT u.name, g FROM users u, generate_series(1, 12) g WHERE u.id = 7 ORDER BY g"),
    "some keys": Select("SELECT id, name, score FROM users WHERE id IN (1, 2, 3, 5, 8, 13, 21, 99)", False),
    "all shards": Select("SELECT id, name, noted FROM users", False),
    "ordered": Select("SELECT id, name, noted, score FROM users ORDER BY id DESC"),
    "ordered by text": Select('SELECT name, kind FROM (SELECT id, owner AS name, kind FROM items) i ORDER BY kind COLLATE "C", id'),
    "limited": Select("SELECT id, name FROM users ORDER BY name NULLS FIRST, id LIMIT 11 OFFSET 2"),
    "limited to none": Select("SELECT id FROM users ORDER BY id LIMIT 0"),
    "a hidden column": Select("SELECT name FROM users ORDER BY noted DESC, id"),
    "hidden, limited": Select("SELECT score + 1 AS more FROM users ORDER BY abs(score) DESC NULLS LAST, id LIMIT 9 OFFSET 3"),
    "groups by key": Select("SELECT user_id, count(*), max(body) FROM posts GROUP BY user_id ORDER BY user_id"),
    "joined by key": Select("SELECT u.id, u.name, p.id, p.body FROM users u JOIN posts p ON p.user_id = u.id ORDER BY u.id, p.id"),
    "union all": Select("SELECT id FROM users UNION ALL SELECT user_id FROM posts", False),
    "every type": Select("SELECT * FROM items ORDER BY id"),
    "odd types": Select('SELECT * FROM "Odd ones"', False),
    "no rows": Select("SELECT id, name FROM users WHERE id > 1000"),
    "no columns": Select("SELECT FROM users"),
    "a name twice": Select('SELECT id, id, score AS "id", name AS "A ""b" FROM users ORDER BY 1'),
    # Put together of what shards say.
    "an aggregate": Select("SELECT count(*), sum(score), avg(rate), max(noted) FROM users"),
    "groups": Select("SELECT country, count(*), avg(score), min(seen) FROM users GROUP BY country ORDER BY country"),
    "groups of no order": Select("SELECT score, count(*) FROM users GROUP BY score", False),
    # At the merge node.
    "a join": Select("SELECT u.id, u.name, p.user_id, p.id FROM users u JOIN posts p ON u.score = p.likes ORDER BY 1, 3, 4"),
    "a join of no order": Select("SELECT u.id, p.body FROM users u JOIN posts p ON u.score = p.likes", False),
    "a window": Select("SELECT id, rank() OVER (ORDER BY score), sum(small) OVER (PARTITION BY country ORDER BY id) FROM users ORDER BY id"),
    "distinct": Select("SELECT DISTINCT country, score FROM users ORDER BY 1, 2"),
    "a union": Select("SELECT score FROM users UNION SELECT likes FROM posts ORDER BY 1"),
    "a subquery": Select("SELECT id, (SELECT count(*) FROM posts p WHERE p.likes = u.score) FROM users u ORDER BY id"),
    "with": Select("WITH liked AS (SELECT likes, count(*) AS n FROM posts GROUP BY likes) SELECT u.id, l.n FROM users u LEFT JOIN liked l "
                   "ON l.likes = u.score ORDER BY u.id"),
    "a dictionary's order": Select("SELECT id, word FROM items ORDER BY word, id"),
    "an enum's order": Select("SELECT mood, id FROM items ORDER BY mood DESC, id LIMIT 12"),
    "one merged row": Select("SELECT count(*), array_agg(u.id ORDER BY u.id, p.id) FROM users u JOIN posts p ON u.score = p.likes"),
    # Of no sharded table.
    "a reference table": Select("SELECT code, people FROM countries ORDER BY code"),
    "an unsharded table": Select("SELECT * FROM notes ORDER BY id"),
    "no table": Select("SELECT g, 'x' || g AS x FROM generate_series(1, 12) g ORDER BY g"),
    "values": Select("VALUES (1, 'a', NULL), (2, 'b', 1.5), (3, NULL, 2), (4, '', 0), (5, E'\\\\', 7)"),
    "a row": Select("SELECT 1 AS one, 'two' AS two, NULL AS three, 4.5::float8 AS four"),
}
MERGED = ("a join", "a window", "distinct", "a union", "a subquery", "with", "an aggregate", "groups")
# One for each way in which rows come, where each of all would say the same again.
FEW = ("one shard", "all shards", "ordered", "a hidden column", "groups", "a join", "a window", "a reference table", "an unsharded table", "no table")


def some(names=tuple(SELECTS)):
    """For parametrize(): (the SELECT, its order is total)."""
    return {"argnames": "sql, ordered", "argvalues": [tuple(SELECTS[name]) for name in names], "ids": list(names)}
