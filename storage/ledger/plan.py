"""Hold one group of submissions on its way into the ledger."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from storage.domain.errors import Refusal
from storage.domain.facts import (
    DELETE,
    Activity,
    Change,
    Deleted,
    Fact,
    FieldValue,
    Ignored,
    Item,
    Merged,
    Undo,
    Unusable,
)
from storage.domain.fold import ScoreState
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Moved, Status, Submission
from storage.ledger import facts
from storage.ledger.contacts import Identity
from storage.ledger.facts import FactKey, Scored


@dataclass(slots=True)
class ContactReference:
    """How an item names somebody: by identities, or by the row of a contact that was found already."""

    email: str | None = None  #: as typed
    identities: tuple[Identity, ...] = ()
    row: int | None = None


@dataclass(slots=True)
class PlannedItem:
    """One item on its way: what it asks, whose it is, the facts it becomes, what became of it."""

    item: Item
    references: list[ContactReference] = field(default_factory=list)
    is_merge: bool = False
    is_deletion: bool = False
    at: int = 0
    #: the contacts that it names, as they were made; facts are the first one's
    rows: tuple[int, ...] = ()
    #: of these, whom it proves to be one: (place, contact, contact)
    links: list[tuple[int, int, int]] = field(default_factory=list)
    contact: int | None = None  #: the one they are one with
    fact: Fact | None = None
    fact_id: int | None = None
    status: Status | None = None
    note: str | None = None  #: why it was left alone
    refusal: Refusal | None = None

    @property
    def identities(self) -> list[Identity]:
        """Everything it names somebody by."""
        return [identity for reference in self.references for identity in reference.identities]

    @property
    def scored(self) -> Scored | None:
        """Which score it changes; none for field values."""
        return (self.contact, self.item.score) if self.contact is not None and self.item.score else None


@dataclass(slots=True)
class Plan:
    """One submission on its way; *entries* has one for each item, or what came in place of one."""

    submission: Submission
    types: Mapping[str, ScoreType]
    entries: list[PlannedItem | Unusable | Ignored] = field(default_factory=list)
    refusal: Refusal | None = None
    undo: Undo | None = None
    deferred: str | None = None  #: the batch whose contacts its undo leaves to a job
    pending: int = 0  #: how many contacts these are
    is_undone: bool = False  #: its own batch was undone before: an import that goes on after it was taken back
    affected: list[Scored] = field(default_factory=list)  #: the scores that its undo bears on, or who is one with whom
    spoken_of: list[int] = field(default_factory=list)  #: the contacts that its undo bears on
    splitting: list[int] = field(default_factory=list)  #: of these, those it parts, or makes one again
    roots: dict[int, int] = field(default_factory=dict)  #: contact → the one it is one with
    members: dict[int, int] = field(default_factory=dict)  #: the same of all that are one with those it joins or parts
    regrouped: set[int] = field(default_factory=set)  #: the contacts that others became one with, or no longer are
    states_before: dict[Scored, ScoreState] = field(default_factory=dict)  #: scores before that
    states_after: dict[Scored, ScoreState] = field(default_factory=dict)  #: scores after that, before its own changes
    moved: list[Moved] = field(default_factory=list)
    unasked: int = 0  #: follow-ups not asked for, because it is muted

    @property
    def live(self) -> list[PlannedItem]:
        """The entries that nothing speaks against so far."""
        if self.refusal is not None:
            return []
        return [entry for entry in self.entries if isinstance(entry, PlannedItem) and entry.refusal is None]

    @property
    def unsettled(self) -> list[PlannedItem]:
        """The entries that are to become facts."""
        return [entry for entry in self.live if entry.status is None]

    @property
    def new(self) -> list[PlannedItem]:
        """The entries that became facts just now."""
        return [entry for entry in self.live if entry.fact_id is not None]

    @property
    def joined(self) -> list[int]:
        """The contacts that it makes one, parts or deletes."""
        linked = [row for entry in self.unsettled for link in entry.links for row in link[1:]]
        return [*linked, *self.splitting, *(row for entry in self.unsettled if entry.is_deletion for row in entry.rows)]

    def refuse(self, entry: PlannedItem, refusal: Refusal) -> None:
        """Set an entry aside, and with it the whole submission where that was asked for."""
        entry.refusal = refusal
        if self.submission.all_or_none:
            self.refusal = self.refusal or refusal

    def assign_contacts(self, entry: PlannedItem, rows: Collection[int]) -> None:
        """Say which contacts an entry names, at least one."""
        entry.rows = tuple(sorted(rows))
        entry.contact = self.roots.get(entry.rows[0], entry.rows[0])

    def fact_key(self, entry: PlannedItem) -> FactKey:
        """Give what is unique in the ledger about the fact of an entry."""
        if entry.is_merge:
            return self.link_key(entry, 1)
        score = DELETE if entry.is_deletion else entry.item.score or ""
        return (self.submission.workspace.id, self.submission.source, entry.item.key, score)

    def link_key(self, entry: PlannedItem, place: int) -> FactKey:
        """Give the same of the fact that two of its contacts are one."""
        return facts.fact_key(self.submission.workspace.id, self.merged(entry, (place, 0, 0)))

    def merged(self, entry: PlannedItem, link: tuple[int, int, int]) -> Merged:
        """Make the fact that two of its contacts are one: (place, contact, contact)."""
        place, contact, other = link
        submission = self.submission
        return Merged(
            source=submission.source, key=entry.item.key, occurred_at=entry.at, batch=submission.batch,
            actor=submission.actor, one=contact, other=other, place=place,
        )  # fmt: skip  # the same columns as every fact, then who is one

    def fact(self, entry: PlannedItem, at: int) -> Fact:
        """Make the fact that an entry becomes, of that instant."""
        item, submission = entry.item, self.submission
        if entry.is_deletion:
            return Deleted(source=submission.source, key=item.key, occurred_at=at, batch=submission.batch)
        if item.activity is not None:
            return Activity(
                source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
                actor=submission.actor, reason=item.reason, fields=item.fields,
                activity=item.activity, quantity=item.amount,
            )  # fmt: skip  # the same columns as below, then the activity
        if item.score is None or item.op is None:
            return FieldValue(
                source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
                actor=submission.actor, reason=item.reason, fields=item.fields,
            )  # fmt: skip  # the same columns as below
        return Change(
            source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
            actor=submission.actor, reason=item.reason, fields=item.fields,
            score=item.score, op=item.op, amount=item.amount,
        )  # fmt: skip  # the same columns as above, then the change

    def bears_on(self, entry: PlannedItem) -> list[Scored]:
        """Name the scores that an entry is a fact of: the one it changes, and those whose rules ask for it."""
        if entry.contact is None:
            return []
        item = entry.item
        keys = [item.score] if item.score else []
        for key, score_type in self.types.items():
            rules = compile_rules(score_type.rules) if score_type.rules and key not in keys else None
            if rules and ((item.activity and rules.bears(item.activity)) or (rules.asks_fields and item.fields)):
                keys.append(key)
        return [(entry.contact, key) for key in keys]

    @property
    def pairs(self) -> list[Scored]:
        """Every score it may bear on."""
        return [*(pair for entry in self.unsettled for pair in self.bears_on(entry)), *self.affected]

    @property
    def touched(self) -> list[Scored]:
        """The scores that its new facts, or its undo, bear on; each once, in the order of the items."""
        return list(dict.fromkeys([*self.bearing, *self.affected]))

    @property
    def bearing(self) -> dict[Scored, list[PlannedItem]]:
        """The new facts of each score, in the order of the items."""
        entries_of: dict[Scored, list[PlannedItem]] = {}
        for entry in self.new:
            for pair in self.bears_on(entry):
                entries_of.setdefault(pair, []).append(entry)
        return entries_of
