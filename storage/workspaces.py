"""Store the workspaces, their admins' settings, and the roles of people and user groups."""

import json
import re
from collections.abc import Callable, Sequence

from storage.audit import AuditAction, record_change
from storage.db import database, models
from storage.db.database import Session
from storage.domain.errors import AlreadyThere, BadName, Refusal, UnknownWorkspace
from storage.domain.people import Choices, Role, Setters, Workspace
from storage.domain.score_types import Band
from storage.scoring.definitions import insert_type

FIRST_TYPE = "score"
#: Each request loads the admins and the roles of user groups, and asks Slack who belongs to these groups.
MOST_ADMINS, MOST_GROUPS = 100, 10
_PERSON = re.compile(r"[UW][A-Z0-9]{2,31}", re.ASCII)
_GROUP = re.compile(r"S[A-Z0-9]{2,31}", re.ASCII)
_IS_GROUP = "subject >= 'S' AND subject < 'T'"


class LastAdmin(Refusal):
    """Nobody would be an admin any more: add another admin first"""


class NotAdmin(Refusal):
    """The person is not an admin by name."""


class TooManyRoles(Refusal):
    """The admins, or the user groups with a role, are as many as there can be."""


async def add_workspace(team: str, *, name: str, by: str, now: int) -> Workspace:
    """Create a workspace with the score type `score` (0 to 100) and a disabled alert rule, and return it.

    Raises BadName for a malformed team id or name, AlreadyThere if the workspace exists.
    """
    if not team.isascii() or not team.isalnum() or not 2 <= len(team) <= 32:
        raise BadName(f"`{team[:40]}` is not a workspace id: Slack's look like T0123ABCD")
    if not 1 <= len(name.strip()) <= 200:
        raise BadName("a workspace's name has 1 to 200 characters")
    from storage.alerts.rules import insert_default  # every command finds its workspace; few add one

    async def body(session: Session) -> Workspace:
        inserted = await session.rows(
            "INSERT INTO workspaces (team, name, default_type, admins, setters, created_at)"
            " VALUES ($1, $2, $3, '[]', $5, $4) ON CONFLICT DO NOTHING RETURNING id",
            team,
            name.strip(),
            FIRST_TYPE,
            now,
            Setters.MEMBERS,
        )
        if not inserted:
            raise AlreadyThere(f"the workspace {team} already exists")
        workspace = Workspace(id=inserted[0]["id"], team=team, name=name.strip())
        bands = (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))
        await insert_type(
            session, workspace, key=FIRST_TYPE, label="Score", minimum=0, maximum=100_000, step=1000, start=0,
            bands=bands, now=now,
        )  # fmt: skip  # the definition's numbers stay on one line
        await insert_default(session, workspace, now=now)
        await record_change(
            session, workspace, who=by, what=AuditAction.WORKSPACE_ADDED, subject=team,
            before=None, after={"name": workspace.name}, now=now,
        )  # fmt: skip  # who and what, then the states
        return workspace

    return await database.write(body)


async def find_workspace(team: str) -> Workspace:
    """Return the workspace of a Slack team; raises UnknownWorkspace."""
    rows = await database.load(models.Workspace.filter(team=team), "id", "team", "name")
    if not rows:
        raise UnknownWorkspace(f"there is no workspace {team[:40]}")
    return Workspace(**rows[0])


async def all_workspaces() -> list[Workspace]:
    """Return every workspace, sorted by team id."""
    rows = await database.load(models.Workspace.all().order_by("team"), "id", "team", "name")
    return [Workspace(**row) for row in rows]


async def load_choices(workspace: Workspace, *, person: str = "") -> Choices:
    """Return the settings that the admins of a workspace chose, with the roles of user groups and of a person."""
    rows = await database.read(
        "SELECT w.alert_channel, w.admins, w.setters, w.welcomed_at, w.set_up_at, r.subject, r.role FROM workspaces w"
        f" LEFT JOIN roles r ON r.workspace_id = w.id AND (r.subject = $2 OR {_IS_GROUP}) WHERE w.id = $1",
        workspace.id,
        person,
    )
    row = rows[0]
    return Choices(
        alert_channel=row["alert_channel"],
        admins=tuple(json.loads(row["admins"])),
        setters=Setters(row["setters"]),
        welcomed_at=row["welcomed_at"],
        set_up_at=row["set_up_at"],
        roles={row["subject"]: Role(row["role"]) for row in rows if row["subject"] is not None},
    )


async def list_roles(workspace: Workspace) -> dict[str, Role]:
    """Return the roles of people and user groups by id, ordered by id. People who are admins are not included."""
    rows = await database.load(models.Role.filter(workspace_id=workspace.id).order_by("subject"), "subject", "role")
    return {row["subject"]: Role(row["role"]) for row in rows}


async def name_admins(workspace: Workspace, *, people: Sequence[str], by: str, now: int) -> None:
    """Set the people who are admins besides Slack's own workspace admins.

    Raises BadName for a malformed user id, TooManyRoles.
    """
    await _change_admins(workspace, lambda _: people, by=by, now=now)


async def change_admins(workspace: Workspace, *, add: Sequence[str], remove: Sequence[str], by: str, now: int) -> None:
    """Add and remove people who are admins besides Slack's own workspace admins.

    Raises LastAdmin if nobody would be left, NotAdmin for a person to remove who is not one, BadName for a malformed
    user id, TooManyRoles.
    """

    def change(admins: Sequence[str]) -> Sequence[str]:
        for person in remove:
            if person not in admins:
                raise NotAdmin(f"`{person[:40]}` is not an admin by name; named are: {', '.join(admins) or 'nobody'}")
        changed = [person for person in [*admins, *add] if person not in remove]
        if remove and not changed:
            raise LastAdmin
        return changed

    await _change_admins(workspace, change, by=by, now=now)


async def _change_admins(
    workspace: Workspace, change: Callable[[Sequence[str]], Sequence[str]], *, by: str, now: int
) -> None:
    """Replace the named admins with the result of *change*; they lose any other role of their own."""

    async def body(session: Session) -> None:
        before = json.loads(await _lock_setting(session, workspace, "admins"))
        admins = list(dict.fromkeys(change(before)))
        for person in admins:
            if not _PERSON.fullmatch(person):
                raise BadName(f"`{person[:40]}` is not a user id: Slack's look like U0123ABCD")
        await _store_admins(session, workspace, admins)
        await session.rows(
            "DELETE FROM roles WHERE workspace_id = $2 AND subject IN (SELECT subject FROM given(subject text))",
            [{"subject": person} for person in admins],
            workspace.id,
        )
        await record_change(
            session, workspace, who=by, what=AuditAction.ADMINS_SET, subject=workspace.team,
            before={"admins": before}, after={"admins": admins}, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def set_role(
    workspace: Workspace, *, subject: str, role: Role | None, by: str, now: int, has_other_admins: bool = False
) -> Role | None:
    """Set the role of a person or a user group, or remove it, and return the role before.

    *has_other_admins*: there are admins besides those that the workspace names, and besides *subject*. Raises LastAdmin
    if nobody would be an admin any more, BadName for a malformed id, TooManyRoles.
    """
    is_group = _is_group(subject)
    if not is_group and not _PERSON.fullmatch(subject):
        raise BadName(
            f"`{subject[:40]}` is not the id of a person or user group: Slack's look like U0123ABCD, S0123ABCD"
        )

    async def body(session: Session) -> Role | None:
        admins = json.loads(await _lock_setting(session, workspace, "admins"))
        rows = await session.rows(
            f"SELECT subject, role FROM roles WHERE workspace_id = $1 AND (subject = $2 OR {_IS_GROUP})",
            workspace.id,
            subject,
        )
        roles = {row["subject"]: Role(row["role"]) for row in rows}
        before = Role.ADMIN if subject in admins else roles.get(subject)
        if before is role:
            return before
        remaining = [person for person in admins if person != subject]
        if before is Role.ADMIN and not remaining and not has_other_admins:
            raise LastAdmin
        if is_group and before is None and sum(map(_is_group, roles)) >= MOST_GROUPS:
            raise TooManyRoles(f"at most {MOST_GROUPS} user groups have a role: remove the role of another one first")
        is_named = role is Role.ADMIN and not is_group
        if is_named or subject in admins:
            await _store_admins(session, workspace, [*remaining, subject] if is_named else remaining)
        if role is None or is_named:
            await session.delete(models.Role.filter(workspace_id=workspace.id, subject=subject))
        else:
            await session.rows(
                "INSERT INTO roles (workspace_id, subject, role) VALUES ($1, $2, $3)"
                " ON CONFLICT (workspace_id, subject) DO UPDATE SET role = excluded.role",
                workspace.id,
                subject,
                role.value,
            )
        await record_change(
            session, workspace, who=by, what=AuditAction.ROLE_SET, subject=subject,
            before=None if before is None else {"role": before.value},
            after=None if role is None else {"role": role.value}, now=now,
        )  # fmt: skip  # who and what, then the states
        return before

    return await database.write(body)


def _is_group(subject: str) -> bool:
    return bool(_GROUP.fullmatch(subject))


async def _store_admins(session: Session, workspace: Workspace, admins: Sequence[str]) -> None:
    if len(admins) > MOST_ADMINS:
        raise TooManyRoles(
            f"at most {MOST_ADMINS} people can be named as admins: give the role to a user group instead"
        )
    await session.update(models.Workspace.filter(id=workspace.id), admins=json.dumps(admins))


async def choose_setters(workspace: Workspace, *, setters: Setters, by: str, now: int) -> None:
    """Set who may change scores."""

    async def body(session: Session) -> None:
        before = await _lock_setting(session, workspace, "setters")
        await session.update(models.Workspace.filter(id=workspace.id), setters=setters.value)
        await record_change(
            session, workspace, who=by, what=AuditAction.SETTERS_SET, subject=workspace.team,
            before={"setters": before}, after={"setters": setters.value}, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def _lock_setting(session: Session, workspace: Workspace, column: str) -> str:
    """Return a setting of a workspace, locked until the transaction ends."""
    (row,) = await session.rows(f"SELECT {column} FROM workspaces WHERE id = $1 FOR NO KEY UPDATE", workspace.id)
    return str(row[column])


async def record_welcome(workspace: Workspace, *, now: int) -> None:
    """Record when an admin was first sent the setup questions. A later call changes nothing."""
    unwelcomed = models.Workspace.filter(id=workspace.id, welcomed_at__isnull=True)
    await database.current_database().writer.update(unwelcomed, welcomed_at=now)
