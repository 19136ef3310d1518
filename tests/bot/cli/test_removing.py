"""The commands that remove things: score types, contacts, workspaces, items in quarantine."""

from pathlib import Path

import pytest

from tests.bot.cli.program import environment, run


@pytest.fixture
async def env(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a database with a workspace, a score type Fit and three contacts."""
    env = environment(f"sqlite://{tmp_path}/scores.db")
    await run("workspace", "add", "T0123", "--name", "Acme", env=env, cwd=tmp_path)
    await run("type", "add", "fit", "--min", "1", "--max", "10", env=env, cwd=tmp_path)
    (tmp_path / "people.csv").write_text(
        "email,name,score,fit,tags\nada@example.com,Ada,60,7,vip\nbob@example.com,Bob,20,3,\neve@example.com,,,,vip\n"
    )
    assert (await run("import", "people.csv", "--yes", env=env, cwd=tmp_path)).code == 0
    return env


async def test_a_score_type_is_removed_and_added_again(env: dict[str, str], tmp_path: Path) -> None:
    """A type in use is refused; a removed one is not listed, and added again it has its scores."""
    default = await run("type", "remove", "score", env=env, cwd=tmp_path)
    default.check_refused(
        "`score` is in use, so it was not removed. Change or remove first: it is the default score type"
        " (make another one the default)"
    )

    removed = await run("type", "remove", "fit", "--json", env=env, cwd=tmp_path)

    assert removed.document == {"key": "fit", "removed": True, "rules": 0}
    types = (await run("type", "list", "--json", env=env, cwd=tmp_path)).document["types"]
    assert [score_type["key"] for score_type in types] == ["score"]
    again = await run("type", "remove", "fit", env=env, cwd=tmp_path)
    again.check_refused("There is no score type `fit`; existing: score")
    added = await run("type", "add", "fit", "--min", "1", "--max", "10", "--json", env=env, cwd=tmp_path)
    assert added.document["key"] == "fit"
    contacts = (await run("export", "--json", env=env, cwd=tmp_path)).document["contacts"]
    assert {contact["email"]: contact["scores"].get("fit", {}).get("value") for contact in contacts} == {
        "ada@example.com": 7, "bob@example.com": 3, "eve@example.com": None,
    }  # fmt: skip  # one value a contact
    assert (await run("verify", env=env, cwd=tmp_path)).code == 0
