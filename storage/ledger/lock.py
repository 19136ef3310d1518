"""Phase 2: lock the contacts of a group, and insert the new ones."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from storage.db.database import Session
from storage.db.errors import StartAgain
from storage.domain.errors import ContactChanged, ContactExists
from storage.domain.submissions import NEW_CONTACT
from storage.ledger import contacts, refold
from storage.ledger import merge as merging
from storage.ledger.identities import insert_identities, load_identity_owners
from storage.ledger.plan import OrderingKey, Plan, make_links
from storage.ledger.tombstones import load_tombstones


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A submission of a group that was not recorded at all.

    If another transaction has locked one of its contacts, *ordering_keys* are set: until the submission is recorded, no
    later submission with one of these keys may be recorded. None: the submission only waits for the next group.
    """

    ordering_keys: frozenset[OrderingKey] | None = None


async def lock_plans(
    session: Session, plans: Sequence[Plan], blocked: Collection[OrderingKey], *, now: int
) -> tuple[list[Plan], dict[int, Returned]]:
    """Lock the contacts of plans, compare them with what the submissions expect, and insert the new ones.

    Return the plans that continue and, by position, those that wait for a contact. Raises StartAgain if another
    transaction inserted, merged, split or deleted a contact meanwhile, and RefoldNeeded if contacts must be
    recalculated after an undo first.
    """
    unblocked, returned = await _lock_contacts(session, plans, blocked)
    await _check_folded(session, unblocked)
    unblocked = [await _check_expected(session, plan) for plan in unblocked]
    return await _insert_new_contacts(session, unblocked, now=now), returned


async def _lock_contacts(
    session: Session, plans: Sequence[Plan], blocked: Collection[OrderingKey]
) -> tuple[list[Plan], dict[int, Returned]]:
    """Lock the contacts of plans. Return the plans that continue and, by position, those that wait for a contact.

    A plan waits if another transaction has locked one of its contacts, or if an earlier plan waits for that contact.
    Raises StartAgain if a contact was merged, split or deleted meanwhile.
    """
    plans = [
        replace(plan, roots_before=await merging.load_roots_before(session, plan)) if plan.rows_to_regroup else plan
        for plan in plans
    ]
    expected: dict[int, int] = {}
    for plan in plans:
        expected |= plan.rows_to_lock
    locked = await contacts.lock_available(session, expected) if expected else None
    waiting: set[OrderingKey] = {*blocked, *(locked.locked_elsewhere if locked else ())}
    unblocked: list[Plan] = []
    returned: dict[int, Returned] = {}
    for plan in plans:
        keys = plan.ordering_keys if waiting else set()
        if keys.isdisjoint(waiting):
            unblocked.append(plan)
        else:
            waiting |= keys
            returned[plan.position] = Returned(ordering_keys=frozenset(keys))
    for plan in unblocked:
        # Rows join or leave a contact only under the lock of the contact, so its rows stay the same from here on.
        if plan.roots_before and await merging.load_roots_before(session, plan) != plan.roots_before:
            raise StartAgain
    if locked is None:
        return unblocked, returned
    if locked.split:
        await _check_ids(session, unblocked, locked.split)
    return [replace(plan, gone_contacts=locked.gone) for plan in unblocked] if locked.gone else unblocked, returned


async def _check_ids(session: Session, plans: Sequence[Plan], split: set[int]) -> None:
    """Raise StartAgain if a split has moved an id that the plans name to another row since the plans were resolved.

    *split* are the locked rows that any split changed. An id moves only under the lock of the row that has it.
    """
    row_of = {
        planned.named_id: planned.rows
        for plan in plans
        for planned in plan.items
        if planned.named_id is not None and not split.isdisjoint(planned.rows)
    }
    owners = await load_identity_owners(session, row_of) if row_of else {}
    if any(row not in row_of[id] for id, (row, _) in owners.items()):
        raise StartAgain


async def _check_folded(session: Session, plans: Sequence[Plan]) -> None:
    """Raise RefoldNeeded if contacts of the plans are marked: they must be recalculated after a large undo first."""
    contacts_of = {
        plan.roots.get(row, row)
        for plan in plans
        if not plan.submission.refolds
        for row in (*plan.undone_contacts, *(row for planned in plan.items for row in planned.rows if row > 0))
    }
    if marked := await refold.list_marked_rows(session, contacts_of) if contacts_of else {}:
        workspaces = {plan.workspace.id: plan.workspace for plan in plans}
        now = max(plan.submission.received_at for plan in plans)
        raise refold.RefoldNeeded(
            [
                (workspaces[workspace], refold.make_refolding(undo=undo, contacts=rows, now=now))
                for (workspace, undo), rows in marked.items()
            ]
        )


async def _check_expected(session: Session, plan: Plan) -> Plan:
    """Return the plan, refused if its contacts are not as the submission expects. Their rows are locked.

    A contact that is gone is a new one again.
    """
    expected, expected_each = plan.submission.expects, plan.submission.expects_each
    if expected_each:
        known = await contacts.load_contacts(session, plan.workspace, ids=sorted(expected_each))
        versions = {contact.id: contact.version for contact in known}
        return plan if versions == expected_each else plan.refuse_whole(ContactChanged())
    if expected is None:
        return plan
    existing = sorted({plan.roots.get(row, row) for planned in plan.items for row in planned.rows if row > 0})
    known = await contacts.load_contacts(session, plan.workspace, ids=existing)
    if expected == NEW_CONTACT:
        present = [contact.id for contact in known if not contact.is_gone]
        return plan.refuse_whole(ContactExists(present[0])) if present else plan
    return plan if [contact.version for contact in known] == [expected] else plan.refuse_whole(ContactChanged())


async def _insert_new_contacts(session: Session, plans: Sequence[Plan], *, now: int) -> list[Plan]:
    """Insert the new contacts and identities of a group. Return its plans with the inserted rows.

    Raises StartAgain if another transaction inserted or deleted one of these identities meanwhile.
    """
    new_contacts = [(plan.workspace.id, row, email) for plan in plans for row, email in plan.new_contacts.items()]
    id_of: dict[int, int] = {}
    if new_contacts:
        ids = await contacts.insert_contacts(
            session, [(workspace, email) for workspace, _, email in new_contacts], now=now
        )
        id_of = {row: id for (_, row, _), id in zip(new_contacts, ids, strict=True)}
    identities = {identity: id_of.get(row, row) for plan in plans for identity, row in plan.new_identities.items()}
    if identities:
        await insert_identities(session, identities)
        # If the insert waited for a concurrent deletion of an identity, that deletion has left a tombstone.
        known = {identity: until for plan in plans for identity, until in plan.tombstones.items()}
        tombstones = await load_tombstones(session, identities)
        if any(known.get(identity) != until for identity, until in tombstones.items()):
            raise StartAgain
    return [_replace_rows(plan, id_of) for plan in plans] if id_of else list(plans)


def _replace_rows(plan: Plan, id_of: Mapping[int, int]) -> Plan:
    """Return the plan with the ids of inserted contacts instead of negative rows. *id_of*: negative row → id."""
    roots = {**plan.roots, **{id: id for id in id_of.values()}}
    items = []
    for planned in plan.items:
        if planned.rows[0] > 0:  # it is the lowest row, so no row of the item is new
            items.append(planned)
            continue
        rows = {id_of.get(row, row) for row in planned.rows}
        places = {place for place, _, _ in planned.links}
        links = tuple(link for link in make_links(rows) if link[0] in places) if places else ()
        with_ids = planned.with_rows(rows, roots, links=links)
        if with_ids.into is not None:
            with_ids = replace(with_ids, into=id_of.get(with_ids.into, with_ids.into))
        items.append(with_ids)
    inserted = {id_of[row]: id_of[row] for row in plan.new_contacts} if plan.rows_to_regroup else {}
    return replace(plan, items=tuple(items), roots=roots, roots_before={**plan.roots_before, **inserted})
