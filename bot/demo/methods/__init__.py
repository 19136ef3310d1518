"""The Web API methods that the product calls."""

from collections.abc import Callable

from bot.demo.blocks import Json
from bot.demo.methods import chat, conversations, files, users, views
from bot.demo.methods.arguments import Arguments

METHODS: dict[str, Callable[[Arguments], Json]] = {
    "auth.test": users.test_auth,
    "chat.delete": chat.delete,
    "chat.getPermalink": chat.permalink,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.postMessage": chat.post_message,
    "chat.update": chat.update,
    "conversations.history": conversations.history,
    "conversations.info": conversations.info,
    "conversations.members": conversations.members,
    "conversations.open": conversations.open_im,
    "conversations.replies": conversations.replies,
    "files.completeUploadExternal": files.complete_upload,
    "files.delete": files.delete,
    "files.getUploadURLExternal": files.upload_url,
    "usergroups.list": users.list_groups,
    "usergroups.users.list": users.list_group_members,
    "users.info": users.info,
    "users.list": users.list_users,
    "users.lookupByEmail": users.look_up_by_email,
    "views.open": views.open_view,
    "views.publish": views.publish_view,
    "views.update": views.change_view,
}
