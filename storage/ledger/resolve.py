"""Phase 1: resolve the references of items to contacts. Create new contacts, and link contacts that are the same."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from storage.db.database import Session
from storage.domain.contacts import EMAIL
from storage.domain.errors import CannotSplit, Refusal, UnknownContact
from storage.domain.facts import Merged, SplitOff, resolve_merges
from storage.domain.submissions import ItemOutcome, Status
from storage.ledger import contacts, facts
from storage.ledger.erase import DELETED_REASON
from storage.ledger.facts import FactKey, StoredFact
from storage.ledger.identities import Identity, count_identities, load_contacts_of_identities, load_identity_owners
from storage.ledger.links import load_splits
from storage.ledger.plan import DUPLICATE, ContactReference, ItemKind, Link, Plan, PlannedItem, check_repeat, make_links
from storage.ledger.tombstones import load_tombstones
from storage.sources.named_contacts import make_name

DELETED = ItemOutcome(status=Status.IGNORED, reason=DELETED_REASON)
ADDRESS_LEFT_OUT = "the address belongs to the contact that this id was split from; it was left out"
ALREADY_MERGED = ItemOutcome(status=Status.IGNORED, reason="these are one contact already")


@dataclass(frozen=True, slots=True, kw_only=True)
class _LedgerView:
    """The contacts and facts of a group of submissions: as stored, and as changed by resolved submissions."""

    verified: Mapping[tuple[int, int], int]  #: (workspace id, row) → contact, of rows that items refer to
    roots: Mapping[int, int]  #: row → contact, before this group of submissions
    row_of: dict[Identity, int]
    stored: dict[FactKey, StoredFact]  #: facts of the ledger, and links of resolved items
    tombstones: Mapping[Identity, int]
    splits: Collection[frozenset[int]]  #: pairs of contacts that a split separated; see `load_splits`
    named_ids: Mapping[FactKey, str]  #: key → the id by which the fact identified its contact
    identity_counts: Mapping[int, int]  #: contact to be split → number of its addresses and ids
    linked_rows: list[tuple[int, int]] = field(default_factory=list)  #: pairs of rows that items of the group link
    new_contacts: dict[int, str | None] = field(default_factory=dict)  #: negative row → address as typed
    resolved: dict[FactKey, tuple[Plan, PlannedItem]] = field(default_factory=dict)  #: items that become facts

    def copy(self) -> "_LedgerView":
        """Return a copy that can be changed without affecting the original."""
        return replace(
            self,
            row_of=dict(self.row_of),
            stored=dict(self.stored),
            linked_rows=list(self.linked_rows),
            new_contacts=dict(self.new_contacts),
            resolved=dict(self.resolved),
        )

    def find_fact(self, key: FactKey) -> StoredFact | None:
        """Return the stored fact with a key, or the fact that a resolved item becomes."""
        if key not in self.resolved:
            return self.stored.get(key)
        plan, planned = self.resolved[key]
        return planned.rows[0], plan.submission.received_at, plan.make_fact(planned, planned.at)

    def find_root(self, row: int) -> int:
        """Return the contact that a row belonged to before this group of submissions."""
        return self.roots.get(row, row)

    def were_split_apart(self, row: int, other: int) -> bool:
        """Return whether a split separated the contacts of two rows, even if they have been merged again.

        Contacts that items of the group link count as one contact.
        """
        if not self.splits:
            return False
        first, second = self.find_root(row), self.find_root(other)
        links = [(self.find_root(left), self.find_root(right)) for left, right in self.linked_rows]
        contact_of = resolve_merges({first, second, *chain(*links), *chain(*self.splits)}, links)
        contacts_of_rows = {contact_of[first], contact_of[second]}
        return any({contact_of[contact] for contact in split} == contacts_of_rows for split in self.splits)


async def resolve_contacts(session: Session, plans: Sequence[Plan]) -> list[Plan]:
    """Return the plans with the contacts of all items. `lock_plans` inserts the new ones.

    Refused items and repeats of facts create no contact. A submission that is refused as a whole does not affect the
    submissions after it.
    """
    plans = await _use_former_identities(session, plans)
    view = await _load_view(session, plans)
    resolved = []
    for plan in plans:
        next_view = view.copy()
        resolved.append(_resolve_plan(plan, next_view))
        if resolved[-1].refusal is None:
            view = next_view
    return resolved


async def _use_former_identities(session: Session, plans: Sequence[Plan]) -> Sequence[Plan]:
    """Replace identities by their spelling in an earlier version, if they are stored in that spelling."""
    references = [reference for plan in plans for planned in plan.items for reference in planned.references]
    former = {identity for reference in references for identity in reference.former.values()}
    if not former:
        return plans
    known = set(await load_contacts_of_identities(session, former))
    return [
        replace(plan, items=tuple(_use_former_spelling(planned, known) for planned in plan.items)) for plan in plans
    ]


def _use_former_spelling(planned: PlannedItem, known: Collection[Identity]) -> PlannedItem:
    references = []
    for reference in planned.references:
        known_former = {current: former for current, former in reference.former.items() if former in known}
        identities = tuple(known_former.get(identity, identity) for identity in reference.identities)
        references.append(replace(reference, identities=identities))
    return replace(planned, references=tuple(references))


async def _load_view(session: Session, plans: Sequence[Plan]) -> _LedgerView:
    planned_items = [planned for plan in plans for planned in plan.items]
    identities = [identity for planned in planned_items for identity in planned.identities]
    pairs = {
        (plan.workspace.id, reference.row)
        for plan in plans
        for planned in plan.items
        for reference in planned.references
        if reference.row is not None
    }
    verified = await contacts.verify_contact_ids(session, pairs) if pairs else {}
    roots = {row: root for (_, row), root in verified.items()}
    # Facts are loaded before contacts. If another process commits a fact in between, appending it conflicts.
    stored = await facts.load_stored(session, {planned.key for planned in planned_items}) if planned_items else {}
    owners = await load_identity_owners(session, identities) if identities else {}
    roots |= dict(owners.values())
    if stored:  # in one statement: otherwise, after a concurrent merge, a repeat seems to be about another contact
        roots |= await contacts.load_roots(
            session, {*roots, *(row for row, _, _ in stored.values() if row is not None)}
        )
    row_of = {identity: row for identity, (row, _) in owners.items()}
    link_keys = _list_link_keys(plans, row_of)
    stored |= await facts.load_stored(session, link_keys) if link_keys else {}
    # Splits matter only to items that refer to several rows, or to another row than the fact that they repeat.
    ambiguous_rows: set[int] = set()
    repeated: set[FactKey] = set()
    for planned in planned_items:
        rows = _list_known_rows(planned, row_of, stored.get(planned.key))
        if len(rows) > 1:
            ambiguous_rows |= rows
            repeated |= {planned.key} & stored.keys()
    named_ids = await facts.load_named_ids(session, repeated) if repeated else {}
    splits = await load_splits(session, {roots.get(row, row) for row in ambiguous_rows}) if ambiguous_rows else set()
    split_contacts = {
        roots.get(row, row)
        for planned in planned_items
        if planned.kind is ItemKind.SPLIT
        for row in _list_known_rows(planned, row_of, None)
    }
    identity_counts = await count_identities(session, split_contacts) if split_contacts else {}
    all_identities = [identity for planned in planned_items for identity in planned.identities_in_all_forms]
    tombstones = await load_tombstones(session, all_identities) if identities else {}
    return _LedgerView(
        verified=verified, roots=roots, row_of=row_of, stored=stored, tombstones=tombstones, splits=splits,
        named_ids=named_ids, identity_counts=identity_counts,
    )  # fmt: skip  # arguments grouped: rows and facts, then deletions and splits


def _list_link_keys(plans: Sequence[Plan], row_of: Mapping[Identity, int]) -> set[FactKey]:
    """Return the keys of the facts that link the rows of items which name several rows."""
    keys = set[FactKey]()
    for plan in plans:
        for planned in plan.items:
            rows = _list_known_rows(planned, row_of, None)
            if len(rows) > 1:
                keys |= {plan.make_link_key(planned, place) for place, _, _ in make_links(rows)}
    return keys


def _resolve_plan(plan: Plan, view: _LedgerView) -> Plan:
    """Return the plan with the contacts of its items, and update *view* for the submissions after it."""
    items: list[PlannedItem] = []
    repeats: list[PlannedItem] = []
    refused: dict[int, Refusal] = {}
    skipped = dict(plan.skipped)
    identities: dict[Identity, int] = {}
    count_before = len(view.new_contacts)
    for planned in plan.items:
        try:
            outcome, resolved = _resolve_item(plan, planned, view, identities)
        except Refusal as refusal:
            refused[planned.position] = refusal
            continue
        if outcome is not None:
            skipped[planned.position] = outcome
        if outcome is DUPLICATE:
            repeats.append(planned)
        if resolved is not None:
            items.append(resolved)
    new_contacts = dict(list(view.new_contacts.items())[count_before:])
    return replace(
        plan, items=tuple(items), repeats=tuple(repeats), skipped=skipped, new_contacts=new_contacts,
        new_identities=identities, tombstones=view.tombstones, roots=view.roots,
    ).refuse(refused)  # fmt: skip  # arguments grouped by meaning


def _resolve_item(
    plan: Plan, planned: PlannedItem, view: _LedgerView, identities: dict[Identity, int]
) -> tuple[ItemOutcome | None, PlannedItem | None]:
    """Resolve an item. Return (outcome, None) if the item is skipped, else (None, the item with its contacts).

    Raises a Refusal if the item must be quarantined. Adds the identities to insert to *identities*, and updates *view*.
    """
    stored = view.find_fact(planned.key)
    if planned.refusal is not None and stored is None:
        raise planned.refusal
    for reference in planned.references:
        if reference.row is not None and (plan.workspace.id, reference.row) not in view.verified:
            raise UnknownContact
    if stored is not None:
        check_repeat(plan, planned, stored, is_same=_is_same_contact(plan, planned, view, stored))
        return DUPLICATE, None
    is_deleted = bool(view.tombstones) and any(
        view.tombstones.get(identity, -1) >= planned.at for identity in planned.identities_in_all_forms
    )
    if is_deleted and planned.kind is not ItemKind.DELETION:
        return DELETED, None
    if planned.kind is ItemKind.SPLIT:
        return None, _resolve_split(planned, view)
    rows_of = [_find_or_create_rows(plan, reference, view, identities) for reference in planned.references]
    rows = [row for reference_rows in rows_of for row in reference_rows]
    is_fact = planned.kind is ItemKind.FACT
    if is_fact and len(rows) > 1 and (own_row := _find_row_split_apart(planned, rows, view)) is not None:
        is_joined_again = len({view.find_root(row) for row in rows}) == 1
        planned, rows = replace(planned, note=None if is_joined_again else ADDRESS_LEFT_OUT), [own_row]
    resolved = planned.with_rows(rows, view.roots)
    if planned.kind is ItemKind.MERGE:
        resolved = replace(resolved, into=min(rows_of[-1]))
    links = () if planned.kind is ItemKind.DELETION else make_links(resolved.rows)
    if planned.kind is ItemKind.MERGE and not links:
        return ALREADY_MERGED, None
    new_links = _add_links(plan, resolved, links, view) if links else ()
    if planned.kind is not ItemKind.MERGE:
        view.resolved[planned.key] = (plan, resolved)
    return None, replace(resolved, links=new_links) if new_links else resolved


def _is_same_contact(plan: Plan, planned: PlannedItem, view: _LedgerView, stored: StoredFact) -> bool:
    """Return whether an item is about the same contact as *stored*, the fact with its key.

    All references of the item must lead to the contact of the fact, with two exceptions. If the item has the same id as
    the fact, the address of the item may lead to another contact by now. After a split, the fact may belong to the
    contact of the id, or to the contact that the id was split from, which may be deleted.
    """
    rows = _list_known_rows(planned, view.row_of, None)
    unknown = {identity for identity in planned.identities if identity not in view.row_of}
    if not rows or unknown - view.tombstones.keys():
        return False
    links = make_links(rows)
    is_linked = all(
        plan.make_link_key(planned, link[0]) in view.stored
        and _is_merge_of(view.stored[plan.make_link_key(planned, link[0])], link)
        for link in links
    )
    if planned.kind is ItemKind.MERGE:
        return is_linked and bool(links)
    stored_row, _, fact = stored
    if planned.kind is ItemKind.SPLIT:
        return isinstance(fact, SplitOff) and view.row_of[planned.references[-1].identities[0]] == fact.other
    if stored_row is None:
        return False
    contact_of_fact = view.find_root(stored_row)
    contacts_of_item = {view.find_root(row) for row in rows}
    name = None if planned.named_id is None else make_name(*planned.named_id[1:])
    has_same_id = name is not None and view.named_ids.get(planned.key) == name
    if contact_of_fact in contacts_of_item and (is_linked or has_same_id):
        return True
    return all(contact == contact_of_fact or view.were_split_apart(contact, stored_row) for contact in contacts_of_item)


def _find_or_create_rows(
    plan: Plan, reference: ContactReference, view: _LedgerView, identities: dict[Identity, int]
) -> Collection[int]:
    """Return the contact rows of a reference, or a new row if there are none. Raises UnknownContact.

    Unknown identities of the reference are assigned to the lowest row.
    """
    rows = {view.row_of[identity] for identity in reference.identities if identity in view.row_of}
    if reference.row is not None:
        rows = {reference.row}
    elif len(rows) == 1 and len(reference.identities) == 1:
        return rows
    if not rows and not plan.submission.creates:
        raise UnknownContact
    if not rows:
        row = -1 - len(view.new_contacts)
        view.new_contacts[row] = reference.email
        rows = {row}
    added = {identity: min(rows) for identity in reference.identities if identity not in view.row_of}
    view.row_of.update(added)
    identities.update(added)
    return rows


def _find_row_split_apart(planned: PlannedItem, rows: Collection[int], view: _LedgerView) -> int | None:
    """Return the row of the item's id if a split separated it from another of *rows*, else None.

    After a split the id decides: the item is about the contact of the id, and does not merge that contact with the
    contact of the address again.
    """
    if planned.named_id is None:
        return None
    row = view.row_of[planned.named_id]
    return row if any(other != row and view.were_split_apart(row, other) for other in rows) else None


def _add_links(plan: Plan, resolved: PlannedItem, links: Sequence[Link], view: _LedgerView) -> tuple[Link, ...]:
    """Add the links of an item to *view*. Return the links that are not in the ledger yet.

    Raises Conflict if the ledger has a link of the same item between other contacts.
    """
    new_links = []
    for link in links:
        key = plan.make_link_key(resolved, link[0])
        if key not in view.stored:
            new_links.append(link)
            view.stored[key] = (resolved.rows[0], plan.submission.received_at, plan.make_link_fact(resolved, link))
        elif not _is_merge_of(view.stored[key], link):
            raise plan.make_conflict()
    view.linked_rows.extend(link[1:] for link in links)
    return tuple(new_links)


def _resolve_split(planned: PlannedItem, view: _LedgerView) -> PlannedItem:
    """Return a split with the row that has the id, and a new row to move the id to.

    Raises UnknownContact, or CannotSplit.
    """
    contact, id_to_split = planned.references
    (identity,) = id_to_split.identities
    name = f"{identity[1]}:{identity[2]}"
    row = contact.row if contact.row is not None else next(map(view.row_of.get, contact.identities), None)
    if row is None:
        raise UnknownContact
    if identity not in view.row_of or identity[1] == EMAIL:
        raise CannotSplit(f"no contact has the id `{name}`")
    if view.find_root(view.row_of[identity]) != view.find_root(row):
        raise CannotSplit(f"`{name}` is an id of another contact")
    if view.identity_counts[view.find_root(row)] == 1:
        raise CannotSplit(f"`{name}` is all that identifies this contact: there is nothing to split off")
    new_row = -1 - len(view.new_contacts)
    view.new_contacts[new_row] = None
    resolved = planned.with_rows([view.row_of[identity], new_row], view.roots)
    return replace(resolved, links=make_links(resolved.rows))


def _is_merge_of(stored: StoredFact, link: Link) -> bool:
    fact = stored[2]
    return isinstance(fact, Merged) and (fact.row, fact.other) == link[1:]


def _list_rows(planned: PlannedItem, row_of: Mapping[Identity, int]) -> list[int | None]:
    """Return the contact rows that an item refers to, None for each unknown identity."""
    rows: list[int | None] = [row_of.get(identity) for identity in planned.identities]
    return rows + [reference.row for reference in planned.references if reference.row is not None]


def _list_known_rows(planned: PlannedItem, row_of: Mapping[Identity, int], stored: StoredFact | None) -> set[int]:
    """Return the known contact rows of an item and of the stored fact with its key."""
    stored_row = None if stored is None else stored[0]
    return {row for row in (*_list_rows(planned, row_of), stored_row) if row is not None}
