"""Set, add to and clear scores by typing, and compare the whole receipts and refusals."""

import pytest

from tests.journeys.acme import REP, Acme, button_of

BUTTONS = "\n[Undo] [History]"

RECEIPTS = [
    ("set ada@example.com 85", "Ada Lovelace · Score 62 → *85* (hot)"),
    ("set ada 85 because great demo", 'Ada Lovelace · Score 62 → *85* (hot) · "great demo"'),
    ("set ada 85 — because great demo", 'Ada Lovelace · Score 62 → *85* (hot) · "great demo"'),
    ("set ada 85 BECAUSE “great demo”", 'Ada Lovelace · Score 62 → *85* (hot) · "great demo"'),
    (
        "set ada fit=8 satisfaction=4.5 because great demo",
        'Ada Lovelace · Fit 7 → *8* (good) · Satisfaction — → *4.5* · "great demo"',
    ),
    ("set ada fit=8 90", "Ada Lovelace · Fit 7 → *8* (good) · Score 62 → *90* (hot)"),
    ("set ada 90 fit=8", "Ada Lovelace · Score 62 → *90* (hot) · Fit 7 → *8* (good)"),
    ("set ada +5", "Ada Lovelace · Score 62 → *67* (warm)"),
    ("set ada -5", "Ada Lovelace · Score 62 → *57* (warm)"),  # a sign always means add or subtract
    ("set ada −5", "Ada Lovelace · Score 62 → *57* (warm)"),  # a typographic minus
    ("set ada =85", "Ada Lovelace · Score 62 → *85* (hot)"),
    ("set ada fit=9", "Ada Lovelace · Fit 7 → *9* (good)"),
    ("set ada fit+2", "Ada Lovelace · Fit 7 → *9* (good)"),
    ("set ada fit-2", "Ada Lovelace · Fit 7 → *5* (fair)"),
    ("set ada fit 9", "Ada Lovelace · Fit 7 → *9* (good)"),
    ("set ada fit +2", "Ada Lovelace · Fit 7 → *9* (good)"),
    ("set ada + 5", "Ada Lovelace · Score 62 → *67* (warm)"),  # a sign followed by a space is still a sign
    ("set ada fit = 9", "Ada Lovelace · Fit 7 → *9* (good)"),
    ("set ada FIT=9", "Ada Lovelace · Fit 7 → *9* (good)"),
    ("SET Ada 85", "Ada Lovelace · Score 62 → *85* (hot)"),
    ("set ada satisfaction=4.5", "Ada Lovelace · Satisfaction — → *4.5*"),
    ("set ada satisfaction=+4.5", "Ada Lovelace · Satisfaction — → *4.5*"),
    ("set ada satisfaction+.5", "Ada Lovelace · Satisfaction — → *1.5*"),  # a missing score starts at the start value
    ("set ada +50", "Ada Lovelace · Score 62 → *100* (hot), 12 cut: it runs from 0 to 100"),
    ("set ada fit-9", "Ada Lovelace · Fit 7 → *1* (poor), 3 cut: it runs from 1 to 10"),
    ("set ada 62", "Ada Lovelace · Score 62 → *62* (warm)"),
    ("set ada 0", "Ada Lovelace · Score 62 → *0* (cold)"),  # zero is a score, not a missing one
    ("set Studio 54 85", "Studio 54 · Score — → *85* (hot)"),
    ('set "Studio 54" 85', "Studio 54 · Score — → *85* (hot)"),
    ("set Top Gun 85", "Pete Mitchell · Score — → *85* (hot)"),
    ("set crm:4711 85", "Ida Rhodes · Score — → *85* (hot)"),
    ("clear ada fit", "Ada Lovelace · Fit 7 → —"),
    ("clear ada", "Ada Lovelace · Score 62 → —"),
    ("clear ada@example.com fit score", "Ada Lovelace · Fit 7 → — · Score 62 → —"),
    ("clear ada fit FIT", "Ada Lovelace · Fit 7 → —"),
]


@pytest.mark.parametrize(("line", "receipt"), RECEIPTS, ids=[line for line, _ in RECEIPTS])
async def test_a_line_and_its_receipt(acme: Acme, line: str, receipt: str) -> None:
    """A receipt shows the contact, each score before and after, and buttons."""
    before = await acme.ledger()
    text = acme.seen(await acme.ask(line))

    assert text == receipt + BUTTONS
    assert await acme.ledger() != before


REFUSALS = [
    ("set ada 8,5", "`8,5` has a comma. Use a point: 8.5."),
    ("set ada fit=8,5", "`8,5` has a comma. Use a point: 8.5."),
    ("set ada fti=8", "There is no score type `fti`. Did you mean fit?"),
    ("set ada xyz=8", "There is no score type `xyz`. Choose from score, fit, satisfaction."),
    ("set ada@example.com 85 70", "One number sets Score; name the other: fit=70"),
    ("set ada 85 70", "One number sets Score; name the other: fit=70, or put the name in quotes."),
    ("set ada@example.com fit=8 70 85", "Values go at the end: `/score set ada@example.com fit=8`"),
    ("set ada@example.com 85 70 because both", "One number sets Score; name the other: fit=70"),
    ("set ada =-5", "Nothing was changed: Score runs from 0 to 100; -5 is outside it."),
    ("set ada 101", "Nothing was changed: Score runs from 0 to 100; 101 is outside it."),
    ("set ada fit=11", "Nothing was changed: Fit runs from 1 to 10; 11 is outside it."),
    ("set ada fit=0", "Nothing was changed: Fit runs from 1 to 10; 0 is outside it."),
    ("set ada fit=7.5", "Nothing was changed: Fit goes in steps of 1; use 7 or 8."),
    ("set ada satisfaction=4.7", "Nothing was changed: Satisfaction goes in steps of 0.5; use 4.5 or 5."),
    (
        "set ada satisfaction+0.3",
        "Nothing was changed: Satisfaction goes in steps of 0.5; 0.3 is not a multiple of that.",
    ),
    # All values of a line are one batch: all or none.
    ("set ada fit=8 satisfaction=9", "Nothing was changed: Satisfaction runs from 1 to 5; 9 is outside it."),
    ("set ada satisfaction=9 fit=8", "Nothing was changed: Satisfaction runs from 1 to 5; 9 is outside it."),
    ("set ada 85 score=90", "Score is given twice; type it once."),
    ("set ada fit=8 fit=9", "Fit is given twice; type it once."),
    ("set ada fit=good", "`good` is not a number. Type for example `fit=8`."),
    ("set ada 1.2345", "`1.2345` has more than three digits after the point."),
    ("set ada 9999999999", "`9999999999` is larger than a score can be (1,000,000,000)."),
    ("set ada", "Type the value too: `/score set ada 85`"),
    ("set ada good", "`good` is not a number. Type for example `/score set ada 85`"),
    ("set Ada Lovelace fit high", "`high` is not a number. Type for example `/score set Ada Lovelace fit=8`"),
    ("set qqq good", "Type the value too: `/score set qqq good 85`"),
    ("clear ada good", "There is no score type `good`. Choose from `score`, `fit`, `satisfaction`."),
    ("history ada 90", "There is no score type `90`. Choose from `score`, `fit`, `satisfaction`."),
    (
        "add ada@example.com good",
        '`good` is not a field of a contact. After the address you can type `name:"Ada Lovelace"`, `company:Acme`,'
        " `owner:me`.",
    ),
    ("set ada because great demo", "Type the value too: `/score set ada 85`"),
    ("set because great demo", "Type the value too: `/score set ada@example.com 85`"),
    ("set 85", "Name the contact: `/score set ada@example.com score=85`"),
    ("set fit=8", "Name the contact: `/score set ada@example.com fit=8`"),
    ('set "" 85', "Name the contact: `/score set ada@example.com score=85`"),
    (f"set ada 85 because {'x' * 301}", "A reason has at most 300 characters; this one has 301."),
    ("set qqq 85", "No contact is called “qqq”. Type more of the name, a company, or an address."),
    (
        "set @jane 85",
        "<@U0JANE|jane> is a colleague, not a contact. Their contacts: `/score filter owner:`<@U0JANE|jane>",
    ),
    ("clear", "Name the contact: `/score clear ada@example.com score`"),
    ("clear qqq", "No contact is called “qqq”. Type more of the name, a company, or an address."),
    ("clear ada fti", "There is no score type `fti`. Did you mean `fit`?"),  # instead of the default score type
    ("clear Studio 54 fit satisfaction", "Studio 54 has no Fit or Satisfaction score, so there is nothing to clear."),
    ("set fit ada 8", "Values go at the end: `/score set ada fit=8`\n[/score set ada fit=8]"),
    (
        "set satisfaction ada =-8",
        "Values go at the end: `/score set ada satisfaction=-8`\n[/score set ada satisfaction=-8]",
    ),
    ("set 85 ada", "Values go at the end: `/score set ada 85`\n[/score set ada 85]"),
    (
        "set ada 85 great demo",
        "Values go at the end, and a reason after `because`: `/score set ada 85 because great demo`\n"
        "[/score set ada 85 because great demo]",
    ),
    ("clear Studio 54", "Studio 54 has no Score, so there is nothing to clear."),
    (
        "undo ada",
        "`/score undo` takes back your last command, and nothing else; type it without more words.",
    ),
    ("undo", "You have no change to undo."),
]


async def test_lines_and_their_refusals(acme: Acme) -> None:
    """Each refusal says what to type instead, and nothing is changed."""
    before = await acme.ledger()
    answers = [(line, acme.seen(await acme.ask(line))) for line, _ in REFUSALS]

    assert answers == REFUSALS
    assert await acme.ledger() == before


async def test_a_reason_is_kept_as_it_was_typed(acme: Acme) -> None:
    """Quotes inside a reason are part of it."""
    text = acme.seen(await acme.ask('set ada 85 because she said "yes"'))

    assert text == 'Ada Lovelace · Score 62 → *85* (hot) · "she said "yes""' + BUTTONS


async def test_quotes_protect_a_because(acme: Acme) -> None:
    """A name in quotes may contain the word "because"."""
    await acme.pushed({"type": "contact.upsert", "contact": {"id": "1", "name": "Just Because Ltd"}})
    text = acme.seen(await acme.ask('set "Just Because Ltd" 85'))

    assert text == "Just Because Ltd · Score — → *85* (hot)" + BUTTONS


async def test_a_choice_carries_the_whole_request(acme: Acme) -> None:
    """The buttons of an ambiguous name keep every value and the reason; the receipt replaces the question."""
    answer = await acme.ask("set grace 90 fit+2 because great demo")
    question = acme.seen(answer)
    receipt = await acme.press(answer, "Grace Kelly · Monaco · kelly@example.com")

    assert question == (
        "2 contacts match “grace”. Which one?\n"
        "Grace Hopper · Navy · hopper@example.com [Choose]\nGrace Kelly · Monaco · kelly@example.com [Choose]"
    )
    assert receipt.ts == answer.ts
    assert acme.seen(receipt) == (
        'Grace Kelly · Score — → *90* (hot) · Fit 3 → *5* (fair) · "great demo"\n[Undo] [History]'
    )
    assert await acme.made_by_people() == [
        ("kelly@example.com", "score", "set", 90_000, False),
        ("kelly@example.com", "fit", "add", 2_000, False),
    ]


async def test_a_choice_of_whom_to_clear(acme: Acme) -> None:
    """Clearing an ambiguous name asks for the contact, and then clears the named scores."""
    receipt = await acme.press(await acme.ask("clear grace fit"), "Grace Kelly · Monaco · kelly@example.com")

    assert acme.seen(receipt) == "Grace Kelly · Fit 3 → —" + BUTTONS


@pytest.mark.parametrize(
    "reason",
    [
        "R&D said so",
        "profit&notloss, 3 < 4",  # &not is an HTML entity in browsers, but not in Slack
        "they wrote &lt; and &amp;",  # the letters themselves, typed by a person
        "5 {} 7",  # the placeholder of the contact in the line of a button
    ],
)
async def test_a_reason_survives_the_way_over_a_button(acme: Acme, reason: str) -> None:
    """A reason recorded through a button is the same as when typed directly."""
    await acme.ask(f"set hopper 90 because {reason}")
    await acme.press(await acme.ask(f"set grace 90 because {reason}"), "Grace Kelly · Monaco · kelly@example.com")
    reasons = [line[5] for line in await acme.ledger() if line[1:3] == ("score", "set") and line[3] == 90_000]

    assert reasons == [reason, reason]


@pytest.mark.parametrize(
    ("values", "label", "receipt"),
    [
        ("85", "Add zoe@example.com and set Score to 85", "zoe@example.com · Score — → *85* (hot)"),
        ("fit=8", "Add zoe@example.com and set Fit to 8", "zoe@example.com · Fit — → *8* (good)"),
        ("+5", "Add zoe@example.com and add 5 to Score", "zoe@example.com · Score — → *5* (cold)"),
        (
            "85 fit=8 because met at the fair",
            "Add zoe@example.com and set Score to 85 and 1 more",
            'zoe@example.com · Score — → *85* (hot) · Fit — → *8* (good) · "met at the fair"',
        ),
    ],
)
async def test_an_unknown_address_can_be_added(acme: Acme, values: str, label: str, receipt: str) -> None:
    """The button adds the contact and sets the score; before that nothing is created."""
    answer = await acme.ask(f"set zoe@example.com {values}")
    offer, nobody = acme.seen(answer), acme.seen(await acme.ask("zoe@example.com"))
    added = acme.seen(await acme.press(answer, label))

    assert offer == f"No contact has the address zoe@example.com yet.\n[{label}]"
    assert nobody.startswith("No contact has the address zoe@example.com yet.")
    assert added == receipt + BUTTONS
    assert (await acme.contact("zoe@example.com")).email == "zoe@example.com"


async def test_an_offer_that_is_out_of_range(acme: Acme) -> None:
    """A value out of range is refused before a button offers to add the contact."""
    text = acme.seen(await acme.ask("set zoe@example.com 101"))

    assert text == "Nothing was changed: Score runs from 0 to 100; 101 is outside it."
    assert acme.seen(await acme.ask("zoe@example.com")).startswith("No contact has the address zoe@example.com yet.")


async def test_an_offer_taken_after_somebody_else_added_the_contact(acme: Acme) -> None:
    """If the address was added meanwhile, the button sets the score and creates no second contact."""
    answer = await acme.ask("set zoe@example.com 85")
    await acme.pushed({"type": "contact.upsert", "contact": {"email": "ZOE@example.com", "name": "Zoe"}})
    receipt = acme.seen(await acme.press(answer, "Add zoe@example.com and set Score to 85"))

    assert receipt == "Zoe · Score — → *85* (hot)" + BUTTONS


async def test_a_long_address_fits_its_button(acme: Acme) -> None:
    """A button with a truncated label still has the whole address."""
    address = f"{'z' * 60}@{'y' * 60}.example"
    answer = await acme.ask(f"set {address} 85")
    (label,) = [element["text"]["text"] for element in answer.blocks[1]["elements"]]
    receipt = acme.seen(await acme.press(answer, label))

    assert label == f"Add {address}"[:74] + "…"
    assert receipt == f"{address} · Score — → *85* (hot)" + BUTTONS


async def test_everybody_sees_what_a_colleague_set(acme: Acme) -> None:
    """Only the requester sees the answer; everybody sees the score."""
    receipt = await acme.ask("set ada 85", user="U0JANE", channel="C0SUCCESS")

    assert receipt.only_for == "U0JANE"
    assert [message for message in acme.sandbox.messages("C0SUCCESS", REP) if message.user == "U0BOT"] == []
    assert "\n🟥 Score\n*85* (hot)\n▲ 28 in 7 days\n‹now› by <@U0JANE>\n" in acme.seen(await acme.ask("ada"))


async def test_the_receipt_of_a_score_of_a_type_has_its_history(acme: Acme) -> None:
    """History on a receipt shows the score type that was changed."""
    receipt = await acme.ask("set ada fit=8")
    history = acme.seen(await acme.press(receipt, "History"))

    assert button_of(receipt, "History")["value"].endswith(" fit")
    assert history == (
        "*Ada Lovelace · Fit*\n"
        "🟥 ‹now› · 7 → *8* (+1), good · set by <@U0REP>\n"
        "🟨 ‹4 d ago› · — → *7*, fair · set from crm\n"
        "(The last 2 changes, newest first.)\n[Chart]"
    )


async def test_a_persons_change_never_loses_to_an_older_one(acme: Acme) -> None:
    """A late item of the CRM about last week does not change the score that a person set today."""
    await acme.ask("set kelly 85")
    late = {"type": "score.set", "contact": {"email": "kelly@example.com"}, "score": "score", "value": 10}
    await acme.pushed(late | {"occurred_at": "2026-01-01T00:00:00Z"})

    assert await acme.value("kelly") == 85_000
