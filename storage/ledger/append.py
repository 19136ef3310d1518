"""Phase 3: append the facts of plans to the ledger, and recognize facts that are already in it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from storage.db.database import Session
from storage.db.errors import StartAgain
from storage.domain.errors import Changed, Refusal
from storage.domain.facts import Fact
from storage.domain.fold import ScoreState
from storage.ledger import contact_fields, contacts, facts
from storage.ledger.batches import load_undone_batches
from storage.ledger.facts import FactKey, ScoreId, StoredFact
from storage.ledger.plan import DUPLICATE, ItemKind, NewFact, Plan, PlannedItem, check_repeat


async def append_facts(session: Session, plans: Sequence[Plan], states: Mapping[ScoreId, ScoreState]) -> list[Plan]:
    """Append the facts of plans. Facts that another transaction has just appended are repeats.

    Such a transaction held the lock of the contact, so everything read under the lock since then includes its writes.
    Raises StartAgain if a repeated fact belongs to another contact, Changed if a score has a fact that the sender has
    not seen, and Conflict if an all-or-none submission repeats a key with different content.
    """
    for plan in plans:
        _check_unchanged(plan, states)
    stated_at = await _load_times_of_fields(session, plans)
    stamped = {plan.position: _stamp_facts(plan, states, stated_at) for plan in plans}
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    received: dict[FactKey, int] = {}
    contact_of: dict[FactKey, int | None] = {}
    for plan in plans:
        for planned, fact in stamped[plan.position]:
            is_deletion = planned.kind is ItemKind.DELETION
            new[planned.key] = (None if is_deletion else planned.rows[0], fact)
            contact_of[planned.key] = None if is_deletion else planned.contact
            received[planned.key] = plan.submission.received_at
    named_ids = {
        planned.key: planned.named_id[1:]
        for plan in plans
        for planned, _ in stamped[plan.position]
        if planned.named_id is not None and planned.kind is ItemKind.FACT
    }
    ids = await facts.insert_facts(session, new, received_at=received, named_ids=named_ids) if new else {}
    stored = await facts.load_stored(session, new.keys() - ids.keys()) if len(ids) < len(new) else {}
    roots = (
        await contacts.load_roots(session, {row for row, _, _ in stored.values() if row is not None}) if stored else {}
    )
    if any(contact_of[key] != (None if row is None else roots[row]) for key, (row, _, _) in stored.items()):
        raise StartAgain
    plans = [_collect_new_facts(plan, stamped[plan.position], ids, stored) for plan in plans]
    return [await _mark_undone(session, plan) for plan in plans]


def _check_unchanged(plan: Plan, states: Mapping[ScoreId, ScoreState]) -> None:
    """Raise Changed if a score that the plan changes has a fact later than the sender has seen (`unless_later`)."""
    seen_at = plan.submission.unless_later
    score_ids = [(planned.contact, planned.item.score) for planned in plan.items if planned.item.score]
    if seen_at is not None and any(states[score_id].last[0] > seen_at for score_id in score_ids):
        raise Changed


async def _load_times_of_fields(session: Session, plans: Sequence[Plan]) -> dict[tuple[int, str], int]:
    """Return when the fields that people change were stated last: (contact, field) → µs."""
    changed = {
        planned.contact
        for plan in plans
        for planned in plan.items
        if plan.submission.actor and planned.item.fields and planned.kind is ItemKind.FACT
    }
    fields_of = await contact_fields.load_fields(session, changed) if changed else {}
    return {(id, name): order[0] for id, values in fields_of.items() for name, (_, order) in values.items()}


def _stamp_facts(
    plan: Plan, states: Mapping[ScoreId, ScoreState], stated_at: Mapping[tuple[int, str], int]
) -> list[tuple[PlannedItem, Fact]]:
    """Return the items of a plan with their facts.

    A change by a person or without a time comes after all facts of its score, and a person's change of a field after
    the time in *stated_at*, whatever the clock of the process that recorded the earlier one. The changes of one
    command, or the cells of an import, are therefore at least a microsecond apart, in the order of the items. An
    activity with a time keeps it, even if a person imports it.
    """
    latest: dict[ScoreId, int] = {}
    stamped = []
    for planned in plan.items:
        item, at, score_ids = planned.item, planned.at, planned.score_ids
        for score_id in score_ids:
            latest.setdefault(score_id, states[score_id].last[0])
        if item.occurred_at is None or (plan.submission.actor and item.activity is None):
            fields = [stated_at.get((planned.contact, name), -1) + 1 for name in item.fields]
            at = max([at, *(latest[score_id] + 1 for score_id in score_ids), *fields])
        for score_id in score_ids:
            latest[score_id] = max(latest[score_id], at)
        stamped.append((planned, plan.make_fact(planned, at)))
    return stamped


def _collect_new_facts(
    plan: Plan,
    stamped: Sequence[tuple[PlannedItem, Fact]],
    ids: Mapping[FactKey, int],
    stored: Mapping[FactKey, StoredFact],
) -> Plan:
    """Return the plan with its new facts, and with the items that repeat a stored fact as duplicates or refused.

    *ids*: key → row id, of the facts that were inserted. *stored* are the stored facts with the other keys.
    """
    new_facts: list[NewFact] = []
    repeats: list[PlannedItem] = []
    refused: dict[int, Refusal] = {}
    for planned, fact in stamped:
        if planned.key in ids:
            new_facts.append(NewFact(fact_id=ids[planned.key], fact=fact, contact=planned.contact, planned=planned))
            continue
        try:
            check_repeat(plan, planned, stored[planned.key], is_same=True)
            repeats.append(planned)
        except Refusal as refusal:
            if plan.submission.all_or_none:
                raise  # other facts of the submission are written
            refused[planned.position] = refusal
    skipped = {**plan.skipped, **{planned.position: DUPLICATE for planned in repeats}}
    plan = replace(plan, items=(), new_facts=tuple(new_facts), skipped=skipped, repeats=(*plan.repeats, *repeats))
    return plan.refuse(refused)


async def _mark_undone(session: Session, plan: Plan) -> Plan:
    """Mark a plan if its batch was undone before. Only batches with an actor can be undone."""
    if not (plan.submission.actor and plan.new_facts):
        return plan
    undone = await load_undone_batches(session, plan.workspace.id, [plan.submission.batch])
    return replace(plan, is_undone=bool(undone))
