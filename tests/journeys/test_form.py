"""Set scores by form: opened from a card or by `/score set`, submitted complete, partial or not at all."""

import json

from storage.scoring.definitions import add_score_type
from tests.journeys.acme import Acme, entered, form, other

BUTTONS = "\n[Undo] [History]"
HINTS = ("0 to 100, in steps of 1", "1 to 10, in steps of 1", "1 to 5, in steps of 0.5")


async def test_the_form_of_a_card_shows_the_values_now(acme: Acme) -> None:
    """Set on a card opens a form for the contact, with the current scores in its fields."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")

    assert form(view) == {
        "title": "Set scores",
        "about": "*Ada Lovelace*",
        "Score": ("62", HINTS[0]),
        "Fit": ("7", HINTS[1]),
        "Satisfaction": (None, HINTS[2]),
        "Clear a score": (None, "The score is missing then, not zero. A field that is left blank changes nothing."),
        "Because": None,
    }


async def test_what_is_changed_is_set(acme: Acme) -> None:
    """Only changed fields are recorded, with the reason; the receipt follows below."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    receipt = await acme.hand_in(view, score_score="85", score_satisfaction="4.5", reason=" great demo ")

    assert acme.seen(receipt) == (
        'Ada Lovelace · Score 62 → *85* (hot) · Satisfaction — → *4.5* · "great demo"' + BUTTONS
    )
    assert await acme.made_by_people() == [
        ("ada@example.com", "score", "set", 85_000, False),
        ("ada@example.com", "satisfaction", "set", 4_500, False),
    ]


async def test_the_receipt_of_a_form_can_be_undone(acme: Acme) -> None:
    """By button and by verb, the whole form is undone as one change."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    receipt = await acme.hand_in(view, score_score="85", score_fit="8")
    restored = await acme.press(await acme.press(receipt, "Undo"), "Undo")
    by_verb = acme.seen(await acme.ask("undo"))

    assert acme.seen(restored) == "Ada Lovelace · Fit 7 → *8* (good) · Score 62 → *85* (hot) · undone" + BUTTONS
    assert by_verb == "Ada Lovelace · Fit 8 → *7* (fair) · Score 85 → *62* (warm) · undone" + BUTTONS


async def test_a_blank_field_changes_nothing_and_clearing_is_a_choice(acme: Acme) -> None:
    """A score is cleared only by the menu for it; a field that was emptied leaves its score as it is."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await acme.sandbox.submit(view.id, entered(view, {"score_fit": None}))
    (unchanged,) = acme.sandbox.open_views()
    receipt = await acme.hand_in(unchanged, score_fit=None, clear="fit")

    assert unchanged.errors == {"score_score": "Change at least one score, or press Cancel."}
    assert acme.seen(receipt) == "Ada Lovelace · Fit 7 → —" + BUTTONS

    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await acme.sandbox.submit(view.id, entered(view, {"score_score": "85", "clear": "score"}))
    (both,) = acme.sandbox.open_views()
    assert both.errors == {"clear": "Score is set and cleared: do one of the two."}


async def test_a_plus_sign_is_refused_with_the_line_that_adds(acme: Acme) -> None:
    """`+5` in a field neither sets nor adds; the refusal has the command that adds it."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    sent = await acme.written(lambda: acme.sandbox.submit(view.id, entered(view, {"score_fit": "5"})))
    state = {"score_fit": {"value": {"type": "number_input", "value": "+1"}}}
    response = await acme.sandbox.again(other(sent, view=sent.payload["view"] | {"state": {"values": state}}))
    ada = await acme.contact("ada@example.com")
    line = f"/score set id:{ada.id} fit+1"

    assert response.json() == {
        "response_action": "errors",
        "errors": {"score_fit": f"This form sets scores: type 1 to set it. To add, type {line}"},
    }
    assert acme.seen(await acme.ask(line.removeprefix("/score "))) == "Ada Lovelace · Fit 7 → *8* (good)" + BUTTONS


async def test_an_unchanged_form(acme: Acme) -> None:
    """A form without changes stays open and says so; nothing is recorded."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    response = await acme.sandbox.submit(view.id, entered(view, {"reason": "great demo"}))
    (still_open,) = acme.sandbox.open_views()

    assert (response.status, response.note) == (200, "")
    assert still_open.errors == {"score_score": "Change at least one score, or press Cancel."}
    assert await acme.made_by_people() == []


async def test_a_mistake_can_be_mended(acme: Acme) -> None:
    """Each invalid field says why; corrected, the same form is recorded."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await acme.sandbox.submit(view.id, entered(view, {"score_score": "85", "score_satisfaction": "4.7"}))
    (wrong,) = acme.sandbox.open_views()
    nothing_yet = await acme.made_by_people()
    receipt = await acme.hand_in(wrong, score_satisfaction="4.5")

    assert wrong.errors == {
        "score_satisfaction": "Nothing was changed: Satisfaction goes in steps of 0.5; use 4.5 or 5."
    }
    assert nothing_yet == []
    assert acme.seen(receipt) == "Ada Lovelace · Score 62 → *85* (hot) · Satisfaction — → *4.5*" + BUTTONS


async def test_every_mistake_is_told_at_once(acme: Acme) -> None:
    """Mistakes that Slack's own checks would catch are refused too, field by field."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    fields = {"score_score": "85", "score_fit": "8"}
    sent = await acme.written(lambda: acme.sandbox.submit(view.id, entered(view, fields)))
    state = {
        "score_score": {"value": {"type": "number_input", "value": "101"}},
        "score_fit": {"value": {"type": "number_input", "value": "8,5"}},
        "score_satisfaction": {"value": {"type": "number_input", "value": "lots"}},
    }
    view_sent = sent.payload["view"] | {"state": {"values": state}}
    response = await acme.sandbox.again(other(sent, view=view_sent))

    assert (response.status, response.json()) == (
        200,
        {
            "response_action": "errors",
            "errors": {
                "score_score": "Nothing was changed: Score runs from 0 to 100; 101 is outside it.",
                "score_fit": "`8,5` has a comma. Use a point: 8.5",
                "score_satisfaction": "`lots` is not a number",
            },
        },
    )
    assert await acme.made_by_people() == []


async def test_a_bare_set_asks_whom(acme: Acme) -> None:
    """Without a contact the form has a menu of contacts; empty fields stay unchanged."""
    view = await acme.ask_for_form()
    offered = await acme.sandbox.options(view.id, "contact", "gra")
    receipt = await acme.hand_in(view, contact=offered[1], score_score="85", reason="great demo")

    assert form(view) == {
        "title": "Set scores",
        "Contact": "Type a name or an address",
        "Score": (None, HINTS[0]),
        "Fit": (None, HINTS[1]),
        "Satisfaction": (None, HINTS[2]),
        "Because": None,
    }
    assert [option["text"]["text"] for option in offered] == [
        "Grace Hopper · Navy · hopper@example.com",
        "Grace Kelly · Monaco · kelly@example.com",
    ]
    assert acme.seen(receipt) == 'Grace Kelly · Score — → *85* (hot) · "great demo"' + BUTTONS
    assert await acme.value("kelly", "fit") == 3_000


async def test_the_menu_of_contacts(acme: Acme) -> None:
    """The menu searches name, company, address and id, shows up to 21 matches, and nothing for an empty search."""
    await acme.pushed(*({"type": "contact.upsert", "contact": {"id": f"s{n}", "name": f"Sam {n}"}} for n in range(20)))
    view = await acme.ask_for_form()
    options = {
        typed: [option["text"]["text"] for option in await acme.sandbox.options(view.id, "contact", typed)]
        for typed in ("top g", "ADA@example.com", "crm:4711", "qqq", "", "sam")
    }

    assert len(options.pop("sam")) == 20
    assert options == {
        "top g": ["Pete Mitchell · Top Gun · pete@topgun.example"],
        "ADA@example.com": ["Ada Lovelace · Analytical Engines · ada@example.com"],
        "crm:4711": ["Ida Rhodes · Mathematical Tables"],
        "qqq": [],
        "": [],
    }


async def test_slack_itself_asks_for_the_contact(acme: Acme) -> None:
    """The contact field is required, so Slack does not submit a form without a contact."""
    view = await acme.ask_for_form()
    response = await acme.sandbox.submit(view.id, entered(view, {"score_score": "85"}))

    assert response.status == 0
    assert acme.sandbox.open_views()[0].errors == {"contact": "Please complete this required field."}


async def test_a_cancelled_form(acme: Acme) -> None:
    """Closing the form changes nothing and posts nothing."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    answers = len(acme.answers)
    await acme.sandbox.close_view(view.id)

    assert acme.sandbox.open_views() == []
    assert len(acme.answers) == answers
    assert await acme.made_by_people() == []


async def test_what_a_colleague_changed_meanwhile_stays(acme: Acme) -> None:
    """A form sets the fields changed in it, and not the others that it showed."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    await acme.ask("set ada 90", user="U0JANE")
    receipt = await acme.hand_in(view, score_fit="8")

    assert acme.seen(receipt) == "Ada Lovelace · Fit 7 → *8* (good)" + BUTTONS
    assert await acme.value("ada") == 90_000


async def test_the_receipt_comes_where_the_form_was_opened(acme: Acme) -> None:
    """A form opened in the app's direct messages is answered there."""
    view = await acme.press_for_form(await acme.ask("ada", channel="D0REP"), "Set")
    receipt = await acme.hand_in(view, channel="D0REP", score_score="85")

    assert receipt.channel == "D0REP"
    assert acme.seen(receipt) == "Ada Lovelace · Score 62 → *85* (hot)" + BUTTONS


async def test_a_form_that_was_open_for_an_hour(acme: Acme) -> None:
    """If the channel can no longer be used for an answer, the receipt is sent by direct message."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    acme.sandbox.clock.advance(3_600)
    await acme.sandbox.submit(view.id, entered(view, {"score_score": "85"}))
    call = await acme.sandbox.wait_for(
        lambda: [answer for answer in acme.answers if answer.method == "chat.postMessage"]
    )
    message = acme.sandbox.messages("D0REP")[-1]

    assert acme.seen(message) == "Ada Lovelace · Score 62 → *85* (hot)" + BUTTONS
    assert len(call) == 1
    assert (call[0].arguments["unfurl_links"], call[0].arguments["unfurl_media"]) in ((False, False), ("0", "0"))
    assert acme.seen(await acme.ask("undo")) == "Ada Lovelace · Score 85 → *62* (warm) · undone" + BUTTONS


async def test_a_form_without_a_place_is_answered_in_direct_messages(acme: Acme) -> None:
    """A form without the place where it was opened is answered by direct message."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    sent = await acme.written(lambda: acme.sandbox.submit(view.id, entered(view, {"score_score": "85"})))
    metadata = json.loads(sent.payload["view"]["private_metadata"])
    bare = json.dumps({"contact": metadata["contact"], "was": metadata["was"]})
    _, call = await acme.answered(
        lambda: acme.sandbox.again(other(sent, view=sent.payload["view"] | {"private_metadata": bare}))
    )

    assert call.method == "chat.postMessage"
    assert acme.seen(acme.sandbox.messages("D0REP")[-1]) == "Ada Lovelace · Score 62 → *85* (hot)" + BUTTONS


async def test_a_form_of_an_older_version(acme: Acme) -> None:
    """A form of an unknown version closes without effect."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    sent = await acme.written(lambda: acme.sandbox.submit(view.id, entered(view, {"score_score": "85"})))
    old = sent.payload["view"] | {"callback_id": "set_score_of_last_year"}
    response = await acme.sandbox.again(other(sent, view=old))

    assert (response.status, response.body) == (200, "")
    assert await acme.made_by_people() == []


async def test_a_form_of_a_contact_that_is_not_there(acme: Acme) -> None:
    """If the contact is gone the answer says so, and nothing is recorded."""
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    sent = await acme.written(lambda: acme.sandbox.submit(view.id, entered(view, {"score_score": "85"})))
    gone = json.loads(sent.payload["view"]["private_metadata"]) | {"contact": 999_999}
    await acme.answered(
        lambda: acme.sandbox.again(other(sent, view=sent.payload["view"] | {"private_metadata": json.dumps(gone)}))
    )

    assert acme.seen(acme.latest()) == "That contact no longer exists. Search for it: `/score view ada@example.com`"
    assert await acme.made_by_people() == []


async def test_ninety_score_types(acme: Acme) -> None:
    """With ninety score types of the longest names the form opens, and leaves scores that it omits unchanged."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    for number in range(90):
        await add_score_type(
            acme.workspace, key=f"{'k' * 29}_{number:02d}", label=f"{'L' * 57} {number:02d}", minimum=-(10**12),
            maximum=10**12, step=1, bands=(), start=None, is_default=False, by="U0ADMIN", now=now,
        )  # fmt: skip  # the numbers of one definition
    last = "k" * 29 + "_89"
    await acme.ask(f"set ada {last}=999999999.999")
    await acme.ask("set ada " + " ".join(f"{'k' * 29}_{number:02d}=-999999999.999" for number in range(40)))
    view = await acme.press_for_form(await acme.ask("ada"), "Set")
    receipt = acme.seen(await acme.hand_in(view, score_score="85"))

    assert receipt == "Ada Lovelace · Score 62 → *85* (hot)" + BUTTONS
    assert await acme.value("ada", last) == 999_999_999_999


async def test_a_form_for_nobody(acme: Acme) -> None:
    """A form submitted without a contact stays open and says so."""
    kelly = (await acme.contact("kelly")).id
    await acme.hand_in(await acme.ask_for_form(), contact=str(kelly), score_score="85")
    sent = acme.sandbox.sent[-1]
    view = sent.payload["view"]
    values = view["state"]["values"] | {"contact": {"contact": {"type": "external_select", "selected_option": None}}}
    response = await acme.sandbox.again(other(sent, view=view | {"state": {"values": values}}))

    assert json.loads(response.body)["errors"] == {
        "contact": "Choose a contact: type a part of the name or the address."
    }
    assert [change[0] for change in await acme.made_by_people()] == ["kelly@example.com"]
