"""The commands `contact-score contact why` and `contact split`."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.bootstrap import open_storage
from storage.domain.contacts import Reference
from storage.domain.facts import Op
from storage.workspaces import find_workspace
from tests.bot.cli.program import environment, run
from tests.conftest import KEY
from tests.storage.teams import NOW, Team, change, set_to


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_splitting_a_contact_shows_what_moves_and_asks_first(database_url: str, tmp_path: Path) -> None:
    """Without --yes nothing changes, and what is shown is what --yes does."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env, cwd=tmp_path)
    opened_storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        team = Team(await find_workspace("T0123"))
        ids = [Reference(email="ada@example.com", source="crm", id=id) for id in ("1", "2")]
        await team.deliver(
            set_to("a", ids[0], 10, at=NOW - 9, fields={"name": "Ada"}),
            change("b", ids[1], Op.ADD, 30, at=NOW - 8),
            change("c", "ada@example.com", Op.ADD, 2, at=NOW - 7),
        )
    finally:
        await opened_storage.close()
    words = ("contact", "split", "ada@example.com", "crm:2")

    shown = await run(*words, env=env, cwd=tmp_path)
    assert (shown.code, shown.out.splitlines(), shown.err) == (
        0,
        [
            "crm:2 becomes a new contact with 1 change; 2 changes stay with Ada.",
            "  Ada: Score 42 → 12",
            "  crm:2: Score — → 30",
            "2 of crm stay: not named by this id, or from an earlier version, which did not record what named it.",
            "Nothing was changed. To split it, add --yes.",
        ],
        "",
    )
    preview = (await run(*words, "--json", env=env, cwd=tmp_path)).document
    done = (await run(*words, "--yes", "--json", env=env, cwd=tmp_path)).document
    scores = [
        {"contact": done["contact"], "type": "score", "before": 42, "after": 12},
        {"contact": done["new_contact"], "type": "score", "before": None, "after": 30},
    ]
    assert done == {
        "done": True, "contact": preview["contact"], "new_contact": done["new_contact"], "moved": 1, "stayed": 2,
        "stayed_of_source": 2, "scores": scores,
    }  # fmt: skip  # one document
    in_preview = [scores[0], {**scores[1], "contact": None}]
    assert preview == {**done, "done": False, "new_contact": None, "scores": in_preview}
    refused = await run(*words, "--yes", env=env, cwd=tmp_path)
    assert (refused.code, refused.err) == (1, "`crm:2` is an id of another contact\n")
    for asked, code, err in (
        (("nobody@example.com", "crm:1"), 1, "There is no contact `nobody@example.com`: give its e-mail address"),
        (("ada@example.com", "ada"), 2, "`ada` is no id: write SOURCE:ID"),
        ((f"id:{done['new_contact']}", "crm:2"), 1, "`crm:2` is all that identifies this contact: there is nothing"),
    ):
        ended = await run("contact", "split", *asked, env=env, cwd=tmp_path)
        assert (ended.code, err in " ".join(ended.err.split())) == (code, True), ended
    exported = (await run("export", "--json", env=env, cwd=tmp_path)).document["contacts"]
    assert [(contact["email"], contact["ids"]) for contact in exported] == [
        ("ada@example.com", {"crm": "1"}),
        (None, {"crm": "2"}),
    ]
    await run("export", "-o", "all.csv", env=env, cwd=tmp_path)
    again = (await run("import", "all.csv", "--json", env=env, cwd=tmp_path)).document
    assert (again["new"], again["changed"], again["wrong"]) == (0, 0, 0)
    assert (await run("verify", "--json", env=env, cwd=tmp_path)).document["number_of_differences"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_terminal_explains_a_score_as_slack_and_the_api_do(database_url: str, tmp_path: Path) -> None:
    """Each line has the effect, the points lost and the author; `--json` prints the document of the API."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env, cwd=tmp_path)
    opened_storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        team = Team(await find_workspace("T0123"))
        await team.deliver(
            set_to("a", "ada@example.com", 90, at=NOW - 9, fields={"name": "Ada"}),
            change("b", "ada@example.com", Op.ADD, 30, at=NOW - 8),
            change("c", "bob@example.com", Op.ADD, 30, at=NOW - 8),
        )
    finally:
        await opened_storage.close()

    shown = await run("contact", "why", "ada@example.com", env=env, cwd=tmp_path)

    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "Ada · Score 100 (hot)",
        f"  +10  of +30, 20 cut by the range 0 to 100 · {_second(NOW - 8)} · from crm",
        f"  +90  set to 90 · {_second(NOW - 9)} · from crm",
        "These add up to 100.",
    ]
    document = (await run("contact", "why", "ada@example.com", "score", "--json", env=env, cwd=tmp_path)).document
    assert document["value"] == 100
    lines = [(line["effect"], line["op"], line["asked"], line["cut_by_range"]) for line in document["contributions"]]
    assert lines == [(10, "add", 30, 20), (90, "set", 90, 0)]

    (await run("contact", "why", "eve@example.com", env=env, cwd=tmp_path)).check_refused(
        "There is no contact `eve@example.com`: give its e-mail address, an id as SOURCE:ID, or id:NUMBER"
    )
    unknown = await run("contact", "why", "ada@example.com", "fitt", env=env, cwd=tmp_path)
    assert (unknown.code, unknown.out, len(unknown.err.splitlines())) == (1, "", 1)


def _second(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
