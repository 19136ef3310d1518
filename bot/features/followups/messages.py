"""Post and update the messages of follow-ups, and reply in their threads when a follow-up wakes or escalates."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog
from slack_sdk.errors import SlackApiError

from bot.blocks.elements import context, section
from bot.blocks.followups import EVENT, FollowUpReader, follow_up_reply, headline, storm_reply
from bot.slack.access import Need
from bot.slack.handling import Reply
from bot.slack.job_handling import NO_ADMIN_FOUND, JobTools, explain_refusal
from bot.slack.poster import NotShown
from bot.slack.text import UNUSABLE_CHANNEL, escape
from storage import jobs, posted_messages
from storage.alerts import followup_moves, followups
from storage.alerts.followup_rules import ASK, ESCALATE, JOINED, LEFT, RELEASE, WAKE
from storage.alerts.followups import OWNERS, FollowUp, Step
from storage.domain.backoff import PACE, SECOND
from storage.domain.followups import WAITING, FollowUpMove, TooLate
from storage.job_runner import GiveUp, JobResult
from storage.jobs import Job
from storage.ledger.contacts import contacts
from storage.notices import clear_notice
from storage.posted_messages import FILE, HIDE
from storage.sources.config import link_templates

log = structlog.get_logger(__name__)

#: the event type in the metadata of messages in a follow-up's thread, and of escalations
THREAD_EVENT = "word"
#: more follow-ups than STORM for one channel within STORM_TIME (µs) are posted as one list
STORM, STORM_TIME = 50, 600 * SECOND


@dataclass(frozen=True, slots=True)
class _TimedMove:
    """A move that a job applies to a follow-up at a time, and the reply to post in the thread of the follow-up."""

    move: FollowUpMove
    message: str


_TIMED_MOVES = {
    WAKE: _TimedMove(FollowUpMove.WAKE, "<@{holder}> snoozed this until now; it is open again."),
    RELEASE: _TimedMove(
        FollowUpMove.RELEASE, "<@{holder}> claimed this three days ago and did not mark it done; it is open again."
    ),
    ESCALATE: _TimedMove(FollowUpMove.ESCALATE, "<@{assignee}>, nobody has claimed this in time."),
}


async def post_follow_up(tools: JobTools, job: Job) -> JobResult:
    """Post the message of a follow-up that is open and not posted. In a storm, post all due follow-ups as a list."""
    now = tools.clock()
    follow_up = await _load_follow_up(tools, job)
    if follow_up is None or follow_up.posted_at is not None or follow_up.standing.state not in WAITING:
        return JobResult()
    due = await jobs.list_due_in_lane(tools.workspace, lane=job.lane, kind=ASK, now=now)
    recent = await followups.list_posted_since(tools.workspace, lane=job.lane, since=now - STORM_TIME)
    if len(due) + len(recent) > STORM:
        return await _post_storm(tools, job, due, recent)
    render = partial(_render_follow_up, tools, follow_up)
    channel, ts = await _post_once(tools, job, render, follow_up.id, since=follow_up.asked_at)
    await followups.record_message(tools.workspace, ids=[follow_up.id], channel=channel, ts=ts, in_list=False, now=now)
    return JobResult(pace=PACE)


async def _post_storm(tools: JobTools, job: Job, due: dict[int, int], recent: Sequence[FollowUp]) -> JobResult:
    """Post the due follow-ups of a lane as one list, or add them to the list that this storm already has."""
    now = tools.clock()
    follow_ups = await followups.load_follow_ups(tools.workspace, ids=due.values())
    fresh = [
        follow_up for follow_up in follow_ups if follow_up.posted_at is None and follow_up.standing.state in WAITING
    ]
    if not fresh:
        return JobResult(also_done=due)
    last = next((follow_up for follow_up in reversed(recent) if follow_up.in_list), None)
    if last is None:
        render = partial(_render_storm, tools, fresh)
        since = min(follow_up.asked_at for follow_up in fresh)
        channel, ts = await _post_once(tools, job, render, fresh[0].id, since=since, known_as=due.values())
        if job.is_doubtful:  # an earlier attempt may have posted a list with fewer follow-ups
            last = replace(fresh[0], message_channel=channel, message_ts=ts, in_list=True)
    if last is not None:
        channel, ts = await _update_message(tools, job, last, fresh)
    ids = [follow_up.id for follow_up in fresh]
    await followups.record_message(tools.workspace, ids=ids, channel=channel, ts=ts, in_list=True, now=now)
    return JobResult(also_done=due, pace=PACE)


async def _load_follow_up(tools: JobTools, job: Job) -> FollowUp | None:
    """Return the follow-up of a job, or None if it was deleted with its contact."""
    follow_ups = await followups.load_follow_ups(tools.workspace, ids=[job.subject])
    return follow_ups[0] if follow_ups else None


async def edit_message(tools: JobTools, job: Job) -> JobResult:
    """Update the message of a follow-up to its current state."""
    follow_up = await _load_follow_up(tools, job)
    if follow_up is None or follow_up.message_channel is None or follow_up.message_ts is None:
        return JobResult()  # not posted yet: the message will show the current state
    _, ts = await _update_message(tools, job, follow_up)
    return JobResult(pace=0 if ts == follow_up.message_ts else PACE)


async def _update_message(
    tools: JobTools, job: Job, follow_up: FollowUp, fresh: Sequence[FollowUp] = ()
) -> tuple[str, str]:
    """Update the message of a follow-up, with the follow-ups *fresh* added. Return its channel and timestamp.

    If a reader of the message may no longer see scores, the poster replaces the message by one sentence. An admin then
    receives the content in a new message, which later updates change. If there is no admin, the next update tries this
    again.
    """
    channel, ts = str(follow_up.message_channel), str(follow_up.message_ts)
    listed = [follow_up]
    if follow_up.in_list:  # load every follow-up in the list, because a storm may last longer than STORM_TIME
        listed = await followups.list_sharing_message(tools.workspace, channel=channel, ts=ts)
    render = (
        partial(_render_storm, tools, [*listed, *fresh])
        if follow_up.in_list
        else partial(_render_follow_up, tools, follow_up)
    )
    try:
        await tools.poster.send(channel, await render(channel), ts=ts)
        return channel, ts
    except NotShown as exc:
        log.warning("message hidden", because=exc.verdict.name)
    admin = await tools.find_admin()
    if admin is None:
        return channel, ts
    admin_channel, shown = await tools.poster.direct(admin), [*listed, *fresh]
    reply = await render(admin_channel)
    reply = replace(reply, blocks=[context(await _explain_hidden(tools, channel)), *reply.blocks])
    since = min(item.posted_at or item.asked_at for item in shown)
    ids = [item.id for item in shown]
    admin_ts = await tools.poster.post_once(job, admin_channel, reply, ids[0], event=EVENT, since=since, known_as=ids)
    if job.is_doubtful:  # an earlier attempt may have posted a list with fewer follow-ups
        await tools.poster.send(admin_channel, reply, ts=admin_ts)
    await followups.move_message(tools.workspace, channel=channel, ts=ts, to_channel=admin_channel, to_ts=admin_ts)
    return admin_channel, admin_ts


async def _explain_hidden(tools: JobTools, channel: str) -> str:
    """Return a line that explains to an admin why the message of another channel is sent to the admin."""
    if not channel.startswith("D"):
        return f"{UNUSABLE_CHANNEL.format(channel)}, so this comes to you. To choose another place: `/score setup`"
    reader = await tools.poster.reader(channel)
    person = f"<@{reader}>" if reader else "The person who read it"
    return f"{person} is not an active member here, so their message comes to you."


async def hide_message(tools: JobTools, job: Job) -> JobResult:
    """Remove a deleted contact from a message: update a list without the contact, or replace the whole message.

    A file is deleted. If Slack does not let the app change the message or file, an admin is notified.
    """
    message = await posted_messages.load_message(tools.workspace, id=job.subject)
    if message is None:
        return JobResult()
    others = await followups.list_sharing_message(tools.workspace, channel=message.channel, ts=message.ts)
    is_hidden, link = True, f"the file `{message.ts}`"
    if others:
        await _update_message(tools, job, others[0])
    elif message.channel == FILE:
        is_hidden = await tools.poster.delete_file(message.ts)
    else:
        is_hidden = await tools.poster.hide_deleted(message.channel, message.ts)
        link = "" if is_hidden else await tools.poster.find_link(message.channel, message.ts)
    if not is_hidden:
        text = f"A contact was deleted, and Slack does not let me change what I posted about it: {link}. Delete it."
        await tools.notify_admin_once(job, f"{HIDE}/{message.channel}/{message.ts}", text)
    await posted_messages.forget_message(
        tools.workspace, id=job.subject, keeps_mentions_of={follow_up.contact for follow_up in others}
    )
    return JobResult(pace=PACE)


async def apply_timed_move(tools: JobTools, job: Job) -> JobResult:
    """Wake, release or escalate a follow-up. Reply in its thread, because an update of a message notifies nobody."""
    timed_move, follow_up = _TIMED_MOVES[job.kind], await _load_follow_up(tools, job)
    if follow_up is None:
        return JobResult()
    now, channel = tools.clock(), follow_up.message_channel
    with suppress(TooLate):  # claimed or completed in the meantime, or moved by an earlier attempt of this job
        await followup_moves.apply_move(tools.workspace, id=follow_up.id, move=timed_move.move, by=None, now=now)
    *earlier, last = await _list_moves(tools, follow_up)
    # Another job may have moved the follow-up meanwhile. An earlier attempt of this one may have moved it, but not have
    # posted the reply.
    is_moved_by_this_job = last.move == timed_move.move and last.by is None and (last.at == now or job.attempts > 1)
    if not is_moved_by_this_job:
        return JobResult()
    if timed_move.move is FollowUpMove.ESCALATE and (channel is None or follow_up.in_list or channel.startswith("D")):
        return await _notify_escalation(tools, job, follow_up, since=last.at)
    if follow_up.in_list or channel is None:
        return JobResult()
    *_, step = earlier
    holder = step.detail if step.move == FollowUpMove.ASSIGN else step.by
    reply = Reply(text=timed_move.message.format(holder=holder, assignee=follow_up.escalate_to))
    try:
        await tools.poster.post_once(
            job, channel, reply, job.id, event=THREAD_EVENT, since=last.at, thread=follow_up.message_ts
        )
    except (NotShown, SlackApiError) as exc:
        log.warning("not posted in a thread", because=explain_refusal(exc, channel))
        if timed_move.move is FollowUpMove.ESCALATE:
            return await _notify_escalation(tools, job, follow_up, since=last.at)
    return JobResult(pace=PACE)


async def _list_moves(tools: JobTools, follow_up: FollowUp) -> list[Step]:
    """Return the history of a follow-up without the rules that joined and left it."""
    steps = await followups.list_steps(tools.workspace, id=follow_up.id)
    return [step for step in steps if step.move not in (JOINED, LEFT)]


async def notify_hand_over(tools: JobTools, job: Job) -> JobResult:
    """Notify a person that a follow-up was assigned to them, or taken over from them: in its thread, or directly."""
    follow_up = await _load_follow_up(tools, job)
    if follow_up is None:
        return JobResult()
    steps = [step for step in await _list_moves(tools, follow_up) if job.key == f"{follow_up.id}/{step.at}"]
    step = next((step for step in steps if step.move in (FollowUpMove.ASSIGN, FollowUpMove.TAKE_OVER)), None)
    if step is None or step.detail is None:
        return JobResult()
    verb = "assigned this to you" if step.move == FollowUpMove.ASSIGN else "took this over from you"
    channel = follow_up.message_channel
    if channel is not None and not follow_up.in_list and not channel.startswith("D"):
        reply = Reply(text=f"<@{step.detail}>, <@{step.by}> {verb}.")
        try:
            await tools.poster.post_once(
                job, channel, reply, job.id, event=THREAD_EVENT, since=step.at, thread=follow_up.message_ts
            )
            return JobResult(pace=PACE)
        except (NotShown, SlackApiError) as exc:
            log.warning("not posted in a thread", because=explain_refusal(exc, channel))
    if await tools.people.colleague(step.detail, now=tools.clock()) is None:
        return JobResult()
    (contact,) = await contacts(tools.workspace, ids=[follow_up.contact])
    text = headline(follow_up, contact, (await tools.load_types()).get(follow_up.score))
    text += f"\n<@{step.by}> {verb}. Your follow-ups: `/score followups mine`"
    reply = Reply(text=text.replace("*", ""), blocks=[section(text)], contacts=frozenset({contact.id}))
    direct = await tools.poster.direct(step.detail)
    await tools.poster.post_once(job, direct, reply, job.id, event=THREAD_EVENT, since=step.at)
    return JobResult(pace=PACE)


async def _notify_escalation(tools: JobTools, job: Job, follow_up: FollowUp, *, since: int) -> JobResult:
    """Send an escalation by direct message, because a reply in a thread would not reach the person.

    If the person is not an active member any more, the escalation goes to an admin.
    """
    person, why = follow_up.escalate_to, ""
    if person is not None and await tools.people.colleague(person, now=tools.clock()) is None:
        why = f"\n<@{person}> is not an active member here, so this escalation comes to you."
        person = await tools.find_admin()
    if person is None:
        return JobResult()
    (contact,) = await contacts(tools.workspace, ids=[follow_up.contact])
    text = headline(follow_up, contact, (await tools.load_types()).get(follow_up.score))
    text += f"\nNobody has claimed this in time. Claim it: `/score followups {'open' if why else 'mine'}`{why}"
    reply = Reply(text=text.replace("*", ""), blocks=[section(text)], contacts=frozenset({contact.id}))
    await tools.poster.post_once(job, await tools.poster.direct(person), reply, job.id, event=THREAD_EVENT, since=since)
    return JobResult(pace=PACE)


async def _render_follow_up(tools: JobTools, follow_up: FollowUp, channel: str) -> Reply:
    """Return the message of a follow-up for the readers of a channel."""
    (contact,) = await contacts(tools.workspace, ids=[follow_up.contact])
    owner = await tools.people.by_address(contact.owner, now=tools.clock()) if contact.owner else None
    return follow_up_reply(
        follow_up,
        contact,
        await tools.load_types(),
        owner=owner,
        links=await link_templates(tools.workspace),
        reader=await _find_reader(tools, channel),
    )


async def _find_reader(tools: JobTools, channel: str) -> FollowUpReader | None:
    """Return the person who alone reads the messages of a channel; None if others may read them, or it is unknown."""
    reader = await tools.poster.reader(channel) if channel.startswith("D") else None
    person = await tools.people.colleague(reader, now=tools.clock()) if reader else None
    if person is None:
        return None
    access = await tools.people.find_access(person, now=tools.clock())
    return FollowUpReader(id=person.id, address=person.email, is_admin=Need.ADMINISTER in access.rights)


async def _render_storm(tools: JobTools, follow_ups: Sequence[FollowUp], _channel: str) -> Reply:
    people = {
        contact.id: contact for contact in await contacts(tools.workspace, ids=[item.contact for item in follow_ups])
    }
    shown = [follow_up for follow_up in follow_ups if follow_up.contact in people]
    return storm_reply(shown, people, await tools.load_types())


async def _post_once(
    tools: JobTools,
    job: Job,
    render: Callable[[str], Awaitable[Reply]],
    id: int,
    *,
    since: int,
    known_as: Collection[int] = (),
) -> tuple[str, str]:
    """Post to the channel of the job's lane, or to an admin if the app cannot post in that channel.

    *render* returns the message for the readers of a channel. Return the channel and the timestamp of the message.
    """
    channel = await _find_channel(tools, job, job.lane)
    reply = await render(channel)
    try:
        ts = await tools.poster.post_once(job, channel, reply, id, event=EVENT, since=since, known_as=known_as)
        await clear_notice(tools.workspace, notice=channel)
        return channel, ts
    except (NotShown, SlackApiError) as exc:
        if channel != job.lane:  # a direct message: the next attempt looks up the person again
            raise
        reason = explain_refusal(exc, channel)
    log.warning("follow-up goes to an admin", because=reason)
    await _report_lane(tools, job, channel, reason)
    admin_channel = await _find_channel(tools, job, "")
    reply = await render(admin_channel)
    ts = await tools.poster.post_once(job, admin_channel, reply, id, event=EVENT, since=since, known_as=known_as)
    return admin_channel, ts


async def _find_channel(tools: JobTools, job: Job, lane: str) -> str:
    """Return the channel for a lane: the lane's own channel, or the direct messages of the owner or of an admin.

    Raises GiveUp if no admin can be reached.
    """
    if lane[:1] in ("C", "G"):
        return lane
    owner = lane.removeprefix(OWNERS) if lane.startswith(OWNERS) else None
    person = await tools.people.by_address(owner, now=tools.clock()) if owner else None
    if owner and person is None:
        await _report_lane(tools, job, lane, f"No active member has the address {escape(owner)}")
    if person is None:
        person = await tools.find_admin()
    if person is None:
        raise GiveUp(NO_ADMIN_FOUND)
    return await tools.poster.direct(person)


async def _report_lane(tools: JobTools, job: Job, lane: str, reason: str) -> None:
    destination = f"<#{lane}>" if lane[:1] in ("C", "G") else "the contact's owner"
    text = f"{reason}, so follow-ups for {destination} come to you. To choose another place: `/score setup`"
    await tools.notify_admin_once(job, lane, text)
