#!/usr/bin/env python3
"""Adds up what a test run left behind and ends with "N passed, N failed".

Reads <build>/results/*.check (one outcome each) and, for each preset, <build>/<preset>/results/:
ctest.junit with one entry a binary, <binary>.xml with that GoogleTest binary's cases, and
integration.xml with pytest's. A binary that died before writing its cases counts as one failure.
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []

    def add(self, outcome, name):
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome == "failed":
            self.failures.append(name)

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def add_cases(file, count, where):
    """The cases of a JUnit file as GoogleTest and pytest write them."""
    for case in ElementTree.parse(file).iter("testcase"):
        children = {child.tag for child in case}
        if children & {"failure", "error"}:
            outcome = "failed"
        elif "skipped" in children or case.get("status") == "notrun":
            outcome = "skipped"
        else:
            outcome = "passed"
        count.add(outcome, f"{where}: {case.get('classname')}.{case.get('name')}")


def add_ctest(file, count, where):
    for case in ElementTree.parse(file).iter("testcase"):
        name, status = case.get("name"), case.get("status")
        cases = file.parent / f"{name}.xml"
        before = count.failed
        if cases.exists() and cases.stat().st_size:
            add_cases(cases, count, where)
        elif status == "run":
            count.add("passed", f"{where}: {name}")
        # Also when all cases passed: a leak is found after the last of them.
        if status != "run" and count.failed == before:
            count.add("failed", f"{where}: {name}")


def main(build):
    total = Count()
    suites = []

    def suite(name, add, *arguments):
        count = Count()
        add(*arguments[:1], count, *arguments[1:])
        suites.append((name, count))
        for key in ("passed", "failed", "skipped"):
            setattr(total, key, getattr(total, key) + getattr(count, key))
        total.failures += count.failures

    for file in sorted(build.glob("results/*.check")):
        suite(file.stem, lambda f, count: count.add(f.read_text().strip(), f.stem), file)
    for results in sorted(build.glob("*/results")):
        preset = results.parent.name
        for name, add in (("ctest.junit", add_ctest), ("integration.xml", add_cases)):
            if (results / name).exists():
                label = {"ctest.junit": "unit", "integration.xml": "integration"}[name]
                suite(f"{label} ({preset})", add, results / name, f"{label} ({preset})")

    for name, count in suites:
        print(f"  {name:24} {count}")
    for failure in total.failures:
        print(f"  FAILED {failure}")
    print(total)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
