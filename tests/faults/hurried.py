"""Be `contact-score serve` in every way but one: its clock runs faster.

python -m tests.faults.hurried BEGUN SPEED; so many times as fast as others, from that second on."""

import asyncio
import sys
import time

from bot.service import Service
from bot.settings import read_settings_to_serve


def main() -> None:
    """Serve until told to stop."""
    begun, speed = float(sys.argv[1]), int(sys.argv[2])

    def clock() -> int:
        return int((begun + (time.time() - begun) * speed) * 1_000_000)

    service = Service(read_settings_to_serve(with_slack=True), with_slack=True, clock=clock)
    asyncio.run(service.run(started=lambda url: print(f"Listening on {url}", file=sys.stderr, flush=True)))


if __name__ == "__main__":
    main()
