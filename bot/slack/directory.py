"""Look up Slack users and conversations, with a short-lived cache.

Users and conversations that cannot be looked up are None, so access checks deny them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.access import Conversation, Person, Verdict, may_see

log = structlog.get_logger(__name__)
T = TypeVar("T")

KEPT = 30_000_000  # µs; the longest delay until a new guest or a newly shared channel is noticed
MOST = 5_000
#: µs; Slack allows about 20 calls of users.list a minute, and a workspace needs one call per 1,000 people
LISTED_EVERY = 300_000_000
#: The most channel members missing from users.list that are looked up individually. A channel with more is treated as
#: mixed. Slack allows about 100 calls of users.info a minute.
MOST_LOOKED_UP = 50
#: errors after which the request may or may not have been carried out
UNSURE = frozenset({"internal_error", "fatal_error"})
#: temporary errors, which say nothing about the requested object
PASSING = frozenset({"ratelimited", "rate_limited", "service_unavailable", "request_timeout", *UNSURE})
#: errors by which Slack rejects the app's token, whatever the request
SHUT_OUT = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"})


class _Cache(Generic[T]):
    """A cache with an expiry of KEPT µs."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[int, T]] = {}
        self._invalidations: dict[str, int] = {}

    async def get(self, key: str, load: Callable[[], Awaitable[T | None]], *, now: int) -> T | None:
        """Return the cached value, or else the result of *load*; None is not cached."""
        at, value = self._entries.get(key, (None, None))
        if at is not None and 0 <= now - at < KEPT:
            return value
        value = None
        for _ in range(2):  # load again if the key was invalidated while loading
            started = self._invalidations.get(key)
            value = await load()
            if self._invalidations.get(key) == started:
                break
        if value is not None:
            if len(self._entries) >= MOST:
                self._entries.clear()
            self._entries[key] = (now, value)
        return value

    def forget(self, key: str) -> None:
        """Invalidate a key, so that the next `get` loads it again."""
        self._entries.pop(key, None)
        self._invalidations[key] = self._invalidations.get(key, 0) + 1


class _NoAnswer(Exception):
    """Slack's response lacks the requested object."""


class People:
    """The users and conversations of one workspace, as Slack describes them; cached for half a minute."""

    def __init__(
        self, client: AsyncWebClient, *, team: str, enterprise: str | None, bot_user: str | None = None
    ) -> None:
        self._client = client
        self._bot_user = bot_user
        self._team = team
        self._enterprise = enterprise
        self._people = _Cache[Person]()
        self._places = _Cache[Conversation]()
        self._members = _Cache[frozenset[str]]()
        self._addresses = _Cache[str]()
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
        """Return an active member of this workspace, or None; raises if Slack cannot answer now."""
        person = await self._load_person(id, now=now)
        return person if may_see(person, None, somewhere=False) is Verdict.ALLOWED else None

    async def reader(self, direct: str, *, now: int) -> str | None:
        """Return the id of the other person in direct messages with the app, or None.

        Raises Slack's error if Slack cannot answer now.
        """
        conversation = await self._load_conversation(direct, now=now)
        if conversation is not None and conversation.person is not None:
            return conversation.person
        others = (await self._load_members(direct, now=now) or frozenset()) - {self._bot_user}
        return next(iter(others)) if len(others) == 1 else None

    async def may_read(self, person: str, *, now: int) -> Verdict:
        """Return whether a person may see scores in direct messages; raises if Slack cannot answer now."""
        return may_see(await self._load_person(person, now=now), None, somewhere=False)

    async def may_post(self, channel: str, *, now: int) -> Verdict:
        """Return whether everyone who reads a channel may see scores; raises if Slack cannot answer now.

        ALLOWED means that the channel is not shared and that every member is a full member of this workspace.
        """
        verdict = await self.may_reach(channel, now=now)
        if verdict is not Verdict.ALLOWED:
            return verdict
        return Verdict.ALLOWED if await self._are_all_members(channel, now=now) else Verdict.MIXED

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

    async def an_admin(self, candidates: Sequence[str], *, now: int) -> str | None:
        """Return the first candidate that is an active member, or else the first active owner or admin, or None."""
        for id in candidates:
            if await self.colleague(id, now=now):
                return id
        await self._list_members(now=now)
        for id in self._admins:
            if await self.colleague(id, now=now):
                return id
        return None

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


def error_code(exc: BaseException) -> str | None:
    """Return Slack's error code, or None if the exception has none."""
    answer = exc.response if isinstance(exc, SlackApiError) else None
    # If Slack itself fails, the response body is not necessarily a JSON object.
    return answer.get("error") if isinstance(answer, dict | AsyncSlackResponse) and _is_document(answer) else None


def _is_document(answer: Any) -> bool:
    return isinstance(getattr(answer, "data", answer), dict)
