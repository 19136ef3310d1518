"""Cards, lists, receipts, histories and forms are rendered within Slack's limits."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest

from bot.blocks.digest import digest_reply
from bot.blocks.elements import (
    SQUARES,
    band_square,
    button,
    format_actor,
    format_value,
    format_with_band,
    moment,
    sections,
    trend,
    truncate,
)
from bot.blocks.followups import FollowUpReader, ended_blocks, follow_up_reply, headline, list_reply
from bot.blocks.help import command_reply, overview_reply
from bot.blocks.history import history_reply, why_reply
from bot.blocks.home import health_blocks, portfolio_blocks, settings_blocks
from bot.blocks.lists import RowDetails, filter_reply, segments_reply, top_reply
from bot.blocks.refusals import ambiguous_contact_reply, choose_contact_reply, distinct_name, no_contact_reply
from bot.blocks.scores import MOST_TYPES, card_reply, details_reply, receipt_reply, set_modal
from bot.features import TABLES
from bot.features.followups.lists import MOST_ENDED, PER_PAGE, ListPage
from bot.slack.access import Need
from bot.slack.handling import Reply
from storage.alerts.digests import News
from storage.alerts.followups import FiredRule, FollowUp
from storage.domain.contacts import Contact
from storage.domain.explain import Contribution, Explanation
from storage.domain.facts import DAY, Deed, Op
from storage.domain.filters import Filter
from storage.domain.filters.terms import (
    All,
    Comparison,
    Contains,
    Crossed,
    Direction,
    FollowedUp,
    HasAttribute,
    Stale,
    Tagged,
    Trend,
    Updated,
)
from storage.domain.fold import make_initial_state
from storage.domain.followups import FollowUpOutcome, FollowUpState
from storage.domain.followups import FollowUpStatus as Stand
from storage.domain.people import Choices, Setters
from storage.domain.score_types import COLOURS, Band, ScoreType
from storage.domain.source_health import SourceHealth
from storage.domain.submissions import ScoreChanged
from storage.reading.current_scores import Card, CurrentScore
from storage.reading.history import HistoryEntry
from storage.reading.portfolio import Portfolio
from storage.sources.subscriptions import Subscription
from tests.bot.types import FIT, SATISFACTION, SCORE, TYPES, score_type
from tests.slack.block_kit import check_blocks, check_view

START = make_initial_state(SCORE)

AT = 1_767_225_600_000_000  # 2026-01-01
DATE = "<!date^1767225600^{date_short_pretty} {time}|2026-01-01 00:00 UTC>"
WIDEST = -999_999_999_999


def contact(**more: object) -> Contact:
    """Return the contact Ada, or a variant with other fields."""
    fields = {"email": "ada@example.com", "name": "Ada Lovelace", "company": "Engines", "owner": None} | more
    return Contact(id=7, created_at=AT, updated_at=AT, **fields)  # type: ignore[arg-type]  # fields as above


def standing(score_type: ScoreType, value: int, **more: object) -> CurrentScore:
    """Return a score of a contact."""
    fields = {"as_of": AT, "seen": AT, "source": "crm", "actor": None, "trends": {}, "band_until": None} | more
    fields |= {"rank": value - score_type.start}
    return CurrentScore(score_type=score_type, value=value, **fields)  # type: ignore[arg-type]  # fields as above


NAMES: Mapping[str, Contact] = {
    "usual": contact(owner="rep@acme.example", tags=("vip", "trial")),
    "bare": contact(email=None, name=None, company=None, ids={"crm": "4711" * 50}),
    "nobody": contact(email=None, name=None, company=None),
    "address alone": contact(name=None, company=None),
    "markup": contact(name="<!channel> & <@U1>", company="<https://x.example|y>", owner="<!here>", tags=("<&>",)),
    "longest": contact(
        email=f"{'e' * 64}@{'x' * 180}.example",
        name="N" * 255,
        company="C" * 255,
        owner="o" * 255,
        tags=tuple(f"{n:03d}{'t' * 97}" for n in range(100)),
    ),
    "longest and escaped": contact(name="&" * 255, company="<" * 255, owner=">" * 255, tags=("&" * 100,) * 100),
    "line breaks": contact(name="Ada\n*Eve*", company="a\r\nb", tags=("x\ny",)),
}
LOW = score_type("low", minimum=-10_000, maximum=0, step=1_000, bands=(Band(name="bad", start=-10_000),))
MANY = tuple(
    score_type(
        f"{'k' * 29}_{n:02d}",
        label="&" * 58 + f"{n:02d}",
        minimum=-(10**12),
        maximum=10**12,
        step=1,
        number=n,
        bands=(Band(name="b" * 32, start=-(10**12)),),
    )
    for n in range(90)
)


def asking(score_type: ScoreType) -> Filter:
    """Return a filter that asks for everything that a row of a list can show."""
    terms = (
        Trend(score_type, Direction.MOVED, 1_000, True, 7 * DAY),
        Crossed(score_type, above=True, edge=0, window=30 * DAY),
        Stale(score_type, DAY),
        Updated(Comparison.BELOW, DAY),
        FollowedUp(("open", "none")),
        Contains("owner", "a"),
        Contains("email", "a"),
        Tagged(("vip", "beta")),
        HasAttribute("plan"),
    )
    return Filter(where=All(terms))


def details(score_type: ScoreType, state: FollowUpState) -> RowDetails:
    """Return what the filter of `asking` needs for the contact."""
    return RowDetails(
        past={(7, score_type.key, days * DAY): score_type.minimum for days in (7, 30)},
        touched={7: AT},
        follow_ups={7: follow_up(state)},
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (FollowUpState.OPEN, f"follow-up open since {DATE}"),
        (FollowUpState.CLAIMED, f"follow-up claimed {DATE}"),
        (FollowUpState.ESCALATED, f"follow-up escalated {DATE}"),
        (FollowUpState.SNOOZED, f"follow-up snoozed until {DATE}"),
    ],
)
def test_a_row_with_everything(state: FollowUpState, words: str) -> None:
    """A row has what its filter asks for, in the order of the terms, and mentions nobody, because it may be shared."""
    card = Card(contact=NAMES["usual"], standings=(standing(SCORE, 85_000),))
    reply = filter_reply(
        [card], (SCORE,), asking(SCORE), details(SCORE, state),
        text="", first=1, total=1, back=None, onward=None, current="",
    )  # fmt: skip  # one page

    assert reply.blocks[1]["text"]["text"] == (
        f"🟥 *Ada Lovelace* · Engines · Score *85* (hot)\nrising by 85 in 7d · from 0 in 30d · last change {DATE}"
        f" · updated {DATE} · {words} · ada@example.com · owner rep@acme.example · tags vip, trial"
    )


def messages(person: Contact, types: tuple[ScoreType, ...]) -> dict[str, Reply]:
    """Return every message about a contact."""
    standings = tuple(standing(score_type, score_type.minimum + 1, trends={30: 5000}) for score_type in types)
    moves = tuple(
        ScoreChanged(
            contact=7,
            score_type=score_type,
            before=None,
            after=score_type.minimum,
            state_before=START,
            state_after=START,
        )
        for score_type in types
    )
    entries = [
        HistoryEntry(
            occurred_at=AT,
            op=op,
            amount=WIDEST,
            effective=WIDEST,
            before=-WIDEST,
            value=WIDEST,
            source="s" * 40,
            actor="U0123456789",
            reason="&" * 1000,
            undone=undone,
            activity=None,
            order=(AT, b"s", b"k", b"fit"),
        )
        for op in Op
        for undone in (False, True)
    ]
    made_of = [
        Contribution(
            occurred_at=AT if op != "start" else None, op=op, asked=WIDEST, cut_by_cap=WIDEST, cut_by_range=WIDEST,
            rounded=WIDEST, faded=WIDEST, effect=WIDEST,
            source="s" * 40, actor="U0123456789", reason="&" * 1000, count=99_999,
        )
        for op in ("set", "add", "month", "start") * 30
    ]  # fmt: skip  # the longest of each kind
    cards = [Card(contact=person, standings=standings)] * 50
    return {
        "card": card_reply(
            Card(contact=person, standings=standings),
            types,
            [follow_up(FollowUpState.CLAIMED)],
            last_done=replace(follow_up(FollowUpState.DONE, outcome=FollowUpOutcome.OTHER), note="&" * 500),
            owner="U0123456789",
            links={"crm": "https://crm.example/" + "c" * 900 + "/{id}"},
        ),
        "more": details_reply(
            replace(person, attributes={f"{n:03d}{'a' * 97}": "&" * 10_000 for n in range(200)}),
            [("", "e" * 254), *(("s" * 40, f"{n}{'i' * 250}") for n in range(100))],
            {"crm": "https://crm.example/{id}"},
        ),
        "why": why_reply(person, types[0], Explanation(value=WIDEST, contributions=tuple(made_of)), others=types[1:]),
        "why nothing": why_reply(person, types[0], None),
        "segments": segments_reply({f"{n:03d}{'s' * 29}": "&" * 1400 for n in range(90)}, types[0]),
        "help": overview_reply(
            {verb: f"`/score {command.usage}`: {command.summary}" for verb, command in TABLES.verbs.items()},
            types,
            contact="a" * 60 + "@example.com",
            rights=frozenset(Need),
        ),
        "help filter": command_reply(
            "filter TERMS", "list", ["&" * 400] * 5, {title: [("<" * 90, "m" * 90)] * 8 for title in "abcdef"}
        ),
        "card without scores": card_reply(Card(contact=person, standings=()), types, ()),
        "receipt": receipt_reply(person, moves, batch=f"slack/{'a' * 32}", reason="&" * 300),
        "undone": receipt_reply(person, moves, batch=f"slack/{'a' * 32}", note="undone"),
        "history": history_reply(person, types[0], entries * 3),
        "empty history": history_reply(person, types[0], []),
        "filter without room": filter_reply(
            cards[:20],
            types[:5],
            asking(types[0]),
            details(types[0], FollowUpState.OPEN),
            text="&" * 1400,
            first=1,
            total=10**6,
            back="b" * 2000,
            onward="o" * 2000,
            current="c" * 2000,
        ),
        "top": top_reply(cards, types[0]),
        "filter": filter_reply(
            cards[:20],
            types[:5],
            asking(types[0]),
            details(types[0], FollowUpState.SNOOZED),
            text="x" * 1400,
            first=1,
            total=10**6,
            back="b" * 1450,
            onward="o" * 1450,
            current="c" * 1450,
        ),
        "empty top": top_reply([], types[0]),
        "choice": choose_contact_reply("Which one?", [(distinct_name(person), "set id:7 " + "x" * 2000)] * 10),
        "offer": no_contact_reply("a" * 60 + "@example.com", [person] * 3, command="set {} score=85"),
        "ambiguous": ambiguous_contact_reply("&" * 300, [person] * 21, command="set {} score=85 because " + "x" * 300),
    }


@pytest.mark.parametrize("types", [TYPES, MANY], ids=["four types", "ninety types"])
@pytest.mark.parametrize("name", NAMES)
def test_every_message_is_taken_by_slack(name: str, types: tuple[ScoreType, ...]) -> None:
    """Slack accepts every message, for every kind of contact and any number of score types."""
    replies = messages(NAMES[name], types)
    complaints = {name: check_blocks(list(reply.blocks)) for name, reply in replies.items()}

    assert {name: complaint for name, complaint in complaints.items() if complaint} == {}
    too_long = {name for name, reply in replies.items() if len(json.dumps(reply.blocks)) > 13_200}
    assert too_long <= {"help filter"}  # in the product its terms are much shorter
    assert len(replies) == 19
    for reply in (replies["filter"], replies["top"]):
        assert len([block for block in reply.blocks if "accessory" in block]) == 20


@pytest.mark.parametrize("types", [TYPES, MANY], ids=["four types", "ninety types"])
@pytest.mark.parametrize("name", NAMES)
def test_every_form_is_taken_by_slack(name: str, types: tuple[ScoreType, ...]) -> None:
    """Slack accepts every form, with room for the metadata that is added later."""
    values = {score_type.key: score_type.minimum for score_type in types}
    forms = [set_modal(types, contact=NAMES[name], values=values), set_modal(types, values={})]

    assert [check_view(form) for form in forms] == [[], []]
    assert max(len(form["private_metadata"]) for form in forms) < 3000 - 300


@pytest.mark.parametrize("name", NAMES)
def test_the_home_tab_is_taken_by_slack(name: str) -> None:
    """Slack accepts the sections of the Home tab with the longest names, and room is left for the follow-ups."""
    cards = (Card(contact=NAMES[name], standings=(standing(SCORE, WIDEST, trends={7: WIDEST}),)),) * 5
    failing = Subscription(
        id=1, url="https://x.example", secrets=(), events=(), segments=(), imports=False, failing_since=AT,
        paused_until=0, disabled_at=None, problem="&" * 500, created_at=AT,
    )  # fmt: skip  # who, what, and since when
    health = health_blocks(
        {f"{n}{'s' * 39}": SourceHealth.UNUSABLE for n in range(50)}, 1_000, counts_all=False,
        failed_jobs=["j" * 60] * 50, subscriptions=[failing] * 50,
    )  # fmt: skip  # by kind of trouble
    choices = Choices(alert_channel=None, admins=(), setters=Setters.MEMBERS, welcomed_at=None, set_up_at=AT)
    portfolio = Portfolio(hottest=cards, rising=cards[:3], falling=cards[:3], is_own=False)
    blocks = [*portfolio_blocks(portfolio, SCORE), *health, *settings_blocks(choices, MANY)]

    assert check_view({"type": "home", "blocks": blocks}) == []
    assert len(blocks) < 40


def test_no_token_is_cut() -> None:
    """A text that is too long is not cut inside a date or an escaped character."""
    replies = [reply for person in NAMES.values() for reply in messages(person, MANY).values()]
    sections = [block for reply in replies for block in reply.blocks if block["type"] == "section"]
    texts = [text["text"] for block in sections for text in (block.get("text"), *block.get("fields", ())) if text]
    dates = [text[-40:] for text in texts if text.count("<") != text.count(">")]
    letters = [text[-12:] for text in texts if re.search("&(?!amp;|lt;|gt;)", text)]

    assert len(texts) > 100
    assert (dates, letters) == ([], [])


def test_a_form_of_many_types_shows_the_first() -> None:
    """A form that cannot show all score types says so, and how to set the others by typing."""
    view = set_modal(MANY, contact=NAMES["usual"], values={score_type.key: 5 for score_type in MANY})
    metadata = json.loads(view["private_metadata"])
    block_ids = [block["block_id"] for block in view["blocks"] if block.get("block_id", "").startswith("score_")]

    assert block_ids == [f"score_{score_type.key}" for score_type in MANY[:MOST_TYPES]]
    assert set(metadata["was"]) == {score_type.key for score_type in MANY[:MOST_TYPES]}
    assert next(block for block in view["blocks"] if block["type"] == "context")["elements"][0]["text"] == (
        f"The first {MOST_TYPES} score types. Set another by name: `/score set ada {MANY[-1].key}=8`"
    )


def fields_of(reply: Reply) -> list[str]:
    """Return the fields of all sections, in order."""
    return [field["text"] for block in reply.blocks for field in block.get("fields", ())]


def test_a_card() -> None:
    """A card has a field for each score type with band, trend and last change, and then the owner and the tags."""
    card = Card(
        contact=NAMES["usual"],
        standings=(
            standing(SCORE, 85_000, actor="U0REP", source="slack", trends={7: 0, 30: 12_000, 90: -500}),
            standing(FIT, 3_000, trends={30: -1_500}),
        ),
    )
    reply = card_reply(card, (SCORE, FIT, SATISFACTION), ())

    assert reply.blocks[0]["text"]["text"] == "*Ada Lovelace* · Engines · ada@example.com"
    assert fields_of(reply) == [
        f"🟥 Score\n*85* (hot)\n▲ 12 in 30 days, ▼ 0.5 in 90\n{DATE} by <@U0REP>",
        f"Fit\n*3*\n▼ 1.5 in 30 days\n{DATE} from crm",
        "Satisfaction\n—",
        "*Owner*\nrep@acme.example",
        "*Tags*\nvip, trial",
    ]
    assert reply.text == "Ada Lovelace: Score 85 (hot), Fit 3"
    assert labels_of(reply) == ["Set", "History", "Why", "More"]


def labels_of(reply: Reply) -> list[str]:
    """Return the labels of the buttons below a message."""
    return [
        button["text"]["text"] for block in reply.blocks if block["type"] == "actions" for button in block["elements"]
    ]


def test_a_card_names_the_owner_the_crm_and_the_last_outcome() -> None:
    """A card mentions an owner who is a colleague, links to the CRM, and says how the last follow-up ended."""
    person = replace(NAMES["usual"], ids={"crm": "4711/a"})
    reply = card_reply(
        Card(contact=person, standings=()),
        (SCORE,),
        [follow_up(FollowUpState.OPEN)],
        last_done=replace(follow_up(FollowUpState.DONE, outcome=FollowUpOutcome.MEETING), note="Next <Monday>"),
        owner="U0REP",
        links={"crm": "https://crm.example/{id}"},
    )

    assert reply.blocks[0]["text"]["text"].endswith(" · ada@example.com · <https://crm.example/4711%2Fa|Open in crm>")
    assert fields_of(reply) == [
        "Score\n—",
        "*Owner*\n<@U0REP>",
        "*Tags*\nvip, trial",
        f"*Follow-up*\nOpen since {DATE}",
        f'*Last follow-up*\nDone by <@U0123456789>: meeting · "Next &lt;Monday&gt;" · {DATE}',
    ]
    assert labels_of(reply) == ["Set", "History", "More"]  # nothing to explain


def test_a_card_says_when_a_band_is_left() -> None:
    """A card says when a score will leave its band, upwards or downwards; Slack shows the day in the reader's zone."""
    day = "<!date^1767225600^{date_long}|Thursday, January 1, 2026>"
    standings = (standing(SCORE, 85_000, band_until=AT), standing(LOW, -9_000, band_until=AT))
    reply = card_reply(Card(contact=NAMES["usual"], standings=standings), (SCORE, LOW), ())

    assert fields_of(reply)[:2] == [
        f"🟥 Score\n*85* (hot)\nfalls out of *hot* on {day}\n{DATE} from crm",
        f"🟦 Low\n*-9* (bad)\nrises out of *bad* on {day}\n{DATE} from crm",
    ]


def test_a_card_without_room_says_how_many_scores_it_leaves_out() -> None:
    """The owner and the tags keep their room when there are more scores than a message takes; forty usual ones fit."""
    standings = tuple(standing(score_type, score_type.minimum + 1) for score_type in MANY)
    fields = fields_of(card_reply(Card(contact=NAMES["usual"], standings=standings), MANY, ()))
    shown = [field for field in fields if field.startswith("🟦 &amp;")]

    assert len(shown) >= 15
    usual = [replace(score_type, label=f"Score {score_type.number}") for score_type in MANY[:40]]
    card = Card(
        contact=NAMES["usual"], standings=tuple(standing(score_type, 5, trends={7: 500}) for score_type in usual)
    )

    assert fields[len(shown) :] == [f"… and {90 - len(shown)} more", "*Owner*\nrep@acme.example", "*Tags*\nvip, trial"]
    assert len(fields_of(card_reply(card, usual, ()))) == 42


def test_more_about_a_contact() -> None:
    """More shows further addresses, all ids, and the attributes that have a value, one in each line."""
    person = replace(
        NAMES["usual"],
        ids={"crm": "4711"},
        attributes={"plan": "pro <b>", "seats": 12, "uses": ["api", "slack"], "trial": None, "note": ""},
    )
    identities = [("", "ada@example.com"), ("", "countess@example.com"), ("crm", "4711"), ("crm", "4712")]
    reply = details_reply(person, identities, {"crm": "https://crm.example/{id}"})

    assert [block["text"]["text"] for block in reply.blocks] == [
        "*More about Ada Lovelace*",
        "*E-mail*  ada@example.com, countess@example.com\n"
        "*Ids*  crm:4711, crm:4712\n"
        "<https://crm.example/4711|Open in crm>\n"
        "*Owner*  rep@acme.example\n"
        "*Tags*  vip, trial\n"
        "*note*  nothing\n".replace("*note*  nothing\n", "")
        + "*plan*  pro &lt;b&gt;\n"
        "*seats*  12\n"
        "*uses*  api, slack\n"
        f"*Known since*  {DATE}",
    ]


@pytest.mark.parametrize(
    ("bands", "squares"),
    [
        (("cold", "warm", "hot"), "🟦🟨🟥"),
        (("one",), "🟦"),
        (("low", "high"), "🟦🟥"),
        (("a", "b", "c", "d", "e", "f", "g"), "🟦🟩🟩🟨🟧🟧🟥"),
        ((), "  "),
    ],
)
def test_a_band_is_seen_at_a_glance(bands: tuple[str, ...], squares: str) -> None:
    """Bands without a color of their own have those of the ladder, from blue to red."""
    made = replace(SCORE, bands=tuple(Band(name=name, start=at * 1000) for at, name in enumerate(bands)))

    assert "".join(band_square(at * 1000, made) or " " for at in range(len(squares))) == squares
    assert band_square(None, made) == ""


@pytest.mark.parametrize("colour", COLOURS)
def test_a_band_has_the_square_of_its_color(colour: str) -> None:
    """Each color that a band can have has a square."""
    made = replace(SCORE, bands=(Band(name="low", start=0, colour=colour), Band(name="high", start=50_000)))

    assert band_square(1_000, made) == SQUARES[colour]
    assert len(set(SQUARES.values())) == len(COLOURS)


@pytest.mark.parametrize(
    ("op", "amount", "before", "after", "message"),
    [
        (Op.ADD, 50_000, 62_000, 100_000, "Score 62 → *100* (hot), 12 cut: it runs from 0 to 100"),
        (Op.ADD, -70_000, 62_000, 0, "Score 62 → *0* (cold), 8 cut: it runs from 0 to 100"),
        (Op.ADD, 5_000, 62_000, 67_000, "Score 62 → *67* (warm)"),
        (Op.ADD, 5_000, None, 5_000, "Score — → *5* (cold)"),
        (Op.SET, 85_000, 62_000, 85_000, "Score 62 → *85* (hot)"),
        (Op.CLEAR, 0, 62_000, None, "Score 62 → —"),
    ],
)
def test_what_a_receipt_says(op: Op, amount: int, before: int | None, after: int | None, message: str) -> None:
    """A receipt shows each score before and after, and what the range cut off an addition."""
    moves = [
        ScoreChanged(contact=7, score_type=SCORE, before=before, after=after, state_before=START, state_after=START)
    ]
    reply = receipt_reply(contact(), moves, batch="slack/k", requested={"score": (op, amount)})

    assert reply.blocks[0]["text"]["text"] == f"Ada Lovelace · {message}"
    assert [(element["text"]["text"], element["value"]) for element in reply.blocks[1]["elements"]] == [
        ("Undo", "slack/k"),
        ("History", "7 score"),
    ]


def test_the_small_parts() -> None:
    """Values, bands, times, authors and trends are formatted the same way everywhere."""
    assert format_value(None) == "—"
    assert format_with_band(85_000, SCORE, bold=True) == "*85* (hot)"
    assert format_with_band(4_500, SATISFACTION) == "4.5"
    assert format_with_band(None, SCORE, bold=True) == "—"
    assert moment(AT) == DATE
    assert format_actor("U0REP", "slack") == "by <@U0REP>"
    assert format_actor("<!channel>", "api") == "by &lt;!channel&gt;"  # programs choose their actor names freely
    assert format_actor(None, "crm") == "from crm"
    assert format_actor(None, None) == ""
    assert [trend(trends) for trends in ({}, {7: 0}, {30: 500}, {90: -3_000, 7: 500, 30: -12_000})] == [
        *([], []),
        ["▲ 0.5 in 30 days"],
        ["▲ 0.5 in 7 days, ▼ 12 in 30, ▼ 3 in 90"],
    ]
    assert truncate("abcdef", 6) == "abcdef"
    assert truncate("abcdefg", 6) == "abcde…"
    assert button("x" * 80, action="undo", value="v", primary=True)["style"] == "primary"
    assert len(button("x" * 80, action="undo", value="v")["text"]["text"]) == 75


def test_lines_are_never_cut_in_two() -> None:
    """A list uses as many sections as it needs, and each line is whole in one section."""
    lines = [f"{number}. {'x' * 400}" for number in range(20)]
    texts = [block["text"]["text"] for block in sections(lines)]

    assert "\n".join(texts).split("\n") == lines
    assert len(texts) == 3
    assert sections([]) == []


def test_the_names_of_a_choice_tell_two_apart() -> None:
    """Contacts with equal names are told apart by company or address; a name that is an address is not repeated."""
    assert distinct_name(contact()) == "Ada Lovelace · Engines · ada@example.com"
    assert distinct_name(contact(name=None)) == "ada@example.com · Engines"
    assert distinct_name(contact(email=None, name=None, company=None, ids={"crm": "4711"})) == "crm:4711"
    assert distinct_name(NAMES["nobody"]) == "a contact"


@pytest.mark.parametrize(
    ("op", "amount", "before", "value", "effective", "line"),
    [
        (Op.SET, 85_000, 62_000, 85_000, 23_000, f"🟥 {DATE} · 62 → *85* (+23), hot · set from crm"),
        (Op.SET, 62_000, 85_000, 62_000, -23_000, f"🟨 {DATE} · 85 → *62* (-23), warm · set from crm"),
        (Op.SET, 85_000, 85_000, 85_000, 0, f"🟥 {DATE} · 85 → *85* (no change) · set from crm"),
        (Op.SET, 85_000, None, 85_000, 85_000, f"🟥 {DATE} · — → *85*, hot · set from crm"),
        (Op.ADD, 10_000, 94_000, 100_000, 6_000, f"🟥 {DATE} · 94 → *100* (+6 of +10) · from crm"),
        (Op.ADD, 10_000, None, 10_000, 10_000, f"🟦 {DATE} · — → *10* (+10), cold · from crm"),
        (Op.ADD, 10_000, 100_000, 100_000, 0, f"🟥 {DATE} · 100 → *100* (no change, asked for +10) · from crm"),
        (Op.CLEAR, 0, 62_000, None, -62_000, f"{DATE} · 62 → — · cleared from crm"),
        (
            Deed.ACTIVITY,
            3_000,
            70_000,
            71_000,
            1_000,
            f"🟨 {DATE} · 70 → *71* (+1 of +3) · visit &amp; more · from crm",
        ),
    ],
)
def test_a_line_of_a_history(
    op: Op | Deed, amount: int, before: int | None, value: int | None, effective: int, line: str
) -> None:
    """A line has the values before and after with the difference, what was cut of it, and a band if it is new."""
    entry = HistoryEntry(
        occurred_at=AT, op=op, amount=amount, effective=effective, before=before, value=value, source="crm", actor=None,
        reason=None, undone=False, activity="visit & more" if op is Deed.ACTIVITY else None,
        order=(AT, b"s", b"k", b""),
    )  # fmt: skip  # the fields of one entry
    reply = history_reply(NAMES["usual"], SCORE, [entry])

    assert reply.blocks[1]["text"]["text"] == line
    assert reply.blocks[2]["elements"][0]["text"] == "The only change."


def contribution(op: str, amount: int, effect: int, **more: object) -> Contribution:
    """Return a contribution of an explanation."""
    fields = {"occurred_at": AT} | more
    return Contribution(op=op, asked=amount, effect=effect, **fields)  # type: ignore[arg-type]  # fields as above


def test_why() -> None:
    """Each kind of line shows the effect, the amount, the losses, the time, the author and the reason."""
    made_of = (
        contribution("add", 5_000, 5_000, source="crm", reason="Read <pricing>"),
        contribution("add", -9_000, -4_000, faded=-5_000, source="slack", actor="U1"),
        contribution("month", 12_000, 3_000, cut_by_range=2_000, faded=7_000, count=4),
        contribution(
            "activity", 3_330, 2_000, cut_by_cap=2_000, rounded=-670, activity="visit", rule="Visit", source="crm"
        ),
        contribution("fields", -20_000, -20_000, rule="VIP <3", ended=True, source="crm"),
        contribution("set", 500, 500, source="slack", actor="U1"),
        contribution("start", 1_000, 1_000, occurred_at=None),
    )
    reply = why_reply(NAMES["usual"], SCORE, Explanation(value=5_500, contributions=made_of))

    assert reply.blocks[1]["text"]["text"] == (
        f'*+5* · {DATE} · from crm · "Read &lt;pricing&gt;"\n'
        f"*-4*  of -9, 5 faded · {DATE} · by <@U1>\n"
        "*+3*  4 changes in January 2026: +12, 2 cut by the range 0 to 100, 7 faded\n"
        f"*+2*  of +3.33, 2 over the cap, 0.67 rounded up · visit · rule Visit · {DATE} · from crm\n"
        f"*-20* · rule VIP &lt;3 ended · {DATE} · from crm\n"
        f"*+0.5*  set to 0.5 · {DATE} · by <@U1>\n"
        "*+1*  where Score starts"
    )
    assert reply.blocks[2]["elements"][0]["text"] == "These add up to 5.5."


FIRED = FiredRule(
    rule=2**53, words="score crosses 80 if " + "tag:vip " * 100, score="score", before=WIDEST, after=WIDEST,
    source="crm", actor=None, reason="reason", fired_at=AT + 1, let_go_at=None, is_taken_back=False,
)  # fmt: skip  # the fields of one rule


def follow_up(state: FollowUpState, *, outcome: FollowUpOutcome | None = None) -> FollowUp:
    """Return a follow-up about Ada."""
    return FollowUp(
        id=2**53, rule=1, contact=7, score="score", before=WIDEST, after=WIDEST, source="crm", actor=None, reason=None,
        why=None, lane="C0SALES", standing=Stand(state=state, holder="U0123456789"), until=AT, late_at=None,
        escalate_to="U0123456789", outcome=outcome, note=None, rules=(FIRED,) * 3, asked_at=AT, changed_at=AT,
        posted_at=AT, message_channel=None, message_ts=None, in_list=False,
    )  # fmt: skip  # the fields of one follow-up


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", [FollowUpState.CLAIMED, FollowUpState.ESCALATED, FollowUpState.SNOOZED])
def test_a_list_of_follow_ups_that_slack_takes(name: str, state: FollowUpState) -> None:
    """Slack accepts a full page of follow-ups of any contacts, below the last move."""
    place = ListPage("overdue", 2**53, (2**53,) * MOST_ENDED).carried()
    follow_ups = [follow_up(state)] * PER_PAGE
    above = [
        block
        for _ in range(MOST_ENDED)
        for block in ended_blocks(follow_up(FollowUpState.DONE), NAMES[name], place=place)
    ]
    turning = [button(label, action="followups", value=place) for label in ("First", "Next")]
    card = Card(contact=replace(NAMES[name], ids={"crm": "x" * 200}), standings=())
    reader = FollowUpReader(id="U0123456789", address=None, is_admin=True)
    links = {"crm": f"https://crm.example/{'p' * 200}/{{id}}"}
    reply = list_reply(
        follow_ups, {7: card}, {"score": SCORE}, which="overdue", place=place, reader=reader, links=links,
        turning=turning, above=above,
    )  # fmt: skip  # one page
    assert check_blocks(reply.blocks) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("state", FollowUpState)
def test_a_message_of_a_follow_up_that_slack_takes(name: str, state: FollowUpState) -> None:
    """Slack accepts the message of a follow-up of any contact, in any state, with several rules of any length."""
    reply = follow_up_reply(
        follow_up(state), replace(NAMES[name], ids={"crm": "x" * 200}), {"score": SCORE}, owner=None,
        links={"crm": "https://crm.example/{id}"}, reader=None,
    )  # fmt: skip  # one message
    assert check_blocks(reply.blocks) == []
    menu = reply.blocks[0]["accessory"]["options"]
    assert menu[0]["text"]["text"] == "History"


CLAIMED_BY = "U0123456789"


@pytest.mark.parametrize(
    ("reader", "labels", "menu"),
    [
        (None, "Snooze Done", "Assign to… Snooze until… Release Take over"),
        (
            FollowUpReader(id=CLAIMED_BY, address=None, is_admin=False),
            "Snooze Done",
            "Assign to… Snooze until… Release",
        ),
        (FollowUpReader(id="U0JANE", address="jane@example.com", is_admin=False), "", ""),
        (
            FollowUpReader(id="U0REP", address="REP@example.com", is_admin=False),
            "Take over",
            "Assign to… Release Take over",
        ),
        (FollowUpReader(id="U0ADMIN", address=None, is_admin=True), "Take over", "Assign to… Release Take over"),
    ],
    ids=["a channel", "the holder", "a colleague", "the owner", "an admin"],
)
def test_only_the_buttons_that_the_reader_may_use(reader: FollowUpReader | None, labels: str, menu: str) -> None:
    """A message that one person reads has the buttons of that person; in a channel it has all those of its state."""
    claimed = follow_up(FollowUpState.CLAIMED)
    ada = contact(owner="rep@example.com")
    reply = follow_up_reply(claimed, ada, {"score": SCORE}, owner=None, links={}, reader=reader)
    buttons = [block["elements"] for block in reply.blocks if block["type"] == "actions"]
    assert " ".join(button["text"]["text"] for row in buttons for button in row) == labels
    options = reply.blocks[0]["accessory"]["options"][1:]
    assert " ".join(option["text"]["text"] for option in options) == menu


def test_a_message_names_the_rules_the_address_and_the_crm() -> None:
    """The message of a follow-up names each rule with its cause, the contact's address, and links to the CRM."""
    first = replace(FIRED, rule=1, words="score crosses 80", before=62_000, after=85_000, fired_at=AT)
    second = replace(FIRED, rule=4, words="fit crosses 8", score="fit", before=7_000, after=9_000, reason="a demo")
    opened = replace(follow_up(FollowUpState.OPEN), before=62_000, after=85_000, rules=(first, second))
    ada = contact(email="ada@example.com", ids={"hubspot-eu": "12/46", "crm": "7"})
    links = {"hubspot-eu": "https://app.hubspot.com/contacts/1/contact/{id}?a=b&c=d"}
    reply = follow_up_reply(opened, ada, {"score": SCORE}, owner="U0REP", links=links, reader=None)
    assert reply.blocks[1]["elements"][0]["text"] == "from crm · Owner: <@U0REP>"
    assert reply.blocks[2]["elements"][0]["text"] == (
        "ada@example.com"
        " · <https://app.hubspot.com/contacts/1/contact/12%2F46?a=b&amp;c=d|Open in hubspot-eu>\n"
        'Rule 1: score crosses 80\nRule 4: fit crosses 8 · fit 9, from 7 · from crm · "a demo"'
    )
    left = replace(opened, rules=(replace(first, let_go_at=AT + 2), second))
    reply = follow_up_reply(left, ada, {"score": SCORE}, owner="U0REP", links=links, reader=None)
    assert reply.blocks[2]["elements"][0]["text"].splitlines()[1].startswith("Rule 4: ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (85_000, "Score *85* (hot), from 62"),
        (70_000, "Score *70* (warm) now, 85 when created"),
        (None, "Score — now, 85 when created"),
    ],
)
def test_a_list_shows_the_score_of_now(value: int | None, words: str) -> None:
    """A list shows the score as it is now, and what it was when the follow-up was created if that differs."""
    opened = replace(follow_up(FollowUpState.OPEN), before=62_000, after=85_000)
    card = Card(contact=contact(), standings=() if value is None else (standing(SCORE, value),))
    assert headline(opened, contact(), SCORE, card=card).endswith(words)


def test_a_digest_names_the_top_band() -> None:
    """A digest names the top band, whatever its name is."""
    gold = score_type(
        "gold", minimum=0, maximum=10_000, step=1000, bands=(Band(name="tin", start=0), Band(name="gold", start=8000))
    )
    card = Card(contact=contact(), standings=(standing(gold, 9000),))
    reply = digest_reply(News(score_type=gold, since=AT, hot=[card]), {}, {"gold": gold}, place="C0SALES")
    assert "*Newly gold*\nAda Lovelace *9* (gold)" in reply.blocks[1]["text"]["text"]
