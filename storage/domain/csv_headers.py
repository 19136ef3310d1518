"""Recognize the columns of exports of other programs by their headers."""

from collections.abc import Sequence

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
FIRST_NAME = ("first name", "firstname", "first_name", "given name", "person - first name", "contact: first name")
LAST_NAME = (
    *("last name", "lastname", "last_name", "family name", "surname", "person - last name", "contact: last name"),
)


def find_header(names: Sequence[str], spellings: Sequence[str]) -> int | None:
    """Return the place of the likeliest of several spellings among the names of columns."""
    folded = [" ".join(name.casefold().split()) for name in names]
    return next((folded.index(spelling) for spelling in spellings if spelling in folded), None)
