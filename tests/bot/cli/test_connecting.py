"""The README's five steps, and what else is said of a source on the command line, in real processes."""

import json
from pathlib import Path

import pytest

from tests.bot.cli.program import environment, run, serving
from tests.webhooks.sender import session

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]
LONGBOW = {"events": [{"person": {"mail": "ada@example.com"}, "rank": "7", "no": "e1"}, {"rank": 9}]}


async def test_a_sender_that_is_not_in_the_list_is_connected_in_five_steps(database_url: str, tmp_path: Path) -> None:
    """Made, sent to, looked at, tried, set and replayed; then rotated, shown and removed. Nothing tells a secret."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    await run("type", "add", "fit", "--max", "10", env=env)
    mapping = {"items": "body.events", "email": "item.person.mail", "property": "'fit'", "value": "item.rank"}
    (tmp_path / "map.json").write_text(json.dumps(mapping | {"id": "item.no"}))
    async with serving(env=env) as serve, session() as client:
        env["CONTACT_SCORE_PUBLIC_URL"] = serve.url
        made = (await run("source", "add", "acme", "--provider", "custom", "--json", env=env)).document
        (token,) = made["secrets"]
        headers = {"Authorization": f"Bearer {token}"}
        async with client.post(made["url"], json=LONGBOW, headers=headers) as answer:
            assert (answer.status, (await answer.json())["ignored"]) == (200, 1)

        (kept,) = (await run("deliveries", "list", "--json", env=env)).document["deliveries"]
        shown = await run("deliveries", "show", str(kept["id"]), "--json", env=env)
        assert json.loads(shown.document["request"]["body"]) == LONGBOW
        assert token not in shown.out
        told = ["source", "try", "acme", "--delivery", str(kept["id"]), "--mapping", str(tmp_path / "map.json")]
        tried = (await run(*told, "--json", env=env)).document
        assert tried["warnings"] == []
        assert next((one["does"], one["contact"], one["score"], one["value"], one["id"]) for one in tried["items"]) == (
            "set", "ada@example.com", "fit", 7, "e1",
        )  # fmt: skip  # one item
        assert tried["items"][1]["does"] == "quarantined"

        changed = await run("source", "set", "acme", "--mapping", str(tmp_path / "map.json"), "--muted", env=env)
        assert (changed.code, changed.out) == (0, "Set the source `acme`. See it: contact-score source show acme\n")
        again = (await run("deliveries", "replay", str(kept["id"]), "--json", env=env)).document
        assert (again["applied"], again["quarantined"]) == (1, 1)

        rotated = (await run("source", "rotate", "acme", "--json", env=env)).document
        for secret in (token, *rotated["secrets"]):
            async with client.post(made["url"], json=LONGBOW, headers={"Authorization": f"Bearer {secret}"}) as answer:
                assert (answer.status, (await answer.json())["duplicate"]) == (200, 1)
        seen = await run("source", "show", "acme", "--json", env=env)
        assert seen.document["muted"] is True
        assert seen.document["mapping"] == json.loads((tmp_path / "map.json").read_text())
        assert (seen.document["live_secrets"], len(seen.document["retiring_at"])) == (2, 1)
        assert seen.document["last_day"]["deliveries"] == 3
        assert (await run("source", "remove", "acme", "--json", env=env)).document == {"removed": "acme"}
        ended = await serve.stop()

    for text in (seen.out, ended.err, ended.out):
        assert token not in text
        assert rotated["secrets"][0] not in text


async def test_a_test_delivery_proves_itself_as_its_sender_would(database_url: str, tmp_path: Path) -> None:
    """By password, by signature and by a token in the address; what cannot be read is told in a line."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    (tmp_path / "call.json").write_text(
        json.dumps({"type": "track", "userId": "u1", "messageId": "m", "properties": {"score": 5}})
    )
    (tmp_path / "form").write_text("email=ada%40example.com&score=5")
    senders = {
        "segment": [],
        "activecampaign": ["--token", "tok", "--token-in", "query:token"],
        "zapier": ["--username", "ada", "--password", "p:1"],
    }
    async with serving(env=env) as serve:
        env["CONTACT_SCORE_PUBLIC_URL"] = serve.url
        for provider, options in senders.items():
            made = await run("source", "add", f"my-{provider}", "--provider", provider, *options, env=env)
            assert made.code == 0, made
            file = tmp_path / ("call.json" if provider == "segment" else "form")
            sent = await run("source", "send", f"my-{provider}", str(file), "--json", env=env)
            assert sent.document["answer"]["applied"] == 1, (provider, sent)
        unknown = await run("source", "set", "my-zapier", "--recipe", "md5", env=env)
        assert (unknown.code, unknown.out, unknown.err[:28]) == (1, "", "There is no recipe `md5`; th")
        kept = await run("source", "set", "my-zapier", "--recipe", "close", env=env)  # its password is no key for that
        kept.check_refused("Give the secret as 1 to 1000 bytes in hexadecimal digits.")


async def test_a_sender_of_ids_alone_is_given_a_token_of_its_api(database_url: str) -> None:
    """Without it the source says what to type; with it whether it reads, and never the token."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    await run("source", "add", "hub", "--provider", "hubspot", "--secret", "client-secret", env=env)
    alone = await run("source", "show", "hub", "--json", env=env)
    given = await run("source", "set", "hub", "--api-token", "pat-1", "--api-url", "http://127.0.0.1:9", env=env)
    shown = await run("source", "show", "hub", "--json", env=env)
    other = await run("source", "add", "crm", "--api-token", "pat-2", env=env)
    wrong = await run("source", "set", "hub", "--api-url", "hubapi.com", env=env)

    names = ("reads_back", "api_url", "contacts_to_read", "not_read", "not_read_at")
    words = (
        "Its contacts are known by their ids alone; for addresses and names give it an API token:"
        " contact-score source set hub --api-token TOKEN"
    )
    assert [alone.document[name] for name in names] == [False, "https://api.hubapi.com", 0, words, None]
    assert [shown.document[name] for name in names] == [True, "http://127.0.0.1:9", 0, None, None]
    assert (given.code, "pat-1" in given.out + shown.out) == (0, False)
    assert shown.document["standing"] == "works"
    other.check_refused("`generic` takes no --api-token")
    wrong.check_refused("`hubapi.com` is no address: --api-url https://api.example.com")
