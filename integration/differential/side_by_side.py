"""A set of analytical queries (harness/workload.py) on one server with all rows and, through the proxy, on shards: are
the answers the same, and how long does each take?"""

import io
import time
from dataclasses import dataclass

from differential.client import Client
from harness import wait_until
from harness.postgres import PASSWORD, SUPERUSER

REFUSED = "0A000"


@dataclass
class Outcome:
    """`wrong` says what is not the same, and is empty if nothing is; `refused` is the proxy's reason."""

    name: str
    rows: int = 0
    alone_ms: float = 0
    sharded_ms: float = 0
    refused: str = ""
    wrong: str = ""
    way: str = ""

    @property
    def problem(self):
        return f"refused: {self.refused}" if self.refused else self.wrong

    @property
    def ratio(self):
        return self.sharded_ms / self.alone_ms


class SideBySide:
    """`servers` are those of the shards; the first has the whole, too. They may be shared with others. `make_proxy` as in
    conftest.py. `options` are further ones of the sharded database, `general` of the proxy."""

    def __init__(self, workload, servers, make_proxy, *, scale, options=None, general=None):
        self.workload, self.servers = workload, servers
        self.whole, self.parts = f"{workload.name}_whole", f"{workload.name}_parts"
        first = servers[0]
        for server in servers:
            for name in (self.whole, self.parts):
                server.psql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        for server, database in self.databases():
            server.create_database(database)
            server.psql(workload.schema, database)
        self.proxy = make_proxy({
            "pgshunt": general or {},
            "hba": [{"type": "host", "method": "trust"}],
            "users": {SUPERUSER: {"password": PASSWORD}},
            "databases": {self.parts: {
                "shards": [{"name": server.name, "host": server.host, "port": server.port, "dbname": self.parts}
                           for server in servers],
                **workload.keyspaces_and_tables(), **(options or {})}},
        })
        login = {"user": SUPERUSER, "password": PASSWORD, "host": first.host}
        self._alone = Client({**login, "port": first.port, "dbname": self.whole})
        self._sharded = Client({**login, "port": self.proxy.port, "dbname": self.parts})
        self._load(scale)

    def databases(self):
        return [(self.servers[0], self.whole), *((server, self.parts) for server in self.servers)]

    def close(self):
        self._alone.close()
        self._sharded.close()

    def _load(self, scale):
        alone = self.servers[0].connect(self.whole)
        sharded = self.proxy.connect(self.parts, SUPERUSER, PASSWORD)
        last = next(reversed(self.workload.keys))

        def known():  # what is sorted and merged depends on the columns' types, known shortly after the start
            return not self._sharded.simple(f"SELECT * FROM {last} ORDER BY 1")[0].error
        wait_until(known)
        for table, text in self.workload.load(scale):
            for connection in (alone, sharded):
                with connection.cursor() as cursor:
                    cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(text))
                    assert cursor.rowcount == text.count("\n"), (table, cursor.rowcount)
        alone.close()
        sharded.close()
        for server, database in self.databases():
            server.execute("ANALYZE", dbname=database)

    def counts(self, table):
        """Rows of the whole, and of each shard."""
        return [server.execute(f"SELECT count(*) FROM {table}", dbname=database)[0][0] for server, database in self.databases()]

    def compare(self, name, how="simple", repeat=1):
        """One query, both ways, `repeat` times in turn; times are the best."""
        query = self.workload.queries[name]
        outcome = Outcome(name)
        times = {self._alone: [], self._sharded: []}
        answers = {}
        for _ in range(repeat):
            for client, taken in times.items():
                begun = time.perf_counter()
                answer, = client.ask(query.sql, how=how)
                taken.append((time.perf_counter() - begun) * 1e3)
                assert answers.setdefault(client, answer).error == answer.error, (name, answer)
        alone, sharded = answers[self._alone], answers[self._sharded]
        # An answer of nothing would prove nothing.
        assert alone.rows and not any(None in row for row in alone.rows), (name, alone)
        outcome.rows = len(alone.rows)
        outcome.alone_ms, outcome.sharded_ms = (min(taken) for taken in times.values())
        if sharded.error == REFUSED:
            outcome.refused = sharded.message
        else:
            outcome.wrong = difference(query, alone, sharded)
            outcome.way = self.way(query)
        return outcome

    def way(self, query):
        """The first line of what EXPLAIN (PGSHUNT) says."""
        answer = self._sharded.simple(f"EXPLAIN (PGSHUNT) {query.sql}")[0]
        return "" if answer.error or not answer.rows else answer.rows[0][0].decode().removeprefix("Route: ")


def difference(query, alone, sharded):
    for what in ("error", "tag", "columns"):
        if (ours := getattr(sharded, what)) != (theirs := getattr(alone, what)):
            return f"{what}: {ours} instead of {theirs}" + (f" ({sharded.message})" if sharded.error else "")
    key = [[row[column] for column in query.order] for row in alone.rows]
    for number, row in enumerate(sharded.rows):
        if key[number] != [row[column] for column in query.order]:
            return f"the order: row {number} is {row} instead of {alone.rows[number]}"
    ours, theirs = sorted(sharded.rows, key=repr), sorted(alone.rows, key=repr)
    for one, other in zip(ours, theirs):
        if one != other:
            return f"a row: {one} instead of {other}"
    return ""


def table(outcomes):
    """As text: query, rows, times, their ratio, how it was done or why not."""
    lines = [f"{'query':7}{'rows':>7}{'one server ms':>15}{'pgshunt ms':>12}{'ratio':>7}  route"]
    for each in outcomes:
        took = f"{each.sharded_ms:>12.1f}{each.ratio:>7.1f}" if not each.refused else f"{'refused':>12}{'':7}"
        lines.append(f"{each.name:7}{each.rows:>7}{each.alone_ms:>15.1f}{took}  "
                     f"{'WRONG: ' + each.wrong if each.wrong else each.refused or each.way}")
    return "\n".join(lines)
