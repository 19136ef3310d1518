"""Sources, and the requests of sources that were refused."""

import pytest

from storage.domain.errors import AlreadyThere, BadName, UnknownDelivery, UnknownSource
from storage.domain.submissions import Delivered
from storage.sources.config import add_source, find_source, sources
from storage.sources.deliveries import count_refusal, deliveries, delivery, list_refusals
from tests.storage.teams import NOW, SECOND, Team, set_to


async def test_a_source_is_what_was_configured(team: Team) -> None:
    """A source is found by team and slug, with its secrets, and sources are listed by slug."""
    added = [
        await add_source(team.workspace, slug=slug, provider="generic", secrets=secrets, by="U0ADMIN", now=NOW)
        for slug, secrets in (("n8n", ["new", "old"]), ("crm", []))
    ]

    assert await find_source("T0ACME", slug="n8n") == added[0]
    assert await sources(team.workspace) == [added[1], added[0]]
    assert (added[0].workspace, added[0].provider, added[0].secrets) == (team.workspace, "generic", ("new", "old"))


@pytest.mark.parametrize(("name", "slug"), [("T0ACME", "n8n"), ("T0OTHER", "crm"), ("", "")])
async def test_an_unknown_source_is_refused(team: Team, name: str, slug: str) -> None:
    """A wrong team or a wrong slug in an address is refused."""
    await add_source(team.workspace, slug="crm", provider="generic", secrets=[], by="U0ADMIN", now=NOW)
    with pytest.raises(UnknownSource) as refusal:
        await find_source(name, slug=slug)

    assert str(refusal.value) == f"there is no source `{slug}` in {name}"


async def test_a_slug_is_used_once_and_means_nothing_else(team: Team) -> None:
    """A slug is unique, no key of a score type, and no reserved word."""
    await add_source(team.workspace, slug="crm", provider="generic", secrets=[], by="U0ADMIN", now=NOW)

    with pytest.raises(AlreadyThere) as error:
        await add_source(team.workspace, slug="crm", provider="generic", secrets=[], by="U0ADMIN", now=NOW)
    assert str(error.value) == "the source `crm` already exists; choose another name"
    for slug in ("score", "slack", "owner", "CRM"):
        with pytest.raises(BadName):
            await add_source(team.workspace, slug=slug, provider="generic", secrets=[], by="U0ADMIN", now=NOW)
    assert [source.slug for source in await sources(team.workspace)] == ["crm"]


async def test_refusals_are_counted_with_the_last_reason(team: Team) -> None:
    """Refused requests are counted by source with the last reason; sources without any are not listed."""
    ids = {
        slug: (await add_source(team.workspace, slug=slug, provider="generic", secrets=[], by="U0ADMIN", now=NOW)).id
        for slug in ("zapier", "crm", "quiet")
    }
    for number, (slug, reason, hint) in enumerate(
        [
            ("crm", "no signature", ""),
            ("zapier", "no secret fits", "h"),
            ("crm", "too old", "the clock differs by 312 s"),
        ]
    ):
        await count_refusal(team.workspace, source=ids[slug], reason=reason, hint=hint, now=NOW + number)

    assert [
        (refusal.source, refusal.count, refusal.last_at, refusal.reason, refusal.hint)
        for refusal in await list_refusals(team.workspace)
    ] == [
        ("crm", 2, NOW + 2, "too old", "the clock differs by 312 s"),
        ("zapier", 1, NOW + 1, "no secret fits", "h"),
    ]


async def test_deliveries_are_listed_newest_first(team: Team) -> None:
    """Deliveries of one source or all are listed newest first, up to a limit, and each can be loaded."""
    ids = {}
    for slug in ("crm", "n8n"):
        ids[slug] = (
            await add_source(team.workspace, slug=slug, provider="generic", secrets=[], by="U0ADMIN", now=NOW)
        ).id
    for number in range(6):
        slug = ("crm", "n8n")[number % 2]
        await team.deliver(
            set_to(f"k{number}", "ada@example.com", number), source=slug, batch=f"d{number}",
            received=NOW + number * SECOND, delivered=Delivered(source=ids[slug], key=f"d{number}"),
        )  # fmt: skip  # delivery

    listed = [
        await deliveries(team.workspace, source=slug, most=most) for slug, most in ((None, 4), ("n8n", 9), ("no", 9))
    ]
    assert [[delivery.key for delivery in some] for some in listed] == [
        ["d5", "d4", "d3", "d2"],
        ["d5", "d3", "d1"],
        [],
    ]
    first = listed[0][0]
    assert await delivery(team.workspace, id=first.id) == (first, [])
    assert (first.source, first.received_at, first.applied) == ("n8n", NOW + 5 * SECOND, 1)
    with pytest.raises(UnknownDelivery) as unknown:
        await delivery(team.workspace, id=999_999)
    assert str(unknown.value) == "there is no delivery 999999; `contact-score deliveries list` names the latest"
