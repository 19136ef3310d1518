"""Ask for a private chart; if it cannot be shown, the answer states the same facts in words."""

from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from bot.demo.world import Message
from tests.bot.pictures import read_png
from tests.conftest import on_both
from tests.journeys.acme import REP, SALES, Acme, button_of
from tests.journeys.test_reading import HISTORY
from tests.slack.faults import Fault

TITLE, _, LIST = HISTORY.removesuffix("\n[Chart]").partition("\n")
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
UPLOADS = ("files.getUploadURLExternal", "upload", "files.completeUploadExternal")
NOT_ALLOWED = (
    "(No chart: I may not upload pictures here yet. An admin can change that at api.slack.com/apps:"
    " *OAuth & Permissions*, add the bot scope `files:write`, then *Reinstall to Workspace*.)"
)
NOT_TAKEN = (
    "(No chart: Slack did not take the picture{}. The text above says what it would show; try again in a minute.)"
)


def day(acme: Acme, ago: float, zone: str = "Europe/Berlin", *, year: bool = True) -> str:
    """Format the day *ago* days before now, in the reader's zone."""
    return format_day(acme.sandbox.clock.now(), ago, zone, year=year)


def pushed_day(acme: Acme, ago: float, zone: str = "Europe/Berlin", *, year: bool = False) -> str:
    """Format the day of an item of `PAST`, which was 0.01 days older than it says when it was pushed."""
    return format_day(acme.filled_at, ago + 0.01, zone, year=year)


def format_day(now: float, ago: float, zone: str, *, year: bool) -> str:
    """Format the day *ago* days before *now*, in seconds."""
    local = (datetime.fromtimestamp(now, UTC) - timedelta(days=ago)).astimezone(ZoneInfo(zone))
    return f"{MONTHS[local.month - 1]} {local.day}{f', {local.year}' if year else ''}"


def picture(acme: Acme, *, days: int, zone: str = "Europe/Berlin") -> str:
    """Return the expected alternative text of Ada's chart."""
    return (
        f"\n‹picture: Chart of Score of Ada Lovelace from {day(acme, days, zone)} to {day(acme, 0, zone)}:"
        " — at first, 62 (warm) now, lowest 57, highest 62. It was missing for some of the time."
        " Bands: cold from 0, warm from 40, hot from 80. What moved it most:"
        f" 1. {pushed_day(acme, 7, zone)}: — → 57, from crm;"
        f" 2. {pushed_day(acme, 5, zone)}: 57 → 62, from crm, “Read the pricing page”›"
    )


def charted(acme: Acme, *, days: int, zone: str = "Europe/Berlin") -> str:
    """Return the expected history with its chart below the title."""
    return f"{TITLE}{picture(acme, days=days, zone=zone)}\n{LIST}"


def with_hint(acme: Acme, hint: str) -> str:
    """Return the expected history with the facts in words and a hint in place of the chart."""
    words = picture(acme, days=90).replace("‹picture: ", "").replace("›", "")
    return f"{TITLE}{words}\n{hint}\n{LIST}"


def uploads(acme: Acme) -> list[str]:
    """Return the Slack calls for images, in order."""
    return [call.method for call in acme.sandbox.calls if call.method in UPLOADS]


def file_of(message: Message) -> str:
    """Return the id of the file in a message."""
    (name,) = [block["slack_file"]["id"] for block in message.blocks if block["type"] == "image"]
    return str(name)


@on_both
async def test_a_history_of_so_many_days_has_a_chart(acme: Acme) -> None:
    """The chart stands above the list, in the asker's zone; its file is shared with no channel and names nobody."""
    answer = await acme.ask("history ada 90d")
    file = acme.sandbox.world.files[file_of(answer)]
    image = read_png(file.content or b"")
    (completed,) = [call for call in acme.sandbox.calls if call.method == UPLOADS[2]]

    assert acme.seen(answer) == charted(acme, days=90)
    assert answer.only_for == REP
    assert uploads(acme) == list(UPLOADS)
    assert completed.arguments.keys() & {"channel_id", "channels", "initial_comment", "thread_ts"} == set()
    assert (file.name, file.title, image.width) == ("chart.png", "Chart", 840)
    for other in acme.sandbox.world.people:
        if other != REP:
            assert file.id not in str(acme.sandbox.messages(SALES, other))


async def test_the_button_under_a_history(acme: Acme) -> None:
    """The button replaces the history by one with a chart of ninety days, and the button is gone."""
    answer = await acme.press(await acme.ask("history ada"), "Chart")

    assert acme.seen(answer) == charted(acme, days=90)
    assert answer.only_for == REP


async def test_long_periods(acme: Acme) -> None:
    """A chart of years begins when they began, a chart of `all` with the first change; both list every change."""
    years, ever = [acme.seen(await acme.ask(f"history ada {period}")) for period in ("2y", "all")]
    first = (
        picture(acme, days=7)
        .replace(day(acme, 7), pushed_day(acme, 7, year=True))
        .replace("— at first", "57 (warm) at first")
    )

    assert years == charted(acme, days=730)
    assert ever == f"{TITLE}{first.replace(' It was missing for some of the time.', '')}\n{LIST}"
    assert "There are no changes to show" in acme.seen(await acme.ask("history Top Gun all"))
    assert "from Jan 1, 1970 to " in acme.seen(await acme.ask("history ada 9999y"))


async def test_one_of_several_is_charted_when_it_is_chosen(acme: Acme) -> None:
    """The period is kept while the person chooses between several contacts."""
    choice = await acme.ask("history adda 30d")
    answer = await acme.press(choice, "Ada Lovelace · Analytical Engines · ada@example.com")

    assert acme.seen(answer) == charted(acme, days=30)


async def test_what_moved_a_score_is_told_with_names(acme: Acme) -> None:
    """An image cannot mention people, so colleagues appear by name."""
    acme.sandbox.world.people["U0JANE"].tz = "America/New_York"
    await acme.ask("set ada 95 because great demo", user="U0JANE")
    await acme.ask("clear ada", user="U0ADMIN")
    text = acme.seen(await acme.ask("history ada 7d", user="U0JANE"))
    today = day(acme, 0, "America/New_York", year=False)

    assert f"from {day(acme, 7, 'America/New_York')} to {day(acme, 0, 'America/New_York')}" in text
    assert f"{today}: 62 → 95, by Jane Kim, “great demo”" in text
    assert f"{today}: 95 → —, by Alex Admin" in text


@pytest.mark.parametrize("letter", ["w", "契", '"'])
async def test_long_reasons(acme: Acme, letter: str) -> None:
    """Slack accepts the longest list together with the longest alternative text."""
    add = {"type": "score.add", "contact": {"email": "ada@example.com"}, "score": "score", "value": 1}
    await acme.pushed(*(add | {"reason": letter * 400} for _ in range(20)))
    answer = await acme.ask("history ada 90d")

    assert "The last 20 changes" in acme.seen(answer) or "… and " in acme.seen(answer)
    assert file_of(answer) in acme.sandbox.world.files
    assert len(answer.blocks[1]["alt_text"]) > 200


async def test_nothing_to_draw(acme: Acme) -> None:
    """If the score was missing on all days there is no chart, and nothing is uploaded."""
    texts = [acme.seen(await acme.ask(line)) for line in ("history Top Gun 90d", "history ada fit 1d")]

    assert texts[0] == "*Pete Mitchell · Score*\nThere are no changes to show."
    assert texts[1].startswith("*Ada Lovelace · Fit*\nThere are no changes to show.\n‹picture: Chart of Fit")
    assert "7 (fair) at first, 7 (fair) now, lowest 7, highest 7. Bands" in texts[1]
    assert uploads(acme) == list(UPLOADS)


async def test_the_days_of_the_reader(acme: Acme) -> None:
    """Two colleagues in distant time zones read different dates."""
    acme.sandbox.world.people["U0JANE"].tz = "Pacific/Kiritimati"
    acme.sandbox.world.people["U0ADMIN"].tz = "Pacific/Pago_Pago"
    acme.sandbox.clock.advance(31)  # expire the cached lookup
    east = acme.seen(await acme.ask("history ada 90d", user="U0JANE"))
    west = acme.seen(await acme.ask("history ada 90d", user="U0ADMIN"))

    assert east == charted(acme, days=90, zone="Pacific/Kiritimati")
    assert west == charted(acme, days=90, zone="Pacific/Pago_Pago")
    assert east != west


async def test_without_the_scope(acme: Acme) -> None:
    """Without the scope the answer is the list, the facts of the chart in words, and what an admin must do."""
    acme.sandbox.world.scopes -= {"files:write"}
    text = acme.seen(await acme.ask("history ada 90d"))
    pressed = acme.seen(await acme.press(await acme.ask("history ada"), "Chart"))

    assert text == pressed == with_hint(acme, NOT_ALLOWED)
    assert uploads(acme) == [UPLOADS[0]] * 2


async def test_a_slack_without_uploads(acme: Acme) -> None:
    """If this Slack has no method for uploads, the hint does not ask to try again."""
    acme.sandbox.faults.add(Fault(method="files.getUploadURLExternal", kind="unknown_method"))
    hint = "(No chart: this Slack takes no pictures from apps. The text above says what it would show.)"

    assert acme.seen(await acme.ask("history ada 90d")) == with_hint(acme, hint)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="upload", kind="server_error"),
        Fault(method="upload", kind="no_answer"),
        Fault(method="files.getUploadURLExternal", kind="server_error"),
        Fault(method="files.completeUploadExternal", kind="dropped_after_accepting"),
    ],
    ids=lambda fault: f"{fault.method} {fault.kind}",
)
async def test_where_slack_does_not_take_it(acme: Acme, fault: Fault) -> None:
    """If an upload fails at any step, the list is shown, and the chart works the next time."""
    acme.sandbox.faults.add(fault)
    first = acme.seen(await acme.ask("history ada 90d"))
    second = acme.seen(await acme.ask("history ada 90d"))

    assert first == with_hint(acme, NOT_TAKEN.format(""))
    assert second == charted(acme, days=90)


async def test_slack_looks_at_a_picture_first(acme: Acme) -> None:
    """Slack rejects messages with an image that it has not processed yet; the answer comes a moment later, once."""
    acme.sandbox.world.picture_delay = 0.2
    before = len(acme.sandbox.messages(SALES, REP))
    await acme.sandbox.say("/score history ada 90d")
    messages = await acme.sandbox.wait_for(lambda: acme.sandbox.messages(SALES, REP)[before:])

    assert acme.seen(messages[-1]) == charted(acme, days=90)
    assert [call.answer.get("error") for call in acme.answers] == ["invalid_blocks", None]


@pytest.mark.slow
async def test_slack_never_shows_it(acme: Acme) -> None:
    """After three attempts the list is shown without the chart."""
    acme.sandbox.world.picture_delay = 3_600
    before = len(acme.sandbox.messages(SALES, REP))
    await acme.sandbox.say("/score history ada 90d")
    messages = await acme.sandbox.wait_for(lambda: acme.sandbox.messages(SALES, REP)[before:])

    assert acme.seen(messages[-1]) == with_hint(acme, NOT_TAKEN.format(""))
    assert len(acme.answers) == 4


async def test_an_answer_that_comes_too_late_is_sent_with_its_chart(acme: Acme) -> None:
    """If the response_url has expired, the answer and its chart are sent by direct message."""
    acme.sandbox.world.picture_delay = 0.2
    sent = await acme.written(partial(acme.sandbox.say, "/score history ada 90d"))
    acme.sandbox.clock.advance(1_801)
    before = len(acme.sandbox.messages("D0REP"))
    await acme.sandbox.again(sent)
    messages = await acme.sandbox.wait_for(lambda: acme.sandbox.messages("D0REP")[before:])

    assert acme.seen(messages[-1]).startswith("*Ada Lovelace · Score*")
    assert file_of(messages[-1]) in acme.sandbox.world.files
    assert [(call.method, call.answer.get("error") or call.answer.get("body")) for call in acme.answers] == [
        ("response_url", "expired_url"),
        ("chat.postMessage", "invalid_blocks"),
        ("response_url", "expired_url"),
        ("chat.postMessage", None),
    ]


async def test_who_may_see_nothing_uploads_nothing(acme: Acme) -> None:
    """A guest, also one who clicks a button they saw as a member, is refused before anything is drawn."""
    history = await acme.ask("history ada")
    button = button_of(history, "Chart")
    acme.sandbox.world.people[REP].is_restricted = True
    acme.sandbox.clock.advance(31)
    await acme.ask("history ada 90d")
    text = acme.seen(acme.latest())
    await acme.answered(lambda: acme.sandbox.click(history.id, button["action_id"], block_id=button["block_id"]))

    assert (
        text
        == acme.seen(acme.latest())
        == ("Scores are for members of this workspace; guests cannot see or change them.")
    )
    assert uploads(acme) == []
    assert acme.sandbox.world.files == {}
