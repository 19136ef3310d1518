"""Be `contact-score serve --no-slack` in every way but one: its database has other limits.

python -m tests.faults.limited IDLE; so many seconds may a transaction wait for its next statement."""

import asyncio
import sys

from bot.service import Service
from bot.settings import read_settings_to_serve
from storage.limits import Limits


def main() -> None:
    """Serve until told to stop."""
    limits = Limits(idle=float(sys.argv[1]))
    service = Service(read_settings_to_serve(with_slack=False), with_slack=False, limits=limits)
    asyncio.run(service.run(started=lambda url: print(f"Listening on {url}", file=sys.stderr, flush=True)))


if __name__ == "__main__":
    main()
