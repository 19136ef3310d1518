"""Render the score types, and build the form that adds or changes a score type."""

import json
from collections.abc import Sequence
from typing import Any

from bot.blocks.elements import actions, button, section, truncate_markup
from bot.blocks.fields import field, number_field, plain, text_field
from bot.blocks.preview import heading
from bot.slack.handling import Block, Reply
from bot.slack.text import escape
from storage.domain.durations import write_span
from storage.domain.numbers import show
from storage.domain.score_types import COLOURS, Band, ScoreType

CALLBACK = "score_type"
PER_PAGE, MOST_DRAFTS = 12, 3


def settings_reply(types: Sequence[ScoreType], drafts: Sequence[ScoreType], *, first: int = 0) -> Reply:
    """Return a page of score types, starting at index *first*, and the first drafts that wait for a decision."""
    shown = types[first : first + PER_PAGE]
    buttons = [button("Add a score type", action="type_form", value="-")]
    if first + PER_PAGE < len(types):
        buttons.append(button("More score types", action="settings", value=str(first + PER_PAGE)))
    live = {score_type.key: score_type for score_type in types}
    return Reply(
        text=f"{len(types)} score types",
        blocks=[
            section("*Score types*"),
            *(
                section(
                    _describe_type(score_type), accessory=button("Change", action="type_form", value=score_type.key)
                )
                for score_type in shown
            ),
            *(block for draft in drafts[:MOST_DRAFTS] for block in _render_draft(live[draft.key], draft)),
            actions(buttons),
        ],
    )


def _describe_type(score_type: ScoreType) -> str:
    default = " · default" if score_type.is_default else ""
    bands = ", ".join(band.shown for band in score_type.bands) or "none"
    decay = f"halves every {write_span(score_type.half_life)}" if score_type.half_life else "does not fade"
    rules = {0: "no rules", 1: "1 rule"}.get(len(score_type.rules), f"{len(score_type.rules)} rules")
    numbers = f"{score_type.range_shown}, steps of {show(score_type.step)}, starting at {show(score_type.start)}"
    return truncate_markup(
        f"*{escape(score_type.label)}* `{score_type.key}`{default}\n{numbers} · {decay} · {rules}\nBands: {bands}", 500
    )


def _render_draft(live: ScoreType, draft: ScoreType) -> list[Block]:
    buttons = [
        button("See what it changes", action="draft_preview", value=draft_value(draft)),
        button("Cancel", action="draft_cancel", value=draft_value(draft)),
    ]
    return [section(f"*Waiting for your decision:* {truncate_markup(heading(live, draft), 300)}"), actions(buttons)]


def draft_value(draft: ScoreType) -> str:
    """Return the value of a button for a draft: the key and the version number."""
    return f"{draft.key} {draft.number}"


def type_modal(score_type: ScoreType | None) -> Block:
    """Return the form with a score type's current values, or the form for a new score type if it is None."""
    is_new = score_type is None
    initial = {
        "label": score_type.label if score_type else None,
        "minimum": show(score_type.minimum) if score_type else "0",
        "maximum": show(score_type.maximum) if score_type else "100",
        "step": show(score_type.step) if score_type else "1",
        "start": show(score_type.start) if score_type else None,
        "bands": written_bands(score_type.bands) if score_type else None,
        "half_life": write_span(score_type.half_life) if score_type and score_type.half_life else None,
    }
    key = text_field(
        "key", "Key", hint="What people type: fit, for /score set ada fit=8. It cannot be changed later.", most=32
    )
    about = section(f"`{score_type.key}`, version {score_type.number}") if score_type else key
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": plain("Score type"),
        "submit": plain("Add" if is_new else "Continue"),
        "close": plain("Cancel"),
        # The handler refuses the form if the version has changed since the form was opened.
        "private_metadata": json.dumps(
            {"key": score_type.key if score_type else None, "number": score_type.number if score_type else 0}
        ),
        "blocks": [
            about,
            text_field("label", "Label", initial=initial["label"], hint="What people read.", most=60),
            number_field("minimum", "Minimum", initial=initial["minimum"]),
            number_field("maximum", "Maximum", initial=initial["maximum"]),
            number_field("step", "Step", initial=initial["step"], hint="1, 0.5, 0.001 …"),
            number_field(
                "start", "Starting value", initial=initial["start"], optional=True,
                hint="Scores start here, and fade toward it. Blank: the value nearest to 0.",
            ),
            text_field(
                "bands", "Bands", initial=initial["bands"], optional=True, multiline=True,
                hint="A line each, lowest first, the first at the minimum: cold:0, then warm:40, then hot:80."
                f" You can add a color for the chart, hot:80:red: {', '.join(COLOURS[:-1])} or {COLOURS[-1]}.",
            ),
            text_field(
                "half_life", "Half-life", initial=initial["half_life"], optional=True,
                hint="30d, 2w or 36h: how long until half of the way to the starting value is lost. Blank: it stays.",
            ),
            *([] if score_type and score_type.is_default else [_default_field()]),
        ],
    }  # fmt: skip  # one field per line


def _default_field() -> Block:
    option = {"text": plain("Use this one when no score type is named"), "value": "yes"}
    element: dict[str, Any] = {"type": "checkboxes", "action_id": "value", "options": [option]}
    return field("default", "Default", element, optional=True)


def written_bands(bands: Sequence[Band]) -> str:
    """Return bands as they are typed, one per line."""
    return "\n".join(band.typed for band in bands)
