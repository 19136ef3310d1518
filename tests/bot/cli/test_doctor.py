"""The report of `contact-score doctor`."""

import socket
from pathlib import Path

import pytest

from storage.bootstrap import open_storage
from storage.domain.contacts import Reference
from storage.domain.submissions import Submission
from storage.ledger.committer import record
from storage.notices import NO_ADMIN, record_notice
from storage.workspaces import find_workspace
from tests.bot.cli.program import environment, run
from tests.conftest import KEY, on_both
from tests.storage import raw
from tests.storage.teams import NOW, Team, field_item


@on_both
@pytest.mark.slow
async def test_contacts_to_look_at(database_url: str, tmp_path: Path) -> None:
    """The report lists contacts with several ids of one source, and addresses that an earlier version told apart."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env, cwd=tmp_path)
    assert (await run("doctor", env=env, cwd=tmp_path)).out == "Nothing found.\n"
    opened_storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        team = Team(await find_workspace("T0123"))
        ada = [Reference(email="ada@example.com", source="crm", id=id) for id in ("1", "2")]
        await team.deliver(*(field_item(f"a{n}", reference) for n, reference in enumerate(ada)))
        await team.deliver(field_item("b", ("crm", "3")), field_item("c", "bob@example.com"), batch="d2")
        await record_notice(team.workspace, notice=NO_ADMIN, now=NOW)
    finally:
        await opened_storage.close()
    await raw.rows(database_url, "UPDATE identities SET value = $1 WHERE value = '3'", "ada\u00ad@example.com")
    await raw.rows(database_url, "UPDATE identities SET namespace = '' WHERE value = $1", "ada\u00ad@example.com")

    document = (await run("doctor", "--json", env=env, cwd=tmp_path)).document
    assert document == {
        "several_ids": [{"workspace": "T0123", "contact": "ada@example.com", "source": "crm", "ids": ["1", "2"]}],
        "alike_addresses": [{"workspace": "T0123", "address": "ada@example.com", "contacts": [1, 2]}],
        "locked_secrets": [],
        "sources": [],
        "without_admin": [{"workspace": "T0123"}],
        "public_url": None,
    }
    assert (await run("doctor", env=env, cwd=tmp_path)).out.splitlines() == [
        "T0123: ada@example.com has 2 ids of crm, which came with one address: 1, 2."
        " If they are two people: contact-score contact split ada@example.com crm:2",
        "T0123: two contacts have the address ada@example.com, written in two ways."
        " If they are one person: /score merge id:2 into id:1",
        "T0123: no admin could be reached in Slack, so messages to admins were sent to nobody. Name one,"
        " and start the service again: contact-score workspace set T0123 --add-admin U…",
    ]
    # Later items with the spelling of the earlier version go to the same contact as before.
    opened_storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        workspace = await find_workspace("T0123")
        items = [
            field_item("x", "ada\u00ad@example.com", name="Not Ada"),
            field_item("y", "ada@example.com", name="Ada"),
        ]
        await record(workspace, Submission(source="crm", batch="d3", received_at=NOW, items=items), now=NOW)
    finally:
        await opened_storage.close()
    (tmp_path / "both.csv").write_text("email,score\nada\u00ad@example.com,7\nada@example.com,8\n", encoding="utf-8")
    assert (await run("import", "both.csv", "--json", env=env, cwd=tmp_path)).document["changed"] == 2
    ranks = await raw.rows(database_url, "SELECT contact_id, rank FROM scores WHERE rank IS NOT NULL")
    assert sorted((row["contact_id"], row["rank"]) for row in ranks) == [(1, 8000), (2, 7000)]
    names = await raw.rows(database_url, "SELECT id, name FROM contacts ORDER BY id")
    assert [(row["id"], row["name"]) for row in names] == [(1, "Ada"), (2, "Not Ada"), (3, None)]


async def test_sources_secrets_and_the_address_to_look_at(tmp_path: Path, free_port: int) -> None:
    """Locked secrets, mappings to missing types and addresses that nobody reaches are named, each with its cure."""
    env = {**environment(f"sqlite://{tmp_path}/scores.db"), "CONTACT_SCORE_PUBLIC_URL": "http://127.0.0.1:9"}
    await run("workspace", "add", "T0123", "--name", "Acme", env=env, cwd=tmp_path)
    await run("source", "add", "crm", "--provider", "hubspot", "--map", "lead=fit", env=env, cwd=tmp_path)
    env["CONTACT_SCORE_SECRET_KEYS"] = KEY.replace("dGVz", "AAAA")

    found = await run("doctor", "--json", env=env, cwd=tmp_path)
    shown = await run("doctor", env=env, cwd=tmp_path)
    env["CONTACT_SCORE_PUBLIC_URL"] = f"http://{socket.gethostname()}.invalid:{free_port}"
    silent = await run("doctor", "--json", env=env, cwd=tmp_path)

    document = found.document
    assert document["locked_secrets"] == [
        {"workspace": "T0123", "sources": ["crm"], "api_tokens": [], "deletions": False}
    ]
    assert [(row["source"], row["problem"].partition(":")[0]) for row in document["sources"]] == [
        ("crm", "`lead` is mapped to a score type that does not exist")
    ]
    assert document["public_url"]["problem"].startswith(
        "The addresses of the sources begin with http://127.0.0.1:9, which other machines do not reach: set"
    )
    assert len(shown.out.splitlines()) == 3
    assert shown.out.startswith(
        "T0123: secrets need another key, so the deliveries of crm are answered 503 and wait. Add the key"
    )
    assert "/healthz does not answer: is the service running" in silent.document["public_url"]["problem"]
