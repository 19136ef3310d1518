"""Repeat requests as Slack does after a late answer: nothing is done twice."""

import asyncio
import json
from functools import partial
from urllib.parse import urlencode

import pytest

from bot.demo.sending import slack_signature
from storage.alerts.rules import alert_rules
from tests.conftest import on_both
from tests.counts import COUNTS
from tests.journeys.acme import SIGNING, Acme, button_of, entered, other

both_ways = pytest.mark.parametrize("socket_mode", [False, True], ids=["http", "socket"])
AGAIN = 3


async def repeated(acme: Acme) -> list[str]:
    """Repeat the last request three times, once alone and twice at the same time; return the answers to it."""
    sent, before = acme.sandbox.sent[-1], len(acme.answers)
    await acme.sandbox.again(sent)
    await asyncio.gather(*(acme.sandbox.again(sent, retry=number) for number in (2, 3)))
    await acme.restart()  # which finishes running work
    COUNTS["requests sent again"] += AGAIN
    return [str(call.arguments.get("text")) for call in acme.answers[before:]]


@both_ways
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("set ada +5", [("ada@example.com", "score", "add", 5_000, False)]),
        (
            "set ada fit+1 85 because great demo",
            [("ada@example.com", "fit", "add", 1_000, False), ("ada@example.com", "score", "set", 85_000, False)],
        ),
    ],
)
async def test_a_command(acme: Acme, line: str, expected: list[tuple[object, ...]]) -> None:
    """A repeated command is recorded once, and answered once."""
    await acme.ask(line)
    repeats = await repeated(acme)

    assert sorted(await acme.made_by_people()) == sorted(expected)
    assert repeats == []


async def test_clearing(acme: Acme) -> None:
    """A repeated command clears once; a missing score is not cleared again."""
    await acme.ask("clear ada fit")
    await repeated(acme)

    assert await acme.made_by_people() == [("ada@example.com", "fit", "clear", 0, False)]


@both_ways
async def test_the_undo_verb(acme: Acme) -> None:
    """A repeated `undo` does not undo the change before."""
    await acme.ask("set ada 70")
    await acme.ask("set ada 85")
    await acme.ask("undo")
    repeats = await repeated(acme)

    assert repeats == []
    assert await acme.made_by_people() == [
        ("ada@example.com", "score", "set", 70_000, False),
        ("ada@example.com", "score", "set", 85_000, True),
    ]


@both_ways
async def test_the_undo_button(acme: Acme) -> None:
    """A repeated click undoes once, and does not undo the undo."""
    await acme.press(await acme.ask("set ada 85"), "Undo")
    repeats = await repeated(acme)

    assert repeats == []
    assert await acme.value("ada") == 62_000


@both_ways
async def test_a_choice(acme: Acme) -> None:
    """A repeated click on a choice adds once."""
    await acme.press(await acme.ask("set grace +5"), "Grace Kelly · Monaco · kelly@example.com")
    repeats = await repeated(acme)

    assert repeats == []
    assert await acme.made_by_people() == [("kelly@example.com", "score", "add", 5_000, False)]


@both_ways
async def test_an_offer(acme: Acme) -> None:
    """A repeated click on *Add … and set* creates one contact and sets its score once."""
    offer = await acme.ask("set zoe@example.com +5")
    await acme.press(offer, "Add zoe@example.com and add 5 to Score")
    repeats = await repeated(acme)

    assert repeats == []
    assert await acme.made_by_people() == [("zoe@example.com", "score", "add", 5_000, False)]


@both_ways
async def test_a_form(acme: Acme) -> None:
    """A repeated form is recorded once."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await acme.hand_in(view, score_score="85", reason="great demo")
    repeats = await repeated(acme)

    assert repeats == []
    assert await acme.made_by_people() == [("ada@example.com", "score", "set", 85_000, False)]


@both_ways
async def test_a_form_that_is_opened(acme: Acme) -> None:
    """A repeated click opens one form; Slack's error for the second changes nothing."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await repeated(acme)

    assert acme.sandbox.open_views() == [view]


async def test_two_clicks_on_a_choice(acme: Acme) -> None:
    """A double click on the button of a choice runs its request once."""
    choice = await acme.ask("set grace +5")
    button = button_of(choice, "Grace Kelly · Monaco · kelly@example.com")
    click = partial(acme.sandbox.click, choice.id, button["action_id"], block_id=button["block_id"])
    await asyncio.gather(click(), click())
    await acme.restart()

    assert await acme.made_by_people() == [("kelly@example.com", "score", "add", 5_000, False)]


async def test_the_same_bytes(acme: Acme) -> None:
    """A request that is replayed byte for byte, with its signature, does nothing twice."""
    sent = await acme.written(lambda: acme.sandbox.say("/score set ada +5"))
    body = urlencode(sent.payload).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | slack_signature(
        body, secret=SIGNING, timestamp=int(acme.sandbox.clock.now())
    )
    statuses = [(await acme.sandbox.raw(body=body, headers=headers)).status for _ in range(3)]
    await acme.restart()

    assert statuses == [200] * 3
    assert await acme.made_by_people() == [("ada@example.com", "score", "add", 5_000, False)]


async def test_two_commands_of_the_same_words(acme: Acme) -> None:
    """The same line typed twice is recorded twice: repeats are recognized by Slack's id of the request."""
    await acme.ask("set ada +5")
    await acme.ask("set ada +5")

    assert await acme.value("ada") == 72_000


@on_both
async def test_two_people_at_once(acme: Acme) -> None:
    """Twenty simultaneous requests are each recorded, and each is answered with its own outcome."""
    lines = [("/score set ada +1", user) for user in ("U0REP", "U0JANE")] * 10
    before = len(acme.answers)
    await asyncio.gather(*(acme.sandbox.say(line, user=user) for line, user in lines))
    await acme.sandbox.wait_for(lambda: len(acme.answers) == before + 20)
    texts = [call.arguments["text"] for call in acme.answers[before:]]

    assert sorted(texts) == sorted(
        f"Ada Lovelace · Score {score} → {score + 1} ({'hot' if score >= 79 else 'warm'})" for score in range(62, 82)
    )
    assert await acme.value("ada") == 82_000


@both_ways
async def test_what_is_no_change_of_a_score(acme: Acme) -> None:
    """A repeated command adds one rule, and a repeated event asks the inviter once."""
    await acme.ask("alerts add when score crosses 90")
    before = len(acme.answers)
    await acme.sandbox.again(retry=1)
    acme.sandbox.world.channels["C0SUCCESS"].members.append(acme.sandbox.world.bot_user)
    joined = {"type": "member_joined_channel", "user": acme.sandbox.world.bot_user, "channel": "C0SUCCESS"}
    await acme.sandbox.event({**joined, "team": "T0DEMO", "inviter": "U0ADMIN"})
    await acme.sandbox.again(retry=1)
    await acme.restart()

    assert acme.answers[before:] == []
    assert [alert_rule.region.low for alert_rule in (await alert_rules(acme.workspace))[1:]] == [90_000]
    assert sum(call.method == "chat.postEphemeral" for call in acme.sandbox.calls) == 1


async def test_a_form_handed_in_twice(acme: Acme) -> None:
    """Two clicks on a form's button are one request, although each has its own trigger."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await acme.hand_in(view, score_score="85")
    sent = acme.sandbox.sent[-1]
    await acme.sandbox.again(other(sent, trigger_id="another"))
    await acme.restart()

    assert await acme.made_by_people() == [("ada@example.com", "score", "set", 85_000, False)]


@both_ways
async def test_the_same_form_with_a_mistake_mended(acme: Acme) -> None:
    """A refused form is a new request once it is corrected, and the same request if it is repeated."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await acme.sandbox.submit(view.id, entered(view, {"score_satisfaction": "4.7"}))
    sent = acme.sandbox.sent[-1]
    (still_open,) = acme.sandbox.open_views()
    await acme.hand_in(still_open, score_satisfaction="4.5")
    response = await acme.sandbox.again(sent, retry=1)

    assert json.loads(response.body)["response_action"] == "errors"
    assert await acme.made_by_people() == [("ada@example.com", "satisfaction", "set", 4_500, False)]
