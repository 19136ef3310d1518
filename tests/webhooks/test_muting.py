"""A muted source opens no follow-ups."""

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import list_waiting
from storage.bootstrap import Storage
from storage.domain.sources import SourceSettings
from storage.sources.config import add_source, set_source
from tests.conftest import on_both
from tests.webhooks.receiving import SLUG, TEAM, furnish
from tests.webhooks.sender import SECRET, START, Clock, encoded, item, signed
from webhooks.metrics import Metrics
from webhooks.receiver import Receiver


@on_both
async def test_a_muted_source_asks_for_no_follow_up(storage: Storage) -> None:
    """A rise sent by a muted source opens no follow-up; from another source, or after unmuting, it does."""
    clock = Clock()
    workspace = await furnish(clock)
    await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=START)
    await add_alert_rule(workspace, words="score crosses 40", made_by="U1", owners={}, now=START)
    await add_source(
        workspace,
        slug="quiet",
        provider="generic",
        secrets=[SECRET],
        settings=SourceSettings(muted=True),
        by="U0ADMIN",
        now=START,
    )
    app = web.Application()
    app.add_routes([web.post("/webhooks/{workspace}/{source}", Receiver(clock=clock, metrics=Metrics()).receive)])
    async with TestClient(TestServer(app)) as client:

        async def push(slug: str, delivery: str) -> int:
            body = encoded(item(email=f"{delivery}@example.com"))
            headers = {"content-type": "application/json"} | signed(body, delivery=delivery, at=START)
            async with client.post(f"/webhooks/{TEAM}/{slug}", data=body, headers=headers) as answer:
                assert answer.status == 200
            return len(await list_waiting(workspace, most=10))

        assert [await push("quiet", "a"), await push(SLUG, "b")] == [0, 1]
        await set_source(workspace, slug="quiet", settings=SourceSettings(), by="U0ADMIN", now=START)
        assert await push("quiet", "c") == 2
