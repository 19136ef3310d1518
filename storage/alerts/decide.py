"""Decide follow-ups in the transaction that changed the scores.

What time alone does to a score is decided when somebody looks: a change settles first what happened before it, and a
sweep settles what nobody changed. Both look at the same instants in the same order, whoever comes first."""

from collections.abc import Mapping, Sequence
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
class _Look:
    """One rule that looks at one score; *moved* and *work* say what was done to it, where anything was."""

    workspace: Workspace
    rule: AlertRule
    watch: Watch
    contact: int
    state: ScoreState
    work: Plan | None = None
    moved: Moved | None = None

    @property
    def watched(self) -> Watched:
        return (self.rule.id, self.contact)


@dataclass(frozen=True, slots=True)
class _Firing:
    """A follow-up to be asked for: what it is for, when, and the values before and after."""

    look: _Look
    at: int
    before: int | None
    after: int | None
    by_time: bool


@dataclass(slots=True)
class _Wave:
    """What was decided of each contact at most once: first what is over, then what is asked for."""

    over: dict[Watched, int] = field(default_factory=dict)
    asking: list[_Firing] = field(default_factory=list)
    asked: set[Watched] = field(default_factory=set)


@dataclass(slots=True)
class _Deciding:
    """What is being decided in one transaction."""

    session: Session
    now: int
    known: Mapping[Watched, AlertMemory]
    fitting: Mapping[int, frozenset[int]]  #: rule → the contacts that its condition is true of
    speaking: Mapping[int, Plan] = field(default_factory=dict)  #: contact → the last submission that speaks of it
    asker: dict[int, Plan | None] = field(default_factory=dict)  #: contact → what asked for it or closed, the latest
    memory: dict[Watched, AlertMemory] = field(default_factory=dict)
    waves: list[_Wave] = field(default_factory=lambda: [_Wave()])
    wave_of: dict[Watched, int] = field(default_factory=dict)

    def of(self, watched: Watched) -> AlertMemory:
        """Give what is remembered by now."""
        return self.memory.get(watched) or self.known.get(watched) or AlertMemory()

    def settle(self, one: _Look, state: ScoreState, *, until: int) -> None:
        """Evaluate a rule at every instant up to *until* at which time alone may decide something.

        Raises RuntimeError where an evaluation does not move on in time: repeating it would hold the transaction, and
        the process, for ever.
        """
        last: int | None = None
        while True:
            memory = self.of(one.watched)
            at = next_evaluation(one.watch, memory, state)
            if at is None or at > until:
                return
            if last is not None and at <= last:
                raise RuntimeError(f"alert rule {one.rule.id} would evaluate contact {one.contact} at {at} again")
            last = at
            score_type = one.watch.score_type
            before, after = (state.value(score_type, now=when) for when in (at - 1, at))
            firing = _Firing(one, at, before, after, by_time=True)
            self.take(firing, memory, evaluate(one.watch, memory, state, now=at))

    def take(self, one: _Firing, before: AlertMemory, decision: Decision) -> None:
        """Take what was decided, unless nobody is to be asked: then nothing begins to rest. Raises OneByOne."""
        watched, rule = one.look.watched, one.look.rule
        if decision.fires and rule.condition and rule.paused_at is None and not self._stands_alone(one.look):
            raise OneByOne
        if decision.closes:
            if watched in self._wave(watched).asked:
                self.wave_of[watched] = self.wave_of.get(watched, 0) + 1
            self._wave(watched).over.setdefault(watched, one.at)
            self.asker[one.look.contact] = one.look.work
        memory = decision.memory
        if decision.fires:
            fits = rule.paused_at is None and one.look.contact in self.fitting.get(rule.id, ())
            work = one.look.work
            if fits and (one.by_time or work is None or not work.submission.muted):
                wave = self._wave(watched)
                wave.asking.append(one)
                wave.asked.add(watched)
                self.asker[one.look.contact] = one.look.work
            else:
                if fits and work is not None:
                    work.unasked += 1
                memory = replace(memory, fired_at=before.fired_at)
        self.memory[watched] = memory

    def _stands_alone(self, one: _Look) -> bool:
        """Tell whether who fits is asked of the contact, and of its follow-ups, as they were at that submission."""
        return all(said.get(one.contact, one.work) is one.work for said in (self.speaking, self.asker))

    def look_quietly(self, one: _Look, state: ScoreState, *, at: int) -> None:
        """Take what contacts became by being one, or by being parted: it is over or known, but nobody is asked."""
        memory = self.of(one.watched)
        if one.watch.kind in TRENDS:
            return
        decision = evaluate(one.watch, memory, state, now=at)
        if decision.closes:
            self._wave(one.watched).over.setdefault(one.watched, at)
        self.memory[one.watched] = replace(decision.memory, fired_at=memory.fired_at)

    def _wave(self, watched: Watched) -> _Wave:
        place = self.wave_of.get(watched, 0)
        while place >= len(self.waves):
            self.waves.append(_Wave())
        return self.waves[place]

    async def write(self, states: Mapping[Watched, tuple[Watch, ScoreState]]) -> None:
        """Write follow-ups in the order they were decided, and what is remembered of those that it matters for."""
        for wave in self.waves:
            await followup_moves.close_fallen_back(self.session, wave.over, now=self.now)
            asking = sorted(wave.asking, key=lambda one: one.at)
            await followup_moves.open_follow_ups(self.session, await _new(self.session, asking), now=self.now)
        changed = dict[Watched, AlertMemory]()
        for watched, memory in self.memory.items():
            before, (watch, state) = self.known.get(watched, AlertMemory()), states[watched]
            same = replace(memory, seen_at=before.seen_at) == before
            if not same or is_behind(watch, before, state, now=memory.seen_at):
                changed[watched] = memory
        await alert_memory.save_memory(self.session, changed)


async def decide_all(session: Session, works: Sequence[Plan], *, now: int) -> None:
    """Let every rule look at what each submission did, one after the other, as if each had been alone.

    Raises OneByOne where that cannot be told any more, because all of them are in the ledger by now.
    """
    looks = await _looks(session, works)
    if not looks:
        return
    _check_past(works, looks)
    known = await alert_memory.load_memory(session, {one.watched for one in looks})
    speaking = {entry.contact: work for work in works for entry in work.new if entry.contact is not None}
    deciding = _Deciding(session, now, known, await _fitting(session, looks, now=now), speaking)
    thens = await _thens(session, looks)
    for place, one in enumerate(looks):
        assert one.work is not None
        assert one.moved is not None
        at = max(one.work.submission.received_at, deciding.of(one.watched).seen_at)
        deciding.settle(one, one.moved.was, until=at)
        joined = one.work.settled.get((one.contact, one.watch.score_type.key))
        if joined is not None:
            deciding.look_quietly(one, joined, at=at)
        memory = deciding.of(one.watched)
        before = one.moved.before if joined is None else joined.value(one.watch.score_type, now=at)
        firing = _Firing(one, at, before, one.moved.after, by_time=False)
        if one.watch.kind in TRENDS:
            then = thens.get(place)
            firing = replace(firing, before=then)
            deciding.take(firing, memory, evaluate_trend(one.watch, memory, one.moved.after, then, now=at))
        else:
            deciding.take(firing, memory, evaluate(one.watch, memory, one.state, now=at))
    await deciding.write({one.watched: (one.watch, one.state) for one in looks})


async def _looks(session: Session, works: Sequence[Plan]) -> list[_Look]:
    moving = [work for work in works if work.refusal is None and work.moved]
    if not moving:
        return []
    rules = await alert_rules.load_rules(session, {work.submission.workspace.id for work in moving})
    looks = list[_Look]()
    for work in moving:
        workspace = work.submission.workspace
        for rule in rules.get(workspace.id, ()):
            watch = rule.watch(tuple(work.types.values()))
            if watch is not None:
                looks += [
                    _Look(workspace, rule, watch, one.contact, one.state, work, one)
                    for one in work.moved
                    if one.score_type.key == watch.score_type.key
                    and (_concerns(watch, one) or (one.contact, one.score_type.key) in work.settled)
                ]
    return looks


def _check_past(works: Sequence[Plan], looks: Sequence[_Look]) -> None:
    """Refuse to ask what a score was then where a later submission says what happened to its contact before that."""
    looking, earliest = list(looks), dict[int, int]()
    for work in reversed(works):
        while looking and looking[-1].work is work:
            one = looking.pop()
            then = work.submission.received_at - one.watch.span
            if one.watch.kind in TRENDS and one.rule.paused_at is None and earliest.get(one.contact, then + 1) <= then:
                raise OneByOne
        for entry in work.new:
            if entry.contact is not None and entry.fact is not None:
                at = entry.fact.occurred_at
                earliest[entry.contact] = min(at, earliest.get(entry.contact, at))


def _concerns(watch: Watch, moved: Moved) -> bool:
    """Tell whether a rule may decide something by a change."""
    if watch.kind is Kind.UNTOUCHED:
        return True
    return moved.before != moved.after or (watch.needs_time and moved.was != moved.state)


async def _fitting(session: Session, looks: Sequence[_Look], *, now: int) -> dict[int, frozenset[int]]:
    """Ask each rule's filter about the contacts it looks at, as they stand in this transaction."""
    by_rule: dict[int, list[_Look]] = {}
    for one in looks:
        by_rule.setdefault(one.rule.id, []).append(one)
    found: dict[int, frozenset[int]] = {}
    for id, many in by_rule.items():
        among = frozenset(one.contact for one in many)
        found[id] = await _holding(session, many[0].workspace, many[0].rule, among, now=now)
    return found


async def _holding(
    session: Session, workspace: Workspace, rule: AlertRule, among: frozenset[int], *, now: int
) -> frozenset[int]:
    if not rule.condition:
        return among
    types = tuple((await definitions.live(session, {workspace.id}))[workspace.id].values())
    try:
        asked = parse(rule.condition, types, segments=await segments.load_segments(session, workspace))
    except Refusal:  # it names a score type, a band or a segment that is no more: nobody fits
        return frozenset()
    return frozenset(await pages.matching_contacts(session, workspace, where=asked.where, among=sorted(among), now=now))


async def _thens(session: Session, looks: Sequence[_Look]) -> dict[int, int | None]:
    """Give the values that scores had when the time of a rule began: place among the looks → thousandths."""
    wanted = [(place, one) for place, one in enumerate(looks) if one.watch.kind in TRENDS and one.work is not None]
    asked = [
        (place, one.contact, one.watch.score_type.definition, one.work.submission.received_at - one.watch.span)
        for place, one in wanted
        if one.work is not None
    ]
    ranks = await current_scores.ranks_then(session, {place: (c, d, at) for place, c, d, at in asked})
    instants = {place: at for place, _, _, at in asked}
    return {
        place: None if rank is None else shown(looks[place].watch.score_type, rank, now=instants[place])
        for place, rank in ranks.items()
    }


async def _new(session: Session, asking: Sequence[_Firing]) -> list[NewFollowUp]:
    if not asking:
        return []
    rows = await session.rows(
        "SELECT c.id, c.owner_key, w.alert_channel FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        " JOIN workspaces w ON w.id = c.workspace_id",
        [{"id": id} for id in sorted({one.look.contact for one in asking})],
    )
    found = {row["id"]: row for row in rows}
    return [_one(firing, found[firing.look.contact]) for firing in asking]


def _one(firing: _Firing, row: Row) -> NewFollowUp:
    one, rule, submission = firing.look, firing.look.rule, firing.look.work.submission if firing.look.work else None
    owner = f"{OWNERS}{row['owner_key']}" if row["owner_key"] else ADMINS
    caused = submission is not None and not firing.by_time
    return NewFollowUp(
        workspace=one.workspace.id,
        rule=rule.id,
        contact=one.contact,
        score=one.watch.score_type.key,
        before=firing.before,
        after=firing.after,
        source=submission.source if submission is not None and caused else "",
        actor=submission.actor if submission is not None and caused else None,
        reason=_reason(one) if caused else None,
        lane=DIGEST if rule.in_digest else rule.channel or row["alert_channel"] or owner,
        at=firing.at,
        why=rule.why(one.watch.score_type),
        sla=rule.sla,
        escalate_to=rule.escalate_to,
    )


def _reason(one: _Look) -> str | None:
    """Give the reason of the last change of that score."""
    entries: Sequence[PlannedItem] = one.work.new if one.work is not None else ()
    scored = (one.contact, one.watch.score_type.key)
    return next((entry.item.reason for entry in reversed(entries) if entry.scored == scored), None)


async def open_for_newcomers(session: Session, workspace: Workspace, *, score: str, now: int) -> int:
    """Ask for those whom a change of definition brought into the region of a rule of this type; give how many."""
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
        known = await alert_memory.load_rule_memory(session, rule.id)
        inside = await enroll.contacts_inside(session, workspace, watch, now=now)
        # A hold that is pending stays pending: it asks when it ends.
        memory = {contact: known.get(contact, AlertMemory()) for contact in inside}
        fresh = frozenset(id for id, one in memory.items() if not one.taken and one.pending_until is None)
        asked = sorted(await _holding(session, workspace, rule, fresh, now=now))
        states = await projection.load_states(
            session, dict.fromkeys(((id, score) for id in asked), watch.score_type.definition)
        )
        firings = [
            _Firing(
                _Look(workspace, rule, watch, id, state),
                now,
                None,
                state.value(watch.score_type, now=now),
                by_time=True,
            )
            for (id, _), state in sorted(states.items())
        ]
        await followup_moves.open_follow_ups(session, await _new(session, firings), now=now)
        await alert_memory.save_memory(
            session, {(rule.id, id): replace(memory[id], taken=True, fired_at=now, seen_at=now) for id in asked}
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
            last, looked = await _sweep_some(workspace, rule, watch, after=last, now=now)
            swept += looked

        async def passed(session: Session, rule: AlertRule = rule) -> None:
            await alert_rules.record_sweep(session, rule, until=now)

        await database.write(passed)
    return swept


async def _sweep_some(
    workspace: Workspace, rule: AlertRule, watch: Watch, *, after: int, now: int
) -> tuple[int | None, int]:
    """Look at the next contacts, and give the last of them; none at the end."""

    async def body(session: Session) -> tuple[int | None, int]:
        ids = await _due(session, workspace, rule, watch, after=after, now=now)
        if not ids:
            return None, 0
        await contacts.lock(session, {id: id for id in ids})
        key = watch.score_type.key
        states = await projection.load_states(session, {(id, key): watch.score_type.definition for id in ids})
        looks = [_Look(workspace, rule, watch, id, state) for (id, _), state in sorted(states.items())]
        known = await alert_memory.load_memory(session, {one.watched for one in looks})
        deciding = _Deciding(session, now, known, await _fitting(session, looks, now=now))
        for one in looks:
            deciding.settle(one, one.state, until=now)
        await deciding.write({one.watched: (watch, one.state) for one in looks})
        return (ids[-1] if len(ids) == MOST_SWEPT else None), len(ids)

    for _ in range(MOST_TRIES):
        with suppress(StartAgain):  # one of them was merged just now, and is not due any more
            return await database.write(body)
    return await database.write(body)


async def _due(
    session: Session, workspace: Workspace, rule: AlertRule, watch: Watch, *, after: int, now: int
) -> list[int]:
    """Name the contacts that a rule may decide something of between its last sweep and now, taken from the indexes."""
    params: list[object] = [workspace.id, rule.id, now, after, MOST_SWEPT, watch.score_type.definition]
    ways = ["SELECT m.contact_id FROM alert_memory m WHERE m.rule_id = $2 AND m.pending_until <= $3"]
    since = min(rule.swept_until, now) - OVERLAP  # a sweep while a clock was ahead does not hold up the next ones
    for low, high in _windows(watch, since=since, until=now):
        params += [low, high]
        bounds = f"s.rank >= ${len(params) - 1} AND s.rank < ${len(params)}"
        ways.append(f"SELECT s.contact_id FROM scores s WHERE s.definition_id = $6 AND {bounds}")
    rows = await session.rows(
        f"SELECT c.id FROM contacts c WHERE c.id IN ({' UNION '.join(ways)}) AND c.id > $4"
        " AND c.workspace_id = $1 AND c.merged_into IS NULL AND CAST($6 AS BIGINT) > 0 ORDER BY c.id LIMIT $5",
        *params,
    )
    return [row["id"] for row in rows]


def _windows(watch: Watch, *, since: int, until: int) -> list[tuple[int, int]]:
    """Give the ranks whose scores crossed one of a rule's edges by fading after *since*, up to *until*."""
    if not watch.score_type.half_life:
        return []
    leads = (0, watch.span) if watch.kind is Kind.COOLING else (0,)
    found = list[tuple[int, int]]()
    for edge in watch.edges:
        for lead in leads:
            first, last = (bound(watch.score_type, edge, now=at + lead) for at in (since, until))
            found.append((min(first, last), max(first, last)))
    return [(low, high) for low, high in dict.fromkeys(found) if low < high]
