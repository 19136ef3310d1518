"""Web API methods about channels, their members and their messages."""

import math

from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.payloads import message_json
from bot.demo.world import Channel, Json, Message, World

TYPES = {"channels": "public_channel", "groups": "private_channel", "im": "im"}


def info(call: Arguments) -> Json:
    channel = call.channel("read")
    more = {"num_members": len(channel.members)} if call.flag("include_num_members") else {}
    return {"channel": channel_json(call.world, channel) | more}


def list_channels(call: Arguments) -> Json:
    return _list_page(call, [channel for channel in call.world.channels.values() if _is_visible(call.world, channel)])


def of_user(call: Arguments) -> Json:
    """List the visible channels of a person, or of the app if no person is given."""
    member = call.person().id if call.text("user") else call.world.bot_user
    channels = [channel for channel in call.world.channels.values() if member in channel.members]
    return _list_page(call, [channel for channel in channels if _is_visible(call.world, channel)])


def open_im(call: Arguments) -> Json:
    if call.text("channel"):
        channel = call.channel()
    else:
        users = call.needed("users").split(",")
        if len(users) > 1:
            raise SlackError("too_many_users")
        person = call.world.people.get(users[0])
        if person is None or person.deleted:
            raise SlackError("user_not_found" if person is None else "user_disabled")
        if person.is_bot:
            raise SlackError("cannot_dm_bot")
        channel = call.world.im(person.id)
    return {"channel": channel_json(call.world, channel) if call.flag("return_im") else {"id": channel.id}}


def members(call: Arguments) -> Json:
    page, cursor = call.page(call.channel("read").members)
    return {"members": page, "response_metadata": {"next_cursor": cursor}}


def join(call: Arguments) -> Json:
    channel, bot = call.channel(), call.world.bot_user
    if channel.family != "channels":
        raise SlackError("method_not_supported_for_channel_type")
    if channel.is_archived:
        raise SlackError("is_archived")
    is_member = bot in channel.members
    if not is_member:
        channel.members.append(bot)
    warning = {"warning": "already_in_channel", "response_metadata": {"warnings": ["already_in_channel"]}}
    return {"channel": channel_json(call.world, channel)} | (warning if is_member else {})


def history(call: Arguments) -> Json:
    """Return messages, newest first, without thread replies and ephemeral messages."""
    channel = call.joined_channel("history")
    posts = [post for post in reversed(call.world.posts) if post.channel == channel.id and not post.thread_ts]
    return _render_messages(call, [post for post in posts if not post.ephemeral and _is_between(call, post)])


def replies(call: Arguments) -> Json:
    """Return the first message of a thread and its replies, oldest first."""
    channel, ts = call.joined_channel("history"), call.needed("ts")
    posts = [post for post in call.world.posts if post.channel == channel.id and not post.ephemeral]
    parent = next((post for post in posts if post.ts == ts), None)
    if parent is None:
        raise SlackError("thread_not_found")
    return _render_messages(
        call, [parent, *(post for post in posts if post.thread_ts == ts and _is_between(call, post))]
    )


def _is_between(call: Arguments, post: Message) -> bool:
    oldest, latest = _read_edge(call, "oldest", 0.0), _read_edge(call, "latest", math.inf)
    edges = (oldest, latest) if call.flag("inclusive") else ()
    return oldest < float(post.ts) < latest or float(post.ts) in edges


def _render_messages(call: Arguments, messages: list[Message]) -> Json:
    page, cursor = call.page(messages)
    rendered = [message_json(call.world, message) for message in page]
    if not call.flag("include_all_metadata"):
        for message in rendered:
            message.pop("metadata", None)
    return {"messages": rendered, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}


def channel_json(world: World, channel: Channel) -> Json:
    shared: Json = {
        "id": channel.id,
        "created": 1_700_000_000,
        "is_archived": channel.is_archived,
        "is_org_shared": False,
        "context_team_id": world.team_id,
        "is_im": channel.im_with is not None,
    }
    if channel.im_with:
        person = world.people.get(channel.im_with)
        is_external = person is not None and person.is_stranger
        return shared | {"user": channel.im_with, "is_user_deleted": False, "is_ext_shared": is_external, "priority": 0}
    connected = list(channel.connected_team_ids)
    now_connected = connected if channel.is_ext_shared else []
    return shared | {
        "name": channel.name,
        "name_normalized": channel.name,
        "is_channel": not channel.is_private,
        "is_group": channel.is_private,
        "is_mpim": False,
        "is_private": channel.is_private,
        "is_general": channel.name == "general",
        "is_member": world.bot_user in channel.members,
        "is_shared": channel.is_ext_shared,
        "is_ext_shared": channel.is_ext_shared,
        "is_pending_ext_shared": channel.is_pending_ext_shared,
        "connected_team_ids": now_connected,
        "pending_connected_team_ids": connected if channel.is_pending_ext_shared else [],
        "pending_shared": [],
        "shared_team_ids": [world.team_id, *now_connected],
        "internal_team_ids": [],
        "conversation_host_id": world.team_id,
        "topic": {"value": channel.topic, "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
        "properties": {"has_slack_connect_invite_created": channel.is_pending_ext_shared},
    }


def _read_edge(call: Arguments, name: str, default: float) -> float:
    try:
        return float(call.text(name) or default)
    except ValueError as error:
        raise SlackError(f"invalid_ts_{name}") from error


def _is_visible(world: World, channel: Channel) -> bool:
    return not channel.is_private or world.bot_user in channel.members


def _list_page(call: Arguments, channels: list[Channel]) -> Json:
    requested = (call.text("types") or "public_channel").replace(" ", "").split(",")
    if unknown := set(requested) - {*TYPES.values(), "mpim"}:
        raise SlackError("invalid_types", f"[ERROR] unknown types: {', '.join(sorted(unknown))}")
    families = [family for family, name in TYPES.items() if name in requested]
    for family in families:
        call.needs_scope(f"{family}:read")
    with_archived = not call.flag("exclude_archived")
    rows = [
        channel for channel in channels if channel.family in families and (with_archived or not channel.is_archived)
    ]
    page, cursor = call.page(rows)
    return {
        "channels": [channel_json(call.world, channel) for channel in page],
        "response_metadata": {"next_cursor": cursor},
    }
