"""Names, companies, owners, tags, reasons and labels are shown literally: no mentions, links or formatting."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from bot.features import VERBS
from storage.scoring.definitions import add_score_type
from tests.journeys.acme import REP, Acme, entered, form
from tests.journeys.admin import ADMIN

EVIL = {
    "id": "evil",
    "name": "Evil <!channel> & <https://evil.example|Free>",
    "company": "<!here> Ltd",
    "owner": "<@U0ADMIN>",
    "tags": ["<!everyone>", "a & b"],
}
# Answers do not depend on the database.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
STYLED = re.compile(r"\*x\*|_x_|~x~|`x`|:joy:")
TURNING = re.compile("[\u202a-\u202e\u2066\u2067\u200e\u200f]")
STYLE = "*x* _x_ ~x~ :joy: https://evil.example x\u202e\u2067\u200f"
RAW = ("<!channel", "<!here", "<!everyone", "<@U0ADMIN", "<https://evil", "<!subteam")


@pytest.fixture
async def evil(acme: Acme) -> Acme:
    """Create a contact and a score type with markup in their texts."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_score_type(
        acme.workspace, key="mood", label="<!here> Mood", minimum=0, maximum=10_000, step=1000,
        bands=(), start=None, is_default=False, by="cli:<!here>", now=now,
    )  # fmt: skip  # the numbers of one definition
    same_name = {"type": "contact.upsert", "contact": {"id": "evil2", "name": "Evil <!channel> Two"}}
    scored = {"type": "score.set", "contact": {"id": "evil"}, "score": "mood", "value": 5, "reason": "<!channel> & co"}
    await acme.pushed({"type": "contact.upsert", "contact": EVIL}, same_name, scored)
    return acme


def parsed_by_slack(content: Any) -> Iterator[str]:
    """Return every text of a message or view that Slack parses for markup."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name == "text" and isinstance(value, str) and content.get("type") != "plain_text":
                yield value
            else:
                yield from parsed_by_slack(value)
    elif isinstance(content, list | tuple):
        for part in content:
            yield from parsed_by_slack(part)


def raw_in(acme: Acme) -> list[str]:
    """Return the texts with markup that the app did not write, or with characters that reverse text."""
    texts = [text for call in acme.answers for text in parsed_by_slack(call.arguments)]
    outside_code = [re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL) for text in texts]
    return [
        text
        for text, outside in zip(texts, outside_code, strict=True)
        if any(pattern in text for pattern in RAW) or STYLED.search(outside) or TURNING.search(text)
    ]


def made_into_links(content: Any) -> Iterator[Any]:
    """Return every text of a message or view in which Slack would turn addresses into links."""
    if isinstance(content, dict):
        if content.get("type") == "mrkdwn" and content.get("verbatim") is not True:
            yield content
        content = list(content.values())
    if isinstance(content, list | tuple):
        for part in content:
            yield from made_into_links(part)


async def test_the_card_of_a_contact_with_markup(evil: Acme) -> None:
    """Every part of a card is escaped so that it looks as it was entered."""
    text = evil.seen(await evil.ask("crm:evil"))

    assert text == (
        "*Evil &lt;!channel&gt; &amp; &lt;https://evil.example|Free&gt;* · &lt;!here&gt; Ltd\n"
        "Score\n—\n"
        "Fit\n—\n"
        "Satisfaction\n—\n"
        "&lt;!here&gt; Mood\n*5*\n‹now› from crm\n"
        "*Owner*\n&lt;@U0ADMIN&gt;\n"
        "*Tags*\n&lt;!everyone&gt;, a &amp; b\n"
        "[Set] [History] [Why] [More]"
    )
    assert raw_in(evil) == []


async def test_the_record_of_changes_with_markup(evil: Acme) -> None:
    """Labels, filters and names of users of the terminal are escaped in the record of changes."""
    await evil.ask('segment save hot company:"<!channel>"')

    text = evil.seen(await evil.ask("audit", user=ADMIN))

    assert "label: &lt;!here&gt; Mood; " in text
    assert "Score type added *mood* · by cli:&lt;!here&gt;" in text
    assert 'text: company:"&lt;!channel&gt;"' in text
    assert raw_in(evil) == []


LINES = [
    "crm:evil",
    "view evil",  # two contacts of that name: a list
    "history crm:evil mood",
    "history crm:evil",
    "set crm:evil mood=7 because <!channel> & co",
    "set crm:evil mood=99",  # a refusal names the score type
    "set crm:evil mood=7 mood=8",
    "set crm:evil mood=0.5",
    "set evil mood=7 because <!channel>",
    "clear crm:evil fit",  # the refusal names the contact
    "top mood",
    "filter mood>=1",
    "filter company:nobody",
    "help",
    # Typed text is shown only to the person who typed it, but is escaped too.
    "<!channel>",
    "view <!channel>",
    "tpo <!channel>",
    "top <!channel>",
    "clear <!channel>",
    "clear <!channel> fit",
    "history <!channel>",
    "set <!channel>",
    "set <!channel> 85",
    "set <!channel> 85 70",
    "set <!channel> fit=<!here>",
    "set ada fti=<!here>",
    "filter <!channel>",
    "filter name~<!channel>",
    "help <!channel>",
    "clear evil mood",
    "clear crm:evil mood",
]


async def test_nothing_is_parsed(evil: Acme) -> None:
    """Slack finds no markup in foreign text of any answer, including its notification."""
    for line in LINES:
        evil.sandbox.calls.clear()
        await evil.ask(line)

        assert len(evil.answers) == 1, line
        assert raw_in(evil) == [], line


async def test_nothing_is_parsed_in_what_follows(evil: Acme) -> None:
    """Slack finds no markup in foreign text of choices, forms, receipts, undo receipts and histories."""
    choice = await evil.ask("set evil mood=7 because <!channel>")
    receipt = await evil.press(
        choice, "Evil &lt;!channel&gt; &amp; &lt;https://evil.example|Free&gt; · &lt;!here&gt; Ltd"
    )
    undone = await evil.press(receipt, "Undo")
    await evil.press(undone, "History")
    view = await evil.press_for_form(await evil.ask("crm:evil"), "Set")
    new_receipt = await evil.hand_in(view, score_mood="8", reason="<!channel>")

    assert form(view)["about"] == "*Evil &lt;!channel&gt; &amp; &lt;https://evil.example|Free&gt;*"
    assert evil.seen(new_receipt) == (
        "Evil &lt;!channel&gt; &amp; &lt;https://evil.example|Free&gt; · &lt;!here&gt; Mood 5 → *8*"
        ' · "&lt;!channel&gt;"\n[Undo] [History]'
    )
    assert len(evil.answers) == 7
    assert raw_in(evil) == []


async def test_a_line_break_in_a_name_stays_on_its_line(evil: Acme) -> None:
    """A name with line breaks cannot look like another line of a list."""
    trick = {"id": "trick", "name": "Nice\n2. *Somebody Else*  *99* (hot)"}
    scored = {"type": "score.set", "contact": {"id": "trick"}, "score": "score", "value": 90}
    await evil.pushed({"type": "contact.upsert", "contact": trick}, scored)
    lines = evil.seen(await evil.ask("top 1")).splitlines()

    assert len(lines) == 3
    assert lines[1].startswith("1. ")


LOOKS = [
    "crm:styled",
    "view styled",
    "history crm:styled",
    "history crm:styled mood",
    "why crm:styled mood",
    "set crm:styled mood=6 because *x*",
    "set crm:styled mood=99",
    "set crm:styled mood=0.5",
    "clear styled mood",
    "clear crm:styled fit",
    "clear crm:styled mood",
    "undo",
    "top mood",
    "top",
    "filter mood>=1",
    "filter company~x",
    "followups",
    "alerts",
    "alerts try when mood crosses 3",
    "segment list",
    "help",
    "add ada@example.com name:y",
]
STYLED_CONTACT = {
    "id": "styled", "name": f"Styled {STYLE}", "company": f"Company {STYLE}", "owner": f"Owner {STYLE}",
    "tags": [f"Tag {STYLE}"], "attributes": {"a": STYLE},
}  # fmt: skip  # a contact with markup in every field


@pytest.fixture
async def styled(acme: Acme) -> Acme:
    """Create two contacts and a score type with texts that style, link and reverse their surroundings."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_score_type(
        acme.workspace, key="mood", label=f"Mood {STYLE}"[:60], minimum=0, maximum=10_000, step=1000,
        bands=(), start=None, is_default=False, by="U0ADMIN", now=now,
    )  # fmt: skip  # the numbers of one definition
    second = {"type": "contact.upsert", "contact": {**STYLED_CONTACT, "id": "styled2", "name": f"Styled two {STYLE}"}}
    scored = {"type": "score.set", "contact": {"id": "styled"}, "score": "score", "value": 95, "reason": f"Why {STYLE}"}
    mood = {**scored, "score": "mood", "value": 5}
    activity = {"type": "activity", "contact": {"id": "styled"}, "activity": f"did {STYLE}", "reason": STYLE}
    await acme.pushed({"type": "contact.upsert", "contact": STYLED_CONTACT}, second, scored, mood, activity)
    return acme


async def test_nothing_that_is_sent_styles_or_turns_anything(styled: Acme) -> None:
    """Names, companies, owners, tags, reasons, activities and labels look as they were entered, everywhere."""
    for line in LOOKS:
        await styled.ask(line)
    for line in ("merge crm:styled into crm:styled2", "rules", "sources", "settings", "undo"):
        await styled.ask(line, user=ADMIN)
    choice = await styled.ask("set styled mood=7 because *x*")
    await styled.press(choice, next(block["text"]["text"] for block in choice.blocks if "accessory" in block))
    view = await styled.press_for_form(await styled.ask("crm:styled"), "Set")

    assert "\u202e" not in str(form(view))
    assert len(styled.answers) == len(LOOKS) + 9
    assert raw_in(styled) == []
    assert [link for call in styled.answers for link in made_into_links(call.arguments)] == []


EVIL_WORD = "<!here>*x*_x_~x~:joy:\u202e"
FORMS = (
    "{}", "{} {}", "ada {}", "ada@example.com {}", "{} 5", "ada {}=5", "ada fit={}", "ada 5 because {}", "ada 5 {}",
    "ada because {} 5", "{}:x", "x:{}", "name~{}", "score>={}", "add {}", "add when {}", "add when score crosses {}",
    "add when score crosses 80 if {}", "add when score crosses 80 in {}", "try {}", "try when score crosses {}",
    "pause {}", "resume {}", "remove {}", "digest {}", "digest 9:00 {}", "save {} score>=80", "save x {}", "show {}",
    "delete {}", "{} into ada", "ada into {}", "{} into {}", "ada fit {}", "ada {}d", "ada@example.com name:{}",
    "ada@example.com owner:{}", "{}@example.com name:x", '"{}"', "segment:{}", "owner:{}", "tag:{} {}",
)  # fmt: skip  # texts after a verb


@on_sqlite
# the verb without arguments
@pytest.mark.parametrize("verb", ["", "nonsense", *(verb for verb in VERBS if verb != "setup")])
async def test_no_echo_is_markup(acme: Acme, verb: str) -> None:
    """For every verb, the text typed after it is shown without markup."""
    forms_seen = 0
    for rest in FORMS:
        line = f"{verb} {rest.replace('{}', EVIL_WORD)}".strip()
        await acme.answered(lambda line=line: acme.sandbox.say(f"/score {line}", user=ADMIN))  # type: ignore[misc]
        forms_seen += 1
        assert raw_in(acme) == [], line
        acme.sandbox.calls.clear()

    assert forms_seen == len(FORMS)


async def test_no_form_echoes_markup(acme: Acme) -> None:
    """Form input is shown escaped in the answer, or as plain text under its field."""
    evil = f"{EVIL_WORD} x"
    for line in ("set", "alerts add"):
        await acme.answered(lambda line=line: acme.sandbox.say(f"/score {line}"))  # type: ignore[misc]  # bound at once
        view = acme.sandbox.open_views(REP)[-1]
        texts = [
            block
            for block in view.blocks
            if block["type"] == "input" and block["element"]["type"] == "plain_text_input"
        ]
        values = entered(view, {block["block_id"]: evil for block in texts})
        assert values
        await acme.sandbox.submit(view.id, values)
    modal = await acme.press_for_form(await acme.ask("ada"), "Set")
    receipt = acme.seen(await acme.hand_in(modal, score_score="85", reason=evil))

    assert "&lt;!here&gt;" in receipt
    assert raw_in(acme) == []
