"""Answer whether the process is alive, and whether it can do its work."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from webhooks.problems import problem


async def healthz(_: web.Request) -> web.Response:
    """Answer that the process is alive."""
    return web.json_response({"status": "ok"})


def readyz(is_ready: Callable[[], Awaitable[bool]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make the handler that asks the database, by *is_ready*."""

    async def answer(_: web.Request) -> web.Response:
        if await is_ready():
            return web.json_response({"status": "ready"})
        return problem(
            503, "The database does not answer, or its tables are not current.", headers={"Retry-After": "5"}
        )

    return answer
