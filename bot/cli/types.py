"""`contact-score type`: add, change and list score types."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from bot.cli import output
from bot.cli.definition_changes import as_document, print_preview, redefine
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.durations import parse_span, write_span
from storage.domain.numbers import parse, show
from storage.domain.score_types import ScoreType, parse_band
from storage.reading import documents
from storage.scoring.definitions import add_score_type, score_type, score_types
from storage.scoring.removal import add_again, is_removed, remove_score_type

BAND = "NAME:FROM[:COLOR]"


def add(
    key: Annotated[str, typer.Argument(help="A short key: fit, renewal.")],
    label: Annotated[str, typer.Option(help="What people read; by default the key.")] = "",
    minimum: Annotated[str, typer.Option("--min")] = "0",
    maximum: Annotated[str, typer.Option("--max")] = "100",
    step: Annotated[str, typer.Option(help="1, 0.5, 0.001 …")] = "1",
    start: Annotated[
        str | None, typer.Option(help="The value that scores start from; by default the one nearest to 0.")
    ] = None,
    band: Annotated[list[str] | None, typer.Option(metavar=BAND, help="Lowest first; repeatable.")] = None,
    half_life: Annotated[
        str | None, typer.Option(metavar="30d", help="Fade: the time in which a score loses half. 24h, 30d, 2w.")
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the default score type.")] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Add a score type. One that was removed gets its scores back: they are recalculated from its changes."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        values: dict[str, Any] = {
            "key": key,
            "label": label or key.replace("_", " ").capitalize(),
            "minimum": parse(minimum),
            "maximum": parse(maximum),
            "step": parse(step),
            "start": None if start is None else parse(start),
            "bands": [parse_band(text) for text in band or ()],
            "half_life": None if half_life is None else parse_span(half_life),
            "is_default": default,
            "by": terminal_user(),
        }
        if await is_removed(workspace, key=key):
            added = await add_again(workspace, **values, clock=system_clock)
            assert added is not None  # it waits without a limit
        else:
            added = await add_score_type(workspace, **values, now=system_clock())
        if as_json:
            output.document(_render_document(added))
        else:
            half_life_shown = f", half-life {write_span(added.half_life)}" if added.half_life else ""
            step_shown = f"step {show(added.step)}"
            output.lines(
                f"Added the score type `{added.key}`: {added.label}, {added.range_shown},"
                f" {step_shown}{half_life_shown}."
            )

    run(body)


def change(
    key: Annotated[str, typer.Argument(help="The key of the type to change.")],
    label: Annotated[str | None, typer.Option(help="What people read.")] = None,
    minimum: Annotated[str | None, typer.Option("--min")] = None,
    maximum: Annotated[str | None, typer.Option("--max")] = None,
    step: Annotated[str | None, typer.Option(help="1, 0.5, 0.001 …")] = None,
    start: Annotated[str | None, typer.Option(help="The value that scores start from.")] = None,
    band: Annotated[list[str] | None, typer.Option(metavar=BAND, help="All bands, lowest first.")] = None,
    half_life: Annotated[str | None, typer.Option(metavar="30d", help="24h, 30d, 2w; none: no fading.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Make it the default score type.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Create follow-ups for contacts that newly meet an alert rule.")
    ] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Change a score type. Settings not given here stay, and every score is recalculated."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        current = await score_type(workspace, key=key)
        new_half_life = (
            current.half_life if half_life is None else None if half_life == "none" else parse_span(half_life)
        )
        definition = replace(
            current,
            label=current.label if label is None else label,
            minimum=current.minimum if minimum is None else parse(minimum),
            maximum=current.maximum if maximum is None else parse(maximum),
            step=current.step if step is None else parse(step),
            start=current.start if start is None else parse(start),
            bands=current.bands if band is None else tuple(parse_band(text) for text in band),
            half_life=new_half_life,
            is_default=current.is_default or default,
        )
        (preview,) = await redefine(workspace, [definition], dry_run=dry_run, should_ask=ask)
        if as_json:
            changed = await score_type(workspace, key=key)
            output.document({**_render_document(changed), **as_document(preview), "applied": not dry_run})
        else:
            await print_preview(workspace, preview, dry_run=dry_run, should_ask=ask)

    run(body)


def remove(
    key: Annotated[str, typer.Argument(help="The key of the type to remove.")],
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Remove a score type that nothing uses. Its changes stay: adding it again brings its scores back."""

    async def body(_: Storage, __: Settings) -> None:
        removed = await remove_score_type(await the_workspace(team), key=key, by=terminal_user(), clock=system_clock)
        if as_json:
            output.document({"key": removed.key, "removed": True, "rules": len(removed.rules)})
            return
        rules = f" and its {output.count(len(removed.rules), 'rule')}" if removed.rules else ""
        output.lines(
            f"Removed the score type `{removed.key}`{rules}.",
            f"Its changes stay in the ledger: contact-score type add {removed.key} recalculates its scores from them.",
        )

    run(body)


def list_all(team: Team = None, as_json: AsJson = False) -> None:
    """List the score types, the default one first."""

    async def body(_: Storage, __: Settings) -> None:
        types = await score_types(await the_workspace(team))
        if as_json:
            output.document({"types": [_render_document(score_type) for score_type in types]})
            return
        rows = [
            {
                "key": score_type.key,
                "label": score_type.label,
                "range": score_type.range_shown,
                "step": show(score_type.step),
                "bands": ", ".join(band.shown for band in score_type.bands),
                "half_life": write_span(score_type.half_life) if score_type.half_life else "",
                "default": "yes" if score_type.is_default else "",
            }
            for score_type in types
        ]
        output.table(rows, none="No score types yet.")

    run(body)


def _render_document(definition: ScoreType) -> dict[str, object]:
    return dict(documents.score_type(definition))
