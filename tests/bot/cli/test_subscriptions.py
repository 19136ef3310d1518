"""The command `contact-score subscription`, with a service that sends the events."""

import asyncio
from pathlib import Path

import pytest

from tests.bot.cli.program import Ended, environment, run, serving
from tests.webhooks.event_receiver import EventReceiver, receiving_events


async def until_received(receiver: EventReceiver, count: int) -> None:
    """Wait until a number of events arrived; another process sends them."""
    async with asyncio.timeout(30):
        while len(receiver.received) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_subscription_gets_the_events_of_the_service(database_url: str, tmp_path: Path) -> None:
    """The printed secret verifies the events; they are listed, sent again and ended by commands while it serves."""
    env = environment(database_url, CONTACT_SCORE_ALLOW_NETWORKS="127.0.0.0/8")

    async def ran(line: str) -> Ended:
        return await run(*line.split(), env=env, cwd=tmp_path)

    (tmp_path / "contacts.csv").write_text("email,score\nada@example.com,87\n")
    await ran("workspace add T0123 --name Acme")
    assert (await ran("subscription list")).out.startswith("No subscriptions yet.")
    async with receiving_events() as receiver, serving(env=env):
        added = (await ran(f"subscription add {receiver.url} --event score.changed --imports --json")).document
        secret = added.pop("secret")
        assert (added["id"], added["url"], added["events"], added["imports"], added["segments"]) == (
            1, receiver.url, ["score.changed"], True, [],
        )  # fmt: skip  # what was asked for
        await ran("import contacts.csv")
        await until_received(receiver, 1)
        (event,) = receiver.take()
        event.check_signature(secret)
        assert (event.type, event.data["value"], event.data["cause"]) == ("score.changed", 87, "import")

        listed = (await ran("subscription list --json")).document["subscriptions"]
        assert listed == [{**added, "state": "works", "problem": None}]
        assert (await ran("subscription list")).out.splitlines()[1].split()[:4] == [
            "1", receiver.url, "score.changed", "—",
        ]  # fmt: skip  # the row
        (delivery,) = (await ran("subscription deliveries 1 --json")).document["deliveries"]
        assert (delivery["event"], delivery["state"], delivery["attempts"], delivery["status"]) == (
            event.id, "delivered", 1, 200,
        )  # fmt: skip  # the outcome
        again = await ran(f"subscription redeliver 1 {delivery['id']}")
        assert again.out == "1 event will be sent again.\n"
        await until_received(receiver, 1)
        assert [each.id for each in receiver.take()] == [event.id]
        rotated = (await ran("subscription rotate 1 --json")).document
        assert rotated["secret"] != secret
        assert (await ran("subscription remove 1 --json")).document == {"removed": 1}

    unknown = "There is no subscription 1; `contact-score subscription list` lists them"
    for line in ("deliveries 1", "redeliver 1", "rotate 1", "remove 1"):
        (await ran(f"subscription {line}")).check_refused(unknown)
    (await ran("subscription add example.com")).check_refused(
        "Give the address that receives events, like https://example.com/hook"
    )
    outside = await ran("subscription add https://10.0.0.5/ --json")
    assert (outside.code, outside.err) == (
        0,
        "Warning: no event will be sent to this address:"
        " the address is not public, and not in CONTACT_SCORE_ALLOW_NETWORKS\n",
    )
    (await ran("subscription add https://example.com/ --event moon.rise")).check_refused(
        "There is no event `moon.rise`; existing: " + ", ".join(ALL)
    )


ALL = (
    *("score.changed", "score.band_entered", "score.band_left", "segment.entered", "segment.left"),
    *("followup.opened", "followup.claimed", "followup.snoozed", "followup.done", "followup.closed"),
    *("followup.escalated", "contact.merged", "contact.deleted"),
)
