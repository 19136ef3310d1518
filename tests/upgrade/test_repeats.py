"""Requests that an earlier version recorded are recognized when sent again, whatever key they have now."""

import json
from collections import Counter
from datetime import UTC, datetime

from aiohttp import ClientSession

from storage.bootstrap import migrate, open_storage
from storage.domain.submissions import Status, Submission
from storage.ledger.committer import record
from storage.workspaces import find_workspace
from tests.counts import report_counts
from tests.upgrade.databases import FOLDER, rows
from tests.upgrade.product import KEY
from tests.webhooks.receiving import serving
from tests.webhooks.sender import Clock
from webhooks.read.parse_delivery import replay

#: The signatures of the deliveries are valid until 00:05.
SOON = int(datetime(2026, 1, 1, 0, 2, tzinfo=UTC).timestamp() * 1e6)
FACTS = "SELECT id, contact_id, source, dedupe_key, subject FROM facts ORDER BY id"
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
                    counts, answered = json.loads(answer), json.loads(delivery["answer"])
                    assert (counts["applied"], counts["duplicate"]) == (0, answered["applied"]), (
                        delivery["slug"],
                        answer,
                    )

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


async def test_every_kept_request_replayed_changes_nothing(stored_url: str) -> None:
    """No kept request is applied twice or moves a score when it is replayed, also after commands were undone."""
    await migrate(stored_url, now=SOON)
    deliveries = await rows(
        stored_url,
        "SELECT d.id, d.applied, d.duplicate, d.ignored, d.quarantined FROM raw_deliveries r"
        " JOIN deliveries d ON d.id = r.delivery_id ORDER BY d.id",
    )
    counts = Counter[str]()
    storage = await open_storage(stored_url, secret_keys=[KEY])
    try:
        workspace = await find_workspace("T0ACME")

        async def replay_all() -> None:
            before, facts = await rows(stored_url, SCORES), await rows(stored_url, FACTS)
            for delivery in deliveries:
                replayed = await replay(workspace, id=delivery["id"], by="U0ADMIN", now=SOON)
                done = {status.value: replayed.count(status) for status in Status}
                known = delivery["applied"] + delivery["duplicate"]
                assert done == {
                    "applied": 0, "duplicate": known, "ignored": delivery["ignored"],
                    "quarantined": delivery["quarantined"],
                }, delivery  # fmt: skip  # an item that was recorded is known, the others are as they were
                counts.update(done)
            assert (await rows(stored_url, SCORES), await rows(stored_url, FACTS)) == (before, facts)

        await replay_all()
        assert len(deliveries) > 20, deliveries
        commands = await rows(
            stored_url,
            "SELECT DISTINCT f.batch FROM facts f WHERE f.kind = 'change' AND f.source = 'slack' AND NOT EXISTS"
            " (SELECT 1 FROM facts u WHERE u.undoes = f.batch) ORDER BY f.batch",
        )
        for number, command in enumerate(commands[:5]):
            undo = Submission(
                source="slack", batch=f"undo/{number}", received_at=SOON, actor="U0REP", all_or_none=True,
                undoes=command["batch"],
            )  # fmt: skip  # one undo
            assert (await record(workspace, undo, now=SOON)).undone
        await replay_all()
    finally:
        await storage.close()
    report_counts("replayed", counts)
