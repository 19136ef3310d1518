"""Decide when a contact's score asks for a follow-up: an edge with memory, not a level; pure.

A score that fades crosses edges without being written, at instants that are known beforehand. Every evaluation goes
through them in turn (`next_evaluation`, then `evaluate`), so that it does not matter which one is first, or when."""

from dataclasses import dataclass, replace
from enum import StrEnum

from storage.domain.decay import crosses
from storage.domain.fold import ScoreState
from storage.domain.score_types import ScoreType


class Kind(StrEnum):
    """What a rule waits for."""

    CROSSES = "crosses"  #: the score comes into a region
    MOVED = "moved"  #: by so much, either way, within a time
    RISES = "rises"
    FALLS = "falls"
    UNTOUCHED = "untouched"  #: nothing happened to the score for a time
    COOLING = "cooling"  #: fading alone will take it below an edge within a time


#: what compares a score with what it was, and so is looked at only when it changes
TRENDS = (Kind.MOVED, Kind.RISES, Kind.FALLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The part of a range that a rule watches, from *low* up to, not including, *high*; none where it has no end."""

    low: int | None = None
    high: int | None = None

    def holds(self, value: int | None) -> bool:
        """Tell whether a value lies in it; a missing one lies nowhere."""
        if value is None:
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)

    def is_left(self, value: int | None, score_type: ScoreType, *, margin: int) -> bool:
        """Tell whether a value is so far outside, by *margin*, that coming back counts anew."""
        if value is None:
            return True
        below = self.low is not None and value <= max(score_type.minimum, self.low - margin) and value < self.low
        above = self.high is not None and value >= min(score_type.maximum, self.high + margin)
        return below or above


#: of a rule that does not look at where a score is
ANYWHERE = Region()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One rule as it bears on one score type. Thousandths and µs."""

    rule: int
    score_type: ScoreType
    kind: Kind = Kind.CROSSES
    region: Region = ANYWHERE  #: what is watched; of what cools: all that is above the edge
    amount: int = 0  #: how far a score has to move
    span: int = 0  #: within which time it moves, for which it is untouched, before which it falls
    margin: int
    hold: int = 0
    cooldown: int

    @property
    def needs_time(self) -> bool:
        """Whether it may be decided by time alone, without a change of the score."""
        fades = self.score_type.half_life is not None and self.kind not in TRENDS
        return fades or self.hold > 0 or self.kind is Kind.UNTOUCHED

    @property
    def edges(self) -> tuple[int, ...]:
        """Give the values that bear on it when fading carries a score across them."""
        if self.kind not in (Kind.CROSSES, Kind.COOLING):
            return ()
        low, high, score_type = self.region.low, self.region.high, self.score_type
        edges = list[int]()
        if low is not None:
            rearm_below = max(score_type.minimum, low - self.margin)
            # At the line itself it is armed again: that is below the step above the line.
            edges += [low, rearm_below - (rearm_below - score_type.minimum) % score_type.step + score_type.step]
        if high is not None:
            edges += [high, min(score_type.maximum, high + self.margin)]
        return tuple(dict.fromkeys(edges))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMemory:
    """What a rule remembers of a contact; a contact that it never saw is not taken. µs."""

    taken: bool = False
    pending_until: int | None = None  #: to be looked at then: it asks if it is still so
    fired_at: int | None = None  #: when it asked last
    seen_at: int = 0  #: all that happened up to then is decided
    spent: int = 0  #: how often it would have asked within the rest
    enrollment: int = 0  #: the enrollment of the rule for which it holds

    def __post_init__(self) -> None:
        if self.taken and self.pending_until is not None:
            raise ValueError("an alert rule cannot have taken a contact and wait for the end of its hold at once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a value means: the new memory, whether to ask now, whether what was asked is over."""

    memory: AlertMemory
    fires: bool = False
    closes: bool = False


def evaluate_value(watch: Watch, memory: AlertMemory, value: int | None, *, now: int) -> Decision:
    """Look at one value; whoever is told to ask, and does not, keeps the memory's earlier *fired_at*."""
    is_left = watch.region.is_left(value, watch.score_type, margin=watch.margin)
    return _decide(watch, memory, inside=watch.region.holds(value), is_left=is_left, now=now)


def evaluate(watch: Watch, memory: AlertMemory, state: ScoreState, *, now: int) -> Decision:
    """Look at a score as it is at an instant, if nobody changes it until then."""
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
    """Compare a score that was just changed with what it was; missing at either end it did not move."""
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
    """Give the next instant at which time alone bears on a score, after what is decided; none where it never does."""
    after = max(memory.seen_at, state.at)
    instants = [at for at in _list_instants(watch, state) if at > after]
    if memory.pending_until is not None:
        instants.append(max(memory.pending_until, after))
    return min(instants, default=None)


def is_behind(watch: Watch, memory: AlertMemory, state: ScoreState, *, now: int) -> bool:
    """Tell whether something that lies before *now* would be taken for undecided: fading of before a late change."""
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
        # The edge is spent all the same: the score must have been away to ask again.
        return Decision(memory=replace(taken, spent=memory.spent + 1))
    return Decision(memory=replace(taken, fired_at=now), fires=True)
