"""Read what the fold made of the ledger: a contact's card, the top, how a score came to be."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from storage import contacts, database, definitions, facts
from storage.database import Row, Session
from storage.domain.contacts import Contact
from storage.domain.course import Knot, Move, Point, biggest_moves, points
from storage.domain.decay import band_until, shown
from storage.domain.errors import UnknownScoreType
from storage.domain.explain import Explanation, explain
from storage.domain.facts import DAY, Deed, Op, Order
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType

TRENDS = (7, 30, 90)  # days
# The effects of one score, and the latest of them in the order of the fold.
_LATEST = (
    "FROM effects e JOIN facts g ON g.id = e.fact_id"
    " WHERE e.contact_id = k.contact_id AND e.definition_id = k.definition_id"
)
_FIRST = 'ORDER BY e.at DESC, g.source COLLATE "C" DESC, g.dedupe_key COLLATE "C" DESC LIMIT 1'


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One score of a contact now, and the last change of it. Thousandths and µs."""

    score_type: ScoreType
    value: int  #: as it is shown
    rank: int  #: what it is sorted by; it changes only when the score is changed
    as_of: int  #: when the last change happened that still counts
    seen: int  #: when the last one happened, undone or not
    source: str  #: of the last change
    actor: str | None
    trends: Mapping[int, int]  #: days → the value now less the value then; not there where it was missing then
    band_until: int | None  #: when fading takes it out of its band

    @property
    def trend(self) -> int | None:
        """Give the value now less the value thirty days ago; none where it was missing then."""
        return self.trends.get(30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A contact with every score it has, the default type first."""

    contact: Contact
    standings: tuple[Standing, ...]

    def standing(self, score: str) -> Standing | None:
        """Give one of its scores, by the key of the type; none where it is missing."""
        return next((one for one in self.standings if one.score_type.key == score), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a score's history; *value* is what it was after, none where it was missing or the line is undone."""

    occurred_at: int
    op: Op | Deed
    amount: int  #: what was asked for; for an activity what its rules gave it
    effective: int | None
    value: int | None
    source: str
    actor: str | None
    reason: str | None
    undone: bool
    activity: str | None
    rule: str | None  #: the rules that speak of it, by name
    order: Order  #: where it stands among all facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One of the changes that moved a score most, and who or what made it."""

    move: Move
    source: str
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one score went through a span of time, the oldest first."""

    score_type: ScoreType
    since: int
    until: int
    points: tuple[Point, ...]
    causes: tuple[Cause, ...]


async def card(workspace: Workspace, *, contact: int, now: int) -> Card | None:
    """Give a contact with its scores, or none where there is no such contact."""
    cards = await cards_of(workspace, ids=[contact], now=now)
    return cards[0] if cards else None


async def cards_of(workspace: Workspace, *, ids: Collection[int], now: int) -> list[Card]:
    """Give contacts with their scores, in the order asked for."""
    people = await contacts.contacts(workspace, ids=list(ids))
    types = await definitions.score_types(workspace)
    then = "".join(f", {rank_at(f'${place}')} AS rank_{days}" for place, days in enumerate(TRENDS, start=2))
    rows = await database.read(
        f"SELECT k.contact_id, k.definition_id, k.rank, k.last_at, f.occurred_at, f.source, f.actor{then}"
        f" FROM scores k JOIN facts f ON f.id = (SELECT e.fact_id {_LATEST} {_FIRST})"
        " WHERE k.contact_id IN (SELECT id FROM given(id bigint)) AND k.rank IS NOT NULL",
        [{"id": person.id} for person in people],
        *(now - days * DAY for days in TRENDS),
    )
    found: dict[int, list[Standing]] = {person.id: [] for person in people}
    by_pair = {(row["contact_id"], row["definition_id"]): row for row in rows}
    for person in people:
        for score_type in types:
            row = by_pair.get((person.id, score_type.definition))
            if row is not None:
                found[person.id].append(_standing(score_type, row, now=now))
    return [Card(contact=person, standings=tuple(found[person.id])) for person in people]


def _standing(score_type: ScoreType, row: Row, *, now: int) -> Standing:
    value = shown(score_type, row["rank"], now=now)
    then = {days: row[f"rank_{days}"] for days in TRENDS}
    return Standing(
        score_type=score_type,
        value=value,
        rank=row["rank"],
        as_of=row["occurred_at"],
        seen=row["last_at"],
        source=row["source"],
        actor=row["actor"],
        trends={
            days: value - shown(score_type, rank, now=now - days * DAY)
            for days, rank in then.items()
            if rank is not None
        },
        band_until=band_until(score_type, row["rank"], now=now),
    )


def rank_at(instant: str) -> str:
    """Write, in SQL, the rank that the score `k` had at an instant, of which *instant* is the placeholder."""
    return (
        f"CASE WHEN k.last_at <= {instant} THEN k.rank"
        f" ELSE (SELECT e.rank_after {_LATEST} AND e.at <= {instant} {_FIRST}) END"
    )


async def ranks_then(session: Session, asked: Mapping[int, tuple[int, int, int]]) -> dict[int, int | None]:
    """Give the ranks that scores had: anything → (contact, definition, instant); none where it was missing."""
    rows = await session.rows(
        f"SELECT given.p AS place, {rank_at('given.t')} AS rank_then"
        " FROM given(p bigint, c bigint, d bigint, t bigint)"
        " JOIN scores k ON k.contact_id = given.c AND k.definition_id = given.d",
        [{"p": place, "c": c, "d": d, "t": t} for place, (c, d, t) in sorted(asked.items())],
    )
    return {row["place"]: row["rank_then"] for row in rows}


async def top(workspace: Workspace, *, score: str | None, count: int, now: int) -> tuple[ScoreType, list[Card]]:
    """Give the contacts with the highest scores of a type (none: the default one); ties by the older contact."""
    score_type = await _type(workspace, score)
    rows = await database.read(
        "SELECT k.contact_id FROM scores k WHERE k.definition_id = $1 AND k.rank IS NOT NULL"
        " ORDER BY k.rank DESC, k.contact_id LIMIT $2",
        score_type.definition,
        count,
    )
    return score_type, await cards_of(workspace, ids=[row["contact_id"] for row in rows], now=now)


async def history(
    workspace: Workspace, *, contact: int, score: str | None, most: int, since: int = 0, before: Order | None = None
) -> tuple[ScoreType, list[Entry]]:
    """Give the latest changes of one score, newest first, or those before one; what is undone is among them, marked."""
    score_type = await _type(workspace, score)
    at, source, key = before or (database.LARGEST_ID, b"", b"")
    rows = await database.read(
        "SELECT f.occurred_at, f.subject, f.op, f.amount, e.asked, f.activity, e.rule,"
        " f.source, f.dedupe_key, f.actor, f.reason, f.batch,"
        " e.effective, e.rank_after"
        " FROM facts f LEFT JOIN effects e ON e.fact_id = f.id AND e.definition_id = $4"
        " WHERE f.contact_id IN (SELECT id FROM contacts WHERE id = $2 OR merged_into = $2)"
        " AND (f.subject = $3 OR e.effective <> 0 OR e.asked <> 0)"
        " AND f.workspace_id = $1 AND f.occurred_at >= $6"
        ' AND f.occurred_at <= $7 AND (f.occurred_at < $7 OR f.source COLLATE "C" < $8'
        ' OR (f.source = $8 AND f.dedupe_key COLLATE "C" < $9))'
        ' ORDER BY f.occurred_at DESC, f.source COLLATE "C" DESC, f.dedupe_key COLLATE "C" DESC LIMIT $5',
        workspace.id,
        contact,
        score_type.key,
        score_type.definition,
        most,
        since,
        at,
        source.decode(),
        key.decode(),
    )
    undone = await facts.undone(database.current().reader, workspace.id, {row["batch"] for row in rows})
    return score_type, [
        Entry(
            occurred_at=row["occurred_at"],
            op=_op(row, score_type),
            amount=row["amount"] if row["subject"] == score_type.key else row["asked"],
            activity=row["activity"],
            rule=row["rule"],
            effective=row["effective"],
            value=None if row["rank_after"] is None else shown(score_type, row["rank_after"], now=row["occurred_at"]),
            source=row["source"],
            actor=row["actor"],
            reason=row["reason"],
            undone=row["batch"] in undone,
            order=(row["occurred_at"], row["source"].encode(), row["dedupe_key"].encode()),
        )
        for row in rows
    ]


def _op(row: Row, score_type: ScoreType) -> Op | Deed:
    if row["subject"] == score_type.key:
        return Op(row["op"])
    return Deed.ACTIVITY if row["activity"] is not None else Deed.FIELDS


async def why(
    workspace: Workspace, *, contact: int, score: str | None, most: int, now: int
) -> tuple[ScoreType, Explanation | None]:
    """Explain a score by the changes of it that stand; none where it is missing, or the contact is not there."""
    score_type = await _type(workspace, score)
    reader, pair = database.current().reader, (contact, score_type.key)
    if not await contacts.contacts(workspace, ids=[contact]):
        return score_type, None
    ledger = (await facts.ledgers(reader, {pair: score_type}))[pair].values()
    undone = await facts.undone(reader, workspace.id, {change.batch for change in ledger})
    stand = [change for change in ledger if change.batch not in undone]
    return score_type, explain(stand, score_type, now=now, most=most)


async def course(workspace: Workspace, *, contact: int, score: str | None, most: int, since: int, now: int) -> Course:
    """Follow one score from an instant until now; what is undone is not in it.

    Of more than so many changes the older are left out, and the course begins that much later.
    """
    score_type = await _type(workspace, score)
    knots = await _knots(workspace, contact, score_type, since=since, until=now, most=most + 1)
    if len(knots) > most:
        since = max(since, knots[0].at + 1)

    def value_at(rank: int, instant: int) -> int:
        return shown(score_type, rank, now=instant)

    moves = biggest_moves(knots, since=since, start=score_type.start, value_at=value_at)
    rows = await database.read(
        "SELECT id, source, actor, reason FROM facts WHERE id IN (SELECT id FROM given(id bigint))",
        [{"id": move.fact} for move in moves],
    )
    found = {row["id"]: row for row in rows}
    return Course(
        score_type=score_type,
        since=since,
        until=now,
        points=points(knots, since=since, until=now, value_at=value_at),
        causes=tuple(
            Cause(
                move=move,
                source=found[move.fact]["source"],
                actor=found[move.fact]["actor"],
                reason=found[move.fact]["reason"],
            )
            for move in moves
        ),
    )


async def _knots(
    workspace: Workspace, contact: int, score_type: ScoreType, *, since: int, until: int, most: int
) -> list[Knot]:
    """Give what the latest changes of a span left, in the order of the fold, with those that it began with."""
    rows = await database.read(
        "SELECT e.at, e.rank_after, e.fact_id FROM effects e JOIN facts g ON g.id = e.fact_id"
        " WHERE e.workspace_id = $1 AND e.contact_id = $2 AND e.definition_id = $3 AND e.at <= $5 AND e.at >="
        " coalesce((SELECT max(at) FROM effects WHERE contact_id = $2 AND definition_id = $3 AND at < $4), $4)"
        ' ORDER BY e.at DESC, g.source COLLATE "C" DESC, g.dedupe_key COLLATE "C" DESC LIMIT $6',
        workspace.id,
        contact,
        score_type.definition,
        since,
        until,
        most,
    )
    return [Knot(at=row["at"], rank=row["rank_after"], fact=row["fact_id"]) for row in reversed(rows)]


async def _type(workspace: Workspace, key: str | None) -> ScoreType:
    types = await definitions.score_types(workspace)
    found = next((one for one in types if key is None or one.key == key), None)
    if found is None:
        raise UnknownScoreType(key or "", known=tuple(one.key for one in types))
    return found
