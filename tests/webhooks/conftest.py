"""Fixtures of the webhook tests: a running service, on SQLite; tests marked `on_both` run on PostgreSQL too."""

from collections.abc import AsyncIterator

import pytest

from tests.journeys.acme import database_url
from tests.webhooks.receiving import Receiving, receiving

__all__ = ["database_url", "service"]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Receiving]:
    """Run the service with a workspace and a source."""
    async with receiving(database_url) as running:
        yield running
