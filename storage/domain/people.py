"""Define workspaces, their settings, and the roles of people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A Slack team: the tenant that owns every row."""

    id: int
    team: str  #: the Slack team id, such as T0123ABCD
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An active member of a workspace that a program acts for."""

    id: str  #: the Slack user id
    address: str | None  #: the address that contacts have as their owner
    is_admin: bool


class Role(StrEnum):
    """What a person may do. Each role includes the roles before it."""

    VIEWER = "viewer"  #: view scores
    SCORER = "scorer"  #: change scores
    ADMIN = "admin"  #: change settings, and undo what others did

    @property
    def rank(self) -> int:
        """Return the position of the role: higher is more."""
        return list(Role).index(self)


class Setters(StrEnum):
    """What members without a role may do."""

    MEMBERS = "members"  #: view and change scores
    ADMINS = "admins"  #: view scores
    NAMED = "named"  #: nothing

    @property
    def role(self) -> Role | None:
        """Return the role of members without a role of their own; None: they may not see scores."""
        return {Setters.MEMBERS: Role.SCORER, Setters.ADMINS: Role.VIEWER}.get(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The settings that admins of a workspace chose. Times in µs UTC."""

    alert_channel: str | None  #: the Slack channel id for follow-ups; None: the contact's owner, else an admin
    admins: tuple[str, ...]  #: Slack user ids of additional admins, beside the admins of the Slack workspace
    setters: Setters
    welcomed_at: int | None  #: when an admin was sent the setup questions
    set_up_at: int | None  #: when setup was completed
    #: by Slack user group; and by Slack user id, of the person that the settings were loaded for
    roles: Mapping[str, Role] = field(default_factory=dict)
