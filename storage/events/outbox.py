"""Write events to the outbox in the transaction that causes them, and empty those of deleted contacts.

Events are written only while somebody may read them: `workspaces.events_kept_until` says until when. A subscription
that is not disabled sets it to FOREVER; a request to the feed of the API, or a new token, to KEPT_FOR from then.
A job publishes the events after the commit: see `storage.events.publish`.
"""

import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import asdict

from storage import jobs
from storage.db import models
from storage.db.database import Row, Session
from storage.domain.events import WRITTEN, NewEvent, find_follow_up_event
from storage.domain.facts import DAY
from storage.domain.followups import FollowUpMove
from storage.domain.numbers import to_json
from storage.jobs import NewJob

PUBLISH = "publish_events"  #: the kind and the lane of the jobs that publish events
KEPT_FOR = 7 * DAY  #: how long an event is kept, and how long events are written after the feed was last read
FOREVER = 2**62


async def emit_events(session: Session, events: Sequence[NewEvent], *, now: int) -> None:
    """Write events in this order, in the transaction that causes them.

    The caller holds the locks of the contacts: the events of a contact are in the order of its changes. It has made
    sure that somebody may read the events: see `Readership`.
    """
    if not events:
        return
    rows: list[Row] = [
        {
            "place": place,
            "uid": f"evt_{secrets.token_hex(12)}",
            **asdict(event),
            "data": json.dumps(dict(event.data), ensure_ascii=False),
        }
        for place, event in enumerate(events)
    ]
    written = await session.rows(
        "INSERT INTO events (workspace_id, uid, type, contact_id, at, data, cause, created_at)"
        " SELECT workspace, uid, type, contact, at, data, cause, CAST($2 AS BIGINT)"
        " FROM given(place bigint, workspace bigint, uid text, type text, contact bigint, at bigint, data text,"
        " cause text) WHERE true ORDER BY place RETURNING id, workspace_id",
        rows,
        now,
    )
    first_ids: dict[int, int] = {}
    for row in written:
        first_ids[row["workspace_id"]] = min(row["id"], first_ids.get(row["workspace_id"], row["id"]))
    # The key is unique: a job that is being worked on may have read the outbox already.
    publishing = [
        NewJob(workspace=workspace, kind=PUBLISH, lane=PUBLISH, key=str(id), subject=0, due_at=now)
        for workspace, id in first_ids.items()
    ]
    await jobs.enqueue(session, publishing, now=now)


async def emit_follow_up_events(session: Session, steps: Sequence[Row], *, now: int) -> None:
    """Write the events of entries in the history of follow-ups, in the transaction that writes these entries.

    The entries have the keys workspace, follow_up, move, state, by, detail and at.
    """
    announced = [(step, type) for step in steps if (type := find_follow_up_event(step["move"], step["state"]))]
    if not announced:
        return
    rows = await session.rows(
        "SELECT f.id, coalesce(c.merged_into, c.id) AS contact, f.rule_id, f.score, f.before, f.after,"
        " w.watches_segments FROM given(id bigint) JOIN follow_ups f ON f.id = given.id"
        " JOIN contacts c ON c.id = f.contact_id"
        " JOIN workspaces w ON w.id = f.workspace_id AND w.events_kept_until > $2",
        [{"id": step["follow_up"]} for step, _ in announced],
        now,
    )
    follow_ups = {row["id"]: row for row in rows}
    events = []
    for step, type in announced:
        row = follow_ups.get(step["follow_up"])
        if row is None:
            continue
        user = step["detail"] if step["move"] == FollowUpMove.ASSIGN else step["by"]
        data = {
            "followup": {
                "id": row["id"], "rule": row["rule_id"], "score": row["score"],
                "previous": None if row["before"] is None else to_json(row["before"]),
                "value": None if row["after"] is None else to_json(row["after"]),
                "state": step["state"], "user": user,
            }
        }  # fmt: skip  # what it is about, then its state
        events.append(
            NewEvent(
                workspace=step["workspace"], type=type, contact=row["contact"],
                at=step["at"], data=data,
            )
        )  # fmt: skip  # what, then when
        if row["watches_segments"]:  # a segment may contain `followup:open`
            events.append(NewEvent(workspace=step["workspace"], type=WRITTEN, contact=row["contact"], at=step["at"]))
    await emit_events(session, events, now=now)


async def redact_events(session: Session, contacts: Collection[int]) -> None:
    """Empty the events of deleted contacts. *contacts* are their rows, and their locks are held."""
    ids = [{"id": id} for id in sorted(contacts)]
    await session.rows("UPDATE events SET data = NULL WHERE contact_id IN (SELECT id FROM given(id bigint))", ids)
    await forget_members(session, contacts)


async def forget_members(session: Session, contacts: Collection[int]) -> None:
    """Remove contacts that are no longer contacts of their own from the stored members of segments, without events."""
    await session.rows(
        "DELETE FROM segment_members WHERE contact_id IN (SELECT id FROM given(id bigint))",
        [{"id": id} for id in sorted(contacts)],
    )


async def keep_events(session: Session, workspace: int, *, until: int) -> None:
    """Write the events of a workspace at least until a time in µs UTC, because somebody may read them."""
    await session.update(models.Workspace.filter(id=workspace, events_kept_until__lt=until), events_kept_until=until)
