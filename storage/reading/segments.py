"""Save, load and delete segments: filters saved under a name, which other filters use as `segment:name`."""

import re
from collections.abc import Mapping

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


async def save_segment(workspace: Workspace, *, name: str, text: str, now: int) -> str | None:
    """Create or replace a segment; return its previous text, or None if it is new.

    Raises BadName; BadFilter if the text cannot be parsed, refers to something that does not exist, or to itself.
    """
    if not NAME.fullmatch(name):
        raise BadName(
            f"`{name[:40]}` cannot name a segment: use up to 32 lowercase letters, digits, _ and -, a letter first"
        )
    saved = await segments(workspace)
    parse(text, await score_types(workspace), owners=SOMEBODY, segments=saved, naming=name)
    await database.change(
        "INSERT INTO segments (workspace_id, name, text, saved_at) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT (workspace_id, name) DO UPDATE SET text = excluded.text, saved_at = excluded.saved_at",
        workspace.id,
        name,
        text,
        now,
    )
    return saved.get(name)


async def segment(workspace: Workspace, *, name: str) -> str:
    """Return the text of a segment. Raises UnknownSegment."""
    saved = await segments(workspace)
    if name not in saved:
        hint = did_you_mean(name, saved) if saved else "No segments are saved yet."
        raise UnknownSegment(f"there is no segment `{name[:40]}`. {hint}")
    return saved[name]


async def delete_segment(workspace: Workspace, *, name: str) -> str:
    """Delete a segment and return its text. Raises UnknownSegment, or BadName if another segment uses it."""
    text = await segment(workspace, name=name)
    saved = await segments(workspace)
    types, remaining = await score_types(workspace), {other: saved[other] for other in saved if other != name}
    for other in remaining:
        if _is_readable(saved[other], types, saved) and not _is_readable(saved[other], types, remaining):
            raise BadName(f"the segment `{other}` is built on `{name}`: change or delete that one first")
    await database.change("DELETE FROM segments WHERE workspace_id = $1 AND name = $2", workspace.id, name)
    return text


def _is_readable(text: str, types: tuple[ScoreType, ...], saved: Mapping[str, str]) -> bool:
    try:
        parse(text, types, owners=SOMEBODY, segments=saved)
    except BadFilter:
        return False
    return True
