"""A segment that alerts use is protected, and the people who depend on it are told of every change."""

from bot.demo.world import Message
from storage.audit import audit_entries
from tests.conftest import on_both
from tests.journeys.acme import Acme
from tests.journeys.test_following_up import SUCCESS, chosen, hot, until_posted

ADMIN, JANE, REP = "U0ADMIN", "U0JANE", "U0REP"


def notices(acme: Acme, user: str) -> list[str]:
    """Return the messages about alert rules in a person's direct messages, oldest first."""
    posts = [post for post in acme.sandbox.messages(f"D0{user[2:]}", user) if is_notice(post)]
    return [acme.seen(post) for post in posts]


def is_notice(post: Message) -> bool:
    """Return whether a message tells somebody about a problem or a change."""
    return (post.metadata or {}).get("event_type") == "notice"


async def until_noticed(acme: Acme, user: str, count: int) -> list[str]:
    """Wait until a person has a number of notices, and return them."""
    return await acme.until(lambda: noticed if len(noticed := notices(acme, user)) >= count else [])


@on_both
async def test_a_segment_in_use_is_not_deleted_and_its_change_is_told(acme: Acme) -> None:
    """A used segment cannot be deleted; only its maker and admins change it; makers of rules are told once each."""
    await acme.ask("segment save vips tag:vip")
    await acme.ask("segment save best segment:vips score>=10")
    await acme.ask(f"alerts add when score crosses 66 if segment:vips in <#{SUCCESS}>")
    await acme.ask(f"alerts add when score crosses 70 if segment:best in <#{SUCCESS}>", user=JANE)

    by_jane = [
        acme.seen(await acme.ask(line, user=JANE))
        for line in ("segment delete vips", "segment save vips tag:partner", "segment save mine tag:mine")
    ]
    by_maker = acme.seen(await acme.ask("segment delete vips"))
    by_admin = acme.seen(await acme.ask("segment save vips tag:partner", user=ADMIN))

    assert by_jane == [
        "Nothing was changed. Only <@U0REP>, who saved it, or an admin can delete the segment *vips*. Ask <@U0ADMIN>.",
        "Nothing was changed. Only <@U0REP>, who saved it, or an admin can change the segment *vips*. Ask <@U0ADMIN>."
        " To save yours under another name: `/score segment save my-vips …`",
        "Saved *mine*: `tag:mine`. Use it: `/score filter segment:mine`",
    ]
    assert by_maker == (
        "The segment `vips` was not deleted: the segment `best` and alert rule 2 use it."
        " First type `/score alerts remove 2` and `/score segment save best …` without it"
    )
    assert by_admin == (
        "Saved *vips*: `tag:partner`. It was `tag:vip`. Alert rules 2 and 3 use it from now on;"
        " <@U0JANE>, <@U0REP> will be told. Use it: `/score filter segment:vips`"
    )
    assert await until_noticed(acme, REP, 1) == [
        "<@U0ADMIN> changed the segment *vips*, which your alert rule 2 uses: `tag:vip` → `tag:partner`\n"
        "(Your rules: `/score alerts`. To stop one: `/score alerts pause 2`)"
    ]
    assert await until_noticed(acme, JANE, 1) == [
        "<@U0ADMIN> changed the segment *vips*, which your alert rule 3 uses: `tag:vip` → `tag:partner`\n"
        "(Your rules: `/score alerts`. To stop one: `/score alerts pause 3`)"
    ]
    await acme.ask("segment save vips tag:partner", user=ADMIN)  # no change
    await acme.ask("alerts pause 3", user=ADMIN)
    assert (await until_noticed(acme, JANE, 2))[1:] == [
        "<@U0ADMIN> paused your alert rule 3: `when score crosses 70` `if segment:best` → <#C0SUCCESS>\n"
        "It alerts nobody until you type `/score alerts resume 3`"
    ]
    await acme.ask("alerts remove 2", user=ADMIN)
    assert (await until_noticed(acme, REP, 2))[1:] == [
        "<@U0ADMIN> removed your alert rule 2: `when score crosses 66` `if segment:vips` → <#C0SUCCESS>"
    ]
    assert "Deleted the segment *mine*" in acme.seen(await acme.ask("segment delete mine", user=JANE))
    assert notices(acme, ADMIN) == []
    saved = [entry.after for entry in await audit_entries(acme.workspace) if entry.subject == "vips"]
    assert saved == [{"text": text, "made_by": REP} for text in ("tag:partner", "tag:partner", "tag:vip")]


async def test_an_undo_of_a_segment_or_a_rule_is_told_too(acme: Acme) -> None:
    """An undo tells the makers as the change did; a segment that is in use by now stays; its maker is restored."""
    await acme.ask("segment save vips tag:vip")
    await acme.ask(f"alerts add when score crosses 66 if segment:vips in <#{SUCCESS}>", user=JANE)
    assert "was not deleted: alert rule 2 uses it" in acme.seen(await acme.ask("undo"))
    await acme.ask("segment save vips tag:partner", user=ADMIN)
    await acme.ask("undo", user=ADMIN)
    (first, second) = await until_noticed(acme, JANE, 2)
    assert "`tag:vip` → `tag:partner`" in first
    assert "<@U0ADMIN> changed the segment *vips*, which your alert rule 2 uses: `tag:partner` → `tag:vip`" in second
    await acme.ask("alerts remove 2", user=ADMIN)
    await acme.ask("undo", user=ADMIN)
    (*_, third, fourth) = await until_noticed(acme, JANE, 4)
    rule = "your alert rule 2: `when score crosses 66` `if segment:vips` → <#C0SUCCESS>"
    assert (third, fourth) == (f"<@U0ADMIN> removed {rule}", f"<@U0ADMIN> restored {rule}")
    await acme.ask("alerts remove 2", user=JANE)
    await acme.ask("segment delete vips", user=ADMIN)
    await acme.ask("undo", user=ADMIN)
    assert "Saved *vips*" in acme.seen(await acme.ask("segment save vips tag:lost"))  # it is the rep's again


async def test_makers_are_told_where_an_admin_sends_their_alerts(acme: Acme) -> None:
    """A rule without a place of its own follows the workspace's choice, and its maker is told; the admin is not."""
    for line in ("score crosses 66", "score crosses 67", f"score crosses 68 in <#{SUCCESS}>"):
        await acme.ask(f"alerts add when {line}")
    await acme.ask("alerts add when score crosses 69", user=ADMIN)

    await chosen(acme)

    assert await until_noticed(acme, REP, 1) == [
        "<@U0ADMIN> changed where follow-ups go, so those of your alert rules 2 and 3 go to <#C0SUCCESS> from now on,"
        " not to the contact's owner, else an admin.\n"
        "(To choose another place for a rule, add it again with a channel, as"
        " `/score alerts add when score crosses 80 in #channel`, and remove the old one: `/score alerts remove 2`)"
    ]
    await chosen(acme)  # the same channel again
    acme.sandbox.world.people[REP].deleted = True
    await chosen(acme, None)
    (notice,) = await until_noticed(acme, ADMIN, 1)
    assert "go to the contact's owner, else an admin from now on, not to <#C0SUCCESS>." in notice
    assert "(<@U0REP>, who made it, is not an active member here, so this message comes to you.)" in notice


async def test_me_in_a_segment_is_the_maker_of_the_rule(acme: Acme) -> None:
    """A segment with `owner:me` works in an alert: it means the maker of the rule, who may differ from its own."""
    await acme.ask("segment save mine owner:me", user=JANE)
    words = f"score crosses 80 if segment:mine in <#{SUCCESS}>"
    assert "created *no follow-up*" in acme.seen(await acme.ask(f"alerts try when {words}"))
    assert "Added rule 2" in acme.seen(await acme.ask(f"alerts add when {words}"))
    assert "Added rule 3" in acme.seen(await acme.ask(f"alerts add when {words}", user=JANE))
    assert "Rule 2 is the same" in acme.seen(await acme.ask(f"alerts add when {words}"))

    await acme.pushed(hot(), hot("hopper@example.com"))  # the rep owns Ada, and nobody owns Hopper

    (message,) = await until_posted(acme, 1)
    assert acme.seen(message).startswith("*Ada Lovelace*")
