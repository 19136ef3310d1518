"""Store deliveries, their quarantined items, the latest raw requests, and counts of refused requests."""

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tortoise.expressions import F

from storage.audit import AuditAction, Document, audit_entries, record_change
from storage.db import database, models
from storage.db.database import Row, Session
from storage.domain.contacts import replace_broken_text
from storage.domain.errors import UnknownDelivery
from storage.domain.facts import Deletion, ItemRequest
from storage.domain.people import Workspace
from storage.domain.submissions import ItemOutcome, Raw, Status, Submission
from storage.sources.named_contacts import find_names, find_request_names, make_pattern, write_names

RAW_KEPT = 20  #: raw requests for each source, besides those of deliveries with items in quarantine
DAY = 86_400_000_000
KEPT_FOR = 30 * DAY
RETENTION = "retention"  #: the kind of the job that deletes old deliveries
RETENTION_EVERY = 3_600_000_000
BATCH = 500  #: deliveries that one transaction deletes
GONE = "the contact it named was deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An authenticated request, with the number of its items by outcome. *received_at* is in µs UTC."""

    id: int
    source: str
    key: str  #: the delivery's id, from the sender
    received_at: int
    applied: int
    duplicate: int
    ignored: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An item in quarantine. *key* is its dedupe key, *item* its text as sent."""

    position: int
    key: str
    reason: str
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalCount:
    """How many requests of a source were refused, and why the last one was. *last_at* is in µs UTC."""

    source: str
    count: int
    last_at: int
    reason: str
    hint: str


async def save_deliveries(session: Session, records: Sequence[tuple[int, Submission, Sequence[ItemOutcome]]]) -> None:
    """Insert deliveries, their quarantined items and their raw requests.

    A record is (workspace id, submission, outcomes). The caller holds the transaction that records the submissions.
    """
    ids = await database.current_database().next_ids(session, "deliveries", len(records))
    rows: list[Row] = []
    quarantined: list[Row] = []
    raws: list[Row] = []
    for id, (workspace, submission, outcomes) in zip(ids, records, strict=True):
        assert submission.delivered is not None
        counts = {status.value: sum(outcome.status is status for outcome in outcomes) for status in Status}
        common = {"id": id, "workspace": workspace, "source": submission.delivered.source}
        rows.append({**common, "key": submission.delivered.key, "received_at": submission.received_at, **counts})
        quarantined += _make_quarantine_rows(workspace, id, outcomes, submission.items)
        raw = submission.delivered.raw
        # A deletion request names the contact to be erased, so its raw request is not stored.
        if raw is not None and not any(isinstance(item, Deletion) for item in submission.items):
            names = write_names(find_request_names(raw, submission.items))
            is_needed = int(bool(counts[Status.QUARANTINED]))
            raws.append({**common, "is_needed": is_needed, **_make_raw_row(raw), "names": names})
    await session.rows(
        "INSERT INTO deliveries"
        " (id, workspace_id, source_id, delivery_key, received_at, applied, duplicate, ignored, quarantined)"
        " SELECT id, workspace, source, key, received_at, applied, duplicate, ignored, quarantined"
        " FROM given(id bigint, workspace bigint, source bigint, key text, received_at bigint,"
        " applied int, duplicate int, ignored int, quarantined int) ORDER BY id",
        rows,
    )
    await _insert_quarantined(session, quarantined)
    if raws:
        await _insert_raw(session, raws)


def _make_quarantine_rows(
    workspace: int, id: int, outcomes: Sequence[ItemOutcome], items: Sequence[ItemRequest]
) -> list[Row]:
    return [
        {
            "workspace": workspace,
            "delivery": id,
            "position": position,
            "key": item.key,
            "reason": outcome.reason,
            "item": item.raw,
            "names": write_names(find_names(item)),
        }
        for position, (outcome, item) in enumerate(zip(outcomes, items, strict=True))
        if outcome.status is Status.QUARANTINED
    ]


async def _insert_quarantined(session: Session, rows: list[Row]) -> None:
    if rows:
        texts = ("key", "reason", "item")
        rows = [{**row, **{name: replace_broken_text(row[name]) for name in texts}} for row in rows]
        await session.rows(
            "INSERT INTO quarantine (workspace_id, delivery_id, position, dedupe_key, reason, item, names)"
            " SELECT workspace, delivery, position, key, reason, item, names FROM given(workspace bigint,"
            " delivery bigint, position int, key text, reason text, item text, names text)"
            " ORDER BY delivery, position",
            rows,
        )


async def redact_deliveries(session: Session, workspace: int, names: Collection[str]) -> None:
    """Delete the stored requests that name a contact by one of *names*, and empty its items in quarantine.

    Quarantined items of other contacts keep their text, but a request that names both is deleted.
    """
    patterns = [{"pattern": make_pattern(name)} for name in sorted(names)]
    await session.rows(
        "UPDATE quarantine SET item = '', names = '', reason = $3 WHERE id IN (SELECT q.id FROM quarantine q WHERE"
        " q.workspace_id = $2 AND EXISTS (SELECT 1 FROM given(pattern text)"
        " WHERE q.names LIKE given.pattern ESCAPE '!') ORDER BY q.id FOR NO KEY UPDATE)",
        patterns,
        workspace,
        GONE,
    )
    await session.rows(
        "DELETE FROM raw_deliveries WHERE id IN (SELECT r.id FROM raw_deliveries r WHERE r.workspace_id = $2"
        " AND EXISTS (SELECT 1 FROM given(pattern text) WHERE r.names LIKE given.pattern ESCAPE '!')"
        " ORDER BY r.id FOR NO KEY UPDATE OF r)",
        patterns,
        workspace,
    )


async def has_unnamed_deliveries(session: Session, workspace: int) -> bool:
    """Return whether stored requests of an earlier version lack the names of the contacts that they mention."""
    return bool(await session.rows(f"{_UNNAMED} LIMIT 1", workspace))


async def list_unnamed_deliveries(workspace: Workspace, *, limit: int) -> list[int]:
    """Return the ids of deliveries that an earlier version stored without the names of the contacts they mention."""
    rows = await database.read(f"{_UNNAMED} ORDER BY delivery_id LIMIT $2", workspace.id, limit)
    return [row["delivery_id"] for row in rows]


_UNNAMED = (
    "SELECT delivery_id FROM raw_deliveries WHERE workspace_id = $1 AND names IS NULL"
    " UNION SELECT delivery_id FROM quarantine WHERE workspace_id = $1 AND names IS NULL"
)


async def record_names(
    session: Session,
    workspace: Workspace,
    *,
    id: int,
    request_names: set[str] | None,
    item_names: Mapping[int, set[str]],
    deleted: Collection[str],
) -> None:
    """Store the names of the contacts that a delivery and its items in quarantine (by position) mention.

    *deleted* are names of deleted contacts: an item that mentions one is emptied, and the raw request is deleted. The
    raw request is also deleted if *request_names* is None, because the request can no longer be read.
    """
    raw = models.RawDelivery.filter(workspace_id=workspace.id, delivery_id=id)
    if request_names is None or request_names & set(deleted):
        await session.delete(raw)
    else:
        await session.update(raw, names=write_names(request_names))
    for position, names in item_names.items():
        is_gone = bool(names & set(deleted))
        values = {"names": "", "item": "", "reason": GONE} if is_gone else {"names": write_names(names)}
        item = models.Quarantined.filter(workspace_id=workspace.id, delivery_id=id, position=position)
        await session.update(item, **values)


def _make_raw_row(raw: Raw) -> Row:
    headers = json.dumps(dict(raw.headers), ensure_ascii=False)
    return {"method": raw.method, "query": raw.query, "headers": headers, "body": base64.b64encode(raw.body).decode()}


async def _insert_raw(session: Session, rows: list[Row]) -> None:
    """Insert raw requests, and delete those of their sources that are neither needed nor among the latest RAW_KEPT."""
    await session.rows(
        "INSERT INTO raw_deliveries"
        " (workspace_id, source_id, delivery_id, is_needed, method, query, headers, body, names)"
        " SELECT workspace, source, id, is_needed = 1, method, query, headers, body, names"
        " FROM given(workspace bigint, source bigint, id bigint, is_needed int, method text, query text, headers text,"
        " body text, names text) ORDER BY id",
        rows,
    )
    # Skip locked rows: another process is deleting them, and no process should wait for another here.
    await session.rows(
        "DELETE FROM raw_deliveries WHERE id IN (SELECT r.id FROM given(source bigint) JOIN raw_deliveries r"
        " ON r.source_id = given.source AND NOT r.is_needed AND r.delivery_id < (SELECT latest.delivery_id"
        " FROM raw_deliveries latest WHERE latest.source_id = given.source"
        " ORDER BY latest.delivery_id DESC LIMIT 1 OFFSET $2) FOR NO KEY UPDATE OF r SKIP LOCKED)",
        [{"source": source} for source in sorted({row["source"] for row in rows})],
        RAW_KEPT - 1,
    )


async def raw_delivery(workspace: Workspace, *, id: int) -> Raw:
    """Return the raw request of a delivery; raises UnknownDelivery if it is not stored, or no longer."""
    raw = models.RawDelivery.filter(workspace_id=workspace.id, delivery_id=min(id, database.LARGEST_ID))
    rows = await database.load(raw, "method", "query", "headers", "body")
    if not rows:
        raise UnknownDelivery(
            f"the request of delivery {id} is not stored any more: of each source the latest {RAW_KEPT} are,"
            " and those with items in quarantine"
        )
    row = rows[0]
    return Raw(
        method=row["method"],
        query=row["query"],
        headers=json.loads(row["headers"]),
        body=base64.b64decode(row["body"]),
    )


async def load_latest_raw(workspace: Workspace, *, source: str) -> tuple[Delivery, Raw] | None:
    """Return the latest delivery of a source that has a stored raw request, with that request, or None."""
    rows = await database.read(
        "SELECT r.delivery_id FROM raw_deliveries r JOIN sources s ON s.id = r.source_id"
        " WHERE r.workspace_id = $1 AND s.workspace_id = $1 AND s.slug = $2 ORDER BY r.delivery_id DESC LIMIT 1",
        workspace.id,
        source,
    )
    if not rows:
        return None
    id = rows[0]["delivery_id"]
    return (await delivery(workspace, id=id))[0], await raw_delivery(workspace, id=id)


async def settle_replay(
    workspace: Workspace,
    *,
    id: int,
    outcomes: Sequence[ItemOutcome],
    items: Sequence[ItemRequest],
    by: str,
    now: int,
) -> None:
    """Update the counts and the quarantine of a delivery with the outcomes of its replay."""
    counts = {status: sum(outcome.status is status for outcome in outcomes) for status in Status}

    async def body(session: Session) -> None:
        before = await _load_counts(session, workspace, id)
        # An item that was applied the first time is a duplicate in the replay, and is not counted again.
        await session.rows(
            "UPDATE deliveries SET applied = applied + $3, ignored = $5, quarantined = $6, replayed_at = $7,"
            " duplicate = CASE WHEN $4 > applied THEN $4 - applied ELSE 0 END"
            " WHERE workspace_id = $1 AND id = $2",
            workspace.id,
            id,
            counts[Status.APPLIED],
            counts[Status.DUPLICATE],
            counts[Status.IGNORED],
            counts[Status.QUARANTINED],
            now,
        )
        await session.delete(models.Quarantined.filter(workspace_id=workspace.id, delivery_id=id))
        await _insert_quarantined(session, _make_quarantine_rows(workspace.id, id, outcomes, items))
        await record_change(
            session, workspace, who=by, what=AuditAction.DELIVERY_REPLAYED, subject=f"delivery {id}",
            before=before, after=await _load_counts(session, workspace, id), now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def discard_items(
    workspace: Workspace, *, id: int, positions: Collection[int] | None = None, by: str, now: int
) -> int:
    """Discard items of a delivery that are in quarantine, all of them or those at *positions*. Return their number.

    They count as ignored from then on, also if the delivery is replayed: the record of changes names them. Raises
    UnknownDelivery if there is no such delivery, or no such item.
    """
    _, items = await delivery(workspace, id=id)
    chosen = [item.position for item in items if positions is None or item.position in positions]
    if missing := sorted(set(positions or ()) - set(chosen)):
        raise UnknownDelivery(f"delivery {id} has no item {missing[0]} in quarantine")

    async def body(session: Session) -> int:
        before = await _load_counts(session, workspace, id)
        discarded = await session.rows(
            "DELETE FROM quarantine WHERE workspace_id = $2 AND delivery_id = $3"
            " AND position IN (SELECT position FROM given(position bigint)) RETURNING position, dedupe_key",
            [{"position": position} for position in chosen],
            workspace.id,
            id,
        )
        if not discarded:
            return 0
        await session.update(
            models.Delivery.filter(workspace_id=workspace.id, id=id),
            quarantined=F("quarantined") - len(discarded),
            ignored=F("ignored") + len(discarded),
        )
        await session.rows(
            "UPDATE raw_deliveries SET is_needed = false WHERE delivery_id = $2 AND workspace_id = $1"
            " AND NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.delivery_id = $2)",
            workspace.id,
            id,
        )
        marks = sorted(mark_item(row["position"], row["dedupe_key"]) for row in discarded)
        counts = await _load_counts(session, workspace, id)
        await record_change(
            session, workspace, who=by, what=AuditAction.ITEMS_DISCARDED, subject=f"delivery {id}",
            before=before, after=None if counts is None else {**counts, "discarded": marks}, now=now,
        )  # fmt: skip  # who and what, then the states
        return len(discarded)

    return await database.write(body)


def mark_item(position: int, key: str) -> str:
    """Return the mark of a discarded item: its index in the delivery, and a hash of its dedupe key."""
    return f"{position}:{hashlib.sha256(replace_broken_text(key).encode()).hexdigest()[:32]}"


async def discarded_items(workspace: Workspace, *, id: int) -> frozenset[str]:
    """Return the marks of the items of a delivery that were discarded."""
    entries = await audit_entries(workspace, what=AuditAction.ITEMS_DISCARDED, subject=f"delivery {id}")
    return frozenset(mark for entry in entries for mark in (entry.after or {}).get("discarded", ()))


async def _load_counts(session: Session, workspace: Workspace, id: int) -> Document | None:
    """Return the number of items of a delivery by outcome, and lock it; None if it was deleted meanwhile."""
    rows = await session.rows(
        "SELECT applied, duplicate, ignored, quarantined FROM deliveries WHERE workspace_id = $1 AND id = $2"
        " FOR NO KEY UPDATE",
        workspace.id,
        id,
    )
    return rows[0] if rows else None


async def delete_old_deliveries(workspace: Workspace, *, now: int) -> None:
    """Delete the deliveries that are older than KEPT_FOR, in batches. Changes that they made to contacts stay."""

    async def delete_batch(session: Session) -> bool:
        old = models.Delivery.filter(workspace_id=workspace.id, received_at__lt=now - KEPT_FOR)
        rows = await session.load(old.order_by("received_at").limit(BATCH), "id")
        for table, column in (("quarantine", "delivery_id"), ("raw_deliveries", "delivery_id"), ("deliveries", "id")):
            await session.rows(
                f"DELETE FROM {table} WHERE workspace_id = $2 AND {column} IN (SELECT id FROM given(id bigint))",
                rows,
                workspace.id,
            )
        return len(rows) == BATCH

    while await database.write(delete_batch):
        continue


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentCounts:
    """The items that a source delivered in the last day, by outcome, and the time of its last delivery in µs UTC."""

    deliveries: int
    applied: int
    duplicate: int
    ignored: int
    quarantined: int
    last_at: int | None


async def count_recent(workspace: Workspace, *, source: int, now: int) -> RecentCounts:
    """Return the counts of a source for the last day. *source* is its row id."""
    (row,) = await database.read(
        "SELECT count(*) AS deliveries, coalesce(sum(applied), 0) AS applied, coalesce(sum(duplicate), 0) AS duplicate,"
        " coalesce(sum(ignored), 0) AS ignored, coalesce(sum(quarantined), 0) AS quarantined,"
        " (SELECT max(received_at) FROM deliveries WHERE workspace_id = $1 AND source_id = $2) AS last_at"
        " FROM deliveries WHERE workspace_id = $1 AND source_id = $2 AND received_at > $3",
        workspace.id,
        source,
        now - DAY,
    )
    return RecentCounts(**row)


async def deliveries(workspace: Workspace, *, source: str | None, most: int) -> list[Delivery]:
    """Return up to *most* of the latest deliveries, newest first. *source* None returns those of every source."""
    rows = await database.read(
        f"SELECT {_COLUMNS} FROM deliveries d JOIN sources s ON s.id = d.source_id"
        " WHERE d.workspace_id = $1 AND ($2 = '' OR s.slug = $2) ORDER BY d.id DESC LIMIT $3",
        workspace.id,
        source or "",
        most,
    )
    return [Delivery(**row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedItem:
    """An item in quarantine, with its delivery's id, its index there, and the time of receipt in µs UTC."""

    delivery: int
    position: int
    received_at: int
    reason: str
    item: str


async def count_quarantined(workspace: Workspace) -> dict[str, int]:
    """Return the number of items in quarantine by source slug, for sources that have any."""
    rows = await database.read(
        "SELECT s.slug, count(*) AS count FROM quarantine q JOIN deliveries d ON d.id = q.delivery_id"
        " JOIN sources s ON s.id = d.source_id WHERE q.workspace_id = $1 GROUP BY s.slug",
        workspace.id,
    )
    return {row["slug"]: row["count"] for row in rows}


async def count_quarantined_up_to(workspace: Workspace, *, most: int) -> int:
    """Return the number of items in quarantine, at most *most*."""
    return len(await database.load(models.Quarantined.filter(workspace_id=workspace.id).limit(most), "id"))


async def list_quarantined_items(workspace: Workspace, *, source: str, most: int) -> list[QuarantinedItem]:
    """Return up to *most* items of a source in quarantine, those of the latest delivery first."""
    rows = await database.read(
        "SELECT d.id AS delivery, q.position, d.received_at, q.reason, q.item FROM quarantine q"
        " JOIN deliveries d ON d.id = q.delivery_id JOIN sources s ON s.id = d.source_id"
        " WHERE q.workspace_id = $1 AND s.slug = $2 ORDER BY d.id DESC, q.position LIMIT $3",
        workspace.id,
        source,
        most,
    )
    return [QuarantinedItem(**row) for row in rows]


async def list_quarantined_deliveries(workspace: Workspace, *, source: str, after: int, most: int) -> list[int]:
    """Return the ids of a source's deliveries that have items in quarantine, oldest first, above the id *after*."""
    rows = await database.read(
        "SELECT DISTINCT d.id FROM quarantine q JOIN deliveries d ON d.id = q.delivery_id"
        " JOIN sources s ON s.id = d.source_id WHERE q.workspace_id = $1 AND s.slug = $2 AND d.id > $3"
        " ORDER BY d.id LIMIT $4",
        workspace.id,
        source,
        min(after, database.LARGEST_ID),
        most,
    )
    return [row["id"] for row in rows]


async def delivery(workspace: Workspace, *, id: int) -> tuple[Delivery, list[SetAside]]:
    """Return a delivery and its items in quarantine; raises UnknownDelivery."""
    rows = await database.read(
        f"SELECT {_COLUMNS} FROM deliveries d JOIN sources s ON s.id = d.source_id"
        " WHERE d.workspace_id = $1 AND d.id = $2",
        workspace.id,
        min(id, database.LARGEST_ID),
    )
    if not rows or id > database.LARGEST_ID:
        raise UnknownDelivery(f"there is no delivery {id}; `contact-score deliveries list` names the latest")
    quarantined = models.Quarantined.filter(delivery_id=id).order_by("position")
    aside = await database.load(quarantined, "position", "dedupe_key", "reason", "item")
    return Delivery(**rows[0]), [SetAside(key=row.pop("dedupe_key"), **row) for row in aside]


_COLUMNS = (
    "d.id, s.slug AS source, d.delivery_key AS key, d.received_at, d.applied, d.duplicate, d.ignored, d.quarantined"
)


async def count_refusal(workspace: Workspace, *, source: int, reason: str, hint: str, now: int) -> None:
    """Count a refused request. Its body is not stored, because the request is not authenticated."""
    await database.change(
        "INSERT INTO refusals (source_id, count, in_a_row, last_at, reason, hint)"
        " SELECT s.id, 1, 1, $3, $4, $5 FROM sources s WHERE s.id = $2 AND s.workspace_id = $1"
        " ON CONFLICT (source_id) DO UPDATE SET count = refusals.count + 1,"
        " in_a_row = CASE WHEN EXISTS (SELECT 1 FROM deliveries d WHERE d.source_id = refusals.source_id"
        " AND d.received_at >= refusals.last_at) THEN 1 ELSE refusals.in_a_row + 1 END,"
        " last_at = excluded.last_at, reason = excluded.reason, hint = excluded.hint",
        workspace.id,
        source,
        now,
        reason,
        hint,
    )


async def list_refusals(workspace: Workspace) -> list[RefusalCount]:
    """Return the counts of refused requests, sorted by source slug."""
    rows = await database.read(
        "SELECT s.slug AS source, r.count, r.last_at, r.reason, r.hint FROM refusals r"
        " JOIN sources s ON s.id = r.source_id WHERE s.workspace_id = $1 ORDER BY s.slug",
        workspace.id,
    )
    return [RefusalCount(**row) for row in rows]
