"""Subscriptions to events: list them, and tell an admin that one was turned off."""

from bot.blocks.subscriptions import subscription_disabled_reply, subscriptions_reply
from bot.slack.access import Need
from bot.slack.feature import Command, Feature
from bot.slack.handling import Reply, Request
from bot.slack.job_handling import NO_ADMIN_FOUND, NOTICE, JobTools
from storage.domain.backoff import PACE
from storage.domain.facts import DAY
from storage.events.deliveries import TELL
from storage.job_runner import GiveUp, JobResult
from storage.jobs import Job
from storage.sources.subscriptions import subscriptions


async def show_subscriptions(request: Request) -> Reply:
    """Handle `subscriptions`."""
    return subscriptions_reply(await subscriptions(request.workspace))


async def report_disabled(tools: JobTools, job: Job) -> JobResult:
    """Tell an admin that a subscription was turned off, unless it was turned on again or removed meanwhile."""
    all_subscriptions = await subscriptions(tools.workspace)
    subscription = next((subscription for subscription in all_subscriptions if subscription.id == job.subject), None)
    if subscription is None or subscription.disabled_at is None:
        return JobResult()
    reply = subscription_disabled_reply(subscription)
    if not await tools.post_to_admin(job, reply, job.id, event=NOTICE, since=tools.clock() - DAY):
        raise GiveUp(NO_ADMIN_FOUND)
    return JobResult(pace=PACE)


FEATURE = Feature(
    verbs={
        "subscriptions": Command(
            show_subscriptions,
            "subscriptions",
            "the programs that get events, and whether they accept them",
            ("subscriptions",),
            Need.ADMINISTER,
        ),
    },
    jobs={TELL: report_disabled},
)
