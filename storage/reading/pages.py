"""Run filters: list the matching contacts page by page, count them, or match contacts within a transaction."""

import base64
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from storage.db import database
from storage.db.database import Row, Session
from storage.domain.errors import BadCursor
from storage.domain.facts import DAY
from storage.domain.filters.terms import (
    All,
    Compare,
    Contains,
    Crossed,
    Filter,
    Has,
    InBand,
    Is,
    Not,
    Stale,
    Term,
    Trend,
)
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.reading.candidates import find_rarest_term, list_ranges, write_candidates
from storage.reading.current_scores import Card, cards_of
from storage.reading.filter_sql import PRESENT, Sql, find_leading_score, list_required, write_membership, write_term
from storage.reading.search import write_checked

MOST_QUESTIONS = 100  # in one statement of `match_each`: the driver for PostgreSQL keeps no plan of longer ones
MOST_COUNTED = 1_000  # matches; of more, people are told that there are more


@dataclass(frozen=True, slots=True)
class Few:
    """The numbers of contacts that are few enough to be handled together."""

    candidates: int = 20_000  #: fewer are looked up one by one
    matches: int = MOST_COUNTED  #: up to so many are sorted


FEW = Few()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of the contacts that match a filter, in its order."""

    cards: tuple[Card, ...]
    next_cursor: str | None  #: the cursor of the next page; None: this is the last page
    total: int  #: the number of matches on all pages, at most MOST_COUNTED + 1
    as_of: int  #: the instant of the first page, in µs: the cards have the scores as of then


@dataclass(frozen=True, slots=True)
class _Key:
    """A sort key: a SQL expression and its direction. NULL sorts last in both directions."""

    expression: str
    descending: bool
    is_always_present: bool = False  #: whether the expression is never NULL


async def page(
    workspace: Workspace, *, query: Filter, limit: int, cursor: str | None = None, now: int, few: Few = FEW
) -> Page:
    """Return up to *limit* contacts that match a filter, after *cursor*; None: the first page. Raises BadCursor.

    A few matches are found in any order and then sorted. Of more, the next are soon found in the order of an index, in
    two phases: contacts that have the first sort key, then those without it.
    All pages show the scores as of the instant of the first page, so that fading moves no contact to another page.
    """
    phases = _list_phases(query)
    phase, last_values, instant = _read_cursor(cursor, phases, query, now=now)
    matches = await _find_some(workspace, query.where, most=few.matches + 1, few=few, now=instant)
    among = matches if len(matches) <= few.matches else None
    collected: list[tuple[int, Row]] = []
    while matches and phase < len(phases) and len(collected) <= limit:
        if _may_match(query, has_key=phases[phase]):
            rows = await _load_rows(
                workspace,
                query,
                among=among,
                has_key=phases[phase],
                last_values=last_values,
                limit=limit + 1 - len(collected),
                now=instant,
            )
            collected += [(phase, row) for row in rows]
        phase, last_values = phase + 1, None
    cards = await cards_of(workspace, ids=[row["id"] for _, row in collected[:limit]], now=instant)
    next_cursor = _write_cursor(*collected[limit - 1], instant=instant) if len(collected) > limit else None
    return Page(cards=tuple(cards), next_cursor=next_cursor, total=len(matches), as_of=instant)


def _list_phases(query: Filter) -> list[bool]:
    """Return the phases of reading a sorted result: whether contacts have the first sort key."""
    return [True, False] if query.sort else [False]


def _may_match(query: Filter, *, has_key: bool) -> bool:
    """Return whether a filter may match contacts that have, or lack, its first sort key."""
    if not query.sort:
        return True
    key, required = query.sort[0].by, list_required(query.where)
    if isinstance(key, str):
        return has_key or not any(isinstance(part, Is | Contains) and part.field == key for part in required)
    if has_key:
        return Not(Has(key)) not in required
    needs_score = Compare | InBand | Has | Trend | Crossed | Stale
    return not any(isinstance(part, needs_score) and part.score == key for part in required)


async def page_within_limit(workspace: Workspace, *, query: Filter, limit: int, cursor: str | None, now: int) -> Page:
    """Return a page like `page`; all pages together have at most as many contacts as the filter's own limit says.

    The cursor is `7.CURSOR` if the filter has a limit: at most seven more contacts follow. Raises BadCursor.
    """
    remaining, cursor = _read_remaining(query.limit, cursor)
    size = limit if remaining is None else min(limit, remaining)
    listing = await page(workspace, query=query, limit=size, cursor=cursor, now=now)
    if remaining is None or listing.next_cursor is None:
        return listing
    return replace(listing, next_cursor=f"{remaining - size}.{listing.next_cursor}" if remaining > size else None)


def _read_remaining(limit: int | None, cursor: str | None) -> tuple[int | None, str | None]:
    """Return how many contacts may still follow, and the cursor of `page`; raises BadCursor."""
    if limit is None or cursor is None:
        return limit, cursor
    remaining, dot, rest = cursor.partition(".")
    if (
        not dot
        or not remaining.isdecimal()
        or not remaining.isascii()
        or len(remaining) > 4
        or not 1 <= int(remaining) < limit
    ):
        raise BadCursor
    return int(remaining), rest


async def count(workspace: Workspace, *, query: Filter, most: int | None = None, now: int, few: Few = FEW) -> int:
    """Return the number of contacts that match a filter; *most* if there are more, because counting all takes long."""
    if most is not None:
        return len(await _find_some(workspace, query.where, most=most, few=few, now=now))
    sql = Sql(workspace, now)
    matches = _write_some(query.where, await _choose_candidates(workspace, query.where, few=few, now=now), sql)
    rows = await database.read(f"SELECT count(*) AS number FROM ({matches}) AS matches", *sql.values)
    return int(rows[0]["number"])


async def _find_some(workspace: Workspace, where: Term, *, most: int, few: Few, now: int) -> list[int]:
    """Return the ids of at most *most* contacts that match a term, in the order in which they are found soonest."""
    terms = await _choose_candidates(workspace, where, few=few, now=now)
    ids = list[int]()
    for limit in (few.candidates, None) if len(terms) > 1 else (None,):  # many have both scores, or sets are compared
        sql = Sql(workspace, now)
        matches = _write_some(where, terms, sql, of_first=limit)
        ids = [row["id"] for row in await database.read(f"{matches} LIMIT {most}", *sql.values)]
        if len(ids) == most:
            break
    return ids


async def _choose_candidates(workspace: Workspace, where: Term, *, few: Few, now: int) -> list[Term]:
    """Return terms that together have few candidates for the matches of a term; none if all contacts must be read."""
    rarest, ranges = await find_rarest_term(workspace, where=where, most=few.candidates, now=now), list_ranges(where)
    if rarest is not None:
        return [rarest]
    return ranges if len(ranges) > 1 else []


def _write_some(where: Term, terms: Sequence[Term], sql: Sql, *, of_first: int | None = None) -> str:
    """Return a SELECT of the ids of the matches of a term among the candidates of all *terms*.

    Without *terms*, all contacts are read. With *of_first*, only so many candidates of the first of the terms.
    """
    if not terms:
        source, condition = _write_matches(where, sql)
        return f"SELECT c.id FROM {source} WHERE {condition}"
    if of_first is not None:
        candidates = f"SELECT * FROM ({write_candidates(terms[0], sql)}) AS p LIMIT {of_first}"
    elif len(terms) > 1:
        candidates = " INTERSECT ".join(write_candidates(term, sql) for term in terms)
    else:
        every = f"SELECT * FROM ({write_candidates(terms[0], sql)}) AS p OFFSET 0"
        # Looking up neighbors, which share pages of the database, takes a quarter of the time.
        candidates = f"SELECT DISTINCT contact_id FROM ({every}) AS p ORDER BY contact_id"
    condition = write_membership(where, replace(sql, is_required=False, contact="p.contact_id"))
    return write_checked(candidates, [condition])


def _write_matches(where: Term, sql: Sql) -> tuple[str, str]:
    """Return the FROM item and the condition of a statement that reads every match `c` of a term."""
    score = find_leading_score(where)
    if score is None:
        return "contacts c", write_membership(where, sql)
    sql.leading, sql.contact = score.definition, "s0.contact_id"
    condition = f"s0.definition_id = {sql.bind(score.definition)} AND {write_membership(where, sql)}"
    return "scores s0 JOIN contacts c ON c.id = s0.contact_id", condition


async def matching_contacts(
    session: Session, workspace: Workspace, *, where: Term, among: Collection[int] | None, now: int
) -> list[int]:
    """Return the ids of the contacts that match a term, in ascending order, as the session sees them.

    With *among*, only these contacts are considered.
    """
    if among is None:
        sql = Sql(workspace, now)
        source, condition = _write_matches(where, sql)
    else:  # each term is looked up for these contacts alone
        sql = Sql(workspace, now, [[{"id": id} for id in among]], is_required=False)
        source, among_them = "contacts c", "c.id IN (SELECT id FROM given(id bigint))"
        condition = f"{among_them} AND {write_membership(where, sql)}"
    rows = await session.rows(f"SELECT c.id FROM {source} WHERE {condition} ORDER BY c.id", *sql.values)
    return [row["id"] for row in rows]


async def match_each(
    session: Session, questions: Sequence[tuple[Workspace, Term, Collection[int]]], *, now: int
) -> list[set[int]]:
    """Return, for each question, which of its contacts match its term, as the session sees them.

    One statement answers MOST_QUESTIONS of them.
    """
    matches: list[set[int]] = [set() for _ in questions]
    for start in range(0, len(questions), MOST_QUESTIONS):
        some = questions[start : start + MOST_QUESTIONS]
        values: list[object] = [
            [
                {"question": number, "workspace": workspace.id, "contact": id}
                for number, (workspace, _, ids) in enumerate(some)
                for id in sorted(ids)
            ]
        ]
        answers = [
            f"WHEN {number} THEN {write_term(where, Sql(workspace, now, values, is_required=False))}"
            for number, (workspace, where, _) in enumerate(some)
        ]
        matching = await session.rows(
            "SELECT given.question, c.id FROM given(question bigint, workspace bigint, contact bigint)"
            f" JOIN contacts c ON c.id = given.contact AND c.workspace_id = given.workspace WHERE {PRESENT}"
            f" AND CASE given.question {' '.join(answers)} END",
            *values,
        )
        for row in matching:
            matches[start + row["question"]].add(row["id"])
    return matches


async def find_emptying_term(workspace: Workspace, *, query: Filter, now: int) -> str | None:
    """Return the text of the first term that, together with the terms before it, no contact matches, or None."""
    parts = query.where.parts if isinstance(query.where, All) else (query.where,)
    for length, text in enumerate(query.texts, start=1):
        if not await count(workspace, query=replace(query, where=All(parts[:length])), most=1, now=now):
            return text
    return None


async def _load_rows(
    workspace: Workspace,
    contact_filter: Filter,
    *,
    among: Sequence[int] | None,
    has_key: bool,
    last_values: list[object] | None,
    limit: int,
    now: int,
) -> list[Row]:
    """Return the next contacts that have, or lack, the first sort key, with their sort keys.

    *among* are all matches of the filter; None: the contacts are read in the order of an index until enough match.
    """
    sql = Sql(workspace, now, [] if among is None else [[{"id": id} for id in among]], is_required=False)
    source, id, where, keys = "contacts c", "c.id", list[str](), list[_Key]()
    if among is not None:
        source = "given(id bigint) JOIN contacts c ON c.id = given.id"
    for number, sort in enumerate(contact_filter.sort):
        if isinstance(sort.by, str):
            column = f'c.{sort.by}_key COLLATE "C"'
            if number:
                keys.append(_Key(column, sort.descending))
            elif has_key:
                where.append(f"{column} IS NOT NULL")
                keys.append(_Key(column, sort.descending, is_always_present=True))
            else:
                where.append(f"{column} IS NULL")
            continue
        definition = sql.bind(sort.by.definition)
        if number == 0 and has_key:
            if among is None:  # with CROSS JOIN, SQLite reads the scores first, and stops when there are enough matches
                source, id = "scores s0 CROSS JOIN contacts c", "s0.contact_id"
                sql.leading, sql.contact = sort.by.definition, id
                where.append("c.id = s0.contact_id")
            else:
                source += " JOIN scores s0 ON s0.contact_id = c.id"
            where.append(f"s0.definition_id = {definition} AND s0.rank IS NOT NULL")
            keys.append(_Key("s0.rank", sort.descending, is_always_present=True))
        elif number == 0:
            subselect = f"SELECT 1 FROM scores WHERE contact_id = c.id AND definition_id = {definition}"
            where.append(f"NOT EXISTS ({subselect} AND rank IS NOT NULL)")
        else:
            alias = f"s{number}"
            source += f" LEFT JOIN scores {alias} ON {alias}.contact_id = c.id AND {alias}.definition_id = {definition}"
            keys.append(_Key(f"{alias}.rank", sort.descending))
    if among is None:
        where.append(write_membership(contact_filter.where, sql))
    if last_values is not None:
        where.append(_write_after(keys, last_values, sql, id=id))
    columns = "".join(f", {key.expression} AS key{number}" for number, key in enumerate(keys))
    order = [("" if key.is_always_present else f"{key.expression} IS NULL, ") + _write_order(key) for key in keys]
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    return await database.read(
        f"SELECT c.id{columns} FROM {source}{condition} ORDER BY {', '.join([*order, id])} LIMIT {limit}",
        *sql.values,
    )


def _write_order(key: _Key) -> str:
    return f"{key.expression} {'DESC' if key.descending else 'ASC'}"


def _write_after(keys: Sequence[_Key], values: Sequence[object], sql: Sql, *, id: str) -> str:
    """Return a SQL condition for the rows that sort after the row with *values*: its sort keys, then its id."""
    alternatives, equalities = list[str](), list[str]()
    for key, value in zip(keys, values[:-1], strict=True):
        if value is not None:
            bound = sql.bind(value)
            beyond = f"{key.expression} {'<' if key.descending else '>'} {bound}"
            alternatives.append(
                " AND ".join(
                    [*equalities, beyond if key.is_always_present else f"({beyond} OR {key.expression} IS NULL)"]
                )
            )
            equalities.append(f"{key.expression} = {bound}")
        else:
            equalities.append(f"{key.expression} IS NULL")
    alternatives.append(" AND ".join([*equalities, f"{id} > {sql.bind(values[-1])}"]))
    start = ""
    if keys and keys[0].is_always_present:  # redundant, but it makes the index scan start at the right entry
        start = f"{keys[0].expression} {'<=' if keys[0].descending else '>='} {sql.bind(values[0])} AND "
    return f"{start}({' OR '.join(f'({alternative})' for alternative in alternatives)})"


def _write_cursor(phase: int, row: Row, *, instant: int) -> str:
    values = [row[f"key{number}"] for number in range(len(row) - 1)]
    return base64.urlsafe_b64encode(json.dumps([instant, phase, *values, row["id"]]).encode()).decode().rstrip("=")


def _read_cursor(
    cursor: str | None, phases: Sequence[bool], contact_filter: Filter, *, now: int
) -> tuple[int, list[object] | None, int]:
    if cursor is None:
        return 0, None, now
    try:
        instant, phase, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        in_rest = len(phases) == 2 and not phases[phase]
        kinds = [int if isinstance(sort.by, ScoreType) else str for sort in contact_filter.sort[1 if in_rest else 0 :]]
        fits = [value is None or type(value) is kind for value, kind in zip(values[:-1], kinds, strict=True)]
        # Another process with a clock that runs ahead may have written the cursor, so its instant may be in the future.
        if not all(fits) or type(values[-1]) is not int or type(instant) is not int or not 0 <= instant <= now + DAY:
            raise BadCursor
        if type(phase) is not int or not 0 <= phase < len(phases):
            raise BadCursor
        if phases[phase] and values[0] is None:
            if isinstance(contact_filter.sort[0].by, ScoreType):
                raise BadCursor
            phase, values = 1, values[1:]  # written by an earlier version, in which texts had one phase
        if any(isinstance(value, int) and abs(value) > database.LARGEST_ID for value in values):
            raise BadCursor
        # Refuse NUL, and an unpaired surrogate: encode() raises ValueError for it.
        if any("\0" in value.encode().decode() for value in values if isinstance(value, str)):
            raise BadCursor
    except (ValueError, TypeError, IndexError, RecursionError) as exc:
        raise BadCursor from exc
    return phase, values, instant
