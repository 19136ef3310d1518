"""Web API methods about the app: api, auth, team, bots, apps."""

from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.world import Json


def test_api(call: Arguments) -> Json:
    if error := call.text("error"):
        raise SlackError(error, args=call.values)
    return {"args": call.values}


def test_auth(call: Arguments) -> Json:
    world = call.world
    return {
        "url": f"{world.url}/",
        "team": world.team_name,
        "user": world.people[world.bot_user].name,
        "team_id": world.team_id,
        "user_id": world.bot_user,
        "bot_id": world.bot_id,
        "is_enterprise_install": False,
    }


def open_connection(call: Arguments) -> Json:
    """Return the WebSocket URL for one Socket Mode connection."""
    return {"url": call.world.new_socket_url()}


def team_info(call: Arguments) -> Json:
    world = call.world
    if call.text("team") not in ("", world.team_id):
        raise SlackError("team_not_found")
    team = {"id": world.team_id, "name": world.team_name, "domain": world.domain, "url": f"{world.url}/"}
    return {"team": team | {"email_domain": "", "icon": {"image_default": True}}}


def bots_info(call: Arguments) -> Json:
    world = call.world
    if call.text("bot") not in ("", world.bot_id):
        raise SlackError("bot_not_found")
    bot = {"id": world.bot_id, "deleted": False, "name": world.app_name, "app_id": world.app_id}
    return {"bot": bot | {"user_id": world.bot_user, "icons": {}}}
