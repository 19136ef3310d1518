"""Handle the jobs that need only the database, for every workspace, with Slack or without."""

from collections.abc import Callable, Mapping
from functools import partial

import structlog

from storage.alerts import enroll
from storage.alerts.sweep import SWEEP, SWEEP_EVERY, sweep_rules
from storage.bulk_changes import delete_old_bulk_changes
from storage.domain.people import Workspace
from storage.events.event_jobs import SWEEP_EVENTS, make_event_handlers
from storage.events.publish import delete_old_events
from storage.job_runner import Handler, JobResult
from storage.jobs import Job, delete_abandoned
from storage.ledger.refold import REFOLD
from storage.ledger.refold_job import make_refold_handler
from storage.ledger.words import WORDS, fill_words
from storage.scoring import draft_jobs
from storage.scoring.draft_jobs import NoDraft
from storage.sent_files import delete_old_files
from storage.sources.deliveries import RETENTION, RETENTION_EVERY, delete_old_deliveries
from storage.sources.health import WATCH, WATCH_EVERY, check_sources
from storage.sources.writeback_queue import REFRESH, REFRESH_EVERY, enqueue_differing
from storage.transfer import change_many, import_jobs

log = structlog.get_logger(__name__)

#: the kinds of which every workspace has a job
RECURRING = (SWEEP, WATCH, RETENTION, SWEEP_EVENTS, REFRESH)


def make_handlers(clock: Callable[[], int]) -> Mapping[str, Handler]:
    """Return the handlers, by the kind of their jobs."""

    async def run_sweep(workspace: Workspace, _: Job) -> JobResult:
        """Evaluate the alert rules that only time may have decided, and again in a minute."""
        now = clock()
        await sweep_rules(workspace, now=now)
        return JobResult(repeat_at=now + SWEEP_EVERY)

    async def check_all_sources(workspace: Workspace, _: Job) -> JobResult:
        """Check whether every source still works, and again in five minutes."""
        now = clock()
        for source, health in await check_sources(workspace, now=now):
            log.warning("source health changed", source=source, standing=health)
        return JobResult(repeat_at=now + WATCH_EVERY)

    async def delete_old(workspace: Workspace, _: Job) -> JobResult:
        """Delete what was kept long enough: deliveries, events, previews, jobs given up; and again in an hour."""
        now = clock()
        await delete_old_deliveries(workspace, now=now)
        await delete_old_events(workspace, now=now)
        await delete_old_bulk_changes(workspace, now=now)
        await delete_old_files(workspace, now=now)
        await delete_abandoned(workspace, now=now)
        return JobResult(repeat_at=now + RETENTION_EVERY)

    async def refresh_write_backs(workspace: Workspace, job: Job) -> JobResult:
        """Queue the scores that differ from what was written to CRMs, and again in a day."""
        now = clock()
        await enqueue_differing(workspace, now=now)
        return JobResult(repeat_at=now + REFRESH_EVERY) if job.key == REFRESH else JobResult()

    async def fill_next_words(workspace: Workspace, _: Job) -> JobResult:
        """Save the words of the next contacts that an earlier version recorded."""
        return JobResult(next_position=await fill_words(workspace))

    async def ignore_missing_draft(handler: Handler, workspace: Workspace, job: Job) -> JobResult:
        """Handle a job of a draft; a draft that was canceled needs no work."""
        try:
            return await handler(workspace, job)
        except NoDraft:
            return JobResult()

    draft_handlers: dict[str, Handler] = {
        kind: partial(ignore_missing_draft, handler) for kind, handler in draft_jobs.make_handlers(clock).items()
    }
    return {
        **draft_handlers,
        **change_many.make_handlers(clock),
        **import_jobs.make_handlers(clock),
        REFOLD: make_refold_handler(clock),
        WORDS: fill_next_words,
        **enroll.HANDLERS,
        **make_event_handlers(clock),
        SWEEP: run_sweep,
        WATCH: check_all_sources,
        RETENTION: delete_old,
        REFRESH: refresh_write_backs,
    }
