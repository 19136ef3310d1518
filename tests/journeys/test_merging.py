"""An admin merges two contacts, and undoes the merge."""

from storage.reading.search import find
from tests.conftest import on_both
from tests.journeys.acme import Acme, button_of

ADMIN = "U0ADMIN"
LINE = "merge hopper@example.com into kelly@example.com"


@on_both
async def test_two_become_one_and_are_parted_again(acme: Acme) -> None:
    """The answer shows the contact and its new scores; the button undoes the merge exactly, and restores it."""
    await acme.ask("set kelly@example.com 60")

    answer = await acme.ask(LINE, user=ADMIN)

    (contact,) = await find(acme.workspace, text="kelly@example.com")
    assert [contact.id] == [found_contact.id for found_contact in await find(acme.workspace, text="hopper@example.com")]
    text = acme.seen(answer)
    assert "Grace Hopper and Grace Kelly are one contact now" in text
    assert "Score 41 → *60* (warm)" in text
    assert text.count("→") == 2  # and Fit, which only the merged contact had
    undone = await acme.press(answer, "Undo", user=ADMIN)
    assert acme.seen(undone) == (
        "Grace Hopper · Score 60 → 41 (warm) · Fit 3 → — · undone\n"
        "Grace Kelly · Fit — → 3 (poor) · Score — → 60 (warm) · undone\n[Undo]"
    )
    assert [await acme.value(f"{name}@example.com") for name in ("hopper", "kelly")] == [41_000, 60_000]
    assert button_of(undone, "Undo")


async def test_what_is_said_of_one_while_two_are_merged_stays_its_own(acme: Acme) -> None:
    """A change by address, by card or by form of a merged contact belongs to that contact again after the split."""
    await acme.ask("set kelly@example.com 60")
    merged = await acme.ask(LINE, user=ADMIN)
    await acme.ask("set kelly@example.com 90")
    await acme.ask("set hopper@example.com satisfaction=2")
    view = await acme.press_for_form(await acme.ask("kelly@example.com"), "Set")
    receipt = await acme.hand_in(view, score_fit="9")
    assert "Fit 3 → *9*" in acme.seen(receipt)
    await acme.ask("clear hopper@example.com score")
    await acme.press(await acme.ask("kelly@example.com"), "Make me the owner")

    await acme.press(merged, "Undo", user=ADMIN)

    kelly, hopper = ("kelly@example.com", "hopper@example.com")
    values = [[await acme.value(who, key) for key in ("score", "fit", "satisfaction")] for who in (kelly, hopper)]
    assert values == [[90_000, 9_000, None], [None, None, 2_000]]
    owners = [(await acme.contact(who)).owner for who in (kelly, hopper)]
    assert owners[0] is not None
    assert owners[0] != owners[1]


async def test_who_is_one_already_and_who_is_nobody(acme: Acme) -> None:
    """Merging a contact into itself or an unknown contact changes nothing, and the answer says what to type."""
    bare = acme.seen(await acme.ask("merge ada", user=ADMIN))
    nobody = acme.seen(await acme.ask("merge ada into nobody@example.com", user=ADMIN))
    herself = acme.seen(await acme.ask("merge ada into ada@example.com", user=ADMIN))
    several = acme.seen(await acme.ask("merge ada into grace", user=ADMIN))

    assert bare == "Name both contacts: `/score merge ada.l@example.com into ada@example.com`"
    assert "nobody@example.com" in nobody
    assert herself == "Ada Lovelace and Ada Lovelace are already one contact."
    assert several.startswith("2 contacts match “grace”. Which one?")


async def test_only_admins_merge(acme: Acme) -> None:
    """A member may not merge contacts, and is told so."""
    assert "admin" in acme.seen(await acme.ask(LINE))
    assert len({contact.id for name in ("hopper", "kelly") for contact in await find(acme.workspace, text=name)}) == 2
