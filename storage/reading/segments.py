"""Save, load and delete segments: filters saved under a name, which other filters use as `segment:name`."""

import re
from collections.abc import Mapping, Sequence

from storage.audit import AuditAction, AuditEntry, ChangedMeanwhile, record_change
from storage.db import database
from storage.db.database import Session
from storage.domain.errors import BadName, UnknownSegment
from storage.domain.filters import BadFilter, parse
from storage.domain.filters.errors import did_you_mean
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.scoring.definitions import score_types

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
# A filter may contain `owner:me`. To validate it, any address stands for the current user.
SOMEBODY = {"me": "somebody@example.com"}


async def segments(workspace: Workspace) -> Mapping[str, str]:
    """Return the texts of all segments of a workspace, by name."""
    return await load_segments(database.current_database().reader, workspace)


async def load_segments(session: Session, workspace: Workspace) -> Mapping[str, str]:
    """Return the texts of all segments of a workspace, by name, as the session sees them."""
    rows = await session.rows("SELECT name, text FROM segments WHERE workspace_id = $1 ORDER BY name", workspace.id)
    return {row["name"]: row["text"] for row in rows}


async def save_segment(workspace: Workspace, *, name: str, text: str, by: str, now: int) -> str | None:
    """Create or replace a segment; return its previous text, or None if it is new.

    Raises BadName; BadFilter if the text cannot be parsed, refers to something that does not exist, or to itself.
    """
    if not NAME.fullmatch(name):
        raise BadName(
            f"`{name[:40]}` cannot name a segment: use up to 32 lowercase letters, digits, _ and -, a letter first"
        )
    saved = await segments(workspace)
    parse(text, await score_types(workspace), owners=SOMEBODY, segments=saved, naming=name)

    async def body(session: Session) -> str | None:
        before = await _lock_text(session, workspace, name)
        await _write_segment(session, workspace, name, text, now=now)
        await record_change(
            session, workspace, who=by, what=AuditAction.SEGMENT_SAVED, subject=name,
            before=None if before is None else {"text": before}, after={"text": text}, now=now,
        )  # fmt: skip  # who and what, then the states
        return before

    return await database.write(body)


async def _write_segment(session: Session, workspace: Workspace, name: str, text: str, *, now: int) -> None:
    await session.rows(
        "INSERT INTO segments (workspace_id, name, text, saved_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (workspace_id, name) DO UPDATE SET text = excluded.text, saved_at = excluded.saved_at",
        workspace.id,
        name,
        text,
        now,
    )


async def _lock_text(session: Session, workspace: Workspace, name: str) -> str | None:
    """Return the text of a segment, locked until the transaction ends; None if there is no such segment."""
    rows = await session.rows(
        "SELECT text FROM segments WHERE workspace_id = $1 AND name = $2 FOR NO KEY UPDATE", workspace.id, name
    )
    return str(rows[0]["text"]) if rows else None


async def segment(workspace: Workspace, *, name: str) -> str:
    """Return the text of a segment. Raises UnknownSegment."""
    saved = await segments(workspace)
    if name not in saved:
        hint = did_you_mean(name, saved) if saved else "No segments are saved yet."
        raise UnknownSegment(f"there is no segment `{name[:40]}`. {hint}")
    return saved[name]


async def _check_unused(workspace: Workspace, name: str) -> None:
    """Raise BadName if another segment uses the segment with this name."""
    saved = await segments(workspace)
    types, remaining = await score_types(workspace), {other: saved[other] for other in saved if other != name}
    for other in remaining:
        if is_readable(saved[other], types, saved) and not is_readable(saved[other], types, remaining):
            raise BadName(f"the segment `{other}` is built on `{name}`: change or delete that one first")


async def delete_segment(workspace: Workspace, *, name: str, by: str, now: int) -> str:
    """Delete a segment and return its text. Raises UnknownSegment, or BadName if another segment uses it."""
    text = await segment(workspace, name=name)
    await _check_unused(workspace, name)

    async def body(session: Session) -> None:
        deleted = await session.rows(
            "DELETE FROM segments WHERE workspace_id = $1 AND name = $2 RETURNING text", workspace.id, name
        )
        if deleted:  # else somebody else deleted it since it was read
            await record_change(
                session, workspace, who=by, what=AuditAction.SEGMENT_DELETED, subject=name,
                before={"text": deleted[0]["text"]}, after=None, now=now,
            )  # fmt: skip  # who and what, then the states

    await database.write(body)
    return text


async def restore_segment(workspace: Workspace, *, change: AuditEntry, by: str, now: int) -> int:
    """Undo a recorded change of a segment: it is as before the change. Return the id of the undo's entry.

    Raises ChangedMeanwhile if the segment is not as the change left it, BadName if another segment uses it.
    """
    name, before = str(change.subject), change.before
    if before is None:
        await _check_unused(workspace, name)

    async def body(session: Session) -> int:
        text = await _lock_text(session, workspace, name)
        current = None if text is None else {"text": text}
        if current != change.after:
            state = f"is `{text}` now" if text is not None else "was deleted"
            raise ChangedMeanwhile(f"the segment `{name}` {state}, so that change cannot be undone")
        if before is None:
            await session.rows("DELETE FROM segments WHERE workspace_id = $1 AND name = $2", workspace.id, name)
        else:
            await _write_segment(session, workspace, name, before["text"], now=now)
        what = AuditAction.SEGMENT_SAVED if before is not None else AuditAction.SEGMENT_DELETED
        return await record_change(
            session, workspace, who=by, what=what, subject=name, before=current, after=before, undoes=change.id,
            now=now,
        )  # fmt: skip  # who and what, then the states

    return await database.write(body)


def is_readable(text: str, types: Sequence[ScoreType], saved: Mapping[str, str]) -> bool:
    """Return whether a filter can be parsed with these score types and segments."""
    try:
        parse(text, types, owners=SOMEBODY, segments=saved)
    except BadFilter:
        return False
    return True
