"""Blocks are checked against Slack's documented limits."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.slack.block_kit import check_blocks, check_view
from tests.slack.product import button, field, modal, option, section


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


IMAGE = {"type": "image", "image_url": "https://acme.example/a.png", "alt_text": "A chart"}
SELECT = {"type": "static_select", "action_id": "t", "options": [option("fit")]}
CONFIRM = {"title": plain("Sure?"), "text": plain("It cannot be undone"), "confirm": plain("Yes"), "deny": plain("No")}

TAKEN: list[tuple[str, list[dict[str, Any]]]] = [
    ("a full section", [section("x" * 3000, fields=[plain("y" * 2000)] * 10, accessory=button())]),
    ("fifty blocks", [{"type": "divider"}] * 50),
    ("twenty-five buttons", [actions(*(button(str(n), confirm=CONFIRM, style="danger") for n in range(25)))]),
    ("a context", [{"type": "context", "elements": [plain("By Robin")] * 10}]),
    ("a picture", [IMAGE | {"title": plain("Ninety days")}]),
    ("an uploaded picture", [{"type": "image", "slack_file": {"id": "F1"}, "alt_text": "A chart"}]),
    ("a select in a section", [section(accessory=SELECT | {"initial_option": option("fit")})]),
    ("a field in a message", [field("b", {"type": "number_input", "is_decimal_allowed": True})]),
    ("nothing", []),
]

REFUSED: list[tuple[str, Any, str, str]] = [
    ("not a list", {"type": "divider"}, "must provide an array", ""),
    ("51 blocks", [{"type": "divider"}] * 51, "no more than 50 items allowed", ""),
    ("a kind that is never sent", [{"type": "header", "text": plain("x")}], "unsupported here: header", "/0/type"),
    ("no type", [{}], "unsupported here: None", "/0/type"),
    ("an unknown key", [section(colour="red")], "invalid additional property: colour", "/0"),
    ("long text", [section("x" * 3001)], "must be less than 3001 characters", "/0/text/text"),
    ("no text", [section("")], "must be more than 0 characters", "/0/text/text"),
    ("an empty section", [{"type": "section"}], "must provide text or fields", "/0"),
    ("a string for text", [section(fields=["x"])], "must be a valid text object", "/0/fields/0"),
    (
        "a number for text",
        [section(fields=[{"type": "plain_text", "text": 7}])],
        "must provide a string",
        "/0/fields/0/text",
    ),
    ("eleven fields", [section(fields=[plain("x")] * 11)], "no more than 10 items allowed", "/0/fields"),
    (
        "a long button",
        [actions(button(text=plain("x" * 76)))],
        "must be less than 76 characters",
        "/0/elements/0/text/text",
    ),
    ("a bad style", [actions(button(style="warning"))], "must be a valid enum value", "/0/elements/0/style"),
    (
        "a long value",
        [actions(button(value="x" * 2001))],
        "must be less than 2001 characters",
        "/0/elements/0/value",
    ),
    (
        "a long action_id",
        [actions(button("x" * 256))],
        "must be less than 256 characters",
        "/0/elements/0/action_id",
    ),
    (
        "26 buttons",
        [actions(*(button(str(n)) for n in range(26)))],
        "no more than 25 items allowed",
        "/0/elements",
    ),
    ("no buttons", [actions()], "no fewer than 1 items allowed", "/0/elements"),
    (
        "two of one name",
        [actions(button(), button())],
        'action_id "undo" already exists in this block',
        "/0",
    ),
    (
        "two blocks of one name",
        [section(block_id="b"), section(block_id="b")],
        'block_id "b" already exists',
        "",
    ),
    (
        "a field in actions",
        [actions({"type": "plain_text_input"})],
        "unsupported here: plain_text_input",
        "/0/elements/0/type",
    ),
    (
        "an input's label",
        [{"type": "input", "element": {"type": "plain_text_input"}}],
        "missing required field: label",
        "/0",
    ),
    (
        "a number's kind",
        [field("b", {"type": "number_input"})],
        "missing required field: is_decimal_allowed",
        "/0/element",
    ),
    (
        "a yes that is no",
        [field("b", {"type": "plain_text_input"}, optional="yes")],
        "must provide a boolean",
        "/0/optional",
    ),
    (
        "a length in words",
        [field("b", {"type": "plain_text_input", "max_length": "9"})],
        "must provide a number",
        "/0/element/max_length",
    ),
    (
        "101 options",
        [actions(SELECT | {"options": [option(str(n)) for n in range(101)]})],
        "no more than 100 items allowed",
        "/0/elements/0/options",
    ),
    (
        "a long option",
        [actions(SELECT | {"options": [option("x" * 76)]})],
        "must be less than 76 characters",
        "/0/elements/0/options/0/text/text",
    ),
    (
        "no options",
        [actions({"type": "static_select"})],
        "must provide exactly one of options and option_groups",
        "/0",
    ),
    (
        "a foreign beginning",
        [actions(SELECT | {"initial_option": option("score")})],
        "initial options must be among the options",
        "/0",
    ),
    (
        "six in a menu",
        [section(accessory={"type": "overflow", "options": [option(str(n)) for n in range(6)]})],
        "no more than 5 items allowed",
        "/0/accessory/options",
    ),
    (
        "eleven boxes",
        [actions({"type": "checkboxes", "options": [option(str(n)) for n in range(11)]})],
        "no more than 10 items allowed",
        "/0/elements/0/options",
    ),
    (
        "eleven in a context",
        [{"type": "context", "elements": [plain("x")] * 11}],
        "no more than 10 items allowed",
        "/0/elements",
    ),
    (
        "a long confirmation",
        [actions(button(confirm=CONFIRM | {"confirm": plain("x" * 31)}))],
        "must be less than 31 characters",
        "/0/elements/0/confirm/confirm/text",
    ),
    (
        "a picture of nothing",
        [{"type": "image", "alt_text": "?"}],
        "must provide exactly one of image_url and slack_file",
        "/0",
    ),
    (
        "a picture without words",
        [{"type": "image", "image_url": "https://a.example/a.png"}],
        "missing required field: alt_text",
        "/0",
    ),
]


@pytest.mark.parametrize("blocks", [pytest.param(blocks, id=name) for name, blocks in TAKEN])
def test_what_is_taken(blocks: list[dict[str, Any]]) -> None:
    """Blocks at their limits are accepted."""
    assert check_blocks(blocks) == []


@pytest.mark.parametrize(("blocks", "words", "place"), [pytest.param(*case, id=name) for name, *case in REFUSED])
def test_what_is_refused(blocks: Any, words: str, place: str) -> None:
    """A block one step past a limit is refused, with its path."""
    assert f"[ERROR] {words} [json-pointer:/blocks{place}]" in check_blocks(blocks)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (modal(title=plain("x" * 25)), "must be less than 25 characters [json-pointer:/view/title/text]"),
        (modal(private_metadata="x" * 3001), "must be less than 3001 characters [json-pointer:/view/private_metadata]"),
        (modal(callback_id="x" * 256), "must be less than 256 characters [json-pointer:/view/callback_id]"),
        (modal(colour="red"), "invalid additional property: colour [json-pointer:/view]"),
        ({"type": "modal", "blocks": []}, "missing required field: title [json-pointer:/view]"),
        ({"type": "page", "title": plain("x"), "blocks": []}, "must be a valid enum value [json-pointer:/view/type]"),
        (
            {"type": "home", "blocks": [], "submit": plain("x")},
            "invalid additional property: submit [json-pointer:/view]",
        ),
        (
            {"type": "modal", "title": plain("x"), "blocks": [field("b", {"type": "plain_text_input"})]},
            "missing required field: submit [json-pointer:/view]",
        ),
        (modal(*[{"type": "divider"}] * 101), "no more than 100 items allowed [json-pointer:/view/blocks]"),
        (modal({"type": "table", "rows": []}), "unsupported here: table [json-pointer:/view/blocks/0/type]"),
        ("modal", "must provide an object [json-pointer:/view]"),
    ],
)
def test_views_are_checked(view: Any, words: str) -> None:
    """A view has its own limits, and the limits of its blocks."""
    assert f"[ERROR] {words}" in check_view(view)


async def test_slack_says_where(client: AsyncWebClient) -> None:
    """The error of a refused message names the path, in the SDK's format."""
    with pytest.raises(SlackApiError) as error:
        await client.chat_postMessage(channel="C0SALES", text="Hi", blocks=[section("x" * 3001)])

    words = "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    assert error.value.response.data == {
        "ok": False,
        "error": "invalid_blocks",
        "errors": [words],
        "response_metadata": {"messages": [f"[ERROR] {words}"]},
    }


async def test_a_message_can_be_too_long(client: AsyncWebClient) -> None:
    """Blocks within each single limit are refused if their total is too large."""
    with pytest.raises(SlackApiError, match="msg_blocks_too_long"):
        await client.chat_postMessage(channel="C0SALES", text="Hi", blocks=[section("x" * 2900)] * 5)
