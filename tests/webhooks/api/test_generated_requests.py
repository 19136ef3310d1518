"""The API answers thousands of generated requests, valid and invalid, as its description says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import schemathesis
from aiohttp import web
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from storage.alerts.enroll import choose_channel
from storage.bootstrap import Storage
from storage.domain.people import Member, Workspace
from storage.reading.segments import save_segment
from storage.tokens import TokenUses
from tests.counts import COUNTS
from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving, furnish
from tests.webhooks.sender import Clock, Sender, session
from webhooks.api import api_routes
from webhooks.app import handle_errors
from webhooks.connections import RUNNER_OPTIONS

FEWEST = 2_000  #: generated requests
EACH = 34  #: random requests to each operation, besides those with the smallest and the largest values
ADDRESSES = [f"c{number}@example.com" for number in range(20)]
HOOK = "https://127.0.0.1/hook"
#: Values for parameters and members of bodies: hardly any random text is the key of something that exists.
VALUES = {
    "path.key": [*ADDRESSES, "1", "2", "nobody@example.com"],
    "path.type": ["score", "fit", "points"],
    "path.id": [str(number) for number in range(1, 25)],
    "path.name": ["hot", "cold"],
    "query.q": ["score>=50", "name~c sort:-score", "tag:vip OR fit:low", "segment:hot limit:3", "score>="],
    "body.email": [*ADDRESSES, "nobody@example.com"],
    "body.into": ADDRESSES,
    "body.url": [HOOK],
    "body.user": ["U0REP", "U0NOBODY"],
    "body.for": ["4h", "soon"],
}


async def find_member(_: Workspace, user: str) -> Member | None:
    """Return the only member of the workspace, by the Slack user id."""
    return Member(id=user, address="rep@example.com", is_admin=True) if user == "U0REP" else None


@asynccontextmanager
async def serving_api(clock: Clock) -> AsyncIterator[str]:
    """Serve the API on a free port, and yield its URL. No job runs, so no event is sent."""
    application = web.Application(middlewares=[handle_errors])
    application.add_routes(api_routes(clock=clock, find_member=find_member, uses=TokenUses()))
    runner = web.AppRunner(application, shutdown_timeout=0.2, **RUNNER_OPTIONS)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def fill(service: Receiving, api: Program) -> None:
    """Create contacts with scores and open follow-ups, subscriptions, a segment and an import."""
    await choose_channel(service.workspace, channel="C0SALES", by="U0ADMIN", now=service.clock())
    await save_segment(service.workspace, name="hot", text="has:score", by="U0ADMIN", now=service.clock())
    for address in ADDRESSES:
        await api.call("PUT", f"/contacts/{address}/scores/score", {"value": 90})
        await api.call("POST", "/subscriptions", {"url": HOOK})
    await api.call("POST", "/imports", b"email\nada@example.com\n", headers={"Content-Type": "text/csv"})
    assert [len((await api.get(path))["items"]) for path in ("/contacts", "/followups", "/subscriptions")] == [20] * 3


def send_generated_requests(document: dict[str, Any], url: str, authorization: str) -> tuple[Counter[int], list[str]]:
    """Send the requests; return how many had each status, and a description of every answer that is not as described.

    A valid request may be refused, because a schema does not define what a filter or a cursor is.
    """
    configuration = {
        "seed": 20,
        "base-url": url,
        "headers": {"Authorization": authorization},
        "cache": {"enabled": False},
        "checks": {"positive_data_acceptance": {"enabled": False}},
        "generation": {"max-examples": EACH, "no-shrink": True, "database": "none"},
        "phases": {"stateful": {"enabled": False}},
        "dictionaries": {name.replace(".", "-"): {"values": values} for name, values in VALUES.items()},
        "parameters": {name: {"dictionary": name.replace(".", "-"), "probability": 0.7} for name in VALUES},
    }
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(configuration))
    statuses, failures = Counter[int](), list[str]()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            recorder = event.recorder
            statuses.update(sent.response.status_code for sent in recorder.interactions.values() if sent.response)
            failures += [
                f"{check.failure_info.failure}\n{check.failure_info.code_sample}"
                for checks in recorder.checks.values()
                for check in checks
                if check.failure_info is not None
            ]
        elif isinstance(event, FatalError | NonFatalError):
            failures.append(str(event))
    return statuses, failures


@pytest.mark.slow
async def test_generated_requests_are_answered_as_described(storage: Storage) -> None:
    """Every answer has a described status, content type and body; invalid requests are refused, and nothing fails."""
    clock = Clock()
    async with serving_api(clock) as url, session() as open_session:
        workspace = await furnish(clock)
        sender = Sender(open_session, url, clock=clock)
        service = Receiving(url=url, clock=clock, workspace=workspace, session=open_session, sender=sender)
        api = await program(service, "read", "write", "export")
        assert api.authorization is not None
        await fill(service, api)
        document = (await service.get("/api/v1/openapi.json")).document
        statuses, failures = await asyncio.to_thread(send_generated_requests, document, url, api.authorization)
    print(f"{statuses.total()} generated requests:", *(f"{status}: {n}" for status, n in sorted(statuses.items())))
    COUNTS["generated requests to the API"] += statuses.total()

    assert failures == [], "\n\n".join(failures)
    assert statuses.total() >= FEWEST
