"""Every way to request something from the app, as requests that Slack would send."""

import json
from functools import partial
from typing import Any

from storage.sources.subscriptions import add_subscription
from tests.journeys.acme import Acme, button_of, entered, other
from tests.slack.foreign import Sent

COMMANDS = (
    "",
    "help",
    "ada",
    "view ada@example.com",
    "set ada 85 because great demo",
    "set zoe@example.com 85",
    "set",
    "set score>=40 85",
    "tag ada key",
    "untag ada vip",
    "assign ada to me",
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
    "settings",
    "rules",
    "sources",
    "subscriptions",
    "audit",
    "roles",
    "admins",
    "merge ida into grace@example.com",
    "split ada crm:17",
    "delete ida",
)
#: The buttons of the answer to each line.
BUTTONS = (
    ("ada", "Set"),
    ("ada", "History"),
    ("ada", "Why"),
    ("ada", "More"),
    ("history ada", "Chart"),
    ("set ada 85", "Undo"),
    ("set ada 85", "History"),
    ("set grace 85", "Grace Kelly · Monaco · kelly@example.com"),
    ("set zoe@example.com 85", "Add zoe@example.com and set Score to 85"),
    ("tpo 5", "/score top 5"),
    ("filter -tag:nobody", "Next"),
    ("filter score>=40", "Share to channel"),
    ("filter score>=40", "Change all 2"),
    ("set score>=40 41", "Change 2 contacts"),
    ("set score>=40 41", "Cancel"),
    ("settings", "Add a score type"),
    ("rules", "Add a rule"),
    ("merge ida into hopper@example.com", "Merge"),
    ("merge ida into hopper@example.com", "Cancel"),
    ("split ada crm:17", "Split"),
    ("roles", "Add a role"),
    ("sources", "Add a source"),
    ("sources", "Show"),
    ("sources", "Pause"),
    ("sources", "Rotate"),
    ("sources", "Quarantine (1)"),
    ("subscriptions", "Add a subscription"),
    ("subscriptions", "Edit"),
    ("subscriptions", "New secret"),
    ("subscriptions", "Remove"),
)
#: The forms of admins: (line, button that opens the form, entered fields).
FORMS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("settings", "Add a score type", {"key": "heat", "label": "Heat"}),
    ("rules", "Add a rule", {"name": "Demo", "activity": "demo_booked", "points": "10"}),
    ("sources", "Add a source", {"slug": "shop", "provider": "generic"}),
    ("sources", "Rotate", {}),
    ("subscriptions", "Add a subscription", {"url": "https://example.invalid/other"}),
    ("subscriptions", "Edit", {"events": "contact.merged"}),
    ("roles", "Add a role", {"person": "U0JANE", "role": "viewer"}),
)
DECISIONS = ("Apply without alerts", "Apply and alert", "Cancel")
COUNT = len(COMMANDS) + len(BUTTONS) + 5 + len(FORMS) + len(DECISIONS)


async def surfaces(acme: Acme, *, user: str, channel: str) -> dict[str, Sent]:
    """Return a request for every surface, as Slack would send it for *user* in *channel*; none is delivered yet.

    The user must have access there now, because the app itself renders the buttons and forms.
    """
    acme.sandbox.world.people[user].is_admin = True  # an admin, so that only the reason under test leads to a refusal
    await acme.sandbox.push(json.dumps({"type": "score.set", "contact": {"id": "q"}, "score": "none", "value": 1}))
    await acme.pushed(
        *({"type": "contact.upsert", "contact": {"id": f"x{n}", "name": f"Xenia {n}"}} for n in range(20))
    )
    await acme.pushed(
        *({"type": "contact.upsert", "contact": {"id": id, "email": "ada@example.com"}} for id in ("16", "17"))
    )
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_subscription(
        acme.workspace,
        url="https://example.invalid/hook",
        events=["contact.merged"],
        secret="whsec_x",
        by=user,
        now=now,
    )
    messages: dict[str, Sent] = {}
    for line in COMMANDS:
        messages[f"/score {line}".strip()] = await acme.written(
            partial(acme.sandbox.say, f"/score {line}".strip(), user=user, channel=channel)
        )
    for line, label in BUTTONS:
        message = await acme.ask(line, user=user, channel=channel)
        button = button_of(message, label)
        messages[f"button {label} of {line}"] = await acme.written(
            partial(acme.sandbox.click, message.id, button["action_id"], block_id=button["block_id"], user=user)
        )
    view = await acme.press_for_form(await acme.ask("ada", user=user, channel=channel), "Set", user=user)
    messages["the form of a card"] = await acme.written(
        lambda: acme.sandbox.submit(view.id, entered(view, {"score_score": "77"}), user=user)
    )
    list_of_two = await acme.ask("filter score>=40", user=user, channel=channel)
    several = await acme.press_for_form(list_of_two, "Change all 2", user=user)
    messages["the form of a list"] = await acme.written(
        lambda: acme.sandbox.submit(several.id, entered(several, {"tags": "key"}), user=user)
    )
    messages |= await _of_admins(acme, user=user, channel=channel)
    bare = await acme.ask_for_form(user=user, channel=channel)
    ada = (await acme.sandbox.options(bare.id, "contact", "ada", user=user))[0]
    messages["the bare form"] = await acme.written(
        lambda: acme.sandbox.submit(bare.id, entered(bare, {"contact": ada, "score_score": "78"}), user=user)
    )
    menu = await acme.written(lambda: acme.sandbox.options(bare.id, "contact", "a", user=user))
    messages["the menu of contacts"] = other(menu, channel={"id": channel, "name": "somewhere"})
    # This request is the last, because it deletes the contact.
    await acme.answered(lambda: acme.sandbox.say("/score delete ida", user=user, channel=channel))
    form, sure = acme.sandbox.open_views(user)[-1], {"text": {"type": "plain_text", "text": "Delete"}, "value": "sure"}
    messages["the form of /score delete ida"] = await acme.written(
        lambda: acme.sandbox.submit(form.id, entered(form, {"sure": [sure]}), user=user)
    )
    assert len(messages) == COUNT
    return messages


async def _of_admins(acme: Acme, *, user: str, channel: str) -> dict[str, Sent]:
    """Return the requests of forms that only admins get, and of the buttons of their previews."""
    messages: dict[str, Sent] = {}
    for line, label, fields in FORMS:
        view = await acme.press_for_form(await acme.ask(line, user=user, channel=channel), label, user=user)
        messages[f"the form {label} of {line}"] = await acme.written(
            partial(acme.sandbox.submit, view.id, entered(view, fields), user=user)
        )
    view = await acme.press_for_form(await acme.ask("rules", user=user, channel=channel), "Add a rule", user=user)
    fields = {"name": "Visit", "activity": "visited", "points": "1"}
    preview = await acme.hand_in(view, user=user, channel=channel, **fields)
    for label in DECISIONS:
        button = button_of(preview, label)
        messages[f"button {label} of a preview"] = await acme.written(
            partial(acme.sandbox.click, preview.id, button["action_id"], block_id=button["block_id"], user=user)
        )
    return messages
