"""Do what is for later: look for jobs, and go on as long as there are any."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)

EVERY = 0.5  # seconds between two looks
AT_ONCE = 4  # jobs, each in another lane


class Worker:
    """Call *work*, which does one job and says whether there was one, until it is stopped."""

    def __init__(self, work: Callable[[], Awaitable[bool]]) -> None:
        self._work = work
        self._woken = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._run_jobs()) for _ in range(AT_ONCE)]

    def wake(self) -> None:
        """Look now: something may be due."""
        self._woken.set()

    async def stop(self, *, patience: float) -> None:
        """Begin nothing else, and finish what is under way, but in no more than *patience* seconds."""
        self._stopping = True
        self._woken.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run_jobs(self) -> None:
        while not self._stopping:
            try:
                busy = await self._work()
            except Exception as exc:  # the database does not answer: what is due stays due
                log.warning("jobs not looked at", because=type(exc).__name__)
                busy = False
            if not busy and not self._stopping:
                await self._wait_for_work()

    async def _wait_for_work(self) -> None:
        self._woken.clear()
        try:
            async with asyncio.timeout(EVERY):
                await self._woken.wait()
        except TimeoutError:
            return
