"""Find whom the items of a group speak of: known contacts, new ones, two that prove to be one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from storage.db.database import Session
from storage.domain.errors import Conflict, UnknownContact
from storage.domain.facts import Deleted, Merged, has_same_content, is_time_of
from storage.domain.submissions import Status
from storage.ledger import contacts, facts
from storage.ledger import erase as erasing
from storage.ledger.contacts import Identity
from storage.ledger.facts import FactKey, Stored
from storage.ledger.plan import Plan, PlannedItem


async def identify(session: Session, plans: Sequence[Plan], *, now: int) -> None:
    """Find the contact of every entry, making those not known yet; what is refused or repeated makes nobody."""
    roots = await _check_workspace(session, plans)
    await _use_former_identities(session, plans)
    # Facts before contacts: what another process commits in between is then met again when it is written.
    stored = await facts.load_stored(session, {plan.fact_key(entry) for plan in plans for entry in plan.live})
    owners = await contacts.load_identity_owners(
        session, [identity for plan in plans for entry in plan.live for identity in entry.identities]
    )
    roots |= dict(owners.values())
    if stored:  # who is one with whom at one moment: else a repeat is about somebody else while two are made one
        roots |= await contacts.roots(session, {*roots, *(row for row, _, _ in stored.values() if row is not None)})
    ids = {identity: row for identity, (row, _) in owners.items()}
    stored |= await _load_links(session, plans, ids)
    live = [entry for plan in plans for entry in plan.live]
    tombstones = await erasing.load_tombstones(
        session, [identity for entry in live for identity in (*entry.identities, *entry.former_identities)]
    )
    new_contacts = _NewContacts()
    for plan in plans:
        plan.roots = roots
        new_before = new_contacts.copy()
        ids_before, stored_before = dict(ids), dict(stored)
        for entry in plan.live:
            key = plan.fact_key(entry)
            if key in stored:
                # Two that share a commit are compared as the one that came first will be stored.
                settle_repeat(plan, entry, stored[key], is_same=_is_same_contact(plan, entry, ids, stored))
            elif not entry.is_deletion and any(
                tombstones.get(identity, -1) >= entry.at for identity in (*entry.identities, *entry.former_identities)
            ):
                entry.status, entry.note = Status.IGNORED, erasing.DELETED
            elif (
                _assign_contacts(plan, entry, ids, new_contacts)
                and _link_contacts(plan, entry, stored)
                and not entry.is_merge
            ):
                entry.fact = plan.fact(entry, entry.at)
                stored[key] = (entry.rows[0], plan.submission.received_at, entry.fact)
        if plan.refusal is not None:
            ids, new_contacts, stored = ids_before, new_before, stored_before
    await _insert_contacts(session, plans, new_contacts, now=now)
    # Who was deleted while we waited to name somebody the same is found again.
    tombstones_now = await erasing.load_tombstones(session, new_contacts.identities) if new_contacts.identities else {}
    if any(tombstones.get(identity) != until for identity, until in tombstones_now.items()):
        raise contacts.StartAgain


async def _use_former_identities(session: Session, plans: Sequence[Plan]) -> None:
    """Let references name contacts as an earlier version wrote their identities, where such an identity exists."""
    references = [reference for plan in plans for entry in plan.live for reference in entry.references]
    former = {then: now for reference in references for now, then in reference.former.items()}
    if not former:
        return
    known = {former[then]: then for then in await contacts.load_known(session, former)}
    for reference in references:
        reference.identities = tuple(known.get(identity, identity) for identity in reference.identities)


async def _check_workspace(session: Session, plans: Sequence[Plan]) -> dict[int, int]:
    """Refuse contacts given by an id that is not this workspace's; give whom the others are one with."""
    referenced = [
        (plan, entry, (plan.workspace.id, reference.row))
        for plan in plans
        for entry in plan.unsettled
        for reference in entry.references
        if reference.row is not None
    ]
    root_of = await contacts.verify_contact_ids(session, {pair for _, _, pair in referenced}) if referenced else {}
    for plan, entry, pair in referenced:
        if pair not in root_of:
            plan.refuse(entry, UnknownContact())
    return {row: root for (_, row), root in root_of.items()}


async def _load_links(session: Session, plans: Sequence[Plan], ids: Mapping[Identity, int]) -> dict[FactKey, Stored]:
    """Give what the ledger says already of the contacts that one item names at once."""
    keys = {
        plan.link_key(entry, place)
        for plan in plans
        for entry in plan.live
        for place, _, _ in _make_links({row for row in _list_rows(entry, ids) if row is not None})
    }
    return await facts.load_stored(session, keys) if keys else {}


@dataclass(slots=True)
class _NewContacts:
    """The contacts to be made, which have negative ids until then, and whose the new identities are to be."""

    people: list[tuple[int, str | None]] = field(default_factory=list)
    identities: dict[Identity, int] = field(default_factory=dict)

    def copy(self) -> "_NewContacts":
        """Remember what it was."""
        return _NewContacts(list(self.people), dict(self.identities))


def _assign_contacts(plan: Plan, entry: PlannedItem, ids: dict[Identity, int], new_contacts: _NewContacts) -> bool:
    """Give an entry its contacts, old or new, and these the identities it brings; false where that is refused."""
    rows = set()
    for reference in entry.references:
        matches = (
            {reference.row}
            if reference.row is not None
            else {ids[identity] for identity in reference.identities if identity in ids}
        )
        if not matches and not plan.submission.creates:
            plan.refuse(entry, UnknownContact())
            return False
        if not matches:
            new_contacts.people.append((plan.workspace.id, reference.email))
            matches = {-len(new_contacts.people)}
        new_identities = {identity: min(matches) for identity in reference.identities if identity not in ids}
        ids |= new_identities
        new_contacts.identities |= new_identities
        rows |= matches
    plan.assign_contacts(entry, rows)
    return True


def _link_contacts(plan: Plan, entry: PlannedItem, stored: dict[FactKey, Stored]) -> bool:
    """Note which of its contacts an entry proves to be one; false where the same key has said otherwise."""
    links = [] if entry.is_deletion else _make_links(entry.rows)
    if entry.is_merge and not links:
        entry.status, entry.note = Status.IGNORED, "these are one contact already"
    for link in links:
        key = plan.link_key(entry, link[0])
        if key not in stored:
            entry.links.append(link)
            stored[key] = (entry.rows[0], plan.submission.received_at, plan.merged(entry, link))
        elif not _is_merge_of(stored[key], link):
            _refuse_conflict(plan, entry)
            return False
    return True


def _make_links(rows: Collection[int]) -> list[tuple[int, int, int]]:
    """Link the first of some contacts to each of the others: (place, contact, contact)."""
    first, *others = sorted(rows) or (0,)
    return [(place, first, other) for place, other in enumerate(others, start=1)]


def _is_merge_of(stored: Stored, link: tuple[int, int, int]) -> bool:
    fact = stored[2]
    return isinstance(fact, Merged) and (fact.one, fact.other) == link[1:]


async def _insert_contacts(session: Session, plans: Sequence[Plan], new_contacts: _NewContacts, *, now: int) -> None:
    id_of: dict[int, int] = {}
    if new_contacts.people:
        new_ids = await contacts.insert_contacts(session, new_contacts.people, now=now)
        id_of = {-position: id for position, id in enumerate(new_ids, start=1)}
    for plan in plans:
        plan.roots |= {id: id for id in id_of.values()}
        for entry in plan.unsettled:
            plan.assign_contacts(entry, [id_of.get(row, row) for row in entry.rows])
            places = {place for place, _, _ in entry.links}
            entry.links = [link for link in _make_links(entry.rows) if link[0] in places]
    if new_contacts.identities:
        identities = {identity: id_of.get(contact, contact) for identity, contact in new_contacts.identities.items()}
        await contacts.insert_identities(session, identities)


def _list_rows(entry: PlannedItem, ids: Mapping[Identity, int]) -> list[int | None]:
    """Give the contacts that an entry names, none for each that is not known."""
    rows: list[int | None] = [ids.get(identity) for identity in entry.identities]
    return rows + [reference.row for reference in entry.references if reference.row is not None]


def _is_same_contact(
    plan: Plan, entry: PlannedItem, ids: Mapping[Identity, int], stored: Mapping[FactKey, Stored]
) -> bool:
    """Tell whether an entry names whom the fact under its key is about, with everything it names them by."""
    rows = [row for row in _list_rows(entry, ids) if row is not None]
    if len(rows) < len(_list_rows(entry, ids)):
        return False
    links = _make_links(set(rows))
    is_linked = all(
        plan.link_key(entry, link[0]) in stored and _is_merge_of(stored[plan.link_key(entry, link[0])], link)
        for link in links
    )
    if entry.is_merge:
        return is_linked and bool(links)
    roots = {plan.roots.get(row, row) for row in rows}
    row, _, _ = stored[plan.fact_key(entry)]
    contact = None if row is None else plan.roots.get(row, row)
    return roots == {contact} or (contact in roots and is_linked)


def settle_repeat(plan: Plan, entry: PlannedItem, stored: Stored, *, is_same: bool) -> None:
    """Tell a repeat of a fact from a contradiction; a time that we stamped is not the sender's word."""
    _, received_at, fact = stored
    if isinstance(fact, Deleted):  # nothing is left to compare it with
        entry.status = Status.DUPLICATE
        return
    occurred_at = entry.item.occurred_at
    same_time = is_time_of(fact, occurred_at, received=received_at, resolution=entry.item.resolution)
    repeated = fact if entry.is_merge else plan.fact(entry, fact.occurred_at)
    if is_same and same_time and has_same_content(repeated, fact):
        entry.status = Status.DUPLICATE
    else:
        _refuse_conflict(plan, entry)


def _refuse_conflict(plan: Plan, entry: PlannedItem) -> None:
    if plan.submission.all_or_none:
        raise Conflict
    plan.refuse(entry, Conflict("conflict"))
