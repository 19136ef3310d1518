"""Add, change and remove scoring rules by form, and see their scores."""

from typing import Any

from bot.demo.world import Message
from storage.domain.score_types import Rule, RuleCap
from storage.ledger.verify import verify_next
from storage.scoring.definitions import add_score_type, drafts, score_types
from tests.conftest import on_both
from tests.journeys.acme import Acme, form
from tests.journeys.admin import ADMIN, HERE, ask, choose, form_of, hand_in, press, refused


def did(id: str, activity: str = "demo_booked", quantity: int = 1) -> dict[str, Any]:
    """Push an activity, as the CRM does."""
    contact = {"email": "ada@example.com"}
    return {"type": "activity", "contact": contact, "activity": activity, "value": quantity, "id": id}


async def rules(acme: Acme, key: str = "score") -> tuple[Rule, ...]:
    """Return the rules of a score type."""
    return next(score_type.rules for score_type in await score_types(acme.workspace) if score_type.key == key)


async def menu(acme: Acme, message: Message, option: str) -> Message:
    """Choose an entry in the menu of a rule, and return the answer."""
    await choose(acme, message, "rule_menu", option)
    return acme.latest(user=ADMIN, channel=HERE)


@on_both
async def test_a_rule_is_made_changed_and_removed(acme: Acme) -> None:
    """A rule is added, changed and removed, each with a preview; earlier activities count too."""
    await acme.pushed(did("d1"), did("d2"), did("d3"))
    listed = await ask(acme, "rules")
    assert acme.seen(listed) == (
        "*Rules:* the points for activities and attributes\n(Without rules: Score, Fit, Satisfaction)\n[Add a rule]"
    )
    view = await form_of(acme, listed, "Add a rule")
    form_values = {label: value[0] if isinstance(value, tuple) else value for label, value in form(view).items()}
    assert form_values == {
        "title": "Rule", "Score type": None, "Name": None, "Activity": None, "Points": None, "If": None,
        "For each step of an attribute": None, "Maximum for the attribute": None,
        "Maximum points": None, "In a": None, "Shared with a group": None,
    }  # fmt: skip  # a form
    fields = {"name": "Demo", "activity": "demo_booked", "points": "10", "if": "tag:vip", "cap": "20", "per": "day"}
    preview = await hand_in(acme, view, **fields)
    assert acme.seen(preview).startswith(
        "*Changing Score: new rule “Demo”:* 1 contact changes, 1 becomes hot, 0 leave hot, 0 follow-ups would be"
        " created.\nInto hot: Ada Lovelace 62 (warm) → 82 (hot)\n"
    )
    assert await rules(acme) == ()
    answer = await press(acme, preview, "Apply without alerts")
    assert acme.seen(answer).startswith("*Changed Score: new rule “Demo”.* No follow-ups were created.")
    demo = Rule(
        name="Demo",
        points=10_000,
        activity="demo_booked",
        condition="tag:vip",
        cap=RuleCap(points=20_000, period="day"),
    )
    assert await rules(acme) == (demo,)
    assert "🟥 Score\n*82* (hot)\n" in acme.seen(await ask(acme, "ada"))
    assert "Demo" in acme.seen(await ask(acme, "why ada"))

    listed = await ask(acme, "rules")
    assert "*Score*\nDemo\ndemo_booked: +10 each, at most 20 a day, if `tag:vip`\n" in acme.seen(listed)
    await choose(acme, listed, "rule_menu", "change score 2 0")
    view = acme.sandbox.open_views(ADMIN)[-1]
    form_values = {label: value[0] if isinstance(value, tuple) else value for label, value in form(view).items()}
    assert form_values == {
        "title": "Rule", "about": "*Score*", "Name": "Demo", "Activity": "demo_booked", "Points": "10",
        "For each step of an attribute": None, "Maximum for the attribute": None,
        "If": "tag:vip", "Maximum points": "20", "In a": None, "Shared with a group": None,
    }  # fmt: skip  # a form
    preview = await hand_in(acme, view, points="5", cap=None)
    assert acme.seen(preview).startswith(
        "*Changing Score: changed rule “Demo” (demo_booked: +10 each, at most 20 a day, if `tag:vip` → demo_booked: +5"
        " each, if `tag:vip`):* 1 contact changes, 0 become hot, 1 leaves hot, 0 follow-ups would be created.\n"
        "Out of hot: Ada Lovelace 82 (hot) → 77 (warm)\n"
    )
    await press(acme, preview, "Apply and alert")
    listed = await ask(acme, "rules")
    assert "Demo\ndemo_booked: +5 each, if `tag:vip`\n" in acme.seen(listed)
    assert "🟨 Score\n*77* (warm)\n" in acme.seen(await ask(acme, "ada"))

    preview = await menu(acme, listed, "remove score 3 0")
    answer = await press(acme, preview, "Apply without alerts")
    assert "Changed Score: removed rule “Demo”." in acme.seen(answer)
    assert "🟨 Score\n*62* (warm)\n" in acme.seen(await ask(acme, "ada"))
    back = await press(acme, answer, "Take it back")
    assert "*Taken back.* Changed Score: new rule “Demo”." in acme.seen(back)
    assert "🟨 Score\n*77* (warm)\n" in acme.seen(await ask(acme, "ada"))
    assert (await verify_next(acme.workspace)).differences == ()

    await choose(acme, listed, "rule_menu", "remove score 3 0")  # not the live version
    anew = acme.sandbox.world.find(listed.ts)
    assert anew is not None
    assert "Demo\ndemo_booked: +5 each, if `tag:vip`\n" in acme.seen(anew)
    assert await drafts(acme.workspace) == ()


async def test_mistakes_stand_under_their_fields(acme: Acme) -> None:
    """Mistakes are shown under their fields, and no draft is created; a shared cap changes for the whole group."""
    view = await form_of(acme, await ask(acme, "rules"), "Add a rule")
    right = {"name": "Demo", "activity": "demo_booked", "points": "10", "for_each": "", "at_most": "", "if": ""}
    right |= {"cap": "", "group": ""}
    for fields, field, words in (
        ({"points": "0.5"}, "points", "0.5 points is not possible: use a multiple of the step 1, except 0"),
        ({"points": "0"}, "points", "0 points is not possible: use a multiple of the step 1, except 0"),
        ({"if": "tag:"}, "if", "rule `demo`, if:"),
        ({"if": "score>5"}, "if", "rule `demo`, if:"),
        ({"for_each": "minutes"}, "for_each", "attributes.minutes / 5"),
        (
            {"for_each": "attributes.minutes", "at_most": "0.5"},
            "at_most",
            "at_most: 0.5 is not a multiple of the step 1 above 0",
        ),
        ({"at_most": "5"}, "at_most", "at_most needs for_each"),
        ({"activity": "", "if": "attributes.seen<7d"}, "activity", "only a rule with an activity"),
        ({"activity": ""}, "activity", "needs an activity, or an `if`"),
        ({"activity": "", "if": "tag:vip", "cap": "9"}, "cap", "only activities are capped"),
        ({"cap": "-9"}, "cap", "at more than 0 points"),
        ({"group": "web"}, "cap", "type the maximum points"),
        ({"cap": "9", "group": "Demo"}, "group", "has the name of a rule: rename one of them"),
    ):
        errors = await refused(acme, view, **right | fields)
        assert list(errors) == [field]
        assert words in errors[field].casefold()
    assert await drafts(acme.workspace) == ()
    await press(acme, await hand_in(acme, view, **right | {"cap": "20", "group": "web"}), "Apply without alerts")

    view = await form_of(acme, await ask(acme, "rules"), "Add a rule")
    errors = await refused(acme, view, **right)
    assert errors == {"name": "Two rules are called `Demo`: rename one of them"}
    preview = await hand_in(acme, view, name="Visit", activity="visited", points="1", cap="30", per="week", group="web")
    assert "new rule “Visit”, changed rule “Demo”" in acme.seen(preview)
    await press(acme, preview, "Apply without alerts")
    assert {rule.cap for rule in await rules(acme)} == {RuleCap(points=30_000, period="week", group="web")}
    assert "visited: +1 each, at most 30 a week together with the group web" in acme.seen(await ask(acme, "rules"))


async def test_a_slope_is_made_in_the_form(acme: Acme) -> None:
    """A rule for each unit of an attribute needs no activity and no condition; `why` has one line for it."""
    view = await form_of(acme, await ask(acme, "rules"), "Add a rule")
    preview = await hand_in(
        acme,
        view,
        name="Minutes",
        points="1",
        for_each="attributes.minutes / 5",
        at_most="10",
        activity="",
        **{"if": ""},
    )
    await press(acme, preview, "Apply without alerts")
    for minutes in (31, "12"):
        contact = {"email": "ada@example.com", "attributes": {"minutes": minutes}}
        await acme.pushed({"type": "contact.upsert", "contact": contact})

    slope = Rule(name="Minutes", points=1_000, for_each="attributes.minutes / 5", at_most=10_000)
    assert await rules(acme) == (slope,)
    assert "Minutes\n+1 for each `attributes.minutes / 5`, at most 10\n" in acme.seen(await ask(acme, "rules"))
    assert "🟨 Score\n*64* (warm)\n" in acme.seen(await ask(acme, "ada"))
    assert acme.seen(await ask(acme, "why ada")).count("Minutes") == 1
    assert (await verify_next(acme.workspace)).differences == ()


async def test_many_rules_are_paged(acme: Acme) -> None:
    """A list of many rules has pages, which replace each other."""
    rules_ = tuple(Rule(name=f"R{n:02d}", points=1000, activity=f"a{n:02d}") for n in range(19))
    rules_ = (Rule(name="Ours", points=-5000, condition="tag:vip"), *rules_)
    await add_score_type(
        acme.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1000, bands=(), start=None,
        rules=rules_, is_default=False, by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000),
    )  # fmt: skip  # the numbers of one definition
    first = await ask(acme, "rules")
    assert ("R10" in acme.seen(first), "R11" in acme.seen(first)) == (True, False)
    assert "*Heat*\nOurs\n-5 while `tag:vip`\nR00\na00: +1 each\n" in acme.seen(first)
    second = await press(acme, first, "More rules")
    assert ("R10" in acme.seen(second), "R11" in acme.seen(second), "R18" in acme.seen(second)) == (False, True, True)
