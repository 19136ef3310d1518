"""`contact-score rules`: export, preview and apply rules from a TOML file."""

import asyncio
from pathlib import Path

import pytest

from tests.bot.cli.program import environment, run
from tests.conftest import on_both

RULES = """\
[[rule]]
score = "score"
name = "Demo"
activity = "demo_booked"
points = 10
cap = 20
per = "week"
group = "sales"

[[rule]]
score = "score"
name = "A \\"VIP\\""
points = 20
if = "tag:vip -company:Acme"

[[rule]]
score = "score"
name = "Minutes"
points = 1
for_each = "attributes.minutes / 5"
at_most = 10
"""


@on_both
@pytest.mark.slow
async def test_rules_go_out_and_in(database_url: str, tmp_path: Path) -> None:
    """Applied rules are exported in a form that can be applied again; a preview changes nothing."""
    env = environment(database_url)
    file, people, again = tmp_path / "rules.toml", tmp_path / "people.csv", tmp_path / "again.toml"
    file.write_text(RULES)
    people.write_text("email,score,tags\nada@example.com,,vip\nbob@example.com,70,\n")
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    await run("import", str(people), env=env)

    looked = (await run("rules", "apply", str(file), "--dry-run", "--json", env=env)).document
    preview = {"type": "score", "changed": 1, "entering": 0, "leaving": 0, "asking": 0}
    assert looked == {"types": [preview], "applied": False}
    assert (await run("rules", "export", env=env)).out == ""
    result = await run("rules", "apply", str(file), env=env)
    assert result.out == "Score: 1 contact changed; 0 into hot, 0 out of it.\n"
    assert (await run("rules", "export", "-o", str(again), env=env)).code == 0
    assert again.read_text() == RULES
    assert (await run("rules", "apply", str(again), env=env)).out == "Nothing to do: these are the rules already.\n"
    before = (await run("type", "list", "--json", env=env)).document
    for change in (("--label", "Interest", "--default"), ("--band", "low:0", "--band", "top:20")):
        assert not (await run("type", "set", "score", *change, "--dry-run", "--json", env=env)).document["applied"]
    assert (await run("type", "list", "--json", env=env)).document == before
    cut = await run("type", "set", "score", "--max", "50", "--band", "low:0", "--band", "top:20", "--json", env=env)
    assert {name: cut.document[name] for name in ("max", "changed", "entering", "applied")} == {
        "max": 50, "changed": 1, "entering": 2, "applied": True,
    }  # fmt: skip  # two come into the new top band, one of them was cut
    exported = (await run("export", "--json", env=env)).document["contacts"]
    assert [(contact["email"], contact["scores"]["score"]["value"]) for contact in exported] == [
        ("ada@example.com", 20), ("bob@example.com", 50),
    ]  # fmt: skip  # by address
    assert (await run("verify", env=env)).code == 0


async def test_a_file_that_removes_rules_says_which_and_needs_yes(tmp_path: Path) -> None:
    """Without --yes a file that lacks rules changes nothing, and names them; with it they are removed."""
    env = environment(f"sqlite://{tmp_path}/scores.db")
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    full, empty = tmp_path / "rules.toml", tmp_path / "empty.toml"
    full.write_text(RULES)
    empty.write_text("")
    assert (await run("rules", "apply", str(full), env=env)).code == 0

    refused = await run("rules", "apply", str(empty), env=env)

    refused.check_refused(
        'The file empty.toml removes 3 rules: Demo (score), A "VIP" (score), Minutes (score). Nothing was changed;'
        " add --yes to remove them"
    )
    assert (await run("rules", "export", env=env)).out.count("[[rule]]") == 3
    looked = await run("rules", "apply", str(empty), "--dry-run", env=env)
    assert (looked.code, looked.err) == (
        0,
        'The file empty.toml removes 3 rules: Demo (score), A "VIP" (score), Minutes (score).\n',
    )
    assert (await run("rules", "apply", str(empty), "--yes", "--json", env=env)).document["applied"]
    assert (await run("rules", "export", env=env)).out == ""


@pytest.mark.slow
async def test_files_that_hold_no_rules_are_told_where(tmp_path: Path) -> None:
    """A file with invalid rules is refused with the line of the mistake and what to write instead."""
    env = environment(f"sqlite://{tmp_path}/scores.db")
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    wrong = {
        RULES.replace("tag:vip", "tga:vip"): 'Line 10 of rules.toml: rule `A "VIP"`, if: ',
        RULES.replace('per = "week"\n', ""): 'Line 1 of rules.toml: a cap needs both: cap = 20 and per = "day"',
        RULES.replace(
            "points = 20", "points = 0.5"
        ): 'Line 10 of rules.toml: rule `A "VIP"`: 0.5 points is not possible',
        RULES.replace('score = "score"', 'score = "fti"', 1): "Line 1 of rules.toml: there is no score type `fti`",
        RULES.replace("points = 10", 'points = "10"'): "Line 1 of rules.toml: `points`",
        RULES.replace("points = 10", "pionts = 10"): (
            "Line 1 of rules.toml: a rule has no `pionts`. Did you mean `points`?"
        ),
        RULES + 'name = "again"': "The file rules.toml is not TOML: Cannot overwrite a value (at ",
        "a = " + "[" * 5000 + "]" * 5000: "The lists in rules.toml are nested too deep",
        RULES.replace("Demo", "Demo\\u0000"): "A text in rules.toml holds the character NUL: remove it",
        'colour = "red"': "There is colour in rules.toml; write each rule under a line [[rule]]",
    }
    files = []
    for number, text in enumerate(wrong):
        (tmp_path / str(number)).mkdir()
        files.append(tmp_path / str(number) / "rules.toml")
        files[-1].write_text(text)
    results = await asyncio.gather(*(run("rules", "apply", str(file), env=env) for file in files))
    for result, complaint in zip(results, wrong.values(), strict=True):
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith(complaint), result.err
    files[0].write_bytes(RULES.replace("Demo", "D\u00e9mo").encode("latin-1"))
    (await run("rules", "apply", str(files[0]), env=env)).check_refused("The file rules.toml is not UTF-8")
    unknown, fading = await asyncio.gather(
        run("type", "set", "nope", env=env), run("type", "set", "score", "--half-life", "5x", env=env)
    )
    unknown.check_refused("There is no score type `nope`; existing: score")
    assert fading.code == 1
