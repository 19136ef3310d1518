"""What a score is made of, as it is read from the ledger: undone changes have no part, other teams see nothing."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.database import read
from storage.definitions import add_score_type
from storage.domain.facts import Op
from storage.scores import cards_of, why
from storage.workspaces import add_workspace
from tests.counts import tell
from tests.storage.teams import DAY, NOW, Team, change, set_to

ADA = "ada@example.com"
CDNOW = Path(__file__).resolve().parents[1] / "data" / "cdnow_2000.txt"


async def test_undone_changes_have_no_part(team: Team) -> None:
    """Neither in the number nor among the lines; and whoever is not there is explained to nobody."""
    await team.deliver(set_to("a", ADA, 40, at=NOW - DAY, reason="trial"))
    await team.ask(change("p", ADA, Op.ADD, 70), batch="p", actor="U1")
    ada = (await team.contact(ADA)).id
    _, both = await why(team.workspace, contact=ada, score=None, most=9, now=NOW)
    await team.undo("p", batch="u")
    _, one = await why(team.workspace, contact=ada, score="score", most=9, now=NOW)
    other = await add_workspace("T0OTHER", name="Other", now=NOW)

    assert both is not None
    assert [(line.effect, line.cut, line.actor) for line in both.contributions] == [
        (60_000, 10_000, "U1"),
        (40_000, 0, None),
    ]
    assert one is not None
    assert [(line.effect, line.source, line.reason) for line in one.contributions] == [(40_000, "crm", "trial")]
    assert (await why(other, contact=ada, score="score", most=9, now=NOW))[1] is None
    assert (await why(team.workspace, contact=999, score="score", most=9, now=NOW))[1] is None


@pytest.mark.slow
async def test_what_is_explained_is_what_is_shown(team: Team) -> None:
    """Two thousand real purchases, kept and read back: for every customer the lines make the number on the card."""
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=None, bands=[],
        half_life=30 * DAY, is_default=False, now=NOW,
    )  # fmt: skip  # one definition
    items = []
    for number, line in enumerate(CDNOW.read_text().splitlines()[1:]):
        customer, date, _, dollars = line.split()
        at = int(datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000
        items += [
            change(f"{number:04d}", ("shop", customer), Op.ADD, round(float(dollars)), score=score, at=at)
            for score in ("score", "heat")
        ]
    for first in range(0, len(items), 500):
        await team.deliver(*items[first : first + 500], batch=f"b{first}", source="shop")
    ids = [int(row["id"]) for row in await read("SELECT id FROM contacts ORDER BY id")]
    counts = {"customers": len(ids), "explained": 0}
    instants = [
        int(datetime(1998, 7, 1, tzinfo=UTC).timestamp()) * 1_000_000 + days * DAY for days in range(0, 300, 30)
    ]
    for place, now in enumerate(instants):
        some = ids[place::10]
        for card in await cards_of(team.workspace, ids=some, now=now):
            for standing in card.standings:
                key = standing.score_type.key
                _, made_of = await why(team.workspace, contact=card.contact.id, score=key, most=5, now=now)
                assert made_of is not None
                assert sum(one.effect for one in made_of.contributions) == made_of.value == standing.value
                counts["explained"] += 1

    tell("explained scores", counts)
    assert counts["customers"] > 500
    assert counts["explained"] == 2 * counts["customers"]
