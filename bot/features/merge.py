"""Merge two contacts, after a preview with a button that confirms."""

import re
from dataclasses import replace

from bot.blocks.merge import CANCEL, MERGE, canceled_reply, changed_meanwhile_reply, merge_preview_reply
from bot.blocks.refusals import plain_reply
from bot.blocks.scores import receipt_reply
from bot.slack.access import Need
from bot.slack.examples import ask_for_contact
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Reply, Request
from bot.slack.line import read_contact
from bot.slack.lookup import find_one
from bot.slack.text import escape
from storage.domain.errors import UnknownContact
from storage.ledger.batches import is_recorded
from storage.ledger.merge_preview import preview_merge
from storage.reading.current_scores import cards_of
from storage.reading.search import find_by_key

_VALUE = re.compile(r"([0-9]{1,18}) ([0-9]{1,18})", re.ASCII)  # of the button that confirms: the ids of both
_INTO = re.compile(r"\s+into\s+", re.IGNORECASE)


async def show_merge(request: Request) -> Reply:
    """Handle `merge CONTACT into CONTACT`: preview the merge, with a button that confirms."""
    words = _INTO.split(f" {request.text} ")
    if len(words) != 2 or not all(part.strip() for part in words):
        return await ask_for_contact(
            request, "merge {duplicate} into {contact}", what="Name both contacts", usage="merge CONTACT into CONTACT"
        )
    source, target = (read_contact(part.strip()) for part in words)
    first = await find_one(request, source, line=f"merge {{}} into {words[1].strip()}")
    if isinstance(first, Reply):
        return first
    second = await find_one(request, target, line=f"merge id:{first.id} into {{}}")
    if isinstance(second, Reply):
        return second
    if first.id == second.id:
        return plain_reply(f"{escape(first.shown)} and {escape(second.shown)} are already one contact.")
    cards = await cards_of(request.workspace, ids=[first.id, second.id], now=request.now)
    if len(cards) < 2:  # merged or deleted since the look-up
        return changed_meanwhile_reply(f"merge id:{first.id} into id:{second.id}")
    preview = await preview_merge(request.workspace, contact=first.id, into=second.id, now=request.now)
    return merge_preview_reply(cards[0], cards[1], preview, request.types)


async def confirm_merge(request: Request) -> Reply:
    """Merge the two contacts of a preview, and return the receipt in its place."""
    value = _VALUE.fullmatch(request.text)
    if value is None or value[1] == value[2]:
        raise UnknownContact
    ids = [int(value[1]), int(value[2])]
    if await is_recorded(request.workspace, batch=request.batch):
        return Reply()  # a retry of the same click
    cards = await cards_of(request.workspace, ids=ids, now=request.now)
    if len(cards) < 2:
        return changed_meanwhile_reply(f"merge id:{ids[0]} into id:{ids[1]}")
    first, second = (card.contact for card in cards)
    recorded = await request.merge(first, second)
    merged = await find_by_key(request.workspace, key=str(second.id)) or second
    # The receipt shows what the merge changed for the contact merged into, whichever row the contact keeps.
    before = {score.score_type.key: score.value for score in cards[1].standings}
    score_changes = [replace(change, before=before.get(change.score_type.key)) for change in recorded.score_changes]
    note = f"{escape(first.shown)} and {escape(second.shown)} are one contact now"
    changed = [change for change in score_changes if change.before != change.after]
    return receipt_reply(merged, changed, batch=request.batch, note=note, replaces=True)


async def cancel_preview(request: Request) -> Reply:
    """Replace the preview of a merge or of a split; nothing was changed."""
    return canceled_reply(request.text)


FEATURE = Feature(
    verbs={
        "merge": Verb(
            show_merge,
            "merge CONTACT into CONTACT",
            "merge two contacts; Undo splits them again",
            ("merge {duplicate} into {contact}",),
            Need.ADMINISTER,
        ),
    },
    buttons={MERGE: (Need.ADMINISTER, confirm_merge), CANCEL: (Need.ADMINISTER, cancel_preview)},
)
