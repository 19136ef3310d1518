"""API tokens are stored as hashes, and belong to one workspace until they are revoked."""

import pytest

from storage.bootstrap import Storage
from storage.domain.errors import BadName, UnknownToken
from storage.tokens import create_token, find_token, revoke_token, tokens
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team
from tests.storage.worlds import everything

SCOPES_NEEDED = "a token needs at least one of the scopes read, write, metrics: --scope read --scope write"


async def test_a_token_is_shown_once_and_kept_as_a_hash(team: Team, database_url: str) -> None:
    """A token is long and unique, and its text is nowhere in the database."""
    (token, secret), (_, other) = [
        await create_token(team.workspace, name=" script ", scopes=["write", "read"], by="U0ADMIN", now=NOW)
        for _ in range(2)
    ]

    assert (token.name, token.scopes, token.workspace, token.created_at) == (
        "script",
        ("read", "write"),
        team.workspace,
        NOW,
    )
    assert len(secret) >= 40
    assert secret != other
    assert secret not in str(await everything(database_url))
    assert await find_token(secret) == token


@pytest.mark.parametrize("wrong", ["", "cs_", "cs_AAAA", "x" * 500, "çs_"])
async def test_what_is_no_token_of_ours(team: Team, wrong: str) -> None:
    """An unknown token, or one with a changed letter, is not found."""
    _, secret = await create_token(team.workspace, name="script", scopes=["read"], by="U0ADMIN", now=NOW)

    assert await find_token(wrong) is None
    assert await find_token(secret + "A") is None
    assert await find_token(secret[:-1]) is None
    assert await find_token(secret.swapcase()) is None


async def test_a_revoked_token_is_worthless(team: Team) -> None:
    """A revoked token stops working at once, and other tokens continue to work."""
    token, secret = await create_token(team.workspace, name="one", scopes=["read"], by="U0ADMIN", now=NOW)
    two, other = await create_token(team.workspace, name="two", scopes=["write"], by="U0ADMIN", now=NOW)
    await revoke_token(team.workspace, id=token.id, by="U0ADMIN", now=NOW)

    assert await find_token(secret) is None
    assert await find_token(other) == two
    assert await tokens(team.workspace) == [two]
    with pytest.raises(UnknownToken):
        await revoke_token(team.workspace, id=token.id, by="U0ADMIN", now=NOW)


async def test_a_token_belongs_to_one_workspace(storage: Storage) -> None:
    """A token is listed and revoked only in its own workspace."""
    own_workspace, other_workspace = [
        await add_workspace(team, name="Acme", by="U0ADMIN", now=NOW) for team in ("T1", "T2")
    ]
    token, secret = await create_token(other_workspace, name="script", scopes=["read"], by="U0ADMIN", now=NOW)

    assert await tokens(own_workspace) == []
    with pytest.raises(UnknownToken) as error:
        await revoke_token(own_workspace, id=token.id, by="U0ADMIN", now=NOW)
    assert str(error.value) == f"there is no token {token.id}; `contact-score token list` names them"
    found_token = await find_token(secret)
    assert found_token is not None
    assert found_token.workspace == other_workspace


@pytest.mark.parametrize(
    ("name", "scopes", "complaint"),
    [
        ("", ["read"], "a token's name has 1 to 100 characters"),
        ("  ", ["read"], "a token's name has 1 to 100 characters"),
        ("x" * 101, ["read"], "a token's name has 1 to 100 characters"),
        ("x", [], SCOPES_NEEDED),
        ("x", ["read", "admin"], SCOPES_NEEDED),
    ],
)
async def test_what_cannot_be_a_token(team: Team, name: str, scopes: list[str], complaint: str) -> None:
    """A token without a name, without scopes or with an unknown scope is refused."""
    with pytest.raises(BadName) as error:
        await create_token(team.workspace, name=name, scopes=scopes, by="U0ADMIN", now=NOW)

    assert str(error.value) == complaint
    assert await tokens(team.workspace) == []
