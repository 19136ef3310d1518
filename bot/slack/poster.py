"""Post and edit messages: only where every reader may see scores, and once, even if Slack's answer was lost."""

import errno
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.blocks.elements import context, section
from bot.blocks.refusals import plain_reply
from bot.slack.access import Verdict
from bot.slack.directory import People
from bot.slack.errors import UNSURE, error_code
from bot.slack.handling import Reply
from storage.domain.backoff import SECOND
from storage.domain.people import Workspace
from storage.jobs import Job
from storage.posted_messages import record_posted

log = structlog.get_logger(__name__)

#: errors that say that a channel takes no message, so that a retry is useless
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
#: the note under a message that an earlier attempt may have posted already
REPEAT = "Possibly a repeat: Slack did not say whether it took this message before."
#: the text of a message after its contact was deleted
CONTACT_DELETED = "Contact deleted"
#: replaces the text of a message that not every reader may see any more
HIDDEN = "Hidden, because not everyone here may see scores; members can type `/score followups`."


class Unheard(Exception):
    """A message was sent, but it is unknown whether Slack accepted it."""


class NotShown(Exception):
    """Nothing was posted: not every reader of the conversation is known to be allowed to see scores."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.name)
        self.verdict = verdict


class Poster:
    """Posts and edits messages; the client must not retry by itself."""

    def __init__(
        self, client: AsyncWebClient, *, workspace: Workspace, people: People, clock: Callable[[], int]
    ) -> None:
        self._client = client
        self._workspace = workspace
        self._people = people
        self._clock = clock
        self._readers: dict[str, str] = {}  # direct-message channel → the other person

    async def direct(self, person: str) -> str:
        """Open direct messages with a person and return the channel id."""
        opened = await self._client.conversations_open(users=person)
        channel = str(opened["channel"]["id"])
        self._readers[channel] = person
        return channel

    async def reader(self, channel: str) -> str | None:
        """Return the id of the other person in direct messages, or None if Slack does not say."""
        return self._readers.get(channel) or await self._people.reader(channel, now=self._clock())

    async def send(
        self,
        channel: str,
        content: Reply | Verdict,
        *,
        ts: str | None = None,
        thread: str | None = None,
        metadata: dict[str, Any] | None = None,
        advice: str = "",
    ) -> str:
        """Post a message, or edit the message at *ts*, and return its ts. All posts and edits go through here.

        A Reply is sent only if every reader may see scores. Otherwise NotShown is raised, after the text of the message
        at *ts* was replaced. A Verdict contains no contact data and is always sent, with *advice*. Editing a message
        that is gone or not editable does nothing. Also raises Unheard if the outcome of a post is unknown, and Slack's
        other errors.
        """
        verdict = Verdict.ALLOWED if isinstance(content, Verdict) else await self._check_readers(channel)
        if isinstance(content, Verdict):
            reply = plain_reply(f"{content.value} {advice}".rstrip())
        elif verdict is Verdict.ALLOWED:
            reply = content
        elif ts is None:
            raise NotShown(verdict)
        else:
            reply = plain_reply(HIDDEN)
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
        """Replace the text of a message because its contact was deleted; return False if Slack refuses.

        A message that cannot be edited is deleted. Raises Slack's error if a retry may help.
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
        """Delete an uploaded picture by its file id; return False if Slack refuses."""
        try:
            await self._client.files_delete(file=file)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_DELETION:
                raise
            return error_code(exc) in ("file_not_found", "file_deleted")
        return True

    async def find_link(self, channel: str, ts: str) -> str:
        """Return the permalink of a message, or a mention of its channel if Slack has none."""
        try:
            return str((await self._client.chat_getPermalink(channel=channel, message_ts=ts))["permalink"])
        except SlackApiError:
            return f"in <#{channel}>"

    async def _check_readers(self, channel: str) -> Verdict:
        """Return whether everyone who reads a conversation may see scores; raises if Slack cannot answer now.

        In direct messages with the app, the other person is the only reader.
        """
        if channel not in self._readers and not channel.startswith("D"):
            return await self._people.may_post(channel, now=self._clock())
        reader = await self.reader(channel)
        return Verdict.UNKNOWN if reader is None else await self._people.may_read(reader, now=self._clock())

    async def post_once(
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
        """Send a message, unless an earlier attempt of the job already posted it; return its ts.

        If an earlier attempt of *job* may have posted, the message is searched by its metadata, for *id* or an id in
        *known_as*. If the search is not permitted or incomplete, the message is posted again, with a note that it may
        be a repeat. Raises as `send` does.
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
        """Search for a message from an earlier attempt; return its ts or None, and whether the search was complete."""
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


def _may_be_posted(exc: Exception) -> bool:
    """Return whether Slack may have posted a message although the call failed."""
    is_refused = isinstance(exc, OSError) and exc.errno == errno.ECONNREFUSED
    return not is_refused and error_code(exc) in (None, *UNSURE)


def retry_after(exc: Exception) -> int | None:
    """Return the time in µs that Slack asks callers to wait, or None."""
    if not isinstance(exc, SlackApiError):
        return None
    headers = getattr(exc.response, "headers", None) or {}
    seconds = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return int(seconds) * SECOND if str(seconds).isdecimal() else None
