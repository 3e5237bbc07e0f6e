"""What a set of analytical queries is made of: tables, rows to load, where they live, the queries."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Query:
    """`order` are the columns of the answer, counted from 0, whose values ORDER BY puts in order. The values of
    those columns must come in the same order, and the rows must be the same: where the columns name each row
    that is the same order of rows, where rows may tie it is all that SQL promises."""

    sql: str
    order: tuple = ()


@dataclass(frozen=True)
class Workload:
    """`keys` has for each table, in the order of loading, its keyspace and column, or None for a reference table;
    `load` makes the rows: load(scale) gives for each table its lines, as COPY's text format has them."""

    name: str
    schema: str
    keyspaces: dict  # name: type
    keys: dict
    load: callable
    queries: dict = field(repr=False)

    def keyspaces_and_tables(self):
        """For the configuration of the sharded database."""
        return {"keyspaces": [{"name": name, "type": kind} for name, kind in self.keyspaces.items()],
                "tables": [{"name": table, "reference": True} if key is None else
                           {"name": table, "keyspace": key[0], "key": key[1]} for table, key in self.keys.items()]}


def lines(rows):
    """Rows of str and int, without tabs, line ends and backslashes, as COPY's text; None is NULL."""
    return "".join("\t".join("\\N" if value is None else str(value) for value in row) + "\n" for row in rows)
