"""Run the whole service with the sandbox: Acme's workspace, its score types and a few contacts."""

import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

from bot.demo.sending import Response
from bot.demo.world import Message, View
from bot.service import Service
from bot.settings import Settings
from storage.db.database import current_database
from storage.domain.backoff import PACE, SECOND
from storage.domain.contacts import Contact
from storage.domain.people import Workspace
from storage.domain.score_types import Band
from storage.ledger.contacts import contacts
from storage.reading.history import history
from storage.reading.search import find
from storage.scoring.definitions import add_score_type, score_types
from storage.sources.config import add_source
from storage.workspaces import find_workspace
from tests.conftest import KEY, copy_whole, fresh
from tests.postgres import Databases
from tests.slack.foreign import ForeignSlack, ReceivedCall, Sent

T = TypeVar("T")

SIGNING, BOT_TOKEN, APP_TOKEN = "8f742231b10e8888abcd99yyyzzz85a5", "xoxb-acme", "xapp-acme"
CRM_SECRET = "whsec_YWNtZS1jcm0tc2VjcmV0LWFjbWUtY3JtLTEyMzQ="
TEAM, REP, SALES = "T0DEMO", "U0REP", "C0SALES"

SKIPPED = 10  # pauses between messages that one wait skips

# Calls of the service that people, or another listener, can see.
ANSWERS = ("response_url", "views.open", "chat.postMessage")
WELCOME = "Three questions"  # the start of the setup message to an admin, which answers no request
DATE = re.compile(r"<!date\^(\d+)\^\{date_short_pretty\} \{time\}\|[^>]*>")

ADA = {"email": "ada@example.com", "name": "Ada Lovelace", "company": "Analytical Engines"}
HOPPER = {"email": "hopper@example.com", "name": "Grace Hopper", "company": "Navy"}
KELLY = {"email": "kelly@example.com", "name": "Grace Kelly", "company": "Monaco"}
STUDIO = {"email": "hello@studio54.example", "name": "Studio 54"}
PETE = {"email": "pete@topgun.example", "name": "Pete Mitchell", "company": "Top Gun"}
IDA = {"id": "4711", "name": "Ida Rhodes", "company": "Mathematical Tables"}

#: (days ago, item that the CRM pushed then)
PAST: tuple[tuple[int, dict[str, Any]], ...] = (
    (9, {"type": "contact.upsert", "contact": ADA | {"owner": "rep@acme.example", "tags": ["vip", "trial"]}}),
    (8, {"type": "contact.upsert", "contact": HOPPER}),
    (8, {"type": "contact.upsert", "contact": KELLY}),
    (8, {"type": "contact.upsert", "contact": STUDIO}),
    (8, {"type": "contact.upsert", "contact": PETE}),
    (8, {"type": "contact.upsert", "contact": IDA}),
    (7, {"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "score", "value": 57}),
    (
        5,
        {"type": "score.add", "contact": {"email": "ada@example.com"}, "score": "score", "value": 5}
        | {"reason": "Read the pricing page"},
    ),
    (4, {"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "fit", "value": 7}),
    (3, {"type": "score.set", "contact": {"email": "hopper@example.com"}, "score": "score", "value": 41}),
    (2, {"type": "score.set", "contact": {"email": "kelly@example.com"}, "score": "fit", "value": 3}),
)


def ago(sandbox: ForeignSlack, days: float) -> str:
    """Format the time *days* ago, as a CRM does."""
    return datetime.fromtimestamp(sandbox.clock.now() - days * 86_400, UTC).isoformat().replace("+00:00", "Z")


@dataclass(kw_only=True)
class Acme:
    """The service and its Slack, with one method for each action of a person."""

    sandbox: ForeignSlack
    service: Service
    database_url: str
    socket_mode: bool
    workspace: Workspace
    filled_at: float  #: when the items of `PAST` were recorded, in seconds: minutes ago in a copy of a file

    async def ask(self, line: str = "", *, user: str = REP, channel: str = SALES) -> Message:
        """Type `/score` and *line*, and return the answer."""
        response, reply = await self.answered(
            lambda: self.sandbox.say(f"/score {line}".strip(), user=user, channel=channel)
        )
        assert (response.status, response.note, reply.method) == (200, "", "response_url")
        return self.latest(user=user, channel=channel)

    async def press(self, message: Message, label: str, *, user: str = REP) -> Message:
        """Click the button *label*, and return the answer, which may replace *message*."""
        button = button_of(message, label)
        response, reply = await self.answered(
            lambda: self.sandbox.click(message.id, button["action_id"], block_id=button["block_id"], user=user)
        )
        assert (response.status, response.note, reply.method) == (200, "", "response_url")
        changed = self.sandbox.world.find(message.ts)
        if reply.arguments["replace_original"]:
            assert changed is not None
            return changed
        assert changed == message
        return self.latest(user=user, channel=message.channel)

    async def press_for_form(self, message: Message, label: str, *, user: str = REP) -> View:
        """Click the button *label*, and return the form that it opens."""
        button = button_of(message, label)
        response, reply = await self.answered(
            lambda: self.sandbox.click(message.id, button["action_id"], block_id=button["block_id"], user=user)
        )
        assert (response.status, response.note, reply.method) == (200, "", "views.open")
        return self.sandbox.open_views(user)[-1]

    async def ask_for_form(self, *, user: str = REP, channel: str = SALES) -> View:
        """Type `/score set` without arguments, and return the form that it opens."""
        response, reply = await self.answered(lambda: self.sandbox.say("/score set", user=user, channel=channel))
        assert (response.status, response.note, reply.method) == (200, "", "views.open")
        return self.sandbox.open_views(user)[-1]

    async def hand_in(self, view: View, *, user: str = REP, channel: str = SALES, **fields: Any) -> Message:
        """Fill in *fields* (by block) of a form, submit it, and return the receipt."""
        response, reply = await self.answered(lambda: self.sandbox.submit(view.id, entered(view, fields), user=user))
        assert (response.status, response.note, reply.method) == (200, "", "response_url")
        assert self.sandbox.open_views(user) == []
        return self.latest(user=user, channel=channel)

    async def answered(self, act: Callable[[], Any]) -> tuple[Response, ReceivedCall]:
        """Perform *act*, and return Slack's response and the service's next answer."""
        before = len(self.answers)
        response = await act()
        answers = await self.sandbox.wait_for(lambda: self.answers[before:])
        return response, answers[0]

    async def until(self, predicate: Callable[[], T]) -> T:
        """Return the first truthy result of *predicate*, which waits for a message of a job.

        The jobs of a channel pause for a second after each message; the clock skips such pauses.
        """
        for _ in range(SKIPPED):
            if result := predicate():
                return result
            self.sandbox.clock.advance(PACE / SECOND)
            with suppress(TimeoutError):
                return await self.sandbox.wait_for(predicate, 0.2)
        return await self.sandbox.wait_for(predicate)

    async def restart(self) -> None:
        """Stop the service, which finishes running work, and start another one on the same database."""
        await self.service.stop()
        self.service = new_service(self.sandbox, self.database_url, socket_mode=self.socket_mode)
        self.sandbox.app_url = await self.service.start()
        self.sandbox.crm_url = f"{self.sandbox.app_url}/webhooks/{TEAM}/crm"
        await self.service.connected()

    async def written(self, act: Callable[[], Any]) -> Sent:
        """Return what Slack would send for *act*, without delivering it."""
        reachable, self.sandbox.app_url = self.sandbox.app_url, "http://127.0.0.1:9"
        try:
            await act()
        finally:
            self.sandbox.app_url = reachable
        return self.sandbox.sent[-1]

    async def pushed(self, *items: dict[str, Any]) -> None:
        """Push items as the CRM does, and fail unless all are applied."""
        response = await self.sandbox.push(json.dumps({"items": items}, ensure_ascii=False))
        answer = json.loads(response["answer"]["body"])
        assert (response["answer"]["status"], answer.get("applied")) == (200, len(items)), answer

    @property
    def answers(self) -> list[ReceivedCall]:
        """The service's answers to requests so far, in any channel, without follow-ups."""
        calls = [call for call in self.sandbox.calls if call.method in ANSWERS and not call.arguments.get("metadata")]
        return [call for call in calls if not _is_welcome(call)]

    def latest(self, *, user: str = REP, channel: str = SALES) -> Message:
        """Return the newest message that *user* sees, and fail if anybody else sees it."""
        message = self.sandbox.messages(channel, user)[-1]
        assert (message.user, message.only_for) == (self.sandbox.world.bot_user, user)
        return message

    def seen(self, message: Message) -> str:
        """Render a message as a person sees it: buttons in brackets, small print in parentheses."""
        return drawn(message.blocks, now=self.sandbox.clock.now()) or message.text

    async def contact(self, words: str) -> Contact:
        """Return the one contact that matches *words*."""
        (contact,) = await find(self.workspace, text=words)
        return contact

    async def ledger(self) -> list[tuple[object, ...]]:
        """Return every change of every score, newest first, with undone ones marked."""
        lines: list[tuple[object, ...]] = []
        for contact in await contacts(self.workspace, ids=range(1, 100)):
            for score_type in await score_types(self.workspace):
                _, entries = await history(self.workspace, contact=contact.id, score=score_type.key, most=100)
                lines += [
                    (
                        contact.typed,
                        score_type.key,
                        str(entry.op),
                        entry.amount,
                        entry.value,
                        entry.reason,
                        entry.undone,
                    )
                    for entry in entries
                ]
        return lines

    async def made_by_people(self) -> list[tuple[object, ...]]:
        """Return the changes by people, oldest first: contact, type, operation, thousandths, undone."""
        lines: list[tuple[int, tuple[object, ...]]] = []
        for contact in await contacts(self.workspace, ids=range(1, 100)):
            for score_type in await score_types(self.workspace):
                _, entries = await history(self.workspace, contact=contact.id, score=score_type.key, most=100)
                lines += [
                    (entry.occurred_at, (contact.typed, score_type.key, str(entry.op), entry.amount, entry.undone))
                    for entry in entries
                    if entry.actor is not None
                ]
        return [line for _, line in sorted(lines, key=lambda entry: entry[0])]

    async def value(self, words: str, score: str = "score") -> int | None:
        """Return the current score of a contact, in thousandths."""
        contact = await self.contact(words)
        _, entries = await history(self.workspace, contact=contact.id, score=score, most=100)
        return next((entry.value for entry in entries if not entry.undone), None)


def _wake_jobs() -> None:
    for wake in current_database().job_wakers:
        wake()


def _is_welcome(call: ReceivedCall) -> bool:
    return call.method == "chat.postMessage" and str(call.arguments.get("text")).startswith(WELCOME)


def button_of(message: Message, label: str, *, nth: int | None = None) -> dict[str, str]:
    """Return the button *label*, or the button of the row with that text; *nth* chooses between several."""
    buttons = [
        {"action_id": element["action_id"], "block_id": block["block_id"], "value": element["value"]}
        for block in message.blocks
        for element in _buttons(block)
        if label in (element["text"]["text"], block.get("text", {}).get("text"))
    ]
    assert buttons, f"no button says {label!r}"
    assert len(buttons) == 1 or nth is not None, f"{len(buttons)} buttons say {label!r}"
    return buttons[nth or 0]


def _buttons(block: dict[str, Any]) -> list[dict[str, Any]]:
    elements = block["elements"] if block["type"] == "actions" else [block.get("accessory") or {}]
    return [element for element in elements if element.get("type") == "button"]


def entered(view: View, fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Put *fields* (typed text, by block) under the one element of each block."""
    elements = {block["block_id"]: block["element"]["action_id"] for block in view.blocks if block["type"] == "input"}
    return {block: {elements[block]: value} for block, value in fields.items()}


def drawn(blocks: Any, *, now: float) -> str:
    """Render blocks as a person sees them."""

    def moment(match: re.Match[str]) -> str:
        days, rest = divmod(now - int(match[1]), 86_400)
        if days < 0:
            return f"‹in {-days:.0f} d›"
        return f"‹{days:.0f} d ago›" if days else "‹now›" if rest < 60 else f"‹{rest:.0f} s ago›"

    lines = []
    for block in blocks:
        match block["type"]:
            case "section":
                texts = [block["text"]["text"]] if "text" in block else []
                texts += [f"[{button['text']['text']}]" for button in _buttons(block)]
                lines += [" ".join(texts)] if texts else []
                lines += [field["text"] for field in block.get("fields", ())]
            case "context":
                lines.append(f"({block['elements'][0]['text']})")
            case "actions":
                lines.append(" ".join(f"[{element['text']['text']}]" for element in block["elements"]))
            case "image":
                lines.append(f"‹picture: {block['alt_text']}›")
            case kind:
                raise AssertionError(f"no message of ours has a block of the kind {kind}")
    return DATE.sub(moment, "\n".join(lines))


def form(view: View) -> dict[str, object]:
    """Render a form as a person sees it: its title, then label → value of the field."""
    fields: dict[str, object] = {"title": view.content["title"]["text"]}
    for block in view.blocks:
        if block["type"] == "section":
            fields["about"] = block["text"]["text"]
        elif block["type"] == "input":
            hint = block.get("hint", {}).get("text")
            element = block["element"]
            standing = element.get("initial_value", element.get("placeholder", {}).get("text"))
            fields[block["label"]["text"]] = (standing, hint) if hint else standing
    return fields


@dataclass(frozen=True, kw_only=True)
class FilledFile:
    """A closed SQLite file that has the items of `PAST` already."""

    file: Path
    at: float  #: when they were recorded, in seconds


@asynccontextmanager
async def open_acme(
    database_url: str, *, socket_mode: bool = False, template: FilledFile | None = None
) -> AsyncIterator[Acme]:
    """Start the service and its Slack on loopback ports, with the items of `PAST` in the ledger.

    With *template* the database becomes a copy of that file.
    """
    if template:
        shutil.copy(template.file, database_url.removeprefix("sqlite://"))
    sandbox = ForeignSlack(
        app_url="", signing_secret=SIGNING, bot_token=BOT_TOKEN, app_token=APP_TOKEN, crm_secret=CRM_SECRET
    )
    await sandbox.start()
    service = new_service(sandbox, database_url, socket_mode=socket_mode)
    acme = None
    try:
        sandbox.app_url = await service.start()
        sandbox.clock.alarm = _wake_jobs
        await service.connected()
        workspace = await find_workspace(TEAM)
        sandbox.crm_url = f"{sandbox.app_url}/webhooks/{TEAM}/crm"
        filled_at = template.at if template else sandbox.clock.now()
        acme = Acme(
            sandbox=sandbox, service=service, database_url=database_url, socket_mode=socket_mode, workspace=workspace,
            filled_at=filled_at,
        )  # fmt: skip  # what runs, then what it has
        if not template:
            await _define(workspace, now=int(sandbox.clock.now() * 1_000_000))
            await acme.pushed(*({**item, "occurred_at": ago(sandbox, days + 0.01)} for days, item in PAST))
            # An admin gets the welcome once; which may otherwise come among the calls of a test.
            await sandbox.wait_for(lambda: [call for call in sandbox.calls if _is_welcome(call)])
        sandbox.calls.clear()
        yield acme
    finally:
        sandbox.faults.clear()
        sandbox.faults.release()
        await (acme.service if acme else service).stop()
        await sandbox.stop()


def new_service(sandbox: ForeignSlack, database_url: str, *, socket_mode: bool = False, port: int = 0) -> Service:
    """Create the service as the demo does: on a free port if *port* is 0, with the sandbox's clock."""
    settings = Settings(
        database_url=database_url,
        public_url=None,
        host="127.0.0.1",
        port=port,
        secret_keys=SecretStr(KEY),
        slack_bot_token=SecretStr(BOT_TOKEN),
        slack_signing_secret=None if socket_mode else SecretStr(SIGNING),
        slack_app_token=SecretStr(APP_TOKEN) if socket_mode else None,
        slack_api_url=f"{sandbox.url}/api/",
    )
    return Service(settings, with_slack=True, clock=lambda: int(sandbox.clock.now() * 1_000_000))


async def _define(workspace: Workspace, *, now: int) -> None:
    good = (Band(name="poor", start=1000), Band(name="fair", start=4000), Band(name="good", start=8000))
    for key, highest, step, bands in (("fit", 10_000, 1000, good), ("satisfaction", 5000, 500, ())):
        await add_score_type(
            workspace, key=key, label=key.capitalize(), minimum=1000, maximum=highest, step=step,
            bands=bands, start=None, is_default=False, by="cli:acme", now=now,
        )  # fmt: skip  # the numbers of one definition
    await add_source(workspace, slug="crm", provider="generic", secrets=[CRM_SECRET], by="cli:acme", now=now)


@pytest.fixture(params=["sqlite"])
async def database_url(
    request: pytest.FixtureRequest, sqlite_file: Path, databases: Databases, postgres: str, tmp_path: Path
) -> AsyncIterator[str]:
    """Yield the URL of a fresh SQLite database, because texts for people do not depend on the database.

    Tests marked `on_both` run on PostgreSQL too; together they use every verb, button and form.
    """
    async with fresh(request.param, sqlite_file, databases, postgres, tmp_path) as url:
        yield url


@pytest.fixture(scope="session")
async def acme_file(sqlite_file: Path, tmp_path_factory: pytest.TempPathFactory) -> FilledFile:
    """Return a SQLite file with Acme's workspace, which is copied for each test, because filling it takes longer."""
    folder = tmp_path_factory.mktemp("acme")
    shutil.copy(sqlite_file, folder / "filled.db")
    async with open_acme(f"sqlite://{folder / 'filled.db'}") as filled:
        at = filled.filled_at
    return FilledFile(file=copy_whole(folder / "filled.db", folder / "template.db"), at=at)


@pytest.fixture
def socket_mode() -> bool:
    """Whether the service uses Socket Mode; a test may parametrize this fixture to use both."""
    return False


@pytest.fixture
async def acme(database_url: str, socket_mode: bool, acme_file: FilledFile) -> AsyncIterator[Acme]:
    """Yield the running service with its Slack."""
    template = acme_file if database_url.startswith("sqlite:") else None
    async with open_acme(database_url, socket_mode=socket_mode, template=template) as acme_:
        yield acme_


def other(sent: Sent, **changes: Any) -> Sent:
    """Return a copy of a request with other fields."""
    return replace(sent, payload=sent.payload | changes)
