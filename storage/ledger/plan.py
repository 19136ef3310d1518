"""Define the immutable records that the phases of the write path pass on to each other."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from storage.domain.contacts import EMAIL, Reference, clean_address
from storage.domain.errors import Conflict, Refusal
from storage.domain.facts import (
    DELETE,
    MERGE,
    SPLIT,
    Activity,
    Change,
    Deleted,
    Deletion,
    Fact,
    FieldValue,
    Ignored,
    Item,
    Merge,
    Merged,
    Split,
    SplitOff,
    Undo,
    Unusable,
    has_same_content,
    is_time_of,
)
from storage.domain.fold import ScoreState
from storage.domain.people import Workspace
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import (
    ItemOutcome,
    ScoreChanged,
    Status,
    Submission,
    check_item,
    check_limits,
    clean_item,
    list_targets,
)
from storage.ledger import facts
from storage.ledger.facts import FactKey, ScoreId, StoredFact
from storage.ledger.identities import Identity

#: (number within its item from 1, contact row, other contact row): the item proves that both are the same contact. For
#: a split: (1, the row that has the id, the new row).
Link = tuple[int, int, int]
#: a contact row, an identity, or the key of a fact: submissions that share one are recorded in their order
OrderingKey = int | Identity | FactKey

DUPLICATE = ItemOutcome(status=Status.DUPLICATE)


class ItemKind(Enum):
    """The kind of an item: what to do with it."""

    FACT = auto()  #: a change, an activity or field values
    MERGE = auto()
    SPLIT = auto()
    DELETION = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactReference:
    """A reference of an item to a contact: by identities, or by the row id of a contact that was looked up before."""

    email: str | None = None  #: as typed
    identities: tuple[Identity, ...] = ()
    former: Mapping[Identity, Identity] = field(default_factory=dict)  #: identity → its form in an earlier version
    row: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedItem:
    """A validated item. `resolve` sets *rows*, *links*, *into*, *contact* and *note*."""

    position: int  #: the position in its submission
    item: Item
    kind: ItemKind
    key: FactKey
    at: int  #: when the item happened, in µs
    references: tuple[ContactReference, ...]
    score_keys: tuple[str, ...]  #: the keys of the score types that its fact affects
    refusal: Refusal | None = None  #: the limit that it exceeds; it is quarantined unless it repeats a stored fact
    rows: tuple[int, ...] = ()  #: the contact rows that it names; a new contact has a negative row until it is inserted
    links: tuple[Link, ...] = ()
    into: int | None = None  #: for a merge, the row of the contact to merge into
    contact: int = 0  #: the contact that these rows belong to
    note: str | None = None  #: a remark for the sender, if the item is applied

    @property
    def named_id(self) -> Identity | None:
        """The id of a source that the item names its contact by."""
        return next((identity for identity in self.references[0].identities if identity[1] != EMAIL), None)

    @property
    def identities(self) -> list[Identity]:
        """All identities that the item names."""
        return [identity for reference in self.references for identity in reference.identities]

    @property
    def identities_in_all_forms(self) -> list[Identity]:
        """All identities that the item names, also in the form that an earlier version wrote."""
        former = [identity for reference in self.references for identity in reference.former.values()]
        return [*self.identities, *former]

    @property
    def score_ids(self) -> list[ScoreId]:
        """The scores that the item's fact affects."""
        return [(self.contact, key) for key in self.score_keys]

    def with_rows(
        self, rows: Collection[int], roots: Mapping[int, int], *, links: "tuple[Link, ...]" = ()
    ) -> "PlannedItem":
        """Return the item with the contact rows that it names, at least one. Its fact belongs to the first row."""
        ordered = tuple(sorted(set(rows)))
        # Every item of a batch comes here, and `replace` would take three times as long.
        return PlannedItem(
            position=self.position, item=self.item, kind=self.kind, key=self.key, at=self.at,
            references=self.references, score_keys=self.score_keys, refusal=self.refusal,
            rows=ordered, links=links, into=self.into, contact=roots.get(ordered[0], ordered[0]), note=self.note,
        )  # fmt: skip  # what stays, then what is new


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFact:
    """A fact that this transaction appended, and the contact that it counts for."""

    fact_id: int
    fact: Fact
    contact: int
    planned: PlannedItem


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoScope:
    """What an undo affects."""

    undo: Undo
    batch: str  #: the batch of the facts that are undone or restored; *undo* may undo another undo of this batch
    restores: bool  #: whether these facts are restored
    scores: tuple[ScoreId, ...] = ()
    contacts: tuple[int, ...] = ()
    links: tuple[int, ...] = ()  #: the rows of contacts that the batch merged or split
    deferred: bool = False  #: whether a job recalculates the contacts

    def reverts(self, batch: str | None) -> bool:
        """Return whether the undo takes back the change or the undo with this batch."""
        return batch is not None and (batch == self.undo.undoes or (batch == self.batch and not self.restores))


@dataclass(frozen=True, slots=True, kw_only=True)
class Regrouping:
    """The changes that a merge, a split or a deletion made to the grouping of contact rows."""

    roots: Mapping[int, int]  #: row → the contact that it belongs to now
    contacts: frozenset[int] = frozenset()  #: contacts that gained or lost rows: their scores are recalculated
    scores: tuple[ScoreId, ...] = ()  #: the scores of these contacts that have facts
    states_before: Mapping[ScoreId, ScoreState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A submission on its way through the phases."""

    position: int  #: the position in its group
    workspace: Workspace
    submission: Submission
    types: Mapping[str, ScoreType]
    items: tuple[PlannedItem, ...]  #: the items that become facts, or link contacts
    refusals: Mapping[int, Refusal]  #: position of an item → why it is quarantined
    skipped: Mapping[int, ItemOutcome]  #: position of an item → its outcome, if it becomes no fact
    refusal: Refusal | None = None  #: why the whole submission is refused
    # Phase 1, resolve:
    repeats: tuple[PlannedItem, ...] = ()  #: the items that repeat a stored fact
    #: the contacts to insert: negative row → address
    new_contacts: Mapping[int, str | None] = field(default_factory=dict)
    #: the identities to insert: identity → contact row
    new_identities: Mapping[Identity, int] = field(default_factory=dict)
    tombstones: Mapping[Identity, int] = field(default_factory=dict)  #: see `load_tombstones`
    roots: Mapping[int, int] = field(default_factory=dict)  #: row → contact, of all rows that the plan names
    undo: UndoScope | None = None
    # Phase 2, lock:
    #: row → contact before the plan, of all rows of the contacts that the plan merges, splits or deletes
    roots_before: Mapping[int, int] = field(default_factory=dict)
    gone_contacts: frozenset[int] = frozenset()  #: contacts that were gone when they were locked, also of other plans
    # Phase 3, append:
    pending: int = 0  #: the number of contacts that a job recalculates after its undo
    regrouping: Regrouping | None = None
    new_facts: tuple[NewFact, ...] = ()
    is_undone: bool = False  #: its batch was undone before: an import that continues after its undo
    # Phase 4, project:
    score_changes: tuple[ScoreChanged, ...] = ()  #: the scores before and after the plan
    #: the states of regrouped scores without the new facts of the plan
    states_after_regrouping: Mapping[ScoreId, ScoreState] = field(default_factory=dict)
    # Phase 5, alerts:
    muted_follow_ups: int = 0  #: follow-ups that were not opened because the submission is muted
    own_follow_ups: int = (
        0  #: follow-ups that were not opened because they would go directly to the person who made the change
    )

    @property
    def linked_rows(self) -> list[int]:
        """The rows of contacts that the plan merges or splits."""
        linked = [row for planned in self.items for link in planned.links for row in link[1:]]
        return [*linked, *(self.undo.links if self.undo else ())]

    @property
    def rows_to_regroup(self) -> list[int]:
        """The rows of contacts that the plan merges, splits or deletes."""
        deleted = [row for planned in self.items if planned.kind is ItemKind.DELETION for row in planned.rows]
        return [*self.linked_rows, *deleted]

    @property
    def undone_contacts(self) -> tuple[int, ...]:
        """The contacts that the plan's undo affects."""
        return self.undo.contacts if self.undo else ()

    @property
    def regrouped_contacts(self) -> frozenset[int]:
        """The contacts that gained or lost rows."""
        return self.regrouping.contacts if self.regrouping else frozenset()

    @property
    def scores_to_recalculate(self) -> list[ScoreId]:
        """The scores to recalculate even if no new fact affects them."""
        undone = self.undo.scores if self.undo else ()
        return list(dict.fromkeys([*undone, *(self.regrouping.scores if self.regrouping else ())]))

    @property
    def score_ids(self) -> list[ScoreId]:
        """Every score that the plan may change, through its remaining items or its new facts."""
        score_ids = [score_id for planned in self.items for score_id in planned.score_ids]
        return [*score_ids, *self.new_facts_by_score, *self.scores_to_recalculate]

    @property
    def new_facts_by_score(self) -> dict[ScoreId, list[NewFact]]:
        """The new facts of each score, in the order of the items."""
        facts_of: dict[ScoreId, list[NewFact]] = {}
        for new in self.new_facts:
            for key in new.planned.score_keys:
                facts_of.setdefault((new.contact, key), []).append(new)
        return facts_of

    @property
    def ordering_keys(self) -> set[OrderingKey]:
        """What keeps the plan in order with other submissions: its identities, its facts, and its contact rows."""
        planned_items = (*self.items, *self.repeats)
        keys: set[OrderingKey] = {identity for planned in planned_items for identity in planned.identities}
        keys |= {planned.key for planned in planned_items}
        return keys | self.rows_to_lock.keys()

    @property
    def rows_to_lock(self) -> dict[int, int]:
        """The contact rows to lock, each with the contact that it belongs to. The contact itself is always locked."""
        rows = {*(row for planned in self.items for row in planned.rows if row > 0), *self.undone_contacts}
        locks = {row: self.roots[row] for row in rows} | dict(self.roots_before)
        return locks | {root: root for root in locks.values()}

    @property
    def outcomes(self) -> tuple[ItemOutcome, ...]:
        """The outcome of each item of the submission."""
        notes = {new.planned.position: new.planned.note for new in self.new_facts}
        return tuple(
            ItemOutcome(status=Status.QUARANTINED, reason=str(self.refusals[position]))
            if position in self.refusals
            else self.skipped.get(position, ItemOutcome(status=Status.APPLIED, reason=notes.get(position)))
            for position in range(len(self.submission.items))
        )

    def refuse(self, refused: Mapping[int, Refusal]) -> "Plan":
        """Return the plan without the refused items (position → reason); *all_or_none* refuses the whole submission."""
        if not refused:
            return self
        if self.submission.all_or_none:
            return self.refuse_whole(refused[min(refused)])
        items = tuple(planned for planned in self.items if planned.position not in refused)
        return replace(self, items=items, refusals={**self.refusals, **refused})

    def refuse_whole(self, refusal: Refusal) -> "Plan":
        """Return the plan with the whole submission refused: nothing of it is recorded."""
        return replace(self, refusal=refusal, items=(), new_contacts={}, new_identities={}, undo=None)

    def make_fact(self, planned: PlannedItem, at: int) -> Fact:
        """Return the fact that an item becomes, with *at* as its time."""
        item, submission = planned.item, self.submission
        if planned.kind is ItemKind.DELETION:
            return Deleted(source=submission.source, key=item.key, occurred_at=at, batch=submission.batch)
        if item.activity is not None:
            return Activity(
                source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
                actor=submission.actor, reason=item.reason, fields=item.fields,
                activity=item.activity, quantity=item.amount,
            )  # fmt: skip  # arguments grouped: common columns, then the activity
        if item.score is None or item.op is None:
            return FieldValue(
                source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
                actor=submission.actor, reason=item.reason, fields=item.fields,
            )  # fmt: skip  # arguments grouped: common columns
        return Change(
            source=submission.source, key=item.key, occurred_at=at, batch=submission.batch,
            actor=submission.actor, reason=item.reason, fields=item.fields,
            score=item.score, op=item.op, amount=item.amount,
        )  # fmt: skip  # arguments grouped: common columns, then the change

    def make_conflict(self) -> Conflict:
        """Return the refusal of an item that repeats the key of a fact with different content."""
        return Conflict() if self.submission.all_or_none else Conflict("conflict")

    def make_link_fact(self, planned: PlannedItem, link: Link) -> Merged | SplitOff:
        """Return the fact of a link: it merges two contact rows, or separates them if the item is a split."""
        place, contact, other = link
        submission = self.submission
        if planned.kind is ItemKind.SPLIT:
            return SplitOff(
                source=submission.source, key=planned.item.key, occurred_at=planned.at, batch=submission.batch,
                actor=submission.actor, row=contact, other=other,
            )  # fmt: skip  # arguments grouped: common columns, then the two rows
        return Merged(
            source=submission.source, key=planned.item.key, occurred_at=planned.at, batch=submission.batch,
            actor=submission.actor, row=contact, other=other, place=place,
            into=planned.into,
        )  # fmt: skip  # arguments grouped: common columns, then the two contacts

    def make_link_key(self, planned: PlannedItem, place: int) -> FactKey:
        """Return the key of the fact that links two contacts of an item."""
        return facts.make_fact_key(self.workspace.id, self.make_link_fact(planned, (place, 0, 0)))


def plan_submission(
    position: int, workspace: Workspace, submission: Submission, types: Mapping[str, ScoreType]
) -> Plan:
    """Validate a submission without reading the ledger, and return its plan. Refused items are part of the plan."""
    items: list[PlannedItem] = []
    refused: dict[int, Refusal] = {}
    skipped: dict[int, ItemOutcome] = {}
    references: dict[int, ContactReference] = {}  # by id() of the target: the items of one row of a file share it
    for index, raw_item in enumerate(submission.items):
        item = clean_item(raw_item) if isinstance(raw_item, Item) else raw_item
        if isinstance(item, Unusable):
            skipped[index] = ItemOutcome(status=Status.QUARANTINED, reason=item.reason)
        elif isinstance(item, Ignored):
            skipped[index] = ItemOutcome(status=Status.IGNORED, reason=item.reason)
        else:
            try:
                at = check_item(item, received=submission.received_at, index=index)
                for target in list_targets(item):
                    if id(target) not in references:
                        references[id(target)] = _plan_reference(target, workspace.id)
                items.append(_plan_item(index, item, workspace.id, submission.source, types, at, references))
            except Refusal as refusal:
                refused[index] = refusal
    plan = Plan(
        position=position, workspace=workspace, submission=submission, types=types,
        items=tuple(items), refusals={}, skipped=skipped,
    )  # fmt: skip  # arguments grouped: origin, then items
    return plan.refuse(refused)


def _plan_reference(target: Reference | int, workspace: int) -> ContactReference:
    if isinstance(target, int):
        return ContactReference(row=target)
    identities = tuple((workspace, namespace, key) for namespace, key in target.identities())
    former = {
        (workspace, *identity): (workspace, *former_identity)
        for identity, former_identity in target.former_identities().items()
    }
    email = clean_address(target.email) if target.email else None
    return ContactReference(email=email, identities=identities, former=former)


def _plan_item(
    index: int,
    item: Item | Merge | Split | Deletion,
    workspace: int,
    source: str,
    types: Mapping[str, ScoreType],
    at: int,
    references: Mapping[int, ContactReference],
) -> PlannedItem:
    targets = list_targets(item)
    refusal: Refusal | None = None
    try:
        check_limits(item, types)
    except Refusal as exc:
        refusal = exc
    kind, subject = ItemKind.FACT, ""
    if isinstance(item, Merge):
        kind, subject = ItemKind.MERGE, MERGE
    elif isinstance(item, Split):
        kind, subject = ItemKind.SPLIT, SPLIT
    elif isinstance(item, Deletion):
        kind, subject = ItemKind.DELETION, DELETE
    if not isinstance(item, Item):
        item = Item(key=item.key, contact=item.contact, occurred_at=item.occurred_at, raw=item.raw)
    return PlannedItem(
        position=index, item=item, kind=kind, key=(workspace, source, item.key, subject or item.score or ""),
        at=at, references=tuple(references[id(target)] for target in targets), score_keys=_list_score_keys(item, types),
        refusal=refusal,
    )  # fmt: skip  # arguments grouped: identification, then references


def _list_score_keys(item: Item, types: Mapping[str, ScoreType]) -> tuple[str, ...]:
    """Return the keys of the score types that an item may change: its own, and those with rules about the item."""
    keys = [item.score] if item.score else []
    for key, score_type in types.items():
        if not score_type.rules:
            continue
        rules = compile_rules(score_type.rules)
        is_relevant = rules.holds_from_first_fact or (rules.reads_fields and item.fields)
        if key not in keys and (is_relevant or (item.activity and rules.has_rule_for(item.activity))):
            keys.append(key)
    return tuple(keys)


def arrange_turns(plans: Sequence[Plan]) -> list[list[Plan]]:
    """Split plans into turns, in which no two plans share a contact. Plans that share a contact keep their order."""
    turns: list[list[Plan]] = []
    next_turn: dict[int, int] = {}  # contact → the first turn that is free for it
    for plan in plans:
        contacts = {planned.contact for planned in plan.items}
        turn = max((next_turn.get(contact, 0) for contact in contacts), default=0)
        next_turn |= dict.fromkeys(contacts, turn + 1)
        turns += [[] for _ in range(turn + 1 - len(turns))]
        turns[turn].append(plan)
    return turns


def make_links(rows: Collection[int]) -> tuple[Link, ...]:
    """Return links from the lowest of these contact rows to each of the others."""
    first, *others = sorted(rows) or (0,)
    return tuple((place, first, other) for place, other in enumerate(others, start=1))


def cut_group(plans: Sequence[Plan]) -> Sequence[Plan]:
    """Return the plans before the first one that needs a group of its own, or only that plan if it comes first.

    An undo may affect facts that earlier plans of the group write. A merge, split or deletion changes the contacts of
    later plans.
    """
    for index, plan in enumerate(plans):
        if plan.rows_to_regroup or plan.submission.undoes is not None:
            return plans[: max(index, 1)]
    return plans


def check_repeat(plan: Plan, planned: PlannedItem, stored: StoredFact, *, is_same: bool) -> None:
    """Raise Conflict unless an item repeats *stored*, the fact that has its key.

    *is_same* is whether both are about the same contact. The contents are compared as they were requested, and the
    times as they were sent. A time that this app assigned may differ: an item with a time in the future, which was
    recorded with the time of receipt, still counts as a repeat later.
    """
    _, received_at, fact = stored
    if isinstance(fact, Deleted):  # its content was redacted, so there is nothing to compare
        return
    occurred_at = planned.item.occurred_at
    same_time = is_time_of(fact, occurred_at, received=received_at, resolution=planned.item.resolution)
    is_link = planned.kind in (ItemKind.MERGE, ItemKind.SPLIT)
    repeated = [fact if is_link else plan.make_fact(planned, fact.occurred_at)]
    if planned.item.sent_amount is not None:  # the fact was recorded before the source adjusted its amounts
        sent = replace(planned, item=replace(planned.item, amount=planned.item.sent_amount))
        repeated.append(plan.make_fact(sent, fact.occurred_at))
    if not (is_same and same_time and any(has_same_content(repeat, fact) for repeat in repeated)):
        raise plan.make_conflict()
