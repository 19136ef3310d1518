"""Answer what nobody typed: the Home tab, an invitation to a channel, the shortcut on a message."""

import re

from bot.blocks.elements import context, section
from bot.blocks.set_modal import set_modal
from bot.blocks.setup import invited_reply, setup_blocks
from bot.followup_list import FollowUpPage, follow_ups_page
from bot.slack.access import Need
from bot.slack.handling import Block, Reply, Request
from bot.slack.lookup import find_all
from storage.domain.contacts import looks_like_address
from storage.notices import NO_ADMIN, is_noticed
from storage.reading.current_scores import card

_NO_ADMIN = (
    "*No admin could be reached*, so follow-ups that may not be shown where they belong were sent to nobody. See them"
    " with `/score followups`. To name an admin, type `contact-score workspace set {} --admin U…` in a terminal."
)
_WORD = re.compile(r"[^\s<>()\[\],;:\"']+")


async def home(asked: Request) -> Reply:
    """Draw the Home tab: the first questions until they are answered, what waits for this person, what to type."""
    blocks: list[Block] = []
    if await is_noticed(asked.workspace, what=NO_ADMIN):
        blocks += [section(_NO_ADMIN.format(asked.workspace.team)), {"type": "divider"}]
    if asked.choices.set_up_at is None and Need.ADMINISTER in asked.rights:
        blocks += [*setup_blocks(asked.choices, asked.types), {"type": "divider"}]
    mine = await follow_ups_page(asked, FollowUpPage("mine"), is_home=True)
    blocks += [*mine.blocks, {"type": "divider"}]
    blocks.append(section("*What to type*\n`/score ada@example.com` · `/score top 10` · `/score help`"))
    blocks.append(context("Scores are for members of this workspace; a contact never sees one."))
    return Reply(text="Contact Score", blocks=blocks)


def ask_for_place(asked: Request) -> Reply:
    """Ask whether follow-ups shall go to the channel, where who invited may say so; else nothing."""
    chosen = asked.choices.alert_channel
    if chosen == asked.text or (chosen is not None and Need.ADMINISTER not in asked.rights):
        return Reply()
    return invited_reply(asked.text)


async def score_message(asked: Request) -> Reply:
    """Open the form for the contact whose address, or else whose first known name, a message holds."""
    addresses = [word.strip(".!?") for word in _WORD.findall(asked.text) if looks_like_address(word.strip(".!?"))]
    for address in addresses:
        found = await find_all(asked, address)
        if len(found) == 1:
            known = await card(asked.workspace, contact=found[0].id, now=asked.now)
            values = {one.score_type.key: one.value for one in known.standings} if known else {}
            return Reply(modal=set_modal(asked.types, contact=found[0], values=values))
    return Reply(modal=set_modal(asked.types, values={}))
