"""Notify waiting tasks of changes."""

import asyncio


class Changes:
    """A counter of all changes and a condition to wait on, so that no task polls."""

    def __init__(self) -> None:
        self.count = 0
        self._condition = asyncio.Condition()

    async def happened(self) -> None:
        async with self._condition:
            self.count += 1
            self._condition.notify_all()

    async def after(self, count: int) -> int:
        """Wait until the counter exceeds *count* and return it."""
        async with self._condition:
            await self._condition.wait_for(lambda: self.count > count)
            return self.count
