"""The sandbox's clock, which can be moved forward."""

import time
from datetime import UTC, datetime


class Clock:
    """The system clock plus an offset."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._last_stamp = 0

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return time.time() + self._ahead  # noqa: TID251 - a separate system has its own clock

    def advance(self, seconds: float) -> None:
        """Move the clock forward; raises ValueError for a negative offset, because message timestamps must increase."""
        if seconds < 0:
            raise ValueError("The sandbox's clock only goes forward.")
        self._ahead += seconds

    def stamp(self) -> str:
        """Return a unique message timestamp, later than all before."""
        self._last_stamp = max(int(self.now() * 1_000_000), self._last_stamp + 1)
        return f"{self._last_stamp // 1_000_000}.{self._last_stamp % 1_000_000:06d}"

    def iso(self) -> str:
        """Return the time in ISO 8601 format, with Z for UTC."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat().replace("+00:00", "Z")
