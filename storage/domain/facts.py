"""Define facts (the entries of the ledger), their order, and the items that are submitted to become facts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from storage.domain.contacts import Json, Reference, clean_fields
from storage.domain.errors import BadTime
from storage.domain.texts import clean_text

#: (occurred_at in µs, source, dedupe key), compared as bytes: the order in which facts are folded into scores
Order: TypeAlias = tuple[int, bytes, bytes]

DAY = 86_400_000_000
#: an Order with the subject, because two facts with the same key may affect one score or state one field
FieldOrder: TypeAlias = tuple[int, bytes, bytes, bytes]
BEFORE_ALL: Order = (-1, b"", b"")
#: the subjects of merges, of splits and of deletions; none of them can be the key of a score type
MERGE, SPLIT, DELETE = "merge", "merge/split", "delete"


class Op(StrEnum):
    """How a change affects a score."""

    SET = "set"
    ADD = "add"
    CLEAR = "clear"


class Deed(StrEnum):
    """The kinds of facts that move a score through scoring rules."""

    ACTIVITY = "activity"  #: something the contact did
    FIELDS = "fields"  #: new values of the contact's fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """An entry of the ledger, immutable once it is recorded. Times in µs UTC."""

    source: str  #: the slug of a configured source, or one of OWN_SOURCES
    key: str  #: the dedupe key, unique per source and subject
    occurred_at: int
    batch: str  #: the submission that the fact arrived with; an undo reverts a batch
    actor: str | None = None  #: the person who caused the fact; None for a program
    reason: str | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)  #: new values of the contact's fields

    @property
    def order(self) -> Order:
        """The position of the fact in the order of the fold."""
        return (self.occurred_at, self.source.encode(), self.key.encode())

    @property
    def subject(self) -> str:
        """The key of the score type that the fact is about, or blank."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Fact):
    """A change that sets, adds to or clears one score. *amount* in thousandths, 0 for clear."""

    score: str  #: the key of the score type
    op: Op
    amount: int = 0

    @property
    def subject(self) -> str:
        """The key of the score type."""
        return self.score


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldValue(Fact):
    """Field values of a contact, without a change of a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged(Fact):
    """A merge of two contacts, *row* and *other*, given by their row ids.

    *place* counts the merges of one item from 1. *into* is the row that survives, or None if the sender did not say.
    """

    row: int
    other: int
    place: int = 1
    into: int | None = None

    @property
    def subject(self) -> str:
        """A subject that cannot be the key of a score type."""
        return MERGE if self.place == 1 else f"{MERGE}/{self.place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOff(Fact):
    """A split: an id of a source and its facts moved from the contact row *row* to the new row *other*.

    The rows are two contacts while the split is in force, and one contact while it is undone.
    """

    row: int
    other: int

    @property
    def subject(self) -> str:
        """A subject that cannot be the key of a score type."""
        return SPLIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted(Fact):
    """A deletion of a contact, or the rest of a fact after its contact was deleted."""

    @property
    def subject(self) -> str:
        """The subject of a deletion. The row of an erased fact keeps the subject it had."""
        return DELETE


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity(Fact):
    """Something that a contact did. The rules of each score type define its points."""

    activity: str
    quantity: int = 1000  #: how many times, in thousandths


def has_same_content(fact: Fact, stored: Fact) -> bool:
    """Return whether a fact has the same content as a stored one. Batch and actor are not compared.

    The texts of the stored fact are cleaned first, because an earlier version may have stored them uncleaned.
    """
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
    """An undo of a batch. Undoing the batch of the undo restores the first batch."""

    undoes: str


def stamp(sent_at: int | None, *, received: int, index: int = 0, place: int = 0) -> int:
    """Return the `occurred_at` of a fact in µs: the sender's time, but not later than *received*.

    Without a sender's time it is *received* plus *index*, the position in the delivery, which keeps the order of the
    delivery. *place* (µs) is added to the sender's time; it separates items of one delivery that have the same time.
    Raises BadTime for a time before 1970 or more than a day after *received*.
    """
    if sent_at is None:
        return received + index
    if sent_at < 0:
        raise BadTime("the time lies before 1970: check the sender's clock")
    if sent_at > received + DAY:
        raise BadTime("sent from the future: check the sender's clock")
    return min(sent_at, received) + place


def is_time_of(fact: Fact, sent_at: int | None, *, received: int, resolution: int = 1) -> bool:
    """Return whether the `occurred_at` of a fact may come from *sent_at*, a time with a resolution of *resolution* µs.

    Without a sender's time it is always True: a time that `stamp` made up is not compared.
    """
    return sent_at is None or 0 <= fact.occurred_at - min(sent_at, received) < resolution


def resolve_merges(rows: Iterable[int], links: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Return each row's contact after all merges: the smallest row id of all rows that are linked, also indirectly.

    Links to rows that are not among *rows* are ignored.
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
    """Return how many times each row's contact was merged into another: 0 for the contact that survives.

    *links* are (row, row, surviving row or None), in the order of the merges. A link without a direction proves
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
    """Return the undone batches, which the fold leaves out: those with an undo that is not undone itself."""
    undone_by: dict[str, list[str]] = {}
    for undo in undos:
        undone_by.setdefault(undo.undoes, []).append(undo.batch)
    is_undone: dict[str, bool] = {}
    # An undo always refers to an earlier batch, so the walk ends. An explicit stack, because chains may be long.
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
    """A submitted item that is not recorded yet: a change, an activity, or field values.

    A change has *score* and *op*, an activity has *activity*; an item with neither states only *fields*.
    """

    key: str  #: the dedupe key
    contact: Reference | int  #: a reference to resolve, or the id of a contact that was looked up before
    score: str | None = None  #: the key of the score type
    op: Op | None = None
    amount: int = 0  #: thousandths; the quantity of an activity
    occurred_at: int | None = None  #: the sender's time in µs UTC
    activity: str | None = None  #: what the contact did
    reason: str | None = None
    fields: Mapping[str, Json] = field(default_factory=dict)
    raw: str = ""  #: the original text, stored if the item is quarantined
    former_keys: tuple[str, ...] = ()  #: the dedupe keys that earlier versions used for the same item
    resolution: int = 1  #: of the sender's time, in µs
    place: int = 0  #: µs to add to the sender's time, to separate items of one delivery with the same time
    sent_amount: int | None = None  #: the amount as sent, if the source adjusts it to the range or the step
    was: int | None = None  #: the score before the change, in thousandths, if the sender states it
    note: str | None = None  #: a remark for the sender about an item that is used


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A submitted merge of *contact* into *into*."""

    key: str
    contact: Reference | int
    into: Reference | int
    occurred_at: int | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A submitted split: *id*, an id of a source, leaves *contact* and becomes a new contact with the id's facts."""

    key: str
    contact: Reference | int
    id: Reference
    occurred_at: int | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A submitted deletion of a contact and of all data about it."""

    key: str
    contact: Reference | int
    occurred_at: int | None = None
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """An item that cannot be used and is quarantined. *contacts* are the contacts that could be read from it."""

    key: str
    reason: str
    raw: str
    contacts: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An item that is ignored on purpose. *contacts* are the contacts that were read from it."""

    key: str
    reason: str
    raw: str
    contacts: tuple[Reference, ...] = ()


#: everything that a submission may contain
ItemRequest: TypeAlias = Item | Merge | Split | Deletion | Unusable | Ignored
