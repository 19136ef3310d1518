"""Every `contact-score` command that the README shows works as it is written."""

import re
import shlex
from pathlib import Path

import pytest

from tests.bot.cli.program import Ended, environment, run
from tests.processes import HOUSE

#: what the README writes for the reader's own names → what the test has
NAMES = {
    "NAME": "shop", "PROVIDER": "pipedrive", "FILE.csv": "contacts.csv", "FILE.toml": "rules.toml", "KEY": "score",
    "FILE": "copy.backup", "ID": "1", "map.json": "map.json",
}  # fmt: skip  # names
#: commands that other tests run, because they need a service, or begin or end a workspace
ELSEWHERE = ("demo", "serve", "restore", "deliveries replay", "deliveries discard", "deliveries show", "subscription r")
#: commands that the README shows as a warning, and what they answer here
REFUSED = {
    "type remove score": "is the default",
    "contact delete ada@example.com": "--yes",
    "workspace remove T0123": "--yes T0123",
    "import ledger.jsonl": "import a ledger into an empty one",
    "source try acme --delivery 1 --mapping map.json": "There is no delivery 1",
}


@pytest.mark.slow
async def test_the_commands_of_the_readme(database_url: str, tmp_path: Path) -> None:
    """Each command exits with 0, or asks for confirmation; its words and options exist."""
    env, readme = environment(database_url), (HOUSE / "README.md").read_text()
    (tmp_path / "contacts.csv").write_text("email,score,fit,ids.crm\nada@example.com,62,7,17\n")
    (tmp_path / "rules.toml").write_text('[[rule]]\nscore = "score"\nname = "Demo"\nactivity = "demo"\npoints = 10\n')
    (tmp_path / "points.csv").write_text("attribute,value,points\nplan,pro,5\n")
    (tmp_path / "map.json").write_text('{"email": "body.email", "property": "\'score\'", "value": "body.score"}')
    for prepared in (
        "workspace add T0123 --name Acme",
        "type add fit --min 1 --max 10",
        "source add hubspot-eu --provider hubspot --secret s",
        "import contacts.csv",
    ):
        assert (await run(*prepared.split(), env=env, cwd=tmp_path)).code == 0
    complaints, count = dict[str, Ended](), 0
    for line in dict.fromkeys(re.findall(r"`contact-score ([^`]+)`", readme)):
        names = NAMES | ({"FILE.csv": "points.csv"} if line.startswith("rules") else {})
        words = [names.get(word, word) for word in shlex.split(line)]
        typed = shlex.join(words)
        if line.startswith(ELSEWHERE):
            continue
        result = await run(*words, env=env, cwd=tmp_path)
        count += 1
        if typed in REFUSED:
            complaints |= {} if REFUSED[typed] in result.err and result.code == 1 else {line: result}
        elif result.code != 0:
            complaints[line] = result

    assert not complaints, "\n".join(f"{line}: {result}" for line, result in complaints.items())
    assert count > 25
