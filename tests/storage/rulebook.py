"""Say what scores and follow-ups must be by the plainest reading of the rules: slow, exact, and nothing of ours in it.

Values are thousandths, times µs; a distance that fades is in billionths of a point.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from math import floor

BILLIONTHS = 10**6  # in a thousandth
DAY = 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What an activity is worth to whom; *cap*: at most so many points in a day, week, month or ever, in a group."""

    activity: str
    points: int
    tag: str | None = None
    cap: tuple[int, str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What is measured."""

    key: str
    low: int
    high: int
    step: int
    start: int
    half_life: int | None = None
    worth: tuple[Worth, ...] = ()

    def clamp(self, value: int) -> int:
        """Keep a value inside the range."""
        return min(max(value, self.low), self.high)

    def shown(self, rank: int | None, now: int) -> int | None:
        """Say what people read of a rank."""
        if rank is None:
            return None
        if self.half_life is None:
            steps = floor(Fraction(abs(rank), self.step) + Fraction(1, 2))
        else:
            # In doubles, as the rules have it: at an edge a more exact number may be of another microsecond.
            ahead = (abs(rank) - now) / self.half_life
            steps = floor(2.0**ahead / (self.step * BILLIONTHS) + 0.5) if ahead > 0 else 0
        return self.clamp(self.start + (steps if rank > 0 else -steps) * self.step)


@lru_cache(maxsize=100_000)
def power(above: int, below: int) -> Fraction:
    """Give 2 to the power of a fraction: exactly where it is a whole number, else to seventy digits."""
    if above % below == 0:
        return Fraction(2) ** (above // below)
    with localcontext(prec=70):
        return Fraction((Decimal(2).ln() * above / below).exp())


def rank_of(distance: int, at: int, half_life: int) -> int:
    """Give the instant at which a billionth will be left of a distance, negative below the start."""
    if not distance:
        return 0
    with localcontext(prec=70):
        duration = (half_life * Decimal(abs(distance)).ln() / Decimal(2).ln()).to_integral_value()
    return (at + int(duration)) * (1 if distance > 0 else -1)


@dataclass(frozen=True, kw_only=True)
class Event:
    """A fact as it was stamped: a change of one score, or an activity; *tags* are those known of the contact."""

    at: int
    source: str
    key: str
    batch: str
    contact: str
    score: str = ""
    op: str = ""
    amount: int = 0
    activity: str = ""
    tags: Collection[str] = ()

    @property
    def order(self) -> tuple[int, bytes, bytes]:
        """Where it stands."""
        return (self.at, self.source.encode(), self.key.encode())


@dataclass(frozen=True)
class Told:
    """What an event did to a score: by how much it moved, and its value and rank from then on; none, if undone."""

    event: Event
    moved: int | None
    value: int | None
    rank: int | None


def story(events: Iterable[Event], measure: Measure, *, undone_batches: Collection[str]) -> list[Told]:
    """Tell one score of one contact from its beginning."""
    own: int | None = None
    rank: int | None = None
    since, entries = 0, list[Told]()
    spent: dict[tuple[str, object], int] = {}
    for event in sorted(events, key=lambda event: event.order):
        applying = [
            worth for worth in measure.worth if worth.activity == event.activity and fits(worth.tag, event.tags)
        ]
        if event.score != measure.key and not applying:
            continue
        if event.batch in undone_batches:
            entries += [Told(event, None, None, None)] if event.score == measure.key else []
            continue
        before, unit = measure.shown(rank, event.at), BILLIONTHS if measure.half_life else 1
        remaining = own or 0
        if own is not None and measure.half_life:
            remaining = round(own * power(since - event.at, measure.half_life))  # a fraction is rounded half to even
        if event.op == "clear":
            own = None
        elif event.op == "set":
            own = (measure.clamp(event.amount) - measure.start) * unit
        else:
            points = event.amount if event.op == "add" else sum(_allowed(worth, event, spent) for worth in applying)
            own = min(
                max(remaining + points * unit, (measure.low - measure.start) * unit),
                (measure.high - measure.start) * unit,
            )
        since = event.at
        rank = own if own is None or not measure.half_life else rank_of(own, event.at, measure.half_life)
        value = measure.shown(rank, event.at)
        effect = (measure.start if value is None else value) - (measure.start if before is None else before)
        entries.append(Told(event, effect, value, rank))
    return entries


def fits(tag: str | None, tags: Collection[str]) -> bool:
    """Tell whether somebody carries a tag, where one is asked for."""
    return tag is None or tag in tags


def _allowed(worth: Worth, event: Event, spent: dict[tuple[str, object], int]) -> int:
    """Give what the cap of a rule leaves of its points, and count it."""
    points = round(Fraction(worth.points * event.amount, 1_000))
    if worth.cap is None:
        return points
    most, period, group = worth.cap
    happened = EPOCH + timedelta(microseconds=event.at)
    began = {
        "day": happened.date(),
        "week": happened.isocalendar()[:2],
        "month": (happened.year, happened.month),
        "ever": None,
    }[period]
    had = spent.get((group, began), 0)
    spent[group, began] = min(max(had + points, -most), most)
    return spent[group, began] - had
