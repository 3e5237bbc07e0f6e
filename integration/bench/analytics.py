#!/usr/bin/python3
"""TPC-H and joins in the manner of the Join Order Benchmark: three shards through pgshunt, against one server.

The queries and rows of harness/tpch.py and harness/job.py, on three servers by different keys, and all on the first
of them. Each query is asked both ways in turn; times are the best of the rounds, and wrong rows are an error."""

import argparse
import json
import math
import sys

from differential.side_by_side import SideBySide, table
from harness import PostgresServer, Proxy, Run, job, tpch
from harness.postgres import TEST_SETTINGS
from harness.run import server_account

# Names, and scales: those of the tests, twice that of TPC-H.
WORKLOADS = {"tpch": (tpch.WORKLOAD, 0.01), "join_order": (job.WORKLOAD, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workload", choices=WORKLOADS, nargs="+", default=list(WORKLOADS))
    parser.add_argument("--only", nargs="+", help="names of queries, as Q6")
    parser.add_argument("--scale", type=float, help="other than the tests'; query 11's fraction stays the same")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    run = Run()
    figures = {}
    wrong = 0
    try:
        servers = [PostgresServer(run.subfolder(name, server_account()), name, settings={**TEST_SETTINGS, "shared_buffers": "256MB"})
                   for name in ("shard1", "shard2", "shard3")]
        for server in servers:
            server.create().start()
        for name in options.workload:
            workload, scale = WORKLOADS[name]
            pair = SideBySide(workload, servers, lambda config: Proxy(run.subfolder("pgshunt"), config).start(),
                              scale=options.scale or scale)
            outcomes = [pair.compare(query, repeat=options.rounds) for query in workload.queries
                        if not options.only or query in options.only]
            pair.close()
            pair.proxy.stop()
            answered = [each for each in outcomes if not each.problem]
            wrong += sum(bool(each.wrong) for each in outcomes)
            mean = math.exp(sum(math.log(each.ratio) for each in answered) / len(answered)) if answered else None
            print(table(outcomes), file=sys.stderr)
            print(f"{len(answered)} of {len(outcomes)} answered; geometric mean of their ratios "
                  f"{f'{mean:.2f}' if mean else '-'}", file=sys.stderr, flush=True)
            figures[name] = {"mean ratio": mean, "queries": {each.name: {
                "rows": each.rows, "one server, ms": each.alone_ms, "pgshunt, ms": each.sharded_ms, "ratio": each.ratio,
                "route": each.way, "problem": each.problem} for each in outcomes}}
    finally:
        run.close()
    if options.json:
        print(json.dumps(figures, indent=2))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
