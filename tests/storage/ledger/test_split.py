"""An id of a source can be split from a contact: it becomes a contact of its own with the facts that named it."""

import asyncio
import os
from collections import Counter
from dataclasses import replace
from itertools import combinations
from random import Random

import pytest

from storage.alerts.enroll import add_alert_rule, choose_channel
from storage.alerts.followups import list_waiting
from storage.bootstrap import Storage
from storage.db.database import current_database, read
from storage.domain.contacts import Reference
from storage.domain.errors import CannotSplit, Refusal
from storage.domain.facts import Deletion, Item, Merge, Op
from storage.domain.submissions import ItemOutcome, Recorded, Status
from storage.ledger.committer import Committer
from storage.ledger.former_keys import use_former_keys
from storage.ledger.split import preview_split, split_contact
from storage.ledger.verify import verify_next
from storage.reading.search import find
from storage.scoring.definitions import add_score_type
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.counts import report_counts
from tests.storage.teams import DAY, NOW, SECOND, Team, change, set_to

ADA, EVE = "ada@example.com", "eve@example.com"
APPLIED, DUPLICATE = ItemOutcome(status=Status.APPLIED), ItemOutcome(status=Status.DUPLICATE)
KEPT_APART = ItemOutcome(
    status=Status.APPLIED, reason="the address belongs to the contact that this id was split from; it was left out"
)
BOTH = Reference(email=ADA, source="crm", id="7")


def crm(id: str) -> Reference:
    """Return a reference by an id of the CRM."""
    return Reference(source="crm", id=id)


#: what the CRM sends: two ids with one address, and facts that name the address or either id
SENT = (
    set_to("a", Reference(email=ADA, source="crm", id="5"), 10, at=NOW - 90, fields={"name": "Ada", "email": ADA}),
    change("b", BOTH, Op.ADD, 20, at=NOW - 80, fields={"name": "Bob", "email": ADA}),
    change("c", ("crm", "7"), Op.ADD, 30, at=NOW - 70),
    change("d", ADA, Op.ADD, 4, at=NOW - 60),
    change("e", ("crm", "5"), Op.ADD, 2, at=NOW - 50),
)


async def split(team: Team, *, text: str = ADA, id: str = "7", batch: str = "s", at: int = SECOND) -> None:
    """Split an id of the CRM from a contact."""
    contact = await team.contact(text)
    await split_contact(team.workspace, contact=contact.id, id=crm(id), actor="U0REP", batch=batch, now=NOW + at)


async def whole(team: Team) -> None:
    """Fail if verification finds a difference."""
    assert (await verify_next(team.workspace)).differences == ()


async def values(team: Team, *texts: str) -> list[int | None]:
    """Return scores in whole points."""
    return [None if (value := await team.value(text)) is None else value // 1_000 for text in texts]


@on_both
async def test_the_facts_that_named_the_id_go_to_a_new_contact(team: Team) -> None:
    """Each contact has the score of its own facts, and what is sent again is known."""
    await team.deliver(*SENT)
    assert await values(team, ADA, "crm:7") == [66, 66]
    ada = await team.contact(ADA)

    preview = await preview_split(team.workspace, contact=ada.id, id=crm("7"), now=NOW + SECOND)
    assert (await team.contact("crm:7")).id == ada.id
    await split(team)

    bob = await team.contact("crm:7")
    assert (bob.name, bob.email, bob.ids, bob.typed) == ("Bob", None, {"crm": "7"}, "crm:7")
    assert ((await team.contact(ADA)).id, (await team.contact("crm:5")).name) == (ada.id, "Ada")
    assert await values(team, ADA, "crm:5", "crm:7") == [16, 16, 50]
    assert (preview.contact, preview.moved, preview.stayed, preview.stayed_of_source) == (ada.id, 2, 3, 3)
    assert [(moved.before, moved.after) for moved in preview.scores] == [(66_000, 16_000), (None, 50_000)]
    assert preview.scores[1].contact == preview.new_contact != ada.id
    await whole(team)
    again = await team.deliver(*SENT, batch="again", received=NOW + DAY)
    assert again.outcomes == (DUPLICATE,) * 5
    assert await values(team, ADA, "crm:7") == [16, 50]


@on_both
async def test_the_id_decides_where_an_item_also_names_the_address(team: Team) -> None:
    """Later items with the id and the address of the old contact are about the new contact, with a note."""
    await team.deliver(*SENT)
    await split(team)

    later = change("f", BOTH, Op.ADD, 1, at=NOW - 5, fields={"email": ADA, "company": "Acme"})
    first = await team.deliver(later, change("g", ADA, Op.ADD, 1, at=NOW - 4), batch="d2", received=NOW + DAY)
    again = await team.deliver(later, batch="d3", received=NOW + 2 * DAY)
    other = await team.deliver(change("h", Reference(email=EVE, source="crm", id="7"), Op.ADD, 1, at=NOW - 3))

    assert (first.outcomes, again.outcomes, other.outcomes) == ((KEPT_APART, APPLIED), (DUPLICATE,), (APPLIED,))
    assert await values(team, ADA, "crm:7", EVE) == [17, 52, 52]
    bob = await team.contact("crm:7")
    assert (bob.email, bob.company) == (None, "Acme")
    await whole(team)


@on_both
async def test_a_third_contact_joins_only_one_of_the_two(team: Team) -> None:
    """Items do not join the two contacts of a split by way of a third contact, also within one delivery."""
    await team.deliver(*SENT, set_to("x", EVE, 1, at=NOW - 40))
    await split(team)

    proofs = (
        change("y", Reference(email=EVE, source="crm", id="7"), Op.ADD, 1, at=NOW - 5),
        change("z", Reference(email=EVE, source="crm", id="5"), Op.ADD, 1, at=NOW - 4),
    )
    recorded = await team.deliver(*proofs, batch="d2")

    assert recorded.outcomes == (APPLIED, KEPT_APART)
    assert (await team.contact(EVE)).id == (await team.contact("crm:7")).id != (await team.contact(ADA)).id
    assert await values(team, ADA, EVE) == [17, 2]
    await whole(team)


@on_both
async def test_an_undo_joins_them_and_an_undo_of_that_splits_them_again(team: Team) -> None:
    """An undone split leaves nothing, and what is sent meanwhile goes to the right contact when it is restored."""
    await team.deliver(*SENT)
    before = await team.contact(ADA)
    await split(team)

    await team.undo("s", batch="u", received=NOW + 2 * SECOND)
    assert replace(await team.contact(ADA), updated_at=before.updated_at) == before
    assert (await team.contact("crm:7")).id == before.id
    assert await values(team, ADA, "crm:7") == [66, 66]
    await team.deliver(change("f", BOTH, Op.ADD, 1, at=NOW - 5), change("g", ADA, Op.ADD, 2, at=NOW - 4), batch="d2")
    assert await values(team, ADA) == [69]
    await whole(team)

    await team.undo("u", batch="uu", received=NOW + 3 * SECOND)
    assert await values(team, ADA, "crm:7") == [18, 51]
    assert (await team.deliver(*SENT, batch="again")).outcomes == (DUPLICATE,) * 5
    await whole(team)


@on_both
async def test_a_person_merges_the_two_again_and_takes_that_back(team: Team) -> None:
    """A merge after a split makes them one contact; its undo parts them, whatever was sent meanwhile."""
    await team.deliver(*SENT)
    await split(team)
    ada, bob = await team.contact(ADA), await team.contact("crm:7")

    await team.ask(Merge(key="m", contact=bob.id, into=ada.id), batch="m", received=NOW + 2 * SECOND)
    await team.deliver(change("f", BOTH, Op.ADD, 1, at=NOW - 5), batch="d2")
    assert await values(team, ADA, "crm:7") == [67, 67]
    await whole(team)

    await team.undo("m", batch="u", received=NOW + 3 * SECOND)
    assert await values(team, ADA, "crm:7") == [16, 51]
    await whole(team)


@on_both
async def test_what_a_person_says_of_the_id_goes_with_it(team: Team) -> None:
    """A contact that was looked up by an id is named by it; one that was found by its address or name is not."""
    await team.deliver(*SENT)
    for number, text in enumerate(("crm:7", ADA, "Bob")):
        contact = await team.contact(text)
        await team.ask(change(f"p{number}", contact.reference, Op.ADD, 2**number, at=None), batch=f"p{number}")
    await split(team)

    assert await values(team, ADA, "crm:7") == [16 + 2 + 4, 50 + 1]
    assert (await team.contact("crm:7")).reference == crm("7")
    await whole(team)


@on_both
@pytest.mark.parametrize("is_known", [True, False], ids=["moved", "stayed"])
async def test_what_was_recorded_before_the_split_is_known_in_every_form(team: Team, *, is_known: bool) -> None:
    """Repeats of facts that moved, and of facts of earlier versions that stayed, are known, also by a former key."""
    await team.deliver(*SENT)
    if not is_known:
        await current_database().writer.rows("UPDATE facts SET named_id = NULL")
    await split(team)

    assert await values(team, ADA, "crm:7") == ([16, 50] if is_known else [66, None])
    assert (await team.deliver(*SENT, batch="again", received=NOW + DAY)).outcomes == (DUPLICATE,) * 5
    renamed = [replace(item, key=f"{item.key}/new", former_keys=(item.key,)) for item in SENT]
    used = await use_former_keys(team.workspace, source="crm", items=renamed)
    assert [item.key for item in used] == [item.key for item in SENT]
    await whole(team)


@on_both
async def test_only_the_id_that_left_is_kept_apart(team: Team) -> None:
    """Another id that was split from the new contact may still prove to be the first contact."""
    other = Reference(email=EVE, source="crm", id="8")
    await team.deliver(*SENT)
    await split(team)
    await team.deliver(set_to("x", Reference(email=EVE, source="crm", id="7"), 1, at=NOW - 40), batch="d2")
    await team.deliver(change("y", other, Op.ADD, 3, at=NOW - 30), batch="d3")
    await split(team, text="crm:7", id="8", batch="s2", at=2 * SECOND)
    assert await values(team, "crm:7", "crm:8") == [1, 3]

    proof = change("z", Reference(email=ADA, source="crm", id="8"), Op.ADD, 1, at=NOW - 20)
    assert (await team.deliver(proof, batch="d4")).outcomes == (APPLIED,)

    assert await values(team, ADA, "crm:7", "crm:8") == [20, 1, 20]
    await whole(team)


@on_both
async def test_an_item_that_was_kept_apart_is_known_when_the_contacts_have_changed(team: Team) -> None:
    """A repeat is known by the id that it names, also if an undo ended the merge that kept its contacts apart."""
    await team.deliver(*SENT, set_to("x", ("crm", "4"), 1, at=NOW - 40))
    await split(team)
    ids = [(await team.contact(text)).id for text in ("crm:4", "crm:7")]
    await team.ask(Merge(key="m", contact=ids[0], into=ids[1]), batch="m", received=NOW + 2 * SECOND)
    item = change("y", Reference(email=ADA, source="crm", id="4"), Op.ADD, 1, at=NOW - 30)
    assert (await team.deliver(item, batch="d2")).outcomes == (KEPT_APART,)
    await team.undo("m", batch="u", received=NOW + 3 * SECOND)

    assert (await team.deliver(item, batch="d3")).outcomes == (DUPLICATE,)
    assert await values(team, ADA, "crm:4", "crm:7") == [16, 2, 50]
    await whole(team)


@on_both
async def test_an_id_leaves_a_merged_contact(team: Team) -> None:
    """The id of one part is split from the whole contact; undoing the merge then parts the rest."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 90), set_to("b", ("crm", "7"), 20, at=NOW - 80))
    await team.deliver(change("c", Reference(email=EVE, source="crm", id="7"), Op.ADD, 5, at=NOW - 70), batch="d2")
    await team.deliver(change("d", EVE, Op.ADD, 2, at=NOW - 60), batch="d3")
    ada, eve = await team.contact(ADA), await team.contact(EVE)
    await team.ask(Merge(key="m", contact=eve.id, into=ada.id), batch="m", received=NOW + SECOND)
    assert await values(team, ADA) == [27]

    await split(team, at=2 * SECOND)
    assert await values(team, ADA, EVE, "crm:7") == [12, 12, 25]
    assert (await team.contact("crm:7")).email is None
    await whole(team)

    await team.undo("m", batch="u", received=NOW + 3 * SECOND)
    assert await values(team, ADA, EVE, "crm:7") == [10, 2, 25]
    assert ((await team.contact(EVE)).email, (await team.contact(ADA)).email) == (EVE, ADA)
    await whole(team)

    await team.undo("s", batch="u2", received=NOW + 4 * SECOND)
    assert await values(team, ADA, EVE, "crm:7") == [10, 27, 27]
    await whole(team)


@on_both
@pytest.mark.parametrize(("gone", "left", "value"), [("crm:7", ADA, 16), (ADA, "crm:7", 50)])
async def test_either_contact_can_be_deleted(team: Team, gone: str, left: str, value: int) -> None:
    """Deleting one of the two leaves the other as it is, and erases the ids from the facts."""
    await team.deliver(*SENT)
    await split(team)
    contact = await team.contact(gone)
    await team.ask(Deletion(key="x", contact=contact.id), batch="x", received=NOW + 2 * SECOND)

    assert await find(team.workspace, text=gone) == []
    assert await values(team, left) == [value]
    await whole(team)
    again = await team.deliver(*SENT, batch="again", received=NOW + DAY)
    assert again.count(Status.APPLIED) == again.count(Status.QUARANTINED) == 0
    rows = await current_database().reader.rows("SELECT DISTINCT named_id FROM facts WHERE named_id IS NOT NULL")
    assert [row["named_id"] for row in rows] == (["crm:5"] if gone == "crm:7" else ["crm:7"])
    later = await team.deliver(change("f", BOTH, Op.ADD, 1, at=NOW + DAY), batch="d2", received=NOW + 2 * DAY)
    assert later.outcomes == (APPLIED,)
    await whole(team)


@on_both
async def test_a_split_asks_nobody_and_an_open_follow_up_stays(team: Team) -> None:
    """The follow-up of the old contact stays with it, and the new contact is asked about when it rises again."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("a", ADA, 85, at=NOW - 90))
    await team.deliver(set_to("b", BOTH, 90, at=NOW - 80), batch="d2")
    (open_one,) = await list_waiting(team.workspace, most=9)

    await split(team)
    assert [(waiting.id, waiting.contact) for waiting in await list_waiting(team.workspace, most=9)] == [
        (open_one.id, (await team.contact(ADA)).id)
    ]
    assert await values(team, ADA, "crm:7") == [85, 90]
    for number, value in enumerate((10, 95)):
        later = NOW + DAY + number
        await team.deliver(set_to(f"z{number}", ("crm", "7"), value, at=later), batch=f"z{number}", received=later)
    assert [waiting.contact for waiting in await list_waiting(team.workspace, most=9)] == [
        (await team.contact("crm:7")).id,
        open_one.contact,
    ]


@on_both
async def test_a_split_fires_no_rule_about_movement(team: Team) -> None:
    """A score that only seems to have risen because of a split asks nobody."""
    words = "when score rises 15 in 1d in <#C0SALES>"
    await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW - 9 * DAY)
    await team.deliver(
        set_to("a", ADA, 10, at=NOW - 4 * DAY),
        change("b", BOTH, Op.ADD, 90, at=NOW - 3 * DAY),
        change("c", ADA, Op.ADD, 30, at=NOW - SECOND),
    )

    await split(team)

    assert await values(team, ADA, "crm:7") == [40, 90]
    assert await list_waiting(team.workspace, most=9) == []


@on_both
async def test_the_address_stays_shown_where_only_the_moved_facts_stated_it(team: Team) -> None:
    """A contact that was known by the id first shows its address after the id is gone, also if the id has two forms."""
    long = Reference(email=ADA, source="crm", id="003A000000abcdeIAA")
    await team.deliver(
        set_to("a", crm("003A000000abcde"), 10, at=NOW - 90),
        set_to("b", long, 20, at=NOW - 80, fields={"email": ADA}),
    )
    former = "UPDATE identities SET value = '003A000000abcde' WHERE value = '003A000000abcdeIAA'"
    await current_database().writer.rows(former)
    former = "UPDATE facts SET named_id = 'crm:003A000000abcde' WHERE dedupe_key = 'a'"
    await current_database().writer.rows(former)

    await split(team, id="003A000000abcde")

    assert ((await team.contact(ADA)).email, (await team.contact("crm:003A000000abcde")).email) == (ADA, None)
    assert await values(team, ADA, "crm:003A000000abcdeIAA") == [None, 20]
    await whole(team)


@on_both
async def test_a_delivery_that_is_recorded_beside_the_split_finds_the_new_contact(team: Team) -> None:
    """Deliveries of another process that name the id while it is split count for one of the contacts, as sent."""
    await team.deliver(*SENT)
    ada = await team.contact(ADA)
    other = Team(team.workspace, Committer(current_database()))
    items = [change(f"f{number}", BOTH if number % 2 else crm("7"), Op.ADD, 1, at=NOW - 9) for number in range(8)]

    await asyncio.gather(
        *(other.deliver(item, batch=f"d{number}") for number, item in enumerate(items[:4])),
        split_contact(team.workspace, contact=ada.id, id=crm("7"), actor="U0REP", batch="s", now=NOW),
        *(other.deliver(item, batch=f"e{number}") for number, item in enumerate(items[4:])),
    )

    assert await values(team, ADA, "crm:7") == [16, 58]
    await whole(team)


@on_both
async def test_a_split_that_cannot_be(team: Team) -> None:
    """A split is refused with a sentence if there is nothing to split, and nothing is recorded."""
    await team.deliver(*SENT, set_to("x", ("crm", "9"), 1, at=NOW - 5))
    ada, other = await team.contact(ADA), await team.contact("crm:9")

    async def refusal(contact: int, id: Reference) -> str:
        with pytest.raises(Refusal) as refused:
            await preview_split(team.workspace, contact=contact, id=id, now=NOW)
        return f"{type(refused.value).__name__}: {refused.value}"

    assert await refusal(ada.id, crm("9")) == "CannotSplit: `crm:9` is an id of another contact"
    assert await refusal(ada.id, crm("8")) == "CannotSplit: no contact has the id `crm:8`"
    assert await refusal(other.id, crm("9")) == (
        "CannotSplit: `crm:9` is all that identifies this contact: there is nothing to split off"
    )
    assert await refusal(10_000, crm("7")) == "UnknownContact: There is no such contact."
    assert await refusal(ada.id, Reference(email=ADA)) == "CannotSplit: no contact has the id `:ada@example.com`"
    assert len(await find(team.workspace, text="a", most=9)) == 1
    await whole(team)


ADDRESSES = (ADA, EVE, "max@example.com")
IDS = ("1", "2", "3", "4")
LIVES, ACTS = int(os.environ.get("LIVES", "5")), 29


class Model:
    """What must be known after pushes, merges, splits and undos, by the plainest reading of the rules."""

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}  #: address or id → row
        self.facts: list[tuple[int, str | None, int, str]] = []  #: (row, id that it named, amount, batch)
        self.links: list[tuple[int, int, str]] = []
        self.splits: list[tuple[int, int, str]] = []
        self.rows_of: dict[str, list[int]] = {}  #: id → the rows that it had, in order
        self.undone: set[str] = set()
        self.rows = 0

    def groups(self) -> dict[int, int]:
        """Return each row's contact: the smallest of the rows that belong together."""
        together = [link[:2] for link in self.links if link[2] not in self.undone]
        together += [pair[:2] for pair in self.splits if pair[2] in self.undone]
        contact_of = {row: row for row in range(1, self.rows + 1)}
        for _ in range(self.rows):
            for left, right in together:
                contact_of[left] = contact_of[right] = min(contact_of[left], contact_of[right])
        return contact_of

    def push(self, address: str | None, id: str | None, amount: int, batch: str) -> None:
        """Add a fact about the contact that an address, an id or both name."""
        names = [name for name in (address, id) if name is not None]
        rows = {self.row_of[name] for name in names if name in self.row_of}
        if not rows:
            self.rows += 1
            rows = {self.rows}
        contact_of = self.groups()
        parted = [
            {contact_of[one], contact_of[other]}
            for rows_of in self.rows_of.values()
            for one, other in combinations(rows_of, 2)
        ]
        if len(rows) == 2 and {contact_of[row] for row in rows} in parted:
            assert id is not None
            rows = {self.row_of[id]}
        self.row_of |= {name: min(rows) for name in names if name not in self.row_of}
        if len(rows) == 2:
            self.links.append((min(rows), max(rows), batch))
        self.facts.append((min(rows), id, amount, batch))

    def merge(self, name: str, into: str, batch: str) -> None:
        """Make the contacts of two names one contact."""
        contact_of = self.groups()
        self.links.append((contact_of[self.row_of[name]], contact_of[self.row_of[into]], batch))

    def can_split(self, name: str, id: str) -> bool:
        """Return whether an id belongs to the contact of a name and something else identifies that contact."""
        contact_of = self.groups()
        own = [other for other in self.row_of if contact_of[self.row_of[other]] == contact_of[self.row_of[name]]]
        return id in own and len(own) > 1

    def split(self, id: str, batch: str) -> None:
        """Move an id to a new contact, with the facts of its contact that named it."""
        contact_of, row = self.groups(), self.row_of[id]
        self.rows += 1
        self.splits.append((row, self.rows, batch))
        self.rows_of.setdefault(id, [row]).append(self.rows)
        self.row_of[id] = self.rows
        self.facts = [
            (self.rows if contact_of[fact[0]] == contact_of[row] and fact[1] == id else fact[0], *fact[1:])
            for fact in self.facts
        ]

    def value(self, name: str) -> int:
        """Return the score of the contact of a name: the sum of its facts that are not undone."""
        contact_of = self.groups()
        own = [
            amount
            for row, _, amount, batch in self.facts
            if contact_of[row] == contact_of[self.row_of[name]] and batch not in self.undone
        ]
        return sum(own)


async def live(team: Team, dice: Random, counts: Counter[str]) -> None:
    """Play random acts, and compare everything with the model after each of them."""
    model, sent, commands = Model(), list[tuple[str, Item, bool]](), list[tuple[str, str]]()
    for number in range(ACTS):
        batch, at = f"b{number}", NOW + number * SECOND
        known = sorted(model.row_of)
        act = dice.choices(("push", "merge", "undo", "split", "again"), (8, 2, 4, 4, 2))[0] if sent else "push"
        counts[act] += 1
        if act == "push":
            address, id = dice.choice([*ADDRESSES, None]), dice.choice([*IDS, None])
            address = address or (None if id else ADA)
            reference = Reference(email=address, source="crm", id=id) if id else Reference(email=address)
            is_person = dice.random() < 0.4
            sent_at = None if is_person else NOW - dice.randrange(3)
            item = change(batch, reference, Op.ADD, 2**number, score="sum", at=sent_at)
            await _send(team, batch, item, is_person=is_person, at=at)
            sent.append((batch, item, is_person))
            commands += [(batch, batch)] if is_person else []
            model.push(address, id and f"crm:{id}", 2**number, batch)
        elif act == "merge":
            name, into = dice.choice(known), dice.choice(known)
            contact_ids, _ = await _load(team)
            rows = [contact_ids[text] for text in (name, into)]
            await team.ask(Merge(key=batch, contact=rows[0], into=rows[1]), batch=batch, received=at)
            if rows[0] != rows[1]:
                model.merge(name, into, batch)
                commands.append((batch, batch))
        elif act == "undo" and commands:
            place = dice.randrange(len(commands))
            command, latest = commands[place]
            await team.undo(latest, batch=batch, received=at)
            commands[place] = (command, batch)
            model.undone ^= {command}
        elif act == "split":
            name, id = dice.choice(known), dice.choice(IDS)
            contact = (await _load(team))[0][name]
            request = split_contact(team.workspace, contact=contact, id=crm(id), actor="U0REP", batch=batch, now=at)
            if model.can_split(name, f"crm:{id}"):
                await request
                model.split(f"crm:{id}", batch)
                commands.append((batch, batch))
                counts["splits made"] += 1
            else:
                with pytest.raises(CannotSplit):
                    await request
        elif act == "again":
            again = await _send(team, *(choice := dice.choice(sent))[:2], is_person=choice[2], at=at)
            assert again.outcomes == (DUPLICATE,)
        contact_of, (contact_ids, scores) = model.groups(), await _load(team)
        pairs = {(contact_ids[name], contact_of[row]) for name, row in model.row_of.items()}
        assert len(pairs) == len({id for id, _ in pairs}) == len({row for _, row in pairs}), (number, act)
        for name, contact in contact_ids.items():
            assert scores.get(contact, 0) == model.value(name) * 1_000, (number, act, name)
    assert (await verify_next(team.workspace)).differences == ()
    for batch, item, is_person in sent:
        assert (await _send(team, batch, item, is_person=is_person, at=NOW + DAY)).outcomes == (DUPLICATE,)


async def _load(team: Team) -> tuple[dict[str, int], dict[int, int]]:
    """Return the contact of each address and id, and the scores of contacts in thousandths."""
    owners = await read(
        "SELECT i.namespace, i.value, coalesce(c.merged_into, c.id) AS id FROM identities i"
        " JOIN contacts c ON c.id = i.contact_id WHERE i.workspace_id = $1",
        team.workspace.id,
    )
    scores = await read(
        "SELECT contact_id, rank FROM scores WHERE workspace_id = $1 AND rank IS NOT NULL", team.workspace.id
    )
    names = {f"{row['namespace']}:{row['value']}".removeprefix(":"): row["id"] for row in owners}
    return names, {row["contact_id"]: row["rank"] for row in scores}


async def _send(team: Team, batch: str, item: Item, *, is_person: bool, at: int) -> Recorded:
    return await (team.ask if is_person else team.deliver)(item, batch=batch, received=at)


@on_both
@pytest.mark.slow
async def test_every_fact_is_with_the_contact_that_it_named(storage: Storage) -> None:
    """After random pushes, merges, splits and undos, each contact has the facts that the model gives it."""
    counts = Counter[str]()
    for seed in range(LIVES):
        team = Team(await add_workspace(f"T{seed}", name="Acme", by="U0ADMIN", now=NOW))
        await add_score_type(
            team.workspace, key="sum", label="Sum", minimum=0, maximum=10**12, step=1_000, start=0, bands=(),
            is_default=False, by="U0ADMIN", now=NOW,
        )  # fmt: skip  # one definition
        await live(team, Random(seed), counts)
    report_counts("splits", counts)
    assert counts["splits made"] > LIVES
