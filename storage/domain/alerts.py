"""Decide when a contact's score asks for a follow-up: an edge with memory, not a level; pure."""

from dataclasses import dataclass, replace

from storage.domain.score_types import ScoreType


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One rule as it bears on one score type. Thousandths and µs."""

    rule: int
    score_type: ScoreType
    region: Region
    margin: int
    hold: int = 0
    cooldown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a rule remembers of a contact; a contact that it never saw is not taken."""

    taken: bool = False
    pending_until: int | None = None  #: it is inside and asks when it still is then
    fired_at: int | None = None  #: when it asked last


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a value means: the new memory, whether to ask now, whether what was asked is over."""

    memory: Memory
    fires: bool = False
    closes: bool = False


def decide(watch: Watch, memory: Memory, value: int | None, *, now: int) -> Decision:
    """Look at one value; whoever is told to ask, and does not, keeps the memory's earlier *fired_at*."""
    if not watch.region.holds(value):
        if memory.taken and watch.region.is_left(value, watch.score_type, margin=watch.margin):
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
        return Decision(memory=taken)  # the edge is spent all the same: the score must have been away to ask again
    return Decision(memory=replace(taken, fired_at=now), fires=True)
