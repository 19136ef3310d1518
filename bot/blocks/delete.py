"""Build the form that deletes a contact: a summary of the stored data and a confirmation checkbox."""

from bot.blocks.elements import section
from bot.blocks.fields import form, tick_field
from bot.slack.handling import Block
from bot.slack.text import escape
from storage.domain.contacts import Contact
from storage.ledger.erase import Holdings

DELETE_FORM = "delete_contact"
TICK = "sure"
MOST_SHOWN = 200  # characters of the contact's name in private_metadata, which is limited to 3,000


def delete_modal(contact: Contact, holdings: Holdings) -> Block:
    """Return the deletion form for a contact; *holdings* counts the contact's stored data."""
    warning = (
        f"*{escape(contact.shown)}* will be deleted, with {describe_holdings(holdings)}, every score, every field and"
        " every stored request that names them.\n"
        f"{_describe_messages(holdings)}"
        "Events until now are not recorded again; a later event makes a new contact.\n"
        "*This cannot be undone.*"
    )
    return form(
        DELETE_FORM,
        "Delete a contact",
        [section(warning), tick_field(TICK, "Are you sure?", "Delete for good", value=TICK, action=TICK)],
        submit="Delete",
        metadata={"contact": contact.id, "shown": contact.shown[:MOST_SHOWN]},
    )


def describe_holdings(holdings: Holdings) -> str:
    """Return the counts of a contact's changes, follow-ups and identities in words."""
    changes = "1 change" if holdings.changes == 1 else f"{holdings.changes:,} changes"
    follow_ups = "1 follow-up" if holdings.follow_ups == 1 else f"{holdings.follow_ups:,} follow-ups"
    names = "1 address or id" if holdings.identities == 1 else f"{holdings.identities:,} addresses and ids"
    return f"{changes}, {follow_ups} and {names}"


def _describe_messages(holdings: Holdings) -> str:
    if not holdings.messages:
        return ""
    messages = "1 message" if holdings.messages == 1 else f"{holdings.messages:,} messages"
    return f"{messages} in Slack that I posted about them will say “Contact deleted”.\n"
