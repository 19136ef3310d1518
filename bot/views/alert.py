"""Take the form that adds an alert rule."""

from bot.alerts import add_rule
from bot.asking import Asked, Reply
from bot.blocks.alert_modal import words_of
from bot.replies import sentence
from storage.domain.errors import Refusal
from storage.domain.filters import BadFilter


async def submit_alert(asked: Asked) -> Reply:
    """Make the rule that was entered; what cannot be read is told under the field it stands in."""
    fields = {name: value for name, value in asked.fields.items() if value != "-"}
    if fields.get("place") == "digest" and fields.get("channel"):
        return Reply(errors={"channel": "The digest has a place of its own: leave this blank, or ask in the channel."})
    try:
        return await add_rule(asked, words_of(fields))
    except BadFilter as bad:
        return Reply(errors={"condition": bad.sentence})
    except Refusal as refusal:
        return Reply(errors={"value": sentence(refusal).replace("`", "")})
