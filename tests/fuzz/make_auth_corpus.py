#!/usr/bin/env python3
"""Writes the seeds of authentication's fuzz targets: tests/fuzz/corpus/{scram,login,auth_files}/seed-*."""
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent / "corpus"


def write(target, seeds):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / f"seed-{name}").write_bytes(data)


def message(kind, body):
    return kind + struct.pack(">I", len(body) + 4) + body


def startup(*pairs, version=0x30000):
    body = struct.pack(">I", version) + b"".join(p.encode() + b"\0" for p in pairs) + b"\0"
    return struct.pack(">I", len(body) + 4) + body


def auth(code, data=b""):
    return message(b"R", struct.pack(">I", code) + data)


SECRET = (b"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
          b"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
FIRST = b"n,,n=,r=rOprNGfwEbeRWgbNEkqO"
PROOF = b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

write("scram", {
    "server": b"\0" + FIRST + b"\nc=biws,r=rOprNGfwEbeRWgbNEkqOserver-nonce," + PROOF,
    "server-extensions": b"\0n,,n=a=2Cb,r=abc,x=y\nc=biws,r=abcserver-nonce,z=1," + PROOF,
    "server-bound": b"\1p=tls-server-end-point,,n=,r=abc\n"
                    b"c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsaGFzaA==,r=abcserver-nonce," + PROOF,
    "client": b"\2r=mineyours,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=2\nv=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    "client-error": b"\2r=mineyours,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=2\ne=invalid-proof",
    "verifier": b"\3" + SECRET,
    "base64": b"\3W22ZaJ0SNY7soEsUEjb6gQ==",
    "utf8": "\3\u00adp\u00e4ss \u2168\u0627\ufdfa".encode(),
})

ALICE = startup("user", "alice", "database", "shop", "options", "-c geqo=off")
SSL = struct.pack(">II", 8, 80877103)
GSS = struct.pack(">II", 8, 80877104)
SASL = message(b"p", b"SCRAM-SHA-256\0" + struct.pack(">I", len(FIRST)) + FIRST)
PLUS = b"p=tls-server-end-point,,n=,r=abc"
GREETING = (auth(0) + message(b"S", b"server_version\x0015\0") + message(b"K", struct.pack(">II", 7, 9)) +
            message(b"Z", b"I"))


def client(choice, data, piece=0):
    return bytes([choice << 1, piece]) + data


def server(choice, data, piece=0):
    return bytes([choice << 1 | 1, piece]) + data


write("login", {
    "client-password": client(0, ALICE + message(b"p", b"guess\0")),
    "client-md5": client(1, ALICE + message(b"p", b"md520c46e3762c864548e296b33c3406aa9\0"), 7),
    "client-scram": client(2, ALICE + SASL + message(b"p", b"c=biws,r=x," + PROOF), 3),
    "client-scram-stored": client(2, startup("user", "bob") + SASL + message(b"p", b"c=biws,r=x," + PROOF)),
    "client-tls": client(6, SSL, 8) + ALICE + message(
        b"p", b"SCRAM-SHA-256-PLUS\0" + struct.pack(">I", len(PLUS)) + PLUS),
    "client-gss": client(0, GSS + SSL + ALICE),
    "client-lookup": client(10, startup("user", "eve", "_pq_.x", "1", version=0x30002) + SASL),
    "client-cancel": client(0, struct.pack(">IIII", 16, 80877102, 1, 2)),
    "client-cert": client(7, SSL, 8) + ALICE,
    "client-wait": client(2, ALICE + message(b"p", b"SCRAM-SHA-256\0\xff\xff\xff\xff") + message(b"p", FIRST)),
    "server-trust": server(0, GREETING),
    "server-password": server(0, auth(3) + GREETING, 5),
    "server-md5": server(0, auth(5, b"salt") + GREETING),
    "server-scram": server(4, auth(10, b"SCRAM-SHA-256\0\0") + auth(11, b"r=x,s=c2FsdA==,i=4096") + auth(12, b"v=")),
    "server-tls": server(5, b"S", 1) + auth(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"),
    "server-no-tls": server(1, b"N" + GREETING, 1),
    "server-negotiates": server(2, message(b"v", struct.pack(">II", 0x30000, 0)) + GREETING),
    "server-error": server(0, message(b"E", b"SFATAL\0C28P01\0Mno\0\0")),
})

write("auth_files", {
    "hba": b"\0local all all trust\nhost all,\"my db\" alice,/^ops 10.0.0.0 255.0.0.0 md5 # x\n"
           b"hostssl sameuser @people ::1/128 cert clientcert=verify-full\n",
    "hba-include": b"\0include other\ninclude_if_exists gone\nlocal \\\n all all reject\n",
    "hba-bad": b"\0host all all trust\nlocal \"all all trust\nhost all +x all ldap\n",
    "users": b"\1; users\n\"alice\" \"secret\"\n\"b\"\"ob\" \"md520c46e3762c864548e296b33c3406aa9\" \"\"\n"
             b"\"carol\" \"" + SECRET + b"\"\n",
})
