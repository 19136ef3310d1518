"""Read the bytes of a delivery as a document that can be stored as it is."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from itertools import accumulate
from urllib.parse import parse_qsl
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from webhooks.limits import MAX_DEPTH

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
XML = ("text/xml", "application/xml", "application/soap+xml")
MAX_FIELDS = 10_000
BRACKETS = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])+)")
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"

MAX_DIGITS = 64
BYTE_ORDER_MARK = "\ufeff"
# Possessive, and without insisting on a closing quote: time and memory stay linear for any text.
TOKEN = re.compile(
    rf"""
      (?P<text>  " (?: [^"\\]++ | \\. )*+ "?+ )  (?P<key> [ \t\n\r]*+ : )?+
    | (?P<open>  [\[{{] )
    | (?P<close> [\]}}] )
    | (?P<digits> [0-9]{{{MAX_DIGITS + 1},}} )
    | (?P<exponent> [eE] [+-]? [0-9]{{4,}} )
    | (?P<constant> NaN | Infinity )
    """,
    re.VERBOSE | re.DOTALL,
)
# Every escape, so that no second half of one is taken for the beginning of another; those of two halves that fit first.
ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<broken>\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|0000))|\\.",
    re.DOTALL,
)
BROKEN = "\ufffd"  # stands where a character was that cannot be read
COMPLAINTS = {
    "digits": f"a number has more than {MAX_DIGITS} digits",
    "exponent": "an exponent has more than three digits",
    "constant": "no number is NaN or Infinity",
}


class Unparseable(ValueError):
    """The body cannot be read."""


def parse_json(raw: bytes) -> object:
    """
    Give the document that *raw* holds: integers as *int*, other numbers as *Decimal*.

    Raise *Unparseable*, whose message is a sentence for the sender, for what is not JSON,
    for what two readers could understand differently (a key given twice),
    and for what could not be worked on or stored (nesting, endless numbers, NUL, half a surrogate pair).
    """
    try:
        return _document(raw.decode().removeprefix(BYTE_ORDER_MARK))
    except UnicodeDecodeError as error:
        raise Unparseable(f"The body is not UTF-8: byte {error.start + 1} cannot be read.") from error
    except json.JSONDecodeError as error:
        complaint = error.msg[0].lower() + error.msg[1:]
        where = f"line {error.lineno}, column {error.colno}"
        raise Unparseable(f"The body cannot be read as JSON: {complaint} ({where}).") from error


def without_broken(raw: bytes) -> bytes:
    """Give JSON with a sign in place of what no text can hold, which is NUL and half of a surrogate pair.

    Both are JSON by its grammar, and written by senders that cut a text in the midst of an emoji.
    """
    if b"\\u" not in raw:
        return raw
    return ESCAPE.sub(lambda escape: rb"\ufffd" if escape["broken"] else escape[0], raw)


def _document(text: str) -> object:
    """Let the decoder judge alone what is plain: the closer look, which knows places, takes twice as long."""
    with suppress(_Doubtful):
        if "\\u" not in text and _depth(text) <= MAX_DEPTH:
            return PLAIN.decode(text)
    _inspect(text)
    return DECODER.decode(text)


def _depth(text: str) -> int:
    """Count what is open at the deepest place the decoder can reach: it stops at an escape outside of a string."""
    outside_strings = "".join(re.sub(r"\\.", "", text, flags=re.DOTALL).split('"')[::2])
    return max(
        accumulate(1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", outside_strings)), default=0
    )


class _Doubtful(Exception):
    """There is something that only the closer look can judge."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(found := dict(pairs)) < len(pairs):
        raise _Doubtful
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _Doubtful
    return int(digits)


def _decimal(digits: str) -> Decimal:
    if len(digits) > MAX_DIGITS or "e" in digits or "E" in digits:
        raise _Doubtful
    return Decimal(digits)


def _constant(name: str) -> object:
    raise _Doubtful


PLAIN = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_decimal, parse_constant=_constant)
DECODER = json.JSONDecoder(parse_float=Decimal)


def _inspect(text: str) -> None:
    """Complain, with the place, of what the decoder would let pass or be exhausted by."""
    keys: list[set[str]] = []  # of every object, or list, that is open
    for token in TOKEN.finditer(text):
        match token.lastgroup:
            case "text":
                _string(text, token)
            case "key":
                name = _string(text, token)
                if keys and name in keys[-1]:
                    raise json.JSONDecodeError(f"the key {name[:40]!r} is given twice", text, token.start())
                if keys:
                    keys[-1].add(name)
            case "open":
                keys.append(set())
                if len(keys) > MAX_DEPTH:
                    raise json.JSONDecodeError(f"nested more than {MAX_DEPTH} deep", text, token.start())
            case "close":
                del keys[-1:]
            case complaint:
                raise json.JSONDecodeError(COMPLAINTS[str(complaint)], text, token.start())


def _string(text: str, token: re.Match[str]) -> str:
    quoted = token["text"]
    if "\\" not in quoted:
        return quoted[1:-1]
    string: str = DECODER.raw_decode(text, token.start())[0]
    if "\0" in string:
        raise json.JSONDecodeError("a string holds the character NUL", text, token.start())
    if re.search("[\ud800-\udfff]", string):
        raise json.JSONDecodeError("a string holds half of a surrogate pair", text, token.start())
    return string


def kind_of(headers: Mapping[str, str]) -> str:
    """Give the content type that headers, with names in lower case, tell; without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def first_element(raw: bytes) -> bytes | None:
    """Give the first element of a JSON list as it was sent, or none where this is no list."""
    try:
        text = raw.decode().removeprefix(BYTE_ORDER_MARK)
        start = len(text) - len(text.lstrip(" \t\r\n"))
        if text[start : start + 1] != "[" or _depth(text) > MAX_DEPTH:
            return None
        begin = re.compile(r"[ \t\r\n]*").match(text, start + 1)
        assert begin is not None  # it matches nothing, too
        return text[begin.end() : DECODER.raw_decode(text, begin.end())[1]].encode()
    except (ValueError, ArithmeticError, RecursionError):
        return None


def parse_form(raw: bytes) -> tuple[dict[str, object], dict[str, object]]:
    """
    Give the fields of a form twice: nested as PHP reads `contact[email]`, `tags[]` and `leads[0][email]`, and flat
    as they stand there.

    A field that is given several times is a list. Raise *Unparseable* for what is no form, or is too large for one.
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
        _add(flat, name, value)
        _nest(nested, name, value)
    return {name: _counted(value) for name, value in nested.items()}, flat


def _counted(value: object) -> object:
    """Give lists for what is counted from nought on, as PHP writes `leads[0][email]`."""
    if not isinstance(value, dict):
        return value
    inner = {name: _counted(one) for name, one in value.items()}
    numbers = [str(number) for number in range(len(inner))]
    return [inner[number] for number in numbers] if inner.keys() == set(numbers) else inner


def _add(fields: dict[str, object], name: str, value: object) -> None:
    known = fields.get(name)
    if name not in fields:
        fields[name] = value
    elif isinstance(known, list):
        known.append(value)
    else:
        fields[name] = [known, value]


def _nest(nested: dict[str, object], name: str, value: str) -> None:
    """Put a value where its brackets say; where something else stands there, it keeps its flat name."""
    told = BRACKETS.fullmatch(name)
    path = [told[1], *told[2][1:-1].split("][")] if told else [name]
    if len(path) > MAX_DEPTH:
        raise Unparseable(f"The form is nested more than {MAX_DEPTH} deep.")
    many = path[-1] == "" and len(path) > 1
    *above, last = path[:-1] if many else path
    place = nested
    for step in above:
        deeper = place.setdefault(step, {})
        if not isinstance(deeper, dict):
            return _add(nested, name, value)
        place = deeper
    if isinstance(place.get(last), dict):
        return _add(nested, name, value) if told else None  # the flat fields have it
    if many:
        place.setdefault(last, [])
    _add(place, last, value)


def parse_xml(raw: bytes) -> dict[str, object]:
    """
    Give the elements that *raw* holds by their names without namespaces: texts, none for nil, and lists where several.

    Attributes stand as `@name` in elements that hold others, or nothing.
    Raise *Unparseable* for what is not XML, and for any DTD or entity: nobody needs one to say something.
    """
    try:
        root = fromstring(raw, forbid_dtd=True)
    except DefusedXmlException as error:
        raise Unparseable("The body has a DTD or an entity, which is not read.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise Unparseable("The body cannot be read as XML.") from error
    return {_local(root.tag): _element(root, depth=1)}


def _element(element: Element, *, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise Unparseable(f"The body is nested more than {MAX_DEPTH} deep.")
    if element.get(NIL) in ("true", "1"):
        return None
    text = (element.text or "").strip()
    # A kind that is said of nothing, by the name of some schema, is nothing either.
    said = {f"@{_local(name)}": value for name, value in element.items() if len(element) or not name.startswith("{")}
    if not len(element) and (text or not said):
        return text
    fields: dict[str, object] = {**said}
    for child in element:
        _add(fields, _local(child.tag), _element(child, depth=depth + 1))
    return fields


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
