"""Measure the product beside a floor in alternating rounds: each has a database of its own, filled alike.

The floor (`tests.bench.floor`) does the least that any receiver must do, with raw drivers and the product's tables.
CPU time is that of the server process and, on PostgreSQL, of its database server.
"""

import asyncio
import itertools
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from storage.bootstrap import migrate, open_storage
from storage.domain.people import Workspace
from storage.domain.score_types import Band, Rule
from storage.ledger.verify import verify_next
from storage.limits import MAINTENANCE
from storage.scoring.definitions import add_score_type
from storage.sources.config import add_source
from storage.workspaces import add_workspace, find_workspace
from tests.bench.fill import fill
from tests.bot.cli.program import PROGRAM, Serving, environment, running
from tests.conftest import KEY, fresh
from tests.journeys.acme import BOT_TOKEN, SIGNING
from tests.postgres import Databases, server
from tests.slack.foreign import ForeignSlack
from tests.storage import raw
from tests.webhooks.sender import SECRET, encoded, signed

TEAM, SLUG = "T0DEMO", "crm"  # the team of the foreign Slack
HALF_LIFE = 30 * 86_400_000_000
CONNECTIONS = 32
FLOOR, PRODUCT = "floor", "product"
TICKS = os.sysconf("SC_CLK_TCK")
_APPLIED = re.compile(rb'"applied": ?(\d+), ?"duplicate": ?0, ?"ignored": ?0, ?"quarantined": ?0')


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is measured: *contacts* that are stored beforehand, and the number of *events* in a round.

    The events are single deliveries. What is slower than these is repeated fewer times, in proportion.
    """

    databases: Sequence[str] = ("sqlite", "postgres")
    contacts: int = 10_000
    events: int = 2_000
    rounds: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. The numbers are costs, or rates if the unit ends with `/s`; None: nothing to compare.

    If the numbers are medians of durations, *floor_p99* and *product_p99* are the durations that 99 % do not exceed.
    """

    what: str
    database: str
    unit: str
    floor: float | None
    product: float
    floor_p99: float | None = None
    product_p99: float | None = None

    @property
    def share(self) -> float | None:
        """Return the product's speed as a part of the floor's."""
        if not self.floor or not self.product:
            return None
        return self.product / self.floor if self.unit.endswith("/s") else self.floor / self.product


def durations_row(what: str, database: str, *, floor: Sequence[float] = (), product: Sequence[float]) -> Row:
    """Return the line for durations in seconds."""
    return Row(
        what=what,
        database=database,
        unit="ms, p50 / p99",
        floor=percentile(floor, 50) if floor else None,
        product=percentile(product, 50),
        floor_p99=percentile(floor, 99) if floor else None,
        product_p99=percentile(product, 99),
    )


@dataclass(slots=True, kw_only=True)
class Side:
    """A database with a server in front of it: the floor or the product."""

    database_url: str
    urls: Sequence[str]  #: where deliveries are sent to: one for each replica
    processes: Sequence[int]
    postmaster: int | None

    @property
    def url(self) -> str:
        """Return where deliveries are sent to."""
        return self.urls[0]

    def cpu(self) -> float:
        """Return the CPU seconds that the server, and PostgreSQL for its database, have used so far."""
        return sum(map(process_cpu, self.processes)) + server_cpu(self.postmaster)


class Stage:
    """Databases for benches: for each side a PostgreSQL server of its own, and copies of a migrated SQLite file."""

    def __init__(self, folder: Path, sqlite_file: Path, servers: Mapping[str, tuple[str, Databases]]) -> None:
        self._folder = folder
        self._sqlite_file = sqlite_file
        self._servers = servers
        self._numbers = itertools.count()

    @asynccontextmanager
    async def database(self, dialect: str, side: str) -> AsyncIterator[str]:
        """Yield the URL of an empty database with its tables."""
        folder = self._folder / f"{side}-{next(self._numbers)}"
        folder.mkdir()
        socket, databases = self._servers[side]
        async with fresh(dialect, self._sqlite_file, databases, socket, folder) as url:
            yield url


@asynccontextmanager
async def open_stage() -> AsyncIterator[Stage]:
    """Yield a stage with PostgreSQL servers that write to the disk at each commit, unlike those of the tests."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="contact-score-bench-")))
        servers = {}
        for side in (FLOOR, PRODUCT):
            socket = stack.enter_context(server(durable=True))
            databases = Databases(socket, prefix="bench")
            await databases.open()
            servers[side] = (socket, databases)
        await migrate(f"sqlite://{folder}/template.db", now=0)
        yield Stage(folder, folder / "template.db", servers)


def now() -> int:
    """Return the time in µs UTC, as the product reads it."""
    return time.time_ns() // 1_000


Prepare = Callable[[Workspace], Awaitable[None]]


@asynccontextmanager
async def both_sides(
    stage: Stage, dialect: str, *, contacts: int, prepare: Prepare | None = None
) -> AsyncIterator[tuple[Side, Side]]:
    """Run the floor and the product on equal databases, and verify both at the end."""
    async with (
        floor_side(stage, dialect, contacts=contacts) as floor,
        product_side(stage, dialect, contacts=contacts, prepare=prepare) as product,
    ):
        yield floor, product


@asynccontextmanager
async def floor_side(stage: Stage, dialect: str, *, contacts: int) -> AsyncIterator[Side]:
    """Run the floor on a furnished database, and verify the database at the end."""
    async with stage.database(dialect, FLOOR) as url:
        await furnish(url, contacts=contacts)
        command = running(sys.executable, "-m", "tests.bench.floor", url, env=environment(None, FLOOR_SIGNING=SIGNING))
        async with command as served, drained(served):
            yield await _make_side(url, [served])
        await verify(url)


@asynccontextmanager
async def product_side(
    stage: Stage, dialect: str, *, contacts: int, prepare: Prepare | None = None, replicas: int = 1
) -> AsyncIterator[Side]:
    """Run `contact-score serve --no-slack` on a furnished database, and verify the database at the end."""
    async with stage.database(dialect, PRODUCT) as url:
        await furnish(url, contacts=contacts, prepare=prepare)
        async with AsyncExitStack() as stack:
            served = []
            for _ in range(replicas):
                command = running(PROGRAM, "serve", "--no-slack", env=environment(url))
                served.append(await stack.enter_async_context(command))
                await stack.enter_async_context(drained(served[-1]))
            yield await _make_side(url, served)
        await verify(url)


@asynccontextmanager
async def slack_side(
    stage: Stage, dialect: str, *, contacts: int, prepare: Prepare | None = None
) -> AsyncIterator[tuple[Side, ForeignSlack]]:
    """Run `contact-score serve` with its Slack on a furnished database, and verify the database at the end."""
    async with stage.database(dialect, PRODUCT) as url:
        await furnish(url, contacts=contacts, prepare=prepare)
        async with serving_slack(url) as (served, sandbox):
            yield await _make_side(url, [served]), sandbox
        await verify(url)


@asynccontextmanager
async def serving_slack(url: str) -> AsyncIterator[tuple[Serving, ForeignSlack]]:
    """Run `contact-score serve` and its Slack, and yield both once the service accepts requests of Slack."""
    async with foreign_slack() as sandbox:
        slack = {"SLACK_API_URL": f"{sandbox.url}/api/", "SLACK_BOT_TOKEN": BOT_TOKEN, "SLACK_SIGNING_SECRET": SIGNING}
        command = running(PROGRAM, "serve", env=environment(url, **slack))
        async with command as served, drained(served):
            sandbox.app_url = served.url
            await _wait_until_connected(sandbox)
            yield served, sandbox


@asynccontextmanager
async def foreign_slack() -> AsyncIterator[ForeignSlack]:
    """Run a Slack that has no service yet."""
    sandbox = ForeignSlack(app_url="http://127.0.0.1:1", signing_secret=SIGNING, bot_token=BOT_TOKEN)
    await sandbox.start()
    try:
        yield sandbox
    finally:
        await sandbox.stop()


async def _wait_until_connected(sandbox: ForeignSlack) -> None:
    """Type a command until the service accepts it, and wait for the answer; before that it answers 503."""
    while True:
        response = await sandbox.say("/score help")
        if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
            break
        await asyncio.sleep(0.1)
    await sandbox.wait_for(lambda: any(call.method == "response_url" for call in sandbox.calls))


async def _make_side(url: str, served: Sequence[Serving]) -> Side:
    return Side(
        database_url=url,
        urls=[f"{serving.url}/webhooks/{TEAM}/{SLUG}" for serving in served],
        processes=[serving.process.pid for serving in served],
        postmaster=await find_postmaster(url),
    )


@asynccontextmanager
async def drained(served: Serving) -> AsyncIterator[None]:
    """Read what a server prints, so that it never waits for a reader."""

    async def read(stream: asyncio.StreamReader | None) -> None:
        while stream is not None and await stream.readline():
            pass

    readers = [asyncio.create_task(read(stream)) for stream in (served.process.stdout, served.process.stderr)]
    try:
        yield
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)


async def furnish(url: str, *, contacts: int, prepare: Prepare | None = None) -> None:
    """Create a workspace with a source and four score types, and fill it with contacts that have three scores each.

    The type `points` has no scores yet. *prepare* adds what else a bench needs.
    """
    storage = await open_storage(url, secret_keys=[KEY])
    try:
        workspace = await add_workspace(TEAM, name="Bench", by="U0ADMIN", now=now())
        bands = [Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000)]
        await add_type(workspace, "fit", bands=bands)
        await add_type(workspace, "heat", bands=bands, half_life=HALF_LIFE)
        await add_type(workspace, "points", maximum=10**9)
        await add_source(workspace, slug=SLUG, provider="generic", secrets=[SECRET], by="U0ADMIN", now=now())
        if prepare is not None:
            await prepare(workspace)
    finally:
        await storage.close()
    await fill(url, team=TEAM, contacts=contacts, now=now())


async def add_type(
    workspace: Workspace,
    key: str,
    *,
    maximum: int = 100_000,
    bands: Sequence[Band] = (),
    half_life: int | None = None,
    rules: Sequence[Rule] = (),
) -> None:
    """Create a score type from 0 to *maximum* thousandths in whole points."""
    await add_score_type(
        workspace, key=key, label=key.capitalize(), minimum=0, maximum=maximum, step=1_000, bands=bands, start=None,
        half_life=half_life, rules=rules, is_default=False, by="U0ADMIN", now=now(),
    )  # fmt: skip  # the values of one definition


async def verify(url: str, *, team: str = TEAM) -> int:
    """Recalculate all scores and fail if anything stored differs. Return the number of scores."""
    storage = await open_storage(url, secret_keys=[KEY], limits=MAINTENANCE)
    try:
        workspace, count, last = await find_workspace(team), 0, 0
        while True:
            verified = await verify_next(workspace, after=last)
            assert not verified.differences, (url, verified.differences[:3])
            count += verified.scores
            if verified.last is None:
                return count
            last = verified.last
    finally:
        await storage.close()


def process_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its threads. Raises OSError if the process has ended."""
    return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid(3) returns on Linux


def server_cpu(postmaster: int | None) -> float:
    """Return the CPU seconds of a PostgreSQL server with its current and former processes; 0 for None."""
    if postmaster is None:
        return 0
    seconds = process_cpu(postmaster) + sum(int(field) for field in _read_stat(postmaster)[13:15]) / TICKS
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has just ended
                if int(_read_stat(int(folder.name))[1]) == postmaster:
                    seconds += process_cpu(int(folder.name))
    return seconds


def read_memory(pid: int, *, peak: bool = False) -> float:
    """Return the memory of a process in MB, now or at most since it began; 0 if it has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    name = "VmHWM:" if peak else "VmRSS:"
    return next((int(line.split()[1]) / 1_024 for line in lines if line.startswith(name)), 0)


def _read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name of the program."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


async def find_postmaster(url: str) -> int | None:
    """Return the id of the main process of the PostgreSQL server; None for SQLite."""
    if raw.is_sqlite(url):
        return None
    connection = await raw.connect(url)
    try:
        return int(_read_stat(connection.get_server_pid())[1])
    finally:
        await connection.close()


def make_request(url: str, document: object, *, delivery: str) -> bytes:
    """Return a signed delivery as the bytes of an HTTP request."""
    body, target = encoded(document), urlsplit(url)
    headers = {
        "Host": target.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **signed(body, delivery=delivery, at=now()),
    }
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass(slots=True, kw_only=True)
class Sent:
    """The result of sending requests."""

    seconds: float  #: from the first request to the last answer
    cpu: float  #: of the server, in seconds
    answers: list[float] = field(default_factory=list)  #: seconds until each answer
    applied: int = 0  #: items
    refused: int = 0  #: requests that were sent again because the server had no room

    @property
    def cost(self) -> float:
        """Return the CPU time per applied item, in µs."""
        return self.cpu / self.applied * 1e6

    @property
    def rate(self) -> float:
        """Return the applied items per second."""
        return self.applied / self.seconds


async def send(side: Side, requests: Iterable[bytes], *, connections: int = CONNECTIONS) -> Sent:
    """Send requests over *connections*, each as soon as the one before it is answered. Every item must apply."""
    sent, pending = Sent(seconds=0, cpu=0), iter(requests)
    began, cpu = time.perf_counter(), side.cpu()
    targets = itertools.islice(itertools.cycle(side.urls), connections)
    await asyncio.gather(*(_send_over_one(url, pending, sent) for url in targets))
    sent.seconds, sent.cpu = time.perf_counter() - began, side.cpu() - cpu
    return sent


async def _send_over_one(url: str, pending: Iterator[bytes], sent: Sent) -> None:
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port)
    try:
        for request in pending:
            began = time.perf_counter()
            while True:
                writer.write(request)
                head, body = await _read_answer(reader)
                if not head.startswith(b"HTTP/1.1 503"):
                    break
                sent.refused += 1
                await asyncio.sleep(1)
            assert head.startswith(b"HTTP/1.1 200"), (head, body[:500])
            applied = _APPLIED.search(body)
            assert applied is not None, body[:500]
            sent.applied += int(applied[1])
            sent.answers.append(time.perf_counter() - began)
    finally:
        writer.close()
        await writer.wait_closed()


async def _read_answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return head, await reader.readexactly(int(length[1]) if length else 0)


async def alternate(rounds: int, measures: Mapping[str, Callable[[], Awaitable[Sent]]]) -> dict[str, list[Sent]]:
    """Run all measures in each round, in alternating order; return the results of each but those of the first round."""
    results: dict[str, list[Sent]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name in measures if number % 2 else reversed(list(measures)):
            result = await measures[name]()
            if number:
                results[name].append(result)
    return results


def middle(results: Iterable[Sent], value: Callable[[Sent], float]) -> float:
    """Return the median of a value of several rounds."""
    return statistics.median(map(value, results))


def percentile(seconds: Iterable[float], percent: int) -> float:
    """Return the percentile of durations, in ms."""
    ordered = sorted(seconds)
    return ordered[-(-len(ordered) * percent // 100) - 1] * 1_000
