#!/usr/bin/python3
"""Reads of all shards: what merging costs per row, per query, per shard, and how much memory it takes.

One PostgreSQL; shards are databases of it, so that all ways have the same processors. Four parts, each of which
`--only` can pick by its name:

  merge    ORDER BY, GROUP BY and DISTINCT of all rows over four shards, against the same statement on one table with all rows:
           the table's rows a second (the ratio is above 1 where the proxy is faster than the server alone), and the
           proxy's CPU
  latency  the newest 100 rows of four shards, against the slowest of the four asked directly: one after the other,
           and all at once, which is the better measure where they share fewer processors than they are
  fan-out  a small query over 1, 2, 4 ... 64 shards: latency and the proxy's CPU, and their ratios to one shard's
  memory   the peak of a new proxy while it merges ten million narrow rows, for a client that reads as fast as it can
           and for one that stops in between

Statements that the proxy refuses are listed as such. Ways take turns, round by round; figures are medians. CPU is user
and system time of all the proxy's threads, from the scheduler."""

import argparse
import json
import re
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from copy_rows import TRUSTING_HBA, cpu_nanoseconds
from harness import PostgresServer, Proxy, Run, wait_until
from harness.run import server_account
from harness.wire import Answer, Wire, bind, execute, parse, query, sync

SHARDS = 4
PARTS = [f"part{n}" for n in range(SHARDS)]
FEW = 20  # groups

# Which shard a row is on matters to no statement here: none names a key.
EVENTS = """
CREATE UNLOGGED TABLE events (id integer, label text COLLATE "C", created_at timestamp, noted_at timestamp, few integer,
  many integer, body text);
INSERT INTO events SELECT n, md5(n::text), at, at, n % {few}, n / {shards} % {groups}, 'event ' || repeat(md5(n::text), 3)
  FROM (SELECT n, timestamp '2024-01-01' + n * 7919::bigint % {rows} * interval '1 second' AS at
        FROM generate_series(0, {rows} - 1) n WHERE {mine}) made;
CREATE INDEX ON events (id);
CREATE INDEX ON events (label);
CREATE INDEX ON events (created_at);
VACUUM ANALYZE events;
"""
NARROW = """
CREATE UNLOGGED TABLE narrow (id integer);
INSERT INTO narrow SELECT n * {shards} + {shard} FROM generate_series(0, {each} - 1) n;
VACUUM ANALYZE narrow;
"""
ITEMS = """
CREATE UNLOGGED TABLE items (id integer, body text);
INSERT INTO items SELECT n * 64 + {shard}, 'item ' || n FROM generate_series(1, 10) n;
"""


class Refused(Exception):
    pass


@dataclass
class Statement:
    """As a client sends it, ready made."""

    sql: str
    binary: bool = False

    def __post_init__(self):
        self.message = parse("", self.sql) + bind(results=(1,)) + execute() + sync() if self.binary else query(self.sql)


END = b"Z\0\0\0\5I"
TAG = re.compile(rb"C\0\0\0.([A-Z]+ [0-9]+)\0Z\0\0\0\x05I\Z", re.DOTALL)


def take(client, pause_at=None):
    """Reads one answer without looking at its rows; how many there were. Of the bytes after `pause_at` none are read for
    half a second."""
    client.socket.settimeout(600)
    space = take.space
    count, first, end = 0, b"", b""
    while not end.endswith(END):
        got = client.socket.recv_into(space)
        if not got:
            raise ConnectionError("closed in the middle of an answer")
        first = first or bytes(space[:got])
        end = (end + bytes(space[max(0, got - 64):got]))[-64:]
        count += got
        if pause_at is not None and count > pause_at:
            pause_at = None
            time.sleep(0.5)
    found = TAG.search(end)
    if found:
        return int(found.group(1).split()[1])
    while len(first) >= 5:
        length = int.from_bytes(first[1:5], "big")
        if first[:1] == b"E":
            raise Refused(Answer("E", first[5:length + 1]).fields["M"])
        first = first[length + 1:]
    raise RuntimeError(f"no end of the answer: {end}")


take.space = bytearray(1 << 20)


def ask(client, statement):
    """Seconds until all of the answer is there, and its rows."""
    begun = time.perf_counter()
    client.send_bytes(statement.message)
    rows = take(client)
    return time.perf_counter() - begun, rows


class World:
    def __init__(self, run):
        self.run = run
        self.server = PostgresServer(run.subfolder("server", server_account()), "server", hba=TRUSTING_HBA, settings={
            "shared_buffers": "1GB", "work_mem": "256MB", "fsync": "off", "autovacuum": "off", "max_wal_size": "4GB",
            "checkpoint_timeout": "1h", "max_connections": "500", "max_parallel_workers_per_gather": "0",
            "max_parallel_maintenance_workers": "0"}).create()
        self.server.start()

    def fill(self, database, script):
        if not self.server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)):
            self.server.create_database(database)
        self.server.psql(script, database)

    def proxy(self, table, key_type, databases):
        """One worker; `databases` gives each name its shards. Ready when it has read the catalogs."""
        proxy = Proxy(self.run.subfolder("pgshunt"), {
            "pgshunt": {"workers": 1, "auth_type": "trust", "default_pool_size": 2, "log_connections": False,
                        "log_disconnections": False},
            "users": {"postgres": {"password": "bench"}},  # the catalogs are read as this one
            "databases": {name: {
                "shards": [{"name": shard, "host": self.server.host, "port": self.server.port, "dbname": shard}
                           for shard in shards],
                "keyspaces": [{"name": "ids", "type": key_type}],
                "tables": [{"name": table, "keyspace": "ids", "key": "id"}]} for name, shards in databases.items()},
        }).start()
        for name in databases:
            client = Wire(proxy, name, user="postgres", timeout=60)
            probe = Statement(f"SELECT * FROM {table} ORDER BY {'label' if table == 'events' else 'id'} LIMIT 1")
            wait_until(lambda: ask(client, probe)[1] == 1, 60)  # pylint: disable=cell-var-from-loop
            client.close()
        return proxy

    def connect(self, where, database):
        return Wire(where, database, user="postgres", timeout=600)


class Report:
    def __init__(self):
        self.rows = []

    def add(self, case, text, **figures):
        self.rows.append({"case": case, **figures})
        print(f"{case:34} {text}", file=sys.stderr, flush=True)

    def refused(self, case, reason):
        self.add(case, f"refused: {reason}", refused=str(reason))


def merge_cases(groups):
    for form in ("text", "binary"):
        for name, column in (("int", "id"), ('text COLLATE "C"', "label"), ("timestamp", "created_at")):
            yield f"ORDER BY {name}, {form}", Statement(f"SELECT {column} FROM events ORDER BY {column}", form == "binary"), None
        yield f"ORDER BY int, wide, {form}", Statement("SELECT * FROM events ORDER BY id", form == "binary"), None
    for name, column, count in (("few", "few", FEW), ("many", "many", groups)):
        yield (f"GROUP BY, {name} groups",
               Statement(f"SELECT {column}, count(*), sum(id), min(created_at) FROM events GROUP BY {column}"), count)
    yield ("GROUP BY, many groups, top 100",
           Statement("SELECT many, avg(id) FROM events GROUP BY many ORDER BY 2 DESC, 1 LIMIT 100"), min(groups, 100))
    yield ("GROUP BY, many groups, sorted by sums",
           Statement("SELECT many, sum(id) FROM events GROUP BY many ORDER BY 2 DESC, 1"), groups)
    yield "DISTINCT of all rows", Statement("SELECT DISTINCT id FROM events"), None
    yield "count(*)", Statement("SELECT count(*) FROM events WHERE id < 100"), 1


def run_merge(world, proxy, report, options):
    for name, statement, groups in merge_cases(options.groups):
        case = f"merge: {name}"
        if options.only not in case:
            continue
        clients = {"direct": world.connect(world.server, "whole"), "pgshunt": world.connect(proxy, "events")}
        expected = groups or options.rows
        samples = {way: [] for way in clients}
        cpu = []
        try:
            for number in range(-1, options.rounds):  # the first is not counted
                for way in (("direct", "pgshunt") if number % 2 else ("pgshunt", "direct")):
                    before = cpu_nanoseconds(proxy.pid)
                    seconds, rows = ask(clients[way], statement)
                    assert rows == expected, (case, way, rows)
                    if number >= 0:
                        samples[way].append(seconds)
                        if way == "pgshunt":
                            cpu.append((cpu_nanoseconds(proxy.pid) - before) / 1e9)
        except Refused as reason:
            report.refused(case, reason)
            continue
        finally:
            for client in clients.values():
                client.close()
        ratio = statistics.median(direct / ours for direct, ours in zip(samples["direct"], samples["pgshunt"]))
        rates = {way: options.rows / statistics.median(taken) for way, taken in samples.items()}
        used = statistics.median(cpu)
        report.add(case, f"ratio {ratio:5.2f}   direct {rates['direct']:10,.0f} rows/s   pgshunt {rates['pgshunt']:10,.0f} rows/s   "
                   f"CPU of pgshunt {used * 1e6 / options.rows:6.3f} s a million rows, {used * 1e3:.2f} ms a query",
                   **{"ratio": round(ratio, 2), **{f"{way}, rows/s": round(rate) for way, rate in rates.items()},
                      "CPU of pgshunt, s a million rows": round(used * 1e6 / options.rows, 4),
                      "CPU of pgshunt, ms a query": round(used * 1e3, 2)})


def run_latency(world, proxy, report, options):
    for name, column, count in (("index", "created_at", options.queries), ("sort", "noted_at", max(10, options.queries // 10))):
        case = f"latency: newest 100, by {name}"
        if options.only not in case:
            continue
        statement = Statement(f"SELECT id, {column}, body FROM events ORDER BY {column} DESC, id LIMIT 100"
                              if name == "sort" else
                              f"SELECT id, {column}, body FROM events ORDER BY {column} DESC LIMIT 100")
        clients = [world.connect(proxy, "events"), *(world.connect(world.server, part) for part in PARTS)]
        ours, *shards = clients
        took = {"pgshunt": [], "at once": [], **{part: [] for part in PARTS}}

        def at_once():
            begun = time.perf_counter()
            for shard in shards:
                shard.send_bytes(statement.message)
            for shard in shards:
                take(shard)
            return time.perf_counter() - begun
        try:
            for number in range(-10, count):
                one = {"pgshunt": ask(ours, statement)[0],
                       **{part: ask(shard, statement)[0] for part, shard in zip(PARTS, shards)}, "at once": at_once()}
                if number >= 0:
                    for way, seconds in one.items():
                        took[way].append(seconds * 1e6)
        except Refused as reason:
            report.refused(case, reason)
            continue
        finally:
            for client in clients:
                client.close()
        median = {way: statistics.median(taken) for way, taken in took.items()}
        slowest = max(median[part] for part in PARTS)
        report.add(case, f"pgshunt {median['pgshunt']:7.0f} us, {median['pgshunt'] / slowest:5.2f} of the slowest shard alone "
                   f"({slowest:.0f} us), {median['pgshunt'] / median['at once']:5.2f} of all four at once ({median['at once']:.0f} us)",
                   **{"pgshunt, us": round(median["pgshunt"]), "slowest shard, us": round(slowest),
                      "all at once, us": round(median["at once"]), "ratio": round(median["pgshunt"] / slowest, 2),
                      "ratio to all at once": round(median["pgshunt"] / median["at once"], 2)})


def run_fan_out(world, report, options):
    statements = {"ORDER BY LIMIT": Statement("SELECT id, body FROM items ORDER BY id LIMIT 10"),
                  "count(*)": Statement("SELECT count(*) FROM items")}
    statements = {name: statement for name, statement in statements.items() if options.only in f"fan-out: {name}"}
    if not statements:
        return
    names = [f"fan{n}" for n in range(max(options.shards))]
    for number, name in enumerate(names):
        world.fill(name, ITEMS.format(shard=number))
    proxy = world.proxy("items", "integer", {f"over{count}": names[:count] for count in options.shards})
    for name, statement in statements.items():
        clients = {count: world.connect(proxy, f"over{count}") for count in options.shards}
        latency = {count: [] for count in clients}
        cpu = {count: [] for count in clients}
        batch = 20
        try:
            for number in range(-1, max(3, options.queries // batch)):
                for count, client in clients.items():
                    before = cpu_nanoseconds(proxy.pid)
                    seconds = [ask(client, statement)[0] for _ in range(batch)]
                    if number >= 0:
                        latency[count] += seconds
                        cpu[count].append((cpu_nanoseconds(proxy.pid) - before) / 1000 / batch)
        except Refused as reason:
            report.refused(f"fan-out: {name}", reason)
            continue
        finally:
            for client in clients.values():
                client.close()
        latency = {count: statistics.median(seconds) * 1e6 for count, seconds in latency.items()}
        cpu = {count: statistics.median(each) for count, each in cpu.items()}
        least = min(options.shards)
        for count in options.shards:
            report.add(f"fan-out: {name}, {count} shards",
                       f"{latency[count]:8.0f} us ({latency[count] / latency[least]:6.2f} of {least}'s)   CPU of pgshunt "
                       f"{cpu[count]:7.1f} us ({cpu[count] / cpu[least]:6.2f} of {least}'s, {cpu[count] / count:5.1f} us a shard)",
                       **{"latency, us": round(latency[count]), "ratio of latency": round(latency[count] / latency[least], 2),
                          "CPU of pgshunt, us": round(cpu[count], 1), "ratio of CPU": round(cpu[count] / cpu[least], 2)})
    proxy.stop()


def memory(pid, name):
    """VmHWM, VmRSS: megabytes."""
    return int(re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def run_memory(world, report, options):
    cases = [(f"memory: {kind} client, {form}", Statement("SELECT id FROM narrow ORDER BY id", form == "binary"), pause)
             for form in ("text", "binary") for kind, pause in (("fast", None), ("pausing", 1 << 20))]
    cases = [case for case in cases if options.only in case[0]]
    if not cases:
        return
    for number, part in enumerate(PARTS):
        world.fill(part, NARROW.format(shards=SHARDS, shard=number, each=options.narrow // SHARDS))
    for case, statement, pause_at in cases:
        proxy = world.proxy("narrow", "integer", {"narrow": PARTS})
        client = world.connect(proxy, "narrow")
        before = memory(proxy.pid, "VmRSS")
        try:
            client.send_bytes(statement.message)
            rows = take(client, pause_at)
            assert rows == options.narrow // SHARDS * SHARDS, rows
            peak = memory(proxy.pid, "VmHWM")
            report.add(case, f"peak {peak:6.1f} MB, {before:6.1f} MB before   {rows:,} rows",
                       **{"peak, MB": round(peak, 1), "before, MB": round(before, 1), "rows": rows})
        except Refused as reason:
            report.refused(case, reason)
        finally:
            client.close()
            proxy.stop()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--only", default="", help="only cases whose name contains this")
    arguments.add_argument("--rows", type=int, default=1_000_000, help="of the merges, over all shards")
    arguments.add_argument("--groups", type=int, default=100_000, help="of the GROUP BY with many; each is on every shard")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--queries", type=int, default=300, help="of the latencies")
    arguments.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="of the fan-out; 64 at most")
    arguments.add_argument("--narrow", type=int, default=10_000_000, help="rows of the memory's merge")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    run = Run()
    report = Report()
    try:
        world = World(run)
        merges = any(options.only in f"merge: {name}" for name, _, _ in merge_cases(options.groups))
        if merges or any(options.only in f"latency: newest 100, by {name}" for name in ("index", "sort")):
            given = {"few": FEW, "shards": SHARDS, "groups": options.groups, "rows": options.rows}
            world.fill("whole", EVENTS.format(mine="true", **given))
            for number, part in enumerate(PARTS):
                world.fill(part, EVENTS.format(mine=f"n % {SHARDS} = {number}", **given))
            proxy = world.proxy("events", "integer", {"events": PARTS})
            run_merge(world, proxy, report, options)
            run_latency(world, proxy, report, options)
            proxy.stop()
        run_fan_out(world, report, options)
        run_memory(world, report, options)
        world.server.stop()
    finally:
        run.close()
    if options.json:
        print(json.dumps(report.rows, indent=2))


if __name__ == "__main__":
    main()
