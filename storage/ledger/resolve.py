"""Phase 1: resolve references of items to contacts: known ones, new ones, and several that prove to be the same."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.db.database import Session
from storage.domain.errors import Refusal, UnknownContact
from storage.domain.facts import Merged
from storage.domain.submissions import ItemOutcome, Status
from storage.ledger import contacts, facts
from storage.ledger import erase as erasing
from storage.ledger.contacts import Identity
from storage.ledger.facts import FactKey, Stored
from storage.ledger.plan import DUPLICATE, ContactReference, ItemKind, Link, Plan, PlannedItem, check_repeat, make_links

DELETED = ItemOutcome(status=Status.IGNORED, reason=erasing.DELETED)
ONE_ALREADY = ItemOutcome(status=Status.IGNORED, reason="these are one contact already")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """Everything known about contacts and facts: from the ledger, and from earlier submissions of the group."""

    verified: Mapping[tuple[int, int], int]  #: (workspace id, row) → contact, of the rows that items refer to
    roots: Mapping[int, int]  #: row → contact
    row_of: dict[Identity, int]
    stored: dict[FactKey, Stored]
    tombstones: Mapping[Identity, int]
    newcomers: dict[int, str | None] = field(default_factory=dict)  #: negative row → address as typed

    def copy(self) -> "_Names":
        """Return a copy; changes of the copy do not affect this record."""
        return replace(self, row_of=dict(self.row_of), stored=dict(self.stored), newcomers=dict(self.newcomers))


async def resolve(session: Session, plans: Sequence[Plan]) -> list[Plan]:
    """Resolve the contacts of all items. New contacts are planned here and inserted by `insert_newcomers`.

    A refused item or a repeat of a fact plans no contact.
    """
    plans = await _use_former_identities(session, plans)
    names = await _load_names(session, plans)
    resolved = []
    for plan in plans:
        names_after = names.copy()
        resolved.append(_resolve_plan(plan, names_after))
        if resolved[-1].refusal is None:
            names = names_after
    return resolved


async def _use_former_identities(session: Session, plans: Sequence[Plan]) -> Sequence[Plan]:
    """Return the plans with the former spelling of identities, where the ledger has an identity in that spelling."""
    references = [reference for plan in plans for planned in plan.items for reference in planned.references]
    former = {then for reference in references for then in reference.former.values()}
    if not former:
        return plans
    known = set(await contacts.load_known(session, former))
    return [replace(plan, items=tuple(_rename(planned, known) for planned in plan.items)) for plan in plans]


def _rename(planned: PlannedItem, known: Collection[Identity]) -> PlannedItem:
    references = []
    for reference in planned.references:
        known_former = {now: then for now, then in reference.former.items() if then in known}
        identities = tuple(known_former.get(identity, identity) for identity in reference.identities)
        references.append(replace(reference, identities=identities))
    return replace(planned, references=tuple(references))


async def _load_names(session: Session, plans: Sequence[Plan]) -> _Names:
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
    # Facts are read before contacts: a fact that another process commits in between then conflicts when it is appended.
    stored = await facts.load_stored(session, {planned.key for planned in planned_items}) if planned_items else {}
    owners = await contacts.load_identity_owners(session, identities) if identities else {}
    roots |= dict(owners.values())
    if stored:  # all roots from one snapshot: otherwise a concurrent merge makes a repeat look like another contact's
        roots |= await contacts.roots(session, {*roots, *(row for row, _, _ in stored.values() if row is not None)})
    row_of = {identity: row for identity, (row, _) in owners.items()}
    link_keys = {
        plan.link_key(planned, place)
        for plan in plans
        for planned in plan.items
        for place, _, _ in make_links({row for row in _list_rows(planned, row_of) if row is not None})
    }
    stored |= await facts.load_stored(session, link_keys) if link_keys else {}
    all_identities = [identity for planned in planned_items for identity in planned.all_identities]
    tombstones = await erasing.load_tombstones(session, all_identities) if identities else {}
    return _Names(verified=verified, roots=roots, row_of=row_of, stored=stored, tombstones=tombstones)


def _resolve_plan(plan: Plan, names: _Names) -> Plan:
    """Resolve the contacts of a submission's items, and add to *names* what later submissions must know about them."""
    items: list[PlannedItem] = []
    repeats: list[PlannedItem] = []
    refused: dict[int, Refusal] = {}
    settled = dict(plan.settled)
    identities: dict[Identity, int] = {}
    newcomers_before = len(names.newcomers)
    for planned in plan.items:
        try:
            outcome, resolved = _resolve_item(plan, planned, names, identities)
        except Refusal as refusal:
            refused[planned.position] = refusal
            continue
        if outcome is not None:
            settled[planned.position] = outcome
        if outcome is DUPLICATE:
            repeats.append(planned)
        if resolved is not None:
            items.append(resolved)
    newcomers = dict(list(names.newcomers.items())[newcomers_before:])
    return replace(
        plan, items=tuple(items), repeats=tuple(repeats), settled=settled, newcomers=newcomers, identities=identities,
        tombstones=names.tombstones, roots=names.roots,
    ).refuse(refused)  # fmt: skip  # arguments grouped by meaning


def _resolve_item(
    plan: Plan, planned: PlannedItem, names: _Names, identities: dict[Identity, int]
) -> tuple[ItemOutcome | None, PlannedItem | None]:
    """Resolve an item. Return its outcome if it becomes no fact, and the item with its contacts if it continues.

    Raises the Refusal of an item that is quarantined. Adds the identities to insert to *identities*.
    """
    if planned.refusal is not None and planned.key not in names.stored:
        raise planned.refusal
    if any(
        reference.row is not None and (plan.workspace.id, reference.row) not in names.verified
        for reference in planned.references
    ):
        raise UnknownContact
    if planned.key in names.stored:
        stored = names.stored[planned.key]
        check_repeat(plan, planned, stored, is_same=_is_same_contact(plan, planned, names))
        return DUPLICATE, None
    if planned.kind is not ItemKind.DELETION and any(
        names.tombstones.get(identity, -1) >= planned.at for identity in planned.all_identities
    ):
        return DELETED, None
    rows_of = [_find_rows(plan, reference, names, identities) for reference in planned.references]
    resolved = planned.with_rows([row for rows in rows_of for row in rows], names.roots)
    if planned.kind is ItemKind.MERGE:
        resolved = replace(resolved, into=min(rows_of[-1]))
    links = () if planned.kind is ItemKind.DELETION else make_links(resolved.rows)
    outcome = ONE_ALREADY if planned.kind is ItemKind.MERGE and not links else None
    new_links = []
    for link in links:
        key = plan.link_key(resolved, link[0])
        if key not in names.stored:
            new_links.append(link)
            names.stored[key] = (resolved.rows[0], plan.submission.received_at, plan.merged(resolved, link))
        elif not _is_merge_of(names.stored[key], link):
            raise plan.conflict()
    if planned.kind is not ItemKind.MERGE:
        fact = plan.fact(resolved, resolved.at)
        names.stored[planned.key] = (resolved.rows[0], plan.submission.received_at, fact)
    return outcome, None if outcome is not None else replace(resolved, links=tuple(new_links))


def _find_rows(
    plan: Plan, reference: ContactReference, names: _Names, identities: dict[Identity, int]
) -> Collection[int]:
    """Return the contact rows of a reference, known or new. Its unknown identities are assigned to these rows."""
    rows = {names.row_of[identity] for identity in reference.identities if identity in names.row_of}
    if reference.row is not None:
        rows = {reference.row}
    if not rows and not plan.submission.creates:
        raise UnknownContact
    if not rows:
        row = -1 - len(names.newcomers)
        names.newcomers[row] = reference.email
        rows = {row}
    added = {identity: min(rows) for identity in reference.identities if identity not in names.row_of}
    names.row_of.update(added)
    identities.update(added)
    return rows


def _is_merge_of(stored: Stored, link: Link) -> bool:
    fact = stored[2]
    return isinstance(fact, Merged) and (fact.one, fact.other) == link[1:]


def _list_rows(planned: PlannedItem, row_of: Mapping[Identity, int]) -> list[int | None]:
    """Return the contact rows that an item refers to, None for each unknown identity."""
    rows: list[int | None] = [row_of.get(identity) for identity in planned.identities]
    return rows + [reference.row for reference in planned.references if reference.row is not None]


def _is_same_contact(plan: Plan, planned: PlannedItem, names: _Names) -> bool:
    """Return whether all references of an item lead to the contact of the stored fact with its key."""
    rows = [row for row in _list_rows(planned, names.row_of) if row is not None]
    if len(rows) < len(_list_rows(planned, names.row_of)):
        return False
    links = make_links(set(rows))
    is_linked = all(
        plan.link_key(planned, link[0]) in names.stored
        and _is_merge_of(names.stored[plan.link_key(planned, link[0])], link)
        for link in links
    )
    if planned.kind is ItemKind.MERGE:
        return is_linked and bool(links)
    roots = {names.roots.get(row, row) for row in rows}
    row, _, _ = names.stored[planned.key]
    contact = None if row is None else names.roots.get(row, row)
    return roots == {contact} or (contact in roots and is_linked)
