"""The app's Slack messages about a contact say "Contact deleted" once the contact is deleted."""

import json

from bot.demo.world import Message
from tests.conftest import on_both
from tests.journeys.acme import Acme
from tests.journeys.test_charting import file_of
from tests.journeys.test_confidential import archived, storm
from tests.journeys.test_deleting import TICKED, ask_for_form
from tests.journeys.test_following_up import SUCCESS, chosen, hot, until_it_says, until_posted
from tests.journeys.test_sharing import shared

DELETED = "Contact deleted"


async def delete_from_crm(acme: Acme, email: str = "ada@example.com") -> None:
    """Delete a contact as its source does."""
    await acme.pushed({"type": "contact.delete", "contact": {"email": email}})


def written(message: Message | None) -> str:
    """Return all text of a message; empty if the message is gone."""
    return json.dumps([message.text, list(message.blocks)]) if message is not None else ""


@on_both
async def test_a_follow_up(acme: Acme) -> None:
    """The message of a follow-up loses the name, the score and the buttons; the form counted the message before."""
    await chosen(acme)
    await acme.pushed(hot(), hot("hopper@example.com"))
    messages = await until_posted(acme, 2)
    (hers,) = [message for message in messages if "Ada" in message.text]
    (other,) = [message for message in messages if "Ada" not in message.text]
    view = await ask_for_form(acme, "delete ada")
    assert "1 message in Slack that I posted about them will say “Contact deleted”." in view.blocks[0]["text"]["text"]

    await acme.hand_in(view, user="U0ADMIN", sure=TICKED)

    hidden = await until_it_says(acme, hers, DELETED)
    assert acme.seen(hidden) == hidden.text == DELETED
    unchanged = acme.sandbox.world.find(other.ts)
    assert unchanged is not None
    assert "Grace Hopper" in acme.seen(unchanged)
    before = len(acme.sandbox.calls)
    await acme.restart()
    assert [call.method for call in acme.sandbox.calls[before:] if call.method == "chat.update"] == []


async def test_a_list_keeps_the_others(acme: Acme) -> None:
    """A list is redrawn without the contact; a contact in a message of an earlier version is found too."""
    await chosen(acme)
    await acme.pushed(*storm(*range(61)))
    (message,) = await until_posted(acme, 1)

    await delete_from_crm(acme, "p07@example.com")

    message = await until_it_says(acme, message, "in one list: 60")
    assert "p07@example.com" not in written(message)
    assert {f"p{n:02d}@example.com" in acme.seen(message) for n in (6, 8, 60)} == {True}


async def test_what_was_shared(acme: Acme) -> None:
    """A shared page with several contacts is replaced when the first of them is deleted."""
    await shared(acme, SUCCESS)
    (*_, message) = acme.sandbox.messages(SUCCESS, "U0JANE")
    assert "Ada Lovelace" in acme.seen(message)

    await delete_from_crm(acme)

    assert acme.seen(await until_it_says(acme, message, DELETED)) == DELETED


async def test_a_chart(acme: Acme) -> None:
    """The image file of a chart is deleted."""
    file = file_of(await acme.ask("history ada 90d"))

    await delete_from_crm(acme)

    await acme.until(lambda: file not in acme.sandbox.world.files)


async def test_what_slack_does_not_let_anybody_change(acme: Acme) -> None:
    """An admin gets the link of a message in an archived channel, without its content."""
    await chosen(acme)
    await acme.pushed(hot())
    (message,) = await until_posted(acme, 1)
    await archived(acme)

    await delete_from_crm(acme)

    notices = await acme.until(
        lambda: [post for post in acme.sandbox.messages("D0ADMIN", "U0ADMIN") if "was deleted" in post.text]
    )
    assert f"/archives/{SUCCESS}/p{message.ts.replace('.', '')}" in notices[-1].text
    assert "Ada" not in written(notices[-1])
