"""The README's five steps and the other source commands, run as real processes."""

import asyncio
import json
import os
import pty
from pathlib import Path

import pytest

from tests.bot.cli.program import PROGRAM, environment, run, serving
from tests.bot.cli.test_transfer import all_shown
from tests.processes import start
from tests.webhooks.sender import session

pytestmark = pytest.mark.slow
PLACES = {"email": "item.email", "property": "item.kind", "value": "item.n"}
LONGBOW = {"events": [{"person": {"mail": "ada@example.com"}, "rank": "7", "no": "e1"}, {"rank": 9}]}


async def test_a_sender_that_is_not_in_the_list_is_connected_in_five_steps(database_url: str, tmp_path: Path) -> None:
    """A custom sender is connected: added, tested, mapped, replayed, rotated and removed.

    No output contains a secret.
    """
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    await run("type", "add", "fit", "--max", "10", env=env)
    mapping = {"items": "body.events", "email": "item.person.mail", "property": "'fit'", "value": "item.rank"}
    (tmp_path / "map.json").write_text(json.dumps(mapping | {"id": "item.no"}))
    async with serving(env=env) as serve, session() as client:
        env["CONTACT_SCORE_PUBLIC_URL"] = serve.url
        added = (await run("source", "add", "acme", "--provider", "custom", "--json", env=env)).document
        (token,) = added["secrets"]
        headers = {"Authorization": f"Bearer {token}"}
        async with client.post(added["url"], json=LONGBOW, headers=headers) as answer:
            assert (answer.status, (await answer.json())["ignored"]) == (200, 1)

        (stored_delivery,) = (await run("deliveries", "list", "--json", env=env)).document["deliveries"]
        result = await run("deliveries", "show", str(stored_delivery["id"]), "--json", env=env)
        assert json.loads(result.document["request"]["body"]) == LONGBOW
        assert token not in result.out
        command = [
            "source",
            "try",
            "acme",
            "--delivery",
            str(stored_delivery["id"]),
            "--mapping",
            str(tmp_path / "map.json"),
        ]
        described = await run(*command, env=env)
        assert described.out.splitlines()[0] == "ada@example.com → fit set to 7"
        trial = (await run(*command, "--json", env=env)).document
        assert trial["warnings"] == []
        assert next(
            (item["does"], item["contact"], item["score"], item["value"], item["id"]) for item in trial["items"]
        ) == (
            "set", "ada@example.com", "fit", 7, "e1",
        )  # fmt: skip  # one item
        assert trial["items"][1]["does"] == "quarantined"

        changed = await run("source", "set", "acme", "--mapping", str(tmp_path / "map.json"), "--muted", env=env)
        assert (changed.code, changed.out) == (
            0,
            "Changed the source `acme`: mapping: none → email item.person.mail, id item.no, items body.events,"
            " property 'fit', value item.rank; muted: no → yes.\nShow it: contact-score source show acme\n",
        )
        again = (await run("deliveries", "replay", str(stored_delivery["id"]), "--json", env=env)).document
        assert (again["applied"], again["quarantined"]) == (1, 1)

        rotated = (await run("source", "rotate", "acme", "--json", env=env)).document
        for secret in (token, *rotated["secrets"]):
            async with client.post(added["url"], json=LONGBOW, headers={"Authorization": f"Bearer {secret}"}) as answer:
                assert (answer.status, (await answer.json())["duplicate"]) == (200, 1)
        shown_result = await run("source", "show", "acme", "--json", env=env)
        assert shown_result.document["muted"] is True
        assert shown_result.document["mapping"] == json.loads((tmp_path / "map.json").read_text())
        assert (shown_result.document["live_secrets"], len(shown_result.document["retiring_at"])) == (2, 1)
        assert shown_result.document["last_day"]["deliveries"] == 3
        assert (await run("source", "remove", "acme", "--json", env=env)).document == {"removed": "acme"}
        served = await serve.stop()

    for text in (shown_result.out, served.err, served.out):
        assert token not in text
        assert rotated["secrets"][0] not in text


async def test_a_test_delivery_proves_itself_as_its_sender_would(database_url: str, tmp_path: Path) -> None:
    """A test delivery authenticates as its sender does: password, signature or URL token; bad input is one line."""
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
            added = await run("source", "add", f"my-{provider}", "--provider", provider, *options, env=env)
            assert added.code == 0, added
            file = tmp_path / ("call.json" if provider == "segment" else "form")
            sent = await run("source", "send", f"my-{provider}", str(file), "--json", env=env)
            assert sent.document["answer"]["applied"] == 1, (provider, sent)
        unknown = await run("source", "set", "my-zapier", "--recipe", "md5", env=env)
        assert (unknown.code, unknown.out, unknown.err[:28]) == (1, "", "There is no recipe `md5`; ch")
        refused_set = await run(
            "source", "set", "my-zapier", "--recipe", "close", env=env
        )  # the source's password is no signing key
        refused_set.check_refused("Give the secret as 1 to 1000 bytes in hexadecimal digits.")


async def test_a_sender_of_ids_alone_is_given_a_token_of_its_api(database_url: str) -> None:
    """Without an API token the source says what to type; with one it says whether reading works, and hides it."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    await run("source", "add", "hub", "--provider", "hubspot", "--secret", "client-secret", env=env)
    alone = await run("source", "show", "hub", "--json", env=env)
    options = ["--api-token", "pat-1", "--api-url", "http://127.0.0.1:9", "--write-back", "score=ours"]
    set_result = await run("source", "set", "hub", *options, env=env)
    shown_source = await run("source", "show", "hub", "--json", env=env)
    other = await run("source", "add", "crm", "--api-token", "pat-2", env=env)
    wrong = await run("source", "set", "hub", "--api-url", "hubapi.com", env=env)

    names = ("reads_back", "api_url", "contacts_to_read", "not_read", "not_read_at")
    words = (
        "Its contacts are known by their ids alone; for addresses and names give it an API token:"
        " contact-score source set hub --api-token TOKEN"
    )
    assert [alone.document[name] for name in names] == [False, "https://api.hubapi.com", 0, words, None]
    assert [shown_source.document[name] for name in names] == [True, "http://127.0.0.1:9", 0, None, None]
    assert (set_result.code, "pat-1" in set_result.out + shown_source.out) == (0, False)
    assert shown_source.document["standing"] == "works"
    names = ("write_back", "contacts_to_write", "writing_paused", "not_written", "not_written_at")
    assert [shown_source.document[name] for name in names] == [{"score": "ours"}, 0, False, None, None]
    assert "write_back" not in alone.document
    other.check_refused("`generic` takes no --api-token")
    wrong.check_refused("`hubapi.com` is not an address: --api-url https://api.example.com")


async def test_what_a_source_is_told_and_cannot_be_is_said_beside_it(database_url: str, tmp_path: Path) -> None:
    """An unknown score type in a mapping is a warning on standard error, because the type may be created later."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    mapped = ["--map", "a=fit", "--map", "b=score", "--map", "c=fti"]
    added = await run("source", "add", "hub", "--provider", "hubspot", *mapped, "--json", env=env)
    words = [
        f"`{name}` is mapped to a score type that does not exist: there is no score type `{key}`; existing: score."
        f" Add it: contact-score type add {key}"
        for name, key in (("a", "fit"), ("c", "fti"))
    ]
    missing = (
        "Its requests are refused until it has a secret; give it the client secret of your app:"
        " contact-score source set hub-eu --secret SECRET"
    )
    document = json.loads(added.out)
    assert (added.code, document["slug"], len(document["secrets"])) == (0, "hub", 1)
    assert added.err.splitlines() == words
    by_hand = await run("source", "add", "hub-eu", "--provider", "hubspot", env=env)
    assert (by_hand.code, by_hand.out.splitlines()[-1]) == (0, missing)
    (tmp_path / "event.json").write_text("[]")
    (await run("source", "send", "hub-eu", "event.json", env=env, cwd=tmp_path)).check_refused(
        "`hub-eu` has no secret yet; give it the client secret of your app:"
        " contact-score source set hub-eu --secret SECRET"
    )
    await run("type", "add", "fit", env=env)
    again = await run("source", "set", "hub", "--public-url", "https://scores.example.com/hub", env=env)
    last = words[1].replace("existing: score", "existing: score, fit")
    assert (again.code, again.err.splitlines()) == (0, [last])

    (tmp_path / "map.json").write_text(json.dumps({"items": "body", **PLACES}))
    bodies = [{"email": "ada@example.com", "kind": "fti", "n": 1}, {"email": "ada", "kind": "fit", "n": 2}]
    bodies += [{"email": "ada@example.com", "kind": kind, "n": 101} for kind in ("score", "fit")]
    (tmp_path / "body.json").write_text(json.dumps([*bodies, {"email": "ada@example.com", "kind": "fit", "n": 3}]))
    mapping = ["--mapping", str(tmp_path / "map.json")]
    await run("source", "add", "own", "--provider", "custom", *mapping, env=env)
    trial = await run("source", "try", "own", "--file", str(tmp_path / "body.json"), "--json", env=env)
    assert [(item["does"], item["reason"]) for item in trial.document["items"]] == [
        ("quarantined", "there is no score type `fti`; existing: score, fit"),
        ("quarantined", "`ada` is not an e-mail address"),
        ("quarantined", "Score runs from 0 to 100; 101 is outside it"),
        ("quarantined", "Fit runs from 0 to 100; 101 is outside it"),
        ("set", None),
    ]

    (tmp_path / "bad.json").write_text("[")
    for option in ("--recipe", "--mapping"):
        unread = await run("source", "set", "own", option, "bad.json", env=env, cwd=tmp_path)
        assert (unread.code, unread.err.partition(":")[0]) == (1, "The file bad.json cannot be read as JSON")
    unknown = await run("deliveries", "list", "--source", "huub", env=env)
    unknown.check_refused("There is no source `huub` in T0123")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_terminal_is_asked_for_the_secret_of_the_sender(database_url: str) -> None:
    """On a terminal the secret that the sender makes is asked for, and stored."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    own_end, terminal_end = pty.openpty()
    process = await start(
        PROGRAM, "source", "add", "hub", "--provider", "hubspot", env={**env, "TERM": "dumb"},
        stdin=terminal_end, stdout=terminal_end, stderr=terminal_end,
    )  # fmt: skip  # all three are the terminal
    os.close(terminal_end)
    os.write(own_end, b"client-secret\n")
    shown, ended = await asyncio.gather(asyncio.to_thread(all_shown, own_end), process.wait())

    assert ended == 0, shown
    assert "Paste the client secret of your app, or leave it blank to add it later: " in shown
    assert (await run("source", "show", "hub", "--json", env=env)).document["live_secrets"] == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_address_that_no_sender_reaches_is_warned_of(database_url: str) -> None:
    """Every command that prints the address of a source warns if other machines do not reach it."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    warning = "Warning: Other machines do not reach 127.0.0.1: set CONTACT_SCORE_PUBLIC_URL to"
    assert (await run("source", "list", env=env)).err == ""
    for command in (["add", "hub", "--provider", "hubspot", "--secret", "client-secret"], ["list"], ["show", "hub"]):
        printed = await run("source", *command, env=env)
        assert (printed.code, printed.err.startswith(warning), printed.err.count("\n")) == (0, True, 1)
        assert "shown again" not in printed.out
    env["CONTACT_SCORE_PUBLIC_URL"] = "https://scores.example.com"
    added = await run("source", "add", "crm", env=env)
    assert (added.err, "The secret is not shown again." in added.out) == ("", True)


async def test_the_place_of_a_token_is_told(database_url: str) -> None:
    """The setup steps say where the token stands if the sender does not send it as Bearer."""
    env = environment(database_url)
    await run("workspace", "add", "T0123", "--name", "Acme", env=env)
    places = {
        "header:X-Key": "The token is not sent as Bearer, but in the header X-Key: t0k",
        "query:key": "The token is not sent as Bearer, but at the end of the address: ?key=t0k",
        "form:key": "The token is not sent as Bearer, but in a field of the form: key=t0k",
        "bearer": None,
    }
    for place, words in places.items():
        slug = place.replace(":", "-").lower()
        added = await run("source", "add", slug, "--provider", "n8n", "--token", "t0k", "--token-in", place, env=env)
        token_lines = [line for line in added.out.splitlines() if line.startswith("The token")]
        assert token_lines == ([words] if words else []), added
