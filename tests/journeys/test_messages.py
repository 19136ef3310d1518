"""Direct messages to the app and mentions of it are answered like a line after `/score`, and to their sender alone."""

import json
from dataclasses import replace

from bot.demo.sending import Response
from bot.demo.world import Message
from storage.domain.people import Setters
from storage.workspaces import choose_setters
from tests.journeys.acme import REP, SALES, Acme
from tests.journeys.test_refusals import CONDITIONS, INACTIVE, SHARED, UNSEEN, WORDS
from tests.slack.faults import Fault
from tests.slack.foreign import ReceivedCall

DIRECT = "D0REP"
ANSWERS = ("chat.postMessage", "chat.postEphemeral", "response_url", "views.open")


def answers(acme: Acme) -> list[ReceivedCall]:
    """Return the answers to messages so far."""
    return [call for call in acme.sandbox.calls if call.method in ANSWERS]


async def wait_for_answers(acme: Acme, since: int, number: int) -> list[ReceivedCall]:
    """Return the answers after the first *since*, as soon as there are *number*."""
    await acme.sandbox.wait_for(lambda: len(answers(acme)) >= since + number)
    return answers(acme)[since:]


async def write(acme: Acme, text: str, *, user: str = REP, channel: str = DIRECT) -> ReceivedCall:
    """Write a message, and return the app's answer."""
    before = len(answers(acme))
    await acme.sandbox.say(text, user=user, channel=channel)
    return (await acme.sandbox.wait_for(lambda: answers(acme)[before:]))[0]


def latest(acme: Acme, *, user: str = REP, channel: str = DIRECT) -> Message:
    """Return the newest message that *user* sees in a channel."""
    return acme.sandbox.messages(channel, user)[-1]


async def test_a_direct_message_is_a_line(acme: Acme) -> None:
    """The answer to a direct message is posted below it, with working buttons; a form says what to type."""
    call = await write(acme, "ada")
    assert (call.method, call.arguments["channel"]) == ("chat.postMessage", DIRECT)
    assert acme.seen(latest(acme)).startswith("*Ada Lovelace*")
    await write(acme, "set ada@example.com 71 because great demo")
    receipt = latest(acme)
    assert acme.seen(receipt).startswith("Ada Lovelace · Score 62 → *71* (warm)")
    assert acme.seen(await acme.press(receipt, "Undo")).startswith("Ada Lovelace · Score 71 → *62* (warm)")
    await write(acme, "set")
    assert acme.seen(latest(acme)) == "A message cannot open a form. Type it: `/score set ada@example.com 85`"
    await write(acme, "frobnicate")
    assert acme.seen(latest(acme)).startswith("No contact is called “frobnicate”.")
    assert len(await acme.made_by_people()) == 1


async def test_a_mention_is_answered_to_its_sender_alone(acme: Acme) -> None:
    """The answer to a mention is seen by its sender alone, in the thread if the message is in one.

    If Slack does not show it there, it is sent by direct message, outside of any thread.
    """
    call = await write(acme, "@contact_score ada", channel=SALES)
    assert call.method == "chat.postEphemeral"
    assert {name: call.arguments.get(name) for name in ("channel", "user", "thread_ts")} == {
        "channel": SALES, "user": REP, "thread_ts": None,
    }  # fmt: skip  # one line
    assert acme.seen(latest(acme, channel=SALES)).startswith("*Ada Lovelace*")
    assert "Ada" not in str(latest(acme, user="U0JANE", channel=SALES))
    event = {
        "type": "app_mention", "user": REP, "team": "T0DEMO", "channel": SALES, "text": "<@U0BOT> top 5",
        "ts": "1700000000.000200", "thread_ts": "1700000000.000100",
    }  # fmt: skip  # the fields of one message
    before = len(answers(acme))
    await acme.sandbox.event(event)
    (call,) = await acme.sandbox.wait_for(lambda: answers(acme)[before:])
    assert (call.arguments["thread_ts"], call.arguments["text"]) == ("1700000000.000100", "Top 2 by Score")

    acme.sandbox.faults.add(Fault(method="chat.postEphemeral", kind="unknown_method"))
    await acme.sandbox.event(event | {"ts": "1700000000.000300"})
    direct = (await wait_for_answers(acme, before + 1, 2))[1]
    assert (direct.arguments["channel"], direct.arguments.get("thread_ts")) == (DIRECT, None)


async def send(acme: Acme, **fields: object) -> Response:
    """Send the event of a direct message with other fields."""
    acme.sandbox.world.im(REP)
    event = {
        "type": "message", "channel_type": "im", "user": REP, "team": "T0DEMO", "channel": DIRECT,
        "text": "set ada@example.com +1", "ts": "1700000000.000300",
    }  # fmt: skip  # the fields of one message
    return await acme.sandbox.event(event | fields)


async def test_what_is_no_line_of_a_person_is_left_alone(acme: Acme) -> None:
    """Edits, messages of apps and of the app itself, and messages of a channel are not answered."""
    before = len(answers(acme))
    ignored: tuple[dict[str, object], ...] = (
        {"subtype": "message_changed"},
        {"subtype": "bot_message", "bot_id": "B0OTHER"},
        {"bot_id": "B0BOT", "user": "U0BOT"},
        {"channel": SALES, "channel_type": "channel"},
        {"type": "app_mention"},  # Slack reports a mention in direct messages as a message too
    )
    for number, fields in enumerate(ignored):
        assert (await send(acme, ts=f"1700000001.{number:06}", **fields)).status == 200
    await acme.sandbox.say("Who calls Ada?", channel=SALES)
    assert (await send(acme)).status == 200
    await acme.sandbox.wait_for(lambda: answers(acme)[before:])
    await acme.restart()  # after the stop nothing is running
    assert len(answers(acme)) == before + 1
    assert len(await acme.made_by_people()) == 1


async def test_a_message_that_slack_sends_again_counts_once(acme: Acme) -> None:
    """Slack's retries of a message, also with another event id, record one change."""
    await send(acme)
    await acme.sandbox.again()
    await send(acme)
    await acme.restart()  # after the stop nothing is running
    assert len(await acme.made_by_people()) == 1


async def test_who_may_not_see_scores_is_refused(acme: Acme) -> None:
    """A mention or a direct message gets one refusal without data, and changes nothing, for every reason to refuse."""
    world, ledger, refused = acme.sandbox.world, await acme.ledger(), 0
    member, channel = world.people[REP], world.channels[SALES]
    for condition in CONDITIONS.values():
        if not condition.commands or condition.channel != SALES:
            continue
        world.people[REP], world.channels[SALES] = replace(member), replace(channel)
        condition.becomes(acme)
        acme.sandbox.clock.advance(31)  # expire the cached lookup
        before = len(answers(acme))
        await acme.sandbox.say("@contact_score set ada 5", channel=SALES)
        is_reachable = condition.sentence not in (SHARED, UNSEEN, INACTIVE)  # Slack opens no direct messages with these
        if is_reachable:
            await acme.sandbox.say("set ada 5", channel=DIRECT)
        calls = await wait_for_answers(acme, before, 1 + is_reachable)
        assert {call.arguments["text"] for call in calls} == {condition.sentence}
        assert [call for call in calls if WORDS.search(json.dumps(call.arguments, ensure_ascii=False))] == []
        acme.sandbox.faults.clear()
        refused += len(calls)

    assert (refused, await acme.ledger()) == (13, ledger)


async def test_without_a_role_a_direct_message_names_the_admins(acme: Acme) -> None:
    """Where only people with a role may see scores, the refusal by direct message names the people to ask."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await choose_setters(acme.workspace, setters=Setters.NAMED, by="U0ADMIN", now=now)
    await write(acme, "ada")

    assert acme.seen(latest(acme)) == (
        "Scores are only for people with a role here, and you have none. Ask <@U0ADMIN>."
    )
