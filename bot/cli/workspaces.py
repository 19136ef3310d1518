"""Add and list workspaces."""

from typing import Annotated

import typer

from bot.cli import output
from bot.cli.running import AsJson, run
from bot.clock import system_clock
from bot.settings import Settings
from storage.opening import Storage
from storage.workspaces import add_workspace, all_workspaces

app = typer.Typer(no_args_is_help=True, help="Workspaces: one for each Slack team.")


@app.command()
def add(
    team: Annotated[str, typer.Argument(metavar="T0123", help="Slack's id of the team.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    as_json: AsJson = False,
) -> None:
    """Make a workspace without Slack having installed it yet."""

    async def body(_: Storage, __: Settings) -> None:
        made = await add_workspace(team, name=name, now=system_clock())
        if as_json:
            output.document({"workspace": made.team, "name": made.name})
        else:
            output.lines(f"Made the workspace {made.team}, {made.name}, with the score type `score` (0 to 100).")

    run(body)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the workspaces."""

    async def body(_: Storage, __: Settings) -> None:
        rows = [{"workspace": one.team, "name": one.name} for one in await all_workspaces()]
        if as_json:
            output.document({"workspaces": rows})
        else:
            output.table(rows, none='No workspace yet. Make one: contact-score workspace add T0123 --name "Acme"')

    run(body)
