"""A cache of what Slack says, in which nothing is older than a set time."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MOST = 5_000  #: entries; a full cache is emptied


class TimedCache(Generic[T]):
    """A cache; its entries expire after *lifetime* µs."""

    def __init__(self, *, lifetime: int) -> None:
        self._lifetime = lifetime
        self._entries: dict[str, tuple[int, T]] = {}
        self._invalidations: dict[str, int] = {}

    async def get(self, key: str, load: Callable[[], Awaitable[T | None]], *, now: int) -> T | None:
        """Return the cached value, or else the result of *load*; None is not cached."""
        at, value = self._entries.get(key, (None, None))
        if at is not None and 0 <= now - at < self._lifetime:
            return value
        value = None
        for _ in range(2):  # load again if the key was invalidated while loading
            started = self._invalidations.get(key)
            value = await load()
            if self._invalidations.get(key) == started:
                break
        if value is not None:
            if len(self._entries) >= MOST:
                self._entries.clear()
            self._entries[key] = (now, value)
        return value

    def forget(self, key: str) -> None:
        """Invalidate a key, so that the next `get` loads it again."""
        self._entries.pop(key, None)
        self._invalidations[key] = self._invalidations.get(key, 0) + 1
