"""Record submissions: THE write path, one transaction for a group of them.

resolve → lock → append → project → alerts → jobs; each phase takes plans and returns plans. The first two run once for
the whole group and are never revisited, so that concurrent groups cannot deadlock. The next three run in turns: no two
plans of a turn share a contact, and a turn finds what the turn before it wrote, so every submission is decided as if
it had been alone. A submission that merges, splits or deletes contacts, or undoes a batch, has the group to itself.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from storage.alerts import decide as alert_decisions
from storage.alerts import memory as alert_memory
from storage.alerts import rules as alert_rules
from storage.alerts.memory import Watched
from storage.alerts.rules import AlertRule
from storage.db.database import Row, Session
from storage.domain.alerts.kinds import AlertMemory
from storage.domain.errors import Changed, NothingToUndo, Refusal, UnknownContact
from storage.domain.facts import Fact, Item, Undo, Unusable
from storage.domain.fold import ScoreState, beginning
from storage.domain.people import Workspace
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, Submission
from storage.ledger import contacts, facts, projection
from storage.ledger import erase as erasing
from storage.ledger import merge as merging
from storage.ledger.facts import FactKey, Scored
from storage.ledger.plan import ItemKind, Name, NewFact, Plan, PlannedItem, UndoScope, arrange_turns, plan_submission
from storage.ledger.project import Known, project, save_fields
from storage.ledger.resolve import DUPLICATE, check_repeat, insert_newcomers, resolve
from storage.scoring import definitions
from storage.scoring import drafts as redefining
from storage.sources import deliveries, readback_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """A submission of a group that was not recorded, and nothing of it.

    *names*: one of its contacts is locked by another transaction. Until it is recorded no later submission with one of
    these names may be. None: the submission only has to wait for the next group.
    """

    names: frozenset[Name] | None = None


async def record_group(
    session: Session,
    group: Sequence[tuple[Workspace, Submission]],
    *,
    held: Collection[Name] = frozenset(),
    now: int,
) -> list[Recorded | Refusal | Returned]:
    """Record submissions in one transaction; return the outcome of each, or why it was refused or returned.

    *held* are the names of earlier submissions that still wait for a locked contact. Raises StartAgain where a contact
    was inserted, merged or deleted elsewhere meanwhile; Changed where a score has moved on, and Conflict where a
    submission of which all or nothing is to be recorded repeats a key with other content, when some of it is written:
    the committer then records the others without it.
    """
    outcomes: list[Recorded | Refusal | Returned] = [Returned()] * len(group)
    workspaces = {workspace.id for workspace, _ in group}
    await definitions.lock_shared(session, workspaces)
    live_types, drafts = await definitions.live_and_drafts(session, workspaces)
    rules = await alert_rules.load_rules(session, workspaces)
    plans = [
        plan_submission(position, workspace, submission, live_types[workspace.id])
        for position, (workspace, submission) in enumerate(group)
    ]
    plans = [await _find_undo_scope(session, plan) for plan in await resolve(session, plans)]
    plans, returned = await _lock_contacts(session, _cut_group(plans), held)
    outcomes = [returned.get(position, outcome) for position, outcome in enumerate(outcomes)]
    plans = await insert_newcomers(session, plans, now=now)
    # In a statement of its own after the lock: read together with it, scores may be older than the lock.
    known = Known(states=await _load_states(session, plans))
    memory: Mapping[Watched, AlertMemory] = {}
    recorded: list[Plan] = []
    for turn in arrange_turns(plans):
        done, known, memory = await _record_turn(session, turn, rules, drafts, known, memory, now=now)
        recorded += done
    recorded.sort(key=lambda plan: plan.position)
    await _queue_readbacks(session, recorded, now=now)
    await _save_deliveries(session, recorded)
    for plan in recorded:
        outcomes[plan.position] = plan.refusal or Recorded(
            outcomes=plan.outcomes, moved=plan.moved, undone=plan.spoken_of, unasked=plan.unasked
        )
    return outcomes


async def _record_turn(
    session: Session,
    plans: Sequence[Plan],
    rules: Mapping[int, Sequence[AlertRule]],
    drafts: Mapping[int, Sequence[ScoreType]],
    known: Known,
    memory: Mapping[Watched, AlertMemory],
    *,
    now: int,
) -> tuple[list[Plan], Known, Mapping[Watched, AlertMemory]]:
    """Take plans that share no contact from append to alerts."""
    plans = [await _regroup(session, plan) for plan in plans]
    if any(plan.regrouping or plan.undo for plan in plans):
        known = Known(states=await _load_states(session, plans))
    states = known.states
    for plan in plans:
        _check_unchanged(plan, states)
    plans = [await erasing.stamp_deletions(session, plan) for plan in plans]
    plans = [await _mark_undone(session, plan) for plan in await _append_facts(session, plans, states)]
    plans = [await _erase_contacts(session, plan) for plan in plans]
    if any(plan.regrouping for plan in plans):
        known = Known(states=await _load_states(session, plans))
    plans, known = await project(session, plans, known)
    if drafts:
        await redefining.project_into_drafts(session, plans, drafts)
    await save_fields(session, plans, now=now)  # last: both projections begin with the fields as they were
    plans, memory = await alert_decisions.decide_all(session, plans, rules, memory, now=now)
    return plans, known, memory


async def _find_undo_scope(session: Session, plan: Plan) -> Plan:
    """Find what an undo bears on."""
    submission = plan.submission
    if submission.undoes is None:
        return plan
    undo = Undo(
        source=submission.source, key=submission.batch, batch=submission.batch, actor=submission.actor,
        occurred_at=submission.received_at, undoes=submission.undoes,
    )  # fmt: skip  # what it is and whose, what it names
    batch = submission.undoes
    while members := list(await facts.batch_members(session, plan.workspace.id, batch)):
        if members[0]["kind"] != "undo":
            break
        batch = str(members[0]["undoes"])  # undoing an undo bears on what that one undid
    if not members:
        return plan.refuse_whole(NothingToUndo())
    scores = [
        (row["contact_id"], key)
        for row in members
        for key, score_type in plan.types.items()
        if row["subject"] == key or _is_used_by_rules(row, score_type)
    ]
    links = tuple(id for row in members if row["other_id"] for id in (row["contact_id"], row["other_id"]))
    spoken_of = tuple(sorted({*(row["contact_id"] for row in members), *links}))
    scope = UndoScope(undo=undo, scores=tuple(dict.fromkeys(scores)), contacts=spoken_of, links=links)
    return replace(plan, undo=scope, roots=await contacts.roots(session, spoken_of))


def _is_used_by_rules(row: Row, score_type: ScoreType) -> bool:
    """Return whether the rules of a type ask about a fact."""
    rules = compile_rules(score_type.rules)
    is_activity = row["activity"] is not None and rules.bears(row["activity"])
    return rules.holds_from_first_fact or is_activity or (rules.asks_fields and row["said"] != "{}")


def _cut_group(plans: Sequence[Plan]) -> Sequence[Plan]:
    """Cut a group before a plan that needs it to itself, or after that plan where it comes first.

    What an undo undoes may be written by a plan before it, and regrouping changes whom the plans after it mean.
    """
    for index, plan in enumerate(plans):
        if plan.joined or plan.submission.undoes is not None:
            return plans[: max(index, 1)]
    return plans


async def _lock_contacts(
    session: Session, plans: Sequence[Plan], held: Collection[Name]
) -> tuple[list[Plan], dict[int, Returned]]:
    """Lock the contacts of plans; return the plans that go on, and by position those that wait for a contact.

    A plan waits where one of its contacts is locked by another transaction, or an earlier plan waits for that contact.
    """
    plans = [
        replace(plan, members=await merging.load_members(session, plan)) if plan.joined else plan for plan in plans
    ]
    expected: dict[int, int] = {}
    for plan in plans:
        rows = {*(row for planned in plan.items for row in planned.rows if row > 0), *plan.spoken_of}
        expected |= {row: plan.roots[row] for row in rows} | dict(plan.members)
    expected |= {root: root for root in expected.values()}
    waiting: set[Name] = {*held}
    waiting |= await contacts.lock_available(session, expected) if expected else set()
    free: list[Plan] = []
    returned: dict[int, Returned] = {}
    for plan in plans:
        names = plan.names if waiting else set()
        if names.isdisjoint(waiting):
            free.append(plan)
        else:
            waiting |= names
            returned[plan.position] = Returned(names=frozenset(names))
    for plan in free:
        # A row joins or leaves a contact under the lock of that contact, so that the members stay the same from now on.
        if plan.members and await merging.load_members(session, plan) != plan.members:
            raise contacts.StartAgain
    return free, returned


async def _regroup(session: Session, plan: Plan) -> Plan:
    """Append the undo and the links of a plan, and merge and split contacts accordingly."""
    if plan.undo is not None:
        plan = await _append_undo(session, plan, plan.undo)
    if plan.joined:
        await _append_links(session, plan)
        plan, moved = await merging.regroup(session, plan)
        await alert_memory.regroup_memory(session, moved)
        roots = {**plan.roots, **(plan.regrouping.roots if plan.regrouping else {})}
        items = tuple(
            replace(planned, contact=roots[planned.rows[0]])
            for planned in plan.items
            if planned.kind is not ItemKind.MERGE
        )
        plan = replace(plan, items=items, roots=roots)
    if plan.undo is not None:
        scores = dict.fromkeys((plan.roots[row], key) for row, key in plan.undo.scores)
        spoken_of = sorted({plan.roots[row] for row in plan.undo.contacts})
        plan = replace(plan, undo=replace(plan.undo, scores=tuple(scores), contacts=tuple(spoken_of)))
    return plan


async def _append_undo(session: Session, plan: Plan, scope: UndoScope) -> Plan:
    key = facts.fact_key(plan.workspace.id, scope.undo)
    if await facts.load_stored(session, [key]):
        return replace(plan, undo=None)  # a repeat of this very request
    if await facts.undone_of(session, plan.workspace.id, [scope.undo.undoes]):
        return plan.refuse_whole(NothingToUndo("that was undone already"))
    await facts.append(session, {key: (None, scope.undo)}, received_at={key: plan.submission.received_at})
    return plan


async def _append_links(session: Session, plan: Plan) -> None:
    """Append which contacts prove to be one; raises StartAgain where another transaction did just now."""
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    for planned in plan.items:
        for link in planned.links:
            new[plan.link_key(planned, link[0])] = (link[1], plan.merged(planned, link))
    received_at = dict.fromkeys(new, plan.submission.received_at)
    if new and len(await facts.append(session, new, received_at=received_at)) < len(new):
        raise contacts.StartAgain


async def _load_states(session: Session, plans: Sequence[Plan]) -> dict[Scored, ScoreState]:
    """Return the states of all scores that plans may change, as they are before that."""
    types = {pair: plan.types[pair[1]] for plan in plans for pair in plan.pairs}
    states = await projection.load_states(session, {pair: score_type.definition for pair, score_type in types.items()})
    states |= {pair: beginning(score_type) for pair, score_type in types.items() if pair not in states}
    return states | {
        pair: merging.carry_state(plan, pair) for plan in plans for pair in plan.pairs if pair[0] in plan.regrouped
    }


def _check_unchanged(plan: Plan, states: Mapping[Scored, ScoreState]) -> None:
    """Raise Changed where the sender has not seen the latest fact of a score that the plan changes."""
    seen_at = plan.submission.unless_later
    scored = [(planned.contact, planned.item.score) for planned in plan.items if planned.item.score]
    if seen_at is not None and any(states[pair].last[0] > seen_at for pair in scored):
        raise Changed


def _stamp_facts(plan: Plan, states: Mapping[Scored, ScoreState]) -> list[tuple[PlannedItem, Fact]]:
    """Time the facts of a plan: one by a person, or stamped by us, comes after all that the score has seen."""
    latest = {pair: states[pair].last[0] for planned in plan.items for pair in planned.pairs}
    stamped = []
    for planned in plan.items:
        at = planned.at
        if planned.item.occurred_at is None or plan.submission.actor:
            at = max([at, *(latest[pair] + 1 for pair in planned.pairs)])
        latest |= {pair: max(latest[pair], at) for pair in planned.pairs}
        stamped.append((planned, plan.fact(planned, at)))
    return stamped


async def _append_facts(session: Session, plans: Sequence[Plan], states: Mapping[Scored, ScoreState]) -> list[Plan]:
    """Append the facts; those that another transaction appended just now are repeats.

    Their writer held the lock of their contact, so what was read under ours has seen what they did.
    Raises StartAgain where they belong to another contact, Conflict as `record_group` says.
    """
    stamped = {plan.position: _stamp_facts(plan, states) for plan in plans}
    new: dict[FactKey, tuple[int | None, Fact]] = {}
    received: dict[FactKey, int] = {}
    contact_of: dict[FactKey, int | None] = {}
    for plan in plans:
        for planned, fact in stamped[plan.position]:
            is_deletion = planned.kind is ItemKind.DELETION
            new[planned.key] = (None if is_deletion else planned.rows[0], fact)
            contact_of[planned.key] = None if is_deletion else planned.contact
            received[planned.key] = plan.submission.received_at
    ids = await facts.append(session, new, received_at=received) if new else {}
    stored = await facts.load_stored(session, new.keys() - ids.keys()) if len(ids) < len(new) else {}
    roots = await contacts.roots(session, {row for row, _, _ in stored.values() if row is not None}) if stored else {}
    if any(contact_of[key] != (None if row is None else roots[row]) for key, (row, _, _) in stored.items()):
        raise contacts.StartAgain
    return [_settle_facts(plan, stamped[plan.position], ids, stored) for plan in plans]


def _settle_facts(
    plan: Plan,
    stamped: Sequence[tuple[PlannedItem, Fact]],
    ids: Mapping[FactKey, int],
    stored: Mapping[FactKey, facts.Stored],
) -> Plan:
    appended: list[NewFact] = []
    repeats: list[PlannedItem] = []
    refused: dict[int, Refusal] = {}
    for planned, fact in stamped:
        if planned.key in ids:
            new = NewFact(fact_id=ids[planned.key], fact=fact, contact=planned.contact, planned=planned)
            appended.append(new)
            continue
        try:
            check_repeat(plan, planned, stored[planned.key], is_same=True)
            repeats.append(planned)
        except Refusal as refusal:
            if plan.submission.all_or_none:
                raise  # others of its facts are written
            refused[planned.position] = refusal
    settled = {**plan.settled, **{planned.position: DUPLICATE for planned in repeats}}
    plan = replace(plan, items=(), new=tuple(appended), settled=settled, repeats=(*plan.repeats, *repeats))
    return plan.refuse(refused)


async def _mark_undone(session: Session, plan: Plan) -> Plan:
    """Mark a plan whose batch was undone before; only what has an actor can be undone."""
    if not (plan.submission.actor and plan.new):
        return plan
    undone = await facts.undone_of(session, plan.workspace.id, [plan.submission.batch])
    return replace(plan, is_undone=bool(undone))


async def _erase_contacts(session: Session, plan: Plan) -> Plan:
    plan, erased = await erasing.erase_contacts(session, plan)
    if erased:
        await alert_memory.delete_memory(session, erased)
    return plan


async def _queue_readbacks(session: Session, plans: Iterable[Plan], *, now: int) -> None:
    """Queue a read-back for contacts that a delivery identified only by the source's id.

    A contact without an address is read once; one about which the delivery said nothing else is always read.
    """
    readbacks = [
        (planned.identities[0], _has_no_content(planned.item))
        for plan in plans
        if plan.submission.delivered is not None and plan.submission.delivered.reads
        # Nothing tells the repeat of an event that says nothing from the next one.
        for planned in (
            *(new.planned for new in plan.new), *(repeat for repeat in plan.repeats if _has_no_content(repeat.item))
        )
        if [namespace for _, namespace, _ in planned.identities] == [plan.submission.source]
        and planned.kind is not ItemKind.DELETION
    ]  # fmt: skip  # who, of what
    if readbacks:
        await readback_queue.enqueue_readbacks(session, readbacks, now=now)


def _has_no_content(item: Item) -> bool:
    return not (item.score or item.activity or item.fields)


async def _save_deliveries(session: Session, plans: Iterable[Plan]) -> None:
    records = [(plan.workspace.id, plan.submission, plan.outcomes) for plan in plans if _should_save_delivery(plan)]
    if records:
        await deliveries.save_deliveries(session, records)


def _should_save_delivery(plan: Plan) -> bool:
    """Return whether a submission is kept as a delivery: what we read of a contact that is gone meanwhile is not."""
    delivered = plan.submission.delivered
    if delivered is None or not delivered.was_read:
        return delivered is not None
    has_problem = bool(plan.refused) or any(isinstance(item, Unusable) for item in plan.submission.items)
    return has_problem and not any(isinstance(refusal, UnknownContact) for refusal in plan.refused.values())
