"""Draw the form that deletes a contact: what will be gone, and a tick that it may."""

import json

from bot.blocks.elements import plain_text, section
from bot.slack.handling import Block
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.ledger.erase import Holdings

CALLBACK = "delete_contact"
TICK = "sure"
MOST_SHOWN = 200  # of a name in what a form remembers, which has a limit


def delete_modal(contact: Contact, holdings: Holdings) -> Block:
    """Make the form for one contact."""
    warning = (
        f"*{escape(contact.shown)}* will be gone, with {describe_holdings(holdings)}, every score and whatever is known"
        " of them.\n"
        "What their systems send of them later makes a new contact; what happened until now is not taken again.\n"
        "*This cannot be undone.*"
    )
    tick = {
        "type": "checkboxes",
        "action_id": TICK,
        "options": [{"text": _plain_text("Delete for good"), "value": TICK}],
    }
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": _plain_text("Delete a contact"),
        "submit": _plain_text("Delete"),
        "close": _plain_text("Cancel"),
        "private_metadata": json.dumps({"contact": contact.id, "shown": contact.shown[:MOST_SHOWN]}),
        "blocks": [
            section(warning),
            {"type": "input", "block_id": TICK, "label": _plain_text("Are you sure?"), "element": tick},
        ],
    }


def describe_holdings(holdings: Holdings) -> str:
    """Say how much is known of somebody."""
    changes = "1 change" if holdings.changes == 1 else f"{holdings.changes:,} changes"
    follow_ups = "1 follow-up" if holdings.follow_ups == 1 else f"{holdings.follow_ups:,} follow-ups"
    names = "1 address or id" if holdings.identities == 1 else f"{holdings.identities:,} addresses and ids"
    return f"{changes}, {follow_ups} and {names}"


def _plain_text(text: str) -> Block:
    return plain_text(text, most=150)
