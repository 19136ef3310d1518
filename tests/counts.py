"""Collect what tests count, from all processes, for the summary at the end of the run."""

import os
from collections import Counter
from collections.abc import Mapping

#: random tests do this many times as much as in an everyday run
THOROUGH = int(os.environ.get("THOROUGH", "1"))
COUNTS: Counter[str] = Counter()  #: summed over the run
LINES: list[str] = []  #: printed unchanged


def report_counts(title: str, counts: Mapping[str, int]) -> None:
    """Add counts to the summary under the name of what was counted."""
    LINES.append(f"{title}: " + ", ".join(f"{name} {number}" for name, number in counts.items()))
