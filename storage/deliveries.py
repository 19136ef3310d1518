"""Keep what sources delivered, what of it could not be used, and what was refused."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage import database
from storage.database import Row, Session
from storage.domain.errors import UnknownDelivery
from storage.domain.people import Workspace
from storage.domain.submissions import Outcome, Status, Submission


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One authentic request, counted by what became of its items."""

    id: int
    source: str
    key: str  #: the sender's id of it
    received_at: int
    applied: int
    duplicate: int
    ignored: int
    quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An item in quarantine."""

    position: int
    key: str
    reason: str
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """How many requests of a source were refused, and why the last one was."""

    source: str
    count: int
    last_at: int
    reason: str
    hint: str


async def keep(
    session: Session, kept: Sequence[tuple[Submission, Sequence[Outcome], Sequence[tuple[str, str]]]]
) -> None:
    """Write deliveries and their unusable items, each with its (key, raw text), in the transaction of their scores."""
    ids = await database.current().next_ids(session, "deliveries", len(kept))
    rows: list[Row] = []
    aside: list[Row] = []
    for id, (submission, outcomes, raws) in zip(ids, kept, strict=True):
        assert submission.delivered is not None
        counts = {status.value: sum(one.status is status for one in outcomes) for status in Status}
        common = {"id": id, "w": submission.workspace.id, "s": submission.delivered.source}
        rows.append({**common, "k": submission.delivered.key, "t": submission.received_at, **counts})
        for position, (outcome, (key, raw)) in enumerate(zip(outcomes, raws, strict=True)):
            if outcome.status is Status.QUARANTINED:
                row = {"w": submission.workspace.id, "d": id, "p": position, "k": key}
                aside.append({**row, "r": outcome.reason, "i": raw})
    await session.rows(
        "INSERT INTO deliveries"
        " (id, workspace_id, source_id, delivery_key, received_at, applied, duplicate, ignored, quarantined)"
        " SELECT id, w, s, k, t, applied, duplicate, ignored, quarantined FROM given(id bigint, w bigint, s bigint,"
        " k text, t bigint, applied int, duplicate int, ignored int, quarantined int) ORDER BY id",
        rows,
    )
    if aside:
        await session.rows(
            "INSERT INTO quarantine (workspace_id, delivery_id, position, dedupe_key, reason, item)"
            " SELECT w, d, p, k, r, i FROM given(w bigint, d bigint, p int, k text, r text, i text) ORDER BY d, p",
            aside,
        )


async def deliveries(workspace: Workspace, *, source: str | None, most: int) -> list[Delivery]:
    """Give the latest deliveries, newest first."""
    rows = await database.read(
        f"SELECT {_COLUMNS} FROM deliveries d JOIN sources s ON s.id = d.source_id"
        " WHERE d.workspace_id = $1 AND ($2 = '' OR s.slug = $2) ORDER BY d.id DESC LIMIT $3",
        workspace.id,
        source or "",
        most,
    )
    return [Delivery(**row) for row in rows]


async def delivery(workspace: Workspace, *, id: int) -> tuple[Delivery, list[SetAside]]:
    """Give one delivery with the items set aside from it; raises UnknownDelivery."""
    rows = await database.read(
        f"SELECT {_COLUMNS} FROM deliveries d JOIN sources s ON s.id = d.source_id"
        " WHERE d.workspace_id = $1 AND d.id = $2",
        workspace.id,
        min(id, database.LARGEST_ID),
    )
    if not rows or id > database.LARGEST_ID:
        raise UnknownDelivery(f"there is no delivery {id}; `contact-score deliveries list` names the latest")
    aside = await database.read(
        "SELECT position, dedupe_key AS key, reason, item FROM quarantine WHERE delivery_id = $1 ORDER BY position", id
    )
    return Delivery(**rows[0]), [SetAside(**row) for row in aside]


_COLUMNS = (
    "d.id, s.slug AS source, d.delivery_key AS key, d.received_at, d.applied, d.duplicate, d.ignored, d.quarantined"
)


async def count_refusal(workspace: Workspace, *, source: int, reason: str, hint: str, now: int) -> None:
    """Count a request that was refused; nothing of its body is kept, since nobody vouches for it."""
    await database.current().writer.rows(
        "INSERT INTO refusals (source_id, count, last_at, reason, hint)"
        " SELECT s.id, 1, $3, $4, $5 FROM sources s WHERE s.id = $2 AND s.workspace_id = $1"
        " ON CONFLICT (source_id) DO UPDATE SET count = refusals.count + 1,"
        " last_at = excluded.last_at, reason = excluded.reason, hint = excluded.hint",
        workspace.id,
        source,
        now,
        reason,
        hint,
    )


async def refused(workspace: Workspace) -> list[Refused]:
    """Give what was refused, source by source."""
    rows = await database.read(
        "SELECT s.slug AS source, r.count, r.last_at, r.reason, r.hint FROM refusals r"
        " JOIN sources s ON s.id = r.source_id WHERE s.workspace_id = $1 ORDER BY s.slug",
        workspace.id,
    )
    return [Refused(**row) for row in rows]
