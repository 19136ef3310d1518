"""Define contacts: their fields, the limits and normalization of each field, and the matching of addresses.

Webhooks, the API, CSV files, Slack and the terminal all use these definitions.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from storage.domain.errors import BadItem, BadText
from storage.domain.texts import clean_text, former_match_key, match_key, remove_invisible

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

#: The namespace of email addresses among identities. Every other namespace is the slug of a source.
EMAIL = ""
SLUG = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)
#: The sources of changes that no configured source sent.
OWN_SOURCES = frozenset({"slack", "api", "import", "demo"})
#: The text fields of a contact, each with an example of a value as people type it.
#: A text field is also a line of `ContactFields`, and the columns NAME and NAME_key of the table of contacts.
TEXT_FIELDS = {"email": "ada@example.com", "name": '"Ada Lovelace"', "company": "Acme", "owner": "me"}
#: The fields of a contact. Any other field is an attribute.
FIELDS = (*TEXT_FIELDS, "tags")
ATTRIBUTE = "attributes."
#: The most attributes of one item, from a request or from a row of a file.
MOST_ATTRIBUTES = 200
#: The most characters of a text field or of an id.
MOST_CHARACTERS = 255
MOST_TAGS, MOST_IN_TAG = 100, 100
#: The most characters of an attribute's name and of its value.
MOST_IN_ATTRIBUTE_NAME, MOST_IN_ATTRIBUTE = 100, 10_000
#: The prefix of CSV columns with the ids of a source; the slug of the source follows.
ID = "ids."
#: What no text can contain: PostgreSQL cannot store NUL, and half of a surrogate pair is not a character.
_UNKEPT = re.compile("[\0\ud800-\udfff]")
_SALESFORCE_ID = re.compile(r"00[13Q][A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?", re.ASCII)
_SUFFIXES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
# Matches addresses after match_key. A local part may contain anything but spaces, characters that surround addresses in
# text (brackets, commas, quotes) and Markdown marks. A domain has two or more labels of letters, digits, - and _.
_LABEL = r"[^\x00-,./:-@\[-^`{-\x7f\s]"
_ADDRESS = re.compile(
    r"(?=[^@]{1,64}@.{1,189}\Z)(?!.*\.\.)(?![.'])[^\s@<>()\[\],;:\"\\*`?]+(?<![.'])@(?![_-])"
    rf"{_LABEL}+(?:(?<!-)\.(?!-){_LABEL}+)+(?<![_-])"
)
# Characters that may surround an address in a sentence, in a list or in Markdown.
_BEFORE, _AFTER = "*_~`'\"<([{\u2018\u2019\u201c\u201d\u00ab", "*_~`'\">)]}.,;:!?/\u2018\u2019\u201c\u201d\u00bb\u2026"
_BRACKETED = re.compile(r"[^<>]*<\s*([^<>\s]+)\s*>[.,;]?|\[[^\]]*\]\(([^()\s]+)\)")  # as in mail, or in Markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A sender's reference to a contact: by address, by the id in the sender's namespace *source*, or both."""

    email: str | None = None
    source: str = ""
    id: str | None = None

    def identities(self) -> list[tuple[str, str]]:
        """Return the contact's (namespace, key) pairs, the address first. Raises BadItem for an invalid address."""
        pairs = [(EMAIL, address_key(self.email))] if self.email is not None else []
        return [*pairs, (self.source, id_key(self.id))] if self.id is not None else pairs

    def former_identities(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return the identities that an earlier version normalized differently: identity now → identity then."""
        if self.email is None or (
            self.email.isascii() and self.email.isprintable() and "xn--" not in self.email.lower()
        ):
            return {}
        if (now := address_key(self.email)) == (former := former_match_key(self.email)):
            return {}
        return {(EMAIL, now): (EMAIL, former)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactFields:
    """The text fields of a contact."""

    email: str | None = None
    name: str | None = None
    company: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact(ContactFields):
    """A person who is scored. Times in µs UTC."""

    id: int
    ids: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, Json] = field(default_factory=dict)
    created_at: int
    updated_at: int
    is_gone: bool = False  #: everything that was recorded about it is undone; lists, searches and exports leave it out
    named_row: int | None = None  #: the row that was looked up in a merged contact; None: the contact's own row
    named_id: Reference | None = field(default=None, compare=False)  #: the id of a source that it was looked up by

    @property
    def row(self) -> int:
        """The row that new facts about the contact belong to.

        It is the row that was looked up by address or id, so that splitting a merged contact returns each fact to its
        part. A contact that was looked up by name or chosen from a list uses its own row.
        """
        return self.id if self.named_row is None else self.named_row

    @property
    def reference(self) -> Reference | int:
        """What a new fact about the contact names: the id that the contact was looked up by, or else its row.

        If the id is split from the contact, the fact goes with it.
        """
        return self.row if self.named_id is None else self.named_id

    @property
    def version(self) -> str:
        """A short text that changes with every change of the contact's fields and ids, and with nothing else."""
        texts = {name: getattr(self, name) for name in FIELDS}
        content = json.dumps([self.id, texts, self.ids, self.attributes], sort_keys=True, default=dict)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """The contact as people read it: the name, or else the address, or else an id."""
        return self.name or self.email or next((f"{source}:{id}" for source, id in self.ids.items()), "a contact")

    @property
    def typed(self) -> str:
        """The contact as a command takes it: the address, or else `source:id`."""
        return self.email or next((f"{source}:{id}" for source, id in self.ids.items()), self.shown)


def find_broken_text(text: str) -> str | None:
    """Return why a text cannot be stored, worded to follow the text's name in a sentence; None if it can be stored."""
    if text.isascii() and "\0" not in text:  # the usual case; this check takes a third of the time
        return None
    match = _UNKEPT.search(text)
    if match is None:
        return None
    return "holds the character NUL" if match[0] == "\0" else "holds half of a character (an unpaired surrogate)"


def replace_broken_text(text: str) -> str:
    """Return a text with U+FFFD in place of characters that cannot be stored."""
    return _UNKEPT.sub("\ufffd", text)


def check_text(value: Json, name: str) -> None:
    """Raise BadText if a text in *value* cannot be stored. *name* is the name of the value in the message."""
    if isinstance(value, str):
        if problem := find_broken_text(value):
            raise BadText(f"{name} {problem}: remove it")
    elif isinstance(value, list):
        for element in value:
            check_text(element, name)
    elif isinstance(value, dict):
        for key, element in value.items():
            check_text(key, name)
            check_text(element, name)


def looks_like_address(text: str) -> bool:
    """Return whether a text is an email address and nothing else."""
    return _ADDRESS.fullmatch(fold_address(text)) is not None


@lru_cache(maxsize=4096)  # each item of a batch names its contact, and several phases look at each
def address_key(address: str) -> str:
    """Return the matching key of an address. Raises BadItem if the address is invalid."""
    key = fold_address(address)
    if _ADDRESS.fullmatch(key) is None:
        raise BadItem(f"`{clean_text(address)[:80]}` is not an e-mail address")
    return key


def id_key(id: str) -> str:
    """Return the matching key of an id. A 15-character Salesforce id becomes its 18-character form.

    This applies to contacts, leads and accounts. The last three characters encode which of the others are capitals:
    https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/field_types.htm
    """
    if len(id) != 15 or not _SALESFORCE_ID.fullmatch(id):
        return id
    parts = (id[start : start + 5] for start in (0, 5, 10))
    return id + "".join(
        _SUFFIXES[sum(character.isupper() << place for place, character in enumerate(part))] for part in parts
    )


def id_spellings(id: str) -> tuple[str, ...]:
    """Return the spellings of an id that may be stored: that of *id_key*, then the one of earlier versions."""
    return (id, id[:15]) if len(id) == 18 and _SALESFORCE_ID.fullmatch(id) else (id,)


def fold_address(address: str) -> str:
    """Return the matching key of an address, or of a part of one. Punycode in its domain is decoded."""
    local, at, domain = match_key(address).rpartition("@")
    if "xn--" not in domain and domain.isascii():
        return f"{local}{at}{domain}"
    labels = domain.replace("\u3002", ".").split(".")  # includes the Chinese full stop
    return f"{local}{at}{'.'.join(map(_decode_label, labels))}"


def field_key(name: str, text: str) -> str:
    """Return the matching key of a text field's value."""
    return fold_address(text) if name == "email" else match_key(text)


def contact_keys(fields: Mapping[str, Json]) -> dict[str, str | None]:
    """Return the matching keys that are stored with a contact, by column. Each tag has a line of its own."""
    tags = fields.get("tags")
    keys: dict[str, str | None] = {
        f"{name}_key": field_key(name, text) if isinstance(text := fields.get(name), str) else None
        for name in TEXT_FIELDS
    }
    lines = [f"\n{match_key(tag)}\n" for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return keys | {"tags_key": "".join(lines)}


def _decode_label(label: str) -> str:
    if label.startswith("xn--"):
        with suppress(UnicodeError):
            return match_key(label.removeprefix("xn--").encode("ascii").decode("punycode"))
    return label


def clean_address(address: str) -> str:
    """Return an address for storage and display: as typed, without invisible characters."""
    return unicodedata.normalize("NFC", remove_invisible(address))


def find_address(words: str) -> str | None:
    """Return the address that a text stands for, as it is written; None if the text is anything else.

    A text stands for an address even with a name before it (`Ada Lovelace <ada@example.com>`), as a link
    (`mailto:ada@example.com?subject=Hi`), or with punctuation around it.
    """
    text = remove_invisible(words)
    if "@" not in text:
        return None
    if looks_like_address(text):
        return text
    if bracketed := _BRACKETED.fullmatch(text):
        text = bracketed[1] or bracketed[2]
    text = re.sub(r"(?i)^mailto:", "", text.lstrip(_BEFORE))
    text = text.partition("?")[0].rstrip(_AFTER)
    return text if looks_like_address(text) else None


def clean_field(name: str, value: Json) -> Json:
    """Return a field's value normalized for storage. A blank value becomes None, which clears the field."""
    if name == "email" or (name == "owner" and isinstance(value, str) and looks_like_address(value)):
        return clean_address(value) or None if isinstance(value, str) else value
    if name == "tags":
        tags = value if isinstance(value, list) else []
        cleaned = [clean_text(tag) for tag in tags if isinstance(tag, str)]
        return list[Json](dict.fromkeys(tag for tag in cleaned if tag))
    if name.startswith(ATTRIBUTE):
        return _clean_json(value)
    return clean_text(value) or None if isinstance(value, str) else value


def _clean_json(value: Json) -> Json:
    match value:
        case str():
            return clean_text(value, lines=True)
        case list():
            return [_clean_json(element) for element in value]
        case dict():
            return {clean_text(key): _clean_json(element) for key, element in value.items()}
        case _:
            return value


def clean_fields(fields: Mapping[str, Json]) -> dict[str, Json]:
    """Return a contact's fields with names and values normalized for storage."""
    return {name if name in FIELDS else clean_text(name): clean_field(name, value) for name, value in fields.items()}


def check_field(name: str, value: Json) -> None:
    """Raise BadItem if a normalized value exceeds the limit of its field."""
    if name == "tags":
        tags = value if isinstance(value, list) else []
        if len(tags) > MOST_TAGS or any(len(str(tag)) > MOST_IN_TAG for tag in tags):
            raise BadItem(f"a contact has at most {MOST_TAGS} tags, each of at most {MOST_IN_TAG} characters")
        return
    if name.startswith(ATTRIBUTE) and len(name) > len(ATTRIBUTE) + MOST_IN_ATTRIBUTE_NAME:
        raise BadItem(f"the name of an attribute has at most {MOST_IN_ATTRIBUTE_NAME} characters")
    limit = MOST_IN_ATTRIBUTE if name.startswith(ATTRIBUTE) else MOST_CHARACTERS
    if isinstance(value, str) and len(value) > limit:
        raise BadItem(f"it has {len(value):,} characters; cut it to {limit:,}")
