"""Handle the form that adds an alert rule."""

from contextlib import suppress

from bot.alerts import add_rule, find_outside_destinations
from bot.blocks.alert_modal import MORE, format_alert_words
from bot.blocks.refusals import refusal_sentence
from bot.slack.handling import Reply, Request
from storage.domain.alerts.syntax import read_alert
from storage.domain.errors import Refusal
from storage.domain.filters import BadFilter


async def submit_alert(request: Request) -> Reply:
    """Add the entered rule, or return the refusals by form field."""
    fields = {name: value for name, value in request.fields.items() if value != "-"}
    if fields.get("place") == "digest" and fields.get("channel"):
        return Reply(
            errors={"channel": "The digest is sent elsewhere: leave the channel blank, or do not choose the digest."}
        )
    words = format_alert_words(fields)
    try:
        refusals = await find_outside_destinations(request, words)
        return Reply(errors=_strip_backticks(refusals)) if refusals else await add_rule(request, words)
    except BadFilter as refusal:
        return Reply(errors=_strip_backticks({"condition": refusal_sentence(refusal)}))
    except Refusal as refusal:
        return Reply(errors=_strip_backticks({_find_culprit(request, fields): refusal_sentence(refusal)}))


def _find_culprit(request: Request, fields: dict[str, str]) -> str:
    """Return the field that causes the refusal: the rarely used field without which the rest is valid, else "value"."""
    for name in MORE:
        without = {name, "escalate"} if name == "sla" else {name}  # escalation requires a time to claim
        rest = {field: value for field, value in fields.items() if field not in without}
        with suppress(Refusal):
            read_alert(format_alert_words(rest), request.types)
            if fields.get(name):
                return name
    return "value"


def _strip_backticks(errors: dict[str, str]) -> dict[str, str]:
    """Return the messages without backticks, because Slack shows them literally under fields."""
    return {name: message.replace("`", "") for name, message in errors.items()}
