"""Digests of alerts: schedule, stop and send them."""

import re

from slack_sdk.errors import SlackApiError

from bot.blocks.digest import DIGEST_EVENT, digest_reply
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need, Verdict
from bot.slack.handling import Reply, Request
from bot.slack.job_handling import JobTools, explain_refusal
from bot.slack.poster import NotShown
from storage.alerts.digests import DIGEST_JOB, Digest, digests, gather_news, record_digest_sent, set_digest, stop_digest
from storage.alerts.followups import Assignee
from storage.domain.business_hours import is_at_work, is_same_day, next_time, parse_time, write_time
from storage.domain.facts import DAY
from storage.job_runner import JobResult
from storage.jobs import Job
from storage.notices import clear_notice
from storage.reading.current_scores import cards_of

DIGEST_USAGE = (
    "Type `/score alerts digest 9:00`, `digest 9:00 Europe/Berlin in #channel`, or `digest off`,"
    " also with `in #channel`."
)
_IN_CHANNEL = re.compile(r"(?:^|\s)in\s+<#(?P<id>[CG][A-Z0-9]+)(?:\|[^<>]*)?>\s*$", re.IGNORECASE)
_NO_DIGEST = "So its digest is not sent. To send it elsewhere: `/score alerts digest 9:00 in #channel`"


async def change_digest(request: Request, words: str) -> Reply:
    """Schedule or stop the digest of a channel, or of the person who asks if there is no channel."""
    match = _IN_CHANNEL.search(words)
    place, rest = (match["id"].upper(), words[: match.start()].strip()) if match else (request.person.id, words)
    if match:
        request.needs(Need.SET)
    destination = f"to <#{place}>" if match else "to you"
    if rest.casefold() == "off":
        await stop_digest(request.workspace, place=place, by=request.person.id, now=request.now)
        return plain_reply(f"The digest {destination} is off.")
    at, _, zone = rest.partition(" ")
    if not at:
        return plain_reply(DIGEST_USAGE)
    if match and (verdict := await request.may_post(place)) is not Verdict.ALLOWED:
        return plain_reply(f"Nothing was changed. {verdict.value}")
    earlier = next((digest for digest in await digests(request.workspace) if digest.place == place), None)
    digest = await set_digest(
        request.workspace, place=place, zone=zone.strip() or request.person.zone or "UTC", minute=parse_time(at),
        made_by=request.person.id, now=request.now,
    )  # fmt: skip  # one logical group per line
    when = _describe_time(digest)
    before = f" Before: {_describe_time(earlier)}." if earlier and _describe_time(earlier) != when else ""
    return plain_reply(f"A digest goes {destination} Monday to Friday {when}, if there is news.{before}")


def _describe_time(digest: Digest) -> str:
    return f"at {write_time(digest.minute)} ({digest.zone})"


async def send_digest(tools: JobTools, job: Job) -> JobResult:
    """Send a digest at most once a day and in working hours; send nothing if there is no news."""
    now = tools.clock()
    digest = next((digest for digest in await digests(tools.workspace) if digest.id == job.subject), None)
    if digest is None:
        return JobResult()
    next_at = next_time(digest.zone, digest.minute, after=now)
    sent_today = digest.sent_at is not None and is_same_day(digest.zone, digest.sent_at, now)
    if sent_today or not is_at_work(digest.zone, now):
        return JobResult(repeat_at=next_at)
    is_person = digest.place[:1] in ("U", "W")
    person = await tools.people.colleague(digest.place, now=now) if is_person else None
    notice = f"{DIGEST_JOB}/{digest.place}"
    if is_person and person is None:
        await tools.notify_admin_once(
            job, notice, f"<@{digest.place}> is not an active member here, so their digest is not sent."
        )
        return JobResult(repeat_at=next_at)
    reader = Assignee(id=person.id, address=person.email) if person is not None else None
    news = await gather_news(tools.workspace, digest=digest, assignee=reader, now=now)
    if not news.is_empty:
        channel = await tools.poster.direct(digest.place) if is_person else digest.place
        follow_ups = [*news.follow_ups, *news.overdue, *news.waking]
        ids = list(dict.fromkeys(follow_up.contact for follow_up in follow_ups))
        cards = {card.contact.id: card for card in await cards_of(tools.workspace, ids=ids, now=now)}
        reply = digest_reply(news, cards, await tools.load_types(), place=digest.place)
        try:
            await tools.poster.post_once(job, channel, reply, digest.id, event=DIGEST_EVENT, since=now - DAY // 2)
        except (NotShown, SlackApiError) as exc:
            await tools.notify_admin_once(job, notice, f"{explain_refusal(exc, channel)}. {_NO_DIGEST}")
            return JobResult(repeat_at=next_at)
        await clear_notice(tools.workspace, notice=notice)
    await record_digest_sent(tools.workspace, id=digest.id, top=news.top, now=now)
    return JobResult(repeat_at=next_at)
