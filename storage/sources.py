"""Keep the configured senders, their secrets encrypted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from storage import database
from storage.database import Row, Session
from storage.definitions import live
from storage.domain.contacts import check_slug
from storage.domain.errors import AlreadyThere, UnknownSource
from storage.domain.people import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A configured sender; its secrets, newest first, never show in a log."""

    id: int
    workspace: Workspace
    slug: str
    provider: str
    secrets: tuple[str, ...] = field(repr=False)


async def add_source(workspace: Workspace, *, slug: str, provider: str, secrets: Sequence[str], now: int) -> Source:
    """Configure a sender; raises BadName, AlreadyThere, NoKeys."""
    sealed = database.current().vault.seal(json.dumps(list(secrets)))

    async def body(session: Session) -> int:
        check_slug(slug, score_types=tuple((await live(session, {workspace.id}))[workspace.id]))
        made = await session.rows(
            "INSERT INTO sources (workspace_id, slug, provider, secrets, created_at) VALUES ($1, $2, $3, $4, $5)"
            " ON CONFLICT DO NOTHING RETURNING id",
            workspace.id,
            slug,
            provider,
            sealed,
            now,
        )
        if not made:
            raise AlreadyThere(f"there is a source `{slug}` already; choose another name")
        return int(made[0]["id"])

    id = await database.write(body)
    return Source(id=id, workspace=workspace, slug=slug, provider=provider, secrets=tuple(secrets))


_SOURCE = (
    "SELECT w.id AS workspace_id, w.team, w.name, s.id, s.slug, s.provider, s.secrets"
    " FROM sources s JOIN workspaces w ON w.id = s.workspace_id"
)


async def find_source(team: str, *, slug: str) -> Source:
    """Give a source of the workspace of a Slack team; raises UnknownSource."""
    names = "\0" not in team + slug  # which no name holds, and PostgreSQL no text
    rows = await database.read(f"{_SOURCE} WHERE w.team = $1 AND s.slug = $2", team, slug) if names else []
    if not rows:
        raise UnknownSource(f"there is no source `{slug[:40]}` in {team[:40]}")
    return _source(rows[0])


async def sources(workspace: Workspace) -> list[Source]:
    """Give the sources of a workspace, by slug."""
    rows = await database.read(f"{_SOURCE} WHERE w.id = $1 ORDER BY s.slug", workspace.id)
    return [_source(row) for row in rows]


def _source(row: Row) -> Source:
    workspace = Workspace(id=row["workspace_id"], team=row["team"], name=row["name"])
    secrets = tuple(json.loads(database.current().vault.unseal(row["secrets"])))
    return Source(id=row["id"], workspace=workspace, slug=row["slug"], provider=row["provider"], secrets=secrets)


async def check_keys() -> None:
    """Find out at the start, not at the first delivery, whether the keys fit the secrets; raises CannotUnlock."""
    for row in await database.read("SELECT secrets FROM sources ORDER BY id DESC LIMIT 1"):
        database.current().vault.unseal(row["secrets"])
