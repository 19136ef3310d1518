"""Decide follow-ups in the transaction that changed the scores.

What time alone does to a score is decided when somebody looks: a change settles first what happened before it, and a
sweep settles what nobody changed. Both look at the same instants in the same order, whoever comes first."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from storage.alerts import enroll, followup_moves
from storage.alerts import memory as alert_memory
from storage.alerts import rules as alert_rules
from storage.alerts.followup_moves import NewFollowUp
from storage.alerts.followups import DIGEST
from storage.alerts.memory import Watched
from storage.alerts.rules import AlertRule
from storage.db import database
from storage.db.database import Row, Session
from storage.domain.alerts import kinds
from storage.domain.alerts.kinds import (
    TRENDS,
    AlertMemory,
    Decision,
    Kind,
    Watch,
    evaluate,
    evaluate_trend,
    is_behind,
    next_evaluation,
)
from storage.domain.decay import bound, shown
from storage.domain.errors import Refusal
from storage.domain.filters import parse
from storage.domain.fold import ScoreState
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved
from storage.ledger import contacts, projection
from storage.ledger.contacts import StartAgain
from storage.ledger.plan import Plan, PlannedItem
from storage.reading import current_scores, pages, segments
from storage.scoring import definitions

OWNERS, ADMINS = "owner:", "admins"  # lanes of follow-ups that no channel was chosen for

SWEEP = "sweep"  #: the kind of the job that looks at what time decided, and its lane
SWEEP_EVERY = 60_000_000
#: a change that was under way while a sweep passed is seen by the next one
OVERLAP = 120_000_000
MOST_SWEPT = 500  # contacts in one transaction
MOST_TRIES = 8


class OneByOne(Exception):
    """What one of the group is to be decided by hangs on what another does: each is recorded by itself."""


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One rule that is evaluated for one score; *moved* and *plan* are what was done to the score, or None."""

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


@dataclass(frozen=True, slots=True)
class _Firing:
    """A follow-up to be asked for: what it is for, when, and the values before and after."""

    evaluation: _Evaluation
    at: int
    before: int | None
    after: int | None
    by_time: bool


@dataclass(slots=True)
class _Wave:
    """What was decided of each contact at most once: first what is over, then what is asked for."""

    closing: dict[Watched, int] = field(default_factory=dict)
    firings: list[_Firing] = field(default_factory=list)
    fired: set[Watched] = field(default_factory=set)


@dataclass(slots=True)
class _Decisions:
    """What is being decided in one transaction."""

    session: Session
    now: int
    loaded: Mapping[Watched, AlertMemory]
    matching: Mapping[int, frozenset[int]]  #: rule → the contacts that its condition is true of
    last_plan_of: Mapping[int, Plan] = field(default_factory=dict)  #: contact → the last submission that speaks of it
    cause_of: dict[int, Plan | None] = field(default_factory=dict)  #: contact → what asked for it or closed, the latest
    memory: dict[Watched, AlertMemory] = field(default_factory=dict)
    waves: list[_Wave] = field(default_factory=lambda: [_Wave()])
    wave_of: dict[Watched, int] = field(default_factory=dict)

    def memory_of(self, watched: Watched) -> AlertMemory:
        """Give what is remembered by now."""
        return self.memory.get(watched) or self.loaded.get(watched) or AlertMemory()

    def enroll(self, evaluation: _Evaluation, state: ScoreState) -> None:
        """Enroll the contact if the rule began to watch anew since it evaluated it; *state* is as it has been since."""
        memory, rule = self.memory_of(evaluation.watched), evaluation.rule
        if memory.enrollment != rule.enrollment:
            enrolled = kinds.enroll(evaluation.watch, memory, state, since=rule.enrolled_at)
            self.memory[evaluation.watched] = replace(enrolled, enrollment=rule.enrollment)

    def settle(self, evaluation: _Evaluation, state: ScoreState, *, until: int) -> None:
        """Evaluate a rule at every instant up to *until* at which time alone may decide something.

        Raises RuntimeError where an evaluation does not move on in time: repeating it would hold the transaction, and
        the process, for ever.
        """
        last: int | None = None
        while True:
            memory = self.memory_of(evaluation.watched)
            at = next_evaluation(evaluation.watch, memory, state)
            if at is None or at > until:
                return
            if last is not None and at <= last:
                raise RuntimeError(
                    f"alert rule {evaluation.rule.id} would evaluate contact {evaluation.contact} at {at} again"
                )
            last = at
            score_type = evaluation.watch.score_type
            before, after = (state.value(score_type, now=instant) for instant in (at - 1, at))
            firing = _Firing(evaluation, at, before, after, by_time=True)
            self.apply(firing, memory, evaluate(evaluation.watch, memory, state, now=at))

    def apply(self, firing: _Firing, memory_before: AlertMemory, decision: Decision) -> None:
        """Take what was decided, unless nobody is to be asked: then nothing begins to rest. Raises OneByOne."""
        watched, rule = firing.evaluation.watched, firing.evaluation.rule
        if decision.fires and rule.condition and rule.paused_at is None and not self._is_independent(firing.evaluation):
            raise OneByOne
        if decision.closes:
            if watched in self._get_wave(watched).fired:
                self.wave_of[watched] = self.wave_of.get(watched, 0) + 1
            self._get_wave(watched).closing.setdefault(watched, firing.at)
            self.cause_of[firing.evaluation.contact] = firing.evaluation.plan
        memory = decision.memory
        if decision.fires:
            is_matching = rule.paused_at is None and firing.evaluation.contact in self.matching.get(rule.id, ())
            plan = firing.evaluation.plan
            if is_matching and (firing.by_time or plan is None or not plan.submission.muted):
                wave = self._get_wave(watched)
                wave.firings.append(firing)
                wave.fired.add(watched)
                self.cause_of[firing.evaluation.contact] = firing.evaluation.plan
            else:
                if is_matching and plan is not None:
                    plan.unasked += 1
                memory = replace(memory, fired_at=memory_before.fired_at)
        self.memory[watched] = memory

    def _is_independent(self, evaluation: _Evaluation) -> bool:
        """Tell whether who fits is asked of the contact, and of its follow-ups, as they were at that submission."""
        return all(
            plan_of.get(evaluation.contact, evaluation.plan) is evaluation.plan
            for plan_of in (self.last_plan_of, self.cause_of)
        )

    def apply_regroup(self, evaluation: _Evaluation, state: ScoreState, *, at: int) -> None:
        """Take what contacts became by being one, or by being parted: it is over or known, but nobody is asked."""
        memory = self.memory_of(evaluation.watched)
        if evaluation.watch.kind in TRENDS:
            return
        decision = evaluate(evaluation.watch, memory, state, now=at)
        if decision.closes:
            self._get_wave(evaluation.watched).closing.setdefault(evaluation.watched, at)
        self.memory[evaluation.watched] = replace(decision.memory, fired_at=memory.fired_at)

    def _get_wave(self, watched: Watched) -> _Wave:
        position = self.wave_of.get(watched, 0)
        while position >= len(self.waves):
            self.waves.append(_Wave())
        return self.waves[position]

    async def write(self, states: Mapping[Watched, tuple[Watch, ScoreState]]) -> None:
        """Write follow-ups in the order they were decided, and what is remembered of those that it matters for."""
        for wave in self.waves:
            await followup_moves.close_fallen_back(self.session, wave.closing, now=self.now)
            firings = sorted(wave.firings, key=lambda firing: firing.at)
            await followup_moves.open_follow_ups(
                self.session, await _make_follow_ups(self.session, firings), now=self.now
            )
        changed = dict[Watched, AlertMemory]()
        for watched, memory in self.memory.items():
            memory_before, (watch, state) = self.loaded.get(watched, AlertMemory()), states[watched]
            unseen = replace(memory, seen_at=memory_before.seen_at, enrollment=memory_before.enrollment)
            is_same = unseen == memory_before
            if not is_same or is_behind(watch, memory_before, state, now=memory.seen_at):
                changed[watched] = memory
        await alert_memory.save_memory(self.session, changed)


async def decide_all(session: Session, plans: Sequence[Plan], *, now: int) -> None:
    """Let every rule look at what each submission did, one after the other, as if each had been alone.

    Raises OneByOne where that cannot be told any more, because all of them are in the ledger by now.
    """
    evaluations = await _list_evaluations(session, plans)
    if not evaluations:
        return
    _check_past(plans, evaluations)
    loaded = await alert_memory.load_memory(session, {evaluation.watched for evaluation in evaluations})
    last_plan_of = {entry.contact: plan for plan in plans for entry in plan.new if entry.contact is not None}
    decisions = _Decisions(session, now, loaded, await _load_matching(session, evaluations, now=now), last_plan_of)
    earlier_values = await _load_earlier_values(session, evaluations)
    for position, evaluation in enumerate(evaluations):
        assert evaluation.plan is not None
        assert evaluation.moved is not None
        decisions.enroll(evaluation, evaluation.moved.was)
        at = max(evaluation.plan.submission.received_at, decisions.memory_of(evaluation.watched).seen_at)
        decisions.settle(evaluation, evaluation.moved.was, until=at)
        regrouped = evaluation.plan.states_after.get((evaluation.contact, evaluation.watch.score_type.key))
        if regrouped is not None:
            decisions.apply_regroup(evaluation, regrouped, at=at)
        memory = decisions.memory_of(evaluation.watched)
        before = evaluation.moved.before if regrouped is None else regrouped.value(evaluation.watch.score_type, now=at)
        firing = _Firing(evaluation, at, before, evaluation.moved.after, by_time=False)
        if evaluation.watch.kind in TRENDS:
            earlier = earlier_values.get(position)
            firing = replace(firing, before=earlier)
            decisions.apply(
                firing, memory, evaluate_trend(evaluation.watch, memory, evaluation.moved.after, earlier, now=at)
            )
        else:
            decisions.apply(firing, memory, evaluate(evaluation.watch, memory, evaluation.state, now=at))
    await decisions.write({evaluation.watched: (evaluation.watch, evaluation.state) for evaluation in evaluations})


async def _list_evaluations(session: Session, plans: Sequence[Plan]) -> list[_Evaluation]:
    moved_plans = [plan for plan in plans if plan.refusal is None and plan.moved]
    if not moved_plans:
        return []
    rules = await alert_rules.load_rules(session, {plan.submission.workspace.id for plan in moved_plans})
    evaluations = list[_Evaluation]()
    for plan in moved_plans:
        workspace = plan.submission.workspace
        for rule in rules.get(workspace.id, ()):
            watch = rule.watch(tuple(plan.types.values()))
            if watch is not None:
                evaluations += [
                    _Evaluation(workspace, rule, watch, moved.contact, moved.state, plan, moved)
                    for moved in plan.moved
                    if moved.score_type.key == watch.score_type.key
                    and (_is_affected(watch, moved) or (moved.contact, moved.score_type.key) in plan.states_after)
                ]
    return evaluations


def _check_past(plans: Sequence[Plan], evaluations: Sequence[_Evaluation]) -> None:
    """Refuse to ask what a score was then where a later submission says what happened to its contact before that."""
    remaining, earliest = list(evaluations), dict[int, int]()
    for plan in reversed(plans):
        while remaining and remaining[-1].plan is plan:
            evaluation = remaining.pop()
            began_at = plan.submission.received_at - evaluation.watch.span
            if (
                evaluation.watch.kind in TRENDS
                and evaluation.rule.paused_at is None
                and earliest.get(evaluation.contact, began_at + 1) <= began_at
            ):
                raise OneByOne
        for entry in plan.new:
            if entry.contact is not None and entry.fact is not None:
                at = entry.fact.occurred_at
                earliest[entry.contact] = min(at, earliest.get(entry.contact, at))


def _is_affected(watch: Watch, moved: Moved) -> bool:
    """Tell whether a rule may decide something by a change."""
    if watch.kind is Kind.UNTOUCHED:
        return True
    return moved.before != moved.after or (watch.needs_time and moved.was != moved.state)


async def _load_matching(
    session: Session, evaluations: Sequence[_Evaluation], *, now: int
) -> dict[int, frozenset[int]]:
    """Ask each rule's filter about the contacts it looks at, as they stand in this transaction."""
    by_rule: dict[int, list[_Evaluation]] = {}
    for evaluation in evaluations:
        by_rule.setdefault(evaluation.rule.id, []).append(evaluation)
    matching: dict[int, frozenset[int]] = {}
    for id, rule_evaluations in by_rule.items():
        contact_ids = frozenset(evaluation.contact for evaluation in rule_evaluations)
        matching[id] = await _filter_matching(
            session, rule_evaluations[0].workspace, rule_evaluations[0].rule, contact_ids, now=now
        )
    return matching


async def _filter_matching(
    session: Session, workspace: Workspace, rule: AlertRule, among: frozenset[int], *, now: int
) -> frozenset[int]:
    if not rule.condition:
        return among
    types = tuple((await definitions.live(session, {workspace.id}))[workspace.id].values())
    try:
        parsed = parse(rule.condition, types, segments=await segments.load_segments(session, workspace))
    except Refusal:  # it names a score type, a band or a segment that is no more: nobody fits
        return frozenset()
    return frozenset(
        await pages.matching_contacts(session, workspace, where=parsed.where, among=sorted(among), now=now)
    )


async def _load_earlier_values(session: Session, evaluations: Sequence[_Evaluation]) -> dict[int, int | None]:
    """Give the values that scores had when the time of a rule began: place among the looks → thousandths."""
    trends = [
        (position, evaluation)
        for position, evaluation in enumerate(evaluations)
        if evaluation.watch.kind in TRENDS and evaluation.plan is not None
    ]
    requests = [
        (
            position,
            evaluation.contact,
            evaluation.watch.score_type.definition,
            evaluation.plan.submission.received_at - evaluation.watch.span,
        )
        for position, evaluation in trends
        if evaluation.plan is not None
    ]
    ranks = await current_scores.ranks_then(
        session, {position: (contact, definition, at) for position, contact, definition, at in requests}
    )
    instants = {position: at for position, _, _, at in requests}
    return {
        position: None if rank is None else shown(evaluations[position].watch.score_type, rank, now=instants[position])
        for position, rank in ranks.items()
    }


async def _make_follow_ups(session: Session, firings: Sequence[_Firing]) -> list[NewFollowUp]:
    if not firings:
        return []
    rows = await session.rows(
        "SELECT c.id, c.owner_key, w.alert_channel FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        " JOIN workspaces w ON w.id = c.workspace_id",
        [{"id": id} for id in sorted({firing.evaluation.contact for firing in firings})],
    )
    rows_by_id = {row["id"]: row for row in rows}
    return [_make_follow_up(firing, rows_by_id[firing.evaluation.contact]) for firing in firings]


def _make_follow_up(firing: _Firing, row: Row) -> NewFollowUp:
    evaluation, rule, submission = (
        firing.evaluation,
        firing.evaluation.rule,
        firing.evaluation.plan.submission if firing.evaluation.plan else None,
    )
    owner = f"{OWNERS}{row['owner_key']}" if row["owner_key"] else ADMINS
    is_caused = submission is not None and not firing.by_time
    return NewFollowUp(
        workspace=evaluation.workspace.id,
        rule=rule.id,
        contact=evaluation.contact,
        score=evaluation.watch.score_type.key,
        before=firing.before,
        after=firing.after,
        source=submission.source if submission is not None and is_caused else "",
        actor=submission.actor if submission is not None and is_caused else None,
        reason=_find_reason(evaluation) if is_caused else None,
        lane=DIGEST if rule.in_digest else rule.channel or row["alert_channel"] or owner,
        at=firing.at,
        why=rule.why(evaluation.watch.score_type),
        sla=rule.sla,
        escalate_to=rule.escalate_to,
    )


def _find_reason(evaluation: _Evaluation) -> str | None:
    """Give the reason of the last change of that score."""
    entries: Sequence[PlannedItem] = evaluation.plan.new if evaluation.plan is not None else ()
    scored = (evaluation.contact, evaluation.watch.score_type.key)
    return next((entry.item.reason for entry in reversed(entries) if entry.scored == scored), None)


async def open_for_newcomers(
    session: Session, workspace: Workspace, types_before: Collection[ScoreType], *, score: str, now: int
) -> int:
    """Open follow-ups for contacts that a change of definition brings into the region of a rule of this type.

    *types_before* are the definitions before. Returns the number of the follow-ups.
    """
    count = 0
    types = (await definitions.live(session, {workspace.id}))[workspace.id]
    for rule in (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, []):
        watch = rule.watch(tuple(types.values()))
        if (
            watch is None
            or watch.kind is not Kind.CROSSES
            or watch.score_type.key != score
            or rule.paused_at is not None
        ):
            continue
        inside = await enroll.contacts_inside(session, workspace, watch, now=now)
        # A hold that is pending stays pending: it asks when it ends.
        memory = await enroll.load_enrolled_memory(session, rule, rule.watch(types_before), inside)
        new_ids = frozenset(
            id
            for id, contact_memory in memory.items()
            if not contact_memory.taken and contact_memory.pending_until is None
        )
        matching = sorted(await _filter_matching(session, workspace, rule, new_ids, now=now))
        states = await projection.load_states(
            session, dict.fromkeys(((id, score) for id in matching), watch.score_type.definition)
        )
        firings = [
            _Firing(
                _Evaluation(workspace, rule, watch, id, state),
                now,
                None,
                state.value(watch.score_type, now=now),
                by_time=True,
            )
            for (id, _), state in sorted(states.items())
        ]
        await followup_moves.open_follow_ups(session, await _make_follow_ups(session, firings), now=now)
        await alert_memory.save_memory(
            session, {(rule.id, id): replace(memory[id], taken=True, fired_at=now, seen_at=now) for id in matching}
        )
        count += len(firings)
    return count


async def sweep(workspace: Workspace, *, now: int) -> int:
    """Decide what time alone decided since the last sweep, rule by rule; give how many contacts were looked at."""
    types = tuple(await definitions.score_types(workspace))
    swept = 0
    for rule in await alert_rules.alert_rules(workspace):
        watch = rule.watch(types)
        if watch is None or not watch.needs_time or rule.swept_until == now:
            continue
        last: int | None = 0
        while last is not None:
            last, count = await _sweep_batch(workspace, rule, watch, after=last, now=now)
            swept += count

        async def save_progress(session: Session, rule: AlertRule = rule) -> None:
            await alert_rules.record_sweep(session, rule, until=now)

        await database.write(save_progress)
    return swept


async def _sweep_batch(
    workspace: Workspace, rule: AlertRule, watch: Watch, *, after: int, now: int
) -> tuple[int | None, int]:
    """Look at the next contacts, and give the last of them; none at the end."""

    async def body(session: Session) -> tuple[int | None, int]:
        ids = await _list_due(session, workspace, rule, watch, after=after, now=now)
        if not ids:
            return None, 0
        await contacts.lock(session, {id: id for id in ids})
        key = watch.score_type.key
        states = await projection.load_states(session, {(id, key): watch.score_type.definition for id in ids})
        evaluations = [_Evaluation(workspace, rule, watch, id, state) for (id, _), state in sorted(states.items())]
        loaded = await alert_memory.load_memory(session, {evaluation.watched for evaluation in evaluations})
        decisions = _Decisions(session, now, loaded, await _load_matching(session, evaluations, now=now))
        for evaluation in evaluations:
            decisions.enroll(evaluation, evaluation.state)
            decisions.settle(evaluation, evaluation.state, until=now)
        await decisions.write({evaluation.watched: (watch, evaluation.state) for evaluation in evaluations})
        return (ids[-1] if len(ids) == MOST_SWEPT else None), len(ids)

    for _ in range(MOST_TRIES):
        with suppress(StartAgain):  # one of them was merged just now, and is not due any more
            return await database.write(body)
    return await database.write(body)


async def _list_due(
    session: Session, workspace: Workspace, rule: AlertRule, watch: Watch, *, after: int, now: int
) -> list[int]:
    """Name the contacts that a rule may decide something of between its last sweep and now, taken from the indexes."""
    params: list[object] = [workspace.id, rule.id, now, after, MOST_SWEPT, watch.score_type.definition]
    queries = ["SELECT m.contact_id FROM alert_memory m WHERE m.rule_id = $2 AND m.pending_until <= $3"]
    since = min(rule.swept_until, now) - OVERLAP  # a sweep while a clock was ahead does not hold up the next ones
    for low, high in _list_windows(watch, since=since, until=now):
        params += [low, high]
        bounds = f"s.rank >= ${len(params) - 1} AND s.rank < ${len(params)}"
        queries.append(f"SELECT s.contact_id FROM scores s WHERE s.definition_id = $6 AND {bounds}")
    rows = await session.rows(
        f"SELECT c.id FROM contacts c WHERE c.id IN ({' UNION '.join(queries)}) AND c.id > $4"
        " AND c.workspace_id = $1 AND c.merged_into IS NULL AND CAST($6 AS BIGINT) > 0 ORDER BY c.id LIMIT $5",
        *params,
    )
    return [row["id"] for row in rows]


def _list_windows(watch: Watch, *, since: int, until: int) -> list[tuple[int, int]]:
    """Give the ranks whose scores crossed one of a rule's edges by fading after *since*, up to *until*."""
    if not watch.score_type.half_life:
        return []
    leads = (0, watch.span) if watch.kind is Kind.COOLING else (0,)
    windows = list[tuple[int, int]]()
    for edge in watch.edges:
        for lead in leads:
            first, last = (bound(watch.score_type, edge, now=at + lead) for at in (since, until))
            windows.append((min(first, last), max(first, last)))
    return [(low, high) for low, high in dict.fromkeys(windows) if low < high]
