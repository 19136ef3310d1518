"""Define the kinds of bodies, and what the parsers of JSON, forms and XML share."""

from collections.abc import Mapping

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
XML = ("text/xml", "application/xml", "application/soap+xml")
BYTE_ORDER_MARK = "\ufeff"
BROKEN = "\ufffd"  # replaces a character that cannot be read


class Unparseable(ValueError):
    """The body cannot be parsed. The message is a sentence for the sender."""


def kind_of(headers: Mapping[str, str]) -> str:
    """Return the content type without its parameters. The names of *headers* are in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def add_field(fields: dict[str, object], name: str, value: object) -> None:
    """Add a field. A name that occurs again makes a list of its values."""
    existing = fields.get(name)
    if name not in fields:
        fields[name] = value
    elif isinstance(existing, list):
        existing.append(value)
    else:
        fields[name] = [existing, value]
