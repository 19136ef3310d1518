"""A key counts once: a repeat changes nothing, and a contradiction is quarantined."""

import asyncio
import json
from dataclasses import replace
from random import Random

import pytest

from storage.domain.contacts import Json, Reference
from storage.domain.errors import Conflict, OffStep, OutOfRange, UnknownContact, UnknownScoreType
from storage.domain.facts import Deletion, Item, Op, Unusable
from storage.domain.sources import Source
from storage.domain.submissions import Delivered, ItemOutcome, Recorded, Status
from storage.reading.history import history
from storage.reading.search import find
from storage.scoring.definitions import add_score_type, score_type
from storage.scoring.drafts import apply, create_draft
from storage.sources.config import add_source
from storage.sources.deliveries import deliveries
from tests.counts import report_counts
from tests.storage import raw
from tests.storage.teams import DAY, NOW, ContactLike, Team, change, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"
APPLIED, DUPLICATE = ItemOutcome(status=Status.APPLIED), ItemOutcome(status=Status.DUPLICATE)
CONFLICT = ItemOutcome(status=Status.QUARANTINED, reason="conflict")


@pytest.fixture
async def crm(team: Team) -> Source:
    """Return a configured source."""
    return await add_source(team.workspace, slug="crm", provider="generic", secrets=["whsec_x"], by="U0ADMIN", now=NOW)


def like_first(
    contact: ContactLike = ADA,
    value: int = 50,
    *,
    op: Op = Op.SET,
    score: str = "score",
    at: int = NOW - 10,
    reason: str | None = "met",
    name: str = "Ada",
) -> Item:
    """Return an item with the key `k`, by default the same as the first."""
    return change("k", contact, op, value, score=score, at=at, reason=reason, fields={"name": name})


FIRST = like_first()
AGAIN = {
    "the same": (like_first(), DUPLICATE),
    "the address typed otherwise": (like_first("ADA@Example.com"), DUPLICATE),
    "another value": (like_first(value=51), CONFLICT),
    "another op": (like_first(op=Op.ADD), CONFLICT),
    "an earlier time": (like_first(at=NOW - 11), CONFLICT),
    "a later time": (like_first(at=NOW - 9), CONFLICT),
    "another reason": (like_first(reason="called"), CONFLICT),
    "no reason": (like_first(reason=None), CONFLICT),
    "another name": (like_first(name="Eve"), CONFLICT),
    "another contact": (like_first(BOB), CONFLICT),
    "a contact not seen yet": (like_first("new@example.com"), CONFLICT),
    # The subject is part of the unique key: one event may change two scores, and state fields too.
    "another score": (like_first(value=5, score="fit"), APPLIED),
    "the contact alone": (field_item("k", ADA, at=NOW - 10, name="Ada"), APPLIED),
}


@pytest.fixture
async def seasoned(team: Team) -> Team:
    """Return a team with a second score type, which already has Ada and Bob."""
    await add_score_type(
        team.workspace, key="fit", label="Fit", minimum=0, maximum=10_000, step=1_000,
        bands=[], start=None, is_default=False, by="U0ADMIN", now=NOW,
    )  # fmt: skip  # one definition
    await team.deliver(set_to("a", ADA, 10, at=NOW - DAY), set_to("b", BOB, 20, at=NOW - DAY))
    return team


@pytest.mark.parametrize("way", ["one submission", "one commit", "two commits"])
@pytest.mark.parametrize("repeat", AGAIN)
async def test_a_known_key_counts_once(seasoned: Team, repeat: str, way: str) -> None:
    """A repeat is a duplicate and a contradiction is a conflict, in one delivery, in one commit or later."""
    item, expected = AGAIN[repeat]
    if way == "one submission":
        outcomes = (await seasoned.deliver(FIRST, item)).outcomes
    elif way == "one commit":
        both = await asyncio.gather(seasoned.deliver(FIRST, batch="d1"), seasoned.deliver(item, batch="d2"))
        outcomes = (*both[0].outcomes, *both[1].outcomes)
    else:
        first = await seasoned.deliver(FIRST, batch="d1")
        outcomes = (*first.outcomes, *(await seasoned.deliver(item, batch="d2", received=NOW + 5 * DAY)).outcomes)

    assert outcomes == (APPLIED, expected)
    assert (await seasoned.value(ADA), await seasoned.value(BOB)) == (50_000, 20_000)
    assert [(line.amount, line.reason) for line in await seasoned.lines(ADA)] == [(50_000, "met"), (10_000, None)]
    assert await seasoned.value(ADA, "fit") == (5_000 if repeat == "another score" else None)
    assert (await seasoned.contact(ADA)).name == "Ada"


async def test_a_repeat_is_looked_for_before_the_limits_of_today(seasoned: Team) -> None:
    """A repeat stays a duplicate after the range became narrower; only new items are quarantined by it."""
    first = (set_to("k", ADA, 9, score="fit", at=NOW - 9), change("d", ADA, Op.ADD, 1, score="fit", at=NOW - 8))
    await seasoned.deliver(*first, batch="d1")
    fit = await score_type(seasoned.workspace, key="fit")
    drafted = await create_draft(
        seasoned.workspace, proposed=replace(fit, maximum=8_000, step=2_000, start=0), by="U0ADMIN", now=NOW
    )
    assert drafted is not None
    await apply(seasoned.workspace, draft=drafted, with_alerts=False, by="U0ADMIN", clock=lambda: NOW)

    again = await seasoned.deliver(*first, set_to("new", ADA, 9, score="fit"), batch="d2", received=NOW + DAY)
    other = await seasoned.deliver(set_to("k", ADA, 10, score="fit", at=NOW - 9), batch="d3", received=NOW + DAY)
    stranger = await seasoned.deliver(set_to("n", "new@example.com", 9, score="fit"), batch="d4", received=NOW + DAY)

    refused = ItemOutcome(status=Status.QUARANTINED, reason="Fit runs from 0 to 8; 9 is outside it")
    assert again.outcomes == (DUPLICATE, DUPLICATE, refused)
    assert (other.outcomes, stranger.outcomes) == ((CONFLICT,), (refused,))
    assert await find(seasoned.workspace, text="new@example.com") == []
    request = seasoned.asking(set_to("p", ADA, 9, score="fit"), batch="p", received=NOW + DAY)
    with pytest.raises(OutOfRange):
        await seasoned.record(request)


async def test_nothing_of_a_conflict_is_applied(seasoned: Team) -> None:
    """A conflicting item creates no contact and adds no identity to one."""
    await seasoned.deliver(FIRST)

    stranger = await seasoned.deliver(set_to("k", "new@example.com", 50, at=NOW - 10), batch="d2")
    second_id = await seasoned.deliver(
        set_to("k", Reference(email=ADA, source="crm", id="17"), 77, at=NOW - 10), batch="d3"
    )

    assert (*stranger.outcomes, *second_id.outcomes) == (CONFLICT, CONFLICT)
    assert await find(seasoned.workspace, text="new@example.com") == []
    assert await find(seasoned.workspace, text="crm:17") == []


async def test_the_same_key_of_another_source_is_another_fact(team: Team) -> None:
    """Two sources may use the same keys for different facts."""
    first = await team.deliver(change("1", ADA, Op.ADD, 5, at=NOW - 2), source="crm")
    two = await team.deliver(change("1", ADA, Op.ADD, 5, at=NOW - 2), source="n8n")

    assert (first.outcomes, two.outcomes) == ((APPLIED,), (APPLIED,))
    assert await team.value(ADA) == 10_000


REPEATS = [
    (None, NOW, None, NOW + DAY, DUPLICATE),  # no time, or either time: the receipt is no content of the item
    (NOW + 60, NOW, NOW + 60, NOW + DAY, DUPLICATE),  # a clock that was ahead at first, and is not any more
    (NOW - 60, NOW, NOW - 60, NOW + DAY, DUPLICATE),
    (NOW + 60, NOW, NOW + 70, NOW + DAY, DUPLICATE),  # both ahead of the receipt, so both happened at the receipt
    (NOW - 60, NOW, NOW - 59, NOW + DAY, CONFLICT),
    (NOW - 60, NOW, NOW + 60, NOW + DAY, CONFLICT),
]


@pytest.mark.parametrize(("first", "received", "occurred_at", "received_then", "expected"), REPEATS)
async def test_a_repeat_is_compared_with_what_its_sender_said(
    team: Team, first: int | None, received: int, occurred_at: int | None, received_then: int, expected: ItemOutcome
) -> None:
    """A repeat is compared by what the sender states, not by the time of receipt."""
    await team.deliver(change("k", ADA, Op.ADD, 5, at=first), batch="d1", received=received)
    recorded = await team.deliver(change("k", ADA, Op.ADD, 5, at=occurred_at), batch="d2", received=received_then)

    assert recorded.outcomes == (expected,)
    assert await team.value(ADA) == 5_000


@pytest.mark.parametrize("is_undone", [False, True])
async def test_what_an_earlier_version_wrote_otherwise_is_a_repeat(
    team: Team, database_url: str, is_undone: bool
) -> None:
    """A repeat of an older version's fact is recognized, despite uncleaned texts and another key, even if undone."""
    typed = "zw\u00ad@example.com"
    fields: dict[str, Json] = {"name": "Soft\u00adhyphen", "tags": ["vip\u200b"], "attributes.note": "a\u200bb"}
    item = change("k", typed, Op.SET, 50, at=NOW - 10, reason="met\u200b her", fields=fields)
    await team.ask(item, batch="b", creates=True)
    said = json.dumps(dict(fields), ensure_ascii=False, sort_keys=True)
    await raw.rows(database_url, "UPDATE facts SET said = $1, reason = $2", said, "met\u200b her")
    await raw.rows(database_url, "UPDATE identities SET value = $1", typed)
    contact = (await team.contact("zw")).id
    if is_undone:
        await team.undo("b", batch="u")
    before = await history(team.workspace, contact=contact, score="score", most=10)

    again = await team.ask(item, batch="b2", creates=True)
    assert again.outcomes == (DUPLICATE,)
    assert await history(team.workspace, contact=contact, score="score", most=10) == before
    (known,) = await raw.rows(database_url, "SELECT count(*) AS n FROM contacts")
    assert known["n"] == 1
    conflict = replace(item, fields={**fields, "name": "Somebody"})
    with pytest.raises(Conflict):
        await team.ask(conflict, batch="b3", creates=True)


async def test_an_address_that_was_deleted_as_it_was_written_stays_deleted(team: Team, database_url: str) -> None:
    """A fact from before a deletion is not applied under today's key of the email."""
    typed = "zw\u00ad@example.com"
    await team.deliver(set_to("k", typed, 50, at=NOW - 10))
    await raw.rows(database_url, "UPDATE identities SET value = $1", typed)
    (contact,) = await find(team.workspace, text="zw")
    await team.deliver(Deletion(key="gone", contact=contact.id), batch="d2")

    again = await team.deliver(set_to("late", typed, 60, at=NOW - 5), batch="d3")
    assert [outcome.status for outcome in again.outcomes] == [Status.IGNORED]


async def test_a_duplicate_says_that_nothing_moved(team: Team) -> None:
    """The answer to a duplicate reports no move."""
    first = await team.deliver(set_to("k", ADA, 50, at=NOW - 1))
    second = await team.deliver(set_to("k", ADA, 50, at=NOW - 1))

    assert [(move.score_type.key, move.before, move.after) for move in first.score_changes] == [("score", None, 50_000)]
    assert second.score_changes == ()
    assert (first.count(Status.APPLIED), second.count(Status.APPLIED), second.count(Status.DUPLICATE)) == (1, 0, 1)


async def test_many_deliveries_of_the_same_facts_at_once(team: Team) -> None:
    """In a hundred simultaneous deliveries of the same facts each fact counts once, and no contradiction counts."""
    facts = [change(f"k{number}", f"p{number % 7}@example.com", Op.ADD, 1, at=NOW - number) for number in range(40)]
    wrong = [change(f"k{number}", f"p{number % 7}@example.com", Op.ADD, 2, at=NOW - number) for number in range(40)]
    dice = Random(5)  # a fixed seed: the same order in each run
    await team.deliver(*facts[:20])

    answers = await asyncio.gather(
        *(team.deliver(*dice.sample(facts, 12), *dice.sample(wrong[:20], 3), batch=f"d{n}") for n in range(100))
    )

    counts = {status.value: sum(answer.count(status) for answer in answers) for status in Status}
    report_counts("a hundred deliveries at once", counts)
    assert counts == {"applied": 20, "duplicate": 1_180, "ignored": 0, "quarantined": 300}
    totals = [await team.value(f"p{number}@example.com") for number in range(7)]
    assert totals == [6_000] * 5 + [5_000] * 2


async def test_what_a_person_sends_twice_counts_once(team: Team) -> None:
    """A Slack request that is retried has the same answer as the first, and changes nothing."""
    asking = [change("t1", ADA, Op.ADD, 5)]
    first = await team.ask(*asking, batch="t1")
    second = await team.ask(*asking, batch="t1", received=NOW + 3)

    assert (first.outcomes, second.outcomes) == ((APPLIED,), (DUPLICATE,))
    assert await team.value(ADA) == 5_000


KNOWN_KEY = "conflict: the same id arrived earlier with other content."
HALF = Item(key="t9", contact=Reference(email=ADA), score="score", op=Op.ADD, amount=500)
REFUSED_WHOLE = {
    "another value under a known key": (set_to("old", ADA, 11), Conflict, KNOWN_KEY),
    "another contact under a known key": (set_to("old", BOB, 10), Conflict, KNOWN_KEY),
    "out of range": (set_to("t9", ADA, 101), OutOfRange, "Score runs from 0 to 100; 101 is outside it"),
    "off the step": (HALF, OffStep, "Score goes in steps of 1; 0.5 is not a multiple of that"),
    "no such type": (
        set_to("t9", ADA, 5, score="fti"),
        UnknownScoreType,
        "there is no score type `fti`; existing: score, fit",
    ),
    "no such contact": (set_to("t9", 999_999, 5), UnknownContact, "There is no such contact."),
}


@pytest.mark.parametrize("together", [False, True], ids=["alone", "among others"])
@pytest.mark.parametrize("cause", REFUSED_WHOLE)
async def test_a_person_gets_all_or_nothing(seasoned: Team, cause: str, together: bool) -> None:
    """One refused item refuses a person's whole request, without effect on other submissions of the commit."""
    item, refusal, sentence = REFUSED_WHOLE[cause]
    await seasoned.deliver(field_item("id", Reference(email=BOB, source="crm", id="bob")))
    await seasoned.ask(set_to("old", ADA, 10), batch="t1")
    items = (set_to("t7", "new@example.com", 70), change("t8", ADA, Op.ADD, 5, score="fit"), item)
    neighbours = [seasoned.ask(change(f"n{n}", BOB, Op.ADD, 1), batch=f"n{n}") for n in range(6 if together else 0)]

    outcomes = await asyncio.gather(
        *neighbours[:3], seasoned.ask(*items, batch="t9"), *neighbours[3:], return_exceptions=True
    )

    (refusal_raised,) = [outcome for outcome in outcomes if not isinstance(outcome, Recorded)]
    assert (type(refusal_raised), str(refusal_raised)) == (refusal, sentence)
    assert (await seasoned.value(ADA), await seasoned.value(ADA, "fit")) == (10_000, None)
    assert await seasoned.value(BOB) == 20_000 + len(neighbours) * 1_000
    assert await find(seasoned.workspace, text="new@example.com") == []


@pytest.mark.parametrize("contact", [ADA, "new@example.com"])
async def test_what_a_refused_command_held_is_not_there_for_its_neighbours(seasoned: Team, contact: str) -> None:
    """A key of a refused command is not taken for known: another command of the same commit may use it."""
    await seasoned.deliver(field_item("id", Reference(email=BOB, source="crm", id="bob")))
    good, bad = set_to("t1", contact, 70), set_to("t3", 999_999, 5)

    outcomes = await asyncio.gather(
        seasoned.ask(good, bad, batch="t1"), seasoned.ask(good, batch="t2"), return_exceptions=True
    )

    assert type(outcomes[0]) is UnknownContact
    assert isinstance(outcomes[1], Recorded)
    assert outcomes[1].outcomes == (APPLIED,)
    assert await seasoned.value(contact) == 70_000


async def test_one_bad_item_harms_no_neighbour(team: Team, crm: Source) -> None:
    """The good items of a delivery apply, and each bad item is quarantined with position, reason and content."""
    await team.deliver(set_to("k0", ADA, 10, at=NOW - 5), field_item("b", Reference(email=BOB, source="crm", id="bob")))
    items: list[Item | Unusable] = [
        set_to("k1", ADA, 20, at=NOW - 4, raw='{"n":0}'),
        set_to("k2", ADA, 101, at=NOW - 4, raw='{"n":1}'),
        set_to("k3", ADA, 5, score="fti", at=NOW - 4, raw='{"n":2}'),
        Unusable(key="k4", reason="`contact` has neither `email` nor `id`, so it names no contact", raw='{"n":3}'),
        set_to("k5", "ada at example", 5, at=NOW - 4, raw='{"n":4}'),
        set_to("k6", ADA, 5, at=NOW + DAY + 1, raw='{"n":5}'),
        set_to("k7", ADA, 5, at=-1, raw='{"n":6}'),
        set_to("k0", ADA, 99, at=NOW - 5, raw='{"n":7}'),
        set_to("k8", 999_999, 5, at=NOW - 4, raw='{"n":8}'),
        set_to("k9", BOB, 30, at=NOW - 4, raw='{"n":9}'),
        set_to("k9", BOB, 30, at=NOW - 4, raw='{"n":10}'),
    ]
    reasons = [
        (1, "k2", "Score runs from 0 to 100; 101 is outside it"),
        (2, "k3", "there is no score type `fti`; existing: score"),
        (3, "k4", "`contact` has neither `email` nor `id`, so it names no contact"),
        (4, "k5", "`ada at example` is not an e-mail address"),
        (5, "k6", "sent from the future: check the sender's clock"),
        (6, "k7", "the time lies before 1970: check the sender's clock"),
        (7, "k0", "conflict"),
        (8, "k8", "There is no such contact."),
    ]

    recorded = await team.deliver(*items, batch="crm/d1", delivered=Delivered(source=crm.id, key="d1"))

    set_aside = [ItemOutcome(status=Status.QUARANTINED, reason=reason) for _, _, reason in reasons]
    assert recorded.outcomes == (APPLIED, *set_aside, APPLIED, DUPLICATE)
    assert (await team.value(ADA), await team.value(BOB)) == (20_000, 30_000)
    (stored,) = await deliveries(team.workspace, source=None, most=10)
    assert (stored.key, stored.source, stored.received_at) == ("d1", "crm", NOW)
    assert (stored.applied, stored.duplicate, stored.ignored, stored.quarantined) == (2, 1, 0, 8)
    assert await team.set_aside(stored.id) == [(n, key, reason, f'{{"n":{n}}}') for n, key, reason in reasons]


async def test_an_item_that_names_nobody_is_refused(team: Team) -> None:
    """An item without email and id is refused, because no contact could be created."""
    recorded = await team.deliver(set_to("k", Reference(), 5))

    assert [outcome.status for outcome in recorded.outcomes] == [Status.QUARANTINED]


async def test_a_bad_item_that_is_sent_again_is_kept_with_each_delivery(team: Team, crm: Source) -> None:
    """A bad item that is sent again is quarantined with each delivery."""
    for number in range(2):
        bad = Unusable(key="k", reason="no", raw="{}")
        await team.deliver(bad, batch=f"d{number}", delivered=Delivered(source=crm.id, key=f"d{number}"))

    latest = await deliveries(team.workspace, source="crm", most=10)
    assert [(stored.key, stored.quarantined) for stored in latest] == [("d1", 1), ("d0", 1)]
    assert [await team.set_aside(stored.id) for stored in latest] == [[(0, "k", "no", "{}")]] * 2


async def test_a_delivery_without_items_is_kept_too(team: Team, crm: Source) -> None:
    """A delivery without items is stored and listed with the others."""
    recorded = await team.deliver(delivered=Delivered(source=crm.id, key="d0"))
    (stored,) = await deliveries(team.workspace, source=None, most=10)

    assert recorded.outcomes == ()
    assert (stored.key, stored.applied, stored.duplicate, stored.ignored, stored.quarantined) == ("d0", 0, 0, 0, 0)
