"""Record changes and see what becomes of scores."""

import pytest

from storage.definitions import score_types
from storage.domain.contacts import Reference
from storage.domain.facts import Item, Merge, Op
from storage.domain.submissions import Status, Submission, refused
from storage.opening import Storage
from storage.past import history
from storage.scores import top
from storage.workspaces import add_workspace
from tests.storage.teams import DAY, NOW, Team, said, set_to


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


@pytest.mark.parametrize(
    ("item", "because"),
    [
        (set_to("k", "ada@example.com", 100), None),
        (set_to("k", "ada@example.com", 110), "Score runs from 0 to 100; 110 is outside it"),
        (set_to("k", "ada", 110), "Score runs from 0 to 100; 110 is outside it"),
        (set_to("k", "ada", 50), "`ada` is not an e-mail address"),
        (set_to("k", Reference(source="crm"), 50), "the item names nobody: give an address, or an id"),
        (set_to("k", "ada@example.com", 50, at=NOW + DAY + 1), "sent from the future: check the sender's clock"),
        (Merge(key="k", contact=Reference(email="ada@example.com"), into=Reference(email="bob")),
         "`bob` is not an e-mail address"),
        (said("k", "ada@example.com", **{f"attributes.a{n}": n for n in range(200)}), None),
        (said("k", "ada@example.com", **{f"attributes.a{n}": n for n in range(201)}),
         "the item has 201 attributes, and a contact has at most 200"),
    ],
)  # fmt: skip  # what is handed in, and why it is set aside
async def test_what_is_set_aside_can_be_told_before(storage: Storage, item: Item | Merge, because: str | None) -> None:
    """Whoever only tries what a source sends is told what the ledger would say, and in its words."""
    workspace = await add_workspace("T1", name="One", now=NOW)
    types = {one.key: one for one in await score_types(workspace)}
    assert refused(item, types, received=NOW) == because
    (told,) = (await Team(workspace, storage.committer).deliver(item)).outcomes
    assert told.reason == because
    assert told.status is (Status.QUARANTINED if because else Status.APPLIED)
