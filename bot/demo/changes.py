"""Wake whoever waits for something to happen."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """One counter of everything that happened, and a condition to wait on: nobody polls."""

    def __init__(self) -> None:
        self.count = 0
        self._condition = asyncio.Condition()

    async def happened(self) -> None:
        async with self._condition:
            self.count += 1
            self._condition.notify_all()

    async def wait_for(self, predicate: Callable[[], T], seconds: float) -> T:
        """The first truthy answer of *predicate*, asked now and after every change; TimeoutError when none comes."""
        async with asyncio.timeout(seconds), self._condition:
            while not (answer := predicate()):
                await self._condition.wait()
            return answer

    async def after(self, count: int) -> int:
        """The counter, once it is past *count*."""
        async with self._condition:
            await self._condition.wait_for(lambda: self.count > count)
            return self.count
