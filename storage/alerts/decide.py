"""Evaluate alert rules and open or close follow-ups, in the transaction that changed the scores.

A rule can also fire or re-arm by time alone: a score decays, a hold ends. A write first evaluates the instants before
it; a sweep evaluates contacts without a write. Both evaluate the same instants in the same order.

The condition of a rule is checked once, when the rule fires, for the contact as it was at that instant. If the instant
is the write itself, one statement per rule checks all its contacts. If the rule fires by time alone, the contact is
folded to that instant, so that the result does not depend on when the rule is evaluated.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from heapq import merge
from typing import TypeAlias, TypeVar

from storage.alerts import enroll, followup_moves
from storage.alerts import memory as alert_memory
from storage.alerts import rules as alert_rules
from storage.alerts.followup_moves import NewFollowUp
from storage.alerts.followups import DIGEST
from storage.alerts.memory import Watched
from storage.alerts.rules import AlertRule
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.alerts.kinds import Watch
from storage.domain.alerts.memory import AlertMemory, Decision
from storage.domain.decay import bound, shown
from storage.domain.errors import Refusal
from storage.domain.filters import parse
from storage.domain.filters.terms import Filter
from storage.domain.fold import ScoreState
from storage.domain.followups import FollowUpMove
from storage.domain.past_contacts import fold_as_known
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved
from storage.domain.texts import match_key
from storage.ledger import contacts, projection
from storage.ledger.contacts import StartAgain
from storage.ledger.plan import Plan
from storage.reading import current_scores, pages, segments
from storage.reading.past_contacts import load_contact_ledgers
from storage.scoring import definitions

T = TypeVar("T")
OWNERS, ADMINS = "owner:", "admins"  # lanes of follow-ups without a channel: an owner (prefix), or the admins

SWEEP = "sweep"  #: the kind and the lane of the job that evaluates rules that may fire or re-arm by time alone
SWEEP_EVERY = 60_000_000
#: µs that a sweep looks back before the last one: a write that was uncommitted during that sweep is evaluated now
OVERLAP = 120_000_000
MOST_SWEPT = 500  # contacts in one transaction
MOST_ASKED = 500  # contact rows in one transaction that asks for newcomers
MOST_TRIES = 8


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """A rule to evaluate for a score. *plan* and *moved* describe the write that changed the score; None in a sweep."""

    workspace: Workspace
    rule: AlertRule
    watch: Watch
    contact: int
    state: ScoreState
    plan: Plan | None = None
    moved: Moved | None = None

    @property
    def watched(self) -> Watched:
        return (self.rule.id, self.contact)

    @property
    def batch(self) -> str | None:
        """The batch of the write, if an undo can name it: the write of a person."""
        return self.plan.submission.batch if self.plan is not None and self.plan.submission.actor else None


@dataclass(frozen=True, slots=True)
class _Instant:
    """An instant to evaluate a rule at, with the score before and after. *by_time*: no write changed the score."""

    evaluation: _Evaluation
    at: int
    before: int | None
    after: int | None
    by_time: bool


#: returns whether the contact met the condition of its rule at an instant at which the rule fires
_Condition: TypeAlias = Callable[[_Instant], bool]


@dataclass(frozen=True, slots=True)
class _Event:
    """At *at*, open a follow-up for *opens*; None: the rule lets its open follow-up go, by the move *move*."""

    at: int
    move: FollowUpMove = FollowUpMove.FALL_BACK
    opens: _Instant | None = None


@dataclass(frozen=True, slots=True)
class _Decisions:
    """The decisions of a rule about a contact so far, as events in order, and the memory of the rule after them."""

    evaluation: _Evaluation
    memory: AlertMemory
    events: tuple[_Event, ...] = ()
    unasked: int = 0  #: follow-ups that were not opened because the submission is muted
    unsent: int = 0  #: follow-ups that were not opened because they would go to the person who made the change

    def apply(self, instant: _Instant, decision: Decision, *, is_met: _Condition) -> "_Decisions":
        """Add the decision for the next instant. The cool-down starts only if a follow-up was opened."""
        memory, opens, unasked = decision.memory, False, self.unasked
        plan, rule = self.evaluation.plan, self.evaluation.rule
        if decision.fires:
            is_matching = rule.paused_at is None and (not rule.condition or is_met(instant))
            is_muted = plan is not None and (plan.submission.muted or plan.undo is not None)
            opens = is_matching and (instant.by_time or not is_muted)
            if not opens:
                unasked += is_matching and plan is not None
                memory = replace(memory, fired_at=self.memory.fired_at)
        if not memory.has_same_state(self.memory):
            ends_hold = instant.by_time and self.memory.pending_until is not None and memory.taken
            if not ends_hold:  # the change that began the hold is the cause of what its end decides
                batch = None if instant.by_time else self.evaluation.batch
                memory = memory.attribute(self.memory, batch=batch)
        events = self.events
        if decision.closes or opens:
            events = (*events, _Event(instant.at, opens=instant if opens else None))
        return replace(self, memory=memory, events=events, unasked=unasked)

    def enroll(self, state: ScoreState) -> "_Decisions":
        """Enroll the contact, if its memory is older than the enrollment of the rule. *state*: the score since then."""
        rule = self.evaluation.rule
        if self.memory.enrollment == rule.enrollment:
            return self
        memory = self.evaluation.watch.enroll(self.memory.forget_cause(), state, since=rule.enrolled_at)
        return replace(self, memory=replace(memory, enrollment=rule.enrollment))

    def settle(self, state: ScoreState, *, until: int, is_met: _Condition) -> "_Decisions":
        """Evaluate the rule at every instant up to *until* at which it may fire or re-arm by time alone.

        Raises RuntimeError if the next instant is not later than the last one: an endless loop would block the
        transaction and the process.
        """
        decisions, last, watch = self, -1, self.evaluation.watch
        while True:
            at = watch.next_evaluation(decisions.memory, state)
            if at is None or at > until:
                return decisions
            if at <= last:
                rule, contact = self.evaluation.watched
                raise RuntimeError(f"alert rule {rule} would evaluate contact {contact} at {at} again")
            last = at
            before, after = (state.value(watch.score_type, now=instant) for instant in (at - 1, at))
            instant = _Instant(self.evaluation, at, before, after, by_time=True)
            decision = watch.evaluate(decisions.memory, state, now=at)
            decisions = decisions.apply(instant, decision, is_met=is_met)

    def regroup(self, state: ScoreState, *, at: int) -> "_Decisions":
        """Evaluate a score that changed only by a merge or a split: the follow-up may close, but none is opened."""
        decision = self.evaluation.watch.evaluate(self.memory, state, now=at)
        memory = replace(decision.memory, fired_at=self.memory.fired_at)
        if not memory.has_same_state(self.memory):
            memory = memory.forget_cause()
        return replace(self, memory=memory, events=(*self.events, _Event(at)) if decision.closes else self.events)

    def undo(self, instant: _Instant, earlier: int | None, *, is_met: _Condition) -> "_Decisions":
        """Evaluate a score that an undo changed. The undo opens no follow-up.

        If the undone change decided last, the memory that it found is put back, and the follow-up that it opened is
        taken back; unless the score is inside for another reason. Otherwise the rule is evaluated as usual, but a score
        that the undo moves out of the region re-arms the rule without a margin.
        """
        watch, state, plan = self.evaluation.watch, self.evaluation.state, self.evaluation.plan
        assert plan is not None
        assert plan.undo is not None
        at, found = instant.at, self.memory.found
        if found is not None and plan.undo.reverts(self.memory.cause):
            decision = watch.evaluate_change(replace(found, enrollment=self.memory.enrollment), state, earlier, now=at)
            begins = decision.fires or (decision.memory.taken and not found.taken)
            begins |= decision.memory.pending_until is not None and found.pending_until is None
            if not begins:
                return self._put_back(decision, at)
        decisions = self.apply(instant, watch.evaluate_change(self.memory, state, earlier, now=at), is_met=is_met)
        is_left = watch.is_left_by_undo(instant.before, instant.after)
        if not is_left or not (decisions.memory.taken or watch.compares):
            return decisions
        memory = replace(decisions.memory, taken=False).attribute(self.memory, batch=self.evaluation.batch)
        return replace(decisions, memory=memory, events=(*decisions.events, _Event(at)))

    def _put_back(self, decision: Decision, at: int) -> "_Decisions":
        """Restore the memory of *decision*. The follow-up of the undone change is taken back, if it opened one."""
        fired_at, events = self.memory.fired_at, self.events
        if fired_at == decision.memory.fired_at:
            events = (*events, _Event(at)) if decision.closes else events
        elif any(event.opens is not None and event.at == fired_at for event in events):
            # The end of a hold has opened it just now, before the undo: it need not be opened.
            events = tuple(event for event in events if event.opens is None or event.at != fired_at)
        else:
            events = (*events, _Event(at, FollowUpMove.TAKE_BACK))
        return replace(self, memory=decision.memory, events=events)


async def decide_all(
    session: Session,
    plans: Sequence[Plan],
    rules: Mapping[int, Sequence[AlertRule]],
    known: Mapping[Watched, AlertMemory],
    *,
    now: int,
) -> tuple[list[Plan], Mapping[Watched, AlertMemory]]:
    """Evaluate every rule for the score changes of each plan. Return the plans and the alert memory.

    The plans share no contact, and all their other changes are already written. *rules* are by workspace id. *known* is
    the alert memory that this transaction has read or written; it is returned with the additions. `unasked` of the
    returned plans is the number of follow-ups that were not opened because the submission is muted.
    """
    evaluations = [evaluation for plan in plans for evaluation in _list_evaluations(plan, rules)]
    if not evaluations:
        return list(plans), known
    unknown = {evaluation.watched for evaluation in evaluations} - known.keys()
    loaded = await alert_memory.load_memory(session, unknown) if unknown else {}
    known = {**known, **dict.fromkeys(unknown, AlertMemory()), **loaded}
    earlier_values = await _load_earlier_values(session, evaluations)

    def decide_each(is_met: _Condition) -> list[_Decisions]:
        return [
            _decide(_Decisions(evaluation, known[evaluation.watched]), earlier_values.get(position), is_met=is_met)
            for position, evaluation in enumerate(evaluations)
        ]

    all_decisions = await _decide_with_conditions(session, decide_each, now=now)
    all_decisions = await _drop_own(session, all_decisions, known)
    saved = await _save(session, all_decisions, known, now=now)
    unasked, unsent = Counter[int](), Counter[int]()
    for decisions in all_decisions:
        if decisions.evaluation.plan is not None:
            unasked[decisions.evaluation.plan.position] += decisions.unasked
            unsent[decisions.evaluation.plan.position] += decisions.unsent
    plans = [replace(plan, unasked=unasked[plan.position], unsent=unsent[plan.position]) for plan in plans]
    return plans, {**known, **saved}


async def _drop_own(
    session: Session, all_decisions: Sequence[_Decisions], known: Mapping[Watched, AlertMemory]
) -> list[_Decisions]:
    """Return the decisions without the follow-ups that would go directly to the person who made the change.

    The rule counts the contact as taken all the same, but its cool-down does not start.
    """
    rows = [
        {"contact": decisions.evaluation.contact, "owner": match_key(address)}
        for decisions in all_decisions
        if (address := _find_own_address(decisions)) is not None
    ]
    if not rows:
        return list(all_decisions)
    owned = await session.rows(
        "SELECT c.id, c.owner_key FROM given(contact bigint, owner text)"
        " JOIN contacts c ON c.id = given.contact AND c.owner_key = given.owner"
        " JOIN workspaces w ON w.id = c.workspace_id AND w.alert_channel IS NULL",
        rows,
    )
    own = {(row["id"], row["owner_key"]) for row in owned}
    remaining = list[_Decisions]()
    for decisions in all_decisions:
        address = _find_own_address(decisions)
        if address is None or (decisions.evaluation.contact, match_key(address)) not in own:
            remaining.append(decisions)
            continue
        events = decisions.events[:-1]
        earlier = [event.at for event in events if event.opens is not None]
        fired_at = earlier[-1] if earlier else known[decisions.evaluation.watched].fired_at
        memory = replace(decisions.memory, fired_at=fired_at)
        remaining.append(replace(decisions, events=events, memory=memory, unsent=1))
    return remaining


def _find_own_address(decisions: _Decisions) -> str | None:
    """Return the address of the person whose change made a rule fire whose follow-ups may go to owners directly."""
    plan, rule = decisions.evaluation.plan, decisions.evaluation.rule
    if plan is None or not decisions.events or rule.channel is not None or rule.in_digest:
        return None
    opens = decisions.events[-1].opens
    return None if opens is None or opens.by_time else plan.submission.actor_address


def reads_scores(rule: AlertRule) -> bool:
    """Return whether a rule reads scores or effects from the database: they must be saved before it is evaluated."""
    return bool(rule.condition) or rule.kind.compares


def _decide(decisions: _Decisions, earlier: int | None, *, is_met: _Condition) -> _Decisions:
    """Evaluate a rule up to the time of a plan, then for a merge or split in it, then for its change of the score."""
    evaluation = decisions.evaluation
    plan, moved, watch = evaluation.plan, evaluation.moved, evaluation.watch
    assert plan is not None
    assert moved is not None
    decisions = decisions.enroll(moved.was)
    at = max(plan.submission.received_at, decisions.memory.seen_at)
    decisions = decisions.settle(moved.was, until=at, is_met=is_met)
    before, silent = moved.before, plan.silent.get((evaluation.contact, watch.score_type.key))
    if silent is not None:
        decisions = decisions.regroup(silent, at=at)
        before = silent.value(watch.score_type, now=at)
    instant = _Instant(evaluation, at, earlier if watch.compares else before, moved.after, by_time=False)
    if plan.undo is not None:
        return decisions.undo(replace(instant, before=before), earlier, is_met=is_met)
    decision = watch.evaluate_change(decisions.memory, evaluation.state, earlier, now=at)
    return decisions.apply(instant, decision, is_met=is_met)


async def _decide_with_conditions(
    session: Session, decide_each: Callable[[_Condition], list[_Decisions]], *, now: int
) -> list[_Decisions]:
    """Run *decide_each* with the conditions of the rules that fire, and return the decisions.

    A first run assumes that every condition is met. It finds every contact for which a rule may fire, because a
    condition affects only later instants of the same rule and contact. The second run uses the conditions loaded for
    these contacts.
    """
    firings: list[_Instant] = []

    def is_met(instant: _Instant) -> bool:
        firings.append(instant)
        return True

    all_decisions = decide_each(is_met)
    if not firings:
        return all_decisions
    answer = await _load_conditions(session, firings, now=now)
    if any(instant.by_time for instant in firings):  # contacts are folded, which takes a while after an outage
        return await asyncio.to_thread(decide_each, answer)
    return decide_each(answer)


async def _load_conditions(session: Session, firings: Sequence[_Instant], *, now: int) -> _Condition:
    """Load what the conditions of the rules in *firings* need, for any instant of the same rules and contacts."""
    by_rule: dict[int, list[_Instant]] = {}
    past: dict[Workspace, set[int]] = {}  #: the contacts for which a rule fires by time alone
    for instant in firings:
        by_rule.setdefault(instant.evaluation.rule.id, []).append(instant)
        if instant.by_time:
            past.setdefault(instant.evaluation.workspace, set()).add(instant.evaluation.contact)
    conditions: dict[int, Filter | None] = {}
    matching: dict[int, frozenset[int]] = {}  #: rule id → the contacts that match now
    for id, instants in by_rule.items():
        workspace, rule = instants[0].evaluation.workspace, instants[0].evaluation.rule
        types = (await definitions.live(session, {workspace.id}))[workspace.id]
        condition = conditions[id] = await _parse_condition(session, workspace, rule, tuple(types.values()))
        written = sorted({instant.evaluation.contact for instant in instants if instant.evaluation.plan is not None})
        if condition is not None and written:
            matching[id] = frozenset(
                await pages.matching_contacts(session, workspace, where=condition.where, among=written, now=now)
            )
    ledgers = {
        contact: ledger
        for workspace, contacts_fired in past.items()
        for contact, ledger in (await load_contact_ledgers(session, workspace, contacts_fired)).items()
    }

    def is_met(instant: _Instant) -> bool:
        evaluation = instant.evaluation
        condition = conditions[evaluation.rule.id]
        if condition is None:
            return False
        if not instant.by_time:
            return evaluation.contact in matching[evaluation.rule.id]
        ledger = ledgers[evaluation.contact]
        return condition.matches(fold_as_known(ledger, condition.scores, at=instant.at))

    return is_met


async def _parse_condition(
    session: Session, workspace: Workspace, rule: AlertRule, types: Sequence[ScoreType]
) -> Filter | None:
    """Parse the condition of a rule. Return None, for "no contact matches", if it refers to something that was deleted.

    Conditions refer to score types, bands and segments.
    """
    try:
        saved = await segments.load_segments(session, workspace)
        return parse(rule.condition, types, owners=rule.owners, segments=saved)
    except Refusal:
        return None


async def _save(
    session: Session, all_decisions: Sequence[_Decisions], loaded: Mapping[Watched, AlertMemory], *, now: int
) -> dict[Watched, AlertMemory]:
    """Close and open follow-ups in the order of the decisions. Save and return the alert memory that changed."""
    for closing, opening in _list_turns(all_decisions):
        for move in (FollowUpMove.FALL_BACK, FollowUpMove.TAKE_BACK):
            letting_go = {watched: event.at for watched, event in closing.items() if event.move is move}
            await followup_moves.let_rules_go(session, letting_go, move=move, now=now)
        await followup_moves.open_follow_ups(session, await _make_follow_ups(session, opening), now=now)
    changed = dict[Watched, AlertMemory]()
    for decisions in all_decisions:
        evaluation, memory = decisions.evaluation, decisions.memory
        before = loaded.get(evaluation.watched, AlertMemory())
        is_same = replace(memory, seen_at=before.seen_at, enrollment=before.enrollment) == before
        if not is_same or evaluation.watch.is_behind(before, evaluation.state, now=memory.seen_at):
            changed[evaluation.watched] = memory
    await alert_memory.save_memory(session, changed)
    return changed


def _list_turns(all_decisions: Sequence[_Decisions]) -> list[tuple[dict[Watched, _Event], list[_Instant]]]:
    """Arrange the events of all contacts into as few turns as possible: in a turn, first rules let go, then rules fire.

    The events of one contact keep the order of their instants, whichever rules they are of. At one instant rules let go
    first, so that a follow-up closes before the next one opens; the events of one rule keep their order.
    """
    by_contact: dict[int, list[list[tuple[Watched, _Event]]]] = {}
    for decisions in all_decisions:
        if decisions.events:
            watched = decisions.evaluation.watched
            by_contact.setdefault(decisions.evaluation.contact, []).append([(watched, it) for it in decisions.events])
    turns: list[tuple[dict[Watched, _Event], list[_Instant]]] = []
    for lists in by_contact.values():
        turn, has_opened = 0, False
        for watched, event in merge(*lists, key=lambda entry: (entry[1].at, entry[1].opens is not None)):
            turn += has_opened and event.opens is None
            has_opened = event.opens is not None
            if turn == len(turns):
                turns.append(({}, []))
            closing, opening = turns[turn]
            if event.opens is None:
                closing[watched] = event
            else:
                opening.append(event.opens)
    for _, opening in turns:
        opening.sort(key=lambda instant: instant.at)
    return turns


def _list_evaluations(plan: Plan, rules: Mapping[int, Sequence[AlertRule]]) -> list[_Evaluation]:
    evaluations = list[_Evaluation]()
    for rule in rules.get(plan.workspace.id, ()) if plan.moved else ():
        watch = rule.watch(tuple(plan.types.values()))
        if watch is not None:
            evaluations += [
                _Evaluation(plan.workspace, rule, watch, moved.contact, moved.state, plan, moved)
                for moved in plan.moved
                if moved.score_type.key == watch.score_type.key
                and (
                    watch.is_affected(moved.before, moved.after, is_same_state=moved.was == moved.state)
                    or (moved.contact, moved.score_type.key) in plan.silent
                )
            ]
    return evaluations


async def _load_earlier_values(session: Session, evaluations: Sequence[_Evaluation]) -> dict[int, int | None]:
    """Return the score a span ago for rules that compare: position in *evaluations* → thousandths or None."""
    requests: dict[int, tuple[int, int, int]] = {}  #: position → (contact, definition of the score type, a span ago)
    for position, evaluation in enumerate(evaluations):
        watch = evaluation.watch
        if watch.compares and evaluation.plan is not None:
            at = evaluation.plan.submission.received_at - watch.span
            requests[position] = (evaluation.contact, watch.score_type.definition, at)
    if not requests:
        return {}
    earlier_values: dict[int, int | None] = {}
    for position, rank in (await current_scores.ranks_then(session, requests)).items():
        _, _, at = requests[position]
        score_type = evaluations[position].watch.score_type
        earlier_values[position] = None if rank is None else shown(score_type, rank, now=at)
    return earlier_values


async def _make_follow_ups(session: Session, instants: Sequence[_Instant]) -> list[NewFollowUp]:
    if not instants:
        return []
    rows = await session.rows(
        "SELECT c.id, c.owner_key, w.alert_channel FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        " JOIN workspaces w ON w.id = c.workspace_id",
        [{"id": id} for id in sorted({instant.evaluation.contact for instant in instants})],
    )
    rows_by_id = {row["id"]: row for row in rows}
    return [_make_follow_up(instant, rows_by_id[instant.evaluation.contact]) for instant in instants]


def _make_follow_up(instant: _Instant, row: Row) -> NewFollowUp:
    evaluation, rule = instant.evaluation, instant.evaluation.rule
    # A follow-up opened by time alone has no source, actor or reason.
    cause = None if evaluation.plan is None or instant.by_time else evaluation.plan.submission
    owner = f"{OWNERS}{row['owner_key']}" if row["owner_key"] else ADMINS
    return NewFollowUp(
        workspace=evaluation.workspace.id,
        rule=rule.id,
        contact=evaluation.contact,
        score=evaluation.watch.score_type.key,
        before=instant.before,
        after=instant.after,
        source="" if cause is None else cause.source,
        actor=None if cause is None else cause.actor,
        reason=None if cause is None else _find_reason(evaluation),
        lane=DIGEST if rule.in_digest else rule.channel or row["alert_channel"] or owner,
        at=instant.at,
        why=None if evaluation.watch.is_shown_by_score else evaluation.watch.words,
        words=f"{evaluation.watch.words} if {rule.condition}" if rule.condition else evaluation.watch.words,
        sla=rule.sla,
        escalate_to=rule.escalate_to,
    )


def _find_reason(evaluation: _Evaluation) -> str | None:
    """Return the reason of the plan's last fact about the evaluated score, or None."""
    new_facts = evaluation.plan.new if evaluation.plan is not None else ()
    scored = (evaluation.contact, evaluation.watch.score_type.key)
    return next(
        (new.fact.reason for new in reversed(new_facts) if (new.contact, new.planned.item.score) == scored), None
    )


async def preview_newcomers(
    workspace: Workspace, *, draft: ScoreType, most: int, now: int
) -> tuple[int, list[NewFollowUp]]:
    """Return the number of follow-ups that would be opened for newcomers if a built draft went live.

    Rules that fire for a contact in one place have one follow-up, and join one that is unfinished there. The first
    *most* of the follow-ups are returned too.
    """
    reader = database.current_database().reader
    live_types = (await definitions.live(reader, {workspace.id}))[workspace.id]
    types = tuple({**live_types, draft.key: draft}.values())
    asking = [
        (rule, watch, await _parse_condition(reader, workspace, rule, types))
        for rule in (await alert_rules.load_rules(reader, [workspace.id])).get(workspace.id, [])
        if (watch := rule.watch(types)) is not None and asks_newcomers(rule, watch, score=draft.key)
    ]
    count = last_id = 0
    first = list[NewFollowUp]()
    while asking and (values := await _load_values(reader, workspace, draft, after=last_id, at=now)):
        instants = list[_Instant]()
        for rule, watch, condition in asking:
            inside = [id for id, value in values.items() if watch.region.holds(value)]
            before = rule.watch(live_types.values())
            newcomers = await _list_newcomers(reader, workspace, rule, before, watch, inside, at=now)
            if condition is not None and newcomers:
                by_id = {evaluation.contact: evaluation for evaluation, _ in newcomers}
                where = condition.where
                ids = await pages.matching_contacts(reader, workspace, where=where, among=list(by_id), now=now)
                instants += [_Instant(by_id[id], now, None, values[id], by_time=True) for id in sorted(ids)]
        new = await _make_follow_ups(reader, instants)
        unfinished = await followup_moves.load_unfinished(reader, new)
        opened = {place: item for item in new if (place := (item.contact, item.lane)) not in unfinished}
        count += len(opened)
        first += list(opened.values())[: most - len(first)]
        last_id = max(values)
    return count, first


def asks_newcomers(rule: AlertRule, watch: Watch, *, score: str | None) -> bool:
    """Return whether a rule may fire for contacts that a new definition of *score* moves into its region."""
    return watch.fires_for_newcomers and watch.score_type.key == score and rule.paused_at is None


async def ask_next_newcomers(workspace: Workspace, *, definition: int, now: int) -> bool:
    """Open follow-ups for the newcomers among the next contacts, after a definition was applied with follow-ups.

    Newcomers are the contacts that the definition moved into the region of a rule. They are asked for as of the instant
    at which it became live: a later change of a contact first does the same, see `ask_newcomers_of_plans`. Return False
    if no contact is left.
    """

    async def body(session: Session) -> bool:
        await definitions.lock_shared(session, {workspace.id})
        asking = await definitions.lock_asking(session, definition=definition)
        if asking is None:
            return False
        types = (await definitions.live(session, {workspace.id}))[workspace.id]
        score_type = next(live for live in types.values() if live.definition == definition)
        watches = [
            (rule, watch)
            for rule in (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, [])
            if rule.is_asking and (watch := rule.watch([score_type])) is not None
        ]
        values = await _load_values(session, workspace, score_type, after=asking.up_to, at=asking.at)
        inside = {id for id, value in values.items() if any(watch.region.holds(value) for _, watch in watches)}
        await contacts.lock(session, {id: id for id in inside})
        for rule, watch in watches:
            await _open_for_newcomers(session, workspace, rule, watch, inside, now=now)
        count = await followup_moves.count_opened(session, values, score=score_type.key, at=asking.at)
        up_to = max(values, default=None)
        await definitions.record_asked(session, definition=definition, up_to=up_to, count=count)
        if up_to is None:
            await alert_rules.end_asking(session, [rule.id for rule, _ in watches])
        return up_to is not None

    return await _write_unless_merged(body)


async def ask_newcomers_of_plans(
    session: Session, plans: Sequence[Plan], rules: Mapping[int, Sequence[AlertRule]], *, now: int
) -> None:
    """Open the follow-ups for newcomers among the contacts that plans are about to change. They are locked."""
    for workspace in {plan.workspace for plan in plans}:
        own_plans = [plan for plan in plans if plan.workspace == workspace]
        for rule in rules.get(workspace.id, ()):
            watch = rule.watch(tuple(own_plans[0].types.values())) if rule.is_asking else None
            if watch is not None:
                roots = {root for plan in own_plans for root in plan.locks.values()}
                await _open_for_newcomers(session, workspace, rule, watch, roots, now=now)


async def _open_for_newcomers(
    session: Session, workspace: Workspace, rule: AlertRule, watch: Watch, among: Collection[int], *, now: int
) -> None:
    """Enroll contacts in a rule that asks for newcomers, and open follow-ups for those that are. They are locked.

    Each contact is evaluated once: then its memory has the enrollment of the rule. A contact that was not evaluated has
    had the same score since the definition became live.
    """
    assert rule.previous_enrolled_at is not None
    loaded = await alert_memory.load_memory(session, {(rule.id, id) for id in among})
    stale = [id for id in sorted(among) if loaded.get((rule.id, id), AlertMemory()).enrollment != rule.enrollment]
    replaced = await definitions.load_replaced(session, definition=watch.score_type.definition) if stale else None
    if replaced is None:
        return
    at, before = rule.enrolled_at, rule.watch([replaced])
    rule_before = replace(rule, enrollment=rule.enrollment - 1, enrolled_at=rule.previous_enrolled_at)
    memory = await enroll.load_enrolled_memory(session, rule, watch, stale)
    newcomers = await _list_newcomers(session, workspace, rule_before, before, watch, stale, at=at)
    ids = [evaluation.contact for evaluation, _ in newcomers]
    matching = await _match_at(session, workspace, rule, ids, at=at) if rule.condition and ids else frozenset(ids)
    firings = list[_Instant]()
    for evaluation, memory_after in newcomers:
        if evaluation.contact in matching:
            value = evaluation.state.value(watch.score_type, now=at)
            firings.append(_Instant(replace(evaluation, rule=rule), at, None, value, by_time=True))
            memory[evaluation.contact] = memory_after
    await followup_moves.open_follow_ups(session, await _make_follow_ups(session, firings), now=now)
    await alert_memory.save_memory(
        session,
        {
            (rule.id, id): replace(contact_memory, enrollment=rule.enrollment)
            for id, contact_memory in memory.items()
            if (rule.id, id) in loaded or contact_memory != AlertMemory()
        },
    )


async def _list_newcomers(
    session: Session,
    workspace: Workspace,
    rule: AlertRule,
    before: Watch | None,
    watch: Watch,
    among: Collection[int],
    *,
    at: int,
) -> list[tuple[_Evaluation, AlertMemory]]:
    """Return the contacts that are inside what a rule watches now, and were not inside *before*, past the cool-down.

    Each is returned with the memory of the rule after it fires. *rule* has the enrollment under which it watched
    *before*. The condition is not checked. A contact with a pending hold is left out: its follow-up is opened when the
    hold ends.
    """
    memory = await enroll.load_enrolled_memory(session, rule, before, among)
    key = watch.score_type.key
    states = await projection.load_states(
        session, {(id, key): watch.score_type.definition for id in among if memory[id].pending_until is None}
    )
    newcomers = list[tuple[_Evaluation, AlertMemory]]()
    for (id, _), state in sorted(states.items()):
        decision = replace(watch, hold=0).evaluate(memory[id], state, now=at)
        if decision.fires:
            newcomers.append((_Evaluation(workspace, rule, watch, id, state), decision.memory))
    return newcomers


async def _match_at(
    session: Session, workspace: Workspace, rule: AlertRule, among: Collection[int], *, at: int
) -> frozenset[int]:
    """Return the contacts that met the condition of a rule at an instant, with everything received up to then."""
    types = (await definitions.live(session, {workspace.id}))[workspace.id]
    condition = await _parse_condition(session, workspace, rule, tuple(types.values()))
    if condition is None:
        return frozenset()
    ledgers = await load_contact_ledgers(session, workspace, among)

    def match_all() -> frozenset[int]:
        candidates = (fold_as_known(ledger, condition.scores, at=at + 1) for ledger in ledgers.values())
        return frozenset(candidate.id for candidate in candidates if condition.matches(candidate))

    return await asyncio.to_thread(match_all)


async def _load_values(
    session: Session, workspace: Workspace, score_type: ScoreType, *, after: int, at: int
) -> dict[int, int | None]:
    """Return the score at an instant, or None, of the next contact rows after a row. An empty dict: none are left."""
    rows = await session.rows(
        "SELECT c.id, s.rank FROM (SELECT id, merged_into FROM contacts WHERE workspace_id = $1 AND id > $2"
        " ORDER BY id LIMIT $3) AS c LEFT JOIN scores s ON s.contact_id = c.id AND s.definition_id = $4"
        " AND c.merged_into IS NULL ORDER BY c.id",
        workspace.id,
        after,
        MOST_ASKED,
        score_type.definition,
    )
    return {row["id"]: None if row["rank"] is None else shown(score_type, row["rank"], now=at) for row in rows}


async def sweep(workspace: Workspace, *, now: int) -> int:
    """Evaluate each rule for the time since its last sweep. Return the number of evaluations of a contact."""
    types = tuple(await definitions.score_types(workspace))
    watches = [(rule, watch) for rule in await alert_rules.alert_rules(workspace) if (watch := rule.watch(types))]
    timed = [(rule, watch) for rule, watch in watches if watch.needs_time]
    swept = 0
    for rule, watch in timed:
        if rule.swept_until == now:
            continue
        last: int | None = 0
        while last is not None:
            last, count = await _sweep_batch(workspace, rule, watch, timed, after=last, now=now)
            swept += count

        async def save_progress(session: Session, rule: AlertRule = rule) -> None:
            await alert_rules.record_sweep(session, rule, until=now)

        await database.write(save_progress)
    return swept


async def _sweep_batch(
    workspace: Workspace,
    rule: AlertRule,
    watch: Watch,
    timed: Sequence[tuple[AlertRule, Watch]],
    *,
    after: int,
    now: int,
) -> tuple[int | None, int]:
    """Sweep the next contacts after the id *after*. Return the last id, or None at the end, and their number.

    All *timed* rules are evaluated for these contacts: follow-ups that several rules share depend on their order.
    """

    async def body(session: Session) -> tuple[int | None, int]:
        ids = await _list_due(session, workspace, rule, watch, after=after, now=now)
        if not ids:
            return None, 0
        await contacts.lock(session, {id: id for id in ids})
        for asking, asking_watch in timed:
            if asking.is_asking:
                await _open_for_newcomers(session, workspace, asking, asking_watch, ids, now=now)
        definition_of = {watch.score_type.key: watch.score_type.definition for _, watch in timed}
        scored = {(id, key): definition for id in ids for key, definition in definition_of.items()}
        states = await projection.load_states(session, scored)
        evaluations = [
            _Evaluation(workspace, rule, watch, id, state)
            for (id, key), state in sorted(states.items())
            for rule, watch in timed
            if watch.score_type.key == key
        ]
        loaded = await alert_memory.load_memory(session, {evaluation.watched for evaluation in evaluations})

        def decide_each(is_met: _Condition) -> list[_Decisions]:
            return [
                _Decisions(evaluation, loaded.get(evaluation.watched, AlertMemory()))
                .enroll(evaluation.state)
                .settle(evaluation.state, until=now, is_met=is_met)
                for evaluation in evaluations
            ]

        all_decisions = await _decide_with_conditions(session, decide_each, now=now)
        await _save(session, all_decisions, loaded, now=now)
        return (ids[-1] if len(ids) == MOST_SWEPT else None), len(ids)

    return await _write_unless_merged(body)


async def _write_unless_merged(body: Callable[[Session], Awaitable[T]]) -> T:
    """Run *body* in a transaction, again if a contact that it read was merged before it was locked."""
    for _ in range(MOST_TRIES):
        with suppress(StartAgain):
            return await database.write(body)
    return await database.write(body)


async def _list_due(
    session: Session, workspace: Workspace, rule: AlertRule, watch: Watch, *, after: int, now: int
) -> list[int]:
    """Return the next contacts for which the rule may have fired or re-armed by time alone since the last sweep.

    The contacts are found by indexes: by the memory with a due `pending_until`, and by the ranks in `_list_windows`.
    """
    params: list[object] = [workspace.id, rule.id, now, after, MOST_SWEPT, watch.score_type.definition]
    queries = ["SELECT m.contact_id FROM alert_memory m WHERE m.rule_id = $2 AND m.pending_until <= $3"]
    since = min(rule.swept_until, now) - OVERLAP  # a sweep by a clock that ran ahead does not delay the next ones
    for low, high in _list_windows(watch, since=since, until=now):
        params += [low, high]
        bounds = f"s.rank >= ${len(params) - 1} AND s.rank < ${len(params)}"
        queries.append(f"SELECT s.contact_id FROM scores s WHERE s.definition_id = $6 AND {bounds}")
    # The comparison of $6 is always true: a database refuses a parameter that a statement does not use.
    rows = await session.rows(
        f"SELECT c.id FROM contacts c WHERE c.id IN ({' UNION '.join(queries)}) AND c.id > $4"
        " AND c.workspace_id = $1 AND c.merged_into IS NULL AND CAST($6 AS BIGINT) > 0 ORDER BY c.id LIMIT $5",
        *params,
    )
    return [row["id"] for row in rows]


def _list_windows(watch: Watch, *, since: int, until: int) -> list[tuple[int, int]]:
    """Return the ranges [low, high) of ranks that decay across an edge of a rule between *since* and *until*."""
    if not watch.score_type.half_life:
        return []
    windows = list[tuple[int, int]]()
    for value, lead in watch.crossings:
        first, last = (bound(watch.score_type, value, now=at + lead) for at in (since, until))
        windows.append((min(first, last), max(first, last)))
    return [(low, high) for low, high in dict.fromkeys(windows) if low < high]
