"""Two contacts that prove to be the same are merged in every score, and can be split again."""

import asyncio
from collections.abc import Sequence

import pytest

from storage.alerts.enroll import choose_channel
from storage.alerts.followup_moves import apply_move
from storage.alerts.followups import list_waiting, load_follow_ups
from storage.db.database import current_database
from storage.domain.contacts import Contact, Reference
from storage.domain.errors import UnknownContact
from storage.domain.facts import ItemRequest, Merge, Op
from storage.domain.filters import parse
from storage.domain.followups import FollowUpMove
from storage.domain.score_types import Rule
from storage.domain.submissions import ItemOutcome, Status
from storage.ledger.batches import find_last_command
from storage.ledger.committer import Committer
from storage.ledger.contacts import contacts
from storage.ledger.verify import verify_next
from storage.reading.current_scores import top
from storage.reading.history import HistoryEntry, why
from storage.reading.pages import count
from storage.reading.search import find, find_by_key
from storage.scoring.definitions import add_score_type, score_types
from tests.storage.teams import DAY, NOW, SECOND, ContactLike, Team, change, field_item, set_to

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
APPLIED, DUPLICATE = ItemOutcome(status=Status.APPLIED), ItemOutcome(status=Status.DUPLICATE)
CONFLICT = ItemOutcome(status=Status.QUARANTINED, reason="conflict")


def merge(key: str, first: str | tuple[str, str], other: str | tuple[str, str], *, at: int | None = None) -> Merge:
    """Return a request to merge the first contact into the other."""
    return Merge(key=key, contact=_reference_to(first), into=_reference_to(other), occurred_at=at)


def _reference_to(reference: str | tuple[str, str]) -> Reference:
    return Reference(email=reference) if isinstance(reference, str) else Reference(source=reference[0], id=reference[1])


async def two(team: Team) -> None:
    """Deliver facts of two contacts: Ada has 60 and later 20 more, and in between Bob has 90."""
    await team.deliver(
        set_to("a1", ADA, 60, at=NOW - 30, fields={"name": "Ada", "company": "Acme"}),
        change("a2", ADA, Op.ADD, 20, at=NOW - 10),
        set_to("b1", BOB, 90, at=NOW - 20, fields={"name": "Bob", "tags": ["vip"]}),
    )


async def whole(team: Team) -> None:
    """Fail if verification finds a difference."""
    assert (await verify_next(team.workspace)).differences == ()


def amounts(lines: Sequence[HistoryEntry]) -> list[int]:
    """Return the amounts of a history in whole points."""
    return [line.amount // 1_000 for line in lines]


async def test_what_both_did_is_folded_as_one_history(team: Team) -> None:
    """The facts of both contacts are folded in order of time, and each surface shows the contact merged into."""
    await two(team)
    ada, bob = await team.contact(ADA), await team.contact(BOB)

    recorded = await team.deliver(merge("m", BOB, ADA), batch="d2")

    assert recorded.outcomes == (APPLIED,)
    assert [(move.contact, move.before, move.after) for move in recorded.score_changes] == [(ada.id, 80_000, 100_000)]
    contact = await team.contact(BOB)
    assert (contact.id, contact.email, contact.name, contact.company, contact.tags) == (
        ada.id,
        ADA,
        "Ada",
        "Acme",
        ("vip",),
    )
    assert (await team.value(ADA), await team.value(BOB)) == (100_000, 100_000)
    assert amounts(await team.lines(BOB)) == [20, 90, 60]
    assert [(line.effective, line.value) for line in await team.lines(ADA)] == [
        (10_000, 100_000), (30_000, 90_000), (60_000, 60_000),
    ]  # fmt: skip  # newest first
    named = await find_by_key(team.workspace, key=str(bob.id))
    assert named is not None
    assert (named.id, named.row) == (ada.id, bob.id)
    assert await contacts(team.workspace, ids=[bob.id]) == []
    _, best = await top(team.workspace, score="score", count=10, now=NOW)
    assert [card.contact.id for card in best] == [ada.id]
    _, explained = await why(team.workspace, contact=ada.id, score="score", most=10, now=NOW)
    assert explained is not None
    assert sum(line.effect for line in explained.contributions) == explained.value == 100_000
    updated_lately = parse("updated<1d", await score_types(team.workspace))
    assert await count(team.workspace, query=updated_lately, now=NOW) == 1
    await whole(team)


async def test_what_comes_later_or_late_goes_to_the_one_they_are(team: Team) -> None:
    """Later and late facts of either contact go to the merged contact, and any repeat changes nothing."""
    await two(team)
    merge_request = merge("m", ADA, BOB, at=NOW - 5)
    await team.deliver(merge_request, batch="d2")
    late, latest = set_to("b0", BOB, 95, at=NOW - 15), change("b2", BOB, Op.ADD, -40, at=NOW - 1)

    await team.deliver(late, latest, batch="d3")
    first = set_to("b1", BOB, 90, at=NOW - 20, fields={"name": "Bob", "tags": ["vip"]})
    repeats = await team.deliver(merge_request, late, latest, first, batch="d4")

    assert [outcome.status for outcome in repeats.outcomes] == [Status.DUPLICATE] * 4
    assert await team.value(ADA) == 60_000
    assert amounts(await team.lines(ADA)) == [-40, 20, 95, 90, 60]
    await whole(team)


async def test_the_same_key_for_others_is_a_conflict(team: Team) -> None:
    """A key that merged two contacts is a conflict for a merge of two others."""
    await two(team)
    await team.deliver(merge("m", ADA, BOB), batch="d2")

    recorded = await team.deliver(merge("m", ADA, EVE), merge("m", BOB, ADA), batch="d3")

    assert recorded.outcomes == (CONFLICT, DUPLICATE)
    assert await find(team.workspace, text=EVE) == []


@pytest.mark.parametrize("younger_is_kept", [False, True])
async def test_the_contact_merged_into_is_shown(team: Team, younger_is_kept: bool) -> None:
    """The email, name, owner and company of the contact merged into are shown; the other fills gaps; an undo splits."""
    survivor, other = (BOB, ADA) if younger_is_kept else (ADA, BOB)
    await team.deliver(
        field_item("a", ADA, at=NOW - 90, name="Ada", owner="ada.rep@acme.com"),
        field_item("b", BOB, at=NOW - 80, name="Bob", owner="bob.rep@acme.com"),
        field_item("c", other, at=NOW - 70, company="Other", tags=["vip"]),
    )
    name, owner = survivor.partition("@")[0].title(), f"{survivor.partition('@')[0]}.rep@acme.com"
    ids = [(await team.contact(email)).id for email in (other, survivor)]
    await team.ask(Merge(key="m", contact=ids[0], into=ids[1]), batch="m")

    merged = await team.contact(other)
    assert (merged.email, merged.name, merged.owner, merged.company) == (survivor, name, owner, "Other")
    assert merged.tags == ("vip",)
    await team.deliver(
        field_item("d", other, at=NOW - 10, name="Somebody else", tags=["new"]),
        field_item("e", survivor, at=NOW - 20, owner="new.rep@acme.com"),
        batch="d2",
    )
    merged = await team.contact(survivor)
    assert (merged.email, merged.name, merged.owner, merged.tags) == (survivor, name, "new.rep@acme.com", ("new",))
    assert (await verify_next(team.workspace)).differences == ()

    await team.ask(
        Merge(key="n", contact=merged.id, into=(await _named(team, EVE)).id), batch="n", received=NOW + SECOND
    )
    assert ((await team.contact(ADA)).email, (await team.contact(BOB)).name) == (EVE, name)
    await team.undo("n", batch="u1", received=NOW + 2 * SECOND)
    await team.undo("m", batch="u2", received=NOW + 3 * SECOND)
    assert [(await team.contact(email)).email for email in (ADA, BOB, EVE)] == [ADA, BOB, EVE]
    assert (await team.contact(other)).name == "Somebody else"
    assert (await verify_next(team.workspace)).differences == ()


async def test_rules_go_by_the_latest_fields_of_merged_contacts(team: Team) -> None:
    """Rules use the latest fields of both contacts, so scores do not depend on the direction of a merge."""
    await add_score_type(
        team.workspace, key="ruled", label="Ruled", minimum=0, maximum=100_000, step=1_000, start=0, bands=(),
        rules=(Rule(name="Acme", points=5_000, condition="company:acme"),), is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await team.deliver(
        set_to("a", ADA, 10, score="ruled", at=NOW - 90, fields={"company": "Acme"}),
        field_item("b", BOB, at=NOW - 80, company="Beta"),
    )
    await team.deliver(merge("m", BOB, ADA, at=NOW - 70), batch="d2")
    await team.deliver(change("c", BOB, Op.ADD, 1, score="ruled", at=NOW - 10), batch="d3")

    assert (await team.contact(BOB)).company == "Acme"
    assert await team.value(ADA, "ruled") == 6_000  # 5 of 10 and 5 for Acme; then 1, and the company was Beta
    assert (await verify_next(team.workspace)).differences == ()


async def _named(team: Team, email: str) -> Contact:
    """Return a new contact with an email only."""
    await team.deliver(field_item("eve", email, at=NOW - 5), batch="d3")
    return await team.contact(email)


async def test_a_merge_of_nobody_known_makes_them(team: Team) -> None:
    """A merge creates unknown contacts, and a merge of contacts that are already merged is ignored."""
    first = await team.deliver(merge("m", ("crm", "8"), ("crm", "7")), batch="d1")
    await team.deliver(set_to("a", ("crm", "8"), 50, at=NOW - 2), change("b", ("crm", "7"), Op.ADD, 7, at=NOW - 1))
    both = Reference(email=ADA, source="crm", id="9")
    second = await team.deliver(field_item("c", both, name="Ada"), merge("n", ADA, ("crm", "9")), batch="d2")

    assert first.outcomes == (APPLIED,)
    assert await team.value("crm:7") == await team.value("crm:8") == 57_000
    assert second.outcomes == (APPLIED, ItemOutcome(status=Status.IGNORED, reason="these are one contact already"))
    await whole(team)


async def test_an_address_and_an_id_that_stand_together_prove_two_to_be_one(team: Team) -> None:
    """An item with the email of one contact and the id of another merges them, then changes the score."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", ("crm", "17"), 20, at=NOW - 8))
    both = Reference(email=ADA, source="crm", id="17")
    proof = change("c", both, Op.ADD, 5, at=NOW - 7)

    recorded = await team.deliver(proof, batch="d2")
    repeat = await team.deliver(proof, batch="d3")
    await team.ask(set_to("p", Reference(email=BOB, source="n8n", id="1"), 1), batch="p", received=NOW + 1)
    await team.deliver(set_to("e", EVE, 30, at=NOW - 7), batch="d4")
    await team.ask(change("q", Reference(email=EVE, source="n8n", id="1"), Op.ADD, 5), batch="q", received=NOW + 2)

    assert (recorded.outcomes, repeat.outcomes) == ((APPLIED,), (DUPLICATE,))
    assert await team.value(ADA) == await team.value("crm:17") == 25_000
    assert (await team.contact(BOB)).id == (await team.contact(EVE)).id
    assert await team.value(EVE) == 6_000
    await whole(team)


async def test_what_a_person_does_comes_after_all_that_those_who_become_one_have_seen(team: Team) -> None:
    """A person's change comes after all facts of both merged contacts, even if the clock is behind."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9))
    await team.ask(set_to("b", ("crm", "17"), 20), batch="b", received=NOW + 50)

    await team.ask(set_to("c", Reference(email=ADA, source="crm", id="17"), 5), batch="c", received=NOW + 1)

    assert await team.value(ADA) == 5_000
    await whole(team)


async def test_a_proof_that_contradicts_itself_proves_nothing(team: Team) -> None:
    """A repeated key with a second identity beside its contact is a conflict, and merges nothing."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", ("crm", "17"), 20, at=NOW - 8))

    recorded = await team.deliver(set_to("a", Reference(email=ADA, source="crm", id="17"), 10, at=NOW - 9), batch="d2")

    assert recorded.outcomes == (CONFLICT,)
    assert (await team.value(ADA), await team.value("crm:17")) == (10_000, 20_000)


async def test_undoing_a_merge_parts_them_exactly(team: Team) -> None:
    """After an undo each contact has its own facts, including those since the merge; undoing that merges them again."""
    await two(team)
    await team.ask(merge("m", BOB, ADA), batch="m", received=NOW + SECOND)
    await team.deliver(
        change("b2", BOB, Op.ADD, -50, at=NOW - 5), set_to("b3", ("crm", "17"), 7, at=NOW - 2, score="score"),
        field_item("b4", Reference(email=BOB, source="crm", id="b"), at=NOW - 4, company="Bobs"), batch="d3",
    )  # fmt: skip  # three items of one delivery
    assert await team.value(ADA) == 50_000
    assert await find_last_command(team.workspace, actor="U0REP") == "m"

    parted = await team.undo("m", batch="u", received=NOW + 2 * SECOND)

    ada, bob = await team.contact(ADA), await team.contact(BOB)
    assert (await team.value(ADA), await team.value(BOB)) == (80_000, 40_000)
    assert (ada.name, ada.company, ada.tags, ada.ids) == ("Ada", "Acme", (), {})
    assert (bob.name, bob.company, bob.tags, bob.ids) == ("Bob", "Bobs", ("vip",), {"crm": "b"})
    assert set(parted.undone) == {ada.id, bob.id}
    assert {(move.contact, move.before, move.after) for move in parted.score_changes} == {
        (ada.id, 50_000, 80_000), (bob.id, None, 40_000),
    }  # fmt: skip  # contact, before and after
    assert (amounts(await team.lines(ADA)), amounts(await team.lines(BOB))) == ([20, 60], [-50, 90])
    await whole(team)
    await team.undo("u", batch="v", received=NOW + 3 * SECOND)
    assert await team.value(ADA) == await team.value(BOB) == 50_000
    await whole(team)


async def test_a_score_that_only_one_of_them_had_goes_with_them(team: Team) -> None:
    """A score that only one contact had goes with it when an undo splits the contacts."""
    await team.deliver(field_item("a", ADA, at=NOW - 9, name="Ada"), set_to("b", BOB, 20, at=NOW - 8))
    await team.ask(merge("m", ADA, BOB), batch="m", received=NOW + 1)
    assert await team.value(ADA) == 20_000

    parted = await team.undo("m", batch="u", received=NOW + 2)

    assert (await team.value(ADA), await team.value(BOB)) == (None, 20_000)
    ada = await team.contact(ADA)
    assert (ada.id, 20_000, None) in [(move.contact, move.before, move.after) for move in parted.score_changes]
    assert await team.lines(ADA) == []
    await whole(team)


async def test_of_three_that_are_one_any_two_may_part(team: Team) -> None:
    """Contacts are merged exactly if merges in force connect them, whichever other merges were undone."""
    for number, email in enumerate((ADA, BOB, EVE)):
        await team.deliver(change(f"k{number}", email, Op.ADD, 10**number, at=NOW - 9), batch=f"d{number}")
    await team.ask(merge("m1", EVE, BOB), batch="m1", received=NOW + 1)
    await team.ask(merge("m2", BOB, ADA), batch="m2", received=NOW + 2)
    await team.ask(merge("m3", ADA, EVE), batch="m3", received=NOW + 3)

    async def values() -> list[int]:
        values = [await team.value(email) for email in (ADA, BOB, EVE)]
        await whole(team)
        return [(value or 0) // 1_000 for value in values]

    assert await values() == [100, 100, 100]  # 111, limited to the maximum
    await team.undo("m2", batch="u2", received=NOW + 4)
    assert await values() == [100, 100, 100]
    await team.undo("m3", batch="u3", received=NOW + 5)
    assert await values() == [1, 100, 100]
    await team.undo("m1", batch="u1", received=NOW + 6)
    assert await values() == [1, 10, 100]
    await team.undo("u3", batch="v3", received=NOW + 7)
    assert await values() == [100, 10, 100]


async def test_a_merge_is_all_or_nothing_with_what_it_stands_beside(team: Team) -> None:
    """A person's command with a faulty item merges nothing."""
    await two(team)
    with pytest.raises(UnknownContact):
        await team.ask(merge("m", ADA, BOB), set_to("x", 999_999, 5), batch="m", received=NOW + 1)

    assert (await team.value(ADA), await team.value(BOB)) == (80_000, 90_000)


async def test_a_merge_asks_nobody_and_what_comes_after_it_does(team: Team) -> None:
    """A merge fires no rule; the merged contact keeps its open follow-ups and its last cool-down."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(change("a", ADA, Op.ADD, 50, at=NOW - 9), change("b", BOB, Op.ADD, 45, at=NOW - 8))
    await team.deliver(merge("m", ADA, BOB), batch="d2")  # the score becomes 95 without a follow-up
    assert await load_follow_ups(team.workspace, ids=range(1, 100)) == []
    await team.deliver(set_to("c", ADA, 10, at=NOW - 7), set_to("d", ADA, 85, at=NOW - 6), batch="d3")
    assert await load_follow_ups(team.workspace, ids=range(1, 100)) == []  # one delivery: inside before and after it

    await team.deliver(set_to("e", EVE, 90, at=NOW - 5), batch="d4")  # creates a follow-up
    (open_one,) = await list_waiting(team.workspace, most=10)
    await team.deliver(merge("n", ADA, EVE), batch="d5")

    (follow_up,) = await list_waiting(team.workspace, most=10)
    ada = await team.contact(ADA)
    assert (follow_up.id, follow_up.contact, (await team.contact(EVE)).id) == (open_one.id, ada.id, ada.id)
    for number, value in enumerate((10, 90)):  # out and in again, within the cool-down of Eve's follow-up
        later = NOW + DAY + number
        await team.deliver(set_to(f"z{number}", ADA, value, at=later), batch=f"z{number}", received=later)
    assert [
        follow_up.standing.state.value for follow_up in await load_follow_ups(team.workspace, ids=range(1, 100))
    ] == ["closed"]


async def test_follow_ups_go_back_to_whom_they_were_about(team: Team) -> None:
    """A split returns each follow-up to its contact; one about both contacts stays with the first."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", BOB, 90, at=NOW - 8), batch="d1")
    ada, bob = (await team.contact(ADA)).id, (await team.contact(BOB)).id
    later = NOW + 30 * DAY
    await team.ask(merge("m", ADA, BOB), batch="m", received=later)
    (of_bob,) = await list_waiting(team.workspace, most=10)
    waiting_too = parse("followup:open", await score_types(team.workspace))
    assert (
        of_bob.contact,
        [follow_up.id for follow_up in await list_waiting(team.workspace, contact=ada, most=10)],
    ) == (
        ada,
        [of_bob.id],
    )
    assert await count(team.workspace, query=waiting_too, now=NOW) == 1
    await apply_move(team.workspace, id=of_bob.id, move=FollowUpMove.DONE, by="U0REP", now=later)
    for number, value in enumerate((10, 95)):  # out and in again
        await team.deliver(set_to(f"z{number}", ADA, value, at=later + number), batch=f"z{number}", received=later + 9)
    of_both = (await list_waiting(team.workspace, most=10))[0]
    assert of_both.contact == ada

    await team.undo("m", batch="u", received=later + SECOND)

    states = {
        follow_up.id: (follow_up.contact, follow_up.standing.state.value)
        for follow_up in await load_follow_ups(team.workspace, ids=range(1, 9))
    }
    assert states == {of_bob.id: (bob, "done"), of_both.id: (ada, "open")}
    assert await list_waiting(team.workspace, contact=bob, most=10) == []
    assert await count(team.workspace, query=waiting_too, now=later) == 1  # the other is done
    await team.undo("u", batch="v", received=later + 2 * SECOND)
    assert {follow_up.contact for follow_up in await load_follow_ups(team.workspace, ids=range(1, 9))} == {ada}
    await whole(team)


async def test_who_is_parted_is_not_asked_about_again_at_once(team: Team) -> None:
    """After a split the cool-down continues, and an open follow-up closes by the score of its own contact."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", BOB, 90, at=NOW - 8), batch="d1")
    await team.ask(merge("m", ADA, BOB), batch="m", received=NOW + 1)
    await team.undo("m", batch="u", received=NOW + 2)
    (follow_up,) = await list_waiting(team.workspace, most=10)

    for number, value in enumerate((10, 90)):
        later = NOW + DAY + number
        await team.deliver(set_to(f"z{number}", BOB, value, at=later), batch=f"z{number}", received=later)

    assert [
        (follow_up.id, follow_up.standing.state.value)
        for follow_up in await load_follow_ups(team.workspace, ids=range(1, 9))
    ] == [(follow_up.id, "closed")]


async def test_a_request_closes_itself_where_parting_takes_the_score_out(team: Team) -> None:
    """A split closes a follow-up if the contact's own score is outside the region after it."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", BOB, 90, at=NOW - 8), batch="d1")
    await team.ask(merge("m", ADA, BOB), batch="m", received=NOW + 1)
    await team.deliver(set_to("c", BOB, 20, at=NOW - 7), set_to("d", ADA, 99, at=NOW - 6), batch="d2", received=NOW + 2)
    (follow_up,) = await list_waiting(team.workspace, most=10)

    await team.undo("m", batch="u", received=NOW + 3)

    (closed,) = await load_follow_ups(team.workspace, ids=range(1, 9))
    assert (await team.value(BOB), closed.id, closed.standing.state.value) == (20_000, follow_up.id, "closed")


async def test_a_change_that_proves_two_to_be_one_asks_by_itself(team: Team) -> None:
    """If a change merges two contacts, only the change itself fires a rule, measured from the merged score."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(change("a", ADA, Op.ADD, 40, at=NOW - 9), change("b", ("crm", "17"), Op.ADD, 35, at=NOW - 8))

    await team.deliver(change("c", Reference(email=ADA, source="crm", id="17"), Op.ADD, 10, at=NOW - 7), batch="d2")

    (follow_up,) = await list_waiting(team.workspace, most=10)
    assert (follow_up.before, follow_up.after) == (75_000, 85_000)


async def test_merges_and_changes_at_the_same_moment(team: Team) -> None:
    """Simultaneous merges and changes from several processes give one contact with each change counted once."""
    people: list[ContactLike] = [f"p{number}@example.com" for number in range(12)]
    doors = [Team(team.workspace, Committer(current_database())) for _ in range(4)]
    adds = [change(f"k{n}", people[n % 12], Op.ADD, 1, at=NOW - n) for n in range(60)]
    merges = [merge(f"m{n}", f"p{n}@example.com", f"p{n + 6}@example.com", at=NOW - 1) for n in range(6)]

    requests: list[ItemRequest] = [*adds, *merges]

    await asyncio.gather(*(door.deliver(request) for request in requests for door in doors))

    assert [await team.value(f"p{n}@example.com") for n in range(12)] == [10_000] * 12
    assert len({(await team.contact(f"p{n}@example.com")).id for n in range(12)}) == 6
    await whole(team)


async def test_another_merge_of_the_same_contacts_shows_the_other_one(team: Team) -> None:
    """The earliest merge decides which contact is shown, even if it arrives last and moves no row."""
    await team.deliver(set_to("a", ADA, 10, at=NOW - 9), set_to("b", BOB, 20, at=NOW - 8))
    await team.deliver(merge("m", ADA, BOB, at=NOW - 5), batch="d2")
    first = (await team.contact(ADA)).email
    await team.deliver(merge("m2", BOB, ADA, at=NOW - 6), batch="d3")

    assert (first, (await team.contact(ADA)).email) == (BOB, ADA)
    await whole(team)
