"""`contact-score demo`: run a small Slack with sample contacts on this machine."""

import asyncio
import secrets
import signal
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from bot.cli import output
from bot.cli.run import refusals, terminal_user
from bot.settings import Settings
from storage.domain.score_types import parse_band
from storage.scoring.definitions import add_score_type
from storage.sources.config import add_source, find_source, sources
from storage.tokens import create_token, revoke_token, tokens
from storage.workspaces import find_workspace

PORT = 8080
TEAM, NAME, SOURCE, AGENT = "T0DEMO", "Acme", "sample-crm", "demo agent"
HOST = "127.0.0.1"


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the database; by default it is temporary.")
    ] = None,
) -> None:
    """Try Contact Score: nothing is installed in any Slack, and nothing leaves this machine."""
    with refusals(), _open_database(keep) as path:
        asyncio.run(_run_demo(path, is_kept=keep is not None))


@contextmanager
def _open_database(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="contact-score-") as folder:
        yield Path(folder) / "demo.db"


async def _run_demo(path: Path, *, is_kept: bool) -> None:
    # Slack's libraries take half a second to import, so the other commands do not import them.
    from bot import logs
    from bot.demo import Sandbox
    from bot.demo.crm import bodies
    from bot.service import Service
    from webhooks.authentication.recipes import RECIPES
    from webhooks.authentication.signatures import new_secret

    logs.set_up(level="warning", form="console")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    signing_secret, token, crm_secret = (
        secrets.token_hex(16),
        f"xoxb-{secrets.token_hex(12)}",
        new_secret(RECIPES["standard-webhooks"][0]),
    )
    sandbox = Sandbox(app_url="", signing_secret=signing_secret, crm_secret=crm_secret, team_id=TEAM, team_name=NAME)
    port = _choose_port()
    page = await sandbox.start(HOST, port)
    settings = Settings(
        database_url=f"sqlite://{path}",
        public_url=None,
        host=HOST,
        port=0,
        log_level="warning",
        slack_bot_token=SecretStr(token),
        slack_signing_secret=SecretStr(signing_secret),
        slack_app_token=None,
        slack_api_url=f"{page}/api/",
    )

    def clock() -> int:
        return int(sandbox.clock.now() * 1_000_000)  # the page can move the time forward for Slack and service

    service = Service(settings, with_slack=True, clock=clock, is_demo=True)
    try:
        sandbox.app_url = await service.start()
        await service.connected()
        is_new = await add_sample_data(clock(), secret=crm_secret)
        sandbox.crm_url = f"{sandbox.app_url}/webhooks/{TEAM}/{SOURCE}"
        sandbox.crm_secret = (await find_source(TEAM, slug=SOURCE)).secrets[0]
        sandbox.agent_token = await renew_agent_token(clock())
        await sandbox.changes.happened()
        for body in bodies(sandbox.clock.now()) if is_new else ():
            await sandbox.push(body)
        if not port:
            output.lines(f"Port {PORT} is in use, so the demo takes a free one.")
        output.lines(f"Contact Score is running: {page}", "Stop it with Ctrl+C.")
        if is_kept:
            output.lines(
                "To use its data in another terminal, type there:"
                f" export CONTACT_SCORE_DATABASE_URL=sqlite://{path} CONTACT_SCORE_PUBLIC_URL={sandbox.app_url}"
            )
        sys.stdout.flush()
        if sys.stdout.isatty():
            webbrowser.open(page)
        await stopped.wait()
    finally:
        await service.stop()
        await sandbox.stop()


async def renew_agent_token(now: int) -> str:
    """Create the token that the page shows for agents, and revoke that of an earlier run on the same database."""
    workspace = await find_workspace(TEAM)
    for token in await tokens(workspace):
        if token.name == AGENT:
            await revoke_token(workspace, id=token.id, by=terminal_user(), now=now)
    _, secret = await create_token(workspace, name=AGENT, scopes=("read", "write"), by=terminal_user(), now=now)
    return secret


def _choose_port() -> int:
    """Return the demo's port, or 0 if it is in use."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, PORT))
        except OSError:
            return 0
    return PORT


async def add_sample_data(now: int, *, secret: str) -> bool:
    """Add the score types and the source of the demo; return False if they already exist."""
    workspace = await find_workspace(TEAM)
    if await sources(workspace):
        return False
    fit_bands, satisfaction_bands = (
        ("poor:1:red", "fair:4:yellow", "good:8:green"),
        ("unhappy:1:red", "content:3:yellow", "delighted:4.5:green"),
    )
    types = (("fit", 10_000, 1000, fit_bands), ("satisfaction", 5000, 500, satisfaction_bands))
    for key, highest, step, bands in types:
        await add_score_type(
            workspace, key=key, label=key.capitalize(), minimum=1000, maximum=highest, step=step,
            bands=[parse_band(text) for text in bands], start=None, is_default=False, by=terminal_user(), now=now,
        )  # fmt: skip  # one logical group per line
    await add_source(workspace, slug=SOURCE, provider="generic", secrets=[secret], by=terminal_user(), now=now)
    return True
