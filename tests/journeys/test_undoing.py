"""Undo changes by the verb and by the button, and undo an undo."""

import asyncio

from tests.conftest import on_both
from tests.journeys.acme import Acme, button_of

BUTTONS = "\n[Undo] [History]"
ALREADY = "Nothing was changed: that was undone already."
NOTHING_LEFT = "You have no change to undo."


async def test_the_verb_takes_back_the_last_command_whole_then_the_one_before(acme: Acme) -> None:
    """`undo` reverts the last command with all its values; again, it reverts the command before."""
    await acme.ask("set ada 85 fit=8 because great demo")
    await acme.ask("set kelly +5")
    texts = [acme.seen(await acme.ask("undo")) for _ in range(3)]

    assert texts == [
        "Grace Kelly · Score 5 → — · undone" + BUTTONS,
        "Ada Lovelace · Fit 8 → *7* (fair) · Score 85 → *62* (warm) · undone" + BUTTONS,
        NOTHING_LEFT,
    ]
    assert await acme.made_by_people() == [
        ("ada@example.com", "score", "set", 85_000, True),
        ("ada@example.com", "fit", "set", 8_000, True),
        ("kelly@example.com", "score", "add", 5_000, True),
    ]


async def test_the_verb_is_for_ones_own_changes(acme: Acme) -> None:
    """`undo` does not revert changes of a colleague or the CRM."""
    await acme.ask("set ada 85")
    text = acme.seen(await acme.ask("undo", user="U0JANE"))

    assert text == NOTHING_LEFT
    assert await acme.value("ada") == 85_000


async def test_the_verb_takes_back_a_cleared_score(acme: Acme) -> None:
    """`undo` restores a cleared score."""
    await acme.ask("clear ada fit score")
    text = acme.seen(await acme.ask("undo"))

    assert text == "Ada Lovelace · Fit — → *7* (fair) · Score — → *62* (warm) · undone" + BUTTONS


async def test_the_verb_after_the_button(acme: Acme) -> None:
    """`undo` ignores a change that the button reverted, but reverts a restored change."""
    await acme.ask("set ada 70")
    receipt = await acme.ask("set ada 85")
    undone = await acme.press(receipt, "Undo")
    by_verb = acme.seen(await acme.ask("undo"))
    await acme.press(undone, "Undo")

    assert by_verb == "Ada Lovelace · Score 70 → *62* (warm) · undone" + BUTTONS
    assert await acme.value("ada") == 85_000
    assert acme.seen(await acme.ask("undo")) == "Ada Lovelace · Score 85 → *62* (warm) · undone" + BUTTONS


async def test_the_button_and_the_undo_of_the_undo(acme: Acme) -> None:
    """The receipt becomes that of the undo, the Undo of which restores the change, and so on."""
    receipt = await acme.ask("set ada 85 fit=8 because great demo")
    once = await acme.press(receipt, "Undo")
    twice = await acme.press(once, "Undo")
    thrice = await acme.press(twice, "Undo")

    assert {receipt.ts} == {once.ts, twice.ts, thrice.ts}
    assert [acme.seen(message) for message in (once, twice, thrice)] == [
        "Ada Lovelace · Fit 8 → *7* (fair) · Score 85 → *62* (warm) · undone" + BUTTONS,
        "Ada Lovelace · Fit 7 → *8* (good) · Score 62 → *85* (hot) · undone" + BUTTONS,
        "Ada Lovelace · Fit 8 → *7* (fair) · Score 85 → *62* (warm) · undone" + BUTTONS,
    ]
    assert (await acme.value("ada"), await acme.value("ada", "fit")) == (62_000, 7_000)


async def test_a_double_click_on_undo(acme: Acme) -> None:
    """Two clicks before the first is answered undo once; the second is told so, and restores nothing."""
    receipt = await acme.ask("set ada 85")
    undo = button_of(receipt, "Undo")
    before = len(acme.answers)
    await asyncio.gather(
        *(acme.sandbox.click(receipt.id, undo["action_id"], block_id=undo["block_id"]) for _ in range(2))
    )
    await acme.sandbox.wait_for(lambda: len(acme.answers) == before + 2)
    replaced = acme.sandbox.world.find(receipt.ts)

    assert replaced is not None
    assert sorted([acme.seen(replaced), acme.seen(acme.latest())]) == [
        "Ada Lovelace · Score 85 → *62* (warm) · undone" + BUTTONS,
        ALREADY,
    ]
    assert await acme.made_by_people() == [("ada@example.com", "score", "set", 85_000, True)]


async def test_the_button_after_the_verb(acme: Acme) -> None:
    """The Undo button of a change that `undo` reverted says so, and the receipt stays."""
    receipt = await acme.ask("set ada 85")
    await acme.ask("undo")
    text = acme.seen(await acme.press(receipt, "Undo"))

    assert text == ALREADY
    assert await acme.value("ada") == 62_000


@on_both
async def test_an_undo_is_exact_whatever_came_later(acme: Acme) -> None:
    """After an undo the score is as if the change had never been made: later additions of the CRM stay."""
    receipt = await acme.ask("set ada 85")
    add = {"type": "score.add", "contact": {"email": "ada@example.com"}, "score": "score", "value": 5}
    await acme.pushed(add)
    text = acme.seen(await acme.press(receipt, "Undo"))

    assert text == "Ada Lovelace · Score 90 → *67* (warm) · undone" + BUTTONS
    assert acme.seen(await acme.ask("history ada")).splitlines()[1:3] == [
        "🟨 ‹now› · 62 → *67* (+5) · from crm",
        "‹now› · ~set to 85~ · by <@U0REP>",
    ]


async def test_the_undo_of_a_contact_that_was_added(acme: Acme) -> None:
    """After the undo the contact is found no more; its history still opens from the receipt."""
    offer = await acme.ask("set zoe@example.com 85")
    added = await acme.press(offer, "Add zoe@example.com and set Score to 85")
    undone = await acme.press(added, "Undo")
    text = acme.seen(undone)

    assert text == "zoe@example.com · Score 85 → — · undone; the contact is no longer listed" + BUTTONS
    assert acme.seen(await acme.ask("zoe@example.com")).startswith("No contact has the address zoe@example.com")
    history = acme.seen(await acme.press(undone, "History"))
    assert "~set to 85~" in history


async def test_history_on_a_receipt_that_was_undone(acme: Acme) -> None:
    """The undone change is struck through in the history."""
    undone = await acme.press(await acme.ask("set ada fit=8"), "Undo")
    history = acme.seen(await acme.press(undone, "History"))

    assert history == (
        "*Ada Lovelace · Fit*\n"
        "‹now› · ~set to 8~ · by <@U0REP>\n"
        "🟨 ‹4 d ago› · — → *7*, fair · set from crm\n"
        "(The last 2 changes, newest first. Struck through: undone.)\n[Chart]"
    )


async def test_a_receipt_of_a_minute_ago_still_undoes_its_own(acme: Acme) -> None:
    """Each receipt undoes its own change, in any order."""
    first = await acme.ask("set ada 70")
    second = await acme.ask("set ada +10")
    middle = acme.seen(await acme.press(first, "Undo"))
    last = acme.seen(await acme.press(second, "Undo"))

    assert middle == "Ada Lovelace · Score 80 → *72* (warm) · undone" + BUTTONS
    assert last == "Ada Lovelace · Score 72 → *62* (warm) · undone" + BUTTONS
