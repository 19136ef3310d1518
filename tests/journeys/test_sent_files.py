"""An admin sends a CSV file to the app as a direct message, sees its columns, imports it and takes it back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.conftest import on_both
from tests.journeys.acme import BOT_TOKEN, Acme

ADMIN, REP = "U0ADMIN", "U0REP"
FILE = "Email,Name,Score,Phone\nada@example.com,Ada,70,1\nnew@example.com,New,20,2\nbad@example.com,Bad,900,3\n"


@asynccontextmanager
async def served(text: str) -> AsyncIterator[tuple[str, list[str | None]]]:
    """Serve a file as Slack does, and yield its address and the Authorization headers of the requests."""
    headers: list[str | None] = []

    async def send(request: web.Request) -> web.Response:
        headers.append(request.headers.get("Authorization"))
        return web.Response(text=text, content_type="text/csv")

    application = web.Application()
    application.router.add_get("/file.csv", send)
    async with TestServer(application) as server:
        yield str(server.make_url("/file.csv")), headers


async def send_file(acme: Acme, url: str, *, user: str, expects: str) -> Any:
    """Send a file to the app, and return the first message of the app that contains a text."""
    channel = acme.sandbox.world.im(user).id
    event = {
        "type": "message", "subtype": "file_share", "channel_type": "im", "channel": channel, "user": user,
        "ts": "1796068509.000100", "files": [{"id": "F1", "name": "leads.csv", "url_private_download": url}],
    }  # fmt: skip  # who, where and what
    await acme.sandbox.event(event)
    return await wait_for(acme, user, expects)


async def wait_for(acme: Acme, user: str, text: str) -> Any:
    """Return the newest message of the app in a person's direct messages that contains a text."""
    channel = acme.sandbox.world.im(user).id
    found = await acme.until(
        lambda: [message for message in acme.sandbox.messages(channel, user) if text in acme.seen(message)]
    )
    return found[-1]


async def test_a_file_is_shown_imported_and_undone(acme: Acme) -> None:
    """Nothing changes before the click; the result says what was left out; Undo takes it back."""
    async with served(FILE) as (url, headers):
        shown = await send_file(acme, url, user=ADMIN, expects="Import *leads.csv*?")
    assert headers == [f"Bearer {BOT_TOKEN}"]
    assert acme.seen(shown) == (
        "Import *leads.csv*? Nothing is changed yet.\n`Email` → email\n`Name` → name\n`Score` → score\n"
        "Left out: Phone.\n"
        "(A blank cell changes nothing, an import creates no follow-ups, and one Undo takes it back.)\n"
        "[Import] [Cancel]"
    )
    assert await acme.value("ada@example.com") == 62_000

    begun = await acme.press(shown, "Import", user=ADMIN)
    assert acme.seen(begun) == "Importing *leads.csv*. The result comes here."
    result = await wait_for(acme, ADMIN, "Imported *leads.csv*")
    assert acme.seen(result).startswith(
        "Imported *leads.csv*: 1 new, 1 changed, 0 the same, 1 line not imported.\nLine 4: "
    )
    assert await acme.value("ada@example.com") == 70_000

    await acme.press(result, "Undo", user=ADMIN)
    assert await acme.value("ada@example.com") == 62_000


@on_both
async def test_who_may_not_and_what_cannot_be_imported(acme: Acme) -> None:
    """A member may not import; a file from elsewhere is not read, and the token does not leave for it."""
    async with served("x;y\n1;2\n") as (url, headers):
        assert await send_file(acme, url, user=REP, expects="That is for admins")
        assert headers == []
        assert await send_file(acme, url, user=ADMIN, expects="cannot be imported")
        elsewhere = url.replace("127.0.0.1", "localhost")
        assert await send_file(acme, elsewhere, user=ADMIN, expects="not stored in Slack")
        assert len(headers) == 1
    shown = None
    async with served(FILE) as (url, _):
        shown = await send_file(acme, url, user=ADMIN, expects="Import *leads.csv*?")
    canceled = await acme.press(shown, "Cancel", user=ADMIN)
    assert acme.seen(canceled) == "Canceled: nothing was imported."
