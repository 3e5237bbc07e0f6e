"""A PostgreSQL client that says exactly what a test tells it to, and nothing else.

Drivers hide the protocol: they choose the messages, pipeline as they like and swallow what they do
not need. Here a test writes the messages and reads every answer:

    with Wire(proxy, "app", user="app") as client:
        client.send(parse("", "SELECT $1::int"), bind("", "", ["1"]), execute(), sync())
        assert types(client.until_ready()) == "12DCZ"

Logs in with trust or a clear-text password only."""

import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

PROTOCOL_3_0 = 196608
CANCEL_CODE = 80877102
SSL_CODE = 80877103
GSSENC_CODE = 80877104


# Messages of a client, as bytes

def message(kind, body=b""):
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def _text(value):
    return (value if isinstance(value, bytes) else str(value).encode()) + b"\0"


def startup(user, database, protocol=PROTOCOL_3_0, **parameters):
    pairs = {"user": user, "database": database, **parameters}
    body = struct.pack("!i", protocol)
    body += b"".join(_text(key) + _text(value) for key, value in pairs.items()) + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def cancel_request(pid, key):
    return struct.pack("!iii", 12 + len(key), CANCEL_CODE, pid) + key


def query(sql):
    return message("Q", _text(sql))


def parse(name, sql, types=()):
    return message("P", _text(name) + _text(sql) + struct.pack(f"!h{len(types)}I", len(types), *types))


def bind(portal="", statement="", values=(), *, formats=(), results=()):
    """Values are str, bytes or None."""
    body = _text(portal) + _text(statement)
    body += struct.pack(f"!h{len(formats)}h", len(formats), *formats)
    body += struct.pack("!h", len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            raw = value if isinstance(value, bytes) else str(value).encode()
            body += struct.pack("!i", len(raw)) + raw
    return message("B", body + struct.pack(f"!h{len(results)}h", len(results), *results))


def describe_statement(name=""):
    return message("D", b"S" + _text(name))


def describe_portal(name=""):
    return message("D", b"P" + _text(name))


def execute(portal="", rows=0):
    return message("E", _text(portal) + struct.pack("!i", rows))


def close_statement(name=""):
    return message("C", b"S" + _text(name))


def close_portal(name=""):
    return message("C", b"P" + _text(name))


def sync():
    return message("S")


def flush():
    return message("H")


def terminate():
    return message("X")


def copy_data(data):
    return message("d", data)


def copy_done():
    return message("c")


def copy_fail(reason):
    return message("f", _text(reason))


def function_call(oid, *values):
    body = struct.pack("!ihhh", oid, 1, 1, len(values))
    body += b"".join(struct.pack("!i", len(value)) + value for value in values)
    return message("F", body + struct.pack("!h", 1))


def run(sql, values=(), *, statement="", types=()):
    """Parse, Bind, Execute of the unnamed portal: no Sync."""
    return parse(statement, sql, types) + bind("", statement, values) + execute()


# What a server answers

@dataclass
class Answer:
    """One message from the server."""

    type: str
    body: bytes = field(repr=False)

    @property
    def row(self):
        """Values of a DataRow: text or None."""
        assert self.type == "D", self
        values, at = [], 2
        for _ in range(struct.unpack_from("!h", self.body)[0]):
            length, = struct.unpack_from("!i", self.body, at)
            at += 4
            values.append(None if length < 0 else self.body[at:at + length].decode("latin-1"))
            at += max(length, 0)
        return values

    @property
    def fields(self):
        """Of an ErrorResponse or NoticeResponse: {"C": sqlstate, "M": message, ...}."""
        assert self.type in "EN", self
        parts = self.body.rstrip(b"\0").split(b"\0")
        return {chr(part[0]): part[1:].decode() for part in parts if part}

    @property
    def text(self):
        """Of a CommandComplete: its tag."""
        return self.body.rstrip(b"\0").decode()

    @property
    def parameter(self):
        """Of a ParameterStatus: (name, value)."""
        name, value = self.body.split(b"\0")[:2]
        return name.decode(), value.decode()

    @property
    def notification(self):
        """Of a NotificationResponse: (channel, payload)."""
        channel, payload = self.body[4:].split(b"\0")[:2]
        return channel.decode(), payload.decode()

    def __str__(self):
        if self.type in "EN":
            return f"{self.type}{self.fields}"
        return f"{self.type}{self.body[:60]!r}"


class ServerClosed(Exception):
    """The other side has closed the connection; `answers` came before."""

    def __init__(self, answers):
        super().__init__("closed after " + " ".join(map(str, answers)))
        self.answers = answers


class ServerError(Exception):
    """An answer that a helper did not expect to be an error."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('C')} {fields.get('M')}")
        self.fields = fields
        self.sqlstate = fields.get("C")


def types(answers):
    """The message types as one string, asynchronous messages left out."""
    return "".join(a.type for a in answers if a.type not in "NSA")


def rows(answers):
    return [a.row for a in answers if a.type == "D"]


def errors(answers):
    """SQLSTATEs of the errors."""
    return [a.fields["C"] for a in answers if a.type == "E"]


def tags(answers):
    return [a.text for a in answers if a.type == "C"]


class Wire:
    """A connection. `where` has a host and a port: a proxy, or a server to compare with."""

    def __init__(self, where, database=None, *, user=None, password=None, tls=False, login=True,
                 timeout=10, receive_buffer=None, **parameters):
        self.timeout = timeout
        self.parameters, self.pid, self.key = {}, None, None
        self._where, self._kept = where, b""
        local = where.host.startswith("/")  # the folder of a Unix socket, as libpq has it
        raw = socket.socket(socket.AF_UNIX if local else socket.AF_INET)
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(timeout)
        raw.connect(f"{where.host}/.s.PGSQL.{where.port}" if local else (where.host, where.port))
        if not local:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = raw
        if tls:
            self.start_tls()
        if database is not None and login:
            self.login(user, database, password, **parameters)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Bytes

    def send_bytes(self, data):
        self.socket.sendall(data)

    def send(self, *messages):
        self.send_bytes(b"".join(messages))

    def start_tls(self):
        self.send_bytes(struct.pack("!ii", 8, SSL_CODE))
        assert self.socket.recv(1) == b"S"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)

    def receive(self, timeout=None):
        """The next message; None when the connection was closed."""
        self.socket.settimeout(self.timeout if timeout is None else timeout)
        while True:
            if len(self._kept) >= 5:
                length, = struct.unpack_from("!i", self._kept, 1)
                if len(self._kept) > length:
                    answer = Answer(chr(self._kept[0]), self._kept[5:length + 1])
                    self._kept = self._kept[length + 1:]
                    if answer.type == "S":
                        name, value = answer.parameter
                        self.parameters[name] = value
                    return answer
            try:
                more = self.socket.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                return None
            self._kept += more

    def until(self, kinds):
        """All messages up to the first of one of these types."""
        answers = []
        while True:
            answer = self.receive()
            if answer is None:
                raise ServerClosed(answers)
            answers.append(answer)
            if answer.type in kinds:
                return answers

    def until_ready(self):
        return self.until("Z")

    def until_closed(self):
        """All messages until the connection is closed from the other side."""
        answers = []
        while (answer := self.receive()) is not None:
            answers.append(answer)
        return answers

    def closed(self):
        """True once the other side has closed the connection, whatever it said before."""
        return self.until_closed() is not None

    def silent(self, seconds=0.2):
        """True if nothing arrives for a while: for what must not come."""
        try:
            self.socket.settimeout(seconds)
            self._kept += self.socket.recv(65536)
            return not self._kept
        except (TimeoutError, ssl.SSLWantReadError):
            return not self._kept

    # Sessions

    def login(self, user, database, password=None, **parameters):
        self.send_bytes(startup(user, database, **parameters))
        answer = self.receive()
        if answer and answer.type == "R" and struct.unpack_from("!i", answer.body)[0] == 3:
            self.send(message("p", _text(password)))
            answer = self.receive()
        if answer is None:
            raise ServerClosed([])
        if answer.type == "E":
            raise ServerError(answer.fields)
        assert answer.type == "R" and answer.body == b"\0\0\0\0", answer
        for answer in self.until("ZE"):
            if answer.type == "K":
                self.pid, self.key = struct.unpack_from("!i", answer.body)[0], answer.body[4:]
            if answer.type == "E":
                raise ServerError(answer.fields)

    def ask(self, *messages):
        """Sends messages that end in one ReadyForQuery; all answers up to it."""
        self.send(*messages)
        return self.until_ready()

    def query(self, sql):
        """The rows of a simple query; raises ServerError."""
        return self._checked(self.ask(query(sql)))

    def extended(self, sql, values=(), **options):
        """The rows of Parse, Bind, Execute, Sync; raises ServerError."""
        return self._checked(self.ask(run(sql, values, **options), sync()))

    def value(self, sql):
        return self.query(sql)[0][0]

    def fails(self, sql):
        """The SQLSTATE a simple query fails with."""
        found = errors(self.ask(query(sql)))
        assert found, f"no error from {sql}"
        return found[0]

    @staticmethod
    def _checked(answers):
        for answer in answers:
            if answer.type == "E":
                raise ServerError(answer.fields)
        return rows(answers)

    def backend_pid(self):
        """Of the server that answers."""
        return int(self.value("SELECT pg_backend_pid()"))

    def notification(self, timeout=10):
        """The next notification, whatever else comes before it."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            answer = self.receive(left)
            assert answer is not None, "connection closed"
            if answer.type == "A":
                return answer.notification
        raise TimeoutError("no notification")

    def cancel(self):
        """A CancelRequest for what this session runs, on a connection of its own."""
        with Wire(self._where) as messenger:
            messenger.send(cancel_request(self.pid, self.key))
            messenger.until_closed()

    def close(self):
        """Says goodbye, as drivers do."""
        try:
            self.socket.sendall(terminate())
        except OSError:
            pass
        self.socket.close()

    def drop(self):
        """Closes the socket without a word, so that the other side sees a reset if it writes."""
        self.socket.close()

    def reset(self):
        """Cuts the connection by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
