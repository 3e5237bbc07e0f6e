"""Asks the whole and the parts, and says how the answers compare.

By hand, from integration/ (thousands of cases; ends with status 1 if an answer was wrong):

    /usr/bin/python3 -m differential.runner --seed 1 --count 5000
    /usr/bin/python3 -m differential.runner --class limits --class settings --count 500
    /usr/bin/python3 -m differential.runner --replay '[{"form": ...}]'      (as printed by a failure)
    /usr/bin/python3 -m differential.runner --twin      asks a twin of the one server instead of the proxy: where they
                                                        differ a class of reads.py has more than one right answer
"""

import argparse
import collections
import json
import re
import sys

from differential import reads  # noqa: F401: has classes
from differential.client import Lost, Value
from differential.generator import CLASSES, Case, Step, cases
from differential.shrinker import shrink, without

REFUSED = "0A000"
IDLE = 0
EARLIER = 100  # cases that may be to blame for a later one's failure
OUTCOMES = ("identical", "refused", "different", "lost")
# `error`: the one server had an error, too.
Outcome = collections.namedtuple("Outcome", "kind reason error difference", defaults=(False, None))


def to_json(some_cases):
    return json.dumps([case._asdict() for case in some_cases], ensure_ascii=False)


def from_json(text):
    return [Case(**{**case, "steps": [Step(sql, [Value(*value) for value in values], ordered)
                                      for sql, values, ordered in case["steps"]]}) for case in json.loads(text)]


class Runner:
    def __init__(self, world, parts=None):
        """`parts`: who is asked instead of the proxy."""
        self.world = world
        self.whole, self.parts = world.clients()
        self.twin, self.asks_proxy = None, not parts
        if parts:
            self.parts.close()
            self.parts = parts
        self.tally = {each.name: collections.Counter() for each in CLASSES}
        self.refusals = collections.defaultdict(list)  # cases by reason
        self.failures = []  # (cases, outcome): the last one failed behind the others
        self.must_work = {each.name for each in CLASSES if each.must_work}
        self.reads = {each.name for each in CLASSES if each.reads}

    def close(self):
        for client in (self.whole, self.parts, self.twin):
            if client:
                client.close()

    def run(self, some_cases, stop_after=5, tables_every=200):
        """Until `stop_after` failures. Tables are compared now and then, and at the end."""
        recent, earlier = [], collections.deque(maxlen=EARLIER)
        self.world.reset()
        for number, case in enumerate(some_cases, 1):
            recent.append(case)
            outcome = self.run_case(case)
            self.tally[case.form][outcome.kind] += 1
            if not outcome.error:
                self.tally[case.form]["answered"] += 1
                self.tally[case.form]["alike"] += outcome.kind == "identical"
                if outcome.kind == "refused":
                    self.refusals[re.sub(r'"[^"]*"', '"..."', outcome.reason)].append(case)
            # Of errors that are alike one is shown.
            alike = str(complaint(outcome)).startswith("error") and any(
                complaint(each) == complaint(outcome) for _, each in self.failures)
            if outcome.kind in ("different", "lost") and not alike:
                self.failures.append(self.shrunk(list(earlier), case, outcome))
                self.world.reset()
            earlier.append(case)
            if number % tables_every == 0 or outcome.kind == "lost":
                self.compare_tables(recent)
                recent = []
            if len(self.failures) >= stop_after:
                return
        self.compare_tables(recent)

    def compare_tables(self, recent):
        table = self.world.drift()
        if table:
            # One of these wrote something else than it said.
            culprit = next((case for case in recent if self.leaves_drift(case)), recent[-1])
            self.failures.append(([culprit], Outcome("different", f"rows of table {table}")))
            self.tally[culprit.form]["different"] += 1
        self.world.reset()

    def leaves_drift(self, case):
        self.world.reset()
        return self.run_case(case).kind != "lost" and self.world.drift() is not None

    def shrunk(self, earlier, case, outcome):
        """The smallest cases that fail as this one did behind `earlier`, and how."""
        read = case.form in self.reads
        self.world.reset()
        self.reconnect()
        if not self.asks_proxy:
            return [case], outcome
        if read and not self.steady(case):
            return [case], outcome._replace(reason=f"one server differs from its twin, too: {outcome.reason}")

        def fails(candidate, before=()):
            nonlocal outcome
            if before or not read:
                self.world.reset()
            for each in before:
                self.run_case(each)
            found = self.run_case(candidate)
            if found.kind != outcome.kind or complaint(found) != complaint(outcome) or read and not self.steady(candidate):
                return False
            outcome = found
            return True

        def follows(before):
            self.reconnect()
            return fails(case, before)
        if fails(case):
            return [shrink(case, fails)], outcome
        for count in (1, 3, 10, 30, EARLIER):
            if follows(earlier[-count:]):
                before = without(earlier[-count:], follows)
                return [*([] if fails(case) else before), case], outcome
        return [case], outcome._replace(reason=f"(not seen again) {outcome.reason}")

    def reconnect(self):
        for client in (self.whole, self.parts):
            client.close()
            client.connect()

    def steady(self, case):
        """Whether one server answers alike however it stores and plans."""
        self.twin = self.twin or self.world.twin()
        try:
            return not any(compare(self.twin.ask(*step[:2], case.how), self.whole.ask(*step[:2], case.how), step.ordered)
                           for step in case.steps)
        finally:
            for client in (self.whole, self.twin):
                self._tidy(client, case)

    def run_case(self, case):
        try:
            return self._run_case(case)
        finally:
            for client in (self.whole, self.parts):
                self._tidy(client, case)

    def _run_case(self, case):
        kind, reason, failed = "identical", None, False
        read = case.form in self.reads
        for step in case.steps:
            if read and kind == "refused":
                # The whole goes on: has it an error, and it is left as it was.
                failed = failed or any(answer.error for answer in self.whole.ask(step.sql, step.values, case.how))
                continue
            in_transaction = self.parts.status() != IDLE
            try:
                found = self.parts.ask(step.sql, step.values, case.how)
            except Lost as error:
                ended = self.world.revive()
                return Outcome("lost", f"{step.sql}: {f'the proxy ended with status {ended}' if ended else error}")
            refusal = next((answer for answer in found if answer.error == REFUSED), None)
            if refusal and not read:
                # Nothing was done. In a transaction that is the end of it; the whole forgets it too.
                kind, reason = "refused", refusal.message
                if in_transaction:
                    break
                continue
            expected = self.whole.ask(step.sql, step.values, case.how)
            failed = failed or any(answer.error for answer in expected)
            if refusal and not any(answer.error == REFUSED for answer in expected):
                kind, reason = "refused", refusal.message
                continue
            difference = compare(found, expected, step.ordered)
            if difference:
                return Outcome("different", f"{step.sql}: {difference}", failed, difference)
        return Outcome(kind, reason, failed)

    @staticmethod
    def _tidy(client, case):
        try:
            if client.status() != IDLE:
                client.simple("ROLLBACK")
            if any(step.sql.startswith("PREPARE p") for step in case.steps):
                client.simple("DEALLOCATE p")  # where what follows was refused
            if any("SET " in step.sql or "set_config" in step.sql for step in case.steps):
                client.simple("RESET ALL")
                client.simple("SET timezone = 'UTC'")
        except Lost:
            client.close()
            client.connect()

    def report(self):
        def line(name, counts):
            share = f"{100 * counts['alike'] / counts['answered']:9.1f} %" if counts["answered"] else ""
            return f"{name:<36}" + "".join(f"{counts[kind]:>11}" for kind in OUTCOMES) + share
        # The share: of what one server answers without an error, how much is answered alike.
        lines = [f"{'class':<36}" + "".join(f"{kind:>11}" for kind in (*OUTCOMES, "share"))]
        lines += [line(name, counts) for name, counts in self.tally.items() if counts]
        lines.append(line("total", sum(self.tally.values(), collections.Counter())))
        if self.refusals:
            lines.append("\nrefused because")
            for reason, some in sorted(self.refusals.items(), key=lambda each: -len(each[1])):
                least = min(some, key=lambda case: sum(len(step.sql) for step in case.steps))
                lines.append(f"{len(some):>8}  {reason}\n{'':>12}{'; '.join(step.sql for step in least.steps)}")
        for some, outcome in self.failures:
            lines.append(f"\n{outcome.kind}: {outcome.reason}\n  replay: {to_json(some)}")
        return "\n".join(lines)

    def wrong(self):
        """Refusals of what must work count too."""
        refused = [name for name in self.must_work if self.tally[name]["refused"]]
        return [to_json(some) for some, _ in self.failures] + [f"refused: {name}" for name in refused]


def compare(found, expected, ordered):
    """What differs first, in words; None if nothing does. Messages are free, codes are not."""
    if len(found) != len(expected):
        return f"{len(found)} answers instead of {len(expected)}"
    for one, other in zip(found, expected):
        for field in ("error", "tag", "columns", "status"):
            if getattr(one, field) != getattr(other, field):
                return (f"{field} {getattr(one, field)!r} instead of {getattr(other, field)!r} "
                        f"({one.message or other.message})")
        rows, wanted = one.rows, other.rows
        if not ordered:
            rows, wanted = sorted(rows, key=repr), sorted(wanted, key=repr)
        if rows != wanted:
            row, want = next(((a, b) for a, b in zip(rows, wanted) if a != b), (len(rows), len(wanted)))
            return f"rows: {row} instead of {want}"
    return None


def complaint(outcome):
    """What differs, without the values: a small case is to fail for the same reason as the large one."""
    return outcome.difference and re.match(r"error '?\w+'? instead of '?\w+'?|\w+", outcome.difference)[0]


def main():
    from differential.world import OwnWorld
    parser = argparse.ArgumentParser(prog="differential.runner")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--class", dest="classes", action="append", choices=[each.name for each in CLASSES])
    parser.add_argument("--reads", action="store_true", help="the classes of reads.py")
    parser.add_argument("--twin", action="store_true", help="compare one server with its twin")
    parser.add_argument("--stop-after", type=int, default=5, help="failures")
    parser.add_argument("--replay", help="cases, as printed by a failure")
    options = parser.parse_args()
    if options.reads or options.twin and not options.classes:
        options.classes = [each.name for each in CLASSES if each.reads]
    world = OwnWorld()
    runner = Runner(world, world.twin() if options.twin else None)
    try:
        some = from_json(options.replay) if options.replay else cases(options.seed, options.count,
                                                                        options.classes)
        runner.run(some, options.stop_after)
        print(runner.report())
        return 1 if runner.wrong() else 0
    finally:
        runner.close()
        world.close()


if __name__ == "__main__":
    sys.exit(main())
