"""Draw the form that sets scores, and read what was entered in it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bot.blocks.elements import context, plain_text, section
from bot.slack.handling import Block
from bot.slack.line import LONGEST_REASON
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.domain.numbers import THOUSAND, show
from storage.domain.score_types import ScoreType

CALLBACK = "set_score"
SCORE = "score_"
MOST_TYPES = 40  # what a form carries along has at most 3,000 characters


def set_modal(types: Sequence[ScoreType], *, contact: Contact | None = None, values: Mapping[str, int]) -> Block:
    """Make the form: for a contact with its values now, or for one that is chosen in it."""
    whom = section(f"*{escape(contact.shown)}*") if contact else _contact_block()
    shown = types[:MOST_TYPES]
    scores = [_score_block(one, values.get(one.key)) for one in shown]
    more = [context(f"The first {MOST_TYPES} score types. Set another by name: `/score set ada {types[-1].key}=8`")]
    was = {one.key: values[one.key] for one in shown if one.key in values}
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": _plain("Set scores"),
        "submit": _plain("Set"),
        "close": _plain("Cancel"),
        # What the form showed comes back with it, so that only what was changed in it is set.
        "private_metadata": json.dumps({"contact": contact.id if contact else None, "was": was}),
        "blocks": [whom, *scores, *(more if len(types) > MOST_TYPES else []), _reason_block()],
    }


def _contact_block() -> Block:
    element = {
        "type": "external_select",
        "action_id": "contact",
        "min_query_length": 1,
        "placeholder": _plain("Type a name or an address"),
    }
    return {"type": "input", "block_id": "contact", "label": _plain("Contact"), "element": element}


def _score_block(one: ScoreType, value: int | None) -> Block:
    element: dict[str, Any] = {
        "type": "number_input",
        "action_id": "value",
        "is_decimal_allowed": any(number % THOUSAND for number in (one.step, one.minimum)),
        "min_value": show(one.minimum),
        "max_value": show(one.maximum),
    }
    if value is not None:
        element["initial_value"] = show(value)
    hint = f"{one.range_shown}, in steps of {show(one.step)}"
    return {
        "type": "input",
        "block_id": f"{SCORE}{one.key}",
        "label": _plain(one.label),
        "hint": _plain(hint),
        "optional": True,
        "element": element,
    }


def _reason_block() -> Block:
    element = {"type": "plain_text_input", "action_id": "reason", "max_length": LONGEST_REASON}
    return {"type": "input", "block_id": "reason", "label": _plain("Because"), "optional": True, "element": element}


def _plain(text: str) -> Block:
    return plain_text(text, most=150)
