"""What a client says, said twice: to one server with all rows and, through the proxy, to shards. The answers must be alike,
message by message; numbers of tables, texts of errors and notices are free."""

import collections
import contextlib
import re
import struct

from harness.wire import Answer, query, sync

FIRST_OF_USER = 16384  # types of the user's own have other numbers in every database
REFUSED = "0A000"


class Refused(AssertionError):
    """By the proxy alone: a failure, but where may_be_refused() says otherwise."""


@contextlib.contextmanager
def may_be_refused(twice):
    """What is said inside may end in a refusal; the session goes on all the same."""
    try:
        yield
    except Refused:
        twice.recover()


def columns(body):
    """Of a RowDescription: name, type, size, modifier and format of each."""
    found, at = [], 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        end = body.index(b"\0", at)
        _, _, kind, size, modifier, form = struct.unpack_from("!ihihih", body, end + 1)
        found.append((body[at:end].decode(), min(kind, FIRST_OF_USER), size, modifier, form))
        at = end + 19
    return found


def told(answer):
    """What must be alike of an answer."""
    if answer.type == "T":
        return "T", columns(answer.body)
    if answer.type == "E":
        return "E", answer.fields["C"]
    return answer.type, answer.body


def sees_all(statements):
    """Rows of no order that are fetched in part, or passed over, need not be the same ones."""
    fetches = [sql for sql in statements if re.match(r"\s*(FETCH|MOVE)\b", sql)]
    return not fetches or (any("ALL" in sql for sql in fetches) and all(re.match(r"\s*FETCH (NEXT|FORWARD|ALL|\d+|\w+$)", sql) for sql in fetches))


class Twice:
    """Two sessions. `rows` of an order that nobody has promised are kept until settle()."""

    def __init__(self, whole, parts):
        self.wires = self.whole, self.parts = whole, parts
        self._loose = [[], []]

    def close(self):
        for wire in self.wires:
            wire.close()

    def ask(self, *messages, until="Z", ordered=True):
        """Both are told this; what the whole answers up to a message of one of these types, or an error before it. Without
        `ordered` only the number of rows is compared now."""
        for wire in self.wires:
            wire.send(*messages)
        return self.compare(*(wire.until(until if until == "Z" else until + "E") for wire in self.wires), ordered=ordered)

    def compare(self, whole, parts, *, ordered=True):
        lists = []
        for answers, loose in zip((whole, parts), self._loose):
            heard = [told(answer) for answer in answers if answer.type not in "NSA"]
            if not ordered:
                loose += [said for said in heard if said[0] == "D"]
                heard = [("D", None) if said[0] == "D" else said for said in heard]
            lists.append(heard)
        if lists[0] != lists[1]:
            self._complain(*lists, [answer.fields for answer in parts if answer.type == "E"])
        return whole

    @staticmethod
    def _complain(whole, parts, problems):
        if any(each["C"] == REFUSED for each in problems) and ("E", REFUSED) not in whole:
            raise Refused(f"refused: {problems[0]['C']} {problems[0]['M']}")
        here = next((n for n, (one, other) in enumerate(zip(whole, parts)) if one != other), min(len(whole), len(parts)))
        raise AssertionError(f"answer {here}: {parts[here:here + 3]} instead of {whole[here:here + 3]} {problems}")

    def say(self, *statements, ordered=True):
        """Each as a simple query; the whole's answers to all of them. Rows without an order count together."""
        heard = [answer for sql in statements for answer in self.ask(query(sql), ordered=ordered)]
        if ordered or sees_all(statements):
            self.settle()
        self._loose = [[], []]
        return heard

    def settle(self):
        """The rows of no order that came until now are the same ones."""
        whole, parts = (collections.Counter(body for _, body in loose) for loose in self._loose)
        self._loose = [[], []]
        assert parts == whole, f"too many: {list((parts - whole).items())[:3]}, missing: {list((whole - parts).items())[:3]}"

    def recover(self):
        """After a refusal: no transaction is open, and both are served."""
        self._loose = [[], []]
        for wire in self.wires:
            wire.send(sync(), query("ROLLBACK"), query("SELECT 'served'"))
            answers: list[Answer] = []
            while not any(answer.type == "D" and answer.row == ["served"] for answer in answers):
                answers = wire.until_ready()
