"""Look up Slack's user groups and their members, for roles that are given to a group."""

import asyncio
from dataclasses import dataclass

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.access import UserGroup
from bot.slack.cache import TimedCache
from bot.slack.errors import error_code

log = structlog.get_logger(__name__)

#: µs; the longest delay until a change of members counts, if Slack does not report it by an event. Slack allows about
#: 20 calls of usergroups.users.list a minute.
CACHED_FOR = 60_000_000


@dataclass(frozen=True, slots=True)
class _Members:
    ids: frozenset[str] | None  #: None: Slack does not say


class UserGroups:
    """The user groups of one workspace."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._members = TimedCache[_Members](lifetime=CACHED_FOR)
        self._loading = asyncio.Lock()

    async def members(self, group: str, *, now: int) -> frozenset[str] | None:
        """Return the ids of the members of a group, read at most once a minute; None if Slack does not say."""
        async with self._loading:  # concurrent requests share one call
            members = await self._members.get(group, lambda: self._fetch_members(group), now=now)
        return members.ids if members is not None else None

    async def list_groups(self) -> list[UserGroup] | None:
        """Return the groups that are in use, by handle, or None if Slack does not let the app read them."""
        try:
            answer = await self._client.usergroups_list()
            groups = [
                UserGroup(id=str(group["id"]), handle=str(group["handle"]), name=str(group["name"]))
                for group in answer["usergroups"]
                if not group.get("date_delete")
            ]
        except Exception as exc:  # whatever went wrong, the groups are unknown
            log.warning("user groups not listed", because=type(exc).__name__, error=error_code(exc))
            return None
        return sorted(groups, key=lambda group: group.handle)

    def forget(self, group: str) -> None:
        """Invalidate the members of a group, because Slack reports that they changed."""
        self._members.forget(group)

    async def _fetch_members(self, group: str) -> _Members:
        try:
            answer = await self._client.usergroups_users_list(usergroup=group)
            return _Members(frozenset(str(id) for id in answer["users"]))
        except Exception as exc:  # whatever went wrong, the members are unknown
            log.warning("user group not looked up", because=type(exc).__name__, error=error_code(exc))
            return _Members(frozenset() if error_code(exc) == "no_such_subteam" else None)
