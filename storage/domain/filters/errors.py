"""Describe errors in filters: the line with a caret under the error, and what the parser expects there."""

import unicodedata
from collections.abc import Collection

from storage.domain.errors import Refusal

LONGEST = 500


class BadFilter(Refusal):
    """That filter cannot be read."""

    def __init__(self, sentence: str, *, text: str, column: int, width: int = 1) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.text = text
        self.column = column  #: the position of the error in *text*, from 0
        self.width = max(width, 1)

    @property
    def pointed(self) -> str:
        """The line with carets under the error. A long line is cut to the part around the error."""
        start = max(0, self.column - LONGEST // 2)
        line = self.text[start : start + LONGEST].replace("\n", " ")
        caret = self.column - start
        marked = f"{line[caret:]:<{self.width}}"[: self.width]
        return f"{line}\n{''.join(_pad_like(character, ' ') for character in line[:caret])}{_draw_carets(marked)}"


def _draw_carets(marked: str) -> str:
    return "".join(_pad_like(character, "^") for character in marked) or "^"


def _pad_like(character: str, mark: str) -> str:
    """Return *mark* (a space or a caret) as wide as a character is displayed: wide for Chinese, empty for an accent."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return ""
    if unicodedata.east_asian_width(character) in ("W", "F"):
        return "\u3000" if mark == " " else "\uff3e"
    return mark


# Token kind → its name in error messages; the order is the order in messages.
EXPECTED = {
    "NUMBER": "a number",
    "WORD": "a word",
    "STRING": '"words in quotes"',
    "RANGE": "a range like 60..80",
    "_CLOSE": "a closing parenthesis",
    "COMPARISON": "a comparison like >= 80",
    "_COLON": "a colon",
    "MENTION": "a person",
    "MINUS": "a minus",
    "TREND": "`rising`, `falling` or `moved`",
    "_CROSSED": "`crossed`",
    "_STALE": "`stale`",
    "SIDE": "`above` or `below`",
    "PERCENT": "a %",
    "_IN": "`in` and a time like 7d",
    "SPAN": "a time like 7d or 24h",
}


def describe_expected(kinds: Collection[str]) -> str:
    """Return a description of the token kinds that the parser accepts at a position; an empty string for none."""
    words = [EXPECTED[kind] for kind in EXPECTED if kind in kinds]
    return (
        f"expected {', '.join(words[:-1])} or {words[-1]}"
        if len(words) > 1
        else f"expected {words[0]}"
        if words
        else ""
    )
