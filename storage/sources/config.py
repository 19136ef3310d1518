"""Store the configured sources. Their secrets and API tokens are encrypted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from storage.audit import AuditAction, Document, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.errors import AlreadyThere, UnknownSource
from storage.domain.people import Workspace
from storage.domain.sources import DAY, Source, SourceSettings, check_slug
from storage.scoring.definitions import live, lock_exclusively, lock_names
from storage.sources import readback_queue, writeback_queue
from storage.vault import CannotUnlock


async def add_source(
    workspace: Workspace,
    *,
    slug: str,
    provider: str,
    secrets: Sequence[str],
    settings: SourceSettings | None = None,
    api_token: str | None = None,
    by: str,
    now: int,
) -> Source:
    """Create a source and return it.

    Raises BadName for an invalid slug, AlreadyThere for a slug that is in use, NoKeys if the vault has no key.
    """
    sealed = _seal_secrets(secrets, {})
    token = database.current_database().vault.seal(api_token) if api_token else None

    async def body(session: Session) -> None:
        await lock_names(session, workspace)
        check_slug(slug, score_types=tuple((await live(session, {workspace.id}))[workspace.id]))
        inserted = await session.rows(
            "INSERT INTO sources (workspace_id, slug, provider, secrets, settings, created_at, updated_at, api_token)"
            " VALUES ($1, $2, $3, $4, $5, $6, $6, $7) ON CONFLICT DO NOTHING RETURNING id",
            workspace.id,
            slug,
            provider,
            sealed,
            _dump_settings(settings or SourceSettings()),
            now,
            token,
        )
        if not inserted:
            raise AlreadyThere(f"the source `{slug}` already exists; choose another name")
        if settings is not None and settings.write_back:
            await lock_exclusively(session, workspace)
            await writeback_queue.restart_write_backs(session, workspace, slug, forget_written=False, now=now)
        await record_change(
            session, workspace, who=by, what=AuditAction.SOURCE_ADDED, subject=slug,
            before=None, after=await _load_document(session, workspace, slug, has_secrets=True), now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)
    return await find_source(workspace.team, slug=slug)


async def set_source(
    workspace: Workspace,
    *,
    slug: str,
    settings: SourceSettings,
    secrets: Sequence[str] | None = None,
    api_token: str | None = None,
    by: str,
    now: int,
) -> Source:
    """Replace the settings of a source and return the source; raises UnknownSource.

    *secrets* None keeps the current secrets. *api_token* None keeps the current token, and a blank deletes it. A new
    token queues a read-back for every contact of the source that has no address. Scores that differ from what was last
    written to the source are written, also if writing was paused.
    """
    values: dict[str, object] = {"settings": _dump_settings(settings), "updated_at": now}
    if secrets is not None:
        values["secrets"] = _seal_secrets(secrets, {})
    if api_token is not None:
        values["api_token"] = database.current_database().vault.seal(api_token) if api_token else None

    async def body(session: Session) -> None:
        await lock_exclusively(session, workspace)
        before = await _load_document(session, workspace, slug, has_secrets=True)
        await session.update(models.Source.filter(workspace_id=workspace.id, slug=slug), **values)
        await record_change(
            session, workspace, who=by, what=AuditAction.SOURCE_CHANGED, subject=slug,
            before=before, after=await _load_document(session, workspace, slug, has_secrets=True), now=now,
        )  # fmt: skip  # who and what, then the states
        if api_token:
            await readback_queue.restart_readback(session, workspace.id, slug, now=now)
        written_before = before["settings"].get("write_back", {})
        if settings.write_back or written_before:
            is_elsewhere = settings.write_back != written_before or settings.api_url != before["settings"].get(
                "api_url"
            )
            await writeback_queue.restart_write_backs(session, workspace, slug, forget_written=is_elsewhere, now=now)

    await database.write(body)
    return await find_source(workspace.team, slug=slug)


async def rotate_source(workspace: Workspace, *, slug: str, secret: str, by: str, now: int) -> Source:
    """Replace the secret of a source and return the source; raises UnknownSource.

    The previous secrets are accepted for one more day. A secret that was already retiring keeps its deadline.
    """

    async def body(session: Session) -> None:
        rows = await session.rows(
            "SELECT secrets FROM sources WHERE workspace_id = $1 AND slug = $2 FOR NO KEY UPDATE", workspace.id, slug
        )
        if not rows:
            raise _make_unknown_error(slug, workspace.team)
        current, retiring = _unseal_secrets(rows[0]["secrets"])
        remaining = [old for old in current if old != secret and retiring.get(old, now) >= now]
        retire_at = {old: retiring.get(old, now + DAY) for old in remaining}
        sealed = _seal_secrets([secret, *remaining], retire_at)
        source = models.Source.filter(workspace_id=workspace.id, slug=slug)
        await session.update(source, secrets=sealed, updated_at=now)
        await record_change(
            session, workspace, who=by, what=AuditAction.SOURCE_ROTATED, subject=slug,
            before={"secrets": len(current)}, after={"secrets": 1 + len(remaining)}, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)
    return await find_source(workspace.team, slug=slug)


async def remove_source(workspace: Workspace, *, slug: str, by: str, now: int) -> None:
    """Delete a source with its deliveries; raises UnknownSource. Changes that its deliveries made to contacts stay."""

    async def body(session: Session) -> None:
        await lock_exclusively(session, workspace)
        rows = await session.load(models.Source.filter(workspace_id=workspace.id, slug=slug), "id")
        if not rows:
            raise _make_unknown_error(slug, workspace.team)
        id = rows[0]["id"]
        await session.delete(models.WriteBack.filter(source_id=id))
        in_source = "delivery_id IN (SELECT id FROM deliveries WHERE source_id = $1)"
        await session.rows(f"DELETE FROM quarantine WHERE {in_source}", id)
        await session.rows(f"DELETE FROM raw_deliveries WHERE {in_source}", id)
        await session.delete(models.Delivery.filter(source_id=id))
        await session.delete(models.Refusal.filter(source_id=id))
        await readback_queue.stop_readback(session, workspace.id, slug)
        await writeback_queue.delete_queue(session, workspace, slug)
        before = await _load_document(session, workspace, slug)
        await session.delete(models.Source.filter(id=id))
        await writeback_queue.save_writing_sources(session, workspace)
        await record_change(
            session, workspace, who=by, what=AuditAction.SOURCE_REMOVED, subject=slug,
            before=before, after=None, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def link_templates(workspace: Workspace) -> dict[str, str]:
    """Return the templates of links to contacts in a CRM, by the slug of their source. `{id}` stands for the id."""
    rows = await database.load(models.Source.filter(workspace_id=workspace.id), "slug", "settings")
    links = {row["slug"]: json.loads(row["settings"]).get("link") for row in rows}
    return {slug: link for slug, link in links.items() if link}


async def _load_document(session: Session, workspace: Workspace, slug: str, *, has_secrets: bool = False) -> Document:
    """Return a source for the record of changes, and lock it; with *has_secrets* also the number of its secrets.

    The number is None if the vault lacks their key. Raises UnknownSource.
    """
    rows = await session.rows(
        "SELECT provider, settings, secrets, api_token IS NOT NULL AS api_token FROM sources"
        " WHERE workspace_id = $1 AND slug = $2 FOR NO KEY UPDATE",
        workspace.id,
        slug,
    )
    if not rows:
        raise _make_unknown_error(slug, workspace.team)
    row = rows[0]
    document = {
        "provider": row["provider"],
        "settings": json.loads(row["settings"]),
        "api_token": bool(row["api_token"]),
    }
    if not has_secrets:
        return document
    unsealed = _try_unseal(row["secrets"])
    return document | {"secrets": None if unsealed is None else len(unsealed[0])}


_SELECT_SOURCE = (
    "SELECT w.id AS workspace_id, w.team, w.name, s.id, s.slug, s.provider, s.secrets, s.settings,"
    " s.api_token IS NOT NULL AS reads, t.key, v.version"
    " FROM sources s JOIN workspaces w ON w.id = s.workspace_id"
    " LEFT JOIN config_versions v ON v.workspace_id = w.id"
    " LEFT JOIN score_types t ON t.workspace_id = w.id AND t.live > 0"
)


async def find_source(team: str, *, slug: str) -> Source:
    """Return a source by its slug, in the workspace of a Slack team; raises UnknownSource."""
    is_valid = "\0" not in team + slug  # neither a team nor a slug has a NUL, and PostgreSQL rejects a text with one
    rows = (
        await database.read(f"{_SELECT_SOURCE} WHERE w.team = $1 AND s.slug = $2 ORDER BY t.id", team, slug)
        if is_valid
        else []
    )
    if not rows:
        raise _make_unknown_error(slug, team)
    return _make_source(rows)


async def sources(workspace: Workspace) -> list[Source]:
    """Return the sources of a workspace, sorted by slug."""
    rows = await database.read(f"{_SELECT_SOURCE} WHERE w.id = $1 ORDER BY s.slug, t.id", workspace.id)
    by_id: dict[int, list[Row]] = {}
    for row in rows:
        by_id.setdefault(row["id"], []).append(row)
    return [_make_source(source_rows) for source_rows in by_id.values()]


def _make_source(rows: Sequence[Row]) -> Source:
    """Return the source that *rows* describe; there is one row for each score type of its workspace."""
    row = rows[0]
    unsealed = _try_unseal(row["secrets"])
    secrets, retiring = unsealed or ([], {})
    return Source(
        id=row["id"],
        workspace=Workspace(id=row["workspace_id"], team=row["team"], name=row["name"]),
        slug=row["slug"],
        provider=row["provider"],
        secrets=tuple(secrets),
        retiring=retiring,
        settings=SourceSettings(**json.loads(row["settings"])),
        score_types=tuple(source_row["key"] for source_row in rows if source_row["key"] is not None),
        reads=bool(row["reads"]),
        is_locked=unsealed is None,
        version=row["version"],
    )


def _make_unknown_error(slug: str, team: str) -> UnknownSource:
    return UnknownSource(f"there is no source `{slug[:40]}` in {team[:40]}")


def _dump_settings(settings: SourceSettings) -> str:
    return json.dumps(asdict(settings), ensure_ascii=False, sort_keys=True)


def _seal_secrets(secrets: Sequence[str], retiring: Mapping[str, int]) -> str:
    return database.current_database().vault.seal(json.dumps([[secret, retiring.get(secret)] for secret in secrets]))


def _unseal_secrets(sealed: str) -> tuple[list[str], dict[str, int]]:
    pairs: list[tuple[str, int | None]] = json.loads(database.current_database().vault.unseal(sealed))
    return [secret for secret, _ in pairs], {secret: until for secret, until in pairs if until is not None}


def _try_unseal(sealed: str) -> tuple[list[str], dict[str, int]] | None:
    """Return the secrets of a source, or None if the vault lacks their key."""
    try:
        return _unseal_secrets(sealed)
    except CannotUnlock:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSecrets:
    """The secrets of a workspace that need a key that this process does not have."""

    sources: tuple[str, ...]  #: sources with signing secrets that cannot be opened; their deliveries wait
    api_tokens: tuple[str, ...]  #: sources with API tokens that cannot be opened; contacts are not read back
    deletions: bool  #: whether the key of its deleted contacts cannot be opened; then nothing is recorded

    @property
    def is_any(self) -> bool:
        """Whether any secret cannot be opened."""
        return bool(self.sources or self.api_tokens or self.deletions)


async def find_locked_secrets(workspace: Workspace) -> LockedSecrets:
    """Return the secrets of a workspace that cannot be opened."""
    vault = database.current_database().vault
    rows = await database.load(
        models.Source.filter(workspace_id=workspace.id).order_by("slug"), "slug", "secrets", "api_token"
    )
    (deletions,) = await database.load(models.Workspace.filter(id=workspace.id), "tombstone_key")
    return LockedSecrets(
        sources=tuple(row["slug"] for row in rows if not vault.opens(row["secrets"])),
        api_tokens=tuple(row["slug"] for row in rows if not vault.opens(row["api_token"])),
        deletions=not vault.opens(deletions["tombstone_key"]),
    )
