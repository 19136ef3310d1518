"""Phase 6: write the events of recorded submissions to the outbox."""

from collections.abc import Iterable, Sequence
from typing import Any

from storage.db.database import Session
from storage.domain.events import IMPORT, EventType, NewEvent, list_score_events
from storage.domain.facts import Deleted
from storage.events.outbox import emit_events
from storage.ledger.plan import Plan


async def announce_changes(session: Session, plans: Iterable[Plan], *, now: int) -> None:
    """Write the events of plans to the outbox, in their order."""
    await emit_events(session, [event for plan in plans for event in _list_events(plan)], now=now)


def _list_events(plan: Plan) -> Sequence[NewEvent]:
    """Return the deletions and merges of a plan, then its changed scores of contacts that still exist."""
    submission = plan.submission
    cause = IMPORT if submission.source == IMPORT else None
    origin = {"source": submission.source, "actor": submission.actor}
    roots = plan.regrouping.roots if plan.regrouping else {}
    deleted = {plan.members[row] for new in plan.new if isinstance(new.fact, Deleted) for row in new.planned.rows}
    merged = {contact for contact in plan.members.values() if roots.get(contact, contact) != contact} - deleted

    def make(type: EventType, contact: int, data: dict[str, Any]) -> NewEvent:
        return NewEvent(
            workspace=plan.workspace.id, type=type, contact=contact, at=submission.received_at, data=data, cause=cause
        )

    return [
        *(make(EventType.CONTACT_DELETED, contact, {}) for contact in sorted(deleted)),
        *(make(EventType.CONTACT_MERGED, roots[contact], {"merged": {"id": contact}}) for contact in sorted(merged)),
        *(
            make(type, moved.contact, {**data, **origin})
            for moved in plan.moved
            if moved.contact not in deleted and moved.contact not in merged
            for type, data in list_score_events(moved)
        ),
    ]
