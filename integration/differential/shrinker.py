"""Makes a failing case small: fewer statements, a plainer way to ask, fewer words. Each attempt starts
from the first rows again."""

import re

TOKEN = re.compile(r"\s+|'(?:[^']|'')*'|\$\w*\$.*?\$\w*\$|\"[^\"]*\"|\w+|.", re.S)


def shrink(case, fails, attempts=400):
    """`fails(case)` says whether a case still goes wrong. The smallest one found."""
    left = [attempts]

    def attempt(candidate):
        if left[0] == 0:
            return False
        left[0] -= 1
        return fails(candidate)

    if case.how != "simple" and attempt(case._replace(how="simple")):
        case = case._replace(how="simple")
    case = case._replace(steps=without(case.steps, lambda steps: attempt(case._replace(steps=steps))))
    for number, step in enumerate(case.steps):
        def with_sql(words, number=number, step=step):
            steps = list(case.steps)
            steps[number] = step._replace(sql="".join(words))
            return case._replace(steps=steps)
        words = without(TOKEN.findall(step.sql), lambda words: attempt(with_sql(words)))
        case = with_sql(words)
    return case


def without(items, fails):
    """Delta debugging: drops ever smaller runs of items as long as it still fails without them."""
    size = max(1, len(items) // 2)
    while items:
        at, dropped = 0, False
        while at < len(items):
            rest = items[:at] + items[at + size:]
            if rest and fails(rest):
                items, dropped = rest, True
            else:
                at += size
        if size == 1 and not dropped:
            return items
        size = max(1, size // 2)
    return items
