"""Answer whether the process is alive, and whether it can do its work."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from storage.bootstrap import Readiness
from webhooks.problems import problem


async def healthz(_: web.Request) -> web.Response:
    """Answer that the process is alive."""
    return web.json_response({"status": "ok"})


def readyz(readiness: Callable[[], Awaitable[Readiness]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make the handler that asks the database, by *readiness*."""

    async def answer(_: web.Request) -> web.Response:
        found = await readiness()
        if not found.is_ready:
            return problem(503, found.detail, headers={"Retry-After": "5"})
        return web.json_response({"status": "ready"} | ({"detail": found.detail} if found.detail else {}))

    return answer
