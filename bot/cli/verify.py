"""`contact-score verify`: recalculate all scores and report differences from the stored ones."""

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
from storage.limits import MAINTENANCE
from storage.workspaces import all_workspaces, find_workspace

MAX_DIFFERENCES_SHOWN = 1000


def verify(team: Team = None, as_json: AsJson = False) -> None:
    """Recalculate everything from the ledger and report what differs: exit code 1 if anything does, else 0."""

    async def body(_: Storage, __: Settings) -> int:
        workspaces = [await find_workspace(team)] if team is not None else await all_workspaces()
        counts, differences = {"contacts": 0, "scores": 0, "differences": 0}, list[dict[str, object]]()
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
            for workspace in workspaces:
                await _verify_workspace(workspace, counts, differences, progress)
        if as_json:
            number = counts["differences"]
            output.document({**counts, "differences": differences, "number_of_differences": number})
        else:
            for difference in differences:
                location = f"{difference['workspace']}, contact {difference['contact']}, {difference['what']}"
                output.lines(
                    f"{location}: stored {difference['kept'] or 'nothing'},"
                    f" recalculated {difference['folded'] or 'nothing'}"
                )
            contacts, scores = output.count(counts["contacts"], "contact"), output.count(counts["scores"], "score")
            output.lines(f"{contacts} with {scores} recalculated: {_format_differences(counts['differences'])}.")
        return counts["differences"]

    if run(body, limits=MAINTENANCE):
        raise typer.Exit(1)


async def _verify_workspace(
    workspace: Workspace, counts: dict[str, int], differences: list[dict[str, object]], progress: Progress
) -> None:
    bar = progress.add_task(workspace.team, total=await contacts_to_verify(workspace))
    last: int | None = 0
    while last is not None:
        result = await verify_next(workspace, after=last)
        last = result.last
        counts["contacts"] += result.contacts
        counts["scores"] += result.scores
        counts["differences"] += len(result.differences)
        for difference in result.differences[: max(0, MAX_DIFFERENCES_SHOWN - len(differences))]:
            row = {"workspace": workspace.team, "contact": difference.contact, "what": difference.what}
            differences.append({**row, "kept": difference.kept, "folded": difference.folded})
        progress.update(bar, advance=result.contacts)


def _format_differences(number: int) -> str:
    return {0: "no difference", 1: "one difference"}.get(number, f"{number} differences")
