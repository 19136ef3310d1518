"""Start the service many times, one run after the other."""

import asyncio
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tests.bot.cli.program import ADDRESS, LONGEST, PROGRAM
from tests.processes import HOUSE, ForkedProgram, start


class Lives:
    """The runs of the service, one after the other. Each is a process of its own that opens the database itself."""

    def __init__(self, command: tuple[object, ...], env: Mapping[str, str]) -> None:
        self._command, self._env = command, env
        self._life: ForkedProgram | None = None

    async def begin(self) -> str:
        """Start a run, and return the URL that it listens at."""
        self._life = await start(*self._command, env=self._env, cwd=HOUSE, stderr=PIPE)
        assert self._life.stderr is not None
        async with asyncio.timeout(LONGEST):
            while line := (await self._life.stderr.readline()).decode().strip():
                if match := ADDRESS.fullmatch(line):
                    return match[1]
        raise AssertionError("it ended before it listened")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the running process."""
        assert self._life is not None
        self._life.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end of the run, and return its exit code: 0, or -9 if it was killed."""
        assert self._life is not None
        async with asyncio.timeout(LONGEST):
            await self._life.communicate()
        code, self._life = self._life.returncode, None
        assert code is not None
        return code

    async def end(self) -> None:
        """Kill the running process, if there is one."""
        if self._life is not None:
            self._life.kill()
            await self._life.communicate()


@asynccontextmanager
async def living(*words: str, env: Mapping[str, str], program: object = PROGRAM) -> AsyncIterator[Lives]:
    """Yield the runs of a service in an environment: a file of Python with these arguments."""
    lives = Lives((program, *words), {"CONTACT_SCORE_PORT": "0", **env})
    try:
        yield lives
    finally:
        await lives.end()
