"""A commit of another process between two statements of a recording does no harm."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import TypeVar

import asyncpg
import pytest

from storage.db.database import Row, Session, current_database
from storage.db.errors import StartAgain
from storage.domain.contacts import Reference
from storage.domain.errors import CannotSplit, Refusal
from storage.domain.facts import Item, Merge, Op, Split
from storage.domain.score_types import Rule, ScoreType
from storage.domain.submissions import Recorded, Status, Submission
from storage.ledger.committer import Committer
from storage.ledger.config_cache import ConfigCache
from storage.ledger.lock import Returned
from storage.ledger.record import record_group
from storage.ledger.verify import verify_next
from storage.scoring import draft_jobs, drafts
from storage.scoring.definitions import score_types
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import NOW, Team, change, set_to

T = TypeVar("T")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
LOCK = "FOR NO KEY UPDATE"  # the lock that stops other writes to these contacts


class Interrupted(Session):
    """A session that waits for an event elsewhere before one of its statements, at the latest before the lock."""

    def __init__(self, session: Session, *, after: int, begin: asyncio.Event, happening: Awaitable[object]) -> None:
        super().__init__(session._client, session.dialect)
        self._left, self._begin, self._happening = after, begin, happening
        self.in_time = False

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Run one statement, after the event if it is due."""
        if not self._begin.is_set() and (self._left == 0 or LOCK in sql):
            self.in_time = self._left == 0
            self._begin.set()
            await self._happening
        self._left -= 1
        return await super().rows(sql, *params)


async def record(
    team: Team, submission: Submission, *, after: int, happens: Awaitable[object]
) -> tuple[Recorded, bool]:
    """Record as the committer does. Return also whether the event happened before the chosen statement."""
    outcome, in_time = await record_or_refuse(team, submission, after=after, happens=happens)
    assert isinstance(outcome, Recorded)
    return outcome, in_time


async def record_or_refuse(
    team: Team, submission: Submission, *, after: int, happens: Awaitable[object]
) -> tuple[Recorded | Refusal, bool]:
    """Do the same as `record` with a submission that may be refused."""
    begin = asyncio.Event()

    async def happening() -> None:
        await begin.wait()
        await happens

    # The task is created outside of the transaction: inside, its statements would be part of the transaction.
    meanwhile = asyncio.create_task(happening())

    in_time = False

    async def body(session: Session) -> list[Recorded | Refusal | Returned]:
        nonlocal in_time
        if begin.is_set():
            return await record_group(session, [(team.workspace, submission)], ConfigCache(), now=NOW)
        interrupted = Interrupted(session, after=after, begin=begin, happening=meanwhile)
        try:
            return await record_group(interrupted, [(team.workspace, submission)], ConfigCache(), now=NOW)
        finally:
            in_time = interrupted.in_time

    try:
        outcomes = await current_database().transaction(body)
    except StartAgain:
        outcomes = await current_database().transaction(body)
    begin.set()
    await meanwhile
    (outcome,) = outcomes
    assert not isinstance(outcome, Returned)
    return outcome, in_time


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("parting", [False, True], ids=["merged", "parted"])
@pytest.mark.parametrize("is_new", [False, True], ids=["repeat", "new"])
async def test_whoever_is_merged_or_parted_meanwhile(team: Team, *, is_new: bool, parting: bool) -> None:
    """If contacts are merged or split meanwhile, a repeat stays a duplicate, and new facts go to the right contact."""
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


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("is_new", [False, True], ids=["repeat", "new"])
async def test_an_id_that_is_split_meanwhile(team: Team, *, is_new: bool) -> None:
    """If an id is split while an item that names it is recorded, its fact is with the new contact, once."""
    other_process = Team(team.workspace, Committer(current_database()))
    for after in count():
        email, id = f"p{after}@example.com", Reference(source="crm", id=str(after))
        both = Reference(email=email, source="crm", id=str(after))
        items = [set_to(f"a{after}", email, 10, at=NOW - 9), change(f"b{after}", both, Op.ADD, 20, at=NOW - 8)]
        await team.deliver(*items, batch=f"d{after}")
        split = Split(key=f"s{after}", contact=(await team.contact(email)).id, id=id)
        item = change(f"c{after}", both if after % 2 else id, Op.ADD, 5, at=NOW - 7) if is_new else items[1]
        submission, happens = team.delivery(item, batch=f"e{after}"), other_process.ask(split, batch=f"s{after}")
        recorded, in_time = await record(team, submission, after=after, happens=happens)

        status = Status.APPLIED if is_new else Status.DUPLICATE
        assert [(after, outcome.status) for outcome in recorded.outcomes] == [(after, status)]
        assert await team.value(f"crm:{after}") == (25_000 if is_new else 20_000)
        assert await team.value(email) == 10_000
        if not in_time:
            break

    assert (await verify_next(team.workspace)).differences == ()
    report_counts("places at which an id was split while recording", {"places": after})
    assert after >= 4


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_the_other_id_is_split_meanwhile(team: Team) -> None:
    """If one of the two ids of a contact is split while the other is, the second split is refused: nothing is left."""
    other_process = Team(team.workspace, Committer(current_database()))
    for after in count():
        ids = [Reference(source="crm", id=f"{after}/{number}") for number in range(2)]
        await team.deliver(Merge(key=f"m{after}", contact=ids[0], into=ids[1]), batch=f"d{after}")
        contact = (await team.contact(f"crm:{ids[0].id}")).id
        splits = [Split(key=f"s{id.id}", contact=contact, id=id) for id in ids]
        outcome, in_time = await record_or_refuse(
            team, team.asking(splits[0], batch=splits[0].key), after=after,
            happens=other_process.ask(splits[1], batch=splits[1].key),
        )  # fmt: skip  # one split beside the other

        assert isinstance(outcome, CannotSplit), after
        if not in_time:
            break

    assert after >= 4


class Paused(Session):
    """A session that calls a function before one of its statements."""

    def __init__(self, session: Session, *, after: int, pause: Callable[[], Awaitable[None]]) -> None:
        super().__init__(session._client, session.dialect)
        self._left, self._pause = after, pause

    async def rows(self, sql: str, *params: object) -> list[Row]:
        """Run one statement, after the pause if it is due."""
        if self._left == 0:
            await self._pause()
        self._left -= 1
        return await super().rows(sql, *params)


class Meanwhile:
    """A task that starts on request, and runs until it is done or waits for a lock."""

    def __init__(self, happens: Awaitable[object], watcher: "asyncpg.Connection") -> None:
        self._begin, self._watcher = asyncio.Event(), watcher
        self.in_time = self.had_to_wait = False

        async def happening() -> None:
            await self._begin.wait()
            await happens

        # The task is created outside of the transaction: inside, its statements would be part of the transaction.
        self._task = asyncio.create_task(happening())

    async def go(self) -> None:
        """Start the task, and return once it is done or waits for a lock."""
        self.in_time = True
        self._begin.set()
        while not self._task.done() and not self.had_to_wait:
            self.had_to_wait = bool(await self._watcher.fetchval(WAITING))

    async def end(self) -> None:
        """Wait until the task is done."""
        self._begin.set()
        await self._task


async def paused(body: Callable[[Session], Awaitable[T]], *, after: int, pause: Callable[[], Awaitable[None]]) -> T:
    """Run a transaction that is paused before one of its statements."""
    return await current_database().transaction(lambda session: body(Paused(session, after=after, pause=pause)))


async def draft_rule(team: Team, *, points: int) -> ScoreType:
    """Create and build a draft of the default type in which a visit is worth *points*. Return the draft."""
    (live,) = await score_types(team.workspace)
    rule = Rule(name="Visit", activity="visit", points=points * 1000)
    draft = await drafts.create_draft(team.workspace, proposed=replace(live, rules=(rule,)), by="U0ADMIN", now=NOW)
    assert draft is not None
    await drafts.build(team.workspace, draft=draft, clock=lambda: NOW)
    return draft


def visits(after: int) -> list[Item]:
    """Return a visit of a known contact and a visit of a new one."""
    emails = ("ada@example.com", f"new{after}@example.com")
    return [
        Item(key=f"{email}{after}", contact=Reference(email=email), activity="visit", amount=1000) for email in emails
    ]


async def check_visits(team: Team, *, count: int, points: int) -> None:
    """Fail unless each visit counts once by the current rule, and verification finds no difference."""
    assert await team.value("ada@example.com") == count * points * 1000
    assert await team.value(f"new{count - 1}@example.com") == points * 1000
    assert (await verify_next(team.workspace)).differences == ()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_whoever_records_while_a_draft_is_applied(team: Team, database_url: str) -> None:
    """Visits before and after any statement of applying a draft count by the new rule."""
    other_process = Team(team.workspace, Committer(current_database()))
    watcher, waited = await raw.connect(database_url), 0
    for after in count():
        points = 1 + after % 2
        draft = await draft_rule(team, points=points)
        meanwhile = Meanwhile(other_process.deliver(*visits(after), batch=f"d{after}"), watcher)

        async def make_live(session: Session, draft: ScoreType = draft) -> None:
            await draft_jobs.make_live(session, team.workspace, draft=draft, with_alerts=True, now=NOW)

        await paused(make_live, after=after, pause=meanwhile.go)
        await meanwhile.end()

        waited += meanwhile.had_to_wait
        await check_visits(team, count=after + 1, points=points)
        if not meanwhile.in_time:
            break
    await watcher.close()
    report_counts(
        "places at which something was recorded while a draft was applied", {"places": after, "had to wait": waited}
    )
    assert after >= 6
    assert 0 < waited < after  # before the lock the recording need not wait


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_whoever_drafts_and_applies_while_something_is_recorded(team: Team, database_url: str) -> None:
    """A visit that is being recorded while a draft is created and applied counts by the new rule."""
    watcher, waited = await raw.connect(database_url), 0
    for after in count():
        points = 1 + after % 2

        async def redefine(points: int = points) -> None:
            draft = await draft_rule(team, points=points)
            await drafts.apply(team.workspace, draft=draft, with_alerts=True, by="U0ADMIN", clock=lambda: NOW)

        async def record_visits(session: Session, after: int = after) -> None:
            submission = team.delivery(*visits(after), batch=f"d{after}")
            await record_group(session, [(team.workspace, submission)], ConfigCache(), now=NOW)

        meanwhile = Meanwhile(redefine(), watcher)
        await paused(record_visits, after=after, pause=meanwhile.go)
        await meanwhile.end()

        waited += meanwhile.had_to_wait
        await check_visits(team, count=after + 1, points=points)
        if not meanwhile.in_time:
            break
    await watcher.close()
    report_counts(
        "places at which a draft was applied while something was recorded", {"places": after, "had to wait": waited}
    )
    assert after >= 6
    assert 0 < waited < after
