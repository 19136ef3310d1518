"""Validate blocks against the limits that Slack documents.

Only the kinds of blocks that the product sends are known; other kinds are rejected, so that new ones are noticed here.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from bot.demo.blocks import elements_of
from tests.slack.block_checks import (
    Check,
    anything,
    boolean,
    complaint,
    integer,
    kind_of,
    listing,
    one_of,
    shape,
    string,
    text,
)

MESSAGE_BLOCKS, VIEW_BLOCKS = 50, 100

_id = string(255, least=0)
_confirm = shape(
    {"title": text(100, plain=True), "text": text(300), "confirm": text(30, plain=True), "deny": text(30, plain=True)},
    {"style": one_of("primary", "danger")},
)
_option = shape({"text": text(75), "value": string(150)}, {"description": text(75), "url": string(3000)})
_plain_option = shape(
    {"text": text(75, plain=True), "value": string(150)},
    {"description": text(75, plain=True), "url": string(3000)},
)
_group = shape({"label": text(75, plain=True), "options": listing(_plain_option, most=100)}, {})
_dispatch = shape({}, {"trigger_actions_on": listing(one_of("on_enter_pressed", "on_character_entered"), most=2)})
_filter = shape(
    {},
    {
        "include": listing(one_of("im", "mpim", "private", "public"), most=4),
        "exclude_external_shared_channels": boolean,
        "exclude_bot_users": boolean,
    },
)


def _build_element_check(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    return shape(required, {"action_id": _id, **optional})


_field: dict[str, Check] = {"placeholder": text(150, plain=True), "focus_on_load": boolean}
_select = _field | {"confirm": _confirm}
_typed = _field | {"dispatch_action_config": _dispatch}

_buttons = {
    "button": _build_element_check(
        {"text": text(75, plain=True)},
        {
            "value": string(2000, least=0),
            "url": string(3000),
            "style": one_of("primary", "danger"),
            "confirm": _confirm,
            "accessibility_label": string(75),
        },
    ),
    "overflow": _build_element_check({"options": listing(_plain_option, most=5)}, {"confirm": _confirm}),
}
_selects = {
    "static_select": _build_element_check(
        {},
        _select
        | {
            "options": listing(_plain_option, most=100),
            "option_groups": listing(_group, most=100),
            "initial_option": _plain_option,
        },
    ),
    "external_select": _build_element_check(
        {}, _select | {"initial_option": _plain_option, "min_query_length": integer}
    ),
    "users_select": _build_element_check({}, _select | {"initial_user": string(255)}),
    "conversations_select": _build_element_check(
        {},
        _select
        | {
            "initial_conversation": string(255),
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": _filter,
        },
    ),
    "checkboxes": _build_element_check(
        {"options": listing(_option, most=10)},
        {"initial_options": listing(_option, most=10), "confirm": _confirm, "focus_on_load": boolean},
    ),
}
_inputs = {
    "datepicker": _build_element_check(
        {}, {"initial_date": string(10), "placeholder": text(150, plain=True), "confirm": _confirm}
    ),
    "plain_text_input": _build_element_check(
        {},
        _typed
        | {
            "multiline": boolean,
            "min_length": integer,
            "max_length": integer,
            "initial_value": string(3000, least=0),
        },
    ),
    "number_input": _build_element_check(
        {"is_decimal_allowed": boolean},
        _typed | {"initial_value": string(100), "min_value": string(100), "max_value": string(100)},
    ),
}


def _build_block_check(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    return shape(required, {"block_id": _id, **optional})


BLOCKS = {
    "section": _build_block_check(
        {},
        {
            "text": text(3000),
            "fields": listing(text(2000), most=10),
            "accessory": kind_of(_buttons | _selects),
            "expand": boolean,
        },
    ),
    "divider": _build_block_check({}, {}),
    "image": _build_block_check(
        {"alt_text": string(2000)},
        {
            "image_url": string(3000),
            "slack_file": shape({}, {"id": string(255), "url": string(3000)}),
            "title": text(2000, plain=True),
        },
    ),
    "actions": _build_block_check({"elements": listing(kind_of(_buttons | _selects), most=25)}, {}),
    "context": _build_block_check({"elements": listing(text(3000), most=10)}, {}),
    "input": _build_block_check(
        {"label": text(2000, plain=True), "element": kind_of(_inputs | _selects)},
        {"hint": text(2000, plain=True), "optional": boolean, "dispatch_action": boolean},
    ),
}


def check_blocks(blocks: Any, *, most: int = MESSAGE_BLOCKS, path: str = "/blocks") -> list[str]:
    """Return the errors that Slack would report about *blocks*; empty if it would accept them."""
    errors = list(listing(kind_of(BLOCKS), most=most, least=0)(blocks, path))
    if errors:
        return errors
    for index, block in enumerate(blocks):
        errors += _check_block(block, f"{path}/{index}")
    names = Counter(block["block_id"] for block in blocks if block.get("block_id"))
    errors += [complaint(f'block_id "{name}" already exists', path) for name, count in names.items() if count > 1]
    return errors


def check_view(view: Any) -> list[str]:
    """Return the errors that Slack would report about a modal or a Home tab."""
    shared = {
        "blocks": anything,
        "type": one_of("modal", "home"),
        "private_metadata": string(3000, least=0),
        "callback_id": string(255, least=0),
        "external_id": string(255, least=0),
    }
    modal = {
        "submit": text(24, plain=True),
        "close": text(24, plain=True),
        "clear_on_close": boolean,
        "notify_on_close": boolean,
        "submit_disabled": boolean,
    }
    is_home = isinstance(view, dict) and view.get("type") == "home"
    required: dict[str, Check] = {"type": shared["type"], "blocks": anything}
    check = shape(required, shared) if is_home else shape(required | {"title": text(24, plain=True)}, shared | modal)
    errors = list(check(view, "/view"))
    if errors:
        return errors
    errors = check_blocks(view["blocks"], most=VIEW_BLOCKS, path="/view/blocks")
    has_input = any(block.get("type") == "input" for block in view["blocks"] if isinstance(block, dict))
    if has_input and not is_home and "submit" not in view:
        errors.append(complaint("missing required field: submit", "/view"))
    return errors


def _check_block(block: dict[str, Any], path: str) -> Iterator[str]:
    if block["type"] == "section" and not (block.get("text") or block.get("fields")):
        yield complaint("must provide text or fields", path)
    if block["type"] == "image" and ("image_url" in block) == ("slack_file" in block):
        yield complaint("must provide exactly one of image_url and slack_file", path)
    elements = elements_of(block)
    names = Counter(element["action_id"] for element in elements if element.get("action_id"))
    for name, count in names.items():
        if count > 1:
            yield complaint(f'action_id "{name}" already exists in this block', path)
    for element in elements:
        yield from _check_options(element, path)


def _check_options(element: dict[str, Any], path: str) -> Iterator[str]:
    if element["type"] == "static_select" and ("options" in element) == ("option_groups" in element):
        yield complaint("must provide exactly one of options and option_groups", path)
        return
    options = element.get("options", []) + [
        option for group in element.get("option_groups", []) for option in group["options"]
    ]
    for option in [*filter(None, [element.get("initial_option")]), *element.get("initial_options", [])]:
        if options and option not in options:
            yield complaint("initial options must be among the options", path)
