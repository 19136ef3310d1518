"""Look up who somebody is and what a conversation is, and remember it briefly; what cannot be found out is none."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.access import Person, Place, Verdict, may_see

log = structlog.get_logger(__name__)
T = TypeVar("T")

KEPT = 30_000_000  # µs: a member made a guest, or a channel shared, is noticed half a minute later at the latest
MOST = 5_000
#: with these Slack says that something went wrong meanwhile; what was asked for may have been done
UNSURE = frozenset({"internal_error", "fatal_error"})
#: with these it says that it cannot tell just now, not what is so
PASSING = frozenset({"ratelimited", "rate_limited", "service_unavailable", "request_timeout", *UNSURE})


class _Brief(Generic[T]):
    """Remember what was found for a short while."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, T]] = {}
        self._forgotten: dict[str, int] = {}

    async def get(self, key: str, look: Callable[[], Awaitable[T | None]], *, now: int) -> T | None:
        """Give what is remembered, else what *look* finds; nothing found is not remembered."""
        at, found = self._found.get(key, (None, None))
        if at is not None and 0 <= now - at < KEPT:
            return found
        found = None
        for _ in range(2):  # once more where it was to be forgotten while it was looked up
            started = self._forgotten.get(key)
            found = await look()
            if self._forgotten.get(key) == started:
                break
        if found is not None:
            if len(self._found) >= MOST:
                self._found.clear()
            self._found[key] = (now, found)
        return found

    def forget(self, key: str) -> None:
        """Look anew the next time."""
        self._found.pop(key, None)
        self._forgotten[key] = self._forgotten.get(key, 0) + 1


class _Unsaid(Exception):
    """Slack answers without what was asked for; whoever stands in for it need not have every method."""


class People:
    """What Slack says of the people and conversations of one workspace."""

    def __init__(
        self, client: AsyncWebClient, *, team: str, enterprise: str | None, bot_user: str | None = None
    ) -> None:
        self._client = client
        self._me = bot_user
        self._team = team
        self._enterprise = enterprise
        self._people = _Brief[Person]()
        self._places = _Brief[Place]()
        self._members = _Brief[frozenset[str]]()
        self._outsiders = _Brief[frozenset[str]]()

    async def person(self, id: str, *, now: int) -> Person | None:
        """Give a person, or none where Slack does not say."""
        try:
            return await self._the_person(id, now=now)
        except Exception as exc:  # whatever went wrong: who is not known sees nothing
            log.warning("person not looked up", because=type(exc).__name__, error=error_code(exc))
            return None

    async def place(self, id: str, *, now: int) -> Place | None:
        """Give a conversation, or none where Slack does not say."""
        try:
            return await self._the_place(id, now=now)
        except Exception as exc:  # whatever went wrong: in a place that is not known nothing is shown
            log.warning("conversation not looked up", because=type(exc).__name__, error=error_code(exc))
            return None

    async def colleague(self, id: str, *, now: int) -> Person | None:
        """Give an active member of this workspace, or none; raises where Slack does not say just now."""
        person = await self._the_person(id, now=now)
        return person if may_see(person, None, somewhere=False) is Verdict.ALLOWED else None

    async def are_all_members(self, place: str, *, now: int) -> bool:
        """Tell whether everybody in a conversation is a member of this workspace; no where Slack does not say."""
        try:
            there = set(await self._all_pages(self._client.conversations_members, "members", channel=place, limit=1000))
            listed = await self._members.get("", self._look_at_members, now=now)
        except _Unsaid:  # a stand-in for Slack that cannot say who is in a channel
            return True
        except Exception as exc:  # whatever went wrong: where it is not known who reads, nothing is posted
            log.warning("members not looked up", because=type(exc).__name__, error=error_code(exc))
            return False
        return bool(there) and listed is not None and there - {self._me} <= listed

    async def may_post(self, place: str, *, now: int) -> Verdict:
        """Tell whether follow-ups may go to a channel that somebody chose; raises where Slack does not say just now.

        It must be known not to be shared, and nobody in it known to be a guest or from elsewhere.
        """
        known = await self._the_place(place, now=now)
        if known is None:
            return Verdict.UNFOUND
        if known.is_shared:
            return Verdict.FOREIGN
        if known.is_archived:
            return Verdict.ARCHIVED
        if not known.is_ours:
            return Verdict.ABSENT
        try:
            there = await self._all_pages(self._client.conversations_members, "members", channel=place, limit=1000)
            outsiders = await self._outsiders.get("", self._look_at_outsiders, now=now)
        except _Unsaid:  # a stand-in for Slack that cannot say who is in a channel
            return Verdict.ALLOWED
        return Verdict.MIXED if outsiders is None or set(there) & outsiders else Verdict.ALLOWED

    async def by_address(self, address: str, *, now: int) -> str | None:
        """Give the Slack id of the active member with an address, or none."""
        try:
            told = await self._client.users_lookupByEmail(email=address)
        except SlackApiError as exc:
            if error_code(exc) in ("users_not_found", "missing_scope", "unknown_method"):
                return None
            raise
        found = (told.get("user") or {}).get("id")
        return found if found and await self.colleague(found, now=now) else None

    async def an_admin(self, named: Sequence[str], *, now: int) -> str | None:
        """Give the first of the people named who is an active member, else the workspace's first owner or admin."""
        for id in named:
            if await self.colleague(id, now=now):
                return id
        users = await self._all_pages(self._client.users_list, "members", limit=1000)
        for sign in ("is_primary_owner", "is_owner", "is_admin"):
            for user in users:
                if user.get(sign) and await self.colleague(user["id"], now=now):
                    return str(user["id"])
        return None

    async def _the_person(self, id: str, *, now: int) -> Person | None:
        return await self._people.get(id, lambda: _said(self._look_at_person(id)), now=now)

    async def _the_place(self, id: str, *, now: int) -> Place | None:
        return await self._places.get(id, lambda: _said(self._look_at_place(id)), now=now)

    async def _look_at_outsiders(self) -> frozenset[str]:
        """List everybody whom Slack knows here as a guest or as somebody from elsewhere."""
        users = await self._all_pages(self._client.users_list, "members", limit=1000)
        return frozenset(user["id"] for user in users if _is_guest(user) or self._is_outsider(user))

    async def _look_at_members(self) -> frozenset[str]:
        """List everybody who is a member of this workspace, and neither a guest nor somebody from elsewhere."""
        users = await self._all_pages(self._client.users_list, "members", limit=1000)
        return frozenset(user["id"] for user in users if not (_is_guest(user) or self._is_outsider(user)))

    async def _all_pages(self, method: Callable[..., Awaitable[Any]], what: str, **arguments: Any) -> list[Any]:
        found: list[Any] = []
        cursor = ""
        while True:
            try:
                answer = await method(**arguments, cursor=cursor)
            except SlackApiError as exc:
                if error_code(exc) == "unknown_method":
                    raise _Unsaid from exc
                raise
            if not isinstance(answer.get(what), list):
                raise _Unsaid
            found += answer[what]
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return found

    def forget_place(self, id: str) -> None:
        """Look at a conversation anew the next time."""
        self._places.forget(id)

    async def _look_at_person(self, id: str) -> Person:
        user = _part(await self._client.users_info(user=id), "user")
        return Person(
            id=id,
            is_guest=_is_guest(user),
            is_outsider=self._is_outsider(user),
            email=(user.get("profile") or {}).get("email"),
            name=_name(user),
            zone=user.get("tz") or "UTC",
            is_active=not (user.get("deleted") or user.get("is_bot") or user.get("is_workflow_bot")),
            is_admin=bool(user.get("is_admin") or user.get("is_owner") or user.get("is_primary_owner")),
        )

    def _is_outsider(self, user: dict[str, Any]) -> bool:
        if user.get("is_stranger"):
            return True
        if (user.get("team_id") or user.get("profile", {}).get("team")) == self._team:
            return False
        # In an organisation of several workspaces a colleague may be at home in another one.
        member = user.get("enterprise_user") or {}
        same = self._enterprise is not None and self._enterprise in (
            member.get("enterprise_id"), user.get("enterprise_id"),
        )  # fmt: skip  # either place
        return not (same or self._team in member.get("teams", ()))

    async def _look_at_place(self, id: str) -> Place:
        channel = _part(await self._client.conversations_info(channel=id), "channel")
        is_ours = channel.get("is_member", True) or not channel.get("is_private", False)
        is_archived = bool(channel.get("is_archived"))
        return Place(id=id, is_shared=self._is_shared(channel), is_ours=bool(is_ours), is_archived=is_archived)

    def _is_shared(self, channel: dict[str, Any]) -> bool:
        signs = ("is_ext_shared", "is_pending_ext_shared", "pending_connected_team_ids", "pending_shared")
        if any(channel.get(sign) for sign in signs):
            return True
        if channel.get("is_org_shared"):  # among the workspaces of one organisation
            return False
        others = set(channel.get("connected_team_ids") or ()) - {self._team, self._enterprise}
        return bool(channel.get("is_shared") or others)


async def _said(looking: Awaitable[T]) -> T | None:
    """Give what Slack says, or none where it says that there is no such thing for us; raises where it says neither."""
    try:
        return await looking
    except _Unsaid:
        return None
    except SlackApiError as exc:
        if error_code(exc) is None or error_code(exc) in PASSING:
            raise
        log.warning("Slack does not know it", error=error_code(exc))
        return None


def _part(answer: AsyncSlackResponse, name: str) -> dict[str, Any]:
    found = answer.get(name)
    if not isinstance(found, dict):
        raise _Unsaid
    return found


def _is_guest(user: dict[str, Any]) -> bool:
    return bool(user.get("is_restricted") or user.get("is_ultra_restricted"))


def _name(user: dict[str, Any]) -> str | None:
    """Give what a person is called, by the first name they have: shown, real, or of the account."""
    profile = user.get("profile") or {}
    return profile.get("real_name") or profile.get("display_name") or user.get("real_name") or user.get("name")


def error_code(exc: BaseException) -> str | None:
    """Give what Slack calls the error, where it says so."""
    answer = exc.response if isinstance(exc, SlackApiError) else None
    # Where Slack itself fails, its answer need not be a document.
    return answer.get("error") if isinstance(answer, dict | AsyncSlackResponse) and _is_document(answer) else None


def _is_document(answer: Any) -> bool:
    return isinstance(getattr(answer, "data", answer), dict)
