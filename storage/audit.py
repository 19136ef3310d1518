"""The record of changes: who changed a setting, imported, exported, merged or deleted, when, and from what to what.

An entry is written in the transaction of the change. What an entry says of a contact is emptied when the contact is
deleted; the entry itself stays.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.people import Workspace
from storage.domain.texts import match_key

#: a state before or after a change, as JSON, complete enough to restore it; secrets are left out
Document: TypeAlias = Mapping[str, Any]

UNKNOWN = "unknown"  #: who, if a job of an earlier version made the change


class AuditAction(StrEnum):
    """The changes that are recorded."""

    WORKSPACE_ADDED = "workspace.added"
    CHANNEL_SET = "workspace.channel_set"
    ADMINS_SET = "workspace.admins_set"
    SETTERS_SET = "workspace.setters_set"
    TYPE_ADDED = "type.added"
    TYPE_CHANGED = "type.changed"  #: its definition, and so its rules
    TYPE_REMOVED = "type.removed"
    DEFAULT_TYPE_SET = "type.default_set"
    ALERT_ADDED = "alert.added"
    ALERT_PAUSED = "alert.paused"
    ALERT_RESUMED = "alert.resumed"
    ALERT_REMOVED = "alert.removed"
    DIGEST_SET = "digest.set"
    DIGEST_STOPPED = "digest.stopped"
    SEGMENT_SAVED = "segment.saved"
    SEGMENT_DELETED = "segment.deleted"
    SOURCE_ADDED = "source.added"
    SOURCE_CHANGED = "source.changed"
    SOURCE_ROTATED = "source.rotated"
    SOURCE_REMOVED = "source.removed"
    TOKEN_CREATED = "token.created"  # noqa: S105  # the name of a change
    TOKEN_REVOKED = "token.revoked"  # noqa: S105  # the name of a change
    DELIVERY_REPLAYED = "delivery.replayed"
    ITEMS_DISCARDED = "delivery.discarded"
    IMPORT_BEGUN = "import.begun"
    IMPORT_UNDONE = "import.undone"
    IMPORT_RESTORED = "import.restored"
    EXPORTED = "export.begun"
    CONTACTS_MERGED = "contact.merged"
    CONTACT_SPLIT = "contact.split"
    CONTACT_DELETED = "contact.deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A recorded change. *subject*, *before* and *after* are None if the contact that they name was deleted."""

    id: int
    at: int  #: in µs UTC
    who: str  #: a Slack user id, `cli:USER`, `token NAME`, or the slug of a source
    what: str  #: one of AuditAction
    subject: str | None  #: the name of what was changed
    before: Document | None  #: None if it did not exist
    after: Document | None  #: None if it does not exist any more
    contacts: tuple[int, ...] = ()  #: the rows of the contacts that it names


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """A change to record. *contacts* are the rows of at most two contacts that it names."""

    what: AuditAction
    subject: str | None
    before: Document | None
    after: Document | None
    contacts: Sequence[int] = ()


async def record_change(
    session: Session,
    workspace: Workspace,
    *,
    who: str,
    what: AuditAction,
    subject: str | None,
    before: Document | None,
    after: Document | None,
    now: int,
) -> int:
    """Record a change, in the transaction that makes it. Return the id of the entry."""
    entry = NewEntry(what=what, subject=subject, before=before, after=after)
    (id,) = await record_changes(session, workspace, [entry], who=who, now=now)
    return id


async def record_changes(
    session: Session, workspace: Workspace, entries: Sequence[NewEntry], *, who: str, now: int
) -> list[int]:
    """Record changes in this order, in the transaction that makes them. Return the ids of the entries."""
    rows = []
    for position, entry in enumerate(entries):
        contact, other = (*entry.contacts, None, None)[:2]
        rows.append(
            {
                "position": position,
                "what": entry.what.value,
                "subject": entry.subject,
                "before": _dump(entry.before),
                "after": _dump(entry.after),
                "contact": contact,
                "other": other,
            }
        )
    if not rows:
        return []
    inserted = await session.rows(
        "INSERT INTO audit_entries (workspace_id, at, who, what, subject, before, after, contact_id, other_id)"
        " SELECT CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS TEXT), what, subject, before, after, contact,"
        " other FROM given(position bigint, what text, subject text, before text, after text, contact bigint,"
        " other bigint) ORDER BY position RETURNING id",
        rows,
        workspace.id,
        now,
        who,
    )
    return sorted(row["id"] for row in inserted)


async def redact_changes(
    session: Session, workspace: Workspace, contacts: Collection[int], *, words: Collection[str]
) -> None:
    """Empty what the entries of a workspace say about deleted contacts.

    *contacts* are their rows, *words* their addresses and names: the filter of an export may contain them.
    """
    keys = [key for word in words if (key := match_key(word))]
    exports = await session.rows(
        "SELECT id, subject FROM audit_entries WHERE workspace_id = $1 AND what = $2 AND subject IS NOT NULL",
        workspace.id,
        AuditAction.EXPORTED.value,
    )
    naming = [row["id"] for row in exports if any(key in match_key(row["subject"]) for key in keys)]
    for column, ids in (("contact_id", contacts), ("other_id", contacts), ("id", naming)):
        await session.rows(
            "UPDATE audit_entries SET subject = NULL, before = NULL, after = NULL"
            f" WHERE workspace_id = $2 AND {column} IN (SELECT id FROM given(id bigint))",
            [{"id": id} for id in sorted(ids)],
            workspace.id,
        )


async def audit_entries(
    workspace: Workspace, *, since: int = 0, what: AuditAction | None = None, limit: int | None = None, offset: int = 0
) -> list[AuditEntry]:
    """Return the recorded changes from *since* (µs UTC) on, newest first; with *what* only those of this kind."""
    rows = await database.read(
        "SELECT id, at, who, what, subject, before, after, contact_id, other_id FROM audit_entries"
        f" WHERE workspace_id = $1 AND at >= $2{' AND what = $5' if what is not None else ''}"
        " ORDER BY id DESC LIMIT $3 OFFSET $4",
        workspace.id,
        since,
        database.LARGEST_ID if limit is None else limit,
        min(offset, database.LARGEST_ID),
        *([what.value] if what is not None else []),
    )
    return [_make_entry(row) for row in rows]


async def load_entry(workspace: Workspace, *, id: int) -> AuditEntry | None:
    """Return a recorded change by its row id, or None."""
    rows = await database.read(
        "SELECT id, at, who, what, subject, before, after, contact_id, other_id FROM audit_entries"
        " WHERE workspace_id = $1 AND id = $2",
        workspace.id,
        id,
    )
    return _make_entry(rows[0]) if rows else None


async def count_audit_entries(workspace: Workspace) -> int:
    """Return the number of recorded changes of a workspace."""
    (row,) = await database.read("SELECT count(*) AS number FROM audit_entries WHERE workspace_id = $1", workspace.id)
    return int(row["number"])


def _make_entry(row: Row) -> AuditEntry:
    return AuditEntry(
        **{name: row[name] for name in ("id", "at", "who", "what", "subject")},
        before=_load(row["before"]),
        after=_load(row["after"]),
        contacts=tuple(row[name] for name in ("contact_id", "other_id") if row[name] is not None),
    )


def _dump(document: Document | None) -> str | None:
    return None if document is None else json.dumps(document, ensure_ascii=False)


def _load(text: str | None) -> Document | None:
    return None if text is None else json.loads(text)
