"""Send a message to Slack once, also where nobody said whether it was taken."""

import errno
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.asking import Reply
from bot.blocks.elements import context, section
from bot.blocks.followup import REPEAT
from bot.people import UNSURE, error_code
from storage.domain.retries import SECOND
from storage.jobs import Job

log = structlog.get_logger(__name__)

#: a channel that these are said of takes no message, however often it is tried
NO_PLACE = frozenset(
    (
        *("channel_not_found", "is_archived", "not_in_channel", "restricted_action", "cannot_dm_bot", "user_disabled"),
        *("user_not_found", "messages_tab_disabled", "method_not_supported_for_channel_type"),
    )
)
_NO_MESSAGE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", *NO_PLACE})
_NO_LOOK = frozenset({"missing_scope", "unknown_method", "not_allowed_token_type", "no_permission", *NO_PLACE})


class Unheard(Exception):
    """A message was sent, and nobody said whether it was taken."""


class Poster:
    """Post and edit with a client that repeats nothing by itself."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client

    async def direct(self, person: str) -> str:
        """Give the conversation of the app with a person."""
        opened = await self._client.conversations_open(users=person)
        return str(opened["channel"]["id"])

    async def say_once(
        self,
        job: Job,
        place: str,
        reply: Reply,
        id: int | str,
        *,
        event: str,
        since: int,
        thread: str | None = None,
        known_as: Collection[int] = (),
    ) -> str:
        """Send a message, unless it was taken before without our hearing of it; give its time stamp.

        It is looked for where the *job* was begun before, by its metadata: under *id*, or one of *known_as*. Where we
        may not look, it is sent once more and says so. Raises Unheard, and what Slack says.
        """
        if job.is_doubtful:
            ts, looked = await self._seen(place, event, {id, *known_as}, since=since, thread=thread)
            if ts is not None:
                return ts
            if not looked:
                reply = replace(reply, blocks=[*(reply.blocks or [section(reply.text)]), context(REPEAT)])
        metadata = {"event_type": event, "event_payload": {"id": id}}
        try:
            said = await self._client.chat_postMessage(
                channel=place,
                text=reply.text,
                blocks=list(reply.blocks) or None,
                metadata=metadata,
                thread_ts=thread,
                unfurl_links=False,
                unfurl_media=False,
            )
        except Exception as exc:
            nobody_there = isinstance(exc, OSError) and exc.errno == errno.ECONNREFUSED
            if nobody_there or error_code(exc) not in (None, *UNSURE):
                raise
            raise Unheard from exc
        return str(said["ts"])

    async def update(self, place: str, ts: str, reply: Reply) -> None:
        """Show something else in a message; where it can be changed no more, it stays as it is."""
        try:
            await self._client.chat_update(channel=place, ts=ts, text=reply.text, blocks=list(reply.blocks))
        except SlackApiError as exc:
            if error_code(exc) not in _NO_MESSAGE:
                raise
            log.warning("message not edited", because=error_code(exc))

    async def _seen(
        self, place: str, event: str, ids: Collection[int | str], *, since: int, thread: str | None
    ) -> tuple[str | None, bool]:
        """Look for a message that may have been taken without our hearing of it; and say whether all was looked at."""
        looking: dict[str, Any] = {"channel": place, "oldest": f"{(since - SECOND) / 1_000_000:.6f}", "limit": 200}
        try:
            if thread is None:
                said = await self._client.conversations_history(**looking, include_all_metadata=True)
            else:
                said = await self._client.conversations_replies(**looking, ts=thread, include_all_metadata=True)
        except SlackApiError as exc:
            if error_code(exc) not in _NO_LOOK:
                raise
            return None, False
        for message in said["messages"]:
            metadata = message.get("metadata") or {}
            if metadata.get("event_type") == event and metadata.get("event_payload", {}).get("id") in ids:
                return str(message["ts"]), True
        return None, not said.get("has_more")


def retry_after(exc: Exception) -> int | None:
    """Give the µs that Slack asks us to wait, where it does."""
    if not isinstance(exc, SlackApiError):
        return None
    headers = getattr(exc.response, "headers", None) or {}
    seconds = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return int(seconds) * SECOND if str(seconds).isdecimal() else None
