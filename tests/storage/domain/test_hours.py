"""Local days and working hours are right across changes of clocks."""

from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.domain.business_hours import (
    BadHour,
    UnknownZone,
    WorkingHours,
    check_zone,
    is_at_work,
    is_same_day,
    next_time,
    parse_hours,
    parse_time,
    write_time,
)

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "UTC")
HOUR = 3_600_000_000


def at(zone: str, text: str) -> int:
    """Return the instant of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-03-27T08:59", "2026-03-27T09:00"),
        ("2026-03-27T09:00", "2026-03-30T09:00"),  # Friday; on the Sunday between, clocks go forward
        ("2026-10-23T12:00", "2026-10-26T09:00"),  # clocks go back
        ("2026-12-31T12:00", "2027-01-01T09:00"),
        ("2026-11-21T03:00", "2026-11-23T09:00"),  # Saturday
    ],
)
def test_the_next_working_day_at_nine(after: str, expected: str) -> None:
    """The next working day begins at nine o'clock local time, before and after a change of clocks."""
    assert next_time("Europe/Berlin", 540, after=at("Europe/Berlin", after)) == at("Europe/Berlin", expected)


def test_hours_that_are_left_out_or_repeated() -> None:
    """In Cairo, where clocks change on a Friday, a skipped time comes an hour later and a repeated time comes once."""
    night = at("Africa/Cairo", "2026-04-23T12:00")
    assert next_time("Africa/Cairo", 30, after=night) == at("Africa/Cairo", "2026-04-24T01:30")
    first = next_time("Africa/Cairo", 23 * 60 + 30, after=at("Africa/Cairo", "2026-10-29T12:00"))
    assert next_time("Africa/Cairo", 23 * 60 + 30, after=first) - first == 25 * HOUR


@given(st.sampled_from(ZONES), st.integers(480, 1080), st.integers(1_600_000_000, 1_900_000_000))
def test_once_on_every_working_day(zone: str, minute: int, second: int) -> None:
    """Twenty daily times in a row fall on twenty working days, in order, at the same local time."""
    moments, last = [], second * 1_000_000
    for _ in range(20):
        last = next_time(zone, minute, after=last)
        moments.append(last)
    local = [datetime.fromtimestamp(moment / 1_000_000, ZoneInfo(zone)) for moment in moments]
    assert len({moment.date() for moment in local}) == 20
    assert all(moment.weekday() < 5 for moment in local)
    assert all((moment.hour, moment.minute) == divmod(minute, 60) for moment in local)
    assert all(is_at_work(zone, moment) for moment in moments)
    assert max(later - earlier for earlier, later in pairwise(moments)) <= 73 * HOUR
    assert not is_same_day(zone, moments[0], moments[1])


@pytest.mark.parametrize(
    ("text", "minute"), [("9:00", 540), ("9", 540), ("16:30", 990), ("9am", 540), ("4:30 pm", 990)]
)
def test_times_are_read(text: str, minute: int) -> None:
    """Times of day are parsed as people write them."""
    assert parse_time(text) == minute


@pytest.mark.parametrize("text", ["", "noon", "7:59", "18:01", "25:00", "9:60", "12 am"])
def test_what_is_no_time_within_working_hours_is_refused(text: str) -> None:
    """A text that is no time within working hours is refused with what to write instead."""
    with pytest.raises(BadHour, match="write 9:00"):
        parse_time(text)


def test_zones_are_checked() -> None:
    """Names of time zones are validated without regard to case."""
    assert check_zone("europe/berlin") == "Europe/Berlin"
    assert write_time(545) == "9:05"
    with pytest.raises(UnknownZone, match="Europe/Berlin"):
        check_zone("Mars/Olympus")


HOURS_OF_BERLIN = WorkingHours(zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("began", "hours", "ends"),
    [
        ("2026-11-30 09:00", 4, "2026-11-30 13:00"),
        ("2026-11-30 13:00", 4, "2026-11-30 17:00"),
        ("2026-11-30 16:30", 1, "2026-12-01 09:30"),
        ("2026-11-30 22:20", 4, "2026-12-01 13:00"),  # in the evening
        ("2026-11-30 06:00", 1, "2026-11-30 10:00"),  # before work
        ("2026-12-04 16:00", 2, "2026-12-07 10:00"),  # over a weekend
        ("2026-12-05 22:48", 4, "2026-12-07 13:00"),  # on a Saturday
        ("2026-12-03 15:00", 24, "2026-12-04 15:00"),  # a day is a working day
        ("2026-12-04 15:00", 24, "2026-12-07 15:00"),
        ("2026-12-04 15:00", 27, "2026-12-08 10:00"),  # a day and three hours
        ("2026-12-04 15:00", 10 * 24, "2026-12-18 15:00"),
        ("2026-03-27 16:00", 2, "2026-03-30 10:00"),  # the clocks change on the Sunday
    ],
)
def test_the_time_to_claim_runs_in_working_hours(began: str, hours: int, ends: str) -> None:
    """Only working hours count, Monday to Friday; a whole day counts as one working day."""
    began_at = at("Europe/Berlin", began)
    assert HOURS_OF_BERLIN.add(began_at, hours * HOUR) == at("Europe/Berlin", ends)


def test_working_hours_around_the_clock() -> None:
    """Working hours may fill the whole day; weekends still do not count."""
    hours = WorkingHours(opens=0, closes=24 * 60)
    assert hours.add(at("UTC", "2026-12-04 22:00"), 4 * HOUR) == at("UTC", "2026-12-07 02:00")
    assert hours.add(at("UTC", "2026-12-02 22:00"), 4 * HOUR) == at("UTC", "2026-12-03 02:00")


def test_a_day_begins_with_working_hours() -> None:
    """Working hours begin on the day itself, or on the next working day after a weekend."""
    for day, begins in ((1, 1), (4, 4), (5, 7), (6, 7)):
        assert HOURS_OF_BERLIN.begin_of(date(2026, 12, day)) == at("Europe/Berlin", f"2026-12-{begins:02d} 09:00")


@pytest.mark.parametrize("text", ["9-17", "9:00-17:00", " 9:00 – 17:00 "])
def test_working_hours_as_people_write_them(text: str) -> None:
    """Working hours are written as two times."""
    assert parse_hours(text) == (540, 1020)


@pytest.mark.parametrize("text", ["", "9", "17-9", "9-9", "9-25", "9-17-18", "9:60-17", "nine-five"])
def test_what_are_no_working_hours(text: str) -> None:
    """Working hours end after they begin, on the same day."""
    with pytest.raises(BadHour, match="9:00-17:00"):
        parse_hours(text)
