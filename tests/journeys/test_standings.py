"""An admin is notified once that a source stopped working, and once that it works again."""

import json
import re
from typing import Any

from bot.demo.world import Message
from tests.conftest import on_both
from tests.journeys.acme import CRM_SECRET, TEAM, Acme
from tests.journeys.admin import ask

HOUR = 3600
ITEM = {"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "score", "value": 60}


async def push(acme: Acme, *, secret: str = CRM_SECRET, **more: Any) -> int:
    """Push an item as the CRM, and return the status."""
    acme.sandbox.crm_secret = secret
    response = await acme.sandbox.push(json.dumps(ITEM | more))
    return int(response["answer"]["status"])


def list_standing_texts(acme: Acme) -> list[str]:
    """Return the notices about sources to admins, as people see them."""
    world = acme.sandbox.world
    posts = [post for post in world.posts if post.metadata and post.metadata.get("event_type") == "source_standing"]
    return [acme.seen(post) for post in posts]


async def until_told(acme: Acme, count: int, *, after: int = 310) -> list[str]:
    """Advance the clock, and wait for a number of notices about sources."""
    acme.sandbox.clock.advance(after)

    def enough() -> list[Message] | list[str]:
        return list_standing_texts(acme) if len(list_standing_texts(acme)) >= count else []

    return list(map(str, await acme.until(enough)))


@on_both
async def test_an_admin_hears_of_refusals_of_silence_and_of_the_end_of_both(acme: Acme) -> None:
    """Refusals, silence and recovery are each notified once by direct message, with the cause and a button."""
    for number in range(3):
        assert await push(acme, secret="whsec_b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI=", id=f"x{number}") == 401
    (first,) = await until_told(acme, 1)
    assert re.sub(r"‹.+?›", "‹then›", first) == (
        "*crm* has stopped working: its last 3 requests were refused. Because: wrong signature."
        " the signature matches none of this source's secrets (1): another secret, or a changed body?\n"
        "Its last delivery came ‹then›.\n[Show]"
    )
    listed = await ask(acme, "sources")
    assert "*crm* `generic` · *refused: its requests cannot be verified*\n" in acme.seen(listed)
    assert await push(acme, id="again") == 200
    (again,) = (await until_told(acme, 2))[1:]
    assert re.sub(r"‹.+?›", "‹then›", again) == "*crm* works again. Its last delivery came ‹then›.\n[Show]"

    for number in range(4):
        acme.sandbox.clock.advance(HOUR)
        assert await push(acme, id=f"h{number}") == 200
    (silent,) = (await until_told(acme, 3, after=73 * HOUR))[2:]
    assert silent == (
        "*crm* has gone silent: nothing has arrived for three days. Its last delivery came ‹3 d ago›.\n"
        "Check at the sender that its webhook is still on.\n[Show]"
    )
    assert await push(acme, id="back") == 200
    assert len(await until_told(acme, 4)) == 4

    await acme.restart()
    acme.sandbox.crm_url = f"{acme.sandbox.app_url}/webhooks/{TEAM}/crm"
    for number in range(3):
        assert await push(acme, id=f"bad{number}", value=900) == 200
    (unusable,) = (await until_told(acme, 5))[4:]  # the fifth: the other replica repeated nothing
    assert unusable.startswith("*crm* has stopped working: no item of its last deliveries could be used. Because: Sc")
