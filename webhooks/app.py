"""Define the routes for programs, and answer every error in one format."""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from storage.bootstrap import Storage
from storage.tokens import TokenUses
from webhooks.api import api_routes
from webhooks.api.followups import IsMember
from webhooks.health import healthz, readyz
from webhooks.metrics import Metrics, metrics_handler
from webhooks.problems import problem
from webhooks.receiver import Receiver

log = structlog.get_logger(__name__)


def routes(
    storage: Storage,
    *,
    clock: Callable[[], int],
    metrics: Metrics,
    public_url: str | None = None,
    metrics_token: str | None = None,
    is_member: IsMember,
    uses: TokenUses,
) -> list[web.RouteDef]:
    """Return the routes, which are reachable at *public_url*; the app's runner must be set up with RUNNER_OPTIONS."""
    receiver = Receiver(clock=clock, metrics=metrics, public_url=public_url)
    return [
        web.post("/webhooks/{workspace}/{source}", receiver.receive),
        web.get("/webhooks/{workspace}/{source}", receiver.confirm_url),  # aiohttp also answers HEAD with it
        web.get("/healthz", healthz),
        web.get("/readyz", readyz(storage.readiness)),
        web.get("/metrics", metrics_handler(metrics, clock=clock, operator_token=metrics_token)),
        *api_routes(clock=clock, is_member=is_member, uses=uses),
    ]


@web.middleware
async def handle_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a request that no handler answered: an unknown path, a method that is not allowed, or an exception."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        if exc.status < 400:
            raise
        headers = {
            name: exc.headers[name] for name in ("Allow", "Retry-After", "WWW-Authenticate") if name in exc.headers
        }
        return problem(exc.status, headers=headers)
    except Exception:
        log.exception("request not answered", path=request.path)
        return problem(500, "Contact Score could not do that. The cause is in its log.")
