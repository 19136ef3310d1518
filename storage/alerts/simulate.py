"""Simulate an alert rule over the last 30 days of the ledger, without changing anything."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import nsmallest
from itertools import accumulate, groupby
from typing import TypeAlias

from storage.alerts.rules import watch_for
from storage.db import database
from storage.domain.alerts.kinds import Watch
from storage.domain.alerts.memory import AlertMemory, Decision
from storage.domain.alerts.syntax import AlertWords, read_alert
from storage.domain.facts import BEFORE_ALL, DAY
from storage.domain.filters import parse, with_addresses
from storage.domain.filters.terms import Filter
from storage.domain.fold import ScoreState, make_initial_state
from storage.domain.past_contacts import ContactLedger, fold_as_happened
from storage.domain.people import Workspace
from storage.reading import segments
from storage.reading.current_scores import rank_at
from storage.reading.past_contacts import load_contact_ledgers
from storage.scoring.definitions import score_types

DAYS = 30
CONTACTS, CHANGES = 500, 10_000  #: the most contacts and changes in a batch; all changes of a contact are in one batch
NEWEST = 100  #: the most firings that are returned


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """The result of a simulation."""

    words: AlertWords
    firings: Sequence[tuple[int, int]]  #: (contact, instant in µs) of the NEWEST firings, newest first
    number: int  #: how many times the rule would have fired
    spent: int  #: how many times the cool-down would have kept it from firing


@dataclass(frozen=True, slots=True)
class _CourseChange:
    """A change of one score by a batch."""

    at: int
    after: ScoreState
    batch: str


@dataclass(frozen=True, slots=True)
class _Course:
    """The history of one score in the simulated time."""

    contact: int
    initial_state: ScoreState  #: the state before the first change
    changes: Sequence[_CourseChange]  #: oldest first


#: returns whether a contact met the condition at an instant, after a batch; None: time alone made the rule fire
_Condition: TypeAlias = Callable[[int, int, str | None], bool]


async def try_alert(workspace: Workspace, *, words: str, owners: dict[str, str | None], now: int) -> Simulation:
    """Simulate a rule over the last 30 days, a batch of contacts at a time.

    The condition is asked at each firing, of the contact as it was at that instant. Follow-ups are those of now.
    Raises BadAlert, UnknownScoreType, BadFilter.
    """
    types = await score_types(workspace)
    parsed = read_alert(words, types)
    reader = database.current_database().reader
    saved = await segments.load_segments(reader, workspace)
    condition = parse(with_addresses(parsed.condition, owners), types, owners={"me": owners.get("me")}, segments=saved)
    replay = partial(_replay_courses, watch_for(parsed), since=now - DAYS * DAY, until=now)
    newest, number, spent = list[tuple[int, int]](), 0, 0
    async for courses in _load_batches(workspace, watch_for(parsed), now=now):
        firings, course_spent = await asyncio.to_thread(replay, courses, is_met=lambda *_: True)
        if parsed.condition and firings:
            fired = {contact for contact, _ in firings}
            is_met = _make_condition(condition, await load_contact_ledgers(reader, workspace, fired))
            firings, course_spent = await asyncio.to_thread(replay, courses, is_met=is_met)
        newest = nsmallest(NEWEST, [*newest, *firings], key=lambda firing: (-firing[1], firing[0]))
        number, spent = number + len(firings), spent + course_spent
    return Simulation(words=parsed, firings=newest, number=number, spent=spent)


def _make_condition(condition: Filter, ledgers: Mapping[int, ContactLedger]) -> _Condition:
    def is_met(contact: int, at: int, batch: str | None) -> bool:
        return condition.matches(fold_as_happened(ledgers[contact], condition.scores, at=at, batch=batch))

    return is_met


async def _load_batches(workspace: Workspace, watch: Watch, *, now: int) -> AsyncIterator[list[_Course]]:
    """Yield batches of the score histories of all contacts, of the last 30 days plus the span of the rule."""
    definition, since, after = watch.score_type.definition, now - DAYS * DAY - watch.span, 0
    instant = "CAST($3 AS BIGINT)"
    effects = "FROM effects e WHERE e.contact_id = k.contact_id AND e.definition_id = $2 AND e.at"
    while True:
        rows = await database.read(
            f"SELECT c.id, k.contact_id IS NOT NULL AS has_score, {rank_at(instant)} AS rank_then,"
            f" (SELECT max(e.at) {effects} <= {instant}) AS last_at,"
            f" (SELECT count(*) {effects} > {instant}) AS changes"
            " FROM contacts c LEFT JOIN scores k ON k.contact_id = c.id AND k.definition_id = $2"
            " WHERE c.workspace_id = $1 AND c.id > $4 AND c.merged_into IS NULL ORDER BY c.id LIMIT $5",
            workspace.id,
            definition,
            since,
            after,
            CONTACTS,
        )
        if not rows:
            return
        totals = accumulate(row["changes"] for row in rows)
        rows = [row for row, total in zip(rows, totals, strict=True) if total <= CHANGES] or rows[:1]
        after = rows[-1]["id"]
        yield await _load_courses(watch, [row for row in rows if row["has_score"]], since=since)


async def _load_courses(watch: Watch, scored: Sequence[database.Row], *, since: int) -> list[_Course]:
    effect_rows = await database.read(
        "SELECT e.contact_id, e.at, e.rank_after, f.batch FROM given(contact bigint)"
        " JOIN effects e ON e.contact_id = given.contact JOIN facts f ON f.id = e.fact_id"
        " WHERE e.definition_id = $2 AND e.at > $3"
        ' ORDER BY e.contact_id, e.at, f.source COLLATE "C", f.dedupe_key COLLATE "C", f.subject COLLATE "C"',
        [{"contact": row["id"]} for row in scored],
        watch.score_type.definition,
        since,
    )
    by_contact = {
        contact: list(changes) for contact, changes in groupby(effect_rows, key=lambda row: int(row["contact_id"]))
    }
    first = make_initial_state(watch.score_type)
    return [
        _Course(
            row["id"],
            _make_state(first, row["rank_then"], row["last_at"]),
            # A rule is evaluated once for a delivery: keep only the last state of each batch.
            [
                _CourseChange(last["at"], _make_state(first, last["rank_after"], last["at"]), last["batch"])
                for last in _list_batch_ends(by_contact.get(row["id"], []))
            ],
        )
        for row in scored
    ]


def _list_batch_ends(rows: Sequence[database.Row]) -> Iterator[database.Row]:
    for _, batch_rows in groupby(rows, key=lambda row: row["batch"]):
        yield list(batch_rows)[-1]


def _make_state(first: ScoreState, rank: int | None, at: int | None) -> ScoreState:
    return replace(first, rank=rank, at=at or 0, last=(at, *BEFORE_ALL[1:]) if at is not None else BEFORE_ALL)


def _replay_courses(
    watch: Watch, courses: Sequence[_Course], *, is_met: _Condition, since: int, until: int
) -> tuple[list[tuple[int, int]], int]:
    firings, spent = list[tuple[int, int]](), 0
    for course in courses:
        fired, memory = _replay_course(watch, course, is_met=is_met, since=since, until=until)
        firings += [(course.contact, at) for at in fired]
        spent += memory.spent
    return firings, spent


def _replay_course(
    watch: Watch, course: _Course, *, is_met: _Condition, since: int, until: int
) -> tuple[list[int], AlertMemory]:
    """Evaluate a rule at every change of one score, and at the instants between them that time alone decides.

    Return the instants at which the rule fired, and its memory at *until*.
    """
    before = [change for change in course.changes if change.at <= since]
    state, fired = before[-1].after if before else course.initial_state, list[int]()
    memory = replace(watch.enroll(AlertMemory(), state, since=since), seen_at=since)

    def apply(decision: Decision, at: int, batch: str | None) -> AlertMemory:
        if not decision.fires:
            return decision.memory
        if not is_met(course.contact, at, batch):
            return replace(decision.memory, fired_at=memory.fired_at)
        fired.append(at)
        return decision.memory

    for change in [*course.changes[len(before) :], None]:
        at = until if change is None else change.at
        while (due_at := watch.next_evaluation(memory, state)) is not None and due_at <= at:
            memory = apply(watch.evaluate(memory, state, now=due_at), due_at, None)
        if change is None:
            break
        state = change.after
        earlier = _find_value(watch, course, at - watch.span) if watch.compares else None
        decision = watch.evaluate_change(memory, state, earlier, now=at)
        memory = apply(decision, at, change.batch)
    return fired, memory


def _find_value(watch: Watch, course: _Course, instant: int) -> int | None:
    earlier = [change.after for change in course.changes if change.at <= instant]
    return (earlier[-1] if earlier else course.initial_state).value(watch.score_type, now=instant)
