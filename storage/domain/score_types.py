"""Describe what is measured: a range cut into steps, and the bands that name its parts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from storage.domain.errors import BadDefinition, BadName, OffStep, OutOfRange
from storage.domain.numbers import LARGEST, parse, show

KEY = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
BAND_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
# The filter language and the command line give these words a meaning of their own.
TAKEN_WORDS = frozenset(
    (
        *("and", "or", "not", "has", "in", "is", "sort", "limit", "because", "me", "unset"),
        *("owner", "tag", "tags", "company", "email", "name", "id", "segment", "followup", "updated", "created"),
        *("rising", "falling", "moved", "crossed", "stale", "above", "below"),
        *("merge", "delete"),  # subjects of facts that are no score's
    )
)

#: what a band may be drawn in; a tint of it, so that what stands on it is read
COLOURS = ("grey", "blue", "green", "yellow", "orange", "red", "purple")

SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE = 3_600_000_000, 36_500 * 86_400_000_000
MOST_FADING_STEPS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A named part of a range: from *start* up to the start of the next band."""

    name: str
    start: int  #: thousandths
    colour: str | None = None  #: one of COLOURS; none: the one of its place among the others

    @property
    def shown(self) -> str:
        """Write the band for people: `hot from 80 in red`."""
        return f"{self.name} from {show(self.start)}{f' in {self.colour}' if self.colour else ''}"

    @property
    def typed(self) -> str:
        """Write the band as `parse_band` reads it: `hot:80:red`."""
        return f"{self.name}:{show(self.start)}{f':{self.colour}' if self.colour else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCap:
    """At most so many points, up or down, for one contact in a period; rules of one *group* share them."""

    points: int  #: thousandths
    period: str  #: day, week, month or ever
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What an activity, or without one what is known of a contact, is worth."""

    name: str
    points: int  #: thousandths, for each unit of the activity's quantity
    activity: str | None = None
    condition: str = ""  #: a filter about the contact's fields, blank for everybody
    for_each: str = ""  #: an attribute and a step of it: the points are for each whole step, blank for no attribute
    at_most: int | None = None  #: thousandths: with *for_each*, no more points than this, up or down
    cap: RuleCap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreType:
    """One version of a score type; all numbers are thousandths."""

    id: int  #: of the type
    definition: int  #: id of this version; scores and effects carry it
    number: int  #: of the version: 1, 2, …
    key: str
    label: str
    minimum: int
    maximum: int
    step: int
    start: int
    bands: tuple[Band, ...] = ()
    half_life: int | None = None  #: µs in which half of the distance from the start is lost; none: it stays
    rules: tuple[Rule, ...] = ()
    is_default: bool = False

    def check_set(self, value: int) -> None:
        """Refuse a value that is out of range or off the step, naming what would do."""
        if not self.minimum <= value <= self.maximum:
            raise OutOfRange(f"{self.label} runs from {self.range_shown}; {show(value)} is outside it")
        if (value - self.minimum) % self.step:
            raise OffStep(f"{self.label} goes in steps of {show(self.step)}; {self._suggest_neighbors(value)}")

    def check_add(self, amount: int) -> None:
        """Refuse an amount that is not a whole number of steps."""
        if amount % self.step:
            raise OffStep(f"{self.label} goes in steps of {show(self.step)}; {show(amount)} is no whole number of them")

    def round_to_step(self, value: int) -> int:
        """Return the nearest value on a step, of two that are as near the one that is an even number of steps."""
        steps, rest = divmod(value - self.minimum, self.step)
        return self.minimum + (steps + (2 * rest + steps % 2 > self.step)) * self.step

    def clamp(self, value: int) -> int:
        """Keep a value inside the range."""
        return min(max(value, self.minimum), self.maximum)

    def band(self, value: int | None) -> str | None:
        """Name the band a value is in; none where the value is missing or the type has no bands."""
        if value is None:
            return None
        return next((band.name for band in reversed(self.bands) if value >= band.start), None)

    def is_top(self, value: int | None) -> bool:
        """Tell whether a value is in the highest of several bands."""
        return len(self.bands) > 1 and value is not None and value >= self.bands[-1].start

    @property
    def range_shown(self) -> str:
        """Write the range for people: `0 to 100`."""
        return f"{show(self.minimum)} to {show(self.maximum)}"

    def _suggest_neighbors(self, value: int) -> str:
        below = value - (value - self.minimum) % self.step
        return f"use {show(below)} or {show(below + self.step)}"


def parse_band(text: str) -> Band:
    """Read a band as people type it, `hot:80` or `hot:80:red`; raises BadDefinition, BadNumber."""
    name, *rest = (part.strip() for part in text.split(":"))
    if not name or len(rest) not in (1, 2):
        raise BadDefinition(
            f"`{text.strip()[:40]}` is no band: write its name and where it begins, hot:80, or a colour too, hot:80:red"
        )
    return Band(name=name, start=parse(rest[0]), colour=rest[1] or None if len(rest) == 2 else None)


def check_key(key: str) -> None:
    """Refuse a key that a person could not type or the filter language would misread."""
    if not KEY.fullmatch(key):
        raise BadName(
            f"`{key}` cannot be a score type's key: use a small letter, then small letters, digits and _, 32 at most"
        )
    if key in TAKEN_WORDS:
        raise BadName(f"`{key}` is a word of the filter language; choose another key")


def check_definition(
    *,
    label: str,
    minimum: int,
    maximum: int,
    step: int,
    start: int | None,
    bands: Sequence[Band],
    half_life: int | None = None,
) -> int:
    """Refuse a definition that contradicts itself; answer the starting value (default: the one nearest to 0)."""
    if not label.strip() or len(label) > 60:
        raise BadDefinition("a label has 1 to 60 characters")
    if minimum >= maximum:
        raise BadDefinition(f"the minimum {show(minimum)} must lie below the maximum {show(maximum)}")
    if max(abs(minimum), abs(maximum)) > LARGEST:
        raise BadDefinition("a range lies within -1,000,000,000 to 1,000,000,000")
    if step <= 0 or (maximum - minimum) % step:
        raise BadDefinition(f"the range {show(minimum)} to {show(maximum)} is no whole number of steps of {show(step)}")
    _check_bands(bands, minimum=minimum, maximum=maximum, step=step)
    if half_life is not None:
        _check_half_life(half_life, steps=(maximum - minimum) // step)
    if start is None:
        nearest = min(max(0, minimum), maximum)
        below = nearest - (nearest - minimum) % step
        return min((nearby for nearby in (below, below + step) if nearby <= maximum), key=abs)
    if not minimum <= start <= maximum or (start - minimum) % step:
        raise BadDefinition(f"the starting value {show(start)} must lie in the range and on a step of {show(step)}")
    return start


def _check_half_life(half_life: int, *, steps: int) -> None:
    if not SHORTEST_HALF_LIFE <= half_life <= LONGEST_HALF_LIFE:
        raise BadDefinition("a half-life is at least an hour (1h) and at most a hundred years (36500d)")
    if steps > MOST_FADING_STEPS:
        raise BadDefinition("a score with a half-life has at most 1,000,000,000 steps: take a larger step")


def _check_bands(bands: Sequence[Band], *, minimum: int, maximum: int, step: int) -> None:
    if not bands:
        return
    if bands[0].start != minimum:
        raise BadDefinition(f"the first band must start at the minimum: {bands[0].name}:{show(minimum)}")
    for band in bands:
        if not BAND_NAME.fullmatch(band.name):
            raise BadDefinition(f"`{band.name}` cannot name a band: use small letters, digits, _ and -")
        if not minimum <= band.start <= maximum or (band.start - minimum) % step:
            raise BadDefinition(f"the band {band.name}:{show(band.start)} must start in the range and on a step")
        if band.colour is not None and band.colour not in COLOURS:
            raise BadDefinition(f"`{band.colour[:40]}` is no colour of a band: use {', '.join(COLOURS)}")
    if any(lower.start >= upper.start for lower, upper in pairwise(bands)):
        raise BadDefinition("the bands must start one above the other, lowest first")
    if len({band.name for band in bands}) < len(bands):
        raise BadDefinition("each band needs a name of its own")
