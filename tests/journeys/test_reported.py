"""Inputs as people and programs really send them: small cases from public bug reports and real export layouts.

Each file of `tests/data/reported` has the setup, the steps, and the expected state after them. The cases with names
that begin with Z passed before the fixes.
"""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.demo.world import Message
from storage.domain.filters import parse
from storage.domain.numbers import parse as parse_number
from storage.domain.people import Workspace
from storage.domain.sources import SourceSettings
from storage.reading.current_scores import Card
from storage.scoring.definitions import add_score_type, score_types
from storage.sources.config import add_source
from storage.tokens import create_token
from storage.transfer.export import export
from storage.workspaces import add_workspace, find_workspace
from tests.bot.cli.program import environment, run
from tests.conftest import DIALECTS
from tests.journeys.acme import (
    ANSWERS,
    BOT_TOKEN,
    CRM_SECRET,
    REP,
    SALES,
    SIGNING,
    TEAM,
    WELCOME,
    drawn,
    new_service,
)
from tests.slack.faults import Fault, Kind
from tests.slack.foreign import ForeignSlack
from tests.webhooks.sender import signed

Json = dict[str, Any]

CASES = sorted((Path(__file__).parents[1] / "data" / "reported").glob("*.json"))
#: cases in which the database compares texts or addresses, or merges contacts
ON_BOTH = ("C1", "C2", "C7", "F1", "F2", "F4", "V1")
FAULTS: dict[int, Kind] = {429: "rate_limited", 500: "server_error"}
OTHER_TEAM = "T0OTHER"
TOKEN = "zapier-token-of-the-tests"
TIME = re.compile(r"\{iso:(-?\d+)\}")


class Played:
    """One case on a running service, with the answers to its steps."""

    def __init__(self, case: Json, sandbox: ForeignSlack, database_url: str, folder: Path) -> None:
        self.case = case
        self.sandbox = sandbox
        self.database_url = database_url
        self.folder = folder
        self.address = ""
        self.api_token = ""
        self.service: Any = None
        self.answers: list[str] = []
        self.after_roundtrip: dict[str, Card] | None = None

    @property
    def now(self) -> int:
        """The current time in µs."""
        return int(self.sandbox.clock.now() * 1_000_000)

    async def set_up(self) -> Workspace:
        """Create the workspace's score types and sources, and a token for the API."""
        workspace = await find_workspace(TEAM)
        await self._add_types(workspace)
        for slug, provider, *options in self.case.get("sources", []):
            maps = dict(zip(options[1::2], options[::2], strict=True))
            settings = SourceSettings(map=dict(text.split("=") for text in maps if maps[text] == "--map"))
            secret = CRM_SECRET if provider == "generic" else TOKEN
            await add_source(
                workspace, slug=slug, provider=provider, secrets=[secret], settings=settings, by="U0ADMIN", now=self.now
            )
        self.api_token = (
            await create_token(workspace, name="tests", scopes=["read", "write"], by="U0ADMIN", now=self.now)
        )[1]
        return workspace

    async def _add_types(self, workspace: Workspace) -> None:
        types = [["fit", "--label", "Fit", "--min", "0", "--max", "100", "--step", "1"], *self.case.get("types", [])]
        for key, *options in types:
            values = dict(zip(options[::2], options[1::2], strict=True))
            await add_score_type(
                workspace, key=key, label=values["--label"], minimum=parse_number(values["--min"]),
                maximum=parse_number(values["--max"]), step=parse_number(values["--step"]),
                bands=(), start=None, is_default=False, by="U0ADMIN", now=self.now,
            )  # fmt: skip  # the numbers of one definition

    async def play(self, workspace: Workspace) -> None:
        """Carry out the steps in order."""
        for index, step in enumerate(self.case["steps"]):
            if "send" in step:
                self.answers.append(await self._send(step))
            elif "import" in step:
                self.answers.append(await self._import(step, index))
            elif "ask" in step:
                self.answers.append(await self._ask(step))
            elif "posted" in step:
                self.answers.append(await self._read_posted())
            else:
                assert step == {"roundtrip": True}
                self.after_roundtrip = await self._roundtrip(workspace)
                self.answers.append("")

    async def _send(self, step: Json) -> str:
        at = self.sandbox.clock.now()
        body = TIME.sub(lambda match: _iso(at + int(match[1])), json.dumps(step["body"]))
        headers = {"Content-Type": "application/json"}
        url, method = f"{self.address}/webhooks/{TEAM}/{step['slug']}", "POST"
        if step["send"] == "std":
            headers |= signed(body.encode(), delivery=f"msg_{len(self.answers)}", at=self.now, secret=CRM_SECRET)
        elif step["send"] == "bearer":
            headers["Authorization"] = f"Bearer {TOKEN}"
        else:
            assert step["send"] == "api"
            headers["Authorization"] = f"Bearer {self.api_token}"
            url, method = f"{self.address}/api/v1{step['path']}", step["method"]
        async with (
            ClientSession() as session,
            session.request(method, url, data=body.encode(), headers=headers) as response,
        ):
            return f"{response.status} {await response.text()}"

    async def _import(self, step: Json, index: int) -> str:
        name = step.get("name", f"file{index}.csv")
        content = step["import"]
        is_binary = content.startswith("base64:")
        (self.folder / name).write_bytes(base64.b64decode(content[7:]) if is_binary else content.encode())
        ended = await run("import", name, *step.get("args", []), env=environment(self.database_url), cwd=self.folder)
        return f"exit {ended.code} {ended.out}{ended.err}"

    async def _ask(self, step: Json) -> str:
        if "fault" in step:
            self.sandbox.faults.add(Fault(method="response_url", kind=FAULTS[step["fault"]]))
        before = len(self._answers())
        await self.sandbox.command("/score", step["ask"], user=REP, channel=SALES)
        await self.sandbox.wait_for(lambda: self._answers()[before:])
        if "fault" in step:  # the first response was lost
            await self.sandbox.wait_for(lambda: self._answers()[before + 1 :])
        message: Message = self.sandbox.messages(SALES, REP)[-1]
        return drawn(message.blocks, now=self.sandbox.clock.now()) or message.text

    def _answers(self) -> list[Any]:
        return [
            call
            for call in self.sandbox.calls
            if call.method in ANSWERS
            and not call.arguments.get("metadata")
            and not str(call.arguments.get("text")).startswith(WELCOME)
        ]

    async def _read_posted(self) -> str:
        def posted() -> list[Any]:
            metadata = [(call, call.arguments.get("metadata") or {}) for call in self.sandbox.calls]
            return [call for call, data in metadata if data.get("event_type") == "follow_up"]

        await self.sandbox.wait_for(posted)
        return json.dumps([call.arguments for call in posted()], ensure_ascii=False)

    async def _roundtrip(self, workspace: Workspace) -> dict[str, Card]:
        other = await add_workspace(OTHER_TEAM, name="Other", by="U0ADMIN", now=self.now)
        await self._add_types(other)
        for words in (
            ("export", "-o", "exported.csv", "--workspace", TEAM),
            ("import", "exported.csv", "--workspace", OTHER_TEAM),
        ):
            ended = await run(*words, env=environment(self.database_url), cwd=self.folder)
            assert ended.code == 0, ended
        return await self.cards(other)

    async def cards(self, workspace: Workspace) -> dict[str, Card]:
        """Return the contacts as exported, by address and by `source:id`."""
        everybody = parse("", await score_types(workspace))
        cards = [card async for card in export(workspace, query=everybody, text="", by="U0ADMIN", now=self.now)]
        by_name = {f"{slug}:{id}": card for card in cards for slug, id in card.contact.ids.items()}
        return by_name | {str(card.contact.email): card for card in cards}

    async def check(self, expected: Json, workspace: Workspace) -> None:
        """Check one expectation of the case."""
        if "step" in expected:
            answer = self.answers[expected["step"]]
            for word, should_match in (("has", True), ("lacks", False)):
                if word in expected:
                    assert bool(re.search(expected[word], answer)) is should_match, (expected, answer)
            return
        cards = self.after_roundtrip if expected.get("after_roundtrip") else await self.cards(workspace)
        assert cards is not None
        if "contacts" in expected:
            assert len({card.contact.id for card in cards.values()}) == expected["contacts"], list(cards)
            return
        name = f"{expected['slug']}:{expected['who']}" if "slug" in expected else expected["who"]
        assert name in cards, (name, list(cards), self.answers)
        card = cards[name]
        if "field" in expected:
            value = getattr(card.contact, expected["field"])
            assert (list(value) if isinstance(value, tuple) else value) == expected["is"], self.answers
        else:
            values = {standing.score_type.key: standing.value / 1000 for standing in card.standings}
            assert values.get(expected["score"]) == expected["is"], self.answers


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


@asynccontextmanager
async def open_case(case: Json, database_url: str, folder: Path) -> AsyncIterator[Played]:
    """Start the service with its Slack on loopback ports."""
    sandbox = ForeignSlack(
        app_url="", signing_secret=SIGNING, bot_token=BOT_TOKEN, app_token="xapp-acme", crm_secret=CRM_SECRET
    )
    await sandbox.start()
    played = Played(case, sandbox, database_url, folder)
    played.service = new_service(sandbox, database_url)
    try:
        sandbox.app_url = played.address = await played.service.start()
        await played.service.connected()
        yield played
    finally:
        sandbox.faults.clear()
        sandbox.faults.release()
        await played.service.stop()
        await sandbox.stop()


@pytest.mark.parametrize(
    ("path", "database_url"),
    [
        pytest.param(path, dialect, id=f"{dialect}-{path.stem}")
        for path in CASES
        for dialect in (DIALECTS if path.stem.split("-")[0] in ON_BOTH else DIALECTS[:1])
    ],
    indirect=["database_url"],
)
async def test_a_reported_case(path: Path, database_url: str, tmp_path: Path) -> None:
    """After the steps the expectations of the case hold."""
    case = json.loads(path.read_text())  # noqa: ASYNC240  # a small file
    async with open_case(case, database_url, tmp_path) as played:
        workspace = await played.set_up()
        await played.play(workspace)
        for expected in case["expect"]:
            await played.check(expected, workspace)
