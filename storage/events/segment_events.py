"""Find the contacts that entered or left the segments that subscriptions name, and write the events.

The table `segment_members` has the contacts that were in a segment when its events were last written. A commit notes
the contacts that it wrote; they are compared when its events are published. What time alone changes is found by a
sweep over whole segments.
"""

from collections.abc import Collection, Mapping

from storage.db import database, models
from storage.db.database import Session
from storage.domain.errors import Refusal
from storage.domain.events import EventType, NewEvent
from storage.domain.filters import parse
from storage.domain.filters.terms import Term
from storage.domain.people import Workspace
from storage.events.outbox import emit_events
from storage.reading.pages import matching_contacts
from storage.reading.segments import load_segments
from storage.scoring import definitions

MOST = 500  #: contacts compared in one transaction of a sweep


async def write_segment_events(
    session: Session,
    workspace: Workspace,
    names: Collection[str],
    contacts: Collection[int],
    *,
    cause: str | None = None,
    now: int,
) -> None:
    """Write an event for each of these contacts that entered or left a segment since its events were last written."""
    events: list[NewEvent] = []
    for name, term in (await _load_terms(session, workspace, names)).items():
        for type, ids in zip(
            (EventType.SEGMENT_LEFT, EventType.SEGMENT_ENTERED),
            await _update_members(session, workspace, name, term, contacts, now=now),
            strict=True,
        ):
            events += [
                NewEvent(workspace=workspace.id, type=type, contact=id, at=now, data={"segment": name}, cause=cause)
                for id in ids
            ]
    await emit_events(session, events, now=now)


async def store_members(session: Session, workspace: Workspace, names: Collection[str], *, now: int) -> None:
    """Store the current members of segments, without events: a subscription is about what happens from now on."""
    for name, term in (await _load_terms(session, workspace, names)).items():
        await session.delete(models.SegmentMember.filter(workspace_id=workspace.id, segment=name))
        members = await matching_contacts(session, workspace, where=term, among=None, now=now)
        await _insert_members(session, workspace, name, members)


async def sweep_segments(workspace: Workspace, *, names: Collection[str], now: int) -> None:
    """Compare the members of whole segments, and write the events of those that time alone moved."""
    reader = database.current_database().reader
    moved: set[int] = set()
    for name, term in (await _load_terms(reader, workspace, names)).items():
        matching = set(await matching_contacts(reader, workspace, where=term, among=None, now=now))
        members = models.SegmentMember.filter(workspace_id=workspace.id, segment=name)
        rows = await reader.load(members, "contact_id")
        moved |= matching ^ {row["contact_id"] for row in rows}
    remaining = sorted(moved)
    while remaining:
        batch, remaining = remaining[:MOST], remaining[MOST:]

        async def body(session: Session, batch: list[int] = batch) -> None:
            await write_segment_events(session, workspace, names, batch, now=now)

        await database.write(body)


async def _load_terms(session: Session, workspace: Workspace, names: Collection[str]) -> Mapping[str, Term]:
    """Return the conditions of segments by name. One that does not exist, or cannot be evaluated, is left out."""
    types = tuple((await definitions.live(session, {workspace.id}))[workspace.id].values())
    saved = await load_segments(session, workspace)
    terms: dict[str, Term] = {}
    for name in sorted(set(names) & saved.keys()):
        try:
            terms[name] = parse(saved[name], types, segments=saved).where
        except Refusal:
            continue
    return terms


async def _update_members(
    session: Session, workspace: Workspace, name: str, term: Term, contacts: Collection[int], *, now: int
) -> tuple[list[int], list[int]]:
    """Update the stored members among these contacts. Return those that left and those that entered."""
    matching = await matching_contacts(session, workspace, where=term, among=sorted(contacts), now=now)
    left = await session.rows(
        "DELETE FROM segment_members WHERE workspace_id = $2 AND segment = $3"
        " AND contact_id IN (SELECT id FROM given(id bigint)) RETURNING contact_id",
        [{"id": id} for id in sorted(set(contacts) - set(matching))],
        workspace.id,
        name,
    )
    entered = await _insert_members(session, workspace, name, matching)
    return sorted(row["contact_id"] for row in left), entered


async def _insert_members(session: Session, workspace: Workspace, name: str, contacts: Collection[int]) -> list[int]:
    """Insert members of a segment, and return those that were not members before."""
    rows = await session.rows(
        "INSERT INTO segment_members (workspace_id, segment, contact_id)"
        " SELECT CAST($2 AS BIGINT), CAST($3 AS TEXT), id FROM given(id bigint) WHERE true ORDER BY id"
        " ON CONFLICT DO NOTHING RETURNING contact_id",
        [{"id": id} for id in sorted(contacts)],
        workspace.id,
        name,
    )
    return sorted(row["contact_id"] for row in rows)
