"""What can come of a case: right, a named warning, a named error, wrong, or a crash.

Shared by the campaigns (scripts that try thousands of cases) and by the tests that try a few.
"""

import warnings
from collections import Counter
from typing import NamedTuple

RIGHT, WARNED, REFUSED, WRONG, CRASHED = "right", "named warning", "named error", "wrong", "crash"
OUTCOMES = (RIGHT, WARNED, REFUSED, WRONG, CRASHED)


class Observed(NamedTuple):
    """A call that has ended: its value or its error, and what it warned of."""

    value: object
    error: Exception | None
    warnings: list[warnings.WarningMessage]


def observe(call) -> Observed:
    """Call, with every warning recorded and NumPy's floating-point warnings left as they are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            return Observed(call(), None, caught)
        except Exception as error:
            return Observed(None, error, caught)


class Tally:
    """Outcomes by row of a table, and what was wrong."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: dict[str, Counter] = {}
        self.failures: list[str] = []

    def add(self, row: str, outcome: str, detail: str = "") -> None:
        self.rows.setdefault(row, Counter())[outcome] += 1
        if outcome in (WRONG, CRASHED):
            self.failures.append(f"{outcome}: {row}: {detail}")

    def total(self) -> Counter:
        return sum(self.rows.values(), Counter())

    def show(self, limit: int = 20) -> None:
        """Print the table as Markdown, and what failed."""
        print(f"| {self.title} | tried | {' | '.join(OUTCOMES)} |")
        print("| --- " * (2 + len(OUTCOMES)) + "|")
        for row, counts in [*self.rows.items(), ("all", self.total())]:
            numbers = " | ".join(str(counts[outcome]) for outcome in OUTCOMES)
            print(f"| {row} | {counts.total()} | {numbers} |")
        for failure in self.failures[:limit]:
            print(f"  {failure}")
        if len(self.failures) > limit:
            print(f"  and {len(self.failures) - limit} more")
