"""Answer an interaction later through its response_url."""

from typing import Any

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.slack.foreign import ForeignSlack
from tests.slack.product import Product, button, section


async def after_command(sandbox: ForeignSlack, product: Product) -> AsyncWebhookClient:
    await sandbox.command("/score", user="U0REP", channel="C0SALES")
    return AsyncWebhookClient(product.last.fields["response_url"])


async def after_click(sandbox: ForeignSlack, product: Product, ts: str) -> AsyncWebhookClient:
    await sandbox.click(ts, "undo", user="U0REP")
    return AsyncWebhookClient(product.last.fields["response_url"])


def texts(sandbox: ForeignSlack, user: str) -> list[str]:
    return [message.text for message in sandbox.messages("C0SALES", user)][-2:]


async def test_a_later_answer_is_for_the_sender(sandbox: ForeignSlack, product: Product) -> None:
    """A later answer is ephemeral; the call is recorded."""
    later = await after_command(sandbox, product)
    answer = await later.send(text="For you")

    assert (answer.status_code, answer.body) == (200, "ok")
    assert texts(sandbox, "U0REP")[-1] == "For you"
    assert "For you" not in texts(sandbox, "U0JANE")
    assert [(call.method, call.arguments["text"]) for call in sandbox.calls] == [("response_url", "For you")]


async def test_five_uses(sandbox: ForeignSlack, product: Product) -> None:
    """The sixth use is refused, as an expired URL is."""
    later = await after_command(sandbox, product)
    answers = [await later.send(text=str(number)) for number in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert answers[-1].body == "expired_url"


async def test_half_an_hour(sandbox: ForeignSlack, product: Product) -> None:
    """A use one second too late is refused."""
    later = await after_command(sandbox, product)
    sandbox.clock.advance(1801)
    answer = await later.send(text="Too late")

    assert (answer.status_code, answer.body) == (404, "expired_url")


async def test_the_clicked_message_is_replaced(sandbox: ForeignSlack, product: Product, client: AsyncWebClient) -> None:
    """The clicked message is replaced for everybody, in place, also with newer messages below it."""
    blocks = [section("Claim?", accessory=button())]
    ts = str((await client.chat_postMessage(channel="C0SALES", text="Claim?", blocks=blocks))["ts"])
    await client.chat_postMessage(channel="C0SALES", text="Newer")
    later = await after_click(sandbox, product, ts)
    await later.send(text="Claimed", replace_original=True)

    assert texts(sandbox, "U0JANE") == ["Claimed", "Newer"]


async def test_what_cannot_be_posted(sandbox: ForeignSlack, product: Product) -> None:
    """A message with invalid blocks is refused with the status of an expired URL, but with another text."""
    later = await after_command(sandbox, product)
    answer = await later.send(blocks=[{"type": "tabel"}])

    assert answer.status_code == 404
    assert '"error": "invalid_blocks"' in answer.body


async def test_a_command_has_no_original(sandbox: ForeignSlack, product: Product) -> None:
    """A command has no original message to replace, so the answer is a new message."""
    later = await after_command(sandbox, product)
    options: dict[str, Any] = {"replace_original": True}
    await later.send(text="First", **options)
    await later.send(text="Second", **options)

    assert texts(sandbox, "U0REP") == ["First", "Second"]
