"""Find the roles of people: what admins set, by person and by Slack user group.

Roles are read from the database for every request; only the members of user groups are cached.
"""

from collections.abc import Collection

from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.access import Access, Admin, Person, find_role
from bot.slack.user_groups import UserGroups
from storage.domain.people import Choices, Role, Workspace
from storage.workspaces import list_roles, load_choices

MOST_OF_GROUP = 20  #: members of a user group that are looked up to find an active admin


class Roles:
    """The roles of people in one workspace."""

    def __init__(self, workspace: Workspace, client: AsyncWebClient) -> None:
        self._workspace = workspace
        self.groups = UserGroups(client)

    async def find_access(self, person: Person, *, now: int) -> Access:
        """Return what an active member may do."""
        return await self._find_access(person, await load_choices(self._workspace, person=person.id), now=now)

    async def may_see(self, person: Person, *, now: int) -> bool:
        """Return whether an active member may see scores."""
        choices = await load_choices(self._workspace, person=person.id)
        return choices.setters.role is not None or (await self._find_access(person, choices, now=now)).role is not None

    async def find_without_role(self, people: Collection[str], *, now: int) -> frozenset[str]:
        """Return the members among *people* who may not see scores, unless they are admins in Slack."""
        choices = await load_choices(self._workspace)
        if choices.setters.role is not None:
            return frozenset()
        named = {*choices.admins, *await list_roles(self._workspace)}
        for group in choices.roles:
            named |= await self.groups.members(group, now=now) or frozenset()
        return frozenset(people) - named

    async def list_named_admins(self, *, now: int) -> list[Admin]:
        """Return the people who are admins by name, then by a user group; they may have left."""
        choices = await load_choices(self._workspace)
        admins = [Admin(id=id) for id in choices.admins]
        for group, role in choices.roles.items():
            if role is Role.ADMIN:
                members = sorted(await self.groups.members(group, now=now) or ())
                admins += [Admin(id=id, group=group) for id in members[:MOST_OF_GROUP]]
        return admins

    async def _find_access(self, person: Person, choices: Choices, *, now: int) -> Access:
        groups, unread = list[str](), list[str]()
        if not (person.is_admin or person.id in choices.admins or person.id in choices.roles):
            for id in choices.roles:
                members = await self.groups.members(id, now=now)
                if members is None:
                    unread.append(id)
                elif person.id in members:
                    groups.append(id)
        return Access(choices=choices, role=find_role(person, choices, groups, unread=unread))
