"""Change a score type through a draft: a new definition that is built next to the live one, previewed, then applied.

New facts are projected into a draft too, for every contact that is built already; the other contacts are built by the
job. A draft changes no visible score until it is applied, and it can be canceled. The functions here run the jobs of
`draft_jobs` in this process; the service continues a job that takes too long.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from storage.alerts import enroll, newcomers
from storage.alerts import rules as alert_rules
from storage.alerts.followup_rules import NewFollowUp
from storage.db import database
from storage.db.database import Session
from storage.domain.errors import UnknownScoreType
from storage.domain.people import Workspace
from storage.domain.rules import check_rules
from storage.domain.score_types import ScoreType, check_definition
from storage.job_runner import run_here
from storage.jobs import enqueue
from storage.scoring import definitions
from storage.scoring.draft_jobs import (
    APPLY,
    ASKING,
    BUILD,
    CANCELED,
    DELETE,
    NoDraft,
    make_apply_job,
    make_deletion_job,
    make_draft_job,
    make_handlers,
    reenroll_rules,
)
from storage.scoring.draft_scores import (
    compare_values,
    count_built,
    load_next_ids,
)

FIRST = 10  #: the number of contacts that a preview lists


#: the change of a contact's score: the contact, and the value before and after, in thousandths
Change: TypeAlias = tuple[int, int | None, int | None]


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
            await reenroll_rules(session, workspace, types.values(), now=now)
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

    job = make_draft_job(workspace, BUILD, draft.definition, now=clock())
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
    job = make_draft_job(workspace, APPLY, draft.definition, suffix=ASKING if with_alerts else "", now=clock())
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
    deletion = make_draft_job(workspace, DELETE, draft.definition, suffix=CANCELED, now=clock())

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
