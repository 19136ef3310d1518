"""Say what an alert rule would have asked for, had it been there: replayed from the ledger, changing nothing."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from storage import database, queries, segments
from storage.alert_rules import watch_of
from storage.definitions import score_types
from storage.domain.alert_words import AlertWords, read_alert
from storage.domain.alerts import TRENDS, Decision, Kind, Memory, Watch, look, look_back, next_look
from storage.domain.facts import BEFORE_ALL, DAY
from storage.domain.filters import parse, with_addresses
from storage.domain.fold import State, beginning
from storage.domain.people import Workspace
from storage.scores import rank_at

DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a rule would have asked for, newest first: contact and instant."""

    words: AlertWords
    asked: Sequence[tuple[int, int]]
    spent: int  #: how often it would have asked once more within its rest


@dataclass(frozen=True, slots=True)
class _Course:
    """What a score did: the state it had at the beginning, and those that changes left since, each with its instant."""

    contact: int
    beginning: State
    changes: Sequence[tuple[int, State]]


async def try_alert(workspace: Workspace, *, words: str, owners: dict[str, str | None], now: int) -> Tried:
    """Replay the last thirty days; raises BadAlert, UnknownScoreType, BadFilter.

    Whether a contact fits the condition is asked as of now: the ledger does not say what a filter said then.
    """
    types = await score_types(workspace)
    read = read_alert(words, types)
    asked = parse(
        with_addresses(read.condition, owners),
        types,
        segments=await segments.kept(database.current().reader, workspace),
    )
    reader = database.current().reader
    fitting = set(await queries.holding(reader, workspace, where=asked.where, among=None, now=now))
    watch = watch_of(read)
    courses = [course for course in await _courses(workspace, watch, now=now) if course.contact in fitting]
    firings, spent = await asyncio.to_thread(_replay, watch, courses, since=now - DAYS * DAY, until=now)
    return Tried(words=read, asked=sorted(firings, key=lambda each: (-each[1], each[0])), spent=spent)


async def _courses(workspace: Workspace, watch: Watch, *, now: int) -> list[_Course]:
    """Read what every score of the type did since thirty days before, and the span of the rule before that."""
    definition, since = watch.score_type.definition, now - DAYS * DAY - watch.span
    instant = "CAST($3 AS BIGINT)"
    earlier = (
        "SELECT max(e.at) FROM effects e"
        f" WHERE e.contact_id = k.contact_id AND e.definition_id = $2 AND e.at <= {instant}"
    )
    scored = await database.read(
        f"SELECT k.contact_id, {rank_at(instant)} AS rank_then, ({earlier}) AS last_at FROM scores k"
        " JOIN contacts c ON c.id = k.contact_id"
        " WHERE k.definition_id = $2 AND k.workspace_id = $1 AND c.merged_into IS NULL ORDER BY k.contact_id",
        workspace.id,
        definition,
        since,
    )
    changed = await database.read(
        "SELECT e.contact_id, e.at, e.rank_after, f.batch FROM effects e JOIN facts f ON f.id = e.fact_id"
        " WHERE e.workspace_id = $1 AND e.definition_id = $2 AND e.at > $3"
        ' ORDER BY e.contact_id, e.at, f.source COLLATE "C", f.dedupe_key COLLATE "C", f.subject COLLATE "C"',
        workspace.id,
        definition,
        since,
    )
    by_contact = {contact: list(rows) for contact, rows in groupby(changed, key=lambda row: int(row["contact_id"]))}
    first = beginning(watch.score_type)
    return [
        _Course(
            row["contact_id"],
            _state(first, row["rank_then"], row["last_at"]),
            # Of one delivery only the end counts.
            [
                (last["at"], _state(first, last["rank_after"], last["at"]))
                for last in _ends(by_contact.get(row["contact_id"], []))
            ],
        )
        for row in scored
    ]


def _ends(rows: Sequence[database.Row]) -> Iterator[database.Row]:
    for _, same in groupby(rows, key=lambda row: row["batch"]):
        yield list(same)[-1]


def _state(first: State, rank: int | None, at: int | None) -> State:
    return replace(first, rank=rank, at=at or 0, last=(at, *BEFORE_ALL[1:]) if at is not None else BEFORE_ALL)


def _replay(watch: Watch, courses: Sequence[_Course], *, since: int, until: int) -> tuple[list[tuple[int, int]], int]:
    firings, spent = list[tuple[int, int]](), 0
    for course in courses:
        fired, memory = _run(watch, course, since=since, until=until)
        firings += [(course.contact, at) for at in fired]
        spent += memory.spent
    return firings, spent


def _run(watch: Watch, course: _Course, *, since: int, until: int) -> tuple[list[int], Memory]:
    """Look at one score as the rule would have: at every change, and at what time decided between."""
    before = [(at, state) for at, state in course.changes if at <= since]
    state, fired = before[-1][1] if before else course.beginning, list[int]()
    memory = _inside_already(watch, state, since)

    def take(decision: Decision, at: int) -> Memory:
        if decision.fires:
            fired.append(at)
        return decision.memory

    for at, after in [*course.changes[len(before) :], (until, None)]:
        while (due := next_look(watch, memory, state)) is not None and due <= at:
            memory = take(look(watch, memory, state, now=due), due)
        if after is None:
            break
        state = after
        if watch.kind in TRENDS:
            then = _then(course, at - watch.span).value(watch.score_type, now=at - watch.span)
            memory = take(look_back(watch, memory, after.value(watch.score_type, now=at), then, now=at), at)
        else:
            memory = take(look(watch, memory, after, now=at), at)
    return fired, memory


def _then(course: _Course, instant: int) -> State:
    earlier = [state for at, state in course.changes if at <= instant]
    return earlier[-1] if earlier else course.beginning


def _inside_already(watch: Watch, state: State, since: int) -> Memory:
    """Give what the rule would have remembered at its beginning: who was inside was not asked for."""
    if watch.kind in TRENDS:
        return Memory(seen_at=since)
    inside = look(replace(watch, hold=0), Memory(), state, now=since)
    waiting = inside.memory.pending_until if watch.kind is Kind.UNTOUCHED else None
    return Memory(taken=inside.memory.taken, pending_until=waiting, seen_at=since)
