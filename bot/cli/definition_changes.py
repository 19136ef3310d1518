"""Build a draft of a score type with a progress bar, say what it would change, and apply it or not."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.progress import Progress

from bot.cli import output
from bot.clock import system_clock
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger.contacts import contacts
from storage.ledger.verify import contacts_to_verify
from storage.scoring.definitions import score_types
from storage.scoring.drafts import Preview, apply, build, cancel, draft, only_names, preview


async def redefine(
    workspace: Workspace, wanted: Sequence[ScoreType], *, dry_run: bool, asks: bool
) -> list[Preview | ScoreType]:
    """Change types, or only say what would change; gives a preview for each, or the type where nothing moves."""
    told: list[Preview | ScoreType] = []
    live = {one.key: one for one in await score_types(workspace)}
    for one in wanted:
        if dry_run:  # what it is called, and which one is the default, is changed at once, so it is not tried
            one = replace(one, is_default=live[one.key].is_default)
        names = dry_run and only_names(live[one.key], one)
        made = None if names else await draft(workspace, wanted=one, now=system_clock())
        if made is None:
            told.append(one)
            continue
        await _build(workspace, made)
        seen = await preview(workspace, draft=made, now=system_clock())
        told.append(seen)
        if dry_run:
            await cancel(workspace, draft=made)
        else:
            await apply(workspace, draft=made, asks=asks, now=system_clock())
    return told


async def _build(workspace: Workspace, made: ScoreType) -> None:
    total = await contacts_to_verify(workspace)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task(made.label, total=total)
        await build(
            workspace, draft=made, progress=lambda done: progress.update(bar, completed=done), now=system_clock()
        )


def as_document(seen: Preview | ScoreType) -> dict[str, object]:
    """Write what changed, or would."""
    if isinstance(seen, ScoreType):
        return {"type": seen.key, "changed": 0, "entering": 0, "leaving": 0, "asking": 0}
    counts = {"changed": seen.changed, "entering": seen.entering, "leaving": seen.leaving, "asking": seen.asking}
    return {"type": seen.draft.key, **counts}


async def print_preview(workspace: Workspace, seen: Preview | ScoreType, *, dry_run: bool, asks: bool) -> None:
    """Say to people what changed, or would."""
    if isinstance(seen, ScoreType):
        output.lines(f"{seen.label}: no score changes by this.")
        return
    names = {one.id: one.shown for one in await contacts(workspace, ids=[id for id, _, _ in seen.first])}
    first = [(names.get(id, str(id)), before, after) for id, before, after in seen.first]
    output.moved(
        seen.draft, changed=seen.changed, entering=seen.entering, leaving=seen.leaving, first=first, dry_run=dry_run
    )
    if seen.asking:
        did = "asked for" if asks and not dry_run else "would be asked for with --ask"
        output.lines(f"{output.count(seen.asking, 'follow-up')} {did}.")
