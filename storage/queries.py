"""Answer filters in SQL, page by page; a filter's `matches` is the specification of it."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from storage import database
from storage.database import Row
from storage.domain.errors import Refusal
from storage.domain.filters.terms import (
    All,
    Any,
    Compare,
    Comparison,
    Contains,
    Filter,
    Has,
    InBand,
    Is,
    Not,
    Tagged,
    Term,
    Words,
)
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.scores import Card, cards_of


class BadCursor(Refusal):
    """That cursor is not one of this filter's: begin again without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some answers of a filter, in its order, and where the next ones begin; none at the end."""

    cards: tuple[Card, ...]
    next_cursor: str | None


@dataclass(slots=True)
class _Sql:
    """The values that a statement in the making has bound so far."""

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
    """
    phases = [True, False] if asked.sort and isinstance(asked.sort[0].by, ScoreType) else [False]
    place, after = _read_cursor(cursor, phases, asked)
    found: list[tuple[int, Row]] = []
    while place < len(phases) and len(found) <= limit:
        rows = await _rows(workspace, asked, scored=phases[place], after=after, most=limit + 1 - len(found))
        found += [(place, row) for row in rows]
        place, after = place + 1, None
    cards = await cards_of(workspace, ids=[row["id"] for _, row in found[:limit]], now=now)
    return Page(cards=tuple(cards), next_cursor=_write_cursor(*found[limit - 1]) if len(found) > limit else None)


async def count(workspace: Workspace, *, asked: Filter) -> int:
    """Count the answers of a filter."""
    sql = _Sql()
    where = _where(workspace, asked.where, sql)
    rows = await database.read(f"SELECT count(*) AS n FROM contacts c WHERE {where}", *sql.values)
    return int(rows[0]["n"])


async def emptied_by(workspace: Workspace, *, asked: Filter) -> str | None:
    """Give the text of the term that, with those before it, leaves nobody; none where somebody is left."""
    parts = asked.where.parts if isinstance(asked.where, All) else (asked.where,)
    for place, text in enumerate(asked.texts, start=1):
        if not await count(workspace, asked=replace(asked, where=All(parts[:place]))):
            return text
    return None


async def _rows(
    workspace: Workspace, asked: Filter, *, scored: bool, after: list[object] | None, most: int
) -> list[Row]:
    sql = _Sql()
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


def _write_cursor(place: int, row: Row) -> str:
    values = [row[f"k{number}"] for number in range(len(row) - 1)]
    return base64.urlsafe_b64encode(json.dumps([place, *values, row["id"]]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, phases: Sequence[bool], asked: Filter) -> tuple[int, list[object] | None]:
    if cursor is None:
        return 0, None
    try:
        place, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        in_rest = len(phases) == 2 and not phases[place]
        kinds = [int if isinstance(sort.by, ScoreType) else str for sort in asked.sort[1 if in_rest else 0 :]]
        fits = [value is None or type(value) is kind for value, kind in zip(values[:-1], kinds, strict=True)]
        if not all(fits) or type(values[-1]) is not int or type(place) is not int or not 0 <= place < len(phases):
            raise BadCursor
        if phases[place] and values[0] is None:
            raise BadCursor
        if any(isinstance(value, int) and abs(value) > database.LARGEST_ID for value in values):
            raise BadCursor
        if any("\0" in value.encode().decode() for value in values if isinstance(value, str)):  # nor half a character
            raise BadCursor
    except (ValueError, TypeError, IndexError, RecursionError) as exc:
        raise BadCursor from exc
    return place, values


def _where(workspace: Workspace, term: Term, sql: _Sql) -> str:
    ours = f"c.workspace_id = {sql.bind(workspace.id)} AND c.merged_into IS NULL"
    return f"{ours} AND {_condition(term, sql)}"


def _condition(term: Term, sql: _Sql) -> str:
    """Write a term so that it is true or false of every contact, never unknown."""
    writer: Callable[[Term, _Sql], str] = _WRITERS[type(term)]
    return writer(term, sql)


def _compare(term: Compare, sql: _Sql) -> str:
    how = "<>" if term.how is Comparison.NOT_EQUAL else term.how.value
    return _scored(term.score, f"rank {how} {sql.bind(term.value - term.score.start)}", sql)


def _in_band(term: InBand, sql: _Sql) -> str:
    bands = term.score.bands
    ways = []
    for band, above in zip(bands, [*bands[1:], None], strict=True):
        if band.name in term.bands:
            way = f"rank >= {sql.bind(band.start - term.score.start)}"
            ways.append(way if above is None else f"{way} AND rank < {sql.bind(above.start - term.score.start)}")
    return _scored(term.score, f"({' OR '.join(ways)})", sql)


def _has(term: Has, sql: _Sql) -> str:
    return _scored(term.score, "rank IS NOT NULL", sql)


def _scored(score: ScoreType, condition: str, sql: _Sql) -> str:
    # As a list of ids it is taken from the index of the ranks by both databases; EXISTS is not by SQLite.
    definition = sql.bind(score.definition)
    return f"c.id IN (SELECT contact_id FROM scores WHERE definition_id = {definition} AND {condition})"


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
    Has: _has,
    InBand: _in_band,
    Is: _is,
    Not: _not,
    Tagged: _tagged,
    Words: _words,
}
