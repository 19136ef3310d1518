"""A proxy between the service and its PostgreSQL that can be cut or silenced as a network can."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

SOCKET = ".s.PGSQL.5432"


class Between:
    """A Unix socket that forwards connections to the database until it is cut."""

    def __init__(self, target: Path, folder: Path) -> None:
        self._target = target
        self._own = folder / SOCKET
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._keeps_quiet = False  # drop the answers after the next COMMIT of a marked transaction
        self._marker = b""  # text in a statement of the marked transaction
        self.connections = 0  #: number of accepted connections
        self.held = asyncio.Event()  #: set once data is held back, because *flows* is cleared
        self.committed = asyncio.Event()  # set once the answer to the COMMIT was dropped
        self.flows = asyncio.Event()  # when cleared, connections stay open but no data passes
        self.flows.set()

    async def join(self) -> None:
        """Start to accept connections, also after a cut."""
        self._server = await asyncio.start_unix_server(self._connect, self._own)

    def lose_the_next_commit(self, marker: str = "") -> None:
        """Forward the next COMMIT of a transaction with *marker* in a statement, and drop all answers from then on."""
        self._keeps_quiet, self._marker = True, marker.encode()
        self.committed.clear()

    async def cut(self) -> None:
        """Close every connection, and accept no new one."""
        assert self._server is not None
        self.flows.set()
        self._server.close()
        self._own.unlink(missing_ok=True)
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        if self._pumps:
            await asyncio.wait(self._pumps)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there_reader, there_writer = await asyncio.open_unix_connection(self._target)
        quiet = asyncio.Event()
        self._writers |= {writer, there_writer}
        for pump in (self._ask(reader, there_writer, quiet), self._answer(there_reader, writer, quiet)):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _ask(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, quiet: asyncio.Event) -> None:
        is_marked = False
        with suppress(OSError):
            while part := await source.read(65_536):
                if not self.flows.is_set():
                    self.held.set()
                await self.flows.wait()
                is_marked = is_marked or (self._keeps_quiet and self._marker in part)
                if self._keeps_quiet and is_marked and b"COMMIT" in part:
                    self._keeps_quiet = False
                    quiet.set()
                target.write(part)
                await target.drain()
        await self._end(target)

    async def _answer(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, quiet: asyncio.Event) -> None:
        with suppress(OSError):
            while part := await source.read(65_536):
                if quiet.is_set():
                    self.committed.set()
                    continue
                target.write(part)
                await target.drain()
        await self._end(target)

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def between(database_url: str) -> AsyncIterator[tuple[Between, str]]:
    """Yield a started proxy and the database URL that leads through it."""
    (folder,) = parse_qs(urlsplit(database_url).query)["host"]
    # A short directory, because the path of a Unix socket is limited to about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="between-") as own:
        standing = Between(Path(folder) / SOCKET, Path(own))
        await standing.join()
        try:
            yield standing, f"{database_url.partition('?')[0]}?host={quote(own, safe='')}"
        finally:
            await standing.cut()
