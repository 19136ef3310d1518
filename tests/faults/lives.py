"""Start the service many times over, quickly: a process that has read all of the program forks itself for each life.

Each life is a process of its own that opens the database for itself; only reading the program is not done anew."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from tests.bot.cli.program import ADDRESS, LONGEST
from tests.storage.processes import HOUSE

MOTHER = """
import os, sys
from importlib import import_module
import bot.service

main = import_module(sys.argv.pop(1)).main
for line in sys.stdin:
    life = os.fork()
    if not life:
        sys.exit(main())
    print(life, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(life, 0)[1]), flush=True)
"""


class Lives:
    """The lives of the service, one after the other."""

    def __init__(self, mother: Process) -> None:
        self._mother = mother
        self._life: int | None = None

    async def begin(self) -> str:
        """Begin a life, and give the address that it listens at."""
        mother = self._mother
        assert mother.stdin is not None
        assert mother.stdout is not None
        assert mother.stderr is not None
        mother.stdin.write(b"live\n")
        self._life = int(await mother.stdout.readline())
        async with asyncio.timeout(LONGEST):
            while line := (await mother.stderr.readline()).decode().strip():
                if match := ADDRESS.fullmatch(line):
                    return match[1]
        raise AssertionError("it ended before it listened")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the life a signal; the one that kills at once, unless another is said."""
        assert self._life is not None
        os.kill(self._life, number)

    async def ended(self) -> int:
        """Wait for the end of the life, and give how it ended: 0, or -9 where it was killed."""
        assert self._mother.stdout is not None
        async with asyncio.timeout(LONGEST):
            code = int(await self._mother.stdout.readline())
        self._life = None
        return code

    def end(self) -> None:
        """Leave nothing behind."""
        if self._life is not None:
            with suppress(ProcessLookupError):
                self.kill()


@asynccontextmanager
async def living(*words: str, env: Mapping[str, str], module: str = "bot.__main__") -> AsyncIterator[Lives]:
    """Give the lives of a service in an environment: what `main` of a module does with these words."""
    mother = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", MOTHER, module, *words),
        cwd=HOUSE,
        env={"CONTACT_SCORE_PORT": "0", **env},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    lives = Lives(mother)
    try:
        yield lives
    finally:
        lives.end()
        await mother.communicate(b"")  # which tells it that there is no more life to come
