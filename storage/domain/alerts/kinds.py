"""Define the kinds of alert rules. Each class parses the trigger of one kind and decides when its rules fire.

No function here does I/O or reads the clock. To add a kind, add its class here and to KINDS.

A contact is *taken* after a rule fired for it, until the rule re-arms: a taken contact does not make the rule fire
again. `AlertMemory` stores this for each rule and contact.

A fading score crosses an edge without a write, at an instant that can be computed in advance. Callers evaluate all of
these instants in order (`next_evaluation`, then `evaluate`) before they evaluate a change (`evaluate_change`). Thus the
result does not depend on when a rule is evaluated, or by which process.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, TypeAlias

from storage.domain.alerts.memory import AlertMemory, Decision, advance
from storage.domain.alerts.values import BadAlert, parse_band, parse_edge, parse_length, parse_number
from storage.domain.decay import crosses
from storage.domain.durations import UNITS, write_span
from storage.domain.fold import ScoreState
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType

LEAD = 3 * UNITS["d"]  #: the default lead time of `about to fall out of`, in µs


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
        """Return whether a value is outside the region and has reached the re-arm line.

        The re-arm line is *margin* beyond the edge of the region, but never outside the range of the score type. A
        missing value counts as outside.
        """
        if value is None:
            return True
        below = self.low is not None and value <= max(score_type.minimum, self.low - margin) and value < self.low
        above = self.high is not None and value >= min(score_type.maximum, self.high + margin)
        return below or above


#: the region of kinds that do not depend on where a score is
ANYWHERE = Region()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """The parsed trigger of a rule. Values in thousandths, times in µs. `Watch` explains the fields."""

    region: Region = ANYWHERE
    amount: int = 0
    span: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(ABC):
    """An alert rule for one score type; a subclass for each kind. Values in thousandths, times in µs."""

    name: ClassVar[str]  #: the kind, as stored with a rule
    phrases: ClassVar[tuple[tuple[str, str], ...]]  #: (first words of a typed trigger, label in the form)
    compares: ClassVar[bool] = False  #: whether it compares a score with the value *span* ago
    is_shown_by_score: ClassVar[bool] = False  #: whether the score alone shows why the rule fired
    fires_for_newcomers: ClassVar[bool] = False  #: whether it may fire for contacts that a new definition moves inside
    needs_memory: ClassVar[bool] = False  #: whether a sweep finds its contacts by `pending_until` alone, not by scores

    rule: int
    score_type: ScoreType
    region: Region = ANYWHERE
    amount: int = 0  #: the least change of the score
    span: int = 0  #: the time over which it looks back or ahead
    margin: int  #: how far outside the region a score must be for the rule to re-arm
    hold: int = 0  #: how long a score must stay inside before the rule fires
    cooldown: int  #: the least time between two firings for one contact

    @classmethod
    @abstractmethod
    def parse(cls, text: str, score_type: ScoreType) -> Trigger | None:
        """Parse the text after the score type in a rule. Return None for another kind of trigger. Raises BadAlert."""

    @property
    @abstractmethod
    def words(self) -> str:
        """The trigger as it would be typed: `fit crosses 8`."""

    @property
    def problem(self) -> str | None:
        """Why no score of this type can make the rule fire, as a clause; None if one can."""
        return None

    @property
    def needs_time(self) -> bool:
        """Whether the rule may fire or re-arm by time alone, without a change of the score."""
        return self.score_type.half_life is not None or self.hold > 0

    @property
    def crossings(self) -> tuple[tuple[int, int], ...]:
        """The instants to evaluate while the score fades, as (value, lead): *lead* µs before it crosses the value."""
        return ()

    def is_inside(self, state: ScoreState, *, now: int) -> bool:
        """Return whether a score is inside what the rule watches. Without a region, none is."""
        return False

    @abstractmethod
    def evaluate(self, memory: AlertMemory, state: ScoreState, *, now: int) -> Decision:
        """Evaluate the rule at *now*, when nothing has changed the score since *state*: it may have faded."""

    def evaluate_change(self, memory: AlertMemory, state: ScoreState, earlier: int | None, *, now: int) -> Decision:
        """Evaluate the rule for a change of the score to *state*. *earlier*: the value *span* ago, if it compares."""
        return self.evaluate(memory, state, now=now)

    def is_affected(self, before: int | None, after: int | None, *, is_same_state: bool) -> bool:
        """Return whether to evaluate the rule for a fact that changed the current value from *before* to *after*."""
        return before != after or (self.needs_time and not is_same_state)

    def is_idle(self, memory: AlertMemory, before: int | None, after: int | None, *, is_enrolled: bool) -> bool:
        """Return True only if `evaluate_change` would decide nothing and leave the memory as it is.

        Most changes concern no rule, and this takes a tenth of the time. *before* is the score before the change, or
        *span* ago if the rule compares. *is_enrolled*: whether *memory* has the enrollment of the rule.
        """
        return False

    def is_left_by_undo(self, before: int | None, after: int | None) -> bool:
        """Return whether an undo took the score out of what the rule watches, by however little."""
        return after is None

    def enroll(self, memory: AlertMemory, state: ScoreState, *, since: int) -> AlertMemory:
        """Return the memory for a contact that the rule watches from *since* on, without firing for it.

        *memory* is the memory before, and *state* the state of the score at *since*. A contact inside the region
        becomes taken, but a pending hold stays pending. A taken contact outside the region stays taken until the score
        reaches the re-arm line.
        """
        at = max(since, state.at)  # a state has no value before its own time
        if self.is_inside(state, now=at):
            return memory if memory.pending_until is not None else replace(memory, taken=True, seen_at=at)
        is_known = memory.taken or memory.pending_until is not None
        return self.evaluate(memory, state, now=at).memory if is_known else memory

    def next_evaluation(self, memory: AlertMemory, state: ScoreState) -> int | None:
        """Return the next instant at which the rule may fire or re-arm by time alone, or None.

        A hold that has ended is due at once: the result is then the last evaluated instant, not the end of the hold.
        """
        after = max(memory.seen_at, state.at)
        instants = [at for at in self._list_instants(state) if at > after]
        if memory.pending_until is not None:
            instants.append(max(memory.pending_until, after))
        return min(instants, default=None)

    def is_behind(self, memory: AlertMemory, state: ScoreState, *, now: int) -> bool:
        """Return whether an instant up to *now* is still to be evaluated.

        This happens after a late fact: the score that the fact changed has faded across an edge before *now*.
        """
        return any(max(memory.seen_at, state.at) < at <= now for at in self._list_instants(state))

    def _list_instants(self, state: ScoreState) -> list[int]:
        if state.rank is None or not self.score_type.half_life:
            return []
        instants = [(crosses(self.score_type, state.rank, value), lead) for value, lead in self.crossings]
        return [at - lead for at, lead in instants if at is not None]

    def _advance(self, memory: AlertMemory, *, inside: bool, is_left: bool, now: int) -> Decision:
        return advance(memory, inside=inside, is_left=is_left, hold=self.hold, cooldown=self.cooldown, now=now)


class Crosses(Watch):
    """The score enters a region: from an edge up, below an edge, or a band."""

    name = "crosses"
    phrases = (("crosses", "rises to"), ("crosses below", "falls below"), ("enters", "comes into the band"))
    is_shown_by_score = True
    fires_for_newcomers = True

    _UP = re.compile(
        r"(?:crosses(?:\s+above)?|reaches|rises\s+(?:to|above)|goes\s+above|>=)\s*(?P<edge>\S+)", re.IGNORECASE
    )
    _DOWN = re.compile(r"(?:(?:crosses|falls|drops|goes)\s+below|<)\s*(?P<edge>\S+)", re.IGNORECASE)
    _BAND = re.compile(r"(?:enters|becomes|is(?:\s+in)?)\s+(?P<band>\S+)", re.IGNORECASE)

    @classmethod
    def parse(cls, text: str, score_type: ScoreType) -> Trigger | None:
        """Parse `crosses 80`, `crosses below 40` or `enters warm`."""
        if upward := cls._UP.fullmatch(text):
            return Trigger(region=Region(low=parse_edge(upward["edge"], score_type)))
        if downward := cls._DOWN.fullmatch(text):
            return Trigger(region=Region(high=parse_edge(downward["edge"], score_type)))
        if band := cls._BAND.fullmatch(text):
            low, high = parse_band(band["band"], score_type)
            return Trigger(region=Region(low=low, high=high))
        return None

    @property
    def words(self) -> str:
        """The trigger as it would be typed; a band by its name."""
        key, region, bands = self.score_type.key, self.region, self.score_type.bands
        for band, next_band in pairwise(bands[1:]):
            if region == Region(low=band.start, high=next_band.start):
                return f"{key} enters {band.name}"
        if region.low is not None and region.high is None:
            return f"{key} crosses {show(region.low)}"
        if region.high is not None:
            return f"{key} crosses below {show(region.high)}"
        return f"{key} is scored"

    @property
    def problem(self) -> str | None:
        """Why no score can enter the region: the range of the score type lies outside it."""
        score_type, region = self.score_type, self.region
        if region.low is not None and region.low > score_type.maximum:
            return f"{score_type.label} runs from {score_type.range_shown}, so it never reaches {show(region.low)}"
        if region.high is not None and region.high <= score_type.minimum:
            return f"{score_type.label} runs from {score_type.range_shown}, so it is never below {show(region.high)}"
        return None

    @property
    def crossings(self) -> tuple[tuple[int, int], ...]:
        """The edges of the region and the re-arm lines."""
        low, high, score_type = self.region.low, self.region.high, self.score_type
        values = list[int]()
        if low is not None:
            rearm_line = max(score_type.minimum, low - self.margin)
            # The rule re-arms at the line itself. A fading score is shown at the line once it is below the next step.
            next_step = rearm_line - (rearm_line - score_type.minimum) % score_type.step + score_type.step
            values += [low, next_step]
        if high is not None:
            values += [high, min(score_type.maximum, high + self.margin)]
        return tuple((value, 0) for value in dict.fromkeys(values))

    def is_idle(self, memory: AlertMemory, before: int | None, after: int | None, *, is_enrolled: bool) -> bool:
        """Return whether an armed rule stays outside, or one that is not armed does not reach the re-arm line."""
        if self.score_type.half_life is not None or memory.pending_until is not None:
            return False
        if memory.taken:
            return is_enrolled and not self.region.is_left(after, self.score_type, margin=self.margin)
        return not self.region.holds(after) and (is_enrolled or not self.region.holds(before))

    def is_left_by_undo(self, before: int | None, after: int | None) -> bool:
        """Return whether an undo took the score out of the region, without regard to the margin."""
        return after is None or (self.region.holds(before) and not self.region.holds(after))

    def is_inside(self, state: ScoreState, *, now: int) -> bool:
        """Return whether the value is in the region."""
        return self.region.holds(state.value(self.score_type, now=now))

    def evaluate(self, memory: AlertMemory, state: ScoreState, *, now: int) -> Decision:
        """Fire inside the region, re-arm at the re-arm line."""
        return self.evaluate_value(memory, state.value(self.score_type, now=now), now=now)

    def evaluate_value(self, memory: AlertMemory, value: int | None, *, now: int) -> Decision:
        """Evaluate the rule for one value."""
        is_left = self.region.is_left(value, self.score_type, margin=self.margin)
        return self._advance(memory, inside=self.region.holds(value), is_left=is_left, now=now)


class Moves(Watch):
    """The score moved by an amount, up or down, within a span. Only a write fires the rule, not fading."""

    name = "moved"
    phrases = (("moved", "moves, either way, by"),)
    compares = True
    verbs: ClassVar[str] = "moved|moves"

    @classmethod
    def parse(cls, text: str, score_type: ScoreType) -> Trigger | None:
        """Parse `moved 15 in 7d`."""
        pattern = rf"(?:{cls.verbs})\s+(?:by\s+)?(?P<amount>\S+)\s+(?:in|within)\s+(?P<span>\S+)"
        trend = re.fullmatch(pattern, text, re.IGNORECASE)
        if trend is None:
            return None
        amount = parse_number(trend["amount"], score_type)
        if not 0 < amount <= score_type.maximum - score_type.minimum:
            raise BadAlert(_explain_move(amount, score_type))
        return Trigger(amount=amount, span=parse_length(trend["span"]))

    @property
    def words(self) -> str:
        """The trigger as it would be typed."""
        return f"{self.score_type.key} {self.name} {show(self.amount)} in {write_span(self.span)}"

    @property
    def problem(self) -> str | None:
        """Why no score can move that far: the range of the score type is smaller."""
        score_type = self.score_type
        is_possible = self.amount <= score_type.maximum - score_type.minimum
        return None if is_possible else _explain_move(self.amount, score_type)

    @property
    def needs_time(self) -> bool:
        """Return False: a move by fading counts when the score changes next."""
        return False

    def measure(self, value: int, earlier: int) -> int:
        """Return how far the score moved in the direction of the rule."""
        return abs(value - earlier)

    def is_idle(self, memory: AlertMemory, before: int | None, after: int | None, *, is_enrolled: bool) -> bool:
        """Return whether the score moved too little."""
        return self.score_type.half_life is None and not self._has_moved(after, before)

    def evaluate(self, memory: AlertMemory, state: ScoreState, *, now: int) -> Decision:
        """Return an unchanged memory: only a change of the score fires the rule."""
        return Decision(memory=memory)

    def evaluate_change(self, memory: AlertMemory, state: ScoreState, earlier: int | None, *, now: int) -> Decision:
        """Fire if the score moved far enough since *earlier*.

        Callers evaluate only facts that change the current value. A late fact that changes only *earlier* does not fire
        the rule. The rule does not fire if either value is missing, and not again within the span or the cool-down,
        whichever is longer.
        """
        updated, value = replace(memory, seen_at=now), state.value(self.score_type, now=now)
        if not self._has_moved(value, earlier):
            return Decision(memory=updated)
        if memory.fired_at is not None and now < memory.fired_at + max(self.span, self.cooldown):
            return Decision(memory=updated)
        return Decision(memory=replace(updated, fired_at=now), fires=True)

    def _has_moved(self, value: int | None, earlier: int | None) -> bool:
        return value is not None and earlier is not None and self.measure(value, earlier) >= self.amount

    def enroll(self, memory: AlertMemory, state: ScoreState, *, since: int) -> AlertMemory:
        """Return *memory* unchanged: this kind has no region, so no contact is inside."""
        return memory


class Rises(Moves):
    """The score rose by an amount within a span."""

    name = "rises"
    phrases = (("rises", "rises by"),)
    verbs = "rises"

    def measure(self, value: int, earlier: int) -> int:
        """Return how far the score rose."""
        return value - earlier


class Falls(Moves):
    """The score fell by an amount within a span."""

    name = "falls"
    phrases = (("falls", "falls by"),)
    verbs = "falls"

    def measure(self, value: int, earlier: int) -> int:
        """Return how far the score fell."""
        return earlier - value


class Untouched(Watch):
    """Nothing changed the score for a span."""

    name = "untouched"
    phrases = (("untouched for", "is untouched for"),)
    needs_memory = True

    _WORDS = re.compile(r"(?:is\s+)?untouched\s+for\s+(?P<span>\S+)", re.IGNORECASE)

    @classmethod
    def parse(cls, text: str, score_type: ScoreType) -> Trigger | None:
        """Parse `untouched for 30d`."""
        untouched = cls._WORDS.fullmatch(text)
        return None if untouched is None else Trigger(span=parse_length(untouched["span"]))

    @property
    def words(self) -> str:
        """The trigger as it would be typed."""
        return f"{self.score_type.key} untouched for {write_span(self.span)}"

    @property
    def needs_time(self) -> bool:
        """Return True: the rule fires by time alone."""
        return True

    def evaluate(self, memory: AlertMemory, state: ScoreState, *, now: int) -> Decision:
        """Fire a span after the last fact that affected the score, re-arm at the next fact.

        Until then `pending_until` is the time to evaluate the rule again, so that a sweep finds the contact.
        """
        due = state.last[0] + self.span
        inside = state.rank is not None and now >= due
        decision = replace(self, hold=0)._advance(memory, inside=inside, is_left=not inside, now=now)
        pending_until = None if inside or state.rank is None else due
        return replace(decision, memory=replace(decision.memory, pending_until=pending_until))

    def is_affected(self, before: int | None, after: int | None, *, is_same_state: bool) -> bool:
        """Return True: any fact about the score restarts the span, even if the value stays the same."""
        return True

    def enroll(self, memory: AlertMemory, state: ScoreState, *, since: int) -> AlertMemory:
        """Return a memory that is taken if the span has passed at *since*, else one that is pending until it has."""
        if memory.taken or memory.pending_until is not None or state.rank is None:
            return memory
        due = state.last[0] + self.span
        return replace(memory, taken=due <= since, pending_until=None if due <= since else due, seen_at=since)


class Cooling(Watch):
    """Fading alone will take the score below an edge within a span. The region is all values from the edge up.

    The rule re-arms when the predicted score at the end of the span is missing, or at or above the re-arm line. This
    line is the edge plus the margin, at most the maximum of the score type. Falling out of the band does not re-arm
    the rule.
    """

    name = "cooling"
    phrases = (("about to fall out of", "is about to fall out of the band"),)

    _WORDS = re.compile(
        r"(?:is\s+)?about\s+to\s+fall\s+out\s+of\s+(?P<band>\S+)(?:\s+(?:in|within)\s+(?P<span>\S+))?", re.IGNORECASE
    )

    @classmethod
    def parse(cls, text: str, score_type: ScoreType) -> Trigger | None:
        """Parse `about to fall out of hot in 2d`."""
        cooling = cls._WORDS.fullmatch(text)
        if cooling is None:
            return None
        low = parse_band(cooling["band"], score_type)[0] if score_type.half_life is not None else None
        if problem := _explain_no_fading(low, score_type):
            raise BadAlert(problem)
        return Trigger(region=Region(low=low), span=parse_length(cooling["span"]) if cooling["span"] else LEAD)

    @property
    def words(self) -> str:
        """The trigger as it would be typed."""
        band_name = self.score_type.band(self._edge) or show(self._edge)
        return f"{self.score_type.key} about to fall out of {band_name} in {write_span(self.span)}"

    @property
    def problem(self) -> str | None:
        """Why no score fades below the edge."""
        if self._edge > self.score_type.maximum:
            label, range_shown = self.score_type.label, self.score_type.range_shown
            return f"{label} runs from {range_shown}, so it is always below {show(self._edge)}"
        return _explain_no_fading(self._edge, self.score_type)

    @property
    def crossings(self) -> tuple[tuple[int, int], ...]:
        """The edge, the edge a span ahead, and the re-arm line a span ahead."""
        return ((self._edge, 0), (self._edge, self.span), (self._rearm_line, self.span))

    def is_inside(self, state: ScoreState, *, now: int) -> bool:
        """Return whether the score is in the region now, and will be outside after the span."""
        value_now, value_later = (state.value(self.score_type, now=at) for at in (now, now + self.span))
        return self.region.holds(value_now) and not self.region.holds(value_later)

    def evaluate(self, memory: AlertMemory, state: ScoreState, *, now: int) -> Decision:
        """Fire inside, re-arm at the re-arm line."""
        value_later = state.value(self.score_type, now=now + self.span)
        is_left = value_later is None or value_later >= self._rearm_line
        return self._advance(memory, inside=self.is_inside(state, now=now), is_left=is_left, now=now)

    @property
    def _edge(self) -> int:
        return self.region.low or 0

    @property
    def _rearm_line(self) -> int:
        return min(self.score_type.maximum, self._edge + self.margin)


def _explain_move(amount: int, score_type: ScoreType) -> str:
    return f"{score_type.label} runs from {score_type.range_shown}, so it never moves {show(amount)}"


def _explain_no_fading(edge: int | None, score_type: ScoreType) -> str | None:
    """Return why no score fades below an edge, None if some do. *edge*: None is the start of the lowest band."""
    if score_type.half_life is None:
        return f"{score_type.label} does not fade, so no contact falls out of a band by itself"
    if edge is None or edge <= score_type.start:
        return f"{score_type.label} fades to {show(score_type.start)}, so no contact falls below that band"
    return None


#: a kind of alert rule
Kind: TypeAlias = type[Watch]
#: the kinds by their stored names
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (Crosses, Moves, Rises, Falls, Untouched, Cooling)}
