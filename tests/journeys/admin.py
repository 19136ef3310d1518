"""Actions of an admin in the app's direct messages: type, click, open and submit forms."""

from typing import Any

from bot.demo.world import Message, View
from tests.journeys.acme import Acme, button_of, entered

ADMIN, HERE = "U0ADMIN", "D0ADMIN"


async def ask(acme: Acme, line: str) -> Message:
    """Type a line, and return the answer."""
    return await acme.ask(line, user=ADMIN, channel=HERE)


async def press(acme: Acme, message: Message, label: str) -> Message:
    """Click a button, and return the answer."""
    return await acme.press(message, label, user=ADMIN)


async def form_of(acme: Acme, message: Message, label: str, *, nth: int = 0) -> View:
    """Click a button that opens a form, and return the form; *nth* chooses between buttons with the same label."""
    button = button_of(message, label, nth=nth)
    response, call = await acme.answered(
        lambda: acme.sandbox.click(message.id, button["action_id"], block_id=button["block_id"], user=ADMIN)
    )
    assert (response.status, response.note, call.method) == (200, "", "views.open")
    return acme.sandbox.open_views(ADMIN)[-1]


async def hand_in(acme: Acme, view: View, **fields: Any) -> Message:
    """Submit a form, and return the answer."""
    return await acme.hand_in(view, user=ADMIN, channel=HERE, **fields)


async def refused(acme: Acme, view: View, **fields: Any) -> dict[str, str]:
    """Submit a form with mistakes, and return the messages under its fields."""
    response = await acme.sandbox.submit(view.id, entered(view, fields), user=ADMIN)
    assert (response.status, response.note) == (200, "")
    return dict(acme.sandbox.open_views(ADMIN)[-1].errors)


async def choose(acme: Acme, message: Message, action: str, value: str) -> None:
    """Choose *value* in the menu that offers it, and wait for the answer, a message or a form."""
    (block,) = [
        block["block_id"]
        for block in message.blocks
        if any(option["value"] == value for option in block.get("accessory", {}).get("options", ()))
    ]
    response, _ = await acme.answered(
        lambda: acme.sandbox.click(message.id, action, block_id=block, user=ADMIN, selected=value)
    )
    assert (response.status, response.note) == (200, "")
