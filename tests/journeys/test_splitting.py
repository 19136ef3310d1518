"""An admin splits an id of a source from a contact, and undoes the split."""

from tests.conftest import on_both
from tests.journeys.acme import Acme

ADMIN = "U0ADMIN"
LINE = "split ada crm:17"


async def push_two_ids(acme: Acme) -> None:
    """Push changes of two ids that came with Ada's address: the second belongs to somebody else."""
    ada = {"email": "ada@example.com"}
    await acme.pushed(
        {"type": "score.set", "contact": ada | {"id": "16"}, "score": "fit", "value": 8, "id": "a"},
        {"type": "score.add", "contact": ada | {"id": "17"}, "score": "score", "value": 20, "id": "b"},
        {"type": "contact.upsert", "contact": {"id": "17", "company": "Other Engines"}, "id": "c"},
    )


@on_both
async def test_a_split_is_previewed_confirmed_and_undone(acme: Acme) -> None:
    """The preview shows both contacts with their scores; the click splits; Undo joins the two exactly."""
    await push_two_ids(acme)

    preview = await acme.ask(LINE, user=ADMIN)

    assert acme.seen(preview) == (
        "Split *crm:17* from *Ada Lovelace*? Nothing is changed yet.\n"
        "*Ada Lovelace* keeps its data: 5 changes stay\nE-mail: ada@example.com\nCompany: Analytical Engines\n"
        "Owner: rep@acme.example\nTags: vip, trial\nIds: crm:16\nFit: 8 (good)\nScore: 82 → *62* (warm)\n"
        "*crm:17* becomes a contact: 2 changes move\nCompany: Other Engines\nIds: crm:17\nScore: — → *20* (cold)\n"
        "(5 changes of crm stay: they did not name this id, or an earlier version recorded them without the id.)\n"
        "(No follow-up is created; open follow-ups stay where they are. Undo joins the two again.)\n[Split] [Cancel]"
    )
    assert await acme.value("ada@example.com") == 82_000
    receipt = await acme.press(preview, "Split", user=ADMIN)
    assert acme.seen(receipt) == (
        "crm:17 is a contact of its own now, with 2 changes.\n"
        "*Ada Lovelace*\nE-mail: ada@example.com\nCompany: Analytical Engines\nOwner: rep@acme.example\n"
        "Tags: vip, trial\nIds: crm:16\nFit: 8 (good)\nScore: 82 → *62* (warm)\n"
        "*crm:17*\nCompany: Other Engines\nIds: crm:17\nScore: — → *20* (cold)\n[Undo]"
    )
    assert [await acme.value("ada@example.com"), await acme.value("crm:17")] == [62_000, 20_000]
    undone = acme.seen(await acme.ask("undo", user=ADMIN))
    assert "undone" in undone
    assert (await acme.contact("crm:17")).id == (await acme.contact("ada@example.com")).id
    assert [await acme.value("ada@example.com"), (await acme.contact("crm:17")).company] == [82_000, "Other Engines"]


async def test_a_split_is_canceled(acme: Acme) -> None:
    """Cancel replaces the preview, and the contact stays one."""
    await push_two_ids(acme)

    answer = await acme.press(await acme.ask(LINE, user=ADMIN), "Cancel", user=ADMIN)

    assert acme.seen(answer) == "Canceled: nothing was split."
    assert (await acme.contact("crm:17")).id == (await acme.contact("ada@example.com")).id


async def test_what_cannot_be_split_is_refused_with_the_reason(acme: Acme) -> None:
    """A line without an id, an unknown id, another contact's id and a contact's only id change nothing."""
    how = "Name the contact and the id that belongs to somebody else: `/score split CONTACT SOURCE:ID`"

    assert acme.seen(await acme.ask("split ada", user=ADMIN)) == how
    assert acme.seen(await acme.ask("split crm:17", user=ADMIN)) == how
    assert acme.seen(await acme.ask("split ada crm:99", user=ADMIN)) == "No contact has the id `crm:99`"
    assert acme.seen(await acme.ask("split ada crm:4711", user=ADMIN)) == "`crm:4711` is an id of another contact"
    assert acme.seen(await acme.ask("split ida crm:4711", user=ADMIN)) == (
        "`crm:4711` is all that identifies this contact: there is nothing to split off"
    )
    several = acme.seen(await acme.ask("split grace crm:17", user=ADMIN))
    assert several.startswith("2 contacts match “grace”. Which one?")
    assert "admin" in acme.seen(await acme.ask(LINE))
