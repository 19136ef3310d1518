"""From a push that crosses an edge to a completed follow-up."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from bot.demo.world import Channel, Message
from storage.alerts.enroll import choose_channel
from storage.alerts.followups import load_follow_ups
from tests.conftest import on_both
from tests.journeys.acme import CRM_SECRET, REP, Acme, button_of
from tests.journeys.admin import ask
from tests.slack.faults import Fault
from tests.storage import raw

DAY = 86_400
SNOOZE_ENDS = 4 * DAY  #: seconds after which a snooze until the next working day is over
SUCCESS = "C0SUCCESS"


def hot(email: str = "ada@example.com", value: int = 85, **more: Any) -> dict[str, Any]:
    """Return an item that sets a score, as the CRM does."""
    return {"type": "score.set", "contact": {"email": email}, "score": "score", "value": value, **more}


async def chosen(acme: Acme, channel: str | None = SUCCESS) -> None:
    """Choose the channel for follow-ups."""
    await choose_channel(acme.workspace, channel=channel, by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000))


def list_follow_up_posts(acme: Acme, channel: str = SUCCESS) -> list[Message]:
    """Return the app's public posts in a channel."""
    world = acme.sandbox.world
    posts = [post for post in world.posts if post.channel == channel and post.user == world.bot_user and post.metadata]
    return [post for post in posts if (post.metadata or {}).get("event_type") == "follow_up"]


async def until_posted(acme: Acme, count: int, channel: str = SUCCESS) -> list[Message]:
    """Wait until a channel has a number of follow-ups, and return them."""

    def enough() -> list[Message]:
        posts = list_follow_up_posts(acme, channel)
        return posts if len(posts) >= count else []

    return list(await acme.until(enough))


async def until_it_says(acme: Acme, message: Message, words: str) -> Message:
    """Wait until a message contains a text, and return it."""

    def it() -> Message | None:
        now = acme.sandbox.world.find(message.ts)
        return now if now is not None and words in acme.seen(now) else None

    result = await acme.until(it)
    assert isinstance(result, Message)
    return result


async def press(acme: Acme, message: Message, label: str, *, user: str = REP) -> str:
    """Click a button of a posted message, and return the private answer."""
    button = button_of(message, label)
    response, call = await acme.answered(
        lambda: acme.sandbox.click(message.id, button["action_id"], block_id=button["block_id"], user=user)
    )
    assert response.status == 200
    assert call.method == "response_url"
    return acme.seen(acme.latest(user=user, channel=message.channel))


async def history(acme: Acme, message: Message, *, user: str = REP) -> str:
    """Choose History in the menu of a message, and return the private answer, without the times."""
    menu = message.blocks[0]["accessory"]
    option = menu["options"][0]
    assert option["text"]["text"] == "History"
    _, call = await acme.answered(
        lambda: acme.sandbox.click(message.id, menu["action_id"], user=user, selected=option["value"])
    )
    assert call.method == "response_url"
    return re.sub(r"‹[^›]+› · ", "", acme.seen(acme.latest(user=user, channel=message.channel)))


@on_both
async def test_from_a_push_to_the_outcome(acme: Acme) -> None:
    """A follow-up is posted once, claimed by the first person, snoozed, reopened a day later, and given an outcome."""
    await chosen(acme)
    await acme.pushed(hot(reason="Asked for a demo"))
    (message,) = await until_posted(acme, 1)
    assert acme.seen(message) == (
        "*Ada Lovelace* · Analytical Engines · Score *85* (hot), from 62\n"
        '(from crm · "Asked for a demo" · Owner: <@U0REP>)\n'
        "(ada@example.com\nRule 1: score crosses 80)\n"
        "[Claim] [Snooze] [Done]"
    )

    row = acme.seen(await acme.ask("filter followup:open")).splitlines()[1:3]
    assert row == ["🟥 *Ada Lovelace* · Analytical Engines · Score *85* (hot)", "follow-up open since ‹now› [Open]"]

    assert await press(acme, message, "Claim", user="U0JANE") == "You claimed Ada Lovelace."
    message = await until_it_says(acme, message, "Claimed by <@U0JANE> · ‹now›")
    assert "[Snooze] [Done]" in acme.seen(message)
    assert "Claim]" not in acme.seen(message)
    assert await press(acme, message, "Snooze") == "<@U0JANE> claimed it already."
    assert "Snoozed Ada Lovelace until" in await press(acme, message, "Snooze", user="U0JANE")
    message = await until_it_says(acme, message, "Snoozed by <@U0JANE> until")

    acme.sandbox.clock.advance(SNOOZE_ENDS)
    message = await until_it_says(acme, message, "[Claim] [Snooze] [Done]")
    (reminder,) = await acme.until(lambda: [post for post in acme.sandbox.world.posts if post.thread_ts == message.ts])
    assert reminder.text == "<@U0JANE> snoozed this until now; it is open again."

    assert "What was the outcome?" in await press(acme, message, "Done")
    message = await until_it_says(acme, message, "Done by <@U0REP>")
    assert "Only <@U0REP>" in await press(acme, message, "Meeting", user="U0JANE")
    assert await press(acme, message, "Meeting") == "Ada Lovelace: meeting."
    message = await until_it_says(acme, message, "Done by <@U0REP>: meeting")
    assert "[" not in acme.seen(message)
    assert await history(acme, message) == (
        "*Ada Lovelace* · Analytical Engines · Score *85* (hot), from 62\n"
        'Created from crm · "Asked for a demo"\n'
        "Claimed by <@U0JANE>\nSnoozed by <@U0JANE>\nReopened: the snooze ended\n"
        "Done by <@U0REP>\nOutcome recorded by <@U0REP>: meeting"
    )
    assert "*Last follow-up*\nDone by <@U0REP>: meeting · ‹now›" in acme.seen(await acme.ask("ada"))
    assert len(list_follow_up_posts(acme)) == 1
    # the follow-up, and the reply in its thread
    assert [call.method for call in acme.sandbox.calls].count("chat.postMessage") == 2


async def test_a_click_is_seen_before_the_rest_is_posted(acme: Acme) -> None:
    """Messages are posted one a second; a claim of the first is shown before the last is posted."""
    await chosen(acme)
    await acme.pushed(*(hot(f"p{n:02d}@example.com") for n in range(8)))
    (message, *_) = await until_posted(acme, 1)
    await press(acme, message, "Claim")
    await until_it_says(acme, message, "Claimed by <@U0REP>")
    assert len(list_follow_up_posts(acme)) < 8


@on_both
async def test_two_clicks_at_once(acme: Acme) -> None:
    """Of two simultaneous clicks one claims the follow-up, and the other person is told who has it."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    texts = {await press(acme, message, "Claim"), await press(acme, message, "Claim", user="U0ADMIN")}
    assert texts == {"You claimed Ada Lovelace.", "<@U0REP> claimed it already."}


async def test_it_closes_itself(acme: Acme) -> None:
    """A follow-up closes itself if the score falls back before it is claimed."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await acme.pushed(hot(value=20))
    message = await until_it_says(acme, message, "Closed automatically: the score fell back")
    assert "[" not in acme.seen(message)


async def test_very_many_are_one_list(acme: Acme) -> None:
    """Sixty follow-ups of one delivery are one message, and later ones are added to it."""
    await chosen(acme)
    await acme.pushed(*(hot(f"p{n:02d}@example.com") for n in range(60)))
    (message,) = await until_posted(acme, 1)
    assert "in one list: 60" in acme.seen(message)
    assert "p59@example.com" in acme.seen(message)
    await acme.pushed(hot("late@example.com"))
    message = await until_it_says(acme, message, "in one list: 61")
    assert len(list_follow_up_posts(acme)) == 1
    await acme.restart()  # which finishes running work
    assert {follow_up.message_ts for follow_up in await load_follow_ups(acme.workspace, ids=range(1, 100))} == {
        message.ts
    }


@pytest.mark.parametrize(
    ("channel", "reason"),
    [("C0SHARED", "another organization"), ("C0SALES", "guests"), ("C0GONE", "cannot see that channel")],
)
async def test_a_channel_that_is_not_ours_alone_gets_nothing(acme: Acme, channel: str, reason: str) -> None:
    """Follow-ups go to an admin instead of a shared channel, and nobody can choose such a channel."""
    await chosen(acme, channel)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1, "D0ADMIN")
    assert "Ada Lovelace" in acme.seen(message)
    if channel in acme.sandbox.world.channels:
        assert list_follow_up_posts(acme, channel) == []
    answer = await acme.ask(f"alerts add when score crosses 50 in <#{channel}>", channel="D0REP")
    assert "No rule was added" in acme.seen(answer)
    assert reason in acme.seen(answer)


async def test_an_archived_channel_is_not_chosen(acme: Acme) -> None:
    """An archived channel cannot be chosen, because Slack accepts no messages there."""
    acme.sandbox.world.channels[SUCCESS].is_archived = True
    text = acme.seen(await acme.ask(f"alerts add when score crosses 50 in <#{SUCCESS}>"))
    assert text == "No rule was added. That channel is archived, so nothing is posted to it. Choose another one."


async def test_a_channel_that_becomes_shared_gets_nothing_more(acme: Acme) -> None:
    """The channel is checked before every post."""
    await chosen(acme)
    await acme.pushed(hot())
    await until_posted(acme, 1)
    acme.sandbox.world.channels[SUCCESS].is_ext_shared = True
    await acme.sandbox.event({"type": "channel_shared", "channel": SUCCESS, "connected_team_id": "T0OTHER"})
    await acme.pushed(hot("hopper@example.com"))
    await until_posted(acme, 1, "D0ADMIN")
    assert len(list_follow_up_posts(acme)) == 1


async def test_without_a_channel_the_owner_is_asked(acme: Acme) -> None:
    """Without a channel, follow-ups go to the owner's direct messages with the app."""
    await chosen(acme, None)
    await acme.pushed(hot(), hot("hopper@example.com"))
    (message,) = await until_posted(acme, 1, "D0REP")
    (other,) = await until_posted(acme, 1, "D0ADMIN")
    assert "Ada Lovelace" in acme.seen(message)
    assert "Grace Hopper" in acme.seen(other)


@pytest.mark.parametrize(
    ("fault", "posts", "marked"),
    [("rate_limited", 1, False), ("server_error", 1, False), ("dropped_after_accepting", 1, False)],
)
async def test_slack_has_a_bad_day(acme: Acme, fault: Any, posts: int, marked: bool) -> None:
    """A posted message is found by its metadata, a lost one is sent again, and nobody sees one twice."""
    await chosen(acme)
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind=fault))
    await acme.pushed(hot())
    await acme.until(lambda: [call for call in acme.sandbox.calls if call.method == "chat.postMessage"])
    acme.sandbox.clock.advance(5)
    await acme.until(lambda: list_follow_up_posts(acme))
    await acme.pushed(hot("hopper@example.com"))  # behind it in its lane
    acme.sandbox.clock.advance(5)
    messages = await until_posted(acme, posts + 1)
    assert len(messages) == posts + 1
    assert ["Possibly a repeat" in acme.seen(message) for message in messages] == [marked, False]


async def tried_again(acme: Acme) -> None:
    """Wait until a message was sent, advance the clock to the retry, and wait until running work is finished."""
    before = _sent(acme)
    await acme.until(lambda: _sent(acme) > before)
    acme.sandbox.clock.advance(5)


def _sent(acme: Acme) -> int:
    return [call.method for call in acme.sandbox.calls].count("chat.postMessage")


BAD_ANSWERS = ["rate_limited", "server_error", "dropped_after_accepting"]


@pytest.mark.parametrize("fault", BAD_ANSWERS)
async def test_the_word_in_the_thread_comes_once(acme: Acme, fault: Any) -> None:
    """The reply in the thread is posted once, also if its first post failed after the follow-up was moved."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await press(acme, message, "Snooze")
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind=fault))
    acme.sandbox.clock.advance(SNOOZE_ENDS)
    await tried_again(acme)
    await acme.until(lambda: [post for post in acme.sandbox.world.posts if post.thread_ts])
    await acme.restart()  # which finishes running work
    assert [post.text for post in acme.sandbox.world.posts if post.thread_ts == message.ts] == [
        "<@U0REP> snoozed this until now; it is open again."
    ]


@pytest.mark.parametrize("fault", BAD_ANSWERS)
async def test_the_list_of_very_many_comes_once(acme: Acme, fault: Any) -> None:
    """The list is posted once with all follow-ups, including those that came while its post was in doubt."""
    await chosen(acme)
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind=fault))
    await acme.pushed(*(hot(f"p{n:02d}@example.com") for n in range(60)))
    await acme.until(lambda: _sent(acme))
    await acme.pushed(hot("late@example.com"))
    acme.sandbox.clock.advance(5)
    (message,) = await until_posted(acme, 1)
    await until_it_says(acme, message, "in one list: 61")
    await acme.restart()
    assert len(list_follow_up_posts(acme)) == 1


@pytest.mark.parametrize("fault", BAD_ANSWERS)
async def test_the_word_to_an_admin_comes_once(acme: Acme, fault: Any) -> None:
    """The notice about a channel, and the follow-ups meant for it, are each sent once to the admin."""
    await chosen(acme, "C0GONE")
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind=fault))
    await acme.pushed(hot())
    await tried_again(acme)
    await until_posted(acme, 1, "D0ADMIN")
    await acme.restart()
    posts = [post.text for post in acme.sandbox.world.posts if post.channel == "D0ADMIN" and "C0GONE" in post.text]
    assert len(posts) == 1


@pytest.mark.parametrize(
    ("method", "channel", "place"),
    [
        ("conversations.info", SUCCESS, SUCCESS),
        ("conversations.members", SUCCESS, SUCCESS),
        ("users.info", None, "D0REP"),
    ],
)
async def test_a_lookup_that_fails_sends_nothing_elsewhere(
    acme: Acme, method: str, channel: str | None, place: str
) -> None:
    """If Slack temporarily does not return a channel or a person, nothing is sent elsewhere."""
    await chosen(acme, channel)
    acme.sandbox.clock.advance(31)  # expire the cached lookup
    acme.sandbox.faults.add(Fault(method=method, kind="server_error"))
    await acme.pushed(hot())
    await acme.until(lambda: [call for call in acme.sandbox.calls if call.method == method])
    acme.sandbox.clock.advance(5)
    await until_posted(acme, 1, place)
    assert list_follow_up_posts(acme, "D0ADMIN") == []


async def test_without_leave_to_look_a_doubtful_message_is_repeated_and_marked(acme: Acme) -> None:
    """Without permission to read the history, a message in doubt is repeated and says that it may be a repeat."""
    await chosen(acme)
    acme.sandbox.world.scopes -= {"channels:history"}
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind="dropped_after_accepting"))
    await acme.pushed(hot())
    await until_posted(acme, 1)
    acme.sandbox.clock.advance(5)
    first, second = await until_posted(acme, 2)
    assert "Possibly a repeat" not in acme.seen(first)
    assert "Possibly a repeat" in acme.seen(second)
    await until_it_says(acme, second, "[Claim]")


async def test_a_restart_loses_no_follow_up(acme: Acme) -> None:
    """A follow-up that was not posted before a restart is posted afterwards."""
    await chosen(acme)
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind="server_error"))
    await acme.pushed(hot())
    await acme.restart()
    acme.sandbox.clock.advance(65)  # the stopped service's lease
    (message,) = await until_posted(acme, 1)
    assert "Ada Lovelace" in acme.seen(message)


@on_both
async def test_rules_by_words(acme: Acme) -> None:
    """Rules are added, listed, paused, resumed and removed; each answer says what to type next."""
    listed = acme.seen(await acme.ask("alerts"))
    assert (
        "1. `when score crosses 80` → the contact's owner, else an admin · off until `/score setup` is done" in listed
    )
    added = acme.seen(await acme.ask(f"alerts add when fit crosses 8 if owner:me in <#{SUCCESS}|customer-success>"))
    assert added.startswith("Added rule 2: `when fit crosses 8` `if owner:rep@acme.example` → <#C0SUCCESS>")
    await acme.pushed({"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "fit", "value": 9})
    (message,) = await until_posted(acme, 1)
    assert "Fit *9* (good), from 7" in acme.seen(message)
    assert "1 open" in acme.seen(await acme.ask("alerts"))

    rule = "`when fit crosses 8` `if owner:rep@acme.example` → <#C0SUCCESS>\n"
    assert f"Rule 2 is paused: {rule}It alerts nobody until" in acme.seen(await acme.ask("alerts pause 2"))
    assert "· paused" in acme.seen(await acme.ask("alerts"))
    assert f"Rule 2 is on: {rule}It alerts again" in acme.seen(await acme.ask("alerts resume #2"))
    assert "That is for admins" in acme.seen(await acme.ask("alerts pause 1"))
    assert "That is for admins" in acme.seen(await acme.ask("alerts remove 2", user="U0JANE"))
    assert acme.seen(await acme.ask("alerts pause")) == (
        "Type the number of the rule too: `/score alerts pause 3`. `/score alerts` lists them."
    )
    assert "There is no alert rule 9." in acme.seen(await acme.ask("alerts pause 9"))
    assert f"Rule 2 is removed: {rule}Its follow-ups stay" in acme.seen(
        await acme.ask("alerts remove 2", user="U0ADMIN")
    )
    assert "Type `/score alerts` for the list" in acme.seen(await acme.ask("alerts sometimes"))
    assert "`when fit" not in acme.seen(await acme.ask("alerts"))


@on_both
async def test_the_list_of_what_waits(acme: Acme) -> None:
    """The list is newest first, in pages, with the same buttons; the contact's card shows the follow-up too."""
    await chosen(acme)
    await acme.pushed(*(hot(f"p{n:02d}@example.com") for n in range(10)))
    page = await acme.ask("followups")
    assert acme.seen(page).splitlines()[1:3] == ["*p09@example.com* · Score *85* (hot)", "Open · created ‹now›"]
    assert acme.seen(await acme.press(page, "Next")).splitlines()[1] == "*p01@example.com* · Score *85* (hot)"
    text = acme.seen(await acme.ask("followups mine"))
    assert text == "You have no open follow-ups. Alert rules: `/score alerts`"
    (card,) = [acme.seen(await acme.ask("p03@example.com"))]
    assert "*Follow-up*\nOpen since ‹now›" in card
    assert "for all open follow-ups" in acme.seen(await acme.ask("followups yesterday"))


async def click(acme: Acme, listed: Message, label: str, *, nth: int = 0, user: str = REP) -> Message:
    """Click a button in a list, and return the message that replaces the list."""
    button = button_of(listed, label, nth=nth)
    _, call = await acme.answered(
        lambda: acme.sandbox.click(listed.id, button["action_id"], block_id=button["block_id"], user=user)
    )
    assert call.arguments["replace_original"]
    changed = acme.sandbox.world.find(listed.ts)
    assert changed is not None
    return changed


def lines(acme: Acme, listed: Message) -> list[str]:
    """Return the lines of a list, without the times."""
    return re.sub(r" · (created )?‹[^›]+›", "", acme.seen(listed)).splitlines()


async def test_a_click_in_the_list_draws_it_anew(acme: Acme) -> None:
    """Results stand above the list; done follow-ups leave the list, and stay above it until they have an outcome."""
    await chosen(acme, None)
    await acme.pushed(*(hot(f"p{n:02d}@example.com") for n in range(4)))
    listed, other = await acme.ask("followups"), await acme.ask("followups", user="U0JANE")
    listed = await click(acme, listed, "Claim")
    assert lines(acme, listed)[:5] == [
        *("You claimed p03@example.com.", "*Open follow-ups*"),
        *("*p03@example.com* · Score *85* (hot)", "Claimed by <@U0REP>", "[Snooze] [Done]"),
    ]
    other = await click(acme, other, "Claim", user="U0JANE")
    assert lines(acme, other)[0] == "<@U0REP> claimed it already."
    assert lines(acme, other)[3] == "Claimed by <@U0REP>"

    for _ in range(2):
        listed = await click(acme, listed, "Done")
    asking = ["[Meeting] [No reply] [Bad fit] [Won] [Lost] [Other…] [Reopen]"]
    assert lines(acme, listed)[:6] == [
        *(
            "Marked p02@example.com done. What was the outcome?",
            *asking,
            "Marked p03@example.com done. What was the outcome?",
            *asking,
        ),
        *("*Open follow-ups*", "*p01@example.com* · Score *85* (hot)"),
    ]
    listed = await click(acme, listed, "Meeting")
    assert lines(acme, listed)[:3] == [
        *("p02@example.com: meeting.", "Marked p03@example.com done. What was the outcome?", *asking),
    ]
    listed = await click(acme, listed, "Snooze", nth=1)
    assert lines(acme, listed)[0].startswith("Snoozed p00@example.com until ‹")
    assert [
        follow_up.standing.state.value for follow_up in await load_follow_ups(acme.workspace, ids=[1, 2, 3, 4])
    ] == [
        *("snoozed", "open", "done", "done"),
    ]


async def test_the_last_page_of_the_list_is_done(acme: Acme) -> None:
    """Doing the last follow-up of the last page shows the first page; First leads there too."""
    await chosen(acme, None)
    await acme.pushed(*(hot(f"p{n:02d}@example.com") for n in range(9)))
    page = await acme.press(await acme.ask("followups"), "Next")
    assert lines(acme, page)[1:] == [
        "*p00@example.com* · Score *85* (hot)",
        "Open",
        "[Claim] [Snooze] [Done]",
        "[First]",
    ]
    page = await acme.press(page, "First")
    assert "*p08@example.com*" in acme.seen(page)
    page = await click(acme, await acme.press(page, "Next"), "Done")
    assert lines(acme, page)[0] == "Marked p00@example.com done. What was the outcome?"
    assert lines(acme, page)[3] == "*p08@example.com* · Score *85* (hot)"
    assert "[Next]" not in acme.seen(page)


@on_both
async def test_the_first_questions(acme: Acme) -> None:
    """An admin is asked once, by direct message; answers are accepted there and by /score setup."""
    await raw.rows(acme.database_url, "UPDATE workspaces SET welcomed_at = NULL")
    await acme.restart()
    (question,) = await acme.until(lambda: acme.sandbox.messages("D0ADMIN", "U0ADMIN"))
    assert "Where should follow-ups go?" in str(question.blocks)
    answer = await acme.ask("setup", user=REP)
    assert "That is for admins" in acme.seen(answer)

    async def choose(action: str, value: str) -> str:
        await acme.answered(lambda: acme.sandbox.click(question.id, action, user="U0ADMIN", selected=value))
        changed = acme.sandbox.world.find(question.ts)
        assert changed is not None
        return acme.seen(changed)

    assert (await choose("setup_channel", "C0SHARED")).startswith("*Three questions, and Contact Score is ready.*")
    assert acme.seen(acme.latest(user="U0ADMIN", channel="D0ADMIN")).startswith("Nothing was changed. ")
    first = await choose("setup_channel", SUCCESS)
    assert first.startswith("Follow-ups go to <#C0SUCCESS> from now on. Alert rules: `/score alerts`\n")
    assert "*Contact Score is set up. You can change the answers at any time.*" in first
    assert "reaches 80 (hot).\n:white_check_mark: Now: <#C0SUCCESS>" in first
    answer = await acme.press(question, "Straight to the contact's owner", user="U0ADMIN")
    assert "if there is no owner. Before: <#C0SUCCESS>.\n" in acme.seen(answer)
    assert ":white_check_mark: Now: the contact's owner, else an admin" in acme.seen(await ask(acme, "setup"))
    assert (await choose("setup_channel", SUCCESS)).startswith(
        "Follow-ups go to <#C0SUCCESS> from now on. Before: the contact's owner, else an admin. Alert rules:"
    )
    assert (await choose("setup_setters", "admins")).startswith("Only admins set scores from now on. Before: every")
    assert (await choose("setup_setters", "admins")).startswith("Only admins set scores from now on.\n")
    assert "Only admins set scores here" in acme.seen(await acme.ask("set ada@example.com 5"))
    assert acme.seen(await acme.ask("set ada@example.com 84", user="U0ADMIN")).startswith("Ada Lovelace")
    (message,) = await until_posted(acme, 1)
    assert "by <@U0ADMIN>" in acme.seen(message)

    before = len(acme.sandbox.messages("D0ADMIN", "U0ADMIN"))
    await acme.restart()
    await acme.ask("set hopper@example.com 90", user="U0ADMIN")
    await until_posted(acme, 2)
    assert len(acme.sandbox.messages("D0ADMIN", "U0ADMIN")) == before  # not asked twice


async def test_whoever_invites_the_app_is_asked(acme: Acme) -> None:
    """Who invites the app is asked privately for the channel; once a channel is chosen, only an admin is asked."""
    world = acme.sandbox.world
    world.add_channel(Channel(id="C0NEW", name="new", members=["U0REP", "U0ADMIN", world.bot_user]))
    joined = {
        "type": "member_joined_channel",
        "user": world.bot_user,
        "channel": "C0NEW",
        "channel_type": "C",
        "team": "T0DEMO",
    }
    await acme.sandbox.event({**joined, "inviter": REP})
    question = (await acme.sandbox.wait_for(lambda: acme.sandbox.messages("C0NEW", REP)))[-1]
    assert question.only_for == REP
    await acme.answered(
        lambda: acme.sandbox.click(question.id, button_of(question, "Send follow-ups here")["action_id"])
    )
    await acme.pushed(hot())
    assert "Ada" in acme.seen((await until_posted(acme, 1, "C0NEW"))[0])

    before = len(acme.sandbox.messages(SUCCESS, REP))
    await acme.sandbox.event({**joined, "channel": SUCCESS, "inviter": REP})
    await acme.sandbox.event({**joined, "channel": SUCCESS, "inviter": "U0ADMIN"})
    await acme.sandbox.wait_for(
        lambda: [message for message in acme.sandbox.messages(SUCCESS, "U0ADMIN") if message.only_for]
    )
    assert len(acme.sandbox.messages(SUCCESS, REP)) == before


async def test_the_shortcut_on_a_message(acme: Acme) -> None:
    """The form is for the contact with an address in the message; without one it has a field for the contact."""
    await acme.sandbox.say("Just spoke to ada@example.com, very keen!")
    message = acme.sandbox.messages()[-1]
    await acme.answered(lambda: acme.sandbox.shortcut("score_message", message=message.id))
    assert "*Ada Lovelace*" in str(acme.sandbox.open_views()[-1].blocks)
    await acme.sandbox.close_view(acme.sandbox.open_views()[-1].id)
    await acme.sandbox.say("Who is this?")
    message = acme.sandbox.messages()[-1]
    await acme.answered(lambda: acme.sandbox.shortcut("score_message", message=message.id))
    assert "external_select" in str(acme.sandbox.open_views()[-1].blocks)


@on_both
async def test_the_home_tab(acme: Acme) -> None:
    """The Home tab shows an admin the first questions and members contacts, and a guest nothing."""
    for user, words in (
        ("U0ADMIN", "Where should follow-ups go?"),
        (REP, "You have no open follow-ups"),
        ("U0GUEST", "guests"),
    ):
        await acme.sandbox.open_home(user)
        home = await acme.sandbox.wait_for(lambda user=user: acme.sandbox.home(user))  # type: ignore[misc]  # bound now
        assert home is not None
        assert words in json.dumps(home.content)
        assert ("Ada" in json.dumps(home.content)) is (user != "U0GUEST")


async def test_a_click_in_the_home_tab(acme: Acme) -> None:
    """A follow-up done in the Home tab leaves it at once."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await press(acme, message, "Claim")
    await acme.sandbox.open_home(REP)
    home = await acme.sandbox.wait_for(lambda: acme.sandbox.home(REP))
    assert home is not None
    assert "Ada Lovelace" in json.dumps(home.content)
    await acme.sandbox.click(home.id, "done:1")

    def nothing_waits() -> bool:
        now = acme.sandbox.home(REP)
        return now is not None and "You have no open follow-ups" in json.dumps(now.content)

    await acme.sandbox.wait_for(nothing_waits)


async def test_a_guest_can_claim_nothing(acme: Acme) -> None:
    """A guest cannot claim a follow-up, and learns nothing about its contact."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    acme.sandbox.world.channels[SUCCESS].members.append("U0GUEST")
    answer = await press(acme, message, "Claim", user="U0GUEST")
    assert "guests cannot see" in answer
    assert "Ada" not in answer
    assert await history(acme, message, user="U0GUEST") == answer
    assert (await load_follow_ups(acme.workspace, ids=[1]))[0].standing.holder is None
    assert CRM_SECRET not in str(acme.sandbox.calls)


async def choose(acme: Acme, message: Message, label: str, *, user: str = REP) -> str:
    """Choose an entry in the menu of a message. Return the private answer, blank if a form was opened."""
    menu = message.blocks[0]["accessory"]
    (option,) = [option for option in menu["options"] if option["text"]["text"] == label]
    _, call = await acme.answered(
        lambda: acme.sandbox.click(message.id, menu["action_id"], user=user, selected=option["value"])
    )
    return "" if call.method == "views.open" else acme.seen(list_private(acme, user)[-1])


async def submit(acme: Acme, *, user: str, **values: str) -> str:
    """Submit the open form of a person, and return the private answer."""
    view = acme.sandbox.open_views(user)[-1]
    actions = {block["block_id"]: block["element"]["action_id"] for block in view.blocks if block["type"] == "input"}
    state: dict[str, Any] = {name: {actions[name]: value} for name, value in values.items()}
    before = {message.id for message in list_private(acme, user)}
    await acme.answered(lambda: acme.sandbox.submit(view.id, state, user=user))
    (answer,) = [message for message in list_private(acme, user) if message.id not in before]
    return acme.seen(answer)


def list_private(acme: Acme, user: str) -> list[Message]:
    """Return the messages of the app that a person alone sees, in any conversation."""
    return [post for post in acme.sandbox.world.posts if post.only_for == user or post.channel == f"D{user[1:]}"]


async def test_a_follow_up_is_handed_on_and_reopened(acme: Acme) -> None:
    """A follow-up is assigned, taken over by the owner, released, done with a note, and reopened; people are told."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    assert await choose(acme, message, "Assign to…", user="U0ADMIN") == ""
    assert await submit(acme, user="U0ADMIN", person="U0JANE") == "Assigned Ada Lovelace to <@U0JANE>."
    message = await until_it_says(acme, message, "Claimed by <@U0JANE>")
    assert await choose(acme, message, "Take over") == "You took over Ada Lovelace."  # its contact is the rep's
    assert await choose(acme, message, "Release", user="U0JANE") == (
        "<@U0REP> claimed it. Only the contact's owner and admins can take it over or assign it. Ask <@U0ADMIN>."
    )
    assert await choose(acme, message, "Release") == "Released Ada Lovelace: it is open again."
    threads = await acme.until(lambda: [post for post in acme.sandbox.world.posts if post.thread_ts == message.ts][1:])
    assert [post.text for post in [p for p in acme.sandbox.world.posts if p.thread_ts == message.ts]] == [
        "<@U0JANE>, <@U0ADMIN> assigned this to you.",
        "<@U0JANE>, <@U0REP> took this over from you.",
    ]
    assert len(threads) == 1
    message = await until_it_says(acme, message, "[Claim] [Snooze] [Done]")
    await press(acme, message, "Done")
    message = await until_it_says(acme, message, "Done by <@U0REP>")
    button = button_of(message, "Other…")
    await acme.answered(lambda: acme.sandbox.click(message.id, button["action_id"], block_id=button["block_id"]))
    assert await submit(acme, user=REP, note="Moved to Rome") == "Ada Lovelace: Moved to Rome."
    message = await until_it_says(acme, message, 'Done by <@U0REP>: other · "Moved to Rome"')
    assert await choose(acme, message, "Reopen") == "Ada Lovelace is open again."
    message = await until_it_says(acme, message, "[Claim] [Snooze] [Done]")
    assert (await history(acme, message)).splitlines()[2:] == [
        "Assigned to <@U0JANE> by <@U0ADMIN>",
        "Taken over from <@U0JANE> by <@U0REP>",
        "Released by <@U0REP>",
        "Done by <@U0REP>",
        'Outcome recorded by <@U0REP>: other · "Moved to Rome"',
        "Reopened by <@U0REP>",
    ]


SATURDAY = 1_798_264_800  # 2026-12-26, 6:00 UTC


async def test_a_snooze_ends_in_working_hours(acme: Acme) -> None:
    """A snooze lasts until the next working day; an hour, next Monday or a date are offered, all in working hours."""
    acme.sandbox.clock.advance(SATURDAY - acme.sandbox.clock.now())
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)

    async def until() -> datetime:
        (item,) = await load_follow_ups(acme.workspace, ids=[1])
        return datetime.fromtimestamp((item.until or 0) / 1_000_000, UTC)

    # The time zone of the admin, Berlin, becomes that of the workspace.
    assert "Snoozed Ada Lovelace until" in await press(acme, message, "Snooze", user="U0ADMIN")
    assert await until() == datetime(2026, 12, 28, 8, 0, tzinfo=UTC)
    answer = acme.latest(user="U0ADMIN", channel=SUCCESS)
    for label, moment in (("1 hour", datetime(2026, 12, 28, 9, 0, tzinfo=UTC)),
                          ("Next Monday", datetime(2026, 12, 28, 8, 0, tzinfo=UTC))):  # fmt: skip  # a table
        await press(acme, answer, label, user="U0ADMIN")
        assert await until() == moment
    button = button_of(answer, "Another time…")
    await acme.answered(
        lambda: acme.sandbox.click(answer.id, button["action_id"], block_id=button["block_id"], user="U0ADMIN")
    )
    assert "Snoozed Ada Lovelace" in await submit(acme, user="U0ADMIN", choice="date", date="2027-01-02")
    assert await until() == datetime(2027, 1, 4, 8, 0, tzinfo=UTC)


async def test_two_rules_are_one_message(acme: Acme) -> None:
    """A second rule that fires in the channel is named in the message of the first; nobody is asked twice."""
    await chosen(acme)
    await acme.ask("alerts add when score crosses 90")
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await acme.pushed(hot(value=95, reason="Asked for a quote"))
    message = await until_it_says(acme, message, "Rule 2: score crosses 90 · Score 95 (hot), from 85 · from crm")
    assert '"Asked for a quote"' in acme.seen(message)
    assert "Score *95* (hot) now, 85 when created" in acme.seen(await acme.ask("followups"))
    await acme.restart()
    assert len(list_follow_up_posts(acme)) == 1
