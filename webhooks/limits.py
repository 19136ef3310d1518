"""Bound what one request, and one address, may cost."""

import re
from collections.abc import Hashable
from typing import Any, Protocol, TypeVar

MAX_BODY = 1024 * 1024
MAX_DEPTH = 64
MAX_ITEMS = 1000
CHUNK = 64 * 1024
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
RATE = re.compile(r"([1-9][0-9]{0,6})/(s|min|h)")
PERIODS = {"s": SECOND, "min": MINUTE, "h": HOUR}
Body = TypeVar("Body", bound=Hashable)


class TooLarge(Exception):
    """The body is larger than this receiver reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit:,} bytes.")
        self.limit = limit


class Content(Protocol):
    """The part of aiohttp's *StreamReader* that is used here."""

    async def read(self, n: int) -> bytes:
        """Give at most *n* bytes, none at the end."""
        ...


class BodyStream(Protocol):
    """
    The part of aiohttp's *web.BaseRequest* that is used here.

    Said as a protocol, because the limits above are read by modules that must not know aiohttp.
    """

    @property
    def content_length(self) -> int | None:
        """The length that was announced, none for a chunked body."""
        ...

    @property
    def content(self) -> Content:
        """The body as it arrives."""
        ...


async def read_body(request: BodyStream, *, limit: int = MAX_BODY) -> bytes:
    """Read the bytes as they were sent, or raise *TooLarge* before more than a chunk beyond the *limit* is held."""
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
    Bound the bodies that are still arriving: what they may hold in all, and how many come from one address.

    Where there are too many, the oldest gives way: an honest sender's body arrives in a moment.
    """

    def __init__(self, *, most_bytes: int = 16 * MAX_BODY, most_per_address: int = 32) -> None:
        self._most_bytes = most_bytes
        self._most_per_address = most_per_address
        self._bodies: dict[Any, tuple[int, str | None]] = {}  # body → size, address; the oldest first

    def add(self, body: Body, *, size: int, address: str | None) -> list[Body]:
        """
        Add a body, and return those that must be given up; they are removed.

        *size* is the length that was announced, or the largest that is read.
        Without an *address* only the sizes count.
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
        """Remove a body that has arrived or was given up."""
        self._bodies.pop(body, None)


class FailureRate:
    """
    Count the failed authentications of each address, in a minute that begins with its first one.

    At most *addresses* are remembered; for one more, the one whose minute began first is forgotten.
    Times are microseconds since 1970.
    """

    def __init__(self, *, most: int = 600, addresses: int = 10_000) -> None:
        self._most = most
        self._addresses = addresses
        self._minutes: dict[str, tuple[int, int]] = {}  # when it began, failures since; the earliest first

    def failed(self, address: str, *, now: int) -> int:
        """Count one failure, and say as *wait* does what follows from it."""
        began, failures = self._find_minute(address, now=now) or (now, 0)
        if not failures:
            self._minutes.pop(address, None)
            if len(self._minutes) >= self._addresses:
                del self._minutes[next(iter(self._minutes))]
        self._minutes[address] = began, failures + 1
        return self.wait(address, now=now)

    def wait(self, address: str, *, now: int) -> int:
        """Say how many whole seconds the address has to wait: 0 until there were more than *most* failures."""
        began, failures = self._find_minute(address, now=now) or (now, 0)
        return -((now - began - MINUTE) // SECOND) if failures > self._most else 0

    def _find_minute(self, address: str, *, now: int) -> tuple[int, int] | None:
        minute = self._minutes.get(address)
        # A beginning that lies ahead means that our clock was put back: that must not hold anybody for longer.
        return minute if minute and 0 <= now - minute[0] < MINUTE else None


def read_rate(text: str) -> tuple[int, int]:
    """Read `200/s` as how many, and in how many µs; raises *ValueError* with a sentence."""
    match = RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text[:40]}` is no rate: write 200/s, 1000/min or 5000/h.")
    return int(match[1]), PERIODS[match[2]]


class SourceRate:
    """
    Hold each source to its rate: as many at once as it may send in a period, and from then on evenly.

    Kept in this process alone, for sources that have a rate; times are microseconds since 1970.
    """

    def __init__(self) -> None:
        self._free_at: dict[int, int] = {}  # when a source would have been quiet long enough to send all at once

    def wait(self, source: int, *, rate: str | None, now: int) -> int:
        """Count one request, and give 0; or say, without counting it, how many whole seconds it has to wait."""
        if rate is None:
            return 0
        most, period = read_rate(rate)
        free_at = max(self._free_at.get(source, 0), now)
        if free_at > now + period:  # our clock was put back: that must not hold anybody for longer
            free_at = now
        free_at += period // most
        if free_at > now + period:
            return -((now + period - free_at) // SECOND)
        self._free_at[source] = free_at
        return 0
