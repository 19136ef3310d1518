"""Run `contact-score serve` as a process."""

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.bot.cli.program import PROGRAM
from tests.conftest import KEY
from tests.processes import ForkedProgram, start

PATIENCE = 90.0


@dataclass(kw_only=True)
class ServeProcess:
    """The running process, and the lines that it wrote to standard error."""

    process: ForkedProgram
    lines: list[str] = field(default_factory=list)

    async def line(self, is_wanted: Callable[[str], bool]) -> str:
        """Read until a line matches *wanted*, and return it; AssertionError with all lines if the process ends."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stderr.readline()).decode().rstrip("\n"):
                self.lines.append(line)
                if is_wanted(line):
                    return line
        raise AssertionError("\n".join(["the process ended:", *self.lines]))

    async def end(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            self.lines += (await self.process.stderr.read()).decode().splitlines()
            return await self.process.wait()


@asynccontextmanager
async def serving(database_url: str, **environment: str) -> AsyncIterator[ServeProcess]:
    """Start `serve` with *environment*, on a free port; the process is killed at the end if it still runs."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    process = await start(
        PROGRAM,
        "serve",
        env={
            **inherited,
            "CONTACT_SCORE_DATABASE_URL": database_url,
            "CONTACT_SCORE_SECRET_KEYS": KEY,
            "CONTACT_SCORE_PORT": "0",
            **environment,
        },
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield ServeProcess(process=process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
