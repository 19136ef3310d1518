"""Answer filters: page by page, counted, or within a transaction."""

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.errors import Refusal
from storage.domain.facts import DAY
from storage.domain.filters.terms import All, Filter, Term
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import Card, cards_of
from storage.reading.filter_sql import Sql, write_membership


class BadCursor(Refusal):
    """That cursor is not one of this filter's: begin again without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some answers of a filter, in its order, and where the next ones begin; none at the end."""

    cards: tuple[Card, ...]
    next_cursor: str | None


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


async def count(workspace: Workspace, *, asked: Filter, now: int) -> int:
    """Count the answers of a filter."""
    sql = Sql(now)
    where = write_membership(workspace, asked.where, sql)
    rows = await database.read(f"SELECT count(*) AS n FROM contacts c WHERE {where}", *sql.values)
    return int(rows[0]["n"])


async def matching_contacts(
    session: Session, workspace: Workspace, *, where: Term, among: Collection[int] | None, now: int
) -> list[int]:
    """Give the ids of the contacts that a term is true of, as they stand in a transaction; *among* these, or all."""
    sql = Sql(now, [] if among is None else [[{"id": id} for id in among]])
    condition = write_membership(workspace, where, sql)
    if among is not None:
        condition += " AND c.id IN (SELECT id FROM given(id bigint))"
    rows = await session.rows(f"SELECT c.id FROM contacts c WHERE {condition} ORDER BY c.id", *sql.values)
    return [row["id"] for row in rows]


async def find_emptying_term(workspace: Workspace, *, asked: Filter, now: int) -> str | None:
    """Give the text of the term that, with those before it, leaves nobody; none where somebody is left."""
    parts = asked.where.parts if isinstance(asked.where, All) else (asked.where,)
    for place, text in enumerate(asked.texts, start=1):
        if not await count(workspace, asked=replace(asked, where=All(parts[:place])), now=now):
            return text
    return None


async def _rows(
    workspace: Workspace, asked: Filter, *, scored: bool, after: list[object] | None, most: int, now: int
) -> list[Row]:
    sql = Sql(now)
    where = [write_membership(workspace, asked.where, sql)]
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
            known = f"SELECT 1 FROM scores WHERE contact_id = c.id AND definition_id = {definition}"
            where.append(f"NOT EXISTS ({known} AND rank IS NOT NULL)")
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


def _after(keys: Sequence[_Key], values: Sequence[object], sql: Sql) -> str:
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
