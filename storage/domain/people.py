"""Describe whose data it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """One Slack team: the tenant that every row belongs to."""

    id: int
    team: str  #: Slack's id of it: T0123ABCD
    name: str
