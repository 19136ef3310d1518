"""`contact-score migrate`: migrate the database and recalculate the scores."""

import asyncio

from bot.cli import output
from bot.cli.run import AsJson, refusals
from bot.clock import system_clock
from bot.settings import read_settings
from storage import bootstrap


def migrate(as_json: AsJson = False) -> None:
    """Update the tables to this version. A SQLite file is copied first."""
    with refusals():
        done = asyncio.run(bootstrap.migrate(read_settings().database_url, now=system_clock()))
    if as_json:
        output.document({"applied": done.applied, "folded": done.folded})
        return
    output.lines(*[f"Applied {name}." for name in done.applied])
    if done.folded:
        output.lines(f"Recalculated {output.count(done.folded, 'score')}.")
    if not done.applied and not done.folded:
        output.lines("Nothing to do: the tables are current.")
