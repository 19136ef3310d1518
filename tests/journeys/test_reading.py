"""Ask for help, contacts, the top and histories, and compare the whole answers."""

import re
from functools import partial

import pytest

from bot.features import TABLES
from storage.domain.people import Setters
from storage.scoring.definitions import add_score_type
from storage.workspaces import choose_setters
from tests.conftest import on_both
from tests.journeys.acme import PAST, Acme, ago
from tests.slack.faults import Fault

ADA_CARD = """\
*Ada Lovelace* · Analytical Engines · ada@example.com
🟨 Score
*62* (warm)
▲ 5 in 7 days
‹5 d ago› from crm
🟨 Fit
*7* (fair)
‹4 d ago› from crm
Satisfaction
—
*Owner*
<@U0REP>
*Tags*
vip, trial
[Set] [History] [Why] [More]"""

PETE_CARD = """\
*Pete Mitchell* · Top Gun · pete@topgun.example
Score
—
Fit
—
Satisfaction
—
*Owner*
Nobody
[Set] [History] [More] [Make me the owner]"""

IDA_CARD = """\
*Ida Rhodes* · Mathematical Tables
Score
—
Fit
—
Satisfaction
—
*Owner*
Nobody
[Set] [History] [More] [Make me the owner]"""

HELP = """\
*Contacts and scores*
`/score ada@example.com`: see a contact; a name or a company works too
`/score view CONTACT`: see all scores of a contact
`/score set CONTACT VALUES [because …]`: set scores, or add to them; `set` alone opens a form
`/score clear CONTACT [TYPE…]`: clear a score; a cleared score is missing, not zero
`/score add EMAIL [name:… company:… owner:…]`: add a contact, or change its name, company or owner
`/score undo [import/ID]`: undo your last command, or an import
*Lists*
`/score filter TERMS`: list the contacts that match; the word filter may be left out
`/score top [N] [TYPE] [TERMS]`: the highest scores
`/score segment save NAME TERMS | list | show NAME | delete NAME`: save a filter under a name
`/score tag CONTACTS TAG`: tag a contact, or all of a filter
`/score untag CONTACTS TAG`: remove a tag from a contact, or from all of a filter
`/score assign CONTACTS to OWNER`: set the owner of a contact, or of all of a filter
*History*
`/score history CONTACT [TYPE] [90d]`: every change of a score; with a period such as 90d, 2y or all also a chart
`/score why CONTACT [TYPE]`: what a score is made of, in lines that add up to it
*Follow-ups*
`/score alerts [add | try | pause | resume | remove | digest]`: when the team is alerted to follow up
`/score followups [mine | open | overdue]`: the open follow-ups
*People*
`/score admins [add|remove @name]`: who the admins are; admins add and remove others
*Score types*
`score` Score: 0 to 100, in steps of 1 (default) · cold 0, warm 40, hot 80
`fit` Fit: 1 to 10, in steps of 1 · poor 1, fair 4, good 8
`satisfaction` Satisfaction: 1 to 5, in steps of 0.5
(You may view and set every score here. Only you see the answers.)
(With examples: `/score help set` · Filters: `/score help filter`)"""

HELP_OF_ADMINS = """\
*For admins: contacts*
`/score merge CONTACT into CONTACT`: merge two contacts; Undo splits them again
`/score split CONTACT SOURCE:ID`: make an id of a source a contact of its own; Undo joins the two again
`/score delete CONTACT`: delete a contact for good
*For admins: settings*
`/score settings`: see, change and add score types
`/score rules`: the points for activities and attributes
`/score sources`: the systems that send scores, and what they sent
`/score subscriptions`: the programs that get events, and whether they accept them
`/score setup`: where follow-ups go, who sets scores
`/score roles [@name viewer|scorer|admin]`: who may view and set scores, by person and user group
`/score audit`: who changed settings, imported, exported, merged or deleted
"""

ADMINS_ALONE = "That is for admins. Ask <@U0ADMIN>."

HELP_FILTER = """\
`/score filter TERMS`: list the contacts that match; the word filter may be left out
`/score filter score>=65 owner:me -tag:churned sort:-score limit:20`
`/score score:hot OR (has:fit tag:vip)`
`/score filter score rising 10 in 30d`
*Scores*
`score>=80` compares the score; also with >, <, <=, = and !=
`score:65..100` from one number to another, both included
`score:65..*` from a number up
`score:hot` in a band
`score:(warm,hot)` in one of several bands
`has:fit` has that score; with -has: does not have it
*Fields*
`owner:me` you own it; also owner:@jane for a colleague, or an address
`tag:vip` has the tag; several in parentheses, with commas
`company:"Analytical Engines"` the whole company; also with name or email
`company~"Analytical Engines"` a part of it; also with name or email
`"Ada Lovelace"` words of a name, an address or a company
`attributes.plan:pro` an attribute
`attributes.employees>=50` an attribute that is a number; has: checks that there is one
`attributes.last_seen<7d` an attribute that is a time: how long ago it was
*Changes*
`score rising 10 in 7d` rose by that much or more; also falling, or moved for either
`score falling 20% in 30d` the same in percent
`score crossed above 80 in 7d` went over a number; also below
`score stale 30d` did not change for that long
`updated<7d` something was recorded in that time
*Follow-ups and segments*
`followup:open` also claimed, snoozed, escalated, or none (no open follow-up)
*Together*
`score>=65 owner:me` both
`score:hot OR tag:vip` one of the two; put it in parentheses beside other terms
`-tag:churned` not
`owner:me sort:-score limit:20` the highest first, and how many; sort:name is by name
(To save a filter under a name: `/score help segment`)"""

COLLEAGUE = "<@U0JANE|jane> is a colleague, not a contact. Their contacts: `/score filter owner:`<@U0JANE|jane>"

TOP = """\
*Top 2 by Score*
1. 🟨 *Ada Lovelace* · Analytical Engines · *62* (warm) [Open]
2. 🟨 *Grace Hopper* · Navy · *41* (warm) [Open]
(With equal scores, the contact known longest comes first.)"""

TOP_FIT = """\
*Top 2 by Fit*
1. 🟨 *Ada Lovelace* · Analytical Engines · *7* (fair) [Open]
2. 🟦 *Grace Kelly* · Monaco · *3* (poor) [Open]
(With equal scores, the contact known longest comes first.)"""

HISTORY = """\
*Ada Lovelace · Score*
🟨 ‹5 d ago› · 57 → *62* (+5) · from crm · "Read the pricing page"
🟨 ‹7 d ago› · — → *57*, warm · set from crm
(The last 2 changes, newest first.)
[Chart]"""


LINES = [
    ("", HELP),
    ("help", HELP),
    ("HELP", HELP),
    ("help nonsense", "There is no command `nonsense`. All commands: `/score help`"),
    ("help filtr", "There is no command `filtr`. Did you mean `/score help filter`? All commands: `/score help`"),
    (
        "help set",
        "`/score set CONTACT VALUES [because …]`: set scores, or add to them; `set` alone opens a form\n"
        "`/score set ada@example.com 85`\n"
        "`/score set ada@example.com +10`\n"
        "`/score set ada@example.com score=85 fit=8 because great demo`",
    ),
    (
        "help top",
        "`/score top [N] [TYPE] [TERMS]`: the highest scores\n`/score top`\n`/score top 5 fit`\n`/score top me`",
    ),
    ("help filter", HELP_FILTER.replace(">", "&gt;").replace("<", "&lt;")),
    ("help settings", ADMINS_ALONE),
    ("help undo", "`/score undo [import/ID]`: undo your last command, or an import\n`/score undo`"),
    ("ada@example.com", ADA_CARD),
    ("ADA@Example.COM", ADA_CARD),  # addresses match in any case
    ("view ada@example.com", ADA_CARD),
    ("view ada", ADA_CARD),
    ("Ada Lovelace", ADA_CARD),
    ("lovelace ada", ADA_CARD),  # words in any order
    ("analytical", ADA_CARD),  # the beginning of a company
    ('"Top Gun"', PETE_CARD),  # quotes force a contact; unquoted, the first word would be a verb
    ("“Top Gun”", PETE_CARD),  # the quotes of a phone
    ("view Top Gun", PETE_CARD),
    ("crm:4711", IDA_CARD),  # source:id looks like a filter but is a contact
    ("view CRM:4711", IDA_CARD),
    ("view", "Name the contact: `/score view ada@example.com`"),
    ('view ""', "Name the contact: `/score view ada@example.com`"),
    (
        "grace",
        "2 contacts match “grace”. Which one?\n"
        "Grace Hopper · Navy · hopper@example.com [Choose]\nGrace Kelly · Monaco · kelly@example.com [Choose]",
    ),
    (
        "adaa",
        "No contact is called “adaa”. Did you mean this one?\n"
        "Ada Lovelace · Analytical Engines · ada@example.com [Choose]",
    ),
    (
        "view lovelacce",  # a typo in the last name counts like one in the first name
        "No contact is called “lovelacce”. Did you mean this one?\n"
        "Ada Lovelace · Analytical Engines · ada@example.com [Choose]",
    ),
    (
        "doctor",
        "No contact is called “doctor”. `contact-score doctor` is typed in a terminal, not in Slack.",
    ),
    (
        "import",
        "No contact is called “import”. Send the CSV file to this app in a direct message, or type"
        " `contact-score import FILE.csv` in a terminal.",
    ),
    ("qqq", "No contact is called “qqq”. Type more of the name, a company, or an address."),
    (
        "view zoe@example.com",
        "No contact has the address zoe@example.com yet.\n[Add zoe@example.com]",
    ),
    ("view top", PETE_CARD),  # a contact with the name of a verb is found
    ('"top"', PETE_CARD),
    ("view set", "No contact is called “set”. Type more of the name, a company, or an address."),
    ("tpo 5", "Did you mean `/score top 5`?\n[/score top 5]"),  # two letters swapped
    ("to fit", "Did you mean `/score top fit`?\n[/score top fit]"),  # one letter missing
    ("hellp", "Did you mean `/score help`?\n[/score help]"),  # one letter too many
    ("sat ada 85", "Did you mean `/score set ada 85`?\n[/score set ada 85]"),  # one letter changed
    (
        "filtr score>=80",
        "Did you mean `/score filter score&gt;=80`?\n[/score filter score>=80]",
    ),  # before it is parsed as a filter
    ("sett ada fit=8", "Did you mean `/score set ada fit=8`?\n[/score set ada fit=8]"),
    (
        "fit rising 3 in 7d",  # a filter without an operator
        "Did you mean `/score filter fit rising 3 in 7d`?\n[/score filter fit rising 3 in 7d]",
    ),
    ("ｖｉｅｗ \u200eada", ADA_CARD),  # full-width as in Japanese, and with a direction mark
    *(
        (
            line,
            f"*1 contact fits* `{shown}`\n"
            "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm) [Open]\n[Share to channel]",
        )
        for line, shown in (
            ("tag:vip and score>50", "tag:vip and score&gt;50"),  # operators in any case
            ("filter warm and Mine", "warm and Mine"),
            ("warm mine", "warm mine"),
            ("me", "me"),
            ("vip", "vip"),
        )
    ),
    (
        "score>1 company:Top Gun",
        "No contacts match `score&gt;1 company:Top Gun`. No contacts are left after `company:Top`."
        ' Put several words in quotes: `company:"Top Gun"`',
    ),
    (
        "company:Navy Seals",
        "No contacts match `company:Navy Seals`. No contacts are left after `Seals`."
        ' Put several words in quotes: `company:"Navy Seals"`',
    ),
    ("name:ada", "No contacts match `name:ada`. That matches the whole field; for a part: `name~ada`"),
    ("ada 85", "Did you mean `/score set ada 85`?\n[/score set ada 85]"),  # not `add`, which is one letter off `ada`
    ("ada@example.com +5", "Did you mean `/score set ada@example.com +5`?\n[/score set ada@example.com +5]"),
    ("crm:123", "No contact is called “crm:123”. Type more of the name, a company, or an address."),
    ("@jane", "No contacts match `@Jane Kim`."),  # the contacts of a colleague
    ("view @jane", COLLEAGUE),
    ("top", TOP),
    ("TOP 5", TOP),
    ("top 1", TOP.replace("Top 2", "Top 1").replace("2. 🟨 *Grace Hopper* · Navy · *41* (warm) [Open]\n", "")),
    ("top fit", TOP_FIT),
    ("top 5 Fit", TOP_FIT),
    (
        "top satisfaction",
        "Nobody has a Satisfaction score yet. Set one: `/score set ada@example.com satisfaction=5`",
    ),
    *(
        (
            f"top {word}",
            f"`{word}` is not a number from 1 to 50. Type `/score top 10`.",
        )
        for word in ("0", "51")
    ),
    ("top nobody", "No contacts with a Score match `nobody`. Score types: score, fit, satisfaction."),
    *(
        (
            f"top {words}",
            f"*Top 1 by Score* `{shown}`\n1. 🟨 *Ada Lovelace* · Analytical Engines · *62* (warm) [Open]\n"
            "(With equal scores, the contact known longest comes first.)",
        )
        for words, shown in (("me", "me"), ("3 owner:me score>50", "owner:me score&gt;50"), ("vip 5 score", "vip"))
    ),
    ("?", HELP),
    ("--help", HELP),
    ("history ada", HISTORY),
    ("history ada@example.com score", HISTORY),
    (
        "history ada fit",
        "*Ada Lovelace · Fit*\n🟨 ‹4 d ago› · — → *7*, fair · set from crm\n(The only change.)\n[Chart]",
    ),
    ("history Top Gun", "*Pete Mitchell · Score*\nThere are no changes to show."),
    ("history ada fti 90d", "There is no score type `fti`. Did you mean `fit`?"),
    ("why ada nonsense", "There is no score type `nonsense`. Choose from `score`, `fit`, `satisfaction`."),
    ("why Top Gun", "Pete Mitchell has no Score, so there is nothing to explain."),
    ("history", "Name the contact: `/score history ada@example.com`"),
]


async def test_lines_and_their_answers(acme: Acme) -> None:
    """The whole answer to each line is as expected, and no line changes anything."""
    before = await acme.ledger()
    answers = [(line, acme.seen(await acme.ask(line))) for line, _ in LINES]

    assert answers == LINES
    assert await acme.ledger() == before


async def test_every_verb_uses_or_refuses_more_words(acme: Acme) -> None:
    """No verb ignores words that follow it: it uses them, or its answer names them or says what to type."""
    for verb, command in TABLES.verbs.items():
        await acme.answered(partial(acme.sandbox.say, f"/score {verb} zzqx wvut", user="U0ADMIN"))
        text = acme.seen(acme.latest(user="U0ADMIN"))
        if " " not in command.usage:
            assert text == (
                f"`/score {verb}` takes no words, and nothing was done. Did you mean it alone?\n[/score {verb}]"
            )
            continue
        used = re.findall(rf"zzqx|wvut|[Tt]ype `/score {verb}|[Nn]ame .* `/score {verb}|`/score {verb}` takes", text)
        assert used, (verb, text)
    assert [verb for verb, command in TABLES.verbs.items() if " " not in command.usage] == [
        *("settings", "rules", "sources", "subscriptions", "setup", "audit"),
    ]
    assert "Alerts" not in acme.seen(await acme.ask("alerts list zzqx"))


async def test_a_corrected_line_is_run_by_its_button(acme: Acme) -> None:
    """The answer to a line in the wrong order has a button that runs the corrected line."""
    receipt = await acme.press(await acme.ask("set 85 ada"), "/score set ada 85")

    assert acme.seen(receipt).startswith("Ada Lovelace · Score 62 → *85* (hot)")


async def test_help_shows_what_the_reader_may_do(acme: Acme) -> None:
    """An admin sees the commands for admins too; a member who may only view sees none that sets scores."""
    admins = acme.seen(await acme.ask("help", user="U0ADMIN"))
    alerts = acme.seen(await acme.ask("help alerts"))
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await choose_setters(acme.workspace, setters=Setters.ADMINS, by="U0ADMIN", now=now)
    viewers = acme.seen(await acme.ask("help"))

    rights = "You are an admin here: you may view and set every score, and use the commands for admins."
    expected = HELP.replace("*Score types*", f"{HELP_OF_ADMINS}*Score types*")
    assert admins == expected.replace("You may view and set every score here.", rights)
    assert not re.search(r"`/score (set|clear|add)\b", viewers.replace("help set", ""))
    assert "(With examples: `/score help top` · Filters: `/score help filter`)" in viewers
    assert "alerts add when score crosses 80 if owner:me" in alerts
    assert "alerts add when" not in acme.seen(await acme.ask("help alerts"))
    assert acme.seen(await acme.ask("help set")).startswith("Only admins set scores here")


async def test_a_choice_acts(acme: Acme) -> None:
    """A button of the list replaces the question by the chosen contact."""
    answer = await acme.ask("grace")
    message = await acme.press(answer, "Grace Kelly · Monaco · kelly@example.com")

    assert message.ts == answer.ts
    assert acme.seen(message) == (
        "*Grace Kelly* · Monaco · kelly@example.com\n"
        "Score\n—\n🟦 Fit\n*3* (poor)\n‹2 d ago› from crm\nSatisfaction\n—\n*Owner*\nNobody\n"
        "[Set] [History] [Why] [More] [Make me the owner]"
    )


async def test_did_you_mean_runs(acme: Acme) -> None:
    """The button of a misspelled verb runs the intended line."""
    message = await acme.press(await acme.ask("tpo 5"), "/score top 5")

    assert acme.seen(message) == TOP


async def test_a_suggestion_acts(acme: Acme) -> None:
    """A chosen suggestion is shown; if a history was asked for, its history is shown."""
    card = await acme.press(await acme.ask("adaa"), "Ada Lovelace · Analytical Engines · ada@example.com")
    history = await acme.press(
        await acme.ask("history adda fit"), "Ada Lovelace · Analytical Engines · ada@example.com"
    )

    assert acme.seen(card) == ADA_CARD
    assert acme.seen(history).startswith("*Ada Lovelace · Fit*\n🟨 ‹4 d ago› · — → *7*, fair")


async def test_the_nearest_three(acme: Acme) -> None:
    """Of four similar contacts the nearest three are offered, the nearest first."""
    names = ("Robena", "Roberto", "Roberta", "Robert")
    await acme.pushed(*({"type": "contact.upsert", "contact": {"id": name, "name": name}} for name in names))
    answer = acme.seen(await acme.ask("roberd"))

    assert answer == "No contact is called “roberd”. Did you mean one of these?\n" + "\n".join(
        f"{name} [Choose]" for name in ("Robert", "Roberto", "Roberta")
    )


async def test_a_contact_called_almost_like_a_verb(acme: Acme) -> None:
    """If the words match a contact, no verb is suggested."""
    await acme.pushed({"type": "contact.upsert", "contact": {"id": "1", "name": "Tops"}})
    answer = acme.seen(await acme.ask("tops"))

    assert answer == (
        "*Tops*\nScore\n—\nFit\n—\nSatisfaction\n—\n*Owner*\nNobody\n[Set] [History] [More] [Make me the owner]"
    )


async def test_contacts_of_a_name_are_rows_and_more_than_twenty_are_a_list(acme: Acme) -> None:
    """Each contact with the name has a row with a button; for more than twenty, the reply says how to list all."""
    people = [{"type": "contact.upsert", "contact": {"id": f"{n}", "name": f"Sam {n:02d}"}} for n in range(21)]
    rows = "\n".join(f"Sam {n:02d} [Choose]" for n in range(20))
    await acme.pushed(*people[:20])
    assert acme.seen(await acme.ask("sam")) == f"20 contacts match “sam”. Which one?\n{rows}"
    await acme.pushed(people[20])

    assert acme.seen(await acme.ask("sam")) == (
        f'More than 20 contacts match “sam”. Which one?\n{rows}\n(All of them: `/score filter "sam"`)'
    )
    title, *lines = acme.seen(await acme.ask('filter "sam"')).splitlines()
    assert (title, len(lines)) == ('*1–20 of 21 contacts fit* `"sam"`', 21)
    chosen = await acme.press(await acme.ask("set sam 5"), "Sam 03")
    assert acme.seen(chosen).startswith("Sam 03 · Score — → *5*")


async def test_a_row_of_a_list_opens_its_contact(acme: Acme) -> None:
    """The button of a row shows the card below the list, as often as it is clicked."""
    top = await acme.ask("top")

    assert acme.seen(await acme.press(top, "1. 🟨 *Ada Lovelace* · Analytical Engines · *62* (warm)")) == ADA_CARD
    assert acme.seen(await acme.press(top, "1. 🟨 *Ada Lovelace* · Analytical Engines · *62* (warm)")) == ADA_CARD


async def test_the_card_tells_a_colleagues_change_from_the_crms(acme: Acme) -> None:
    """Each score has its last change and author; times are formatted for the reader's zone."""
    await acme.ask("set ada satisfaction=4.5", user="U0JANE")
    message = await acme.ask("ada")
    token = message.blocks[1]["fields"][0]["text"]

    assert acme.seen(message) == ADA_CARD.replace("Satisfaction\n—", "Satisfaction\n*4.5*\n‹now› by <@U0JANE>")
    at, _, plain = token.partition("<!date^")[2].partition("|")[0].partition("^")
    assert plain == "{date_short_pretty} {time}"
    assert acme.sandbox.clock.now() - int(at) == pytest.approx(5.01 * 86_400, abs=3_600)


@on_both
async def test_why_and_more_on_a_card(acme: Acme) -> None:
    """Why explains the first score, and from there each other one; More has further addresses, ids and attributes."""
    fields = {"type": "contact.upsert", "contact": {"email": "ada@example.com", "attributes": {"plan": "pro"}}}
    await acme.pushed(fields)
    await acme.press(await acme.ask("merge kelly@example.com into ada", user="U0ADMIN"), "Merge", user="U0ADMIN")
    card = await acme.ask("ada")
    why = await acme.press(card, "Why")
    fit = acme.seen(await acme.press(why, "Why Fit"))
    more = acme.seen(await acme.press(card, "More"))

    assert acme.seen(why).startswith("*Ada Lovelace · Score*  🟨 *62* (warm)\n*+5* · ‹5 d ago›")
    assert acme.seen(why).endswith("[History] [Why Fit]")
    assert fit.startswith("*Ada Lovelace · Fit*  🟦 *3* (poor)\n")
    assert more.startswith(
        "*More about Ada Lovelace*\n*E-mail*  ada@example.com, kelly@example.com\n*Owner*  rep@acme.example\n"
        "*Tags*  vip, trial\n*plan*  pro\n*Known since*  "
    )


async def test_an_owner_whom_slack_does_not_know_is_an_address(acme: Acme) -> None:
    """An owner is mentioned only if an active member has the address; else, or without an answer, the address shows."""
    await acme.pushed({"type": "contact.upsert", "contact": {"email": "kelly@example.com", "owner": "x@away.example"}})
    acme.sandbox.faults.add(Fault(method="users.lookupByEmail", kind="server_error"))
    unanswered = acme.seen(await acme.ask("ada"))
    unknown = acme.seen(await acme.ask("kelly"))

    assert "*Owner*\nrep@acme.example\n" in unanswered
    assert "*Owner*\nx@away.example\n" in unknown
    assert acme.seen(await acme.ask("ada")) == ADA_CARD


async def test_buttons_of_a_card(acme: Acme) -> None:
    """History shows the default score below the card, which stays."""
    card = await acme.ask("ada")
    history = await acme.press(card, "History")

    assert acme.seen(history) == HISTORY
    assert history.ts > card.ts


async def test_a_score_that_is_missing_is_not_in_the_top(acme: Acme) -> None:
    """A cleared score is missing, not zero, and is in no list."""
    await acme.ask("clear hopper")
    await acme.ask("set kelly 0")

    assert acme.seen(await acme.ask("top")) == (
        "*Top 2 by Score*\n"
        "1. 🟨 *Ada Lovelace* · Analytical Engines · *62* (warm) [Open]\n"
        "2. 🟦 *Grace Kelly* · Monaco · *0* (cold) [Open]\n"
        "(With equal scores, the contact known longest comes first.)"
    )


async def test_equal_scores(acme: Acme) -> None:
    """Of equal scores the oldest contact comes first, whenever it reached the score."""
    await acme.ask("set Studio 54 62")
    await acme.ask("set hopper 62")

    assert acme.seen(await acme.ask("top")) == (
        "*Top 3 by Score*\n"
        "1. 🟨 *Ada Lovelace* · Analytical Engines · *62* (warm) [Open]\n"
        "2. 🟨 *Grace Hopper* · Navy · *62* (warm) [Open]\n"
        "3. 🟨 *Studio 54* · *62* (warm) [Open]\n"
        "(With equal scores, the contact known longest comes first.)"
    )


async def test_the_last_twenty_changes(acme: Acme) -> None:
    """A history has the latest twenty changes, newest first, and says so."""
    at = [{"occurred_at": ago(acme.sandbox, 4 - hours / 24)} for hours in range(25)]
    add = {"type": "score.add", "contact": {"email": "ada@example.com"}, "score": "score", "value": 1}
    await acme.pushed(*(add | more for more in at))
    lines = acme.seen(await acme.ask("history ada")).splitlines()

    assert len(lines) == 23
    assert lines[1].endswith(" · 86 → *87* (+1) · from crm")
    assert lines[20].endswith(" · 67 → *68* (+1) · from crm")
    assert lines[21] == "(The last 20 changes, newest first.)"


async def test_a_negative_change_and_a_cleared_one_in_a_history(acme: Acme) -> None:
    """A history shows subtractions, clears and undone changes as such."""
    await acme.ask("set ada -7")
    await acme.ask("clear ada")
    await acme.ask("set ada 90 because wrong Ada")
    await acme.ask("undo")

    assert acme.seen(await acme.ask("history ada")) == (
        "*Ada Lovelace · Score*\n"
        '‹now› · ~set to 90~ · by <@U0REP> · "wrong Ada"\n'
        "‹now› · 55 → — · cleared by <@U0REP>\n"
        "🟨 ‹now› · 62 → *55* (-7) · by <@U0REP>\n"
        '🟨 ‹5 d ago› · 57 → *62* (+5) · from crm · "Read the pricing page"\n'
        "🟨 ‹7 d ago› · — → *57*, warm · set from crm\n"
        "(The last 5 changes, newest first. Struck through: undone.)\n[Chart]"
    )


async def test_another_default_type(acme: Acme) -> None:
    """The default score type comes first everywhere."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_score_type(
        acme.workspace, key="mood", label="Mood", minimum=-10_000, maximum=10_000, step=1000,
        bands=(), start=None, is_default=True, by="U0ADMIN", now=now,
    )  # fmt: skip  # the numbers of one definition
    receipt = acme.seen(await acme.ask("set ada =-5"))
    card = acme.seen(await acme.ask("ada")).splitlines()

    assert receipt == "Ada Lovelace · Mood — → *-5*\n[Undo] [History]"
    assert card[1:6] == ["Mood", "*-5*", "‹now› by <@U0REP>", "🟨 Score", "*62* (warm)"]
    assert acme.seen(await acme.ask("top")).startswith("*Top 1 by Mood*\n1. *Ada Lovelace*")


@on_both
async def test_a_filter_and_its_mistake(acme: Acme) -> None:
    """A line with an operator is a filter; a mistake is marked with a caret."""
    text = acme.seen(await acme.ask("score>=40"))
    wrong = acme.seen(await acme.ask("score>=40 -has:xyz"))

    assert text == (
        "*2 contacts fit* `score&gt;=40`\n"
        "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm) [Open]\n"
        "🟨 *Grace Hopper* · Navy · Score *41* (warm) [Open]\n"
        "[Share to channel] [Change all 2]"
    )
    assert wrong == (
        "There is no field `xyz`. Choose from `score`, `fit`, `satisfaction`, `email`, `name`, `company`, `owner`,"
        " `tag`, `has`, `followup`, `segment`, `updated`, `attributes`, `sort`,"
        " `limit`.\n"
        "```score&gt;=40 -has:xyz\n"
        "               ^^^```"
    )


@on_both
async def test_a_filter_shows_the_attributes_it_asks_about(acme: Acme) -> None:
    """The filtered attributes are shown beside the score; an attribute name with a space needs quotes."""
    attributes = {"plan": ["pro", "beta <1>"], "Seats Used": 12}
    await acme.pushed({"type": "contact.upsert", "contact": {"email": "ada@example.com", "attributes": attributes}})

    text = acme.seen(await acme.ask('attributes.plan:pro attributes."Seats Used":10..20 -attributes.churn>0'))

    assert text == (
        '*1 contact fits* `attributes.plan:pro attributes."Seats Used":10..20 -attributes.churn&gt;0`\n'
        "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nSeats Used 12 · plan pro, beta &lt;1&gt; [Open]\n"
        "[Share to channel]"
    )
    unquoted = acme.seen(await acme.ask("attributes.Seats Used>5"))
    assert unquoted.startswith(
        'Put a name with more than letters, digits and underscores in quotes: `attributes."Seats Used"`'
    )


def test_the_past_has_every_kind_of_item() -> None:
    """The pushed fixture has every type of item except clear."""
    assert {item["type"] for _, item in PAST} == {"contact.upsert", "score.set", "score.add"}


async def test_a_command_searches_once_for_each_text(acme: Acme, caplog: pytest.LogCaptureFixture) -> None:
    """However a line is answered, no text is searched twice; only a line that matches no contact tries another text."""
    searched = {}
    for line in ("ada", "view lovelace", "set ada 50", "set qqqq 50", "history qqqq fit", "why ada qqqq", "clear qqqq"):
        caplog.clear()
        with caplog.at_level("DEBUG", logger="tortoise.db_client"):
            await acme.ask(line)
        statements = [record.args for record in caplog.records if isinstance(record.args, tuple)]
        searched[line] = [args[1][1] for args in statements if "c.name_key = " in str(args[0])]  # type: ignore[index]

    assert searched == {
        "ada": ["ada"],
        "view lovelace": ["lovelace"],
        "set ada 50": ["ada"],
        "set qqqq 50": ["qqqq"],
        "history qqqq fit": ["qqqq"],
        "why ada qqqq": ["ada qqqq", "ada"],
        "clear qqqq": ["qqqq"],
    }
