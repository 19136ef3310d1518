"""Load how a score developed: its history, its explanation and its timeline."""

import base64
import json
from dataclasses import dataclass

from storage.db import database
from storage.db.database import Row
from storage.domain.decay import shown
from storage.domain.errors import BadCursor
from storage.domain.explain import Explanation, explain
from storage.domain.facts import Deed, FieldOrder, Op
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.timeline import Point, TimelineMove, TimelinePoint, biggest_moves, points
from storage.ledger import contacts, facts
from storage.ledger.batches import load_undone_batches
from storage.ledger.projection import NEWEST_FIRST
from storage.scoring import definitions


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """An entry of a score's history. *value* is the score after it; None if that is missing or the entry is undone.

    *before* is the score just before it, None if it was missing then.
    """

    occurred_at: int
    op: Op | Deed
    amount: int  #: the requested points or value, before caps and the range, in thousandths
    effective: int | None
    before: int | None
    value: int | None
    source: str
    actor: str | None
    reason: str | None
    undone: bool
    activity: str | None
    order: FieldOrder  #: the position of the fact in the ledger's order; `history` takes it as *before*


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One of the largest changes of a score, with the source and the actor of its fact."""

    move: TimelineMove
    source: str
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The timeline of a score over a period, oldest first."""

    score_type: ScoreType
    since: int
    until: int
    points: tuple[Point, ...]
    causes: tuple[Cause, ...]


# The rank that the effect `p` before the effect `e` left, in the order of the fold; `f` is the fact of `e`.
_RANK_BEFORE = (
    "SELECT p.rank_after FROM effects p JOIN facts g ON g.id = p.fact_id"
    " WHERE p.contact_id = e.contact_id AND p.definition_id = e.definition_id AND p.at <= e.at"
    ' AND (p.at < e.at OR g.source COLLATE "C" < f.source OR (g.source = f.source'
    ' AND (g.dedupe_key COLLATE "C" < f.dedupe_key OR (g.dedupe_key = f.dedupe_key'
    ' AND g.subject COLLATE "C" < f.subject))))'
    ' ORDER BY p.at DESC, g.source COLLATE "C" DESC, g.dedupe_key COLLATE "C" DESC, g.subject COLLATE "C" DESC LIMIT 1'
)


async def history(
    workspace: Workspace,
    *,
    contact: int,
    score: str | None,
    most: int,
    since: int = 0,
    before: FieldOrder | None = None,
) -> tuple[ScoreType, list[HistoryEntry]]:
    """Return a score type and a contact's history of it, newest first. Undone entries are included and marked.

    Only entries at or after *since* and, if given, before the position *before* are returned, at most *most*.
    """
    score_type = await definitions.score_type(workspace, key=score)
    at, source, key, subject = before or (database.LARGEST_ID, b"", b"", b"")
    rows = await database.read(
        "SELECT f.occurred_at, f.subject, f.op, f.amount, e.asked, f.activity,"
        " f.source, f.dedupe_key, f.actor, f.reason, f.batch,"
        f" e.effective, e.rank_after, ({_RANK_BEFORE}) AS rank_before"
        " FROM facts f LEFT JOIN effects e ON e.fact_id = f.id AND e.definition_id = $4"
        " WHERE f.contact_id IN (SELECT id FROM contacts WHERE id = $2 OR merged_into = $2)"
        " AND (f.subject = $3 OR e.effective <> 0 OR e.asked <> 0)"
        " AND f.workspace_id = $1 AND f.occurred_at >= $6"
        ' AND f.occurred_at <= $7 AND (f.occurred_at < $7 OR f.source COLLATE "C" < $8'
        ' OR (f.source = $8 AND (f.dedupe_key COLLATE "C" < $9'
        ' OR (f.dedupe_key = $9 AND f.subject COLLATE "C" < $10))))'
        ' ORDER BY f.occurred_at DESC, f.source COLLATE "C" DESC, f.dedupe_key COLLATE "C" DESC,'
        ' f.subject COLLATE "C" DESC LIMIT $5',
        workspace.id,
        contact,
        score_type.key,
        score_type.definition,
        most,
        since,
        at,
        source.decode(),
        key.decode(),
        subject.decode(),
    )
    undone = await load_undone_batches(database.current_database().reader, workspace.id, {row["batch"] for row in rows})
    return score_type, [
        HistoryEntry(
            occurred_at=row["occurred_at"],
            op=_get_operation(row, score_type),
            amount=row["amount"] if row["subject"] == score_type.key else row["asked"],
            activity=row["activity"],
            effective=row["effective"],
            before=None
            if row["rank_before"] is None
            else shown(score_type, row["rank_before"], now=row["occurred_at"]),
            value=None if row["rank_after"] is None else shown(score_type, row["rank_after"], now=row["occurred_at"]),
            source=row["source"],
            actor=row["actor"],
            reason=row["reason"],
            undone=row["batch"] in undone,
            order=(row["occurred_at"], row["source"].encode(), row["dedupe_key"].encode(), row["subject"].encode()),
        )
        for row in rows
    ]


async def history_page(
    workspace: Workspace, *, contact: int, score: str | None, limit: int, cursor: str | None
) -> tuple[ScoreType, list[HistoryEntry], str | None]:
    """Return a score type, a page of a contact's history of it, newest first, and the cursor of the next page.

    *cursor* is that of the previous page; None: the first page. Raises BadCursor.
    """
    before = _read_cursor(cursor)
    score_type, entries = await history(workspace, contact=contact, score=score, most=limit + 1, before=before)
    return score_type, entries[:limit], _write_cursor(entries[limit - 1].order) if len(entries) > limit else None


def _write_cursor(order: FieldOrder) -> str:
    at, *texts = order
    document = json.dumps([at, *(text.decode() for text in texts)])
    return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None) -> FieldOrder | None:
    if cursor is None:
        return None
    try:
        at, source, key, subject = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if type(at) is not int or not 0 <= at < 2**63 or "\0" in source + key + subject:
            raise ValueError
        return (at, source.encode(), key.encode(), subject.encode())
    except (ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise BadCursor("that cursor does not belong to this history: start again without it") from exc


def _get_operation(row: Row, score_type: ScoreType) -> Op | Deed:
    if row["subject"] == score_type.key:
        return Op(row["op"])
    return Deed.ACTIVITY if row["activity"] is not None else Deed.FIELDS


async def why(
    workspace: Workspace, *, contact: int, score: str | None, most: int, now: int
) -> tuple[ScoreType, Explanation | None]:
    """Explain a score by its facts in force; None if the score is missing or the contact does not exist."""
    score_type = await definitions.score_type(workspace, key=score)
    reader, pair = database.current_database().reader, (contact, score_type.key)
    if not await contacts.contacts(workspace, ids=[contact]):
        return score_type, None
    ledger = (await facts.load_ledgers(reader, {pair: score_type}))[pair].values()
    undone = await load_undone_batches(reader, workspace.id, {fact.batch for fact in ledger})
    standing_facts = [fact for fact in ledger if fact.batch not in undone]
    return score_type, explain(standing_facts, score_type, now=now, most=most)


async def load_timeline(
    workspace: Workspace, *, contact: int, score: str | None, most: int, since: int | None, now: int
) -> Course:
    """Load the timeline of a score from *since* to *now*, without undone changes; None: from its first change.

    If there are more than *most* changes, the oldest are left out and the timeline begins later.
    """
    score_type = await definitions.score_type(workspace, key=score)
    knots = await _load_knots(workspace, contact, score_type, since=since or 0, until=now, limit=most + 1)
    if since is None:
        since = min(knots[0].at, now - 1) if knots else now
    if len(knots) > most:
        since = max(since, knots[0].at + 1)

    def value_at(rank: int, instant: int) -> int:
        return shown(score_type, rank, now=instant)

    moves = biggest_moves(knots, since=since, start=score_type.start, value_at=value_at)
    rows = await database.read(
        "SELECT id, source, actor, reason FROM facts WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": move.fact} for move in moves],
    )
    facts_by_id = {row["id"]: row for row in rows}
    return Course(
        score_type=score_type,
        since=since,
        until=now,
        points=points(knots, since=since, until=now, value_at=value_at),
        causes=tuple(
            Cause(
                move=move,
                source=facts_by_id[move.fact]["source"],
                actor=facts_by_id[move.fact]["actor"],
                reason=facts_by_id[move.fact]["reason"],
            )
            for move in moves
        ),
    )


async def _load_knots(
    workspace: Workspace, contact: int, score_type: ScoreType, *, since: int, until: int, limit: int
) -> list[TimelinePoint]:
    """Return the latest effects from *since* to *until* in the order of the fold, and those that *since* starts from.

    At most *limit* are returned.
    """
    rows = await database.read(
        "SELECT e.at, e.rank_after, e.fact_id FROM effects e JOIN facts g ON g.id = e.fact_id"
        " WHERE e.workspace_id = $1 AND e.contact_id = $2 AND e.definition_id = $3 AND e.at <= $5 AND e.at >="
        " coalesce((SELECT max(at) FROM effects WHERE contact_id = $2 AND definition_id = $3 AND at < $4), $4)"
        f" {NEWEST_FIRST} LIMIT $6",
        workspace.id,
        contact,
        score_type.definition,
        since,
        until,
        limit,
    )
    return [TimelinePoint(at=row["at"], rank=row["rank_after"], fact=row["fact_id"]) for row in reversed(rows)]
