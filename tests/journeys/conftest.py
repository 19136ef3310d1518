"""Give every journey the running service with its Slack, and say at the end what was counted."""

import pytest

from tests.journeys.acme import acme, socket_mode
from tests.journeys.counts import COUNTS

__all__ = ["acme", "socket_mode"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was counted."""
    for what, number in sorted(COUNTS.items()):
        terminalreporter.write_line(f"{what}: {number}")
