"""Limit what one request and one address may cost."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

MAX_BODY = 1024 * 1024
MAX_UPLOAD = 25 * MAX_BODY  #: the size of a file that is imported
UPLOADS = "/api/v1/imports"  #: the path that takes such a file
MAX_DEPTH = 64
MAX_ITEMS = 1000
MAX_CALLS = 30_000  # calls of the API a minute for each token, far more than one process can answer usefully
CHUNK = 64 * 1024
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
RATE = re.compile(r"([1-9][0-9]{0,6})/(s|min|h)")
PERIODS = {"s": SECOND, "min": MINUTE, "h": HOUR}
Body = TypeVar("Body", bound=Hashable)


class TooLarge(Exception):
    """The body is larger than the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit:,} bytes.")
        self.limit = limit


class Content(Protocol):
    """The part of aiohttp's *StreamReader* that is used here."""

    async def read(self, n: int) -> bytes:
        """Return at most *n* bytes, or none at the end."""
        ...


class BodyStream(Protocol):
    """
    The part of aiohttp's *web.BaseRequest* that is used here.

    It is a protocol, because modules that must not depend on aiohttp import the limits above.
    """

    @property
    def content_length(self) -> int | None:
        """The announced length, or None for a chunked body."""
        ...

    @property
    def content(self) -> Content:
        """The body, as it arrives."""
        ...


async def read_body(request: BodyStream, *, limit: int = MAX_BODY) -> bytes:
    """Return the body as sent; raises *TooLarge* before more than one chunk beyond the *limit* is in memory."""
    if (request.content_length or 0) > limit:
        raise TooLarge(limit)
    body = bytearray()
    while chunk := await request.content.read(CHUNK):
        body += chunk
        if len(body) > limit:
            raise TooLarge(limit)
    return bytes(body)


class UnfinishedBodies:
    """
    Limit the bodies that are still arriving: their bytes in total, and their number for each address.

    Beyond a limit, the oldest body is abandoned: a well-behaved sender's body arrives quickly.
    """

    def __init__(self, *, most_bytes: int = 16 * MAX_BODY, most_per_address: int = 32) -> None:
        self._most_bytes = most_bytes
        self._most_per_address = most_per_address
        self._bodies: dict[Any, tuple[int, str | None]] = {}  # body → (size, address), oldest first

    def add(self, body: Body, *, size: int, address: str | None) -> list[Body]:
        """
        Add a body, and return the bodies that must be abandoned; they are removed.

        *size* is the announced length, or the largest length that is read.
        A body without an *address* counts towards the total size only.
        """
        self._bodies[body] = size, address
        given_up = []
        neighbors = [other for other, (_, origin) in self._bodies.items() if address and origin == address]
        if len(neighbors) > self._most_per_address:
            given_up.append(neighbors[0])
            self.remove(neighbors[0])
        while sum(size for size, _ in self._bodies.values()) > self._most_bytes and len(self._bodies) > 1:
            oldest = next(iter(self._bodies))
            given_up.append(oldest)
            self.remove(oldest)
        return given_up

    def remove(self, body: object) -> None:
        """Remove a body that has arrived or was abandoned."""
        self._bodies.pop(body, None)


class FailureRate:
    """
    Count the failed authentications of each address, per minute from the address's first failure.

    At most *addresses* are stored. A further address replaces the one with the oldest minute.
    Times are microseconds since 1970.
    """

    def __init__(self, *, most: int = 600, addresses: int = 10_000) -> None:
        self._most = most
        self._addresses = addresses
        self._minutes: dict[str, tuple[int, int]] = {}  # address → (start of the minute, failures in it), oldest first

    def failed(self, address: str, *, now: int) -> int:
        """Count one failure, and return the seconds to wait, like *wait*."""
        began, failures = self._find_minute(address, now=now) or (now, 0)
        if not failures:
            self._minutes.pop(address, None)
            if len(self._minutes) >= self._addresses:
                del self._minutes[next(iter(self._minutes))]
        self._minutes[address] = began, failures + 1
        return self.wait(address, now=now)

    def wait(self, address: str, *, now: int) -> int:
        """Return how many whole seconds the address must wait: 0 unless it had more than *most* failures."""
        began, failures = self._find_minute(address, now=now) or (now, 0)
        return -((now - began - MINUTE) // SECOND) if failures > self._most else 0

    def _find_minute(self, address: str, *, now: int) -> tuple[int, int] | None:
        minute = self._minutes.get(address)
        # A start in the future means that the system clock was set back, which must not extend the wait.
        return minute if minute and 0 <= now - minute[0] < MINUTE else None


def read_rate(text: str) -> tuple[int, int]:
    """Return a rate such as `200/s` as (number, period in µs); raises *ValueError* with a sentence."""
    match = RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text[:40]}` is not a rate: write 200/s, 1000/min or 5000/h.")
    return int(match[1]), PERIODS[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a token may still do in this minute. *wait*: the seconds to wait; 0 if the request is within the limit."""

    remaining: int
    resets_in: int  #: seconds until the minute ends
    wait: int


class TokenRate:
    """
    Limit the requests of each token, per minute from the token's first request.

    The state is in this process only. Times are microseconds since 1970.
    """

    def __init__(self, *, most: int = MAX_CALLS) -> None:
        self.most = most
        self._minutes: dict[int, tuple[int, int]] = {}  # token → (start of the minute, requests in it)

    def count(self, token: int, *, now: int) -> Allowance:
        """Count one request of a token."""
        began, requests = self._minutes.get(token, (now, 0))
        # A start in the future means that the system clock was set back, which must not extend the wait.
        if not 0 <= now - began < MINUTE:
            began, requests = now, 0
        self._minutes[token] = began, requests + 1
        resets_in = -((now - began - MINUTE) // SECOND)
        is_over = requests >= self.most
        return Allowance(
            remaining=max(self.most - requests - 1, 0), resets_in=resets_in, wait=resets_in if is_over else 0
        )


class SourceRate:
    """
    Limit each source to its rate: a burst of one period's requests, then evenly spaced requests.

    The state is in this process only, and only for sources with a rate. Times are microseconds since 1970.
    """

    def __init__(self) -> None:
        self._free_at: dict[int, int] = {}  # source → when its full burst is available again

    def wait(self, source: int, *, rate: str | None, now: int) -> int:
        """Count one request and return 0; or return how many seconds the source must wait, without counting it."""
        if rate is None:
            return 0
        most, period = read_rate(rate)
        free_at = max(self._free_at.get(source, 0), now)
        if free_at > now + period:  # the system clock was set back, which must not extend the wait
            free_at = now
        free_at += period // most
        if free_at > now + period:
            return -((now + period - free_at) // SECOND)
        self._free_at[source] = free_at
        return 0
