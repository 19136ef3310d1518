"""Run Python programs in processes of their own, beside the test.

They are forked from a process that has imported what they import; these imports take most of the time of a program.
"""

import asyncio
import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import storage
from bot.cli import COMMANDS

HOUSE = Path(storage.__file__).parents[1]
FORKER = HOUSE / "tests" / "forker.py"
#: what a program of this house imports: the service, the tables and all commands
PRODUCT = ("bot.service", "storage.db.models", *(command.place.partition(":")[0] for command in COMMANDS.values()))
#: what the storage of another house imports
LIBRARIES = ("tortoise.cli", "tortoise.migrations.autodetector", "asyncpg", "aiosqlite", "lark", "cryptography.fernet")


class ForkedProgram:
    """A running program, with what tests use of `asyncio.subprocess.Process`."""

    def __init__(
        self,
        request: socket.socket,
        pid: int,
        stdin: int | None,
        stdout: asyncio.StreamReader | None,
        stderr: asyncio.StreamReader | None,
    ) -> None:
        self.pid = pid
        self.stdout, self.stderr = stdout, stderr
        self._stdin = stdin
        self._ending = asyncio.create_task(self._wait_for_end(request))

    @property
    def returncode(self) -> int | None:
        """The exit code; minus the number of the signal that killed it; None while it runs."""
        return self._ending.result() if self._ending.done() else None

    async def _wait_for_end(self, request: socket.socket) -> int:
        with request:
            return int(await _receive_line(request))

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM, unless the program has ended."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, unless the program has ended."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait for the end, and return the exit code."""
        return await asyncio.shield(self._ending)

    async def communicate(self, written: bytes = b"") -> tuple[bytes, bytes]:
        """Write the input and close it, wait for the end, and return the rest of the output and of the errors."""
        if self._stdin is not None:
            os.write(self._stdin, written)
            os.close(self._stdin)
            self._stdin = None
        out, err = await asyncio.gather(*(_read(stream) for stream in (self.stdout, self.stderr)))
        await self.wait()
        return out, err


Process: TypeAlias = ForkedProgram | asyncio.subprocess.Process


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream else b""


async def _receive_line(request: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = await asyncio.get_running_loop().sock_recv(request, 1)
        assert byte, "the forking process ended"
        line += byte
    return line


async def start(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    modules: Sequence[str] = PRODUCT,
) -> ForkedProgram:
    """Start a program: a file with its arguments, or `-c` and its text, as for `python`.

    Each of its streams is PIPE, DEVNULL, a file or, by default, that of the test. *modules* are imported before."""
    words, folder = [str(argument) for argument in arguments], str(cwd or Path.cwd())
    line = json.dumps({"words": words, "env": dict(os.environ if env is None else env), "folder": folder})
    ends = [_open_stream(number, stream) for number, stream in enumerate((stdin, stdout, stderr))]
    request, child_request = socket.socketpair()
    with child_request:
        socket.send_fds(_forker(tuple(modules)), [b"!"], [child_request.fileno()])
    content = line.encode() + b"\n"
    sent = socket.send_fds(request, [content], [child_end for _, child_end in ends])
    request.sendall(content[sent:])
    for _, child_end in ends:
        os.close(child_end)
    request.setblocking(False)
    pid = int(await _receive_line(request))
    own_stdin, own_stdout, own_stderr = (own_end for own_end, _ in ends)
    return ForkedProgram(request, pid, own_stdin, await _reader(own_stdout), await _reader(own_stderr))


def _open_stream(number: int, stream: int | None) -> tuple[int | None, int]:
    """Open one of the three streams of a program. Return the test's end of a pipe, or None, and the program's end."""
    if stream == PIPE:
        reading, writing = os.pipe()
        return (writing, reading) if number == 0 else (reading, writing)
    if stream == DEVNULL:
        return None, os.open(os.devnull, os.O_RDWR)
    return None, os.dup(number if stream is None else stream)


async def _reader(pipe: int | None) -> asyncio.StreamReader | None:
    """Return a reader of a pipe. Its transport closes the pipe when everything was read."""
    if pipe is None:
        return None
    reader = asyncio.StreamReader()
    file = os.fdopen(pipe, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


@cache
def _forker(modules: Sequence[str]) -> socket.socket:
    """Start a forking process that has imported these modules; it ends when its socket is closed."""
    own_end, child_end = socket.socketpair()
    with child_end:
        command = [sys.executable, "-P", str(FORKER), str(child_end.fileno()), *modules]
        process = subprocess.Popen(command, pass_fds=[child_end.fileno()])

    def end() -> None:
        own_end.close()
        process.wait()

    atexit.register(end)
    return own_end


async def run(*arguments: str, house: Path = HOUSE) -> str:
    """Run a program with the packages in *house*, and return its output. Fail with its errors if it fails."""
    return await _end(await _start(*arguments, house=house))


async def at_once(commands: Sequence[Sequence[str]], *, house: Path = HOUSE) -> list[str]:
    """Run several programs that print a line when ready; all of them continue once every one is ready."""
    programs = [await _start(*command, house=house) for command in commands]
    for program in programs:
        assert program.stdout is not None
        await program.stdout.readline()
    return await asyncio.gather(*(_end(program) for program in programs))


async def _start(*arguments: str, house: Path) -> ForkedProgram:
    env, modules = {**os.environ, "PYTHONPATH": str(house)}, PRODUCT if house == HOUSE else LIBRARIES
    return await start(*arguments, env=env, cwd=house, stdin=PIPE, stdout=PIPE, stderr=PIPE, modules=modules)


async def _end(program: ForkedProgram) -> str:
    output, complained = await program.communicate(b"go\n")
    assert program.returncode == 0, complained.decode()
    return output.decode()
