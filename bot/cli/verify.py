"""Fold everything again and report any difference from what is kept."""

import sys

import typer
from rich.console import Console
from rich.progress import Progress

from bot.cli import output
from bot.cli.run import AsJson, Team, run
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.people import Workspace
from storage.ledger.verify import contacts_to_verify, verify_next
from storage.workspaces import all_workspaces, find_workspace

MOST_TOLD = 1000


def verify(team: Team = None, as_json: AsJson = False) -> None:
    """Fold the ledger again and report what is kept otherwise: exit code 1 where anything is, else 0."""

    async def body(_: Storage, __: Settings) -> int:
        workspaces = [await find_workspace(team)] if team is not None else await all_workspaces()
        counts, told = {"contacts": 0, "scores": 0, "differences": 0}, list[dict[str, object]]()
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            for workspace in workspaces:
                await _verify(workspace, counts, told, progress)
        if as_json:
            number = counts["differences"]
            output.document({**counts, "differences": told, "number_of_differences": number})
        else:
            for one in told:
                where = f"{one['workspace']}, contact {one['contact']}, {one['what']}"
                output.lines(f"{where}: kept is {one['kept'] or 'nothing'}, folded {one['folded'] or 'nothing'}")
            contacts, scores = output.count(counts["contacts"], "contact"), output.count(counts["scores"], "score")
            output.lines(f"{contacts} with {scores} folded again: {_differences(counts['differences'])}.")
        return counts["differences"]

    if run(body):
        raise typer.Exit(1)


async def _verify(
    workspace: Workspace, counts: dict[str, int], told: list[dict[str, object]], progress: Progress
) -> None:
    bar = progress.add_task(workspace.team, total=await contacts_to_verify(workspace))
    last: int | None = 0
    while last is not None:
        found = await verify_next(workspace, after=last)
        last = found.last
        counts["contacts"] += found.contacts
        counts["scores"] += found.scores
        counts["differences"] += len(found.differences)
        for one in found.differences[: max(0, MOST_TOLD - len(told))]:
            row = {"workspace": workspace.team, "contact": one.contact, "what": one.what}
            told.append({**row, "kept": one.kept, "folded": one.folded})
        progress.update(bar, advance=found.contacts)


def _differences(number: int) -> str:
    return {0: "no difference", 1: "one difference"}.get(number, f"{number} differences")
