"""Change definitions of score types from the command line: build a draft, preview it, apply or cancel it."""

import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.progress import Progress

from bot.cli import output
from bot.cli.run import terminal_user
from bot.clock import system_clock
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.ledger.contacts import contacts
from storage.ledger.verify import contacts_to_verify
from storage.scoring.definitions import score_types
from storage.scoring.drafts import Preview, apply, build, cancel, changes_only_names, create_draft, preview


async def redefine(
    workspace: Workspace, definitions: Sequence[ScoreType], *, dry_run: bool, should_ask: bool
) -> list[Preview | ScoreType]:
    """Change score types, or with *dry_run* only preview the changes.

    Return a preview for each definition, or the definition itself if no score is affected.
    """
    results: list[Preview | ScoreType] = []
    current = {score_type.key: score_type for score_type in await score_types(workspace)}
    for definition in definitions:
        if dry_run:  # a new default would be applied at once, so a dry run leaves it out
            definition = replace(definition, is_default=current[definition.key].is_default)
        is_rename = dry_run and changes_only_names(current[definition.key], definition)
        new_draft = (
            None
            if is_rename
            else await create_draft(workspace, proposed=definition, by=terminal_user(), now=system_clock())
        )
        if new_draft is None:
            results.append(definition)
            continue
        await _build_draft(workspace, new_draft)
        change = await preview(workspace, draft=new_draft, now=system_clock())
        if dry_run:
            await cancel(workspace, draft=new_draft, clock=system_clock)
        else:
            follow_ups = await apply(
                workspace, draft=new_draft, with_alerts=should_ask, by=terminal_user(), clock=system_clock
            )
            change = replace(change, follow_ups=follow_ups or 0) if should_ask else change
        results.append(change)
    return results


async def _build_draft(workspace: Workspace, new_draft: ScoreType) -> None:
    total = await contacts_to_verify(workspace)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        bar = progress.add_task(new_draft.label, total=total)
        await build(
            workspace, draft=new_draft, progress=lambda done: progress.update(bar, completed=done), clock=system_clock
        )


def as_document(change: Preview | ScoreType) -> dict[str, object]:
    """Return a change as a JSON document."""
    if isinstance(change, ScoreType):
        return {"type": change.key, "changed": 0, "entering": 0, "leaving": 0, "asking": 0}
    counts = {
        "changed": change.changed,
        "entering": change.entering,
        "leaving": change.leaving,
        "asking": change.follow_ups,
    }
    return {"type": change.draft.key, **counts}


async def print_preview(workspace: Workspace, change: Preview | ScoreType, *, dry_run: bool, should_ask: bool) -> None:
    """Print a change as text."""
    if isinstance(change, ScoreType):
        output.lines(f"{change.label}: no score changes by this.")
        return
    names = {
        contact.id: contact.shown
        for contact in await contacts(workspace, ids=[id for id, _, _ in change.first_entering])
    }
    first_moves = [(names.get(id, str(id)), before, after) for id, before, after in change.first_entering]
    output.moved(
        change.draft,
        changed=change.changed,
        entering=change.entering,
        leaving=change.leaving,
        first=first_moves,
        dry_run=dry_run,
    )
    if change.follow_ups:
        outcome = "created" if should_ask and not dry_run else "would be created with --ask"
        output.lines(f"{output.count(change.follow_ups, 'follow-up')} {outcome}.")
