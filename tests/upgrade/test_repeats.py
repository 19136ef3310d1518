"""Requests that an earlier version recorded are recognized when sent again, whatever key they have now."""

import json
from datetime import UTC, datetime

from aiohttp import ClientSession

from storage.bootstrap import migrate
from tests.upgrade.databases import FOLDER, rows
from tests.upgrade.product import KEY
from tests.webhooks.receiving import serving
from tests.webhooks.sender import Clock

#: The signatures of the deliveries are valid until 00:05.
SOON = int(datetime(2026, 1, 1, 0, 2, tzinfo=UTC).timestamp() * 1e6)
SCORES = "SELECT * FROM scores ORDER BY contact_id, definition_id"


async def test_every_request_sent_again_changes_nothing(stored_url: str) -> None:
    """No request is applied twice, no score moves, and contacts that were deleted meanwhile are not created again."""
    programs = json.loads((FOLDER / stored_url.partition(":")[0] / "programs.json").read_text())
    await migrate(stored_url, now=SOON)
    before, facts = await rows(stored_url, SCORES), await rows(stored_url, "SELECT count(*) AS number FROM facts")
    async with serving(stored_url, clock=Clock(SOON), secret_keys=KEY) as url, ClientSession() as session:

        async def send_again() -> None:
            for delivery in programs["deliveries"]:
                body, headers = delivery["body"].encode(), delivery["headers"]
                async with session.post(url + delivery["path"], data=body, headers=headers) as response:
                    answer = await response.text()
                assert response.status == 200, (delivery["slug"], answer)
                if answer.startswith("{"):
                    counts, told = json.loads(answer), json.loads(delivery["answer"])
                    assert (counts["applied"], counts["duplicate"]) == (0, told["applied"]), (delivery["slug"], answer)

        await send_again()
        assert await rows(stored_url, SCORES) == before
        assert await rows(stored_url, "SELECT count(*) AS number FROM facts") == facts
        headers = {"Authorization": f"Bearer {programs['tokens']['writer']}"}
        gone = [f"{url}/api/v1/contacts/{key}" for key in ("nikola@example.com", "rosalind@example.com")]
        for contact in gone:
            async with session.delete(contact, headers=headers) as response:
                assert response.status == 204, await response.text()
        before = await rows(stored_url, SCORES)
        await send_again()
        assert await rows(stored_url, SCORES) == before
