"""Web API methods that post, update, delete and react to messages."""

from bot.demo.answers import checked_message
from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.payloads import message_json
from bot.demo.world import Json, Message


def post_message(call: Arguments) -> Json:
    channel = call.joined_channel()
    if channel.is_archived:
        raise SlackError("is_archived")
    content = checked_message(call.world, call.values)
    message = call.world.post(
        channel=channel.id,
        user=call.world.bot_user,
        thread_ts=call.text("thread_ts") or None,
        metadata=call.structure("metadata"),
        **content,
    )
    return {"channel": channel.id, "ts": message.ts, "message": message_json(call.world, message)}


def post_ephemeral(call: Arguments) -> Json:
    channel, person = call.joined_channel(), call.person()
    if person.id not in channel.members:
        raise SlackError("user_not_in_channel")
    content = checked_message(call.world, call.values)
    thread = call.text("thread_ts") or None
    message = call.world.post(
        channel=channel.id, user=call.world.bot_user, only_for=person.id, thread_ts=thread, **content
    )
    return {"message_ts": message.ts}


def update(call: Arguments) -> Json:
    """Update a message; without *metadata* the metadata is kept, without *blocks* the blocks are removed."""
    message = _find_own_message(call, "cant_update_message")
    content = checked_message(call.world, call.values)
    metadata = call.structure("metadata") if "metadata" in call.values else message.metadata
    changed = call.world.change(message, edited=True, metadata=metadata, **content)
    return {
        "channel": changed.channel,
        "ts": changed.ts,
        "text": changed.text,
        "message": message_json(call.world, changed),
    }


def delete(call: Arguments) -> Json:
    message = _find_own_message(call, "cant_delete_message")
    call.world.posts.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def permalink(call: Arguments) -> Json:
    channel = call.channel()
    message = call.message(channel, "message_ts")
    link = f"{call.world.url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": link}


def add_reaction(call: Arguments) -> Json:
    channel, name = call.joined_channel(), call.needed("name").strip(":")
    message = call.message(channel, "timestamp")
    if not name.replace("_", "").replace("-", "").replace("+", "").isalnum():
        raise SlackError("invalid_name")
    reaction = (name, call.world.bot_user)
    if reaction in message.reactions:
        raise SlackError("already_reacted")
    call.world.change(message, reactions=(*message.reactions, reaction))
    return {}


def _find_own_message(call: Arguments, error_code: str) -> Message:
    channel = call.channel()
    if channel.is_archived:
        raise SlackError("is_inactive")
    message = call.message(channel)
    if message.user != call.world.bot_user:
        raise SlackError(error_code)
    return message
