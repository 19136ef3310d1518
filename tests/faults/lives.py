"""Start the service many times quickly: one process imports the program and forks for each run.

Each run is a process of its own that opens the database itself; only the imports are shared.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from tests.bot.cli.program import ADDRESS, LONGEST
from tests.processes import HOUSE

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
    """The runs of the service, one after the other."""

    def __init__(self, mother: Process) -> None:
        self._mother = mother
        self._life: int | None = None

    async def begin(self) -> str:
        """Start a run, and return the URL that it listens at."""
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
        """Send a signal to the running process."""
        assert self._life is not None
        os.kill(self._life, number)

    async def ended(self) -> int:
        """Wait for the end of the run, and return its exit code: 0, or -9 if it was killed."""
        assert self._mother.stdout is not None
        async with asyncio.timeout(LONGEST):
            code = int(await self._mother.stdout.readline())
        self._life = None
        return code

    def end(self) -> None:
        """Kill the running process, if there is one."""
        if self._life is not None:
            with suppress(ProcessLookupError):
                self.kill()


@asynccontextmanager
async def living(*words: str, env: Mapping[str, str], module: str = "bot.__main__") -> AsyncIterator[Lives]:
    """Yield the runs of a service in an environment: `main` of *module* with these arguments."""
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
        await mother.communicate(b"")  # end of input: no more runs
