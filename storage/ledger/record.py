"""Record submissions: THE write path, one transaction for a group of them.

Contacts, locks, who is one with whom, scores, facts, fold, effects, follow-ups, in this order, each step one statement
for the whole group; phases are never revisited and rows are taken in order, so that concurrent groups cannot deadlock.
"""

from collections.abc import Iterable, Mapping, Sequence

from storage.alerts import decide as alert_decisions
from storage.alerts import memory as alert_memory
from storage.db.database import Row, Session
from storage.domain.contacts import Reference
from storage.domain.errors import Changed, NothingToUndo, Refusal, UnknownContact
from storage.domain.facts import Deletion, Fact, Ignored, Item, Merge, Undo, Unusable
from storage.domain.fold import ScoreState, beginning
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ItemOutcome, Recorded, Status, Submission, check_item
from storage.ledger import contacts, facts, projection, refold
from storage.ledger import erase as erasing
from storage.ledger import merge as merging
from storage.ledger.facts import FactKey, Scored
from storage.ledger.plan import ContactReference, Plan, PlannedItem
from storage.ledger.project import fold_scores, keep_fields
from storage.ledger.resolve import identify, settle_repeat
from storage.scoring import definitions
from storage.scoring import drafts as redefining
from storage.sources import deliveries, readback_queue

UNDO_AT_ONCE = 200  #: contacts that an undo folds in its own transaction


class Apart(Exception):
    """One of the group makes contacts one, or parts them: it must be recorded by itself."""


async def record_group(session: Session, group: Sequence[Submission], *, now: int) -> list[Recorded | Refusal]:
    """Record submissions in one transaction; each is answered with its own outcome, or with why it was refused.

    Raises StartAgain where a contact was made or merged elsewhere meanwhile, Conflict where a submission of
    which all or nothing is to be taken repeats a key with other content: it must then be recorded by itself.
    Raises Changed where a score has moved on, Apart where one of several makes contacts one or parts them, OneByOne
    where what one asks for hangs on another; the committer gives such a submission a transaction of its own.
    """
    live_types, drafts = await definitions.live_and_drafts(session, {submission.workspace.id for submission in group})
    plans = [_plan_submission(submission, live_types[submission.workspace.id]) for submission in group]
    await identify(session, plans, now=now)
    for plan in plans:
        await _begin_undo(session, plan)
    await _lock_contacts(session, plans)
    await _check_folded(session, plans)
    for plan in plans:
        await _append_undo(session, plan)
    await _apply_regrouping(session, plans)
    types = {pair: plan.types[pair[1]] for plan in plans for pair in plan.pairs}
    # In a statement of its own after the lock: read together with it, scores may be older than the lock.
    states = await projection.load_states(session, {pair: score_type.definition for pair, score_type in types.items()})
    states |= {pair: beginning(score_type) for pair, score_type in types.items() if pair not in states}
    states |= {
        pair: merging.carry_state(plan, pair) for plan in plans for pair in plan.pairs if pair[0] in plan.regrouped
    }
    _check_unchanged(plans, states)
    for plan in plans:
        await erasing.stamp_deletions(session, plan)
    _stamp_facts(plans, states)
    await _append_facts(session, plans)
    for plan in plans:
        if plan.submission.actor and plan.new:  # only what has an actor can be undone
            batch = plan.submission.batch
            plan.is_undone = bool(await facts.undone_of(session, plan.submission.workspace.id, [batch]))
    for plan in plans:
        if deleted := await erasing.apply_deletions(session, plan):
            await alert_memory.delete_memory(session, deleted)
            types |= {pair: plan.types[pair[1]] for pair in plan.touched}
            states |= {pair: merging.carry_state(plan, pair) for pair in plan.touched if pair[0] in plan.regrouped}
    await fold_scores(session, plans, states, types)
    if drafts:
        await redefining.project_into_drafts(session, plans, drafts)
    await keep_fields(session, plans, now=now)  # last: the steps of both begin with the fields as they were
    await alert_decisions.decide_all(session, plans, now=now)
    await _queue_readbacks(session, plans, now=now)
    await _save_deliveries(session, plans)
    return [plan.refusal or _make_recorded(plan) for plan in plans]


def _plan_submission(submission: Submission, types: Mapping[str, ScoreType]) -> Plan:
    """Check what can be checked without looking at the contact: type, range, step, time, address."""
    plan = Plan(submission, types)
    for index, item in enumerate(submission.items):
        if isinstance(item, Unusable | Ignored):
            plan.entries.append(item)
            continue
        entry = _plan_item(item)
        plan.entries.append(entry)
        try:
            entry.at = check_item(item, types, received=submission.received_at, index=index)
            targets = [item.contact, item.into] if isinstance(item, Merge) else [item.contact]
            entry.references = [_make_reference(submission.workspace.id, contact) for contact in targets]
        except Refusal as refusal:
            plan.refuse(entry, refusal)
    return plan


def _plan_item(original: Item | Merge | Deletion) -> PlannedItem:
    if isinstance(original, Item):
        return PlannedItem(original)
    item = Item(key=original.key, contact=original.contact, occurred_at=original.occurred_at, raw=original.raw)
    return PlannedItem(item, is_merge=isinstance(original, Merge), is_deletion=isinstance(original, Deletion))


def _make_reference(workspace: int, contact: Reference | int) -> ContactReference:
    if isinstance(contact, int):
        return ContactReference(row=contact)
    identities = tuple((workspace, namespace, key) for namespace, key in contact.identities())
    return ContactReference(email=contact.email.strip() if contact.email else None, identities=identities)


async def _begin_undo(session: Session, plan: Plan) -> None:
    """Find out what an undo touches."""
    submission = plan.submission
    if submission.undoes is None:
        return
    plan.undo = Undo(
        source=submission.source, key=submission.batch, batch=submission.batch, actor=submission.actor,
        occurred_at=submission.received_at, undoes=submission.undoes,
    )  # fmt: skip  # what it is and whose, what it names
    workspace = submission.workspace.id
    batch = await facts.load_undone_batch(session, workspace, submission.undoes)
    if batch is None:
        plan.refusal = NothingToUndo()
        return
    if (
        submission.defers
        and await facts.count_contacts(session, workspace, batch, most=UNDO_AT_ONCE + 1) > UNDO_AT_ONCE
    ):
        plan.deferred = batch
        return
    members = await facts.batch_members(session, workspace, batch, contacts=submission.refolds)
    scores = [
        (row["contact_id"], key)
        for row in members
        for key, score_type in plan.types.items()
        if row["subject"] == key or _is_used_by_rules(row, score_type)
    ]
    plan.affected = list(dict.fromkeys(scores))
    plan.splitting = [id for row in members if row["other_id"] for id in (row["contact_id"], row["other_id"])]
    plan.spoken_of = sorted({*(row["contact_id"] for row in members), *plan.splitting})
    plan.roots = await contacts.roots(session, plan.spoken_of)


def _is_used_by_rules(row: Row, score_type: ScoreType) -> bool:
    """Tell whether the rules of a type ask for a fact."""
    rules = compile_rules(score_type.rules)
    return (row["activity"] is not None and rules.bears(row["activity"])) or (rules.asks_fields and row["said"] != "{}")


async def _lock_contacts(session: Session, plans: Sequence[Plan]) -> None:
    regrouping = [plan for plan in plans if plan.joined]
    if regrouping and len(plans) > 1:
        raise Apart
    expected = {row: plan.roots[row] for plan in plans for entry in plan.unsettled for row in entry.rows}
    expected |= {row: plan.roots[row] for plan in plans if plan.refusal is None for row in plan.spoken_of}
    expected |= {root: root for root in expected.values()}
    if regrouping:
        await merging.lock_contacts(session, regrouping[0], expected)
    else:
        await contacts.lock(session, expected)


async def _check_folded(session: Session, plans: Sequence[Plan]) -> None:
    """Raise FoldFirst if a contact of the group is marked: the group is recorded when it is folded."""
    roots = {
        plan.roots.get(row, row)
        for plan in plans
        if not plan.submission.refolds
        for row in (*plan.spoken_of, *(row for entry in plan.unsettled for row in entry.rows))
    }
    workspaces = {plan.submission.workspace.id: plan.submission.workspace for plan in plans}
    now = max(plan.submission.received_at for plan in plans)
    if marked := await refold.find_marked(session, roots) if roots else {}:
        raise refold.FoldFirst(
            [
                refold.make_refolding(workspaces[workspace], undo=undo, contacts=contacts, now=now)
                for (workspace, undo), contacts in marked.items()
            ]
        )


async def _apply_regrouping(session: Session, plans: Sequence[Plan]) -> None:
    """Write who is one with whom, and go by that from here on."""
    for plan in plans:
        if plan.joined:
            await _append_merges(session, plan)
            await alert_memory.regroup_memory(session, await merging.apply_merges(session, plan))
        for entry in plan.unsettled:
            plan.assign_contacts(entry, entry.rows)
        if plan.undo is not None:
            pairs = [(plan.roots[row], subject) for row, subject in plan.affected]
            plan.affected = list(dict.fromkeys(pairs))
            plan.spoken_of = sorted({plan.roots[row] for row in plan.spoken_of})


async def _append_merges(session: Session, plan: Plan) -> None:
    """Write who is proved to be one; raises StartAgain where another transaction did just now."""
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    for entry in plan.unsettled:
        for link in entry.links:
            new[plan.link_key(entry, link[0])] = (link[1], plan.merged(entry, link))
    if len(await facts.append(session, new, received_at=dict.fromkeys(new, plan.submission.received_at))) < len(new):
        raise contacts.StartAgain
    for entry in plan.unsettled:
        if entry.is_merge:
            entry.status = Status.APPLIED


def _check_unchanged(plans: Sequence[Plan], states: Mapping[Scored, ScoreState]) -> None:
    """Raise Changed where what was asked for stands on a score that has moved on since."""
    for plan in plans:
        seen_at = plan.submission.unless_later
        for entry in plan.unsettled:
            if seen_at is not None and entry.scored and states[entry.scored].last[0] > seen_at:
                raise Changed


def _stamp_facts(plans: Sequence[Plan], states: Mapping[Scored, ScoreState]) -> None:
    """Time the facts: what a person does, or we stamp ourselves, comes after all that the score has seen."""
    latest = {pair: state.last[0] for pair, state in states.items()}
    for plan in plans:
        for entry in plan.unsettled:
            pairs, at = plan.bears_on(entry), entry.at
            if entry.item.occurred_at is None or plan.submission.actor:
                at = max([at, *(latest[pair] + 1 for pair in pairs)])
            latest |= {pair: max(latest[pair], at) for pair in pairs}
            entry.fact = plan.fact(entry, at)


async def _append_facts(session: Session, plans: Sequence[Plan]) -> None:
    """Write the facts; those that another transaction wrote just now are repeats.

    Its writer held the lock of their contact, so what was read under ours has seen what they did.
    Raises StartAgain where they are another contact's, Conflict as the caller says.
    """
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    received: dict[FactKey, int] = {}
    contact_of: dict[FactKey, int | None] = {}
    for plan in plans:
        for entry in plan.unsettled:
            assert entry.fact is not None
            key = plan.fact_key(entry)
            row, contact_of[key] = (None, None) if entry.is_deletion else (entry.rows[0], entry.contact)
            new[key], received[key] = (row, entry.fact), plan.submission.received_at
    ids = await facts.append(session, new, received_at=received) if new else {}
    stored = await facts.load_stored(session, new.keys() - ids.keys()) if len(ids) < len(new) else {}
    roots = await contacts.roots(session, {row for row, _, _ in stored.values() if row is not None}) if stored else {}
    if any(contact_of[key] != (None if row is None else roots[row]) for key, (row, _, _) in stored.items()):
        raise contacts.StartAgain
    for plan in plans:
        for entry in plan.unsettled:
            key = plan.fact_key(entry)
            if key in stored:
                settle_repeat(plan, entry, stored[key], is_same=True)
            else:
                entry.fact_id, entry.status = ids[key], Status.APPLIED


async def _append_undo(session: Session, plan: Plan) -> None:
    submission, undo = plan.submission, plan.undo
    if undo is None or plan.refusal is not None:
        return
    if submission.refolds:
        await refold.clear_marks(session, undo=submission.batch, contacts=submission.refolds)
        return
    workspace = submission.workspace.id
    key = facts.fact_key(workspace, undo)
    if await facts.load_stored(session, [key]):
        plan.affected, plan.spoken_of, plan.splitting = [], [], []  # a repeat of this very request
        return
    if await facts.undone_of(session, workspace, [undo.undoes]):
        plan.refusal = NothingToUndo("that was undone already")
        return
    await facts.append(session, {key: (None, undo)}, received_at={key: submission.received_at})
    if plan.deferred is not None:
        plan.pending = await refold.mark_contacts(
            session, submission.workspace, batch=plan.deferred, undo=submission.batch, now=submission.received_at
        )


async def _queue_readbacks(session: Session, plans: Iterable[Plan], *, now: int) -> None:
    """Have those read at their source whom it named by an id alone; always where it said nothing else of them."""
    readbacks = [
        (entry.identities[0], _has_no_content(entry.item))
        for plan in plans
        if plan.submission.delivered is not None and plan.submission.delivered.reads
        for entry in plan.live
        if [namespace for _, namespace, _ in entry.identities] == [plan.submission.source] and not entry.is_deletion
        # Nothing tells the repeat of an event that says nothing from the next one.
        if entry.fact_id is not None or (entry.status is Status.DUPLICATE and _has_no_content(entry.item))
    ]
    if readbacks:
        await readback_queue.enqueue_readbacks(session, readbacks, now=now)


def _has_no_content(item: Item) -> bool:
    return not (item.score or item.activity or item.fields)


async def _save_deliveries(session: Session, plans: Iterable[Plan]) -> None:
    records = [
        (plan.submission, _list_outcomes(plan), _list_raw_items(plan)) for plan in plans if _should_save_delivery(plan)
    ]
    if records:
        await deliveries.save_deliveries(session, records)


def _should_save_delivery(plan: Plan) -> bool:
    """Tell whether a submission is kept as a delivery: what we read of a contact who is gone meanwhile is not."""
    delivered = plan.submission.delivered
    if delivered is None or not delivered.was_read:
        return delivered is not None
    refusals = [entry.refusal if isinstance(entry, PlannedItem) else entry for entry in plan.entries]
    problems = [problem for problem in refusals if isinstance(problem, Refusal | Unusable)]
    return bool(problems) and not any(isinstance(problem, UnknownContact) for problem in problems)


def _list_raw_items(plan: Plan) -> list[tuple[str, str]]:
    entries = [entry.item if isinstance(entry, PlannedItem) else entry for entry in plan.entries]
    return [(entry.key, entry.raw) for entry in entries]


def _list_outcomes(plan: Plan) -> tuple[ItemOutcome, ...]:
    return tuple(
        ItemOutcome(status=Status.QUARANTINED, reason=entry.reason)
        if isinstance(entry, Unusable)
        else ItemOutcome(status=Status.IGNORED, reason=entry.reason)
        if isinstance(entry, Ignored)
        else ItemOutcome(status=Status.QUARANTINED, reason=str(entry.refusal))
        if entry.refusal is not None
        else ItemOutcome(status=entry.status or Status.APPLIED, reason=entry.note)
        for entry in plan.entries
    )


def _make_recorded(plan: Plan) -> Recorded:
    return Recorded(
        outcomes=_list_outcomes(plan),
        moved=tuple(plan.moved),
        undone=tuple(plan.spoken_of),
        unasked=plan.unasked,
        pending=plan.pending,
    )
