"""Say who is meant: by address or by an id in somebody's system, matched as people would match them."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from storage.domain.errors import BadItem, BadName, BadText
from storage.domain.score_types import TAKEN_WORDS

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

#: The namespace of e-mail addresses among identities; every other namespace is the slug of a source.
EMAIL = ""
SLUG = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
#: Where changes come from that no configured source sent.
OWN_SOURCES = frozenset({"slack", "api", "import", "demo"})
#: The fields of a contact itself; every other one is an attribute.
FIELDS = ("email", "name", "company", "owner", "tags")
ATTRIBUTE = "attributes."
#: The most attributes that one item may carry, whichever way it comes in: a request, a row of a file.
MOST_ATTRIBUTES = 200
#: Before the slug of a source, where a column holds its ids.
ID = "ids."
#: What no text can hold: PostgreSQL stores no NUL, and half of a surrogate pair is no character.
_UNKEPT = re.compile("[\0\ud800-\udfff]")
_SALESFORCE_ID = re.compile(r"00[13Q][A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?", re.ASCII)
_SUFFIXES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"]{1,64}@[^\s@<>()\[\],;:\"]{1,189}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How a sender names a contact: by address, by its own id (in the namespace *source*), or both."""

    email: str | None = None
    source: str = ""
    id: str | None = None

    def identities(self) -> list[tuple[str, str]]:
        """Give the (namespace, key) pairs that name this contact, address first."""
        pairs = [(EMAIL, address_key(self.email))] if self.email is not None else []
        return [*pairs, (self.source, id_key(self.id))] if self.id is not None else pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A person being scored; times in µs UTC."""

    id: int
    email: str | None
    name: str | None
    company: str | None
    owner: str | None
    ids: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Json] = field(default_factory=dict)
    created_at: int
    updated_at: int

    @property
    def shown(self) -> str:
        """Name the contact for people: the name, else the address, else an id."""
        return self.name or self.email or next((f"{source}:{id}" for source, id in self.ids.items()), "a contact")

    @property
    def typed(self) -> str:
        """Name the contact as a command takes it: the address, else `source:id`."""
        return self.email or next((f"{source}:{id}" for source, id in self.ids.items()), self.shown)


def match_key(text: str) -> str:
    """Give the form in which texts are compared: NFKC, case-folded, blanks as one."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def find_broken_text(text: str) -> str | None:
    """Return what makes a text unusable, to follow its name in a sentence; none for a text that can be stored."""
    if text.isascii() and "\0" not in text:  # most are, and this takes a third of the time
        return None
    match = _UNKEPT.search(text)
    if match is None:
        return None
    return "holds the character NUL" if match[0] == "\0" else "holds half of a character (an unpaired surrogate)"


def replace_broken_text(text: str) -> str:
    """Return a text that can be stored and written, with U+FFFD in place of what no text can hold."""
    return _UNKEPT.sub("\ufffd", text)


def check_text(value: Json, name: str) -> None:
    """Raise BadText, which calls the value *name*, if a text in it cannot be stored."""
    match value:
        case str():
            if problem := find_broken_text(value):
                raise BadText(f"{name} {problem}: take it out")
        case list():
            for element in value:
                check_text(element, name)
        case dict():
            for key, element in value.items():
                check_text(key, name)
                check_text(element, name)


def looks_like_address(text: str) -> bool:
    """Tell an e-mail address from a name."""
    return _ADDRESS.fullmatch(text) is not None and "." in text.rpartition("@")[2]


def address_key(address: str) -> str:
    """Give the form in which an address is matched; raises BadItem where it is none."""
    key = match_key(address)
    if not looks_like_address(key):
        raise BadItem(f"`{address.strip()[:80]}` is not an e-mail address")
    return key


def id_key(id: str) -> str:
    """
    Return the form in which an id is matched: of a Salesforce contact, lead or account its 18 characters.

    The last three of them say which of the other 15 are capitals, so that case need not matter:
    https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm
    """
    if len(id) != 15 or not _SALESFORCE_ID.fullmatch(id):
        return id
    parts = (id[start : start + 5] for start in (0, 5, 10))
    return id + "".join(
        _SUFFIXES[sum(character.isupper() << place for place, character in enumerate(part))] for part in parts
    )


def id_spellings(id: str) -> tuple[str, ...]:
    """Return how an id may be stored: as *id_key* writes it, then as earlier versions did."""
    return (id, id[:15]) if len(id) == 18 and _SALESFORCE_ID.fullmatch(id) else (id,)


def check_slug(slug: str, *, score_types: tuple[str, ...] = ()) -> None:
    """Refuse a source's slug that would be misread: `slug:id` must not look like a filter or a score."""
    if not SLUG.fullmatch(slug):
        raise BadName(
            f"`{slug}` cannot name a source: use a small letter, then small letters, digits and -, 40 at most"
        )
    if slug in TAKEN_WORDS or slug in score_types or slug in OWN_SOURCES:
        raise BadName(f"`{slug}` has a meaning already; choose another name, for example `{slug}-crm`")
