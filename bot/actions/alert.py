"""Open the form that adds an alert rule, and show its rarely used fields."""

from bot.blocks.alerts import alert_modal
from bot.slack.handling import Reply, Request


async def open_alert_form(request: Request) -> Reply:
    """Open the form."""
    return Reply(modal=alert_modal(request.types))


async def show_more(request: Request) -> Reply:
    """Show the form with the rarely used fields; Slack keeps what was entered."""
    return Reply(modal=alert_modal(request.types, more=True))
