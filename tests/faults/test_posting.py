"""Kill services that post follow-ups repeatedly while Slack fails: each follow-up is posted once, in order."""

import asyncio
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from signal import SIGTERM

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.demo.world import Channel, Message
from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followup_rules import ASK
from storage.alerts.followups import load_follow_ups
from storage.alerts.rules import remove_rule
from storage.bootstrap import Storage, open_storage
from storage.domain.backoff import PACE
from storage.domain.facts import DAY
from storage.domain.people import Workspace
from storage.job_runner import JobRunner
from storage.jobs import list_due_in_lane
from storage.workspaces import add_workspace
from tests.bot.cli.program import PROGRAM, environment
from tests.bot.fakes import bind_jobs
from tests.conftest import KEY
from tests.counts import THOROUGH, report_counts
from tests.faults.lives import Lives, living
from tests.postgres import Databases, postgres_url
from tests.slack.faults import Fault, Kind
from tests.slack.foreign import ForeignSlack
from tests.storage.teams import Team, set_to

TEAM, TOKEN, SECRET = "T0DEMO", "xoxb-acme", "8f742231b10e8888abcd99yyyzzz85a5"
#: total number of follow-ups with real clocks; without it there are fewer, and clocks run SPEED times as fast
GIVEN = os.environ.get("POSTED_FOLLOW_UPS")
CHANNELS = 20 * THOROUGH
EACH, SPEED = (int(GIVEN) // CHANNELS, 1) if GIVEN else (10, 15)
KILLS = 15 * THOROUGH
KINDS: tuple[Kind, ...] = ("rate_limited", "server_error", "dropped_after_accepting", "no_answer", "late")
METHODS = ("chat.postMessage", "chat.postMessage", "conversations.*", "users.list")
HURRIED = Path(__file__).with_name("hurried.py")
PATIENCE = 150.0  # longest time in seconds without progress; longer than a lease


@dataclass(slots=True, kw_only=True)
class Trouble:
    """The kills of the services and the faults of their Slack."""

    dice: random.Random
    kills: list[int] = field(default_factory=list)  # number of messages at each kill
    faults: Counter[str] = field(default_factory=Counter)


@asynccontextmanager
async def many_channels() -> AsyncIterator[ForeignSlack]:
    """Yield a Slack with a channel for every rule."""
    slack = ForeignSlack(app_url="", signing_secret=SECRET, bot_token=TOKEN)
    await slack.start()
    for place in range(CHANNELS):
        slack.world.add_channel(Channel(id=f"C0N{place}", name=f"n{place}", members=["U0REP", slack.world.bot_user]))
    try:
        yield slack
    finally:
        slack.faults.clear()
        slack.faults.release()
        await slack.stop()


async def ask_for_many(storage: Storage) -> Workspace:
    """Create the same number of follow-ups for each channel."""
    now = time.time_ns() // 1000
    workspace = await add_workspace(TEAM, name="Acme", by="U0ADMIN", now=now)
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=now)
    await remove_rule(workspace, rule=1, by="U0ADMIN", now=now)
    for place in range(CHANNELS):
        words = f"score crosses 80 if tag:t{place} in <#C0N{place}>"
        await add_alert_rule(workspace, words=words, made_by="U0REP", owners={}, now=now)
    team = Team(workspace)
    for number in range(EACH):
        items = [
            set_to(f"{number}/{place}", f"p{number}-{place}@example.com", 90, fields={"tags": [f"t{place}"]})
            for place in range(CHANNELS)
        ]
        await team.deliver(*items, batch=str(number), received=now + number)
    return workspace


async def live_and_die(replica: Lives, slack: ForeignSlack, trouble: Trouble, turns: Iterator[int]) -> None:
    """Start a service, kill it at random moments between the first message and the last, and restart it each time."""
    await replica.begin()
    for turn in turns:
        enough = turn * CHANNELS * EACH // (KILLS + 1)
        await slack.wait_for(lambda: len(list_posts(slack)) >= enough, timeout=PATIENCE)  # noqa: B023 - asked at once
        asyncio.get_running_loop().call_later(trouble.dice.uniform(0, 0.05), replica.kill)
        assert await replica.ended() == -9, "it ended before it was killed"
        trouble.kills.append(len(list_posts(slack)))
        await replica.begin()


async def misbehave(slack: ForeignSlack, trouble: Trouble) -> None:
    """Add random faults, and release held answers after some calls or half a second."""
    while True:
        kind = trouble.dice.choice(KINDS)
        slack.faults.add(Fault(method=trouble.dice.choice(METHODS), kind=kind))
        trouble.faults[kind] += 1
        calls_wanted = len(slack.calls) + trouble.dice.randint(1, 20)
        with suppress(TimeoutError):
            await slack.wait_for(lambda: len(slack.calls) >= calls_wanted, timeout=0.5)  # noqa: B023 - asked at once
        slack.faults.release()
        slack.faults.clear()


async def do_the_rest(workspace: Workspace, slack: ForeignSlack, lanes: Iterable[str]) -> None:
    """Run the jobs that the killed services left; a day later, when every job is due and every lease has expired."""
    later = time.time_ns() // 1000 + SPEED * DAY
    client = AsyncWebClient(token=TOKEN, base_url=f"{slack.url}/api/", retry_handlers=[])
    runner = JobRunner({}, clock=lambda: later)
    runner.add_handlers(workspace, bind_jobs(workspace, client=client, clock=lambda: later))
    for lane in lanes:
        while await list_due_in_lane(workspace, lane=lane, kind=ASK, now=later):
            await runner.work()
            later += PACE


def list_posts(slack: ForeignSlack) -> list[Message]:
    """Return the follow-ups in the channels."""
    return [post for post in slack.world.posts if post.metadata]


@pytest.mark.slow
async def test_each_follow_up_is_posted_once_whoever_dies(databases: Databases, postgres: str) -> None:
    """Two replicas on one PostgreSQL survive thirty kills and random Slack failures."""
    seed = random.randrange(10**6)
    trouble, begun = Trouble(dice=random.Random(seed)), time.time()
    async with many_channels() as slack, databases.borrow() as name:
        url = postgres_url(postgres, name)
        opened_storage = await open_storage(url, secret_keys=[KEY])
        try:
            workspace = await ask_for_many(opened_storage)
            follow_ups = await load_follow_ups(workspace, ids=range(1, 100_000))
            async with serving(environment_of(url, slack), begun) as replicas:
                troubling = asyncio.create_task(misbehave(slack, trouble))
                turns = iter(range(1, KILLS + 1))
                await asyncio.gather(*(live_and_die(replica, slack, trouble, turns) for replica in replicas))
                await slack.wait_for(
                    lambda: len(count_posts_by_id(list_posts(slack))) >= len(follow_ups), timeout=PATIENCE
                )
                troubling.cancel()
                slack.faults.clear()
                slack.faults.release()
                for replica in replicas:
                    replica.kill(SIGTERM)
                    assert await replica.ended() == 0
            await do_the_rest(workspace, slack, {follow_up.lane for follow_up in follow_ups})
            stored = await load_follow_ups(workspace, ids=range(1, 100_000))
        finally:
            await opened_storage.close()
    assert len(follow_ups) == CHANNELS * EACH
    assert {(follow_up.message_channel, follow_up.message_ts) for follow_up in stored} <= {
        (follow_up.channel, follow_up.ts) for follow_up in list_posts(slack)
    }
    check(
        list_posts(slack),
        {follow_up.id: follow_up.lane for follow_up in follow_ups},
        trouble,
        seed=seed,
        seconds=time.time() - begun,
    )


def environment_of(url: str, slack: ForeignSlack) -> Mapping[str, str]:
    """Return the environment of a service with this database and this Slack."""
    settings = {"SLACK_BOT_TOKEN": TOKEN, "SLACK_SIGNING_SECRET": SECRET, "SLACK_API_URL": f"{slack.url}/api/"}
    return environment(url, CONTACT_SCORE_LOG_LEVEL="error", **settings)


@asynccontextmanager
async def serving(env: Mapping[str, str], begun: float) -> AsyncIterator[Sequence[Lives]]:
    """Yield the replicas: each is a whole `contact-score serve` with a clock of the given speed."""
    words = (str(begun), str(SPEED)) if SPEED > 1 else ("serve",)
    program = HURRIED if SPEED > 1 else PROGRAM
    async with living(*words, env=env, program=program) as first, living(*words, env=env, program=program) as other:
        yield first, other


def count_posts_by_id(messages: list[Message]) -> Counter[int]:
    """Return the number of messages of each follow-up."""
    return Counter(message.metadata["event_payload"]["id"] for message in messages if message.metadata)


def check(messages: list[Message], lanes: Mapping[int, str], trouble: Trouble, *, seed: int, seconds: float) -> None:
    """Fail unless each follow-up was posted once, in its channel, in order, at most one a second of their clock."""
    marked = [message for message in messages if "Possibly a repeat" in str(message.blocks)]
    places: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for message in messages:
        assert message.metadata is not None
        places[message.channel].append((message.metadata["event_payload"]["id"], float(message.ts) * SPEED))
    gaps = [later - earlier for posts in places.values() for (_, earlier), (_, later) in pairwise(posts)]
    in_midst = sum(0 < number < len(lanes) for number in trouble.kills)
    report_counts(
        f"posted by services that are killed, seed {seed}",
        {"follow-ups": len(lanes), "channels": len(places), "messages": len(messages)}
        | {"marked as repeats": len(marked), "kills": len(trouble.kills), "kills in the midst": in_midst}
        | {"least gap, ms of their clock": int(min(gaps) * 1000), "their clock's speed": SPEED, "s": int(seconds)}
        | {f"faults: {kind}": number for kind, number in sorted(trouble.faults.items())},
    )
    assert count_posts_by_id(messages).keys() == lanes.keys()  # none is lost
    assert len(messages) - len(marked) == len(lanes)
    for place, posts in places.items():
        assert [id for id, _ in posts] == sorted(id for id, lane in lanes.items() if lane == place)
    assert min(gaps) >= 1
    assert in_midst >= KILLS * 2 // 3
    assert sum(trouble.faults.values()) >= 50
