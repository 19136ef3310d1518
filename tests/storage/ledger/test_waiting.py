"""A submission waits for its turn and for locked contacts up to a limit, and keeps its order for each contact."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from storage.db.database import current_database
from storage.domain.contacts import Reference
from storage.domain.errors import StorageUnavailable, TooBusy
from storage.domain.facts import Merge, Op
from storage.domain.submissions import Recorded, Status
from storage.ledger.committer import Committer, rehearse
from tests.storage import raw
from tests.storage.teams import NOW, Team, change, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


@asynccontextmanager
async def locked(url: str, email: str) -> AsyncIterator[None]:
    """Hold the lock of a contact, as another process in the middle of a transaction does."""
    connection = await raw.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    rows = await connection.fetch("SELECT id FROM contacts WHERE email = $1 FOR NO KEY UPDATE", email)
    assert len(rows) == 1
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


@asynccontextmanager
async def locked_row(url: str, email: str) -> AsyncIterator[None]:
    """Hold the lock of the row with an address alone, not of the rows merged with it."""
    connection = await raw.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    query = "SELECT id FROM contacts WHERE id = (SELECT contact_id FROM identities WHERE value = $1) FOR NO KEY UPDATE"
    assert len(await connection.fetch(query, email)) == 1
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


def add(key: str, contact: Any, amount: int, **more: Any) -> Any:
    """Return an item that adds to a score; the times follow the order of the keys."""
    return change(key, contact, Op.ADD, amount, at=NOW - 1_000 + ord(key[0]), **more)


def values(recorded: Recorded) -> list[tuple[int | None, int | None]]:
    """Return the scores before and after, in points."""
    return [
        (move.before and move.before // 1_000, move.after and move.after // 1_000) for move in recorded.score_changes
    ]


@on_postgres
async def test_a_locked_contact_delays_only_its_own_submissions(database_url: str, team: Team) -> None:
    """A locked contact delays its own submissions, which keep their order; others of the group are recorded at once."""
    await team.deliver(add("a", ADA, 1), add("a", BOB, 1, score="score"), batch="first")
    async with locked(database_url, ADA):
        waiting = [asyncio.create_task(team.deliver(add(key, ADA, 10), batch=key)) for key in "bcd"]
        others = await asyncio.gather(*(team.deliver(add(f"{key}bob", BOB, 1), batch=f"{key}bob") for key in "bcd"))
        assert [recorded.count(Status.APPLIED) for recorded in others] == [1, 1, 1]
        assert not any(task.done() for task in waiting)

    assert [values(recorded) for recorded in await asyncio.gather(*waiting)] == [[(1, 11)], [(11, 21)], [(21, 31)]]


@on_postgres
@pytest.mark.parametrize("is_new", [True, False], ids=["new", "known"])
async def test_nothing_overtakes_what_waits_for_a_locked_contact(
    database_url: str, team: Team, *, is_new: bool
) -> None:
    """No submission overtakes a waiting one about the same contact, even if that contact is not the locked one."""
    await team.deliver(add("a", ADA, 1), *([] if is_new else [set_to("0", BOB, 0, at=NOW - 2_000)]))
    async with locked(database_url, ADA):
        first = asyncio.create_task(team.deliver(add("b", ADA, 1), add("c", BOB, 10), batch="d1"))
        second = asyncio.create_task(team.deliver(add("d", BOB, 20), batch="d2"))
        await team.deliver(add("e", "cy@example.com", 1), batch="d3")
        third = asyncio.create_task(team.deliver(add("f", BOB, 30), batch="d4"))
        await team.deliver(add("g", "cy@example.com", 1), batch="d5")
        assert not any(task.done() for task in (first, second, third))

    outcomes = [values(recorded) for recorded in await asyncio.gather(first, second, third)]
    assert outcomes == [[(1, 2), (None if is_new else 0, 10)], [(10, 30)], [(30, 60)]]


@on_postgres
async def test_a_contact_locked_too_long_is_given_up(database_url: str, team: Team) -> None:
    """A submission about a contact that is locked too long is refused as a whole; others are recorded."""
    await team.deliver(add("a", ADA, 1), add("a2", BOB, 1))
    hasty = Team(team.workspace, Committer(current_database(), lock_limit=0.1))
    async with locked(database_url, ADA):
        outcomes = await asyncio.gather(
            hasty.deliver(add("b", ADA, 1), batch="d1"),
            hasty.deliver(add("c", "new@example.com", 1), add("d", ADA, 1), batch="d2"),
            hasty.deliver(add("e", BOB, 1), batch="d3"),
            return_exceptions=True,
        )
    assert [type(outcome) for outcome in outcomes] == [StorageUnavailable, StorageUnavailable, Recorded]
    assert await raw.rows(database_url, "SELECT count(*) AS n FROM contacts WHERE id > 0") == [{"n": 2}]

    assert values(await hasty.deliver(add("b", ADA, 1), batch="d1")) == [(1, 2)]


@on_postgres
async def test_an_undo_about_a_merged_contact_waits_for_the_whole_contact(database_url: str, team: Team) -> None:
    """The undo of a change of a merged row waits if another process has locked the contact, though not that row."""
    await team.deliver(add("a", ADA, 1), add("a2", BOB, 1))
    await team.record(team.asking(add("b", BOB, 10), batch="b"))
    merging = Merge(key="c", contact=Reference(email=BOB), into=Reference(email=ADA))
    await team.record(team.asking(merging, batch="c"))
    async with locked_row(database_url, ADA):  # the contact: BOB's row was merged into it
        undoing = asyncio.create_task(team.record(team.undoing("b", batch="d")))
        await team.deliver(add("e", "cy@example.com", 1), batch="e")
        assert not undoing.done()
    assert values(await undoing) == [(12, 2)]


@on_postgres
async def test_a_rehearsal_waits_for_a_locked_contact(database_url: str, team: Team) -> None:
    """A dry run waits for a locked contact, and stores nothing."""
    await team.deliver(add("a", ADA, 1))

    async def look(session: object, recorded: Recorded) -> list[tuple[int | None, int | None]]:
        return values(recorded)

    async with locked(database_url, ADA):
        rehearsal = asyncio.create_task(
            rehearse(team.workspace, team.delivery(add("b", ADA, 1), batch="d1"), look=look, now=NOW)
        )
        await team.deliver(add("c", BOB, 1), batch="d2")
        assert not rehearsal.done()

    assert await rehearsal == [(1, 2)]
    assert await team.value(ADA) == 1_000


async def test_an_item_that_merges_contacts_takes_its_turn(team: Team) -> None:
    """Submissions before an item that merges change two contacts, and those after it change the merged contact."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 2_000), set_to("b", ("crm", "17"), 20, at=NOW - 2_000))
    both = Reference(email=ADA, source="crm", id="17")
    outcomes = await asyncio.gather(
        team.deliver(add("c", ("crm", "17"), 1), batch="d1"),
        team.deliver(add("d", ADA, 2), batch="d2"),
        team.deliver(add("e", both, 3), batch="d3"),
        team.deliver(add("f", ("crm", "17"), 4), batch="d4"),
        team.deliver(add("g", ADA, 5), batch="d5"),
    )

    first, second, merging, *after = [values(recorded) for recorded in outcomes]
    assert (first, second) == ([(20, 21)], [(10, 12)])
    (before, merged) = merging[0]
    assert before == 12
    assert merged is not None
    assert after == [[(merged, merged + 4)], [(merged + 4, merged + 9)]]
    assert (await team.contact(ADA)).id == (await team.contact("crm:17")).id


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_push_waits_only_so_long_for_its_group(database_url: str, team: Team) -> None:
    """A push that waits too long for its group is refused as a whole; one that is being recorded is completed."""
    hasty = Team(team.workspace, Committer(current_database(), patience=0.1))
    async with raw.write_locked(database_url):
        first = asyncio.create_task(hasty.deliver(add("a", ADA, 1), batch="d1"))
        await asyncio.sleep(0)  # enqueued, and alone in its group
        await asyncio.sleep(0)
        with pytest.raises(TooBusy):
            await hasty.deliver(add("b", ADA, 1), batch="d2")
        assert not first.done()

    assert values(await first) == [(None, 1)]
    assert values(await hasty.deliver(add("b", ADA, 1), batch="d2")) == [(1, 2)]
