"""Send commands, clicks and events as Slack does, and show the answers."""

import json
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from tests.slack.foreign import ForeignSlack
from tests.slack.product import Product, answering, button, never, option, section


async def test_a_slash_command_is_signed_and_complete(sandbox: ForeignSlack, product: Product) -> None:
    """A command has exactly Slack's form fields, and a signature that Slack's own verifier accepts."""
    response = await sandbox.command("/score", "set ada 85", user="U0GUEST", channel="C0SALES")
    received = product.last

    assert (response.status, response.note, received.path, received.signed) == (200, "", "/slack/events", True)
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert received.fields == {
        "token": received.fields["token"],
        "team_id": "T0DEMO",
        "team_domain": "acme",
        "channel_id": "C0SALES",
        "channel_name": "sales",
        "user_id": "U0GUEST",
        "user_name": "gus",
        "command": "/score",
        "text": "set ada 85",
        "api_app_id": "A0APP",
        "is_enterprise_install": "false",
        "response_url": received.fields["response_url"],
        "trigger_id": received.fields["trigger_id"],
    }


async def test_the_signature_follows_the_clock(sandbox: ForeignSlack, product: Product) -> None:
    """After the clock moves by a day, requests carry the new time and are still correctly signed."""
    sandbox.clock.advance(86_400)
    await sandbox.command("/score", user="U0REP", channel="C0SALES")

    assert product.last.signed
    assert int(product.last.headers["X-Slack-Request-Timestamp"]) == pytest.approx(sandbox.clock.now(), abs=5)


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (never, "/score failed with the error operation_timeout"),
        (answering("Oops", status=500), "/score failed with the error dispatch_failed"),
    ],
)
async def test_a_bad_answer_is_said(sandbox: ForeignSlack, product: Product, answer: Any, note: str) -> None:
    """For a late or broken answer Slack tells the sender, and nothing is posted."""
    sandbox.patience = 0.05
    product.answer = answer
    before = sandbox.messages("C0SALES", "U0REP")
    response = await sandbox.command("/score", user="U0REP", channel="C0SALES")

    assert response.note == note
    assert sandbox.messages("C0SALES", "U0REP") == before


async def test_nobody_listens(sandbox: ForeignSlack) -> None:
    """If the product is down, the command fails with a note."""
    response = await sandbox.command("/score", user="U0REP", channel="C0SALES")

    assert (response.status, response.note) == (0, "/score failed with the error dispatch_failed")


async def test_typing_is_sent_as_slack_sends_it(sandbox: ForeignSlack, product: Product) -> None:
    """Typed text arrives escaped, with addresses, links, people and channels in angle brackets."""
    typed = "/score filter score>=80 & ada@example.com owner:@jane in #sales @nobody https://acme.example/x"
    await sandbox.say(typed, user="U0REP", channel="C0SALES")

    assert product.last.fields["text"] == (
        "filter score&gt;=80 &amp; <mailto:ada@example.com|ada@example.com> owner:<@U0JANE|jane> in <#C0SALES|sales> "
        "@nobody <https://acme.example/x>"
    )


async def test_saying_something_else(sandbox: ForeignSlack, product: Product) -> None:
    """Plain text becomes a message for everybody; Slack refuses an unknown command."""
    await sandbox.say("Is <b> bold?", user="U0REP", channel="C0SALES")
    response = await sandbox.say("/scroe top", user="U0REP", channel="C0SALES")

    assert sandbox.messages("C0SALES", "U0JANE")[-1].text == "Is &lt;b&gt; bold?"
    assert (response.note, product.received) == ("/scroe is not a valid command.", [])


async def test_a_command_in_direct_messages(sandbox: ForeignSlack, product: Product) -> None:
    """Typing a command in the app's direct messages opens that channel."""
    await sandbox.command("/score", user="U0JANE", channel="D0JANE")

    assert (product.last.fields["channel_id"], product.last.fields["channel_name"]) == ("D0JANE", "directmessage")


async def test_one_cannot_speak_where_one_is_not(sandbox: ForeignSlack) -> None:
    """The outsider is only in the shared channel, and unknown users are in no channel."""
    with pytest.raises(LookupError, match="U0OUT is in no channel 'C0SALES'"):
        await sandbox.command("/score", user="U0OUT", channel="C0SALES")
    with pytest.raises(LookupError, match="nobody called 'U0NOBODY'"):
        await sandbox.command("/score", user="U0NOBODY", channel="C0SALES")


async def post_message(client: AsyncWebClient, *blocks: dict[str, Any], channel: str = "C0SALES") -> str:
    return str((await client.chat_postMessage(channel=channel, text="Hello", blocks=list(blocks)))["ts"])


async def test_a_click_on_a_message(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """A click carries its message, its channel and its button."""
    block = {"type": "actions", "block_id": "b", "elements": [button(value="7", style="danger")]}
    ts = await post_message(client, block)
    await sandbox.click(ts, "undo", user="U0REP")
    sent = product.last.fields
    acted = sent["actions"][0]

    assert product.last.signed
    assert (sent["type"], sent["enterprise"], sent["is_enterprise_install"]) == ("block_actions", None, False)
    assert sent["user"] == {"id": "U0REP", "username": "robin", "name": "robin", "team_id": "T0DEMO"}
    assert (sent["team"], sent["api_app_id"]) == ({"id": "T0DEMO", "domain": "acme"}, "A0APP")
    assert sent["channel"] == {"id": "C0SALES", "name": "sales"}
    assert sent["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": "C0SALES",
        "is_ephemeral": False,
    }
    assert (sent["message"]["ts"], sent["message"]["blocks"]) == (ts, [block])
    assert sent["state"] == {"values": {}}
    assert {key: acted[key] for key in ("type", "action_id", "block_id", "value", "style")} == {
        "type": "button",
        "action_id": "undo",
        "block_id": "b",
        "value": "7",
        "style": "danger",
    }
    assert sent["trigger_id"]
    assert sent["response_url"].startswith(f"{sandbox.url}/response/")


async def test_a_click_on_an_ephemeral_message(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """For an ephemeral message Slack sends the place instead of the message; nobody else can click it."""
    question = [section("Sure?", accessory=button())]
    await client.chat_postEphemeral(channel="C0SALES", user="U0REP", text="Sure?", blocks=question)
    handle = sandbox.messages("C0SALES", "U0REP")[-1].id
    await sandbox.click(handle, "undo", user="U0REP")

    assert "message" not in product.last.fields
    assert product.last.fields["container"]["is_ephemeral"] is True
    with pytest.raises(LookupError, match="U0JANE sees no message"):
        await sandbox.click(handle, "undo", user="U0JANE")


async def test_a_click_a_moment_late(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """A button clicked while its message changes is delivered with the new message, but not after a second change."""
    ts = await post_message(client, section("Who?", accessory=button()))
    await client.chat_update(channel="C0SALES", ts=ts, text="Claimed", blocks=[section("Claimed")])
    await sandbox.click(ts, "undo", user="U0JANE")

    assert product.last.fields["actions"][0]["action_id"] == "undo"
    assert product.last.fields["message"]["text"] == "Claimed"
    await client.chat_update(channel="C0SALES", ts=ts, text="Done", blocks=[section("Done")])
    with pytest.raises(LookupError, match="Nothing here has the action_id 'undo'"):
        await sandbox.click(ts, "undo", user="U0JANE")


async def test_a_click_from_another_organisation(
    sandbox: ForeignSlack, product: Product, client: AsyncWebClient
) -> None:
    """In a click, `team` is the installed workspace; only the user's own team says that the person is an outsider."""
    ts = await post_message(client, section("Hello", accessory=button()), channel="C0SHARED")
    await sandbox.click(ts, "undo", user="U0OUT")

    assert (product.last.fields["team"]["id"], product.last.fields["user"]["team_id"]) == ("T0DEMO", "T0OTHER")


async def test_choices_in_a_message(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """A choice is sent in the format of its element, and stays in the state of the next click."""
    select = {"type": "static_select", "action_id": "type", "options": [option("fit"), option("score")]}
    person = {"type": "users_select", "action_id": "owner", "initial_user": "U0JANE"}
    more = {"type": "overflow", "action_id": "more", "options": [option("history")]}
    ts = await post_message(client, {"type": "actions", "block_id": "b", "elements": [select, person, more, button()]})
    await sandbox.click(ts, "type", user="U0REP", selected="fit")
    chosen = product.last.fields["actions"][0]["selected_option"]
    await sandbox.click(ts, "more", user="U0REP", selected="history")
    overflow = product.last.fields["actions"][0]["selected_option"]
    await sandbox.click(ts, "undo", user="U0REP", values={"b": {"owner": "U0REP"}})

    assert (chosen, overflow) == (option("fit"), option("history"))
    assert product.last.fields["state"]["values"] == {
        "b": {
            "type": {"type": "static_select", "selected_option": option("fit")},
            "owner": {"type": "users_select", "selected_user": "U0REP"},
        }
    }
    with pytest.raises(LookupError, match="offers no option 'renewal'"):
        await sandbox.click(ts, "type", user="U0REP", selected="renewal")
    with pytest.raises(LookupError, match="Nothing here has the action_id 'redo'"):
        await sandbox.click(ts, "redo", user="U0REP")


async def test_a_click_that_fails(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """If a click fails, the person is told that the app had a problem."""
    ts = await post_message(client, section("Hello", accessory=button()))
    product.answer = answering("", status=404)
    response = await sandbox.click(ts, "undo", user="U0REP")

    assert (response.status, response.note) == (404, "Contact Score had a problem: dispatch_failed")


async def test_a_shortcut(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """A shortcut in the menu of a message carries the message."""
    ts = await post_message(client, section("Ada called"))
    await sandbox.shortcut("score_author", user="U0REP", message=ts)
    payload = product.last.fields

    assert (payload["type"], payload["callback_id"], payload["message"]["ts"]) == ("message_action", "score_author", ts)


async def test_events(sandbox: ForeignSlack, product: Product) -> None:
    """An event has an envelope, is signed JSON, and says whether the channel is shared."""
    event = {"type": "member_joined_channel", "channel": "C0SHARED", "user": "U0BOT"}
    await sandbox.event(event)
    sent = product.last.fields

    assert (product.last.signed, product.last.headers["Content-Type"]) == (True, "application/json")
    assert (sent["type"], sent["team_id"], sent["is_ext_shared_channel"]) == ("event_callback", "T0DEMO", True)
    assert {key: sent["event"][key] for key in event} == event
    assert sent["authorizations"][0]["user_id"] == "U0BOT"


async def test_the_same_again(sandbox: ForeignSlack, product: Product) -> None:
    """A retry has the same body, a new signature and Slack's two retry headers."""
    await sandbox.event({"type": "app_home_opened", "tab": "home", "user": "U0REP"})
    first = product.last
    sandbox.clock.advance(60)
    await sandbox.again(retry=2, reason="http_error")
    second = product.last

    assert (second.body, second.signed) == (first.body, True)
    assert second.headers["X-Slack-Request-Timestamp"] != first.headers["X-Slack-Request-Timestamp"]
    assert (second.headers["X-Slack-Retry-Num"], second.headers["X-Slack-Retry-Reason"]) == ("2", "http_error")
    assert [sent.payload for sent in sandbox.sent] == [json.loads(first.body)] * 2


async def test_a_hostile_sender(sandbox: ForeignSlack, product: Product) -> None:
    """`raw` sends its arguments unchanged and signs nothing."""
    headers = {"X-Slack-Signature": "v0=00", "X-Slack-Request-Timestamp": "1"}
    product.answer = answering("no", status=401)
    response = await sandbox.raw("/slack/events", body=b"command=/score", headers=headers)

    assert (response.status, response.body, product.last.signed) == (401, "no", False)


async def test_waiting_never_polls(sandbox: ForeignSlack, client: AsyncWebClient) -> None:
    """`wait_for` returns the predicate's result at once or after a change, and times out."""
    ts = await post_message(client, section())
    messages = await sandbox.wait_for(lambda: [m for m in sandbox.messages("C0SALES", "U0REP") if m.ts == ts])

    assert [message.ts for message in messages] == [ts]
    with pytest.raises(TimeoutError):
        await sandbox.wait_for(lambda: False, timeout=0.01)
