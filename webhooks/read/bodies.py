"""Parse the body of a delivery into a document that can be stored unchanged."""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate
from typing import TypeVar
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from storage.domain.contacts import find_broken_text
from webhooks.limits import MAX_DEPTH, MAX_ITEMS

N = TypeVar("N")

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
XML = ("text/xml", "application/xml", "application/soap+xml")
MAX_FIELDS = 10_000
BRACKETS = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"

MAX_DIGITS = 64
BYTE_ORDER_MARK = "\ufeff"
# Match every escape, so that the end of one is not mistaken for the start of another. Valid surrogate pairs come first.
ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<broken>\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|0000))|\\.",
    re.DOTALL,
)
BROKEN = "\ufffd"  # replaces a character that cannot be read
# Characters that XML 1.0 forbids, even as a reference: https://www.w3.org/TR/xml/#charsets
FORBIDDEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
CDATA = re.compile(r"(<!\[CDATA\[.*?\]\]>)", re.DOTALL)
AMPERSAND = re.compile(r"&(?:#(?P<decimal>[0-9]+);|#x(?P<hexadecimal>[0-9a-fA-F]+);|(?P<name>\w+);)?")
XML_NAMES = ("amp", "lt", "gt", "quot", "apos")
XML_ENCODING = re.compile(rb"\s*<\?xml[^>]*encoding=[\"']([\w.-]+)")
XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
# A number with more digits, or with a longer exponent, is rejected: no score and no database can use it.
TOO_LONG = re.compile(rf"(?P<digits>[0-9]{{{MAX_DIGITS + 1},}})|[eE][+-]?[0-9]{{4,}}")
BLANKS = re.compile(r"[ \t\n\r]*")
# Possessive, and the closing quote is optional, so that time and memory stay linear for any text.
BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?+|(?P<open>[\[{])|(?P<close>[\]}])', re.DOTALL)
TOO_DEEP = f"is nested more than {MAX_DEPTH} deep"


class Unparseable(ValueError):
    """The body cannot be parsed. The message is a sentence for the sender."""


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


def kind_of(headers: Mapping[str, str]) -> str:
    """Return the content type without its parameters. The names of *headers* are in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def first_element(raw: bytes) -> bytes | None:
    """Return the first element of a JSON list as sent, or None if *raw* is not a list."""
    with suppress(ValueError):
        cursor = _Cursor(raw.decode().removeprefix(BYTE_ORDER_MARK))
        if cursor.skip("["):
            return cursor.read_value()[1].encode()
    return None


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
        _add_field(flat, name, value)
        _add_nested(nested, name, value)
    return {name: _convert_to_lists(value) for name, value in nested.items()}, flat


def _convert_to_lists(value: object) -> object:
    """Convert objects with the keys 0, 1, 2 … to lists, because PHP writes lists as `leads[0][email]`."""
    if not isinstance(value, dict):
        return value
    inner = {name: _convert_to_lists(child) for name, child in value.items()}
    numbers = [str(number) for number in range(len(inner))]
    return [inner[number] for number in numbers] if inner.keys() == set(numbers) else inner


def _add_field(fields: dict[str, object], name: str, value: object) -> None:
    existing = fields.get(name)
    if name not in fields:
        fields[name] = value
    elif isinstance(existing, list):
        existing.append(value)
    else:
        fields[name] = [existing, value]


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
            return _add_field(nested, name, value)
        parent = child
    if isinstance(parent.get(last), dict):
        return _add_field(nested, name, value) if match else None  # it is among the flat fields
    if is_list:
        parent.setdefault(last, [])
    _add_field(parent, last, value)


def parse_xml(raw: bytes) -> dict[str, object]:
    """
    Return the elements in *raw* by their names without namespaces: as texts, objects, None for nil, or lists.

    Attributes become `@name` keys of elements that have child elements or no text.
    Raises *Unparseable* for a body that is not XML, and for any DTD or entity, because no sender needs one.
    """
    try:
        root = _parse_elements(raw)
    except (ParseError, ValueError, LookupError):
        try:
            root = _parse_elements(_replace_forbidden(raw))
        except (ParseError, ValueError, LookupError) as error:
            raise Unparseable(f"The body cannot be read as XML: {error}.") from error
    return {_strip_namespace(root.tag): _convert_element(root, depth=1)}


def _parse_elements(raw: bytes) -> Element:
    try:
        return fromstring(raw, forbid_dtd=True)
    except DefusedXmlException as error:
        raise Unparseable("The body has a DTD or an entity, which is not read.") from error


def _replace_forbidden(raw: bytes) -> bytes:
    """Return XML with U+FFFD in place of each forbidden character, and with every stray `&` escaped."""
    declared = XML_ENCODING.match(raw)
    encoding = declared[1].decode() if declared else "utf-8"
    text = FORBIDDEN.sub(BROKEN, raw.decode(encoding, errors="replace").removeprefix(BYTE_ORDER_MARK))
    sections = CDATA.split(text)
    sections[::2] = [AMPERSAND.sub(_replace_reference, section) for section in sections[::2]]
    return XML_DECLARATION.sub("", "".join(sections)).encode()


def _replace_reference(match: re.Match[str]) -> str:
    number = match["decimal"] or match["hexadecimal"]
    if number is None:
        return match[0] if match["name"] in XML_NAMES else f"&amp;{match[0][1:]}"
    code = int(number, 10 if match["decimal"] else 16) if len(number) < 10 else sys.maxunicode + 1
    is_allowed = code <= sys.maxunicode and not FORBIDDEN.fullmatch(chr(code))
    return match[0] if is_allowed else BROKEN


def find_xml_text(raw: bytes, name: str) -> str | None:
    """Return the text of the first element with this name, or None. The body need not be well-formed XML."""
    match = re.search(rf"<(?:[\w.-]+:)?{re.escape(name)}\s*>([^<]*)<".encode(), raw)
    return match[1].decode(errors="replace").strip() if match else None


def _convert_element(element: Element, *, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise Unparseable(f"The body is nested more than {MAX_DEPTH} deep.")
    if element.get(NIL) in ("true", "1"):
        return None
    text = (element.text or "").strip()
    # An attribute with a namespace, such as xsi:type, does not make an empty element an object.
    attributes = {
        f"@{_strip_namespace(name)}": value
        for name, value in element.items()
        if len(element) or not name.startswith("{")
    }
    if not len(element) and (text or not attributes):
        return text
    fields: dict[str, object] = {**attributes}
    for child in element:
        _add_field(fields, _strip_namespace(child.tag), _convert_element(child, depth=depth + 1))
    return fields


def _strip_namespace(tag: str) -> str:
    return tag.rpartition("}")[2]
