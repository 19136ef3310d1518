"""Write what is known of a contact as the cells of a spreadsheet, and read cells."""

import json
from collections.abc import Sequence

from storage.domain.contacts import Json

# A cell that begins with one of these is a formula for a spreadsheet; some also take the full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_cell(value: Json) -> str:
    """Write a field: a text as it is, nothing as a blank, anything else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def join_tags(tags: Sequence[str]) -> str:
    """Write tags in one cell."""
    return "; ".join(tags)


def split_tags(cell: str) -> list[str]:
    """Read the tags of a cell, each once: they are parted by semicolons, or by commas where there is none."""
    parts = (part.strip() for part in cell.split(";" if ";" in cell else ","))
    return list(dict.fromkeys(part for part in parts if part))


def guard_formula(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula, by a quote before it that `plain` takes away."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def read_cell(cell: str) -> str:
    """Give what a cell says: without blanks around it, and without the quote that kept it from being a formula."""
    trimmed = cell.strip()
    return trimmed[1:] if trimmed.startswith("'") and trimmed.lstrip("'").startswith(_FORMULA) else trimmed
