"""Start a Slack, a product for it to talk to, and Slack's own client."""

from collections.abc import AsyncIterator

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from tests.slack.foreign import ForeignSlack
from tests.slack.product import SIGNING_SECRET, Product


@pytest.fixture
async def sandbox() -> AsyncIterator[ForeignSlack]:
    sandbox = ForeignSlack(
        app_url="http://127.0.0.1:9",
        signing_secret=SIGNING_SECRET,
        bot_token="xoxb-bot",
        app_token="xapp-app",
        crm_secret="whsec_c2FuZGJveC1zZWNyZXQtc2FuZGJveA==",
    )
    await sandbox.start()
    yield sandbox
    await sandbox.stop()


@pytest.fixture
async def product(sandbox: ForeignSlack) -> AsyncIterator[Product]:
    product = Product(sandbox.clock.now)
    sandbox.app_url = await product.start()
    sandbox.crm_url = f"{sandbox.app_url}/webhooks/T0DEMO/sample-crm"
    yield product
    await product.stop()


@pytest.fixture
def client(sandbox: ForeignSlack) -> AsyncWebClient:
    return AsyncWebClient(token="xoxb-bot", base_url=f"{sandbox.url}/api/")
