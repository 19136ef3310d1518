"""The commands of `contact-score`."""

from importlib.metadata import version
from typing import Annotated

import typer

from bot.cli import contact_delete, contacts, deliveries, rules, sources, tokens, types, workspaces
from bot.cli.audit import audit
from bot.cli.demo import demo
from bot.cli.doctor import doctor
from bot.cli.dry_run import send_file, try_source
from bot.cli.manifest import print_manifest
from bot.cli.migrate import migrate
from bot.cli.serve import serve
from bot.cli.transfer import export_contacts, import_contacts
from bot.cli.usage import Group
from bot.cli.verify import verify

app = typer.Typer(
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"contact-score {version('contact-score')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Contact scores for teams that live in Slack."""


app.command("demo")(demo)
app.command("serve")(serve)
app.command("migrate")(migrate)
app.command("verify")(verify)
app.command("doctor")(doctor)
app.command("manifest")(print_manifest)
app.command("import")(import_contacts)
app.command("export")(export_contacts)
app.command("audit")(audit)
app.add_typer(workspaces.app, name="workspace")
app.add_typer(types.app, name="type")
app.add_typer(rules.app, name="rules")
app.add_typer(sources.app, name="source")
sources.app.command("try")(try_source)
sources.app.command("send")(send_file)
app.add_typer(contacts.app, name="contact")
contacts.app.command("delete")(contact_delete.delete)
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(tokens.app, name="token")
