"""The Web API methods of the sandbox, with the scope and token that each requires."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from bot.demo.errors import SlackError
from bot.demo.methods import auth, chat, conversations, files, users, views
from bot.demo.methods.arguments import Arguments
from bot.demo.world import Json, World

Token = Literal["bot", "app", "none"]


class Method(NamedTuple):
    """A Web API method: its function, the required scope, and the required kind of token."""

    run: Callable[[Arguments], Json]
    scope: str = ""
    token: Token = "bot"  # noqa: S105 - the kind of token, not a token


METHODS = {
    "api.test": Method(auth.test_api, token="none"),  # noqa: S106 - as above
    "apps.connections.open": Method(auth.open_connection, token="app"),  # noqa: S106 - as above
    "auth.test": Method(auth.test_auth),
    "bots.info": Method(auth.bots_info, "users:read"),
    "chat.delete": Method(chat.delete, "chat:write"),
    "chat.getPermalink": Method(chat.permalink),
    "chat.postEphemeral": Method(chat.post_ephemeral, "chat:write"),
    "chat.postMessage": Method(chat.post_message, "chat:write"),
    "chat.update": Method(chat.update, "chat:write"),
    "conversations.history": Method(conversations.history),
    "conversations.info": Method(conversations.info),
    "conversations.join": Method(conversations.join, "channels:join"),
    "conversations.list": Method(conversations.list_channels),
    "conversations.members": Method(conversations.members),
    "conversations.open": Method(conversations.open_im, "im:write"),
    "conversations.replies": Method(conversations.replies),
    "files.completeUploadExternal": Method(files.complete_upload, "files:write"),
    "files.delete": Method(files.delete, "files:write"),
    "files.getUploadURLExternal": Method(files.upload_url, "files:write"),
    "reactions.add": Method(chat.add_reaction, "reactions:write"),
    "team.info": Method(auth.team_info, "team:read"),
    "users.conversations": Method(conversations.of_user),
    "users.info": Method(users.info, "users:read"),
    "users.list": Method(users.list_users, "users:read"),
    "users.lookupByEmail": Method(users.look_up_by_email, "users:read.email"),
    "views.open": Method(views.open_view),
    "views.publish": Method(views.publish_view),
    "views.push": Method(views.push_view),
    "views.update": Method(views.change_view),
}


def answer(world: World, name: str, arguments: Json, *, token: str, tokens: dict[str, str]) -> Json:
    """Return the answer to a call, also if it is an error. *tokens* contains the valid "bot" and "app" tokens."""
    try:
        method = METHODS.get(name)
        if method is None:
            raise SlackError("unknown_method", req_method=name)
        _check_token(token, method.token, tokens)
        call = Arguments(world, arguments)
        if method.scope:
            call.needs_scope(method.scope)
        return {"ok": True} | method.run(call)
    except SlackError as error:
        return error.answer


def _check_token(token: str, kind: Token, tokens: dict[str, str]) -> None:
    if kind == "none":
        return
    if not token:
        raise SlackError("not_authed")
    if token not in tokens.values():
        raise SlackError("invalid_auth")
    if token != tokens[kind]:
        raise SlackError("not_allowed_token_type")
