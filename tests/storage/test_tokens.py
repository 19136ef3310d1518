"""API tokens are stored as hashes, and belong to one workspace until they are revoked."""

import pytest

from storage.audit import AuditAction, audit_entries
from storage.bootstrap import Storage
from storage.domain.errors import BadName, UnknownToken
from storage.tokens import MINUTE, TokenUses, create_token, find_token, record_token_use, revoke_token, tokens
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team
from tests.storage.worlds import everything

SCOPES_NEEDED = "a token needs at least one of the scopes read, write, metrics, export: --scope read --scope write"


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
    assert await find_token(secret, now=NOW) == token


@pytest.mark.parametrize("wrong", ["", "cs_", "cs_AAAA", "x" * 500, "çs_"])
async def test_what_is_no_token_of_ours(team: Team, wrong: str) -> None:
    """An unknown token, or one with a changed letter, is not found."""
    _, secret = await create_token(team.workspace, name="script", scopes=["read"], by="U0ADMIN", now=NOW)

    assert await find_token(wrong, now=NOW) is None
    assert await find_token(secret + "A", now=NOW) is None
    assert await find_token(secret[:-1], now=NOW) is None
    assert await find_token(secret.swapcase(), now=NOW) is None


async def test_a_revoked_token_is_worthless(team: Team) -> None:
    """A revoked token stops working at once, and other tokens continue to work."""
    token, secret = await create_token(team.workspace, name="one", scopes=["read"], by="U0ADMIN", now=NOW)
    two, other = await create_token(team.workspace, name="two", scopes=["write"], by="U0ADMIN", now=NOW)
    await revoke_token(team.workspace, id=token.id, by="U0ADMIN", now=NOW)

    assert await find_token(secret, now=NOW) is None
    assert await find_token(other, now=NOW) == two
    assert await tokens(team.workspace) == [two]
    with pytest.raises(UnknownToken):
        await revoke_token(team.workspace, id=token.id, by="U0ADMIN", now=NOW)


async def test_a_token_expires(team: Team) -> None:
    """A token with a lifetime works until it ends, is listed afterwards, and its expiry is on record."""
    token, secret = await create_token(
        team.workspace, name="short", scopes=["read"], lifetime=10, by="U0ADMIN", now=NOW
    )

    assert token.expires_at == NOW + 10
    assert await find_token(secret, now=NOW + 9) == token
    assert await find_token(secret, now=NOW + 10) is None
    assert await tokens(team.workspace) == [token]
    (entry,) = await audit_entries(team.workspace, what=AuditAction.TOKEN_CREATED)
    assert (entry.after or {})["expires_at"] == NOW + 10


async def test_the_last_use_is_recorded_once_a_minute(team: Team) -> None:
    """Uses within a minute are recorded once, and an earlier use never replaces a later one."""
    token, secret = await create_token(team.workspace, name="script", scopes=["read"], by="U0ADMIN", now=NOW)
    uses = TokenUses()
    recorded = []
    for at in (0, 1, MINUTE - 1, MINUTE, 5 * MINUTE):
        uses.note(await find_token(secret, now=NOW) or token, now=NOW + at)
        await uses.drain()
        recorded.append([found.last_used_at for found in await tokens(team.workspace)])
    assert recorded == [[NOW], [NOW], [NOW], [NOW + MINUTE], [NOW + 5 * MINUTE]]

    await record_token_use(team.workspace, id=token.id, now=NOW + 1)
    TokenUses().note(await find_token(secret, now=NOW) or token, now=NOW + 5 * MINUTE + 1)  # another process
    assert [found.last_used_at for found in await tokens(team.workspace)] == [NOW + 5 * MINUTE]


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
    found_token = await find_token(secret, now=NOW)
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
