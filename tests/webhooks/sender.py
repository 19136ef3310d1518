"""A sender that signs by hand as the Standard Webhooks specification says, and posts over a real connection."""

import base64
import hmac
import io
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession, ClientTimeout

SECRET = "whsec_" + base64.b64encode(b"one secret of thirty-two bytes..").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another one of thirty-two bytes.").decode()
START = 1_769_850_000_000_000  # 2026-01-31T09:00:00Z, in µs
SECOND = 1_000_000
DAY = 86_400 * SECOND


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        """Return the time, in µs UTC."""
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Return the body, parsed as JSON."""
        return json.loads(self.body)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Return the numbers of applied, duplicate, ignored and quarantined items."""
        assert self.status == 200, (self.status, self.body)
        document = self.document
        return document["applied"], document["duplicate"], document["ignored"], document["quarantined"]

    @property
    def outcomes(self) -> list[tuple[str, str | None]]:
        """Return the status and the reason of each item."""
        assert self.status == 200, (self.status, self.body)
        return [(item["status"], item["reason"]) for item in self.document["items"]]


def signature(body: bytes, *, delivery: str, timestamp: str, secret: str) -> str:
    """Sign `id.timestamp.body` with HMAC-SHA256."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{delivery}.{timestamp}.".encode() + body, "sha256").digest()
    return "v1," + base64.b64encode(digest).decode()


def signed(body: bytes, *, delivery: str, at: int, secret: str = SECRET) -> dict[str, str]:
    """Return the three headers of a delivery sent *at* a time in µs."""
    timestamp = str(at // SECOND)
    return {
        "webhook-id": delivery,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature(body, delivery=delivery, timestamp=timestamp, secret=secret),
    }


def encoded(document: object) -> bytes:
    """Encode a body as JSON."""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def item(kind: str = "score.set", email: str | None = "ada@example.com", **more: Any) -> dict[str, Any]:
    """Return an item: a change of `score` by default, to 50 if a value is required and not given."""
    body: dict[str, Any] = {"type": kind, "contact": {"email": email} if email else {}}
    if kind.startswith("score."):
        body["score"] = "score"
    if kind in ("score.set", "score.add"):
        body["value"] = 50
    return body | more


class Sender:
    """A system that pushes to one URL."""

    def __init__(self, session: ClientSession, url: str, *, clock: Callable[[], int], secret: str = SECRET) -> None:
        self.url = url
        self._session = session
        self._clock = clock
        self._secret = secret
        self._numbers = itertools.count(1)

    async def push(
        self,
        document: object,
        *,
        delivery: str | None = None,
        at: int | None = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Sign and post a document or bytes; *headers* replace the signed headers, or remove those with None."""
        body = encoded(document)
        delivery = delivery or f"msg_{next(self._numbers)}"
        own = signed(body, delivery=delivery, at=self._clock() if at is None else at, secret=self._secret)
        all_headers: dict[str, str | None] = {"content-type": "application/json", **own, **(headers or {})}
        return await self.post(body, headers={name: value for name, value in all_headers.items() if value is not None})

    async def post(self, body: Any, *, headers: Mapping[str, str]) -> Answer:
        """Post a body, or a stream of its parts, without signing it."""
        data = io.BytesIO(body) if isinstance(body, bytes) else body  # the client requires this for a large body
        return await self.request("POST", self.url, data=data, headers=headers)

    async def request(self, method: str, url: Any, **more: Any) -> Answer:
        """Send any request."""
        # Without this the client would add a content type.
        async with self._session.request(
            method, url, allow_redirects=False, skip_auto_headers=["Content-Type"], **more
        ) as answer:
            return Answer(status=answer.status, headers=dict(answer.headers), body=await answer.read())


def session() -> ClientSession:
    """Open a client session with a timeout of half a minute."""
    return ClientSession(timeout=ClientTimeout(total=30))
