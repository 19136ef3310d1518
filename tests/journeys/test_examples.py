"""Every example that help, the Home tab, the README, refusals and the demo's page show works in the demo's own data."""

import json
import re
from collections.abc import AsyncIterator, Iterable
from html import unescape
from pathlib import Path

import pytest

from bot.blocks.help import GROUPS, MOST_LINES
from bot.cli.demo import add_sample_data
from bot.demo.crm import bodies
from bot.demo.sample import EXAMPLES
from bot.features import TABLES
from storage.alerts.enroll import choose_channel
from storage.workspaces import find_workspace
from tests.counts import COUNTS
from tests.journeys.acme import BOT_TOKEN, CRM_SECRET, REP, SIGNING, TEAM, Acme, new_service
from tests.journeys.admin import ADMIN
from tests.slack.foreign import ForeignSlack, ReceivedCall

README = (Path(__file__).resolve().parent.parent.parent / "README.md").read_text()
_LINE = re.compile(r"`/score ?([^`]*)`")
SUCCESS = "C0SUCCESS"
#: what the answer to a line that works shows, by the words that the line begins with; the longest beginning counts
WORKS = {
    "": r"Score .|contacts? fits?\b",
    "help": r"see a contact|`/score ",
    "view": r"Score .",
    "set": r"→|form: Set ",
    "clear": r"→ —",
    "add": r"added|already exist|owner",
    "filter": r"contacts? fits?\b",
    "tag": r"· tag |Change \d+ contacts|nothing to change",
    "untag": r"· remove the tag |Change \d+ contacts",
    "assign": r"· owner → |owner → .*Nothing is changed yet|[Nn]othing (would|to) change",
    "top": r"Top \d+ by",
    "segment save": r"Saved ",
    "segment list": r"segments?\b",
    "segment show": r"contacts? fits?\b",
    "segment delete": r"Deleted ",
    "history": r"·",
    "why": r"·",
    "undo": r"undone|Undo|undo",
    "alerts": r"\*Alerts\*",
    "alerts add": r"Rule \d+|Added",
    "alerts try": r"would have|follow-up",
    "alerts pause": r"paused",
    "alerts resume": r"Rule \d+",
    "alerts remove": r"removed",
    "alerts digest": r"digest (goes )?to you",
    "followups": r"[Ff]ollow-ups",
    "settings": r"Score",
    "rules": r"[Rr]ule",
    "sources": r"[Ss]ources",
    "subscriptions": r"program|Subscription",
    "merge": r"[Mm]erge",
    "split": r"[Ss]plit",
    "delete": r"form: Delete",
    "setup": r"Where should follow-ups go",
    "audit": r".",
    "admins": r"[Aa]dmin",
    "roles": r"[Rr]oles?|from now on",
}
#: what no answer to an example says
REFUSED = re.compile(
    r"^(?:Name the|Type |There is no |No contact |Did you mean|Values go|Nothing was|Only |That is for|Choose |No rule)"
    r"|can never match|has no band|is not a number|```"
)
#: lines that are refused with an example of what to type instead
MISTAKES = (
    "view", "set ada", "set 85", "set ada eighty", "set ada@example.com fit", "set 85 ada", "set ada 85 great demo",
    "set ada@example.com 85 because", "set ada fit", "clear", "add", "add bob",
    "add ada@example.com 85",
    "top 0", "top fit satisfaction", "history", "why", "merge", "merge ada", "split", "split ada", "delete",
    "alerts add when", "alerts add when score", "alerts add score", "alerts try", "alerts nonsense", "alerts digest",
    "alerts pause 99", "alerts pause", "followups nonsense", "segment", "segment show nothing", "segment save",
    "segment nonsense", "help nonsense", "help filtr", "hlep", "tpo 5", "ada 85", "fit rising 1 in 7d",
    "alerts remove 99", "set ada@example.com fit=8 great demo",
)  # fmt: skip  # one line of each kind


@pytest.fixture
async def demo(database_url: str) -> AsyncIterator[Acme]:
    """Yield the service with the data of the demo."""
    sandbox = ForeignSlack(signing_secret=SIGNING, bot_token=BOT_TOKEN, crm_secret=CRM_SECRET)
    await sandbox.start()
    service = new_service(sandbox, database_url)
    try:
        sandbox.app_url = await service.start()
        await service.connected()
        now = int(sandbox.clock.now() * 1_000_000)
        await add_sample_data(now, secret=CRM_SECRET)
        sandbox.crm_url = f"{sandbox.app_url}/webhooks/{TEAM}/sample-crm"
        for body in bodies(sandbox.clock.now()):
            assert json.loads((await sandbox.push(body))["answer"]["body"])["quarantined"] == 0
        workspace = await find_workspace(TEAM)
        await choose_channel(workspace, channel=SUCCESS, by=ADMIN, now=now)
        yield Acme(
            sandbox=sandbox, service=service, database_url=database_url, socket_mode=False, workspace=workspace,
            filled_at=sandbox.clock.now(),
        )  # fmt: skip  # what runs, then what it has
    finally:
        await service.stop()
        await sandbox.stop()


async def type_line(demo: Acme, line: str, *, user: str) -> str:
    """Type a line in the channel of the follow-ups, and return the text of the answer, or the title of a form."""
    _, call = await demo.answered(lambda: demo.sandbox.say(f"/score {line}".strip(), user=user, channel=SUCCESS))
    return text_of(call)


def text_of(call: ReceivedCall) -> str:
    """Return the text of an answer."""
    if call.method == "views.open":
        title = call.arguments["view"]["title"]["text"]
        return f"form: {title}"
    texts = [call.arguments["text"]]
    for block in call.arguments["blocks"]:
        texts += [block["text"]["text"]] if "text" in block else []
        texts += [element["text"] for element in block.get("elements", ()) if isinstance(element.get("text"), str)]
    return "\n".join(texts)


def list_lines(text: str) -> list[str]:
    """Return the lines after `/score` in a text, without those that only say how a command is written."""
    usages = {command.usage for command in TABLES.verbs.values()}
    needing_more = {verb for verb, command in TABLES.verbs.items() if re.match(r"\w+ [A-Z]", command.usage)}
    lines = [unescape(line).strip() for line in _LINE.findall(text)]
    return [line for line in lines if line not in usages | needing_more and "…" not in line]


async def list_help(demo: Acme, *, user: str) -> list[str]:
    """Return the lines that help shows to a person: the overview, and of each verb that it lists."""
    overview = await type_line(demo, "help", user=user)
    verbs = [verb for verb, command in TABLES.verbs.items() if f"`/score {command.usage}`" in overview]
    texts = [overview, *[await type_line(demo, f"help {verb}", user=user) for verb in verbs]]
    return [line for text in texts for line in list_lines(text)]


async def list_terms(demo: Acme, *, user: str) -> list[str]:
    """Return a line for each term of the language of filters that help shows."""
    text = (await type_line(demo, "help filter", user=user)).partition("*Scores*")[2]
    return [f"filter {unescape(term)}" for term in re.findall(r"`([^`]+)`", text) if not term.startswith("/score")]


async def list_home(demo: Acme, *, user: str) -> list[str]:
    """Return the lines that the Home tab shows to a person."""
    await demo.sandbox.open_home(user)
    view = await demo.sandbox.wait_for(lambda: demo.sandbox.home(user))
    return list_lines(json.dumps(view.content, ensure_ascii=False)) if view else []


async def find_complaints(demo: Acme, lines: Iterable[str], *, user: str, also: str = r"$^") -> dict[str, str]:
    """Type each line once, and return what is wrong with the answers; an answer that shows *also* is right too."""
    complaints = {}
    for line in dict.fromkeys(lines):
        COUNTS["examples typed"] += 1
        answer = await type_line(demo, line, user=user)
        if line.startswith("clear "):
            await type_line(demo, "undo", user=user)  # other examples need the score
        if line.startswith("roles others "):
            await type_line(demo, "roles others scorer", user=user)  # other people set scores
        beginning = max((words for words in WORKS if f"{line} ".startswith(f"{words} ".lstrip())), key=len)
        if match := REFUSED.search(answer):
            complaints[f"{user}: {line}"] = f"refused ({match[0]}): {answer[:400]}"
        elif not re.search(f"{WORKS[beginning]}|{also}", answer):
            complaints[f"{user}: {line}"] = f"does not show {WORKS[beginning]}: {answer[:400]}"
    return complaints


async def test_every_example_works(demo: Acme) -> None:
    """Each line that help, the Home tab, the README, the demo's page and refusals show works for who sees it."""
    complaints = dict[str, str]()
    for user in (REP, ADMIN):
        lines = [*await list_help(demo, user=user), *await list_home(demo, user=user)]
        assert len(lines) > 30
        complaints |= await find_complaints(demo, lines, user=user)
        since = [line for line in await list_help(demo, user=user) if line not in lines]  # of a new rule and segment
        complaints |= await find_complaints(demo, since, user=user)
        terms = await list_terms(demo, user=user)
        assert len(terms) > 20
        complaints |= await find_complaints(demo, terms, user=user, also="^No contacts match")
    complaints |= await find_complaints(demo, [line.removeprefix("/score ") for line in EXAMPLES], user=REP)
    readme = list_lines(README)
    assert len(readme) > 30
    # The demo begins without follow-ups.
    complaints |= await find_complaints(demo, readme, user=ADMIN, also="^No contacts match `followup:")
    for mistake in MISTAKES:
        suggested = list_lines(await type_line(demo, mistake, user=ADMIN))
        if not suggested:
            complaints[mistake] = "suggests nothing"
        complaints |= await find_complaints(demo, suggested, user=ADMIN)

    assert not complaints, "\n".join(f"{line} {complaint}" for line, complaint in complaints.items())


def test_help_is_short() -> None:
    """Each group of commands has at most eight lines, and each command is in one group."""
    verbs = [verb for group in GROUPS.values() for verb in group]
    assert sorted(verbs) == sorted(TABLES.verbs)
    assert max(len(group) for group in GROUPS.values()) <= MOST_LINES
