"""Apply the product's answers as Slack does: show messages, close forms or show their errors."""

from dataclasses import replace

from bot.demo.blocks import Json
from bot.demo.sending import Response
from bot.demo.world import Message, ResponseUrl, View, World

TROUBLE = "We had some trouble connecting. Try again?"


def answer_response_url(world: World, url: ResponseUrl, content: Json) -> None:
    """Post a message for one person, or replace the clicked message, as *content* requests."""
    original = world.find(url.original) if url.original else None
    message = world.accept_message(content)
    if content.get("replace_original") and original:
        world.change(original, edited=not original.ephemeral, **message)
        return
    world.post(channel=url.channel, user=world.bot_user, only_for=url.user, **message)


def apply_submission(world: World, view: View, answer: Response) -> str:
    """Close a submitted form or show its errors, as the answer says; return Slack's error message, or blank."""
    content = (answer.json() or {}) if answer.ok else {}
    inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
    errors = content.get("errors", {})
    if not answer.ok or not errors.keys() <= inputs:
        world.keep(replace(view, errors={}))
        return TROUBLE
    if errors:
        world.keep(replace(view, errors=errors))
    else:
        del world.modals[view.user]
    return ""


def original_of(world: World, ts: str, user: str) -> Message:
    """Return the message with this timestamp; raises LookupError if *user* cannot see it."""
    message = world.find(ts)
    if message is None or message.only_for not in (None, user):
        raise LookupError(f"{user} sees no message {ts!r}.")
    return message
