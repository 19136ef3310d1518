"""An admin merges two contacts, and undoes the merge."""

from storage.reading.search import find
from tests.conftest import on_both
from tests.journeys.acme import Acme, button_of

ADMIN = "U0ADMIN"
LINE = "merge hopper@example.com into kelly@example.com"


@on_both
async def test_a_merge_is_previewed_confirmed_and_undone(acme: Acme) -> None:
    """The preview shows both contacts and the result; the click merges them; the button undoes the merge exactly."""
    await acme.ask("set kelly@example.com 60")
    await acme.ask("add hopper@example.com owner:rep@acme.example")

    preview = await acme.ask(LINE, user=ADMIN)

    assert acme.seen(preview) == (
        "Merge *Grace Hopper* into *Grace Kelly*? Nothing is changed yet.\n"
        "*Grace Hopper*\nE-mail: hopper@example.com\nCompany: Navy\nOwner: rep@acme.example\n"
        "Score: 41 (warm)\nFit: —\n"
        "*Grace Kelly*\nE-mail: kelly@example.com\nCompany: Monaco\nOwner: —\n"
        "Score: 60 (warm)\nFit: 3 (poor)\n"
        "*After the merge*: Grace Kelly\nE-mail: kelly@example.com\nCompany: Monaco\n"
        "Owner: rep@acme.example (from Grace Hopper)\nScore: 60 (warm)\nFit: 3 (poor)\n"
        "(All changes, follow-ups, addresses and ids of both belong to the merged contact."
        " Undo splits the two again.)\n[Merge] [Cancel]"
    )
    assert await count_graces(acme) == 2
    answer = await acme.press(preview, "Merge", user=ADMIN)
    (contact,) = await find(acme.workspace, text="kelly@example.com")
    assert [contact.id] == [found_contact.id for found_contact in await find(acme.workspace, text="hopper@example.com")]
    assert acme.seen(answer) == (
        "Grace Kelly · Grace Hopper and Grace Kelly are one contact now\n[Undo] [History]"
    )  # no score of Grace Kelly changed
    undone = await acme.press(answer, "Undo", user=ADMIN)
    assert acme.seen(undone) == (
        "Grace Hopper · Score 60 → 41 (warm) · Fit 3 → — · undone\n"
        "Grace Kelly · Fit — → 3 (poor) · Score — → 60 (warm) · undone\n[Undo]"
    )
    assert [await acme.value(f"{name}@example.com") for name in ("hopper", "kelly")] == [41_000, 60_000]
    assert button_of(undone, "Undo")


async def test_the_receipt_of_a_merge_shows_what_changed_for_the_contact_merged_into(acme: Acme) -> None:
    """Ada has had 62 all along; what she gains is the Satisfaction of the other contact."""
    await acme.ask("set kelly@example.com satisfaction=2")
    await acme.ask("set ada@example.com fit=9")

    preview = await acme.ask("merge kelly@example.com into ada", user=ADMIN)
    answer = await acme.press(preview, "Merge", user=ADMIN)

    assert "\nScore: 62 (warm)\nFit: 9 (good)\nSatisfaction: — → *2*" in acme.seen(preview)
    assert acme.seen(answer).startswith("Ada Lovelace · Satisfaction — → *2*")
    assert "Score" not in acme.seen(answer)
    assert "Fit" not in acme.seen(answer)


async def test_a_merge_is_canceled(acme: Acme) -> None:
    """Cancel replaces the preview, and the contacts stay two."""
    preview = await acme.ask(LINE, user=ADMIN)

    answer = await acme.press(preview, "Cancel", user=ADMIN)

    assert acme.seen(answer) == "Canceled: nothing was merged."
    assert await count_graces(acme) == 2


async def test_a_preview_of_contacts_that_were_merged_meanwhile_merges_nothing(acme: Acme) -> None:
    """Two previews of the same merge: the second click is refused, and the first receipt keeps its Undo."""
    first, second = await acme.ask(LINE, user=ADMIN), await acme.ask(LINE, user=ADMIN)
    receipt = await acme.press(first, "Merge", user=ADMIN)

    late = await acme.press(second, "Merge", user=ADMIN)

    assert acme.seen(late).startswith(
        "Nothing was changed: a contact of this preview was merged or deleted in the meantime. Look again: `/score"
    )
    assert button_of(receipt, "Undo")


async def test_what_is_said_of_one_while_two_are_merged_stays_its_own(acme: Acme) -> None:
    """A change by address, by card or by form of a merged contact belongs to that contact again after the split."""
    await acme.ask("set kelly@example.com 60")
    merged = await acme.press(await acme.ask(LINE, user=ADMIN), "Merge", user=ADMIN)
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

    assert bare == "Name both contacts: `/score merge hopper@example.com into ada@example.com`"
    assert "nobody@example.com" in nobody
    assert herself == "Ada Lovelace and Ada Lovelace are already one contact."
    assert several.startswith("2 contacts match “grace”. Which one?")


async def test_only_admins_merge(acme: Acme) -> None:
    """A member may not merge contacts, and is told so."""
    assert "admin" in acme.seen(await acme.ask(LINE))
    assert await count_graces(acme) == 2


async def count_graces(acme: Acme) -> int:
    """Return the number of contacts that have the addresses of Grace Hopper and Grace Kelly."""
    return len({contact.id for name in ("hopper", "kelly") for contact in await find(acme.workspace, text=name)})
