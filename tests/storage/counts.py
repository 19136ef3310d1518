"""Keep what tests counted, to be said at the end of the run."""

from collections.abc import Mapping

LINES: list[str] = []


def tell(what: str, counts: Mapping[str, int]) -> None:
    """Have counts printed under the name of what was counted."""
    LINES.append(f"{what}: " + ", ".join(f"{name} {number}" for name, number in counts.items()))
