"""Save, load and delete segments: filters saved under a name, which other filters use as `segment:name`.

A segment that an alert rule, another segment or a subscription uses is not deleted. When its filter changes, the makers
of the alert rules that depend on it are told.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.alerts import rules as alert_rules
from storage.alerts.maker_notices import enqueue_maker_notices
from storage.alerts.rules import AlertRule
from storage.audit import AuditAction, AuditEntry, ChangedMeanwhile, Document, record_change
from storage.db import database, models
from storage.db.database import Session
from storage.domain.errors import BadName, SegmentInUse, UnknownSegment
from storage.domain.filters import BadFilter, list_segments, parse
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.validation import did_you_mean
from storage.scoring.definitions import score_types

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
# A filter may contain `owner:me`. To validate it, any address stands for the current user.
SOMEBODY: Mapping[str, str | None] = {"me": "somebody@example.com"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A saved filter."""

    name: str
    text: str
    made_by: str | None  #: the Slack user id of its maker; None: saved before makers were recorded


async def segments(workspace: Workspace) -> Mapping[str, str]:
    """Return the texts of all segments of a workspace, by name."""
    return await load_segments(database.current_database().reader, workspace)


async def load_segments(session: Session, workspace: Workspace) -> Mapping[str, str]:
    """Return the texts of all segments of a workspace, by name, as the session sees them."""
    rows = await session.load(models.Segment.filter(workspace_id=workspace.id).order_by("name"), "name", "text")
    return {row["name"]: row["text"] for row in rows}


async def save_segment(workspace: Workspace, *, name: str, text: str, by: str, now: int) -> str | None:
    """Create or replace a segment; return its previous text, or None if it is new.

    Whoever creates a segment is its maker. Callers check that only the maker or an admin replaces it. If the text
    changes, the makers of the alert rules that use the segment are told, except *by*.
    Raises BadName; BadFilter if the text cannot be parsed, refers to something that does not exist, or to itself.
    """
    if not NAME.fullmatch(name):
        raise BadName(
            f"`{name[:40]}` cannot name a segment: use up to 32 lowercase letters, digits, _ and -, a letter first"
        )
    saved = await segments(workspace)
    parse(text, await score_types(workspace), owners=SOMEBODY, segments=saved, naming=name)

    async def body(session: Session) -> str | None:
        before = await _lock_segment(session, workspace, name)
        maker = before.made_by if before is not None else None
        after = Segment(name=name, text=text, made_by=maker or by)
        await _write_segment(session, workspace, after, now=now)
        entry = await record_change(
            session, workspace, who=by, what=AuditAction.SEGMENT_SAVED, subject=name,
            before=None if before is None else _describe_segment(before), after=_describe_segment(after), now=now,
        )  # fmt: skip  # who and what, then the states
        if before is not None and before.text != text:
            await _tell_makers(session, workspace, name, entry=entry, by=by, now=now)
        return None if before is None else before.text

    return await database.write(body)


async def _write_segment(session: Session, workspace: Workspace, segment: Segment, *, now: int) -> None:
    await session.rows(
        "INSERT INTO segments (workspace_id, name, text, saved_at, made_by) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (workspace_id, name) DO UPDATE SET text = excluded.text, saved_at = excluded.saved_at,"
        " made_by = excluded.made_by",
        workspace.id,
        segment.name,
        segment.text,
        now,
        segment.made_by,
    )


async def _tell_makers(session: Session, workspace: Workspace, name: str, *, entry: int, by: str, now: int) -> None:
    """Queue messages to the makers of the rules that use a segment, about a change of it by *by*."""
    makers = [rule.made_by for rule in await load_dependent_rules(session, workspace, name=name)]
    await enqueue_maker_notices(session, workspace, makers, entry=entry, by=by, now=now)


async def _lock_segment(session: Session, workspace: Workspace, name: str) -> Segment | None:
    """Return a segment, locked until the transaction ends; None if there is no such segment."""
    rows = await session.rows(
        "SELECT name, text, made_by FROM segments WHERE workspace_id = $1 AND name = $2 FOR NO KEY UPDATE",
        workspace.id,
        name,
    )
    return Segment(**rows[0]) if rows else None


def _describe_segment(segment: Segment) -> Document:
    return {"text": segment.text, "made_by": segment.made_by}


async def find_segment(workspace: Workspace, *, name: str) -> Segment | None:
    """Return a segment, or None if there is no such segment."""
    rows = await database.load(models.Segment.filter(workspace_id=workspace.id, name=name), "name", "text", "made_by")
    return Segment(**rows[0]) if rows else None


async def segment(workspace: Workspace, *, name: str) -> Segment:
    """Return a segment. Raises UnknownSegment."""
    match = await find_segment(workspace, name=name)
    if match is not None:
        return match
    saved = await segments(workspace)
    hint = did_you_mean(name, saved) if saved else "No segments are saved yet."
    raise UnknownSegment(f"there is no segment `{name[:40]}`. {hint}")


async def delete_segment(workspace: Workspace, *, name: str, by: str, now: int) -> str:
    """Delete a segment and return its text. Callers check that *by* is its maker or an admin.

    Raises UnknownSegment, or SegmentInUse if another segment, an alert rule or a subscription uses it.
    """
    await segment(workspace, name=name)

    async def body(session: Session) -> str | None:
        locked = await _lock_segment(session, workspace, name)
        if locked is None:  # somebody else deleted it meanwhile
            return None
        await _check_unused(session, workspace, name)
        await session.delete(models.Segment.filter(workspace_id=workspace.id, name=name))
        await record_change(
            session, workspace, who=by, what=AuditAction.SEGMENT_DELETED, subject=name,
            before=_describe_segment(locked), after=None, now=now,
        )  # fmt: skip  # who and what, then the states
        return locked.text

    text = await database.write(body)
    return text if text is not None else (await segment(workspace, name=name)).text


async def _check_unused(session: Session, workspace: Workspace, name: str) -> None:
    """Raise SegmentInUse if another segment, an alert rule or a subscription uses the segment with this name."""
    saved = await load_segments(session, workspace)
    used_by = [other for other, text in saved.items() if name in _read_references(text)]
    rules = await _load_rules_using(session, workspace, {name})
    subscribed = await _load_subscriptions_to(session, workspace, name)
    if used_by or rules or subscribed:
        raise SegmentInUse(
            name, segments=tuple(used_by), rules=tuple(rule.id for rule in rules), subscriptions=subscribed
        )


async def _load_subscriptions_to(session: Session, workspace: Workspace, name: str) -> tuple[int, ...]:
    """Return the row ids of the subscriptions that get the events of a segment, also of those that are turned off."""
    subscriptions = models.Subscription.filter(workspace_id=workspace.id).order_by("id")
    rows = await session.load(subscriptions, "id", "segments")
    return tuple(row["id"] for row in rows if name in json.loads(row["segments"]))


async def restore_segment(workspace: Workspace, *, change: AuditEntry, by: str, now: int) -> int:
    """Undo a recorded change of a segment: it is as before the change. Return the id of the undo's entry.

    Raises ChangedMeanwhile if the segment is not as the change left it, SegmentInUse if it would be deleted.
    """
    name = str(change.subject)

    async def body(session: Session) -> int:
        current = await _lock_segment(session, workspace, name)
        if (None if current is None else current.text) != (change.after or {}).get("text"):
            state = f"is `{current.text}` now" if current is not None else "was deleted"
            raise ChangedMeanwhile(f"the segment `{name}` {state}, so that change cannot be undone")
        before = None
        if change.before is None:
            await _check_unused(session, workspace, name)
            await session.delete(models.Segment.filter(workspace_id=workspace.id, name=name))
        else:
            maker = change.before.get("made_by", current.made_by if current is not None else None)
            before = Segment(name=name, text=change.before["text"], made_by=maker)
            await _write_segment(session, workspace, before, now=now)
        what = AuditAction.SEGMENT_DELETED if before is None else AuditAction.SEGMENT_SAVED
        entry = await record_change(
            session, workspace, who=by, what=what, subject=name,
            before=None if current is None else _describe_segment(current),
            after=None if before is None else _describe_segment(before), undoes=change.id, now=now,
        )  # fmt: skip  # who and what, then the states
        if before is not None and current is not None and before.text != current.text:
            await _tell_makers(session, workspace, name, entry=entry, by=by, now=now)
        return entry

    return await database.write(body)


async def dependent_rules(workspace: Workspace, *, name: str) -> list[AlertRule]:
    """Return the alert rules with a condition that uses a segment, directly or through other segments."""
    return await load_dependent_rules(database.current_database().reader, workspace, name=name)


async def load_dependent_rules(session: Session, workspace: Workspace, *, name: str) -> list[AlertRule]:
    """Return what `dependent_rules` returns, as the session sees it."""
    references = {other: _read_references(text) for other, text in (await load_segments(session, workspace)).items()}
    dependent, size = {name}, 0
    while len(dependent) > size:
        size = len(dependent)
        dependent |= {other for other, used in references.items() if used & dependent}
    return await _load_rules_using(session, workspace, dependent)


async def _load_rules_using(session: Session, workspace: Workspace, names: set[str]) -> list[AlertRule]:
    """Return the alert rules with a condition that names one of these segments."""
    rules = (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, [])
    return [rule for rule in rules if names & _read_references(rule.condition)]


def _read_references(text: str) -> frozenset[str]:
    """Return the names of the segments in a text; none if an older version saved a text that is not a filter now."""
    try:
        return list_segments(text)
    except BadFilter:
        return frozenset()


def is_readable(
    text: str, types: Sequence[ScoreType], saved: Mapping[str, str], *, owners: Mapping[str, str | None] = SOMEBODY
) -> bool:
    """Return whether a filter can be parsed with these score types and segments; *owners* as for `filters.parse`."""
    try:
        parse(text, types, owners=owners, segments=saved)
    except BadFilter:
        return False
    return True
