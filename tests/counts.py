"""Keep what tests counted, to be said at the end of the run, whichever of its processes counted."""

from collections import Counter
from collections.abc import Mapping

COUNTS: Counter[str] = Counter()  #: summed over the run
LINES: list[str] = []  #: said as they are


def report_counts(title: str, counts: Mapping[str, int]) -> None:
    """Have counts printed under the name of what was counted."""
    LINES.append(f"{title}: " + ", ".join(f"{name} {number}" for name, number in counts.items()))
