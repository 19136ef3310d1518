"""Record the deliveries of events to subscriptions: what is sent next, what failed and when it is sent again.

The deliveries of a subscription are divided into slots by contact. Those of a slot are sent one at a time, in the order
of their events, so that a receiver sees the events of a contact in order. A slot is a lane of jobs.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tortoise.expressions import F

from storage import jobs
from storage.audit import AuditAction
from storage.db import database, models
from storage.db.database import LARGEST_ID, Row, Session
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.jobs import NewJob
from storage.sources import subscriptions
from storage.sources.subscriptions import Subscription

DELIVER = "deliver_event"  #: the kind of the jobs that send the events of a slot
TELL = "subscription_disabled"  #: the kind and the lane of the jobs that tell an admin of a disabled subscription
SLOTS = 16
GIVE_UP_AFTER = 3 * DAY  #: an event is given up if it fails for so long while other events are accepted
DISABLE_AFTER = 5 * DAY  #: a subscription is disabled if every attempt fails for so long


class DeliveryState(StrEnum):
    """The state of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"  #: given up


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event in the outbox. *data* is None if its contact was deleted."""

    uid: str
    type: str
    contact: int  #: the id of the contact now: of the one merged into, if it was merged
    at: int
    data: Mapping[str, Any] | None
    cause: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDelivery:
    """An event for a subscription. Times in µs UTC."""

    id: int
    subscription: int
    event: StoredEvent
    state: DeliveryState
    attempts: int
    first_at: int | None  #: the first attempt
    last_at: int | None
    due_at: int  #: the next attempt
    status: int | None  #: the HTTP status of the latest answer
    problem: str | None  #: why the latest attempt failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt. *resumes_at*: the receiver asked for a pause; *is_gone*: it wants no more events."""

    problem: str
    status: int | None = None
    retry_at: int
    resumes_at: int | None = None
    is_gone: bool = False


#: the columns of `make_event`, of events `e` and their contacts `c`
EVENT_COLUMNS = (
    "e.uid, e.type, CASE WHEN c.merged_into > 0 THEN c.merged_into ELSE e.contact_id END AS contact,"
    " e.at, e.data, e.cause"
)
_SELECT = (
    f"SELECT {EVENT_COLUMNS}, d.id, d.subscription_id, d.state, d.attempts, d.first_at, d.last_at, d.due_at, d.status,"
    " d.problem FROM event_deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN contacts c ON c.id = e.contact_id"
)


def make_event(row: Row) -> StoredEvent:
    """Return the event of a row with EVENT_COLUMNS."""
    return StoredEvent(
        **{name: row[name] for name in ("uid", "type", "contact", "at", "cause")},
        data=None if row["data"] is None else json.loads(row["data"]),
    )


def make_lane(subscription: int, slot: int) -> str:
    """Return the lane of the jobs that send the events of a slot."""
    return f"events/{subscription}/{slot}"


def parse_slot(lane: str) -> int:
    """Return the slot of a lane."""
    return int(lane.rpartition("/")[2])


async def next_delivery(workspace: Workspace, *, subscription: int, slot: int) -> EventDelivery | None:
    """Return the first event of a slot that is not delivered yet, or None. It may not be due yet."""
    rows = await database.read(
        f"{_SELECT} WHERE d.subscription_id = $2 AND d.state = $4 AND d.slot = $3 AND e.workspace_id = $1"
        " ORDER BY d.event_id LIMIT 1",
        workspace.id,
        subscription,
        slot,
        DeliveryState.WAITING.value,
    )
    return _make_delivery(rows[0]) if rows else None


async def list_deliveries(
    workspace: Workspace,
    *,
    subscription: int,
    state: DeliveryState | None = None,
    before: int | None = None,
    limit: int,
) -> list[EventDelivery]:
    """Return the latest deliveries of a subscription, newest first; with *state* only those in this state.

    *before* is the id of a delivery that the list begins after.
    """
    rows = await database.read(
        f"{_SELECT} WHERE e.workspace_id = $1 AND d.subscription_id = $2 AND d.id < $4"
        f"{' AND d.state = $5' if state is not None else ''} ORDER BY d.id DESC LIMIT $3",
        workspace.id,
        min(subscription, LARGEST_ID),
        limit,
        LARGEST_ID if before is None else min(before, LARGEST_ID),
        *([state.value] if state is not None else []),
    )
    return [_make_delivery(row) for row in rows]


async def record_success(
    workspace: Workspace, *, delivery: EventDelivery, subscription: Subscription, status: int, now: int
) -> None:
    """Record that an event was delivered."""
    await database.change(
        "UPDATE event_deliveries SET state = $3, attempts = attempts + 1, first_at = coalesce(first_at, $4),"
        " last_at = $4, status = $5, problem = NULL"
        " WHERE id = $2 AND subscription_id IN (SELECT id FROM subscriptions WHERE workspace_id = $1)",
        workspace.id,
        delivery.id,
        DeliveryState.DELIVERED.value,
        now,
        status,
    )
    if subscription.failing_since is not None:
        failed = models.Subscription.filter(workspace_id=workspace.id, id=subscription.id)
        await database.current_database().writer.update(failed, failing_since=None, problem=None)


async def record_failure(
    workspace: Workspace, *, delivery: EventDelivery, subscription: Subscription, failure: Failure, now: int
) -> DeliveryState:
    """Record a failed attempt, and return the state of the delivery after it.

    The event is given up after GIVE_UP_AFTER if the subscription accepted other events meanwhile. The subscription is
    disabled, and an admin told, if the receiver is gone or every attempt failed for DISABLE_AFTER.
    """
    first_at = now if delivery.first_at is None else delivery.first_at

    async def body(session: Session) -> DeliveryState:
        rows = await session.rows(
            "UPDATE subscriptions SET failing_since = coalesce(failing_since, $3), problem = $4,"
            " paused_until = greatest(paused_until, CAST($5 AS BIGINT)) WHERE workspace_id = $1 AND id = $2"
            " RETURNING failing_since",
            workspace.id,
            subscription.id,
            now,
            failure.problem,
            failure.resumes_at or 0,
        )
        if not rows:
            return DeliveryState.FAILED  # the subscription was removed
        failing_since = rows[0]["failing_since"]
        is_given_up = now - first_at >= GIVE_UP_AFTER and failing_since > first_at
        state = DeliveryState.FAILED if is_given_up else DeliveryState.WAITING
        await session.update(
            models.EventDelivery.filter(id=delivery.id),
            state=state.value,
            attempts=F("attempts") + 1,
            first_at=first_at,
            last_at=now,
            due_at=failure.retry_at,
            status=failure.status,
            problem=failure.problem,
        )
        if (failure.is_gone or now - failing_since >= DISABLE_AFTER) and await subscriptions.disable(
            session, workspace, id=subscription.id, because=failure.problem, now=now
        ):
            job = NewJob(
                workspace=workspace.id, kind=TELL, lane=TELL, key=f"{subscription.id}/{now}", subject=subscription.id,
                due_at=now,
            )  # fmt: skip  # owner, content, time
            await jobs.enqueue(session, [job], now=now)
        return state

    return await database.write(body)


async def postpone_delivery(workspace: Workspace, *, delivery: EventDelivery, until: int, now: int) -> None:
    """Send an event not before *until*, because the receiver asked for a pause."""
    await database.change(
        "UPDATE event_deliveries SET due_at = $3 WHERE id = $2"
        " AND subscription_id IN (SELECT id FROM subscriptions WHERE workspace_id = $1)",
        workspace.id,
        delivery.id,
        max(until, now),
    )


async def redeliver(
    workspace: Workspace, *, subscription: int, deliveries: Collection[int] | None = None, by: str, now: int
) -> int:
    """Send events again, and return their number: these *deliveries*, or without them all that failed.

    Events that still wait are sent now. A disabled subscription is resumed. Raises UnknownSubscription.
    """

    async def body(session: Session) -> int:
        because = await subscriptions.resume(session, workspace, id=subscription, now=now)
        chosen = f"state <> '{DeliveryState.DELIVERED}'"
        params: list[object] = [subscription, DeliveryState.WAITING.value]
        if deliveries is not None:
            chosen = "id IN (SELECT id FROM given(id bigint))"
            params = [[{"id": min(id, LARGEST_ID)} for id in sorted(deliveries)], *params]
        place = len(params) - 1
        rows = await session.rows(
            f"UPDATE event_deliveries SET state = ${place + 1}, attempts = 0, first_at = NULL, due_at = 0"
            f" WHERE subscription_id = ${place} AND {chosen} RETURNING id, slot",
            *params,
        )
        await enqueue_slots(
            session, workspace, {(subscription, row["slot"]) for row in rows}, key=f"again/{now}", now=now
        )
        await subscriptions.record_subscription_change(
            session, workspace, AuditAction.SUBSCRIPTION_REDELIVERED, subscription,
            None if because is None else {"off_because": because}, {"events": len(rows)}, by=by, now=now,
        )  # fmt: skip  # what, the states, who and when
        return len(rows)

    return await database.write(body)


async def enqueue_slots(
    session: Session, workspace: Workspace, slots: Collection[tuple[int, int]], *, key: str, now: int
) -> None:
    """Enqueue a job for each slot (subscription, slot) that sends its events. *key* is unique to the cause."""
    sending = [
        NewJob(
            workspace=workspace.id, kind=DELIVER, lane=make_lane(subscription, slot),
            key=f"{make_lane(subscription, slot)}/{key}", subject=subscription, due_at=now,
        )
        for subscription, slot in sorted(slots)
    ]  # fmt: skip  # where, then what and when
    await jobs.enqueue(session, sending, now=now)


async def wake_slots(workspace: Workspace, *, now: int) -> None:
    """Enqueue a job for each slot with a due event and without a job: a safety net, every few minutes."""

    async def body(session: Session) -> None:
        rows = await session.rows(
            "SELECT DISTINCT d.subscription_id, d.slot FROM event_deliveries d"
            " JOIN subscriptions s ON s.id = d.subscription_id AND s.workspace_id = $1 AND s.disabled_at IS NULL"
            " WHERE d.state = $2 AND d.due_at <= $3",
            workspace.id,
            DeliveryState.WAITING.value,
            now,
        )
        slots = {(row["subscription_id"], row["slot"]) for row in rows}
        await enqueue_slots(session, workspace, slots, key="wake", now=now)

    await database.write(body)


def _make_delivery(row: Row) -> EventDelivery:
    names = ("id", "attempts", "first_at", "last_at", "due_at", "status", "problem")
    return EventDelivery(
        **{name: row[name] for name in names},
        subscription=row["subscription_id"],
        event=make_event(row),
        state=DeliveryState(row["state"]),
    )
