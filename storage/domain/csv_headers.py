"""Recognize the columns of exports of other programs by their headers, and name attributes after headers."""

import re
from collections.abc import Iterable, Sequence

from storage.domain.contacts import MOST_IN_ATTRIBUTE_NAME
from storage.domain.texts import clean_text

SCORE = "score"  #: the default score type, whatever its key

#: field → how HubSpot, Salesforce, Pipedrive, Mailchimp, Google and Apollo call it, in small letters, likeliest first
HEADERS: dict[str, tuple[str, ...]] = {
    "email": (
        *("e-mail", "email address", "e-mail address", "work email", "primary email", "contact email", "lead email"),
        *("person - email - work", "person - email", "e-mail 1 - value", "email 1 - value", "email - work"),
        *("person - email - home", "person - email - other", "secondary email"),
    ),
    "name": ("full name", "contact name", "lead name", "person - name", "display name"),
    "company": (
        *("company name", "organization", "organisation", "account name", "company / account", "associated company"),
        *("person - organization", "organization name", "organization 1 - name", "company name for emails", "account"),
    ),
    "owner": (
        *("contact owner", "lead owner", "record owner", "owner email", "person - owner", "account owner"),
        *("owner name", "contact: owner full name"),
    ),
    "tags": ("tag", "labels", "label", "person - labels", "person - label", "group membership", "lists"),
    SCORE: ("lead score", "hubspot score", "contact score", "lead scoring", "engagement score"),
}
FIRST_NAME = (
    "first name",
    "firstname",
    "first_name",
    "given name",
    "person - first name",
    "contact: first name",
    "fname",
)
LAST_NAME = (
    *("last name", "lastname", "last_name", "family name", "surname", "person - last name", "contact: last name"),
    "lname",
)


def find_header(names: Sequence[str], spellings: Sequence[str]) -> int | None:
    """Return the place of the likeliest of several spellings among the names of columns."""
    folded = [" ".join(name.casefold().split()) for name in names]
    return next((folded.index(spelling) for spelling in spellings if spelling in folded), None)


_IS_ID = re.compile(r"(?:.*[\W_])?(?:id|uuid|guid)|.*[a-z]I[Dd]", re.ASCII)
_SEPARATORS = re.compile(r"[\W_]+")


def looks_like_id_header(name: str) -> bool:
    """Return whether a header may name a column of ids, such as `Prospect ID`, `lead_id` or `contactId`."""
    return any(_IS_ID.fullmatch(text) for text in (name.strip(), name.strip().lower()))


def name_attribute(header: str) -> str:
    """Return the name of an attribute for a header, such that rules can name it: `Lead Number` → `lead_number`."""
    return _SEPARATORS.sub("_", clean_text(header).lower()).strip("_")[:MOST_IN_ATTRIBUTE_NAME] or "column"


def name_attributes(headers: Sequence[str], *, taken: Iterable[str]) -> list[str]:
    """Return the names of attributes for headers. A name that another column has gets a number: `lead_number_2`."""
    names, used, numbers = list[str](), set(taken), dict[str, int]()
    for header in headers:
        name = base = name_attribute(header)
        while name in used:
            numbers[base] = numbers.get(base, 1) + 1
            suffix = f"_{numbers[base]}"
            name = base[: MOST_IN_ATTRIBUTE_NAME - len(suffix)] + suffix
        used.add(name)
        names.append(name)
    return names
