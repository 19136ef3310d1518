"""Hold blocks to the limits that Slack documents."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox import check_blocks, check_view
from bot.sandbox.block_kit import Surface
from tests.bot.sandbox.product import button, field, modal, option, section


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def table(rows: int, columns: int) -> dict[str, Any]:
    return {"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * columns] * rows}


IMAGE = {"type": "image", "image_url": "https://acme.example/a.png", "alt_text": "A chart"}
SELECT = {"type": "static_select", "action_id": "t", "options": [option("fit")]}
CONFIRM = {"title": plain("Sure?"), "text": plain("It cannot be undone"), "confirm": plain("Yes"), "deny": plain("No")}

TAKEN: list[tuple[str, list[dict[str, Any]], Surface]] = [
    ("a full section", [section("x" * 3000, fields=[plain("y" * 2000)] * 10, accessory=button())], "message"),
    ("fifty blocks", [{"type": "divider"}] * 50, "message"),
    ("a hundred blocks", [{"type": "divider"}] * 100, "home"),
    ("a full header", [{"type": "header", "text": plain("x" * 150)}], "home"),
    (
        "twenty-five buttons",
        [actions(*(button(str(n), confirm=CONFIRM, style="danger") for n in range(25)))],
        "message",
    ),
    ("a context", [{"type": "context", "elements": [IMAGE, plain("By Robin")] * 5}], "modal"),
    ("a picture", [IMAGE | {"title": plain("Ninety days")}], "message"),
    ("an uploaded picture", [{"type": "image", "slack_file": {"id": "F1"}, "alt_text": "A chart"}], "modal"),
    ("a table", [table(100, 20)], "message"),
    ("a select in a section", [section(accessory=SELECT | {"initial_option": option("fit")})], "message"),
    ("a field in a message", [field("b", {"type": "number_input", "is_decimal_allowed": True})], "message"),
    ("markdown", [{"type": "markdown", "text": "**bold**"}], "message"),
    ("a chart", [{"type": "data_visualization", "title": "Fit", "chart": {"type": "line"}}], "message"),
    ("nothing", [], "message"),
]

REFUSED: list[tuple[str, Any, Surface, str, str]] = [
    ("not a list", {"type": "divider"}, "message", "must provide an array", ""),
    ("51 blocks", [{"type": "divider"}] * 51, "message", "no more than 50 items allowed", ""),
    ("101 blocks", [{"type": "divider"}] * 101, "modal", "no more than 100 items allowed", ""),
    ("an unknown block", [{"type": "tabel"}], "message", "unsupported type: tabel", "/0/type"),
    ("no type", [{}], "message", "unsupported type: None", "/0/type"),
    ("an unknown key", [section(colour="red")], "message", "invalid additional property: colour", "/0"),
    ("long text", [section("x" * 3001)], "message", "must be less than 3001 characters", "/0/text/text"),
    ("no text", [section("")], "message", "must be more than 0 characters", "/0/text/text"),
    ("an empty section", [{"type": "section"}], "message", "must provide text or fields", "/0"),
    ("a string for text", [section(fields=["x"])], "message", "must be a valid text object", "/0/fields/0"),
    (
        "a number for text",
        [section(fields=[{"type": "plain_text", "text": 7}])],
        "message",
        "must provide a string",
        "/0/fields/0/text",
    ),
    ("eleven fields", [section(fields=[plain("x")] * 11)], "message", "no more than 10 items allowed", "/0/fields"),
    (
        "mrkdwn in a header",
        [{"type": "header", "text": {"type": "mrkdwn", "text": "*x*"}}],
        "message",
        "must be a valid text object",
        "/0/text",
    ),
    (
        "a long header",
        [{"type": "header", "text": plain("x" * 151)}],
        "message",
        "must be less than 151 characters",
        "/0/text/text",
    ),
    (
        "a long button",
        [actions(button(text=plain("x" * 76)))],
        "message",
        "must be less than 76 characters",
        "/0/elements/0/text/text",
    ),
    ("a bad style", [actions(button(style="warning"))], "message", "must be a valid enum value", "/0/elements/0/style"),
    (
        "a long value",
        [actions(button(value="x" * 2001))],
        "message",
        "must be less than 2001 characters",
        "/0/elements/0/value",
    ),
    (
        "a long action_id",
        [actions(button("x" * 256))],
        "message",
        "must be less than 256 characters",
        "/0/elements/0/action_id",
    ),
    (
        "26 buttons",
        [actions(*(button(str(n)) for n in range(26)))],
        "message",
        "no more than 25 items allowed",
        "/0/elements",
    ),
    ("no buttons", [actions()], "message", "no fewer than 1 items allowed", "/0/elements"),
    (
        "two of one name",
        [actions(button(), button())],
        "message",
        'action_id "undo" already exists in this block',
        "/0",
    ),
    (
        "two blocks of one name",
        [section(block_id="b"), section(block_id="b")],
        "message",
        'block_id "b" already exists',
        "",
    ),
    (
        "a field in actions",
        [actions({"type": "plain_text_input"})],
        "message",
        "unsupported type: plain_text_input",
        "/0/elements/0/type",
    ),
    (
        "an input's label",
        [{"type": "input", "element": {"type": "plain_text_input"}}],
        "modal",
        "missing required field: label",
        "/0",
    ),
    (
        "a number's kind",
        [field("b", {"type": "number_input"})],
        "modal",
        "missing required field: is_decimal_allowed",
        "/0/element",
    ),
    (
        "a yes that is no",
        [field("b", {"type": "plain_text_input"}, optional="yes")],
        "modal",
        "must provide a boolean",
        "/0/optional",
    ),
    (
        "a length in words",
        [field("b", {"type": "plain_text_input", "max_length": "9"})],
        "modal",
        "must provide a number",
        "/0/element/max_length",
    ),
    (
        "101 options",
        [actions(SELECT | {"options": [option(str(n)) for n in range(101)]})],
        "message",
        "no more than 100 items allowed",
        "/0/elements/0/options",
    ),
    (
        "a long option",
        [actions(SELECT | {"options": [option("x" * 76)]})],
        "message",
        "must be less than 76 characters",
        "/0/elements/0/options/0/text/text",
    ),
    (
        "no options",
        [actions({"type": "static_select"})],
        "message",
        "must provide exactly one of options and option_groups",
        "/0",
    ),
    (
        "a foreign beginning",
        [actions(SELECT | {"initial_option": option("score")})],
        "message",
        "initial options must be among the options",
        "/0",
    ),
    (
        "six in a menu",
        [section(accessory={"type": "overflow", "options": [option(str(n)) for n in range(6)]})],
        "message",
        "no more than 5 items allowed",
        "/0/accessory/options",
    ),
    (
        "eleven boxes",
        [actions({"type": "checkboxes", "options": [option(str(n)) for n in range(11)]})],
        "message",
        "no more than 10 items allowed",
        "/0/elements/0/options",
    ),
    (
        "eleven in a context",
        [{"type": "context", "elements": [plain("x")] * 11}],
        "message",
        "no more than 10 items allowed",
        "/0/elements",
    ),
    (
        "a long confirmation",
        [actions(button(confirm=CONFIRM | {"confirm": plain("x" * 31)}))],
        "message",
        "must be less than 31 characters",
        "/0/elements/0/confirm/confirm/text",
    ),
    (
        "a picture of nothing",
        [{"type": "image", "alt_text": "?"}],
        "message",
        "must provide exactly one of image_url and slack_file",
        "/0",
    ),
    (
        "a picture without words",
        [{"type": "image", "image_url": "https://a.example/a.png"}],
        "message",
        "missing required field: alt_text",
        "/0",
    ),
    ("101 rows", [table(101, 1)], "message", "no more than 100 items allowed", "/0/rows"),
    ("21 columns", [table(1, 21)], "message", "no more than 20 items allowed", "/0/rows/0"),
    ("two tables", [table(1, 1), table(1, 1)], "message", "no more than 1 table blocks allowed", ""),
    ("a table in a modal", [table(1, 1)], "modal", "unsupported block on this surface: table", "/0"),
    (
        "markdown at home",
        [{"type": "markdown", "text": "x"}],
        "home",
        "unsupported block on this surface: markdown",
        "/0",
    ),
    (
        "too much markdown",
        [{"type": "markdown", "text": "x" * 6001}] * 2,
        "message",
        "markdown blocks must be less than 12001 characters together",
        "",
    ),
]


@pytest.mark.parametrize(("blocks", "surface"), [pytest.param(b, s, id=name) for name, b, s in TAKEN])
def test_what_is_taken(blocks: list[dict[str, Any]], surface: Surface) -> None:
    """Blocks at their limits are fine."""
    assert check_blocks(blocks, surface) == []


@pytest.mark.parametrize(
    ("blocks", "surface", "words", "place"), [pytest.param(*refused, id=name) for name, *refused in REFUSED]
)
def test_what_is_refused(blocks: Any, surface: Surface, words: str, place: str) -> None:
    """One step past a limit is refused, with the place."""
    assert f"[ERROR] {words} [json-pointer:/blocks{place}]" in check_blocks(blocks, surface)


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
        (modal(table(1, 1)), "unsupported block on this surface: table [json-pointer:/view/blocks/0]"),
        ("modal", "must provide an object [json-pointer:/view]"),
    ],
)
def test_views_are_checked(view: Any, words: str) -> None:
    """A view has limits of its own, and those of its blocks."""
    assert f"[ERROR] {words}" in check_view(view)


async def test_slack_says_where(client: AsyncWebClient) -> None:
    """A refused message names the place, as the SDK's error shows it."""
    with pytest.raises(SlackApiError) as refused:
        await client.chat_postMessage(
            channel="C0SALES", text="Hi", blocks=[{"type": "header", "text": plain("x" * 151)}]
        )

    words = "must be less than 151 characters [json-pointer:/blocks/0/text/text]"
    assert refused.value.response.data == {
        "ok": False,
        "error": "invalid_blocks",
        "errors": [words],
        "response_metadata": {"messages": [f"[ERROR] {words}"]},
    }


async def test_a_message_can_be_too_long(client: AsyncWebClient) -> None:
    """Blocks within every single limit are refused when they are too much together."""
    with pytest.raises(SlackApiError, match="msg_blocks_too_long"):
        await client.chat_postMessage(channel="C0SALES", text="Hi", blocks=[section("x" * 2900)] * 5)
