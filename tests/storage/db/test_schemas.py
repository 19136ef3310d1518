"""Workspaces in several schemas of one PostgreSQL database: none of them is `public`, and none sees another."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from storage.bootstrap import back_up, migrate, open_storage, restore
from storage.domain.facts import Op
from storage.domain.filters import parse
from storage.jobs import claim, enqueue_one
from storage.ledger.verify import verify_next
from storage.reading.pages import page
from storage.scoring.definitions import score_types
from storage.tokens import create_token, find_token
from storage.workspaces import add_workspace, all_workspaces, find_workspace
from tests.conftest import KEY
from tests.storage import raw
from tests.storage.teams import NOW, Team, change, set_to

ADA = "ada@example.com"
TABLES = ("workspaces", "contacts", "facts", "scores", "tokens", "jobs", "audit_entries")


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[None]:
    """Open the storage at a URL, and close it at the end."""
    storage = await open_storage(url, secret_keys=[KEY])
    try:
        yield
    finally:
        await storage.close()


async def check_scores(*, expected: int, changes: int) -> None:
    """Fail unless the contact has this score after this many changes, a filter finds it, and the ledger agrees."""
    (workspace,) = await all_workspaces()
    team = Team(workspace)
    query = parse(f"score:{expected} email:{ADA}", await score_types(workspace))
    found = await page(workspace, query=query, limit=5, now=NOW)
    verified = await verify_next(workspace)
    assert (await team.value(ADA), len(await team.lines(ADA))) == (expected * 1_000, changes)
    assert [card.contact.email for card in found.cards] == [ADA]
    assert (verified.contacts, verified.scores, verified.differences) == (1, 1, ())


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_schemas_of_one_database_do_not_see_each_other(database_url: str, tmp_path: Path) -> None:
    """The same workspace in two schemas has two ledgers, tokens and jobs, and a backup moves one to a third schema."""
    east, west, moved = urls = [f"{database_url}&schema={name}" for name in ("east", "west", "moved")]
    for url in urls:
        await raw.rows(database_url, f"CREATE SCHEMA {url.rpartition('=')[2]}")
    for url in (east, west):
        assert (await migrate(url, now=NOW)).applied != []
    async with opened(east):
        workspace = await add_workspace("T0ACME", name="East", by="U0ADMIN", now=NOW)
        added = change("k2", ADA, Op.ADD, 5, at=NOW - 1)
        await Team(workspace).deliver(set_to("k1", ADA, 50, at=NOW - 2), added)
        _, secret = await create_token(workspace, name="script", scopes=["read"], by="U0ADMIN", now=NOW)
        await enqueue_one(workspace, kind="post", lane="channel", key="p1", subject=1, due_at=NOW, now=NOW)
    async with opened(west):
        assert (await all_workspaces(), await find_token(secret, now=NOW)) == ([], None)
        workspace = await add_workspace("T0ACME", name="West", by="U0ADMIN", now=NOW)
        await Team(workspace).deliver(set_to("k1", ADA, 20, at=NOW - 2))
        assert await claim(workspace, kinds=["post"], now=NOW) is None
        await check_scores(expected=20, changes=1)
    async with opened(east):
        await check_scores(expected=55, changes=2)
        token, job = await find_token(secret, now=NOW), await claim(workspace, kinds=["post"], now=NOW)
        assert (token is not None, job is not None, (await find_workspace("T0ACME")).name) == (True, True, "East")

    await back_up(east, path=tmp_path / "east.backup")
    await restore(moved, path=tmp_path / "east.backup")
    async with opened(moved):
        await check_scores(expected=55, changes=2)
    for name in TABLES:
        assert await raw.rows(database_url, f"SELECT count(*) AS number FROM public.{name}") == [{"number": 0}]
