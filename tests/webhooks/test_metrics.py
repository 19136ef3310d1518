"""What the service counts, in Prometheus' words."""

import re

from storage.domain.backoff import SECOND
from storage.job_handlers import RECURRING
from storage.jobs import claim, enqueue_one, give_up
from tests.webhooks.receiving import Receiving
from tests.webhooks.sender import OTHER_SECRET, item

RECURRING_KIND = re.compile(f'kind="({"|".join(RECURRING)})"')
LINE = re.compile(r'contact_score_\w+(\{(\w+="([^"\\\n]|\\.)*"(,(?=\w))?)+\})? \d+')


async def counted(service: Receiving) -> dict[str, int]:
    """Read every value, by its name and labels; see that each line is what Prometheus reads."""
    answer = await service.get("/metrics")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = answer.body.decode().splitlines()
    values = [line for line in lines if not line.startswith("# ")]
    assert [line for line in values if not LINE.fullmatch(line)] == []
    names = {line.partition("{")[0].partition(" ")[0] for line in values}
    assert names <= {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert "@" not in answer.body.decode()
    counts = {line.rpartition(" ")[0].removeprefix("contact_score_"): int(line.rpartition(" ")[2]) for line in values}
    # The service makes the recurring jobs of a workspace within a minute.
    return {name: count for name, count in counts.items() if not RECURRING_KIND.search(name)}


async def test_deliveries_are_counted_by_source_and_outcome(service: Receiving) -> None:
    """Each answer, each item; what strangers make up is no label, and nobody's address is there."""
    await service.sender.push({"items": [item(id="a"), item(id="a"), item(id="b", value=900)]})
    await service.sender.push(item(id="a"))
    await service.sender.push(b"{")
    await service.sending(secret=OTHER_SECRET).push(item())
    await service.sending(slug="made-up").push(item())

    crm = 'workspace="T0123",source="crm"'
    assert {name: value for name, value in (await counted(service)).items() if value} == {
        f'deliveries_total{{{crm},status="200"}}': 2,
        f'deliveries_total{{{crm},status="400"}}': 1,
        f'deliveries_total{{{crm},status="401"}}': 1,
        f'items_total{{{crm},outcome="applied"}}': 1,
        f'items_total{{{crm},outcome="duplicate"}}': 2,
        f'items_total{{{crm},outcome="quarantined"}}': 2,
        f"quarantined{{{crm}}}": 2,
        "database_up": 1,
    }


async def test_jobs_that_wait_are_counted_and_how_long_they_are_due(service: Receiving) -> None:
    """By kind; one that was given up waits no more, and is to be reported; one that is for later is not late."""
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
