"""Fixtures of the API tests: a client with a token for every scope."""

import pytest

from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving


@pytest.fixture
async def api(service: Receiving) -> Program:
    """Return a client of the workspace that may do everything."""
    return await program(service)
