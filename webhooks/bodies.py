"""Read the bytes of a delivery as a document that can be stored as it is."""

import json
import re
from contextlib import suppress
from decimal import Decimal
from itertools import accumulate

from webhooks.limits import MAX_DEPTH

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
