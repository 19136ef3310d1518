"""Record what happened: changes, field values and undos, in the one order that a score is folded in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from storage.domain.contacts import Json, Reference, clean_fields
from storage.domain.errors import BadTime
from storage.domain.texts import clean_text

#: (occurred_at in µs, source, dedupe key), compared as bytes: the order of every fold.
Order: TypeAlias = tuple[int, bytes, bytes]

DAY = 86_400_000_000
#: the same with the subject, because facts that share a key may bear on one score, or speak of one field
FieldOrder: TypeAlias = tuple[int, bytes, bytes, bytes]
BEFORE_ALL: Order = (-1, b"", b"")
#: the subjects of facts that make two contacts one, and that delete one
MERGE, DELETE = "merge", "delete"


class Op(StrEnum):
    """What a change asks of a score."""

    SET = "set"
    ADD = "add"
    CLEAR = "clear"


class Deed(StrEnum):
    """What else moves a score, where rules say what it is worth."""

    ACTIVITY = "activity"  #: what a contact did
    FIELDS = "fields"  #: what became known of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened; never altered once it is in the ledger. Times are µs UTC."""

    source: str  #: the slug of the sender, or `slack` for people
    key: str  #: unique per source and subject
    occurred_at: int
    batch: str  #: what it arrived with; an undo names a batch
    actor: str | None = None  #: the person, where it was one
    reason: str | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)  #: what it says of the contact itself

    @property
    def order(self) -> Order:
        """Where it stands among all facts."""
        return (self.occurred_at, self.source.encode(), self.key.encode())

    @property
    def subject(self) -> str:
        """Which score it is about; blank where it is about none."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Fact):
    """A request to set, add to or clear one score; *amount* in thousandths, 0 for clear."""

    score: str  #: the key of the score type
    op: Op
    amount: int = 0

    @property
    def subject(self) -> str:
        """Which score it is about."""
        return self.score


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldValue(Fact):
    """What a sender says of a contact, without touching a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged(Fact):
    """The word that two contacts, by their row ids, are one; *place* tells those of one item apart, from 1.

    *into* is the row that the other one was merged into, where the sender said so.
    """

    one: int
    other: int
    place: int = 1
    into: int | None = None

    @property
    def subject(self) -> str:
        """Give a subject that no score type can have."""
        return MERGE if self.place == 1 else f"{MERGE}/{self.place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted(Fact):
    """That there was a fact, whose contact was deleted; or the deletion itself."""

    @property
    def subject(self) -> str:
        """Give the subject of a deletion; what was deleted keeps its own."""
        return DELETE


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity(Fact):
    """Something a contact did, so many times; what it is worth the rules of each score type say."""

    activity: str
    quantity: int = 1000  #: thousandths


def has_same_content(fact: Fact, stored: Fact) -> bool:
    """Return whether a fact says what the stored one says, whose texts an earlier version may not have cleaned."""
    stored = replace(
        stored,
        batch=fact.batch,
        actor=fact.actor,
        reason=stored.reason and (clean_text(stored.reason, lines=True) or None),
        fields=clean_fields(stored.fields),
    )
    if isinstance(stored, Activity):
        stored = replace(stored, activity=clean_text(stored.activity))
    return fact == stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo(Fact):
    """The wish that a batch had never happened; undoing an undo restores it."""

    undoes: str


def stamp(sent_at: int | None, *, received: int, index: int = 0, place: int = 0) -> int:
    """Return the instant of a fact: the sender's time, but never later than its receipt.

    *place* sets those of one delivery apart that the sender dates alike, in µs.
    Without a time of its own: the receipt plus its *index* in the delivery, so that a delivery keeps its order.
    Raises BadTime for a time before 1970 or more than a day ahead.
    """
    if sent_at is None:
        return received + index
    if sent_at < 0:
        raise BadTime("the time lies before 1970: check the sender's clock")
    if sent_at > received + DAY:
        raise BadTime("sent from the future: check the sender's clock")
    return min(sent_at, received) + place


def is_time_of(fact: Fact, sent_at: int | None, *, received: int, resolution: int = 1) -> bool:
    """Return whether a fact received then is of this time of the sender; a time that we stamped is never compared."""
    return sent_at is None or 0 <= fact.occurred_at - min(sent_at, received) < resolution


def resolve_merges(rows: Iterable[int], links: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Give whom each contact is one with, going by the links between them: the smallest id of all that hang together.

    A link to a contact that is not among *rows* says nothing.
    """
    root = {row: row for row in rows}

    def find(row: int) -> int:
        while root[row] != row:
            row = root[row]
        return row

    for left, right in links:
        if left in root and right in root:
            smaller, larger = sorted((find(left), find(right)))
            root[larger] = smaller
    return {row: find(row) for row in root}


def rank_merged_rows(rows: Iterable[int], links: Iterable[tuple[int, int, int | None]]) -> dict[int, int]:
    """Return how often the contact of each row was merged into another one: 0 for rows of the contact that is shown.

    *links* are (row, row, the one merged into), in the order in which they happened. A link without a direction proves
    two rows to be one, so that their contacts meet at these.
    """
    ranks = dict.fromkeys(rows, 0)
    groups = {row: {row} for row in ranks}
    for left, right, into in links:
        if left not in groups or right not in groups or groups[left] is groups[right]:
            continue
        if into == left or into not in (left, right):
            left, right = right, left  # the contact of *left* moves
        lowest = max(ranks[row] for row in groups[right]) + 1 if into == right else ranks[right] - ranks[left]
        ranks |= {row: ranks[row] + lowest for row in groups[left]}
        joined = groups[left] | groups[right]
        groups |= dict.fromkeys(joined, joined)
    return {row: rank - min(ranks[member] for member in groups[row]) for row, rank in ranks.items()}


def undone_batches(undos: Iterable[Undo]) -> frozenset[str]:
    """Name the batches that are left out of every fold: those with an undo that is not undone itself."""
    undone_by: dict[str, list[str]] = {}
    for undo in undos:
        undone_by.setdefault(undo.undoes, []).append(undo.batch)
    is_undone: dict[str, bool] = {}
    # An undo names a batch that was there before it, so following them always ends; a stack, because it may take long.
    for start in undone_by:
        stack = [start]
        while stack:
            batch = stack[-1]
            undecided = [undo for undo in undone_by.get(batch, ()) if undo not in is_undone]
            if undecided and batch not in is_undone:
                stack += undecided
                continue
            is_undone[batch] = any(not is_undone[undo] for undo in undone_by.get(batch, ()))
            stack.pop()
    return frozenset(batch for batch in undone_by if is_undone[batch])


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A change (*score* and *op* given) or field values as asked for, not yet stamped.

    With an *activity* in place of a score it is something the contact did.
    *contact* is a reference, or the id of a contact that was looked up before; *raw* is kept if it is quarantined.
    """

    key: str
    contact: Reference | int
    score: str | None = None
    op: Op | None = None
    amount: int = 0
    occurred_at: int | None = None
    activity: str | None = None  #: what the contact did; *amount* is then its quantity in thousandths
    reason: str | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)
    raw: str = ""
    former_keys: tuple[str, ...] = ()  #: how earlier versions wrote its key
    resolution: int = 1  #: of the sender's time, in µs
    place: int = 0  #: µs after the sender's time, among the items of one delivery that it dates alike
    was: int | None = None  #: the score before the change in thousandths, if the sender tells it
    note: str | None = None  #: what the sender should know although the item is used


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """The word that two contacts are one: what *contact* names is *into* from now on."""

    key: str
    contact: Reference | int
    into: Reference | int
    occurred_at: int | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """The wish that everything known of a contact be forgotten."""

    key: str
    contact: Reference | int
    occurred_at: int | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """An item that arrived and cannot be used, and why; *contacts* are those it names, as far as it could be read."""

    key: str
    reason: str
    raw: str
    contacts: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An item that is not used on purpose, and why; *contacts* are those it names, as far as it was read."""

    key: str
    reason: str
    raw: str
    contacts: tuple[Reference, ...] = ()


#: what can be handed in to be recorded
ItemRequest: TypeAlias = Item | Merge | Deletion | Unusable | Ignored
