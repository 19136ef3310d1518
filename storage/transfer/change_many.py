"""Change many contacts at once: select them, preview the change, and apply it in slices as one batch.

The contacts are fixed when the preview is made, so that exactly the contacts of the preview are changed. The preview
records each slice in a transaction that is rolled back, so it says what applying would do. All facts have one batch,
which one undo takes back.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from storage.alerts.followup_rules import count_opened_since
from storage.bulk_changes import APPLY, PREVIEW, BulkResult, StoredBulkChange, load_bulk_change, make_job, save_progress
from storage.db import database
from storage.db.database import Session
from storage.domain.bulk_changes import BulkChange, ScoreChange, build_items
from storage.domain.contacts import Contact
from storage.domain.errors import ContactChanged, Refusal
from storage.domain.facts import Item, Op
from storage.domain.filters.terms import Filter
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, ScoreChanged, Status, Submission
from storage.job_runner import Handler, JobResult, RetryLater, run_here
from storage.jobs import Job
from storage.ledger import contacts
from storage.ledger.batches import find_undo_in_force
from storage.ledger.committer import record, rehearse
from storage.reading.pages import count, matching_contacts, page

#: records or rehearses a submission; returns the outcome and, of a rehearsal, the number of follow-ups it opens
_Submit: TypeAlias = Callable[[Workspace, Submission, int], Awaitable[tuple[Recorded, int]]]

SOURCE = "slack"  #: the source of the facts: people change many contacts in Slack
MOST_CONTACTS = 10_000
SLICE = 100  #: contacts in one transaction
FIRST = 5  #: contacts that a preview shows
MOST_TRIES = 5  #: of a slice with contacts that other changes reach first


class TooManyContacts(Refusal):
    """That many contacts are changed by an import, and not at once."""

    def __init__(self) -> None:
        super().__init__(f"more than {MOST_CONTACTS:,} contacts match, which is the most that one command changes")


async def select_contacts(workspace: Workspace, *, query: Filter, now: int) -> list[int]:
    """Return the ids of the contacts that match a filter: the first in its order, then the others by id.

    Raises TooManyContacts.
    """
    if query.limit is not None:
        listed = await page(workspace, query=query, limit=query.limit, now=now)
        return [card.contact.id for card in listed.cards]
    if await count(workspace, query=query, most=MOST_CONTACTS + 1, now=now) > MOST_CONTACTS:
        raise TooManyContacts
    listed = await page(workspace, query=query, limit=FIRST, now=now)
    first = [card.contact.id for card in listed.cards]
    reader = database.current_database().reader
    matching = await matching_contacts(reader, workspace, where=query.where, among=None, now=now)
    return [*first, *(id for id in matching if id not in first)]


async def preview_bulk_change(
    workspace: Workspace, *, id: int, clock: Callable[[], int], patience: float | None = None
) -> bool:
    """Complete the preview of a change in a job of this process.

    Return False if *patience* seconds were not enough; the service then continues the job.
    """
    return await _run(workspace, PREVIEW, id, clock=clock, patience=patience)


async def apply_bulk_change(
    workspace: Workspace, *, id: int, clock: Callable[[], int], patience: float | None = None
) -> bool:
    """Apply a confirmed change in a job of this process; see `preview_bulk_change`."""
    return await _run(workspace, APPLY, id, clock=clock, patience=patience)


async def _run(workspace: Workspace, kind: str, id: int, *, clock: Callable[[], int], patience: float | None) -> bool:
    job = make_job(workspace, kind, id, now=clock())
    handler = make_handlers(clock)[kind]
    return await run_here(workspace, job=job, handler=handler, clock=clock, patience=patience)


def make_handlers(clock: Callable[[], int]) -> dict[str, Handler]:
    """Return the handlers that preview and apply a change, a slice at a time."""

    async def preview_slice(workspace: Workspace, job: Job) -> JobResult:
        stored = await load_bulk_change(workspace, id=job.subject)
        if stored is None or stored.is_previewed:  # canceled
            return JobResult()
        result = stored.preview
        await _take_slice(workspace, stored, result, _rehearse, now=clock())
        await save_progress(workspace, id=stored.id, column="preview", result=result)
        return JobResult(next_position=result.done)

    async def apply_slice(workspace: Workspace, job: Job) -> JobResult:
        stored = await load_bulk_change(workspace, id=job.subject)
        if stored is None or stored.confirmed_at is None or stored.is_applied:
            return JobResult()
        result = stored.result
        if await find_undo_in_force(workspace, batch=stored.batch) is not None:  # undone while it was applied
            result.done = len(stored.contacts)
        else:
            await _take_slice(workspace, stored, result, _record, now=clock())
        await save_progress(workspace, id=stored.id, column="result", result=result)
        return JobResult(next_position=result.done)

    return {PREVIEW: preview_slice, APPLY: apply_slice}


async def _take_slice(
    workspace: Workspace, stored: StoredBulkChange, result: BulkResult, submit: _Submit, *, now: int
) -> None:
    """Record or rehearse the next contacts of a change, and add what happened to *result*.

    Contacts that were merged since the preview are changed once. The dedupe key of an item names the contact, so a
    slice that is recorded again after an interruption changes nothing.
    """
    ids = stored.contacts[result.done : result.done + SLICE]
    for _ in range(MOST_TRIES):
        existing = await _load_existing(workspace, ids)
        items = [
            item
            for contact in existing
            for item in build_items(stored.change, contact, key=f"{stored.batch}/{contact.id}")
        ]
        submission = Submission(
            source=SOURCE, batch=stored.batch, received_at=now, items=items, actor=stored.made_by,
            actor_address=stored.address, creates=False, muted=stored.confirmed_at is not None and not stored.asks,
            # The tags of a contact are stated as a whole list: they must still be those that were read.
            expects_each={contact.id: contact.version for contact in existing} if stored.change.has_tags else {},
        )  # fmt: skip  # what, then how
        try:
            recorded, opened = await submit(workspace, submission, now) if items else (Recorded(outcomes=()), 0)
        except ContactChanged:
            continue
        result.follow_ups += opened
        _count_slice(result, stored.change, ids, existing, items, recorded)
        return
    raise RetryLater("its contacts are being changed")


async def _load_existing(workspace: Workspace, ids: Sequence[int]) -> list[Contact]:
    """Return the contacts that these rows belong to, without those that are gone."""
    root_of = await contacts.load_roots(database.current_database().reader, ids)
    roots = list(dict.fromkeys(root_of[id] for id in ids if id in root_of))
    return [contact for contact in await contacts.contacts(workspace, ids=roots) if not contact.is_gone]


async def _record(workspace: Workspace, submission: Submission, now: int) -> tuple[Recorded, int]:
    return await record(workspace, submission, now=now), 0


async def _rehearse(workspace: Workspace, submission: Submission, now: int) -> tuple[Recorded, int]:
    async def look(session: Session, recorded: Recorded) -> tuple[Recorded, int]:
        ids = {item.contact for item in submission.items if isinstance(item, Item) and isinstance(item.contact, int)}
        return recorded, await count_opened_since(session, ids, at=now)

    return await rehearse(workspace, submission, look=look, now=now)


def _count_slice(
    result: BulkResult,
    change: BulkChange,
    ids: Sequence[int],
    existing: Sequence[Contact],
    items: Sequence[Item],
    recorded: Recorded,
) -> None:
    result.done += len(ids)
    result.missing += len(ids) - len(existing)
    result.unsent += recorded.own_follow_ups
    score_changes: dict[int, list[ScoreChanged]] = {}
    for move in recorded.score_changes:
        score_changes.setdefault(move.contact, []).append(move)
    outcomes: dict[int, list[tuple[Item, Status]]] = {}
    for item, outcome in zip(items, recorded.outcomes, strict=True):
        assert isinstance(item.contact, int)
        outcomes.setdefault(item.contact, []).append((item, outcome.status))
        if outcome.status is Status.QUARANTINED:
            result.reason = result.reason or outcome.reason
    for contact in existing:
        _count_contact(result, change, contact, outcomes.get(contact.id, []), score_changes.get(contact.id, []))


def _count_contact(
    result: BulkResult,
    change: BulkChange,
    contact: Contact,
    outcomes: Sequence[tuple[Item, Status]],
    score_changes: Sequence[ScoreChanged],
) -> None:
    if any(status is Status.QUARANTINED for _, status in outcomes):
        result.refused += 1
        return
    is_repeat = any(status is Status.DUPLICATE for _, status in outcomes)
    states_fields = any(item.fields for item, _ in outcomes)
    if not (states_fields or is_repeat or any(move.before != move.after for move in score_changes)):
        result.same += 1
        return
    result.changed += 1
    amounts = {score.score: score for score in change.scores}
    result.cut += any(is_cut(move, amounts.get(move.score_type.key)) for move in score_changes)
    if len(result.first) < FIRST:
        scores = [(move.score_type.key, move.before, move.after) for move in score_changes if move.before != move.after]
        result.first.append((contact.id, scores))


def is_cut(move: ScoreChanged, change: ScoreChange | None) -> bool:
    """Return whether the range of a score has cut what was added to it."""
    if change is None or change.op is not Op.ADD or move.after is None:
        return False
    score_type: ScoreType = move.score_type
    before = score_type.start if move.before is None else move.before
    is_at_end = move.after in (score_type.minimum, score_type.maximum)
    return is_at_end and before + change.amount != move.after
