"""Be one of several processes that post what is due to Slack, until killed.

python -m tests.faults.poster URL SLACK BEGUN SPEED; its clock runs so many times as fast as others, from then on.
It prints a line when it begins."""

import asyncio
import sys
import time

from slack_sdk.web.async_client import AsyncWebClient

from bot.deliver import Deliverer
from bot.people import People
from bot.worker import Worker
from storage.opening import open_storage
from storage.workspaces import find_workspace
from tests.conftest import KEY

TEAM, TOKEN = "T0DEMO", "xoxb-acme"


async def main(url: str, slack: str, begun: float, speed: int) -> None:
    """Work as `serve` does, without its doors."""
    opened = await open_storage(url, secret_keys=[KEY])
    try:
        client = AsyncWebClient(token=TOKEN, base_url=f"{slack}/api/", timeout=2, retry_handlers=[])
        people = People(client, team=TEAM, enterprise=None)
        deliverer = Deliverer(
            workspace=await find_workspace(TEAM),
            people=people,
            posting=client,
            clock=lambda: int((begun + (time.time() - begun) * speed) * 1_000_000),
        )
        Worker(deliverer.work).start()
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
    finally:
        await opened.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
