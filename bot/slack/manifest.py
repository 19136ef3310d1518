"""Build the manifest with which an admin creates the Slack app."""

from typing import Any

COMMAND = "/score"
SHORTCUT = "score_message"
CHANNEL_EVENTS = ("channel_shared", "channel_unshared", "member_left_channel")
PERSON_EVENTS = ("team_join", "user_change")
GROUP_EVENTS = ("subteam_members_changed", "subteam_updated")
EVENTS = (*CHANNEL_EVENTS, *PERSON_EVENTS, *GROUP_EVENTS, "app_home_opened", "member_joined_channel")
MESSAGE_EVENTS = ("app_mention", "message.im")
SCOPES = (
    "channels:read",  # read whether a channel is shared with another organization
    "chat:write",
    "commands",
    "groups:read",
    "im:read",
    "im:write",
    "mpim:read",
    "users:read",  # read whether a person is a guest
    "users:read.email",  # find the contacts for owner:me
)
# The history scopes find a message that Slack may have accepted before a retry; without them it is posted again.
# files:write uploads charts; without it the reply has the same facts in words.
# usergroups:read tells who is in a user group; without it roles cannot be given to user groups.
# files:read lets an admin send a CSV file in the direct messages of the app, to import it.
# app_mentions:read and im:history deliver MESSAGE_EVENTS; without them only `/score` is answered.
OPTIONAL_SCOPES = (
    "app_mentions:read", "channels:history", "files:read", "files:write", "groups:history", "im:history",
    "usergroups:read",
)  # fmt: skip  # names
AGENT_SCOPE = "mcp:connect"  # lets Slackbot call the tools


def manifest(
    public_url: str, *, socket_mode: bool, with_mcp: bool = False, with_messages: bool = True
) -> dict[str, Any]:
    """Return the app manifest for a service at *public_url*; in Socket Mode it contains no request URL.

    With *with_mcp*, Slackbot may call the tools at *public_url*. Without *with_messages*, nobody can write to the app,
    because it would not answer.
    """
    url = f"{public_url.rstrip('/')}/slack/events"
    address = {} if socket_mode else {"request_url": url}
    command = {
        "command": COMMAND,
        "description": "See and set the scores of contacts",
        "usage_hint": "ada@example.com · set ada +5 · top 10 · help",
        "should_escape": True,
    }
    optional = [scope for scope in OPTIONAL_SCOPES if with_messages or scope != "app_mentions:read"]
    # Slack requires that optional scopes are among the others too.
    scopes = [*SCOPES, *([AGENT_SCOPE] if with_mcp else []), *optional]
    events = [*EVENTS, *(MESSAGE_EVENTS if with_messages else ())]
    tools = {"url": f"{public_url.rstrip('/')}/mcp", "auth_type": "slack_identity_auth"}
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
                "messages_tab_read_only_enabled": not with_messages,
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
        "oauth_config": {"scopes": {"bot": scopes, "bot_optional": optional}},
        "settings": {
            "event_subscriptions": {**address, "bot_events": events},
            "interactivity": {
                "is_enabled": True,
                **address,
                **({} if socket_mode else {"message_menu_options_url": url}),
            },
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket_mode,
            "token_rotation_enabled": False,
        },
        **({"mcp_servers": {"contact-score": tools}} if with_mcp else {}),
    }
