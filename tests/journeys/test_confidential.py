"""A posted message loses its names once a person who may not see scores can read it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bot.demo.world import Channel, Message, SlackUser
from storage.notices import NO_ADMIN, is_noticed
from storage.workspaces import name_admins
from tests.journeys.acme import REP, SALES, Acme, other
from tests.journeys.test_following_up import (
    DAY,
    SNOOZE_ENDS,
    SUCCESS,
    chosen,
    click,
    hot,
    list_follow_up_posts,
    press,
    tried_again,
    until_it_says,
    until_posted,
)
from tests.slack.faults import Fault
from tests.slack.foreign import ReceivedCall

HIDDEN = "Hidden, because not everyone here may see scores; members can type `/score followups`."
OTHERS = "{} was archived or shared, has guests in it, or I am not in it any more, so this comes to you."
LEFT = "<@U0REP> is not an active member here, so their message comes to you."
Change = Callable[[Acme], Awaitable[object]]


async def shared(acme: Acme) -> None:
    """Share the channel with another organization, and send the event."""
    acme.sandbox.world.channels[SUCCESS].is_ext_shared = True
    await acme.sandbox.event({"type": "channel_shared", "channel": SUCCESS, "connected_team_id": "T0OTHER"})


async def about_to_be_shared(acme: Acme) -> None:
    """Invite another organization to the channel, for which Slack sends no event."""
    channel = acme.sandbox.world.channels[SUCCESS]
    channel.is_pending_ext_shared, channel.connected_team_ids = True, ["T0OTHER"]
    acme.sandbox.clock.advance(31)  # expire the cached lookup


async def guest_joined(acme: Acme) -> None:
    """Add a guest to the channel, and send the event."""
    acme.sandbox.world.channels[SUCCESS].members.append("U0GUEST")
    joined = {"type": "member_joined_channel", "user": "U0GUEST", "channel": SUCCESS, "team": "T0DEMO"}
    await acme.sandbox.event(joined)


async def new_guest_joined(acme: Acme) -> None:
    """Add a guest who is new in the workspace to the channel, without an event."""
    guest = SlackUser(id="U0NEWGUEST", name="new", real_name="New Guest", is_ultra_restricted=True)
    acme.sandbox.world.add_person(guest)
    acme.sandbox.world.channels[SUCCESS].members.append(guest.id)
    acme.sandbox.clock.advance(31)


async def member_became_guest(acme: Acme) -> None:
    """Make a member of the channel a guest, and send the event."""
    acme.sandbox.world.people["U0JANE"].is_restricted = True
    await acme.sandbox.event({"type": "user_change", "user": {"id": "U0JANE", "team_id": "T0DEMO"} | GUEST})


async def app_removed(acme: Acme) -> None:
    """Make the channel private, remove the app from it, and send the event."""
    channel = acme.sandbox.world.channels[SUCCESS]
    channel.is_private = True
    channel.members.remove(acme.sandbox.world.bot_user)
    event = {"type": "member_left_channel", "user": acme.sandbox.world.bot_user, "channel": SUCCESS, "team": "T0DEMO"}
    await acme.sandbox.event(event)


async def archived(acme: Acme) -> None:
    """Archive the channel."""
    acme.sandbox.world.channels[SUCCESS].is_archived = True
    acme.sandbox.clock.advance(31)


GUEST = {"is_restricted": True}
IN_A_CHANNEL: list[Change] = [shared, about_to_be_shared, guest_joined, new_guest_joined, member_became_guest]
UNCHANGEABLE: list[Change] = [app_removed, archived]  # the app cannot edit its messages there


def owner(**changes: bool) -> Change:
    """Return a change of the owner of the contacts, with its event."""

    async def change(acme: Acme) -> None:
        for name, value in changes.items():
            setattr(acme.sandbox.world.people[REP], name, value)
        user = {"id": REP, "team_id": "T0DEMO"} | changes
        await acme.sandbox.event({"type": "user_change", "user": user})

    return change


def storm(*numbers: int) -> list[dict[str, Any]]:
    """Return items that make contacts of the rep hot, one for each number."""
    fields = {"owner": "rep@acme.example"}
    return [hot(f"p{n:02d}@example.com") | {"contact": {"email": f"p{n:02d}@example.com"} | fields} for n in numbers]


def calls_since(acme: Acme, start: int, place: str) -> list[ReceivedCall]:
    """Return the posts and edits in a channel since a number of calls."""
    calls = [call for call in acme.sandbox.calls[start:] if call.method in ("chat.postMessage", "chat.update")]
    return [call for call in calls if call.arguments["channel"] == place]


def names_in(calls: list[ReceivedCall]) -> list[str]:
    """Return the texts of calls that contain anything about a contact."""
    texts = [json.dumps([call.arguments.get("text"), call.arguments.get("blocks")]) for call in calls]
    return [words for words in texts if "example.com" in words or "85" in words or "Ada" in words]


def hidden(acme: Acme, message: Message) -> bool:
    """Return whether a message is now one sentence, without a name, a number or a button."""
    now = acme.sandbox.world.find(message.ts)
    assert now is not None
    block = {"type": "section", "text": {"type": "mrkdwn", "text": HIDDEN, "verbatim": True}}
    return now.text == HIDDEN and [{**block, "block_id": ""} for block in now.blocks] == [{**block, "block_id": ""}]


@pytest.mark.parametrize("change", [*IN_A_CHANNEL, *UNCHANGEABLE], ids=lambda change: change.__name__)
async def test_a_list_in_a_channel_that_is_not_ours_alone_any_more(acme: Acme, change: Change) -> None:
    """The list gets no new names and loses all; an admin gets the whole list once, and later edits go there."""
    await chosen(acme)
    await acme.pushed(*storm(*range(61)))
    (message,) = await until_posted(acme, 1)
    await change(acme)
    before = len(acme.sandbox.calls)
    await acme.pushed(*storm(61, 62, 63, 64, 65))
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")
    text = acme.seen(moved_message)

    assert text.startswith(f"({OTHERS.format(f'<#{SUCCESS}>')} To choose another place: `/score setup`)\n")
    assert "in one list: 66" in text
    assert {f"p{n:02d}@example.com" in text for n in (0, 60, 61, 65)} == {True}
    assert names_in(calls_since(acme, before, SUCCESS)) == []
    assert hidden(acme, message) is (change not in UNCHANGEABLE)

    await acme.pushed(*storm(66))
    await until_it_says(acme, moved_message, "in one list: 67")
    listed = await acme.ask("followups", channel="D0REP")
    await click(acme, listed, "Claim")
    await until_it_says(acme, moved_message, "Claimed by <@U0REP>")
    await acme.restart()
    assert names_in(calls_since(acme, before, SUCCESS)) == []
    assert len(list_follow_up_posts(acme, "D0ADMIN")) == 1


@pytest.mark.parametrize(
    "change", [owner(is_restricted=True), owner(deleted=True), owner(is_stranger=True)], ids=["guest", "left", "other"]
)
async def test_a_list_in_the_direct_messages_of_somebody_who_is_no_member_any_more(acme: Acme, change: Change) -> None:
    """The same holds for direct messages, also after a restart, when the service must look up their reader again."""
    await chosen(acme, None)
    await acme.pushed(*storm(*range(61)))
    (message,) = await until_posted(acme, 1, "D0REP")
    await acme.restart()
    await change(acme)
    before = len(acme.sandbox.calls)
    await acme.pushed(*storm(61, 62, 63, 64, 65))
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")

    assert acme.seen(moved_message).startswith(f"({LEFT})\n")
    assert "in one list: 66" in acme.seen(moved_message)
    assert hidden(acme, message)
    assert names_in(calls_since(acme, before, "D0REP")) == []


async def test_direct_messages_are_asked_of_their_reader_alone(acme: Acme) -> None:
    """An edit in direct messages looks up at most their reader, and never the members of the channel."""
    await chosen(acme, None)
    await acme.pushed(*storm(*range(61)))
    (message,) = await until_posted(acme, 1, "D0REP")
    before = len(acme.sandbox.calls)
    await acme.pushed(*storm(61))
    await until_it_says(acme, message, "in one list: 62")
    assert {call.method for call in acme.sandbox.calls[before:]} <= {"chat.update", "users.info"}


@pytest.mark.parametrize("change", IN_A_CHANNEL, ids=lambda change: change.__name__)
async def test_a_message_that_changes_because_of_a_click_elsewhere(acme: Acme, change: Change) -> None:
    """After a claim in another list the message loses its names; the admin's copy has them, with working buttons."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await change(acme)
    before = len(acme.sandbox.calls)
    await click(acme, await acme.ask("followups", channel="D0REP"), "Claim")
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")

    assert acme.seen(moved_message).splitlines()[1:] == [
        "*Ada Lovelace* · Analytical Engines · Score *85* (hot), from 62",
        "(from crm · Owner: <@U0REP>)",
        *("(ada@example.com", "Rule 1: score crosses 80)"),
        "Claimed by <@U0REP> · ‹now›",
        "[Take over]",  # all that the admin may do
    ]
    assert hidden(acme, message)
    await click(acme, await acme.ask("followups", channel="D0REP"), "Done")
    await until_it_says(acme, moved_message, "Done by <@U0REP>")
    await acme.restart()
    assert names_in(calls_since(acme, before, SUCCESS)) == []
    assert len(calls_since(acme, before, SUCCESS)) == 1
    assert len(list_follow_up_posts(acme, "D0ADMIN")) == 1


async def test_a_message_that_changes_because_the_score_fell_back(acme: Acme) -> None:
    """Without a click the message is edited too, and checks its readers too."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await guest_joined(acme)
    await acme.pushed(hot(value=20))
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")
    assert "Closed automatically: the score fell back" in acme.seen(moved_message)
    assert hidden(acme, message)


@pytest.mark.parametrize("change", [shared, guest_joined], ids=lambda change: change.__name__)
async def test_a_snooze_that_ends_is_not_said_where_others_read_along(acme: Acme, change: Change) -> None:
    """Neither the thread nor the message shows the end of the snooze; the admin's copy has the buttons."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await press(acme, message, "Snooze")
    await until_it_says(acme, message, "Snoozed by")
    await change(acme)
    acme.sandbox.clock.advance(SNOOZE_ENDS)
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")
    assert "[Claim] [Snooze] [Done]" in acme.seen(moved_message)
    await acme.restart()
    assert hidden(acme, message)
    assert [post for post in acme.sandbox.world.posts if post.thread_ts] == []


async def test_a_snooze_that_ends_is_not_said_to_somebody_who_left(acme: Acme) -> None:
    """The end of a snooze is not posted in direct messages if their reader may not see scores any more."""
    await chosen(acme, None)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1, "D0REP")
    await press(acme, message, "Snooze")
    await until_it_says(acme, message, "Snoozed by")
    await owner(is_restricted=True)(acme)
    acme.sandbox.clock.advance(SNOOZE_ENDS)
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")
    assert acme.seen(moved_message).startswith(f"({LEFT})\n*Ada Lovelace*")
    await acme.restart()
    assert hidden(acme, message)
    assert [post for post in acme.sandbox.world.posts if post.thread_ts] == []


@pytest.mark.parametrize(("becomes", "place"), [("a member", "D0JANE"), ("a guest", "D0ADMIN")])
async def test_what_is_escalated_where_a_guest_reads_along(acme: Acme, becomes: str, place: str) -> None:
    """An escalation is sent by direct message; if that person may not see scores any more, an admin gets it."""
    await acme.ask(f"alerts add when score crosses 80 in <#{SUCCESS}> sla 4h escalate to <@U0JANE>")
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await guest_joined(acme)
    acme.sandbox.world.people["U0JANE"].is_restricted = becomes == "a guest"
    acme.sandbox.clock.advance(SNOOZE_ENDS)  # longer than four working hours

    def list_escalations() -> list[Message]:
        posts = [post for post in acme.sandbox.world.posts if post.channel == place]
        return [post for post in posts if "Nobody has claimed this in time" in post.text]

    (word,) = await acme.until(list_escalations)
    reason = "<@U0JANE> is not an active member here, so this escalation comes to you."
    assert (reason in word.text) is (becomes == "a guest")
    await until_posted(acme, 1, "D0ADMIN")
    await acme.restart()
    assert hidden(acme, message)
    assert [post for post in acme.sandbox.world.posts if post.thread_ts] == []
    assert becomes == "a member" or not acme.sandbox.messages("D0JANE", "U0JANE")


async def test_a_digest_that_is_due_in_a_channel_with_a_guest(acme: Acme) -> None:
    """The digest is not sent, and an admin is notified once."""
    acme.sandbox.clock.advance(1_798_448_400 - acme.sandbox.clock.now())  # 2026-12-28, 10:00 in Berlin
    await chosen(acme, None)
    await acme.ask(f"alerts digest 11:00 in <#{SUCCESS}>")
    await acme.pushed(hot("hopper@example.com", 90))
    await guest_joined(acme)
    for _ in range(2):
        acme.sandbox.clock.advance(DAY)
        await acme.until(lambda: "So its digest is not sent" in str(acme.sandbox.messages("D0ADMIN")))
    await acme.restart()
    assert str(acme.sandbox.messages("D0ADMIN")).count(f"text='<#{SUCCESS}> was archived or shared, has guests") == 1
    assert "Hopper" not in str(acme.sandbox.messages(SUCCESS))


async def test_the_admins_who_are_named_come_first(acme: Acme) -> None:
    """Named admins come first, then owners and admins of the workspace; a named admin who left is skipped."""
    await chosen(acme)
    await name_admins(
        acme.workspace, people=["U0GUEST", "U0JANE"], by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000)
    )
    await acme.pushed(hot(), hot("hopper@example.com"))
    await until_posted(acme, 2)
    await shared(acme)
    listed = await acme.ask("followups", channel="D0REP")
    listed = await click(acme, listed, "Claim")
    (message,) = await until_posted(acme, 1, "D0JANE")
    assert "Claimed by <@U0REP>" in acme.seen(message)
    acme.sandbox.world.people["U0JANE"].deleted = True
    await acme.sandbox.event({"type": "user_change", "user": {"id": "U0JANE", "team_id": "T0DEMO", "deleted": True}})
    await click(acme, listed, "Claim")
    (other,) = await until_posted(acme, 1, "D0ADMIN")
    assert "Claimed by <@U0REP>" in acme.seen(other)


async def test_without_an_admin_the_home_tab_says_so(acme: Acme) -> None:
    """The message is hidden anyway; once there is an admin, the next edit reaches them and clears Home's notice."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    admin = acme.sandbox.world.people["U0ADMIN"]
    admin.is_admin = admin.is_owner = False
    await guest_joined(acme)
    acme.sandbox.clock.advance(301)  # users.list is read every five minutes
    await click(acme, await acme.ask("followups", channel="D0REP"), "Claim")
    await acme.until(lambda: hidden(acme, message))
    await acme.restart()  # after the restart nothing is running
    assert list_follow_up_posts(acme, "D0ADMIN") == []
    assert await is_noticed(acme.workspace, notice=NO_ADMIN)
    assert "No admin could be reached" in await home(acme)
    assert "Ada" not in (await home(acme)).partition("Your follow-ups")[0]

    await name_admins(acme.workspace, people=["U0JANE"], by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000))
    await click(acme, await acme.ask("followups", channel="D0REP"), "Done")
    (moved_message,) = await until_posted(acme, 1, "D0JANE")
    assert "Done by <@U0REP>" in acme.seen(moved_message)
    await acme.restart()
    assert "No admin could be reached" not in await home(acme)


async def home(acme: Acme) -> str:
    """Open the Home tab of the rep, and return its text."""
    before = len(acme.sandbox.calls)
    await acme.sandbox.open_home(REP)
    published = lambda: [call for call in acme.sandbox.calls[before:] if call.method == "views.publish"]  # noqa: E731
    await acme.sandbox.wait_for(published)
    view = acme.sandbox.home(REP)
    assert view is not None
    return json.dumps(view.content, ensure_ascii=False)


@pytest.mark.parametrize("fault", ["rate_limited", "server_error", "dropped_after_accepting"])
async def test_the_admin_gets_it_once_whatever_slack_answers(acme: Acme, fault: Any) -> None:
    """The message is looked up in the admin's direct messages before it is sent again."""
    await chosen(acme)
    await acme.pushed(*storm(*range(61)))
    (message,) = await until_posted(acme, 1)
    await guest_joined(acme)
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind=fault))
    await acme.pushed(*storm(61))
    await tried_again(acme)
    await acme.pushed(*storm(62))
    acme.sandbox.clock.advance(5)
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")
    await until_it_says(acme, moved_message, "in one list: 63")
    await acme.restart()
    assert len(list_follow_up_posts(acme, "D0ADMIN")) == 1
    assert hidden(acme, message)


@pytest.mark.parametrize("method", ["conversations.info", "conversations.members", "users.list"])
async def test_what_slack_does_not_say_just_now_waits(acme: Acme, method: str) -> None:
    """A temporary error hides nothing and moves nothing: the edit waits until Slack returns the readers."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    acme.sandbox.clock.advance(301)
    acme.sandbox.faults.add(Fault(method=method, kind="server_error"))
    before = len(acme.sandbox.calls)
    await acme.pushed(hot(value=20))
    await acme.until(lambda: method in [call.method for call in acme.sandbox.calls[before:]])
    acme.sandbox.clock.advance(5)
    await until_it_says(acme, message, "Closed automatically")
    assert list_follow_up_posts(acme, "D0ADMIN") == []


async def test_who_left_the_channel_opens_it_again(acme: Acme) -> None:
    """After the event that the guest left, the next follow-up is posted to the channel."""
    await chosen(acme, SALES)
    await acme.pushed(hot())
    await until_posted(acme, 1, "D0ADMIN")
    acme.sandbox.world.channels[SALES].members.remove("U0GUEST")
    await acme.sandbox.event({"type": "member_left_channel", "user": "U0GUEST", "channel": SALES, "team": "T0DEMO"})
    await acme.pushed(hot("hopper@example.com"))
    (message,) = await until_posted(acme, 1, SALES)
    assert "Grace Hopper" in acme.seen(message)


async def test_somebody_new_in_a_channel_is_looked_up_at_once(acme: Acme) -> None:
    """Members who joined the workspace since users.list was read are looked up one by one."""
    await chosen(acme)
    await acme.pushed(hot())
    await until_posted(acme, 1)
    world = acme.sandbox.world
    world.add_person(SlackUser(id="U0NEW", name="new", real_name="New Colleague"))
    world.add_channel(Channel(id="C0NEW", name="new", members=["U0NEW", world.bot_user]))
    await chosen(acme, "C0NEW")
    before = len(acme.sandbox.calls)
    await acme.pushed(hot("hopper@example.com"))
    await until_posted(acme, 1, "C0NEW")
    methods = [call.method for call in acme.sandbox.calls[before:]]
    assert (methods.count("users.list"), methods.count("users.info")) == (0, 1)


async def test_a_list_that_was_taken_unheard_before_a_guest_joined(acme: Acme) -> None:
    """The list is found and hidden, and an admin gets it together with the later follow-ups."""
    await chosen(acme)
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind="dropped_after_accepting"))
    await acme.pushed(*storm(*range(61)))
    (message,) = await until_posted(acme, 1)
    await guest_joined(acme)
    await acme.pushed(*storm(61))
    acme.sandbox.clock.advance(5)
    (moved_message,) = await until_posted(acme, 1, "D0ADMIN")
    await until_it_says(acme, moved_message, "in one list: 62")
    await acme.restart()
    assert hidden(acme, message)
    assert (len(list_follow_up_posts(acme)), len(list_follow_up_posts(acme, "D0ADMIN"))) == (1, 1)


async def test_who_may_see_nothing_is_told_so_in_direct_messages_too(acme: Acme) -> None:
    """If the response_url is gone, the refusal is sent by direct message."""
    sent = await acme.written(lambda: acme.sandbox.say("/score ada@example.com", user="U0GUEST", channel=SALES))
    await acme.sandbox.again(other(sent, response_url="http://127.0.0.1:9/response/gone"))
    (message,) = await acme.until(lambda: acme.sandbox.messages("D0GUEST", "U0GUEST"))
    assert message.text == "Scores are for members of this workspace; guests cannot see or change them."
