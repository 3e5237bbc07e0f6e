"""Asks the whole and the parts, and says how the answers compare.

By hand, from integration/ (thousands of cases; ends with status 1 if an answer was wrong):

    /usr/bin/python3 -m differential.runner --seed 1 --count 5000
    /usr/bin/python3 -m differential.runner --class limits --class settings --count 500
    /usr/bin/python3 -m differential.runner --replay '{"form": ...}'      (as printed by a failure)
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
from differential.shrinker import shrink

REFUSED = "0A000"
IDLE = 0
OUTCOMES = ("identical", "refused", "different", "lost")
# `error`: the one server had an error, too.
Outcome = collections.namedtuple("Outcome", "kind reason error difference", defaults=(False, None))


def to_json(case):
    return json.dumps(case._asdict(), ensure_ascii=False)


def from_json(text):
    case = Case(**json.loads(text))
    return case._replace(steps=[Step(sql, [Value(*value) for value in values], ordered)
                                for sql, values, ordered in case.steps])


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
        self.refusals = collections.Counter()
        self.failures = []  # (case, outcome)
        self.must_work = {each.name for each in CLASSES if each.must_work}
        self.reads = {each.name for each in CLASSES if each.reads}

    def close(self):
        for client in (self.whole, self.parts, self.twin):
            if client:
                client.close()

    def run(self, some_cases, stop_after=5, tables_every=200):
        """Until `stop_after` failures. Tables are compared now and then, and at the end."""
        recent = []
        self.world.reset()
        for number, case in enumerate(some_cases, 1):
            recent.append(case)
            outcome = self.run_case(case)
            self.tally[case.form][outcome.kind] += 1
            if not outcome.error:
                self.tally[case.form]["answered"] += 1
                self.tally[case.form]["alike"] += outcome.kind == "identical"
                if outcome.kind == "refused":
                    self.refusals[re.sub(r'"[^"]*"', '"..."', outcome.reason)] += 1
            if outcome.kind in ("different", "lost"):
                self.failures.append(self.shrunk(case, outcome))
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
            self.failures.append((culprit, Outcome("different", f"rows of table {table}")))
            self.tally[culprit.form]["different"] += 1
        self.world.reset()

    def leaves_drift(self, case):
        self.world.reset()
        return self.run_case(case).kind != "lost" and self.world.drift() is not None

    def shrunk(self, case, outcome):
        """The smallest case that fails as this one, and how."""
        read = case.form in self.reads
        self.world.reset()
        if read and not self.steady(case):
            return case, outcome._replace(reason=f"one server differs from its twin, too: {outcome.reason}")

        def fails(candidate):
            nonlocal outcome
            if not read:
                self.world.reset()
            found = self.run_case(candidate)
            if found.kind != outcome.kind or complaint(found) != complaint(outcome) or read and not self.steady(candidate):
                return False
            outcome = found
            return True
        small = shrink(case, fails) if fails(case) else case
        self.world.reset()
        return small, outcome

    def steady(self, case):
        """Whether one server answers alike however it stores and plans."""
        if not self.asks_proxy:
            return True
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
        for step in case.steps:
            in_transaction = self.parts.status() != IDLE
            try:
                found = self.parts.ask(step.sql, step.values, case.how)
            except Lost as error:
                return Outcome("lost", f"{step.sql}: {error}")
            refusal = next((answer for answer in found if answer.error == REFUSED), None)
            if refusal and case.form not in self.reads:
                # Nothing was done. In a transaction that is the end of it; the whole forgets it too.
                kind, reason = "refused", refusal.message
                if in_transaction:
                    break
                continue
            expected = self.whole.ask(step.sql, step.values, case.how)
            failed = failed or any(answer.error for answer in expected)
            if refusal and not any(answer.error == REFUSED for answer in expected):
                kind, reason = "refused", refusal.message
                if in_transaction:
                    break
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
            lines += [f"{count:>8}  {reason}" for reason, count in self.refusals.most_common()]
        for case, outcome in self.failures:
            lines.append(f"\n{outcome.kind}: {outcome.reason}\n  replay: {to_json(case)}")
        return "\n".join(lines)

    def wrong(self):
        """Refusals of what must work count too."""
        refused = [name for name in self.must_work if self.tally[name]["refused"]]
        return [to_json(case) for case, _ in self.failures] + [f"refused: {name}" for name in refused]


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
    parser.add_argument("--replay", help="a case, as printed by a failure")
    options = parser.parse_args()
    if options.reads or options.twin and not options.classes:
        options.classes = [each.name for each in CLASSES if each.reads]
    world = OwnWorld()
    runner = Runner(world, world.twin() if options.twin else None)
    try:
        some = [from_json(options.replay)] if options.replay else cases(options.seed, options.count,
                                                                        options.classes)
        runner.run(some, options.stop_after)
        print(runner.report())
        return 1 if runner.wrong() else 0
    finally:
        runner.close()
        world.close()


if __name__ == "__main__":
    sys.exit(main())
