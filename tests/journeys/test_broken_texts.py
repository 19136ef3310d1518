"""Refuse text that cannot be stored, is too long or too deeply nested, in one sentence, on every way in from Slack."""

import json
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest

from bot.demo.sending import Response, slack_signature
from storage.ledger.verify import verify_next
from tests.journeys.acme import SIGNING, Acme, entered

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NUL = "What you sent holds the character NUL: remove it"
HALF = "What you sent holds half of a character (an unpaired surrogate): remove it"
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LINES = [
    '/score add c@x.example name:"c\0d"',
    "/score add c\0d@x.example",
    "/score set ada 85 because c\0d",
    "/score set ada\0 85",
    "/score view a\0da",
    "/score crm:47\00011",
    "/score \0",
    "/score filter name~a\0",
    "/score segment save a\0 score>=80",
    "/score alerts add when score crosses 80 in #sales\0",
    "/score history ada fi\0t",
]


async def send(acme: Acme, payload: dict[str, Any]) -> Response:
    """Send a request as Slack does, with any content."""
    return await send_body(acme, urlencode(payload).encode())


async def send_body(acme: Acme, body: bytes, *, kind: dict[str, str] = FORM) -> Response:
    """Send bytes with Slack's signature."""
    headers = slack_signature(body, secret=SIGNING, timestamp=int(acme.sandbox.clock.now()))
    return await acme.sandbox.raw(body=body, headers=kind | headers)


async def post_payload(acme: Acme, payload: dict[str, Any]) -> str:
    """Send a payload, and return the text of the answer."""
    before = len(acme.answers)
    assert (await send(acme, payload)).status == 200
    (answer, *_) = await acme.sandbox.wait_for(lambda: acme.answers[before:])
    return str(answer.arguments["text"])


async def test_no_line_holds_nul(acme: Acme) -> None:
    """NUL in the line of any verb is refused with the same sentence, and nothing is written."""
    for line in LINES:
        sent = await acme.written(lambda line=line: acme.sandbox.say(line))  # type: ignore[misc]  # bound at once
        assert await post_payload(acme, dict(sent.payload)) == NUL, line

    assert await acme.made_by_people() == []
    assert (await verify_next(acme.workspace)).differences == ()


@pytest.mark.parametrize(("broken", "expected"), [("c\0d", NUL), ("c\ud83d", HALF)], ids=["NUL", "half"])
async def test_no_form_and_no_button_holds_it(acme: Acme, broken: str, expected: str) -> None:
    """NUL is refused in forms, which send JSON, and in buttons and menus."""
    form = await acme.press_for_form(await acme.ask("ada"), "Set")
    values = entered(form, {"score_score": "85", "reason": "a reason"})
    sent = await acme.written(lambda: acme.sandbox.submit(form.id, values))
    payload = json.loads(json.dumps(sent.payload))
    (reason,) = payload["view"]["state"]["values"]["reason"].values()
    reason["value"] = broken
    assert await post_payload(acme, {"payload": json.dumps(payload)}) == expected

    message = await acme.ask("ada")
    action = message.blocks[-1]["elements"][0]
    sent = await acme.written(
        lambda: acme.sandbox.click(message.id, action["action_id"], block_id=message.blocks[-1]["block_id"])
    )
    payload = json.loads(json.dumps(sent.payload))
    payload["actions"][0]["value"] = broken
    assert await post_payload(acme, {"payload": json.dumps(payload)}) == expected

    assert await acme.made_by_people() == []
    assert (await verify_next(acme.workspace)).differences == ()


async def test_a_line_of_any_length_has_one_answer(acme: Acme) -> None:
    """A text longer than any name is refused in the same sentence on both databases."""
    lines = [
        "{}",
        "view {}",
        "set {} 85",
        "add {}@x.example",
        "clear {}",
        "top {}",
        "history {}",
        "why {} fit",
        "{} 85",
    ]
    words = [word for length in (600, 50_001) for word in ("x" * length, "x " * (length // 2), "\ufdfa" * length)]
    sent = await acme.written(lambda: acme.sandbox.say("/score ada"))
    for line, word in product(lines, words):
        answer = await post_payload(acme, {**sent.payload, "text": line.format(word)})
        assert "could not do that" not in answer, line
        assert "\n" not in answer, line
        assert len(answer) < 3000, line


@on_sqlite
async def test_a_payload_of_any_depth_is_refused(acme: Acme) -> None:
    """A signed payload nested too deeply is answered 400 with one line; a less deep one has no effect."""
    for depth, kind in product([700, 950, 1000, 5000, 100_000], ["payload", "event", "metadata"]):
        await check_deep_payload(acme, depth, kind)


async def check_deep_payload(acme: Acme, depth: int, kind: str) -> None:
    """Send a payload of this depth, and check the answer."""
    deep = "[" * depth + "]" * depth
    if kind == "event":
        body = b'{"type": "event_callback", "event": {"type": "app_mention", "user": %s}}' % deep.encode()
        response = await send_body(acme, body, kind={"Content-Type": "application/json"})
    else:
        view = {"id": "V1", "type": "modal", "callback_id": "set", "private_metadata": deep, "state": {"values": {}}}
        payload = {"type": "view_submission", "user": {"id": "U0REP"}, "view": view if kind == "metadata" else {"a": 0}}
        text = json.dumps(payload).replace('{"a": 0}', deep)
        response = await send_body(acme, urlencode({"payload": text}).encode())

    assert response.status in (200, 400)
    if depth >= 5000 and kind != "metadata":  # the metadata is a string in the payload, and the app parses it
        assert (response.status, response.body) == (400, "The payload is nested too deep.")
