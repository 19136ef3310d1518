"""A fake Slack that returns the answers set by a test."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, web
from slack_sdk.web.async_client import AsyncWebClient

from bot.features import TABLES
from bot.slack.directory import People
from bot.slack.handling import Reply
from bot.slack.job_handling import JobTools, bind_handlers
from bot.slack.poster import Poster
from bot.slack.roles import Roles
from storage.domain.people import Workspace
from storage.job_runner import Handler

Json = Mapping[str, Any]


async def answer_nobody(*, user: str, answer_to: str | None, reply: Reply) -> None:
    """Ignore a late answer, for tests in which nobody waits for one."""
    raise AssertionError(f"{user} is answered: {reply.text}")


def bind_jobs(workspace: Workspace, *, client: AsyncWebClient, clock: Callable[[], int]) -> dict[str, Handler]:
    """Return the job handlers of all features, for a workspace with this client."""
    people = People(client, team=workspace.team, enterprise=None, roles=Roles(workspace, client))
    poster = Poster(client, workspace=workspace, people=people, clock=clock)
    tools = JobTools(workspace=workspace, people=people, poster=poster, answer_late=answer_nobody, clock=clock)
    return bind_handlers(TABLES.jobs, tools)


class ToldSlack:
    """A fake Slack that answers each method with a fixed document, or with the result of a function.

    *asked* lists the methods called.
    """

    def __init__(self) -> None:
        self.tells: dict[str, object] = {}
        self.asked: list[str] = []
        self.written: list[Json] = []  # arguments of posts and edits

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one call."""
        method = request.match_info["method"]
        self.asked.append(method)
        if method in ("chat.postMessage", "chat.update"):
            self.written.append(await request.json())
        content = self.tells[method]
        if callable(content):
            content = content()
        return web.Response(text=content, status=200) if isinstance(content, str) else web.json_response(content)


@asynccontextmanager
async def told_slack() -> AsyncIterator[tuple[ToldSlack, AsyncWebClient]]:
    """Start a fake Slack and return it with a client."""
    slack = ToldSlack()
    application = web.Application()
    application.add_routes([web.route("*", "/api/{method}", slack.answer)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
    try:
        async with ClientSession() as session:  # by default a client opens a session for each call
            yield slack, AsyncWebClient(token="xoxb-told", base_url=url, session=session)
    finally:
        await runner.cleanup()
