"""An admin deletes a contact: a form lists the data, a tick confirms, and then nothing is left."""

from functools import partial

from bot.demo.world import View
from storage.reading.search import find
from tests.conftest import on_both
from tests.journeys.acme import Acme, entered

ADMIN = "U0ADMIN"
TICKED = [{"text": {"type": "plain_text", "text": "Delete for good"}, "value": "sure"}]


async def ask_for_form(acme: Acme, line: str, *, user: str = ADMIN) -> View:
    """Type a line, and return the form that it opens."""
    _, call = await acme.answered(lambda: acme.sandbox.say(f"/score {line}", user=user, channel="C0SALES"))
    assert call.method == "views.open"
    return acme.sandbox.open_views(user)[-1]


@on_both
async def test_a_contact_is_deleted(acme: Acme) -> None:
    """The form counts the data; after it is submitted the contact is gone; submitted again, it says so."""
    await acme.ask("set ada 85")
    view = await ask_for_form(acme, "delete ada")
    assert view.content["title"]["text"] == "Delete a contact"
    assert view.blocks[0]["text"]["text"] == (
        "*Ada Lovelace* will be deleted, with 4 changes, 0 follow-ups and 1 address or id,"
        " every score, every field and every stored request that names them.\n"
        "Events until now are not recorded again; a later event makes a new contact.\n"
        "*This cannot be undone.*"
    )

    sent = await acme.written(lambda: acme.sandbox.submit(view.id, entered(view, {"sure": TICKED}), user=ADMIN))

    _, told_first = await acme.answered(partial(acme.sandbox.again, sent))
    await acme.restart()  # which clears the memory of handled requests
    _, told_again = await acme.answered(partial(acme.sandbox.again, sent))

    answer, again = told_first.arguments["text"], told_again.arguments["text"]
    assert again == "*Ada Lovelace* was deleted already. Nothing was changed."
    assert answer == "*Ada Lovelace* is deleted, with 4 changes, 0 follow-ups and 1 address or id."
    assert await find(acme.workspace, text="ada@example.com") == []
    assert acme.seen(await acme.ask("undo")) == "You have no change to undo."


async def test_without_the_tick_nothing_happens(acme: Acme) -> None:
    """Without the tick the form stays open and says so."""
    view = await ask_for_form(acme, "delete ada@example.com")

    response = await acme.sandbox.submit(view.id, entered(view, {}), user=ADMIN)

    (still_open,) = acme.sandbox.open_views(ADMIN)
    assert still_open.id == view.id
    assert "sure" in still_open.errors or response.note
    assert await find(acme.workspace, text="ada@example.com") != []


async def test_only_admins_delete(acme: Acme) -> None:
    """A member is refused and gets no form."""
    answer = await acme.ask("delete ada")

    assert "admin" in acme.seen(answer)
    assert acme.sandbox.open_views() == []


async def test_of_several_one_is_chosen_and_nobody_is_nobody(acme: Acme) -> None:
    """An ambiguous name is answered with a choice, and a missing name with what to type."""
    bare = await acme.ask("delete", user=ADMIN)
    nobody = await acme.ask("delete nobody@example.com", user=ADMIN)

    assert acme.seen(bare) == "Name the contact: `/score delete ada@example.com`"
    assert "nobody@example.com" in acme.seen(nobody)


async def test_a_contact_that_is_gone_meanwhile(acme: Acme) -> None:
    """If the source deletes the contact while the form is open, the person is told that it is done."""
    view = await ask_for_form(acme, "delete ada")
    await acme.pushed({"type": "contact.delete", "contact": {"email": "ada@example.com"}})

    answer = await acme.hand_in(view, user=ADMIN, sure=TICKED)

    expected = "*Ada Lovelace* was deleted already. Nothing was changed."
    assert acme.seen(answer) == expected


async def test_a_contact_that_is_one_with_another_meanwhile(acme: Acme) -> None:
    """If the contact was merged meanwhile nothing is deleted; the answer names the merged contact and what to type."""
    grace = (await find(acme.workspace, text="Hopper"))[0]
    await acme.ask("set ada 85")
    ada = (await find(acme.workspace, text="ada@example.com"))[0]
    first, second = sorted((ada, grace), key=lambda contact: contact.id)
    view = await ask_for_form(acme, f"delete id:{second.id}")
    ids = [
        {"email": contact.email} if contact.email else {"id": next(iter(contact.ids.values()))}
        for contact in (second, first)
    ]
    await acme.pushed({"type": "contact.merge", "contact": ids[0], "into": ids[1]})
    contact = (await find(acme.workspace, text="ada@example.com"))[0]

    answer = await acme.hand_in(view, user=ADMIN, sure=TICKED)

    assert acme.seen(answer) == (
        f"*{second.shown}* was merged into *{contact.shown}*, so nothing was deleted."
        f" To delete the merged contact: `/score delete id:{first.id}`"
    )
    assert await find(acme.workspace, text="ada@example.com") != []
