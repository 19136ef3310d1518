"""Provide a team in a fresh database to the tests of storage."""

import pytest

from storage.bootstrap import Storage
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Return a team with a new workspace."""
    return Team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
