"""Build, apply and delete drafts of score types in jobs, a slice at a time: a restart loses at most one slice.

A newcomer is a contact that the new definition moves into the region of an alert rule. A draft that is applied with
alerts opens follow-ups for newcomers.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from storage.alerts import enroll, newcomers
from storage.alerts import rules as alert_rules
from storage.db import database
from storage.db.database import Session
from storage.domain.alerts.kinds import Watch
from storage.domain.errors import Refusal
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.job_runner import Handler, JobResult
from storage.jobs import Job, NewJob, enqueue
from storage.scoring import definitions
from storage.scoring.draft_scores import (
    delete_next,
    fold_contacts,
    load_next_ids,
    run_in_transaction,
)
from storage.sources.writeback_queue import enqueue_refresh

BUILD, APPLY, DELETE = "build_draft", "apply_draft", "delete_scores"  #: the kinds of the jobs
LANE = "draft/"  #: prefix of the lane of a definition's jobs; the definition's row id follows
ASKING, CANCELED = "/ask", "/canceled"  #: suffixes of a job key: apply with alerts; delete the definition too


class NoDraft(Refusal):
    """That draft no longer exists: it was applied or canceled."""


def make_apply_job(workspace: Workspace, draft: ScoreType, *, now: int) -> NewJob:
    """Return the job that builds a draft and makes it live without follow-ups."""
    return make_draft_job(workspace, APPLY, draft.definition, now=now)


def make_deletion_job(workspace: Workspace, definition: ScoreType, *, now: int) -> NewJob:
    """Return the job that deletes the scores and effects of a definition that is not in use."""
    return make_draft_job(workspace, DELETE, definition.definition, now=now)


def lane_of(draft: ScoreType) -> str:
    """Return the lane of a draft's jobs."""
    return f"{LANE}{draft.definition}"


def make_draft_job(workspace: Workspace, kind: str, definition: int, *, suffix: str = "", now: int) -> NewJob:
    """Return a job of a kind for a definition, by its row id."""
    return NewJob(
        workspace=workspace.id, kind=kind, lane=f"{LANE}{definition}", key=f"{definition}{suffix}", subject=definition,
        due_at=now,
    )  # fmt: skip  # arguments grouped by meaning


def make_handlers(clock: Callable[[], int], *, on_built: Callable[[int], None] = lambda _: None) -> dict[str, Handler]:
    """Return the handlers that build drafts, apply drafts and delete the scores of a definition, in slices.

    The first two raise NoDraft. *on_built* gets the number of contacts that each slice of the building job has built.
    """

    async def build_slice(workspace: Workspace, job: Job) -> JobResult:
        draft = await definitions.load_draft(workspace, definition=job.subject)
        if draft is None:
            raise NoDraft
        ids = await _build_next(workspace, draft, after=job.position)
        on_built(len(ids))
        return JobResult(next_position=ids[-1]) if ids else JobResult()

    async def apply_slice(workspace: Workspace, job: Job) -> JobResult:
        draft, now = await definitions.load_draft(workspace, definition=job.subject), clock()
        if draft is None:  # it is live: open the follow-ups for newcomers, then delete the previous definition's scores
            if not await definitions.is_applied(workspace, definition=job.subject):
                raise NoDraft
            if await newcomers.ask_next_newcomers(workspace, definition=job.subject, now=now):
                return JobResult(next_position=job.position)
            await _enqueue_deletion(workspace, job.subject, now=now)
            return JobResult()
        if ids := await _build_next(workspace, draft, after=job.position):
            return JobResult(next_position=ids[-1])
        # The follow-ups for the newcomers of the previous definition are opened first.
        for live in await definitions.score_types(workspace):
            if live.key == draft.key and await newcomers.ask_next_newcomers(
                workspace, definition=live.definition, now=now
            ):
                return JobResult(next_position=job.position)
        with_alerts = job.key.endswith(ASKING)
        await database.write(partial(make_live, workspace=workspace, draft=draft, with_alerts=with_alerts, now=now))
        return JobResult(next_position=job.position)

    async def delete_slice(workspace: Workspace, job: Job) -> JobResult:
        if await definitions.is_in_use(database.current_database().reader, definition=job.subject):
            return JobResult()
        for table in ("effects", "scores"):
            if await delete_next(table, job.subject):
                return JobResult(next_position=job.position + 1)
        if job.key.endswith(CANCELED):
            await definitions.delete(workspace, definition=job.subject)
        return JobResult()

    return {BUILD: build_slice, APPLY: apply_slice, DELETE: delete_slice}


async def _build_next(workspace: Workspace, draft: ScoreType, *, after: int) -> list[int]:
    """Build a draft for the next contacts after *after*. Return their ids; an empty list means that none are left."""
    ids = await load_next_ids(database.current_database().reader, workspace, draft, after=after, built=False)
    if ids:
        await _build_contacts(workspace, draft, ids)
    return ids


async def _enqueue_deletion(workspace: Workspace, definition: int, *, now: int) -> None:
    """Enqueue the job that deletes the scores of the definition that a definition replaced."""

    async def body(session: Session) -> None:
        replaced = await definitions.load_replaced(session, definition=definition)
        if replaced is not None:
            await enqueue(session, [make_deletion_job(workspace, replaced, now=now)], now=now)

    await database.write(body)


async def make_live(session: Session, workspace: Workspace, *, draft: ScoreType, with_alerts: bool, now: int) -> None:
    """Build the rest of a draft and make it live under the exclusive lock of the definitions. Raises NoDraft.

    Nothing changes while follow-ups for newcomers of the previous definition are still to be opened. With
    *with_alerts*, `newcomers.ask_next_newcomers` opens those of the draft afterwards.
    """
    await definitions.lock_exclusively(session, workspace)
    types = (await definitions.live(session, {workspace.id}))[workspace.id]
    previous = types.get(draft.key)  # None: a removed type is added again
    if previous and await definitions.lock_asking(session, definition=previous.definition) is not None:
        return
    while ids := await load_next_ids(session, workspace, draft, after=0, built=False):
        await fold_contacts(session, workspace, draft, ids)
    if not await definitions.point_at_draft(session, workspace, draft, previous=previous, now=now):
        raise NoDraft
    await enqueue_refresh(session, workspace, now=now)
    if await reenroll_rules(
        session, workspace, types.values(), alerts_about=draft.key if with_alerts else None, now=now
    ):
        await definitions.begin_asking(session, definition=draft.definition)


async def _build_contacts(workspace: Workspace, draft: ScoreType, ids: Sequence[int]) -> None:
    async def body(session: Session, ids: Sequence[int]) -> None:
        if not await definitions.is_draft(session, draft):
            raise NoDraft
        await fold_contacts(session, workspace, draft, ids)

    await run_in_transaction(body, ids)


async def reenroll_rules(
    session: Session,
    workspace: Workspace,
    types_before: Collection[ScoreType],
    *,
    alerts_about: str | None = None,
    now: int,
) -> bool:
    """Restart the enrollment of the rules that no longer watch the same as under *types_before*.

    The rules about the score type *alerts_about* open follow-ups for newcomers, if their kind does so. Return whether
    there is such a rule.
    """
    types = (await definitions.live(session, {workspace.id}))[workspace.id].values()
    changed, asking = list[int](), list[int]()
    for rule in (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, []):
        old_watch, new_watch = rule.watch(types_before), rule.watch(types)
        if new_watch is None:
            changed.append(rule.id)
        elif old_watch is None or not _is_same_watch(old_watch, new_watch):
            opens_for_newcomers = newcomers.asks_newcomers(rule, new_watch, score=alerts_about)
            (asking if opens_for_newcomers else changed).append(rule.id)
    await restart_enrollment(session, workspace, changed, now=now)
    await alert_rules.restart_enrollment(session, asking, asks=True, now=now)
    return bool(asking)


async def restart_enrollment(session: Session, workspace: Workspace, changed: Collection[int], *, now: int) -> None:
    """Restart the enrollment of rules, by their row ids. No follow-up is opened."""
    await alert_rules.restart_enrollment(session, changed, now=now)
    rules = (await alert_rules.load_rules(session, [workspace.id])).get(workspace.id, [])
    await enroll.begin_to_watch(session, workspace, [rule for rule in rules if rule.id in changed], now=now)


def _is_same_watch(before: Watch, after: Watch) -> bool:
    """Return whether a rule watches the same region of the same definition. The label and band names may differ."""
    is_same_score = before.score_type.definition == after.score_type.definition
    return is_same_score and replace(before, score_type=after.score_type) == after
