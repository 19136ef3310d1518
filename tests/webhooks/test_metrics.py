"""Metrics in Prometheus' format."""

import re
from collections.abc import AsyncIterator

from storage.domain.backoff import SECOND
from storage.job_handlers import RECURRING
from storage.jobs import claim, enqueue_one, give_up
from storage.sources.config import add_source
from storage.tokens import create_token, revoke_token
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.webhooks.receiving import METRICS_TOKEN, Receiving, check_problem
from tests.webhooks.sender import OTHER_SECRET, SECRET, item, signed
from webhooks.limits import CHUNK, MAX_BODY

RECURRING_KIND = re.compile(f'kind="({"|".join(RECURRING)})"')
LINE = re.compile(r'contact_score_\w+(\{(\w+="([^"\\\n]|\\.)*"(,(?=\w))?)+\})? \d+')


async def counted(service: Receiving, token: str | None = METRICS_TOKEN) -> dict[str, int]:
    """Return every value by name and labels; fail if a line is not valid for Prometheus."""
    answer = await service.get("/metrics", token=token)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = answer.body.decode().splitlines()
    values = [line for line in lines if not line.startswith("# ")]
    assert [line for line in values if not LINE.fullmatch(line)] == []
    names = {line.partition("{")[0].partition(" ")[0] for line in values}
    assert names <= {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert "@" not in answer.body.decode()
    counts = {line.rpartition(" ")[0].removeprefix("contact_score_"): int(line.rpartition(" ")[2]) for line in values}
    # The service creates the recurring jobs of a workspace within a minute.
    return {name: count for name, count in counts.items() if not RECURRING_KIND.search(name)}


async def parts_of_a_large_body() -> AsyncIterator[bytes]:
    """Yield a body that is too large, without announcing its length."""
    for _ in range(MAX_BODY // CHUNK + 1):
        yield b" " * CHUNK


@on_both
async def test_deliveries_are_counted_by_source_and_outcome(service: Receiving) -> None:
    """Answers and items are counted; input of strangers is no label, and no label contains an address."""
    await service.sender.push({"items": [item(id="a"), item(id="a"), item(id="b", value=900)]})
    await service.sender.push(item(id="a"))
    await service.sender.push(b"{")
    await service.sending(secret=OTHER_SECRET).push(item())
    await service.sending(slug="made-up").push(item())
    await service.sender.post(parts_of_a_large_body(), headers=signed(b"", delivery="large", at=service.clock()))

    crm = 'workspace="T0123",source="crm"'
    assert {name: value for name, value in (await counted(service)).items() if value} == {
        f'deliveries_total{{{crm},status="200"}}': 2,
        f'deliveries_total{{{crm},status="400"}}': 1,
        f'deliveries_total{{{crm},status="401"}}': 1,
        f'deliveries_total{{{crm},status="413"}}': 1,
        f'items_total{{{crm},outcome="applied"}}': 1,
        f'items_total{{{crm},outcome="duplicate"}}': 2,
        f'items_total{{{crm},outcome="quarantined"}}': 2,
        f"quarantined{{{crm}}}": 2,
        "database_up": 1,
    }


async def test_names_are_shown_to_whoever_has_a_token_for_them(service: Receiving) -> None:
    """Without a token there are totals; a workspace's token shows its names, the operator's token shows all."""
    other = await add_workspace("T0999", name="Other", by="U0ADMIN", now=service.clock())
    await add_source(other, slug="hubspot-eu", provider="generic", secrets=[SECRET], by="U0ADMIN", now=service.clock())
    await service.sender.push({"items": [item(id="a"), item(id="b", value=900)]})
    await service.sending(team="T0999", slug="hubspot-eu").push(item())
    token, secret = await create_token(service.workspace, name="grafana", scopes=["metrics"], by="U0ADMIN", now=1)
    everybody = {"database_up": 1, 'deliveries_total{status="200"}': 2, 'items_total{outcome="applied"}': 2,
                 'items_total{outcome="quarantined"}': 1, "quarantined": 1}  # fmt: skip  # totals
    crm, hubspot = 'workspace="T0123",source="crm"', 'workspace="T0999",source="hubspot-eu"'
    own = {f'deliveries_total{{{crm},status="200"}}': 1, f'items_total{{{crm},outcome="applied"}}': 1,
           f'items_total{{{crm},outcome="quarantined"}}': 1, f"quarantined{{{crm}}}": 1}  # fmt: skip
    others = {f'deliveries_total{{{hubspot},status="200"}}': 1, f'items_total{{{hubspot},outcome="applied"}}': 1}

    for bearer, expected in (
        (None, everybody),
        (secret, {"database_up": 1} | own),
        (METRICS_TOKEN, {"database_up": 1} | own | others),
    ):
        assert {name: value for name, value in (await counted(service, bearer)).items() if value} == expected
    await revoke_token(service.workspace, id=token.id, by="U0ADMIN", now=service.clock())
    check_problem(await service.get("/metrics", token=secret), 401, "Unauthorized", detail=False)


async def test_a_token_that_may_not_see_metrics_is_refused(service: Receiving) -> None:
    """A token without the scope and an unknown token do not even get the totals, and guessing is slowed down."""
    _, secret = await create_token(service.workspace, name="zapier", scopes=["read", "write"], by="U0ADMIN", now=1)
    check_problem(await service.get("/metrics", token=secret), 403, "Forbidden", detail=True)
    for guess in ("guess", "", METRICS_TOKEN + "x", "é"):
        answer = await service.get("/metrics", token=guess)
        check_problem(answer, 401, "Unauthorized", detail=False)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    statuses = [(await service.get("/metrics", token="guess")).status for _ in range(597)]
    assert statuses == [401] * 596 + [429]
    assert (await service.get("/metrics", token=METRICS_TOKEN)).status == 200
    _, secret = await create_token(service.workspace, name="grafana", scopes=["metrics"], by="U0ADMIN", now=1)
    check_problem(await service.get("/api/v1/contacts", token=secret), 403, "Forbidden", detail=True)


@on_both
async def test_jobs_that_wait_are_counted_and_how_long_they_are_due(service: Receiving) -> None:
    """Waiting jobs are counted by kind with their delay; given-up jobs do not wait, and later jobs are not late."""
    now = service.clock()
    for number, kind, due in (
        (1, "ask", now - 90 * SECOND),
        (2, "ask", now),
        (3, "wake", now + SECOND),
        (4, "edit", now),
    ):
        await enqueue_one(service.workspace, kind=kind, lane=kind, key=str(number), subject=1, due_at=due, now=due)
    job = await claim(service.workspace, kinds=["edit"], now=now)
    assert job is not None
    await give_up(service.workspace, job=job, because="channel_not_found", now=now)

    metrics = await counted(service)
    assert {name: value for name, value in metrics.items() if name.startswith("jobs_")} == {
        'jobs_waiting{kind="ask"}': 2, 'jobs_waiting{kind="edit"}': 0, 'jobs_waiting{kind="wake"}': 1,
        'jobs_overdue_seconds{kind="ask"}': 90, 'jobs_overdue_seconds{kind="edit"}': 0,
        'jobs_overdue_seconds{kind="wake"}': 0, 'jobs_given_up{kind="ask"}': 0, 'jobs_given_up{kind="edit"}': 1,
        'jobs_given_up{kind="wake"}': 0, 'jobs_waiting{kind="report"}': 1, 'jobs_overdue_seconds{kind="report"}': 0,
        'jobs_given_up{kind="report"}': 0,
    }  # fmt: skip  # by name
