"""Run `contact-score serve` with a faster clock.

Usage: python hurried.py BEGUN SPEED. From the second BEGUN on, the clock runs SPEED times as fast.
"""

import asyncio
import sys
import time

from bot.service import Service
from bot.settings import read_settings_to_serve


def main() -> None:
    """Serve until a signal arrives."""
    begun, speed = float(sys.argv[1]), int(sys.argv[2])

    def clock() -> int:
        return int((begun + (time.time() - begun) * speed) * 1_000_000)

    service = Service(read_settings_to_serve(with_slack=True), with_slack=True, clock=clock)
    asyncio.run(service.run(started=lambda url: print(f"Listening on {url}", file=sys.stderr, flush=True)))


if __name__ == "__main__":
    main()
