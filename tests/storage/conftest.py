"""Give a test of storage a team in a fresh database, and say at the end what was counted."""

import pytest

from storage.opening import Storage
from storage.workspaces import add_workspace
from tests.storage.counts import LINES
from tests.storage.teams import NOW, Team


@pytest.fixture
async def team(storage: Storage) -> Team:
    """Make a workspace, and open the door of its ledger."""
    return Team(await add_workspace("T0ACME", name="Acme", now=NOW), storage.committer)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was counted."""
    for line in LINES:
        terminalreporter.write_line(line)
