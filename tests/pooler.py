"""A PostgreSQL connection pooler for tests: it reads each message, and refuses what it does not know.

PgBouncer refuses unknown start-up parameters, or drops them if it is configured to ignore them. Where it shares
connections among clients, a statement that was prepared under a name does not exist for the next client."""

import asyncio
import struct
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

SOCKET = ".s.PGSQL.5432"
PROTOCOL = 196_608  # protocol version 3.0; any other value at the start is a request to cancel or to encrypt
KNOWN = ("user", "database", "application_name", "client_encoding", "options")
PARSE = b"P"  # the message that prepares a statement


@dataclass(kw_only=True)
class Pooler:
    """The pooler's settings: which parameters it accepts, and how it refuses the others."""

    known: Collection[str] | None = KNOWN  #: None: every parameter except those in *unknown*
    unknown: Collection[str] = ()
    ignores: bool = False  #: drop an unknown start-up parameter instead of refusing it
    refusal: tuple[str, str] = ("08P01", "unsupported startup parameter: {}")
    shares: bool = True  #: refuse statements that are prepared under a name
    refused: list[str] = field(default_factory=list)  #: the first refused parameter of each connection

    def _is_known(self, name: str) -> bool:
        return name not in self.unknown and (self.known is None or name in self.known)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, server: Path) -> None:
        """Serve one connection."""
        (size,) = struct.unpack("!i", await reader.readexactly(4))
        body = await reader.readexactly(size - 4)
        if struct.unpack("!i", body[:4]) == (PROTOCOL,):
            parameters = _read_parameters(body[4:])
            unknown = [name for name in parameters if not self._is_known(name)]
            if unknown and not self.ignores:
                self.refused.append(unknown[0])
                await _end(writer, _write_error(self.refusal[0], self.refusal[1].format(unknown[0])))
                return
            pairs = [f"{name}\0{value}\0" for name, value in parameters.items() if name not in unknown]
            body = body[:4] + "".join(pairs).encode() + b"\0"
        server_reader, server_writer = await asyncio.open_unix_connection(server)
        server_writer.write(struct.pack("!i", len(body) + 4) + body)
        await asyncio.gather(self._ask(reader, server_writer, writer), _answer(server_reader, writer))

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(5)
                rest = await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
                if self.shares and head[:1] == PARSE and not rest.startswith(b"\0"):
                    await _end(client, _write_error("26000", "there is no such prepared statement"))
                    break
                server.write(head + rest)
                await server.drain()
        await _end(server)


async def _answer(reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while (part := await reader.read(65_536)) and not client.is_closing():
            client.write(part)
            await client.drain()
    await _end(client)


async def _end(writer: asyncio.StreamWriter, message: bytes = b"") -> None:
    with suppress(OSError):
        if not writer.is_closing():  # libuv's event loop raises RuntimeError for a write to a closed connection
            writer.write(message)
        writer.close()
        await writer.wait_closed()


def _read_parameters(text: bytes) -> Mapping[str, str]:
    words = text.decode().split("\0")
    return {name: value for name, value in zip(words[::2], words[1::2], strict=False) if name}


def _write_error(code: str, message: str) -> bytes:
    texts = ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", message))
    fields = b"".join(kind + text.encode() + b"\0" for kind, text in texts)
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


@asynccontextmanager
async def pooled(database_url: str, pooler: Pooler) -> AsyncIterator[str]:
    """Run a pooler, and yield the URL that leads through it."""
    (folder,) = parse_qs(urlsplit(database_url).query)["host"]
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client disconnected at once
            await pooler.serve(reader, writer, server=Path(folder) / SOCKET)
        await _end(writer)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    # The path of a socket is limited to about a hundred characters, so the socket has a short folder of its own.
    with tempfile.TemporaryDirectory(prefix="pooler-") as own:
        listening = await asyncio.start_unix_server(begin, Path(own) / SOCKET)
        try:
            yield f"{database_url.partition('?')[0]}?host={quote(own, safe='')}"
        finally:
            listening.close()
            await asyncio.gather(*tasks)
