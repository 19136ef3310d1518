"""Record changes and see what becomes of scores."""

from storage.domain.contacts import Reference
from storage.domain.facts import Item, Op
from storage.domain.submissions import Status, Submission
from storage.opening import Storage
from storage.past import history
from storage.scores import top
from storage.workspaces import add_workspace

NOW = 1_767_225_600_000_000


async def test_a_set_score_can_be_read(storage: Storage) -> None:
    """What is recorded is what is read."""
    workspace = await add_workspace("T1", name="One", now=NOW)
    item = Item(key="k", contact=Reference(email="ada@example.com"), score="score", op=Op.SET, amount=62_000)
    recorded = await storage.committer.record(
        Submission(workspace=workspace, source="crm", batch="b", received_at=NOW, items=[item]), now=NOW
    )
    assert [one.status for one in recorded.outcomes] == [Status.APPLIED]
    _score_type, cards = await top(workspace, score=None, count=5, now=NOW)
    assert [(c.contact.email, c.standings[0].value) for c in cards] == [("ada@example.com", 62_000)]
    recorded = await storage.committer.record(
        Submission(workspace=workspace, source="crm", batch="b2", received_at=NOW, items=[item]), now=NOW
    )
    assert [one.status for one in recorded.outcomes] == [Status.DUPLICATE]
    _, lines = await history(workspace, contact=cards[0].contact.id, score=None, most=10)
    assert len(lines) == 1
