"""Find what an undo affects, and append the undo to the ledger."""

from dataclasses import replace

from storage.audit import AuditAction, record_change
from storage.db.database import Row, Session
from storage.domain.errors import NothingToUndo
from storage.domain.facts import Undo
from storage.domain.rules import compile_rules
from storage.domain.score_types import ScoreType
from storage.ledger import contacts, facts, refold
from storage.ledger.batches import count_contacts, list_batch_facts, load_undone_batches, resolve_undo
from storage.ledger.plan import Plan, UndoScope

IMPORT_PREFIX = "import/"  #: the prefix of the batch of an import
MOST_UNDONE_AT_ONCE = 200  #: the most contacts that an undo recalculates in its own transaction


async def find_undo_scope(session: Session, plan: Plan) -> Plan:
    """Return the plan of an undo with the scope of the undo. Refuse the plan if the batch does not exist."""
    submission = plan.submission
    assert submission.undoes is not None
    undo = Undo(
        source=submission.source, key=submission.batch, batch=submission.batch, actor=submission.actor,
        occurred_at=submission.received_at, undoes=submission.undoes,
    )  # fmt: skip  # arguments grouped by meaning
    workspace = plan.workspace.id
    resolved = await resolve_undo(session, workspace, submission.undoes)
    if resolved is None:
        return plan.refuse_whole(NothingToUndo())
    batch, restores = resolved
    restores ^= bool(submission.refolds)  # a submission with *refolds* names the undo, not the batch to undo
    if submission.defers:
        number = await count_contacts(session, workspace, batch, most=MOST_UNDONE_AT_ONCE + 1)
        if number > MOST_UNDONE_AT_ONCE:
            return replace(plan, undo=UndoScope(undo=undo, batch=batch, restores=restores, deferred=True))
    batch_facts = await list_batch_facts(session, workspace, batch, contacts=submission.refolds)
    scores = [
        (row["contact_id"], key)
        for row in batch_facts
        for key, score_type in plan.types.items()
        if row["subject"] == key or _is_used_by_rules(row, score_type)
    ]
    links = tuple(id for row in batch_facts if row["other_id"] for id in (row["contact_id"], row["other_id"]))
    undone_contacts = tuple(sorted({*(row["contact_id"] for row in batch_facts), *links}))
    scope = UndoScope(
        undo=undo, batch=batch, restores=restores,
        scores=tuple(dict.fromkeys(scores)), contacts=undone_contacts, links=links,
    )  # fmt: skip  # the undo, then what it affects
    return replace(plan, undo=scope, roots=await contacts.load_roots(session, undone_contacts))


def _is_used_by_rules(row: Row, score_type: ScoreType) -> bool:
    """Return whether the rules of a score type refer to a fact."""
    rules = compile_rules(score_type.rules)
    is_activity = row["activity"] is not None and rules.has_rule_for(row["activity"])
    return rules.holds_from_first_fact or is_activity or (rules.reads_fields and row["said"] != "{}")


async def append_undo(session: Session, plan: Plan) -> Plan:
    """Append the undo of a plan, if it has one. Refuse the plan if the batch is undone already.

    A repeat of the same request changes nothing. A submission with *refolds* only clears the marks of its contacts. For
    a deferred undo, the contacts are marked, and the job that recalculates them is enqueued.
    """
    scope, submission = plan.undo, plan.submission
    if scope is None:
        return plan
    if submission.refolds:
        await refold.clear_marks(session, undo=submission.batch, contacts=submission.refolds)
        return plan
    key = facts.make_fact_key(plan.workspace.id, scope.undo)
    if await facts.load_stored(session, [key]):
        return replace(plan, undo=None)  # a repeat of the same request
    if await load_undone_batches(session, plan.workspace.id, [scope.undo.undoes]):
        return plan.refuse_whole(NothingToUndo("that was undone already"))
    now = submission.received_at
    await facts.insert_facts(session, {key: (None, scope.undo)}, received_at={key: now})
    if scope.batch.startswith(IMPORT_PREFIX):
        is_undo = await load_undone_batches(session, plan.workspace.id, [scope.batch])
        await record_change(
            session, plan.workspace, who=submission.author,
            what=AuditAction.IMPORT_UNDONE if is_undo else AuditAction.IMPORT_RESTORED, subject=scope.batch,
            before=None, after={"batch": submission.batch}, now=now,
        )  # fmt: skip  # who and what, then the states
    if not scope.deferred:
        return plan
    pending = await refold.mark_contacts(session, plan.workspace, batch=scope.batch, undo=submission.batch, now=now)
    return replace(plan, pending=pending)
