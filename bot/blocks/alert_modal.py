"""Build the form that adds an alert rule; the More button shows the rarely used fields."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bot.blocks.elements import plain_text, truncate
from bot.slack.handling import Block
from storage.domain.score_types import ScoreType

CALLBACK = "alert"
_KINDS = (
    ("crosses", "rises to"), ("crosses below", "falls below"), ("enters", "comes into the band"),
    ("moved", "moves, either way, by"), ("rises", "rises by"), ("falls", "falls by"),
    ("untouched for", "is untouched for"), ("about to fall out of", "is about to fall out of the band"),
)  # fmt: skip  # (the words of a rule, the label in the form)
_PLACES = (("", "The default, or the channel below"), ("digest", "The digest only"))
MORE = ("hold", "margin", "cooldown", "sla", "escalate")
MOST_TYPES = 100


def alert_modal(types: Sequence[ScoreType], *, more: bool = False) -> Block:
    """Return the form; *more* adds the rarely used fields."""
    shown = [(score_type.key, score_type.label) for score_type in types[:MOST_TYPES]]
    blocks = [
        _select_field("score", "When this score", shown),
        _select_field("kind", "does this", _KINDS),
        _text_input(
            "value", "How much", hint="A number, a band, or a time: 80, hot, 30d. Of a move: 15 in 7d", optional=False
        ),
        _text_input("condition", "If", hint="Any filter: owner:me -tag:churned. Blank: everybody"),
        _select_field("place", "Post in", _PLACES),
        _channel_field(),
    ]
    if more:
        blocks += [
            _text_input("hold", "Only if it stays so for", hint="2h, 1d"),
            _text_input(
                "margin", "Alert again after falling back by", hint="In points; blank: a twentieth of the range"
            ),
            _text_input("cooldown", "At most once every", hint="7d; blank: two weeks"),
            _text_input("sla", "Claim within", hint="4h, 1d"),
            _escalation_field(),
        ]
    else:
        button = {"type": "button", "action_id": "alert_more", "text": _plain_text("More"), "value": "more"}
        blocks.append({"type": "actions", "block_id": "more", "elements": [button]})
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": _plain_text("Add an alert"),
        "submit": _plain_text("Add"),
        "close": _plain_text("Cancel"),
        "private_metadata": json.dumps({}),
        "blocks": blocks,
    }


def format_alert_words(fields: Mapping[str, Any]) -> str:
    """Return the entered values as the text of an alert rule."""
    entered = {name: str(value).strip() for name, value in fields.items() if value}
    words = f"when {entered.get('score', '')} {entered.get('kind', '')} {entered.get('value', '')}"
    words += f" if {entered['condition']}" if "condition" in entered else ""
    if entered.get("place") != "digest" and "channel" in entered:
        words += f" in <#{entered['channel']}>"
    words += " in digest" if entered.get("place") == "digest" else ""
    words += "".join(f" {name} {entered[name]}" for name in MORE[:-1] if name in entered)
    return words + (f" escalate to <@{entered['escalate']}>" if "escalate" in entered else "")


def _select_field(name: str, label: str, choices: Sequence[tuple[str, str]]) -> Block:
    options = [{"text": _plain_text(truncate(text, 75)), "value": value or "-"} for value, text in choices]
    element = {"type": "static_select", "action_id": name, "options": options, "initial_option": options[0]}
    return {"type": "input", "block_id": name, "label": _plain_text(label), "element": element}


def _text_input(name: str, label: str, *, hint: str, optional: bool = True) -> Block:
    element = {"type": "plain_text_input", "action_id": name, "max_length": 500}
    return {
        "type": "input", "block_id": name, "label": _plain_text(label), "hint": _plain_text(hint), "optional": optional,
        "element": element,
    }  # fmt: skip  # one field


def _channel_field() -> Block:
    element: Block = {
        "type": "conversations_select",
        "action_id": "channel",
        "filter": {
            "include": ["public", "private"],
            "exclude_external_shared_channels": True,
            "exclude_bot_users": True,
        },
    }
    label, hint = (
        _plain_text("Channel"),
        _plain_text("Blank: the channel chosen in /score setup, else the contact's owner"),
    )
    return {
        "type": "input", "block_id": "channel", "label": label, "hint": hint, "optional": True, "element": element,
    }  # fmt: skip  # one field


def _escalation_field() -> Block:
    element = {"type": "users_select", "action_id": "escalate"}
    label = _plain_text("If nobody claims it, escalate to")
    return {"type": "input", "block_id": "escalate", "label": label, "optional": True, "element": element}


def _plain_text(text: str) -> Block:
    return plain_text(text, most=150)
