"""Act on the buttons of cards, receipts and histories."""

from dataclasses import replace

from bot.blocks.history import MOST, history_reply
from bot.blocks.refusals import refusal_reply
from bot.blocks.set_modal import set_modal
from bot.history_chart import chart_of
from bot.slack.handling import Outlived, Reply, Request
from bot.undo import undo_batch
from storage.domain.errors import UnknownContact
from storage.domain.facts import DAY
from storage.reading.current_scores import card
from storage.reading.history import history


async def undo_change(asked: Request) -> Reply:
    """Undo the batch that the button names."""
    return await undo_batch(asked, asked.text, replaces=True)


async def show_history(asked: Request) -> Reply:
    """Show the history of the contact, and score type, that the button names."""
    contact, _, score = asked.text.partition(" ")
    known = await card(asked.workspace, contact=_id(contact), now=asked.now)
    if known is None:
        return refusal_reply(UnknownContact())
    score_type, entries = await history(asked.workspace, contact=known.contact.id, score=score or None, most=MOST)
    return history_reply(known.contact, score_type, entries)


async def show_chart(asked: Request) -> Reply:
    """Draw the score that the button names under the changes of its days, in the place of the message it stands in."""
    contact, _, rest = asked.text.partition(" ")
    score, _, period = rest.partition(" ")
    known = await card(asked.workspace, contact=_id(contact), now=asked.now)
    if known is None:
        return refusal_reply(UnknownContact())
    days = _id(period)
    if not 0 < days < 10_000:  # as a line has it
        raise Outlived
    since = asked.now - days * DAY
    score_type, entries = await history(asked.workspace, contact=known.contact.id, score=score, most=MOST, since=since)
    picture = await chart_of(asked, known.contact, score=score, days=days)
    return replace(history_reply(known.contact, score_type, entries, picture=picture), replaces=True)


async def open_form(asked: Request) -> Reply:
    """Open the form for the contact that the button names."""
    known = await card(asked.workspace, contact=_id(asked.text), now=asked.now)
    if known is None:
        return refusal_reply(UnknownContact())
    values = {one.score_type.key: one.value for one in known.standings}
    return Reply(modal=set_modal(asked.types, contact=known.contact, values=values))


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0
