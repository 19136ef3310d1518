"""Post a test delivery: the request, the response, and unreachable servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from webhooks.test_delivery import post


@asynccontextmanager
async def answering(response: web.Response, requests: list[tuple[str | None, str | None, bytes]]) -> AsyncIterator[str]:
    """Serve one answer on a free port, and record the requests."""

    async def answer(request: web.Request) -> web.Response:
        headers = request.headers
        requests.append((headers.get("Content-Type"), headers.get("webhook-id"), await request.read()))
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (web.Response(text='{"applied":1}'), (200, '{"applied":1}')),
        (web.Response(status=503, text="later"), (503, "later")),
        # redirects are not followed, because the signed body would go to another server
        (web.Response(status=307, headers={"Location": "/elsewhere"}, text="moved"), (307, "moved")),
    ],
    ids=["taken", "refused", "moved"],
)
async def test_what_is_answered_comes_back(response: web.Response, expected: tuple[int, str]) -> None:
    """The bytes are sent unchanged as JSON with the given headers; status and text of the response are returned."""
    requests: list[tuple[str | None, str | None, bytes]] = []
    async with answering(response, requests) as url:
        assert await post(url, body=b"\x00{}", headers={"webhook-id": "d"}) == expected

    assert requests == [("application/json", "d", b"\x00{}")]


@pytest.mark.parametrize("is_there", [True, False], ids=["one who hangs up", "a closed port"])
async def test_nobody_answers(is_there: bool) -> None:
    """A server that hangs up and a closed port both raise OSError."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if not is_there:
        server.close()
    try:
        with pytest.raises(OSError):  # noqa: PT011 (whatever it says)
            await post(url, body=b"", headers={})
    finally:
        server.close()
        await server.wait_closed()
