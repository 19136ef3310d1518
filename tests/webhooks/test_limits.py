"""The limits of a request, and of an address."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from hypothesis import given
from hypothesis import strategies as st

from webhooks.limits import (
    CHUNK,
    MAX_BODY,
    MAX_DEPTH,
    MAX_ITEMS,
    Allowance,
    FailureRate,
    TokenRate,
    TooLarge,
    read_body,
)

LIMIT = 150_000  # more than a chunk, and not a multiple of one
SECOND = 1_000_000
MINUTE = 60 * SECOND
NOW = 1_769_850_000_000_000


def test_limits_are_the_promised_ones() -> None:
    """The limits are those in the README and in the HTTP answers."""
    assert (MAX_BODY, MAX_DEPTH, MAX_ITEMS) == (1_048_576, 64, 1_000)


class Endless:
    """A chunked body that never ends, and counts the bytes read."""

    content_length = None

    def __init__(self) -> None:
        self.taken = 0

    @property
    def content(self) -> "Endless":
        """The body is its own stream."""
        return self

    async def read(self, n: int) -> bytes:
        """Return as many bytes as requested."""
        self.taken += n
        return b"x" * n


async def test_no_more_than_a_chunk_beyond_the_limit_is_held() -> None:
    """Of an endless body at most the limit and one chunk are read before it is refused."""
    request = Endless()
    with pytest.raises(TooLarge, match=r"^The body is larger than 150,000 bytes\.$") as error:
        await read_body(request, limit=LIMIT)

    assert error.value.limit == LIMIT
    assert LIMIT < request.taken <= LIMIT + CHUNK


@asynccontextmanager
async def receiver() -> AsyncIterator[int]:
    """Serve *read_body* on a free port, configured as in the service."""

    async def answer(request: web.Request) -> web.Response:
        try:
            return web.Response(body=await read_body(request, limit=LIMIT))
        except TooLarge as error:
            return web.Response(status=413, text=str(error))

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """Send a body in chunks, without its length."""
    for start in range(0, len(body), 30_000):
        yield body[start : start + 30_000]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        bytes(range(256)) * 550,
        b"x" * LIMIT,  # exactly the limit
        gzip.compress(b"{}"),  # signed as it was sent, so read as it was sent
    ],
    ids=["empty", "short", "many chunks", "at the limit", "compressed"],
)
async def test_bodies_arrive_byte_for_byte(body: bytes, chunked: bool) -> None:
    """A body up to the limit is read unchanged, with or without an announced length."""
    headers = {"Content-Encoding": "gzip"} if body.startswith(b"\x1f\x8b") else {}
    data = in_pieces(body) if chunked else body
    async with (
        receiver() as port,
        ClientSession() as client,
        client.post(f"http://127.0.0.1:{port}/", data=data, headers=headers) as response,
    ):
        received = await response.read()

    assert (response.status, received) == (200, body)


async def answer_to(raw: bytes, *, port: int) -> tuple[bytes, bytes]:
    """Send raw bytes and nothing more, and return the first line and the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(30):
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return head.split(b"\r\n")[0], await reader.readexactly(length)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 150001\r\n\r\n",  # not one byte of the body is needed
        b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1) + b"\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (LIMIT + 1),
    ],
    ids=["announced", "one chunk", "chunks of a byte"],
)
async def test_too_much_is_refused_before_it_ends(rest: bytes) -> None:
    """A body one byte too long is answered at once, while the sender still has the rest to send."""
    async with receiver() as port:
        answer = await answer_to(b"POST / HTTP/1.1\r\nHost: hooks\r\n" + rest, port=port)

    assert answer == (b"HTTP/1.1 413 Request Entity Too Large", b"The body is larger than 150,000 bytes.")


def failing(rate: FailureRate, address: str, times: int, *, now: int) -> int:
    """Fail a number of times, and return the last answer."""
    return [rate.failed(address, now=now) for _ in range(times)][-1]


def test_six_hundred_failures_a_minute_are_borne() -> None:
    """The failure after six hundred blocks its address until the minute ends, and no other address."""
    rate = FailureRate()

    assert failing(rate, "192.0.2.1", 600, now=NOW) == 0
    assert rate.wait("192.0.2.1", now=NOW) == 0
    assert rate.failed("192.0.2.1", now=NOW + 20 * SECOND) == 40
    assert rate.wait("192.0.2.1", now=NOW + 20 * SECOND) == 40
    assert (rate.wait("192.0.2.2", now=NOW), rate.failed("192.0.2.2", now=NOW)) == (0, 0)


@pytest.mark.parametrize(
    ("later", "seconds"),
    [
        (0, 60),
        (1, 60),  # rounded up, so that the sender does not return too early
        (SECOND, 59),
        (MINUTE - SECOND, 1),
        (MINUTE - 1, 1),
        (MINUTE, 0),
        (-1, 0),  # the clock was set back: nobody waits longer because of that
        (-3600 * SECOND, 0),
    ],
)
def test_wait_ends_with_the_minute(later: int, seconds: int) -> None:
    """The wait is in whole seconds, until the minute that began with the first failure ends."""
    rate = FailureRate(most=1)
    failing(rate, "a", 2, now=NOW)

    assert rate.wait("a", now=NOW + later) == seconds


def test_minute_begins_anew() -> None:
    """After its minute the count of an address starts again; requests while blocked do not extend the block."""
    rate = FailureRate(most=2)
    failing(rate, "a", 3, now=NOW)
    failing(rate, "a", 50, now=NOW + MINUTE - 1)

    assert failing(rate, "a", 2, now=NOW + MINUTE) == 0
    assert rate.failed("a", now=NOW + MINUTE + SECOND) == 59


def test_asking_does_not_count() -> None:
    """Only failures count, not checks."""
    rate = FailureRate(most=1)
    rate.failed("a", now=NOW)

    assert [rate.wait("a", now=NOW) for _ in range(5)] == [0] * 5
    assert rate.failed("a", now=NOW) == 60


def test_memory_is_bounded() -> None:
    """At the memory limit the address with the oldest minute is dropped, even if it failed just now."""
    rate = FailureRate(most=1, addresses=4)
    failing(rate, "a", 2, now=NOW)
    failing(rate, "b", 2, now=NOW + 58 * SECOND)
    failing(rate, "c", 2, now=NOW + 59 * SECOND)
    failing(rate, "a", 2, now=NOW + MINUTE)  # a begins anew, and is now the latest
    failing(rate, "d", 2, now=NOW + MINUTE)
    rate.failed("b", now=NOW + MINUTE)

    assert [rate.wait(address, now=NOW + MINUTE) for address in "abcd"] == [60, 58, 59, 60]

    failing(rate, "e", 2, now=NOW + MINUTE)

    assert [rate.wait(address, now=NOW + MINUTE) for address in "abcde"] == [60, 0, 59, 60, 60]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40 * SECOND)), max_size=40))
def test_no_minute_of_counting_passes_more(steps: list[tuple[str, int]]) -> None:
    """Whatever the rhythm, an address is blocked exactly when its own minute has more failures than the limit."""
    rate = FailureRate(most=2, addresses=2)
    minutes: dict[str, list[int]] = {"a": [], "b": []}
    now = NOW
    for address, pause in steps:
        now += pause
        minute = minutes[address]
        if minute and now >= minute[0] + MINUTE:
            minute.clear()
        minute.append(now)
        waited = rate.failed(address, now=now)

        assert (waited > 0) == (len(minute) > 2)
        assert json.dumps(waited).isdigit()  # valid for a Retry-After header
        assert waited <= 60


def test_a_token_has_so_many_requests_a_minute() -> None:
    """Beyond the number a token waits until its minute ends; another token does not."""
    rate, now = TokenRate(most=2), 1_000 * SECOND
    assert [rate.count(1, now=now + n * SECOND) for n in range(3)] == [
        Allowance(remaining=1, resets_in=60, wait=0),
        Allowance(remaining=0, resets_in=59, wait=0),
        Allowance(remaining=0, resets_in=58, wait=58),
    ]
    assert rate.count(2, now=now).wait == 0
    assert rate.count(1, now=now + 60 * SECOND).wait == 0
    rate.count(1, now=now + 60 * SECOND)
    assert rate.count(1, now=now + 61 * SECOND).wait == 59
    assert rate.count(1, now=now - SECOND).wait == 0
