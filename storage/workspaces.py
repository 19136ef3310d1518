"""Keep the workspaces."""

from storage import database
from storage.definitions import insert_type
from storage.domain.errors import AlreadyThere, BadName, UnknownWorkspace
from storage.domain.people import Workspace
from storage.domain.score_types import Band

FIRST_TYPE = "score"


async def add_workspace(team: str, *, name: str, now: int) -> Workspace:
    """Make a workspace with the score type `score` (0 to 100); raises AlreadyThere."""
    if not team.isascii() or not team.isalnum() or not 2 <= len(team) <= 32:
        raise BadName(f"`{team[:40]}` is no workspace id: Slack's look like T0123ABCD")
    if not 1 <= len(name.strip()) <= 200:
        raise BadName("a workspace's name has 1 to 200 characters")

    async def body(session: database.Session) -> Workspace:
        made = await session.rows(
            "INSERT INTO workspaces (team, name, default_type, created_at) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT DO NOTHING RETURNING id",
            team,
            name.strip(),
            FIRST_TYPE,
            now,
        )
        if not made:
            raise AlreadyThere(f"the workspace {team} is there already")
        workspace = Workspace(id=made[0]["id"], team=team, name=name.strip())
        bands = (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))
        await insert_type(
            session, workspace, key=FIRST_TYPE, label="Score", minimum=0, maximum=100_000, step=1000, start=0,
            bands=bands, now=now,
        )  # fmt: skip  # the numbers of one definition stand together
        return workspace

    return await database.write(body)


async def find_workspace(team: str) -> Workspace:
    """Give the workspace of a Slack team; raises UnknownWorkspace."""
    rows = await database.read("SELECT id, team, name FROM workspaces WHERE team = $1", team)
    if not rows:
        raise UnknownWorkspace(f"there is no workspace {team[:40]}")
    return Workspace(**rows[0])


async def all_workspaces() -> list[Workspace]:
    """Give every workspace, by id."""
    rows = await database.read("SELECT id, team, name FROM workspaces ORDER BY team")
    return [Workspace(**row) for row in rows]
