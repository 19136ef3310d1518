"""With a silent, locked, frozen, full or read-only database every request is answered in time; nothing is lost."""

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import asyncpg
import pytest

from storage.db.database import current_database
from storage.domain.errors import StorageUnavailable
from storage.limits import Limits
from storage.scoring.definitions import drafts, score_types
from storage.scoring.drafts import create_draft
from tests.bot.cli.program import PROGRAM, environment, serving
from tests.counts import report_counts
from tests.faults.between import Between, between
from tests.faults.lives import living
from tests.faults.test_database_away import check_away, until_taken
from tests.journeys.acme import open_acme
from tests.processes import start
from tests.storage import raw
from tests.webhooks.api.program import program
from tests.webhooks.receiving import Receiving, furnish_for_a_process, receiving
from tests.webhooks.sender import Answer, Sender, item, session

LIMITED = Path(__file__).with_name("limited.py")
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)

QUICK = Limits(connect=1.0, lock=0.3, statement=1.0, idle=2.0, transaction=1.5, silence=0.2)
POOL = 8  # connections of a process
LATE = 4.0  # seconds by which a busy machine may be late
STOPPING = 30.0  # seconds in which the service ends, whatever the database does
MAYBE = "This may have been recorded. Send it again with the same id: a repeat is recorded once."
#: Makes inserts of the application `trapped` wait for a lock that the test holds.
TRAP = """
CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF current_setting('application_name') = 'trapped' THEN PERFORM pg_advisory_xact_lock(4711); END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER trap BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION wait_here();
"""
#: Makes inserts fail as on a server with a full disk.
FULL = """
CREATE FUNCTION be_full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON facts FOR EACH ROW EXECUTE FUNCTION be_full();
"""


@asynccontextmanager
async def receiving_through(database_url: str, *, limits: Limits = QUICK) -> AsyncIterator[tuple[Receiving, Between]]:
    """Run a service that reaches its database through a proxy that can be silenced."""
    async with between(database_url) as (standing, url), receiving(url, limits=limits) as service:
        yield service, standing


async def timed(answer: Awaitable[Answer]) -> tuple[float, Answer]:
    """Wait for an answer, and return it with its duration in seconds."""
    begun = time.monotonic()
    result = await answer
    return time.monotonic() - begun, result


def report_answers(title: str, answers: list[tuple[float, Answer]], *, limit: float) -> Counter[int]:
    """Report the answers and the longest duration, and return the counts by status; fail if one took too long."""
    slowest = max(seconds for seconds, _ in answers)
    statuses = Counter(answer.status for _, answer in answers)
    counts = {str(status): number for status, number in sorted(statuses.items())}
    report_counts(f"answers {title}", {**counts, "slowest in ms": round(slowest * 1000)})
    assert slowest < limit + LATE
    return statuses


def add(value: int, email: str = "ada@example.com") -> dict[str, object]:
    """Return an item that adds to a score without limits."""
    return item("score.add", email, score="points", value=value)


@on_postgres
async def test_a_silent_database_is_503_in_time(database_url: str) -> None:
    """While the database is silent every request is answered 503; afterwards each delivery counts once."""
    async with receiving_through(database_url) as (service, standing):
        await asyncio.gather(*(service.sender.push(add(1), delivery=f"before{n}") for n in range(5)))
        standing.flows.clear()
        answers = await asyncio.gather(
            *(timed(service.sender.push(add(1), delivery=f"d{n}")) for n in range(24)),
            *(timed(service.get("/readyz")) for _ in range(3)),
        )
        limit = QUICK.connect + (QUICK.transaction or 0)
        assert report_answers("of a silent database", list(answers), limit=limit) == {503: 27}
        standing.flows.set()
        for number in range(24):
            assert sum(await until_taken(service.sender, add(1), f"d{number}")) == 1

        assert await service.scores("ada@example.com") == {"points": 29_000}
        assert (await service.get("/readyz")).status == 200


@on_postgres
async def test_a_commit_without_an_answer_may_have_been_recorded(database_url: str) -> None:
    """If the answer to a COMMIT is lost, the sender is told in time, and its repeat is a duplicate."""
    async with receiving_through(database_url) as (service, standing):
        answers = []
        for number in range(3):
            standing.lose_the_next_commit(f"marked{number}")
            push = service.sender.push(add(1, f"marked{number}@example.com"), delivery=f"d{number}")
            answers.append(await timed(push))
            assert answers[-1][1].document["detail"] == MAYBE
            assert await until_taken(service.sender, add(1, f"marked{number}@example.com"), f"d{number}") == (
                0,
                1,
                0,
                0,
            )
            assert await service.scores(f"marked{number}@example.com") == {"points": 1000}
        api = await program(service)
        standing.lose_the_next_commit("lost words")
        change = {"value": 5, "reason": "lost words"}
        answers.append(await timed(api.call("PUT", "/contacts/marked0@example.com/scores/points", change)))
        detail = "This may have been recorded. Send it again, with the same Idempotency-Key if it had one."
        assert answers[-1][1].document["detail"] == detail
        assert await service.scores("marked0@example.com") == {"points": 5000}
        assert report_answers("of a commit without one", answers, limit=QUICK.transaction or 0) == {503: 4}


@on_postgres
async def test_a_person_is_told_where_to_look(database_url: str) -> None:
    """If the answer to the COMMIT of a command is lost the contact is named; before the COMMIT nothing was changed."""
    async with between(database_url) as (standing, url), open_acme(url) as acme:
        standing.lose_the_next_commit("marked")
        asking = asyncio.create_task(acme.ask("set ada@example.com 85 because marked"))
        await standing.committed.wait()
        await standing.cut()
        assert (await asking).text == (
            "This may have been recorded: the database did not confirm it."
            " Check with `/score ada@example.com` before you send it again."
        )
        assert (await acme.ask("set ada@example.com 90")).text == (
            "Nothing was changed: the database does not answer. Try again in a minute."
        )
        await standing.join()
        assert "85" in (await acme.ask("ada@example.com")).text


@on_postgres
async def test_a_writer_that_waits_for_an_answer_is_not_ready(database_url: str) -> None:
    """A process with a write that waits for the database is not ready, although it still answers reads."""
    limits = replace(QUICK, lock=5.0, statement=5.0, transaction=5.0)
    async with receiving(database_url, limits=limits) as service:
        holder, watcher = await raw.connect(database_url), await raw.connect(database_url)
        await holder.execute("BEGIN; LOCK TABLE facts")
        pushing = asyncio.create_task(service.sender.push(add(1), delivery="d"))
        await wait_for_waiters(watcher)
        answers = list[Answer]()
        # until the writer has waited long enough
        while not answers or (answers[-1].status == 200 and not pushing.done()):
            answers.append(await service.get("/readyz"))
        check_away(answers[-1])
        assert answers[-1].document["detail"] == "The database does not answer."
        await holder.close()
        await watcher.close()

        assert (await pushing).counts == (1, 0, 0, 0)
        assert (await service.get("/readyz")).status == 200


@on_postgres
async def test_a_locked_contact_is_503_in_time(database_url: str) -> None:
    """A foreign lock on a contact delays its writers for at most the lock timeout."""
    async with receiving(database_url, limits=QUICK) as service:
        for email in ("ada@example.com", "bob@example.com"):
            assert (await service.sender.push(add(1, email), delivery=f"before {email}")).counts == (1, 0, 0, 0)
        holder = await raw.connect(database_url)
        await holder.execute("BEGIN; SELECT id FROM contacts WHERE email_key = 'ada@example.com' FOR UPDATE")
        locked = [await timed(service.sender.push(add(1), delivery=f"d{number}")) for number in range(3)]
        assert report_answers("about a locked contact", locked, limit=QUICK.lock or 0) == {503: 3}
        other = [await timed(service.sender.push(add(1, "bob@example.com"), delivery=f"d{n}")) for n in range(3, 6)]
        assert report_answers("about others beside it", other, limit=QUICK.lock or 0) == {200: 3}
        assert (await service.get("/readyz")).status == 200
        await holder.close()

        for number in range(3):
            assert await until_taken(service.sender, add(1), f"d{number}") == (1, 0, 0, 0)
        assert await service.scores("ada@example.com") == {"points": 4000}


@on_postgres
async def test_a_frozen_process_holds_up_the_others_for_no_longer_than_a_lock_may_take(database_url: str) -> None:
    """A process stopped inside a transaction delays others for at most the lock timeout; its transaction is ended."""
    env = environment(f"{database_url}&application_name=trapped")
    async with (
        receiving(database_url, limits=QUICK) as service,
        trapped(database_url) as trap,
        living("1", env=env, program=LIMITED) as replica,
    ):
        assert (await service.sender.push(add(1), delivery="before")).counts == (1, 0, 0, 0)
        url = await replica.begin()
        other = Sender(service.session, f"{url}/webhooks/T0123/crm", clock=lambda: time.time_ns() // 1000)
        frozen = asyncio.create_task(timed(other.push(add(1), delivery="frozen")))
        await wait_for_waiters(trap)  # the replica holds the contact now
        replica.kill(SIGSTOP)
        await trap.execute("SELECT pg_advisory_unlock(4711)")

        held = [await timed(service.sender.push(add(1), delivery="held"))]
        others = [await timed(service.sender.push(add(1, f"p{n}@example.com"), delivery=f"p{n}")) for n in range(3)]
        begun = time.monotonic()
        with pytest.raises(StorageUnavailable):  # creating a draft waits for running transactions of the workspace
            await create_draft(
                service.workspace,
                proposed=replace((await score_types(service.workspace))[0], maximum=90_000),
                by="U0ADMIN",
                now=0,
            )
        assert time.monotonic() - begun < (QUICK.lock or 0) + LATE
        assert await drafts(service.workspace) == ()
        assert report_answers("about a contact that a frozen process holds", held, limit=QUICK.lock or 0) == {503: 1}
        assert report_answers("about others meanwhile", others, limit=QUICK.lock or 0) == {200: 3}
        # The server ends a transaction that is idle for too long.
        assert await until_taken(service.sender, add(1), "held") == (1, 0, 0, 0)
        replica.kill(SIGCONT)
        check_away((await frozen)[1])
        assert await until_taken(other, add(1), "frozen") == (1, 0, 0, 0)
        assert await service.scores("ada@example.com") == {"points": 3000}
        replica.kill()
        await replica.ended()


@asynccontextmanager
async def trapped(database_url: str) -> AsyncIterator["asyncpg.Connection"]:
    """Create the trap, and yield the connection that holds its lock."""
    connection = await raw.connect(database_url)
    try:
        await connection.execute(TRAP)
        await connection.execute("SELECT pg_advisory_lock(4711)")
        yield connection
    finally:
        await connection.close()


async def wait_for_waiters(connection: "asyncpg.Connection") -> None:
    """Wait until a session waits for a lock in the connection's database."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while not await connection.fetchval(waiting):
        pass


@on_postgres
async def test_a_server_without_a_free_connection_is_503_in_time(database_url: str) -> None:
    """A request that needs a new connection is answered 503 at once; with a free one everything is accepted."""
    role = f"few{os.getpid()}"
    owner = await raw.connect(database_url)
    await owner.execute(
        f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 20; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )
    try:
        async with receiving(database_url.replace("postgres:@", f"{role}:@"), limits=QUICK) as service:
            await service.sender.push(add(1), delivery="before")
            await owner.execute(f"ALTER ROLE {role} CONNECTION LIMIT 0")
            await owner.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)
            answers = await asyncio.gather(*(timed(service.sender.push(add(1), delivery=f"d{n}")) for n in range(9)))
            assert report_answers("without a free connection", list(answers), limit=QUICK.connect) == {503: 9}
            ready = await service.get("/readyz")
            check_away(ready)
            assert ready.document["detail"].startswith("The database accepts no more connections: raise its limit")
            await owner.execute(f"ALTER ROLE {role} CONNECTION LIMIT 20")

            for number in range(9):
                assert sum(await until_taken(service.sender, add(1), f"d{number}")) == 1
            assert await service.scores("ada@example.com") == {"points": 10_000}
    finally:
        await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await owner.close()


#: More than the free space in the pages of a file.
LARGE = {"items": [add(1) | {"reason": "r" * 900} for _ in range(100)]}


async def check_refusing(service: Receiving, reason: str) -> None:
    """Fail unless deliveries are answered 503, and /readyz states the reason."""
    answers = [await timed(service.sender.push(LARGE, delivery=f"d{number}")) for number in range(4)]
    assert report_answers(f"of a database that takes no changes ({reason})", answers, limit=1) == {503: 4}
    ready = await service.get("/readyz")
    check_away(ready)
    assert ready.document["detail"] == f"{reason}."


async def check_all_taken(service: Receiving) -> None:
    """Fail unless the same deliveries are accepted, each once, and the service is ready."""
    for number in range(4):
        assert await until_taken(service.sender, LARGE, f"d{number}") == (100, 0, 0, 0)
    assert await service.scores("ada@example.com") == {"points": 400_000}
    assert (await service.get("/readyz")).status == 200


@on_sqlite
@pytest.mark.parametrize(
    ("limit", "end", "reason"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "The database is read-only just now"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "The database has no room left"),
    ],
)
async def test_a_file_that_takes_no_changes_is_not_ready(database_url: str, limit: str, end: str, reason: str) -> None:
    """/readyz states the reason; once the file is writable again nothing is missing."""
    async with receiving(database_url) as service:
        await current_database().writer.rows(limit)
        answer = await service.sender.push(
            [add(1)] * 900, delivery="large"
        )  # more than the free pages of the file hold
        assert answer.status == 503
        await check_refusing(service, reason)
        await current_database().writer.rows(end)
        await check_all_taken(service)


@on_postgres
async def test_a_full_server_is_not_ready(database_url: str) -> None:
    """/readyz states the reason; once there is space nothing is missing."""
    async with receiving(database_url) as service:
        owner = await raw.connect(database_url)
        await owner.execute(FULL)
        await check_refusing(service, "The database has no room left")
        await owner.execute("DROP TRIGGER full_disk ON facts")
        await owner.close()
        await check_all_taken(service)


@on_postgres
async def test_a_server_that_may_only_be_read_is_not_ready(database_url: str) -> None:
    """A read-only server, such as a replica, is not ready, also before the first write."""
    async with receiving(database_url) as service:
        owner = await raw.connect(database_url)
        name = await owner.fetchval("SELECT current_database()")
        others = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        await owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await owner.fetch(f"{others} AND pid <> pg_backend_pid()")
        details = [
            (await service.get("/readyz")).document.get("detail") for _ in range(POOL)
        ]  # some connections were cut
        assert details[-1] == "The database is read-only just now."
        await check_refusing(service, "The database is read-only just now")
        await owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await owner.fetch(f"{others} AND pid <> pg_backend_pid()")
        await owner.close()
        await check_all_taken(service)


@pytest.mark.slow
@on_postgres
async def test_a_silent_database_does_not_keep_the_service_from_ending(database_url: str) -> None:
    """With the default limits SIGTERM ends the service although the database never answers."""
    await furnish_for_a_process(database_url)
    async with between(database_url) as (standing, url), serving(env=environment(url)) as serve, session() as sending:
        sender = Sender(sending, f"{serve.url}/webhooks/T0123/crm", clock=lambda: time.time_ns() // 1000)
        assert (await sender.push(add(1), delivery="before")).status == 200
        standing.flows.clear()
        pushing = [asyncio.create_task(sender.push(add(1), delivery=f"d{number}")) for number in range(5)]
        await standing.held.wait()
        begun = time.monotonic()
        ended = await serve.stop()
        seconds = time.monotonic() - begun
        report_counts("a service with a silent database ended after SIGTERM", {"ms": round(seconds * 1000)})
        assert (ended.code, seconds < STOPPING) == (0, True), ended
        await asyncio.gather(*pushing, return_exceptions=True)


async def check_start_ends(url: str, waits: Callable[[], bool]) -> None:
    """Start a service that waits for its database, and fail unless it exits with 0 on SIGTERM."""
    process = await start(PROGRAM, "serve", "--no-slack", env={**environment(url), "CONTACT_SCORE_PORT": "0"})
    while not waits():
        await asyncio.wait([asyncio.create_task(process.wait())], timeout=0.05)
        assert process.returncode is None
    begun = time.monotonic()
    process.terminate()
    assert await process.wait() == 0
    seconds = time.monotonic() - begun
    report_counts("a start ended after SIGTERM", {"ms": round(seconds * 1000)})
    assert seconds < STOPPING


@on_postgres
async def test_a_start_that_waits_for_the_database_ends_when_it_is_told_to(database_url: str) -> None:
    """A service that waits for the database at its start exits on SIGTERM, before it listens."""
    async with between(database_url) as (standing, url):
        standing.flows.clear()
        await check_start_ends(url, lambda: standing.connections > 0)


async def test_a_start_that_waits_for_a_migration_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """A service that waits for a long migration by another process exits on SIGTERM."""
    file = tmp_path / "scores.db"
    with closing(sqlite3.connect(f"{file}-migrating", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        await check_start_ends(f"sqlite://{file}", file.exists)


@pytest.mark.slow
@on_sqlite
async def test_a_locked_file_does_not_keep_the_service_from_ending(database_url: str) -> None:
    """Requests that wait for a file locked by another process fail in time."""
    await furnish_for_a_process(database_url)
    file = Path(database_url.removeprefix("sqlite://"))
    async with serving(env=environment(database_url)) as serve, session() as sending:
        sender = Sender(sending, f"{serve.url}/webhooks/T0123/crm", clock=lambda: time.time_ns() // 1000)
        holder = sqlite3.connect(file, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        pushing = [asyncio.create_task(sender.push(add(1), delivery=f"d{number}")) for number in range(3)]
        for _ in range(10):  # each of these requests arrives after the pushes, and does not wait for the lock
            assert (await sender.request("GET", sender.url)).status == 200
        assert not any(task.done() for task in pushing)
        begun = time.monotonic()
        ended = await serve.stop()
        seconds = time.monotonic() - begun
        report_counts("a service with a locked file ended after SIGTERM", {"ms": round(seconds * 1000)})
        assert (ended.code, seconds < STOPPING) == (0, True), ended
        await asyncio.gather(*pushing, return_exceptions=True)
        holder.close()
