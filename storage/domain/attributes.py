"""Define what the values of attributes are compared as: matching keys of texts, a number, an instant.

Filters, the conditions of rules, and the table of attribute values all go by these definitions."""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from storage.domain.contacts import Json
from storage.domain.errors import BadTime
from storage.domain.moments import read_moment
from storage.domain.numbers import MILLION, read_millionths
from storage.domain.texts import match_key

#: Above so many characters a matching key is stored as its beginning and a digest: an index has no room for more.
MOST_IN_KEY = 200
#: A number counts from 1970 only from here on, in seconds: before March 1973 it is the number of something else.
_FIRST_COUNT = timedelta(days=1158) // timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class AttributeKeys:
    """How one value of an attribute, or one element of a list, is stored to be found."""

    key: str
    number: int | None  #: millionths
    instant: int | None  #: µs since 1970


def list_texts(value: Json) -> list[str]:
    """Return the matching keys of a value: of a list one for each element, of null none."""
    elements = value if isinstance(value, list) else [value]
    return [match_key(_format_text(element)) for element in elements if element is not None]


def has_value(value: Json) -> bool:
    """Return whether an attribute says anything: null, blank texts and lists of these do not."""
    return any(list_texts(value))


def read_instant(value: Json) -> int | None:
    """Return the instant, in µs since 1970, from which the age of an attribute counts; None if the value is not a time.

    A time is ISO 8601, a date alone is its beginning in UTC; or a count of seconds, milliseconds or microseconds.
    """
    number = read_millionths(value)
    if number is not None and number < _FIRST_COUNT * MILLION:
        return None
    if number is None and not (isinstance(value, str) and value.lstrip()[:1].isdigit()):
        return None
    try:
        moment = read_moment(str(value))
    except BadTime:
        return None
    return None if moment is None else moment.at


def index_key(text: str) -> str:
    """Return a matching key as it is stored; two keys that differ are stored differently."""
    if len(text) <= MOST_IN_KEY:
        return text
    return f"{text[:MOST_IN_KEY]}…{sha256(text.encode()).hexdigest()}"


def index_value(value: Json) -> list[AttributeKeys]:
    """Return the search keys that are stored for the value of an attribute, each once."""
    number, instant = read_millionths(value), read_instant(value)
    return [AttributeKeys(key, number, instant) for key in dict.fromkeys(map(index_key, list_texts(value)))]


def _format_text(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
