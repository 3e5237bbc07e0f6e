"""TPC-H: its eight tables, filled by a small seeded generator of our own, and its 22 queries with the parameters
of the specification's validation runs.

The distributions are the specification's where queries look at them: dates, keys and how they hang together, brands, types,
containers, segments, priorities, nations, flags. At a hundredth of the smallest scale or less some of what the queries ask for
would be there once or not at all, so that is made more often: see WANTED and the large orders. Numbers are whole
cents until they are printed: no floats anywhere.

Not a benchmark result in TPC's sense."""

import datetime
import random

from harness.workload import Query, Workload, lines

SCHEMA = """
CREATE TABLE region (r_regionkey integer PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152));
CREATE TABLE nation (n_nationkey integer PRIMARY KEY, n_name char(25) NOT NULL, n_regionkey integer NOT NULL,
  n_comment varchar(152));
CREATE TABLE supplier (s_suppkey integer PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL,
  s_nationkey integer NOT NULL, s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, s_comment varchar(101) NOT NULL);
CREATE TABLE part (p_partkey integer PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL,
  p_brand char(10) NOT NULL, p_type varchar(25) NOT NULL, p_size integer NOT NULL, p_container char(10) NOT NULL,
  p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL);
CREATE TABLE partsupp (ps_partkey integer, ps_suppkey integer, ps_availqty integer NOT NULL,
  ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE TABLE customer (c_custkey integer PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL,
  c_nationkey integer NOT NULL, c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, c_mktsegment char(10) NOT NULL,
  c_comment varchar(117) NOT NULL);
CREATE TABLE orders (o_orderkey bigint PRIMARY KEY, o_custkey integer NOT NULL, o_orderstatus char(1) NOT NULL,
  o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL,
  o_shippriority integer NOT NULL, o_comment varchar(79) NOT NULL);
CREATE TABLE lineitem (l_orderkey bigint, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer,
  l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
  l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL,
  l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL,
  l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber));
"""
KEYSPACES = {"order": "bigint", "customer": "integer", "part": "integer", "supplier": "integer"}
# Orders lie with their lines and parts with their suppliers' offers; all else that queries join is on other shards.
KEYS = {"region": None, "nation": None,
        "supplier": ("supplier", "s_suppkey"),
        "part": ("part", "p_partkey"), "partsupp": ("part", "ps_partkey"),
        "customer": ("customer", "c_custkey"),
        "orders": ("order", "o_orderkey"), "lineitem": ("order", "l_orderkey")}

REGIONS = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"]
NATIONS = [("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0), ("FRANCE", 3),
           ("GERMANY", 3), ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4), ("JAPAN", 2), ("JORDAN", 4), ("KENYA", 0),
           ("MOROCCO", 0), ("MOZAMBIQUE", 0), ("PERU", 1), ("CHINA", 2), ("ROMANIA", 3), ("SAUDI ARABIA", 4), ("VIETNAM", 2),
           ("RUSSIA", 3), ("UNITED KINGDOM", 3), ("UNITED STATES", 1)]
SEGMENTS = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"]
PRIORITIES = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"]
INSTRUCTIONS = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]
MODES = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]
TYPES = (["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"], ["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
         ["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"])
CONTAINERS = (["SM", "LG", "MED", "JUMBO", "WRAP"], ["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"])
COLOURS = ("almond antique azure beige blue brown burlywood chocolate coral cream cyan dark deep dim firebrick floral forest "
           "ghost goldenrod green grey honeydew hot indian ivory khaki lace lavender lemon light lime linen magenta maroon "
           "metallic midnight mint misty navy olive orange orchid pale peach pink plum purple red rose royal salmon sandy "
           "sienna sky slate snow spring steel tan thistle tomato turquoise violet wheat white yellow").split()
WORDS = ("the furiously quickly carefully slyly bold even final ironic pending regular silent unusual accounts deposits "
         "foxes ideas packages pinto beans platelets requests theodolites above along among beneath sleep wake nag haggle "
         "detect cajole integrate").split()
# What queries 17 and 19, 8, and 2 look for: brand, container, type, largest size.
WANTED = [("Brand#23", "MED BOX", None, 50), ("Brand#12", "SM CASE", None, 5), ("Brand#23", "MED PKG", None, 10),
          ("Brand#34", "LG BOX", None, 15), (None, None, "ECONOMY ANODIZED STEEL", 50), (None, None, "LARGE POLISHED BRASS", None)]

FIRST_DAY = datetime.date(1992, 1, 1)
LAST_ORDER = (datetime.date(1998, 12, 31) - FIRST_DAY).days - 151
NOW = (datetime.date(1995, 6, 17) - FIRST_DAY).days
DAYS = [(FIRST_DAY + datetime.timedelta(day)).isoformat() for day in range(LAST_ORDER + 160)]


def money(cents):
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02}"


class Generator:
    """The same rows for the same scale, always."""

    def __init__(self, scale):
        self.random = random.Random(1992)
        # Fewer suppliers would offer a part twice.
        self.suppliers, self.parts = max(100, int(10_000 * scale)), max(50, int(200_000 * scale))
        self.customers, self.order_count = max(30, int(150_000 * scale)), max(100, int(1_500_000 * scale))

    def comment(self, count, extra=None):
        words = self.random.choices(WORDS, k=count)
        if extra:
            at = self.random.randrange(count - 1)
            words[at], words[at + 1] = extra
        return " ".join(words)

    def phone(self, nation):
        between = self.random.randint
        return f"{10 + nation}-{between(100, 999)}-{between(100, 999)}-{between(1000, 9999)}"

    def balance(self):
        return money(self.random.randint(-99_999, 999_999))

    def address(self):
        return "".join(self.random.choices("abcdefghij ABCDEFGHIJ,0123456789", k=self.random.randint(10, 40))).strip()

    def region(self):
        return [(key, name, self.comment(6)) for key, name in enumerate(REGIONS)]

    def nation(self):
        return [(key, name, region, self.comment(6)) for key, (name, region) in enumerate(NATIONS)]

    def supplier(self):
        for key in range(1, self.suppliers + 1):
            nation = key * 7 % 25  # evenly, so that each has some
            complaint = ("Customer", "Complaints") if key % 20 == 3 else None
            yield (key, f"Supplier#{key:09}", self.address(), nation, self.phone(nation), self.balance(),
                   self.comment(7, complaint))

    def part(self):
        choose = self.random.choice
        for key in range(1, self.parts + 1):
            maker = self.random.randint(1, 5)
            brand, container = f"Brand#{maker}{self.random.randint(1, 5)}", " ".join(map(choose, CONTAINERS))
            kind, size = " ".join(map(choose, TYPES)), self.random.randint(1, 50)
            name = self.random.sample(COLOURS, 5)
            if key % 40 == 0:
                wanted = WANTED[key // 40 % len(WANTED)]
                brand, container, kind = wanted[0] or brand, wanted[1] or container, wanted[2] or kind
                size = self.random.randint(1, wanted[3]) if wanted[3] else 15
            if key % 25 == 0 and "forest" not in name:
                name[0] = "forest"
            yield (key, " ".join(name), f"Manufacturer#{brand[6]}", brand, kind, size, container, money(self.price(key)),
                   self.comment(2))

    @staticmethod
    def price(part):
        return 90_000 + part // 10 % 20_001 + 100 * (part % 1000)

    def offerer(self, part, number):
        """The supplier of a part's offer 0 to 3."""
        return (part + number * (self.suppliers // 4 + (part - 1) // self.suppliers)) % self.suppliers + 1

    def partsupp(self):
        for part in range(1, self.parts + 1):
            for number in range(4):
                yield (part, self.offerer(part, number), self.random.randint(1, 9999), money(self.random.randint(100, 100_000)),
                       self.comment(8))

    def customer(self):
        for key in range(1, self.customers + 1):
            nation = self.random.randrange(25)
            yield (key, f"Customer#{key:09}", self.address(), nation, self.phone(nation), self.balance(),
                   self.random.choice(SEGMENTS), self.comment(8))

    def orders_and_lines(self):
        """A third of the customers never orders, and only every fourth group of eight keys is used."""
        between, choose = self.random.randint, self.random.choice
        orders, all_lines = [], []
        for number in range(self.order_count):
            key = number // 8 * 32 + number % 8 + 1
            customer = between(0, self.customers // 3 - 1) * 3 + between(1, 2)
            ordered = between(0, LAST_ORDER)
            large = number % 1500 == 700  # for query 18
            total, finished = 0, 0
            count = 7 if large else between(1, 7)
            for line in range(1, count + 1):
                part = between(1, self.parts)
                quantity = between(44, 50) if large else between(1, 50)
                price, discount, tax = quantity * self.price(part), between(0, 10), between(0, 8)
                shipped = ordered + between(1, 121)
                received = shipped + between(1, 30)
                open_ = shipped > NOW
                finished += not open_
                total += price * (100 - discount) * (100 + tax)
                all_lines.append((
                    key, part, self.offerer(part, between(0, 3)), line, f"{quantity}.00", money(price), money(discount),
                    money(tax), "N" if received > NOW else choose("RA"), "O" if open_ else "F", DAYS[shipped],
                    DAYS[ordered + between(30, 90)], DAYS[received], choose(INSTRUCTIONS), choose(MODES), self.comment(3)))
            status = "F" if finished == count else "P" if finished else "O"
            extra = ("special", "requests") if number % 50 == 7 else None
            orders.append((key, customer, status, money(total // 10_000), DAYS[ordered], choose(PRIORITIES),
                           f"Clerk#{between(1, 1000):09}", 0, self.comment(6, extra)))
        return orders, all_lines


def load(scale):
    made = Generator(scale)
    orders, order_lines = made.orders_and_lines()
    for table in KEYS:
        if table == "orders":
            rows = orders
        elif table == "lineitem":
            rows = order_lines
        else:
            rows = getattr(made, table)()
        yield table, lines(rows)


# Query 11's fraction is 0.0001 divided by the scale, here that of a hundredth. Query 15 is its variant without a view.
QUERIES = {
    "Q1": Query("""
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price,
       sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
       sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge,
       avg(l_quantity) AS avg_qty, avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc, count(*) AS count_order
FROM lineitem
WHERE l_shipdate <= date '1998-12-01' - interval '90' day
GROUP BY l_returnflag, l_linestatus
ORDER BY l_returnflag, l_linestatus""", (0, 1)),
    "Q2": Query("""
SELECT s_acctbal, s_name, n_name, p_partkey, p_mfgr, s_address, s_phone, s_comment
FROM part, supplier, partsupp, nation, region
WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND p_size = 15 AND p_type LIKE '%BRASS'
  AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE'
  AND ps_supplycost = (
    SELECT min(ps_supplycost) FROM partsupp, supplier, nation, region
    WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey
      AND n_regionkey = r_regionkey AND r_name = 'EUROPE')
ORDER BY s_acctbal DESC, n_name, s_name, p_partkey
LIMIT 100""", (0, 2, 1, 3)),
    "Q3": Query("""
SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
FROM customer, orders, lineitem
WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
  AND o_orderdate < date '1995-03-15' AND l_shipdate > date '1995-03-15'
GROUP BY l_orderkey, o_orderdate, o_shippriority
ORDER BY revenue DESC, o_orderdate
LIMIT 10""", (1, 2)),
    "Q4": Query("""
SELECT o_orderpriority, count(*) AS order_count
FROM orders
WHERE o_orderdate >= date '1993-07-01' AND o_orderdate < date '1993-07-01' + interval '3' month
  AND EXISTS (SELECT * FROM lineitem WHERE l_orderkey = o_orderkey AND l_commitdate < l_receiptdate)
GROUP BY o_orderpriority
ORDER BY o_orderpriority""", (0,)),
    "Q5": Query("""
SELECT n_name, sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM customer, orders, lineitem, supplier, nation, region
WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey
  AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'ASIA'
  AND o_orderdate >= date '1994-01-01' AND o_orderdate < date '1994-01-01' + interval '1' year
GROUP BY n_name
ORDER BY revenue DESC""", (1,)),
    "Q6": Query("""
SELECT sum(l_extendedprice * l_discount) AS revenue
FROM lineitem
WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1994-01-01' + interval '1' year
  AND l_discount BETWEEN 0.06 - 0.01 AND 0.06 + 0.01 AND l_quantity < 24"""),
    "Q7": Query("""
SELECT supp_nation, cust_nation, l_year, sum(volume) AS revenue
FROM (
  SELECT n1.n_name AS supp_nation, n2.n_name AS cust_nation, extract(year FROM l_shipdate) AS l_year,
         l_extendedprice * (1 - l_discount) AS volume
  FROM supplier, lineitem, orders, customer, nation n1, nation n2
  WHERE s_suppkey = l_suppkey AND o_orderkey = l_orderkey AND c_custkey = o_custkey
    AND s_nationkey = n1.n_nationkey AND c_nationkey = n2.n_nationkey
    AND ((n1.n_name = 'FRANCE' AND n2.n_name = 'GERMANY') OR (n1.n_name = 'GERMANY' AND n2.n_name = 'FRANCE'))
    AND l_shipdate BETWEEN date '1995-01-01' AND date '1996-12-31') AS shipping
GROUP BY supp_nation, cust_nation, l_year
ORDER BY supp_nation, cust_nation, l_year""", (0, 1, 2)),
    "Q8": Query("""
SELECT o_year, sum(CASE WHEN nation = 'BRAZIL' THEN volume ELSE 0 END) / sum(volume) AS mkt_share
FROM (
  SELECT extract(year FROM o_orderdate) AS o_year, l_extendedprice * (1 - l_discount) AS volume, n2.n_name AS nation
  FROM part, supplier, lineitem, orders, customer, nation n1, nation n2, region
  WHERE p_partkey = l_partkey AND s_suppkey = l_suppkey AND l_orderkey = o_orderkey AND o_custkey = c_custkey
    AND c_nationkey = n1.n_nationkey AND n1.n_regionkey = r_regionkey AND r_name = 'AMERICA'
    AND s_nationkey = n2.n_nationkey AND o_orderdate BETWEEN date '1995-01-01' AND date '1996-12-31'
    AND p_type = 'ECONOMY ANODIZED STEEL') AS all_nations
GROUP BY o_year
ORDER BY o_year""", (0,)),
    "Q9": Query("""
SELECT nation, o_year, sum(amount) AS sum_profit
FROM (
  SELECT n_name AS nation, extract(year FROM o_orderdate) AS o_year,
         l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity AS amount
  FROM part, supplier, lineitem, partsupp, orders, nation
  WHERE s_suppkey = l_suppkey AND ps_suppkey = l_suppkey AND ps_partkey = l_partkey AND p_partkey = l_partkey
    AND o_orderkey = l_orderkey AND s_nationkey = n_nationkey AND p_name LIKE '%green%') AS profit
GROUP BY nation, o_year
ORDER BY nation, o_year DESC""", (0, 1)),
    "Q10": Query("""
SELECT c_custkey, c_name, sum(l_extendedprice * (1 - l_discount)) AS revenue, c_acctbal, n_name, c_address, c_phone, c_comment
FROM customer, orders, lineitem, nation
WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND o_orderdate >= date '1993-10-01'
  AND o_orderdate < date '1993-10-01' + interval '3' month AND l_returnflag = 'R' AND c_nationkey = n_nationkey
GROUP BY c_custkey, c_name, c_acctbal, c_phone, n_name, c_address, c_comment
ORDER BY revenue DESC
LIMIT 20""", (2,)),
    "Q11": Query("""
SELECT ps_partkey, sum(ps_supplycost * ps_availqty) AS value
FROM partsupp, supplier, nation
WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'GERMANY'
GROUP BY ps_partkey
HAVING sum(ps_supplycost * ps_availqty) > (
  SELECT sum(ps_supplycost * ps_availqty) * 0.01
  FROM partsupp, supplier, nation
  WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'GERMANY')
ORDER BY value DESC""", (1,)),
    "Q12": Query("""
SELECT l_shipmode,
       sum(CASE WHEN o_orderpriority = '1-URGENT' OR o_orderpriority = '2-HIGH' THEN 1 ELSE 0 END) AS high_line_count,
       sum(CASE WHEN o_orderpriority <> '1-URGENT' AND o_orderpriority <> '2-HIGH' THEN 1 ELSE 0 END) AS low_line_count
FROM orders, lineitem
WHERE o_orderkey = l_orderkey AND l_shipmode IN ('MAIL', 'SHIP') AND l_commitdate < l_receiptdate AND l_shipdate < l_commitdate
  AND l_receiptdate >= date '1994-01-01' AND l_receiptdate < date '1994-01-01' + interval '1' year
GROUP BY l_shipmode
ORDER BY l_shipmode""", (0,)),
    "Q13": Query("""
SELECT c_count, count(*) AS custdist
FROM (
  SELECT c_custkey, count(o_orderkey)
  FROM customer LEFT OUTER JOIN orders ON c_custkey = o_custkey AND o_comment NOT LIKE '%special%requests%'
  GROUP BY c_custkey) AS c_orders (c_custkey, c_count)
GROUP BY c_count
ORDER BY custdist DESC, c_count DESC""", (1, 0)),
    "Q14": Query("""
SELECT 100.00 * sum(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END)
       / sum(l_extendedprice * (1 - l_discount)) AS promo_revenue
FROM lineitem, part
WHERE l_partkey = p_partkey AND l_shipdate >= date '1995-09-01' AND l_shipdate < date '1995-09-01' + interval '1' month"""),
    "Q15": Query("""
WITH revenue (supplier_no, total_revenue) AS (
  SELECT l_suppkey, sum(l_extendedprice * (1 - l_discount))
  FROM lineitem
  WHERE l_shipdate >= date '1996-01-01' AND l_shipdate < date '1996-01-01' + interval '3' month
  GROUP BY l_suppkey)
SELECT s_suppkey, s_name, s_address, s_phone, total_revenue
FROM supplier, revenue
WHERE s_suppkey = supplier_no AND total_revenue = (SELECT max(total_revenue) FROM revenue)
ORDER BY s_suppkey""", (0,)),
    "Q16": Query("""
SELECT p_brand, p_type, p_size, count(DISTINCT ps_suppkey) AS supplier_cnt
FROM partsupp, part
WHERE p_partkey = ps_partkey AND p_brand <> 'Brand#45' AND p_type NOT LIKE 'MEDIUM POLISHED%'
  AND p_size IN (49, 14, 23, 45, 19, 3, 36, 9)
  AND ps_suppkey NOT IN (SELECT s_suppkey FROM supplier WHERE s_comment LIKE '%Customer%Complaints%')
GROUP BY p_brand, p_type, p_size
ORDER BY supplier_cnt DESC, p_brand, p_type, p_size""", (3, 0, 1, 2)),
    "Q17": Query("""
SELECT sum(l_extendedprice) / 7.0 AS avg_yearly
FROM lineitem, part
WHERE p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container = 'MED BOX'
  AND l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)"""),
    "Q18": Query("""
SELECT c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity)
FROM customer, orders, lineitem
WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem GROUP BY l_orderkey HAVING sum(l_quantity) > 300)
  AND c_custkey = o_custkey AND o_orderkey = l_orderkey
GROUP BY c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice
ORDER BY o_totalprice DESC, o_orderdate
LIMIT 100""", (4, 3)),
    "Q19": Query("""
SELECT sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM lineitem, part
WHERE (p_partkey = l_partkey AND p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
       AND l_quantity >= 1 AND l_quantity <= 1 + 10 AND p_size BETWEEN 1 AND 5
       AND l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON')
   OR (p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
       AND l_quantity >= 10 AND l_quantity <= 10 + 10 AND p_size BETWEEN 1 AND 10
       AND l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON')
   OR (p_partkey = l_partkey AND p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
       AND l_quantity >= 20 AND l_quantity <= 20 + 10 AND p_size BETWEEN 1 AND 15
       AND l_shipmode IN ('AIR', 'AIR REG') AND l_shipinstruct = 'DELIVER IN PERSON')"""),
    "Q20": Query("""
SELECT s_name, s_address
FROM supplier, nation
WHERE s_suppkey IN (
    SELECT ps_suppkey FROM partsupp
    WHERE ps_partkey IN (SELECT p_partkey FROM part WHERE p_name LIKE 'forest%')
      AND ps_availqty > (
        SELECT 0.5 * sum(l_quantity) FROM lineitem
        WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey AND l_shipdate >= date '1994-01-01'
          AND l_shipdate < date '1994-01-01' + interval '1' year))
  AND s_nationkey = n_nationkey AND n_name = 'CANADA'
ORDER BY s_name""", (0,)),
    "Q21": Query("""
SELECT s_name, count(*) AS numwait
FROM supplier, lineitem l1, orders, nation
WHERE s_suppkey = l1.l_suppkey AND o_orderkey = l1.l_orderkey AND o_orderstatus = 'F' AND l1.l_receiptdate > l1.l_commitdate
  AND EXISTS (SELECT * FROM lineitem l2 WHERE l2.l_orderkey = l1.l_orderkey AND l2.l_suppkey <> l1.l_suppkey)
  AND NOT EXISTS (SELECT * FROM lineitem l3 WHERE l3.l_orderkey = l1.l_orderkey AND l3.l_suppkey <> l1.l_suppkey
                  AND l3.l_receiptdate > l3.l_commitdate)
  AND s_nationkey = n_nationkey AND n_name = 'SAUDI ARABIA'
GROUP BY s_name
ORDER BY numwait DESC, s_name
LIMIT 100""", (1, 0)),
    "Q22": Query("""
SELECT cntrycode, count(*) AS numcust, sum(c_acctbal) AS totacctbal
FROM (
  SELECT substring(c_phone FROM 1 FOR 2) AS cntrycode, c_acctbal
  FROM customer
  WHERE substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17')
    AND c_acctbal > (
      SELECT avg(c_acctbal) FROM customer
      WHERE c_acctbal > 0.00 AND substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17'))
    AND NOT EXISTS (SELECT * FROM orders WHERE o_custkey = c_custkey)) AS custsale
GROUP BY cntrycode
ORDER BY cntrycode""", (0,)),
}

WORKLOAD = Workload("tpch", SCHEMA, KEYSPACES, KEYS, load, QUERIES)
