"""Accept connections, and limit what clients hold open: connections, unfinished headers and unfinished bodies."""

import asyncio
import errno
import ipaddress
import logging
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError

from webhooks.limits import MAX_BODY, MAX_UPLOAD, UPLOADS, TooLarge, UnfinishedBodies
from webhooks.problems import problem

log = structlog.get_logger(__name__)

HEAD_SECONDS = 15.0  #: from the start of a connection to the end of its first request's headers
IDLE_SECONDS = 75.0  #: between two requests of a connection; common proxies keep their connections for 60
BODY_SECONDS = 30.0  #: from the end of the headers to the end of the body
SPARE_DESCRIPTORS = 100  #: reserved for the database, files, and outgoing connections
#: size in bytes of the read buffer of this process, and of the socket's receive buffer, which the system doubles
BUFFER = 16 * 1024
QUEUE = 128  #: connections that the system holds until they are accepted
UPLOAD_SECONDS = 300.0  # for a file that is imported: 25 MiB at 90 kB/s
QUIET_SECONDS = 60.0  #: between two log lines about missing descriptors
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

#: Settings of the application's runner. Signatures cover the bytes as sent, so bodies are not decompressed.
RUNNER_OPTIONS: Mapping[str, Any] = {
    "auto_decompress": False,
    "access_log": None,
    "lingering_time": 1.0,
    "keepalive_timeout": IDLE_SECONDS,
    "read_bufsize": BUFFER,
}


class _NoMalformedRequests(logging.Filter):
    """Drop the traceback that aiohttp logs for each request that is not HTTP, because any stranger can send one."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


HTTP_LOG = logging.getLogger("aiohttp.server")
HTTP_LOG.addFilter(_NoMalformedRequests())


class BodyTooSlow(TimeoutError):
    """The body did not arrive in time. aiohttp closes the connection after a TimeoutError, without a traceback."""


class Connections:
    """
    The connections of one service.

    *guard* is the middleware that limits bodies. *Site* calls *open* for the protocol of each new connection.
    With *most* connections open, a new connection closes the oldest connection without a running request.
    """

    def __init__(
        self,
        *,
        most: int | None = None,
        head_seconds: float = HEAD_SECONDS,
        body_seconds: float = BODY_SECONDS,
        bodies: UnfinishedBodies | None = None,
    ) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = most or max(SPARE_DESCRIPTORS, limit - SPARE_DESCRIPTORS)
        self._head_seconds = head_seconds
        self._body_seconds = body_seconds
        self._bodies = bodies or UnfinishedBodies()
        self._heads: dict[object, asyncio.TimerHandle] = {}  # protocols without a request so far
        self._busy: set[object] = set()  # protocols with a running request
        self._reported_at = float("-inf")

    def open(self, server: web.Server) -> asyncio.BaseProtocol:
        """Return the protocol for a connection that was just accepted."""
        if len(server.connections) >= self._most:
            opened = [protocol for protocol in server.connections if protocol.transport is not None]
            oldest = next((protocol for protocol in opened if protocol not in self._busy), None)
            if oldest is not None:
                oldest.force_close()
            elif len(opened) >= self._most:
                return _Refused()
        protocol = server()
        loop = asyncio.get_running_loop()
        self._heads[protocol] = loop.call_later(self._head_seconds, self._close_silent, protocol)
        return protocol

    def report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an unhandled error of the event loop. Missing descriptors are logged at most once a minute."""
        exception = context.get("exception")
        if isinstance(exception, ValueError) and "_start_serving" in context.get("message", ""):
            return  # asyncio accepts again a second after descriptors ran out, also if the service has ended meanwhile
        if not isinstance(exception, OSError) or exception.errno not in OUT_OF_DESCRIPTORS:
            loop.default_exception_handler(context)
        elif loop.time() - self._reported_at >= QUIET_SECONDS:
            self._reported_at = loop.time()
            log.error("cannot accept connections", because=exception.strerror, hint="raise the limit: ulimit -n")

    @web.middleware
    async def guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Reject a body that is too long, and abandon a body that arrives too slowly or ends too early."""
        protocol = request.protocol
        if timer := self._heads.pop(protocol, None):
            timer.cancel()
        self._busy.add(protocol)
        try:
            return await self._handle(request, handler)
        finally:
            self._busy.discard(protocol)

    async def _handle(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        is_upload = request.method == "POST" and request.path == UPLOADS
        most = MAX_UPLOAD if is_upload else MAX_BODY
        if (request.content_length or 0) > most:
            return problem(413, str(TooLarge(most)), headers={"Connection": "close"})
        if request.content.is_eof():
            return await handler(request)
        body, is_slow = request.content, False
        seconds = UPLOAD_SECONDS if is_upload else self._body_seconds
        timer = asyncio.get_running_loop().call_later(seconds, _give_up, body)
        # A file that is imported is written to disk as it arrives: it takes no more memory than any other body.
        size = min(MAX_BODY if request.content_length is None else request.content_length, MAX_BODY)
        for oldest in self._bodies.add(body, size=size, address=find_public_address(request.remote)):
            _give_up(oldest)
        body.on_eof(lambda: self._bodies.remove(body))
        try:
            return await handler(request)
        except Exception as exc:
            is_cut = exc is body.exception() or (request.transport is None and not body.is_eof())
            if not is_cut:
                raise
            # The stream keeps the exception, and its frames keep the request, the stream and the bytes read so far.
            exc.__traceback__ = None
            is_slow = isinstance(exc, BodyTooSlow)
        finally:
            timer.cancel()
            self._bodies.remove(body)
        # The answer is lost if the connection is closed.
        if is_slow:
            return problem(408, "The body did not arrive in time.", headers={"Connection": "close"})
        return problem(400, "The body ended too early.", headers={"Connection": "close"})

    def _close_silent(self, protocol: web.RequestHandler) -> None:
        del self._heads[protocol]
        protocol.force_close()


class Site(web.BaseSite):
    """Listen at a host and port, with limited connections."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, *, connections: Connections) -> None:
        super().__init__(runner, backlog=1)
        self._address = host, port
        self._connections = connections

    @property
    def name(self) -> str:
        """The address as a URL."""
        host, port = self._address
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Start to listen; raises OSError."""
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None
        loop.set_exception_handler(self._connections.report)
        host, port = self._address
        # asyncio accepts up to *backlog* connections at once. When descriptors run out, each attempt fails, is logged
        # and schedules the next attempts. The backlog is therefore 1 here, and the system's queue is set below.
        listening = await loop.create_server(lambda: self._connections.open(server), host, port, backlog=1)
        self._server = listening
        for listener in listening.sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            with socket.socket(fileno=os.dup(listener.fileno())) as duplicate:
                duplicate.listen(QUEUE)


class _Refused(asyncio.Protocol):
    """The protocol of a connection that is closed at once, because there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def find_public_address(address: str | None) -> str | None:
    """Return the address if it belongs to one sender; None if it is loopback or private, as a proxy's may be."""
    try:
        return address if address and ipaddress.ip_address(address).is_global else None
    except ValueError:  # a Unix socket, or an address with a zone
        return None


def _give_up(body: StreamReader) -> None:
    body.set_exception(BodyTooSlow())
