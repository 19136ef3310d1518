"""The contacts that a person sees first: of their own, the highest scores and those that moved within a week."""

from storage.domain.facts import Op
from storage.domain.people import Workspace
from storage.reading.portfolio import Portfolio, load_portfolio, week_trend
from storage.scoring.definitions import score_type
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.storage.teams import DAY, NOW, Team, change, field_item, set_to

OWNER = "Rep@Example.com"


async def load(workspace: Workspace, owner: str | None = "rep@example.com", *, now: int = NOW) -> Portfolio:
    """Load the portfolio of a person, with lists of two contacts."""
    default = await score_type(workspace, key=None)
    return await load_portfolio(workspace, owner=owner, score_type=default, hottest=2, movers=2, now=now)


def names(portfolio: Portfolio) -> tuple[str, str, str, bool]:
    """Return the first letters of the addresses in each list, and whether the person owns the contacts."""
    lists = (portfolio.hottest, portfolio.rising, portfolio.falling)
    hottest, rising, falling = ("".join((card.contact.email or "")[0] for card in cards) for cards in lists)
    return hottest, rising, falling, portfolio.is_own


async def push(team: Team, name: str, *scores: tuple[int, int], owner: str | None = OWNER) -> None:
    """Record a contact with its scores of some days ago: (days, value)."""
    email = f"{name}@example.com"
    await team.deliver(
        field_item(f"{name}", email, owner=owner, at=NOW - 90 * DAY),
        *(set_to(f"{name}{days}", email, value, at=NOW - days * DAY) for days, value in scores),
        batch=name,
    )


@on_both
async def test_the_lists_of_an_owner(team: Team) -> None:
    """Each list has the largest values first and only the owner's contacts; who was unscored a week ago is no mover."""
    await push(team, "a", (20, 10), (3, 60))
    await push(team, "b", (20, 90), (3, 85))
    await push(team, "c", (20, 50), (3, 20))
    await push(team, "d", (20, 10), (3, 11))
    await push(team, "e", (3, 99))
    await push(team, "f", (20, 70))
    await push(team, "g", (20, 0), (3, 100), owner="other@example.com")
    await push(team, "h", (20, 5), (3, 95), owner=None)
    own = await load(team.workspace)

    assert names(own) == ("eb", "ad", "cb", True)
    assert [week_trend(card, await score_type(team.workspace, key=None)) for card in own.falling] == [-30_000, -5_000]
    assert names(await load(team.workspace, "nobody@example.com")) == ("ge", "gh", "cb", False)
    assert names(await load(team.workspace, None)) == ("ge", "gh", "cb", False)


@on_both
async def test_contacts_that_are_not_listed(team: Team) -> None:
    """Cleared scores and other workspaces are left out; a month later nothing moved."""
    await push(team, "a", (20, 10), (3, 60))
    await push(team, "b", (20, 20), (3, 70))
    await push(team, "c", (20, 30), (3, 80))
    other = Team(await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW))
    await push(other, "z", (20, 1), (3, 100))
    await team.deliver(change("x", "c@example.com", Op.CLEAR), batch="clear")

    assert names(await load(team.workspace)) == ("ba", "ba", "", True)
    assert names(await load(other.workspace, None)) == ("z", "z", "", False)
    assert names(await load(team.workspace, None, now=NOW + 30 * DAY)) == ("ba", "", "", False)
