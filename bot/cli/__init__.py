"""The commands of `contact-score`.

This module defines every command by its name, its function and its line in a help text. The function is imported when
its command runs: importing all of them takes several times as long as most commands run.
"""

from importlib.metadata import version
from typing import Annotated

import typer

from bot.cli.usage import Command, Group, make_program

#: the first paragraph of a function's docstring is repeated here, so that a list of commands needs no import
COMMANDS = {
    "demo": Command(
        "bot.cli.demo:demo", "Try Contact Score: nothing is installed in any Slack, and nothing leaves this machine."
    ),
    "serve": Command("bot.cli.serve:serve", "Serve Slack, webhooks and API on one port, until SIGTERM."),
    "migrate": Command("bot.cli.migrate:migrate", "Update the tables to this version. A SQLite file is copied first."),
    "verify": Command(
        "bot.cli.verify:verify",
        "Recalculate everything from the ledger and report what differs: exit code 1 if anything does, else 0.",
    ),
    "doctor": Command(
        "bot.cli.doctor:doctor",
        "Report what needs attention: secrets, sources, the public address, contacts. Nothing is changed.",
    ),
    "manifest": Command(
        "bot.cli.manifest:print_manifest",
        "Print the manifest to paste at api.slack.com/apps, Create New App, From a manifest.",
    ),
    "import": Command(
        "bot.cli.transfer:import_contacts",
        "Import contacts, scores and activities. A blank cell changes nothing. A file imported twice counts once.",
    ),
    "export": Command(
        "bot.cli.transfer:export_contacts",
        "Export contacts with their scores, a page at a time, however many there are.",
    ),
    "audit": Command("bot.cli.audit:audit", "List who changed what and when, newest first."),
    "backup": Command(
        "bot.cli.backup:back_up_database",
        "Copy the whole database into a file, while the service runs. All workspaces are in it.",
    ),
    "restore": Command(
        "bot.cli.backup:restore_database",
        "Fill the empty database of CONTACT_SCORE_DATABASE_URL from a backup. FILE.key is used if it is there.",
    ),
    "workspace add": Command("bot.cli.workspaces:add", "Add a workspace before the app is installed in Slack."),
    "workspace set": Command(
        "bot.cli.workspaces:set_up",
        "Set where follow-ups go, who is an admin, and the working hours. Settings not given here stay.",
    ),
    "workspace remove": Command(
        "bot.cli.workspaces:remove",
        "Delete a workspace with all its contacts, scores, sources and settings, for good."
        " It asks for the id once more.",
    ),
    "workspace list": Command(
        "bot.cli.workspaces:list_all", "List the workspaces, with where follow-ups go, the named admins and the roles."
    ),
    "type add": Command(
        "bot.cli.types:add",
        "Add a score type. One that was removed gets its scores back: they are recalculated from its changes.",
    ),
    "type set": Command(
        "bot.cli.types:change", "Change a score type. Settings not given here stay, and every score is recalculated."
    ),
    "type remove": Command(
        "bot.cli.types:remove",
        "Remove a score type that nothing uses. Its changes stay: adding it again brings its scores back.",
    ),
    "type list": Command("bot.cli.types:list_all", "List the score types, the default one first."),
    "rules export": Command("bot.cli.rules:export_rules", "Write the rules as TOML, as `rules apply` takes them."),
    "rules apply": Command(
        "bot.cli.rules:apply_rules", "Replace the rules with those in a file. --dry-run previews the changes."
    ),
    "source add": Command("bot.cli.sources:add", "Add a source. A secret that is generated for it is shown only once."),
    "source list": Command("bot.cli.sources:list_all", "List the sources, without their secrets."),
    "source show": Command(
        "bot.cli.sources:show",
        "Show the settings of a source, without its secrets, and its deliveries of the last day.",
    ),
    "source set": Command(
        "bot.cli.sources:set_", "Change the settings given here. A secret replaces the existing ones at once."
    ),
    "source rotate": Command(
        "bot.cli.sources:rotate", "Add a new secret, password or token. The old ones are accepted for another day."
    ),
    "source remove": Command(
        "bot.cli.sources:remove", "Remove a source and its deliveries. The scores that it set stay."
    ),
    "source try": Command(
        "bot.cli.dry_run:try_source",
        "Show what a delivery or a file would record, with this or the stored mapping, without recording it.",
    ),
    "source send": Command(
        "bot.cli.dry_run:send_file", "Sign FILE.json as the sender would and post it to the running service."
    ),
    "contact why": Command(
        "bot.cli.contacts:why",
        "Explain a score: the lines that add up to it, newest first, and what caps, range, rounding and fading took.",
    ),
    "contact split": Command(
        "bot.cli.contacts:split",
        "Move an id and the changes that named it to a new contact; without --yes, show what would move and ask.",
    ),
    "contact delete": Command(
        "bot.cli.contact_delete:delete",
        "Delete a contact, or all contacts that match a filter, for good. Without --yes, count them and ask.",
    ),
    "deliveries list": Command(
        "bot.cli.deliveries:list_all", "List the latest deliveries, newest first, and what was refused."
    ),
    "deliveries show": Command(
        "bot.cli.deliveries:show", "Show one delivery with the items that could not be used, and why."
    ),
    "deliveries replay": Command(
        "bot.cli.deliveries:replay",
        "Replay a stored delivery after its mapping, score type or provider was fixed. It creates no follow-ups.",
    ),
    "deliveries discard": Command(
        "bot.cli.deliveries:discard",
        "Discard the items of deliveries that are in quarantine: they are never replayed, and nobody is told of them.",
    ),
    "token create": Command("bot.cli.tokens:create", "Create a token. It is shown only once."),
    "token list": Command("bot.cli.tokens:list_all", "List the tokens, without their secrets."),
    "token revoke": Command("bot.cli.tokens:revoke", "Revoke a token at once."),
    "subscription add": Command(
        "bot.cli.subscriptions:add", "Add a subscription and show its signing secret, which is not shown again."
    ),
    "subscription list": Command("bot.cli.subscriptions:list_all", "List the subscriptions, without their secrets."),
    "subscription rotate": Command(
        "bot.cli.subscriptions:rotate",
        "Replace the signing secret of a subscription. For a day, events have a signature of each of the two secrets.",
    ),
    "subscription remove": Command(
        "bot.cli.subscriptions:remove",
        "Remove a subscription with its deliveries. Events that wait are not sent any more.",
    ),
    "subscription deliveries": Command(
        "bot.cli.subscriptions:deliveries",
        "List the latest deliveries of a subscription, newest first. They are kept for seven days.",
    ),
    "subscription redeliver": Command(
        "bot.cli.subscriptions:redeliver",
        "Send events again, with the same ids. A subscription that was turned off is turned on.",
    ),
}
GROUPS = {
    "workspace": "Workspaces: one for each Slack team.",
    "type": "Score types: their ranges, bands and half-lives.",
    "rules": "Rules: what activities and attributes are worth.",
    "source": "Sources: the systems that send scores.",
    "contact": "Contacts: explain a score, delete contacts, split one that is two people.",
    "deliveries": "Deliveries: the requests of sources.",
    "token": "Tokens: what programs call the API with.",
    "subscription": "Subscriptions: addresses that events are sent to.",
}


def _print_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"contact-score {version('contact-score')}")
        raise typer.Exit


app = typer.Typer(cls=Group, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Contact scores for teams that live in Slack."""


program = make_program(app, COMMANDS, GROUPS)
