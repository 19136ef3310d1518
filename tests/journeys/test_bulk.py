"""A rep changes many contacts at once: by a line, by the button of a list, and takes it back by one Undo."""

from tests.conftest import on_both
from tests.journeys.acme import Acme, button_of

ADMIN = "U0ADMIN"
#: a line, and the beginning of its answer
LINES = [
    ("set ada, hopper@example.com 50", "Change 2 contacts? Score → 50. Nothing is changed yet.\n*Ada Lovelace* · "),
    ("set ada, nobody 50", "No contact is called “nobody”"),
    ("set segment:none 50", "There is no segment `none`"),
    ("set score>=80 owner:me 50", "No contacts match `score&gt;=80 owner:me`."),
    ("set has:score 500", "Nothing was changed: Score runs from 0 to 100"),
    ("set has:score fit=8 satisfaction+1", "Change 2 contacts that match `has:score`? Fit → 8 · Satisfaction +1."),
    ("clear has:score fit", "Change 2 contacts that match `has:score`? clear Fit. Nothing is changed yet."),
    ("set score:(warm,hot) 50", "Change 2 contacts that match `score:(warm,hot)`? Score → 50."),
    ("tag ada, crm:4711 key", "Change 2 contacts? tag key."),
    ("set score:warm 50", "Change 2 contacts that match `score:warm`? Score → 50."),
    ("set company:Navy 50", "Change 1 contact that matches `company:Navy`? Score → 50."),
    ("tag has:score key", "Change 2 contacts that match `has:score`? tag key."),
    ("untag tag:vip vip", "Change 1 contact that matches `tag:vip`? remove the tag vip."),
    ("tag ada key,old", "Ada Lovelace · tag key, old"),
    ('tag ada "key account"', "Ada Lovelace · tag key account"),
    ("tag ada VIP", "There is nothing to change for Ada Lovelace (tag VIP)."),
    ("tag ada", "Name the contacts, then the tag"),
    ("tag nobody vip", "No contact is called “nobody”"),
    ("assign has:score to <@U0JANE|jane>", "Change 2 contacts that match `has:score`? owner → jane@acme.example."),
    ("assign ada to somebody", "`somebody` is nobody's address."),
    ("assign crm:4711 me", "Ida Rhodes · owner → rep@acme.example"),
    ("assign me", "Name the contacts, then the new owner"),
]


@on_both
async def test_a_filter_is_previewed_changed_and_undone(acme: Acme) -> None:
    """The preview changes nothing; the click changes exactly its contacts; one Undo takes everything back."""
    preview = await acme.ask("set has:score +5 because fair weather")

    assert acme.seen(preview) == (
        'Change 2 contacts that match `has:score`? Score +5 · "fair weather". Nothing is changed yet.\n'
        "*Ada Lovelace* · Score 62 → *67* (warm)\n*Grace Hopper* · Score 41 → *46* (warm)\n"
        "(Exactly these contacts are changed, whichever match by then; one Undo takes everything back.)\n"
        "[Change 2 contacts] [Cancel]"
    )
    assert [await acme.value(f"{name}@example.com") for name in ("ada", "hopper")] == [62_000, 41_000]
    receipt = await acme.press(preview, "Change 2 contacts")
    assert acme.seen(receipt) == '2 contacts changed · Score +5 · "fair weather"\n[Undo]'
    assert [await acme.value(f"{name}@example.com") for name in ("ada", "hopper")] == [67_000, 46_000]
    assert "fair weather" in acme.seen(await acme.ask("history ada score"))
    assert "has:score" in acme.seen(await acme.ask("audit", user=ADMIN))
    undone = await acme.press(receipt, "Undo")
    assert "Ada Lovelace · Score 67 → 62 (warm) · undone" in acme.seen(undone)
    assert [await acme.value(f"{name}@example.com") for name in ("ada", "hopper")] == [62_000, 41_000]


async def test_undo_by_the_verb_takes_the_whole_change_back(acme: Acme) -> None:
    """The last command is the change of all contacts."""
    await acme.press(await acme.ask("set hot OR warm 80"), "Change 2 contacts")
    assert [await acme.value(f"{name}@example.com") for name in ("ada", "hopper")] == [80_000, 80_000]

    await acme.ask("undo")

    assert [await acme.value(f"{name}@example.com") for name in ("ada", "hopper")] == [62_000, 41_000]


async def test_lines_for_several_contacts(acme: Acme) -> None:
    """A filter or a list of names is previewed; a single contact is changed at once; everything else is explained."""
    for line, start in LINES:
        assert acme.seen(await acme.ask(line)).startswith(start), line


async def test_a_name_in_a_list_that_several_contacts_have(acme: Acme) -> None:
    """The line goes on with the contact that was chosen."""
    choice = await acme.ask("set ada, grace 50 because why not")
    values = [block["accessory"]["value"] for block in choice.blocks if "accessory" in block]
    assert values == [f"set ada, id:{id} 50 because why not" for id in (2, 3)]
    preview = await acme.ask(values[0])
    assert acme.seen(preview).startswith('Change 2 contacts? Score → 50 · "why not". Nothing is changed yet.')


async def test_a_single_contact_is_tagged_and_untagged(acme: Acme) -> None:
    """The receipt has an Undo, and the other tags stay."""
    receipt = await acme.ask("tag ada key")
    assert (await acme.contact("ada")).tags == ("vip", "trial", "key")
    await acme.ask("untag ada TRIAL")
    assert (await acme.contact("ada")).tags == ("vip", "key")

    await acme.ask("undo")
    await acme.press(receipt, "Undo")

    assert (await acme.contact("ada")).tags == ("vip", "trial")


async def test_the_button_of_a_list_opens_a_form(acme: Acme) -> None:
    """The form says how many contacts the filter matches; it previews what was entered, and complains at its fields."""
    listed = await acme.ask("has:score")
    form = await acme.press_for_form(listed, "Change all 2")
    preview = await acme.hand_in(form, score="fit", way="set", amount="9", tags="key, big deal", owner="me")

    assert acme.seen(preview).startswith(
        "Change 2 contacts that match `has:score`? Fit → 9 · tag key, big deal · owner → rep@acme.example."
    )
    await acme.press(preview, "Change 2 contacts")
    contact = await acme.contact("hopper")
    assert (contact.tags, contact.owner) == (("key", "big deal"), "rep@acme.example")
    assert await acme.value("hopper@example.com", "fit") == 9_000
    canceled = await acme.press(await acme.ask("set has:score 0"), "Cancel")
    assert acme.seen(canceled) == "Canceled: nothing was changed."
    assert button_of(listed, "Change all 2")


async def test_a_click_again_and_a_late_click(acme: Acme) -> None:
    """The preview of a change that is applied shows the receipt again; one that was canceled says so."""
    preview = await acme.ask("set has:score +5")
    await acme.press(preview, "Change 2 contacts")
    assert await acme.value("ada@example.com") == 67_000
    other = await acme.ask("set has:score +5", user="U0JANE")
    button = button_of(other, "Change 2 contacts")

    await acme.press(other, "Cancel", user="U0JANE")

    response, reply = await acme.answered(
        lambda: acme.sandbox.click(other.id, button["action_id"], block_id=button["block_id"], user="U0JANE")
    )
    assert response.status == 200
    assert "too old, or was canceled" in str(reply.arguments) or response.note
    assert await acme.value("ada@example.com") == 67_000
