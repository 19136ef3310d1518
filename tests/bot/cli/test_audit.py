"""The command `contact-score audit`."""

import getpass
import re
from pathlib import Path

import pytest

from tests.bot.cli.program import environment, run
from tests.storage import raw


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_terminal_lists_who_changed_what(database_url: str, tmp_path: Path) -> None:
    """A workspace's changes are listed newest first, as a document and as a table; `--since` bounds their age."""
    env, me = environment(database_url), f"cli:{getpass.getuser()}"

    async def ran(*words: str) -> str:
        result = await run(*words, env=env, cwd=tmp_path)
        assert (result.code, result.err) == (0, ""), result
        return result.out

    (tmp_path / "contacts.csv").write_text("email,score\nada@example.com,50\n")
    await ran("workspace", "add", "T0123", "--name", "Acme")
    await ran("workspace", "add", "T0456", "--name", "Other")
    await ran("type", "set", "score", "--label", "Heat", "--workspace", "T0123")
    await ran("import", "contacts.csv", "--workspace", "T0123")
    await ran("export", "--filter", "score>=40", "--workspace", "T0123")

    document = (await run("audit", "--json", "--workspace", "T0123", env=env, cwd=tmp_path)).document
    entries = document["entries"]
    assert [(entry["who"], entry["what"], entry["subject"]) for entry in entries] == [
        (me, "export.begun", "score>=40"),
        (me, "import.begun", "contacts.csv"),
        (me, "type.changed", "score"),
        (me, "workspace.added", "T0123"),
    ]
    assert {tuple(entry) for entry in entries} == {("at", "who", "what", "subject", "before", "after")}
    assert (entries[0]["before"], entries[0]["after"]) == (None, {"contacts": 1})
    assert (entries[2]["before"]["label"], entries[2]["after"]["label"]) == ("Score", "Heat")
    assert [entry["at"] for entry in entries] == sorted((entry["at"] for entry in entries), reverse=True)
    assert entries[0]["at"].endswith("Z")
    await raw.rows(database_url, "UPDATE audit_entries SET at = 0 WHERE what = 'workspace.added'")
    table = (await ran("audit", "--since", "1h", "--workspace", "T0123")).splitlines()
    assert table[0].split() == ["at", "who", "what", "subject", "change"]
    assert [re.split(r" {2,}", line.strip())[2:] for line in table[1:]] == [
        ["Export", "score>=40", "contacts: 1"],
        ["Import", "contacts.csv", f"batch: {entries[1]['after']['batch']}"],
        ["Score type changed", "score", "label: Score → Heat"],
    ]
    misspelled = await run("audit", "--since", "week", "--workspace", "T0123", env=env, cwd=tmp_path)
    misspelled.check_refused("`week` is not a length of time: write 24h, 30d or 2w")
