"""`contact-score rules`: export scoring rules as TOML and apply them from a TOML or CSV file."""

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.cli import output
from bot.cli.definition_changes import as_document, print_preview, redefine
from bot.cli.rules_csv import read_csv_rules
from bot.cli.run import AsJson, Team, run, the_workspace
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.contacts import check_text
from storage.domain.errors import BadDefinition, BadNumber, Refusal
from storage.domain.numbers import from_json, show
from storage.domain.rules import check_rules
from storage.domain.score_types import Rule, RuleCap, ScoreType
from storage.domain.validation import did_you_mean, explain_invalid
from storage.scoring.definitions import score_types
from storage.transfer.export import list_attributes

_RULE_HEADER = re.compile(r"\s*\[\[\s*rule\s*\]\]")


class BadRules(Refusal):
    """That file has no rules."""


class _RuleEntry(BaseModel):
    """One rule in a TOML file."""

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)

    score: str
    name: str
    points: int | float
    activity: str | None = None
    condition: Annotated[str, Field(alias="if")] = ""
    for_each: str = ""
    at_most: int | float | None = None
    cap: int | float | None = None
    per: str | None = None
    group: str | None = None


def export_rules(
    out: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", dir_okay=False)] = None,
    team: Team = None,
) -> None:
    """Write the rules as TOML, as `rules apply` takes them."""

    async def body(_: Storage, __: Settings) -> str:
        types = await score_types(await the_workspace(team))
        return "\n".join(_render_rule(score_type, rule) for score_type in types for rule in score_type.rules)

    text = run(body)
    if out is None:
        output.lines(*text.splitlines())
    else:
        out.write_text(text, encoding="utf-8")
        output.note(f"Wrote {text.count('[[rule]]')} rules to {out}.")


def apply_rules(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml|FILE.csv", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Create follow-ups for contacts that newly meet an alert rule.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove rules that the file does not have, without asking.")
    ] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Replace the rules with those in a file. --dry-run previews the changes.

    If rules are removed, it says which and asks; elsewhere than on a terminal it needs --yes.
    A TOML file has the rules of every score type; a type that it does not name has none afterwards.
    A CSV file has the columns attribute, value and points, and score if the rules are not for the default score.
    A value is a text, a comparison (>=50) or a range (3..5). The file replaces only the rules about the value of one
    attribute.
    """

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        types = await score_types(workspace)
        if file.suffix.lower() == ".csv":
            rules_by_type = read_csv_rules(file, types, attributes=await list_attributes(workspace))
        else:
            rules_by_type = _read_rules(file, types)
        changed_types = [
            replace(score_type, rules=rules_by_type[score_type.key])
            for score_type in types
            if rules_by_type[score_type.key] != score_type.rules
        ]
        removed = [name for score_type in types for name in _list_removed(score_type, rules_by_type[score_type.key])]
        if removed:
            _confirm_removal(removed, file, is_allowed=yes or dry_run, as_json=as_json)
        changes = await redefine(workspace, changed_types, dry_run=dry_run, should_ask=ask)
        if as_json:
            output.document({"types": [as_document(change) for change in changes], "applied": not dry_run})
            return
        if not changes:
            output.lines("Nothing to do: these are the rules already.")
        for change in changes:
            await print_preview(workspace, change, dry_run=dry_run, should_ask=ask)

    run(body)


def _list_removed(score_type: ScoreType, rules: Sequence[Rule]) -> list[str]:
    """Return the rules of a score type that have no rule of the same name among the new *rules*."""
    left = Counter(rule.name for rule in score_type.rules) - Counter(rule.name for rule in rules)
    return [f"{name} ({score_type.key})" for name in left.elements()]


def _confirm_removal(removed: Sequence[str], file: Path, *, is_allowed: bool, as_json: bool) -> None:
    """Print which rules would be removed, and ask for confirmation. Raises Refusal without a confirmation."""
    count = output.count(len(removed), "rule")
    sentence = f"The file {file.name} removes {count}: {', '.join(removed)}."
    if not as_json and (is_allowed or output.is_interactive()):
        output.note(sentence)
    if is_allowed or (not as_json and output.confirm(f"Remove {count}?")):
        return
    raise Refusal(f"{sentence} Nothing was changed; add --yes to remove {'it' if len(removed) == 1 else 'them'}")


def _read_rules(file: Path, types: Sequence[ScoreType]) -> dict[str, tuple[Rule, ...]]:
    """Return the rules in a TOML file, by score type.

    Raises BadRules with the line of the rule, or its position if the line is unknown.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        document = tomllib.loads(text)
    except UnicodeDecodeError as exc:
        raise BadRules(f"the file {file.name} is not UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise BadRules(f"the file {file.name} is not TOML: {exc}") from exc
    except RecursionError as exc:
        raise BadRules(f"the lists in {file.name} are nested too deep") from exc
    check_text(document, f"a text in {file.name}")
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if _RULE_HEADER.match(line)]
    rows: Any = document.pop("rule", [])
    if document or not isinstance(rows, list):
        keys = ", ".join(document) or "one rule"
        raise BadRules(f"there is {keys} in {file.name}; write each rule under a line [[rule]]")
    by_key = {score_type.key: score_type for score_type in types}
    rules_by_type: dict[str, list[Rule]] = {score_type.key: [] for score_type in types}
    for index, row in enumerate(rows):
        location = f"line {lines[index]} of {file.name}" if index < len(lines) else f"rule {index + 1} of {file.name}"
        try:
            _check_keys(row)
            entry = _RuleEntry.model_validate(row)
            if entry.score not in by_key:
                raise BadDefinition(f"there is no score type `{entry.score}`; existing: {', '.join(by_key)}")
            rule = _build_rule(entry)
            check_rules([*rules_by_type[entry.score], rule], by_key[entry.score])
        except ValidationError as exc:
            error = exc.errors(include_url=False, include_input=False)[0]
            name = f"`{error['loc'][0]}`" if error["loc"] else "the rule"
            raise BadRules(f"{location}: {name} {explain_invalid(error)}") from exc
        except (BadDefinition, BadNumber) as exc:
            raise BadRules(f"{location}: {exc}") from exc
        rules_by_type[entry.score].append(rule)
    return {key: tuple(rules) for key, rules in rules_by_type.items()}


def _check_keys(row: object) -> None:
    """Raise BadDefinition if a rule has a key that rules do not have."""
    known = [field.alias or name for name, field in _RuleEntry.model_fields.items()]
    unknown = [key for key in row if key not in known] if isinstance(row, dict) else []
    if unknown:
        raise BadDefinition(f"a rule has no `{unknown[0][:40]}`. {did_you_mean(unknown[0], known)}")


def _build_rule(entry: _RuleEntry) -> Rule:
    if (entry.cap is None) != (entry.per is None):
        raise BadDefinition('a cap needs both: cap = 20 and per = "day" (week, month, ever)')
    cap = None
    if entry.cap is not None and entry.per is not None:
        cap = RuleCap(points=_parse_points(entry.cap), period=entry.per, group=entry.group)
    return Rule(
        name=entry.name, points=_parse_points(entry.points), activity=entry.activity, condition=entry.condition,
        for_each=entry.for_each, at_most=None if entry.at_most is None else _parse_points(entry.at_most), cap=cap,
    )  # fmt: skip  # in the order of the file


def _parse_points(number: float) -> int:
    return from_json(number if isinstance(number, int) else str(number))


def _render_rule(score_type: ScoreType, rule: Rule) -> str:
    lines = ["[[rule]]", f"score = {_quote(score_type.key)}", f"name = {_quote(rule.name)}"]
    lines += [f"activity = {_quote(rule.activity)}"] if rule.activity is not None else []
    lines.append(f"points = {show(rule.points)}")
    lines += [f"for_each = {_quote(rule.for_each)}"] if rule.for_each else []
    lines += [f"at_most = {show(rule.at_most)}"] if rule.at_most is not None else []
    lines += [f"if = {_quote(rule.condition)}"] if rule.condition else []
    if rule.cap is not None:
        lines += [f"cap = {show(rule.cap.points)}", f"per = {_quote(rule.cap.period)}"]
        lines += [f"group = {_quote(rule.cap.group)}"] if rule.cap.group is not None else []
    return "\n".join([*lines, ""])


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"'
        + "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in escaped)
        + '"'
    )
