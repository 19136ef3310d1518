"""Simulate Slack's failures."""

import asyncio

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.slack.faults import Fault
from tests.slack.foreign import ForeignSlack
from tests.slack.product import Product


def count_posts(sandbox: ForeignSlack, text: str) -> int:
    return [message.text for message in sandbox.messages("C0SALES", "U0REP")].count(text)


async def test_too_many_requests(sandbox: ForeignSlack, client: AsyncWebClient) -> None:
    """429 with Retry-After is returned for this method alone, as often as requested, and nothing is done."""
    sandbox.faults.add(Fault(method="chat.postMessage", kind="rate_limited", times=2, retry_after=7))

    refusals = []
    for _ in range(2):
        with pytest.raises(SlackApiError) as error:
            await client.chat_postMessage(channel="C0SALES", text="Hi")
        refusals.append(error.value.response)
    await client.auth_test()
    assert count_posts(sandbox, "Hi") == 0
    await client.chat_postMessage(channel="C0SALES", text="Hi")

    assert [(r.status_code, r.headers["Retry-After"], r.data) for r in refusals] == [
        (429, "7", {"ok": False, "error": "ratelimited"})
    ] * 2
    assert count_posts(sandbox, "Hi") == 1


async def test_a_broken_server(sandbox: ForeignSlack, client: AsyncWebClient) -> None:
    """500 is returned for every call that matches the pattern, and nothing is done."""
    sandbox.faults.add(Fault(method="chat.*", kind="server_error"))

    with pytest.raises(SlackApiError) as error:
        await client.chat_postMessage(channel="C0SALES", text="Hi")

    assert error.value.response.status_code == 500
    assert count_posts(sandbox, "Hi") == 0


@pytest.mark.parametrize(("kind", "expected"), [("no_answer", 0), ("dropped_after_accepting", 1)])
async def test_a_closed_connection(sandbox: ForeignSlack, client: AsyncWebClient, kind: str, expected: int) -> None:
    """The connection ends without an answer, before or after the call was done; the call is recorded in both cases."""
    sandbox.faults.add(Fault(method="*", kind=kind))  # type: ignore[arg-type]  # a plain word from the table above
    client.retry_handlers.clear()

    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.chat_postMessage(channel="C0SALES", text="Hi")

    assert count_posts(sandbox, "Hi") == expected
    assert [call.method for call in sandbox.calls] == ["chat.postMessage"]


async def test_the_sdk_repeats_after_a_dropped_connection(sandbox: ForeignSlack, client: AsyncWebClient) -> None:
    """The SDK's default retry posts the message again, and the sandbox shows both messages."""
    sandbox.faults.add(Fault(method="chat.postMessage", kind="dropped_after_accepting"))

    await client.chat_postMessage(channel="C0SALES", text="Hi")

    assert count_posts(sandbox, "Hi") == 2


async def test_a_late_answer(sandbox: ForeignSlack, client: AsyncWebClient) -> None:
    """The call is done at once and answered when the test allows it, after the client has given up."""
    sandbox.faults.add(Fault(method="chat.postMessage", kind="late"))
    posting = asyncio.create_task(client.chat_postMessage(channel="C0SALES", text="Hi"))
    held_number = await sandbox.wait_for(lambda: sandbox.faults.held)
    assert not posting.done()
    posting.cancel()
    await asyncio.wait([posting])
    sandbox.faults.release()
    after = await client.auth_test()

    assert (held_number, sandbox.faults.held, after["ok"]) == (1, 0, True)
    assert count_posts(sandbox, "Hi") == 1


async def test_faults_can_be_forgotten(sandbox: ForeignSlack, client: AsyncWebClient) -> None:
    """Faults that did not happen yet can be removed."""
    sandbox.faults.add(Fault(method="*", kind="server_error", times=9))
    sandbox.faults.clear()

    assert (await client.auth_test())["ok"] is True


async def test_answers_to_commands_fail_too(sandbox: ForeignSlack, product: Product) -> None:
    """A response_url can be rate-limited like the Web API."""
    sandbox.faults.add(Fault(method="response_url", kind="rate_limited"))
    await sandbox.command("/score", "help", user="U0REP", channel="C0SALES")
    async with aiohttp.ClientSession() as session:
        first = await session.post(product.last.fields["response_url"], json={"text": "Busy"})
        second = await session.post(product.last.fields["response_url"], json={"text": "There"})

    assert (first.status, first.headers["Retry-After"], second.status) == (429, "1", 200)
    assert (count_posts(sandbox, "Busy"), count_posts(sandbox, "There")) == (0, 1)
