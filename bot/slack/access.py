"""Decide whether a person may see scores in a conversation, and what that person may do.

The functions are pure. Unknown people and unknown conversations are denied.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from storage.domain.errors import Refusal
from storage.domain.people import Choices, Role, Setters


class Verdict(Enum):
    """The result of an access check; the value is the sentence shown to the user, without contact data."""

    ALLOWED = ""
    GUEST = "Scores are for members of this workspace; guests cannot see or change them."
    INACTIVE = "Scores are for active members of this workspace."
    OUTSIDER = "Scores are for members of this workspace; people from other organizations cannot see or change them."
    SHARED = (
        "This conversation is shared with another organization, so nothing is shown here."
        " Ask me in our direct messages instead: open Contact Score under Apps."
    )
    UNSEEN = (
        "I cannot see who is in this conversation, so nothing is shown here."
        " Invite me with `/invite @Contact Score`, or ask me in our direct messages."
    )
    MIXED = (
        "This channel has guests or people from other organizations, or I cannot check whether it has,"
        " so nothing is posted there. Choose a channel with members only."
    )
    RESTRICTED = (
        "This channel has people without a role, who may not see scores, so nothing is posted there."
        " Choose a channel in which everybody has one, or give them a role: `/score roles`"
    )
    NO_ROLE = "Scores are only for people with a role here, and you have none."
    FOREIGN = "That channel is shared with another organization, so nothing is posted to it. Choose another one."
    ARCHIVED = "That channel is archived, so nothing is posted to it. Choose another one."
    UNFOUND = "I cannot see that channel. Invite me there with `/invite @Contact Score`, then choose it again."
    ABSENT = "I am not in that channel. Invite me there with `/invite @Contact Score`, then choose it again."
    UNKNOWN = "I could not find out from Slack who you are, so nothing is shown. Try again in a minute."


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A Slack user, reduced to what access checks and greetings need."""

    id: str
    is_guest: bool
    is_outsider: bool
    is_active: bool
    is_admin: bool = False  #: an owner or admin of the workspace
    email: str | None = None
    name: str | None = None
    zone: str = "UTC"  #: the time zone in the user's Slack profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A Slack conversation, reduced to what access checks need."""

    id: str
    is_shared: bool  #: shared with another organization, or a share is pending
    is_ours: bool = True  #: the app is a member, or the channel is public
    is_archived: bool = False
    person: str | None = None  #: the id of the other person, in direct messages with the app


def may_see(person: Person | None, conversation: Conversation | None, *, somewhere: bool) -> Verdict:
    """Return the verdict for a request.

    *somewhere* is true if the request comes from a conversation, false for the App Home and modals.
    """
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
    if conversation is None:
        return Verdict.UNSEEN
    return Verdict.SHARED if conversation.is_shared else Verdict.ALLOWED


def is_from_outside(
    teams: Collection[str | None], organizations: Collection[str | None], team: str, organization: str | None
) -> bool:
    """Return whether the request's own team and organization ids show that the sender is from outside.

    If the installation belongs to an *organization* (Enterprise Grid), every workspace of that organization is inside.
    """
    if organization is not None:
        return any(organizations) and organization not in organizations
    return bool(set(teams) - {None, team})


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """A person who is an admin by one of three ways: named in the app, by a user group, or as an admin in Slack."""

    id: str
    group: str | None = None  #: the id of the user group
    is_of_slack: bool = False

    @property
    def is_named(self) -> bool:
        """Return whether the person was named in the app."""
        return self.group is None and not self.is_of_slack


@dataclass(frozen=True, slots=True, kw_only=True)
class UserGroup:
    """A user group of the Slack workspace."""

    id: str
    handle: str  #: what people type after the @
    name: str


class Need(Enum):
    """The permission that a request requires."""

    SEE = "see"
    SET = "set"
    ADMINISTER = "administer"


class NotAllowed(Refusal):
    """This person's role does not allow this. *setters* is what members without a role may do."""

    def __init__(self, need: Need, *, setters: Setters) -> None:
        super().__init__(need.value)
        self.need = need
        self.setters = setters


#: the permissions of each role, and of a member without a role
_RIGHTS: Mapping[Role | None, frozenset[Need]] = {
    None: frozenset(),
    Role.VIEWER: frozenset({Need.SEE}),
    Role.SCORER: frozenset({Need.SEE, Need.SET}),
    Role.ADMIN: frozenset(Need),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a person may do, and the settings that it follows from."""

    choices: Choices
    role: Role | None

    @property
    def rights(self) -> frozenset[Need]:
        """Return the permissions of the person."""
        return _RIGHTS[self.role]


def find_role(
    person: Person, choices: Choices, groups: Collection[str], *, unread: Collection[str] = ()
) -> Role | None:
    """Return the role of a member. *groups* are the user groups with a role that the member is known to belong to.

    An admin of the Slack workspace is an admin; else the role of the member counts, else the highest role of the
    groups, else what the workspace lets members without a role do. The members of the groups *unread* are unknown:
    whoever may belong to one gets no more than its members.
    """
    if person.is_admin or person.id in choices.admins:
        return Role.ADMIN
    if role := choices.roles.get(person.id):
        return role
    if groups:
        return max((choices.roles[group] for group in groups), key=lambda role: role.rank)
    if choices.setters.role is None:
        return None
    possible = [choices.setters.role, *(choices.roles[group] for group in unread)]
    return min(possible, key=lambda role: role.rank)
