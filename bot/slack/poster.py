"""Post and edit messages where everybody who reads them may see scores, each once, also after an unheard answer."""

import errno
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.elements import context, section
from bot.blocks.followup import REPEAT
from bot.slack.access import Verdict
from bot.slack.directory import UNSURE, People, error_code
from bot.slack.handling import Reply
from storage.domain.backoff import SECOND
from storage.domain.people import Workspace
from storage.jobs import Job
from storage.posted_messages import record_posted

log = structlog.get_logger(__name__)

#: a channel that these are said of takes no message, however often it is tried
NO_PLACE = frozenset(
    (
        *("channel_not_found", "is_archived", "not_in_channel", "restricted_action", "cannot_dm_bot", "user_disabled"),
        *("user_not_found", "messages_tab_disabled", "method_not_supported_for_channel_type"),
    )
)
_NO_MESSAGE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", *NO_PLACE})
_NO_LOOK = frozenset({"missing_scope", "unknown_method", "not_allowed_token_type", "no_permission", *NO_PLACE})
_NO_DELETION = frozenset(
    {"cant_delete_message", "file_not_found", "file_deleted", "cant_delete_file", "missing_scope", *_NO_MESSAGE}
)
#: what a message about a contact says once the contact is deleted
CONTACT_DELETED = "Contact deleted"
#: what stands in a message that may not name anybody any more
HIDDEN = "Hidden, because not everyone here may see scores; members can type `/score followups`."


class Unheard(Exception):
    """A message was sent, and nobody said whether it was taken."""


class NotShown(Exception):
    """Not everybody who reads a conversation may see scores, or that is not known, so nothing is shown there."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.name)
        self.verdict = verdict


class Poster:
    """Post and edit with a client that repeats nothing by itself."""

    def __init__(
        self, client: AsyncWebClient, *, workspace: Workspace, people: People, clock: Callable[[], int]
    ) -> None:
        self._client = client
        self._workspace = workspace
        self._people = people
        self._clock = clock
        self._readers: dict[str, str] = {}  # direct messages → the person that they are opened with

    async def direct(self, person: str) -> str:
        """Return the conversation of the app with a person."""
        opened = await self._client.conversations_open(users=person)
        channel = str(opened["channel"]["id"])
        self._readers[channel] = person
        return channel

    async def reader(self, channel: str) -> str | None:
        """Return the person at the other end of direct messages, or None where Slack does not say."""
        return self._readers.get(channel) or await self._people.reader(channel, now=self._clock())

    async def send(
        self,
        channel: str,
        content: Reply | Verdict,
        *,
        ts: str | None = None,
        thread: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Post a message, or edit the one at *ts*, and return its time stamp. Nothing else posts or edits.

        A reply is sent only where everybody who reads it may see scores, else NotShown is raised and the message at
        *ts* loses all that it says. A verdict holds nothing of a contact and is sent to anybody. An edit of a message
        that is gone, or that Slack lets nobody edit any more, does nothing. Raises also Unheard, and what Slack says.
        """
        verdict = Verdict.ALLOWED if isinstance(content, Verdict) else await self._check_readers(channel)
        if isinstance(content, Verdict):
            reply = _plain_reply(content.value)
        elif verdict is Verdict.ALLOWED:
            reply = content
        elif ts is None:
            raise NotShown(verdict)
        else:
            reply = _plain_reply(HIDDEN)
        blocks = list(reply.blocks)
        if ts is None:
            try:
                posted = await self._client.chat_postMessage(
                    channel=channel,
                    text=reply.text,
                    blocks=blocks or None,
                    metadata=metadata,
                    thread_ts=thread,
                    unfurl_links=False,
                    unfurl_media=False,
                )
            except Exception as exc:
                if _may_be_posted(exc):
                    raise Unheard from exc
                raise
            await record_posted(self._workspace, channel=channel, ts=str(posted["ts"]), contacts=reply.contacts)
            return str(posted["ts"])
        await record_posted(self._workspace, channel=channel, ts=ts, contacts=reply.contacts)
        try:
            await self._client.chat_update(channel=channel, ts=ts, text=reply.text, blocks=blocks)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_MESSAGE:
                raise
            log.warning("message not edited", because=error_code(exc))
        if verdict is not Verdict.ALLOWED:
            raise NotShown(verdict)
        return ts

    async def hide_deleted(self, channel: str, ts: str) -> bool:
        """Replace all that a message says, because its contact was deleted; return False where Slack refuses that.

        A message that Slack does not let anybody edit is deleted. Raises what Slack says where trying again may help.
        """
        try:
            blocks = [section(CONTACT_DELETED)]
            await self._client.chat_update(channel=channel, ts=ts, text=CONTACT_DELETED, blocks=blocks)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_MESSAGE:
                raise
        else:
            return True
        try:
            await self._client.chat_delete(channel=channel, ts=ts)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_DELETION:
                raise
            return error_code(exc) == "message_not_found"
        return True

    async def delete_file(self, file: str) -> bool:
        """Delete a picture, by the id of its file; return False where Slack refuses that."""
        try:
            await self._client.files_delete(file=file)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_DELETION:
                raise
            return error_code(exc) in ("file_not_found", "file_deleted")
        return True

    async def find_link(self, channel: str, ts: str) -> str:
        """Return the address of a message, for people; without one, the channel that it is in."""
        try:
            return str((await self._client.chat_getPermalink(channel=channel, message_ts=ts))["permalink"])
        except SlackApiError:
            return f"in <#{channel}>"

    async def _check_readers(self, channel: str) -> Verdict:
        """Return whether everybody who reads a conversation may see scores; raises where Slack does not say just now.

        Of direct messages with the app that is one person.
        """
        if channel not in self._readers and not channel.startswith("D"):
            return await self._people.may_post(channel, now=self._clock())
        reader = await self.reader(channel)
        return Verdict.UNKNOWN if reader is None else await self._people.may_read(reader, now=self._clock())

    async def say_once(
        self,
        job: Job,
        channel: str,
        reply: Reply,
        id: int | str,
        *,
        event: str,
        since: int,
        thread: str | None = None,
        known_as: Collection[int] = (),
    ) -> str:
        """Send a message, unless it was taken before without our hearing of it; return its time stamp.

        It is looked for where the *job* was begun before, by its metadata: under *id*, or one of *known_as*. Where we
        may not look, it is sent once more and says so. Raises as `send` does.
        """
        if job.is_doubtful:
            ts, is_complete = await self._find_message(channel, event, {id, *known_as}, since=since, thread=thread)
            if ts is not None:
                return ts
            if not is_complete:
                reply = replace(reply, blocks=[*(reply.blocks or [section(reply.text)]), context(REPEAT)])
        metadata = {"event_type": event, "event_payload": {"id": id}}
        return await self.send(channel, reply, thread=thread, metadata=metadata)

    async def _find_message(
        self, channel: str, event: str, ids: Collection[int | str], *, since: int, thread: str | None
    ) -> tuple[str | None, bool]:
        """Look for a message that may have been taken without our hearing of it; and say whether all was looked at."""
        query: dict[str, Any] = {"channel": channel, "oldest": f"{(since - SECOND) / 1_000_000:.6f}", "limit": 200}
        try:
            if thread is None:
                response = await self._client.conversations_history(**query, include_all_metadata=True)
            else:
                response = await self._client.conversations_replies(**query, ts=thread, include_all_metadata=True)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_LOOK:
                raise
            return None, False
        for message in response["messages"]:
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == event and metadata.get("event_payload", {}).get("id") in ids:
                return str(message["ts"]), True
        return None, not response.get("has_more")


def _plain_reply(sentence: str) -> Reply:
    return Reply(text=sentence, blocks=[section(sentence)])


def _may_be_posted(exc: Exception) -> bool:
    """Return whether a message may have been taken although it failed to be sent."""
    is_refused = isinstance(exc, OSError) and exc.errno == errno.ECONNREFUSED
    return not is_refused and error_code(exc) in (None, *UNSURE)


def retry_after(exc: Exception) -> int | None:
    """Give the µs that Slack asks us to wait, where it does."""
    if not isinstance(exc, SlackApiError):
        return None
    headers = getattr(exc.response, "headers", None) or {}
    seconds = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return int(seconds) * SECOND if str(seconds).isdecimal() else None
