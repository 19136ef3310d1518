"""Handle the answers to the setup questions."""

from dataclasses import replace

from bot.blocks.refusals import plain_reply
from bot.slack.access import Need, Verdict
from bot.slack.handling import Outlived, Reply, Request
from storage.alerts.enroll import choose_channel
from storage.domain.people import Setters
from storage.workspaces import choose_setters


async def choose_place(request: Request) -> Reply:
    """Send follow-ups to a channel, if everyone who reads it may see scores."""
    verdict = await request.may_post(request.text)
    if verdict is not Verdict.ALLOWED:
        return plain_reply(f"Nothing was changed. {verdict.value}")
    await choose_channel(request.workspace, channel=request.text, now=request.now)
    return plain_reply(f"Follow-ups go to <#{request.text}> from now on. Alert rules: `/score alerts`")


async def choose_here(request: Request) -> Reply:
    """Send follow-ups to the channel that the app was invited to; if another channel is set, this requires an admin."""
    if request.choices.alert_channel not in (None, request.text):
        request.needs(Need.ADMINISTER)
    return replace(await choose_place(request), replaces=True)


async def choose_direct_messages(request: Request) -> Reply:
    """Send follow-ups to the owner of each contact, or to an admin if there is no owner."""
    await choose_channel(request.workspace, channel=None, now=request.now)
    return plain_reply("Follow-ups go to the owner of each contact from now on, or to an admin if there is no owner.")


async def choose_who_sets(request: Request) -> Reply:
    """Set who may change scores."""
    setters = next((option for option in Setters if option.value == request.text), None)
    if setters is None:
        raise Outlived
    await choose_setters(request.workspace, setters=setters)
    sentence = "Every member may set scores" if setters is Setters.MEMBERS else "Only admins set scores"
    return plain_reply(f"{sentence} from now on.")


async def dismiss_question(request: Request) -> Reply:
    """Close the question without a change."""
    return replace(plain_reply("All right: follow-ups do not come here. To change it: `/score setup`"), replaces=True)
