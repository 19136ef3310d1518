"""Web API methods about users, the app's own among them, and about user groups."""

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.world import SlackUser


def test_auth(call: Arguments) -> Json:
    world = call.world
    return {"team": world.team_name, "team_id": world.team_id, "user_id": world.bot_user, "bot_id": world.bot_id}


def info(call: Arguments) -> Json:
    return {"user": user_json(call.person())}


def list_users(call: Arguments) -> Json:
    return {"members": [user_json(person) for person in call.world.people.values()]}


def look_up_by_email(call: Arguments) -> Json:
    """Look up a member by e-mail address; people of other organizations are not found, as in Slack."""
    email = call.needed("email").casefold()
    for person in call.world.people.values():
        is_colleague = person.team_id == call.world.team_id and not person.deleted
        if is_colleague and person.email.casefold() == email:
            return {"user": user_json(person)}
    raise SlackError("users_not_found")


def list_groups(call: Arguments) -> Json:
    groups = call.world.groups.values()
    return {
        "usergroups": [
            {
                "id": group.id,
                "team_id": call.world.team_id,
                "handle": group.handle,
                "name": group.name,
                "date_delete": 0,
            }
            for group in groups
        ]
    }


def list_group_members(call: Arguments) -> Json:
    group = call.world.groups.get(call.needed("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": group.users}


def user_json(person: SlackUser) -> Json:
    profile = {"real_name": person.real_name, "display_name": person.name, "team": person.team_id}
    user: Json = {
        "id": person.id,
        "team_id": person.team_id,
        "name": person.name,
        "real_name": person.real_name,
        "deleted": person.deleted,
        "tz": person.tz,
        "profile": profile | ({"email": person.email} if person.email else {}),
        "is_bot": person.is_bot,
    }
    if person.is_stranger:
        return user | {"is_stranger": True}
    return user | {
        "is_admin": person.is_admin,
        "is_owner": person.is_owner,
        "is_primary_owner": person.is_owner,
        "is_restricted": person.is_restricted or person.is_ultra_restricted,
        "is_ultra_restricted": person.is_ultra_restricted,
    }
