"""Decide what alert rules do about changed scores: fire, re-arm, open or close a follow-up. No I/O.

A rule can also fire or re-arm by time alone: a score decays, or a hold ends. Before a change is evaluated, the rule is
evaluated at all earlier instants at which that may have happened, in their order. So the result does not depend on how
often rules are evaluated.
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

#: returns whether a contact met the condition of a rule at the instant at which the rule fires for it
IsMet: TypeAlias = Callable[["Instant"], bool]
#: (contact, key of a score type) → the reason of a fact about that score
Reasons: TypeAlias = Mapping[tuple[int, str | None], str | None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A rule to evaluate for a score. *plan* and *change* are the write that changed the score; None in a sweep."""

    workspace: Workspace
    rule: AlertRule
    watch: Watch
    contact: int
    state: ScoreState
    plan: Plan | None = None
    change: ScoreChanged | None = None

    @property
    def memory_key(self) -> MemoryKey:
        """The key of the rule's memory about the contact."""
        return (self.rule.id, self.contact)

    @property
    def batch(self) -> str | None:
        """The batch of a person's write, which an undo can name; None for other writes."""
        return self.plan.submission.batch if self.plan is not None and self.plan.submission.actor else None


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant to evaluate a rule at, with the score before and after. *by_time*: no write changed the score then."""

    evaluation: Evaluation
    at: int
    before: int | None
    after: int | None
    by_time: bool


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """What to do at an instant: open a follow-up for *opens*, or if that is None, withdraw the rule by *move*."""

    at: int
    move: FollowUpMove = FollowUpMove.FALL_BACK
    opens: Instant | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions of a rule about a contact so far, as events in order, and the memory of the rule after them."""

    evaluation: Evaluation
    memory: AlertMemory
    events: tuple[AlertEvent, ...] = ()
    muted_follow_ups: int = 0  #: follow-ups that were not opened, because the submission is muted
    own_follow_ups: int = 0  #: follow-ups that were not opened, because they would go directly to the author

    def apply(self, instant: Instant, decision: Decision, *, is_met: IsMet) -> "Decisions":
        """Add the decision for the next instant. The cool-down starts only if a follow-up was opened."""
        memory, opens, muted_follow_ups = decision.memory, False, self.muted_follow_ups
        plan, rule = self.evaluation.plan, self.evaluation.rule
        if decision.fires:
            is_matching = rule.paused_at is None and (not rule.condition or is_met(instant))
            is_muted = plan is not None and (plan.submission.muted or plan.undo is not None)
            opens = is_matching and (instant.by_time or not is_muted)
            if not opens:
                muted_follow_ups += is_matching and plan is not None
                memory = replace(memory, fired_at=self.memory.fired_at)
        if not memory.has_same_state(self.memory):
            is_end_of_hold = instant.by_time and self.memory.pending_until is not None and memory.taken
            if not is_end_of_hold:  # the cause is the change that began the hold
                batch = None if instant.by_time else self.evaluation.batch
                memory = memory.attribute(self.memory, batch=batch)
        events = self.events
        if decision.closes or opens:
            events = (*events, AlertEvent(instant.at, opens=instant if opens else None))
        return Decisions(self.evaluation, memory, events, muted_follow_ups, self.own_follow_ups)

    def enroll(self, state: ScoreState) -> "Decisions":
        """Enroll the contact if its memory is of an earlier enrollment. *state* is the score since the enrollment."""
        rule = self.evaluation.rule
        if self.memory.enrollment == rule.enrollment:
            return self
        memory = self.evaluation.watch.enroll(self.memory.forget_cause(), state, since=rule.enrolled_at)
        memory = replace(memory, enrollment=rule.enrollment)
        return Decisions(self.evaluation, memory, self.events, self.muted_follow_ups, self.own_follow_ups)

    def evaluate_until(self, state: ScoreState, *, until: int, is_met: IsMet) -> "Decisions":
        """Evaluate the rule at every instant up to *until* at which it may fire or re-arm by time alone.

        Raises RuntimeError if the next instant is not later than the last one, because an endless loop would block the
        process.
        """
        decisions, last, watch = self, -1, self.evaluation.watch
        while True:
            at = watch.next_evaluation(decisions.memory, state)
            if at is None or at > until:
                return decisions
            if at <= last:
                rule, contact = self.evaluation.memory_key
                raise RuntimeError(f"alert rule {rule} would evaluate contact {contact} at {at} again")
            last = at
            before, after = (state.value(watch.score_type, now=instant) for instant in (at - 1, at))
            instant = Instant(self.evaluation, at, before, after, by_time=True)
            decision = watch.evaluate(decisions.memory, state, now=at)
            decisions = decisions.apply(instant, decision, is_met=is_met)

    def evaluate_regrouping(self, state: ScoreState, *, at: int) -> "Decisions":
        """Evaluate a score that a merge or a split changed. It may close a follow-up, but does not open one."""
        decision = self.evaluation.watch.evaluate(self.memory, state, now=at)
        memory = replace(decision.memory, fired_at=self.memory.fired_at)
        if not memory.has_same_state(self.memory):
            memory = memory.forget_cause()
        return replace(self, memory=memory, events=(*self.events, AlertEvent(at)) if decision.closes else self.events)

    def evaluate_undo(self, instant: Instant, earlier: int | None, *, is_met: IsMet) -> "Decisions":
        """Evaluate a score that an undo changed. An undo opens no follow-up.

        If the last decision came from the undone change, the memory from before that change is restored, and the
        follow-up that it opened is taken back. Otherwise, or if the restored rule would fire for the score or begin a
        hold, the rule is evaluated as usual, but a score that the undo moves out of the region re-arms the rule without
        a margin.
        """
        watch, state, plan = self.evaluation.watch, self.evaluation.state, self.evaluation.plan
        assert plan is not None
        assert plan.undo is not None
        at, before = instant.at, self.memory.found
        if before is not None and plan.undo.reverts(self.memory.cause):
            decision = watch.evaluate_change(replace(before, enrollment=self.memory.enrollment), state, earlier, now=at)
            is_entering = decision.fires or (decision.memory.taken and not before.taken)
            is_entering |= decision.memory.pending_until is not None and before.pending_until is None
            if not is_entering:
                return self._restore(decision, at)
        decisions = self.apply(instant, watch.evaluate_change(self.memory, state, earlier, now=at), is_met=is_met)
        is_outside = watch.is_left_by_undo(instant.before, instant.after)
        if not is_outside or not (decisions.memory.taken or watch.compares):
            return decisions
        memory = replace(decisions.memory, taken=False).attribute(self.memory, batch=self.evaluation.batch)
        return replace(decisions, memory=memory, events=(*decisions.events, AlertEvent(at)))

    def _restore(self, decision: Decision, at: int) -> "Decisions":
        """Restore the memory of *decision*, and take back the follow-up of the undone change, if it opened one."""
        fired_at, events = self.memory.fired_at, self.events
        if fired_at == decision.memory.fired_at:
            events = (*events, AlertEvent(at)) if decision.closes else events
        elif any(event.opens is not None and event.at == fired_at for event in events):
            # The follow-up is about to be opened by the end of a hold before the undo: drop its event instead.
            events = tuple(event for event in events if event.opens is None or event.at != fired_at)
        else:
            events = (*events, AlertEvent(at, FollowUpMove.TAKE_BACK))
        return replace(self, memory=decision.memory, events=events)


@dataclass(frozen=True, slots=True)
class AlertTurn:
    """The events to save together: first rules withdraw from their follow-ups, then follow-ups are opened."""

    withdrawals: dict[MemoryKey, AlertEvent]
    openings: list[Instant]


def list_evaluations(plans: Sequence[Plan], rules: Mapping[int, Sequence[AlertRule]]) -> list[Evaluation]:
    """Return the rules to evaluate for the score changes of plans: by plan, then in the order of the rules' ids."""
    evaluations = list[Evaluation]()
    watches_of: dict[tuple[int, str], list[tuple[AlertRule, Watch]]] = {}  # (workspace, score type) → its rules
    for plan in plans:
        # score type → its changes, each with whether the state of the score stayed the same
        changes_of: dict[str, list[tuple[ScoreChanged, bool]]] = {}
        for change in plan.score_changes:
            is_same_state = change.state_before == change.state_after
            changes_of.setdefault(change.score_type.key, []).append((change, is_same_state))
        watches = list[tuple[AlertRule, Watch]]()
        for key in changes_of:
            if (plan.workspace.id, key) not in watches_of:
                own_rules = rules.get(plan.workspace.id, ())
                watches_of[plan.workspace.id, key] = _resolve_rules(own_rules, plan.types[key])
            watches += watches_of[plan.workspace.id, key]
        for rule, watch in sorted(watches, key=lambda pair: pair[0].id):
            key = watch.score_type.key
            evaluations += [
                Evaluation(plan.workspace, rule, watch, change.contact, change.state_after, plan, change)
                for change, is_same_state in changes_of[key]
                if watch.is_affected(change.before, change.after, is_same_state=is_same_state)
                or (change.contact, key) in plan.states_after_regrouping
            ]
    return evaluations


def _resolve_rules(rules: Iterable[AlertRule], score_type: ScoreType) -> list[tuple[AlertRule, Watch]]:
    """Return the rules about a score type, each with what it watches."""
    watches = [(rule, rule.watch((score_type,))) for rule in rules if rule.is_about(score_type)]
    return [(rule, watch) for rule, watch in watches if watch is not None]


def is_idle(evaluation: Evaluation, memory: AlertMemory, earlier: int | None) -> bool:
    """Return True only if `decide_change` would do nothing: no event, and the same memory. A quick check."""
    plan, change, watch = evaluation.plan, evaluation.change, evaluation.watch
    if plan is None or change is None or plan.undo is not None or plan.states_after_regrouping:
        return False
    before, is_enrolled = earlier if watch.compares else change.before, memory.enrollment == evaluation.rule.enrollment
    return watch.is_idle(memory, before, change.after, is_enrolled=is_enrolled)


def decide_change(decisions: Decisions, earlier: int | None, *, is_met: IsMet) -> Decisions:
    """Evaluate a rule up to the time of a plan, then for a merge or split in it, then for its change of the score.

    *earlier* is the score a span ago, for rules that compare.
    """
    evaluation = decisions.evaluation
    plan, change, watch = evaluation.plan, evaluation.change, evaluation.watch
    assert plan is not None
    assert change is not None
    decisions = decisions.enroll(change.state_before)
    at = max(plan.submission.received_at, decisions.memory.seen_at)
    decisions = decisions.evaluate_until(change.state_before, until=at, is_met=is_met)
    before, regrouped = change.before, plan.states_after_regrouping.get((evaluation.contact, watch.score_type.key))
    if regrouped is not None:
        decisions = decisions.evaluate_regrouping(regrouped, at=at)
        before = regrouped.value(watch.score_type, now=at)
    instant = Instant(evaluation, at, earlier if watch.compares else before, change.after, by_time=False)
    if plan.undo is not None:
        return decisions.evaluate_undo(replace(instant, before=before), earlier, is_met=is_met)
    decision = watch.evaluate_change(decisions.memory, evaluation.state, earlier, now=at)
    return decisions.apply(instant, decision, is_met=is_met)


def arrange_events(all_decisions: Sequence[Decisions]) -> list[AlertTurn]:
    """Arrange the events of all contacts in as few turns as possible, openings ordered by time.

    The events of one contact keep the order of their instants, across all rules. At the same instant, rules withdraw
    first, so that a follow-up closes before the next one opens. The events of one rule keep their order.
    """
    by_contact: dict[int, list[list[tuple[MemoryKey, AlertEvent]]]] = {}
    for decisions in all_decisions:
        if decisions.events:
            keyed_events = [(decisions.evaluation.memory_key, event) for event in decisions.events]
            by_contact.setdefault(decisions.evaluation.contact, []).append(keyed_events)
    turns: list[AlertTurn] = []
    for events_of_rules in by_contact.values():
        number, has_opened = 0, False
        for memory_key, event in merge(*events_of_rules, key=lambda entry: (entry[1].at, entry[1].opens is not None)):
            number += has_opened and event.opens is None
            has_opened = event.opens is not None
            if number == len(turns):
                turns.append(AlertTurn({}, []))
            if event.opens is None:
                turns[number].withdrawals[memory_key] = event
            else:
                turns[number].openings.append(event.opens)
    for turn in turns:
        turn.openings.sort(key=lambda instant: instant.at)
    return turns


def find_author_address(decisions: Decisions) -> str | None:
    """Return the address of the author of the change, if the last follow-up may go directly to the contact's owner."""
    plan, rule = decisions.evaluation.plan, decisions.evaluation.rule
    if plan is None or not decisions.events or rule.channel is not None or rule.in_digest:
        return None
    opens = decisions.events[-1].opens
    return None if opens is None or opens.by_time else plan.submission.actor_address


def reads_scores(rule: AlertRule) -> bool:
    """Return whether evaluating a rule reads scores or effects from the database, so that they must be saved first."""
    return bool(rule.condition) or rule.kind.compares


def list_reasons(plan: Plan) -> Reasons:
    """Return the reason of the plan's last fact about each score."""
    return {(new.contact, new.planned.item.score): new.fact.reason for new in plan.new_facts}
