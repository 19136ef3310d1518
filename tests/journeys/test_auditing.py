"""Admins see in Slack who changed what; what it says of a deleted contact is gone."""

from dataclasses import replace

from storage.alerts.enroll import choose_channel
from storage.audit import audit_entries
from storage.domain.facts import DAY
from storage.domain.score_types import Rule
from storage.scoring.definitions import score_types
from storage.scoring.drafts import apply, create_draft
from tests.journeys.acme import Acme, entered
from tests.journeys.admin import ADMIN, ask, press
from tests.journeys.test_deleting import TICKED, ask_for_form


async def lines(acme: Acme) -> list[str]:
    """Return what an admin sees of the record of changes, without the times."""
    shown = acme.seen(await ask(acme, "audit")).splitlines()
    return [line.partition(" · ")[2] or line.strip() for line in shown]


async def test_who_changed_what(acme: Acme) -> None:
    """The changes of people and programs are listed newest first, with mentions, and with what differs."""
    await acme.ask("alerts add when score crosses 80 if tag:vip in <#C0SUCCESS|success>")
    await acme.ask("alerts pause 2")
    await acme.ask("alerts digest 9:00 Europe/Berlin")
    await acme.ask("segment save hot score>=80")
    await acme.ask("segment save hot score>=70")
    await press(acme, await ask(acme, "merge kelly@example.com into ada"), "Merge")
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await choose_channel(acme.workspace, channel="C0SUCCESS", by="cli:jane", now=now)

    assert await lines(acme) == [
        "*Changes 1–10 of 11, newest first*",
        "Follow-up channel set *T0DEMO* · by cli:jane",
        "alert channel: none → <#C0SUCCESS>; default rule: paused → on",
        "Contacts merged *Grace Kelly and Ada Lovelace* · by <@U0ADMIN>",
        "Segment saved *hot* · by <@U0REP>",
        "text: score&gt;=80 → score&gt;=70",
        "Segment saved *hot* · by <@U0REP>",
        "text: score&gt;=80",
        "Digest set <@U0REP> · by <@U0REP>",
        "place: <@U0REP>; zone: Europe/Berlin; time: 9:00; made by: <@U0REP>",
        "Alert rule paused *rule 2* · by <@U0REP>",
        "paused: no → yes",
        "Alert rule added *rule 2* · by <@U0REP>",
        "id: 2; score: score; kind: crosses; low: 80; condition: tag:vip; channel: <#C0SUCCESS>; cooldown: 14d;"
        " made by: <@U0REP>",
        "Source added *crm* · by cli:acme",
        "provider: generic; secrets: 1",
        "Score type added *satisfaction* · by cli:acme",
        "version: 1; label: Satisfaction; min: 1; max: 5; step: 0.5; start: 1",
        "Score type added *fit* · by cli:acme",
        "version: 1; label: Fit; min: 1; max: 10; step: 1; start: 1; bands: poor:1, fair:4, good:8",
        "(All of them, and every detail: `contact-score audit --json` in a terminal.)",
        "[Older]",
    ]


async def test_older_changes_are_on_the_next_page(acme: Acme) -> None:
    """A page has ten changes, and its buttons lead to the others, in place."""
    for number in range(8):
        await choose_channel(acme.workspace, channel=f"C{number:03}", by=ADMIN, now=number)
    total = len(await audit_entries(acme.workspace))
    first = await ask(acme, "audit")
    titles = [acme.seen(first).splitlines()[0]]
    older = await press(acme, first, "Older")
    titles.append(acme.seen(older).splitlines()[0])
    assert acme.seen(older).endswith("\n[Newer]")
    newer = await press(acme, older, "Newer")

    assert titles == [
        f"*Changes 1–10 of {total}, newest first*",
        f"*Changes 11–{total} of {total}, newest first*",
    ]
    assert acme.seen(newer).splitlines()[0] == titles[0]


async def test_a_deleted_contact_is_named_no_more(acme: Acme) -> None:
    """After a deletion the record shows who merged and deleted contacts, but not which contacts."""
    await press(acme, await ask(acme, "merge kelly@example.com into ada"), "Merge")
    view = await ask_for_form(acme, "delete ada")
    await acme.answered(lambda: acme.sandbox.submit(view.id, entered(view, {"sure": TICKED}), user=ADMIN))

    assert (await lines(acme))[1:3] == ["Contact deleted · by <@U0ADMIN>", "Contacts merged · by <@U0ADMIN>"]


async def test_a_history_says_when_rules_changed(acme: Acme) -> None:
    """The history of a score names who changed its rules or its type, where it happened among the changes."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    score, fit, _ = await score_types(acme.workspace)
    rule = Rule(name="Demo", activity="demo_booked", points=10_000)
    for wanted, by in ((replace(score, rules=(rule,)), ADMIN), (replace(fit, half_life=DAY), ADMIN)):
        pending = await create_draft(acme.workspace, proposed=wanted, by=by, now=now)
        assert pending is not None
        await apply(acme.workspace, draft=pending, with_alerts=False, by=by, clock=lambda: now)
    (score, *_) = await score_types(acme.workspace)
    await create_draft(acme.workspace, proposed=replace(score, label="Heat"), by="cli:jane", now=now + 1)
    acme.sandbox.clock.advance(1)
    await acme.ask("set ada 70")

    shown = acme.seen(await acme.ask("history ada"))

    assert [line.partition(" · ")[2] for line in shown.splitlines()[:5]] == [
        "Heat*",
        "62 → *70* (+8) · set by <@U0REP>",
        "Score type changed by cli:jane",
        "Rules changed by <@U0ADMIN>",
        '57 → *62* (+5) · from crm · "Read the pricing page"',
    ]
