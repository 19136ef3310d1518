"""Each follow-up is posted once, however long Slack is away; a follow-up that Slack never accepts is given up."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.demo.world import Message
from bot.features import TABLES
from storage.alerts.enroll import choose_channel
from storage.bootstrap import Storage
from storage.domain.backoff import GIVE_UP_AFTER, LONGEST, MOST_HELD, SECOND
from storage.job_runner import JobRunner
from storage.reading.metrics_queries import measure
from storage.workspaces import add_workspace
from tests.bot.fakes import bind_jobs
from tests.conftest import on_both
from tests.slack.faults import Fault
from tests.slack.foreign import ForeignSlack
from tests.storage.teams import Team, set_to

TEAM, SUCCESS, BOT_TOKEN = "T0DEMO", "C0SUCCESS", "xoxb-sandbox"
#: failures after which a job has been retried for a day: nine doubling pauses, then ten minutes each
TRIES = 1 + 9 + -(-(GIVE_UP_AFTER - 1022 * SECOND) // LONGEST)
TURN = LONGEST // SECOND + 1  # seconds after which every postponed job is due again


@dataclass(frozen=True, slots=True)
class House:
    """A job runner with the Slack that it posts to, and its clock."""

    sandbox: ForeignSlack
    team: Team
    runner: JobRunner

    @property
    def now(self) -> int:
        """Return the current time, in µs."""
        return int(self.sandbox.clock.now() * SECOND)

    async def hot(self, name: str) -> None:
        """Raise a score into the region of an alert rule, so that a follow-up is created."""
        await self.team.deliver(set_to(name, f"{name}@example.com", 90), batch=name, received=self.now)

    async def work(self, *, turns: int = 0) -> None:
        """Run all due jobs, and run them again after each of a number of the longest pauses."""
        for turn in range(turns + 1):
            self.sandbox.clock.advance(TURN if turn else 0)
            while await self.runner.work():
                continue

    async def jobs(self) -> tuple[int, int]:
        """Return the number of follow-ups that wait to be posted, and of follow-ups that were given up."""
        measured = await measure(now=self.now)
        return measured.waiting.get("ask", 0), measured.given_up.get("ask", 0)

    @property
    def tried(self) -> int:
        """Return how often a message was sent to Slack."""
        return sum(call.method == "chat.postMessage" for call in self.sandbox.calls)

    @property
    def posted(self) -> list[str]:
        """Return the contacts of the follow-ups in the channel, in the order of the messages."""
        posts = [post for post in self.sandbox.world.posts if post.channel == SUCCESS and post.metadata]
        return [_mentioned_name(post) for post in posts]


def _mentioned_name(message: Message) -> str:
    return message.text.split("@")[0]


@pytest.fixture
async def house(storage: Storage) -> AsyncIterator[House]:
    """Yield a workspace with a channel for its follow-ups, and the job runner that posts them."""
    sandbox = ForeignSlack(app_url="", signing_secret="none", bot_token=BOT_TOKEN)
    await sandbox.start()
    client = AsyncWebClient(token=BOT_TOKEN, base_url=f"{sandbox.url}/api/", timeout=10, retry_handlers=[])
    workspace = await add_workspace(TEAM, name="Acme", by="U0ADMIN", now=int(sandbox.clock.now() * SECOND))
    runner = JobRunner({}, recurring=TABLES.recurring, clock=lambda: int(sandbox.clock.now() * SECOND))
    runner.add_handlers(workspace, bind_jobs(workspace, client=client, clock=lambda: int(sandbox.clock.now() * SECOND)))
    house = House(sandbox=sandbox, team=Team(workspace), runner=runner)
    await choose_channel(workspace, channel=SUCCESS, by="U0ADMIN", now=house.now)
    yield house
    sandbox.faults.clear()
    await sandbox.stop()


async def test_what_slack_refuses_is_given_up(house: House) -> None:
    """A follow-up that Slack rejects for a day is given up, counted and reported to an admin; later ones are posted."""
    house.sandbox.world.scopes -= {"chat:write"}
    await house.hot("ada")
    await house.work(turns=TRIES - 2)
    assert (house.tried, await house.jobs()) == (TRIES - 1, (1, 0))
    house.sandbox.clock.advance(TURN)
    assert await house.runner.work()
    assert (house.tried, await house.jobs()) == (TRIES, (0, 1))
    house.sandbox.world.scopes |= {"chat:write"}
    await house.work(turns=1)
    await house.hot("grace")
    await house.work()

    assert house.posted == ["grace"]
    assert await house.jobs() == (0, 1)
    assert [post.text for post in house.sandbox.world.posts if post.channel.startswith("D")] == [
        "Posting a follow-up failed and was given up, once. The last reason: Slack says missing_scope."
    ]


async def test_where_nobody_can_be_asked_it_is_given_up_at_once(house: House) -> None:
    """Without an owner and an admin a follow-up is given up at once; the next is posted to the channel chosen since."""
    await choose_channel(house.team.workspace, channel=None, by="U0ADMIN", now=house.now)
    for person in house.sandbox.world.people.values():
        person.is_admin = person.is_owner = False
    await house.hot("ada")
    await house.work()
    assert (house.tried, await house.jobs()) == (0, (0, 1))
    await choose_channel(house.team.workspace, channel=SUCCESS, by="U0ADMIN", now=house.now)
    await house.hot("grace")
    await house.work()

    assert house.posted == ["grace"]


@pytest.mark.parametrize(
    ("method", "kind"),
    [("chat.postMessage", "server_error"), ("chat.postMessage", "rate_limited"), ("conversations.info", "no_answer")],
)
async def test_nothing_is_given_up_while_slack_is_away(house: House, method: str, kind: str) -> None:
    """During an outage no follow-up is given up; afterwards each is posted once, in the order of creation."""
    fault = Fault(method=method, kind=kind, times=100)  # type: ignore[arg-type]  # a word of the table
    house.sandbox.faults.add(fault)
    await house.hot("ada")
    await house.hot("grace")
    await house.work(turns=24)
    assert (house.posted, await house.jobs()) == ([], (2, 0))
    house.sandbox.faults.clear()
    await house.hot("linus")
    await house.work()
    assert house.posted == []  # the newest follow-up does not overtake older ones
    await house.work(turns=3)

    assert house.posted == ["ada", "grace", "linus"]
    assert await house.jobs() == (0, 0)


@on_both
async def test_what_slack_stumbles_over_lets_the_next_pass_after_a_day(house: House) -> None:
    """An error that may be Slack's own is retried for ever, but after a day it no longer blocks later follow-ups."""
    await house.hot("ada")
    await house.hot("grace")
    house.sandbox.faults.add(Fault(method="chat.postMessage", kind="server_error", times=MOST_HELD))
    await house.work(turns=MOST_HELD - 2)
    assert (house.tried, house.posted) == (MOST_HELD - 1, [])
    await house.work(turns=1)
    assert (house.tried, house.posted) == (MOST_HELD + 1, ["grace"])
    await house.work(turns=1)

    assert house.posted == ["grace", "ada"]


async def test_nothing_is_given_up_while_the_app_is_shut_out(house: House) -> None:
    """A rejected token does not count against a message: with a valid token the message is posted."""
    house.sandbox.tokens["bot"] = "xoxb-another"
    await house.hot("ada")
    await house.work(turns=24)
    assert (house.posted, await house.jobs()) == ([], (1, 0))
    house.sandbox.tokens["bot"] = BOT_TOKEN
    await house.work(turns=1)

    assert house.posted == ["ada"]


async def test_slack_failing_after_it_took_a_message(house: House) -> None:
    """After `fatal_error` Slack may have posted the message, so the message is looked up before it is sent again."""
    house.sandbox.faults.add(Fault(method="chat.postMessage", kind="failed_after_accepting"))
    await house.hot("ada")
    await house.work(turns=1)

    assert house.posted == ["ada"]
    assert await house.jobs() == (0, 0)


@pytest.mark.parametrize(("since", "marks"), [(199, [False]), (200, [False, True])])
async def test_a_message_that_much_was_said_after(house: House, since: int, marks: list[bool]) -> None:
    """If the history is longer than one page, the message may exist: it is repeated with a note."""
    house.sandbox.faults.add(Fault(method="chat.postMessage", kind="dropped_after_accepting"))
    await house.hot("ada")
    await house.work()
    for number in range(since):
        house.sandbox.world.post(channel=SUCCESS, user="U0REP", text=f"{number}")
    await house.work(turns=1)

    messages = [post for post in house.sandbox.world.posts if post.metadata]
    assert ["Possibly a repeat" in str(message.blocks) for message in messages] == marks


@on_both
async def test_a_list_that_grows_for_longer_than_ten_minutes_loses_nobody(house: House) -> None:
    """Sixty follow-ups every nine minutes share one list, although the first were posted long ago."""
    for wave in range(3):
        hot = [set_to(f"{wave}/{n}", f"p{wave}-{n}@example.com", 90) for n in range(60)]
        await house.team.deliver(*hot, batch=str(wave), received=house.now)
        while await house.runner.work():
            continue
        house.sandbox.clock.advance(9 * 60)

    (message,) = [post for post in house.sandbox.world.posts if post.metadata]
    assert "in one list: 180" in message.text
    assert "p0-0@example.com" in str(message.blocks)
