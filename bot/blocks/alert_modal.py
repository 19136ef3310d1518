"""Draw the form that adds an alert rule; what is rarely wanted stands behind More."""

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
)  # fmt: skip  # the words of a rule, and what people read
_PLACES = (("", "Where follow-ups go, or the channel below"), ("digest", "The digest alone"))
MORE = ("hold", "margin", "cooldown", "sla", "escalate")
MOST_TYPES = 100


def alert_modal(types: Sequence[ScoreType], *, more: bool = False) -> Block:
    """Make the form."""
    shown = [(one.key, one.label) for one in types[:MOST_TYPES]]
    blocks = [
        _select("score", "When this score", shown),
        _select("kind", "does this", _KINDS),
        _text(
            "value", "How much", hint="A number, a band, or a time: 80, hot, 30d. Of a move: 15 in 7d", optional=False
        ),
        _text("condition", "If", hint="Any filter: owner:me -tag:churned. Blank: everybody"),
        _select("place", "Ask in", _PLACES),
        _channel(),
    ]
    if more:
        blocks += [
            _text("hold", "Only if it stays so for", hint="2h, 1d"),
            _text("margin", "May ask again after falling back by", hint="In points; blank: a twentieth of the range"),
            _text("cooldown", "At most once in", hint="7d; blank: two weeks"),
            _text("sla", "To be claimed within", hint="4h, 1d"),
            _escalate(),
        ]
    else:
        button = {"type": "button", "action_id": "alert_more", "text": _plain("More"), "value": "more"}
        blocks.append({"type": "actions", "block_id": "more", "elements": [button]})
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": _plain("Add an alert"),
        "submit": _plain("Add"),
        "close": _plain("Cancel"),
        "private_metadata": json.dumps({}),
        "blocks": blocks,
    }


def format_alert_words(fields: Mapping[str, Any]) -> str:
    """Write what was entered as the words of a rule."""
    said = {name: str(value).strip() for name, value in fields.items() if value}
    words = f"when {said.get('score', '')} {said.get('kind', '')} {said.get('value', '')}"
    words += f" if {said['condition']}" if "condition" in said else ""
    if said.get("place") != "digest" and "channel" in said:
        words += f" in <#{said['channel']}>"
    words += " in digest" if said.get("place") == "digest" else ""
    words += "".join(f" {name} {said[name]}" for name in MORE[:-1] if name in said)
    return words + (f" escalate to <@{said['escalate']}>" if "escalate" in said else "")


def _select(name: str, label: str, choices: Sequence[tuple[str, str]]) -> Block:
    options = [{"text": _plain(truncate(text, 75)), "value": value or "-"} for value, text in choices]
    element = {"type": "static_select", "action_id": name, "options": options, "initial_option": options[0]}
    return {"type": "input", "block_id": name, "label": _plain(label), "element": element}


def _text(name: str, label: str, *, hint: str, optional: bool = True) -> Block:
    element = {"type": "plain_text_input", "action_id": name, "max_length": 500}
    return {
        "type": "input", "block_id": name, "label": _plain(label), "hint": _plain(hint), "optional": optional,
        "element": element,
    }  # fmt: skip  # one field


def _channel() -> Block:
    element: Block = {
        "type": "conversations_select",
        "action_id": "channel",
        "filter": {
            "include": ["public", "private"],
            "exclude_external_shared_channels": True,
            "exclude_bot_users": True,
        },
    }
    label, hint = _plain("Channel"), _plain("Blank: the one that was chosen in /score setup, else the contact's owner")
    return {
        "type": "input", "block_id": "channel", "label": label, "hint": hint, "optional": True, "element": element,
    }  # fmt: skip  # one field


def _escalate() -> Block:
    element = {"type": "users_select", "action_id": "escalate"}
    label = _plain("If nobody does, tell")
    return {"type": "input", "block_id": "escalate", "label": label, "optional": True, "element": element}


def _plain(text: str) -> Block:
    return plain_text(text, most=150)
