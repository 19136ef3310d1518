"""Look up Slack users and conversations, with a short-lived cache.

Users and conversations that cannot be looked up are None, so access checks deny them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.access import Access, Admin, Conversation, Person, UserGroup, Verdict, may_see
from bot.slack.cache import TimedCache
from bot.slack.errors import PASSING, SHUT_OUT, error_code
from bot.slack.roles import Roles

log = structlog.get_logger(__name__)
T = TypeVar("T")

CACHED_FOR = 30_000_000  # µs; the longest delay until a new guest or a newly shared channel is noticed
#: µs; Slack allows about 20 calls of users.list a minute, and a workspace needs one call per 1,000 people
LISTED_EVERY = 300_000_000
#: The most channel members missing from users.list that are looked up individually. A channel with more is treated as
#: mixed. Slack allows about 100 calls of users.info a minute.
MOST_LOOKED_UP = 50


class _NoAnswer(Exception):
    """Slack's response lacks the requested object."""


class People:
    """The users and conversations of one workspace, as Slack describes them; cached for half a minute.

    With *roles*, people without a role may not see scores, if the workspace decided so.
    """

    def __init__(
        self,
        client: AsyncWebClient,
        *,
        team: str,
        enterprise: str | None,
        bot_user: str | None = None,
        roles: Roles | None = None,
    ) -> None:
        self._client = client
        self._roles = roles
        self._bot_user = bot_user
        self._team = team
        self._enterprise = enterprise
        self._people = TimedCache[Person](lifetime=CACHED_FOR)
        self._places = TimedCache[Conversation](lifetime=CACHED_FOR)
        self._members = TimedCache[frozenset[str]](lifetime=CACHED_FOR)
        self._addresses = TimedCache[str](lifetime=CACHED_FOR)
        # From users.list: whether each user id belongs to a full member of this workspace, and the ids of the admins.
        self._full_members: dict[str, bool] = {}
        self._admins: Sequence[str] = ()
        self._listed_at: int | None = None
        self._listing = asyncio.Lock()
        self._changed: dict[str, bool] = {}  # users changed since the running listing began: id → is a full member

    async def person(self, id: str, *, now: int) -> Person | None:
        """Return a person, or None if Slack does not answer or does not know the id."""
        try:
            return await self._load_person(id, now=now)
        except Exception as exc:  # whatever went wrong, an unknown person sees nothing
            log.warning("person not looked up", because=type(exc).__name__, error=error_code(exc))
            return None

    async def place(self, id: str, *, now: int) -> Conversation | None:
        """Return a conversation, or None if Slack does not answer or does not show it to the app."""
        try:
            return await self._load_conversation(id, now=now)
        except Exception as exc:  # whatever went wrong, nothing is shown in an unknown conversation
            log.warning("conversation not looked up", because=type(exc).__name__, error=error_code(exc))
            return None

    async def colleague(self, id: str, *, now: int) -> Person | None:
        """Return an active member of this workspace who may see scores, or None; raises if Slack cannot answer now."""
        person = await self._load_person(id, now=now)
        return person if await self._check_person(person, now=now) is Verdict.ALLOWED else None

    async def find_access(self, person: Person, *, now: int) -> Access:
        """Return what an active member may do."""
        assert self._roles is not None
        return await self._roles.find_access(person, now=now)

    async def reader(self, direct: str, *, now: int) -> str | None:
        """Return the id of the other person in direct messages with the app, or None.

        Raises Slack's error if Slack cannot answer now.
        """
        conversation = await self._load_conversation(direct, now=now)
        if conversation is not None and conversation.person is not None:
            return conversation.person
        others = (await self._load_members(direct, now=now) or frozenset()) - {self._bot_user}
        return next(iter(others)) if len(others) == 1 else None

    async def may_read_now(self, person: str, *, now: int) -> Verdict:
        """Return whether a person may see scores in direct messages; UNKNOWN if Slack cannot answer now."""
        return await self._check_person(await self.person(person, now=now), now=now)

    async def may_read(self, person: str, *, now: int) -> Verdict:
        """Return whether a person may see scores in direct messages; raises if Slack cannot answer now."""
        return await self._check_person(await self._load_person(person, now=now), now=now)

    async def may_post(self, channel: str, *, now: int) -> Verdict:
        """Return whether everyone who reads a channel may see scores; raises if Slack cannot answer now.

        ALLOWED means that the channel is not shared, that every member is a full member of this workspace, and that
        every member has a role, if only people with a role may see scores.
        """
        verdict = await self.may_reach(channel, now=now)
        if verdict is not Verdict.ALLOWED:
            return verdict
        if not await self._are_all_members(channel, now=now):
            return Verdict.MIXED
        return Verdict.ALLOWED if await self._have_all_roles(channel, now=now) else Verdict.RESTRICTED

    async def may_reach(self, channel: str, *, now: int) -> Verdict:
        """Return whether the app can post in a channel that is not shared, whoever its members are.

        Raises if Slack cannot answer now.
        """
        conversation = await self._load_conversation(channel, now=now)
        if conversation is None:
            return Verdict.UNFOUND
        if conversation.is_shared:
            return Verdict.FOREIGN
        if conversation.is_archived:
            return Verdict.ARCHIVED
        if not conversation.is_ours:
            return Verdict.ABSENT
        return Verdict.ALLOWED

    async def may_post_now(self, channel: str, *, now: int) -> Verdict:
        """Return whether everyone who reads a channel may see scores; MIXED if Slack cannot answer now."""
        try:
            return await self.may_post(channel, now=now)
        except Exception as exc:  # whatever went wrong, the readers are unknown
            log.warning("members not looked up", because=type(exc).__name__, error=error_code(exc))
            return Verdict.MIXED

    async def list_outsiders(self, channel: str, *, most: int, now: int) -> list[Person]:
        """Return the first guests and people of other organizations in a channel; none if Slack cannot answer now."""
        try:
            members = await self._load_members(channel, now=now) or frozenset()
            await self._list_members(now=now)
        except Exception as exc:  # whatever went wrong, they are unknown
            log.warning("members not looked up", because=type(exc).__name__, error=error_code(exc))
            return []
        outsiders = list[Person]()
        unlisted = sorted(id for id in members - {self._bot_user} if not self._full_members.get(id))
        for id in unlisted[:MOST_LOOKED_UP]:
            person = await self.person(id, now=now)
            if person is not None and (person.is_guest or person.is_outsider):
                outsiders.append(person)
            if len(outsiders) == most:
                break
        return outsiders

    async def by_address(self, address: str, *, now: int) -> str | None:
        """Return the Slack id of the active member with an e-mail address, or None."""
        user_id = await self._addresses.get(address, lambda: self._look_up_address(address), now=now)
        return user_id if user_id and await self.colleague(user_id, now=now) else None

    async def _look_up_address(self, address: str) -> str:
        """Return the Slack id of the user with an e-mail address; blank, which is cached, if there is none."""
        try:
            response = await self._client.users_lookupByEmail(email=address)
        except SlackApiError as exc:
            if error_code(exc) in ("users_not_found", "missing_scope", "unknown_method"):
                return ""
            raise
        return (response.get("user") or {}).get("id") or ""

    async def an_admin(self, *, now: int) -> str | None:
        """Return an active admin, or None: by name, else by a user group, else an owner or admin of the workspace.

        Raises if Slack cannot answer now.
        """
        async for admin in self._find_admins(now=now):
            if await self.colleague(admin.id, now=now):
                return admin.id
        return None

    async def list_admins(self, *, most: int, now: int) -> list[Admin]:
        """Return at most *most* active admins, in the order of `an_admin`; a person may be an admin in several ways.

        Whoever cannot be looked up now is left out.
        """
        admins: list[Admin] = []
        try:
            async for admin in self._find_admins(now=now):
                if may_see(await self.person(admin.id, now=now), None, somewhere=False) is Verdict.ALLOWED:
                    admins.append(admin)
                if len(admins) == most:
                    break
        except Exception as exc:  # whatever went wrong, the admins of the Slack workspace are unknown
            log.warning("admins not looked up", because=type(exc).__name__, error=error_code(exc))
        return admins

    async def has_unnamed_admin(self, *, besides: str, now: int) -> bool:
        """Return whether an active member is an admin in Slack, or by a user group other than *besides*."""
        try:
            async for admin in self._find_admins(now=now):
                if admin.is_named or admin.group == besides:
                    continue
                if await self.colleague(admin.id, now=now):
                    return True
        except Exception as exc:  # whatever went wrong, it is not known that there is one
            log.warning("admins not looked up", because=type(exc).__name__, error=error_code(exc))
        return False

    async def _find_admins(self, *, now: int) -> AsyncIterator[Admin]:
        """Yield the admins, who may have left: those named in the app, of user groups, and of the Slack workspace."""
        for admin in await self._roles.list_named_admins(now=now) if self._roles is not None else []:
            yield admin
        await self._list_members(now=now)
        for id in self._admins:
            yield Admin(id=id, is_of_slack=True)

    async def list_groups(self) -> list[UserGroup] | None:
        """Return the user groups of this workspace, or None if Slack does not let the app read them."""
        return await self._roles.groups.list_groups() if self._roles is not None else None

    def forget_group(self, id: str) -> None:
        """Invalidate the members of a user group."""
        if self._roles is not None:
            self._roles.groups.forget(id)

    async def _check_person(self, person: Person | None, *, now: int) -> Verdict:
        """Return whether a person may see scores where no conversation is involved."""
        verdict = may_see(person, None, somewhere=False)
        if person is None or verdict is not Verdict.ALLOWED or self._roles is None:
            return verdict
        return Verdict.ALLOWED if await self._roles.may_see(person, now=now) else Verdict.NO_ROLE

    async def _load_person(self, id: str, *, now: int) -> Person | None:
        return await self._people.get(id, lambda: _answer_or_none(self._fetch_person(id)), now=now)

    async def _load_conversation(self, id: str, *, now: int) -> Conversation | None:
        return await self._places.get(id, lambda: _answer_or_none(self._fetch_conversation(id)), now=now)

    async def _load_members(self, channel: str, *, now: int) -> frozenset[str] | None:
        return await self._members.get(channel, lambda: _answer_or_none(self._fetch_members(channel)), now=now)

    async def _fetch_members(self, channel: str) -> frozenset[str]:
        method = self._client.conversations_members
        return frozenset(await self._fetch_all_pages(method, "members", channel=channel, limit=1000))

    async def _are_all_members(self, channel: str, *, now: int) -> bool:
        """Return whether the channel has members and each is a full member of this workspace or the app itself."""
        members = await self._load_members(channel, now=now)
        if not members:
            return False
        await self._list_members(now=now)
        listed = {id: self._full_members.get(id) for id in members - {self._bot_user}}
        unlisted = [id for id, is_full_member in listed.items() if is_full_member is None]
        if False in listed.values():
            return False
        if len(unlisted) > MOST_LOOKED_UP:
            log.warning("too many members to be looked up", members=len(unlisted))
            return False
        for id in unlisted:
            person = await self._load_person(id, now=now)
            if person is None or person.is_guest or person.is_outsider:
                return False
        return True

    async def _have_all_roles(self, channel: str, *, now: int) -> bool:
        """Return whether every member of a channel may see scores by a role or as an admin of the Slack workspace."""
        if self._roles is None:
            return True
        members = await self._load_members(channel, now=now) or frozenset()
        without = await self._roles.find_without_role(members - {self._bot_user}, now=now)
        if len(without) > MOST_LOOKED_UP:
            return False
        for id in without:
            person = await self._load_person(id, now=now)
            if person is None or not person.is_admin:
                return False
        return True

    async def _list_members(self, *, now: int) -> None:
        """Load users.list, at most every five minutes; if Slack refuses the call, the list is empty."""
        async with self._listing:  # concurrent jobs share one load
            if self._listed_at is not None and 0 <= now - self._listed_at < LISTED_EVERY:
                return
            self._changed.clear()
            users = await _answer_or_none(self._fetch_all_pages(self._client.users_list, "members", limit=1000)) or []
            self._full_members = {user["id"]: self._is_full_member(user) for user in users}
            flags = ("is_primary_owner", "is_owner", "is_admin")
            # Each admin once, ordered by the highest role.
            self._admins = list(dict.fromkeys(user["id"] for flag in flags for user in users if user.get(flag)))
            for id, is_full_member in self._changed.items():
                self._drop_outdated(id, is_full_member)
            self._listed_at = now

    def _is_full_member(self, user: Mapping[str, Any]) -> bool:
        return not (_is_guest(user) or self._is_outsider(user))

    def _drop_outdated(self, id: str, is_full_member: bool) -> None:
        """Drop the users.list entry of a person if it no longer holds, so that the person is looked up individually."""
        if self._full_members.get(id) is not is_full_member:
            self._full_members.pop(id, None)

    async def _fetch_all_pages(self, method: Callable[..., Awaitable[Any]], field: str, **arguments: Any) -> list[Any]:
        items: list[Any] = []
        cursor = ""
        while True:
            answer = await method(**arguments, cursor=cursor)
            if not isinstance(answer.get(field), list):
                raise _NoAnswer
            items += answer[field]
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return items

    def forget_place(self, id: str) -> None:
        """Invalidate a conversation and its members."""
        self._places.forget(id)
        self._members.forget(id)

    def person_changed(self, user: Mapping[str, Any]) -> None:
        """Invalidate a person; *user* is the user object in Slack's event."""
        id, is_full_member = str(user.get("id")), self._is_full_member(user)
        self._people.forget(id)
        # Most events only report a new status or picture, so a users.list entry that still holds is kept.
        self._drop_outdated(id, is_full_member)
        if self._listing.locked():
            self._changed[id] = is_full_member

    async def _fetch_person(self, id: str) -> Person:
        user = _read_part(await self._client.users_info(user=id), "user")
        return Person(
            id=id,
            is_guest=_is_guest(user),
            is_outsider=self._is_outsider(user),
            email=(user.get("profile") or {}).get("email"),
            name=_read_name(user),
            zone=user.get("tz") or "UTC",
            is_active=not (user.get("deleted") or user.get("is_bot") or user.get("is_workflow_bot")),
            is_admin=bool(user.get("is_admin") or user.get("is_owner") or user.get("is_primary_owner")),
        )

    def _is_outsider(self, user: Mapping[str, Any]) -> bool:
        if user.get("is_stranger"):
            return True
        if (user.get("team_id") or (user.get("profile") or {}).get("team")) == self._team:
            return False
        # In an organization of several workspaces, a colleague's home may be another workspace.
        member = user.get("enterprise_user") or {}
        is_colleague = self._enterprise is not None and self._enterprise in (
            member.get("enterprise_id"), user.get("enterprise_id"),
        )  # fmt: skip  # Slack sends the organization id in either place
        return not (is_colleague or self._team in member.get("teams", ()))

    async def _fetch_conversation(self, id: str) -> Conversation:
        channel = _read_part(await self._client.conversations_info(channel=id), "channel")
        is_ours = channel.get("is_member", True) or not channel.get("is_private", False)
        is_archived = bool(channel.get("is_archived"))
        return Conversation(
            id=id,
            is_shared=self._is_shared(channel),
            is_ours=bool(is_ours),
            is_archived=is_archived,
            person=str(channel["user"]) if channel.get("user") else None,
        )

    def _is_shared(self, channel: dict[str, Any]) -> bool:
        flags = ("is_ext_shared", "is_pending_ext_shared", "pending_connected_team_ids", "pending_shared")
        if any(channel.get(flag) for flag in flags):
            return True
        if channel.get("is_org_shared"):  # shared among workspaces of the same organization
            return False
        others = set(channel.get("connected_team_ids") or ()) - {self._team, self._enterprise}
        return bool(channel.get("is_shared") or others)


async def _answer_or_none(call: Awaitable[T]) -> T | None:
    """Return the result of a Slack call, or None if Slack says that the object does not exist or is not visible.

    Raises SlackApiError if the error is temporary or the app is locked out.
    """
    try:
        return await call
    except _NoAnswer:
        return None
    except SlackApiError as exc:
        if error_code(exc) in (None, *PASSING, *SHUT_OUT):
            raise
        log.warning("Slack does not know it", error=error_code(exc))
        return None


def _read_part(answer: AsyncSlackResponse, name: str) -> dict[str, Any]:
    part = answer.get(name)
    if not isinstance(part, dict):
        raise _NoAnswer
    return part


def _is_guest(user: Mapping[str, Any]) -> bool:
    return bool(user.get("is_restricted") or user.get("is_ultra_restricted"))


def _read_name(user: dict[str, Any]) -> str | None:
    """Return a person's name: the real name, or else the display name, or else the account name."""
    profile = user.get("profile") or {}
    return profile.get("real_name") or profile.get("display_name") or user.get("real_name") or user.get("name")
