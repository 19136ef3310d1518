"""Define the terms of a filter: what each says of a contact; the SQL of the same filter is held equal to this."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from storage.domain.attributes import has_value, list_texts, read_instant
from storage.domain.contacts import ATTRIBUTE, Json, field_key
from storage.domain.decay import shown
from storage.domain.followups import NOBODYS, FollowUpState
from storage.domain.numbers import read_millionths
from storage.domain.score_types import ScoreType
from storage.domain.texts import match_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A contact as filters see it; *values* holds, by type key, the scores it has, in thousandths as shown *now*.

    *past* holds, by type key, what each change that stands left as rank, in the order of the fold.
    """

    id: int
    email: str | None = None
    name: str | None = None
    company: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Json] = field(default_factory=dict)
    values: Mapping[str, int]
    now: int = 0
    past: Mapping[str, Sequence[tuple[int, int | None]]] = field(default_factory=dict)
    follow_ups: tuple[str, ...] = ()  #: where each of its follow-ups stands that waits for somebody
    touched: int | None = None  #: when the last fact of it happened, of whatever kind

    def value_then(self, score: ScoreType, window: int) -> int | None:
        """Give what a score was shown as so long ago, or none where it was missing."""
        instant = self.now - window
        ranks = [rank for at, rank in self.past.get(score.key, ()) if at <= instant]
        return None if not ranks or ranks[-1] is None else shown(score, ranks[-1], now=instant)


class Comparison(StrEnum):
    """How a score is compared."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="
    EQUAL = "="
    NOT_EQUAL = "!="


def compare(left: int, comparison: Comparison, right: int) -> bool:
    """Compare two numbers of the same unit."""
    match comparison:
        case Comparison.ABOVE:
            return left > right
        case Comparison.AT_LEAST:
            return left >= right
        case Comparison.BELOW:
            return left < right
        case Comparison.AT_MOST:
            return left <= right
        case Comparison.EQUAL:
            return left == right
        case Comparison.NOT_EQUAL:
            return left != right


@dataclass(frozen=True, slots=True)
class Compare:
    """`score>=80`; a missing score compares to nothing, so that every comparison of it is false."""

    score: ScoreType
    comparison: Comparison
    value: int

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        value = candidate.values.get(self.score.key)
        return value is not None and compare(value, self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class InBand:
    """`fit:(hot,warm)`."""

    score: ScoreType
    bands: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return self.score.band(candidate.values.get(self.score.key)) in self.bands


@dataclass(frozen=True, slots=True)
class Has:
    """`has:fit`: it has a value now."""

    score: ScoreType

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return self.score.key in candidate.values


@dataclass(frozen=True, slots=True)
class Is:
    """`owner:rep@acme.com`, `company:"Acme Corp"`: one of *values*, compared as texts are."""

    field: str
    values: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        text = getattr(candidate, self.field)
        return text is not None and field_key(self.field, text) in self.values


@dataclass(frozen=True, slots=True)
class Contains:
    """`email~acme.com`: the text is part of it, compared as texts are."""

    field: str
    value: str

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        text = getattr(candidate, self.field)
        return text is not None and self.value in field_key(self.field, text)


@dataclass(frozen=True, slots=True)
class Tagged:
    """`tag:(vip,beta)`: it carries one of them."""

    values: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return any(match_key(tag) in self.values for tag in candidate.tags)


@dataclass(frozen=True, slots=True)
class Attribute:
    """`attributes.industry:(software,banking)`: one of *values*, compared as texts are; of a list any element."""

    name: str
    values: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return any(text in self.values for text in list_texts(candidate.attributes.get(self.name)))


@dataclass(frozen=True, slots=True)
class AttributeNumber:
    """`attributes.employees>=50`; what is no number compares to nothing."""

    name: str
    comparison: Comparison
    value: int  #: millionths

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        number = read_millionths(candidate.attributes.get(self.name))
        return number is not None and compare(number, self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class AttributeAge:
    """`attributes.last_seen<7d`: how long ago that was; a time that lies ahead is younger than any age.

    What is no time compares to nothing.
    """

    name: str
    comparison: Comparison
    age: int

    def matches(self, candidate: Candidate) -> bool:
        """Return whether it is true of a contact."""
        instant = read_instant(candidate.attributes.get(self.name))
        return instant is not None and compare(candidate.now - instant, self.comparison, self.age)


@dataclass(frozen=True, slots=True)
class HasAttribute:
    """`has:attributes.plan`: it says something; null, a blank text and an empty list do not."""

    name: str

    def matches(self, candidate: Candidate) -> bool:
        """Return whether it is true of a contact."""
        return has_value(candidate.attributes.get(self.name))


@dataclass(frozen=True, slots=True)
class Words:
    """Free words: part of the name, the address or the company."""

    value: str

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return any(
            text is not None and self.value in field_key(field, text)
            for field, text in (("name", candidate.name), ("email", candidate.email), ("company", candidate.company))
        )


class Direction(StrEnum):
    """Which way a score went."""

    RISING = "rising"
    FALLING = "falling"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Trend:
    """`fit rising 10 in 7d`, `fit falling 20% in 30d`: the value now against the value then; % is of the value then.

    Where it is missing at either end, or % would be of 0, there is no trend.
    """

    score: ScoreType
    direction: Direction
    amount: int  #: thousandths, of a point or of a percent
    of_value: bool  #: it is percent
    window: int

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        current, earlier = candidate.values.get(self.score.key), candidate.value_then(self.score, self.window)
        if current is None or earlier is None:
            return False
        match self.direction:
            case Direction.RISING:
                change = current - earlier
            case Direction.FALLING:
                change = earlier - current
            case Direction.MOVED:
                change = abs(current - earlier)
        if self.of_value:
            return earlier != 0 and change * 100_000 >= self.amount * abs(earlier)
        return change >= self.amount


@dataclass(frozen=True, slots=True)
class Crossed:
    """`fit crossed above 80 in 24h`: there now, and then it was below or missing; `below`: and then it was not."""

    score: ScoreType
    above: bool
    edge: int
    window: int

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        current, earlier = candidate.values.get(self.score.key), candidate.value_then(self.score, self.window)
        if current is None:
            return False
        if self.above:
            return current >= self.edge and (earlier is None or earlier < self.edge)
        return current < self.edge and earlier is not None and earlier >= self.edge


@dataclass(frozen=True, slots=True)
class Stale:
    """`fit stale 30d`: it has a value, and no effect that stands is younger, also of an activity or a field."""

    score: ScoreType
    window: int

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        changes = candidate.past.get(self.score.key, ())
        return self.score.key in candidate.values and bool(changes) and changes[-1][0] <= candidate.now - self.window


@dataclass(frozen=True, slots=True)
class Updated:
    """`updated<7d`: the age of the last fact of the contact, whatever it is about, undone or not.

    The undo itself is not counted, because it is about a batch.
    """

    comparison: Comparison
    age: int

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        if candidate.touched is None:
            return False
        return compare(candidate.now - candidate.touched, self.comparison, self.age)


#: what a follow-up may be asked for, and the states that count as it; `none`: nothing waits
FOLLOW_UPS: Mapping[str, tuple[str, ...]] = {
    "open": tuple(state.value for state in NOBODYS),
    "escalated": (FollowUpState.ESCALATED.value,),
    "claimed": (FollowUpState.CLAIMED.value,),
    "snoozed": (FollowUpState.SNOOZED.value,),
    "none": (),
}


@dataclass(frozen=True, slots=True)
class FollowedUp:
    """`followup:open`: a follow-up of it stands so; `followup:none`: none waits for anybody."""

    words: tuple[str, ...]

    @property
    def states(self) -> tuple[str, ...]:
        """Give the states that it asks for."""
        return tuple(dict.fromkeys(state for word in self.words for state in FOLLOW_UPS[word]))

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return ("none" in self.words and not candidate.follow_ups) or any(
            state in self.states for state in candidate.follow_ups
        )


@dataclass(frozen=True, slots=True)
class Not:
    """`-tag:churned`, `NOT fit>80`: also true of those without the score."""

    part: "Term"

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return not self.part.matches(candidate)


@dataclass(frozen=True, slots=True)
class All:
    """Every part is true; with no part, it is true of everybody."""

    parts: tuple["Term", ...]

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return all(part.matches(candidate) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any:
    """One part at least is true."""

    parts: tuple["Term", ...]

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether it is true of a contact."""
        return any(part.matches(candidate) for part in self.parts)


Term: TypeAlias = (
    Compare
    | InBand
    | Has
    | Is
    | Contains
    | Tagged
    | Attribute
    | AttributeNumber
    | AttributeAge
    | HasAttribute
    | Words
    | Trend
    | Crossed
    | Stale
    | Updated
    | FollowedUp
    | Not
    | All
    | Any
)


@dataclass(frozen=True, slots=True)
class Sort:
    """One key to sort by: a score type, or a text field; missing values come last either way."""

    by: ScoreType | str
    descending: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """A whole question: which contacts, in which order, how many at most."""

    where: Term
    sort: tuple[Sort, ...] = ()
    limit: int | None = None
    texts: tuple[str, ...] = ()  #: how each part of *where*, or the whole of it, was written

    def matches(self, candidate: Candidate) -> bool:
        """Tell whether a contact is among the answers; this is the specification of the SQL."""
        return self.where.matches(candidate)

    @property
    def scores(self) -> tuple[ScoreType, ...]:
        """Give the score types that it sorts by or asks about, each once."""
        sorted_by = [key.by for key in self.sort if isinstance(key.by, ScoreType)]
        return tuple(dict.fromkeys([*sorted_by, *_list_scores(self.where)]))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Return the names of the attributes that it asks about, sorted."""
        names = (name for name in asked_fields(self.where) if name.startswith(ATTRIBUTE))
        return tuple(sorted(name.removeprefix(ATTRIBUTE) for name in names))


def _list_scores(term: Term) -> list[ScoreType]:
    match term:
        case Compare() | InBand() | Has() | Trend() | Crossed() | Stale():
            return [term.score]
        case Not():
            return _list_scores(term.part)
        case All() | Any():
            return [score for part in term.parts for score in _list_scores(part)]
        case _:
            return []


def asked_fields(term: Term) -> frozenset[str]:
    """Return the names of the contact's fields that a term reads, as facts name them."""
    match term:
        case Is() | Contains():
            return frozenset([term.field])
        case Tagged():
            return frozenset(["tags"])
        case Words():
            return frozenset(["name", "email", "company"])
        case Attribute() | AttributeNumber() | AttributeAge() | HasAttribute():
            return frozenset([ATTRIBUTE + term.name])
        case Not():
            return asked_fields(term.part)
        case All() | Any():
            return frozenset(name for part in term.parts for name in asked_fields(part))
        case Compare() | InBand() | Has() | Trend() | Crossed() | Stale() | Updated() | FollowedUp():
            return frozenset()
