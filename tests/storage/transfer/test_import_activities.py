"""Activities are imported from CSV files with their times, so histories, caps and fading start complete."""

from pathlib import Path

import pytest

from storage.domain.score_types import Rule, RuleCap
from storage.scoring.definitions import add_score_type
from storage.transfer.csv_files import BadFile
from tests.storage.teams import DAY, NOW, SECOND, Team, set_to
from tests.storage.transfer.test_import_csv import ADA, BOB, Desk

HOUR = 3_600 * SECOND
DEMO = Rule(name="Demo", activity="demo", points=10_000)
VISIT = Rule(name="Visit", activity="visit", points=2_000, cap=RuleCap(points=5_000, period="day"))
#: Newest first, as programs export them. Ada's visits of Dec 30 reach the cap, and two of the lines are equal.
VISITS = (
    "email,activity,occurred_at,quantity\n"
    "ada@example.com,demo,2025-12-31T12:00:00Z,\n"
    "ada@example.com,visit,2025-12-30 09:00,2\n"
    "ada@example.com,visit,2025-12-30 09:00,2\n"
    "ADA@example.com,visit,2025-12-29T01:00+02:00,0.5\n"
    "bob@example.com,demo,2025-12-02,1\n"
)


@pytest.fixture
async def desk(team: Team, tmp_path: Path) -> Desk:
    """Return a desk with a constant and a fading type that have points for activities."""
    for key, half_life in (("heat", None), ("fading", 30 * DAY)):
        await add_score_type(
            team.workspace, key=key, label=key, minimum=0, maximum=100_000, step=1, bands=[], half_life=half_life,
            start=None, rules=(DEMO, VISIT), is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # the numbers of one definition stand together
    return Desk(team, tmp_path)


async def history_of(desk: Desk, contact: str) -> list[tuple[int, int | None]]:
    """Return the history of `heat`, oldest first: time and value."""
    return [(line.occurred_at, line.value) for line in reversed(await desk.team.lines(contact, "heat"))]


async def test_activities_count_when_they_happened(desk: Desk) -> None:
    """Activities count at their own times, whatever the order of lines and the other changes of the score."""
    await desk.take("email,heat\nada@example.com,\nbob@example.com,1\n")
    assert await desk.take(VISITS) == [0, 5, 0, 0]

    assert await history_of(desk, ADA) == [
        (NOW - 3 * DAY - HOUR, 1_000),
        (NOW - 2 * DAY + 9 * HOUR, 5_000),  # the first of two equal lines
        (NOW - 2 * DAY + 9 * HOUR, 6_000),  # limited to 5 a day
        (NOW - DAY + 12 * HOUR, 16_000),
    ]
    assert (await history_of(desk, BOB))[0] == (NOW - 30 * DAY, 10_000)
    assert await desk.team.value(BOB, "heat") == 1_000  # the value set by the earlier import is later
    assert await desk.team.value(BOB, "fading") == 5_000  # half of it after one half-life


async def test_the_same_activities_count_once(desk: Desk) -> None:
    """Imported again, even in a longer file, activities are not repeated; equal lines are separate activities."""
    assert await desk.take(VISITS) == [2, 3, 0, 0]
    before = await desk.seen()
    assert await desk.take(VISITS) == [0, 0, 5, 0]
    reordered = "quantity;occurred_at;activity;email\n" + "".join(
        ";".join(reversed(line.split(","))) + "\n" for line in VISITS.splitlines()[1:]
    )
    assert await desk.take(reordered.replace(";visit;", "; visit ;")) == [0, 0, 5, 0]
    assert await desk.seen() == before

    more = VISITS + "ada@example.com,visit,2025-12-30 09:00,2.0\nbob@example.com,demo,2025-12-03,1\n"
    assert await desk.take(more, dry=True) == [0, 2, 5, 0]
    assert await desk.take(more) == [0, 2, 5, 0]
    assert [value for _, value in await history_of(desk, BOB)] == [10_000, 20_000]


async def test_activities_are_taken_back_and_mended(desk: Desk) -> None:
    """An undo reverts all activities; a corrected file applies all of its lines, including those that were undone."""
    await desk.team.deliver(set_to("k", ADA, 3, at=NOW - 9 * DAY))
    await desk.take(VISITS)
    imported = await desk.seen()
    assert (await desk.undo(VISITS))[1] == 2
    assert not {"heat", "fading"} & (await desk.seen())[ADA].keys()

    mended = VISITS.replace("bob@example.com,demo,2025-12-02,1", "bob@example.com,demo,2025-12-02,3")
    for expected in ([1, 4, 0, 0], [0, 0, 5, 0]):  # the undone import alone had made Bob, so he is new again
        assert await desk.take(mended) == expected
        assert (await desk.seen())[ADA] == imported[ADA]
        assert await desk.team.value(BOB, "heat") == 30_000
    assert (await desk.undo(mended))[1] == 2
    assert await desk.take(VISITS) == [0, 0, 5, 0]  # in force again
    assert await desk.seen() == imported


async def test_activities_that_cannot_be_taken(desk: Desk) -> None:
    """A line with an unusable activity is reported with what to write; a line without one may have fields alone."""
    header = "email,activity,occurred_at,quantity,name\n"
    rows = {
        f"{ADA},demo,,1,": "occurred_at: it is blank; write for example 2026-01-31 09:30",
        f"{ADA},,2025-12-30,1,": "activity: it is blank; write for example demo_booked",
        f"{ADA},demo,12/30/2025,1,": "occurred_at: `12/30/2025` is not a time like 2026-01-31 09:30"
        " or 2026-01-31T09:30:00Z",
        f"{ADA},demo,2026-02-03,1,": "occurred_at: `2026-02-03` lies in the future",
        f"{ADA},demo,2025-12-30,many,": "quantity: `many` is not a number",
        f"{ADA},{'d' * 101},2025-12-30,1,": "activity: it has 101 characters; cut it to 100",
        f"{ADA},,,,Ada": None,
    }
    assert await desk.take(header + "\n".join(rows)) == [1, 0, 0, 6]
    assert [reason for _, reason in desk.wrong] == [reason for reason in rows.values() if reason]
    assert (await desk.seen())[ADA] == {"name": "Ada"}


async def test_only_files_with_both_columns_have_activities(desk: Desk) -> None:
    """Columns `activity` and `quantity` without a time are unused as before, and a mapped activity needs a time."""
    report = await desk.report("email,activity,quantity\nada@example.com,demo,3\n")
    assert report.unused == ("activity", "quantity")
    with pytest.raises(BadFile) as error:
        await desk.take("email,what\nada@example.com,demo\n", mapping={"what": "activity"})
    assert str(error.value) == ("an activity needs its time: add --map COLUMN=activity and --map COLUMN=occurred_at")
    mapping = {"what": "activity", "When": "occurred_at", "CRM": "ids.crm"}
    assert await desk.take("CRM,what,when\nx1,demo,2025-12-31\n", mapping=mapping) == [1, 0, 0, 0]
    assert await desk.team.value("crm:x1", "heat") == 10_000


async def test_times_of_activities_are_read(desk: Desk) -> None:
    """Times are ISO 8601 as programs write it, in UTC unless a zone is given; ambiguous dates are refused."""
    times = {
        "2025-12-31": NOW - DAY,
        "2025-12-31 00:00:01": NOW - DAY + SECOND,
        "2025-12-31t01:00:02+01:00": NOW - DAY + 2 * SECOND,
        "2025-12-30T19:00:03-0500": NOW - DAY + 3 * SECOND,
        "2025-12-31 00:00:04 UTC": NOW - DAY + 4 * SECOND,
        "2025-13-01": None, "20251231": None, "46022": None, "31.12.2025": None, "12/31/2025": None,
    }  # fmt: skip  # refused times
    text = "email,activity,occurred_at\n" + "".join(f"{ADA},demo,{time}\n" for time in times)
    assert await desk.take(text) == [1, 4, 0, 5]
    assert [at for at, _ in await history_of(desk, ADA)] == [at for at in times.values() if at]
    assert [line for line, _ in desk.wrong] == [7, 8, 9, 10, 11]
