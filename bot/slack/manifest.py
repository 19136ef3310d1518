"""Describe the Slack app that a person creates by pasting this."""

from typing import Any

COMMAND = "/score"
SHORTCUT = "score_message"
CHANNEL_EVENTS = ("channel_shared", "channel_unshared", "member_left_channel")
PERSON_EVENTS = ("team_join", "user_change")
EVENTS = (*CHANNEL_EVENTS, *PERSON_EVENTS, "app_home_opened", "member_joined_channel")
SCOPES = (
    "channels:read",  # is this channel shared with another organisation
    "chat:write",
    "commands",
    "groups:read",
    "im:read",
    "im:write",
    "mpim:read",
    "users:read",  # is this person a guest
    "users:read.email",  # whose contacts are owner:me
)
# Whether a message that Slack may have taken is there can be looked up with history; without it it is sent again.
# Charts are uploaded with files:write; without it there are the same facts in words.
OPTIONAL_SCOPES = ("channels:history", "files:write", "groups:history", "im:history")


def manifest(public_url: str, *, socket_mode: bool) -> dict[str, Any]:
    """Give the manifest for a service at *public_url*; in Socket Mode Slack needs no address."""
    url = f"{public_url.rstrip('/')}/slack/events"
    address = {} if socket_mode else {"request_url": url}
    command = {
        "command": COMMAND,
        "description": "See and set the scores of contacts",
        "usage_hint": "ada@example.com · set ada +5 · top 10 · help",
        "should_escape": True,
    }
    return {
        "_metadata": {"major_version": 1},
        "display_information": {
            "name": "Contact Score",
            "description": "See, set and explain the scores of your contacts",
            "background_color": "#1f3a5f",
        },
        "features": {
            "app_home": {
                "home_tab_enabled": True,
                "messages_tab_enabled": True,
                "messages_tab_read_only_enabled": False,
            },
            "bot_user": {"display_name": "Contact Score", "always_online": True},
            "shortcuts": [
                {
                    "name": "Score this contact",
                    "type": "message",
                    "callback_id": SHORTCUT,
                    "description": "Set the scores of the contact that a message speaks of",
                }
            ],
            "slash_commands": [command | ({} if socket_mode else {"url": url})],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES), "bot_optional": list(OPTIONAL_SCOPES)}},
        "settings": {
            "event_subscriptions": {**address, "bot_events": list(EVENTS)},
            "interactivity": {
                "is_enabled": True,
                **address,
                **({} if socket_mode else {"message_menu_options_url": url}),
            },
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
    }
