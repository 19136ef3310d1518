"""Decide what alert rules do about changed scores: fire, re-arm, open or close a follow-up. No I/O.

A rule can also fire or re-arm by time alone: a score decays, a hold ends. The instants at which that may happen are
evaluated in order, before the change itself, so that the result does not depend on when the rule is evaluated.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from typing import TypeAlias

from storage.alerts.memory import MemoryKey
from storage.alerts.rules import AlertRule
from storage.domain.alerts.kinds import Watch
from storage.domain.alerts.memory import AlertMemory, Decision
from storage.domain.fold import ScoreState
from storage.domain.followups import FollowUpMove
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged
from storage.ledger.plan import Plan

#: returns whether the contact met the condition of its rule at an instant at which the rule fires
IsMet: TypeAlias = Callable[["Instant"], bool]
#: (contact, key of a score type) → the reason of a fact about that score
Reasons: TypeAlias = Mapping[tuple[int, str | None], str | None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A rule to evaluate for a score. *plan* and *moved* describe the write that changed the score; None in a sweep."""

    workspace: Workspace
    rule: AlertRule
    watch: Watch
    contact: int
    state: ScoreState
    plan: Plan | None = None
    moved: ScoreChanged | None = None

    @property
    def watched(self) -> MemoryKey:
        return (self.rule.id, self.contact)

    @property
    def batch(self) -> str | None:
        """The batch of a person's write, which an undo can name; None for other writes."""
        return self.plan.submission.batch if self.plan is not None and self.plan.submission.actor else None


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant to evaluate a rule at, with the score before and after. *by_time*: no write changed the score."""

    evaluation: Evaluation
    at: int
    before: int | None
    after: int | None
    by_time: bool


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """At *at*, open a follow-up for *opens*. If that is None, withdraw the rule from its follow-up, by *move*."""

    at: int
    move: FollowUpMove = FollowUpMove.FALL_BACK
    opens: Instant | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions of a rule about a contact so far, as events in order, and the memory of the rule after them."""

    evaluation: Evaluation
    memory: AlertMemory
    events: tuple[AlertEvent, ...] = ()
    unasked: int = 0  #: follow-ups that were not opened because the submission is muted
    unsent: int = 0  #: follow-ups that were not opened because they would go to the person who made the change

    def apply(self, instant: Instant, decision: Decision, *, is_met: IsMet) -> "Decisions":
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
            events = (*events, AlertEvent(instant.at, opens=instant if opens else None))
        return Decisions(self.evaluation, memory, events, unasked, self.unsent)

    def enroll(self, state: ScoreState) -> "Decisions":
        """Enroll the contact, if its memory is older than the enrollment of the rule. *state*: the score since then."""
        rule = self.evaluation.rule
        if self.memory.enrollment == rule.enrollment:
            return self
        memory = self.evaluation.watch.enroll(self.memory.forget_cause(), state, since=rule.enrolled_at)
        memory = replace(memory, enrollment=rule.enrollment)
        return Decisions(self.evaluation, memory, self.events, self.unasked, self.unsent)

    def settle(self, state: ScoreState, *, until: int, is_met: IsMet) -> "Decisions":
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
            instant = Instant(self.evaluation, at, before, after, by_time=True)
            decision = watch.evaluate(decisions.memory, state, now=at)
            decisions = decisions.apply(instant, decision, is_met=is_met)

    def regroup(self, state: ScoreState, *, at: int) -> "Decisions":
        """Evaluate a score that changed only by a merge or a split: the follow-up may close, but none is opened."""
        decision = self.evaluation.watch.evaluate(self.memory, state, now=at)
        memory = replace(decision.memory, fired_at=self.memory.fired_at)
        if not memory.has_same_state(self.memory):
            memory = memory.forget_cause()
        return replace(self, memory=memory, events=(*self.events, AlertEvent(at)) if decision.closes else self.events)

    def undo(self, instant: Instant, earlier: int | None, *, is_met: IsMet) -> "Decisions":
        """Evaluate a score that an undo changed. The undo opens no follow-up.

        If the undone change decided last, the memory that it found is put back, and the follow-up that it opened is
        taken back; unless the score is inside for another reason. Otherwise the rule is evaluated as usual, but a score
        that the undo moves out of the region re-arms the rule without a margin.
        """
        watch, state, plan = self.evaluation.watch, self.evaluation.state, self.evaluation.plan
        assert plan is not None
        assert plan.undo is not None
        at, before = instant.at, self.memory.found
        if before is not None and plan.undo.reverts(self.memory.cause):
            decision = watch.evaluate_change(replace(before, enrollment=self.memory.enrollment), state, earlier, now=at)
            begins = decision.fires or (decision.memory.taken and not before.taken)
            begins |= decision.memory.pending_until is not None and before.pending_until is None
            if not begins:
                return self._put_back(decision, at)
        decisions = self.apply(instant, watch.evaluate_change(self.memory, state, earlier, now=at), is_met=is_met)
        is_left = watch.is_left_by_undo(instant.before, instant.after)
        if not is_left or not (decisions.memory.taken or watch.compares):
            return decisions
        memory = replace(decisions.memory, taken=False).attribute(self.memory, batch=self.evaluation.batch)
        return replace(decisions, memory=memory, events=(*decisions.events, AlertEvent(at)))

    def _put_back(self, decision: Decision, at: int) -> "Decisions":
        """Restore the memory of *decision*. The follow-up of the undone change is taken back, if it opened one."""
        fired_at, events = self.memory.fired_at, self.events
        if fired_at == decision.memory.fired_at:
            events = (*events, AlertEvent(at)) if decision.closes else events
        elif any(event.opens is not None and event.at == fired_at for event in events):
            # The end of a hold has opened it just now, before the undo: it need not be opened.
            events = tuple(event for event in events if event.opens is None or event.at != fired_at)
        else:
            events = (*events, AlertEvent(at, FollowUpMove.TAKE_BACK))
        return replace(self, memory=decision.memory, events=events)


def list_evaluations(plans: Sequence[Plan], rules: Mapping[int, Sequence[AlertRule]]) -> list[Evaluation]:
    """Return the rules to evaluate for the score changes of plans, by plan, then by rule in the order of their ids."""
    evaluations = list[Evaluation]()
    resolved: dict[tuple[int, str], list[tuple[AlertRule, Watch]]] = {}  #: (workspace, score type) → its rules
    for plan in plans:
        moved_of: dict[
            str, list[tuple[ScoreChanged, bool]]
        ] = {}  #: score type → its changes; has the state stayed the same?
        for moved in plan.score_changes:
            moved_of.setdefault(moved.score_type.key, []).append((moved, moved.state_before == moved.state_after))
        watches = list[tuple[AlertRule, Watch]]()
        for key in moved_of:
            place = (plan.workspace.id, key)
            if place not in resolved:
                resolved[place] = _resolve_rules(rules.get(plan.workspace.id, ()), plan.types[key])
            watches += resolved[place]
        for rule, watch in sorted(watches, key=lambda pair: pair[0].id):
            key = watch.score_type.key
            evaluations += [
                Evaluation(plan.workspace, rule, watch, moved.contact, moved.state_after, plan, moved)
                for moved, is_same_state in moved_of[key]
                if watch.is_affected(moved.before, moved.after, is_same_state=is_same_state)
                or (moved.contact, key) in plan.states_after_regrouping
            ]
    return evaluations


def _resolve_rules(rules: Iterable[AlertRule], score_type: ScoreType) -> list[tuple[AlertRule, Watch]]:
    """Return the rules about a score type, each resolved for it."""
    watches = [(rule, rule.watch((score_type,))) for rule in rules if rule.is_about(score_type)]
    return [(rule, watch) for rule, watch in watches if watch is not None]


def is_idle(evaluation: Evaluation, memory: AlertMemory, earlier: int | None) -> bool:
    """Return True only if `decide_change` would decide nothing about a change and leave the memory as it is."""
    plan, moved, watch = evaluation.plan, evaluation.moved, evaluation.watch
    if plan is None or moved is None or plan.undo is not None or plan.states_after_regrouping:
        return False
    before, is_enrolled = earlier if watch.compares else moved.before, memory.enrollment == evaluation.rule.enrollment
    return watch.is_idle(memory, before, moved.after, is_enrolled=is_enrolled)


def decide_change(decisions: Decisions, earlier: int | None, *, is_met: IsMet) -> Decisions:
    """Evaluate a rule up to the time of a plan, then for a merge or split in it, then for its change of the score."""
    evaluation = decisions.evaluation
    plan, moved, watch = evaluation.plan, evaluation.moved, evaluation.watch
    assert plan is not None
    assert moved is not None
    decisions = decisions.enroll(moved.state_before)
    at = max(plan.submission.received_at, decisions.memory.seen_at)
    decisions = decisions.settle(moved.state_before, until=at, is_met=is_met)
    before, silent = moved.before, plan.states_after_regrouping.get((evaluation.contact, watch.score_type.key))
    if silent is not None:
        decisions = decisions.regroup(silent, at=at)
        before = silent.value(watch.score_type, now=at)
    instant = Instant(evaluation, at, earlier if watch.compares else before, moved.after, by_time=False)
    if plan.undo is not None:
        return decisions.undo(replace(instant, before=before), earlier, is_met=is_met)
    decision = watch.evaluate_change(decisions.memory, evaluation.state, earlier, now=at)
    return decisions.apply(instant, decision, is_met=is_met)


def arrange_events(all_decisions: Sequence[Decisions]) -> list[tuple[dict[MemoryKey, AlertEvent], list[Instant]]]:
    """Arrange the events of all contacts into as few turns as possible: in a turn, first rules let go, then rules fire.

    The events of one contact keep the order of their instants, whichever rules they are of. At one instant rules let go
    first, so that a follow-up closes before the next one opens; the events of one rule keep their order.
    """
    by_contact: dict[int, list[list[tuple[MemoryKey, AlertEvent]]]] = {}
    for decisions in all_decisions:
        if decisions.events:
            watched = decisions.evaluation.watched
            by_contact.setdefault(decisions.evaluation.contact, []).append([(watched, it) for it in decisions.events])
    turns: list[tuple[dict[MemoryKey, AlertEvent], list[Instant]]] = []
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


def find_author_address(decisions: Decisions) -> str | None:
    """Return the address of the author of the change, if the rule may send its follow-ups to owners directly."""
    plan, rule = decisions.evaluation.plan, decisions.evaluation.rule
    if plan is None or not decisions.events or rule.channel is not None or rule.in_digest:
        return None
    opens = decisions.events[-1].opens
    return None if opens is None or opens.by_time else plan.submission.actor_address


def reads_scores(rule: AlertRule) -> bool:
    """Return whether a rule reads scores or effects from the database: they must be saved before it is evaluated."""
    return bool(rule.condition) or rule.kind.compares


def list_reasons(plan: Plan) -> Reasons:
    """Return the reason of the plan's last fact about each score."""
    return {(new.contact, new.planned.item.score): new.fact.reason for new in plan.new_facts}
