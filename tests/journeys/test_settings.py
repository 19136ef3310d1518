"""Change the definition of a score type by form, and revert it."""

from dataclasses import replace
from typing import Any

import pytest

from bot.demo.world import Message
from storage import jobs
from storage.alerts.enroll import choose_channel
from storage.domain.facts import DAY
from storage.domain.score_types import Band, ScoreType
from storage.ledger.verify import verify_next
from storage.scoring.definitions import drafts, score_types
from storage.scoring.draft_jobs import BUILD, lane_of
from storage.scoring.drafts import apply, create_draft
from storage.scoring.removal import remove_score_type
from tests.conftest import on_both
from tests.journeys.acme import Acme, button_of, entered, form
from tests.journeys.admin import ADMIN, HERE, ask, form_of, hand_in, press, refused

BUTTONS = "[Apply without alerts] [Apply and alert] [Cancel]"


async def live(acme: Acme, key: str) -> ScoreType:
    """Return the live version of a score type."""
    return next(score_type for score_type in await score_types(acme.workspace) if score_type.key == key)


async def sound(acme: Acme) -> None:
    """Fail if stored scores differ from those computed from the ledger."""
    assert (await verify_next(acme.workspace)).differences == ()


def scored(email: str, value: int) -> dict[str, Any]:
    """Set a score as the CRM does."""
    return {"type": "score.set", "contact": {"email": email}, "score": "score", "value": value}


@on_both
async def test_a_narrowed_range_is_seen_before_it_is_applied_and_can_be_taken_back(acme: Acme) -> None:
    """List, form, preview, apply, revert; until it is applied the change is visible nowhere."""
    await acme.pushed(*(scored(f"p{n:02d}@example.com", n * 5) for n in range(21)))
    await choose_channel(
        acme.workspace, channel="C0SUCCESS", by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000)
    )
    listed = await ask(acme, "settings")
    assert acme.seen(listed) == (
        "*Score types*\n"
        "*Score* `score` · default\n"
        "0 to 100, steps of 1, starting at 0 · does not fade · no rules\n"
        "Bands: cold from 0, warm from 40, hot from 80 [Change]\n"
        "*Fit* `fit`\n"
        "1 to 10, steps of 1, starting at 1 · does not fade · no rules\n"
        "Bands: poor from 1, fair from 4, good from 8 [Change]\n"
        "*Satisfaction* `satisfaction`\n"
        "1 to 5, steps of 0.5, starting at 1 · does not fade · no rules\n"
        "Bands: none [Change]\n"
        "[Add a score type]"
    )
    view = await form_of(acme, listed, "Change")
    fields = {label: value[0] if isinstance(value, tuple) else value for label, value in form(view).items()}
    assert fields == {
        "title": "Score type", "about": "`score`, version 1", "Label": "Score", "Minimum": "0", "Maximum": "100",
        "Step": "1", "Starting value": "0", "Bands": "cold:0\nwarm:40\nhot:80", "Half-life": None,
    }  # fmt: skip  # a form
    preview = await hand_in(acme, view, maximum="50", bands="cold:0\nhot:30")
    # 62 (Ada) and 55 to 100 come down to 50; 41 (Hopper), Ada and 30 to 100 are hot, of which 80 to 100 were before.
    assert acme.seen(preview) == (
        "*Narrowing Score to 0 to 50 instead of 0 to 100, with bands cold from 0, hot from 30"
        " instead of cold from 0, warm from 40, hot from 80:*"
        " 11 contacts change, 12 become hot, 0 leave hot, 12 follow-ups would be created.\n"
        "Into hot: Ada Lovelace 62 (warm) → 50 (hot), Grace Hopper 41 (warm) → 41 (hot),"
        " p06@example.com 30 (cold) → 30 (hot), p07@example.com 35 (cold) → 35 (hot),"
        " p08@example.com 40 (warm) → 40 (hot), p09@example.com 45 (warm) → 45 (hot),"
        " p10@example.com 50 (warm) → 50 (hot), p11@example.com 55 (warm) → 50 (hot),"
        " p12@example.com 60 (warm) → 50 (hot), p13@example.com 65 (warm) → 50 (hot) and 2 more\n"
        "Other changes: p16@example.com 80 (hot) → 50 (hot), p17@example.com 85 (hot) → 50 (hot),"
        " p18@example.com 90 (hot) → 50 (hot), p19@example.com 95 (hot) → 50 (hot),"
        " p20@example.com 100 (hot) → 50 (hot)\n"
        "Alerts in <#C0SUCCESS>: Ada Lovelace, Grace Hopper, p06@example.com, p07@example.com, p08@example.com,"
        " p09@example.com, p10@example.com, p11@example.com, p12@example.com, p13@example.com\n"
        "… and 2 more alerts\n"
        "(Until you decide, nobody sees a different score."
        " *Apply and alert* creates these follow-ups, *Apply without alerts* creates none.)\n"
        f"{BUTTONS}"
    )
    assert (await acme.value("ada"), (await live(acme, "score")).maximum) == (62_000, 100_000)
    assert "*Waiting for your decision:* Narrowing Score to 0 to 50" in acme.seen(await ask(acme, "settings"))

    answer = await press(acme, preview, "Apply without alerts")
    assert acme.seen(answer) == (
        "*Narrowed Score to 0 to 50 instead of 0 to 100, with bands cold from 0, hot from 30"
        " instead of cold from 0, warm from 40, hot from 80.* No follow-ups were created.\n[Take it back]"
    )
    assert "🟥 Score\n*50* (hot)\n" in acme.seen(await ask(acme, "ada"))
    assert await drafts(acme.workspace) == ()
    await sound(acme)

    back = await press(acme, answer, "Take it back")
    assert (
        acme.seen(back) == "*Taken back.* Widened Score to 0 to 100 instead of 0 to 50, with bands cold from 0,"
        " warm from 40, hot from 80 instead of cold from 0, hot from 30. No follow-ups were created."
    )
    again = await live(acme, "score")
    assert (again.number, again.maximum, [band.name for band in again.bands]) == (3, 100_000, ["cold", "warm", "hot"])
    assert (await acme.value("ada"), await acme.value("p20@example.com")) == (62_000, 100_000)
    await sound(acme)
    assert [post for post in acme.sandbox.world.posts if post.channel == "C0SUCCESS" and post.metadata] == []


async def test_apply_and_ask_asks_for_who_comes_in(acme: Acme) -> None:
    """As many follow-ups are created as the preview said, and an older draft cannot be applied."""
    await choose_channel(
        acme.workspace, channel="C0SUCCESS", by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000)
    )
    view = await form_of(acme, await ask(acme, "settings"), "Change")
    older = await hand_in(acme, view, maximum="90", bands="")
    view = await form_of(acme, await ask(acme, "settings"), "Change")
    preview = await hand_in(acme, view, maximum="70", bands="cold:0\nhot:60")
    assert "0 contacts change, 1 becomes hot, 0 leave hot, 1 follow-up would be created." in acme.seen(preview)
    assert [(draft_type.maximum, draft_type.number) for draft_type in await drafts(acme.workspace)] == [(70_000, 3)]
    assert "draft no longer exists" in acme.seen(await press(acme, older, "Apply without alerts"))

    answer = await press(acme, preview, "Apply and alert")
    assert "1 follow-up was created." in acme.seen(answer)
    view = await form_of(acme, await ask(acme, "settings"), "Change", nth=1)
    text = acme.seen(await hand_in(acme, view, label="Fitness", step="0.5", half_life="30d", default=["yes"]))
    assert text.startswith("*Changing Fit: called Fitness, steps of 0.5 instead of 1, half-life 30d instead of none:*")
    assert text.endswith("(Fit is already the default score type.)")
    (message,) = await acme.sandbox.wait_for(
        lambda: [post for post in acme.sandbox.world.posts if post.channel == "C0SUCCESS" and post.metadata]
    )
    assert "Ada Lovelace" in acme.seen(message)
    await sound(acme)


async def test_what_only_names_things_is_changed_at_once(acme: Acme) -> None:
    """A change of names needs no preview and creates no follow-up; the same form again changes nothing."""
    view = await form_of(acme, await ask(acme, "settings"), "Change", nth=1)
    answer = await hand_in(acme, view, label="Fitness", bands="low:1\nfair:4\ntop:8:purple", default=["yes"])
    assert acme.seen(answer) == (
        "Fit is called Fitness now; the bands of Fitness are low:1, fair:4, top:8:purple,"
        " not poor:1, fair:4, good:8;"
        " Fitness is the default score type, not Score. No score changed, and no follow-ups were created."
    )
    fit = await live(acme, "fit")
    assert (fit.number, fit.label, [band.name for band in fit.bands], fit.is_default) == (
        1,
        "Fitness",
        ["low", "fair", "top"],
        True,
    )
    listed = await ask(acme, "settings")
    assert "Bands: low from 1, fair from 4, top from 8 in purple" in acme.seen(listed)
    view = await form_of(acme, listed, "Change")
    assert view.blocks[0]["text"]["text"] == "`fit`, version 1"  # the default score type comes first
    assert acme.seen(await hand_in(acme, view)) == "Fitness already has these settings; nothing was changed."


async def test_a_type_is_added(acme: Acme) -> None:
    """A score type is added with every field of the form; afterwards its key is taken."""
    view = await form_of(acme, await ask(acme, "settings"), "Add a score type")
    assert await refused(acme, view, key="Heat!", label="Heat") == {
        "key": "`Heat!` cannot be a score type's key: use up to 32 lowercase letters, digits and _, a letter first"
    }
    answer = await hand_in(acme, view, key="heat", maximum="10", step="0.5", half_life="30d", bands="cool:0\nhot:8")
    assert acme.seen(answer) == (
        "Added the score type Heat `heat`: 0 to 10. Set one: `/score set ada@example.com heat=10`"
    )
    heat = await live(acme, "heat")
    assert (heat.step, heat.start, heat.half_life, len(heat.bands)) == (500, 0, 30 * DAY, 2)
    view = await form_of(acme, await ask(acme, "settings"), "Add a score type")
    assert "heat" in (await refused(acme, view, key="heat", label="Heat"))["key"]


MISTAKES: tuple[tuple[dict[str, str], str, str], ...] = (
    ({"maximum": "0"}, "maximum", "must be below"),
    ({"maximum": "1.2345"}, "maximum", "more than three digits"),
    ({"step": "7"}, "step", "is not a multiple of the step 7"),
    ({"start": "200"}, "start", "the starting value 200"),
    ({"bands": "hot"}, "bands", "`hot` is not a band"),
    ({"bands": "hot:0:pink"}, "bands", "`pink` is not a color of a band"),
    ({"bands": "hot:80"}, "bands", "the first band must start at the minimum"),
    ({"half_life": "soon"}, "half_life", "is not a length of time"),
    ({"half_life": "1w", "label": " "}, "label", "a label has 1 to 60 characters"),
)


async def test_a_mistake_stands_under_its_field(acme: Acme) -> None:
    """A mistake is shown under its field, and no draft is created."""
    view = await form_of(acme, await ask(acme, "settings"), "Change")
    right = {"label": "Score", "maximum": "100", "step": "1", "start": "0", "bands": "cold:0", "half_life": ""}
    for fields, field, words in MISTAKES:
        errors = await refused(acme, view, **right | fields)
        assert list(errors) == [field]
        assert words in errors[field].casefold()
    assert await drafts(acme.workspace) == ()


async def test_what_changed_meanwhile_is_not_overwritten(acme: Acme) -> None:
    """An outdated form says so; an older draft is dropped; the same form twice makes one draft."""
    view = await form_of(acme, await ask(acme, "settings"), "Change")
    late = await acme.written(
        lambda: acme.sandbox.submit(view.id, entered(view, {"maximum": "80", "bands": ""}), user=ADMIN)
    )
    preview = await hand_in(acme, view, maximum="60", bands="")
    before = len(acme.answers)
    await acme.restart()  # which clears the memory of handled requests
    response = await acme.sandbox.again(acme.sandbox.sent[-1])
    assert response.status == 200
    await acme.sandbox.wait_for(lambda: len(acme.answers) > before)
    assert len(await drafts(acme.workspace)) == 1
    answer = await press(acme, preview, "Apply without alerts")
    errors = (await acme.sandbox.again(late)).json()["errors"]
    assert errors == {"label": "Score was changed since this form was opened. Press Cancel, and open it again."}
    waits = await create_draft(
        acme.workspace, proposed=replace(await live(acme, "fit"), maximum=20_000),
        by="U0ADMIN", now=int(acme.sandbox.clock.now() * 1_000_000),
    )  # fmt: skip  # one draft
    assert waits is not None
    assert "0 contacts change" in acme.seen(await press(acme, await ask(acme, "settings"), "See what it changes"))
    cancelled = await press(acme, await ask(acme, "settings"), "Cancel")
    assert (
        acme.seen(cancelled)
        == "Canceled: nothing was changed. The change was: Widening Fit to 1 to 20 instead of 1 to 10."
    )
    assert await drafts(acme.workspace) == ()

    now = int(acme.sandbox.clock.now() * 1_000_000)
    old = await create_draft(
        acme.workspace, proposed=replace(await live(acme, "score"), maximum=90_000), by="U0ADMIN", now=now
    )
    newer = await create_draft(
        acme.workspace, proposed=replace(await live(acme, "score"), maximum=80_000), by="U0ADMIN", now=now
    )
    listed = await ask(acme, "settings")
    assert old is not None
    assert newer is not None
    await apply(acme.workspace, draft=newer, with_alerts=False, by="U0ADMIN", clock=lambda: now)
    button = button_of(listed, "See what it changes", nth=0)
    assert button["value"] == f"score {old.number}"
    await acme.answered(
        lambda: acme.sandbox.click(listed.id, button["action_id"], block_id=button["block_id"], user=ADMIN)
    )
    assert "so the draft was dropped" in acme.seen(acme.latest(user=ADMIN, channel=HERE))
    assert await drafts(acme.workspace) == ()
    late_back = await press(acme, answer, "Take it back")
    assert "Score was changed again since" in acme.seen(late_back)
    assert (await live(acme, "score")).maximum == 80_000


@pytest.mark.parametrize("asks", [False, True], ids=["quietly", "asking"])
async def test_what_takes_longer_than_a_moment_is_answered_when_it_is_done(acme: Acme, *, asks: bool) -> None:
    """If another process has the draft and the service restarts, the message is edited once the result is ready."""
    await choose_channel(acme.workspace, channel="C0SUCCESS", by="U0ADMIN", now=time_of(acme))
    bands = (Band(name="cold", start=0), Band(name="hot", start=60_000))
    waiting = await create_draft(
        acme.workspace, proposed=replace(await live(acme, "score"), bands=bands), by="U0ADMIN", now=time_of(acme)
    )
    assert waiting is not None
    listed = await ask(acme, "settings")
    held = await hold(acme, BUILD, waiting)
    pending = await press(acme, listed, "See what it changes")
    assert "Every contact is being recalculated" in acme.seen(pending)
    await acme.restart()
    await jobs.save_position(acme.workspace, job=held, position=0, keeps_lane=False, now=time_of(acme))
    preview = await edited(acme, pending)
    assert acme.seen(preview).startswith(
        "*Changing Score: bands cold from 0, hot from 60 instead of cold from 0, warm from 40, hot from 80:*"
        " 0 contacts change, 1 becomes hot"
    )

    held = await hold(acme, BUILD, waiting)
    applying = await press(acme, preview, "Apply and alert" if asks else "Apply without alerts")
    assert "Every contact is being recalculated" in acme.seen(applying)
    assert len((await live(acme, "score")).bands) == 3
    await jobs.settle(acme.workspace, job=held, pace=0, now=time_of(acme))
    applied = await edited(acme, applying)
    outcome = "1 follow-up was created." if asks else "No follow-ups were created."
    assert acme.seen(applied) == (
        "*Changed Score: bands cold from 0, hot from 60 instead of cold from 0, warm from 40, hot from 80.*"
        f" {outcome}\n[Take it back]"
    )
    assert (await live(acme, "score")).bands == bands
    await sound(acme)


async def hold(acme: Acme, kind: str, waiting: ScoreType) -> jobs.Job:
    """Claim a job of a draft as another process does."""
    job = jobs.NewJob(
        workspace=acme.workspace.id, kind=kind, lane=lane_of(waiting), key=str(waiting.definition),
        subject=waiting.definition, due_at=time_of(acme),
    )  # fmt: skip  # where, what and when
    while (held := await jobs.start(acme.workspace, job=job, now=time_of(acme))) is None:
        continue  # the job that sent the last answer is about to end
    return held


def time_of(acme: Acme) -> int:
    """Return the time by the service's clock."""
    return int(acme.sandbox.clock.now() * 1_000_000)


async def edited(acme: Acme, message: Message) -> Message:
    """Wait until a message is edited, and return it."""

    def find() -> list[Message]:
        post = acme.sandbox.world.find(message.ts)
        return [post] if post is not None and post.blocks != message.blocks else []

    return (await acme.sandbox.wait_for(find))[0]


async def test_a_type_that_was_removed_comes_back_with_its_scores(acme: Acme) -> None:
    """Added again by the form, with its old key, the type has the scores that its changes give in the new range."""
    await remove_score_type(
        acme.workspace, key="fit", by="U0ADMIN", clock=lambda: int(acme.sandbox.clock.now() * 1_000_000)
    )
    assert "Fit" not in acme.seen(await ask(acme, "ada"))

    view = await form_of(acme, await ask(acme, "settings"), "Add a score type")
    answer = await hand_in(acme, view, key="fit", label="Fit", minimum="0", maximum="5", step="1", bands="")

    assert acme.seen(answer).startswith("Added the score type Fit `fit`: 0 to 5.")
    assert await acme.value("ada", "fit") == 5_000
    await sound(acme)
