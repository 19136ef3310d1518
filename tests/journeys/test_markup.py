"""Show names, companies, owners, tags, reasons and labels as they are: nothing in them mentions, links or formats."""

from collections.abc import Iterator
from typing import Any

import pytest

from storage.definitions import add_score_type
from tests.journeys.acme import Acme, form

EVIL = {
    "id": "evil",
    "name": "Evil <!channel> & <https://evil.example|Free>",
    "company": "<!here> Ltd",
    "owner": "<@U0ADMIN>",
    "tags": ["<!everyone>", "a & b"],
}
RAW = ("<!channel", "<!here", "<!everyone", "<@U0ADMIN", "<https://evil", "<!subteam")


@pytest.fixture
async def evil(acme: Acme) -> Acme:
    """Give the workspace a contact and a score type whose words are markup."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await add_score_type(
        acme.workspace, key="mood", label="<!here> Mood", minimum=0, maximum=10_000, step=1000,
        bands=(), start=None, is_default=False, now=now,
    )  # fmt: skip  # the numbers of one definition stand together
    same_name = {"type": "contact.upsert", "contact": {"id": "evil2", "name": "Evil <!channel> Two"}}
    scored = {"type": "score.set", "contact": {"id": "evil"}, "score": "mood", "value": 5, "reason": "<!channel> & co"}
    await acme.pushed({"type": "contact.upsert", "contact": EVIL}, same_name, scored)
    return acme


def parsed_by_slack(given: Any) -> Iterator[str]:
    """Give every text of a message or view in which Slack looks for markup."""
    if isinstance(given, dict):
        for name, value in given.items():
            if name == "text" and isinstance(value, str) and given.get("type") != "plain_text":
                yield value
            else:
                yield from parsed_by_slack(value)
    elif isinstance(given, list | tuple):
        for each in given:
            yield from parsed_by_slack(each)


def raw_in(acme: Acme) -> list[str]:
    """Give the texts that Slack would read markup out of that was never ours."""
    texts = [text for call in acme.answers for text in parsed_by_slack(call.arguments)]
    return [text for text in texts if any(each in text for each in RAW)]


async def test_the_card_of_a_contact_with_markup(evil: Acme) -> None:
    """Every part of a card is written so that it reads as it was given."""
    seen = evil.seen(await evil.ask("crm:evil"))

    assert seen == (
        "*Evil &lt;!channel&gt; &amp; &lt;https://evil.example|Free&gt;* · &lt;!here&gt; Ltd\n"
        "Score  —\n"
        "Fit  —\n"
        "Satisfaction  —\n"
        "&lt;!here&gt; Mood  *5* · ‹now› from crm\n"
        "(Owner: &lt;@U0ADMIN&gt; · Tags: &lt;!everyone&gt;, a &amp; b)\n"
        "[Set] [History]"
    )
    assert raw_in(evil) == []


LINES = [
    "crm:evil",
    "view evil",  # two of that name: a list
    "history crm:evil mood",
    "history crm:evil",
    "set crm:evil mood=7 because <!channel> & co",
    "set crm:evil mood=99",  # a refusal names the type
    "set crm:evil mood=7 mood=8",
    "set crm:evil mood=0.5",
    "set evil mood=7 because <!channel>",
    "clear crm:evil mood",
    "clear crm:evil fit",  # nothing to clear names the contact
    "clear evil mood",
    "top mood",
    "filter mood>=1",
    "filter company:nobody",
    "help",
    # What a person types comes back to them alone, but is as little markup as anything.
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
]


@pytest.mark.parametrize("line", LINES)
async def test_nothing_is_parsed(evil: Acme, line: str) -> None:
    """No answer to a line lets Slack find markup in what is not ours, in its notification neither."""
    await evil.ask(line)

    assert len(evil.answers) == 1
    assert raw_in(evil) == []


async def test_nothing_is_parsed_in_what_follows(evil: Acme) -> None:
    """Nor do choices, forms, receipts, undone ones and histories."""
    choice = await evil.ask("set evil mood=7 because <!channel>")
    receipt = await evil.press(choice, "Evil <!channel> & <https://evil.example|Free> · <!here> Ltd")
    undone = await evil.press(receipt, "Undo")
    await evil.press(undone, "History")
    view = await evil.press_for_form(await evil.ask("crm:evil"), "Set")
    handed_in = await evil.hand_in(view, score_mood="8", reason="<!channel>")

    assert form(view)["about"] == "*Evil &lt;!channel&gt; &amp; &lt;https://evil.example|Free&gt;*"
    assert evil.seen(handed_in) == (
        "Evil &lt;!channel&gt; &amp; &lt;https://evil.example|Free&gt; · &lt;!here&gt; Mood 5 → *8*"
        ' · "&lt;!channel&gt;"\n[Undo] [History]'
    )
    assert len(evil.answers) == 7
    assert raw_in(evil) == []


async def test_a_line_break_in_a_name_stays_on_its_line(evil: Acme) -> None:
    """A name with line breaks cannot pretend to be another line of a list."""
    trick = {"id": "trick", "name": "Nice\n2. *Somebody Else*  *99* (hot)"}
    scored = {"type": "score.set", "contact": {"id": "trick"}, "score": "score", "value": 90}
    await evil.pushed({"type": "contact.upsert", "contact": trick}, scored)
    lines = evil.seen(await evil.ask("top 1")).splitlines()

    assert len(lines) == 3
    assert lines[1].startswith("1. ")
