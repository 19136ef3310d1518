"""Add sources in Slack, list their deliveries, replay quarantined items, test, pause and remove sources."""

import json
import re
from typing import Any

from bot.demo.sending import post
from bot.demo.world import Message
from storage.audit import AuditAction, audit_entries
from storage.domain.sources import DAY, SourceSettings
from storage.sources.config import add_source, find_source, set_source, sources
from storage.sources.readback_queue import record_failure
from tests.conftest import on_both
from tests.journeys.acme import CRM_SECRET, TEAM, Acme, button_of, form
from tests.journeys.admin import ADMIN, ask, form_of, hand_in, press, refused

SET = {"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "score", "value": 80}


async def pushed(acme: Acme, body: dict[str, Any]) -> dict[str, Any]:
    """Push a body as the sandbox's current source, and return the answer."""
    response = await acme.sandbox.push(json.dumps(body))
    return dict(response["answer"])


@on_both
async def test_a_source_is_added_heard_paused_and_rotated(acme: Acme) -> None:
    """The secret is shown once, deliveries are counted, and a paused source answers 503 and loses nothing."""
    listed = await ask(acme, "sources")
    # Acme's workspace may be a copy that is some minutes old.
    assert re.sub(r"‹\d+ s ago›", "‹now›", acme.seen(listed)) == (
        "*Sources:* what sends scores\n"
        "*crm* `generic`\n"
        "Last delivery ‹now› · in the last day 1 delivery: 11 applied\n"
        "[Show] [Test] [Pause] [Rotate]\n"
        "[Add a source]"
    )
    view = await form_of(acme, listed, "Add a source")
    added = await hand_in(acme, view, slug="shop", provider="generic")
    text = acme.seen(added)
    url = f"{acme.sandbox.app_url}/webhooks/{TEAM}/shop"
    (secret,) = (await find_source(TEAM, slug="shop")).secrets
    assert text == (
        "*Added the source shop.* At the sender:\n"
        f"1. Send POST requests with a JSON body to {url}\n"
        f"2. Sign them as Standard Webhooks does, with the secret {secret}\n"
        f"The address is `{url}`\n"
        f"The secret is `{secret}`\n"
        "(:warning: Other machines do not reach 127.0.0.1: set CONTACT_SCORE_PUBLIC_URL to the address at which they"
        " reach the service, such as https://scores.example.com)\n"
        "(Copy the secret now: it is not shown again.)\n"
        "[Edit] [Test]"
    )
    assert secret.startswith("whsec_")
    acme.sandbox.crm_url, acme.sandbox.crm_secret = url, secret
    assert (await pushed(acme, SET | {"id": "1"}))["status"] == 200
    listed = await ask(acme, "sources")
    assert "*shop* `generic`\nLast delivery ‹now› · in the last day 1 delivery: 1 applied\n" in acme.seen(listed)
    message = await press_nth(acme, listed, "Show", 1)
    assert f"*shop* `generic` at {url}" in acme.seen(message)
    assert secret not in acme.seen(message)

    button = button_of(listed, "Pause", nth=1)
    assert "503" in str(
        next(element for element in elements(listed) if element.get("value") == button["value"])["confirm"]
    )
    paused = await press_nth(acme, listed, "Pause", 1)
    assert "*shop* `generic` · *paused*" in acme.seen(paused)
    answer = await pushed(acme, SET | {"id": "2", "value": 30})
    assert (answer["status"], answer["headers"]["Retry-After"]) == (503, "3600")
    assert await acme.value("ada") == 80_000
    acme.sandbox.crm_secret = CRM_SECRET  # with a wrong signature the answer does not say that the source is paused
    assert (await pushed(acme, SET))["status"] == 401
    acme.sandbox.crm_secret = secret
    assert "Paused: its requests are answered 503" in acme.seen(await press_nth(acme, paused, "Show", 1))
    assert "1 request was refused, the last ‹" in acme.seen(await press_nth(acme, paused, "Show", 1))
    resumed = await press(acme, paused, "Resume")
    assert "paused" not in acme.seen(resumed)
    assert (await pushed(acme, SET | {"id": "2", "value": 30}))["status"] == 200
    assert await acme.value("ada") == 30_000

    view = await form_of(acme, resumed, "Rotate", nth=1)
    rotated = await hand_in(acme, view)
    newer, older = (await find_source(TEAM, slug="shop")).secrets
    assert older == secret
    assert acme.seen(rotated).startswith(f"*shop* has a new secret: `{newer}`\n(It is not shown again.")
    for live in (newer, older):
        acme.sandbox.crm_secret = live
        assert (await pushed(acme, SET | {"id": live[-6:]}))["status"] == 200
    acme.sandbox.clock.advance(DAY / 1_000_000 + 1)
    assert (await pushed(acme, SET | {"id": "late"}))["status"] == 401
    acme.sandbox.crm_secret = newer
    assert (await pushed(acme, SET | {"id": "late"}))["status"] == 200


def elements(message: Message) -> list[dict[str, Any]]:
    """Return every button of a message."""
    return [element for block in message.blocks if block["type"] == "actions" for element in block["elements"]]


async def press_nth(acme: Acme, message: Message, label: str, nth: int) -> Message:
    """Click one of several buttons with the same label."""
    button = button_of(message, label, nth=nth)
    _, call = await acme.answered(
        lambda: acme.sandbox.click(message.id, button["action_id"], block_id=button["block_id"], user=ADMIN)
    )
    if call.arguments["replace_original"]:
        changed = acme.sandbox.world.find(message.ts)
        assert changed is not None
        return changed
    return acme.latest(user=ADMIN, channel=message.channel)


@on_both
async def test_what_waits_in_quarantine_is_replayed(acme: Acme) -> None:
    """Items are listed with the reason and applied once the cause is removed; items that are still invalid say so."""
    wrong = [SET | {"score": "heat", "id": "h1"}, SET | {"id": "s", "value": 900}, SET | {"id": "ok", "value": 70}]
    assert (await pushed(acme, {"items": wrong}))["status"] == 200
    assert (await pushed(acme, {"items": [SET | {"score": "heat", "id": "h2"}]}))["status"] == 200
    listed = await ask(acme, "sources")
    assert "in the last day 3 deliveries: 12 applied, 3 quarantined" in acme.seen(listed)
    message = await press(acme, listed, "Quarantine (3)")
    assert "*Quarantine of crm:* 3 items\n" in acme.seen(message)
    assert re.search(r"delivery \d+: there is no score type `heat`", acme.seen(message))
    assert "[Replay all]" in acme.seen(message)

    view = await form_of(acme, await ask(acme, "settings"), "Add a score type")
    await hand_in(acme, view, key="heat", label="Heat")
    replayed = await press(acme, message, "Replay all")
    assert acme.seen(replayed).startswith(
        "Replayed 2 deliveries of *crm*: 2 applied, 1 duplicate, 1 quarantined.\nStill in quarantine (1): "
    )
    assert await acme.value("ada", "heat") == 80_000
    listed = await ask(acme, "sources")
    assert "[Quarantine (1)]" in acme.seen(listed)


@on_both
async def test_items_in_quarantine_are_mended_and_discarded(acme: Acme) -> None:
    """A mapping that is changed in Slack mends items; others are discarded one by one or at once, for good."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_source(
        acme.workspace, slug="zap", provider="zapier", secrets=["t"], settings=SourceSettings(token_in="bearer"),
        by=ADMIN, now=now,
    )  # fmt: skip  # what, then who and when
    acme.sandbox.crm_url = f"{acme.sandbox.app_url}/webhooks/{TEAM}/zap"
    bodies = [{"email": "ada@example.com", "event_id": f"e{number}", "score": 900 + number} for number in range(3)]
    for body in (bodies[:2], bodies[2]):
        await send_as_zapier(acme, body)
    message = await press(acme, await ask(acme, "sources"), "Quarantine (3)")
    assert acme.seen(message).count("[Discard]") == 3
    assert "contact-score" not in acme.seen(message)

    left = await press_nth(acme, message, "Discard", 1)
    assert acme.seen(left).startswith("*Quarantine of zap:* 2 items\n")
    assert [number in acme.seen(left) for number in ("900", "901", "902")] == [False, True, True]
    view = await form_of(acme, left, "Edit")
    edited = await hand_in(acme, view, options="out_of_range=clamp", link="https://z.example/{id}")
    assert "Options: out_of_range=clamp" in acme.seen(edited)
    assert "Contacts link to: https://z.example/{id}" in acme.seen(edited)
    replayed = await press(acme, left, "Replay all")
    assert acme.seen(replayed) == "Replayed 2 deliveries of *zap*: 2 applied, 1 ignored."
    assert await acme.value("ada") == 100_000

    for number in range(2):
        await send_as_zapier(acme, {"email": "ada@example.com", "event_id": f"n{number}", "score": 1.5})
    message = await press(acme, await ask(acme, "sources"), "Quarantine (2)")
    assert acme.seen(await press(acme, message, "Discard all")) == "Nothing from *zap* is in quarantine."
    discarded = await audit_entries(acme.workspace, what=AuditAction.ITEMS_DISCARDED)
    assert [entry.who for entry in discarded] == [ADMIN] * 3


async def send_as_zapier(acme: Acme, body: object) -> dict[str, Any]:
    """Post a body to the source `zap`, and return the answer's document."""
    answer = await post(
        acme.sandbox.http, f"{acme.sandbox.app_url}/webhooks/{TEAM}/zap", body=json.dumps(body).encode(),
        headers={"Authorization": "Bearer t", "Content-Type": "application/json"}, patience=10,
    )  # fmt: skip  # where, what, how
    assert answer.status == 200
    return dict(answer.json())


async def test_the_secret_of_a_sender_that_makes_it_is_asked_for(acme: Acme) -> None:
    """A HubSpot source gets no secret of ours; its steps are steps in Slack; entering the secret makes it work."""
    view = await form_of(acme, await ask(acme, "sources"), "Add a source")
    added = await hand_in(acme, view, slug="hub", provider="hubspot")
    text = acme.seen(added)
    assert (await find_source(TEAM, slug="hub")).secrets == ()
    assert "3. HubSpot signs with the app's client secret: press Edit, and enter it under “Secret”\n" in text
    assert "press Edit, and enter `hubspotscore=score` under “Which field is which score”" in text
    assert ("contact-score source" in text, "shown again" in text) == (False, False)
    assert text.endswith(
        "\n:warning: Its requests are refused until you enter the client secret of your app.\n"
        "[Enter its secret] [Edit] [Test]"
    )
    listed = await ask(acme, "sources")
    assert "*hub* `hubspot` · *needs its secret*" in acme.seen(listed)

    view = await form_of(acme, added, "Enter its secret")
    fields = [block["block_id"] for block in view.blocks]
    assert fields == ["secret", "map", "options", "public_url", "api_token", "write_back", "link", "rate", "follow_ups"]
    shown = await hand_in(acme, view, secret="client-secret", map="hubspotscore=score")
    hub = await find_source(TEAM, slug="hub")
    assert (hub.secrets, hub.settings.map) == (("client-secret",), {"hubspotscore": "score"})
    assert ["client secret" in acme.seen(shown), "hubspotscore=score" in acme.seen(shown)] == [False, False]
    assert "3. HubSpot names contacts by their ids alone" in acme.seen(shown)
    assert "Enter its secret" not in acme.seen(shown) + acme.seen(await ask(acme, "sources"))
    assert "client-secret" not in acme.seen(shown)
    view = await form_of(acme, shown, "Edit")
    errors = await refused(acme, view, write_back="score=ours")
    assert errors == {"write_back": "Scores are written through the API of `hub`: give it API token TOKEN"}
    await hand_in(acme, await form_of(acme, shown, "Edit"), api_token="pat-1", write_back="score=ours")
    assert (await find_source(TEAM, slug="hub")).settings.write_back == {"score": "ours"}


@on_both
async def test_a_source_is_edited_in_slack(acme: Acme) -> None:
    """The form shows the current settings; what is blanked is removed, and a blank secret or token is kept."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    settings = SourceSettings(
        token_in="bearer", map={"a": "score", "b": "fit"}, rate="5/s", link="https://z.example/{id}", muted=True,
        mapping={"email": "item.email"}, paused=True, recipe=None,
    )  # fmt: skip  # the settings
    await add_source(acme.workspace, slug="own", provider="custom", secrets=["t"], settings=settings, by=ADMIN, now=now)
    shown = await press_nth(acme, await ask(acme, "sources"), "Show", 1)
    view = await form_of(acme, shown, "Edit")
    wrong = {
        "map": "a=heat", "mapping": "{", "link": "https://z.example/", "rate": "often", "public_url": "z",
        "token_in": "cookie:x", "options": "signature=v2",
    }  # fmt: skip  # a mistake for each field
    for field, text in wrong.items():
        errors = await refused(acme, view, **{field: text})
        assert list(errors) == [field]
        assert "--" not in errors[field]
        view = await form_of(acme, shown, "Edit")
    assert (await find_source(TEAM, slug="own")).settings == settings

    await hand_in(
        acme, view, map="b=score", mapping='{"email": "item.mail"}', rate="", link="", follow_ups="loud",
        token_in="header:X-Key",
    )  # fmt: skip  # some settings
    changed = await find_source(TEAM, slug="own")
    assert changed.settings == SourceSettings(
        token_in="header:X-Key", map={"b": "score"}, mapping={"email": "item.mail"}, paused=True
    )
    assert changed.secrets == ("t",)
    entry = (await audit_entries(acme.workspace, what=AuditAction.SOURCE_CHANGED))[0]
    assert (entry.who, entry.subject) == (ADMIN, "own")


async def test_a_test_shows_what_a_custom_sender_sent(acme: Acme) -> None:
    """The body of the last delivery is shown where somebody has to say where its values are."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_source(
        acme.workspace, slug="zap", provider="custom", secrets=["t"], settings=SourceSettings(token_in="bearer"),
        by=ADMIN, now=now,
    )  # fmt: skip  # what, then who and when
    await send_as_zapier(acme, {"who": "ada@example.com", "a": "`<@U1>`"})
    tested = acme.seen(await press_nth(acme, await ask(acme, "sources"), "Test", 1))
    assert """```{"who": "ada@example.com", "a": "'&lt;@U1&gt;'"}```""" in tested


async def test_mistakes_stand_under_their_fields(acme: Acme) -> None:
    """No source is created until the form is valid; a secret from the sender is stored with the source."""
    view = await form_of(acme, await ask(acme, "sources"), "Add a source")
    assert form(view)["title"] == "Source"
    right = {"slug": "hub", "provider": "hubspot", "secret": "", "map": "", "options": ""}
    for fields, field, words in (
        ({"slug": "crm"}, "slug", "the source `crm` already exists"),
        ({"slug": "Not a name!"}, "slug", "`not a name!`"),
        ({"slug": "fit"}, "slug", "fit"),
        ({"map": "hubspotscore"}, "map", "write property=type"),
        ({"map": "hubspotscore=heat"}, "map", "there is no score type `heat`"),
        ({"options": "signature=v9"}, "options", "the option `signature` is"),
        ({"provider": "salesforce"}, "options", "organization_id=00d"),
        ({"provider": "generic", "secret": "whsec_!"}, "secret", ""),
    ):
        errors = await refused(acme, view, **right | fields)
        assert list(errors) == [field]
        assert words in errors[field].casefold()
    assert [source.slug for source in await sources(acme.workspace)] == ["crm"]

    answer = await hand_in(acme, view, **right | {"secret": "client-secret-of-ours", "map": "hubspotscore=score"})
    assert "Added the source hub." in acme.seen(answer)
    hub = await find_source(TEAM, slug="hub")
    assert (hub.secrets, hub.settings.map) == (("client-secret-of-ours",), {"hubspotscore": "score"})
    view = await form_of(acme, await ask(acme, "sources"), "Add a source")
    await hand_in(acme, view, slug="pipe", provider="pipedrive", secret="pass:word")
    pipe = await find_source(TEAM, slug="pipe")
    assert (pipe.secrets, pipe.settings.username) == (("pass:word",), "pipe")


async def test_a_source_of_ids_alone_says_what_is_missing_and_what_could_not_be_read(acme: Acme) -> None:
    """Without an API token the answer says what to type; with one it shows the last failure."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    hub = await add_source(acme.workspace, slug="hub", provider="hubspot", secrets=["s"], by="U0ADMIN", now=now)
    message = await press_nth(acme, await ask(acme, "sources"), "Show", 1)
    assert acme.seen(message).endswith(
        "\nIts contacts are known by their ids alone; for addresses and names give it an API token: press Edit\n"
        "[Edit] [Test]"
    )
    await set_source(acme.workspace, slug="hub", settings=hub.settings, api_token="pat-1", by="U0ADMIN", now=now)
    await record_failure(
        acme.workspace, source="hub", id="7", because="was answered 404: there is no <such> contact", now=now
    )
    message = await press_nth(acme, await ask(acme, "sources"), "Show", 1)
    assert acme.seen(message).endswith(
        "\nAddresses and names are read through its API"
        "\nNot read ‹now›: hub:7 was answered 404: there is no &lt;such&gt; contact\n[Edit] [Test]"
    )
    assert "pat-1" not in acme.seen(message)


async def test_a_source_is_tested_with_what_it_sent_last(acme: Acme) -> None:
    """A test reads the last delivery with the current settings, item by item, and changes nothing."""
    view = await form_of(acme, await ask(acme, "sources"), "Add a source")
    await hand_in(acme, view, slug="shop", provider="generic")
    listed = await ask(acme, "sources")
    answer = await press_nth(acme, listed, "Test", 1)
    assert acme.seen(answer) == (
        "*Test of shop:* no delivery is stored yet. Send one from the sender, then test again."
    )
    source = await find_source(TEAM, slug="shop")
    acme.sandbox.crm_url, acme.sandbox.crm_secret = f"{acme.sandbox.app_url}/webhooks/{TEAM}/shop", source.secrets[0]
    ada = {"email": "ada@example.com"}
    several = [
        SET | {"id": "1"}, SET | {"id": "2", "value": 900}, SET | {"id": "3", "score": "heat"},
        SET | {"id": "4", "type": "score.add", "value": 5}, {"type": "score.clear", "contact": ada, "score": "fit"},
        {"type": "activity", "contact": ada, "activity": "demo_booked"}, {"type": "contact.upsert", "contact": ada},
        {"type": "contact.merge", "contact": {"id": "7"}, "into": ada}, {"type": "score.set", "contact": {}},
    ]  # fmt: skip  # one item of each kind
    assert (await pushed(acme, {"items": several}))["status"] == 200
    before = await acme.ledger()
    tested = await press_nth(acme, listed, "Test", 1)

    lines = acme.seen(tested).splitlines()
    assert lines[0] == "*Test of shop:* its last delivery, ‹now›, holds 9 items"
    assert lines[1:-2] == [
        "ada@example.com → score set to 80",
        "ada@example.com → quarantined: Score runs from 0 to 100; 900 is outside it",
        "ada@example.com → quarantined: there is no score type `heat`; existing: score, fit, satisfaction",
        "ada@example.com → score +5",
        "ada@example.com → fit cleared",
        "ada@example.com → activity demo_booked",
        "ada@example.com → email saved",
        "shop:7 → merged into ada@example.com",
    ]
    assert lines[-2].startswith("Quarantined: ")
    assert lines[-1] == "(This test changed nothing and sent nothing.)"
    assert await acme.ledger() == before

    many = [SET | {"id": f"many {number}"} for number in range(24)] + [SET | {"id": "bad", "value": 900}]
    assert (await pushed(acme, {"items": many}))["status"] == 200
    lines = acme.seen(await press_nth(acme, listed, "Test", 1)).splitlines()
    assert lines[1] == "ada@example.com → quarantined: Score runs from 0 to 100; 900 is outside it"
    assert lines[2:-2] == ["ada@example.com → score set to 80"] * 19
    assert lines[-2] == "… and 5 more"


async def test_a_source_is_added_with_a_token_of_its_api(acme: Acme) -> None:
    """An API token is accepted for a sender with an API; for other senders a mistake is shown under the field."""
    view = await form_of(acme, await ask(acme, "sources"), "Add a source")
    wrong = await refused(acme, view, slug="shop", provider="generic", api_token="pat-1")
    assert wrong == {"api_token": "`generic` takes no API token"}
    answer = await hand_in(acme, view, slug="hub", provider="hubspot", secret="s", api_token="pat-1")
    assert (await find_source(TEAM, slug="hub")).reads
    assert "pat-1" not in acme.seen(answer)
