"""Save the decisions of alert rules: open and close follow-ups, and save the alert memory."""

from collections.abc import Mapping, Sequence

from storage.alerts import followup_rules
from storage.alerts import memory as alert_memory
from storage.alerts.decisions import Decisions, Instant, Reasons, arrange_events, list_reasons
from storage.alerts.followup_rules import NewFollowUp
from storage.alerts.followups import ADMINS, DIGEST, OWNERS
from storage.alerts.memory import MemoryKey
from storage.db.database import Row, Session
from storage.domain.alerts.memory import AlertMemory
from storage.domain.followups import FollowUpMove


async def save_decisions(
    session: Session, all_decisions: Sequence[Decisions], loaded: Mapping[MemoryKey, AlertMemory], *, now: int
) -> dict[MemoryKey, AlertMemory]:
    """Close and open follow-ups in the order of the decisions. Save and return the alert memory that changed."""
    for turn in arrange_events(all_decisions):
        for move in (FollowUpMove.FALL_BACK, FollowUpMove.TAKE_BACK):
            withdrawn = {memory_key: event.at for memory_key, event in turn.withdrawals.items() if event.move is move}
            await followup_rules.withdraw_rules(session, withdrawn, move=move, now=now)
        await followup_rules.open_follow_ups(session, await make_follow_ups(session, turn.openings), now=now)
    changed = dict[MemoryKey, AlertMemory]()
    for decisions in all_decisions:
        evaluation, memory = decisions.evaluation, decisions.memory
        before = loaded.get(evaluation.memory_key, AlertMemory())
        is_same = memory.has_same_state(before) and (memory.cause, memory.found) == (before.cause, before.found)
        if not is_same or evaluation.watch.is_behind(before, evaluation.state, now=memory.seen_at):
            changed[evaluation.memory_key] = memory
    await alert_memory.save_memory(session, changed)
    return changed


async def make_follow_ups(session: Session, instants: Sequence[Instant]) -> list[NewFollowUp]:
    """Return the follow-ups that rules open at these instants. They are not saved."""
    if not instants:
        return []
    rows = await session.rows(
        "SELECT c.id, c.owner_key, w.alert_channel FROM given(id bigint) JOIN contacts c ON c.id = given.id"
        " JOIN workspaces w ON w.id = c.workspace_id",
        [{"id": id} for id in sorted({instant.evaluation.contact for instant in instants})],
    )
    rows_by_id = {row["id"]: row for row in rows}
    plans = {plan.position: plan for instant in instants if (plan := instant.evaluation.plan) is not None}
    reasons = {position: list_reasons(plan) for position, plan in plans.items()}
    return [_make_follow_up(instant, rows_by_id[instant.evaluation.contact], reasons) for instant in instants]


def _make_follow_up(instant: Instant, row: Row, reasons: Mapping[int, Reasons]) -> NewFollowUp:
    evaluation, rule = instant.evaluation, instant.evaluation.rule
    # A follow-up opened by time alone has no source, actor or reason.
    plan = None if instant.by_time else evaluation.plan
    scored = (evaluation.contact, evaluation.watch.score_type.key)
    owner = f"{OWNERS}{row['owner_key']}" if row["owner_key"] else ADMINS
    return NewFollowUp(
        workspace=evaluation.workspace.id,
        rule=rule.id,
        contact=evaluation.contact,
        score=evaluation.watch.score_type.key,
        before=instant.before,
        after=instant.after,
        source="" if plan is None else plan.submission.source,
        actor=None if plan is None else plan.submission.actor,
        reason=None if plan is None else reasons[plan.position].get(scored),
        lane=DIGEST if rule.in_digest else rule.channel or row["alert_channel"] or owner,
        at=instant.at,
        why=None if evaluation.watch.is_shown_by_score else evaluation.watch.words,
        words=f"{evaluation.watch.words} if {rule.condition}" if rule.condition else evaluation.watch.words,
        sla=rule.sla,
        escalate_to=rule.escalate_to,
    )
