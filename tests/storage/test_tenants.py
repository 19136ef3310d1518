"""Two workspaces with the same names for everything neither show nor change anything of each other."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from tortoise.exceptions import IntegrityError

from storage.alerts.digests import set_digest
from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.bootstrap import Storage
from storage.db import database
from storage.db.errors import is_reference_error
from storage.db.tables import TableInfo, list_tables
from storage.domain.contacts import Reference
from storage.domain.errors import (
    NothingToUndo,
    UnknownContact,
    UnknownDelivery,
    UnknownScoreType,
    UnknownSource,
    UnknownWorkspace,
)
from storage.domain.facts import Deletion, Merge, Op, Unusable
from storage.domain.score_types import Band
from storage.domain.sources import Source
from storage.domain.submissions import Delivered, ItemOutcome, Status
from storage.ledger.batches import find_last_command
from storage.ledger.contacts import contacts
from storage.ledger.identities import list_identities
from storage.reading.current_scores import card, cards_of, last_touched, top, values_then
from storage.reading.history import history, load_timeline
from storage.reading.search import find, find_similar
from storage.reading.segments import save_segment
from storage.remove_workspace import remove_workspace
from storage.scoring.definitions import add_score_type, score_types
from storage.sources.config import add_source, find_source, sources
from storage.sources.deliveries import count_refusal, deliveries, delivery, list_refusals
from storage.tokens import create_token
from storage.workspaces import add_workspace, find_workspace
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, change, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"


@dataclass(frozen=True, slots=True)
class House:
    """A team that has everything in common with another team except the numbers."""

    team: Team
    source: Source
    number: int

    async def fill(self) -> None:
        """Record what both teams record, with the numbers and words of this team."""
        n, delivered = self.number, Delivered(source=self.source.id, key="d1")
        await asyncio.gather(
            self.team.deliver(
                set_to("k1", Reference(email=ADA, source="crm", id="17"), n, at=NOW - 9, fields={"name": f"Ada {n}"}),
                field_item("k2", BOB, at=NOW - 8, name="Bob", company=f"Company {n}"),
                change("k3", BOB, Op.ADD, n * 10, at=NOW - 7, score="fit"),
                Unusable(key="k4", reason=f"no good in {n}", raw=f'{{"of":{n}}}'),
                batch="crm/d1",
                delivered=delivered,
            ),
            self.team.ask(set_to("p1", BOB, n + 50), batch="slack/p1", actor="U1", received=NOW + 1),
            self.team.ask(set_to("p2", BOB, n + 60), batch="slack/p2", actor="U1", received=NOW + 2),
            count_refusal(self.team.workspace, source=self.source.id, reason=f"r{n}", hint=f"h{n}", now=NOW + n),
        )


@pytest.fixture
async def houses(storage: Storage) -> tuple[House, House]:
    """Create two teams with the same types, sources, contacts, keys and batches, filled at the same time."""
    houses = []
    for number in (1, 2):
        workspace = await add_workspace(f"T{number}", name="Acme", by="U0ADMIN", now=NOW)
        await add_score_type(
            workspace, key="fit", label=f"Fit {number}", minimum=0, maximum=100_000, step=1_000,
            bands=[Band(name="low", start=0)], start=None, is_default=number == 2, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # one definition
        source = await add_source(
            workspace, slug="crm", provider="generic", secrets=[f"whsec_{number}"], by="U0ADMIN", now=NOW
        )
        houses.append(House(Team(workspace), source, number))
    first, two = houses
    await asyncio.gather(first.fill(), two.fill())
    return first, two


async def view(house: House) -> dict[str, object]:
    """Return everything that a workspace shows."""
    workspace = house.team.workspace
    ada, bob = await house.team.contact(ADA), await house.team.contact(BOB)
    _, best = await top(workspace, score="score", count=10, now=NOW)
    _, lines = await history(workspace, contact=bob.id, score="score", most=10)
    contact_card = await card(workspace, contact=bob.id, now=NOW)
    assert contact_card is not None
    sent = await deliveries(workspace, source=None, most=10)
    return {
        "ada": (ada.name, ada.email, dict(ada.ids)),
        "bob": (bob.name, bob.company),
        "standings": [
            (standing.score_type.key, standing.value, standing.source, standing.actor)
            for standing in contact_card.standings
        ],
        "top": [(card.contact.email, card.standings[0].value) for card in best],
        "history": [(line.amount, line.value, line.actor, line.undone) for line in lines],
        "found": [len(await find(workspace, text=text)) for text in (ADA, "bob", "crm:17", "company", "example")],
        "nearest": [contact.email for contact in await find_similar(workspace, text="bobb")],
        "types": [
            (score_type.key, score_type.label, score_type.is_default) for score_type in await score_types(workspace)
        ],
        "sources": [(source.slug, source.secrets, source.workspace.team) for source in await sources(workspace)],
        "refused": [
            (refusal.source, refusal.count, refusal.reason, refusal.hint) for refusal in await list_refusals(workspace)
        ],
        "deliveries": [
            (delivery_.key, delivery_.source, delivery_.applied, delivery_.quarantined) for delivery_ in sent
        ],
        "quarantine": [await house.team.set_aside(delivery_.id) for delivery_ in sent],
        "last command": await find_last_command(workspace, actor="U1"),
    }


def expected(n: int, *, bob: list[tuple[int, int | None, str, bool]] | None = None, last: str = "slack/p2") -> object:
    """Return what the workspace with this number must show."""
    lines = bob or [
        ((n + 60) * 1_000, (n + 60) * 1_000, "U1", False),
        ((n + 50) * 1_000, (n + 50) * 1_000, "U1", False),
    ]
    best = next(value for _, value, _, undone in lines if not undone)
    score, fit = ("score", best, "slack", "U1"), ("fit", n * 10_000, "crm", None)
    types = [("score", "Score", n == 1), ("fit", f"Fit {n}", n == 2)]
    return {
        "ada": (f"Ada {n}", ADA, {"crm": "17"}),
        "bob": ("Bob", f"Company {n}"),
        "standings": [score, fit][:: 1 if n == 1 else -1],
        "top": [(BOB, best if n == 1 else n * 10_000), (ADA, n * 1_000)],
        "history": lines,
        "found": [1, 1, 1, 1, 2],
        "nearest": [BOB],
        "types": types[:: 1 if n == 1 else -1],
        "sources": [("crm", (f"whsec_{n}",), f"T{n}")],
        "refused": [("crm", 1, f"r{n}", f"h{n}")],
        "deliveries": [("d1", "crm", 3, 1)],
        "quarantine": [[(3, "k4", f"no good in {n}", f'{{"of":{n}}}')]],
        "last command": last,
    }


async def test_each_workspace_shows_its_own_and_nothing_else(houses: tuple[House, House]) -> None:
    """Each reading function returns the data of its workspace only, although both were filled in the same commits."""
    assert [await view(house) for house in houses] == [expected(1), expected(2)]


async def test_an_undo_bears_on_one_workspace(houses: tuple[House, House]) -> None:
    """An undo affects the batch of its own workspace, not the batch of the same name in the other."""
    first, two = houses
    await first.team.undo("slack/p2", batch="slack/u", received=NOW + 9)

    undone = [(61_000, None, "U1", True), (51_000, 51_000, "U1", False)]
    assert await view(first) == expected(1, bob=undone, last="slack/p1")
    assert await view(two) == expected(2)


async def test_an_undone_batch_of_a_neighbour_in_the_same_commit(houses: tuple[House, House]) -> None:
    """A batch that is undone in one workspace counts in the other, even if one commit folds both."""
    first, two = houses
    await first.team.undo("slack/p2", batch="slack/u", received=NOW + 9)
    late = set_to("k9", BOB, 5, at=NOW - 20)

    await asyncio.gather(*(house.team.deliver(late, batch="crm/d2", received=NOW + SECOND) for house in houses))

    assert (await first.team.value(BOB), await two.team.value(BOB)) == (51_000, 62_000)
    assert [line.undone for line in await two.team.lines(BOB)] == [False, False, False]


async def test_an_undo_of_an_undo_stays_at_home(houses: tuple[House, House]) -> None:
    """An undo of an undo affects only its own workspace."""
    first, two = houses
    await asyncio.gather(*(house.team.undo("slack/p2", batch="slack/u", received=NOW + 9) for house in houses))
    await two.team.undo("slack/u", batch="slack/v", received=NOW + 10)

    assert (await first.team.value(BOB), await two.team.value(BOB)) == (51_000, 62_000)


async def test_a_batch_of_the_other_workspace_cannot_be_undone(houses: tuple[House, House]) -> None:
    """A batch that exists only in the other workspace cannot be undone."""
    first, two = houses
    await first.team.ask(set_to("p3", BOB, 9), batch="slack/only-here", actor="U1", received=NOW + 3)

    with pytest.raises(NothingToUndo):
        await two.team.undo("slack/only-here", batch="slack/u", received=NOW + 9)

    assert await find_last_command(first.team.workspace, actor="U1") == "slack/only-here"
    assert await find_last_command(two.team.workspace, actor="U1") == "slack/p2"
    assert await first.team.value(BOB) == 9_000


async def test_a_contact_of_the_other_workspace_is_unknown(houses: tuple[House, House]) -> None:
    """The row id of the other workspace's contact finds, changes and shows nothing."""
    first, two = houses
    other_bob = (await two.team.contact(BOB)).id
    workspace = first.team.workspace

    assert await card(workspace, contact=other_bob, now=NOW) is None
    assert await cards_of(workspace, ids=[other_bob], now=NOW) == []
    assert await contacts(workspace, ids=[other_bob]) == []
    assert (await history(workspace, contact=other_bob, score=None, most=10))[1] == []
    followed = await load_timeline(workspace, contact=other_bob, score=None, most=10, since=0, now=NOW)
    assert (followed.points, followed.causes) == (((0, None),), ())
    assert await list_identities(workspace, contact=other_bob) == []
    assert await last_touched(workspace, contacts=[other_bob]) == {}
    then = await values_then(workspace, contacts=[other_bob], windows=[("score", 1)], now=NOW + 9)
    assert then == {(other_bob, "score", 1): None}
    with pytest.raises(UnknownContact):
        await first.team.ask(set_to("p9", other_bob, 9), batch="slack/p9", received=NOW + 9)
    recorded = await first.team.deliver(
        set_to("k9", other_bob, 9), field_item("k8", other_bob, name="Eve"), batch="crm/d9"
    )
    assert recorded.outcomes == (ItemOutcome(status=Status.QUARANTINED, reason="There is no such contact."),) * 2
    assert [await view(house) for house in houses] == [expected(1), expected(2)]


async def test_a_crowd_next_door_is_in_nobody_s_way(houses: tuple[House, House]) -> None:
    """The many contacts of the other workspace do not fill the limit of a result here."""
    first, two = houses
    await two.team.deliver(*(field_item(f"c{n:03d}", f"b{n}@example.com", name=f"Bob {n:03d}") for n in range(600)))
    workspace = first.team.workspace

    assert [contact.email for contact in await find(workspace, text="bob")] == [BOB]
    assert [contact.email for contact in await find_similar(workspace, text="bobb")] == [BOB]
    assert [card_.contact.email for card_ in (await top(workspace, score="score", count=1, now=NOW))[1]] == [BOB]


async def test_sources_and_deliveries_of_the_other_workspace_are_unknown(houses: tuple[House, House]) -> None:
    """Sources and deliveries of the other workspace are unknown, by row id and by name."""
    first, two = houses
    (other_delivery,) = await deliveries(two.team.workspace, source="crm", most=10)
    await add_source(two.team.workspace, slug="only-there", provider="generic", secrets=[], by="U0ADMIN", now=NOW)
    workspace = first.team.workspace

    with pytest.raises(UnknownDelivery):
        await delivery(workspace, id=other_delivery.id)
    with pytest.raises(UnknownSource):
        await find_source("T1", slug="only-there")
    assert await deliveries(workspace, source="only-there", most=10) == []
    assert (await find_source("T1", slug="crm")).secrets == ("whsec_1",)
    await count_refusal(workspace, source=two.source.id, reason="forged", hint="", now=NOW)
    assert [(refusal.count, refusal.reason) for refusal in await list_refusals(two.team.workspace)] == [(1, "r2")]
    assert [(refusal.count, refusal.reason) for refusal in await list_refusals(workspace)] == [(1, "r1")]


async def test_a_score_type_of_the_other_workspace_is_unknown(houses: tuple[House, House]) -> None:
    """A score type of the other workspace is unknown in every function."""
    first, two = houses
    await add_score_type(
        two.team.workspace, key="renewal", label="Renewal", minimum=0, maximum=10_000, step=1_000,
        bands=[], start=None, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    bob = await first.team.contact(BOB)

    for reading in (
        top(first.team.workspace, score="renewal", count=3, now=NOW),
        history(first.team.workspace, contact=bob.id, score="renewal", most=3),
        load_timeline(first.team.workspace, contact=bob.id, score="renewal", most=3, since=0, now=NOW),
    ):
        with pytest.raises(UnknownScoreType) as refusal:
            await reading
        assert str(refusal.value) == "there is no score type `renewal`; existing: score, fit"
    both = await asyncio.gather(
        *(house.team.deliver(set_to("k9", BOB, 5, at=NOW, score="renewal"), batch="crm/d9") for house in houses)
    )
    assert [answer.outcomes[0].status for answer in both] == [Status.QUARANTINED, Status.APPLIED]


async def test_a_removed_workspace_leaves_no_row_and_the_other_stays(
    houses: tuple[House, House], database_url: str
) -> None:
    """Everything of one workspace is deleted, whatever refers to what; nothing of the other is."""
    first, two = houses
    workspace = first.team.workspace
    await choose_channel(workspace, channel="C1", by="U0ADMIN", now=NOW)
    await add_alert_rule(workspace, words="score crosses 60", made_by="U0ADMIN", owners={}, now=NOW)
    await first.team.deliver(set_to("k9", BOB, 90), received=NOW + SECOND)
    await first.team.ask(Merge(key="m", contact=Reference(email=ADA), into=Reference(email=BOB)), batch="slack/m")
    await create_token(workspace, name="script", scopes=["read"], by="U0ADMIN", now=NOW)
    await save_segment(workspace, name="hot", text="score>=80", by="U0ADMIN", now=NOW)
    await set_digest(workspace, place="C1", zone="UTC", minute=540, made_by="U0ADMIN", now=NOW)
    await first.team.ask(Deletion(key="x", contact=Reference(email=ADA)), batch="slack/x")
    tables = [table for table in list_tables() if table.name != "jobs"]
    before, shown = await view(two), await count_rows(database_url, tables, two)
    assert sum(await count_rows(database_url, tables, first)) > 20
    numbers: list[int] = []

    await remove_workspace(workspace, progress=numbers.append)

    assert set(await count_rows(database_url, tables, first)) == {0}
    assert numbers == sorted(numbers)
    assert (await view(two), await count_rows(database_url, tables, two)) == (before, shown)
    with pytest.raises(UnknownWorkspace):
        await find_workspace("T1")
    await remove_workspace(two.team.workspace)
    for table in list_tables():
        assert await raw.rows(database_url, count_all(table)) == [{"number": 0}]


async def test_a_row_that_others_refer_to_is_told_from_other_errors(houses: tuple[House, House]) -> None:
    """The error of a contact that facts refer to is recognized, on both databases; another error is not."""
    workspace = houses[0].team.workspace
    with pytest.raises(IntegrityError) as refused:
        await database.change("DELETE FROM contacts WHERE workspace_id = $1", workspace.id)
    assert is_reference_error(refused.value)
    with pytest.raises(IntegrityError) as refused:
        await database.change("UPDATE workspaces SET team = 'T1'")
    assert not is_reference_error(refused.value)


def count_all(table: TableInfo) -> str:
    """Return a statement that counts the rows of a table."""
    return f"SELECT count(*) AS number FROM {table.name}"


async def count_rows(database_url: str, tables: Sequence[TableInfo], house: House) -> list[int]:
    """Return the number of rows that a workspace has in each table."""
    counts = []
    for table in tables:
        sql = f"{count_all(table)} WHERE {table.of_workspace}"
        (row,) = await raw.rows(database_url, sql, house.team.workspace.id)
        counts.append(int(str(row["number"])))
    return counts
