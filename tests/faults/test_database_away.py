"""While the database is away requests are answered 503; afterwards nothing is lost or doubled."""

import asyncio
import resource
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from storage.limits import Limits
from storage.sources.deliveries import list_refusals
from tests.bot.cli.program import environment, serving
from tests.faults.between import Between, between
from tests.storage import raw
from tests.webhooks.api.program import program
from tests.webhooks.receiving import Receiving, check_problem, furnish_for_a_process, receiving
from tests.webhooks.sender import SECRET, Answer, Sender, item, session

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

DAMAGED = (
    "The database file is damaged: restore a backup of it, or recover what can be read with sqlite3 FILE .recover."
)


def check_away(answer: Answer) -> None:
    """Fail unless the answer asks the sender to retry."""
    check_problem(answer, 503, "Service Unavailable")
    assert int(answer.headers["Retry-After"]) > 0


@asynccontextmanager
async def receiving_through(database_url: str) -> AsyncIterator[tuple[Receiving, Between]]:
    """Run a service that reaches its database through a proxy that can be cut."""
    async with between(database_url) as (standing, url), receiving(url) as service:
        yield service, standing


async def until_taken(sender: Sender, document: object, delivery: str) -> tuple[int, int, int, int]:
    """Repeat a delivery as a sender does, a few times at most, until it is accepted."""
    for _ in range(10):
        answer = await sender.push(document, delivery=delivery)
        if answer.status == 200:
            break
        check_away(answer)
    return answer.counts


@on_postgres
async def test_an_unreachable_database_is_503(database_url: str) -> None:
    """While the database is unreachable every delivery is answered 503, and is accepted afterwards."""
    async with receiving_through(database_url) as (service, standing):
        assert (await service.sender.push(item("score.add", value=1), delivery="before")).counts == (1, 0, 0, 0)
        api = await program(service)
        await standing.cut()

        assert b"\ncontact_score_database_up 0\n" in (await service.get("/metrics")).body
        for answer in (
            await service.sender.push(item("score.add", value=2), delivery="during"),
            await service.sender.push(item(), headers={"webhook-signature": "v1,AAAA"}),
            await service.get("/webhooks/T0123/crm"),
            await service.get("/readyz"),
            await api.call("GET", "/contacts"),
            await api.call("PUT", "/contacts/ada@example.com/scores/score", {"value": 5}),
        ):
            check_away(answer)
        assert (await service.get("/healthz")).status == 200

        await standing.join()
        assert (await service.get("/readyz")).status == 200
        assert await api.listed() == ["ada@example.com"]
        assert (await service.sender.push(item("score.add", value=1), delivery="before")).counts == (0, 1, 0, 0)
        assert (await service.sender.push(item("score.add", value=2), delivery="during")).counts == (1, 0, 0, 0)
        assert await service.scores("ada@example.com") == {"score": 3000}
        assert await list_refusals(service.workspace) == []


@on_sqlite
async def test_a_damaged_file_is_503(database_url: str) -> None:
    """Deliveries and API calls are answered 503, and /readyz states what is wrong with the file."""
    async with receiving(database_url) as service:
        api = await program(service)
        await service.sender.push(item("score.add", value=1), delivery="before")
        await asyncio.to_thread(raw.damage, database_url, "contacts")

        check_away(await service.sender.push(item("score.add", value=2), delivery="during"))
        check_away(await api.call("GET", "/contacts"))
        await asyncio.to_thread(raw.damage, database_url, "tortoise_migrations")
        ready = await service.get("/readyz")
        check_away(ready)
        assert ready.document["detail"] == DAMAGED


@pytest.mark.slow
@on_postgres
async def test_a_silent_database_is_not_ready(database_url: str) -> None:
    """If the database is silent /readyz soon says so, and waiting requests are answered in the end."""
    async with receiving_through(database_url) as (service, standing):
        standing.flows.clear()
        pushing = asyncio.create_task(service.sender.push(item(), delivery="d"))
        async with asyncio.timeout(30):
            check_away(await service.get("/readyz"))
            assert b"\ncontact_score_database_up 0\n" in (await service.get("/metrics")).body
        assert (await service.get("/healthz")).status == 200
        standing.flows.set()

        assert (await pushing).counts == (1, 0, 0, 0)
        assert (await service.get("/readyz")).status == 200


@on_postgres
async def test_a_commit_nobody_heard_of_is_known_when_repeated(database_url: str) -> None:
    """If the answer to a COMMIT is lost the sender gets 503, and its repeat is a duplicate."""
    async with receiving_through(database_url) as (service, standing):
        for number in range(5):
            standing.lose_the_next_commit()
            pushing = asyncio.create_task(service.sender.push(item("score.add", value=1), delivery=f"d{number}"))
            await standing.committed.wait()
            await standing.cut()
            check_away(await pushing)
            await standing.join()

            assert await until_taken(service.sender, item("score.add", value=1), f"d{number}") == (0, 1, 0, 0)
        assert await service.scores("ada@example.com") == {"score": 5000}


@on_postgres
async def test_a_database_that_ends_our_connections_loses_nothing(database_url: str) -> None:
    """Connections ended by the server (a restart, an operator) cost at most a 503, and no fact."""
    async with receiving(database_url) as service:
        server = await asyncpg.connect(database_url.replace("postgres://", "postgresql://"))
        pushes = 0
        for turn in range(6):
            sending = [
                asyncio.create_task(until_taken(service.sender, item("score.add", score="points"), f"d{turn}-{number}"))
                for number in range(10)
            ]
            terminated = await server.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert terminated
            counts_taken = await asyncio.gather(*sending)
            assert {sum(counts) for counts in counts_taken} == {1}
            pushes += len(counts_taken)
        await server.close()

        assert pushes == 60
        assert await service.scores("ada@example.com") == {"points": pushes * 50_000}


@on_postgres
async def test_a_database_that_takes_no_connections_is_503(database_url: str) -> None:
    """A server that refuses connections to the database, as during a restore, is answered 503."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    async with receiving(database_url) as service:
        server = await asyncpg.connect(database_url.replace("postgres://", "postgresql://"), database="postgres")
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        answers = [await service.sender.push(item(), delivery="d") for _ in range(3)]
        ready = await service.get("/readyz")
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await server.close()

        for answer in (*answers, ready):
            check_away(answer)
        assert (await service.sender.push(item(), delivery="d")).counts == (1, 0, 0, 0)


@pytest.mark.slow
@on_sqlite
async def test_a_full_disk_is_503(database_url: str) -> None:
    """If SQLite cannot write another byte deliveries are answered 503; with free space again none is lost."""
    await furnish_for_a_process(database_url)
    async with serving(env=environment(database_url)) as serve, session() as open_session:
        sender = Sender(open_session, f"{serve.url}/webhooks/T0123/crm", clock=lambda: time.time_ns() // 1000)
        big = {"items": [item("score.add", value=1, reason="r" * 900) for _ in range(200)]}
        assert (await sender.push(big, delivery="before")).counts == (200, 0, 0, 0)
        files = Path(database_url.removeprefix("sqlite://")).parent.glob("scores.db*")
        largest = max(file.stat().st_size for file in files)
        # The kernel refuses to let any file of this process grow beyond the largest one.
        resource.prlimit(serve.process.pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        answers = [await sender.push(big, delivery=f"full-{number}") for number in range(4)]
        resource.prlimit(serve.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

        accepted = sum(answer.status == 200 for answer in answers)
        for answer in answers:
            if answer.status != 200:
                check_away(answer)
        assert accepted < len(answers)  # the disk was full
        again = [await sender.push(big, delivery=f"full-{number}") for number in range(4)]
        assert sum(answer.counts[0] for answer in again) == 200 * (len(answers) - accepted)
        assert sum(answer.counts[1] for answer in again) == 200 * accepted
        assert (await serve.stop()).code == 0


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@on_sqlite
async def test_a_locked_file_is_503_after_a_while(database_url: str) -> None:
    """If another process keeps the file locked, writes wait and are answered 503; reads are answered at once."""
    file = database_url.removeprefix("sqlite://")
    async with receiving(database_url, limits=Limits(file=2)) as service:
        holder = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOLD, file, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        pushing = [
            asyncio.create_task(service.sender.push(item("score.add", value=1), delivery=f"d{number}"))
            for number in range(3)
        ]
        looking = [await service.get(path) for path in ("/healthz", "/readyz", "/webhooks/T0123/crm")]
        assert [answer.status for answer in looking] == [200, 200, 200]
        assert not any(task.done() for task in pushing)

        for task in pushing:
            check_away(await task)
        holder.stdin.close()
        await holder.wait()
        for number in range(3):
            assert sum(await until_taken(service.sender, item("score.add", value=1), f"d{number}")) == 1
        assert await service.scores("ada@example.com") == {"score": 3000}
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert SECRET.encode() not in Path(file).read_bytes()  # noqa: ASYNC240 (a small file)
