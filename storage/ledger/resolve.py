"""Find whom the items of a group speak of: known contacts, new ones, two that prove to be one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.db.database import Session
from storage.domain.errors import Conflict, UnknownContact
from storage.domain.facts import Deleted, Merged
from storage.domain.submissions import Status
from storage.ledger import contacts, facts
from storage.ledger import erase as erasing
from storage.ledger.contacts import Identity
from storage.ledger.facts import FactKey, Stored
from storage.ledger.plan import Plan, PlannedItem


async def identify(session: Session, works: Sequence[Plan], *, now: int) -> None:
    """Find the contact of every entry, making those not known yet; what is refused or repeated makes nobody."""
    roots = await _check_ours(session, works)
    # Facts before contacts: what another process commits in between is then met again when it is written.
    there = await facts.load_stored(session, {work.fact_key(entry) for work in works for entry in work.live})
    found = await contacts.load_identity_owners(
        session, [one for work in works for entry in work.live for one in entry.identities]
    )
    roots |= dict(found.values())
    if there:  # who is one with whom at one moment: else a repeat is about somebody else while two are made one
        roots |= await contacts.roots(session, {*roots, *(row for row, _, _ in there.values() if row is not None)})
    ids = {identity: row for identity, (row, _) in found.items()}
    there |= await _links_there(session, works, ids)
    graves = await erasing.load_tombstones(
        session, [one for work in works for entry in work.live for one in entry.identities]
    )
    making = _Making()
    for work in works:
        work.roots = roots
        before = making.copy()
        known, earlier = dict(ids), dict(there)
        for entry in work.live:
            key = work.fact_key(entry)
            if key in there:
                # Two that share a commit are compared as the one that came first will be stored.
                settle_repeat(work, entry, there[key], is_same=_is_same(work, entry, ids, there))
            elif not entry.is_deletion and any(graves.get(one, -1) >= entry.at for one in entry.identities):
                entry.status, entry.note = Status.IGNORED, erasing.DELETED
            elif _meet(work, entry, ids, making) and _link(work, entry, there) and not entry.is_merge:
                entry.fact = work.fact(entry, entry.at)
                there[key] = (entry.rows[0], work.submission.received_at, entry.fact)
        if work.refusal is not None:
            ids, making, there = known, before, earlier
    await _make(session, works, making, now=now)
    # Who was deleted while we waited to name somebody the same is found again.
    again = await erasing.load_tombstones(session, making.names) if making.names else {}
    if any(graves.get(one) != until for one, until in again.items()):
        raise contacts.StartAgain


async def _check_ours(session: Session, works: Sequence[Plan]) -> dict[int, int]:
    """Refuse contacts given by an id that is not this workspace's; give whom the others are one with."""
    given = [
        (work, entry, (work.submission.workspace.id, naming.row))
        for work in works
        for entry in work.unsettled
        for naming in entry.named
        if naming.row is not None
    ]
    ours = await contacts.verify_contact_ids(session, {pair for _, _, pair in given}) if given else {}
    for work, entry, pair in given:
        if pair not in ours:
            work.refuse(entry, UnknownContact())
    return {row: root for (_, row), root in ours.items()}


async def _links_there(session: Session, works: Sequence[Plan], ids: Mapping[Identity, int]) -> dict[FactKey, Stored]:
    """Give what the ledger says already of the contacts that one item names at once."""
    keys = {
        work.link_key(entry, place)
        for work in works
        for entry in work.live
        for place, _, _ in _links({row for row in _rows(entry, ids) if row is not None})
    }
    return await facts.load_stored(session, keys) if keys else {}


@dataclass(slots=True)
class _Making:
    """The contacts to be made, which have negative ids until then, and whose the new identities are to be."""

    people: list[tuple[int, str | None]] = field(default_factory=list)
    names: dict[Identity, int] = field(default_factory=dict)

    def copy(self) -> "_Making":
        """Remember what it was."""
        return _Making(list(self.people), dict(self.names))


def _meet(work: Plan, entry: PlannedItem, ids: dict[Identity, int], making: _Making) -> bool:
    """Give an entry its contacts, old or new, and these the identities it brings; false where that is refused."""
    rows = set()
    for naming in entry.named:
        found = {naming.row} if naming.row is not None else {ids[one] for one in naming.identities if one in ids}
        if not found and not work.submission.creates:
            work.refuse(entry, UnknownContact())
            return False
        if not found:
            making.people.append((work.submission.workspace.id, naming.email))
            found = {-len(making.people)}
        fresh = {one: min(found) for one in naming.identities if one not in ids}
        ids |= fresh
        making.names |= fresh
        rows |= found
    work.give(entry, rows)
    return True


def _link(work: Plan, entry: PlannedItem, there: dict[FactKey, Stored]) -> bool:
    """Note which of its contacts an entry proves to be one; false where the same key has said otherwise."""
    links = [] if entry.is_deletion else _links(entry.rows)
    if entry.is_merge and not links:
        entry.status, entry.note = Status.IGNORED, "these are one contact already"
    for link in links:
        key = work.link_key(entry, link[0])
        if key not in there:
            entry.links.append(link)
            there[key] = (entry.rows[0], work.submission.received_at, work.merged(entry, link))
        elif not _says(there[key], link):
            _contradict(work, entry)
            return False
    return True


def _links(rows: Collection[int]) -> list[tuple[int, int, int]]:
    """Link the first of some contacts to each of the others: (place, contact, contact)."""
    first, *others = sorted(rows) or (0,)
    return [(place, first, other) for place, other in enumerate(others, start=1)]


def _says(stored: Stored, link: tuple[int, int, int]) -> bool:
    fact = stored[2]
    return isinstance(fact, Merged) and (fact.one, fact.other) == link[1:]


async def _make(session: Session, works: Sequence[Plan], making: _Making, *, now: int) -> None:
    real: dict[int, int] = {}
    if making.people:
        made = await contacts.insert_contacts(session, making.people, now=now)
        real = {-position: id for position, id in enumerate(made, start=1)}
    for work in works:
        work.roots |= {id: id for id in real.values()}
        for entry in work.unsettled:
            work.give(entry, [real.get(row, row) for row in entry.rows])
            places = {place for place, _, _ in entry.links}
            entry.links = [link for link in _links(entry.rows) if link[0] in places]
    if making.names:
        names = {identity: real.get(contact, contact) for identity, contact in making.names.items()}
        await contacts.insert_identities(session, names)


def _rows(entry: PlannedItem, ids: Mapping[Identity, int]) -> list[int | None]:
    """Give the contacts that an entry names, none for each that is not known."""
    rows: list[int | None] = [ids.get(one) for one in entry.identities]
    return rows + [naming.row for naming in entry.named if naming.row is not None]


def _is_same(work: Plan, entry: PlannedItem, ids: Mapping[Identity, int], there: Mapping[FactKey, Stored]) -> bool:
    """Tell whether an entry names whom the fact under its key is about, with everything it names them by."""
    rows = [row for row in _rows(entry, ids) if row is not None]
    if len(rows) < len(_rows(entry, ids)):
        return False
    links = _links(set(rows))
    said = all(
        work.link_key(entry, one[0]) in there and _says(there[work.link_key(entry, one[0])], one) for one in links
    )
    if entry.is_merge:
        return said and bool(links)
    named = {work.roots.get(row, row) for row in rows}
    row, _, _ = there[work.fact_key(entry)]
    contact = None if row is None else work.roots.get(row, row)
    return named == {contact} or (contact in named and said)


def settle_repeat(work: Plan, entry: PlannedItem, there: Stored, *, is_same: bool) -> None:
    """Tell a repeat of a fact from a contradiction; a time that we stamped is not the sender's word."""
    _, received_at, fact = there
    if isinstance(fact, Deleted):  # nothing is left to compare it with
        entry.status = Status.DUPLICATE
        return
    asked = entry.item.occurred_at
    same_time = asked is None or min(asked, received_at) == fact.occurred_at
    again = fact if entry.is_merge else work.fact(entry, fact.occurred_at)
    if is_same and same_time and replace(again, batch=fact.batch, actor=fact.actor) == fact:
        entry.status = Status.DUPLICATE
    else:
        _contradict(work, entry)


def _contradict(work: Plan, entry: PlannedItem) -> None:
    if work.submission.all_or_none:
        raise Conflict
    work.refuse(entry, Conflict("conflict"))
