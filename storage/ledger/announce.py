"""Phase 6: write the events of recorded submissions to the outbox, and queue the scores to write to CRMs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from storage.db.database import Session
from storage.domain.events import IMPORT, WRITTEN, EventType, NewEvent, Readership, list_score_events
from storage.domain.facts import Deleted
from storage.events.outbox import emit_events, forget_members
from storage.ledger.plan import Plan
from storage.sources.writeback_queue import COLLECT_FOR, enqueue_write_backs


async def announce(session: Session, plans: Sequence[Plan], readerships: Mapping[int, Readership], *, now: int) -> None:
    """Write the events of plans to the outbox, and queue their scores for sources that want them.

    *readerships* are by workspace id.
    """
    await _emit_events(session, plans, readerships, now=now)
    await _queue_write_backs(session, plans, readerships, now=now)


async def _emit_events(
    session: Session, plans: Sequence[Plan], readerships: Mapping[int, Readership], *, now: int
) -> None:
    """Write the events of plans to the outbox, in their order, for workspaces with events that somebody may read."""
    events: list[NewEvent] = []
    for plan in plans:
        readership = readerships.get(plan.workspace.id)
        if readership is None or readership.kept_until <= now:
            continue
        merged = _list_merged(plan)
        events += _list_events(plan, merged)
        if readership.watches_segments:
            await forget_members(session, merged)
            events += [_make_event(plan, WRITTEN, contact, {}) for contact in sorted(_list_written(plan))]
    await emit_events(session, events, now=now)


async def _queue_write_backs(
    session: Session, plans: Sequence[Plan], readerships: Mapping[int, Readership], *, now: int
) -> None:
    """Queue the contacts with scores to write to a source."""
    contacts = [
        (plan.workspace.id, slug, contact)
        for plan in plans
        if plan.workspace.id in readerships
        for slug, keys in readerships[plan.workspace.id].write_backs.items()
        for contact in _list_written_back(plan, slug, keys)
    ]
    if contacts:
        await enqueue_write_backs(session, contacts, at=now + COLLECT_FOR, now=now)


def _list_written_back(plan: Plan, slug: str, keys: Collection[str]) -> set[int]:
    """Return the contacts with a changed score of a type among *keys*, or with another id in a source."""
    changed = {
        change.contact
        for change in plan.score_changes
        if change.score_type.key in keys and change.before != change.after
    }
    named = {
        plan.roots.get(row, row)
        for (_, namespace, _), row in plan.new_identities.items()
        if namespace == slug and row > 0
    }
    return {*changed, *named, *plan.regrouped_contacts}


def _list_merged(plan: Plan) -> Mapping[int, int]:
    """Return the contacts that a plan merged into others: contact → the contact merged into."""
    roots = plan.regrouping.roots if plan.regrouping else {}
    merged = {contact: roots.get(contact, contact) for contact in sorted(set(plan.roots_before.values()))}
    return {contact: root for contact, root in merged.items() if contact != root}


def _list_written(plan: Plan) -> set[int]:
    """Return the contacts with fields, scores or existence that a plan may have changed."""
    return {
        *(new.contact for new in plan.new_facts),
        *(change.contact for change in plan.score_changes),
        *plan.undone_contacts,
        *plan.regrouped_contacts,
        *plan.roots_before.values(),
    }


def _list_events(plan: Plan, merged: Mapping[int, int]) -> list[NewEvent]:
    """Return the deletions and merges of a plan, then its changed scores of contacts that still exist."""
    origin = {"source": plan.submission.source, "actor": plan.submission.actor}
    deleted = {
        plan.roots_before[row] for new in plan.new_facts if isinstance(new.fact, Deleted) for row in new.planned.rows
    }
    return [
        *(_make_event(plan, EventType.CONTACT_DELETED, contact, {}) for contact in sorted(deleted)),
        *(
            _make_event(plan, EventType.CONTACT_MERGED, root, {"merged": {"id": contact}})
            for contact, root in merged.items()
            if contact not in deleted
        ),
        *(
            _make_event(plan, type, change.contact, {**data, **origin})
            for change in plan.score_changes
            if change.contact not in deleted and change.contact not in merged
            for type, data in list_score_events(change)
        ),
    ]


def _make_event(plan: Plan, type: str, contact: int, data: Mapping[str, Any]) -> NewEvent:
    return NewEvent(
        workspace=plan.workspace.id,
        type=type,
        contact=contact,
        at=plan.submission.received_at,
        data=data,
        cause=IMPORT if plan.submission.source == IMPORT else None,
    )
