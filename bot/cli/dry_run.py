"""`contact-score source try` and `send`: a dry run of a request, and a signed test delivery."""

import asyncio
import json
import secrets as randomness
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import AsJson, Team, run, the_workspace
from bot.cli.sources import MappingFile, json_file
from bot.clock import system_clock
from bot.settings import Settings
from bot.source_admin import webhook_url
from storage.bootstrap import Storage
from storage.domain.describe import describe_item, describe_reference
from storage.domain.errors import Refusal, UnknownDelivery
from storage.domain.facts import Deletion, Ignored, Item, ItemRequest, Merge, Split, Unusable
from storage.domain.numbers import to_json
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Raw, refusal_reason
from storage.scoring.definitions import score_types
from storage.sources.config import find_source
from storage.sources.deliveries import delivery as load_delivery
from storage.sources.deliveries import raw_delivery
from webhooks.read.mapping import BadMapping, check_mapping
from webhooks.read.parse_delivery import dry_run, load_request_file, with_mapping
from webhooks.test_delivery import kind_of_file, post, prepare_request


def try_source(
    slug: str,
    delivery: Annotated[int | None, typer.Option(metavar="ID", help="A stored delivery.")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A file with a body.")
    ] = None,
    mapping: MappingFile = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Show what a delivery or a file would record, with this or the stored mapping, without recording it."""
    if (delivery is None) == (file is None):
        raise typer.BadParameter("nothing to try: give --delivery ID or --file FILE")

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        source = await find_source(workspace.team, slug=slug)
        raw, key, received = await _load_request(workspace, slug, delivery=delivery, file=file)
        result = dry_run(with_mapping(source, _load_mapping(mapping)), raw, key=key)
        types = {score_type.key: score_type for score_type in await score_types(workspace)}
        rows = [_describe_item(item, types, received=received) for item in result.items]
        if as_json:
            output.document({"items": rows, "warnings": list(result.warnings)})
            return
        texts = [_describe_for_people(item, row) for item, row in zip(result.items, rows, strict=True)]
        output.lines(*texts or ["Nothing would be recorded: the mapping finds no items."])
        output.note(*result.warnings)

    run(body)


def _load_mapping(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        return check_mapping(json_file(path))
    except BadMapping as exc:
        raise Refusal(str(exc)) from exc


async def _load_request(
    workspace: Workspace, slug: str, *, delivery: int | None, file: Path | None
) -> tuple[Raw, str, int]:
    """Return the request to try, its delivery key, and the time when it was received."""
    if file is not None:
        content = await asyncio.to_thread(file.read_bytes)
        return load_request_file(content, kind=kind_of_file(content)), "file", system_clock()
    assert delivery is not None
    stored, _ = await load_delivery(workspace, id=delivery)
    if stored.source != slug:
        raise UnknownDelivery(f"delivery {delivery} came from `{stored.source}`, not from `{slug}`")
    return await raw_delivery(workspace, id=delivery), stored.key, stored.received_at


def _describe_item(item: ItemRequest, types: Mapping[str, ScoreType], *, received: int) -> dict[str, object]:
    """Return what an item would do, or why it would be quarantined, as a row of the result."""
    row = _render_item(item)
    if not isinstance(item, Ignored | Unusable) and (reason := refusal_reason(item, types, received=received)):
        return row | {"does": "quarantined", "reason": reason}
    return row


def _describe_for_people(item: ItemRequest, row: Mapping[str, object]) -> str:
    if isinstance(item, Ignored | Unusable) or row["does"] != "quarantined":
        return describe_item(item)
    return f"{describe_reference(item.contact)} → quarantined: {row['reason']}"


def _render_item(item: ItemRequest) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(("does", "contact", "score", "value", "occurred_at", "id", "reason"))
    row["id"] = item.key
    match item:
        case Ignored() | Unusable():
            return row | {"does": "ignored" if isinstance(item, Ignored) else "quarantined", "reason": item.reason}
        case Merge():
            into = f"into {_format_contact(item.into)}"
            return row | {"does": "merge", "contact": _format_contact(item.contact), "reason": into}
        case Split():
            return row | {"does": "split", "contact": _format_contact(item.id)}
        case Deletion():
            return row | {"does": "delete", "contact": _format_contact(item.contact)}
        case Item():
            action = item.op.value if item.op else f"activity {item.activity}" if item.activity else "upsert"
            at = output.moment(item.occurred_at) if item.occurred_at is not None else None
            value = to_json(item.amount) if action not in ("clear", "upsert") else None
            columns = {"does": action, "contact": _format_contact(item.contact), "score": item.score, "value": value}
            return row | columns | {"occurred_at": at, "reason": item.reason}


def _format_contact(contact: object) -> str:
    email, id = getattr(contact, "email", None), getattr(contact, "id", None)
    return " ".join(str(part) for part in (email, id and f"(id {id})" if email else id) if part)


def send_file(
    slug: str,
    file: Annotated[Path, typer.Argument(metavar="FILE.json", exists=True, dir_okay=False)],
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Sign FILE.json as the sender would and post it to the running service."""

    async def body(_: Storage, settings: Settings) -> tuple[str, int, str]:
        workspace = await the_workspace(team)
        source = await find_source(workspace.team, slug=slug)
        document, delivery = await asyncio.to_thread(file.read_bytes), f"msg_{randomness.token_hex(12)}"
        url = webhook_url(settings.url, source)
        request = prepare_request(source, document, url=url, delivery=delivery, now=system_clock())
        try:
            return url, *await post(request.url, body=request.body, headers=request.headers)
        except OSError as exc:
            raise Refusal(f"nobody answers at {url}: is `contact-score serve` running there?") from exc

    url, status, answer = run(body)
    if as_json:
        output.document({"status": status, "answer": _parse_answer(answer)})
    else:
        output.lines(f"{status} {answer.removeprefix(f'{status}: ')}")
        if status == 404:
            output.note(
                f"{url} answers, but has no such source. If the service is elsewhere, set CONTACT_SCORE_PUBLIC_URL"
            )
    if status != 200:
        raise typer.Exit(1)


def _parse_answer(answer: str) -> object:
    """Return the answer as JSON, or as text if it is not JSON, for example from a proxy."""
    try:
        return json.loads(answer)
    except ValueError:
        return answer
