#!/usr/bin/python3
"""COPY through pgshunt over four shards, against the same COPY straight into one table.

One PostgreSQL; the shards are four databases of it, so that both ways have the same processors and disk.
The client writes messages of 8 KB made beforehand and counts the bytes that come: it costs next to
nothing. The ways take turns, round by round; the ratio printed is the median of the rounds' ratios of
rows per second: above 1 the proxy is faster than the server alone. CPU is what the proxy's threads have
used, from the scheduler."""

import argparse
import json
import statistics
import struct
import sys
import time
from pathlib import Path

from harness import PostgresServer, Proxy, Run, wait_until
from harness.run import server_account
from harness.wire import Wire, copy_data, copy_done, query, tags

SHARDS = 4
MESSAGE = 8192
ROW = 100  # bytes, its key and line end included
TABLE = "CREATE UNLOGGED TABLE items (id bigint{primary}, body text)"
TRUSTING_HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


def cpu_nanoseconds(pid):
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in Path(f"/proc/{pid}/task").iterdir())


def body(number, size):
    return (f"value{number * 2654435761 % 100003} " * 20)[:size]


def stream(form, rows):
    """The whole of it, as a client has it in a file."""
    if form == "binary":
        parts = [b"PGCOPY\n\377\r\n\0" + struct.pack("!ii", 0, 0)]
        for number in range(rows):
            text = body(number, ROW - 22).encode()
            parts.append(struct.pack("!hiqi", 2, 8, number * 7919, len(text)) + text)
        return b"".join(parts) + b"\377\377"
    parts = []
    for number in range(rows):
        key = str(number * 7919)
        if form == "csv":
            parts.append(f'{key},"{body(number, ROW - 4 - len(key))}"\n')
        else:
            parts.append(f"{key}\t{body(number, ROW - 2 - len(key))}\n")
    return "".join(parts).encode()


def messages(data):
    return b"".join(copy_data(data[at:at + MESSAGE]) for at in range(0, len(data), MESSAGE)) + copy_done()


class World:
    def __init__(self, run, primary):
        server = PostgresServer(run.subfolder("server", server_account()), "server", hba=TRUSTING_HBA,
                                settings={"shared_buffers": "512MB", "fsync": "off", "autovacuum": "off",
                                          "max_wal_size": "4GB", "checkpoint_timeout": "1h"})
        server.create()
        server.start()
        self.server = server
        table = TABLE.format(primary=" PRIMARY KEY" if primary else "")
        for name in ("whole", *(f"part{n}" for n in range(SHARDS))):
            server.create_database(name)
            server.psql(table, name)
        self.proxy = Proxy(run.subfolder("pgshunt"), {
            "pgshunt": {"workers": 1, "auth_type": "trust", "default_pool_size": 2},
            "users": {"postgres": {"password": "bench"}},  # the catalog is read as this one
            "databases": {"items": {
                "shards": [{"name": f"part{n}", "host": server.host, "port": server.port, "dbname": f"part{n}"}
                           for n in range(SHARDS)],
                "keyspaces": [{"name": "items", "type": "bigint"}],
                "tables": [{"name": "items", "keyspace": "items", "key": "id"}]}},
        }).start()
        client = self.connect("pgshunt")
        # What the columns are is known once the catalog is read, shortly after the start.
        wait_until(lambda: copy_from(client, "", copy_done()) == "COPY 0")
        client.close()

    def connect(self, way):
        if way == "direct":
            return Wire(self.server, "whole", user="postgres", timeout=300)
        return Wire(self.proxy, "items", user="postgres", timeout=300)

    def empty(self):
        for name in ("whole", *(f"part{n}" for n in range(SHARDS))):
            self.server.psql("TRUNCATE items", name)

    def close(self):
        self.proxy.stop()
        self.server.stop()


def copy_from(client, options, sent):
    client.send(query(f"COPY items (id, body) FROM STDIN {options}"))
    if client.until("GZ")[-1].type == "Z":
        return "refused"
    client.send_bytes(sent)
    return tags(client.until_ready())[0]


def copy_to(client, options):
    """The bytes that came, not looked at."""
    client.send(query(f"COPY items TO STDOUT {options}"))
    client.socket.settimeout(300)
    space = bytearray(1 << 20)
    count, end = 0, b""
    while not (end.endswith(b"I") and end[-6:-1] == b"Z\0\0\0\5"):
        got = client.socket.recv_into(space)
        count += got
        end = (end + bytes(space[max(0, got - 6):got]))[-6:]
    return count


def measure(world, way, work):
    """Seconds, and the proxy's nanoseconds of CPU."""
    client = world.connect(way)
    cpu, start = cpu_nanoseconds(world.proxy.pid), time.perf_counter()
    work(client)
    seconds = time.perf_counter() - start
    cpu = cpu_nanoseconds(world.proxy.pid) - cpu
    client.close()
    return seconds, cpu


def compare(world, name, rounds, rows, work, prepare=lambda: None):
    samples = {"direct": [], "pgshunt": []}
    ratios = []
    for number in range(rounds):
        order = ("direct", "pgshunt") if number % 2 else ("pgshunt", "direct")
        took = {}
        for way in order:
            prepare()
            took[way] = measure(world, way, work)
            samples[way].append(took[way])
        ratios.append(took["direct"][0] / took["pgshunt"][0])
    row = {"case": name, "ratio": round(statistics.median(ratios), 2),
           "CPU of pgshunt, ns a row": round(statistics.median(cpu for _, cpu in samples["pgshunt"]) / rows)}
    for way, values in samples.items():
        row[f"{way}, rows/s"] = round(rows / statistics.median(seconds for seconds, _ in values))
    print(f"{name:14} ratio {row['ratio']:5.2f}   direct {row['direct, rows/s']:9,} rows/s   "
          f"pgshunt {row['pgshunt, rows/s']:9,} rows/s, {row['CPU of pgshunt, ns a row']:5} ns of CPU a row",
          file=sys.stderr, flush=True)
    return row


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=500_000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--primary-key", action="store_true")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    run = Run()
    world = World(run, options.primary_key)
    results = []
    try:
        for form in ("text", "csv", "binary"):
            sent = messages(stream(form, options.rows))
            with_form = f"(FORMAT {form})"

            def load(client):
                tag = copy_from(client, with_form, sent)
                assert tag == f"COPY {options.rows}", tag

            results.append(compare(world, f"FROM, {form}", options.rounds, options.rows, load, world.empty))
            # Both are full now: the last round has loaded one of them, the other was emptied.
            world.empty()
            for way in ("direct", "pgshunt"):
                client = world.connect(way)
                load(client)
                client.close()
            results.append(compare(world, f"TO, {form}", options.rounds, options.rows,
                                   lambda client: copy_to(client, with_form)))
    finally:
        world.close()
        run.close()
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
