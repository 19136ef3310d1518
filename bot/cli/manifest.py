"""`contact-score manifest`: print the manifest of the Slack app."""

from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import refusals
from bot.settings import read_settings
from bot.slack.manifest import manifest
from bot.source_admin import explain_unreachable


def print_manifest(
    public_url: Annotated[str, typer.Option(help="Where Slack reaches this service: https://scores.example.com")] = "",
    socket_mode: Annotated[bool, typer.Option("--socket-mode", help="Slack needs no address; for trying out.")] = False,
    with_mcp: Annotated[bool, typer.Option("--with-mcp", help="Let Slackbot call the tools, at --public-url.")] = False,
) -> None:
    """Print the manifest to paste at api.slack.com/apps, Create New App, From a manifest."""
    with refusals():
        url = public_url or read_settings().public_url or ""
    if (with_mcp or not socket_mode) and not url.startswith("https://"):
        raise typer.BadParameter("the address of this service is missing: give --public-url https://scores.example.com")
    if url and (with_mcp or not socket_mode) and (problem := explain_unreachable(url)):
        output.note(f"Warning: {problem}")
    output.document(manifest(url, socket_mode=socket_mode, with_mcp=with_mcp))
