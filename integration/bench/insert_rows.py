#!/usr/bin/python3
"""INSERTs of many rows through pgshunt over four shards, against the same INSERTs into one table.

As bench/copy_rows.py has it: one PostgreSQL, the ways take turns, the ratio printed is the median of the
rounds' ratios of rows per second, above 1 the proxy is faster than the server alone. A statement with rows
for several shards is a transaction in two phases there, which is most of what a small one costs."""

import argparse
import json
import sys

from copy_rows import World, body, compare
from harness import Run
from harness.wire import bind, execute, parse, query, sync, tags


def values(first, count):
    return ", ".join(f"({number * 7919}, '{body(number, 88)}')" for number in range(first, first + count))


def simple(rows, each):
    return [query(f"INSERT INTO items VALUES {values(first, each)}") for first in range(0, rows, each)]


def prepared(rows, each):
    out = []
    for first in range(0, rows, each):
        given = []
        for number in range(first, first + each):
            given += [str(number * 7919), body(number, 88)]
        out.append(bind("", "rows", given) + execute() + sync())
    return out


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    run = Run()
    world = World(run, False)
    results = []

    def case(name, rows, messages, before=()):
        def work(client):
            for message in before:
                client.ask(message)
            stored = sum(int(tag.split()[-1]) for message in messages for tag in tags(client.ask(message)))
            assert stored == rows, stored
        results.append(compare(world, name, options.rounds, rows, work, world.empty))

    try:
        for each in (10, 100, 1000):
            rows = min(options.rows, each * 2000)
            case(f"{each} a statement", rows, simple(rows, each))
            places = ", ".join(f"(${2 * n + 1}, ${2 * n + 2})" for n in range(each))
            case(f"{each} prepared", rows, prepared(rows, each),
                 [parse("rows", f"INSERT INTO items VALUES {places}", [20, 25] * each) + sync()])
        select = f"INSERT INTO items SELECT g * 7919, repeat('value', 18) FROM generate_series(1, {options.rows}) g"
        case("of a SELECT", options.rows, [query(select)])
    finally:
        world.close()
        run.close()
    json.dump(results, sys.stdout if options.json else sys.stderr, indent=2)


if __name__ == "__main__":
    main()
