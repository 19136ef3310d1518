"""A large import is undone at once and folded in slices; a write to a contact folds that contact first."""

import asyncio
from collections.abc import Iterable

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import load_follow_ups
from storage.bootstrap import Storage
from storage.db.database import read
from storage.domain.backoff import LEASE
from storage.domain.contacts import Reference
from storage.domain.facts import Item, Op
from storage.domain.filters import parse
from storage.domain.submissions import Recorded, Submission
from storage.job_handlers import make_handlers
from storage.job_runner import JobRunner
from storage.ledger.refold_job import SLICE
from storage.ledger.undo import MOST_UNDONE_AT_ONCE
from storage.ledger.verify import verify_next
from storage.scoring.definitions import score_types
from storage.transfer.export import export
from storage.workspaces import add_workspace
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, change, field_item, set_to

MANY = MOST_UNDONE_AT_ONCE + 60
IMPORT = "import/0123456789abcdef"


def email(number: int) -> str:
    """Return the email of a contact."""
    return f"p{number:03d}@example.com"


def imported(numbers: Iterable[int]) -> list[Item]:
    """Return the items of an import that sets all contacts to 85; the last contacts also have an id in the CRM."""
    items = []
    for number in numbers:
        id = f"{number}" if number > 230 else None
        reference = Reference(email=email(number), source="crm" if id else "", id=id)
        items.append(set_to(f"i{number}", reference, 85, at=NOW - SECOND, fields={"company": "Imported"}))
    return items


async def fill(team: Team) -> None:
    """Score some contacts, import all of them, and score some again."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(*(set_to(f"a{n}", email(n), n % 70, at=NOW - 9 * SECOND) for n in range(0, MANY, 3)))
    await team.deliver(
        *(set_to(f"b{n}", Reference(source="crm", id=f"{n}"), 7, at=NOW - 8 * SECOND) for n in range(235, MANY)),
        *(field_item(f"c{n}", email(n), at=NOW - 7 * SECOND, company="Before") for n in range(0, MANY, 5)),
        batch="b",
    )
    await team.record(
        Submission(
            source="import", batch=IMPORT, received_at=NOW, items=imported(range(MANY)), actor="import", muted=True
        )
    )  # fmt: skip  # contacts, submission and time
    await team.deliver(*(change(f"d{n}", email(n), Op.ADD, 3, at=NOW - 1) for n in range(0, MANY, 7)), batch="d")


async def undo(team: Team, undoes: str, *, batch: str, defers: bool = True, at: int = NOW + SECOND) -> Recorded:
    """Undo an import, or such an undo."""
    return await team.record(
        Submission(
            source="import", batch=batch, received_at=at, actor="import", all_or_none=True, undoes=undoes, muted=True,
            defers=defers,
        )
    )  # fmt: skip  # the submission


async def seen(team: Team) -> dict[str, tuple[str | None, dict[str, int]]]:
    """Return the company and the scores of each contact."""
    cards = export(
        team.workspace, query=parse("", await score_types(team.workspace)), text="", by="U0ADMIN", now=NOW + 9 * SECOND
    )
    return {
        str(card.contact.email or card.contact.ids): (
            card.contact.company,
            {standing.score_type.key: standing.value for standing in card.standings},
        )
        async for card in cards
    }


async def count_marked() -> int:
    """Return the number of contacts that are still to be folded."""
    return len(await read("SELECT contact_id FROM pending_refolds"))


async def check(team: Team) -> None:
    """Fail if verification finds a difference, or a follow-up was created."""
    assert (await verify_next(team.workspace)).differences == ()
    assert await load_follow_ups(team.workspace, ids=range(1, 9_999)) == []


def runner_of(team: Team, now: int) -> JobRunner:
    """Return the job runner of a service."""
    return JobRunner(make_handlers(lambda: now), clock=lambda: now)


@pytest.fixture
async def other(storage: Storage) -> Team:
    """Return a second team."""
    return Team(await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW))


async def test_an_undo_in_slices_is_the_same_as_at_once(team: Team, other: Team) -> None:
    """An undo in slices equals an undo at once, splits what the import merged, and survives a crash."""
    await fill(team)
    await fill(other)
    before = await seen(team)
    await undo(other, IMPORT, batch="import/undo/1", defers=False)
    recorded = await undo(team, IMPORT, batch="import/undo/1")
    # A contact with an id that was scored before is split in two, and both are marked.
    assert (recorded.pending, recorded.score_changes) == (await count_marked(), ())
    assert recorded.pending >= MANY
    assert await seen(team) == before
    await check(team)
    assert await runner_of(team, NOW + SECOND).work()
    assert await count_marked() == recorded.pending - SLICE
    await check(team)
    later = runner_of(team, NOW + LEASE + SECOND)
    while await later.work():
        continue

    assert await count_marked() == 0
    assert await seen(team) == await seen(other)
    assert await seen(team) != before
    await check(team)
    assert (await undo(team, IMPORT, batch="import/undo/1")).pending == 0  # the same request again


async def test_a_write_folds_its_contact_first(team: Team) -> None:
    """An addition starts from the score without the import, even for a contact that the import merged."""
    await fill(team)
    await undo(team, IMPORT, batch="import/undo/1")
    marked = await count_marked()
    await asyncio.gather(
        team.deliver(change("e", email(3), Op.ADD, 5), batch="e", received=NOW + 2 * SECOND),
        team.deliver(change("f", email(1), Op.ADD, 5), batch="f", received=NOW + 2 * SECOND),
        team.ask(change("g", Reference(source="crm", id="240"), Op.ADD, 5), batch="g", received=NOW + 3 * SECOND),
    )

    assert [await team.value(email(number)) for number in (3, 1)] == [8_000, 5_000]
    assert await team.value("crm:240") == 12_000
    assert await team.value(email(240)) == 30_000
    assert await team.value(email(6)) == 85_000  # no write has folded this contact
    assert await count_marked() < marked
    await check(team)
    runner = runner_of(team, NOW + 4 * SECOND)
    while await runner.work():
        continue
    assert await team.value(email(6)) == 6_000
    await check(team)


async def test_an_undo_that_is_undone_before_it_is_folded(team: Team) -> None:
    """If an undo is undone before its contacts are folded, everything is as imported, in any order of folding."""
    await fill(team)
    before = await seen(team)
    await undo(team, IMPORT, batch="import/undo/1")
    runner = runner_of(team, NOW + 2 * SECOND)
    await runner.work()
    restored = await undo(team, "import/undo/1", batch="import/undo/2", at=NOW + 2 * SECOND)
    assert restored.pending >= MANY
    await team.deliver(change("e", email(6), Op.ADD, 5), batch="e", received=NOW + 3 * SECOND)
    while await runner.work():
        continue

    after = await seen(team)
    assert after.pop(email(6)) == ("Imported", {"score": 90_000})
    before.pop(email(6))
    assert after == before
    await check(team)


async def test_rules_see_what_was_taken_back(team: Team, database_url: str) -> None:
    """A contact that only the import put above the edge is armed again, and fires the next time."""
    await fill(team)
    await add_alert_rule(team.workspace, words="when score crosses 80 cooldown 1h", made_by="U1", owners={}, now=NOW)
    await undo(team, IMPORT, batch="import/undo/1")
    runner = runner_of(team, NOW + 2 * SECOND)
    while await runner.work():
        continue
    assert not any(row["taken"] for row in await raw.rows(database_url, "SELECT taken FROM alert_memory"))
    await team.deliver(set_to("h", email(6), 85), batch="h", received=NOW + 3 * SECOND)

    follow_ups = await load_follow_ups(team.workspace, ids=range(1, 9_999))
    assert {follow_up.contact for follow_up in follow_ups} == {(await team.contact(email(6))).id}
