"""A Slack Web API client that counts the outcome of each call, and a test for outages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.errors import PASSING, SHUT_OUT, error_code
from storage.sent_files import create_private

FILES_HOST = "files.slack.com"
MOST_BYTES = 25 * 1024 * 1024  #: of a file that is imported
CHUNK = 64 * 1024
DOWNLOAD_SECONDS = 60.0
NO_SCOPE = (
    "I may not read files here yet. An admin can change that at api.slack.com/apps: *OAuth & Permissions*, add the bot"
    " scope `files:read`, then *Reinstall to Workspace*."
)


class CountedClient(AsyncWebClient):
    """A Web API client that reports each call to *called* as (method, outcome).

    The outcome is `ok`, Slack's error code, `no answer` (an error without a code), or the name of the exception.
    """

    def __init__(self, *, called: Callable[[str, str], None], **settings: Any) -> None:
        super().__init__(**settings)
        self._called = called

    async def api_call(self, api_method: str, **arguments: Any) -> AsyncSlackResponse:
        """Call a Web API method and report the outcome; raises the same exceptions as AsyncWebClient."""
        try:
            answer = await super().api_call(api_method, **arguments)
        except SlackApiError as exc:
            self._called(api_method, error_code(exc) or "no answer")
            raise
        except Exception as exc:
            self._called(api_method, type(exc).__name__)
            raise
        self._called(api_method, "ok")
        return answer


def is_outage(exc: Exception) -> bool:
    """Return whether any other call would fail too: Slack is unreachable, busy or broken, or rejects the token."""
    if isinstance(exc, SlackApiError):
        return error_code(exc) in (None, *PASSING, *SHUT_OUT)
    return isinstance(exc, OSError | ClientError)


class NotDownloaded(Exception):
    """A file that a person sent cannot be read; the text says why, and what to do."""


async def download_file(client: AsyncWebClient, url: str, path: Path) -> None:
    """Write a file that a person sent to *path*. Raises NotDownloaded.

    The token is sent to Slack alone: to the host of its files, or to that of its API.
    """
    parts, own_host = urlsplit(url), urlsplit(str(client.base_url)).hostname
    if (parts.scheme, parts.hostname) != ("https", FILES_HOST) and parts.hostname != own_host:
        raise NotDownloaded("That file is not stored in Slack, so I cannot read it. Save it, and send it again.")
    size = 0
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=DOWNLOAD_SECONDS)) as session,
            session.get(url, headers={"Authorization": f"Bearer {client.token}"}, allow_redirects=False) as response,
        ):
            if response.status != 200 or response.content_type == "text/html":  # Slack shows a page to log in
                raise NotDownloaded(NO_SCOPE)
            with create_private(path) as file:
                async for chunk in response.content.iter_chunked(CHUNK):
                    size += len(chunk)
                    if size > MOST_BYTES:
                        raise NotDownloaded("That file is larger than 25 MiB: use `contact-score import` for it.")
                    file.write(chunk)
    except (OSError, ClientError, TimeoutError) as exc:
        raise NotDownloaded("Slack did not send me that file. Send it again in a minute.") from exc
