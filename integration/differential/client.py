"""libpq itself: what is sent is what the case says, and all of the answer is seen."""

import collections
import select
import struct
import uuid

import psycopg
from psycopg import pq

PATIENCE = 20  # seconds; who does not answer by then is taken for lost

Answer = collections.namedtuple("Answer", "error message tag columns rows status")

# A parameter: its text (None is NULL), and the SQL type it has where it is declared or written as a
# literal.
Value = collections.namedtuple("Value", "text type")

OIDS = {"bool": 16, "bytea": 17, "bigint": 20, "smallint": 21, "integer": 23, "text": 25, "float8": 701,
        "varchar": 1043, "date": 1082, "timestamp": 1114, "timestamptz": 1184, "numeric": 1700, "uuid": 2950}
FIRST_OF_USER = 16384  # FirstNormalObjectId
TO_BINARY = {
    "bool": lambda text: bytes([text in ("t", "true")]),
    "bytea": lambda text: bytes.fromhex(text[2:]),
    "bigint": lambda text: struct.pack("!q", int(text)),
    "smallint": lambda text: struct.pack("!h", int(text)),
    "integer": lambda text: struct.pack("!i", int(text)),
    "float8": lambda text: struct.pack("!d", float(text)),
    "text": lambda text: text.encode(),
    "varchar": lambda text: text.encode(),
    "uuid": lambda text: uuid.UUID(text).bytes,
}
# extended: types are left open; typed: declared; binary: declared, values and results in binary;
# prepared: a named statement, used again; described: Parse, Describe, Bind as drivers with a cache do.
WAYS = ("simple", "extended", "typed", "binary", "prepared")


class Lost(Exception):
    """The connection ended, or nothing came."""


def literal(value):
    if value.text is None:
        return "NULL"
    if value.type in ("smallint", "integer", "bigint") and value.text.lstrip("-").isdigit():
        return value.text
    if value.type == "text":
        return "'" + value.text.replace("'", "''") + "'"
    return "'" + value.text.replace("'", "''") + "'::" + value.type


def inlined(sql, values):
    for number in range(len(values), 0, -1):
        sql = sql.replace(f"${number}", literal(values[number - 1]))
    return sql


class Client:
    def __init__(self, options):
        self._options = " ".join(f"{key}='{value}'" for key, value in options.items())
        self._connection = None
        self.connect()

    def connect(self):
        self._connection = pq.PGconn.connect(self._options.encode())
        assert self._connection.status == pq.ConnStatus.OK, self._connection.error_message
        self._prepared = {}
        self.simple("SET timezone = 'UTC'")

    def close(self):
        self._connection.finish()

    def status(self):
        return self._connection.transaction_status

    def ask(self, sql, values=(), how="simple"):
        """All answers to one statement, or to one message of several."""
        try:
            return self._ask(sql, values, how)
        except psycopg.OperationalError as error:
            raise Lost(str(error)) from error

    def simple(self, sql):
        return self.ask(sql)

    def _ask(self, sql, values, how):
        if how == "simple":
            self._connection.send_query(inlined(sql, values).encode())
            return self._answers()
        connection = self._connection
        types = [OIDS.get(value.type, 0) if how in ("typed", "binary") else 0 for value in values]
        texts = [None if value.text is None else value.text.encode() for value in values]
        if how == "prepared":
            name = self._prepared.get(sql)
            if not name:
                name = f"statement {len(self._prepared)}".encode()
                connection.send_prepare(name, sql.encode())
                answers = self._answers()
                if answers[-1].error:
                    return answers
                self._prepared[sql] = name
                connection.send_describe_prepared(name)
                described = self._answers()
            connection.send_query_prepared(self._prepared[sql], texts)
            return self._answers()
        formats = [0] * len(values)
        if how == "binary":
            for number, value in enumerate(values):
                if value.text is not None and value.type in TO_BINARY:
                    texts[number], formats[number] = TO_BINARY[value.type](value.text), 1
        connection.send_query_params(sql.encode(), texts, types, formats, int(how == "binary"))
        return self._answers()

    def _answers(self):
        connection = self._connection
        answers = []
        while True:
            while connection.flush():
                select.select([connection.socket], [connection.socket], [], PATIENCE)
            while connection.is_busy():
                if not select.select([connection.socket], [], [], PATIENCE)[0]:
                    raise Lost(f"no answer in {PATIENCE} s")
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            if result.status in (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_IN):
                answers.append(self._copy(result))
                continue
            answers.append(self._answer(result))
        if connection.status != pq.ConnStatus.OK:
            raise Lost(answers[-1].message if answers else "the connection ended")
        # Only now is it known.
        return [answer._replace(status=connection.transaction_status) for answer in answers]

    def _copy(self, result):
        if result.status == pq.ExecStatus.COPY_IN:
            self._connection.put_copy_end(b"not wanted here")
            return Answer(None, None, b"COPY IN", [], [], None)
        rows = []
        while True:
            size, data = self._connection.get_copy_data(0)
            if size <= 0:
                break
            rows.append((bytes(data),))
        return Answer(None, None, b"COPY OUT", [], rows, None)

    @staticmethod
    def _answer(result):
        error = result.error_field(pq.DiagnosticField.SQLSTATE)
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        rows = [tuple(result.get_value(row, column) for column in range(result.nfields))
                for row in range(result.ntuples)]
        # Types of the user's own, rows among them, have other numbers in every database.
        columns = [(result.fname(n), min(result.ftype(n), FIRST_OF_USER), result.fmod(n), result.fsize(n),
                    result.fformat(n)) for n in range(result.nfields)]
        return Answer(error and error.decode(), message and message.decode(), result.command_status,
                      columns, rows, None)
