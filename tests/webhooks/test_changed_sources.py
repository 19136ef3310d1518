"""A delivery is judged by the source as it is now, although the service has the source in memory.

Another process changes the source: a command, or a connection of another program."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from tests.bot.cli.program import environment, run
from tests.conftest import on_both
from tests.storage import raw
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import OTHER_SECRET, SECRET, item

PAUSE = "UPDATE sources SET settings = replace(settings, '\"paused\": false', '\"paused\": true')"


async def command(url: str, *words: str) -> None:
    """Run a command in another process."""
    ended = await run(*words, env=environment(url))
    assert ended.code == 0, ended


async def count_rows(url: str, table: str) -> object:
    """Return the number of rows of a table."""
    (row,) = await raw.rows(url, f"SELECT count(*) AS n FROM {table}")
    return row["n"]


@asynccontextmanager
async def changing(url: str, sql: str) -> AsyncIterator[None]:
    """Hold a transaction that has changed the sources, and commit it at the end. Deliveries wait for it."""
    if raw.is_sqlite(url):
        with closing(sqlite3.connect(raw.file_of(url), isolation_level=None, check_same_thread=False)) as connection:
            await asyncio.to_thread(connection.executescript, f"BEGIN IMMEDIATE; {sql};")
            yield
            connection.execute("COMMIT")
        return
    other = await raw.connect(url)
    try:
        async with other.transaction():
            # `set_source` takes the same lock, with the id of the workspace.
            await other.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.definitions', id)) FROM workspaces"
            )
            await other.execute(sql)
            yield
    finally:
        await other.close()


@on_both
async def test_a_secret_that_another_process_replaced_is_refused(service: Receiving, database_url: str) -> None:
    """The old secret is refused and the new one accepted, in both orders, and a refusal counts once."""
    assert (await service.sender.push(item())).status == 200

    await command(database_url, "source", "set", "crm", "--secret", OTHER_SECRET)

    check_problem(await service.sender.push(item()), 401, "Unauthorized")
    assert (await service.sending(secret=OTHER_SECRET).push(item(value=60), delivery="other")).status == 200
    await command(database_url, "source", "set", "crm", "--secret", SECRET)
    assert (await service.sender.push(item(value=70), delivery="third")).status == 200
    check_problem(await service.sending(secret=OTHER_SECRET).push(item()), 401, "Unauthorized")
    assert await service.scores("ada@example.com") == {"score": 70_000}
    assert await count_rows(database_url, "deliveries") == 3
    assert await raw.rows(database_url, "SELECT count AS n FROM refusals") == [{"n": 2}]


@on_both
async def test_a_source_that_another_process_paused_or_removed_takes_nothing(
    service: Receiving, database_url: str
) -> None:
    """A paused source answers 503 until it is resumed, and a removed one 404."""
    assert (await service.sender.push(item())).status == 200

    await raw.rows(database_url, PAUSE)
    check_problem(await service.sender.push(item(value=60)), 503, "Service Unavailable", detail=True)
    await raw.rows(database_url, PAUSE.replace("true", "?").replace("false", "true").replace("?", "false"))
    assert (await service.sender.push(item(value=70), delivery="resumed")).status == 200
    await command(database_url, "source", "remove", "crm")
    check_problem(await service.sender.push(item(value=80)), 404, "Not Found")

    assert await service.scores("ada@example.com") == {"score": 70_000}
    await command(database_url, "source", "add", "crm", "--provider", "generic", "--secret", SECRET)
    assert (await service.sender.push(item(value=90), delivery="added")).status == 200


@on_both
async def test_a_change_between_authentication_and_recording_counts(service: Receiving, database_url: str) -> None:
    """A delivery that waits for the transaction that pauses its source is refused, and leaves nothing behind."""
    assert (await service.sender.push(item())).status == 200

    async with changing(database_url, PAUSE):
        delivery = asyncio.create_task(service.sender.push(item(value=60)))
        done, _ = await asyncio.wait([delivery], timeout=0.3)
    answer = await delivery

    assert not done  # it waited
    check_problem(answer, 503, "Service Unavailable", detail=True)
    assert await service.scores("ada@example.com") == {"score": 50_000}
    assert await count_rows(database_url, "deliveries") == 1
    assert await count_rows(database_url, "raw_deliveries") == 1


@on_both
async def test_a_delivery_counts_once_towards_the_rate_although_its_source_changed(
    service: Receiving, database_url: str
) -> None:
    """A change of the workspace's settings makes the service judge the delivery again, but not count it again."""
    await command(database_url, "source", "set", "crm", "--rate", "2/h")
    assert (await service.sender.push(item())).status == 200

    await command(database_url, "source", "add", "other", "--provider", "generic", "--secret", SECRET)

    assert (await service.sender.push(item(value=60))).status == 200
    check_problem(await service.sender.push(item(value=70)), 429, "Too Many Requests", detail=True)
    await command(database_url, "source", "set", "crm", "--rate", "9/h")
    assert (await service.sender.push(item(value=80))).status == 200


@on_both
async def test_a_score_type_that_another_process_added_is_known(service: Receiving, database_url: str) -> None:
    """A change of a score is quarantined until another process adds its score type."""
    assert (await service.sender.push(item(score="mood"))).counts == (0, 0, 0, 1)

    await command(database_url, "type", "add", "mood", "--min", "0", "--max", "10")

    assert (await service.sender.push(item(score="mood", value=5))).counts == (1, 0, 0, 0)
    assert await service.scores("ada@example.com") == {"mood": 5_000}


@on_both
async def test_deliveries_go_on_while_settings_change(service: Receiving, database_url: str) -> None:
    """Ten deliveries at once are recorded although the settings change meanwhile."""
    pushes = [service.sender.push(item("score.add", value=1)) for _ in range(10)]
    answers, _ = await asyncio.gather(
        asyncio.gather(*pushes), raw.rows(database_url, "UPDATE definitions SET label = 'Points' WHERE label = 'Score'")
    )

    assert [answer.counts for answer in answers] == [(1, 0, 0, 0)] * 10
    assert await service.scores("ada@example.com") == {"score": 10_000}
