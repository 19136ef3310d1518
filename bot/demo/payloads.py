"""Build the request bodies that Slack sends: commands, clicks, submissions, events."""

from typing import Any

from bot.demo.blocks import Json
from bot.demo.inputs import chosen, state_of
from bot.demo.world import Channel, Message, SlackUser, View, World

VERIFICATION_TOKEN = "sandbox-verification"  # noqa: S105 - Slack's deprecated field; it protects nothing


def slash_command(
    world: World, *, command: str, text: str, person: SlackUser, channel: Channel, response_url: str
) -> dict[str, str]:
    name = "directmessage" if channel.im_with else "privategroup" if channel.is_private else channel.name
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": world.team_id,
        "team_domain": world.domain,
        "channel_id": channel.id,
        "channel_name": name,
        "user_id": person.id,
        "user_name": person.name,
        "command": command,
        "text": text,
        "api_app_id": world.app_id,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": world.new_trigger(person.id),
    }


def on_message(world: World, message: Message, *, person: SlackUser, kind: str, **more: Any) -> Json:
    """Return the payload of an interaction with a message; for an ephemeral message, Slack leaves out the message."""
    channel = world.channels[message.channel]
    payload = _build_interaction(world, kind, person) | {
        "container": {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": message.ephemeral,
        },
        "channel": {"id": channel.id, "name": "directmessage" if channel.im_with else channel.name},
    }
    if kind == "block_actions":
        payload["response_url"] = world.new_response_url(person.id, channel.id, message.ts)
        payload["state"] = {"values": state_of(message.blocks, more.pop("values", {}))}
    if not message.ephemeral:
        payload["message"] = message_json(world, message)
    return payload | more


def on_view(world: World, view: View, *, person: SlackUser, kind: str, **more: Any) -> Json:
    """Return the payload of an interaction with a modal or a Home tab."""
    payload = _build_interaction(world, kind, person) | {"view": view_json(world, view)}
    if kind == "view_submission":
        # Slack sends the submitter's own team here, which differs from the app's team for external people.
        return payload | {"team": {"id": person.team_id, "domain": _find_domain(world, person)}, "response_urls": []}
    return payload | {"container": {"type": "view", "view_id": view.id}} | more


def action(world: World, *, block: Json, element: Json, choice: Any) -> Json:
    """Return the entry in `actions` for an element, with the choice as its state."""
    entry = {
        "type": element["type"],
        "action_id": element["action_id"],
        "block_id": block["block_id"],
        "action_ts": world.clock.stamp(),
    }
    entry |= {key: element[key] for key in ("text", "style", "value", "placeholder") if key in element}
    return entry | chosen(element, choice)


def event_callback(world: World, event: Json) -> Json:
    channel_id = event.get("channel")
    channel = world.channels.get(channel_id) if isinstance(channel_id, str) else None
    return {
        "token": VERIFICATION_TOKEN,
        "team_id": world.team_id,
        "context_team_id": world.team_id,
        "context_enterprise_id": None,
        "api_app_id": world.app_id,
        "event": {"event_ts": world.clock.stamp()} | event,
        "type": "event_callback",
        "event_id": world.new_id("Ev"),
        "event_time": int(world.clock.now()),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": world.team_id,
                "user_id": world.bot_user,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": channel.is_ext_shared if channel else False,
        "event_context": world.new_id("EC"),
    }


def message_event(world: World, message: Message, *, person: SlackUser) -> Json | None:
    """Return the event of a message that a person wrote to the app or that mentions it, or None."""
    channel = world.channels[message.channel]
    event: Json = {
        "user": person.id,
        "team": person.team_id,
        "channel": channel.id,
        "text": message.text,
        "ts": message.ts,
        "client_msg_id": world.new_id("M"),
    }
    if channel.im_with and world.bot_user in channel.members:
        return {"type": "message", "channel_type": "im"} | event
    is_mention = f"<@{world.bot_user}" in message.text and world.bot_user in channel.members
    return {"type": "app_mention"} | event if is_mention else None


def message_json(world: World, message: Message) -> Json:
    """Return a message in the form of the Web API and of payloads."""
    rendered: Json = {"type": "message", "user": message.user, "text": message.text, "ts": message.ts}
    if message.blocks:
        rendered["blocks"] = list(message.blocks)
    if message.user == world.bot_user:
        rendered |= {"bot_id": world.bot_id, "app_id": world.app_id, "team": world.team_id}
    if message.edited:
        rendered["edited"] = {"user": message.user, "ts": message.ts}
    if message.thread_ts:
        rendered["thread_ts"] = message.thread_ts
    if message.metadata:
        rendered["metadata"] = message.metadata
    return rendered


def view_json(world: World, view: View) -> Json:
    """Return a view in the form of the Web API and of payloads."""
    defaults: Json = {
        "private_metadata": "",
        "callback_id": "",
        "external_id": "",
        "title": None,
        "submit": None,
        "close": None,
        "clear_on_close": False,
        "notify_on_close": False,
    }
    return (
        defaults
        | view.content
        | {
            "id": view.id,
            "team_id": world.team_id,
            "app_id": world.app_id,
            "app_installed_team_id": world.team_id,
            "bot_id": world.bot_id,
            "hash": view.hash,
            "root_view_id": view.id,
            "previous_view_id": None,
            "state": {"values": state_of(view.blocks, view.values)},
        }
    )


def _build_interaction(world: World, kind: str, person: SlackUser) -> Json:
    payload: Json = {
        "type": kind,
        "token": VERIFICATION_TOKEN,
        "api_app_id": world.app_id,
        "team": {"id": world.team_id, "domain": world.domain},
        "enterprise": None,
        "is_enterprise_install": False,
        "user": {"id": person.id, "username": person.name, "name": person.name, "team_id": person.team_id},
    }
    if kind != "block_suggestion":
        payload["trigger_id"] = world.new_trigger(person.id)
    return payload


def _find_domain(world: World, person: SlackUser) -> str:
    return world.domain if person.team_id == world.team_id else person.email.rpartition("@")[2].partition(".")[0]
