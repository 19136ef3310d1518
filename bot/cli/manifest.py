"""Print the manifest that the Slack app is made from."""

from typing import Annotated

import typer

from bot.cli import output
from bot.manifest import manifest


def print_manifest(
    public_url: Annotated[str, typer.Option(help="Where Slack reaches this service: https://scores.example.com")] = "",
    socket_mode: Annotated[bool, typer.Option("--socket-mode", help="Slack needs no address; for trying out.")] = False,
) -> None:
    """Print the manifest to paste at api.slack.com/apps, Create New App, From a manifest."""
    if not socket_mode and not public_url.startswith("https://"):
        output.note("Say where Slack reaches this service: --public-url https://scores.example.com (or --socket-mode)")
        raise typer.Exit(1)
    output.document(manifest(public_url, socket_mode=socket_mode))
