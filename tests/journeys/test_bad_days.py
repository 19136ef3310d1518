"""While Slack is slow, busy or broken, changes are recorded once, and people are told wherever that is possible."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from storage.db.database import current_database
from tests.journeys.acme import REP, SALES, Acme, button_of, entered
from tests.slack.faults import Fault
from tests.storage import raw

BUTTONS = "\n[Undo] [History]"
UNKNOWN = "I could not find out from Slack who you are, so nothing is shown. Try again in a minute."
UNSEEN = (
    "I cannot see who is in this conversation, so nothing is shown here."
    " Invite me with `/invite @Contact Score`, or ask me in our direct messages."
)
REPAIR = "Ask whoever runs Contact Score to fix that, then try again."
TYPED = "Try again, or type it: `/score set ada@example.com 85`"
ONCE = [("ada@example.com", "score", "add", 5_000, False)]


def tried(acme: Acme, method: str) -> int:
    """Return the number of calls of a method."""
    return sum(call.method == method for call in acme.sandbox.calls)


def shown_texts(acme: Acme) -> list[str]:
    """Return the app's texts for the rep in the channel."""
    return [acme.seen(message) for message in acme.sandbox.messages(SALES, REP) if message.user == "U0BOT"]


@pytest.mark.slow
async def test_a_busy_slack_is_asked_again(acme: Acme) -> None:
    """After 429 with Retry-After the answer comes later, and the change is made once."""
    acme.sandbox.faults.add(Fault(method="response_url", kind="rate_limited", retry_after=1))
    await acme.sandbox.say("/score set ada +5")
    await acme.sandbox.wait_for(lambda: tried(acme, "response_url") == 2)
    first, second = [call for call in acme.sandbox.calls if call.method == "response_url"]
    await acme.service.stop()

    assert second.at - first.at >= 1
    assert shown_texts(acme) == ["Ada Lovelace · Score 62 → *67* (warm)" + BUTTONS]


@pytest.mark.slow
async def test_a_slack_that_stays_busy(acme: Acme) -> None:
    """After three attempts the answer is sent by direct message; the change is made once."""
    acme.sandbox.faults.add(Fault(method="response_url", kind="rate_limited", times=3, retry_after=0))
    await acme.sandbox.say("/score set ada +5")
    receipt = await acme.sandbox.wait_for(lambda: acme.sandbox.messages("D0REP"))

    assert [acme.seen(message) for message in receipt] == ["Ada Lovelace · Score 62 → *67* (warm)" + BUTTONS]
    assert (tried(acme, "response_url"), shown_texts(acme)) == (3, [])
    assert await acme.made_by_people() == ONCE


@pytest.mark.parametrize("kind", ["server_error", "no_answer", "dropped_after_accepting"])
async def test_an_answer_that_fails_is_sent_again(acme: Acme, kind: str) -> None:
    """The requester sees the answer at least once, and the change is recorded once."""
    acme.sandbox.faults.add(Fault(method="response_url", kind=kind))  # type: ignore[arg-type]  # a word of the table
    await acme.sandbox.say("/score set ada +5")
    sent = acme.sandbox.sent[-1]
    await acme.sandbox.wait_for(lambda: tried(acme, "response_url") == 2)
    await acme.sandbox.again(sent)
    await acme.restart()

    expected = ["Ada Lovelace · Score 62 → *67* (warm)" + BUTTONS] * (2 if kind == "dropped_after_accepting" else 1)
    assert (tried(acme, "response_url"), shown_texts(acme), acme.sandbox.messages("D0REP")) == (2, expected, [])
    assert await acme.made_by_people() == ONCE


@pytest.mark.slow
async def test_an_answer_that_fails_for_good_is_a_direct_message(acme: Acme) -> None:
    """After three attempts the answer is sent by direct message, also if it would have replaced a message."""
    receipt = await acme.ask("set ada +5")
    acme.sandbox.faults.add(Fault(method="response_url", kind="server_error", times=2))
    acme.sandbox.faults.add(Fault(method="response_url", kind="no_answer"))
    await acme.sandbox.click(receipt.id, button_of(receipt, "Undo")["action_id"])
    (undone,) = await acme.sandbox.wait_for(lambda: acme.sandbox.messages("D0REP"))

    assert acme.seen(undone) == "Ada Lovelace · Score 67 → *62* (warm) · undone" + BUTTONS
    assert tried(acme, "response_url") == 4


async def test_an_answer_that_hangs_holds_up_nobody(acme: Acme) -> None:
    """While one answer waits for Slack, other requests are served."""
    acme.sandbox.faults.add(Fault(method="response_url", kind="late"))
    await acme.sandbox.say("/score set ada +5")
    await acme.sandbox.wait_for(lambda: acme.sandbox.faults.held)
    text = acme.seen(await acme.ask("set kelly 85", user="U0JANE"))
    acme.sandbox.faults.release()

    assert text == "Grace Kelly · Score — → *85* (hot)" + BUTTONS
    assert await acme.value("ada") == 67_000


@pytest.mark.parametrize("method", ["users.info", "conversations.info"])
async def test_the_acknowledgement_comes_before_the_lookups(acme: Acme, method: str) -> None:
    """A command is acknowledged at once; nothing is shown or changed before person and channel are looked up."""
    acme.sandbox.faults.add(Fault(method=method, kind="late"))
    response = await acme.sandbox.say("/score set ada +5")
    await acme.sandbox.wait_for(lambda: acme.sandbox.faults.held)
    meanwhile = (acme.answers, await acme.made_by_people(), shown_texts(acme))
    _, call = await acme.answered(_releaser(acme))

    assert (response.status, response.body, response.note) == (200, "", "")
    assert meanwhile == ([], [], [])
    assert call.arguments["text"] == "Ada Lovelace · Score 62 → 67 (warm)"
    assert await acme.made_by_people() == ONCE


@pytest.mark.parametrize("label", ["Undo", "History"])
async def test_a_click_is_acknowledged_before_the_lookups(acme: Acme, label: str) -> None:
    """A click is acknowledged at once too."""
    receipt = await acme.ask("set ada +5")
    acme.sandbox.clock.advance(31)  # expire the cached lookup
    acme.sandbox.faults.add(Fault(method="users.info", kind="late"))
    before = len(acme.answers)
    action = next(e["action_id"] for e in receipt.blocks[1]["elements"] if e["text"]["text"] == label)
    response = await acme.sandbox.click(receipt.id, action)
    await acme.sandbox.wait_for(lambda: acme.sandbox.faults.held)
    meanwhile = (len(acme.answers), await acme.made_by_people())
    await acme.answered(_releaser(acme))

    assert (response.status, response.body) == (200, "")
    assert meanwhile == (before, ONCE)


@pytest.mark.slow
async def test_a_form_is_acknowledged_in_time(acme: Acme) -> None:
    """A form is closed within Slack's three seconds, and the receipt comes later."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    acme.sandbox.clock.advance(31)
    acme.sandbox.faults.add(Fault(method="users.info", kind="late"))
    before = len(acme.answers)
    response = await acme.sandbox.submit(view.id, entered(view, {"score_score": "85"}))
    meanwhile = (len(acme.answers), acme.sandbox.open_views(), await acme.made_by_people())
    _, call = await acme.answered(_releaser(acme))

    assert (response.status, response.body, response.note) == (200, "", "")
    assert meanwhile == (before, [], [])
    assert call.arguments["text"] == "Ada Lovelace · Score 62 → 85 (hot)"


@pytest.mark.slow
async def test_a_mistake_in_a_form_that_was_acknowledged_already(acme: Acme) -> None:
    """A mistake in a form that is already closed is sent as a message."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    acme.sandbox.clock.advance(31)
    acme.sandbox.faults.add(Fault(method="users.info", kind="late"))
    await acme.sandbox.submit(view.id, entered(view, {"score_satisfaction": "4.7"}))
    _, call = await acme.answered(_releaser(acme))

    assert call.answer == {"status": 200, "body": "ok"}
    assert call.arguments["text"].endswith("Satisfaction goes in steps of 0.5; use 4.5 or 5.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("users.info", "rate_limited"),
        ("conversations.info", "rate_limited"),
        ("users.info", "no_answer"),
        ("conversations.info", "dropped_after_accepting"),
    ],
)
async def test_a_lookup_is_made_again(acme: Acme, method: str, kind: str) -> None:
    """A lookup is retried if Slack is busy or drops the connection, because lookups change nothing."""
    # aiohttp retries after one lost connection: only the second loss reaches Slack's library.
    fault = Fault(method=method, kind=kind, times=2, retry_after=0)  # type: ignore[arg-type]  # as above
    acme.sandbox.faults.add(fault)
    text = acme.seen(await acme.ask("set ada +5"))

    assert tried(acme, method) == 3
    assert text == "Ada Lovelace · Score 62 → *67* (warm)" + BUTTONS


@pytest.mark.parametrize(("method", "refusal"), [("users.info", UNKNOWN), ("conversations.info", UNSEEN)])
async def test_a_lookup_that_fails_refuses(acme: Acme, method: str, refusal: str) -> None:
    """If a lookup fails, nothing is shown and nothing is recorded."""
    acme.sandbox.faults.add(Fault(method=method, kind="server_error"))
    text = acme.seen(await acme.ask("set ada +5"))

    assert text == refusal
    assert await acme.made_by_people() == []


@pytest.mark.parametrize("kind", ["server_error", "no_answer"])
async def test_a_form_that_cannot_be_opened(acme: Acme, kind: str) -> None:
    """If Slack does not open the form, the person is told another way."""
    acme.sandbox.faults.add(Fault(method="views.open", kind=kind))  # type: ignore[arg-type]  # as above
    await acme.sandbox.say("/score set")
    await acme.sandbox.wait_for(lambda: tried(acme, "response_url") == 1)

    (text,) = shown_texts(acme)
    assert acme.sandbox.open_views() == []
    assert text.startswith("Slack did not open the form")
    assert text.endswith(TYPED)


async def test_a_form_that_slack_would_open_later(acme: Acme) -> None:
    """A rate-limited form is not retried, because its trigger would expire; the person is told at once."""
    acme.sandbox.faults.add(Fault(method="views.open", kind="rate_limited", retry_after=30))
    await acme.sandbox.say("/score set")
    await acme.sandbox.wait_for(lambda: tried(acme, "response_url") == 1)

    assert shown_texts(acme) == [f"Slack did not open the form (ratelimited). {TYPED}"]


async def test_a_form_that_was_asked_for_too_long_ago(acme: Acme) -> None:
    """A form requested more than three seconds ago cannot be opened; the person is told another way."""
    acme.sandbox.faults.add(Fault(method="users.info", kind="late"))
    await acme.sandbox.say("/score set")
    await acme.sandbox.wait_for(lambda: acme.sandbox.faults.held)
    acme.sandbox.clock.advance(4)
    acme.sandbox.faults.release()
    await acme.sandbox.wait_for(lambda: tried(acme, "response_url") == 1)

    assert shown_texts(acme) == [f"Slack did not open the form in time. {TYPED}"]


async def test_a_form_that_slack_opened_without_saying_so(acme: Acme) -> None:
    """After a connection is lost, a form that was opened is not opened again."""
    acme.sandbox.faults.add(Fault(method="views.open", kind="dropped_after_accepting"))
    await acme.sandbox.say("/score set")
    await acme.sandbox.wait_for(lambda: tried(acme, "views.open"))
    await acme.service.stop()

    assert (tried(acme, "views.open"), len(acme.sandbox.open_views())) == (1, 1)


@pytest.mark.parametrize("kind", ["no_answer", "dropped_after_accepting", "server_error"])
async def test_a_message_is_not_posted_twice(acme: Acme, kind: str) -> None:
    """A receipt in direct messages is not posted again after a lost connection, because a repeat would be visible."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    acme.sandbox.clock.advance(3_600)
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind=kind))  # type: ignore[arg-type]  # as above
    await acme.sandbox.submit(view.id, entered(view, {"score_score": "85"}))
    await acme.sandbox.wait_for(lambda: tried(acme, "chat.postMessage"))
    await acme.restart()

    assert tried(acme, "chat.postMessage") == 1
    assert len(acme.sandbox.messages("D0REP")) == (1 if kind == "dropped_after_accepting" else 0)
    assert await acme.made_by_people() == [("ada@example.com", "score", "set", 85_000, False)]


async def test_what_was_acknowledged_is_finished_before_the_end(acme: Acme) -> None:
    """On a stop the service finishes acknowledged requests."""
    acme.sandbox.faults.add(Fault(method="users.info", kind="late"))
    await acme.sandbox.say("/score set ada +5")
    await acme.sandbox.wait_for(lambda: acme.sandbox.faults.held)
    stopping = asyncio.create_task(acme.service.stop())
    acme.sandbox.faults.release()
    await stopping

    assert shown_texts(acme) == ["Ada Lovelace · Score 62 → *67* (warm)" + BUTTONS]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_database_that_somebody_must_repair(acme: Acme) -> None:
    """If the database needs a repair, the answer says so and does not suggest to try again in a minute."""
    await current_database().writer.rows("PRAGMA query_only = ON")
    read_only = acme.seen(await acme.ask("set ada 85"))
    await current_database().writer.rows("PRAGMA query_only = OFF")
    await asyncio.to_thread(raw.damage, acme.database_url, "contacts")
    damaged = acme.seen(await acme.ask("top 5"))

    assert read_only == f"Nothing was changed. The database is read-only just now. {REPAIR}"
    assert damaged == (
        "Nothing was changed. The database file is damaged:"
        f" restore a backup of it, or recover what can be read with sqlite3 FILE .recover. {REPAIR}"
    )


async def test_what_was_recorded_is_there_after_a_restart(acme: Acme) -> None:
    """After a restart recorded changes exist, and an old receipt can still undo them."""
    receipt = await acme.ask("set ada 85 because great demo")
    await acme.restart()
    text = acme.seen(await acme.press(receipt, "Undo"))

    assert text == "Ada Lovelace · Score 85 → *62* (warm) · undone" + BUTTONS


async def test_a_fault_of_ours(acme: Acme) -> None:
    """An unexpected exception is answered with a reference, without details."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    sent = await acme.written(lambda: acme.sandbox.submit(view.id, entered(view, {"score_score": "85"})))
    broken = dict(sent.payload["view"])
    broken["private_metadata"] = broken["private_metadata"].replace('"contact": ', '"contact": "no number", "c": ')
    sent.payload["view"] = broken
    _, call = await acme.answered(lambda: acme.sandbox.again(sent))
    words, _, reference = call.arguments["text"].rpartition(" ")

    assert words == "Contact Score could not do that. The cause is in its log under"
    assert len(reference) == 9
    assert int(reference.removesuffix("."), 16) >= 0
    assert await acme.made_by_people() == []


async def test_a_button_that_nobody_knows(acme: Acme) -> None:
    """A button of an older version is acknowledged, does nothing, and says so."""
    receipt = await acme.ask("set ada 85")
    undo = receipt.blocks[1]["elements"][0]["action_id"]
    sent = await acme.written(lambda: acme.sandbox.click(receipt.id, undo))
    sent.payload["actions"][0]["action_id"] = "undo_of_last_year"
    response, call = await acme.answered(lambda: acme.sandbox.again(sent))

    assert response.status == 200
    assert call.arguments["text"] == (
        "That button is from an older version of the app. Type the command again: `/score help`"
    )
    assert await acme.made_by_people() == [("ada@example.com", "score", "set", 85_000, False)]


#: Values that no button of the app has: action → values.
FORGED = {
    "outcome": ("1 FOO", "1", "", "1 meeting"),
    "claim": ("", "-1", "1 2", "²", "9" * 30, "1; DROP TABLE follow_ups", "1 nope 3", "1 open 0 x"),
    "followups": ("nope 3", "", "mine", "open x", "open 0 1,x", f"mine {'9' * 30}"),
    "page": ("", "x", "{}", "[]", '{"q":1,"c":2,"n":"x"}', '{"q":"score>1","c":["zzz"],"n":0}'),
    "share": ("x",),
    "chart": ("1", "1 score", "1 score x", "1 nope 90", f"1 score {'9' * 20}", f"{'9' * 30} score 90"),
    "history": ("1 nope", "9" * 30),
    "why": ("1 nope", "zz", "9" * 30),
    "details": ("", "zz", "9" * 30),
    "set": ("9" * 30,),
    "owner": ("zz", "9" * 30),
    "undo": ("", "x"),
    "draft_apply": ("x", "score x"),
    "draft_preview": ("score 99",),
    "draft_back": ("", "score 1", "nope 1 1", f"score {'9' * 30} 1", "score 7 1"),
    "rule_menu": ("", "change score 1", "change score 1 x", "change nope 1 0", "change score 1 7", "frob score 1 0"),
    "rules": ("x", "9" * 30),
    "merge_confirm": ("", "1", "x y", "1 1", "1 999", f"1 {'9' * 30}", "1 2 3"),
    "split_confirm": ("", "1", "x crm:1", "1 crm:", "1 nope", "999 crm:1", f"{'9' * 30} crm:1", "1 crm:1"),
    "merge_cancel": ("", "zz"),
    "setup_setters": ("zz", ""),
    "role_others": ("zz", ""),
    "role_menu": ("", "zz", "admin", "boss:U0JANE", "viewer:jane", "none:", "none:C0SALES", f"viewer:S{'9' * 99}"),
    "type_form": ("zz",),
    "source_replay": ("", "x y", f"x {'9' * 30}"),
}


async def test_buttons_that_say_what_none_of_ours_does(acme: Acme) -> None:
    """Invalid button values are refused like other invalid input, and change nothing."""
    receipt = await acme.ask("set ada 85", user="U0ADMIN")
    undo = button_of(receipt, "Undo")["action_id"]
    sent = await acme.written(lambda: acme.sandbox.click(receipt.id, undo, user="U0ADMIN"))
    before, replies = await acme.ledger(), list[tuple[str, str, str]]()
    for action, values in FORGED.items():
        for value in values:
            sent.payload["actions"] = [sent.payload["actions"][0] | {"action_id": action, "value": value}]
            _, call = await acme.answered(partial(acme.sandbox.again, sent))
            replies.append((action, value[:40], str(call.arguments.get("text"))))

    assert [reply for reply in replies if "could not do that" in reply[2]] == []
    assert len(replies) == sum(len(values) for values in FORGED.values())
    assert await acme.ledger() == before


async def test_an_answer_that_nobody_takes(acme: Acme) -> None:
    """If the response_url is unreachable, the answer is sent by direct message."""
    sent = await acme.written(lambda: acme.sandbox.say("/score set ada +5"))
    sent.payload["response_url"] = "http://127.0.0.1:9/response/gone"
    _, call = await acme.answered(lambda: acme.sandbox.again(sent))

    assert call.method == "chat.postMessage"
    assert acme.seen(acme.sandbox.messages("D0REP")[-1]) == "Ada Lovelace · Score 62 → *67* (warm)" + BUTTONS


@pytest.mark.parametrize("label", ["Set", "History", "Chart"])
async def test_a_button_of_a_contact_that_is_gone(acme: Acme, label: str) -> None:
    """A button of a card says so if the contact does not exist any more."""
    card = await acme.ask("history ada" if label == "Chart" else "ada")
    action = next(e["action_id"] for e in card.blocks[-1]["elements"] if e["text"]["text"] == label)
    for value in ("999999", "no number", ""):
        sent = await acme.written(lambda: acme.sandbox.click(card.id, action))
        sent.payload["actions"][0]["value"] = value
        _, call = await acme.answered(partial(acme.sandbox.again, sent))

        assert call.arguments["text"] == ("That contact no longer exists. Search for it: `/score view ada@example.com`")


async def test_an_undo_of_what_nobody_did(acme: Acme) -> None:
    """An unknown batch cannot be undone, and nothing else is undone instead."""
    receipt = await acme.ask("set ada 85")
    sent = await acme.written(lambda: acme.sandbox.click(receipt.id, receipt.blocks[1]["elements"][0]["action_id"]))
    sent.payload["actions"][0]["value"] = "slack/0123456789abcdef"
    _, call = await acme.answered(lambda: acme.sandbox.again(sent))

    assert call.arguments["text"] == "Nothing was changed: there is nothing to undo."
    assert await acme.value("ada") == 85_000


def _releaser(acme: Acme) -> Callable[[], Awaitable[None]]:
    async def release() -> None:
        acme.sandbox.faults.release()

    return release
