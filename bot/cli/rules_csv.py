"""Read scoring rules from a CSV file with an attribute, a value and points in each line."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from storage.domain.contacts import ATTRIBUTE
from storage.domain.csv_cells import read_cell, read_number
from storage.domain.csv_headers import name_attribute
from storage.domain.errors import BadDefinition, Refusal
from storage.domain.filters.terms import All, Attribute, AttributeNumber, Term, asked_fields
from storage.domain.rules import check_rules, compile_rules
from storage.domain.score_types import Rule, ScoreType
from storage.domain.texts import clean_text, match_key
from storage.transfer.csv_files import CsvFile, Row, recognize

COLUMNS = ("attribute", "value", "points", "score")
MOST_IN_NAME = 80
_WORD = re.compile(r"[\w.-]*\w")
_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_COMPARED = re.compile(rf"(?:>=|<=|>|<)\s*{_NUMBER}", re.ASCII)
_RANGE = re.compile(rf"(?:{_NUMBER}|\*)\.\.(?:{_NUMBER}|\*)", re.ASCII)


class BadRulesFile(Refusal):
    """That CSV file has no rules."""


def read_csv_rules(
    path: Path, types: Sequence[ScoreType], *, attributes: Collection[str]
) -> dict[str, tuple[Rule, ...]]:
    """Return the rules of every score type after the file is applied; raises BadFile, or BadRulesFile with the line.

    For each score type in the file, or for the default score type if the file has no column `score`, the file replaces
    the rules about the value of one attribute. Other rules stay: rules about activities, tags, owners or several
    attributes. *attributes* are the names of the attributes that contacts have.
    """
    file = recognize(path)
    columns = _find_columns(file)
    by_key = {score_type.key: score_type for score_type in types}
    default = next((score_type.key for score_type in types if score_type.is_default), types[0].key)
    added: dict[str, list[Rule]] = {} if "score" in columns else {default: []}
    lines: dict[tuple[str, str, str], int] = {}
    for row in file.rows():
        try:
            key, rule, compared = _read_row(row, file, columns, default=default, attributes=attributes)
            if key not in by_key:
                raise BadDefinition(f"there is no score type `{key}`; existing: {', '.join(by_key)}")
            if (first := lines.setdefault((key, *compared), row.line)) != row.line:
                raise BadDefinition(f"it has the attribute and the value of line {first}; remove one of them")
            others = {other.name for other in (*_list_kept_rules(by_key[key]), *added.setdefault(key, []))}
            if rule is not None:
                rule = _rename(rule, others)
                check_rules([rule], by_key[key])
                added[key].append(rule)
        except Refusal as exc:
            raise BadRulesFile(f"line {row.line} of {path.name}: {exc}") from exc
    rules = {score_type.key: score_type.rules for score_type in types}
    for key, new_rules in added.items():
        rules[key] = (*_list_kept_rules(by_key[key]), *new_rules)
        try:
            check_rules(rules[key], by_key[key])
        except BadDefinition as exc:
            raise BadRulesFile(f"{path.name}: {exc}") from exc
    return rules


def _find_columns(file: CsvFile) -> dict[str, int]:
    """Return the index of each column; raises BadRulesFile."""
    names = [name.strip().casefold() for name in file.header]
    columns = {name: names.index(name) for name in COLUMNS if name in names}
    unknown = [name.strip() for name in file.header if name.strip() and name.strip().casefold() not in COLUMNS]
    if unknown or len(columns) != sum(map(bool, names)) or not {"attribute", "value", "points"} <= columns.keys():
        raise BadRulesFile(
            f"the first line of {file.path.name} must name the columns attribute, value, points, and score if the"
            f" rules are not for the default score; it has {', '.join(name.strip() for name in file.header)}"
        )
    return columns


def _list_kept_rules(score_type: ScoreType) -> list[Rule]:
    """Return the rules that a line of a CSV file cannot express, and which the file therefore does not replace."""
    rules = compile_rules(score_type.rules)
    return [
        rule
        for rule in score_type.rules
        if rule.activity is not None or rule.for_each or not _is_about_value(rules.conditions[rule.name])
    ]


def _is_about_value(term: Term) -> bool:
    """Return whether a condition compares only one attribute, as a line of a CSV file does."""
    if isinstance(term, All):
        return len(asked_fields(term)) == 1 and all(map(_is_about_value, term.parts))
    return isinstance(term, Attribute | AttributeNumber)


def _read_row(
    row: Row, file: CsvFile, columns: Mapping[str, int], *, default: str, attributes: Collection[str]
) -> tuple[str, Rule | None, tuple[str, str]]:
    """Return the score type of a line, its rule (None for 0 points), and its attribute and value."""
    if row.wrong:
        raise BadDefinition(row.wrong)
    cells = {name: read_cell(row.cells[index]) for name, index in columns.items() if index < len(row.cells)}
    if missing := [name for name in columns if not cells.get(name)]:
        raise BadDefinition(f"`{missing[0]}` is blank")
    points = read_number(cells["points"], comma=file.delimiter == ";", decimal=lambda: None)
    attribute = _find_attribute(clean_text(cells["attribute"]).removeprefix(ATTRIBUTE), attributes)
    value = clean_text(cells["value"])
    rule = Rule(name=f"{attribute} {value}", points=points, condition=_write_condition(attribute, value))
    return cells.get("score", default), rule if points else None, (attribute, match_key(value))


def _find_attribute(name: str, attributes: Collection[str]) -> str:
    """Return the attribute in a cell: an existing attribute, or the name that `import --all-columns` would choose."""
    imported = name_attribute(name)
    return imported if name not in attributes and (imported in attributes or not _WORD.fullmatch(name)) else name


def _write_condition(attribute: str, value: str) -> str:
    """Return the condition of a rule: a text, a comparison such as `>=50`, or a range with both ends such as `3..5`."""
    name = ATTRIBUTE + (attribute if _WORD.fullmatch(attribute) else f'"{attribute}"')
    if _COMPARED.fullmatch(value):
        return name + value
    if _RANGE.fullmatch(value):
        return f"{name}:{value}"
    return f'{name}:"{value.replace(chr(34), chr(39))}"'  # matching treats all kinds of quotes as equal


def _rename(rule: Rule, taken: set[str]) -> Rule:
    """Return a rule with a name that is short enough and not in *taken*."""
    name, number = rule.name[:MOST_IN_NAME].strip(), 1
    while name in taken:
        number += 1
        suffix = f" ({number})"
        name = rule.name[: MOST_IN_NAME - len(suffix)].strip() + suffix
    return Rule(name=name, points=rule.points, condition=rule.condition)
