"""Record groups of submissions: the one write path, one transaction per group.

resolve → lock → append → project → alerts → jobs; each phase takes plans and returns plans. The first two run once for
the whole group and never repeat within a transaction, so that concurrent groups cannot deadlock. The next three run in
turns: no two plans of a turn share a contact, and a turn reads what earlier turns wrote. Every submission is therefore
decided as if it were recorded alone. A submission that merges, splits or deletes contacts, or undoes a batch, has a
group of its own.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from storage.alerts.decide import decide_all
from storage.alerts.decisions import list_evaluations, reads_scores
from storage.alerts.memory import MemoryKey
from storage.alerts.newcomers import ask_newcomers_of_plans
from storage.alerts.rules import AlertRule
from storage.db.database import Session
from storage.domain.alerts.memory import AlertMemory
from storage.domain.errors import Refusal, SourceChanged, UnknownContact
from storage.domain.facts import Item, Unusable
from storage.domain.fold import make_initial_state
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, Submission
from storage.ledger import projection
from storage.ledger.announce import announce
from storage.ledger.append import append_facts
from storage.ledger.config_cache import ConfigCache, Configs
from storage.ledger.erase import erase_contacts, stamp_deletions
from storage.ledger.existence import save_existence
from storage.ledger.lock import Returned, lock_plans
from storage.ledger.merge import carry_state, regroup_contacts
from storage.ledger.plan import ItemKind, OrderingKey, Plan, arrange_turns, cut_group, plan_submission
from storage.ledger.project import LoadedScores, project, save_fields, save_scores
from storage.ledger.resolve import resolve_contacts
from storage.ledger.undo import append_undo, find_undo_scope
from storage.ledger.words import save_words
from storage.scoring import definitions
from storage.scoring.draft_scores import project_into_drafts
from storage.sources import deliveries, readback_queue


async def record_group(
    session: Session,
    group: Sequence[tuple[Workspace, Submission]],
    config_cache: ConfigCache,
    *,
    blocked: Collection[OrderingKey] = frozenset(),
    now: int,
) -> list[Recorded | Refusal | Returned]:
    """Record submissions in one transaction. Return for each the outcome, the refusal, or its return to the queue.

    A delivery is refused with SourceChanged if its source changed since it was authenticated.
    *blocked* are the ordering keys of earlier submissions that still wait for a locked contact. Raises StartAgain if
    another transaction inserted, merged or deleted a contact meanwhile, and RefoldNeeded if contacts must be
    recalculated after an undo first. Raises Changed or Conflict if a submission is refused after some of it may have
    been written; the committer then records the others without it.
    """
    outcomes: list[Recorded | Refusal | Returned] = [Returned()] * len(group)
    workspaces = {workspace.id for workspace, _ in group}
    await definitions.lock_shared(session, workspaces)
    configs = await config_cache.load(session, workspaces)
    rules = configs.rules
    plans: list[Plan] = []
    for position, (workspace, submission) in enumerate(group):
        if _is_source_changed(workspace, submission, configs):
            outcomes[position] = SourceChanged()
        else:
            plans.append(plan_submission(position, workspace, submission, configs.types[workspace.id]))
    plans = await resolve_contacts(session, plans)
    plans = [plan if plan.submission.undoes is None else await find_undo_scope(session, plan) for plan in plans]
    plans, returned = await lock_plans(session, cut_group(plans), blocked, now=now)
    outcomes = [returned.get(position, outcome) for position, outcome in enumerate(outcomes)]
    await ask_newcomers_of_plans(session, plans, rules, now=now)
    # Scores are read in a statement after the lock: read together with the lock, they might be older.
    scores = await _load_scores(session, plans)
    memory: Mapping[MemoryKey, AlertMemory] = {}
    recorded: list[Plan] = []
    for turn in arrange_turns(plans):
        recorded_turn, scores, memory = await _record_turn(
            session, turn, rules, configs.drafts, scores, memory, now=now
        )
        recorded += recorded_turn
    await save_scores(session, scores)
    await save_words(session, session.reworded)
    recorded.sort(key=lambda plan: plan.position)
    await _queue_readbacks(session, recorded, now=now)
    await announce(session, recorded, configs.readerships, now=now)
    await _save_deliveries(session, recorded)
    for plan in recorded:
        outcomes[plan.position] = plan.refusal or Recorded(
            outcomes=plan.outcomes,
            score_changes=plan.score_changes,
            undone=plan.undone_contacts,
            muted_follow_ups=plan.muted_follow_ups,
            own_follow_ups=plan.own_follow_ups,
            pending=plan.pending,
        )
    return outcomes


def _is_source_changed(workspace: Workspace, submission: Submission, configs: Configs) -> bool:
    version = None if submission.delivered is None else submission.delivered.version
    return version is not None and version != configs.versions[workspace.id]


async def _record_turn(
    session: Session,
    plans: Sequence[Plan],
    rules: Mapping[int, Sequence[AlertRule]],
    drafts: Mapping[int, Sequence[ScoreType]],
    scores: LoadedScores,
    memory: Mapping[MemoryKey, AlertMemory],
    *,
    now: int,
) -> tuple[list[Plan], LoadedScores, Mapping[MemoryKey, AlertMemory]]:
    """Run the phases from append to alerts for plans that share no contact.

    *scores* and *memory* are the scores and the alert memory that the transaction has loaded. Both are returned as
    they are afterwards.
    """
    regroups = any(plan.rows_to_regroup or plan.undo for plan in plans)  # such a plan is alone in its group
    if regroups:
        plans = [await regroup_contacts(session, await append_undo(session, plan), now=now) for plan in plans]
        scores = await _load_scores(session, plans)  # other facts belong to the scores now
        plans = [await stamp_deletions(session, plan) for plan in plans]
    plans = await append_facts(session, plans, scores.states)
    if regroups:
        plans = [await erase_contacts(session, plan, now=now) for plan in plans]
        if any(plan.regrouping for plan in plans):
            scores = await _load_scores(session, plans)
    plans, scores = await project(session, plans, scores)
    evaluations = list_evaluations(plans, rules)
    if any(reads_scores(evaluation.rule) for evaluation in evaluations):
        scores = await save_scores(session, scores)
    if drafts:
        await project_into_drafts(session, plans, drafts)
    await save_fields(session, plans, now=now)  # last: both projections above start from the fields before the plans
    await save_existence(session, plans)
    plans, memory = await decide_all(session, plans, evaluations, memory, now=now)
    return plans, scores, memory


async def _load_scores(session: Session, plans: Sequence[Plan]) -> LoadedScores:
    """Return the states of all scores that plans may change, as they are before the change."""
    types = {score_id: plan.types[score_id[1]] for plan in plans for score_id in plan.score_ids}
    stored = await projection.load_states(
        session,
        {
            score_id: score_type.definition
            for score_id, score_type in types.items()
            if score_id[0] not in session.untouched
        },
    )
    states = {
        score_id: stored.get(score_id) or make_initial_state(score_type) for score_id, score_type in types.items()
    }
    regrouped = {
        score_id: carry_state(plan, score_id)
        for plan in plans
        for score_id in plan.score_ids
        if score_id[0] in plan.regrouped_contacts
    }
    return LoadedScores(states={**states, **regrouped}, missing=frozenset(types.keys() - stored.keys()))


async def _queue_readbacks(session: Session, plans: Iterable[Plan], *, now: int) -> None:
    """Queue a read-back for contacts that a delivery identified only by the source's id.

    A contact without an address is read once. A contact is always read if the delivery contains nothing else about it.
    """
    readbacks = [
        (planned.identities[0], _has_no_content(planned.item))
        for plan in plans
        if plan.submission.delivered is not None and plan.submission.delivered.reads
        # A repeat of an event without content cannot be distinguished from the next event, so it is read back as well.
        for planned in (
            *(new.planned for new in plan.new_facts),
            *(repeat for repeat in plan.repeats if _has_no_content(repeat.item)),
        )
        if [namespace for _, namespace, _ in planned.identities] == [plan.submission.source]
        and planned.kind is not ItemKind.DELETION
    ]  # fmt: skip  # arguments grouped by meaning
    if readbacks:
        await readback_queue.enqueue_readbacks(session, readbacks, now=now)


def _has_no_content(item: Item) -> bool:
    return not (item.score or item.activity or item.fields)


async def _save_deliveries(session: Session, plans: Iterable[Plan]) -> None:
    records = [(plan.workspace.id, plan.submission, plan.outcomes) for plan in plans if _should_save_delivery(plan)]
    if records:
        await deliveries.save_deliveries(session, records)


def _should_save_delivery(plan: Plan) -> bool:
    """Return whether to store a submission as a delivery. A read-back is stored only if it has a problem to look at.

    A read-back of a contact that was deleted meanwhile is not stored.
    """
    delivered = plan.submission.delivered
    if delivered is None or not delivered.was_read:
        return delivered is not None
    has_problem = bool(plan.refusals) or any(isinstance(item, Unusable) for item in plan.submission.items)
    return has_problem and not any(isinstance(refusal, UnknownContact) for refusal in plan.refusals.values())
