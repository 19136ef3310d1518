"""Kill those who post follow-ups, again and again, while Slack has a bad day: each is posted, once, in order."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from bot.sandbox import Channel, Fault, Message, Sandbox
from bot.sandbox.faults import Kind
from storage.alert_rules import remove_rule
from storage.followups import by_ids
from storage.opening import open_storage
from storage.watching import add_alert_rule, choose_channel
from storage.workspaces import add_workspace
from tests.conftest import KEY
from tests.counts import tell
from tests.faults.poster import TEAM, TOKEN
from tests.postgres import Databases, postgres_url
from tests.storage.processes import HOUSE, start
from tests.storage.teams import Team, set_to

CHANNELS, EACH, KILLS, REPLICAS = 40, 20, 30, 2
SPEED = 20  # their clocks; a second between two messages is so much shorter here, and so is the lease of the killed
KINDS: tuple[Kind, ...] = ("rate_limited", "server_error", "dropped_after_accepting", "no_answer", "late")
PATIENCE = 120.0


async def ask_for_many(url: str) -> int:
    """Ask for follow-ups in many channels, and give how many."""
    opened = await open_storage(url, secret_keys=[KEY])
    try:
        now = time.time_ns() // 1000
        workspace = await add_workspace(TEAM, name="Acme", now=now)
        await choose_channel(workspace, channel="C0SALES", now=now)
        await remove_rule(workspace, rule=1, now=now)
        for place in range(CHANNELS):
            words = f"score crosses 80 if tag:t{place} in <#C0N{place}>"
            await add_alert_rule(workspace, words=words, made_by="U0REP", owners={}, now=now)
        team = Team(workspace, opened.committer)
        for number in range(EACH):
            items = [
                set_to(f"{number}/{place}", f"p{number}-{place}@example.com", 90, fields={"tags": [f"t{place}"]})
                for place in range(CHANNELS)
            ]
            await team.deliver(*items, batch=str(number), received=now + number)
        return len(await by_ids(workspace, ids=range(1, 100_000)))
    finally:
        await opened.close()


async def live_and_die(url: str, slack: Sandbox, begun: float, dice: random.Random, kills: list[int]) -> None:
    """Be a replica that is killed at a moment that nobody chose, and started again."""
    while len(kills) < KILLS:
        process = await start("-m", "tests.faults.poster", url, slack.url, str(begun), str(SPEED), house=HOUSE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begun\n"
        await asyncio.sleep(dice.uniform(0.1, 0.8))
        process.kill()
        await process.wait()
        kills.append(len(posted(slack)))


async def misbehave(slack: Sandbox, dice: random.Random, done: Counter[str]) -> None:
    """Let something go wrong every now and then."""
    while True:
        await asyncio.sleep(dice.uniform(0.02, 0.2))
        slack.faults.release()
        kind = dice.choice(KINDS)
        slack.faults.clear()
        slack.faults.add(Fault(method="chat.postMessage", kind=kind))
        done[kind] += 1


def posted(slack: Sandbox) -> list[Message]:
    """Give the follow-ups that stand in the channels."""
    return [one for one in slack.world.posts if one.metadata]


@pytest.mark.slow
async def test_each_follow_up_is_posted_once_whoever_dies(databases: Databases, postgres: str) -> None:
    """Two replicas on one PostgreSQL, thirty kills, a Slack that fails at random; eight hundred in forty channels."""
    slack = Sandbox(app_url="", signing_secret="8f742231b10e8888abcd99yyyzzz85a5", bot_token=TOKEN)
    await slack.start()
    dice, kills, faults = random.Random(11), list[int](), Counter[str]()
    for place in range(CHANNELS):
        slack.world.add_channel(Channel(id=f"C0N{place}", name=f"n{place}", members=["U0REP", slack.world.bot_user]))
    async with databases.one() as name:
        url, begun = postgres_url(postgres, name), time.time()
        try:
            asked = await ask_for_many(url)
            troubling = asyncio.create_task(misbehave(slack, dice, faults))
            await asyncio.gather(*(live_and_die(url, slack, begun, dice, kills) for _ in range(REPLICAS)))
            last = await start("-m", "tests.faults.poster", url, slack.url, str(begun), str(SPEED), house=HOUSE)
            try:
                await slack.wait_for(lambda: len(told(posted(slack))) >= asked, timeout=PATIENCE)
                await asyncio.sleep(1)  # whatever would come once more
            finally:
                last.kill()
                await last.wait()
            troubling.cancel()
        finally:
            slack.faults.clear()
            slack.faults.release()
            await slack.stop()
    check(posted(slack), asked, kills, faults)


def told(messages: list[Message]) -> Counter[int]:
    """Count the messages of each follow-up."""
    return Counter(one.metadata["event_payload"]["id"] for one in messages if one.metadata)


def check(messages: list[Message], asked: int, kills: list[int], faults: Counter[str]) -> None:
    """Each once, in the order of its channel, no faster than one a second of their clock."""
    counts = told(messages)
    marked = [one for one in messages if "Possibly a repeat" in str(one.blocks)]
    places: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for one in messages:
        assert one.metadata is not None
        places[one.channel].append((one.metadata["event_payload"]["id"], float(one.ts) * SPEED))
    gaps = [later - earlier for many in places.values() for (_, earlier), (_, later) in pairwise(many)]
    midst = sum(0 < there < asked for there in kills)
    tell(
        "posted by replicas that are killed",
        {"follow-ups": asked, "messages": len(messages), "marked as repeats": len(marked), "kills": len(kills)}
        | {"kills in the midst": midst, "least gap, ms of their clock": int(min(gaps) * 1000)}
        | {f"faults: {kind}": number for kind, number in faults.items()},
    )
    assert asked == CHANNELS * EACH
    assert counts.keys() == set(range(1, asked + 1))  # none is lost
    assert len(messages) - len(marked) == asked
    assert all([id for id, _ in many] == sorted(id for id, _ in many) for many in places.values())
    assert min(gaps) >= 0.5
    assert len(kills) >= KILLS
    assert midst >= KILLS // 3
    assert sum(faults.values()) >= 50
