"""The recipes of the README work: the requests that its tools send set the score, and its events arrive genuine."""

import asyncio
import json
import re
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.bot.cli.program import environment, run
from tests.processes import HOUSE
from tests.webhooks.event_receiver import EventReceiver, ReceivedEvent, receiving_events
from tests.webhooks.receiving import Receiving, receiving
from tests.webhooks.sender import Answer, Clock, signature

RECIPES = (HOUSE / "README.md").read_text().partition("\n## Recipes\n")[2].partition("\n## ")[0]
ADA, BOB = "ada@example.com", "bob@example.com"
NETWORKS = "127.0.0.0/8"
#: what each tool adds to a request by itself
N8N = {
    "Accept": "application/json,text/html,application/xhtml+xml,application/xml,text/*;q=0.9, image/*;q=0.8, */*;q=0.7"
}
ZAPIER = {"User-Agent": "Zapier", "Accept": "*/*"}
MAKE = {"User-Agent": "Make/production", "Accept-Encoding": "gzip, deflate, br"}
HIGHTOUCH = {"User-Agent": "Hightouch", "Accept": "application/json, text/plain, */*"}

#: how the test of cron calls the API
CURL = (
    "curl --silent --fail-with-body --header 'Content-Type: application/json' --header \"Authorization: Bearer $TOKEN\""
)

Recipe = Callable[["Kitchen"], Awaitable[None]]


def blocks(tool: str, language: str) -> list[str]:
    """Return the blocks of a recipe that are written in a language."""
    recipe = re.search(rf"^\*\*{tool}\*\*(.+?)(?=^\*\*|\Z)", RECIPES, re.MULTILINE | re.DOTALL)
    assert recipe is not None, f"the README has no recipe for {tool}"
    return re.findall(rf"```{language}\n(.+?)```", recipe[1], re.DOTALL)


@dataclass(kw_only=True)
class Kitchen:
    """A running service with the score type `fit`, a receiver of events, and what the commands printed."""

    service: Receiving
    receiver: EventReceiver
    env: dict[str, str]
    folder: Path
    printed: dict[str, str] = field(default_factory=dict)

    async def set_up(self, tool: str) -> list[str]:
        """Run the `contact-score` commands of a recipe, keep the secrets that they print, and return the other lines.

        Events go to the receiver of the test instead of the tool's address.
        """
        (self.folder / "map.json").write_text("".join(re.findall(r"`map.json` is `(.+?)`", RECIPES)))
        lines = "".join(blocks(tool, "sh")).replace("\\\n", " ").splitlines()
        for line in lines:
            if line.startswith("contact-score "):
                words = re.sub(r"https://\S+", self.receiver.url, line).split()[1:]
                document = (await run(*words, "--json", env=self.env, cwd=self.folder)).document
                names = {"source": "SECRET", "token": "TOKEN", "subscription": "WHSEC"}
                value = document["secrets"][0] if words[0] == "source" else document.get("token") or document["secret"]
                self.printed[names[words[0]]] = value
        return [line for line in lines if not line.startswith("contact-score ")]

    def fill_in(self, text: str, **values: str) -> str:
        """Replace the words in capitals by what the commands printed."""
        for name, value in {"ADDRESS": self.service.url, **self.printed, **values}.items():
            text = re.sub(rf"\b{name}\b", value, text)
        return text

    async def send(self, request: str, *, own: Mapping[str, str], form: bool = False) -> Answer:
        """Send a request of the README, with the headers that the tool adds; as a form instead of JSON if asked."""
        head, _, body = request.strip().partition("\n\n")
        first, *lines = self.fill_in(head).splitlines()
        method, url = first.split()
        headers = {**own, **dict(line.split(": ", 1) for line in lines)}
        if form:
            headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(json.loads(body))
        answer = await self.service.sender.request(method, url, data=body.encode() or None, headers=headers)
        assert answer.status == 200, answer
        return answer

    async def shell(self, command: str, **env: str) -> str:
        """Run a command as cron and a terminal do, and return what it prints; fail unless it succeeds."""
        own = {"PATH": "/usr/bin:/bin", "ADDRESS": self.service.url, "TOKEN": self.printed["TOKEN"], **env}
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", command, cwd=self.folder, env=own, stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, (command, out, err)
        return out.decode()

    async def fit(self, contact: str) -> int:
        """Return the score `fit` of a contact."""
        return (await self.service.scores(contact))["fit"] // 1000

    async def receive_event(self) -> ReceivedEvent:
        """Return the next event that the service sends."""
        async with asyncio.timeout(30):
            while not self.receiver.received:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (event,) = self.receiver.take()
        return event


@pytest.fixture
async def kitchen(database_url: str, tmp_path: Path) -> AsyncIterator[Kitchen]:
    """Run the service at the time of the system, with which Standard Webhooks compares."""
    clock = Clock(time.time_ns() // 1000)
    async with receiving(database_url, networks=NETWORKS, clock=clock) as service, receiving_events() as receiver:
        env = environment(database_url, CONTACT_SCORE_ALLOW_NETWORKS=NETWORKS)
        yield Kitchen(service=service, receiver=receiver, env=env, folder=tmp_path)


def fill_placeholders(template: str, **values: object) -> str:
    """Replace placeholders such as `{{ $json.email }}` by the value with the last part of their name."""
    return re.sub(r"\{\{ ?[^{}]*?(\w+) ?\}\}", lambda match: str(values[match[1]]), template)


def fill_rows(template: str, rows: list[dict[str, object]]) -> str:
    """Render a template of Liquid with its loop over rows."""
    before, loop, after = re.split(r"\{% for row in rows %\}|\{% endfor %\}", template)
    row_template, comma, _ = re.split(r"\{% unless forloop\.last %\}|\{% endunless %\}", loop)
    return before + comma.join(fill_placeholders(row_template, **row) for row in rows) + after


async def use_curl(kitchen: Kitchen) -> None:
    """Set a score twice; the second poll returns only what the second change caused."""
    put, poll = await kitchen.set_up("curl")
    assert json.loads(await kitchen.shell(put))["value"] == 9
    page = json.loads(await kitchen.shell(poll))
    await kitchen.shell(put.replace('"value": 9', '"value": 4'))
    next_page = json.loads(await kitchen.shell(poll, CURSOR=page["next_cursor"]))

    assert await kitchen.fit(ADA) == 4
    assert [values_of(events["items"]) for events in (page, next_page)] == [[9], [4]]


async def use_cron(kitchen: Kitchen) -> None:
    """The nightly file is imported once; each poll appends the answer with the new events to a file."""
    await kitchen.set_up("cron")
    lines = [line for line in blocks("cron", "crontab")[0].splitlines() if not re.match(r"\w+=", line)]
    assert not [line for line in lines if re.search(r"(?<!\\)%", line)]  # a bare % ends a command of cron
    nightly, often = (re.sub(r"^(\S+ ){5}", "", line).replace("\\%", "%") for line in lines)
    (kitchen.folder / "scores.csv").write_text(f"email,fit\n{ADA},9\n")
    first, second = [json.loads(await kitchen.shell(nightly)) for _ in range(2)]
    assert first["id"] == second["id"]
    await kitchen.shell(often)
    while json.loads(await kitchen.shell(f"{CURL} $ADDRESS/api/v1/imports/{first['id']}"))["state"] != "done":
        pass
    assert await kitchen.fit(ADA) == 9
    for value in (3, 5):
        await kitchen.shell(
            f"{CURL} $ADDRESS/api/v1/contacts/{BOB}/scores/fit --request PUT --data '{{\"value\": {value}}}'"
        )
        await kitchen.shell(often)
    written = (kitchen.folder / "events.jsonl").read_text().splitlines()

    assert [values_of(json.loads(line)["items"]) for line in written] == [[], [3], [5]]


async def use_n8n(kitchen: Kitchen) -> None:
    """The node's request sets the score, and the package verifies the event that the other node gets."""
    await kitchen.set_up("n8n")
    (request,) = blocks("n8n", "http")
    for _ in range(2):
        answer = await kitchen.send(fill_placeholders(request, email=ADA, fit=9, id="231", itemIndex=0), own=N8N)
    assert answer.counts == (0, 1, 0, 0)  # the repeat of an execution
    event = await kitchen.receive_event()
    await kitchen.send(fill_placeholders(request, email=BOB, fit=9, id="231", itemIndex=1), own=N8N)
    for id, fit in ("232", 4), ("233", 9):  # back to an earlier value
        await kitchen.send(fill_placeholders(request, email=ADA, fit=fit, id=id, itemIndex=0), own=N8N)

    assert (await kitchen.fit(ADA), await kitchen.fit(BOB)) == (9, 9)
    event.check_signature(kitchen.printed["WHSEC"])
    assert (event.type, event.data["value"]) == ("score.band_entered", 9)


async def use_zapier(kitchen: Kitchen) -> None:
    """Both payload types set the score; the recipe's code accepts the event, but no changed, old or foreign one."""
    await kitchen.set_up("Zapier")
    (request,), (code,) = blocks("Zapier", "http"), blocks("Zapier", "python")
    await kitchen.send(fill_placeholders(request, email=ADA, fit=9, id="1"), own=ZAPIER)
    event = await kitchen.receive_event()
    await kitchen.send(fill_placeholders(request, email=BOB, fit=4, id="2"), own=ZAPIER, form=True)
    assert (await kitchen.fit(ADA), await kitchen.fit(BOB)) == (9, 4)
    caught = {
        "body": event.body.decode(),
        "secret": kitchen.printed["WHSEC"],
        **{name: event.headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")},
    }
    verdicts = []
    for changed in (
        {},
        {"signature": f"v1,AAAA {caught['signature']}"},
        {"body": caught["body"].replace("9", "8")},
        {"id": "msg_2"},
        {"timestamp": str(int(caught["timestamp"]) - 400)},
        {"secret": "whsec_" + "A" * 32},
        sign_again(caught, age=400),
    ):
        names: dict[str, Any] = {"input_data": caught | changed}
        exec(code, names)  # noqa: S102  # the code of the README, as Zapier runs it
        verdicts.append(names["output"]["is_genuine"])

    assert verdicts == [True, True, False, False, False, False, False]


async def use_make(kitchen: Kitchen) -> None:
    """The module's request sets the score; the other one polls each event once."""
    await kitchen.set_up("Make")
    push, poll = blocks("Make", "http")
    values, cursor = [], ""
    for id, fit in ("1", 9), ("2", 4):
        await kitchen.send(fill_placeholders(push, email=ADA, fit=fit, id=id), own=MAKE)
        page = (await kitchen.send(kitchen.fill_in(poll, CURSOR=cursor), own=MAKE)).document
        values.append(values_of(page["items"]))
        cursor = page["next_cursor"]

    assert await kitchen.fit(ADA) == 4
    assert values == [[9], [4]]


async def use_hightouch(kitchen: Kitchen) -> None:
    """A batch sets the score of each row; a row that is sent again counts once, a changed row again."""
    await kitchen.set_up("Hightouch")
    (request,) = blocks("Hightouch", "http")
    ada, bob = {"email": ADA, "fit": 9, "version": "1"}, {"email": BOB, "fit": 4, "version": "1"}
    first = await kitchen.send(fill_rows(request, [ada]), own=HIGHTOUCH)
    both = await kitchen.send(fill_rows(request, [ada, bob]), own=HIGHTOUCH)

    changed = await kitchen.send(fill_rows(request, [ada | {"fit": 3, "version": "2"}]), own=HIGHTOUCH)

    assert [answer.counts for answer in (first, both, changed)] == [(1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 0, 0)]
    assert (await kitchen.fit(ADA), await kitchen.fit(BOB)) == (3, 4)


def sign_again(caught: Mapping[str, str], *, age: int) -> dict[str, str]:
    """Return the time and signature of the event as if it had been sent some seconds ago."""
    timestamp = str(int(caught["timestamp"]) - age)
    body, secret = caught["body"].encode(), caught["secret"]
    return {
        "timestamp": timestamp,
        "signature": signature(body, delivery=caught["id"], timestamp=timestamp, secret=secret),
    }


def values_of(events: list[dict[str, Any]]) -> list[float]:
    """Return the new values of the changed scores in events."""
    return [event["data"]["value"] for event in events if event["type"] == "score.changed"]


@pytest.mark.parametrize("use", [use_curl, use_cron, use_n8n, use_zapier, use_make, use_hightouch])
async def test_a_recipe_works_as_it_is_written(kitchen: Kitchen, use: Recipe) -> None:
    """The requests that a tool makes of its recipe set the score, and the check of the recipe finds the events."""
    await use(kitchen)


def test_every_recipe_is_run() -> None:
    """The README has the recipes that the test above runs, and no other."""
    assert re.findall(r"^\*\*(\w+)\*\*", RECIPES, re.MULTILINE) == [
        "curl", "cron", "n8n", "Zapier", "Make", "Hightouch",
    ]  # fmt: skip  # names
