"""Format the data of a contact as CSV cells, and parse cells."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Sequence

from storage.domain.contacts import Json
from storage.domain.numbers import is_ambiguous, parse
from storage.domain.texts import remove_invisible

# A cell that begins with one of these is a formula for a spreadsheet; some also take the full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
#: What programs write where there is nothing, in small letters.
_BLANKS = frozenset(("n/a", "#n/a", "-", "\u2013", "\u2014"))
_QUOTED_TAG = re.compile(r'(^|[;,])\s*"(?:[^"]|"")*"(?=\s*(?:[;,]|$))')
#: numbers that show which sign stands before fractions: 8,5 · 0,125 · 1.234,5 · 1.234.567, and with a point
_DECIMAL_COMMA = re.compile(
    r"[+-]?(?:\d+,(?:\d{1,2}|\d{4,})|0*,\d+|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,})", re.ASCII
)
_DECIMAL_POINT = re.compile(
    r"[+-]?(?:\d+\.(?:\d{1,2}|\d{4,})|0*\.\d+|\d{1,3}(?:,\d{3})+\.\d+|\d{1,3}(?:,\d{3}){2,})", re.ASCII
)
_PLAIN_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


def write_cell(value: Json) -> str:
    """Write a field: a text as it is, nothing as a blank, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def write_attribute(value: Json) -> str:
    """Write the value of an attribute so that `read_attribute` returns the same, a number or a text."""
    if isinstance(value, str) and value != "" and read_attribute(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def read_attribute(cell: str) -> Json:
    """Read the value of an attribute: what `write_attribute` writes as JSON, else a text."""
    try:
        value: Json = json.loads(cell, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return cell
    is_written_so = json.dumps(value, ensure_ascii=False) == cell  # so that 007 and 1e5 stay texts
    return value if is_written_so else cell


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def join_tags(tags: Sequence[str]) -> str:
    """Write tags in one cell; a tag with a separator or a quote in it stands in quotes."""
    return "; ".join(f'"{tag.replace(chr(34), chr(34) * 2)}"' if re.search('[,;"]|:::', tag) else tag for tag in tags)


def split_tags(cell: str) -> list[str]:
    """Read the tags of a cell, each once.

    They are separated by semicolons, or by commas where there is none; what stands in quotes is one tag. Google has
    `* one ::: two`.
    """
    outside = _QUOTED_TAG.sub(r"\1", cell)
    if ":::" in outside:
        parts = [part.strip().removeprefix("* ") for part in cell.split(":::")]
    else:
        separator = ";" if ";" in outside else ","
        parts = next(csv.reader([" ".join(cell.splitlines())], delimiter=separator, skipinitialspace=True), [])
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def guard_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula, and an import from taking it for nothing.

    The quote before it is taken away by `read_cell`.
    """
    return f"'{text}" if _needs_guard(text) else text


def read_cell(cell: str) -> str:
    """Return what a cell says: without blanks around it, and without the quote that `guard_formula` wrote."""
    trimmed = cell.strip()
    if trimmed.startswith("'") and _needs_guard(trimmed.lstrip("'")):
        return trimmed[1:]
    return "" if _is_blank(trimmed) or not remove_invisible(trimmed) else trimmed


def _needs_guard(text: str) -> bool:
    return text.lstrip("'").startswith(_FORMULA) or _is_blank(text.lstrip("'"))


def _is_blank(text: str) -> bool:
    return text.casefold() in _BLANKS


def read_number(cell: str, *, comma: bool, decimal: Callable[[], str | None], rounded: bool = False) -> int:
    """Read the number of a cell as thousandths: also `85%`, and thousands that are separated beyond doubt.

    With *comma*, `8,5` is read. *decimal* returns the sign that the other cells of the column have before fractions,
    if they have one: it decides about `1,000`. Raises BadNumber.
    """
    text = _strip_percent(cell)
    if is_ambiguous(text):
        sign = decimal()
    elif _DECIMAL_COMMA.fullmatch(text) and (comma or "." in text):
        sign = ","
    elif _DECIMAL_POINT.fullmatch(text):
        sign = "."
    else:
        sign = "," if comma and _PLAIN_COMMA.fullmatch(text) else None
    if sign is not None:
        text = text.replace("." if sign == "," else ",", "").replace(",", ".")
    return parse(text, typed=sign is None, rounded=rounded)


def find_decimal_sign(cells: Iterable[str]) -> str | None:
    """Return the decimal sign of the numbers in a column; None if no number shows it, or they disagree."""
    texts = [text for cell in cells if not is_ambiguous(text := _strip_percent(cell))]
    signs = [sign for sign, form in ((",", _DECIMAL_COMMA), (".", _DECIMAL_POINT)) if any(map(form.fullmatch, texts))]
    return signs[0] if len(signs) == 1 else None


def _strip_percent(cell: str) -> str:
    return remove_invisible(cell).removesuffix("%").rstrip()
