"""Answer filters in SQL, page by page; a filter's `matches` is the specification of it."""

import base64
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from storage import database
from storage.database import Row, Session
from storage.domain.decay import BILLIONTHS, bound
from storage.domain.errors import Refusal
from storage.domain.facts import DAY
from storage.domain.filters.terms import (
    All,
    Any,
    Compare,
    Comparison,
    Contains,
    Crossed,
    Direction,
    Filter,
    FollowedUp,
    Has,
    InBand,
    Is,
    Not,
    Stale,
    Tagged,
    Term,
    Trend,
    Updated,
    Words,
)
from storage.domain.followups import WAITING
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.scores import Card, cards_of, rank_at


class BadCursor(Refusal):
    """That cursor is not one of this filter's: begin again without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some answers of a filter, in its order, and where the next ones begin; none at the end."""

    cards: tuple[Card, ...]
    next_cursor: str | None


@dataclass(slots=True)
class _Sql:
    """The instant that a statement in the making is about, and the values it has bound so far."""

    now: int
    values: list[object] = field(default_factory=list)

    def bind(self, value: object) -> str:
        """Add a value and give its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"


@dataclass(frozen=True, slots=True)
class _Key:
    """What rows are ordered by: an expression, and whether the highest come first. Missing ones come last."""

    expression: str
    down: bool
    always_there: bool = False


async def page(workspace: Workspace, *, asked: Filter, limit: int, cursor: str | None = None, now: int) -> Page:
    """Give *limit* answers at the most, after *cursor*; raises BadCursor.

    Where the first key is a score, the contacts that have it are read in the order of its index; then come the rest.
    The pages after the first are of its instant, so that what fades in between moves nobody from page to page.
    """
    phases = [True, False] if asked.sort and isinstance(asked.sort[0].by, ScoreType) else [False]
    place, after, at = _read_cursor(cursor, phases, asked, now=now)
    found: list[tuple[int, Row]] = []
    while place < len(phases) and len(found) <= limit:
        rows = await _rows(workspace, asked, scored=phases[place], after=after, most=limit + 1 - len(found), now=at)
        found += [(place, row) for row in rows]
        place, after = place + 1, None
    cards = await cards_of(workspace, ids=[row["id"] for _, row in found[:limit]], now=at)
    onward = _write_cursor(*found[limit - 1], at=at) if len(found) > limit else None
    return Page(cards=tuple(cards), next_cursor=onward)


def condition(workspace: Workspace, asked: Filter, *, now: int) -> tuple[str, list[object]]:
    """Write which contacts `c` a filter finds, for a statement of another's, and the values of $1, $2, …"""
    sql = _Sql(now)
    return _where(workspace, asked.where, sql), sql.values


async def count(workspace: Workspace, *, asked: Filter, now: int) -> int:
    """Count the answers of a filter."""
    sql = _Sql(now)
    where = _where(workspace, asked.where, sql)
    rows = await database.read(f"SELECT count(*) AS n FROM contacts c WHERE {where}", *sql.values)
    return int(rows[0]["n"])


async def holding(
    session: Session, workspace: Workspace, *, where: Term, among: Collection[int] | None, now: int
) -> list[int]:
    """Give the ids of the contacts that a term is true of, as they stand in a transaction; *among* these, or all."""
    sql = _Sql(now)
    condition = _where(workspace, where, sql)
    if among is not None:
        condition += f" AND c.id IN ({', '.join(sql.bind(id) for id in among)})"
    rows = await session.rows(f"SELECT c.id FROM contacts c WHERE {condition} ORDER BY c.id", *sql.values)
    return [row["id"] for row in rows]


async def emptied_by(workspace: Workspace, *, asked: Filter, now: int) -> str | None:
    """Give the text of the term that, with those before it, leaves nobody; none where somebody is left."""
    parts = asked.where.parts if isinstance(asked.where, All) else (asked.where,)
    for place, text in enumerate(asked.texts, start=1):
        if not await count(workspace, asked=replace(asked, where=All(parts[:place])), now=now):
            return text
    return None


async def _rows(
    workspace: Workspace, asked: Filter, *, scored: bool, after: list[object] | None, most: int, now: int
) -> list[Row]:
    sql = _Sql(now)
    where = [_where(workspace, asked.where, sql)]
    source, keys = "contacts c", list[_Key]()
    for number, sort in enumerate(asked.sort):
        if isinstance(sort.by, str):
            keys.append(_Key(f'c.{sort.by}_key COLLATE "C"', sort.down))
            continue
        definition = sql.bind(sort.by.definition)
        if number == 0 and scored:
            source = "scores s0 JOIN contacts c ON c.id = s0.contact_id"
            where.append(f"s0.definition_id = {definition} AND s0.rank IS NOT NULL")
            keys.append(_Key("s0.rank", sort.down, always_there=True))
        elif number == 0:
            known = f"SELECT contact_id FROM scores WHERE definition_id = {definition} AND rank IS NOT NULL"
            where.append(f"c.id NOT IN ({known})")
        else:
            one = f"s{number}"
            source += f" LEFT JOIN scores {one} ON {one}.contact_id = c.id AND {one}.definition_id = {definition}"
            keys.append(_Key(f"{one}.rank", sort.down))
    if after is not None:
        where.append(_after(keys, after, sql))
    chosen = "".join(f", {key.expression} AS k{number}" for number, key in enumerate(keys))
    order = [("" if key.always_there else f"{key.expression} IS NULL, ") + _direction(key) for key in keys]
    return await database.read(
        f"SELECT c.id{chosen} FROM {source} WHERE {' AND '.join(where)}"
        f" ORDER BY {', '.join([*order, 'c.id'])} LIMIT {sql.bind(most)}",
        *sql.values,
    )


def _direction(key: _Key) -> str:
    return f"{key.expression} {'DESC' if key.down else 'ASC'}"


def _after(keys: Sequence[_Key], values: Sequence[object], sql: _Sql) -> str:
    """Say that a row comes after the one with these values of the keys, and this id at their end."""
    ways, same = list[str](), list[str]()
    for key, value in zip(keys, values[:-1], strict=True):
        if value is not None:
            bound = sql.bind(value)
            beyond = f"{key.expression} {'<' if key.down else '>'} {bound}"
            ways.append(
                " AND ".join([*same, beyond if key.always_there else f"({beyond} OR {key.expression} IS NULL)"])
            )
            same.append(f"{key.expression} = {bound}")
        else:
            same.append(f"{key.expression} IS NULL")
    ways.append(" AND ".join([*same, f"c.id > {sql.bind(values[-1])}"]))
    start = ""
    if keys and keys[0].always_there:  # said again so that the index is entered at the right place
        start = f"{keys[0].expression} {'<=' if keys[0].down else '>='} {sql.bind(values[0])} AND "
    return f"{start}({' OR '.join(f'({way})' for way in ways)})"


def _write_cursor(place: int, row: Row, *, at: int) -> str:
    values = [row[f"k{number}"] for number in range(len(row) - 1)]
    return base64.urlsafe_b64encode(json.dumps([at, place, *values, row["id"]]).encode()).decode().rstrip("=")


def _read_cursor(
    cursor: str | None, phases: Sequence[bool], asked: Filter, *, now: int
) -> tuple[int, list[object] | None, int]:
    if cursor is None:
        return 0, None, now
    try:
        at, place, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        in_rest = len(phases) == 2 and not phases[place]
        kinds = [int if isinstance(sort.by, ScoreType) else str for sort in asked.sort[1 if in_rest else 0 :]]
        fits = [value is None or type(value) is kind for value, kind in zip(values[:-1], kinds, strict=True)]
        # Another process, whose clock runs ahead of ours, may have written it.
        if not all(fits) or type(values[-1]) is not int or type(at) is not int or not 0 <= at <= now + DAY:
            raise BadCursor
        if type(place) is not int or not 0 <= place < len(phases):
            raise BadCursor
        if phases[place] and values[0] is None:
            raise BadCursor
        if any(isinstance(value, int) and abs(value) > database.LARGEST_ID for value in values):
            raise BadCursor
        if any("\0" in value.encode().decode() for value in values if isinstance(value, str)):  # nor half a character
            raise BadCursor
    except (ValueError, TypeError, IndexError, RecursionError) as exc:
        raise BadCursor from exc
    return place, values, at


def _where(workspace: Workspace, term: Term, sql: _Sql) -> str:
    ours = f"c.workspace_id = {sql.bind(workspace.id)} AND c.merged_into IS NULL"
    return f"{ours} AND {_condition(term, sql)}"


def _condition(term: Term, sql: _Sql) -> str:
    """Write a term so that it is true or false of every contact, never unknown."""
    writer: Callable[[Term, _Sql], str] = _WRITERS[type(term)]
    return writer(term, sql)


def _compare(term: Compare, sql: _Sql) -> str:
    low, high = (bound(term.score, value, now=sql.now) for value in (term.value, term.value + 1))
    match term.how:
        case Comparison.ABOVE:
            condition = f"rank >= {sql.bind(high)}"
        case Comparison.AT_LEAST:
            condition = f"rank >= {sql.bind(low)}"
        case Comparison.BELOW:
            condition = f"rank < {sql.bind(low)}"
        case Comparison.AT_MOST:
            condition = f"rank < {sql.bind(high)}"
        case Comparison.EQUAL:
            condition = f"rank >= {sql.bind(low)} AND rank < {sql.bind(high)}"
        case Comparison.NOT_EQUAL:
            condition = f"(rank < {sql.bind(low)} OR rank >= {sql.bind(high)})"
    return _scored(term.score, condition, sql)


def _in_band(term: InBand, sql: _Sql) -> str:
    bands = term.score.bands
    ways = []
    for band, above in zip(bands, [*bands[1:], None], strict=True):
        if band.name in term.bands:
            way = f"rank >= {sql.bind(bound(term.score, band.start, now=sql.now))}"
            ways.append(
                way if above is None else f"{way} AND rank < {sql.bind(bound(term.score, above.start, now=sql.now))}"
            )
    return _scored(term.score, f"({' OR '.join(ways)})", sql)


def _has(term: Has, sql: _Sql) -> str:
    return _scored(term.score, "rank IS NOT NULL", sql)


def _scored(score: ScoreType, condition: str, sql: _Sql) -> str:
    # As a list of ids it is taken from the index of the ranks by both databases; EXISTS is not by SQLite.
    definition = sql.bind(score.definition)
    return f"c.id IN (SELECT contact_id FROM scores WHERE definition_id = {definition} AND {condition})"


def _trend(term: Trend, sql: _Sql) -> str:
    amount = f"CAST({sql.bind(term.amount)} AS BIGINT)"
    moved = {
        Direction.RISING: "have - had",
        Direction.FALLING: "had - have",
        Direction.MOVED: "abs(have - had)",
    }[term.direction]
    condition = f"had <> 0 AND ({moved}) * 100000 >= {amount} * abs(had)" if term.of_value else f"{moved} >= {amount}"
    then = sql.now - term.window
    values = (
        f"SELECT contact_id, {_shown(term.score, 'rank', sql.now, sql)} AS have,"
        f" {_shown(term.score, 'rank_then', then, sql)} AS had"
        f" FROM {_since(term.score, then, sql)} WHERE rank_then IS NOT NULL OFFSET 0"
    )
    return f"c.id IN (SELECT contact_id FROM ({values}) AS v WHERE {condition})"


def _crossed(term: Crossed, sql: _Sql) -> str:
    then = sql.now - term.window
    edge, edge_then = (sql.bind(bound(term.score, term.edge, now=instant)) for instant in (sql.now, then))
    condition = (
        f"rank >= {edge} AND (rank_then IS NULL OR rank_then < {edge_then})"
        if term.above
        else f"rank < {edge} AND rank_then >= {edge_then}"
    )
    return f"c.id IN (SELECT contact_id FROM {_since(term.score, then, sql)} WHERE {condition})"


def _since(score: ScoreType, then: int, sql: _Sql) -> str:
    """Write the scores with the rank they had then; those that did not change meanwhile only where they fade."""
    definition, instant = sql.bind(score.definition), f"CAST({sql.bind(then)} AS BIGINT)"
    changed = "" if score.half_life else f" AND k.last_at > {instant}"
    return (
        f"(SELECT k.contact_id, k.rank, {rank_at(instant)} AS rank_then FROM scores k"
        f" WHERE k.definition_id = {definition} AND k.rank IS NOT NULL{changed} OFFSET 0) AS m"
    )


def _shown(score: ScoreType, rank: str, instant: int, sql: _Sql) -> str:
    """Write the value that a rank is shown as: what `decay.shown` says, in the same steps."""
    step = f"CAST({sql.bind(score.step)} AS BIGINT)"
    start, lowest, highest = (
        f"CAST({sql.bind(value)} AS BIGINT)" for value in (score.start, score.minimum, score.maximum)
    )
    if score.half_life is None:
        steps = f"((2 * abs({rank}) + {step}) / (2 * {step}))"
    else:
        ahead = f"(abs({rank}) - CAST({sql.bind(instant)} AS BIGINT))"
        half_life, unit = (
            f"CAST({sql.bind(float(value))} AS DOUBLE PRECISION)"
            for value in (score.half_life, score.step * BILLIONTHS)
        )
        # 2 as a double: PostgreSQL would reckon in numeric otherwise, five times slower.
        power = (
            f"power(CAST(2 AS DOUBLE PRECISION), least(CAST({ahead} AS DOUBLE PRECISION) / {half_life},"
            " CAST(64 AS DOUBLE PRECISION)))"
        )
        left = f"CAST(floor({power} / {unit} + CAST(0.5 AS DOUBLE PRECISION)) AS BIGINT)"
        steps = f"(CASE WHEN {ahead} <= 0 THEN 0 ELSE {left} END)"
    return (
        f"least(greatest({start} + CASE WHEN {rank} > 0 THEN {steps} * {step} ELSE -{steps} * {step} END, {lowest}),"
        f" {highest})"
    )


def _stale(term: Stale, sql: _Sql) -> str:
    definition, instant = sql.bind(term.score.definition), sql.bind(sql.now - term.window)
    last = "SELECT max(e.at) FROM effects e WHERE e.contact_id = k.contact_id AND e.definition_id = k.definition_id"
    return (
        "c.id IN (SELECT k.contact_id FROM scores k"
        f" WHERE k.definition_id = {definition} AND k.rank IS NOT NULL AND ({last}) <= {instant})"
    )


def _updated(term: Updated, sql: _Sql) -> str:
    instant = sql.bind(sql.now - term.age)
    younger = {"<": ">", "<=": ">=", ">": ">=", ">=": ">"}[term.how.value]
    since = _any_fact(f" AND f.occurred_at {younger} {instant}")
    return since if term.how in (Comparison.BELOW, Comparison.AT_MOST) else f"({_any_fact()} AND NOT {since})"


def _any_fact(which: str = "") -> str:
    """Ask for a fact of a contact, or of one that is one with it."""
    return (
        f"(EXISTS (SELECT 1 FROM facts f WHERE f.contact_id = c.id{which})"
        f" OR EXISTS (SELECT 1 FROM contacts m JOIN facts f ON f.contact_id = m.id WHERE m.merged_into = c.id{which}))"
    )


def _followed_up(term: FollowedUp, sql: _Sql) -> str:
    ways = [_any_follow_up(", ".join(sql.bind(state) for state in term.states))] if term.states else []
    if "none" in term.words:
        ways.append("NOT " + _any_follow_up(", ".join(sql.bind(state.value) for state in WAITING)))
    return f"({' OR '.join(ways)})"


def _any_follow_up(states: str) -> str:
    """Ask for a follow-up of a contact, or of one that is one with it."""
    which = f"f.state IN ({states})"
    return (
        f"(EXISTS (SELECT 1 FROM follow_ups f WHERE f.contact_id = c.id AND {which}) OR EXISTS"
        f" (SELECT 1 FROM contacts m JOIN follow_ups f ON f.contact_id = m.id WHERE m.merged_into = c.id AND {which}))"
    )


def _is(term: Is, sql: _Sql) -> str:
    column = f"c.{term.field}_key"
    return f"({column} IS NOT NULL AND {column} IN ({', '.join(sql.bind(value) for value in term.values)}))"


def _contains(term: Contains, sql: _Sql) -> str:
    return _part_of(f"c.{term.field}_key", sql.bind(_like(term.value)))


def _words(term: Words, sql: _Sql) -> str:
    bound = sql.bind(_like(term.value))
    return f"({' OR '.join(_part_of(f'c.{name}_key', bound) for name in ('name', 'email', 'company'))})"


def _tagged(term: Tagged, sql: _Sql) -> str:
    ways = [_part_of("c.tags_key", sql.bind(_like(f"\n{value}\n"))) for value in term.values]
    return f"({' OR '.join(ways)})"


def _part_of(column: str, bound: str) -> str:
    return f"({column} IS NOT NULL AND {column} LIKE {bound} ESCAPE '!')"


def _like(part: str) -> str:
    return f"%{part.replace('!', '!!').replace('%', '!%').replace('_', '!_')}%"


def _not(term: Not, sql: _Sql) -> str:
    return f"NOT {_condition(term.part, sql)}"


def _all(term: All, sql: _Sql) -> str:
    return f"({' AND '.join(_condition(part, sql) for part in term.parts)})" if term.parts else "(1 = 1)"


def _any(term: Any, sql: _Sql) -> str:
    return f"({' OR '.join(_condition(part, sql) for part in term.parts)})"


# Each writer takes its own kind of term; the table pairs them, which a type cannot say.
_WRITERS: dict[type, Callable[..., str]] = {
    All: _all,
    Any: _any,
    Compare: _compare,
    Contains: _contains,
    Crossed: _crossed,
    FollowedUp: _followed_up,
    Has: _has,
    InBand: _in_band,
    Is: _is,
    Not: _not,
    Stale: _stale,
    Tagged: _tagged,
    Trend: _trend,
    Updated: _updated,
    Words: _words,
}
