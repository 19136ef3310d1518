"""`contact-score workspace`: add, configure and list workspaces."""

import asyncio
import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bot.cli import output
from bot.cli.run import AsJson, run, terminal_user
from bot.clock import system_clock
from bot.settings import Settings
from storage.alerts.enroll import choose_channel
from storage.alerts.hours import choose_working_hours, working_hours
from storage.bootstrap import Storage
from storage.domain.business_hours import check_zone, parse_hours, write_time
from storage.domain.errors import Refusal
from storage.domain.people import Role, Setters, Workspace
from storage.limits import MAINTENANCE
from storage.remove_workspace import count_contents, remove_workspace
from storage.workspaces import (
    LastAdmin,
    add_workspace,
    all_workspaces,
    change_admins,
    find_workspace,
    list_roles,
    load_choices,
    name_admins,
)

CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,31}", re.ASCII)


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


def set_up(
    team: Annotated[str, typer.Argument(metavar="T0123", help="Slack's id of the team.")],
    alert_channel: Annotated[str | None, typer.Option(metavar="C0123", help="Where follow-ups go.")] = None,
    admin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="U0123",
            help="The admins beside the workspace's own, in place of those so far; '' for none; repeatable.",
        ),
    ] = None,
    add_admin: Annotated[list[str] | None, typer.Option(metavar="U0123", help="One more admin; repeatable.")] = None,
    remove_admin: Annotated[
        list[str] | None, typer.Option(metavar="U0123", help="No longer an admin; repeatable.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option(metavar="Europe/Berlin", help="The time zone of the working hours.")
    ] = None,
    hours: Annotated[
        str | None, typer.Option(metavar="9:00-17:00", help="The working hours, Monday to Friday.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set where follow-ups go, who is an admin, and the working hours. Settings not given here stay."""
    if admin and (add_admin or remove_admin):
        raise typer.BadParameter("--admin sets the whole list: give it alone, or use --add-admin and --remove-admin")

    async def body(_: Storage, __: Settings) -> None:
        workspace = await find_workspace(team)
        if alert_channel and not CHANNEL.fullmatch(alert_channel):
            raise Refusal(f"`{alert_channel}` is not a channel id: Slack's look like C0123ABCD")
        chosen_hours = parse_hours(hours) if hours else None
        zone = await asyncio.to_thread(check_zone, time_zone) if time_zone else None
        if admin:
            people = [] if admin == [""] else admin
            await name_admins(workspace, people=people, by=terminal_user(), now=system_clock())
        if add_admin or remove_admin:
            await _change_admins(workspace, add_admin or [], remove_admin or [])
        if alert_channel:
            await choose_channel(workspace, channel=alert_channel, by=terminal_user(), now=system_clock())
        if zone or chosen_hours:
            await choose_working_hours(workspace, zone=zone, hours=chosen_hours, by=terminal_user(), now=system_clock())
        choices, working = await load_choices(workspace), await working_hours(workspace)
        span = f"{write_time(working.opens)}-{write_time(working.closes)}"
        if as_json:
            admins = list(choices.admins)
            output.document(
                {"workspace": team, "alert_channel": choices.alert_channel, "admins": admins}
                | {"time_zone": working.zone, "hours": span}
            )
        else:
            output.lines(
                f"Follow-ups go to {choices.alert_channel or 'the owner of a contact, else an admin'}.",
                f"Admins beside the workspace's own: {', '.join(choices.admins) or 'nobody'}.",
                *_describe_roles(choices.setters, await list_roles(workspace)),
                f"Working hours: Monday to Friday, {span} ({working.zone}).",
            )

    run(body)


async def _change_admins(workspace: Workspace, add: list[str], remove: list[str]) -> None:
    try:
        await change_admins(workspace, add=add, remove=remove, by=terminal_user(), now=system_clock())
    except LastAdmin as exc:
        raise Refusal(
            "nothing was changed: nobody would be named as an admin any more. Name another one with --add-admin; if the"
            " owners and admins of the Slack workspace are enough:"
            f" contact-score workspace set {workspace.team} --admin ''"
        ) from exc


def _describe_roles(setters: Setters, roles: Mapping[str, Role]) -> list[str]:
    """Return the roles in words; nothing while nobody has one and all members may set scores."""
    lines = [] if setters is Setters.MEMBERS else [f"Members without a role: {setters.role or 'see nothing'}."]
    named = [f"{subject} {role.value}" for subject, role in roles.items()]
    return lines + ([f"Roles: {', '.join(named)}."] if named else [])


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


def list_all(as_json: AsJson = False) -> None:
    """List the workspaces, with where follow-ups go, the named admins and the roles."""

    async def body(_: Storage, __: Settings) -> None:
        rows: list[dict[str, Any]] = []
        roles: list[dict[str, Any]] = []
        for workspace in await all_workspaces():
            choices = await load_choices(workspace)
            place = {"alert_channel": choices.alert_channel, "admins": list(choices.admins)}
            rows.append({"workspace": workspace.team, "name": workspace.name, **place})
            roles.append({"others": choices.setters.role, "roles": await list_roles(workspace)})
        if as_json:
            output.document({"workspaces": [row | more for row, more in zip(rows, roles, strict=True)]})
        else:
            table_rows = [{**row, "admins": ", ".join(row["admins"])} for row in rows]
            output.table(table_rows, none='No workspaces yet. Add one: contact-score workspace add T0123 --name "Acme"')

    run(body)
