#!/usr/bin/env python3
"""Writes the seeds of the protocol's fuzz targets: tests/fuzz/corpus/<target>/seed-*.

Small well-formed inputs of every kind; the fuzzer takes them from there.
"""
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent / "corpus"


def write(target, seeds):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / f"seed-{name}").write_bytes(data)


def i16(*numbers):
    return b"".join(struct.pack(">H", n & 0xFFFF) for n in numbers)


def i32(*numbers):
    return b"".join(struct.pack(">I", n & 0xFFFFFFFF) for n in numbers)


def s(text):
    return text.encode() + b"\0"


def message(kind, body=b""):
    return kind + i32(len(body) + 4) + body


def packet(body):
    return i32(len(body) + 4) + body


def value(data):
    return i32(-1) if data is None else i32(len(data)) + data


def startup_seeds():
    def start(version, *pairs):
        return packet(i32(version) + b"".join(s(p) for p in pairs) + b"\0")

    return {
        "plain": start(196608, "user", "ann", "database", "shop"),
        "options": start(196608, "user", "a", "options", "-c a=b --c-d=e -e -fs -d2 -tpa"),
        "negotiate": start(196610, "user", "a", "_pq_.x", "1", "_pq_.y", ""),
        "empty": start(196608),
        "v2": start(131072, "user", "a"),
        "ssl": packet(i32(80877103)),
        "gss": packet(i32(80877104)),
        "cancel": packet(i32(80877102, 7) + b"abcd"),
        "cancel-long": packet(i32(80877102, 7) + b"k" * 32),
        "tls": b"\x16\x03\x01\x00\x05hello",
        "escapes": b"-c application_name=my\\ app\\\\ --x=y -sPc a=b -- ",
        "letters": b"-B 1 -C x -D y -E -F -N 3 -O -P -S 4 -T -W 0 -b -h z -i -j -k s -l -n -p 1 -r f -v 3",
    }


def frontend_seeds():
    bind = s("portal") + s("stmt") + i16(2, 0, 1) + i16(2) + value(b"42") + value(None) + i16(1, 1)
    call = i32(1598) + i16(1, 1) + i16(2) + value(b"\0\0\0\1") + value(None) + i16(0)
    return {
        "query": message(b"Q", s("select 1")),
        "parse": message(b"P", s("stmt") + s("select $1") + i16(2) + i32(23, 25)),
        "bind": message(b"B", bind),
        "describe": message(b"D", b"S" + s("stmt")),
        "close": message(b"C", b"P" + s("")),
        "execute": message(b"E", s("") + i32(10)),
        "call": message(b"F", call),
        "copy": message(b"d", b"1\t2\n") + message(b"c") + message(b"f", s("why")),
        "empty": message(b"S") + message(b"H") + message(b"X"),
        "password": message(b"p", s("secret")),
        "sasl": message(b"p", s("SCRAM-SHA-256") + value(b"n,,n=,r=abc")),
        "pipeline": message(b"P", s("") + s("begin") + i16(0)) + message(b"B", s("") + s("") + i16(0, 0, 0))
        + message(b"E", s("") + i32(0)) + message(b"S"),
    }


def backend_seeds():
    def field(name, oid):
        return s(name) + i32(16384) + i16(1) + i32(oid) + i16(8) + i32(-1) + i16(0)

    error = b"".join(c + s(t) for c, t in [(b"S", "ERROR"), (b"V", "ERROR"), (b"C", "42P01"),
                                            (b"M", "no table"), (b"H", "hint"), (b"P", "8")]) + b"\0"
    return {
        "ok": message(b"R", i32(0)),
        "md5": message(b"R", i32(5) + b"salt"),
        "sasl": message(b"R", i32(10) + s("SCRAM-SHA-256-PLUS") + s("SCRAM-SHA-256") + b"\0"),
        "sasl-continue": message(b"R", i32(11) + b"r=abc,s=def,i=4096"),
        "session": message(b"S", s("TimeZone") + s("UTC")) + message(b"K", i32(7) + b"abcd")
        + message(b"Z", b"I"),
        "rows": message(b"T", i16(3) + field("a", 20) + field("b", 25) + field("", 1700))
        + message(b"D", i16(3) + value(b"1") + value(None) + value(b"")) + message(b"C", s("SELECT 1")),
        "insert": message(b"C", s("INSERT 0 3")),
        "error": message(b"E", error),
        "notice": message(b"N", error),
        "notify": message(b"A", i32(9) + s("channel") + s("payload")),
        "copy": message(b"G", b"\1" + i16(2, 1, 1)) + message(b"H", b"\0" + i16(0)),
        "parameters": message(b"t", i16(2) + i32(23, 25)),
        "call": message(b"V", value(b"\0\0\0\1")) + message(b"V", value(None)),
        "empty": b"".join(message(t) for t in [b"1", b"2", b"3", b"n", b"s", b"I", b"c"]),
        "negotiate": message(b"v", i32(196608, 1) + s("_pq_.x")),
    }


def tracker_seeds():
    kinds = {k: i for i, k in enumerate(
        "query parse bind describe_statement describe_portal execute close sync function_call "
        "copy_end local local_error local_sync".split())}
    types = "123CDEGHINSTVWZcdntsAKR"

    def raw(*steps):
        out = bytearray([0])
        for step in steps:
            if step in kinds:
                out.append(kinds[step])
            else:
                # The first byte from 128 on that stands for this type.
                out += bytes(next(b for b in range(128, 256) if b % len(types) == types.index(c))
                             for c in step)
        return bytes(out)

    seeds = {
        "extended": raw("parse", "bind", "describe_portal", "execute", "sync", "12TDCZ"),
        "simple": raw("query", "TDDCZ"),
        "error": raw("parse", "bind", "execute", "sync", "1EZ"),
        "skip": raw("parse", "E", "bind", "sync", "Z"),
        "local": raw("parse", "local", "local_error", "bind", "sync", "1Z"),
        "copy-in": raw("execute", "sync", "G", "copy_end", "sync", "CZ"),
        "copy-in-fails": raw("execute", "sync", "G", "copy_end", "sync", "EZ", "query", "ZIZ"),
        "copy-out": raw("query", "HddcCZ"),
        "copy-both": raw("query", "Wd", "copy_end", "cCZ"),
        "call": raw("function_call", "VZ"),
        "long": raw(*["bind"] * 40, "2" * 40),
    }
    for n in range(12):
        seeds[f"conversation-{n}"] = bytes([1]) + bytes((i * (2 * n + 3) + n * n) % 251 for i in range(120))
    return seeds


def row_value_seeds():
    def record(kind, *values):
        out = bytes([kind])
        for binary, data in values:
            out += bytes([len(data) * 2 + binary]) + data
        return out

    numeric = i16(2, 0, 0, 1, 1, 5000)
    return {
        "bool": record(0, (0, b"true"), (1, b"\0"), (0, b"of")),
        "int2": record(1, (0, b"-32768"), (1, i16(7))),
        "int4": record(2, (0, b" 0x1F "), (1, i32(31)), (0, b"1_000")),
        "int8": record(3, (0, b"9223372036854775807"), (1, i32(0, 1))),
        "float4": record(4, (0, b"1.5e10"), (1, struct.pack(">f", 1.5)), (0, b"NaN")),
        "float8": record(5, (0, b"-Infinity"), (1, struct.pack(">d", -0.0)), (0, b"5.")),
        "numeric": record(6, (0, b"1.50"), (1, numeric), (0, b"-1e-20")),
        "numeric-special": record(6, (0, b"NaN"), (1, i16(0, 0, 0xD000, 0)), (0, b"-inf")),
        "date": record(7, (0, b"2024-02-29"), (1, i32(8825)), (0, b"0044-03-15 BC")),
        "time": record(8, (0, b"12:34:56.789"), (1, i32(0, 5)), (0, b"24:00:00")),
        "timestamp": record(9, (0, b"2024-02-29 13:14:15.123456"), (1, i32(0, 5)), (0, b"infinity")),
        "timestamptz": record(10, (0, b"2024-02-29T13:14:15+05:30"), (0, b"0001-01-01 00:00:00-00:01:15 BC")),
        "uuid": record(11, (0, b"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"), (1, bytes(range(16)))),
        "bytea": record(12, (0, b"\\x00 ff"), (0, b"a\\\\b\\001"), (1, b"\0")),
        "text": record(13, (0, b"abc"), (1, b"abd"), (0, b"")),
    }


def copy_rows_seeds():
    text, csv, binary = b"\0", b"\1", b"\2"
    header = b"PGCOPY\n\377\r\n\0" + i32(0, 0)
    rows = i16(3) + value(b"key") + value(None) + value(b"\n") + i16(3) + value(b"") * 3
    return {
        "text": text + b"\0\7" + b"1\ta\\tb\tc\n\\N\t\\x41\\101\\\n\t\n",
        "text-marker": text + b"\1\1" + b"1\ta\r\n2\tb\r\n\\.\r\nrubbish",
        "text-return": text + b"\2\2" + b"1\ta\tb\r2\tb\tc\r",
        "csv": csv + b"\0\3" + b'1,"a\n""b""",c\n,"",\n\\.\n',
        "csv-escape": b"\x51" + b"\1\5" + b'id,a,b\n1,"a\\"\n\\\\",c\n"open\n',
        "csv-default": b"\x81" + b"\0\1" + b"d,a,b\n",
        "binary": binary + b"\0\4" + header + rows + i16(-1),
        "binary-no-trailer": binary + b"\1\4" + header + rows,
    }


write("startup", startup_seeds())
write("frontend", frontend_seeds())
write("backend", backend_seeds())
write("tracker", tracker_seeds())
write("row_value", row_value_seeds())
write("copy_rows", copy_rows_seeds())
