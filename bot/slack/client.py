"""Call Slack's methods, count how each call ended, and tell why one failed."""

from collections.abc import Callable
from typing import Any

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.directory import PASSING, SHUT_OUT, error_code


class CountedClient(AsyncWebClient):
    """Slack's client, which tells *called* of each method and its outcome: `ok`, or what Slack said, or what failed."""

    def __init__(self, *, called: Callable[[str, str], None], **settings: Any) -> None:
        super().__init__(**settings)
        self._called = called

    async def api_call(self, api_method: str, **arguments: Any) -> AsyncSlackResponse:
        """Call a method."""
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
    """Tell whether any other call would have failed too: nobody answers, Slack is busy or broken, or shuts us out."""
    if isinstance(exc, SlackApiError):
        return error_code(exc) in (None, *PASSING, *SHUT_OUT)
    return isinstance(exc, OSError | ClientError)
