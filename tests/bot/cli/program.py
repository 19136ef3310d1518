"""Run `contact-score` as its users do: a process with words, an environment, and two streams."""

import asyncio
import atexit
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.conftest import KEY

PROGRAM = Path(sys.executable).with_name("contact-score")
FORKER = Path(__file__).with_name("forker.py")
ADDRESS = re.compile(r"(?:Listening on|Contact Score is running:) (http://\S+)")
LONGEST = 60  # seconds that no command takes, however busy the machine is


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def __repr__(self) -> str:
        """Show the end of what was said: a traceback tells there what it is about."""
        return f"ended with {self.code}: {self.out[-500:]!r} {self.err[-500:]!r}"

    @property
    def document(self) -> Any:
        """Read what a command that went well printed as one JSON document, with nothing beside it."""
        assert (self.code, self.err) == (0, ""), self
        return json.loads(self.out)

    def check_refused(self, *lines: str) -> None:
        """Fail unless the command ended with 1, said just these lines on standard error, and nothing else."""
        error_lines = self.err.splitlines() if len(self.err) < 2000 else self.err[-500:]

        assert (self.code, self.out, error_lines) == (1, "", list(lines)), (self.code, self.out, error_lines)


def environment(database_url: str | None, **more: str) -> dict[str, str]:
    """Give our own environment without what would configure the program, and with what shall."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CONTACT_SCORE_", "SLACK_"))}
    settings = {"CONTACT_SCORE_DATABASE_URL": database_url, "CONTACT_SCORE_SECRET_KEYS": KEY} if database_url else {}
    return {**inherited, **{name: value for name, value in settings.items() if value is not None}, **more}


@contextmanager
def busy(port: int) -> Iterator[None]:
    """Make sure that somebody listens on a port of this machine: whoever does already, and we as soon as they go."""
    looked, over = Event(), Event()

    def hold() -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # another test may hold it like this
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
    """Listen on a port, if nobody else does."""
    try:
        probe.bind(("127.0.0.1", port))
        probe.listen()
    except OSError:
        return False
    return True


async def run(*words: str, env: Mapping[str, str], cwd: Path | None = None) -> Ended:
    """Run one command to its end, in a process that has loaded the program already: loading takes most of its time."""
    return await asyncio.to_thread(_forked, words, env, cwd or Path.cwd())


def _forked(words: tuple[str, ...], env: Mapping[str, str], folder: Path) -> Ended:
    line = json.dumps({"words": words, "env": dict(env), "folder": str(folder)}).encode() + b"\n"
    own_end, child_end = socket.socketpair()
    with own_end, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with child_end:
            socket.send_fds(_forker(), [b"!"], [child_end.fileno()])
        own_end.settimeout(LONGEST)
        sent = socket.send_fds(own_end, [line], [out.fileno(), err.fileno()])
        own_end.sendall(line[sent:])
        code = int(own_end.recv(16))
        out.seek(0)
        err.seek(0)
        return Ended(code=code, out=out.read().decode(), err=err.read().decode())


@cache
def _forker() -> socket.socket:
    """Start what forks the commands; it ends when nobody can ask it any more."""
    own_end, child_end = socket.socketpair()
    with child_end:
        process = subprocess.Popen([sys.executable, FORKER, str(child_end.fileno())], pass_fds=[child_end.fileno()])

    def end() -> None:
        own_end.close()
        process.wait()

    atexit.register(end)
    return own_end


async def run_anew(*words: str, env: Mapping[str, str]) -> Ended:
    """Start the program itself, and run one command to its end."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, env=dict(env), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(LONGEST):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(code=process.returncode, out=out.decode(), err=err.decode())


@dataclass(slots=True, kw_only=True)
class Serving:
    """A `contact-score serve`, or `demo`, that listens."""

    process: asyncio.subprocess.Process
    url: str
    startup_lines: list[str]  # the lines before the one that tells the address

    async def stop(self) -> Ended:
        """Tell it to stop, wait for its end, and give all that it said from there on."""
        self.process.terminate()
        return await self.ended()

    async def ended(self) -> Ended:
        """Wait for its end, and give all that it said since it listens."""
        async with asyncio.timeout(LONGEST):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Ended(code=self.process.returncode, out=out.decode(), err=err.decode())


@asynccontextmanager
async def serving(*words: str, env: Mapping[str, str]) -> AsyncIterator[Serving]:
    """Run `contact-score serve --no-slack`, or other words, and give it once it listens; it does not outlive this."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *(words or ("serve", "--no-slack")),
        env={"CONTACT_SCORE_PORT": "0", **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield await _listening(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _listening(process: asyncio.subprocess.Process) -> Serving:
    """Wait for the line that tells the address: on standard error from serve, on standard output from demo."""
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
