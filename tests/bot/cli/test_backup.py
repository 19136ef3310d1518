"""`contact-score backup` and `contact-score restore`."""

from pathlib import Path

from tests.bot.cli.program import environment, run
from tests.conftest import KEY


async def test_a_backup_with_its_key_is_restored(tmp_path: Path) -> None:
    """The restored database exports the same contacts, opens its secrets, and verifies; a full one is refused."""
    old, new = environment(None), environment(None)
    old["CONTACT_SCORE_DATABASE_URL"], new["CONTACT_SCORE_DATABASE_URL"] = "sqlite://old.db", "sqlite://new/new.db"
    await run("workspace", "add", "T0123", "--name", "Acme", env=old, cwd=tmp_path)
    await run("source", "add", "crm", env=old, cwd=tmp_path)
    (tmp_path / "people.csv").write_text("email,score\nada@example.com,60\n")
    await run("import", "people.csv", env=old, cwd=tmp_path)

    written = await run("backup", "a.backup", "--with-key", "--json", env=old, cwd=tmp_path)
    restored = await run("restore", "a.backup", "--json", env=new, cwd=tmp_path)

    size = (tmp_path / "a.backup").stat().st_size
    assert written.document == {"file": "a.backup", "bytes": size, "key_file": "a.backup.key"}
    assert restored.document == {"restored": "a.backup", "key_restored": True}
    exports = [(await run("export", "--json", env=env, cwd=tmp_path)).document for env in (old, new)]
    assert exports[0] == exports[1]
    sources = (await run("source", "list", "--json", env=new, cwd=tmp_path)).document["sources"]
    assert [source["slug"] for source in sources] == ["crm"]
    assert (await run("verify", env=new, cwd=tmp_path)).code == 0
    (await run("backup", "a.backup", env=old, cwd=tmp_path)).check_refused(
        "The file a.backup exists already: name a new one"
    )
    (await run("restore", "a.backup", env=new, cwd=tmp_path)).check_refused(
        "The database of CONTACT_SCORE_DATABASE_URL has data already: restore into an empty one."
    )
    empty = {**new, "CONTACT_SCORE_DATABASE_URL": "sqlite://nothing.db"}
    (await run("backup", "b.backup", env=empty, cwd=tmp_path)).check_refused("There is no database nothing.db")
    (await run("restore", "people.csv", env=empty, cwd=tmp_path)).check_refused(
        "That file is not a whole backup of Contact Score."
    )


async def test_a_backup_without_its_key_says_so(tmp_path: Path) -> None:
    """The keys are written only if asked for, and their absence is pointed out."""
    env = environment(f"sqlite://{tmp_path}/scores.db")
    await run("workspace", "add", "T0123", "--name", "Acme", env=env, cwd=tmp_path)

    written = await run("backup", "a.backup", env=env, cwd=tmp_path)

    assert written.out.splitlines()[1] == (
        "The keys of its secrets are not in it: keep them too, or write them with --with-key."
    )
    assert not (tmp_path / "a.backup.key").exists()
    await run("backup", "b.backup", "--with-key", env=env, cwd=tmp_path)
    assert (tmp_path / "b.backup.key").read_text() == f"{KEY}\n"
    assert (tmp_path / "b.backup.key").stat().st_mode & 0o777 == 0o600
