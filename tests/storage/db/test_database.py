"""Any task can use the open database; a transaction is complete or absent, and a canceled caller does no harm."""

import asyncio
import contextlib
import contextvars
import json
import sqlite3
import ssl
import stat
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from storage.bootstrap import Storage, migrate, open_storage
from storage.db import models
from storage.db.database import (
    BadDatabaseUrl,
    NotOpen,
    Session,
    current_database,
    load,
    parse_url,
    read,
    write,
)
from storage.db.errors import NoDatabase, StartAgain
from storage.db.migrate import OtherApplication
from storage.domain.contacts import ATTRIBUTE, MOST_ATTRIBUTES
from storage.domain.errors import BadText, StorageUnavailable
from storage.limits import Limits
from storage.workspaces import add_workspace, all_workspaces
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import NOW, Team, set_to

T = TypeVar("T")
KEYS = ["dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM="]
CANCELS = 3_000
DAMAGED = "The database file is damaged: restore a backup of it, or recover what can be read with sqlite3 FILE .recover"
POOL = 8  # so many transactions must be able to run at once on PostgreSQL
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgres_only = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)


@pytest.fixture
async def scratch(database_url: str, storage: Storage) -> str:
    """Return the URL of an open database with an additional table."""
    await raw.rows(database_url, "CREATE TABLE scratch (number bigint, half int)")
    return database_url


async def put(session: Session, number: int, half: int) -> None:
    """Write one of two rows that belong together."""
    await session.rows("INSERT INTO scratch (number, half) VALUES ($1, $2)", number, half)


def files_in(folder: Path) -> list[Path]:
    """Return the contents of a folder."""
    return list(folder.iterdir())


async def halves() -> Counter[int]:
    """Return the number of rows for each number."""
    rows = await read("SELECT number, count(*) AS n FROM scratch GROUP BY number")
    return Counter({row["number"]: row["n"] for row in rows})


@pytest.mark.slow
async def test_cancelled_callers_leave_whole_transactions_and_a_free_database(scratch: str) -> None:
    """When a caller is canceled, its transaction is complete, and the next one has a connection and no lock."""
    dice, counts, begun = Random(3), Counter[str](), set[int]()
    long = 0.01  # seconds; adapts to the duration of a transaction, so that about half of them are canceled

    async def run_one(number: int) -> None:
        async def body(session: Session) -> None:
            begun.add(number)
            await put(session, number, 1)
            await session.rows("SELECT count(*) AS n FROM scratch")
            await put(session, number, 2)

        nonlocal long
        task = asyncio.create_task(write(body))
        await asyncio.wait([task], timeout=dice.uniform(0, long))
        if task.cancel():
            counts["still at work when cancelled"] += 1
            long *= 1.05
        else:
            counts["done before"] += 1
            long /= 1.05
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def cancel_some(numbers: range) -> None:
        for number in numbers:
            await run_one(number)

    async with asyncio.timeout(90):
        await asyncio.gather(*(cancel_some(range(start, CANCELS, 3)) for start in range(3)))
        rows = await halves()
        await _meet(POOL if current_database().dialect == "postgres" else 1)

    report_counts(f"cancelled transactions on {current_database().dialect}", counts)
    assert set(rows.values()) == {2}  # never a single row of two
    assert set(rows) == begun  # every transaction that began is complete, although its caller was canceled
    assert counts["still at work when cancelled"] >= CANCELS // 3


async def _meet(parties: int) -> None:
    """Run transactions that end only when all of them have begun, so each needs a connection of its own."""
    barrier = asyncio.Barrier(parties)

    async def body(session: Session) -> None:
        await session.rows("SELECT 1 AS one")
        await barrier.wait()
        await put(session, -1, 1)

    await asyncio.gather(*(write(body) for _ in range(parties)))


@pytest.mark.slow
async def test_cancelled_readers_leave_a_free_database(scratch: str) -> None:
    """A reader that is canceled while it waits for rows blocks nobody."""
    dice, counts = Random(4), Counter[str]()  # a fixed seed: the same times in each run
    await write(lambda session: put(session, 1, 1))
    assert await halves() == {1: 1}

    async def run_one() -> None:
        task = asyncio.create_task(halves())
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
        counts["still at work when cancelled" if task.cancel() else "done before"] += 1
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async with asyncio.timeout(60):
        for _ in range(CANCELS // 3):
            await asyncio.gather(run_one(), run_one(), run_one())
        assert await halves() == {1: 1}

    report_counts(f"cancelled readings on {current_database().dialect}", counts)
    assert counts["still at work when cancelled"] >= CANCELS // 3


async def test_a_first_reading_that_is_cancelled_is_in_nobody_s_way(database_url: str) -> None:
    """A reader that is canceled while its connection is being made, at any point, blocks nobody."""
    for steps in range(12):
        opened_storage = await open_storage(database_url, secret_keys=KEYS)
        try:
            reading = asyncio.create_task(all_workspaces())
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            async with asyncio.timeout(30):
                assert await all_workspaces() == []
        finally:
            await opened_storage.close()


async def test_a_caller_cancelled_again_and_again_still_waits_for_the_commit(scratch: str) -> None:
    """A caller that is canceled repeatedly still waits for the commit, and then raises the cancellation."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def body(session: Session) -> None:
        await put(session, 1, 1)
        inside.set()
        await go_on.wait()
        await put(session, 1, 2)

    caller = asyncio.create_task(write(body))
    await inside.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.wait([caller], timeout=0.01)
    assert not caller.done()

    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await halves() == {1: 2}


async def test_a_body_that_fails_after_its_caller_left_is_rolled_back(scratch: str) -> None:
    """If a transaction fails after its caller was canceled, it is rolled back and no unhandled error is reported."""
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def body(session: Session) -> None:
        await put(session, 1, 1)
        inside.set()
        await go_on.wait()
        raise LookupError

    caller = asyncio.create_task(write(body))
    await inside.wait()
    caller.cancel()
    await asyncio.wait([caller], timeout=0.01)
    go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await halves() == {}


async def test_a_body_that_fails_is_rolled_back(scratch: str) -> None:
    """The error of a transaction reaches the caller unchanged, nothing is stored, and the next transaction runs."""

    async def body(session: Session) -> None:
        await put(session, 1, 1)
        raise LookupError("the second half")

    with pytest.raises(LookupError, match="the second half"):
        await write(body)
    await write(lambda session: put(session, 2, 1))
    assert await halves() == {2: 1}


async def test_any_task_may_open_use_and_close(database_url: str) -> None:
    """Different tasks may open, use and close the database, repeatedly."""

    def alone(work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        return asyncio.create_task(work, context=contextvars.Context())

    for number in range(3):
        opened_storage = await alone(open_storage(database_url, secret_keys=KEYS))
        workspace = await alone(add_workspace(f"T{number}", name="Acme", by="U0ADMIN", now=NOW))
        await alone(Team(workspace).deliver(set_to("k", "ada@example.com", 10)))
        assert (await alone(opened_storage.readiness())).is_ready
        assert [workspace.team for workspace in await alone(all_workspaces())] == [f"T{n}" for n in range(number + 1)]
        await alone(opened_storage.close())


async def test_one_database_at_a_time(database_url: str, storage: Storage) -> None:
    """Opening a second database is refused while the first is open; after closing there is none."""
    with pytest.raises(RuntimeError, match="a database is open in this process already"):
        await open_storage(database_url, secret_keys=KEYS)
    assert (await storage.readiness()).is_ready

    await storage.close()
    with pytest.raises(NotOpen):
        await read("SELECT 1")


async def test_a_reader_is_not_kept_waiting_by_a_writer(scratch: str) -> None:
    """A reader during an open transaction returns the committed rows without waiting."""
    await write(lambda session: put(session, 1, 1))
    places = []

    async def body(session: Session) -> None:
        await put(session, 2, 1)
        async with asyncio.timeout(30):
            places.append(await asyncio.create_task(halves(), context=contextvars.Context()))
        places.append(Counter({row["number"]: 1 for row in await session.rows("SELECT number FROM scratch")}))

    await write(body)

    assert places == [{1: 1}, {1: 1, 2: 1}]
    assert await halves() == {1: 1, 2: 1}


@sqlite_only
async def test_the_reader_cannot_write(scratch: str) -> None:
    """On SQLite the connection for reading refuses to write."""
    with pytest.raises(StorageUnavailable):
        await current_database().reader.rows("INSERT INTO scratch (number, half) VALUES (1, 1)")
    assert await halves() == {}


async def test_a_mistake_of_ours_is_not_taken_for_an_outage(scratch: str) -> None:
    """A faulty statement raises its own error, not StorageUnavailable."""
    for statement in ("SELECT * FROM nothing", "SELEKT 1", "INSERT INTO scratch (nothing) VALUES (1)"):
        with pytest.raises(Exception, match=r"nothing|SELEKT") as mistake:
            await current_database().writer.rows(statement)
        assert not isinstance(mistake.value, StorageUnavailable)


@pytest.mark.parametrize("broken", ["a\0b", "a\ud83d"], ids=["NUL", "half"])
async def test_no_statement_is_given_what_no_text_can_hold(scratch: str, broken: str) -> None:
    """A statement with text that neither database can store is refused, and similar valid text is accepted."""
    for sql, params in (
        ("SELECT $1 AS text", broken),
        ("SELECT text FROM given(text text)", [{"text": broken}]),
        ("SELECT text FROM given(text text)", [{"text": f"\\{broken}"}]),
    ):
        with pytest.raises(BadText):
            await read(sql, params)
        with pytest.raises(BadText):
            await write(lambda session, sql=sql, params=params: session.rows(sql, params))  # type: ignore[misc]  # bound in each pass
    for text in (r"a\u0000", r"\\u0000", r"\ud83d", "\ufffd", "\U0001f600"):
        assert await read("SELECT text FROM given(text text)", [{"text": text}]) == [{"text": text}]


async def test_plain_rows_of_a_table(database_url: str, team: Team) -> None:
    """Querysets load, change and delete rows in the session's transaction, with the checks of every statement."""
    notices = models.Notice.filter(workspace_id=team.workspace.id)

    async def body(session: Session) -> list[list[dict[str, Any]]]:
        for notice in ("a", "b", "c"):
            insert = "INSERT INTO notices (workspace_id, what, told_at) VALUES ($1, $2, 1)"
            await session.rows(insert, team.workspace.id, notice)
        await session.update(notices.filter(what="b"), told_at=2)
        await session.delete(notices.filter(what__in=["a", "x"]))
        return [await session.load(notices.order_by("-what"), "what", "told_at"), await load(notices)]

    assert await write(body) == [[{"what": "c", "told_at": 1}, {"what": "b", "told_at": 2}], []]
    assert [row["workspace_id"] for row in await load(notices)] == [team.workspace.id] * 2
    assert await load(models.Workspace.filter(team="T" * 33)) == []  # longer than the column
    with pytest.raises(BadText):
        await load(notices.filter(what="a\0b"))
    await raw.rows(database_url, "DROP TABLE message_contacts")
    with pytest.raises(Exception, match="message_contacts") as mistake:
        await load(models.MessageContact.all())
    assert not isinstance(mistake.value, StorageUnavailable)


@pytest.mark.parametrize("count", [1, 200], ids=["a few", "many"])
async def test_rows_are_inserted_all_or_none(database_url: str, team: Team, count: int) -> None:
    """Inserted rows are stored as they are, and none of them if one has a taken key or a text that nothing can hold."""
    workspace = team.workspace.id
    columns = ("id", "workspace_id", "word")
    words = [(number, workspace, f"wörd, \t\\ {number}") for number in range(1, count + 1)]

    def insert(rows: Sequence[Sequence[object]]) -> Coroutine[None, None, None]:
        return write(lambda session: session.insert("words", columns, rows))

    await insert(words)
    others = [(number + 1_000, workspace, f"other {number}") for number in range(count)]
    with pytest.raises(StartAgain):
        await insert([*others, (5_000, workspace, words[-1][2])])
    for broken in ("a\0b", "a\ud83d"):
        with pytest.raises(BadText):
            await insert([*others, (5_000, workspace, broken)])

    stored = await raw.rows(database_url, "SELECT id, workspace_id, word FROM words ORDER BY id")
    assert [tuple(row.values()) for row in stored] == words


@postgres_only
async def test_the_tables_are_analyzed_while_they_grow(database_url: str, team: Team) -> None:
    """PostgreSQL knows the number of contacts after a large batch; after a small one it has not looked yet."""
    known = "SELECT CAST(reltuples AS bigint) AS contacts FROM pg_class WHERE oid = 'contacts'::regclass"
    await team.deliver(*(set_to(f"few{n}", f"few{n}@example.com", 5) for n in range(20)), batch="few")
    assert await raw.rows(database_url, known) == [{"contacts": -1}]

    await team.deliver(*(set_to(f"k{n}", f"p{n}@example.com", 5) for n in range(400)), batch="many")
    for finish in current_database().before_close:
        await finish()
    assert await raw.rows(database_url, known) == [{"contacts": 420}]


@sqlite_only
async def test_a_file_locked_by_another_process_is_an_outage(scratch: str, team: Team) -> None:
    """A SQLite file that another process locks for too long is reported as unavailable, and then works again."""
    await current_database().writer.rows("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(raw.file_of(scratch), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        outcomes = await asyncio.gather(
            *(team.deliver(set_to(f"k{n}", "ada@example.com", n)) for n in range(5)), return_exceptions=True
        )
        with pytest.raises(StorageUnavailable):
            await current_database().writer.rows("INSERT INTO scratch (number, half) VALUES (1, 1)")
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * 5
        assert await halves() == {}  # reading still works
    finally:
        other.close()

    await team.deliver(set_to("k", "ada@example.com", 10))
    assert await team.value("ada@example.com") == 10_000


@sqlite_only
async def test_writes_that_wait_for_a_file_together_wait_no_longer_than_one(database_url: str) -> None:
    """If another process locks the file, each of several writes fails after one limit; all succeed afterwards."""
    writes, limit = 8, 0.5
    storage = await open_storage(database_url, secret_keys=KEYS, limits=Limits(file=limit))
    holder = sqlite3.connect(database_url.removeprefix("sqlite://"), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    loop = asyncio.get_running_loop()
    begun = loop.time()

    async def wait(number: int) -> tuple[object, float]:
        statement = "UPDATE workspaces SET name = name"
        if number % 2:
            running = asyncio.ensure_future(current_database().writer.rows(statement))
        else:
            running = asyncio.ensure_future(write(lambda session: session.rows(statement)))
        (outcome,) = await asyncio.gather(running, return_exceptions=True)
        return type(outcome), loop.time() - begun

    outcomes = await asyncio.gather(*(wait(number) for number in range(writes)))
    holder.execute("ROLLBACK")
    holder.close()
    slowest = max(seconds for _, seconds in outcomes)
    report_counts(
        "writes that waited for a locked file, limit 500 ms",
        {"refused": writes, "slowest in ms": round(slowest * 1000)},
    )
    assert [kind for kind, _ in outcomes] == [StorageUnavailable] * writes
    assert slowest < writes * limit / 2  # one after the other they would take the whole
    for _ in range(2):
        await write(lambda session: session.rows("UPDATE workspaces SET name = name"))
    await storage.close()


@postgres_only
async def test_a_connection_cut_in_the_middle_is_an_outage(scratch: str, team: Team) -> None:
    """After a connection is cut, its transaction is rolled back and the next use makes a new connection."""

    async def body(session: Session) -> None:
        await put(session, 1, 1)
        (own,) = await session.rows("SELECT pg_backend_pid() AS pid")
        await raw.rows(scratch, "SELECT pg_terminate_backend($1)", own["pid"])
        await put(session, 1, 2)

    for _ in range(POOL + 2):  # more often than the pool has connections
        with pytest.raises(StorageUnavailable):
            await write(body)
    await team.deliver(set_to("k", "ada@example.com", 10))

    assert (await halves(), await team.value("ada@example.com")) == ({}, 10_000)
    async with asyncio.timeout(30):
        await _meet(POOL)


@postgres_only
async def test_a_server_that_drops_all_connections_is_used_again(scratch: str, team: Team, storage: Storage) -> None:
    """Each caller on a cut connection is told of an outage, and afterwards all connections work again."""
    await _meet(POOL)
    # In a thread that is joined, so that this process does not notice the cut before it uses the connections.
    cutting = Thread(target=asyncio.run, args=(raw.cut(scratch),))
    cutting.start()
    cutting.join()

    first = await _end([write(lambda session: put(session, 1, 1)) for _ in range(POOL)])
    meeting = await _end([_meet(POOL)])  # needs every connection of the pool

    assert [repr(result) for result in first if result is not None and not isinstance(result, StorageUnavailable)] == []
    assert meeting == [None]
    await team.deliver(set_to("k", "ada@example.com", 10))
    assert ((await storage.readiness()).is_ready, await team.value("ada@example.com")) == (True, 10_000)


async def _end(work: Sequence[Coroutine[None, None, None]]) -> list[BaseException | None]:
    """Wait for all calls, and return what each raised. Fail if one of them does not end."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    _, hanging = await asyncio.wait(tasks, timeout=30)
    assert not hanging, f"{len(hanging)} of {len(tasks)} wait for ever"
    return [task.exception() for task in tasks]


@postgres_only
async def test_a_database_that_is_gone_is_an_outage(scratch: str, team: Team, storage: Storage) -> None:
    """Recording and reading report a missing database as an outage, and readiness is false."""
    assert (await storage.readiness()).is_ready
    await raw.empty(scratch)
    assert not (await storage.readiness()).is_ready  # the database exists, but without its tables
    connection = await raw.connect(scratch, database="postgres")
    try:
        await connection.execute(f"DROP DATABASE {urlsplit(scratch).path[1:]} WITH (FORCE)")
    finally:
        await connection.close()

    for _ in range(2):
        with pytest.raises(StorageUnavailable) as outage:
            await team.deliver(set_to("k", "ada@example.com", 10))
        assert str(outage.value) == "The database does not answer; nothing was recorded."
        with pytest.raises(StorageUnavailable):
            await all_workspaces()
        assert not (await storage.readiness()).is_ready


async def test_a_server_that_cannot_be_reached_is_an_outage(tmp_path: Path) -> None:
    """Opening and migrating report an unreachable server as an outage, and a second attempt to open works."""
    nowhere = f"postgres://postgres:@/scores?host={tmp_path}"

    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await open_storage(nowhere, secret_keys=KEYS)
    with pytest.raises(StorageUnavailable):
        await migrate(nowhere, now=NOW)
    opened_storage = await open_storage(f"sqlite://{tmp_path / 'new' / 'scores.db'}", secret_keys=KEYS)
    assert (await opened_storage.readiness()).is_ready
    await opened_storage.close()


@postgres_only
async def test_a_server_that_lets_nobody_in_says_so(database_url: str) -> None:
    """Opening and migrating report an unknown user, and a user without permissions."""
    connection = await raw.connect(database_url)
    try:
        await connection.execute("DROP TABLE tortoise_migrations; CREATE ROLE guest LOGIN")
        for user, reason in (
            ("nobody", "The database refuses the login of CONTACT_SCORE_DATABASE_URL: check its user and password"),
            ("guest", "The database does not let the user of CONTACT_SCORE_DATABASE_URL do this"),
        ):
            url = database_url.replace("postgres:@", f"{user}:secret@")
            for attempt in (open_storage, partial(migrate, now=NOW)):
                with pytest.raises(StorageUnavailable) as error:
                    await attempt(url)
                assert str(error.value) == f"{reason}; nothing was recorded."
    finally:
        await connection.execute("DROP ROLE guest")
        await connection.close()


@postgres_only
async def test_a_server_that_may_only_be_read_is_an_outage(scratch: str) -> None:
    """A read-only server, such as a former standby, is reported as an outage."""

    async def body(session: Session) -> None:
        await session.rows("SET TRANSACTION READ ONLY")
        await put(session, 1, 1)

    with pytest.raises(StorageUnavailable) as outage:
        await write(body)
    assert str(outage.value) == "The database is read-only just now; nothing was recorded."


@sqlite_only
@pytest.mark.parametrize(
    ("limit", "end", "reason"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "The database is read-only just now"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "The database has no room left"),
    ],
)
async def test_a_file_that_cannot_be_written_is_an_outage(team: Team, limit: str, end: str, reason: str) -> None:
    """Recording reports whether the database is read-only or full, and works again afterwards."""
    attributes = {f"{ATTRIBUTE}a{number}": "x" * 1_000 for number in range(MOST_ATTRIBUTES)}
    item = set_to("k", "ada@example.com", 10, fields=attributes)
    await current_database().writer.rows(limit)
    with pytest.raises(StorageUnavailable) as outage:
        await team.deliver(item)
    await current_database().writer.rows(end)

    assert str(outage.value) == f"{reason}; nothing was recorded."
    await team.deliver(set_to("k", "ada@example.com", 10))
    assert await team.value("ada@example.com") == 10_000


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A file that is no database is refused with the name of the setting, and is left unchanged, without a key file."""
    path = tmp_path / "scores.db"
    path.write_bytes(b"Dear diary, " * 1_000)

    for attempt in (open_storage, partial(migrate, now=NOW)):
        with pytest.raises(NoDatabase) as error:
            await attempt(f"sqlite://{path}")
        assert str(error.value) == "CONTACT_SCORE_DATABASE_URL names a file that is not a SQLite database."
    assert (path.read_bytes(), files_in(tmp_path)) == (b"Dear diary, " * 1_000, [path])


@sqlite_only
async def test_a_damaged_file_is_refused(database_url: str) -> None:
    """Opening and migrating refuse a damaged file with what to do."""
    raw.damage(database_url, "tortoise_migrations")

    for attempt in (open_storage, partial(migrate, now=NOW)):
        with pytest.raises(StorageUnavailable) as error:
            await attempt(database_url)
        assert str(error.value) == f"{DAMAGED}; nothing was recorded."


@sqlite_only
async def test_a_text_that_is_no_text_is_a_damaged_file(scratch: str) -> None:
    """A text that cannot be decoded counts as a damaged file, because the product never writes one."""
    await raw.rows(scratch, "INSERT INTO scratch VALUES (CAST(x'ff' AS text), 1)")

    with pytest.raises(StorageUnavailable) as error:
        await read("SELECT number FROM scratch")
    assert error.value.because == DAMAGED


async def test_a_database_of_another_application_is_refused(tmp_path: Path) -> None:
    """A database of another application is refused and left unchanged; an empty file belongs to nobody."""
    file = tmp_path / "places.db"
    await raw.rows(f"sqlite://{file}", "CREATE TABLE places (url text)")
    before = file.read_bytes()

    for attempt in (open_storage, partial(migrate, now=NOW)):
        with pytest.raises(OtherApplication) as error:
            await attempt(f"sqlite://{file}")
        assert "names a database of another application" in str(error.value)
    assert (file.read_bytes(), files_in(tmp_path)) == (before, [file])

    (tmp_path / "empty.db").touch()
    opened_storage = await open_storage(f"sqlite://{tmp_path / 'empty.db'}", secret_keys=KEYS)
    assert (await opened_storage.readiness()).is_ready
    await opened_storage.close()


@postgres_only
async def test_tables_of_another_application_are_refused(database_url: str) -> None:
    """Other tables may exist beside the product's tables in PostgreSQL, unless they have the same names."""
    await raw.empty(database_url)
    await raw.rows(database_url, "CREATE TABLE contacts (id bigint)")

    with pytest.raises(StorageUnavailable) as error:
        await migrate(database_url, now=NOW)
    assert error.value.because == ("The database has tables of another application with the same names: choose another")
    assert await raw.rows(database_url, "SELECT * FROM contacts") == []


@sqlite_only
async def test_the_files_of_a_new_database_are_private(database_url: str, tmp_path: Path) -> None:
    """Only the owner may read a new database file and its log; an existing file keeps its permissions."""
    file, existing = tmp_path / "new" / "scores.db", raw.file_of(database_url)
    opened_storage = await open_storage(f"sqlite://{file}")
    await add_workspace("T1", name="Acme", by="U0ADMIN", now=NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    await opened_storage.close()
    existing.chmod(0o644)
    await (await open_storage(database_url, secret_keys=KEYS)).close()

    suffixes = ("", "-wal", "-shm", "-migrating", ".key")
    assert modes == {f"scores.db{end}": 0o600 for end in suffixes}
    assert stat.S_IMODE(existing.stat().st_mode) == 0o644


ADDRESSES = [
    ("sqlite://scores.db", "sqlite", "scores.db"),
    ("sqlite:///var/lib/scores.db", "sqlite", "/var/lib/scores.db"),
    ("sqlite:///var/lib/scores.db?journal_mode=WAL", "sqlite", "/var/lib/scores.db"),
    ("postgres://me:secret@db.example.com:6432/scores", "postgres", None),
    ("postgresql://me@db.example.com/scores", "postgres", None),
]


@pytest.mark.parametrize(("url", "dialect", "path"), ADDRESSES)
def test_addresses_of_databases(url: str, dialect: str, path: str | None) -> None:
    """The URL of a database names a file, by a relative or absolute path, or a server."""
    url_parts = parse_url(url)

    assert (url_parts.dialect, str(url_parts.path) if url_parts.path else None) == (dialect, path)


SERVERS = [
    ("postgres://me:secret@db.example.com:6432/scores", ("db.example.com", 6432, "me", "secret", "scores")),
    ("postgresql://me@db.example.com/scores", ("db.example.com", 5432, "me", None, "scores")),
    # The folder of a socket comes after the question mark, with its own port.
    ("postgres://me:@/scores?host=/run/postgresql&port=5433", ("/run/postgresql", 5433, "me", None, "scores")),
    ("postgres://me@%2Frun%2Fpostgresql/scores", ("/run/postgresql", 5432, "me", None, "scores")),
    ("postgres:///?host=db&user=me&password=a&dbname=scores", ("db", 5432, "me", "a", "scores")),
    # user@server as on Azure, and other special characters
    ("postgres://u%40x:p%3Aw%2F%40@db/my%20scores", ("db", 5432, "u@x", "p:w/@", "my scores")),
]


@pytest.mark.parametrize(("url", "parts"), SERVERS)
def test_how_a_server_is_named(url: str, parts: tuple[str, int, str, str | None, str]) -> None:
    """A URL is parsed into host, port, user, password and database."""
    credentials = parse_url(url).config["credentials"]

    assert tuple(credentials[name] or None for name in ("host", "port", "user", "password", "database")) == parts


@pytest.mark.parametrize(
    "url", ["", "scores.db", "sqlite://", "sqlite:///", "mysql://me@db/scores", "postgres://me@db:port/scores"]
)
def test_addresses_of_nothing(url: str) -> None:
    """Any other URL is refused with the three valid forms."""
    with pytest.raises(BadDatabaseUrl) as error:
        parse_url(url)

    assert str(error.value) == (
        "CONTACT_SCORE_DATABASE_URL must be sqlite:///absolute/file.db, sqlite://relative.db or postgres://…"
    )


OPTIONS: list[tuple[str, dict[str, Any], dict[str, str]]] = [  # options, connection options, settings
    ("sslmode=require&channel_binding=require", {"ssl": "require"}, {}),
    ("sslmode=prefer&channel_binding=prefer", {"ssl": "prefer"}, {}),
    ("ssl=true", {"ssl": True}, {}),
    ("sslmode=disable&sslrootcert=/no/such.crt", {"ssl": "disable"}, {}),  # as libpq does
    ("sslrootcert=/no/such.crt", {"ssl": "prefer"}, {}),
    ("pgbouncer=true", {"statement_cache_size": 0}, {}),
    ("pgbouncer=false", {}, {}),
    ("pgbouncer=true&connection_limit=1&pool_timeout=20", {"statement_cache_size": 0}, {}),
    ("connect_timeout=10", {}, {}),
    ("application_name=crm%20scores", {}, {"application_name": "crm scores"}),
    ("target_session_attrs=read-write", {"target_session_attrs": "read-write"}, {}),
    ("options=endpoint%3Dep-1", {}, {"options": "endpoint=ep-1"}),
    ("options=-c%20geqo%3Doff&application_name=", {}, {"options": "-c geqo=off"}),
    ("maxsize=4&minsize=1", {"maxsize": 4, "minsize": 1}, {}),
    ("schema=a%22b&plan_cache_mode=auto", {}, {"search_path": '"a""b"', "plan_cache_mode": "auto"}),
]


@pytest.mark.parametrize(("options", "expected", "settings"), OPTIONS)
def test_options_that_hosts_put_into_addresses(
    options: str, expected: dict[str, Any], settings: dict[str, str]
) -> None:
    """Options that hosting providers put into URLs are applied, or ignored if the service decides them itself."""
    plain = parse_url("postgres://me@db/scores").config["credentials"]
    credentials = parse_url(f"postgres://me@db/scores?{options}").config["credentials"]

    assert credentials == plain | expected | {"server_settings": plain["server_settings"] | settings}


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ("sslmod=require", "CONTACT_SCORE_DATABASE_URL has an unknown option: sslmod"),
        ("sslmode=no-verify", "sslmode in CONTACT_SCORE_DATABASE_URL is disable or allow or prefer or require"),
        ("target_session_attrs=any1", "target_session_attrs in CONTACT_SCORE_DATABASE_URL is any or primary"),
        ("pgbouncer=1", "pgbouncer in CONTACT_SCORE_DATABASE_URL is true or false"),
        ("plan_cache_mode=best", "plan_cache_mode in CONTACT_SCORE_DATABASE_URL is auto or"),
        ("maxsize=many", "minsize, maxsize, max_queries, "),
        (
            "sslmode=verify-full&sslrootcert=/no/such.crt",
            "sslrootcert in CONTACT_SCORE_DATABASE_URL is not a certificate file: /no/such.crt",
        ),
    ],
)
def test_options_that_cannot_be_followed(options: str, refusal: str) -> None:
    """An option that cannot be applied is refused by its name in one sentence."""
    with pytest.raises(BadDatabaseUrl) as error:
        parse_url(f"postgres://me@db/scores?{options}")

    assert str(error.value).startswith(refusal)


def make_certificate() -> bytes:
    """Create a self-signed certificate."""
    key, name = Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "db")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(day).not_valid_after(day + timedelta(days=1))
    return builder.sign(key, None).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(("mode", "checks_name"), [("require", False), ("verify-ca", False), ("verify-full", True)])
def test_certificates_to_trust(tmp_path: Path, mode: str, checks_name: bool) -> None:
    """With a file of trusted certificates each certificate is verified, and its host name if the option says so."""
    file = tmp_path / "root.crt"
    file.write_bytes(make_certificate())
    encryption = parse_url(f"postgres://me@db/scores?sslmode={mode}&sslrootcert={file}").config["credentials"]["ssl"]

    assert (encryption.verify_mode, encryption.check_hostname) == (ssl.CERT_REQUIRED, checks_name)


@postgres_only
async def test_reported_addresses(postgres: str, database_url: str) -> None:
    """The service opens a database by the kinds of URLs that hosting providers hand out."""
    folder = Path(__file__).parents[2] / "data" / "reported" / "databases"
    cases = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    names = {"host": quote(postgres, safe=""), "db": urlsplit(database_url).path.removeprefix("/")}
    server = await asyncpg.connect(host=postgres, user="postgres", database="postgres")
    try:
        await server.execute("CREATE ROLE bars LOGIN SUPERUSER")
        for case in cases:
            for statement in case.get("sql", ()):
                await server.execute(statement)
            storage = await open_storage(case["url"].format(**names), secret_keys=KEYS)
            assert await all_workspaces() == []
            await storage.close()
    finally:
        for role in ("bars", '"u@x"'):
            await server.execute(f"DROP ROLE IF EXISTS {role}")
        await server.close()
    assert len(cases) == 3


@postgres_only
async def test_options_reach_the_server(database_url: str) -> None:
    """The application name and other start-up options of the URL reach the server."""
    url = f"{database_url}&application_name=crm%20scores&options=-c%20geqo%3Doff&target_session_attrs=primary"
    storage = await open_storage(url, secret_keys=KEYS)
    rows = await read("SELECT current_setting('geqo') AS geqo, current_setting('application_name') AS name")
    await storage.close()

    assert rows == [{"geqo": "off", "name": "crm scores"}]


def test_the_word_of_other_tools_for_encryption_is_understood() -> None:
    """The option `sslmode` in the URL of a hosted database is understood."""
    credentials = parse_url("postgres://me@db/scores?sslmode=require").config["credentials"]

    assert (credentials["ssl"], "sslmode" in credentials) == ("require", False)
