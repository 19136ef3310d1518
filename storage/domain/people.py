"""Describe whose data it is, and what its people decided."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One Slack team: the tenant that every row belongs to."""

    id: int
    team: str  #: Slack's id of it: T0123ABCD
    name: str


class Setters(StrEnum):
    """Who may change scores."""

    MEMBERS = "members"
    ADMINS = "admins"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the admins of a workspace decided; times in µs UTC."""

    alert_channel: str | None  #: where follow-ups go; none until somebody chose
    admins: tuple[str, ...]  #: Slack's ids of the people named, beside the workspace's own admins
    setters: Setters
    welcomed_at: int | None  #: when an admin was asked the first questions
    set_up_at: int | None  #: when they were answered
