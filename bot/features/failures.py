"""Failing jobs: tell an admin, or else the Home tab."""

from bot.blocks.failures import failures_reply, no_admin_blocks
from bot.slack.feature import Feature
from bot.slack.handling import Block, Request
from bot.slack.job_handling import NOTICE, JobTools
from storage import jobs
from storage.domain.backoff import PACE
from storage.domain.facts import DAY
from storage.job_runner import JobResult
from storage.jobs import FAILED, REPORT, Job
from storage.notices import NO_ADMIN, is_noticed, list_notices, record_notice

WEEK = 7 * DAY  #: how long a failed job is shown


async def report_failures(tools: JobTools, job: Job) -> JobResult:
    """Notify an admin that jobs of a kind fail, and record the notice for the Home tab."""
    failures, now = await jobs.load_failures(tools.workspace, kind=job.key), tools.clock()
    if failures.given_up or failures.retrying:
        await tools.post_to_admin(job, failures_reply(job.key, failures), job.id, event=NOTICE, since=now - DAY)
        await record_notice(tools.workspace, notice=FAILED + job.key, now=now)
    return JobResult(pace=PACE)


async def list_problems(request: Request) -> list[Block]:
    """Return the section of the Home tab about an admin who could not be reached, and about what failed meanwhile."""
    if not await is_noticed(request.workspace, notice=NO_ADMIN):
        return []
    kinds = await list_notices(request.workspace, prefix=FAILED, since=request.now - WEEK)
    return no_admin_blocks(request.workspace.team, kinds)


FEATURE = Feature(jobs={REPORT: report_failures})
