"""Name every way to ask the app for something, as requests that Slack would send."""

from functools import partial

from bot.sandbox import Sent
from tests.journeys.acme import Acme, button_of, entered, other

COMMANDS = (
    "",
    "help",
    "ada",
    "view ada@example.com",
    "set ada 85 because great demo",
    "set zoe@example.com 85",
    "set",
    "clear ada fit",
    "filter score>=40",
    "fit:fair",
    "top 5",
    "history ada",
    "why ada",
    "segment list",
    "segment save hot score>=40",
    "history ada 90d",
    "undo",
    "tpo 5",
)
#: Which buttons stand on the answer to which line.
BUTTONS = (
    ("ada", "Set"),
    ("ada", "History"),
    ("history ada", "Chart"),
    ("set ada 85", "Undo"),
    ("set ada 85", "History"),
    ("set grace 85", "Grace Kelly · Monaco · kelly@example.com"),
    ("set zoe@example.com 85", "Add zoe@example.com and set Score to 85"),
    ("tpo 5", "/score top 5"),
    ("filter -tag:nobody", "Next"),
    ("filter score>=40", "Share to channel"),
)
COUNT = len(COMMANDS) + len(BUTTONS) + 3


async def surfaces(acme: Acme, *, user: str, channel: str) -> dict[str, Sent]:
    """Give a request for every surface, as Slack would send it for *user* in *channel*; none is delivered yet.

    Whoever *user* is must be served there now: the buttons and forms are the app's own.
    """
    await acme.pushed(
        *({"type": "contact.upsert", "contact": {"id": f"x{n}", "name": f"Xenia {n}"}} for n in range(10))
    )
    written: dict[str, Sent] = {}
    for line in COMMANDS:
        written[f"/score {line}".strip()] = await acme.written(
            partial(acme.sandbox.say, f"/score {line}".strip(), user=user, channel=channel)
        )
    for line, label in BUTTONS:
        message = await acme.ask(line, user=user, channel=channel)
        button = button_of(message, label)
        written[f"button {label} of {line}"] = await acme.written(
            partial(acme.sandbox.click, message.id, button["action_id"], block_id=button["block_id"], user=user)
        )
    view = await acme.press_for_form(await acme.ask("ada", user=user, channel=channel), "Set", user=user)
    written["the form of a card"] = await acme.written(
        lambda: acme.sandbox.submit(view.id, entered(view, {"score_score": "77"}), user=user)
    )
    bare = await acme.ask_for_form(user=user, channel=channel)
    ada = (await acme.sandbox.options(bare.id, "contact", "ada", user=user))[0]
    written["the bare form"] = await acme.written(
        lambda: acme.sandbox.submit(bare.id, entered(bare, {"contact": ada, "score_score": "78"}), user=user)
    )
    menu = await acme.written(lambda: acme.sandbox.options(bare.id, "contact", "a", user=user))
    written["the menu of contacts"] = other(menu, channel={"id": channel, "name": "somewhere"})
    assert len(written) == COUNT
    return written
