"""The Home tab: what it shows to each person, what its rows open, and that it is drawn again after an action."""

import json
import logging
from typing import Any

import pytest

from bot.demo.world import View
from storage.alerts.enroll import choose_channel
from tests.conftest import on_both
from tests.journeys.acme import REP, Acme, ago, drawn
from tests.journeys.admin import ADMIN

JANE, SUCCESS = "U0JANE", "C0SUCCESS"
OWNER = "rep@acme.example"


async def open_home(acme: Acme, user: str = REP) -> str:
    """Open the Home tab, and return its text."""
    acme.sandbox.world.homes.pop(user, None)
    await acme.sandbox.open_home(user)
    await acme.sandbox.wait_for(lambda: acme.sandbox.home(user))
    return text_of(acme, user)


def view_of(acme: Acme, user: str = REP) -> View:
    """Return the Home tab that a person sees."""
    view = acme.sandbox.home(user)
    assert view is not None
    return view


def text_of(acme: Acme, user: str = REP) -> str:
    """Return the text of the Home tab that a person sees."""
    return render(acme, view_of(acme, user))


def render(acme: Acme, view: View) -> str:
    """Return the text of a view; dividers are left out."""
    return drawn([block for block in view.blocks if block["type"] != "divider"], now=acme.sandbox.clock.now())


def button_in(view: View, label: str, row: str = "") -> dict[str, Any]:
    """Return the button *label* of a view, in the row that begins with *row*."""
    for block in view.blocks:
        elements = block["elements"] if block["type"] == "actions" else [block.get("accessory") or {}]
        for element in elements:
            is_here = str(block.get("text", {}).get("text")).startswith(row) or not row
            if is_here and element.get("type") == "button" and element["text"]["text"] == label:
                return {"action_id": element["action_id"], "block_id": block["block_id"]}
    raise AssertionError(f"no button says {label!r}")


async def click(acme: Acme, view: View, label: str, row: str = "", *, user: str = REP) -> None:
    """Click a button of a view."""
    response = await acme.sandbox.click(view.id, **button_in(view, label, row), user=user)
    assert response.status == 200


async def until_shown(acme: Acme, words: str, *, user: str = REP) -> View:
    """Wait for an open modal that contains a text, and return it."""

    def shown() -> View | None:
        views = acme.sandbox.open_views(user)
        return views[-1] if views and words in json.dumps(views[-1].content, ensure_ascii=False) else None

    view = await acme.sandbox.wait_for(shown)
    assert view is not None
    return view


async def until_home_says(acme: Acme, words: str, *, user: str = REP) -> str:
    """Wait until the Home tab contains a text, and return its text."""
    await acme.sandbox.wait_for(lambda: words in text_of(acme, user))
    return text_of(acme, user)


def owned(email: str, name: str, *scores: tuple[float, float], sandbox: Any) -> list[dict[str, Any]]:
    """Return the items of a contact of the rep, with scores of some days ago: (days, value)."""
    contact = {"email": email, "name": name, "owner": OWNER}
    items: list[dict[str, Any]] = [{"type": "contact.upsert", "contact": contact}]
    return items + [
        {"type": "score.set", "contact": {"email": email}, "score": "score", "value": value}
        | {"occurred_at": ago(sandbox, days)}
        for days, value in scores
    ]


@on_both
async def test_the_contacts_of_the_reader(acme: Acme) -> None:
    """The Home tab lists the reader's highest scores, and those that rose or fell within a week, each with a button."""
    await acme.pushed(
        *owned("bea@example.com", "Bea Rising", (20, 10), (1, 44), sandbox=acme.sandbox),
        *owned("cy@example.com", "Cy Falling", (20, 90), (1, 71), sandbox=acme.sandbox),
        *owned("di@example.com", "Di New", (1, 99), sandbox=acme.sandbox),
        *owned("ed@example.com", "Ed Still", (20, 30), sandbox=acme.sandbox),
    )

    lines = [
        "You have no open follow-ups. Alert rules: `/score alerts`",
        "*Your hottest contacts* [Show more]",
        "*Di New*\nScore *99* (hot) [Open]",
        "*Cy Falling*\nScore *71* (warm) [Open]",
        "*Ada Lovelace* · Analytical Engines\nScore *62* (warm) [Open]",
        "*Bea Rising*\nScore *44* (warm) [Open]",
        "*Ed Still*\nScore *30* (cold) [Open]",
        "*Rising this week*",
        "*Bea Rising*\nScore *44* (warm) ▲ 34 [Open]",
        "*Ada Lovelace* · Analytical Engines\nScore *62* (warm) ▲ 5 [Open]",
        "*Falling this week*",
        "*Cy Falling*\nScore *71* (warm) ▼ 19 [Open]",
        "*What to type*",
        "`/score ada@example.com` · `/score top 10` · `/score help`",
        "(Scores are for members of this workspace; a contact never sees one.)",
    ]

    assert await open_home(acme) == "\n".join(lines)


async def test_a_reader_without_contacts(acme: Acme) -> None:
    """Who owns no contact sees the highest scores of the workspace, and what to do about it."""
    text = await open_home(acme, JANE)

    assert "*Hottest contacts* [Show more]\n*Ada Lovelace* · Analytical Engines\nScore *62* (warm) [Open]\n" in text
    assert "You own no contact with a score" in text
    assert "*Rising this week*\n*Ada Lovelace* · Analytical Engines\nScore *62* (warm) ▲ 5 [Open]\n*What" in text


@pytest.mark.parametrize("user", ["U0GUEST", "U0OUT"])
async def test_guests_and_outsiders(acme: Acme, user: str) -> None:
    """A guest or an outsider sees one sentence in the Home tab, and no name."""
    text = await open_home(acme, user)

    assert text.startswith("Scores are for members of this workspace")
    assert "\n" not in text


async def test_only_admins_see_health_and_settings(acme: Acme) -> None:
    """An admin sees what does not work, and once the setup is done the settings; a member sees neither."""
    before = await open_home(acme, ADMIN)
    await choose_channel(acme.workspace, channel=SUCCESS, by=ADMIN, now=int(acme.sandbox.clock.now() * 1_000_000))
    await acme.sandbox.push(json.dumps({"type": "score.set", "contact": {"id": "q"}, "score": "none", "value": 1}))
    after = await open_home(acme, ADMIN)

    assert "*Health*\n:white_check_mark: Sources, jobs and subscriptions work.\n[Sources]" in before
    assert "*Settings*" not in before
    assert "*Health*\n:warning: Items in quarantine: 1\n[Sources]" in after
    assert (
        f"*Settings*\nFollow-ups go to <#{SUCCESS}>\nScores are set by every member\n"
        "Score types: Score, Fit, Satisfaction\n[Score types] [Rules] [Alerts] [Setup] [Audit log]"
    ) in after
    assert not {"Health", "Settings"} & set((await open_home(acme)).replace("*", " ").split())


async def test_a_row_opens_its_contact_where_its_score_can_be_set(acme: Acme) -> None:
    """*Open* shows the card in a modal; its form leads back to the Home tab, which shows the receipt and the score."""
    await open_home(acme)
    await click(acme, view_of(acme), "Open", "*Ada Lovelace*")
    card = await until_shown(acme, "Analytical Engines")
    assert render(acme, card).startswith("*Ada Lovelace*")
    await click(acme, card, "Set")
    form = await until_shown(acme, "score_score")
    await acme.sandbox.submit(form.id, {"score_score": {"value": {"value": "77"}}}, user=REP)
    text = await until_home_says(acme, "*77* (warm) [Open]")

    assert text.startswith("Ada Lovelace · Score 62 → *77*")
    assert acme.sandbox.messages("D0REP", REP) == []
    assert "→" not in await open_home(acme)


async def test_a_button_of_a_card_is_answered_in_its_modal(acme: Acme) -> None:
    """*History* of a card that was opened in the Home tab replaces the card; a change is shown in the Home tab."""
    await open_home(acme)
    await click(acme, view_of(acme), "Open", "*Ada Lovelace*")
    await click(acme, await until_shown(acme, "Analytical Engines"), "History")
    history = await until_shown(acme, "Read the pricing page")
    await acme.ask("set ada 90")

    assert render(acme, history).startswith("*Ada Lovelace · Score*")
    assert acme.sandbox.messages("D0REP", REP) == []


async def test_the_settings_open_in_a_modal(acme: Acme) -> None:
    """An admin's buttons show the settings in a modal, and an answer to the setup questions is shown there."""
    await choose_channel(acme.workspace, channel=SUCCESS, by=ADMIN, now=int(acme.sandbox.clock.now() * 1_000_000))
    await open_home(acme, ADMIN)
    await click(acme, view_of(acme, ADMIN), "Setup", user=ADMIN)
    questions = await until_shown(acme, "Who may set scores?", user=ADMIN)
    await click(acme, questions, "Straight to the contact's owner", user=ADMIN)
    await until_shown(acme, "Follow-ups go to the owner of each contact from now on", user=ADMIN)
    text = await until_home_says(acme, "Follow-ups go to the contact's owner, else an admin", user=ADMIN)

    assert "*Settings*" in text


async def test_a_follow_up_is_moved_in_the_home_tab(acme: Acme) -> None:
    """The answers to Claim and Done stand above the Home tab; Assign opens a form. Nothing comes by direct message."""
    await choose_channel(acme.workspace, channel=SUCCESS, by=ADMIN, now=int(acme.sandbox.clock.now() * 1_000_000))
    await acme.pushed({"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "score", "value": 85})
    await open_home(acme)
    await click(acme, view_of(acme), "Claim")
    claimed = await until_home_says(acme, "You claimed Ada Lovelace.")
    menu = next(block["accessory"] for block in view_of(acme).blocks if "follow_up_menu" in json.dumps(block))
    assign = next(option for option in menu["options"] if option["text"]["text"] == "Assign to…")
    await acme.sandbox.click(view_of(acme).id, menu["action_id"], selected=assign["value"])
    await acme.sandbox.close_view((await until_shown(acme, "Assign the follow-up")).id)
    await click(acme, view_of(acme), "Done")
    asked = await until_home_says(acme, "What was the outcome?")
    await click(acme, view_of(acme), "Meeting")
    ended = await until_home_says(acme, "Ada Lovelace: meeting.")

    assert "Claimed by <@U0REP>" in claimed
    assert "[Meeting] [No reply] [Bad fit]" in asked
    assert ended.startswith("Ada Lovelace: meeting.\nYou have no open follow-ups.")
    assert acme.sandbox.messages("D0REP", REP) == []


async def test_the_number_of_statements_is_bounded(acme: Acme, caplog: pytest.LogCaptureFixture) -> None:
    """With fifty contacts and follow-ups, the Home tab takes as many statements as with two."""
    await acme.ask("alerts add when score crosses 80 in digest", user=ADMIN)  # no job posts these follow-ups
    counts = []
    for people in (range(2), range(2, 50)):
        await acme.pushed(
            *(
                item
                for number in people
                for item in owned(f"p{number}@example.com", f"P {number}", (20, 5), (2, 85), sandbox=acme.sandbox)
            )
        )
        await acme.restart()  # which finishes the jobs of the changes
        counts.append(min([await count_statements(acme, caplog) for _ in range(5)]))  # a job may run meanwhile

    assert "*Rising this week*" in text_of(acme)
    assert len([block for block in view_of(acme).blocks if block["type"] == "actions"]) > 5
    assert counts[0] == counts[1] > 5


async def count_statements(acme: Acme, caplog: pytest.LogCaptureFixture) -> int:
    """Open the Home tab, and return the number of statements that ran meanwhile."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="tortoise.db_client"):
        await open_home(acme)
    return sum("SELECT" in record.getMessage() for record in caplog.records)
