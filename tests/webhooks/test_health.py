"""Liveness and readiness of the process."""

from storage.db import database
from tests.conftest import on_both
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import item


@on_both
async def test_a_running_service_is_alive_and_ready(service: Receiving) -> None:
    """Both endpoints answer 200 with a text."""
    alive, ready = await service.get("/healthz"), await service.get("/readyz")

    assert (alive.status, alive.document) == (200, {"status": "ok"})
    assert (ready.status, ready.document) == (200, {"status": "ready"})
    assert (await service.get("/readyz", method="HEAD")).status == 200


@on_both
async def test_tables_that_are_not_current_are_not_ready(service: Receiving) -> None:
    """If a migration is missing, the service is alive but not ready."""
    await database.current_database().writer.rows("DELETE FROM tortoise_migrations")
    answer = await service.get("/readyz")

    check_problem(answer, 503, "Service Unavailable", detail=True)
    assert answer.headers["Retry-After"].isdigit()
    assert (await service.get("/healthz")).status == 200


@on_both
async def test_tables_of_a_newer_version_are_told(service: Receiving) -> None:
    """With tables of a newer version the service is ready if it is compatible; otherwise the answer states why not."""
    applied = "INSERT INTO tortoise_migrations (app, name, applied_at) VALUES ('storage', $1, CURRENT_TIMESTAMP)"
    await database.current_database().writer.rows(applied, "9000_more_compatible")
    compatible = await service.get("/readyz")
    await database.current_database().writer.rows(applied, "9001_other")
    other = await service.get("/readyz")

    works = "A newer version has migrated the database (9000_more_compatible); this version works with it as well."
    assert (compatible.status, compatible.document) == (200, {"status": "ready", "detail": works})
    check_problem(other, 503, "Service Unavailable", detail=True)
    assert other.document["detail"] == (
        "The database was made by a newer version: this one does not know its migration 9001_other."
        " Install the newer version."
    )
    assert (await service.sender.push(item())).counts == (1, 0, 0, 0)  # the service goes on


@on_both
async def test_a_fault_of_ours_is_told_without_its_parts(service: Receiving) -> None:
    """If a table is missing, the sender is asked to report it, and learns no internal details."""
    await database.current_database().writer.rows("DROP TABLE refusals")
    answer = await service.sender.push({}, headers={"webhook-signature": "v1,AAAA"})

    check_problem(answer, 500, "Internal Server Error", detail=True)
    assert b"refusals" not in answer.body
