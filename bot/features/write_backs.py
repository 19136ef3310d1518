"""Scores that are written to CRMs: tell an admin that writing stopped."""

from bot.blocks.write_backs import writing_paused_reply
from bot.slack.feature import Feature
from bot.slack.job_handling import NO_ADMIN_FOUND, NOTICE, JobTools
from storage.domain.backoff import PACE
from storage.domain.facts import DAY
from storage.job_runner import GiveUp, JobResult
from storage.jobs import Job
from storage.sources.config import sources
from storage.sources.writeback_queue import NOTIFY_PAUSED, load_write_back_status


async def report_paused(tools: JobTools, job: Job) -> JobResult:
    """Notify an admin that scores are no longer written to a source, unless it was changed or removed meanwhile."""
    source = next((source for source in await sources(tools.workspace) if source.id == job.subject), None)
    if source is None:
        return JobResult()
    status = await load_write_back_status(tools.workspace, source=source.slug)
    if status.paused_at is None:
        return JobResult()
    reply = writing_paused_reply(source, status)
    if not await tools.post_to_admin(job, reply, job.id, event=NOTICE, since=tools.clock() - DAY):
        raise GiveUp(NO_ADMIN_FOUND)
    return JobResult(pace=PACE)


FEATURE = Feature(jobs={NOTIFY_PAUSED: report_paused})
