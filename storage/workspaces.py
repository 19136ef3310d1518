"""Store the workspaces and their admins' settings."""

import json
import re
from collections.abc import Sequence

from storage.alerts import rules as alert_rules
from storage.audit import AuditAction, record_change
from storage.db import database
from storage.db.database import Session
from storage.domain.errors import AlreadyThere, BadName, UnknownWorkspace
from storage.domain.people import Choices, Setters, Workspace
from storage.domain.score_types import Band
from storage.scoring.definitions import insert_type

FIRST_TYPE = "score"
_PERSON = re.compile(r"[UW][A-Z0-9]{2,31}", re.ASCII)


async def add_workspace(team: str, *, name: str, by: str, now: int) -> Workspace:
    """Create a workspace with the score type `score` (0 to 100) and a disabled alert rule, and return it.

    Raises BadName for a malformed team id or name, AlreadyThere if the workspace exists.
    """
    if not team.isascii() or not team.isalnum() or not 2 <= len(team) <= 32:
        raise BadName(f"`{team[:40]}` is not a workspace id: Slack's look like T0123ABCD")
    if not 1 <= len(name.strip()) <= 200:
        raise BadName("a workspace's name has 1 to 200 characters")

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
        await alert_rules.insert_default(session, workspace, now=now)
        await record_change(
            session, workspace, who=by, what=AuditAction.WORKSPACE_ADDED, subject=team,
            before=None, after={"name": workspace.name}, now=now,
        )  # fmt: skip  # who and what, then the states
        return workspace

    return await database.write(body)


async def find_workspace(team: str) -> Workspace:
    """Return the workspace of a Slack team; raises UnknownWorkspace."""
    rows = await database.read("SELECT id, team, name FROM workspaces WHERE team = $1", team)
    if not rows:
        raise UnknownWorkspace(f"there is no workspace {team[:40]}")
    return Workspace(**rows[0])


async def all_workspaces() -> list[Workspace]:
    """Return every workspace, sorted by team id."""
    rows = await database.read("SELECT id, team, name FROM workspaces ORDER BY team")
    return [Workspace(**row) for row in rows]


async def load_choices(workspace: Workspace) -> Choices:
    """Return the settings that the admins of a workspace chose."""
    rows = await database.read(
        "SELECT alert_channel, admins, setters, welcomed_at, set_up_at FROM workspaces WHERE id = $1", workspace.id
    )
    row = rows[0]
    return Choices(
        **{**row, "admins": tuple(json.loads(row["admins"])), "setters": Setters(row["setters"])},
    )


async def name_admins(workspace: Workspace, *, people: Sequence[str], by: str, now: int) -> None:
    """Set the people who are admins besides Slack's own workspace admins; raises BadName for a malformed user id."""
    for person in people:
        if not _PERSON.fullmatch(person):
            raise BadName(f"`{person[:40]}` is not a user id: Slack's look like U0123ABCD")
    admins = list(dict.fromkeys(people))

    async def body(session: Session) -> None:
        before = json.loads(await _lock_setting(session, workspace, "admins"))
        await session.rows("UPDATE workspaces SET admins = $2 WHERE id = $1", workspace.id, json.dumps(admins))
        await record_change(
            session, workspace, who=by, what=AuditAction.ADMINS_SET, subject=workspace.team,
            before={"admins": before}, after={"admins": admins}, now=now,
        )  # fmt: skip  # who and what, then the states

    await database.write(body)


async def choose_setters(workspace: Workspace, *, setters: Setters, by: str, now: int) -> None:
    """Set who may change scores."""

    async def body(session: Session) -> None:
        before = await _lock_setting(session, workspace, "setters")
        await session.rows("UPDATE workspaces SET setters = $2 WHERE id = $1", workspace.id, setters.value)
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
    await database.change(
        "UPDATE workspaces SET welcomed_at = $2 WHERE id = $1 AND welcomed_at IS NULL", workspace.id, now
    )
