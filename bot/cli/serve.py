"""`contact-score serve`: run the service."""

import asyncio
from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import refusals
from bot.settings import read_settings_to_serve


def serve(
    no_slack: Annotated[bool, typer.Option("--no-slack", help="Webhooks and API alone.")] = False,
) -> None:
    """Serve Slack, webhooks and API on one port, until SIGTERM."""
    with refusals():
        settings = read_settings_to_serve(with_slack=not no_slack)
        # Slack's libraries take half a second to import, so the other commands do not import them.
        from bot.service import Service

        asyncio.run(
            Service(settings, with_slack=not no_slack).run(started=lambda url: output.note(f"Listening on {url}"))
        )
