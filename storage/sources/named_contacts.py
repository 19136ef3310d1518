"""Find the contacts that a request and its items name, so that a deletion reaches every request that names a contact.

A name is an identity of a contact as text: `:ada@example.com` for an address, `crm:17` for an id in a source. The
names of a request are stored as lines between line ends, so that `LIKE` can match a whole name."""

import re
from collections.abc import Collection, Iterable
from urllib.parse import unquote_plus

from storage.domain.contacts import EMAIL, Reference, replace_broken_text
from storage.domain.errors import BadItem
from storage.domain.facts import Ignored, ItemRequest, Unusable
from storage.domain.submissions import Raw, list_targets
from storage.domain.texts import match_key

_ADDRESS = re.compile(r"[^\s\"'<>()\[\]{}\\,;:=&|@]+@[^\s\"'<>()\[\]{}\\,;:=&|@]+")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def find_names(item: ItemRequest) -> set[str]:
    """Return the names of the contacts that an item is about.

    For an item that cannot be used or is ignored, the e-mail addresses in its text are included.
    """
    if isinstance(item, Unusable | Ignored):
        return {name for contact in item.contacts for name in _list_names(contact)} | _find_addresses(item.raw)
    return {name for contact in list_targets(item) if isinstance(contact, Reference) for name in _list_names(contact)}


def find_request_names(raw: Raw, items: Iterable[ItemRequest]) -> set[str]:
    """Return the names of the contacts that a request names: in its items, or anywhere in its body or query."""
    names = {name for item in items for name in find_names(item)}
    return names | _find_addresses(raw.body.decode("utf-8", "replace")) | _find_addresses(raw.query)


def write_names(names: Collection[str]) -> str:
    """Return *names* in their stored form, or a blank if there are none."""
    return replace_broken_text("".join(f"\n{name}" for name in sorted(names)) + "\n") if names else ""


def read_names(stored: str) -> list[str]:
    """Return the names in a stored text."""
    return stored.split("\n")[1:-1]


def make_name(namespace: str, key: str) -> str:
    """Return the name of an identity."""
    return f"{namespace}:{key}".replace("\n", " ")


def split_name(name: str) -> tuple[str, str]:
    """Return the namespace and the key of a name."""
    namespace, _, key = name.partition(":")
    return namespace, key


def make_pattern(name: str) -> str:
    """Return the pattern for `LIKE … ESCAPE '!'` that matches stored names that include *name*."""
    return "%\n" + name.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "\n%"


def _list_names(contact: Reference) -> list[str]:
    try:
        return [make_name(namespace, key) for namespace, key in contact.identities()]
    except BadItem:  # its address is not an e-mail address
        return [make_name(contact.source, contact.id)] if contact.id is not None else []


def _find_addresses(text: str) -> set[str]:
    """Return the e-mail addresses in a text as names. JSON escapes and form encoding are decoded first."""
    if "\\u" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    texts = [text, unquote_plus(text)] if "%40" in text else [text]
    return {make_name(EMAIL, match_key(address)) for text in texts for address in _ADDRESS.findall(text)}
