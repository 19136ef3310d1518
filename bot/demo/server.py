"""Run the sandbox on a loopback address."""

import ipaddress
import socket

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.demo import sample
from bot.demo.acts import Acts
from bot.demo.clock import Clock
from bot.demo.page_face import PageFace
from bot.demo.web_api import WebApi
from bot.demo.world import World

BODY_BYTES = 16 * 1024 * 1024
SHUTDOWN_SECONDS = 0.5


class Sandbox(Acts):
    """A small Slack: its Web API, its users and its page, all on one port.

    The server listens after `start`. *app_url* is the product's URL; it must be set before the first act.
    """

    def __init__(
        self,
        *,
        app_url: str,
        signing_secret: str,
        crm_url: str = "",
        crm_secret: str = "",
        team_id: str = "T0DEMO",
        team_name: str = "Acme",
        world: World | None = None,
    ) -> None:
        super().__init__(
            world=world or World(team_id=team_id, team_name=team_name, clock=Clock()),
            app_url=app_url,
            signing_secret=signing_secret,
            crm_url=crm_url,
            crm_secret=crm_secret,
        )
        sample.fill(self.world)
        self.stopping = False
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Return the URL of the page; the Web API is at "/api/" below it."""
        return self.world.url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Start to listen and return the URL; *port* 0 is any free port. Raises ValueError if *host* is not local."""
        address = _check_loopback(host)
        self.stopping = False
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        application = web.Application(middlewares=self.middlewares(), client_max_size=BODY_BYTES)
        application.add_routes(self.routes())
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        listener = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        await web.SockSite(self._runner, listener).start()
        name = f"[{address}]" if ":" in address else address
        self.world.url = f"http://{name}:{listener.getsockname()[1]}"
        return self.world.url

    async def stop(self) -> None:
        """Close connections and stop to listen."""
        self.stopping = True
        await self.changes.happened()
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()
        self._runner = self._session = None

    def middlewares(self) -> list[Middleware]:
        """Return the checks that every request passes."""
        return [own_host_only]

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the Web API and of the page."""
        return [*WebApi(self).routes(), *PageFace(self).routes()]


@web.middleware
async def own_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Reject a request with a foreign host name, as in DNS rebinding: a web page may resolve its own name to here."""
    name = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
    if (name or request.host) not in ("127.0.0.1", "localhost", "[::1]"):
        raise web.HTTPForbidden(text="This server answers on this machine only.")
    return await handler(request)


def _check_loopback(host: str) -> str:
    name = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not ipaddress.ip_address(name).is_loopback:
        raise ValueError(f"The sandbox listens on loopback addresses only, not on {host}.")
    return name
