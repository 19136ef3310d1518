"""`contact-score deliveries`: list, show and replay deliveries of sources, and discard items in quarantine."""

from typing import Annotated, TypedDict

import typer

from bot.cli import output
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.errors import UnknownDelivery
from storage.domain.people import Workspace
from storage.domain.submissions import Status
from storage.sources.config import find_source
from storage.sources.deliveries import Delivery, deliveries, delivery, discard_items, list_refusals, raw_delivery
from webhooks.read.parse_delivery import replay as replay_delivery


def list_all(
    source: Annotated[str | None, typer.Option(help="Of this source only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """List the latest deliveries, newest first, and what was refused."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        if source is not None:
            await find_source(workspace.team, slug=source)  # raise on a misspelled name, instead of an empty list
        rows = [_render_row(delivery) for delivery in await deliveries(workspace, source=source, most=limit)]
        refusals = [
            {
                "source": refusal.source,
                "count": refusal.count,
                "last_at": output.moment(refusal.last_at),
                "reason": refusal.reason,
                "hint": refusal.hint,
            }
            for refusal in await list_refusals(workspace)
            if source in (None, refusal.source)
        ]
        if as_json:
            output.document({"deliveries": rows, "refused": refusals})
            return
        output.table(rows, none="Nothing was delivered yet.")
        for refusal in refusals:
            output.lines("", f"Refused for `{refusal['source']}`: {refusal['count']}, last at {refusal['last_at']}.")
            output.lines(f"  Because: {refusal['reason']}. {refusal['hint']}")

    run(body)


def show(id: int, team: Team = None, as_json: AsJson = False) -> None:
    """Show one delivery with the items that could not be used, and why."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        record, quarantined = await delivery(workspace, id=id)
        request = await _load_request(workspace, id)
        rows = [{"item": item.position, "reason": item.reason, "content": item.item} for item in quarantined]
        if as_json:
            output.document({**_render_row(record), "items": rows, "request": request})
            return
        output.table([_render_row(record)], none="")
        output.lines("")
        output.table(rows, none="Every item could be used.")
        if request is not None:
            headers = [f"{name}: {value}" for name, value in request["headers"].items()]
            output.lines("", f"{request['method']} {request['query']}".strip(), *headers, "", request["body"])

    run(body)


class _Request(TypedDict):
    method: str
    query: str
    headers: dict[str, str]
    body: str


async def _load_request(workspace: Workspace, id: int) -> _Request | None:
    """Return the stored request of a delivery, or None if it was deleted; bytes that are not UTF-8 are escaped."""
    try:
        raw = await raw_delivery(workspace, id=id)
    except UnknownDelivery:
        return None
    body = raw.body.decode("utf-8", "backslashreplace")
    return {"method": raw.method, "query": raw.query, "headers": dict(raw.headers), "body": body}


def replay(id: int, team: Team = None, as_json: AsJson = False) -> None:
    """Replay a stored delivery after its mapping, score type or provider was fixed. It creates no follow-ups."""

    async def body(storage: Storage, _: Settings) -> None:
        workspace = await the_workspace(team)
        recorded = await replay_delivery(workspace, id=id, by=terminal_user(), now=system_clock())
        counts: dict[str, object] = {str(status): recorded.count(status) for status in Status}
        if as_json:
            items = [{"status": outcome.status, "reason": outcome.reason} for outcome in recorded.outcomes]
            output.document({"id": id, **counts, "items": items})
            return
        output.lines(
            f"Read delivery {id} again: " + ", ".join(f"{count} {status}" for status, count in counts.items()) + "."
        )
        quarantined = [outcome for outcome in recorded.outcomes if outcome.status is Status.QUARANTINED]
        output.lines(*(f"  Still set aside: {outcome.reason}" for outcome in quarantined))

    run(body)


def discard(
    ids: Annotated[list[int], typer.Argument(metavar="ID…", help="Deliveries with items to discard.")],
    item: Annotated[
        list[int] | None, typer.Option(help="Only this item, as `deliveries show` numbers it; repeatable.")
    ] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Discard the items of deliveries that are in quarantine: they are never replayed, and nobody is told of them."""
    if item and len(ids) > 1:
        raise typer.BadParameter("--item goes with one delivery")

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        rows: list[dict[str, object]] = []
        for id in ids:
            await delivery(workspace, id=id)  # refuse before anything is discarded
        for id in ids:
            number = await discard_items(workspace, id=id, positions=item, by=terminal_user(), now=system_clock())
            rows.append({"id": id, "discarded": number})
        if as_json:
            output.document({"deliveries": rows})
            return
        for row in rows:
            output.lines(f"Delivery {row['id']}: {row['discarded']} discarded.")

    run(body)


def _render_row(delivery: Delivery) -> dict[str, object]:
    counts: dict[str, object] = {
        Status.APPLIED: delivery.applied,
        Status.DUPLICATE: delivery.duplicate,
        Status.IGNORED: delivery.ignored,
        Status.QUARANTINED: delivery.quarantined,
    }
    counts = {str(status): count for status, count in counts.items()}
    return {
        "id": delivery.id,
        "source": delivery.source,
        "delivery": delivery.key,
        "received_at": output.moment(delivery.received_at),
        **counts,
    }
