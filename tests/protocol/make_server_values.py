#!/usr/bin/env python3
"""Asks a PostgreSQL server for values in text and binary and in its own order.

    tests/protocol/make_server_values.py "host=/tmp dbname=postgres" > tests/protocol/server_values.tsv

Each line: type, rank in the type's order (equal values share it), binary form in hex, a text form.
tests/protocol/server_values_test.cc holds the proxy's decoders against it.
"""
import random
import sys

import psycopg2

rng = random.Random(20240229)


def integers(low, high):
    values = [low, low + 1, -1, 0, 1, 9, 10, 4095, high - 1, high]
    values += [rng.randint(low, high) for _ in range(8)]
    values += [rng.randint(-100, 100) for _ in range(4)]
    return [str(v) for v in values if low <= v <= high] + ["  42 ", "+7", "-0", "007"]


def numerics():
    texts = ["0", "0.000", "-0", "1", "1.0", "1.00000", "-1", "10000", "9999", "9999.9999", "0.0001",
             "0.00001", "1e3", "1E-3", "-1.5e+10", "12345678901234567890.123456789", ".5", "5.",
             "NaN", "nan", "infinity", "-Infinity", "inf", "1e1000", "-1e1000", "1e-1000", "+3",
             "100000000", "99999999", "0.99999999", "0000123.4500", " 8 "]
    for _ in range(60):
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 40)))
        point = rng.randint(0, len(digits))
        text = rng.choice(["", "-"]) + digits[:point] + rng.choice([".", "."]) + digits[point:]
        if rng.random() < 0.3:
            text += "e%d" % rng.randint(-30, 30)
        texts.append(text)
    return texts


def floats(most):
    texts = ["0", "-0", "1", "-1", "0.1", "1e-30", "1.5e30", "NaN", "Infinity", "-Infinity", "inf",
             "-inf", "+2.5", ".5", "5.", " 3 ", "16777217", "0.30000000000000004"]
    return texts + [repr(rng.uniform(-1, 1) * 10 ** rng.randint(-most, most)) for _ in range(20)]


def dates():
    texts = ["2000-01-01", "1999-12-31", "2024-02-29", "1970-01-01", "1900-02-28", "1900-03-01",
             "0001-01-01", "0001-12-31 BC", "0004-02-29", "0005-02-28 BC", "4714-11-24 BC",
             "5874897-12-31", "infinity", "-infinity", "9999-12-31", "10000-01-01"]
    return texts + ["%04d-%02d-%02d" % (rng.randint(1, 4000), rng.randint(1, 12), rng.randint(1, 28))
                    for _ in range(30)]


def times():
    texts = ["00:00:00", "24:00:00", "23:59:59.999999", "12:34", "12:34:56.7"]
    return texts + ["%02d:%02d:%02d.%06d" % (rng.randint(0, 23), rng.randint(0, 59),
                                             rng.randint(0, 59), rng.randint(0, 999999))
                    for _ in range(15)]


def timestamps():
    texts = ["infinity", "-infinity", "2000-01-01 00:00:00", "1999-12-31 23:59:59.999999",
             "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "2024-01-05T10:11:12",
             "2024-01-05", "0044-03-15 12:00:00 BC", "2024-12-31 24:00:00", "2024-01-05 10:11"]
    for _ in range(30):
        texts.append("%04d-%02d-%02d %02d:%02d:%02d%s" % (
            rng.randint(1, 3000), rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23),
            rng.randint(0, 59), rng.randint(0, 59),
            rng.choice(["", ".5", ".123456", ".000001", ".1200"])))
    return texts


def timestamptzs():
    zones = ["+00", "Z", "+02", "-05:30", "+05:45", "-00:01:15", "+0130", "+15:59", "-15:59"]
    texts = ["infinity", "-infinity", "0044-03-15 12:00:00+01 BC", "4714-11-24 00:00:00+00 BC",
             "4714-11-23 23:00:00-01 BC", "294276-12-31 23:59:59.999999+00"]
    return texts + [t + rng.choice(zones) for t in timestamps() if len(t) > 13 and "BC" not in t
                    and not t.startswith("294276")]


def uuids():
    texts = ["00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
             "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
             "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"]
    return texts + ["%032x" % rng.getrandbits(128) for _ in range(10)]


def byteas():
    texts = ["", "\\x", "\\x00", "\\x00ff", "\\xDEADbeef", "abc", "a\\\\b", "\\000\\377", "\\x61 62"]
    return texts + ["\\x" + "%0*x" % (2 * n, rng.getrandbits(8 * n)) for n in range(1, 12)]


TYPES = {
    "bool": ("boolsend", ["t", "f", "true", "FALSE", "yes", "n", "on", "of", "1", "0", " tr "]),
    "int2": ("int2send", integers(-2**15, 2**15 - 1)),
    "int4": ("int4send", integers(-2**31, 2**31 - 1)),
    "int8": ("int8send", integers(-2**63, 2**63 - 1)),
    "float4": ("float4send", floats(30)),
    "float8": ("float8send", floats(300)),
    "numeric": ("numeric_send", numerics()),
    "date": ("date_send", dates()),
    "time": ("time_send", times()),
    "timestamp": ("timestamp_send", timestamps()),
    "timestamptz": ("timestamptz_send", timestamptzs()),
    "uuid": ("uuid_send", uuids()),
    "bytea": ("byteasend", byteas()),
    "text": ("textsend", ["", "a", "A", "aa", "b", "ä", "Z", "~", " a", "\U0001f600", "\uffff"]),
}


def main():
    connection = psycopg2.connect(sys.argv[1])
    connection.autocommit = True
    cursor = connection.cursor()
    for name, (send, literals) in TYPES.items():
        collate = ' collate "C"' if name == "text" else ""
        forms = set(literals)
        # What the server itself writes, under settings that change it.
        for settings in [("UTC", "hex", 1), ("Asia/Kolkata", "escape", 0), ("America/St_Johns", "hex", 3)]:
            cursor.execute("set timezone = %s; set bytea_output = %s; set extra_float_digits = %s; "
                           "set datestyle = 'ISO, DMY'", settings)
            if name.startswith("float") and settings[2] < 1:
                continue
            cursor.execute(f"select v::{name}::text from unnest(%s) v", (literals,))
            forms.update(row[0] for row in cursor.fetchall())
        cursor.execute(
            f"select dense_rank() over (order by v::{name}{collate}), "
            f"encode({send}(v::{name}), 'hex'), v from unnest(%s) v order by 1, 2, v collate \"C\"",
            (sorted(forms),))
        for rank, binary, text in cursor.fetchall():
            print(name, rank, binary, text, sep="\t")


main()
