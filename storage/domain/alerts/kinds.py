"""Decide when an alert rule fires for a contact. No function here does I/O or reads the clock.

A rule is edge-triggered: it fires when a score enters the rule's region and re-arms when the score has left the region
by a margin. `AlertMemory` is the state of a rule for one contact.

A score that fades crosses an edge without a write, at an instant that can be computed in advance. Callers evaluate
these instants in order (`next_evaluation`, then `evaluate`) before they evaluate a change. The result therefore does
not depend on when, or by which process, a rule is evaluated."""

from dataclasses import dataclass, replace
from enum import StrEnum

from storage.domain.decay import crosses
from storage.domain.fold import ScoreState
from storage.domain.score_types import ScoreType


class Kind(StrEnum):
    """The trigger of an alert rule."""

    CROSSES = "crosses"  #: the score enters a region
    MOVED = "moved"  #: the score changed by an amount, up or down, within a span
    RISES = "rises"  #: the score rose by an amount within a span
    FALLS = "falls"  #: the score fell by an amount within a span
    UNTOUCHED = "untouched"  #: nothing changed the score for a span
    COOLING = "cooling"  #: fading alone will take the score below an edge within a span


#: kinds that compare a score with its earlier value; they are evaluated only when the score is changed
TRENDS = (Kind.MOVED, Kind.RISES, Kind.FALLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The values that a rule watches: at least *low* and less than *high*, in thousandths. None: no limit."""

    low: int | None = None
    high: int | None = None

    def holds(self, value: int | None) -> bool:
        """Return whether a value is in the region. A missing value is in no region."""
        if value is None:
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)

    def is_left(self, value: int | None, score_type: ScoreType, *, margin: int) -> bool:
        """Return whether a value is outside the region by *margin*, so that the rule re-arms.

        The re-arm line never lies outside the range of the score type. A missing value counts as outside.
        """
        if value is None:
            return True
        below = self.low is not None and value <= max(score_type.minimum, self.low - margin) and value < self.low
        above = self.high is not None and value >= min(score_type.maximum, self.high + margin)
        return below or above


#: the region of kinds that do not depend on where a score is
ANYWHERE = Region()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """An alert rule, resolved for one score type. Values in thousandths, times in µs."""

    rule: int
    score_type: ScoreType
    kind: Kind = Kind.CROSSES
    region: Region = ANYWHERE  #: for COOLING: all values from the edge up
    amount: int = 0  #: the least change of the score, for TRENDS
    span: int = 0  #: the time compared (TRENDS), the time without a change (UNTOUCHED), the lead time (COOLING)
    margin: int  #: how far outside the region a score must be for the rule to re-arm
    hold: int = 0  #: how long a score must stay in the region before the rule fires
    cooldown: int  #: the least time between two firings for one contact

    @property
    def needs_time(self) -> bool:
        """Whether the rule may fire or re-arm by time alone, without a change of the score."""
        fades = self.score_type.half_life is not None and self.kind not in TRENDS
        return fades or self.hold > 0 or self.kind is Kind.UNTOUCHED

    @property
    def edges(self) -> tuple[int, ...]:
        """The values at which fading may make the rule fire or re-arm."""
        if self.kind not in (Kind.CROSSES, Kind.COOLING):
            return ()
        low, high, score_type = self.region.low, self.region.high, self.score_type
        edges = list[int]()
        if low is not None:
            rearm_below = max(score_type.minimum, low - self.margin)
            # The rule re-arms at the line itself, which a fading score reaches when it falls below the next step up.
            edges += [low, rearm_below - (rearm_below - score_type.minimum) % score_type.step + score_type.step]
        if high is not None:
            edges += [high, min(score_type.maximum, high + self.margin)]
        return tuple(dict.fromkeys(edges))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMemory:
    """The state of a rule for one contact; the defaults are the state before the first evaluation. Times in µs."""

    taken: bool = False  #: the score entered the region and the rule has not re-armed since
    pending_until: int | None = None  #: when to evaluate again: the end of the hold, or when UNTOUCHED may fire
    fired_at: int | None = None  #: when the rule last fired and a follow-up was opened
    seen_at: int = 0  #: everything up to this instant was evaluated
    spent: int = 0  #: how many times the cool-down kept the rule from firing
    enrollment: int = 0  #: the enrollment of the rule for which it holds

    def __post_init__(self) -> None:
        if self.taken and self.pending_until is not None:
            raise ValueError("an alert rule cannot have taken a contact and wait for the end of its hold at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The result of an evaluation: the new memory, whether the rule fires, whether its open follow-up closes."""

    memory: AlertMemory
    fires: bool = False
    closes: bool = False


def evaluate_value(watch: Watch, memory: AlertMemory, value: int | None, *, now: int) -> Decision:
    """Evaluate a rule for one value.

    A caller that opens no follow-up although the rule fires must keep the earlier *fired_at* of the memory, because
    the cool-down starts only with a follow-up.
    """
    is_left = watch.region.is_left(value, watch.score_type, margin=watch.margin)
    return _decide(watch, memory, inside=watch.region.holds(value), is_left=is_left, now=now)


def evaluate(watch: Watch, memory: AlertMemory, state: ScoreState, *, now: int) -> Decision:
    """Evaluate a rule for the value that *state* has at *now*, assuming no change of the score until then.

    COOLING re-arms when the score, as fading will leave it after the span, is at or above the edge plus the margin
    (never past the range), or missing. Falling out of the band does not re-arm it. For kinds in TRENDS use
    `evaluate_trend`.
    """
    match watch.kind:
        case Kind.UNTOUCHED:
            due = state.last[0] + watch.span
            inside = state.rank is not None and now >= due
            decision = _decide(replace(watch, hold=0), memory, inside=inside, is_left=not inside, now=now)
            pending_until = None if inside or state.rank is None else due
            return replace(decision, memory=replace(decision.memory, pending_until=pending_until))
        case Kind.COOLING:
            value_now, value_later = (state.value(watch.score_type, now=at) for at in (now, now + watch.span))
            inside = watch.region.holds(value_now) and not watch.region.holds(value_later)
            rearm_from = min(watch.score_type.maximum, (watch.region.low or 0) + watch.margin)
            return _decide(
                watch, memory, inside=inside, is_left=value_later is None or value_later >= rearm_from, now=now
            )
        case _:
            return evaluate_value(watch, memory, state.value(watch.score_type, now=now), now=now)


def enroll(watch: Watch, memory: AlertMemory, state: ScoreState, *, since: int) -> AlertMemory:
    """Return what a rule remembers of a contact that it watches since an instant, without having asked for it.

    *memory* is what it remembered before, and *state* the score as it has been since then. A contact inside is taken,
    unless a hold is pending: that goes on. A contact outside that was taken stays taken until it is beyond the re-arm
    line.
    """
    if watch.kind in TRENDS:
        return memory
    is_known = memory.taken or memory.pending_until is not None
    if watch.kind is Kind.UNTOUCHED:
        if is_known or state.rank is None:
            return memory
        due = state.last[0] + watch.span
        return replace(memory, taken=due <= since, pending_until=None if due <= since else due, seen_at=since)
    at = max(since, state.at)  # a score does not fade backwards
    if evaluate(replace(watch, hold=0), AlertMemory(), state, now=at).memory.taken:
        return memory if memory.pending_until is not None else replace(memory, taken=True, seen_at=at)
    return evaluate(watch, memory, state, now=at).memory if is_known else memory


def evaluate_trend(watch: Watch, memory: AlertMemory, value: int | None, earlier: int | None, *, now: int) -> Decision:
    """Evaluate a rule of a kind in TRENDS for a change from *earlier* to *value*.

    The caller evaluates where a fact changed the value of now. A late fact that changes only the past does not ask,
    although the difference is another one by it; and what fading alone has moved counts with the next change.

    The rule does not fire if either value is missing, nor again within the span or the cool-down, whichever is longer.
    """
    updated = replace(memory, seen_at=now)
    if value is None or earlier is None:
        return Decision(memory=updated)
    change = {Kind.RISES: value - earlier, Kind.FALLS: earlier - value}.get(watch.kind, abs(value - earlier))
    if change < watch.amount:
        return Decision(memory=updated)
    if memory.fired_at is not None and now < memory.fired_at + max(watch.span, watch.cooldown):
        return Decision(memory=updated)
    return Decision(memory=replace(updated, fired_at=now), fires=True)


def next_evaluation(watch: Watch, memory: AlertMemory, state: ScoreState) -> int | None:
    """Return the next instant at which time alone may decide something, or None.

    An expired hold is due at once: the result is then the last instant evaluated, not an earlier one.
    """
    after = max(memory.seen_at, state.at)
    instants = [at for at in _list_instants(watch, state) if at > after]
    if memory.pending_until is not None:
        instants.append(max(memory.pending_until, after))
    return min(instants, default=None)


def is_behind(watch: Watch, memory: AlertMemory, state: ScoreState, *, now: int) -> bool:
    """Return whether *memory* treats an instant up to *now* as not evaluated yet.

    This happens after a late fact: the score that it left then crossed an edge by fading before *now*.
    """
    return any(max(memory.seen_at, state.at) < at <= now for at in _list_instants(watch, state))


def _list_instants(watch: Watch, state: ScoreState) -> list[int]:
    if state.rank is None or not watch.score_type.half_life:
        return []
    crossings = [crosses(watch.score_type, state.rank, edge) for edge in watch.edges]
    lead = watch.span if watch.kind is Kind.COOLING else 0
    instants = [at for at in crossings if at is not None]
    return instants + ([at - lead for at in instants] if lead else [])


def _decide(watch: Watch, memory: AlertMemory, *, inside: bool, is_left: bool, now: int) -> Decision:
    memory = replace(memory, seen_at=now)
    if not inside:
        if memory.taken and is_left:
            return Decision(memory=replace(memory, taken=False, pending_until=None), closes=True)
        return Decision(memory=replace(memory, pending_until=None))
    if memory.taken:
        return Decision(memory=memory)
    if memory.pending_until is None and watch.hold:
        return Decision(memory=replace(memory, pending_until=now + watch.hold))
    if memory.pending_until is not None and now < memory.pending_until:
        return Decision(memory=memory)
    taken = replace(memory, taken=True, pending_until=None)
    if memory.fired_at is not None and now < memory.fired_at + watch.cooldown:
        # The contact counts as taken all the same: the rule must re-arm before it can fire.
        return Decision(memory=replace(taken, spent=memory.spent + 1))
    return Decision(memory=replace(taken, fired_at=now), fires=True)
