"""Answer an interaction later through its response_url."""

from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.demo import Sandbox
from tests.bot.demo.product import Product, button, section


async def after_command(sandbox: Sandbox, product: Product) -> AsyncWebhookClient:
    await sandbox.command("/score", user="U0REP", channel="C0SALES")
    return AsyncWebhookClient(product.last.fields["response_url"])


async def after_click(sandbox: Sandbox, product: Product, ts: str) -> AsyncWebhookClient:
    await sandbox.click(ts, "undo", user="U0REP")
    return AsyncWebhookClient(product.last.fields["response_url"])


def texts(sandbox: Sandbox, user: str) -> list[str]:
    return [message.text for message in sandbox.messages("C0SALES", user)][-2:]


async def test_a_later_answer_is_for_the_sender(sandbox: Sandbox, product: Product) -> None:
    """A later answer is ephemeral unless it says in_channel; the call is recorded."""
    later = await after_command(sandbox, product)
    alone = await later.send(text="For you")
    everybody = await later.send(text="For all", response_type="in_channel")

    assert (alone.status_code, alone.body, everybody.status_code) == (200, "ok", 200)
    assert texts(sandbox, "U0REP") == ["For you", "For all"]
    assert "For you" not in texts(sandbox, "U0JANE")
    assert [(call.method, call.arguments["text"]) for call in sandbox.calls] == [
        ("response_url", "For you"),
        ("response_url", "For all"),
    ]


async def test_five_uses(sandbox: Sandbox, product: Product) -> None:
    """The sixth use is refused, as an expired URL is."""
    later = await after_command(sandbox, product)
    answers = [await later.send(text=str(number)) for number in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [404]
    assert answers[-1].body == "expired_url"


async def test_half_an_hour(sandbox: Sandbox, product: Product) -> None:
    """A use one second too late is refused."""
    later = await after_command(sandbox, product)
    sandbox.clock.advance(1801)
    answer = await later.send(text="Too late")

    assert (answer.status_code, answer.body) == (404, "expired_url")


async def test_the_clicked_message_is_replaced_or_deleted(
    sandbox: Sandbox, product: Product, client: AsyncWebClient
) -> None:
    """The clicked message is replaced or deleted for everybody, in place, also with newer messages below it."""
    blocks = [section("Claim?", accessory=button())]
    ts = str((await client.chat_postMessage(channel="C0SALES", text="Claim?", blocks=blocks))["ts"])
    await client.chat_postMessage(channel="C0SALES", text="Newer")
    later = await after_click(sandbox, product, ts)
    await later.send(text="Claimed", replace_original=True)
    replaced = texts(sandbox, "U0JANE")
    await later.send(delete_original=True)

    assert replaced == ["Claimed", "Newer"]
    assert "Claimed" not in texts(sandbox, "U0JANE")


@pytest.mark.parametrize(
    ("content", "status", "body"),
    [
        (b"not JSON", 400, "invalid_payload"),
        (b"{}", 400, "no_text"),
        # like an expired URL, but with another text
        (b'{"blocks":[{"type":"tabel"}]}', 404, '"error": "invalid_blocks"'),
    ],
)
async def test_what_cannot_be_posted(
    sandbox: Sandbox, product: Product, content: bytes, status: int, body: str
) -> None:
    """A body that is not a message is refused."""
    await after_command(sandbox, product)
    async with aiohttp.ClientSession() as session:
        answer = await session.post(product.last.fields["response_url"], data=content)

        assert answer.status == status
        assert body in await answer.text()


async def test_a_command_has_no_original(sandbox: Sandbox, product: Product) -> None:
    """A command has no original message to replace, so the answer is a new message."""
    later = await after_command(sandbox, product)
    options: dict[str, Any] = {"replace_original": True}
    await later.send(text="First", **options)
    await later.send(text="Second", **options)

    assert texts(sandbox, "U0REP") == ["First", "Second"]
