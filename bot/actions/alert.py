"""Open the form that adds an alert rule, and what stands behind More."""

from bot.blocks.alert_modal import alert_modal
from bot.slack.handling import Reply, Request


async def open_alert_form(request: Request) -> Reply:
    """Open it."""
    return Reply(modal=alert_modal(request.types))


async def show_more(request: Request) -> Reply:
    """Open it with all it can say, over the short one."""
    return Reply(modal=alert_modal(request.types, more=True))
