"""A backup is the whole database at one instant, taken while others write, and restores an empty database."""

import asyncio
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from storage.bootstrap import back_up, open_storage, restore
from storage.db.backup import MANIFEST, BadBackup, NotEmpty
from storage.db.tables import list_tables
from storage.domain.errors import Refusal
from storage.domain.facts import Deletion, Op
from storage.domain.filters import parse
from storage.ledger.verify import verify_next
from storage.scoring.definitions import score_types
from storage.sources.config import add_source, find_source
from storage.transfer.export import export
from storage.workspaces import add_workspace, find_workspace
from tests.conftest import KEY
from tests.postgres import Databases, postgres_url
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, change, field_item, set_to

ADMIN, ADA, BOB = "U0ADMIN", "ada@example.com", "bob@example.com"


@asynccontextmanager
async def opened_team(url: str) -> AsyncIterator[Team]:
    """Open a database and yield its only team."""
    storage = await open_storage(url, secret_keys=[KEY])
    try:
        yield Team(await find_workspace("T0ACME"))
    finally:
        await storage.close()


@pytest.fixture
async def filled_url(database_url: str) -> str:
    """Return the URL of a database with a team that has contacts, a source with a secret, and deleted rows."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        team = Team(await add_workspace("T0ACME", name="Acme", by=ADMIN, now=NOW))
        await add_source(team.workspace, slug="crm", provider="generic", secrets=["whsec_1"], by=ADMIN, now=NOW)
        await team.deliver(
            set_to("a", ADA, 10), field_item("b", BOB, name='B\\o\tb "x"\n', company="Ünïcode 漢字 \U0001f600"),
            set_to("c", "gone@example.com", 5),
        )  # fmt: skip  # items
        await team.ask(Deletion(key="d", contact=(await team.contact("gone@example.com")).id), batch="slack/d")
    finally:
        await storage.close()
    return database_url


@pytest.fixture
async def empty_url(database_url: str, databases: Databases, postgres: str, tmp_path: Path) -> AsyncIterator[str]:
    """Yield the URL of an empty database of the same kind."""
    if database_url.startswith("sqlite"):
        yield f"sqlite://{tmp_path}/restored.db"
        return
    async with databases.borrow() as name:
        yield postgres_url(postgres, name)


async def dump(url: str) -> dict[str, list[dict[str, object]]]:
    """Return all rows of all tables, except the versions of settings: restored settings have a version of their own."""
    names = [table.name for table in list_tables() if table.name != "config_versions"]
    return {name: await raw.rows(url, f"SELECT * FROM {name} ORDER BY id") for name in names}


async def exported(team: Team) -> list[object]:
    """Return the exported contacts with their scores, and fail if `verify` finds a difference."""
    assert (await verify_next(team.workspace, after=0)).differences == ()
    query = parse("", await score_types(team.workspace))
    cards = [card async for card in export(team.workspace, query=query, text="", by=ADMIN, now=NOW + 9 * SECOND)]
    return [(card.contact, [(score.score_type.key, score.value) for score in card.standings]) for card in cards]


async def test_a_restored_backup_has_every_row(filled_url: str, empty_url: str, tmp_path: Path) -> None:
    """Each row of each table is restored; new rows get new ids, and the export is the same."""
    path = tmp_path / "a.backup"

    await back_up(filled_url, path=path)
    await restore(empty_url, path=path)

    assert await dump(empty_url) == await dump(filled_url)
    assert (path.stat().st_mode & 0o777, path.with_name("a.backup.part").exists()) == (0o600, False)
    exports = []
    for url in (filled_url, empty_url):
        async with opened_team(url) as team:
            await team.deliver(change("n", ADA, Op.ADD, 5), set_to("new", "new@example.com", 1))
            exports.append(await exported(team))
            assert (await find_source("T0ACME", slug="crm")).secrets == ("whsec_1",)
            recorded = await team.deliver(set_to("old", "gone@example.com", 9, at=NOW - 5))
            assert [outcome.reason for outcome in recorded.outcomes] == ["that contact was deleted"]
    assert exports[0] == exports[1]


async def test_a_backup_is_one_instant_while_pushes_go_on(filled_url: str, empty_url: str, tmp_path: Path) -> None:
    """Every push that was answered before the backup is in it; the scores in it add up."""
    begun, stopped, answered = asyncio.Event(), asyncio.Event(), 0

    async def push(team: Team) -> None:
        nonlocal answered
        while not stopped.is_set():
            key = f"p{answered}"
            await team.deliver(change(key, ADA, Op.ADD, 1), change(key + "b", BOB, Op.ADD, 1), batch=key)
            answered += 1
            begun.set()

    async with opened_team(filled_url) as team:
        pushing = asyncio.create_task(push(team))
        await begun.wait()
        before = answered
        await back_up(filled_url, path=tmp_path / "a.backup")
        after = answered + 1
        stopped.set()
        await pushing
        assert answered > before
    await restore(empty_url, path=tmp_path / "a.backup")

    async with opened_team(empty_url) as team:
        ada, bob = await team.value(ADA), await team.value(BOB)
        assert ada is not None
        assert before <= ada / 1_000 - 10 <= after
        assert bob == ada - 10_000
        assert len(await exported(team)) == 2


async def test_a_database_with_data_and_other_files_are_refused(
    filled_url: str, empty_url: str, tmp_path: Path
) -> None:
    """Neither is a full database overwritten nor an existing file; a broken backup leaves the database empty."""
    path, text, broken = tmp_path / "a.backup", tmp_path / "a.txt", tmp_path / "b.backup"
    await back_up(filled_url, path=path)
    text.write_text("email,score\n")
    with pytest.raises(Refusal, match="exists already"):
        await back_up(filled_url, path=path)
    before = await dump(filled_url)
    with pytest.raises(NotEmpty):
        await restore(filled_url, path=path)
    assert await dump(filled_url) == before
    with pytest.raises(BadBackup):
        await restore(empty_url, path=text)
    if filled_url.startswith("sqlite"):
        broken.write_bytes(path.read_bytes()[:-50_000])
    else:
        shorten(path, broken)
    with pytest.raises(BadBackup):
        await restore(empty_url, path=broken)

    await restore(empty_url, path=path)

    assert await dump(empty_url) == before


def shorten(path: Path, broken: Path) -> None:
    """Write an archive with a manifest that counts more facts than the archive has."""
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(broken, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            if name == MANIFEST:
                manifest = json.loads(content)
                manifest["tables"]["facts"]["rows"] += 1
                content = json.dumps(manifest).encode()
            archive.writestr(name, content)
