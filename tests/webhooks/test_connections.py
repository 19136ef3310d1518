"""Connections, headers and bodies held open by strangers are limited and released, and do not fill the log."""

import asyncio
import errno
import gc
import os
import resource
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from tests.bot.cli.program import Serving, environment, serving
from tests.counts import report_counts
from tests.webhooks.receiving import SLUG, TEAM, furnish_for_a_process
from tests.webhooks.sender import Sender, item, session, signed
from webhooks.app import handle_errors
from webhooks.connections import RUNNER_OPTIONS, Connections, Site, find_public_address
from webhooks.limits import MAX_BODY, UnfinishedBodies

PATIENCE = 90.0
HEAD = b"POST / HTTP/1.1\r\nHost: hooks\r\nContent-Length: 1000\r\n\r\n"


def now() -> int:
    """Return the current time, in µs UTC: the process uses the system clock."""
    return time.time_ns() // 1000


class Stranger:
    """A connection on which a test sends any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, raw: bytes) -> None:
        """Send some bytes."""
        self._writer.write(raw)
        await self._writer.drain()

    async def status(self) -> int | None:
        """Return the status of the answer, or None if the connection was closed without an answer."""
        async with asyncio.timeout(PATIENCE):
            try:
                line = await self._reader.readline()
            except ConnectionError:
                return None
        return int(line.split()[1]) if line else None

    async def close(self) -> None:
        """Close the connection at once, and discard unsent bytes."""
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Strangers:
    """Connections to a port, which are closed together."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.begun: asyncio.Queue[None] = asyncio.Queue()  # filled as the service starts to handle their requests
        self._connected: list[Stranger] = []

    async def connect(self, raw: bytes = b"") -> Stranger:
        """Connect, and send some bytes."""
        stranger = Stranger(*await asyncio.open_connection("127.0.0.1", self.port))
        self._connected.append(stranger)
        await stranger.send(raw)
        return stranger

    async def close(self) -> None:
        """Close all connections."""
        for stranger in self._connected:
            await stranger.close()


@asynccontextmanager
async def listening(
    connections: Connections, handler: Callable[[web.Request], Awaitable[web.Response]] | None = None
) -> AsyncIterator[Strangers]:
    """Serve a handler (by default one that reads a body) on a free port, and yield the connections to it."""

    async def read(request: web.Request) -> web.Response:
        strangers.begun.put_nowait(None)
        return web.Response(text=str(len(await request.read())))

    app = web.Application(middlewares=[handle_errors, connections.guard])
    app.router.add_post("/", handler or read)
    runner = web.AppRunner(app, shutdown_timeout=0.2, **RUNNER_OPTIONS)
    await runner.setup()
    await Site(runner, "127.0.0.1", 0, connections=connections).start()
    strangers = Strangers(runner.addresses[0][1])
    try:
        yield strangers
    finally:
        await strangers.close()
        await runner.cleanup()


async def test_a_silent_connection_is_closed() -> None:
    """A connection without a complete head is closed after the limit; one with a complete head stays."""
    async with listening(Connections(head_seconds=0.2)) as strangers:
        whole = await strangers.connect(HEAD)
        silent, half = await strangers.connect(), await strangers.connect(HEAD[:30])

        assert [await silent.status(), await half.status()] == [None, None]
        await whole.send(b"x" * 1000)
        assert await whole.status() == 200


async def test_a_body_that_does_not_end_is_given_up() -> None:
    """A body that does not end is answered 408 after the limit, chunked or not, and the connection is closed."""
    async with listening(Connections(body_seconds=0.2)) as strangers:
        slow_headers = await strangers.connect(HEAD + b"x" * 999)
        chunked = await strangers.connect(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxx\r\n"
        )

        assert [await slow_headers.status(), await chunked.status()] == [408, 408]


async def test_the_oldest_unfinished_body_gives_way() -> None:
    """If the announced bodies exceed the limit, the oldest is answered 408; the others can end."""
    async with listening(Connections(bodies=UnfinishedBodies(most_bytes=2500))) as strangers:
        first, second = await strangers.connect(HEAD + b"x"), await strangers.connect(HEAD + b"x")
        third = await strangers.connect(HEAD + b"x" * 1000)  # sent completely, so the body is not counted

        assert await third.status() == 200
        fourth = await strangers.connect(HEAD + b"x")
        assert await first.status() == 408
        for stranger in (second, fourth):
            await stranger.send(b"x" * 999)
            assert await stranger.status() == 200


async def test_a_body_with_a_broken_encoding_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Malformed chunks are the sender's mistake, not an error of the service."""
    async with listening(Connections()) as strangers:
        stranger = await strangers.connect(HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked"))
        await stranger.send(b"zz\r\n")

        assert await stranger.status() == 400
    assert caplog.records == []


async def test_the_oldest_idle_connection_gives_way() -> None:
    """At the limit a new connection replaces the oldest idle one; if all are in use, the new one is refused."""
    async with listening(Connections(most=3)) as strangers:
        idle, busy = await strangers.connect(), [await strangers.connect(HEAD + b"x") for _ in range(2)]
        for _ in busy:
            await strangers.begun.get()
        new = await strangers.connect(HEAD + b"x" * 1000)

        assert await new.status() == 200
        assert await idle.status() is None
        busy.append(await strangers.connect(HEAD + b"x"))  # replaces the answered connection
        for _ in range(2):
            await strangers.begun.get()
        assert await (await strangers.connect(HEAD + b"x" * 1000)).status() is None
        for stranger in busy:
            await stranger.send(b"x" * 999)
            assert await stranger.status() == 200


class Held:
    """A stand-in for the data read of a body."""


async def test_a_cut_body_leaves_no_cycle() -> None:
    """The data of an aborted body is freed at once, without the garbage collector."""
    held: list[weakref.ref[Held]] = []

    async def read(request: web.Request) -> web.Response:
        body = Held()
        held.append(weakref.ref(body))
        strangers.begun.put_nowait(None)
        return web.Response(text=f"{body}{await request.read()!r}")

    async with listening(Connections(), read) as strangers:
        gc.disable()
        try:
            for _ in range(3):
                stranger = await strangers.connect(HEAD + b"x" * 999)
                await strangers.begun.get()
                await stranger.close()
            assert await (await strangers.connect(HEAD + b"x" * 1000)).status() == 200
            assert [reference() for reference in held] == [None] * 4
        finally:
            gc.enable()


class Counting(Connections):
    """Connections that count their errors."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: asyncio.Queue[object] = asyncio.Queue()

    def report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count an error."""
        self.errors.put_nowait(context["exception"])


async def test_without_descriptors_there_is_one_attempt_at_a_time() -> None:
    """Without descriptors a new connection waits, and one attempt per second is made to accept it."""
    connections = Counting()
    async with listening(connections) as strangers:
        limits, free = resource.getrlimit(resource.RLIMIT_NOFILE), os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, limits[1]))  # enough for one end
        try:
            stranger = await strangers.connect(HEAD + b"x" * 1000)
            async with asyncio.timeout(PATIENCE):
                error = await connections.errors.get()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        assert isinstance(error, OSError)
        assert error.errno == errno.EMFILE
        assert connections.errors.qsize() == 0
        assert await stranger.status() == 200


ADDRESSES = st.sampled_from([None, "192.0.2.1", "192.0.2.2"])
SIZES = st.integers(0, 40)


@given(st.lists(st.tuples(st.booleans(), SIZES, ADDRESSES), max_size=40))
def test_unfinished_bodies_stay_within_their_bounds(steps: list[tuple[bool, int, str | None]]) -> None:
    """The limits always hold, the newest body is never abandoned, and only the oldest bodies are."""
    bodies = UnfinishedBodies(most_bytes=100, most_per_address=2)
    held: list[tuple[int, int, str | None]] = []
    for number, (ends, size, address) in enumerate(steps):
        if ends and held:
            bodies.remove(held.pop(size % len(held))[0])
        given_up = bodies.add(number, size=size, address=address)
        held.append((number, size, address))

        neighbors = [other for other, _, origin in held if origin == address and origin]
        expected = neighbors[: max(0, len(neighbors) - 2)]
        rest = [entry for entry in held if entry[0] not in expected]
        while sum(entry[1] for entry in rest) > 100:
            expected.append(rest.pop(0)[0])
        assert given_up == expected
        assert number not in given_up
        held = rest


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("127.0.0.1", False), ("::1", False), ("10.1.2.3", False), ("192.168.0.7", False), ("172.16.0.1", False),
        ("169.254.1.1", False), ("fd00::1", False), ("fe80::1%eth0", False), ("", False), (None, False),
        ("::ffff:10.0.0.1", False), ("8.8.8.8", True), ("2001:4860:4860::8888", True),
    ],
)  # fmt: skip  # a table
def test_a_proxy_is_no_sender(address: str | None, is_public: bool) -> None:
    """A loopback or private address may be a proxy for many senders; a public address is one sender."""
    assert find_public_address(address) == (address if is_public else None)


def resident(served: Serving) -> float:
    """Return the resident memory of the process, in MB."""
    pages = int(Path(f"/proc/{served.process.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


async def cut(port: int, head: bytes) -> None:
    """Send all but the last byte of a body of 1 MiB, unless the service gives up earlier."""
    strangers = Strangers(port)
    with suppress(ConnectionError):
        await (await strangers.connect(head)).send(b"x" * (MAX_BODY - 1))
    await strangers.close()


@pytest.mark.slow
async def test_strangers_leave_nothing_behind(tmp_path: Path) -> None:
    """900 aborted bodies of 1 MiB leave no memory and no traceback; without descriptors the log has one line."""
    database_url = f"sqlite://{tmp_path / 'scores.db'}"
    await furnish_for_a_process(database_url)
    forged = signed(b"{}", delivery="d", at=now())
    fields = "".join(f"{name}: {value}\r\n" for name, value in forged.items())
    heads = [
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY}\r\n{more}\r\n".encode()
        for path, more in ((f"/webhooks/{TEAM}/{SLUG}", fields), (f"/webhooks/{TEAM}/{SLUG}", ""), ("/api/v1/x", ""))
    ]
    variables = {"CONTACT_SCORE_LOG_LEVEL": "warning", "CONTACT_SCORE_METRICS_TOKEN": "for the operator"}
    async with (
        serving(env=environment(database_url, **variables)) as served,
        session() as open_session,
    ):
        port = int(served.url.rpartition(":")[2])
        sender = Sender(open_session, f"{served.url}/webhooks/{TEAM}/{SLUG}", clock=now)
        assert (await sender.push(item())).status == 200
        metrics = await sender.request(
            "GET", f"{served.url}/metrics", headers={"Authorization": "Bearer for the operator"}
        )
        assert b'deliveries_total{workspace="T0123",source="crm",status="200"} 1\n' in metrics.body
        before = resident(served)
        for head in heads:
            await asyncio.gather(*(cut(port, head) for _ in range(300)))
        assert (await sender.push(item())).status == 200
        grown = resident(served) - before
        report_counts("900 cut bodies of 1 MiB", {"MB grown": round(grown)})
        assert grown < 60

        descriptors = len(os.listdir(f"/proc/{served.process.pid}/fd"))
        resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE, (descriptors + 5, descriptors + 5))
        strangers = Strangers(port)
        for _ in range(60):
            await strangers.connect()
        assert served.process.stderr is not None
        lines = [(await served.process.stderr.readline()).decode()]
        while "cannot accept connections" not in lines[-1]:
            assert "source health changed" in lines[-1]  # the other warning: the source was refused above
            lines.append((await served.process.stderr.readline()).decode())
        await strangers.close()
        assert (await sender.push(item())).status == 200
        rest = (await served.stop()).err.splitlines()
        assert [line for line in rest if "source health changed" not in line] == []
