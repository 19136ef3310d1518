"""The tokens and scopes that Slack requires for a call."""

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.world import World

#: method → the scope that it requires; with {}, the scope depends on the kind of conversation
SCOPES = {
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "conversations.history": "{}:history",
    "conversations.info": "{}:read",
    "conversations.members": "{}:read",
    "conversations.open": "im:write",
    "conversations.replies": "{}:history",
    "files.completeUploadExternal": "files:write",
    "files.delete": "files:write",
    "files.getUploadURLExternal": "files:write",
    "usergroups.list": "usergroups:read",
    "usergroups.users.list": "usergroups:read",
    "users.info": "users:read",
    "users.list": "users:read",
    "users.lookupByEmail": "users:read.email",
}
GRANTED = {scope for scope in SCOPES.values() if "{" not in scope} | {
    f"{family}:{verb}" for family in ("channels", "groups", "im") for verb in ("read", "history")
}


def check_permission(
    world: World, method: str, arguments: Json, *, token: str, tokens: dict[str, str], granted: set[str]
) -> None:
    """Raise SlackError if the token is not the right one of *tokens*, "bot" and "app", or its scope was not granted."""
    if not token:
        raise SlackError("not_authed")
    if token not in tokens.values():
        raise SlackError("invalid_auth")
    if token != tokens["app" if method == "apps.connections.open" else "bot"]:
        raise SlackError("not_allowed_token_type")
    channel = world.channels.get(arguments.get("channel", ""))
    family = (
        "channels" if channel is None else "im" if channel.im_with else "groups" if channel.is_private else "channels"
    )
    scope = SCOPES.get(method, "").format(family)
    if scope and scope not in granted:
        raise SlackError("missing_scope", needed=scope, provided=",".join(sorted(granted)))
