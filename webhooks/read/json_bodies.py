"""Parse JSON into a document that can be stored unchanged, item by item where one of them is unusable."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TypeVar

from storage.domain.contacts import find_broken_text
from webhooks.limits import MAX_DEPTH, MAX_ITEMS
from webhooks.read.bodies import BYTE_ORDER_MARK, Unparseable

N = TypeVar("N")
MAX_DIGITS = 64
# Match every escape, so that the end of one is not mistaken for the start of another. Valid surrogate pairs come first.
ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<broken>\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|0000))|\\.",
    re.DOTALL,
)
# A number with more digits, or with a longer exponent, is rejected: no score and no database can use it.
TOO_LONG = re.compile(rf"(?P<digits>[0-9]{{{MAX_DIGITS + 1},}})|[eE][+-]?[0-9]{{4,}}")
BLANKS = re.compile(r"[ \t\n\r]*")
# Possessive, and the closing quote is optional, so that time and memory stay linear for any text.
BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?+|(?P<open>[\[{])|(?P<close>[\]}])', re.DOTALL)
TOO_DEEP = f"is nested more than {MAX_DEPTH} deep"


@dataclass(frozen=True, slots=True)
class BodyFault:
    """Replaces an unusable value in a document. *reason* completes a sentence that begins with the field's name."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """An unusable item of a body, with its text as sent and the reason."""

    reason: str
    text: str


def parse_json(raw: bytes) -> object:
    """
    Return the document in *raw*, with integers as *int* and other numbers as *Decimal*.

    Raises *Unparseable* for a body that is not JSON, that two parsers could read differently (a duplicate key), or that
    cannot be processed or stored (deep nesting, endless numbers, NUL, half of a surrogate pair).
    """
    with _convert_errors(raw) as text:
        if _measure_depth(text) > MAX_DEPTH:
            raise Unparseable(f"The body {TOO_DEEP}.")
        reader = _Reader()
        document = reader.decode(text)
        fault = _find_first_fault(document, "it") if reader.has_faults or _has_broken(raw) else None
    if fault:
        raise Unparseable(f"The body cannot be used: {fault}.")
    return document


def parse_items(raw: bytes) -> object:
    """
    Return the document in *raw* like *parse_json*, but with a *Rejected* in place of every unusable item.

    An item is an element of the list `items`, or else the body itself. The keys beside `items` are not checked,
    except that no key of the body may be duplicated. Raises *Unparseable* for a body that is not JSON.
    """
    with _convert_errors(raw) as text:
        if _measure_depth(text) <= MAX_DEPTH:
            reader = _Reader()
            document = reader.decode(text)
            if not reader.has_faults and not _has_broken(raw):
                return document
        return _read_item_by_item(text)


def replace_broken(raw: bytes) -> bytes:
    """Return JSON with U+FFFD in place of each NUL and each half of a surrogate pair, which cannot be stored.

    Both are allowed by the JSON grammar. Senders write them when they cut a text in the middle of an emoji.
    """
    if b"\\u" not in raw:
        return raw
    return ESCAPE.sub(lambda escape: rb"\ufffd" if escape["broken"] else escape[0], raw)


def _has_broken(raw: bytes) -> bool:
    return b"\\u" in raw and any(escape["broken"] for escape in ESCAPE.finditer(raw))


@contextmanager
def _convert_errors(raw: bytes) -> Iterator[str]:
    """Yield the text of a body; raise Unparseable if it is not UTF-8, or if the block finds that it is not JSON."""
    try:
        yield raw.decode().removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise Unparseable(f"The body is not UTF-8: byte {error.start + 1} cannot be read.") from error
    except json.JSONDecodeError as error:
        complaint = error.msg[0].lower() + error.msg[1:]
        location = f"line {error.lineno}, column {error.colno}"
        raise Unparseable(f"The body cannot be read as JSON: {complaint} ({location}).") from error


def _measure_depth(text: str) -> int:
    """Return the nesting depth that the decoder can reach at most: it stops at an escape outside of a string."""
    opening = text.count("[") + text.count("{")
    if opening <= MAX_DEPTH:
        return opening
    outside_strings = "".join(re.sub(r"\\.", "", text, flags=re.DOTALL).split('"')[::2])
    return max(
        accumulate(1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", outside_strings)), default=0
    )


class _Reader:
    """Decode JSON, with a *BodyFault* in place of each unusable number, constant or object with a duplicate key.

    Texts are not checked: the decoder is faster without a hook for texts, and few bodies have a broken one.
    """

    def __init__(self) -> None:
        self.has_faults = False
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._build_object,
            parse_int=self._parse_integer,
            parse_float=self._parse_decimal,
            parse_constant=lambda name: self._make_fault(f"is {name}, which is not a number in JSON"),
        )
        self.decode = self._decoder.decode
        self.decode_at = self._decoder.raw_decode

    def _make_fault(self, reason: str) -> BodyFault:
        self.has_faults = True
        return BodyFault(reason)

    def _build_object(self, pairs: list[tuple[str, object]]) -> dict[str, object] | BodyFault:
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        return self._make_fault(f"has the key `{_shorten_name(name)}` twice")

    def _parse_integer(self, digits: str) -> int | BodyFault:
        return int(digits) if len(digits) <= MAX_DIGITS else self._parse_number(digits, int)

    def _parse_decimal(self, digits: str) -> Decimal | BodyFault:
        is_plain = len(digits) <= MAX_DIGITS and "e" not in digits and "E" not in digits
        return Decimal(digits) if is_plain else self._parse_number(digits, Decimal)

    def _parse_number(self, digits: str, kind: Callable[[str], N]) -> N | BodyFault:
        too_long = TOO_LONG.search(digits)
        if too_long is None:
            return kind(digits)
        limit = f"{MAX_DIGITS} digits" if too_long["digits"] else "three digits in its exponent"
        return self._make_fault(f"is a number with more than {limit}")


def _find_first_fault(document: object, document_name: str) -> str | None:
    """Return a sentence about the first unusable field, or None. *document_name* is the name of the whole document."""
    waiting = [(document, "", 1)]
    while waiting:
        value, path, depth = waiting.pop()
        location = f"`{path}`" if path else document_name
        match value:
            case BodyFault():
                return f"{location} {value.reason}"
            case str():
                if broken := find_broken_text(value):
                    return f"{location} {broken}"
            case dict() | list() if depth > MAX_DEPTH:
                return f"{document_name} {TOO_DEEP}"
            case dict():
                for name in value:
                    if broken := find_broken_text(name):
                        return f"a key in {location} {broken}"
                before = f"{path}." if path else ""
                inner = [
                    (child, f"{before}{_shorten_name(name)}", depth + 1)
                    for name, child in value.items()
                    if _may_have_fault(child)
                ]
                waiting += reversed(inner)
            case list():
                before = f"{path}." if path else ""
                inner = [
                    (child, f"{before}{index}", depth + 1)
                    for index, child in enumerate(value)
                    if _may_have_fault(child)
                ]
                waiting += reversed(inner)
    return None


def _may_have_fault(value: object) -> bool:
    return isinstance(value, str | dict | list | BodyFault)


def _shorten_name(name: str) -> str:
    return name[:40].encode(errors="replace").decode().replace("\0", "?")


class _Cursor:
    """Iterate over the outermost object and list of a JSON text, and return their values with the text of each."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._decode_at = _Reader().decode_at

    def skip(self, sign: str) -> bool:
        """Skip *sign* if it comes next, and return whether it did."""
        self._skip_blanks()
        is_next = self._text.startswith(sign, self._position)
        self._position += is_next
        return is_next

    def expect(self, sign: str) -> None:
        """Skip *sign*; raises JSONDecodeError if something else comes next."""
        if not self.skip(sign):
            raise json.JSONDecodeError(f"Expecting '{sign}' delimiter", self._text, self._position)

    def iterate_members(self, closing: str) -> Iterator[None]:
        """Yield at the start of each member of an open object or list; the caller must read the member."""
        if self.skip(closing):
            return
        while True:
            yield
            if self.skip(closing):
                return
            self.expect(",")

    def read_key(self) -> str:
        """Return the key of an object's member, and skip the colon."""
        self._skip_blanks()
        if not self._text.startswith('"', self._position):
            raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self._text, self._position)
        value, _ = self.read_value()
        self.expect(":")
        return str(value)

    def read_value(self) -> tuple[object, str]:
        """Return the next value, and its text."""
        self._skip_blanks()
        start = self._position
        try:
            value, self._position = self._decode_at(self._text, start)
        except RecursionError:
            value, self._position = BodyFault(TOO_DEEP), self._find_end_of_nested(start)
        return value, self._text[start : self._position]

    def end(self) -> None:
        """Raise JSONDecodeError if anything follows."""
        self._skip_blanks()
        if self._position < len(self._text):
            raise json.JSONDecodeError("Extra data", self._text, self._position)

    def _skip_blanks(self) -> None:
        blanks = BLANKS.match(self._text, self._position)
        assert blanks is not None  # the pattern also matches an empty text
        self._position = blanks.end()

    def _find_end_of_nested(self, start: int) -> int:
        """Return the end of an object or list that is too deep for the decoder. Its content is not checked."""
        depth = 0
        for token in BRACKET.finditer(self._text, start):
            depth += (token["open"] is not None) - (token["close"] is not None)
            if depth == 0 and token["close"]:
                return token.end()
        raise json.JSONDecodeError("Expecting closing bracket", self._text, len(self._text))


def _read_item_by_item(text: str) -> object:
    """Parse a body that has a fault, so that only the items with a fault are rejected."""
    cursor = _Cursor(text)
    members: dict[str, object] = {}
    duplicate_key: str | None = None
    if not cursor.skip("{"):
        return cursor.read_value()[0]  # not an object, which the provider rejects
    for _ in cursor.iterate_members("}"):
        name = cursor.read_key()
        duplicate_key = name if name in members else duplicate_key
        if name == "items" and cursor.skip("["):
            members[name] = _read_items(cursor)
        else:
            members[name], _ = cursor.read_value()
    cursor.end()
    if "items" not in members and "type" in members:
        return _reject_faulty(
            members if duplicate_key is None else BodyFault(f"has the key `{_shorten_name(duplicate_key)}` twice"), text
        )
    if duplicate_key is not None:
        raise Unparseable(f"The body has the key `{_shorten_name(duplicate_key)}` twice.")
    return members


def _read_items(cursor: _Cursor) -> list[object]:
    items: list[object] = []
    for _ in cursor.iterate_members("]"):
        items.append(_reject_faulty(*cursor.read_value()))
        if len(items) > MAX_ITEMS:
            raise Unparseable(f"A body holds at most {MAX_ITEMS:,} items; this one has more. Send several.")
    return items


def _reject_faulty(item: object, text: str) -> object:
    fault = _find_first_fault(item, "the item")
    return item if fault is None else Rejected(reason=fault, text=text.strip())


def first_element(raw: bytes) -> bytes | None:
    """Return the first element of a JSON list as sent, or None if *raw* is not a list."""
    with suppress(ValueError):
        cursor = _Cursor(raw.decode().removeprefix(BYTE_ORDER_MARK))
        if cursor.skip("["):
            return cursor.read_value()[1].encode()
    return None
