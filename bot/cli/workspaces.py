"""`contact-score workspace`: add, configure and list workspaces."""

import re
from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import AsJson, run, terminal_user
from bot.cli.usage import Group
from bot.clock import system_clock
from bot.settings import Settings
from storage.alerts.enroll import choose_channel
from storage.bootstrap import Storage
from storage.domain.errors import Refusal
from storage.limits import MAINTENANCE
from storage.remove_workspace import count_contents, remove_workspace
from storage.workspaces import add_workspace, all_workspaces, find_workspace, load_choices, name_admins

CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,31}", re.ASCII)

app = typer.Typer(cls=Group, help="Workspaces: one for each Slack team.")


@app.command()
def add(
    team: Annotated[str, typer.Argument(metavar="T0123", help="Slack's id of the team.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    as_json: AsJson = False,
) -> None:
    """Add a workspace before the app is installed in Slack."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await add_workspace(team, name=name, by=terminal_user(), now=system_clock())
        if as_json:
            output.document({"workspace": workspace.team, "name": workspace.name})
        else:
            output.lines(
                f"Added the workspace {workspace.team}, {workspace.name}, with the score type `score` (0 to 100)."
            )

    run(body)


@app.command("set")
def set_up(
    team: Annotated[str, typer.Argument(metavar="T0123", help="Slack's id of the team.")],
    alert_channel: Annotated[str | None, typer.Option(metavar="C0123", help="Where follow-ups go.")] = None,
    admin: Annotated[
        list[str] | None, typer.Option(metavar="U0123", help="An admin beside the workspace's own; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set where follow-ups go, and who is an admin. Settings not given here stay."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await find_workspace(team)
        if alert_channel and not CHANNEL.fullmatch(alert_channel):
            raise Refusal(f"`{alert_channel}` is not a channel id: Slack's look like C0123ABCD")
        if admin:
            await name_admins(workspace, people=admin, by=terminal_user(), now=system_clock())
        if alert_channel:
            await choose_channel(workspace, channel=alert_channel, by=terminal_user(), now=system_clock())
        choices = await load_choices(workspace)
        if as_json:
            admins = list(choices.admins)
            output.document({"workspace": team, "alert_channel": choices.alert_channel, "admins": admins})
        else:
            output.lines(
                f"Follow-ups go to {choices.alert_channel or 'the owner of a contact, else an admin'}.",
                f"Admins beside the workspace's own: {', '.join(choices.admins) or 'nobody'}.",
            )

    run(body)


@app.command("remove")
def remove(
    team: Annotated[str, typer.Argument(metavar="T0123", help="Slack's id of the team.")],
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="T0123", help="Remove without asking: its id once more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete a workspace with all its contacts, scores, sources and settings, for good. It asks for the id once more.

    Messages that the app posted in Slack stay there. Stop the service first, or remove the app from that Slack.
    """

    async def body(_: Storage, __: Settings) -> None:
        workspace = await find_workspace(team)
        if yes is not None and yes != team:
            raise Refusal(f"nothing was deleted: --yes names `{yes}`, and the workspace is {team}")
        contents = await count_contents(workspace)
        sizes = ", ".join(
            output.count(number, noun)
            for number, noun in (
                (contents.contacts, "contact"),
                (contents.changes, "change"),
                (contents.sources, "source"),
            )
        )
        if not as_json:
            output.note(
                f"To be deleted for good: {workspace.team}, {workspace.name}, with {sizes}.",
                f"To keep a copy, first: contact-score export --workspace {team} --json -o {team}.json",
            )
        if yes is None and (as_json or output.ask(f"Type {team} to delete it") != team):
            raise Refusal(f"nothing was deleted; to delete the workspace, add --yes {team}")
        with output.progress_bar("Deleting", total=None) as on_progress:
            rows = await remove_workspace(workspace, progress=on_progress)
        if as_json:
            output.document({"workspace": team, "removed": True, "contacts": contents.contacts, "rows": rows})
        else:
            output.lines(f"Deleted the workspace {team}, with {sizes}.")

    run(body, limits=MAINTENANCE)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List the workspaces."""

    async def body(_: Storage, __: Settings) -> None:
        rows = [{"workspace": workspace.team, "name": workspace.name} for workspace in await all_workspaces()]
        if as_json:
            output.document({"workspaces": rows})
        else:
            output.table(rows, none='No workspaces yet. Add one: contact-score workspace add T0123 --name "Acme"')

    run(body)
