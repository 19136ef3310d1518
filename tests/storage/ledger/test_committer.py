"""Submissions that wait at the same time share a commit, and a fault in one does not affect the others."""

import asyncio
import time

import pytest

from storage.bootstrap import Storage
from storage.db.database import current_database
from storage.domain.contacts import Reference
from storage.domain.errors import StorageUnavailable
from storage.domain.facts import Merge, Op
from storage.domain.people import Workspace
from storage.domain.submissions import Delivered, Recorded, Status
from storage.ledger.committer import Committer
from storage.ledger.queue import MOST_SUBMISSIONS
from storage.ledger.verify import verify_next
from storage.reading.search import find
from storage.sources.config import add_source
from storage.sources.deliveries import deliveries
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, change, field_item, set_to

ADA = "ada@example.com"
NOWHERE = Workspace(id=999_999, team="T0NOWHERE", name="a workspace that is not there")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize(("calls", "commits"), [(1, 1), (128, 1), (129, 2), (1_000, 8)])
async def test_what_waits_shares_a_commit(database_url: str, team: Team, calls: int, commits: int) -> None:
    """A lone submission has a commit of its own; 128 at once share one commit, a thousand share eight."""
    await asyncio.gather(*(team.deliver(set_to(f"k{n}", ADA, n % 100, at=NOW - calls + n)) for n in range(calls)))
    # xmin of a row is the transaction that wrote the row
    (row,) = await raw.rows(database_url, "SELECT count(DISTINCT xmin::text) AS n, count(*) AS facts FROM facts")

    assert row == {"n": commits, "facts": calls}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_item_costs_no_more_among_many(team: Team) -> None:
    """A thousand new contacts need about ten times the CPU time of a hundred, not a hundred times."""

    async def cost(items: int, batch: str) -> float:
        items_of_batch = [set_to(f"{batch}-{n}", f"{batch}-{n}@example.com", 50) for n in range(items)]
        before = time.process_time()
        await team.deliver(*items_of_batch, batch=batch)
        return time.process_time() - before

    for_few = min([await cost(100, f"few{n}") for n in range(4)])
    for_many = min([await cost(1_000, f"many{n}") for n in range(2)])
    report_counts("the processor, in ms", {"for 100 items": round(for_few * 1000), "for 1,000": round(for_many * 1000)})

    assert for_many < 19 * for_few


async def test_each_is_told_its_own_outcome(team: Team) -> None:
    """Each submission has its own outcome, in the order accepted, even if all of them change one score."""
    outcomes = await asyncio.gather(
        *(team.deliver(change(f"k{n:03d}", ADA, Op.ADD, 1, at=NOW - SECOND + n), batch=f"d{n}") for n in range(150))
    )

    assert [(outcome.score_changes[0].before, outcome.score_changes[0].after) for outcome in outcomes] == [
        (None, 1_000),
        *((n * 1_000, (n + 1) * 1_000) for n in range(1, 100)),
        *[(100_000, 100_000)] * 50,  # the score is at its maximum
    ]
    assert [line.effective for line in await team.lines(ADA)] == [0] * 50 + [1_000] * 100
    assert (await verify_next(team.workspace)).differences == ()


async def test_late_facts_in_one_commit_are_each_told_what_they_moved(team: Team) -> None:
    """Late facts of one commit are folded again, and each move starts from the score at that submission's turn."""
    outcomes = await asyncio.gather(
        team.deliver(change("a", ADA, Op.ADD, 30, at=NOW - 1), batch="d1"),
        team.deliver(set_to("b", ADA, 90, at=NOW - 5), batch="d2"),
        team.deliver(change("c", ADA, Op.ADD, -50, at=NOW - 3), batch="d3"),
    )

    assert [(outcome.score_changes[0].before, outcome.score_changes[0].after) for outcome in outcomes] == [
        (None, 30_000),
        (30_000, 100_000),
        (100_000, 70_000),
    ]
    assert [line.effective for line in await team.lines(ADA)] == [30_000, -50_000, 90_000]
    assert (await verify_next(team.workspace)).differences == ()


@pytest.mark.parametrize("place", [0, 63, 127])
async def test_one_that_cannot_be_recorded_harms_nobody(team: Team, place: int) -> None:
    """If one of 128 submissions in a commit causes a database error, it alone fails and the others are recorded."""
    nowhere, poison = Team(NOWHERE), team.delivery(field_item("k", "eve@example.com", name="Eve"))
    good = [change(f"k{n}", f"p{n % 9}@example.com", Op.ADD, 1, at=NOW - n) for n in range(MOST_SUBMISSIONS)]
    calls = [nowhere.record(poison) if n == place else team.deliver(item) for n, item in enumerate(good)]

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    (failed,) = [outcome for outcome in outcomes if not isinstance(outcome, Recorded)]
    assert outcomes.index(failed) == place
    assert not isinstance(failed, StorageUnavailable)
    assert "workspace" in str(failed) or "FOREIGN KEY" in str(failed)
    assert (
        sum(outcome.count(Status.APPLIED) for outcome in outcomes if isinstance(outcome, Recorded))
        == MOST_SUBMISSIONS - 1
    )
    totals = [await team.value(f"p{number}@example.com") or 0 for number in range(9)]
    assert sum(totals) == (MOST_SUBMISSIONS - 1) * 1_000


async def test_several_that_cannot_be_recorded_harm_nobody(team: Team) -> None:
    """Several faulty submissions are isolated by halving the group, wherever they are."""
    nowhere, poison = Team(NOWHERE), team.delivery(field_item("k", "eve@example.com", name="Eve"))
    bad = {1, 2, 50, 99, 100}
    good = [change(f"k{n}", ADA, Op.ADD, 1, at=NOW - n) for n in range(101)]
    calls = [nowhere.record(poison) if n in bad else team.deliver(item) for n, item in enumerate(good)]

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert {n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Recorded)} == bad
    assert await team.value(ADA) == 96_000


async def test_a_caller_that_goes_away_loses_nothing(team: Team) -> None:
    """A submission is recorded even if its caller is canceled, and its neighbors have their answers."""
    calls = [asyncio.create_task(team.deliver(change(f"k{n}", ADA, Op.ADD, 1, at=NOW - n))) for n in range(30)]
    await asyncio.sleep(0)  # enqueued, but not yet processed
    for call in calls[1::2]:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for finish in current_database().before_close:
        await finish()

    assert [isinstance(outcome, Recorded) for outcome in outcomes] == [True, False] * 15
    assert await team.value(ADA) == 30_000


async def test_a_closed_storage_has_recorded_what_was_handed_in(
    storage: Storage, team: Team, database_url: str
) -> None:
    """Closing storage first records everything that was accepted."""
    calls = [asyncio.create_task(team.deliver(set_to(f"k{n}", ADA, 1, at=NOW - n))) for n in range(300)]
    await asyncio.sleep(0)  # enqueued, but not yet processed
    assert not any(call.done() for call in calls)
    await storage.close()

    assert sum(answer.count(Status.APPLIED) for answer in await asyncio.gather(*calls)) == 300
    (row,) = await raw.rows(database_url, "SELECT count(*) AS n FROM facts")
    assert row["n"] == 300


async def test_very_many_items_are_spread_over_commits(team: Team) -> None:
    """A commit holds about two thousand items, and the rest waits for the next commit."""
    batches = [
        [change(f"{n}/{i:04d}", f"p{i % 50}@example.com", Op.ADD, 1, at=NOW - i) for i in range(700)] for n in range(5)
    ]
    outcomes = await asyncio.gather(*(team.deliver(*items, batch=f"d{n}") for n, items in enumerate(batches)))

    assert [outcome.count(Status.APPLIED) for outcome in outcomes] == [700] * 5
    assert await team.value("p0@example.com") == 70_000


async def test_deliveries_in_one_commit_keep_their_own_quarantine(team: Team) -> None:
    """Each delivery of a commit has its own counts and its own quarantined items."""
    crm = await add_source(team.workspace, slug="crm", provider="generic", secrets=[], by="U0ADMIN", now=NOW)
    await asyncio.gather(
        *(
            team.deliver(
                *(set_to(f"{n}/{i}", ADA, 50 + 10 * i, raw=f"{n}/{i}") for i in range(4 + n)),
                batch=f"d{n}",
                delivered=Delivered(source=crm.id, key=f"d{n}"),
            )
            for n in range(4)
        )
    )

    sent = await deliveries(team.workspace, source=None, most=10)
    assert [(delivered.key, delivered.applied, delivered.quarantined) for delivered in sent] == [
        (f"d{n}", 4 + n - bad, bad) for n, bad in ((3, 1), (2, 0), (1, 0), (0, 0))
    ]
    assert await team.set_aside(sent[0].id) == [(6, "3/6", "Score runs from 0 to 100; 110 is outside it", "3/6")]


async def test_a_contact_made_elsewhere_meanwhile_is_the_same_contact(team: Team) -> None:
    """If four processes create the same contacts at once, each contact exists once and each fact counts once."""
    doors = [Team(team.workspace, Committer(current_database())) for _ in range(4)]
    facts = [change(f"k{n}", f"p{n % 20}@example.com", Op.ADD, 1, at=NOW - n) for n in range(200)]

    outcomes = await asyncio.gather(*(door.deliver(fact) for fact in facts for door in doors))

    counts = {status.value: sum(outcome.count(status) for outcome in outcomes) for status in Status}
    report_counts(f"four doors on {current_database().dialect}", counts)
    assert counts == {"applied": 200, "duplicate": 600, "ignored": 0, "quarantined": 0}
    assert [await team.value(f"p{n}@example.com") for n in range(20)] == [10_000] * 20
    assert (
        len({contact.id for n in range(20) for contact in await find(team.workspace, text=f"p{n}@example.com")}) == 20
    )


async def test_a_contact_that_was_merged_into_another(team: Team) -> None:
    """The email and the row id of a merged contact refer to the surviving contact."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", "lovelace@example.com", 20, at=NOW - 8))
    survivor, other = await team.contact(ADA), await team.contact("lovelace@example.com")
    lovelace, two = Reference(email="lovelace@example.com"), Reference(email=ADA)
    await team.deliver(Merge(key="m", contact=lovelace, into=two), batch="d2")

    await team.deliver(change("c", "lovelace@example.com", Op.ADD, 5, at=NOW - 7))
    await team.deliver(change("d", other.id, Op.ADD, 7, at=NOW - 6))

    assert (await team.contact("lovelace@example.com")).id == survivor.id
    assert await team.value(ADA) == 32_000
