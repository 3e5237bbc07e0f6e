"""pgbench's TPC-B with all tables sharded by branch, so that a transaction stays on one shard."""

import os
import re
import subprocess

from harness.postgres import BIN

TELLERS, ACCOUNTS = 2, 20  # of each branch
SCHEMA = """
CREATE TABLE branches (bid bigint PRIMARY KEY, bbalance int NOT NULL);
CREATE TABLE tellers (bid bigint, tid int, tbalance int NOT NULL, PRIMARY KEY (bid, tid));
CREATE TABLE accounts (bid bigint, aid int, abalance int NOT NULL, PRIMARY KEY (bid, aid));
CREATE TABLE history (bid bigint, tid int, aid int, delta int, mtime timestamptz);
"""
TABLES = ("branches", "tellers", "accounts", "history")
# As pgbench's own, and the branch in every condition.
TRANSACTION = """
\\set bid random(1, {branches})
\\set tid random(1, 2)
\\set aid random(1, 20)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE accounts SET abalance = abalance + :delta WHERE bid = :bid AND aid = :aid;
SELECT abalance FROM accounts WHERE bid = :bid AND aid = :aid;
UPDATE tellers SET tbalance = tbalance + :delta WHERE bid = :bid AND tid = :tid;
UPDATE branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO history (bid, tid, aid, delta, mtime)
  VALUES (:bid, :tid, :aid, :delta, '2024-01-01 00:00:00+00');
END;
"""
# What a shard may be trusted with: balances are made of deltas, on one shard as on another.
BALANCED = """
SELECT bid, (SELECT sum(delta) FROM history h WHERE h.bid = b.bid),
       bbalance, (SELECT sum(tbalance) FROM tellers t WHERE t.bid = b.bid),
       (SELECT sum(abalance) FROM accounts a WHERE a.bid = b.bid) FROM branches b
"""


def load(cursor, branches):
    """Through the proxy: all balances are zero."""
    for bid in range(1, branches + 1):
        cursor.execute("INSERT INTO branches VALUES (%s, 0)", (bid,))
        cursor.execute("INSERT INTO tellers VALUES " +
                       ", ".join(f"({bid}, {tid}, 0)" for tid in range(1, TELLERS + 1)))
        cursor.execute("INSERT INTO accounts VALUES " +
                       ", ".join(f"({bid}, {aid}, 0)" for aid in range(1, ACCOUNTS + 1)))


def run(environment, folder, branches, clients, seconds, protocol="prepared"):
    """Transactions a second, by pgbench; one that fails is an error."""
    script = folder / "tpcb.sql"
    script.write_text(TRANSACTION.format(branches=branches))
    done = subprocess.run([str(BIN / "pgbench"), "-n", "-c", str(clients), "-j", str(min(clients, 4)),
                           "-T", str(seconds), "-M", protocol, "-f", str(script)],
                          capture_output=True, text=True, timeout=seconds + 60, check=False,
                          env={**os.environ, **environment})
    if done.returncode != 0 or "ERROR" in done.stderr or "number of failed transactions: 0 " not in done.stdout:
        raise RuntimeError(f"pgbench: {done.stdout}{done.stderr}")
    return float(re.search(r"tps = ([\d.]+)", done.stdout).group(1))


def check(servers, dbname):
    """The branches whose balances are not what their history says, over all shards."""
    return [row for server in servers for row in server.execute(BALANCED, dbname=dbname)
            if len({balance or 0 for balance in row[1:]}) != 1]
