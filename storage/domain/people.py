"""Define workspaces and their settings."""

from dataclasses import dataclass
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


class Setters(StrEnum):
    """The people who may change scores."""

    MEMBERS = "members"
    ADMINS = "admins"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The settings that admins of a workspace chose. Times in µs UTC."""

    alert_channel: str | None  #: the Slack channel id for follow-ups; None: the contact's owner, else an admin
    admins: tuple[str, ...]  #: Slack user ids of additional admins, beside the admins of the Slack workspace
    setters: Setters
    welcomed_at: int | None  #: when an admin was sent the setup questions
    set_up_at: int | None  #: when setup was completed
