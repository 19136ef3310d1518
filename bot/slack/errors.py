"""The error codes of Slack's Web API."""

from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

#: errors after which the request may or may not have been carried out
UNSURE = frozenset({"internal_error", "fatal_error"})
#: temporary errors, which say nothing about the requested object
PASSING = frozenset({"ratelimited", "rate_limited", "service_unavailable", "request_timeout", *UNSURE})
#: errors by which Slack rejects the app's token, whatever the request
SHUT_OUT = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})


def error_code(exc: BaseException) -> str | None:
    """Return Slack's error code, or None if the exception has none."""
    answer = exc.response if isinstance(exc, SlackApiError) else None
    # If Slack itself fails, the response body is not necessarily a JSON object.
    return answer.get("error") if isinstance(answer, dict | AsyncSlackResponse) and _is_document(answer) else None


def _is_document(answer: Any) -> bool:
    return isinstance(getattr(answer, "data", answer), dict)
