"""Read instants as programs write them: ISO 8601, or a count of seconds, milliseconds or microseconds."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from storage.domain.errors import BadTime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,18}(?:\.\d{1,9})?", re.ASCII)
_YEAR_10000 = 253_402_300_800  # in seconds
#: (limit, µs per unit): a number below the limit counts seconds, milliseconds or microseconds since 1970
_UNITS = ((_YEAR_10000, 1_000_000), (_YEAR_10000 * 1000, 1000), (_YEAR_10000 * 1_000_000, 1))


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as the sender wrote it: *at* in µs since 1970, and the *resolution* that it is written with, in µs."""

    at: int
    resolution: int


def read_moment(value: object) -> Moment | None:
    """
    Parse a time: ISO 8601 (UTC if it has no zone), or a number of seconds, milliseconds or microseconds since 1970.

    Returns None for a missing or blank value. Raises BadTime for a value that is not a time.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return _parse_iso(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise BadTime(f"`{str(value)[:40]}` is not a time")
    count = Decimal(value.strip() if isinstance(value, str) else value)
    unit = next((unit for limit, unit in _UNITS if count.is_finite() and 0 <= count < limit), None)
    if unit is None:
        raise BadTime(f"`{str(value)[:40]}` is not a time")
    return Moment(int(count * unit), unit if count == int(count) else 1)


def _parse_iso(timestamp: str) -> Moment:
    match = _ISO.fullmatch(timestamp)
    try:
        if match is None:
            raise ValueError
        zone = (match[3] or "Z").upper().replace("UTC", "Z")
        at = datetime.fromisoformat(f"{match[1]}T{_cut_to_microseconds(match[2] or '00:00')}{zone}")
    except ValueError as exc:
        raise BadTime(f"`{timestamp[:40]}` is not a time, like 2026-01-31T09:30:00Z") from exc
    digits = len((match[2] or "").partition(".")[2])
    return Moment((at - _EPOCH) // timedelta(microseconds=1), 10 ** max(0, 6 - digits))


def _cut_to_microseconds(clock: str) -> str:
    seconds, point, digits = clock.partition(".")
    return f"{seconds}{point}{digits[:6]}"
