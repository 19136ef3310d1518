"""Run commands with the storage open; a refusal becomes one line on standard error and exit code 1."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer

from bot.cli import output
from bot.settings import BadSettings, Settings, read_settings
from storage.bootstrap import Storage, open_storage
from storage.domain.errors import Refusal
from storage.domain.people import Workspace
from storage.limits import DEFAULT_LIMITS, Limits
from storage.workspaces import all_workspaces, find_workspace

T = TypeVar("T")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Team = Annotated[str | None, typer.Option("--workspace", metavar="T0123", help="Required if there are several.")]


def run(body: Callable[[Storage, Settings], Awaitable[T]], *, limits: Limits = DEFAULT_LIMITS) -> T:
    """Run *body* with the storage open and return its result; a refusal ends the program with exit code 1."""
    with refusals():
        settings = read_settings()

        async def run_with_storage() -> T:
            storage = await open_storage(settings.database_url, secret_keys=settings.keys, limits=limits)
            try:
                return await body(storage, settings)
            finally:
                await storage.close()

        return asyncio.run(run_with_storage())


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a Refusal, BadSettings or OSError into one line on standard error and exit code 1."""
    try:
        yield
    except (Refusal, BadSettings) as exc:
        message = str(exc)
        output.note(f"{message[:1].upper()}{message[1:]}")
        raise typer.Exit(1) from exc
    except BrokenPipeError as exc:  # `contact-score export | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python can flush the rest at its end
        raise typer.Exit(1) from exc
    except OSError as exc:  # a missing folder, a file without write permission
        output.note(f"{exc.strerror or exc}: {exc.filename or ''}")
        raise typer.Exit(1) from exc


def terminal_user() -> str:
    """Return who runs the command, for the record of changes: `cli:` and the name of the operating system's user."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # the user of a container may have no name
        return "cli"


async def the_workspace(team: str | None) -> Workspace:
    """Return the named workspace, or the only one if *team* is None; raises a Refusal if there is none or several."""
    if team is not None:
        return await find_workspace(team)
    workspaces = await all_workspaces()
    if len(workspaces) == 1:
        return workspaces[0]
    if not workspaces:
        raise Refusal('there is no workspace yet, add one: contact-score workspace add T0123 --name "Acme"')
    raise Refusal(
        f"choose a workspace: --workspace {' or --workspace '.join(workspace.team for workspace in workspaces)}"
    )
