"""`contact-score contact delete`: delete one contact, or all that match a filter, for good."""

from typing import Annotated

import typer

from bot.cli import output
from bot.cli.finding import find_contact, read_filter
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.errors import Refusal
from storage.domain.people import Workspace
from storage.ledger.contacts import contacts
from storage.ledger.erase_many import delete_contacts, list_matching
from storage.limits import MAINTENANCE

EXAMPLES = 5  #: contacts that are named before they are deleted


def delete(
    contact: Annotated[
        str | None, typer.Argument(metavar="[CONTACT]", help="Its address, SOURCE:ID, or id:NUMBER.")
    ] = None,
    filter_text: Annotated[
        str | None, typer.Option("--filter", help="All that match a filter as in Slack, such as tag:churned.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Delete a contact, or all contacts that match a filter, for good. Without --yes, count them and ask.

    Their changes, follow-ups, addresses and stored requests are deleted too. It cannot be undone.
    """
    if (contact is None) == (filter_text is None):
        raise typer.BadParameter("name one contact, or several with --filter, for example --filter tag:churned")

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        if contact is not None:
            ids = [(await find_contact(workspace, contact)).id]
        else:
            ids = await _list_ids(workspace, filter_text or "")
        count = output.count(len(ids), "contact")
        if ids and not as_json:
            names = ", ".join(known.shown for known in await contacts(workspace, ids=ids[:EXAMPLES]))
            more = f" and {len(ids) - EXAMPLES:,} more" if len(ids) > EXAMPLES else ""
            output.note(f"To be deleted for good: {count} ({names}{more}).")
        if ids and not (yes or (not as_json and output.confirm("Delete for good?"))):
            raise Refusal(f"nothing was deleted; add --yes to delete {count}")
        with output.progress_bar("Deleting", total=len(ids)) as on_progress:
            deleted = await delete_contacts(
                workspace, ids=ids, progress=on_progress, by=terminal_user(), clock=system_clock
            )
        if as_json:
            output.document({"deleted": deleted})
        else:
            output.lines(f"Deleted {output.count(deleted, 'contact')}." if ids else "No contacts match.")

    run(body, limits=MAINTENANCE)


async def _list_ids(workspace: Workspace, text: str) -> list[int]:
    """Return the contacts that match a filter; raises a Refusal if it is blank or has a limit."""
    if not text.strip():
        raise Refusal("the filter is blank: say which contacts, for example --filter tag:churned")
    query = await read_filter(workspace, text)
    if query.limit is not None:
        raise Refusal("leave out limit: all contacts that match the filter are deleted")
    return await list_matching(workspace, query=query, now=system_clock())
