"""Evaluate alert rules and open or close follow-ups, in the transaction that changed the scores.

Before a write is evaluated, rules are evaluated at the earlier instants at which they fire or re-arm by time alone.
Sweeps do the same for contacts without a write. Both evaluate the same instants in the same order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from storage.alerts import memory as alert_memory
from storage.alerts.conditions import decide_with_conditions
from storage.alerts.decisions import Decisions, Evaluation, IsMet, decide_change, find_author_address, is_idle
from storage.alerts.memory import MemoryKey
from storage.alerts.save_decisions import save_decisions
from storage.db.database import Session
from storage.domain.alerts.memory import AlertMemory
from storage.domain.decay import shown
from storage.domain.texts import match_key
from storage.ledger.plan import Plan
from storage.reading import current_scores


async def decide_all(
    session: Session,
    plans: Sequence[Plan],
    evaluations: Sequence[Evaluation],
    memory: Mapping[MemoryKey, AlertMemory],
    *,
    now: int,
) -> tuple[list[Plan], Mapping[MemoryKey, AlertMemory]]:
    """Evaluate rules for the score changes of plans, as listed by `list_evaluations`. Return plans and alert memory.

    The plans share no contact, and all their other changes are already written. *memory* is the alert memory that this
    transaction has read or written; it is returned with the additions. The returned plans have the number of follow-ups
    that were not opened.
    """
    if not evaluations:
        return list(plans), memory
    missing = {evaluation.memory_key for evaluation in evaluations} - memory.keys()
    loaded = await alert_memory.load_memory(session, missing) if missing else {}
    memory = {**memory, **dict.fromkeys(missing, AlertMemory()), **loaded}
    earlier_values = await _load_earlier_values(session, evaluations)

    compared = [(evaluation, earlier_values.get(position)) for position, evaluation in enumerate(evaluations)]
    undecided = [pair for pair in compared if not is_idle(pair[0], memory[pair[0].memory_key], pair[1])]

    def decide(pair: tuple[Evaluation, int | None], is_met: IsMet) -> Decisions:
        evaluation, earlier = pair
        return decide_change(Decisions(evaluation, memory[evaluation.memory_key]), earlier, is_met=is_met)

    all_decisions = await decide_with_conditions(session, undecided, decide, now=now)
    all_decisions = await _drop_follow_ups_to_author(session, all_decisions, memory)
    saved = await save_decisions(session, all_decisions, memory, now=now)
    muted_counts, own_counts = Counter[int](), Counter[int]()
    for decisions in all_decisions:
        if decisions.evaluation.plan is not None:
            muted_counts[decisions.evaluation.plan.position] += decisions.muted_follow_ups
            own_counts[decisions.evaluation.plan.position] += decisions.own_follow_ups
    plans = [
        replace(plan, muted_follow_ups=muted_counts[plan.position], own_follow_ups=own_counts[plan.position])
        for plan in plans
    ]
    return plans, {**memory, **saved}


async def _drop_follow_ups_to_author(
    session: Session, all_decisions: Sequence[Decisions], memory: Mapping[MemoryKey, AlertMemory]
) -> list[Decisions]:
    """Return the decisions without the follow-ups that would go directly to the author of the change.

    The rule must still re-arm before it fires again for the contact, but its cool-down does not start.
    """
    rows = [
        {"contact": decisions.evaluation.contact, "owner": match_key(address)}
        for decisions in all_decisions
        if (address := find_author_address(decisions)) is not None
    ]
    if not rows:
        return list(all_decisions)
    owned = await session.rows(
        "SELECT c.id, c.owner_key FROM given(contact bigint, owner text)"
        " JOIN contacts c ON c.id = given.contact AND c.owner_key = given.owner"
        " JOIN workspaces w ON w.id = c.workspace_id AND w.alert_channel IS NULL",
        rows,
    )
    own_contacts = {(row["id"], row["owner_key"]) for row in owned}
    remaining = list[Decisions]()
    for decisions in all_decisions:
        address = find_author_address(decisions)
        if address is None or (decisions.evaluation.contact, match_key(address)) not in own_contacts:
            remaining.append(decisions)
            continue
        events = decisions.events[:-1]
        earlier = [event.at for event in events if event.opens is not None]
        fired_at = earlier[-1] if earlier else memory[decisions.evaluation.memory_key].fired_at
        updated = replace(decisions.memory, fired_at=fired_at)
        remaining.append(replace(decisions, events=events, memory=updated, own_follow_ups=1))
    return remaining


async def _load_earlier_values(session: Session, evaluations: Sequence[Evaluation]) -> dict[int, int | None]:
    """Return the scores a span ago, for rules that compare: position in *evaluations* → thousandths or None."""
    requests: dict[int, tuple[int, int, int]] = {}  #: position → (contact, definition of the score type, a span ago)
    for position, evaluation in enumerate(evaluations):
        watch = evaluation.watch
        if watch.compares and evaluation.plan is not None:
            at = evaluation.plan.submission.received_at - watch.span
            requests[position] = (evaluation.contact, watch.score_type.definition, at)
    if not requests:
        return {}
    earlier_values: dict[int, int | None] = {}
    for position, rank in (await current_scores.ranks_then(session, requests)).items():
        _, _, at = requests[position]
        score_type = evaluations[position].watch.score_type
        earlier_values[position] = None if rank is None else shown(score_type, rank, now=at)
    return earlier_values
