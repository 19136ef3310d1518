"""`undo` takes back the last command of any kind, and asks first where the person may not think of it."""

from storage.audit import audit_entries
from tests.conftest import on_both
from tests.journeys.acme import Acme, button_of
from tests.journeys.admin import ADMIN, ask
from tests.journeys.test_following_up import chosen, hot, press, until_it_says, until_posted

HOUR = 3_600


@on_both
async def test_the_last_command_of_any_kind_is_taken_back(acme: Acme) -> None:
    """Scores, segments and alert rules are undone in turn, the last first; Undo on a receipt restores."""
    await acme.ask("set ada 85")
    await acme.ask("segment save hot score>=80")
    await acme.ask("alerts add when score crosses 80 if tag:vip in <#C0SUCCESS|success>")
    await acme.ask("segment delete hot")

    undone = await acme.ask("undo")
    assert acme.seen(undone) == "Segment deleted *hot* (text: score&gt;=80) · undone\n[Undo]"
    assert acme.seen(await acme.ask("segment show hot")).startswith("*1 contact fits")
    assert acme.seen(await acme.ask("undo")).startswith("Alert rule added *rule 2*")
    assert "tag:vip" not in acme.seen(await acme.ask("alerts"))
    assert acme.seen(await acme.ask("undo")).startswith("Segment saved *hot*")
    assert acme.seen(await acme.ask("undo")).startswith("Ada Lovelace · Score 85 → *62*")
    assert acme.seen(await acme.ask("undo")) == "You have no change to undo."

    assert acme.seen(await acme.press(undone, "Undo")).startswith(
        "Nothing was changed: the segment `hot` was deleted, so that change cannot be undone"
    )


@on_both
async def test_the_undo_of_a_rule_is_undone(acme: Acme) -> None:
    """A removed rule comes back as it was, and the undo of that removes it again."""
    await acme.ask("alerts add when score crosses 80 if tag:vip in <#C0SUCCESS|success>")
    await acme.ask("alerts pause 2")
    await acme.ask("alerts remove 2")
    back = await acme.ask("undo")
    assert acme.seen(back).startswith("Alert rule removed *rule 2*")
    assert "paused" in acme.seen(await acme.ask("alerts"))
    again = await acme.press(back, "Undo")
    assert acme.seen(again).startswith("Alert rule added *rule 2*")
    assert "tag:vip" not in acme.seen(await acme.ask("alerts"))
    await acme.press(again, "Undo")
    assert "tag:vip" in acme.seen(await acme.ask("alerts"))
    assert acme.seen(await acme.ask("undo")).startswith("Alert rule paused *rule 2*")
    entries = [entry for entry in await audit_entries(acme.workspace) if entry.undoes is not None]
    assert [entry.who for entry in entries] == ["U0REP"] * 4


@on_both
async def test_a_move_of_a_follow_up_is_taken_back(acme: Acme) -> None:
    """A claim and its outcome are undone; the message shows it."""
    await chosen(acme)
    await acme.pushed(hot())
    (post,) = await until_posted(acme, 1)
    await press(acme, post, "Claim")
    post = await until_it_says(acme, post, "Claimed by <@U0REP>")
    assert "state: open → claimed" in acme.seen(await acme.ask("undo"))
    post = await until_it_says(acme, post, "[Claim]")
    await press(acme, post, "Done")
    undone = await acme.ask("undo")
    assert "state: open → done" in acme.seen(undone)
    post = await until_it_says(acme, post, "[Claim]")
    await press(acme, post, "Claim", user="U0JANE")
    text = acme.seen(await acme.press(undone, "Undo"))
    assert text == "Nothing was changed: the follow-up is claimed now, so that change cannot be undone."


async def test_an_old_command_is_undone_only_when_asked(acme: Acme) -> None:
    """After an hour, `undo` says what it would undo, and a button does it."""
    await acme.ask("set ada fit=8")
    acme.sandbox.clock.advance(HOUR + 1)
    question = await acme.ask("undo")
    assert acme.seen(question).startswith("Your last command that can be undone: Fit changed · *Ada Lovelace* · ")
    assert await acme.value("ada", "fit") == 8_000
    await acme.press(question, "Undo")
    assert await acme.value("ada", "fit") == 7_000

    await acme.ask("segment save hot score>=80")
    acme.sandbox.clock.advance(HOUR + 1)
    question = await acme.ask("undo")
    assert "Segment saved *hot* (text: score&gt;=80)" in acme.seen(question)
    assert acme.seen(await acme.press(question, "Undo")).startswith("Segment saved *hot*")


async def test_after_a_command_that_cannot_be_undone_it_asks(acme: Acme) -> None:
    """What was done last cannot be undone, so `undo` does not silently take back what was done before."""
    await acme.ask("set ada 85")
    acme.sandbox.clock.advance(1)
    await acme.ask("alerts digest 9:00 Europe/Berlin")
    question = await acme.ask("undo")

    assert acme.seen(question).startswith("Your last command that can be undone: Score changed · *Ada Lovelace* · ")
    assert await acme.value("ada") == 85_000


async def test_members_undo_only_their_own_commands(acme: Acme) -> None:
    """A colleague cannot undo a change, nor can an admin by accident: `undo` is about the asker's own commands."""
    await acme.ask("segment save hot score>=80")
    receipt = await acme.ask("set ada 85")
    assert acme.seen(await acme.ask("undo", user="U0JANE")) == "You have no change to undo."
    batch = button_of(receipt, "Undo")["value"]
    refused = await acme.ask("undo import/0123456789abcdef", user="U0JANE")
    assert acme.seen(refused) == "Nothing was changed: there is nothing to undo."
    assert batch.startswith("slack/")
    assert acme.seen(await ask(acme, "undo")) == "You have no change to undo."
    assert ADMIN != "U0REP"
