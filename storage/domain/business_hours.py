"""Compute local times of day and working hours in a time zone. Instants are in µs UTC."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from storage.domain.errors import Refusal

SECOND = 1_000_000
BEGINS, ENDS = 8 * 60, 18 * 60  #: working hours in minutes of the local day, Monday to Friday
_FRIDAY = 4
_TIME = re.compile(r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s?(?P<half>am|pm)?", re.ASCII | re.IGNORECASE)


class BadHour(Refusal):
    """That is not a time within working hours: write 9:00, or 16:30."""


class UnknownZone(Refusal):
    """There is no such time zone: write it like Europe/Berlin, or America/New_York."""


def parse_time(text: str) -> int:
    """Parse a time of day into minutes after midnight. Raises BadHour for a time outside working hours."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise BadHour(f"`{text[:40]}` is not a time of day: write 9:00, or 16:30")
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if match["half"]:
        hour = hour % 12 + (12 if match["half"].casefold() == "pm" else 0)
    if minute > 59 or not BEGINS <= hour * 60 + minute <= ENDS:
        raise BadHour(
            f"`{text[:40]}` is not within working hours, {write_time(BEGINS)} to {write_time(ENDS)}: write 9:00"
        )
    return hour * 60 + minute


def write_time(minute: int) -> str:
    """Return minutes after midnight as text: 9:00."""
    return f"{minute // 60}:{minute % 60:02d}"


def check_zone(name: str) -> str:
    """Return a zone's name as the time zone database spells it. Raises UnknownZone.

    The function reads files. A coroutine calls it in a thread.
    """
    zone = next(
        (known_zone for known_zone in available_timezones() if known_zone.casefold() == name.strip().casefold()), None
    )
    if zone is None:
        raise UnknownZone(f"there is no time zone `{name[:40]}`: write it like Europe/Berlin, or America/New_York")
    return zone


def next_time(zone: str, minute: int, *, after: int) -> int:
    """Return the first instant after *after* at which a working day in the zone reaches *minute*.

    There is exactly one such instant on a working day, also when the clocks change: a skipped local time comes later
    by the length of the gap, and of a repeated local time the first one counts.
    """
    day = _to_local(zone, after).date()
    for days_ahead in range(8):
        at = _to_instant(zone, day + timedelta(days=days_ahead), minute)
        if at > after and (day + timedelta(days=days_ahead)).weekday() <= _FRIDAY:
            return at
    raise AssertionError  # unreachable: every week has working days


def is_same_day(zone: str, first: int, second: int) -> bool:
    """Return whether two instants are on the same local day."""
    return _to_local(zone, first).date() == _to_local(zone, second).date()


def is_at_work(zone: str, at: int) -> bool:
    """Return whether an instant is within working hours in the zone, both ends included."""
    local = _to_local(zone, at)
    return local.weekday() <= _FRIDAY and BEGINS <= local.hour * 60 + local.minute <= ENDS


def _to_local(zone: str, at: int) -> datetime:
    return datetime.fromtimestamp(at // SECOND, UTC).astimezone(ZoneInfo(zone))


def _to_instant(zone: str, day: date, minute: int) -> int:
    local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=ZoneInfo(zone))
    return int(local.timestamp()) * SECOND
