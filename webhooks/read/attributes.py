"""Read the attributes of a contact from a JSON document."""

import json
from collections.abc import Mapping

from storage.domain.contacts import ATTRIBUTE, MOST_IN_ATTRIBUTE, Json
from storage.domain.errors import BadItem


def read_attributes(attributes: Mapping[str, object], *, name: str) -> dict[str, Json]:
    """Return attributes as fields of a contact, with JSON's numbers.

    Raises BadItem if they are too long or have a number that is too large. *name* is their name in the message.
    """

    def refuse_constant(_: str) -> None:
        raise BadItem(f"`{name}` holds a number that is too large")

    if not attributes:
        return {}
    text = json.dumps(attributes, default=float)
    if len(text) > MOST_IN_ATTRIBUTE:
        raise BadItem(f"`{name}` is longer than {MOST_IN_ATTRIBUTE:,} characters")
    plain: dict[str, Json] = json.loads(text, parse_constant=refuse_constant)
    return {ATTRIBUTE + key: value for key, value in plain.items()}
