"""Parse and write lengths of time as people type them: 24h, 30d, 2w. All are in µs."""

import re
from typing import Final

from storage.domain.errors import Refusal

HOUR: Final = 3_600_000_000
UNITS: Final = {"w": 7 * 24 * HOUR, "d": 24 * HOUR, "h": HOUR}
_WRITTEN = re.compile(r"(\d{1,6})\s?([a-z])", re.ASCII)


class BadSpan(Refusal):
    """That is not a length of time: write 24h, 30d or 2w."""


def parse_span(text: str) -> int:
    """Parse a length of time into µs. Raises BadSpan for any other text, and for zero."""
    match = _WRITTEN.fullmatch(text.strip().casefold())
    if match is None or match[2] not in UNITS or not int(match[1]):
        raise BadSpan(f"`{text[:40]}` is not a length of time: write 24h, 30d or 2w")
    return int(match[1]) * UNITS[match[2]]


def write_span(span: int) -> str:
    """Return a length of time as text: in days if it is whole days, else in hours, rounded down: 30d, 36h."""
    return f"{span // UNITS['d']}d" if span % UNITS["d"] == 0 else f"{span // HOUR}h"
