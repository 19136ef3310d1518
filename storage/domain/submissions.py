"""Define submissions (what callers ask to record) and their outcomes, and validate their items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from storage.domain.contacts import ATTRIBUTE, MOST_ATTRIBUTES, Reference, check_field, check_text, clean_fields
from storage.domain.errors import BadItem, Refusal, UnknownScoreType
from storage.domain.facts import Deletion, Item, ItemRequest, Merge, Op, Split, stamp
from storage.domain.fold import ScoreState
from storage.domain.score_types import ScoreType
from storage.domain.texts import clean_text


class Status(StrEnum):
    """The outcome of an item."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The request in which a submission arrived."""

    source: int  #: the row id of the source
    key: str  #: the sender's id of the delivery
    raw: "Raw | None" = None
    reads: bool = False  #: queue a read-back for contacts that are identified only by the source's id
    was_read: bool = False  #: it was read at the source, and is stored only if an item has a problem
    version: int | None = None  #: `Source.version` of the source that authenticated it; None: it is not compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """A request as it arrived, without its credentials. Header names are in lower case."""

    method: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


#: the expectation that there is no such contact yet
NEW_CONTACT = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What one caller asks to record. It is decided on its own, even if several submissions share a commit.

    *actor_address*: the email address of the person *actor*; no follow-up is created that would go to them directly.
    *all_or_none*: one refused item refuses the whole submission (people); otherwise refused items are quarantined
    (deliveries). *creates*: create unknown contacts. *undoes*: the batch to undo; the submission then has no items.
    *unless_later*: refuse if a score has a fact later than this instant in µs; 0 means that the score must be missing.
    *expects*: refuse unless the contact of each item has this `Contact.version`, or with NEW_CONTACT if there is one.
    *expects_each*: refuse unless every one of these contacts has this version: contact id → version.
    *muted*: open no follow-ups; the outcome counts the suppressed ones. *defers*: for a large batch, the undo only
    marks the contacts, and a job recalculates them. *refolds*: the contacts to recalculate now for the undo named by
    *undoes*, which was recorded before.
    """

    source: str
    batch: str
    received_at: int
    items: Sequence[ItemRequest] = ()
    actor: str | None = None
    actor_address: str | None = None
    all_or_none: bool = False
    creates: bool = True
    delivered: Delivered | None = None
    undoes: str | None = None
    unless_later: int | None = None
    expects: str | None = None
    expects_each: Mapping[int, str] = field(default_factory=dict)
    muted: bool = False
    defers: bool = False
    refolds: Sequence[int] = ()

    @property
    def author(self) -> str:
        """The person who asked for the submission, or the source that sent it."""
        return self.actor or self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """The outcome of one item. *reason* explains an outcome that is not obvious."""

    status: Status
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChanged:
    """A score before and after a submission, shown at its receipt, in thousandths. None: the score is missing.

    *was* and *state* are the states of the same score before and after.
    """

    contact: int
    score_type: ScoreType
    before: int | None
    after: int | None
    state_before: ScoreState
    state_after: ScoreState


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The outcome of a submission."""

    outcomes: tuple[ItemOutcome, ...]
    score_changes: tuple[ScoreChanged, ...] = ()
    muted_follow_ups: int = 0  #: follow-ups that were not opened because the submission is muted
    own_follow_ups: int = (
        0  #: follow-ups that were not opened because they would go directly to the person who made the change
    )
    undone: tuple[int, ...] = ()  #: the contacts that an undo affected; empty if the undo was a repeat
    pending: int = 0  #: contacts that a job still has to recalculate after an undo

    def count(self, status: Status) -> int:
        """Return the number of items with this status."""
        return sum(outcome.status is status for outcome in self.outcomes)


def clean_item(item: Item) -> Item:
    """Return an item with its texts normalized for storage."""
    if not item.fields and item.reason is None and item.activity is None:
        return item
    return replace(
        item,
        fields=clean_fields(item.fields),
        reason=item.reason and (clean_text(item.reason, lines=True) or None),
        activity=item.activity and clean_text(item.activity),
    )


def list_targets(item: Item | Merge | Split | Deletion) -> tuple[Reference | int, ...]:
    """Return the contacts that an item names: one, or for a merge and a split two."""
    if isinstance(item, Merge):
        return (item.contact, item.into)
    if isinstance(item, Split):
        return (item.contact, item.id)
    return (item.contact,)


def check_item(item: Item | Merge | Split | Deletion, *, received: int, index: int = 0) -> int:
    """Return when an item happened. Raises a Refusal if the ledger cannot look up or store the item.

    *received* and the result are in µs UTC. *index* is the position of the item in its submission.
    """
    _check_texts(item)
    place = item.place if isinstance(item, Item) else 0
    at = stamp(item.occurred_at, received=received, index=index, place=place)
    for contact in list_targets(item):
        if isinstance(contact, Reference) and not contact.identities():
            raise BadItem("the item names no contact: give an e-mail address or an id")
    return at


def check_limits(item: Item | Merge | Split | Deletion, types: Mapping[str, ScoreType]) -> None:
    """Raise a Refusal if an item exceeds a limit: the range or step of its score type, or the size of its fields.

    An item that was recorded earlier may exceed the limits of today; a repeat of it is not the sender's mistake.
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


def _check_texts(item: Item | Merge | Split | Deletion) -> None:
    """Raise BadText if the ledger cannot store a text of an item."""
    check_text(item.key, "its id")
    for contact in list_targets(item):
        if isinstance(contact, Reference):
            check_text(contact.email, "what names its contact")
            check_text(contact.id, "what names its contact")
    if isinstance(item, Item):
        if item.activity is not None:
            check_text(item.activity, "its activity")
        if item.reason is not None:
            check_text(item.reason, "its reason")
        for name, value in item.fields.items():
            check_text(name, "the name of an attribute")
            check_text(value, f"its `{name}`")


def refusal_reason(
    item: Item | Merge | Split | Deletion, types: Mapping[str, ScoreType], *, received: int
) -> str | None:
    """Return why an item would be quarantined, as far as known without the ledger; None if nothing is found."""
    try:
        check_item(item, received=received)
        check_limits(item, types)
    except Refusal as refusal:
        return str(refusal)
    return None
