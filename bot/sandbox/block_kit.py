"""Check Block Kit against the limits that Slack documents."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from bot.sandbox.block_checks import (
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

Surface = Literal["message", "modal", "home"]

MESSAGE_BLOCKS, VIEW_BLOCKS = 50, 100
# Undocumented, but met in production: github.com/slackapi/bolt-js/issues/2509
MESSAGE_CHARACTERS = 13_200
NOT_IN = {
    "message": {"alert"},
    "modal": {"table", "data_table", "data_visualization", "card", "carousel", "container", "markdown"},
    "home": {"alert", "markdown"},
}
ONCE_IN_A_MESSAGE = {"table": 1, "data_visualization": 2}

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
_placeholder = text(150, plain=True)
_dispatch = shape({}, {"trigger_actions_on": listing(one_of("on_enter_pressed", "on_character_entered"), most=2)})
_filter = shape(
    {},
    {
        "include": listing(one_of("im", "mpim", "private", "public"), most=4),
        "exclude_external_shared_channels": boolean,
        "exclude_bot_users": boolean,
    },
)


def _element(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    return shape(required, {"action_id": _id, **optional})


def _picker(optional: dict[str, Check], required: dict[str, Check] | None = None) -> Check:
    return _element(
        required or {}, {"placeholder": _placeholder, "confirm": _confirm, "focus_on_load": boolean} | optional
    )


def _typed(optional: dict[str, Check], required: dict[str, Check] | None = None) -> Check:
    shared = {"placeholder": _placeholder, "focus_on_load": boolean, "dispatch_action_config": _dispatch}
    return _element(required or {}, shared | optional)


_choices = {"options": listing(_plain_option, most=100), "option_groups": listing(_group, most=100)}
_boxes = {"confirm": _confirm, "focus_on_load": boolean}
_one = {"initial_option": _plain_option}
_many = {"initial_options": listing(_plain_option, most=100), "max_selected_items": integer}
_external = {"min_query_length": integer}
_names = listing(string(255), most=100)
_lengths = {"multiline": boolean, "min_length": integer, "max_length": integer, "initial_value": string(3000, least=0)}

_buttons = {
    "button": _element(
        {"text": text(75, plain=True)},
        {
            "value": string(2000, least=0),
            "url": string(3000),
            "style": one_of("primary", "danger"),
            "confirm": _confirm,
            "accessibility_label": string(75),
        },
    ),
    "overflow": _element({"options": listing(_plain_option, most=5)}, {"confirm": _confirm}),
    "workflow_button": _element({"text": text(75, plain=True), "workflow": anything}, {"style": anything}),
}
_selects = {
    "static_select": _picker(_choices | _one),
    "external_select": _picker(_external | _one),
    "users_select": _picker({"initial_user": string(255)}),
    "conversations_select": _picker(
        {
            "initial_conversation": string(255),
            "default_to_current_conversation": boolean,
            "response_url_enabled": boolean,
            "filter": _filter,
        }
    ),
    "channels_select": _picker({"initial_channel": string(255), "response_url_enabled": boolean}),
    "multi_static_select": _picker(_choices | _many),
    "multi_external_select": _picker(_external | _many),
    "multi_users_select": _picker({"initial_users": _names, "max_selected_items": integer}),
    "multi_conversations_select": _picker(
        {
            "initial_conversations": _names,
            "default_to_current_conversation": boolean,
            "max_selected_items": integer,
            "filter": _filter,
        }
    ),
    "multi_channels_select": _picker({"initial_channels": _names, "max_selected_items": integer}),
    "radio_buttons": _element({"options": listing(_option, most=10)}, _boxes | {"initial_option": _option}),
    "checkboxes": _element(
        {"options": listing(_option, most=10)}, _boxes | {"initial_options": listing(_option, most=10)}
    ),
    "datepicker": _picker({"initial_date": string(10)}),
    "timepicker": _picker({"initial_time": string(5), "timezone": string(100)}),
    "datetimepicker": _element({}, _boxes | {"initial_date_time": integer}),
}
_inputs = {
    "plain_text_input": _typed(_lengths),
    "email_text_input": _typed({"initial_value": string(3000)}),
    "url_text_input": _typed({"initial_value": string(3000)}),
    "number_input": _typed(
        {"initial_value": string(100), "min_value": string(100), "max_value": string(100)},
        {"is_decimal_allowed": boolean},
    ),
    "rich_text_input": _typed({"initial_value": anything}),
    "file_input": _element({}, {"filetypes": _names, "max_files": integer}),
}
_picture = {"image_url": string(3000), "slack_file": shape({}, {"id": string(255), "url": string(3000)})}
_image_element = {"image": shape({"alt_text": string(2000)}, _picture)}
_cell = kind_of(
    {
        "raw_text": shape({"text": string(3000)}, {}),
        "raw_number": shape({"value": anything}, {"text": string(3000)}),
        "rich_text": anything,
    }
)
_row = listing(_cell, most=20)
_column = shape({}, {"align": one_of("left", "center", "right"), "is_wrapped": boolean})


def _block(required: dict[str, Check], optional: dict[str, Check] | None = None, *, closed: bool = True) -> Check:
    return shape(required, {"block_id": _id} | (optional or {}), closed=closed)


def _open(required: dict[str, Check]) -> Check:
    return _block(required, closed=False)


BLOCKS: dict[str, Check] = {
    "section": _block(
        {},
        {
            "text": text(3000),
            "fields": listing(text(2000), most=10),
            "accessory": kind_of(_buttons | _selects | _image_element),
            "expand": boolean,
        },
    ),
    "divider": _block({}),
    "header": _block({"text": text(150, plain=True)}, {"level": integer}),
    "image": _block({"alt_text": string(2000)}, _picture | {"title": text(2000, plain=True)}),
    "actions": _block({"elements": listing(kind_of(_buttons | _selects), most=25)}),
    "context": _block(
        {"elements": listing(kind_of(_image_element | {"mrkdwn": text(3000), "plain_text": text(3000)}), most=10)}
    ),
    "input": _block(
        {"label": text(2000, plain=True), "element": kind_of(_inputs | _selects)},
        {"hint": text(2000, plain=True), "optional": boolean, "dispatch_action": boolean},
    ),
    "markdown": _block({"text": string(12_000)}),
    "table": _block({"rows": listing(_row, most=100)}, {"column_settings": listing(_column, most=20)}),
    "rich_text": _block({"elements": listing(anything, most=100)}),
    # Of these only the sizes are documented well enough to hold anybody to them.
    "alert": _open({"text": anything}),
    "card": _open({}),
    "carousel": _open({"elements": listing(anything, most=10)}),
    "container": _open({}),
    "context_actions": _open({"elements": listing(anything, most=5)}),
    "data_table": _open({"caption": anything, "rows": listing(listing(anything, most=20), most=101)}),
    "data_visualization": _open({"title": string(50)}),
    "file": _open({"external_id": string(255), "source": one_of("remote")}),
    "plan": _open({}),
    "task_card": _open({}),
    "video": _open({"alt_text": string(2000), "title": anything, "thumbnail_url": anything, "video_url": anything}),
}


def check_blocks(blocks: Any, surface: Surface = "message", *, path: str = "/blocks") -> list[str]:
    """Every complaint that Slack would have about *blocks*; none when they would be taken."""
    most = MESSAGE_BLOCKS if surface == "message" else VIEW_BLOCKS
    found = list(listing(kind_of(BLOCKS), most=most, least=0)(blocks, path))
    if found:
        return found
    for index, block in enumerate(blocks):
        found += _inside(block, surface, f"{path}/{index}")
    names = Counter(block["block_id"] for block in blocks if block.get("block_id"))
    found += [complaint(f'block_id "{name}" already exists', path) for name, count in names.items() if count > 1]
    kinds = Counter(block["type"] for block in blocks)
    for kind, times in ONCE_IN_A_MESSAGE.items():
        if kinds[kind] > times:
            found.append(complaint(f"no more than {times} {kind} blocks allowed", path))
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > 12_000:
        found.append(complaint("markdown blocks must be less than 12001 characters together", path))
    return found


def too_long(blocks: Any) -> bool:
    """Whether a message's blocks together are more than Slack takes."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > MESSAGE_CHARACTERS


def check_view(view: Any) -> list[str]:
    """Every complaint that Slack would have about a modal or a Home tab."""
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
    needed: dict[str, Check] = {"type": shared["type"], "blocks": anything}
    whole = shape(needed, shared) if is_home else shape(needed | {"title": text(24, plain=True)}, shared | modal)
    found = list(whole(view, "/view"))
    if found:
        return found
    found = check_blocks(view["blocks"], "home" if is_home else "modal", path="/view/blocks")
    asks = any(block.get("type") == "input" for block in view["blocks"] if isinstance(block, dict))
    if asks and not is_home and "submit" not in view:
        found.append(complaint("missing required field: submit", "/view"))
    return found


def elements_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    """The things in *block* that a person can press, choose or fill in."""
    candidates = [block.get("accessory"), block.get("element"), *(block.get("elements") or [])]
    able = _buttons.keys() | _selects.keys() | _inputs.keys() | {"feedback_buttons", "icon_button"}
    return [each for each in candidates if isinstance(each, dict) and each.get("type") in able]


def _inside(block: dict[str, Any], surface: Surface, path: str) -> Iterator[str]:
    if block["type"] in NOT_IN[surface]:
        yield complaint(f"unsupported block on this surface: {block['type']}", path)
    if block["type"] == "section" and not (block.get("text") or block.get("fields")):
        yield complaint("must provide text or fields", path)
    for each in [block, block.get("accessory"), *(block.get("elements") or [])]:
        if isinstance(each, dict) and each.get("type") == "image" and ("image_url" in each) == ("slack_file" in each):
            yield complaint("must provide exactly one of image_url and slack_file", path)
    elements = elements_of(block)
    names = Counter(element["action_id"] for element in elements if element.get("action_id"))
    for name, count in names.items():
        if count > 1:
            yield complaint(f'action_id "{name}" already exists in this block', path)
    for element in elements:
        yield from _options(element, path)


def _options(element: dict[str, Any], path: str) -> Iterator[str]:
    if element["type"] in ("static_select", "multi_static_select") and ("options" in element) == (
        "option_groups" in element
    ):
        yield complaint("must provide exactly one of options and option_groups", path)
        return
    options = element.get("options", []) + [
        option for group in element.get("option_groups", []) for option in group["options"]
    ]
    for option in [*filter(None, [element.get("initial_option")]), *element.get("initial_options", [])]:
        if options and option not in options:
            yield complaint("initial options must be among the options", path)
