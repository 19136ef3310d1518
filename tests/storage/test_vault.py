"""Secrets are encrypted in the database, with keys that can be rotated."""

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from storage.bootstrap import open_storage
from storage.domain.sources import SourceSettings
from storage.sources.config import add_source, find_source, rotate_source, set_source, sources
from storage.vault import CannotUnlock, NoKeys, Vault, load_or_create_keys
from storage.workspaces import add_workspace, find_workspace
from tests.processes import HOUSE, at_once
from tests.storage import raw
from tests.storage.teams import NOW, Team, set_to
from tests.storage.worlds import everything

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
SECRET = "whsec_very-secret-indeed"
LOCKED = (
    "The stored secrets need another key: add it to CONTACT_SCORE_SECRET_KEYS or the .key file beside the database."
)
KEYLESS = "CONTACT_SCORE_SECRET_KEYS is not set, so secrets cannot be stored: set 32 random bytes in url-safe base64."


def test_what_is_sealed_is_unreadable_and_comes_back() -> None:
    """A sealed text is unreadable, differs each time it is sealed, and unseals to the original."""
    vault = Vault([NEW])
    once, twice = vault.seal("ключ 🔑"), vault.seal("ключ 🔑")

    assert "ключ" not in once
    assert once != twice
    assert vault.unseal(once) == vault.unseal(twice) == "ключ 🔑"


def test_keys_can_be_rotated() -> None:
    """The newest key seals, older keys still unseal, and a removed key does not."""
    sealed = Vault([OLD]).seal(SECRET)
    both = Vault([NEW, OLD])

    assert both.unseal(sealed) == SECRET
    assert Vault([NEW]).unseal(both.seal(SECRET)) == SECRET
    for vault in (Vault([NEW]), Vault([OTHER, NEW])):
        with pytest.raises(CannotUnlock) as error:
            vault.unseal(sealed)
        assert str(error.value) == LOCKED


@pytest.mark.parametrize("sealed", ["", "plain text", "gAAAA", "🔑"])
def test_what_was_never_sealed_cannot_be_unsealed(sealed: str) -> None:
    """A text that was never sealed is refused."""
    with pytest.raises(CannotUnlock):
        Vault([NEW]).unseal(sealed)


@pytest.mark.parametrize("key", ["", "secret", "A" * 43, "A" * 45, "🔑" * 44])
def test_what_is_no_key_is_refused_at_once(key: str) -> None:
    """An invalid key is refused at once, with the format of a key and without the text of the invalid one."""
    with pytest.raises(CannotUnlock) as error:
        Vault([NEW, key])

    assert str(error.value) == (
        "CONTACT_SCORE_SECRET_KEYS holds no Fernet key: 44 characters of url-safe base64 are needed"
    )


def test_without_keys_nothing_is_sealed() -> None:
    """Without keys nothing can be sealed or unsealed."""
    for work in (Vault([]).seal, Vault([]).unseal):
        with pytest.raises(NoKeys) as error:
            work(SECRET)
        assert str(error.value) == KEYLESS


def test_the_key_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The key file is created once with mode 600 and read later; of several lines the first is the newest key."""
    (key,) = load_or_create_keys(tmp_path / "scores.db")
    path = tmp_path / "scores.db.key"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_keys(tmp_path / "scores.db") == (key,)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.db.key"]
    path.write_text(f"{NEW}\n{key}\n")
    assert load_or_create_keys(tmp_path / "scores.db") == (NEW, key)


@pytest.mark.slow
async def test_processes_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    """Processes that start at once create one key: each can unseal what another sealed."""
    program = (
        "import sys; from pathlib import Path; from storage.vault import load_or_create_keys; print(flush=True);"
        " sys.stdin.readline(); print(load_or_create_keys(Path(sys.argv[1])))"
    )
    outputs = await at_once([("-c", program, str(tmp_path / "scores.db"))] * 6)

    assert len(set(outputs)) == 1
    assert str((tmp_path / "scores.db.key").read_text().strip()) in outputs[0]
    assert HOUSE.is_dir()


async def test_a_sqlite_database_brings_its_own_key(tmp_path: Path) -> None:
    """Without configured keys a SQLite database uses the key file beside it, so secrets survive a restart."""
    url = f"sqlite://{tmp_path / 'scores.db'}"
    for is_again in (False, True):
        opened_storage = await open_storage(url)
        try:
            if not is_again:
                workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
                await add_source(workspace, slug="crm", provider="generic", secrets=[SECRET], by="U0ADMIN", now=NOW)
            assert (await find_source("T0ACME", slug="crm")).secrets == (SECRET,)
        finally:
            await opened_storage.close()

    assert stat.S_IMODE((tmp_path / "scores.db.key").stat().st_mode) == 0o600


async def test_a_new_key_is_made_only_beside_a_database_without_secrets(tmp_path: Path) -> None:
    """If the key file is lost, no new one hides that: the sources are locked, and nothing new can be sealed."""
    url, key_file = f"sqlite://{tmp_path / 'scores.db'}", tmp_path / "scores.db.key"
    opened_storage = await open_storage(url)
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await opened_storage.close()
    key_file.unlink()
    opened_storage = await open_storage(url)
    assert key_file.exists()
    await add_source(workspace, slug="crm", provider="generic", secrets=[SECRET], by="U0ADMIN", now=NOW)
    await opened_storage.close()
    key_file.unlink()

    opened_storage = await open_storage(url)

    try:
        assert not key_file.exists()
        assert (await find_source("T0ACME", slug="crm")).is_locked
        with pytest.raises(NoKeys):
            await add_source(workspace, slug="two", provider="generic", secrets=["x"], by="U0ADMIN", now=NOW)
    finally:
        await opened_storage.close()


async def test_secrets_are_nowhere_in_the_database(database_url: str) -> None:
    """Secrets are not in a row, in the bytes of the file or its log, or in the repr of a source."""
    opened_storage = await open_storage(database_url, secret_keys=[NEW])
    try:
        workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
        source = await add_source(
            workspace, slug="crm", provider="generic", secrets=[SECRET, "second"], by="U0ADMIN", now=NOW
        )
        assert (await find_source("T0ACME", slug="crm")).secrets == (SECRET, "second")
        assert SECRET not in repr(source)
    finally:
        await opened_storage.close()

    assert "very-secret" not in str(await everything(database_url))
    if raw.is_sqlite(database_url):
        for path in raw.file_of(database_url).parent.iterdir():
            assert b"very-secret" not in path.read_bytes()


async def test_a_database_whose_secrets_do_not_fit_works_without_them(database_url: str) -> None:
    """With another key its sources are locked, and all else works; with the old key added they are not."""
    opened_storage = await open_storage(database_url, secret_keys=[OLD])
    workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
    await add_source(workspace, slug="crm", provider="generic", secrets=[SECRET], by="U0ADMIN", now=NOW)
    await opened_storage.close()

    opened_storage = await open_storage(database_url, secret_keys=[NEW])
    assert [(source.secrets, source.is_locked) for source in await sources(workspace)] == [((), True)]
    team = Team(workspace)
    await team.deliver(set_to("a", "ada@example.com", 5))
    assert await team.value("ada@example.com") == 5_000
    settings = SourceSettings(map={"fit": "score"})
    changed = await set_source(workspace, slug="crm", settings=settings, by="U0ADMIN", now=NOW)
    assert changed.is_locked
    with pytest.raises(CannotUnlock) as error:  # it would drop the secret that the sender signs with
        await rotate_source(workspace, slug="crm", secret="new", by="U0ADMIN", now=NOW)
    assert str(error.value) == LOCKED
    await opened_storage.close()
    opened_storage = await open_storage(database_url, secret_keys=[NEW, OLD])
    assert [source.secrets for source in await sources(workspace)] == [(SECRET,)]
    await opened_storage.close()
    opened_storage = await open_storage(database_url, secret_keys=[NEW])
    repaired = await set_source(workspace, slug="crm", settings=settings, secrets=["third"], by="U0ADMIN", now=NOW)
    assert (repaired.secrets, repaired.is_locked) == (("third",), False)
    await opened_storage.close()


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_without_keys_a_server_keeps_no_secrets(database_url: str) -> None:
    """Without keys a server database opens, and a source with secrets is refused with the setting to set."""
    opened_storage = await open_storage(database_url)
    try:
        workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
        with pytest.raises(NoKeys):
            await add_source(workspace, slug="crm", provider="generic", secrets=[SECRET], by="U0ADMIN", now=NOW)
        assert await sources(await find_workspace("T0ACME")) == []
    finally:
        await opened_storage.close()
