"""Store the roles of people and of user groups, one for each, and never leave a workspace without an admin."""

import asyncio

import pytest

from storage.audit import audit_entries
from storage.domain.errors import BadName
from storage.domain.people import Role, Setters, Workspace
from storage.workspaces import (
    MOST_ADMINS,
    MOST_GROUPS,
    LastAdmin,
    TooManyRoles,
    add_workspace,
    list_roles,
    load_choices,
    name_admins,
    set_role,
)
from tests.conftest import on_both
from tests.storage.teams import NOW, Team

BY = "cli:ops"


async def give(workspace: Workspace, subject: str, role: Role | None, *, has_other_admins: bool = False) -> Role | None:
    """Set a role, and return the one before."""
    return await set_role(workspace, subject=subject, role=role, by=BY, now=NOW, has_other_admins=has_other_admins)


@on_both
async def test_a_request_loads_the_roles_of_its_person_and_of_groups(team: Team) -> None:
    """The settings have the roles of all user groups and of the person who asks, but of nobody else, or elsewhere."""
    workspace = team.workspace
    other = await add_workspace("T0OTHER", name="Other", by=BY, now=NOW)
    assert (await load_choices(workspace, person="U0REP")).roles == {}
    for subject, role in (("U0REP", Role.VIEWER), ("W0JANE", Role.SCORER), ("S0SALES", Role.ADMIN)):
        assert await give(workspace, subject, role) is None
    await give(other, "S0OTHER", Role.VIEWER)

    assert (await load_choices(workspace, person="U0REP")).roles == {"U0REP": Role.VIEWER, "S0SALES": Role.ADMIN}
    assert (await load_choices(workspace)).roles == {"S0SALES": Role.ADMIN}
    assert list((await list_roles(workspace)).items()) == [
        ("S0SALES", Role.ADMIN), ("U0REP", Role.VIEWER), ("W0JANE", Role.SCORER),
    ]  # fmt: skip  # ordered by id
    assert await give(workspace, "U0REP", Role.SCORER) is Role.VIEWER
    assert await give(workspace, "U0REP", None) is Role.SCORER
    assert (await load_choices(workspace, person="U0REP")).roles == {"S0SALES": Role.ADMIN}


async def test_a_person_has_one_role(team: Team) -> None:
    """An admin is in the list of admins and has no other role; whoever becomes an admin loses the role before."""
    workspace = team.workspace
    await give(workspace, "U0JANE", Role.VIEWER)
    await give(workspace, "U0REP", Role.VIEWER)
    await give(workspace, "U0JANE", Role.ADMIN)
    await name_admins(workspace, people=["U0JANE", "U0REP"], by=BY, now=NOW)

    assert (await load_choices(workspace)).admins == ("U0JANE", "U0REP")
    assert await list_roles(workspace) == {}
    assert await give(workspace, "U0JANE", Role.SCORER) is Role.ADMIN
    assert (await load_choices(workspace)).admins == ("U0REP",)
    assert await list_roles(workspace) == {"U0JANE": Role.SCORER}


async def test_the_last_admin_stays(team: Team) -> None:
    """The last admin cannot be removed, or given less, unless others are admins without being named."""
    workspace = team.workspace
    await give(workspace, "U0JANE", Role.ADMIN)
    await give(workspace, "S0SALES", Role.ADMIN)
    entries = len(await audit_entries(workspace))
    for role in (None, Role.SCORER):
        with pytest.raises(LastAdmin):
            await give(workspace, "U0JANE", role)
    assert ((await load_choices(workspace)).admins, len(await audit_entries(workspace))) == (("U0JANE",), entries)
    assert await give(workspace, "S0SALES", None) is Role.ADMIN  # a person is left
    await give(workspace, "S0SALES", Role.ADMIN)
    assert await give(workspace, "U0JANE", None, has_other_admins=True) is Role.ADMIN
    with pytest.raises(LastAdmin):
        await give(workspace, "S0SALES", Role.VIEWER)  # its members may be nobody


async def test_two_admins_who_remove_each_other(team: Team) -> None:
    """Of two admins who are removed at the same time, one stays."""
    workspace = team.workspace
    await name_admins(workspace, people=["U0JANE", "U0REP"], by=BY, now=NOW)
    results = await asyncio.gather(
        *(give(workspace, person, None) for person in ("U0JANE", "U0REP")), return_exceptions=True
    )

    assert [type(result) for result in results if isinstance(result, Exception)] == [LastAdmin]
    assert len((await load_choices(workspace)).admins) == 1


async def test_limits_and_malformed_ids(team: Team) -> None:
    """Ids of channels are refused, and so are more admins or groups than each request can load."""
    workspace = team.workspace
    for number in range(MOST_GROUPS):
        await give(workspace, f"S0{number}", Role.VIEWER)
    await name_admins(workspace, people=[f"U0{number}" for number in range(MOST_ADMINS)], by=BY, now=NOW)

    with pytest.raises(TooManyRoles):
        await give(workspace, "S0MORE", Role.VIEWER)
    with pytest.raises(TooManyRoles):
        await give(workspace, "U0MORE", Role.ADMIN)
    assert await give(workspace, "S00", Role.SCORER) is Role.VIEWER
    assert await give(workspace, "U00", Role.SCORER) is Role.ADMIN
    for subject in ("C0SALES", "jane", "", "S"):
        with pytest.raises(BadName):
            await give(workspace, subject, Role.VIEWER)


async def test_a_role_that_stands_is_no_change(team: Team) -> None:
    """The record of changes has no entry for a role that somebody has already."""
    workspace = team.workspace
    await give(workspace, "U0JANE", Role.VIEWER)
    entries = await audit_entries(workspace)

    assert await give(workspace, "U0JANE", Role.VIEWER) is Role.VIEWER
    assert await give(workspace, "U0REP", None) is None
    assert await audit_entries(workspace) == entries


def test_what_members_without_a_role_may_do() -> None:
    """Each choice of earlier versions is the role with the same effect."""
    assert {setters: setters.role for setters in Setters} == {
        Setters.MEMBERS: Role.SCORER, Setters.ADMINS: Role.VIEWER, Setters.NAMED: None,
    }  # fmt: skip  # one line
