"""Do as an admin does: ask, press, open a form and hand it in, in the direct messages with the app."""

from typing import Any

from bot.demo import Message, View
from tests.journeys.acme import Acme, button_of, entered

ADMIN, HERE = "U0ADMIN", "D0ADMIN"


async def ask(acme: Acme, line: str) -> Message:
    """Type a line."""
    return await acme.ask(line, user=ADMIN, channel=HERE)


async def press(acme: Acme, message: Message, label: str) -> Message:
    """Press a button, and give the answer."""
    return await acme.press(message, label, user=ADMIN)


async def form_of(acme: Acme, message: Message, label: str, *, nth: int = 0) -> View:
    """Press a button that opens a form; *nth* of those that say the same."""
    button = button_of(message, label, nth=nth)
    response, call = await acme.answered(
        lambda: acme.sandbox.click(message.id, button["action_id"], block_id=button["block_id"], user=ADMIN)
    )
    assert (response.status, response.note, call.method) == (200, "", "views.open")
    return acme.sandbox.open_views(ADMIN)[-1]


async def hand_in(acme: Acme, view: View, **fields: Any) -> Message:
    """Hand a form in, and give the answer."""
    return await acme.hand_in(view, user=ADMIN, channel=HERE, **fields)


async def refused(acme: Acme, view: View, **fields: Any) -> dict[str, str]:
    """Hand a form in that has mistakes, and give what stands under its fields."""
    response = await acme.sandbox.submit(view.id, entered(view, fields), user=ADMIN)
    assert (response.status, response.note) == (200, "")
    return dict(acme.sandbox.open_views(ADMIN)[-1].errors)


async def choose(acme: Acme, message: Message, action: str, value: str) -> None:
    """Choose from the menu that offers *value*, and wait for the answer, a message or a form."""
    (block,) = [
        block["block_id"]
        for block in message.blocks
        if any(option["value"] == value for option in block.get("accessory", {}).get("options", ()))
    ]
    response, _ = await acme.answered(
        lambda: acme.sandbox.click(message.id, action, block_id=block, user=ADMIN, selected=value)
    )
    assert (response.status, response.note) == (200, "")
