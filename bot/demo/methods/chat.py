"""Web API methods that post, update and delete messages."""

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.payloads import message_json
from bot.demo.world import Message


def post_message(call: Arguments) -> Json:
    channel = call.joined_channel()
    if channel.is_archived:
        raise SlackError("is_archived")
    message = call.world.post(
        channel=channel.id,
        user=call.world.bot_user,
        thread_ts=call.text("thread_ts") or None,
        metadata=call.values.get("metadata"),
        **call.world.accept_message(call.values),
    )
    return {"channel": channel.id, "ts": message.ts, "message": message_json(call.world, message)}


def post_ephemeral(call: Arguments) -> Json:
    channel, person = call.joined_channel(), call.person()
    if person.id not in channel.members:
        raise SlackError("user_not_in_channel")
    content = call.world.accept_message(call.values)
    message = call.world.post(channel=channel.id, user=call.world.bot_user, only_for=person.id, **content)
    return {"message_ts": message.ts}


def update(call: Arguments) -> Json:
    """Update the text and blocks of a message; its metadata stays."""
    message = _find_own_message(call, "cant_update_message")
    changed = call.world.change(message, edited=True, **call.world.accept_message(call.values))
    return {"channel": changed.channel, "ts": changed.ts, "message": message_json(call.world, changed)}


def delete(call: Arguments) -> Json:
    message = _find_own_message(call, "cant_delete_message")
    call.world.posts.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def permalink(call: Arguments) -> Json:
    channel = call.channel()
    message = call.message(channel, "message_ts")
    link = f"{call.world.url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": link}


def _find_own_message(call: Arguments, error_code: str) -> Message:
    channel = call.channel()
    if channel.is_archived:
        raise SlackError("is_inactive")
    message = call.message(channel)
    if message.user != call.world.bot_user:
        raise SlackError(error_code)
    return message
