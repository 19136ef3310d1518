"""Define the terms of filters and which contacts they match. The SQL of `filter_sql` must match the same contacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from storage.domain.attributes import has_value, list_texts, read_instant
from storage.domain.contacts import ATTRIBUTE, ContactFields, Json, field_key
from storage.domain.decay import shown
from storage.domain.followups import NOBODYS, FollowUpState
from storage.domain.numbers import read_millionths
from storage.domain.score_types import ScoreType
from storage.domain.texts import match_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(ContactFields):
    """A contact as filters see it.

    *values*: score type key → value shown at *now*, in thousandths, without missing scores. *past*: score type key →
    (instant in µs, rank after) of each effect in force, in the order of the fold. A rank of None means that the score
    is missing from then on. *now* is in µs.
    """

    id: int
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Json] = field(default_factory=dict)
    values: Mapping[str, int]
    now: int = 0
    past: Mapping[str, Sequence[tuple[int, int | None]]] = field(default_factory=dict)
    follow_ups: tuple[str, ...] = ()  #: the state of each of its pending follow-ups
    touched: int | None = None  #: when its latest fact of any kind happened, in µs

    def value_then(self, score: ScoreType, window: int) -> int | None:
        """Return the value that a score was shown as *window* µs ago, or None if it was missing then."""
        instant = self.now - window
        ranks = [rank for at, rank in self.past.get(score.key, ()) if at <= instant]
        return None if not ranks or ranks[-1] is None else shown(score, ranks[-1], now=instant)


class Comparison(StrEnum):
    """A comparison operator of the filter language."""

    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="
    EQUAL = "="
    NOT_EQUAL = "!="


def compare(left: int, comparison: Comparison, right: int) -> bool:
    """Return whether the comparison holds. Both numbers are in the same unit."""
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
    """Match contacts by a comparison of a score: `score>=80`. A comparison with a missing score is false."""

    score: ScoreType
    comparison: Comparison
    value: int

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        value = candidate.values.get(self.score.key)
        return value is not None and compare(value, self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class InBand:
    """Match contacts with a score in one of the bands: `fit:(hot,warm)`."""

    score: ScoreType
    bands: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return self.score.band(candidate.values.get(self.score.key)) in self.bands


@dataclass(frozen=True, slots=True)
class Has:
    """Match contacts that have a value of the score: `has:fit`."""

    score: ScoreType

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return self.score.key in candidate.values


@dataclass(frozen=True, slots=True)
class Is:
    """Match contacts with one of *values* in a text field, compared by matching keys: `company:"Acme Corp"`."""

    field: str
    values: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        text = getattr(candidate, self.field)
        return text is not None and field_key(self.field, text) in self.values


@dataclass(frozen=True, slots=True)
class Contains:
    """Match contacts with *value* as a part of a text field, compared by matching keys: `email~acme.com`."""

    field: str
    value: str

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        text = getattr(candidate, self.field)
        return text is not None and self.value in field_key(self.field, text)


@dataclass(frozen=True, slots=True)
class Tagged:
    """Match contacts that have at least one of the tags: `tag:(vip,beta)`."""

    values: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return any(match_key(tag) in self.values for tag in candidate.tags)


@dataclass(frozen=True, slots=True)
class Attribute:
    """Match contacts with one of *values* in an attribute, compared by matching keys: `attributes.plan:(pro,team)`.

    A list matches if any of its elements does.
    """

    name: str
    values: tuple[str, ...]

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return any(text in self.values for text in list_texts(candidate.attributes.get(self.name)))


@dataclass(frozen=True, slots=True)
class AttributeNumber:
    """Match contacts by a comparison of a numeric attribute: `attributes.employees>=50`.

    The comparison is false if the attribute is not a number.
    """

    name: str
    comparison: Comparison
    value: int  #: millionths

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        number = read_millionths(candidate.attributes.get(self.name))
        return number is not None and compare(number, self.comparison, self.value)


@dataclass(frozen=True, slots=True)
class AttributeAge:
    """Match contacts by the age of a time in an attribute: `attributes.last_seen<7d`. *age* is in µs.

    A time in the future has a negative age. The comparison is false if the attribute is not a time.
    """

    name: str
    comparison: Comparison
    age: int

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        instant = read_instant(candidate.attributes.get(self.name))
        return instant is not None and compare(candidate.now - instant, self.comparison, self.age)


@dataclass(frozen=True, slots=True)
class HasAttribute:
    """Match contacts that have a value of the attribute: `has:attributes.plan`.

    Null, a blank text and an empty list are no value.
    """

    name: str

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return has_value(candidate.attributes.get(self.name))


@dataclass(frozen=True, slots=True)
class Words:
    """Match contacts with the words as a part of their name, email address or company, or as a whole tag."""

    value: str

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        texts = (("name", candidate.name), ("email", candidate.email), ("company", candidate.company))
        return any(text is not None and self.value in field_key(field, text) for field, text in texts) or any(
            match_key(tag) == self.value for tag in candidate.tags
        )


class Direction(StrEnum):
    """The direction in which a score changed."""

    RISING = "rising"
    FALLING = "falling"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Trend:
    """Match contacts with a score change of at least *amount*: `fit rising 10 in 7d`, `fit falling 20% in 30d`.

    The value now is compared with the value *window* µs ago; a percentage is of the value at that time. The term is
    false if either value is missing, or for a percentage of 0.
    """

    score: ScoreType
    direction: Direction
    amount: int  #: thousandths of a point or of a percent
    of_value: bool  #: whether *amount* is a percentage
    window: int

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
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
    """Match contacts with a score that crossed *edge* within *window* µs: `fit crossed above 80 in 24h`.

    Above: the score is at or above *edge* now, and was below it or missing *window* µs ago. Below: the score is below
    *edge* now and was not then; a score that was missing then has not crossed.
    """

    score: ScoreType
    above: bool
    edge: int
    window: int

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        current, earlier = candidate.values.get(self.score.key), candidate.value_then(self.score, self.window)
        if current is None:
            return False
        if self.above:
            return current >= self.edge and (earlier is None or earlier < self.edge)
        return current < self.edge and earlier is not None and earlier >= self.edge


@dataclass(frozen=True, slots=True)
class Stale:
    """Match contacts that have a score without an effect in force in the last *window* µs: `fit stale 30d`.

    Effects of activities and field values count as well as effects of changes.
    """

    score: ScoreType
    window: int

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        changes = candidate.past.get(self.score.key, ())
        return self.score.key in candidate.values and bool(changes) and changes[-1][0] <= candidate.now - self.window


@dataclass(frozen=True, slots=True)
class Updated:
    """Match contacts by the age of their latest fact, in µs: `updated<7d`.

    Facts about any subject count, also undone facts. An undo itself does not count, because its fact belongs to a batch
    and not to a contact.
    """

    comparison: Comparison
    age: int

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        if candidate.touched is None:
            return False
        return compare(candidate.now - candidate.touched, self.comparison, self.age)


#: word of `followup:` → the follow-up states that it matches; `none` means that the contact has no pending follow-up
FOLLOW_UPS: Mapping[str, tuple[str, ...]] = {
    "open": tuple(state.value for state in NOBODYS),
    "escalated": (FollowUpState.ESCALATED.value,),
    "claimed": (FollowUpState.CLAIMED.value,),
    "snoozed": (FollowUpState.SNOOZED.value,),
    "none": (),
}


@dataclass(frozen=True, slots=True)
class FollowedUp:
    """Match contacts by the states of their follow-ups: `followup:open`; `followup:none` means none is pending."""

    words: tuple[str, ...]

    @property
    def states(self) -> tuple[str, ...]:
        """The follow-up states that the words match, each once."""
        return tuple(dict.fromkeys(state for word in self.words for state in FOLLOW_UPS[word]))

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return ("none" in self.words and not candidate.follow_ups) or any(
            state in self.states for state in candidate.follow_ups
        )


@dataclass(frozen=True, slots=True)
class Not:
    """Negate a term: `-tag:churned`, `NOT fit>80`. `NOT fit>80` also matches contacts without the score."""

    part: "Term"

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return not self.part.matches(candidate)


@dataclass(frozen=True, slots=True)
class All:
    """Match contacts that match every part. Without parts, every contact matches."""

    parts: tuple["Term", ...]

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
        return all(part.matches(candidate) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Any:
    """Match contacts that match at least one part."""

    parts: tuple["Term", ...]

    def matches(self, candidate: Candidate) -> bool:
        """Return whether the contact matches this term."""
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
    """A sort key: a score type or the name of a text field. Missing values sort last in both directions."""

    by: ScoreType | str
    descending: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter: the condition, the sort order and the limit."""

    where: Term
    sort: tuple[Sort, ...] = ()
    limit: int | None = None
    texts: tuple[str, ...] = ()  #: the source text of each part of *where*

    def matches(self, candidate: Candidate) -> bool:
        """Return whether a contact matches the filter. The SQL of `filter_sql` must give the same result."""
        return self.where.matches(candidate)

    @property
    def scores(self) -> tuple[ScoreType, ...]:
        """The score types that the filter sorts by or refers to, each once."""
        sorted_by = [key.by for key in self.sort if isinstance(key.by, ScoreType)]
        return tuple(dict.fromkeys([*sorted_by, *_list_scores(self.where)]))

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields that the filter asks for and in which its contacts differ."""
        return _list_differing_fields(self.where) | {key.by for key in self.sort if isinstance(key.by, str)}

    @property
    def attributes(self) -> tuple[str, ...]:
        """The names of the attributes that the filter refers to, sorted."""
        names = (name for name in asked_fields(self.where) if name.startswith(ATTRIBUTE))
        return tuple(sorted(name.removeprefix(ATTRIBUTE) for name in names))


def leaf_terms(term: Term) -> tuple[Term, ...]:
    """Return the terms that a term combines, each once, in order; negated ones too."""
    match term:
        case Not():
            return leaf_terms(term.part)
        case All() | Any():
            return tuple(dict.fromkeys(leaf for part in term.parts for leaf in leaf_terms(part)))
        case _:
            return (term,)


def _list_differing_fields(term: Term) -> frozenset[str]:
    """Return the fields that a term names, without those that have one value in all contacts that match."""
    match term:
        case Is(values=(_,)) | Tagged(values=(_,)) | Not(part=Tagged()):
            return frozenset()
        case All(parts=parts):
            return frozenset(field for part in parts for field in _list_differing_fields(part))
        case _:
            named = [leaf for leaf in leaf_terms(term) if isinstance(leaf, Is | Contains | Tagged)]
            return frozenset("tags" if isinstance(leaf, Tagged) else leaf.field for leaf in named)


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
    """Return the names of the contact fields that a term reads, as facts write them."""
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
