"""Publish the events of the outbox: set each event's position in the feed, and enqueue its deliveries to subscriptions.

Positions are set after the commit, by one process at a time. Row ids are not enough for a reader of the feed: it would
miss an event if its transaction committed after transactions with higher row ids.
"""

from dataclasses import dataclass

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.events import WRITTEN
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.events.deliveries import (
    EVENT_COLUMNS,
    SLOTS,
    DeliveryState,
    StoredEvent,
    enqueue_slots,
    make_event,
)
from storage.events.outbox import KEPT_FOR, keep_events
from storage.events.segment_events import write_segment_events
from storage.sources.subscriptions import load_subscriptions

BATCH_SIZE = 500  #: events published in one transaction
DELETION_BATCH_SIZE = 20_000  #: events deleted in one transaction, once an hour


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """A page of the feed. *position* is the position of its last event; of an empty page, the position before it."""

    events: tuple[StoredEvent, ...]
    position: int


async def publish_events(workspace: Workspace, *, now: int) -> int:
    """Publish the committed events of a workspace, in the order of their row ids, and return their number.

    This is the order of the changes of a contact: its events are written while its lock is held.
    """
    total = 0
    while True:

        async def body(session: Session) -> int:
            return await _publish_batch(session, workspace, now=now)

        count = await database.write(body)
        total += count
        if count < BATCH_SIZE:
            return total


async def _publish_batch(session: Session, workspace: Workspace, *, now: int) -> int:
    """Publish the next BATCH_SIZE events, and return how many were read.

    Rows of the type WRITTEN only note that a contact changed. They are replaced with the events of segments that the
    contact entered or left, which a later batch publishes.
    """
    rows = await session.rows("SELECT events_position FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id)
    last_position = rows[0]["events_position"]
    subscriptions = await load_subscriptions(session, workspace)
    # In a statement of its own, after the lock: otherwise events that another process publishes meanwhile are included.
    unpublished = await session.rows(
        f"SELECT e.id AS row, {EVENT_COLUMNS} FROM events e LEFT JOIN contacts c ON c.id = e.contact_id"
        " WHERE e.workspace_id = $1 AND e.position IS NULL ORDER BY e.id LIMIT $2",
        workspace.id,
        BATCH_SIZE,
    )
    write_notes = [row for row in unpublished if row["type"] == WRITTEN]
    if write_notes:
        await session.rows(
            "DELETE FROM events WHERE id IN (SELECT id FROM given(id bigint))",
            [{"id": row["row"]} for row in write_notes],
        )
        enabled = [subscription for subscription in subscriptions if subscription.disabled_at is None]
        segment_names = {name for subscription in enabled for name in subscription.segments}
        for cause in sorted({row["cause"] for row in write_notes}, key=str):
            contacts = {row["contact"] for row in write_notes if row["cause"] == cause}
            await write_segment_events(session, workspace, segment_names, contacts, cause=cause, now=now)
    published = [row for row in unpublished if row["type"] != WRITTEN]
    if not published:
        return len(unpublished)
    await session.rows(
        "UPDATE events SET position = given.place FROM given(row bigint, place bigint) WHERE events.id = given.row",
        [{"row": row["row"], "place": place} for place, row in enumerate(published, start=last_position + 1)],
    )
    await session.rows(
        "UPDATE workspaces SET events_position = $2 WHERE id = $1", workspace.id, last_position + len(published)
    )
    events = [(row["row"], make_event(row)) for row in published]
    deliveries: list[Row] = [
        {"subscription": subscription.id, "event": id, "slot": event.contact % SLOTS}
        for subscription in subscriptions
        for id, event in events
        if subscription.wants(type=event.type, cause=event.cause, data=event.data or {})
    ]
    if deliveries:
        await session.rows(
            "INSERT INTO event_deliveries (subscription_id, event_id, slot, state, attempts, due_at)"
            " SELECT subscription, event, slot, $2, 0, 0 FROM given(subscription bigint, event bigint, slot bigint)"
            " WHERE true ORDER BY subscription, event ON CONFLICT DO NOTHING",
            deliveries,
            DeliveryState.WAITING.value,
        )
        slots = {(row["subscription"], row["slot"]) for row in deliveries}
        await enqueue_slots(session, workspace, slots, key=str(last_position + 1), now=now)
    return len(unpublished)


async def read_feed(workspace: Workspace, *, after: int, limit: int, with_imports: bool, now: int) -> FeedPage:
    """Return the events after a position, oldest first, including events that were committed a moment ago.

    Reading the feed extends the time in which events are written to KEPT_FOR from now.
    """
    await _extend_retention(workspace, now=now)
    unpublished = "SELECT id FROM events WHERE workspace_id = $1 AND position IS NULL LIMIT 1"
    if await database.read(unpublished, workspace.id):
        await publish_events(workspace, now=now)
    rows = await database.read(
        f"SELECT e.position, {EVENT_COLUMNS} FROM events e LEFT JOIN contacts c ON c.id = e.contact_id"
        " WHERE e.workspace_id = $1 AND e.position > $2"
        f"{'' if with_imports else ' AND e.cause IS NULL'} ORDER BY e.position LIMIT $3",
        workspace.id,
        min(after, database.LARGEST_ID),
        limit,
    )
    position = rows[-1]["position"] if rows else after
    return FeedPage(events=tuple(make_event(row) for row in rows), position=position)


async def _extend_retention(workspace: Workspace, *, now: int) -> None:
    """Write events for KEPT_FOR from now on. The end is stored at most once a day: most requests only read."""
    rows = await database.read("SELECT events_kept_until FROM workspaces WHERE id = $1", workspace.id)
    if rows[0]["events_kept_until"] >= now + KEPT_FOR:
        return

    async def body(session: Session) -> None:
        await keep_events(session, workspace.id, until=now + KEPT_FOR + DAY)

    await database.write(body)


async def delete_old_events(workspace: Workspace, *, now: int) -> None:
    """Delete the events that are older than KEPT_FOR, unless they wait for delivery to an enabled subscription."""

    async def body(session: Session) -> None:
        waiting = (
            "SELECT 1 FROM event_deliveries d JOIN subscriptions s ON s.id = d.subscription_id"
            f" WHERE d.event_id = events.id AND d.state = '{DeliveryState.WAITING}' AND s.disabled_at IS NULL"
        )
        rows = await session.rows(
            f"SELECT id FROM events WHERE workspace_id = $1 AND created_at < $2 AND position IS NOT NULL"
            f" AND NOT EXISTS ({waiting}) ORDER BY id LIMIT $3",
            workspace.id,
            now - KEPT_FOR,
            DELETION_BATCH_SIZE,
        )
        ids = [{"id": row["id"]} for row in rows]
        await session.rows("DELETE FROM event_deliveries WHERE event_id IN (SELECT id FROM given(id bigint))", ids)
        await session.rows("DELETE FROM events WHERE id IN (SELECT id FROM given(id bigint))", ids)

    await database.write(body)
