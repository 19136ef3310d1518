"""Say what scores must be, by the plainest reading of the rules: sort, go through, keep inside the range."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext

from storage.domain.contacts import Json


@dataclass(frozen=True, kw_only=True)
class Told:
    """One fact as its sender tells it; numbers in points."""

    source: str
    key: str
    at: int
    contact: str
    score: str | None  # none: it speaks of the contact alone
    op: str = ""
    amount: Decimal = Decimal(0)
    batch: str = ""
    actor: str | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)
    also: str | None = None  # another name of the contact, told along with it
    into: str | None = None  # whom the contact is one with: then it says nothing else

    @property
    def order(self) -> tuple[int, bytes, bytes]:
        """Where it stands."""
        return (self.at, self.source.encode("utf-8"), self.key.encode("utf-8"))


@dataclass(frozen=True, kw_only=True)
class Range:
    """What a score can be, in points; *half_life* in µs, where it fades."""

    low: Decimal
    high: Decimal
    start: Decimal
    half_life: int | None = None

    def fade(self, value: Decimal, *, elapsed: int) -> Decimal:
        """Say what is left of a value a while later: half of its distance from the start in each half-life."""
        if self.half_life is None:
            return value
        with localcontext(prec=50):
            distance = (value - self.start) * Decimal(2) ** (-Decimal(elapsed) / self.half_life)
            return self.start + distance.quantize(Decimal("1e-9"))

    def shown(self, value: Decimal, *, at: int, now: int) -> Decimal:
        """Say what people read later of a value as of *at*; what fades is shown in whole points here.

        What fades is kept as the whole µs at which a billionth of a point will be left of its distance from the start,
        so that what stands between two points is shown as the one or the other by which way that µs was rounded.
        """
        distance = abs(value - self.start)
        if self.half_life is None or not distance:
            return value
        with localcontext(prec=50):
            ahead = at - now + int((self.half_life * (distance * 10**9).ln() / Decimal(2).ln()).to_integral_value())
            remaining = Decimal(2) ** (Decimal(ahead) / self.half_life) / 10**9 if ahead > 0 else Decimal(0)
            points = remaining.quantize(Decimal(1), ROUND_HALF_UP)
        return self.start + (points if value > self.start else -points)


@dataclass(frozen=True)
class Line:
    """One line of a history: what was told, what it did, what the score was after."""

    at: int
    source: str
    op: str
    amount: Decimal
    effective: Decimal | None
    value: Decimal | None
    actor: str | None
    undone: bool


def story(
    facts: Iterable[Told], limits: Range, *, without: Collection[str], now: int
) -> tuple[Decimal | None, list[Line]]:
    """Tell one score of one contact: its value at an instant, and its history, oldest first."""
    value: Decimal | None = None
    as_of, lines = 0, []
    for fact in sorted(facts, key=lambda fact: fact.order):
        if fact.batch in without:
            lines.append(Line(fact.at, fact.source, fact.op, fact.amount, None, None, fact.actor, True))
            continue
        shown_before, before = limits.start, limits.start
        if value is not None:
            shown_before, before = (
                limits.shown(value, at=as_of, now=fact.at),
                limits.fade(value, elapsed=fact.at - as_of),
            )
        if fact.op == "clear":
            value = None
        else:
            target = fact.amount if fact.op == "set" else before + fact.amount
            value = limits.low if target < limits.low else limits.high if target > limits.high else target
        as_of = fact.at
        after = None if value is None else limits.shown(value, at=as_of, now=as_of)
        effect = (limits.start if after is None else after) - shown_before
        lines.append(Line(fact.at, fact.source, fact.op, fact.amount, effect, after, fact.actor, False))
    return None if value is None else limits.shown(value, at=as_of, now=now), lines


def latest_fields(facts: Iterable[Told], *, without: Collection[str]) -> dict[str, Json]:
    """Give what the last fact that speaks of each field says."""
    fields: dict[str, Json] = {}
    for fact in sorted(facts, key=lambda fact: fact.order):
        if fact.batch not in without:
            fields |= fact.fields
    return fields
