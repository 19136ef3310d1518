"""The health of a source is derived from its requests, and each change is reported by one job."""

import asyncio
from dataclasses import replace

from storage import jobs
from storage.domain.facts import ItemRequest, Unusable
from storage.domain.source_health import DAY, SourceHealth
from storage.domain.sources import Source
from storage.domain.submissions import Delivered
from storage.sources.config import add_source, remove_source, set_source
from storage.sources.deliveries import count_refusal
from storage.sources.health import TELL, check_sources, load_unreported, record_reported
from tests.storage.teams import NOW, Team, set_to

KINDS = [TELL]


async def new_source(team: Team) -> Source:
    """Add a source."""
    return await add_source(
        team.workspace, slug="crm", provider="generic", secrets=[], by="U0ADMIN", now=NOW - 40 * DAY
    )


async def deliver(team: Team, source: Source, *, at: int, bad: int = 0) -> None:
    """Record a delivery with so many unusable items; without any it has one good item."""
    items: list[ItemRequest] = [Unusable(key=f"{at}/{n}", reason="no score type `heat`", raw="{}") for n in range(bad)]
    await team.deliver(
        *(items or [set_to(f"{at}", "ada@example.com", 50)]), batch=f"d{at}", received=at,
        delivered=Delivered(source=source.id, key=str(at)),
    )  # fmt: skip  # what and when


async def refuse(team: Team, source: Source, *, at: int) -> None:
    """Record a refused request."""
    await count_refusal(team.workspace, source=source.id, reason="no secret fits", hint="look at it", now=at)


async def test_three_refusals_in_a_row_and_a_delivery_after_them(team: Team) -> None:
    """A source fails after three refused requests in a row, unless it never worked; a delivery restarts the count."""
    source, stranger = (
        await new_source(team),
        await add_source(team.workspace, slug="new", provider="generic", secrets=[], by="U0ADMIN", now=NOW),
    )
    await deliver(team, source, at=NOW - 9)
    for minute, letter in enumerate("rrdrr"):
        await (refuse if letter == "r" else deliver)(team, source, at=NOW + minute)
        await refuse(team, stranger, at=NOW + minute)
    assert await check_sources(team.workspace, now=NOW + 10) == []
    await refuse(team, source, at=NOW + 20)

    assert await check_sources(team.workspace, now=NOW + 30) == [("crm", SourceHealth.REFUSED)]
    assert await check_sources(team.workspace, now=NOW + 40) == []
    changed = await load_unreported(team.workspace, source=source.id)
    assert changed is not None
    assert (changed.source, changed.standing, changed.refused) == ("crm", SourceHealth.REFUSED, 3)
    assert (changed.reason, changed.hint, changed.since) == ("no secret fits", "look at it", NOW + 30)
    await record_reported(team.workspace, changed=changed)
    assert await load_unreported(team.workspace, source=source.id) is None
    await deliver(team, source, at=NOW + 50)
    assert await check_sources(team.workspace, now=NOW + 60) == [("crm", SourceHealth.WORKS)]
    report = await load_unreported(team.workspace, source=source.id)
    assert report is not None
    assert (report.standing, report.last_at) == (SourceHealth.WORKS, NOW + 50)


async def test_deliveries_of_which_nothing_can_be_used(team: Team) -> None:
    """A source fails after three unusable deliveries; a good delivery ends the failure."""
    source = await new_source(team)
    await deliver(team, source, at=NOW - 9)
    for number in range(2):
        await deliver(team, source, at=NOW + number, bad=1)
    assert await check_sources(team.workspace, now=NOW + 5) == []
    await deliver(team, source, at=NOW + 3, bad=1)
    assert await check_sources(team.workspace, now=NOW + 6) == [("crm", SourceHealth.UNUSABLE)]
    changed = await load_unreported(team.workspace, source=source.id)
    assert changed is not None
    assert changed.reason == "no score type `heat`"
    for number in range(3):
        await refuse(team, source, at=NOW + 10 + number)
    assert await check_sources(team.workspace, now=NOW + 20) == []
    await deliver(team, source, at=NOW + 30)
    assert await check_sources(team.workspace, now=NOW + 40) == [("crm", SourceHealth.WORKS)]
    assert await load_unreported(team.workspace, source=source.id) is None  # no report was sent in between


async def test_a_busy_source_is_silent_after_three_days(team: Team) -> None:
    """A source with five deliveries in a week is silent three days after the last; a paused source is not checked."""
    source = await new_source(team)
    start = NOW - 20 * DAY
    silent = start + 17 * DAY + 1
    for day in (5, 8, 10, 12, 14):
        await deliver(team, source, at=start + day * DAY)
    assert await check_sources(team.workspace, now=silent) == []  # four in the week before the last
    await deliver(team, source, at=start + 9 * DAY)

    assert await check_sources(team.workspace, now=silent - 1) == []
    await set_source(
        team.workspace, slug="crm", settings=replace(source.settings, paused=True), by="U0ADMIN", now=start
    )
    assert await check_sources(team.workspace, now=silent) == []
    await set_source(team.workspace, slug="crm", settings=source.settings, by="U0ADMIN", now=start)
    assert await check_sources(team.workspace, now=silent) == [("crm", SourceHealth.SILENT)]
    await deliver(team, source, at=silent + DAY)
    assert await check_sources(team.workspace, now=silent + DAY + 1) == [("crm", SourceHealth.WORKS)]


async def test_whoever_looks_first_one_job_tells(team: Team) -> None:
    """Of many replicas that check at the same time one creates the job."""
    source = await new_source(team)
    await deliver(team, source, at=NOW - 9)
    for number in range(3):
        await refuse(team, source, at=NOW + number)
    changed = await asyncio.gather(*(check_sources(team.workspace, now=NOW + 10 + number) for number in range(8)))

    assert sum(map(len, changed)) == 1
    job = await jobs.claim(team.workspace, kinds=KINDS, now=NOW + 99)
    assert job is not None
    assert job.subject == source.id
    await jobs.settle(team.workspace, job=job, pace=0, now=NOW + 99)
    assert await jobs.claim(team.workspace, kinds=KINDS, now=NOW + 99) is None


async def test_a_source_that_is_gone_is_not_told_of(team: Team) -> None:
    """The job of a deleted source finds nothing to report."""
    source = await new_source(team)
    await deliver(team, source, at=NOW - 9)
    for number in range(3):
        await refuse(team, source, at=NOW + number)
    await check_sources(team.workspace, now=NOW + 10)
    await remove_source(team.workspace, slug="crm", by="U0ADMIN", now=NOW)

    assert await load_unreported(team.workspace, source=source.id) is None
    assert await check_sources(team.workspace, now=NOW + 20) == []
