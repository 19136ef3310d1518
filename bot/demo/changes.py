"""Notify waiting tasks of changes."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """A counter of all changes and a condition to wait on, so that no task polls."""

    def __init__(self) -> None:
        self.count = 0
        self._condition = asyncio.Condition()

    async def happened(self) -> None:
        async with self._condition:
            self.count += 1
            self._condition.notify_all()

    async def wait_for(self, predicate: Callable[[], T], seconds: float) -> T:
        """Return the first truthy result of *predicate*, called now and after each change; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._condition:
            while not (answer := predicate()):
                await self._condition.wait()
            return answer

    async def after(self, count: int) -> int:
        """Wait until the counter exceeds *count* and return it."""
        async with self._condition:
            await self._condition.wait_for(lambda: self.count > count)
            return self.count
