"""What another process commits between two statements of a recording makes nothing of it wrong."""

import asyncio
from collections.abc import Awaitable
from itertools import count

import pytest

from storage.db.database import Row, Session, current_database
from storage.domain.contacts import Reference
from storage.domain.errors import Refusal
from storage.domain.facts import Item, Merge, Op
from storage.domain.submissions import Recorded, Status, Submission
from storage.ledger.committer import Committer
from storage.ledger.contacts import StartAgain
from storage.ledger.record import Returned, record_group
from storage.ledger.verify import verify_next
from tests.counts import report_counts
from tests.storage.teams import NOW, Team, change, set_to

LOCK = "FOR NO KEY UPDATE"  # after it nobody else writes to these contacts


class Interrupted(Session):
    """A session in which something happens elsewhere before one of its statements, at the latest before the lock."""

    def __init__(self, session: Session, *, after: int, begin: asyncio.Event, happening: Awaitable[object]) -> None:
        super().__init__(session._client, session.dialect)
        self._left, self._begin, self._happening = after, begin, happening
        self.in_time = False

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Run one statement."""
        if not self._begin.is_set() and (self._left == 0 or LOCK in sql):
            self.in_time = self._left == 0
            self._begin.set()
            await self._happening
        self._left -= 1
        return await super().rows(sql, *params)


async def record(
    team: Team, submission: Submission, *, after: int, happens: Awaitable[object]
) -> tuple[Recorded, bool]:
    """Record as the committer does; also tell whether it happened where it was asked for."""
    begin = asyncio.Event()

    async def happening() -> None:
        await begin.wait()
        await happens

    # A task of its own, begun out here: within the transaction it would be part of it.
    meanwhile = asyncio.create_task(happening())

    in_time = False

    async def body(session: Session) -> list[Recorded | Refusal | Returned]:
        nonlocal in_time
        if begin.is_set():
            return await record_group(session, [(team.workspace, submission)], now=NOW)
        interrupted = Interrupted(session, after=after, begin=begin, happening=meanwhile)
        try:
            return await record_group(interrupted, [(team.workspace, submission)], now=NOW)
        finally:
            in_time = interrupted.in_time

    try:
        outcomes = await current_database().transaction(body)
    except StartAgain:
        outcomes = await current_database().transaction(body)
    begin.set()
    await meanwhile
    (outcome,) = outcomes
    assert isinstance(outcome, Recorded)
    return outcome, in_time


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("parting", [False, True], ids=["merged", "parted"])
@pytest.mark.parametrize("is_new", [False, True], ids=["repeat", "new"])
async def test_whoever_is_merged_or_parted_meanwhile(team: Team, *, is_new: bool, parting: bool) -> None:
    """A repeat is one, whoever its contact is one with by now, and what is new counts for whoever that is."""
    other_process = Team(team.workspace, Committer(current_database()))
    for after in count():
        email, other = f"p{after}@example.com", Reference(source="crm", id=str(after))
        items: list[Item] = [set_to(f"a{after}", email, 10, at=NOW - 9), set_to(f"b{after}", other, 20, at=NOW - 8)]
        await team.deliver(*items, batch=f"d{after}")
        merge = Merge(key=f"m{after}", contact=other, into=Reference(email=email))
        if parting:
            await team.ask(merge, batch=merge.key)
        happens = (
            other_process.undo(merge.key, batch=f"u{after}") if parting else other_process.ask(merge, batch=merge.key)
        )
        item = change(f"c{after}", other, Op.ADD, 5, at=NOW - 7) if is_new else items[1]
        submission = team.delivery(item, batch=f"e{after}")
        recorded, in_time = await record(team, submission, after=after, happens=happens)

        status = Status.APPLIED if is_new else Status.DUPLICATE
        assert [(after, outcome.status, outcome.reason) for outcome in recorded.outcomes] == [(after, status, None)]
        assert await team.value(f"crm:{after}") == (25_000 if is_new else 20_000)
        assert await team.value(email) == (10_000 if parting else await team.value(f"crm:{after}"))
        if not in_time:
            break

    assert (await verify_next(team.workspace)).differences == ()
    report_counts(
        f"places at which somebody was {'parted' if parting else 'merged'} while recording", {"places": after}
    )
    assert after >= 4
