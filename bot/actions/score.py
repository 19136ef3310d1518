"""Handle the buttons of cards, receipts and histories."""

from dataclasses import replace

from bot.blocks.history import MOST, history_reply
from bot.blocks.refusals import refusal_reply
from bot.blocks.scores import set_modal
from bot.history_chart import chart_of
from bot.slack.handling import Outlived, Reply, Request
from bot.undo import undo_batch
from storage.domain.errors import UnknownContact
from storage.domain.facts import DAY
from storage.ledger.contacts import find_by_key
from storage.reading.current_scores import card
from storage.reading.history import history


async def undo_change(request: Request) -> Reply:
    """Undo the batch in the button's value."""
    return await undo_batch(request, request.text, replaces=True)


async def show_history(request: Request) -> Reply:
    """Show the history of the contact, and optionally of the score type, in the button's value."""
    key, _, score = request.text.partition(" ")
    contact = await find_by_key(request.workspace, key=key)
    contact_card = await card(request.workspace, contact=contact.id, now=request.now) if contact is not None else None
    if contact_card is None:
        return refusal_reply(UnknownContact())
    score_type, entries = await history(
        request.workspace, contact=contact_card.contact.id, score=score or None, most=MOST
    )
    return history_reply(contact_card.contact, score_type, entries)


async def show_chart(request: Request) -> Reply:
    """Show the history with a chart, in place of the current message; the value has contact, score type and days."""
    contact, _, rest = request.text.partition(" ")
    score, _, period = rest.partition(" ")
    contact_card = await card(request.workspace, contact=_parse_number(contact), now=request.now)
    if contact_card is None:
        return refusal_reply(UnknownContact())
    days = _parse_number(period)
    if not 0 < days < 10_000:  # the range that `history` accepts
        raise Outlived
    since = request.now - days * DAY
    score_type, entries = await history(
        request.workspace, contact=contact_card.contact.id, score=score, most=MOST, since=since
    )
    picture = await chart_of(request, contact_card.contact, score=score, days=days)
    return replace(history_reply(contact_card.contact, score_type, entries, picture=picture), replaces=True)


async def open_form(request: Request) -> Reply:
    """Open the form to set the scores of the contact in the button's value."""
    contact = await find_by_key(request.workspace, key=request.text)
    contact_card = await card(request.workspace, contact=contact.id, now=request.now) if contact is not None else None
    if contact_card is None:
        return refusal_reply(UnknownContact())
    values = {score.score_type.key: score.value for score in contact_card.standings}
    return Reply(modal=set_modal(request.types, contact=contact, values=values))


def _parse_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
