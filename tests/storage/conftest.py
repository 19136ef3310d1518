"""Give a test of storage a team in a fresh database."""

import pytest

from storage.bootstrap import Storage
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Make a workspace, and open the door of its ledger."""
    return Team(await add_workspace("T0ACME", name="Acme", now=NOW))
