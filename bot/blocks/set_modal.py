"""Build the form that sets scores."""

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
MOST_TYPES = 40  # private_metadata is limited to 3,000 characters


def set_modal(types: Sequence[ScoreType], *, contact: Contact | None = None, values: Mapping[str, int]) -> Block:
    """Return the form with the current values of a contact, or with a contact menu if *contact* is None."""
    contact_block = section(f"*{escape(contact.shown)}*") if contact else _contact_block()
    shown = types[:MOST_TYPES]
    scores = [_score_block(score_type, values.get(score_type.key)) for score_type in shown]
    more = [context(f"The first {MOST_TYPES} score types. Set another by name: `/score set ada {types[-1].key}=8`")]
    current = {score_type.key: values[score_type.key] for score_type in shown if score_type.key in values}
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": _plain_text("Set scores"),
        "submit": _plain_text("Set"),
        "close": _plain_text("Cancel"),
        # The initial values come back with the form, so that the handler sets only the values that were changed.
        "private_metadata": json.dumps({"contact": contact.row if contact else None, "was": current}),
        "blocks": [contact_block, *scores, *(more if len(types) > MOST_TYPES else []), _reason_block()],
    }


def _contact_block() -> Block:
    element = {
        "type": "external_select",
        "action_id": "contact",
        "min_query_length": 1,
        "placeholder": _plain_text("Type a name or an address"),
    }
    return {"type": "input", "block_id": "contact", "label": _plain_text("Contact"), "element": element}


def _score_block(score_type: ScoreType, value: int | None) -> Block:
    element: dict[str, Any] = {
        "type": "number_input",
        "action_id": "value",
        "is_decimal_allowed": any(number % THOUSAND for number in (score_type.step, score_type.minimum)),
        "min_value": show(score_type.minimum),
        "max_value": show(score_type.maximum),
    }
    if value is not None:
        element["initial_value"] = show(value)
    hint = f"{score_type.range_shown}, in steps of {show(score_type.step)}"
    return {
        "type": "input",
        "block_id": f"{SCORE}{score_type.key}",
        "label": _plain_text(score_type.label),
        "hint": _plain_text(hint),
        "optional": True,
        "element": element,
    }


def _reason_block() -> Block:
    element = {"type": "plain_text_input", "action_id": "reason", "max_length": LONGEST_REASON}
    return {
        "type": "input",
        "block_id": "reason",
        "label": _plain_text("Because"),
        "optional": True,
        "element": element,
    }


def _plain_text(text: str) -> Block:
    return plain_text(text, most=150)
