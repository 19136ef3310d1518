"""Carry out the jobs that end in Slack: post follow-ups, edit them, wake them, welcome an admin."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.digest import DIGEST_EVENT, digest_reply
from bot.blocks.elements import context, section
from bot.blocks.followup import EVENT, follow_up_reply, headline, storm_reply
from bot.blocks.setup import setup_reply
from bot.blocks.sources import STANDING_EVENT, source_health_reply
from bot.slack.client import is_outage
from bot.slack.directory import People, error_code
from bot.slack.handling import Reply
from bot.slack.poster import NO_PLACE, NotShown, Poster, Unheard, retry_after
from bot.slack.text import escape
from storage import jobs
from storage.alerts import followup_moves, followups
from storage.alerts.decide import OWNERS, SWEEP, SWEEP_EVERY, sweep
from storage.alerts.digests import DIGEST_JOB, digests, gather_news, record_digest_sent
from storage.alerts.followup_moves import ASK, EDIT, ESCALATE, RELEASE, WAKE
from storage.alerts.followups import FollowUp, Whose
from storage.domain.backoff import MOST_ATTEMPTS, MOST_HELD, PACE, SECOND, pause
from storage.domain.business_hours import is_at_work, is_same_day, next_time
from storage.domain.errors import StorageUnavailable
from storage.domain.facts import DAY
from storage.domain.followups import WAITING, FollowUpMove, TooLate
from storage.domain.people import Workspace
from storage.jobs import Job
from storage.ledger.contacts import contacts
from storage.notices import NO_ADMIN, clear_notice, is_noticed, record_notice
from storage.scoring.definitions import score_types
from storage.sources import health as source_health
from storage.sources.health import TELL, WATCH, WATCH_EVERY
from storage.workspaces import load_choices, record_welcome

log = structlog.get_logger(__name__)

WELCOME = "welcome"
#: the types of the metadata that our messages carry beside a follow-up and a digest
WORD, NOTICE = "word", "notice"
#: so many within that time, to one place, become one message
STORM, STORM_TIME = 50, 600 * SECOND
# What comes again and again is never given up.
_FOR_EVER = frozenset({SWEEP, WATCH, DIGEST_JOB})


@dataclass(frozen=True, slots=True)
class _Done:
    """A job is done, and the jobs *along* with it; the lane rests for *pace* µs. It comes again at *again*."""

    along: Collection[int] = ()
    pace: int = 0
    again: int | None = None


@dataclass(frozen=True, slots=True)
class _ByTime:
    """What time does to a follow-up: the move, and what is said under its message."""

    move: FollowUpMove
    said: str


_BY_TIME = {
    WAKE: _ByTime(FollowUpMove.WAKE, "<@{holder}> snoozed this until now; it is open again."),
    RELEASE: _ByTime(
        FollowUpMove.RELEASE, "<@{holder}> claimed this three days ago and did not end it; it is open again."
    ),
    ESCALATE: _ByTime(FollowUpMove.ESCALATE, "<@{whom}>, nobody has claimed this in time."),
}
_NOT_OURS = "<#{}> was archived or shared, has guests in it, or I am not in it any more"
_NO_DIGEST = "So its digest is not sent. To send it elsewhere: `/score alerts digest 9:00 in #sales`"


class _Nowhere(Exception):
    """There is nobody to send it to."""


class Deliverer:
    """Carry out the jobs of one workspace; *posting* must not repeat anything by itself."""

    def __init__(
        self, *, workspace: Workspace, people: People, posting: AsyncWebClient, clock: Callable[[], int]
    ) -> None:
        self._workspace = workspace
        self._people = people
        self._poster = Poster(posting, people=people, clock=clock)
        self._clock = clock
        self._ways: dict[str, Callable[[Job], Awaitable[_Done]]] = {
            ASK: self._ask,
            EDIT: self._edit,
            WAKE: self._by_time,
            RELEASE: self._by_time,
            ESCALATE: self._by_time,
            WELCOME: self._welcome,
            SWEEP: self._sweep,
            DIGEST_JOB: self._digest,
            WATCH: self._watch,
            TELL: self._tell_standing,
        }

    async def work(self) -> bool:
        """Take one job that is due and do it; false where there was none."""
        job = await jobs.claim(self._workspace, kinds=self._ways, now=self._clock())
        if job is None:
            return False
        try:
            done = await self._ways[job.kind](job)
        except Exception as exc:
            await self._try_again(job, exc)
        else:
            now = self._clock()
            if done.again is not None:
                await jobs.reschedule(self._workspace, job=job, at=done.again, now=now)
            else:
                await jobs.settle(self._workspace, job=job, done=done.along, pace=done.pace, now=now)
        return True

    async def _try_again(self, job: Job, exc: Exception) -> None:
        now, code = self._clock(), error_code(exc) or type(exc).__name__
        # What would have failed whatever it is about is no reason to give this one up.
        is_away = isinstance(exc, Unheard | StorageUnavailable) or is_outage(exc)
        is_hopeless = job.attempts >= MOST_ATTEMPTS and not is_away and job.kind not in _FOR_EVER
        if is_hopeless or isinstance(exc, _Nowhere):
            log.error("job given up", kind=job.kind, because=code)
            await jobs.give_up(self._workspace, job=job, because=code, now=now)
            return
        wait = retry_after(exc) or pause(job.attempts)
        log.warning("job postponed", kind=job.kind, because=code)
        await jobs.postpone(
            self._workspace,
            job=job,
            until=now + wait,
            # Where Slack is away nobody overtakes; after a day it may well be this one that Slack stumbles over.
            holds_lane=(is_away or not isinstance(exc, SlackApiError)) and job.attempts < MOST_HELD,
            is_doubtful=job.is_doubtful or isinstance(exc, Unheard),
            because=code,
            now=now,
        )

    async def _ask(self, job: Job) -> _Done:
        now = self._clock()
        one = await self._of(job)
        if one is None or one.posted_at is not None or one.standing.state not in WAITING:
            return _Done()
        due = await jobs.list_due_in_lane(self._workspace, lane=job.lane, kind=ASK, now=now)
        before = await followups.list_posted_since(self._workspace, lane=job.lane, since=now - STORM_TIME)
        if len(due) + len(before) > STORM:
            return await self._ask_for_many(job, due, before)
        place, ts = await self._post(job, await self._draw(one), one.id, since=one.asked_at)
        await followup_moves.record_message(self._workspace, ids=[one.id], channel=place, ts=ts, in_list=False, now=now)
        return _Done(pace=PACE)

    async def _ask_for_many(self, job: Job, due: dict[int, int], before: Sequence[FollowUp]) -> _Done:
        """Put what waits into the list of this storm, which is posted with the first of it."""
        now = self._clock()
        found = await followups.load_follow_ups(self._workspace, ids=due.values())
        fresh = [one for one in found if one.posted_at is None and one.standing.state in WAITING]
        if not fresh:
            return _Done(along=due)
        last = next((one for one in reversed(before) if one.in_list), None)
        if last is None:
            reply = await self._draw_many(fresh)
            since = min(one.asked_at for one in fresh)
            place, ts = await self._post(job, reply, fresh[0].id, since=since, known_as=due.values())
            if job.is_doubtful:  # what was taken before may have been about fewer
                last = replace(fresh[0], message_channel=place, message_ts=ts, in_list=True)
        if last is not None:
            place, ts = await self._redraw(job, last, fresh)
        ids = [one.id for one in fresh]
        await followup_moves.record_message(self._workspace, ids=ids, channel=place, ts=ts, in_list=True, now=now)
        return _Done(along=due, pace=PACE)

    async def _of(self, job: Job) -> FollowUp | None:
        """Give the follow-up that a job is about; none where it is gone with its contact."""
        found = await followups.load_follow_ups(self._workspace, ids=[job.subject])
        return found[0] if found else None

    async def _edit(self, job: Job) -> _Done:
        one = await self._of(job)
        if one is None or one.message_channel is None or one.message_ts is None:
            return _Done()  # it shows what it is when it is posted
        _, ts = await self._redraw(job, one)
        return _Done(pace=0 if ts == one.message_ts else PACE)

    async def _redraw(self, job: Job, one: FollowUp, fresh: Sequence[FollowUp] = ()) -> tuple[str, str]:
        """Edit the message of a follow-up, which lists *fresh* too from now on, and return its place and time stamp.

        Where not everybody who reads it may see scores any more, it loses what it says and an admin gets a message in
        its place, which is the one that is edited from then on. Without an admin it is tried again with the next edit.
        """
        place, ts = str(one.message_channel), str(one.message_ts)
        listed = [one]
        if one.in_list:  # all that it lists, and not only what was posted lately: a storm may last
            listed = await followups.list_sharing_message(self._workspace, channel=place, ts=ts)
        reply = await self._draw_many([*listed, *fresh]) if one.in_list else await self._draw(one)
        try:
            await self._poster.send(place, reply, ts=ts)
            return place, ts
        except NotShown as exc:
            log.warning("message hidden", because=exc.verdict.name)
        admin = await self._admin()
        if admin is None:
            return place, ts
        to, shown = await self._poster.direct(admin), [*listed, *fresh]
        reply = replace(reply, blocks=[context(await self._why_hidden(place)), *reply.blocks])
        since = min(each.posted_at or each.asked_at for each in shown)
        ids = [each.id for each in shown]
        moved = await self._poster.say_once(job, to, reply, ids[0], event=EVENT, since=since, known_as=ids)
        if job.is_doubtful:  # what was taken before may have been about fewer
            await self._poster.send(to, reply, ts=moved)
        await followup_moves.move_message(self._workspace, channel=place, ts=ts, to_channel=to, to_ts=moved)
        return to, moved

    async def _why_hidden(self, place: str) -> str:
        """Return the line that tells an admin why they get what was shown in a place."""
        if not place.startswith("D"):
            return f"{_NOT_OURS.format(place)}, so this comes to you. To choose another place: `/score setup`"
        reader = await self._poster.reader(place)
        who = f"<@{reader}>" if reader else "The person who read it"
        return f"{who} is no active member here, so what they were shown comes to you."

    async def _by_time(self, job: Job) -> _Done:
        """Wake, release or escalate a follow-up, and say so under its message: an edit notifies nobody."""
        way, one = _BY_TIME[job.kind], await self._of(job)
        if one is None:
            return _Done()
        now, place = self._clock(), one.message_channel
        try:
            moved = await followup_moves.apply_move(self._workspace, id=one.id, move=way.move, by=None, now=now)
        except TooLate:  # claimed or done meanwhile, or moved by whoever had this job before
            moved = one
        *before, last = await followups.list_steps(self._workspace, id=one.id)
        moved_before = job.attempts > 1 and last.move == way.move  # and the word of it was not sent
        if moved.standing == one.standing and not moved_before:
            return _Done()
        if way.move is FollowUpMove.ESCALATE and (place is None or one.in_list or place.startswith("D")):
            return await self._tell_escalated(job, one, since=last.at)
        if one.in_list or place is None:
            return _Done()
        said = Reply(text=way.said.format(holder=before[-1].by, whom=one.escalate_to))
        try:
            await self._poster.say_once(job, place, said, job.id, event=WORD, since=last.at, thread=one.message_ts)
        except (NotShown, SlackApiError) as exc:
            log.warning("not said in a thread", because=_why_not(exc, place))
            if way.move is FollowUpMove.ESCALATE:
                return await self._tell_escalated(job, one, since=last.at)
        return _Done(pace=PACE)

    async def _tell_escalated(self, job: Job, one: FollowUp, *, since: int) -> _Done:
        """Tell somebody what is escalated to them, where they do not see its message."""
        person, why = one.escalate_to, ""
        if person is not None and await self._people.colleague(person, now=self._clock()) is None:
            why = f"\n<@{person}> is no active member here, so this escalation comes to you."
            person = await self._admin()
        if person is None:
            return _Done()
        (contact,) = await contacts(self._workspace, ids=[one.contact])
        types = {each.key: each for each in await score_types(self._workspace)}
        said = headline(one, contact, types.get(one.score))
        said += f"\nNobody has claimed this in time. See to it: `/score followups {'open' if why else 'mine'}`{why}"
        reply = Reply(text=said.replace("*", ""), blocks=[section(said)])
        await self._poster.say_once(job, await self._poster.direct(person), reply, job.id, event=WORD, since=since)
        return _Done(pace=PACE)

    async def _sweep(self, job: Job) -> _Done:
        """Decide what time alone decided, and look again in a minute."""
        now = self._clock()
        await sweep(self._workspace, now=now)
        return _Done(again=now + SWEEP_EVERY)

    async def _watch(self, job: Job) -> _Done:
        """Look whether every source still works, and again in five minutes."""
        now = self._clock()
        for source, standing in await source_health.check_sources(self._workspace, now=now):
            log.warning("source stands otherwise", source=source, standing=standing)
        return _Done(again=now + WATCH_EVERY)

    async def _tell_standing(self, job: Job) -> _Done:
        """Tell an admin how a source stands, unless they know it by now."""
        changed = await source_health.load_unreported(self._workspace, source=job.subject)
        if changed is None:
            return _Done()
        admin = await self._admin()
        if admin is None:
            raise _Nowhere
        place = await self._poster.direct(admin)
        await self._poster.say_once(
            job, place, source_health_reply(changed), job.id, event=STANDING_EVENT, since=changed.since
        )
        await source_health.record_reported(self._workspace, changed=changed)
        return _Done(pace=PACE)

    async def _digest(self, job: Job) -> _Done:
        """Send what is new to one place, once a day and in its working hours; nothing where nothing is."""
        now = self._clock()
        one = next((each for each in await digests(self._workspace) if each.id == job.subject), None)
        if one is None:
            return _Done()
        again = next_time(one.zone, one.minute, after=now)
        sent_today = one.sent_at is not None and is_same_day(one.zone, one.sent_at, now)
        if sent_today or not is_at_work(one.zone, now):
            return _Done(again=again)
        is_persons = one.place[:1] in ("U", "W")
        person = await self._people.colleague(one.place, now=now) if is_persons else None
        what = f"{DIGEST_JOB}/{one.place}"
        if is_persons and person is None:
            await self._tell_once(job, what, f"<@{one.place}> is no active member here, so their digest is not sent.")
            return _Done(again=again)
        whose = Whose(id=person.id, address=person.email) if person is not None else None
        told = await gather_news(self._workspace, digest=one, whose=whose, now=now)
        if not told.is_empty:
            place = await self._poster.direct(one.place) if is_persons else one.place
            many = [*told.asked, *told.overdue, *told.waking]
            known = await contacts(self._workspace, ids=[each.contact for each in many])
            types = {each.key: each for each in await score_types(self._workspace)}
            reply = digest_reply(told, {each.id: each for each in known}, types, place=one.place)
            try:
                await self._poster.say_once(job, place, reply, one.id, event=DIGEST_EVENT, since=now - DAY // 2)
            except (NotShown, SlackApiError) as exc:
                await self._tell_once(job, what, f"{_why_not(exc, place)}. {_NO_DIGEST}")
                return _Done(again=again)
            await clear_notice(self._workspace, what=what)
        await record_digest_sent(self._workspace, id=one.id, top=told.top, now=now)
        return _Done(again=again)

    async def _welcome(self, job: Job) -> _Done:
        now, chosen = self._clock(), await load_choices(self._workspace)
        if chosen.welcomed_at is None and chosen.set_up_at is None:
            admin = await self._admin()
            if admin is None:
                raise _Nowhere
            reply = setup_reply(chosen, await score_types(self._workspace))
            await self._poster.say_once(job, await self._poster.direct(admin), reply, 0, event=WELCOME, since=now - DAY)
            await record_welcome(self._workspace, now=now)
        return _Done(pace=PACE)

    async def _draw(self, one: FollowUp) -> Reply:
        (contact,) = await contacts(self._workspace, ids=[one.contact])
        types = await score_types(self._workspace)
        owner = await self._people.by_address(contact.owner, now=self._clock()) if contact.owner else None
        score_type = next((each for each in types if each.key == one.score), None)
        return follow_up_reply(one, contact, score_type, owner=owner)

    async def _draw_many(self, many: Sequence[FollowUp]) -> Reply:
        people = {one.id: one for one in await contacts(self._workspace, ids=[one.contact for one in many])}
        types = {one.key: one for one in await score_types(self._workspace)}
        return storm_reply([one for one in many if one.contact in people], people, types)

    async def _place(self, job: Job, lane: str) -> str:
        """Return where the messages of a lane go: the channel that was chosen, else a person's direct messages."""
        if lane[:1] in ("C", "G"):
            return lane
        owner = lane.removeprefix(OWNERS) if lane.startswith(OWNERS) else None
        person = await self._people.by_address(owner, now=self._clock()) if owner else None
        if owner and person is None:
            await self._tell_of_lane(job, lane, f"No active member has the address {escape(owner)}")
        if person is None:
            person = await self._admin()
        if person is None:
            raise _Nowhere
        return await self._poster.direct(person)

    async def _admin(self) -> str | None:
        """Return the admin who gets what nobody else may, or None; the Home tab says so while there is none."""
        now = self._clock()
        admin = await self._people.an_admin((await load_choices(self._workspace)).admins, now=now)
        if admin is None:
            log.error("no admin to be reached")
            await record_notice(self._workspace, what=NO_ADMIN, now=now)
        else:
            await clear_notice(self._workspace, what=NO_ADMIN)
        return admin

    async def _tell_of_lane(self, job: Job, lane: str, because: str) -> None:
        where = f"<#{lane}>" if lane[:1] in ("C", "G") else "the contact's owner"
        said = f"{because}, so what was meant for {where} comes to you. To choose another place: `/score setup`"
        await self._tell_once(job, lane, said)

    async def _tell_once(self, job: Job, what: str, said: str) -> None:
        """Tell an admin that something is not as it should be; once, until it is well again."""
        now = self._clock()
        if await is_noticed(self._workspace, what=what):
            return
        admin = await self._admin()
        if admin is None:
            return
        reply = Reply(text=said, blocks=[section(said)])
        await self._poster.say_once(job, await self._poster.direct(admin), reply, what, event=NOTICE, since=now - DAY)
        await record_notice(self._workspace, what=what, now=now)

    async def _post(
        self, job: Job, reply: Reply, id: int, *, since: int, known_as: Collection[int] = ()
    ) -> tuple[str, str]:
        """Post where the job's lane goes, or straight to an admin where nothing may be, or can be, posted there."""
        place = await self._place(job, job.lane)
        try:
            ts = await self._poster.say_once(job, place, reply, id, event=EVENT, since=since, known_as=known_as)
            await clear_notice(self._workspace, what=place)
            return place, ts
        except (NotShown, SlackApiError) as exc:
            if place != job.lane:  # a person's, and looked up again with the next attempt
                raise
            because = _why_not(exc, place)
        log.warning("follow-up goes to an admin", because=because)
        await self._tell_of_lane(job, place, because)
        elsewhere = await self._place(job, "")
        ts = await self._poster.say_once(job, elsewhere, reply, id, event=EVENT, since=since, known_as=known_as)
        return elsewhere, ts


def _why_not(exc: NotShown | SlackApiError, place: str) -> str:
    """Return why a place takes no message; raises the exception where trying again may help."""
    if isinstance(exc, NotShown):
        return _NOT_OURS.format(place)
    if error_code(exc) not in NO_PLACE:
        raise exc
    return f"Slack says `{error_code(exc)}` of <#{place}>"
