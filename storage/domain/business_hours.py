"""Compute local times of day and working hours in a time zone. Instants are in µs UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from storage.domain.errors import Refusal

SECOND = 1_000_000
BEGINS, ENDS = 8 * 60, 18 * 60  #: working hours in minutes of the local day, Monday to Friday
OPENS, CLOSES = 9 * 60, 17 * 60  #: the working hours of a workspace that chose none
DAY = 24 * 3600 * SECOND
_FRIDAY = 4
_WORKING_DAYS = 5  # in a week
_TIME = re.compile(r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s?(?P<half>am|pm)?", re.ASCII | re.IGNORECASE)


class BadHour(Refusal):
    """That is not a time within working hours: write 9:00, or 16:30."""


class UnknownZone(Refusal):
    """There is no such time zone: write it like Europe/Berlin, or America/New_York."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkingHours:
    """The working hours of a team, Monday to Friday: *opens* and *closes* in minutes after midnight in *zone*."""

    zone: str = "UTC"
    opens: int = OPENS
    closes: int = CLOSES

    def add(self, at: int, span: int) -> int:
        """Return the instant when *span* µs of working time have passed since *at*.

        A whole day of *span* counts as one working day, the rest as working hours.
        """
        at = self.first_instant(at)
        days, rest = divmod(span, DAY)
        if days:
            local = _to_local(self.zone, at)
            day = _add_working_days(local.date(), days)
            at = _to_instant(self.zone, day, local.hour * 60 + local.minute) + at % (60 * SECOND)
        while True:
            end = _to_instant(self.zone, _to_local(self.zone, at).date(), self.closes)
            if at + rest <= end:
                return at + rest
            rest -= end - at
            at = next_time(self.zone, self.opens, after=end - 1)

    def first_instant(self, at: int) -> int:
        """Return *at* if it is within working hours, else the next instant at which working hours begin."""
        day = _to_local(self.zone, at).date()
        opens, closes = (_to_instant(self.zone, day, minute) for minute in (self.opens, self.closes))
        if day.weekday() <= _FRIDAY and opens <= at < closes:
            return at
        return next_time(self.zone, self.opens, after=at)

    def begin_of(self, day: date) -> int:
        """Return when working hours begin on *day*, or on the next working day after it if it is none."""
        while day.weekday() > _FRIDAY:
            day += timedelta(days=1)
        return _to_instant(self.zone, day, self.opens)

    def local_day(self, at: int) -> date:
        """Return the local date of an instant."""
        return _to_local(self.zone, at).date()


def _add_working_days(day: date, days: int) -> date:
    """Return the date *days* working days after a working day."""
    weeks, rest = divmod(days, _WORKING_DAYS)
    day += timedelta(weeks=weeks)
    while rest:
        day += timedelta(days=1)
        rest -= day.weekday() <= _FRIDAY
    return day


def parse_hours(text: str) -> tuple[int, int]:
    """Parse working hours, such as 9:00-17:00, into minutes after midnight. Raises BadHour."""
    times = [_TIME.fullmatch(part.strip()) for part in text.replace("\u2013", "-").split("-")]
    minutes = [
        int(time["hour"]) * 60 + int(time["minute"] or 0)
        for time in times
        if time and not time["half"] and int(time["minute"] or 0) < 60
    ]
    if len(times) != 2 or len(minutes) != 2 or not 0 <= minutes[0] < minutes[1] <= 24 * 60:
        raise BadHour(f"`{text[:40]}` are not working hours: write them as 9:00-17:00")
    return minutes[0], minutes[1]


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
    day, minute = day + timedelta(days=minute // (24 * 60)), minute % (24 * 60)
    local = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=ZoneInfo(zone))
    return int(local.timestamp()) * SECOND
