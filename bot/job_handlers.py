"""Handle the jobs that post to Slack: follow-ups, digests, escalations, notices to admins and late answers."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.digest import DIGEST_EVENT, digest_reply
from bot.blocks.elements import context, section
from bot.blocks.failures import failures_reply
from bot.blocks.followup import EVENT, follow_up_reply, headline, storm_reply
from bot.blocks.setup import setup_reply
from bot.blocks.sources import STANDING_EVENT, source_health_reply
from bot.definition_changes import render_answer
from bot.slack.client import is_outage
from bot.slack.directory import People, error_code
from bot.slack.handling import Reply
from bot.slack.poster import NO_PLACE, NotShown, Poster, Unheard, retry_after
from bot.slack.text import escape
from storage import jobs, posted_messages
from storage.alerts import followup_moves, followups
from storage.alerts.decide import OWNERS
from storage.alerts.digests import DIGEST_JOB, digests, gather_news, record_digest_sent
from storage.alerts.followup_moves import ASK, EDIT, ESCALATE, RELEASE, WAKE
from storage.alerts.followups import Assignee, FollowUp
from storage.domain.backoff import PACE, SECOND
from storage.domain.business_hours import is_at_work, is_same_day, next_time
from storage.domain.facts import DAY
from storage.domain.followups import WAITING, FollowUpMove, TooLate
from storage.domain.people import Workspace
from storage.job_runner import GiveUp, Handler, JobResult, RetryLater
from storage.jobs import FAILED, REPORT, Job
from storage.late_answers import ANSWER, delete_answer, load_answer
from storage.ledger.contacts import contacts
from storage.notices import NO_ADMIN, clear_notice, is_noticed, record_notice
from storage.posted_messages import FILE, HIDE
from storage.scoring.definitions import score_types
from storage.sources import health as source_health
from storage.sources.health import TELL
from storage.workspaces import load_choices, record_welcome

log = structlog.get_logger(__name__)

WELCOME = "welcome"
#: event types in the metadata of posted messages, beside those of follow-ups and digests
WORD, NOTICE = "word", "notice"
#: more follow-ups than STORM for one channel within STORM_TIME (µs) are posted as one list
STORM, STORM_TIME = 50, 600 * SECOND
#: kinds of jobs that are never given up
RECURRING = (DIGEST_JOB,)


@dataclass(frozen=True, slots=True)
class _TimedMove:
    """A move that a job applies to a follow-up when its time has come, and the message for the follow-up's thread."""

    move: FollowUpMove
    message: str


_TIMED_MOVES = {
    WAKE: _TimedMove(FollowUpMove.WAKE, "<@{holder}> snoozed this until now; it is open again."),
    RELEASE: _TimedMove(
        FollowUpMove.RELEASE, "<@{holder}> claimed this three days ago and did not mark it done; it is open again."
    ),
    ESCALATE: _TimedMove(FollowUpMove.ESCALATE, "<@{assignee}>, nobody has claimed this in time."),
}
_NOT_OURS = "<#{}> was archived or shared, has guests in it, or I am not in it any more"
_NO_ADMIN = "no admin can be reached"
_NO_DIGEST = "So its digest is not sent. To send it elsewhere: `/score alerts digest 9:00 in #sales`"


class AnswerLate(Protocol):
    """Answers an earlier request of a person."""

    async def __call__(self, *, user: str, answer_to: str | None, reply: Reply) -> None: ...


class Deliverer:
    """The job handlers of one workspace. The client *posting* must not retry calls, because the jobs are retried."""

    def __init__(
        self,
        *,
        workspace: Workspace,
        people: People,
        posting: AsyncWebClient,
        answer_late: AnswerLate,
        clock: Callable[[], int],
    ) -> None:
        self._workspace = workspace
        self._people = people
        self._poster = Poster(posting, workspace=workspace, people=people, clock=clock)
        self._answer_late = answer_late
        self._clock = clock

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handlers, by kind of job."""
        handlers: dict[str, Callable[[Job], Awaitable[JobResult]]] = {
            ASK: self._post_follow_up,
            EDIT: self._edit_message,
            WAKE: self._apply_timed_move,
            RELEASE: self._apply_timed_move,
            ESCALATE: self._apply_timed_move,
            WELCOME: self._send_welcome,
            DIGEST_JOB: self._send_digest,
            TELL: self._report_source_health,
            HIDE: self._hide_message,
            REPORT: self._report_failures,
            ANSWER: self._send_late_answer,
        }
        return {kind: _translate_errors(handle) for kind, handle in handlers.items()}

    async def _post_follow_up(self, job: Job) -> JobResult:
        now = self._clock()
        follow_up = await self._load_follow_up(job)
        if follow_up is None or follow_up.posted_at is not None or follow_up.standing.state not in WAITING:
            return JobResult()
        due = await jobs.list_due_in_lane(self._workspace, lane=job.lane, kind=ASK, now=now)
        recent = await followups.list_posted_since(self._workspace, lane=job.lane, since=now - STORM_TIME)
        if len(due) + len(recent) > STORM:
            return await self._post_storm(job, due, recent)
        channel, ts = await self._post_once(
            job, await self._render_follow_up(follow_up), follow_up.id, since=follow_up.asked_at
        )
        await followup_moves.record_message(
            self._workspace, ids=[follow_up.id], channel=channel, ts=ts, in_list=False, now=now
        )
        return JobResult(pace=PACE)

    async def _post_storm(self, job: Job, due: dict[int, int], recent: Sequence[FollowUp]) -> JobResult:
        """Post the due follow-ups of a lane as one list, or add them to the list that the storm already has."""
        now = self._clock()
        follow_ups = await followups.load_follow_ups(self._workspace, ids=due.values())
        fresh = [
            follow_up for follow_up in follow_ups if follow_up.posted_at is None and follow_up.standing.state in WAITING
        ]
        if not fresh:
            return JobResult(also_done=due)
        last = next((follow_up for follow_up in reversed(recent) if follow_up.in_list), None)
        if last is None:
            reply = await self._render_storm(fresh)
            since = min(follow_up.asked_at for follow_up in fresh)
            channel, ts = await self._post_once(job, reply, fresh[0].id, since=since, known_as=due.values())
            if job.is_doubtful:  # an earlier attempt may have posted a list with fewer follow-ups
                last = replace(fresh[0], message_channel=channel, message_ts=ts, in_list=True)
        if last is not None:
            channel, ts = await self._update_message(job, last, fresh)
        ids = [follow_up.id for follow_up in fresh]
        await followup_moves.record_message(self._workspace, ids=ids, channel=channel, ts=ts, in_list=True, now=now)
        return JobResult(also_done=due, pace=PACE)

    async def _load_follow_up(self, job: Job) -> FollowUp | None:
        """Return the follow-up of a job, or None if it was deleted with its contact."""
        follow_ups = await followups.load_follow_ups(self._workspace, ids=[job.subject])
        return follow_ups[0] if follow_ups else None

    async def _edit_message(self, job: Job) -> JobResult:
        follow_up = await self._load_follow_up(job)
        if follow_up is None or follow_up.message_channel is None or follow_up.message_ts is None:
            return JobResult()  # not posted yet: the message will show the current state
        _, ts = await self._update_message(job, follow_up)
        return JobResult(pace=0 if ts == follow_up.message_ts else PACE)

    async def _update_message(self, job: Job, follow_up: FollowUp, fresh: Sequence[FollowUp] = ()) -> tuple[str, str]:
        """Edit the message of a follow-up, add the follow-ups *fresh* to it, and return its channel and timestamp.

        If a reader of the message may no longer see scores, the poster replaces the message by one sentence, and an
        admin receives the content in a new message, which later edits update. Without an admin, the next edit tries
        again.
        """
        channel, ts = str(follow_up.message_channel), str(follow_up.message_ts)
        listed = [follow_up]
        if follow_up.in_list:  # load every follow-up in the list, because a storm may last longer than STORM_TIME
            listed = await followups.list_sharing_message(self._workspace, channel=channel, ts=ts)
        reply = (
            await self._render_storm([*listed, *fresh])
            if follow_up.in_list
            else await self._render_follow_up(follow_up)
        )
        try:
            await self._poster.send(channel, reply, ts=ts)
            return channel, ts
        except NotShown as exc:
            log.warning("message hidden", because=exc.verdict.name)
        admin = await self._find_admin()
        if admin is None:
            return channel, ts
        admin_channel, shown = await self._poster.direct(admin), [*listed, *fresh]
        reply = replace(reply, blocks=[context(await self._explain_hidden(channel)), *reply.blocks])
        since = min(item.posted_at or item.asked_at for item in shown)
        ids = [item.id for item in shown]
        admin_ts = await self._poster.say_once(
            job, admin_channel, reply, ids[0], event=EVENT, since=since, known_as=ids
        )
        if job.is_doubtful:  # an earlier attempt may have posted a list with fewer follow-ups
            await self._poster.send(admin_channel, reply, ts=admin_ts)
        await followup_moves.move_message(
            self._workspace, channel=channel, ts=ts, to_channel=admin_channel, to_ts=admin_ts
        )
        return admin_channel, admin_ts

    async def _explain_hidden(self, channel: str) -> str:
        """Return a line that tells an admin why the message of another channel was sent to the admin."""
        if not channel.startswith("D"):
            return f"{_NOT_OURS.format(channel)}, so this comes to you. To choose another place: `/score setup`"
        reader = await self._poster.reader(channel)
        person = f"<@{reader}>" if reader else "The person who read it"
        return f"{person} is not an active member here, so their message comes to you."

    async def _hide_message(self, job: Job) -> JobResult:
        """Remove a deleted contact from a message: redraw a list without the contact, or replace the whole message.

        An admin is notified of a message that Slack does not allow the app to change.
        """
        message = await posted_messages.load_message(self._workspace, id=job.subject)
        if message is None:
            return JobResult()
        others = await followups.list_sharing_message(self._workspace, channel=message.channel, ts=message.ts)
        is_hidden, link = True, f"the file `{message.ts}`"
        if others:
            await self._update_message(job, others[0])
        elif message.channel == FILE:
            is_hidden = await self._poster.delete_file(message.ts)
        else:
            is_hidden = await self._poster.hide_deleted(message.channel, message.ts)
            link = "" if is_hidden else await self._poster.find_link(message.channel, message.ts)
        if not is_hidden:
            text = f"A contact was deleted, and Slack does not let me change what I posted about it: {link}. Delete it."
            await self._notify_admin_once(job, f"{HIDE}/{message.channel}/{message.ts}", text)
        await posted_messages.forget_message(
            self._workspace, id=job.subject, kept={follow_up.contact for follow_up in others}
        )
        return JobResult(pace=PACE)

    async def _apply_timed_move(self, job: Job) -> JobResult:
        """Wake, release or escalate a follow-up, and post a reply in its thread, because an edit notifies nobody."""
        timed_move, follow_up = _TIMED_MOVES[job.kind], await self._load_follow_up(job)
        if follow_up is None:
            return JobResult()
        now, channel = self._clock(), follow_up.message_channel
        try:
            updated = await followup_moves.apply_move(
                self._workspace, id=follow_up.id, move=timed_move.move, by=None, now=now
            )
        except TooLate:  # claimed or completed meanwhile, or moved by an earlier attempt of this job
            updated = follow_up
        *earlier, last = await followups.list_steps(self._workspace, id=follow_up.id)
        was_moved_before = job.attempts > 1 and last.move == timed_move.move  # moved, but the reply was not posted
        if updated.standing == follow_up.standing and not was_moved_before:
            return JobResult()
        if timed_move.move is FollowUpMove.ESCALATE and (
            channel is None or follow_up.in_list or channel.startswith("D")
        ):
            return await self._notify_escalation(job, follow_up, since=last.at)
        if follow_up.in_list or channel is None:
            return JobResult()
        reply = Reply(text=timed_move.message.format(holder=earlier[-1].by, assignee=follow_up.escalate_to))
        try:
            await self._poster.say_once(
                job, channel, reply, job.id, event=WORD, since=last.at, thread=follow_up.message_ts
            )
        except (NotShown, SlackApiError) as exc:
            log.warning("not posted in a thread", because=_explain_refusal(exc, channel))
            if timed_move.move is FollowUpMove.ESCALATE:
                return await self._notify_escalation(job, follow_up, since=last.at)
        return JobResult(pace=PACE)

    async def _notify_escalation(self, job: Job, follow_up: FollowUp, *, since: int) -> JobResult:
        """Send an escalation by direct message, for a person who does not see the follow-up's message."""
        person, why = follow_up.escalate_to, ""
        if person is not None and await self._people.colleague(person, now=self._clock()) is None:
            why = f"\n<@{person}> is not an active member here, so this escalation comes to you."
            person = await self._find_admin()
        if person is None:
            return JobResult()
        (contact,) = await contacts(self._workspace, ids=[follow_up.contact])
        types = {score_type.key: score_type for score_type in await score_types(self._workspace)}
        text = headline(follow_up, contact, types.get(follow_up.score))
        text += f"\nNobody has claimed this in time. Claim it: `/score followups {'open' if why else 'mine'}`{why}"
        reply = Reply(text=text.replace("*", ""), blocks=[section(text)], contacts=frozenset({contact.id}))
        await self._poster.say_once(job, await self._poster.direct(person), reply, job.id, event=WORD, since=since)
        return JobResult(pace=PACE)

    async def _send_late_answer(self, job: Job) -> JobResult:
        """Send the result of the earlier jobs in the same lane to the person who waits for the result."""
        answer = await load_answer(self._workspace, id=job.subject)
        if answer is None:
            return JobResult()
        reply = await render_answer(self._workspace, answer, now=self._clock())
        if reply is None:  # an earlier job failed and will be retried
            raise RetryLater("the result is not ready")
        await self._answer_late(user=answer.user, answer_to=answer.answer_to, reply=reply)
        await delete_answer(self._workspace, id=job.subject)
        return JobResult()

    async def _report_failures(self, job: Job) -> JobResult:
        """Notify an admin that jobs of a kind fail, and record the notice for the Home tab."""
        failures, now = await jobs.load_failures(self._workspace, kind=job.key), self._clock()
        if failures.given_up or failures.retrying:
            admin = await self._find_admin()
            if admin is not None:
                reply = failures_reply(job.key, failures)
                channel = await self._poster.direct(admin)
                await self._poster.say_once(job, channel, reply, job.id, event=NOTICE, since=now - DAY)
            await record_notice(self._workspace, notice=FAILED + job.key, now=now)
        return JobResult(pace=PACE)

    async def _report_source_health(self, job: Job) -> JobResult:
        """Notify an admin that the health of a source changed, unless the change was reported already."""
        changed = await source_health.load_unreported(self._workspace, source=job.subject)
        if changed is None:
            return JobResult()
        admin = await self._find_admin()
        if admin is None:
            raise GiveUp(_NO_ADMIN)
        channel = await self._poster.direct(admin)
        await self._poster.say_once(
            job, channel, source_health_reply(changed), job.id, event=STANDING_EVENT, since=changed.since
        )
        await source_health.record_reported(self._workspace, changed=changed)
        return JobResult(pace=PACE)

    async def _send_digest(self, job: Job) -> JobResult:
        """Send a digest at most once a day and in working hours; send nothing if there is no news."""
        now = self._clock()
        digest = next((digest for digest in await digests(self._workspace) if digest.id == job.subject), None)
        if digest is None:
            return JobResult()
        next_at = next_time(digest.zone, digest.minute, after=now)
        sent_today = digest.sent_at is not None and is_same_day(digest.zone, digest.sent_at, now)
        if sent_today or not is_at_work(digest.zone, now):
            return JobResult(repeat_at=next_at)
        is_person = digest.place[:1] in ("U", "W")
        person = await self._people.colleague(digest.place, now=now) if is_person else None
        notice = f"{DIGEST_JOB}/{digest.place}"
        if is_person and person is None:
            await self._notify_admin_once(
                job, notice, f"<@{digest.place}> is not an active member here, so their digest is not sent."
            )
            return JobResult(repeat_at=next_at)
        reader = Assignee(id=person.id, address=person.email) if person is not None else None
        news = await gather_news(self._workspace, digest=digest, assignee=reader, now=now)
        if not news.is_empty:
            channel = await self._poster.direct(digest.place) if is_person else digest.place
            follow_ups = [*news.follow_ups, *news.overdue, *news.waking]
            existing = await contacts(self._workspace, ids=[follow_up.contact for follow_up in follow_ups])
            types = {score_type.key: score_type for score_type in await score_types(self._workspace)}
            reply = digest_reply(news, {contact.id: contact for contact in existing}, types, place=digest.place)
            try:
                await self._poster.say_once(job, channel, reply, digest.id, event=DIGEST_EVENT, since=now - DAY // 2)
            except (NotShown, SlackApiError) as exc:
                await self._notify_admin_once(job, notice, f"{_explain_refusal(exc, channel)}. {_NO_DIGEST}")
                return JobResult(repeat_at=next_at)
            await clear_notice(self._workspace, notice=notice)
        await record_digest_sent(self._workspace, id=digest.id, top=news.top, now=now)
        return JobResult(repeat_at=next_at)

    async def _send_welcome(self, job: Job) -> JobResult:
        now, choices = self._clock(), await load_choices(self._workspace)
        if choices.welcomed_at is None and choices.set_up_at is None:
            admin = await self._find_admin()
            if admin is None:
                raise GiveUp(_NO_ADMIN)
            reply = setup_reply(choices, await score_types(self._workspace))
            await self._poster.say_once(job, await self._poster.direct(admin), reply, 0, event=WELCOME, since=now - DAY)
            await record_welcome(self._workspace, now=now)
        return JobResult(pace=PACE)

    async def _render_follow_up(self, follow_up: FollowUp) -> Reply:
        (contact,) = await contacts(self._workspace, ids=[follow_up.contact])
        types = await score_types(self._workspace)
        owner = await self._people.by_address(contact.owner, now=self._clock()) if contact.owner else None
        score_type = next((score_type for score_type in types if score_type.key == follow_up.score), None)
        return follow_up_reply(follow_up, contact, score_type, owner=owner)

    async def _render_storm(self, follow_ups: Sequence[FollowUp]) -> Reply:
        people = {
            contact.id: contact
            for contact in await contacts(self._workspace, ids=[item.contact for item in follow_ups])
        }
        types = {score_type.key: score_type for score_type in await score_types(self._workspace)}
        return storm_reply([follow_up for follow_up in follow_ups if follow_up.contact in people], people, types)

    async def _find_channel(self, job: Job, lane: str) -> str:
        """Return the channel for a lane: the lane's own channel, or the direct messages of the owner or of an admin.

        Raises GiveUp if no admin can be reached.
        """
        if lane[:1] in ("C", "G"):
            return lane
        owner = lane.removeprefix(OWNERS) if lane.startswith(OWNERS) else None
        person = await self._people.by_address(owner, now=self._clock()) if owner else None
        if owner and person is None:
            await self._report_lane(job, lane, f"No active member has the address {escape(owner)}")
        if person is None:
            person = await self._find_admin()
        if person is None:
            raise GiveUp(_NO_ADMIN)
        return await self._poster.direct(person)

    async def _find_admin(self) -> str | None:
        """Return the id of an admin, or None; the notice NO_ADMIN is recorded or cleared, for the Home tab."""
        now = self._clock()
        admin = await self._people.an_admin((await load_choices(self._workspace)).admins, now=now)
        if admin is None:
            log.error("no admin could be reached")
            await record_notice(self._workspace, notice=NO_ADMIN, now=now)
        else:
            await clear_notice(self._workspace, notice=NO_ADMIN)
        return admin

    async def _report_lane(self, job: Job, lane: str, reason: str) -> None:
        destination = f"<#{lane}>" if lane[:1] in ("C", "G") else "the contact's owner"
        text = f"{reason}, so what was meant for {destination} comes to you. To choose another place: `/score setup`"
        await self._notify_admin_once(job, lane, text)

    async def _notify_admin_once(self, job: Job, notice: str, text: str) -> None:
        """Notify an admin of a problem once; callers clear the notice when the problem ends."""
        now = self._clock()
        if await is_noticed(self._workspace, notice=notice):
            return
        admin = await self._find_admin()
        if admin is None:
            return
        reply = Reply(text=text, blocks=[section(text)])
        await self._poster.say_once(job, await self._poster.direct(admin), reply, notice, event=NOTICE, since=now - DAY)
        await record_notice(self._workspace, notice=notice, now=now)

    async def _post_once(
        self, job: Job, reply: Reply, id: int, *, since: int, known_as: Collection[int] = ()
    ) -> tuple[str, str]:
        """Post to the channel of the job's lane, or to an admin if that channel accepts no messages.

        Return the channel and the timestamp of the message.
        """
        channel = await self._find_channel(job, job.lane)
        try:
            ts = await self._poster.say_once(job, channel, reply, id, event=EVENT, since=since, known_as=known_as)
            await clear_notice(self._workspace, notice=channel)
            return channel, ts
        except (NotShown, SlackApiError) as exc:
            if channel != job.lane:  # a person's direct messages: the next attempt looks the person up again
                raise
            reason = _explain_refusal(exc, channel)
        log.warning("follow-up goes to an admin", because=reason)
        await self._report_lane(job, channel, reason)
        admin_channel = await self._find_channel(job, "")
        ts = await self._poster.say_once(job, admin_channel, reply, id, event=EVENT, since=since, known_as=known_as)
        return admin_channel, ts


def _translate_errors(handle: Callable[[Job], Awaitable[JobResult]]) -> Handler:
    """Wrap a handler so that Slack errors become RetryLater, marked as an outage or as an error of this job alone."""

    async def run(_: Workspace, job: Job) -> JobResult:
        try:
            return await handle(job)
        except Unheard as exc:
            raise RetryLater("Slack did not answer", is_outage=True, is_doubtful=True) from exc
        except NotShown as exc:
            raise RetryLater(exc.verdict.name) from exc
        except Exception as exc:
            code, is_away = error_code(exc), is_outage(exc)
            if not is_away and code is None:
                raise
            reason = f"Slack says {code}" if code else "Slack does not answer"
            raise RetryLater(reason, wait=retry_after(exc), is_outage=is_away) from exc

    return run


def _explain_refusal(exc: NotShown | SlackApiError, channel: str) -> str:
    """Return why a channel accepts no messages; raises *exc* again if a retry may help."""
    if isinstance(exc, NotShown):
        return _NOT_OURS.format(channel)
    if error_code(exc) not in NO_PLACE:
        raise exc
    return f"Slack says `{error_code(exc)}` of <#{channel}>"
