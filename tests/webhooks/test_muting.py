"""What a muted source delivers is handed in as such."""

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from storage.bootstrap import Storage
from storage.domain.sources import SourceSettings
from storage.domain.submissions import Recorded, Submission
from storage.ledger.committer import Committer
from storage.sources.config import add_source, set_source
from tests.webhooks.receiving import SLUG, TEAM, furnish
from tests.webhooks.sender import SECRET, START, Clock, encoded, item, signed
from webhooks.metrics import Metrics
from webhooks.receiver import Receiver


class Remembering(Committer):
    """The real door of the ledger, which remembers what was handed in."""

    seen: list[Submission]

    async def record(self, submission: Submission, *, now: int) -> Recorded:
        """Remember, and record."""
        self.seen.append(submission)
        return await super().record(submission, now=now)


async def test_a_muted_source_asks_for_no_follow_up(storage: Storage) -> None:
    """Every delivery of it is muted, and none of another source; it can be unmuted again."""
    from storage.db import database

    clock = Clock()
    workspace = await furnish(clock)
    await add_source(
        workspace, slug="quiet", provider="generic", secrets=[SECRET], settings=SourceSettings(muted=True), now=START
    )
    door = Remembering(database.current_database())
    door.seen = []
    app = web.Application()
    app.add_routes(
        [web.post("/webhooks/{workspace}/{source}", Receiver(committer=door, clock=clock, metrics=Metrics()).receive)]
    )
    async with TestClient(TestServer(app)) as client:

        async def push(slug: str, delivery: str) -> bool:
            body = encoded(item())
            headers = {"content-type": "application/json"} | signed(body, delivery=delivery, at=START)
            async with client.post(f"/webhooks/{TEAM}/{slug}", data=body, headers=headers) as answer:
                assert answer.status == 200
            return door.seen[-1].muted

        assert [await push("quiet", "a"), await push(SLUG, "b")] == [True, False]
        await set_source(workspace, slug="quiet", settings=SourceSettings(), now=START)
        assert await push("quiet", "c") is False
