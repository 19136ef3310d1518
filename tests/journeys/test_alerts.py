"""Alert rules of every kind: added, tried and listed, and the follow-ups and notices that result."""

import re
from typing import Any

import pytest

from bot.demo.world import Channel
from storage.alerts.enroll import choose_channel
from storage.alerts.followup_moves import apply_move
from storage.alerts.followups import load_follow_ups
from storage.domain.followups import FollowUpMove
from storage.domain.score_types import Band
from storage.scoring.definitions import add_score_type
from tests.conftest import on_both
from tests.journeys.acme import REP, Acme, ago, button_of, drawn, entered, other
from tests.journeys.test_following_up import (
    BAD_ANSWERS,
    SUCCESS,
    chosen,
    click,
    history,
    hot,
    list_follow_up_posts,
    press,
    tried_again,
    until_it_says,
    until_posted,
)
from tests.slack.faults import Fault

HOUR, DAY = 3_600, 86_400
SLA_ENDS = 4 * DAY  #: seconds after which four working hours are over, whenever they began
MONDAY_TEN = 1_798_448_400  # 2026-12-28, 10:00 in Berlin


async def add_heat(acme: Acme, *, is_default: bool = False) -> None:
    """Add a score type with a half-life of one day."""
    bands = (Band(name="cold", start=0), Band(name="hot", start=80_000))
    await add_score_type(
        acme.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1000, start=0, bands=bands,
        half_life=DAY * 1_000_000, is_default=is_default, by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000),
    )  # fmt: skip  # one definition


async def test_fading_asks_by_itself_and_says_why(acme: Acme) -> None:
    """Decay alone crosses the edge, and the follow-up says so."""
    await add_heat(acme)
    answer = await acme.ask(f"alerts add when heat about to fall out of hot in 3h in <#{SUCCESS}|success> cooldown 1d")
    assert "`when heat about to fall out of hot in 3h` → <#C0SUCCESS> `cooldown 1d`" in acme.seen(answer)
    await acme.pushed(hot("ada@example.com", 100) | {"score": "heat"})
    acme.sandbox.clock.advance(5 * HOUR + 60)
    (message,) = await until_posted(acme, 1)
    assert acme.seen(message).splitlines()[:2] == [
        "*Ada Lovelace* · Analytical Engines · Heat *87* (hot)",  # not "from 87": no change caused it
        "(heat about to fall out of hot in 3h · Owner: <@U0REP>)",
    ]


@on_both
async def test_nobody_claims_it_in_time(acme: Acme) -> None:
    """An unclaimed follow-up is escalated, overdue, claimed by the other person, and reopened after three days."""
    await acme.ask(f"alerts add when score crosses 80 in <#{SUCCESS}> sla 4h escalate to <@U0JANE>")
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    assert "No follow-ups are overdue." in acme.seen(await acme.ask("followups overdue"))
    acme.sandbox.clock.advance(SLA_ENDS)
    message = await until_it_says(acme, message, "Nobody claimed it in time: escalated to <@U0JANE>")
    (reminder,) = await acme.until(lambda: [post for post in acme.sandbox.world.posts if post.thread_ts == message.ts])
    assert reminder.text == "<@U0JANE>, nobody has claimed this in time."
    assert "Ada Lovelace" in acme.seen(await acme.ask("followups overdue"))
    assert await press(acme, message, "Claim", user="U0JANE") == "You claimed Ada Lovelace."
    assert "No follow-ups are overdue." in acme.seen(await acme.ask("followups overdue"))
    acme.sandbox.clock.advance(3 * DAY + 1)
    await until_it_says(acme, message, "[Claim] [Snooze] [Done]")
    threads = await acme.until(lambda: [post for post in acme.sandbox.world.posts if post.thread_ts == message.ts][1:])
    assert "three days ago" in threads[0].text
    assert (await history(acme, message)).splitlines()[1:] == [
        "Created from crm",
        "Nobody claimed it in time: escalated to <@U0JANE>",
        "Claimed by <@U0JANE>",
        "Reopened: claimed three days ago and not marked done",
    ]


@pytest.mark.parametrize("place", ["", "in digest "])
async def test_who_does_not_see_it_is_told_that_it_is_escalated(acme: Acme, place: str) -> None:
    """If the other person cannot see the follow-up's message, the escalation is sent to them by direct message."""
    await chosen(acme, None)
    await acme.ask(f"alerts add when score crosses 80 {place}sla 4h escalate to <@U0JANE>")
    await acme.ask("alerts pause 1", user="U0ADMIN")
    await acme.pushed(hot())
    if not place:
        await until_posted(acme, 1, "D0REP")
    acme.sandbox.clock.advance(SLA_ENDS)
    (message,) = await acme.until(lambda: acme.sandbox.messages("D0JANE", "U0JANE"))
    assert acme.seen(message) == (
        "*Ada Lovelace* · Analytical Engines · Score *85* (hot), from 62\n"
        "Nobody has claimed this in time. Claim it: `/score followups mine`"
    )
    text = acme.seen(await acme.ask("followups mine", user="U0JANE"))
    assert "*Ada Lovelace*" in text
    assert "escalated to <@U0JANE>" in text
    assert "Ada" not in acme.seen(await acme.ask("followups mine", user="U0ADMIN"))
    await acme.restart()
    assert [post for post in acme.sandbox.world.posts if post.thread_ts] == []
    assert len(acme.sandbox.messages("D0JANE", "U0JANE")) == 1


@on_both
async def test_what_came_of_it_is_counted(acme: Acme) -> None:
    """Outcomes are counted for each rule and in total."""
    await chosen(acme)
    await acme.pushed(hot(), hot("hopper@example.com"), hot("kelly@example.com"))
    messages = await until_posted(acme, 3)
    for message, outcome in zip(messages[:2], ("Meeting", "No reply"), strict=True):
        await press(acme, message, "Done")
        message = await until_it_says(acme, message, "Done by <@U0REP>")
        await press(acme, message, outcome)
    listed = acme.seen(await acme.ask("alerts"))
    assert "1 meeting, 1 no reply, 1 open, 50 % led to a meeting" in listed
    assert "Of 2 that ended, 50 % led to a meeting." in listed


@on_both
async def test_a_rule_is_tried_before_it_is_made(acme: Acme) -> None:
    """Trying a rule replays the ledger; no rule is created and nothing is posted."""
    await acme.pushed(
        hot("hopper@example.com", 95, occurred_at=ago(acme.sandbox, 2.5)),
        hot("hopper@example.com", 10, occurred_at=ago(acme.sandbox, 2)),
        hot("kelly@example.com", 20, occurred_at=ago(acme.sandbox, 1)),
    )
    text = acme.seen(await acme.ask("alerts try when score crosses 40"))
    assert text.splitlines()[0] == "In the last 30 days this would have created *2 follow-ups*:"
    assert [line.partition(" · ")[0] for line in text.splitlines()[1:3]] == ["Grace Hopper", "Ada Lovelace"]
    assert "`/score alerts add when score crosses 40`" in text
    assert "created *1 follow-up*" in acme.seen(await acme.ask("alerts try when score falls 30 in 18h"))
    assert "created *no follow-up*" in acme.seen(await acme.ask("alerts try when score crosses 40 if tag:nobody"))
    assert "Did you mean" in acme.seen(await acme.ask("alerts try when score enters hto"))
    assert "2. " not in acme.seen(await acme.ask("alerts"))
    assert list_follow_up_posts(acme) == []


async def test_a_rule_that_is_there_is_not_made_again(acme: Acme) -> None:
    """A duplicate rule is refused with the number and state of the existing rule."""
    words = f"fit crosses 8 if owner:me in <#{SUCCESS}|success>"
    await acme.ask(f"alerts add when {words}")
    again = acme.seen(await acme.ask(f"alerts add {words} margin 0.45 cooldown 14d"))
    assert again == (
        "Rule 2 is the same, so none was added: `when fit crosses 8` `if owner:rep@acme.example` → <#C0SUCCESS>\n"
        "(Its results: `/score alerts`)"
    )
    await acme.ask("alerts pause 2")
    assert acme.seen(await acme.ask(f"alerts add when {words}")).endswith(
        "→ <#C0SUCCESS> · paused\n(Resume it: `/score alerts resume 2`)"
    )
    for variant in (f"{words} hold 1h", words.replace("owner:me", "tag:vip"), words.replace(" in ", " sla 4h in ")):
        assert "Added rule" in acme.seen(await acme.ask(f"alerts add when {variant}"))
    await chosen(acme)  # rule 1 then posts to this channel too, as the default
    assert "Rule 1 is the same" in acme.seen(await acme.ask(f"alerts add when score crosses 80 in <#{SUCCESS}>"))
    await acme.ask("alerts remove 2")
    assert "Added rule 6" in acme.seen(await acme.ask(f"alerts add when {words}"))


async def test_the_rule_that_every_workspace_has_is_there_once_it_is_on(acme: Acme) -> None:
    """The default rule counts as a duplicate only after it is turned on by a choice of the channel."""
    assert "Added rule 2" in acme.seen(await acme.ask("alerts add when score crosses 80"))
    await acme.ask("alerts remove 2")
    await choose_channel(acme.workspace, channel=None, by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000))
    assert "Rule 1 is the same, so none was added" in acme.seen(await acme.ask("alerts add when score crosses 80"))


@pytest.mark.parametrize("target", ["U0GUEST", "U0OUT", "U0GONE", "U0BOT", "U0NOBODY"])
async def test_nobody_else_is_escalated_to(acme: Acme, target: str) -> None:
    """A follow-up is escalated only to members."""
    acme.sandbox.world.people["U0JANE"].deleted = target == "U0GONE"
    person = "U0JANE" if target == "U0GONE" else target
    text = acme.seen(await acme.ask(f"alerts add when score crosses 70 sla 4h escalate to <@{person}>"))
    assert text == (
        "No rule was added. The person to escalate to is not an active member of this workspace, and"
        " scores are for members only. Name a colleague: `sla 4h escalate to @jane`"
    )
    assert "2. " not in acme.seen(await acme.ask("alerts"))


async def test_a_rule_by_form(acme: Acme) -> None:
    """A rule is added by form, with optional fields behind More; mistakes are shown in the form."""
    response, _ = await acme.answered(lambda: acme.sandbox.say("/score alerts add", user=REP))
    assert response.status == 200
    view = acme.sandbox.open_views()[-1]
    assert "sla" not in str(view.blocks)
    await acme.sandbox.click(view.id, "alert_more", user=REP)
    (view,) = await acme.sandbox.wait_for(
        lambda: [open_view for open_view in acme.sandbox.open_views() if "sla" in str(open_view.blocks)]
    )

    def fields(**values: str | None) -> dict[str, Any]:
        inputs = {block["block_id"]: block["element"] for block in view.blocks if block["type"] == "input"}
        return entered(view, {name: value for name, value in values.items() if name in inputs})

    blank = dict.fromkeys(("condition", "channel", "hold", "margin", "cooldown", "sla", "escalate"))
    crosses = {**blank, "score": "score", "kind": "crosses", "value": "80", "place": "-"}
    for field, value, complaint in (
        ("value", "900", "Score runs from 0 to 100, so it never crosses 900."),
        ("condition", "colour:red", "There is no field colour."),
        ("channel", "C0SHARED", "That channel is shared with another organization"),
        ("channel", "C0NONE", "I cannot see that channel. Invite me there with /invite @Contact Score,"),
        ("hold", "soon", "soon is not a length of time"),
        ("margin", "x", "x is not a number"),
        ("cooldown", "3y", "3y is not a length of time"),
        ("sla", "never", "never is not a length of time"),
        ("escalate", "U0JANE", "Type the time after which it is escalated"),
    ):
        wrong = await acme.sandbox.submit(view.id, fields(**crosses | {field: value}))
        errors = wrong.json()["errors"]
        assert list(errors) == [field], (value, errors)
        assert errors[field].startswith(complaint)
    wrong = await acme.sandbox.submit(view.id, fields(**crosses | {"sla": "4h", "escalate": "U0GUEST"}))
    assert list(wrong.json()["errors"]) == ["escalate"]
    right = fields(
        **crosses | {"kind": "rises", "value": "15 in 7d", "channel": SUCCESS, "sla": "4h", "condition": "owner:me"}
    )
    wrong = await acme.sandbox.submit(view.id, {**right, "place": {"place": "digest"}})
    assert "The digest is sent elsewhere" in str(wrong.body)
    await acme.answered(lambda: acme.sandbox.submit(view.id, right))
    message = acme.latest()
    complaint = acme.seen(message)
    assert "`when score rises 15 in 7d` `if owner:rep@acme.example` → <#C0SUCCESS> `sla 4h`" in complaint


async def test_a_menu_that_slack_lost_is_its_first_choice(acme: Acme) -> None:
    """Slack may lose the choices that a form shows when More adds fields: a blank menu means its first choice."""
    await acme.answered(lambda: acme.sandbox.say("/score alerts add", user=REP))
    view = acme.sandbox.open_views()[-1]
    filled = {"value": {"value": "80"}, "condition": {"condition": "owner:me"}}
    menus = entered(view, {"score": "score", "kind": "crosses", "place": "-"})
    sent = await acme.written(lambda: acme.sandbox.submit(view.id, {**filled, **menus}))
    values = dict(sent.payload["view"]["state"]["values"])
    values |= {name: {name: {"type": "static_select", "selected_option": None}} for name in menus}
    state = sent.payload["view"] | {"state": {"values": values}}
    await acme.answered(lambda: acme.sandbox.again(other(sent, view=state)))

    assert "`when score crosses 80` `if owner:rep@acme.example` → the contact's owner" in acme.seen(acme.latest())


async def test_whoever_owns_nobody_can_become_the_owner(acme: Acme) -> None:
    """A person can become the owner of a contact without one by a button of the card; a second person is told."""
    card = await acme.ask("hopper@example.com")
    assert acme.seen(await acme.press(card, "Make me the owner")).startswith("You own Grace Hopper now")
    assert "already has an owner: rep@acme.example" in acme.seen(await acme.press(card, "Make me the owner"))
    assert "Make me the owner" not in acme.seen(await acme.ask("hopper@example.com"))


async def test_an_admin_is_told_once_where_messages_went(acme: Acme) -> None:
    """An admin is notified once that a channel was archived or an owner left; again only after a recovery."""
    await chosen(acme, "C0GONE")
    await acme.pushed(hot())
    await until_posted(acme, 1, "D0ADMIN")
    await acme.pushed(hot("hopper@example.com"))
    await until_posted(acme, 2, "D0ADMIN")

    def count_posts(words: str) -> int:
        return sum(words in post.text for post in acme.sandbox.world.posts if post.channel == "D0ADMIN")

    assert count_posts("follow-ups for <#C0GONE> come to you") == 1
    await chosen(acme, None)
    await acme.pushed(
        {"type": "contact.upsert", "contact": {"email": "kelly@example.com", "owner": "gone@acme.example"}}
    )
    await acme.pushed(hot("kelly@example.com"))
    await until_posted(acme, 3, "D0ADMIN")
    assert count_posts("No active member has the address gone@acme.example") == 1


async def test_an_admin_is_told_once_of_a_channel_that_takes_nothing(acme: Acme) -> None:
    """An admin is notified once of a channel that rejects messages, and again only after it accepted one."""
    world = acme.sandbox.world
    channel = world.add_channel(Channel(id="C0PUBLIC", name="public", members=[REP]))
    await chosen(acme, channel.id)

    def count_posts() -> int:
        return sum("Slack says `not_in_channel`" in post.text for post in world.posts if post.channel == "D0ADMIN")

    for count, name in enumerate(("ada", "hopper"), 1):
        await acme.pushed(hot(f"{name}@example.com"))
        await until_posted(acme, count, "D0ADMIN")
    assert count_posts() == 1
    channel.members.append(world.bot_user)
    await acme.pushed(hot("kelly@example.com"))
    await until_posted(acme, 1, channel.id)
    channel.members.remove(world.bot_user)
    await acme.pushed(hot("pete@topgun.example"))
    await until_posted(acme, 3, "D0ADMIN")
    assert count_posts() == 2


async def test_a_digest_comes_once_a_day_in_working_hours(acme: Acme) -> None:
    """A digest has the news since the last one; it is not sent without news or on a Saturday."""
    acme.sandbox.clock.advance(MONDAY_TEN - acme.sandbox.clock.now())
    await choose_channel(acme.workspace, channel=None, by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000))
    answer_text = acme.seen(await acme.ask(f"alerts digest 11:00 in <#{SUCCESS}|success>"))
    assert answer_text == "A digest goes to <#C0SUCCESS> Monday to Friday at 11:00 (Europe/Berlin), if there is news."
    assert acme.seen(await acme.ask(f"alerts digest 10:30 in <#{SUCCESS}|success>")).endswith(
        "at 10:30 (Europe/Berlin), if there is news. Before: at 11:00 (Europe/Berlin)."
    )
    await acme.ask(f"alerts digest 11:00 in <#{SUCCESS}|success>")
    assert "not within working hours" in acme.seen(await acme.ask("alerts digest 23:00"))
    assert "no time zone" in acme.seen(await acme.ask("alerts digest 9:00 Europe/Nowhere"))
    await acme.ask("alerts add when score crosses 50 in digest")
    await acme.pushed(hot("hopper@example.com", 90, reason="Demo"))

    def digests() -> list[Any]:
        return [post for post in acme.sandbox.world.posts if post.channel == SUCCESS and post.metadata]

    acme.sandbox.clock.advance(HOUR + 1)
    (message,) = await acme.until(digests)
    digest_text = drawn(message.blocks, now=acme.sandbox.clock.now())
    assert "*Newly hot*\nGrace Hopper *90* (hot)" in digest_text
    assert "▲ 49 · Grace Hopper" in digest_text
    assert "*To follow up*\n*Grace Hopper* · Navy · Score *90* (hot), from 41" in digest_text
    acme.sandbox.clock.advance(DAY)  # on Tuesday the digest's follow-up is still open
    await acme.until(lambda: digests()[1:])
    (follow_up,) = [
        follow_up for follow_up in await load_follow_ups(acme.workspace, ids=range(1, 50)) if follow_up.lane == "digest"
    ]
    assert follow_up.posted_at is None
    listed = await acme.ask("followups")
    button = button_of(listed, "Done", nth=0)
    assert button["value"].split(" ")[0] == str(follow_up.id)
    answer = await click(acme, listed, "Done")
    assert acme.seen(answer).startswith(
        "Marked Grace Hopper done. What was the outcome?\n[Meeting] [No reply] [Bad fit] [Won] [Lost]"
    )
    assert acme.seen(await acme.press(answer, "No reply")).startswith("Grace Hopper: no reply.\n")
    for _ in range(5):  # no news over the weekend
        acme.sandbox.clock.advance(DAY)
        await acme.ask("followups")
    assert len(digests()) == 2
    assert "Digest, Monday to Friday: <#C0SUCCESS> at 11:00" in acme.seen(await acme.ask("alerts"))
    assert "is off." in acme.seen(await acme.ask(f"alerts digest off in <#{SUCCESS}>"))


@pytest.mark.parametrize("fault", BAD_ANSWERS)
async def test_a_digest_comes_once_whatever_slack_answers(acme: Acme, fault: Any) -> None:
    """A digest is looked up before it is sent again; without that permission it says that it may be a repeat."""
    acme.sandbox.clock.advance(MONDAY_TEN - acme.sandbox.clock.now())
    await chosen(acme, None)
    await acme.ask("alerts digest 11:00")
    await acme.pushed(hot("ada@example.com", 90))
    await until_posted(acme, 1, "D0REP")
    if fault == "dropped_after_accepting":
        acme.sandbox.world.scopes -= {"im:history"}
    acme.sandbox.faults.add(Fault(method="chat.postMessage", kind=fault))

    def digests() -> list[Any]:
        return [post for post in acme.sandbox.world.posts if (post.metadata or {}).get("event_type") == "digest"]

    acme.sandbox.clock.advance(HOUR + 1)
    await tried_again(acme)
    repeated = fault == "dropped_after_accepting"
    await acme.until(lambda: digests()[1 if repeated else 0 :])
    await acme.restart()
    assert ["Possibly a repeat" in str(digest.blocks) for digest in digests()] == [False, True][: len(digests())]
    assert len(digests()) == 1 + repeated


@on_both
async def test_all_that_a_digest_has_to_say(acme: Acme) -> None:
    """A channel's digest covers everybody; a person's digest covers contacts they own, claimed or snoozed."""
    acme.sandbox.clock.advance(MONDAY_TEN - acme.sandbox.clock.now())
    await add_heat(acme, is_default=True)
    await chosen(acme)
    for words in ("score crosses 80 sla 1h", "score crosses 30 in digest"):
        await acme.ask(f"alerts add when {words}")
    await acme.ask(f"alerts digest 11:00 in <#{SUCCESS}|success>")
    await acme.ask("alerts digest 11:00")
    own_contact = {"email": "kelly@example.com", "owner": "rep@acme.example"}
    await acme.pushed(
        {"type": "contact.upsert", "contact": own_contact},
        *(hot(f"{name}@example.com") for name in ("kelly", "hopper")),
        hot("hello@studio54.example", 40),
        hot("ada@example.com", 100) | {"score": "heat"},
    )
    (hopper,) = [message for message in await until_posted(acme, 3) if "Hopper" in message.text]
    assert "*Grace Kelly*" in acme.seen(await acme.ask("followups mine"))
    assert "Studio 54" not in acme.seen(await acme.ask("followups mine"))

    def digests(channel: str) -> list[str]:
        sent = [post for post in acme.sandbox.world.posts if (post.metadata or {}).get("event_type") == "digest"]
        now = acme.sandbox.clock.now()
        texts = [drawn(digest.blocks, now=now).replace("\n\n", "\n") for digest in sent if digest.channel == channel]
        return [re.sub("<!date[^>]*>|‹[^›]*›", "…", text) for text in texts]

    acme.sandbox.clock.advance(HOUR + 60)
    await acme.until(lambda: digests(SUCCESS) and digests("D0REP"))
    acme.sandbox.clock.advance(HOUR)
    now = int(acme.sandbox.clock.now() * 1_000_000)
    until = now + 26 * HOUR * 1_000_000
    id = (hopper.metadata or {})["event_payload"]["id"]
    await apply_move(acme.workspace, id=id, move=FollowUpMove.SNOOZE, by="U0JANE", until=until, now=now)
    acme.sandbox.clock.advance(DAY - 2.5 * HOUR)
    await acme.pushed(hot("pete@topgun.example", 100) | {"score": "heat"})
    acme.sandbox.clock.advance(1.5 * HOUR + 60)
    await acme.until(lambda: digests(SUCCESS)[1:] and digests("D0REP")[1:])
    hint = "(Open follow-ups: `/score followups` · Turn this off: `/score alerts digest off"
    assert digests(SUCCESS)[1].splitlines() == [
        "*Heat since …*",
        "*Newly hot*",
        "Pete Mitchell *96* (hot)",
        "*New in the top 10*",
        "Pete Mitchell *96* (hot)",
        "*Biggest movers*",
        "▼ 48 · Ada Lovelace *49* (cold)",
        "*To follow up*",
        "*Studio 54* · Score *40* (warm)",
        "*Grace Kelly* · Monaco · Score *85* (hot)",
        "*Unclaimed for too long*",
        "*Grace Kelly* · Monaco · Score *85* (hot)",
        "*Snoozes that end today*",
        "*Grace Hopper* · Navy · Score *85* (hot), from 41 · Snoozed by <@U0JANE> until …",
        "*About to cool*",
        "Pete Mitchell *96* (hot) until …",
        f"{hint} in` <#C0SUCCESS>)",
    ]
    assert digests("D0REP")[1].splitlines() == [
        "*Heat since …*",
        "*Biggest movers*",
        "▼ 48 · Ada Lovelace *49* (cold)",
        "*To follow up*",
        "*Grace Kelly* · Monaco · Score *85* (hot)",
        "*Unclaimed for too long*",
        "*Grace Kelly* · Monaco · Score *85* (hot)",
        f"{hint}`)",
    ]


async def test_a_digest_that_its_channel_refuses(acme: Acme) -> None:
    """If a channel rejects its digest, an admin is notified once, and the digest is tried again the next day."""
    acme.sandbox.clock.advance(MONDAY_TEN - acme.sandbox.clock.now())
    await chosen(acme, None)
    world = acme.sandbox.world
    channel = world.add_channel(Channel(id="C0PUBLIC", name="public", members=[REP]))
    await acme.ask(f"alerts digest 11:00 in <#{channel.id}>")
    await acme.pushed(hot("hopper@example.com", 90))
    for _ in range(2):
        acme.sandbox.clock.advance(DAY)
        await acme.until(lambda: "So its digest is not sent" in str(acme.sandbox.messages("D0ADMIN")))
    await acme.restart()
    assert str(acme.sandbox.messages("D0ADMIN")).count("text='Slack says `not_in_channel` of <#C0PUBLIC>.") == 1
    channel.members.append(world.bot_user)
    acme.sandbox.clock.advance(DAY)
    await acme.until(lambda: [post for post in world.posts if post.channel == channel.id and post.metadata])


async def test_the_first_digest_has_what_happened_since_it_was_asked_for(acme: Acme) -> None:
    """A digest requested on Friday arrives on Monday with the news since Friday."""
    acme.sandbox.clock.advance(MONDAY_TEN - 3 * DAY - acme.sandbox.clock.now())
    await acme.ask("alerts digest 9:00")
    await acme.pushed(hot("ada@example.com", 90))
    acme.sandbox.clock.advance(3 * DAY - HOUR + 60)
    (message,) = await acme.until(
        lambda: [
            message
            for message in acme.sandbox.messages("D0REP")
            if (message.metadata or {}).get("event_type") == "digest"
        ]
    )
    assert "*Newly hot*\nAda Lovelace *90* (hot)" in drawn(message.blocks, now=acme.sandbox.clock.now())


@pytest.mark.parametrize("reason", ["deleted", "is_restricted"])
async def test_who_left_or_became_a_guest_gets_no_digest(acme: Acme, reason: str) -> None:
    """A person who left or became a guest gets no digest; an admin is notified once."""
    acme.sandbox.clock.advance(MONDAY_TEN - acme.sandbox.clock.now())
    await chosen(acme, None)
    await acme.ask("alerts digest 11:00", user="U0JANE")
    await acme.pushed({"type": "contact.upsert", "contact": {"email": "ada@example.com", "owner": "jane@acme.example"}})
    setattr(acme.sandbox.world.people["U0JANE"], reason, True)
    await acme.pushed(hot("hopper@example.com", 90))
    for _ in range(2):
        acme.sandbox.clock.advance(DAY)
        await acme.until(lambda: "their digest is not sent" in str(acme.sandbox.messages("D0ADMIN")))
    await acme.restart()
    assert str(acme.sandbox.messages("D0ADMIN")).count("text='<@U0JANE> is not an active member here") == 1
    assert acme.sandbox.messages("D0JANE") == []
