"""Carry out the jobs that end in Slack: post follow-ups, edit them, wake them, welcome an admin."""

import errno
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.access import Verdict
from bot.asking import Reply
from bot.blocks.followup import EVENT, follow_up_reply, storm_reply
from bot.blocks.setup import setup_reply
from bot.people import People, error_code
from storage import followups, jobs
from storage.alerting import OWNERS
from storage.contacts import contacts
from storage.definitions import score_types
from storage.domain.followups import WAITING, Move, TooLate
from storage.domain.people import Workspace
from storage.domain.retries import MOST_ATTEMPTS, PACE, SECOND, pause
from storage.followups import ASK, EDIT, WAKE, FollowUp
from storage.jobs import Job
from storage.workspaces import choices, was_welcomed

log = structlog.get_logger(__name__)

WELCOME = "welcome"
#: so many within that time, to one place, become one message
STORM, STORM_TIME = 50, 600 * SECOND
# A channel that these are said of takes no message, however often it is tried.
_NO_PLACE = frozenset(
    (
        *("channel_not_found", "is_archived", "not_in_channel", "restricted_action", "cannot_dm_bot", "user_disabled"),
        *("user_not_found", "messages_tab_disabled", "method_not_supported_for_channel_type"),
    )
)
_NO_MESSAGE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", *_NO_PLACE})
_NO_LOOK = frozenset({"missing_scope", "unknown_method", "not_allowed_token_type", "no_permission", *_NO_PLACE})


@dataclass(frozen=True, slots=True)
class _Done:
    """A job is done, and the jobs *along* with it; the lane rests for *pace* µs."""

    along: Collection[int] = ()
    pace: int = 0


class _Unheard(Exception):
    """A message was sent, and nobody said whether it was taken."""


class _Nowhere(Exception):
    """There is nobody to send it to."""


class Deliverer:
    """Carry out the jobs of one workspace; *posting* must not repeat anything by itself."""

    def __init__(
        self, *, workspace: Workspace, people: People, posting: AsyncWebClient, clock: Callable[[], int]
    ) -> None:
        self._workspace = workspace
        self._people = people
        self._client = posting
        self._clock = clock
        self._ways: dict[str, Callable[[Job], Awaitable[_Done]]] = {
            ASK: self._ask,
            EDIT: self._edit,
            WAKE: self._wake,
            WELCOME: self._welcome,
        }

    async def work(self) -> bool:
        """Take one job that is due and do it; false where there was none."""
        job = await jobs.claim(self._workspace, now=self._clock())
        if job is None:
            return False
        try:
            done = await self._ways[job.kind](job)
        except Exception as exc:
            await self._try_again(job, exc)
        else:
            await jobs.settle(self._workspace, job=job, done=done.along, pace=done.pace, now=self._clock())
        return True

    async def _try_again(self, job: Job, exc: Exception) -> None:
        now, code = self._clock(), error_code(exc) or type(exc).__name__
        if job.attempts >= MOST_ATTEMPTS or isinstance(exc, _Nowhere):
            log.error("job given up", kind=job.kind, because=code)
            await jobs.give_up(self._workspace, job=job, because=code, now=now)
            return
        refused = isinstance(exc, SlackApiError) and error_code(exc) is not None  # Slack said no
        wait = retry_after(exc) or pause(job.attempts)
        log.warning("job postponed", kind=job.kind, because=code)
        await jobs.postpone(
            self._workspace,
            job=job,
            until=now + wait,
            holds_lane=not refused or code == "ratelimited",
            is_doubtful=job.is_doubtful or isinstance(exc, _Unheard),
            because=code,
            now=now,
        )

    async def _ask(self, job: Job) -> _Done:
        now = self._clock()
        one = await self._subject(job)
        if one is None or one.posted_at is not None or one.standing.state not in WAITING:
            return _Done()
        due = await jobs.due_in_lane(self._workspace, lane=job.lane, kind=ASK, now=now)
        before = await followups.posted_since(self._workspace, lane=job.lane, since=now - STORM_TIME)
        if len(due) + len(before) > STORM:
            return await self._ask_for_many(job, due, before)
        place = await self._place(job.lane)
        ts = await self._seen(place, one) if job.is_doubtful else None
        if ts is None:
            repeat = job.is_doubtful and not await self._can_look(place)
            reply = await self._draw(one, repeat=repeat)
            place, ts = await self._post(place, reply, one.id)
        await followups.posted(self._workspace, ids=[one.id], channel=place, ts=ts, in_list=False, now=now)
        return _Done(pace=PACE)

    async def _ask_for_many(self, job: Job, due: dict[int, int], before: Sequence[FollowUp]) -> _Done:
        """Put what waits into the list of this storm, which is posted with the first of it."""
        now = self._clock()
        found = await followups.by_ids(self._workspace, ids=due.values())
        fresh = [one for one in found if one.posted_at is None and one.standing.state in WAITING]
        listed = [one for one in before if one.in_list]
        if not fresh:
            return _Done(along=due)
        last = listed[-1] if listed else None
        if last is not None and last.message_channel and last.message_ts:
            place, ts = last.message_channel, last.message_ts
            await self._update(place, ts, await self._draw_many([*listed, *fresh]))
        else:
            reply = await self._draw_many(fresh, repeat=job.is_doubtful)
            place, ts = await self._post(await self._place(job.lane), reply, fresh[0].id)
        ids = [one.id for one in fresh]
        await followups.posted(self._workspace, ids=ids, channel=place, ts=ts, in_list=True, now=now)
        return _Done(along=due, pace=PACE)

    async def _edit(self, job: Job) -> _Done:
        one = await self._subject(job)
        if one is None or one.message_channel is None or one.message_ts is None:
            return _Done()  # it shows what it is when it is posted
        reply = await self._draw(one)
        if one.in_list:
            sharing = await followups.sharing_message(self._workspace, channel=one.message_channel, ts=one.message_ts)
            reply = await self._draw_many(sharing)
        await self._update(one.message_channel, one.message_ts, reply)
        return _Done()

    async def _wake(self, job: Job) -> _Done:
        one = await self._subject(job)
        if one is None:
            return _Done()
        try:
            awake = await followups.move(self._workspace, id=one.id, move=Move.WAKE, by=None, now=self._clock())
        except TooLate:  # claimed or done meanwhile
            return _Done()
        if awake.standing == one.standing or one.in_list or one.message_channel is None:
            return _Done()
        # An edit notifies nobody. Lost with the process at this very moment, it is not said again: the list shows it.
        await self._client.chat_postMessage(
            channel=one.message_channel,
            thread_ts=one.message_ts,
            text=f"<@{one.standing.holder}> snoozed this until now; it is open again.",
        )
        return _Done(pace=PACE)

    async def _subject(self, job: Job) -> FollowUp | None:
        """Give the follow-up of a job, none where its contact was deleted meanwhile."""
        found = await followups.by_ids(self._workspace, ids=[job.subject])
        return found[0] if found else None

    async def _welcome(self, job: Job) -> _Done:
        now, chosen = self._clock(), await choices(self._workspace)
        if chosen.welcomed_at is None and chosen.set_up_at is None:
            admin = await self._people.an_admin(chosen.admins, now=now)
            if admin is None:
                raise _Nowhere
            reply = setup_reply(chosen, await score_types(self._workspace))
            await self._say(await self._direct(admin), reply, None)
            await was_welcomed(self._workspace, now=now)
        return _Done(pace=PACE)

    async def _draw(self, one: FollowUp, *, repeat: bool = False) -> Reply:
        (contact,) = await contacts(self._workspace, ids=[one.contact])
        types = await score_types(self._workspace)
        owner = await self._people.by_address(contact.owner, now=self._clock()) if contact.owner else None
        score_type = next((each for each in types if each.key == one.score), None)
        return follow_up_reply(one, contact, score_type, owner=owner, repeat=repeat)

    async def _draw_many(self, many: Sequence[FollowUp], *, repeat: bool = False) -> Reply:
        people = {one.id: one for one in await contacts(self._workspace, ids=[one.contact for one in many])}
        types = {one.key: one for one in await score_types(self._workspace)}
        return storm_reply([one for one in many if one.contact in people], people, types, repeat=repeat)

    async def _place(self, lane: str) -> str:
        """Say where the messages of a lane go: the channel that was chosen, if it is ours alone, else a person."""
        now = self._clock()
        if lane[:1] in ("C", "G"):
            if await self._people.may_post(lane, now=now) is Verdict.ALLOWED:
                return lane
            log.warning("follow-up goes to an admin", because="the channel is not ours alone, or I am not in it")
        owner = lane.removeprefix(OWNERS) if lane.startswith(OWNERS) else None
        person = await self._people.by_address(owner, now=now) if owner else None
        if person is None:
            person = await self._people.an_admin((await choices(self._workspace)).admins, now=now)
        if person is None:
            raise _Nowhere
        return await self._direct(person)

    async def _direct(self, person: str) -> str:
        opened = await self._client.conversations_open(users=person)
        return str(opened["channel"]["id"])

    async def _post(self, place: str, reply: Reply, id: int) -> tuple[str, str]:
        """Post where it should go, or straight to an admin where that place takes nothing."""
        try:
            return place, await self._say(place, reply, id)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_PLACE or place.startswith("D"):
                raise
            log.warning("follow-up goes to an admin", because=error_code(exc))
            elsewhere = await self._place("")
            return elsewhere, await self._say(elsewhere, reply, id)

    async def _say(self, place: str, reply: Reply, id: int | None) -> str:
        metadata = {"event_type": EVENT, "event_payload": {"id": id}} if id is not None else None
        try:
            said = await self._client.chat_postMessage(
                channel=place,
                text=reply.text,
                blocks=list(reply.blocks),
                metadata=metadata,
                unfurl_links=False,
                unfurl_media=False,
            )
        except Exception as exc:
            nobody_there = isinstance(exc, OSError) and exc.errno == errno.ECONNREFUSED
            if error_code(exc) is not None or nobody_there:
                raise
            raise _Unheard from exc
        return str(said["ts"])

    async def _update(self, place: str, ts: str, reply: Reply) -> None:
        try:
            await self._client.chat_update(channel=place, ts=ts, text=reply.text, blocks=list(reply.blocks))
        except SlackApiError as exc:
            if error_code(exc) not in _NO_MESSAGE:
                raise
            log.warning("message not edited", because=error_code(exc))

    async def _seen(self, place: str, one: FollowUp) -> str | None:
        """Look in the channel for a message that may have been taken without our hearing of it."""
        try:
            oldest = f"{(one.asked_at - SECOND) / 1_000_000:.6f}"
            said = await self._client.conversations_history(
                channel=place, oldest=oldest, limit=200, include_all_metadata=True
            )
        except SlackApiError as exc:
            if error_code(exc) not in _NO_LOOK:
                raise
            return None
        for message in said["messages"]:
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == EVENT and metadata.get("event_payload", {}).get("id") == one.id:
                return str(message["ts"])
        return None

    async def _can_look(self, place: str) -> bool:
        try:
            await self._client.conversations_history(channel=place, limit=1)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_LOOK:
                raise
            return False
        return True


def retry_after(exc: Exception) -> int | None:
    """Give the µs that Slack asks us to wait, where it does."""
    if not isinstance(exc, SlackApiError):
        return None
    headers = getattr(exc.response, "headers", None) or {}
    seconds = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return int(seconds) * SECOND if str(seconds).isdecimal() else None
