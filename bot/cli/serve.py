"""Run the service until it is told to stop."""

import asyncio
from typing import Annotated

import typer

from bot.cli import output
from bot.cli.running import refusals
from bot.settings import BadSettings, read_settings


def serve(
    no_slack: Annotated[bool, typer.Option("--no-slack", help="Webhooks and API alone.")] = False,
) -> None:
    """Serve Slack, webhooks and API on one port, until SIGTERM."""
    with refusals():
        settings = read_settings()
        if not no_slack and (missing := settings.missing_for_slack()):
            advice = "Or serve webhooks and API alone: contact-score serve --no-slack"
            raise BadSettings("\n".join(["Slack's credentials are not set:", *missing, advice]))
        # Slack's libraries take half a second to import: no other command waits for them.
        from bot.service import Service

        asyncio.run(
            Service(settings, with_slack=not no_slack).run(started=lambda url: output.note(f"Listening on {url}"))
        )
