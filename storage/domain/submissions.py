"""Describe what is handed in to be recorded, what speaks against a part of it, and what became of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from storage.domain.contacts import ATTRIBUTE, MOST_ATTRIBUTES, Reference, check_field, check_text, clean_fields
from storage.domain.errors import BadItem, Refusal, UnknownScoreType
from storage.domain.facts import Deletion, Item, ItemRequest, Merge, Op, stamp
from storage.domain.fold import ScoreState
from storage.domain.score_types import ScoreType
from storage.domain.texts import clean_text


class Status(StrEnum):
    """What became of an item."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Which request of which source a submission arrived in."""

    source: int  #: row id of the source
    key: str  #: the sender's id of the delivery
    raw: "Raw | None" = None
    reads: bool = False  #: whom it names by an id alone is to be read at the source
    was_read: bool = False  #: it is what was read there: kept only where something of it is set aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A request as it arrived, without what proves who sent it; header names in lower case."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one request asks to have recorded; it is decided by itself, also when several share a commit.

    *all_or_none*: one refusal refuses the whole (people); otherwise the refused items are set aside (deliveries).
    *creates*: contacts not known yet are made. *undoes*: the batch to leave out, in place of items.
    *unless_later*: refuse where a score has seen a fact after this instant, 0 where it must be missing.
    *muted*: asks for no follow-up, whatever it does; how many it would have asked for is counted.
    *defers*: an undo of a large batch only marks its contacts; a job folds them.
    *refolds*: the contacts that are folded now for the undo that *undoes* names, which was recorded before.
    """

    source: str
    batch: str
    received_at: int
    items: Sequence[ItemRequest] = ()
    actor: str | None = None
    all_or_none: bool = False
    creates: bool = True
    delivered: Delivered | None = None
    undoes: str | None = None
    unless_later: int | None = None
    muted: bool = False
    defers: bool = False
    refolds: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """What became of one item; *reason* says why, where it is not obvious."""

    status: Status
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A score before and after a submission, both as shown when it was received, in thousandths; none: missing.

    *was* and *state* are the same two as the fold knows them.
    """

    contact: int
    score_type: ScoreType
    before: int | None
    after: int | None
    was: ScoreState
    state: ScoreState


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of a submission."""

    outcomes: tuple[ItemOutcome, ...]
    moved: tuple[Moved, ...] = ()
    unasked: int = 0  #: follow-ups that were not asked for because the submission is muted
    undone: tuple[int, ...] = ()  #: the contacts that an undo bore on, none where it was a repeat
    pending: int = 0  #: contacts that a job still has to fold because of an undo

    def count(self, status: Status) -> int:
        """Count the items with this outcome."""
        return sum(outcome.status is status for outcome in self.outcomes)


def clean_item(item: Item) -> Item:
    """Return an item with its texts as they are stored, whichever way it came in."""
    if not item.fields and item.reason is None and item.activity is None:
        return item
    return replace(
        item,
        fields=clean_fields(item.fields),
        reason=item.reason and (clean_text(item.reason, lines=True) or None),
        activity=item.activity and clean_text(item.activity),
    )


def check_item(item: Item | Merge | Deletion, *, received: int, index: int = 0) -> int:
    """Return when an item happened; raises the Refusal of one that the ledger cannot look up or hold.

    *received* and what is returned are µs UTC; *index* is the item's place in what arrived then.
    """
    _check_texts(item)
    place = item.place if isinstance(item, Item) else 0
    at = stamp(item.occurred_at, received=received, index=index, place=place)
    for contact in (item.contact, item.into) if isinstance(item, Merge) else (item.contact,):
        if isinstance(contact, Reference) and not contact.identities():
            raise BadItem("the item names nobody: give an address, or an id")
    return at


def check_limits(item: Item | Merge | Deletion, types: Mapping[str, ScoreType]) -> None:
    """Raise the Refusal of an item that is beyond the range, the step or another limit of today.

    An item that was recorded before may be beyond them now: whoever repeats it has done nothing wrong.
    """
    if not isinstance(item, Item):
        return
    if item.score is not None:
        if item.score not in types:
            raise UnknownScoreType(item.score, known=tuple(types))
        if item.op is Op.SET:
            types[item.score].check_set(item.amount)
        elif item.op is Op.ADD:
            types[item.score].check_add(item.amount)
    attributes = sum(name.startswith(ATTRIBUTE) for name in item.fields)
    if attributes > MOST_ATTRIBUTES:
        raise BadItem(f"the item has {attributes:,} attributes, and a contact has at most {MOST_ATTRIBUTES}")
    for name, value in item.fields.items():
        try:
            check_field(name, value)
        except BadItem as exc:
            raise BadItem(f"`{name[:80]}`: {exc}") from exc


def _check_texts(item: Item | Merge | Deletion) -> None:
    """Raise BadText if the ledger cannot hold one of the texts of an item."""
    check_text(item.key, "its id")
    for contact in (item.contact, item.into) if isinstance(item, Merge) else (item.contact,):
        if isinstance(contact, Reference):
            check_text(contact.email, "what names its contact")
            check_text(contact.id, "what names its contact")
    if isinstance(item, Item):
        check_text(item.activity, "its activity")
        check_text(item.reason, "its reason")
        for name, value in item.fields.items():
            check_text(name, "the name of an attribute")
            check_text(value, f"its `{name}`")


def refusal_reason(item: Item | Merge | Deletion, types: Mapping[str, ScoreType], *, received: int) -> str | None:
    """Return why an item would be set aside; None where nothing is known against it."""
    try:
        check_limits(item, types)
        check_item(item, received=received)
    except Refusal as refusal:
        return str(refusal)
    return None
