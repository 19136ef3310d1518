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
            left = (value - self.start) * Decimal(2) ** (-Decimal(elapsed) / self.half_life)
            return self.start + left.quantize(Decimal("1e-9"))

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
            left = Decimal(2) ** (Decimal(ahead) / self.half_life) / 10**9 if ahead > 0 else Decimal(0)
            points = left.quantize(Decimal(1), ROUND_HALF_UP)
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
    told: Iterable[Told], limits: Range, *, without: Collection[str], now: int
) -> tuple[Decimal | None, list[Line]]:
    """Tell one score of one contact: its value at an instant, and its history, oldest first."""
    value: Decimal | None = None
    as_of, lines = 0, []
    for one in sorted(told, key=lambda one: one.order):
        if one.batch in without:
            lines.append(Line(one.at, one.source, one.op, one.amount, None, None, one.actor, True))
            continue
        seen, before = limits.start, limits.start
        if value is not None:
            seen, before = limits.shown(value, at=as_of, now=one.at), limits.fade(value, elapsed=one.at - as_of)
        if one.op == "clear":
            value = None
        else:
            wanted = one.amount if one.op == "set" else before + one.amount
            value = limits.low if wanted < limits.low else limits.high if wanted > limits.high else wanted
        as_of = one.at
        after = None if value is None else limits.shown(value, at=as_of, now=as_of)
        moved = (limits.start if after is None else after) - seen
        lines.append(Line(one.at, one.source, one.op, one.amount, moved, after, one.actor, False))
    return None if value is None else limits.shown(value, at=as_of, now=now), lines


def latest_fields(told: Iterable[Told], *, without: Collection[str]) -> dict[str, Json]:
    """Give what the last fact that speaks of each field says."""
    fields: dict[str, Json] = {}
    for one in sorted(told, key=lambda one: one.order):
        if one.batch not in without:
            fields |= one.fields
    return fields
