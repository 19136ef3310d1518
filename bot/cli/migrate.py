"""Bring the tables of the database up to date."""

import asyncio

from bot.cli import output
from bot.cli.running import AsJson, refusals
from bot.settings import read_settings
from storage import opening


def migrate(as_json: AsJson = False) -> None:
    """Bring the tables up to date; of a SQLite file a copy is made first."""
    with refusals():
        applied = asyncio.run(opening.migrate(read_settings().database_url))
    if as_json:
        output.document({"applied": applied})
    else:
        output.lines(*[f"Applied {name}." for name in applied] or ["Nothing to do: the tables are current."])
