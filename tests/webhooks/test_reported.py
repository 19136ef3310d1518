"""Reported problems with deliveries: the cases of `tests/data/reported/deliveries`."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.db import database
from storage.scoring.definitions import add_score_type
from storage.sources.config import find_source
from storage.workspaces import add_workspace
from tests.bot.cli import program
from tests.conftest import on_both
from tests.webhooks.receiving import Receiving
from tests.webhooks.sender import SECOND, START, Answer
from tests.webhooks.test_senders import connect, encoded, send

FILES = sorted((Path(__file__).parents[1] / "data" / "reported" / "deliveries").glob("*.json"))
CASES: list[dict[str, Any]] = [json.loads(path.read_text()) for path in FILES]
OPTIONS = {"--map": "map", "--option": "options", "--secret": "secrets"}


def fill_in(value: object) -> Any:
    """Return a body with its times filled in: `{iso:-50}` and `{s:-50}` are fifty seconds ago."""
    match value:
        case str():
            if match := re.fullmatch(r"\{s:(-?\d+)\}", value):
                return START // SECOND + int(match[1])
            return re.sub(r"\{iso:(-?\d+)\}", lambda match: written(int(match[1])), value)
        case list():
            return [fill_in(element) for element in value]
        case dict():
            return {name: fill_in(element) for name, element in value.items()}
        case _:
            return value


def written(seconds: int) -> str:
    """Format a time a number of seconds from now."""
    moment = datetime.fromtimestamp(START // SECOND, UTC) + timedelta(seconds=seconds)
    return moment.isoformat().replace("+00:00", "Z")


def soap(notifications: list[tuple[str, dict[str, str]]]) -> bytes:
    """Return an Outbound Message of Salesforce; field values are not escaped."""
    records = "".join(
        f"<Notification><Id>{id}</Id><sObject xsi:type='sf:Contact' xmlns:sf='urn:sobject'>"
        + "".join(f"<sf:{name}>{value}</sf:{name}>" for name, value in fields.items())
        + "</sObject></Notification>"
        for id, fields in notifications
    )
    return (
        "<?xml version='1.0' encoding='UTF-8'?><e:Envelope xmlns:e='http://schemas.xmlsoap.org/soap/envelope/'"
        " xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'><e:Body>"
        "<notifications xmlns='http://soap.sforce.com/2005/09/outbound'><OrganizationId>00D000000000001EAA"
        f"</OrganizationId>{records}</notifications></e:Body></e:Envelope>"
    ).encode()


async def make_team(service: Receiving) -> Receiving:
    """Create a team with the score type `fit`, from 0 to 100."""
    workspace = await add_workspace("T0REPORTED", name="Reported", by="U0ADMIN", now=START)
    await add_score_type(
        workspace, key="fit", label="Fit", minimum=0, maximum=100_000, step=1000, bands=[], start=None,
        is_default=False, by="U0ADMIN", now=START,
    )  # fmt: skip  # the numbers of one definition
    return replace(service, workspace=workspace)


async def add_reported_source(service: Receiving, slug: str, provider: str, *args: str) -> None:
    """Add a source with the options of `source add`."""
    options: dict[str, list[str]] = {}
    for name, value in zip(args[::2], args[1::2], strict=True):
        options.setdefault(OPTIONS[name], []).append(value)
    more = {"token": None, "token_in": None} if provider == "salesforce" else {}
    await connect(service, slug, provider, **options, **more)


async def play(service: Receiving, step: dict[str, Any], *, url: str, folder: Path) -> Answer | None:
    """Run a step: a delivery, or the import of a file."""
    if "import" in step:
        (folder / "people.csv").write_text(step["import"], newline="")
        words = ("import", str(folder / "people.csv"), "--workspace", service.workspace.team, *step.get("args", ()))
        assert (await program.run(*words, env=program.environment(url))).code == 0
        return None
    source = await find_source(service.workspace.team, slug=step["slug"])
    body = fill_in(step["body"])
    return await send(service, source, soap(body) if step["send"] == "soap" else encoded(body))


async def load_contacts(service: Receiving) -> list[database.Row]:
    """Return the contacts of the team."""
    return await database.read(
        "SELECT id FROM contacts WHERE workspace_id = $1 AND merged_into IS NULL", service.workspace.id
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
@on_both
async def test_reported_case(service: Receiving, database_url: str, tmp_path: Path, case: dict[str, Any]) -> None:
    """A case ends with the expected scores, number of contacts, and answers."""
    team = await make_team(service)
    for source in case["sources"]:
        await add_reported_source(team, *source)
    answers = [await play(team, step, url=database_url, folder=tmp_path) for step in case["steps"]]

    for expected in case["expect"]:
        if "who" in expected:
            name = f"{expected['slug']}:{expected['who']}" if "slug" in expected else expected["who"]
            assert (await team.scores(name)).get(expected["score"]) == expected["is"] * 1000
        elif "contacts" in expected:
            assert len(await load_contacts(team)) == expected["contacts"]
        else:
            answer = answers[expected["step"]]
            assert answer is not None
            assert not re.search(expected["lacks"], f"{answer.status} {answer.body.decode()}")
