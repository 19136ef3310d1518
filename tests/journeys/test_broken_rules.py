"""A rule that cannot work is shown as broken with the reason, and its maker and an admin are told once."""

from dataclasses import replace

from bot.demo.world import Channel
from storage.alerts.digests import stop_digest
from storage.alerts.enroll import choose_channel
from storage.domain.score_types import Band
from storage.notices import noticed
from storage.scoring.definitions import score_type
from storage.scoring.drafts import apply, create_draft
from tests.conftest import on_both
from tests.journeys.acme import Acme, drawn
from tests.journeys.admin import ask, form_of, hand_in
from tests.journeys.test_following_up import SUCCESS, hot, until_posted
from tests.journeys.test_segments_in_use import ADMIN, JANE, REP, notices, until_noticed

CHECK = 301  # seconds


def now(acme: Acme) -> int:
    """Return the time in µs."""
    return int(acme.sandbox.clock.now() * 1_000_000)


async def redefine(acme: Acme, **changes: object) -> None:
    """Change the score type `fit`."""
    live = await score_type(acme.workspace, key="fit")
    pending = await create_draft(acme.workspace, proposed=replace(live, **changes), by=ADMIN, now=now(acme))  # type: ignore[arg-type]  # handed through as they are
    if pending is not None:
        await apply(acme.workspace, draft=pending, with_alerts=False, by=ADMIN, clock=lambda: now(acme))


async def home(acme: Acme, user: str) -> str:
    """Open the Home tab, and return its text."""
    acme.sandbox.world.homes.pop(user, None)
    await acme.sandbox.open_home(user)
    view = await acme.sandbox.wait_for(lambda: acme.sandbox.home(user))
    assert view is not None
    return drawn([block for block in view.blocks if block["type"] != "divider"], now=acme.sandbox.clock.now())


async def until_not_broken(acme: Acme) -> None:
    """Wait until the list of rules shows none as broken."""
    for _ in range(200):
        if "broken" not in acme.seen(await acme.ask("alerts")):
            return
    raise AssertionError("a rule is still broken")


@on_both
async def test_a_rule_is_broken_until_what_it_needs_is_back(acme: Acme) -> None:
    """A band that its condition names is renamed and comes back: maker and admin are told once each time."""
    for line in (f"score crosses 66 if fit:good in <#{SUCCESS}>", f"fit crosses 9 in <#{SUCCESS}>"):
        await acme.ask(f"alerts add when {line}")
    await acme.ask(f"alerts add when score crosses 90 if fit:good in <#{SUCCESS}>", user=ADMIN)
    live = await score_type(acme.workspace, key="fit")

    await redefine(acme, bands=tuple(Band(name=f"{band.name}x", start=band.start) for band in live.bands))
    acme.sandbox.clock.advance(CHECK)
    (to_maker,) = await until_noticed(acme, REP, 1)
    to_admin = await until_noticed(acme, ADMIN, 2)

    broken = "*broken*: Fit has no band `good`. Did you mean `goodx`?"
    line = f"2. `when score crosses 66` `if fit:good` → <#C0SUCCESS> · {broken}"
    hint = "(After a fix it alerts again. To remove a rule: `/score alerts remove {}`)"
    assert to_maker == f"*Your alert rule is broken*\n{line}\n{hint.format(2)}"
    assert sorted(to_admin) == [
        f"*An alert rule is broken*\n{line} · made by <@U0REP>\n{hint.format(2)}",
        "*Your alert rule is broken*\n"
        f"4. `when score crosses 90` `if fit:good` → <#C0SUCCESS> · {broken}\n{hint.format(4)}",
    ]
    listed = acme.seen(await acme.ask("alerts"))
    assert line in listed
    assert "3. `when fit crosses 9` → <#C0SUCCESS>\n" in listed
    assert "*An alert rule is broken*\n2. " in await home(acme, REP)
    assert "*2 alert rules are broken*\n2. " in await home(acme, ADMIN)
    assert "broken" not in await home(acme, JANE)

    await redefine(acme, bands=live.bands)
    acme.sandbox.clock.advance(CHECK)
    while await noticed(acme.workspace, notices=["broken/2"]):  # until the check has run
        await acme.ask("alerts")
    await acme.ask("alerts pause 2")
    await redefine(acme, maximum=8_000, bands=live.bands[:-1])  # 9 is out of reach; rule 2, broken again, is paused
    acme.sandbox.clock.advance(CHECK)
    assert "so it never reaches 9" in (await until_noticed(acme, REP, 2))[1]
    await until_noticed(acme, ADMIN, 4)
    await acme.ask("alerts resume 2")
    await redefine(acme, bands=())  # rules 3 and 4 stay broken: only rule 2 is news
    acme.sandbox.clock.advance(CHECK)
    assert "3. " not in (await until_noticed(acme, REP, 3))[2]
    assert "3. " not in (await until_noticed(acme, ADMIN, 5))[4]
    assert [len(notices(acme, user)) for user in (REP, ADMIN, JANE)] == [3, 5, 0]


async def test_a_rule_whose_channel_takes_no_messages_is_broken(acme: Acme) -> None:
    """An archived channel is noticed before a follow-up is due, guests at the first one; a recovery is noticed too."""
    world = acme.sandbox.world
    channel = world.add_channel(Channel(id="C0DEALS", name="deals", members=[REP, world.bot_user]))
    await acme.ask("alerts add when score crosses 66 in <#C0DEALS>")
    channel.is_archived = True
    acme.sandbox.clock.advance(CHECK)
    (notice,) = await until_noticed(acme, REP, 1)
    reason = "*broken*: <#C0DEALS> was archived or shared, has guests in it, or I am not in it any more"
    assert f"2. `when score crosses 66` → <#C0DEALS> · {reason}\n" in notice
    assert reason in acme.seen(await acme.ask("alerts"))

    channel.is_archived = False
    acme.sandbox.clock.advance(CHECK)
    await until_not_broken(acme)

    acme.sandbox.clock.advance(31)  # the members are cached for half a minute
    channel.members.append("U0GUEST")
    await acme.pushed(hot())
    await until_posted(acme, 1, "D0ADMIN")
    acme.sandbox.clock.advance(CHECK)
    assert len(await until_noticed(acme, REP, 2)) == 2
    assert reason in acme.seen(await acme.ask("alerts"))


async def test_a_rule_in_the_digest_needs_a_digest(acme: Acme) -> None:
    """A rule with follow-ups only in the digest is broken while no digest is scheduled, from its first day on."""
    reason = "*broken*: no digest is scheduled, see `/score alerts digest 9:00`"
    assert reason in acme.seen(await acme.ask("alerts add when score crosses 66 in digest"))
    await acme.ask("alerts digest 9:00")
    assert "broken" not in acme.seen(await acme.ask("alerts"))
    await stop_digest(acme.workspace, place=REP, by=REP, now=now(acme))
    acme.sandbox.world.people[REP].deleted = True
    acme.sandbox.clock.advance(CHECK)
    (notice,) = await until_noticed(acme, ADMIN, 1)
    assert f"{reason} · made by <@U0REP>" in notice


async def test_a_rule_that_every_workspace_has_is_broken_without_bands(acme: Acme) -> None:
    """The default rule has no maker: an admin alone is told that there is no top band any more."""
    await choose_channel(acme.workspace, channel=None, by=ADMIN, now=now(acme))
    live = await score_type(acme.workspace, key="score")
    pending = await create_draft(acme.workspace, proposed=replace(live, bands=()), by=ADMIN, now=now(acme))
    assert pending is not None
    await apply(acme.workspace, draft=pending, with_alerts=False, by=ADMIN, clock=lambda: now(acme))
    acme.sandbox.clock.advance(CHECK)
    (notice,) = await until_noticed(acme, ADMIN, 1)
    assert "*broken*: Score has fewer than two bands, so there is no top band" in notice


async def test_a_preview_names_whom_it_alerts_and_what_it_breaks(acme: Acme) -> None:
    """A preview lists where each follow-up goes and the rules that it breaks, and so does a new name of a band."""
    await choose_channel(acme.workspace, channel=None, by=ADMIN, now=now(acme))
    for line in ("score crosses 75", "score crosses 50 if score:warm", "fit crosses 9 if fit:good"):
        assert "Added rule" in acme.seen(await acme.ask(f"alerts add when {line}"))
    view = await form_of(acme, await ask(acme, "settings"), "Change")
    preview = await hand_in(acme, view, maximum="70", bands="cold:0\nhot:40")
    view = await form_of(acme, await ask(acme, "settings"), "Change", nth=1)
    renamed = await hand_in(acme, view, bands="poor:1\nfair:4\ngreat:8")

    lines = acme.seen(preview).splitlines()
    assert lines[0].endswith("0 contacts change, 2 become hot, 0 leave hot, 2 follow-ups would be created.")
    assert lines[1:5] == [
        "Into hot: Ada Lovelace 62 (warm) → 62 (hot), Grace Hopper 41 (warm) → 41 (hot)",
        "Alerts to rep@acme.example: Ada Lovelace",
        "Alerts to an admin: Grace Hopper",
        "*Broken by this:* alert rule 2 (Score runs from 0 to 70, so it never reaches 75), rule 3 (Score has no band"
        " `warm`. Choose from `cold`, `hot`). See `/score alerts`",
    ]
    assert acme.seen(renamed).splitlines()[1] == (
        "*Broken by this:* alert rule 4 (Fit has no band `good`. Choose from `poor`, `fair`, `great`)."
        " See `/score alerts`"
    )
