"""Change a score type through a draft: a new definition that is built next to the live one, previewed, then applied.

New facts are projected into a draft too, for every contact that is built already; the other contacts are built by the
job. A draft changes no visible score until it is applied, and it can be canceled. Jobs build, apply and delete drafts
in slices, so that a restart loses at most one slice.

A newcomer is a contact that the new definition moves into the region of an alert rule. A draft that is applied with
alerts opens follow-ups for newcomers.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from storage.alerts import enroll, newcomers
from storage.alerts import rules as alert_rules
from storage.alerts.followup_rules import NewFollowUp
from storage.db import database
from storage.db.database import Session
from storage.domain.alerts.kinds import Watch
from storage.domain.errors import Refusal, UnknownScoreType
from storage.domain.people import Workspace
from storage.domain.rules import check_rules
from storage.domain.score_types import ScoreType, check_definition
from storage.job_runner import Handler, JobResult, run_here
from storage.jobs import Job, NewJob, enqueue
from storage.scoring import definitions
from storage.scoring.draft_scores import (
    compare_values,
    count_built,
    delete_next,
    fold_contacts,
    load_next_ids,
    run_in_transaction,
)
from storage.sources.writeback_queue import enqueue_refresh

BUILD, APPLY, DELETE = "build_draft", "apply_draft", "delete_scores"  #: the kinds of the jobs
LANE = "draft/"  #: prefix of the lane of a definition's jobs; the definition's row id follows
ASKING, CANCELED = "/ask", "/canceled"  #: suffixes of a job key: apply with alerts; delete the definition too
FIRST = 10  #: the number of contacts that a preview lists


#: the change of a contact's score: the contact, and the value before and after, in thousandths
Change: TypeAlias = tuple[int, int | None, int | None]


class NoDraft(Refusal):
    """That draft no longer exists: it was applied or canceled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The changes that applying a draft would make at an instant."""

    draft: ScoreType
    changed: int  #: contacts with a score that would change, appear or disappear
    entering: int  #: contacts that would enter the top band
    leaving: int
    others: int  #: contacts that would change and neither enter nor leave
    follow_ups: int  #: follow-ups that the alert rules would open, after conditions and cool-downs
    first_entering: tuple[Change, ...]
    first_leaving: tuple[Change, ...]
    first_others: tuple[Change, ...]
    first_follow_ups: tuple[NewFollowUp, ...]


async def create_draft(workspace: Workspace, *, proposed: ScoreType, by: str, now: int) -> ScoreType | None:
    """Insert a draft of a score type and return it. *wanted* is the live definition with the desired changes.

    A change of only labels, band names, colors or the default type is applied at once, and None is returned. With
    other changes, the default type is still set at once. Raises BadDefinition, UnknownScoreType.
    """
    start = check_definition(
        label=proposed.label, minimum=proposed.minimum, maximum=proposed.maximum, step=proposed.step,
        start=proposed.start, bands=proposed.bands, half_life=proposed.half_life,
    )  # fmt: skip  # the values of one definition together
    check_rules(proposed.rules, proposed)
    proposed = replace(proposed, start=start, label=proposed.label.strip())

    async def body(session: Session) -> ScoreType | None:
        types = (await definitions.live(session, {workspace.id}))[workspace.id]
        live = types.get(proposed.key)
        if live is None:
            raise UnknownScoreType(proposed.key)
        if proposed.is_default and not live.is_default:
            await definitions.set_default(session, workspace, key=proposed.key, by=by, now=now)
            await _reenroll(session, workspace, types.values(), now=now)
        if changes_only_names(live, proposed):
            await definitions.rename(
                session, workspace, live, label=proposed.label, bands=proposed.bands, by=by, now=now
            )
            return None
        # Transactions that read the definitions without the draft have ended once the lock is acquired; later ones see
        # the draft.
        await definitions.lock_exclusively(session, workspace)
        return await definitions.insert_draft(session, live, proposed, now=now)

    return await database.write(body)


def changes_only_names(live: ScoreType, proposed: ScoreType) -> bool:
    """Return whether no score and no band boundary differs: only labels, band names, colors or the default type do."""
    relabeled = replace(live, label=proposed.label, bands=proposed.bands, is_default=proposed.is_default)
    band_starts = [[band.start for band in definition.bands] for definition in (live, proposed)]
    return band_starts[0] == band_starts[1] and relabeled == replace(
        proposed, definition=live.definition, number=live.number
    )


async def build(
    workspace: Workspace,
    *,
    draft: ScoreType,
    progress: Callable[[int], None] = lambda _: None,
    clock: Callable[[], int],
    patience: float | None = None,
) -> bool:
    """Build a draft in a job of this process: calculate the score of every contact.

    *progress* gets the number of contacts built so far. Return False if *patience* seconds were not enough; the service
    then continues the job. Raises NoDraft.
    """
    done = await count_built(workspace, draft)
    progress(done)

    def add(count: int) -> None:
        nonlocal done
        done += count
        if count:
            progress(done)

    job = _make_job(workspace, BUILD, draft.definition, now=clock())
    handler = make_handlers(clock, on_built=add)[BUILD]
    return await run_here(workspace, handler=handler, job=job, clock=clock, patience=patience)


async def is_built(workspace: Workspace, *, draft: ScoreType) -> bool:
    """Return whether a draft has a score for every contact."""
    return not await load_next_ids(database.current_database().reader, workspace, draft, after=0, built=False)


async def preview(workspace: Workspace, *, draft: ScoreType, now: int) -> Preview:
    """Compare a built draft with the live definition. Raises UnknownScoreType if the score type does not exist."""
    live = await definitions.score_type(workspace, key=draft.key)
    changed, entering, leaving, others = 0, _Changes(), _Changes(), _Changes()
    async for values in compare_values(workspace, live, draft, now=now):
        for contact, before, after in values:
            changed += before != after
            was_top, is_top = live.is_top(before), draft.is_top(after)
            if is_top is not was_top:
                (entering if is_top else leaving).add((contact, before, after))
            elif before != after:
                others.add((contact, before, after))
    follow_ups, first_follow_ups = await newcomers.preview_newcomers(workspace, draft=draft, most=FIRST, now=now)
    return Preview(
        draft=draft, changed=changed, follow_ups=follow_ups, first_follow_ups=tuple(first_follow_ups),
        entering=entering.count, leaving=leaving.count, others=others.count,
        first_entering=tuple(entering.first), first_leaving=tuple(leaving.first), first_others=tuple(others.first),
    )  # fmt: skip  # the counts, then the first contacts


@dataclass(slots=True)
class _Changes:
    """The number of some changes, and the first of them."""

    count: int = 0
    first: list[Change] = field(default_factory=list)

    def add(self, change: Change) -> None:
        """Count a change."""
        self.count += 1
        if len(self.first) < FIRST:
            self.first.append(change)


async def apply(
    workspace: Workspace,
    *,
    draft: ScoreType,
    with_alerts: bool,
    by: str,
    clock: Callable[[], int],
    patience: float | None = None,
) -> int | None:
    """Make a draft the live definition, in a job of this process. With *with_alerts*, open follow-ups for newcomers.

    The follow-ups are opened in slices, after the draft is live. Return their number, or None if *patience* seconds
    were not enough; the service then continues the job. Raises NoDraft.
    """
    previous = await definitions.score_type(workspace, key=draft.key)
    await definitions.record_applicant(workspace, draft=draft, by=by)
    job = _make_job(workspace, APPLY, draft.definition, suffix=ASKING if with_alerts else "", now=clock())
    handlers = make_handlers(clock)
    if not await run_here(workspace, handler=handlers[APPLY], job=job, clock=clock, patience=patience):
        return None
    rules = [rule for rule in await alert_rules.alert_rules(workspace) if rule.score == draft.key]
    await enroll.fill_memory(workspace, rules=rules, clock=clock, patience=patience)
    await delete_scores(workspace, definition=previous, clock=clock, patience=patience)
    return await definitions.count_asked(workspace, definition=draft.definition)


async def cancel(
    workspace: Workspace, *, draft: ScoreType, clock: Callable[[], int], patience: float | None = None
) -> None:
    """Detach a draft and delete its scores and effects in a job. Raises NoDraft if it is live or was canceled."""
    deletion = _make_job(workspace, DELETE, draft.definition, suffix=CANCELED, now=clock())

    async def body(session: Session) -> None:
        if not await definitions.drop_draft(session, workspace, draft=draft):
            raise NoDraft
        await enqueue(session, [deletion], now=deletion.due_at)

    await database.write(body)
    await run_here(workspace, handler=make_handlers(clock)[DELETE], job=deletion, clock=clock, patience=patience)


async def finish(
    workspace: Workspace, *, draft: ScoreType, clock: Callable[[], int], patience: float | None = None
) -> bool:
    """Build a draft and make it live, in this process. The job that does this is queued already.

    Return False if *patience* seconds were not enough; the service then continues the job.
    """
    job = make_apply_job(workspace, draft, now=clock())
    return await run_here(workspace, handler=make_handlers(clock)[APPLY], job=job, clock=clock, patience=patience)


async def delete_scores(
    workspace: Workspace, *, definition: ScoreType, clock: Callable[[], int], patience: float | None = None
) -> None:
    """Delete the scores and effects of a definition that is not in use, in a job of this process."""
    job = make_deletion_job(workspace, definition, now=clock())
    await run_here(workspace, handler=make_handlers(clock)[DELETE], job=job, clock=clock, patience=patience)


def make_apply_job(workspace: Workspace, draft: ScoreType, *, now: int) -> NewJob:
    """Return the job that builds a draft and makes it live without follow-ups."""
    return _make_job(workspace, APPLY, draft.definition, now=now)


def make_deletion_job(workspace: Workspace, definition: ScoreType, *, now: int) -> NewJob:
    """Return the job that deletes the scores and effects of a definition that is not in use."""
    return _make_job(workspace, DELETE, definition.definition, now=now)


def lane_of(draft: ScoreType) -> str:
    """Return the lane of a draft's jobs."""
    return f"{LANE}{draft.definition}"


def _make_job(workspace: Workspace, kind: str, definition: int, *, suffix: str = "", now: int) -> NewJob:
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
    if await _reenroll(session, workspace, types.values(), alerts_about=draft.key if with_alerts else None, now=now):
        await definitions.begin_asking(session, definition=draft.definition)


async def _build_contacts(workspace: Workspace, draft: ScoreType, ids: Sequence[int]) -> None:
    async def body(session: Session, ids: Sequence[int]) -> None:
        if not await definitions.is_draft(session, draft):
            raise NoDraft
        await fold_contacts(session, workspace, draft, ids)

    await run_in_transaction(body, ids)


async def _reenroll(
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
