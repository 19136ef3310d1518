"""Answer the health checks: whether the process is alive, and whether it can do its work."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from storage.bootstrap import Readiness
from webhooks.problems import problem


async def healthz(_: web.Request) -> web.Response:
    """Answer that the process is alive."""
    return web.json_response({"status": "ok"})


def readyz(readiness: Callable[[], Awaitable[Readiness]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler that answers whether the process is ready, as *readiness* finds out from the database."""

    async def answer(_: web.Request) -> web.Response:
        state = await readiness()
        if not state.is_ready:
            return problem(503, state.detail, headers={"Retry-After": "5"})
        return web.json_response({"status": "ready"} | ({"detail": state.detail} if state.detail else {}))

    return answer
