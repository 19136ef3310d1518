"""A Slack Web API client that counts the outcome of each call, and a test for outages."""

from collections.abc import Callable
from typing import Any

from aiohttp import ClientError
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.errors import PASSING, SHUT_OUT, error_code


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
