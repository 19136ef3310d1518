"""Tell the sandbox's own time, which a test can put forward."""

import time
from datetime import UTC, datetime


class Clock:
    """The wall clock plus what it was put forward by."""

    def __init__(self) -> None:
        self._ahead = 0.0
        self._last_stamp = 0

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead  # noqa: TID251 - a foreign system has a clock of its own

    def advance(self, seconds: float) -> None:
        """Put the clock forward. It never goes back: message time stamps are names."""
        if seconds < 0:
            raise ValueError("The sandbox's clock only goes forward.")
        self._ahead += seconds

    def stamp(self) -> str:
        """A message time stamp, never the same twice and always later than the one before."""
        self._last_stamp = max(int(self.now() * 1_000_000), self._last_stamp + 1)
        return f"{self._last_stamp // 1_000_000}.{self._last_stamp % 1_000_000:06d}"

    def iso(self) -> str:
        """Now, as people and JavaScript read it."""
        return datetime.fromtimestamp(self.now(), UTC).isoformat().replace("+00:00", "Z")
