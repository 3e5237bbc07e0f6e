"""Asks the whole and the parts, and says how the answers compare.

By hand, from integration/ (thousands of cases; ends with status 1 if an answer was wrong):

    /usr/bin/python3 -m differential.runner --seed 1 --count 5000
    /usr/bin/python3 -m differential.runner --class limits --class settings --count 500
    /usr/bin/python3 -m differential.runner --replay '{"form": ...}'      (as printed by a failure)
"""

import argparse
import collections
import json
import sys

from differential.client import Lost, Value
from differential.generator import CLASSES, Case, Step, cases
from differential.shrinker import shrink

REFUSED = "0A000"
IDLE = 0
OUTCOMES = ("identical", "refused", "different", "lost")
Outcome = collections.namedtuple("Outcome", "kind reason")


def to_json(case):
    return json.dumps(case._asdict(), ensure_ascii=False)


def from_json(text):
    case = Case(**json.loads(text))
    return case._replace(steps=[Step(sql, [Value(*value) for value in values], ordered)
                                for sql, values, ordered in case.steps])


class Runner:
    def __init__(self, world):
        self.world = world
        self.whole, self.parts = world.clients()
        self.tally = {each.name: collections.Counter() for each in CLASSES}
        self.refusals = collections.Counter()
        self.failures = []  # (case, outcome)
        self.must_work = {each.name for each in CLASSES if each.must_work}

    def close(self):
        self.whole.close()
        self.parts.close()

    def run(self, some_cases, stop_after=5, tables_every=200):
        """Until `stop_after` failures. Tables are compared now and then, and at the end."""
        recent = []
        self.world.reset()
        for number, case in enumerate(some_cases, 1):
            recent.append(case)
            outcome = self.run_case(case)
            self.tally[case.form][outcome.kind] += 1
            if outcome.kind == "refused":
                self.refusals[outcome.reason] += 1
            if outcome.kind in ("different", "lost"):
                self.failures.append((self.shrunk(case), outcome))
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

    def shrunk(self, case):
        def fails(candidate):
            self.world.reset()
            return self.run_case(candidate).kind in ("different", "lost")
        small = shrink(case, fails) if fails(case) else case
        self.world.reset()
        return small

    def run_case(self, case):
        try:
            return self._run_case(case)
        finally:
            for client in (self.whole, self.parts):
                self._tidy(client, case)

    def _run_case(self, case):
        outcome = Outcome("identical", None)
        for step in case.steps:
            in_transaction = self.parts.status() != IDLE
            try:
                found = self.parts.ask(step.sql, step.values, case.how)
            except Lost as error:
                return Outcome("lost", f"{step.sql}: {error}")
            refusal = next((answer for answer in found if answer.error == REFUSED), None)
            if refusal:
                # Nothing was done. In a transaction that is the end of it; the whole forgets it too.
                outcome = Outcome("refused", refusal.message)
                if in_transaction:
                    return outcome
                continue
            expected = self.whole.ask(step.sql, step.values, case.how)
            difference = compare(found, expected, step.ordered)
            if difference:
                return Outcome("different", f"{step.sql}: {difference}")
        return outcome

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
        lines = [f"{'class':<36}" + "".join(f"{kind:>11}" for kind in OUTCOMES)]
        for name, counts in self.tally.items():
            if counts:
                lines.append(f"{name:<36}" + "".join(f"{counts[kind]:>11}" for kind in OUTCOMES))
        total = sum(self.tally.values(), collections.Counter())
        lines.append(f"{'total':<36}" + "".join(f"{total[kind]:>11}" for kind in OUTCOMES))
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


def main():
    from differential.world import OwnWorld
    parser = argparse.ArgumentParser(prog="differential.runner")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--class", dest="classes", action="append", choices=[each.name for each in CLASSES])
    parser.add_argument("--stop-after", type=int, default=5, help="failures")
    parser.add_argument("--replay", help="a case, as printed by a failure")
    options = parser.parse_args()
    world = OwnWorld()
    runner = Runner(world)
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
