"""List what sources delivered, what was set aside of it, and what was refused."""

from typing import Annotated

import typer

from bot.cli import output
from bot.cli.running import AsJson, Team, run, the_workspace
from bot.settings import Settings
from storage.deliveries import Delivery, deliveries, delivery, refused
from storage.domain.submissions import Status
from storage.opening import Storage

app = typer.Typer(no_args_is_help=True, help="Deliveries: the requests of sources.")


@app.command("list")
def list_all(
    source: Annotated[str | None, typer.Option(help="Of this source only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """List the latest deliveries, newest first, and what was refused."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        found = [_row(one) for one in await deliveries(workspace, source=source, most=limit)]
        turned_away = [
            {
                "source": one.source,
                "count": one.count,
                "last_at": output.moment(one.last_at),
                "reason": one.reason,
                "hint": one.hint,
            }
            for one in await refused(workspace)
            if source in (None, one.source)
        ]
        if as_json:
            output.document({"deliveries": found, "refused": turned_away})
            return
        output.table(found, none="Nothing was delivered yet.")
        for one in turned_away:
            output.lines("", f"Refused for `{one['source']}`: {one['count']}, last at {one['last_at']}.")
            output.lines(f"  Because: {one['reason']}. {one['hint']}")

    run(body)


@app.command()
def show(id: int, team: Team = None, as_json: AsJson = False) -> None:
    """Show one delivery with the items that could not be used, and why."""

    async def body(_: Storage, __: Settings) -> None:
        one, aside = await delivery(await the_workspace(team), id=id)
        rows = [{"item": each.position, "reason": each.reason, "content": each.item} for each in aside]
        if as_json:
            output.document({**_row(one), "items": rows})
            return
        output.table([_row(one)], none="")
        output.lines("")
        output.table(rows, none="Every item could be used.")

    run(body)


def _row(one: Delivery) -> dict[str, object]:
    counts: dict[str, object] = {
        Status.APPLIED: one.applied,
        Status.DUPLICATE: one.duplicate,
        Status.IGNORED: one.ignored,
        Status.QUARANTINED: one.quarantined,
    }
    counts = {str(status): count for status, count in counts.items()}
    return {
        "id": one.id,
        "source": one.source,
        "delivery": one.key,
        "received_at": output.moment(one.received_at),
        **counts,
    }
