"""Write the rules of all score types to a file, and take them from one."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.cli import output
from bot.cli.definition_changes import as_document, print_preview, redefine
from bot.cli.run import AsJson, Team, run, the_workspace
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.contacts import check_text
from storage.domain.errors import BadDefinition, BadNumber, Refusal
from storage.domain.numbers import from_json, show
from storage.domain.rules import check_rules
from storage.domain.score_types import Rule, RuleCap, ScoreType
from storage.scoring.definitions import score_types

app = typer.Typer(no_args_is_help=True, help="Rules: what activities and attributes are worth.")


_BEGINS = re.compile(r"\s*\[\[\s*rule\s*\]\]")


class BadRules(Refusal):
    """That file holds no rules."""


class _Written(BaseModel):
    """One rule of a file."""

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)

    score: str
    name: str
    points: int | float
    activity: str | None = None
    condition: Annotated[str, Field(alias="if")] = ""
    cap: int | float | None = None
    per: str | None = None
    group: str | None = None


@app.command("export")
def export_rules(
    out: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", dir_okay=False)] = None,
    team: Team = None,
) -> None:
    """Write the rules as TOML, as `rules apply` takes them."""

    async def body(_: Storage, __: Settings) -> str:
        known = await score_types(await the_workspace(team))
        return "\n".join(_toml(one, rule) for one in known for rule in one.rules)

    text = run(body)
    if out is None:
        output.lines(*text.splitlines())
    else:
        out.write_text(text, encoding="utf-8")
        output.note(f"Wrote {text.count('[[rule]]')} rules to {out}.")


@app.command("apply")
def apply_rules(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for follow-ups for those who come into a region.")] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Let the rules of a file be the rules of every score type; what it does not name has none then."""

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        known = await score_types(workspace)
        wanted = _read(file, known)
        changing = [replace(one, rules=wanted[one.key]) for one in known if wanted[one.key] != one.rules]
        told = await redefine(workspace, changing, dry_run=dry_run, asks=ask)
        if as_json:
            output.document({"types": [as_document(one) for one in told], "applied": not dry_run})
            return
        if not told:
            output.lines("Nothing to do: these are the rules already.")
        for one in told:
            await print_preview(workspace, one, dry_run=dry_run, asks=ask)

    run(body)


def _read(file: Path, types: Sequence[ScoreType]) -> dict[str, tuple[Rule, ...]]:
    """Read a file; raises BadRules, with the line, and the column where one is known."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        document = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        raise BadRules(f"the file {file.name} is not UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise BadRules(f"this is no TOML in {file.name}: {exc}") from exc
    except RecursionError as exc:
        raise BadRules(f"the lists in {file.name} are nested too deep") from exc
    check_text(document, f"a text in {file.name}")
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if _BEGINS.match(line)]
    rows: Any = document.pop("rule", [])
    if document or not isinstance(rows, list):
        held = ", ".join(document) or "one rule"
        raise BadRules(f"there is {held} in {file.name}; write each rule under a line [[rule]]")
    by_key = {one.key: one for one in types}
    found: dict[str, list[Rule]] = {one.key: [] for one in types}
    for place, row in enumerate(rows):
        where = f"line {lines[place]} of {file.name}" if place < len(lines) else f"rule {place + 1} of {file.name}"
        try:
            written = _Written.model_validate(row)
            if written.score not in by_key:
                raise BadDefinition(f"there is no score type `{written.score}`; there is {', '.join(by_key)}")
            rule = _rule(written)
            check_rules([*found[written.score], rule], by_key[written.score])
        except ValidationError as exc:
            error = exc.errors(include_url=False, include_input=False)[0]
            raise BadRules(f"{where}: `{error['loc'][0]}`: {error['msg']}") from exc
        except (BadDefinition, BadNumber) as exc:
            raise BadRules(f"{where}: {exc}") from exc
        found[written.score].append(rule)
    return {key: tuple(rules) for key, rules in found.items()}


def _rule(written: _Written) -> Rule:
    if (written.cap is None) != (written.per is None):
        raise BadDefinition('a cap needs both: cap = 20 and per = "day" (week, month, ever)')
    cap = None
    if written.cap is not None and written.per is not None:
        cap = RuleCap(points=_points(written.cap), period=written.per, group=written.group)
    points, condition = _points(written.points), written.condition
    return Rule(name=written.name, points=points, activity=written.activity, condition=condition, cap=cap)


def _points(number: float) -> int:
    return from_json(number if isinstance(number, int) else str(number))


def _toml(score_type: ScoreType, rule: Rule) -> str:
    lines = ["[[rule]]", f"score = {_quoted(score_type.key)}", f"name = {_quoted(rule.name)}"]
    lines += [f"activity = {_quoted(rule.activity)}"] if rule.activity is not None else []
    lines.append(f"points = {show(rule.points)}")
    lines += [f"if = {_quoted(rule.condition)}"] if rule.condition else []
    if rule.cap is not None:
        lines += [f"cap = {show(rule.cap.points)}", f"per = {_quoted(rule.cap.period)}"]
        lines += [f"group = {_quoted(rule.cap.group)}"] if rule.cap.group is not None else []
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in escaped) + '"'
