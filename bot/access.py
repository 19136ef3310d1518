"""Decide whether a person may see scores in a place; pure, and closed where something is not known."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """Whether somebody may, and if not, what they are told; no value holds anything of a contact."""

    ALLOWED = ""
    GUEST = "Scores are for members of this workspace; guests cannot see or change them."
    INACTIVE = "Scores are for active members of this workspace."
    OUTSIDER = "Scores are for members of this workspace; people of other organisations cannot see or change them."
    SHARED = (
        "This conversation is shared with another organisation, so nothing is shown here."
        " Ask me in our direct messages instead: open Contact Score under Apps."
    )
    UNSEEN = (
        "I cannot see who is in this conversation, so nothing is shown here."
        " Invite me with `/invite @Contact Score`, or ask me in our direct messages."
    )
    MIXED = (
        "There are guests or people of other organisations in this channel, or I cannot see that there are none,"
        " so nothing is posted to it."
    )
    UNKNOWN = "I could not find out from Slack who you are, so nothing is shown. Try again in a minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody as Slack describes them."""

    id: str
    is_guest: bool
    is_outsider: bool
    is_active: bool
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A conversation as Slack describes it."""

    id: str
    is_shared: bool  #: with another organisation, or about to be


def may_see(person: Person | None, place: Place | None, *, somewhere: bool) -> Verdict:
    """Decide; *somewhere* is whether the request comes from a conversation, not from the App Home or a modal."""
    if person is None:
        return Verdict.UNKNOWN
    if person.is_outsider:
        return Verdict.OUTSIDER
    if person.is_guest:
        return Verdict.GUEST
    if not person.is_active:
        return Verdict.INACTIVE
    if not somewhere:
        return Verdict.ALLOWED
    if place is None:
        return Verdict.UNSEEN
    return Verdict.SHARED if place.is_shared else Verdict.ALLOWED
