"""Web API methods about channels, their members and their messages."""

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.payloads import message_json
from bot.demo.world import Channel, Message, World


def info(call: Arguments) -> Json:
    return {"channel": channel_json(call.world, call.channel())}


def open_im(call: Arguments) -> Json:
    person = call.person("users")
    if person.deleted:
        raise SlackError("user_disabled")
    if person.is_bot:
        raise SlackError("cannot_dm_bot")
    return {"channel": {"id": call.world.im(person.id).id}}


def members(call: Arguments) -> Json:
    return {"members": call.channel().members}


def history(call: Arguments) -> Json:
    """Return messages since *oldest*, newest first, without thread replies and ephemeral messages."""
    channel = call.joined_channel()
    return _render_messages(call, [post for post in reversed(_posts(call, channel)) if not post.thread_ts])


def replies(call: Arguments) -> Json:
    """Return a message of a thread and its replies since *oldest*."""
    channel = call.joined_channel()
    parent = call.world.find(call.needed("ts"))
    if parent is None:
        raise SlackError("thread_not_found")
    return _render_messages(call, [parent, *(post for post in _posts(call, channel) if post.thread_ts == parent.ts)])


def channel_json(world: World, channel: Channel) -> Json:
    rendered: Json = {"id": channel.id, "is_archived": channel.is_archived, "is_im": channel.im_with is not None}
    if channel.im_with:
        person = world.people.get(channel.im_with)
        return rendered | {"user": channel.im_with, "is_ext_shared": person is not None and person.is_stranger}
    connected = list(channel.connected_team_ids)
    return rendered | {
        "name": channel.name,
        "is_private": channel.is_private,
        "is_member": world.bot_user in channel.members,
        "is_shared": channel.is_ext_shared,
        "is_ext_shared": channel.is_ext_shared,
        "is_pending_ext_shared": channel.is_pending_ext_shared,
        "connected_team_ids": connected if channel.is_ext_shared else [],
        "pending_connected_team_ids": connected if channel.is_pending_ext_shared else [],
    }


def _posts(call: Arguments, channel: Channel) -> list[Message]:
    oldest = float(call.text("oldest") or 0)
    return [
        post
        for post in call.world.posts
        if post.channel == channel.id and not post.ephemeral and float(post.ts) > oldest
    ]


def _render_messages(call: Arguments, messages: list[Message]) -> Json:
    limit = int(call.text("limit") or 100)
    rendered = [message_json(call.world, message) for message in messages[:limit]]
    if not call.text("include_all_metadata"):
        for message in rendered:
            message.pop("metadata", None)
    return {"messages": rendered, "has_more": len(messages) > limit}
