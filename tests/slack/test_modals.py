"""Open, fill in and submit modals, and publish a Home tab."""

from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.demo.sending import Response
from bot.demo.world import View
from tests.slack.foreign import ForeignSlack
from tests.slack.product import Product, answering, button, field, modal, never, option, section

TEXT = {"type": "plain_text_input"}


async def opened(
    sandbox: ForeignSlack, product: Product, client: AsyncWebClient, view: dict[str, Any], user: str = "U0REP"
) -> View:
    channel = "C0SHARED" if user == "U0OUT" else "C0SALES"
    await sandbox.command("/score", "set", user=user, channel=channel)
    await client.views_open(trigger_id=product.last.fields["trigger_id"], view=view)
    return sandbox.open_views(user)[-1]


async def code_of(call: Any) -> str:
    with pytest.raises(SlackApiError) as error:
        await call
    return str(error.value.response["error"])


async def test_a_trigger_is_good_once_for_three_seconds(
    sandbox: ForeignSlack, product: Product, client: AsyncWebClient
) -> None:
    """A trigger expires after one use or three seconds, with different errors; an invalid view does not use it up."""
    await sandbox.command("/score", "set", user="U0REP", channel="C0SALES")
    trigger = product.last.fields["trigger_id"]
    broken = await code_of(client.views_open(trigger_id=trigger, view=modal(title="Set")))
    await client.views_open(trigger_id=trigger, view=modal())
    again = await code_of(client.views_open(trigger_id=trigger, view=modal()))
    await sandbox.command("/score", "set", user="U0REP", channel="C0SALES")
    sandbox.clock.advance(3.5)
    late = await code_of(client.views_open(trigger_id=product.last.fields["trigger_id"], view=modal()))

    assert (broken, again, late) == ("invalid_arguments", "exchanged_trigger_id", "expired_trigger_id")


async def test_a_submission(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """The submitted view has its state; an empty answer closes it."""
    view = await opened(sandbox, product, client, modal(field("contact", TEXT), private_metadata="C0SALES"))
    response = await sandbox.submit(view.id, {"contact": {"value": "Ada"}}, user="U0REP")
    sent = product.last.fields

    assert (response.status, response.note, sandbox.open_views("U0REP")) == (200, "", [])
    assert (sent["type"], product.last.signed, "channel" in sent, "message" in sent) == (
        "view_submission",
        True,
        False,
        False,
    )
    assert {key: sent["view"][key] for key in ("id", "type", "callback_id", "private_metadata", "root_view_id")} == {
        "id": view.id,
        "type": "modal",
        "callback_id": "set_score",
        "private_metadata": "C0SALES",
        "root_view_id": view.id,
    }
    assert sent["view"]["state"] == {"values": {"contact": {"value": {"type": "plain_text_input", "value": "Ada"}}}}
    assert sent["response_urls"] == []


OPTIONS = [option("fit"), option("score")]
KINDS: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    ({"type": "plain_text_input"}, "great demo", {"value": "great demo"}),
    ({"type": "number_input", "is_decimal_allowed": True}, 4.5, {"value": "4.5"}),
    ({"type": "static_select", "options": OPTIONS}, "fit", {"selected_option": OPTIONS[0]}),
    ({"type": "checkboxes", "options": OPTIONS}, ["fit", "score"], {"selected_options": OPTIONS}),
    ({"type": "external_select"}, option("ada"), {"selected_option": option("ada")}),
    (
        {"type": "external_select"},
        "7",
        {"selected_option": {"text": {"type": "plain_text", "text": "7", "emoji": True}, "value": "7"}},
    ),
    ({"type": "users_select"}, "U0JANE", {"selected_user": "U0JANE"}),
    ({"type": "datepicker"}, "2026-12-24", {"selected_date": "2026-12-24"}),
    ({"type": "conversations_select"}, "C0SALES", {"selected_conversation": "C0SALES"}),
    # In the format of the page: the state is already in Slack's form.
    ({"type": "users_select"}, {"selected_user": "U0REP"}, {"selected_user": "U0REP"}),
    ({"type": "plain_text_input"}, {"type": "plain_text_input", "value": "typed"}, {"value": "typed"}),
]


@pytest.mark.parametrize(
    ("element", "value", "state"), KINDS, ids=lambda case: case.get("type") if isinstance(case, dict) else None
)
async def test_every_kind_of_field(
    sandbox: ForeignSlack,
    product: Product,
    client: AsyncWebClient,
    element: dict[str, Any],
    value: Any,
    state: dict[str, Any],
) -> None:
    """The state of a field has the format of its element."""
    view = await opened(sandbox, product, client, modal(field("b", element)))
    await sandbox.submit(view.id, {"b": {"value": value}}, user="U0REP")

    assert product.last.fields["view"]["state"]["values"] == {"b": {"value": {"type": element["type"]} | state}}


async def test_what_a_field_begins_with(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """An untouched field sends its initial value; an empty optional field sends null or an empty list."""
    view = await opened(
        sandbox,
        product,
        client,
        modal(
            field("text", TEXT | {"initial_value": "as it was"}),
            field("type", {"type": "static_select", "options": OPTIONS, "initial_option": OPTIONS[1]}),
            field("reason", TEXT, optional=True),
            field("tags", {"type": "checkboxes", "options": OPTIONS}, optional=True),
        ),
    )
    await sandbox.submit(view.id, user="U0REP")
    values = product.last.fields["view"]["state"]["values"]

    assert values["text"]["value"]["value"] == "as it was"
    assert values["type"]["value"]["selected_option"] == OPTIONS[1]
    assert values["reason"]["value"]["value"] is None
    assert values["tags"]["value"]["selected_options"] == []


@pytest.mark.parametrize(
    ("element", "value", "complaint"),
    [
        (TEXT, None, "Please complete this required field."),
        (TEXT, "", "Please complete this required field."),
        (TEXT | {"max_length": 3}, "abcd", "Must be at most 3 characters long"),
        ({"type": "number_input", "is_decimal_allowed": False}, "4.5", "Must be a whole number"),
        ({"type": "number_input", "is_decimal_allowed": True}, "8,5", "Must be a valid number"),
        (
            {"type": "number_input", "is_decimal_allowed": True, "min_value": "1"},
            "0",
            "Must be greater than or equal to 1",
        ),
        (
            {"type": "number_input", "is_decimal_allowed": True, "max_value": "5"},
            "6",
            "Must be less than or equal to 5",
        ),
    ],
)
async def test_what_slack_would_not_send(
    sandbox: ForeignSlack, product: Product, client: AsyncWebClient, element: dict[str, Any], value: Any, complaint: str
) -> None:
    """Slack itself rejects invalid entries, and the product receives nothing."""
    view = await opened(sandbox, product, client, modal(field("b", element)))
    before = len(product.received)
    response = await sandbox.submit(view.id, {"b": {"value": value}}, user="U0REP")

    assert (response.status, len(product.received)) == (0, before)
    assert sandbox.open_views("U0REP")[-1].errors == {"b": complaint}


async def submitted(
    sandbox: ForeignSlack, product: Product, view: View, content: Any, *, status: int = 200
) -> Response:
    product.answer = answering(content, status=status)
    response = await sandbox.submit(view.id, {"contact": {"value": "Ada"}}, user="U0REP")
    product.answer = answering("")
    return response


async def test_errors_are_shown_and_go(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """Errors and entered values stay in the view until the view is accepted."""
    view = await opened(sandbox, product, client, modal(field("contact", TEXT)))
    await submitted(sandbox, product, view, {"response_action": "errors", "errors": {"contact": "Nobody like that"}})
    wrong = sandbox.open_views("U0REP")[-1]
    await sandbox.submit(view.id, user="U0REP")

    assert wrong.errors == {"contact": "Nobody like that"}
    assert product.last.fields["view"]["state"]["values"]["contact"]["value"]["value"] == "Ada"
    assert sandbox.open_views("U0REP") == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("", 500),
        ({"response_action": "errors", "errors": {"no such block": "?"}}, 200),
    ],
)
async def test_an_answer_slack_cannot_use(
    sandbox: ForeignSlack, product: Product, client: AsyncWebClient, content: Any, status: int
) -> None:
    """After an unusable answer the view stays, and the person reads that there was a problem."""
    view = await opened(sandbox, product, client, modal(field("contact", TEXT)))
    response = await submitted(sandbox, product, view, content, status=status)

    assert response.note == "We had some trouble connecting. Try again?"
    assert [open_view.id for open_view in sandbox.open_views("U0REP")] == [view.id]


async def test_a_late_answer_to_a_submission(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """If the answer comes after Slack's timeout, the view stays open."""
    view = await opened(sandbox, product, client, modal())
    sandbox.patience, product.answer = 0.05, never
    response = await sandbox.submit(view.id, user="U0REP")

    assert (response.status, response.note) == (0, "We had some trouble connecting. Try again?")


async def test_a_click_in_a_modal(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """A click carries its view and the chosen values."""
    select = {"type": "static_select", "action_id": "type", "options": OPTIONS}
    view = await opened(sandbox, product, client, modal(section("Type", block_id="t", accessory=select)))
    await sandbox.click(view.id, "type", user="U0REP", selected="fit")
    sent = product.last.fields

    assert (sent["type"], sent["container"]) == ("block_actions", {"type": "view", "view_id": view.id})
    assert sent["view"]["state"]["values"]["t"]["type"]["selected_option"] == OPTIONS[0]
    assert "response_url" not in sent


async def test_a_view_updated_keeps_what_was_chosen(
    sandbox: ForeignSlack, product: Product, client: AsyncWebClient
) -> None:
    """A field with the same ids keeps its value after an update; the hash rejects updates based on an older view."""
    view = await opened(sandbox, product, client, modal(field("contact", TEXT), section("Go", accessory=button())))
    await sandbox.click(view.id, "undo", user="U0REP", values={"contact": {"value": "Ada"}})
    answer = await client.views_update(view_id=view.id, hash=view.hash, view=modal(field("contact", TEXT), section()))

    assert answer["view"]["state"]["values"]["contact"]["value"]["value"] == "Ada"
    assert await code_of(client.views_update(view_id=view.id, hash=view.hash, view=modal())) == "hash_conflict"


async def test_a_submission_from_another_organisation(
    sandbox: ForeignSlack, product: Product, client: AsyncWebClient
) -> None:
    """Here `team` is the outsider's own team; the view has the installed team."""
    view = await opened(sandbox, product, client, modal(), user="U0OUT")
    await sandbox.submit(view.id, user="U0OUT")
    sent = product.last.fields

    assert (sent["team"]["id"], sent["user"]["team_id"]) == ("T0OTHER", "T0OTHER")
    assert sent["view"]["app_installed_team_id"] == "T0DEMO"


async def test_closing(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """A closed form is gone; the product is not told."""
    view = await opened(sandbox, product, client, modal())
    product.received.clear()
    await sandbox.close_view(view.id, user="U0REP")

    assert (product.received, sandbox.open_views("U0REP")) == ([], [])


async def test_nobody_submits_anothers_view(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """A view can be submitted only by the person that it was opened for."""
    view = await opened(sandbox, product, client, modal())

    with pytest.raises(LookupError, match="U0JANE sees no view"):
        await sandbox.submit(view.id, user="U0JANE")


async def test_the_home_tab(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """Opening the Home tab sends an event, publishing fills it for one person, and its buttons work."""
    await sandbox.open_home("U0REP")
    event = product.last.fields["event"]
    home = {"type": "home", "blocks": [section("Hi", accessory=button())]}
    first = await client.views_publish(user_id="U0REP", view=home)
    second = await client.views_publish(user_id="U0REP", view=home)
    view = sandbox.home("U0REP")
    assert view is not None
    await sandbox.click(view.id, "undo", user="U0REP")
    clicked = product.last.fields
    await sandbox.open_home("U0REP")

    assert (event["type"], event["tab"], event["user"], "view" in event) == ("app_home_opened", "home", "U0REP", False)
    assert product.last.fields["event"]["view"]["id"] == view.id
    assert first["view"]["id"] == second["view"]["id"] == view.id == clicked["view"]["id"]
    assert (sandbox.home("U0JANE"), sandbox.open_views("U0REP")) == (None, [])


async def test_options_in_a_modal(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """An external select sends its view and the typed text, and gets options; none if the product refuses."""
    view = await opened(sandbox, product, client, modal(field("contact", {"type": "external_select"})))
    product.answer = answering({"options": [option("ada")]}, status=403)
    refused = await sandbox.options(view.id, "value", "ad", user="U0REP")
    product.answer = answering({"options": [option("ada")]})
    options = await sandbox.options(view.id, "value", "ad", user="U0REP")

    assert (refused, options) == ([], [option("ada")])
    assert {key: product.last.fields[key] for key in ("type", "action_id", "block_id", "value")} == {
        "type": "block_suggestion",
        "action_id": "value",
        "block_id": "contact",
        "value": "ad",
    }
    assert "trigger_id" not in product.last.fields
    assert (product.last.fields["view"]["id"], product.last.fields["container"]["type"]) == (view.id, "view")
