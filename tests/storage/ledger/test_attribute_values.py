"""Filters find contacts by the current values of their attributes, and no value of a deleted contact remains."""

from storage.alerts.enroll import add_alert_rule
from storage.alerts.followups import load_follow_ups
from storage.domain.contacts import Json, Reference
from storage.domain.facts import Deletion, Item, Merge
from storage.domain.filters import parse
from storage.ledger.verify import verify_next
from storage.reading.pages import page
from storage.scoring.definitions import score_types
from tests.storage import raw
from tests.storage.teams import DAY, NOW, Team, field_item, set_to

ADA, BOB = "ada@example.com", "bob@example.com"


def attributes_item(key: str, email: str, **attributes: Json) -> Item:
    """Return an item that states attributes of a contact."""
    return field_item(key, email, at=NOW, **{f"attributes.{name}": value for name, value in attributes.items()})


async def find_addresses(team: Team, text: str, *, now: int = NOW) -> list[str | None]:
    """Return the emails of the contacts that a filter finds. Fail if verification finds a difference."""
    assert (await verify_next(team.workspace)).differences == ()
    result = await page(team.workspace, query=parse(text, await score_types(team.workspace)), limit=9, now=now)
    return [card.contact.email for card in result.cards]


async def test_a_new_value_replaces_the_old_one(team: Team) -> None:
    """A new value replaces the old one of its attribute, list elements are found, and null or an undo removes it."""
    await team.deliver(attributes_item("a", ADA, plan="free", visits=3, likes=["tea", "Tea", "jazz"]))
    await team.deliver(attributes_item("b", ADA, plan="pro", likes=["jazz", "chess"]), batch="b", received=NOW + 1)
    await team.ask(Item(key="c", contact=Reference(email=ADA), fields={"attributes.visits": 9}), batch="c")

    assert await find_addresses(team, "attributes.plan:pro attributes.likes:chess attributes.visits=9") == [ADA]
    assert await find_addresses(team, "attributes.plan:free OR attributes.likes:tea OR attributes.visits=3") == []

    await team.undo("c", batch="u")
    assert await find_addresses(team, "attributes.visits=3") == [ADA]
    await team.deliver(attributes_item("d", ADA, visits=None), batch="d", received=NOW + 2)
    assert await find_addresses(team, "has:attributes.visits") == []


async def test_values_follow_a_merge_and_its_undo(team: Team) -> None:
    """A merged contact has the latest values of both contacts; after a split each contact has its own again."""
    await team.deliver(attributes_item("a", ADA, plan="pro", visits=3), attributes_item("b", BOB, plan="free", seats=5))
    merge = Merge(key="m", contact=Reference(email=BOB), into=Reference(email=ADA))
    await team.ask(merge, batch="m", received=NOW + 1)

    assert await find_addresses(team, "attributes.visits=3 attributes.seats=5 attributes.plan:free") == [ADA]
    assert await find_addresses(team, "attributes.plan:pro") == []

    await team.undo("m", batch="u", received=NOW + 2)
    assert await find_addresses(team, "attributes.plan:pro attributes.visits=3 -has:attributes.seats") == [ADA]
    assert await find_addresses(team, "attributes.plan:free attributes.seats=5 -has:attributes.visits") == [BOB]


async def test_nothing_is_left_of_the_values_of_a_deleted_contact(team: Team, database_url: str) -> None:
    """No value of a deleted contact, or of a contact merged into it, remains; other contacts keep theirs."""
    await team.deliver(attributes_item("a", ADA, plan="pro"), attributes_item("b", BOB, plan="pro"))
    await team.deliver(attributes_item("c", "eve@example.com", plan="pro"), batch="c")
    merge = Merge(key="m", contact=Reference(email=BOB), into=Reference(email=ADA))
    await team.ask(merge, batch="m", received=NOW + 1)

    await team.deliver(Deletion(key="x", contact=Reference(email=BOB)), batch="x", received=NOW + DAY)

    assert await find_addresses(team, "attributes.plan:pro") == ["eve@example.com"]
    assert len(await raw.rows(database_url, "SELECT * FROM attribute_values")) == 1


async def test_verify_finds_values_that_are_stored_otherwise(team: Team, database_url: str) -> None:
    """Verification finds a wrong key, number or instant, an extra value and a missing value."""
    await team.deliver(attributes_item("a", ADA, seats="1700000000", plan="pro"))
    for change in ("key = '17'", "number = 17", "instant = NULL", "name = 'seat'"):
        await raw.rows(database_url, f"UPDATE attribute_values SET {change} WHERE name = 'seats'")
        differences = (await verify_next(team.workspace)).differences
        assert {difference.what for difference in differences} >= {"values of attributes.seats"}, change
        assert not {"values of attributes.plan"} & {difference.what for difference in differences}
        restored = "key = '1700000000', number = 1700000000000000, instant = 1700000000000000, name = 'seats'"
        await raw.rows(database_url, f"UPDATE attribute_values SET {restored} WHERE name <> 'plan'")
    assert (await verify_next(team.workspace)).differences == ()


async def test_an_age_is_counted_from_the_moment_of_the_question(team: Team) -> None:
    """An age counts to the instant of the query, exact to the microsecond; a future time is younger than any age."""
    await team.deliver(
        attributes_item("a", ADA, seen="2025-12-25T00:00:00Z"), attributes_item("b", BOB, seen="2026-03-01")
    )

    assert await find_addresses(team, "attributes.seen<7d") == [BOB]
    assert await find_addresses(team, "attributes.seen<7d", now=NOW - 1) == [ADA, BOB]
    assert await find_addresses(team, "attributes.seen>=7d") == [ADA]
    assert await find_addresses(team, "attributes.seen>7d", now=NOW + 1) == [ADA]


async def test_an_alert_asks_about_attributes_that_come_with_the_change(team: Team) -> None:
    """The attributes of a change are stored before the condition of an alert rule is evaluated, in one transaction."""
    words = "when score crosses 80 if attributes.plan:pro attributes.seats:3..5 attributes.seen<7d in #sales"
    words = words.replace("#sales", "<#C0SALES>")
    rule = await add_alert_rule(team.workspace, words=words, made_by="U1", owners={}, now=NOW)
    for key, email, seats in (("a", ADA, 4), ("b", BOB, 6)):
        fields: dict[str, Json] = {"attributes.plan": "PRO", "attributes.seats": seats, "attributes.seen": "2025-12-31"}
        await team.deliver(set_to(key, email, 90, fields=fields), batch=key, received=NOW + 1)

    follow_ups = await load_follow_ups(team.workspace, ids=range(1, 9))
    assert [(follow_up.rule, follow_up.contact) for follow_up in follow_ups if follow_up.rule == rule.id] == [
        (rule.id, (await team.contact(ADA)).id)
    ]
