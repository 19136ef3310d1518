"""Say what scores must be, by the plainest reading of the rules: sort, go through, keep inside the range."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

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

    @property
    def order(self) -> tuple[int, bytes, bytes]:
        """Where it stands."""
        return (self.at, self.source.encode("utf-8"), self.key.encode("utf-8"))


@dataclass(frozen=True, kw_only=True)
class Range:
    """What a score can be, in points."""

    low: Decimal
    high: Decimal
    start: Decimal


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


def story(told: Iterable[Told], limits: Range, *, without: Collection[str]) -> tuple[Decimal | None, list[Line]]:
    """Tell one score of one contact: its value and its history, oldest first."""
    value: Decimal | None = None
    lines = []
    for one in sorted(told, key=lambda one: one.order):
        if one.batch in without:
            lines.append(Line(one.at, one.source, one.op, one.amount, None, None, one.actor, True))
            continue
        before = limits.start if value is None else value
        if one.op == "clear":
            value = None
        else:
            wanted = one.amount if one.op == "set" else before + one.amount
            value = limits.low if wanted < limits.low else limits.high if wanted > limits.high else wanted
        moved = (limits.start if value is None else value) - before
        lines.append(Line(one.at, one.source, one.op, one.amount, moved, value, one.actor, False))
    return value, lines


def latest_fields(told: Iterable[Told], *, without: Collection[str]) -> dict[str, Json]:
    """Give what the last fact that speaks of each field says."""
    fields: dict[str, Json] = {}
    for one in sorted(told, key=lambda one: one.order):
        if one.batch not in without:
            fields |= one.fields
    return fields
