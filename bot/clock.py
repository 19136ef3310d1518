"""The system clock."""

import time


def system_clock() -> int:
    """Return the current time in µs since the epoch (UTC)."""
    return time.time_ns() // 1000
