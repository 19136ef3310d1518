"""The record of changes: who changed a setting, imported, exported, merged or deleted, and when."""

from dataclasses import replace

from bot.blocks.audit import PER_PAGE, audit_reply
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Reply, Request
from bot.slack.text import parse_number
from storage.audit import audit_entries, count_audit_entries


async def show_audit(request: Request) -> Reply:
    """Handle `audit`."""
    return await _audit_page(request, first=0)


async def turn_audit(request: Request) -> Reply:
    """Show the page of changes that starts at the index in the button's value."""
    return replace(await _audit_page(request, first=parse_number(request.text)), replaces=True)


async def _audit_page(request: Request, *, first: int) -> Reply:
    entries = await audit_entries(request.workspace, limit=PER_PAGE, offset=first)
    return audit_reply(entries, first=first, total=await count_audit_entries(request.workspace))


FEATURE = Feature(
    verbs={
        "audit": Verb(
            show_audit,
            "audit",
            "who changed settings, imported, exported, merged or deleted",
            ("audit",),
            Need.ADMINISTER,
        ),
    },
    buttons={"audit": (Need.ADMINISTER, turn_audit)},
)
