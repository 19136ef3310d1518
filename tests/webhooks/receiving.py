"""Run the real service with webhooks only, on a free port, with a workspace, its score types and a source."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import ClientSession

from bot.service import Service
from bot.settings import Settings
from storage.bootstrap import open_storage
from storage.domain.contacts import Contact
from storage.domain.people import Workspace
from storage.domain.score_types import Band
from storage.limits import DEFAULT_LIMITS, Limits
from storage.reading.current_scores import cards_of
from storage.reading.history import history
from storage.reading.search import find
from storage.scoring.definitions import add_score_type
from storage.sources.config import add_source
from storage.sources.deliveries import Delivery, deliveries
from storage.workspaces import add_workspace
from tests.conftest import KEY
from tests.webhooks.sender import SECRET, Answer, Clock, Sender, session

TEAM, SLUG = "T0123", "crm"
METRICS_TOKEN = "shown-to-the-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiving:
    """A running service, its sender, and access to its stored data."""

    url: str
    clock: Clock
    workspace: Workspace
    session: ClientSession
    sender: Sender

    def sending(self, *, secret: str = SECRET, slug: str = SLUG, team: str = TEAM) -> Sender:
        """Return another sender, to this or another source."""
        return Sender(self.session, f"{self.url}/webhooks/{team}/{slug}", clock=self.clock, secret=secret)

    async def get(self, path: str, *, method: str = "GET", token: str | None = None) -> Answer:
        """Request a path of the service, with a bearer token if one is given."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self.sender.request(method, self.url + path, headers=headers)

    async def contact(self, text: str) -> Contact | None:
        """Return the one contact with an address or `source:id`."""
        return next(iter(await find(self.workspace, text=text)), None)

    async def scores(self, text: str) -> dict[str, int]:
        """Return the scores of a contact, in thousandths."""
        contact = await self.contact(text)
        assert contact is not None, f"nobody is called {text}"
        (card,) = await cards_of(self.workspace, ids=[contact.id], now=self.clock())
        return {standing.score_type.key: standing.value for standing in card.standings}

    async def history(self, text: str, score: str = "score") -> list[tuple[str, int, int]]:
        """Return the changes of a score, newest first: (operation, amount, time)."""
        contact = await self.contact(text)
        assert contact is not None, f"nobody is called {text}"
        _, entries = await history(self.workspace, contact=contact.id, score=score, most=2000)
        return [(entry.op.value, entry.amount, entry.occurred_at) for entry in entries]

    async def kept_deliveries(self) -> list[Delivery]:
        """Return the stored deliveries, newest first."""
        return await deliveries(self.workspace, source=None, most=1000)


def settings(database_url: str, *, secret_keys: str = KEY, networks: str = "") -> Settings:
    """Return the settings of the service. *networks* are those that events may be sent to."""
    chosen = {
        "database_url": database_url,
        "host": "127.0.0.1",
        "port": 0,
        "secret_keys": secret_keys,
        "metrics_token": METRICS_TOKEN,
        "allow_networks": networks,
    }
    return Settings.model_validate(chosen)


@asynccontextmanager
async def serving(
    database_url: str, *, clock: Clock, secret_keys: str = KEY, limits: Limits = DEFAULT_LIMITS, networks: str = ""
) -> AsyncIterator[str]:
    """Run the service, and yield its URL."""
    chosen = settings(database_url, secret_keys=secret_keys, networks=networks)
    service = Service(chosen, with_slack=False, clock=clock, limits=limits)
    try:
        url = await service.start()
        await service.connected()  # returns at once without Slack
        yield url
    finally:
        await service.stop()


async def furnish(clock: Clock, *, secrets: tuple[str, ...] = (SECRET,), team: str = TEAM) -> Workspace:
    """Create a workspace with `score` (0 to 100), `fit` (1 to 10 in halves) and `points` (any), and a source."""
    workspace = await add_workspace(team, name="Acme", by="U0ADMIN", now=clock())
    await add_score_type(
        workspace, key="fit", label="Fit", minimum=1000, maximum=10_000, step=500,
        bands=[Band(name="low", start=1000)], start=None, is_default=False, by="U0ADMIN", now=clock(),
    )  # fmt: skip  # the numbers of one definition
    await add_score_type(
        workspace, key="points", label="Points", minimum=-(10**12), maximum=10**12, step=1,
        bands=[], start=0, is_default=False, by="U0ADMIN", now=clock(),
    )  # fmt: skip  # the numbers of one definition
    await add_source(workspace, slug=SLUG, provider="generic", secrets=list(secrets), by="U0ADMIN", now=clock())
    return workspace


async def furnish_for_a_process(database_url: str) -> None:
    """Create the same in a database for another process; SECRET is the secret of the source."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        await furnish(Clock())
    finally:
        await storage.close()


@asynccontextmanager
async def receiving(
    database_url: str, *, limits: Limits = DEFAULT_LIMITS, networks: str = "", clock: Clock | None = None
) -> AsyncIterator[Receiving]:
    """Run the service with a workspace and a source."""
    clock = clock or Clock()
    async with serving(database_url, clock=clock, limits=limits, networks=networks) as url, session() as open_session:
        workspace = await furnish(clock)
        sender = Sender(open_session, f"{url}/webhooks/{TEAM}/{SLUG}", clock=clock)
        yield Receiving(url=url, clock=clock, workspace=workspace, session=open_session, sender=sender)


def check_problem(answer: Answer, status: int, title: str, *, detail: bool | None = None) -> None:
    """Fail unless the answer is a problem document of this status, and has a detail if that is specified."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer
    problem = json.loads(answer.body)
    detail_text = problem.pop("detail", None)

    assert problem == {"type": "about:blank", "title": title, "status": status}
    if detail is not None:
        assert (detail_text is not None) == detail, detail_text
    if detail_text is not None:
        assert isinstance(detail_text, str)
        assert detail_text.endswith(".")
