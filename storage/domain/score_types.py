"""Define score types: a range, its steps, its bands, the half-life and the scoring rules; validate definitions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from storage.domain.contacts import TEXT_FIELDS
from storage.domain.errors import BadDefinition, BadName, OffStep, OutOfRange
from storage.domain.numbers import LARGEST, parse, show

KEY = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
BAND_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
# Words with a meaning in the filter language or on the command line.
TAKEN_WORDS = frozenset(
    (
        *("and", "or", "not", "has", "in", "is", "sort", "limit", "because", "me", "unset"),
        *(*TEXT_FIELDS, "tag", "tags", "id", "segment", "followup", "updated", "created"),
        *("rising", "falling", "moved", "crossed", "stale", "above", "below"),
        *("merge", "delete"),  # subjects of facts that do not concern a score type
    )
)

#: the colors of bands; charts draw a light tint, so that text on it stays readable
COLOURS = ("grey", "blue", "green", "yellow", "orange", "red", "purple")

SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE = 3_600_000_000, 36_500 * 86_400_000_000
MOST_FADING_STEPS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A named part of a range, from *start* up to, but not including, the start of the next band."""

    name: str
    start: int  #: thousandths
    colour: str | None = None  #: one of COLOURS; None: the default for the band's position

    @property
    def shown(self) -> str:
        """The band as people read it: `hot from 80 in red`."""
        return f"{self.name} from {show(self.start)}{f' in {self.colour}' if self.colour else ''}"

    @property
    def typed(self) -> str:
        """The band as `parse_band` reads it: `hot:80:red`."""
        return f"{self.name}:{show(self.start)}{f':{self.colour}' if self.colour else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleCap:
    """The most points, up or down, that a rule may award to one contact in a period."""

    points: int  #: thousandths
    period: str  #: day, week, month or ever
    group: str | None = None  #: rules with the same group share one cap


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A scoring rule: points for an activity, or, without *activity*, for contacts that match *condition*."""

    name: str
    points: int  #: thousandths, for each unit of the activity's quantity
    activity: str | None = None
    condition: str = ""  #: a filter on the contact's fields, blank for all contacts
    for_each: str = ""  #: an attribute and a step of it: the points are for each whole step, blank for no attribute
    at_most: int | None = None  #: thousandths: with *for_each*, no more points than this, up or down
    cap: RuleCap | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreType:
    """One version of a score type. Values in thousandths."""

    id: int  #: the row id of the type
    definition: int  #: the row id of this version, which scores and effects refer to
    number: int  #: the number of this version: 1, 2, …
    key: str
    label: str
    minimum: int
    maximum: int
    step: int
    start: int
    bands: tuple[Band, ...] = ()
    half_life: int | None = None  #: µs in which the distance from the start halves; None: the score does not fade
    rules: tuple[Rule, ...] = ()
    is_default: bool = False

    def check_set(self, value: int) -> None:
        """Raise OutOfRange or OffStep if the score cannot be set to *value*. OffStep names the two nearest values."""
        if not self.minimum <= value <= self.maximum:
            raise OutOfRange(f"{self.label} runs from {self.range_shown}; {show(value)} is outside it")
        if (value - self.minimum) % self.step:
            raise OffStep(f"{self.label} goes in steps of {show(self.step)}; {self._suggest_neighbors(value)}")

    def check_add(self, amount: int) -> None:
        """Raise OffStep if *amount* is not a whole number of steps."""
        if amount % self.step:
            raise OffStep(f"{self.label} goes in steps of {show(self.step)}; {show(amount)} is not a multiple of that")

    def round_to_step(self, value: int) -> int:
        """Return the nearest value on a step; halfway between two, the one an even number of steps from the minimum."""
        steps, rest = divmod(value - self.minimum, self.step)
        return self.minimum + (steps + (2 * rest + steps % 2 > self.step)) * self.step

    def clamp(self, value: int) -> int:
        """Return the value of the range that is nearest to *value*."""
        return min(max(value, self.minimum), self.maximum)

    def band(self, value: int | None) -> str | None:
        """Return the name of the band of a value, or None if the value is missing or the type has no bands."""
        if value is None:
            return None
        return next((band.name for band in reversed(self.bands) if value >= band.start), None)

    def is_top(self, value: int | None) -> bool:
        """Return whether a value is in the highest band. A type with a single band has no highest band."""
        return len(self.bands) > 1 and value is not None and value >= self.bands[-1].start

    @property
    def range_shown(self) -> str:
        """The range as people read it: `0 to 100`."""
        return f"{show(self.minimum)} to {show(self.maximum)}"

    @property
    def example(self) -> int:
        """A value to show in examples: on a step, in the upper part of the range."""
        return self.minimum + (self.maximum - self.minimum) * 85 // 100 // self.step * self.step

    @property
    def example_change(self) -> int:
        """An amount to show in examples of a change: on a step, about a tenth of the range."""
        return max((self.maximum - self.minimum) // 10 // self.step, 1) * self.step

    @property
    def example_edge(self) -> int:
        """A value that a score may cross, to show in examples: where the top band begins, if there are bands."""
        return self.bands[-1].start if len(self.bands) > 1 else self.example

    def _suggest_neighbors(self, value: int) -> str:
        below = value - (value - self.minimum) % self.step
        return f"use {show(below)} or {show(below + self.step)}"


def parse_band(text: str) -> Band:
    """Parse a band as people type it: `hot:80` or `hot:80:red`. Raises BadDefinition, BadNumber."""
    name, *rest = (part.strip() for part in text.split(":"))
    if not name or len(rest) not in (1, 2):
        raise BadDefinition(
            f"`{text.strip()[:40]}` is not a band: write its name and its start, hot:80, or also its color, hot:80:red"
        )
    return Band(name=name, start=parse(rest[0]), colour=rest[1] or None if len(rest) == 2 else None)


def check_key(key: str) -> None:
    """Raise BadName if *key* cannot be the key of a score type, or is a word of the filter language."""
    if not KEY.fullmatch(key):
        raise BadName(
            f"`{key}` cannot be a score type's key: use up to 32 lowercase letters, digits and _, a letter first"
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
    """Validate a definition; return its starting value, by default the value on a step that is nearest to 0.

    Values are in thousandths, *half_life* in µs. Raises BadDefinition.
    """
    if not label.strip() or len(label) > 60:
        raise BadDefinition("a label has 1 to 60 characters")
    if minimum >= maximum:
        raise BadDefinition(f"the minimum {show(minimum)} must be below the maximum {show(maximum)}")
    if max(abs(minimum), abs(maximum)) > LARGEST:
        raise BadDefinition("a range must be within -1,000,000,000 to 1,000,000,000")
    if step <= 0 or (maximum - minimum) % step:
        raise BadDefinition(f"the range {show(minimum)} to {show(maximum)} is not a multiple of the step {show(step)}")
    _check_bands(bands, minimum=minimum, maximum=maximum, step=step)
    if half_life is not None:
        _check_half_life(half_life, steps=(maximum - minimum) // step)
    if start is None:
        nearest = min(max(0, minimum), maximum)
        below = nearest - (nearest - minimum) % step
        return min((nearby for nearby in (below, below + step) if nearby <= maximum), key=abs)
    if not minimum <= start <= maximum or (start - minimum) % step:
        raise BadDefinition(f"the starting value {show(start)} must be in the range and on a step of {show(step)}")
    return start


def _check_half_life(half_life: int, *, steps: int) -> None:
    if not SHORTEST_HALF_LIFE <= half_life <= LONGEST_HALF_LIFE:
        raise BadDefinition("a half-life is at least an hour (1h) and at most a hundred years (36500d)")
    if steps > MOST_FADING_STEPS:
        raise BadDefinition("a score with a half-life has at most 1,000,000,000 steps: use a larger step")


def _check_bands(bands: Sequence[Band], *, minimum: int, maximum: int, step: int) -> None:
    if not bands:
        return
    if bands[0].start != minimum:
        raise BadDefinition(f"the first band must start at the minimum: {bands[0].name}:{show(minimum)}")
    for band in bands:
        if not BAND_NAME.fullmatch(band.name):
            raise BadDefinition(f"`{band.name}` cannot name a band: use lowercase letters, digits, _ and -")
        if not minimum <= band.start <= maximum or (band.start - minimum) % step:
            raise BadDefinition(f"the band {band.name}:{show(band.start)} must start in the range and on a step")
        if band.colour is not None and band.colour not in COLOURS:
            raise BadDefinition(f"`{band.colour[:40]}` is not a color of a band: use {', '.join(COLOURS)}")
    if any(lower.start >= upper.start for lower, upper in pairwise(bands)):
        raise BadDefinition("the bands must start one above the other, lowest first")
    if len({band.name for band in bands}) < len(bands):
        raise BadDefinition("each band needs its own name")
