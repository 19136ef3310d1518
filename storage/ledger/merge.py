"""Merge and split contacts according to the links in the ledger, and list the scores to recalculate."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from storage.alerts import memory as alert_memory
from storage.audit import AuditAction, Document, NewEntry, record_changes
from storage.db.database import Session
from storage.db.errors import StartAgain
from storage.domain.contacts import Contact, id_spellings
from storage.domain.facts import Fact, resolve_merges
from storage.domain.fold import ScoreState, make_initial_state
from storage.ledger import contacts, facts, projection
from storage.ledger.facts import FactKey, ScoreId
from storage.ledger.identities import count_identities, move_id
from storage.ledger.links import load_links
from storage.ledger.plan import ItemKind, Plan, Regrouping
from storage.sources.named_contacts import make_name


async def load_roots_before(session: Session, plan: Plan) -> Mapping[int, int]:
    """Return all rows of the contacts that a plan merges, splits or deletes: row → contact."""
    return await contacts.load_rows(session, {plan.roots[row] for row in plan.rows_to_regroup if row > 0})


async def regroup_contacts(session: Session, plan: Plan, *, now: int) -> Plan:
    """Append the links of a plan, then merge and split contacts by the links in force. Return the changed plan."""
    if plan.rows_to_regroup:
        await _append_links(session, plan)
        await _split_off(session, plan, now=now)
        plan, moved = await _write_groups(session, plan, now=now)
        await alert_memory.regroup_memory(session, moved)
        roots = {**plan.roots, **(plan.regrouping.roots if plan.regrouping else {})}
        items = tuple(
            replace(planned, contact=roots[planned.rows[0]])
            for planned in plan.items
            if planned.kind not in (ItemKind.MERGE, ItemKind.SPLIT)
        )
        plan = replace(plan, items=items, roots=roots)
    if plan.undo is not None:
        scores = dict.fromkeys((plan.roots[row], key) for row, key in plan.undo.scores)
        undone_contacts = sorted({plan.roots[row] for row in plan.undo.contacts})
        plan = replace(plan, undo=replace(plan.undo, scores=tuple(scores), contacts=tuple(undone_contacts)))
    return plan


async def _append_links(session: Session, plan: Plan) -> None:
    """Append the links between contacts that proved to be the same. Raises StartAgain if one is in the ledger."""
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    for planned in plan.items:
        for link in planned.links:
            new[plan.make_link_key(planned, link[0])] = (link[1], plan.make_link_fact(planned, link))
    received_at = dict.fromkeys(new, plan.submission.received_at)
    named_ids = {
        planned.key: planned.references[-1].identities[0][1:]
        for planned in plan.items
        if planned.kind is ItemKind.SPLIT
    }
    if new and len(await facts.insert_facts(session, new, received_at=received_at, named_ids=named_ids)) < len(new):
        raise StartAgain


async def _split_off(session: Session, plan: Plan, *, now: int) -> None:
    """Move the ids that a plan splits off, and the facts that named them, to the new rows.

    Raises StartAgain if nothing would identify the contact any more, because another split was just recorded.
    """
    for planned in plan.items:
        if planned.kind is not ItemKind.SPLIT:
            continue
        (id,) = planned.references[-1].identities
        _, row, target = planned.links[0]
        members = [member for member, contact in plan.roots_before.items() if contact == plan.roots_before[row]]
        await move_id(session, id, row=row, target=target, now=plan.submission.received_at)
        names = [make_name(id[1], spelling) for spelling in id_spellings(id[2])]
        await facts.move_facts(session, members, names, target=target)
        contact = plan.roots_before[row]
        await _record_pairs(session, plan, AuditAction.CONTACT_SPLIT, [(target, contact)], now=now)
        if not (await count_identities(session, [contact])).get(contact):
            raise StartAgain


async def _write_groups(session: Session, plan: Plan, *, now: int) -> tuple[Plan, dict[int, int]]:
    """Regroup the rows of a plan according to the links in force. Return the plan and the moved rows: row → contact.

    The caller holds the locks. Scores and effects of contacts that gained or lost rows are deleted, to be recalculated.
    """
    roots = await _resolve_links(session, plan, plan.roots_before)
    moved = {row: root for row, root in roots.items() if plan.roots_before[row] != root}
    # A further link between rows of one contact may change which row's name and address are shown.
    linked = {roots[row] for row in plan.linked_rows}
    affected = {plan.roots_before[row] for row in moved} | set(moved.values()) | linked
    if not affected:
        return replace(plan, regrouping=Regrouping(roots=roots)), {}
    rows = {row for row, root in plan.roots_before.items() if root in affected}
    definitions = {(id, key): score_type.definition for id in affected for key, score_type in plan.types.items()}
    states_before = await projection.load_states(session, definitions)
    await _record_regrouping(session, plan, roots, moved, now=now)
    await contacts.write_groups(session, moved)
    await projection.delete_projection(session, affected)
    regrouped = frozenset(roots[row] for row in rows)
    regrouping = Regrouping(
        roots=roots,
        contacts=regrouped,
        scores=await _list_scores(session, plan, regrouped),
        states_before=states_before,
    )
    return replace(plan, regrouping=regrouping), moved


async def _record_regrouping(
    session: Session, plan: Plan, roots: Mapping[int, int], moved: Mapping[int, int], *, now: int
) -> None:
    """Record which contacts a plan merges and splits, before it does so. An undo does both, too."""
    merged = sorted(row for row in moved if plan.roots_before[row] == row)
    split = sorted(row for row in moved if roots[row] == row)
    await _record_pairs(session, plan, AuditAction.CONTACTS_MERGED, [(row, roots[row]) for row in merged], now=now)
    await _record_pairs(
        session, plan, AuditAction.CONTACT_SPLIT, [(row, plan.roots_before[row]) for row in split], now=now
    )


async def _record_pairs(
    session: Session, plan: Plan, what: AuditAction, pairs: Sequence[tuple[int, int]], *, now: int
) -> None:
    """Record merges or splits. Each pair is the contact that ends or begins, and the contact that stays."""
    if not pairs:
        return
    ids = sorted({id for pair in pairs for id in pair})
    known = {contact.id: contact for contact in await contacts.load_contacts(session, plan.workspace, ids=ids)}
    entries = []
    for pair in pairs:
        both: Document = {"contacts": [_describe_contact(id, known) for id in pair]}
        single: Document = {"contacts": [_describe_contact(pair[1], known)]}
        before, after = (both, single) if what is AuditAction.CONTACTS_MERGED else (single, both)
        subject = " and ".join(known[id].shown if id in known else f"id:{id}" for id in pair)
        after = {**after, "batch": plan.submission.batch}
        entries.append(NewEntry(what=what, subject=subject, before=before, after=after, contacts=pair))
    await record_changes(session, plan.workspace, entries, who=plan.submission.author, now=now)


def _describe_contact(id: int, known: Mapping[int, Contact]) -> Document:
    contact = known.get(id)
    if contact is None:
        return {"id": id}
    return {"id": id, "name": contact.name, "email": contact.email, "ids": dict(contact.ids)}


async def split_rest(
    session: Session,
    plan: Plan,
    *,
    rows: Collection[int],
    remaining: Collection[int],
    states_before: Mapping[ScoreId, ScoreState],
) -> Regrouping:
    """Regroup the *remaining* rows after a deletion of *rows*. Return the plan's regrouping with these changes."""
    before = plan.regrouping or Regrouping(roots={})
    roots = await _resolve_links(session, plan, remaining)
    await contacts.write_groups(session, roots)
    regrouped = frozenset(roots.values())
    other_scores = tuple(pair for pair in before.scores if pair[0] not in rows)
    return Regrouping(
        roots={**before.roots, **roots},
        contacts=(before.contacts - set(rows)) | regrouped,
        scores=(*other_scores, *await _list_scores(session, plan, regrouped)),
        states_before={**states_before, **before.states_before},
    )


async def _resolve_links(session: Session, plan: Plan, rows: Collection[int]) -> dict[int, int]:
    links = await load_links(session, plan.workspace.id, rows)
    return resolve_merges(rows, [(row, other) for row, other, _ in links])


async def _list_scores(session: Session, plan: Plan, regrouped: Collection[int]) -> tuple[ScoreId, ...]:
    """Return the scores of these contacts that any fact affects."""
    types = {(contact, key): score_type for contact in regrouped for key, score_type in plan.types.items()}
    return tuple(pair for pair, ledger in (await facts.load_ledgers(session, types)).items() if ledger)


def carry_state(plan: Plan, pair: ScoreId) -> ScoreState:
    """Return the state of a score before its recalculation, with the latest fact that any part of the contact saw."""
    contact, key = pair
    regrouping = plan.regrouping
    assert regrouping is not None
    parts = {
        plan.roots_before[row] for row, root in regrouping.roots.items() if root == contact and row in plan.roots_before
    }
    state = regrouping.states_before.get(pair, make_initial_state(plan.types[key]))
    orders = [regrouping.states_before[part, key].last for part in parts if (part, key) in regrouping.states_before]
    return replace(state, last=max([state.last, *orders]))
