"""Provide a real SQLite file and a real PostgreSQL database to tests that store data, and count the tests on each."""

import gc
import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, nullcontext, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from storage.bootstrap import Storage, migrate, open_storage
from storage.db.database import NotOpen, current_database
from tests.counts import COUNTS, LINES
from tests.postgres import Databases, postgres_url, server

DIALECTS = ("sqlite", "postgres")
#: Marks tests of the bot and of webhooks that run on both databases. Tests of storage and faults always do.
on_both = pytest.mark.parametrize("database_url", DIALECTS, indirect=True)
SOCKET = "TEST_POSTGRES_SOCKET"
KEY = "dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM="  # a Fernet key made up for tests
ran = dict.fromkeys(DIALECTS, 0)  # number of tests by dialect

# Tests start hundreds of processes. Without stored bytecode each process would compile the product again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Where there is enough memory, the files of tests are kept in it: on a disk, tests take a quarter longer.
MEMORY = Path("/dev/shm")  # noqa: S108  # pytest and tempfile make folders of their own there
if (
    "TMPDIR" not in os.environ
    and MEMORY.is_dir()
    and shutil.disk_usage(MEMORY).free > 4 << 30
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC  # a test installs the program there, and runs it
):
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None  # in case that it was asked for already

# Imports and collection create objects that stay, so collecting garbage would only take time until the tests start.
gc.disable()

# The time of an example depends on the load of the machine and on coverage, so no deadline is set.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Start one PostgreSQL server for all processes of the run; they inherit the environment."""
    if not os.environ.get(SOCKET):
        running = ExitStack()
        os.environ[SOCKET] = running.enter_context(server())
        config.add_cleanup(running.close)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Yield the folder of a PostgreSQL server's socket; without TEST_POSTGRES_SOCKET a server is started."""
    socket_folder = os.environ.get(SOCKET)
    with nullcontext(socket_folder) if socket_folder else server() as folder:
        yield folder


@pytest.fixture(scope="session")
async def databases(postgres: str) -> AsyncIterator[Databases]:
    """Yield the pool of databases on that server."""
    opened_databases = Databases(postgres, prefix=f"scores_{os.getpid()}")
    await opened_databases.open()
    yield opened_databases
    await opened_databases.close()


@pytest.fixture(scope="session")
async def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file, which is copied for each test."""
    folder = tmp_path_factory.mktemp("sqlite")
    await migrate(f"sqlite://{folder / 'migrated.db'}", now=0)
    return copy_whole(folder / "migrated.db", folder / "template.db")


def copy_whole(source: Path, target: Path) -> Path:
    """Copy a closed SQLite file, with what only its write-ahead log may hold, to *target*, and return that.

    Sometimes the log is left. Copies of the file alone would then be empty, and each test would migrate its copy.
    """
    with closing(sqlite3.connect(source)) as complete, closing(sqlite3.connect(target)) as copy:
        complete.backup(copy)
    return target


@pytest.fixture(params=DIALECTS)
async def database_url(
    request: pytest.FixtureRequest, sqlite_file: Path, databases: Databases, postgres: str, tmp_path: Path
) -> AsyncIterator[str]:
    """Yield the URL of a fresh database with its tables; the test runs once on each dialect."""
    async with fresh(request.param, sqlite_file, databases, postgres, tmp_path) as url:
        yield url


@pytest.fixture(params=DIALECTS, scope="module")
async def lasting_database_url(
    request: pytest.FixtureRequest,
    sqlite_file: Path,
    databases: Databases,
    postgres: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[str]:
    """Yield one database URL to all tests of a file. These tests must not disturb each other."""
    async with fresh(request.param, sqlite_file, databases, postgres, tmp_path_factory.mktemp("lasting")) as url:
        yield url


@asynccontextmanager
async def fresh(
    dialect: str, sqlite_file: Path, databases: Databases, postgres: str, folder: Path
) -> AsyncIterator[str]:
    """Yield the URL of a fresh database of this dialect."""
    ran[dialect] += 1
    async with AsyncExitStack() as stack:
        if dialect == "sqlite":
            shutil.copy(sqlite_file, folder / "scores.db")
            url = f"sqlite://{folder / 'scores.db'}"
        else:
            url = postgres_url(postgres, await stack.enter_async_context(databases.borrow()))
        stack.push_async_callback(_close_database)
        yield url


async def _close_database() -> None:
    """Close the database if the test left it open, and fail: otherwise the tests after it would fail in its place."""
    with suppress(NotOpen):
        await current_database().close()
        pytest.fail("The test left its database open.")


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    """Open the storage of a test, and close it afterwards."""
    opened_storage = await open_storage(database_url, secret_keys=[KEY])
    yield opened_storage
    await opened_storage.close()


@pytest.fixture
def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        return int(trying.getsockname()[1])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests so that each worker process begins with slow ones, and none is left alone with one at the end.

    The scheduler gives each process an equal part of the list, in order; one that has ended takes from the others' end.
    The tests of a file run on one database after the other, because querysets are built anew for another database.
    """
    places = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (places[item.path], "postgres" in item.name))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    parts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    slow = [item for item in items if item.get_closest_marker("slow")]
    for _, of_module in groupby(slow, key=lambda item: item.path):  # they share what is expensive to make
        min(parts, key=len).extend(of_module)
    quick = [item for item in items if not item.get_closest_marker("slow")]
    ordered: list[pytest.Item] = []
    for place, part in enumerate(parts):
        number = max((len(items) - len(ordered)) // (workers - place) - len(part), 0)
        ordered += part + quick[:number]
        quick = quick[number:]
    items[:] = ordered + quick


def pytest_collection_finish() -> None:
    """Exempt all imported and collected objects from garbage collection, which took a quarter of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counts of one worker process."""
    counts = getattr(node, "workeroutput", {}).get("counted")  # empty if the process died
    if counts:
        for dialect, number in counts["ran"].items():
            ran[dialect] += number
        COUNTS.update(counts["counts"])
        LINES.extend(counts["lines"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts and, last, how many tests ran on each database."""
    for line in [*sorted(LINES), *(f"{name}: {number}" for name, number in sorted(COUNTS.items()))]:
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"tests on SQLite: {ran['sqlite']}, on PostgreSQL: {ran['postgres']}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Pass a worker's counts to the main process. Fail a complete run in which one database had no test."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counted"] = {"ran": ran, "counts": dict(COUNTS), "lines": LINES}
        return
    whole = session.config.args == session.config.getini("testpaths") and not session.config.option.keyword
    if whole and exitstatus == 0 and not session.config.option.collectonly and not all(ran.values()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
