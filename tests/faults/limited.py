"""Run `contact-score serve --no-slack` with other database limits.

Usage: python limited.py IDLE. A transaction may be idle for IDLE seconds.
"""

import asyncio
import sys

from bot.service import Service
from bot.settings import read_settings_to_serve
from storage.limits import Limits


def main() -> None:
    """Serve until a signal arrives."""
    limits = Limits(idle=float(sys.argv[1]))
    service = Service(read_settings_to_serve(with_slack=False), with_slack=False, limits=limits)
    asyncio.run(service.run(started=lambda url: print(f"Listening on {url}", file=sys.stderr, flush=True)))


if __name__ == "__main__":
    main()
