"""Nothing remains of a deleted contact, and facts from before the deletion are not applied again."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.alerts.enroll import choose_channel
from storage.alerts.followups import load_follow_ups
from storage.bootstrap import Storage
from storage.domain.contacts import Reference
from storage.domain.errors import NothingToUndo, UnknownContact, UnknownDelivery
from storage.domain.facts import Deletion, Ignored, Item, ItemRequest, Merge, Op, Unusable
from storage.domain.sources import Source
from storage.domain.submissions import Delivered, ItemOutcome, Raw, Recorded, Status
from storage.ledger.erase import Holdings, count_holdings, record_request_names
from storage.ledger.verify import verify_next
from storage.reading.current_scores import top
from storage.reading.search import find, find_by_key
from storage.sent_files import ImportSettings, load_file, record_end, store_file
from storage.sources.config import add_source
from storage.sources.deliveries import deliveries, list_unnamed_deliveries, raw_delivery
from storage.workspaces import add_workspace
from tests.counts import THOROUGH, report_counts
from tests.storage import raw
from tests.storage.teams import NOW, SECOND, Team, change, field_item, set_to
from tests.storage.worlds import everything

ADA, BOB = "ada@example.com", "bob@example.com"
APPLIED, DUPLICATE = ItemOutcome(status=Status.APPLIED), ItemOutcome(status=Status.DUPLICATE)
GONE = ItemOutcome(status=Status.IGNORED, reason="that contact was deleted")
BOTH = Reference(email="Ada@Example.com", source="crm", id="secret-17")


@pytest.fixture
async def crm(team: Team) -> Source:
    """Return a source of the team."""
    return await add_source(team.workspace, slug="crm", provider="generic", secrets=["whsec_x"], by="U0ADMIN", now=NOW)


def delete(key: str, contact: str | Reference | int, *, at: int | None = None) -> Deletion:
    """Return a request to delete a contact."""
    return Deletion(key=key, contact=Reference(email=contact) if isinstance(contact, str) else contact, occurred_at=at)


async def traces(url: str, *words: str) -> list[str]:
    """Return the names of the tables that still contain one of these words, in any case."""
    tables = await everything(url)
    return sorted(name for name, rows in tables.items() if any(word in str(rows).casefold() for word in words))


async def test_nothing_is_left_of_a_deleted_contact(team: Team, crm: Source, database_url: str) -> None:
    """Scores, effects, follow-ups, memory, names and reasons of merged contacts are deleted; quarantine is redacted."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    body = b'{"email": "ADA@example.com"}'
    request = Raw(method="POST", query="", headers={}, body=body)
    bad = Unusable(key="q", reason="no", raw='{"contact": {"email": "Ada@Example.com"}}')
    fields = {"name": "Lovelace", "tags": ["poet"]}
    await team.deliver(set_to("a", BOTH, 90, at=NOW - 9, reason="called Lovelace", fields=fields), batch="d0")
    first: list[ItemRequest] = [
        set_to("b", "countess@example.com", 20, at=NOW - 8, fields={"company": "Lovelace Ltd"}),
        Merge(key="m", contact=Reference(email="countess@example.com"), into=BOTH),
        bad,
    ]
    await team.deliver(*first, delivered=Delivered(source=crm.id, key="d1", raw=request), batch="crm/d1")
    plain = Raw(method="POST", query="", headers={}, body=b'[1, "x", {"e": "ada@example.com"}]')
    await team.deliver(set_to("z", BOB, 5, at=NOW), delivered=Delivered(source=crm.id, key="d2", raw=plain), batch="d2")
    await team.ask(change("p", "countess@example.com", Op.ADD, 1), batch="p", received=NOW + 1)
    ada = await team.contact(ADA)
    assert await count_holdings(team.workspace, contact=ada.id) == Holdings(
        changes=3, follow_ups=1, identities=3, messages=0
    )
    words = ("ada@example", "countess", "lovelace", "secret-17", "poet")
    holders = ["audit_entries", "contacts", "facts", "follow_ups", "followup_rules", "identities", "quarantine"]
    holders += ["raw_deliveries", "words"]
    assert await traces(database_url, *words) == holders

    recorded = await team.deliver(delete("x", ADA), batch="d3", received=NOW + SECOND)

    assert recorded.outcomes == (APPLIED,)
    assert await traces(database_url, *words) == []
    for text in ("ada@example.com", "countess@example.com", "crm:secret-17", "Lovelace"):
        assert await find(team.workspace, text=text) == []
    assert await find_by_key(team.workspace, key=str(ada.id)) is None
    assert await load_follow_ups(team.workspace, ids=range(1, 100)) == []
    _, best = await top(team.workspace, score="score", count=10, now=NOW)
    assert [card.contact.email for card in best] == [BOB]
    sent = {delivery.key: delivery.id for delivery in await deliveries(team.workspace, source=None, most=10)}
    assert await team.set_aside(sent["d1"]) == [(2, "q", "the contact it named was deleted", "")]
    for delivery_id in sent.values():  # the second delivery names her only in its bytes
        with pytest.raises(UnknownDelivery):
            await raw_delivery(team.workspace, id=delivery_id)
    rows_left = await raw.rows(database_url, "SELECT kind, count(*) AS n FROM facts GROUP BY kind ORDER BY kind")
    assert {row["kind"]: row["n"] for row in rows_left} == {
        "change": 1,
        "deleted": 5,
    }  # three facts, the merge and the deletion
    assert (await verify_next(team.workspace)).differences == ()


async def test_what_happened_until_then_is_not_taken_and_what_comes_later_is_somebody_new(team: Team) -> None:
    """A repeat is a duplicate, a late fact is ignored under either name, and a later fact creates a new contact."""
    first = set_to("a", BOTH, 90, at=NOW - 9, fields={"name": "Ada"})
    await team.deliver(first)
    deletion = delete("x", ADA, at=NOW - 5)
    await team.deliver(deletion, batch="d2")

    late: list[ItemRequest] = [
        set_to("b", ADA, 80, at=NOW - 5), field_item("c", ("crm", "secret-17"), at=NOW - 6, name="Ada"),
        Merge(key="m", contact=BOTH, into=Reference(email=BOB), occurred_at=NOW - 7),
    ]  # fmt: skip  # by email, by id, by both
    after = await team.deliver(first, *late, deletion, batch="d3")
    assert after.outcomes == (DUPLICATE, GONE, GONE, GONE, DUPLICATE)
    assert await find(team.workspace, text=ADA) == await find(team.workspace, text=BOB) == []
    later = await team.deliver(change("d", ADA, Op.ADD, 7, at=NOW - 4), batch="d4")
    assert later.outcomes == (APPLIED,)
    contact = await team.contact(ADA)
    assert (contact.name, contact.ids, await team.value(ADA)) == (None, {}, 7_000)
    repeat = await team.deliver(set_to("e", ADA, 80, at=NOW - 6), batch="d5")
    assert (repeat.outcomes, await team.value(ADA)) == ((GONE,), 7_000)
    assert (await verify_next(team.workspace)).differences == ()


async def test_a_late_proof_that_somebody_was_the_deleted_one_is_left_alone(team: Team) -> None:
    """A late proof of identity with the deleted contact is ignored, and the other contact keeps its data."""
    await team.deliver(set_to("a", ADA, 90, at=NOW - 9), set_to("b", ("crm", "17"), 20, at=NOW - 8))
    await team.deliver(delete("x", ADA, at=NOW - 5), batch="d2")
    both = Reference(email=ADA, source="crm", id="17")

    late = await team.deliver(change("c", both, Op.ADD, 5, at=NOW - 6), batch="d3")
    later = await team.deliver(change("d", both, Op.ADD, 7, at=NOW - 4), batch="d4")

    assert (late.outcomes, later.outcomes) == ((GONE,), (APPLIED,))
    assert await team.value("crm:17") == await team.value(ADA) == 27_000
    assert (await verify_next(team.workspace)).differences == ()


@pytest.mark.parametrize("order", ["first", "between", "last", "at once"])
async def test_a_deletion_takes_away_the_same_whenever_it_arrives(team: Team, order: str) -> None:
    """A deletion removes what happened until its time, whenever it arrives, and keeps what happened later."""
    old = set_to("a", ADA, 60, at=NOW - 9, fields={"name": "Ada"})
    new = change("b", ADA, Op.ADD, 7, at=NOW - 3, fields={"company": "Acme"})
    gone = delete("x", ADA, at=NOW - 5)
    parts: dict[str, list[list[ItemRequest]]] = {
        "first": [[gone], [old], [new]], "between": [[old], [gone], [new]],
        "last": [[new], [old], [gone]], "at once": [[new, gone, old]],
    }  # fmt: skip  # items that arrive together

    for number, items in enumerate(parts[order]):
        await team.deliver(*items, batch=f"d{number}")

    contact = await team.contact(ADA)
    assert (await team.value(ADA), contact.name, contact.company) == (7_000, None, "Acme")
    assert [line.amount for line in await team.lines(ADA)] == [7_000]
    assert (await verify_next(team.workspace)).differences == ()


async def test_a_person_s_deletion_comes_after_all_that_is_known(team: Team) -> None:
    """A person's deletion comes after all known facts, and neither it nor a deleted command can be undone."""
    await team.ask(set_to("a", ADA, 60), batch="a", received=NOW + 50)
    await team.ask(
        Merge(key="m", contact=Reference(email=ADA), into=Reference(email=BOB)), batch="m", received=NOW + 60
    )
    id = (await team.contact(ADA)).id

    await team.ask(delete("x", id), batch="x", received=NOW + 1)

    assert await find(team.workspace, text=ADA) == []
    for batch in ("x", "a", "m"):
        with pytest.raises(NothingToUndo):
            await team.undo(batch, batch=f"undo {batch}", received=NOW + 70)
    with pytest.raises(UnknownContact):
        await team.ask(delete("y", id), batch="y", received=NOW + 70)
    with pytest.raises(UnknownContact):
        await team.ask(set_to("z", id, 5), batch="z", received=NOW + 70)


async def test_those_who_were_one_part_where_something_is_left_of_each(team: Team) -> None:
    """A deletion also deletes the merge, so later facts of merged contacts belong to separate contacts."""
    await team.deliver(
        set_to("a", ADA, 10, at=NOW - 9), set_to("b", BOB, 20, at=NOW - 8),
        change("c", ADA, Op.ADD, 1, at=NOW - 2), change("d", BOB, Op.ADD, 2, at=NOW - 1),
    )  # fmt: skip  # before, and after
    await team.deliver(
        Merge(key="m", contact=Reference(email=ADA), into=Reference(email=BOB), occurred_at=NOW - 7), batch="d2"
    )
    assert await team.value(ADA) == await team.value(BOB) == 23_000

    await team.deliver(delete("x", ADA, at=NOW - 5), batch="d3")

    assert (await team.value(ADA), await team.value(BOB)) == (1_000, 2_000)
    assert (await verify_next(team.workspace)).differences == ()


async def test_a_deletion_stays_in_its_workspace(team: Team, storage: Storage, database_url: str) -> None:
    """A deletion affects only its own workspace, and hashes of the same email differ between workspaces."""
    other = Team(await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=NOW))
    for each_team in (team, other):
        await each_team.deliver(set_to("a", ADA, 60, at=NOW - 9))
    await team.deliver(delete("x", ADA), batch="d2")

    assert await other.value(ADA) == 60_000
    late: Item = set_to("b", ADA, 70, at=NOW - 8)
    assert [(await each_team.deliver(late, batch="d3")).outcomes for each_team in (team, other)] == [
        (GONE,),
        (APPLIED,),
    ]
    await other.deliver(delete("x", ADA), batch="d4")
    graves = await raw.rows(database_url, "SELECT hash FROM tombstones")
    assert len({row["hash"] for row in graves}) == 2
    assert not await traces(database_url, "ada@example")


async def test_of_a_delivery_the_rest_is_taken(team: Team) -> None:
    """In one request that creates, changes and deletes contacts each item has its own outcome."""
    await team.deliver(set_to("a", ADA, 60, at=NOW - 9), set_to("b", BOB, 20, at=NOW - 8))

    recorded: Recorded = await team.deliver(
        set_to("c", ADA, 70, at=NOW - 7), delete("x", ADA, at=NOW - 6), set_to("d", BOB, 30, at=NOW - 5),
        set_to("e", ADA, 80, at=NOW - 4), delete("y", "nobody@example.com"), set_to("f", BOB, 101, at=NOW - 3),
        batch="d2",
    )  # fmt: skip  # one request

    assert [outcome.status.value for outcome in recorded.outcomes] == [
        "ignored", "applied", "applied", "applied", "applied", "quarantined",
    ]  # fmt: skip  # one outcome for each item
    assert (await team.value(ADA), await team.value(BOB)) == (80_000, 30_000)
    assert [line.amount for line in await team.lines(ADA)] == [80_000]
    assert (await verify_next(team.workspace)).differences == ()


PEOPLE = (ADA, BOB, "eve@example.com")
teams = count(1)


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count the events in all examples of a test. Fail if there are too few to prove anything."""
    counts: Counter[str] = Counter()
    yield counts
    report_counts(request.node.name, counts)
    if counts["begun"] == counts["examples"]:
        assert counts["examples"] >= 20 * THOROUGH
        assert min(counts["facts"], counts["deletions"]) >= 10


@st.composite
def histories(draw: st.DrawFn, *, merges: bool) -> list[list[ItemRequest]]:
    """Choose adds, deletions and, with *merges*, merges at different times, in random deliveries and random order."""
    kinds, items = ["add", "add", "add", "delete", *(["merge"] if merges else [])], list[ItemRequest]()
    for number, kind in enumerate(draw(st.lists(st.sampled_from(kinds), min_size=4, max_size=14))):
        first, other = draw(st.permutations(PEOPLE))[:2]
        key, at = f"k{number}", NOW - 100 + number
        if kind == "add":
            items.append(change(key, first, Op.ADD, draw(st.integers(-9, 20)), at=at))
        elif kind == "delete":
            items.append(delete(key, first, at=at))
        else:
            items.append(Merge(key=key, contact=Reference(email=first), into=Reference(email=other), occurred_at=at))
    rest = list(draw(st.permutations([*items, *draw(st.lists(st.sampled_from(items), max_size=3))])))
    parts = []
    while rest:
        size = draw(st.integers(1, len(rest)))
        parts.append(rest[:size])
        rest = rest[size:]
    return parts


async def play(storage: Storage, counted: Counter[str], parts: list[list[ItemRequest]]) -> Team:
    """Deliver the parts to a new team. Fail if anything is quarantined, or verification finds a difference."""
    counted["begun"] += 1
    team = Team(await add_workspace(f"T{next(teams)}", name="Acme", by="U0ADMIN", now=NOW))
    for number, items in enumerate(parts):
        recorded = await team.deliver(*items, batch=f"d{number}")
        assert Status.QUARANTINED not in [outcome.status for outcome in recorded.outcomes]
        assert (await verify_next(team.workspace)).differences == ()
    items_told = [item for items in parts for item in items]
    counted["facts"] += sum(isinstance(item, Item) for item in items_told)
    counted["deletions"] += sum(isinstance(item, Deletion) for item in items_told)
    counted["merges"] += sum(isinstance(item, Merge) for item in items_told)
    return team


anything = settings(
    max_examples=25 * THOROUGH,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
@anything
@given(parts=histories(merges=False))
async def test_deletions_in_any_order_leave_the_same(
    storage: Storage, counted: Counter[str], parts: list[list[ItemRequest]]
) -> None:
    """Only what happened after a contact's last deletion remains, in any order of arrival."""
    team = await play(storage, counted, parts)

    by_key = {item.key: item for items in parts for item in items}
    for person in PEOPLE:
        about_person = sorted(
            (
                item
                for item in by_key.values()
                if isinstance(item, Item | Deletion) and item.contact == Reference(email=person)
            ),
            key=lambda item: item.occurred_at or 0,
        )
        value: int | None = None
        for item in about_person:
            value = None if isinstance(item, Deletion) else min(max((value or 0) + item.amount, 0), 100_000)
        contact = await find(team.workspace, text=person)
        assert bool(contact) == (value is not None)
        if contact:
            assert await team.value(person) == value
    counted["examples"] += 1


@pytest.mark.slow
@anything
@given(parts=histories(merges=True))
async def test_merges_and_deletions_keep_what_is_kept_the_fold_of_the_ledger(
    storage: Storage, counted: Counter[str], parts: list[list[ItemRequest]]
) -> None:
    """After each delivery of merges, deletions and changes, verification finds no difference."""
    await play(storage, counted, parts)
    counted["examples"] += 1


async def test_a_request_that_names_the_contact_by_an_id_alone_goes_and_others_keep_their_items(
    team: Team, crm: Source, database_url: str
) -> None:
    """A stored request that names a deleted contact by id is deleted; quarantined items of others keep their text."""
    await team.deliver(set_to("a", BOTH, 90, at=NOW - 9), set_to("b", ("crm", "secret-171"), 50, at=NOW - 9))
    named = Reference(source="crm", id="secret-17")
    refused = Unusable(key="q", reason="no", raw='{"id": "secret-17"}', contacts=(named,))
    other = Unusable(
        key="r", reason="no", raw='{"id": "secret-171"}', contacts=(Reference(source="crm", id="secret-171"),)
    )
    items: dict[str, list[ItemRequest]] = {
        "both": [refused, other],
        "ignored": [Ignored(key="i", reason="no", raw="{}", contacts=(named,))],
        "other": [other],
    }
    for key, some in items.items():
        request = Raw(method="POST", query="", headers={}, body=b"{}")
        delivered = Delivered(source=crm.id, key=key, raw=request)
        await team.deliver(*some, delivered=delivered, batch=f"crm/{key}")
    sent = {delivery.key: delivery.id for delivery in await deliveries(team.workspace, source=None, most=10)}

    await team.deliver(delete("x", ADA), batch="d3", received=NOW + SECOND)

    assert await team.set_aside(sent["both"]) == [
        (0, "q", "the contact it named was deleted", ""), (1, "r", "no", '{"id": "secret-171"}'),
    ]  # fmt: skip  # a line each
    for key in ("both", "ignored"):
        with pytest.raises(UnknownDelivery):
            await raw_delivery(team.workspace, id=sent[key])
    assert (await raw_delivery(team.workspace, id=sent["other"])).body == b"{}"
    assert await traces(database_url, "secret-17\n", ADA) == []


@pytest.mark.parametrize("kind", ["read", "not read any more"])
async def test_requests_that_an_earlier_version_kept_are_read_again(
    team: Team, crm: Source, database_url: str, kind: str
) -> None:
    """A stored request of an older version is parsed again, and deleted if it names the contact or is unreadable."""
    await team.deliver(set_to("a", BOTH, 90, at=NOW - 9), set_to("b", BOB, 50, at=NOW - 9))
    bodies = {"hers": b'{"who": "secret-17"}', "his": b'{"who": "bob"}'}
    asides = {"hers": Unusable(key="q", reason="no", raw="{}"), "his": Unusable(key="r", reason="no", raw=f'"{BOB}"')}
    for key, body in bodies.items():
        request = Raw(method="POST", query="", headers={}, body=body)
        await team.deliver(
            asides[key], delivered=Delivered(source=crm.id, key=key, raw=request), batch=f"crm/{key}", received=NOW
        )
    for table in ("raw_deliveries", "quarantine"):
        await raw.rows(database_url, f"UPDATE {table} SET names = NULL")
    sent = {delivery.key: delivery.id for delivery in await deliveries(team.workspace, source=None, most=10)}

    await team.deliver(delete("x", ADA), batch="d3", received=NOW + SECOND)

    queued = await raw.rows(database_url, "SELECT kind FROM jobs WHERE kind = 'names'")
    assert len(queued) == 1
    assert sorted(await list_unnamed_deliveries(team.workspace, limit=10)) == sorted(sent[key] for key in bodies)
    contacts = {"hers": Reference(source="crm", id="secret-17"), "his": Reference(email=BOB)}
    for key in bodies:
        again = [replace(asides[key], contacts=(contacts[key],))] if kind == "read" else None
        await record_request_names(team.workspace, id=sent[key], items=again)

    assert await list_unnamed_deliveries(team.workspace, limit=10) == []
    with pytest.raises(UnknownDelivery):
        await raw_delivery(team.workspace, id=sent["hers"])
    assert await team.set_aside(sent["his"]) == [(0, "r", "no", f'"{BOB}"')]
    if kind == "read":
        assert (await raw_delivery(team.workspace, id=sent["his"])).body == bodies["his"]
        assert await team.set_aside(sent["hers"]) == [(0, "q", "the contact it named was deleted", "")]
    else:
        with pytest.raises(UnknownDelivery):
            await raw_delivery(team.workspace, id=sent["his"])
        return
    # The request is indexed by now: a second deletion parses nothing again.
    await team.deliver(delete("y", BOB), batch="d4", received=NOW + 2 * SECOND)
    with pytest.raises(UnknownDelivery):
        await raw_delivery(team.workspace, id=sent["his"])
    assert len(await raw.rows(database_url, "SELECT kind FROM jobs WHERE kind = 'names'")) == 1


async def test_the_file_of_sqlite_forgets_too(team: Team, database_url: str, storage: Storage) -> None:
    """Neither the SQLite file nor its log contains the email or the name of a deleted contact."""
    if storage.dialect != "sqlite":
        return
    await team.deliver(set_to("a", "unique-ada@example.com", 90, at=NOW - 9, fields={"name": "Unmistakable"}))
    file = Path(database_url.removeprefix("sqlite://"))
    files = [file, file.with_name(f"{file.name}-wal")]
    words = [b"unique-ada", b"Unmistakable"]
    assert any(word in path.read_bytes() for path in files for word in words)

    await team.deliver(delete("x", "unique-ada@example.com"), batch="d2")

    assert [(path.name, word) for path in files for word in words if word in path.read_bytes()] == []


async def test_the_jobs_of_a_deleted_follow_up_go(team: Team, database_url: str) -> None:
    """Jobs about the follow-up of a deleted contact are deleted, and other jobs stay."""
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(set_to("a", ADA, 90, at=NOW - 9), set_to("b", BOB, 95, at=NOW - 9))
    count = "SELECT count(*) AS n FROM jobs WHERE kind = 'ask'"
    assert (await raw.rows(database_url, count))[0]["n"] == 2

    await team.deliver(delete("x", ADA), batch="d2", received=NOW + SECOND)

    assert (await raw.rows(database_url, count))[0]["n"] == 1


async def test_the_result_of_an_import_forgets_a_name_with_quotation_marks(team: Team, tmp_path: Path) -> None:
    """The lines of an import that name a deleted contact are removed, however its name is written in JSON."""
    await team.deliver(field_item("a", ADA, name='Ada "Ace" Lovelace'))
    path = tmp_path / "people.csv"
    path.write_text("email")
    reasons = ('`Ada "Ace" Lovelace` is not a number', "`Ada` is not a number")
    ids = [
        await store_file(
            team.workspace, path=path, name=path.name, key=reason, settings=ImportSettings(), by="U0ADMIN", now=NOW
        )
        for reason in reasons
    ]
    for id, reason in zip(ids, reasons, strict=True):
        await record_end(team.workspace, id=id, summary={}, errors=[(2, reason)], now=NOW)
    await team.deliver(Deletion(key="d", contact=Reference(email=ADA)), batch="d")

    files = [await load_file(team.workspace, id=id) for id in ids]
    assert [list(file.errors) for file in files if file] == [[], [(2, "`Ada` is not a number")]]
