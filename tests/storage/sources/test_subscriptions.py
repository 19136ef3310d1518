"""What is stored of a subscription, and changed with it."""

from storage.sources.subscriptions import add_subscription, change_subscription, find_with_secrets
from tests.storage import raw
from tests.storage.teams import NOW, Team


async def test_a_new_address_begins_without_the_failures_of_the_old_one(team: Team, database_url: str) -> None:
    """Changing the events keeps a failure and a pause; changing the address clears them, for this subscription only."""
    address = "https://old.example/"
    ids = []
    for _ in range(2):
        added = await add_subscription(team.workspace, url=address, events=(), secret="whsec_x", by="U0ADMIN", now=NOW)
        ids.append(added.id)
    failing = "failing_since = 1, problem = 'it answered 500', paused_until = 2"
    await raw.rows(database_url, f"UPDATE subscriptions SET {failing}")

    async def failures(id: int) -> tuple[int | None, str | None, int]:
        subscription = await find_with_secrets(team.workspace, id=id, now=NOW)
        return subscription.failing_since, subscription.problem, subscription.paused_until

    await change_subscription(team.workspace, id=ids[0], imports=True, by="U0ADMIN", now=NOW)
    assert await failures(ids[0]) == (1, "it answered 500", 2)
    changed = await change_subscription(team.workspace, id=ids[0], url="https://new.example/", by="U0ADMIN", now=NOW)
    assert (changed.url, changed.imports) == ("https://new.example/", True)
    assert [await failures(id) for id in ids] == [(None, None, 0), (1, "it answered 500", 2)]
