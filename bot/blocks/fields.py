"""Build the input fields of forms."""

from typing import Any

from bot.blocks.elements import OPTION_TEXT, plain_text
from bot.slack.handling import Block

LABEL, HINT = 150, 300


def plain(text: str) -> Block:
    """Return a plain_text object, shortened to the length of a label."""
    return plain_text(text, most=LABEL)


def field(name: str, label: str, element: Block, *, hint: str | None = None, optional: bool = False) -> Block:
    """Return an input block around an element; the form's handler finds the value by *name*."""
    block: Block = {"type": "input", "block_id": name, "label": plain(label), "element": element, "optional": optional}
    return block | ({"hint": plain_text(hint, most=HINT)} if hint else {})


def text_field(
    name: str,
    label: str,
    *,
    initial: str | None = None,
    hint: str | None = None,
    optional: bool = False,
    multiline: bool = False,
    most: int = 3000,
) -> Block:
    """Return an input block for text."""
    element: dict[str, Any] = {"type": "plain_text_input", "action_id": "value", "max_length": most}
    element |= {"multiline": True} if multiline else {}
    element |= {"initial_value": initial} if initial else {}
    return field(name, label, element, hint=hint, optional=optional)


def number_field(
    name: str, label: str, *, initial: str | None = None, hint: str | None = None, optional: bool = False
) -> Block:
    """Return an input block for a decimal number."""
    element: dict[str, Any] = {"type": "number_input", "action_id": "value", "is_decimal_allowed": True}
    element |= {"initial_value": initial} if initial else {}
    return field(name, label, element, hint=hint, optional=optional)


def choice_field(
    name: str, label: str, choices: dict[str, str], *, initial: str | None = None, hint: str | None = None
) -> Block:
    """Return an input block with a menu; *choices* maps each value to its label."""
    options = [{"text": plain_text(text, most=OPTION_TEXT), "value": value} for value, text in choices.items()]
    element: dict[str, Any] = {"type": "static_select", "action_id": "value", "options": options}
    element |= {"initial_option": options[list(choices).index(initial)]} if initial in choices else {}
    return field(name, label, element, hint=hint)
