"""COPY over several shards: what one PostgreSQL with all the rows would do, its errors and their lines
included. Every stream goes to a server that has the tables whole and, through the proxy, to three that
have them in parts."""

import asyncio
import datetime
import decimal
import io
import random
import struct
import subprocess
import threading
from pathlib import Path

import asyncpg
import psycopg
import psycopg2
import pytest

import copying
from copying import Copies, copy_in
from harness import wait_until
from harness.postgres import BIN
from harness.wire import (bind, copy_data, copy_done, copy_fail, describe_portal, describe_statement,
                          errors, execute, flush, parse, query, sync, tags, terminate, types)

PROGRAMS = Path(__file__).parent / "programs"
PLACES = ("whole", "parts")


@pytest.fixture(scope="module")
def servers(shards):
    return copying.create_parts(shards)


@pytest.fixture(scope="module")
def whole(shared_postgres):
    return copying.create_whole(shared_postgres("copy-whole", hba=copying.TRUSTING_HBA))


@pytest.fixture(scope="module")
def proxy(shared_proxy, servers):
    proxy = shared_proxy(copying.configuration(servers))
    client = Copies(servers, proxy).wire()
    # COPY without a column list needs the catalog, which is read after the start.
    wait_until(lambda: not errors(copy_in(client, "COPY users FROM STDIN")))
    client.close()
    return proxy


@pytest.fixture
def copies(proxy, servers, whole):
    copies = Copies(servers, proxy, whole)
    copies.empty()
    return copies


def lines(count, start=1):
    """Rows of users (id, name, score), as text."""
    return "".join(f"{n}\tname {n}\t{n % 7}\n" for n in range(start, start + count)).encode()


def count(client, table):
    return len(client.query(f"SELECT 1 FROM {table}"))


# --- applications --------------------------------------------------------------------------------

ODD = ["1\tplain\t5\t2024-02-29\t\\\\x00ff\t1.50\t2024-01-01 10:00:00+02",
       "2\ttab\\tline\\nend\\\\back\t\\N\t\\N\t\\N\tNaN\t\\N",
       "3\tquote \" and ' and ,\t-1\tinfinity\t\\\\x\t-1e10\tinfinity",
       "-4\tGrüße, 世界\t0\t0044-03-15 BC\t\\\\x41\t0\t2024-07-01 00:00:00Z",
       *(f"{n}\tname {n}\t{n % 9}\t2024-01-01\t\\\\x{n:04x}\t{n}.{n}\t2024-01-01 00:00:00+00"
         for n in range(10, 400))]


def psql(copies, where, *commands, data=None):
    options = copies.options(where)
    words = [BIN / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
             f"host={options['host']} port={options['port']} dbname={options['dbname']} user={options['user']}"]
    for command in commands:
        words += ["-c", command]
    return subprocess.run([str(word) for word in words], input=data, capture_output=True, timeout=60,
                          env={"PGPASSWORD": options["password"], "PATH": "/usr/bin:/bin"})


@pytest.mark.smoke
@pytest.mark.parametrize("form", ["text", "csv", "csv, header", "text, delimiter ';', null 'nil'",
                                  "csv, quote '''', escape '\\', force_quote *", "binary"])
def test_psql(copies, run, form):
    folder = run.subfolder("psql")
    loaded = psql(copies, "whole", "\\copy users from stdin", data="".join(row + "\n" for row in ODD).encode())
    assert loaded.returncode == 0, loaded.stderr
    wanted = copies.whole("users")
    shape = form.replace(", force_quote *", "")

    def dump(where):
        file = Path(folder) / f"{where}-{abs(hash(form))}"
        done = psql(copies, where, f"\\copy users to '{file}' with (format {form})")
        assert done.returncode == 0, done.stderr
        return file

    file = dump("whole")
    done = psql(copies, "parts", f"\\copy users from '{file}' with (format {shape})")
    assert done.returncode == 0, done.stderr
    copies.check_same("users")

    # ... and back: the same bytes but for the order of rows, and one server reads them.
    again = dump("parts")
    assert again.stat().st_size == file.stat().st_size
    copies.one.execute("TRUNCATE users CASCADE", dbname=copying.WHOLE)
    done = psql(copies, "whole", f"\\copy users from '{again}' with (format {shape})")
    assert done.returncode == 0, done.stderr
    assert copies.whole("users") == wanted


def test_psycopg2(copies):
    connection = psycopg2.connect(**copies.options())
    with connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY users (id, name, score) FROM STDIN", io.BytesIO(lines(3000)))
        assert cursor.rowcount == 3000
        # Inside the transaction, before its end.
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT id FROM users WHERE score = 3) TO STDOUT", out)
        assert sorted(map(int, out.getvalue().split())) == [n for n in range(1, 3001) if n % 7 == 3]
        assert not any(copies.each("users"))
    copies.check_places("users")
    with connection, connection.cursor() as cursor:
        cursor.copy_from(io.StringIO("1\tone\n2\ttwo\n"), "notes", columns=("user_id", "body"))
        out = io.StringIO()
        cursor.copy_to(out, "notes")
        assert sorted(out.getvalue().splitlines()) == ["1\tone", "2\ttwo"]
        cursor.execute("SELECT count(*) FROM notes WHERE user_id = 2")
        assert cursor.fetchone() == (1,)
    connection.close()


def test_psycopg(copies):
    with psycopg.connect(**copies.options()) as connection:
        with connection.cursor() as cursor:
            with cursor.copy("COPY users (id, name, rate) FROM STDIN") as copy:
                for n in range(500):
                    copy.write_row((n, f"name\t{n}", decimal.Decimal(n) / 4))
            assert cursor.rowcount == 500
            with cursor.copy("COPY words FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["text", "int4"])
                for n in range(500):
                    copy.write_row((f"wörd {n}", n))
            connection.commit()
            with cursor.copy("COPY words TO STDOUT (FORMAT binary)") as copy:
                copy.set_types(["text", "int4"])
                assert sorted(copy.rows(), key=lambda row: row[1]) == [(f"wörd {n}", n) for n in range(500)]
            # Leaving it by an exception is a CopyFail.
            with pytest.raises(psycopg.errors.QueryCanceled, match="error from Python"):
                with cursor.copy("COPY users (id, name) FROM STDIN") as copy:
                    copy.write_row((1000, "x"))
                    raise KeyError
    copies.check_places("users")
    copies.check_places("words")
    assert len(copies.rows("users")) == 500


def test_asyncpg(copies):
    async def program():
        connection = await connect()
        records = [(n, f"name {n}", n % 5, datetime.date(2024, 1, 1), bytes([n % 256]), decimal.Decimal(n),
                    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)) for n in range(2000)]
        assert await connection.copy_records_to_table("users", records=records) == "COPY 2000"
        out = io.BytesIO()
        assert await connection.copy_from_table("users", output=out, format="csv", header=True) == "COPY 2000"
        assert len(out.getvalue().splitlines()) == 2001
        out = io.BytesIO()
        assert await connection.copy_from_query("SELECT id, name FROM users WHERE score = $1", 3,
                                                output=out) == "COPY 400"
        source = io.BytesIO(b"k,v\na,1\nb,2\n")
        assert await connection.copy_to_table("words", source=source, format="csv", header=True) == "COPY 2"
        # In a transaction that is rolled back.
        with pytest.raises(ZeroDivisionError):
            async with connection.transaction():
                await connection.copy_records_to_table("words", records=[("c", 3)])
                raise ZeroDivisionError
        assert len(await connection.fetch("SELECT k FROM words")) == 2
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.copy_records_to_table("words", records=[("d", 4), ("a", 5)])
        assert len(await connection.fetch("SELECT k FROM words")) == 2
        await connection.close()

    async def connect():
        options = copies.options()
        options["database"] = options.pop("dbname")
        return await asyncpg.connect(**options)

    asyncio.run(program())
    copies.check_places("users")


@pytest.fixture(scope="module")
def java(run):
    """The folder of the compiled program."""
    folder = run.subfolder("java-copy")
    done = subprocess.run(["javac", "-cp", "/usr/share/java/postgresql.jar", "-d", folder,
                           PROGRAMS / "CopyRows.java"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_jdbc(copies, java):
    options = copies.options()
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{java}:/usr/share/java/postgresql.jar", "CopyRows",
         f"jdbc:postgresql://{options['host']}:{options['port']}/{options['dbname']}", options["user"],
         options["password"]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["in", "out", "cancelled", "failed"]
    copies.check_places("users")


# --- the protocol --------------------------------------------------------------------------------

SMALL = b"1\tein\\ts\t1\n22\tz\\\nwei\t2\n333\t\\N\t\\N\n-4\tvier\t4\n"


@pytest.mark.smoke
def test_split_at_every_byte(copies):
    statement = "COPY users (id, name, score) FROM STDIN"
    with copies.wire("whole") as client:
        assert tags(copy_in(client, statement, SMALL)) == ["COPY 4"]
    with copies.wire() as client:
        for at in range(len(SMALL) + 1):
            client.query("BEGIN")
            assert tags(copy_in(client, statement, SMALL[:at], SMALL[at:])) == ["COPY 4"]
            assert count(client, "users") == 4
            client.query("ROLLBACK")
        assert tags(copy_in(client, statement, *(SMALL[n:n + 1] for n in range(len(SMALL))))) == ["COPY 4"]
    copies.check_same("users")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_messages_in_pieces(copies, size):
    """The bytes of the protocol's messages, too, come in any portions."""
    stream = copy_data(SMALL) + copy_data(b"") + copy_data(lines(100, 1000)) + copy_done()
    with copies.wire() as client:
        client.send(query("COPY users (id, name, score) FROM STDIN"))
        client.until("G")
        for at in range(0, len(stream), size):
            client.send(stream[at:at + size])
        assert tags(client.until_ready()) == ["COPY 104"]
        assert count(client, "users") == 104


def test_one_huge_message(copies):
    with copies.wire(timeout=60) as client:
        rows = lines(300_000)
        assert tags(copy_in(client, "COPY users (id, name, score) FROM STDIN", rows)) == ["COPY 300000"]
        big = b"1\t" + b"x" * 20_000_000 + b"\n2\tshort\n"
        assert tags(copy_in(client, "COPY notes FROM STDIN", big)) == ["COPY 2"]
        client.send(query("COPY notes TO STDOUT"))
        answers = client.until_ready()
        assert sorted(answer.body for answer in answers if answer.type == "d") == [
            b"1\t" + b"x" * 20_000_000 + b"\n", b"2\tshort\n"]
    copies.check_places("users")


def extended(sql, *more):
    return parse("", sql) + bind() + b"".join(more) + execute()


@pytest.mark.smoke
def test_extended_protocol(copies):
    statement = "COPY users (id, name, score) FROM STDIN"
    for place in PLACES:
        with copies.wire(place) as client:
            # libpq: a Sync with the statement, which COPY ignores, and one behind the rows.
            client.send(extended(statement, describe_portal()), sync())
            assert types(client.until("G")) == "12nG"
            client.send(copy_data(lines(5)), copy_done(), sync())
            answers = client.until_ready()
            assert types(answers) == "CZ" and tags(answers) == ["COPY 5"]
            # With a Flush, and Sync and Flush among the rows.
            client.send(parse("s", statement), describe_statement("s"), sync())
            assert types(client.until_ready()) == "1tnZ"
            client.send(bind("", "s"), execute(), flush())
            assert types(client.until("G")) == "2G"
            client.send(copy_data(lines(5, 10)), flush(), sync(), copy_data(lines(5, 20)), copy_done(), sync())
            assert tags(client.until_ready()) == ["COPY 10"]
            # An error skips to the next Sync.
            client.send(extended(statement), sync())
            client.until("G")
            client.send(copy_data(b"x\n"), copy_done(), execute(), sync())
            answers = client.until_ready()
            assert types(answers) == "EZ" and errors(answers) == ["22P02"]
            # One before any row: the Sync counts.
            answers = client.ask(extended("COPY users (id, nothing) FROM STDIN"), sync())
            assert errors(answers) == ["42703"] and answers[-1].type == "Z"
            # All at once.
            client.send(extended(statement), sync(), copy_data(lines(1, 30)), copy_done(), sync())
            assert tags(client.until_ready()) == ["COPY 1"]
            answers = client.ask(extended("COPY users (id) TO STDOUT", describe_portal()), sync())
            assert types(answers) == "12nH" + "d" * 16 + "cCZ" and tags(answers) == ["COPY 16"]
            # A pipeline is one transaction.
            client.send(parse("", "INSERT INTO users (id) VALUES (50)"), bind(), execute(), extended(statement),
                        sync())
            client.until("G")
            client.send(copy_data(lines(1, 60) + b"50\tagain\t1\n"), copy_done(), sync())
            assert errors(client.until_ready()) == ["23505"]
            assert count(client, "users") == 16
    copies.check_same("users")


def test_answers_have_the_same_shape(copies):
    """The types of all messages, and what CopyInResponse and CopyOutResponse say."""
    def conversation(client):
        answers = copy_in(client, "COPY users (id, name, score) FROM STDIN", lines(3))
        answers += copy_in(client, "COPY users (id, name) FROM STDIN (FORMAT binary)", BINARY_NOTHING)
        for options in ("", "(FORMAT csv, HEADER)", "(FORMAT binary)"):
            answers += client.ask(query(f"COPY users (id) TO STDOUT {options}"))
        answers += client.ask(query("COPY words TO STDOUT (FORMAT binary)"))
        answers += client.ask(query("COPY words TO STDOUT (FORMAT csv, HEADER)"))
        return [(a.type, a.body if a.type in "GHZC" else None) for a in answers]

    with copies.wire("whole") as one, copies.wire() as other:
        # Without rows a binary COPY's header and trailer may come in one message or two.
        assert [a for a in conversation(one) if a[0] != "d"] == [a for a in conversation(other) if a[0] != "d"]


SIGNATURE = b"PGCOPY\n\377\r\n\0" + struct.pack("!ii", 0, 0)
BINARY_NOTHING = SIGNATURE + b"\377\377"


def binary_rows(*rows):
    out = SIGNATURE
    for row in rows:
        out += struct.pack("!h", len(row))
        for value in row:
            out += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return out + b"\377\377"


def big(n):
    return struct.pack("!q", n)


# --- errors --------------------------------------------------------------------------------------

THREE = "COPY users (id, name, score) FROM STDIN"
CSV = THREE + " (FORMAT csv)"
WRONG = {
    # What it is called: (statement, stream, whether the message and not only the code is the same)
    "key": (THREE, lines(5) + b"x\tname\t1\n" + lines(5, 10), True),
    "other column": (THREE, lines(50) + b"99\tname\tmany\n" + lines(50, 100), True),
    "early and late": (THREE, lines(3) + b"99\tname\tmany\n" + lines(50, 100) + b"x\n", True),
    "key out of range": (THREE, lines(2) + b"9223372036854775808\tx\t1\n", True),
    "too few": (THREE, lines(9) + b"20\tx\n" + lines(9, 30), True),
    "too many": (THREE, lines(9) + b"20\tx\t1\t2\n" + lines(9, 30), True),
    "empty line": (THREE, lines(2) + b"\n", True),
    "null key": (THREE, lines(4) + b"\\N\tx\t1\n", False),
    "twice": (THREE, lines(30) + lines(1, 17), True),
    "check": (THREE, lines(7) + b"77\tx\t-100\n" + lines(7, 80), True),
    "carriage return": (THREE, lines(2) + b"7\tx\r\t1\n", True),
    # The first line is known to end only when something follows, which is wrong as well.
    "returns and newline": (CSV, b"1,a\r2,b,3\n", True),
    "end marker": (THREE, lines(2) + b"\\.x\n", True),
    "unterminated quote": (CSV, b'1,"a\n2,b,3\n', True),
    "lines in quotes": (CSV, b'1,"a\nb",1\n2,"c\n\n",2\n3,d,x\n', True),
    "csv too few": (CSV, b"1,a,1\n2,b\n", True),
    "header": (THREE + " (FORMAT csv, HEADER match)", b"id,nom,score\n1,a,1\n", True),
    "header and line": (THREE + " (FORMAT csv, HEADER)", b"id,name,score\n1,a,1\n2,b,x\n", True),
    "signature": (THREE + " (FORMAT binary)", b"PGCOPY\n\377\r\r\0" + bytes(8), True),
    "fields": (THREE + " (FORMAT binary)", binary_rows([big(1), b"a", None], [big(2), b"b"]), True),
    "length": (THREE + " (FORMAT binary)", binary_rows([big(1), b"a", None], [b"123456789", b"b", None]), False),
    "no such column": ("COPY users (id, nothing) FROM STDIN", b"1\t2\n", True),
    "column twice": ("COPY users (id, name, name) FROM STDIN", b"1\t2\t3\n", True),
    "foreign key": ("COPY notes FROM STDIN", b"1\tx\n", True),
    "reference table": ("COPY countries FROM STDIN", b"DE\tGermany\nFR\t\\N\n", True),
    "reference table twice": ("COPY countries FROM STDIN", b"DE\tGermany\nDE\tGermany\n", True),
    "text key": ("COPY words FROM STDIN", b"a\t1\nb\tx\n", True),
    "encoding": (THREE, lines(3) + b"7\t\xff\t1\n", True),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("way", ["simple", "extended", "block"])
def test_errors(copies, name, way):
    statement, stream, same_words = WRONG[name]
    found = {}
    for place in PLACES:
        with copies.wire(place) as client:
            if way == "block":
                client.query("BEGIN")
                client.query("INSERT INTO users (id) VALUES (123456)")
            begin = extended(statement) + sync() if way == "extended" else None
            answers = copy_in_with_sync(client, statement, stream, begin)
            (error,) = [answer.fields for answer in answers if answer.type == "E"]
            found[place] = (error["C"], answers[-1].body, types(answers))
            if same_words:
                found[place] += (error["M"], error.get("D"), error.get("W"))
            else:
                found[place] += (line_of(error.get("W", "")),)
            # The session goes on, and nothing has stayed.
            if way == "block":
                assert client.fails("SELECT 1") == "25P02"
                client.query("ROLLBACK")
            assert count(client, "users") == 0
            assert count(client, "countries") == 0
    assert found["whole"] == found["parts"]
    assert not any(copies.each("users") + copies.each("countries") + copies.each("words"))


def random_stream(chance, csv):
    """Rows of users (id, name, score): mostly good ones."""
    out = []
    faulty = chance.random() < 0.5
    for _ in range(chance.randrange(40)):
        key = str(chance.randrange(-50, 2000))
        name = chance.choice(["x", "", "two words", "Grüße", "notice"])
        score = str(chance.randrange(100))
        if csv and chance.random() < 0.3:
            name = '"' + name + chance.choice(["\n", ",", '""', "\n\n"]) + '"'
        elif not csv and chance.random() < 0.3:
            name += chance.choice(["\\n", "\\\n", "\\t", "\\\\", "\\N"])
        if faulty and chance.random() < 0.1:
            key = chance.choice(["x", "", "1.5", "9999999999999999999", key + " ", "7", "7"])
        if faulty and chance.random() < 0.1:
            score = chance.choice(["x", "", "-100", "1e3", score + ("," if csv else "\t") + "more"])
        out.append(("," if csv else "\t").join((key, name, score)))
    text = "\n".join(out) + ("\n" if chance.random() < 0.8 else "")
    if faulty and chance.random() < 0.2 and text:
        at = chance.randrange(len(text))
        text = text[:at] + chance.choice(["\n", "\r", "\\", '"', "\\.\n"]) + text[at:]
    return text.encode()


def in_chunks(chance, data):
    while data:
        size = chance.choice([1, 5, 50, 500, 5000])
        yield data[:size]
        data = data[size:]


@pytest.mark.parametrize("seed", range(6))
def test_random_streams(copies, seed):
    """A NULL key is told in words of the proxy's own."""
    chance = random.Random(seed)
    good = 0
    with copies.wire("whole") as one, copies.wire() as other:
        for number in range(40):
            csv = chance.random() < 0.5
            statement = CSV if csv else THREE
            stream = random_stream(chance, csv)
            end = chance.choice(["COMMIT", "ROLLBACK", None, None, None])
            found = []
            for client in (one, other):
                if end:
                    client.query("BEGIN")
                answers = copy_in(client, statement, *in_chunks(chance, stream))
                said = [(a.type, {kind: a.fields.get(kind) for kind in "CMDW"} if a.type == "E" else a.body)
                        for a in answers if a.type in "ECZ"]
                if end:
                    said += [("C", tag) for tag in tags(client.ask(query(end)))]
                found.append(said)
            own = any(kind == "E" and body["C"] in ("0A000", "23502") for kind, body in found[1])
            assert found[0] == found[1] or own, (seed, number, statement, stream)
            good += found[0][0][0] == "C"
            if own or chance.random() < 0.2:
                if found[0] == found[1]:
                    copies.check_same("users")
                copies.empty()
    copies.check_same("users")
    assert 5 < good < 35


def line_of(context):
    return context.split(",")[1].split(":")[0] if "," in context else ""


def copy_in_with_sync(client, statement, stream, begin):
    if begin is None:
        return copy_in(client, statement, stream)
    client.send(begin)
    answers = client.until("GEZ")
    if answers[-1].type == "G":
        client.send(copy_data(stream), copy_done(), sync())
    if answers[-1].type != "Z":
        answers += client.until_ready()
    return answers


def test_copy_fail(copies):
    for place in PLACES:
        with copies.wire(place) as client:
            for begin in (query(THREE), extended(THREE) + sync()):
                client.send(begin)
                client.until("G")
                client.send(copy_data(lines(3)), copy_fail("changed my mind"), sync())
                (error,) = [a.fields for a in client.until_ready() if a.type == "E"]
                assert error["C"] == "57014" and error["M"] == "COPY from stdin failed: changed my mind"
                assert error["W"] == "COPY users, line 4"
                if begin == query(THREE):
                    assert types(client.until_ready()) == "Z"  # of the Sync
            # An error in the rows before it is found all the same.
            client.send(query(THREE))
            client.until("G")
            client.send(copy_data(lines(3) + b"4\tx\tx\n" + lines(3, 5)), copy_fail("changed my mind"))
            assert errors(client.until_ready()) == ["22P02"]
            assert count(client, "users") == 0


def test_wrong_message_in_copy(copies):
    with copies.wire() as client:
        client.send(query(THREE))
        client.until("G")
        client.send(copy_data(lines(3)), query("SELECT 1"))
        answers = client.until_closed()
        assert answers[-1].fields["C"] == "08P01"
        assert "unexpected message type 0x51 during COPY from stdin" in answers[-1].fields["M"]
    assert not any(copies.each("users"))


def test_copy_messages_outside_of_copy_are_ignored(copies):
    with copies.wire() as client:
        client.send(copy_data(b"x"), copy_done(), copy_fail("x"))
        assert count(client, "users") == 0


def test_notices_of_every_shard(copies):
    rows = "".join(f"{n}\tnotice\t1\n" for n in range(1, 20)).encode()
    with copies.wire() as client:
        answers = copy_in(client, THREE, rows)
        notices = sorted(int(a.fields["M"].split()[1]) for a in answers if a.type == "N")
        assert notices == list(range(1, 20))


# --- transactions --------------------------------------------------------------------------------


@pytest.mark.smoke
def test_inside_a_transaction(copies):
    for place in PLACES:
        with copies.wire(place) as client:
            client.query("BEGIN")
            copy_in(client, THREE, lines(10))
            client.query("SAVEPOINT a")
            assert errors(copy_in(client, THREE, lines(5, 100) + b"1\tagain\t1\n")) == ["23505"]
            assert client.fails("SELECT 1") == "25P02"
            assert errors(client.ask(query(THREE))) == ["25P02"]
            client.query("ROLLBACK TO a")
            assert count(client, "users") == 10
            assert tags(copy_in(client, THREE, lines(10, 20))) == ["COPY 10"]
            client.query("ROLLBACK TO a")
            assert tags(copy_in(client, THREE, lines(3, 50))) == ["COPY 3"]
            client.query("RELEASE a")
            client.query("COMMIT")
            client.query("BEGIN")
            copy_in(client, THREE, lines(10, 200))
            client.query("ROLLBACK")
            # What failed makes a rollback of COMMIT.
            client.query("BEGIN")
            copy_in(client, THREE, lines(10, 300))
            copy_in(client, THREE, b"x\n")
            assert tags(client.ask(query("COMMIT"))) == ["ROLLBACK"]
            assert count(client, "users") == 13
    copies.check_same("users")


def test_reference_table(copies):
    stream = b"DE\tGermany\nFR\tFrance\n"
    with copies.wire() as client:
        assert tags(copy_in(client, "COPY countries FROM STDIN", stream)) == ["COPY 2"]
        assert all(len(part) == 2 for part in copies.each("countries"))
        client.send(query("COPY countries TO STDOUT"))
        assert tags(client.until_ready()) == ["COPY 2"]


def test_writers_of_a_reference_table_take_turns(copies):
    with copies.wire() as one, copies.wire() as other:
        one.query("BEGIN")
        copy_in(one, "COPY countries FROM STDIN", b"DE\tGermany\n")
        other.send(query("COPY countries FROM STDIN"))
        assert other.silent()
        one.query("COMMIT")
        other.until("G")
        other.send(copy_data(b"FR\tFrance\n"), copy_done())
        assert tags(other.until_ready()) == ["COPY 1"]
        # One that is cancelled while it waits.
        one.query("BEGIN")
        copy_in(one, "COPY countries FROM STDIN", b"IT\tItaly\n")
        other.send(query("COPY countries FROM STDIN"))
        assert other.silent()
        other.cancel()
        assert errors(other.until_ready()) == ["57014"]
        one.query("ROLLBACK")
        assert count(other, "countries") == 2
    assert all(len(part) == 2 for part in copies.each("countries"))


# --- ends that nobody wanted ---------------------------------------------------------------------


def quiet(copies):
    """No server has a transaction of the proxy's open."""
    def done():
        return not any(server.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid() AND state <> 'idle'",
            (copying.PARTS,), dbname=copying.PARTS) for server in copies.servers)
    wait_until(done)


@pytest.mark.smoke
@pytest.mark.parametrize("step", ["begun", "told", "rows", "half a message", "terminate", "done"])
def test_client_leaves(copies, step):
    with copies.wire() as neighbour:
        neighbour.query("BEGIN")
        neighbour.query("INSERT INTO users (id) VALUES (1000)")
        client = copies.wire()
        client.send(query(THREE))
        if step != "begun":
            client.until("G")
        if step not in ("begun", "told"):
            client.send(copy_data(lines(1000)))
        if step == "half a message":
            client.send(copy_data(lines(1000, 2000))[:5000])
        if step == "terminate":
            client.send(terminate())
        if step == "done":
            client.send(copy_done())
        client.reset()
        neighbour.query("COMMIT")
        with copies.wire() as other:
            assert tags(copy_in(other, THREE, lines(5, 5000))) == ["COPY 5"]
    quiet(copies)
    rows = len(copies.rows("users"))
    assert rows == 6 if step != "done" else rows in (6, 1006)
    assert not copies.prepared_transactions()


def test_client_leaves_while_it_reads(copies):
    with copies.wire() as client:
        copy_in(client, "COPY words FROM STDIN", "".join(f"{n}{'x' * 500}\t{n}\n" for n in range(30000)).encode())
    client = copies.wire(receive_buffer=4096)
    client.send(query("COPY words TO STDOUT"))
    client.until("d")
    client.reset()
    quiet(copies)
    with copies.wire() as client:
        assert count(client, "words") == 30000


def test_cancel_of_copy_to(copies):
    with copies.wire() as client:
        copy_in(client, THREE, lines(60))
        locker = copies.servers[1].connect(copying.PARTS)
        with locker, locker.cursor() as cursor:
            cursor.execute("LOCK TABLE users")
            client.send(query("COPY users TO STDOUT"))
            assert client.silent()  # nothing is shown before all shards have it to show
            client.cancel()
            assert errors(client.until_ready()) == ["57014"]
        locker.close()
        assert count(client, "users") == 60


def test_cancel_of_copy_from(copies):
    with copies.wire() as client:
        client.send(query(THREE))
        client.until("G")
        client.send(copy_data(lines(10)))
        client.cancel()
        # Servers look for it between rows.
        wait_until(lambda: client.send(copy_data(lines(1000, 1000))) or not client.silent(0.1))
        client.send(copy_done())
        assert errors(client.until_ready()) == ["57014"]
        assert count(client, "users") == 0


@pytest.fixture
def fragile(make_postgres, make_proxy):
    """Servers and a proxy of the test's own."""
    servers = [make_postgres(f"copy{number}") for number in (1, 2, 3)]
    copying.create_parts(servers)
    copies = Copies(servers, make_proxy(copying.configuration(servers)))
    with copies.wire() as client:
        wait_until(lambda: not errors(copy_in(client, "COPY users FROM STDIN")))
    return copies


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_shard_dies(fragile, how):
    for block in (False, True):
        with fragile.wire() as client:
            if block:
                client.query("BEGIN")
            client.send(query(THREE))
            client.until("G")
            client.send(copy_data(lines(100)))
            if how == "kill":
                fragile.servers[1].kill()
            else:
                fragile.servers[1].execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND "
                    "query LIKE 'COPY%%'", (copying.PARTS,))
            answers = []
            try:
                client.send(copy_data(lines(100, 1000)), copy_done())
                answers = client.until("EZ")
            except ConnectionError:
                pass
            assert errors(answers) and errors(answers)[0][:2] in ("08", "57"), answers
            if not block:
                assert answers[-1].type == "Z" or client.until_ready()
        if how == "kill":
            fragile.servers[1].start()
        with fragile.wire() as client:
            wait_until(lambda: not errors(client.ask(query("SELECT 1 FROM users"))))
            assert count(client, "users") == 0
            assert tags(copy_in(client, THREE, lines(5))) == ["COPY 5"]
            client.query("DELETE FROM users WHERE id = 1")
        quiet(fragile)
        fragile.empty()


def test_memory_with_a_slow_shard(fragile):
    """A shard that takes nothing stops the client, not the proxy's memory."""
    with fragile.wire(timeout=120) as client, fragile.wire() as neighbour:
        client.send(query("COPY notes FROM STDIN"))
        client.until("G")
        before = fragile.proxy.memory()
        fragile.servers[2].pause()
        sent = 0

        def stream():
            nonlocal sent
            for start in range(0, 1000):
                client.send(copy_data(b"".join(b"%d\t%s\n" % (n, b"y" * 990) for n in range(100))))
                sent += 100_000

        thread = threading.Thread(target=stream)
        thread.start()
        try:
            last = -1

            def stuck():
                nonlocal last
                stood, last = last == sent, sent
                thread.join(0.5)
                return stood and sent > 0
            wait_until(stuck)
            assert sent < 60_000_000, "nothing held the client back"
            assert fragile.proxy.memory() - before < 20_000_000
            assert neighbour.query("SELECT 1") == [["1"]]
        finally:
            fragile.servers[2].resume()
            thread.join()
        client.send(copy_done())
        # All keys lack their users.
        assert errors(client.until_ready()) == ["23503"]
        assert fragile.proxy.memory() - before < 20_000_000


def test_memory_with_a_client_that_waits_for_nothing(copies):
    """It sends its rows behind the statement, and a Sync only when all is said."""
    with copies.wire(timeout=60) as client:
        before = copies.proxy.memory()
        client.send(extended("COPY words FROM STDIN"))
        for start in range(0, 60_000, 1000):
            client.send(copy_data("".join(f"{n} {'x' * 990}\t{n}\n" for n in range(start, start + 1000)).encode()))
        assert copies.proxy.memory() - before < 20_000_000
        client.send(copy_done(), sync())
        assert tags(client.until_ready()) == ["COPY 60000"]


def test_memory_with_a_slow_reader(copies):
    with copies.wire() as client:
        copy_in(client, "COPY words FROM STDIN",
                *("".join(f"{n} {m}\t{n}\n" for n in range(1000)).encode() for m in range(200)))
    with copies.wire(receive_buffer=4096, timeout=60) as client:
        before = copies.proxy.memory()
        statement = "COPY (SELECT k, repeat('x', 500) FROM words) TO STDOUT"
        client.send(query(statement))
        client.until("d")
        assert client.silent(0.5) is False
        assert copies.proxy.memory() - before < 20_000_000
        assert tags(client.until_ready()) == ["COPY 200000"]
        assert copies.proxy.memory() - before < 20_000_000
