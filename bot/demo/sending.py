"""Sign and post requests to the product, with a timeout."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The response to a request; status 0 if there was none.

    *note* is what Slack shows to the person; it is blank if all is well.
    """

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def failure(self) -> str:
        """Return Slack's error code for a bad response, or blank for a good one."""
        return "" if self.ok else self.note if self.status == 0 else "dispatch_failed"

    def json(self) -> Any:
        """Return the body as JSON, or None if it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def slack_signature(body: bytes, *, secret: str, timestamp: int) -> dict[str, str]:
    """Return the headers of https://docs.slack.dev/authentication/verifying-requests-from-slack/."""
    signed = b"v0:%d:" % timestamp + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": str(timestamp), "X-Slack-Signature": f"v0={digest}"}


def standard_webhook_signature(body: bytes, *, secret: str, message_id: str, timestamp: int) -> dict[str, str]:
    """Return the headers of https://www.standardwebhooks.com."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


async def post(
    session: aiohttp.ClientSession, url: str, *, body: bytes, headers: Mapping[str, str], patience: float
) -> Response:
    """Send a POST request and return the response; status 0 after *patience* seconds or without a connection."""
    try:
        async with asyncio.timeout(patience), session.post(url, data=body, headers=headers) as answer:
            return Response(
                status=answer.status, body=await answer.text(errors="replace"), headers=dict(answer.headers)
            )
    except TimeoutError:
        return Response(status=0, note="operation_timeout")
    except (aiohttp.ClientError, OSError):
        return Response(status=0, note="dispatch_failed")
