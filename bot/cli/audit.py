"""`contact-score audit`: list the recorded changes of settings, imports, exports, merges and deletions."""

from typing import Annotated

import typer

from bot.blocks.audit import describe_states, name_change
from bot.cli import output
from bot.cli.run import AsJson, Team, run, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.audit import AuditEntry, audit_entries
from storage.bootstrap import Storage
from storage.domain.durations import parse_span


def audit(
    since: Annotated[str | None, typer.Option(metavar="7d", help="Only the last 24h, 7d, 2w.")] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """List who changed what and when, newest first.

    Changes of score types, rules, alerts, segments, sources, tokens and admins; imports, exports, merges and deletions.
    """

    async def body(_: Storage, __: Settings) -> None:
        workspace = await the_workspace(team)
        entries = await audit_entries(workspace, since=0 if since is None else system_clock() - parse_span(since))
        if as_json:
            output.document({"entries": [_render_entry(entry) for entry in entries]})
            return
        rows = [
            {
                "at": output.moment(entry.at),
                "who": entry.who,
                "what": name_change(entry),
                "subject": entry.subject,
                "change": describe_states(entry),
            }
            for entry in entries
        ]
        output.table(rows, none="No change is recorded" + (f" in the last {since}." if since else " yet."))

    run(body)


def _render_entry(entry: AuditEntry) -> dict[str, object]:
    return {
        "at": output.moment(entry.at),
        "who": entry.who,
        "what": entry.what,
        "subject": entry.subject,
        "before": entry.before,
        "after": entry.after,
    }
