"""Record which contacts the app's Slack messages mention, and hide the messages when a contact is deleted."""

from collections.abc import Collection
from dataclasses import dataclass

from storage import jobs
from storage.db import database, models
from storage.db.database import Session
from storage.domain.people import Workspace
from storage.jobs import NewJob

#: the job kind and the lane for hiding a message
HIDE, HIDE_LANE = "hide", "hide"
#: the channel that is stored for an image: Slack identifies an image by its file id alone
FILE = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedMessage:
    """A message in Slack. For an image, *channel* is FILE and *ts* is the file id."""

    channel: str
    ts: str


async def record_posted(workspace: Workspace, *, channel: str, ts: str, contacts: Collection[int]) -> None:
    """Record the contacts, by row id, that a message mentions. Contacts recorded earlier for the same message stay."""
    if not contacts:
        return

    async def body(session: Session) -> None:
        (row,) = await session.rows(
            "INSERT INTO posted_messages (workspace_id, channel, ts) VALUES ($1, $2, $3)"
            " ON CONFLICT (workspace_id, channel, ts) DO UPDATE SET ts = excluded.ts RETURNING id",
            workspace.id,
            channel,
            ts,
        )
        await session.rows(
            "INSERT INTO message_contacts (message_id, contact_id) SELECT $2, id FROM given(id bigint)"
            " WHERE true ORDER BY id ON CONFLICT DO NOTHING",
            [{"id": contact} for contact in sorted(contacts)],
            row["id"],
        )

    await database.write(body)


async def enqueue_hiding(session: Session, workspace: int, contacts: Collection[int], *, now: int) -> None:
    """Enqueue the hiding of every message that mentions these contacts. Call it before deleting their follow-ups."""
    # Messages that an earlier version posted are recorded only in their follow-ups.
    await session.rows(
        "INSERT INTO posted_messages (workspace_id, channel, ts) SELECT DISTINCT f.workspace_id, f.message_channel,"
        " f.message_ts FROM given(id bigint) JOIN follow_ups f ON f.contact_id = given.id"
        " WHERE f.message_ts IS NOT NULL ON CONFLICT DO NOTHING",
        [{"id": contact} for contact in sorted(contacts)],
    )
    await session.rows(
        "INSERT INTO message_contacts (message_id, contact_id) SELECT DISTINCT p.id, f.contact_id FROM given(id bigint)"
        " JOIN follow_ups f ON f.contact_id = given.id JOIN posted_messages p ON p.workspace_id = f.workspace_id"
        " AND p.channel = f.message_channel AND p.ts = f.message_ts WHERE true ON CONFLICT DO NOTHING",
        [{"id": contact} for contact in sorted(contacts)],
    )
    rows = await session.rows(
        "SELECT DISTINCT m.message_id AS id FROM given(id bigint) JOIN message_contacts m ON m.contact_id = given.id"
        " ORDER BY m.message_id",
        [{"id": contact} for contact in sorted(contacts)],
    )
    new_jobs = [
        NewJob(workspace=workspace, kind=HIDE, lane=HIDE_LANE, key=f"{row['id']}/{now}", subject=row["id"], due_at=now)
        for row in rows
    ]
    await jobs.enqueue(session, new_jobs, now=now)


async def load_message(workspace: Workspace, *, id: int) -> PostedMessage | None:
    """Return a recorded message, or None if it was hidden already."""
    rows = await database.load(models.PostedMessage.filter(workspace_id=workspace.id, id=id), "channel", "ts")
    return PostedMessage(**rows[0]) if rows else None


async def forget_message(workspace: Workspace, *, id: int, keeps_mentions_of: Collection[int] = ()) -> None:
    """Delete the record of a message, except its mentions of the contacts *keeps_mentions_of*."""

    async def body(session: Session) -> None:
        await session.rows(
            "DELETE FROM message_contacts WHERE message_id = $2"
            " AND NOT EXISTS (SELECT 1 FROM given(id bigint) WHERE given.id = message_contacts.contact_id)",
            [{"id": contact} for contact in keeps_mentions_of],
            id,
        )
        await session.rows(
            "DELETE FROM posted_messages WHERE workspace_id = $1 AND id = $2"
            " AND NOT EXISTS (SELECT 1 FROM message_contacts m WHERE m.message_id = posted_messages.id)",
            workspace.id,
            id,
        )

    await database.write(body)
