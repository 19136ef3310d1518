"""`contact-score verify` accepts a consistent ledger and lists differences after tampering."""

import json

import pytest

from storage.bootstrap import open_storage
from storage.workspaces import add_workspace
from tests.bot.cli.program import environment, run
from tests.conftest import KEY, on_both
from tests.storage import raw
from tests.storage.teams import NOW, Team, set_to


@on_both
@pytest.mark.slow
async def test_verify(database_url: str) -> None:
    """The command exits with 0 and one sentence if the ledger is consistent, else with 1 and a line per difference."""
    env = environment(database_url)
    opened_storage = await open_storage(database_url, secret_keys=[KEY])
    team = Team(await add_workspace("T0123", name="Acme", by="U0ADMIN", now=NOW))
    await team.deliver(set_to("a", "ada@example.com", 40), set_to("b", "bob@example.com", 50))
    await opened_storage.close()

    well = await run("verify", env=env)
    result = await run("verify", "--json", env=env)
    await raw.rows(database_url, "UPDATE effects SET effective = 41000 WHERE fact_id = 1")
    ill = await run("verify", "--workspace", "T0123", env=env)
    told_ill = await run("verify", "--json", env=env)

    assert (well.code, well.out, well.err) == (0, "2 contacts with 2 scores recalculated: no difference.\n", "")
    assert result.document == {"contacts": 2, "scores": 2, "differences": [], "number_of_differences": 0}
    assert (ill.code, ill.err) == (1, "")
    assert ill.out.splitlines()[0].startswith("T0123, contact 1, effect of fact 1 on score: stored ")
    assert ill.out.splitlines()[1:] == ["2 contacts with 2 scores recalculated: one difference."]
    told_of = json.loads(told_ill.out)
    (difference,) = told_of["differences"]
    assert (difference["workspace"], difference["contact"], difference["what"]) == (
        "T0123",
        1,
        "effect of fact 1 on score",
    )
    assert (told_ill.code, told_of["number_of_differences"], told_ill.err) == (1, 1, "")
