"""Explain the first two thousand purchases of the CDNOW log, as the benchmark explains all of them."""

from pathlib import Path

import pytest

from storage.bootstrap import Storage
from storage.workspaces import add_workspace
from tests.bench.explain import explain
from tests.bench.replay import purchases
from tests.counts import report_counts
from tests.storage.teams import NOW, Team

LOG = Path(__file__).resolve().parent.parent / "data" / "cdnow_2000.txt"


@pytest.mark.slow
async def test_what_is_explained_is_what_is_shown(storage: Storage) -> None:
    """For each customer, at one of ten instants, the lines of the explanation add up to the number on the card."""
    team = Team(await add_workspace("T0CDNOW", name="CDNOW", by="U0ADMIN", now=NOW))
    counts = await explain(team, purchases(LOG), share=10)

    report_counts("explained scores", counts)
    assert (counts["customers"], counts["instants"]) == (586, 10)
    assert counts["scores explained"] == 2 * 586
    assert min(counts["of months"], counts["cut"], counts["faded"]) >= 50
    assert counts["differences"] == 0
