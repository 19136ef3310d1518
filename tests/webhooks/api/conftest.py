"""Give the tests of the API a program with a token for everything."""

import pytest

from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving


@pytest.fixture
async def api(service: Receiving) -> Program:
    """Be a program of the workspace that may do everything."""
    return await program(service)
