"""`/score followups`: list waiting follow-ups."""

from bot.blocks.refusals import plain_reply
from bot.followup_list import FollowUpPage, follow_ups_page
from bot.slack.handling import Reply, Request

LISTS = ("open", "mine", "overdue")


async def list_follow_ups(request: Request) -> Reply:
    """Handle `followups [mine|open|overdue]`."""
    list_name = request.text.casefold() or "open"
    if list_name not in LISTS:
        return plain_reply(
            "Type `/score followups` for all open follow-ups, `/score followups mine` for yours,"
            " or `/score followups overdue` for those that nobody claimed in time."
        )
    return await follow_ups_page(request, FollowUpPage(list_name))
