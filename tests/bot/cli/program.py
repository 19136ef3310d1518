"""Run `contact-score` as a process with arguments, an environment and two streams."""

import asyncio
import json
import os
import re
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.conftest import KEY
from tests.processes import Process, start

PROGRAM = Path(sys.executable).with_name("contact-score")
ADDRESS = re.compile(r"(?:Listening on|Contact Score is running:) (http://\S+)")
LONGEST = 120  # seconds that no command takes, however busy the machine is


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ended:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def __repr__(self) -> str:
        """Show the end of the output, where a traceback has its message."""
        return f"ended with {self.code}: {self.out[-500:]!r} {self.err[-500:]!r}"

    @property
    def document(self) -> Any:
        """Return the JSON document printed by a successful command that printed nothing else."""
        assert (self.code, self.err) == (0, ""), self
        return json.loads(self.out)

    def check_refused(self, *lines: str) -> None:
        """Fail unless the command exited with 1 and printed exactly these lines, all on standard error."""
        error_lines = self.err.splitlines() if len(self.err) < 2000 else self.err[-500:]

        assert (self.code, self.out, error_lines) == (1, "", list(lines)), (self.code, self.out, error_lines)


def environment(database_url: str | None, **more: str) -> dict[str, str]:
    """Return the test's environment without variables that configure the program, and with the given ones."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CONTACT_SCORE_", "SLACK_"))}
    settings = {"CONTACT_SCORE_DATABASE_URL": database_url, "CONTACT_SCORE_SECRET_KEYS": KEY} if database_url else {}
    return {**inherited, **{name: value for name, value in settings.items() if value is not None}, **more}


@contextmanager
def busy(port: int) -> Iterator[None]:
    """Ensure that a port of this machine is in use: keep another process's listener, or listen on the port."""
    looked, over = Event(), Event()

    def hold() -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # another test may hold the port too
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not hold it
            while not _bind(probe, port):
                looked.set()
                if over.wait(0.01):
                    return
            looked.set()
            over.wait()

    holding = Thread(target=hold)
    holding.start()
    looked.wait()
    try:
        yield
    finally:
        over.set()
        holding.join()


def _bind(probe: socket.socket, port: int) -> bool:
    """Listen on a port, unless it is in use."""
    try:
        probe.bind(("127.0.0.1", port))
        probe.listen()
    except OSError:
        return False
    return True


async def run(*words: str, env: Mapping[str, str], cwd: Path | None = None) -> Ended:
    """Run one command to its end."""
    return await _ended(await start(PROGRAM, *words, env=env, cwd=cwd, stdin=DEVNULL, stdout=PIPE, stderr=PIPE))


async def run_anew(*words: str, env: Mapping[str, str]) -> Ended:
    """Run one command in a new Python process, as people do: it shares no imports with others."""
    process = await asyncio.create_subprocess_exec(PROGRAM, *words, env=dict(env), stdout=PIPE, stderr=PIPE)
    return await _ended(process)


async def _ended(process: Process) -> Ended:
    async with asyncio.timeout(LONGEST):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(code=process.returncode, out=out.decode(), err=err.decode())


@dataclass(slots=True, kw_only=True)
class Serving:
    """A running `contact-score serve` or `demo` that listens."""

    process: Process
    url: str
    startup_lines: list[str]  # the lines before the line with the URL

    async def stop(self) -> Ended:
        """Send SIGTERM, wait for the exit, and return the output since then."""
        self.process.terminate()
        return await self.ended()

    async def ended(self) -> Ended:
        """Wait for the exit, and return the output since the program listened."""
        return await _ended(self.process)


@asynccontextmanager
async def serving(*words: str, env: Mapping[str, str]) -> AsyncIterator[Serving]:
    """Run `contact-score serve --no-slack`, or another command, and yield it once it listens; stop it at the end."""
    words = words or ("serve", "--no-slack")
    process = await start(PROGRAM, *words, env={"CONTACT_SCORE_PORT": "0", **env}, stdout=PIPE, stderr=PIPE)
    async with _stopping(process) as served:
        yield served


@asynccontextmanager
async def running(program: str | Path, *words: str, env: Mapping[str, str]) -> AsyncIterator[Serving]:
    """Run any program that prints its URL as the service does, in a new process; stop it at the end."""
    process = await asyncio.create_subprocess_exec(
        program, *words, env={"CONTACT_SCORE_PORT": "0", **env}, stdout=PIPE, stderr=PIPE
    )
    async with _stopping(process) as served:
        yield served


@asynccontextmanager
async def _stopping(process: Process) -> AsyncIterator[Serving]:
    try:
        yield await _listening(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _listening(process: Process) -> Serving:
    """Wait for the line with the URL: on standard error for serve, on standard output for demo."""
    lines: list[str] = []
    printed: asyncio.Queue[str | None] = asyncio.Queue()

    async def read(stream: asyncio.StreamReader | None) -> None:
        assert stream is not None
        while line := (await stream.readline()).decode():
            printed.put_nowait(line.rstrip("\n"))
            if ADDRESS.fullmatch(line.strip()):
                return
        printed.put_nowait(None)

    readers = [asyncio.create_task(read(stream)) for stream in (process.stdout, process.stderr)]
    try:
        async with asyncio.timeout(LONGEST):
            while line := await printed.get():
                if match := ADDRESS.fullmatch(line):
                    return Serving(process=process, url=match[1], startup_lines=lines)
                lines.append(line)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
    raise AssertionError(f"it ended before it listened: {lines}")
