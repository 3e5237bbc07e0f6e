"""An order-entry load in the manner of TPC-C, for pgbench: warehouses with districts, customers and
stock, all sharded by warehouse, and a catalog of items that every shard has a copy of.

Some payments are for customers of another warehouse and some order lines are supplied from one, so
part of the transactions write on two shards. What must hold afterwards is in check(): sums on one
shard are made of rows on others, so a transaction that was done by half, or twice, shows.

Not a benchmark result in TPC's sense: the mix is its, the sizes and the think times are not."""

import io
import itertools
import os
import re
import subprocess
from contextlib import closing

from harness.postgres import BIN

DISTRICTS, CUSTOMERS, ITEMS, LINES = 10, 30, 200, 5
STOCK = 100

SCHEMA = """
CREATE TABLE warehouse (w_id int PRIMARY KEY, w_ytd bigint NOT NULL, w_tax int NOT NULL);
CREATE TABLE district (d_w_id int, d_id int, d_next_o_id int NOT NULL, d_ytd bigint NOT NULL,
  PRIMARY KEY (d_w_id, d_id));
CREATE TABLE customer (c_w_id int, c_d_id int, c_id int, c_balance bigint NOT NULL,
  c_ytd_payment bigint NOT NULL, c_payment_cnt int NOT NULL, c_delivery_cnt int NOT NULL,
  PRIMARY KEY (c_w_id, c_d_id, c_id));
CREATE TABLE history (h_w_id int, h_d_id int, h_c_w_id int, h_c_d_id int, h_c_id int, h_amount bigint,
  h_date timestamptz);
CREATE TABLE orders (o_w_id int, o_d_id int, o_id int, o_c_id int NOT NULL, o_ol_cnt int NOT NULL,
  o_carrier_id int, o_entry_d timestamptz, PRIMARY KEY (o_w_id, o_d_id, o_id));
CREATE TABLE new_orders (no_w_id int, no_d_id int, no_o_id int, PRIMARY KEY (no_w_id, no_d_id, no_o_id));
CREATE TABLE order_lines (ol_w_id int, ol_d_id int, ol_o_id int, ol_number int, ol_i_id int,
  ol_supply_w_id int, ol_quantity int, ol_amount bigint,
  PRIMARY KEY (ol_w_id, ol_d_id, ol_o_id, ol_number));
CREATE TABLE stock (s_w_id int, s_i_id int, s_quantity int NOT NULL, s_ytd bigint NOT NULL,
  s_order_cnt int NOT NULL, s_remote_cnt int NOT NULL, PRIMARY KEY (s_w_id, s_i_id));
CREATE TABLE items (i_id int PRIMARY KEY, i_price int NOT NULL);
"""
KEYS = {"warehouse": "w_id", "district": "d_w_id", "customer": "c_w_id", "history": "h_w_id",
        "orders": "o_w_id", "new_orders": "no_w_id", "order_lines": "ol_w_id", "stock": "s_w_id"}

# The last line of an order may be supplied from another warehouse; lines go by ascending item.
NEW_ORDER = f"""
\\set w random(1, :warehouses)
\\set d random(1, {DISTRICTS})
\\set c random(1, {CUSTOMERS})
\\set i1 random(1, {ITEMS - LINES})
\\set i2 :i1 + 1
\\set i3 :i1 + 2
\\set i4 :i1 + 3
\\set i5 :i1 + 4
\\set q random(1, 10)
\\set s :w
\\set far random(1, 100)
\\if :far <= 10
\\set s random(1, :warehouses)
\\endif
\\set wrong random(1, 100)
BEGIN;
SELECT w_tax FROM warehouse WHERE w_id = :w;
UPDATE district SET d_next_o_id = d_next_o_id + 1 WHERE d_w_id = :w AND d_id = :d
  RETURNING d_next_o_id - 1 AS o \\gset
INSERT INTO orders VALUES (:w, :d, :o, :c, {LINES}, NULL, now());
INSERT INTO new_orders VALUES (:w, :d, :o);
SELECT sum(i_price) AS price FROM items WHERE i_id BETWEEN :i1 AND :i5 \\gset
UPDATE stock SET s_quantity = CASE WHEN s_quantity >= :q + 10 THEN s_quantity - :q ELSE s_quantity - :q + 91 END,
  s_ytd = s_ytd + :q, s_order_cnt = s_order_cnt + 1 WHERE s_w_id = :w AND s_i_id BETWEEN :i1 AND :i4;
UPDATE stock SET s_quantity = CASE WHEN s_quantity >= :q + 10 THEN s_quantity - :q ELSE s_quantity - :q + 91 END,
  s_ytd = s_ytd + :q, s_order_cnt = s_order_cnt + 1, s_remote_cnt = s_remote_cnt + (:s <> :w)::int
  WHERE s_w_id = :s AND s_i_id = :i5;
INSERT INTO order_lines VALUES (:w, :d, :o, 1, :i1, :w, :q, :price), (:w, :d, :o, 2, :i2, :w, :q, :price),
  (:w, :d, :o, 3, :i3, :w, :q, :price), (:w, :d, :o, 4, :i4, :w, :q, :price),
  (:w, :d, :o, 5, :i5, :s, :q, :price);
\\if :wrong = 1
ROLLBACK;
\\else
END;
\\endif
"""
PAYMENT = f"""
\\set w random(1, :warehouses)
\\set d random(1, {DISTRICTS})
\\set cw :w
\\set cd random(1, {DISTRICTS})
\\set c random(1, {CUSTOMERS})
\\set h random(1, 5000)
\\set far random(1, 100)
\\if :far <= 15
\\set cw random(1, :warehouses)
\\endif
BEGIN;
UPDATE warehouse SET w_ytd = w_ytd + :h WHERE w_id = :w;
UPDATE district SET d_ytd = d_ytd + :h WHERE d_w_id = :w AND d_id = :d;
UPDATE customer SET c_balance = c_balance - :h, c_ytd_payment = c_ytd_payment + :h,
  c_payment_cnt = c_payment_cnt + 1 WHERE c_w_id = :cw AND c_d_id = :cd AND c_id = :c;
INSERT INTO history VALUES (:w, :d, :cw, :cd, :c, :h, now());
END;
"""
ORDER_STATUS = f"""
\\set w random(1, :warehouses)
\\set d random(1, {DISTRICTS})
\\set c random(1, {CUSTOMERS})
BEGIN READ ONLY;
SELECT c_balance FROM customer WHERE c_w_id = :w AND c_d_id = :d AND c_id = :c;
SELECT coalesce(max(o_id), 0) AS o FROM orders WHERE o_w_id = :w AND o_d_id = :d AND o_c_id = :c \\gset
SELECT ol_i_id, ol_supply_w_id, ol_quantity, ol_amount FROM order_lines
  WHERE ol_w_id = :w AND ol_d_id = :d AND ol_o_id = :o;
END;
"""
DELIVERY = f"""
\\set w random(1, :warehouses)
\\set d random(1, {DISTRICTS})
\\set carrier random(1, 10)
BEGIN;
SELECT coalesce(min(no_o_id), 0) AS o FROM new_orders WHERE no_w_id = :w AND no_d_id = :d \\gset
WITH gone AS (DELETE FROM new_orders WHERE no_w_id = :w AND no_d_id = :d AND no_o_id = :o RETURNING 1)
  SELECT count(*) AS n FROM gone \\gset
\\if :n = 1
UPDATE orders SET o_carrier_id = :carrier WHERE o_w_id = :w AND o_d_id = :d AND o_id = :o
  RETURNING o_c_id AS c \\gset
SELECT sum(ol_amount) AS total FROM order_lines WHERE ol_w_id = :w AND ol_d_id = :d AND ol_o_id = :o \\gset
UPDATE customer SET c_balance = c_balance + :total, c_delivery_cnt = c_delivery_cnt + 1
  WHERE c_w_id = :w AND c_d_id = :d AND c_id = :c;
\\endif
END;
"""
STOCK_LEVEL = f"""
\\set w random(1, :warehouses)
\\set d random(1, {DISTRICTS})
SELECT d_next_o_id AS o FROM district WHERE d_w_id = :w AND d_id = :d \\gset
SELECT count(DISTINCT s_i_id) FROM order_lines JOIN stock ON s_w_id = ol_w_id AND s_i_id = ol_i_id
  WHERE ol_w_id = :w AND ol_d_id = :d AND ol_o_id BETWEEN :o - 20 AND :o - 1 AND s_quantity < 15;
"""
# Not TPC-C's: what only all shards together can answer.
BEST_WAREHOUSES = """
SELECT w_id, w_ytd FROM warehouse ORDER BY w_ytd DESC, w_id LIMIT 3;
"""
# Weights; the specification's, but for the last.
MIX = {"new_order": (NEW_ORDER, 45), "payment": (PAYMENT, 43), "order_status": (ORDER_STATUS, 4),
       "delivery": (DELIVERY, 4), "stock_level": (STOCK_LEVEL, 4), "best": (BEST_WAREHOUSES, 1)}

# Each must give no row, over the rows of all shards put together.
BROKEN = {
    "a warehouse's takings are its districts'":
        "SELECT w_id FROM warehouse JOIN district ON d_w_id = w_id GROUP BY w_id HAVING min(w_ytd) <> sum(d_ytd)",
    "a warehouse's takings are its payments":
        "SELECT w_id FROM warehouse LEFT JOIN history ON h_w_id = w_id GROUP BY w_id "
        "HAVING min(w_ytd) <> coalesce(sum(h_amount), 0)",
    "orders are numbered without a gap":
        "SELECT d_w_id, d_id FROM district LEFT JOIN orders ON o_w_id = d_w_id AND o_d_id = d_id "
        "GROUP BY d_w_id, d_id HAVING min(d_next_o_id) - 1 <> coalesce(max(o_id), 0) OR count(o_id) <> coalesce(max(o_id), 0)",
    "an order has its lines":
        f"SELECT o_id FROM orders LEFT JOIN order_lines ON ol_w_id = o_w_id AND ol_d_id = o_d_id AND ol_o_id = o_id "
        f"GROUP BY o_w_id, o_d_id, o_id HAVING count(ol_number) <> {LINES}",
    "an order is new or has a carrier":
        "SELECT o_id FROM orders FULL JOIN new_orders ON no_w_id = o_w_id AND no_d_id = o_d_id AND no_o_id = o_id "
        "WHERE (o_carrier_id IS NULL) <> (no_o_id IS NOT NULL)",
    "stock goes where it was ordered":
        "SELECT s_w_id, s_i_id FROM stock LEFT JOIN order_lines ON ol_supply_w_id = s_w_id AND ol_i_id = s_i_id "
        "GROUP BY s_w_id, s_i_id HAVING min(s_ytd) <> coalesce(sum(ol_quantity), 0) OR min(s_order_cnt) <> count(ol_o_id)",
    "a customer owes what was delivered and not paid":
        "SELECT c_id FROM customer c WHERE c_balance <> "
        "coalesce((SELECT sum(ol_amount) FROM orders JOIN order_lines ON ol_w_id = o_w_id AND ol_d_id = o_d_id "
        "AND ol_o_id = o_id WHERE o_w_id = c_w_id AND o_d_id = c_d_id AND o_c_id = c_id "
        "AND o_carrier_id IS NOT NULL), 0) - coalesce((SELECT sum(h_amount) FROM history "
        "WHERE h_c_w_id = c_w_id AND h_c_d_id = c_d_id AND h_c_id = c_id), 0)",
}


def keyspace_and_tables():
    """For the configuration of the sharded database."""
    return {"keyspaces": [{"name": "warehouses", "type": "integer"}],
            "tables": [{"name": table, "keyspace": "warehouses", "key": key} for table, key in KEYS.items()] +
                      [{"name": "items", "reference": True}]}


def load(cursor, warehouses):
    """Through the proxy: the rows that are there before the first order."""
    cursor.execute("INSERT INTO items VALUES " + ", ".join(
        f"({item}, {100 + item * 7 % 900})" for item in range(1, ITEMS + 1)))
    for w in range(1, warehouses + 1):
        cursor.execute("INSERT INTO warehouse VALUES (%s, 0, %s)", (w, w % 20))
        cursor.execute("INSERT INTO district VALUES " + ", ".join(
            f"({w}, {d}, 1, 0)" for d in range(1, DISTRICTS + 1)))
        cursor.execute("INSERT INTO customer VALUES " + ", ".join(
            f"({w}, {d}, {c}, 0, 0, 0, 0)" for d in range(1, DISTRICTS + 1) for c in range(1, CUSTOMERS + 1)))
        cursor.execute("INSERT INTO stock VALUES " + ", ".join(
            f"({w}, {item}, {STOCK}, 0, 0, 0)" for item in range(1, ITEMS + 1)))


def write_scripts(folder):
    """The arguments of pgbench for the mix."""
    arguments = []
    for name, (text, weight) in MIX.items():
        path = folder / f"{name}.sql"
        path.write_text(text)
        arguments += ["-f", f"{path}@{weight}"]
    return arguments


def run(environment, scripts, warehouses, clients, *, seconds=None, transactions=None, protocol="simple"):
    """pgbench over the mix; its figures: transactions and failures by script, a second. Deadlocks
    and serialization failures are tried again, as the specification wants of an application."""
    limit = ["-T", seconds] if seconds else ["-t", transactions]
    command = [BIN / "pgbench", "-n", "-c", clients, "-j", min(clients, 4), *limit, "-M", protocol,
               "-D", f"warehouses={warehouses}", "--max-tries", 100, "--failures-detailed", *scripts]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False,
                          timeout=(seconds or 0) + 120, env={**os.environ, **environment})
    if done.returncode != 0 or "aborted" in done.stderr:
        raise RuntimeError(f"pgbench: {done.stdout}{done.stderr}")
    names = iter(MIX)
    by_script = {}
    for part in re.split(r"SQL script \d+: ", done.stdout)[1:]:
        latency = re.search(r"latency average = ([\d.]+) ms", part)  # missing if it never ran
        by_script[next(names)] = {
            "transactions": int(re.search(r"- (\d+) transactions", part).group(1)),
            "failed": int(re.search(r"number of failed transactions: (\d+)", part).group(1)),
            "retried": int(re.search(r"number of transactions retried: (\d+)", part).group(1)),
            "latency_ms": float(latency.group(1)) if latency else 0.0,
        }
    tps = float(re.search(r"tps = ([\d.]+)", done.stdout).group(1))
    return {"tps": tps, "by_script": by_script}


def copy(source, target, table):
    """All rows of one table, from connection to connection; both end."""
    rows = io.BytesIO()
    with closing(source), closing(target), source.cursor() as reader, target.cursor() as writer:
        reader.copy_expert(f"COPY {table} TO STDOUT", rows)
        rows.seek(0)
        writer.copy_expert(f"COPY {table} FROM STDIN", rows)


def check(servers, dbname, scratch):
    """What is wrong, as text; empty if nothing is. The rows of all shards are put together in the
    database `scratch` of the first server, which is made for it."""
    first = servers[0]
    first.execute(f"DROP DATABASE IF EXISTS {scratch}")
    first.create_database(scratch)
    # Without the primary keys, so that a row that is there twice shows as such.
    first.psql(re.sub(r",\s*PRIMARY KEY \([^)]*\)|PRIMARY KEY", "", SCHEMA), scratch)
    wrong = []
    for table in (*KEYS, "items"):
        for server in servers if table in KEYS else servers[:1]:
            copy(server.connect(dbname), first.connect(scratch), table)
    for rule, sql in BROKEN.items():
        if rows := first.execute(sql, dbname=scratch):
            wrong.append(f"not true that {rule}: {list(itertools.islice(rows, 3))}")
    placed = [{key for (key,) in server.execute(f"SELECT DISTINCT {column} FROM {table}", dbname=dbname)}
              for table, column in KEYS.items() for server in servers]
    for at, keys in enumerate(placed):
        shard = at % len(servers)
        home = placed[shard]  # the table `warehouse` comes first
        if not keys <= home:
            wrong.append(f"{list(KEYS)[at // len(servers)]} has rows of {keys - home} on {servers[shard].name}")
    return wrong
