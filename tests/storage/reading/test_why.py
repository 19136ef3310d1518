"""An explanation leaves out undone changes, and is invisible to other teams."""

from storage.domain.facts import Op
from storage.reading.history import why
from storage.workspaces import add_workspace
from tests.storage.teams import DAY, NOW, Team, change, set_to

ADA = "ada@example.com"


async def test_undone_changes_have_no_part(team: Team) -> None:
    """An undone change is part of neither the value nor the lines, and an unknown contact has no explanation."""
    await team.deliver(set_to("a", ADA, 40, at=NOW - DAY, reason="trial"))
    await team.ask(change("p", ADA, Op.ADD, 70), batch="p", actor="U1")
    ada = (await team.contact(ADA)).id
    _, both = await why(team.workspace, contact=ada, score=None, most=9, now=NOW)
    await team.undo("p", batch="u")
    _, explanation = await why(team.workspace, contact=ada, score="score", most=9, now=NOW)
    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW)

    assert both is not None
    assert [(line.effect, line.cut, line.actor) for line in both.contributions] == [
        (60_000, 10_000, "U1"),
        (40_000, 0, None),
    ]
    assert explanation is not None
    assert [(line.effect, line.source, line.reason) for line in explanation.contributions] == [(40_000, "crm", "trial")]
    assert (await why(other, contact=ada, score="score", most=9, now=NOW))[1] is None
    assert (await why(team.workspace, contact=999, score="score", most=9, now=NOW))[1] is None
