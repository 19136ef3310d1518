"""Describe what is wrong with a value that a validator refused, without the validator's own words."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any


def explain_invalid(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, worded to follow its name: "must be a whole number".

    *error* is an error of pydantic: its type, place, message and limits.
    """
    kind, limits = str(error["type"]), error.get("ctx") or {}
    if "int" in error["loc"][1:]:  # the first of several types that would do: whole or other numbers
        return "must be a number"
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not known here"
        case "string_too_long" | "too_long":
            return f"is longer than {limits['max_length']}"
        case "string_too_short" | "too_short":
            return f"is shorter than {limits['min_length']}"
        case "greater_than_equal":
            return f"must be at least {limits['ge']}"
        case "less_than_equal":
            return f"must be at most {limits['le']}"
        case "enum" | "literal_error":
            return f"must be {str(limits['expected']).replace(chr(39), '`')}"
        case "value_error":
            return f"cannot be used: {str(error['msg']).removeprefix('Value error, ')}"
    for beginning, kind_of_value in _KINDS.items():
        if kind.startswith(beginning):
            return f"must be {kind_of_value}"
    return "cannot be used"


#: the beginning of an error's type → what the value must be
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "finite": "a number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "mapping": "an object",
}


def did_you_mean(word: str, known_words: Collection[str]) -> str:
    """Return a hint: the known word that is most similar, or all known words."""
    close_matches = get_close_matches(word.casefold(), list(known_words), n=1)
    return (
        f"Did you mean `{close_matches[0]}`?"
        if close_matches
        else f"Choose from {', '.join(f'`{known_word}`' for known_word in known_words)}."
    )
