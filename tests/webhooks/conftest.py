"""Fixtures of the webhook tests: a running service, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from tests.webhooks.receiving import Receiving, receiving


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Receiving]:
    """Run the service with a workspace and a source."""
    async with receiving(database_url) as running:
        yield running
