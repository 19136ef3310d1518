"""Say when somebody must be asked to follow up, by the plainest reading of the rules: one contact after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.storage.rulebook import Measure

#: what a rule sees of a score at an instant: whether it is where the rule waits for it, and whether far from there
Seen = tuple[bool, bool]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When to ask: a score comes into [*low*, *high*), moves by *amount*, is untouched, or will fall below *low*."""

    of: Measure
    kind: str = "crosses"  # or moved, rises, falls, untouched, cooling
    low: int | None = None
    high: int | None = None
    amount: int = 0
    span: int = 0
    hold: int = 0
    margin: int = 0
    rest: int
    tag: str | None = None

    def holds(self, value: int | None) -> bool:
        """Tell whether a value lies inside; a missing one lies nowhere."""
        above = self.low is None or (value is not None and value >= self.low)
        return value is not None and above and (self.high is None or value < self.high)

    def sees(self, rank: int | None, touched: int, at: int) -> Seen:
        """Look at a score as it is at an instant, if nobody changes it until then."""
        value = self.of.shown(rank, at)
        if self.kind == "untouched":
            idle = rank is not None and at >= touched + self.span
            return idle, not idle
        if self.kind == "cooling":
            value_before = self.of.shown(rank, at + self.span)
            line = min(self.of.high, (self.low or 0) + self.margin)
            return self.holds(value) and not self.holds(value_before), value_before is None or value_before >= line
        if value is None or self.holds(value):
            return self.holds(value), value is None
        below = self.low is not None and value <= max(self.of.low, self.low - self.margin)
        return False, below or (self.high is not None and value >= min(self.of.high, self.high + self.margin))

    def instants(self, rank: int | None, touched: int, since: int, until: int) -> list[int]:
        """Give the instants after *since*, up to *until*, at which time alone may change what it sees."""
        instants = {touched + self.span} if self.kind == "untouched" else set()
        if rank is not None and self.of.half_life and self.kind in ("crosses", "cooling"):
            edges = {
                edge + far
                for edge in (self.low, self.high)
                if edge is not None
                for far in (-self.margin, 0, self.margin)
            }
            # What is shown goes one way, so that it passes each edge once; it may be there before it is beyond.
            edges |= {edge + 1 for edge in edges} | {self.of.low + 1, self.of.high}
            for edge in edges:
                passed = first(lambda at, edge=edge: (self.of.shown(rank, at) or 0) >= edge, since, until + self.span)  # type: ignore[misc]  # bound at once
                instants |= {passed, passed - self.span} if passed is not None else set()
        return sorted(at for at in instants if since < at <= until)


def first(condition: Callable[[int], bool], since: int, until: int) -> int | None:
    """Give the first instant at which an answer is another than at the beginning; none where it stays."""
    before = condition(since)
    if condition(until) is before:
        return None
    while until - since > 1:
        middle = (since + until) // 2
        since, until = (middle, until) if condition(middle) is before else (since, middle)
    return until


@dataclass
class Watching:
    """What one rule makes of one contact; *told*: (asked at, value then, closed at)."""

    rule: Rule
    tags: Sequence[str]
    taken: bool = False
    waits: int | None = None
    asked_at: int | None = None
    settled: int = 0
    spent: int = 0
    follow_ups: list[tuple[int, int | None, int | None]] = field(default_factory=list)

    def settle(self, rank: int | None, touched: int, until: int) -> None:
        """Decide what time alone decides up to an instant."""
        instants = self.rule.instants(rank, touched, self.settled, until)
        while instants or self.waits is not None:
            # What was stamped some µs ahead of its receipt is not looked at before it happened.
            at = min([*instants[:1], *([max(self.waits, touched)] if self.waits is not None else [])])
            if at > until:
                break
            instants = [instant for instant in instants if instant != at]
            self.decide(rank, touched, at)
        self.settled = max(self.settled, until)

    def decide(self, rank: int | None, touched: int, at: int, *, quietly: bool = False) -> bool:
        """Look at a score; tell whether it would have asked, had it not been *quietly*."""
        inside, is_far = self.rule.sees(rank, touched, at)
        if not inside:
            self.waits = None
            if self.taken and is_far:
                self.taken = False
                self.follow_ups = [(asked_at, value, closed or at) for asked_at, value, closed in self.follow_ups]
            return False
        if not self.taken and self.rule.hold and self.waits is None and self.rule.kind != "untouched":
            self.waits = at + self.rule.hold
        if self.taken or (self.waits is not None and at < self.waits):
            return False
        self.taken, self.waits = True, None
        return self.ask(rank, at, rest=self.rule.rest, quietly=quietly)

    def moved(self, before: int | None, rank: int | None, value_then: int | None, at: int, *, quietly: bool) -> bool:
        """Compare a score that was just changed with what it was shown as before its span."""
        value = self.rule.of.shown(rank, at)
        if value is None or value_then is None or value == before:
            return False
        far = {"moved": abs(value - value_then), "rises": value - value_then, "falls": value_then - value}[
            self.rule.kind
        ]
        rest = max(self.rule.span, self.rule.rest)
        if far < self.rule.amount or (self.asked_at is not None and at < self.asked_at + rest):
            return False
        return self.ask(rank, at, rest=0, quietly=quietly)

    def ask(self, rank: int | None, at: int, *, rest: int, quietly: bool) -> bool:
        """Ask, unless it was asked a short while ago, or of somebody else."""
        if self.asked_at is not None and at < self.asked_at + rest:
            self.spent += 1
            return False
        if self.rule.tag is not None and self.rule.tag not in self.tags:
            return False
        if not quietly:
            self.asked_at = at
            self.follow_ups.append((at, self.rule.of.shown(rank, at), None))
        return quietly
