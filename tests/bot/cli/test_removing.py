"""The commands that remove things: score types, contacts, workspaces, items in quarantine."""

from pathlib import Path

import pytest

from storage.bootstrap import open_storage
from storage.domain.submissions import Delivered, Raw
from storage.sources.config import find_source
from storage.workspaces import find_workspace
from tests.bot.cli.program import environment, run
from tests.conftest import KEY
from tests.storage.teams import Team, set_to


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


async def test_contacts_that_match_a_filter_are_deleted(env: dict[str, str], tmp_path: Path) -> None:
    """Without --yes nothing is deleted, and the answer counts; with it they are gone, and nobody else is."""
    words = ("contact", "delete", "--filter", "tag:vip")

    asked = await run(*words, env=env, cwd=tmp_path)

    assert (asked.code, asked.out, asked.err.splitlines()) == (1, "", [
        "To be deleted for good: 2 contacts (Ada, eve@example.com).",
        "Nothing was deleted; add --yes to delete 2 contacts",
    ])  # fmt: skip  # code, output, errors
    (await run(*words, "--json", env=env, cwd=tmp_path)).check_refused(
        "Nothing was deleted; add --yes to delete 2 contacts"
    )
    assert (await run(*words, "--yes", "--json", env=env, cwd=tmp_path)).document == {"deleted": 2}
    assert (await run(*words, "--yes", env=env, cwd=tmp_path)).out == "No contacts match.\n"
    contacts = (await run("export", "--json", env=env, cwd=tmp_path)).document["contacts"]
    assert [contact["email"] for contact in contacts] == ["bob@example.com"]
    assert (await run("contact", "delete", "bob@example.com", "--yes", env=env, cwd=tmp_path)).out == (
        "Deleted 1 contact.\n"
    )
    entries = (await run("audit", "--json", env=env, cwd=tmp_path)).document["entries"]
    assert [entry["what"] for entry in entries].count("contact.deleted") == 3
    for filter_text, complaint in (
        ("", "The filter is blank: say which contacts, for example --filter tag:churned"),
        ("tag:vip limit:1", "Leave out limit: all contacts that match the filter are deleted"),
    ):
        refused = await run("contact", "delete", "--filter", filter_text, "--yes", env=env, cwd=tmp_path)
        refused.check_refused(complaint)
    assert (await run("contact", "delete", "--yes", env=env, cwd=tmp_path)).code == 2


async def test_quarantined_items_are_discarded(env: dict[str, str], tmp_path: Path) -> None:
    """One item, or all items of a delivery, leave the quarantine; an unknown delivery or item is refused."""
    await run("source", "add", "crm", "--json", env=env, cwd=tmp_path)
    storage = await open_storage(env["CONTACT_SCORE_DATABASE_URL"], secret_keys=[KEY])
    try:
        team = Team(await find_workspace("T0123"))
        source = await find_source("T0123", slug="crm")
        items = [set_to(str(number), "ada@example.com", 500 + number, score="fit") for number in range(3)]
        raw = Raw(method="POST", query="", headers={}, body=b"{}")
        await team.deliver(*items, delivered=Delivered(source=source.id, key="d", raw=raw))
    finally:
        await storage.close()
    (listed,) = (await run("deliveries", "list", "--json", env=env, cwd=tmp_path)).document["deliveries"]
    id = str(listed["id"])
    assert listed["quarantined"] == 3

    (await run("deliveries", "discard", id, "--item", "7", env=env, cwd=tmp_path)).check_refused(
        f"Delivery {id} has no item 7 in quarantine"
    )
    one = await run("deliveries", "discard", id, "--item", "1", "--json", env=env, cwd=tmp_path)

    assert one.document == {"deliveries": [{"id": listed["id"], "discarded": 1}]}
    shown = (await run("deliveries", "show", id, "--json", env=env, cwd=tmp_path)).document
    assert [item["item"] for item in shown["items"]] == [0, 2]
    assert (shown["quarantined"], shown["ignored"]) == (2, 1)
    (await run("deliveries", "discard", id, "999", env=env, cwd=tmp_path)).check_refused(
        "There is no delivery 999; `contact-score deliveries list` names the latest"
    )
    assert (await run("deliveries", "discard", id, env=env, cwd=tmp_path)).out == f"Delivery {id}: 2 discarded.\n"
    after = (await run("deliveries", "show", id, "--json", env=env, cwd=tmp_path)).document
    assert (after["items"], after["quarantined"], after["ignored"]) == ([], 0, 3)


async def test_a_workspace_is_removed_when_its_id_is_named_twice(env: dict[str, str], tmp_path: Path) -> None:
    """Without its id, or with another one, nothing is deleted; a copy is offered; with the id it is gone."""
    asked = await run("workspace", "remove", "T0123", env=env, cwd=tmp_path)
    assert (asked.code, asked.out, asked.err.splitlines()) == (1, "", [
        "To be deleted for good: T0123, Acme, with 3 contacts, 4 changes, 0 sources.",
        "To keep a copy, first: contact-score export --workspace T0123 --json -o T0123.json",
        "Nothing was deleted; to delete the workspace, add --yes T0123",
    ])  # fmt: skip  # code, output, errors
    other = await run("workspace", "remove", "T0123", "--yes", "T9", env=env, cwd=tmp_path)
    other.check_refused("Nothing was deleted: --yes names `T9`, and the workspace is T0123")

    removed = await run("workspace", "remove", "T0123", "--yes", "T0123", "--json", env=env, cwd=tmp_path)

    assert {name: removed.document[name] for name in ("workspace", "removed", "contacts")} == {
        "workspace": "T0123", "removed": True, "contacts": 3,
    }  # fmt: skip  # one document
    assert (await run("workspace", "list", "--json", env=env, cwd=tmp_path)).document == {"workspaces": []}
    again = await run("workspace", "remove", "T0123", "--yes", "T0123", env=env, cwd=tmp_path)
    again.check_refused("There is no workspace T0123")
