"""Store the subscriptions: the addresses that events are sent to. Their secrets are encrypted."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from tortoise.queryset import QuerySet

from storage.audit import AuditAction, Document, record_change
from storage.db import database, models
from storage.db.database import LARGEST_ID, Row, Session
from storage.domain.errors import BadAddress, BadName, StorageUnavailable, UnknownSegment, UnknownSubscription
from storage.domain.events import IMPORT, SEGMENT_EVENTS, EventType
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.events.outbox import FOREVER, KEPT_FOR, keep_events
from storage.events.segment_events import store_members
from storage.vault import CannotUnlock, NoKeys

LONGEST_URL = 2000
SYSTEM = "system"  #: who, in the record of changes, if this app disabled a subscription by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """An address that events are sent to. Times in µs UTC."""

    id: int
    url: str
    secrets: tuple[str, ...]  #: every request is signed with each of them, newest first; blank in a list
    events: tuple[str, ...]  #: the types of events that it gets
    segments: tuple[str, ...]  #: the segments that it gets `segment.entered` and `segment.left` of
    imports: bool  #: whether it gets the events that the import of a file produced
    failing_since: int | None  #: the first failure since the last success
    paused_until: int  #: the receiver asked for a pause
    disabled_at: int | None
    problem: str | None  #: why the latest attempt failed
    created_at: int

    def wants(self, *, type: str, cause: str | None, data: Mapping[str, object]) -> bool:
        """Return whether the subscription gets an event."""
        if type not in self.events or (cause == IMPORT and not self.imports):
            return False
        return type not in SEGMENT_EVENTS or data.get("segment") in self.segments


async def add_subscription(
    workspace: Workspace,
    *,
    url: str,
    events: Collection[str],
    segments: Collection[str] = (),
    imports: bool = False,
    secret: str,
    by: str,
    now: int,
) -> Subscription:
    """Create a subscription and return it. *segments* add the events of these segments to *events*.

    Without either it gets every type of event that needs no segment. Raises BadAddress, BadName for an invalid event,
    UnknownSegment for a segment that does not exist, NoKeys if the vault has no key.
    """
    _check_url(url)
    chosen = _choose_events(events, segments)
    sealed = _seal_secrets({secret: None})

    async def body(session: Session) -> int:
        await _check_segments(session, workspace, segments)
        watched = await _load_watched(session, workspace)
        rows = await session.rows(
            "INSERT INTO subscriptions (workspace_id, url, secrets, events, segments, imports, paused_until,"
            " created_at) VALUES ($1, $2, $3, $4, $5, $6, 0, $7) RETURNING id",
            workspace.id,
            url,
            sealed,
            json.dumps(chosen),
            json.dumps(sorted(segments)),
            imports,
            now,
        )
        id = int(rows[0]["id"])
        await store_members(session, workspace, set(segments) - watched, now=now)
        await _update_keeping(session, workspace, now=now)
        document = {"url": url, "events": chosen, "segments": sorted(segments), "imports": imports}
        await record_subscription_change(
            session, workspace, AuditAction.SUBSCRIPTION_ADDED, id, None, document, by=by, now=now
        )
        return id

    return await find_with_secrets(workspace, id=await database.write(body), now=now)


async def change_subscription(
    workspace: Workspace,
    *,
    id: int,
    url: str | None = None,
    events: Collection[str] | None = None,
    segments: Collection[str] | None = None,
    imports: bool | None = None,
    by: str,
    now: int,
) -> Subscription:
    """Change a subscription and return it without its secrets; None keeps a setting.

    Raises UnknownSubscription, and what `add_subscription` raises. Events that wait are still sent, to the new address.
    """
    if url is not None:
        _check_url(url)

    async def body(session: Session) -> Subscription:
        row = await _lock(session, workspace, id)
        before = _describe(row)
        chosen_segments = sorted(before["segments"] if segments is None else set(segments))
        await _check_segments(session, workspace, [] if segments is None else segments)
        wanted = events
        if wanted is None:
            wanted = [type for type in before["events"] if chosen_segments or type not in SEGMENT_EVENTS]
            if not wanted:
                raise BadName("without segments it would get no events: name its events too, or remove it")
        after = {
            "url": before["url"] if url is None else url,
            "events": _choose_events(wanted, chosen_segments),
            "segments": chosen_segments,
            "imports": before["imports"] if imports is None else imports,
        }
        if after != before:
            unwatched = set(chosen_segments) - await _load_watched(session, workspace)
            values = after | {"events": json.dumps(after["events"]), "segments": json.dumps(after["segments"])}
            if after["url"] != before["url"]:
                values |= {"failing_since": None, "problem": None, "paused_until": 0}
            await session.update(models.Subscription.filter(id=row["id"]), **values)
            if row["disabled_at"] is None:
                await store_members(session, workspace, unwatched, now=now)
            await _update_keeping(session, workspace, now=now)
            await record_subscription_change(
                session, workspace, AuditAction.SUBSCRIPTION_CHANGED, row["id"], before, after, by=by, now=now
            )
        return _make_subscription(await _lock(session, workspace, id))

    return await database.write(body)


async def rotate_subscription(workspace: Workspace, *, id: int, secret: str, by: str, now: int) -> Subscription:
    """Replace the secret of a subscription and return the subscription. Raises UnknownSubscription.

    Requests are signed with the previous secret as well for one more day.
    """

    async def body(session: Session) -> None:
        row = await _lock(session, workspace, id)
        current = _unseal_secrets(row["secrets"])
        remaining = {
            old: now + DAY if retires_at is None else retires_at
            for old, retires_at in current.items()
            if old != secret and (retires_at is None or retires_at > now)
        }
        sealed = _seal_secrets({secret: None, **remaining})
        await session.update(models.Subscription.filter(id=row["id"]), secrets=sealed)
        counts: list[Document] = [{"secrets": len(current)}, {"secrets": 1 + len(remaining)}]
        await record_subscription_change(
            session, workspace, AuditAction.SUBSCRIPTION_ROTATED, row["id"], *counts, by=by, now=now
        )

    await database.write(body)
    return await find_with_secrets(workspace, id=id, now=now)


async def remove_subscription(workspace: Workspace, *, id: int, by: str, now: int) -> None:
    """Delete a subscription with its deliveries. Raises UnknownSubscription."""

    async def body(session: Session) -> None:
        row = await _lock(session, workspace, id)
        await session.delete(models.EventDelivery.filter(subscription_id=row["id"]))
        await session.delete(models.Subscription.filter(id=row["id"]))
        await _update_keeping(session, workspace, now=now)
        await record_subscription_change(
            session, workspace, AuditAction.SUBSCRIPTION_REMOVED, row["id"], _describe(row), None, by=by, now=now
        )

    await database.write(body)


async def disable(session: Session, workspace: Workspace, *, id: int, because: str, now: int) -> bool:
    """Stop sending to a subscription, in a transaction of the caller. Return False if it was disabled already."""
    disabled = await session.rows(
        "UPDATE subscriptions SET disabled_at = $2, problem = $3 WHERE id = $1 AND disabled_at IS NULL RETURNING id",
        id,
        now,
        because,
    )
    if disabled:
        await _update_keeping(session, workspace, now=now)
        after = {"because": because}
        await record_subscription_change(
            session, workspace, AuditAction.SUBSCRIPTION_DISABLED, id, None, after, by=SYSTEM, now=now
        )
    return bool(disabled)


async def resume(session: Session, workspace: Workspace, *, id: int, now: int) -> str | None:
    """Send to a subscription again, in a transaction of the caller. Return why it was disabled; None: it was not.

    Raises UnknownSubscription.
    """
    row = await _lock(session, workspace, id)
    if row["disabled_at"] is None:
        return None
    unwatched = set(json.loads(row["segments"])) - await _load_watched(session, workspace)
    await store_members(session, workspace, unwatched, now=now)
    disabled = models.Subscription.filter(id=row["id"])
    await session.update(disabled, disabled_at=None, failing_since=None, paused_until=0)
    await _update_keeping(session, workspace, now=now)
    return str(row["problem"])


async def find_subscription(workspace: Workspace, *, id: int) -> Subscription:
    """Return a subscription without its secrets. Raises UnknownSubscription."""
    return _make_subscription(await _load_row(workspace, id))


async def find_with_secrets(workspace: Workspace, *, id: int, now: int) -> Subscription:
    """Return a subscription with the secrets that are valid *now*.

    Raises UnknownSubscription, or StorageUnavailable if the vault lacks their key.
    """
    row = await _load_row(workspace, id)
    try:
        secrets = _unseal_secrets(row["secrets"])
    except (CannotUnlock, NoKeys) as exc:
        raise StorageUnavailable(str(exc)) from exc
    valid = tuple(secret for secret, retires_at in secrets.items() if retires_at is None or retires_at > now)
    return replace(_make_subscription(row), secrets=valid)


async def _load_row(workspace: Workspace, id: int) -> Row:
    rows = await database.read(
        "SELECT * FROM subscriptions WHERE workspace_id = $1 AND id = $2", workspace.id, min(id, LARGEST_ID)
    )
    if not rows:
        raise _make_unknown_error(id)
    return rows[0]


async def subscriptions(workspace: Workspace) -> list[Subscription]:
    """Return the subscriptions of a workspace without their secrets, oldest first."""
    return await load_subscriptions(database.current_database().reader, workspace)


async def load_subscriptions(session: Session, workspace: Workspace) -> list[Subscription]:
    """Return the subscriptions of a workspace without their secrets, oldest first, as the session sees them."""
    rows = await session.rows("SELECT * FROM subscriptions WHERE workspace_id = $1 ORDER BY id", workspace.id)
    return [_make_subscription(row) for row in rows]


async def _update_keeping(session: Session, workspace: Workspace, *, now: int) -> None:
    """Store until when events are written, and whether segments are watched, after a change of subscriptions."""
    watched = await _load_watched(session, workspace)
    await session.update(models.Workspace.filter(id=workspace.id), watches_segments=bool(watched))
    if await session.load(_filter_enabled(workspace).limit(1), "id"):
        await keep_events(session, workspace.id, until=FOREVER)
    else:  # the feed may still be read
        await session.rows(
            "UPDATE workspaces SET events_kept_until = least(events_kept_until, CAST($2 AS BIGINT)) WHERE id = $1",
            workspace.id,
            now + KEPT_FOR,
        )


async def watched_segments(workspace: Workspace) -> set[str]:
    """Return the names of the segments that a subscription gets events of."""
    return await _load_watched(database.current_database().reader, workspace)


async def _load_watched(session: Session, workspace: Workspace) -> set[str]:
    rows = await session.load(_filter_enabled(workspace), "segments")
    return {name for row in rows for name in json.loads(row["segments"])}


def _filter_enabled(workspace: Workspace) -> QuerySet[models.Subscription]:
    return models.Subscription.filter(workspace_id=workspace.id, disabled_at__isnull=True)


async def _lock(session: Session, workspace: Workspace, id: int) -> Row:
    rows = await session.rows(
        "SELECT * FROM subscriptions WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE",
        workspace.id,
        min(id, LARGEST_ID),
    )
    if not rows:
        raise _make_unknown_error(id)
    return rows[0]


async def record_subscription_change(
    session: Session,
    workspace: Workspace,
    what: AuditAction,
    id: int,
    before: Document | None,
    after: Document | None,
    *,
    by: str,
    now: int,
) -> None:
    """Record a change of a subscription, in the transaction that makes it."""
    await record_change(session, workspace, who=by, what=what, subject=str(id), before=before, after=after, now=now)


async def _check_segments(session: Session, workspace: Workspace, segments: Collection[str]) -> None:
    """Raise UnknownSegment if a segment does not exist."""
    if not segments:
        return
    # The rows are locked, so that nobody deletes a segment before the subscription to it is stored.
    rows = await session.rows(
        "SELECT name FROM segments WHERE workspace_id = $1 ORDER BY name FOR NO KEY UPDATE", workspace.id
    )
    if missing := sorted(set(segments) - {row["name"] for row in rows}):
        raise UnknownSegment(f"there is no segment `{missing[0][:40]}`; save it first: /score segment save")


def _check_url(url: str) -> None:
    """Raise BadAddress unless *url* is an address that events can be sent to."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid or not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST_URL:
        raise BadAddress("give the address that receives events, like https://example.com/hook")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("an address with a password in it would be shown in lists: leave the password out")


def _choose_events(events: Collection[str], segments: Collection[str]) -> list[str]:
    known = [type.value for type in EventType]
    if unknown := sorted(set(events) - set(known)):
        raise BadName(f"there is no event `{unknown[0][:40]}`; existing: {', '.join(known)}")
    if not segments and set(events) & set(SEGMENT_EVENTS):
        raise BadName("`segment.entered` and `segment.left` need the names of segments, such as hot")
    wanted = set(events)
    if segments and not wanted & set(SEGMENT_EVENTS):
        wanted |= set(SEGMENT_EVENTS)
    if not wanted:
        wanted = set(known) - set(SEGMENT_EVENTS)
    return [type for type in known if type in wanted]


def _describe(row: Row) -> Document:
    return {
        "url": row["url"],
        "events": json.loads(row["events"]),
        "segments": json.loads(row["segments"]),
        "imports": bool(row["imports"]),
    }


def _make_subscription(row: Row) -> Subscription:
    names = ("id", "url", "failing_since", "paused_until", "disabled_at", "problem", "created_at")
    return Subscription(
        **{name: row[name] for name in names},
        secrets=(),
        events=tuple(json.loads(row["events"])),
        segments=tuple(json.loads(row["segments"])),
        imports=bool(row["imports"]),
    )


def _make_unknown_error(id: int) -> UnknownSubscription:
    return UnknownSubscription(f"there is no subscription {id}; `contact-score subscription list` lists them")


def _seal_secrets(secrets: Mapping[str, int | None]) -> str:
    return database.current_database().vault.seal(json.dumps(list(secrets.items())))


def _unseal_secrets(sealed: str) -> dict[str, int | None]:
    """Return the secrets, newest first, each with the time at which it retires; None: it does not."""
    pairs: Sequence[tuple[str, int | None]] = json.loads(database.current_database().vault.unseal(sealed))
    return dict(pairs)
