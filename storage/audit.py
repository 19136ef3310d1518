"""The record of changes: who changed a setting, imported, exported, merged or deleted, when, and from what to what.

An entry is written in the transaction of the change. What an entry says of a contact is emptied when the contact is
deleted; the entry itself stays.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.errors import Refusal
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
    ROLE_SET = "role.set"  #: of a person or a user group
    HOURS_SET = "workspace.hours_set"
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
    FOLLOW_UP_CHANGED = "followup.changed"  #: a person claimed, snoozed or finished it
    SOURCE_ADDED = "source.added"
    SOURCE_CHANGED = "source.changed"
    SOURCE_ROTATED = "source.rotated"
    SOURCE_REMOVED = "source.removed"
    WRITING_PAUSED = "source.writing_paused"  #: its scores are no longer written to it, because it refused them
    TOKEN_CREATED = "token.created"  # noqa: S105  # the name of a change
    TOKEN_REVOKED = "token.revoked"  # noqa: S105  # the name of a change
    SUBSCRIPTION_ADDED = "subscription.added"
    SUBSCRIPTION_CHANGED = "subscription.changed"
    SUBSCRIPTION_ROTATED = "subscription.rotated"
    SUBSCRIPTION_REDELIVERED = "subscription.redelivered"  #: also turns it on, if it was disabled
    SUBSCRIPTION_DISABLED = "subscription.disabled"  #: its receiver failed for days, or is gone
    SUBSCRIPTION_REMOVED = "subscription.removed"
    DELIVERY_REPLAYED = "delivery.replayed"
    ITEMS_DISCARDED = "delivery.discarded"
    IMPORT_BEGUN = "import.begun"
    IMPORT_UNDONE = "import.undone"
    IMPORT_RESTORED = "import.restored"
    EXPORTED = "export.begun"
    CONTACTS_CHANGED = "contacts.changed"  #: many at once, by one command
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
    undoes: int | None = None  #: the id of the entry that it undid


class ChangedMeanwhile(Refusal):
    """That was changed meanwhile, so it cannot be undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """A change to record. *contacts* are the rows of at most two contacts that it names.

    *undoes* is the id of the entry that it undoes.
    """

    what: AuditAction
    subject: str | None
    before: Document | None
    after: Document | None
    contacts: Sequence[int] = ()
    undoes: int | None = None


async def record_change(
    session: Session,
    workspace: Workspace,
    *,
    who: str,
    what: AuditAction,
    subject: str | None,
    before: Document | None,
    after: Document | None,
    undoes: int | None = None,
    now: int,
) -> int:
    """Record a change, in the transaction that makes it. Return the id of its entry."""
    entry = NewEntry(what=what, subject=subject, before=before, after=after, undoes=undoes)
    (id,) = await record_changes(session, workspace, [entry], who=who, now=now)
    return id


async def record_changes(
    session: Session, workspace: Workspace, entries: Sequence[NewEntry], *, who: str, now: int
) -> list[int]:
    """Record changes in this order, in the transaction that makes them. Return the ids of their entries."""
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
                "undoes": entry.undoes,
            }
        )
    if not rows:
        return []
    written = await session.rows(
        "INSERT INTO audit_entries"
        " (workspace_id, at, who, what, subject, before, after, contact_id, other_id, undoes)"
        " SELECT CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS TEXT), what, subject, before, after, contact,"
        " other, undoes FROM given(position bigint, what text, subject text, before text, after text, contact bigint,"
        " other bigint, undoes bigint) WHERE true ORDER BY position RETURNING id",
        rows,
        workspace.id,
        now,
        who,
    )
    return sorted(row["id"] for row in written)


async def redact_changes(
    session: Session, workspace: Workspace, contacts: Collection[int], *, words: Collection[str]
) -> None:
    """Empty what the entries of a workspace say about deleted contacts.

    *contacts* are their rows, *words* their addresses and names: the filter of an export, or of a change of many
    contacts, may contain them.
    """
    keys = [key for word in words if (key := match_key(word))]
    with_filters = models.AuditEntry.filter(
        workspace_id=workspace.id,
        what__in=(AuditAction.EXPORTED.value, AuditAction.CONTACTS_CHANGED.value),
        subject__isnull=False,
    )
    filters = await session.load(with_filters, "id", "subject")
    naming = [row["id"] for row in filters if any(key in match_key(row["subject"]) for key in keys)]
    for column, ids in (("contact_id", contacts), ("other_id", contacts), ("id", naming)):
        await session.rows(
            "UPDATE audit_entries SET subject = NULL, before = NULL, after = NULL"
            f" WHERE workspace_id = $2 AND {column} IN (SELECT id FROM given(id bigint))",
            [{"id": id} for id in sorted(ids)],
            workspace.id,
        )


async def audit_entries(
    workspace: Workspace,
    *,
    since: int = 0,
    what: AuditAction | None = None,
    subject: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[AuditEntry]:
    """Return the recorded changes from *since* (µs UTC) on, newest first.

    With *what* only those of this kind, with *subject* only those of this subject.
    """
    entries = models.AuditEntry.filter(workspace_id=workspace.id, at__gte=since)
    if what is not None:
        entries = entries.filter(what=what.value)
    if subject is not None:
        entries = entries.filter(subject=subject)
    page = entries.limit(database.LARGEST_ID if limit is None else limit).offset(min(offset, database.LARGEST_ID))
    return [_make_entry(row) for row in await database.load(page.order_by("-id"))]


async def load_entry(workspace: Workspace, *, id: int) -> AuditEntry | None:
    """Return an entry, or None if there is none with this id."""
    rows = await database.load(models.AuditEntry.filter(workspace_id=workspace.id, id=min(id, database.LARGEST_ID)))
    return _make_entry(rows[0]) if rows else None


async def load_changes_of(workspace: Workspace, *, who: str, limit: int) -> list[AuditEntry]:
    """Return the last changes of a person, newest first. Undos and undone changes are left out."""
    rows = await database.load(
        models.AuditEntry.filter(workspace_id=workspace.id, who=who).order_by("-id").limit(limit)
    )
    entries = [_make_entry(row) for row in rows if row["undoes"] is None]
    undone = await find_undone(workspace, ids=[entry.id for entry in entries])
    return [entry for entry in entries if entry.id not in undone]


async def find_undone(workspace: Workspace, *, ids: Collection[int]) -> frozenset[int]:
    """Return the ids of the entries among these that are undone. An undo that is itself undone does not count."""
    undoers: dict[int, list[int]] = {}
    unread = set(ids)
    while unread:
        rows = await database.read(
            "SELECT id, undoes FROM audit_entries"
            " WHERE workspace_id = $2 AND undoes IN (SELECT id FROM given(id bigint)) ORDER BY id",
            [{"id": id} for id in sorted(unread)],
            workspace.id,
        )
        for row in rows:
            undoers.setdefault(row["undoes"], []).append(row["id"])
        unread = {row["id"] for row in rows}
    undone: set[int] = set()
    # An undo has a higher id than what it undoes.
    for id in sorted(undoers, reverse=True):
        if any(undo not in undone for undo in undoers[id]):
            undone.add(id)
    return frozenset(undone & set(ids))


async def count_audit_entries(workspace: Workspace) -> int:
    """Return the number of recorded changes of a workspace."""
    (row,) = await database.read("SELECT count(*) AS number FROM audit_entries WHERE workspace_id = $1", workspace.id)
    return int(row["number"])


def _make_entry(row: Row) -> AuditEntry:
    return AuditEntry(
        **{name: row[name] for name in ("id", "at", "who", "what", "subject", "undoes")},
        before=_load(row["before"]),
        after=_load(row["after"]),
        contacts=tuple(row[name] for name in ("contact_id", "other_id") if row[name] is not None),
    )


def _dump(document: Document | None) -> str | None:
    return None if document is None else json.dumps(document, ensure_ascii=False)


def _load(text: str | None) -> Document | None:
    return None if text is None else json.loads(text)
