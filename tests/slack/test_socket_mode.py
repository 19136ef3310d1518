"""Use Socket Mode with Slack's own client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from tests.slack.foreign import ForeignSlack
from tests.slack.product import Product

Listener = Callable[[AsyncBaseSocketModeClient, SocketModeRequest], Awaitable[None]]


def acknowledging(requests: list[SocketModeRequest], payload: dict[str, Any] | None = None) -> Listener:
    async def listen(client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        requests.append(request)
        await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id, payload=payload))

    return listen


@pytest.fixture
async def socket(sandbox: ForeignSlack, client: AsyncWebClient) -> AsyncIterator[SocketModeClient]:
    socket = SocketModeClient(app_token="xapp-app", web_client=client, auto_reconnect_enabled=False)
    await socket.connect()  # type: ignore[no-untyped-call]  # the SDK leaves these two without types
    await sandbox.wait_for(lambda: sandbox.sockets.connected)
    yield socket
    await socket.close()  # type: ignore[no-untyped-call]
    tasks = [socket.message_processor, socket.current_session_monitor, socket.message_receiver]
    await asyncio.gather(*filter(None, tasks), return_exceptions=True)


async def test_a_command_goes_over_the_socket(
    sandbox: ForeignSlack, product: Product, socket: SocketModeClient
) -> None:
    """While a socket is connected nothing is sent over HTTP, and the acknowledgement's payload is the answer."""
    requests: list[SocketModeRequest] = []
    socket.socket_mode_request_listeners.append(acknowledging(requests, {"text": "Over the wire"}))
    response = await sandbox.command("/score", "help", user="U0REP", channel="C0SALES")

    assert (response.status, product.received) == (200, [])
    assert [(request.type, request.payload["text"], request.accepts_response_payload) for request in requests] == [
        ("slash_commands", "help", True)
    ]
    assert response.json() == {"text": "Over the wire"}


async def test_events_and_repeats(sandbox: ForeignSlack, socket: SocketModeClient) -> None:
    """The payload of an event's acknowledgement is ignored; a retry says that it is one."""
    requests: list[SocketModeRequest] = []
    socket.socket_mode_request_listeners.append(acknowledging(requests))
    await sandbox.event({"type": "app_home_opened"})
    await sandbox.again(retry=1, reason="timeout")

    assert [(request.type, request.retry_attempt, request.retry_reason) for request in requests] == [
        ("events_api", None, None),
        ("events_api", 1, "timeout"),
    ]
    assert requests[0].accepts_response_payload is False


async def test_no_acknowledgement(sandbox: ForeignSlack, socket: SocketModeClient) -> None:
    """An envelope without an acknowledgement times out like a request."""
    sandbox.patience = 0.05
    response = await sandbox.command("/score", user="U0REP", channel="C0SALES")

    assert (response.status, response.note) == (0, "/score failed with the error operation_timeout")


async def test_without_a_connection_http_is_used(
    sandbox: ForeignSlack, product: Product, socket: SocketModeClient
) -> None:
    """After the socket is dropped, requests are sent over HTTP."""
    await sandbox.sockets.drop()
    await sandbox.wait_for(lambda: not sandbox.sockets.connected)
    await sandbox.command("/score", user="U0REP", channel="C0SALES")

    assert [received.fields["command"] for received in product.received] == ["/score"]


async def test_a_refreshed_connection(sandbox: ForeignSlack, socket: SocketModeClient) -> None:
    """When asked to reconnect, Slack's client requests a new URL and connects there."""
    await sandbox.sockets.disconnect()
    await sandbox.wait_for(lambda: sandbox.sockets.greeted == 2)
    requests: list[SocketModeRequest] = []
    socket.socket_mode_request_listeners.append(acknowledging(requests))
    await sandbox.event({"type": "app_home_opened"})

    assert len(requests) == 1


async def test_the_url_is_good_once(sandbox: ForeignSlack, client: AsyncWebClient, socket: SocketModeClient) -> None:
    """A ticket works once, an unknown ticket never, and the bot token gets no ticket."""
    async with socket.aiohttp_client_session.get(f"{sandbox.url}/socket/guessed") as answer:
        assert answer.status == 404

    with pytest.raises(SlackApiError, match="not_allowed_token_type"):
        await client.apps_connections_open(app_token="xoxb-bot")


async def test_nonsense_on_the_socket_is_ignored(sandbox: ForeignSlack, socket: SocketModeClient) -> None:
    """Messages that are not JSON, or acknowledge nothing, are ignored."""
    requests: list[SocketModeRequest] = []
    socket.socket_mode_request_listeners.append(acknowledging(requests))
    await socket.send_message("not JSON")
    await socket.send_message('{"envelope_id":"nobody asked"}')
    response = await sandbox.event({"type": "app_home_opened"})

    assert (response.status, len(requests)) == (200, 1)
