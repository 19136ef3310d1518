"""Provide the databases that an older version made."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import ran
from tests.postgres import postgres_url
from tests.upgrade.databases import DIALECTS, FOLDER, restore_postgres, restore_sqlite


@pytest.fixture(params=DIALECTS)
async def stored_url(request: pytest.FixtureRequest, postgres: str, tmp_path: Path) -> AsyncIterator[str]:
    """Return the URL of a restored database; the test runs once for each dialect."""
    ran[request.param] += 1
    if request.param == "sqlite":
        restore_sqlite(FOLDER / "sqlite" / "database.db.xz", tmp_path / "scores.db")
        yield f"sqlite://{tmp_path / 'scores.db'}"
        return
    name = f"upgraded_{os.getpid()}"
    server = await asyncpg.connect(host=postgres, user="postgres", database="postgres")
    try:
        await server.execute(f"CREATE DATABASE {name}")
        await restore_postgres(FOLDER / "postgres" / "database.sql.xz", postgres, name)
        yield postgres_url(postgres, name)
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()
