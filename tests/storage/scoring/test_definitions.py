"""Workspaces and score types."""

import asyncio

import pytest

from storage.bootstrap import Storage
from storage.domain.errors import AlreadyThere, BadDefinition, BadName, UnknownWorkspace
from storage.domain.people import Workspace
from storage.domain.score_types import Band, ScoreType
from storage.scoring.definitions import add_score_type, score_types
from storage.sources.config import add_source
from storage.workspaces import add_workspace, all_workspaces, find_workspace
from tests.storage.teams import NOW, Team

LOW = (Band(name="low", start=-5_000),)


async def add(workspace: Workspace, key: str, *, is_default: bool = False, label: str = "Mood") -> ScoreType:
    """Add a type from -5 to 5 in steps of 0.5."""
    return await add_score_type(
        workspace, key=key, label=label, minimum=-5_000, maximum=5_000, step=500, bands=LOW, start=None,
        is_default=is_default, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition


async def test_a_new_workspace_has_one_score_type(storage: Storage) -> None:
    """A new workspace has the default type `score`, from 0 to 100 in steps of 1, with the bands cold, warm and hot."""
    workspace = await add_workspace("T0ACME", name="  Acme ", by="U0ADMIN", now=NOW)
    (only,) = await score_types(workspace)

    assert (workspace.team, workspace.name) == ("T0ACME", "Acme")
    assert (only.key, only.label, only.is_default, only.number) == ("score", "Score", True, 1)
    assert (only.minimum, only.maximum, only.step, only.start) == (0, 100_000, 1_000, 0)
    assert only.bands == (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))


async def test_a_workspace_is_found_by_its_team(storage: Storage) -> None:
    """A workspace is found by its team or refused as unknown, and all workspaces are listed by team."""
    workspaces = [await add_workspace(team, name=f"Team {team}", by="U0ADMIN", now=NOW) for team in ("T2", "T1")]

    assert await find_workspace("T2") == workspaces[0]
    assert await all_workspaces() == [workspaces[1], workspaces[0]]
    with pytest.raises(UnknownWorkspace) as error:
        await find_workspace("T3" * 40)
    assert str(error.value) == f"there is no workspace {'T3' * 20}"


async def test_a_team_has_one_workspace(storage: Storage) -> None:
    """A second workspace of a team is refused, even if both are created at once."""
    outcomes = await asyncio.gather(
        *(add_workspace("T0ACME", name=f"Acme {n}", by="U0ADMIN", now=NOW) for n in range(4)), return_exceptions=True
    )

    refusals = [outcome for outcome in outcomes if not isinstance(outcome, Workspace)]
    assert [str(refusal) for refusal in refusals] == ["the workspace T0ACME already exists"] * 3
    assert all(isinstance(refusal, AlreadyThere) for refusal in refusals)
    assert [len(await score_types(workspace)) for workspace in await all_workspaces()] == [1]


@pytest.mark.parametrize("team", ["", "T", "T" * 33, "T 1", "T-1", "Té1", "T1\n", "../etc"])
async def test_what_is_no_team(team: str) -> None:
    """The id of a team is 2 to 32 ASCII letters and digits; any other is refused."""
    with pytest.raises(BadName, match="is not a workspace id: Slack's look like T0123ABCD"):
        await add_workspace(team, name="Acme", by="U0ADMIN", now=NOW)


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
async def test_what_is_no_name(name: str) -> None:
    """A name has 1 to 200 characters; any other is refused."""
    with pytest.raises(BadName) as error:
        await add_workspace("T0ACME", name=name, by="U0ADMIN", now=NOW)

    assert str(error.value) == "a workspace's name has 1 to 200 characters"


async def test_a_score_type_is_what_was_defined(team: Team) -> None:
    """A score type reads as it was defined; the default is listed first, then the others in order of creation."""
    mood = await add(team.workspace, "mood", label="  Mood ")
    fit = await add(team.workspace, "fit", is_default=True)
    stored_types = await score_types(team.workspace)

    assert [(score_type.key, score_type.is_default) for score_type in stored_types] == [
        ("fit", True),
        ("score", False),
        ("mood", False),
    ]
    assert stored_types[2] == mood
    assert (stored_types[0].id, stored_types[0].definition) == (fit.id, fit.definition)
    assert (mood.label, mood.minimum, mood.maximum, mood.step) == ("Mood", -5_000, 5_000, 500)
    assert (mood.start, mood.bands) == (0, LOW)


async def test_a_key_is_used_once(team: Team) -> None:
    """A key is unique among score types and slugs of sources, because `fit:17` would be ambiguous."""
    await add_source(team.workspace, slug="mood", provider="generic", secrets=[], by="U0ADMIN", now=NOW)
    await add(team.workspace, "fit")

    for key, sentence in (
        ("fit", "a score type is called `fit` already; choose another key"),
        ("mood", "a source is called `mood` already; choose another key"),
    ):
        with pytest.raises(AlreadyThere) as error:
            await add(team.workspace, key)
        assert str(error.value) == sentence
    assert [score_type.key for score_type in await score_types(team.workspace)] == ["score", "fit"]


async def test_a_score_type_and_a_source_are_never_called_the_same(team: Team) -> None:
    """A score type and a source never have the same name, even if both are created at once."""
    for number in range(10):
        name = f"mood{number}"
        source = add_source(team.workspace, slug=name, provider="generic", secrets=[], by="U0ADMIN", now=NOW)
        outcomes = await asyncio.gather(add(team.workspace, name), source, return_exceptions=True)

        refusals = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert [type(refusal) for refusal in refusals] in ([AlreadyThere], [BadName])


async def test_what_cannot_be_defined_is_not_kept(team: Team) -> None:
    """A type with a bad key or a bad definition is refused, and nothing is stored."""
    with pytest.raises(BadName):
        await add(team.workspace, "owner")
    with pytest.raises(BadDefinition):
        await add(team.workspace, "fit", label="")

    assert [score_type.key for score_type in await score_types(team.workspace)] == ["score"]
