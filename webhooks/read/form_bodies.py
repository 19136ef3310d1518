"""Parse forms, nested as PHP reads them and flat."""

import re
from urllib.parse import parse_qsl

from webhooks.limits import MAX_DEPTH
from webhooks.read.bodies import Unparseable, add_field

MAX_FIELDS = 10_000
BRACKETS = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")


def parse_form(raw: bytes) -> tuple[dict[str, object], dict[str, object]]:
    """
    Return the fields of a form twice: nested as PHP reads `contact[email]`, `tags[]` and `leads[0][email]`, and flat
    with their names as sent.

    A field that occurs several times is a list. Raises *Unparseable* for a form that is malformed or too large.
    """
    try:
        pairs = parse_qsl(
            raw.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict", separator="&"
        )
    except UnicodeDecodeError as error:
        raise Unparseable("The form is not UTF-8.") from error
    except ValueError as error:
        raise Unparseable(f"The form has more than {MAX_FIELDS:,} fields.") from error
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise Unparseable("The form holds the character NUL.")
    flat: dict[str, object] = {}
    nested: dict[str, object] = {}
    for name, value in pairs:
        add_field(flat, name, value)
        _add_nested(nested, name, value)
    return {name: _convert_to_lists(value) for name, value in nested.items()}, flat


def _convert_to_lists(value: object) -> object:
    """Convert objects with the keys 0, 1, 2 … to lists, because PHP writes lists as `leads[0][email]`."""
    if not isinstance(value, dict):
        return value
    inner = {name: _convert_to_lists(child) for name, child in value.items()}
    numbers = [str(number) for number in range(len(inner))]
    return [inner[number] for number in numbers] if inner.keys() == set(numbers) else inner


def _add_nested(nested: dict[str, object], name: str, value: str) -> None:
    """Add a value at the path in its brackets, or under its flat name if the path leads into another value."""
    match = BRACKETS.fullmatch(name)
    path = [match[1], *match[2][1:-1].split("][")] if match else [name]
    if len(path) > MAX_DEPTH:
        raise Unparseable(f"The form is nested more than {MAX_DEPTH} deep.")
    is_list = path[-1] == "" and len(path) > 1
    *parents, last = path[:-1] if is_list else path
    parent = nested
    for key in parents:
        child = parent.setdefault(key, {})
        if not isinstance(child, dict):
            return add_field(nested, name, value)
        parent = child
    if isinstance(parent.get(last), dict):
        return add_field(nested, name, value) if match else None  # it is among the flat fields
    if is_list:
        parent.setdefault(last, [])
    add_field(parent, last, value)
