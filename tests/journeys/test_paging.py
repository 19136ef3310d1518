"""Page through the results of a filter, forwards and backwards."""

import re

import pytest

from tests.conftest import on_both
from tests.journeys.acme import Acme

LINE = re.compile(r"^(?:[🟦🟨🟥] )?\*(?:<[^|>]*\|)?(Person \d+)")


async def people(acme: Acme, count: int, *, name: str = "Person {:03d}") -> None:
    """Push *count* contacts of one company, each with a lower score than the one before."""
    items = []
    for number in range(count):
        contact = {"email": f"p{number:03d}@crowd.example", "name": name.format(number), "company": "Crowd"}
        items.append({"type": "score.set", "contact": contact, "score": "fit", "value": 10 - number * 9 // count})
    await acme.pushed(*items)


def read(text: str) -> tuple[str, list[str], list[str]]:
    """Return the title of a page, its contacts, and its buttons."""
    title, *lines = text.splitlines()
    return title, [match[1] for line in lines if (match := LINE.match(line))], re.findall(r"\[(.*?)\]", lines[-1])


@on_both
async def test_every_page_is_reached_and_left(acme: Acme) -> None:
    """Next leads to the end, lists every contact once and shows the position; Back leads to the first page again."""
    await people(acme, 117)
    message = await acme.ask("filter company:Crowd sort:name")
    all_names: list[str] = []
    for number in range(6):
        title, names, buttons = read(acme.seen(message))
        last = min(number * 20 + 20, 117)
        assert title == f"*{number * 20 + 1}–{last} of 117 contacts fit* `company:Crowd sort:name`"
        pages = [*(["Back"] if number else []), *(["Next"] if number < 5 else [])]
        assert buttons == [*pages, "Share to channel", "Change all 117"]
        all_names += names
        if number < 5:
            message = await acme.press(message, "Next")
    assert all_names == [f"Person {number:03d}" for number in range(117)]

    for _ in range(5):
        if "[Back]" in acme.seen(message):
            message = await acme.press(message, "Back")
    title, names, buttons = read(acme.seen(message))
    assert (names, buttons) == (all_names[:20], ["Next", "Share to channel", "Change all 117"])
    assert title.startswith("*1–20 of 117 contacts fit*")


async def test_a_page_is_shared_as_it_stands(acme: Acme) -> None:
    """Sharing posts the current page, with the values at the time of posting."""
    await people(acme, 25)
    message = await acme.press(await acme.ask("filter company:Crowd", channel="C0SUCCESS"), "Next")
    await acme.pushed({"type": "contact.upsert", "contact": {"email": "p024@crowd.example", "name": "Person 777"}})
    button = next(
        element for element in message.blocks[-1]["elements"] if element["text"]["text"] == "Share to channel"
    )
    await acme.answered(lambda: acme.sandbox.click(message.id, button["action_id"]))
    (*_, posted) = acme.sandbox.messages("C0SUCCESS", "U0JANE")

    assert read(acme.seen(posted))[:2] == (
        "*21–25 of 25 contacts fit* `company:Crowd`",
        [f"Person {number}" for number in ("020", "021", "022", "023", "777")],
    )
    assert acme.seen(posted).endswith("(Shared by <@U0REP>)")


@pytest.mark.parametrize("name", ["Zoë " * 40 + "{:03d}", '"Q" ' * 40 + "{:03d}"], ids=["wide", "quoted"])
async def test_what_a_button_has_no_room_for(acme: Acme, name: str) -> None:
    """However long a filter or a name is, it is answered, and Next works."""
    await people(acme, 45, name=name)
    titles = []
    for text in ("company:Crowd sort:name", f"company:Crowd (company~crowd OR {'name~é ' * 180}) sort:-name"):
        message = await acme.ask(f"filter {text}")
        for title in ("*1–20 of 45 contacts fit*", "*21–40 of 45 contacts fit*", "*41–45 of 45 contacts fit*"):
            first_title, _, buttons = read(acme.seen(message))
            assert first_title.startswith(title)
            assert "Share to channel" in buttons
            if "Next" not in buttons:
                break
            message = await acme.press(message, "Next")
        titles.append(title)
    assert titles == ["*41–45 of 45 contacts fit*"] * 2

    for text, length in (
        (f"company:Crowd {'name~x ' * 200}", "1413"),
        (f"company:Crowd {'-name:a ' * 90}" + '"a" ' * 150, "1633, quotation marks counted twice"),
    ):
        assert acme.seen(await acme.ask(f"filter {text}")) == (
            f"A filter has at most 1400 characters here; this one has {length}."
        )


async def test_a_filter_says_who_emptied_it_and_how_many_it_takes(acme: Acme) -> None:
    """An empty result names the term that excludes every contact; `limit:` sets the number of contacts, up to fifty."""
    await people(acme, 60)
    nobody = acme.seen(await acme.ask("filter company:Crowd fit>=2 fit<1.5 name~person"))
    three = read(acme.seen(await acme.ask("filter company:Crowd limit:3")))
    fifty = read(acme.seen(await acme.ask("filter company:Crowd limit:55")))

    assert (
        nobody == "No contacts match `company:Crowd fit&gt;=2 fit&lt;1.5 name~person`."
        " No contacts are left after `fit&lt;1.5`."
    )
    assert (three[0], three[2]) == (
        "*1–3 of 60 contacts fit* `company:Crowd limit:3`",
        ["Share to channel", "Change all 3"],
    )
    assert (len(three[1]), len(fifty[1])) == (3, 50)


ROWS = [
    ("score rising 5 in 6d", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nrising by 5 in 6d"),
    ("score rising 5% in 6d", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nrising by 5 (9%) in 6d"),
    ("score falling 20 in 48h", "🟦 *Grace Hopper* · Navy · Score *10* (cold)\nfalling by 31 in 2d"),
    ("score crossed above 60 in 6d", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nfrom 57 in 6d"),
    ("score crossed above 60 in 30d", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nfrom — in 30d"),
    ("score stale 4d", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nlast change ‹5 d ago›"),
    ("updated>2d ada", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nupdated ‹4 d ago›"),
    ("followup:none fit:poor", "🟦 *Grace Kelly* · Monaco · Fit *3* (poor)\nno follow-up"),
    (
        "owner:(rep@acme.example,x@acme.example)",
        "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nowner rep@acme.example",
    ),
    ("-owner:me fit:poor", "🟦 *Grace Kelly* · Monaco · Fit *3* (poor)\nno owner"),
    ("owner:me", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)"),
    ("tag:(vip,beta)", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\ntags vip, trial"),
    ("tag:vip -tag:churned", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)"),
    ("email~ada", "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\nada@example.com"),
    ("top ada score rising 1 in 6d", "1. 🟨 *Ada Lovelace* · Analytical Engines · *62* (warm)\nrising by 5 in 6d"),
]


@on_both
async def test_a_row_shows_what_was_asked_for(acme: Acme) -> None:
    """A row shows what its filter asks for: the change, the value before, a date, a follow-up, the owner, the tags."""
    await acme.pushed({"type": "score.set", "contact": {"email": "hopper@example.com"}, "score": "score", "value": 10})
    rows = {}
    for line, _ in ROWS:
        answer = acme.seen(await acme.ask(line if line.startswith("top") else f"filter {line}"))
        rows[line] = answer.partition("\n")[2].partition(" [Open]")[0]

    assert rows == dict(ROWS)
