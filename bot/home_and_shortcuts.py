"""Handle the Home tab, the invitation to a channel, and the message shortcut."""

import re

from bot.blocks.elements import context, section
from bot.blocks.failures import unreported_failures
from bot.blocks.set_modal import set_modal
from bot.blocks.setup import invited_reply, setup_blocks
from bot.followup_list import FollowUpPage, follow_ups_page
from bot.slack.access import Need
from bot.slack.handling import Block, Reply, Request
from bot.slack.lookup import find_all
from storage.domain.contacts import find_address
from storage.domain.facts import DAY
from storage.jobs import FAILED
from storage.notices import NO_ADMIN, is_noticed, list_notices
from storage.reading.current_scores import card

_NO_ADMIN = (
    "*No admin could be reached*, so follow-ups that cannot be shown in their place were sent to nobody. See them"
    " with `/score followups`. To name an admin, type `contact-score workspace set {} --admin U…` in a terminal."
)
WEEK = 7 * DAY  #: how long a failed job is shown
_WORD = re.compile(r"[^\s<>()\[\],;:\"']+")


async def home(request: Request) -> Reply:
    """Return the Home tab: problems, open setup questions, the person's follow-ups, and example commands."""
    blocks: list[Block] = []
    if await is_noticed(request.workspace, notice=NO_ADMIN):
        blocks.append(section(_NO_ADMIN.format(request.workspace.team)))
        if kinds := await list_notices(request.workspace, prefix=FAILED, since=request.now - WEEK):
            blocks.append(unreported_failures(kinds))
        blocks.append({"type": "divider"})
    if request.choices.set_up_at is None and Need.ADMINISTER in request.rights:
        blocks += [*setup_blocks(request.choices, request.types), {"type": "divider"}]
    follow_ups = await follow_ups_page(request, FollowUpPage("mine"), is_home=True)
    blocks += [*follow_ups.blocks, {"type": "divider"}]
    blocks.append(section("*What to type*\n`/score ada@example.com` · `/score top 10` · `/score help`"))
    blocks.append(context("Scores are for members of this workspace; a contact never sees one."))
    return Reply(text="Contact Score", blocks=blocks)


def ask_for_place(request: Request) -> Reply:
    """Return the question whether follow-ups should go to the channel in the request's text.

    The reply is empty if they already go there, or if the person may not change the chosen channel.
    """
    channel = request.choices.alert_channel
    if channel == request.text or (channel is not None and Need.ADMINISTER not in request.rights):
        return Reply()
    return invited_reply(request.text)


async def score_message(request: Request) -> Reply:
    """Return the form for the first address in a message that has exactly one contact, else with a contact menu."""
    addresses = [address for word in _WORD.findall(request.text) if (address := find_address(word))]
    for address in addresses:
        matches = await find_all(request, address)
        if len(matches) == 1:
            contact_card = await card(request.workspace, contact=matches[0].id, now=request.now)
            values = {score.score_type.key: score.value for score in contact_card.standings} if contact_card else {}
            return Reply(modal=set_modal(request.types, contact=matches[0], values=values))
    return Reply(modal=set_modal(request.types, values={}))
