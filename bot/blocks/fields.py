"""Build forms and their input fields. A form's handler finds each entered value by the name of its field.

*action* is the action id of an input. It matters where the form is drawn again, because Slack keeps what was entered
under the same id, and where the app lists the options of a menu.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bot.blocks.elements import OPTION_TEXT, plain_text
from bot.slack.handling import Block

LABEL, HINT = 150, 300


def plain(text: str) -> Block:
    """Return a plain_text object, shortened to the length of a label."""
    return plain_text(text, most=LABEL)


def form(
    callback: str, title: str, blocks: Sequence[Block], *, submit: str, metadata: Mapping[str, Any] | None = None
) -> Block:
    """Return a form; the handler of *callback* receives the entered values and *metadata*."""
    return {
        "type": "modal",
        "callback_id": callback,
        "title": plain(title),
        "submit": plain(submit),
        "close": plain("Cancel"),
        "private_metadata": json.dumps(metadata or {}),
        "blocks": list(blocks),
    }


def field(name: str, label: str, element: Block, *, hint: str | None = None, optional: bool = False) -> Block:
    """Return an input block around an element."""
    block: Block = {"type": "input", "block_id": name, "label": plain(label), "element": element, "optional": optional}
    return block | ({"hint": plain_text(hint, most=HINT)} if hint else {})


def text_field(
    name: str,
    label: str,
    *,
    action: str = "value",
    initial: str | None = None,
    hint: str | None = None,
    optional: bool = False,
    multiline: bool = False,
    most: int = 3000,
) -> Block:
    """Return an input block for text of at most *most* characters."""
    element: Block = {"type": "plain_text_input", "action_id": action, "max_length": most}
    element |= {"multiline": True} if multiline else {}
    element |= {"initial_value": initial} if initial else {}
    return field(name, label, element, hint=hint, optional=optional)


def number_field(
    name: str,
    label: str,
    *,
    initial: str | None = None,
    hint: str | None = None,
    optional: bool = False,
    decimal: bool = True,
    limits: tuple[str, str] | None = None,
) -> Block:
    """Return an input block for a number, within *limits* (lowest, highest) if they are given."""
    element: Block = {"type": "number_input", "action_id": "value", "is_decimal_allowed": decimal}
    element |= {"min_value": limits[0], "max_value": limits[1]} if limits else {}
    element |= {"initial_value": initial} if initial else {}
    return field(name, label, element, hint=hint, optional=optional)


def choice_field(
    name: str,
    label: str,
    choices: Mapping[str, str],
    *,
    action: str = "value",
    initial: str | None = None,
    hint: str | None = None,
    optional: bool = False,
) -> Block:
    """Return an input block with a menu; *choices* maps each value to its label."""
    options = [{"text": plain_text(text, most=OPTION_TEXT), "value": value} for value, text in choices.items()]
    element: Block = {"type": "static_select", "action_id": action, "options": options}
    chosen = next((option for option in options if option["value"] == initial), None)
    element |= {"initial_option": chosen} if chosen else {}
    return field(name, label, element, hint=hint, optional=optional)


def tick_field(
    name: str,
    label: str,
    text: str,
    *,
    value: str,
    action: str = "value",
    is_ticked: bool = False,
    optional: bool = False,
) -> Block:
    """Return an input block with one checkbox; the entered value is *value* if it is ticked."""
    options = [{"text": plain(text), "value": value}]
    element: Block = {"type": "checkboxes", "action_id": action, "options": options}
    element |= {"initial_options": options} if is_ticked else {}
    return field(name, label, element, optional=optional)


def channel_menu(action: str) -> Block:
    """Return a menu of the channels in which no outsider reads along."""
    return {
        "type": "conversations_select",
        "action_id": action,
        "filter": {
            "include": ["public", "private"],
            "exclude_external_shared_channels": True,
            "exclude_bot_users": True,
        },
    }
