#!/usr/bin/python3
"""Order entry in the manner of TPC-C: on three shards through pgshunt, and on one of the same servers alone.

The same mix by pgbench, the two in turn, for some rounds. Printed are medians over the rounds: transactions
a second (and their ratio), latency by kind of transaction, and what had to be tried again (deadlocks). At the
end the sums that such a load must keep are checked over all shards, and a broken one is an error."""

import argparse
import json
import statistics
import sys

from harness import PostgresServer, Proxy, Run, orders
from harness.run import server_account

USER = PASSWORD = "bench"


class World:
    def __init__(self, run, clients, warehouses, fsync):
        settings = {} if fsync else {"fsync": "off", "synchronous_commit": "off"}
        self.servers = [PostgresServer(run.subfolder(name, server_account()), name, settings=settings).create()
                        for name in ("shard1", "shard2", "shard3")]
        for server in self.servers:
            server.start()
            server.create_user(USER, PASSWORD)
            for database in ("alone", "sharded"):
                server.create_database(database, USER)
                server.psql(f"SET ROLE {USER};{orders.SCHEMA}", database)
        first = self.servers[0]
        self.proxy = Proxy(run.subfolder("pgshunt"), {
            "pgshunt": {"auth_type": "trust", "workers": 1, "default_pool_size": clients + 2},
            "users": {USER: {"password": PASSWORD}},
            "databases": {"sharded": {
                "shards": [{"name": server.name, "host": server.host, "port": server.port,
                            "dbname": "sharded"} for server in self.servers],
                **orders.keyspace_and_tables()}},
        }).start()
        self.ways = {"alone": (first.host, first.port), "sharded": ("127.0.0.1", self.proxy.port)}
        self.load("sharded", self.proxy.connect("sharded", USER, PASSWORD), warehouses)
        self.load("alone", first.connect("alone", USER), warehouses)

    @staticmethod
    def load(name, connection, warehouses):
        print(f"loading {warehouses} warehouses into {name}", file=sys.stderr)
        connection.autocommit = True
        orders.load(connection.cursor(), warehouses)
        connection.close()

    def environment(self, way):
        host, port = self.ways[way]
        return {"PGHOST": host, "PGPORT": str(port), "PGUSER": USER, "PGPASSWORD": PASSWORD, "PGDATABASE": way}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--warehouses", type=int, default=12)
    parser.add_argument("--protocol", choices=("simple", "extended", "prepared"), default="prepared")
    parser.add_argument("--no-fsync", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    run = Run()
    try:
        world = World(run, options.clients, options.warehouses, not options.no_fsync)
        scripts = orders.write_scripts(run.folder)
        samples = {way: [] for way in world.ways}
        for _ in range(options.rounds):
            for way, taken in samples.items():
                taken.append(orders.run(world.environment(way), scripts, options.warehouses, options.clients,
                                        seconds=options.seconds, protocol=options.protocol))
        wrong = orders.check(world.servers, "sharded", "together")
        wrong += orders.check(world.servers[:1], "alone", "together")
    finally:
        run.close()
    result = {"wrong": wrong, "ratio": statistics.median(
        sharded["tps"] / alone["tps"] for sharded, alone in zip(samples["sharded"], samples["alone"]))}
    for way, taken in samples.items():
        result[way] = {"tps": statistics.median(each["tps"] for each in taken)}
        for name in orders.MIX:
            each = [one["by_script"][name] for one in taken]
            result[way][name] = {"latency_ms": statistics.median(one["latency_ms"] for one in each),
                                 "retried": sum(one["retried"] for one in each),
                                 "failed": sum(one["failed"] for one in each)}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(f"{'':14}{'alone':>10} tps {'sharded':>10} tps   ratio {result['ratio']:.2f}")
        print(f"{'all':14}{result['alone']['tps']:10.0f}     {result['sharded']['tps']:10.0f}")
        for name in orders.MIX:
            alone, sharded = result["alone"][name], result["sharded"][name]
            print(f"{name:14}{alone['latency_ms']:10.2f} ms  {sharded['latency_ms']:10.2f} ms   "
                  f"tried again {alone['retried']} / {sharded['retried']}, failed {alone['failed']} / {sharded['failed']}")
        for each in wrong:
            print(each)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
