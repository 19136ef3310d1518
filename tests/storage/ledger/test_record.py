"""Recorded changes can be read as scores, and unusable items are quarantined or refused."""

import pytest

from storage.bootstrap import Storage
from storage.domain.contacts import Reference
from storage.domain.errors import BadText
from storage.domain.facts import Deletion, Item, Merge, Op
from storage.domain.submissions import Delivered, Status, Submission, refusal_reason
from storage.ledger.committer import record
from storage.ledger.verify import verify_next
from storage.reading.current_scores import top
from storage.reading.history import history
from storage.scoring.definitions import score_types
from storage.sources.config import add_source
from storage.workspaces import add_workspace
from tests.storage.teams import DAY, NOW, Team, field_item, set_to


async def test_a_set_score_can_be_read(storage: Storage) -> None:
    """A score that was set is read back."""
    workspace = await add_workspace("T1", name="One", by="U0ADMIN", now=NOW)
    item = Item(key="k", contact=Reference(email="ada@example.com"), score="score", op=Op.SET, amount=62_000)
    recorded = await record(workspace, Submission(source="crm", batch="b", received_at=NOW, items=[item]), now=NOW)
    assert [outcome.status for outcome in recorded.outcomes] == [Status.APPLIED]
    _score_type, cards = await top(workspace, score=None, count=5, now=NOW)
    assert [(card_.contact.email, card_.standings[0].value) for card_ in cards] == [("ada@example.com", 62_000)]
    recorded = await record(workspace, Submission(source="crm", batch="b2", received_at=NOW, items=[item]), now=NOW)
    assert [outcome.status for outcome in recorded.outcomes] == [Status.DUPLICATE]
    _, lines = await history(workspace, contact=cards[0].contact.id, score=None, most=10)
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (set_to("k", "ada@example.com", 100), None),
        (set_to("k", "ada@example.com", 110), "Score runs from 0 to 100; 110 is outside it"),
        (set_to("k", "ada", 110), "`ada` is not an e-mail address"),
        (set_to("k", "ada", 50), "`ada` is not an e-mail address"),
        (set_to("k", Reference(source="crm"), 50), "the item names no contact: give an e-mail address or an id"),
        (set_to("k", "ada@example.com", 50, at=NOW + DAY + 1), "sent from the future: check the sender's clock"),
        (Merge(key="k", contact=Reference(email="ada@example.com"), into=Reference(email="bob")),
         "`bob` is not an e-mail address"),
        (field_item("k", "ada@example.com", **{f"attributes.a{n}": n for n in range(200)}), None),
        (field_item("k", "ada@example.com", **{f"attributes.a{n}": n for n in range(201)}),
         "the item has 201 attributes, and a contact has at most 200"),
    ],
)  # fmt: skip  # items and the reasons for which they are quarantined
async def test_what_is_set_aside_can_be_told_before(storage: Storage, item: Item | Merge, reason: str | None) -> None:
    """A check without recording returns the same reasons for quarantine as the ledger."""
    workspace = await add_workspace("T1", name="One", by="U0ADMIN", now=NOW)
    types = {score_type.key: score_type for score_type in await score_types(workspace)}
    assert refusal_reason(item, types, received=NOW) == reason
    (outcome,) = (await Team(workspace).deliver(item)).outcomes
    assert outcome.reason == reason
    assert outcome.status is (Status.QUARANTINED if reason else Status.APPLIED)


@pytest.mark.parametrize(("broken", "flaw"), [("a\0", "the character NUL"), ("a\ud83d", "half of a character")])
async def test_no_text_that_cannot_be_kept_is_recorded(team: Team, broken: str, flaw: str) -> None:
    """An item with text that cannot be stored is quarantined, or refused if a person sent it; other items apply."""
    ada = "ada@example.com"
    reference = Reference(email=ada)
    items: dict[str, Item | Merge | Deletion] = {
        "its id": set_to(broken, ada, 5),
        "what names its contact": set_to("k1", f"{broken}@example.com", 5),
        "what names its contact ": set_to("k2", ("crm", broken), 5),
        "its reason": set_to("k3", ada, 5, reason=broken),
        "its activity": Item(key="k4", contact=reference, activity=broken),
        "its `name`": field_item("k5", ada, name=broken),
        "its `tags`": field_item("k6", ada, tags=["a", broken]),
        "its `attributes.a`": Item(key="k7", contact=reference, fields={"attributes.a": {"b": [{"c": broken}]}}),
        "its `attributes.a` ": Item(key="k8", contact=reference, fields={"attributes.a": {broken: 1}}),
        "the name of an attribute": Item(key="k9", contact=reference, fields={f"attributes.{broken}": 1}),
        "what names its contact  ": Merge(key="k", contact=reference, into=Reference(email=broken)),
        "what names its contact   ": Deletion(key="k", contact=Reference(source="crm", id=broken)),
    }
    crm = await add_source(team.workspace, slug="crm", provider="generic", secrets=["s"], by="U0ADMIN", now=NOW)
    answer = await team.deliver(*items.values(), set_to("good", ada, 7), delivered=Delivered(source=crm.id, key="d1"))
    for number, item in enumerate(items.values()):
        with pytest.raises(BadText):
            await team.ask(item, batch=f"ask{number}")

    assert [outcome.reason and outcome.reason.split(" (")[0].split(":")[0] for outcome in answer.outcomes] == [
        *(f"{name.strip()} holds {flaw}" for name in items), None,
    ]  # fmt: skip  # of each item
    assert await team.value(ada) == 7_000
    assert (await verify_next(team.workspace)).differences == ()
