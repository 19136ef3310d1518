"""A contact folded to an earlier instant matches the filters that it matched at that instant."""

import random
from contextlib import suppress

from storage.bootstrap import Storage
from storage.db.database import current_database, read
from storage.domain.contacts import Json, Reference
from storage.domain.errors import CannotSplit
from storage.domain.facts import Item, Merge, Op
from storage.domain.filters import Filter, parse
from storage.domain.past_contacts import ContactLedger, fold_as_happened, fold_as_known
from storage.domain.people import Workspace
from storage.domain.score_types import Band, Rule
from storage.ledger.split import split_contact
from storage.reading.pages import matching_contacts
from storage.reading.past_contacts import load_contact_ledgers
from storage.scoring.definitions import add_score_type, score_types
from storage.workspaces import add_workspace
from tests.counts import report_counts
from tests.storage.teams import DAY, NOW, Team, change, field_item, set_to

ADA = "ada@example.com"
HOUR = DAY // 24
PEOPLE = 10
RULES = (
    Rule(name="Visit", activity="visit", points=7_000, condition="-tag:churned"),
    Rule(name="VIP", points=25_000, condition="tag:vip"),
    Rule(name="Small", points=-5_000, condition="-attributes.seats>=10"),
)
SAID: tuple[dict[str, Json], ...] = (
    {"tags": ["vip"]}, {"tags": ["churned", "vip"]}, {"tags": []}, {"company": "Acme"}, {"company": "Straße 5"},
    {"company": None}, {"attributes.seats": 12}, {"attributes.seats": 3}, {"attributes.seats": None}, {"name": "Zoë"},
    {"owner": "rep@example.com"}, {"attributes.last_seen": "2026-01-03T00:00:00Z"}, {"email": "other@example.com"},
)  # fmt: skip  # a table of fields


async def ruled_team(workspace: Workspace) -> Team:
    """Add a type with rules and a type that fades to a workspace."""
    common = {"minimum": -50_000, "maximum": 100_000, "step": 1_000, "start": 0, "is_default": False, "now": NOW}
    bands = (Band(name="cold", start=-50_000), Band(name="warm", start=20_000))
    await add_score_type(workspace, key="fit", label="Fit", bands=bands, rules=RULES, **common, by="U0ADMIN")  # type: ignore[arg-type]  # named arguments
    await add_score_type(workspace, key="heat", label="Heat", bands=bands, half_life=DAY, **common, by="U0ADMIN")  # type: ignore[arg-type]  # named arguments
    return Team(workspace)


def choose_term(dice: random.Random) -> str:
    """Return a filter term of any kind, sometimes negated."""
    key, window = dice.choice(["fit", "heat"]), dice.choice(["2h", "1d", "3d", "9d"])
    term = dice.choice(
        [
            f"{key}>={dice.randint(-20, 60)}", f"{key}<{dice.randint(-20, 60)}", f"{key}:warm", f"has:{key}",
            f"{key} {dice.choice(['rising', 'falling', 'moved'])} {dice.choice(['1', '5', '20%'])} in {window}",
            f"{key} crossed {dice.choice(['above', 'below'])} {dice.choice(['5', '20'])} in {window}",
            f"{key} stale {window}", f"updated<{window}", f"updated>={window}", "tag:vip", "tag:(churned,beta)",
            "company:acme", 'company~"STRASSE"', "attributes.seats>=10", "has:attributes.seats", "zoë", "email~other",
            "owner:rep@example.com", f"attributes.last_seen<{window}", "email~p1",
        ]
    )  # fmt: skip  # a table of ways to ask
    return dice.choice([term, f"-({term})"])


def choose_item(dice: random.Random, key: str, *, at: int) -> Item:
    """Return a change, an activity or fields of one of ten contacts, often late."""
    number = dice.randrange(PEOPLE)
    contact = dice.choice([Reference(email=f"p{number}@example.com"), Reference(source="crm", id=f"{number}")])
    happened = at - dice.choice([0, 0, HOUR, DAY, 5 * DAY])
    if (kind := dice.random()) < 0.3:
        return field_item(key, contact, at=happened, **dice.choice(SAID))
    if kind < 0.5:
        email = Reference(email=f"p{number}@example.com")
        return Item(key=key, contact=email, activity="visit", amount=1_000, occurred_at=happened)
    op = dice.choice([Op.SET, Op.ADD, Op.ADD, Op.CLEAR])
    amount = 0 if op is Op.CLEAR else dice.randint(-20, 60)
    return change(key, contact, op, amount, score=dice.choice(["fit", "heat"]), at=happened)


async def do_anything(team: Team, dice: random.Random, number: int, batches: list[str], *, at: int) -> None:
    """Record a delivery, or a person's request: an item, a merge, a split, or the undo of one of those."""
    batch, kind = f"b{number}", dice.random()
    items = [choose_item(dice, f"{number}/{place}", at=at) for place in range(dice.randint(1, 3))]
    if kind < 0.2 and batches:
        await team.undo(batches.pop(dice.randrange(len(batches))), batch=batch, received=at)
    elif kind < 0.27:
        first, other = (Reference(email=f"p{place}@example.com") for place in dice.sample(range(PEOPLE), 2))
        await team.ask(Merge(key=batch, contact=first, into=other), batch=batch, received=at)
        batches.append(batch)
    elif kind < 0.37:
        id = Reference(source="crm", id=f"{dice.randrange(PEOPLE)}")
        contact = await team.contact(f"crm:{id.id}")
        with suppress(CannotSplit):
            await split_contact(team.workspace, contact=contact.id, id=id, actor="U0REP", batch=batch, now=at)
            batches.append(batch)
    elif kind < 0.6:
        await team.ask(items[0], batch=batch, received=at)
        batches.append(batch)
    else:
        await team.deliver(*items, batch=batch, received=at)


async def test_a_contact_folded_to_an_instant_matches_what_it_matched_then(storage: Storage) -> None:
    """The fold to an instant gives the answers of filters asked then, whatever became known or undone since."""
    team = await ruled_team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
    types, dice, at = await score_types(team.workspace), random.Random(11), NOW
    for number in range(PEOPLE):
        both = Reference(email=f"p{number}@example.com", source="crm", id=f"{number}")
        await team.deliver(field_item(f"s{number}", both, at=NOW - 9 * DAY), batch=f"s{number}", received=at)
    answers: list[tuple[int, str, Filter, set[int], set[int]]] = []
    batches: list[str] = []
    for number in range(60):
        at += dice.choice([1, HOUR, DAY // 3])
        rows = await read("SELECT id FROM contacts WHERE merged_into IS NULL")
        for text in (choose_term(dice) for _ in range(2)):
            query = parse(text, types)
            reader = current_database().reader
            matches = await matching_contacts(reader, team.workspace, where=query.where, among=None, now=at)
            answers.append((at, text, query, {row["id"] for row in rows}, set(matches)))
        await do_anything(team, dice, number, batches, at=at)

    everybody = {id for _, _, _, ids, _ in answers for id in ids}
    ledgers: dict[int, ContactLedger] = {}
    for id in everybody:  # one by one: the rows of the others must be found
        ledgers |= await load_contact_ledgers(current_database().reader, team.workspace, [id])
    cells = hits = 0
    for asked_at, text, query, ids, expected in answers:
        matches = [id for id in ids if query.matches(fold_as_known(ledgers[id], query.scores, at=asked_at))]
        assert (asked_at, text, sorted(matches)) == (asked_at, text, sorted(expected))
        cells, hits = cells + len(ids), hits + len(expected)
    merged = {len(ids) for _, _, _, ids, _ in answers}
    report_counts("asked of the past", {"cells": cells, "hits": hits, "fewest contacts": min(merged)})
    assert 0.15 < hits / cells < 0.85
    assert min(merged) < max(merged)


async def test_a_simulation_sees_what_had_happened_whenever_it_became_known(storage: Storage) -> None:
    """A late fact counts from the time at which it happened; an undone one does not; a batch counts as a whole."""
    team = await ruled_team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
    await team.deliver(field_item("1", ADA, at=NOW + HOUR, tags=["vip"]), batch="late", received=NOW + 9 * HOUR)
    await team.ask(field_item("2", ADA, company="Acme"), batch="undone", received=NOW + 10 * HOUR)
    await team.undo("undone", batch="undo", received=NOW + 11 * HOUR)
    await team.deliver(
        set_to("3", ADA, 40, score="heat", at=NOW + 12 * HOUR), field_item("4", ADA, at=NOW + 13 * HOUR, name="Ada"),
        batch="both", received=NOW + 14 * HOUR,
    )  # fmt: skip  # what and when
    contact = await team.contact(ADA)
    types = await score_types(team.workspace)
    ledger = (await load_contact_ledgers(current_database().reader, team.workspace, [contact.id]))[contact.id]

    def matches(text: str, at: int, batch: str | None = None) -> bool:
        query = parse(text, types)
        return query.matches(fold_as_happened(ledger, query.scores, at=at, batch=batch))

    assert [matches("tag:vip", at) for at in (NOW + HOUR, NOW + HOUR + 1, NOW + 9 * HOUR)] == [False, True, True]
    assert not matches("company:acme", NOW + 20 * HOUR)
    assert [matches("name~ada", NOW + 12 * HOUR, batch) for batch in (None, "both", "late")] == [False, True, False]
    assert [matches("heat>=40", NOW + 12 * HOUR, batch) for batch in (None, "late")] == [False, True]
