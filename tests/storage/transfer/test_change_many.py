"""A change of many contacts is previewed, applied once to each contact, and undone by one undo."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from storage import jobs
from storage.alerts.enroll import choose_channel
from storage.bootstrap import Storage
from storage.bulk_changes import (
    APPLY,
    StoredBulkChange,
    add_bulk_change,
    cancel_bulk_change,
    confirm_bulk_change,
    delete_old_bulk_changes,
    load_bulk_change,
    make_job,
)
from storage.db import database
from storage.domain.bulk_changes import BulkChange, ScoreChange, build_items, make_bulk_change
from storage.domain.errors import ContactChanged
from storage.domain.facts import DAY, Merge, Op
from storage.domain.filters import parse
from storage.domain.submissions import Submission
from storage.ledger.erase_many import delete_contacts
from storage.ledger.refold_job import refold_pending
from storage.ledger.verify import verify_next
from storage.scoring.definitions import score_types
from storage.transfer.change_many import (
    MOST_CONTACTS,
    SLICE,
    TooManyContacts,
    apply_bulk_change,
    make_handlers,
    preview_bulk_change,
    select_contacts,
)
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team, field_item, set_to

ADD_FIVE = make_bulk_change(scores=[ScoreChange(score="score", op=Op.ADD, amount=5_000)], reason="fair")


def clock() -> int:
    """Return the time of these tests."""
    return NOW


async def make_team(number: int, *, value: int = 50) -> Team:
    """Return a team with contacts p0, p1 … that have the same score."""
    team = Team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
    items = [set_to(f"s{index}", f"p{index}@example.com", value, at=NOW - DAY) for index in range(number)]
    await team.deliver(*items)
    return team


async def plan(
    team: Team, change: BulkChange, text: str = "has:score", *, batch: str = "slack/bulk"
) -> StoredBulkChange:
    """Preview a change of the contacts that match a filter."""
    query = parse(text, await score_types(team.workspace))
    ids = await select_contacts(team.workspace, query=query, now=NOW)
    id = await add_bulk_change(
        team.workspace, batch=batch, change=change, contacts=ids, text=text, by="U0REP", address=None, now=NOW
    )
    assert await preview_bulk_change(team.workspace, id=id, clock=clock)
    return await load(team, id)


async def load(team: Team, id: int) -> StoredBulkChange:
    """Return a stored change."""
    stored = await load_bulk_change(team.workspace, id=id)
    assert stored is not None
    return stored


async def confirm(team: Team, stored: StoredBulkChange, *, asks: bool = True) -> bool:
    """Confirm a previewed change."""
    return await confirm_bulk_change(team.workspace, id=stored.id, asks=asks, by="U0REP", words="Score +5", now=NOW)


async def values(team: Team, names: Sequence[str]) -> list[int | None]:
    """Return the scores of contacts."""
    return [await team.value(f"{name}@example.com") for name in names]


async def count_rows(sql: str) -> int:
    """Return the number that a statement counts."""
    (row,) = await database.read(sql)
    return int(row["number"])


async def test_a_change_of_several_slices_is_applied_once_and_undone_by_one_undo(storage: Storage) -> None:
    """The preview changes nothing; every contact gets five points; one undo takes them back, and an undo of it not."""
    number = SLICE * 2 + 30
    team = await make_team(number)
    await team.ask(set_to("top", "p1@example.com", 98), batch="slack/top")
    await team.ask(set_to("end", "p2@example.com", 100), batch="slack/end")

    stored = await plan(team, ADD_FIVE, "has:score sort:-score")
    facts = await count_rows("SELECT count(*) AS number FROM facts")
    preview = stored.preview
    assert (preview.changed, preview.same, preview.cut, preview.missing) == (number - 1, 1, 1, 0)
    scores = [scores for _, scores in preview.first[:2]]
    assert json.dumps(scores) == '[[["score", 98000, 100000]], [["score", 50000, 55000]]]'
    assert await values(team, ["p0", "p1", "p2"]) == [50_000, 98_000, 100_000]

    assert await confirm(team, stored)
    assert not await confirm(team, stored)  # a second click
    assert await apply_bulk_change(team.workspace, id=stored.id, clock=clock)
    assert await apply_bulk_change(team.workspace, id=stored.id, clock=clock)

    assert (await load(team, stored.id)).result.changed == number - 1
    assert await count_rows("SELECT count(*) AS number FROM facts") == facts + number
    assert await values(team, ["p0", "p1", "p2", f"p{number - 1}"]) == [55_000, 100_000, 100_000, 55_000]
    entry = (await team.lines("p0@example.com"))[0]
    assert (entry.actor, entry.reason) == ("U0REP", "fair")

    for batch, expected in (("undo", [50_000, 98_000]), ("again", [55_000, 100_000])):
        undoes = stored.batch if batch == "undo" else "undo"
        undo = Submission(
            source="slack",
            batch=batch,
            received_at=NOW + 1,
            actor="U0REP",
            all_or_none=True,
            undoes=undoes,
            defers=True,
        )
        assert (await team.record(undo)).pending == number
        await refold_pending(team.workspace, undo=batch, on_slice=lambda _: None, clock=clock)
        assert await values(team, ["p0", "p1"]) == expected
    assert (await verify_next(team.workspace, most=number)).differences == ()


async def test_an_interrupted_slice_is_repeated_without_effect(storage: Storage) -> None:
    """A process that dies after a slice was recorded, and before that was noted, changes no contact twice."""
    team = await make_team(SLICE + 5)
    stored = await plan(team, ADD_FIVE)
    assert await confirm(team, stored)
    claimed = await jobs.start(team.workspace, job=make_job(team.workspace, APPLY, stored.id, now=NOW), now=NOW)
    assert claimed is not None
    apply_slice = make_handlers(clock)[APPLY]
    assert (await apply_slice(team.workspace, claimed)).next_position == SLICE
    await database.change("UPDATE bulk_changes SET result = NULL")  # as if it had died before it noted the slice

    while (await apply_slice(team.workspace, claimed)).next_position is not None:
        pass

    assert (await load(team, stored.id)).result.changed == SLICE + 5
    assert {await team.value(f"p{index}@example.com") for index in range(SLICE + 5)} == {55_000}


async def test_the_contacts_are_those_of_the_preview(storage: Storage) -> None:
    """A contact that matches later is not changed; merged ones are changed once; deleted ones are counted."""
    team = await make_team(5)
    stored = await plan(team, ADD_FIVE, "score<=50")
    await team.ask(set_to("late", "late@example.com", 10), batch="slack/late")
    ids = {name: (await team.contact(f"{name}@example.com")).id for name in ("p0", "p1", "p2")}
    await team.ask(Merge(key="m", contact=ids["p1"], into=ids["p0"]), batch="slack/m")
    await delete_contacts(team.workspace, ids=[ids["p2"]], progress=lambda _: None, by="U0ADMIN", clock=clock)

    assert await confirm(team, stored)
    assert await apply_bulk_change(team.workspace, id=stored.id, clock=clock)

    result = (await load(team, stored.id)).result
    assert (result.changed, result.missing) == (3, 2)
    assert await values(team, ["p0", "p3", "p4", "late"]) == [55_000, 55_000, 55_000, 10_000]


async def test_follow_ups_are_counted_before_and_created_only_if_asked_for(storage: Storage) -> None:
    """The preview says how many follow-ups the change opens; applied without alerts, it opens none."""
    team = await make_team(4, value=78)
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.ask(set_to("hot", "p3@example.com", 90), batch="slack/hot")
    opened = "SELECT count(*) AS number FROM follow_ups"
    before = await count_rows(opened)

    stored = await plan(team, ADD_FIVE, "score<90")
    quiet = await plan(team, ADD_FIVE, "score<90 email~p0", batch="slack/quiet")

    assert (stored.preview.follow_ups, quiet.preview.follow_ups) == (3, 1)
    assert await count_rows(opened) == before
    assert await confirm(team, quiet, asks=False)
    assert await apply_bulk_change(team.workspace, id=quiet.id, clock=clock)
    assert await count_rows(opened) == before
    assert await confirm(team, stored)
    assert await apply_bulk_change(team.workspace, id=stored.id, clock=clock)
    assert await count_rows(opened) == before + 2  # p0 was hot already


async def test_tags_and_owners_change_for_those_that_differ(storage: Storage) -> None:
    """A tag is added beside the others, whatever its case; an undo gives back the tags from before."""
    team = await make_team(3)
    await team.deliver(
        field_item("f0", "p0@example.com", tags=["beta", "VIP"]), field_item("f1", "p1@example.com", tags=["old"])
    )
    change = make_bulk_change(tags=["vip", " new "], untags=["OLD"], owner="rep@acme.example")

    stored = await plan(team, change)
    assert (stored.preview.changed, stored.preview.same) == (3, 0)
    assert await confirm(team, stored)
    assert await apply_bulk_change(team.workspace, id=stored.id, clock=clock)

    found = [await team.contact(f"p{index}@example.com") for index in range(3)]
    assert [contact.tags for contact in found] == [("beta", "VIP", "new"), ("vip", "new"), ("vip", "new")]
    assert {contact.owner for contact in found} == {"rep@acme.example"}
    assert (await plan(team, replace(change, untags=()), batch="slack/2")).preview.same == 3
    await team.undo(stored.batch, batch="undo")
    found = [await team.contact(f"p{index}@example.com") for index in range(3)]
    assert [(contact.tags, contact.owner) for contact in found] == [
        (("beta", "VIP"), None),
        (("old",), None),
        ((), None),
    ]


async def test_a_change_that_is_undone_while_it_is_applied_stops(storage: Storage) -> None:
    """The slices after the undo are not recorded."""
    team = await make_team(SLICE + 1)
    stored = await plan(team, ADD_FIVE)
    assert await confirm(team, stored)
    claimed = await jobs.start(team.workspace, job=make_job(team.workspace, APPLY, stored.id, now=NOW), now=NOW)
    assert claimed is not None
    apply_slice = make_handlers(clock)[APPLY]
    await apply_slice(team.workspace, claimed)
    await team.undo(stored.batch, batch="undo")

    while (await apply_slice(team.workspace, claimed)).next_position is not None:
        pass

    assert {await team.value(f"p{index}@example.com") for index in range(SLICE + 1)} == {50_000}
    assert await count_rows("SELECT count(*) AS number FROM facts WHERE source = 'slack' AND op = 'add'") == SLICE


async def test_tags_are_not_stated_of_a_contact_that_changed_meanwhile(storage: Storage) -> None:
    """A list of tags is recorded only if the contact is as it was when its tags were read."""
    team = await make_team(1)
    read = await team.contact("p0@example.com")
    (item,) = build_items(make_bulk_change(tags=["vip"]), read, key="slack/late")
    late = replace(team.asking(item, batch="slack/late"), expects_each={read.id: read.version})
    await team.deliver(field_item("f", "p0@example.com", tags=["beta"]))

    with pytest.raises(ContactChanged):
        await team.record(late)

    stored = await plan(team, make_bulk_change(tags=["vip"]))
    assert await confirm(team, stored)
    assert await apply_bulk_change(team.workspace, id=stored.id, clock=clock)
    assert (await team.contact("p0@example.com")).tags == ("beta", "vip")


async def test_too_many_contacts_and_old_previews(storage: Storage) -> None:
    """More contacts than the limit are refused, a canceled preview cannot be confirmed, and old ones are deleted."""
    team = await make_team(2)
    query = parse("has:score", await score_types(team.workspace))
    stored, canceled = await plan(team, ADD_FIVE), await plan(team, ADD_FIVE, batch="slack/2")

    assert len(await select_contacts(team.workspace, query=replace(query, limit=1), now=NOW)) == 1
    assert await cancel_bulk_change(team.workspace, id=canceled.id)
    assert not await confirm(team, canceled)
    await delete_old_bulk_changes(team.workspace, now=NOW + DAY)
    assert await load_bulk_change(team.workspace, id=stored.id) is not None
    await delete_old_bulk_changes(team.workspace, now=NOW + DAY + 1)
    assert await load_bulk_change(team.workspace, id=stored.id) is None
    await database.change(
        "INSERT INTO contacts (workspace_id, tags, tags_key, attributes, stamps, created_at, updated_at)"
        " SELECT $2, '[]', '', '{}', '{}', 0, 0 FROM given(n bigint)",
        [{"n": n} for n in range(MOST_CONTACTS)],
        team.workspace.id,
    )
    with pytest.raises(TooManyContacts):
        await select_contacts(team.workspace, query=parse("-tag:x", []), now=NOW)
